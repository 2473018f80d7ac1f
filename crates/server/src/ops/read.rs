//! Reads: straight from the published snapshot, with no lock and no hop.

use dunlin_protocol::{
    Code, Error, Grouping, Id, KeyField, Message, Object, Operation, PageFields, Read, frame,
};
use dunlin_store::limits::MAX_QUERY_FIELDS;
use dunlin_store::{Direction, Filter, Guard, Key, PageRequest, Record, Seen, Snapshot};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::limits;

/// Runs a read on a blocking thread, so that the connections which share this worker thread do not wait for it. The request
/// is parsed once more over there: cheaper than copying every small one for the sake of the large ones.
pub(crate) async fn run_apart(snapshot: Snapshot, guard: Guard, request: Utf8Bytes) -> Result<String, Error> {
    let scan = move || match Message::parse(&request) {
        Ok(Message::Request(request)) => match Operation::parse(&request)? {
            Operation::Read(read) => run(&snapshot, &guard, request.id, &read),
            _ => Err(scan_failed()),
        },
        _ => Err(scan_failed()),
    };
    tokio::task::spawn_blocking(scan).await.map_err(|_| scan_failed())?
}

fn scan_failed() -> Error {
    Error::new(Code::InternalError, "The read failed by a fault of the server")
}

/// Whether a read looks at few enough rows to be run on the spot. Under a rule it may look at all to find a few.
pub(crate) fn is_small(snapshot: &Snapshot, guard: &Guard, read: &Read<'_>) -> bool {
    let (bucket, most) = match read {
        Read::Get { .. } | Read::Buckets | Read::GetBucketSchema { .. } => return true,
        Read::Count { bucket, filter: None } => (bucket, 0),
        Read::First { bucket, n } | Read::Last { bucket, n } => (bucket, *n),
        Read::Paginate { bucket, limit, .. }
        | Read::Page { bucket, limit, page: PageFields { filter: None, sort: None, .. } } => (bucket, *limit),
        Read::All { bucket }
        | Read::Where { bucket, .. }
        | Read::FindOne { bucket, .. }
        | Read::Page { bucket, .. }
        | Read::Count { bucket, .. }
        | Read::Aggregate { bucket, .. }
        | Read::GroupBy { bucket, .. } => (bucket, usize::MAX),
    };
    let most = if guard.rule(bucket).is_some() { usize::MAX } else { most };
    snapshot.bucket(bucket).map_or(0, |bucket| bucket.len().min(most)) <= limits::INLINE_ROWS
}

