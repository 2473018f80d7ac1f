//! From an answer to a text frame. Records arrive here already encoded, so an answer is a prefix, their bytes and a suffix.

use serde::Serialize;

use crate::{Code, Error, Id};

/// Version of the protocol, as told in the welcome.
pub const PROTOCOL_VERSION: &str = "1.0.0";

/// `{"id":…,"type":"result","data":…}`. `data` is JSON text.
///
/// ```
/// use dunlin_protocol::{Id, frame};
/// assert_eq!(frame::result(Id::ZERO, "null"), r#"{"id":0,"type":"result","data":null}"#);
/// ```
pub fn result(id: Id, data: &str) -> String {
    let mut frame = begin_result(id, data.len());
    frame.push_str(data);
    frame.push('}');
    frame
}

/// The same of a write, for a client that wants to know which commit it shows: `,"position":…` behind the data.
///
/// ```
/// use dunlin_protocol::{Id, frame};
/// let answer = frame::result_at(Id::ZERO, "null", 7);
/// assert_eq!(answer, r#"{"id":0,"type":"result","data":null,"position":7}"#);
/// ```
pub fn result_at(id: Id, data: &str, position: u64) -> String {
    let mut frame = begin_result(id, data.len() + POSITION_BYTES);
    frame.push_str(data);
    end_result(&mut frame, Some(position));
    frame
}

/// Ends a result, with the position where one is told.
pub fn end_result(frame: &mut String, position: Option<u64>) {
    push_position(frame, position);
    frame.push('}');
}

/// `,"position":` with the longest number.
const POSITION_BYTES: usize = 12 + 20;

fn push_position(frame: &mut String, position: Option<u64>) {
    if let Some(position) = position {
        frame.push_str(",\"position\":");
        frame.push_str(itoa::Buffer::new().format(position));
    }
}

/// The beginning of a [`result`] whose data is written straight behind it; a `}` ends it.
///
/// ```
/// use dunlin_protocol::{Id, frame};
/// let mut answer = frame::begin_result(Id::ZERO, 2);
/// answer.push_str("[]");
/// answer.push('}');
/// assert_eq!(answer, frame::result(Id::ZERO, "[]"));
/// ```
pub fn begin_result(id: Id, data_bytes: usize) -> String {
    id.with_text(|id| {
        // Exactly as much as is needed: a buffer without room to spare becomes a frame without another allocation.
        let mut frame = String::with_capacity(HEAD.len() + id.len() + MIDDLE.len() + data_bytes + 1);
        frame.push_str(HEAD);
        frame.push_str(id);
        frame.push_str(MIDDLE);
        frame
    })
}

const HEAD: &str = "{\"id\":";
const MIDDLE: &str = ",\"type\":\"result\",\"data\":";

/// `{"id":…,"type":"error","code":…,"message":…,"details"?:…}`. The id is [`Id::ZERO`] for what cannot be attributed to a
/// request. Without details only [hints](Error::hints) are left of them.
pub fn error(id: Id, error: &Error, with_details: bool) -> String {
    let mut frame = HEAD.to_owned();
    id.with_text(|id| frame.push_str(id));
    frame.push_str(",\"type\":\"error\",\"code\":\"");
    frame.push_str(error.code.as_str());
    frame.push_str("\",\"message\":");
    frame.push_str(&quoted(&error.message));
    let details = if with_details { error.details.as_deref().map(ToString::to_string) } else { None };
    if let Some(details) = details.or_else(|| error.hints().map(|hints| hints.to_string())) {
        frame.push_str(",\"details\":");
        frame.push_str(&details);
    }
    frame.push('}');
    frame
}

/// What of a live query's result a push holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushBody {
    /// Nothing: the result is undefined.
    None,
    /// The whole result.
    Data,
    /// Operations of a JSON Patch, without the brackets around them.
    Patch,
}

/// Everything of a push up to its body: `{"type":"push","channel":"subscription","subscriptionId":…,"position"?:…` and then
/// `,"data":` or `,"patch":[`. The body is written straight behind it, and the [tail](PushBody::tail) behind that: it is shared
/// by all who get it, and never copied for one of them.
///
/// ```
/// use dunlin_protocol::frame::{PushBody, push_head};
/// let patch = r#"{"op":"remove","path":"/0"}"#;
/// let frame = [&push_head("sub-1", Some(7), PushBody::Patch), patch, PushBody::Patch.tail()].concat();
/// let expected = r#"{"type":"push","channel":"subscription","subscriptionId":"sub-1","position":7,"patch":[{"op":"remove","path":"/0"}]}"#;
/// assert_eq!(frame, expected);
/// ```
pub fn push_head(subscription_id: &str, position: Option<u64>, body: PushBody) -> String {
    const HEAD: &str = "{\"type\":\"push\",\"channel\":\"subscription\",\"subscriptionId\":";
    let id = quoted(subscription_id);
    let head = body.head();
    let mut frame = String::with_capacity(HEAD.len() + id.len() + POSITION_BYTES + head.len());
    frame.push_str(HEAD);
    frame.push_str(&id);
    push_position(&mut frame, position);
    frame.push_str(head);
    frame
}

/// Everything of the push of an event up to its data: `{"type":"push","channel":"event","subscriptionId":…,"position"?:…,"data":`.
/// The data, which all who get it share, is written straight behind it, and a `}` ends it.
///
/// ```
/// use dunlin_protocol::frame::event_head;
/// let frame = event_head("sub-1", None) + r#"{"topic":"a","event":{}}"# + "}";
/// assert_eq!(frame, r#"{"type":"push","channel":"event","subscriptionId":"sub-1","data":{"topic":"a","event":{}}}"#);
/// ```
pub fn event_head(subscription_id: &str, position: Option<u64>) -> String {
    let mut frame =
        concat(&["{\"type\":\"push\",\"channel\":\"event\",\"subscriptionId\":", &quoted(subscription_id)]);
    push_position(&mut frame, position);
    frame.push_str(PushBody::Data.head());
    frame
}

