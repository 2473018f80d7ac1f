//! What is looked at when somebody asks: what is open, what waits, what the journal holds. Counting it along the way would
//! cost every connection something; here it costs whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::Gauge;

use super::{Connected, JournalFile, Metrics, Waiting, count};
use crate::shared::Shared;

/// Bytes of the connections that have ended.
#[derive(Default)]
pub(super) struct Ended {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Metrics {
    /// A connection has ended, having moved so much. It must not say so of itself any more.
    pub(crate) fn traffic(&self, received: u64, sent: u64) {
        self.ended.received.fetch_add(received, Ordering::Release);
        self.ended.sent.fetch_add(sent, Ordering::Release);
    }

    /// Everything as Prometheus text; `None` if that fails. On a blocking thread, because it looks at every connection and may
    /// wait for a disk.
    pub(crate) async fn read(shared: Arc<Shared>) -> Option<String> {
        let metrics = Arc::clone(&shared.metrics);
        let _turn = metrics.reading.lock().await;
        let read = move || {
            shared.metrics.sample(&shared);
            shared.metrics.text()
        };
        tokio::task::spawn_blocking(read).await.ok()
    }

    fn sample(&self, shared: &Shared) {
        // First those that have ended: one that ends meanwhile is missed until the next time, and never counted twice.
        let mut received = self.ended.received.load(Ordering::Acquire);
        let mut sent = self.ended.sent.load(Ordering::Acquire);
        let (mut all, mut authenticated, mut answers, mut pushes) = (0, 0, 0, 0);
        for entry in shared.registry.entries() {
            all += 1;
            authenticated += usize::from(entry.session.load().is_some());
            let bytes = entry.outbox.waiting_bytes();
            answers += bytes.answers;
            pushes += bytes.pushes;
            let moved = entry.outbox.moved();
            received += moved.0;
            sent += moved.1;
        }
        let show = |gauge: &Gauge, n: usize| gauge.set(count(n));
        show(self.connections.of(Connected::Authenticated), authenticated);
        show(self.connections.of(Connected::Anonymous), all - authenticated);
        show(self.outbox_bytes.of(Waiting::Answers), answers);
        show(self.outbox_bytes.of(Waiting::Pushes), pushes);
        self.bytes_received.absolute(received);
        self.bytes_sent.absolute(sent);
        show(&self.subscriptions, shared.registry.totals().total_store_subscriptions);
        show(&self.rule_subscriptions, shared.registry.totals().total_rules_subscriptions);
        if shared.config.rules.enabled {
            let state = shared.published.load();
            show(&self.rule_outbox, state.entries(dunlin_rules::change::prefix::CALL).count());
            show(&self.rule_dead_letters, state.entries(dunlin_rules::change::prefix::DEAD).count());
        }
        show(&self.storage_writable, usize::from(shared.storage.trouble().is_none()));
        if let Some(journal) = shared.journal.upgrade() {
            let figures = journal.figures();
            show(
                self.journal_bytes.of(JournalFile::Image),
                usize::try_from(figures.image_bytes).unwrap_or(usize::MAX),
            );
            show(
                self.journal_bytes.of(JournalFile::Log),
                usize::try_from(figures.log_bytes).unwrap_or(usize::MAX),
            );
            self.images.absolute(figures.images);
            self.image_failures.absolute(figures.image_failures);
        }
    }
}
