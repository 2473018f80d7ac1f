//! Against trying every filter on every record.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Filed, Matching};
use crate::limits::{MAX_VIEW_ANCHORS, MAX_VIEW_FOREIGN_MEMBERS, MAX_VIEW_TEMPLATES};
use crate::live::ViewId;
use crate::{Definition, Filter, Record};

/// Fields, metadata, members outside the schema, and what stands inside others.
const MEMBERS: [&str; 10] =
    ["id", "owner", "done", "due", "extra", "deep.a", "list.0", "_version", "_createdAt", "_expiresAt"];

fn definition() -> Definition {
    let config = json!({"key": "id", "schema": {
        "id": {"type": "string"}, "owner": {"type": "string"}, "done": {"type": "boolean"},
        "due": {"type": "number"}, "list": {"type": "array"},
    }});
    Definition::parse("tasks", config.as_object().unwrap()).unwrap()
}

fn record(definition: &Definition, members: &Value) -> Record {
    let mut whole = json!({"_version": 1, "_createdAt": 1, "_updatedAt": 2}).as_object().cloned().unwrap();
    whole.extend(members.as_object().cloned().unwrap());
    Record::parse(&Value::from(whole).to_string(), definition).unwrap()
}

fn parse(filter: &Value) -> Filter {
    Filter::parse(filter.as_object().unwrap()).unwrap()
}

/// Views filed under filters, each named by its place among them.
struct World {
    definition: Definition,
    matching: Matching,
    filters: Vec<Filter>,
    filed: Vec<Filed>,
}

impl World {
    fn of(definition: Definition, filters: impl IntoIterator<Item = Value>) -> Self {
        let filters: Vec<Filter> = filters.into_iter().map(|filter| parse(&filter)).collect();
        let mut matching = Matching::default();
        let filed = (0..)
            .zip(&filters)
            .map(|(id, filter)| matching.insert(&definition, ViewId(id), filter))
            .collect();
        Self { definition, matching, filters, filed }
    }

    fn candidates(&self, members: &Value) -> Vec<ViewId> {
        let mut found = Vec::new();
        self.matching.candidates(&record(&self.definition, members), &mut found);
        found
    }

    /// The views that match, or are found without that.
    fn missed_and_more(&self, members: &Value) -> (Vec<ViewId>, Vec<ViewId>) {
        let found: BTreeSet<ViewId> = self.candidates(members).into_iter().collect();
        let record = record(&self.definition, members);
        let matches = |(_, filter): &(ViewId, &Filter)| filter.matcher(&self.definition).matches(&record);
        let views = (0..).map(ViewId).zip(&self.filters);
        let matching: BTreeSet<ViewId> = views.filter(matches).map(|(view, _)| view).collect();
        (matching.difference(&found).copied().collect(), found.difference(&matching).copied().collect())
    }

    fn remove(&mut self, view: u64) {
        let at = usize::try_from(view).unwrap();
        self.matching.remove(ViewId(view), &self.filed[at]);
    }

    fn explain(&self) -> Vec<Value> {
        self.filed.iter().map(Filed::explain).collect()
    }
}

/// Boxed, as are those below: nested in one another they would not fit a thread's stack. Few of each type, so that they meet; some numbers in two spellings, some strings that only end differently.
fn scalar() -> BoxedStrategy<Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        4 => (-1_i64..4).prop_map(Value::from),
        2 => (-1_i8..4).prop_map(|int| Value::from(f64::from(int))),
        1 => (0_u8..4).prop_map(|int| Value::from(f64::from(int) / 2.0)),
        1 => (0_u64..3).prop_map(|by| Value::from((1_u64 << 53) + by)),
        4 => "[ab]{0,2}".prop_map(Value::from),
        1 => "a{16}[ab]{0,2}".prop_map(Value::from),
        1 => "[é\u{E000}\u{10000}]{1,2}".prop_map(Value::from),
    ]
    .boxed()
}

