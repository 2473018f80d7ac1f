//! What a caller wants done.

use serde_json::{Map, Value};

use crate::{
    Aggregate, AnswerLimits, BucketId, Commit, Guard, Idempotency, Migration, Outcome, Record, RowId,
    SystemWrite, Validators,
};

/// A JSON object: a record, changes to one, a filter, a definition.
pub type Object = Map<String, Value>;

/// One write that somebody asks for. [`Snapshot::execute`](crate::Snapshot::execute) carries it out: all of it or nothing.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Intent {
    /// Add a record. Generated fields and defaults are filled in; its key must be free.
    Insert {
        /// Name of the bucket.
        bucket: String,
        /// The record's members.
        data: Object,
    },
    /// Add several records, in order.
    InsertMany {
        /// Name of the bucket.
        bucket: String,
        /// The members of each.
        data: Vec<Object>,
    },
    /// Change members of a record that exists. Its key, generated fields and metadata stay as they are.
    Update {
        /// Name of the bucket.
        bucket: String,
        /// The record's primary key.
        key: Value,
        /// The members that change; nested values are replaced whole.
        changes: Object,
    },
    /// Change members of all records that match.
    UpdateMany {
        /// Name of the bucket.
        bucket: String,
        /// Which records.
        filter: Object,
        /// The members that change.
        changes: Object,
    },
    /// Update the record whose key `data` has, or insert it.
    Upsert {
        /// Name of the bucket.
        bucket: String,
        /// The record's members.
        data: Object,
    },
    /// Remove a record, if it is there.
    Delete {
        /// Name of the bucket.
        bucket: String,
        /// The record's primary key.
        key: Value,
    },
    /// Remove all records that match.
    DeleteMany {
        /// Name of the bucket.
        bucket: String,
        /// Which records.
        filter: Object,
    },
    /// Remove all records of a bucket.
    Clear {
        /// Name of the bucket.
        bucket: String,
    },
    /// Several operations on any buckets, seeing one state and each other's effects: all of them or none.
    Transaction {
        /// The operations, in order.
        operations: Vec<Step>,
    },
    /// Carry a write of one record out only if the record has this `_version` when its turn comes. Made by
    /// [`Intent::if_version`].
    IfVersion {
        /// The version; 0 is that of a record that does not exist.
        version: u64,
        /// An update or a delete; or an insert, of version 0.
        write: Box<Self>,
    },
    /// Carry a write out once, and give its first answer to whoever repeats it. Made by [`Intent::idempotent`].
    Idempotent {
        /// What a repeat is known by.
        idempotency: Idempotency,
        /// A write of records, or a transaction.
        write: Box<Self>,
    },
    /// Carry a write out as somebody who does not see, or may not write, all records. Made by [`Intent::guarded`].
    Guarded {
        /// What he sees and may write.
        guard: Guard,
        /// A write of records, or a transaction.
        write: Box<Self>,
    },
    /// Note something of the server's own: see [`SystemWrite`].
    System(SystemWrite),
    /// Forget the answers whose time is over, about [`FORGOTTEN_AT_ONCE`](crate::limits::FORGOTTEN_AT_ONCE) of them.
    ForgetAnswers,
    /// Run the migrations that have not run yet, in one commit.
    Migrate {
        /// Some or all migrations, in any order.
        migrations: Vec<Migration>,
        /// Carry everything out, check it, and undo it.
        dry_run: bool,
    },
    /// Remove a record that is due, as [`Snapshot::due`](crate::Snapshot::due) says. Nothing happens if it is not (any more).
    Expire {
        /// The bucket.
        bucket: BucketId,
        /// The row.
        row: RowId,
    },
    /// Create a bucket.
    DefineBucket {
        /// Its name.
        name: String,
        /// Its definition, see [`Definition`](crate::Definition).
        config: Object,
    },
    /// Change a bucket's definition; see [`Definition::updated`](crate::Definition::updated).
    UpdateBucket {
        /// Its name.
        name: String,
        /// What changes.
        updates: Object,
    },
    /// Remove a bucket with all its records.
    DropBucket {
        /// Its name.
        name: String,
    },
    /// Define a declarative query.
    DefineQuery {
        /// Its name.
        name: String,
        /// Its definition, see [`Query`](crate::Query).
        config: Object,
    },
    /// Remove a query.
    UndefineQuery {
        /// Its name.
        name: String,
    },
}

