//! `Read`: one snapshot of the service's database, for queries.

use crate::Failure;
use crate::ctx::Shared;
use artel_message::Time;
use artel_store::{Args, FromRow, StoreError, Values};
use std::sync::Arc;
use tokio::sync::Mutex;
use uuid::Uuid;

/// A read snapshot. Statements run one after another.
pub struct Read {
    inner: Mutex<artel_store::Read>,
    shared: Arc<Shared>,
    now: Time,
}

impl Read {
    pub(crate) async fn open(shared: &Arc<Shared>) -> Result<Read, Failure> {
        let inner = Mutex::new(shared.db.read().await?);
        Ok(Read { inner, shared: shared.clone(), now: shared.now() })
    }

    pub fn now(&self) -> Time {
        self.now
    }

    /// The service's settings.
    ///
    /// # Panics
    /// When `T` is not the type that the service registered.
    #[allow(clippy::expect_used)]
    pub fn settings<T: Send + Sync + 'static>(&self) -> Arc<T> {
        self.shared.settings.clone().downcast().expect("the settings type that the service registered")
    }

    /// Exactly one row.
    pub async fn one<R: FromRow>(&self, sql: &'static str, args: impl Args) -> Result<R, StoreError> {
        self.inner.lock().await.one(sql, args).await
    }

    /// One row or none.
    pub async fn opt<R: FromRow>(&self, sql: &'static str, args: impl Args) -> Result<Option<R>, StoreError> {
        self.inner.lock().await.opt(sql, args).await
    }

    pub async fn all<R: FromRow>(&self, sql: &'static str, args: impl Args) -> Result<Vec<R>, StoreError> {
        self.inner.lock().await.all(sql, args).await
    }

    /// As `all`, with `{rows}` in the text replaced by placeholders for `rows`.
    pub async fn all_rows<R: FromRow>(
        &self,
        sql: &'static str,
        fixed: impl Args,
        rows: Vec<Values>,
    ) -> Result<Vec<R>, StoreError> {
        self.inner.lock().await.all_rows(sql, fixed, rows).await
    }

    /// Messages that this service's groups gave up on, the newest first, those of one moment by falling id; behind the letter
    /// at this time with this id, when given.
    pub async fn dead_letters(
        &self,
        behind: Option<(Time, Uuid)>,
        limit: u32,
    ) -> Result<Vec<crate::DeadLetter>, StoreError> {
        let behind = behind.unwrap_or((Time::MAX, Uuid::max()));
        crate::storage::letters::list(&mut *self.inner.lock().await, behind, i64::from(limit)).await
    }

    /// Parked keys of this service's groups, or of the one with this full name, by id; behind the one with this id, when given.
    pub async fn parked_keys(
        &self,
        group: Option<&str>,
        behind: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<crate::ParkedKey>, StoreError> {
        let behind = behind.unwrap_or_default();
        crate::storage::held::list(&mut *self.inner.lock().await, group, behind, i64::from(limit)).await
    }

    /// The version of a projection to read from. The one that was switched to last; where this program does not have that one,
    /// the latest before it that it has.
    pub async fn serving(&self, projection: &str) -> Result<u32, StoreError> {
        crate::projections::serving(&mut *self.inner.lock().await, &self.shared, projection).await
    }

    /// How many messages of a kind (`repeat`, `unhandled`, `expired`, `foreign`, `dead`, `parked`) this service's groups counted.
    pub async fn counted(&self, kind: &str) -> Result<i64, StoreError> {
        crate::storage::counts::of_groups(&mut *self.inner.lock().await, kind).await
    }

    /// What [`crate::Tx::count`] has counted of a kind.
    pub async fn total(&self, kind: &str) -> Result<i64, StoreError> {
        crate::storage::counts::of_service(&mut *self.inner.lock().await, kind).await
    }
}
