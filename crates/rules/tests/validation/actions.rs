//! What is refused in actions, timers and lookups.

use dunlin_rules::Limits;
use dunlin_rules::rule::read_timer;
use serde_json::json;

use super::{action, errors, one, with};

#[test]
fn actions() {
    let table = [
        (json!(1), "|Action must be an object|type"),
        (json!({}), ".type|Action must have a \"type\" field|required"),
        (json!({"type": "set_fact", "value": 1}), ".key|set_fact action must have a \"key\" field|required"),
        (json!({"type": "set_fact", "key": 1, "value": 1}), ".key|set_fact action key must be a string|type"),
        (
            json!({"type": "set_fact", "key": "a"}),
            ".value|set_fact action must have a \"value\" field|required",
        ),
        (json!({"type": "delete_fact"}), ".key|delete_fact action must have a \"key\" field|required"),
        (
            json!({"type": "emit_event", "data": {}}),
            ".topic|emit_event action must have a \"topic\" field|required",
        ),
        (
            json!({"type": "emit_event", "topic": "a"}),
            ".data|emit_event action must have a \"data\" field|required",
        ),
        (
            json!({"type": "emit_event", "topic": "a", "data": []}),
            ".data|emit_event action data must be an object|type",
        ),
        (
            json!({"type": "emit_event", "topic": "bucket.a.inserted", "data": {}}),
            ".topic|emit_event action topic must not begin with \"bucket.\": these are changes of records|reserved",
        ),
        (
            json!({"type": "emit_event", "topic": "a", "data": {"o": [{"x": {"ref": "event."}}]}}),
            ".data.o[0].x|Reference \"event.\" has an empty segment|invalid_reference",
        ),
        (json!({"type": "set_timer"}), ".timer|set_timer action must have a \"timer\" field|required"),
        (json!({"type": "set_timer", "timer": 1}), ".timer|set_timer action timer must be an object|type"),
        (json!({"type": "cancel_timer"}), ".name|cancel_timer action must have a \"name\" field|required"),
        (
            json!({"type": "call_service", "method": "m"}),
            ".service|call_service action must have a \"service\" field|required",
        ),
        (
            json!({"type": "call_service", "service": "s", "method": "m", "args": {}}),
            ".args|call_service action args must be an array|type",
        ),
        (
            json!({"type": "call_service", "service": "s", "method": "m", "attempts": 101}),
            ".attempts|call_service action attempts must be an integer from 1 to 100|range",
        ),
        (
            json!({"type": "call_service", "service": "s", "method": "m", "timeout": "1h"}),
            ".timeout|call_service action timeout must be at most 300000 milliseconds|range",
        ),
        (json!({"type": "log", "message": "x"}), ".level|log action must have a \"level\" field|required"),
        (
            json!({"type": "log", "level": "loud", "message": "x"}),
            ".level|Invalid log level: loud. Valid levels: debug, info, warn, error|enum",
        ),
        (
            json!({"type": "log", "level": "info", "message": 1}),
            ".message|log action message must be a string|type",
        ),
        (
            json!({"type": "conditional", "conditions": [], "then": [{"type": "delete_fact", "key": "a"}]}),
            ".conditions|conditional action conditions must not be empty|empty",
        ),
        (
            json!({"type": "try_catch", "try": [{"type": "delete_fact", "key": "a"}]}),
            "|try_catch action must have at least \"catch\" or \"finally\"|required",
        ),
        (
            json!({"type": "try_catch", "try": [{"type": "delete_fact", "key": "a"}], "catch": {}}),
            ".catch.actions|try_catch catch must have an \"actions\" field|required",
        ),
        (
            json!({"type": "try_catch", "try": [{"type": "delete_fact", "key": "a"}], "finally": []}),
            ".finally|try_catch action finally is empty|empty_branch",
        ),
        (
            json!({"type": "for_each", "collection": "x", "as": "i", "actions": [{"type": "delete_fact", "key": "a"}]}),
            ".collection|for_each action collection must be an array or a reference|type",
        ),
        (
            json!({"type": "for_each", "collection": [], "as": "a.b", "actions": [{"type": "delete_fact", "key": "a"}]}),
            ".as|A name has no spaces, dots, $ or braces, so that references can reach it|invalid_name",
        ),
        (
            json!({"type": "webhook", "url": "ftp://x"}),
            ".url|webhook action url must begin with http:// or https://|invalid_url",
        ),
        (
            json!({"type": "webhook", "url": "https://x/${event.id}", "headers": {"Host": "y"}}),
            ".headers.Host|The server writes the header \"Host\" itself|reserved",
        ),
        (
            json!({"type": "store_insert", "bucket": "a"}),
            ".data|store_insert action must have a \"data\" field|required",
        ),
        (
            json!({"type": "store_update", "bucket": "a", "data": {}}),
            ".key|store_update action must have a \"key\" field|required",
        ),
        (
            json!({"type": "store_delete", "bucket": "_facts", "key": 1}),
            ".bucket|Cannot access system bucket \"_facts\" directly|reserved",
        ),
        (
            json!({"type": "store_transaction", "operations": [{"op": "count", "bucket": "a"}]}),
            ".operations[0].op|Invalid operation: count. Valid operations: insert, update, upsert, delete|enum",
        ),
        (
            json!({"type": "delete_fact", "key": "${event.x"}),
            ".key|A \"${\" is never closed in \"${event.x\"; write \"${event.x}\"|invalid_reference",
        ),
        (
            json!({"type": "set_fact", "key": "a", "value": {"ref": "lookup.x"}}),
            ".value|There is no lookup \"x\" in \"lookups\"|unknown_lookup",
        ),
        (
            json!({"type": "set_fact", "key": "a", "value": {"ref": "var.x"}}),
            ".value|Nothing sets the variable \"x\"|unknown_variable",
        ),
    ];
    for (given, expected) in table {
        assert_eq!(one(&action(given.clone())), format!("actions[0]{expected}"), "{given}");
    }
    let nested = json!({"type": "conditional", "conditions": [{"operator": "exists"}],
        "then": [{"type": "for_each", "collection": {"ref": "event.x"}, "as": "i", "actions": [{"type": "log"}]}],
        "else": [{"type": "try_catch", "try": [{"type": "x"}], "catch": {"actions": [{"type": "delete_fact"}]}}]});
    assert_eq!(
        errors(&action(nested)),
        [
            "actions[0].conditions[0].source required",
            "actions[0].then[0].actions[0].level required",
            "actions[0].then[0].actions[0].message required",
            "actions[0].else[0].try[0].type enum",
            "actions[0].else[0].catch.actions[0].key required",
        ]
    );
}

