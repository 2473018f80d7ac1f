//! S12 to S15 of the specification, with the outcomes that it recommends.

use super::*;

const MINUTE: u64 = 60_000;

fn id(id: &str) -> Value {
    json!({ "id": id })
}

#[test]
fn s12_absence() {
    let mut world = World::new(absence("order", "pay", 15 * MINUTE, Some("id")));
    assert_eq!(world.event("order", id("1"), 0), []);
    assert_eq!(world.event("order", id("2"), 0), []);
    assert_eq!(world.event("order", id("1"), 10 * MINUTE), []);
    assert_eq!(world.event("pay", id("2"), 10 * MINUTE), []);
    assert_eq!(world.temporal.next_deadline(), Some(15 * MINUTE));
    assert_eq!(world.due(15 * MINUTE - 1), []);
    let found = world.due(15 * MINUTE);
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.group.as_deref(), ids(one)), (Some("1"), vec!["1"]));
    assert_eq!((one.started_at, one.fired_at), (0, 15 * MINUTE));
    assert_eq!(one.correlation_id.as_deref(), Some("story of 1"));
    let data = json!({
        "groupKey": "1", "count": 1, "value": null, "events": [{"id": "1"}], "after": {"id": "1"},
        "startedAt": 0, "firedAt": 900_000,
    });
    assert_eq!(Value::Object(one.trigger_data()), data);
    assert_eq!(world.due(60 * MINUTE), []);
    assert!(world.entries.is_empty());
}

#[test]
fn s12_a_late_event_does_not_cancel_and_begins_a_wait_of_its_own() {
    let mut world = World::new(absence("order", "pay", 15 * MINUTE, Some("id")));
    world.event("order", id("1"), 0);
    let found = world.event("pay", id("1"), 15 * MINUTE + 1);
    assert_eq!(found.len(), 1);
    assert_eq!(world.due(99 * MINUTE), []);
    world.event("order", id("1"), 100 * MINUTE);
    let found = world.event("order", id("1"), 115 * MINUTE + 1);
    assert_eq!(found.iter().map(ids).collect::<Vec<_>>(), [["3"]]);
    assert_eq!(world.temporal.next_deadline(), Some(130 * MINUTE + 1));
    // At the deadline itself it is in time.
    assert_eq!(world.event("pay", id("1"), 130 * MINUTE + 1), []);
    assert_eq!(world.due(999 * MINUTE), []);
}

#[test]
fn s12_an_event_that_ends_a_wait_may_begin_the_next() {
    let mut world = World::new(absence("beat", "beat", 10, None));
    for at in [0, 5, 15] {
        assert_eq!(world.event("beat", json!({}), at), []);
    }
    let found = world.due(25);
    assert_eq!(found.iter().map(ids).collect::<Vec<_>>(), [["3"]]);
    assert_eq!(found[0].group, None);
}

#[test]
fn s13_sequence_grouped() {
    let mut world = World::new(sequence(&["a", "b"], MINUTE, false, Some("id")));
    for (topic, group) in [("a", "x"), ("a", "y"), ("a", "y")] {
        assert_eq!(world.event(topic, id(group), 0), []);
    }
    let found = world.event("b", id("y"), 10);
    assert_eq!(found.iter().map(ids).collect::<Vec<_>>(), [["2", "4"]]);
    assert_eq!(found[0].group.as_deref(), Some("y"));
    assert_eq!(found[0].correlation_id.as_deref(), Some("story of 4"));
    // Without the field it takes no part.
    assert_eq!(world.event("b", json!({}), 10), []);
    assert_eq!(world.event("b", json!({"id": null}), 10), []);
    assert_eq!(world.temporal.open_groups("r"), 1);
}

#[test]
fn s13_sequence_ungrouped() {
    let mut world = World::new(sequence(&["a", "b"], MINUTE, false, None));
    world.event("a", json!({}), 0);
    world.event("a", json!({}), 0);
    let found = world.event("b", json!({}), 0);
    assert_eq!(found.iter().map(ids).collect::<Vec<_>>(), [["1", "3"], ["2", "3"]]);
    // The completing event may also begin the next.
    let mut world = World::new(sequence(&["a", "a"], MINUTE, false, None));
    let found: Vec<Match> = (0..4).flat_map(|at| world.event("a", json!({}), at)).collect();
    assert_eq!(found.iter().map(ids).collect::<Vec<_>>(), [["1", "2"], ["2", "3"], ["3", "4"]]);
}

