//! A number for each group of the records that match.
