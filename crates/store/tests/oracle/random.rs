//! Random schemas and writes. Names, keys and values come from small pools, so that they meet.

use dunlin_store::{Intent, OnDelete, Step};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::common::object;

/// A bucket in the words of the model.
#[derive(Debug, Clone)]
pub struct BucketSpec {
    pub fields: Vec<FieldSpec>,
    /// Places of fields that are unique together.
    pub together: Option<(usize, usize)>,
    /// Places of indexed fields, alone and in pairs.
    pub indexes: Vec<(usize, Option<usize>)>,
    pub max_size: Option<usize>,
    pub ttl: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct FieldSpec {
    pub required: bool,
    pub unique: bool,
    pub default: Option<u64>,
    /// The number of the bucket referred to.
    pub reference: Option<(usize, OnDelete)>,
}

#[derive(Debug, Clone)]
pub enum Op {
    Insert(usize, Map<String, Value>),
    InsertMany(usize, Vec<Map<String, Value>>),
    Update(usize, Value, Map<String, Value>),
    UpdateMany(usize, Map<String, Value>, Map<String, Value>),
    Upsert(usize, Map<String, Value>),
    Delete(usize, Value),
    DeleteMany(usize, Map<String, Value>),
    Clear(usize),
    Transaction(Vec<Op>),
    /// An insert, update or delete of a record in this version.
    IfVersion(u64, Box<Op>),
    /// A write with an idempotency key.
    Once(&'static str, Box<Op>),
    /// What came last with that key, again.
    Again(&'static str),
    /// The bucket gets another `ttl`, or none.
    Ttl(usize, Option<u64>),
    /// The bucket gets another `maxSize`, or none.
    MaxSize(usize, Option<usize>),
    /// Time passes, milliseconds, and what is due expires.
    Wait(u64),
}

pub fn bucket_name(number: usize) -> String {
    format!("bucket-{number}")
}

pub fn field_name(place: usize) -> String {
    format!("f{place}")
}

/// The last two begin alike for longer than what an index entry holds of a string.
/// Keys of both types, some easily taken for one another: long texts that begin alike, neighbours beyond 2^53, one number in
/// two writings, a number and its text.
pub fn keys() -> Vec<Value> {
    vec![
        json!("a"),
        json!("b"),
        json!("1"),
        json!("a key of more than fourteen bytes"),
        json!("a key of more than fourteen letters"),
        json!(1),
        json!(1.0),
        json!(9_007_199_254_740_993_u64),
        json!(9_007_199_254_740_992.0),
    ]
}

fn key() -> impl Strategy<Value = Value> {
    prop::sample::select(keys())
}

fn on_delete() -> impl Strategy<Value = OnDelete> {
    prop::sample::select(vec![OnDelete::Restrict, OnDelete::Cascade, OnDelete::SetNull])
}

fn field(buckets: usize) -> impl Strategy<Value = FieldSpec> {
    let plain = (prop::bool::weighted(0.1), prop::bool::weighted(0.2), prop::option::weighted(0.2, 0_u64..3))
        .prop_map(|(required, unique, default)| FieldSpec { required, unique, default, reference: None });
    let reference =
        (0..buckets, on_delete(), prop::bool::weighted(0.1)).prop_map(|(bucket, on_delete, unique)| {
            FieldSpec { required: false, unique, default: None, reference: Some((bucket, on_delete)) }
        });
    prop_oneof![2 => plain, 1 => reference]
}

/// Numbers of buckets and places of fields are drawn from the largest possible range and brought into the real one
/// afterwards: cases that depend on one another shrink badly.
const MOST_BUCKETS: usize = 3;
const MOST_FIELDS: usize = 4;

fn spec() -> impl Strategy<Value = BucketSpec> {
    let pair = (0..MOST_FIELDS, 0..MOST_FIELDS);
    (
        prop::collection::vec(field(MOST_BUCKETS), 1..=MOST_FIELDS),
        prop::option::weighted(0.2, pair),
        prop::collection::vec((0..MOST_FIELDS, prop::option::of(0..MOST_FIELDS)), 0..3),
        prop::option::weighted(0.2, 1_usize..4),
        prop::option::weighted(0.2, 1_u64..20),
    )
        .prop_map(|(fields, together, indexes, max_size, ttl)| {
            let fit = |place: usize| place % fields.len();
            let together = together.map(|(a, b)| (fit(a), fit(b))).filter(|(a, b)| a != b);
            let index = |(a, b): (usize, Option<usize>)| (fit(a), b.map(fit).filter(|b| *b != fit(a)));
            let indexes = indexes.into_iter().map(index).collect();
            BucketSpec { fields, together, indexes, max_size, ttl }
        })
}

pub fn specs() -> impl Strategy<Value = Vec<BucketSpec>> {
    prop::collection::vec(spec(), 1..=MOST_BUCKETS).prop_map(|mut specs| {
        let buckets = specs.len();
        for field in specs.iter_mut().flat_map(|spec| &mut spec.fields) {
            if let Some((bucket, _)) = &mut field.reference {
                *bucket %= buckets;
            }
        }
        specs
    })
}

/// Members for any bucket: small numbers, keys, `null`; most often what fits no reference.
fn members() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![
        3 => (0_u64..3).prop_map(Value::from),
        3 => key(),
        1 => Just(Value::Null),
    ];
    let expires =
        prop::option::weighted(0.1, prop_oneof![Just(Value::Null), (0_u64..2_000).prop_map(Value::from)]);
    (prop::collection::vec(prop::option::of(value), 5), expires).prop_map(|(values, expires)| {
        let named = values.into_iter().enumerate().filter_map(|(i, value)| Some((field_name(i), value?)));
        named.chain(expires.map(|expires| ("_expiresAt".to_owned(), expires))).collect()
    })
}

fn record() -> impl Strategy<Value = Map<String, Value>> {
    (key(), members()).prop_map(|(key, mut members)| {
        members.insert("id".into(), key);
        members
    })
}

fn filter() -> impl Strategy<Value = Map<String, Value>> {
    let scalar = prop_oneof![(0_u64..3).prop_map(Value::from), key(), Just(Value::Null)];
    prop_oneof![
        1 => Just(Map::new()),
        4 => (0_usize..4, scalar).prop_map(|(place, value)| Map::from_iter([(field_name(place), value)])),
        1 => key().prop_map(|key| object(json!({"id": key}))),
    ]
}

fn single(buckets: usize) -> impl Strategy<Value = Op> {
    let bucket = move || 0..buckets;
    prop_oneof![
        8 => (bucket(), record()).prop_map(|(bucket, record)| Op::Insert(bucket, record)),
        2 => (bucket(), prop::collection::vec(record(), 0..4)).prop_map(|(b, records)| Op::InsertMany(b, records)),
        4 => (bucket(), key(), members()).prop_map(|(b, key, changes)| Op::Update(b, key, changes)),
        2 => (bucket(), filter(), members()).prop_map(|(b, filter, changes)| Op::UpdateMany(b, filter, changes)),
        3 => (bucket(), record()).prop_map(|(b, record)| Op::Upsert(b, record)),
        3 => (bucket(), key()).prop_map(|(b, key)| Op::Delete(b, key)),
        1 => (bucket(), filter()).prop_map(|(b, filter)| Op::DeleteMany(b, filter)),
        1 => bucket().prop_map(Op::Clear),
    ]
}

/// A single write, some of them of a record in a version that it may have.
fn write(buckets: usize) -> impl Strategy<Value = Op> {
    let bucket = move || 0..buckets;
    let one = prop_oneof![
        1 => (bucket(), record()).prop_map(|(bucket, record)| Op::Insert(bucket, record)),
        3 => (bucket(), key(), members()).prop_map(|(b, key, changes)| Op::Update(b, key, changes)),
        2 => (bucket(), key()).prop_map(|(b, key)| Op::Delete(b, key)),
    ];
    prop_oneof![
        6 => single(buckets),
        1 => (0_u64..4, one).prop_map(|(version, op)| Op::IfVersion(version, op.into())),
    ]
}

/// A single write or a transaction.
fn whole() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => write(MOST_BUCKETS),
        3 => prop::collection::vec(write(MOST_BUCKETS), 1..6).prop_map(Op::Transaction),
    ]
}

