//! Reads: straight from the published snapshot, with no lock and no hop.

use dunlin_protocol::{Aggregate, Error, Message, Object, Operation, Read, frame};
use dunlin_store::{Filter, Record, Snapshot};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::limits;
use crate::shared::Shared;

/// Answers a read with a whole frame. One that may visit many rows moves to a blocking thread, so that the connections
/// which share this worker thread do not wait for it.
pub(crate) async fn answer(
    shared: &Shared,
    id: &str,
    read: Read<'_>,
    request: &Utf8Bytes,
) -> Result<String, Error> {
    if may_visit(&shared.published.load(), &read) <= limits::INLINE_ROWS {
        return run(&shared.published.load(), id, &read);
    }
    let snapshot = shared.published.snapshot();
    let request = request.clone();
    // The request is parsed once more over there: cheaper than copying every small one for the sake of the large ones.
    let scan = move || match Message::parse(&request) {
        Ok(Message::Request(request)) => match Operation::parse(&request)? {
            Operation::Read(read) => run(&snapshot, request.id, &read),
            _ => Err(scan_failed()),
        },
        _ => Err(scan_failed()),
    };
    tokio::task::spawn_blocking(scan).await.map_err(|_| scan_failed())?
}

fn scan_failed() -> Error {
    Error::new(dunlin_protocol::Code::InternalError, "The read failed by a fault of the server")
}

/// An upper bound of the rows a read looks at.
fn may_visit(snapshot: &Snapshot, read: &Read<'_>) -> usize {
    let (bucket, most) = match read {
        Read::Get { .. } | Read::Buckets | Read::GetBucketSchema { .. } | Read::Count { filter: None, .. } => return 1,
        Read::First { bucket, n } | Read::Last { bucket, n } => (bucket, *n),
        Read::Paginate { bucket, limit, .. } => (bucket, *limit),
        Read::All { bucket }
        | Read::Where { bucket, .. }
        | Read::FindOne { bucket, .. }
        | Read::Count { bucket, .. }
        | Read::Aggregate { bucket, .. } => (bucket, usize::MAX),
    };
    snapshot.bucket(bucket).map_or(0, |bucket| bucket.len().min(most))
}

fn run(snapshot: &Snapshot, id: &str, read: &Read<'_>) -> Result<String, Error> {
    let data = |value: &Value| frame::result(id, Some(&frame::json(value)));
    Ok(match read {
        Read::Get { bucket, key } => one(id, snapshot.bucket(bucket)?.get(key)),
        Read::All { bucket } => many(id, snapshot.bucket(bucket)?.iter()),
        Read::Where { bucket, filter } => {
            let bucket = snapshot.bucket(bucket)?;
            many(id, bucket.scan(&Filter::parse(filter)?))
        }
        Read::FindOne { bucket, filter } => {
            let bucket = snapshot.bucket(bucket)?;
            one(id, bucket.scan(&Filter::parse(filter)?).next())
        }
        Read::Count { bucket, filter } => {
            let bucket = snapshot.bucket(bucket)?;
            data(&json!(bucket.count(&parsed(filter.as_ref())?)))
        }
        Read::First { bucket, n } => many(id, snapshot.bucket(bucket)?.first(*n)),
        Read::Last { bucket, n } => many(id, snapshot.bucket(bucket)?.last(*n)),
        Read::Paginate { bucket, limit, after } => {
            let page = snapshot.bucket(bucket)?.paginate(after.as_ref(), *limit)?;
            let mut answer = frame::begin_result(id, 0);
            answer.push_str("{\"records\":");
            list(&mut answer, page.records);
            answer.push_str(",\"hasMore\":");
            answer.push_str(if page.has_more { "true" } else { "false" });
            if let Some(cursor) = page.next_cursor {
                answer.push_str(",\"nextCursor\":");
                answer.push_str(&frame::json(&cursor));
            }
            answer.push_str("}}");
            answer
        }
        Read::Aggregate { function, bucket, field, filter } => {
            let bucket = snapshot.bucket(bucket)?;
            let value = bucket.aggregate(store_function(*function), field, &parsed(filter.as_ref())?);
            data(&value.map_or(Value::Null, |number| json!(number)))
        }
        Read::Buckets => {
            let names: Vec<&str> = snapshot.buckets().map(|bucket| &**bucket.name()).collect();
            data(&json!({"count": names.len(), "names": names}))
        }
        Read::GetBucketSchema { name } => {
            let bucket = snapshot.bucket(name).map_err(dunlin_store::StoreError::administrative)?;
            let name = frame::json(&**name);
            frame::result(id, Some(&["{\"name\":", &name, ",\"config\":", bucket.config(), "}"].concat()))
        }
    })
}

/// No filter is the empty one: everything.
fn parsed(filter: Option<&Object>) -> Result<Filter, Error> {
    Ok(Filter::parse(filter.unwrap_or(&Object::new()))?)
}

fn store_function(function: Aggregate) -> dunlin_store::Aggregate {
    match function {
        Aggregate::Sum => dunlin_store::Aggregate::Sum,
        Aggregate::Avg => dunlin_store::Aggregate::Avg,
        Aggregate::Min => dunlin_store::Aggregate::Min,
        Aggregate::Max => dunlin_store::Aggregate::Max,
    }
}

fn one(id: &str, record: Option<&Record>) -> String {
    frame::result(id, Some(record.map_or("null", Record::json)))
}

fn many<'a>(id: &str, records: impl IntoIterator<Item = &'a Record>) -> String {
    let mut answer = frame::begin_result(id, 0);
    list(&mut answer, records);
    answer.push('}');
    answer
}

/// A JSON array of records, from their shared encodings.
fn list<'a>(out: &mut String, records: impl IntoIterator<Item = &'a Record>) {
    out.push('[');
    for (i, record) in records.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(record.json());
    }
    out.push(']');
}
