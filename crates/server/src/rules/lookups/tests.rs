use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::Notify;

use super::*;

fn call(method: &str, args: Value, cache_ms: u64) -> LookupCall {
    let Value::Array(args) = args else { panic!("{args}") };
    LookupCall { name: "n".into(), service: "s".into(), method: method.into(), args, cache_ms }
}

fn lookups(services: Services, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Arc<Lookups> {
    let metrics = Arc::new(Metrics::new());
    Arc::new(Lookups::new(Arc::new(services), Duration::from_secs(1), Arc::new(clock), metrics))
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_asked_for_once_and_known_for_its_time() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (counted, gate) = (Arc::clone(&asked), Arc::new(Notify::new()));
    let open = Arc::clone(&gate);
    let services = Services::new().method("s", "m", move |args: Vec<Value>| {
        counted.fetch_add(1, Ordering::SeqCst);
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            Ok(args.into())
        }
    });
    let now = Arc::new(std::sync::atomic::AtomicU64::new(1_000));
    let clock = Arc::clone(&now);
    let lookups = lookups(services, move || clock.load(Ordering::SeqCst));
    let same = [call("m", json!([{"a": 1, "b": 2}]), 500), call("m", json!([{"b": 2, "a": 1}]), 500)];
    let waiting = tokio::spawn({
        let lookups = Arc::clone(&lookups);
        async move { lookups.ask(&same).await }
    });
    tokio::task::yield_now().await;
    while asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    open.notify_one();
    let found = waiting.await.unwrap();
    assert_eq!(found[0], found[1], "the second waits for the first one's answer");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let again = call("m", json!([{"b": 2, "a": 1}]), 500);
    assert!(lookups.known(&again, 1_499).is_some() && lookups.known(&again, 1_500).is_none());
    assert!(lookups.known(&call("m", json!([2]), 500), 1_000).is_none());
    assert!(lookups.known(&LookupCall { cache_ms: 0, ..again }, 1_000).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_fails_hangs_or_panics_costs_only_its_own_answer() {
    let services = Services::new()
        .method("s", "ok", |_| async { Ok(Value::Null) })
        .method("s", "fails", |_| async { Err(ServiceError::for_good("no")) })
        .method("s", "hangs", |_| std::future::pending())
        .method("s", "panics", |_| async { panic!("on purpose") })
        .method("s", "panics at once", |_| -> std::future::Ready<Result<Value, ServiceError>> {
            panic!("on purpose")
        });
    let lookups = lookups(services, || 0);
    let methods = ["ok", "fails", "hangs", "panics", "panics at once", "unknown"];
    for cache_ms in [0, 1_000] {
        let calls = methods.map(|method| call(method, json!([]), cache_ms));
        let found = lookups.ask(&calls).await;
        let texts: Vec<String> = found
            .iter()
            .map(|found| found.clone().map_or_else(|text| text, |value| value.to_string()))
            .collect();
        assert_eq!(texts[..2], ["null", "no"]);
        assert!(texts[2].contains("did not answer within 1s"), "{}", texts[2]);
        assert!(texts[3].contains("failed") && texts[4].contains("failed"));
        assert_eq!(texts[5], "Method \"unknown\" not found on service \"s\"");
    }
    let unknown = LookupCall { service: "toString".into(), ..call("ok", json!([]), 0) };
    assert_eq!(
        lookups.ask(&[unknown]).await[0].as_ref().unwrap_err(),
        "Service \"toString\" is not registered"
    );
}

#[test]
fn the_oldest_answers_make_room() {
    let mut cache = Cache::default();
    let large = || Arc::new(Value::from("x".repeat(limits::LOOKUP_BYTES / 2)));
    cache.put("a".into(), Arc::new(json!(1)), 10);
    cache.put("b".into(), large(), 10);
    cache.put("c".into(), large(), 10);
    assert!(cache.get("a", 0).is_none() && cache.get("b", 0).is_none() && cache.get("c", 9).is_some());
    assert!(cache.bytes <= limits::LOOKUP_BYTES && cache.get("c", 10).is_none());
}