pub fn op() -> impl Strategy<Value = Op> {
    let idempotency_key = || prop::sample::select(vec!["k1", "k2", "k3", "k4"]);
    prop_oneof![
        11 => whole(),
        2 => (idempotency_key(), whole()).prop_map(|(key, op)| Op::Once(key, op.into())),
        2 => idempotency_key().prop_map(Op::Again),
        1 => (0_u64..15).prop_map(Op::Wait),
        1 => (0..MOST_BUCKETS, prop::option::of(1_u64..20)).prop_map(|(bucket, ttl)| Op::Ttl(bucket, ttl)),
        1 => (0..MOST_BUCKETS, prop::option::of(1_usize..4)).prop_map(|(bucket, most)| Op::MaxSize(bucket, most)),
    ]
}

impl BucketSpec {
    pub fn config(&self) -> Value {
        let mut schema = Map::from_iter([("id".to_owned(), json!({"type": "date"}))]);
        for (place, field) in self.fields.iter().enumerate() {
            // `date` takes numbers and strings, so that one pool of values serves all.
            let mut config = json!({"type": "date", "required": field.required, "unique": field.unique});
            if let Some(default) = field.default {
                config["default"] = default.into();
            }
            if let Some((bucket, on_delete)) = field.reference {
                config["ref"] = bucket_name(bucket).into();
                config["onDelete"] = match on_delete {
                    OnDelete::Restrict => "restrict",
                    OnDelete::Cascade => "cascade",
                    OnDelete::SetNull => "set_null",
                }
                .into();
            }
            schema.insert(field_name(place), config);
        }
        let index = |(a, b): &(usize, Option<usize>)| match b {
            None => Value::from(field_name(*a)),
            Some(b) => json!([field_name(*a), field_name(*b)]),
        };
        let mut config = json!({"key": "id", "schema": schema, "indexes": self.indexes.iter().map(index).collect::<Vec<_>>()});
        if let Some((a, b)) = self.together {
            config["unique"] = json!([[field_name(a), field_name(b)]]);
        }
        if let Some(max_size) = self.max_size {
            config["maxSize"] = max_size.into();
        }
        if let Some(ttl) = self.ttl {
            config["ttl"] = ttl.into();
        }
        config
    }
}

