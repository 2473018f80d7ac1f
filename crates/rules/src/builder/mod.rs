//! Rules in Rust: what is written here is the JSON of a rule, so it is checked, stored and shown like any other.
//!
//! ```
//! use dunlin_rules::builder::{RuleBuilder, any, event, fact, reference};
//! use dunlin_rules::{Limits, Rule};
//! use serde_json::json;
//!
//! let rule = RuleBuilder::new("vip-discount")
//!     .on_event("order.created")
//!     .when(fact("cust:${event.cust}:vip").eq(true))
//!     .when(any([event("total").gte(reference("fact.cfg:min")), event("coupon").exists()]))
//!     .set_fact("order:${event.id}:discount", 15)
//!     .emit("discount.granted", json!({"id": "${event.id}"}))
//!     .priority(50)
//!     .build();
//!
//! let (rule, warnings) = Rule::parse(&rule, &Limits::default()).unwrap();
//! assert!(rule.actions.len() == 2 && warnings.is_empty());
//! ```

mod action;
mod condition;
mod pattern;
mod timer;

use serde_json::{Value, json};

pub use action::{Action, Write, for_each, when};
pub use condition::{Source, When, all, any, event, fact, lookup, not, variable};
pub use pattern::{Matcher, Pattern, matcher};
pub use timer::Timer;

use crate::Object;

/// Builds the JSON of a rule, see the [module](self). Without another name, a rule is named by its id.
#[derive(Debug, Clone)]
pub struct RuleBuilder(Object);

/// A value that is known when the rule runs: `{"ref": "…"}`.
///
/// ```
/// use dunlin_rules::builder::reference;
/// assert_eq!(reference("event.id"), serde_json::json!({"ref": "event.id"}));
/// ```
pub fn reference(path: &str) -> Value {
    json!({ "ref": path })
}

/// What a rule asks a service of the program before its conditions.
///
/// ```
/// use dunlin_rules::builder::{Lookup, RuleBuilder, lookup, reference};
///
/// let credit = Lookup::new("credit", "scores", "of").arg(reference("event.cust")).cached("5m");
/// let rule = RuleBuilder::new("solvent")
///     .on_event("order.created")
///     .lookup(credit)
///     .when(lookup("credit").field("value").gte(700))
///     .set_fact("solvent:${event.cust}", true)
///     .build();
/// assert_eq!(rule["lookups"][0]["cache"]["ttl"], "5m");
/// # dunlin_rules::Rule::parse(&rule, &dunlin_rules::Limits::default()).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Lookup(Value);

impl Lookup {
    /// Asks this method of this service; the rule sees the answer under `name`.
    pub fn new(name: &str, service: &str, method: &str) -> Self {
        Self(json!({"name": name, "service": service, "method": method, "args": []}))
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, value: impl Into<Value>) -> Self {
        if let Some(args) = self.0.get_mut("args").and_then(Value::as_array_mut) {
            args.push(value.into());
        }
        self
    }

    /// An answer may be used again for so long: `"5m"`, or milliseconds.
    #[must_use]
    pub fn cached(self, ttl: impl Into<Value>) -> Self {
        Self(with(self.0, "cache", json!({"ttl": ttl.into()})))
    }

    /// The rule fails if the service does, and that is reported; else it is skipped.
    #[must_use]
    pub fn or_fail(self) -> Self {
        Self(with(self.0, "onError", "fail"))
    }
}

impl RuleBuilder {
    /// A rule with this id.
    pub fn new(id: &str) -> Self {
        Self(Object::new()).set("id", id).set("name", id)
    }

