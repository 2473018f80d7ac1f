//! Who may do what, read off `docs/access.md`: the policy is looked through from its beginning for every question.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::filter;

/// Somebody, as the model knows him. Whoever is not logged in has no user id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Session {
    pub(crate) user: Option<String>,
    pub(crate) roles: Vec<String>,
    pub(crate) metadata: Value,
    /// What it also has if it has none of the built-in roles.
    pub(crate) otherwise: Option<String>,
}

/// What an operation touches.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Touched {
    Bucket(String),
    Query(String),
    Server,
}

impl Touched {
    fn name(&self) -> &str {
        match self {
            Self::Bucket(name) | Self::Query(name) => name,
            Self::Server => "*",
        }
    }
}

/// Tiers, as the page has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    Read,
    Write,
    Admin,
}

const BUILT_IN: [(&str, Tier); 3] = [("reader", Tier::Read), ("writer", Tier::Write), ("admin", Tier::Admin)];

pub(crate) const READS: [&str; 16] = [
    "store.get",
    "store.all",
    "store.where",
    "store.findOne",
    "store.count",
    "store.first",
    "store.last",
    "store.paginate",
    "store.sum",
    "store.avg",
    "store.min",
    "store.max",
    "store.groupBy",
    "store.explain",
    "store.subscribe",
    "store.unsubscribe",
];
const READS_OF_THE_SERVER: [&str; 2] = ["store.buckets", "store.stats"];
pub(crate) const WRITES: [&str; 9] = [
    "store.insert",
    "store.insertMany",
    "store.update",
    "store.updateMany",
    "store.upsert",
    "store.delete",
    "store.deleteMany",
    "store.clear",
    "store.transaction",
];
/// What is done to buckets by who administers.
pub(crate) const DEFINITIONS: [&str; 5] = [
    "store.defineBucket",
    "store.dropBucket",
    "store.updateBucket",
    "store.getBucketSchema",
    "store.defineQuery",
];

fn tier(kind: &str) -> Tier {
    if READS.contains(&kind) || READS_OF_THE_SERVER.contains(&kind) {
        Tier::Read
    } else if WRITES.contains(&kind) {
        Tier::Write
    } else {
        Tier::Admin
    }
}

/// One line of the callback of these worlds: the first that matches decides, and it abstains where none does.
#[derive(Debug, Clone)]
pub(crate) struct Opinion {
    pub(crate) user: Option<String>,
    pub(crate) kind: Option<&'static str>,
    pub(crate) bucket: Option<&'static str>,
    pub(crate) allows: bool,
}

impl Opinion {
    /// Whether it is about this.
    pub(crate) fn is_about(&self, user: &str, kind: &str, touches: impl FnOnce(&str) -> bool) -> bool {
        self.user.as_deref().is_none_or(|name| name == user)
            && self.kind.is_none_or(|name| name == kind)
            && self.bucket.is_none_or(touches)
    }
}

/// The declarative rules, as they were given.
#[derive(Debug, Clone)]
pub(crate) struct Policy(pub(crate) Value);

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(one) => vec![one],
        many => many.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    }
}

impl Policy {
    /// Roles inherit. Whoever has logged in may have another role for that alone.
    fn all_roles(&self, session: &Session) -> BTreeSet<String> {
        let all = self.inherited(session.roles.iter().cloned().collect());
        match &session.otherwise {
            Some(role) if !BUILT_IN.iter().any(|(built_in, _)| all.contains(*built_in)) => {
                self.inherited(all.into_iter().chain([role.clone()]).collect())
            }
            _ => all,
        }
    }

    fn inherited(&self, mut all: BTreeSet<String>) -> BTreeSet<String> {
        loop {
            let more: Vec<String> = all
                .iter()
                .flat_map(|role| list(&self.0["roles"], role))
                .filter_map(|role| role.as_str().map(str::to_owned))
                .collect();
            let before = all.len();
            all.extend(more);
            if all.len() == before {
                return all;
            }
        }
    }

