//! Live queries and subscriptions to events whose watcher's rights may be others than when it began to watch.

use std::sync::Arc;

use dunlin_protocol::{Code, Error, Mode, TopicPattern};
use dunlin_store::LiveQuery;

use super::gate;
use crate::connection::{ConnectionState, SubscriptionId};
use crate::live::{Judged, LiveMessage};

/// Judges every subscription of a connection by the rights that its session has now. One that is not allowed any more ends; one
/// of which the session sees other records now goes on with these.
pub(crate) async fn judge_again(state: &mut ConnectionState) {
    // A callback may take its time.
    state.entry().outbox.doubt();
    let ids: Vec<SubscriptionId> = state.subscriptions.keys().copied().collect();
    for id in ids {
        let Some(watch) = state.subscriptions.get(&id) else { continue };
        let judged = watch.judged.clone();
        match left(state, id, judged.names()).await {
            Some(Ok(source)) => go_on(state, id, source),
            Some(Err(error)) => state.end_one(id, &error),
            None => {}
        }
    }
    let heard: Vec<(SubscriptionId, TopicPattern)> =
        state.heard.iter().map(|(id, pattern)| (*id, pattern.clone())).collect();
    for (id, pattern) in heard {
        if let Err(error) = gate::judge_hearing(state, pattern.as_str()).settled().await {
            state.end_one(id, &error);
        }
    }
    state.entry().outbox.sure();
}

/// Judges one live query whose view reads other buckets than before. Nobody watches it meanwhile.
pub(crate) async fn judge_view(state: &mut ConnectionState, id: SubscriptionId, buckets: Vec<Arc<str>>) {
    match left(state, id, &buckets).await {
        Some(Ok(source)) => {
            let Some(watch) = state.subscriptions.get_mut(&id) else { return };
            watch.judged = Judged::Only(buckets.into());
            if watch.source == source {
                let watch = Box::new(watch.again());
                state.shared.feed.tell(LiveMessage::Watch { watch, reply: None });
            } else {
                go_on(state, id, source);
            }
        }
        Some(Err(error)) => state.end_one(id, &error),
        None => {}
    }
}

/// What is left of a query that reads these buckets for the session that there is now; none of one that is not watched.
async fn left(
    state: &mut ConnectionState,
    id: SubscriptionId,
    buckets: &[Arc<str>],
) -> Option<Result<LiveQuery, Error>> {
    let query = Arc::clone(&state.subscriptions.get(&id)?.query);
    let judged = gate::judge_watching(state, &query, buckets).settled().await;
    let guard = judged.and_then(|()| state.guard());
    let watch = state.subscriptions.get(&id)?;
    Some(guard.and_then(|guard| Ok(watch.asked.guarded(&guard, &state.shared.published.snapshot())?)))
}

/// Lets a subscription show what is left of its query now. A client that counts positions is told to begin anew, because no
/// commit has brought it there.
fn go_on(state: &mut ConnectionState, id: SubscriptionId, source: LiveQuery) {
    let positions = state.positions;
    let Some(watch) = state.subscriptions.get_mut(&id) else { return };
    if watch.source == source {
        return;
    }
    if watch.mode == Mode::Full && !positions {
        watch.source = source;
        state.watch_anew(id);
    } else {
        let error = Error::new(Code::Forbidden, "Your rights have changed; subscribe again");
        state.end_one(id, &error);
    }
}
