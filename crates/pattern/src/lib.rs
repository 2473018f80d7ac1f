//! JavaScript regular expressions that match in linear time: `pattern` of a field, `matches` of a condition.

mod class;
pub mod limits;
mod translate;

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use limits::{MAX_PATTERN_BYTES, MAX_PATTERN_DEPTH, MAX_PATTERN_SIZE};

/// A pattern, compiled once when the definition that it is in is read; clones share it.
///
/// ```
/// use dunlin_pattern::Pattern;
///
/// let plate = Pattern::compile(r"^[A-Z]{2}-\d+$").unwrap();
/// assert!(plate.is_found_in("ZH-1234") && !plate.is_found_in("zh-1234"));
/// assert!(Pattern::compile(r"(a)\1").is_err(), "nobody can match that in linear time");
/// ```
#[derive(Debug, Clone)]
pub struct Pattern {
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
    pub fn compile(source: &str) -> Result<Self, String> {
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
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is found anywhere in a text.
    pub fn is_found_in(&self, text: &str) -> bool {
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
