//! Reads rules: everything that is wrong is found at once, each fault with its place and a stable code, and what is right is
//! compiled on the way.

mod action;
mod condition;
mod fields;
mod lookup;
mod outgoing;
mod store;
mod temporal;
mod timer;
mod trigger;
mod uses;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use self::uses::Uses;
use super::{Rule, RunAs};
use crate::action::{Action, TimerTemplate};
use crate::condition::{Condition, Operand, Template, read_operand};
use crate::limits::{MAX_DEPTH, MAX_ISSUES, MAX_JSON_DEPTH, MAX_NAME_BYTES, MAX_PARTS, MAX_RULE_BYTES};
use crate::{Issue, Limits, Object};

/// What is found while a rule is read.
pub(super) struct Reader<'a> {
    limits: &'a Limits,
    issues: Vec<Issue>,
    failed: bool,
    /// Conditions, actions, matchers and lookups so far.
    parts: usize,
    uses: Uses,
}

/// Members that a rule has beside [`CONTENT`](super::CONTENT).
const OTHERS: [&str; 4] = ["id", "version", "createdAt", "updatedAt"];

/// Reads a rule: the rule, if nothing is wrong with it, and everything that is wrong or doubtful.
pub(super) fn rule(value: &Value, limits: &Limits) -> (Option<Rule>, Vec<Issue>) {
    let mut reader = Reader { limits, issues: Vec::new(), failed: false, parts: 0, uses: Uses::default() };
    let rule = reader.rule(value);
    let failed = reader.failed;
    (rule.filter(|_| !failed), reader.issues)
}

/// Reads a timer as `rules.setTimer` gets it: nothing in it stands for something else.
pub(super) fn timer(value: &Value, limits: &Limits) -> Result<TimerTemplate, Vec<Issue>> {
    let mut reader = Reader { limits, issues: Vec::new(), failed: false, parts: 0, uses: Uses::default() };
    let timer = match value.as_object() {
        Some(timer) => reader.timer("timer", timer, true),
        None => reader.none("timer", "type", "Timer must be an object"),
    };
    let Reader { failed, issues, .. } = reader;
    timer.filter(|_| !failed).ok_or(issues)
}

