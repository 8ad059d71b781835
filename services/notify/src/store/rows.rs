//! What both a transaction and a snapshot can be asked.

use artel_flow::{Read, Tx};
use artel_store::{Args, FromRow, StoreError, Values};

/// Reads rows.
pub trait Rows: Send {
    fn all<R: FromRow + Send>(
        &mut self,
        sql: &'static str,
        args: impl Args,
    ) -> impl Future<Output = Result<Vec<R>, StoreError>> + Send;

    fn all_rows<R: FromRow + Send>(
        &mut self,
        sql: &'static str,
        fixed: impl Args,
        rows: Vec<Values>,
    ) -> impl Future<Output = Result<Vec<R>, StoreError>> + Send;
}

impl Rows for Tx {
    async fn all<R: FromRow + Send>(
        &mut self,
        sql: &'static str,
        args: impl Args,
    ) -> Result<Vec<R>, StoreError> {
        Tx::all(self, sql, args).await
    }

    async fn all_rows<R: FromRow + Send>(
        &mut self,
        sql: &'static str,
        fixed: impl Args,
        rows: Vec<Values>,
    ) -> Result<Vec<R>, StoreError> {
        Tx::all_rows(self, sql, fixed, rows).await
    }
}

impl Rows for &Read {
    async fn all<R: FromRow + Send>(
        &mut self,
        sql: &'static str,
        args: impl Args,
    ) -> Result<Vec<R>, StoreError> {
        Read::all(self, sql, args).await
    }

    async fn all_rows<R: FromRow + Send>(
        &mut self,
        sql: &'static str,
        fixed: impl Args,
        rows: Vec<Values>,
    ) -> Result<Vec<R>, StoreError> {
        Read::all_rows(self, sql, fixed, rows).await
    }
}