    /// The first of the numbered steps of the page that says yes or no.
    pub(crate) fn allows(&self, session: &Session, kind: &str, touched: &[Touched]) -> bool {
        let roles = self.all_roles(session);
        let reached = BUILT_IN.iter().filter(|(role, _)| roles.contains(*role)).map(|(_, tier)| *tier).max();
        if reached.is_some_and(|reached| reached < tier(kind)) {
            return false;
        }
        for exception in list(&self.0, "check") {
            let is = |name: &str, holds: &dyn Fn(&str) -> bool| exception[name].as_str().is_none_or(holds);
            let user = session.user.as_deref().unwrap_or("anonymous");
            let concerned = is("role", &|role| roles.contains(role))
                && is("userId", &|id| id == user)
                && is("operation", &|name| name == kind);
            let result = exception["result"].as_bool();
            let named = |touched: &Touched| is("resource", &|name| name == touched.name());
            let matching = match result {
                Some(false) => touched.iter().any(named),
                _ => touched.iter().all(named),
            };
            if concerned && matching {
                match result {
                    Some(result) => return result,
                    // Left to the rules.
                    None => break,
                }
            }
        }
        let concerned = list(&self.0, "rules").iter().filter(|rule| {
            roles.contains(rule["role"].as_str().unwrap())
                && texts(&rule["allow"]).into_iter().any(|allowed| match allowed.strip_suffix('*') {
                    Some(prefix) => kind.starts_with(prefix),
                    None => allowed == kind,
                })
        });
        let allowing: Vec<&Value> = concerned.collect();
        if allowing.iter().any(|rule| rule.get("buckets").is_none()) {
            return true;
        }
        let buckets: Vec<&str> = allowing.iter().flat_map(|rule| texts(&rule["buckets"])).collect();
        let within = |one: &Touched| match one {
            Touched::Bucket(name) => buckets.contains(&name.as_str()),
            // The right to a query is the right to what it reads.
            Touched::Query(_) => true,
            // These show what may be seen and nothing else.
            Touched::Server => !allowing.is_empty() && READS_OF_THE_SERVER.contains(&kind),
        };
        let anything = touched.iter().any(|one| !matches!(one, Touched::Query(_)));
        if anything && touched.iter().all(within) {
            return true;
        }
        self.0["default"] != "deny" && reached.is_some()
    }

    /// What row and field rules leave a session of a bucket.
    pub(crate) fn rule(&self, session: &Session, bucket: &str) -> Rule {
        let roles = self.all_roles(session);
        let mut rule = Rule::default();
        for given in list(&self.0, "rows") {
            let whose = given["role"].as_str().unwrap();
            if given["bucket"] != bucket || whose != "*" && !roles.contains(whose) {
                continue;
            }
            rule.there = true;
            rule.hidden.extend(texts(&given["hide"]).into_iter().map(str::to_owned));
            let conditions = [&given["read"], &given["write"]].map(|side| Condition::of(side, session));
            if let [Some(read), Some(write)] = conditions {
                rule.written_as.push(format!("{} by {read:?}", given["read"]));
                rule.parts.push((read, write));
            }
        }
        rule
    }
}

/// Which records, by one side of a rule.
#[derive(Debug, Clone, PartialEq)]
enum Condition {
    All,
    None,
    Filter(Value),
}

impl Condition {
    /// Nothing if the session lacks a value that the rule needs.
    fn of(side: &Value, session: &Session) -> Option<Self> {
        Some(match side {
            Value::Null | Value::Bool(true) => Self::All,
            Value::Bool(false) => Self::None,
            filter => Self::Filter(bound(filter, session)?),
        })
    }

    fn holds(&self, record: &Value) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Filter(filter) => filter::matches(filter, record),
        }
    }
}