#[test]
fn timers() {
    let expire = json!({"topic": "late", "data": {}});
    let table = [
        (json!({"duration": 5, "onExpire": expire}), ".name|Timer must have a \"name\" field|required"),
        (json!({"name": 1, "duration": 5, "onExpire": expire}), ".name|Timer name must be a string|type"),
        (json!({"name": "a", "onExpire": expire}), ".duration|Timer must have a \"duration\" field|required"),
        (
            json!({"name": "a", "duration": "5000", "onExpire": expire}),
            ".duration|Invalid duration format: 5000|duration",
        ),
        (
            json!({"name": "a", "duration": 0, "onExpire": expire}),
            ".duration|Timer duration must be positive|duration",
        ),
        (
            json!({"name": "a", "duration": {}, "onExpire": expire}),
            ".duration|Timer duration must be a string or number|duration",
        ),
        (
            json!({"name": "a", "duration": "99999999999999y", "onExpire": expire}),
            ".duration|Duration is too long; at most 8640000000000000 milliseconds are possible|duration",
        ),
        (json!({"name": "a", "duration": 5}), ".onExpire|Timer must have an \"onExpire\" field|required"),
        (
            json!({"name": "a", "duration": 5, "onExpire": 1}),
            ".onExpire|Timer onExpire must be an object|type",
        ),
        (
            json!({"name": "a", "duration": 5, "onExpire": {"data": {}}}),
            ".onExpire.topic|Timer onExpire must have a \"topic\" field|required",
        ),
        (
            json!({"name": "a", "duration": 5, "onExpire": {"topic": "t"}}),
            ".onExpire.data|Timer onExpire must have a \"data\" field|required",
        ),
        (
            json!({"name": "a", "duration": 5, "onExpire": expire, "repeat": {}}),
            ".repeat.interval|Timer repeat must have an \"interval\" field|required",
        ),
        (
            json!({"name": "a", "duration": 5, "onExpire": expire, "repeat": {"interval": "1m", "maxCount": 0}}),
            ".repeat.maxCount|Timer repeat maxCount must be a positive integer|range",
        ),
        (json!({"name": "a", "cron": 5, "onExpire": expire}), ".cron|Timer cron must be a string|type"),
        (
            json!({"name": "a", "cron": "0 0 * * *", "duration": 5, "onExpire": expire}),
            ".duration|Timer duration has no effect beside \"cron\"|no_effect",
        ),
    ];
    for (timer, expected) in table {
        let rule = action(json!({"type": "set_timer", "timer": timer}));
        assert_eq!(one(&rule), format!("actions[0].timer{expected}"), "{timer}");
    }
    let never = json!({"name": "a", "cron": "0 0 30 2 *", "onExpire": expire});
    assert_eq!(
        errors(&action(json!({"type": "set_timer", "timer": never}))),
        ["actions[0].timer.cron invalid_cron"]
    );
    let plain =
        json!({"name": "n:${x}", "duration": "1m", "onExpire": {"topic": "t", "data": {"ref": "nothing"}}});
    let timer = read_timer(&plain, &Limits::default()).unwrap();
    assert_eq!(timer.name.constant(), Some("n:${x}"));
    let faults = read_timer(&json!({"name": "n"}), &Limits::default()).unwrap_err();
    assert_eq!(faults[0].path, "timer.duration");
}

