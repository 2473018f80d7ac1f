//! Runs migrations: definitions and records change freely inside one, and everything must hold when it is over.

use std::collections::{BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Map, Value, json};

use super::{admin, conform, remove, write};
use crate::draft::Draft;
use crate::{
    Bucket, BucketId, Cause, Change, Context, Definition, Key, Migration, Object, Outcome, Record, RowId,
    StoreError, system,
};

/// The bucket that tells which migrations have run.
const MIGRATIONS: &str = "_migrations";

/// Runs those that have not run yet, in order of their versions.
pub(super) fn run(
    draft: &mut Draft<'_>,
    migrations: Vec<Migration>,
    ctx: &mut Context<'_>,
) -> Result<Outcome, StoreError> {
    let migrations = Migration::ordered(migrations)?;
    if draft.state().bucket(MIGRATIONS).is_err() && !migrations.is_empty() {
        let number = json!({"type": "number", "required": true});
        let name = json!({"type": "string", "required": true});
        let schema = json!({"version": number, "name": name, "appliedAt": number});
        let config = Map::from_iter([("key".to_owned(), "version".into()), ("schema".to_owned(), schema)]);
        admin::define_bucket(draft, MIGRATIONS, &config)?;
    }
    let mut ran = Vec::new();
    for migration in migrations {
        let version = migration.version();
        if draft.state().bucket(MIGRATIONS)?.get(&version.into()).is_some() {
            continue;
        }
        one(draft, &migration, ctx)
            .map_err(|error| StoreError::Migration { version, error: error.into() })?;
        ran.push(version);
    }
    Ok(Outcome::Migrated { ran })
}

fn one(draft: &mut Draft<'_>, migration: &Migration, ctx: &mut Context<'_>) -> Result<(), StoreError> {
    let mut migrating = Migrating { draft, ctx, changed: BTreeSet::new() };
    // The closure is the embedder's; what it breaks is undone with the migration.
    catch_unwind(AssertUnwindSafe(|| (migration.up)(&mut migrating)))
        .unwrap_or(Err(StoreError::MigrationPanicked))?;
    for bucket in std::mem::take(&mut migrating.changed) {
        conform::whole_bucket(migrating.draft, bucket, migrating.ctx)?;
    }
    let row = json!({"version": migration.version(), "name": migration.name(), "appliedAt": ctx.now});
    let bucket = draft.state().bucket(MIGRATIONS)?.id();
    write::insert(draft, bucket, row.as_object().unwrap_or(&Map::new()), ctx).map(drop)
}

/// What a [`Migration`] works on: the whole store, as it is and as the migration has changed it so far.
///
/// A record keeps its `_version` and times when its bucket's shape changes: nobody has written it.
pub struct Migrating<'d, 's, 'c> {
    draft: &'d mut Draft<'s>,
    ctx: &'d mut Context<'c>,
    /// Buckets whose records must be held to their definition in the end.
    changed: BTreeSet<BucketId>,
}

impl<'s, 'c> Migrating<'_, 's, 'c> {
    /// Defines a bucket; `config` as in `store.defineBucket`.
    pub fn create_bucket(&mut self, name: &str, config: &Value) -> Result<(), StoreError> {
        admin::define_bucket(self.draft, name, object(config)).map(drop)
    }

    /// Drops a bucket with its records; whether there was one.
    pub fn drop_bucket(&mut self, name: &str) -> Result<bool, StoreError> {
        match admin::drop_bucket(self.draft, name) {
            Ok(_) => Ok(true),
            Err(StoreError::BucketMissing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A bucket to change.
    pub fn bucket(&mut self, name: &str) -> Result<MigratingBucket<'_, 's, 'c>, StoreError> {
        system::refuse(name)?;
        let id = self.draft.state().bucket(name)?.id();
        Ok(MigratingBucket { draft: self.draft, ctx: self.ctx, changed: &mut self.changed, id })
    }
}

/// One bucket inside a migration.
pub struct MigratingBucket<'m, 's, 'c> {
    draft: &'m mut Draft<'s>,
    ctx: &'m mut Context<'c>,
    changed: &'m mut BTreeSet<BucketId>,
    id: BucketId,
}

