//! What rights an operation needs: which buckets and queries it touches.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::Value;

use super::{Explained, Object, Operation, Queried, Read, Step, Subscribe, Write};
use crate::Kind;

/// What an operation touches: what rights are checked on. Derived from the parsed operation alone, so a stray field in the
/// request can never stand in for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resource<'a> {
    /// The records or the definition of this bucket.
    Bucket(Cow<'a, str>),
    /// This query. Whoever checks it must also check the buckets that the query reads.
    Query(Cow<'a, str>),
    /// The events of this topic.
    Topic(Cow<'a, str>),
    /// The fact with this key.
    Key(Cow<'a, str>),
    /// The events of all topics that match this pattern.
    TopicPattern(Cow<'a, str>),
    /// The facts with keys that match this pattern.
    KeyPattern(Cow<'a, str>),
    /// The rule with this id.
    Rule(Cow<'a, str>),
    /// Rules as a whole: all of them, all facts, timers, calls and statistics.
    Rules,
    /// The server as a whole: names of buckets and queries, statistics, connections.
    Server,
    /// Nothing but the connection's own state: its login, its subscriptions.
    Own,
}

impl Operation<'_> {
    /// Everything this operation touches. A query stands for itself; the buckets it reads are added by whoever knows its
    /// definition.
    pub fn resources(&self) -> Vec<Resource<'_>> {
        match self {
            Self::Write { write, .. } => write.resources(),
            Self::Read(read) => vec![read.resource()],
            Self::Subscribe(Subscribe { query: Queried::Inline(config), .. }) => read_by(config).collect(),
            Self::Subscribe(Subscribe { query: Queried::Named(query), .. })
            | Self::Explain(Explained::Query { query, .. }) => vec![Resource::query(query)],
            Self::Explain(Explained::Bucket { bucket, .. }) => vec![Resource::bucket(bucket)],
            Self::RuleRead(read) => vec![read.resource()],
            Self::RuleWrite { write, .. } => vec![write.resource()],
            Self::RulesSubscribe { pattern } => match pattern {
                Ok(pattern) => vec![Resource::TopicPattern(Cow::Borrowed(pattern))],
                Err(_) => vec![Resource::Rules],
            },
            Self::ListQueries
            | Self::StoreStats
            | Self::ServerStats
            | Self::ServerConnections
            | Self::Backup { .. }
            | Self::RevokeSessions { .. } => vec![Resource::Server],
            Self::Hello(_)
            | Self::Unsubscribe { .. }
            | Self::RulesUnsubscribe { .. }
            | Self::Explain(Explained::Subscription { .. })
            | Self::Login { .. }
            | Self::Logout
            | Self::WhoAmI => vec![Resource::Own],
        }
    }
}

impl Read<'_> {
    /// What this read touches.
    fn resource(&self) -> Resource<'_> {
        match self {
            Self::Get { bucket, .. }
            | Self::All { bucket }
            | Self::Where { bucket, .. }
            | Self::FindOne { bucket, .. }
            | Self::Count { bucket, .. }
            | Self::First { bucket, .. }
            | Self::Last { bucket, .. }
            | Self::Paginate { bucket, .. }
            | Self::Page { bucket, .. }
            | Self::Aggregate { bucket, .. }
            | Self::GroupBy { bucket, .. }
            | Self::GetBucketSchema { name: bucket } => Resource::bucket(bucket),
            Self::Buckets => Resource::Server,
        }
    }
}

impl Read<'_> {
    /// The bucket that it looks into, if it looks into one.
    pub fn bucket(&self) -> Option<&str> {
        match self.resource() {
            Resource::Bucket(Cow::Borrowed(bucket)) => Some(bucket),
            _ => None,
        }
    }
}

impl Write<'_> {
    /// Everything this write touches.
    pub fn resources(&self) -> Vec<Resource<'_>> {
        match self {
            Self::Insert { bucket, .. }
            | Self::InsertMany { bucket, .. }
            | Self::Update { bucket, .. }
            | Self::UpdateMany { bucket, .. }
            | Self::Upsert { bucket, .. }
            | Self::Delete { bucket, .. }
            | Self::DeleteMany { bucket, .. }
            | Self::Clear { bucket }
            | Self::DropBucket { name: bucket } => vec![Resource::bucket(bucket)],
            Self::DefineBucket { name, config: fields } | Self::UpdateBucket { name, updates: fields } => {
                let mut resources = vec![Resource::bucket(name)];
                for definitions in ["schema", "addFields", "changeFields"] {
                    referred(fields.get(definitions).unwrap_or(&Value::Null), &mut resources);
                }
                resources
            }
            Self::DefineQuery { name, config } => {
                std::iter::once(Resource::query(name)).chain(read_by(config)).collect()
            }
            Self::UndefineQuery { name } => vec![Resource::query(name)],
            Self::Transaction { operations } => {
                let mut seen = HashSet::new();
                let mut resources: Vec<Resource<'_>> = operations.iter().flat_map(Step::resources).collect();
                resources.retain(|resource| seen.insert(resource.clone()));
                resources
            }
        }
    }
}

