//! Lookups: questions of rules to services of the program, in parallel, with a time limit, remembered for a while. Who asks the same
//! while an answer is on its way waits for that one.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dunlin_rules::effect::LookupCall;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, join_all};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::services::{ServiceError, Services};
use crate::limits;
use crate::metrics::{Asked, Metrics};
use crate::workbench::TimeSource;

/// What came of a question.
pub(crate) type Found = Result<Arc<Value>, String>;

/// Asks, and remembers.
pub(crate) struct Lookups {
    services: Arc<Services>,
    timeout: Duration,
    places: Arc<Semaphore>,
    clock: TimeSource,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: Cache,
    flying: HashMap<Arc<str>, Shared<BoxFuture<'static, Found>>>,
}

impl Lookups {
    pub(crate) fn new(
        services: Arc<Services>,
        timeout: Duration,
        clock: TimeSource,
        metrics: Arc<Metrics>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(limits::LOOKUPS));
        Self { services, timeout, places, clock, metrics, state: Mutex::default() }
    }

    /// What is remembered of a question.
    pub(crate) fn known(&self, call: &LookupCall, now: u64) -> Option<Arc<Value>> {
        if call.cache_ms == 0 {
            return None;
        }
        let found = self.state().known.get(&question(call), now);
        if found.is_some() {
            self.metrics.rule_lookups.of(Asked::Known).increment(1);
        }
        found
    }

    /// Asks all of these; an answer for each.
    pub(crate) async fn ask(self: &Arc<Self>, calls: &[LookupCall]) -> Vec<Found> {
        join_all(calls.iter().map(|call| self.one(call))).await
    }

    async fn one(self: &Arc<Self>, call: &LookupCall) -> Found {
        if call.cache_ms == 0 {
            return Arc::clone(self).carry_out(call.clone()).await;
        }
        if let Some(known) = self.known(call, (self.clock)()) {
            return Ok(known);
        }
        let key: Arc<str> = question(call).into();
        let flight = {
            let mut state = self.state();
            if let Some(flight) = state.flying.get(&key) {
                flight.clone()
            } else {
                let (this, call, key_of) = (Arc::clone(self), call.clone(), Arc::clone(&key));
                let cache_ms = call.cache_ms;
                let flight = async move {
                    let found = Arc::clone(&this).carry_out(call).await;
                    let mut state = this.state();
                    state.flying.remove(&key_of);
                    if let Ok(value) = &found {
                        let until = (this.clock)().saturating_add(cache_ms);
                        state.known.put(key_of, Arc::clone(value), until);
                    }
                    drop(state);
                    found
                };
                let flight = flight.boxed().shared();
                state.flying.insert(key, flight.clone());
                flight
            }
        };
        flight.await
    }

    async fn carry_out(self: Arc<Self>, call: LookupCall) -> Found {
        // It is never closed.
        let _place = self.places.acquire().await;
        let answer = serve(&self.services, &call.service, &call.method, call.args, self.timeout).await;
        let asked = if answer.is_ok() { Asked::Answered } else { Asked::Failed };
        self.metrics.rule_lookups.of(asked).increment(1);
        answer.map(Arc::new).map_err(|error| error.message)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the state consistent, so a panic elsewhere in it does not matter.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls a service. Neither its panic nor its delay is anybody else's.
pub(super) async fn serve(
    services: &Services,
    service: &str,
    method: &str,
    args: Vec<Value>,
    timeout: Duration,
) -> Result<Value, ServiceError> {
    let run = services.find(service, method)?;
    // The closure itself may panic, too, so it is called over there.
    let task = Aborted(tokio::spawn(async move { run(args).await }));
    let late = || ServiceError::again(format!("Service \"{service}\" did not answer within {timeout:?}"));
    tokio::time::timeout(timeout, task).await.unwrap_or_else(|_| Ok(Err(late()))).unwrap_or_else(|_| {
        tracing::error!(service, method, "a service called by a rule has panicked");
        Err(ServiceError::again(format!("Service \"{service}\" failed while it carried out \"{method}\"")))
    })
}

/// A task that ends when nobody waits for it any more.
struct Aborted<T>(tokio::task::JoinHandle<T>);

impl<T> Future for Aborted<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        self.0.poll_unpin(context)
    }
}

impl<T> Drop for Aborted<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What two questions have in common that are the same: members of objects may stand in any order.
fn question(call: &LookupCall) -> String {
    let mut text = format!("{:?}{:?}", call.service, call.method);
    for arg in &call.args {
        text.push(',');
        write(&mut text, arg);
    }
    text
}

fn write(text: &mut String, value: &Value) {
    match value {
        Value::Array(elements) => {
            text.push('[');
            for element in elements {
                write(text, element);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, value) in sorted {
                // Writing to a String cannot fail; here and below.
                let _ = write!(text, "{name:?}:");
                write(text, value);
                text.push(',');
            }
            text.push('}');
        }
        plain => {
            let _ = write!(text, "{plain}");
        }
    }
}

/// Answers until their time is over. The oldest go when there is no room.
#[derive(Default)]
struct Cache {
    answers: HashMap<Arc<str>, Answer>,
    /// In the order in which they came. An answer that has taken the place of an older one stands in it twice.
    order: VecDeque<(Arc<str>, u64)>,
    bytes: usize,
    last: u64,
}

struct Answer {
    value: Arc<Value>,
    /// Unix milliseconds; an answer is not given at its end any more.
    until: u64,
    bytes: usize,
    number: u64,
}

impl Cache {
    fn get(&self, question: &str, now: u64) -> Option<Arc<Value>> {
        self.answers.get(question).filter(|answer| now < answer.until).map(|answer| Arc::clone(&answer.value))
    }

    fn put(&mut self, question: Arc<str>, value: Arc<Value>, until: u64) {
        self.last += 1;
        let bytes = question.len() + value.to_string().len();
        let answer = Answer { value, until, bytes, number: self.last };
        self.bytes += bytes;
        self.order.push_back((Arc::clone(&question), self.last));
        if let Some(old) = self.answers.insert(question, answer) {
            self.bytes -= old.bytes;
        }
        while self.answers.len() > limits::LOOKUP_ANSWERS
            || self.bytes > limits::LOOKUP_BYTES
            || self.order.len() > 2 * limits::LOOKUP_ANSWERS
        {
            let Some((question, number)) = self.order.pop_front() else { return };
            if self.answers.get(&question).is_some_and(|answer| answer.number == number)
                && let Some(old) = self.answers.remove(&question)
            {
                self.bytes -= old.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests;
