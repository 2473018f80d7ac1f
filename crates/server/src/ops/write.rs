//! Writes: from an operation to an intent for the store, and from its outcome to an answer.

use std::sync::Arc;

use dunlin_journal::JournalError;
use dunlin_protocol::{Code, Error, Grouping, Id, Step, Write, frame};
use dunlin_store::{Guard, Intent, Outcome};
use serde_json::json;

use crate::auth::Session;
use crate::registry::Entry;
use crate::store_actor::WriteError;

/// What the answer to a write looks like, kept while the write is under way.
pub(crate) enum Shape {
    /// What the store says came of it.
    Outcome,
    /// `{"name":…,"<what>":true}`, of an administrative operation.
    Named { name: Box<str>, what: &'static str },
    /// `{"<field>":…,"<what>":true}`, of an operation on rules.
    Of { field: &'static str, name: Box<str>, what: &'static str },
}

/// The intent an operation of somebody under a guard stands for, and the shape of its answer.
pub(crate) fn intent(write: Write<'_>, guard: &Guard) -> (Intent, Shape) {
    let (intent, shape) = unguarded(write);
    (intent.guarded(guard), shape)
}

fn unguarded(write: Write<'_>) -> (Intent, Shape) {
    match write {
        Write::DefineBucket { name, config } => {
            let name = name.into_owned();
            (Intent::DefineBucket { name: name.clone(), config }, Shape::named(name, "created"))
        }
        Write::DropBucket { name } => {
            let name = name.into_owned();
            (Intent::DropBucket { name: name.clone() }, Shape::named(name, "dropped"))
        }
        Write::UpdateBucket { name, updates } => {
            let name = name.into_owned();
            (Intent::UpdateBucket { name: name.clone(), updates }, Shape::named(name, "updated"))
        }
        Write::DefineQuery { name, config } => {
            let name = name.into_owned();
            (Intent::DefineQuery { name: name.clone(), config }, Shape::named(name, "defined"))
        }
        Write::UndefineQuery { name } => {
            let name = name.into_owned();
            (Intent::UndefineQuery { name: name.clone() }, Shape::named(name, "undefined"))
        }
        Write::Insert { bucket, data, if_version } => {
            let insert = Intent::Insert { bucket: bucket.into_owned(), data };
            (in_version(insert, if_version), Shape::Outcome)
        }
        Write::InsertMany { bucket, data } => {
            (Intent::InsertMany { bucket: bucket.into_owned(), data }, Shape::Outcome)
        }
        Write::Update { bucket, key, data, if_version } => {
            let update = Intent::Update { bucket: bucket.into_owned(), key, changes: data };
            (in_version(update, if_version), Shape::Outcome)
        }
        Write::UpdateMany { bucket, filter, data } => {
            (Intent::UpdateMany { bucket: bucket.into_owned(), filter, changes: data }, Shape::Outcome)
        }
        Write::Upsert { bucket, data } => {
            (Intent::Upsert { bucket: bucket.into_owned(), data }, Shape::Outcome)
        }
        Write::Delete { bucket, key, if_version } => {
            let delete = Intent::Delete { bucket: bucket.into_owned(), key };
            (in_version(delete, if_version), Shape::Outcome)
        }
        Write::DeleteMany { bucket, filter } => {
            (Intent::DeleteMany { bucket: bucket.into_owned(), filter }, Shape::Outcome)
        }
        Write::Clear { bucket } => (Intent::Clear { bucket: bucket.into_owned() }, Shape::Outcome),
        Write::Transaction { operations } => {
            let operations = operations.into_iter().map(step).collect();
            (Intent::Transaction { operations }, Shape::Outcome)
        }
    }
}

fn in_version(write: Intent, version: Option<u64>) -> Intent {
    match version {
        Some(version) => write.if_version(version),
        None => write,
    }
}

/// Whose idempotency keys the requests of a connection have: those of its user, or of its address while nobody is logged in.
/// Kept, so that it is put together once for each login and not for each request.
#[derive(Default)]
pub(crate) struct Scope(Option<(Option<Arc<Session>>, Arc<str>)>);

impl Scope {
    pub(crate) fn of(&mut self, entry: &Entry) -> Arc<str> {
        let session = entry.session.load();
        let same = |known: &Option<Arc<Session>>| match (known, &*session) {
            (Some(known), Some(session)) => Arc::ptr_eq(known, session),
            (None, None) => true,
            _ => false,
        };
        if let Some((_, scope)) = self.0.as_ref().filter(|(known, _)| same(known)) {
            return Arc::clone(scope);
        }
        let scope: Arc<str> = match &*session {
            Some(session) => format!("user:{}", session.user_id).into(),
            None => format!("address:{}", entry.address).into(),
        };
        self.0 = Some((session.clone(), Arc::clone(&scope)));
        scope
    }
}

/// An operation of a transaction as the store knows it.
fn step(step: Step<'_>) -> dunlin_store::Step {
    use dunlin_store::Step as Store;
    match step {
        Step::Get { bucket, key, if_version } => Store::Get { bucket: bucket.into_owned(), key, if_version },
        Step::Where { bucket, filter } => Store::Where { bucket: bucket.into_owned(), filter },
        Step::FindOne { bucket, filter } => Store::FindOne { bucket: bucket.into_owned(), filter },
        Step::Count { bucket, filter } => {
            Store::Count { bucket: bucket.into_owned(), filter: filter.unwrap_or_default() }
        }
        Step::GroupBy { bucket, grouping: Grouping { by, function, field }, filter } => Store::GroupBy {
            bucket: bucket.into_owned(),
            by,
            function,
            field,
            filter: filter.unwrap_or_default(),
        },
        Step::Write(write) => Store::Write(unguarded(write).0),
    }
}

impl Shape {
    fn named(name: String, what: &'static str) -> Self {
        Self::Named { name: name.into(), what }
    }