fn value() -> BoxedStrategy<Value> {
    prop_oneof![
        8 => scalar(),
        1 => prop::collection::vec(scalar(), 0..3).prop_map(Value::from),
        1 => scalar().prop_map(|a| json!({"a": a})),
    ]
    .boxed()
}

/// Numbers and strings, which have an order.
fn ordered() -> impl Strategy<Value = Value> {
    prop_oneof![(-1_i64..5).prop_map(Value::from), "[ab]{0,3}".prop_map(Value::from), Just(json!(1.5))]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]{0,2}", "a{14}[ab]{0,4}"]
}

/// An operator and its operand.
fn operator() -> BoxedStrategy<(&'static str, Value)> {
    let related = prop::sample::select(vec!["$gt", "$gte", "$lt", "$lte"]);
    let texts = prop::sample::select(vec!["$startsWith", "$endsWith", "$contains"]);
    prop_oneof![
        4 => value().prop_map(|value| ("$eq", value)),
        1 => value().prop_map(|value| ("$neq", value)),
        3 => prop::collection::vec(value(), 0..4).prop_map(|values| ("$in", values.into())),
        1 => prop::collection::vec(value(), 0..3).prop_map(|values| ("$nin", values.into())),
        5 => (related, ordered()),
        2 => (-1_i64..5, -1_i64..5).prop_map(|(a, b)| ("$between", json!([a, b]))),
        1 => ("[ab]{0,2}", "[ab]{0,2}").prop_map(|(a, b)| ("$between", json!([a, b]))),
        2 => (texts, text()).prop_map(|(name, text)| (name, text.into())),
        1 => any::<bool>().prop_map(|exists| ("$exists", exists.into())),
        1 => scalar().prop_map(|value| ("$has", value)),
    ]
    .boxed()
}

fn object(members: Vec<(&'static str, Value)>) -> Value {
    members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn condition() -> BoxedStrategy<Value> {
    prop_oneof![
        2 => value(),
        3 => prop::collection::vec(operator(), 1..4).prop_map(object),
        1 => operator().prop_map(|operator| json!({"$not": object(vec![operator])})),
    ]
    .boxed()
}

fn filter() -> impl Strategy<Value = Value> {
    let tests = (prop::sample::select(&MEMBERS[..]), condition());
    let leaf = prop::collection::vec(tests, 0..4).prop_map(object);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let branches = prop::collection::vec(inner.clone(), 0..4);
        let both = (prop::sample::select(&MEMBERS[..]), condition(), inner.clone());
        prop_oneof![
            3 => branches.clone().prop_map(|filters| json!({"$or": filters})),
            2 => branches.prop_map(|filters| json!({"$and": filters})),
            1 => inner.prop_map(|filter| json!({"$not": filter})),
            3 => both.prop_map(|(name, condition, filter)| json!({name: condition, "$or": [filter, {"done": true}]})),
        ]
    })
}

fn members() -> impl Strategy<Value = Value> {
    let times = (
        1_u64..4,
        0_u64..4,
        prop::option::of(prop_oneof![Just(Value::Null), (0_u64..4).prop_map(Value::from)]),
    );
    let others = prop::sample::select(vec!["id", "owner", "done", "due", "list", "extra", "deep", "deep.a"]);
    (times, prop::collection::vec((others, value()), 0..8)).prop_map(
        |((version, created, expires), others)| {
            let mut members = others;
            members.extend([("_version", version.into()), ("_createdAt", created.into())]);
            members.extend(expires.map(|expires| ("_expiresAt", expires)));
            object(members)
        },
    )
}

