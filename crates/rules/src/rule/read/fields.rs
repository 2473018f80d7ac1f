//! What is read everywhere in the same way: members that must be there, texts, flags, counts, lengths of time.

use serde_json::Value;

use super::Reader;
use crate::Object;
use crate::duration::{self, DurationFault};
use crate::limits::MAX_DURATION_MS;

/// The place of a member.
pub(super) fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// `a "field"` or `an "event"`.
pub(super) fn article(name: &str) -> &'static str {
    if name.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" }
}

impl Reader<'_> {
    /// A member that must be there.
    pub(super) fn member<'v>(
        &mut self,
        at: &str,
        object: &'v Object,
        name: &str,
        subject: &str,
    ) -> Option<&'v Value> {
        let found = object.get(name);
        if found.is_none() {
            let message = format!("{subject} must have {} \"{name}\" field", article(name));
            self.error(join(at, name), "required", message);
        }
        found
    }

    /// A text that must be there.
    pub(super) fn string<'v>(
        &mut self,
        at: &str,
        object: &'v Object,
        name: &str,
        subject: &str,
    ) -> Option<&'v str> {
        let found = self.member(at, object, name, subject)?;
        let text = found.as_str();
        if text.is_none() {
            self.error(join(at, name), "type", format!("{subject} {name} must be a string"));
        }
        text
    }

    /// A text that must be there with something in it.
    pub(super) fn filled<'v>(
        &mut self,
        at: &str,
        object: &'v Object,
        name: &str,
        subject: &str,
    ) -> Option<&'v str> {
        let text = self.string(at, object, name, subject)?;
        if text.trim().is_empty() {
            return self.none(join(at, name), "empty", format!("{subject} {name} cannot be empty"));
        }
        Some(text)
    }

    /// A list that must be there with something in it.
    pub(super) fn filled_list<'v>(
        &mut self,
        at: &str,
        object: &'v Object,
        name: &str,
        subject: &str,
    ) -> Option<&'v [Value]> {
        let list = self.member(at, object, name, subject)?;
        match list.as_array() {
            None => self.none(join(at, name), "type", format!("{subject} {name} must be an array")),
            Some(list) if list.is_empty() => {
                self.none(join(at, name), "empty", format!("{subject} {name} must not be empty"))
            }
            Some(list) => Some(list),
        }
    }

    /// A choice that may be left out.
    pub(super) fn flag(&mut self, at: &str, object: &Object, name: &str, default: bool) -> bool {
        match object.get(name) {
            None => default,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.error(join(at, name), "type", format!("Field \"{name}\" must be a boolean"));
                default
            }
        }
    }

    /// A number of something, from 1 to a bound, that may be left out.
    pub(super) fn count(
        &mut self,
        at: &str,
        object: &Object,
        name: &str,
        subject: &str,
        most: u64,
    ) -> Option<u64> {
        let given = object.get(name)?;
        let whole = given.as_u64().or_else(|| {
            let double =
                given.as_f64().filter(|double| double.fract() == 0.0 && (0.0..1e15).contains(double))?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a whole number below 1e15"
            )]
            Some(double as u64)
        });
        match whole {
            Some(count) if (1..=most).contains(&count) => Some(count),
            _ if most == u64::MAX => {
                self.none(join(at, name), "range", format!("{subject} {name} must be a positive integer"))
            }
            _ => self.none(
                join(at, name),
                "range",
                format!("{subject} {name} must be an integer from 1 to {most}"),
            ),
        }
    }

    /// A length of time in the words of patterns: `within`, `window`.
    pub(super) fn span(&mut self, at: &str, object: &Object, name: &str) -> Option<u64> {
        let place = join(at, name);
        let Some(given) = object.get(name) else {
            return self.none(place, "duration", format!("Field \"{name}\" is required"));
        };
        let message = match duration::parse(given) {
            Ok(span) => return Some(span),
            Err(DurationFault::Type) => {
                format!("Field \"{name}\" must be a string (e.g., \"5m\") or number (milliseconds)")
            }
            Err(DurationFault::Format) => format!(
                "Invalid duration format: {}. Use formats like \"5m\", \"1h\", \"7d\"",
                given.as_str().unwrap_or_default()
            ),
            Err(DurationFault::NotPositive) => "Duration must be positive".to_owned(),
            Err(DurationFault::TooLong) => too_long(),
        };
        self.none(place, "duration", message)
    }

    /// A length of time in the words of timers: `duration`, `interval`, `timeout`.
    pub(super) fn timer_span(&mut self, at: &str, given: &Value, name: &str, subject: &str) -> Option<u64> {
        let message = match duration::parse(given) {
            Ok(span) => return Some(span),
            Err(DurationFault::Type) => format!("{subject} {name} must be a string or number"),
            Err(DurationFault::Format) => {
                format!("Invalid duration format: {}", given.as_str().unwrap_or_default())
            }
            Err(DurationFault::NotPositive) => format!("{subject} {name} must be positive"),
            Err(DurationFault::TooLong) => too_long(),
        };
        self.none(join(at, name), "duration", message)
    }

    /// Warns of members that mean nothing: most are misspelt.
    pub(super) fn known(&mut self, at: &str, object: &Object, known: &[&str]) {
        for name in object.keys().filter(|name| !known.contains(&name.as_str())) {
            let message = format!("Field \"{name}\" is not known and has no effect");
            self.warning(join(at, name), "unknown_field", message);
        }
    }
}

pub(super) fn too_long() -> String {
    format!("Duration is too long; at most {MAX_DURATION_MS} milliseconds are possible")
}
