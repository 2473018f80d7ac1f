use super::*;

fn with_two(mode: Mode) -> Outbox {
    let outbox = Outbox::default();
    outbox.open(1, mode);
    outbox.open(2, mode);
    outbox
}

fn full(position: u64, data: &'static str) -> Payload {
    Payload::Full { position, data: Some(Body::from_static(data)) }
}

fn patch(position: u64, ops: &'static str) -> Payload {
    Payload::Patch { position, ops: Body::from_static(ops) }
}

fn text(frame: Outgoing) -> String {
    match frame {
        Outgoing::Text(text) => text.to_string(),
        Outgoing::Shared(frame) => {
            let parts = [&frame.head[4..], &frame.body, &frame.tail].concat();
            String::from_utf8(parts).unwrap()
        }
    }
}

/// What the driver takes, and how many of it are pushes.
fn parcel(outbox: &Outbox) -> (Vec<String>, Parcel) {
    let mut frames = VecDeque::new();
    let parcel = outbox.waiting().take(&mut frames);
    (frames.into_iter().map(text).collect(), parcel)
}

fn take(outbox: &Outbox) -> Vec<String> {
    parcel(outbox).0
}

fn data(id: u64, data: &str) -> String {
    format!(r#"{{"type":"push","channel":"subscription","subscriptionId":"sub-{id}","data":{data}}}"#)
}

fn patched(id: u64, position: u64, patch: &str) -> String {
    let head = r#"{"type":"push","channel":"subscription""#;
    format!(r#"{head},"subscriptionId":"sub-{id}","position":{position},"patch":[{patch}]}}"#)
}

#[test]
fn a_newer_push_takes_the_place_of_an_older_one() {
    let outbox = with_two(Mode::Full);
    assert_eq!(outbox.push(1, &full(1, "1"), 0), Pushed::Sent);
    assert_eq!(outbox.push(2, &full(1, "2"), 0), Pushed::Sent);
    assert_eq!(outbox.push(1, &full(2, "3"), 0), Pushed::Merged);
    assert_eq!(take(&outbox), [data(1, "3"), data(2, "2")]);
    assert_eq!(take(&outbox), [""; 0]);
    assert_eq!(outbox.push(1, &Payload::Full { position: 3, data: None }, 0), Pushed::Sent);
    assert_eq!(take(&outbox), [data(1, "").replace(",\"data\":", "")]);
}

#[test]
fn positions_are_told_to_whoever_asks() {
    let outbox = with_two(Mode::Full);
    outbox.tell_positions(true);
    outbox.push(1, &full(7, "[]"), 0);
    assert_eq!(take(&outbox), [data(1, "[]").replace(",\"data\"", ",\"position\":7,\"data\"")]);
}

#[test]
fn patches_that_wait_become_one_that_tells_the_newest_position() {
    let outbox = with_two(Mode::Patch);
    assert_eq!(outbox.push(1, &patch(1, "{a}"), 100), Pushed::Sent);
    assert_eq!(outbox.push(2, &patch(1, "{b}"), 100), Pushed::Sent);
    assert_eq!(outbox.push(1, &patch(2, "{c},{d}"), 100), Pushed::Merged);
    assert_eq!(outbox.push(1, &patch(4, "{e}"), 100), Pushed::Merged);
    assert_eq!(outbox.waiting_bytes().pushes, "{a},{c},{d},{e}{b}".len());
    assert_eq!(take(&outbox), [patched(1, 4, "{a},{c},{d},{e}"), patched(2, 1, "{b}")]);
    assert_eq!(outbox.push(1, &patch(5, "{f}"), 100), Pushed::Sent);
    assert_eq!(take(&outbox), [patched(1, 5, "{f}")], "what has left is not told again");
}

#[test]
fn patches_that_get_longer_than_the_result_are_replaced_by_it() {
    let whole = r#"{"op":"replace","path":"","value":[1]}"#;
    let outbox = with_two(Mode::Patch);
    assert_eq!(outbox.push(1, &patch(1, "{aaaaaaaaaaaaaaaa}"), 3), Pushed::Sent);
    assert_eq!(outbox.push(1, &patch(2, "{bbbbbbbbbbbbbbbbb}"), 3), Pushed::Merged, "exactly as long");
    assert_eq!(outbox.waiting_bytes().pushes, whole.len());
    assert_eq!(outbox.push(1, &patch(3, "{}"), 3), Pushed::NeedsWhole);
    assert_eq!(outbox.push_whole(1, 3, Some(&Body::from_static("[1]"))), Pushed::Merged);
    assert_eq!(outbox.waiting_bytes().pushes, whole.len());
    assert_eq!(
        outbox.push(1, &patch(4, "{}"), 3),
        Pushed::NeedsWhole,
        "what replaces everything is replaced"
    );
    assert_eq!(outbox.push_whole(1, 4, Some(&Body::from_static("[1]"))), Pushed::Merged);
    assert_eq!(take(&outbox), [patched(1, 4, whole)]);
    let long: &str = "x".repeat(100).leak();
    assert_eq!(outbox.push(1, &patch(5, long), 3), Pushed::NeedsWhole, "also one that is so long alone");
    assert_eq!(take(&outbox), [""; 0]);
}

#[test]
fn each_gets_a_whole_result_in_the_mode_it_wants() {
    let outbox = Outbox::default();
    outbox.open(1, Mode::Patch);
    outbox.open(2, Mode::Full);
    for (id, payload) in [(1, full(1, "5")), (2, full(1, "5"))] {
        assert_eq!(outbox.push(id, &payload, 1), Pushed::Sent);
    }
    assert_eq!(take(&outbox), [patched(1, 1, r#"{"op":"replace","path":"","value":5}"#), data(2, "5")]);
    assert_eq!(outbox.push(2, &patch(2, "{}"), 1), Pushed::NeedsWhole);
    outbox.push(1, &Payload::Full { position: 3, data: None }, 1);
    assert_eq!(take(&outbox), [patched(1, 3, r#"{"op":"replace","path":"","value":null}"#)]);
}

#[test]
fn a_large_result_is_shared_up_to_the_socket() {
    let outbox = with_two(Mode::Full);
    let body = Body::from("1".repeat(limits::SHARED_BODY_BYTES));
    for id in [1, 2] {
        outbox.push_whole(id, 1, Some(&body));
    }
    let mut frames = VecDeque::new();
    outbox.waiting().take(&mut frames);
    for frame in &frames {
        assert!(matches!(frame, Outgoing::Shared(frame) if frame.body.as_ptr() == body.as_ptr()));
    }
    assert_eq!(frames.into_iter().map(text).collect::<Vec<_>>(), [data(1, &body), data(2, &body)]);
}

#[test]
fn the_driver_takes_portions_and_what_stays_can_still_be_merged() {
    let outbox = Outbox::default();
    let body = Body::from("1".repeat(limits::PUSH_PORTION_BYTES / 2));
    for id in 1..=5 {
        outbox.open(id, Mode::Full);
        outbox.push_whole(id, 1, Some(&body));
    }
    assert_eq!(take(&outbox), [data(1, &body), data(2, &body)]);
    assert_eq!(outbox.push(1, &full(2, "2"), 0), Pushed::Sent);
    assert_eq!(outbox.push(5, &full(2, "2"), 0), Pushed::Merged);
    assert_eq!(take(&outbox), [data(3, &body), data(4, &body)], "the longest waiting first");
    assert_eq!(take(&outbox), [data(5, "2"), data(1, "2")]);
}

#[test]
fn pushes_held_back_leave_behind_the_answers() {
    let outbox = with_two(Mode::Full);
    outbox.hold();
    outbox.push(1, &full(1, "1"), 0);
    assert_eq!(take(&outbox), [""; 0]);
    outbox.answer(vec!["early".into()], false);
    assert_eq!(take(&outbox), ["early"]);
    outbox.answer(vec!["late".into()], true);
    let (frames, parcel) = parcel(&outbox);
    assert_eq!(frames, ["late".to_owned(), data(1, "1")]);
    let full = Pushes { count: 1, bytes: data(1, "1").len() as u64 };
    assert_eq!(parcel, Parcel { answers: true, full, answered: true, ..Parcel::default() });
}

#[test]
fn a_subscription_that_ended_sends_nothing_more() {
    let outbox = with_two(Mode::Full);
    outbox.push(1, &full(1, "1"), 0);
    outbox.push(2, &full(1, "2"), 0);
    outbox.forget(1);
    // What was on its way when it ended comes too late.
    assert_eq!(outbox.push(1, &full(2, "1"), 0), Pushed::Closed);
    assert_eq!(take(&outbox), [data(2, "2")]);
    for id in 3..1000 {
        outbox.open(id, Mode::Full);
        outbox.push(id, &full(1, "1"), 0);
        outbox.forget(id);
    }
    assert!(outbox.waiting().queue.len() <= 3, "those that have ended are not kept");
}

#[tokio::test]
async fn a_writer_above_the_mark_waits_until_the_socket_has_taken_everything() {
    let outbox = Outbox::default();
    outbox.answer(vec!["0123456789".into()], false);
    outbox.below(11).await;
    take(&outbox);
    let waits = tokio::time::timeout(std::time::Duration::from_millis(1), outbox.below(10)).await;
    assert!(waits.is_err(), "taken is not sent");
    outbox.sent();
    outbox.below(10).await;
}

#[test]
fn a_driver_that_waits_is_woken_once_and_one_that_is_blocked_only_to_close() {
    struct Count(std::sync::atomic::AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let count = std::sync::Arc::new(Count(0.into()));
    let waker = Waker::from(std::sync::Arc::clone(&count));
    let cx = Context::from_waker(&waker);
    let woken = || count.0.load(Ordering::Relaxed);
    let outbox = with_two(Mode::Full);
    let mut frames = VecDeque::new();
    assert!(outbox.poll_take(&cx, &mut frames).is_pending());
    outbox.push(1, &full(1, "1"), 0);
    outbox.push(2, &full(1, "1"), 0);
    outbox.answer(vec!["a".into()], false);
    assert_eq!(woken(), 1);
    assert!(outbox.poll_take(&cx, &mut frames).is_ready());
    assert_eq!(outbox.poll_closing(&cx), None);
    outbox.push(1, &full(2, "1"), 0);
    outbox.notice("b".into());
    assert_eq!(woken(), 1);
    outbox.close(Close::ServerShutdown);
    assert_eq!(woken(), 2);
    assert_eq!(outbox.poll_closing(&cx), Some(Close::ServerShutdown));
}

#[test]
fn pushes_stay_until_everybody_is_sure_that_they_are_allowed() {
    let outbox = with_two(Mode::Full);
    outbox.doubt();
    outbox.doubt();
    outbox.push(1, &full(1, "1"), 1);
    outbox.sure();
    // The end of a batch says nothing of it.
    outbox.answer(Vec::new(), true);
    assert!(take(&outbox).is_empty());
    outbox.sure();
    assert_eq!(take(&outbox), [data(1, "1")]);
}

#[test]
fn pushes_stay_behind_the_end_of_a_session() {
    let outbox = with_two(Mode::Full);
    outbox.rights_end(Some(unix_ms() - 1));
    outbox.push(1, &full(1, "1"), 1);
    outbox.answer(vec!["answer".into()], false);
    assert_eq!(take(&outbox), ["answer"]);
    outbox.rights_end(Some(u64::MAX));
    assert_eq!(take(&outbox), [data(1, "1")]);
}

#[test]
fn what_was_shown_before_is_not_pushed_to_who_shall_see_something_else() {
    let outbox = with_two(Mode::Full);
    outbox.push(1, &full(1, "1"), 1);
    let first = outbox.open_anew(1, Mode::Full);
    assert!(take(&outbox).is_empty());
    assert_eq!(outbox.push(1, &full(2, "2"), 1), Pushed::Closed, "whoever pushes does not know yet");
    let second = outbox.open_anew(1, Mode::Full);
    outbox.begins(1, first);
    assert_eq!(outbox.push(1, &full(2, "2"), 1), Pushed::Closed, "of the opening before");
    outbox.begins(1, second);
    assert_eq!(outbox.push(1, &full(2, "3"), 1), Pushed::Sent);
    assert_eq!(take(&outbox), [data(1, "3")]);
}

fn event(id: u64, data: &str) -> String {
    format!(r#"{{"type":"push","channel":"event","subscriptionId":"sub-{id}","data":{data}}}"#)
}

#[test]
fn every_event_leaves_and_in_its_order() {
    let outbox = Outbox::default();
    outbox.open_events(1);
    outbox.open_events(2);
    for (id, body) in [(1, "1"), (2, "2"), (1, "3"), (2, "4")] {
        assert_eq!(outbox.push_event(id, 7, &Body::from_static(body), 100), Heard::Waits);
    }
    assert_eq!(outbox.push_event(3, 7, &Body::from_static("5"), 100), Heard::Closed);
    assert_eq!(take(&outbox), [event(1, "1"), event(2, "2"), event(1, "3"), event(2, "4")]);
    outbox.tell_positions(true);
    outbox.push_event(1, 8, &Body::from_static("6"), 100);
    let positioned = event(1, "6").replace(",\"data\"", ",\"position\":8,\"data\"");
    assert_eq!(take(&outbox), [positioned]);
}

#[test]
fn a_subscription_that_takes_no_events_is_given_up_and_no_other() {
    let outbox = Outbox::default();
    outbox.open_events(1);
    outbox.open_events(2);
    let (long, short) = (Body::from_static("0123456789"), Body::from_static("0"));
    // One that is longer than the bound by itself leaves if nothing is before it.
    assert_eq!(outbox.push_event(1, 1, &long, 5), Heard::Waits);
    assert_eq!(outbox.push_event(2, 1, &short, 5), Heard::Waits);
    assert_eq!(outbox.push_event(1, 1, &short, 5), Heard::TooMuch);
    assert_eq!(outbox.waiting_bytes().pushes, 11);
    outbox.forget(1);
    assert_eq!(outbox.push_event(1, 1, &short, 5), Heard::Closed);
    assert_eq!((take(&outbox), outbox.waiting_bytes().pushes), (vec![event(2, "0")], 0));
    assert_eq!(outbox.push_event(2, 1, &long, 5), Heard::Waits, "what has left does not count");
}

#[test]
fn events_and_results_leave_in_turns_and_neither_before_an_answer_that_must_precede_them() {
    let outbox = with_two(Mode::Full);
    outbox.open_events(3);
    outbox.hold();
    outbox.push(1, &full(1, "1"), 0);
    outbox.push(2, &full(1, "2"), 0);
    outbox.push_event(3, 1, &Body::from_static("3"), 100);
    outbox.push_event(3, 1, &Body::from_static("4"), 100);
    assert_eq!(take(&outbox), [""; 0]);
    outbox.answer(vec!["answer".into()], true);
    let (frames, parcel) = parcel(&outbox);
    assert_eq!(frames, ["answer".to_owned(), data(1, "1"), event(3, "3"), data(2, "2"), event(3, "4")]);
    assert_eq!((parcel.full.count, parcel.events.count), (2, 2));
}