#[test]
fn s13_sequence_strict() {
    let mut world = World::new(sequence(&["a", "b"], MINUTE, true, Some("id")));
    world.event("a", id("x"), 0);
    world.event("z", id("y"), 0);
    world.event("z", json!({}), 0);
    // A record that is changed breaks nothing.
    world.event("bucket.orders.inserted", id("x"), 0);
    assert_eq!(world.temporal.open_groups("r"), 1);
    world.event("z", id("x"), 0);
    assert_eq!(world.temporal.open_groups("r"), 0);
    assert_eq!(world.event("b", id("x"), 0), []);
    assert!(world.entries.is_empty());
}

#[test]
fn s13_an_event_beyond_the_deadline_completes_nothing() {
    let mut world = World::new(sequence(&["a", "b"], MINUTE, false, Some("id")));
    world.event("a", id("x"), 0);
    assert_eq!(world.event("b", id("x"), 60_001), []);
    assert!(world.entries.is_empty());
    world.event("a", id("x"), 70_000);
    assert_eq!(world.event("b", id("x"), 130_000).len(), 1);
}

#[test]
fn s14_count() {
    let mut world = World::new(count("*", Comparison::Gte, 3.0, sliding(MINUTE), Some("u")));
    let mut found = Vec::new();
    for second in [10, 20, 30, 40, 50, 95, 200] {
        found.extend(world.event("order.made", json!({"u": "A"}), second * 1000));
    }
    let seen: Vec<_> = found.iter().map(|one| (one.fired_at / 1000, one.count)).collect();
    assert_eq!(seen, [(30, 3), (40, 4), (50, 5), (95, 3)]);
    assert_eq!(ids(&found[3]), ["4", "5", "6"].map(String::from));
    let mut data = Value::Object(found[0].trigger_data());
    let events = data.as_object_mut().unwrap().remove("events").unwrap();
    assert_eq!(events, json!([{"u": "A"}, {"u": "A"}, {"u": "A"}]));
    let expected = json!({"groupKey": "A", "count": 3, "value": 3, "startedAt": 10_000, "firedAt": 30_000});
    assert_eq!(data, expected);
}

#[test]
fn s14_windows_include_both_ends() {
    let mut world = World::new(count("a", Comparison::Gte, 2.0, sliding(10), None));
    world.event("a", json!({}), 0);
    assert_eq!(world.event("a", json!({}), 10).len(), 1);
    assert_eq!(world.event("a", json!({}), 21), []);
}

#[test]
fn s14_once() {
    let once = TemporalPattern { once: true, ..count("a", Comparison::Gte, 3.0, sliding(10), None) };
    let mut world = World::new(once);
    let times = [0, 1, 2, 3, 10, 11, 13, 14, 40, 41, 42];
    let fired: Vec<u64> =
        times.into_iter().flat_map(|at| world.event("a", json!({}), at)).map(|one| one.fired_at).collect();
    assert_eq!(fired, [2, 42]);
    // It did not hold for a moment, though it does at both events around it.
    let pattern = count("a", Comparison::Gte, 3.0, sliding(10), None);
    let mut world = World::new(TemporalPattern { once: true, ..pattern });
    let times = [0, 5, 6, 7, 11, 17];
    let found: Vec<Match> = times.into_iter().flat_map(|at| world.event("a", json!({}), at)).collect();
    assert_eq!(found.iter().map(|one| (one.fired_at, one.count)).collect::<Vec<_>>(), [(6, 3), (17, 3)]);
}

#[test]
fn s14_tumbling_windows_are_half_open_and_aligned() {
    let mut world = World::new(count("a", Comparison::Gte, 2.0, tumbling(MINUTE, false), Some("u")));
    world.event("a", json!({"u": 1}), 59_999);
    assert_eq!(world.due(60_000), []);
    for at in [60_000, 119_999] {
        world.event("a", json!({"u": 1}), at);
    }
    assert_eq!(world.temporal.next_deadline(), Some(120_000));
    assert_eq!(world.due(119_999), []);
    let found = world.due(120_000);
    assert_eq!(found.iter().map(|one| (one.started_at, one.count)).collect::<Vec<_>>(), [(60_000, 2)]);
    assert_eq!(world.temporal.next_deadline(), None);
    assert!(world.entries.is_empty());
}

