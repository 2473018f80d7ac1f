//! Who may do what with events, facts and rules, and what rules may do.

use std::sync::{Arc, Mutex};

use dunlin_server::{Access, Config, Policy, RulesOptions, Server, ServerBuilder, Session, Verdict};
use serde_json::{Value, json};

use super::common::{Client, address, eventually};
use super::{emit, register, relay};

/// A server whose tokens are `role,role`.
fn with(auth: &Value) -> ServerBuilder {
    let roles = ["admin", "writer", "reader", "guest", "keeper", "admin,keeper"];
    let tokens: serde_json::Map<String, Value> = roles
        .iter()
        .map(|roles| {
            let session = json!({"userId": "u1", "roles": roles.split(',').collect::<Vec<_>>()});
            ((*roles).to_owned(), session)
        })
        .collect();
    let mut auth = auth.clone();
    auth["tokens"] = tokens.into();
    let text = json!({"auth": auth, "storage": {"kind": "memory"}, "port": 0, "rules": true}).to_string();
    Server::builder().config(Config::parse("test.json", &text).unwrap().config)
}

async fn logged_in(server: &Server, token: &str) -> Client {
    let mut client = Client::connect(address(server)).await;
    client.data(json!({"type": "auth.login", "token": token})).await;
    client
}

fn set(key: &str) -> Value {
    json!({"type": "rules.setFact", "key": key, "value": 1})
}

fn subscribe(pattern: &str) -> Value {
    json!({"type": "rules.subscribe", "pattern": pattern})
}

