//! What the server counts, registered once per server: no global recorder, so two servers in one process count apart.

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// Declares each metric once: its field, kind, name, unit and meaning.
macro_rules! metrics {
    ($($(#[$doc:meta])* $field:ident: $kind:ident $name:literal $unit:ident $help:literal;)+) => {
        /// Handles to all metrics of one server: counting is an atomic add.
        pub(crate) struct Metrics {
            recorder: PrometheusRecorder,
            $($(#[$doc])* pub(crate) $field: $kind,)+
        }

        impl Metrics {
            pub(crate) fn new() -> Self {
                let recorder = PrometheusBuilder::new().build_recorder();
                $(let $field = register::$kind(&recorder, $name, Unit::$unit, $help);)+
                Self { recorder, $($field,)+ }
            }
        }

        /// Name, kind and meaning of every metric, for the test of its documentation.
        #[cfg(test)]
        const CATALOGUE: &[(&str, &str, &str)] = &[$(($name, stringify!($kind), $help),)+];
    };
}

metrics! {
    connections_opened: Counter "dunlin_connections_opened_total" Count "WebSocket connections accepted.";
    connections_refused: Counter "dunlin_connections_refused_total" Count "Upgrades refused: wrong origin, too many of one address, stopping.";
    connections: Gauge "dunlin_connections" Count "WebSocket connections open now.";
    bytes_received: Counter "dunlin_received_bytes_total" Bytes "Bytes received on WebSockets that have ended.";
    bytes_sent: Counter "dunlin_sent_bytes_total" Bytes "Bytes sent on WebSockets that have ended.";
    login_faults: Counter "dunlin_login_faults_total" Count "Logins that the authenticator could not decide, or not in time.";
    sessions_revoked: Counter "dunlin_sessions_revoked_total" Count "Connections closed because their session was revoked.";
    requests: Counter "dunlin_requests_total" Count "Requests answered.";
    errors: Counter "dunlin_request_errors_total" Count "Requests answered with an error.";
    commits: Counter "dunlin_commits_total" Count "Commits made durable and published.";
    expired: Counter "dunlin_expired_records_total" Count "Records removed because their time was over.";
    append_failures: Counter "dunlin_journal_failures_total" Count "Group commits that the journal refused.";
    append_seconds: Histogram "dunlin_journal_append_seconds" Seconds "Time to make one group commit durable.";
    append_commits: Histogram "dunlin_journal_append_commits" Count "Commits in one group commit.";
    views: Gauge "dunlin_live_views" Count "Distinct live queries maintained now.";
    views_unindexed: Gauge "dunlin_live_views_unindexed" Count "Distinct live queries whose filter no index can tell: every write to their bucket tries them.";
    views_evaluated: Counter "dunlin_live_views_evaluated_total" Count "Live queries worked out, or told of a change that concerns them.";
    payloads_encoded: Counter "dunlin_live_payloads_encoded_total" Count "Results and patches of live queries written as JSON, each for all who watch.";
    views_bytes: Gauge "dunlin_live_views_bytes" Bytes "Bytes that live queries hold, about, beside the records themselves.";
    history_bytes: Gauge "dunlin_live_history_bytes" Bytes "Bytes of the past that are kept for clients which come back.";
    resumed: Counter "dunlin_live_resumed_total" Count "Subscriptions taken up again with what was missed.";
    not_resumed: Counter "dunlin_live_not_resumed_total" Count "Subscriptions that asked for what was missed and got the whole result.";
    pushes_sent: Counter "dunlin_pushes_sent_total" Count "Pushes handed to sockets.";
    pushes_merged: Counter "dunlin_pushes_merged_total" Count "Pushes replaced by a newer one, or joined with it, before a slow socket took them.";
    slow_consumers: Counter "dunlin_slow_consumers_total" Count "Connections closed because they took nothing of what waited for them.";
    backups: Counter "dunlin_backups_total" Count "Backups written.";
    backup_failures: Counter "dunlin_backup_failures_total" Count "Backups that could not be written.";
    backup_time: Gauge "dunlin_backup_last_success_timestamp_seconds" Seconds "When the last backup was written by this server, Unix time; 0 if none was.";
    restarts: Counter "dunlin_actor_restarts_total" Count "Restarts of permanent actors.";
    panics: Counter "dunlin_connection_failures_total" Count "Connections ended by a fault of their actor.";
}

impl Metrics {
    /// Counts what a connection that ends has moved.
    pub(crate) fn traffic(&self, received: u64, sent: u64) {
        self.bytes_received.increment(received);
        self.bytes_sent.increment(sent);
    }

    /// A connection was closed by us (`server`), with this code, or by its `client`.
    pub(crate) fn connection_closed(&self, by: &'static str, code: Option<u16>) {
        let mut labels = vec![Label::from_static_parts("by", by)];
        labels.extend(code.map(|code| Label::new("code", code.to_string())));
        let key = Key::from_parts("dunlin_connections_closed_total", labels);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    pub(crate) fn handle(&self) -> PrometheusHandle {
        self.recorder.handle()
    }
}

/// A count as gauges and histograms take it.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, which no count here reaches")]
pub(crate) fn count(n: usize) -> f64 {
    n as f64
}

const METADATA: Metadata<'static> = Metadata::new("dunlin", Level::INFO, None);

#[expect(non_snake_case, reason = "each is named after the handle type it returns, for the macro above")]
mod register {
    use super::{
        Counter, Gauge, Histogram, Key, KeyName, METADATA, PrometheusRecorder, Recorder, SharedString, Unit,
    };

    pub(super) fn Counter(
        recorder: &PrometheusRecorder,
        name: &'static str,
        unit: Unit,
        help: &'static str,
    ) -> Counter {
        recorder.describe_counter(KeyName::from(name), Some(unit), SharedString::from(help));
        recorder.register_counter(&Key::from_static_name(name), &METADATA)
    }

    pub(super) fn Gauge(
        recorder: &PrometheusRecorder,
        name: &'static str,
        unit: Unit,
        help: &'static str,
    ) -> Gauge {
        recorder.describe_gauge(KeyName::from(name), Some(unit), SharedString::from(help));
        recorder.register_gauge(&Key::from_static_name(name), &METADATA)
    }

    pub(super) fn Histogram(
        recorder: &PrometheusRecorder,
        name: &'static str,
        unit: Unit,
        help: &'static str,
    ) -> Histogram {
        recorder.describe_histogram(KeyName::from(name), Some(unit), SharedString::from(help));
        recorder.register_histogram(&Key::from_static_name(name), &METADATA)
    }
}

#[cfg(test)]
mod tests {
    use super::CATALOGUE;

    #[test]
    fn every_metric_is_documented() {
        let page = include_str!("../../../docs/operating.md");
        for (name, kind, help) in CATALOGUE {
            let row = format!("| `{name}` | {} | {help} |", kind.to_lowercase());
            assert!(page.contains(&row), "docs/operating.md lacks this row:\n{row}");
        }
    }
}
