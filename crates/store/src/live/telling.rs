//! What a view tells: its result, what has changed of it, what somebody has missed, and how it is kept.

use std::sync::Arc;

use super::matching::Filed;
use super::view::Kept;
use super::views::Views;
use super::{Replay, ViewId, patch};
use crate::StoreError;

/// What somebody who has seen an earlier result can be told.
#[derive(Debug)]
pub enum Resume {
    /// Nothing has changed since.
    Unchanged,
    /// What has changed is to be worked out.
    Replay(Box<Replay>),
    /// Nobody knows any more; he must begin anew.
    Lost,
}

/// How a live query is found and kept, and what it has cost so far.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveExplain {
    /// How a changed record finds it.
    pub matching: serde_json::Value,
    /// What is kept of it: `rows` (all that match), `window` (those shown and a reserve), `totals`, `groups`; of a closure
    /// `run` (it is run again when what it has read changes).
    pub maintenance: &'static str,
    /// Records or groups held.
    pub held: usize,
    /// How often it was told of a change, or run.
    pub evaluations: u64,
    /// How often its result or what changed of it was written as JSON.
    pub encodings: u64,
    /// Position at which its result changed last.
    pub position: u64,
}

impl Views {
    /// A view's result as JSON text; `None` if it is undefined. Written once for each change.
    ///
    /// # Errors
    /// [`StoreError::LimitReached`] if included records make it too long: the view should be closed then.
    pub fn result(&mut self, id: ViewId) -> Result<Option<Arc<str>>, StoreError> {
        let result = self.all.get_mut(&id).map_or(Ok(None), |view| view.encode(&self.snapshot));
        self.weigh(id);
        result
    }

    /// Bytes of a view's result when it was written last.
    pub fn length(&self, id: ViewId) -> usize {
        self.all.get(&id).map_or(0, |view| view.length)
    }

    /// The operations of a JSON Patch, joined by commas, for what the step has done by which the view's result changed last.
    ///
    /// # Errors
    /// As [`Views::result`].
    pub fn patch(&mut self, id: ViewId) -> Result<String, StoreError> {
        let Some(view) = self.all.get_mut(&id) else { return Ok(String::new()) };
        let told = match &view.kept {
            Kept::Maintained(maintained) => maintained.patch(&view.delta, &self.snapshot)?,
            Kept::Run { .. } => None,
        };
        view.encodings += 1;
        match told {
            Some(told) if told.len() <= view.length => Ok(told),
            told => {
                let whole = patch::whole(view.encode(&self.snapshot)?.as_deref());
                Ok(told.filter(|told| told.len() <= whole.len()).unwrap_or(whole))
            }
        }
    }

    /// The names of the buckets that a view depends on.
    pub fn buckets(&self, id: ViewId) -> Vec<Arc<str>> {
        self.all.get(&id).map(|view| view.buckets.clone()).unwrap_or_default()
    }

    /// Position of the step that changed a view's result last, or at which the view was made.
    pub fn changed_at(&self, id: ViewId) -> u64 {
        self.all.get(&id).map_or(0, |view| view.changed_at)
    }

    /// Position of the state that a view's result is true of; `None` if it has none at the moment.
    pub fn shows(&self, id: ViewId) -> Option<u64> {
        let view = self.all.get(&id)?;
        match &view.kept {
            _ if !view.stale => Some(self.snapshot.position()),
            Kept::Run { .. } => Some(view.made_at),
            Kept::Maintained(_) => None,
        }
    }

    /// What somebody can be told who has seen the result of a view, that is not stale, at an earlier position. `name` is the
    /// name by which he knows the query, if it has one.
    ///
    /// # Errors
    /// As [`Views::result`].
    pub fn resume(
        &mut self,
        id: ViewId,
        name: Option<&str>,
        epoch: &str,
        position: u64,
    ) -> Result<Resume, StoreError> {
        let (known, now) = (epoch == self.snapshot.epoch(), self.snapshot.position());
        if !known || position > now || name.is_some_and(|name| !self.history.same_query(position, name)) {
            return Ok(Resume::Lost);
        }
        let Some(view) = self.all.get(&id).filter(|view| !view.stale) else { return Ok(Resume::Lost) };
        let code = matches!(view.kept, Kept::Run { .. });
        if code && position <= self.started_at {
            return Ok(Resume::Lost);
        }
        if position >= view.changed_at {
            return Ok(Resume::Unchanged);
        }
        let reached = if code {
            self.history.reaches_all(position)
        } else {
            view.buckets.iter().all(|name| self.history.reaches(position, name))
        };
        if !reached {
            return Ok(Resume::Lost);
        }
        let wanted = if code { None } else { Some(self.ids(&view.buckets)) };
        let past = self.history.past(position, wanted, &self.snapshot);
        let Some(view) = self.all.get_mut(&id) else { return Ok(Resume::Lost) };
        let (result, query) = (view.encode(&self.snapshot)?, view.query.clone());
        let prepared = self.prepare(query);
        Ok(Resume::Replay(Box::new(Replay { prepared, past, result })))
    }

    /// How a view is found and kept, and what it has cost so far.
    pub fn explain(&self, id: ViewId) -> Option<LiveExplain> {
        let view = self.all.get(&id)?;
        let (maintenance, held) = match &view.kept {
            Kept::Maintained(maintained) => (maintained.maintenance(), maintained.held()),
            Kept::Run { .. } => ("run", 0),
        };
        Some(LiveExplain {
            matching: view.filed.as_ref().map_or_else(|| "reads".into(), Filed::explain),
            maintenance,
            held,
            evaluations: view.evaluations,
            encodings: view.encodings,
            position: view.changed_at,
        })
    }
}
