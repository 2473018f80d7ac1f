//! Works an intent out against one state: everything is decided and checked here, nothing is changed.

mod admin;
mod write;

use crate::{Change, Commit, Context, Intent, Outcome, Prepared, Snapshot, StoreError};

impl Snapshot {
    /// Works out what `intent` does to this state: generated values, defaults, times, keys, checks. The commit, if
    /// there is one, is the next of this history and applies to exactly this state.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has happened then.
    pub fn prepare(&self, intent: Intent, ctx: &mut Context<'_>) -> Result<Prepared, StoreError> {
        let at = ctx.now;
        let (changes, outcome) = match intent {
            Intent::Insert { bucket, data } => write::insert(self.bucket(&bucket)?, &data, ctx)?,
            Intent::Update { bucket, key, changes } => {
                write::update(self.bucket(&bucket)?, &key, &changes, at)?
            }
            Intent::Delete { bucket, key } => write::delete(self.bucket(&bucket)?, &key),
            Intent::Clear { bucket } => write::clear(self.bucket(&bucket)?),
            Intent::DefineBucket { name, config } => admin::define_bucket(self, &name, &config)?,
            Intent::UpdateBucket { name, updates } => admin::update_bucket(self, &name, &updates)?,
            Intent::DropBucket { name } => {
                let bucket = self.bucket(&name).map_err(StoreError::administrative)?.id();
                (vec![Change::DropBucket { bucket }], Outcome::BucketDropped)
            }
            Intent::DefineQuery { name, config } => admin::define_query(self, &name, &config)?,
            Intent::UndefineQuery { name } => {
                let name = self.query(&name)?.name().clone();
                (vec![Change::UndefineQuery { name }], Outcome::QueryUndefined)
            }
        };
        let commit = (!changes.is_empty()).then(|| Commit { position: self.position + 1, at, changes });
        Ok(Prepared { commit, outcome })
    }
}