#[test]
fn lookups() {
    let table = [
        (json!(1), "|Lookup must be an object|type"),
        (json!({"service": "s", "method": "m"}), ".name|Lookup must have a \"name\" field|required"),
        (json!({"name": "", "service": "s", "method": "m"}), ".name|Lookup name cannot be empty|empty"),
        (json!({"name": "n", "service": 1, "method": "m"}), ".service|Lookup service must be a string|type"),
        (
            json!({"name": "n", "service": "s", "method": "m", "args": 1}),
            ".args|Lookup args must be an array|type",
        ),
        (
            json!({"name": "n", "service": "s", "method": "m", "cache": 1}),
            ".cache|Lookup cache must be an object|type",
        ),
        (
            json!({"name": "n", "service": "s", "method": "m", "cache": {}}),
            ".cache.ttl|Lookup cache must have a \"ttl\" field|required",
        ),
        (
            json!({"name": "n", "service": "s", "method": "m", "cache": {"ttl": -1}}),
            ".cache.ttl|Lookup cache ttl must be a positive number|duration",
        ),
        (
            json!({"name": "n", "service": "s", "method": "m", "cache": {"ttl": "soon"}}),
            ".cache.ttl|Invalid cache ttl duration: soon. Use a duration like \"5m\", \"1h\", \"30s\" or milliseconds|duration",
        ),
        (
            json!({"name": "n", "service": "s", "method": "m", "onError": "panic"}),
            ".onError|Invalid onError strategy: panic. Valid strategies: skip, fail|enum",
        ),
    ];
    for (lookup, expected) in table {
        assert_eq!(one(&with("lookups", json!([lookup]))), format!("lookups[0]{expected}"), "{lookup}");
    }
    let lookup = json!({"name": "n", "service": "s", "method": "m"});
    assert_eq!(
        one(&with("lookups", json!([lookup, lookup]))),
        "lookups[1].name|Duplicate lookup name: n|duplicate_name"
    );
}
