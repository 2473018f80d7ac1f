//! The kinds of values a key can hold: what is expected, whether a value fits, and how text becomes one.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use serde_json::{Number, Value};

use super::fault::FaultKind;
use super::limits::{MAX_ALLOWED_ORIGINS, MAX_SECRET_BYTES, MAX_SHOWN_CHARS};
use super::{auth, networks, rules, seed};
use crate::auth::policy;

/// What a key holds.
pub(super) enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number within a range; `of` names what is counted.
    Whole { of: &'static str, range: RangeInclusive<u64> },
    /// Above 0, at most 1.
    Share,
    /// Text that passes a test; `expected` describes it.
    Text { expected: &'static str, accepts: fn(&str) -> bool },
    /// One of some words; `later` are words that a coming version will know.
    Word { words: &'static [&'static str], later: &'static [&'static str] },
    /// A list of some words, each once.
    Words(&'static [&'static str]),
    /// Text of at least so many bytes. It is never shown, and no flag takes it: every user of a machine sees the flags.
    Secret { least: usize },
    /// A list of `Origin` header values.
    Origins,
    /// A list of addresses and networks.
    Networks,
    /// A list of beginnings of URLs.
    Targets,
    /// An object from operation to weight.
    Weights,
    /// A list of requests.
    Seed,
    /// A table of tokens. It is never shown.
    Tokens,
    /// Which roles include which.
    Roles,
    /// What roles mean.
    Permissions,
}

/// Faults found in one value: the path below the key (`[2].name`, or empty) and what is wrong there.
pub(super) type Found = Vec<(String, FaultKind)>;

impl Kind {
    /// Whether a value is only found in a file.
    pub(super) fn is_for_files(&self) -> bool {
        matches!(self, Self::Seed | Self::Tokens | Self::Weights | Self::Roles | Self::Permissions)
    }

    /// Whether a value can be given as a flag.
    pub(super) fn has_flag(&self) -> bool {
        !self.is_for_files() && !matches!(self, Self::Secret { .. })
    }

    /// What a person should write, as the middle of a sentence.
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Whole { of, range } => format!("{of} from {} to {}", range.start(), range.end()),
            Self::Share => "a number above 0 and at most 1".to_owned(),
            Self::Text { expected, .. } => (*expected).to_owned(),
            Self::Word { words, .. } => one_of(words),
            Self::Words(words) => format!("a list of {}", one_of(words)),
            Self::Secret { least } => format!("a secret text of {least} to {MAX_SECRET_BYTES} bytes"),
            Self::Origins => "a list of origins such as \"https://app.example.com\"".to_owned(),
            Self::Networks => networks::NETWORKS.to_owned(),
            Self::Targets => rules::TARGETS.to_owned(),
            Self::Weights => networks::WEIGHTS_EXPECTED.to_owned(),
            Self::Seed => "a list of requests".to_owned(),
            Self::Tokens => auth::EXPECTED.to_owned(),
            Self::Roles => "an object from role to the roles that it includes".to_owned(),
            Self::Permissions => "an object with default, check, rules and rows".to_owned(),
        }
    }

    /// All that keeps `value` from being used.
    pub(super) fn check(&self, value: &Value) -> Found {
        let fits = match self {
            Self::Switch => value.is_boolean(),
            Self::Whole { range, .. } => as_whole(value).is_some_and(|n| range.contains(&n)),
            Self::Share => value.as_f64().is_some_and(|x| x > 0.0 && x <= 1.0),
            Self::Text { accepts, .. } => value.as_str().is_some_and(accepts),
            Self::Word { words, later } => match value.as_str() {
                Some(word) if later.contains(&word) => {
                    let feature = format!("\"{word}\" yet");
                    let advice = format!("use {}", self.expected());
                    return vec![(String::new(), FaultKind::Unavailable { feature, advice })];
                }
                Some(word) => words.contains(&word),
                None => false,
            },
            Self::Words(words) => value.as_array().is_some_and(|list| {
                let known = |word: &Value| word.as_str().is_some_and(|word| words.contains(&word));
                !list.is_empty() && list.len() <= words.len() && list.iter().all(known)
            }),
            Self::Secret { least } => return check_secret(value, *least, &self.expected()),
            Self::Origins => return check_origins(value, &self.expected()),
            Self::Networks => return networks::check(value),
            Self::Targets => return rules::check_targets(value),
            Self::Weights => return networks::check_weights(value),
            Self::Seed => return seed::check(value),
            Self::Tokens => return auth::check(value),
            Self::Roles => return auth::faults(policy::of_roles(value), value),
            Self::Permissions => return auth::faults(policy::of_rules(value), value),
        };
        if fits { Vec::new() } else { vec![mismatch("", self.expected(), value)] }
    }

    /// A value as it may be shown.
    pub(super) fn shown(&self, value: Value) -> Value {
        match (self, &value) {
            (Self::Secret { .. }, Value::String(_)) => "not shown".into(),
            (Self::Tokens, Value::Object(tokens)) => format!("{} (not shown)", tokens.len()).into(),
            _ => value,
        }
    }

    /// Reads a value from an environment variable or flag. What does not read as this kind stays text, so that the
    /// check names it. `None`: this kind has no text form.
    pub(super) fn value_of(&self, text: &str) -> Option<Value> {
        if let Self::Secret { .. } = self {
            // Blanks around it are part of it.
            return Some(Value::from(text));
        }
        let text = text.trim();
        Some(match self {
            Self::Switch => text.parse::<bool>().map_or_else(|_| Value::from(text), Value::from),
            Self::Whole { .. } | Self::Share => {
                text.parse::<Number>().map_or_else(|_| Value::from(text), Value::from)
            }
            Self::Text { .. } | Self::Word { .. } => Value::from(text),
            Self::Origins | Self::Networks | Self::Targets | Self::Words(_) => {
                text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect()
            }
            Self::Seed
            | Self::Tokens
            | Self::Weights
            | Self::Roles
            | Self::Permissions
            | Self::Secret { .. } => return None,
        })
    }
}

