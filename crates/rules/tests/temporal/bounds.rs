//! What patterns hold is bounded, small to write, and forgotten in time.

use super::*;

fn limited(groups: usize, events: usize) -> Limits {
    let mut limits = Limits::default();
    (limits.groups_per_pattern, limits.events_per_group) = (groups, events);
    limits
}

fn truncated(world: &mut World) -> Vec<(u64, u64)> {
    world.temporal.take_truncated().iter().map(|one| (one.groups, one.events)).collect()
}

#[test]
fn the_group_whose_time_is_over_first_makes_room() {
    for pattern in [
        sequence(&["a", "b"], 100, false, Some("g")),
        absence("a", "b", 100, Some("g")),
        count("a", Comparison::Gte, 9.0, sliding(100), Some("g")),
    ] {
        let mut world = World::with(&limited(3, 10), pattern);
        for (at, group) in [(0, "x"), (1, "c"), (2, "y"), (3, "z")] {
            world.event("a", json!({"g": group}), at);
        }
        assert_eq!(world.temporal.open_groups("r"), 3);
        assert!(world.entries.keys().all(|key| !key.contains("/x/")), "{:?}", world.entries);
        assert_eq!(truncated(&mut world), [(1, 0)]);
        assert_eq!(truncated(&mut world), []);
    }
}

#[test]
fn the_oldest_of_too_many_begun_sequences_is_forgotten() {
    let mut world = World::with(&limited(1, 3), sequence(&["a", "b"], 100, false, None));
    for at in 0..5 {
        world.event("a", json!({}), at);
    }
    assert_eq!((world.entries.len(), truncated(&mut world)), (3, vec![(0, 2)]));
    let found = world.event("b", json!({}), 9);
    assert_eq!(found.iter().map(|one| one.started_at).collect::<Vec<_>>(), [2, 3, 4]);
}

#[test]
fn the_oldest_of_too_many_events_of_a_window_is_forgotten() {
    let pattern = aggregate("a", (Function::Sum, "n"), Comparison::Gte, 0.0, sliding(100), None);
    let mut world = World::with(&limited(1, 3), pattern);
    for at in 0..5_u64 {
        let found = world.event("a", json!({ "n": at }), at);
        let expected: u64 = (at.saturating_sub(2)..=at).sum();
        assert_eq!(found[0].value, Some(expected as f64));
    }
    assert_eq!((world.entries.len(), truncated(&mut world)), (3, vec![(0, 2)]));
}

#[test]
fn an_event_of_a_window_is_one_entry_and_those_that_leave_are_removed() {
    let mut world = World::new(count("a", Comparison::Gte, 1e9, sliding(10), Some("g")));
    for at in 0..8 {
        world.ids += 1;
        let one = event(&world.ids.to_string(), "a", json!({"g": 1}), at);
        world.temporal.event(&one, at, &mut Vec::new());
        assert_eq!(world.keep(), (1, 0));
    }
    world.temporal.event(&event("x", "a", json!({"g": 1}), 13), 13, &mut Vec::new());
    assert_eq!(world.keep(), (1, 3));
    // Who never comes again is forgotten.
    assert_eq!(world.temporal.next_deadline(), Some(24));
    assert_eq!(world.due(24), []);
    assert!(world.entries.is_empty() && world.temporal.next_deadline().is_none());
}

#[test]
fn events_of_other_topics_touch_nothing() {
    let mut world = World::new(sequence(&["a", "b"], 100, false, Some("g")));
    world.event("a", json!({"g": 1}), 0);
    world.temporal.event(&event("x", "c", json!({"g": 1}), 0), 0, &mut Vec::new());
    assert_eq!(world.keep(), (0, 0));
}

#[test]
fn groups_have_texts_of_bounded_length_as_names() {
    let mut world = World::new(count("a", Comparison::Gte, 1.0, sliding(10), Some("g.x")));
    let group = |world: &mut World, value: Value| {
        let found = world.event("a", json!({"g": {"x": value}}), 0);
        found.first().map(|one| (one.group.clone().unwrap().to_string(), one.count))
    };
    assert_eq!(group(&mut world, json!(1)), Some(("1".into(), 1)));
    assert_eq!(group(&mut world, json!("1")), Some(("1".into(), 2)));
    assert_eq!(group(&mut world, json!(1.0)), Some(("1".into(), 3)));
    assert_eq!(group(&mut world, json!(true)), Some(("true".into(), 1)));
    assert_eq!(group(&mut world, json!("")), Some((String::new(), 1)));
    assert_eq!(group(&mut world, json!(null)), None);
    assert_eq!(group(&mut world, json!("x".repeat(513))), None);
    assert_eq!(world.event("a", json!({"g": 5}), 0), []);
}

#[test]
fn a_jump_of_a_thousand_years_is_no_work() {
    let far = 1000 * 365 * 24 * 3_600_000;
    let mut world = World::new(count("a", Comparison::Lte, 5.0, tumbling(1, true), Some("g")));
    world.event("a", json!({"g": 1}), 0);
    let found = world.due(far);
    assert_eq!(found.iter().map(|one| one.started_at).collect::<Vec<_>>(), [0, far - 1]);
    // So long without an event: it is forgotten.
    assert_eq!((world.temporal.next_deadline(), world.entries.len()), (None, 0));
    // Time never goes backwards.
    world.event("a", json!({"g": 1}), 5);
    assert_eq!(world.temporal.next_deadline(), Some(far + 1));
}

#[test]
fn times_at_the_end_of_all_numbers_do_no_harm() {
    for window in [sliding(u64::MAX), tumbling(u64::MAX, true), tumbling(3, true), tumbling(0, false)] {
        let mut world = World::new(count("a", Comparison::Gte, 1.0, window, None));
        world.event("a", json!({}), u64::MAX - 1);
        world.event("a", json!({}), u64::MAX);
        world.due(u64::MAX);
    }
    let mut world = World::new(sequence(&["a", "b"], u64::MAX, true, None));
    world.event("a", json!({}), 5);
    assert_eq!(world.event("b", json!({}), u64::MAX).len(), 1);
}

#[test]
fn a_rule_that_is_taken_away_leaves_nothing_and_begins_anew() {
    let pattern = Arc::new(count("a", Comparison::Gte, 3.0, sliding(100), None));
    let mut world = World::new((*pattern).clone());
    world.event("a", json!({}), 0);
    world.event("a", json!({}), 0);
    world.temporal.remove("r");
    world.keep();
    assert!(world.entries.is_empty() && world.temporal.next_deadline().is_none());
    assert_eq!(world.event("a", json!({}), 0), []);
    world.temporal.add(&"r".into(), 1, &pattern);
    assert_eq!(world.event("a", json!({}), 0), []);
    assert_eq!(world.entries.len(), 1);
}

#[test]
fn entries_that_cannot_be_read_are_refused_and_change_nothing() {
    let mut temporal = Temporal::new(&Limits::default());
    for (key, value) in [
        ("p/r/g", "{}"),
        ("p/r/g/1-0", "{}"),
        ("p/r/g/1-0", "{\"kind\":\"other\"}"),
        ("p/r/g/x", "{\"kind\":\"fired\"}"),
        ("t/r/g/1-0", "{\"kind\":\"fired\"}"),
        ("p/r/g/1-0", "no JSON"),
    ] {
        assert!(temporal.load(key, Some(value)).is_err(), "{key} {value}");
    }
    assert_eq!((temporal.open_groups("r"), temporal.next_deadline()), (0, None));
}
