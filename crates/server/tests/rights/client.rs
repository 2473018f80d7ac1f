//! A client: what it has asked, what it makes of the frames that it receives, and what it holds for true.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};
use tokio::io::DuplexStream;

use crate::model::{Expected, Query, Sight, Subscribed};
use crate::patch;
use crate::tally::Tally;
use crate::wire::{Frame, Pipe};

/// Ended live queries that are remembered: more than can end between a request to come back and its answer.
const BACK_MOST: usize = 50;

/// Bytes of a pipe: all that is ever under way.
pub(crate) const PIPE_BYTES: usize = 1 << 24;

/// A live query, as its watcher sees it.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) query: Query,
    pub(crate) patch: bool,
    /// By which rules it was judged last.
    pub(crate) sight: Sight,
    /// What the client believes the result to be, and since when.
    pub(crate) belief: Value,
    epoch: Option<String>,
    position: Option<u64>,
    /// The request that it began with.
    request: Value,
}

/// One that has ended, to come back to.
#[derive(Debug, Clone)]
pub(crate) struct Lost {
    pub(crate) request: Value,
    pub(crate) epoch: String,
    pub(crate) position: u64,
    belief: Value,
    sight: Sight,
}

/// A cursor, and what it stands for.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    pub(crate) bucket: String,
    pub(crate) sort: Value,
    pub(crate) text: String,
    pub(crate) place: Value,
}

/// That a subscription may end now, with one of these codes; or must.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) must: bool,
    pub(crate) code: &'static str,
}

struct Asked {
    id: u64,
    request: Value,
    expected: Expected,
    /// What it begins ends in the same batch.
    end: Option<End>,
}

pub(crate) struct Client {
    pub(crate) name: usize,
    pipe: Pipe,
    last_id: u64,
    asked: VecDeque<Asked>,
    /// It has asked for positions.
    pub(crate) positions: bool,
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
    closing: BTreeSet<String>,
    pub(crate) ends: BTreeMap<String, End>,
    pub(crate) lost: Vec<Lost>,
    pub(crate) cursors: Vec<Cursor>,
    /// Writes with an idempotency key, the last ones.
    pub(crate) keyed: Vec<Value>,
}

impl Client {
    pub(crate) fn new(name: usize, stream: DuplexStream) -> Self {
        Self {
            name,
            pipe: Pipe::new(stream),
            last_id: 0,
            asked: VecDeque::new(),
            positions: false,
            subscriptions: BTreeMap::new(),
            closing: BTreeSet::new(),
            ends: BTreeMap::new(),
            lost: Vec::new(),
            cursors: Vec::new(),
            keyed: Vec::new(),
        }
    }

    /// Its subscriptions that it has not given up.
    pub(crate) fn open(&self) -> Vec<String> {
        self.subscriptions.keys().filter(|id| !self.closing.contains(*id)).cloned().collect()
    }

    /// Asks of each live query whether it ends now: also of those that have not been answered yet.
    pub(crate) fn ending(&mut self, mut ends: impl FnMut(&Query, bool, &mut Sight) -> Option<End>) {
        for (id, subscription) in &mut self.subscriptions {
            if self.closing.contains(id) {
                continue;
            }
            let Subscription { query, patch, sight, .. } = subscription;
            if let Some(end) = ends(query, *patch, sight) {
                self.ends.insert(id.clone(), end);
            }
        }
        for asked in &mut self.asked {
            if let Expected::Subscribed(begun) = &mut asked.expected {
                let Subscribed { query, patch, sight_then, .. } = &mut **begun;
                asked.end = ends(query, *patch, sight_then);
            }
        }
    }

    pub(crate) fn ask(&mut self, mut request: Value, expected: Expected) -> String {
        if let Expected::Unsubscribed(id) = &expected {
            self.closing.insert(id.clone());
        }
        if request.get("idempotencyKey").is_some() {
            self.keyed.truncate(5);
            self.keyed.insert(0, request.clone());
        }
        self.last_id += 1;
        request["id"] = json!(self.last_id);
        let mut sent = request.clone();
        sent.as_object_mut().unwrap().shift_remove("place");
        let text = sent.to_string();
        self.pipe.send(&text);
        self.asked.push_back(Asked { id: self.last_id, request, expected, end: None });
        text
    }

    pub(crate) fn write(&mut self) {
        self.pipe.write();
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.asked.is_empty()
    }

