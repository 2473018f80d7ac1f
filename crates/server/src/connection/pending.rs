//! What one subscription still has to be told: never more than one push, however many there were.

use dunlin_protocol::Mode;
use dunlin_protocol::frame::{PushBody, push_head};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::SubscriptionId;
use super::outgoing::Outgoing;

/// JSON text that all who get it share.
pub(crate) type Body = Utf8Bytes;

/// What a view tells its subscribers: made once for all of them.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// The whole result; `None` is an undefined one. For whoever wants patches it becomes one that replaces everything.
    Full { position: u64, data: Option<Body> },
    /// Operations of a JSON Patch on the state that was told before, joined by commas and without brackets.
    Patch { position: u64, ops: Body },
}

/// What became of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits for the driver.
    Sent,
    /// It waits, and one that waited before it has become part of it or was replaced.
    Merged,
    /// Not taken: together with what waits this patch is longer than the result, or the subscriber wants no patches. Give the
    /// whole result instead, with [`Outbox::push_whole`](super::Outbox::push_whole).
    NeedsWhole,
    /// Not taken: the client knows this state already, or is about to.
    Known,
    /// The subscription has ended.
    Closed,
}

/// A push that waits.
#[derive(Debug)]
pub(super) struct Pending {
    position: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Full(Option<Body>),
    /// The whole result for a subscriber that wants patches.
    Whole(Option<Body>),
    Patch(Body),
    /// Several patches in order, and their bytes with the commas between them. Each is shared; they are joined when they
    /// leave.
    Patches(Vec<Body>, usize),
}

/// The operation that stands for a whole result, around it.
const WHOLE: [&str; 2] = ["{\"op\":\"replace\",\"path\":\"\",\"value\":", "}"];

/// Bytes that the operations of a patch may have, where the whole result has `whole`.
const fn longest(whole: usize) -> usize {
    WHOLE[0].len() + whole + WHOLE[1].len()
}

/// How a result that is undefined looks where there has to be a value.
const UNDEFINED: &str = "null";

impl Pending {
    /// A whole result, in the mode of its subscriber.
    pub(super) fn whole(mode: Mode, position: u64, data: Option<Body>) -> Self {
        let content = match mode {
            Mode::Full => Content::Full(data),
            Mode::Patch => Content::Whole(data),
        };
        Self { position, content }
    }

    /// A patch alone; `None` if it is longer than the result, which has `whole` bytes.
    pub(super) fn patch(position: u64, ops: &Body, whole: usize) -> Option<Self> {
        (ops.len() <= longest(whole)).then(|| Self { position, content: Content::Patch(ops.clone()) })
    }

    /// Lets a patch join what waits; `false` if both together are longer than the result, which has `whole` bytes.
    pub(super) fn join(&mut self, position: u64, ops: &Body, whole: usize) -> bool {
        let bytes = self.bytes() + 1 + ops.len();
        if bytes > longest(whole) {
            return false;
        }
        match &mut self.content {
            Content::Patch(first) => {
                self.content = Content::Patches(vec![first.clone(), ops.clone()], bytes);
            }
            Content::Patches(all, total) => {
                all.push(ops.clone());
                *total = bytes;
            }
            // It is replaced by a newer one, which then needs nothing behind it.
            Content::Full(_) | Content::Whole(_) => return false,
        }
        self.position = position;
        true
    }

    /// Bytes of it that wait.
    pub(super) fn bytes(&self) -> usize {
        match &self.content {
            Content::Full(data) => data.as_ref().map_or(0, |data| data.len()),
            Content::Whole(data) => {
                let value = data.as_ref().map_or(UNDEFINED.len(), |data| data.len());
                WHOLE[0].len() + value + WHOLE[1].len()
            }
            Content::Patch(ops) => ops.len(),
            Content::Patches(_, bytes) => *bytes,
        }
    }

    /// As it leaves. `positions`: the client has asked to be told them.
    pub(super) fn into_frame(self, id: SubscriptionId, positions: bool) -> Outgoing {
        let id = format!("sub-{id}");
        let patch = || push_head(&id, Some(self.position), PushBody::Patch);
        match self.content {
            Content::Full(data) => {
                let part = if data.is_some() { PushBody::Data } else { PushBody::None };
                let head = push_head(&id, positions.then_some(self.position), part);
                Outgoing::around(&head, data.unwrap_or_default(), part.tail())
            }
            Content::Whole(data) => {
                let data = data.unwrap_or(Body::from_static(UNDEFINED));
                Outgoing::around(&(patch() + WHOLE[0]), data, WHOLE_TAIL)
            }
            Content::Patch(ops) => Outgoing::around(&patch(), ops, PushBody::Patch.tail()),
            Content::Patches(all, bytes) => {
                let mut ops = String::with_capacity(bytes);
                for part in &all {
                    if !ops.is_empty() {
                        ops.push(',');
                    }
                    ops.push_str(part);
                }
                Outgoing::around(&patch(), ops.into(), PushBody::Patch.tail())
            }
        }
    }
}

/// What ends an operation on the whole result, the patch and the push.
const WHOLE_TAIL: &str = "}]}";
