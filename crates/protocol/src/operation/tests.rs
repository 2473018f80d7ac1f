use super::*;
use crate::Message;

fn parse(text: &str) -> Result<Operation<'_>, Error> {
    match Message::parse(text) {
        Ok(Message::Request(request)) => Operation::parse(&request),
        other => panic!("{other:?}"),
    }
}

#[test]
fn fields_are_checked_from_left_to_right() {
    let table = [
        (r#"{"id":1,"type":"store.update"}"#, "Missing or invalid \"bucket\": expected non-empty string"),
        (r#"{"id":1,"type":"store.update","bucket":"b"}"#, "Missing \"key\": expected non-null value"),
        (
            r#"{"id":1,"type":"store.update","bucket":"b","key":null}"#,
            "Missing \"key\": expected non-null value",
        ),
        (
            r#"{"id":1,"type":"store.update","bucket":"b","key":0,"data":[]}"#,
            "Missing or invalid \"data\": expected object",
        ),
        (r#"{"id":1,"type":"store.count","bucket":"b","filter":5}"#, "Invalid \"filter\": expected object"),
        (
            r#"{"id":1,"type":"store.first","bucket":"b","n":1.5}"#,
            "Missing or invalid \"n\": expected positive integer",
        ),
        (
            r#"{"id":1,"type":"store.paginate","bucket":"b","limit":"2"}"#,
            "Missing or invalid \"limit\": expected positive integer",
        ),
    ];
    for (text, message) in table {
        let error = parse(text).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::ValidationError, message), "{text}");
    }
}

#[test]
fn whole_floats_are_integers_and_a_null_cursor_is_the_start() {
    let operation =
        parse(r#"{"id":1,"type":"store.paginate","bucket":"b","limit":2.0,"after":null}"#).unwrap();
    assert_eq!(operation, Operation::Read(Read::Paginate { bucket: "b".into(), limit: 2, after: None }));
}

#[test]
fn pages_by_cursor_are_asked_for_with_any_of_three_fields() {
    for (fields, page) in [
        (r#""cursor":null"#, PageFields::default()),
        (
            r#""cursor":"abc","after":null"#,
            PageFields { cursor: Some("abc".into()), ..PageFields::default() },
        ),
        (r#""filter":null"#, PageFields::default()),
        (r#""sort":{}"#, PageFields { sort: Some(Object::new()), ..PageFields::default() }),
    ] {
        let text = format!(r#"{{"id":1,"type":"store.paginate","bucket":"b","limit":2,{fields}}}"#);
        let expected = Operation::Read(Read::Page { bucket: "b".into(), limit: 2, page });
        assert_eq!(parse(&text).unwrap(), expected, "{text}");
    }
    for (fields, message) in [
        (r#""cursor":5"#, "Invalid \"cursor\": expected string or null"),
        (r#""sort":["n"]"#, "Invalid \"sort\": expected object"),
        (
            r#""cursor":null,"after":1"#,
            "\"after\" does not go together with \"cursor\", \"filter\" or \"sort\": leave it out and give the \"cursor\" \
             of the page before",
        ),
    ] {
        let text = format!(r#"{{"id":1,"type":"store.paginate","bucket":"b","limit":2,{fields}}}"#);
        let error = parse(&text).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::ValidationError, message), "{text}");
    }
}

#[test]
fn an_explain_is_about_a_bucket_a_query_or_a_subscription() {
    for (fields, explained, resource) in [
        (
            r#""bucket":"b","filter":null"#,
            Explained::Bucket { bucket: "b".into(), filter: None },
            Resource::Bucket("b".into()),
        ),
        (
            r#""query":"q","params":{"a":1}"#,
            Explained::Query { query: "q".into(), params: serde_json::json!({"a": 1}) },
            Resource::Query("q".into()),
        ),
        (
            r#""subscriptionId":"sub-1""#,
            Explained::Subscription { subscription_id: "sub-1".into() },
            Resource::Own,
        ),
    ] {
        let text = format!(r#"{{"id":1,"type":"store.explain",{fields}}}"#);
        let operation = parse(&text).unwrap();
        assert_eq!(operation.resources(), [resource]);
        assert_eq!(operation, Operation::Explain(explained), "{text}");
    }
    for fields in [r#""x":1"#, r#""bucket":"b","query":"q""#, r#""bucket":"b","subscriptionId":"sub-1""#] {
        let text = format!(r#"{{"id":1,"type":"store.explain",{fields}}}"#);
        let message = "Expected either \"bucket\", \"query\" or \"subscriptionId\"";
        assert_eq!(parse(&text).unwrap_err().message, message);
    }
}

#[test]
fn unknown_names_are_worded_by_their_family() {
    for (kind, message) in [
        ("store.nope", "Unknown store operation \"store.nope\""),
        ("server.nope", "Unknown server operation \"server.nope\""),
        ("nope", "Unknown operation \"nope\""),
        ("ping", "Unknown operation \"ping\""),
    ] {
        let error = parse(&format!(r#"{{"id":1,"type":"{kind}"}}"#)).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::UnknownOperation, message));
    }
}

#[test]
fn what_an_operation_touches_does_not_depend_on_stray_fields() {
    let text = r#"{"id":1,"type":"store.dropBucket","bucket":"mine","name":"other"}"#;
    assert_eq!(parse(text).unwrap().resources(), [Resource::Bucket("other".into())]);
    let text =
        r#"{"id":1,"type":"store.defineQuery","bucket":"mine","name":"q","config":{"bucket":"secret"}}"#;
    assert_eq!(
        parse(text).unwrap().resources(),
        [Resource::Query("q".into()), Resource::Bucket("secret".into())]
    );
}

#[test]
fn nesting_beyond_the_limit_is_a_clear_error_not_an_overflow() {
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let text = format!(r#"{{"id":1,"type":"store.insert","bucket":"b","data":{deep}}}"#);
    let error = parse(&text).unwrap_err();
    assert_eq!(error.code, Code::ValidationError);
    assert!(error.message.contains("nesting"), "{}", error.message);
}

#[test]
fn a_transaction_is_checked_whole_and_in_order() {
    let table = [
        (r#""x""#, "Missing or invalid \"operations\": expected array"),
        ("{}", "Missing or invalid \"operations\": expected array"),
        ("null", "Missing or invalid \"operations\": expected array"),
        ("[]", "\"operations\" must contain at least one operation"),
        ("[null]", "operations[0]: expected object"),
        (r#"[{"op":"count","bucket":"b"},[]]"#, "operations[1]: expected object"),
        (
            r#"[{"op":"clear"}]"#,
            "operations[0]: invalid \"op\" — expected one of: get, insert, update, delete, where, findOne, count, \
             insertMany, updateMany, deleteMany, upsert, groupBy",
        ),
        (r#"[{"op":"get"}]"#, "operations[0]: missing or invalid \"bucket\""),
        (r#"[{"op":"get","bucket":""}]"#, "operations[0]: missing or invalid \"bucket\""),
        (r#"[{"op":"get","bucket":"b","key":null}]"#, "operations[0]: \"get\" requires \"key\""),
        (r#"[{"op":"delete","bucket":"b"}]"#, "operations[0]: \"delete\" requires \"key\""),
        (r#"[{"op":"update","bucket":"b","data":{}}]"#, "operations[0]: \"update\" requires \"key\""),
        (r#"[{"op":"update","bucket":"b","key":1}]"#, "operations[0]: \"update\" requires \"data\" object"),
        (r#"[{"op":"insert","bucket":"b","data":[]}]"#, "operations[0]: \"insert\" requires \"data\" object"),
        (r#"[{"op":"where","bucket":"b"}]"#, "operations[0]: \"where\" requires \"filter\" object"),
        (
            r#"[{"op":"count","bucket":"b","filter":1}]"#,
            "operations[0]: \"count\" requires \"filter\" object",
        ),
        (
            r#"[{"op":"updateMany","bucket":"b","data":{}}]"#,
            "operations[0]: \"updateMany\" requires \"filter\" object",
        ),
        (
            r#"[{"op":"insertMany","bucket":"b","data":{}}]"#,
            "operations[0]: \"insertMany\" requires \"data\" array of objects",
        ),
        (
            r#"[{"op":"insertMany","bucket":"b","data":[{},5]}]"#,
            "operations[0]: Missing or invalid \"data[1]\": expected object",
        ),
        (
            r#"[{"op":"groupBy","bucket":"b","field":"f","aggregate":{"function":"mean"}}]"#,
            "operations[0]: Missing or invalid \"aggregate.function\": expected one of: count, sum, avg, min, max",
        ),
    ];
    for (operations, message) in table {
        let text = format!(r#"{{"id":1,"type":"store.transaction","operations":{operations}}}"#);
        let error = parse(&text).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::ValidationError, message), "{text}");
    }
    assert!(parse(r#"{"id":1,"type":"store.transaction"}"#).is_err());
}

#[test]
fn a_transaction_becomes_the_operations_it_is_made_of() {
    let text = r#"{"id":1,"type":"store.transaction","operations":[
        {"op":"get","bucket":"a","key":"k"},
        {"op":"count","bucket":"b","filter":null},
        {"op":"delete","bucket":"a","key":1},
        {"op":"groupBy","bucket":"c","field":["x","y"],"aggregate":{"function":"max","field":"n"}}
    ]}"#;
    let operation = parse(text).unwrap();
    let buckets: Vec<Resource<'_>> = ["a", "b", "c"].map(|name| Resource::Bucket(name.into())).into();
    assert_eq!(operation.resources(), buckets, "each once, in order of appearance");
    let grouping = Grouping { by: vec!["x".into(), "y".into()], function: Aggregate::Max, field: "n".into() };
    let steps = vec![
        Step::Get { bucket: "a".into(), key: "k".into(), if_version: None },
        Step::Count { bucket: "b".into(), filter: None },
        Step::Write(Write::Delete { bucket: "a".into(), key: 1.into(), if_version: None }),
        Step::GroupBy { bucket: "c".into(), grouping, filter: None },
    ];
    let write = Write::Transaction { operations: steps };
    assert_eq!(operation, Operation::Write { write, idempotency_key: None });
}

#[test]
fn a_decoy_bucket_beside_the_operations_is_not_what_a_transaction_touches() {
    let text = r#"{"id":1,"type":"store.transaction","bucket":"mine","operations":[
        {"op":"insertMany","bucket":"secret","data":[{}]}]}"#;
    assert_eq!(parse(text).unwrap().resources(), [Resource::Bucket("secret".into())]);
}

#[test]
fn a_transaction_too_large_or_too_deep_is_a_clear_error() {
    let operations = vec![r#"{"op":"count","bucket":"b"}"#; 10_001].join(",");
    let error =
        parse(&format!(r#"{{"id":1,"type":"store.transaction","operations":[{operations}]}}"#)).unwrap_err();
    assert!(error.message.contains("10001") && error.message.contains("10000"), "{}", error.message);
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for operation in [deep.clone(), format!(r#"{{"op":"insert","bucket":"b","data":{{"a":{deep}}}}}"#)] {
        let text = format!(r#"{{"id":1,"type":"store.transaction","operations":[{operation}]}}"#);
        let error = parse(&text).unwrap_err();
        assert_eq!(error.code, Code::ValidationError);
        assert!(error.message.starts_with("operations[0]: "), "{}", error.message);
    }
}

#[test]
fn bulk_operations_and_groups_check_their_fields_from_left_to_right() {
    let table = [
        (r#""insertMany","bucket":"b","data":{}"#, "Missing or invalid \"data\": expected array of objects"),
        (r#""insertMany","bucket":"b","data":[1]"#, "Missing or invalid \"data[0]\": expected object"),
        (r#""updateMany","bucket":"b","data":{}"#, "Missing or invalid \"filter\": expected object"),
        (r#""updateMany","bucket":"b","filter":{}"#, "Missing or invalid \"data\": expected object"),
        (r#""deleteMany","bucket":"b""#, "Missing or invalid \"filter\": expected object"),
        (r#""upsert","bucket":"b","data":null"#, "Missing or invalid \"data\": expected object"),
        (
            r#""groupBy","bucket":"b","field":"""#,
            "Missing or invalid \"field\": expected non-empty string or array of at most 256 strings",
        ),
        (
            r#""groupBy","bucket":"b","field":["a",1]"#,
            "Missing or invalid \"field\": expected non-empty string or array of at most 256 strings",
        ),
        (r#""groupBy","bucket":"b","field":"f""#, "Missing or invalid \"aggregate\": expected object"),
        (
            r#""groupBy","bucket":"b","field":"f","aggregate":{"function":"sum"}"#,
            "Missing or invalid \"aggregate.field\": expected non-empty string",
        ),
        (
            r#""groupBy","bucket":"b","field":"f","aggregate":{"function":"count"},"filter":1"#,
            "Invalid \"filter\": expected object",
        ),
        (r#""sum","bucket":"b","field":["f"]"#, "Missing or invalid \"field\": expected non-empty string"),
        (r#""sum","bucket":"b","field":"""#, "Missing or invalid \"field\": expected non-empty string"),
    ];
    for (rest, message) in table {
        let text = format!(r#"{{"id":1,"type":"store.{}}}"#, &rest[1..]);
        let error = parse(&text).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::ValidationError, message), "{text}");
    }
    let text = r#"{"id":1,"type":"store.sum","bucket":"b","field":"\u0066"}"#;
    assert!(matches!(parse(text), Ok(Operation::Read(Read::Aggregate { field, .. })) if field == "f"));
}

const KEYED: &str = "store.insert, insertMany, update, updateMany, upsert, delete, deleteMany, clear and transaction, rules.emit, setFact and deleteFact";

/// Operations with all the fields that they need.
const OPERATIONS: [(&str, &str); 26] = [
    ("store.insert", r#""bucket":"b","data":{}"#),
    ("store.insertMany", r#""bucket":"b","data":[]"#),
    ("store.update", r#""bucket":"b","key":1,"data":{}"#),
    ("store.updateMany", r#""bucket":"b","filter":{},"data":{}"#),
    ("store.upsert", r#""bucket":"b","data":{}"#),
    ("store.delete", r#""bucket":"b","key":1"#),
    ("store.deleteMany", r#""bucket":"b","filter":{}"#),
    ("store.clear", r#""bucket":"b""#),
    ("store.transaction", r#""operations":[{"op":"count","bucket":"b"}]"#),
    ("store.get", r#""bucket":"b","key":1"#),
    ("store.where", r#""bucket":"b","filter":{}"#),
    ("store.count", r#""bucket":"b""#),
    ("store.paginate", r#""bucket":"b","limit":1"#),
    ("store.explain", r#""bucket":"b""#),
    ("store.buckets", r#""x":1"#),
    ("store.stats", r#""x":1"#),
    ("store.defineBucket", r#""name":"b","config":{}"#),
    ("store.dropBucket", r#""name":"b""#),
    ("store.updateBucket", r#""name":"b","updates":{}"#),
    ("store.defineQuery", r#""name":"b","config":{}"#),
    ("store.undefineQuery", r#""name":"b""#),
    ("store.subscribe", r#""query":"q""#),
    ("store.unsubscribe", r#""subscriptionId":"s""#),
    ("hello", r#""client":"c""#),
    ("auth.login", r#""token":"t""#),
    ("server.stats", r#""x":1"#),
];

#[test]
fn an_idempotency_key_stands_on_writes_of_records_and_nowhere_else() {
    for (place, (kind, fields)) in OPERATIONS.into_iter().enumerate() {
        let plain = format!(r#"{{"id":1,"type":"{kind}",{fields}}}"#);
        let keyed = format!(r#"{{"id":1,"type":"{kind}",{fields},"idempotencyKey":"k"}}"#);
        match (parse(&plain).unwrap(), parse(&keyed)) {
            (Operation::Write { write, idempotency_key: None }, Ok(operation)) if place < 9 => {
                assert_eq!(operation, Operation::Write { write, idempotency_key: Some("k".into()) });
            }
            (_, Err(error)) if place >= 9 => {
                let expected =
                    format!("Unexpected \"idempotencyKey\": it is for {KEYED}, not for \"{kind}\"");
                assert_eq!((error.code, error.message), (Code::ValidationError, expected));
            }
            (_, other) => panic!("{kind}: {other:?}"),
        }
    }
    for unknown in ["store.nonsense", "nonsense"] {
        let text = format!(r#"{{"id":1,"type":"{unknown}","idempotencyKey":"k","ifVersion":1}}"#);
        assert_eq!(parse(&text).unwrap_err().code, Code::UnknownOperation);
    }
}

#[test]
fn an_idempotency_key_is_a_string_of_1_to_128_bytes() {
    let keyed = |key: &str| format!(r#"{{"id":1,"type":"store.clear","bucket":"b","idempotencyKey":{key}}}"#);
    let quoted = |text: String| format!("\"{text}\"");
    for good in
        ["\"k\"".to_owned(), quoted("x".repeat(128)), quoted("ž".repeat(64)), r#""\u0000""#.to_owned()]
    {
        assert!(parse(&keyed(&good)).is_ok(), "{good}");
    }
    let long = [quoted("x".repeat(129)), quoted("ž".repeat(64) + "x")];
    let wrong = ["null", "true", "5", "\"\"", "[]", "{}", "[\"k\"]"].map(str::to_owned);
    for wrong in wrong.into_iter().chain(long) {
        let error = parse(&keyed(&wrong)).unwrap_err();
        let expected = "Invalid \"idempotencyKey\": expected string of 1 to 128 bytes (UTF-8)";
        assert_eq!((error.code, error.message.as_str()), (Code::ValidationError, expected), "{wrong}");
    }
}

#[test]
fn a_version_stands_on_updates_and_deletes_and_nowhere_else() {
    for (kind, fields) in OPERATIONS {
        let text = format!(r#"{{"id":1,"type":"{kind}",{fields},"ifVersion":2}}"#);
        match parse(&text) {
            Ok(Operation::Write {
                write: Write::Update { if_version, .. } | Write::Delete { if_version, .. },
                ..
            }) => {
                assert_eq!(if_version, Some(2));
            }
            Err(error) if !["store.update", "store.delete"].contains(&kind) => {
                let expected = format!(
                    "Unexpected \"ifVersion\": it is for store.update and store.delete, and in a transaction on get, \
                     insert (0 only), update and delete, not for \"{kind}\""
                );
                assert_eq!((error.code, error.message), (Code::ValidationError, expected));
            }
            other => panic!("{kind}: {other:?}"),
        }
    }
    let versioned = |version: &str| {
        format!(r#"{{"id":1,"type":"store.delete","bucket":"b","key":1,"ifVersion":{version}}}"#)
    };
    for (text, version) in
        [("0", 0), ("3", 3), ("3.0", 3), ("3e0", 3), ("-0", 0), ("18446744073709551615", u64::MAX)]
    {
        let text = versioned(text);
        let operation = parse(&text);
        let Ok(Operation::Write { write: Write::Delete { if_version, .. }, .. }) = operation else {
            panic!("{text}")
        };
        assert_eq!(if_version, Some(version));
    }
    for wrong in ["null", "true", "\"1\"", "-1", "1.5", "1e300", "[]", "{}"] {
        let error = parse(&versioned(wrong)).map(drop).unwrap_err();
        let expected = "Invalid \"ifVersion\": expected whole number of 0 or more";
        assert_eq!((error.code, error.message.as_str()), (Code::ValidationError, expected), "{wrong}");
    }
}

#[test]
fn operations_of_a_transaction_may_ask_for_versions_but_have_no_keys() {
    let parse_one = |op: &str| -> Result<Vec<Step<'static>>, Error> {
        let text = format!(r#"{{"id":1,"type":"store.transaction","operations":[{{{op}}}]}}"#).leak();
        match parse(text)? {
            Operation::Write { write: Write::Transaction { operations }, .. } => Ok(operations),
            other => panic!("{other:?}"),
        }
    };
    let (bucket, key) = (|| "b".into(), || 1.into());
    let good = [
        (
            r#""op":"get","bucket":"b","key":1,"ifVersion":2"#,
            Step::Get { bucket: bucket(), key: key(), if_version: Some(2) },
        ),
        (
            r#""op":"insert","bucket":"b","data":{},"ifVersion":0"#,
            Step::Write(Write::Insert { bucket: bucket(), data: Object::new(), if_version: Some(0) }),
        ),
        (
            r#""op":"update","bucket":"b","key":1,"data":{},"ifVersion":0"#,
            Step::Write(Write::Update {
                bucket: bucket(),
                key: key(),
                data: Object::new(),
                if_version: Some(0),
            }),
        ),
        (
            r#""op":"delete","bucket":"b","key":1,"ifVersion":7"#,
            Step::Write(Write::Delete { bucket: bucket(), key: key(), if_version: Some(7) }),
        ),
    ];
    for (text, step) in good {
        assert_eq!(parse_one(text).unwrap(), [step]);
    }
    let misplaced = "Unexpected \"ifVersion\": it is for store.update and store.delete, and in a transaction on get, insert (0 \
                     only), update and delete, not for ";
    let mut bad: Vec<(String, String)> = vec![
        (
            r#""op":"insert","bucket":"b","data":{},"ifVersion":1"#.to_owned(),
            "Unexpected \"ifVersion\": an insert can ask for 0 only, that the record does not exist"
                .to_owned(),
        ),
        (
            r#""op":"get","bucket":"b","key":1,"ifVersion":null"#.to_owned(),
            "Invalid \"ifVersion\": expected whole number of 0 or more".to_owned(),
        ),
        (
            r#""op":"get","bucket":"b","key":1,"idempotencyKey":"k""#.to_owned(),
            "Unexpected \"idempotencyKey\": it belongs to the transaction, beside \"operations\"".to_owned(),
        ),
    ];
    for op in ["where", "findOne", "count", "insertMany", "updateMany", "deleteMany", "upsert", "groupBy"] {
        bad.push((format!(r#""op":"{op}","bucket":"b","ifVersion":0"#), format!("{misplaced}\"{op}\"")));
    }
    for (text, message) in bad {
        let error = parse_one(&text).unwrap_err();
        assert_eq!(
            (error.code, error.message),
            (Code::ValidationError, format!("operations[0]: {message}")),
            "{text}"
        );
    }
}
