//! What is refused, where, in which words and with which code: `spec/rules.md` §16, and what it leaves unchecked.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    reason = "tables of JSON, and helpers of tests"
)]

mod actions;

use dunlin_rules::rule::{Trigger, check, check_all};
use dunlin_rules::{Issue, Limits, Rule, Severity};
use serde_json::{Value, json};

fn issues(rule: &Value) -> Vec<Issue> {
    match Rule::parse(rule, &Limits::default()) {
        Ok((_, warnings)) => warnings,
        Err(issues) => issues,
    }
}

/// `path code` of all errors.
fn errors(rule: &Value) -> Vec<String> {
    check(rule, &Limits::default()).0.iter().map(|issue| format!("{} {}", issue.path, issue.code)).collect()
}

fn warnings(rule: &Value) -> Vec<String> {
    check(rule, &Limits::default()).1.iter().map(|issue| format!("{} {}", issue.path, issue.code)).collect()
}

fn with(member: &str, value: Value) -> Value {
    let mut rule = json!({"id": "a", "name": "A", "trigger": {"type": "event", "topic": "t"},
        "actions": [{"type": "delete_fact", "key": "x"}]});
    rule[member] = value;
    rule
}

fn action(action: Value) -> Value {
    with("actions", json!([action]))
}

fn condition(condition: Value) -> Value {
    with("conditions", json!([condition]))
}

fn temporal(pattern: Value) -> Value {
    with("trigger", json!({"type": "temporal", "pattern": pattern}))
}

/// The one fault of a rule: `path|message|code`.
fn one(rule: &Value) -> String {
    let issues = issues(rule);
    let [issue] = issues.as_slice() else { panic!("{rule} {issues:?}") };
    format!("{}|{}|{}", issue.path, issue.message, issue.code)
}

#[test]
fn s19_all_faults_at_once_in_order() {
    let rule = json!({"id": "", "name": 5, "priority": 1.5, "enabled": "x", "tags": ["a", 1],
        "trigger": {"type": "event", "topic": ""},
        "conditions": [{"source": {"type": "fact"}, "operator": "foo"}],
        "actions": [{"type": "for_each"}, {"type": "emit_event", "topic": "x"}]});
    // W18: the original looks at nothing of a loop.
    let of_the_loop = |error: &String| error.starts_with("actions[0]");
    let (of_the_loop, others): (Vec<_>, Vec<_>) = errors(&rule).into_iter().partition(of_the_loop);
    assert_eq!(
        others,
        [
            "id empty",
            "name type",
            "enabled type",
            "tags[1] type",
            "trigger.topic empty",
            "conditions[0].source.pattern required",
            "conditions[0].operator enum",
            "conditions[0].value required",
            "actions[1].data required",
        ]
    );
    assert_eq!(
        of_the_loop,
        ["actions[0].collection required", "actions[0].as required", "actions[0].actions required"]
    );
    assert_eq!(warnings(&rule), ["priority not_integer"]);
    let smallest = json!({"id": "a", "name": "b", "trigger": {"type": "event", "topic": "t"}});
    assert_eq!((errors(&smallest), warnings(&smallest)), (vec![], vec!["actions no_actions".to_owned()]));
}

#[test]
fn the_rule_itself() {
    let table = [
        (json!(5), "(root)|Rule must be an object|not_object"),
        (with("id", json!(5)), "id|Field \"id\" must be a string|type"),
        (with("name", json!(" ")), "name|Field \"name\" cannot be empty|empty"),
        (with("description", json!(5)), "description|Field \"description\" must be a string|type"),
        (with("priority", json!("1")), "priority|Field \"priority\" must be a number|type"),
        (with("priority", json!(1.5)), "priority|Field \"priority\" should be an integer|not_integer"),
        (with("enabled", json!(1)), "enabled|Field \"enabled\" must be a boolean|type"),
        (with("tags", json!("x")), "tags|Field \"tags\" must be an array|type"),
        (with("tags", json!([1])), "tags[0]|Tag must be a string|type"),
        (with("group", json!(1)), "group|Field \"group\" must be a string|type"),
        (with("group", json!("")), "group|Field \"group\" cannot be empty|empty"),
        (with("trigger", json!([])), "trigger|Trigger must be an object|type"),
        (with("conditions", json!({})), "conditions|Conditions must be an array|type"),
        (with("actions", json!({})), "actions|Actions must be an array|type"),
        (with("actions", json!([])), "actions|Rule has no actions|no_actions"),
        (with("lookups", json!({})), "lookups|Lookups must be an array|type"),
        (
            with("runAs", json!("admin")),
            "runAs|Field \"runAs\" must be an object such as {\"roles\":[\"writer\"]}|type",
        ),
        (
            with("runAs", json!({"roles": [""]})),
            "runAs.roles[0]|runAs role must be a string that is not empty|type",
        ),
        (
            with("conditons", json!([])),
            "conditons|Field \"conditons\" is not known and has no effect|unknown_field",
        ),
    ];
    for (rule, expected) in table {
        assert_eq!(one(&rule), expected, "{rule}");
    }
    assert_eq!(errors(&json!({})), ["id required", "name required", "trigger required"]);
    let messages: Vec<_> = issues(&json!({})).into_iter().map(|issue| issue.message).collect();
    assert_eq!(messages[0], "Required field \"id\" is missing");
    assert_eq!(errors(&with("id", json!("x".repeat(513)))), ["id too_long"]);
    assert_eq!(errors(&with("description", json!("x".repeat(256 * 1024)))), ["(root) too_large"]);
}

