//! What is wrong with a commit or a stored state: faults of whoever keeps them, never of a client.

/// Why a commit could not be applied: it does not follow from this state. The snapshot it was applied to may be
/// half changed and must be thrown away; the writer works on its own clone for that reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The commit is not the next one.
    #[error("commit {found} cannot be applied at position {position}: the next one is {}", .position + 1)]
    Position {
        /// Where the snapshot stands.
        position: u64,
        /// The commit's own number.
        found: u64,
    },
    /// The commit names a bucket that is not there.
    #[error("commit {position} names bucket {bucket}, which is not defined")]
    UnknownBucket {
        /// Number of the commit.
        position: u64,
        /// The bucket's id.
        bucket: u32,
    },
    /// The commit names a row that is not there.
    #[error("commit {position} removes row {row} of bucket {bucket}, which is not there")]
    UnknownRow {
        /// Number of the commit.
        position: u64,
        /// The bucket's id.
        bucket: u32,
        /// The row's number.
        row: u64,
    },
    /// The commit contradicts the state in another way: a name or key that is taken, a record without a key, a
    /// definition that cannot be read.
    #[error("commit {position} contradicts the state: {reason}")]
    Contradiction {
        /// Number of the commit.
        position: u64,
        /// What contradicts what.
        reason: String,
    },
}

/// Why a stored state could not be restored. It names what is damaged; nothing was guessed or left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// A bucket's definition cannot be restored.
    #[error("bucket \"{name}\" (id {bucket}) cannot be restored: {reason}")]
    Bucket {
        /// The bucket's id.
        bucket: u32,
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A row or counter belongs to a bucket that was not defined before it.
    #[error("stored data belong to bucket {bucket}, which is not defined")]
    UnknownBucket {
        /// The bucket's id.
        bucket: u32,
    },
    /// A stored row cannot be restored.
    #[error("row {row} of bucket \"{name}\" (id {bucket}) cannot be restored: {reason}")]
    Row {
        /// The bucket's id.
        bucket: u32,
        /// Its name.
        name: String,
        /// The row's number.
        row: u64,
        /// What is wrong.
        reason: String,
    },
    /// An answer cannot be restored.
    #[error("the answer \"{key}\" of {scope} cannot be restored: {reason}")]
    Answer {
        /// Whose key it is.
        scope: String,
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// An entry of the server's own is stored twice.
    #[error("the entry \"{key}\" cannot be restored: it is stored twice")]
    Entry {
        /// Its key.
        key: String,
    },
    /// A query cannot be restored.
    #[error("query \"{name}\" cannot be restored: {reason}")]
    Query {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}
