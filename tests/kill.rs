//! A server under load is killed with SIGKILL again and again, at random moments, and started on the same directory: what was
//! acknowledged is there, what was not is there whole or not at all, and a keyed write that is repeated has one effect.
//!
//! ```console
//! $ KILL_SEED=28 cargo test --test kill           # the moments of one seed, as far as processes can be made to repeat themselves
//! $ KILL_ROUNDS=1000 cargo test --test kill       # longer
//! ```
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod common;
#[path = "kill/model.rs"]
mod model;
#[path = "../crates/store/tests/live/patch.rs"]
mod patch;
#[path = "kill/random.rs"]
mod random;

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{PATIENCE, Running, Socket, dunlin};
use model::{AMOUNT, BUCKETS, Client, Entry, State};
use random::Random;
use serde_json::{Value, json};

const CLIENTS: u64 = 4;

/// Kills under load, if `KILL_ROUNDS` says nothing else; there are some more while the server starts.
const ROUNDS: u64 = 24;

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Tells the seed when the test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to try the same moments again: KILL_SEED={} cargo test --test kill", self.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_every_kill() {
    let seed = Seed(setting("KILL_SEED").unwrap_or_else(now));
    let mut random = Random::new(seed.0);
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(&mut random);
    let mut kills = 0;
    for round in 0..setting("KILL_ROUNDS").unwrap_or(ROUNDS) {
        // Now and then it does not even come to be there, several times in a row.
        while random.below(3) == 0 {
            start_and_kill(dir.path(), Duration::from_millis(random.below(60)));
            kills += 1;
        }
        let server = start(dir.path());
        world.check(&server).await;
        let load = world.load(&server);
        // A third of them right after the start.
        let time = if round % 3 == 0 { 10 } else { 600 };
        tokio::time::sleep(Duration::from_millis(random.below(time))).await;
        server.kill();
        kills += 1;
        world.unload(load).await;
    }
    let server = start(dir.path());
    world.check(&server).await;
    assert_eq!(server.stop(), Some(0));
    let server = start(dir.path());
    world.check(&server).await;
    world.all_that_is_fleeting_goes(&server).await;
    println!("seed {}: {kills} kills, {} commits, {} resumed", seed.0, world.position, world.resumed);
    assert!(world.resumed > 0, "a live query can go on after a crash");
}

fn arguments(dir: &Path) -> [&str; 5] {
    ["--port", "0", "--data-dir", dir.to_str().unwrap(), "--log-level=error"]
}

fn start(dir: &Path) -> Running {
    Running::start(&[], &arguments(dir))
}

