//! What rules may write: a rule's writes are judged like those of a session with the roles that it runs as.

use std::collections::BTreeSet;
use std::sync::Arc;

use dunlin_protocol::{Code, Error, Kind, Resource, Tier};
use dunlin_rules::{RunAs, StoreOperation, StoreRequest, fault::ActionFault};
use dunlin_store::Guard;

use super::rights::Rights;
use super::{Access, Auth, Decision, Session, Verdict};
use crate::rules::RuleRights;

/// Judges the writes of rules by the policy that there is at that moment, inside the writer.
///
/// A permission callback that is `async` cannot be asked there: nobody waits in the writer. Then the policy alone decides.
#[derive(Clone)]
pub(crate) struct PolicyRights {
    /// `None`: everybody may do everything.
    auth: Option<Arc<Auth>>,
}

impl PolicyRights {
    pub(crate) fn new(auth: Option<Arc<Auth>>) -> Self {
        Self { auth }
    }
}

impl RuleRights for PolicyRights {
    fn judge(&self, request: &StoreRequest) -> Result<Guard, ActionFault> {
        let Some(auth) = &self.auth else { return Ok(Guard::default()) };
        let session = Arc::new(session(&request.rule, &request.run_as));
        let rights = auth.rights_of(session, auth.policy.load_full());
        for (kind, resources) in questions(&request.operations) {
            decide(auth, &rights, kind, &resources).map_err(fault)?;
        }
        Ok(rights.guard)
    }
}

/// Whom a rule runs as.
fn session(rule: &str, run_as: &RunAs) -> Session {
    let user = run_as.user_id.as_deref().map_or_else(|| format!("rule:{rule}"), str::to_owned);
    let roles = run_as.roles.iter();
    roles.fold(Session::new(user), |session, role| session.with_role(role.to_string()))
}

/// What a write is judged for: as a whole, if it is several operations, and each kind of operation with what it touches.
fn questions(operations: &[StoreOperation]) -> Vec<(Kind, Vec<Resource<'_>>)> {
    let mut by_kind: Vec<(Kind, Vec<Resource<'_>>)> = Vec::new();
    for operation in operations {
        let (kind, bucket) = match operation {
            StoreOperation::Insert { bucket, .. } => (Kind::Insert, bucket),
            StoreOperation::Update { bucket, .. } => (Kind::Update, bucket),
            StoreOperation::Upsert { bucket, .. } => (Kind::Upsert, bucket),
            StoreOperation::Delete { bucket, .. } => (Kind::Delete, bucket),
        };
        let bucket = Resource::Bucket(bucket.as_str().into());
        let kinds: &[Kind] = if operations.len() > 1 { &[Kind::Transaction, kind] } else { &[kind] };
        for kind in kinds {
            match by_kind.iter_mut().find(|(known, _)| known == kind) {
                Some((_, resources)) if resources.contains(&bucket) => {}
                Some((_, resources)) => resources.push(bucket.clone()),
                None => by_kind.push((*kind, vec![bucket.clone()])),
            }
        }
    }
    by_kind
}

fn decide(auth: &Auth, rights: &Rights, kind: Kind, resources: &[Resource<'_>]) -> Result<(), Error> {
    let said = auth.permissions.as_ref().map(|callback| {
        match callback.decide(&Access::new(&rights.session, kind, resources)) {
            Decision::Now(said) => said,
            Decision::Later(_) => Verdict::Abstain,
        }
    });
    match said {
        Some(Verdict::Allow) => Ok(()),
        Some(Verdict::Deny) => Err(super::policy::refusal(kind, resources)),
        Some(Verdict::Abstain) | None => rights.grants.decide(rights.user(), kind, resources),
    }
}

fn fault(error: Error) -> ActionFault {
    ActionFault { code: error.code.as_str().to_owned(), message: error.message }
}

impl Auth {
    /// Whether somebody may let a rule run so: with roles that he has himself, and as nobody else. The built-in roles include
    /// each other here, as they do everywhere; and whoever reaches the highest tier may name any user.
    pub(crate) fn may_run_as(&self, rights: &Rights, run_as: &RunAs) -> Result<(), Error> {
        let policy = self.policy.load();
        let held = policy.closure(&rights.session.roles);
        let reached = Tier::reached(held.iter().copied());
        let missing = run_as.roles.iter().find(|role| !holds(&held, reached, role));
        if let Some(role) = missing {
            let message = format!(
                "No permission to let a rule run with the role \"{role}\": you do not have it yourself"
            );
            return Err(Error::new(Code::Forbidden, message));
        }
        match run_as.user_id.as_deref() {
            Some(user) if user != rights.user() && reached != Some(Tier::Admin) => {
                let message =
                    format!("No permission to let a rule run as the user \"{user}\": only as yourself");
                Err(Error::new(Code::Forbidden, message))
            }
            _ => Ok(()),
        }
    }
}

fn holds(held: &BTreeSet<&str>, reached: Option<Tier>, role: &str) -> bool {
    held.contains(role) || Tier::reached([role]).is_some_and(|tier| reached >= Some(tier))
}
