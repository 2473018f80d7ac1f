//! From a text frame to a request: one pass over the JSON, nothing copied that is not needed.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;

use crate::{Code, Error, Id};

/// What a client may send.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack of one loop; nearly every message is a request"
)]
pub enum Message<'a> {
    /// `{"id":…,"type":…,…}`: wants exactly one answer.
    Request(Request<'a>),
    /// `{"type":"pong","timestamp":…}`: never answered.
    Pong,
}

/// A request whose envelope is sound; its fields have not been looked at yet.
///
/// ```
/// use dunlin_protocol::{Message, Request};
/// let Ok(Message::Request(request)) = Message::parse(r#"{"id":7,"type":"store.get","bucket":"users","key":"u1"}"#) else {
///     unreachable!()
/// };
/// assert_eq!((request.id.to_string(), &*request.kind), ("7".to_owned(), "store.get"));
/// ```
#[derive(Debug)]
pub struct Request<'a> {
    /// The number the client chose.
    pub id: Id,
    /// The operation's name, never empty.
    pub kind: Cow<'a, str>,
    /// The other top-level fields that some operation knows.
    pub fields: Fields<'a>,
}

impl<'a> Message<'a> {
    /// Parses one text frame. The checks and their order are those of the specification (§2.4); an error here is
    /// answered with `id` 0, because the frame cannot be attributed to a request.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        let mut envelope = Envelope::default();
        envelope.fill(text).map_err(|_| refusal(text))?;
        let kind = match envelope.kind {
            Some(Scalar::Text(kind)) if !kind.is_empty() => kind,
            _ => return Err(invalid("Message must include non-empty string \"type\"")),
        };
        if kind == "pong" {
            return match envelope.timestamp {
                Some(Scalar::Number(_)) => Ok(Self::Pong),
                _ => Err(invalid("Pong must include finite numeric \"timestamp\"")),
            };
        }
        match envelope.id {
            Some(Scalar::Number(id)) => {
                Ok(Self::Request(Request { id: Id::of(&id), kind, fields: envelope.fields }))
            }
            _ => Err(invalid("Request must include finite numeric \"id\"")),
        }
    }
}

fn invalid(message: &str) -> Error {
    Error::new(Code::InvalidRequest, message)
}

/// Why a document could not be read as an envelope. Only looked for after a failure.
fn refusal(text: &str) -> Error {
    match serde_json::from_str::<IgnoredAny>(text) {
        Err(_) => Error::new(Code::ParseError, "Invalid JSON"),
        Ok(_) if !text.trim_start().starts_with('{') => {
            Error::new(Code::ParseError, "Message must be a JSON object")
        }
        Ok(_) => invalid("A field holds a number that no double can hold, or text that is not valid Unicode"),
    }
}

/// The value of a field that wants a scalar. Text is borrowed from the frame where it has no escapes.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, finite.
    Number(Number),
    /// A string.
    Text(Cow<'a, str>),
    /// An object or an array: no scalar. What is in it has been skipped.
    Composite,
}

