//! Rights that change while a connection is at work: its live queries do not wait for the end of that work, nor does a request
//! whose judgement takes its time pass by what held when it began.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Client, address, eventually, memory};
use dunlin_server::config::{Config, TokenSession};
use dunlin_server::{Authentication, Login, OwnedAccess, PermissionFault, Policy, Server, Session};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// What somebody waits behind, and how many wait there.
#[derive(Clone)]
struct Gate(Arc<Semaphore>, Arc<AtomicUsize>);

impl Gate {
    fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)), Arc::default())
    }

    async fn pass(&self) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.acquire().await.unwrap().forget();
    }

    /// Until so many have come, in all.
    async fn reached(&self, times: usize) {
        let came = || self.1.load(Ordering::SeqCst);
        eventually("somebody waits", async || came() >= times).await;
    }

    fn open(&self) {
        self.0.add_permits(1);
    }
}

type Answer = Pin<Box<dyn Future<Output = Authentication> + Send>>;

/// Knows `admin` and `writer` and, of the rest, those who end with a number: that is how long their session lasts. Of whoever
/// is called `slow` it knows nothing, behind the gate.
fn authenticator(gate: &Gate) -> impl Fn(Login) -> Answer + use<> {
    let gate = gate.clone();
    move |login: Login| {
        let gate = gate.clone();
        Box::pin(async move {
            if login.token == "slow" {
                gate.pass().await;
                return Ok(None);
            }
            let session = Session::new(&*login.token);
            Ok(Some(match login.token.strip_prefix("until-") {
                Some(end) => session.with_role("writer").expiring_at(end.parse()?),
                None => session.with_role(&*login.token),
            }))
        })
    }
}

async fn with_notes(server: &Server) {
    let store = server.store();
    let fields = json!({"id": {"type": "string"}});
    store.define_bucket("notes", json!({"key": "id", "schema": fields})).await.unwrap();
    store.define_query("all-notes", json!({"bucket": "notes"})).await.unwrap();
}

async fn logged_in(server: &Server, token: &str) -> Client {
    let mut client = Client::connect(address(server)).await;
    client.data(json!({"type": "auth.login", "token": token})).await;
    client
}

fn unix_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

/// Everything that comes until a live query ends.
async fn until_ended(client: &mut Client) -> Vec<Value> {
    let mut came = Vec::new();
    loop {
        let message = client.message().await;
        let is_end = message["event"] == "subscription_ended";
        came.push(message);
        if is_end {
            return came;
        }
    }
}

