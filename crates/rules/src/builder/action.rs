//! Actions.

use serde_json::{Value, json};

use super::condition::list;
use super::{Timer, When, with};

/// What a rule does.
///
/// ```
/// use dunlin_rules::builder::{Action, RuleBuilder, for_each, reference, variable, when};
/// use serde_json::json;
///
/// let line = when([variable("line.qty").gt(0)])
///     .then([Action::set_fact("stock:${var.line.sku}", reference("var.line.qty"))])
///     .otherwise([Action::emit("sold.out", json!({"sku": "${var.line.sku}"}))]);
/// let warn = Action::attempt([Action::call("mail", "send", [reference("event.user")])])
///     .caught_as("error", [Action::log("warn", "no mail: ${var.error.message}")])
///     .finally([Action::delete_fact("cart:${event.id}")]);
/// let rule = RuleBuilder::new("cart")
///     .on_event("cart.closed")
///     .then(for_each(reference("event.lines"), "line", [line]).at_most(100))
///     .then(warn)
///     .build();
/// # let (_, warnings) = dunlin_rules::Rule::parse(&rule, &dunlin_rules::Limits::default()).unwrap();
/// # assert!(warnings.is_empty());
/// ```
#[derive(Debug, Clone)]
pub struct Action(Value);

impl From<Action> for Value {
    fn from(action: Action) -> Self {
        action.0
    }
}

/// One write of a [transaction](Action::transaction).
#[derive(Debug, Clone)]
pub struct Write(Value);

impl Write {
    /// Adds a record.
    pub fn insert(bucket: &str, data: impl Into<Value>) -> Self {
        Self(json!({"op": "insert", "bucket": bucket, "data": data.into()}))
    }

    /// Changes members of one.
    pub fn update(bucket: &str, key: impl Into<Value>, data: impl Into<Value>) -> Self {
        Self(json!({"op": "update", "bucket": bucket, "key": key.into(), "data": data.into()}))
    }

    /// Updates it, or adds it.
    pub fn upsert(bucket: &str, data: impl Into<Value>) -> Self {
        Self(json!({"op": "upsert", "bucket": bucket, "data": data.into()}))
    }

    /// Removes one.
    pub fn delete(bucket: &str, key: impl Into<Value>) -> Self {
        Self(json!({"op": "delete", "bucket": bucket, "key": key.into()}))
    }
}

/// Runs actions if these conditions hold when it comes to it.
pub fn when(conditions: impl IntoIterator<Item = When>) -> Action {
    Action(json!({"type": "conditional", "conditions": list(conditions), "then": []}))
}

/// Runs actions for each element of an array, with the variables `name` and `name_index`.
pub fn for_each(
    collection: impl Into<Value>,
    name: &str,
    actions: impl IntoIterator<Item = Action>,
) -> Action {
    Action(
        json!({"type": "for_each", "collection": collection.into(), "as": name, "actions": values(actions)}),
    )
}

fn values(actions: impl IntoIterator<Item = Action>) -> Vec<Value> {
    actions.into_iter().map(Value::from).collect()
}

impl Action {
    /// Sets a fact; that triggers rules.
    pub fn set_fact(key: &str, value: impl Into<Value>) -> Self {
        Self(json!({"type": "set_fact", "key": key, "value": value.into()}))
    }

    /// Deletes a fact.
    pub fn delete_fact(key: &str) -> Self {
        Self(json!({"type": "delete_fact", "key": key}))
    }

    /// Emits an event; its data is an object.
    pub fn emit(topic: &str, data: impl Into<Value>) -> Self {
        Self(json!({"type": "emit_event", "topic": topic, "data": object(data.into())}))
    }

    /// Sets a timer, in the place of the one of its name.
    pub fn set_timer(timer: Timer) -> Self {
        Self(json!({"type": "set_timer", "timer": Value::from(timer)}))
    }

    /// Cancels a timer.
    pub fn cancel_timer(name: &str) -> Self {
        Self(json!({"type": "cancel_timer", "name": name}))
    }

    /// Calls a service of the program.
    pub fn call<V: Into<Value>>(service: &str, method: &str, args: impl IntoIterator<Item = V>) -> Self {
        let args: Vec<Value> = args.into_iter().map(Into::into).collect();
        Self(json!({"type": "call_service", "service": service, "method": method, "args": args}))
    }

