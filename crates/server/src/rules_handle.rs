//! The door to the rules for services that embed the server.

use std::sync::Arc;

use dunlin_protocol::{KeyPattern, TopicPattern};
use dunlin_rules::change::prefix;
use dunlin_rules::{Answer, Event, Fact, Input, Object};
use dunlin_store::{FACTS, Filter, Idempotency, Key, Outcome};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::ops::rules::write::{fingerprint, whole};
use crate::rule_events::{RuleEventStream, RuleEvents};
use crate::rules::{RuleWork, Work};
use crate::store_actor::WriteError;
use crate::store_handle::StoreHandle;

/// Emits events, sets facts and administers the rules of a running server from the same process. Cheap to clone.
///
/// An answer means durable, with everything that was set off. Permissions do not apply; the embedder is trusted. On a server
/// [without rules](crate::RulesOptions) everything answers [`WriteError::NoRules`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use dunlin_server::{RulesOptions, Server};
/// use serde_json::json;
///
/// let server = Server::builder().memory().port(0).rules(RulesOptions::on()).bind().await?;
/// let rules = server.rules();
/// rules.register(json!({
///     "id": "welcome", "name": "Welcome", "trigger": {"type": "event", "topic": "user.new"},
///     "actions": [{"type": "set_fact", "key": "greeted:${event.id}", "value": true}],
/// })).await?;
/// let mut events = rules.subscribe("user.*")?;
/// rules.emit("user.new", json!({"id": 7})).await?;
/// assert_eq!(rules.get_fact("greeted:7")?, Some(json!(true)));
/// let heard = events.next().await.ok_or("the server has stopped")??;
/// assert_eq!(&*heard.event.topic, "user.new");
/// # server.stop(std::time::Duration::ZERO).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RulesHandle {
    store: StoreHandle,
    /// `None`: there is no rule engine.
    events: Option<Arc<RuleEvents>>,
}

impl RulesHandle {
    pub(crate) fn new(store: StoreHandle, events: Option<Arc<RuleEvents>>) -> Self {
        Self { store, events }
    }

    /// Emits an event with `data`, a JSON object, and returns it when everything that it set off without leaving the process is
    /// durable.
    pub async fn emit(&self, topic: &str, data: Value) -> Result<Event, WriteError> {
        self.made(emit(topic, data)?, None).await
    }

