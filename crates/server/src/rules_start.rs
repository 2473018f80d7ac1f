//! The rule engine of a server that begins: made before anything runs, so that a state it cannot read keeps the server from starting.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dunlin_rules::{Object, versions};
use dunlin_store::Snapshot;
use serde_json::{Value, json};

use crate::auth::{Auth, PolicyRights};
use crate::config::RulesOptions;
use crate::metrics::Metrics;
use crate::rule_events::RuleEvents;
use crate::rules::{Desk, Lookups, RuleFeed, RuleOptions, RulesArguments, Services, Webhooks};
use crate::rules_handle::RulesHandle;
use crate::server::Server;
use crate::shared::RulesPart;
use crate::start_error::StartError;
use crate::store_actor::{StoreRules, WriteError};
use crate::store_handle::StoreHandle;
use crate::workbench::TimeSource;

/// What the engine is made of.
pub(crate) struct Ingredients<'a> {
    pub(crate) options: &'a RulesOptions,
    pub(crate) services: Services,
    pub(crate) auth: Option<Arc<Auth>>,
    pub(crate) state: &'a Snapshot,
    pub(crate) store: StoreHandle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: TimeSource,
}

/// An engine that is ready: what the `StoreActor` gets of it, the `RulesActor`, and everybody.
pub(crate) type Ready = (StoreRules, RulesArguments, RulesPart);

/// Makes the engine, if there is to be one.
pub(crate) fn ready(ingredients: Ingredients<'_>) -> Result<Option<Ready>, StartError> {
    let Ingredients { options, services, auth, state, store, metrics, clock } = ingredients;
    if !options.enabled {
        return Ok(None);
    }
    let events = Arc::new(RuleEvents::new(options.subscriber_bytes, Arc::clone(&metrics)));
    let services = Arc::new(services);
    let timeout = Duration::from_millis(options.service_timeout_ms);
    let feed = Arc::new(RuleFeed::default());
    let lookups =
        Arc::new(Lookups::new(Arc::clone(&services), timeout, Arc::clone(&clock), Arc::clone(&metrics)));
    let webhooks = Webhooks::new(&options.webhooks.allow)
        .map_err(|error| StartError::RuleWebhooks(error.to_string()))?;
    let chosen = Arc::new(RuleOptions {
        limits: options.limits(),
        rights: Arc::new(PolicyRights::new(auth)),
        listener: Arc::clone(&events) as _,
        services,
    });
    let desk = Desk::new(Arc::clone(&chosen), Arc::clone(&lookups), state);
    let desk = desk.map_err(|error| StartError::Rules(error.to_string()))?;
    let writer = StoreRules {
        options: Arc::clone(&chosen),
        lookups: Arc::clone(&lookups),
        feed: Arc::clone(&feed),
        ready: Arc::new(Mutex::new(Some(Box::new(desk)))),
    };
    let webhooks = Arc::new(webhooks);
    let actor =
        RulesArguments { options: chosen, feed, lookups, webhooks, store, metrics, clock, restarted: false };
    Ok(Some((writer, actor, RulesPart { events })))
}

/// Registers the rules of the program: those that are new, and those that are not what they were. Others stay as they are,
/// switched off or on.
pub(crate) async fn register(server: &Server, given: Vec<Value>) -> Result<(), StartError> {
    let handle = server.rules();
    for (index, rule) in given.into_iter().enumerate() {
        let failed = |source: WriteError| StartError::Rule { index, source: Box::new(source) };
        put(&handle, rule).await.map_err(failed)?;
    }
    Ok(())
}

async fn put(rules: &RulesHandle, rule: Value) -> Result<(), WriteError> {
    let id = rule.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    match (rules.rule(&id)?, rule) {
        (Some(present), Value::Object(wanted)) => {
            let updates = whole(wanted);
            let mut different = present.clone();
            different.extend(updates.clone().into_iter().filter(|(_, value)| !value.is_null()));
            different.retain(|name, _| updates.get(name).is_none_or(|value| !value.is_null()));
            if versions::diff(&present, &different) != json!([]) {
                rules.update(&id, Value::Object(updates)).await?;
            }
        }
        (_, rule) => {
            rules.register(rule).await?;
        }
    }
    Ok(())
}

/// A rule with everything that it leaves out, so that an update makes it what a registration would. Whether it is enabled stays as it
/// is if nothing is said: somebody may have switched it off.
fn whole(mut rule: Object) -> Object {
    let defaults = json!({
        "priority": 0, "tags": [], "conditions": [], "actions": [],
        "description": null, "group": null, "lookups": null, "runAs": null,
    });
    for (name, value) in defaults.as_object().into_iter().flatten() {
        rule.entry(name.clone()).or_insert_with(|| value.clone());
    }
    rule
}
