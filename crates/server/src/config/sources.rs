//! File, environment and flags, laid over each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Config;
use super::document;
use super::fault::{ConfigError, Fault, FaultKind, Origin};
use super::keys::{self, KEYS, Key, PROGRAM_VARIABLES, SHORT_FLAGS};
use super::kind::{Kind, shown};
use super::later::{self, LATER, Later};
use super::nearest::nearest;
use super::networks;

/// Command line flags that were given, in their order: names as typed (`--port`) and their text.
///
/// Every key has a flag (`heartbeat.intervalMs` is `--heartbeat-interval-ms`); `--data-dir`, `--durability` and
/// `--memory` are short ways to say `--storage-dir`, `--storage-durability` and `--storage-kind memory`.
/// [`Config::flags`] lists them all. If two flags set one key, the later one stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags(Vec<(String, String)>);

impl Flags {
    /// No flags.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more flag; `value` is ignored for flags that take none.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.push((name.into(), value.into()));
        self
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Flags {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(flags: I) -> Self {
        Self(flags.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// The `DUNLIN_*` variables of this process. Bytes that are not text come back as `U+FFFD` and fail the check of their
/// key instead of the process.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with("DUNLIN_"))
        .collect()
}

/// A configuration and where each of its values came from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    origins: BTreeMap<&'static str, Origin>,
}

/// One key of a [`Loaded`] configuration, for `dunlin check` and the banner.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Setting<'a> {
    /// Full path of the key.
    pub key: &'static str,
    /// Its value, as a JSON file would hold it. Of secrets only how many there are.
    pub value: Value,
    /// Where it came from.
    pub origin: &'a Origin,
}

impl Loaded {
    /// Where the value of a key (full path) came from; [`Origin::Default`] if nobody set it.
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// Every key with its value and origin, in the order of the reference.
    pub fn settings(&self) -> Vec<Setting<'_>> {
        let tree = tree_of(&self.config);
        KEYS.iter()
            .map(|key| Setting {
                key: key.path,
                value: key.kind.shown(at(&tree, key.path)),
                origin: self.origin(key.path),
            })
            .collect()
    }
}

impl Config {
    /// Lays flags over environment over file over defaults. `env` may hold other variables too, only `DUNLIN_*` are
    /// looked at; [`environment`] gives those of this process.
    ///
    /// # Errors
    /// Everything that is wrong in all of them, at once.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        flags: &Flags,
    ) -> Result<Loaded, ConfigError> {
        let mut draft = Draft::default();
        if let Some(path) = file {
            match document::read(path) {
                Ok(text) => draft.document(path, &text),
                Err(fault) => draft.faults.push(fault),
            }
        }
        draft.environment(env);
        draft.flags(flags);
        draft.finish()
    }

    /// Reads a configuration from text. `name` stands in the errors; `.json` or `.toml` at its end decides the format.
    ///
    /// # Errors
    /// Everything that is wrong in it, at once.
    pub fn parse(name: impl AsRef<Path>, text: &str) -> Result<Loaded, ConfigError> {
        let mut draft = Draft::default();
        draft.document(name.as_ref(), text);
        draft.finish()
    }

    /// Checks values that a program filled in itself.
    ///
    /// # Errors
    /// Everything that is impossible, at once.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut draft = Draft::default();
        if let Value::Object(tree) = tree_of(self) {
            draft.object(&Origin::Code, "", &tree);
        }
        draft.finish().map(drop)
    }
}

impl Config {
    /// The keys whose values differ, in the order of the reference.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let (one, other) = (tree_of(self), tree_of(other));
        KEYS.iter().map(|key| key.path).filter(|path| at(&one, path) != at(&other, path)).collect()
    }
}

/// The configuration as a file would hold it. (It only fails for a `storage.dir` that is not Unicode, which no source
/// but code can give.)
pub(super) fn tree_of(config: &Config) -> Value {
    serde_json::to_value(config).unwrap_or_default()
}