#[test]
fn triggers() {
    let table = [
        (json!({}), "trigger.type|Trigger must have a \"type\" field|required"),
        (json!({"type": 1}), "trigger.type|Trigger type must be a string|type"),
        (
            json!({"type": "x"}),
            "trigger.type|Invalid trigger type: x. Valid types: event, fact, timer, temporal|enum",
        ),
        (json!({"type": "event"}), "trigger.topic|Event trigger must have a \"topic\" field|required"),
        (json!({"type": "event", "topic": 1}), "trigger.topic|Event trigger topic must be a string|type"),
        (json!({"type": "event", "topic": ""}), "trigger.topic|Event trigger topic cannot be empty|empty"),
        (json!({"type": "fact"}), "trigger.pattern|Fact trigger must have a \"pattern\" field|required"),
        (
            json!({"type": "fact", "pattern": ""}),
            "trigger.pattern|Fact trigger pattern cannot be empty|empty",
        ),
        (json!({"type": "timer"}), "trigger.name|Timer trigger must have a \"name\" field|required"),
        (json!({"type": "timer", "name": 1}), "trigger.name|Timer trigger name must be a string|type"),
        (
            json!({"type": "event", "topic": "a.**"}),
            "trigger.topic|Invalid pattern \"a.**\": ** has no meaning; use a single *|invalid_pattern",
        ),
        (
            json!({"type": "event", "topic": "a..b"}),
            "trigger.topic|Invalid pattern \"a..b\": it has an empty segment; write something between the dots|invalid_pattern",
        ),
        (
            json!({"type": "fact", "pattern": "a", "on": ["set", "gone"]}),
            "trigger.on|Invalid fact change: gone. Valid changes: set, changed, deleted|enum",
        ),
        (
            json!({"type": "temporal"}),
            "trigger.pattern|Temporal trigger must have a \"pattern\" field|required",
        ),
        (
            json!({"type": "temporal", "pattern": 1}),
            "trigger.pattern|Temporal pattern must be an object|type",
        ),
    ];
    for (trigger, expected) in table {
        assert_eq!(one(&with("trigger", trigger.clone())), expected, "{trigger}");
    }
    let many = "a.".repeat(32) + "a";
    assert_eq!(
        errors(&with("trigger", json!({"type": "event", "topic": many}))),
        ["trigger.topic invalid_pattern"]
    );
    // W10: not even a pattern that looks like a broken regular expression poisons anything; it is letters.
    assert_eq!(issues(&with("trigger", json!({"type": "event", "topic": "a(*.b"}))), []);
    let on = with("trigger", json!({"type": "fact", "pattern": "a", "on": ["changed", "deleted"]}));
    let (rule, _) = Rule::parse(&on, &Limits::default()).unwrap();
    assert!(matches!(rule.trigger, Trigger::Fact { on, .. } if !on.set && on.changed && on.deleted));
}

