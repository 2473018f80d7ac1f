//! From a request to a typed operation: every field checked, in the order the specification gives.

mod conditions;
mod fields;
mod live;
mod resource;
mod rules;
mod transaction;

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::request::{Fields, Request};
use crate::{Code, Error, Kind};

use fields::{
    any, backup_name, explained, grouping, key, key_field, object, objects, optional_object, optional_string,
    page, positive, string, text, whole,
};
pub use live::{Hello, Mode, Queried, Resume, Subscribe};
pub use resource::Resource;
pub use rules::{RuleRead, RuleWrite};
pub use transaction::Step;

/// A JSON object: a record, changes to one, a filter or a definition.
pub type Object = Map<String, Value>;

/// An operation with all its fields checked for shape. Whether buckets, queries and records exist, and whether a record
/// fits its schema, is for the store to say.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    missing_docs,
    reason = "variants and fields carry the names of the protocol's operations and fields"
)]
pub enum Operation<'a> {
    Read(Read<'a>),
    Write {
        write: Write<'a>,
        /// What a repeat of it is known by; only of writes of records and transactions.
        idempotency_key: Option<Cow<'a, str>>,
    },
    RuleRead(RuleRead<'a>),
    RuleWrite {
        write: RuleWrite<'a>,
        /// What a repeat of it is known by; only of events and facts.
        idempotency_key: Option<Cow<'a, str>>,
    },
    RulesSubscribe {
        /// What is wrong with it is told after what else stands against one more subscription.
        pattern: Result<Cow<'a, str>, Error>,
    },
    RulesUnsubscribe {
        subscription_id: Cow<'a, str>,
    },
    Hello(Hello<'a>),
    Subscribe(Subscribe<'a>),
    Unsubscribe {
        subscription_id: Cow<'a, str>,
    },
    ListQueries,
    Explain(Explained<'a>),
    StoreStats,
    ServerStats,
    ServerConnections,
    Backup {
        name: Option<Cow<'a, str>>,
    },
    /// Of everybody to whom all that is given applies; of everybody, if nothing is.
    RevokeSessions {
        user_id: Option<Cow<'a, str>>,
        role: Option<Cow<'a, str>>,
    },
    Login {
        token: Cow<'a, str>,
    },
    Logout,
    WhoAmI,
}

/// Operations that only look at one snapshot.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as on `Operation`")]
pub enum Read<'a> {
    Get {
        bucket: Cow<'a, str>,
        key: KeyField<'a>,
    },
    All {
        bucket: Cow<'a, str>,
    },
    Where {
        bucket: Cow<'a, str>,
        filter: Object,
    },
    FindOne {
        bucket: Cow<'a, str>,
        filter: Object,
    },
    Count {
        bucket: Cow<'a, str>,
        filter: Option<Object>,
    },
    First {
        bucket: Cow<'a, str>,
        n: usize,
    },
    Last {
        bucket: Cow<'a, str>,
        n: usize,
    },
    Paginate {
        bucket: Cow<'a, str>,
        limit: usize,
        after: Option<Value>,
    },
    /// `store.paginate` with any of `cursor`, `filter` and `sort`.
    Page {
        bucket: Cow<'a, str>,
        limit: usize,
        page: PageFields,
    },
    Aggregate {
        function: Aggregate,
        bucket: Cow<'a, str>,
        field: Cow<'a, str>,
        filter: Option<Object>,
    },
    GroupBy {
        bucket: Cow<'a, str>,
        grouping: Grouping,
        filter: Option<Object>,
    },
    Buckets,
    GetBucketSchema {
        name: Cow<'a, str>,
    },
}

/// Operations that change the store.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as on `Operation`")]
pub enum Write<'a> {
    /// `if_version` is 0 or none: whoever inserts can only expect that the record does not exist.
    Insert {
        bucket: Cow<'a, str>,
        data: Object,
        if_version: Option<u64>,
    },
    InsertMany {
        bucket: Cow<'a, str>,
        data: Vec<Object>,
    },
    Update {
        bucket: Cow<'a, str>,
        key: Value,
        data: Object,
        if_version: Option<u64>,
    },
    UpdateMany {
        bucket: Cow<'a, str>,
        filter: Object,
        data: Object,
    },
    Upsert {
        bucket: Cow<'a, str>,
        data: Object,
    },
    Delete {
        bucket: Cow<'a, str>,
        key: Value,
        if_version: Option<u64>,
    },
    DeleteMany {
        bucket: Cow<'a, str>,
        filter: Object,
    },
    Clear {
        bucket: Cow<'a, str>,
    },
    Transaction {
        operations: Vec<Step<'a>>,
    },
    DefineBucket {
        name: Cow<'a, str>,
        config: Object,
    },
    DropBucket {
        name: Cow<'a, str>,
    },
    UpdateBucket {
        name: Cow<'a, str>,
        updates: Object,
    },
    DefineQuery {
        name: Cow<'a, str>,
        config: Object,
    },
    UndefineQuery {
        name: Cow<'a, str>,
    },
}

/// The primary key of a `store.get`. Nearly always text, which is then not copied: this is the hottest path there is.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyField<'a> {
    /// A JSON string.
    Text(Cow<'a, str>),
    /// Anything else but `null`.
    Other(Value),
}

/// The fields of a `store.paginate` that ask for pages by cursor.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PageFields {
    /// The cursor of the page before; `None` for the first page.
    pub cursor: Option<String>,
    /// Which records.
    pub filter: Option<Object>,
    /// Their order: member names to `asc` or `desc`. What stands there is for the store to check.
    pub sort: Option<Object>,
}

/// What a `store.explain` is about.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as on `Operation`")]
pub enum Explained<'a> {
    Bucket { bucket: Cow<'a, str>, filter: Option<Object> },
    Query { query: Cow<'a, str>, params: Value },
    Subscription { subscription_id: Cow<'a, str> },
}

/// What a `store.groupBy` makes of each group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    /// The fields whose values make a group.
    pub by: Vec<String>,
    /// What is worked out for each group.
    pub function: Aggregate,
    /// From the numbers of this field; empty for a count.
    pub field: String,
}

/// An aggregate function; all but the count are operations of their own, too. Only numbers count: strings, booleans, `null` and
/// absent members are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// How many records, whatever the field holds.
    Count,
    /// The sum, 0 of nothing.
    Sum,
    /// The mean, 0 of nothing.
    Avg,
    /// The smallest, none of nothing.
    Min,
    /// The largest, none of nothing.
    Max,
}

impl KeyField<'_> {
    /// The key as a value of its own.
    pub fn into_value(self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.into_owned()),
            Self::Other(value) => value,
        }
    }
}

