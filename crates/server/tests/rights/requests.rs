//! Random requests of somebody. A member `place` beside a cursor is what its text stands for; it is not sent.

use serde_json::{Value, json};

use crate::chance::Chance;
use crate::client::Client;
use crate::model::{CODE, Model};
use crate::random;
use crate::rights::Rule;
use crate::tables::BUCKETS;

/// How many named queries there are, and idempotency keys of a user.
pub(crate) const QUERIES: usize = 4;
const IDEMPOTENCY_KEYS: usize = 12;

/// Whose request it is, and what it is made of.
pub(crate) struct Wish<'w> {
    pub(crate) chance: &'w mut Chance,
    pub(crate) model: &'w Model,
    pub(crate) who: usize,
    pub(crate) next_marker: &'w mut u32,
}

impl Wish<'_> {
    fn rule(&self, bucket: &str) -> std::rc::Rc<Rule> {
        self.model.rule(self.who, bucket)
    }

    fn bucket(&mut self) -> &'static str {
        if self.chance.once_in(60) { "ghosts" } else { random::one(self.chance, &BUCKETS) }
    }

    /// A key, mostly of a record that there is.
    fn key(&mut self, bucket: &str) -> Value {
        let rows = self.model.tables.bucket(bucket).map_or(&[][..], |bucket| &bucket.rows);
        if rows.is_empty() || self.chance.once_in(4) {
            json!(random::key(self.chance, bucket))
        } else {
            json!(self.chance.pick(rows).key())
        }
    }

    fn filter(&mut self, bucket: &str) -> Value {
        let rule = self.rule(bucket);
        random::filter(self.chance, bucket, &rule)
    }

    fn data(&mut self, bucket: &str, whole: bool) -> Value {
        let rule = self.rule(bucket);
        let mut data = random::data(self.chance, bucket, &rule, whole, self.next_marker);
        // What is written should mostly be the writer's own.
        let user = self.model.session(self.who).and_then(|session| session.user.clone());
        if let Some(user) = user.filter(|_| data.get("owner").is_some() && !self.chance.once_in(3)) {
            data["owner"] = json!(user);
        }
        data
    }

    fn record(&mut self, bucket: &str) -> Value {
        let mut record = json!({"id": random::key(self.chance, bucket)});
        record.as_object_mut().unwrap().extend(self.data(bucket, true).as_object().unwrap().clone());
        record
    }

    /// Anything that a client can ask for in the middle of a batch. `alone`: something that neither begins nor ends a live query.
    pub(crate) fn request(&mut self, client: &Client, alone: bool) -> Value {
        match self.chance.below(100) {
            0..44 => self.read(client),
            44..76 => self.keyed_write(client),
            76..82 => self.transaction(),
            82..88 if !alone && client.subscriptions.len() < 8 => self.subscribe(client),
            88..90 if !alone => match client.open().as_slice() {
                [] => json!({"type": "auth.whoami"}),
                open => json!({"type": "store.unsubscribe", "subscriptionId": self.chance.pick(open)}),
            },
            90 if !alone => match client.open().as_slice() {
                [] => json!({"type": "auth.whoami"}),
                open => json!({"type": "store.explain", "subscriptionId": self.chance.pick(open)}),
            },
            91 | 92 => {
                let bucket = self.bucket();
                json!({"type": "store.explain", "bucket": bucket, "filter": self.filter(bucket)})
            }
            93 => {
                let name = format!("q{}", self.chance.below(QUERIES + 1));
                json!({"type": "store.explain", "query": name, "params": {"owner": "u1"}})
            }
            _ => self.about_the_server(),
        }
    }

    fn about_the_server(&mut self) -> Value {
        let kind = *self.chance.pick(&[
            "store.buckets",
            "store.stats",
            "server.stats",
            "store.listQueries",
            "server.connections",
            "auth.whoami",
            "store.getBucketSchema",
        ]);
        let mut request = json!({"type": kind});
        if kind == "store.getBucketSchema" {
            request["name"] = json!(*self.chance.pick(&BUCKETS));
        }
        request
    }

    fn read(&mut self, client: &Client) -> Value {
        let bucket = self.bucket();
        let rule = self.rule(bucket);
        let kind = *self.chance.pick(&[
            "get", "get", "all", "where", "where", "findOne", "count", "first", "last", "paginate",
            "paginate", "sum", "avg", "min", "max", "groupBy",
        ]);
        let mut request = json!({"type": format!("store.{kind}"), "bucket": bucket});
        match kind {
            "get" => request["key"] = self.key(bucket),
            "where" | "findOne" => request["filter"] = self.filter(bucket),
            "first" | "last" => request["n"] = json!(self.chance.within(1, 12)),
            "paginate" => self.page(client, bucket, &mut request),
            "sum" | "avg" | "min" | "max" => {
                request["field"] = json!(*self.chance.pick(&["n", "n", "n", "tag", "secret"]));
            }
            "groupBy" => {
                request["field"] = random::group(self.chance, &rule);
                request["aggregate"] = random::aggregate(self.chance, &rule, false);
            }
            _ => {}
        }
        if ["count", "sum", "avg", "min", "max", "groupBy"].contains(&kind) && self.chance.once_in(2) {
            request["filter"] = self.filter(bucket);
        }
        request
    }

    fn page(&mut self, client: &Client, bucket: &str, request: &mut Value) {
        request["limit"] = json!(self.chance.within(1, 6));
        match self.chance.below(4) {
            0 => {}
            1 => {
                let key = self.key(bucket);
                let found = self.model.tables.bucket(bucket).is_ok_and(|bucket| bucket.find(&key).is_some());
                // In an open bucket a record that was removed lately still has its place; nobody here knows which.
                if found || bucket == BUCKETS[2] || !self.rule(bucket).is_open() {
                    request["after"] = key;
                }
            }
            2 if !client.cursors.is_empty() => {
                let cursor = self.chance.pick(&client.cursors).clone();
                request["bucket"] = json!(cursor.bucket);
                request["cursor"] = json!(cursor.text);
                request["place"] = cursor.place;
                if !cursor.sort.is_null() {
                    request["sort"] = cursor.sort;
                }
                if self.chance.once_in(3) {
                    request["filter"] = self.filter(&cursor.bucket);
                }
            }
            _ => {
                request["cursor"] = Value::Null;
                let rule = self.rule(bucket);
                if self.chance.once_in(2) {
                    request["sort"] = random::sort(self.chance, &rule);
                }
                if self.chance.once_in(2) {
                    request["filter"] = self.filter(bucket);
                }
            }
        }
    }

    fn keyed_write(&mut self, client: &Client) -> Value {
        if !client.keyed.is_empty() && self.chance.once_in(20) {
            // The connection broke, as far as this client knows.
            return self.chance.pick(&client.keyed).clone();
        }
        let mut request = self.write(true);
        let kind = format!("store.{}", request["op"].as_str().unwrap());
        request.as_object_mut().unwrap().shift_remove("op");
        request["type"] = json!(kind);
        self.keyed(request)
    }

    /// Now and then with an idempotency key, which may have been used for something else.
    fn keyed(&mut self, mut request: Value) -> Value {
        if self.chance.once_in(10) {
            request["idempotencyKey"] = json!(format!("k{}", self.chance.below(IDEMPOTENCY_KEYS)));
        }
        request
    }

    /// A write as it stands in a transaction.
    fn write(&mut self, alone: bool) -> Value {
        let bucket = if alone { self.bucket() } else { *self.chance.pick(&BUCKETS) };
        let kind = match self.chance.below(24) {
            0..8 => "insert",
            8..14 => "update",
            14 | 15 => "upsert",
            16 => "insertMany",
            17 | 18 => "updateMany",
            19 | 20 => "delete",
            21 => "deleteMany",
            _ if alone && self.chance.once_in(3) => "clear",
            _ => "insert",
        };
        let mut request = json!({"op": kind, "bucket": bucket});
        match kind {
            "insert" | "upsert" => request["data"] = self.record(bucket),
            "insertMany" => {
                request["data"] = (0..self.chance.within(1, 4)).map(|_| self.record(bucket)).collect();
            }
            "update" => {
                request["key"] = self.key(bucket);
                request["data"] = self.data(bucket, false);
            }
            "delete" => request["key"] = self.key(bucket),
            "updateMany" => {
                request["filter"] = self.filter(bucket);
                request["data"] = self.data(bucket, false);
            }
            "deleteMany" => {
                let mut filter = self.filter(bucket);
                filter["n"] = json!({"$gte": self.chance.within(4, 10)});
                request["filter"] = filter;
            }
            _ => {}
        }
        if (kind == "update" || kind == "delete") && self.chance.once_in(6) {
            request["ifVersion"] = json!(self.chance.below(4));
        }
        request
    }

    fn transaction(&mut self) -> Value {
        let operations = (0..self.chance.within(1, 5)).map(|_| {
            if self.chance.once_in(2) {
                return self.write(false);
            }
            let bucket = *self.chance.pick(&BUCKETS);
            let rule = self.rule(bucket);
            let kind = *self.chance.pick(&["get", "where", "findOne", "count", "groupBy"]);
            let mut operation = json!({"op": kind, "bucket": bucket});
            match kind {
                "get" => operation["key"] = self.key(bucket),
                "groupBy" => {
                    operation["field"] = random::group(self.chance, &rule);
                    operation["aggregate"] = random::aggregate(self.chance, &rule, false);
                }
                _ => operation["filter"] = self.filter(bucket),
            }
            operation
        });
        let operations: Vec<Value> = operations.collect();
        self.keyed(json!({"type": "store.transaction", "operations": operations}))
    }

    fn subscribe(&mut self, client: &Client) -> Value {
        if !client.lost.is_empty() && self.chance.once_in(2) {
            let lost = self.chance.pick(&client.lost[..client.lost.len().min(6)]);
            let mut request = lost.request.clone();
            request["resume"] = json!({"epoch": lost.epoch, "position": lost.position});
            return request;
        }
        let mut request = json!({"type": "store.subscribe"});
        if self.chance.once_in(2) {
            let code = self.chance.once_in(4);
            let name = format!("q{}", self.chance.below(QUERIES));
            request["query"] = json!(if code { CODE } else { &name });
            request["params"] = json!({"owner": *self.chance.pick(&["u0", "u1"])});
        } else {
            let bucket = *self.chance.pick(&BUCKETS);
            let rule = self.rule(bucket);
            request["query"] = random::query(self.chance, bucket, &rule);
        }
        if self.chance.once_in(2) {
            request["mode"] = json!("patch");
        }
        request
    }
}