impl Op {
    /// The same on one of this many buckets.
    pub fn fit(mut self, buckets: usize) -> Self {
        match &mut self {
            Self::Insert(bucket, _)
            | Self::InsertMany(bucket, _)
            | Self::Update(bucket, ..)
            | Self::UpdateMany(bucket, ..)
            | Self::Upsert(bucket, _)
            | Self::Delete(bucket, _)
            | Self::DeleteMany(bucket, _)
            | Self::Clear(bucket)
            | Self::Ttl(bucket, _)
            | Self::MaxSize(bucket, _) => *bucket %= buckets,
            Self::Transaction(ops) => {
                *ops = std::mem::take(ops).into_iter().map(|op| op.fit(buckets)).collect();
            }
            Self::IfVersion(_, op) | Self::Once(_, op) => **op = op.clone().fit(buckets),
            Self::Wait(_) | Self::Again(_) => {}
        }
        self
    }

    pub fn intent(&self) -> Intent {
        match self.clone() {
            Self::Insert(bucket, data) => Intent::Insert { bucket: bucket_name(bucket), data },
            Self::InsertMany(bucket, data) => Intent::InsertMany { bucket: bucket_name(bucket), data },
            Self::Update(bucket, key, changes) => {
                Intent::Update { bucket: bucket_name(bucket), key, changes }
            }
            Self::UpdateMany(bucket, filter, changes) => {
                Intent::UpdateMany { bucket: bucket_name(bucket), filter, changes }
            }
            Self::Upsert(bucket, data) => Intent::Upsert { bucket: bucket_name(bucket), data },
            Self::Delete(bucket, key) => Intent::Delete { bucket: bucket_name(bucket), key },
            Self::DeleteMany(bucket, filter) => Intent::DeleteMany { bucket: bucket_name(bucket), filter },
            Self::Clear(bucket) => Intent::Clear { bucket: bucket_name(bucket) },
            Self::Transaction(ops) => {
                Intent::Transaction { operations: ops.iter().map(|op| Step::Write(op.intent())).collect() }
            }
            Self::IfVersion(version, op) => op.intent().if_version(version),
            Self::Once(key, op) => op.intent().idempotent("user:ada", key),
            Self::Ttl(bucket, ttl) => altered(bucket, json!({"ttl": ttl})),
            Self::MaxSize(bucket, most) => altered(bucket, json!({"maxSize": most})),
            Self::Wait(_) | Self::Again(_) => panic!("no write"),
        }
    }
}

fn altered(bucket: usize, updates: Value) -> Intent {
    Intent::UpdateBucket { name: bucket_name(bucket), updates: object(updates) }
}
