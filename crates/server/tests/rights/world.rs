//! One world: a server, clients on pipes, one thread, virtual time. Time only passes when nobody has anything left to do, so
//! a millisecond of it is quiet.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dunlin_server::{Access, Authentication, Config, Login, Policy as Served, Server, Session as Told};
use dunlin_store::Filter;
use serde_json::{Value, json};

use crate::chance::Chance;
use crate::client::{Client, End, Kind, PIPE_BYTES};
use crate::model::{CODE, Model};
use crate::random;
use crate::requests::{QUERIES, Wish};
use crate::rights::{Opinion, Policy, Rule, Session};
use crate::tables::{BUCKETS, NOW, OnDelete, Tables, definition};
use crate::tally::Tally;

/// Batches of one world, and the most requests of a batch.
const BATCHES: usize = 60;
const BATCH: usize = 40;
/// Milliseconds within which everything must be quiet.
const PATIENCE: usize = 5_000;
/// What is told of the end of a world that failed.
const REMEMBERED: usize = 60;

thread_local! {
    /// What happened last, and whether all of it is printed.
    static PAST: RefCell<(VecDeque<String>, bool)> = const { RefCell::new((VecDeque::new(), false)) };
}

fn note(what: String) {
    PAST.with_borrow_mut(|(past, loud)| {
        if *loud {
            println!("{what:.2000}");
        }
        if past.len() == REMEMBERED {
            past.pop_front();
        }
        past.push_back(what);
    });
}

/// Runs the world of a seed to its end.
pub(crate) fn run(seed: u64, loud: bool) -> Tally {
    PAST.set((VecDeque::new(), loud));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let world = AssertUnwindSafe(|| runtime.block_on(tokio::task::unconstrained(live(seed))));
    catch_unwind(world).unwrap_or_else(|panic| {
        let past: Vec<String> = PAST.take().0.into_iter().map(|line| format!("  {line:.600}")).collect();
        eprintln!("the last that happened:\n{}\nRIGHTS_SEED={seed} repeats it", past.join("\n"));
        resume_unwind(panic)
    })
}

/// Rules of somebody by bucket.
type Rules = Box<dyn Fn(&str) -> Rc<Rule>>;

struct World {
    chance: Chance,
    tally: Tally,
    server: Server,
    callback: Arc<Mutex<Vec<Opinion>>>,
    model: Model,
    clients: Vec<Client>,
    next_marker: u32,
    /// What there was when everything was quiet the last time.
    calm: Tables,
    /// The rules that clients had in this batch before they logged in as somebody else, or out.
    earlier: Vec<(usize, Rules)>,
    /// The markers that each client may have seen since then, as far as somebody has asked.
    visible: HashMap<usize, BTreeSet<u32>>,
}

async fn live(seed: u64) -> Tally {
    let mut world = World::begin(seed).await;
    for _ in 0..BATCHES {
        world.batch().await;
    }
    (0..world.model.repeats).for_each(|_| world.tally.count("repeats"));
    world.tally
}

