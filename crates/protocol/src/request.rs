//! From a text frame to a request: one pass over the JSON, nothing copied that is not needed.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Code, Error};

/// What a client may send.
#[derive(Debug)]
pub enum Message<'a> {
    /// `{"id":…,"type":…,…}`: wants exactly one answer.
    Request(Request<'a>),
    /// `{"type":"pong","timestamp":…}`: never answered.
    Pong,
}

/// A request whose envelope is sound; its fields are still raw JSON.
///
/// ```
/// use dunlin_protocol::{Message, Request};
/// let Ok(Message::Request(request)) = Message::parse(r#"{"id":7,"type":"store.get","bucket":"users","key":"u1"}"#) else {
///     unreachable!()
/// };
/// assert_eq!((request.id, &*request.kind), ("7", "store.get"));
/// ```
#[derive(Debug)]
pub struct Request<'a> {
    /// The number the client chose, as it wrote it: any finite JSON number, echoed byte for byte.
    pub id: &'a str,
    /// The operation's name, never empty.
    pub kind: Cow<'a, str>,
    /// The other top-level fields that some operation knows.
    pub fields: Fields<'a>,
}

impl<'a> Message<'a> {
    /// Parses one text frame. The checks and their order are those of the specification (§2.4); an error here is
    /// answered with `id` 0, because the frame cannot be attributed to a request.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        let envelope: Envelope<'a> = serde_json::from_str(text).map_err(|_| not_an_object(text))?;
        let kind = envelope
            .kind
            .and_then(string)
            .filter(|kind| !kind.is_empty())
            .ok_or_else(|| invalid("Message must include non-empty string \"type\""))?;
        if kind == "pong" {
            return match envelope.timestamp.and_then(finite_number) {
                Some(_) => Ok(Self::Pong),
                None => Err(invalid("Pong must include finite numeric \"timestamp\"")),
            };
        }
        let id = envelope
            .id
            .and_then(finite_number)
            .ok_or_else(|| invalid("Request must include finite numeric \"id\""))?;
        Ok(Self::Request(Request { id, kind, fields: envelope.fields }))
    }
}

fn invalid(message: &str) -> Error {
    Error::new(Code::InvalidRequest, message)
}

/// Tells a broken document from a sound one that is not an object. Only walked after a failure.
fn not_an_object(text: &str) -> Error {
    let message = match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => "Message must be a JSON object",
        Err(_) => "Invalid JSON",
    };
    Error::new(Code::ParseError, message)
}

/// The text of a JSON string, borrowed where it has no escapes.
pub(crate) fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// The literal text of a JSON number that a double can hold.
fn finite_number(raw: &RawValue) -> Option<&str> {
    let text = raw.get();
    let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    (is_number && text.parse::<f64>().is_ok_and(f64::is_finite)).then_some(text)
}