    /// Emits an event once, however often it is asked for with the same `scope` and `key`: a repeat sets nothing off and gives the
    /// first event, for `idempotency.ttlMs` and over restarts. Another event with the same key is refused. Clients have the scopes
    /// `user:<id>` and `address:<ip>`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use dunlin_server::{RulesOptions, Server};
    /// # use serde_json::json;
    /// # let server = Server::builder().memory().port(0).rules(RulesOptions::on()).bind().await?;
    /// # let rules = server.rules();
    /// let first = rules.emit_once("job:billing", "2026-11", "month.closed", json!({"month": 11})).await?;
    /// let again = rules.emit_once("job:billing", "2026-11", "month.closed", json!({"month": 11})).await?;
    /// assert_eq!(first.id, again.id);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn emit_once(
        &self,
        scope: &str,
        key: &str,
        topic: &str,
        data: Value,
    ) -> Result<Event, WriteError> {
        let input = emit(topic, data)?;
        let once = Idempotency { scope: scope.into(), key: key.into(), fingerprint: fingerprint(&input) };
        self.made(input, Some(once)).await
    }

    /// Sets a fact and returns it. That triggers rules, also if it had this value.
    pub async fn set_fact(&self, key: &str, value: Value) -> Result<Fact, WriteError> {
        self.made(Input::SetFact { key: key.into(), value }, None).await
    }

    /// Deletes a fact; whether it was there.
    pub async fn delete_fact(&self, key: &str) -> Result<bool, WriteError> {
        self.made(Input::DeleteFact { key: key.into() }, None).await
    }

    /// The value of a fact, if there is one.
    pub fn get_fact(&self, key: &str) -> Result<Option<Value>, WriteError> {
        self.is_there()?;
        let snapshot = self.store.snapshot();
        let found = snapshot.bucket(FACTS).ok().and_then(|facts| facts.find(Key::Str(key)));
        Ok(found.and_then(|(_, record)| record.to_value().get("value").cloned()))
    }

    /// The facts whose keys match a pattern, in the order in which they came to be.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use dunlin_server::{RulesOptions, Server};
    /// # use serde_json::json;
    /// # let server = Server::builder().memory().port(0).rules(RulesOptions::on()).bind().await?;
    /// # let rules = server.rules();
    /// rules.set_fact("cart:7:total", json!(120)).await?;
    /// rules.set_fact("cart:7:owner", json!("ada")).await?;
    /// rules.set_fact("cart:8:total", json!(5)).await?;
    /// let keys: Vec<_> = rules.facts("cart:*:total")?.into_iter().map(|fact| fact.key.to_string()).collect();
    /// assert_eq!(keys, ["cart:7:total", "cart:8:total"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn facts(&self, pattern: impl AsRef<str>) -> Result<Vec<Fact>, WriteError> {
        self.is_there()?;
        let pattern = KeyPattern::new(pattern.as_ref());
        let snapshot = self.store.snapshot();
        let Ok(facts) = snapshot.bucket(FACTS) else { return Ok(Vec::new()) };
        let head = pattern.as_str().split('*').next().unwrap_or_default();
        let filter = json!({"key": {"$startsWith": head}});
        let filter = Filter::parse(filter.as_object().unwrap_or(&Map::new()))?;
        let read =
            facts.through(None).matching(&filter)?.into_iter().filter_map(|record| read(record.json()).ok());
        Ok(read.filter(|fact: &Fact| pattern.matches(&fact.key)).collect())
    }

    /// Registers a rule, a JSON object or what a `RuleBuilder` makes, and returns it as it is now.
    pub async fn register(&self, rule: impl Into<Value>) -> Result<Object, WriteError> {
        self.made(Input::Register { rule: rule.into() }, None).await
    }

    /// Replaces members of a rule and returns it as it is now; `null` removes an optional one.
    pub async fn update(&self, id: &str, updates: Value) -> Result<Object, WriteError> {
        self.made(Input::Update { id: id.into(), updates: object("updates", updates)? }, None).await
    }

    /// Removes a rule. Its history stays.
    pub async fn unregister(&self, id: &str) -> Result<(), WriteError> {
        self.made::<Value>(Input::Unregister { id: id.into() }, None).await.map(drop)
    }

    /// Lets a rule fire.
    pub async fn enable(&self, id: &str) -> Result<Object, WriteError> {
        self.made(Input::SetEnabled { id: id.into(), enabled: true }, None).await
    }

    /// Keeps a rule from firing.
    pub async fn disable(&self, id: &str) -> Result<Object, WriteError> {
        self.made(Input::SetEnabled { id: id.into(), enabled: false }, None).await
    }

    /// A rule as it is now, if there is one of this id.
    pub fn rule(&self, id: &str) -> Result<Option<Object>, WriteError> {
        #[derive(serde::Deserialize)]
        struct Entry {
            rule: Object,
        }
        self.is_there()?;
        let snapshot = self.store.snapshot();
        let entry = snapshot.entry(&format!("{}{id}", prefix::RULE));
        entry.map(|text| read::<Entry>(text).map(|entry| entry.rule)).transpose()
    }

    /// The events from now on whose topic matches a pattern, in their order. Changes of records are not among them: see
    /// [`Server::events`](crate::Server::events).
    pub fn subscribe(&self, pattern: impl Into<TopicPattern>) -> Result<RuleEventStream, WriteError> {
        let events = self.events.as_ref().ok_or(WriteError::NoRules)?;
        Ok(events.listen(pattern.into()))
    }

    /// The calls that failed for good, as `rules.deadLetters` shows them, in no order.
    pub fn dead_letters(&self) -> Result<Vec<Object>, WriteError> {
        self.is_there()?;
        let snapshot = self.store.snapshot();
        snapshot.entries(prefix::DEAD).map(|(_, text)| read(text)).collect()
    }

    /// Lets a call that failed for good be tried again.
    pub async fn requeue(&self, call_id: &str) -> Result<(), WriteError> {
        self.made::<Value>(Input::Requeue { id: call_id.into() }, None).await.map(drop)
    }

    /// Throws a call that failed for good away.
    pub async fn discard(&self, call_id: &str) -> Result<(), WriteError> {
        self.made::<Value>(Input::Discard { id: call_id.into() }, None).await.map(drop)
    }

    fn is_there(&self) -> Result<(), WriteError> {
        if self.events.is_some() { Ok(()) } else { Err(WriteError::NoRules) }
    }

    /// Carries an input out; what it has made.
    async fn made<T: DeserializeOwned>(
        &self,
        input: Input,
        once: Option<Idempotency>,
    ) -> Result<T, WriteError> {
        self.is_there()?;
        let tell: fn(&Answer) -> String = whole;
        let work = Work::Rules(Box::new(RuleWork { input, once, tell }));
        match self.store.run(work).await? {
            Outcome::Told(told) => read(&told),
            Outcome::Repeated(answer) => read(answer.body.json()),
            _ => Err(WriteError::Interrupted),
        }
    }
}

fn emit(topic: &str, data: Value) -> Result<Input, WriteError> {
    let data = object("data", data)?;
    Ok(Input::Emit { topic: topic.into(), data, correlation_id: None, causation_id: None })
}

fn object(what: &'static str, value: Value) -> Result<Object, WriteError> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(WriteError::NotAnObject { what }),
    }
}

/// What the server has written itself.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, WriteError> {
    serde_json::from_str(text).map_err(|error| {
        tracing::error!(%error, "what is kept of rules cannot be read");
        WriteError::RulesFailed
    })
}
