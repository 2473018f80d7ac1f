//! The naive model: records in table order, every rule kept by looking at all of them.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_store::OnDelete;
use serde_json::{Map, Value};

use crate::common::naive::equal;
use crate::random::{BucketSpec, Op, field_name};

type Row = (u64, Map<String, Value>);

/// How many answers are remembered, and how long, milliseconds.
pub const REMEMBERED: usize = 3;
pub const REMEMBERED_MS: u64 = 12;

/// Why a write is refused does not matter here.
struct Refused;

#[derive(Clone)]
pub struct Model {
    specs: Vec<BucketSpec>,
    buckets: Vec<Vec<Row>>,
    next_row: u64,
    /// What came with which key, and until when that is remembered.
    remembered: BTreeMap<&'static str, (Op, u64)>,
    /// What the write under way has changed.
    touched: BTreeSet<u64>,
    now: u64,
}

impl Model {
    pub fn new(specs: Vec<BucketSpec>) -> Self {
        let buckets = vec![Vec::new(); specs.len()];
        Self { specs, buckets, next_row: 0, remembered: BTreeMap::new(), touched: BTreeSet::new(), now: 0 }
    }

    pub fn records(&self, bucket: usize) -> Vec<Value> {
        self.buckets[bucket].iter().map(|(_, record)| record.clone().into()).collect()
    }

    /// Whether this has been done, and is remembered.
    pub fn repeats(&self, op: &Op, now: u64) -> bool {
        let Op::Once(key, op) = op else { return false };
        let known = self.remembered.get(key).filter(|(_, until)| *until > now);
        known.is_some_and(|(known, _)| known.intent().fingerprint() == op.intent().fingerprint())
    }

    /// Does the write if it is possible; whether it was.
    pub fn take(&mut self, op: &Op, now: u64) -> bool {
        if self.repeats(op, now) {
            return true;
        }
        self.attempt(now, |next| next.op(op))
    }

    /// Removes what is due, each for itself, until nothing more can go.
    pub fn expire(&mut self, now: u64) {
        self.remembered.retain(|_, (_, until)| *until > now);
        loop {
            let due: Vec<(usize, u64)> = (0..self.specs.len())
                .filter(|bucket| self.specs[*bucket].ttl.is_some())
                .flat_map(|bucket| {
                    let is_due = move |row: &&Row| {
                        row.1.get("_expiresAt").and_then(Value::as_u64).is_some_and(|at| at <= now)
                    };
                    self.buckets[bucket].iter().filter(is_due).map(move |row| (bucket, row.0))
                })
                .collect();
            let went = due.into_iter().filter(|(bucket, row)| {
                self.attempt(now, |next| {
                    next.remove(*bucket, *row);
                    Ok(())
                })
            });
            if went.count() == 0 {
                return;
            }
        }
    }

    fn attempt(&mut self, now: u64, write: impl FnOnce(&mut Self) -> Result<(), Refused>) -> bool {
        let mut next = self.clone();
        next.touched.clear();
        next.now = now;
        let done = write(&mut next).is_ok() && next.holds();
        if done {
            *self = next;
        }
        done
    }

