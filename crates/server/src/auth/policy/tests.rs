use dunlin_protocol::{Kind, Resource};
use serde_json::json;

use super::*;

fn policy(value: &Value) -> Policy {
    Policy::parse(value).unwrap()
}

fn bucket(name: &str) -> Resource<'_> {
    Resource::Bucket(name.into())
}

fn query(name: &str) -> Resource<'_> {
    Resource::Query(name.into())
}

/// Whether roles may do something: `Err` is the message.
fn may(policy: &Policy, roles: &[&str], kind: Kind, resources: &[Resource<'_>]) -> Result<(), String> {
    let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    policy.grants(&roles).decide("u1", kind, resources).map_err(|error| error.message)
}

#[test]
fn without_rules_the_built_in_roles_reach_their_tiers_and_others_nothing() {
    let policy = Policy::default();
    for kind in Kind::ALL {
        for (role, reaches) in [("reader", 0), ("writer", 1), ("admin", 2), ("user", -1), ("", -1)] {
            let allowed = kind.tier().is_none_or(|tier| tier as i32 <= reaches);
            let decided = may(&policy, &[role], *kind, &[bucket("b")]);
            assert_eq!(decided.is_ok(), allowed, "{role} {}", kind.as_str());
        }
    }
    let refused = may(&policy, &["reader"], Kind::Insert, &[bucket("b")]).unwrap_err();
    assert_eq!(refused, "Role level insufficient for store.insert (requires write)");
    let refused = may(&policy, &["user"], Kind::Insert, &[bucket("b")]).unwrap_err();
    assert_eq!(refused, "No permission for store.insert on b");
}

#[test]
fn rules_let_roles_do_more_and_never_beyond_their_tier() {
    let policy = policy(&json!({"default": "deny", "rules": [
        {"role": "editor", "allow": ["store.insert", "store.get"], "buckets": ["posts", "pages"]},
        {"role": "editor", "allow": "store.get", "buckets": ["users"]},
        {"role": "viewer", "allow": "*"},
    ]}));
    assert!(may(&policy, &["editor"], Kind::Insert, &[bucket("posts")]).is_ok());
    assert!(may(&policy, &["editor"], Kind::Get, &[bucket("users")]).is_ok());
    assert!(may(&policy, &["editor"], Kind::Insert, &[bucket("users")]).is_err());
    assert!(may(&policy, &["editor"], Kind::Delete, &[bucket("posts")]).is_err());
    // Two rules together cover what neither does alone.
    assert!(may(&policy, &["editor"], Kind::Get, &[bucket("users"), bucket("pages")]).is_ok());
    assert!(may(&policy, &["editor"], Kind::Get, &[bucket("users"), bucket("secrets")]).is_err());
    assert!(may(&policy, &["viewer"], Kind::DropBucket, &[bucket("posts")]).is_ok());
    let refused = may(&policy, &["viewer", "reader"], Kind::Insert, &[bucket("posts")]).unwrap_err();
    assert_eq!(refused, "Role level insufficient for store.insert (requires write)");
    assert!(may(&policy, &["admin"], Kind::Get, &[bucket("posts")]).is_err(), "denied by default");
}

#[test]
fn some_buckets_are_not_the_server_and_not_a_query_by_its_name() {
    let policy = policy(&json!({"rules": [{"role": "guest", "allow": "*", "buckets": ["news"]}]}));
    let guest = |kind, resources: &[Resource<'_>]| may(&policy, &["guest"], kind, resources).is_ok();
    assert!(guest(Kind::Subscribe, &[query("latest"), bucket("news")]));
    assert!(!guest(Kind::Subscribe, &[query("news"), bucket("users")]));
    assert!(!guest(Kind::Subscribe, &[query("news")]), "nobody knows what it would read");
    assert!(!guest(Kind::UndefineQuery, &[query("news")]));
    assert!(guest(Kind::Buckets, &[Resource::Server]) && guest(Kind::StoreStats, &[Resource::Server]));
    for kind in
        [Kind::ServerStats, Kind::ServerConnections, Kind::Backup, Kind::ListQueries, Kind::RevokeSessions]
    {
        assert!(!guest(kind, &[Resource::Server]), "{}", kind.as_str());
    }
    assert!(guest(Kind::Unsubscribe, &[Resource::Own]));
}

#[test]
fn the_default_and_rules_for_some_buckets_do_not_narrow_each_other() {
    let policy = policy(&json!({"rules": [{"role": "editor", "allow": "store.get", "buckets": ["a"]}]}));
    assert!(may(&policy, &["writer", "editor"], Kind::Get, &[bucket("b")]).is_ok());
    assert!(may(&policy, &["editor"], Kind::Get, &[bucket("a")]).is_ok());
    assert!(may(&policy, &["editor"], Kind::Get, &[bucket("b")]).is_err());
}

#[test]
fn exceptions_decide_before_rules_and_behind_tiers() {
    let policy = policy(&json!({
        "default": "deny",
        "check": [
            {"role": "ops", "operation": "store.get", "resource": "secrets", "result": false},
            {"userId": "u1", "operation": "store.get", "resource": "a", "result": true},
            {"userId": "u2", "result": true},
            {"role": "ops", "resource": "b", "result": null},
        ],
        "rules": [{"role": "ops", "allow": "*"}],
    }));
    assert!(
        may(&policy, &["ops"], Kind::Get, &[bucket("secrets"), bucket("b")]).is_err(),
        "one is enough to deny"
    );
    assert!(may(&policy, &["ops"], Kind::Where, &[bucket("secrets")]).is_ok());
    assert!(may(&policy, &["other"], Kind::Get, &[bucket("a")]).is_ok());
    assert!(
        may(&policy, &["other"], Kind::Get, &[bucket("a"), bucket("b")]).is_err(),
        "all are needed to allow"
    );
    assert!(policy.grants(&[]).decide("u2", Kind::Clear, &[bucket("x")]).is_ok());
    let reader = policy.grants(&["reader".to_owned()]).decide("u2", Kind::Clear, &[bucket("x")]);
    assert!(reader.unwrap_err().message.contains("requires write"));
}

#[test]
fn an_exception_without_a_result_leaves_it_to_the_rules() {
    let policy = policy(&json!({
        "default": "deny",
        "check": [{"operation": "store.get", "resource": "a", "result": null}, {"role": "ops", "result": false}],
        "rules": [{"role": "ops", "allow": "*"}],
    }));
    assert!(may(&policy, &["ops"], Kind::Get, &[bucket("a")]).is_ok(), "the first one that matches decides");
    assert!(may(&policy, &["other"], Kind::Get, &[bucket("a")]).is_err());
    assert!(may(&policy, &["ops"], Kind::Get, &[bucket("a"), bucket("b")]).is_err());
    assert!(may(&policy, &["ops"], Kind::Count, &[bucket("a")]).is_err());
}

#[test]
fn roles_are_what_they_include() {
    let policy = policy(&json!({
        "roles": {"lead": ["editor"], "editor": ["writer"]},
        "rules": [{"role": "editor", "allow": "store.dropBucket", "buckets": ["drafts"]}],
    }));
    assert!(may(&policy, &["lead"], Kind::Insert, &[bucket("b")]).is_ok());
    assert!(
        may(&policy, &["lead"], Kind::DropBucket, &[bucket("drafts")])
            .unwrap_err()
            .contains("requires admin")
    );
}

#[test]
fn only_buckets_with_any_right_are_visible() {
    let names = ["a", "b", "c"];
    let visible = |value: Value, roles: &[&str]| {
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        let visible = policy(&value).grants(&roles).visible("u1", names.into_iter());
        names.map(|name| visible.contains(name))
    };
    let rules = json!({"default": "deny", "rules": [
        {"role": "x", "allow": "store.get", "buckets": ["a"]},
        {"role": "x", "allow": "store.insert", "buckets": ["b"]},
    ]});
    assert_eq!(visible(rules.clone(), &["x"]), [true, true, false]);
    assert_eq!(
        visible(rules.clone(), &["x", "reader"]),
        [true, false, false],
        "what lies above the tier does not count"
    );
    assert_eq!(visible(rules, &["admin"]), [false; 3]);
    assert_eq!(visible(json!({}), &["reader"]), [true; 3]);
    let exceptions =
        json!({"default": "deny", "check": [{"operation": "store.count", "resource": "c", "result": true}]});
    assert_eq!(visible(exceptions, &["x"]), [false, false, true]);
}

#[test]
fn a_grant_is_worked_out_once_and_the_number_kept_is_bounded() {
    let policy = Policy::default();
    let roles = |i: usize| vec![format!("role-{i}")];
    assert!(Arc::ptr_eq(&policy.grants(&roles(0)), &policy.grants(&roles(0))));
    for i in 0..=limits::KNOWN_ROLE_SETS {
        policy.grants(&roles(i));
    }
    assert!(policy.known.lock().unwrap().len() <= limits::KNOWN_ROLE_SETS);
}

#[test]
fn every_fault_is_told_with_its_place() {
    let faults = |value: Value| Policy::parse(&value).unwrap_err().to_string();
    assert_eq!(
        faults(json!({
            "default": "maybe",
            "roles": {"a": ["b"], "b": ["a"], "reader": ["admin"]},
            "rules": [{"allow": "store.git"}, {"role": "x", "allow": []}, {"role": "x", "allow": "*", "bucket": "b"}, 5],
            "check": [{"operation": "store.nothing", "result": "yes"}],
        })),
        "default: expected \"allow\" or \"deny\"; \
         check[0].operation: expected an operation that there is, not \"store.nothing\"; \
         check[0].result: expected true, false or null; \
         rules[0].role: expected the name of a role; \
         rules[0].allow: expected operations that there are, not \"store.git\"; \
         rules[1].allow: expected an operation, or a list of them: \"*\", \"store.*\", \"store.get\"; \
         rules[2].bucket: expected only role, allow, buckets, topics; \
         rules[3]: expected an object; \
         roles.reader: expected no built-in role: what these reach is fixed; \
         roles.a: expected roles that do not include themselves, through others neither"
    );
    // It would be a role that nobody has: of `check` it would deny nothing.
    assert_eq!(
        faults(json!({
            "check": [{"role": "*", "operation": "store.clear", "result": false}],
            "rules": [{"role": "*", "allow": "store.get"}],
            "rows": [{"role": "*", "bucket": "b"}],
        })),
        "check[0].role: expected a role, not \"*\"; for everybody leave it out; \
         rules[0].role: expected a role, not \"*\", which only row rules know; \
         name each role, or let roles include one that has this rule"
    );
    assert_eq!(faults(json!([])), "policy: expected an object with default, check, rules and rows");
    assert!(
        Policy::parse(
            &json!({"rules": [{"role": "x", "allow": ["rules.emit", "identity.*"], "topics": ["a.*"]}]})
        )
        .is_ok()
    );
}
