//! `store.explain`: how a filter or a query is answered, and how much work that is.

use dunlin_protocol::{Code, Error, Explained, frame};
use dunlin_store::{Filter, Snapshot};
use serde_json::{Map, Value, json};

use super::read::parsed;
use super::subscribe::own;
use crate::connection::ConnectionState;
use crate::limits;
use crate::live::Watch;

/// Runs it and returns the JSON text of its `data`. What is large runs on a blocking thread: to explain is to do the work.
pub(crate) async fn run(state: &ConnectionState, what: Explained<'_>) -> Result<String, Error> {
    let shared = &state.shared;
    let snapshot = shared.published.snapshot();
    let (bucket, filter, named) = match what {
        Explained::Subscription { subscription_id } => {
            let (_, watch) = own(state, &subscription_id)?;
            return live(snapshot, watch).await;
        }
        Explained::Bucket { bucket, filter } => (bucket.into_owned(), parsed(filter.as_ref())?, false),
        Explained::Query { query, .. } if shared.programmatic.contains(&query) => {
            return Err(part_of_program(&query));
        }
        Explained::Query { query, params } => {
            let bound = snapshot.query(&query)?.bind(&params)?;
            (bound.bucket().to_owned(), bound.filter().clone(), true)
        }
    };
    explain_apart(snapshot, bucket, filter, named).await
}

fn part_of_program(query: &str) -> Error {
    let message = format!(
        "Query \"{query}\" is code; only declarative queries can be explained. Explain the filters that it uses \
         with \"bucket\""
    );
    Error::new(Code::ValidationError, message)
}

/// How a live query is kept up to date. For now: how it is evaluated from scratch.
async fn live(snapshot: Snapshot, watch: &Watch) -> Result<String, Error> {
    match &watch.source {
        LiveQuery::Declarative(bound) => {
            let (bucket, filter) = (bound.bucket().to_owned(), bound.filter().clone());
            explain_apart(snapshot, bucket, filter, true).await
        }
        LiveQuery::Programmatic { .. } => Err(part_of_program(&watch.query)),
    }
}

async fn explain_apart(
    snapshot: Snapshot,
    bucket: String,
    filter: Filter,
    named: bool,
) -> Result<String, Error> {
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
