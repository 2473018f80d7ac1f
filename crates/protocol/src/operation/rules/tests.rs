use serde_json::json;

use super::*;
use crate::{Code, Message};

fn parse(rest: &str) -> Result<Operation<'static>, Error> {
    let text = format!(r#"{{"id":1,"type":"rules.{rest}}}"#).leak();
    match Message::parse(text) {
        Ok(Message::Request(request)) => Operation::parse(&request),
        other => panic!("{other:?}"),
    }
}

#[test]
fn fields_are_checked_from_left_to_right_and_worded_as_in_protocol_1() {
    let string = |field: &str| format!("Missing or invalid \"{field}\": expected non-empty string");
    let object = |field: &str| format!("Missing or invalid \"{field}\": expected object");
    let positive = |field: &str| format!("Missing or invalid \"{field}\": expected positive integer");
    let optional = |field: &str| format!("Invalid \"{field}\": expected non-empty string");
    let table = [
        (r#"emit""#, string("topic")),
        (r#"emit","topic":"","data":1"#, string("topic")),
        (r#"emit","topic":5"#, string("topic")),
        (r#"emit","topic":"t","data":[],"correlationId":1"#, "Invalid \"data\": expected object".to_owned()),
        (r#"emit","topic":"t","correlationId":"""#, optional("correlationId")),
        (r#"emit","topic":"t","correlationId":{}"#, optional("correlationId")),
        (r#"emit","topic":"t","correlationId":"c","causationId":5"#, optional("causationId")),
        (r#"setFact","value":1"#, string("key")),
        (r#"setFact","key":1,"value":1"#, string("key")),
        (r#"setFact","key":"k""#, "Missing \"value\": expected a value".to_owned()),
        (r#"getFact""#, string("key")),
        (r#"deleteFact","key":null"#, string("key")),
        (r#"queryFacts""#, string("pattern")),
        (r#"unsubscribe""#, string("subscriptionId")),
        (r#"registerRule","rule":"r""#, object("rule")),
        (r#"validateRule""#, object("rule")),
        (r#"unregisterRule""#, string("ruleId")),
        (r#"updateRule","updates":{}"#, string("ruleId")),
        (r#"updateRule","ruleId":"r""#, object("updates")),
        (r#"enableRule","ruleId":"""#, string("ruleId")),
        (r#"disableRule""#, string("ruleId")),
        (r#"getRule","ruleId":{}"#, string("ruleId")),
        (r#"history""#, string("ruleId")),
        (r#"history","ruleId":"r","limit":0"#, positive("limit")),
        (
            r#"history","ruleId":"r","offset":-1"#,
            "Invalid \"offset\": expected whole number of 0 or more".to_owned(),
        ),
        (r#"diff","ruleId":"r""#, positive("from")),
        (r#"diff","ruleId":"r","from":1,"to":"2""#, positive("to")),
        (r#"rollback","ruleId":"r","version":1.5"#, positive("version")),
        (r#"createGroup""#, object("group")),
        (r#"updateGroup","groupId":"g""#, object("updates")),
        (r#"deleteGroup""#, string("groupId")),
        (r#"timers","pattern":5"#, optional("pattern")),
        (r#"setTimer""#, object("timer")),
        (r#"cancelTimer""#, string("name")),
        (r#"explain","ruleId":"r""#, string("eventId")),
        (r#"test""#, object("rule")),
        (r#"test","rule":{},"event":[]"#, "Invalid \"event\": expected object".to_owned()),
        (
            r#"test","rule":{},"facts":5"#,
            "Invalid \"facts\": expected array of at most 1000 objects".to_owned(),
        ),
        (
            r#"test","rule":{},"events":[1]"#,
            "Invalid \"events\": expected array of at most 1000 objects".to_owned(),
        ),
        (r#"deadLetters","limit":"x""#, positive("limit")),
        (r#"stats","details":1"#, "Invalid \"details\": expected true or false".to_owned()),
        (r#"requeue""#, string("callId")),
        (r#"discard","callId":7"#, string("callId")),
    ];
    for (rest, message) in table {
        let error = parse(rest).unwrap_err();
        assert_eq!((error.code, error.message), (Code::ValidationError, message), "{rest}");
    }
}

#[test]
fn what_may_be_left_out_has_its_default() {
    let emit = |data: Value, correlation_id: Option<&'static str>, causation_id: Option<&'static str>| {
        let data = data.as_object().unwrap().clone();
        let (correlation_id, causation_id) = (correlation_id.map(Cow::from), causation_id.map(Cow::from));
        write(RuleWrite::Emit { topic: "t".into(), data, correlation_id, causation_id })
    };
    for (rest, expected) in [
        (r#"emit","topic":"t""#, emit(json!({}), None, None)),
        (r#"emit","topic":"t","data":null,"correlationId":null"#, emit(json!({}), None, None)),
        // A cause without a story is not asked for.
        (r#"emit","topic":"t","data":{"a":1},"causationId":5"#, emit(json!({"a": 1}), None, None)),
        (r#"emit","topic":"t","correlationId":"c","causationId":"e""#, emit(json!({}), Some("c"), Some("e"))),
        (
            r#"setFact","key":"\u006b","value":null"#,
            write(RuleWrite::SetFact { key: "k".into(), value: Value::Null }),
        ),
        (
            r#"history","ruleId":"r","limit":null,"offset":2.0"#,
            read(RuleRead::History { rule_id: "r".into(), limit: 50, offset: 2 }),
        ),
        (r#"timers""#, read(RuleRead::Timers { pattern: None })),
        (r#"stats","details":null"#, read(RuleRead::Stats { details: false })),
        (r#"stats","details":true"#, read(RuleRead::Stats { details: true })),
        (r#"deadLetters","limit":3"#, read(RuleRead::DeadLetters { limit: 3 })),
        (
            r#"disableRule","ruleId":"r""#,
            write(RuleWrite::SetEnabled { rule_id: "r".into(), enabled: false }),
        ),
    ] {
        assert_eq!(parse(rest).unwrap(), expected, "{rest}");
    }
}

#[test]
fn a_dry_run_is_given_what_it_needs_and_nothing_else() {
    let rest = r#"test","rule":{"id":"r"},"event":{"topic":"t"},"facts":[{"key":"k","value":1}],"events":null,"extra":1"#;
    let Ok(Operation::RuleRead(RuleRead::Test { trial })) = parse(rest) else { panic!() };
    let expected = json!({"rule": {"id": "r"}, "event": {"topic": "t"}, "facts": [{"key": "k", "value": 1}]});
    assert_eq!(Value::Object(trial), expected);
}

#[test]
fn what_is_touched_never_comes_from_a_field_that_is_not_used() {
    let decoys = r#","topic":"mine","key":"mine","pattern":"mine","ruleId":"mine""#;
    for (rest, resource) in [
        (r#"setFact","value":1,"topic":"mine","key":"other""#, Resource::Key("other".into())),
        (
            r#"subscribe","topic":"mine","key":"mine","pattern":"other.*""#,
            Resource::TopicPattern("other.*".into()),
        ),
        (
            r#"queryFacts","topic":"mine","key":"mine","pattern":"other:*""#,
            Resource::KeyPattern("other:*".into()),
        ),
        (r#"emit","key":"mine","pattern":"mine","topic":"other""#, Resource::Topic("other".into())),
        (r#"getRule","topic":"mine","key":"mine","ruleId":"other""#, Resource::Rule("other".into())),
    ] {
        assert_eq!(parse(rest).unwrap().resources(), [resource], "{rest}");
    }
    for (name, fields) in [
        ("getAllFacts", ""),
        ("stats", ""),
        ("getRules", ""),
        ("groups", ""),
        ("deadLetters", ""),
        ("requeue", r#","callId":"c""#),
        ("cancelTimer", r#","name":"t""#),
        ("validateRule", r#","rule":{"id":"mine"}"#),
        ("registerRule", r#","rule":{}"#),
    ] {
        let rest = format!(r#"{name}"{fields}{decoys}"#);
        assert_eq!(parse(&rest).unwrap().resources(), [Resource::Rules], "{rest}");
    }
    let register = parse(r#"registerRule","ruleId":"mine","rule":{"id":"other"}"#).unwrap();
    assert_eq!(register.resources(), [Resource::Rule("other".into())]);
}

#[test]
fn an_idempotency_key_stands_on_events_and_facts_alone() {
    for rest in [r#"emit","topic":"t""#, r#"setFact","key":"k","value":1"#, r#"deleteFact","key":"k""#] {
        let keyed = parse(&format!(r#"{rest},"idempotencyKey":"i""#)).unwrap();
        let key = match keyed {
            Operation::RuleWrite { idempotency_key, .. } => idempotency_key,
            other => panic!("{other:?}"),
        };
        assert_eq!(key.as_deref(), Some("i"));
        assert!(parse(&format!(r#"{rest},"idempotencyKey":"""#)).is_err());
        assert!(parse(&format!(r#"{rest},"ifVersion":1"#)).is_err());
    }
    for rest in [r#"registerRule","rule":{}"#, r#"getFact","key":"k""#, r#"cancelTimer","name":"t""#] {
        let error = parse(&format!(r#"{rest},"idempotencyKey":"i""#)).unwrap_err();
        assert!(error.message.starts_with("Unexpected \"idempotencyKey\""), "{}", error.message);
    }
}

#[test]
fn names_that_do_not_exist_are_worded_by_their_family() {
    let error = parse(r#"nonexistent""#).unwrap_err();
    let expected = "Unknown rules operation \"rules.nonexistent\"";
    assert_eq!((error.code, error.message.as_str()), (Code::UnknownOperation, expected));
}
