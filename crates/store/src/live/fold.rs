//! A number over all records that match: kept as running totals.
