//! The policy: what the roles of sessions mean. Data, replaced as a whole; it decides for every session that no permission
//! callback has decided for.

mod faults;
mod grants;
mod roles;
mod rules;
mod topics;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use dunlin_protocol::Tier;
use dunlin_store::{Guard, RowRule as BoundRule, RuleTemplate};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) use faults::{PolicyFault, of_roles, of_rules};
pub(crate) use grants::{Grants, Visible, refusal};
pub use rules::{DefaultRule, Exception, OneOrMany, PermissionRules, RowRule, Rule};

use super::Session;
use crate::limits;
use roles::Hierarchy;

/// What the roles of sessions mean: which operations on which buckets, which records, which members.
///
/// ```
/// use dunlin_server::Policy;
/// use serde_json::json;
///
/// let policy = Policy::parse(&json!({
///     "roles": {"editor": ["writer"]},
///     "default": "deny",
///     "rules": [
///         {"role": "editor", "allow": "store.*", "buckets": ["posts"]},
///         {"role": "customer", "allow": ["store.get", "store.where", "store.subscribe"], "buckets": ["orders"]},
///     ],
///     "rows": [
///         {"role": "customer", "bucket": "orders", "read": {"ownerId": "{{ session.userId }}"}, "hide": ["cost"]},
///     ],
/// }))?;
/// # let _ = policy;
/// let error = Policy::parse(&json!({"rules": [{"role": "editor", "allow": "store.fly"}]})).unwrap_err();
/// assert_eq!(error.to_string(), "rules[0].allow: expected operations that there are, not \"store.fly\"");
/// # Ok::<(), dunlin_server::PolicyError>(())
/// ```
#[derive(Debug, Default)]
pub struct Policy {
    roles: Hierarchy,
    rules: PermissionRules,
    /// What `rules.rows` says, ready to be bound to a session.
    rows: Vec<(String, RuleTemplate)>,
    /// By roles. Sessions have few different sets of them.
    known: Mutex<HashMap<Vec<String>, Arc<Grants>>>,
}

/// Why a policy is none: every fault, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError(Vec<PolicyFault>);

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, PolicyFault { at, expected }) in self.0.iter().enumerate() {
            let place = at.trim_start_matches('.');
            let place = if place.is_empty() { "policy" } else { place };
            write!(f, "{}{place}: expected {expected}", if i > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}

impl PolicyError {
    fn at(place: &str, error: &impl fmt::Display) -> Self {
        Self(vec![PolicyFault { at: place.to_owned(), expected: format!("something else: {error}") }])
    }

    /// The stable code for programs.
    pub fn code(&self) -> &'static str {
        "POLICY"
    }
}

impl Policy {
    /// Reads a policy: an object with the members of `auth.permissions` and, beside them, `roles` as in `auth.roles`.
    ///
    /// # Errors
    /// Every fault with its place, if there are any.
    pub fn parse(value: &Value) -> Result<Self, PolicyError> {
        let mut permissions = value.clone();
        let hierarchy = permissions.as_object_mut().and_then(|members| members.shift_remove("roles"));
        let mut faults = of_rules(&permissions);
        let in_roles = hierarchy.iter().flat_map(of_roles);
        faults.extend(in_roles.map(|fault| PolicyFault { at: format!(".roles{}", fault.at), ..fault }));
        if !faults.is_empty() {
            return Err(PolicyError(faults));
        }
        let hierarchy = hierarchy.map_or_else(|| Ok(BTreeMap::new()), BTreeMap::deserialize);
        let hierarchy = hierarchy.map_err(|error| PolicyError::at("", &error))?;
        let permissions =
            PermissionRules::deserialize(permissions).map_err(|error| PolicyError::at("", &error))?;
        Self::new(hierarchy, permissions)
    }

    /// A policy of what is read already.
    pub(crate) fn new(
        hierarchy: BTreeMap<String, Vec<String>>,
        permissions: PermissionRules,
    ) -> Result<Self, PolicyError> {
        let template = |(i, row): (usize, &RowRule)| match RuleTemplate::parse(&row.rule) {
            Ok(template) => Ok((row.role.clone(), template)),
            Err(error) => Err(PolicyError::at(&format!(".rows[{i}]"), &error)),
        };
        let rows = permissions.rows.iter().enumerate().map(template).collect::<Result<_, _>>()?;
        Ok(Self { roles: Hierarchy::new(hierarchy), rules: permissions, rows, known: Mutex::default() })
    }

    /// What these roles are granted.
    pub(crate) fn grants(&self, roles: &[String]) -> Arc<Grants> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(grants) = known.get(roles) {
            return Arc::clone(grants);
        }
        let grants = Arc::new(Grants::new(self, roles));
        // Roles come from tokens, so there could be any number of sets.
        if known.len() >= limits::KNOWN_ROLE_SETS {
            known.clear();
        }
        known.insert(roles.to_vec(), Arc::clone(&grants));
        grants
    }

    /// These roles and all that they include.
    pub(crate) fn closure<'a>(&'a self, roles: &'a [String]) -> BTreeSet<&'a str> {
        self.roles.closure(roles.iter().map(String::as_str))
    }

    /// The highest tier that any of these roles reaches, through what it includes too.
    pub(crate) fn reached(&self, roles: &[String]) -> Option<Tier> {
        Tier::reached(self.roles.closure(roles.iter().map(String::as_str)))
    }

    /// What row and field rules leave a session that has these roles. Whoever is not logged in has no user id that a rule could
    /// ask for.
    pub(crate) fn guard(&self, session: &Session, roles: &[String], logged_in: bool) -> Guard {
        if self.rows.is_empty() {
            return Guard::default();
        }
        let all = self.roles.closure(roles.iter().map(String::as_str));
        let user_id = logged_in.then_some(&session.user_id);
        let facts = json!({"userId": user_id, "roles": session.roles, "metadata": session.metadata});
        let mut by_bucket: BTreeMap<&Arc<str>, Vec<BoundRule>> = BTreeMap::new();
        for (role, template) in &self.rows {
            if role == "*" || all.contains(role.as_str()) {
                by_bucket.entry(template.bucket()).or_default().push(template.bind(&facts));
            }
        }
        Guard::new(by_bucket.into_iter().map(|(bucket, rules)| (Arc::clone(bucket), BoundRule::any(&rules))))
    }
}
