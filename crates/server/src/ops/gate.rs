//! The gate that every operation passes: is this session allowed to do this? See `docs/access.md`.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use dunlin_protocol::{Code, Error, Explained, Kind, Object, Operation, Queried, Resource, Subscribe, Write};
use dunlin_store::{FACTS, Query, Snapshot};

use super::subscribe;
use crate::auth::policy::{Visible, refusal};
use crate::auth::{Access, Auth, Decision, Rights, Verdict};
use crate::connection::ConnectionState;
use crate::limits;

/// An answer of the gate, or one that is still to come.
pub(crate) enum Judged {
    Now(Result<(), Error>),
    Later(Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>),
}

impl Judged {
    /// Waits for the answer.
    pub(crate) async fn settled(self) -> Result<(), Error> {
        match self {
            Self::Now(judged) => judged,
            Self::Later(judged) => judged.await,
        }
    }
}

/// Decides whether this connection may do this. All writes before it have taken effect, unless it is a write of records itself.
pub(crate) fn judge(state: &mut ConnectionState, kind: Kind, operation: &Operation<'_>) -> Judged {
    // The hottest operations by those who may do them everywhere: nobody has to be asked what they touch.
    let needs_more = matches!(operation, Operation::Write { write: Write::Transaction { .. }, .. });
    let everywhere = !needs_more && state.is_allowed_everywhere(kind);
    if everywhere && (!may_touch_facts(operation) || state.is_allowed_everywhere(Kind::RulesGetAllFacts)) {
        return Judged::Now(Ok(()));
    }
    let Some(auth) = state.shared.auth.clone() else { return Judged::Now(Ok(())) };
    let own = matches!(
        operation,
        Operation::Unsubscribe { .. }
            | Operation::RulesUnsubscribe { .. }
            | Operation::Explain(Explained::Subscription { .. })
    );
    if kind.tier().is_none() || own {
        return Judged::Now(Ok(()));
    }
    let is_code = matches!(
        operation,
        Operation::Subscribe(Subscribe { query: Queried::Named(query), .. }) if state.shared.programmatic.contains(query)
    );
    let steps = match operation {
        Operation::Write { write: write @ Write::Transaction { .. }, .. } => write.steps_by_kind(),
        _ => Vec::new(),
    };
    let rights = match state.rights(&auth) {
        Ok(rights) => rights,
        Err(error) => return Judged::Now(Err(error)),
    };
    if is_code {
        // What it reads is known when it has run: `judge_watching`. For whoever may watch nothing it is not run.
        let nothing = auth.permissions.is_none() && rights.grants.allows_nothing(kind);
        return Judged::Now(if nothing { Err(refusal(kind, &operation.resources())) } else { Ok(()) });
    }
    if auth.permissions.is_none() {
        // The policy alone answers at once: nothing has to be kept for later.
        let resources = resources(state, operation);
        let facts = about_facts(&resources);
        return Judged::Now(state.rights(&auth).and_then(|rights| {
            let mut questions = std::iter::once((kind, resources)).chain(steps).chain(facts);
            questions.try_for_each(|(kind, touched)| rights.grants.decide(rights.user(), kind, &touched))
        }));
    }
    let rights = rights.clone();
    let resources = resources(state, operation);
    let facts = about_facts(&resources);
    let mut questions = vec![(kind, resources)];
    questions.extend(steps.into_iter().chain(facts));
    decide(&auth, &rights, questions)
}

/// Decides whether this connection may watch a query that reads these buckets.
pub(crate) fn judge_watching(state: &mut ConnectionState, query: &str, buckets: &[Arc<str>]) -> Judged {
    let Some(auth) = state.shared.auth.clone() else { return Judged::Now(Ok(())) };
    let rights = match state.rights(&auth) {
        Ok(rights) => rights.clone(),
        Err(error) => return Judged::Now(Err(error)),
    };
    let named = (query != subscribe::INLINE).then_some(Resource::Query(Cow::Borrowed(query)));
    let buckets = buckets.iter().map(|name| Resource::Bucket(Cow::Borrowed(&**name)));
    let resources: Vec<Resource<'_>> = named.into_iter().chain(buckets).collect();
    let facts = about_facts(&resources);
    decide(&auth, &rights, std::iter::once((Kind::Subscribe, resources)).chain(facts).collect())
}

/// Whether an operation may be one on the bucket of facts: told without looking at definitions.
fn may_touch_facts(operation: &Operation<'_>) -> bool {
    match operation {
        Operation::Read(read) => read.bucket() == Some(FACTS),
        Operation::Write { write: Write::DefineQuery { .. }, .. }
        | Operation::Subscribe(_)
        | Operation::Explain(_) => true,
        // Nobody writes facts so.
        _ => false,
    }
}

/// Whoever reads the bucket of facts must have the right to all facts.
fn about_facts<'r>(resources: &[Resource<'_>]) -> Option<(Kind, Vec<Resource<'r>>)> {
    let facts = resources.iter().any(|resource| matches!(resource, Resource::Bucket(name) if name == FACTS));
    facts.then(|| (Kind::RulesGetAllFacts, vec![Resource::Rules]))
}

/// Decides whether this connection may hear the events of these topics.
pub(crate) fn judge_hearing(state: &mut ConnectionState, pattern: &str) -> Judged {
    let Some(auth) = state.shared.auth.clone() else { return Judged::Now(Ok(())) };
    match state.rights(&auth) {
        Ok(rights) => {
            let rights = rights.clone();
            let resource = Resource::TopicPattern(Cow::Borrowed(pattern));
            decide(&auth, &rights, vec![(Kind::RulesSubscribe, vec![resource])])
        }
        Err(error) => Judged::Now(Err(error)),
    }
}