/// `"a", "b" or "c"`.
fn one_of(words: &[&str]) -> String {
    let mut sentence = String::new();
    for (i, word) in words.iter().enumerate() {
        let joint = match i {
            0 => "",
            i if i + 1 == words.len() => " or ",
            _ => ", ",
        };
        // Writing to a String cannot fail.
        let _ = write!(sentence, "{joint}\"{word}\"");
    }
    sentence
}

/// All that is wrong with a secret; its length is told, and nothing else.
fn check_secret(value: &Value, least: usize, expected: &str) -> Found {
    let found = match value.as_str() {
        Some(text) if (least..=MAX_SECRET_BYTES).contains(&text.len()) => return Found::new(),
        Some(text) => format!("one of {}", text.len()),
        None => return vec![auth::hidden("", expected, value)],
    };
    vec![(String::new(), FaultKind::Value { expected: expected.to_owned(), found })]
}

/// A fault "expected … found …" at a path below the key.
pub(super) fn mismatch(
    below: impl Into<String>,
    expected: impl Into<String>,
    value: &Value,
) -> (String, FaultKind) {
    (below.into(), FaultKind::Value { expected: expected.into(), found: shown(value) })
}

/// A whole number; JSON has one number type, so `1e6` and `20.0` are whole too.
pub(super) fn as_whole(value: &Value) -> Option<u64> {
    // 2^53: from here on doubles skip whole numbers.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_u64().or_else(|| {
        let number = value.as_f64().filter(|x| x.fract() == 0.0 && (0.0..=EXACT).contains(x))?;
        format!("{number:.0}").parse().ok()
    })
}

fn check_origins(value: &Value, expected: &str) -> Found {
    let Some(list) = value.as_array() else { return vec![mismatch("", expected, value)] };
    if list.len() > MAX_ALLOWED_ORIGINS {
        let found = format!("{} of them", list.len());
        return vec![(
            String::new(),
            FaultKind::Value { expected: format!("at most {MAX_ALLOWED_ORIGINS} origins"), found },
        )];
    }
    list.iter()
        .enumerate()
        .filter(|(_, entry)| !entry.as_str().is_some_and(is_origin))
        .map(|(i, entry)| {
            let expected = "scheme://host or scheme://host:port, without a path (to admit everybody, leave \
                            allowedOrigins out)";
            mismatch(format!("[{i}]"), expected, entry)
        })
        .collect()
}

/// Whether a browser could send this as `Origin`: anything else in the list would silently match nobody.
fn is_origin(text: &str) -> bool {
    if text == "null" {
        return true;
    }
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let host_fits = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic() && !"/?#@*\\".contains(c));
    scheme_fits && host_fits
}

/// A value as an error repeats it: JSON, shortened.
pub(super) fn shown(value: &Value) -> String {
    let text = match value {
        Value::Array(list) if list.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    };
    if text.chars().count() <= MAX_SHOWN_CHARS {
        return text;
    }
    text.chars().take(MAX_SHOWN_CHARS).chain(['…']).collect()
}
