//! From the source of a JavaScript regular expression to the syntax of the linear-time matcher. Nothing of the source
//! reaches the translation unread: every character is either syntax that both know, or escaped.

use std::fmt::Write;

use super::class::{class, set};
use crate::limits::MAX_PATTERN_DEPTH;

/// The source, and how far it is read.
pub(super) struct Source {
    chars: Vec<char>,
    at: usize,
}

impl Source {
    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.chars.get(self.at).copied();
        self.at += usize::from(next.is_some());
        next
    }

    pub(super) fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    /// Reads `text` if it comes next.
    pub(super) fn take(&mut self, text: &str) -> bool {
        let comes = text.chars().enumerate().all(|(i, c)| self.peek(i) == Some(c));
        if comes {
            self.at += text.chars().count();
        }
        comes
    }

    /// Reads exactly `count` hexadecimal digits.
    pub(super) fn hex(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for i in 0..count {
            value = value * 16 + self.peek(i)?.to_digit(16)?;
        }
        self.at += count;
        Some(value)
    }

    /// Reads the rest of an octal escape whose first digit is `first`: at most 0o377.
    pub(super) fn octal(&mut self, first: u32) -> u32 {
        let mut value = first;
        while let Some(digit) = self.peek(0).and_then(|c| c.to_digit(8)) {
            if value * 8 + digit > 0o377 {
                break;
            }
            value = value * 8 + digit;
            self.at += 1;
        }
        value
    }

    /// Reads a decimal number, held to what 32 bits can say; `None` if there is no digit.
    fn decimal(&mut self) -> Option<u32> {
        let mut value: Option<u32> = None;
        while let Some(digit) = self.peek(0).and_then(|c| c.to_digit(10)) {
            value = Some(value.unwrap_or(0).saturating_mul(10).saturating_add(digit));
            self.at += 1;
        }
        value
    }

    /// Reads `{n}`, `{n,}` or `{n,m}`, behind the brace: the smallest and the largest number, if there is one. Nothing if
    /// it is none of these.
    fn counts(&mut self) -> Option<(u32, Option<u32>)> {
        let start = self.at;
        let counts = self.decimal().map(|min| (min, if self.take(",") { self.decimal() } else { Some(min) }));
        if counts.is_none() || !self.take("}") {
            self.at = start;
            return None;
        }
        counts
    }
}

/// What must be known of the whole source before it is translated.
struct Groups {
    capturing: u32,
    named: bool,
}

/// Translates a whole source.
pub(super) fn translate(source: &str) -> Result<String, String> {
    let mut source = Source { chars: source.chars().collect(), at: 0 };
    let groups = groups(&source.chars);
    let mut out = String::with_capacity(2 * source.chars.len());
    let mut depth = 0;
    // Whether a quantifier may follow.
    let mut repeatable = false;
    while let Some(c) = source.next() {
        let can_repeat = match c {
            '^' => push(&mut out, r"\A", false),
            '$' => push(&mut out, r"\z", false),
            '|' => push(&mut out, "|", false),
            '.' => push(&mut out, r"[^\n\r\x{2028}\x{2029}]", true),
            '(' => {
                group(&mut source)?;
                depth += 1;
                if depth > MAX_PATTERN_DEPTH {
                    return Err(format!("Groups are nested deeper than {MAX_PATTERN_DEPTH} levels"));
                }
                push(&mut out, "(?:", false)
            }
            ')' if depth == 0 => {
                return Err("A \")\" closes no group; write \"\\)\" for the character".into());
            }
            ')' => {
                depth -= 1;
                push(&mut out, ")", true)
            }
            '*' | '+' | '?' | '{' => match quantifier(&mut source, c)? {
                Some(_) if !repeatable => {
                    return Err(format!(
                        "There is nothing that \"{c}\" repeats; write \"\\{c}\" for the character"
                    ));
                }
                Some(quantifier) => push(&mut out, &quantifier, false),
                None => literal(&mut out, '{'),
            },
            '[' => {
                class(&mut source, &mut out)?;
                true
            }
            '\\' => escape(&mut source, &groups, &mut out)?,
            other => literal(&mut out, other),
        };
        repeatable = can_repeat;
    }
    if depth > 0 {
        return Err("A \"(\" is never closed; write \"\\(\" for the character".into());
    }
    Ok(out)
}

fn push(out: &mut String, text: &str, repeatable: bool) -> bool {
    out.push_str(text);
    repeatable
}

/// Writes a character that stands for itself, outside and inside classes.
pub(super) fn literal(out: &mut String, c: char) -> bool {
    if c.is_ascii_alphanumeric() {
        out.push(c);
    } else {
        // Writing into a string cannot fail.
        let _ = write!(out, r"\x{{{:x}}}", u32::from(c));
    }
    true
}