impl Aggregate {
    /// All functions.
    pub const ALL: [Self; 5] = [Self::Count, Self::Sum, Self::Avg, Self::Min, Self::Max];

    /// Its name in requests and query configs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
        }
    }

    /// The function of this name.
    ///
    /// ```
    /// use dunlin_protocol::Aggregate;
    /// assert_eq!(Aggregate::named("avg"), Some(Aggregate::Avg));
    /// assert_eq!(Aggregate::named("median"), None);
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.as_str() == name)
    }
}

impl<'a> Operation<'a> {
    /// Parses the operation that `request` names.
    ///
    /// # Errors
    /// `VALIDATION_ERROR` for the first field that is not what it must be, `UNKNOWN_OPERATION` for a name that does not exist.
    ///
    /// ```
    /// use dunlin_protocol::{Message, Operation};
    /// let Ok(Message::Request(request)) = Message::parse(r#"{"id":1,"type":"store.first","bucket":"b","n":0}"#) else {
    ///     unreachable!()
    /// };
    /// let error = Operation::parse(&request).unwrap_err();
    /// assert_eq!(error.message, "Missing or invalid \"n\": expected positive integer");
    /// ```
    pub fn parse(request: &Request<'a>) -> Result<Self, Error> {
        match Kind::named(&request.kind) {
            Some(kind) => Self::of(kind, request),
            None => Err(unknown_operation(&request.kind)),
        }
    }

    /// Parses the operation of a request whose kind is known.
    ///
    /// # Errors
    /// `VALIDATION_ERROR` for the first field that is not what it must be.
    pub fn of(kind: Kind, request: &Request<'a>) -> Result<Self, Error> {
        let operation = match rules::operation(kind, &request.fields) {
            Some(operation) => operation,
            None => Self::unconditional(kind, &request.fields),
        };
        conditions::checked(operation?, request)
    }

