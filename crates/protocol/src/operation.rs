//! From a request to a typed operation: every field checked, in the order the specification gives.

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::request::{Fields, Request, Scalar};
use crate::{Code, Error};

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
    Write(Write<'a>),
    Subscribe { query: Cow<'a, str>, params: Value },
    Unsubscribe { subscription_id: Cow<'a, str> },
    ListQueries,
    StoreStats,
    ServerStats,
    ServerConnections,
    Login { token: Cow<'a, str> },
    Logout,
    WhoAmI,
}

/// Operations that only look at one snapshot.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as on `Operation`")]
pub enum Read<'a> {
    Get { bucket: Cow<'a, str>, key: KeyField<'a> },
    All { bucket: Cow<'a, str> },
    Where { bucket: Cow<'a, str>, filter: Object },
    FindOne { bucket: Cow<'a, str>, filter: Object },
    Count { bucket: Cow<'a, str>, filter: Option<Object> },
    First { bucket: Cow<'a, str>, n: usize },
    Last { bucket: Cow<'a, str>, n: usize },
    Paginate { bucket: Cow<'a, str>, limit: usize, after: Option<Value> },
    Aggregate { function: Aggregate, bucket: Cow<'a, str>, field: Cow<'a, str>, filter: Option<Object> },
    Buckets,
    GetBucketSchema { name: Cow<'a, str> },
}

/// Operations that change the store.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as on `Operation`")]
pub enum Write<'a> {
    Insert { bucket: Cow<'a, str>, data: Object },
    Update { bucket: Cow<'a, str>, key: Value, data: Object },
    Delete { bucket: Cow<'a, str>, key: Value },
    Clear { bucket: Cow<'a, str> },
    DefineBucket { name: Cow<'a, str>, config: Object },
    DropBucket { name: Cow<'a, str> },
    UpdateBucket { name: Cow<'a, str>, updates: Object },
    DefineQuery { name: Cow<'a, str>, config: Object },
    UndefineQuery { name: Cow<'a, str> },
}

/// The primary key of a `store.get`. Nearly always text, which is then not copied: this is the hottest path there is.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyField<'a> {
    /// A JSON string.
    Text(Cow<'a, str>),
    /// Anything else but `null`.
    Other(Value),
}

/// The four aggregates that are operations of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "as on `Operation`")]
pub enum Aggregate {
    Sum,
    Avg,
    Min,
    Max,
}

/// What an operation touches: what rights are checked on. Derived from the parsed operation alone, so a stray field in the
/// request can never stand in for it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource<'a> {
    /// The records or the definition of this bucket.
    Bucket(Cow<'a, str>),
    /// This query. Whoever checks it must also check the bucket that the query reads.
    Query(Cow<'a, str>),
    /// The server as a whole: names of buckets and queries, statistics, connections.
    Server,
    /// Nothing but the connection's own state: its login, its subscriptions.
    Own,
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
        let f = &request.fields;
        let bucket = || text("bucket", f.bucket.as_ref());
        let name = || text("name", f.name.as_ref());
        let aggregate = |function| {
            Ok(Self::Read(Read::Aggregate {
                function,
                bucket: bucket()?,
                field: text("field", f.field.as_ref())?,
                filter: optional_object("filter", f.filter)?,
            }))
        };
        Ok(match &*request.kind {
            "store.get" => Self::Read(Read::Get { bucket: bucket()?, key: key_field(f)? }),
            "store.insert" => Self::Write(Write::Insert { bucket: bucket()?, data: object("data", f.data)? }),
            "store.update" => {
                Self::Write(Write::Update { bucket: bucket()?, key: key(f)?, data: object("data", f.data)? })
            }
            "store.delete" => Self::Write(Write::Delete { bucket: bucket()?, key: key(f)? }),
            "store.clear" => Self::Write(Write::Clear { bucket: bucket()? }),
            "store.all" => Self::Read(Read::All { bucket: bucket()? }),
            "store.where" => {
                Self::Read(Read::Where { bucket: bucket()?, filter: object("filter", f.filter)? })
            }
            "store.findOne" => {
                Self::Read(Read::FindOne { bucket: bucket()?, filter: object("filter", f.filter)? })
            }
            "store.count" => {
                Self::Read(Read::Count { bucket: bucket()?, filter: optional_object("filter", f.filter)? })
            }
            "store.first" => Self::Read(Read::First { bucket: bucket()?, n: positive("n", f.n.as_ref())? }),
            "store.last" => Self::Read(Read::Last { bucket: bucket()?, n: positive("n", f.n.as_ref())? }),
            "store.paginate" => Self::Read(Read::Paginate {
                bucket: bucket()?,
                limit: positive("limit", f.limit.as_ref())?,
                after: f.after.as_ref().map(any).filter(|after| !after.is_null()),
            }),
            "store.sum" => aggregate(Aggregate::Sum)?,
            "store.avg" => aggregate(Aggregate::Avg)?,
            "store.min" => aggregate(Aggregate::Min)?,
            "store.max" => aggregate(Aggregate::Max)?,
            "store.buckets" => Self::Read(Read::Buckets),
            "store.stats" => Self::StoreStats,
            "store.defineBucket" => {
                Self::Write(Write::DefineBucket { name: name()?, config: object("config", f.config)? })
            }
            "store.dropBucket" => Self::Write(Write::DropBucket { name: name()? }),
            "store.updateBucket" => {
                Self::Write(Write::UpdateBucket { name: name()?, updates: object("updates", f.updates)? })
            }
            "store.getBucketSchema" => Self::Read(Read::GetBucketSchema { name: name()? }),
            "store.defineQuery" => {
                Self::Write(Write::DefineQuery { name: name()?, config: object("config", f.config)? })
            }
            "store.undefineQuery" => Self::Write(Write::UndefineQuery { name: name()? }),
            "store.listQueries" => Self::ListQueries,
            "store.subscribe" => Self::Subscribe {
                query: text("query", f.query.as_ref())?,
                params: f.params.map_or(Ok(Value::Null), |raw| parsed("params", raw))?,
            },
            "store.unsubscribe" => {
                Self::Unsubscribe { subscription_id: text("subscriptionId", f.subscription_id.as_ref())? }
            }
            "server.stats" => Self::ServerStats,
            "server.connections" => Self::ServerConnections,
            "auth.login" => Self::Login { token: text("token", f.token.as_ref())? },
            "auth.logout" => Self::Logout,
            "auth.whoami" => Self::WhoAmI,
            unknown => return Err(unknown_operation(unknown)),
        })
    }

    /// Everything this operation touches. A query stands for itself; the bucket it reads is added by whoever knows its
    /// definition.
    pub fn resources(&self) -> Vec<Resource<'_>> {
        match self {
            Self::Write(write) => write.resources(),
            Self::Read(
                Read::Get { bucket, .. }
                | Read::All { bucket }
                | Read::Where { bucket, .. }
                | Read::FindOne { bucket, .. }
                | Read::Count { bucket, .. }
                | Read::First { bucket, .. }
                | Read::Last { bucket, .. }
                | Read::Paginate { bucket, .. }
                | Read::Aggregate { bucket, .. }
                | Read::GetBucketSchema { name: bucket },
            ) => vec![Resource::bucket(bucket)],
            Self::Subscribe { query, .. } => vec![Resource::query(query)],
            Self::Read(Read::Buckets)
            | Self::ListQueries
            | Self::StoreStats
            | Self::ServerStats
            | Self::ServerConnections => vec![Resource::Server],
            Self::Unsubscribe { .. } | Self::Login { .. } | Self::Logout | Self::WhoAmI => {
                vec![Resource::Own]
            }
        }
    }
}

impl Write<'_> {
    /// Everything this write touches.
    pub fn resources(&self) -> Vec<Resource<'_>> {
        match self {
            Self::Insert { bucket, .. }
            | Self::Update { bucket, .. }
            | Self::Delete { bucket, .. }
            | Self::Clear { bucket }
            | Self::DefineBucket { name: bucket, .. }
            | Self::DropBucket { name: bucket }
            | Self::UpdateBucket { name: bucket, .. } => vec![Resource::bucket(bucket)],
            Self::DefineQuery { name, config } => {
                let read = config.get("bucket").and_then(Value::as_str);
                std::iter::once(Resource::query(name)).chain(read.map(Resource::bucket)).collect()
            }
            Self::UndefineQuery { name } => vec![Resource::query(name)],
        }
    }
}

impl<'a> Resource<'a> {
    fn bucket(name: &'a str) -> Self {
        Self::Bucket(Cow::Borrowed(name))
    }

    fn query(name: &'a str) -> Self {
        Self::Query(Cow::Borrowed(name))
    }
}

/// The answer to a name that no operation has, worded by its prefix.
fn unknown_operation(kind: &str) -> Error {
    let message = match kind.split_once('.') {
        Some((family @ ("store" | "server" | "auth"), _)) => format!("Unknown {family} operation \"{kind}\""),
        _ => format!("Unknown operation \"{kind}\""),
    };
    Error::new(Code::UnknownOperation, message)
}

fn validation(message: String) -> Error {
    Error::new(Code::ValidationError, message)
}

/// A non-empty string.
fn text<'a>(field: &str, value: Option<&Scalar<'a>>) -> Result<Cow<'a, str>, Error> {
    match value {
        Some(Scalar::Text(text)) if !text.is_empty() => Ok(text.clone()),
        _ => Err(validation(format!("Missing or invalid \"{field}\": expected non-empty string"))),
    }
}

fn object(field: &str, raw: Option<&RawValue>) -> Result<Object, Error> {
    match raw {
        Some(raw) if raw.get().starts_with('{') => parsed(field, raw),
        _ => Err(validation(format!("Missing or invalid \"{field}\": expected object"))),
    }
}

/// Absent and `null` both mean "none".
fn optional_object(field: &str, raw: Option<&RawValue>) -> Result<Option<Object>, Error> {
    match raw {
        None => Ok(None),
        Some(raw) if raw.get() == "null" => Ok(None),
        Some(raw) if raw.get().starts_with('{') => parsed(field, raw).map(Some),
        Some(_) => Err(validation(format!("Invalid \"{field}\": expected object"))),
    }
}

/// An integer of at least 1; `2.0` is one, as it is in JavaScript.
fn positive(field: &str, value: Option<&Scalar<'_>>) -> Result<usize, Error> {
    let whole = match value {
        Some(Scalar::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(n), _) => usize::try_from(n).ok(),
            // Whatever a double holds beyond 2^53 is more than any bucket has: the exact count no longer matters.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole and positive; `as` saturates"
            )]
            (None, Some(n)) if n.fract() == 0.0 && n >= 1.0 => Some(n as usize),
            _ => None,
        },
        _ => None,
    };
    whole
        .filter(|n| *n >= 1)
        .ok_or_else(|| validation(format!("Missing or invalid \"{field}\": expected positive integer")))
}

/// Anything but `null`.
fn key_field<'a>(fields: &Fields<'a>) -> Result<KeyField<'a>, Error> {
    match &fields.key {
        None | Some(Scalar::Null) => Err(validation("Missing \"key\": expected non-null value".to_owned())),
        Some(Scalar::Text(text)) => Ok(KeyField::Text(text.clone())),
        Some(other) => Ok(KeyField::Other(any(other))),
    }
}

fn key(fields: &Fields<'_>) -> Result<Value, Error> {
    Ok(match key_field(fields)? {
        KeyField::Text(text) => Value::String(text.into_owned()),
        KeyField::Other(value) => value,
    })
}

/// A scalar as a value of its own. An object or array can be no key and no cursor, whatever is in it, so that an empty
/// array stands for all of them.
fn any(scalar: &Scalar<'_>) -> Value {
    match scalar {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => Value::Bool(*value),
        Scalar::Number(number) => Value::Number(number.clone()),
        Scalar::Text(text) => Value::String(text.clone().into_owned()),
        Scalar::Composite => Value::Array(Vec::new()),
    }
}

/// Syntax was checked with the frame; what can still fail is a number no double holds, a lone surrogate, or nesting beyond
/// `serde_json`'s limit of 128 levels.
fn parsed<T: serde::de::DeserializeOwned>(field: &str, raw: &RawValue) -> Result<T, Error> {
    serde_json::from_str(raw.get()).map_err(|error| {
        validation(format!(
            "Invalid \"{field}\": {error}. Numbers must fit a double, text must be valid Unicode, nesting may go 127 levels deep"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    fn parse(text: &str) -> Result<Operation<'_>, Error> {
        match Message::parse(text) {
            Ok(Message::Request(request)) => Operation::parse(&request),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields_are_checked_from_left_to_right() {
        let table = [
            (r#"{"id":1,"type":"store.update"}"#, "Missing or invalid \"bucket\": expected non-empty string"),
            (r#"{"id":1,"type":"store.update","bucket":"b"}"#, "Missing \"key\": expected non-null value"),
            (
                r#"{"id":1,"type":"store.update","bucket":"b","key":null}"#,
                "Missing \"key\": expected non-null value",
            ),
            (
                r#"{"id":1,"type":"store.update","bucket":"b","key":0,"data":[]}"#,
                "Missing or invalid \"data\": expected object",
            ),
            (
                r#"{"id":1,"type":"store.count","bucket":"b","filter":5}"#,
                "Invalid \"filter\": expected object",
            ),
            (
                r#"{"id":1,"type":"store.first","bucket":"b","n":1.5}"#,
                "Missing or invalid \"n\": expected positive integer",
            ),
            (
                r#"{"id":1,"type":"store.paginate","bucket":"b","limit":"2"}"#,
                "Missing or invalid \"limit\": expected positive integer",
            ),
        ];
        for (text, message) in table {
            let error = parse(text).unwrap_err();
            assert_eq!((error.code, error.message.as_str()), (Code::ValidationError, message), "{text}");
        }
    }

    #[test]
    fn whole_floats_are_integers_and_a_null_cursor_is_the_start() {
        let operation =
            parse(r#"{"id":1,"type":"store.paginate","bucket":"b","limit":2.0,"after":null}"#).unwrap();
        assert_eq!(operation, Operation::Read(Read::Paginate { bucket: "b".into(), limit: 2, after: None }));
    }

    #[test]
    fn unknown_names_are_worded_by_their_family() {
        for (kind, message) in [
            ("store.nope", "Unknown store operation \"store.nope\""),
            ("server.nope", "Unknown server operation \"server.nope\""),
            ("nope", "Unknown operation \"nope\""),
            ("ping", "Unknown operation \"ping\""),
        ] {
            let error = parse(&format!(r#"{{"id":1,"type":"{kind}"}}"#)).unwrap_err();
            assert_eq!((error.code, error.message.as_str()), (Code::UnknownOperation, message));
        }
    }

    #[test]
    fn what_an_operation_touches_does_not_depend_on_stray_fields() {
        let text = r#"{"id":1,"type":"store.dropBucket","bucket":"mine","name":"other"}"#;
        assert_eq!(parse(text).unwrap().resources(), [Resource::Bucket("other".into())]);
        let text =
            r#"{"id":1,"type":"store.defineQuery","bucket":"mine","name":"q","config":{"bucket":"secret"}}"#;
        assert_eq!(
            parse(text).unwrap().resources(),
            [Resource::Query("q".into()), Resource::Bucket("secret".into())]
        );
    }

    #[test]
    fn nesting_beyond_the_limit_is_a_clear_error_not_an_overflow() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let text = format!(r#"{{"id":1,"type":"store.insert","bucket":"b","data":{deep}}}"#);
        let error = parse(&text).unwrap_err();
        assert_eq!(error.code, Code::ValidationError);
        assert!(error.message.contains("nesting"), "{}", error.message);
    }
}
