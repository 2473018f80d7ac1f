//! Versioned steps that change definitions and records together.

use std::fmt;
use std::sync::Arc;

use crate::{Migrating, StoreError};

/// What a migration does; see [`Migrating`].
type Up = Arc<dyn Fn(&mut Migrating<'_, '_, '_>) -> Result<(), StoreError> + Send + Sync>;

/// One versioned step: a change of definitions and records that is made once, in one commit, or not at all.
///
/// The store records which versions have run in the bucket `_migrations` (`version`, `name`, `appliedAt`), in the commit of
/// the step itself, so a crash never leaves a step done and not recorded, or the other way round.
///
/// ```
/// use dunlin_store::Migration;
/// use serde_json::json;
///
/// let full_names = Migration::new(2, "split names", |m| {
///     let mut people = m.bucket("people")?;
///     people.add_field("last", json!({"type": "string"}), None)?;
///     people.transform_all(|person| {
///         let name = person["name"].as_str().unwrap_or_default().to_owned();
///         let (first, last) = name.split_once(' ').unwrap_or((&name, ""));
///         person.insert("name".into(), first.into());
///         person.insert("last".into(), last.into());
///     })?;
///     people.add_index("last")
/// });
/// assert_eq!(full_names.version(), 2);
/// ```
#[derive(Clone)]
pub struct Migration {
    version: u64,
    name: Arc<str>,
    pub(crate) up: Up,
}

impl Migration {
    /// The step `version` (1 or more, each once). `up` must depend on nothing but what it is given.
    pub fn new(
        version: u64,
        name: impl Into<Arc<str>>,
        up: impl Fn(&mut Migrating<'_, '_, '_>) -> Result<(), StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self { version, name: name.into(), up: Arc::new(up) }
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Its name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Checks a list of migrations and puts it in the order in which they run.
    ///
    /// # Errors
    /// [`StoreError::InvalidMigrations`] naming the first that has no positive version, no name or a version given twice.
    pub fn ordered(migrations: impl IntoIterator<Item = Self>) -> Result<Vec<Self>, StoreError> {
        let mut ordered: Vec<Self> = migrations.into_iter().collect();
        ordered.sort_by_key(Self::version);
        let mut last = 0;
        for migration in &ordered {
            let version = migration.version;
            let reason = if version == 0 {
                "Migration version must be a positive integer, got 0".to_owned()
            } else if version == last {
                format!("Duplicate migration version: {version}")
            } else if migration.name.is_empty() {
                format!("Migration version {version} must have a non-empty name")
            } else {
                last = version;
                continue;
            };
            return Err(StoreError::InvalidMigrations { reason });
        }
        Ok(ordered)
    }
}

/// Two are equal if they are clones of one.
impl PartialEq for Migration {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.name == other.name && Arc::ptr_eq(&self.up, &other.up)
    }
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migration")
            .field("version", &self.version)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
