//! Reads timers.

use serde_json::Value;

use super::Reader;
use super::fields::join;
use crate::Object;
use crate::action::{Schedule, TimerTemplate};
use crate::condition::{Operand, Template};

impl Reader<'_> {
    /// A timer; a `plain` one is what it says, and nothing in it stands for something else.
    pub(super) fn timer(&mut self, at: &str, timer: &Object, plain: bool) -> Option<TimerTemplate> {
        let name = self.string(at, timer, "name", "Timer");
        let name = name.and_then(|name| self.timer_text(&join(at, "name"), name, plain));
        let name = name.filter(|name| self.key_text(&join(at, "name"), name, "Timer name").is_some());
        let schedule = self.schedule(at, timer);
        let on_expire = match self.member(at, timer, "onExpire", "Timer") {
            None => None,
            Some(Value::Object(on_expire)) => self.on_expire(&join(at, "onExpire"), on_expire, plain),
            Some(_) => self.none(join(at, "onExpire"), "type", "Timer onExpire must be an object"),
        };
        self.known(at, timer, &["name", "duration", "cron", "timeZone", "repeat", "maxCount", "onExpire"]);
        let (topic, data) = on_expire?;
        Some(TimerTemplate { name: name?, schedule: schedule?, topic, data })
    }

    fn on_expire(&mut self, at: &str, given: &Object, plain: bool) -> Option<(Template, Operand)> {
        let topic = self.string(at, given, "topic", "Timer onExpire");
        let topic = topic.and_then(|topic| self.timer_text(&join(at, "topic"), topic, plain));
        let topic = topic.filter(|topic| self.emitted(&join(at, "topic"), topic, "Timer onExpire").is_some());
        let data = self.member(at, given, "data", "Timer onExpire");
        let data = match data {
            Some(data) if plain && data.is_object() => Some(Operand::Constant(data.clone().into())),
            Some(data) => self.event_data(&join(at, "data"), data, "Timer onExpire"),
            None => None,
        };
        self.known(at, given, &["topic", "data"]);
        Some((topic?, data?))
    }

    fn timer_text(&mut self, at: &str, text: &str, plain: bool) -> Option<Template> {
        if plain { Some(Template::literal(text)) } else { self.template(at, text) }
    }

    fn schedule(&mut self, at: &str, timer: &Object) -> Option<Schedule> {
        let max_count = self.count(at, timer, "maxCount", "Timer", u64::MAX);
        if let Some(cron) = timer.get("cron") {
            return self.cron(at, cron, timer, max_count);
        }
        let Some(duration) = timer.get("duration") else {
            return self.none(join(at, "duration"), "required", "Timer must have a \"duration\" field");
        };
        let duration = self.timer_span(at, duration, "duration", "Timer");
        let mut interval = None;
        let mut turns = max_count;
        match timer.get("repeat") {
            None => {}
            Some(Value::Object(repeat)) => {
                let at = join(at, "repeat");
                let given = self.member(&at, repeat, "interval", "Timer repeat")?;
                interval = Some(self.timer_span(&at, given, "interval", "Timer repeat")?);
                turns = self.count(&at, repeat, "maxCount", "Timer repeat", u64::MAX).or(max_count);
                self.known(&at, repeat, &["interval", "maxCount"]);
            }
            Some(_) => self.error(join(at, "repeat"), "type", "Timer repeat must be an object"),
        }
        if timer.contains_key("timeZone") {
            self.warning(join(at, "timeZone"), "no_effect", "Timer timeZone has no effect without \"cron\"");
        }
        Some(Schedule::After { duration: duration?, interval, max_count: turns })
    }

    /// The calendar goes before everything else that is said of the time.
    fn cron(&mut self, at: &str, given: &Value, timer: &Object, max_count: Option<u64>) -> Option<Schedule> {
        for other in ["duration", "repeat"] {
            if timer.contains_key(other) {
                let message = format!("Timer {other} has no effect beside \"cron\"");
                self.warning(join(at, other), "no_effect", message);
            }
        }
        let Some(expression) = given.as_str() else {
            return self.none(join(at, "cron"), "type", "Timer cron must be a string");
        };
        let expression = self.short_text(&join(at, "cron"), expression);
        let time_zone = match timer.get("timeZone") {
            None => None,
            Some(Value::String(zone)) => self.short_text(&join(at, "timeZone"), zone),
            Some(_) => self.none(join(at, "timeZone"), "type", "Timer timeZone must be a string"),
        };
        let expression = expression?;
        if let Err(message) = crate::cron::check(&expression, time_zone.as_deref()) {
            return self.none(join(at, "cron"), "invalid_cron", message);
        }
        Some(Schedule::Cron { expression, time_zone, max_count })
    }
}
