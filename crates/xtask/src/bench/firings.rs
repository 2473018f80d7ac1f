//! `firings`: events come at a steady rate, a rule makes an event of each, and somebody watches for those.
//!
//! What is measured is the time from an event's being sent to the push's being received, by one client with both ends: it
//! contains what the network and the client take, so the server's part is less.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::connection::{Connection, Kind, WHOLE, kind, refused};
use super::contest::{Contest, Storage};
use super::limits::DELIVERY_LIMIT;
use super::report::{Report, count};
use crate::failure::{Doing, Failure, Outcome};
use crate::wire;

/// Rules that the server has; one of them matches.
const RULES: usize = 1_000;

/// Events are sent in small bursts: so many every so often, 5,000 in a second.
const BURST: usize = 5;
const PACE: Duration = Duration::from_millis(1);

/// Events before those that count.
const WARM_UP: usize = 2_500;
const MEASURED: usize = 50_000;
const QUICK_MEASURED: usize = 10_000;

const AIM: &str = "≤ 2 ms";

/// What the rule does beside emitting.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Effect {
    /// Nothing: there is nothing to keep.
    Nothing,
    /// It sets a fact, which is on disk before anybody hears of the firing.
    Fact,
}

pub(crate) struct Firings {
    events: usize,
    /// Microseconds, ascending: with nothing to keep, and with a fact on disk.
    plain: Vec<u32>,
    durable: Vec<u32>,
}

impl Firings {
    pub(crate) fn put(&self, report: &mut Report) {
        let rate = count(BURST * 1_000);
        for (what, times, aim) in [("", &self.plain, AIM), (", a fact on disk for each", &self.durable, "-")]
        {
            let title = format!("{} events at {rate}/s{what}", count(self.events));
            report.aimed(&format!("{title}: p50 from emit to push"), percentile(times, 50), "-");
            report.aimed(&format!("{title}: p99 from emit to push"), percentile(times, 99), aim);
        }
    }
}

pub(crate) async fn run(contest: &Contest, quick: bool) -> Outcome<Firings> {
    let events = if quick { QUICK_MEASURED } else { MEASURED };
    let plain = measure(contest, Storage::Memory, Effect::Nothing, events).await?;
    let durable = measure(contest, Storage::Durable, Effect::Fact, events).await?;
    Ok(Firings { events, plain, durable })
}

async fn measure(contest: &Contest, storage: Storage, effect: Effect, events: usize) -> Outcome<Vec<u32>> {
    let running = contest.start_configured(storage, &json!({"rules": true})).await?;
    let measuring = async {
        let mut watcher = Connection::open(running.address, WHOLE).await?;
        let mut emitter = Connection::open(running.address, WHOLE).await?;
        for number in 0..RULES {
            emitter
                .call(&json!({"id": 1, "type": "rules.registerRule", "rule": rule(number, effect)}))
                .await?;
        }
        watcher.call(&json!({"id": 1, "type": "rules.subscribe", "pattern": "alert.*"})).await?;
        let total = WARM_UP + events;
        let (sent, received) = tokio::try_join!(emit(&mut emitter, total), watch(&mut watcher, total))?;
        let mut times: Vec<u32> = sent
            .iter()
            .zip(&received)
            .skip(WARM_UP)
            .map(|(sent, received)| u32::try_from((*received - *sent).as_micros()).unwrap_or(u32::MAX))
            .collect();
        times.sort_unstable();
        Ok::<_, Failure>(times)
    };
    let times = measuring.await.map_err(|why| running.server.failure(&why.to_string()))?;
    running.stop().await?;
    Ok(times)
}

fn topic(number: usize) -> String {
    format!("sensor.{number}.read")
}

fn rule(number: usize, effect: Effect) -> Value {
    let mut actions =
        vec![json!({"type": "emit_event", "topic": "alert.high", "data": {"n": {"ref": "event.n"}}})];
    if effect == Effect::Fact {
        actions.push(json!({"type": "set_fact", "key": "last:${event.n}", "value": {"ref": "event.n"}}));
    }
    json!({
        "id": format!("rule-{number}"), "name": "a high value",
        "trigger": {"type": "event", "topic": topic(number)},
        "conditions": [{"source": {"type": "event", "field": "n"}, "operator": "gte", "value": 0}],
        "actions": actions,
    })
}

/// Sends events, and takes the answers meanwhile; when each was sent.
async fn emit(emitter: &mut Connection, total: usize) -> Outcome<Vec<Instant>> {
    let (mut sent, mut answered) = (Vec::with_capacity(total), 0);
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut frames = Vec::new();
    while answered < total {
        tokio::select! {
            _ = pace.tick(), if sent.len() < total => {
                frames.clear();
                for _ in 0..BURST.min(total - sent.len()) {
                    let n = sent.len();
                    let request = json!({"id": n, "type": "rules.emit", "topic": topic(0), "data": {"n": n}});
                    wire::put_client_text(&mut frames, request.to_string().as_bytes());
                    sent.push(Instant::now());
                }
                emitter.send(&frames).await?;
            }
            received = emitter.receive(|payload, _| match kind(payload) {
                Kind::Answer => {
                    answered += 1;
                    Ok(())
                }
                Kind::Failure => Err(refused(payload)),
                Kind::Push | Kind::Other => Ok(()),
            }) => received?,
        }
    }
    Ok(sent)
}

/// Takes a push for each event; when each came. They come in order, none is left out.
async fn watch(watcher: &mut Connection, total: usize) -> Outcome<Vec<Instant>> {
    let mut received = Vec::with_capacity(total);
    while received.len() < total {
        let receiving = watcher.receive(|payload, _| {
            if kind(payload) == Kind::Push {
                let now = Instant::now();
                let push: Value = serde_json::from_slice(payload).doing(|| "a push is not JSON".into())?;
                let n = &push["data"]["event"]["data"]["n"];
                if *n != received.len() {
                    return Err(Failure::new(format!(
                        "the push of event {} is of event {n}",
                        received.len()
                    )));
                }
                received.push(now);
            }
            Ok(())
        });
        timeout(DELIVERY_LIMIT, receiving)
            .await
            .map_err(|_| Failure::new(format!("no push within {DELIVERY_LIMIT:?}")))??;
    }
    Ok(received)
}

fn percentile(times: &[u32], percent: usize) -> String {
    let us = times.get(times.len() * percent / 100).copied().unwrap_or(0);
    format!("{:.2} ms", f64::from(us) / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rule_of_all_matches_what_is_emitted() {
        let matching = (0..RULES)
            .filter(|number| rule(*number, Effect::Nothing)["trigger"]["topic"] == topic(0))
            .count();
        assert_eq!(matching, 1);
        assert_eq!(percentile(&[1_000, 2_000, 3_000, 4_000], 50), "3.00 ms");
    }
}
