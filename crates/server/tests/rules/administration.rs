//! Rules are registered, changed, read, undone and tried out.

use dunlin_server::RulesOptions;
use serde_json::{Value, json};

use super::common::{Client, address, memory};
use super::{client, emit, has_members, register, relay};

fn about(operation: &str, id: &str) -> Value {
    json!({"type": format!("rules.{operation}"), "ruleId": id})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_registered_read_changed_and_removed() {
    let (_server, mut client) = client().await;
    let registered = client.data(register(&relay("r", "a"))).await;
    assert!(has_members(&registered, &["id", "name", "version", "createdAt", "updatedAt"]), "{registered}");
    assert_eq!((&registered["name"], &registered["version"]), (&json!("Rule r"), &json!(1)));
    let mut whole = relay("r", "a");
    for member in ["version", "createdAt", "updatedAt"] {
        whole[member] = registered[member].clone();
    }
    assert_eq!(client.data(about("getRule", "r")).await, whole);
    let grouped = json!({"type": "rules.createGroup", "group": {"id": "g", "name": "G"}});
    client.data(grouped).await;
    let mut second = relay("s", "b");
    second["group"] = json!("g");
    client.data(register(&second)).await;
    let summary = |id: &str, version| json!({"id": id, "name": format!("Rule {id}"), "enabled": true, "priority": 100, "version": version, "tags": ["test"]});
    let (first, mut last) = (summary("r", 1), summary("s", 2));
    last["group"] = json!("g");
    assert_eq!(client.data(json!({"type": "rules.getRules"})).await, json!({"rules": [first, last]}));
    let update =
        json!({"type": "rules.updateRule", "ruleId": "r", "updates": {"priority": 1, "id": "other"}});
    let updated = client.data(update).await;
    assert!(has_members(&updated, &["id", "version", "updatedAt"]), "{updated}");
    assert_eq!((&updated["id"], &updated["version"]), (&json!("r"), &json!(3)));
    for (operation, enabled) in [("disableRule", false), ("disableRule", false), ("enableRule", true)] {
        let answer = client.data(about(operation, "r")).await;
        assert_eq!(answer, json!({"ruleId": "r", "enabled": enabled}));
    }
    let removed = client.data(about("unregisterRule", "r")).await;
    assert_eq!(removed, json!({"ruleId": "r", "unregistered": true}));
    for operation in ["getRule", "unregisterRule", "enableRule", "disableRule"] {
        let answer = client.call(about(operation, "r")).await;
        assert_eq!(
            (&answer["code"], &answer["message"]),
            (&json!("NOT_FOUND"), &json!("Rule \"r\" not found")),
            "{operation}"
        );
    }
    let update = json!({"type": "rules.updateRule", "ruleId": "r", "updates": {}});
    assert_eq!(client.code(update).await, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_rule_is_told_and_changes_nothing() {
    let (_server, mut client) = client().await;
    client.data(register(&relay("r", "a"))).await;
    // Before anything else is looked at.
    let again = client.call(register(&json!({"id": "r"}))).await;
    assert_eq!(
        (&again["code"], &again["message"]),
        (&json!("ALREADY_EXISTS"), &json!("Rule \"r\" already exists"))
    );
    let invalid = json!({"id": "x", "name": "", "trigger": {"type": "event"}});
    let refused = client.call(register(&invalid)).await;
    assert_eq!(
        (&refused["code"], &refused["message"]),
        (&json!("VALIDATION_ERROR"), &json!("Rule validation failed"))
    );
    let issues = refused["details"].as_array().unwrap();
    assert!(
        issues.len() >= 2
            && issues.iter().all(|issue| has_members(issue, &["path", "message", "severity", "code"]))
    );
    let mut lost = relay("x", "a");
    lost["group"] = json!("nowhere");
    let refused = client.call(register(&lost)).await;
    assert_eq!(
        (&refused["code"], &refused["details"][0]["path"]),
        (&json!("VALIDATION_ERROR"), &json!("group"))
    );
    assert_eq!(client.code(about("getRule", "x")).await, "NOT_FOUND");
    let update =
        json!({"type": "rules.updateRule", "ruleId": "r", "updates": {"trigger": {"type": "nonsense"}}});
    assert_eq!(client.code(update).await, "VALIDATION_ERROR");
    assert_eq!(client.data(about("getRule", "r")).await["version"], 1);
    let validate = |rule: &Value| json!({"type": "rules.validateRule", "rule": rule});
    let found = client.data(validate(&invalid)).await;
    assert!(found["valid"] == json!(false) && !found["errors"].as_array().unwrap().is_empty(), "{found}");
    let found = client.data(validate(&relay("y", "a"))).await;
    assert_eq!(found, json!({"valid": true, "errors": [], "warnings": []}));
    assert_eq!(client.code(json!({"type": "rules.validateRule", "rule": []})).await, "VALIDATION_ERROR");
    assert_eq!(client.data(json!({"type": "rules.getRules"})).await["rules"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_can_be_read_compared_and_undone() {
    let (_server, mut client) = client().await;
    client.data(register(&relay("a", "t"))).await;
    client.data(register(&relay("a/b", "t"))).await;
    client.data(json!({"type": "rules.updateRule", "ruleId": "a", "updates": {"priority": 7}})).await;
    client.data(about("disableRule", "a")).await;
    let mut history = about("history", "a");
    history["limit"] = json!(2);
    let found = client.data(history.clone()).await;
    let kinds = |found: &Value| -> Vec<String> {
        found["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["changeType"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(kinds(&found), ["disabled", "updated"]);
    assert_eq!((&found["totalVersions"], &found["hasMore"]), (&json!(3), &json!(true)));
    history["offset"] = json!(2);
    let found = client.data(history).await;
    assert_eq!((kinds(&found), &found["hasMore"]), (vec!["registered".to_owned()], &json!(false)));
    assert_eq!(found["entries"][0]["rule"]["priority"], 100);
    let diff = json!({"type": "rules.diff", "ruleId": "a", "from": 1, "to": 3});
    let found = client.data(diff).await;
    assert_eq!(
        found,
        json!({"ruleId": "a", "fromVersion": 1, "toVersion": 3, "changes": [
            {"field": "priority", "oldValue": 100, "newValue": 7},
            {"field": "enabled", "oldValue": true, "newValue": false},
        ]})
    );
    let back = client.data(json!({"type": "rules.rollback", "ruleId": "a", "version": 1})).await;
    assert!(has_members(&back, &["id", "version", "updatedAt"]), "{back}");
    assert_eq!(client.data(about("getRule", "a")).await["priority"], 100);
    client.data(about("unregisterRule", "a")).await;
    let found = client.data(about("history", "a")).await;
    assert_eq!(kinds(&found), ["unregistered", "rolled_back", "disabled", "updated", "registered"]);
    client.data(json!({"type": "rules.rollback", "ruleId": "a", "version": 2})).await;
    assert_eq!(client.data(about("getRule", "a")).await["priority"], 7, "it comes back");
    assert_eq!(client.code(about("history", "nobody")).await, "NOT_FOUND");
    for wrong in [
        json!({"type": "rules.diff", "ruleId": "a", "from": 1, "to": 99}),
        json!({"type": "rules.rollback", "ruleId": "a", "version": 99}),
    ] {
        assert_eq!(client.code(wrong).await, "NOT_FOUND");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_switch_their_rules() {
    let (_server, mut client) = client().await;
    let group = client.data(json!({"type": "rules.createGroup", "group": {"id": "g", "name": "G"}})).await;
    assert!(has_members(&group, &["id", "name", "enabled", "createdAt", "updatedAt"]), "{group}");
    let mut rule = relay("r", "a");
    rule["group"] = json!("g");
    client.data(register(&rule)).await;
    let all = client.data(json!({"type": "rules.groups"})).await;
    assert_eq!((&all["groups"][0]["id"], &all["groups"][0]["rules"]), (&json!("g"), &json!(1)));
    let off = json!({"type": "rules.updateGroup", "groupId": "g", "updates": {"enabled": false}});
    assert_eq!(client.data(off).await["enabled"], false);
    client.data(emit("a", &json!({}))).await;
    assert_eq!(client.data(json!({"type": "rules.stats"})).await["rulesExecuted"], 0);
    let removed = client.data(json!({"type": "rules.deleteGroup", "groupId": "g"})).await;
    assert_eq!(removed, json!({"groupId": "g", "deleted": true}));
    client.data(emit("a", &json!({}))).await;
    assert_eq!(client.data(json!({"type": "rules.stats"})).await["rulesExecuted"], 1);
    assert_eq!(client.code(json!({"type": "rules.deleteGroup", "groupId": "g"})).await, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_are_set_listed_and_cancelled() {
    let (_server, mut client) = client().await;
    let timer = |name: &str| json!({"type": "rules.setTimer", "timer": {"name": name, "duration": "1h", "onExpire": {"topic": "due", "data": {"n": 1}}}});
    let set = client.data(timer("pay:1")).await;
    assert_eq!((&set["name"], &set["onExpire"]["topic"]), (&json!("pay:1"), &json!("due")));
    client.data(timer("pay:2")).await;
    client.data(timer("other")).await;
    let names = |timers: &Value| -> Vec<String> {
        timers["timers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|timer| timer["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = client.data(json!({"type": "rules.timers"})).await;
    assert_eq!(names(&all), ["other", "pay:1", "pay:2"]);
    assert_eq!((&all["timers"][1]["fired"], &all["timers"][1]["missed"]), (&json!(0), &json!(0)));
    let some = client.data(json!({"type": "rules.timers", "pattern": "pay:*"})).await;
    assert_eq!(names(&some), ["pay:1", "pay:2"]);
    let cancel = json!({"type": "rules.cancelTimer", "name": "pay:1"});
    assert_eq!(client.data(cancel.clone()).await, json!({"cancelled": true}));
    assert_eq!(client.data(cancel).await, json!({"cancelled": false}));
    let wrong = json!({"type": "rules.setTimer", "timer": {"name": "x"}});
    assert_eq!(client.code(wrong).await, "VALIDATION_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firing_is_explained_and_a_rule_tried_out_without_effects() {
    let (_server, mut client) = client().await;
    let mut rule = relay("r", "a");
    rule["conditions"] = json!([{"source": {"type": "event", "field": "n"}, "operator": "gte", "value": 5}]);
    client.data(register(&rule)).await;
    let low = client.data(emit("a", &json!({"n": 1}))).await["id"].clone();
    let high = client.data(emit("a", &json!({"n": 9}))).await["id"].clone();
    for (event, fired) in [(&low, false), (&high, true)] {
        let why = client.data(json!({"type": "rules.explain", "ruleId": "r", "eventId": event})).await;
        assert_eq!((&why["fired"], &why["conditions"][0]["holds"]), (&json!(fired), &json!(fired)), "{why}");
    }
    let unknown = json!({"type": "rules.explain", "ruleId": "r", "eventId": "nothing"});
    assert_eq!(client.code(unknown).await, "NOT_FOUND");
    let trial = json!({"type": "rules.test", "rule": rule, "event": {"topic": "a", "data": {"n": 6}}});
    let found = client.data(trial).await;
    assert_eq!(
        (&found["fired"], &found["events"][0]["topic"]),
        (&json!(true), &json!("output.r")),
        "{found}"
    );
    let wrong = json!({"type": "rules.test", "rule": {"id": "x"}, "event": {"topic": "a"}});
    assert_eq!(client.code(wrong).await, "VALIDATION_ERROR");
    assert_eq!(client.data(json!({"type": "rules.stats"})).await["eventsProcessed"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_failed_for_good_are_listed_tried_again_and_thrown_away() {
    let server = memory()
        .rules(RulesOptions::on())
        .service("shop", "pay", |_| async { Err(dunlin_server::ServiceError::for_good("no money")) })
        .bind()
        .await
        .unwrap();
    let mut client = Client::connect(address(&server)).await;
    let rule = json!({"id": "r", "name": "r", "trigger": {"type": "event", "topic": "a"},
        "actions": [{"type": "call_service", "service": "shop", "method": "pay", "args": [1]}]});
    client.data(register(&rule)).await;
    client.data(emit("a", &json!({}))).await;
    let list = json!({"type": "rules.deadLetters"});
    super::common::eventually("the call has failed", async || {
        server.rules().dead_letters().unwrap().len() == 1
    })
    .await;
    let letters = client.data(list.clone()).await;
    let letter = &letters["deadLetters"][0];
    assert_eq!((&letter["rule"], &letter["error"]), (&json!("r"), &json!("no money")), "{letters}");
    let call = letter["id"].clone();
    let again = client.data(json!({"type": "rules.requeue", "callId": call})).await;
    assert_eq!(again, json!({"callId": call, "requeued": true}));
    super::common::eventually("it has failed again", async || {
        server.rules().dead_letters().unwrap().len() == 1
    })
    .await;
    let discard = json!({"type": "rules.discard", "callId": call});
    assert_eq!(client.data(discard.clone()).await, json!({"callId": call, "discarded": true}));
    assert_eq!(client.code(discard).await, "NOT_FOUND");
    assert_eq!(client.data(list).await, json!({"deadLetters": []}));
}