/// Reads what follows the parenthesis of a group. Nobody asks for what a group has matched, so all are plain.
fn group(source: &mut Source) -> Result<(), String> {
    if !source.take("?") || source.take(":") {
        return Ok(());
    }
    if ["=", "!", "<=", "<!"].into_iter().any(|kind| source.take(kind)) {
        return Err(
            "Lookahead and lookbehind cannot be matched in linear time; write the pattern without them, or \
                    check this in a validator"
                .into(),
        );
    }
    if !source.take("<") {
        return Err(
            "\"(?\" begins no group of JavaScript's; write \"(?:\" for a group, \"\\?\" for the character"
                .into(),
        );
    }
    let mut length = 0;
    loop {
        match source.next() {
            Some('>') if length > 0 => return Ok(()),
            Some(c) if c == '_' || c == '$' || c.is_alphabetic() || (length > 0 && c.is_alphanumeric()) => {
                length += 1;
            }
            _ => {
                return Err(
                    "The name of a group \"(?<name>\" consists of letters, digits, \"_\" and \"$\"".into()
                );
            }
        }
    }
}

/// Reads a quantifier whose first character is `first`; `None` if it is a brace that stands for itself.
fn quantifier(source: &mut Source, first: char) -> Result<Option<String>, String> {
    let mut text = String::from(first);
    if first == '{' {
        let Some((min, max)) = source.counts() else { return Ok(None) };
        text = match max {
            None => format!("{{{min},}}"),
            Some(max) if max < min => return Err(format!("{{{min},{max}}} has its numbers out of order")),
            Some(max) => format!("{{{min},{max}}}"),
        };
    }
    // A lazy quantifier finds something exactly where its greedy one does.
    source.take("?");
    Ok(Some(text))
}

/// Reads an escape outside classes, behind its backslash; whether a quantifier may follow.
fn escape(source: &mut Source, groups: &Groups, out: &mut String) -> Result<bool, String> {
    let Some(c) = source.peek(0) else {
        return Err("A backslash at the end escapes nothing; write \"\\\\\" for the character".into());
    };
    if let Some(set) = set(c) {
        source.next();
        return Ok(push(out, &format!("[{set}]"), true));
    }
    match c {
        'b' | 'B' => {
            source.next();
            return Ok(push(out, if c == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" }, false));
        }
        'k' if groups.named => return Err(backreference()),
        '1'..='9' => {
            let start = source.at;
            if source.decimal().is_some_and(|number| number <= groups.capturing) {
                return Err(backreference());
            }
            source.at = start;
        }
        _ => {}
    }
    let unit = character(source)?;
    match char::from_u32(unit) {
        Some(c) => Ok(literal(out, c)),
        None => Err(half(unit)),
    }
}

/// Reads an escape that stands for one character, behind its backslash: its code point, or half of a surrogate pair.
pub(super) fn character(source: &mut Source) -> Result<u32, String> {
    let Some(c) = source.next() else {
        return Err("A backslash at the end escapes nothing; write \"\\\\\" for the character".into());
    };
    Ok(match c {
        't' => 0x09,
        'n' => 0x0A,
        'v' => 0x0B,
        'f' => 0x0C,
        'r' => 0x0D,
        '0'..='7' => source.octal(c.to_digit(8).unwrap_or(0)),
        'x' => source.hex(2).unwrap_or(u32::from('x')),
        'u' => match source.hex(4) {
            None => u32::from('u'),
            Some(unit) => whole(source, unit),
        },
        'c' => match source.peek(0) {
            Some(letter) if letter.is_ascii_alphabetic() => {
                source.next();
                u32::from(letter) % 32
            }
            // Then the backslash stands for itself, and so does the letter behind it.
            _ => {
                source.at -= 1;
                u32::from('\\')
            }
        },
        'p' | 'P' if source.peek(0) == Some('{') => {
            return Err(format!(
                "\"\\{c}{{…}}\" needs JavaScript's flag u, which patterns do not have; list the characters in a class"
            ));
        }
        other => u32::from(other),
    })
}

/// A code unit, joined with its other half if that comes next.
fn whole(source: &mut Source, unit: u32) -> u32 {
    let start = source.at;
    if (0xD800..0xDC00).contains(&unit)
        && source.take(r"\u")
        && let Some(low) = source.hex(4).filter(|low| (0xDC00..0xE000).contains(low))
    {
        return 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    }
    source.at = start;
    unit
}

pub(super) fn half(unit: u32) -> String {
    format!("\\u{unit:04X} is half of a character beyond U+FFFF; write the whole character")
}

fn backreference() -> String {
    "Backreferences cannot be matched in linear time; write the pattern without them, or check this in a validator".into()
}

/// Counts the groups, as a number behind a backslash means a group only if there are so many.
fn groups(chars: &[char]) -> Groups {
    let mut groups = Groups { capturing: 0, named: false };
    let mut in_class = false;
    let mut i = 0;
    while let Some(c) = chars.get(i) {
        match c {
            '\\' => i += 1,
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => {
                let named = chars.get(i + 1..i + 3) == Some(&['?', '<'])
                    && !matches!(chars.get(i + 3), Some('=' | '!'));
                groups.named |= named;
                groups.capturing += u32::from(named || chars.get(i + 1) != Some(&'?'));
            }
            _ => {}
        }
        i += 1;
    }
    groups
}