#[test]
fn temporal_patterns() {
    let event = json!({"topic": "a"});
    let table = [
        (json!({}), "type|Temporal pattern must have a \"type\" field|required"),
        (
            json!({"type": "x"}),
            "type|Invalid temporal pattern type: x. Valid types: sequence, absence, count, aggregate|enum",
        ),
        (
            json!({"type": "sequence", "within": "1m"}),
            "events|Sequence pattern must have an \"events\" field|required",
        ),
        (
            json!({"type": "sequence", "within": "1m", "events": 1}),
            "events|Sequence pattern events must be an array|type",
        ),
        (
            json!({"type": "sequence", "within": "1m", "events": [event]}),
            "events|Sequence pattern must have at least 2 events|min_items",
        ),
        (
            json!({"type": "sequence", "within": "1m", "events": [event, 5]}),
            "events[1]|Event matcher must be an object|type",
        ),
        (
            json!({"type": "sequence", "within": "1m", "events": [event, {}]}),
            "events[1].topic|Event matcher must have a \"topic\" field|required",
        ),
        (
            json!({"type": "sequence", "within": "1m", "events": [event, {"topic": "b", "as": 1}]}),
            "events[1].as|Event matcher alias must be a string|type",
        ),
        (
            json!({"type": "sequence", "events": [event, event]}),
            "within|Field \"within\" is required|duration",
        ),
        (
            json!({"type": "absence", "expected": event, "within": "1m"}),
            "after|Absence pattern must have an \"after\" field|required",
        ),
        (
            json!({"type": "absence", "after": event, "expected": event, "within": "5000"}),
            "within|Invalid duration format: 5000. Use formats like \"5m\", \"1h\", \"7d\"|duration",
        ),
        (
            json!({"type": "absence", "after": event, "expected": event, "within": true}),
            "within|Field \"within\" must be a string (e.g., \"5m\") or number (milliseconds)|duration",
        ),
        (
            json!({"type": "absence", "after": event, "expected": event, "within": 0}),
            "within|Duration must be positive|duration",
        ),
        (
            json!({"type": "count", "threshold": 1, "window": "1m"}),
            "event|Count pattern must have an \"event\" field|required",
        ),
        (
            json!({"type": "count", "event": event, "window": "1m"}),
            "threshold|Count pattern must have a \"threshold\" field|required",
        ),
        (
            json!({"type": "count", "event": event, "threshold": 0.5, "window": "1m"}),
            "threshold|Count pattern threshold must be a positive number|range",
        ),
        (
            json!({"type": "count", "event": event, "threshold": 10_001, "window": "1m"}),
            "threshold|Count pattern threshold must be at most 10000, which is what a group remembers|range",
        ),
        (
            json!({"type": "count", "event": event, "threshold": 1, "window": "1m", "comparison": "gt"}),
            "comparison|Invalid comparison: gt. Valid values: gte, lte, eq|enum",
        ),
        (
            json!({"type": "count", "event": event, "threshold": 1, "window": "1m", "emptyWindows": true}),
            "emptyWindows|A window that slides is never empty when it is looked at; add \"sliding\": false|conflict",
        ),
        (
            json!({"type": "aggregate", "event": event, "threshold": "1", "field": "x", "function": "sum", "window": 5}),
            "threshold|Aggregate pattern threshold must be a number|type",
        ),
        (
            json!({"type": "aggregate", "event": event, "threshold": 1, "function": "sum", "window": 5}),
            "field|Aggregate pattern must have a \"field\" field|required",
        ),
        (
            json!({"type": "aggregate", "event": event, "threshold": 1, "field": "x", "function": "median", "window": 5}),
            "function|Invalid aggregate function: median. Valid values: sum, avg, min, max, count|enum",
        ),
        (
            json!({"type": "aggregate", "event": event, "threshold": 1, "field": "a..b", "function": "sum", "window": 5}),
            "field|Path \"a..b\" has an empty segment|invalid_reference",
        ),
    ];
    for (pattern, expected) in table {
        assert_eq!(one(&temporal(pattern.clone())), format!("trigger.pattern.{expected}"), "{pattern}");
    }
    let twice = temporal(json!({"type": "sequence", "within": "1m",
        "events": [{"topic": "a", "as": "x"}, {"topic": "b", "as": "x"}]}));
    assert_eq!(errors(&twice), ["trigger.pattern.events[1].as duplicate_alias"]);
}

#[test]
fn an_alias_that_nobody_uses_is_doubtful() {
    let rule = |text: &str| {
        let mut rule = temporal(json!({"type": "sequence", "within": "1m",
            "events": [{"topic": "a", "as": "first"}, {"topic": "b"}]}));
        rule["actions"] = json!([{"type": "log", "level": "info", "message": text}]);
        rule
    };
    assert_eq!(warnings(&rule("${var.first.total}")), Vec::<String>::new());
    assert_eq!(one(&rule("done")), "trigger|Alias \"first\" is defined but never used|unused_alias");
}

