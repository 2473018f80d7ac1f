//! Reads patterns over several events.

use serde_json::Value;

use super::Reader;
use super::fields::join;
use crate::Object;
use crate::rule::{Comparison, EventMatcher, Function, TemporalKind, TemporalPattern, Window};

const AT: &str = "trigger.pattern";

impl Reader<'_> {
    pub(super) fn temporal(&mut self, pattern: &Object) -> Option<TemporalPattern> {
        let kind = self.string(AT, pattern, "type", "Temporal pattern")?;
        let kind = match kind {
            "sequence" => self.sequence(pattern),
            "absence" => self.absence(pattern),
            "count" => self.counted(pattern),
            "aggregate" => self.aggregated(pattern),
            other => {
                let message = format!(
                    "Invalid temporal pattern type: {other}. Valid types: sequence, absence, count, aggregate"
                );
                return self.none(join(AT, "type"), "enum", message);
            }
        };
        let group_by = self.optional_path(AT, pattern, "groupBy");
        let once = self.flag(AT, pattern, "once", false);
        let fields: &[&str] = match pattern.get("type").and_then(Value::as_str) {
            Some("sequence") => &["type", "events", "within", "strict", "groupBy"],
            Some("absence") => &["type", "after", "expected", "within", "groupBy"],
            Some("count") => &[
                "type",
                "event",
                "threshold",
                "comparison",
                "window",
                "sliding",
                "emptyWindows",
                "once",
                "groupBy",
            ],
            _ => &[
                "type",
                "event",
                "field",
                "function",
                "threshold",
                "comparison",
                "window",
                "sliding",
                "emptyWindows",
                "once",
                "groupBy",
            ],
        };
        self.known(AT, pattern, fields);
        kind.map(|kind| TemporalPattern { kind, group_by, once })
    }

    fn sequence(&mut self, pattern: &Object) -> Option<TemporalKind> {
        let events = match self.member(AT, pattern, "events", "Sequence pattern") {
            None => None,
            Some(Value::Array(events)) => {
                if events.len() < 2 {
                    let message = "Sequence pattern must have at least 2 events";
                    self.error(join(AT, "events"), "min_items", message);
                }
                if events.len() > self.limits.events_per_group {
                    let message = format!(
                        "Sequence pattern must have at most {} events, which is what a group remembers",
                        self.limits.events_per_group
                    );
                    self.error(join(AT, "events"), "range", message);
                }
                let read = |(index, event)| self.matcher(&format!("{AT}.events[{index}]"), event);
                Some(events.iter().enumerate().map(read).collect::<Vec<_>>())
            }
            Some(_) => self.none(join(AT, "events"), "type", "Sequence pattern events must be an array"),
        };
        let within = self.span(AT, pattern, "within");
        let strict = self.flag(AT, pattern, "strict", false);
        let events = events?.into_iter().collect::<Option<Vec<_>>>()?;
        Some(TemporalKind::Sequence { events, within: within?, strict })
    }

    fn absence(&mut self, pattern: &Object) -> Option<TemporalKind> {
        let [after, expected] = ["after", "expected"].map(|name| {
            let event = self.member(AT, pattern, name, "Absence pattern")?;
            self.matcher(&join(AT, name), event)
        });
        let within = self.span(AT, pattern, "within");
        Some(TemporalKind::Absence { after: after?, expected: expected?, within: within? })
    }

    fn counted(&mut self, pattern: &Object) -> Option<TemporalKind> {
        let event = self.windowed_event(pattern, "Count pattern");
        let threshold = self.member(AT, pattern, "threshold", "Count pattern");
        #[expect(clippy::cast_precision_loss, reason = "a bound of remembered events is far below 2^53")]
        let most = self.limits.events_per_group as f64;
        let threshold = match threshold.map(Value::as_f64) {
            None => None,
            Some(Some(threshold)) if threshold > most => {
                let message = format!(
                    "Count pattern threshold must be at most {most}, which is what a group remembers"
                );
                self.none(join(AT, "threshold"), "range", message)
            }
            Some(Some(threshold)) if threshold >= 1.0 => Some(threshold),
            Some(_) => {
                let message = "Count pattern threshold must be a positive number";
                self.none(join(AT, "threshold"), "range", message)
            }
        };
        let comparison = self.comparison(pattern);
        let window = self.window(pattern);
        Some(TemporalKind::Count {
            event: event?,
            comparison: comparison?,
            threshold: threshold?,
            window: window?,
        })
    }

    fn aggregated(&mut self, pattern: &Object) -> Option<TemporalKind> {
        let event = self.windowed_event(pattern, "Aggregate pattern");
        let threshold = match self.member(AT, pattern, "threshold", "Aggregate pattern").map(Value::as_f64) {
            None => None,
            Some(Some(threshold)) => Some(threshold),
            Some(None) => {
                self.none(join(AT, "threshold"), "type", "Aggregate pattern threshold must be a number")
            }
        };
        let comparison = self.comparison(pattern);
        let field = self.string(AT, pattern, "field", "Aggregate pattern");
        let field = field.and_then(|field| self.path(&join(AT, "field"), field));
        let function = self.function(pattern);
        let window = self.window(pattern);
        Some(TemporalKind::Aggregate {
            event: event?,
            field: field?,
            function: function?,
            comparison: comparison?,
            threshold: threshold?,
            window: window?,
        })
    }

    fn windowed_event(&mut self, pattern: &Object, subject: &str) -> Option<EventMatcher> {
        let event = self.member(AT, pattern, "event", subject)?;
        self.matcher(&join(AT, "event"), event)
    }

    fn comparison(&mut self, pattern: &Object) -> Option<Comparison> {
        let Some(given) = pattern.get("comparison") else { return Some(Comparison::Gte) };
        match given.as_str() {
            Some("gte") => Some(Comparison::Gte),
            Some("lte") => Some(Comparison::Lte),
            Some("eq") => Some(Comparison::Eq),
            _ => {
                let message = format!("Invalid comparison: {}. Valid values: gte, lte, eq", shown(given));
                self.none(join(AT, "comparison"), "enum", message)
            }
        }
    }

    fn function(&mut self, pattern: &Object) -> Option<Function> {
        let given = self.member(AT, pattern, "function", "Aggregate pattern")?;
        match given.as_str() {
            Some("sum") => Some(Function::Sum),
            Some("avg") => Some(Function::Avg),
            Some("min") => Some(Function::Min),
            Some("max") => Some(Function::Max),
            Some("count") => Some(Function::Count),
            _ => {
                let message = format!(
                    "Invalid aggregate function: {}. Valid values: sum, avg, min, max, count",
                    shown(given)
                );
                self.none(join(AT, "function"), "enum", message)
            }
        }
    }

    fn window(&mut self, pattern: &Object) -> Option<Window> {
        let length = self.span(AT, pattern, "window");
        let sliding = self.flag(AT, pattern, "sliding", true);
        let empty_windows = self.flag(AT, pattern, "emptyWindows", false);
        if sliding && empty_windows {
            let message = "A window that slides is never empty when it is looked at; add \"sliding\": false";
            self.error(join(AT, "emptyWindows"), "conflict", message);
        }
        length.map(|length| Window { length, sliding, empty_windows })
    }

    fn matcher(&mut self, at: &str, given: &Value) -> Option<EventMatcher> {
        if !self.part(at, 1) {
            return None;
        }
        let Some(given) = given.as_object() else {
            return self.none(at, "type", "Event matcher must be an object");
        };
        let topic = self.string(at, given, "topic", "Event matcher");
        let topic = topic.and_then(|topic| self.topic(&join(at, "topic"), topic));
        let alias = match given.get("as") {
            None => None,
            Some(Value::String(alias)) => self.alias(&join(at, "as"), alias),
            Some(_) => self.none(join(at, "as"), "type", "Event matcher alias must be a string"),
        };
        let filter = match given.get("filter") {
            None => Some(Vec::new()),
            Some(Value::Object(filter)) => Some(self.filter(&join(at, "filter"), filter)),
            Some(_) => self.none(join(at, "filter"), "type", "Event matcher filter must be an object"),
        };
        self.known(at, given, &["topic", "filter", "as"]);
        Some(EventMatcher { topic: topic?, filter: filter?, alias })
    }

    fn filter(&mut self, at: &str, filter: &Object) -> Vec<(crate::condition::Path, Value)> {
        filter
            .iter()
            .filter_map(|(path, value)| Some((self.path(&join(at, path), path)?, value.clone())))
            .collect()
    }

    fn alias(&mut self, at: &str, alias: &str) -> Option<std::sync::Arc<str>> {
        let name = self.identifier(at, alias)?;
        if self.uses.aliases.iter().any(|(_, taken)| *taken == name) {
            return self.none(at, "duplicate_alias", format!("Duplicate alias: {alias}"));
        }
        self.uses.aliases.push((at.to_owned(), name.clone()));
        Some(name)
    }
}

/// A value in a message: a text without its quotes.
pub(super) fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.chars().take(64).collect()
}
