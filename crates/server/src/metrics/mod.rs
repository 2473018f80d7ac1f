//! What the server counts, registered once per server: no global recorder, so two servers in one process count apart.
//!
//! Labels are enums, so no client can make a new series, and the series of a label are there, at zero, from the start: a rate
//! over the first of something is a rate. What can be read when somebody asks is not counted along the way, see `sampled`.

mod histogram;
mod labels;
mod registration;
mod requests;
mod sampled;

use std::time::Duration;

use dunlin_protocol::{Code, Mode};
use metrics::{Counter, Gauge, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

pub(crate) use histogram::{Counts, Durations, DurationsBy};
pub(crate) use labels::{
    Asked, Build, Called, Closed, Connected, JournalFile, Login, Operation, PermanentActor, Refused,
    Reported, Served, Waiting,
};
pub(crate) use registration::{CounterBy, GaugeBy};
use registration::{Metric, Registrar};
pub(crate) use requests::Tally;

/// Declares each metric once: its field, kind, name, unit and meaning.
macro_rules! metrics {
    ($($(#[$doc:meta])* $field:ident: $kind:ident $(<$label:ident>)? $name:literal $unit:ident $help:literal;)+) => {
        /// Handles to all metrics of one server: counting is an atomic add.
        pub(crate) struct Metrics {
            handle: PrometheusHandle,
            /// One reader at a time: whoever asks again and again takes one thread and no more.
            reading: tokio::sync::Mutex<()>,
            ended: sampled::Ended,
            $($(#[$doc])* pub(crate) $field: $kind$(<$label>)?,)+
        }

        impl Metrics {
            pub(crate) fn new() -> Self {
                let recorder = PrometheusBuilder::new().build_recorder();
                $(let $field = <$kind$(<$label>)? as Metric>::register(&Registrar {
                    recorder: &recorder,
                    name: $name,
                    unit: Unit::$unit,
                    help: $help,
                });)+
                let metrics = Self {
                    handle: recorder.handle(),
                    reading: tokio::sync::Mutex::default(),
                    ended: sampled::Ended::default(),
                    $($field,)+
                };
                metrics.begin();
                metrics
            }

            /// All of it as Prometheus text.
            fn text(&self) -> String {
                let mut text = self.handle.render();
                $(self.$field.render(&mut text);)+
                text
            }
        }

        /// Name, labels, kind and meaning of every metric, for the tests of its documentation.
        #[cfg(test)]
        pub(crate) const CATALOGUE: &[(&str, &[&str], &str, &str)] = &[$((
            $name,
            <$kind$(<$label>)? as Metric>::LABELS,
            <$kind$(<$label>)? as Metric>::KIND,
            $help,
        ),)+];
    };
}

metrics! {
    build: GaugeBy<Build> "dunlin_build_info" Count "Always 1: which program this is.";
    started: Gauge "dunlin_start_timestamp_seconds" Seconds "When this server was started, Unix time.";
    connections: GaugeBy<Connected> "dunlin_connections" Count "WebSocket connections open now, by whether somebody is logged in.";
    connections_opened: Counter "dunlin_connections_opened_total" Count "WebSocket connections accepted.";
    connections_refused: CounterBy<Refused> "dunlin_connections_refused_total" Count "Connections and upgrades that were not accepted.";
    connections_closed: CounterBy<Closed> "dunlin_connections_closed_total" Count "WebSocket connections that ended, by their client or, with this close code, by the server.";
    slow_consumers: Counter "dunlin_slow_consumers_total" Count "Connections closed because they took nothing of what waited for them.";
    panics: Counter "dunlin_connection_failures_total" Count "Connections ended by a fault of their actor.";
    bytes_received: Counter "dunlin_received_bytes_total" Bytes "Bytes received on WebSockets.";
    bytes_sent: Counter "dunlin_sent_bytes_total" Bytes "Bytes sent on WebSockets.";
    outbox_bytes: GaugeBy<Waiting> "dunlin_outbox_bytes" Bytes "Bytes that wait for their sockets now. What many wait for is kept once and counted for each.";
    requests: CounterBy<Served> "dunlin_requests_total" Count "Requests answered, by operation (`unknown` if there is none of that name) and outcome.";
    request_errors: CounterBy<Code> "dunlin_request_errors_total" Count "Requests answered with an error, by its code.";
    request_seconds: DurationsBy<Operation> "dunlin_request_seconds" Seconds "Time from reading a request off its socket until its answer was handed over; of requests that were sent at once the time of all.";
    sessions_revoked: Counter "dunlin_sessions_revoked_total" Count "Connections closed because their session was revoked.";
    rate_limited: Counter "dunlin_rate_limited_total" Count "Requests, and frames that were none, refused because their user or address has made too many.";
    rate_limit_keys: Gauge "dunlin_rate_limit_keys" Count "Users and addresses that the rate limiter counts for now.";
    logins: CounterBy<Login> "dunlin_logins_total" Count "Logins: done, refused, failed by a fault of whoever knows the tokens, or answered too late, or of a user whose sessions are revoked.";
    subscriptions: Gauge "dunlin_live_subscriptions" Count "Subscriptions open now, of all connections.";
    subscriptions_ended: CounterBy<Code> "dunlin_live_subscriptions_ended_total" Count "Subscriptions that the server ended, by the code its client was told.";
    views: Gauge "dunlin_live_views" Count "Distinct live queries maintained now.";
    views_unindexed: Gauge "dunlin_live_views_unindexed" Count "Distinct live queries whose filter no index can tell: every write to their bucket tries them.";
    views_evaluated: Counter "dunlin_live_views_evaluated_total" Count "Live queries worked out, or told of a change that concerns them.";
    payloads_encoded: Counter "dunlin_live_payloads_encoded_total" Count "Results and patches of live queries written as JSON, each for all who watch.";
    views_bytes: Gauge "dunlin_live_views_bytes" Bytes "Bytes that live queries hold, about, beside the records themselves.";
    history_bytes: Gauge "dunlin_live_history_bytes" Bytes "Bytes of the past that are kept for clients which come back.";
    resumed: Counter "dunlin_live_resumed_total" Count "Subscriptions taken up again with what was missed.";
    not_resumed: Counter "dunlin_live_not_resumed_total" Count "Subscriptions that asked for what was missed and got the whole result.";
    pushes_sent: CounterBy<Mode> "dunlin_pushes_sent_total" Count "Pushes handed to sockets, by the mode of their subscription.";
    push_bytes: CounterBy<Mode> "dunlin_push_bytes_total" Bytes "Bytes of these pushes.";
    pushes_merged: Counter "dunlin_pushes_merged_total" Count "Pushes replaced by a newer one, or joined with it, before a slow socket took them.";
    rule_subscriptions: Gauge "dunlin_rules_subscriptions" Count "Subscriptions to events of rules open now, of all connections.";
    rule_pushes_sent: Counter "dunlin_rules_pushes_sent_total" Count "Events of rules handed to sockets, once for each subscription.";
    rule_push_bytes: Counter "dunlin_rules_push_bytes_total" Bytes "Bytes of these pushes.";
    rule_events_encoded: Counter "dunlin_rules_events_encoded_total" Count "Events of rules written as JSON, each for all who are subscribed.";
    commits: Counter "dunlin_commits_total" Count "Commits made durable and published.";
    expired: Counter "dunlin_expired_records_total" Count "Records removed because their time was over.";
    storage_writable: Gauge "dunlin_storage_writable" Count "1 while writes can be made durable, else 0.";
    append_failures: Counter "dunlin_journal_failures_total" Count "Group commits that the journal refused.";
    append_seconds: Durations "dunlin_journal_append_seconds" Seconds "Time to make one group commit durable.";
    append_commits: Counts "dunlin_journal_append_commits" Count "Commits in one group commit.";
    sync_seconds: Durations "dunlin_journal_sync_seconds" Seconds "Time of one sync of a file to disk, be it of the log or of an image.";
    journal_bytes: GaugeBy<JournalFile> "dunlin_journal_bytes" Bytes "Bytes of the newest image of the state, and of the log behind it.";
    images: Counter "dunlin_journal_images_total" Count "Images of the state that were written, so that the log before them could go.";
    image_failures: Counter "dunlin_journal_image_failures_total" Count "Images of the state that could not be written; the log goes on and gets longer.";
    backups: Counter "dunlin_backups_total" Count "Backups written.";
    backup_failures: Counter "dunlin_backup_failures_total" Count "Backups that could not be written.";
    backup_time: Gauge "dunlin_backup_last_success_timestamp_seconds" Seconds "When the last backup was written by this server, Unix time; 0 if none was.";
    rule_inputs: Counter "dunlin_rules_inputs_total" Count "Events, facts, changes of records, timers and answers that the rule engine has carried out.";
    rule_firings: Counter "dunlin_rules_firings_total" Count "Rules whose actions were carried out.";
    rule_events: Counter "dunlin_rules_events_total" Count "Events that happened: sent, emitted by rules, or of timers.";
    rule_reports: CounterBy<Reported> "dunlin_rules_reports_total" Count "What rules ran into: bounds, failed actions, dropped firings, calls that failed for good.";
    rule_failures: Counter "dunlin_rules_failures_total" Count "Inputs that were taken back because the rule engine failed: a bug.";
    rule_calls: CounterBy<Called> "dunlin_rules_calls_total" Count "Attempts of calls to services and webhooks, by how they ended.";
    rule_calls_running: Gauge "dunlin_rules_calls_running" Count "Calls to services and webhooks under way now.";
    rule_outbox: Gauge "dunlin_rules_outbox" Count "Calls that are to be made, under way or waiting.";
    rule_dead_letters: Gauge "dunlin_rules_dead_letters" Count "Calls that failed for good and are kept.";
    rule_lookups: CounterBy<Asked> "dunlin_rules_lookups_total" Count "Lookups of rules, by how they were answered.";
    restarts: CounterBy<PermanentActor> "dunlin_actor_restarts_total" Count "Restarts of permanent actors.";
}

impl Metrics {
    /// What does not change.
    fn begin(&self) {
        self.build.of(Build).set(1.0);
        self.started.set(Duration::from_millis(crate::time::unix_ms()).as_secs_f64());
    }
}

/// A count as gauges take it.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, which no count here reaches")]
pub(crate) fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests;
