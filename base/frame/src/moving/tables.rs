//! A service's database: every table that it has, with the places of the log as they are now.

use super::{MoveError, SameTable};
use crate::backup::Progress;
use artel_flow::Service;
use artel_flow::moving::{NewPlaces, Rewrite};
use artel_store::{Db, Refill, Table, TableHash, Value};

/// How much is inserted at a time.
const ROWS: usize = 1_000;
const BYTES: usize = 4 << 20;

/// Copies all tables in one transaction, then reads them back; what is the same.
pub(super) async fn copy(
    service: &Service,
    from: &Db,
    to: &Db,
    places: &NewPlaces,
    rows: u64,
    progress: &Progress,
) -> Result<Vec<SameTable>, MoveError> {
    let tables = same(service, from.tables().await?, to.tables().await?)?;
    progress.count(format!("copying the database of '{}'", service.name()), "rows", rows);
    let mut refill = to.refill(&tables).await?;
    let mut hashes = Vec::with_capacity(tables.len());
    for table in &tables {
        let copying = Copying { service, from, places, progress };
        hashes.push(copying.table(table, &mut refill).await?);
    }
    refill.finish().await?;
    progress.count(format!("comparing the database of '{}'", service.name()), "rows", rows);
    let mut same = Vec::with_capacity(tables.len());
    for (table, wanted) in tables.iter().zip(hashes) {
        let found = hash(to, table, progress).await?;
        if found != wanted {
            return Err(MoveError::Differs {
                service: service.name().to_owned(),
                table: table.name.clone(),
                source_rows: wanted.rows,
                target_rows: found.rows,
            });
        }
        let (service, table) = (service.name().to_owned(), table.name.clone());
        same.push(SameTable { service, table, rows: found.rows, checksum: found.hex() });
    }
    Ok(same)
}

/// The target's tables, if the source has the same ones with the same columns.
pub(super) fn same(service: &Service, from: Vec<Table>, to: Vec<Table>) -> Result<Vec<Table>, MoveError> {
    let wrong = |table: &str, reason: &str| MoveError::Columns {
        service: service.name().to_owned(),
        table: table.to_owned(),
        reason: reason.to_owned(),
    };
    for table in &from {
        let there = to.iter().find(|there| there.name == table.name);
        let there = there.ok_or_else(|| wrong(&table.name, "it is not there"))?;
        if table.ordered_as(there).is_none() {
            return Err(wrong(&table.name, "the columns are not the same"));
        }
    }
    match to.iter().find(|table| from.iter().all(|there| there.name != table.name)) {
        Some(table) => Err(wrong(&table.name, "it is there alone")),
        None => Ok(to),
    }
}

struct Copying<'a> {
    service: &'a Service,
    from: &'a Db,
    places: &'a NewPlaces,
    progress: &'a Progress,
}

impl Copying<'_> {
    /// One table; the checksum of what it has to be.
    async fn table(&self, table: &Table, refill: &mut Refill) -> Result<TableHash, MoveError> {
        let rewrite = Rewrite::of(table, self.service.log_positions(), self.places);
        let (mut hash, mut batch, mut bytes) = (TableHash::default(), Vec::new(), 0);
        let mut read = self.from.read().await?;
        let mut rows = read.rows_of(table)?;
        while let Some(mut row) = rows.next().await? {
            rewrite.apply(table, &mut row);
            hash.add(&row)?;
            bytes += row.iter().map(size).sum::<usize>();
            batch.push(row);
            if batch.len() >= ROWS || bytes >= BYTES {
                self.insert(table, &mut batch, refill).await?;
                bytes = 0;
            }
        }
        self.insert(table, &mut batch, refill).await?;
        Ok(hash)
    }

    async fn insert(
        &self,
        table: &Table,
        batch: &mut Vec<Vec<Value>>,
        refill: &mut Refill,
    ) -> Result<(), MoveError> {
        let count = batch.len() as u64;
        refill.insert(table, std::mem::take(batch)).await?;
        self.progress.add(count);
        Ok(())
    }
}

async fn hash(db: &Db, table: &Table, progress: &Progress) -> Result<TableHash, MoveError> {
    let mut hash = TableHash::default();
    let mut read = db.read().await?.unbounded().await?;
    let mut rows = read.rows_of(table)?;
    while let Some(row) = rows.next().await? {
        hash.add(&row)?;
        progress.add(1);
    }
    Ok(hash)
}

/// About how many bytes it takes.
fn size(value: &Value) -> usize {
    match value {
        Value::Text(Some(text)) | Value::Json(Some(text)) => text.len(),
        Value::Bytes(Some(bytes)) => bytes.len(),
        _ => 8,
    }
}
