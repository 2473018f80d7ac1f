//! Reads and writes through rules against the simplest model there is: a state in which what is not seen was never there.
//! Whatever somebody under rules gets (results, counts, pages, errors) must be what he would get there without any rules,
//! or be a refusal that the rules explain.
//!
//! `GUARD_OPERATIONS=10000000 cargo test --release -p dunlin-store --test guard` runs longer; a failure prints the
//! `GUARD_SEED` that repeats its history alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod cases;
#[path = "../live/chance.rs"]
mod chance;
#[path = "../common/mod.rs"]
mod common;
mod model;
mod random;

use chance::Chance;
use common::World;
use common::narrowed::Session;
use dunlin_store::{Change, Intent, Outcome, Snapshot, StoreError};
use model::{answer, touched};
use serde_json::Value;

const WRITES: usize = 60;
/// Reads behind each write.
const READS: usize = 8;

/// What has happened, to see that everything does.
#[derive(Debug, Default)]
struct Tally {
    operations: usize,
    read: usize,
    written: usize,
    /// Refusals by what they say.
    hidden: usize,
    not_writable: usize,
    result_not_writable: usize,
    not_found: usize,
    not_whole: usize,
    unseen: usize,
    taken: usize,
    other: usize,
}

struct History {
    world: World,
    chance: Chance,
    session: Session,
    hidden: Vec<String>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let mut world = World::new();
        for name in random::BUCKETS {
            world.define(name, random::definition(&mut chance, name)).unwrap();
        }
        let session = loop {
            let (rules, session) = (random::rules(&mut chance), random::session(&mut chance));
            if let Some(session) = Session::new(&rules, &session) {
                break session;
            }
        };
        let hidden =
            random::BUCKETS.iter().flat_map(|name| session.hidden(name)).map(str::to_owned).collect();
        Self { world, chance, session, hidden }
    }

    fn run(mut self, tally: &mut Tally) {
        for _ in 0..WRITES {
            // Somebody else, who may do everything.
            for _ in 0..2 {
                let (bucket, data) = (*self.chance.pick(&random::BUCKETS), random::record(&mut self.chance));
                let _ = self.world.run(Intent::Upsert { bucket: bucket.into(), data });
            }
            let view = self.session.view_of(&self.world.state);
            for _ in 0..READS {
                self.read(&view, tally);
            }
            self.write(view, tally);
        }
    }

    fn read(&mut self, view: &Snapshot, tally: &mut Tally) {
        tally.operations += 1;
        let name = *self.chance.pick(&random::BUCKETS);
        let read = random::read(&mut self.chance, name);
        if let random::Read::Paginate(Some(key), _) = &read
            && self.session.guard.rule(name).is_none()
            && view.bucket(name).unwrap().get(key).is_none()
        {
            // Where there is no rule, a key that was removed keeps its place for a while; the model has no past.
            return;
        }
        let got = answer(&self.world.state, &self.session, name, &read);
        if touched(&self.session, &self.world.state, name, &read) {
            assert!(
                matches!(got, Err(StoreError::HiddenMember { .. })),
                "{read:?} {got:?} {:?}",
                self.session
            );
            tally.hidden += 1;
            return;
        }
        let open = Session::new(&[], &Value::Null).unwrap();
        assert_eq!(got, answer(view, &open, name, &read), "{read:?} {:?}", self.session);
        tally.read += 1;
    }

    fn write(&mut self, view: Snapshot, tally: &mut Tally) {
        tally.operations += 1;
        let hidden: Vec<&str> = self.hidden.iter().map(String::as_str).collect();
        let intent = random::write(&mut self.chance, &hidden);
        let before = self.world.state.clone();
        // The same write in the world in which nothing else ever was.
        let mut narrow = World { state: view, log: Vec::new(), now: self.world.now, ..World::new() };
        let there = narrow.run(model::picked(&intent, &self.session, &before, &narrow.state));
        let logged = self.world.log.len();
        let got = self.world.run(intent.clone().guarded(&self.session.guard));
        let context = || format!("{intent:?}\n{got:?}\n{there:?}\n{:?}", self.session);
        let error = match &got {
            Ok(outcome) => {
                let same = match (outcome, &there) {
                    (Outcome::Count(count), Ok(Outcome::Transaction(each))) => *count == each.len(),
                    (outcome, Ok(there)) => {
                        model::told(outcome) == model::stripped(&self.session, &intent, there)
                    }
                    (_, Err(_)) => false,
                };
                assert!(same, "{}", context());
                let view = self.session.view_of(&self.world.state);
                assert_eq!(model::rows(&view), model::shown(&self.session, &narrow.state), "{}", context());
                if !model::removes(&intent) {
                    let changes = self.world.log[logged..].iter().flat_map(|commit| &commit.changes);
                    self.all_writable(&before, changes, &context);
                }
                tally.written += 1;
                return;
            }
            Err(StoreError::Operation { error, .. }) => error,
            Err(error) => error,
        };
        assert_eq!(model::rows(&before), model::rows(&self.world.state), "{}", context());
        let same = match (&there, &intent) {
            (
                Err(StoreError::Operation { error: there, .. }),
                Intent::UpdateMany { .. } | Intent::DeleteMany { .. },
            ) => **there == *error,
            (there, _) => there.as_ref().err() == got.as_ref().err(),
        };
        let counter = match error {
            StoreError::HiddenMember { bucket, member } => {
                assert!(model::is_hidden(&self.session, bucket, member), "{}", context());
                &mut tally.hidden
            }
            StoreError::NotWritable { bucket, key } => {
                if !matches!(intent, Intent::Transaction { .. }) {
                    let record = before.bucket(bucket).unwrap().get(key).unwrap();
                    assert!(self.session.sees(&before, bucket, record), "{}", context());
                    assert!(!self.session.writes(&before, bucket, record), "{}", context());
                }
                &mut tally.not_writable
            }
            StoreError::ResultNotWritable { .. } => {
                self.result_is_not_writable(&before, &intent, &narrow, &context);
                &mut tally.result_not_writable
            }
            StoreError::NotWhole { bucket } => {
                assert!(self.session.guard.rule(bucket).is_some(), "{}", context());
                &mut tally.not_whole
            }
            StoreError::RecordNotFound { .. } => {
                assert!(same, "{}", context());
                &mut tally.not_found
            }
            StoreError::ReferencedUnseen | StoreError::NotUniqueUnseen { .. } => &mut tally.unseen,
            // These tell that there is something, and nothing that the writer has not said himself.
            StoreError::KeyExists { .. }
            | StoreError::Conflict { .. }
            | StoreError::NotUnique { .. }
            | StoreError::NotUniqueTogether { .. } => &mut tally.taken,
            _ => {
                assert!(same, "{}", context());
                &mut tally.other
            }
        };
        *counter += 1;
    }

    /// Every record that was put may be written, as it was and as it is.
    fn all_writable<'c>(
        &self,
        before: &Snapshot,
        changes: impl Iterator<Item = &'c Change>,
        context: &dyn Fn() -> String,
    ) {
        for change in changes {
            let Change::Put { bucket, row, record } = change else { continue };
            let name = before.bucket_by_id(*bucket).unwrap().name();
            assert!(self.session.writes(&self.world.state, name, record), "{}", context());
            if let Some(old) = before.bucket_by_id(*bucket).unwrap().row(*row) {
                assert!(self.session.writes(before, name, old), "{}", context());
            }
        }
    }

    /// Without rules it leaves a record that may not be written, here or in the narrow world (an upsert of what is not seen is
    /// an insert there), or is refused anyway.
    fn result_is_not_writable(
        &self,
        before: &Snapshot,
        intent: &Intent,
        narrow: &World,
        context: &dyn Fn() -> String,
    ) {
        let mut open = World { state: before.clone(), log: Vec::new(), now: self.world.now, ..World::new() };
        open.now -= 1;
        if matches!(intent, Intent::Transaction { .. }) || open.run(intent.clone()).is_err() {
            return;
        }
        let commits = open.log.iter().chain(&narrow.log);
        let refused = commits.flat_map(|commit| &commit.changes).any(|change| match change {
            Change::Put { bucket, record, .. } => {
                let name = before.bucket_by_id(*bucket).unwrap().name();
                !self.session.writes(&open.state, name, record)
            }
            _ => false,
        });
        assert!(refused, "{}", context());
    }
}

#[test]
fn nothing_is_seen_or_written_but_what_the_rules_let_through() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let mut tally = Tally::default();
    if let Some(seed) = number("GUARD_SEED") {
        History::new(seed).run(&mut tally);
        println!("{tally:?}");
        return;
    }
    let wanted = usize::try_from(number("GUARD_OPERATIONS").unwrap_or(100_000)).unwrap();
    for seed in 0.. {
        let history = std::panic::AssertUnwindSafe(|| History::new(seed).run(&mut tally));
        let passed = std::panic::catch_unwind(history).is_ok();
        assert!(passed, "GUARD_SEED={seed} cargo test -p dunlin-store --test guard repeats it");
        if tally.operations >= wanted {
            break;
        }
    }
    println!("{tally:?}");
    let Tally { read, written, hidden, not_writable, result_not_writable, not_found, not_whole, .. } = tally;
    let Tally { unseen, taken, other, .. } = tally;
    let all = [
        read,
        written,
        hidden,
        not_writable,
        result_not_writable,
        not_found,
        not_whole,
        unseen,
        taken,
        other,
    ];
    assert!(all.iter().all(|count| *count > 20), "{tally:?}");
}