impl Intent {
    /// The same write, done by somebody under this guard, on the newest state: records that he does not see are not there for
    /// it, those that he may not write refuse it, before and after, and what comes of it leaves out what is hidden. Of
    /// transactions all operations, reads too. All other intents stay as they are. The last guard counts.
    ///
    /// What is [remembered](Intent::idempotent) of a write does not depend on the guard: a repeat gets the first answer.
    ///
    /// ```
    /// use dunlin_store::{Guard, Intent, RowRule};
    /// use serde_json::json;
    ///
    /// let delete = Intent::Delete { bucket: "orders".into(), key: json!("o1") };
    /// assert_eq!(delete.clone().guarded(&Guard::default()), delete);
    /// let guard = Guard::new([("orders", RowRule::nothing())]);
    /// let guarded = delete.clone().guarded(&guard);
    /// assert!(matches!(guarded, Intent::Guarded { .. }));
    /// assert_eq!(guarded.fingerprint(), delete.fingerprint());
    /// ```
    #[must_use]
    pub fn guarded(self, guard: &Guard) -> Self {
        match self {
            Self::Idempotent { idempotency, write } => {
                Self::Idempotent { idempotency, write: Box::new(write.guarded(guard)) }
            }
            Self::Guarded { write, .. } => write.guarded(guard),
            records if !guard.is_empty() && records.is_of_records() => {
                Self::Guarded { guard: guard.clone(), write: Box::new(records) }
            }
            other => other,
        }
    }
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// A write of records. Definitions, imports and transactions are refused inside a transaction.
    Write(Intent),
    /// The record with this key.
    Get {
        /// Name of the bucket.
        bucket: String,
        /// The record's primary key.
        key: Value,
        /// The `_version` that it must have, 0 if it must not exist; `None` if that does not matter.
        if_version: Option<u64>,
    },
    /// All records that match.
    Where {
        /// Name of the bucket.
        bucket: String,
        /// Which records.
        filter: Object,
    },
    /// The first record that matches.
    FindOne {
        /// Name of the bucket.
        bucket: String,
        /// Which records.
        filter: Object,
    },
    /// How many records match.
    Count {
        /// Name of the bucket.
        bucket: String,
        /// Which records.
        filter: Object,
    },
    /// An aggregate for each group; see [`Bucket::group_by`](crate::Bucket::group_by).
    GroupBy {
        /// Name of the bucket.
        bucket: String,
        /// The fields whose values make a group.
        by: Vec<String>,
        /// What is worked out for each.
        function: Aggregate,
        /// From the numbers of this field; empty for a count.
        field: String,
        /// Which records.
        filter: Object,
    },
}

/// Time, chance and the embedder's rules for one write, given by the caller: the store has none of them.
pub struct Context<'a> {
    /// Wall clock, Unix milliseconds.
    pub now: u64,
    /// Where generated ids come from.
    pub ids: &'a mut dyn IdSource,
    /// Rules in code that records must keep beside their schema.
    pub validators: &'a Validators,
    /// How many answers are remembered, and how long.
    pub answers: AnswerLimits,
    /// Whether to tell which records were changed.
    pub notice: bool,
}

impl<'a> Context<'a> {
    /// A context without validators, and with the default limits of what is remembered.
    pub fn new(now: u64, ids: &'a mut dyn IdSource) -> Self {
        Self { now, ids, validators: Validators::none(), answers: AnswerLimits::default(), notice: false }
    }

    /// The same context with validators.
    #[must_use]
    pub fn with_validators(self, validators: &'a Validators) -> Self {
        Self { validators, ..self }
    }

    /// The same context for somebody who wants to know [which records were changed](Executed::changed), or does not.
    #[must_use]
    pub fn noticing(self, notice: bool) -> Self {
        Self { notice, ..self }
    }

    /// The same context with other limits of what is remembered.
    #[must_use]
    pub fn with_answers(self, answers: AnswerLimits) -> Self {
        Self { answers, ..self }
    }
}

/// Gives bits for generated ids. In production they are random; in a simulation they come from the seed.
///
/// ```
/// struct Counting(u128);
/// impl dunlin_store::IdSource for Counting {
///     fn next(&mut self) -> u128 {
///         self.0 += 1;
///         self.0
///     }
/// }
/// ```
pub trait IdSource {
    /// 128 bits that nobody got before.
    fn next(&mut self) -> u128;
}

/// A write that was carried out on a state.
#[derive(Debug, Clone)]
pub struct Executed {
    /// What to log; `None` if nothing changed (deleting what is not there, clearing an empty bucket, a repeat).
    pub commit: Option<Commit>,
    /// What to answer once the commit is durable (or at once if there is none).
    pub outcome: Outcome,
    /// The records that the commit has changed, each once, where [`Context::notice`] asks for them: those of buckets that were
    /// cleared first. What a bucket held that was dropped is not among them.
    pub changed: Vec<Changed>,
}

impl Executed {
    /// Nothing has changed.
    pub(crate) fn nothing(outcome: Outcome) -> Self {
        Self { commit: None, outcome, changed: Vec::new() }
    }
}

/// A record that a write has changed.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The bucket.
    pub bucket: BucketId,
    /// The record as it was; `None` if it is new.
    pub before: Option<Record>,
    /// The record as it is; `None` if it is gone.
    pub after: Option<Record>,
}