    /// Its name for people.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.set("name", name)
    }

    /// What it is for.
    #[must_use]
    pub fn description(self, description: &str) -> Self {
        self.set("description", description)
    }

    /// Higher runs first; 0 if it is not given.
    #[must_use]
    pub fn priority(self, priority: i64) -> Self {
        self.set("priority", priority)
    }

    /// It does not fire before it is enabled.
    #[must_use]
    pub fn disabled(self) -> Self {
        self.set("enabled", false)
    }

    /// One more tag.
    #[must_use]
    pub fn tag(self, tag: &str) -> Self {
        self.push("tags", tag)
    }

    /// The group that it belongs to.
    #[must_use]
    pub fn group(self, group: &str) -> Self {
        self.set("group", group)
    }

    /// Fires on events whose topic matches; changes of records have topics such as `bucket.orders.inserted`.
    #[must_use]
    pub fn on_event(self, topic: &str) -> Self {
        self.set("trigger", json!({"type": "event", "topic": topic}))
    }

    /// Fires when a fact whose key matches is set.
    #[must_use]
    pub fn on_fact(self, pattern: &str) -> Self {
        self.set("trigger", json!({"type": "fact", "pattern": pattern}))
    }

    /// Fires when one of these happens to a fact whose key matches: `set`, `changed`, `deleted`.
    ///
    /// ```
    /// use dunlin_rules::builder::RuleBuilder;
    ///
    /// let rule = RuleBuilder::new("gone").on_fact_changes("user:*:seen", ["deleted"]).emit("user.gone", Default::default()).build();
    /// # dunlin_rules::Rule::parse(&rule, &dunlin_rules::Limits::default()).unwrap();
    /// ```
    #[must_use]
    pub fn on_fact_changes<'a>(self, pattern: &str, changes: impl IntoIterator<Item = &'a str>) -> Self {
        let changes: Vec<_> = changes.into_iter().collect();
        self.set("trigger", json!({"type": "fact", "pattern": pattern, "on": changes}))
    }

    /// Fires when a timer whose name matches expires.
    #[must_use]
    pub fn on_timer(self, name: &str) -> Self {
        self.set("trigger", json!({"type": "timer", "name": name}))
    }

    /// Fires when a pattern over several events is complete.
    #[must_use]
    pub fn on_pattern(self, pattern: Pattern) -> Self {
        self.set("trigger", json!({"type": "temporal", "pattern": Value::from(pattern)}))
    }

    /// One more condition; all must hold.
    #[must_use]
    pub fn when(self, condition: When) -> Self {
        self.push("conditions", condition)
    }

    /// One more question that is asked before the conditions.
    #[must_use]
    pub fn lookup(self, lookup: Lookup) -> Self {
        self.push("lookups", lookup.0)
    }

    /// One more action, whatever it is.
    #[must_use]
    pub fn then(self, action: Action) -> Self {
        self.push("actions", action)
    }

    /// Sets a fact.
    #[must_use]
    pub fn set_fact(self, key: &str, value: impl Into<Value>) -> Self {
        self.then(Action::set_fact(key, value))
    }

    /// Deletes a fact.
    #[must_use]
    pub fn delete_fact(self, key: &str) -> Self {
        self.then(Action::delete_fact(key))
    }

    /// Emits an event; its data is an object.
    #[must_use]
    pub fn emit(self, topic: &str, data: Value) -> Self {
        self.then(Action::emit(topic, data))
    }

    /// Sets a timer.
    #[must_use]
    pub fn set_timer(self, timer: Timer) -> Self {
        self.then(Action::set_timer(timer))
    }

    /// Cancels a timer.
    #[must_use]
    pub fn cancel_timer(self, name: &str) -> Self {
        self.then(Action::cancel_timer(name))
    }

    /// Its writes to the store have the rights of a session with these roles.
    ///
    /// ```
    /// use dunlin_rules::builder::{Action, RuleBuilder};
    /// use serde_json::json;
    ///
    /// let rule = RuleBuilder::new("archive")
    ///     .on_event("bucket.orders.deleted")
    ///     .run_as(["writer"])
    ///     .then(Action::insert("archive", json!({"ref": "event.before"})))
    ///     .build();
    /// assert_eq!(rule["runAs"], json!({"roles": ["writer"]}));
    /// # dunlin_rules::Rule::parse(&rule, &dunlin_rules::Limits::default()).unwrap();
    /// ```
    #[must_use]
    pub fn run_as<'a>(self, roles: impl IntoIterator<Item = &'a str>) -> Self {
        let roles: Vec<_> = roles.into_iter().collect();
        self.set("runAs", json!({ "roles": roles }))
    }

    /// The rule as JSON.
    pub fn build(self) -> Value {
        Value::Object(self.0)
    }

    fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    fn push(mut self, name: &str, value: impl Into<Value>) -> Self {
        let list = self.0.entry(name).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(value.into());
        }
        self
    }
}

/// An object with one more member.
fn with(mut object: Value, name: &str, value: impl Into<Value>) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value.into());
    }
    object
}