    fn op(&mut self, op: &Op) -> Result<(), Refused> {
        match op {
            Op::Insert(bucket, data) => self.insert(*bucket, data),
            Op::InsertMany(bucket, list) => list.iter().try_for_each(|data| self.insert(*bucket, data)),
            Op::Update(bucket, key, changes) => {
                let row = self.find(*bucket, key).ok_or(Refused)?;
                self.update(*bucket, row, changes)
            }
            Op::UpdateMany(bucket, filter, changes) => {
                let rows = self.matching(*bucket, filter);
                rows.into_iter().try_for_each(|row| self.update(*bucket, row, changes))
            }
            Op::Upsert(bucket, data) => match self.find(*bucket, &data["id"]) {
                Some(row) => self.update(*bucket, row, data),
                None => self.insert(*bucket, data),
            },
            Op::Delete(bucket, key) => {
                if let Some(row) = self.find(*bucket, key) {
                    self.remove(*bucket, row);
                }
                Ok(())
            }
            Op::DeleteMany(bucket, filter) => {
                for row in self.matching(*bucket, filter) {
                    self.remove(*bucket, row);
                }
                Ok(())
            }
            Op::Clear(bucket) => {
                for row in self.matching(*bucket, &Map::new()) {
                    self.remove(*bucket, row);
                }
                Ok(())
            }
            Op::Ttl(bucket, ttl) => {
                self.specs[*bucket].ttl = *ttl;
                Ok(())
            }
            Op::MaxSize(bucket, most) => {
                self.specs[*bucket].max_size = *most;
                while most.is_some_and(|most| self.buckets[*bucket].len() > most) {
                    let oldest = self.buckets[*bucket].iter().find(|row| !self.restricted(*bucket, row));
                    let oldest = oldest.ok_or(Refused)?.0;
                    self.remove(*bucket, oldest);
                }
                Ok(())
            }
            Op::Transaction(ops) => ops.iter().try_for_each(|op| self.op(op)),
            Op::IfVersion(version, op) => {
                let current = |bucket: usize, key: &Value| {
                    let row = self.buckets[bucket].iter().find(|(_, record)| equal(record.get("id"), key));
                    row.map_or(0, |(_, record)| record["_version"].as_u64().unwrap())
                };
                let fits = match &**op {
                    Op::Insert(bucket, data) => *version == 0 && current(*bucket, &data["id"]) == 0,
                    Op::Update(bucket, key, _) | Op::Delete(bucket, key) => current(*bucket, key) == *version,
                    _ => false,
                };
                if fits { self.op(op) } else { Err(Refused) }
            }
            Op::Once(key, op) => {
                let known = self.remembered.get(key);
                let taken = known.is_some_and(|(_, until)| *until > self.now);
                if taken || (known.is_none() && self.remembered.len() == REMEMBERED) {
                    return Err(Refused);
                }
                self.remembered.insert(key, (Op::clone(op), self.now + REMEMBERED_MS));
                self.op(op)
            }
            Op::Wait(_) | Op::Again(_) => unreachable!("no write"),
        }
    }

    fn find(&self, bucket: usize, key: &Value) -> Option<u64> {
        self.buckets[bucket].iter().find(|(_, record)| equal(record.get("id"), key)).map(|(row, _)| *row)
    }

    fn matching(&self, bucket: usize, filter: &Map<String, Value>) -> Vec<u64> {
        let fits =
            |record: &Map<String, Value>| filter.iter().all(|(name, value)| equal(record.get(name), value));
        self.buckets[bucket].iter().filter(|(_, record)| fits(record)).map(|(row, _)| *row).collect()
    }

    fn insert(&mut self, bucket: usize, data: &Map<String, Value>) -> Result<(), Refused> {
        let spec = self.specs[bucket].clone();
        let mut record = data.clone();
        let expires = record.shift_remove("_expiresAt");
        for (place, field) in spec.fields.iter().enumerate() {
            if let Some(default) = field.default.filter(|_| !record.contains_key(&field_name(place))) {
                record.insert(field_name(place), default.into());
            }
        }
        for (name, value) in [("_version", 1), ("_createdAt", self.now), ("_updatedAt", self.now)] {
            record.insert(name.into(), value.into());
        }
        let expires = expires.or(spec.ttl.map(|ttl| Value::from(self.now + ttl)));
        record.extend(expires.map(|expires| ("_expiresAt".to_owned(), expires)));
        self.valid(bucket, &record)?;
        if self.find(bucket, &record["id"]).is_some() {
            return Err(Refused);
        }
        while spec.max_size.is_some_and(|max| self.buckets[bucket].len() >= max) {
            let oldest = self.buckets[bucket]
                .iter()
                .find(|row| !self.touched.contains(&row.0) && !self.restricted(bucket, row));
            let oldest = oldest.ok_or(Refused)?.0;
            self.remove(bucket, oldest);
        }
        self.touched.insert(self.next_row);
        self.buckets[bucket].push((self.next_row, record));
        self.next_row += 1;
        Ok(())
    }

