//! Live queries against the truth: after every step of long random histories each view equals its query run from scratch, and
//! so does what subscribers make of the patches, be they prompt, slow, or away for a while.
//!
//! `LIVE_COMMITS=1000000 cargo test --release -p dunlin-store --test live` runs longer; a failure prints the `LIVE_SEED` that
//! repeats its history alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values; taking them keeps the calls short")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod chance;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod patch;
mod queries;
mod random;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use client::Client;
use common::World;
use common::narrowed::Session;
use dunlin_store::{
    Commit, HistoryLimits, Intent, Joined, LiveQuery, LiveStep, Preparation, Prepared, Query, Renewed,
    Resume, Snapshot, StoreError, ViewId, ViewLimits, Views,
};
use queries::{Narrowed, closure, evaluate, targets};
use random::Chance;
use serde_json::{Map, Value, json};

/// Writes of one history.
const WRITES: usize = 250;
/// Live queries that one history opens at first.
const QUERIES: usize = 10;

struct History {
    world: World,
    chance: Chance,
    views: Views,
    /// What each view is of.
    queries: BTreeMap<ViewId, LiveQuery>,
    /// What queries are that somebody sees through rules.
    narrowed: HashMap<LiveQuery, Narrowed>,
    told: BTreeMap<ViewId, Option<Arc<str>>>,
    clients: Vec<Client>,
    /// Views that are being made, on the state of some steps ago.
    opening: Vec<Preparation>,
    renewing: Vec<(ViewId, Prepared)>,
    /// Commits that the views have not been told of.
    behind: Vec<Commit>,
    /// How many writes a step takes together, about.
    haste: usize,
    tally: Tally,
}

/// What has happened, to see that everything does.
#[derive(Debug, Default)]
struct Tally {
    commits: usize,
    changed: usize,
    renewed: usize,
    outdated: usize,
    ended: usize,
    resumed: usize,
    lost: usize,
    /// Queries that are none.
    refused: usize,
    /// Queries through rules, and those that ask for what is hidden.
    narrowed: usize,
    hidden: usize,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.commits += other.commits;
        self.changed += other.changed;
        self.renewed += other.renewed;
        self.outdated += other.outdated;
        self.ended += other.ended;
        self.resumed += other.resumed;
        self.lost += other.lost;
        self.refused += other.refused;
        self.narrowed += other.narrowed;
        self.hidden += other.hidden;
    }
}

