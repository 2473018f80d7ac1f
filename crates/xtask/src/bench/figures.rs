//! What one run measured, and what several runs say together.

use std::time::Duration;

use crate::failure::{Failure, Outcome};

/// The figures of one run of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Server CPU per operation.
    pub(crate) cpu_us: f64,
}

impl Figures {
    /// From the number of operations, the time they took, the server's CPU time and each latency in ns.
    pub(crate) fn of(
        operations: u64,
        elapsed: Duration,
        cpu: Duration,
        mut latencies: Vec<u32>,
    ) -> Outcome<Self> {
        if operations == 0 || latencies.is_empty() {
            return Err(Failure::new("not one operation was completed in the measured window"));
        }
        latencies.sort_unstable();
        let at = |percent: usize| {
            let index = (latencies.len() * percent / 100).min(latencies.len() - 1);
            f64::from(latencies[index]) / 1_000.0
        };
        #[allow(clippy::cast_precision_loss)] // far below 2^53
        let operations = operations as f64;
        Ok(Self {
            per_second: operations / elapsed.as_secs_f64(),
            p50_us: at(50),
            p99_us: at(99),
            cpu_us: cpu.as_secs_f64() * 1e6 / operations,
        })
    }

    /// The median of each figure by itself.
    pub(crate) fn median(runs: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(runs.iter().map(figure).collect());
        Self {
            per_second: of(|run| run.per_second),
            p50_us: of(|run| run.p50_us),
            p99_us: of(|run| run.p99_us),
            cpu_us: of(|run| run.cpu_us),
        }
    }
}

/// The runs of both servers, in pairs made one right after the other.
pub(crate) struct Pairs<T> {
    pub(crate) dunlin: Vec<T>,
    pub(crate) floor: Vec<T>,
}

impl<T> Pairs<T> {
    pub(crate) fn new() -> Self {
        Self { dunlin: Vec::new(), floor: Vec::new() }
    }

    /// Median of the pairs' ratios: what the machine does meanwhile hits both of a pair alike.
    pub(crate) fn ratio(&self, figure: impl Fn(&T) -> f64) -> f64 {
        ratio(&self.dunlin, &self.floor, figure)
    }
}

/// Median of the ratios of runs made in pairs.
pub(crate) fn ratio<T>(runs: &[T], yardstick: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    median(runs.iter().zip(yardstick).map(|(run, other)| figure(run) / figure(other)).collect())
}

/// The middle value; NaN of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len() % 2, values.get(middle)) {
        (_, None) => f64::NAN,
        (0, Some(upper)) => f64::midpoint(values[middle - 1], *upper),
        (_, Some(value)) => *value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(vec![]).is_nan());
        let latencies = (1..=100).map(|us| us * 1_000).collect();
        let figures = Figures::of(200, Duration::from_secs(2), Duration::from_millis(1), latencies).unwrap();
        assert!((figures.per_second - 100.0).abs() < 1e-9);
        assert!((figures.cpu_us - 5.0).abs() < 1e-9);
        assert!((figures.p50_us - 51.0).abs() < 1e-9);
        assert!((figures.p99_us - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_run_without_operations_has_no_figures() {
        assert!(Figures::of(0, Duration::from_secs(1), Duration::ZERO, vec![]).is_err());
    }

    #[test]
    fn the_ratio_is_the_median_of_the_pairs() {
        let pairs = Pairs { dunlin: vec![2.0, 30.0, 6.0], floor: vec![1.0, 10.0, 4.0] };
        assert!((pairs.ratio(|value| *value) - 2.0).abs() < 1e-9);
    }
}
