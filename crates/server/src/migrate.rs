//! Migrations on a running server.

use dunlin_store::{Intent, Migration, Outcome};

use crate::store_actor::WriteError;
use crate::store_handle::StoreHandle;

impl StoreHandle {
    /// Runs the migrations that have not run on this store yet, in the order of their versions. Each is one commit: durable
    /// when it is over, or not done at all. The versions that ran now are returned. If one is refused, those before it stay,
    /// those behind it do not run.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use dunlin_server::Server;
    /// use dunlin_store::Migration;
    /// use serde_json::json;
    ///
    /// let migrations = || {
    ///     let notes = json!({"key": "id", "schema": {"id": {"type": "string"}}});
    ///     [
    ///         Migration::new(1, "notes", move |m| m.create_bucket("notes", &notes)),
    ///         Migration::new(2, "colours", |m| {
    ///             m.bucket("notes")?.add_field("colour", json!({"type": "string"}), Some(json!("yellow")))
    ///         }),
    ///     ]
    /// };
    /// # let server = Server::builder().memory().port(0).bind().await?;
    /// let store = server.store();
    /// assert_eq!(store.try_migrations(migrations()).await?, [1, 2]);
    /// assert!(store.snapshot().bucket("notes").is_err(), "tried, not done");
    /// assert_eq!(store.migrate(migrations()).await?, [1, 2]);
    /// assert!(store.migrate(migrations()).await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn migrate(
        &self,
        migrations: impl IntoIterator<Item = Migration>,
    ) -> Result<Vec<u64>, WriteError> {
        let mut ran = Vec::new();
        for migration in Migration::ordered(migrations)? {
            ran.extend(self.run_migrations(vec![migration], false).await?);
        }
        Ok(ran)
    }

    /// Carries the migrations out that have not run yet, one behind the other, checks everything, and undoes all of it. The
    /// versions that would run are returned.
    pub async fn try_migrations(
        &self,
        migrations: impl IntoIterator<Item = Migration>,
    ) -> Result<Vec<u64>, WriteError> {
        self.run_migrations(Migration::ordered(migrations)?, true).await
    }

    async fn run_migrations(
        &self,
        migrations: Vec<Migration>,
        dry_run: bool,
    ) -> Result<Vec<u64>, WriteError> {
        match self.execute(Intent::Migrate { migrations, dry_run }).await? {
            Outcome::Migrated { ran } => Ok(ran),
            _ => Err(WriteError::Interrupted),
        }
    }
}
