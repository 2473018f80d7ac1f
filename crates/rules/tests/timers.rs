//! Timers: one for each name, on their grid, counted, and the same after they were loaded again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;
use std::sync::Arc;

use dunlin_rules::action::Schedule;
use dunlin_rules::limits::MAX_DURATION_MS;
use dunlin_rules::timers::OnExpire;
use dunlin_rules::{Change, NewTimer, Object, Timers};
use proptest::prelude::*;
use serde_json::{Value, json};

fn once(duration: u64) -> Schedule {
    Schedule::After { duration, interval: None, max_count: None }
}

fn every(duration: u64, interval: u64, max_count: Option<u64>) -> Schedule {
    Schedule::After { duration, interval: Some(interval), max_count }
}

fn cron(expression: &str, max_count: Option<u64>) -> Schedule {
    Schedule::Cron { expression: expression.into(), time_zone: None, max_count }
}

fn new(id: &str, name: &str, schedule: Schedule) -> NewTimer {
    let mut data = Object::new();
    data.insert("order".into(), json!(5));
    NewTimer {
        id: id.into(),
        name: name.into(),
        schedule,
        on_expire: OnExpire { topic: "late".into(), data: Arc::new(data) },
        correlation_id: Some("corr-1".into()),
    }
}

/// Ids of all that is due, with the time for which they were.
fn due(timers: &mut Timers, now: u64) -> Vec<(String, u64)> {
    std::iter::from_fn(|| timers.due(now))
        .map(|expired| (expired.timer.id.to_string(), expired.timer.expires_at))
        .collect()
}

fn at(id: &str, time: u64) -> (String, u64) {
    (id.into(), time)
}

#[test]
fn s9_a_name_has_one_timer_and_is_cancelled_once() {
    let mut timers = Timers::new();
    timers.set(new("1", "x", once(1000)), 0).unwrap();
    timers.set(new("2", "x", once(5000)), 0).unwrap();
    assert_eq!((timers.len(), timers.next_deadline()), (1, Some(5000)));
    assert_eq!(due(&mut timers, 4999), []);
    assert_eq!((timers.cancel("x"), timers.cancel("x")), (true, false));
    assert_eq!(due(&mut timers, 9999), []);
}

#[test]
fn s9_rules_on_timers_see_the_timer_and_its_data() {
    let mut timers = Timers::new();
    timers.set(new("1", "pay:5", once(10)), 7).unwrap();
    let expired = timers.due(20).unwrap();
    let data = json!({
        "timerId": "1", "timerName": "pay:5", "expiresAt": 17, "correlationId": "corr-1", "order": 5,
    });
    assert_eq!(Value::Object(expired.trigger_data()), data);
    let mut own = new("2", "pay:6", once(10));
    own.on_expire.data = Arc::new(json!({"timerName": "mine"}).as_object().unwrap().clone());
    own.correlation_id = None;
    timers.set(own, 0).unwrap();
    let data = timers.due(20).unwrap().trigger_data();
    assert_eq!(Value::Object(data), json!({"timerId": "2", "timerName": "mine", "expiresAt": 10}));
}

#[test]
fn w6_times_of_any_length_are_waited_for() {
    let month = 31 * 24 * 3_600_000;
    let mut timers = Timers::new();
    timers.set(new("1", "month", every(month, month, None)), 0).unwrap();
    timers.set(new("2", "longest", once(u64::MAX)), 0).unwrap();
    timers.set(new("3", "yearly", cron("0 0 1 1 *", None)), 0).unwrap();
    assert_eq!(due(&mut timers, month - 1), []);
    assert_eq!(due(&mut timers, month), [at("1", month)]);
    timers.cancel("month");
    let year = 365 * 24 * 3_600_000;
    assert_eq!(due(&mut timers, year), [at("3", year)]);
    timers.cancel("yearly");
    assert_eq!(timers.next_deadline(), Some(MAX_DURATION_MS));
    timers.set(new("4", "overflow", every(1, MAX_DURATION_MS, None)), u64::MAX - 1).unwrap();
    timers.cancel("longest");
    assert_eq!(due(&mut timers, u64::MAX), [at("4", u64::MAX)]);
    assert!(timers.is_empty());
}

