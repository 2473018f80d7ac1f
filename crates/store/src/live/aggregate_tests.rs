//! Maintained aggregates against those that are worked out from scratch.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::fold::FoldView;
use super::groups::GroupsView;
use super::{Delta, Edit, Item};
use crate::{Aggregate, Bucket, BucketId, Filter, Record, RowId};

/// Members of a record as JSON texts; `None` is an absent one.
type Members = (Option<&'static str>, Option<&'static str>, Option<&'static str>);

/// Changes of rows: to a record, or to none.
type Step = Vec<(u64, Option<Members>)>;

const KEYS: &[Option<&str>] = &[
    None,
    Some("null"),
    Some("1"),
    Some("1.0"),
    Some("\"1\""),
    Some("\"a,\\\"b\""),
    Some("true"),
    Some("0.5"),
    Some(r#"{"a":1}"#),
    Some("[]"),
];
const NUMBERS: &[Option<&str>] = &[
    None,
    Some("null"),
    Some("\"5\""),
    Some("0"),
    Some("-1"),
    Some("7"),
    Some("0.1"),
    Some("-0.3"),
    Some("18446744073709551615"),
    Some("9007199254740993"),
    Some("36893488147419103232"),
    Some("1e300"),
    Some("-1e300"),
    Some("1.7e308"),
    Some("5e-324"),
];

fn members() -> impl Strategy<Value = Members> {
    let number = prop_oneof![1 => Just(Some("1")), 2 => prop::sample::select(NUMBERS)];
    let key = prop_oneof![1 => Just(None), 1 => Just(Some("null")), 3 => prop::sample::select(KEYS)];
    (prop::sample::select(KEYS), key, number)
}

fn step(rows: u64) -> impl Strategy<Value = Step> {
    // Two in three leave a record. Low rows are often the first of their group.
    let row = prop_oneof![1 => 0..rows.min(6), 2 => 0..rows];
    let change = (row, prop_oneof![1 => Just(None), 2 => members().prop_map(Some)]);
    prop_oneof![
        3 => prop::collection::vec(change.clone(), 1..6),
        1 => prop::collection::vec(change, 1..60),
    ]
}

fn bucket() -> Bucket {
    let config =
        r#"{"key":"id","schema":{"id":{"type":"string"},"g":{"type":"string"},"n":{"type":"number"}}}"#;
    crate::apply::empty_bucket(BucketId(0), &"b".into(), config).unwrap()
}

fn record(bucket: &Bucket, row: u64, (g, x, n): Members) -> Record {
    use std::fmt::Write;
    let mut json = format!(r#"{{"id":"{row}""#);
    for (name, value) in [("g", g), ("x", x), ("n", n)] {
        if let Some(value) = value {
            write!(json, r#","{name}":{value}"#).unwrap();
        }
    }
    json.push_str(r#","_version":1,"_createdAt":1,"_updatedAt":1}"#);
    Record::parse(&json, bucket.definition()).unwrap()
}

/// Carries a step out: each changed row as it was and as it is.
fn take(bucket: &mut Bucket, step: &Step) -> Vec<(RowId, Option<Record>, Option<Record>)> {
    // The last of several changes of one row counts.
    let last: BTreeMap<u64, Option<Members>> = step.iter().copied().collect();
    let changed = last.into_iter().map(|(row, members)| {
        let before = bucket.row(RowId(row)).cloned();
        let after = members.map(|members| record(bucket, row, members));
        match &after {
            Some(after) => assert!(bucket.put(RowId(row), after.clone())),
            None => assert_eq!(bucket.remove(RowId(row)), before.is_some()),
        }
        (RowId(row), before, after)
    });
    changed.collect()
}

/// What a patch makes of a result.
fn patched(result: &str, edits: &[Edit]) -> String {
    let mut list: Vec<Value> = serde_json::from_str(result).unwrap();
    for edit in edits {
        match edit {
            Edit::Add(at, Item::Text(text)) => list.insert(*at, serde_json::from_str(text).unwrap()),
            Edit::Remove(at, _) => drop(list.remove(*at)),
            Edit::Move(from, to) => {
                let moved = list.remove(*from);
                list.insert(*to, moved);
            }
            Edit::Member { at, name, value } => {
                let member = list[*at].get_mut(*name).unwrap();
                *member = serde_json::from_str(value).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    Value::from(list).to_string()
}

fn parsed(result: &str) -> String {
    serde_json::from_str::<Value>(result).unwrap().to_string()
}

fn evaluated(bucket: &Bucket, function: Aggregate, field: &str, filter: &Filter) -> Option<String> {
    match function {
        Aggregate::Count => Some(bucket.count(filter).to_string()),
        _ => bucket.aggregate(function, field, filter).map(|number| number.to_string()),
    }
}

/// Keeps views of a bucket up to date over these steps, each compared with what is worked out from scratch.
fn check(mut bucket: Bucket, steps: &[Step], filter: &Filter, by: &[String]) {
    let mut folds =
        Aggregate::ALL.map(|function| (function, FoldView::build(&bucket, function, "n", filter)));
    let mut groups =
        Aggregate::ALL.map(|function| (function, GroupsView::build(&bucket, by, function, "n", filter)));
    for (function, view) in &groups {
        assert_eq!(view.encode(), bucket.group_by(by, *function, "n", filter));
    }
    for step in steps {
        let mut changed = take(&mut bucket, step);
        let matcher = filter.matcher(bucket.definition());
        for (_, before, after) in &mut changed {
            *before = before.take().filter(|record| matcher.matches(record));
            *after = after.take().filter(|record| matcher.matches(record));
        }
        for (function, view) in &mut folds {
            let (told, mut delta) = (view.encode(), Delta::default());
            for (_, before, after) in &changed {
                view.change(before.as_ref(), after.as_ref());
            }
            view.settle(&mut delta);
            assert_eq!(view.encode(), evaluated(&bucket, *function, "n", filter), "{function:?}");
            assert_eq!(delta.edits().is_none(), view.encode() != told, "{function:?}");
        }
        for (function, view) in &mut groups {
            let (told, mut delta) = (view.encode(), Delta::default());
            for (row, before, after) in &changed {
                view.change(*row, before.as_ref(), after.as_ref());
            }
            view.settle(&bucket, &mut delta);
            let result = view.encode();
            assert_eq!(result, bucket.group_by(by, *function, "n", filter), "{function:?}");
            assert_eq!(delta.is_empty(), result == told, "{function:?}: {told} {:?}", delta.edits());
            if delta.edits().is_some() {
                assert_eq!(
                    patched(&told, delta.edits().unwrap()),
                    parsed(&result),
                    "{told} {:?}",
                    delta.edits()
                );
            }
        }
    }
}

fn filter(filter: &Value) -> Filter {
    Filter::parse(filter.as_object().unwrap()).unwrap()
}

proptest! {
    #[test]
    fn equal_what_is_worked_out_from_scratch(
        begin in step(40),
        steps in prop::collection::vec(step(40), 0..12),
        condition in prop::sample::select(vec![json!({}), json!({"n": {"$gt": 0}}), json!({"x": {"$exists": true}})]),
        by in prop::sample::select(vec![vec!["g"], vec!["x"], vec!["g", "x"], vec!["x.a"], vec!["n"], vec![]]),
    ) {
        let mut bucket = bucket();
        take(&mut bucket, &begin);
        let by: Vec<String> = by.into_iter().map(String::from).collect();
        check(bucket, &steps, &filter(&condition), &by);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    #[test]
    fn of_many_groups(steps in prop::collection::vec(step(1_200), 1..6)) {
        let mut bucket = bucket();
        for row in 0..1_200 {
            assert!(bucket.put(RowId(row), record(&bucket, row, (None, None, Some("1")))));
        }
        check(bucket, &steps, &Filter::default(), &["id".into()]);
    }
}

#[test]
fn a_key_is_written_as_in_the_first_record() {
    let mut bucket = bucket();
    take(
        &mut bucket,
        &vec![(0, Some((None, None, Some("0.1")))), (1, Some((Some("null"), None, Some("0.2"))))],
    );
    let by = ["g".to_owned()];
    let mut view = GroupsView::build(&bucket, &by, Aggregate::Max, "n", &Filter::default());
    assert_eq!(view.encode(), r#"[{"key":{},"value":0.2}]"#);
    let mut delta = Delta::default();
    for (row, before, after) in take(&mut bucket, &vec![(0, None)]) {
        view.change(row, before.as_ref(), after.as_ref());
    }
    view.settle(&bucket, &mut delta);
    assert_eq!(view.encode(), r#"[{"key":{"g":null},"value":0.2}]"#);
    assert!(matches!(delta.edits().unwrap(), [Edit::Member { at: 0, name: "key", .. }]), "{delta:?}");
}

#[test]
fn groups_that_keep_their_order_do_not_move() {
    let by = ["x".to_owned()];
    let (a, b) = (Some((None, Some("1"), None)), Some((None, Some("2"), None)));
    let rows = |rows: &[u64]| -> Step {
        (0..8)
            .map(|row| (row, rows.contains(&row).then_some(if row % 2 == 0 { a } else { b }).flatten()))
            .collect()
    };
    let mut bucket = bucket();
    let mut view = GroupsView::build(&bucket, &by, Aggregate::Sum, "n", &Filter::default());
    for step in [&[2, 3][..], &[4, 7], &[0, 1, 4], &[6, 7]] {
        let (told, mut delta) = (view.encode(), Delta::default());
        for (row, before, after) in take(&mut bucket, &rows(step)) {
            view.change(row, before.as_ref(), after.as_ref());
        }
        view.settle(&bucket, &mut delta);
        assert_eq!(view.encode(), r#"[{"key":{"x":1},"value":0},{"key":{"x":2},"value":0}]"#);
        assert!(told == "[]" || delta.is_empty(), "{delta:?}");
    }
}

#[test]
fn more_changes_than_groups_are_told_whole() {
    let mut bucket = bucket();
    let mut view = GroupsView::build(&bucket, &["id".into()], Aggregate::Count, "", &Filter::default());
    for (rows, whole) in [(0..16, false), (16..49, true)] {
        let mut delta = Delta::default();
        let step: Step = rows.map(|row| (row, Some((None, None, None)))).collect();
        for (row, before, after) in take(&mut bucket, &step) {
            view.change(row, before.as_ref(), after.as_ref());
        }
        view.settle(&bucket, &mut delta);
        assert_eq!((delta.edits().is_none(), delta.is_empty()), (whole, false));
        assert_eq!(view.encode(), bucket.group_by(&["id".into()], Aggregate::Count, "", &Filter::default()));
    }
}
