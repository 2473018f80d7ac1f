//! The data as plain JSON, and what writes make of them: every rule of the schema is held by looking at all records.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use crate::filter;
use crate::rights::Rule;

/// What the clock of every world shows, always.
pub(crate) const NOW: u64 = 1_700_000_000_000;
/// The buckets; each refers to the one before it by the field `up`, the first one to none.
pub(crate) const BUCKETS: [&str; 3] = ["teams", "orders", "notes"];

/// A refusal: any of these codes is right, because nobody says which of several faults comes first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refused(pub(crate) Vec<&'static str>);

pub(crate) type Answer = Result<Value, Refused>;

pub(crate) fn refuse<T>(code: &'static str) -> Result<T, Refused> {
    Err(Refused(vec![code]))
}

/// What becomes of a record when the one that it refers to goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum OnDelete {
    Restrict,
    Cascade,
    SetNull,
}

#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Its place: rows are in the order in which they came.
    pub(crate) place: u64,
    pub(crate) record: Rc<Value>,
}

impl Row {
    pub(crate) fn key(&self) -> &str {
        self.record["id"].as_str().unwrap()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    pub(crate) rows: Vec<Row>,
    next: u64,
    up: Option<(&'static str, OnDelete)>,
    unique: Vec<Vec<&'static str>>,
    /// Its first, last and pages go by key.
    pub(crate) sorted: bool,
}

impl Bucket {
    pub(crate) fn find(&self, key: &Value) -> Option<&Row> {
        self.rows.iter().find(|row| row.record["id"] == *key)
    }
}

/// All buckets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables(BTreeMap<&'static str, Bucket>);

/// What a write is carried out for: the rules of whoever writes.
pub(crate) type Rules<'r> = dyn Fn(&str) -> Rc<Rule> + 'r;

impl Tables {
    /// The same buckets as [`definition`] defines.
    pub(crate) fn new(on_delete: [OnDelete; 3]) -> Self {
        let bucket = |i: usize| Bucket {
            rows: Vec::new(),
            next: 0,
            up: i.checked_sub(1).map(|up| (BUCKETS[up], on_delete[i])),
            unique: if i == 1 { vec![vec!["tag", "code"]] } else { vec![vec!["code"]] },
            sorted: i == 2,
        };
        Self(BUCKETS.iter().enumerate().map(|(i, name)| (*name, bucket(i))).collect())
    }

    pub(crate) fn bucket(&self, name: &str) -> Result<&Bucket, Refused> {
        self.0.get(name).ok_or_else(|| Refused(vec!["BUCKET_NOT_DEFINED"]))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + use<'_> {
        self.0.keys().copied()
    }

    /// Which bucket the field `up` of a bucket refers to.
    pub(crate) fn up(&self, bucket: &str) -> Option<&'static str> {
        self.0.get(bucket)?.up.map(|(up, _)| up)
    }

    fn at(&mut self, name: &str) -> Result<&mut Bucket, Refused> {
        self.0.get_mut(name).ok_or_else(|| Refused(vec!["BUCKET_NOT_DEFINED"]))
    }
}

/// The definition of the bucket at a place among [`BUCKETS`].
pub(crate) fn definition(place: usize, on_delete: OnDelete, indexes: &[&str]) -> Value {
    let mut schema = json!({
        "id": {"type": "string"}, "owner": {"type": "string"}, "tag": {"type": "string"}, "role": {"type": "string"},
        "n": {"type": "number"}, "open": {"type": "boolean", "default": true}, "code": {"type": "string"},
        "mark": {"type": "string"}, "secret": {"type": "string"},
        "address": {"type": "object", "properties": {"city": {"type": "string"}, "zip": {"type": "string"}}},
        "lines": {"type": "array"},
    });
    if let Some(up) = place.checked_sub(1) {
        let on_delete = match on_delete {
            OnDelete::Restrict => "restrict",
            OnDelete::Cascade => "cascade",
            OnDelete::SetNull => "set_null",
        };
        schema["up"] = json!({"type": "string", "ref": BUCKETS[up], "onDelete": on_delete});
    }
    let mut config = json!({"key": "id", "schema": schema, "indexes": indexes});
    match place {
        1 => config["unique"] = json!([["tag", "code"]]),
        _ => config["schema"]["code"]["unique"] = json!(true),
    }
    if place == 2 {
        config["etsType"] = json!("ordered_set");
    }
    config
}

/// A write under way. It changes a copy, which takes the place of the tables if nothing is wrong.
pub(crate) struct Draft<'w> {
    pub(crate) tables: Tables,
    rules: &'w Rules<'w>,
    /// Every row that was changed, and what it was before: nothing if it is new.
    pub(crate) before: BTreeMap<(&'static str, u64), Option<Rc<Value>>>,
}

impl<'w> Draft<'w> {
    pub(crate) fn new(tables: &Tables, rules: &'w Rules<'w>) -> Self {
        Self { tables: tables.clone(), rules, before: BTreeMap::new() }
    }

