//! Random patterns and random histories.
//!
//! `RULES_SEED` runs one history again, `RULES_CASES` says how many there are.

use super::naive::{Found, Naive};
use super::*;

/// A generator of numbers whose seed can be printed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()].clone()
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for i in (1..all.len()).rev() {
            all.swap(i, usize::try_from(self.below(i as u64 + 1)).unwrap());
        }
    }
}

const PATTERNS: [&str; 11] =
    ["a", "a", "b", "b", "c", "*", "a*", "*.x", "a.*", "bucket.o.inserted", "bucket.*.inserted"];
const TOPICS: [&str; 8] = ["a", "a", "b", "b", "c", "a.x", "bucket.o.inserted", "bucket.p.deleted"];

fn random_matcher(random: &mut Random) -> EventMatcher {
    let filter = if random.one_in(4) { vec![(Path::new("ok"), json!(true))] } else { Vec::new() };
    let alias = random.one_in(2).then(|| random.of(&["x", "y"]).into());
    EventMatcher { topic: random.of(&PATTERNS).into(), filter, alias }
}

fn random_pattern(random: &mut Random) -> TemporalPattern {
    let within = 1 + random.below(12);
    let window =
        Window { length: 1 + random.below(12), sliding: random.one_in(2), empty_windows: random.one_in(2) };
    let comparison = random.of(&[Comparison::Gte, Comparison::Gte, Comparison::Lte, Comparison::Eq]);
    let kind = match random.below(4) {
        0 => {
            let steps = 2 + random.below(3);
            let events = (0..steps).map(|_| random_matcher(random)).collect();
            TemporalKind::Sequence { events, within, strict: random.one_in(3) }
        }
        1 => {
            TemporalKind::Absence { after: random_matcher(random), expected: random_matcher(random), within }
        }
        2 => {
            let threshold = random.below(5) as f64;
            TemporalKind::Count { event: random_matcher(random), comparison, threshold, window }
        }
        _ => {
            let functions = [Function::Sum, Function::Avg, Function::Min, Function::Max, Function::Count];
            TemporalKind::Aggregate {
                event: random_matcher(random),
                field: Path::new("v"),
                function: random.of(&functions),
                comparison,
                threshold: random.below(9) as f64 * 0.5,
                window,
            }
        }
    };
    let group_by = random.one_in(2).then(|| Path::new("g"));
    TemporalPattern { kind, group_by, once: random.one_in(3) }
}

fn random_event(random: &mut Random, id: u64, at: u64) -> Arc<Event> {
    let mut data = Object::new();
    let group = random.of(&[json!(1), json!("1"), json!("x"), json!("a/b%"), json!(null)]);
    for (name, value) in [
        ("g", group),
        ("ok", json!(random.one_in(2))),
        ("v", random.of(&[json!(-1.5), json!(0), json!(1), json!(2.25), json!("n")])),
    ] {
        if !random.one_in(6) {
            data.insert(name.into(), value);
        }
    }
    event(&id.to_string(), random.of(&TOPICS), Value::Object(data), at)
}

fn shown(found: &Match) -> Found {
    let named = found.variables.iter();
    assert_eq!(found.count, found.events.len() as u64);
    let data = found.trigger_data();
    assert_eq!(data["events"].as_array().unwrap().len(), found.events.len());
    Found {
        rule: found.rule.to_string(),
        group: found.group.as_deref().map(Into::into),
        events: found.events.iter().map(|event| event.id.to_string()).collect(),
        data: found.events.iter().map(|event| Value::Object((*event.data).clone())).collect(),
        value: found.value,
        started_at: found.started_at,
        fired_at: found.fired_at,
        variables: named.map(|(name, data)| (name.to_string(), Value::Object((**data).clone()))).collect(),
        correlation: found.correlation_id.as_deref().map(Into::into),
        absence: found.after.is_some(),
    }
}

/// The pattern of a rule that is added, or an entry.
type Load<'a> = Result<usize, (&'a Arc<str>, &'a Arc<str>)>;

/// Something that happens.
enum Step {
    Event(Arc<Event>),
    Tick,
}

/// The engine, and the same one that is loaded again or takes back what it did now and then.
struct Pair {
    rules: Vec<(Arc<str>, Arc<TemporalPattern>)>,
    steady: Temporal,
    restless: Temporal,
    entries: BTreeMap<Arc<str>, Arc<str>>,
}

impl Pair {
    fn add(&self, temporal: &mut Temporal, index: usize) {
        let (rule, pattern) = &self.rules[index];
        // In the order of their names backwards.
        temporal.add(rule, (self.rules.len() - index) as u64, pattern);
    }

    fn carry_out(temporal: &mut Temporal, step: &Step, now: u64) -> (Vec<Match>, Vec<Change>) {
        let mut found = Vec::new();
        match step {
            Step::Event(event) => temporal.event(event, now, &mut found),
            Step::Tick => {
                while let Some(due) = temporal.due(now) {
                    if let Due::Match(one) = due {
                        found.push(*one);
                    }
                }
                assert!(temporal.next_deadline().is_none_or(|next| next > now));
            }
        }
        (found, temporal.take_changes())
    }

