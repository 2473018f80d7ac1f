//! Actions of the model: each is a call, and what it triggers is one inside of it.

use serde_json::{Value, json};

use super::model::{Model, Seen, Timer, text};

/// The code of an action that failed.
type Failed = &'static str;

impl Model {
    pub(super) fn actions(&mut self, actions: &Value, seen: &mut Seen, rule: &str) {
        for action in actions.as_array().into_iter().flatten() {
            if self.action(action, seen, rule).is_err() {
                self.failed(rule);
            }
        }
    }

    fn failed(&mut self, rule: &str) {
        self.outcome.reports.push((json!("action_failed"), Some(rule.into())));
    }

    pub(super) fn report_once(&mut self, kind: &str, rule: Option<&str>) {
        if !self.outcome.reports.iter().any(|(known, _)| known == kind) {
            self.outcome.reports.push((json!(kind), rule.map(Into::into)));
        }
    }

    pub(super) fn may_emit(&mut self) -> bool {
        self.outcome.emitted += 1;
        if self.outcome.emitted > self.limits.events {
            self.report_once("events_exceeded", None);
        }
        self.outcome.emitted <= self.limits.events
    }

    fn action(&mut self, action: &Value, seen: &mut Seen, rule: &str) -> Result<(), Failed> {
        let depth = seen.depth + 1;
        let by = (action["silent"] != json!(true)).then(|| seen.clone());
        match text(&action["type"]) {
            "set_fact" => {
                let key = self.render(text(&action["key"]), seen);
                if key.is_empty() {
                    return Err("INVALID_KEY");
                }
                let value = self.resolve(&action["value"], seen);
                self.put_fact(&key, value, "rule", by, depth);
            }
            "delete_fact" => {
                let key = self.render(text(&action["key"]), seen);
                self.drop_fact(&key, by, depth);
            }
            "emit_event" => {
                let topic = self.render(text(&action["topic"]), seen);
                if topic.is_empty() {
                    return Err("INVALID_TOPIC");
                }
                let data = self.resolve(&action["data"], seen);
                if self.may_emit() {
                    let (correlation, cause) = (seen.correlation.clone(), seen.cause.clone());
                    self.emit(&topic, &data, "rule", (correlation, cause), depth);
                }
            }
            "set_timer" => {
                let timer = &action["timer"];
                let name = self.render(text(&timer["name"]), seen);
                let data = self.resolve(&timer["onExpire"]["data"], seen);
                self.put_timer(&name, timer, data, seen.correlation.clone());
            }
            "cancel_timer" => {
                let name = self.render(text(&action["name"]), seen);
                self.cancel_timer(&name);
            }
            "store_insert" => return Err("NO"),
            "conditional" => {
                let branch = if self.all_hold(&action["conditions"], seen) { "then" } else { "else" };
                self.actions(&action[branch], seen, rule);
            }
            "for_each" => self.for_each(action, seen, rule)?,
            "try_catch" => self.try_catch(action, seen, rule),
            other => panic!("{other}"),
        }
        Ok(())
    }

    fn for_each(&mut self, action: &Value, seen: &mut Seen, rule: &str) -> Result<(), Failed> {
        let Some(Value::Array(items)) = self.find(&action["collection"], seen) else {
            return Err("NOT_AN_ARRAY");
        };
        let name = text(&action["as"]);
        let outer = seen.variables.clone();
        let most = action["maxIterations"].as_u64().unwrap_or(1000);
        for (index, item) in (0..most).zip(items) {
            seen.variables.insert(name.into(), item);
            seen.variables.insert(format!("{name}_index"), json!(index));
            self.actions(&action["actions"], seen, rule);
        }
        seen.variables = outer;
        Ok(())
    }

    fn try_catch(&mut self, action: &Value, seen: &mut Seen, rule: &str) {
        let tried = action["try"].as_array().unwrap();
        let fault = tried.iter().find_map(|action| self.action(action, seen, rule).err());
        if let Some(code) = fault {
            match action.get("catch") {
                None => self.failed(rule),
                Some(catch) => {
                    let outer = seen.variables.clone();
                    if let Some(name) = catch["as"].as_str() {
                        seen.variables.insert(name.into(), json!({ "code": code }));
                    }
                    self.actions(&catch["actions"], seen, rule);
                    seen.variables = outer;
                }
            }
        }
        self.actions(&action["finally"], seen, rule);
    }

    pub(super) fn put_timer(&mut self, name: &str, timer: &Value, data: Value, correlation: Option<String>) {
        self.cancel_timer(name);
        self.timers.push(Timer {
            name: name.into(),
            expires_at: self.now + timer["duration"].as_u64().unwrap(),
            topic: text(&timer["onExpire"]["topic"]).into(),
            data,
            correlation,
            interval: timer["repeat"]["interval"].as_u64(),
            max_count: timer["repeat"]["maxCount"].as_u64(),
            fired: 0,
        });
    }
}