#[test]
fn w7_max_count_holds_for_all() {
    let mut timers = Timers::new();
    timers.set(new("1", "repeat", every(10, 5, Some(2))), 0).unwrap();
    timers.set(new("2", "cron", cron("* * * * *", Some(2))), 0).unwrap();
    timers.set(new("3", "none", every(10, 5, Some(0))), 0).unwrap();
    let fired: Vec<_> = (0..200_u64).flat_map(|seconds| due(&mut timers, seconds * 1000)).collect();
    let expected = [at("3", 10), at("1", 10), at("1", 1015), at("2", 60_000), at("2", 120_000)];
    let mut sorted = fired.clone();
    sorted.sort_by_key(|(_, time)| *time);
    assert_eq!(sorted.len(), expected.len(), "{fired:?}");
    assert!(expected.iter().filter(|one| one.0 != "1").all(|one| fired.contains(one)), "{fired:?}");
    assert!(timers.is_empty());
}

#[test]
fn w8_whoever_sets_or_cancels_what_expires_has_the_last_word() {
    let mut timers = Timers::new();
    timers.set(new("1", "x", every(10, 10, None)), 0).unwrap();
    let expired = timers.due(10).unwrap();
    // It waits for its next time already.
    assert_eq!(timers.get("x").unwrap().expires_at, 20);
    assert_eq!((expired.timer.fired, timers.get("x").unwrap().fired), (0, 1));
    assert!(timers.cancel("x"));
    assert_eq!(due(&mut timers, 99), []);
    timers.set(new("2", "y", once(10)), 0).unwrap();
    timers.due(10).unwrap();
    assert!(timers.get("y").is_none());
    timers.set(new("3", "y", once(10)), 10).unwrap();
    assert_eq!(due(&mut timers, 20), [at("3", 20)]);
}

#[test]
fn repeated_timers_stay_on_their_grid_and_count_what_they_missed() {
    let mut timers = Timers::new();
    timers.set(new("1", "x", every(10, 10, None)), 0).unwrap();
    assert_eq!(due(&mut timers, 13), [at("1", 10)]);
    assert_eq!(due(&mut timers, 20), [at("1", 20)]);
    assert_eq!(due(&mut timers, 1_000_000_007), [at("1", 30)]);
    let timer = timers.get("x").unwrap();
    assert_eq!((timer.expires_at, timer.fired, timer.missed), (1_000_000_010, 3, 99_999_997));
    // An interval of nothing is one millisecond.
    timers.set(new("2", "x", every(0, 0, None)), 0).unwrap();
    assert_eq!(due(&mut timers, 5), [at("2", 0)]);
    assert_eq!(timers.next_deadline(), Some(6));
}

#[test]
fn calendars_skip_what_they_missed_and_count_it_to_a_bound() {
    let minute = 60_000;
    let mut timers = Timers::new();
    timers.set(new("1", "x", cron("* * * * *", None)), 0).unwrap();
    assert_eq!(due(&mut timers, 5 * minute + 1), [at("1", minute)]);
    let timer = timers.get("x").unwrap();
    assert_eq!((timer.expires_at, timer.missed), (6 * minute, 4));
    assert_eq!(due(&mut timers, 1_000_000 * minute), [at("1", 6 * minute)]);
    let timer = timers.get("x").unwrap();
    assert_eq!((timer.expires_at, timer.missed), (1_000_001 * minute, 1004));
}

#[test]
fn a_calendar_that_cannot_be_read_or_never_comes_changes_nothing() {
    let mut timers = Timers::new();
    timers.set(new("1", "x", once(5)), 0).unwrap();
    timers.take_changes();
    for expression in ["* * *", "0 0 31 2 *"] {
        timers.set(new("2", "x", cron(expression, None)), 0).unwrap_err();
    }
    assert_eq!(timers.take_changes(), []);
    assert_eq!(&*timers.get("x").unwrap().id, "1");
    assert!(timers.load("t/x", Some("{}")).is_err());
}