    /// Posts to an URL that is allowed.
    ///
    /// ```
    /// use dunlin_rules::builder::{Action, RuleBuilder};
    /// use serde_json::json;
    ///
    /// let hook = Action::webhook("https://hooks.example/alert", json!({"order": {"ref": "event.id"}}))
    ///     .header("X-Source", "dunlin")
    ///     .attempts(5)
    ///     .timeout("3s");
    /// let rule = RuleBuilder::new("alert").on_event("order.odd").then(hook).build();
    /// # dunlin_rules::Rule::parse(&rule, &dunlin_rules::Limits::default()).unwrap();
    /// ```
    pub fn webhook(url: &str, body: impl Into<Value>) -> Self {
        Self(json!({"type": "webhook", "url": url, "body": body.into()}))
    }

    /// Writes to the server's log: `debug`, `info`, `warn` or `error`.
    pub fn log(level: &str, message: &str) -> Self {
        Self(json!({"type": "log", "level": level, "message": message}))
    }

    /// Adds a record.
    pub fn insert(bucket: &str, data: impl Into<Value>) -> Self {
        Self(json!({"type": "store_insert", "bucket": bucket, "data": data.into()}))
    }

    /// Changes members of a record.
    pub fn update(bucket: &str, key: impl Into<Value>, data: impl Into<Value>) -> Self {
        Self(json!({"type": "store_update", "bucket": bucket, "key": key.into(), "data": data.into()}))
    }

    /// Updates a record, or adds it.
    pub fn upsert(bucket: &str, data: impl Into<Value>) -> Self {
        Self(json!({"type": "store_upsert", "bucket": bucket, "data": data.into()}))
    }

    /// Removes a record.
    pub fn delete(bucket: &str, key: impl Into<Value>) -> Self {
        Self(json!({"type": "store_delete", "bucket": bucket, "key": key.into()}))
    }

    /// All of these writes, or none.
    pub fn transaction(writes: impl IntoIterator<Item = Write>) -> Self {
        let writes: Vec<_> = writes.into_iter().map(|write| write.0).collect();
        Self(json!({"type": "store_transaction", "operations": writes}))
    }

    /// Runs actions up to the first that fails.
    pub fn attempt(actions: impl IntoIterator<Item = Action>) -> Self {
        Self(json!({"type": "try_catch", "try": values(actions)}))
    }

    /// What [`attempt`](Self::attempt) does when an action has failed; the variable of this name is `{message, code}`.
    #[must_use]
    pub fn caught_as(self, name: &str, actions: impl IntoIterator<Item = Action>) -> Self {
        self.with("catch", json!({"as": name, "actions": values(actions)}))
    }

    /// What [`attempt`](Self::attempt) does in the end in any case.
    #[must_use]
    pub fn finally(self, actions: impl IntoIterator<Item = Action>) -> Self {
        self.with("finally", values(actions))
    }

    /// What [`when`] does if its conditions hold.
    #[must_use]
    pub fn then(self, actions: impl IntoIterator<Item = Action>) -> Self {
        self.with("then", values(actions))
    }

    /// What [`when`] does if they do not.
    #[must_use]
    pub fn otherwise(self, actions: impl IntoIterator<Item = Action>) -> Self {
        self.with("else", values(actions))
    }

    /// How many turns [`for_each`] takes at most.
    #[must_use]
    pub fn at_most(self, turns: u32) -> Self {
        self.with("maxIterations", turns)
    }

    /// The fact is set or deleted without triggering rules.
    #[must_use]
    pub fn silent(self) -> Self {
        self.with("silent", true)
    }

    /// A write to the store keeps its result as this variable.
    #[must_use]
    pub fn kept_as(self, name: &str) -> Self {
        self.with("as", name)
    }

    /// How often a call is tried.
    #[must_use]
    pub fn attempts(self, attempts: u32) -> Self {
        self.with("attempts", attempts)
    }

    /// How long one attempt of a call may take: `"3s"`, or milliseconds.
    #[must_use]
    pub fn timeout(self, timeout: impl Into<Value>) -> Self {
        self.with("timeout", timeout)
    }

    /// One more header of a webhook.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        let headers = self.0.get_mut("headers").map_or_else(|| json!({}), Value::take);
        self.with("headers", with(headers, name, value))
    }

    fn with(self, name: &str, value: impl Into<Value>) -> Self {
        Self(with(self.0, name, value))
    }
}

/// Events without data have none of it, and not `null`.
pub(super) fn object(data: Value) -> Value {
    if data.is_null() { json!({}) } else { data }
}
