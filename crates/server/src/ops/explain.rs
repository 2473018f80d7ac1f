//! `store.explain`: how a filter or a query is answered, and how much work that is.

use dunlin_protocol::{Code, Error, Explained, frame};
use dunlin_store::{Filter, Snapshot};
use serde_json::{Map, Value, json};

use super::read::parsed;
use crate::limits;
use crate::shared::Shared;

/// Runs it and returns the JSON text of its `data`. What is large runs on a blocking thread: to explain is to do the work.
pub(crate) async fn run(shared: &Shared, what: Explained<'_>) -> Result<String, Error> {
    let snapshot = shared.published.snapshot();
    let (bucket, filter, named) = match what {
        Explained::Bucket { bucket, filter } => (bucket.into_owned(), parsed(filter.as_ref())?, false),
        Explained::Query { query, .. } if shared.programmatic.contains(&query) => {
            let message = format!(
                "Query \"{query}\" is code; only declarative queries can be explained. Explain the filters that it uses \
                 with \"bucket\""
            );
            return Err(Error::new(Code::ValidationError, message));
        }
        Explained::Query { query, params } => {
            let bound = snapshot.query(&query)?.bind(&params)?;
            (bound.bucket().to_owned(), bound.filter().clone(), true)
        }
    };
    if snapshot.bucket(&bucket)?.len() <= limits::INLINE_ROWS {
        return explain(&snapshot, &bucket, &filter, named);
    }
    let explained = tokio::task::spawn_blocking(move || explain(&snapshot, &bucket, &filter, named));
    explained.await.map_err(|_| {
        Error::new(Code::InternalError, "The filter could not be explained by a fault of the server")
    })?
}

/// With the name of the bucket where a query was asked about.
fn explain(snapshot: &Snapshot, bucket: &str, filter: &Filter, named: bool) -> Result<String, Error> {
    let explain = json!(snapshot.bucket(bucket)?.explain(filter));
    let mut data = Map::new();
    if named {
        data.insert("bucket".into(), bucket.into());
    }
    if let Value::Object(members) = explain {
        data.extend(members);
    }
    Ok(frame::json(&data))
}
