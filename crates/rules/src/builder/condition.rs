//! Conditions.

use serde_json::{Value, json};

use super::with;

/// What must hold.
#[derive(Debug, Clone)]
pub struct When(Value);

impl From<When> for Value {
    fn from(when: When) -> Self {
        when.0
    }
}

/// Where a value comes from that is compared.
#[derive(Debug, Clone)]
pub struct Source(Value);

/// A path in the trigger's data.
pub fn event(field: &str) -> Source {
    Source(json!({"type": "event", "field": field}))
}

/// The first fact whose key matches.
pub fn fact(pattern: &str) -> Source {
    Source(json!({"type": "fact", "pattern": pattern}))
}

/// A variable, or a path in it.
pub fn variable(key: &str) -> Source {
    Source(json!({"type": "context", "key": key}))
}

/// The answer to a lookup.
pub fn lookup(name: &str) -> Source {
    Source(json!({"type": "lookup", "name": name}))
}

/// At least one of them holds.
///
/// ```
/// use dunlin_rules::builder::{any, event, not};
/// use serde_json::Value;
///
/// let condition = any([event("total").gt(100), not(event("state").is_in(["open", "held"]))]);
/// assert_eq!(Value::from(condition)["any"][1]["not"]["operator"], "in");
/// ```
pub fn any(conditions: impl IntoIterator<Item = When>) -> When {
    When(json!({"any": list(conditions)}))
}

/// Each of them holds.
pub fn all(conditions: impl IntoIterator<Item = When>) -> When {
    When(json!({"all": list(conditions)}))
}

/// It does not hold.
#[expect(clippy::needless_pass_by_value, reason = "a condition is used up where it is put")]
pub fn not(condition: When) -> When {
    When(json!({"not": condition.0}))
}

pub(super) fn list(conditions: impl IntoIterator<Item = When>) -> Vec<Value> {
    conditions.into_iter().map(|condition| condition.0).collect()
}

impl Source {
    /// A path in the answer to a lookup.
    #[must_use]
    pub fn field(self, field: &str) -> Self {
        Self(with(self.0, "field", field))
    }

    /// It is this value; `1` is `1.0`, and nothing else is converted.
    pub fn eq(self, value: impl Into<Value>) -> When {
        self.compared("eq", value)
    }

    /// It is not this value.
    pub fn neq(self, value: impl Into<Value>) -> When {
        self.compared("neq", value)
    }

    /// It is a number greater than this one.
    pub fn gt(self, value: impl Into<Value>) -> When {
        self.compared("gt", value)
    }

    /// It is this number or a greater one.
    pub fn gte(self, value: impl Into<Value>) -> When {
        self.compared("gte", value)
    }

    /// It is a number less than this one.
    pub fn lt(self, value: impl Into<Value>) -> When {
        self.compared("lt", value)
    }

    /// It is this number or a lesser one.
    pub fn lte(self, value: impl Into<Value>) -> When {
        self.compared("lte", value)
    }

    /// It is one of these.
    pub fn is_in<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> When {
        self.compared("in", values.into_iter().map(Into::into).collect::<Vec<Value>>())
    }

    /// It is none of these.
    pub fn not_in<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> When {
        self.compared("not_in", values.into_iter().map(Into::into).collect::<Vec<Value>>())
    }

    /// It is a text with this text in it, or an array with this value in it.
    pub fn contains(self, value: impl Into<Value>) -> When {
        self.compared("contains", value)
    }

    /// It is not.
    pub fn not_contains(self, value: impl Into<Value>) -> When {
        self.compared("not_contains", value)
    }

    /// It is a text in which this regular expression is found.
    pub fn matches(self, pattern: impl Into<Value>) -> When {
        self.compared("matches", pattern)
    }

    /// It is there, and not `null`.
    pub fn exists(self) -> When {
        When(json!({"source": self.0, "operator": "exists"}))
    }

    /// It is not there, or `null`.
    pub fn not_exists(self) -> When {
        When(json!({"source": self.0, "operator": "not_exists"}))
    }

    fn compared(self, operator: &str, value: impl Into<Value>) -> When {
        When(json!({"source": self.0, "operator": operator, "value": value.into()}))
    }
}
