//! Changes a definition: adds and changes fields, adds and removes indexes, sets options.

use serde_json::{Map, Value};

use super::Definition;
use super::fault::Faults;
use crate::StoreError;

const MEMBERS: [&str; 8] =
    ["addFields", "changeFields", "addIndexes", "dropIndexes", "addUnique", "dropUnique", "ttl", "maxSize"];

impl Definition {
    /// This definition with `updates` merged. Nothing is said about the records; an
    /// [`Intent::UpdateBucket`](crate::Intent::UpdateBucket) looks at them too.
    ///
    /// - `addFields`: new fields, behind the old ones. `changeFields`: old fields with a new definition, which replaces the
    ///   whole old one and keeps its place. The type of the key field stays.
    /// - `addIndexes`, `dropIndexes`: as in `indexes`. What is there already is not added again; what is dropped must be
    ///   there. The index of a unique field goes with `changeFields`.
    /// - `addUnique`, `dropUnique`: as in `unique`.
    /// - `ttl`, `maxSize`: the new value; `null` removes it.
    ///
    /// ```
    /// use dunlin_store::Definition;
    /// use serde_json::json;
    ///
    /// let config = json!({"key": "id", "schema": {"id": {"type": "string"}, "age": {"type": "number"}}});
    /// let definition = Definition::parse("people", config.as_object().unwrap())?;
    /// let updates = json!({
    ///     "addFields": {"city": {"type": "string", "default": "Brno"}},
    ///     "changeFields": {"age": {"type": "number", "min": 0}},
    ///     "addIndexes": ["city", ["city", "age"]],
    ///     "ttl": "30d",
    /// });
    /// let updated = definition.updated("people", updates.as_object().unwrap())?;
    /// assert_eq!(updated.fields().last().map(|field| field.name()), Some("city"));
    /// assert_eq!(updated.ttl(), Some(2_592_000_000));
    /// # Ok::<(), dunlin_store::StoreError>(())
    /// ```
    ///
    /// # Errors
    /// [`StoreError::InvalidDefinition`] with every fault and its path (`addFields.age.min`).
    pub fn updated(&self, bucket: &str, updates: &Map<String, Value>) -> Result<Self, StoreError> {
        let mut update = Update {
            old: self,
            bucket,
            config: serde_json::from_str(&self.config).unwrap_or_default(),
            faults: Faults::default(),
            moved: Vec::new(),
        };
        for name in updates.keys().filter(|name| !MEMBERS.contains(&name.as_str())) {
            update.faults.add(name, "unknown", format!("Expected only {}", MEMBERS.join(", ")));
        }
        let given = |member: &str| updates.get(member).filter(|value| !value.is_null());
        update.fields("addFields", given("addFields"));
        update.fields("changeFields", given("changeFields"));
        update.drop_listed("dropUnique", given("dropUnique"), "unique");
        update.drop_listed("dropIndexes", given("dropIndexes"), "indexes");
        update.add_listed("addIndexes", given("addIndexes"), "indexes");
        update.add_listed("addUnique", given("addUnique"), "unique");
        for (dropped, option) in [("dropIndexes", "indexes"), ("dropUnique", "unique")] {
            if given(dropped).is_some() && update.listed(option).is_empty() {
                update.config.shift_remove(option);
            }
        }
        for option in ["ttl", "maxSize"] {
            match updates.get(option) {
                None => {}
                Some(Value::Null) => drop(update.config.shift_remove(option)),
                Some(value) => drop(update.config.insert(option.to_owned(), value.clone())),
            }
        }
        update.finish()
    }
}

/// An update in the making.
struct Update<'a> {
    old: &'a Definition,
    bucket: &'a str,
    /// The whole new definition.
    config: Map<String, Value>,
    faults: Faults,
    /// Where parts of the new definition come from: their paths there, and in the update.
    moved: Vec<(String, String)>,
}