impl PushBody {
    const fn head(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Data => ",\"data\":",
            Self::Patch => ",\"patch\":[",
        }
    }

    /// What ends the frame behind the body.
    pub const fn tail(self) -> &'static str {
        match self {
            Self::None | Self::Data => "}",
            Self::Patch => "]}",
        }
    }
}

/// The first frame on every connection. `server_time` is in Unix milliseconds.
pub fn welcome(server_time: u64, requires_auth: bool) -> String {
    format!(
        "{{\"type\":\"welcome\",\"version\":\"{PROTOCOL_VERSION}\",\"serverTime\":{server_time},\"requiresAuth\":{requires_auth}}}"
    )
}

/// The heartbeat's question. `timestamp` is in Unix milliseconds.
pub fn ping(timestamp: u64) -> String {
    format!("{{\"type\":\"ping\",\"timestamp\":{timestamp}}}")
}

/// Tells that the server stops after `grace_period_ms`.
pub fn shutdown(grace_period_ms: u64) -> String {
    format!("{{\"type\":\"system\",\"event\":\"shutdown\",\"gracePeriodMs\":{grace_period_ms}}}")
}

/// Tells that the sessions of whoever is logged in were revoked; the connection is closed behind it.
pub fn session_revoked() -> String {
    "{\"type\":\"system\",\"event\":\"session_revoked\",\"reason\":\"Session revoked by administrator\"}"
        .to_owned()
}

/// Tells that the server ended a live query and why. Clients of 1.0.0 ignore system events they do not know.
pub fn subscription_ended(subscription_id: &str, code: Code, message: &str) -> String {
    concat(&[
        "{\"type\":\"system\",\"event\":\"subscription_ended\",\"subscriptionId\":",
        &quoted(subscription_id),
        ",\"code\":\"",
        code.as_str(),
        "\",\"message\":",
        &quoted(message),
        "}",
    ])
}

/// Tells how far a backup has come that the request `id` has asked for.
///
/// ```
/// use dunlin_protocol::{Id, frame};
/// let event = frame::backup_progress(Id::ZERO, 500, 2_000, 81_920);
/// assert_eq!(event, r#"{"type":"system","event":"backup_progress","requestId":0,"records":500,"total":2000,"bytes":81920}"#);
/// ```
pub fn backup_progress(id: Id, records: u64, total: u64, bytes: u64) -> String {
    id.with_text(|id| {
        format!(
            "{{\"type\":\"system\",\"event\":\"backup_progress\",\"requestId\":{id},\"records\":{records},\"total\":{total},\
             \"bytes\":{bytes}}}"
        )
    })
}

/// JSON text of anything that serialises without fail: strings, numbers, and structs of them.
pub fn json<T: Serialize + ?Sized>(value: &T) -> String {
    // Only maps with keys that are not strings, and failing `Serialize` implementations, can fail: there are none here.
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

fn quoted(text: &str) -> String {
    json(text)
}

/// One allocation of the exact size.
fn concat(parts: &[&str]) -> String {
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn frames_are_sound_json_whatever_the_text() {
        let nasty = "quote \" backslash \\ newline \n snowman ☃ nul \0";
        let failure = Error::new(Code::Conflict, nasty).with_details(json!({"bucket": nasty}));
        for frame in [
            error(Id::ZERO, &failure, true),
            error(Id::ZERO, &failure, false),
            push_head(nasty, None, PushBody::Data) + "[1]" + PushBody::Data.tail(),
            push_head(nasty, Some(u64::MAX), PushBody::Patch) + "{}" + PushBody::Patch.tail(),
            push_head(nasty, None, PushBody::None) + PushBody::None.tail(),
            event_head(nasty, Some(u64::MAX)) + "{}" + "}",
            result_at(Id::ZERO, "[1]", u64::MAX),
            subscription_ended(nasty, Code::Forbidden, nasty),
            welcome(1, true),
            ping(2),
            shutdown(3),
            session_revoked(),
        ] {
            serde_json::from_str::<serde_json::Value>(&frame).expect(&frame);
        }
    }

    #[test]
    fn details_can_be_withheld_and_are_otherwise_absent_when_there_are_none() {
        let failure = Error::new(Code::NotFound, "gone");
        assert_eq!(
            error(Id::ZERO, &failure, true),
            r#"{"id":0,"type":"error","code":"NOT_FOUND","message":"gone"}"#
        );
        let failure = failure.with_details(json!([1]));
        assert_eq!(
            error(Id::ZERO, &failure, true),
            r#"{"id":0,"type":"error","code":"NOT_FOUND","message":"gone","details":[1]}"#
        );
        assert_eq!(
            error(Id::ZERO, &failure, false),
            r#"{"id":0,"type":"error","code":"NOT_FOUND","message":"gone"}"#
        );
    }

    #[test]
    fn what_tells_a_program_how_to_go_on_is_not_withheld() {
        let details = json!({"retryAfterMs": 5, "bucket": "users"});
        let failure = Error::new(Code::RateLimited, "slower").with_details(details);
        assert_eq!(
            error(Id::ZERO, &failure, false),
            r#"{"id":0,"type":"error","code":"RATE_LIMITED","message":"slower","details":{"retryAfterMs":5}}"#
        );
    }
}
