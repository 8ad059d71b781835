//! What comes out of a statement.

#[cfg(feature = "postgres")]
use crate::postgres;
use crate::value::{Json, ToValue};
use crate::{StoreError, sqlite};
use artel_message::{Id, Time};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::sqlite::SqliteRow;
use std::borrow::Cow;
use uuid::Uuid;

/// One row of a result.
pub struct Row(pub(crate) RowKind);

pub(crate) enum RowKind {
    Sqlite(SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgRow),
    #[cfg(feature = "sim")]
    Sim(crate::sim::SimRow),
}

impl Row {
    /// The value at a position, as the engine gave it.
    pub(crate) fn cell(&self, at: usize) -> Result<Cell<'_>, String> {
        cell(self, Place::At(at))
    }

    /// The column of that name or position (from 0). A null is an error unless `T` is an `Option`, and so is a value of
    /// another type: nothing is converted silently.
    pub fn get<T: Column>(&self, column: impl ColumnIndex) -> Result<T, StoreError> {
        let cell = column.cell(self)?;
        T::from_cell(&cell).map_err(|reason| StoreError::Decode {
            column: column.name().into_owned(),
            reason: reason.into(),
        })
    }
}

/// A column of a row.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    Named(&'a str),
    At(usize),
}

fn cell<'r>(row: &'r Row, place: Place<'_>) -> Result<Cell<'r>, String> {
    match &row.0 {
        RowKind::Sqlite(row) => match place {
            Place::Named(name) => sqlite::cell(row, name),
            Place::At(index) => sqlite::cell(row, index),
        },
        #[cfg(feature = "postgres")]
        RowKind::Postgres(row) => match place {
            Place::Named(name) => postgres::cell(row, name),
            Place::At(index) => postgres::cell(row, index),
        },
        #[cfg(feature = "sim")]
        RowKind::Sim(row) => crate::sim::cell(row, place),
    }
}

/// How a column is named: `"name"` or its position.
pub trait ColumnIndex: Copy {
    #[doc(hidden)]
    fn cell(self, row: &Row) -> Result<Cell<'_>, StoreError>;
    #[doc(hidden)]
    fn name(self) -> Cow<'static, str>;
}

impl ColumnIndex for &str {
    fn cell(self, row: &Row) -> Result<Cell<'_>, StoreError> {
        cell(row, Place::Named(self)).map_err(|reason| StoreError::Decode { column: self.to_owned(), reason })
    }
    fn name(self) -> Cow<'static, str> {
        Cow::Owned(self.to_owned())
    }
}

impl ColumnIndex for usize {
    fn cell(self, row: &Row) -> Result<Cell<'_>, StoreError> {
        cell(row, Place::At(self)).map_err(|reason| StoreError::Decode { column: self.to_string(), reason })
    }
    fn name(self) -> Cow<'static, str> {
        Cow::Owned(self.to_string())
    }
}

/// One value of a row, as the engine gave it.
pub struct Cell<'r>(pub(crate) CellKind<'r>);

