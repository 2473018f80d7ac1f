//! `store.explain`: how a filter or a query is answered, and how much work that is.

use dunlin_protocol::{Code, Error, Explained, frame};
use dunlin_store::{Filter, Guard, LiveQuery, Snapshot, StoreError};
use serde_json::{Map, Value, json};

use super::read::parsed;
use super::subscribe::own;
use crate::connection::{ConnectionState, ask_live};
use crate::limits;
use crate::live::LiveMessage;

/// Runs it and returns the JSON text of its `data`. What is large runs on a blocking thread: to explain is to do the work.
/// A bucket under a rule is not explained: the answer tells how many records were looked at, seen or not.
pub(crate) async fn run(state: &mut ConnectionState, what: Explained<'_>) -> Result<String, Error> {
    let guard = state.guard()?;
    let shared = &state.shared;
    let snapshot = shared.published.snapshot();
    match what {
        Explained::Subscription { subscription_id } => live(state, &subscription_id).await,
        Explained::Bucket { bucket, filter } => {
            whole(&guard, &bucket)?;
            let explained = explain(snapshot, bucket.into_owned(), parsed(filter.as_ref())?).await?;
            Ok(frame::json(&explained))
        }
        Explained::Query { query, .. } if shared.programmatic.contains(&query) => {
            let message = format!(
                "Query \"{query}\" is code; only declarative queries can be explained. Explain the filters that it uses \
                 with \"bucket\", or a subscription to it with \"subscriptionId\""
            );
            Err(Error::new(Code::ValidationError, message))
        }
        Explained::Query { query, params } => {
            let bound = snapshot.query(&query)?.bind(&params)?;
            bound.buckets(&snapshot).iter().try_for_each(|bucket| whole(&guard, bucket))?;
            let mut data = Map::new();
            data.insert("bucket".into(), bound.bucket().into());
            data.extend(explain(snapshot, bound.bucket().to_owned(), bound.filter().clone()).await?);
            let bound = LiveQuery::Declarative(bound);
            if let Some(live) = ask_live(shared, |reply| LiveMessage::ExplainQuery(bound, reply)).await? {
                data.insert("live".into(), json!(live));
            }
            Ok(frame::json(&data))
        }
    }
}

/// Refuses what tells of records that are not seen.
fn whole(guard: &Guard, bucket: &str) -> Result<(), Error> {
    match guard.rule(bucket) {
        None => Ok(()),
        Some(_) => Err(StoreError::NotWhole { bucket: bucket.into() }.into()),
    }
}

/// How a live query is kept up to date, and what it has cost so far.
async fn live(state: &ConnectionState, subscription: &str) -> Result<String, Error> {
    let (id, watch) = own(state, subscription)?;
    let mut data = Map::new();
    data.insert("query".into(), (*watch.query).into());
    if let LiveQuery::Declarative(bound) = &watch.source {
        data.insert("bucket".into(), bound.bucket().into());
    }
    // One that is about to end has no view any more.
    let live = ask_live(&state.shared, |reply| LiveMessage::Explain(id, reply)).await?;
    if let Value::Object(members) = json!(live) {
        data.extend(members);
    }
    Ok(frame::json(&data))
}

/// How a filter is answered.
async fn explain(snapshot: Snapshot, bucket: String, filter: Filter) -> Result<Map<String, Value>, Error> {
    let large = snapshot.bucket(&bucket)?.len() > limits::INLINE_ROWS;
    let explain = move || {
        let explain = json!(snapshot.bucket(&bucket)?.explain(&filter));
        Ok(if let Value::Object(members) = explain { members } else { Map::new() })
    };
    if !large {
        return explain();
    }
    let explained = tokio::task::spawn_blocking(explain).await;
    explained.unwrap_or_else(|_| {
        let message = "The filter could not be explained by a fault of the server";
        Err(Error::new(Code::InternalError, message))
    })
}
