//! Closures of the embedding program that rules call.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;

/// Why a service did not do what it was called for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct ServiceError {
    /// For people; rules see it, too.
    pub message: String,
    /// Whether there is a point in trying again.
    pub again: bool,
}

impl ServiceError {
    /// Trying again may help: the other side is away, or busy.
    pub fn again(message: impl Into<String>) -> Self {
        Self { message: message.into(), again: true }
    }

    /// Trying again does not help.
    pub fn for_good(message: impl Into<String>) -> Self {
        Self { message: message.into(), again: false }
    }
}

/// What a call comes to.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Value, ServiceError>> + Send>>;

type Method = Arc<dyn Fn(Vec<Value>) -> Answer + Send + Sync>;

/// The services that rules may call: by `call_service`, and for lookups. There are exactly those that were added, by exactly the
/// names that they were added with.
///
/// ```
/// use dunlin_server::{ServiceError, Services};
/// use serde_json::{Value, json};
///
/// let services = Services::new().method("users", "score", |args: Vec<Value>| async move {
///     match args.first().and_then(Value::as_str) {
///         Some("ada") => Ok(json!({"score": 7})),
///         _ => Err(ServiceError::for_good("nobody knows this user")),
///     }
/// });
/// assert!(services.has("users", "score") && !services.has("users", "toString"));
/// ```
#[derive(Clone, Default)]
pub struct Services(HashMap<Box<str>, HashMap<Box<str>, Method>>);

impl Services {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a method of a service: an `async` closure that gets the arguments of a call. Each call has its time limit, and one that
    /// panics has failed; neither hurts anything else.
    #[must_use]
    pub fn method<F, A>(mut self, service: &str, method: &str, run: F) -> Self
    where
        F: Fn(Vec<Value>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Value, ServiceError>> + Send + 'static,
    {
        let run: Method = Arc::new(move |args| -> Answer { Box::pin(run(args)) });
        self.0.entry(service.into()).or_default().insert(method.into(), run);
        self
    }

    /// Whether there is this method.
    pub fn has(&self, service: &str, method: &str) -> bool {
        self.0.get(service).is_some_and(|methods| methods.contains_key(method))
    }

    /// The method of these names.
    ///
    /// # Errors
    /// There is none; trying again does not help.
    pub(crate) fn find(&self, service: &str, method: &str) -> Result<Method, ServiceError> {
        let methods = self
            .0
            .get(service)
            .ok_or_else(|| ServiceError::for_good(format!("Service \"{service}\" is not registered")))?;
        methods.get(method).cloned().ok_or_else(|| {
            ServiceError::for_good(format!("Method \"{method}\" not found on service \"{service}\""))
        })
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
