//! `idempotencyKey` and `ifVersion`: where they belong. Elsewhere they are refused, not ignored as unknown fields are: whoever
//! sends them relies on them.

use std::borrow::Cow;

use super::fields::validation;
use super::{Operation, Write};
use crate::Error;
use crate::limits::MAX_IDEMPOTENCY_KEY_BYTES;
use crate::request::{Request, Scalar};

/// Where an `idempotencyKey` may stand.
const KEYED: &str = "store.insert, insertMany, update, updateMany, upsert, delete, deleteMany, clear and transaction, rules.emit, setFact and deleteFact";

/// Where an `ifVersion` may stand.
pub(super) const VERSIONED: &str =
    "store.update and store.delete, and in a transaction on get, insert (0 only), update and delete";

/// The same operation with its key, if it may have one and is asked for no version that it cannot be asked for.
pub(super) fn checked<'a>(operation: Operation<'a>, request: &Request<'a>) -> Result<Operation<'a>, Error> {
    let (fields, kind) = (&request.fields, &request.kind);
    if fields.if_version.is_some() && !operation.is_versioned() {
        let message = format!("Unexpected \"ifVersion\": it is for {VERSIONED}, not for \"{kind}\"");
        return Err(validation(message));
    }
    match (operation, &fields.idempotency_key) {
        (operation, None) => Ok(operation),
        (Operation::Write { write, .. }, Some(key)) if write.is_of_records() => {
            Ok(Operation::Write { write, idempotency_key: Some(idempotency_key(key)?) })
        }
        (Operation::RuleWrite { write, .. }, Some(key)) if write.can_be_repeated() => {
            Ok(Operation::RuleWrite { write, idempotency_key: Some(idempotency_key(key)?) })
        }
        (_, Some(_)) => {
            let message = format!("Unexpected \"idempotencyKey\": it is for {KEYED}, not for \"{kind}\"");
            Err(validation(message))
        }
    }
}

fn idempotency_key<'a>(key: &Scalar<'a>) -> Result<Cow<'a, str>, Error> {
    match key {
        Scalar::Text(key) if (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&key.len()) => Ok(key.clone()),
        _ => {
            let most = MAX_IDEMPOTENCY_KEY_BYTES;
            Err(validation(format!(
                "Invalid \"idempotencyKey\": expected string of 1 to {most} bytes (UTF-8)"
            )))
        }
    }
}

impl Operation<'_> {
    fn is_versioned(&self) -> bool {
        matches!(self, Self::Write { write: Write::Update { .. } | Write::Delete { .. }, .. })
    }
}

impl Write<'_> {
    /// Whether it writes records, and no definition.
    fn is_of_records(&self) -> bool {
        match self {
            Self::Insert { .. }
            | Self::InsertMany { .. }
            | Self::Update { .. }
            | Self::UpdateMany { .. }
            | Self::Upsert { .. }
            | Self::Delete { .. }
            | Self::DeleteMany { .. }
            | Self::Clear { .. }
            | Self::Transaction { .. } => true,
            Self::DefineBucket { .. }
            | Self::DropBucket { .. }
            | Self::UpdateBucket { .. }
            | Self::DefineQuery { .. }
            | Self::UndefineQuery { .. } => false,
        }
    }
}