    /// What a new engine makes of the entries, in any order.
    fn reload(&mut self, random: &mut Random) {
        let mut temporal = Temporal::new(&Limits::default());
        let mut loads: Vec<Load<'_>> =
            (0..self.rules.len()).map(Ok).chain(self.entries.iter().map(Err)).collect();
        random.shuffle(&mut loads);
        for load in loads {
            match load {
                Ok(index) => self.add(&mut temporal, index),
                Err((key, value)) => temporal.load(key, Some(value)).unwrap(),
            }
        }
        self.restless = temporal;
    }

    /// Gives the entries back that changes have overwritten; perhaps with a rule that was taken away and comes back.
    fn take_back(&mut self, random: &mut Random, changes: &[Change]) {
        let removed = random.one_in(2).then(|| random.below(self.rules.len() as u64) as usize);
        let mut changes = changes.to_vec();
        if let Some(index) = removed {
            self.restless.remove(&self.rules[index].0);
            changes.extend(self.restless.take_changes());
        }
        random.shuffle(&mut changes);
        let back = random.below(changes.len() as u64 + 1) as usize;
        for (index, change) in changes.iter().enumerate() {
            if index == back
                && let Some(index) = removed
            {
                let mut restless = std::mem::replace(&mut self.restless, Temporal::new(&Limits::default()));
                self.add(&mut restless, index);
                self.restless = restless;
            }
            let Change::Entry { key, .. } = change else { panic!("{change:?}") };
            let old = self.entries.get(key).map(|value| &**value);
            self.restless.load(key, old).unwrap();
        }
        if let Some(index) = removed.filter(|_| back == changes.len()) {
            let mut restless = std::mem::replace(&mut self.restless, Temporal::new(&Limits::default()));
            self.add(&mut restless, index);
            self.restless = restless;
        }
        assert_eq!(self.restless.take_changes(), []);
    }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let rules: Vec<_> = (0..=random.below(3))
        .map(|index| (Arc::from(format!("r/{index}")), Arc::new(random_pattern(&mut random))))
        .collect();
    let mut naive: Vec<Naive> = rules.iter().rev().map(|(name, pattern)| Naive::new(name, pattern)).collect();
    let (steady, restless) = (Temporal::new(&Limits::default()), Temporal::new(&Limits::default()));
    let mut pair = Pair { rules, steady, restless, entries: BTreeMap::new() };
    for index in 0..pair.rules.len() {
        let mut steady = std::mem::replace(&mut pair.steady, Temporal::new(&Limits::default()));
        pair.add(&mut steady, index);
        pair.steady = steady;
    }
    pair.reload(&mut random);
    let mut now = 1000 + random.below(20);
    for id in 0..40 {
        now += match random.below(20) {
            0 => random.below(40),
            1 if random.one_in(10) => 2_000,
            _ => random.below(4),
        };
        let step =
            if random.one_in(4) { Step::Tick } else { Step::Event(random_event(&mut random, id, now)) };
        let expected: Vec<Found> = match &step {
            Step::Event(event) => naive.iter_mut().flat_map(|naive| naive.event(event, now)).collect(),
            Step::Tick => {
                let mut due: Vec<_> = naive
                    .iter_mut()
                    .enumerate()
                    .flat_map(|(order, naive)| {
                        let due = naive.tick(now).into_iter();
                        due.map(move |((at, group), found)| ((at, order, group), found))
                    })
                    .collect();
                due.sort_by(|a, b| a.0.cmp(&b.0));
                due.into_iter().map(|(_, found)| found).collect()
            }
        };
        if random.one_in(8) {
            pair.reload(&mut random);
        }
        assert_eq!(pair.restless.next_deadline(), pair.steady.next_deadline());
        let (found, changes) = Pair::carry_out(&mut pair.steady, &step, now);
        if random.one_in(4) {
            let (_, undone) = Pair::carry_out(&mut pair.restless, &step, now);
            pair.take_back(&mut random, &undone);
        }
        let again = Pair::carry_out(&mut pair.restless, &step, now);
        assert_eq!(again, (found.clone(), changes.clone()), "at {now}: loaded");
        for change in changes {
            let Change::Entry { key, value } = change else { panic!("{change:?}") };
            match value {
                Some(value) => drop(pair.entries.insert(key, value)),
                None => drop(pair.entries.remove(&key)),
            }
        }
        let found: Vec<Found> = found.iter().map(shown).collect();
        assert_eq!(found, expected, "at {now}: found and expected, of {:#?}", pair.rules);
    }
    // All that has begun comes to its end, once nobody counts silence any more.
    for _ in 0..1100 {
        let Some(next) = pair.steady.next_deadline() else { break };
        Pair::carry_out(&mut pair.steady, &Step::Tick, next + 2_000);
    }
    let left: Vec<usize> = pair.rules.iter().map(|(name, _)| pair.steady.open_groups(name)).collect();
    assert!(left.iter().all(|groups| *groups == 0), "{left:?}");
}

#[test]
fn random_patterns_over_random_histories() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("RULES_SEED") {
        return run(seed);
    }
    for seed in 0..number("RULES_CASES").unwrap_or(3000) {
        let result = std::panic::catch_unwind(|| run(seed));
        assert!(result.is_ok(), "run it again with RULES_SEED={seed}");
    }
}