    /// What a write alone comes to. `request` has the fields of the operation of that name.
    pub(crate) fn write(&mut self, kind: &str, request: &Value) -> Answer {
        let bucket = request["bucket"].as_str().unwrap();
        let (name, rule) = (self.name(bucket)?, (self.rules)(bucket));
        if let Some(version) = request.get("ifVersion") {
            let key = if kind == "insert" { &request["data"]["id"] } else { &request["key"] };
            let row = self.row(name, &rule, key)?;
            if row.map_or(json!(0), |row| row.record["_version"].clone()) != *version {
                return refuse("CONFLICT");
            }
        }
        match kind {
            "insert" => self.insert(name, &rule, &request["data"]),
            "insertMany" => {
                let records = request["data"].as_array().unwrap().iter();
                records.map(|data| self.insert(name, &rule, data)).collect()
            }
            "upsert" => {
                writable_members(&rule, &request["data"])?;
                match self.row(name, &rule, &request["data"]["id"])? {
                    Some(row) => self.change(name, &rule, &row, &request["data"]),
                    None => self.insert(name, &rule, &request["data"]),
                }
            }
            "update" => {
                writable_members(&rule, &request["data"])?;
                match self.row(name, &rule, &request["key"])? {
                    Some(row) => self.change(name, &rule, &row, &request["data"]),
                    None => refuse("NOT_FOUND"),
                }
            }
            "updateMany" => {
                let rows = self.matching(name, &rule, &request["filter"])?;
                writable_members(&rule, &request["data"])?;
                for row in &rows {
                    self.change(name, &rule, row, &request["data"])?;
                }
                Ok(json!(rows.len()))
            }
            "delete" => {
                if let Some(row) = self.row(name, &rule, &request["key"])? {
                    if !rule.writes(&row.record) {
                        return refuse("FORBIDDEN");
                    }
                    self.remove(name, row.place);
                }
                Ok(json!({"deleted": true}))
            }
            "deleteMany" => {
                let rows = self.matching(name, &rule, &request["filter"])?;
                for row in &rows {
                    self.remove(name, row.place);
                }
                Ok(json!(rows.len()))
            }
            "clear" => {
                if !rule.is_open() {
                    return refuse("FORBIDDEN");
                }
                let rows = self.tables.bucket(name)?.rows.clone();
                for row in &rows {
                    self.remove(name, row.place);
                }
                Ok(json!({"cleared": true}))
            }
            other => panic!("{other} is no write"),
        }
    }

    fn name(&self, bucket: &str) -> Result<&'static str, Refused> {
        let name = self.tables.names().find(|name| *name == bucket);
        name.ok_or_else(|| Refused(vec!["BUCKET_NOT_DEFINED"]))
    }

    /// The row of a key, if whoever writes sees it.
    fn row(&self, bucket: &str, rule: &Rule, key: &Value) -> Result<Option<Row>, Refused> {
        if rule.hides("id") {
            return refuse("FORBIDDEN");
        }
        let found = self.tables.bucket(bucket)?.find(key);
        Ok(found.filter(|row| rule.sees(&row.record)).cloned())
    }

    /// The rows that a filter finds among those that whoever writes sees and may write.
    fn matching(&self, bucket: &str, rule: &Rule, filter: &Value) -> Result<Vec<Row>, Refused> {
        if filter::names(filter).iter().any(|name| rule.hides(name)) {
            return refuse("FORBIDDEN");
        }
        let rows = self.tables.bucket(bucket)?.rows.iter();
        let found = rows.filter(|row| {
            rule.sees(&row.record) && rule.writes(&row.record) && filter::matches(filter, &row.record)
        });
        Ok(found.cloned().collect())
    }

    fn insert(&mut self, bucket: &'static str, rule: &Rule, data: &Value) -> Answer {
        writable_members(rule, data)?;
        let mut record: Map<String, Value> = data.as_object().unwrap().clone();
        record.entry("open").or_insert(json!(true));
        record.extend([
            ("_version".to_owned(), json!(1)),
            ("_createdAt".to_owned(), json!(NOW)),
            ("_updatedAt".to_owned(), json!(NOW)),
        ]);
        let record = Value::Object(record);
        if !rule.writes(&record) {
            return refuse("FORBIDDEN");
        }
        let table = self.tables.at(bucket)?;
        if table.find(&record["id"]).is_some() {
            return refuse("ALREADY_EXISTS");
        }
        let place = table.next;
        table.next += 1;
        let shown = rule.stripped(&record);
        table.rows.push(Row { place, record: Rc::new(record) });
        self.before.insert((bucket, place), None);
        Ok(shown)
    }