pub(crate) enum CellKind<'r> {
    Null,
    I64(i64),
    F64(f64),
    Text(Cow<'r, str>),
    Bytes(Cow<'r, [u8]>),
    // SQLite has no types of their own for these and gives an integer, bytes and text.
    #[cfg(feature = "postgres")]
    Bool(bool),
    #[cfg(feature = "postgres")]
    Uuid(Uuid),
    #[cfg(feature = "postgres")]
    Json(&'r str),
}

/// What a column can be read as. A type of a service implements it by reading a base type and converting:
/// `i64::from_cell(cell).and_then(..)`.
pub trait Column: ToValue {
    /// The error is the reason alone; [`Row::get`] adds the column.
    fn from_cell(cell: &Cell<'_>) -> Result<Self, Cow<'static, str>>;
}

fn wrong<T>(wanted: &'static str, cell: &Cell<'_>) -> Result<T, Cow<'static, str>> {
    let found = match &cell.0 {
        CellKind::Null => "null",
        CellKind::I64(_) => "an integer",
        CellKind::F64(_) => "a float",
        CellKind::Text(_) => "text",
        CellKind::Bytes(_) => "bytes",
        #[cfg(feature = "postgres")]
        CellKind::Bool(_) => "true or false",
        #[cfg(feature = "postgres")]
        CellKind::Uuid(_) => "a uuid",
        #[cfg(feature = "postgres")]
        CellKind::Json(_) => "a JSON document",
    };
    Err(format!("is {found} where {wanted} is read").into())
}

impl Column for i64 {
    fn from_cell(cell: &Cell<'_>) -> Result<Self, Cow<'static, str>> {
        match cell.0 {
            CellKind::I64(n) => Ok(n),
            _ => wrong("an integer", cell),
        }
    }
}

impl Column for i32 {
    fn from_cell(cell: &Cell<'_>) -> Result<Self, Cow<'static, str>> {
        let n = i64::from_cell(cell)?;
        i32::try_from(n).map_err(|_| format!("{n} is out of the range of 32 bits").into())
    }
}

impl Column for u32 {
    fn from_cell(cell: &Cell<'_>) -> Result<Self, Cow<'static, str>> {
        let n = i64::from_cell(cell)?;
        u32::try_from(n).map_err(|_| format!("{n} is out of the range of 32 bits without sign").into())
    }
}

impl Column for bool {
    fn from_cell(cell: &Cell<'_>) -> Result<Self, Cow<'static, str>> {
        match cell.0 {
            CellKind::I64(0) => Ok(false),
            CellKind::I64(1) => Ok(true),
            #[cfg(feature = "postgres")]
            CellKind::Bool(b) => Ok(b),
            _ => wrong("true or false", cell),
        }
    }
}

impl Column for f64 {
    fn from_cell(cell: &Cell<'_>) -> Result<Self, Cow<'static, str>> {
        match cell.0 {
            CellKind::F64(x) => Ok(x),
            _ => wrong("a float", cell),
        }
    }
}

impl Column for String {
    fn from_cell(cell: &Cell<'_>) -> Result<Self, Cow<'static, str>> {
        match &cell.0 {
            CellKind::Text(text) => Ok(text.clone().into_owned()),
            _ => wrong("text", cell),
        }
    }
}

impl Column for Vec<u8> {
    fn from_cell(cell: &Cell<'_>) -> Result<Self, Cow<'static, str>> {
        match &cell.0 {
            CellKind::Bytes(bytes) => Ok(bytes.clone().into_owned()),
            _ => wrong("bytes", cell),
        }
    }
}

impl Column for Bytes {
    fn from_cell(cell: &Cell<'_>) -> Result<Self, Cow<'static, str>> {
        Vec::<u8>::from_cell(cell).map(Bytes::from)
    }
}

impl Column for Uuid {
    fn from_cell(cell: &Cell<'_>) -> Result<Self, Cow<'static, str>> {
        match &cell.0 {
            CellKind::Bytes(bytes) => {
                Uuid::from_slice(bytes).map_err(|_| "is not the 16 bytes of a uuid".into())
            }
            #[cfg(feature = "postgres")]
            CellKind::Uuid(uuid) => Ok(*uuid),
            _ => wrong("a uuid", cell),
        }
    }
}

impl<T> Column for Id<T> {
    fn from_cell(cell: &Cell<'_>) -> Result<Self, Cow<'static, str>> {
        Uuid::from_cell(cell).map(Id::from_uuid)
    }
}

impl Column for Time {
    fn from_cell(cell: &Cell<'_>) -> Result<Self, Cow<'static, str>> {
        i64::from_cell(cell).map(Time::from_micros)
    }
}

impl<T: Serialize + DeserializeOwned + Send> Column for Json<T> {
    fn from_cell(cell: &Cell<'_>) -> Result<Self, Cow<'static, str>> {
        let parsed = match &cell.0 {
            CellKind::Text(text) => serde_json::from_str(text),
            #[cfg(feature = "postgres")]
            CellKind::Json(text) => serde_json::from_str(text),
            // SQLite gives a document that is a bare number as that number: JSONB has numeric affinity there.
            CellKind::I64(n) => serde_json::from_str(&n.to_string()),
            CellKind::F64(x) => serde_json::from_value(serde_json::Value::from(*x)),
            _ => return wrong("a JSON document", cell),
        };
        parsed.map(Json).map_err(|error| format!("is not the JSON document that is read: {error}").into())
    }
}

impl<T: Column> Column for Option<T> {
    fn from_cell(cell: &Cell<'_>) -> Result<Self, Cow<'static, str>> {
        match cell.0 {
            CellKind::Null => Ok(None),
            _ => T::from_cell(cell).map(Some),
        }
    }
}

/// What a row becomes. Tuples up to 16 take the columns in order; structs implement it with `row.get("name")?`.
pub trait FromRow: Sized + Send {
    fn from_row(row: &Row) -> Result<Self, StoreError>;
}

macro_rules! from_row {
    ($($name:ident $index:literal)+) => {
        impl<$($name: Column),+> FromRow for ($($name,)+) {
            fn from_row(row: &Row) -> Result<Self, StoreError> {
                Ok(($(row.get::<$name>($index)?,)+))
            }
        }
    };
}

from_row!(A 0usize);
from_row!(A 0usize B 1usize);
from_row!(A 0usize B 1usize C 2usize);
from_row!(A 0usize B 1usize C 2usize D 3usize);
from_row!(A 0usize B 1usize C 2usize D 3usize E 4usize);
from_row!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize);
from_row!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize);
from_row!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize);
from_row!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize I 8usize);
from_row!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize I 8usize J 9usize);
from_row!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize I 8usize J 9usize K 10usize);
from_row!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize I 8usize J 9usize K 10usize
    L 11usize);
from_row!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize I 8usize J 9usize K 10usize
    L 11usize M 12usize);
from_row!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize I 8usize J 9usize K 10usize
    L 11usize M 12usize N 13usize);
from_row!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize I 8usize J 9usize K 10usize
    L 11usize M 12usize N 13usize O 14usize);
from_row!(A 0usize B 1usize C 2usize D 3usize E 4usize F 5usize G 6usize H 7usize I 8usize J 9usize K 10usize
    L 11usize M 12usize N 13usize O 14usize P 15usize);