/// The buckets that this connection may know of.
pub(crate) async fn visible(state: &mut ConnectionState, snapshot: &Snapshot) -> Result<Visible, Error> {
    let Some(auth) = state.shared.auth.clone() else { return Ok(Visible::All) };
    let rights = state.rights(&auth)?.clone();
    let names = || snapshot.buckets().map(|bucket| Arc::clone(bucket.name())).collect::<Vec<_>>();
    let Some(permissions) = &auth.permissions else {
        let names = names();
        return Ok(rights.grants.visible(rights.user(), names.iter().map(|name| &**name)));
    };
    let mut visible = std::collections::HashSet::new();
    for name in names() {
        // Of a callback that cannot be asked what it would allow at all, reading stands for everything.
        let resources = [Resource::Bucket(Cow::Borrowed(&*name))];
        let decision = permissions.decide(&Access::new(&rights.session, Kind::Get, &resources));
        if verdict(decision, &rights, Kind::Get, &resources).await.is_ok() {
            visible.insert(name.to_string());
        }
    }
    Ok(Visible::Only(visible))
}

/// Everything that an operation touches, what the queries in it read included.
fn resources<'o>(state: &ConnectionState, operation: &'o Operation<'_>) -> Vec<Resource<'o>> {
    let mut resources = match operation {
        Operation::Write { write, .. } => write.resources(),
        other => other.resources(),
    };
    let snapshot = state.shared.published.load();
    let defined =
        |name: &str| snapshot.query(name).map(|query| read_by(query, &snapshot)).unwrap_or_default();
    // One that is wrong is refused for that when it is clear that this user may ask at all.
    let given = |config: &Object| {
        subscribe::inline(config).map(|query| read_by(&query, &snapshot)).unwrap_or_default()
    };
    let read = match operation {
        Operation::Subscribe(Subscribe { query: Queried::Named(query), .. })
        | Operation::Explain(Explained::Query { query, .. }) => defined(query),
        Operation::Write { write: Write::UndefineQuery { name }, .. } => defined(name),
        Operation::Subscribe(Subscribe { query: Queried::Inline(config), .. })
        | Operation::Write { write: Write::DefineQuery { config, .. }, .. } => given(config),
        _ => Vec::new(),
    };
    for resource in read {
        if !resources.contains(&resource) {
            resources.push(resource);
        }
    }
    resources
}

fn read_by(query: &Query, snapshot: &Snapshot) -> Vec<Resource<'static>> {
    let buckets = query.buckets(snapshot).into_iter();
    buckets.map(|bucket| Resource::Bucket(Cow::Owned(bucket.to_string()))).collect()
}

/// Asks the callback, if there is one, and the policy. All questions must be answered with yes.
fn decide(auth: &Arc<Auth>, rights: &Rights, questions: Vec<(Kind, Vec<Resource<'_>>)>) -> Judged {
    let mut questions = questions.into_iter();
    while let Some((kind, resources)) = questions.next() {
        let decision = ask(auth, rights, kind, &resources);
        if let Decision::Later(_) = decision {
            let (auth, rights) = (Arc::clone(auth), rights.clone());
            let owned = |(kind, resources): (Kind, Vec<Resource<'_>>)| {
                (kind, resources.into_iter().map(Resource::into_owned).collect::<Vec<_>>())
            };
            let (_, resources) = owned((kind, resources));
            let rest: Vec<_> = questions.map(owned).collect();
            return Judged::Later(Box::pin(async move {
                verdict(decision, &rights, kind, &resources).await?;
                for (kind, resources) in rest {
                    verdict(ask(&auth, &rights, kind, &resources), &rights, kind, &resources).await?;
                }
                Ok(())
            }));
        }
        if let Decision::Now(said) = decision
            && let Err(error) = by_policy(said, rights, kind, &resources)
        {
            return Judged::Now(Err(error));
        }
    }
    Judged::Now(Ok(()))
}

fn ask(auth: &Auth, rights: &Rights, kind: Kind, resources: &[Resource<'_>]) -> Decision {
    match &auth.permissions {
        Some(permissions) => permissions.decide(&Access::new(&rights.session, kind, resources)),
        None => Decision::Now(Verdict::Abstain),
    }
}

async fn verdict(
    decision: Decision,
    rights: &Rights,
    kind: Kind,
    resources: &[Resource<'_>],
) -> Result<(), Error> {
    let said = match decision {
        Decision::Now(said) => said,
        Decision::Later(said) => match tokio::time::timeout(limits::PERMISSION_WAIT, said).await {
            Ok(Ok(said)) => said,
            Ok(Err(fault)) => {
                tracing::error!(%fault, operation = kind.as_str(), "the permission callback failed; denied");
                Verdict::Deny
            }
            Err(_) => {
                let wait = limits::PERMISSION_WAIT;
                tracing::error!(
                    ?wait,
                    operation = kind.as_str(),
                    "the permission callback did not answer in time; denied"
                );
                Verdict::Deny
            }
        },
    };
    by_policy(said, rights, kind, resources)
}

fn by_policy(said: Verdict, rights: &Rights, kind: Kind, resources: &[Resource<'_>]) -> Result<(), Error> {
    match said {
        Verdict::Allow => Ok(()),
        Verdict::Deny => Err(refusal(kind, resources)),
        Verdict::Abstain => rights.grants.decide(rights.user(), kind, resources),
    }
}

/// What somebody gets who is not logged in where that is needed.
pub(crate) fn login_required() -> Error {
    Error::new(Code::Unauthorized, "Authentication required")
}
