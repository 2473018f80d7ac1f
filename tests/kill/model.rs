//! What a client knows of its own data: what was acknowledged, and what it has sent since. Its requests take effect in their order, so
//! what is there after a crash is what was acknowledged and some first part of the others.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::random::Random;

/// What there is of a record, without what the server has made up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The request that has written it, or the amount of an account.
    pub n: u64,
    /// Bytes of its text.
    pub text: usize,
    pub version: u64,
    pub expires: Option<u64>,
}

/// Bucket and name of a record.
pub type Place = (&'static str, String);

pub type State = BTreeMap<Place, Entry>;

/// The buckets: `items` come and go, `left` and `right` hold accounts, `once` is written with keys, what is `fleeting` expires.
pub const BUCKETS: [&str; 5] = ["items", "left", "right", "once", "fleeting"];

/// What both accounts of a client hold together.
pub const AMOUNT: u64 = 1_000;

/// A request that was not answered yet.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: u64,
    pub request: Value,
    /// What it makes of records, `None` for a delete.
    pub changes: Vec<(Place, Option<Entry>)>,
}

impl Sent {
    pub fn is_keyed(&self) -> bool {
        self.request.get("idempotencyKey").is_some()
    }

    /// Its effect. Versions are counted from what is there.
    pub fn apply(&self, state: &mut State) {
        for (place, entry) in &self.changes {
            match entry {
                Some(entry) => {
                    let version = state.get(place).map_or(0, |before| before.version) + 1;
                    state.insert(place.clone(), Entry { version, ..entry.clone() });
                }
                None => drop(state.remove(place)),
            }
        }
    }
}

/// A client over all its connections.
#[derive(Debug)]
pub struct Client {
    pub number: u64,
    /// What was acknowledged.
    pub known: State,
    pub sent: VecDeque<Sent>,
    /// What will be there when all is answered.
    future: State,
    /// The last request's number; each has another one.
    last: u64,
    /// The greatest position that was acknowledged.
    pub position: u64,
    /// Numbers that the server has counted up to, and for which request.
    pub numbers: Vec<(&'static str, u64, u64)>,
    random: Random,
}

impl Client {
    pub fn new(number: u64, seed: u64) -> Self {
        Self {
            number,
            known: State::new(),
            sent: VecDeque::new(),
            future: State::new(),
            last: 0,
            position: 0,
            numbers: Vec::new(),
            random: Random::new(seed),
        }
    }

    fn id(&mut self) -> u64 {
        self.last += 1;
        self.number * 1_000_000 + self.last
    }

    fn place(&self, bucket: &'static str, name: u64) -> Place {
        (bucket, format!("{}-{name}", self.number))
    }

    /// Both accounts, when nothing is there yet.
    pub fn open_accounts(&mut self) -> Sent {
        let id = self.id();
        self.push(id, self.transfer("insert", AMOUNT))
    }

    fn transfer(&self, operation: &str, left: u64) -> (Value, Vec<(Place, Option<Entry>)>) {
        let sides = [("left", left), ("right", AMOUNT - left)];
        let steps = sides.map(|(bucket, n)| {
            let (_, id) = self.place(bucket, 0);
            match operation {
                "insert" => json!({"op": "insert", "bucket": bucket, "data": {"id": id, "n": n, "text": ""}}),
                _ => json!({"op": "update", "bucket": bucket, "key": id, "data": {"n": n}}),
            }
        });
        let entry = |n| Entry { n, text: 0, version: 0, expires: None };
        let changes = sides.map(|(bucket, n)| (self.place(bucket, 0), Some(entry(n))));
        (json!({"type": "store.transaction", "operations": steps}), changes.to_vec())
    }

    fn push(&mut self, id: u64, (mut request, changes): (Value, Vec<(Place, Option<Entry>)>)) -> Sent {
        request["id"] = json!(id);
        let sent = Sent { id, request, changes };
        sent.apply(&mut self.future);
        self.sent.push_back(sent.clone());
        sent
    }

