//! What is true at each position: a journal that keeps every state, and evaluates queries on it from scratch.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dunlin_journal::{Batch, Description, Journal, JournalError};
use dunlin_store::{Bucket, Change, FACTS, Query, Record, Snapshot};
use serde_json::{Value, json};

use crate::hearing::Happened;
use crate::random::HEARD;

/// What somebody wants to watch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wish {
    /// A name, or a definition.
    pub(crate) query: Value,
    pub(crate) params: Value,
    /// Both as text.
    name: Arc<str>,
}

impl Wish {
    pub(crate) fn new(query: Value, params: Value) -> Self {
        let name = format!("{query} {params}").into();
        Self { query, params, name }
    }
}

/// What has become of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    Defined,
    Updated,
    Cleared,
    Gone,
}

/// How the next append goes wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// By a panic, else by an error.
    pub(crate) panics: bool,
    /// What was to be appended is kept all the same.
    pub(crate) keeps: bool,
}

/// One history. Its clones are the same one: one for the server, one for the checks.
#[derive(Clone)]
pub(crate) struct Truth(Arc<Mutex<History>>);

struct History {
    states: BTreeMap<u64, Snapshot>,
    /// By name, each with its position.
    buckets: Vec<(u64, Arc<str>, Touch)>,
    queries: Vec<(u64, Arc<str>, Touch)>,
    /// Results that were worked out before.
    known: HashMap<Arc<str>, HashMap<u64, Option<Value>>>,
    /// Events of which rules have noted that they happened.
    happened: Vec<Happened>,
    names: HashSet<String>,
    /// What is wrong with those notes.
    wrong: Option<String>,
    fault: Option<Fault>,
    faults: u64,
    /// An append has failed in this tick; the position behind the last tick in which one had.
    failed: bool,
    failed_until: u64,
}

impl Truth {
    pub(crate) fn new(epoch: &str) -> Self {
        Self(Arc::new(Mutex::new(History {
            states: BTreeMap::from([(0, Snapshot::new(epoch))]),
            buckets: Vec::new(),
            queries: Vec::new(),
            known: HashMap::new(),
            happened: Vec::new(),
            names: HashSet::new(),
            wrong: None,
            fault: None,
            faults: 0,
            failed: false,
            failed_until: 0,
        })))
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn newest(&self) -> Snapshot {
        self.history().newest().clone()
    }

    pub(crate) fn position(&self) -> u64 {
        self.history().newest().position()
    }

    pub(crate) fn epoch(&self) -> String {
        self.history().newest().epoch().to_owned()
    }

    /// Lets the next append go wrong.
    pub(crate) fn plan(&self, fault: Fault) {
        self.history().fault = Some(fault);
    }

    /// How many appends have gone wrong.
    pub(crate) fn faults(&self) -> u64 {
        self.history().faults
    }

    /// Looks at the events that have happened, in order.
    pub(crate) fn happened<T>(&self, look: impl FnOnce(&[Happened]) -> T) -> T {
        look(&self.history().happened)
    }

    /// The facts at a position, each without its place.
    pub(crate) fn facts(&self, position: u64) -> Vec<Value> {
        let history = self.history();
        let facts = history.states[&position].bucket(FACTS);
        let mut facts: Vec<Value> = facts.into_iter().flat_map(Bucket::iter).map(Record::to_value).collect();
        facts.sort_by_key(|fact| fact["order"].as_u64());
        for fact in &mut facts {
            let members = ["key", "value", "timestamp", "source", "version"];
            *fact = members.into_iter().map(|name| (name.to_owned(), fact[name].clone())).collect();
        }
        facts
    }

    /// A tick is over: the server has recovered from what went wrong in it.
    pub(crate) fn tick(&self) {
        let mut history = self.history();
        assert_eq!(history.wrong, None, "what rules have noted");
        if std::mem::take(&mut history.failed) {
            history.failed_until = history.newest().position();
        }
    }

    /// Behind a failure the server knows nothing of what was before; from here on it does.
    pub(crate) fn failed_until(&self) -> u64 {
        let history = self.history();
        if history.failed { u64::MAX } else { history.failed_until }
    }

    /// The result at a position; `None` if there is none. An undefined one counts as `null`.
    pub(crate) fn result(&self, wish: &Wish, position: u64) -> Option<Value> {
        let mut history = self.history();
        if let Some(known) = history.known.get(&wish.name).and_then(|known| known.get(&position)) {
            return known.clone();
        }
        let state = history.states.get(&position).unwrap_or_else(|| panic!("no position {position}"));
        let result = evaluate(state, wish);
        history.known.entry(Arc::clone(&wish.name)).or_default().insert(position, result.clone());
        result
    }

    /// The earliest position of a range at which this is the result.
    pub(crate) fn earliest(&self, wish: &Wish, range: RangeInclusive<u64>, result: &Value) -> Option<u64> {
        range.into_iter().find(|position| self.result(wish, *position).as_ref() == Some(result))
    }

    /// The buckets that the result depends on; the first is the one that is asked. Empty if it cannot be told.
    pub(crate) fn buckets(&self, wish: &Wish, position: u64) -> Vec<String> {
        let history = self.history();
        let config = match &wish.query {
            Value::String(name) => {
                let query = history.states.get(&position).and_then(|state| state.query(name).ok());
                query.map_or(Value::Null, |query| serde_json::from_str(query.config()).unwrap())
            }
            config => config.clone(),
        };
        let asked = config["bucket"].as_str().map(str::to_owned);
        let included = (!config["include"].is_null()).then(|| "people".to_owned());
        asked.into_iter().chain(included).collect()
    }

    /// What has become of a bucket behind one position and up to another.
    pub(crate) fn bucket(&self, name: &str, after: u64, to: u64) -> Vec<Touch> {
        touches(&self.history().buckets, name, after, to)
    }

    pub(crate) fn query(&self, name: &str, after: u64, to: u64) -> Vec<Touch> {
        touches(&self.history().queries, name, after, to)
    }
}

fn touches(all: &[(u64, Arc<str>, Touch)], name: &str, after: u64, to: u64) -> Vec<Touch> {
    let those = all.iter().filter(|(at, of, _)| *at > after && *at <= to && **of == *name);
    those.map(|(_, _, touch)| *touch).collect()
}

fn evaluate(state: &Snapshot, wish: &Wish) -> Option<Value> {
    let text = match &wish.query {
        Value::String(name) => state.query(name).ok()?.bind(&wish.params).ok()?.evaluate(state).ok()?,
        config => {
            let query = Query::parse("(inline)", config.as_object()?).ok()?;
            query.bind(&wish.params).ok()?.evaluate(state).ok()?
        }
    };
    Some(text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap()))
}

