//! What a server is told of rules.

use std::future::Future;

use serde_json::Value;

use super::ServerBuilder;
use crate::config::RulesOptions;
use crate::rules::ServiceError;

impl ServerBuilder {
    /// Switches the rule engine on, with these bounds: `rules`.
    ///
    /// ```
    /// use dunlin_server::{RulesOptions, Server};
    ///
    /// let server = Server::builder().rules(RulesOptions::on());
    /// # let _ = server;
    /// ```
    pub fn rules(mut self, options: RulesOptions) -> Self {
        self.config.rules = options;
        self
    }

    /// Lets rules call this `async` closure, as `call_service` and in `lookups`, by this name of a service and a method. See
    /// [`Services`](crate::Services).
    ///
    /// ```
    /// use dunlin_server::{RulesOptions, Server, ServiceError};
    /// use serde_json::{Value, json};
    ///
    /// let server = Server::builder().rules(RulesOptions::on()).service("mailer", "send", |args: Vec<Value>| async move {
    ///     let to = args.first().and_then(Value::as_str).ok_or_else(|| ServiceError::for_good("nobody to send it to"))?;
    ///     Ok(json!({"sent": to}))
    /// });
    /// # let _ = server;
    /// ```
    pub fn service<F, A>(mut self, service: &str, method: &str, run: F) -> Self
    where
        F: Fn(Vec<Value>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Value, ServiceError>> + Send + 'static,
    {
        self.services = self.services.method(service, method, run);
        self
    }

    /// Adds a rule of the program: a JSON object, or what a `RuleBuilder` makes. It is registered when the server starts, if
    /// there is none of its id or the one that there is differs; one that was switched off stays so.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use dunlin_server::{RulesOptions, Server};
    /// use serde_json::json;
    ///
    /// let server = Server::builder().memory().rules(RulesOptions::on()).rule(json!({
    ///     "id": "seen", "name": "Seen", "trigger": {"type": "event", "topic": "user.seen"},
    ///     "actions": [{"type": "set_fact", "key": "seen:${event.id}", "value": true}],
    /// }));
    /// let server = server.build().await?;
    /// server.rules().emit("user.seen", json!({"id": "ada"})).await?;
    /// assert_eq!(server.rules().get_fact("seen:ada")?, Some(json!(true)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn rule(mut self, rule: impl Into<Value>) -> Self {
        self.rules.push(rule.into());
        self
    }
}