    fn update(&mut self, bucket: usize, row: u64, changes: &Map<String, Value>) -> Result<(), Refused> {
        // Several of the rows that matched may have gone since, but never by what updates do.
        let place = self.buckets[bucket].iter().position(|(other, _)| *other == row).ok_or(Refused)?;
        let mut record = self.buckets[bucket][place].1.clone();
        for (name, value) in changes.iter().filter(|(name, _)| *name != "id") {
            record.insert(name.clone(), value.clone());
        }
        record["_version"] = (record["_version"].as_u64().unwrap() + 1).into();
        record["_updatedAt"] = self.now.into();
        self.valid(bucket, &record)?;
        self.touched.insert(row);
        self.buckets[bucket][place].1 = record;
        Ok(())
    }

    fn valid(&self, bucket: usize, record: &Map<String, Value>) -> Result<(), Refused> {
        let fields = self.specs[bucket].fields.iter().enumerate();
        let missing = |(place, _)| record.get(&field_name(place)).is_none_or(Value::is_null);
        if fields.filter(|(_, field)| field.required).any(missing) { Err(Refused) } else { Ok(()) }
    }

    /// Removes a row, if it is still there, and what that takes with it.
    fn remove(&mut self, bucket: usize, row: u64) {
        let Some(place) = self.buckets[bucket].iter().position(|(other, _)| *other == row) else { return };
        self.touched.insert(row);
        let (_, record) = self.buckets[bucket].remove(place);
        for (source, place, on_delete) in self.referrers(bucket) {
            let holds = |row: &&Row| equal(row.1.get(&field_name(place)), &record["id"]);
            let rows: Vec<u64> = self.buckets[source].iter().filter(holds).map(|row| row.0).collect();
            for row in rows {
                match on_delete {
                    OnDelete::Restrict => {}
                    OnDelete::Cascade => self.remove(source, row),
                    OnDelete::SetNull => {
                        let changes = Map::from_iter([(field_name(place), Value::Null)]);
                        // A cascade inside the loop may have taken it; a reference is never required.
                        let _ = self.update(source, row, &changes);
                    }
                }
            }
        }
    }

    fn referrers(&self, bucket: usize) -> Vec<(usize, usize, OnDelete)> {
        let mut found = Vec::new();
        for (source, spec) in self.specs.iter().enumerate() {
            for (place, field) in spec.fields.iter().enumerate() {
                found.extend(
                    field
                        .reference
                        .filter(|(to, _)| *to == bucket)
                        .map(|(_, on_delete)| (source, place, on_delete)),
                );
            }
        }
        found
    }

    /// Whether another record forbids that this one goes.
    fn restricted(&self, bucket: usize, (own, record): &Row) -> bool {
        let mut restricting =
            self.referrers(bucket).into_iter().filter(|(.., action)| *action == OnDelete::Restrict);
        restricting.any(|(source, place, _)| {
            let holds = |row: &Row| row.0 != *own && equal(row.1.get(&field_name(place)), &record["id"]);
            self.buckets[source].iter().any(holds)
        })
    }

    /// Everything that must hold of the whole.
    fn holds(&self) -> bool {
        self.specs.iter().zip(&self.buckets).all(|(spec, rows)| {
            let values = |places: &[usize], record: &Map<String, Value>| -> Option<Vec<Value>> {
                let value =
                    |place: &usize| record.get(&field_name(*place)).filter(|value| !value.is_null()).cloned();
                places.iter().map(value).collect()
            };
            let unique = |places: &[usize]| {
                let all: Vec<Vec<Value>> =
                    rows.iter().filter_map(|(_, record)| values(places, record)).collect();
                let same = |a: &[Value], b: &[Value]| a.iter().zip(b).all(|(a, b)| equal(Some(a), b));
                (1..all.len()).all(|i| !all[..i].iter().any(|other| same(other, &all[i])))
            };
            let fields = spec.fields.iter().enumerate();
            let refers = |place: usize, target: usize| {
                let referred = rows.iter().filter_map(|(_, record)| values(&[place], record));
                referred.into_iter().all(|value| {
                    self.buckets[target].iter().any(|(_, record)| equal(record.get("id"), &value[0]))
                })
            };
            fields.clone().filter(|(_, field)| field.unique).all(|(place, _)| unique(&[place]))
                && spec.together.is_none_or(|(a, b)| unique(&[a, b]))
                && fields
                    .clone()
                    .all(|(place, field)| field.reference.is_none_or(|(target, _)| refers(place, target)))
        })
    }
}
