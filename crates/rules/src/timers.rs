//! Timers: what is to happen later, as data.
//!
//! A timer is known by its name; setting it again replaces it. One that expires is taken out, or moved on to its next time, *before*
//! anything that it triggers runs, so rules that cancel it or set it again have the last word. A repeated timer stays on its grid:
//! each time is counted from when the one before was due, not from when it was done. If several of its times have passed meanwhile
//! it expires once, and those that were left out are counted in `missed`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::action::Schedule;
use crate::change::prefix;
use crate::fault::RuleFault;
use crate::limits::{MAX_DURATION_MS, MAX_MISSED_COUNTED};
use crate::{Change, Object, cron};

/// A timer, as `rules.timers` shows it and as its entry in the log holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timer {
    /// Unique; another one each time it is set.
    pub id: Arc<str>,
    /// How it is called.
    pub name: Arc<str>,
    /// When it expires next, Unix milliseconds.
    pub expires_at: u64,
    /// The event that it emits.
    pub on_expire: OnExpire,
    /// That it expires again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
    /// By which calendar it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<Arc<str>>,
    /// The calendar's time zone; UTC if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Arc<str>>,
    /// How often it expires in all, if it has a calendar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_count: Option<u64>,
    /// The story that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Arc<str>>,
    /// How often it has expired.
    pub fired: u64,
    /// How many of its times were left out because nobody was there.
    pub missed: u64,
}

/// The event that a timer emits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OnExpire {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its data.
    pub data: Arc<Object>,
}

/// How a timer repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repeat {
    /// Milliseconds from one time to the next.
    pub interval: u64,
    /// How often in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_count: Option<u64>,
}

/// A timer that is to be.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "fields carry the names of the timer's fields")]
pub struct NewTimer {
    pub id: Arc<str>,
    pub name: Arc<str>,
    pub schedule: Schedule,
    pub on_expire: OnExpire,
    pub correlation_id: Option<Arc<str>>,
}

/// A timer that has expired, as it was then.
#[derive(Debug, Clone, PartialEq)]
pub struct Expired {
    /// The timer; `expires_at` is when it was due.
    pub timer: Arc<Timer>,
}

impl Expired {
    /// What rules on timers see: `{timerId, timerName, expiresAt, correlationId, …its data}`.
    pub fn trigger_data(&self) -> Object {
        let timer = &self.timer;
        let mut data = Object::new();
        data.insert("timerId".into(), json!(timer.id));
        data.insert("timerName".into(), json!(timer.name));
        data.insert("expiresAt".into(), json!(timer.expires_at));
        if let Some(id) = &timer.correlation_id {
            data.insert("correlationId".into(), json!(id));
        }
        data.extend(timer.on_expire.data.iter().map(|(name, value)| (name.clone(), value.clone())));
        data
    }
}

/// All timers of an engine.
#[derive(Debug, Default)]
pub struct Timers {
    by_name: BTreeMap<Arc<str>, Arc<Timer>>,
    /// When each is due. Those due at the same time expire in the order of their names.
    due: BTreeSet<(u64, Arc<str>)>,
    /// Names of those that have changed since somebody asked.
    changed: BTreeSet<Arc<str>>,
}

impl Timers {
    /// No timers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a timer, in the place of the one of its name.
    ///
    /// # Errors
    /// A calendar that cannot be read, or that never comes again; for people. Nothing has changed.
    pub fn set(&mut self, new: NewTimer, now: u64) -> Result<Arc<Timer>, String> {
        let NewTimer { id, name, schedule, on_expire, correlation_id } = new;
        let (expires_at, repeat, cron, time_zone, max_count) = match schedule {
            Schedule::After { duration, interval, max_count } => {
                let expires_at = now.saturating_add(duration.min(MAX_DURATION_MS));
                let repeat = interval.map(|interval| Repeat { interval, max_count });
                (expires_at, repeat, None, None, None)
            }
            Schedule::Cron { expression, time_zone, max_count } => {
                let calendar = cron::Calendar::parse(&expression, time_zone.as_deref())?;
                let expires_at = calendar.next_after(now).ok_or_else(|| {
                    format!("the cron expression \"{expression}\" never comes; give it a date that exists")
                })?;
                (expires_at, None, Some(expression), time_zone, max_count)
            }
        };
        let timer = Arc::new(Timer {
            id,
            name,
            expires_at,
            on_expire,
            repeat,
            cron,
            time_zone,
            max_count,
            correlation_id,
            fired: 0,
            missed: 0,
        });
        self.changed.insert(Arc::clone(&timer.name));
        self.put(Arc::clone(&timer));
        Ok(timer)
    }