/// Declares the top-level fields that operations know, once, for the struct and for its parser.
macro_rules! fields {
    ($($(#[$doc:meta])* $field:ident = $name:literal),+ $(,)?) => {
        /// The raw top-level fields of a request; `None` is absent, JSON `null` is present. Of a repeated field the last
        /// one stands, as in JavaScript. Fields that no operation knows are skipped unparsed.
        #[derive(Debug, Default)]
        pub struct Fields<'a> {
            $($(#[$doc])* pub $field: Option<&'a RawValue>,)+
        }

        impl<'a> Fields<'a> {
            fn slot(&mut self, name: &str) -> Option<&mut Option<&'a RawValue>> {
                match name {
                    $($name => Some(&mut self.$field),)+
                    _ => None,
                }
            }
        }
    };
}

fields! {
    /// Name of a bucket.
    bucket = "bucket",
    /// Primary key of a record.
    key = "key",
    /// A record, or changes to one.
    data = "data",
    /// A filter object.
    filter = "filter",
    /// Name of a record's field.
    field = "field",
    /// How many records.
    n = "n",
    /// Page size.
    limit = "limit",
    /// Cursor of the page before.
    after = "after",
    /// Name of the bucket or query to administer.
    name = "name",
    /// A definition.
    config = "config",
    /// Changes to a bucket's definition.
    updates = "updates",
    /// Name of a query.
    query = "query",
    /// Parameters of a query.
    params = "params",
    /// A subscription.
    subscription_id = "subscriptionId",
    /// A login token.
    token = "token",
}

#[derive(Default)]
struct Envelope<'a> {
    id: Option<&'a RawValue>,
    kind: Option<&'a RawValue>,
    timestamp: Option<&'a RawValue>,
    fields: Fields<'a>,
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(FieldName(name)) = map.next_key()? {
            let slot = match &*name {
                "id" => Some(&mut envelope.id),
                "type" => Some(&mut envelope.kind),
                "timestamp" => Some(&mut envelope.timestamp),
                other => envelope.fields.slot(other),
            };
            match slot {
                Some(slot) => *slot = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(envelope)
    }
}

/// A member name, borrowed where it has no escapes (serde's own `Cow` always copies).
struct FieldName<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for FieldName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = FieldName<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (Code, String) {
        let error = Message::parse(text).unwrap_err();
        (error.code, error.message)
    }

    #[test]
    fn faults_are_found_in_the_order_of_the_specification() {
        let table = [
            ("", Code::ParseError, "Invalid JSON"),
            ("not json{{{", Code::ParseError, "Invalid JSON"),
            ("[1,2", Code::ParseError, "Invalid JSON"),
            ("{\"id\":1,\"type\":\"x\"} trailing", Code::ParseError, "Invalid JSON"),
            ("[]", Code::ParseError, "Message must be a JSON object"),
            ("null", Code::ParseError, "Message must be a JSON object"),
            ("\"text\"", Code::ParseError, "Message must be a JSON object"),
            ("{}", Code::InvalidRequest, "Message must include non-empty string \"type\""),
            (r#"{"id":1}"#, Code::InvalidRequest, "Message must include non-empty string \"type\""),
            (r#"{"id":1,"type":""}"#, Code::InvalidRequest, "Message must include non-empty string \"type\""),
            (r#"{"type":5}"#, Code::InvalidRequest, "Message must include non-empty string \"type\""),
            (r#"{"type":"pong"}"#, Code::InvalidRequest, "Pong must include finite numeric \"timestamp\""),
            (
                r#"{"type":"pong","timestamp":"1"}"#,
                Code::InvalidRequest,
                "Pong must include finite numeric \"timestamp\"",
            ),
            (r#"{"type":"x"}"#, Code::InvalidRequest, "Request must include finite numeric \"id\""),
            (r#"{"type":"x","id":"1"}"#, Code::InvalidRequest, "Request must include finite numeric \"id\""),
            (
                r#"{"type":"x","id":1e999}"#,
                Code::InvalidRequest,
                "Request must include finite numeric \"id\"",
            ),
        ];
        for (text, code, message) in table {
            assert_eq!(refused(text), (code, message.to_owned()), "{text}");
        }
    }

    #[test]
    fn any_finite_number_is_an_id_and_is_echoed_as_written() {
        for id in ["0", "-1", "1.5", "1e3", "-0.0", "123456789012345678901234567890"] {
            let text = format!(r#"{{"id":{id},"type":"x"}}"#);
            let Ok(Message::Request(request)) = Message::parse(&text) else { panic!("{text}") };
            assert_eq!(request.id, id);
        }
    }

    #[test]
    fn escaped_names_and_values_are_read_and_the_last_repetition_stands() {
        let text = r#"{"id":1,"type":"x","\u0062ucket":"a","bucket":"\u0062","extra":{"deep":[1,2]}}"#;
        let Ok(Message::Request(request)) = Message::parse(text) else { panic!() };
        assert_eq!(string(request.fields.bucket.unwrap()).unwrap(), "b");
    }

    #[test]
    fn a_pong_needs_no_id() {
        assert!(matches!(Message::parse(r#"{"type":"pong","timestamp":1}"#), Ok(Message::Pong)));
    }

    #[test]
    fn nesting_as_deep_as_a_frame_allows_does_not_overflow_the_stack() {
        let deep = "[".repeat(500_000) + &"]".repeat(500_000);
        let text = format!(r#"{{"id":1,"type":"x","data":{deep},"unknown":{deep}}}"#);
        assert!(matches!(Message::parse(&text), Ok(Message::Request(_))));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,200}") {
            drop(Message::parse(&text));
        }
    }
}
