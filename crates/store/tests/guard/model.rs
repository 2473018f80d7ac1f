//! What reads and writes come to, told so that both worlds can be compared.

use dunlin_store::{Filter, Intent, Outcome, PageRequest, Query, Record, Seen, Snapshot, Step, StoreError};
use serde_json::{Map, Value, json};

use crate::common::narrowed::Session;
use crate::common::object;
use crate::random::Read;

/// What somebody gets who reads.
pub fn answer(
    state: &Snapshot,
    session: &Session,
    name: &str,
    read: &Read,
) -> Result<Option<String>, StoreError> {
    let bucket = state.bucket(name)?.through(session.guard.rule(name));
    let parse = |filter: &Map<String, Value>| Filter::parse(filter).unwrap();
    Ok(Some(match read {
        Read::Get(key) => bucket.get(key)?.map(|record| bucket.json(record).into_owned()).unwrap_or_default(),
        Read::All => listed(&bucket, bucket.all()),
        Read::Where(filter) => listed(&bucket, bucket.matching(&parse(filter))?),
        Read::FindOne(filter) => bucket
            .find_one(&parse(filter))?
            .map(|record| bucket.shown(record).json().to_owned())
            .unwrap_or_default(),
        Read::Count(filter) => bucket.count(&parse(filter))?.to_string(),
        Read::First(n) => listed(&bucket, bucket.first(*n)?),
        Read::Last(n) => listed(&bucket, bucket.last(*n)?),
        Read::Paginate(after, limit) => {
            let page = bucket.paginate(after.as_ref(), *limit)?;
            format!("{} {} {:?}", listed(&bucket, page.records), page.has_more, page.next_cursor)
        }
        Read::Pages(filter, sort, limit) => {
            let (mut cursor, mut all) = (None, Vec::new());
            for _ in 0..4 {
                let request =
                    PageRequest { filter: parse(filter), sort: sort.clone(), limit: *limit, cursor };
                let page = bucket.page(&request)?;
                all.push(format!("{} {} {:?}", listed(&bucket, page.records), page.has_more, page.cursor));
                cursor = page.cursor;
            }
            all.join("\n")
        }
        Read::Aggregate(function, field, filter) => {
            format!("{:?}", bucket.aggregate(*function, field, &parse(filter))?)
        }
        Read::GroupBy(by, function, field, filter) => {
            bucket.group_by(by, *function, field, &parse(filter))?
        }
        Read::Query(config) => {
            let query = Query::parse("random", config).unwrap().bind(&json!({})).unwrap();
            return query.guarded(&session.guard, state)?.evaluate(state);
        }
    }))
}

fn listed(bucket: &Seen<'_>, records: Vec<&Record>) -> String {
    let mut json = String::new();
    for record in records {
        bucket.write_json(&mut json, record);
        json.push('\n');
    }
    json
}

/// Whether a name looks at something that is hidden.
pub fn is_hidden(session: &Session, bucket: &str, name: &str) -> bool {
    let parts = |name: &str| {
        let mut parts: Vec<String> = name.split('.').map(str::to_owned).collect();
        let first = parts.remove(0);
        parts.retain(|part| part.parse::<u64>().is_err());
        parts.insert(0, first);
        parts
    };
    let asked = parts(name);
    session
        .hidden(bucket)
        .iter()
        .any(|hidden| asked.iter().zip(&parts(hidden)).all(|(one, other)| one == other))
}

/// Whether a read looks at something that is hidden.
pub fn touched(session: &Session, state: &Snapshot, bucket: &str, read: &Read) -> bool {
    let ordered = state.bucket(bucket).unwrap().definition().is_ordered();
    let mut names: Vec<String> = Vec::new();
    match read {
        Read::Get(_) | Read::Paginate(..) => names.push("id".into()),
        Read::First(_) | Read::Last(_) if ordered => names.push("id".into()),
        Read::All | Read::First(_) | Read::Last(_) => {}
        Read::Where(filter) | Read::FindOne(filter) | Read::Count(filter) => filtered(filter, &mut names),
        Read::Pages(filter, sort, _) => {
            filtered(filter, &mut names);
            names.extend(sort.iter().map(|(name, _)| name.clone()));
        }
        Read::Aggregate(_, field, filter) => {
            filtered(filter, &mut names);
            names.push(field.clone());
        }
        Read::GroupBy(by, _, field, filter) => {
            filtered(filter, &mut names);
            names.extend(by.iter().chain([field]).cloned());
        }
        Read::Query(config) => {
            filtered(config["filter"].as_object().unwrap(), &mut names);
            let listed = |value: &Value| match value {
                Value::String(name) => vec![name.clone()],
                Value::Array(each) => each.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
                Value::Object(members) => members.keys().cloned().collect(),
                _ => Vec::new(),
            };
            for member in ["sort", "fields"] {
                names.extend(config.get(member).into_iter().flat_map(listed));
            }
            if let Some(aggregate) = config.get("aggregate") {
                names.extend(listed(&aggregate["field"]));
                names.extend(aggregate.get("groupBy").into_iter().flat_map(listed));
            }
            for include in config.get("include").and_then(Value::as_object).into_iter().flat_map(Map::values)
            {
                names.extend(listed(&include["ref"]));
            }
        }
    }
    names.iter().any(|name| is_hidden(session, bucket, name))
}

