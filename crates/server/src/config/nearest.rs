//! The known name a person most likely meant.

use super::limits::MAX_COMPARED_CHARS;

/// The name of `known` most like `found`, if any is alike. Case, `_` and `-` do not count as differences, and a path
/// is also compared by its last part: `intervalMs` is meant for `heartbeat.intervalMs`.
pub(super) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = plain(found);
    if found.len() > MAX_COMPARED_CHARS {
        return None;
    }
    let last = last_part(&found);
    known
        .into_iter()
        .filter_map(|name| {
            let candidate = plain(name);
            let whole = alike(&found, &candidate);
            // A name in the wrong group is one more mistake than a misspelt name in the right one.
            let below = alike(last, last_part(&candidate)).map(|edits| edits + 1);
            Some((whole.into_iter().chain(below).min()?, name))
        })
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// The edits between two names, if they are few: a third of the letters may differ, beyond that it would be a guess.
fn alike(found: &[char], candidate: &[char]) -> Option<usize> {
    let edits = distance(found, candidate);
    (edits <= (found.len() / 3).max(1)).then_some(edits)
}

fn plain(name: &str) -> Vec<char> {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

fn last_part(name: &[char]) -> &[char] {
    name.rsplit(|c| *c == '.').next().unwrap_or(name)
}

/// Edit distance that counts a swap of neighbours as one edit, as people make them (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("port", "port", 0),
            ("prot", "port", 1),
            ("por", "port", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(&plain(a), &plain(b)), expected, "{a} {b}");
        }
    }

    #[test]
    fn only_alike_names_are_suggested() {
        let known = ["port", "host", "heartbeat.intervalMs", "maxPayloadBytes"];
        assert_eq!(nearest("prot", known), Some("port"));
        assert_eq!(nearest("max_payload_bytes", known), Some("maxPayloadBytes"));
        assert_eq!(nearest("intervalMs", known), Some("heartbeat.intervalMs"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("x", []), None);
    }
}
