//! The world: one server after another on one history, clients, and time that passes in ticks of a millisecond.
//!
//! Between two ticks the server does all that it can do: virtual time only passes when nothing else is left. So what a client
//! finds when it looks does not depend on how fast anything is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dunlin_server::{Config, RulesOptions, Server, limits};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::client::{Client, HEARTBEAT_MS, Moment, SLOW_CONSUMER_MS};
use crate::hearing::{Happened, SUBSCRIBER_BYTES};
use crate::random;
use crate::truth::{Fault, Truth, Wish};
use crate::{Tally, note};

/// Ticks of disorder between two calms, and calms.
const DISORDER: u64 = 400;
const CALMS: usize = 3;
/// Ticks of silence that are a calm, and within which there must be one.
const SILENCE: u64 = 25;
const CALM_WAIT: u64 = 20_000;
/// What the clock shows when the world begins.
const BEGINNING: u64 = 1_700_000_000_000;

struct World {
    chance: Chance,
    tally: Tally,
    tick: u64,
    start: Instant,
    truth: Truth,
    server: Option<Server>,
    stopping: Option<JoinHandle<()>>,
    /// Where the server that runs began, and how many commits it keeps.
    held_from: u64,
    held_commits: usize,
    /// So often its `StoreActor` was or will be restarted.
    panics: usize,
    clients: Vec<Client>,
    wishes: Vec<Wish>,
    /// Calls of rules, each with how often it was made.
    calls: Arc<Mutex<BTreeMap<String, u64>>>,
}

pub(crate) async fn run(seed: u64) -> Tally {
    let mut chance = Chance(seed);
    let clients = (0..chance.within(3, 9)).map(|name| Client::new(name, &mut chance)).collect();
    let wishes = (0..chance.within(4, 12)).map(|_| random::wish(&mut chance)).collect();
    let held_commits = if chance.once_in(3) { chance.within(1, 40) } else { 100_000 };
    let mut world = World {
        tally: Tally::default(),
        tick: 0,
        start: Instant::now(),
        truth: Truth::new("epoch-0"),
        server: None,
        stopping: None,
        held_from: 0,
        held_commits,
        panics: 0,
        clients,
        wishes,
        calls: Arc::default(),
        chance,
    };
    world.begin().await;
    world.define().await;
    for _ in 0..CALMS {
        for _ in 0..DISORDER {
            world.disturb().await;
            world.pass(false).await;
        }
        world.calm().await;
    }
    world.tally.commits += world.truth.position();
    world.tally
}

impl World {
    /// A server begins on the newest state.
    async fn begin(&mut self) {
        let mut config = Config::default();
        config.backpressure.slow_consumer_ms = SLOW_CONSUMER_MS;
        config.heartbeat.interval_ms = HEARTBEAT_MS.0;
        config.heartbeat.timeout_ms = HEARTBEAT_MS.1;
        config.live.history_commits = self.held_commits;
        config.max_connections_per_ip = None;
        let start = self.start;
        let now = move || BEGINNING + u64::try_from(start.elapsed().as_millis()).unwrap();
        config.rules = RulesOptions::on();
        config.rules.subscriber_bytes = SUBSCRIBER_BYTES;
        let calls = Arc::clone(&self.calls);
        let call = move |args: Vec<Value>| {
            let name = args[0].as_str().unwrap().to_owned();
            *calls.lock().unwrap().entry(name).or_default() += 1;
            async { Ok(Value::Null) }
        };
        let server = Server::builder().config(config).journal(self.truth.clone()).clock(now);
        let server = server.service("s", "m", call);
        self.held_from = self.truth.position();
        self.panics = 0;
        self.server = Some(server.build().await.unwrap());
    }

    /// The first definitions.
    async fn define(&mut self) {
        let store = self.server.as_ref().unwrap().store();
        for name in random::BUCKETS {
            let request = random::define_bucket(&mut self.chance, name);
            store.define_bucket(name, request["config"].clone()).await.unwrap();
        }
        store.define_bucket(random::HEARD, random::heard()).await.unwrap();
        for rule in random::rules() {
            self.server.as_ref().unwrap().rules().register(rule).await.unwrap();
        }
        for name in random::QUERIES {
            let request = random::define_query(&mut self.chance, name);
            // What it reads may be missing a field; then somebody else will define another one.
            let _ = store.define_query(name, request["config"].clone()).await;
        }
    }

