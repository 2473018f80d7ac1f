//! All that is wrong with permission rules, each with its place.

use std::collections::BTreeMap;

use dunlin_protocol::Kind;
use serde_json::{Map, Value};

use super::roles::Hierarchy;
use crate::limits::{MAX_PERMISSION_RULES, MAX_RULE_NAMES};

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyFault {
    /// The place below the value, as `.rules[2].allow`.
    pub(crate) at: String,
    /// What should stand there.
    pub(crate) expected: String,
}

type Faults = Vec<PolicyFault>;

fn fault(faults: &mut Faults, at: impl Into<String>, expected: impl Into<String>) {
    faults.push(PolicyFault { at: at.into(), expected: expected.into() });
}

/// What is wrong with the value of `auth.permissions`.
pub(crate) fn of_rules(value: &Value) -> Faults {
    let mut faults = Faults::new();
    let Value::Object(rules) = value else {
        fault(&mut faults, "", "an object with default, check, rules and rows");
        return faults;
    };
    known(rules, "", &["default", "check", "rules", "rows"], &mut faults);
    if rules.get("default").is_some_and(|value| !matches!(value.as_str(), Some("allow" | "deny"))) {
        fault(&mut faults, ".default", "\"allow\" or \"deny\"");
    }
    each(rules, "check", &mut faults, exception);
    each(rules, "rules", &mut faults, rule);
    each(rules, "rows", &mut faults, rows);
    faults
}

/// What is wrong with the value of `auth.roles`.
pub(crate) fn of_roles(value: &Value) -> Faults {
    let mut faults = Faults::new();
    let Value::Object(roles) = value else {
        fault(&mut faults, "", "an object from role to the roles that it includes");
        return faults;
    };
    let mut read = BTreeMap::new();
    for (role, included) in roles {
        match names(included) {
            Some(included) if is_role(role) => {
                read.insert(role.clone(), included);
            }
            _ => fault(&mut faults, format!(".{role}"), "a role with a list of roles that it includes"),
        }
    }
    if read.len() > MAX_PERMISSION_RULES {
        fault(&mut faults, "", format!("at most {MAX_PERMISSION_RULES} roles"));
    }
    for role in ["reader", "writer", "admin"].iter().filter(|role| read.contains_key(**role)) {
        fault(&mut faults, format!(".{role}"), "no built-in role: what these reach is fixed");
    }
    if let Some(role) = Hierarchy::new(read).circle() {
        fault(
            &mut faults,
            format!(".{role}"),
            "roles that do not include themselves, through others neither",
        );
    }
    faults
}

fn each(
    rules: &Map<String, Value>,
    list: &str,
    faults: &mut Faults,
    check: fn(&Map<String, Value>, &str, &mut Faults),
) {
    match rules.get(list) {
        None => {}
        Some(Value::Array(items)) if items.len() <= MAX_PERMISSION_RULES => {
            for (i, item) in items.iter().enumerate() {
                let at = format!(".{list}[{i}]");
                match item {
                    Value::Object(item) => check(item, &at, faults),
                    _ => fault(faults, at, "an object"),
                }
            }
        }
        Some(_) => {
            fault(faults, format!(".{list}"), format!("a list of at most {MAX_PERMISSION_RULES} rules"));
        }
    }
}

fn rule(rule: &Map<String, Value>, at: &str, faults: &mut Faults) {
    known(rule, at, &["role", "allow", "buckets", "topics"], faults);
    role(rule, at, faults);
    if is_everybody(rule) {
        let expected = "a role, not \"*\", which only row rules know; name each role, or let roles include one that has this rule";
        fault(faults, format!("{at}.role"), expected);
    }
    let allowed = match rule.get("allow") {
        Some(Value::String(one)) => Some(vec![one.clone()]),
        Some(list) => names(list).filter(|names| !names.is_empty()),
        None => None,
    };
    match allowed {
        None => fault(
            faults,
            format!("{at}.allow"),
            "an operation, or a list of them: \"*\", \"store.*\", \"store.get\"",
        ),
        Some(allowed) => {
            for name in allowed.iter().filter(|name| !means_something(name)) {
                fault(faults, format!("{at}.allow"), format!("operations that there are, not \"{name}\""));
            }
        }
    }
    for list in ["buckets", "topics"] {
        if rule.get(list).is_some_and(|value| names(value).is_none()) {
            fault(faults, format!("{at}.{list}"), format!("a list of at most {MAX_RULE_NAMES} names"));
        }
    }
}

