//! Reads the rules of a value: a field's, and those of what is nested in it.

use dunlin_pattern::Pattern;
use serde_json::{Map, Value};

use super::fault::Faults;
use super::options::NO_VALIDATE;
use super::{FieldType, Inner, Members, Rules};
use crate::Number;
use crate::format::Format;
use crate::limits::{MAX_ENUM_VALUES, MAX_FIELD_NAME_BYTES, MAX_PATTERNS, MAX_SCHEMA_DEPTH};
use crate::value::{Constant, FieldValue};

/// What only a field of a record can have.
const FIELD_OPTIONS: [&str; 5] = ["default", "generated", "unique", "ref", "onDelete"];

/// Where faults go, and what is counted over a whole definition.
pub(super) struct Reading<'a> {
    pub(super) faults: &'a mut Faults,
    pub(super) patterns: usize,
}

/// Reads the options of one definition: of a field or of something nested.
pub(super) struct RulesReader<'r, 'f> {
    pub(super) path: &'r str,
    pub(super) options: &'r Map<String, Value>,
    pub(super) reading: &'r mut Reading<'f>,
}

impl RulesReader<'_, '_> {
    pub(super) fn fault(&mut self, option: &str, code: &'static str, message: impl Into<String>) {
        self.reading.faults.add(format!("{}.{option}", self.path), code, message);
    }

