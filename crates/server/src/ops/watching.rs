//! Live queries whose watcher's rights may be others than when it began to watch.

use std::sync::Arc;

use dunlin_protocol::{Code, Error, Mode};

use super::{gate, subscribe};
use crate::connection::{ConnectionState, SubscriptionId};
use crate::live::{Judged, LiveMessage};

/// Judges every live query of a connection by the rights that its session has now. One that is not allowed any more ends. One
/// of which the session sees other records now goes on with these; but a client that counts positions is told to begin anew,
/// because no commit has brought it there.
pub(crate) async fn judge_again(state: &mut ConnectionState) {
    let ids: Vec<SubscriptionId> = state.subscriptions.keys().copied().collect();
    for id in ids {
        let Some(watch) = state.subscriptions.get(&id) else { continue };
        let (query, judged) = (Arc::clone(&watch.query), watch.judged.clone());
        if let Err(error) = gate::judge_watching(state, &query, judged.names()).settled().await {
            state.end_one(id, &error);
            continue;
        }
        let guard = match state.guard() {
            Ok(guard) => guard,
            Err(error) => {
                state.end_one(id, &error);
                continue;
            }
        };
        let Some(watch) = state.subscriptions.get_mut(&id) else { continue };
        match subscribe::narrowed(&watch.asked, &guard) {
            Ok(source) if source == watch.source => {}
            Ok(source) if watch.mode == Mode::Full && !state.positions => {
                watch.source = source;
                state.watch_anew(id);
            }
            Ok(_) => {
                let error = Error::new(Code::Forbidden, "Your rights have changed; subscribe again");
                state.end_one(id, &error);
            }
            Err(error) => state.end_one(id, &error),
        }
    }
}

/// Judges one live query whose view reads other buckets than before. It is watched again if that is allowed.
pub(crate) async fn judge_view(state: &mut ConnectionState, id: SubscriptionId, buckets: Vec<Arc<str>>) {
    let Some(watch) = state.subscriptions.get_mut(&id) else { return };
    let query = Arc::clone(&watch.query);
    match gate::judge_watching(state, &query, &buckets).settled().await {
        Ok(()) => {
            if let Some(watch) = state.subscriptions.get_mut(&id) {
                watch.judged = Judged::Only(buckets.into());
                let again = Box::new(watch.again());
                state.shared.feed.tell(LiveMessage::Watch { watch: again, reply: None });
            }
        }
        Err(error) => state.end_one(id, &error),
    }
}