/// Declares the top-level fields that operations know, once, for the struct and for its parser.
macro_rules! fields {
    (scalars: $($(#[$scalar_doc:meta])* $scalar:ident = $scalar_name:literal),+;
     documents: $($(#[$raw_doc:meta])* $raw:ident = $raw_name:literal),+ $(;)?) => {
        /// The top-level fields of a request; `None` is absent, JSON `null` is present. Of a repeated field the last one
        /// stands, as in JavaScript. Fields that no operation knows are skipped.
        #[derive(Debug, Default)]
        pub struct Fields<'a> {
            $($(#[$scalar_doc])* pub $scalar: Option<Scalar<'a>>,)+
            $($(#[$raw_doc])* pub $raw: Option<&'a RawValue>,)+
        }

        impl<'a> Envelope<'a> {
            /// Sets a field to a scalar; `None` if the field wants a document.
            pub(crate) fn set(&mut self, name: &str, scalar: Scalar<'a>) -> Option<()> {
                match name {
                    "id" => self.id = Some(scalar),
                    "type" => self.kind = Some(scalar),
                    "timestamp" => self.timestamp = Some(scalar),
                    $($scalar_name => self.fields.$scalar = Some(scalar),)+
                    $($raw_name)|+ => return None,
                    _ => {}
                }
                Some(())
            }

            fn read<A: MapAccess<'a>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
                match name {
                    "id" => self.id = Some(map.next_value()?),
                    "type" => self.kind = Some(map.next_value()?),
                    "timestamp" => self.timestamp = Some(map.next_value()?),
                    $($scalar_name => self.fields.$scalar = Some(map.next_value()?),)+
                    $($raw_name => self.fields.$raw = Some(map.next_value()?),)+
                    _ => {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(())
            }
        }
    };
}

fields! {
    scalars:
        /// Name of a bucket.
        bucket = "bucket",
        /// Primary key of a record.
        key = "key",
        /// Name of an operation inside a transaction.
        op = "op",
        /// How many records.
        n = "n",
        /// Page size.
        limit = "limit",
        /// Key of the last record of the page before.
        after = "after",
        /// Cursor of the page before.
        cursor = "cursor",
        /// Name of the bucket or query to administer.
        name = "name",
        /// A subscription.
        subscription_id = "subscriptionId",
        /// How a live query tells of changes.
        mode = "mode",
        /// Name and version of the client.
        client = "client",
        /// What a repeat of the request is known by.
        idempotency_key = "idempotencyKey",
        /// The version that a record must have.
        if_version = "ifVersion",
        /// A login token.
        token = "token";
    documents:
        /// Name of a record's field, or several of them.
        field = "field",
        /// What is worked out for each group.
        aggregate = "aggregate",
        /// The operations of a transaction.
        operations = "operations",
        /// A record, changes to one, or several records.
        data = "data",
        /// A filter object.
        filter = "filter",
        /// An order of records.
        sort = "sort",
        /// A definition.
        config = "config",
        /// Changes to a bucket's definition.
        updates = "updates",
        /// Name of a query, or a query.
        query = "query",
        /// Parameters of a query.
        params = "params",
        /// The last state of a live query that the client has.
        resume = "resume",
        /// Whose sessions.
        user_id = "userId",
        /// With which role.
        role = "role",
        /// Extensions of the protocol.
        extensions = "extensions",
        /// Topic of an event.
        topic = "topic",
        /// Which topics, keys of facts, or names of timers.
        pattern = "pattern",
        /// The value of a fact.
        value = "value",
        /// What an event belongs to.
        correlation_id = "correlationId",
        /// What led to an event.
        causation_id = "causationId",
        /// A rule's id.
        rule_id = "ruleId",
        /// A rule.
        rule = "rule",
        /// Number of an entry of a rule's history.
        version = "version",
        /// The older of two entries.
        from = "from",
        /// The newer of two entries.
        to = "to",
        /// How many entries are left out.
        offset = "offset",
        /// An event's id.
        event_id = "eventId",
        /// A group of rules.
        group = "group",
        /// Its id.
        group_id = "groupId",
        /// A timer.
        timer = "timer",
        /// A call to the outside.
        call_id = "callId",
        /// The event that a dry run is about.
        event = "event",
        /// The fact that a dry run is about.
        fact = "fact",
        /// The facts that there are in a dry run.
        facts = "facts",
        /// The events before it in a dry run.
        events = "events",
        /// The answers to lookups in a dry run.
        lookups = "lookups",
        /// Whether more is told.
        details = "details";
}

impl<'a> Fields<'a> {
    /// The fields of one operation inside a request.
    pub(crate) fn of_object(text: &'a str) -> serde_json::Result<Self> {
        let mut envelope = Envelope::default();
        envelope.fill(text)?;
        Ok(envelope.fields)
    }
}

/// A frame's top-level members, before anything is asked of them.
#[derive(Debug, Default)]
pub(crate) struct Envelope<'a> {
    id: Option<Scalar<'a>>,
    kind: Option<Scalar<'a>>,
    timestamp: Option<Scalar<'a>>,
    fields: Fields<'a>,
}

impl<'a> Envelope<'a> {
    /// Reads a document into this envelope, in place: it is large, and serde would move it three times on the way out.
    fn fill(&mut self, text: &'a str) -> serde_json::Result<()> {
        if self.fill_flat(text).is_some() {
            return Ok(());
        }
        *self = Self::default();
        self.fill_whole(text)
    }

    /// Any document.
    pub(crate) fn fill_whole(&mut self, text: &'a str) -> serde_json::Result<()> {
        let mut document = serde_json::Deserializer::from_str(text);
        self.deserialize(&mut document)?;
        document.end()
    }
}

impl<'de> DeserializeSeed<'de> for &mut Envelope<'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Envelope<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(FieldName(name)) = map.next_key()? {
            self.read(&name, &mut map)?;
        }
        Ok(())
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

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;

        impl<'de> Visitor<'de> for ScalarVisitor {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON value")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Scalar::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Scalar::Bool(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(value.into()))
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
                Number::from_f64(value).map(Scalar::Number).ok_or_else(|| E::custom("not a finite number"))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Composite)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Composite)
            }
        }

        deserializer.deserialize_any(ScalarVisitor)
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
                "A field holds a number that no double can hold, or text that is not valid Unicode",
            ),
            (r#"{"type":"x","id":[1]}"#, Code::InvalidRequest, "Request must include finite numeric \"id\""),
        ];
        for (text, code, message) in table {
            assert_eq!(refused(text), (code, message.to_owned()), "{text}");
        }
    }

    #[test]
    fn any_finite_number_is_an_id_and_is_echoed_as_the_same_number() {
        for id in ["0", "-1", "1.5", "1e3", "-0.0", "18446744073709551615", "123456789012345678901234567890"]
        {
            let text = format!(r#"{{"id":{id},"type":"x"}}"#);
            let Ok(Message::Request(request)) = Message::parse(&text) else { panic!("{text}") };
            assert_eq!(
                request.id.to_string().parse::<f64>().unwrap().to_bits(),
                id.parse::<f64>().unwrap().to_bits()
            );
        }
    }

    #[test]
    fn escaped_names_and_values_are_read_and_the_last_repetition_stands() {
        let text = r#"{"id":1,"type":"x","\u0062ucket":"a","bucket":"\u0062","extra":{"deep":[1,2]}}"#;
        let Ok(Message::Request(request)) = Message::parse(text) else { panic!() };
        assert_eq!(request.fields.bucket, Some(Scalar::Text("b".into())));
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
