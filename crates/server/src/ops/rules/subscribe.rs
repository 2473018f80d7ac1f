//! `rules.subscribe` and `rules.unsubscribe`: who hears of what.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dunlin_protocol::{Error, TopicPattern};

use super::validation;
use crate::connection::ConnectionState;
use crate::ops::subscribe::{not_found, number, take_slot};
use crate::registry::About;

/// What the topics of changed records begin with.
const CHANGES: &str = "bucket.";

pub(in crate::ops) fn subscribe(
    state: &mut ConnectionState,
    pattern: Result<Cow<'_, str>, Error>,
) -> Result<String, Error> {
    take_slot(state, About::Rules)?;
    let heard = pattern.and_then(|pattern| hear(state, &pattern));
    if heard.is_err() {
        state.seat().free_subscription(About::Rules);
    }
    heard
}

fn hear(state: &mut ConnectionState, pattern: &str) -> Result<String, Error> {
    let parsed =
        TopicPattern::parse(pattern).map_err(|fault| validation(format!("Invalid \"pattern\": {fault}")))?;
    if pattern.starts_with(CHANGES) {
        let advice = "changes of records are told to rules alone; watch them with store.subscribe, or let a rule emit an event \
                      for each";
        return Err(validation(format!("Invalid \"pattern\": {advice}")));
    }
    let Some(rules) = state.shared.rules.clone() else { return Err(crate::ops::no_rules()) };
    let id = state.shared.last_subscription.fetch_add(1, Ordering::Relaxed) + 1;
    let outbox = &state.entry().outbox;
    // The first push must not overtake the result.
    outbox.hold();
    outbox.open_events(id);
    state.heard.insert(id, parsed.clone());
    rules.events.subscribe(id, parsed, Arc::clone(state.entry()));
    Ok(format!("{{\"subscriptionId\":\"sub-{id}\"}}"))
}

pub(in crate::ops) fn unsubscribe(state: &mut ConnectionState, subscription: &str) -> Result<String, Error> {
    let id = number(subscription).filter(|id| state.heard.remove(id).is_some());
    let id = id.ok_or_else(|| not_found(subscription))?;
    state.seat().free_subscription(About::Rules);
    state.entry().outbox.forget(id);
    state.hear_no_more([id]);
    Ok("{\"unsubscribed\":true}".to_owned())
}
