//! Reads what a rule asks before its conditions.

use std::sync::Arc;

use serde_json::Value;

use super::Reader;
use super::fields::{join, too_long};
use super::temporal::shown;
use crate::duration::{self, DurationFault};
use crate::rule::Lookup;

impl Reader<'_> {
    pub(super) fn lookups(&mut self, given: &Value) -> Vec<Lookup> {
        let Some(given) = given.as_array() else {
            self.error("lookups", "type", "Lookups must be an array");
            return Vec::new();
        };
        let read = |(index, lookup)| self.lookup(&format!("lookups[{index}]"), lookup);
        given.iter().enumerate().filter_map(read).collect()
    }

    fn lookup(&mut self, at: &str, given: &Value) -> Option<Lookup> {
        if !self.part(at, 1) {
            return None;
        }
        let Some(given) = given.as_object() else {
            return self.none(at, "type", "Lookup must be an object");
        };
        let name = self.filled(at, given, "name", "Lookup");
        let name = name.and_then(|name| self.lookup_name(&join(at, "name"), name));
        let service = self.filled(at, given, "service", "Lookup");
        let method = self.filled(at, given, "method", "Lookup");
        let args = self.args(at, given.get("args"), "Lookup");
        let cache_ms = match given.get("cache") {
            None => Some(0),
            Some(cache) => self.cache(&join(at, "cache"), cache),
        };
        let fails = match given.get("onError") {
            None => Some(false),
            Some(Value::String(strategy)) => match strategy.as_str() {
                "skip" => Some(false),
                "fail" => Some(true),
                other => {
                    let message = format!("Invalid onError strategy: {other}. Valid strategies: skip, fail");
                    self.none(join(at, "onError"), "enum", message)
                }
            },
            Some(_) => self.none(join(at, "onError"), "type", "Lookup onError must be a string"),
        };
        self.known(at, given, &["name", "service", "method", "args", "cache", "onError"]);
        Some(Lookup {
            name: name?,
            service: service?.into(),
            method: method?.into(),
            args: args?,
            cache_ms: cache_ms?,
            fails: fails?,
        })
    }

    fn lookup_name(&mut self, at: &str, name: &str) -> Option<Arc<str>> {
        let name = self.identifier(at, name)?;
        if !self.uses.asked.insert(Arc::clone(&name)) {
            return self.none(at, "duplicate_name", format!("Duplicate lookup name: {name}"));
        }
        Some(name)
    }

    fn cache(&mut self, at: &str, given: &Value) -> Option<u64> {
        let Some(cache) = given.as_object() else {
            return self.none(at, "type", "Lookup cache must be an object");
        };
        self.known(at, cache, &["ttl"]);
        let ttl = self.member(at, cache, "ttl", "Lookup cache")?;
        let message = match duration::parse(ttl) {
            Ok(ttl) => return Some(ttl),
            Err(DurationFault::Type) => "Lookup cache ttl must be a string or number".to_owned(),
            Err(DurationFault::NotPositive) => "Lookup cache ttl must be a positive number".to_owned(),
            Err(DurationFault::Format) => format!(
                "Invalid cache ttl duration: {}. Use a duration like \"5m\", \"1h\", \"30s\" or milliseconds",
                shown(ttl)
            ),
            Err(DurationFault::TooLong) => too_long(),
        };
        self.none(join(at, "ttl"), "duration", message)
    }
}