/// Whether a request is refused for want of rights.
async fn forbidden(client: &mut Client, request: Value) -> bool {
    let answer = client.call(request).await;
    assert!(answer["type"] == "result" || answer["code"] == "FORBIDDEN", "{answer}");
    answer["type"] == "error"
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_roles_reach_their_tiers() {
    let server = with(&json!({})).bind().await.unwrap();
    let rule = relay("r", "a");
    let operations = [
        (json!({"type": "rules.getFact", "key": "k"}), 0),
        (json!({"type": "rules.getAllFacts"}), 0),
        (json!({"type": "rules.stats"}), 0),
        (subscribe("a"), 0),
        (emit("a", &json!({})), 1),
        (set("k"), 1),
        (json!({"type": "rules.deleteFact", "key": "k"}), 1),
        (json!({"type": "rules.validateRule", "rule": rule}), 2),
        (json!({"type": "rules.getRules"}), 2),
        (json!({"type": "rules.groups"}), 2),
        (json!({"type": "rules.timers"}), 2),
        (json!({"type": "rules.deadLetters"}), 2),
        (json!({"type": "rules.cancelTimer", "name": "t"}), 2),
        (json!({"type": "rules.test", "rule": rule, "event": {"topic": "a"}}), 2),
    ];
    for (reached, role) in ["reader", "writer", "admin"].into_iter().enumerate() {
        let mut client = logged_in(&server, role).await;
        for (operation, tier) in &operations {
            assert_eq!(
                forbidden(&mut client, operation.clone()).await,
                reached < *tier,
                "{role} {operation}"
            );
        }
    }
    let mut reader = logged_in(&server, "reader").await;
    let answer = reader.call(register(&rule)).await;
    assert_eq!(answer["message"], "Role level insufficient for rules.registerRule (requires admin)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restriction_to_topics_holds_for_topics_keys_patterns_and_rules_and_for_no_decoy() {
    let rules = json!({"default": "deny", "rules": [
        {"role": "guest", "allow": "rules.*", "topics": ["order.*", "user:*"]},
        {"role": "keeper", "allow": "*", "buckets": ["mine"]},
    ]});
    let server = with(&json!({"permissions": rules})).bind().await.unwrap();
    let mut guest = logged_in(&server, "guest").await;
    let decoy = |mut request: Value| {
        for field in ["topic", "key", "pattern", "ruleId"] {
            if request.get(field).is_none() {
                request[field] = json!("order.x");
            }
        }
        request
    };
    let query = |pattern: &str| json!({"type": "rules.queryFacts", "pattern": pattern});
    for (request, allowed) in [
        (emit("order.created", &json!({})), true),
        (emit("payment.made", &json!({})), false),
        (emit("order", &json!({})), false),
        (set("user:1"), true),
        (set("user:1:name"), false),
        (set("secret"), false),
        (subscribe("order.*"), true),
        (subscribe("order.*.paid"), true),
        (subscribe("*"), false),
        (subscribe("*.created"), false),
        (query("user:*"), true),
        (query("user:7"), true),
        (query("*"), false),
        (json!({"type": "rules.getAllFacts"}), false),
        (json!({"type": "rules.stats"}), false),
        (register(&relay("order.vip", "x")), true),
        (register(&relay("vip", "x")), false),
        (json!({"type": "rules.getRule", "ruleId": "order.vip"}), true),
        (json!({"type": "rules.getRules"}), false),
        (json!({"type": "store.all", "bucket": "_facts"}), false),
    ] {
        assert_eq!(!forbidden(&mut guest, decoy(request.clone())).await, allowed, "{request}");
    }
    // What is restricted to buckets is about records.
    let mut keeper = logged_in(&server, "keeper").await;
    assert!(forbidden(&mut keeper, emit("order.created", &json!({}))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn exceptions_name_topics_keys_and_rules() {
    let rules = json!({"default": "deny", "check": [
        {"role": "guest", "operation": "rules.emit", "resource": "public", "result": true},
        {"role": "guest", "operation": "rules.setFact", "resource": "k", "result": true},
        {"role": "keeper", "operation": "rules.getRule", "resource": "*", "result": true},
        {"role": "guest", "operation": "rules.getRule", "resource": "r", "result": true},
    ]});
    let server = with(&json!({"permissions": rules})).bind().await.unwrap();
    server.rules().register(relay("r", "a")).await.unwrap();
    let get = json!({"type": "rules.getRule", "ruleId": "r"});
    let mut guest = logged_in(&server, "guest").await;
    for (request, refused) in [
        (emit("public", &json!({})), false),
        (emit("private", &json!({})), true),
        (set("k"), false),
        (set("l"), true),
        (get.clone(), false),
    ] {
        assert_eq!(forbidden(&mut guest, request.clone()).await, refused, "{request}");
    }
    let mut keeper = logged_in(&server, "keeper").await;
    assert!(!forbidden(&mut keeper, get).await, "in protocol 1.0.0 every rule is *");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_sees_what_is_really_touched() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&seen);
    let server = Server::builder()
        .memory()
        .port(0)
        .rules(RulesOptions::on())
        .authenticator(|_| async { Ok(Some(Session::new("u").with_role("admin"))) })
        .permissions(move |access: &Access<'_>| {
            noted.lock().unwrap().push(format!("{} {:?}", access.operation, access.resources));
            Verdict::Abstain
        })
        .bind()
        .await
        .unwrap();
    let mut client = logged_in(&server, "t").await;
    for request in [emit("a.b", &json!({})), set("k:1"), subscribe("a.*"), json!({"type": "rules.getRules"})]
    {
        client.data(request).await;
    }
    let expected = [
        r#"rules.emit [Topic("a.b")]"#,
        r#"rules.setFact [Key("k:1")]"#,
        r#"rules.subscribe [TopicPattern("a.*")]"#,
        "rules.getRules [Rules]",
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_the_bucket_of_facts_needs_the_right_to_all_facts() {
    let rules = json!({"default": "deny", "rules": [
        {"role": "guest", "allow": "store.*"},
        {"role": "keeper", "allow": ["store.*", "rules.getAllFacts"]},
    ]});
    let server = with(&json!({"permissions": rules})).bind().await.unwrap();
    server.rules().set_fact("k", json!(1)).await.unwrap();
    server.store().define_query("facts", json!({"bucket": "_facts"})).await.unwrap();
    for (role, refused) in [("guest", true), ("keeper", false)] {
        let mut client = logged_in(&server, role).await;
        for request in [
            json!({"type": "store.get", "bucket": "_facts", "key": "k"}),
            json!({"type": "store.all", "bucket": "_facts"}),
            json!({"type": "store.subscribe", "query": "facts"}),
            json!({"type": "store.subscribe", "query": {"bucket": "_facts"}}),
            json!({"type": "store.explain", "bucket": "_facts"}),
            json!({"type": "store.transaction", "operations": [{"op": "get", "bucket": "_facts", "key": "k"}]}),
        ] {
            assert_eq!(forbidden(&mut client, request.clone()).await, refused, "{role} {request}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_end_with_the_rights_and_with_the_session() {
    let allow = |topics: Value| json!({"rules": [{"role": "guest", "allow": "rules.*", "topics": topics}]});
    let server = with(&json!({"permissions": allow(json!(["a.*", "b.*"]))})).bind().await.unwrap();
    let mut guest = logged_in(&server, "guest").await;
    let (a, b) = (guest.data(subscribe("a.*")).await, guest.data(subscribe("b.*")).await);
    server.set_policy(Policy::parse(&allow(json!(["b.*"]))).unwrap());
    let ended = guest.system().await;
    assert_eq!(
        (&ended["event"], &ended["subscriptionId"], &ended["code"]),
        (&json!("subscription_ended"), &a["subscriptionId"], &json!("FORBIDDEN"))
    );
    server.rules().emit("a.x", json!({})).await.unwrap();
    server.rules().emit("b.x", json!({})).await.unwrap();
    assert_eq!(guest.push(&b["subscriptionId"]).await["topic"], "b.x");
    guest.data(json!({"type": "auth.logout"})).await;
    let ended = guest.system().await;
    assert_eq!(ended["subscriptionId"], b["subscriptionId"]);
    eventually("its place is free", async || {
        server.stats().await.unwrap()["connections"]["totalRulesSubscriptions"] == json!(0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gives_a_rule_rights_that_he_does_not_have() {
    let rules = json!({"rules": [{"role": "keeper", "allow": "rules.*"}]});
    let server = with(&json!({"permissions": rules})).bind().await.unwrap();
    let running = |id: &str, run_as: Value| {
        let mut rule = relay(id, "a");
        rule["runAs"] = run_as;
        rule
    };
    let (own, others) = (json!({"roles": ["keeper"]}), json!({"roles": ["writer"]}));
    let mut keeper = logged_in(&server, "keeper").await;
    for (run_as, refused) in [
        (own.clone(), false),
        (others.clone(), true),
        (json!({"roles": ["keeper", "writer"]}), true),
        (json!({"roles": [], "userId": "u1"}), false),
        (json!({"roles": [], "userId": "u2"}), true),
    ] {
        let id = format!("r{}", run_as.to_string().len());
        assert_eq!(
            forbidden(&mut keeper, register(&running(&id, run_as.clone()))).await,
            refused,
            "{run_as}"
        );
    }
    keeper.data(register(&running("mine", own.clone()))).await;
    server.rules().register(running("theirs", others.clone())).await.unwrap();
    let update =
        |id: &str, updates: Value| json!({"type": "rules.updateRule", "ruleId": id, "updates": updates});
    for (id, updates, refused) in [
        ("mine", json!({"priority": 1}), false),
        ("mine", json!({"runAs": others}), true),
        // What it would do it would do with their rights.
        ("theirs", json!({"actions": []}), true),
        ("theirs", json!({"runAs": own}), true),
    ] {
        assert_eq!(forbidden(&mut keeper, update(id, updates.clone())).await, refused, "{id} {updates}");
    }
    server.rules().update("mine", json!({"runAs": others})).await.unwrap();
    server.rules().update("mine", json!({"runAs": own})).await.unwrap();
    let back = |version| json!({"type": "rules.rollback", "ruleId": "mine", "version": version});
    assert!(forbidden(&mut keeper, back(3)).await);
    assert!(!forbidden(&mut keeper, back(1)).await);
    // The built-in roles include each other.
    let mut admin = logged_in(&server, "admin").await;
    assert!(!forbidden(&mut admin, register(&running("by-admin", others))).await);
    assert!(forbidden(&mut admin, register(&running("of-keeper", own))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_writes_is_judged_by_the_roles_it_runs_as_each_time() {
    let rules = json!({
        "rules": [{"role": "keeper", "allow": "store.*", "buckets": ["log"]}],
        "rows": [{"role": "*", "bucket": "log", "write": {"by": "{{ session.userId }}"}}],
    });
    let server = with(&json!({"permissions": rules})).bind().await.unwrap();
    for bucket in ["log", "other"] {
        let schema = json!({"id": {"type": "string"}, "by": {"type": "string"}});
        server.store().define_bucket(bucket, json!({"key": "id", "schema": schema})).await.unwrap();
    }
    let write = |id: &str, bucket: &str, by: &str, run_as: Value| {
        json!({"id": id, "name": id, "trigger": {"type": "event", "topic": id}, "runAs": run_as, "actions": [
            {"type": "try_catch", "try": [{"type": "store_insert", "bucket": bucket, "data": {"id": id, "by": by}}],
             "catch": {"as": "why", "actions": [{"type": "set_fact", "key": format!("why:{id}"), "value": {"ref": "var.why.code"}}]}},
        ]})
    };
    let handle = server.rules();
    let keeper = json!({"roles": ["keeper"]});
    for (id, bucket, by, run_as, why) in [
        ("good", "log", "rule:good", keeper.clone(), None),
        ("named", "log", "ada", json!({"roles": ["keeper"], "userId": "ada"}), None),
        ("elsewhere", "other", "rule:elsewhere", keeper.clone(), Some("FORBIDDEN")),
        ("anothers", "log", "somebody", keeper.clone(), Some("FORBIDDEN")),
        ("nobody", "log", "rule:nobody", json!({"roles": []}), Some("FORBIDDEN")),
    ] {
        handle.register(write(id, bucket, by, run_as)).await.unwrap();
        handle.emit(id, json!({})).await.unwrap();
        assert_eq!(handle.get_fact(&format!("why:{id}")).unwrap(), why.map(|why| json!(why)), "{id}");
        let there = server.store().snapshot().bucket(bucket).unwrap().get(&json!(id)).is_some();
        assert_eq!(there, why.is_none(), "{id}");
    }
    server.set_policy(Policy::parse(&json!({"default": "deny"})).unwrap());
    server.store().delete("log", json!("good")).await.unwrap();
    handle.emit("good", json!({})).await.unwrap();
    assert_eq!(handle.get_fact("why:good").unwrap(), Some(json!("FORBIDDEN")));
}
