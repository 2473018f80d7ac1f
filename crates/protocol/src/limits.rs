//! Every bound that the wire itself sets, with its unit and its reason. What a bucket or a record may hold is for the store
//! to bound.

/// Operations of one transaction. The store does nothing else while it carries them out.
pub const MAX_OPERATIONS: usize = 10_000;

/// Records of one `insertMany`. As many as the store lets one write change.
pub const MAX_INSERTED: usize = 100_000;

/// Fields of one `groupBy`. The values of all of them are read for each record.
pub const MAX_GROUP_FIELDS: usize = 256;
