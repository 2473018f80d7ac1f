//! From a view that has changed to the outboxes of all who watch it.

use std::sync::Arc;

use bytes::Bytes;
use dunlin_protocol::Mode;
use dunlin_store::{StoreError, ViewId};

use super::actor::LiveState;
use crate::connection::{Body, Payload, Pushed, SubscriptionId};
use crate::registry::Entry;

impl LiveState {
    /// Tells everybody who watches a view that its result has changed: written once as a whole, and once as a patch, if
    /// anybody wants the one or the other.
    pub(super) fn deliver(&mut self, view: ViewId) {
        let Some(audience) = self.watchers.audience(view) else { return };
        audience.pushes += 1;
        let (some_full, some_patch) = (audience.full > 0, audience.full < audience.watchers.len());
        let position = self.views.changed_at(view);
        let written = (|| {
            let whole = if some_full { Some(self.views.result(view)?.map(body)) } else { None };
            let patch = if some_patch { Some(self.views.patch(view)?) } else { None };
            Ok::<_, StoreError>((whole, patch))
        })();
        let (mut whole, patch) = match written {
            Ok(written) => written,
            Err(error) => {
                self.views.close(view);
                self.end_all(view, &error.into());
                return;
            }
        };
        let metrics = &self.shared.metrics;
        metrics.payloads_encoded.increment(u64::from(some_full) + u64::from(some_patch));
        let full = whole.clone().map(|data| Payload::Full { position, data });
        let patch = patch.map(|operations| Payload::Patch { position, ops: operations.into() });
        let length = self.views.length(view);
        let mut failed = None;
        for (id, watcher) in &audience.watchers {
            let payload = match watcher.mode {
                Mode::Full => &full,
                Mode::Patch => &patch,
            };
            let Some(payload) = payload else { continue };
            let mut pushed = watcher.entry.outbox.push(*id, payload, length);
            if pushed == Pushed::NeedsWhole {
                // Written for the first that needs it.
                let data =
                    match whole.take().map_or_else(|| self.views.result(view).map(|text| text.map(body)), Ok)
                    {
                        Ok(data) => data,
                        Err(error) => {
                            failed = Some(error);
                            break;
                        }
                    };
                pushed = watcher.entry.outbox.push_whole(*id, position, data.as_ref());
                whole = Some(data);
            }
            if pushed == Pushed::Merged {
                metrics.pushes_merged.increment(1);
            }
        }
        if let Some(error) = failed {
            self.views.close(view);
            self.end_all(view, &error.into());
        }
    }

    pub(super) fn push(&self, id: SubscriptionId, watcher: &Entry, payload: &Payload, length: usize) {
        if watcher.outbox.push(id, payload, length) == Pushed::Merged {
            self.shared.metrics.pushes_merged.increment(1);
        }
    }
}

/// A text that the views keep, as the sockets want it: not copied.
pub(super) fn body(text: Arc<str>) -> Body {
    struct Shared(Arc<str>);
    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }
    // It was text before.
    Body::try_from(Bytes::from_owner(Shared(text))).unwrap_or_default()
}
