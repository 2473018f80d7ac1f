//! Reads and checks a whole query config, and tells every fault with its path.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Fold, Include, Query, Shape};
use crate::filter::Parameters;
use crate::limits::{MAX_CONFIG_BYTES, MAX_FAULTS, MAX_INCLUDES, MAX_QUERY_FIELDS, MAX_VALUE_DEPTH};
use crate::validate::deeper_than;
use crate::value::FieldValue;
use crate::{Aggregate, Direction, Filter, Issue, Number, StoreError};

impl Query {
    /// Reads the config of the query `name`. Whether its bucket exists is not looked at here.
    ///
    /// # Errors
    /// [`StoreError::InvalidQuery`] with every fault and its path (`filter.age.$gt`, `aggregate.function`).
    pub fn parse(name: &str, config: &Map<String, Value>) -> Result<Self, StoreError> {
        let whole = Value::Object(config.clone());
        let text = whole.to_string();
        let mut reader = Reader(Vec::new());
        if text.len() > MAX_CONFIG_BYTES {
            reader.fault("config", "limit", format!("At most {MAX_CONFIG_BYTES} bytes are possible"));
        }
        if deeper_than(&whole, MAX_VALUE_DEPTH) {
            reader.fault("config", "limit", format!("Nested deeper than {MAX_VALUE_DEPTH} levels"));
        }
        for member in config.keys() {
            const MEMBERS: [&str; 8] =
                ["bucket", "filter", "sort", "offset", "limit", "fields", "include", "aggregate"];
            if !MEMBERS.contains(&member.as_str()) {
                reader.fault(member, "unknown", format!("Expected only {}", MEMBERS.join(", ")));
            }
        }
        let bucket: Arc<str> = if let Some(bucket) = config.get("bucket").and_then(Value::as_str) {
            bucket.into()
        } else {
            reader.fault("bucket", "type", "Expected the name of a bucket");
            "".into()
        };
        let filter = reader.filter(config.get("filter"));
        let sort = reader.sort(config.get("sort"));
        let offset = reader.whole("offset", config.get("offset")).unwrap_or(0);
        let limit = reader.whole("limit", config.get("limit"));
        let fields = config.get("fields").map(|names| reader.names("fields", names)).unwrap_or_default();
        let shape = Shape {
            sort,
            offset,
            limit,
            includes: reader.includes(config, &fields),
            fields,
            fold: config.get("aggregate").and_then(|aggregate| reader.aggregate(aggregate)),
        };
        if !reader.0.is_empty() {
            return Err(StoreError::InvalidQuery { query: name.into(), issues: reader.0 });
        }
        Ok(Self { name: name.into(), config: text.into(), bucket, filter, shape: Arc::new(shape) })
    }
}

struct Reader(Vec<Issue>);

impl Reader {
    fn fault(&mut self, path: impl Into<String>, code: &'static str, message: impl Into<String>) {
        if self.0.len() < MAX_FAULTS {
            self.0.push(Issue::new(path, code, message));
        }
    }