#[test]
fn an_entry_is_the_timer_as_it_is_shown() {
    let mut timers = Timers::new();
    let mut zoned = new("1", "x", every(10, 5, Some(3)));
    timers.set(zoned.clone(), 100).unwrap();
    let shown = json!({
        "id": "1", "name": "x", "expiresAt": 110, "onExpire": {"topic": "late", "data": {"order": 5}},
        "repeat": {"interval": 5, "maxCount": 3}, "correlationId": "corr-1", "fired": 0, "missed": 0,
    });
    assert_eq!(Value::from(&**timers.get("x").unwrap()), shown);
    zoned.schedule = Schedule::Cron {
        expression: "0 8 * * *".into(),
        time_zone: Some("Europe/Vienna".into()),
        max_count: Some(3),
    };
    timers.set(zoned, 0).unwrap();
    let shown = json!({
        "id": "1", "name": "x", "expiresAt": 7 * 3_600_000, "onExpire": {"topic": "late", "data": {"order": 5}},
        "cron": "0 8 * * *", "timeZone": "Europe/Vienna", "maxCount": 3, "correlationId": "corr-1",
        "fired": 0, "missed": 0,
    });
    assert_eq!(Value::from(&**timers.get("x").unwrap()), shown);
}

#[derive(Debug, Clone)]
enum Step {
    Set(&'static str, Schedule),
    Cancel(&'static str),
    Due,
}

fn step() -> impl Strategy<Value = Step> {
    let name = prop::sample::select(vec!["a", "b:1", "c/d"]);
    let count = prop::option::of(1..4_u64);
    let schedule = prop_oneof![
        (0..30_u64).prop_map(once),
        (0..30_u64, 0..20_u64, count.clone())
            .prop_map(|(first, interval, most)| every(first, interval, most)),
        count.prop_map(|most| cron("* * * * * *", most)),
    ];
    prop_oneof![
        2 => (name.clone(), schedule).prop_map(|(name, schedule)| Step::Set(name, schedule)),
        1 => name.prop_map(Step::Cancel),
        4 => Just(Step::Due),
    ]
}

fn carry_out(timers: &mut Timers, step: &Step, id: usize, now: u64) -> (Vec<(String, u64)>, Vec<Change>) {
    let mut found = Vec::new();
    match step {
        Step::Set(name, schedule) => {
            let _ = timers.set(new(&id.to_string(), name, schedule.clone()), now).unwrap();
        }
        Step::Cancel(name) => _ = timers.cancel(name),
        Step::Due => found = due(timers, now),
    }
    (found, timers.take_changes())
}

proptest! {
    /// One that goes on, beside one that is loaded from entries, or takes back what it did, before each step.
    #[test]
    fn what_is_loaded_goes_on_alike(steps in prop::collection::vec((step(), 0..1500_u64, 0..3), 1..40)) {
        let (mut steady, mut restless) = (Timers::new(), Timers::new());
        let mut entries: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
        let mut now = 0;
        for (id, (step, passed, how)) in steps.iter().enumerate() {
            now += passed;
            match how {
                0 => {
                    restless = Timers::new();
                    for (key, value) in entries.iter().rev() {
                        restless.load(key, Some(value)).unwrap();
                    }
                }
                1 => for change in carry_out(&mut restless, step, id, now).1 {
                    let Change::Entry { key, .. } = change else { panic!("{change:?}") };
                    restless.load(&key, entries.get(&key).map(|value| &**value)).unwrap();
                },
                _ => {}
            }
            prop_assert_eq!(restless.next_deadline(), steady.next_deadline());
            let done = carry_out(&mut steady, step, id, now);
            prop_assert_eq!(&carry_out(&mut restless, step, id, now), &done);
            for change in done.1 {
                let Change::Entry { key, value } = change else { panic!("{change:?}") };
                match value {
                    Some(value) => entries.insert(key, value),
                    None => entries.remove(&key),
                };
            }
            prop_assert!(steady.iter().eq(restless.iter()));
            prop_assert_eq!(entries.len(), steady.len());
        }
    }
}
