//! `hello` and `store.subscribe`: the fields by which a client asks for more than protocol 1.0.0.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use super::Object;
use super::fields::{items, object, params, string, validation, whole_number};
use crate::Error;
use crate::limits::{MAX_CLIENT_BYTES, MAX_EXTENSIONS};
use crate::request::{Fields, Scalar};

/// What a client says of itself in a `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello<'a> {
    /// Its name and version.
    pub client: Option<Cow<'a, str>>,
    /// The extensions that it wants. Which of them there are is for the server to say.
    pub extensions: Vec<String>,
}

/// What a `store.subscribe` asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe<'a> {
    /// What to watch.
    pub query: Queried<'a>,
    /// Parameters of the query; `null` if there are none.
    pub params: Value,
    /// What pushes hold; `None` where the client did not say, which means [`Mode::Full`].
    pub mode: Option<Mode>,
    /// What the client has already.
    pub resume: Option<Resume>,
}

/// A query as a client names it.
#[derive(Debug, Clone, PartialEq)]
pub enum Queried<'a> {
    /// One that is defined.
    Named(Cow<'a, str>),
    /// One that is given here: its definition.
    Inline(Object),
}

/// What the pushes of a subscription hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The whole result, as in protocol 1.0.0.
    #[default]
    Full,
    /// A JSON Patch (RFC 6902) on the state that was sent before.
    Patch,
}

/// The last state of a live query that a client has applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The history it belongs to.
    pub epoch: String,
    /// The commit it shows.
    pub position: u64,
}

impl Subscribe<'_> {
    /// Whether the answer tells epoch and position: whoever asks for patches or comes back has to know them.
    pub fn is_extended(&self) -> bool {
        self.mode == Some(Mode::Patch) || self.resume.is_some()
    }
}

pub(super) fn hello<'a>(fields: &Fields<'a>) -> Result<Hello<'a>, Error> {
    let client = match &fields.client {
        None | Some(Scalar::Null) => None,
        Some(Scalar::Text(client)) if client.len() <= MAX_CLIENT_BYTES => Some(client.clone()),
        Some(_) => {
            let message = format!("Invalid \"client\": expected string of at most {MAX_CLIENT_BYTES} bytes");
            return Err(validation(message));
        }
    };
    Ok(Hello { client, extensions: extensions(fields.extensions)? })
}

/// An array of strings; absent and `null` both mean "none".
fn extensions(raw: Option<&RawValue>) -> Result<Vec<String>, Error> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Ok(Vec::new()) };
    let wrong =
        || validation(format!("Invalid \"extensions\": expected array of at most {MAX_EXTENSIONS} strings"));
    let names = items(raw, MAX_EXTENSIONS).and_then(Result::ok).ok_or_else(wrong)?;
    names.into_iter().map(|name| serde_json::from_str(name.get()).map_err(|_| wrong())).collect()
}

pub(super) fn subscribe<'a>(fields: &Fields<'a>) -> Result<Subscribe<'a>, Error> {
    Ok(Subscribe {
        query: queried(fields.query)?,
        params: params(fields)?,
        mode: mode(fields.mode.as_ref())?,
        resume: resume(fields.resume)?,
    })
}

fn queried(raw: Option<&RawValue>) -> Result<Queried<'_>, Error> {
    match raw {
        Some(raw) if raw.get().starts_with('{') => object("query", Some(raw)).map(Queried::Inline),
        raw => string("query", raw).map(Queried::Named).map_err(|_| {
            validation("Missing or invalid \"query\": expected non-empty string or object".to_owned())
        }),
    }
}

fn mode(value: Option<&Scalar<'_>>) -> Result<Option<Mode>, Error> {
    match value {
        None | Some(Scalar::Null) => Ok(None),
        Some(Scalar::Text(word)) if word == "full" => Ok(Some(Mode::Full)),
        Some(Scalar::Text(word)) if word == "patch" => Ok(Some(Mode::Patch)),
        Some(_) => Err(validation("Invalid \"mode\": expected one of: full, patch".to_owned())),
    }
}