    /// `null` means no filter, as everywhere in the protocol.
    fn filter(&mut self, filter: Option<&Value>) -> Map<String, Value> {
        match filter {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(filter)) => {
                for issue in Filter::read(filter, Parameters::Open).err().into_iter().flatten() {
                    let path =
                        if issue.field == "filter" { issue.field } else { format!("filter.{}", issue.field) };
                    self.fault(path, issue.code, issue.message);
                }
                filter.clone()
            }
            Some(_) => {
                self.fault("filter", "type", "Expected an object");
                Map::new()
            }
        }
    }

    fn sort(&mut self, sort: Option<&Value>) -> Vec<(String, Direction)> {
        let keys = match sort {
            None => return Vec::new(),
            Some(Value::Object(keys)) if keys.len() <= MAX_QUERY_FIELDS => keys,
            Some(_) => {
                self.fault(
                    "sort",
                    "type",
                    format!("Expected an object of at most {MAX_QUERY_FIELDS} fields"),
                );
                return Vec::new();
            }
        };
        let mut sort = Vec::with_capacity(keys.len());
        for (field, direction) in keys {
            match direction.as_str().and_then(Direction::parse) {
                Some(direction) => sort.push((field.clone(), direction)),
                None => self.fault(format!("sort.{field}"), "enum", "Expected \"asc\" or \"desc\""),
            }
        }
        sort
    }

    fn whole(&mut self, path: &str, value: Option<&Value>) -> Option<usize> {
        let number = FieldValue::of_value(value?).as_number().and_then(Number::as_integer);
        let whole = number.and_then(|number| usize::try_from(number).ok());
        if whole.is_none() {
            self.fault(path, "type", "Expected a whole number of 0 or more");
        }
        whole
    }

    fn names(&mut self, path: &str, names: &Value) -> Vec<String> {
        let Some(names) = names.as_array().filter(|names| names.len() <= MAX_QUERY_FIELDS) else {
            self.fault(path, "type", format!("Expected an array of at most {MAX_QUERY_FIELDS} field names"));
            return Vec::new();
        };
        let mut fields: Vec<String> = Vec::with_capacity(names.len());
        for (i, name) in names.iter().enumerate() {
            match name.as_str() {
                // Named twice, a member is written once: JSON objects have no duplicates.
                Some(name) if fields.iter().any(|field| field == name) => {}
                Some(name) => fields.push(name.to_owned()),
                None => self.fault(format!("{path}[{i}]"), "type", "Expected a field name"),
            }
        }
        fields
    }

    fn includes(&mut self, config: &Map<String, Value>, fields: &[String]) -> Vec<Include> {
        let includes = match config.get("include") {
            None => return Vec::new(),
            Some(Value::Object(includes)) if includes.len() <= MAX_INCLUDES => includes,
            Some(_) => {
                self.fault(
                    "include",
                    "type",
                    format!("Expected an object of at most {MAX_INCLUDES} members"),
                );
                return Vec::new();
            }
        };
        if config.contains_key("aggregate") {
            self.fault("include", "conflict", "An aggregate has no records to add to; leave one of both out");
        }
        let mut found = Vec::with_capacity(includes.len());
        for (name, options) in includes {
            let path = format!("include.{name}");
            if fields.contains(name) {
                self.fault(&path, "conflict", "\"fields\" names this member too; choose another name");
            }
            for option in options.as_object().into_iter().flat_map(Map::keys).filter(|name| *name != "ref") {
                self.fault(format!("{path}.{option}"), "unknown", "Expected only ref");
            }
            match options.get("ref").and_then(Value::as_str) {
                Some(field) => found.push(Include { name: name.clone(), field: field.to_owned() }),
                None => self.fault(
                    format!("{path}.ref"),
                    "type",
                    "Expected the name of a field that is a reference",
                ),
            }
        }
        found
    }

    fn aggregate(&mut self, aggregate: &Value) -> Option<Fold> {
        let Some(aggregate) = aggregate.as_object() else {
            self.fault("aggregate", "type", "Expected an object");
            return None;
        };
        for member in
            aggregate.keys().filter(|name| !["function", "field", "groupBy"].contains(&name.as_str()))
        {
            self.fault(format!("aggregate.{member}"), "unknown", "Expected only function, field, groupBy");
        }
        let name = aggregate.get("function").and_then(Value::as_str);
        let function = name.and_then(Aggregate::named);
        if function.is_none() {
            self.fault("aggregate.function", "enum", "Expected one of: count, sum, avg, min, max");
        }
        let field = match aggregate.get("field") {
            Some(Value::String(field)) => field.clone(),
            None if function == Some(Aggregate::Count) => String::new(),
            _ => {
                self.fault("aggregate.field", "type", "Expected the name of the field to aggregate");
                String::new()
            }
        };
        let group_by = match aggregate.get("groupBy") {
            None => None,
            Some(Value::String(field)) => Some(vec![field.clone()]),
            Some(names @ Value::Array(_)) => Some(self.names("aggregate.groupBy", names)),
            Some(_) => {
                self.fault("aggregate.groupBy", "type", "Expected a field name or an array of them");
                None
            }
        };
        Some(Fold { function: function?, field, group_by })
    }
}