fn pushes(came: &[Value]) -> Vec<&Value> {
    came.iter().filter(|message| message["type"] == "push").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_pushed_by_old_rights_while_the_connection_is_at_work() {
    let gate = Gate::closed();
    let server = memory().authenticator(authenticator(&gate)).bind().await.unwrap();
    with_notes(&server).await;
    let mut client = logged_in(&server, "writer").await;
    client.data(json!({"type": "store.subscribe", "query": "all-notes"})).await;
    let mut admin = logged_in(&server, "admin").await;
    let kept =
        admin.data(json!({"type": "store.subscribe", "query": "all-notes"})).await["subscriptionId"].clone();
    client.send(json!({"type": "auth.login", "token": "slow"})).await;
    gate.reached(1).await;

    server.set_policy(Policy::parse(&json!({"check": [{"role": "writer", "result": false}]})).unwrap());
    server.store().insert("notes", json!({"id": "secret"})).await.unwrap();
    // It is told of the same view, and later than the other.
    assert_eq!(admin.push(&kept).await[0]["id"], "secret");
    gate.open();
    let came = until_ended(&mut client).await;
    assert_eq!(pushes(&came), [&Value::Null; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_pushed_behind_the_end_of_a_session_while_the_connection_is_at_work() {
    let gate = Gate::closed();
    let server = memory().authenticator(authenticator(&gate)).bind().await.unwrap();
    with_notes(&server).await;
    let end = unix_ms() + 2000;
    let mut client = logged_in(&server, &format!("until-{end}")).await;
    client.data(json!({"type": "store.subscribe", "query": "all-notes"})).await;
    let mut admin = logged_in(&server, "admin").await;
    let kept =
        admin.data(json!({"type": "store.subscribe", "query": "all-notes"})).await["subscriptionId"].clone();
    client.send(json!({"type": "auth.login", "token": "slow"})).await;
    gate.reached(1).await;

    eventually("the session has ended", async || unix_ms() > end).await;
    server.store().insert("notes", json!({"id": "secret"})).await.unwrap();
    assert_eq!(admin.push(&kept).await[0]["id"], "secret");
    gate.open();
    let came = until_ended(&mut client).await;
    assert_eq!(pushes(&came), [&Value::Null; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_judged_anew_if_rights_changed_while_it_was_judged() {
    let (gate, asked) = (Gate::closed(), Gate::closed());
    let asks = asked.clone();
    let server =
        memory().authenticator(authenticator(&gate)).permissions_async(move |access: OwnedAccess| {
            let asks = asks.clone();
            async move {
                if access.operation == "store.insert" {
                    asks.pass().await;
                }
                // Left to the policy.
                Ok::<Option<bool>, PermissionFault>(None)
            }
        });
    let server = server.bind().await.unwrap();
    with_notes(&server).await;
    let mut client = logged_in(&server, "writer").await;
    let insert = json!({"type": "store.insert", "bucket": "notes", "data": {"id": "a"}});
    let id = client.send(insert).await;
    asked.reached(1).await;
    server.set_policy(Policy::parse(&json!({"check": [{"role": "writer", "result": false}]})).unwrap());
    asked.open();
    // Asked once more, because it is another question now.
    asked.open();
    assert_eq!(client.answer(id).await["code"], "FORBIDDEN");

    // And the same where it is the session that has ended.
    server.set_policy(Policy::parse(&json!({})).unwrap());
    let end = unix_ms() + 2000;
    let mut client = logged_in(&server, &format!("until-{end}")).await;
    let id = client.send(json!({"type": "store.insert", "bucket": "notes", "data": {"id": "b"}})).await;
    asked.reached(3).await;
    eventually("the session has ended", async || unix_ms() > end).await;
    asked.open();
    assert_eq!(client.answer(id).await["code"], "UNAUTHORIZED");
    assert_eq!(server.store().snapshot().bucket("notes").unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_worth_nothing_by_itself_once_somebody_says_what_roles_mean() {
    let told = |permissions: Option<Value>| {
        let mut auth = json!({"tokens": {"t": {"userId": "u", "roles": ["customer"]}}});
        if let Some(permissions) = permissions {
            auth["permissions"] = permissions;
        }
        let text = json!({"auth": auth, "storage": {"kind": "memory"}, "port": 0}).to_string();
        Config::parse("test.json", &text).unwrap().config
    };
    let server = Server::builder().config(told(None)).bind().await.unwrap();
    with_notes(&server).await;
    let mut client = logged_in(&server, "t").await;
    let count = json!({"type": "store.count", "bucket": "notes"});
    let clear = json!({"type": "store.clear", "bucket": "notes"});
    client.data(clear.clone()).await;

    let rules = json!({"rules": [{"role": "customer", "allow": "store.count", "buckets": ["notes"]}]});
    server.reconfigure(&told(Some(rules.clone()))).unwrap();
    client.data(count.clone()).await;
    assert_eq!(client.code(clear.clone()).await, "FORBIDDEN", "as after a restart");
    server.reconfigure(&told(None)).unwrap();
    client.data(clear.clone()).await;
    server.set_policy(Policy::parse(&rules).unwrap());
    client.data(count).await;
    assert_eq!(client.code(clear).await, "FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_for_a_user_is_not_for_whoever_is_not_logged_in() {
    let tokens = [("t".to_owned(), TokenSession::new("anonymous"))];
    let mut config = Config::default();
    config.auth.required = Some(false);
    config.auth.anonymous = Some("nobody".into());
    config.storage.kind = dunlin_server::config::StorageKind::Memory;
    config.port = 0;
    let policy = Policy::parse(&json!({"check": [{"userId": "anonymous", "result": true}]})).unwrap();
    let server = Server::builder().config(config).tokens(tokens).policy(policy).bind().await.unwrap();
    with_notes(&server).await;
    let count = json!({"type": "store.count", "bucket": "notes"});
    let mut nobody = Client::connect(address(&server)).await;
    assert_eq!(nobody.code(count.clone()).await, "FORBIDDEN");
    assert_eq!(nobody.code(json!({"type": "store.buckets"})).await, "FORBIDDEN");
    let mut user = logged_in(&server, "t").await;
    user.data(count).await;
}
