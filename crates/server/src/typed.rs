//! A bucket as a collection of values of a Rust type.

use std::marker::PhantomData;
use std::ops::Deref;

use dunlin_store::{Filter, Record, Snapshot, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::store_actor::WriteError;
use crate::store_handle::StoreHandle;

/// A bucket whose records are read as values of `T` and written from them. Cheap to clone.
///
/// Reads look at the newest durable state and wait for nobody; each looks at one state, two of them may look at two. A
/// member that is `None` is written as `null`, which generates no key and takes no default: give such members
/// `#[serde(skip_serializing_if = "Option::is_none")]`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use dunlin_server::Server;
/// use serde::{Deserialize, Serialize};
/// use serde_json::json;
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct User {
///     id: String,
///     age: u32,
/// }
///
/// let server = Server::builder().memory().port(0).bind().await?;
/// let store = server.store();
/// let schema = json!({"id": {"type": "string"}, "age": {"type": "number"}});
/// store.define_bucket("users", json!({"key": "id", "schema": schema})).await?;
///
/// let users = store.bucket::<User>("users");
/// let ada = users.insert(&User { id: "ada".into(), age: 36 }).await?;
/// assert_eq!((ada.age, ada.version), (36, 1));
/// users.update("ada", &json!({"age": 37})).await?;
/// assert_eq!(users.find(json!({"age": {"$gt": 36}}))?[0].id, "ada");
/// assert!(users.get("bob")?.is_none());
/// # Ok(())
/// # }
/// ```
pub struct TypedBucket<T> {
    store: StoreHandle,
    name: Box<str>,
    values: PhantomData<fn() -> T>,
}

/// A value as it is stored, with what the store says of it. It can be used like the value itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored<T> {
    /// The value.
    pub value: T,
    /// How often it was written: 1 after the insert.
    pub version: u64,
    /// When it was inserted, Unix milliseconds.
    pub created_at: u64,
    /// When it was last written, Unix milliseconds.
    pub updated_at: u64,
    /// When it is due to be removed, Unix milliseconds; `None` if never.
    pub expires_at: Option<u64>,
}

impl<T> Deref for Stored<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Why a typed read or write failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TypedError {
    /// The write was not done, or is in doubt.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The store refused to read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// The value cannot be written as JSON. Nothing has happened.
    #[error("A value for bucket \"{bucket}\" cannot be written as JSON: {source}")]
    Encode {
        /// The bucket.
        bucket: Box<str>,
        /// What serde says.
        source: serde_json::Error,
    },
    /// A record does not fit the type. If it comes from a write, the write was done.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// A record that does not fit the type it is read as.
#[derive(Debug, thiserror::Error)]
#[error(
    "A record of bucket \"{bucket}\" does not fit the type it is read as: {source}; its text is kept in the error, read it \
     untyped or change the type"
)]
#[non_exhaustive]
pub struct DecodeError {
    /// The bucket.
    pub bucket: Box<str>,
    /// The whole record as JSON text.
    pub json: Box<str>,
    /// What serde says.
    pub source: serde_json::Error,
}

impl<T> Clone for TypedBucket<T> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), name: self.name.clone(), values: PhantomData }
    }
}