impl World {
    async fn begin(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let logged_in = *chance.pick(&[None, None, Some("guest"), Some("reader")]);
        let tokens: Vec<Session> = (0..10).map(|_| random::session(&mut chance, logged_in)).collect();
        let anonymous = chance.once_in(2).then(|| Session {
            user: None,
            roles: vec![(*chance.pick(&["guest", "reader", "writer"])).to_owned()],
            metadata: Value::Null,
            otherwise: None,
        });
        let policy = random::policy(&mut chance);
        note(format!("policy {policy}"));
        let mut config = Config::default();
        config.auth.required = Some(anonymous.is_none());
        config.auth.logged_in = logged_in.map(str::to_owned);
        config.auth.anonymous = anonymous.as_ref().map(|session| session.roles[0].clone());
        config.max_connections_per_ip = None;
        config.heartbeat.interval_ms = 86_400_000;
        let known = tokens.clone();
        let authenticator = move |login: Login| {
            let token = login.token.strip_prefix("token-").and_then(|token| token.parse::<usize>().ok());
            let session = token.and_then(|token| known.get(token)).map(|session| {
                let told = Told::new(session.user.clone().unwrap()).with_metadata(session.metadata.clone());
                session.roles.iter().fold(told, Told::with_role)
            });
            async move { Authentication::Ok(session) }
        };
        let mut server = Server::builder()
            .config(config)
            .memory()
            .clock(|| NOW)
            .authenticator(authenticator)
            .query(CODE, |ctx, _| {
                let filter = Filter::parse(json!({"open": true}).as_object().unwrap())?;
                let (teams, orders) = (ctx.bucket("teams")?, ctx.bucket("orders")?);
                let open = orders.count(&filter);
                let first = teams.find_one(&Filter::default()).map(|record| record.to_value());
                Ok(json!({"first": first, "open": open}))
            })
            .policy(Served::parse(&policy).unwrap());
        let callback = Arc::new(Mutex::new(Vec::new()));
        let opinions = chance.once_in(3).then(|| random::opinions(&mut chance));
        if let Some(opinions) = &opinions {
            callback.lock().unwrap().clone_from(opinions);
            let asked = Arc::clone(&callback);
            server = server.permissions(move |access: &Access<'_>| {
                let (user, touches) = (&access.session.user_id, |name: &str| access.touches_bucket(name));
                let opinions: MutexGuard<'_, Vec<Opinion>> = asked.lock().unwrap();
                let said = opinions.iter().find(|opinion| opinion.is_about(user, access.operation, touches));
                said.map(|opinion| opinion.allows)
            });
            note(format!("callback {opinions:?}"));
        }
        let server = server.build().await.unwrap();
        let clients = chance.within(2, 5);
        let on_delete = [(); 3].map(|()| {
            *chance.pick(&[OnDelete::Restrict, OnDelete::Cascade, OnDelete::SetNull, OnDelete::Cascade])
        });
        let model =
            Model::new(Tables::new(on_delete), (Policy(policy), opinions), tokens, anonymous, clients);
        for (place, name) in BUCKETS.iter().enumerate() {
            let indexes: Vec<&str> =
                ["owner", "tag", "n", "open"].into_iter().filter(|_| chance.once_in(3)).collect();
            let config = definition(place, on_delete[place], &indexes);
            server.store().define_bucket(name, config).await.unwrap();
        }
        let clients = (0..clients).map(|name| {
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            server.serve_stream(theirs, [127, 0, 0, 1].into());
            Client::new(name, ours)
        });
        let (tally, calm) = (Tally::default(), model.tables.clone());
        let mut world = Self {
            chance,
            tally,
            clients: clients.collect(),
            server,
            callback,
            model,
            next_marker: random::FRESH,
            calm,
            earlier: Vec::new(),
            visible: HashMap::new(),
        };
        world.define_queries().await;
        for _ in 0..30 {
            world.embedded_write().await;
        }
        for who in 0..world.clients.len() {
            if world.chance.once_in(2) {
                world.clients[who].positions = true;
                world.ask(who, json!({"type": "hello", "extensions": ["position"]}));
            }
            world.log_in(who);
        }
        world.quiet().await;
        world
    }

    async fn define_queries(&mut self) {
        for i in 0..QUERIES {
            let bucket = *self.chance.pick(&BUCKETS);
            let mut config = random::query(&mut self.chance, bucket, &Rule::default());
            if self.chance.once_in(2) {
                config["filter"] = json!({"owner": "{{ params.owner }}"});
            }
            let name = format!("q{i}");
            note(format!("query {name} {config}"));
            self.server.store().define_query(&name, config.clone()).await.unwrap();
            self.model.queries.insert(name, config);
        }
        self.model.queries.insert(CODE.to_owned(), json!(CODE));
    }

    /// Some requests of one client, or something that changes rights, or the program itself; then everything gets quiet.
    async fn batch(&mut self) {
        match self.chance.below(12) {
            0 => {
                self.new_policy();
                self.quiet().await;
            }
            2 if self.model.opinions.is_some() => {
                self.change_its_mind();
                self.quiet().await;
            }
            1 | 3 | 4 => {
                for _ in 0..self.chance.within(1, 6) {
                    self.embedded_write().await;
                }
            }
            _ => {}
        }
        let who = self.chance.below(self.clients.len());
        // Requests that are sent before the policy changes, and judged after it.
        let overtaken = self.chance.once_in(12);
        if overtaken {
            self.quiet().await;
        }
        let overtaken = overtaken.then(|| self.change_policy());
        for _ in 0..self.chance.within(1, BATCH) {
            let (model, client) = (&self.model, &self.clients[who]);
            let (chance, next_marker) = (&mut self.chance, &mut self.next_marker);
            let request = Wish { chance, model, who, next_marker }.request(client, overtaken.is_some());
            self.ask(who, request);
        }
        if let Some(policy) = overtaken {
            self.tally.count("judged by what came behind the request");
            self.clients[who].write();
            self.server.set_policy(policy);
        } else if self.chance.once_in(8) {
            self.log_in(who);
        } else if self.chance.once_in(30) {
            self.log_out(who);
        }
        self.quiet().await;
    }

    fn ask(&mut self, who: usize, request: Value) {
        self.tally.count("operations");
        let expected = self.model.expected(who, &request);
        let text = self.clients[who].ask(request, expected);
        note(format!("{who} > {text}"));
    }

    /// A login is the last request of a batch: what it ends is told before anything else is asked.
    fn log_in(&mut self, who: usize) {
        self.tally.count("logins");
        self.earlier.push((who, Box::new(self.model.rules(who))));
        let before = self.model.people[who].session.clone();
        let token = self.chance.below(self.model.tokens.len() + 1);
        self.ask(who, json!({"type": "auth.login", "token": format!("token-{token}")}));
        let now = self.model.people[who].session.as_ref();
        let user = |session: Option<&Session>| session.and_then(|session| session.user.clone());
        if user(before.as_ref()) == user(now) {
            self.judge_again(who);
        } else {
            self.end_all(who);
        }
    }

    fn log_out(&mut self, who: usize) {
        self.tally.count("logouts");
        self.earlier.push((who, Box::new(self.model.rules(who))));
        let before = self.model.people[who].session.is_some();
        self.ask(who, json!({"type": "auth.logout"}));
        if before {
            self.end_all(who);
        }
    }

    fn end_all(&mut self, who: usize) {
        self.clients[who].ending(|_, _, _| Some(End { must: true, code: "UNAUTHORIZED" }));
    }

    fn new_policy(&mut self) {
        let policy = self.change_policy();
        self.server.set_policy(policy);
    }

    /// The callback says other things from now on, and says so. Everything is quiet.
    fn change_its_mind(&mut self) {
        self.tally.count("changes of mind");
        let opinions = random::opinions(&mut self.chance);
        note(format!("callback {opinions:?}"));
        self.callback.lock().unwrap().clone_from(&opinions);
        self.model.opinions = Some(opinions);
        self.server.rights_changed();
        (0..self.clients.len()).for_each(|who| self.judge_again(who));
    }

    /// The model goes over to a new policy; what the server is to be told. Everything is quiet: whatever comes from now on holds
    /// nothing but what may be seen by the new one.
    fn change_policy(&mut self) -> Served {
        self.tally.count("policies");
        let policy = random::policy(&mut self.chance);
        note(format!("policy {policy}"));
        self.model.policy = Policy(policy.clone());
        self.model.rights_changed();
        (0..self.clients.len()).for_each(|who| self.judge_again(who));
        Served::parse(&policy).unwrap()
    }

    /// What becomes of the live queries of somebody whose rights may have changed.
    fn judge_again(&mut self, who: usize) {
        let positions = self.clients[who].positions;
        let (model, tally) = (&self.model, &mut self.tally);
        self.clients[who].ending(|query, patch, sight| {
            let watched = model.watched(who, query);
            let now = model.sight(who, &query.bound);
            let before = sight.clone();
            let other = now.comes_to != before.comes_to;
            // Two rules that come to the same may be different ones for the server.
            let otherwise = now.written != before.written;
            let counts = patch || positions;
            if watched.is_err() {
                return Some(End { must: true, code: "FORBIDDEN" });
            }
            if other && !counts {
                tally.count("went on under other rules");
            }
            if counts && otherwise {
                // What it has seen it has seen by the rules before, if it ends.
                return Some(End { must: other, code: "FORBIDDEN" });
            }
            *sight = now;
            None
        });
    }

    async fn embedded_write(&mut self) {
        self.tally.count("embedded writes");
        let bucket = *self.chance.pick(&BUCKETS);
        let mut key = random::key(&mut self.chance, bucket);
        let kind = *self.chance.pick(&["insert", "insert", "insert", "update", "update", "update", "delete"]);
        let rows = &self.model.tables.bucket(bucket).unwrap().rows;
        if kind == "update" && !rows.is_empty() {
            key = self.chance.pick(rows).key().to_owned();
        }
        let mut data =
            random::data(&mut self.chance, bucket, &Rule::default(), kind == "insert", &mut self.next_marker);
        let store = self.server.store();
        let (request, done) = match kind {
            "insert" => {
                data["id"] = json!(key);
                (json!({"bucket": bucket, "data": data}), store.insert(bucket, data.clone()).await.is_ok())
            }
            "update" => (
                json!({"bucket": bucket, "key": key, "data": data}),
                store.update(bucket, json!(key), data.clone()).await.is_ok(),
            ),
            _ => (json!({"bucket": bucket, "key": key}), store.delete(bucket, json!(key)).await.is_ok()),
        };
        note(format!("the program: {kind} {request}"));
        assert_eq!(self.model.embedded(kind, &request).is_ok(), done, "{kind} {request}");
    }

    /// Waits until nothing comes any more; then every live query shows what its watcher sees.
    async fn quiet(&mut self) {
        let (mut silent, mut ticks) = (0, 0);
        while silent < 2 {
            ticks += 1;
            assert!(ticks < PATIENCE, "it does not get quiet");
            self.clients.iter_mut().for_each(Client::write);
            tokio::time::sleep(Duration::from_millis(1)).await;
            let mut came = false;
            for who in 0..self.clients.len() {
                came |= self.read(who);
            }
            silent = if came || !self.clients.iter().all(Client::is_answered) { 0 } else { silent + 1 };
        }
        self.tally.count("quiet points");
        for (who, client) in self.clients.iter_mut().enumerate() {
            client.is_quiet();
            for (id, subscription) in &client.subscriptions {
                let watched = self.model.watched(who, &subscription.query);
                let right =
                    watched.as_ref().is_ok_and(|result| crate::client::same(result, &subscription.belief));
                assert!(
                    right,
                    "{id} of {who} should show {watched:?}, shows {}: {:?}",
                    subscription.belief, subscription.query
                );
            }
        }
        self.calm = self.model.tables.clone();
        self.model.changed.clear();
        self.earlier.clear();
        self.visible.clear();
    }

    fn read(&mut self, who: usize) -> bool {
        let mut came = false;
        while let Some(text) = self.clients[who].receive() {
            came = true;
            note(format!("{who} < {text}"));
            let kind = self.clients[who].take(&text, &mut self.tally);
            let known = match kind {
                Kind::Nothing => continue,
                Kind::Push => BTreeSet::new(),
                Kind::Told(request) => markers(&request).collect(),
            };
            for marker in markers(&text) {
                let shown = known.contains(&marker) || self.may_have_seen(who).contains(&marker);
                assert!(shown, "{who} may not see {marker}: {text}");
            }
        }
        came
    }

    /// The markers that somebody may have seen at some moment since everything was quiet.
    fn may_have_seen(&mut self, who: usize) -> &BTreeSet<u32> {
        let (model, calm, earlier) = (&self.model, &self.calm, &self.earlier);
        self.visible.entry(who).or_insert_with(|| {
            let mut seen = BTreeSet::new();
            let now: Rules = Box::new(model.rules(who));
            let before = earlier.iter().filter(|(whose, _)| *whose == who).map(|(_, rules)| rules);
            for rules in before.chain([&now]) {
                let calm = calm.names().flat_map(|name| {
                    calm.bucket(name).unwrap().rows.iter().map(move |row| (name, &row.record))
                });
                let since = model.changed.iter().map(|(name, record)| (*name, record));
                for (name, record) in calm.chain(since) {
                    let rule = rules(name);
                    if rule.sees(record) {
                        collect(&rule.stripped(record), &mut seen);
                    }
                }
            }
            seen
        })
    }
}

/// The numbers between tildes in a text.
fn markers(text: &str) -> impl Iterator<Item = u32> + '_ {
    text.split('~').filter_map(|part| part.parse().ok())
}

fn collect(value: &Value, seen: &mut BTreeSet<u32>) {
    match value {
        Value::String(text) => seen.extend(markers(text)),
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, seen)),
        Value::Object(members) => members.values().for_each(|member| collect(member, seen)),
        _ => {}
    }
}