impl Update<'_> {
    fn fields(&mut self, member: &'static str, given: Option<&Value>) {
        let Some(given) = given else { return };
        let Value::Object(given) = given else {
            return self.faults.add(member, "type", "Expected an object of field definitions");
        };
        let Some(schema) = self.config.get_mut("schema").and_then(Value::as_object_mut) else { return };
        for (name, options) in given {
            let path = format!("{member}.{name}");
            let old = self.old.slot(name).and_then(|slot| self.old.fields.get(slot));
            match (old, member) {
                (Some(_), "addFields") => {
                    let message = format!("Field \"{name}\" already exists in bucket \"{}\"", self.bucket);
                    self.faults.add(path, "conflict", message);
                    continue;
                }
                (None, "changeFields") => {
                    let message = format!(
                        "Field \"{name}\" does not exist in bucket \"{}\"; add it with \"addFields\"",
                        self.bucket
                    );
                    self.faults.add(path, "unknown", message);
                    continue;
                }
                (Some(old), _) if old.name() == self.old.key().name() => {
                    let kind = options.get("type").and_then(Value::as_str);
                    if kind.is_some_and(|kind| kind != old.kind().as_str()) {
                        let message =
                            "The type of the key cannot change; make another bucket and copy the records";
                        self.faults.add(format!("{path}.type"), "conflict", message);
                    }
                }
                _ => {}
            }
            self.moved.push((format!("schema.{name}"), path));
            schema.insert(name.clone(), options.clone());
        }
    }

    /// The elements of a list in the update.
    fn elements<'v>(&mut self, member: &str, given: Option<&'v Value>) -> &'v [Value] {
        match given {
            None => &[],
            Some(Value::Array(elements)) => elements,
            Some(_) => {
                self.faults.add(member, "type", "Expected an array");
                &[]
            }
        }
    }

    /// The list `option` of the new definition.
    fn listed(&self, option: &str) -> Vec<Value> {
        self.config.get(option).and_then(Value::as_array).cloned().unwrap_or_default()
    }

    fn add_listed(&mut self, member: &str, given: Option<&Value>, option: &str) {
        let elements = self.elements(member, given);
        let mut listed = self.listed(option);
        for (i, element) in elements.iter().enumerate() {
            if !listed.contains(element) {
                self.moved.push((format!("{option}[{}]", listed.len()), format!("{member}[{i}]")));
                listed.push(element.clone());
            }
        }
        if !elements.is_empty() {
            self.config.insert(option.to_owned(), listed.into());
        }
    }

    fn drop_listed(&mut self, member: &str, given: Option<&Value>, option: &str) {
        let elements = self.elements(member, given);
        if elements.is_empty() {
            return;
        }
        let mut listed = self.listed(option);
        for (i, element) in elements.iter().enumerate() {
            let before = listed.len();
            listed.retain(|other| other != element);
            if option == "indexes" && self.is_unique(element) {
                let message = match element {
                    Value::String(name) => format!(
                        "Field \"{name}\" is unique, which needs its index; make it not unique with \"changeFields\""
                    ),
                    _ => {
                        "These fields are unique together, which needs their index; use \"dropUnique\"".into()
                    }
                };
                self.faults.add(format!("{member}[{i}]"), "conflict", message);
            } else if listed.len() == before && !elements.iter().take(i).any(|other| other == element) {
                let message = format!("Bucket \"{}\" has no such element in \"{option}\"", self.bucket);
                self.faults.add(format!("{member}[{i}]"), "unknown", message);
            }
        }
        self.config.insert(option.to_owned(), listed.into());
    }

    /// Whether the new definition keeps an index of these fields for uniqueness.
    fn is_unique(&self, fields: &Value) -> bool {
        match fields {
            Value::String(name) => {
                let field = self.config.get("schema").and_then(|schema| schema.get(name));
                field.and_then(|field| field.get("unique")) == Some(&Value::Bool(true))
            }
            fields => self.listed("unique").contains(fields),
        }
    }

    /// Checks the new definition whole. The old part was checked when it was defined, so what is wrong is in the update
    /// or comes of it, and is told with its path there.
    fn finish(mut self) -> Result<Definition, StoreError> {
        match Definition::parse(self.bucket, &self.config) {
            Ok(definition) if self.faults.is_empty() => return Ok(definition),
            Ok(_) => {}
            Err(StoreError::InvalidDefinition { issues, .. }) => {
                for issue in issues {
                    let path = self.given_path(&issue.field).unwrap_or(issue.field);
                    self.faults.add(path, issue.code, issue.message);
                }
            }
            Err(other) => return Err(other),
        }
        Err(self.faults.refuse(self.bucket))
    }

    /// Where in the update stands what has this path in the new definition.
    fn given_path(&self, path: &str) -> Option<String> {
        // Names may contain points, so of several that fit the longest counts.
        let fitting = self.moved.iter().filter_map(|(there, here)| {
            let rest = path.strip_prefix(there.as_str())?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then_some((there.len(), here, rest))
        });
        fitting.max_by_key(|(length, ..)| *length).map(|(_, here, rest)| format!("{here}{rest}"))
    }
}