impl History {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut world = World::new();
        for name in random::BUCKETS {
            world.define(name, random::bucket(&mut chance)).unwrap();
        }
        let limits = ViewLimits {
            history: HistoryLimits { commits: 40, bytes: 64 * 1024 },
            unindexed_tests: usize::MAX,
            bytes: usize::MAX,
            reserve: chance.below(5),
        };
        let haste = *chance.pick(&[1, 1, 2, 3, 5, 20]);
        let views = Views::new(world.state.clone(), limits);
        Self {
            world,
            chance,
            views,
            queries: BTreeMap::new(),
            narrowed: HashMap::new(),
            told: BTreeMap::new(),
            clients: Vec::new(),
            opening: Vec::new(),
            renewing: Vec::new(),
            behind: Vec::new(),
            haste,
            tally: Tally::default(),
        }
    }

    fn run(mut self) -> Tally {
        for _ in 0..QUERIES {
            self.begin_opening();
        }
        for _ in 0..WRITES {
            self.write();
            if self.chance.once_in(self.haste) {
                self.step();
            }
        }
        self.step();
        for client in self.clients.iter_mut().filter(|client| !client.away) {
            client.drain();
        }
        self.check();
        let ids: Vec<ViewId> = self.queries.keys().copied().collect();
        for id in ids {
            self.views.close(id);
        }
        assert!(self.views.is_empty());
        // Nothing is left behind of those who were here.
        let left = format!("{:?}", self.views);
        assert!(left.contains("by_query: {}, buckets: {}, dependents: {}"), "{left}");
        self.tally
    }

    fn write(&mut self) {
        let seen = self.world.log.len();
        let chance = &mut self.chance;
        if chance.once_in(60) {
            let name = *chance.pick(&random::BUCKETS);
            match chance.below(4) {
                0 => drop(self.world.run(Intent::DropBucket { name: name.into() })),
                3 => {
                    let number = self.world.state.position() + 1;
                    drop(self.world.run(random::migration(chance, number)));
                }
                1 => drop(self.world.alter(name, random::alteration(chance))),
                _ => drop(self.world.run(Intent::DefineQuery {
                    name: format!("q{}", chance.below(1_000_000)),
                    config: common::object(json!({"bucket": name})),
                })),
            }
        } else {
            // A refusal is as good as a success here.
            let _ = self.world.run(random::write(chance));
        }
        for name in random::BUCKETS {
            if self.world.state.bucket(name).is_err() && self.chance.once_in(3) {
                let config = random::bucket(&mut self.chance);
                // The one may refer to the other, which is gone.
                let _ = self.world.define(name, config);
            }
        }
        if self.chance.once_in(5) {
            self.world.now += self.chance.below(20) as u64;
            self.world.expire();
        }
        let new = &self.world.log[seen..];
        self.tally.commits += new.len();
        self.behind.extend_from_slice(new);
    }

    /// Takes the views along, and the subscribers with them.
    fn step(&mut self) {
        let commits = std::mem::take(&mut self.behind);
        let before: BTreeSet<ViewId> =
            self.queries.keys().copied().filter(|id| self.views.is_stale(*id)).collect();
        let LiveStep { changed, stale, ended, .. } = if self.chance.once_in(200) {
            self.views.restart(self.world.state.clone())
        } else {
            self.views.advance(&commits, self.world.state.clone())
        };
        for (id, error) in ended {
            assert!(matches!(error, StoreError::BucketNotDefined { .. }), "{error}");
            self.tally.ended += 1;
            self.forget(id);
        }
        for id in changed {
            assert!(!before.contains(&id) && !self.views.is_stale(id));
            self.deliver(id);
        }
        for id in stale {
            let prepared = self.views.prepare_again(id).unwrap().run();
            self.renewing.push((id, prepared));
        }
        if !self.chance.once_in(3) {
            self.finish_renewals();
        }
        if !self.chance.once_in(3) {
            self.finish_openings();
        }
        self.check();
        self.visit();
    }

    /// Tells all subscribers of a view, and keeps what they were told.
    fn deliver(&mut self, id: ViewId) {
        self.tally.changed += 1;
        let operations = self.views.patch(id).unwrap();
        let position = self.views.changed_at(id);
        for client in self.clients.iter_mut().filter(|client| client.view == id) {
            client.push(position, &operations);
        }
        let result = self.views.result(id).unwrap();
        let told = self.told.insert(id, result.clone());
        assert_ne!(told, Some(result), "a change that is none: {:?}", self.queries.get(&id));
    }

    fn finish_renewals(&mut self) {
        while let Some((id, prepared)) = self.renewing.pop() {
            match self.views.renew(id, prepared) {
                Renewed::Changed => self.deliver(id),
                Renewed::Same => {}
                Renewed::Closed => continue,
                Renewed::Outdated => self.tally.outdated += 1,
                Renewed::Ended(_) => {
                    self.tally.ended += 1;
                    self.forget(id);
                    continue;
                }
            }
            self.tally.renewed += 1;
            if self.views.is_stale(id) {
                let prepared = self.views.prepare_again(id).unwrap().run();
                self.renewing.push((id, prepared));
            }
        }
    }

    fn begin_opening(&mut self) {
        let chance = &mut self.chance;
        let known = self.queries.len();
        let (mut narrow, mut included) = (true, Vec::new());
        let query = if known > 0 && chance.once_in(3) {
            // One more subscriber of a view.
            narrow = false;
            self.queries.values().nth(chance.below(known)).unwrap().clone()
        } else if chance.once_in(6) {
            closure(chance)
        } else {
            let (config, params) = random::query(chance);
            let Ok(query) = Query::parse("random", &config) else {
                self.tally.refused += 1;
                return;
            };
            if query.check_against(self.views.snapshot()).is_err() {
                self.tally.refused += 1;
                return;
            }
            let wanted = config.get("include").and_then(Value::as_object).into_iter().flat_map(Map::values);
            included = wanted.map(|include| include["ref"].as_str().unwrap().to_owned()).collect();
            LiveQuery::Declarative(query.bind(&params).unwrap())
        };
        let query = if narrow && self.chance.once_in(2) { self.narrow(query, included) } else { query };
        self.opening.push(self.views.prepare(query));
    }

    /// The query through the rules of some session, unless it asks for what is hidden.
    fn narrow(&mut self, whole: LiveQuery, includes: Vec<String>) -> LiveQuery {
        let (rules, session) = (random::rules(&mut self.chance), random::session(&mut self.chance));
        let Some(session) = Session::new(&rules, &session) else { return whole };
        match whole.guarded(&session.guard, self.views.snapshot()) {
            Ok(query) => {
                self.tally.narrowed += usize::from(query != whole);
                let known = targets(&whole, &includes, self.views.snapshot());
                let narrowed = Narrowed { whole, session: session.into(), includes, known };
                self.narrowed.insert(query.clone(), narrowed);
                query
            }
            Err(error) => {
                assert!(matches!(error, StoreError::HiddenMember { .. }), "{error}");
                self.tally.hidden += 1;
                whole
            }
        }
    }

    /// What a query gives on a state, from scratch.
    fn truth(
        &self,
        query: &LiveQuery,
        snapshot: &Snapshot,
        seen: &mut HashMap<*const Session, Snapshot>,
    ) -> Option<String> {
        if let Some(Narrowed { whole, session, includes, known }) = self.narrowed.get(query)
            && targets(whole, includes, snapshot).is_subset(known)
        {
            let seen = seen.entry(Rc::as_ptr(session)).or_insert_with(|| session.view_of(snapshot));
            let truth = evaluate(whole, seen);
            // The same without being kept up to date; now and then, as all views are held to the truth anyway.
            if snapshot.position().is_multiple_of(8) {
                assert_eq!(evaluate(query, snapshot), truth, "{query:?} {session:?}");
            }
            return truth;
        }
        evaluate(query, snapshot)
    }

    fn finish_openings(&mut self) {
        for preparation in std::mem::take(&mut self.opening) {
            let query = preparation.query().clone();
            let prepared = preparation.run();
            match self.views.open(prepared) {
                Ok(Joined::View(id)) => {
                    self.queries.insert(id, query);
                    if self.views.is_stale(id) {
                        let prepared = self.views.prepare_again(id).unwrap().run();
                        self.renewing.push((id, prepared));
                        self.finish_renewals();
                    }
                    if self.queries.contains_key(&id) {
                        let result = self.views.result(id).unwrap();
                        self.told.insert(id, result);
                        self.clients.push(Client::new(&mut self.views, id));
                    }
                }
                Ok(Joined::Outdated) => self.tally.outdated += 1,
                Err(StoreError::BucketNotDefined { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Subscribers read, leave, come back; views are opened and closed.
    fn visit(&mut self) {
        for client in &mut self.clients {
            if client.away {
                if self.chance.once_in(6) && !self.views.is_stale(client.view) {
                    let resumed = client.return_to(&mut self.views);
                    *(if resumed { &mut self.tally.resumed } else { &mut self.tally.lost }) += 1;
                }
            } else if self.chance.once_in(2) {
                client.drain();
            } else if self.chance.once_in(10) {
                client.leave();
            }
        }
        if self.chance.once_in(10) {
            self.begin_opening();
        }
        if self.queries.len() > QUERIES {
            let ids: Vec<ViewId> = self.queries.keys().copied().collect();
            let id = *self.chance.pick(&ids);
            self.views.close(id);
            self.forget(id);
        }
    }

    fn forget(&mut self, id: ViewId) {
        self.queries.remove(&id);
        self.told.remove(&id);
        self.clients.retain(|client| client.view != id);
    }

    /// Every view, and whoever has taken everything that it was told, knows the truth.
    fn check(&mut self) {
        let snapshot = self.views.snapshot().clone();
        let mut seen = HashMap::new();
        for (id, query) in &self.queries {
            if self.views.is_stale(*id) {
                continue;
            }
            let truth = self.truth(query, &snapshot, &mut seen);
            let result = self.views.result(*id).unwrap();
            assert_eq!(result.as_deref(), truth.as_deref(), "{query:?} {:?}", self.views.explain(*id));
            assert_eq!(self.told.get(id), Some(&result), "a change that nobody was told of: {query:?}");
            let truth: Value = truth.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
            for client in
                self.clients.iter_mut().filter(|client| client.view == *id && client.is_up_to_date())
            {
                assert_eq!(client.belief, truth, "{query:?}");
            }
        }
    }
}

#[test]
fn every_view_and_every_subscriber_knows_the_truth_after_every_step() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("LIVE_SEED") {
        println!("{:?}", History::new(seed).run());
        return;
    }
    let wanted = usize::try_from(number("LIVE_COMMITS").unwrap_or(50_000)).unwrap();
    let mut tally = Tally::default();
    for seed in 0.. {
        let Ok(history) = std::panic::catch_unwind(|| History::new(seed).run()) else {
            panic!("LIVE_SEED={seed} cargo test -p dunlin-store --test live repeats it");
        };
        tally.add(&history);
        if tally.commits >= wanted {
            break;
        }
    }
    println!("{tally:?}");
    let Tally { changed, renewed, outdated, ended, resumed, lost, narrowed, hidden, .. } = tally;
    let all = [changed, renewed, outdated, ended, resumed, lost, narrowed, hidden];
    assert!(all.iter().all(|count| *count > 10), "{tally:?}");
}

#[test]
fn what_follows_a_definition_in_the_same_step_is_told_to_who_has_seen_the_definition() {
    let mut world = World::new();
    let limits = ViewLimits {
        history: HistoryLimits { commits: 40, bytes: 64 * 1024 },
        unindexed_tests: usize::MAX,
        bytes: usize::MAX,
        reserve: 1,
    };
    let mut views = Views::new(world.state.clone(), limits);
    world.define("tasks", json!({"key": "id", "schema": {"id": {"type": "string"}}})).unwrap();
    let defined = world.state.position();
    world.insert("tasks", json!({"id": "a"})).unwrap();
    world.clear("tasks");
    let cleared = world.state.position();
    world.insert("tasks", json!({"id": "b"})).unwrap();
    views.advance(&world.log, world.state.clone());

    let query = Query::parse("all", &common::object(json!({"bucket": "tasks"}))).unwrap();
    let prepared = views.prepare(LiveQuery::Declarative(query.bind(&json!({})).unwrap())).run();
    let Ok(Joined::View(view)) = views.open(prepared) else { panic!() };
    let epoch = world.state.epoch().to_owned();
    let mut resume = |position| views.resume(view, None, &epoch, position).unwrap();
    assert!(matches!(resume(defined), Resume::Lost), "it was cleared behind that");
    let Resume::Replay(replay) = resume(cleared) else { panic!() };
    assert!(replay.run().unwrap().contains("\"b\""));
}

/// Whoever is shown before and after a step may have been away in between, when what it refers to changed.
#[test]
fn a_record_that_is_away_while_what_it_includes_changes() {
    let mut world = World::new();
    let people = json!({"key": "id", "schema": {"id": {"type": "string"}, "name": {"type": "string"}}});
    world.define("people", people).unwrap();
    let tasks = json!({"key": "id", "schema": {
        "id": {"type": "string"}, "n": {"type": "number"}, "p": {"type": "string", "ref": "people"},
    }});
    world.define("tasks", tasks).unwrap();
    world.insert("people", json!({"id": "ann", "name": "Ann"})).unwrap();
    world.insert("tasks", json!({"id": "a", "n": 1})).unwrap();
    world.insert("tasks", json!({"id": "b", "n": 2, "p": "ann"})).unwrap();

    let limits = ViewLimits {
        history: HistoryLimits { commits: 40, bytes: 64 * 1024 },
        unindexed_tests: usize::MAX,
        bytes: usize::MAX,
        reserve: 4,
    };
    let mut views = Views::new(world.state.clone(), limits);
    let config = json!({
        "bucket": "tasks", "sort": {"n": "asc"}, "offset": 1, "limit": 1, "include": {"person": {"ref": "p"}},
    });
    let query = Query::parse("second", &common::object(config)).unwrap().bind(&json!({})).unwrap();
    let prepared = views.prepare(LiveQuery::Declarative(query.clone())).run();
    let Joined::View(id) = views.open(prepared).unwrap() else { panic!("outdated") };
    let mut client = Client::new(&mut views, id);
    let mut returning = Client::new(&mut views, id);
    returning.leave();
    let seen = world.log.len();
    world.insert("tasks", json!({"id": "c", "n": 0})).unwrap();
    world.update("people", json!("ann"), json!({"name": "Anna"})).unwrap();
    world.delete("tasks", json!("a"));

    let step = views.advance(&world.log[seen..], world.state.clone());
    assert_eq!(step.changed, [id], "it shows another name");
    client.push(views.changed_at(id), &views.patch(id).unwrap());
    client.drain();
    assert_eq!(client.belief[0]["person"]["name"], "Anna");
    assert_eq!(views.result(id).unwrap().as_deref(), query.evaluate(&world.state).unwrap().as_deref());
    assert!(returning.return_to(&mut views));
    assert_eq!(returning.belief, client.belief);
}
