//! Conditions and values of the model, worked out from their JSON.

use dunlin_rules::Object;
use serde_json::{Value, json};

use super::model::{LARGE, Model, Seen, text};

impl Model {
    pub(crate) fn all_hold(&self, conditions: &Value, seen: &Seen) -> bool {
        conditions.as_array().into_iter().flatten().all(|condition| self.holds(condition, seen))
    }

    pub(crate) fn holds(&self, condition: &Value, seen: &Seen) -> bool {
        if let Some(any) = condition.get("any") {
            return any.as_array().unwrap().iter().any(|one| self.holds(one, seen));
        }
        if let Some(all) = condition.get("all") {
            return self.all_hold(all, seen);
        }
        if let Some(not) = condition.get("not") {
            return !self.holds(not, seen);
        }
        let source = &condition["source"];
        let value = match text(&source["type"]) {
            "event" => at(&seen.data, text(&source["field"])),
            "fact" => {
                let pattern = self.render(text(&source["pattern"]), seen);
                let mut facts = self.facts.iter();
                facts.find(|fact| key_matches(&pattern, &fact.key)).map(|fact| fact.value.clone())
            }
            "context" => variable(seen, text(&source["key"])),
            other => panic!("{other}"),
        };
        let wanted = self.find(&condition["value"], seen);
        let numbers = value.as_ref().and_then(Value::as_f64).zip(wanted.as_ref().and_then(Value::as_f64));
        let within = |list: &Option<Value>, one: &Option<Value>| match (list, one) {
            (Some(Value::Array(list)), Some(one)) => list.contains(one),
            _ => false,
        };
        let contains = match (&value, &wanted) {
            (Some(Value::String(whole)), Some(Value::String(part))) => whole.contains(part),
            _ => within(&value, &wanted),
        };
        let nothing = value.as_ref().is_none_or(Value::is_null);
        match text(&condition["operator"]) {
            "eq" => value == wanted,
            "neq" => value != wanted,
            "gt" => numbers.is_some_and(|(a, b)| a > b),
            "gte" => numbers.is_some_and(|(a, b)| a >= b),
            "lt" => numbers.is_some_and(|(a, b)| a < b),
            "lte" => numbers.is_some_and(|(a, b)| a <= b),
            "in" => within(&wanted, &value),
            "not_in" => matches!(wanted, Some(Value::Array(_))) && !within(&wanted, &value),
            "contains" => contains,
            "not_contains" => !contains,
            "exists" => !nothing,
            "not_exists" => nothing,
            other => panic!("{other}"),
        }
    }

    /// A value, or nothing if it is a reference to nothing.
    pub(crate) fn find(&self, value: &Value, seen: &Seen) -> Option<Value> {
        match value.get("ref") {
            Some(reference) => self.refer(text(reference), seen),
            None => Some(self.resolve(value, seen)),
        }
    }

    pub(crate) fn resolve(&self, value: &Value, seen: &Seen) -> Value {
        let resolved = self.resolve_all(value, seen);
        if resolved.to_string().len() > LARGE {
            self.outgrown.set(true);
        }
        if self.outgrown.get() { json!({}) } else { resolved }
    }

    fn resolve_all(&self, value: &Value, seen: &Seen) -> Value {
        match value {
            Value::Object(members) if members.contains_key("ref") => {
                self.refer(text(&value["ref"]), seen).unwrap_or(Value::Null)
            }
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| (name.clone(), self.resolve_all(value, seen)))
                .collect::<Object>()
                .into(),
            Value::Array(items) => items.iter().map(|item| self.resolve_all(item, seen)).collect(),
            Value::String(text) => self.render(text, seen).into(),
            other => other.clone(),
        }
    }

    pub(crate) fn render(&self, template: &str, seen: &Seen) -> String {
        let mut pieces = template.split("${");
        let mut out = pieces.next().unwrap().to_owned();
        for piece in pieces {
            let (reference, rest) = piece.split_once('}').unwrap();
            match self.refer(reference, seen) {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) => out.push_str(&text),
                Some(other) => out.push_str(&other.to_string()),
            }
            out.push_str(rest);
        }
        out
    }

    pub(crate) fn refer(&self, reference: &str, seen: &Seen) -> Option<Value> {
        let (source, path) = reference.split_once('.').unwrap_or((reference, ""));
        match source {
            "event" | "trigger" => at(&seen.data, path),
            "fact" => self.facts.iter().find(|fact| fact.key == path).map(|fact| fact.value.clone()),
            "var" => variable(seen, path),
            "matched" => {
                let (index, path) = path.split_once('.').unwrap_or((path, ""));
                at(seen.matched.get(index.parse::<usize>().unwrap())?, path)
            }
            other => panic!("{other}"),
        }
    }
}

fn at(value: &Value, path: &str) -> Option<Value> {
    let segments = path.split('.').filter(|segment| !segment.is_empty());
    let found = segments.into_iter().try_fold(value, |value, segment| match value {
        Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
        other => other.get(segment),
    });
    found.cloned()
}

fn variable(seen: &Seen, path: &str) -> Option<Value> {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    at(seen.variables.get(name)?, rest)
}

pub(crate) fn key_matches(pattern: &str, key: &str) -> bool {
    let (pattern, key): (Vec<_>, Vec<_>) = (pattern.split(':').collect(), key.split(':').collect());
    let fits = |(wanted, given): (&&str, &&str)| wanted == given || (*wanted == "*" && !given.is_empty());
    pattern.len() == key.len() && pattern.iter().zip(&key).all(fits)
}