#[test]
fn conditions() {
    let source = json!({"type": "event", "field": "x"});
    let table = [
        (json!(1), "|Condition must be an object|type"),
        (json!({"operator": "exists"}), ".source|Condition must have a \"source\" field|required"),
        (json!({"source": 1, "operator": "exists"}), ".source|Condition source must be an object|type"),
        (
            json!({"source": {"type": "x"}, "operator": "exists"}),
            ".source.type|Invalid source type: x. Valid types: event, fact, context, lookup|enum",
        ),
        (
            json!({"source": {"type": "event"}, "operator": "exists"}),
            ".source.field|Event source must have a \"field\" field|required",
        ),
        (
            json!({"source": {"type": "fact", "pattern": 1}, "operator": "exists"}),
            ".source.pattern|Fact source pattern must be a string|type",
        ),
        (
            json!({"source": {"type": "lookup", "field": "x"}, "operator": "exists"}),
            ".source.name|Lookup source must have a \"name\" field|required",
        ),
        (
            json!({"source": {"type": "context"}, "operator": "exists"}),
            ".source.key|Context source must have a \"key\" field|required",
        ),
        (
            json!({"source": source, "value": 1}),
            ".operator|Condition must have an \"operator\" field|required",
        ),
        (
            json!({"source": source, "operator": 1, "value": 1}),
            ".operator|Condition operator must be a string|type",
        ),
        (
            json!({"source": source, "operator": "eq"}),
            ".value|Condition must have a \"value\" field|required",
        ),
        (
            json!({"source": source, "operator": "eq", "value": {"ref": "evnt.x"}}),
            ".value|Unknown reference source: \"evnt\". A reference begins with one of: event, trigger, fact.<key>, \
             var.<name>, matched.<i>, lookup.<name>|invalid_reference",
        ),
        (json!({"any": []}), ".any|\"any\" must not be empty|empty"),
        (json!({"all": {}}), ".all|\"all\" must be an array of conditions|type"),
        (json!({"not": []}), ".not|Condition must be an object|type"),
    ];
    for (given, expected) in table {
        assert_eq!(one(&condition(given.clone())), format!("conditions[0]{expected}"), "{given}");
    }
    assert_eq!(issues(&condition(json!({"source": source, "operator": "not_exists"}))), []);
    assert_eq!(issues(&condition(json!({"source": source, "operator": "eq", "value": null}))), []);
    let clash = condition(json!({"any": [{"source": source, "operator": "exists"}], "not": {}}));
    assert_eq!(errors(&clash), ["conditions[0].not conflict"]);
    let regex = condition(json!({"source": source, "operator": "matches", "value": "(a"}));
    assert_eq!(errors(&regex), ["conditions[0].value invalid_regex"]);
    let inside = condition(
        json!({"not": {"any": [{"source": source, "operator": "exists"}, {"operator": "exists"}]}}),
    );
    assert_eq!(errors(&inside), ["conditions[0].not.any[1].source required"]);
    let mut deep = json!({"source": source, "operator": "exists"});
    for _ in 0..16 {
        deep = json!({"not": deep});
    }
    assert_eq!(errors(&condition(deep["not"].clone())), Vec::<String>::new());
    assert!(errors(&condition(deep))[0].ends_with("too_deep"));
    let many = vec![json!({"source": source, "operator": "exists"}); 1001];
    assert_eq!(errors(&with("conditions", json!(many))), ["conditions[1000] too_many"]);
}

#[test]
fn lists_of_rules() {
    let limits = Limits::default();
    let (errors, _) = check_all(&json!({}), &limits);
    assert_eq!(errors[0].message, "Input must be an array of rules");
    let (errors, _) = check_all(&json!([with("x", json!(1)), 5, with("x", json!(1))]), &limits);
    let paths: Vec<_> = errors.iter().map(|issue| (issue.path.as_str(), issue.code)).collect();
    assert_eq!(paths, [("[1]", "not_object"), ("[2].id", "duplicate_id")]);
}

#[test]
fn what_is_left_out_has_its_default_and_what_is_not_known_stays() {
    let given =
        json!({"id": "a", "name": "A", "trigger": {"type": "event", "topic": "t"}, "owner": {"ref": 5}});
    let (rule, issues) = Rule::parse(&given, &Limits::default()).unwrap();
    assert!(issues.iter().all(|issue| issue.severity == Severity::Warning));
    let rule = rule.stamped(3, 10, 20);
    assert_eq!(
        Value::Object((*rule.json).clone()),
        json!({"id": "a", "name": "A", "trigger": {"type": "event", "topic": "t"}, "owner": {"ref": 5},
            "priority": 0, "enabled": true, "tags": [], "conditions": [], "actions": [],
            "version": 3, "createdAt": 10, "updatedAt": 20})
    );
    // As it is stored, it is read again.
    let (again, _) = Rule::parse(&Value::Object((*rule.json).clone()), &Limits::default()).unwrap();
    assert_eq!((again.version, again.created_at, again.updated_at, again.json), (3, 10, 20, rule.json));
}

#[test]
fn an_error_is_told_however_many_warnings_there_are() {
    let mut rule = with("name", json!("A"));
    for i in 0..200 {
        rule[format!("x{i}")] = json!(1);
    }
    rule["trigger"]["topic"] = json!("**");
    rule["trigger"].as_object_mut().unwrap().extend((0..200).map(|i| (format!("x{i}"), json!(1))));
    let issues = issues(&rule);
    assert_eq!(issues.len(), 100);
    assert!(issues.iter().any(|issue| issue.severity == Severity::Error));
}
