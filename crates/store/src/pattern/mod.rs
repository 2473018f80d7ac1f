//! `pattern`: a JavaScript regular expression that matches in linear time.

mod class;
mod translate;

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use crate::limits::{MAX_PATTERN_BYTES, MAX_PATTERN_DEPTH, MAX_PATTERN_SIZE};

/// A pattern, compiled once when its definition is read; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    source: Arc<str>,
    regex: Regex,
}

impl Pattern {
    /// Compiles the source of a JavaScript regular expression without flags.
    ///
    /// One thing differs: a character beyond U+FFFF is one character here, as with JavaScript's flag `u`, and not two
    /// halves.
    ///
    /// # Errors
    /// A sentence: why it is no regular expression, or cannot be matched in linear time.
    pub(crate) fn compile(source: &str) -> Result<Self, String> {
        if source.len() > MAX_PATTERN_BYTES {
            return Err(format!("A pattern has at most {MAX_PATTERN_BYTES} bytes"));
        }
        let translated = translate::translate(source)?;
        let mut builder = RegexBuilder::new(&translated);
        builder.size_limit(MAX_PATTERN_SIZE).dfa_size_limit(MAX_PATTERN_SIZE);
        // Each level of groups is two of the translation's, as a repetition is one too.
        builder.nest_limit(4 * MAX_PATTERN_DEPTH);
        let regex = builder.build().map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                "Too large once its repetitions are written out; use smaller numbers in {}, or \"maxLength\""
                    .to_owned()
            }
            other => format!("This regular expression cannot be used: {other}"),
        })?;
        Ok(Self { source: source.into(), regex })
    }

    /// The pattern as given.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is found anywhere in a text.
    pub(crate) fn is_found_in(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// Equal if the sources are.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

#[cfg(test)]
mod tests;
