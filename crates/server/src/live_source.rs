//! What a live query works its result out from: a definition or a closure, with parameters.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use dunlin_protocol::{Code, Error, frame};
use dunlin_store::{BoundQuery, ClosureQuery, Reads, Snapshot};
use serde_json::Value;

use crate::connection::Body;
use crate::limits;

/// JSON text of a view's result; `None` is an undefined one (the minimum of nothing).
pub(crate) type Encoded = Option<Body>;

/// A query with its parameters.
#[derive(Clone)]
pub(crate) enum Source {
    Declarative(BoundQuery),
    Programmatic { query: ClosureQuery, params: Arc<Value> },
}

/// What identifies a source: all who ask for the same share one view.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum SourceKey {
    Declarative(BoundQuery),
    /// The query's name, and its parameters as JSON text.
    Programmatic(Arc<str>, String),
}

/// What an evaluation gave, and what it has read.
pub(crate) struct Evaluated {
    pub(crate) result: Result<Encoded, Error>,
    pub(crate) reads: Reads,
}

impl Source {
    pub(crate) fn key(&self) -> SourceKey {
        match self {
            Self::Declarative(bound) => SourceKey::Declarative(bound.clone()),
            Self::Programmatic { query, params } => {
                SourceKey::Programmatic(Arc::clone(query.name()), params.to_string())
            }
        }
    }

    /// The bucket whose end is the query's end.
    pub(crate) fn bucket(&self) -> Option<&str> {
        match self {
            Self::Declarative(bound) => Some(bound.bucket()),
            Self::Programmatic { .. } => None,
        }
    }

    /// Runs it from scratch. A panic in it is its own failure only.
    pub(crate) async fn evaluate(&self, snapshot: &Snapshot) -> Evaluated {
        match self {
            Self::Declarative(bound) => {
                let reads = Reads::of(bound, snapshot);
                Evaluated { result: declarative(bound.clone(), snapshot.clone()).await, reads }
            }
            Self::Programmatic { query, params } => {
                let (query, params, snapshot) = (query.clone(), Arc::clone(params), snapshot.clone());
                let run = move || {
                    let (result, reads) = query.run(&snapshot, &params);
                    let result = result.map(|value| Some(frame::json(&value).into())).map_err(Error::from);
                    Evaluated { result, reads }
                };
                // Nobody knows how long the program's code takes.
                let run = tokio::task::spawn_blocking(run).await;
                run.unwrap_or_else(|_| Evaluated { result: Err(failed()), reads: Reads::default() })
            }
        }
    }
}

/// A large one runs on a blocking thread.
async fn declarative(bound: BoundQuery, snapshot: Snapshot) -> Result<Encoded, Error> {
    let rows = snapshot.bucket(bound.bucket())?.len();
    let run = move || std::panic::catch_unwind(AssertUnwindSafe(|| bound.evaluate(&snapshot)));
    let caught = if rows > limits::INLINE_ROWS {
        tokio::task::spawn_blocking(run).await.map_err(|_| failed())?
    } else {
        run()
    };
    let result = caught.map_err(|_| failed())??;
    Ok(result.map(Body::from))
}

fn failed() -> Error {
    Error::new(Code::InternalError, "The live query failed and was ended; subscribe again")
}
