//! The one error every request can be answered with: a stable code for programs, a sentence for people.

use std::fmt;

use serde_json::Value;

/// Stable error codes of protocol 1.0.0. Their text never changes; messages may.
///
/// ```
/// use dunlin_protocol::Code;
/// assert_eq!(Code::BucketNotDefined.as_str(), "BUCKET_NOT_DEFINED");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The frame is not JSON, or not a JSON object.
    ParseError,
    /// The envelope lacks a usable `type`, `id` or `timestamp`.
    InvalidRequest,
    /// No operation of that name exists here.
    UnknownOperation,
    /// A field, a record or a definition is not what it must be; `details` says where.
    ValidationError,
    /// The named record, subscription or rule does not exist.
    NotFound,
    /// The key, unique value, bucket, query or rule exists already.
    AlreadyExists,
    /// Somebody else changed what this write relied on.
    Conflict,
    /// Nobody is logged in, or the login failed.
    Unauthorized,
    /// Whoever is logged in may not do this.
    Forbidden,
    /// Too many requests or subscriptions.
    RateLimited,
    /// The server cannot take more work from this connection.
    Backpressure,
    /// A fault of the server itself.
    InternalError,
    /// The named bucket is not defined.
    BucketNotDefined,
    /// The named query is not defined.
    QueryNotDefined,
    /// No rule engine is configured.
    RulesNotAvailable,
    /// The user's sessions were revoked.
    SessionRevoked,
}

impl Code {
    /// Every code, in the order of the specification.
    pub const ALL: [Self; 16] = [
        Self::ParseError,
        Self::InvalidRequest,
        Self::UnknownOperation,
        Self::ValidationError,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Unauthorized,
        Self::Forbidden,
        Self::RateLimited,
        Self::Backpressure,
        Self::InternalError,
        Self::BucketNotDefined,
        Self::QueryNotDefined,
        Self::RulesNotAvailable,
        Self::SessionRevoked,
    ];

    /// Its place among [`ALL`](Self::ALL): for tables by code.
    ///
    /// ```
    /// use dunlin_protocol::Code;
    /// assert!(Code::ALL.iter().enumerate().all(|(place, code)| code.index() == place));
    /// ```
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The code as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ParseError => "PARSE_ERROR",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::UnknownOperation => "UNKNOWN_OPERATION",
            Self::ValidationError => "VALIDATION_ERROR",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::Conflict => "CONFLICT",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Forbidden => "FORBIDDEN",
            Self::RateLimited => "RATE_LIMITED",
            Self::Backpressure => "BACKPRESSURE",
            Self::InternalError => "INTERNAL_ERROR",
            Self::BucketNotDefined => "BUCKET_NOT_DEFINED",
            Self::QueryNotDefined => "QUERY_NOT_DEFINED",
            Self::RulesNotAvailable => "RULES_NOT_AVAILABLE",
            Self::SessionRevoked => "SESSION_REVOKED",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a failed request is answered with: `{"type":"error","code",…,"message",…,"details"?}`.
///
/// ```
/// use dunlin_protocol::{Code, Error};
/// let error = Error::new(Code::NotFound, "Subscription \"sub-9\" not found");
/// assert_eq!(error.to_string(), "NOT_FOUND: Subscription \"sub-9\" not found");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    /// Stable code for programs.
    pub code: Code,
    /// One sentence for people: what is wrong and what to do.
    pub message: String,
    /// Machine-readable particulars, shaped by the code (`[{field, message, code}]`, `{bucket, key}`, …).
    pub details: Option<Box<Value>>,
}

impl Error {
    /// An error without details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None }
    }

    /// The same error with `details`.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }
}

/// Members of `details` that tell nothing of data, only how to go on.
const HINTS: [&str; 1] = ["retryAfterMs"];

impl Error {
    /// What of the `details` may be told to somebody who shall learn nothing of data from an error: hints for programs.
    ///
    /// ```
    /// use dunlin_protocol::{Code, Error};
    /// use serde_json::json;
    /// let error = Error::new(Code::RateLimited, "Slower").with_details(json!({"retryAfterMs": 20, "bucket": "users"}));
    /// assert_eq!(error.hints(), Some(json!({"retryAfterMs": 20})));
    /// ```
    pub fn hints(&self) -> Option<Value> {
        let details = self.details.as_deref()?.as_object()?;
        let hints = HINTS.iter().filter_map(|name| Some(((*name).to_owned(), details.get(*name)?.clone())));
        let hints: serde_json::Map<String, Value> = hints.collect();
        (!hints.is_empty()).then_some(Value::Object(hints))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}
