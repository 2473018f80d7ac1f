//! Starts the permanent actors, starts them again when they fail, and gives up when that does not help.

use std::collections::VecDeque;
use std::sync::Arc;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connection::ConnectionMessage;
use crate::limits;
use crate::live::{LiveActor, LiveArguments};
use crate::metrics::PermanentActor;
use crate::registry::Registry;
use crate::rules::{RulesActor, RulesArguments};
use crate::store_actor::{StoreActor, StoreArguments, StoreMessage};

pub(crate) struct Supervisor;

pub(crate) struct SupervisorArguments {
    pub(crate) store: StoreArguments,
    pub(crate) live: LiveArguments,
    pub(crate) rules: Option<RulesArguments>,
    pub(crate) registry: Arc<Registry>,
    /// Where the running `StoreActor` is announced.
    pub(crate) store_actor: watch::Sender<Option<ActorRef<StoreMessage>>>,
    /// Set to the reason when the server cannot go on.
    pub(crate) broken: watch::Sender<Option<String>>,
}

pub(crate) struct SupervisorState {
    arguments: SupervisorArguments,
    store: ActorId,
    live: ActorId,
    /// If there are rules.
    rules: Option<ActorId>,
    restarts: VecDeque<Instant>,
}

impl Actor for Supervisor {
    type Msg = ();
    type State = SupervisorState;
    type Arguments = SupervisorArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<()>,
        arguments: SupervisorArguments,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        let live = start_live(&myself, &arguments).await?;
        let store = start_store(&myself, &arguments).await?;
        let rules = start_rules(&myself, &arguments).await?;
        Ok(SupervisorState { arguments, store, live, rules, restarts: VecDeque::new() })
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let SupervisionEvent::ActorFailed(who, error) = event else { return Ok(()) };
        let who = who.get_id();
        if who == state.store {
            state.arguments.store_actor.send_replace(None);
        }
        let Some((which, name)) = state.permanent(who) else {
            // A connection. Its state is dropped, and that cleans up.
            state.arguments.store.metrics.panics.increment(1);
            tracing::error!(%error, "a connection failed and was closed");
            return Ok(());
        };
        tracing::error!(%error, actor = name, "a permanent actor failed; restarting it");
        if let Err(reason) = state.restart(&myself, which).await {
            let reason = format!("{name} failed ({error}) and could not be restarted: {reason}");
            tracing::error!(%reason, "the server cannot go on");
            state.arguments.broken.send_replace(Some(reason));
        }
        Ok(())
    }
}

impl SupervisorState {
    /// Which permanent actor it is, and its name; `None` if it is a connection.
    fn permanent(&self, who: ActorId) -> Option<(PermanentActor, &'static str)> {
        match who {
            who if who == self.store => Some((PermanentActor::Store, "StoreActor")),
            who if who == self.live => Some((PermanentActor::Live, "LiveActor")),
            who if Some(who) == self.rules => Some((PermanentActor::Rules, "RulesActor")),
            _ => None,
        }
    }

    async fn restart(
        &mut self,
        myself: &ActorRef<()>,
        which: PermanentActor,
    ) -> Result<(), ActorProcessingErr> {
        let now = Instant::now();
        self.restarts.retain(|at| now.duration_since(*at) < limits::RESTART_WINDOW);
        if self.restarts.len() >= limits::RESTARTS {
            return Err(format!(
                "it failed more than {} times within {:?}",
                limits::RESTARTS,
                limits::RESTART_WINDOW
            )
            .into());
        }
        self.restarts.push_back(now);
        self.arguments.store.metrics.restarts.of(which).increment(1);
        match which {
            PermanentActor::Store => {
                self.arguments.store.recover = true;
                self.store = start_store(myself, &self.arguments).await?;
            }
            PermanentActor::Rules => {
                if let Some(rules) = &mut self.arguments.rules {
                    rules.restarted = true;
                }
                self.rules = start_rules(myself, &self.arguments).await?;
            }
            PermanentActor::Live => {
                self.live = start_live(myself, &self.arguments).await?;
                for entry in self.arguments.registry.entries() {
                    if let Some(actor) = entry.actor() {
                        // A connection that is gone has nothing to watch.
                        let _ = actor.cast(ConnectionMessage::WatchAgain);
                    }
                }
            }
        }
        Ok(())
    }
}

async fn start_store(
    supervisor: &ActorRef<()>,
    arguments: &SupervisorArguments,
) -> Result<ActorId, ActorProcessingErr> {
    let (actor, _) =
        StoreActor::spawn_linked(None, StoreActor, arguments.store.clone(), supervisor.get_cell()).await?;
    let id = actor.get_id();
    arguments.store_actor.send_replace(Some(actor));
    Ok(id)
}

async fn start_rules(
    supervisor: &ActorRef<()>,
    arguments: &SupervisorArguments,
) -> Result<Option<ActorId>, ActorProcessingErr> {
    let Some(arguments) = &arguments.rules else { return Ok(None) };
    let (actor, _) =
        RulesActor::spawn_linked(None, RulesActor, arguments.clone(), supervisor.get_cell()).await?;
    let id = actor.get_id();
    arguments.feed.set_reader(actor);
    Ok(Some(id))
}

async fn start_live(
    supervisor: &ActorRef<()>,
    arguments: &SupervisorArguments,
) -> Result<ActorId, ActorProcessingErr> {
    let (actor, _) =
        LiveActor::spawn_linked(None, LiveActor, arguments.live.clone(), supervisor.get_cell()).await?;
    let id = actor.get_id();
    arguments.live.feed.set_reader(actor);
    Ok(id)
}
