use proptest::prelude::*;
use serde_json::{Value, json};

use super::load;
use crate::config::{Config, keys};

/// Any JSON, often under names that mean something.
fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2i64..100_000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![Just("memory"), Just("none"), Just("json"), Just("/p"), Just("https://a.b"), Just("é\n")]
            .prop_map(Value::from),
        "store\\.define(Bucket|Query)|.{0,8}".prop_map(Value::from),
    ];
    let mut names: Vec<String> = keys::KEYS
        .iter()
        .flat_map(|key| key.path.split('.'))
        .chain(["request", "type", "config", "rules", "userId", "expect", "a.b", "", "x"])
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(names.clone()), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Mostly right configurations: a random value under each of some real keys.
fn plausible() -> impl Strategy<Value = Value> {
    let value = |path: &'static str| {
        match path {
        "port" | "metrics.port" => (0u64..65_536).prop_map(Value::from).boxed(),
        "maxDepth" => (8u64..129).prop_map(Value::from).boxed(),
        "trustedProxies" | "rateLimit.allow" => {
            prop::collection::vec("10\\.[1-9]\\.0\\.0(/16)?|fe80::(/10)?", 1..4).prop_map(Value::from).boxed()
        }
        "rateLimit.weights" => Just(json!({"store.all": 5, "store.*": 2})).boxed(),
        "auth.jwt.algorithms" => Just(json!(["ES256", "HS256"])).boxed(),
        "auth.jwt.secret" => ".{32,40}".prop_map(Value::from).boxed(),
        "auth.jwt.leewaySeconds" => (0u64..600).prop_map(Value::from).boxed(),
        "auth.webhook.timeoutMs" => (1u64..10_000).prop_map(Value::from).boxed(),
        "auth.webhook.url" => "https?://[a-z]{1,9}(:[0-9]{1,4})?/".prop_map(Value::from).boxed(),
        "rules.maxDepth" => (1u64..100).prop_map(Value::from).boxed(),
        "rules.maxVersionsPerRule" => (1u64..100_000).prop_map(Value::from).boxed(),
        "rules.serviceTimeoutMs" => (1u64..300_000).prop_map(Value::from).boxed(),
        "rules.maxSteps" | "rules.subscriberBytes" => (1024u64..1_000_000).prop_map(Value::from).boxed(),
        "rules.webhooks.allow" => {
            prop::collection::vec("https?://[a-z]{1,9}(:[0-9]{1,4})?/[a-z]{0,3}", 0..4).prop_map(Value::from).boxed()
        }
        "rules.enabled" | "auth.upgrade.header" | "auth.upgrade.required" | "exposeErrorDetails" | "auth.required" | "proxyProtocol" => {
            any::<bool>().prop_map(Value::from).boxed()
        }
        "backpressure.highWaterMark" => (0.0001f64..1.0).prop_map(Value::from).boxed(),
        "allowedOrigins" => {
            prop::collection::vec("https?://[a-z.]{1,9}(:[0-9]{1,4})?", 0..4).prop_map(Value::from).boxed()
        }
        "storage.kind" => Just(json!("memory")).boxed(),
        "storage.durability" => Just(json!("none")).boxed(),
        "log.format" => Just(json!("json")).boxed(),
        "log.level" => Just(json!("off")).boxed(),
        "seed" => tree()
            .prop_map(|inner| json!([{"type": "store.defineQuery", "name": "q", "config": {"x": inner}}]))
            .boxed(),
        "auth.tokens" => prop::collection::btree_map(
            ".{1,9}",
            (".{1,9}", prop::option::of(any::<i32>()))
                .prop_map(|(user, time)| json!({"userId": user, "roles": [user], "expiresInMs": time})),
            1..4,
        )
        .prop_map(|table| table.into_iter().collect())
        .boxed(),
        "auth.roles" => Just(json!({"lead": ["editor"], "editor": []})).boxed(),
        "auth.permissions" => ("[a-z]{1,9}", prop::option::of("[a-z]{1,9}"))
            .prop_map(|(role, bucket)| {
                let rule = json!({"role": role, "allow": ["store.get", "store.*"], "buckets": bucket.as_ref().map_or(json!([]), |b| json!([b]))});
                let rows = json!([{"role": role, "bucket": "b", "read": {"a": "{{ session.userId }}"}, "hide": ["c"]}]);
                json!({"default": "deny", "rules": [rule], "rows": rows, "check": [{"userId": role, "result": null}]})
            })
            .boxed(),
        "auth.anonymous" | "auth.loggedIn" => Just(json!("reader")).boxed(),
        "auth.jwt.issuer"
        | "auth.jwt.audience"
        | "auth.jwt.userClaim"
        | "auth.jwt.rolesClaim"
        | "auth.jwt.secretFile"
        | "auth.jwt.publicKeyFile"
        | "auth.jwt.jwksFile"
        | "auth.webhook.secret"
        | "auth.webhook.caFile"
        | "auth.upgrade.queryParameter"
        | "name"
        | "host"
        | "metrics.host"
        | "storage.dir"
        | "storage.backupDir" => "[a-z]{1,9}".prop_map(Value::from).boxed(),
        "path" => "/[a-z]{0,9}".prop_map(Value::from).boxed(),
        _ => (1u64..1_000_000).prop_map(Value::from).boxed(),
    }
    };
    let all: Vec<_> = keys::KEYS.iter().map(|key| prop::option::of(value(key.path))).collect();
    all.prop_map(|values| {
        let mut tree = json!({});
        for (key, value) in keys::KEYS.iter().zip(values) {
            let Some(value) = value else { continue };
            *key.path.split('.').fold(&mut tree, |place, name| &mut place[name]) = value;
        }
        // Where these are missing others mean nothing, and are refused.
        if tree["rateLimit"].is_object() {
            tree["rateLimit"]["maxRequests"] = json!(5);
        }
        if tree["proxyProtocol"] == true {
            tree["trustedProxies"] = json!(["::1"]);
        }
        tree
    })
}

proptest! {
    #[test]
    fn any_json_is_loaded_or_refused(tree in tree()) {
        if let Ok(loaded) = Config::parse("any.json", &tree.to_string()) {
            let again = serde_json::to_string(&loaded.config).unwrap();
            prop_assert_eq!(Config::parse("again.json", &again).unwrap().config, loaded.config);
        }
    }

    #[test]
    fn a_loaded_configuration_reads_back_equal(tree in plausible()) {
        let loaded = Config::parse("p.json", &tree.to_string()).unwrap();
        let again = serde_json::to_string(&loaded.config).unwrap();
        prop_assert_eq!(Config::parse("again.json", &again).unwrap().config, loaded.config);
    }

    #[test]
    fn any_text_is_loaded_or_refused(text in ".{0,200}", flag in ".{0,20}", name in "DUNLIN_.{0,20}") {
        for file in ["a.json", "a.toml", "a"] {
            let _ = Config::parse(file, &text);
        }
        let _ = load(&[(&name, &text)], &[(&flag, &text), ("--port", &text), ("--allowed-origins", &text)]);
    }
}
