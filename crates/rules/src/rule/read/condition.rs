//! Reads conditions.

use dunlin_pattern::Pattern;
use serde_json::Value;

use super::Reader;
use super::fields::join;
use super::temporal::shown;
use crate::Object;
use crate::condition::{Condition, ConditionSource, Operand, Operator, Test};

impl Reader<'_> {
    pub(super) fn conditions(&mut self, at: &str, given: &[Value], depth: usize) -> Vec<Condition> {
        let read = |(index, condition)| self.condition(&format!("{at}[{index}]"), condition, depth);
        given.iter().enumerate().filter_map(read).collect()
    }

    fn condition(&mut self, at: &str, given: &Value, depth: usize) -> Option<Condition> {
        if !self.part(at, depth) {
            return None;
        }
        let Some(given) = given.as_object() else {
            return self.none(at, "type", "Condition must be an object");
        };
        let group = ["any", "all", "not"].into_iter().find(|name| given.contains_key(*name));
        match group {
            Some(name) => self.group_of_conditions(at, name, given, depth),
            None => self.test(at, given).map(Condition::Test),
        }
    }

    fn group_of_conditions(
        &mut self,
        at: &str,
        name: &str,
        given: &Object,
        depth: usize,
    ) -> Option<Condition> {
        let inside = join(at, name);
        let read = match (name, given.get(name)) {
            ("not", Some(condition)) => {
                self.condition(&inside, condition, depth + 1).map(|inner| Condition::Not(Box::new(inner)))
            }
            (_, Some(Value::Array(conditions))) if !conditions.is_empty() => {
                let conditions = self.conditions(&inside, conditions, depth + 1);
                Some(if name == "any" { Condition::Any(conditions) } else { Condition::All(conditions) })
            }
            (_, Some(Value::Array(_))) => self.none(inside, "empty", format!("\"{name}\" must not be empty")),
            _ => self.none(inside, "type", format!("\"{name}\" must be an array of conditions")),
        };
        for other in given.keys().filter(|other| *other != name) {
            let clashes = ["any", "all", "not", "source", "operator", "value"].contains(&other.as_str());
            let place = join(at, other);
            if clashes {
                let message = format!("\"{other}\" cannot stand beside \"{name}\"; write two conditions");
                self.error(place, "conflict", message);
            } else {
                let message = format!("Field \"{other}\" is not known and has no effect");
                self.warning(place, "unknown_field", message);
            }
        }
        read
    }

    fn test(&mut self, at: &str, given: &Object) -> Option<Test> {
        let source = self.source(at, given);
        let operator = self.operator(at, given);
        let needs_value = operator.is_none_or(Operator::needs_value);
        // Beside something that is no operator a value is asked for too.
        let place = join(at, "value");
        let mut pattern = None;
        let value = match given.get("value") {
            Some(_) if !needs_value => Operand::Constant(Value::Null.into()),
            Some(Value::String(text)) if operator == Some(Operator::Matches) => {
                match Pattern::compile(text) {
                    Ok(compiled) => pattern = Some(compiled),
                    Err(message) => self.error(place, "invalid_regex", message),
                }
                Operand::Constant(Value::String(text.clone()).into())
            }
            Some(value) => self.operand(&place, value),
            None if needs_value => {
                return self.none(place, "required", "Condition must have a \"value\" field");
            }
            None => Operand::Constant(Value::Null.into()),
        };
        self.known(at, given, &["source", "operator", "value"]);
        Some(Test { source: source?, operator: operator?, value, pattern })
    }

    fn operator(&mut self, at: &str, given: &Object) -> Option<Operator> {
        let name = self.string(at, given, "operator", "Condition")?;
        let found = Operator::ALL.into_iter().find(|operator| operator.as_str() == name);
        if found.is_none() {
            let valid = Operator::ALL.map(Operator::as_str).join(", ");
            let message = format!("Invalid operator: {name}. Valid operators: {valid}");
            self.error(join(at, "operator"), "enum", message);
        }
        found
    }

    fn source(&mut self, at: &str, given: &Object) -> Option<ConditionSource> {
        let source = self.member(at, given, "source", "Condition")?;
        let at = join(at, "source");
        let Some(source) = source.as_object() else {
            return self.none(at, "type", "Condition source must be an object");
        };
        match self.string(&at, source, "type", "Condition source")? {
            "event" => {
                let field = self.string(&at, source, "field", "Event source")?;
                self.known(&at, source, &["type", "field"]);
                self.path(&join(&at, "field"), field).map(ConditionSource::Event)
            }
            "fact" => {
                let pattern = self.string(&at, source, "pattern", "Fact source")?;
                self.known(&at, source, &["type", "pattern"]);
                let place = join(&at, "pattern");
                let template = self.template(&place, pattern)?;
                self.key_text(&place, &template, "Fact source pattern")?;
                Some(ConditionSource::Fact(template))
            }
            "context" => {
                let key = self.string(&at, source, "key", "Context source")?;
                self.known(&at, source, &["type", "key"]);
                let path = self.path(&join(&at, "key"), key)?;
                self.uses.variable(&at, path.segments.first());
                Some(ConditionSource::Context(path))
            }
            "lookup" => {
                let name = self.string(&at, source, "name", "Lookup source");
                let field = match source.get("field") {
                    None => None,
                    Some(Value::String(field)) => self.path(&join(&at, "field"), field),
                    Some(_) => self.none(join(&at, "field"), "type", "Lookup source field must be a string"),
                };
                self.known(&at, source, &["type", "name", "field"]);
                let name = name?.into();
                self.uses.lookup(&at, &name);
                Some(ConditionSource::Lookup { name, field })
            }
            "baseline" => {
                let message = "Sources of type baseline are not supported; compare with a fact";
                self.none(join(&at, "type"), "unsupported", message)
            }
            other => {
                let message = format!(
                    "Invalid source type: {}. Valid types: event, fact, context, lookup",
                    shown(&other.into())
                );
                self.none(join(&at, "type"), "enum", message)
            }
        }
    }
}