impl MigratingBucket<'_, '_, '_> {
    /// The bucket as it is now.
    pub fn current(&self) -> Result<&Bucket, StoreError> {
        self.draft.bucket(self.id)
    }

    /// Adds a field; with a `value`, every record gets it.
    pub fn add_field(&mut self, field: &str, config: Value, value: Option<Value>) -> Result<(), StoreError> {
        let exists = self.current()?.definition().slot(field).is_some();
        self.refuse_if(exists, &format!("Field \"{field}\" already exists in bucket"))?;
        self.redefine(|definition| {
            if let Some(schema) = schema(definition) {
                schema.insert(field.to_owned(), config);
            }
        })?;
        match value {
            Some(value) => self.transform_all(|record| {
                record.insert(field.to_owned(), value.clone());
            }),
            None => Ok(()),
        }
    }

    /// Removes a field from the schema, the indexes and every record.
    pub fn remove_field(&mut self, field: &str) -> Result<(), StoreError> {
        self.known(field, "remove", "from")?;
        self.redefine(|definition| {
            if let Some(schema) = schema(definition) {
                schema.shift_remove(field);
            }
            for list in index_lists(definition) {
                list.retain(|index| !names(index).contains(&field));
            }
        })?;
        self.transform_all(|record| {
            record.shift_remove(field);
        })
    }

    /// Renames a field in the schema, the indexes and every record.
    pub fn rename_field(&mut self, from: &str, to: &str) -> Result<(), StoreError> {
        self.known(from, "rename", "in")?;
        let taken = self.current()?.definition().slot(to).is_some();
        self.refuse_if(taken, &format!("Field \"{to}\" already exists in bucket"))?;
        self.redefine(|definition| {
            if let Some(fields) = schema(definition) {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(name, field)| (renamed(name, from, to), field))
                    .collect();
            }
            for list in index_lists(definition) {
                for index in list {
                    match index {
                        Value::String(name) if name == from => to.clone_into(name),
                        Value::Array(names) => {
                            for name in names.iter_mut().filter(|name| *name == from) {
                                *name = to.into();
                            }
                        }
                        _ => {}
                    }
                }
            }
        })?;
        self.transform_all(|record| {
            if record.contains_key(from) {
                // A member outside the schema that happens to have the new name makes way for the field.
                record.shift_remove(to);
            }
            *record = std::mem::take(record)
                .into_iter()
                .map(|(name, value)| (renamed(name, from, to), value))
                .collect();
        })
    }

    /// Gives a field another type, its other options kept, and every value that is not `null` what `convert` makes of it.
    pub fn change_field_type(
        &mut self,
        field: &str,
        kind: &str,
        convert: impl Fn(Value) -> Value,
    ) -> Result<(), StoreError> {
        self.known(field, "change type of", "in")?;
        self.redefine(|definition| {
            let options =
                schema(definition).and_then(|schema| schema.get_mut(field)).and_then(Value::as_object_mut);
            if let Some(options) = options {
                options.insert("type".into(), kind.into());
            }
        })?;
        self.transform_all(|record| {
            if let Some(value) = record.get_mut(field).filter(|value| !value.is_null()) {
                *value = convert(value.take());
            }
        })
    }

    /// Adds an index over one field.
    pub fn add_index(&mut self, field: &str) -> Result<(), StoreError> {
        self.redefine(|definition| {
            let indexes = definition.entry("indexes").or_insert_with(|| json!([]));
            if let Some(list) = indexes.as_array_mut().filter(|list| !list.iter().any(|index| index == field))
            {
                list.push(field.into());
            }
        })
    }

    /// Removes an index over one field; that of a unique field stays.
    pub fn remove_index(&mut self, field: &str) -> Result<(), StoreError> {
        let mut found = false;
        self.redefine(|definition| {
            if let Some(list) = definition.get_mut("indexes").and_then(Value::as_array_mut) {
                let before = list.len();
                list.retain(|index| index != field);
                found = list.len() < before;
            }
        })?;
        self.refuse_if(!found, &format!("Index on field \"{field}\" does not exist in bucket"))
    }

    /// Replaces every record's members by what `change` makes of them. Metadata stay as they are.
    pub fn transform_all(&mut self, mut change: impl FnMut(&mut Object)) -> Result<(), StoreError> {
        let bucket = self.draft.bucket(self.id)?;
        let mut rewritten_rows: Vec<(RowId, Record)> = Vec::new();
        let mut rows_of_other_keys = Vec::new();
        for (row, record) in bucket.rows() {
            let mut members = match record.to_value() {
                Value::Object(members) => members,
                _ => Map::new(),
            };
            change(&mut members);
            let rewritten = write::rewritten(bucket, &members, record)?;
            let key = bucket.key_of(&rewritten);
            if key.is_none() {
                let field = bucket.definition().key().name().to_owned();
                let issue = crate::Issue::new(field, "required", "Field is required");
                return Err(StoreError::Validation {
                    bucket: (&**bucket.name()).into(),
                    issues: vec![issue],
                });
            }
            if key != bucket.key_of(record) {
                rows_of_other_keys.push(row);
            }
            if rewritten != *record {
                rewritten_rows.push((row, rewritten));
            }
        }
        let moving: HashSet<RowId> = rows_of_other_keys.iter().copied().collect();
        let mut taken: HashSet<Key<'_>> = HashSet::new();
        for (row, record) in &rewritten_rows {
            let Some(key) = bucket.key_of(record).filter(|_| moving.contains(row)) else { continue };
            let stays = bucket.find(key).is_some_and(|(holder, _)| !moving.contains(&holder));
            if stays || !taken.insert(key) {
                return Err(StoreError::KeyExists { bucket: (&**bucket.name()).into(), key: key.to_value() });
            }
        }
        // Keys may pass from record to record, so all that are given up are free before any is taken.
        for row in rows_of_other_keys {
            self.draft.remove(self.id, row, Cause::Deleted);
        }
        for (row, record) in &rewritten_rows {
            self.draft.put(self.id, *row, record)?;
        }
        self.changed.insert(self.id);
        Ok(())
    }

    /// Inserts a record.
    pub fn insert(&mut self, data: &Value) -> Result<Record, StoreError> {
        write::insert(self.draft, self.id, object(data), self.ctx)
    }

    /// Changes members of a record.
    pub fn update(&mut self, key: &Value, changes: &Value) -> Result<Record, StoreError> {
        write::update(self.draft, self.id, key, object(changes), self.ctx)
    }

    /// Removes a record; whether it was there.
    pub fn delete(&mut self, key: &Value) -> Result<bool, StoreError> {
        remove::delete(self.draft, self.id, key, self.ctx)
    }

    fn redefine(&mut self, change: impl FnOnce(&mut Object)) -> Result<(), StoreError> {
        let bucket = self.draft.bucket(self.id)?;
        let name = bucket.name().clone();
        let mut config: Object = serde_json::from_str(bucket.config()).unwrap_or_default();
        change(&mut config);
        let definition = Definition::parse(&name, &config)?;
        system::refuse_references(&name, &definition)?;
        self.draft.change(Change::UpdateBucket { bucket: self.id, config: definition.config().clone() })?;
        self.changed.insert(self.id);
        Ok(())
    }

    /// Refuses to do something to a field that is not there, or is the key.
    fn known(&self, field: &str, doing: &str, preposition: &str) -> Result<(), StoreError> {
        let definition = self.current()?.definition();
        let (missing, is_key) = (definition.slot(field).is_none(), definition.key().name() == field);
        self.refuse_if(missing, &format!("Field \"{field}\" does not exist in bucket"))?;
        self.refuse_if(is_key, &format!("Cannot {doing} key field \"{field}\" {preposition} bucket"))
    }

    fn refuse_if(&self, refused: bool, message: &str) -> Result<(), StoreError> {
        if !refused {
            return Ok(());
        }
        let name = self.current()?.name();
        Err(StoreError::InvalidMigrations { reason: format!("{message} \"{name}\"") })
    }
}

fn schema(definition: &mut Object) -> Option<&mut Object> {
    definition.get_mut("schema").and_then(Value::as_object_mut)
}

/// The lists of a definition that name fields.
fn index_lists(definition: &mut Object) -> impl Iterator<Item = &mut Vec<Value>> {
    let lists = definition.iter_mut().filter(|(name, _)| matches!(name.as_str(), "indexes" | "unique"));
    lists.filter_map(|(_, list)| list.as_array_mut())
}

/// The fields that an index names.
fn names(index: &Value) -> Vec<&str> {
    match index {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn renamed(name: String, from: &str, to: &str) -> String {
    if name == from { to.to_owned() } else { name }
}

/// A definition or record given as a value; what is no object is empty, and refused as such.
fn object(value: &Value) -> &Object {
    static EMPTY: std::sync::LazyLock<Object> = std::sync::LazyLock::new(Object::new);
    value.as_object().unwrap_or(&EMPTY)
}
