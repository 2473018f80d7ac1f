//! What a policy gives to one set of roles: worked out once, looked up for every request.

use std::collections::HashSet;
use std::sync::Arc;

use dunlin_protocol::{Code, Error, Kind, Resource, Tier};

use super::Policy;
use super::rules::{DefaultRule, Exception, Rule};
use super::topics::{ANY, Topic, Topics};
use crate::limiter::fits;

/// See the module.
#[derive(Debug)]
pub(crate) struct Grants {
    by_kind: Box<[Grant]>,
    /// Exceptions that concern these roles, in order.
    exceptions: Vec<Exception>,
}

/// What is granted for one kind of operation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Grant {
    /// Everything.
    All,
    /// What touches nothing but these buckets.
    Buckets(Arc<HashSet<String>>),
    /// What touches nothing but these topics, keys of facts and rules.
    Topics(Arc<Topics>),
    /// Nothing.
    Nothing,
    /// Nothing, because the roles do not reach its tier.
    BelowTier(Tier),
}

/// The buckets that a session may do anything with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Visible {
    /// All of them.
    All,
    /// These.
    Only(HashSet<String>),
}

impl Visible {
    pub(crate) fn contains(&self, bucket: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(buckets) => buckets.contains(bucket),
        }
    }
}

impl Grants {
    pub(super) fn new(policy: &Policy, of: &[String]) -> Self {
        let all = policy.roles.closure(of.iter().map(String::as_str));
        let reached = Tier::reached(all.iter().copied());
        let rules: Vec<&Rule> =
            policy.rules.rules.iter().filter(|rule| all.contains(rule.role.as_str())).collect();
        let grant = |kind: &Kind| match kind.tier() {
            None => Grant::All,
            // Roles that are none of the built-in ones are held to no tier, and get nothing without a rule.
            Some(tier) if reached.is_some() && reached < Some(tier) => Grant::BelowTier(tier),
            Some(_) => by_rules(&rules, *kind).unwrap_or(match policy.rules.default {
                DefaultRule::Allow if reached.is_some() => Grant::All,
                _ => Grant::Nothing,
            }),
        };
        let by_default = policy.rules.default == DefaultRule::Allow && reached.is_some();
        let by_kind = Kind::ALL.iter().map(grant).map(|grant| match grant {
            // What the default allows everywhere no rule can narrow.
            Grant::Buckets(_) | Grant::Topics(_) if by_default => Grant::All,
            grant => grant,
        });
        let concerns =
            |exception: &&Exception| exception.role.as_deref().is_none_or(|role| all.contains(role));
        Self {
            by_kind: by_kind.collect(),
            exceptions: policy.rules.check.iter().filter(concerns).cloned().collect(),
        }
    }

    /// Whether an operation may touch anything it likes.
    pub(crate) fn allows_all(&self, kind: Kind) -> bool {
        self.exceptions.is_empty() && self.by_kind.get(kind.index()) == Some(&Grant::All)
    }

    /// Whether an operation may touch nothing at all.
    pub(crate) fn allows_nothing(&self, kind: Kind) -> bool {
        match self.by_kind.get(kind.index()) {
            // No exception allows what lies above the tier.
            None | Some(Grant::BelowTier(_)) => true,
            Some(Grant::Nothing) => self.exceptions.is_empty(),
            Some(Grant::All | Grant::Buckets(_) | Grant::Topics(_)) => false,
        }
    }

    /// Whether an operation may touch these resources.
    pub(crate) fn decide(&self, user: &str, kind: Kind, resources: &[Resource<'_>]) -> Result<(), Error> {
        let Some(grant) = self.by_kind.get(kind.index()) else { return Err(refusal(kind, resources)) };
        if let Grant::BelowTier(tier) = grant {
            let message =
                format!("Role level insufficient for {} (requires {})", kind.as_str(), tier.as_str());
            return Err(Error::new(Code::Forbidden, message));
        }
        if kind.tier().is_none() || resources == [Resource::Own] {
            return Ok(());
        }
        let exception = self.exceptions.iter().find(|exception| applies(exception, user, kind, resources));
        let allowed = match exception.and_then(|exception| exception.result) {
            Some(result) => result,
            None => match grant {
                Grant::All => true,
                Grant::Buckets(buckets) => within(buckets, kind, resources),
                Grant::Topics(topics) => resources.iter().all(|resource| topics.cover(resource)),
                Grant::Nothing | Grant::BelowTier(_) => false,
            },
        };
        if allowed { Ok(()) } else { Err(refusal(kind, resources)) }
    }

    /// The buckets on which anything is granted. What exceptions allow or deny by bucket counts too.
    pub(crate) fn visible<'b>(&self, user: &str, buckets: impl Iterator<Item = &'b str>) -> Visible {
        let of_buckets = || Kind::ALL.iter().filter(|kind| is_of_buckets(**kind));
        if self.exceptions.is_empty() {
            if of_buckets().any(|kind| self.by_kind.get(kind.index()) == Some(&Grant::All)) {
                return Visible::All;
            }
            let granted = of_buckets().filter_map(|kind| match self.by_kind.get(kind.index())? {
                Grant::Buckets(buckets) => Some(buckets.iter().cloned()),
                _ => None,
            });
            return Visible::Only(granted.flatten().collect());
        }
        let any = |bucket: &&str| {
            let resource = [Resource::Bucket((*bucket).into())];
            of_buckets().any(|kind| self.decide(user, *kind, &resource).is_ok())
        };
        Visible::Only(buckets.filter(any).map(str::to_owned).collect())
    }
}

