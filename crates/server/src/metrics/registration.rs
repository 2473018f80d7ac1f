//! How a metric becomes known to the exporter: alone, or as one series for each value of a label.

use std::marker::PhantomData;

use metrics::{Counter, Gauge, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::labels::Labels;

const METADATA: Metadata<'static> = Metadata::new("dunlin", Level::INFO, None);

/// What is known of a metric when it is registered.
pub(super) struct Registrar<'a> {
    pub(super) recorder: &'a PrometheusRecorder,
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) help: &'static str,
}

/// A kind of metric.
pub(super) trait Metric {
    /// As Prometheus calls it.
    const KIND: &'static str;
    /// Names of its labels.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the tests of the documentation"))]
    const LABELS: &'static [&'static str] = &[];

    fn register(registrar: &Registrar<'_>) -> Self;

    /// Writes what the exporter does not know of.
    fn render(&self, _text: &mut String) {}
}

impl Registrar<'_> {
    fn counter(&self, labels: Vec<Label>) -> Counter {
        let name = KeyName::from(self.name);
        self.recorder.describe_counter(name, Some(self.unit), SharedString::from(self.help));
        self.recorder.register_counter(&Key::from_parts(self.name, labels), &METADATA)
    }

    fn gauge(&self, labels: Vec<Label>) -> Gauge {
        let name = KeyName::from(self.name);
        self.recorder.describe_gauge(name, Some(self.unit), SharedString::from(self.help));
        self.recorder.register_gauge(&Key::from_parts(self.name, labels), &METADATA)
    }
}

impl Metric for Counter {
    const KIND: &'static str = "counter";

    fn register(registrar: &Registrar<'_>) -> Self {
        registrar.counter(Vec::new())
    }
}

impl Metric for Gauge {
    const KIND: &'static str = "gauge";

    fn register(registrar: &Registrar<'_>) -> Self {
        registrar.gauge(Vec::new())
    }
}

/// A counter for each value of a label.
pub(crate) struct CounterBy<L>(Box<[Counter]>, PhantomData<L>);

/// A gauge for each value of a label.
pub(crate) struct GaugeBy<L>(Box<[Gauge]>, PhantomData<L>);

impl<L: Labels> CounterBy<L> {
    /// The one of this value.
    pub(crate) fn of(&self, label: L) -> &Counter {
        &self.0[label.place()]
    }
}

impl<L: Labels> GaugeBy<L> {
    /// The one of this value.
    pub(crate) fn of(&self, label: L) -> &Gauge {
        &self.0[label.place()]
    }
}

impl<L: Labels> Metric for CounterBy<L> {
    const KIND: &'static str = Counter::KIND;
    const LABELS: &'static [&'static str] = L::NAMES;

    fn register(registrar: &Registrar<'_>) -> Self {
        Self(L::all().map(|value| registrar.counter(value.labels())).collect(), PhantomData)
    }
}

impl<L: Labels> Metric for GaugeBy<L> {
    const KIND: &'static str = Gauge::KIND;
    const LABELS: &'static [&'static str] = L::NAMES;

    fn register(registrar: &Registrar<'_>) -> Self {
        Self(L::all().map(|value| registrar.gauge(value.labels())).collect(), PhantomData)
    }
}
