//! What can be wrong with a configuration, and how it is told.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A configuration file (or the name given to [`Config::parse`](super::Config::parse)).
    File(PathBuf),
    /// An environment variable, by name.
    Variable(String),
    /// A command line flag, by name.
    Flag(String),
    /// A program that filled in [`Config`](super::Config) itself.
    Code,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
            Self::Code => f.write_str("configuration in code"),
        }
    }
}

/// All that is wrong with a configuration, in the order file, environment, flags. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    faults: Vec<Fault>,
}

impl ConfigError {
    /// `Err` if anything is wrong.
    pub(super) fn unless_none(faults: Vec<Fault>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self { faults }) }
    }

    /// Each single fault.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [fault] = self.faults.as_slice() {
            return fault.fmt(f);
        }
        write!(f, "the configuration has {} faults:", self.faults.len())?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for ConfigError {}

/// One thing that is wrong. Its `Display` is one line that says where, what was expected and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Where the value stands.
    pub origin: Origin,
    /// Full path of the key, e.g. `heartbeat.intervalMs`; empty if the fault is the file's as a whole.
    pub key: String,
    /// What is wrong.
    pub kind: FaultKind,
}

/// Kinds of [`Fault`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The file cannot be read.
    Unreadable {
        /// What the operating system (or the decoder) says.
        reason: String,
    },
    /// The file is neither valid JSON nor valid TOML, as its name promises.
    Syntax {
        /// `JSON` or `TOML`.
        format: &'static str,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser says.
        reason: String,
    },
    /// No such key, variable or flag.
    Unknown {
        /// `key`, `variable` or `flag`.
        what: &'static str,
        /// The known name most like it, if one is alike.
        nearest: Option<String>,
        /// The known names at this place.
        known: Vec<String>,
    },
    /// The key exists, the value cannot be used.
    Value {
        /// What would be right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A key of noex-server, or of a later dunlin, that this version does not have.
    Unavailable {
        /// What the key would switch on.
        feature: String,
        /// What to do instead.
        advice: String,
    },
    /// The key cannot be set here (a variable or flag holds no lists of requests).
    FileOnly,
    /// The key cannot be a flag: every user of the machine sees the flags of all programs.
    NoFlag,
}

impl Fault {
    /// A stable code for programs: `CONFIG_UNREADABLE`, `CONFIG_SYNTAX`, `CONFIG_UNKNOWN`, `CONFIG_VALUE`,
    /// `CONFIG_UNAVAILABLE`, `CONFIG_FILE_ONLY` or `CONFIG_NO_FLAG`.
    pub fn code(&self) -> &'static str {
        match self.kind {
            FaultKind::Unreadable { .. } => "CONFIG_UNREADABLE",
            FaultKind::Syntax { .. } => "CONFIG_SYNTAX",
            FaultKind::Unknown { .. } => "CONFIG_UNKNOWN",
            FaultKind::Value { .. } => "CONFIG_VALUE",
            FaultKind::Unavailable { .. } => "CONFIG_UNAVAILABLE",
            FaultKind::FileOnly => "CONFIG_FILE_ONLY",
            FaultKind::NoFlag => "CONFIG_NO_FLAG",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, key, kind } = self;
        match kind {
            FaultKind::Unreadable { reason } => return write!(f, "cannot read {origin}: {reason}"),
            FaultKind::Syntax { format, line, column, reason } => {
                return write!(f, "{origin}:{line}:{column}: not valid {format}: {reason}");
            }
            FaultKind::Unknown { what, nearest, known } => {
                write!(f, "{origin}: unknown {what}")?;
                if *what == "key" {
                    write!(f, " {key}")?;
                }
                return match nearest {
                    Some(nearest) => write!(f, "; did you mean {nearest}?"),
                    None => write!(f, "; known here: {}", known.join(", ")),
                };
            }
            _ => {}
        }
        write!(f, "{origin}: ")?;
        if !key.is_empty() {
            write!(f, "{key}: ")?;
        }
        match kind {
            FaultKind::Value { expected, found } => write!(f, "expected {expected}, found {found}"),
            FaultKind::Unavailable { feature, advice } => {
                write!(f, "this version of dunlin has no {feature}; {advice}")
            }
            FaultKind::NoFlag => f.write_str(
                "a secret cannot be a flag, which every user of this machine could see; use a file or the environment",
            ),
            _ => f.write_str("can only be set in a configuration file; use --config FILE"),
        }
    }
}
