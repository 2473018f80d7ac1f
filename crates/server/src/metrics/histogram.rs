//! Histograms of fixed buckets. Those of the exporter keep every single value, with its time, until somebody folds them: at a
//! million requests a second that is more than the requests themselves. Here a thousand equal values are one addition.

use std::fmt::Write as _;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::labels::Labels;
use super::registration::{Metric, Registrar};
use crate::limits;

/// Values by size. Whole numbers, so that adding is one instruction.
struct Buckets {
    /// Upper ends; a further bucket takes what is larger.
    ends: &'static [u64],
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Buckets {
    fn new(ends: &'static [u64]) -> Self {
        let counts = (0..=ends.len()).map(|_| AtomicU64::new(0)).collect();
        Self { ends, counts, sum: AtomicU64::new(0) }
    }

    fn add(&self, value: u64, times: u64) {
        let place = self.ends.partition_point(|end| *end < value);
        self.counts[place].fetch_add(times, Ordering::Relaxed);
        // It wraps after five hundred years of waiting. Prometheus takes that for a restart.
        self.sum.fetch_add(value.wrapping_mul(times), Ordering::Relaxed);
    }

    /// Writes its series; `unit` is how many of its whole numbers are one.
    fn render(&self, text: &mut String, name: &str, labels: &str, unit: f64) {
        let comma = if labels.is_empty() { "" } else { "," };
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let mut total = 0;
        for (place, count) in self.counts.iter().enumerate() {
            total += count.load(Ordering::Relaxed);
            let end = self.ends.get(place).map_or("+Inf".to_owned(), |end| (whole(*end) / unit).to_string());
            // Writing to a String cannot fail; here and below.
            let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{end}\"}} {total}");
        }
        let sum = whole(self.sum.load(Ordering::Relaxed)) / unit;
        let _ = writeln!(text, "{name}_sum{braced} {sum}\n{name}_count{braced} {total}");
    }
}

#[expect(clippy::cast_precision_loss, reason = "of a sum of 2^53 ns a nanosecond more or less is nothing")]
fn whole(value: u64) -> f64 {
    value as f64
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How many whole numbers of a histogram of times are a second.
const NANOSECONDS: f64 = 1e9;

/// What stands above the series of a histogram.
struct Head {
    name: &'static str,
    help: &'static str,
}

impl Head {
    fn of(registrar: &Registrar<'_>) -> Self {
        Self { name: registrar.name, help: registrar.help }
    }

    fn render(&self, text: &mut String, kind: &str) {
        let Self { name, help } = self;
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
}

const HISTOGRAM: &str = "histogram";

/// How long something took.
pub(crate) struct Durations(Head, Buckets);

impl Durations {
    pub(crate) fn record(&self, took: Duration) {
        self.1.add(nanoseconds(took), 1);
    }
}

impl Metric for Durations {
    const KIND: &'static str = HISTOGRAM;

    fn register(registrar: &Registrar<'_>) -> Self {
        Self(Head::of(registrar), Buckets::new(limits::DURATION_BUCKETS_NS))
    }

    fn render(&self, text: &mut String) {
        self.0.render(text, Self::KIND);
        self.1.render(text, self.0.name, "", NANOSECONDS);
        text.push('\n');
    }
}

/// How many there were of something.
pub(crate) struct Counts(Head, Buckets);

impl Counts {
    pub(crate) fn record(&self, count: usize) {
        self.1.add(count as u64, 1);
    }
}

impl Metric for Counts {
    const KIND: &'static str = HISTOGRAM;

    fn register(registrar: &Registrar<'_>) -> Self {
        Self(Head::of(registrar), Buckets::new(limits::COUNT_BUCKETS))
    }

    fn render(&self, text: &mut String) {
        self.0.render(text, Self::KIND);
        self.1.render(text, self.0.name, "", 1.0);
        text.push('\n');
    }
}

/// How long something took, for each value of a label.
pub(crate) struct DurationsBy<L>(Head, Box<[Buckets]>, PhantomData<L>);

impl<L: Labels> DurationsBy<L> {
    /// So many took so long.
    pub(crate) fn record_many(&self, label: L, took: Duration, times: u64) {
        self.1[label.place()].add(nanoseconds(took), times);
    }
}

impl<L: Labels> Metric for DurationsBy<L> {
    const KIND: &'static str = HISTOGRAM;
    const LABELS: &'static [&'static str] = L::NAMES;

    fn register(registrar: &Registrar<'_>) -> Self {
        let buckets = L::all().map(|_| Buckets::new(limits::DURATION_BUCKETS_NS)).collect();
        Self(Head::of(registrar), buckets, PhantomData)
    }

    /// What has never happened is left out: twenty lines each would be most of the text.
    fn render(&self, text: &mut String) {
        self.0.render(text, Self::KIND);
        for (value, buckets) in L::all().zip(&self.1) {
            if buckets.counts.iter().any(|count| count.load(Ordering::Relaxed) > 0) {
                let labels = value.labels().into_iter();
                let labels: Vec<_> =
                    labels.map(|label| format!("{}=\"{}\"", label.key(), label.value())).collect();
                buckets.render(text, self.0.name, &labels.join(","), NANOSECONDS);
            }
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_every_bucket_that_it_fits() {
        let buckets = Buckets::new(&[10, 20, 50]);
        for (value, times) in [(0, 1), (10, 2), (11, 3), (50, 1), (51, 4)] {
            buckets.add(value, times);
        }
        let mut text = String::new();
        buckets.render(&mut text, "h", "", 10.0);
        assert_eq!(
            text,
            "h_bucket{le=\"1\"} 3\nh_bucket{le=\"2\"} 6\nh_bucket{le=\"5\"} 7\nh_bucket{le=\"+Inf\"} 11\n\
             h_sum 30.7\nh_count 11\n"
        );
    }

    #[test]
    fn labels_stand_before_the_end_of_a_bucket() {
        let buckets = Buckets::new(&[25_000]);
        buckets.add(25_000, 2);
        let mut text = String::new();
        buckets.render(&mut text, "h", "a=\"b\"", NANOSECONDS);
        assert_eq!(
            text,
            "h_bucket{a=\"b\",le=\"0.000025\"} 2\nh_bucket{a=\"b\",le=\"+Inf\"} 2\n\
             h_sum{a=\"b\"} 0.00005\nh_count{a=\"b\"} 2\n"
        );
    }

    #[test]
    fn ends_of_buckets_rise() {
        for ends in [limits::DURATION_BUCKETS_NS, limits::COUNT_BUCKETS] {
            assert!(ends.is_sorted_by(|a, b| a < b), "{ends:?}");
        }
    }
}
