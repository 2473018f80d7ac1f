//! The engine's state as data: what is logged, and what an engine is made of again.

use std::sync::Arc;

use crate::Fact;

/// One change of an engine's state. All changes of a run are made durable together with what it wrote to the store, in the same
/// append, or not at all; the newest change of each key is the whole state.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A fact is set, or gone.
    Fact {
        /// Its key.
        key: Arc<str>,
        /// The fact; `None` if it is gone.
        fact: Option<Arc<Fact>>,
    },
    /// An entry is written, or gone. Its key begins with one of [`prefix`].
    Entry {
        /// Its key.
        key: Arc<str>,
        /// JSON text; `None` if it is gone.
        value: Option<Arc<str>>,
    },
}

/// What keys of entries begin with. Each is followed by the name of what it holds.
pub mod prefix {
    /// `m`: counters that are never given twice, one entry.
    pub const META: &str = "m";
    /// `r/<rule id>`: `{"order": n, "rule": {…}}`, the complete rule as `rules.getRule` shows it.
    pub const RULE: &str = "r/";
    /// `v/<rule id>/<n, 10 digits>`: an entry of the rule's history, as `rules.history` shows it.
    pub const VERSION: &str = "v/";
    /// `g/<group id>`: `{"order": n, "group": {…}}`.
    pub const GROUP: &str = "g/";
    /// `t/<timer name>`: a timer, as `rules.timers` shows it, with what else it needs to go on.
    pub const TIMER: &str = "t/";
    /// `p/<rule id>/…`: the state of a temporal pattern; below that the pattern's own business.
    pub const PATTERN: &str = "p/";
    /// `k/<firing id>`: a firing that waits for an answer from outside.
    pub const WAITING: &str = "k/";
    /// `x/<call id>`: a call that is to be made, see [`OutgoingCall`](crate::OutgoingCall).
    pub const CALL: &str = "x/";
    /// `d/<call id>`: a call that failed for good, `{"call": {…}, "error": "…", "failedAt": ms}`.
    pub const DEAD: &str = "d/";
}