/// Answers a read with a whole frame, as far as somebody under a guard sees.
pub(crate) fn run(snapshot: &Snapshot, guard: &Guard, id: Id, read: &Read<'_>) -> Result<String, Error> {
    let seen = |name: &str| snapshot.bucket(name).map(|bucket| bucket.through(guard.rule(name)));
    let data = |value: &Value| frame::result(id, &frame::json(value));
    Ok(match read {
        Read::Get { bucket, key } => {
            let bucket = seen(bucket)?;
            let record = match key {
                KeyField::Text(text) => bucket.find(Key::Str(text))?,
                KeyField::Other(value) => bucket.get(value)?,
            };
            one(id, &bucket, record)
        }
        Read::All { bucket } => {
            let bucket = seen(bucket)?;
            many(id, &bucket, bucket.all())
        }
        Read::Where { bucket, filter } => {
            let bucket = seen(bucket)?;
            many(id, &bucket, bucket.matching(&Filter::parse(filter)?)?)
        }
        Read::FindOne { bucket, filter } => {
            let bucket = seen(bucket)?;
            one(id, &bucket, bucket.find_one(&Filter::parse(filter)?)?)
        }
        Read::Count { bucket, filter } => {
            let bucket = seen(bucket)?;
            data(&json!(bucket.count(&parsed(filter.as_ref())?)?))
        }
        Read::First { bucket, n } => {
            let bucket = seen(bucket)?;
            many(id, &bucket, bucket.first(*n)?)
        }
        Read::Last { bucket, n } => {
            let bucket = seen(bucket)?;
            many(id, &bucket, bucket.last(*n)?)
        }
        Read::Paginate { bucket, limit, after } => {
            let bucket = seen(bucket)?;
            let page = bucket.paginate(after.as_ref(), *limit)?;
            let cursor = page.next_cursor.map(|key| ("nextCursor", frame::json(&key)));
            one_page(id, &bucket, page.records, page.has_more, cursor)
        }
        Read::Page { bucket, limit, page: PageFields { cursor, filter, sort } } => {
            let bucket = seen(bucket)?;
            let (limit, cursor) = (*limit, cursor.clone());
            let request =
                PageRequest { filter: parsed(filter.as_ref())?, sort: order(sort.as_ref())?, limit, cursor };
            let page = bucket.page(&request)?;
            let cursor = page.cursor.map(|cursor| ("cursor", frame::json(&cursor)));
            one_page(id, &bucket, page.records, page.has_more, cursor)
        }
        Read::Aggregate { function, bucket, field, filter } => {
            let value = seen(bucket)?.aggregate(*function, field, &parsed(filter.as_ref())?)?;
            data(&value.map_or(Value::Null, |number| json!(number)))
        }
        Read::GroupBy { bucket, grouping, filter } => {
            let Grouping { by, function, field } = grouping;
            let groups = seen(bucket)?.group_by(by, *function, field, &parsed(filter.as_ref())?)?;
            frame::result(id, &groups)
        }
        // It takes more than a snapshot: who asks.
        Read::Buckets => return Err(scan_failed()),
        Read::GetBucketSchema { name } => {
            let bucket = snapshot.bucket(name).map_err(dunlin_store::StoreError::administrative)?;
            let name = frame::json(&**name);
            frame::result(id, &["{\"name\":", &name, ",\"config\":", bucket.config(), "}"].concat())
        }
    })
}

/// `sort` of a page: member names to directions, as in a query.
fn order(sort: Option<&Object>) -> Result<Vec<(String, Direction)>, Error> {
    if sort.map_or(0, Object::len) > MAX_QUERY_FIELDS {
        let message = format!("Invalid \"sort\": at most {MAX_QUERY_FIELDS} fields are possible");
        return Err(Error::new(Code::ValidationError, message));
    }
    let keys = sort.into_iter().flatten().map(|(field, direction)| {
        let known = direction.as_str().and_then(Direction::parse);
        known.map(|direction| (field.clone(), direction)).ok_or_else(|| {
            let message = format!("Invalid \"sort.{field}\": expected \"asc\" or \"desc\"");
            Error::new(Code::ValidationError, message)
        })
    });
    keys.collect()
}

/// `{"records":…,"hasMore":…,"<name>":<cursor>}`.
fn one_page(
    id: Id,
    bucket: &Seen<'_>,
    records: Vec<&Record>,
    has_more: bool,
    cursor: Option<(&'static str, String)>,
) -> String {
    let mut answer = frame::begin_result(id, 0);
    answer.push_str("{\"records\":");
    list(&mut answer, bucket, records);
    answer.push_str(",\"hasMore\":");
    answer.push_str(if has_more { "true" } else { "false" });
    if let Some((name, cursor)) = cursor {
        answer.extend([",\"", name, "\":", &cursor]);
    }
    answer.push_str("}}");
    answer
}

/// No filter is the empty one: everything.
pub(super) fn parsed(filter: Option<&Object>) -> Result<Filter, Error> {
    Ok(Filter::parse(filter.unwrap_or(&Object::new()))?)
}

fn one(id: Id, bucket: &Seen<'_>, record: Option<&Record>) -> String {
    match record {
        None => frame::result(id, "null"),
        Some(record) => frame::result(id, &bucket.json(record)),
    }
}

fn many(id: Id, bucket: &Seen<'_>, records: Vec<&Record>) -> String {
    let mut answer = frame::begin_result(id, 0);
    list(&mut answer, bucket, records);
    answer.push('}');
    answer
}

/// A JSON array of records, from their shared encodings.
fn list(out: &mut String, bucket: &Seen<'_>, records: Vec<&Record>) {
    out.push('[');
    for (i, record) in records.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        bucket.write_json(out, record);
    }
    out.push(']');
}
