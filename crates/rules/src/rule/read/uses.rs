//! Which variables and lookups a rule speaks of, and which it has.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Reader;
use crate::condition::{Operand, Reference, Template, references, references_of_text};

/// What was seen while a rule was read.
#[derive(Default)]
pub(super) struct Uses {
    /// Variables that are spoken of, each with the place.
    variables: Vec<(String, Arc<str>)>,
    /// Lookups that are spoken of.
    lookups: Vec<(String, Arc<str>)>,
    /// Variables that an action sets.
    set: BTreeSet<Arc<str>>,
    /// Variables that the trigger sets.
    pub(super) aliases: Vec<(String, Arc<str>)>,
    /// Lookups that there are.
    pub(super) asked: BTreeSet<Arc<str>>,
}

impl Uses {
    pub(super) fn of_value(&mut self, at: &str, operand: &Operand) {
        references(operand, &mut |reference| self.of(at, reference));
    }

    pub(super) fn of_text(&mut self, at: &str, template: &Template) {
        references_of_text(template, &mut |reference| self.of(at, reference));
    }

    fn of(&mut self, at: &str, reference: &Reference) {
        match reference {
            Reference::Variable(path) => self.variable(at, path.segments.first()),
            Reference::Lookup(name, _) => self.lookup(at, name),
            _ => {}
        }
    }

    pub(super) fn variable(&mut self, at: &str, name: Option<&Arc<str>>) {
        self.variables.extend(name.map(|name| (at.to_owned(), Arc::clone(name))));
    }

    pub(super) fn lookup(&mut self, at: &str, name: &Arc<str>) {
        self.lookups.push((at.to_owned(), Arc::clone(name)));
    }

    pub(super) fn sets(&mut self, name: &Arc<str>) {
        self.set.insert(Arc::clone(name));
    }
}

impl Reader<'_> {
    /// Warns of names that lead nowhere, and of those that nobody asks for.
    pub(super) fn uses_are_defined(&mut self) {
        let Uses { variables, lookups, set, aliases, asked } = std::mem::take(&mut self.uses);
        for (at, name) in &variables {
            if !set.contains(name) && aliases.iter().all(|(_, alias)| alias != name) {
                let message = format!("Nothing sets the variable \"{name}\"");
                self.warning(at.as_str(), "unknown_variable", message);
            }
        }
        for (at, name) in &lookups {
            if !asked.contains(name) {
                let message = format!("There is no lookup \"{name}\" in \"lookups\"");
                self.warning(at.as_str(), "unknown_lookup", message);
            }
        }
        for (_, alias) in &aliases {
            if variables.iter().all(|(_, name)| name != alias) {
                let message = format!("Alias \"{alias}\" is defined but never used");
                self.warning("trigger", "unused_alias", message);
            }
        }
    }

    /// The name of a variable or lookup, such that a reference can reach it.
    pub(super) fn identifier(&mut self, at: &str, name: &str) -> Option<Arc<str>> {
        let odd = |c: char| c.is_whitespace() || matches!(c, '.' | '$' | '{' | '}');
        if name.is_empty() || name.contains(odd) {
            let message = "A name has no spaces, dots, $ or braces, so that references can reach it";
            return self.none(at, "invalid_name", message);
        }
        self.short_text(at, name)
    }
}
