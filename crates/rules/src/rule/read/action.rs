//! Reads actions.

use dunlin_protocol::{KeyPattern, TopicPattern};
use serde_json::Value;

use super::Reader;
use super::fields::join;
use super::temporal::shown;
use crate::Object;
use crate::action::Action;
use crate::condition::Template;
use crate::effect::LogLevel;
use crate::limits::{MAX_ITERATIONS, MAX_TURNS};

const TYPES: &str = "set_fact, delete_fact, emit_event, set_timer, cancel_timer, call_service, log, conditional, \
                     for_each, try_catch, webhook, store_insert, store_update, store_upsert, store_delete, \
                     store_transaction";

impl Reader<'_> {
    pub(super) fn actions(&mut self, at: &str, given: &[Value], depth: usize) -> Vec<Action> {
        let read = |(index, action)| self.action(&format!("{at}[{index}]"), action, depth);
        given.iter().enumerate().filter_map(read).collect()
    }

    fn action(&mut self, at: &str, given: &Value, depth: usize) -> Option<Action> {
        if !self.part(at, depth) {
            return None;
        }
        let Some(given) = given.as_object() else {
            return self.none(at, "type", "Action must be an object");
        };
        match self.string(at, given, "type", "Action")? {
            "set_fact" => self.set_fact(at, given),
            "delete_fact" => {
                let key = self.key(at, given, "key", "delete_fact action");
                let silent = self.flag(at, given, "silent", false);
                self.known(at, given, &["type", "key", "silent"]);
                Some(Action::DeleteFact { key: key?, silent })
            }
            "emit_event" => self.emit_event(at, given),
            "set_timer" => self.set_timer(at, given),
            "cancel_timer" => {
                let name = self.key(at, given, "name", "cancel_timer action");
                self.known(at, given, &["type", "name"]);
                Some(Action::CancelTimer { name: name? })
            }
            "call_service" => self.call_service(at, given),
            "webhook" => self.webhook(at, given),
            "log" => self.log(at, given),
            "conditional" => self.conditional(at, given, depth),
            "for_each" => self.for_each(at, given, depth),
            "try_catch" => self.try_catch(at, given, depth),
            "store_insert" => self.store_action(at, "insert", given),
            "store_update" => self.store_action(at, "update", given),
            "store_upsert" => self.store_action(at, "upsert", given),
            "store_delete" => self.store_action(at, "delete", given),
            "store_transaction" => self.store_action(at, "transaction", given),
            name => {
                let message = format!("Invalid action type: {}. Valid types: {TYPES}", shown(&name.into()));
                self.none(join(at, "type"), "enum", message)
            }
        }
    }

    fn set_fact(&mut self, at: &str, given: &Object) -> Option<Action> {
        const SUBJECT: &str = "set_fact action";
        let key = self.key(at, given, "key", SUBJECT);
        let value = self.member(at, given, "value", SUBJECT);
        let value = value.map(|value| self.operand(&join(at, "value"), value));
        let silent = self.flag(at, given, "silent", false);
        self.known(at, given, &["type", "key", "value", "silent"]);
        Some(Action::SetFact { key: key?, value: value?, silent })
    }

    fn emit_event(&mut self, at: &str, given: &Object) -> Option<Action> {
        const SUBJECT: &str = "emit_event action";
        let topic = self.string(at, given, "topic", SUBJECT);
        let topic = topic.and_then(|topic| self.template(&join(at, "topic"), topic));
        let topic = topic.filter(|topic| self.emitted(&join(at, "topic"), topic, SUBJECT).is_some());
        let data = self.member(at, given, "data", SUBJECT);
        let data = data.and_then(|data| self.event_data(&join(at, "data"), data, SUBJECT));
        self.known(at, given, &["type", "topic", "data"]);
        Some(Action::EmitEvent { topic: topic?, data: data? })
    }

    fn set_timer(&mut self, at: &str, given: &Object) -> Option<Action> {
        self.known(at, given, &["type", "timer"]);
        let timer = self.member(at, given, "timer", "set_timer action")?;
        let place = join(at, "timer");
        match timer.as_object() {
            Some(timer) => self.timer(&place, timer, false).map(Action::SetTimer),
            None => self.none(place, "type", "set_timer action timer must be an object"),
        }
    }

    fn log(&mut self, at: &str, given: &Object) -> Option<Action> {
        let level = match self.member(at, given, "level", "log action") {
            None => None,
            Some(level) => match level.as_str() {
                Some("debug") => Some(LogLevel::Debug),
                Some("info") => Some(LogLevel::Info),
                Some("warn") => Some(LogLevel::Warn),
                Some("error") => Some(LogLevel::Error),
                _ => {
                    let message = format!(
                        "Invalid log level: {}. Valid levels: debug, info, warn, error",
                        shown(level)
                    );
                    self.none(join(at, "level"), "enum", message)
                }
            },
        };
        let message = self.string(at, given, "message", "log action");
        let message = message.and_then(|message| self.template(&join(at, "message"), message));
        self.known(at, given, &["type", "level", "message"]);
        Some(Action::Log { level: level?, message: message? })
    }

    fn conditional(&mut self, at: &str, given: &Object, depth: usize) -> Option<Action> {
        const SUBJECT: &str = "conditional action";
        let conditions = self.filled_list(at, given, "conditions", SUBJECT);
        let conditions = conditions.map(|list| self.conditions(&join(at, "conditions"), list, depth + 1));
        let then = self.filled_list(at, given, "then", SUBJECT);
        let then = then.map(|list| self.actions(&join(at, "then"), list, depth + 1));
        let otherwise = match given.get("else") {
            None => Some(Vec::new()),
            Some(Value::Array(list)) => {
                if list.is_empty() {
                    self.warning(join(at, "else"), "empty_branch", "conditional action else is empty");
                }
                Some(self.actions(&join(at, "else"), list, depth + 1))
            }
            Some(_) => self.none(join(at, "else"), "type", format!("{SUBJECT} else must be an array")),
        };
        self.known(at, given, &["type", "conditions", "then", "else"]);
        Some(Action::Conditional { conditions: conditions?, then: then?, otherwise: otherwise? })
    }

    fn for_each(&mut self, at: &str, given: &Object, depth: usize) -> Option<Action> {
        const SUBJECT: &str = "for_each action";
        let place = join(at, "collection");
        let collection = match self.member(at, given, "collection", SUBJECT) {
            Some(list @ Value::Array(_)) => Some(self.operand(&place, list)),
            Some(object @ Value::Object(members)) if members.contains_key("ref") => {
                Some(self.operand(&place, object))
            }
            Some(_) => {
                self.none(place, "type", format!("{SUBJECT} collection must be an array or a reference"))
            }
            None => None,
        };
        let name = self.string(at, given, "as", SUBJECT);
        let name = name.and_then(|name| self.variable(&join(at, "as"), name));
        if let Some(name) = &name {
            self.uses.sets(&format!("{name}_index").into());
        }
        let actions = self.filled_list(at, given, "actions", SUBJECT);
        let actions = actions.map(|list| self.actions(&join(at, "actions"), list, depth + 1));
        let most = match given.get("maxIterations") {
            None => Some(MAX_ITERATIONS),
            Some(_) => self
                .count(at, given, "maxIterations", SUBJECT, MAX_TURNS)
                .and_then(|most| usize::try_from(most).ok()),
        };
        self.known(at, given, &["type", "collection", "as", "actions", "maxIterations"]);
        Some(Action::ForEach {
            collection: collection?,
            name: name?,
            actions: actions?,
            max_iterations: most?,
        })
    }

    fn try_catch(&mut self, at: &str, given: &Object, depth: usize) -> Option<Action> {
        const SUBJECT: &str = "try_catch action";
        let attempt = self.filled_list(at, given, "try", SUBJECT);
        let attempt = attempt.map(|list| self.actions(&join(at, "try"), list, depth + 1));
        if !given.contains_key("catch") && !given.contains_key("finally") {
            let message = "try_catch action must have at least \"catch\" or \"finally\"";
            self.error(at, "required", message);
        }
        let (mut catch_as, mut catch) = (None, Vec::new());
        match given.get("catch") {
            None => {}
            Some(Value::Object(given)) => {
                let at = join(at, "catch");
                catch_as = match given.get("as") {
                    None => None,
                    Some(Value::String(name)) => self.variable(&join(&at, "as"), name),
                    Some(_) => self.none(join(&at, "as"), "type", "try_catch catch as must be a string"),
                };
                let list = self.filled_list(&at, given, "actions", "try_catch catch");
                catch =
                    list.map(|list| self.actions(&join(&at, "actions"), list, depth + 1)).unwrap_or_default();
                self.known(&at, given, &["as", "actions"]);
            }
            Some(_) => self.error(join(at, "catch"), "type", format!("{SUBJECT} catch must be an object")),
        }
        let finally = match given.get("finally") {
            None => Vec::new(),
            Some(Value::Array(list)) => {
                if list.is_empty() {
                    self.warning(join(at, "finally"), "empty_branch", "try_catch action finally is empty");
                }
                self.actions(&join(at, "finally"), list, depth + 1)
            }
            Some(_) => {
                self.error(join(at, "finally"), "type", format!("{SUBJECT} finally must be an array"));
                Vec::new()
            }
        };
        self.known(at, given, &["type", "try", "catch", "finally"]);
        Some(Action::TryCatch { attempt: attempt?, catch_as, catch, finally })
    }

    /// The key of a fact or the name of a timer, with references in it.
    fn key(&mut self, at: &str, given: &Object, name: &str, subject: &str) -> Option<Template> {
        let text = self.string(at, given, name, subject)?;
        let place = join(at, name);
        let template = self.template(&place, text)?;
        self.key_text(&place, &template, &format!("{subject} {name}")).map(|()| template)
    }

    /// What can be said of a key before its references are resolved.
    pub(super) fn key_text(&mut self, at: &str, template: &Template, subject: &str) -> Option<()> {
        let Some(text) = template.constant() else { return Some(()) };
        match KeyPattern::parse(text) {
            Ok(_) => Some(()),
            Err(_) if text.is_empty() => self.none(at, "empty", format!("{subject} cannot be empty")),
            Err(fault) => self.none(at, "invalid_pattern", format!("{subject} is not valid: {fault}")),
        }
    }

    /// What can be said of a topic that is emitted before its references are resolved.
    pub(super) fn emitted(&mut self, at: &str, template: &Template, subject: &str) -> Option<()> {
        if template.text.starts_with("bucket.") {
            let message =
                format!("{subject} topic must not begin with \"bucket.\": these are changes of records");
            return self.none(at, "reserved", message);
        }
        let Some(text) = template.constant() else { return Some(()) };
        match TopicPattern::parse(text) {
            Ok(_) if text.contains('*') => {
                self.none(at, "invalid_pattern", format!("{subject} topic is one topic and has no *"))
            }
            Ok(_) => Some(()),
            Err(_) if text.is_empty() => self.none(at, "empty", format!("{subject} topic cannot be empty")),
            Err(fault) => self.none(at, "invalid_pattern", format!("{subject} topic is not valid: {fault}")),
        }
    }
}
