//! The road from the `StoreActor` to the `LiveActor`: commits in order, up to a bound.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use dunlin_store::{Commit, Snapshot, Views};
use ractor::ActorRef;

use super::LiveMessage;
use crate::limits;

/// Gathers commits until they are taken. If the `LiveActor` falls further behind than [`limits::FEED_CHANGES`], only the newest
/// state is kept, and every live query is worked out from that.
#[derive(Default)]
pub(crate) struct ChangeFeed {
    waiting: Mutex<Waiting>,
    reader: ArcSwapOption<ActorRef<LiveMessage>>,
}

#[derive(Default)]
struct Waiting {
    news: Option<News>,
    /// A wake-up is on its way.
    awake: bool,
    /// While nobody watches anything, the reader leaves its views here: they are taken along on the spot, which is little work
    /// then and spares every writer a wake-up, and the reader does not hold states that the writer is done with.
    parked: Option<Box<Views>>,
}

/// What has happened since it was asked last.
pub(crate) struct News {
    /// The newest state.
    pub(crate) snapshot: Snapshot,
    /// The commits that lead to it; `None` if they are not known.
    pub(crate) commits: Option<Vec<Arc<Vec<Commit>>>>,
    /// Changes in these commits.
    changes: usize,
}

impl ChangeFeed {
    /// A feed with the views of a server that begins. Nobody watches any yet.
    pub(crate) fn new(views: Box<Views>) -> Self {
        let waiting = Waiting { parked: Some(views), ..Waiting::default() };
        Self { waiting: Mutex::new(waiting), reader: ArcSwapOption::empty() }
    }

    /// Sets who is woken.
    pub(crate) fn set_reader(&self, reader: ActorRef<LiveMessage>) {
        self.reader.store(Some(Arc::new(reader)));
        // A wake-up may have been lost with the reader before.
        let mut waiting = self.waiting();
        waiting.awake = true;
        drop(waiting);
        self.tell(LiveMessage::Changed);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Every critical section leaves the state consistent, so a panic elsewhere in it does not matter.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These commits were published, and led to this state. While nobody watches anything: how many bytes of the past are kept.
    pub(crate) fn changed(&self, commits: &Arc<Vec<Commit>>, snapshot: Snapshot) -> Option<usize> {
        let mut waiting = self.waiting();
        if let Some(views) = &mut waiting.parked {
            views.advance(commits.iter(), snapshot);
            return Some(views.history_bytes());
        }
        let changes: usize = commits.iter().map(|commit| commit.changes.len()).sum();
        if let Some(news) = &mut waiting.news {
            news.snapshot = snapshot;
            news.changes += changes;
            if let Some(known) = news.commits.as_mut().filter(|_| news.changes <= limits::FEED_CHANGES) {
                known.push(Arc::clone(commits));
            } else {
                news.commits = None;
            }
        } else {
            let known = (changes <= limits::FEED_CHANGES).then(|| vec![Arc::clone(commits)]);
            waiting.news = Some(News { snapshot, commits: known, changes });
        }
        self.wake(waiting);
        None
    }

    /// This state was published, and nobody knows what led to it.
    pub(crate) fn everything_changed(&self, snapshot: Snapshot) {
        let mut waiting = self.waiting();
        if let Some(views) = &mut waiting.parked {
            views.restart(snapshot);
        } else {
            waiting.news = Some(News { snapshot, commits: None, changes: 0 });
            self.wake(waiting);
        }
    }

    fn wake(&self, mut waiting: MutexGuard<'_, Waiting>) {
        let asleep = !std::mem::replace(&mut waiting.awake, true);
        drop(waiting);
        if asleep {
            self.tell(LiveMessage::Changed);
        }
    }

    /// Sends the reader a message. One that is gone is being restarted, and then begins with the newest state and is told of
    /// every subscription anew; a message with a reply port in it is dropped, which its sender notices.
    pub(crate) fn tell(&self, message: LiveMessage) {
        if let Some(reader) = &*self.reader.load() {
            let _ = reader.cast(message);
        }
    }

    /// For the reader: leaves its views here, of which nobody watches any. They come back at once if there are news.
    pub(crate) fn park(&self, views: Box<Views>) -> Option<Box<Views>> {
        let mut waiting = self.waiting();
        if waiting.news.is_some() {
            return Some(views);
        }
        waiting.parked = Some(views);
        None
    }

    /// For the reader: takes its views again.
    pub(crate) fn unpark(&self) -> Option<Box<Views>> {
        self.waiting().parked.take()
    }

    /// For the reader.
    pub(crate) fn take(&self) -> Option<News> {
        let mut waiting = self.waiting();
        waiting.awake = false;
        waiting.news.take()
    }
}

#[cfg(test)]
mod tests {
    use dunlin_store::{BucketId, Cause, Change, HistoryLimits, RowId, ViewLimits};

    use super::*;

    fn commits(position: u64, changes: usize) -> Arc<Vec<Commit>> {
        let change = Change::Remove { bucket: BucketId(0), row: RowId(0), cause: Cause::Deleted };
        Arc::new(vec![Commit { position, at: 0, changes: vec![change; changes] }])
    }

    fn known(feed: &ChangeFeed) -> Option<usize> {
        feed.take().unwrap().commits.map(|groups| groups.len())
    }

    #[test]
    fn while_nobody_watches_the_views_are_taken_along_here() {
        let limits = ViewLimits {
            history: HistoryLimits { commits: 10, bytes: 1000 },
            unindexed_tests: 0,
            bytes: 0,
            reserve: 0,
        };
        let (feed, state) = (ChangeFeed::default(), Snapshot::new("epoch"));
        let views = Box::new(Views::new(state.clone(), limits));
        feed.changed(&commits(1, 1), state.clone());
        let views = feed.park(views).expect("there are news");
        assert_eq!(known(&feed), Some(1));
        assert!(feed.park(views).is_none());
        feed.changed(&commits(2, 1), state.clone());
        feed.everything_changed(state);
        assert!(feed.take().is_none(), "nobody is told");
        assert!(feed.unpark().is_some() && feed.unpark().is_none());
    }

    #[test]
    fn commits_wait_up_to_a_bound() {
        let (feed, state) = (ChangeFeed::default(), Snapshot::new("epoch"));
        assert!(feed.take().is_none());
        feed.changed(&commits(1, limits::FEED_CHANGES - 1), state.clone());
        feed.changed(&commits(2, 1), state.clone());
        assert_eq!(known(&feed), Some(2));
        assert!(feed.take().is_none());

        feed.changed(&commits(3, limits::FEED_CHANGES), state.clone());
        feed.changed(&commits(4, 1), state.clone());
        feed.changed(&commits(5, 1), state.clone());
        assert_eq!(known(&feed), None, "too many");
        feed.changed(&commits(6, limits::FEED_CHANGES + 1), state.clone());
        assert_eq!(known(&feed), None, "too many at once");
        feed.changed(&commits(7, 1), state.clone());
        feed.everything_changed(state.clone());
        feed.changed(&commits(8, 1), state);
        assert_eq!(known(&feed), None, "what led to it is not known");
    }
}