/// Absent and `null` both mean that the client has nothing yet.
fn resume(raw: Option<&RawValue>) -> Result<Option<Resume>, Error> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Ok(None) };
    if !raw.get().starts_with('{') {
        return Err(validation("Invalid \"resume\": expected object".to_owned()));
    }
    let resume = object("resume", Some(raw))?;
    let Some(Value::String(epoch)) = resume.get("epoch") else {
        return Err(validation("Missing or invalid \"resume.epoch\": expected string".to_owned()));
    };
    let position = resume.get("position").and_then(whole_number).ok_or_else(|| {
        validation("Missing or invalid \"resume.position\": expected whole number of 0 or more".to_owned())
    })?;
    Ok(Some(Resume { epoch: epoch.clone(), position }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Code, Message, Operation, Resource};

    fn parse(rest: &str) -> Result<Operation<'static>, Error> {
        let text = format!(r#"{{"id":1,"type":{rest}}}"#).leak();
        match Message::parse(text) {
            Ok(Message::Request(request)) => Operation::parse(&request),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hello_may_say_much_or_nothing() {
        for (rest, client, extensions) in [
            (r#""hello""#, None, vec![]),
            (r#""hello","client":null,"extensions":null"#, None, vec![]),
            (
                r#""hello","client":"x/1","extensions":["position","what"]"#,
                Some("x/1"),
                vec!["position", "what"],
            ),
        ] {
            let hello = Hello {
                client: client.map(Cow::Borrowed),
                extensions: extensions.into_iter().map(str::to_owned).collect(),
            };
            let operation = parse(rest).unwrap();
            assert_eq!(operation.resources(), [Resource::Own]);
            assert_eq!(operation, Operation::Hello(hello), "{rest}");
        }
        for (rest, message) in [
            (r#""hello","client":1"#, "Invalid \"client\": expected string of at most 256 bytes"),
            (r#""hello","extensions":"x""#, "Invalid \"extensions\": expected array of at most 256 strings"),
            (r#""hello","extensions":[1]"#, "Invalid \"extensions\": expected array of at most 256 strings"),
            (r#""hello","extensions":{}"#, "Invalid \"extensions\": expected array of at most 256 strings"),
        ] {
            let error = parse(rest).unwrap_err();
            assert_eq!((error.code, error.message.as_str()), (Code::ValidationError, message), "{rest}");
        }
    }

    #[test]
    fn a_query_is_named_or_given() {
        let named = parse(r#""store.subscribe","query":"\u0071","mode":null,"resume":null"#).unwrap();
        assert_eq!(named.resources(), [Resource::Query("q".into())]);
        let Operation::Subscribe(subscribe) = named else { panic!() };
        assert_eq!(subscribe.query, Queried::Named("q".into()));
        assert_eq!((subscribe.mode, subscribe.is_extended()), (None, false));

        let rest = r#""store.subscribe","query":{"bucket":"b"},"mode":"patch","resume":{"epoch":"e","position":2.0}"#;
        let given = parse(rest).unwrap();
        assert_eq!(given.resources(), [Resource::Bucket("b".into())]);
        let resume = Some(Resume { epoch: "e".into(), position: 2 });
        let query = Queried::Inline(json!({"bucket": "b"}).as_object().unwrap().clone());
        let subscribe = Subscribe { query, params: Value::Null, mode: Some(Mode::Patch), resume };
        assert_eq!(given, Operation::Subscribe(subscribe));
    }

    #[test]
    fn what_is_wrong_with_a_subscribe_is_named() {
        for (rest, message) in [
            (r#""x":1"#, "Missing or invalid \"query\": expected non-empty string or object"),
            (r#""query":"""#, "Missing or invalid \"query\": expected non-empty string or object"),
            (r#""query":["q"]"#, "Missing or invalid \"query\": expected non-empty string or object"),
            (r#""query":"q","mode":"delta""#, "Invalid \"mode\": expected one of: full, patch"),
            (r#""query":"q","mode":1"#, "Invalid \"mode\": expected one of: full, patch"),
            (r#""query":"q","resume":"e""#, "Invalid \"resume\": expected object"),
            (r#""query":"q","resume":{}"#, "Missing or invalid \"resume.epoch\": expected string"),
            (
                r#""query":"q","resume":{"epoch":"e","position":-1}"#,
                "Missing or invalid \"resume.position\": expected whole number of 0 or more",
            ),
            (
                r#""query":"q","resume":{"epoch":"e","position":1.5}"#,
                "Missing or invalid \"resume.position\": expected whole number of 0 or more",
            ),
        ] {
            let error = parse(&format!(r#""store.subscribe",{rest}"#)).unwrap_err();
            assert_eq!((error.code, error.message.as_str()), (Code::ValidationError, message), "{rest}");
        }
    }
}
