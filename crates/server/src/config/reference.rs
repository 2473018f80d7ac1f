//! The table of keys for people: the reference in `docs/configuration.md`, and the flags of the program.

use std::fmt::Write as _;

use serde_json::Value;

use super::Config;
use super::keys::{self, KEYS, SHORT_FLAGS};
use super::sources::{at, tree_of};

/// A command line flag that sets a key, so that a program can offer all of them without a second list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlagSpec {
    /// The flag, e.g. `--heartbeat-interval-ms`.
    pub name: String,
    /// Full path of the key it sets.
    pub key: &'static str,
    /// Whether a value follows; `--memory` alone needs none.
    pub takes_value: bool,
    /// What it does, one sentence.
    pub about: String,
}

impl Config {
    /// Every flag that [`Config::load`] understands.
    ///
    /// ```
    /// # use dunlin_server::config::Config;
    /// assert!(Config::flags().iter().any(|flag| flag.name == "--port" && flag.takes_value));
    /// ```
    pub fn flags() -> Vec<FlagSpec> {
        let derived = KEYS.iter().filter(|key| key.kind.has_flag()).map(|key| FlagSpec {
            name: keys::flag(key.path),
            key: key.path,
            takes_value: true,
            about: format!("{} Expects {}", key.about, key.kind.expected()),
        });
        let short = SHORT_FLAGS.iter().map(|(name, path, fixed)| FlagSpec {
            name: (*name).to_owned(),
            key: path,
            takes_value: fixed.is_none(),
            about: format!("Short for {}", long_form(path, *fixed)),
        });
        derived.chain(short).collect()
    }

    /// Every key with its values, default, environment variable and flag, as a Markdown table.
    pub fn reference() -> String {
        let defaults = tree_of(&Self::default());
        let mut table =
            "| Key | Value | Default | Environment | Flag | Meaning |\n|---|---|---|---|---|---|\n"
                .to_owned();
        for key in KEYS {
            let default = match (at(&defaults, key.path), key.absent) {
                (Value::Null, Some(absent)) => absent.to_owned(),
                (value, _) => format!("`{value}`"),
            };
            let given =
                |there: bool, name: String| if there { format!("`{name}`") } else { "–".to_owned() };
            let variable = given(!key.kind.is_for_files(), keys::variable(key.path));
            let flag = given(key.kind.has_flag(), keys::flag(key.path));
            // Writing to a String cannot fail.
            let _ = writeln!(
                table,
                "| `{}` | {} | {default} | {variable} | {flag} | {} |",
                key.path,
                key.kind.expected(),
                key.about
            );
        }
        table.push_str("\n| Short flag | Same as |\n|---|---|\n");
        for (name, path, fixed) in SHORT_FLAGS {
            let _ = writeln!(table, "| `{name}` | `{}` |", long_form(path, *fixed));
        }
        table
    }
}

fn long_form(path: &str, fixed: Option<&str>) -> String {
    match fixed {
        Some(value) => format!("{} {value}", keys::flag(path)),
        None => keys::flag(path),
    }
}