    /// The operation without what only some may have: an `idempotencyKey`.
    fn unconditional(kind: Kind, f: &Fields<'a>) -> Result<Self, Error> {
        let bucket = || text("bucket", f.bucket.as_ref());
        let name = || text("name", f.name.as_ref());
        let write = |write| Self::Write { write, idempotency_key: None };
        let if_version = || whole("ifVersion", f.if_version.as_ref());
        let aggregate = |function| {
            Ok(Self::Read(Read::Aggregate {
                function,
                bucket: bucket()?,
                field: string("field", f.field)?,
                filter: optional_object("filter", f.filter)?,
            }))
        };
        Ok(match kind {
            Kind::Get => Self::Read(Read::Get { bucket: bucket()?, key: key_field(f)? }),
            Kind::Insert => {
                write(Write::Insert { bucket: bucket()?, data: object("data", f.data)?, if_version: None })
            }
            Kind::InsertMany => {
                write(Write::InsertMany { bucket: bucket()?, data: objects("data", f.data)? })
            }
            Kind::Update => write(Write::Update {
                bucket: bucket()?,
                key: key(f)?,
                data: object("data", f.data)?,
                if_version: if_version()?,
            }),
            Kind::UpdateMany => write(Write::UpdateMany {
                bucket: bucket()?,
                filter: object("filter", f.filter)?,
                data: object("data", f.data)?,
            }),
            Kind::Upsert => write(Write::Upsert { bucket: bucket()?, data: object("data", f.data)? }),
            Kind::Delete => {
                write(Write::Delete { bucket: bucket()?, key: key(f)?, if_version: if_version()? })
            }
            Kind::DeleteMany => {
                write(Write::DeleteMany { bucket: bucket()?, filter: object("filter", f.filter)? })
            }
            Kind::Transaction => write(Write::Transaction { operations: transaction::steps(f.operations)? }),
            Kind::Clear => write(Write::Clear { bucket: bucket()? }),
            Kind::All => Self::Read(Read::All { bucket: bucket()? }),
            Kind::Where => Self::Read(Read::Where { bucket: bucket()?, filter: object("filter", f.filter)? }),
            Kind::FindOne => {
                Self::Read(Read::FindOne { bucket: bucket()?, filter: object("filter", f.filter)? })
            }
            Kind::Count => {
                Self::Read(Read::Count { bucket: bucket()?, filter: optional_object("filter", f.filter)? })
            }
            Kind::First => Self::Read(Read::First { bucket: bucket()?, n: positive("n", f.n.as_ref())? }),
            Kind::Last => Self::Read(Read::Last { bucket: bucket()?, n: positive("n", f.n.as_ref())? }),
            Kind::Paginate => {
                let (bucket, limit) = (bucket()?, positive("limit", f.limit.as_ref())?);
                let after = f.after.as_ref().map(any).filter(|after| !after.is_null());
                Self::Read(match page(f, after.is_some())? {
                    None => Read::Paginate { bucket, limit, after },
                    Some(page) => Read::Page { bucket, limit, page },
                })
            }
            Kind::Explain => Self::Explain(explained(f)?),
            Kind::Sum => aggregate(Aggregate::Sum)?,
            Kind::Avg => aggregate(Aggregate::Avg)?,
            Kind::Min => aggregate(Aggregate::Min)?,
            Kind::Max => aggregate(Aggregate::Max)?,
            Kind::GroupBy => Self::Read(Read::GroupBy {
                bucket: bucket()?,
                grouping: grouping(f)?,
                filter: optional_object("filter", f.filter)?,
            }),
            Kind::Buckets => Self::Read(Read::Buckets),
            Kind::StoreStats => Self::StoreStats,
            Kind::DefineBucket => {
                write(Write::DefineBucket { name: name()?, config: object("config", f.config)? })
            }
            Kind::DropBucket => write(Write::DropBucket { name: name()? }),
            Kind::UpdateBucket => {
                write(Write::UpdateBucket { name: name()?, updates: object("updates", f.updates)? })
            }
            Kind::GetBucketSchema => Self::Read(Read::GetBucketSchema { name: name()? }),
            Kind::DefineQuery => {
                write(Write::DefineQuery { name: name()?, config: object("config", f.config)? })
            }
            Kind::UndefineQuery => write(Write::UndefineQuery { name: name()? }),
            Kind::ListQueries => Self::ListQueries,
            Kind::Subscribe => Self::Subscribe(live::subscribe(f)?),
            Kind::Unsubscribe => {
                Self::Unsubscribe { subscription_id: text("subscriptionId", f.subscription_id.as_ref())? }
            }
            Kind::Hello => Self::Hello(live::hello(f)?),
            Kind::ServerStats => Self::ServerStats,
            Kind::ServerConnections => Self::ServerConnections,
            Kind::Backup => Self::Backup { name: backup_name(f.name.as_ref())? },
            Kind::RevokeSessions => Self::RevokeSessions {
                user_id: optional_string("userId", f.user_id)?,
                role: optional_string("role", f.role)?,
            },
            Kind::Login => Self::Login { token: text("token", f.token.as_ref())? },
            Kind::Logout => Self::Logout,
            Kind::WhoAmI => Self::WhoAmI,
            // All that is left is of rules.
            _ => return Err(unknown_operation(kind.as_str())),
        })
    }
}

/// The answer to a name that no operation has, worded by its prefix.
fn unknown_operation(kind: &str) -> Error {
    let message = match kind.split_once('.') {
        Some((family @ ("store" | "rules" | "server" | "auth"), _)) => {
            format!("Unknown {family} operation \"{kind}\"")
        }
        _ => format!("Unknown operation \"{kind}\""),
    };
    Error::new(Code::UnknownOperation, message)
}

#[cfg(test)]
mod tests;
