//! The road from the `StoreActor` to the `LiveActor`: commits in order, up to a bound.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use dunlin_store::{Commit, Snapshot};
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
    /// Nobody watches anything: what has happened can wait.
    quiet: bool,
}

impl Waiting {
    /// Whether the reader has to know now.
    fn is_pressing(&self) -> bool {
        let much = |news: &News| news.commits.is_none() || news.changes >= limits::QUIET_CHANGES;
        self.news.as_ref().is_some_and(|news| !self.quiet || much(news))
    }
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
    /// Sets who is woken.
    pub(crate) fn set_reader(&self, reader: ActorRef<LiveMessage>) {
        self.reader.store(Some(Arc::new(reader)));
        // A wake-up may have been lost with the reader before.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).awake = true;
        self.tell(LiveMessage::Changed);
    }

    /// These commits were published, and led to this state.
    pub(crate) fn changed(&self, commits: &Arc<Vec<Commit>>, snapshot: Snapshot) {
        let changes: usize = commits.iter().map(|commit| commit.changes.len()).sum();
        self.note(|news| {
            let Some(news) = news else {
                let known = (changes <= limits::FEED_CHANGES).then(|| vec![Arc::clone(commits)]);
                *news = Some(News { snapshot, commits: known, changes });
                return;
            };
            news.snapshot = snapshot;
            news.changes += changes;
            if let Some(known) = news.commits.as_mut().filter(|_| news.changes <= limits::FEED_CHANGES) {
                known.push(Arc::clone(commits));
            } else {
                news.commits = None;
            }
        });
    }

    /// This state was published, and nobody knows what led to it.
    pub(crate) fn everything_changed(&self, snapshot: Snapshot) {
        self.note(|news| *news = Some(News { snapshot, commits: None, changes: 0 }));
    }

    /// Sends the reader a message. One that is gone is being restarted, and then begins with the newest state and is told of
    /// every subscription anew; a message with a reply port in it is dropped, which its sender notices.
    pub(crate) fn tell(&self, message: LiveMessage) {
        if let Some(reader) = &*self.reader.load() {
            let _ = reader.cast(message);
        }
    }

    fn note(&self, note: impl FnOnce(&mut Option<News>)) {
        let wake = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            note(&mut waiting.news);
            waiting.is_pressing() && !std::mem::replace(&mut waiting.awake, true)
        };
        if wake {
            self.tell(LiveMessage::Changed);
        }
    }

    /// For the reader: whether anybody watches anything. If nobody does, it is woken more seldom. Whether there is something
    /// now that it was not woken for.
    pub(crate) fn set_quiet(&self, quiet: bool) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.quiet = quiet;
        waiting.is_pressing() && !waiting.awake
    }

    /// For the reader.
    pub(crate) fn take(&self) -> Option<News> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.awake = false;
        waiting.news.take()
    }
}

#[cfg(test)]
mod tests {
    use dunlin_store::{BucketId, Cause, Change, RowId};

    use super::*;

    fn commits(position: u64, changes: usize) -> Arc<Vec<Commit>> {
        let change = Change::Remove { bucket: BucketId(0), row: RowId(0), cause: Cause::Deleted };
        Arc::new(vec![Commit { position, at: 0, changes: vec![change; changes] }])
    }

    fn known(feed: &ChangeFeed) -> Option<usize> {
        feed.take().unwrap().commits.map(|groups| groups.len())
    }

    #[test]
    fn while_nobody_watches_the_reader_is_woken_for_much_only() {
        let (feed, state) = (ChangeFeed::default(), Snapshot::new("epoch"));
        let awake = || feed.waiting.lock().unwrap().awake;
        assert!(!feed.set_quiet(true));
        feed.changed(&commits(1, limits::QUIET_CHANGES - 1), state.clone());
        assert!(!awake());
        assert!(feed.set_quiet(false), "there is something that nobody was woken for");
        assert!(!feed.set_quiet(true));
        feed.changed(&commits(2, 1), state.clone());
        assert!(awake());
        assert!(!feed.set_quiet(false), "it was woken");
        assert_eq!(known(&feed), Some(2));
        feed.set_quiet(true);
        feed.everything_changed(state);
        assert!(awake());
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