/// Whether an operation is one on the records or the definition of a bucket.
fn is_of_buckets(kind: Kind) -> bool {
    let elsewhere = [
        Kind::Unsubscribe,
        Kind::Buckets,
        Kind::StoreStats,
        Kind::ListQueries,
        Kind::UndefineQuery,
        Kind::ServerStats,
        Kind::ServerConnections,
        Kind::Backup,
        Kind::RevokeSessions,
    ];
    kind.tier().is_some() && !kind.is_of_rules() && !elsewhere.contains(&kind)
}

/// What rules grant for a kind; `None` if none of them is about it.
fn by_rules(rules: &[&Rule], kind: Kind) -> Option<Grant> {
    let mut granted = rules
        .iter()
        .filter(|rule| rule.allow.as_slice().iter().any(|allow| fits(allow, kind.as_str())))
        .peekable();
    granted.peek()?;
    if kind.is_of_rules() {
        return Some(by_topics(granted));
    }
    let mut buckets = HashSet::new();
    for rule in granted {
        match &rule.buckets {
            None => return Some(Grant::All),
            Some(some) => buckets.extend(some.iter().cloned()),
        }
    }
    Some(Grant::Buckets(Arc::new(buckets)))
}

/// What rules grant for an operation on events, facts or rules. Of the two restrictions only `topics` is about these: one to some
/// buckets alone grants nothing here.
fn by_topics<'r>(granted: impl Iterator<Item = &'r &'r Rule>) -> Grant {
    let mut topics = Topics::default();
    for rule in granted {
        match (&rule.topics, &rule.buckets) {
            (None, None) => return Grant::All,
            (None, Some(_)) => {}
            (Some(some), _) => topics.0.extend(some.iter().map(|one| Topic::new(one))),
        }
    }
    if topics.0.is_empty() { Grant::Nothing } else { Grant::Topics(Arc::new(topics)) }
}

/// Whether a grant for some buckets is enough.
fn within(buckets: &HashSet<String>, kind: Kind, resources: &[Resource<'_>]) -> bool {
    let mut some_bucket = false;
    for resource in resources {
        match resource {
            Resource::Bucket(name) if buckets.contains(&**name) => some_bucket = true,
            // A name alone says nothing: the right to a query is the right to what it reads.
            Resource::Query(_) => {}
            // Only what may be seen is shown by these.
            Resource::Server if matches!(kind, Kind::Buckets | Kind::StoreStats) => return true,
            Resource::Own => return true,
            _ => return false,
        }
    }
    some_bucket
}

/// Whether an exception is about this.
fn applies(exception: &Exception, user: &str, kind: Kind, resources: &[Resource<'_>]) -> bool {
    let Exception { user_id, operation, resource, result, .. } = exception;
    if user_id.as_deref().is_some_and(|id| id != user)
        || operation.as_deref().is_some_and(|name| name != kind.as_str())
    {
        return false;
    }
    let Some(wanted) = resource else { return true };
    let mut named = resources.iter().map(|resource| is_named(resource, wanted));
    if *result == Some(false) { named.any(|is| is) } else { named.all(|is| is) }
}

/// A resource as exceptions and messages name it.
fn name<'a>(resource: &'a Resource<'_>) -> &'a str {
    match resource {
        Resource::Bucket(name)
        | Resource::Query(name)
        | Resource::Topic(name)
        | Resource::Key(name)
        | Resource::TopicPattern(name)
        | Resource::KeyPattern(name)
        | Resource::Rule(name) => name,
        _ => "*",
    }
}

/// Whether an exception for `wanted` is about this. Rules have no name in protocol 1.0.0: there they are `*`, and here too.
fn is_named(resource: &Resource<'_>, wanted: &str) -> bool {
    name(resource) == wanted || (wanted == ANY && matches!(resource, Resource::Rule(_)))
}

/// The refusal that a client sees.
pub(crate) fn refusal(kind: Kind, resources: &[Resource<'_>]) -> Error {
    let resources: Vec<&str> = resources.iter().map(name).collect();
    Error::new(Code::Forbidden, format!("No permission for {} on {}", kind.as_str(), resources.join(", ")))
}
