//! Which views a record can concern: indexes over the filters of all views of one bucket.