/// Ends the process while it starts, wherever it is by then.
fn start_and_kill(dir: &Path, after: Duration) {
    let mut child = dunlin(&[], &arguments(dir)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Everybody who has to do with the server, over all its lives.
struct World {
    clients: Vec<Client>,
    watcher: Watcher,
    epoch: Option<String>,
    position: u64,
    /// Which request got which number of a bucket's counter.
    numbers: HashMap<(&'static str, u64), u64>,
    resumed: u32,
}

type Load = (Vec<tokio::task::JoinHandle<Client>>, tokio::task::JoinHandle<Watcher>);

impl World {
    fn new(random: &mut Random) -> Self {
        let clients = (1..=CLIENTS).map(|number| Client::new(number, random.below(u64::MAX))).collect();
        Self {
            clients,
            watcher: Watcher::default(),
            epoch: None,
            position: 0,
            numbers: HashMap::new(),
            resumed: 0,
        }
    }

    /// Holds what is there against what everybody knows.
    async fn check(&mut self, server: &Running) {
        let mut control = Control::connect(server).await;
        let hello = control.data(json!({"type": "hello", "extensions": ["position"]})).await;
        let (epoch, position) = (hello["epoch"].as_str().unwrap(), hello["position"].as_u64().unwrap());
        let seen = self.clients.iter().map(|client| client.position).max().unwrap();
        assert!(position >= seen.max(self.watcher.position).max(self.position), "{position} after {seen}");
        if self.epoch.is_none() {
            self.epoch = Some(epoch.to_owned());
            self.begin(&mut control).await;
        }
        assert_eq!(self.epoch.as_deref(), Some(epoch), "the history goes on");

        let (mut there, at) = self.read(&mut control).await;
        for client in &mut self.clients {
            let mine = there.remove(&client.number).unwrap_or_default();
            let mut state = client.known.clone();
            // Requests take effect in their order: some first part of those that were not answered.
            let mut happened = None;
            for count in 0..=client.sent.len() {
                if count > 0 {
                    client.sent[count - 1].apply(&mut state);
                }
                if alive(&state, at) == alive(&mine, at) {
                    happened = Some(count);
                }
            }
            let Some(happened) = happened else {
                panic!(
                    "{mine:?} is there, {:?} was acknowledged, behind it came {:?}",
                    client.known, client.sent
                );
            };
            for (sent, before) in client.crashed(happened) {
                let first = control.repeat(&sent.request).await;
                if !before {
                    client.happened(&sent);
                }
                assert_eq!(control.repeat(&sent.request).await, first, "{sent:?}");
            }
        }
        let (there, at) = self.read(&mut control).await;
        for client in &self.clients {
            assert_eq!(alive(&there[&client.number], at), alive(&client.known, at), "after the repeats");
        }
        self.watch(&mut control, epoch).await;
        self.position = control.data(json!({"type": "hello"})).await["position"].as_u64().unwrap();
    }

    /// Buckets and accounts, on an empty directory.
    async fn begin(&mut self, control: &mut Control) {
        for bucket in BUCKETS {
            let no = json!({"type": "number", "generated": "autoincrement"});
            let mut schema = json!({"id": {"type": "string", "generated": "uuid"}, "n": {"type": "number"}});
            if ["items", "once"].contains(&bucket) {
                schema["no"] = no;
            }
            let mut config = json!({"key": "id", "schema": schema, "indexes": ["n"]});
            if bucket == "fleeting" {
                config["ttl"] = json!("1h");
            }
            control.data(json!({"type": "store.defineBucket", "name": bucket, "config": config})).await;
        }
        for client in &mut self.clients {
            let sent = client.open_accounts();
            let answer = control.call(sent.request).await;
            client.answered(&answer);
        }
    }

    /// All records by client, and the time by which what had expired then may or may not be among them.
    async fn read(&mut self, control: &mut Control) -> (HashMap<u64, State>, u64) {
        let steps = BUCKETS.map(|bucket| json!({"op": "where", "bucket": bucket, "filter": {}}));
        let data = control.data(json!({"type": "store.transaction", "operations": steps})).await;
        let at = now();
        let mut there: HashMap<u64, State> = HashMap::new();
        let mut sum = 0;
        for (bucket, result) in BUCKETS.into_iter().zip(data["results"].as_array().unwrap()) {
            for record in result["data"].as_array().unwrap() {
                let name = record.get("who").unwrap_or(&record["id"]).as_str().unwrap();
                let number = name.split('-').next().unwrap().parse().unwrap();
                let text = record["text"].as_str().unwrap();
                assert!(text.bytes().all(|byte| byte == b'x'), "{name}");
                let entry = Entry {
                    n: record["n"].as_u64().unwrap(),
                    text: text.len(),
                    version: record["_version"].as_u64().unwrap(),
                    expires: record.get("_expiresAt").and_then(Value::as_u64),
                };
                if ["left", "right"].contains(&bucket) {
                    sum += entry.n;
                }
                if let Some(no) = record["no"].as_u64() {
                    self.number(bucket, no, record.get("born").unwrap_or(&record["n"]).as_u64().unwrap());
                }
                let twice = there.entry(number).or_default().insert((bucket, name.to_owned()), entry);
                assert!(twice.is_none(), "{name} in {bucket} is there twice");
            }
        }
        assert_eq!(sum, CLIENTS * AMOUNT, "a transaction is there in part");
        let told: Vec<_> = self.clients.iter_mut().flat_map(|client| client.numbers.drain(..)).collect();
        for (bucket, no, request) in told {
            self.number(bucket, no, request);
        }
        (there, at)
    }

    /// A number of a counter was seen.
    fn number(&mut self, bucket: &'static str, no: u64, request: u64) {
        let first = *self.numbers.entry((bucket, no)).or_insert(request);
        assert_eq!(first, request, "number {no} of {bucket} was given twice");
    }

    /// The watcher comes back and must see what is there.
    async fn watch(&mut self, control: &mut Control, epoch: &str) {
        let mut request = json!({"type": "store.subscribe", "query": {"bucket": "items"}, "mode": "patch"});
        let came_back = self.watcher.position > 0;
        if came_back {
            request["resume"] = json!({"epoch": epoch, "position": self.watcher.position});
        }
        let answer = control.data(request).await;
        self.watcher.begin(&answer);
        self.resumed += u32::from(answer["resumed"] == true);
        let there = control.data(json!({"type": "store.all", "bucket": "items"})).await;
        assert_eq!(self.watcher.data, there, "what a live query shows, came back: {came_back}");
        control.data(json!({"type": "store.unsubscribe", "subscriptionId": answer["subscriptionId"]})).await;
    }

    /// Everybody works until the server is gone.
    fn load(&mut self, server: &Running) -> Load {
        let address = server.address;
        let clients = self.clients.drain(..).map(|client| tokio::spawn(work(client, address))).collect();
        let (watcher, epoch) = (std::mem::take(&mut self.watcher), self.epoch.clone().unwrap());
        (clients, tokio::spawn(watcher.watch(epoch, address)))
    }

    async fn unload(&mut self, (clients, watcher): Load) {
        for client in clients {
            self.clients.push(client.await.unwrap());
        }
        self.watcher = watcher.await.unwrap();
    }

    async fn all_that_is_fleeting_goes(&mut self, server: &Running) {
        let mut control = Control::connect(server).await;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while control.data(json!({"type": "store.count", "bucket": "fleeting"})).await != 0 {
            assert!(tokio::time::Instant::now() < deadline, "what has expired is still there");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Without what had expired.
fn alive(state: &State, at: u64) -> State {
    let alive = state.iter().filter(|(_, entry)| entry.expires.is_none_or(|expires| expires > at));
    alive.map(|(place, entry)| (place.clone(), entry.clone())).collect()
}

/// Sends requests, some at a time, until the server is gone.
async fn work(mut client: Client, address: std::net::SocketAddr) -> Client {
    let Some(mut socket) = Socket::connect(address).await else { return client };
    let hello = json!({"type": "hello", "extensions": ["position"]});
    if socket.call(1, hello).await.is_none() {
        return client;
    }
    let window = client.window();
    loop {
        while client.sent.len() < window {
            // From now on it may have happened.
            let sent = client.next();
            if socket.send(&sent.request).await.is_none() {
                return drained(client, socket).await;
            }
        }
        match socket.receive().await {
            Some(answer) => client.answered(&answer),
            None => return client,
        }
    }
}

/// Answers may have come before the connection broke.
async fn drained(mut client: Client, mut socket: Socket) -> Client {
    while let Some(answer) = socket.receive().await {
        client.answered(&answer);
    }
    client
}

/// A live query on all items, over all connections.
#[derive(Default)]
struct Watcher {
    position: u64,
    data: Value,
}

impl Watcher {
    /// The answer to a subscription.
    fn begin(&mut self, answer: &Value) {
        if answer["resumed"] == true {
            patch::apply(&mut self.data, &answer["patch"]);
        } else {
            self.data = answer["data"].clone();
        }
        self.position = answer["position"].as_u64().unwrap();
    }

    async fn watch(mut self, epoch: String, address: std::net::SocketAddr) -> Self {
        let Some(mut socket) = Socket::connect(address).await else { return self };
        let resume = json!({"epoch": epoch, "position": self.position});
        let subscribe = json!({"type": "store.subscribe", "query": {"bucket": "items"}, "mode": "patch", "resume": resume});
        let Some(answer) = socket.call(1, subscribe).await else { return self };
        self.begin(&answer["data"]);
        while let Some(push) = socket.receive().await {
            assert_eq!(push["type"], "push", "{push}");
            patch::apply(&mut self.data, &push["patch"]);
            self.position = push["position"].as_u64().unwrap();
        }
        self
    }
}

/// A connection to a server that nobody kills.
struct Control {
    socket: Socket,
    last: u64,
}

impl Control {
    async fn connect(server: &Running) -> Self {
        Self { socket: Socket::connect(server.address).await.expect("it was just started"), last: 0 }
    }

    /// Sends a request with its own id.
    async fn call(&mut self, request: Value) -> Value {
        let id = request["id"].as_u64().unwrap();
        self.socket.call(id, request).await.expect("the server is there")
    }

    async fn data(&mut self, mut request: Value) -> Value {
        self.last += 1;
        request["id"] = json!(self.last);
        let mut answer = self.call(request).await;
        assert_eq!(answer["type"], "result", "{answer}");
        answer["data"].take()
    }

    /// The answer to a request that was sent before; its data and position.
    async fn repeat(&mut self, request: &Value) -> (Value, Value) {
        let mut answer = self.call(request.clone()).await;
        assert_eq!(answer["type"], "result", "{answer}");
        (answer["data"].take(), answer["position"].take())
    }
}