/// The value at a full path.
pub(super) fn at(tree: &Value, path: &str) -> Value {
    path.split('.').try_fold(tree, |value, part| value.get(part)).cloned().unwrap_or_default()
}

/// A configuration in the making.
#[derive(Default)]
struct Draft {
    config: Config,
    origins: BTreeMap<&'static str, Origin>,
    faults: Vec<Fault>,
}

impl Draft {
    fn finish(mut self) -> Result<Loaded, ConfigError> {
        // What was not understood is not in the configuration: only a whole one can be judged as a whole.
        if self.faults.is_empty()
            && let Some((key, kind)) = networks::useless(&self.config)
        {
            let origin = self.origins.get(key).unwrap_or(&Origin::Default).clone();
            self.fault(&origin, key.to_owned(), kind);
        }
        ConfigError::unless_none(self.faults)?;
        Ok(Loaded { config: self.config, origins: self.origins })
    }

    fn document(&mut self, path: &Path, text: &str) {
        match document::parse(path, text) {
            Ok(tree) => self.object(&Origin::File(PathBuf::from(path)), "", &tree),
            Err(fault) => self.faults.push(fault),
        }
    }

    /// All keys of one object; `group` is its full path.
    fn object(&mut self, origin: &Origin, group: &str, object: &Map<String, Value>) {
        for (name, value) in object {
            // A dot in a quoted key must not pass for a path.
            let dotted = name.contains('.');
            let path = if group.is_empty() { name.clone() } else { format!("{group}.{name}") };
            if let Some(key) = keys::find(&path).filter(|_| !dotted) {
                self.value(origin, key, value);
            } else if keys::is_group(&path) && !dotted {
                match (value, later::find(&path)) {
                    (Value::Object(inner), _) => {
                        if let Some(switch) =
                            keys::switch_of(&path).filter(|_| !inner.contains_key("enabled"))
                        {
                            // Whoever says how a thing shall be wants to have it.
                            self.value(origin, switch, &Value::Bool(true));
                        }
                        self.object(origin, &path, inner);
                    }
                    (Value::Bool(_), None) if keys::switch_of(&path).is_some() => {
                        if let Some(switch) = keys::switch_of(&path) {
                            self.value(origin, switch, value);
                        }
                    }
                    // A switch of the reference server that has the name of a group here.
                    (Value::Bool(on), Some(row)) => {
                        if *on || !row.off {
                            self.fault(origin, path, unavailable(row, str::to_owned));
                        }
                    }
                    (other, _) => {
                        let expected = format!("an object with {}", keys::names_in(&path).join(", "));
                        self.fault(origin, path, FaultKind::Value { expected, found: shown(other) });
                    }
                }
            } else if let Some(row) = later::find(&path) {
                if !(row.off && *value == Value::Bool(false)) {
                    self.fault(origin, path, unavailable(row, str::to_owned));
                }
            } else {
                let known = keys::names_in(group);
                let groups = keys::names_in("").into_iter().filter(|name| keys::is_group(name));
                let candidates: Vec<String> =
                    KEYS.iter().map(|key| key.path.to_owned()).chain(groups).collect();
                let nearest = nearest(&path, candidates.iter().map(String::as_str)).map(str::to_owned);
                self.fault(origin, path, FaultKind::Unknown { what: "key", nearest, known });
            }
        }
    }

    fn environment(&mut self, env: impl IntoIterator<Item = (String, String)>) {
        // The environment has no order; sorted, the same mistakes always read the same.
        let variables: BTreeMap<String, String> =
            env.into_iter().filter(|(name, _)| name.starts_with("DUNLIN_")).collect();
        for (name, text) in variables {
            if PROGRAM_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let origin = Origin::Variable(name.clone());
            let named = KEYS.iter().find(|key| keys::variable(key.path) == name);
            let switch = || keys::switches().find(|(_, group)| keys::variable(group) == name);
            if let Some(key) = named.or_else(|| switch().map(|(key, _)| key)) {
                self.text(&origin, key, &text);
            } else if let Some(row) = LATER.iter().find(|row| covers(row, keys::variable, &name, '_')) {
                self.later_text(&origin, row, &text, keys::variable);
            } else {
                let known = KEYS.iter().map(|key| keys::variable(key.path));
                let known: Vec<String> =
                    known.chain(PROGRAM_VARIABLES.iter().map(ToString::to_string)).collect();
                self.unknown(&origin, "variable", &name, known);
            }
        }
    }