fn exception(exception: &Map<String, Value>, at: &str, faults: &mut Faults) {
    known(exception, at, &["role", "userId", "operation", "resource", "result"], faults);
    for name in ["role", "userId", "operation", "resource"] {
        if exception.get(name).is_some_and(|value| value.as_str().is_none_or(str::is_empty)) {
            fault(faults, format!("{at}.{name}"), "text");
        }
    }
    if is_everybody(exception) {
        fault(faults, format!("{at}.role"), "a role, not \"*\"; for everybody leave it out");
    }
    if let Some(name) = exception.get("operation").and_then(Value::as_str)
        && !is_operation(name)
    {
        fault(faults, format!("{at}.operation"), format!("an operation that there is, not \"{name}\""));
    }
    if !matches!(exception.get("result"), Some(Value::Bool(_) | Value::Null)) {
        fault(faults, format!("{at}.result"), "true, false or null");
    }
}

fn rows(rule: &Map<String, Value>, at: &str, faults: &mut Faults) {
    role(rule, at, faults);
    let mut rest = rule.clone();
    rest.shift_remove("role");
    if let Err(error) = dunlin_store::RuleTemplate::parse(&rest) {
        let details = error.details();
        let places = details.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for place in places {
            let text = |name: &str| place[name].as_str().unwrap_or_default();
            fault(faults, format!("{at}.{}", text("field")), text("message"));
        }
        if places.is_empty() {
            fault(faults, at, error.to_string());
        }
    }
}

fn role(rule: &Map<String, Value>, at: &str, faults: &mut Faults) {
    if !rule.get("role").and_then(Value::as_str).is_some_and(is_role) {
        fault(faults, format!("{at}.role"), "the name of a role");
    }
}

/// Whether it names everybody as row rules do. Elsewhere that would be a role that nobody has: a denial for nobody.
fn is_everybody(rule: &Map<String, Value>) -> bool {
    rule.get("role").and_then(Value::as_str) == Some("*")
}

fn is_role(name: &str) -> bool {
    (1..=MAX_RULE_NAMES).contains(&name.len())
}

fn known(object: &Map<String, Value>, at: &str, names: &[&str], faults: &mut Faults) {
    for name in object.keys().filter(|name| !names.contains(&name.as_str())) {
        fault(faults, format!("{at}.{name}"), format!("only {}", names.join(", ")));
    }
}

fn names(value: &Value) -> Option<Vec<String>> {
    let list = value.as_array().filter(|list| list.len() <= MAX_RULE_NAMES)?;
    list.iter().map(|name| name.as_str().filter(|name| !name.is_empty()).map(str::to_owned)).collect()
}

/// Whether a pattern of `allow` can match anything.
fn means_something(pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(prefix) => {
            prefix.ends_with('.')
                && (is_later(prefix) || Kind::ALL.iter().any(|kind| kind.as_str().starts_with(prefix)))
        }
        None => is_operation(pattern),
    }
}

/// Whether a name is that of an operation, or may be one of a family that this version does not have.
fn is_operation(name: &str) -> bool {
    Kind::named(name).is_some() || is_later(name)
}

/// Families of operations that configurations of noex-server name and this version does not have.
fn is_later(name: &str) -> bool {
    ["identity.", "procedures.", "audit."].iter().any(|family| name.starts_with(family))
}
