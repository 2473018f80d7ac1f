//! What conditions, references and texts come to: `spec/rules.md` §5 and §6 with what is done better here.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "tables of JSON, and helpers of tests"
)]

use std::collections::BTreeMap;

use dunlin_rules::condition::{Condition, Observed, Operand, Scope, Steps, Template};
use dunlin_rules::fault::EvalFault;
use dunlin_rules::{Limits, Rule};
use serde_json::{Value, json};

struct World {
    trigger: Value,
    facts: BTreeMap<String, Value>,
    variables: BTreeMap<String, Value>,
    matched: Vec<Value>,
    lookups: BTreeMap<String, Value>,
}

impl Scope for World {
    fn trigger(&self) -> &Value {
        &self.trigger
    }
    fn fact(&self, key: &str) -> Option<&Value> {
        self.facts.get(key)
    }
    fn first_fact(&self, pattern: &str) -> Option<&Value> {
        let pattern = dunlin_protocol::KeyPattern::new(pattern);
        self.facts.iter().find(|(key, _)| pattern.matches(key)).map(|(_, value)| value)
    }
    fn variable(&self, name: &str) -> Option<&Value> {
        self.variables.get(name)
    }
    fn matched(&self, index: usize) -> Option<&Value> {
        self.matched.get(index)
    }
    fn lookup(&self, name: &str) -> Option<&Value> {
        self.lookups.get(name)
    }
}

