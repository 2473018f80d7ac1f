//! Queries that are code, queries that somebody sees through rules, and what they give by the simplest means.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use dunlin_store::{ClosureQuery, Guard, LiveQuery, Snapshot};
use serde_json::{Value, json};

use crate::common::narrowed::Session;
use crate::random::Chance;

/// A query that somebody sees through rules.
#[derive(Clone)]
pub struct Narrowed {
    /// The query without them.
    pub whole: LiveQuery,
    pub session: Rc<Session>,
    /// Where the records that it includes come from, and which buckets were known when it began.
    pub includes: Vec<String>,
    pub known: BTreeSet<Arc<str>>,
}

/// What a query gives on a state, from scratch.
pub fn evaluate(query: &LiveQuery, snapshot: &Snapshot) -> Option<String> {
    match query {
        LiveQuery::Declarative(bound) => bound.evaluate(snapshot).unwrap(),
        LiveQuery::Programmatic { query, params, guard } => {
            Some(query.run_guarded(snapshot, params, guard).0.unwrap().to_string())
        }
    }
}

/// The buckets that these fields refer to.
pub fn targets(query: &LiveQuery, includes: &[String], snapshot: &Snapshot) -> BTreeSet<Arc<str>> {
    let LiveQuery::Declarative(bound) = query else { return BTreeSet::new() };
    let Ok(bucket) = snapshot.bucket(bound.bucket()) else { return BTreeSet::new() };
    let fields =
        bucket.definition().fields().iter().filter(|field| includes.contains(&field.name().to_owned()));
    fields.filter_map(|field| Some(Arc::clone(&field.reference()?.bucket))).collect()
}

/// A query that is code: one that looks keys up, or one that reads everything.
pub fn closure(chance: &mut Chance) -> LiveQuery {
    let (query, params) = if chance.once_in(2) {
        let query = ClosureQuery::new("one", |ctx, params| {
            let task = ctx.bucket("tasks")?.get(&params["id"]).map(|task| task.to_value());
            let person = task.as_ref().map(|task| task["p"].clone()).unwrap_or_default();
            let person = ctx.bucket("people")?.get(&person).map(|person| person.to_value());
            Ok(json!({"task": task, "person": person}))
        });
        (query, json!({"id": *chance.pick(&["1", "2", "3"])}))
    } else {
        let query = ClosureQuery::new("many", |ctx, _| Ok(json!(ctx.bucket("people")?.all().count())));
        (query, Value::Null)
    };
    LiveQuery::Programmatic { query, params: params.into(), guard: Guard::default() }
}
