//! Classes: `[a-z]`, `\d`. Inside one of JavaScript's, `[`, `&`, `~` and `-` at an end stand for themselves.

use super::translate::{Source, character, half, literal};

/// White space as JavaScript has it.
const SPACE: &str =
    r"\t\n\x0B\f\r \xA0\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}\x{FEFF}";

/// The characters of `\d`, `\w`, `\s` and their opposites, to be put into a class.
pub(super) fn set(letter: char) -> Option<String> {
    let positive = match letter.to_ascii_lowercase() {
        'd' => "0-9",
        'w' => "0-9A-Za-z_",
        's' => SPACE,
        _ => return None,
    };
    Some(if letter.is_ascii_lowercase() { positive.to_owned() } else { format!("[^{positive}]") })
}

/// What stands in a class.
enum Atom {
    Set(String),
    /// A code point, or half of a surrogate pair.
    Unit(u32),
}

/// Reads a class behind its bracket and writes it.
pub(super) fn class(source: &mut Source, out: &mut String) -> Result<(), String> {
    let negated = source.take("^");
    let mut members = String::new();
    loop {
        if source.take("]") {
            break;
        }
        let first = atom(source)?;
        let is_range = source.peek(0) == Some('-') && source.peek(1).is_some_and(|c| c != ']');
        if !is_range {
            add(&mut members, &first)?;
            continue;
        }
        source.next();
        let last = atom(source)?;
        if let (Atom::Unit(first), Atom::Unit(last)) = (&first, &last) {
            range(&mut members, *first, *last)?;
        } else {
            // With a set at one of its ends it is no range, and the hyphen stands for itself.
            add(&mut members, &first)?;
            literal(&mut members, '-');
            add(&mut members, &last)?;
        }
    }
    out.push_str(match (negated, members.is_empty()) {
        // The matcher knows no empty class: nothing, and anything.
        (false, true) => r"[^\x{0}-\x{10FFFF}",
        (true, true) => r"[\x{0}-\x{10FFFF}",
        (false, false) => "[",
        (true, false) => "[^",
    });
    out.push_str(&members);
    out.push(']');
    Ok(())
}

fn atom(source: &mut Source) -> Result<Atom, String> {
    match source.next() {
        None => Err("A \"[\" is never closed; write \"\\[\" for the character".into()),
        Some('\\') => {
            let Some(c) = source.peek(0) else {
                return Err("A \"[\" is never closed; write \"\\[\" for the character".into());
            };
            if let Some(set) = set(c) {
                source.next();
                return Ok(Atom::Set(set));
            }
            if source.take("b") {
                return Ok(Atom::Unit(0x08));
            }
            if c == 'c'
                && let Some(control) = source.peek(1).filter(|c| c.is_ascii_digit() || *c == '_')
            {
                source.next();
                source.next();
                return Ok(Atom::Unit(u32::from(control) % 32));
            }
            character(source).map(Atom::Unit)
        }
        Some(c) => Ok(Atom::Unit(u32::from(c))),
    }
}

fn add(members: &mut String, atom: &Atom) -> Result<(), String> {
    match atom {
        Atom::Set(set) => members.push_str(set),
        Atom::Unit(unit) => match char::from_u32(*unit) {
            Some(c) => drop(literal(members, c)),
            None => return Err(half(*unit)),
        },
    }
    Ok(())
}

/// A range. One over all halves of surrogate pairs is, in JavaScript, one over all characters that have such halves.
fn range(members: &mut String, first: u32, last: u32) -> Result<(), String> {
    let (halves, beyond) = (0xD800..=0xDFFF, (0x1_0000, 0x10_FFFF));
    if first > last {
        return Err("A range in a class has its ends out of order".into());
    }
    let parts = if first <= *halves.start() && last >= *halves.end() {
        let upper = if last < beyond.0 { Some(beyond) } else { None };
        [(first, 0xD7FF), (0xE000, last)].into_iter().chain(upper).collect()
    } else {
        vec![(first, last)]
    };
    for (first, last) in parts.into_iter().filter(|(first, last)| first <= last) {
        add(members, &Atom::Unit(first))?;
        members.push('-');
        add(members, &Atom::Unit(last))?;
    }
    Ok(())
}