    fn change(&mut self, bucket: &'static str, rule: &Rule, row: &Row, data: &Value) -> Answer {
        if !rule.writes(&row.record) {
            return refuse("FORBIDDEN");
        }
        let mut record = (*row.record).clone();
        for (name, value) in data.as_object().unwrap().iter().filter(|(name, _)| *name != "id") {
            record[name] = value.clone();
        }
        record["_version"] = json!(record["_version"].as_u64().unwrap() + 1);
        if !rule.writes(&record) {
            return refuse("FORBIDDEN");
        }
        let shown = rule.stripped(&record);
        self.put(bucket, row.place, record);
        Ok(shown)
    }

    fn put(&mut self, bucket: &'static str, place: u64, record: Value) {
        let rows = &mut self.tables.0.get_mut(bucket).unwrap().rows;
        let row = rows.iter_mut().find(|row| row.place == place).unwrap();
        let old = std::mem::replace(&mut row.record, Rc::new(record));
        self.before.entry((bucket, place)).or_insert(Some(old));
    }

    /// Removes a row, and does to those that refer to it what the schema says, whoever sees them.
    fn remove(&mut self, bucket: &'static str, place: u64) {
        let rows = &mut self.tables.0.get_mut(bucket).unwrap().rows;
        let Some(at) = rows.iter().position(|row| row.place == place) else { return };
        let gone = rows.remove(at);
        self.before.entry((bucket, place)).or_insert_with(|| Some(Rc::clone(&gone.record)));
        for name in BUCKETS {
            let Some((_, on_delete)) = self.tables.0[name].up.filter(|(up, _)| *up == bucket) else {
                continue;
            };
            let referring =
                self.tables.0[name].rows.iter().filter(|row| row.record["up"] == gone.record["id"]);
            for row in referring.cloned().collect::<Vec<Row>>() {
                match on_delete {
                    OnDelete::Restrict => {}
                    OnDelete::Cascade => self.remove(name, row.place),
                    OnDelete::SetNull => {
                        let mut record = (*row.record).clone();
                        record["up"] = Value::Null;
                        record["_version"] = json!(record["_version"].as_u64().unwrap() + 1);
                        self.put(name, row.place, record);
                    }
                }
            }
        }
    }

    /// What must hold of the data as a whole; the tables with the write done if it does.
    pub(crate) fn finish(self) -> Result<Tables, Refused> {
        let mut faults = Vec::new();
        for ((name, place), before) in &self.before {
            let bucket = &self.tables.0[name];
            if let Some(row) = bucket.rows.iter().find(|row| row.place == *place) {
                if bucket.unique.iter().any(|fields| is_taken(bucket, row, fields)) {
                    faults.push("ALREADY_EXISTS");
                }
                if self.refers_to_nothing(bucket, row, before.as_deref()) {
                    faults.push("VALIDATION_ERROR");
                }
            } else if let Some(before) = before
                && bucket.find(&before["id"]).is_none()
                && self.is_referred_to(name, &before["id"])
            {
                faults.push("CONFLICT");
            }
        }
        if faults.is_empty() { Ok(self.tables) } else { Err(Refused(faults)) }
    }

    /// Whether it newly refers to what is not there for whoever writes.
    fn refers_to_nothing(&self, bucket: &Bucket, row: &Row, before: Option<&Value>) -> bool {
        let Some((up, _)) = bucket.up else { return false };
        let key = &row.record["up"];
        if key.is_null() || before.is_some_and(|before| before["up"] == *key) {
            return false;
        }
        let rule = (self.rules)(up);
        self.tables.0[up].find(key).is_none_or(|found| !rule.sees(&found.record))
    }

    fn is_referred_to(&self, bucket: &str, key: &Value) -> bool {
        let mut referring = BUCKETS.iter().filter(|name| self.tables.up(name) == Some(bucket));
        referring.any(|name| self.tables.0[name].rows.iter().any(|row| row.record["up"] == *key))
    }
}

/// To write a member that is hidden is forbidden.
fn writable_members(rule: &Rule, data: &Value) -> Result<(), Refused> {
    if data.as_object().unwrap().keys().any(|name| rule.hides(name)) { refuse("FORBIDDEN") } else { Ok(()) }
}

/// Whether another record has the same values in fields that must be unique together.
fn is_taken(bucket: &Bucket, row: &Row, fields: &[&str]) -> bool {
    let values = |row: &Row| fields.iter().map(|name| row.record[name].clone()).collect::<Vec<Value>>();
    let own = values(row);
    let mut others = bucket.rows.iter().filter(|other| other.place != row.place);
    !own.contains(&Value::Null) && others.any(|other| values(other) == own)
}