    /// An option that is there and not `null`.
    pub(super) fn given(&self, option: &str) -> Option<&'_ Value> {
        self.options.get(option).filter(|value| !value.is_null())
    }

    /// The rules; `None` if the type is not known, as then nothing else can be said. `depth` is how many levels of
    /// `properties` and `items` lead here.
    pub(super) fn rules(&mut self, depth: usize) -> Option<Rules> {
        if self.given("validate").is_some() {
            self.fault("validate", "unsupported", NO_VALIDATE);
        }
        let kind = self.kind()?;
        let rules = Rules {
            kind,
            required: self.flag("required"),
            options: self.enumerated(kind),
            min: self.number("min", kind),
            max: self.number("max", kind),
            min_length: self.length("minLength", kind),
            max_length: self.length("maxLength", kind),
            pattern: self.pattern(kind),
            format: self.format(kind),
            inner: self.inner(kind, depth),
        };
        if rules.min.zip(rules.max).is_some_and(|(min, max)| min > max) {
            self.fault("min", "conflict", "\"min\" is greater than \"max\": no value would fit");
        }
        if rules.min_length.zip(rules.max_length).is_some_and(|(min, max)| min > max) {
            let message = "\"minLength\" is greater than \"maxLength\": no value would fit";
            self.fault("minLength", "conflict", message);
        }
        Some(rules)
    }

    fn kind(&mut self) -> Option<FieldType> {
        let kinds = [
            FieldType::String,
            FieldType::Number,
            FieldType::Boolean,
            FieldType::Object,
            FieldType::Array,
            FieldType::Date,
            FieldType::Any,
        ];
        let name = self.options.get("type").and_then(Value::as_str);
        let kind = kinds.into_iter().find(|kind| Some(kind.as_str()) == name);
        if kind.is_none() {
            self.fault("type", "type", "Expected one of: string, number, boolean, object, array, date, any");
        }
        kind
    }

    pub(super) fn flag(&mut self, option: &str) -> bool {
        match self.given(option) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.fault(option, "type", "Expected a boolean");
                false
            }
        }
    }

    fn enumerated(&mut self, kind: FieldType) -> Option<Vec<Constant>> {
        let values = match self.options.get("enum").filter(|value| !value.is_null())? {
            Value::Array(values) if !values.is_empty() && values.len() <= MAX_ENUM_VALUES => values,
            _ => {
                self.fault("enum", "type", format!("Expected an array of 1 to {MAX_ENUM_VALUES} values"));
                return None;
            }
        };
        let mut constants = Vec::with_capacity(values.len());
        for (i, value) in values.iter().enumerate() {
            let seen = FieldValue::of_value(value);
            match Constant::of_value(value) {
                Some(constant) if seen.is_nullish() || kind.accepts(&seen) => constants.push(constant),
                _ => self.fault(
                    &format!("enum[{i}]"),
                    "type",
                    format!("No value of type {} can equal this one", kind.as_str()),
                ),
            }
        }
        Some(constants)
    }

    fn number(&mut self, option: &str, kind: FieldType) -> Option<Number> {
        let number = FieldValue::of_value(self.given(option)?).as_number();
        if !matches!(kind, FieldType::Number | FieldType::Date) {
            self.fault(option, "conflict", "Applies to types number and date only");
        }
        if number.is_none() {
            self.fault(option, "type", "Expected a number");
        }
        number
    }

    fn length(&mut self, option: &str, kind: FieldType) -> Option<u64> {
        let length = FieldValue::of_value(self.given(option)?)
            .as_number()
            .and_then(Number::as_integer)
            .and_then(|n| u64::try_from(n).ok());
        self.for_strings(option, kind);
        if length.is_none() {
            self.fault(option, "type", "Expected a whole number of 0 or more (UTF-16 code units)");
        }
        length
    }

    fn for_strings(&mut self, option: &str, kind: FieldType) {
        if !matches!(kind, FieldType::String | FieldType::Date) {
            self.fault(option, "conflict", "Applies to types string and date only");
        }
    }

    fn pattern(&mut self, kind: FieldType) -> Option<Pattern> {
        let compiled = self.given("pattern")?.as_str().map(Pattern::compile);
        self.for_strings("pattern", kind);
        self.reading.patterns += 1;
        if self.reading.patterns > MAX_PATTERNS {
            let message = format!("At most {MAX_PATTERNS} patterns are possible in one bucket");
            self.fault("pattern", "limit", message);
            return None;
        }
        match compiled {
            Some(Ok(pattern)) => return Some(pattern),
            Some(Err(message)) => self.fault("pattern", "pattern", message),
            None => self.fault(
                "pattern",
                "type",
                "Expected the source of a regular expression, such as \"^[a-z]+$\"",
            ),
        }
        None
    }

    fn format(&mut self, kind: FieldType) -> Option<Format> {
        let name = self.given("format")?.as_str();
        let format = Format::ALL.into_iter().find(|format| Some(format.as_str()) == name);
        self.for_strings("format", kind);
        if format.is_none() {
            self.fault("format", "enum", "Expected one of: email, url, iso-date");
        }
        format
    }

    fn inner(&mut self, kind: FieldType, depth: usize) -> Inner {
        if self.given("items").is_some() && kind != FieldType::Array {
            self.fault("items", "conflict", "Applies to type array only");
        }
        if self.given("properties").is_some() && kind != FieldType::Object {
            self.fault("properties", "conflict", "Applies to type object only");
        }
        match kind {
            FieldType::Object => self.members(depth).map_or(Inner::Free, Inner::Members),
            FieldType::Array => {
                self.elements(depth).map_or(Inner::Free, |rules| Inner::Elements(rules.into()))
            }
            _ => Inner::Free,
        }
    }

    fn members(&mut self, depth: usize) -> Option<Members> {
        let options = self.options;
        let Value::Object(members) = options.get("properties").filter(|value| !value.is_null())? else {
            self.fault("properties", "type", "Expected an object of definitions, one for each member");
            return None;
        };
        if self.is_too_deep("properties", depth) {
            return None;
        }
        let mut found = Vec::with_capacity(members.len());
        for (name, definition) in members {
            let option = format!("properties.{name}");
            if name.is_empty() || name.len() > MAX_FIELD_NAME_BYTES {
                self.fault(&option, "limit", format!("A name has 1 to {MAX_FIELD_NAME_BYTES} bytes"));
                continue;
            }
            if let Some(rules) = self.nested(&option, definition, depth + 1) {
                found.push((name.as_str().into(), rules));
            }
        }
        Some(found.into())
    }

    /// The rules of elements. They may be absent or `null` whatever `required` says.
    fn elements(&mut self, depth: usize) -> Option<Rules> {
        let definition = self.options.get("items").filter(|value| !value.is_null())?;
        if self.is_too_deep("items", depth) {
            return None;
        }
        let rules = self.nested("items", definition, depth + 1)?;
        Some(Rules { required: false, ..rules })
    }

    fn is_too_deep(&mut self, option: &str, depth: usize) -> bool {
        let too_deep = depth >= MAX_SCHEMA_DEPTH;
        if too_deep {
            let message = format!("Deeper than {MAX_SCHEMA_DEPTH} levels of \"properties\" and \"items\"");
            self.fault(option, "limit", message);
        }
        too_deep
    }

    fn nested(&mut self, option: &str, definition: &Value, depth: usize) -> Option<Rules> {
        let Some(options) = definition.as_object() else {
            self.fault(option, "type", "Expected an object such as {\"type\":\"string\"}");
            return None;
        };
        let path = format!("{}.{option}", self.path);
        let mut reader = RulesReader { path: &path, options, reading: self.reading };
        for option in FIELD_OPTIONS {
            if reader.given(option).is_some_and(|value| option != "unique" || *value != Value::Bool(false)) {
                let message =
                    format!("Only a field of the record itself can have \"{option}\"; leave it out here");
                reader.fault(option, "unsupported", message);
            }
        }
        reader.rules(depth)
    }
}