fn filtered(filter: &Map<String, Value>, names: &mut Vec<String>) {
    for (name, condition) in filter {
        match condition {
            Value::Array(branches) if name == "$or" => {
                for branch in branches {
                    filtered(branch.as_object().unwrap(), names);
                }
            }
            _ => names.push(name.clone()),
        }
    }
}

/// The write as it is in the world that the session sees. Of what takes many records, those that it may write, one by one.
pub fn picked(intent: &Intent, session: &Session, state: &Snapshot, view: &Snapshot) -> Intent {
    let keys = |name: &str, filter: &Map<String, Value>| -> Vec<Value> {
        let filter = Filter::parse(filter).unwrap();
        let (bucket, seen) = (state.bucket(name).unwrap(), view.bucket(name).unwrap());
        let keys = seen.scan(&filter).map(|record| seen.key_of(record).unwrap().to_value());
        keys.filter(|key| session.writes(state, name, bucket.get(key).unwrap())).collect()
    };
    let operations: Vec<Step> = match intent {
        Intent::UpdateMany { bucket, filter, changes } => {
            let update = |key| Intent::Update { bucket: bucket.clone(), key, changes: changes.clone() };
            keys(bucket, filter).into_iter().map(update).map(Step::Write).collect()
        }
        Intent::DeleteMany { bucket, filter } => {
            let delete = |key| Intent::Delete { bucket: bucket.clone(), key };
            keys(bucket, filter).into_iter().map(delete).map(Step::Write).collect()
        }
        other => return other.clone(),
    };
    Intent::Transaction { operations }
}

/// Whether a write removes records, and may so have the schema change others.
pub fn removes(intent: &Intent) -> bool {
    match intent {
        Intent::Delete { .. } | Intent::DeleteMany { .. } | Intent::Clear { .. } => true,
        Intent::IfVersion { write, .. } => removes(write),
        Intent::Transaction { operations } => {
            operations.iter().any(|step| matches!(step, Step::Write(write) if removes(write)))
        }
        _ => false,
    }
}

/// All records of a state.
pub fn rows(state: &Snapshot) -> Vec<String> {
    let rows = |bucket: &dunlin_store::Bucket| {
        let name = bucket.name().clone();
        bucket
            .rows()
            .map(move |(row, record)| format!("{name} {} {}", row.0, record.json()))
            .collect::<Vec<_>>()
    };
    state.buckets().flat_map(rows).collect()
}

/// What a client is told of a write.
pub fn told(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.to_json()).unwrap()
}

/// The same without what is hidden: in the other world new records have the defaults of hidden members.
pub fn stripped(session: &Session, write: &Intent, outcome: &Outcome) -> Value {
    let mut told = told(outcome);
    match write {
        Intent::Insert { bucket, .. } | Intent::Update { bucket, .. } | Intent::Upsert { bucket, .. } => {
            session.strip(bucket, told.as_object_mut().unwrap());
        }
        Intent::IfVersion { write, .. } => return stripped(session, write, outcome),
        Intent::Transaction { operations } => {
            let Outcome::Transaction(outcomes) = outcome else { panic!("{outcome:?}") };
            for (index, (step, outcome)) in operations.iter().zip(outcomes).enumerate() {
                let data = match step {
                    Step::Write(write) => stripped(session, write, outcome),
                    Step::Get { bucket, .. } | Step::Where { bucket, .. } | Step::FindOne { bucket, .. } => {
                        let mut data = self::told(outcome);
                        let records = match &mut data {
                            Value::Array(records) => records.iter_mut().collect(),
                            one => vec![one],
                        };
                        for record in records.into_iter().filter_map(Value::as_object_mut) {
                            session.strip(bucket, record);
                        }
                        data
                    }
                    _ => continue,
                };
                told["results"][index]["data"] = data;
            }
        }
        _ => {}
    }
    told
}

/// All records of a state without what is hidden.
pub fn shown(session: &Session, state: &Snapshot) -> Vec<String> {
    let rows = |bucket: &dunlin_store::Bucket| {
        let name = bucket.name().clone();
        let row = move |(row, record): (dunlin_store::RowId, &Record)| {
            let mut members = object(record.to_value());
            session.strip(&name, &mut members);
            format!("{name} {} {}", row.0, Value::Object(members))
        };
        bucket.rows().map(row).collect::<Vec<_>>()
    };
    state.buckets().flat_map(rows).collect()
}
