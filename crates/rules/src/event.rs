//! What rules are about: events and facts.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Object;

/// Something that happened, on the wire and in the state as this JSON object. `correlationId` names the story it belongs to,
/// `causationId` what led to it: the event or timer that triggered the rule which emitted it, or what the sender said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Unique; 32 hexadecimal digits.
    pub id: Arc<str>,
    /// Segments between dots.
    pub topic: Arc<str>,
    /// What is told with it.
    pub data: Arc<Object>,
    /// When it was processed, Unix milliseconds.
    pub timestamp: u64,
    /// Who made it.
    pub source: Source,
    /// Inherited by everything that follows from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Arc<str>>,
    /// The event, timer or fact change before it in its chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Arc<str>>,
}

impl Event {
    /// About as many bytes as it has as JSON text.
    pub(crate) fn bytes(&self) -> usize {
        let members = self.data.iter().map(|(name, value)| name.len() + 4 + bytes_of(value));
        FRAME + members.sum::<usize>()
    }
}

/// Bytes of an event apart from its data: its topic and ids.
const FRAME: usize = 200;

fn bytes_of(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| 1 + bytes_of(item)).sum::<usize>(),
        Value::Object(members) => {
            2 + members.iter().map(|(name, value)| name.len() + 4 + bytes_of(value)).sum::<usize>()
        }
    }
}

/// Who made an event or set a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Source {
    /// A client or the embedding program.
    Api,
    /// A rule's action.
    Rule,
    /// A timer that expired.
    Timer,
    /// The change of a record.
    Store,
}

/// Something that is known, on the wire as this JSON object without `order`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// Segments between colons.
    pub key: Arc<str>,
    /// Any JSON value.
    pub value: Arc<Value>,
    /// When it was last set, Unix milliseconds.
    pub timestamp: u64,
    /// Who set it last.
    pub source: Source,
    /// 1 when it came to be, one more each time it is set.
    pub version: u64,
    /// Facts are listed by this: a later one has a higher number, and setting a fact again keeps it.
    #[serde(skip_serializing, default)]
    pub order: u64,
}

/// An id: 32 hexadecimal digits.
pub(crate) fn hex(bits: u128) -> Arc<str> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(32);
    for byte in bits.to_be_bytes() {
        for digit in [byte >> 4, byte & 15] {
            text.push(DIGITS.get(usize::from(digit)).copied().unwrap_or(b'0').into());
        }
    }
    text.into()
}
