//! Roles that include others.

use std::collections::{BTreeMap, BTreeSet};

/// Which roles each role includes, directly.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hierarchy(BTreeMap<String, Vec<String>>);

impl Hierarchy {
    pub(crate) fn new(roles: BTreeMap<String, Vec<String>>) -> Self {
        Self(roles)
    }

    /// These roles and all that they include.
    pub(crate) fn closure<'a>(&'a self, roles: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut all = BTreeSet::new();
        let mut open: Vec<&str> = roles.into_iter().collect();
        while let Some(role) = open.pop() {
            if all.insert(role) {
                open.extend(self.0.get(role).into_iter().flatten().map(String::as_str));
            }
        }
        all
    }

    /// A role that includes itself, through others or directly.
    pub(crate) fn circle(&self) -> Option<&str> {
        let includes_itself = |role: &&String| {
            let below = self.0.get(*role).into_iter().flatten().map(String::as_str);
            self.closure(below).contains(role.as_str())
        };
        self.0.keys().find(includes_itself).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(roles: &[(&str, &[&str])]) -> Hierarchy {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Hierarchy(roles.iter().map(|(role, included)| ((*role).to_owned(), list(included))).collect())
    }

    #[test]
    fn roles_include_others_at_any_depth() {
        let roles = hierarchy(&[("lead", &["editor"]), ("editor", &["writer", "author"])]);
        let all = roles.closure(["lead"]);
        assert_eq!(all.iter().copied().collect::<Vec<_>>(), ["author", "editor", "lead", "writer"]);
    }

    #[test]
    fn circles_are_found_and_followed_once() {
        let roles = hierarchy(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]);
        assert_eq!(roles.circle(), Some("b"));
        assert_eq!(roles.closure(["a"]).len(), 3);
        assert_eq!(hierarchy(&[("a", &["b"]), ("b", &[])]).circle(), None);
    }
}
