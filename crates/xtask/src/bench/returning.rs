//! What a client says that comes back to its live query, and what it is told.

use serde_json::{Value, json};

use crate::failure::{Doing, Failure, Outcome};

/// The last state that a client has: a moment in one history.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    epoch: String,
    position: u64,
}

impl Point {
    /// Of the answer to a subscription in patch mode.
    pub(crate) fn of(answer: &Value) -> Outcome<Self> {
        let data = &answer["data"];
        match (data["epoch"].as_str(), data["position"].as_u64()) {
            (Some(epoch), Some(position)) => Ok(Self { epoch: epoch.to_owned(), position }),
            _ => Err(Failure::new(format!("a subscription has no epoch or no position: {answer}"))),
        }
    }
}

/// Asks for patches and, from a point on, only for what was missed.
pub(crate) fn in_patch_mode(mut subscribe: Value, from: Option<&Point>) -> Value {
    subscribe["mode"] = "patch".into();
    if let Some(Point { epoch, position }) = from {
        subscribe["resume"] = json!({"epoch": epoch, "position": position});
    }
    subscribe
}

/// How a client was told what it had missed.
#[derive(Debug, PartialEq)]
pub(crate) enum Return {
    Resumed,
    Data,
}

/// Reads the answer to a subscription of a client that comes back; it must show exactly what was `missed`.
pub(crate) fn read(payload: &[u8], missed: Option<&str>) -> Outcome<Return> {
    let text = || String::from_utf8_lossy(payload).into_owned();
    let answer: Value =
        serde_json::from_slice(payload).doing(|| format!("an answer cannot be read: {}", text()))?;
    let data = &answer["data"];
    let told = match (data["resumed"].as_bool(), &data["patch"], &data["data"]) {
        (Some(true), Value::Array(patch), Value::Null) if patch.is_empty() == missed.is_none() => {
            Return::Resumed
        }
        (None | Some(false), Value::Null, Value::Array(_)) => Return::Data,
        _ => return Err(Failure::new(format!("neither data nor the patch that was due: {}", text()))),
    };
    match missed {
        Some(missed) if !shows(payload, missed) => {
            Err(Failure::new(format!("what was missed is missing: {}", text())))
        }
        _ => Ok(told),
    }
}

/// Whether a message has a field with this value, in a record or in a patch.
pub(crate) fn shows(payload: &[u8], value: &str) -> bool {
    let quoted = format!("\"{value}\"");
    payload.windows(quoted.len()).any(|window| window == quoted.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_asked_for_as_it_was_told() {
        let answer = json!({"type": "result", "data": {"subscriptionId": "sub-1", "data": [],
            "epoch": "e1", "position": 40, "resumed": false}});
        let point = Point::of(&answer).unwrap();
        let request = in_patch_mode(json!({"type": "store.subscribe", "query": "q"}), Some(&point));
        assert_eq!(request["resume"], json!({"epoch": "e1", "position": 40}));
        assert_eq!(request["mode"], "patch");
        assert!(Point::of(&json!({"data": {"subscriptionId": "sub-1", "data": []}})).is_err());
    }

    #[test]
    fn a_patch_must_hold_what_was_missed_and_nothing_when_nothing_was() {
        let empty = br#"{"id":1,"type":"result","data":{"resumed":true,"patch":[]}}"#;
        let change = br#"{"type":"result","data":{"resumed":true,"patch":[{"op":"add","value":"missed"}]}}"#;
        assert_eq!(read(empty, None).unwrap(), Return::Resumed);
        assert_eq!(read(change, Some("missed")).unwrap(), Return::Resumed);
        assert!(read(empty, Some("missed")).is_err());
        assert!(read(change, None).is_err());
        assert!(read(change, Some("other")).is_err());
    }

    #[test]
    fn data_must_show_what_was_missed_whether_or_not_it_says_so() {
        let plain =
            br#"{"id":1,"type":"result","data":{"subscriptionId":"sub-1","data":[{"note":"missed"}]}}"#;
        let patch = br#"{"id":1,"type":"result","data":{"resumed":false,"data":[{"note":"new"}]}}"#;
        assert_eq!(read(plain, Some("missed")).unwrap(), Return::Data);
        assert_eq!(read(patch, None).unwrap(), Return::Data);
        assert!(read(patch, Some("missed")).is_err());
        assert!(read(br#"{"id":1,"type":"result","data":{"resumed":true,"data":[]}}"#, None).is_err());
        assert!(read(b"{\"id\":1,\"type\":\"re", None).is_err());
    }
}