    /// The next frame that has come.
    pub(crate) fn receive(&mut self) -> Option<String> {
        self.pipe.read(usize::MAX);
        match self.pipe.next()? {
            Frame::Text(text) => Some(text),
            Frame::Close(code) => panic!("client {} is closed with {code}", self.name),
        }
    }

    /// Takes a frame. What it says that nobody is held to: an error, or a push.
    pub(crate) fn take(&mut self, text: &str, tally: &mut Tally) -> Kind {
        let frame: Value = serde_json::from_str(text).unwrap();
        match frame["type"].as_str().unwrap() {
            "welcome" => Kind::Nothing,
            "result" | "error" => self.answered(&frame, tally),
            "push" => {
                self.pushed(&frame, tally);
                Kind::Push
            }
            "system" => {
                self.ended(&frame, tally);
                Kind::Told(String::new())
            }
            other => panic!("nobody promised {other}: {text}"),
        }
    }

    fn answered(&mut self, frame: &Value, tally: &mut Tally) -> Kind {
        let Asked { id, request, expected, end } = self.asked.pop_front().expect("an answer to a request");
        assert_eq!(frame["id"], id, "answers come in order: {frame} to {request}");
        let kind = request["type"].as_str().unwrap().to_owned();
        let (data, place) = (&frame["data"], || format!("client {}: {frame} to {request}", self.name));
        if let Expected::Refused(codes) = &expected {
            let code = frame["code"].as_str().unwrap_or("no error");
            assert!(codes.contains(&code), "expected {codes:?}: {}", place());
            tally.count(&format!("{kind} {code}"));
            tally.count(if code == "FORBIDDEN" { "forbidden" } else { "refused otherwise" });
            return Kind::Told(request.to_string());
        }
        assert_eq!(frame["type"], "result", "expected {expected:?}: {}", place());
        tally.count(&format!("{kind} done"));
        match expected {
            Expected::Data(expected) => {
                assert!(same(&expected, data), "expected {expected}: {}", place());
                Kind::Nothing
            }
            Expected::Page { mut page, bucket, sort } => {
                let stands_for = page.as_object_mut().unwrap().shift_remove("cursor");
                let mut told = data.clone();
                let cursor = told.as_object_mut().unwrap().shift_remove("cursor");
                assert!(same(&page, &told), "expected {page}: {}", place());
                assert_eq!(stands_for.is_some(), cursor.is_some(), "{}", place());
                if let (Some(place), Some(Value::String(text))) = (stands_for, cursor) {
                    self.cursors.truncate(5);
                    self.cursors.insert(0, Cursor { bucket, sort, text, place });
                }
                Kind::Nothing
            }
            Expected::Subscribed(begun) => {
                let id = self.subscribed(*begun, &request, data, tally);
                self.ends.extend(end.map(|end| (id, end)));
                Kind::Nothing
            }
            Expected::Unsubscribed(id) => {
                assert_eq!(*data, json!({"unsubscribed": true}), "{}", place());
                self.closing.remove(&id);
                let given_up = self.subscriptions.remove(&id).expect("it was there");
                self.lose(given_up);
                Kind::Nothing
            }
            Expected::Explained(count) => {
                assert_eq!(data["rowsReturned"], count, "{}", place());
                Kind::Told(request.to_string())
            }
            Expected::Stats { within, known } => {
                let told = data.pointer(within).unwrap();
                for (name, expected) in known.as_object().unwrap() {
                    let told = &told[name];
                    let right = match name.as_str() {
                        "names" => sorted(told) == sorted(expected),
                        "buckets" => {
                            told["count"] == expected["count"]
                                && sorted(&told["names"]) == sorted(&expected["names"])
                        }
                        "queries" => told.as_array().unwrap().iter().zip(expected.as_array().unwrap()).all(
                            |(told, expected)| {
                                told["name"] == expected["name"] && told["config"] == expected["config"]
                            },
                        ),
                        _ => same(told, expected),
                    };
                    assert!(right, "{name} should be {expected}: {}", place());
                }
                // Definitions of queries hold no record's values but those that everybody knows.
                if kind == "store.listQueries" { Kind::Nothing } else { Kind::Told(request.to_string()) }
            }
            Expected::Silent => Kind::Told(request.to_string()),
            Expected::Refused(_) => unreachable!("looked at above"),
        }
    }