impl Reader<'_> {
    fn rule(&mut self, value: &Value) -> Option<Rule> {
        let Some(given) = value.as_object() else {
            return self.none("(root)", "not_object", "Rule must be an object");
        };
        if deeper_than(value, MAX_JSON_DEPTH) {
            let message = format!("A rule is nested at most {MAX_JSON_DEPTH} levels deep");
            return self.none("(root)", "too_deep", message);
        }
        let size = value.to_string().len();
        if size > MAX_RULE_BYTES {
            let message = format!("A rule has at most {MAX_RULE_BYTES} bytes, this one has {size}; split it");
            return self.none("(root)", "too_large", message);
        }
        let id = self.required_name(given, "id");
        let name = self.required_name(given, "name");
        if !given.contains_key("trigger") {
            self.error("trigger", "required", "Required field \"trigger\" is missing");
        }
        if given.get("description").is_some_and(|description| !description.is_string()) {
            self.error("description", "type", "Field \"description\" must be a string");
        }
        let priority = self.priority(given.get("priority"));
        let enabled = self.flag("", given, "enabled", true);
        let tags = self.tags(given.get("tags"));
        let group = self.group(given.get("group"));
        let trigger = given.get("trigger").and_then(|trigger| self.trigger(trigger));
        let conditions = self.rule_conditions(given.get("conditions"));
        let actions = self.rule_actions(given.get("actions"));
        let lookups = given.get("lookups").map(|lookups| self.lookups(lookups)).unwrap_or_default();
        let run_as = given.get("runAs").map(|run_as| self.run_as(run_as)).unwrap_or_default();
        self.known("", given, &[&OTHERS[..], &super::CONTENT].concat());
        self.uses_are_defined();
        let number = |name: &str| given.get(name).and_then(Value::as_u64).unwrap_or_default();
        Some(Rule {
            id: id?,
            name: name?,
            priority,
            enabled,
            tags,
            group,
            trigger: trigger?,
            conditions: conditions.into(),
            actions: actions.into(),
            lookups: lookups.into(),
            run_as,
            json: Arc::new(with_defaults(given)),
            version: number("version"),
            created_at: number("createdAt"),
            updated_at: number("updatedAt"),
        })
    }

    fn required_name(&mut self, given: &Object, field: &str) -> Option<Arc<str>> {
        match given.get(field) {
            None => self.none(field, "required", format!("Required field \"{field}\" is missing")),
            Some(Value::String(text)) if text.trim().is_empty() => {
                self.none(field, "empty", format!("Field \"{field}\" cannot be empty"))
            }
            Some(Value::String(text)) => self.short_text(field, text),
            Some(_) => self.none(field, "type", format!("Field \"{field}\" must be a string")),
        }
    }

    fn priority(&mut self, given: Option<&Value>) -> f64 {
        match given.map(Value::as_f64) {
            None => 0.0,
            Some(None) => {
                self.error("priority", "type", "Field \"priority\" must be a number");
                0.0
            }
            Some(Some(priority)) => {
                if priority.fract() != 0.0 {
                    self.warning("priority", "not_integer", "Field \"priority\" should be an integer");
                }
                // Zero has no sign here.
                priority + 0.0
            }
        }
    }

    fn tags(&mut self, given: Option<&Value>) -> Vec<Arc<str>> {
        let Some(given) = given else { return Vec::new() };
        let Some(tags) = given.as_array() else {
            self.error("tags", "type", "Field \"tags\" must be an array");
            return Vec::new();
        };
        let mut read = Vec::new();
        for (index, tag) in tags.iter().enumerate() {
            let at = format!("tags[{index}]");
            match tag.as_str() {
                Some(tag) => read.extend(self.short_text(&at, tag)),
                None => self.error(at, "type", "Tag must be a string"),
            }
        }
        read
    }

    fn group(&mut self, given: Option<&Value>) -> Option<Arc<str>> {
        match given? {
            Value::String(group) if group.trim().is_empty() => {
                self.none("group", "empty", "Field \"group\" cannot be empty")
            }
            Value::String(group) => self.short_text("group", group),
            _ => self.none("group", "type", "Field \"group\" must be a string"),
        }
    }

    fn rule_conditions(&mut self, given: Option<&Value>) -> Vec<Condition> {
        match given {
            None => Vec::new(),
            Some(Value::Array(conditions)) => self.conditions("conditions", conditions, 1),
            Some(_) => {
                self.error("conditions", "type", "Conditions must be an array");
                Vec::new()
            }
        }
    }

    fn rule_actions(&mut self, given: Option<&Value>) -> Vec<Action> {
        let actions = match given {
            None => Vec::new(),
            Some(Value::Array(actions)) => self.actions("actions", actions, 1),
            Some(_) => {
                self.error("actions", "type", "Actions must be an array");
                return Vec::new();
            }
        };
        if given.and_then(Value::as_array).is_none_or(Vec::is_empty) {
            self.warning("actions", "no_actions", "Rule has no actions");
        }
        actions
    }

    fn run_as(&mut self, given: &Value) -> RunAs {
        let Some(given) = given.as_object() else {
            self.error("runAs", "type", "Field \"runAs\" must be an object such as {\"roles\":[\"writer\"]}");
            return RunAs::default();
        };
        let mut run_as = RunAs::default();
        match given.get("userId") {
            None => {}
            Some(Value::String(user)) if !user.trim().is_empty() => {
                run_as.user_id = self.short_text("runAs.userId", user);
            }
            Some(_) => self.error("runAs.userId", "type", "runAs userId must be a string that is not empty"),
        }
        match given.get("roles") {
            None => {}
            Some(Value::Array(roles)) => {
                for (index, role) in roles.iter().enumerate() {
                    let at = format!("runAs.roles[{index}]");
                    match role.as_str().filter(|role| !role.trim().is_empty()) {
                        Some(role) => run_as.roles.extend(self.short_text(&at, role)),
                        None => self.error(at, "type", "runAs role must be a string that is not empty"),
                    }
                }
            }
            Some(_) => self.error("runAs.roles", "type", "runAs roles must be an array"),
        }
        self.known("runAs", given, &["userId", "roles"]);
        run_as
    }

    /// One more condition, action, matcher or lookup, at this level; whether it may be looked at.
    fn part(&mut self, at: &str, depth: usize) -> bool {
        self.parts += 1;
        if self.parts == MAX_PARTS + 1 {
            let message = format!("A rule has at most {MAX_PARTS} conditions, actions and lookups; split it");
            self.error(at, "too_many", message);
        }
        if depth > MAX_DEPTH {
            self.error(
                at,
                "too_deep",
                format!("Conditions and actions are nested at most {MAX_DEPTH} levels deep"),
            );
        }
        self.parts <= MAX_PARTS && depth <= MAX_DEPTH
    }

    /// A value with references in it.
    fn operand(&mut self, at: &str, value: &Value) -> Operand {
        if deeper_than(value, MAX_DEPTH) {
            self.error(at, "too_deep", format!("Values are nested at most {MAX_DEPTH} levels deep"));
            return Operand::Constant(Arc::new(Value::Null));
        }
        let mut faults = Vec::new();
        let operand = read_operand(at, value, &mut faults);
        for (at, message) in faults {
            self.error(at, "invalid_reference", message);
        }
        self.uses.of_value(at, &operand);
        operand
    }

    /// A text with references in it.
    fn template(&mut self, at: &str, text: &str) -> Option<Template> {
        match Template::parse(text) {
            Ok(template) => {
                self.uses.of_text(at, &template);
                Some(template)
            }
            Err(message) => self.none(at, "invalid_reference", message),
        }
    }

    /// A name of bounded length.
    fn short_text(&mut self, at: &str, text: &str) -> Option<Arc<str>> {
        if text.len() > MAX_NAME_BYTES {
            return self.none(at, "too_long", format!("At most {MAX_NAME_BYTES} bytes are possible here"));
        }
        Some(text.into())
    }

    fn error(&mut self, at: impl Into<String>, code: &'static str, message: impl Into<String>) {
        self.failed = true;
        if self.issues.len() < MAX_ISSUES {
            self.issues.push(Issue::error(at, code, message));
        }
    }

    fn none<T>(
        &mut self,
        at: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Option<T> {
        self.error(at, code, message);
        None
    }

    fn warning(&mut self, at: impl Into<String>, code: &'static str, message: impl Into<String>) {
        // Room is left for an error that comes later, so that what is refused says why.
        if self.issues.len() < MAX_ISSUES - 1 {
            self.issues.push(Issue::warning(at, code, message));
        }
    }
}

