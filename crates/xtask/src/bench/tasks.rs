//! Many tasks at once: started a few at a time, counted, and watched while something is waited for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::failure::{Doing, Failure, Outcome};

/// Runs `count` tasks, at most `at_once` of them at a time; the first failure ends it. The results come in the
/// order of the tasks' numbers.
pub(crate) async fn all<T, F>(count: usize, at_once: usize, start: impl Fn(usize) -> F) -> Outcome<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Outcome<T>> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut done = Vec::with_capacity(count);
    for number in 0..count {
        if running.len() == at_once {
            take(&mut running, &mut done).await?;
        }
        let task = start(number);
        running.spawn(async move { task.await.map(|result| (number, result)) });
    }
    while !running.is_empty() {
        take(&mut running, &mut done).await?;
    }
    done.sort_unstable_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

async fn take<T: 'static>(running: &mut JoinSet<Outcome<T>>, done: &mut Vec<T>) -> Outcome {
    if let Some(ended) = running.join_next().await {
        done.push(ended.doing(|| "a connection's task ended".into())??);
    }
    Ok(())
}

/// Waits for `what`, unless one of the tasks ends first: none of them should.
pub(crate) async fn meanwhile<T: 'static>(
    tasks: &mut JoinSet<Outcome<T>>,
    what: impl Future<Output = Outcome>,
) -> Outcome {
    tokio::select! {
        outcome = what => outcome,
        Some(ended) = tasks.join_next() => match ended.doing(|| "a connection's task ended".into())? {
            Ok(_) => Err(Failure::new("a connection ended before it was told to")),
            Err(why) => Err(why),
        },
    }
}

/// Counts what many tasks see, and wakes the one that waits for a certain number of it.
#[derive(Default)]
pub(crate) struct Tally {
    count: AtomicU64,
    target: AtomicU64,
    reached: Notify,
}

impl Tally {
    pub(crate) fn add(&self) {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if count == self.target.load(Ordering::Relaxed) {
            self.reached.notify_one();
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Sets what is waited for next; to be called before the last of it can have been counted.
    pub(crate) fn expect(&self, target: u64) {
        self.target.store(target, Ordering::Relaxed);
    }

    /// Waits until as many have been counted as are expected; `what` names them in the failure.
    pub(crate) async fn complete(&self, limit: Duration, what: &str) -> Outcome {
        timeout(limit, self.reached.notified()).await.map_err(|_| {
            let due = self.target.load(Ordering::Relaxed);
            Failure::new(format!("only {} of {due} {what} came within {limit:?}", self.count()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn results_come_in_order_and_few_run_at_once() {
        let running = Arc::new(AtomicU64::new(0));
        let results = all(50, 4, |number| {
            let running = Arc::clone(&running);
            async move {
                assert!(running.fetch_add(1, Ordering::SeqCst) < 4);
                tokio::time::sleep(Duration::from_micros(50 - number as u64)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(number)
            }
        });
        assert_eq!(results.await.unwrap(), (0..50).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_failure_ends_the_waiting() {
        let mut tasks = JoinSet::new();
        tasks.spawn(async { Err::<(), _>(Failure::new("no")) });
        let why = meanwhile(&mut tasks, std::future::pending()).await.unwrap_err();
        assert_eq!(why.to_string(), "no");
        tasks.spawn(async { Ok(()) });
        assert!(meanwhile(&mut tasks, std::future::pending()).await.is_err());
    }

    #[tokio::test]
    async fn a_tally_wakes_at_its_target_and_tells_what_is_missing() {
        let tally = Tally::default();
        tally.expect(2);
        tally.add();
        let why = tally.complete(Duration::from_millis(5), "pushes").await.unwrap_err().to_string();
        assert!(why.contains("only 1 of 2 pushes"), "{why}");
        tally.add();
        tally.complete(Duration::from_secs(1), "pushes").await.unwrap();
        assert_eq!(tally.count(), 2);
    }
}
