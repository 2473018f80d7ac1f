//! The parts of the rules, put together when a server begins.

use std::sync::{Arc, Mutex};

use dunlin_store::Snapshot;

use super::actor::RulesArguments;
use super::desk::Desk;
use super::feed::RuleFeed;
use super::lookups::Lookups;
use super::options::RuleOptions;
use super::webhooks::Webhooks;
use crate::metrics::Metrics;
use crate::start_error::StartError;
use crate::store_actor::StoreRules;
use crate::store_handle::StoreHandle;
use crate::workbench::TimeSource;

/// What the two actors get that rules need.
pub(crate) struct Arranged {
    pub(crate) store: StoreRules,
    pub(crate) actor: RulesArguments,
}

impl Arranged {
    /// Makes the engine that `state` holds, and what is around it.
    ///
    /// # Errors
    /// The rules cannot be read, or `https://` cannot be spoken and is needed.
    pub(crate) async fn new(
        options: Arc<RuleOptions>,
        state: Snapshot,
        store: StoreHandle,
        metrics: Arc<Metrics>,
        clock: TimeSource,
    ) -> Result<Self, StartError> {
        let webhooks =
            Webhooks::new(&options.webhooks).map_err(|error| StartError::RuleWebhooks(error.to_string()))?;
        let (services, timeout) = (Arc::clone(&options.services), options.lookup_timeout);
        let lookups = Arc::new(Lookups::new(services, timeout, Arc::clone(&clock), Arc::clone(&metrics)));
        let (engine_options, known) = (Arc::clone(&options), Arc::clone(&lookups));
        let made = tokio::task::spawn_blocking(move || Desk::new(engine_options, known, &state));
        let desk = made.await.map_err(|error| StartError::Rules(error.to_string()))?;
        let desk = desk.map_err(|error| StartError::Rules(error.to_string()))?;
        let feed = Arc::new(RuleFeed::default());
        Ok(Self {
            store: StoreRules {
                options: Arc::clone(&options),
                lookups: Arc::clone(&lookups),
                feed: Arc::clone(&feed),
                ready: Arc::new(Mutex::new(Some(Box::new(desk)))),
            },
            actor: RulesArguments {
                options,
                feed,
                lookups,
                webhooks: Arc::new(webhooks),
                store,
                metrics,
                clock,
                restarted: false,
            },
        })
    }
}