/// The rule as it is kept and shown: what was left out is there too.
fn with_defaults(given: &Object) -> Object {
    let mut json = given.clone();
    let defaults = [
        ("priority", Value::from(0)),
        ("enabled", Value::from(true)),
        ("tags", Value::Array(Vec::new())),
        ("conditions", Value::Array(Vec::new())),
        ("actions", Value::Array(Vec::new())),
    ];
    for (name, value) in defaults {
        json.entry(name).or_insert(value);
    }
    json
}

/// Whether objects and arrays lie in each other more than so many levels deep.
fn deeper_than(value: &Value, levels: usize) -> bool {
    let inside = |value: &Value| levels == 0 || deeper_than(value, levels - 1);
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(inside),
        Value::Object(members) => levels == 0 || members.values().any(inside),
        _ => false,
    }
}

/// All rules of a list, each as [`rule`] reads it, and ids that are there twice.
pub(super) fn list(value: &Value, limits: &Limits) -> Vec<Issue> {
    let Some(rules) = value.as_array() else {
        return vec![Issue::error("(root)", "not_array", "Input must be an array of rules")];
    };
    let (mut issues, mut ids) = (Vec::new(), BTreeSet::new());
    for (index, given) in rules.iter().enumerate() {
        let place = |path: &str| match path {
            "(root)" => format!("[{index}]"),
            path => format!("[{index}].{path}"),
        };
        for issue in rule(given, limits).1 {
            issues.push(Issue { path: place(&issue.path), ..issue });
        }
        if let Some(id) = given.get("id").and_then(Value::as_str)
            && !ids.insert(id)
        {
            issues.push(Issue::error(place("id"), "duplicate_id", format!("Duplicate rule ID: {id}")));
        }
    }
    issues
}