#[test]
fn s14_an_event_beyond_the_end_of_a_window_closes_it_first() {
    let mut world = World::new(count("a", Comparison::Gte, 2.0, tumbling(10, false), None));
    world.event("a", json!({}), 1);
    world.event("a", json!({}), 2);
    let found = world.event("a", json!({}), 10);
    assert_eq!(found.iter().map(ids).collect::<Vec<_>>(), [["1", "2"]]);
    assert_eq!(world.entries.len(), 1);
}

#[test]
fn s14_silence_is_detected_if_asked_for() {
    let mut world = World::new(count("a", Comparison::Lte, 0.0, tumbling(10, true), Some("u")));
    world.event("a", json!({"u": "x"}), 1);
    assert_eq!(world.due(10), []);
    let found = world.due(20);
    assert_eq!(found.iter().map(|one| (one.started_at, one.count)).collect::<Vec<_>>(), [(10, 0)]);
    assert_eq!((found[0].group.as_deref(), &found[0].correlation_id), (Some("x"), &None));
    // Somebody who looks late hears of the last window only.
    let found = world.due(95);
    assert_eq!(found.iter().map(|one| one.started_at).collect::<Vec<_>>(), [20, 80]);
    world.event("a", json!({"u": "x"}), 99);
    assert_eq!(world.due(100), []);
    assert_eq!(world.due(110).len(), 1);
}

#[test]
fn s15_aggregate() {
    let pattern =
        aggregate("pay", (Function::Sum, "amt"), Comparison::Gte, 100.0, sliding(MINUTE), Some("u"));
    let mut world = World::new(pattern);
    let mut found = Vec::new();
    for (user, amount) in [("A", json!(60)), ("B", json!(60)), ("A", json!("x")), ("A", json!(45))] {
        found.extend(world.event("pay", json!({"u": user, "amt": amount}), 1));
    }
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.group.as_deref(), one.value, one.count), (Some("A"), Some(105.0), 3));
    assert_eq!(one.trigger_data()["value"], json!(105));
}

#[test]
fn s15_events_without_a_number_say_nothing() {
    for function in [Function::Sum, Function::Avg, Function::Min, Function::Max] {
        let pattern = aggregate("a", (function, "n"), Comparison::Lte, 100.0, sliding(10), None);
        let mut world = World::new(pattern);
        assert_eq!(world.event("a", json!({"n": "5"}), 1), [], "{function:?}");
        assert_eq!(world.event("a", json!({"n": -0.5}), 1)[0].value, Some(-0.5), "{function:?}");
    }
    let pattern = aggregate("a", (Function::Count, "n"), Comparison::Gte, 1.0, sliding(10), None);
    assert_eq!(World::new(pattern).event("a", json!({}), 1)[0].value, Some(1.0));
}

#[test]
fn variables_have_the_data_of_the_events_matched_under_their_names() {
    let mut pattern = sequence(&["a", "b", "c"], MINUTE, false, None);
    if let TemporalKind::Sequence { events, .. } = &mut pattern.kind {
        events[0].alias = Some("first".into());
        events[2].alias = Some("last".into());
        events[1].filter = vec![(Path::new("ok"), json!(true))];
    }
    let mut world = World::new(pattern);
    world.event("a", json!({"n": 1}), 0);
    world.event("b", json!({"ok": false}), 0);
    world.event("b", json!({"ok": true}), 0);
    let found = world.event("c", json!({"n": 3}), 0);
    assert_eq!(found.iter().map(ids).collect::<Vec<_>>(), [["1", "3", "4"]]);
    let named = found[0].variables.iter().map(|(name, data)| (&**name, Value::Object((**data).clone())));
    assert_eq!(named.collect::<Vec<_>>(), [("first", json!({"n": 1})), ("last", json!({"n": 3}))]);
}

#[test]
fn wildcards_and_changes_of_records() {
    let mut world = World::new(count("bucket.*.inserted", Comparison::Gte, 1.0, sliding(10), None));
    assert_eq!(world.event("bucket.shop.orders.inserted", json!({}), 0).len(), 1);
    assert_eq!(world.event("bucket.orders.deleted", json!({}), 0), []);
    let mut world = World::new(count("*", Comparison::Gte, 1.0, sliding(10), None));
    assert_eq!(world.event("bucket.orders.inserted", json!({}), 0), []);
    assert_eq!(world.event("a.b.c", json!({}), 0).len(), 1);
    let mut world = World::new(count("a.*.c", Comparison::Gte, 1.0, sliding(10), None));
    assert_eq!(world.event("a.b.c", json!({}), 0).len(), 1);
    assert_eq!(world.event("a.b", json!({}), 0), []);
}