    /// Cancels a timer; whether there was one.
    pub fn cancel(&mut self, name: &str) -> bool {
        let Some(timer) = self.take(name) else { return false };
        self.changed.insert(Arc::clone(&timer.name));
        true
    }

    /// The timer of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Timer>> {
        self.by_name.get(name)
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Timer>> {
        self.by_name.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// When the next one expires, Unix milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The first timer that has expired by now, if there is one; it is gone then, or waits for its next time. Of those that were due
    /// at the same time the one whose name comes first.
    pub fn due(&mut self, now: u64) -> Option<Expired> {
        let (at, name) = self.due.first()?;
        if *at > now {
            return None;
        }
        let name = Arc::clone(name);
        let timer = self.take(&name)?;
        self.changed.insert(name);
        if let Some(next) = following(&timer, now) {
            self.put(Arc::new(next));
        }
        Some(Expired { timer })
    }

    /// What has changed since this was asked the last time.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let names = std::mem::take(&mut self.changed);
        names
            .into_iter()
            .map(|name| {
                let key = format!("{}{name}", prefix::TIMER).into();
                let value = self.by_name.get(&name).and_then(|timer| serde_json::to_string(timer).ok());
                Change::Entry { key, value: value.map(Into::into) }
            })
            .collect()
    }

    /// Takes over what [`take_changes`](Self::take_changes) gave: an entry whose key begins with [`prefix::TIMER`].
    ///
    /// # Errors
    /// What cannot be read.
    pub fn load(&mut self, key: &str, value: Option<&str>) -> Result<(), RuleFault> {
        self.take(key.strip_prefix(prefix::TIMER).unwrap_or(key));
        if let Some(value) = value {
            let timer = serde_json::from_str(value)
                .map_err(|fault| RuleFault::unreadable(key, &fault.to_string()))?;
            self.put(Arc::new(timer));
        }
        Ok(())
    }

    fn put(&mut self, timer: Arc<Timer>) {
        self.take(&timer.name);
        self.due.insert((timer.expires_at, Arc::clone(&timer.name)));
        self.by_name.insert(Arc::clone(&timer.name), timer);
    }

    fn take(&mut self, name: &str) -> Option<Arc<Timer>> {
        let timer = self.by_name.remove(name)?;
        self.due.remove(&(timer.expires_at, Arc::clone(&timer.name)));
        Some(timer)
    }
}

/// What a timer that has just expired goes on as.
fn following(timer: &Timer, now: u64) -> Option<Timer> {
    let fired = timer.fired + 1;
    let most = timer.repeat.map_or(timer.max_count, |repeat| repeat.max_count);
    if most.is_some_and(|most| fired >= most) {
        return None;
    }
    let (expires_at, missed) = match (&timer.cron, timer.repeat) {
        (Some(expression), _) => {
            // What is loaded was checked when it was set.
            let calendar = cron::Calendar::parse(expression, timer.time_zone.as_deref()).ok()?;
            (calendar.next_after(now)?, calendar.count_between(timer.expires_at, now, MAX_MISSED_COUNTED))
        }
        (None, Some(Repeat { interval, .. })) => {
            let interval = interval.clamp(1, MAX_DURATION_MS);
            let missed = now.saturating_sub(timer.expires_at) / interval;
            // A time beyond what can be written down never comes.
            let next = missed.checked_add(1)?.checked_mul(interval)?.checked_add(timer.expires_at)?;
            (next, missed)
        }
        (None, None) => return None,
    };
    Some(Timer { expires_at, fired, missed: timer.missed.saturating_add(missed), ..timer.clone() })
}

impl From<&Timer> for Value {
    /// The timer as `rules.timers` shows it.
    fn from(timer: &Timer) -> Self {
        serde_json::to_value(timer).unwrap_or_default()
    }
}