impl<T> std::fmt::Debug for TypedBucket<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TypedBucket").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned> TypedBucket<T> {
    pub(crate) fn new(store: StoreHandle, name: &str) -> Self {
        Self { store, name: name.into(), values: PhantomData }
    }

    /// The bucket's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Inserts a value and returns it as stored, with generated members and defaults.
    pub async fn insert(&self, value: &T) -> Result<Stored<T>, TypedError> {
        let record = self.store.insert(&self.name, self.encode(value)?).await?;
        self.stored(&record)
    }

    /// Inserts values: all of them or none.
    pub async fn insert_many<'v>(
        &self,
        values: impl IntoIterator<Item = &'v T>,
    ) -> Result<Vec<Stored<T>>, TypedError>
    where
        T: 'v,
    {
        let values: Result<Vec<Value>, _> = values.into_iter().map(|value| self.encode(value)).collect();
        let records = self.store.insert_many(&self.name, values?).await?;
        records.iter().map(|record| self.stored(record)).collect()
    }

    /// Updates the value whose key `value` has, or inserts it.
    pub async fn upsert(&self, value: &T) -> Result<Stored<T>, TypedError> {
        let record = self.store.upsert(&self.name, self.encode(value)?).await?;
        self.stored(&record)
    }

    /// Changes the members in `changes` of the value with this key. `changes` is anything that serialises to a JSON object,
    /// a `T` too.
    pub async fn update(
        &self,
        key: impl Into<Value> + Send,
        changes: &(impl Serialize + Sync + ?Sized),
    ) -> Result<Stored<T>, TypedError> {
        let record = self.store.update(&self.name, key.into(), self.encode(changes)?).await?;
        self.stored(&record)
    }

    /// Removes the value with this key; whether it was there.
    pub async fn delete(&self, key: impl Into<Value> + Send) -> Result<bool, TypedError> {
        Ok(self.store.delete(&self.name, key.into()).await?)
    }

    /// [`update`](Self::update), if the value has this [`version`](Stored::version) by then; else
    /// [`StoreError::VersionConflict`](dunlin_store::StoreError::VersionConflict) tells the one that it has.
    pub async fn update_if(
        &self,
        key: impl Into<Value> + Send,
        changes: &(impl Serialize + Sync + ?Sized),
        version: u64,
    ) -> Result<Stored<T>, TypedError> {
        let changes = self.encode(changes)?;
        let record = self.store.update_if(&self.name, key.into(), changes, version).await?;
        self.stored(&record)
    }

    /// [`delete`](Self::delete), if the value has this [`version`](Stored::version) by then, 0 if it is not there.
    pub async fn delete_if(&self, key: impl Into<Value> + Send, version: u64) -> Result<bool, TypedError> {
        Ok(self.store.delete_if(&self.name, key.into(), version).await?)
    }

    /// The value with this key.
    pub fn get(&self, key: impl Into<Value>) -> Result<Option<Stored<T>>, TypedError> {
        let snapshot = self.store.snapshot();
        let record = snapshot.bucket(&self.name)?.get(&key.into());
        record.map(|record| self.stored(record)).transpose()
    }

    /// The values that match a filter, in table order.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "filters are written where they are used: `find(json!({…}))`"
    )]
    pub fn find(&self, filter: Value) -> Result<Vec<Stored<T>>, TypedError> {
        self.scan(&filter, usize::MAX)
    }

    /// The first value that matches a filter.
    #[expect(clippy::needless_pass_by_value, reason = "as on `find`")]
    pub fn find_one(&self, filter: Value) -> Result<Option<Stored<T>>, TypedError> {
        Ok(self.scan(&filter, 1)?.pop())
    }

    /// How many values match a filter.
    #[expect(clippy::needless_pass_by_value, reason = "as on `find`")]
    pub fn count(&self, filter: Value) -> Result<usize, TypedError> {
        let snapshot = self.store.snapshot();
        Ok(snapshot.bucket(&self.name)?.count(&parsed(&filter)?))
    }

    /// All values, in table order.
    pub fn all(&self) -> Result<Vec<Stored<T>>, TypedError> {
        let snapshot = self.store.snapshot();
        snapshot.bucket(&self.name)?.iter().map(|record| self.stored(record)).collect()
    }

    /// One record as a value, for records from elsewhere: an [event](crate::Events), a transaction.
    pub fn decode(&self, record: &Record) -> Result<Stored<T>, DecodeError> {
        let value = serde_json::from_str(record.json()).map_err(|source| DecodeError {
            bucket: self.name.clone(),
            json: record.json().into(),
            source,
        })?;
        Ok(Stored {
            value,
            version: record.version(),
            created_at: record.created_at(),
            updated_at: record.updated_at(),
            expires_at: record.expires_at(),
        })
    }

    fn scan(&self, filter: &Value, most: usize) -> Result<Vec<Stored<T>>, TypedError> {
        let snapshot: Snapshot = self.store.snapshot();
        let filter = parsed(filter)?;
        snapshot.bucket(&self.name)?.scan(&filter).take(most).map(|record| self.stored(record)).collect()
    }

    fn stored(&self, record: &Record) -> Result<Stored<T>, TypedError> {
        Ok(self.decode(record)?)
    }

    fn encode(&self, value: &(impl Serialize + ?Sized)) -> Result<Value, TypedError> {
        serde_json::to_value(value).map_err(|source| TypedError::Encode { bucket: self.name.clone(), source })
    }
}

/// A filter in code; `null` is none.
fn parsed(filter: &Value) -> Result<Filter, TypedError> {
    match filter {
        Value::Object(filter) => Ok(Filter::parse(filter)?),
        Value::Null => Ok(Filter::parse(&serde_json::Map::new())?),
        _ => Err(WriteError::NotAnObject { what: "filter" }.into()),
    }
}