    fn flags(&mut self, flags: &Flags) {
        for (name, text) in &flags.0 {
            let origin = Origin::Flag(name.clone());
            let short = SHORT_FLAGS.iter().find(|(flag, ..)| flag == name);
            let path = short.map(|(_, path, _)| *path);
            let text = short.and_then(|(.., fixed)| *fixed).unwrap_or(text);
            let key =
                KEYS.iter().find(|key| path.map_or_else(|| keys::flag(key.path) == *name, |p| key.path == p));
            if let Some(key) = key {
                match key.kind {
                    Kind::Secret { .. } => self.fault(&origin, key.path.to_owned(), FaultKind::NoFlag),
                    _ => self.text(&origin, key, text),
                }
            } else if let Some(row) = LATER.iter().find(|row| covers(row, keys::flag, name, '-')) {
                self.later_text(&origin, row, text, keys::flag);
            } else {
                let known = KEYS.iter().map(|key| keys::flag(key.path));
                let known = known.chain(SHORT_FLAGS.iter().map(|(flag, ..)| (*flag).to_owned())).collect();
                self.unknown(&origin, "flag", name, known);
            }
        }
    }

    fn text(&mut self, origin: &Origin, key: &'static Key, text: &str) {
        match key.kind.value_of(text) {
            Some(value) => self.value(origin, key, &value),
            None => self.fault(origin, key.path.to_owned(), FaultKind::FileOnly),
        }
    }

    fn later_text(&mut self, origin: &Origin, row: &Later, text: &str, name: impl Fn(&str) -> String) {
        if !(row.off && text.trim() == "false") {
            self.fault(origin, row.key.to_owned(), unavailable(row, name));
        }
    }

    fn unknown(&mut self, origin: &Origin, what: &'static str, name: &str, known: Vec<String>) {
        let nearest = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
        self.fault(origin, name.to_owned(), FaultKind::Unknown { what, nearest, known });
    }

    fn value(&mut self, origin: &Origin, key: &'static Key, value: &Value) {
        let is_absent = value.is_null() && key.absent.is_some();
        let found = if is_absent { Vec::new() } else { key.kind.check(value) };
        if !found.is_empty() {
            for (below, kind) in found {
                self.fault(origin, format!("{}{below}", key.path), kind);
            }
        } else if (key.set)(&mut self.config, value).is_some() {
            // Code cannot tell a value it set from one it left; nor does anybody ask.
            self.origins.insert(key.path, origin.clone());
        } else {
            let kind = FaultKind::Value { expected: key.kind.expected(), found: shown(value) };
            self.fault(origin, key.path.to_owned(), kind);
        }
    }

    fn fault(&mut self, origin: &Origin, key: String, kind: FaultKind) {
        self.faults.push(Fault { origin: origin.clone(), key, kind });
    }
}

/// Whether `name` is that of a row, as `called` makes it of a path, or lies below it.
fn covers(row: &Later, called: impl Fn(&str) -> String, name: &str, separator: char) -> bool {
    let rest = name.strip_prefix(&called(row.key));
    rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with(separator) && !keys::is_group(row.key)))
}

/// `name` tells how a key is called where the fault is.
fn unavailable(row: &Later, name: impl Fn(&str) -> String) -> FaultKind {
    let advice = match row.instead {
        Some(path) => {
            let key = name(path);
            let values = keys::find(path).map_or_else(String::new, |key| key.kind.expected());
            format!("use {key} ({values})")
        }
        None if row.off => "remove it or set it to false".to_owned(),
        None => "remove it".to_owned(),
    };
    FaultKind::Unavailable { feature: row.feature.to_owned(), advice }
}
