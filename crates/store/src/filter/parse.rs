//! Reads a filter: every part is checked, every fault told with its path, nothing skipped.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::parameters::{Parameters, Placeholder, Used, canonical, parameter};
use super::{Filter, Node, Relation, Test};
use crate::limits::{MAX_FAULTS, MAX_FILTER_DEPTH, MAX_FILTER_TESTS};
use crate::value::Constant;
use crate::{Issue, StoreError};

impl Filter {
    /// Reads a filter: `{field: value | {$op: operand, …}, $or: […], $and: […], $not: {…}}`.
    ///
    /// # Errors
    /// [`StoreError::InvalidFilter`] with every fault and its path: an unknown operator or `$name`, an operand of the
    /// wrong type, too much depth or size.
    pub fn parse(filter: &Map<String, Value>) -> Result<Self, StoreError> {
        Self::read(filter, Parameters::Literal)
            .map(|(filter, _)| filter)
            .map_err(|issues| StoreError::InvalidFilter { issues })
    }

    /// Reads a filter that may have parameters.
    pub(crate) fn read(
        filter: &Map<String, Value>,
        parameters: Parameters<'_>,
    ) -> Result<(Self, Used), Vec<Issue>> {
        let mut reader =
            Reader { parameters, used: Used::new(), filter: Self::default(), size: 0, issues: Vec::new() };
        let root = reader.group(filter, "", 1);
        if reader.size > MAX_FILTER_TESTS {
            reader.fault("", "limit", format!("At most {MAX_FILTER_TESTS} tests and values are possible"));
        }
        if !reader.issues.is_empty() {
            return Err(reader.issues);
        }
        reader.filter.root = root;
        Ok((reader.filter, reader.used))
    }
}

struct Reader<'a> {
    parameters: Parameters<'a>,
    used: Used,
    filter: Filter,
    size: usize,
    issues: Vec<Issue>,
}