impl Write<'_> {
    /// The operations of a transaction by their kind, with all that those of a kind touch; of no other write any.
    pub fn steps_by_kind(&self) -> Vec<(Kind, Vec<Resource<'_>>)> {
        let Self::Transaction { operations } = self else { return Vec::new() };
        let mut seen = HashSet::new();
        let mut kinds: Vec<(Kind, Vec<Resource<'_>>)> = Vec::new();
        for step in operations {
            let kind = step.kind();
            for resource in step.resources() {
                if !seen.insert((kind, resource.clone())) {
                    continue;
                }
                match kinds.iter_mut().find(|(known, _)| *known == kind) {
                    Some((_, resources)) => resources.push(resource),
                    None => kinds.push((kind, vec![resource])),
                }
            }
        }
        kinds
    }

    /// What kind of operation this write is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Insert { .. } => Kind::Insert,
            Self::InsertMany { .. } => Kind::InsertMany,
            Self::Update { .. } => Kind::Update,
            Self::UpdateMany { .. } => Kind::UpdateMany,
            Self::Upsert { .. } => Kind::Upsert,
            Self::Delete { .. } => Kind::Delete,
            Self::DeleteMany { .. } => Kind::DeleteMany,
            Self::Clear { .. } => Kind::Clear,
            Self::Transaction { .. } => Kind::Transaction,
            Self::DefineBucket { .. } => Kind::DefineBucket,
            Self::DropBucket { .. } => Kind::DropBucket,
            Self::UpdateBucket { .. } => Kind::UpdateBucket,
            Self::DefineQuery { .. } => Kind::DefineQuery,
            Self::UndefineQuery { .. } => Kind::UndefineQuery,
        }
    }
}

impl Step<'_> {
    fn kind(&self) -> Kind {
        match self {
            Self::Get { .. } => Kind::Get,
            Self::Where { .. } => Kind::Where,
            Self::FindOne { .. } => Kind::FindOne,
            Self::Count { .. } => Kind::Count,
            Self::GroupBy { .. } => Kind::GroupBy,
            Self::Write(write) => write.kind(),
        }
    }

    fn resources(&self) -> Vec<Resource<'_>> {
        match self {
            Self::Get { bucket, .. }
            | Self::Where { bucket, .. }
            | Self::FindOne { bucket, .. }
            | Self::Count { bucket, .. }
            | Self::GroupBy { bucket, .. } => vec![Resource::bucket(bucket)],
            Self::Write(write) => write.resources(),
        }
    }
}

/// The bucket that the definition of a query names, if it names one.
fn read_by(config: &Object) -> impl Iterator<Item = Resource<'_>> {
    config.get("bucket").and_then(Value::as_str).map(Resource::bucket).into_iter()
}

/// The buckets that the fields of a schema refer to, at any depth: whoever writes such a field learns which keys there are.
fn referred<'v>(schema: &'v Value, found: &mut Vec<Resource<'v>>) {
    match schema {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(bucket) if name == "ref" => {
                        let bucket = Resource::bucket(bucket);
                        if !found.contains(&bucket) {
                            found.push(bucket);
                        }
                    }
                    member => referred(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| referred(item, found)),
        _ => {}
    }
}

impl<'a> Resource<'a> {
    /// The same resource, borrowing nothing.
    pub fn into_owned(self) -> Resource<'static> {
        let owned = |name: Cow<'a, str>| Cow::Owned(name.into_owned());
        match self {
            Self::Bucket(name) => Resource::Bucket(owned(name)),
            Self::Query(name) => Resource::Query(owned(name)),
            Self::Topic(name) => Resource::Topic(owned(name)),
            Self::Key(name) => Resource::Key(owned(name)),
            Self::TopicPattern(name) => Resource::TopicPattern(owned(name)),
            Self::KeyPattern(name) => Resource::KeyPattern(owned(name)),
            Self::Rule(name) => Resource::Rule(owned(name)),
            Self::Rules => Resource::Rules,
            Self::Server => Resource::Server,
            Self::Own => Resource::Own,
        }
    }

    fn bucket(name: &'a str) -> Self {
        Self::Bucket(Cow::Borrowed(name))
    }

    fn query(name: &'a str) -> Self {
        Self::Query(Cow::Borrowed(name))
    }
}
