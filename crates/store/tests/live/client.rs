//! A subscriber in patch mode that stalls, goes away and comes back.

use dunlin_store::{Resume, ViewId, Views};
use serde_json::Value;

use crate::patch;

pub struct Client {
    pub view: ViewId,
    /// What it believes the result to be, and since which position.
    pub belief: Value,
    pub position: u64,
    /// Patches that it has not taken yet, joined, and the position of the newest.
    pending: Option<(String, u64)>,
    /// It has gone away.
    pub away: bool,
}

/// An undefined result is `null` for a subscriber in patch mode.
pub fn result(views: &mut Views, view: ViewId) -> Value {
    let result = views.result(view).unwrap();
    result.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

/// Operations that are joined by commas, as a list.
fn listed(operations: &str) -> Value {
    serde_json::from_str(&format!("[{operations}]")).unwrap()
}

impl Client {
    pub fn new(views: &mut Views, view: ViewId) -> Self {
        let (belief, position) = (result(views, view), views.snapshot().position());
        Self { view, belief, position, pending: None, away: false }
    }

    pub fn push(&mut self, position: u64, operations: &str) {
        if self.away {
            return;
        }
        assert!(position > self.position, "positions grow: {position} after {}", self.position);
        match &mut self.pending {
            Some((pending, newest)) => {
                assert!(position > *newest, "positions grow: {position} after {newest}");
                pending.push(',');
                pending.push_str(operations);
                *newest = position;
            }
            None => self.pending = Some((operations.to_owned(), position)),
        }
    }

    /// Takes what waits for it. A patch that says nothing is never sent.
    pub fn drain(&mut self) {
        if let Some((operations, position)) = self.pending.take() {
            assert!(!operations.is_empty());
            let before = self.belief.clone();
            patch::apply(&mut self.belief, &listed(&operations));
            if !operations.contains("},{") {
                assert_ne!(before, self.belief, "a patch that changes nothing: {operations}");
            }
            self.position = position;
        }
    }

    /// Whether it is there and has taken everything.
    pub fn is_up_to_date(&self) -> bool {
        !self.away && self.pending.is_none()
    }

    pub fn leave(&mut self) {
        self.pending = None;
        self.away = true;
    }

    /// Comes back and is told what it has missed, or everything. Whether it could be told.
    pub fn return_to(&mut self, views: &mut Views) -> bool {
        let epoch = views.snapshot().epoch().to_owned();
        let resumed = match views.resume(self.view, None, &epoch, self.position).unwrap() {
            Resume::Unchanged => true,
            Resume::Replay(replay) => match replay.run() {
                Some(operations) => {
                    patch::apply(&mut self.belief, &listed(&operations));
                    true
                }
                None => false,
            },
            Resume::Lost => false,
        };
        if !resumed {
            self.belief = result(views, self.view);
        }
        self.position = views.snapshot().position();
        self.away = false;
        resumed
    }
}