    /// The next request, of any kind.
    pub fn next(&mut self) -> Sent {
        let id = self.id();
        let (request, changes) = match self.random.below(20) {
            0..=2 => {
                let left = self.random.below(AMOUNT + 1);
                let (mut request, changes) = self.transfer("update", left);
                if self.random.below(3) == 0 {
                    request["idempotencyKey"] = json!(format!("k{id}"));
                }
                (request, changes)
            }
            3 if self.last < 100_000 => {
                let (place, text) = (self.place("once", id), self.text());
                // Its key is made by the server: a repeat that is carried out makes another record.
                let data = json!({"who": place.1, "n": id, "text": "x".repeat(text)});
                let request = json!({"type": "store.insert", "bucket": "once", "data": data,
                    "idempotencyKey": format!("k{id}")});
                (request, vec![(place, Some(Entry { n: id, text, version: 0, expires: None }))])
            }
            4 => {
                let (place, expires) =
                    (self.place("fleeting", id), super::now() + 20 + self.random.below(3_000));
                let data = json!({"id": place.1, "n": id, "text": "", "_expiresAt": expires});
                let request = json!({"type": "store.insert", "bucket": "fleeting", "data": data});
                (request, vec![(place, Some(Entry { n: id, text: 0, version: 0, expires: Some(expires) }))])
            }
            _ => self.item(id),
        };
        self.push(id, (request, changes))
    }

    fn item(&mut self, id: u64) -> (Value, Vec<(Place, Option<Entry>)>) {
        let name = self.random.below(8);
        let place = self.place("items", name);
        let (key, text) = (place.1.clone(), self.text());
        let entry = Entry { n: id, text, version: 0, expires: None };
        let data = json!({"n": id, "text": "x".repeat(text)});
        let mut request = match (self.future.contains_key(&place), self.random.below(4)) {
            (true, 0) => {
                let request = json!({"type": "store.delete", "bucket": "items", "key": key});
                return (request, vec![(place, None)]);
            }
            (true, _) => json!({"type": "store.update", "bucket": "items", "key": key, "data": data}),
            (false, _) => json!({"type": "store.insert", "bucket": "items", "data": data}),
        };
        if request["type"] == "store.insert" {
            request["data"]["id"] = json!(key);
            request["data"]["born"] = json!(id);
        }
        (request, vec![(place, Some(entry))])
    }

    /// Mostly short, now and then longer than several sectors.
    fn text(&mut self) -> usize {
        let most = if self.random.below(8) == 0 { 60_000 } else { 300 };
        usize::try_from(self.random.below(most)).unwrap()
    }

    /// The answer to the oldest request that has none.
    pub fn answered(&mut self, answer: &Value) {
        let sent = self.sent.pop_front().expect("something was asked");
        assert_eq!(
            (&answer["id"], &answer["type"]),
            (&json!(sent.id), &json!("result")),
            "{sent:?}: {answer}"
        );
        sent.apply(&mut self.known);
        self.position = self.position.max(answer["position"].as_u64().expect("positions were asked for"));
        let data = &answer["data"];
        if sent.request["type"] == "store.insert"
            && let Some(no) = data["no"].as_u64()
        {
            self.numbers.push((sent.changes[0].0.0, no, sent.id));
        }
    }

    /// How many requests to have under way, for a while.
    pub fn window(&mut self) -> usize {
        1 + usize::try_from(self.random.below(12)).unwrap()
    }

    /// Takes what is there after a crash, of which `how many` requests that were not answered have happened; gives back the keyed
    /// ones among all of them, and whether each has happened.
    pub fn crashed(&mut self, happened: usize) -> Vec<(Sent, bool)> {
        let mut keyed = Vec::new();
        for (index, sent) in self.sent.drain(..).enumerate() {
            if index < happened {
                sent.apply(&mut self.known);
            }
            if sent.is_keyed() {
                keyed.push((sent, index < happened));
            }
        }
        self.future = self.known.clone();
        keyed
    }

    /// A keyed request that was repeated has happened only now.
    pub fn happened(&mut self, sent: &Sent) {
        sent.apply(&mut self.known);
        self.future = self.known.clone();
    }
}
