//! The known name a person most likely meant.

/// The name of `known` most like `found`, if any is alike. Case, `_` and `-` do not count as differences, and a path
/// is also compared by its last part: `intervalMs` is meant for `heartbeat.intervalMs`.
pub(super) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = plain(found);
    let (distance, name) = known
        .into_iter()
        .map(|name| {
            let candidate = plain(name);
            let whole = distance(&found, &candidate);
            // A name in the wrong group is one more mistake than a misspelt name in the right one.
            let last = 1 + distance(last_part(&found), last_part(&candidate));
            (whole.min(last), name)
        })
        .min_by_key(|(distance, _)| *distance)?;
    // A third of the letters may differ; beyond that the suggestion would be a guess.
    (distance <= (found.len() / 3).max(1)).then_some(name)
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
        for (a, b, expected) in
            [("", "", 0), ("port", "port", 0), ("prot", "port", 1), ("por", "port", 1), ("kitten", "sitting", 3)]
        {
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