    /// Now and then the server is replaced, or time passes while nobody does anything.
    async fn disturb(&mut self) {
        if let Some(stopping) = self.stopping.take_if(|stopping| stopping.is_finished()) {
            stopping.await.unwrap();
            if self.chance.once_in(4) {
                self.tally.new_epochs += 1;
                self.tally.commits += self.truth.position();
                self.calls.lock().unwrap().clear();
                self.truth = Truth::new(&format!("epoch-{}", self.tally.new_epochs));
            }
            self.begin().await;
            if self.truth.position() == 0 {
                self.define().await;
            }
            note(|| format!("{:>6} a new server at {}", self.tick, self.truth.position()));
        }
        if self.chance.once_in(600) && self.stopping.is_none() {
            let server = self.server.take().unwrap();
            for link in self.clients.iter_mut().filter_map(|client| client.link.as_mut()) {
                link.doomed = true;
            }
            self.tally.restarts += 1;
            let grace = Duration::from_millis(*self.chance.pick(&[0, 0, 50]));
            note(|| format!("{:>6} the server stops within {grace:?}", self.tick));
            self.stopping = Some(tokio::spawn(async move { server.stop(grace).await.unwrap() }));
        }
        if self.chance.once_in(400) && self.panics < limits::RESTARTS {
            let fault = Fault { panics: self.chance.once_in(2), keeps: self.chance.once_in(2) };
            note(|| format!("{:>6} the next append will fail: {fault:?}", self.tick));
            self.panics += usize::from(fault.panics);
            self.tally.faults += 1;
            self.truth.plan(fault);
        }
        if self.chance.once_in(60) {
            let most = if self.chance.once_in(16) { 3000 } else { 300 };
            let jump = self.chance.within(10, most) as u64;
            note(|| format!("{:>6} {jump} ms pass", self.tick));
            sleep(Duration::from_millis(jump)).await;
        }
    }

    /// A tick. Whether anything has come to anybody.
    async fn pass(&mut self, calm: bool) -> bool {
        self.tick += 1;
        let moment = Moment {
            tick: self.tick,
            now: u64::try_from(self.start.elapsed().as_millis()).unwrap(),
            server: self.server.as_ref(),
            truth: &self.truth,
            held_from: self.held_from,
            held_commits: self.held_commits as u64,
            calm,
            wishes: &self.wishes,
        };
        let mut came = false;
        for client in &mut self.clients {
            came |= client.live(&moment, &mut self.chance, &mut self.tally);
        }
        sleep(Duration::from_millis(1)).await;
        self.truth.tick();
        came
    }

    /// Everybody reads until there is nothing more to read; then everybody knows the newest truth.
    async fn calm(&mut self) {
        while self.stopping.is_some() {
            self.disturb().await;
            self.pass(false).await;
        }
        note(|| format!("{:>6} calm", self.tick));
        let (mut silent, begun) = (0, self.tick);
        let mut position = self.truth.position();
        while silent < SILENCE {
            assert!(self.tick - begun < CALM_WAIT, "there is no calm");
            let came = self.pass(true).await;
            let idle = self.clients.iter().all(Client::is_idle);
            let moved = std::mem::replace(&mut position, self.truth.position()) != position;
            // After a failure what is due is tried again somewhat later.
            let state = self.truth.newest();
            let pending = ["t/", "x/"].iter().any(|prefix| state.entries(prefix).next().is_some());
            silent = if came || moved || pending || !idle { 0 } else { silent + 1 };
        }
        self.tally.calms += 1;
        self.clients.iter().for_each(Client::is_quiet);
        self.rules_are_quiet();
    }

    /// Each event has had its consequences: its echo, its timer, its call. None happens twice: that is seen where it is noted.
    fn rules_are_quiet(&mut self) {
        let happened = self.truth.happened(<[Happened]>::to_vec);
        let names: BTreeSet<&str> = happened.iter().map(|event| event.name.as_str()).collect();
        let calls = self.calls.lock().unwrap();
        for Happened { name, topic, .. } in &happened {
            let consequence = match topic.as_str() {
                "x.a" => format!("{name}e"),
                "x.b" => format!("{name}t"),
                _ => continue,
            };
            assert!(names.contains(&*consequence), "{consequence} has not happened");
            assert!(topic != "x.a" || calls.contains_key(name), "{name} has made no call");
        }
        let unknown = calls.keys().find(|name| !names.contains(name.as_str()));
        assert_eq!(unknown, None, "a call of nothing that is durable");
        self.tally.calls += calls.values().sum::<u64>();
    }
}