    fn subscribed(&mut self, begun: Subscribed, request: &Value, data: &Value, tally: &mut Tally) -> String {
        let id = data["subscriptionId"].as_str().unwrap().to_owned();
        let resume = &request["resume"];
        let lost = self.lost.iter().find(|lost| {
            resume["epoch"] == lost.epoch.as_str() && resume["position"] == lost.position && {
                let (one, other) = (&lost.request, request);
                one["query"] == other["query"] && one["params"] == other["params"]
            }
        });
        let belief = if data["resumed"] == true {
            let lost = lost.expect("only who asks for it is resumed");
            let same_rules =
                lost.sight.comes_to == begun.sight.comes_to || lost.sight.open && begun.sight.open;
            assert!(same_rules, "resumed under other rules: {data} to {request} after {lost:?}");
            tally.count("resumed");
            let mut belief = lost.belief.clone();
            patch::apply(&mut belief, &data["patch"]);
            belief
        } else {
            if let Some(lost) = lost {
                let other = lost.sight.comes_to != begun.sight.comes_to;
                tally.count(if other { "not resumed under other rules" } else { "not resumed" });
            }
            data["data"].clone()
        };
        assert!(
            same(&begun.result, &belief),
            "expected {}, told {belief}: {data} to {request} of {}",
            begun.result,
            self.name
        );
        if begun.extended {
            assert!(data["position"].is_u64() && data["epoch"].is_string(), "{data}");
        }
        let mut request = request.clone();
        request.as_object_mut().unwrap().shift_remove("resume");
        request.as_object_mut().unwrap().shift_remove("id");
        let Subscribed { query, patch, sight_then: sight, .. } = begun;
        let (epoch, position) = (data["epoch"].as_str().map(str::to_owned), data["position"].as_u64());
        let subscription = Subscription { query, patch, sight, belief, epoch, position, request };
        assert!(self.subscriptions.insert(id.clone(), subscription).is_none(), "an id of its own");
        id
    }

    fn pushed(&mut self, push: &Value, tally: &mut Tally) {
        let id = push["subscriptionId"].as_str().unwrap();
        let subscription = self.subscriptions.get_mut(id);
        let subscription = subscription.unwrap_or_else(|| panic!("nobody watches: {push}"));
        if subscription.patch {
            tally.count("patches");
            patch::apply(&mut subscription.belief, &push["patch"]);
        } else {
            tally.count("pushes");
            assert!(push.get("patch").is_none(), "{push}");
            subscription.belief = push["data"].clone();
        }
        let position = push["position"].as_u64();
        assert_eq!(position.is_some(), subscription.patch || self.positions, "{push}");
        if position.is_some() {
            assert!(position > subscription.position, "{:?} before {push}", subscription.position);
            subscription.position = position;
        }
    }

    fn ended(&mut self, frame: &Value, tally: &mut Tally) {
        assert_eq!(frame["event"], "subscription_ended", "{frame}");
        let id = frame["subscriptionId"].as_str().unwrap();
        let ended = self.subscriptions.remove(id);
        let ended = ended.unwrap_or_else(|| panic!("it was not there: {frame}"));
        let end = self.ends.remove(id);
        let end = end.unwrap_or_else(|| panic!("it need not end: {frame}, {ended:?}"));
        assert_eq!(frame["code"], end.code, "{frame}");
        tally.count(&format!("ended by {}", end.code));
        self.lose(ended);
    }

    fn lose(&mut self, subscription: Subscription) {
        let Subscription { belief, epoch, position, request, sight, .. } = subscription;
        // One that goes on under other rules in full mode has no epoch of these.
        if let (Some(epoch), Some(position)) = (epoch, position) {
            self.lost.truncate(BACK_MOST);
            self.lost.insert(0, Lost { request, epoch, position, belief, sight });
        }
    }

    /// Everything is quiet: what had to end has ended.
    pub(crate) fn is_quiet(&mut self) {
        assert!(self.asked.is_empty() && self.closing.is_empty(), "client {} waits", self.name);
        for (id, end) in std::mem::take(&mut self.ends) {
            assert!(!end.must, "{id} of client {} must end with {}", self.name, end.code);
        }
    }
}

/// What a frame may hold markers of.
pub(crate) enum Kind {
    /// It was held against the model word for word.
    Nothing,
    /// What the watcher may see.
    Push,
    /// What stood in the request, and what he may see.
    Told(String),
}

fn sorted(names: &Value) -> BTreeSet<&str> {
    names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

/// Whether two values are the same: `1` is `1.0`.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| same(one, other)))
        }
        (one, other) => one == other,
    }
}