/// An operand after parameters.
enum Operand<'v> {
    /// A value that stands in the filter.
    Written(&'v Value),
    /// A value that a parameter gave: never read as anything but a plain value.
    Bound(&'v Value),
    /// Not known (yet): an open parameter, or a missing one that has been reported.
    Open,
}

impl<'a> Reader<'a> {
    fn fault(&mut self, path: &str, code: &'static str, message: impl Into<String>) {
        if self.issues.len() < MAX_FAULTS {
            let path = if path.is_empty() { "filter" } else { path };
            self.issues.push(Issue::new(path, code, message));
        }
    }

    fn group(&mut self, filter: &Map<String, Value>, path: &str, depth: usize) -> Node {
        if depth > MAX_FILTER_DEPTH {
            self.fault(path, "limit", format!("Nested deeper than {MAX_FILTER_DEPTH} levels"));
            return Node::default();
        }
        let mut nodes = Vec::with_capacity(filter.len());
        for (name, condition) in filter {
            if self.size > MAX_FILTER_TESTS {
                break;
            }
            let path = join(path, name);
            match name.as_str() {
                "$or" => nodes.push(Node::Any(self.alternatives(condition, &path, depth))),
                "$and" => nodes.extend(self.alternatives(condition, &path, depth)),
                "$not" => {
                    self.size += 1;
                    match condition.as_object() {
                        Some(filter) => nodes.push(Node::Not(Box::new(self.group(filter, &path, depth + 1)))),
                        None => self.fault(&path, "type", "Expected a filter object"),
                    }
                }
                _ if name.starts_with('$') => {
                    self.fault(&path, "unknown", "Expected a field name, $or, $and or $not");
                }
                _ => self.condition(name, condition, &path, depth, &mut nodes),
            }
        }
        Node::All(nodes)
    }

    fn alternatives(&mut self, filters: &Value, path: &str, depth: usize) -> Vec<Node> {
        let Some(filters) = filters.as_array() else {
            self.fault(path, "type", "Expected an array of filters");
            return Vec::new();
        };
        let mut nodes = Vec::with_capacity(filters.len().min(MAX_FILTER_TESTS));
        for (i, filter) in filters.iter().enumerate() {
            self.size += 1;
            if self.size > MAX_FILTER_TESTS {
                break;
            }
            let path = format!("{path}[{i}]");
            match filter.as_object() {
                Some(filter) => nodes.push(self.group(filter, &path, depth + 1)),
                None => self.fault(&path, "type", "Expected a filter object"),
            }
        }
        nodes
    }

    fn condition(&mut self, field: &str, condition: &Value, path: &str, depth: usize, nodes: &mut Vec<Node>) {
        let name = self.filter.names.len();
        self.filter.names.push(field.into());
        if let Some(operators) = operators_of(condition) {
            self.operators(name, operators, path, depth, nodes);
        } else {
            self.size += 1;
            let test = Test::Equals(self.scalar(condition, path));
            nodes.push(Node::Test { name, test });
        }
    }

    /// A set of operators on the member of number `name`.
    fn operators(
        &mut self,
        name: usize,
        operators: &Map<String, Value>,
        path: &str,
        depth: usize,
        nodes: &mut Vec<Node>,
    ) {
        for (operator, operand) in operators {
            self.size += 1;
            let path = join(path, operator);
            if operator == "$not" {
                nodes.extend(self.negated(name, operand, &path, depth + 1));
            } else if let Some(test) = self.operator(operator, operand, &path) {
                nodes.push(Node::Test { name, test });
            }
        }
    }

    /// `$not` among the operators of a member.
    fn negated(&mut self, name: usize, operand: &Value, path: &str, depth: usize) -> Option<Node> {
        if depth > MAX_FILTER_DEPTH {
            self.fault(path, "limit", format!("Nested deeper than {MAX_FILTER_DEPTH} levels"));
            return None;
        }
        let Some(operators) = operators_of(operand) else {
            self.fault(path, "type", "Expected an object of operators, such as {\"$gt\":5}");
            return None;
        };
        let mut nodes = Vec::with_capacity(operators.len());
        self.operators(name, operators, path, depth, &mut nodes);
        Some(Node::Not(Box::new(Node::All(nodes))))
    }

    /// One operator; `None` if it is wrong, or stands on a parameter that is not known yet.
    fn operator(&mut self, operator: &str, operand: &Value, path: &str) -> Option<Test> {
        Some(match operator {
            "$eq" => Test::Equals(self.scalar(operand, path)),
            "$neq" => Test::Differs(self.scalar(operand, path)),
            "$gt" => Test::Related(Relation::Greater, self.ordered(operand, path)?),
            "$gte" => Test::Related(Relation::GreaterOrEqual, self.ordered(operand, path)?),
            "$lt" => Test::Related(Relation::Less, self.ordered(operand, path)?),
            "$lte" => Test::Related(Relation::LessOrEqual, self.ordered(operand, path)?),
            "$in" => Test::In(self.list(operand, path)?),
            "$nin" => Test::NotIn(self.list(operand, path)?),
            "$has" => Test::Has(self.element(operand, path)?),
            "$contains" => Test::Contains(self.text(operand, path)?.to_lowercase().into()),
            "$startsWith" => Test::StartsWith(self.text(operand, path)?.into()),
            "$endsWith" => Test::EndsWith(self.text(operand, path)?.into()),
            "$exists" => Test::Exists(self.flag(operand, path)?),
            "$between" => return self.between(operand, path),
            _ => {
                let message = "Expected one of: $eq, $neq, $gt, $gte, $lt, $lte, $in, $nin, $has, $contains, \
                               $startsWith, $endsWith, $exists, $between, $not";
                self.fault(path, "unknown", message);
                return None;
            }
        })
    }

    fn scalar(&mut self, operand: &Value, path: &str) -> Option<Constant> {
        match self.resolve(operand, path, false) {
            Operand::Written(value) | Operand::Bound(value) => Constant::of_value(value),
            Operand::Open => None,
        }
    }

    /// The operand of `$has`.
    fn element(&mut self, operand: &Value, path: &str) -> Option<Constant> {
        let (Operand::Written(value) | Operand::Bound(value)) = self.resolve(operand, path, false) else {
            return None;
        };
        let constant = Constant::of_value(value);
        if constant.is_none() {
            self.fault(path, "type", "Expected a string, number, boolean or null");
        }
        constant
    }

    /// An operand of an order relation: a number or a string.
    fn ordered(&mut self, operand: &Value, path: &str) -> Option<Constant> {
        let (Operand::Written(value) | Operand::Bound(value)) = self.resolve(operand, path, false) else {
            return None;
        };
        let constant =
            Constant::of_value(value).filter(|value| matches!(value, Constant::Number(_) | Constant::Str(_)));
        if constant.is_none() {
            self.fault(path, "type", "Expected a number or a string");
        }
        constant
    }

    fn text(&mut self, operand: &Value, path: &str) -> Option<String> {
        let (Operand::Written(value) | Operand::Bound(value)) = self.resolve(operand, path, false) else {
            return None;
        };
        let text = value.as_str().map(str::to_owned);
        if text.is_none() {
            self.fault(path, "type", "Expected a string");
        }
        text
    }

    fn flag(&mut self, operand: &Value, path: &str) -> Option<bool> {
        let (Operand::Written(value) | Operand::Bound(value)) = self.resolve(operand, path, false) else {
            return None;
        };
        let flag = value.as_bool();
        if flag.is_none() {
            self.fault(path, "type", "Expected true or false");
        }
        flag
    }

    /// The values of `$in` and `$nin`. Objects and arrays among them equal nothing and are left out.
    fn list(&mut self, operand: &Value, path: &str) -> Option<Vec<Constant>> {
        let mut list: Vec<Constant> = match self.elements(operand, path)? {
            (elements, true) => elements.iter().filter_map(Constant::of_value).collect(),
            (elements, false) => {
                let scalar = |(i, element): (usize, &Value)| self.scalar(element, &format!("{path}[{i}]"));
                elements.iter().enumerate().filter_map(scalar).collect()
            }
        };
        list.sort_unstable();
        list.dedup();
        Some(list)
    }

    fn between(&mut self, operand: &Value, path: &str) -> Option<Test> {
        let (elements, bound) = self.elements(operand, path)?;
        let [low, high] = elements.as_ref() else {
            self.fault(path, "type", "Expected an array of two values, the lower and the upper bound");
            return None;
        };
        let (low, high) = if bound {
            (Constant::of_value(low), Constant::of_value(high))
        } else {
            let low = self.ordered(low, &format!("{path}[0]"));
            (low, self.ordered(high, &format!("{path}[1]")))
        };
        match (low?, high?) {
            (low @ Constant::Number(_), high @ Constant::Number(_))
            | (low @ Constant::Str(_), high @ Constant::Str(_)) => Some(Test::Between(low, high)),
            _ => {
                self.fault(path, "type", "Expected two numbers or two strings");
                None
            }
        }
    }

    /// The elements of an array operand, and whether a parameter gave them.
    fn elements<'v>(&mut self, operand: &'v Value, path: &str) -> Option<(Cow<'v, [Value]>, bool)>
    where
        'a: 'v,
    {
        let (value, bound) = match self.resolve(operand, path, true) {
            Operand::Written(value) => (value, false),
            Operand::Bound(value) => (value, true),
            Operand::Open => return None,
        };
        let Some(elements) = value.as_array() else {
            self.fault(path, "type", "Expected an array");
            return None;
        };
        self.size += elements.len();
        if self.size > MAX_FILTER_TESTS {
            return None;
        }
        Some((Cow::Borrowed(elements), bound))
    }

    /// Replaces a parameter by its value. Only plain values come out, so a parameter can never become an operator;
    /// `list` says whether an array of them may.
    fn resolve<'v>(&mut self, operand: &'v Value, path: &str, list: bool) -> Operand<'v>
    where
        'a: 'v,
    {
        if let Parameters::Session(session) = self.parameters {
            return self.placeholder(session, operand, path, list);
        }
        let name = match (&self.parameters, operand) {
            (Parameters::Open | Parameters::Given(_), Value::String(text)) => parameter(text),
            _ => None,
        };
        let Some(name) = name else { return Operand::Written(operand) };
        let given = match self.parameters {
            Parameters::Given(given) => given,
            Parameters::Open | Parameters::Literal | Parameters::Session(_) => {
                self.used.insert(name.to_owned(), String::new());
                return Operand::Open;
            }
        };
        let Some(value) = given.get(name) else {
            let message = format!("Missing parameter \"{name}\", which the filter needs at {path}");
            self.fault(&format!("params.{name}"), "required", message);
            return Operand::Open;
        };
        let plain = |value: &Value| !value.is_object() && !value.is_array();
        let fits = match value {
            Value::Array(elements) => list && elements.iter().all(plain),
            other => plain(other),
        };
        if !fits {
            let expected =
                if list { "an array of plain values" } else { "a string, number, boolean or null" };
            self.fault(&format!("params.{name}"), "type", format!("Expected {expected}"));
            return Operand::Open;
        }
        self.used.insert(name.to_owned(), canonical(value));
        Operand::Bound(value)
    }

    /// The same for a value of a session. What equals nothing is a fault here: a rule is never meant so.
    fn placeholder<'v>(
        &mut self,
        session: Option<&'a Value>,
        operand: &'v Value,
        path: &str,
        list: bool,
    ) -> Operand<'v>
    where
        'a: 'v,
    {
        let expected = if list { "an array of plain values" } else { "a string, number, boolean or null" };
        let Value::String(text) = operand else {
            if operand.is_object() || operand.is_array() && !list {
                self.fault(path, "type", format!("Expected {expected}"));
                return Operand::Open;
            }
            return Operand::Written(operand);
        };
        let found = match Placeholder::of(text) {
            Ok(None) => return Operand::Written(operand),
            Ok(Some(found)) if found.fits(list) => found,
            Ok(Some(_)) => {
                self.fault(path, "type", format!("Expected {expected}"));
                return Operand::Open;
            }
            Err(expected) => {
                self.fault(path, "placeholder", expected);
                return Operand::Open;
            }
        };
        let Some(session) = session else { return Operand::Open };
        // `null` is as good as nothing: it would let through what has no owner.
        let plain = |value: &Value| !value.is_object() && !value.is_array() && !value.is_null();
        let fits = |value: &&Value| match value {
            Value::Array(elements) => list && elements.iter().all(plain),
            other => !list && plain(other),
        };
        let Some(value) = found.value(session).filter(fits) else {
            self.fault(path, "required", format!("The session has not got {text}"));
            return Operand::Open;
        };
        self.used.insert(text.split_whitespace().collect(), canonical(value));
        Operand::Bound(value)
    }
}

/// The operators that a condition consists of; `None` if it is a plain value.
fn operators_of(condition: &Value) -> Option<&Map<String, Value>> {
    let set = condition.as_object()?;
    (!set.is_empty() && set.keys().all(|name| name.starts_with('$'))).then_some(set)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