/// What templates tell exactly: equalities, `$in`, and at most one range.
fn exact() -> impl Strategy<Value = Value> {
    let equal = prop_oneof![
        scalar(),
        scalar().prop_map(|value| json!({"$eq": value})),
        prop::collection::vec(scalar(), 0..3).prop_map(|values| json!({"$in": values})),
    ];
    let low = prop::sample::select(vec!["$gt", "$gte"]);
    let high = prop::sample::select(vec!["$lt", "$lte"]);
    let range = prop_oneof![
        (low.clone(), ordered()).prop_map(|one| object(vec![one])),
        (high.clone(), ordered()).prop_map(|one| object(vec![one])),
        (low, ordered(), high, ordered()).prop_map(|(low, a, high, b)| object(vec![(low, a), (high, b)])),
        (-1_i64..5, -1_i64..5).prop_map(|(a, b)| json!({"$between": [a, b]})),
        "[ab]{0,3}".prop_map(|prefix| json!({"$startsWith": prefix})),
    ];
    let equals = prop::collection::vec((prop::sample::select(&MEMBERS[..]), equal), 0..4);
    let ranges = prop::option::of((prop::sample::select(&MEMBERS[..]), range));
    let apart = prop::option::of(Just(()));
    (equals, ranges, apart).prop_map(|(mut tests, range, apart)| {
        tests.extend(range);
        match apart {
            None => object(tests),
            Some(()) => json!({"$and": tests.into_iter().map(|test| object(vec![test])).collect::<Vec<_>>()}),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_matches_is_found(
        filters in prop::collection::vec(filter(), 1..24),
        records in prop::collection::vec(members(), 1..12),
        leave in any::<u64>(),
    ) {
        let mut world = World::of(definition(), filters.clone());
        for members in &records {
            prop_assert_eq!(world.missed_and_more(members).0, [], "{} of {:?}", members, filters);
        }
        let leaves = |view: &u64| leave >> (view % 64) & 1 == 1;
        for view in (0..world.filters.len() as u64).filter(leaves) {
            world.remove(view);
        }
        for members in &records {
            let found = world.candidates(members);
            prop_assert!(!found.iter().any(|view| leaves(&view.0)), "gone, but found");
            let (missed, _) = world.missed_and_more(members);
            prop_assert!(missed.iter().all(|view| leaves(&view.0)), "{} of {:?}", members, filters);
        }
        for view in (0..world.filters.len() as u64).filter(|view| !leaves(view)) {
            world.remove(view);
        }
        prop_assert!(world.matching.is_empty());
        prop_assert_eq!((world.matching.templates.len(), world.matching.columns.len()), (0, 0));
    }

    #[test]
    fn what_templates_tell_is_told_exactly(
        filters in prop::collection::vec(exact(), 1..24),
        records in prop::collection::vec(members(), 1..12),
    ) {
        let world = World::of(definition(), filters.clone());
        prop_assert_eq!(world.matching.unindexed(), 0, "{:?}", filters);
        for members in &records {
            prop_assert_eq!(world.missed_and_more(members), (vec![], vec![]), "{} of {:?}", members, filters);
            let found = world.candidates(members);
            prop_assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len(), "found once");
        }
    }
}

#[test]
fn among_many_views_few_are_found() {
    let filters = (0..20_000).map(|i| {
        let owner = format!("owner {}", i / 5);
        match i % 5 {
            0 => json!({"owner": owner}),
            1 => json!({"owner": owner, "due": {"$gte": i, "$lt": i + 10}}),
            2 => json!({"due": {"$between": [i, i + 4]}}),
            3 => json!({"extra": {"$startsWith": format!("{owner}/")}}),
            _ => json!({"$or": [{"id": owner}, {"owner": owner, "done": true}]}),
        }
    });
    let world = World::of(definition(), filters);
    assert_eq!(world.matching.templates.len(), 6);
    for i in [0, 7, 1_234, 3_999] {
        let owner = format!("owner {i}");
        let members = json!({"id": owner, "owner": owner, "done": true, "due": i * 5 + 3, "extra": format!("{owner}/a")});
        let found = world.candidates(&members);
        // The last is found by each of its branches.
        let expected = [0, 1, 2, 3, 4, 4].map(|kind| ViewId(i * 5 + kind));
        assert_eq!(
            {
                let mut found = found;
                found.sort_unstable();
                found
            },
            expected
        );
        assert_eq!(world.missed_and_more(&members), (vec![], vec![]));
    }
}

#[test]
fn how_a_filter_is_filed() {
    let cases = [
        (json!({}), json!([{}])),
        (json!({"$and": []}), json!([{}])),
        (json!({"$or": [{"id": 1}, {}]}), json!([{}])),
        (json!({"$not": {"$or": []}}), json!([{}])),
        (json!({"$not": {}}), json!([])),
        (json!({"owner": []}), json!([])),
        (json!({"owner": "a", "$and": [{"owner": "b"}]}), json!([])),
        (json!({"owner": "a", "$and": [{"owner": {"$neq": "a"}}]}), json!([])),
        (json!({"due": {"$gt": 5, "$lt": "a"}}), json!([])),
        (json!({"due": {"$gt": 5, "$lt": 4}}), json!([])),
        (json!({"owner": {"$neq": 1}}), Value::Null),
        (json!({"owner": {"$contains": "a"}, "due": {"$exists": true}}), Value::Null),
        (json!({"$or": [{"owner": 1}, {"due": {"$exists": true}}]}), Value::Null),
        (
            json!({"owner": "a", "done": false, "due": {"$gt": 1}}),
            json!([{"equal": ["done", "owner"], "range": "due"}]),
        ),
        (json!({"due": {"$gt": 1}, "owner": {"$startsWith": "a"}}), json!([{"range": "owner"}])),
        (json!({"due": {"$gt": 1}, "id": {"$startsWith": ""}}), json!([{"range": "due"}])),
        (json!({"due": {"$gt": 1}, "extra": {"$gt": 1, "$lt": 5}}), json!([{"range": "extra"}])),
        (json!({"deep.a": null}), json!([{"equal": ["deep.a"]}])),
        (json!({"id": 1, "$or": [{"owner": 1}, {"due": 1}]}), json!([{"equal": ["id"]}])),
        (
            json!({"due": {"$gt": 1}, "$or": [{"owner": 1}, {"$or": [{"id": 1}, {"owner": 2}]}, {"owner": []}]}),
            json!([{"equal": ["owner"]}, {"equal": ["id"]}]),
        ),
        (json!({"due": {"$gt": 1}, "$or": [{"owner": 1}, {"id": {"$gt": 1}}]}), json!([{"range": "due"}])),
        (
            json!({"id": 1, "owner": 1, "due": 1, "list": 1, "done": true, "extra": 1}),
            json!([{"equal": ["due", "id", "list", "owner"]}]),
        ),
    ];
    let (filters, expected): (Vec<Value>, Vec<Value>) = cases.into_iter().unzip();
    let world = World::of(definition(), filters);
    assert_eq!(world.explain(), expected);
    assert_eq!((world.matching.unindexed(), world.matching.everything.len()), (3, 4));
    let unindexed: Vec<bool> = world.filed.iter().map(Filed::is_unindexed).collect();
    assert_eq!(unindexed, expected.iter().map(Value::is_null).collect::<Vec<_>>());
}

#[test]
fn too_many_values_are_left_out() {
    let list = |count: usize| json!({"$in": (0..count).collect::<Vec<_>>()});
    let branches = |count: usize| (0..count).map(|i| json!({"id": i})).collect::<Vec<_>>();
    let cases = [
        (json!({"id": list(MAX_VIEW_ANCHORS)}), json!([{"equal": ["id"]}])),
        (json!({"id": list(MAX_VIEW_ANCHORS + 1)}), Value::Null),
        (json!({"id": list(MAX_VIEW_ANCHORS + 1), "due": {"$gt": 5}}), json!([{"range": "due"}])),
        (json!({"id": list(8), "owner": list(8)}), json!([{"equal": ["id", "owner"]}])),
        (json!({"id": list(9), "owner": list(8)}), json!([{"equal": ["owner"]}])),
        (json!({"id": list(9), "owner": list(8), "due": 1}), json!([{"equal": ["due", "owner"]}])),
        (json!({"$or": branches(MAX_VIEW_ANCHORS)}), json!([{"equal": ["id"]}])),
        (json!({"$or": branches(MAX_VIEW_ANCHORS + 1)}), Value::Null),
        (json!({"$or": [{"id": list(600)}, {"owner": list(600)}]}), Value::Null),
    ];
    let (filters, expected): (Vec<Value>, Vec<Value>) = cases.into_iter().unzip();
    let mut world = World::of(definition(), filters);
    assert_eq!(world.explain(), expected);
    for i in [0, 5, 8, 999, 1_000] {
        assert_eq!(world.missed_and_more(&json!({"id": i, "owner": i % 9, "due": i})).0, []);
    }
    (0..world.filters.len() as u64).for_each(|view| world.remove(view));
    assert!(world.matching.is_empty());
}

#[test]
fn too_many_templates_share_those_that_are_there() {
    let names: Vec<String> = (0..20).map(|i| format!("f{i}")).collect();
    let mut schema: serde_json::Map<String, Value> =
        names.iter().map(|name| (name.clone(), json!({"type": "number"}))).collect();
    schema.insert("id".into(), json!({"type": "string"}));
    let config = json!({"key": "id", "schema": schema});
    let definition = Definition::parse("wide", config.as_object().unwrap()).unwrap();
    let pairs: Vec<(usize, usize)> = (0..20).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
    let filters =
        pairs.iter().map(|&(a, b)| json!({(names[a].clone()): a, (names[b].clone()): b, "id": {"$gt": "a"}}));
    // None of the templates can serve this one.
    let filters = [json!({"f0": 0})].into_iter().chain(filters).chain([json!({"other": 1})]);
    let mut world = World::of(definition, filters);
    assert_eq!(world.matching.templates.len(), MAX_VIEW_TEMPLATES);
    let explained = world.explain();
    assert_eq!(explained.last(), Some(&Value::Null));
    // Comes too late for a template of its own; one of its members has one.
    let index = pairs.iter().position(|pair| *pair == (19, 0)).unwrap();
    assert_eq!(explained[index + 1], json!([{"equal": ["f0"]}]));
    let all: Value = names
        .iter()
        .enumerate()
        .map(|(i, name)| (name.clone(), json!(i)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    assert_eq!(world.missed_and_more(&all).0, []);
    (0..world.filters.len() as u64).for_each(|view| world.remove(view));
    assert!(world.matching.is_empty());
}

#[test]
fn few_members_outside_the_schema_are_looked_for() {
    let filters = (0..MAX_VIEW_FOREIGN_MEMBERS + 2).map(|i| json!({format!("x.{i}"): i, "due": {"$gt": i}}));
    let world = World::of(definition(), filters);
    let explained = world.explain();
    assert_eq!(explained[0], json!([{"equal": ["x.0"], "range": "due"}]));
    assert_eq!(explained[MAX_VIEW_FOREIGN_MEMBERS], json!([{"range": "due"}]));
    assert_eq!(world.matching.columns.len(), MAX_VIEW_FOREIGN_MEMBERS + 1);
}

#[test]
fn views_may_share_a_place() {
    let filters = [json!({"id": 1}), json!({"id": 1.0, "due": {"$neq": 5}}), json!({"id": {"$in": [1, 2]}})];
    let mut world = World::of(definition(), filters);
    let found =
        |world: &World| world.candidates(&json!({"id": 1})).iter().map(|view| view.0).collect::<Vec<_>>();
    assert_eq!(found(&world), [0, 1, 2]);
    world.remove(1);
    assert_eq!(found(&world), [0, 2]);
    world.remove(0);
    world.remove(0);
    assert_eq!(found(&world), [2]);
    world.remove(2);
    assert!(world.matching.is_empty());
}