fn map(value: &Value) -> BTreeMap<String, Value> {
    value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn world() -> World {
    World {
        trigger: json!({"id": "o1", "cust": "c1", "total": 100, "one": 1.0, "null": null, "list": [1, "a", {"b": 2}],
            "text": "order 77", "star": "*", "empty": ""}),
        facts: map(&json!({"cfg:min": 100, "cust:c1:vip": true, "cust:c2:vip": false, "a.b": "dotted"})),
        variables: map(&json!({"it": {"qty": 3, "sku": "s"}, "it_index": 0})),
        matched: vec![json!({"n": 1}), json!({"n": 2})],
        lookups: map(&json!({"credit": {"score": 700}})),
    }
}

fn steps() -> Steps {
    Steps::new(1_000_000)
}

fn parse(condition: &Value) -> Condition {
    let rule = json!({"id": "a", "name": "A", "trigger": {"type": "event", "topic": "t"}, "conditions": [condition]});
    Rule::parse(&rule, &Limits::default()).unwrap().0.conditions[0].clone()
}

fn holds(condition: &Value) -> bool {
    parse(condition).holds(&world(), &mut steps()).unwrap()
}

fn event(field: &str, operator: &str, value: Value) -> Value {
    json!({"source": {"type": "event", "field": field}, "operator": operator, "value": value})
}

#[test]
fn operators() {
    let nothing = json!({"ref": "event.nope"});
    let table = [
        (event("total", "eq", json!(100.0)), true),
        (event("one", "eq", json!(1)), true),
        (event("total", "eq", json!("100")), false),
        (event("total", "neq", json!("100")), true),
        (event("list", "eq", json!([1.0, "a", {"b": 2}])), true),
        (event("null", "eq", json!(null)), true),
        (event("nope", "eq", json!(null)), false),
        (event("nope", "neq", json!(null)), true),
        (event("nope", "eq", nothing.clone()), true),
        (event("null", "eq", nothing.clone()), false),
        (event("total", "gt", json!(99.5)), true),
        (event("total", "gt", json!(100)), false),
        (event("total", "gte", json!(100)), true),
        (event("total", "lt", json!("200")), false),
        (event("text", "lt", json!("z")), false),
        (event("total", "lte", json!({"ref": "fact.cfg:min"})), true),
        (event("one", "in", json!([2, 1])), true),
        (event("one", "in", json!("1")), false),
        (event("one", "not_in", json!("1")), false),
        (event("one", "not_in", json!([2])), true),
        (event("nope", "in", json!([null])), false),
        (event("nope", "not_in", json!([null])), true),
        (event("text", "contains", json!("77")), true),
        (event("list", "contains", json!({"b": 2})), true),
        (event("list", "contains", json!("b")), false),
        (event("total", "contains", json!(1)), false),
        (event("total", "not_contains", json!(1)), true),
        (event("nope", "not_contains", json!(1)), true),
        (event("text", "not_contains", json!("77")), false),
        (event("text", "matches", json!(r"\d{2}$")), true),
        (event("text", "matches", json!("^[0-9]")), false),
        (event("total", "matches", json!("100")), false),
        (event("text", "matches", json!({"ref": "event.cust"})), false),
        (event("cust", "matches", json!({"ref": "event.cust"})), true),
        (event("empty", "exists", json!(null)), true),
        (event("null", "exists", json!(null)), false),
        (event("null", "not_exists", json!(null)), true),
        (event("nope", "not_exists", json!(null)), true),
        (event("list.length", "eq", json!(3)), true),
        (event("cust", "eq", json!("c${var.it_index}")), false),
        (event("cust", "eq", json!("c${event.one}")), true),
        (event("constructor", "exists", json!(null)), false),
    ];
    for (condition, expected) in table {
        assert_eq!(holds(&condition), expected, "{condition}");
    }
}

#[test]
fn sources() {
    let test = |source: Value, value: Value| json!({"source": source, "operator": "eq", "value": value});
    let table = [
        (test(json!({"type": "fact", "pattern": "cust:${event.cust}:vip"}), json!(true)), true),
        (test(json!({"type": "fact", "pattern": "cust:*:vip"}), json!(true)), true),
        (test(json!({"type": "fact", "pattern": "cust:c2:*"}), json!(false)), true),
        // What a client sends cannot widen a pattern.
        (test(json!({"type": "fact", "pattern": "cust:${event.star}:vip"}), json!(true)), false),
        (test(json!({"type": "fact", "pattern": "cu*:${event.star}:vip"}), json!(true)), false),
        (test(json!({"type": "context", "key": "it.qty"}), json!(3)), true),
        (test(json!({"type": "context", "key": "it_index"}), json!(0)), true),
        (test(json!({"type": "lookup", "name": "credit", "field": "score"}), json!(700)), true),
        (test(json!({"type": "lookup", "name": "credit"}), json!({"score": 700})), true),
        (test(json!({"type": "event", "field": "total"}), json!({"ref": "fact.cfg:min"})), true),
        // W18: the original looks at the variable and forgets the path.
        (test(json!({"type": "event", "field": "total"}), json!({"ref": "var.it.qty"})), false),
        (test(json!({"type": "context", "key": "it.qty"}), json!({"ref": "var.it.qty"})), true),
    ];
    for (condition, expected) in table {
        assert_eq!(holds(&condition), expected, "{condition}");
    }
}

#[test]
fn any_all_not() {
    let (yes, no) = (event("total", "eq", json!(100)), event("total", "eq", json!(1)));
    assert!(holds(&json!({"any": [no, yes]})) && !holds(&json!({"any": [no, no]})));
    assert!(holds(&json!({"all": [yes, yes]})) && !holds(&json!({"all": [yes, no]})));
    assert!(holds(&json!({"not": no})) && holds(&json!({"not": {"any": [no, {"not": yes}]}})));
}

#[test]
fn references_are_resolved_at_any_depth() {
    let given = json!({"id": {"ref": "event.id"}, "deep": [{"x": {"ref": "fact.cust:${event.cust}:vip"}}, "${event.id}!"],
        "missing": {"ref": "event.nope"}, "var": {"ref": "var.it.sku"}, "m": {"ref": "matched.1.n"},
        "whole": {"ref": "matched.0"}, "lookup": "${lookup.credit.score}", "dotted": {"ref": "fact.a.b"},
        "data": {"ref": "INV-7", "sum": 5}, "plain": [1, null]});
    let value = Operand::parse(&given).unwrap().resolve(&world(), &mut steps()).unwrap();
    assert_eq!(
        value,
        json!({"id": "o1", "deep": [{"x": true}, "o1!"], "missing": null, "var": "s", "m": 2, "whole": {"n": 1},
            "lookup": "700", "dotted": "dotted", "data": {"ref": "INV-7", "sum": 5}, "plain": [1, null]})
    );
}

#[test]
fn texts() {
    let table = [
        ("plain", "plain"),
        ("${event.id}/${trigger.cust}", "o1/c1"),
        ("${event.total}${event.one}", "1001"),
        ("[${event.nope}${event.null}]", "[]"),
        ("${event.list}", r#"[1,"a",{"b":2}]"#),
        ("${fact.cust:${event.cust}:vip}", "true"),
        ("5 $ {a} $", "5 $ {a} $"),
    ];
    for (text, expected) in table {
        assert_eq!(
            Template::parse(text).unwrap().render(&world(), &mut steps()).unwrap(),
            expected,
            "{text}"
        );
    }
    for text in ["${event.id", "${}", "${ event.id }", "${event.a..b}", "${fact.}", "${matched.x}", "${nope}"]
    {
        assert!(Template::parse(text).is_err(), "{text}");
    }
    let nested = "${fact.".repeat(40) + "x" + &"}".repeat(40);
    assert!(Template::parse(&nested).unwrap_err().contains("deep"));
}

#[test]
fn a_test_tells_what_it_saw() {
    let Condition::Test(test) = parse(&event("nope", "gte", json!({"ref": "fact.cfg:min"}))) else {
        panic!("a test")
    };
    let seen = test.observe(&world(), &mut steps()).unwrap();
    assert_eq!(seen, Observed { actual: None, expected: Some(json!(100)), holds: false });
}

#[test]
fn what_costs_too_much_ends_at_the_same_step_everywhere() {
    let mut big = world();
    big.trigger = json!({"text": "a".repeat(600_000), "list": vec![json!(1); 10_000]});
    let twice = Operand::parse(&json!("${event.text}${event.text}")).unwrap();
    assert_eq!(twice.resolve(&big, &mut steps()), Err(EvalFault::TooLong { limit: 1024 * 1024 }));
    let twice = Operand::parse(&json!([{"ref": "event.text"}, {"ref": "event.text"}])).unwrap();
    assert_eq!(twice.resolve(&big, &mut steps()), Err(EvalFault::TooLong { limit: 1024 * 1024 }));
    let found = parse(&event("list", "contains", json!(2)));
    assert_eq!(found.holds(&big, &mut Steps::new(9_999)), Err(EvalFault::OutOfSteps));
    let mut left = Steps::new(10_003);
    assert_eq!((found.holds(&big, &mut left), left.left()), (Ok(false), 2));
    let slow = parse(&event("text", "matches", json!("(a*)*b")));
    assert_eq!(slow.holds(&big, &mut steps()), Err(EvalFault::TooLong { limit: 32 * 1024 }));
    big.trigger = json!({"text": "a".repeat(32 * 1024)});
    assert_eq!(slow.holds(&big, &mut steps()), Ok(false), "linear time");
}
