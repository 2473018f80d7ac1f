//! Takes in many records at once, as they come from a file.

use super::{check, remove, write};
use crate::draft::Draft;
use crate::{Bucket, BucketId, Context, Executed, Object, Outcome, Snapshot, StoreError, system};

/// Records for one bucket, one by one.
pub struct Import<'a> {
    /// Name of the bucket.
    pub bucket: &'a str,
    /// Whether the records that the bucket has go first.
    pub replace: bool,
    /// The records. One that cannot be read refuses the import.
    pub records: &'a mut dyn Iterator<Item = Result<Object, StoreError>>,
}

impl Snapshot {
    /// Adds records that were exported, with their metadata as it was, to one or more buckets: all of them or none. They
    /// are held to the buckets' definitions as every other record is. Memory is needed for the records as they are kept,
    /// not for all of them as they are given.
    ///
    /// ```
    /// # use dunlin_store::{Context, IdSource, Import, Intent, Snapshot};
    /// # use serde_json::json;
    /// # struct Ids(u128);
    /// # impl IdSource for Ids {
    /// #     fn next(&mut self) -> u128 {
    /// #         self.0 += 1;
    /// #         self.0
    /// #     }
    /// # }
    /// # let mut ids = Ids(0);
    /// # let mut ctx = Context::new(1_000, &mut ids);
    /// # let mut state = Snapshot::new("epoch-1");
    /// # let config = json!({"key": "id", "schema": {"id": {"type": "string"}}}).as_object().cloned().unwrap_or_default();
    /// # state.execute(Intent::DefineBucket { name: "points".into(), config }, &mut ctx)?;
    /// let lines = [r#"{"id":"a","_version":7}"#, r#"{"id":"b"}"#];
    /// let mut records = lines.iter().map(|line| Ok(serde_json::from_str(line).unwrap_or_default()));
    /// state.import(&mut [Import { bucket: "points", replace: false, records: &mut records }], &mut ctx)?;
    /// assert_eq!(state.bucket("points")?.get(&json!("a")).map(|record| record.version()), Some(7));
    /// # Ok::<(), dunlin_store::StoreError>(())
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Import`] naming the bucket and the record that is refused. The state is then as before.
    pub fn import(
        &mut self,
        imports: &mut [Import<'_>],
        ctx: &mut Context<'_>,
    ) -> Result<Executed, StoreError> {
        let now = ctx.now;
        let mut draft = Draft::new(self);
        match take_in(&mut draft, imports, ctx) {
            Ok(outcome) => Ok(Executed { commit: draft.finish(now), outcome, changed: Vec::new() }),
            Err(error) => {
                draft.undo();
                Err(error)
            }
        }
    }
}

fn take_in(
    draft: &mut Draft<'_>,
    imports: &mut [Import<'_>],
    ctx: &mut Context<'_>,
) -> Result<Outcome, StoreError> {
    imports.iter().try_for_each(|import| system::refuse(import.bucket))?;
    let mut taken = 0;
    let replaced: Vec<BucketId> = imports
        .iter()
        .filter(|import| import.replace)
        .map(|import| draft.state().bucket(import.bucket).map(Bucket::id))
        .collect::<Result<_, _>>()?;
    remove::clear_together(draft, &replaced, ctx)?;
    // Which records of which import are counted through, so that a fault found in the end can be told with its place.
    let mut first = Vec::with_capacity(imports.len());
    for import in imports.iter_mut() {
        let id = draft.state().bucket(import.bucket)?.id();
        first.push((taken, import.bucket));
        for (place, record) in import.records.enumerate() {
            draft.begin_operation(taken);
            record
                .and_then(|record| write::import(draft, id, &record, ctx))
                .map_err(|error| refused(import.bucket, place, error))?;
            taken += 1;
        }
    }
    check::whole(draft).map_err(|error| match error {
        StoreError::Operation { index, error } => {
            let import = first.iter().rev().find(|(first, _)| *first <= index);
            import.map_or_else(
                || *error.clone(),
                |(first, bucket)| refused(bucket, index - first, *error.clone()),
            )
        }
        other => other,
    })?;
    Ok(Outcome::Count(taken))
}

fn refused(bucket: &str, place: usize, error: StoreError) -> StoreError {
    StoreError::Import { bucket: bucket.into(), record: place + 1, error: error.into() }
}