    pub(super) fn of(field: &'static str, name: String, what: &'static str) -> Self {
        Self::Of { field, name: name.into(), what }
    }
}

/// The whole answer to a write that was done, with the position where the client wants to know it.
pub(crate) fn answer(id: Id, shape: &Shape, outcome: &Outcome, position: Option<u64>) -> String {
    match (shape, outcome) {
        (Shape::Named { name, what }, _) => {
            result(id, &frame::json(&json!({"name": name, *what: true})), position)
        }
        (Shape::Of { field, name, what }, _) => {
            result(id, &frame::json(&json!({*field: name, *what: true})), position)
        }
        // The commonest answer is made in one allocation of its size.
        (Shape::Outcome, Outcome::Record(record)) => result(id, record.json(), position),
        (Shape::Outcome, Outcome::Repeated(answer)) => result(id, answer.body.json(), position),
        (Shape::Outcome, outcome) => {
            let mut answer = frame::begin_result(id, 0);
            outcome.write_json(&mut answer);
            frame::end_result(&mut answer, position);
            answer
        }
    }
}

fn result(id: Id, data: &str, position: Option<u64>) -> String {
    match position {
        Some(position) => frame::result_at(id, data, position),
        None => frame::result(id, data),
    }
}

/// The error a refused write is answered with.
pub(crate) fn refusal(shape: &Shape, error: WriteError) -> Error {
    match error {
        WriteError::Refused(refusal) if matches!(shape, Shape::Named { .. }) => {
            refusal.administrative().into()
        }
        WriteError::Refused(refusal) => refusal.into(),
        WriteError::Rules(fault) => super::rules::refusal(&fault),
        WriteError::NoRules => super::no_rules(),
        WriteError::PartOfProgram { .. } => Error::new(Code::ValidationError, error.to_string()),
        WriteError::NotDurable(error) => {
            let text = "it was not done; reads go on, repeat it when writes work again";
            not_durable(&error, text)
        }
        WriteError::InDoubt(error) => {
            let text = "it may or may not have happened, which is known when writes work again: read before you repeat it, or \
                repeat it with the same idempotencyKey";
            not_durable(&error, text)
        }
        other => Error::new(Code::InternalError, other.to_string()),
    }
}

/// The error of a write that the journal could not take. Its own text names directories of this machine; it is in the log.
fn not_durable(error: &JournalError, what_to_do: &str) -> Error {
    let (code, reason) = (
        error.code(),
        match error {
            JournalError::DiskFull { .. } => "the server's disk is full",
            JournalError::Permission { .. } => "the server may not write to its disk",
            JournalError::Io { .. } => "the server's disk has failed",
            _ => "the server's journal is out of service",
        },
    );
    let message = format!("The write could not be made durable, {reason} ({code}): {what_to_do}");
    Error::new(Code::InternalError, message).with_details(json!({"storage": code}))
}
