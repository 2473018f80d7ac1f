//! What an operation counts.

use std::collections::BTreeMap;

use dunlin_protocol::Kind;

/// The weight of each kind of operation, by its index; `None` if all are 1.
pub(super) struct Weights(Option<Box<[u32]>>);

impl Weights {
    /// From names (`store.all`) and beginnings of names (`store.*`). The longest that fits decides.
    pub(super) fn new(configured: &BTreeMap<String, u32>) -> Self {
        if configured.is_empty() {
            return Self(None);
        }
        let weight = |kind: &Kind| {
            let fitting = configured.iter().filter(|(pattern, _)| fits(pattern, kind.as_str()));
            fitting.max_by_key(|(pattern, _)| (!pattern.ends_with('*'), pattern.len())).map_or(1, |(_, w)| *w)
        };
        Self(Some(Kind::ALL.iter().map(weight).collect()))
    }

    /// A frame that is no request, and an operation that there is not, count 1.
    pub(super) fn of(&self, kind: Option<Kind>) -> u32 {
        let Some(weights) = &self.0 else { return 1 };
        kind.and_then(|kind| weights.get(kind.index()).copied()).unwrap_or(1)
    }
}

/// Whether a name, or a beginning that a `*` ends, is that of an operation.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(configured: &[(&str, u32)]) -> Weights {
        Weights::new(&configured.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect())
    }

    #[test]
    fn the_longest_pattern_decides_and_a_name_before_all() {
        let weights =
            weights(&[("*", 9), ("store.*", 2), ("store.all", 5), ("store.all*", 7), ("store.in*", 3)]);
        let expected =
            [("store.all", 5), ("store.get", 2), ("store.insertMany", 3), ("hello", 9), ("auth.login", 9)];
        for (kind, weight) in expected {
            assert_eq!(weights.of(Kind::named(kind)), weight, "{kind}");
        }
        assert_eq!((weights.of(Kind::named("store.fly")), weights.of(None)), (1, 1));
    }

    #[test]
    fn without_weights_all_count_one() {
        assert_eq!(weights(&[]).of(Some(Kind::All)), 1);
    }
}
