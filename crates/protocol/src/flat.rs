//! A quick reader for the commonest frames: one flat object of plain strings and integers, as `JSON.stringify` writes them
//! for a `store.get`.
//!
//! It accepts a part of JSON and gives up on everything else (escapes, blanks, fractions, nesting), which `serde_json` then
//! reads from the beginning; so it may be incomplete but must never read anything differently. A property test holds it to
//! that. It is here because it takes a fifth of the instructions off the hottest request there is (`docs/benchmarks.md`).

use std::borrow::Cow;

use crate::request::{Envelope, Scalar};

/// Digits of an integer that is read here: 15 fit a double exactly.
const DIGITS: usize = 15;

impl<'a> Envelope<'a> {
    /// Reads the whole of `text`; `None` if it is not that simple, and then what is in `self` is worthless.
    pub(crate) fn fill_flat(&mut self, text: &'a str) -> Option<()> {
        let mut rest = text.strip_prefix('{')?;
        loop {
            let (name, after) = plain_string(rest)?;
            let (scalar, after) = scalar(after.strip_prefix(':')?)?;
            self.set(name, scalar)?;
            match after.as_bytes() {
                [b'}'] => return Some(()),
                [b',', ..] => rest = &after[1..],
                _ => return None,
            }
        }
    }
}

fn scalar(text: &str) -> Option<(Scalar<'_>, &str)> {
    if text.starts_with('"') {
        let (text, rest) = plain_string(text)?;
        return Some((Scalar::Text(Cow::Borrowed(text)), rest));
    }
    let digits = text.bytes().position(|byte| !byte.is_ascii_digit())?;
    let (number, rest) = text.split_at_checked(digits)?;
    let leading_zero = digits > 1 && number.starts_with('0');
    if digits == 0 || digits > DIGITS || leading_zero || !rest.starts_with([',', '}']) {
        return None;
    }
    let number = number.bytes().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some((Scalar::Number(number.into()), rest))
}

/// A string without escapes, and what follows it.
fn plain_string(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('"')?;
    let end = inner.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
    let (string, rest) = inner.split_at_checked(end)?;
    Some((string, rest.strip_prefix('"')?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flat(text: &str) -> Option<String> {
        let mut envelope = Envelope::default();
        envelope.fill_flat(text).map(|()| format!("{envelope:?}"))
    }

    fn whole(text: &str) -> Option<String> {
        let mut envelope = Envelope::default();
        envelope.fill_whole(text).ok().map(|()| format!("{envelope:?}"))
    }

    #[test]
    fn what_clients_send_most_is_read_here() {
        for text in [
            r#"{"id":7,"type":"store.get","bucket":"users","key":"user-17"}"#,
            r#"{"id":0,"type":"store.first","bucket":"ü","n":10,"unknown":"x"}"#,
            r#"{"type":"pong","timestamp":1795237196411}"#,
        ] {
            assert!(flat(text).is_some(), "{text}");
            assert_eq!(flat(text), whole(text));
        }
    }

    #[test]
    fn what_is_not_that_simple_is_left_to_serde() {
        for text in [
            "",
            "{}",
            "{",
            "[1]",
            r#"{"id":1"#,
            r#"{"id":1,}"#,
            r#"{"id":1}x"#,
            r#"{"id":1} "#,
            r#"{ "id":1}"#,
            r#"{"id":01}"#,
            r#"{"id":-1}"#,
            r#"{"id":1.5}"#,
            r#"{"id":1e3}"#,
            r#"{"id":1234567890123456}"#,
            r#"{"a":"\u0062"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":null}"#,
            r#"{"a":[1]}"#,
            r#"{"data":"x"}"#,
            r#"{"id":,"a":1}"#,
        ] {
            assert_eq!(flat(text), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn it_never_reads_anything_differently(
            text in r#"\{("(id|type|bucket|key|n|data|é|x)":("[a-zé\\\\u0"]{0,6}"|-?[0-9]{0,17}(\.[0-9])?|null|true|\[1\]|\{\}),?){0,5}\}?[ x]?"#
        ) {
            if let Some(read) = flat(&text) {
                prop_assert_eq!(Some(read), whole(&text), "{}", text);
            }
        }
    }
}
