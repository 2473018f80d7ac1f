//! What the `StoreActor` is asked to do, in order: writes of records, inputs of the rule engine, looks at it.

use dunlin_rules::fault::RuleFault;
use dunlin_rules::{Answer, Engine, Input};
use dunlin_store::{Idempotency, Intent, Snapshot};

/// One piece of work.
pub(crate) enum Work {
    /// A write of the store.
    Store(Intent),
    /// An input of the rule engine.
    Rules(Box<RuleWork>),
    /// A look at the rule engine.
    Look(Look),
}

/// An input of the rule engine and how it is answered.
pub(crate) struct RuleWork {
    pub(crate) input: Input,
    /// What a repeat is known by: it gets the first answer, and the engine hears nothing of it. Its fingerprint is that of the request.
    pub(crate) once: Option<Idempotency>,
    /// The `data` of the answer, JSON text.
    pub(crate) tell: fn(&Answer) -> String,
}

/// Reads the engine when everything before it is carried out, and gives the `data` of an answer, JSON text.
pub(crate) struct Look(pub(crate) Reading);

type Reading = Box<dyn FnOnce(&Engine, &Snapshot) -> Result<String, RuleFault> + Send + Sync>;

impl From<Intent> for Work {
    fn from(intent: Intent) -> Self {
        Self::Store(intent)
    }
}