/// The rule with what the session has in the places that are kept for it.
fn bound(rule: &Value, session: &Session) -> Option<Value> {
    Some(match rule {
        Value::String(text) => {
            match text.strip_prefix("{{ session.").and_then(|rest| rest.strip_suffix(" }}")) {
                None => rule.clone(),
                Some("userId") => session.user.clone()?.into(),
                Some("roles") => session.roles.clone().into(),
                Some(path) => {
                    let value = filter::member(&session.metadata, path.strip_prefix("metadata.").unwrap())?;
                    Some(value.clone()).filter(|value| !value.is_null())?
                }
            }
        }
        Value::Array(items) => {
            items.iter().map(|item| bound(item, session)).collect::<Option<Vec<Value>>>()?.into()
        }
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| Some((name.clone(), bound(value, session)?)));
            Value::Object(members.collect::<Option<_>>()?)
        }
        plain => plain.clone(),
    })
}

/// All rules of one session for one bucket.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rule {
    there: bool,
    /// What each lets through: for reading, and for writing.
    parts: Vec<(Condition, Condition)>,
    pub(crate) hidden: BTreeSet<String>,
    /// How each reads in the policy: the server may take two that come to the same for different ones.
    written_as: Vec<String>,
}

impl Rule {
    pub(crate) fn sees(&self, record: &Value) -> bool {
        !self.there || self.parts.iter().any(|(read, _)| read.holds(record))
    }

    pub(crate) fn writes(&self, record: &Value) -> bool {
        !self.there || self.parts.iter().any(|(read, write)| read.holds(record) && write.holds(record))
    }

    /// Whether it leaves nothing out and forbids nothing.
    pub(crate) fn is_open(&self) -> bool {
        self.hidden.is_empty() && (!self.there || self.parts.contains(&(Condition::All, Condition::All)))
    }

    /// Whether every record is seen, with all its members.
    pub(crate) fn shows_all(&self) -> bool {
        self.view() == Self::default().view()
    }

    /// Whether a member of that name is hidden, is inside something hidden or has something hidden in it.
    pub(crate) fn hides(&self, name: &str) -> bool {
        if self.hidden.is_empty() {
            return false;
        }
        let parts: Vec<&str> = name.split('.').filter(|part| part.parse::<usize>().is_err()).collect();
        self.hidden.iter().any(|hidden| {
            let hidden: Vec<&str> = hidden.split('.').collect();
            let common = hidden.len().min(parts.len());
            hidden[..common] == parts[..common]
        })
    }

    /// A record without what is hidden.
    pub(crate) fn stripped(&self, record: &Value) -> Value {
        let mut shown = record.clone();
        for hidden in &self.hidden {
            strip(&mut shown, hidden);
        }
        shown
    }

    /// What readers notice of it.
    pub(crate) fn view(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let mut seen: BTreeSet<String> = self.parts.iter().map(|(read, _)| format!("{read:?}")).collect();
        seen.remove("None");
        if !self.there || seen.contains("All") {
            seen = BTreeSet::from(["All".to_owned()]);
        }
        // What is inside something hidden is hidden with it.
        let inside = |name: &&String| {
            self.hidden
                .iter()
                .any(|other| name.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('.')))
        };
        (seen, self.hidden.iter().filter(|name| !inside(name)).cloned().collect())
    }

    /// The same as it stands in the policy.
    pub(crate) fn text(&self) -> String {
        // A rule about writing alone is none for who reads.
        if self.shows_all() {
            return "all".to_owned();
        }
        format!("{:?} {:?}", self.written_as, self.hidden)
    }
}

fn strip(value: &mut Value, path: &str) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(|element| strip(element, path)),
        Value::Object(members) => match path.split_once('.') {
            None => drop(members.shift_remove(path)),
            Some((first, rest)) => {
                if let Some(inner) = members.get_mut(first) {
                    strip(inner, rest);
                }
            }
        },
        _ => {}
    }
}
