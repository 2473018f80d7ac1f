//! Carries writes out: decides everything that a commit says, and checks everything that must hold.

mod admin;
mod alter;
mod answers;
mod check;
mod conform;
mod import;
mod migrate;
mod note;
mod remove;
mod transaction;
mod write;

pub use import::Import;
pub use migrate::{Migrating, MigratingBucket};

use crate::draft::Draft;
use crate::idempotency::Known;
use crate::{Context, Executed, Guard, Intent, Outcome, Snapshot, StoreError};

impl Snapshot {
    /// Carries `intent` out on this state: generated values, defaults, times, keys, checks. Afterwards the state stands at
    /// the commit, if there is one; other clones of it do not change.
    ///
    /// # Errors
    /// [`StoreError`]; the state is then as before.
    pub fn execute(&mut self, intent: Intent, ctx: &mut Context<'_>) -> Result<Executed, StoreError> {
        let now = ctx.now;
        let (intent, idempotency) = match intent {
            Intent::Idempotent { idempotency, write } => {
                let place = match idempotency.look_up(self, &write, now)? {
                    Known::Repeated(answer) => {
                        return Ok(Executed::nothing(Outcome::Repeated(answer)));
                    }
                    Known::New(place) => place,
                };
                (*write, Some((idempotency, place)))
            }
            other => (other, None),
        };
        let (intent, guard) = match intent {
            Intent::Guarded { guard, write } => (*write, guard),
            other => (other, Guard::default()),
        };
        let dry_run = matches!(&intent, Intent::Migrate { dry_run: true, .. });
        let mut draft = Draft::new(self).guarded(guard);
        let carried_out = carry_out(&mut draft, intent, ctx).and_then(|outcome| {
            check::whole(&draft)?;
            if let Some((idempotency, place)) = idempotency {
                let answer = idempotency.answer(draft.state(), place, &outcome, now, &ctx.answers)?;
                draft.remember(answer, place);
            }
            Ok(outcome)
        });
        match carried_out {
            Ok(outcome) if dry_run => {
                draft.undo();
                Ok(Executed::nothing(outcome))
            }
            Ok(outcome) => {
                let changed = if ctx.notice { draft.changed() } else { Vec::new() };
                Ok(Executed { commit: draft.finish(now), outcome, changed })
            }
            Err(error) => {
                draft.undo();
                Err(error)
            }
        }
    }
}

fn carry_out(draft: &mut Draft<'_>, intent: Intent, ctx: &mut Context<'_>) -> Result<Outcome, StoreError> {
    match intent {
        Intent::Transaction { operations } => transaction::run(draft, operations, ctx),
        Intent::Migrate { migrations, .. } => migrate::run(draft, migrations, ctx),
        Intent::Expire { bucket, row } => remove::expire(draft, bucket, row, ctx),
        Intent::System(noted) => note::run(draft, noted, ctx),
        Intent::ForgetAnswers => answers::forget(draft, ctx.now),
        Intent::DefineBucket { name, config } => admin::define_bucket(draft, &name, &config),
        Intent::UpdateBucket { name, updates } => alter::update_bucket(draft, &name, &updates, ctx),
        Intent::DropBucket { name } => admin::drop_bucket(draft, &name),
        Intent::DefineQuery { name, config } => admin::define_query(draft, &name, &config),
        Intent::UndefineQuery { name } => admin::undefine_query(draft, &name),
        records => transaction::write(draft, records, ctx),
    }
}