impl History {
    fn newest(&self) -> &Snapshot {
        self.states.last_key_value().unwrap().1
    }

    /// A rule notes that an event has happened: once, and with the one before it as a fact.
    fn noted(&mut self, note: &Value, position: u64) {
        let text = |name: &str| note[name].as_str().unwrap_or_default().to_owned();
        let event = Happened { name: text("n"), topic: format!("x.{}", text("t")), position };
        let before = self.happened.last().map_or(Value::Null, |event| json!(event.name));
        if note["last"] != before {
            self.wrong = Some(format!("{note} is noted behind {before}"));
        }
        if !self.names.insert(event.name.clone()) {
            self.wrong = Some(format!("{note} is noted twice"));
        }
        self.happened.push(event);
    }
}

impl Journal for Truth {
    fn recover(&self) -> Result<Snapshot, JournalError> {
        Ok(self.newest())
    }

    fn append(&self, batch: Batch<'_>) -> Result<(), JournalError> {
        let fault = {
            let mut history = self.history();
            let fault = history.fault.take();
            history.faults += u64::from(fault.is_some());
            history.failed |= fault.is_some();
            fault
        };
        if fault.is_none_or(|fault| fault.keeps) {
            self.keep(batch);
        }
        match fault {
            None => Ok(()),
            // A panic that is not printed: it is none that anybody should look for.
            Some(Fault { panics: true, .. }) => std::panic::resume_unwind(Box::new("it was asked to")),
            Some(_) => {
                let source = std::io::Error::other("it was asked to");
                Err(JournalError::Io { action: "append to", dir: "a simulation".into(), source })
            }
        }
    }

    fn blocks(&self) -> bool {
        false
    }

    fn describe(&self) -> Description {
        dunlin_journal::MemoryJournal::new("").describe()
    }
}

impl Truth {
    fn keep(&self, batch: Batch<'_>) {
        let mut history = self.history();
        for commit in batch.commits {
            let mut state = history.newest().clone();
            for change in &commit.changes {
                let name = |id| state.bucket_by_id(id).map(|bucket| Arc::clone(bucket.name()));
                if let Change::Put { bucket, record, .. } = change
                    && name(*bucket).is_some_and(|name| *name == *HEARD)
                {
                    history.noted(&record.to_value(), commit.position);
                }
                let (bucket, touch) = match change {
                    Change::DefineBucket { name, .. } => (Some(Arc::clone(name)), Touch::Defined),
                    Change::UpdateBucket { bucket, .. } => (name(*bucket), Touch::Updated),
                    Change::DropBucket { bucket } => (name(*bucket), Touch::Gone),
                    Change::Clear { bucket } => (name(*bucket), Touch::Cleared),
                    Change::DefineQuery { name, .. } => {
                        history.queries.push((commit.position, Arc::clone(name), Touch::Defined));
                        continue;
                    }
                    Change::UndefineQuery { name } => {
                        history.queries.push((commit.position, Arc::clone(name), Touch::Gone));
                        continue;
                    }
                    _ => continue,
                };
                history.buckets.push((commit.position, bucket.unwrap(), touch));
            }
            state.apply(commit).unwrap();
            history.states.insert(commit.position, state);
        }
        assert_eq!(history.newest().position(), batch.next.position());
    }
}
