//! What is written is read back, type by type.

use super::{Dice, change};
use crate::conformance::DbHarness;
use crate::{Args, Column, FromRow, Json, Lane, Row, StoreError, ToValue};
use artel_message::{Id, Time};
use bytes::Bytes;
use serde_json::{Value as Document, json};
use std::fmt::Debug;
use uuid::Uuid;

const TABLE: &str = "CREATE TABLE v (id BIGINT PRIMARY KEY, b BOOLEAN, i BIGINT, f DOUBLE PRECISION, s TEXT, y BYTEA, \
     u UUID, j JSONB)";
const DELETE: &str = "DELETE FROM v";

/// Writes the values of a type into its column and reads them back, nulls included.
async fn round_trip<T>(write: &mut crate::Write, insert: &'static str, select: &'static str, values: &[T])
where
    T: Column + Clone + PartialEq + Debug,
{
    for value in values {
        write.exec(DELETE, ()).await.expect("runs");
        write.exec(insert, (value.clone(),)).await.expect("takes the value");
        let (read,) = write.one::<(T,)>(select, (value.clone(),)).await.expect("finds it by the value");
        assert_eq!(read, *value);
        let (read,) =
            write.one::<(Option<T>,)>(select, (value.clone(),)).await.expect("reads it as an option");
        assert_eq!(read.as_ref(), Some(value));
    }
    write.exec(DELETE, ()).await.expect("runs");
    write.exec(insert, (None::<T>,)).await.expect("takes a null");
    let (read,) =
        write.one::<(Option<T>,)>(select, (None::<T>,)).await.expect("finds the null by a typed null");
    assert_eq!(read, None);
    let wrong = write.one::<(T,)>(select, (None::<T>,)).await;
    assert!(matches!(wrong, Err(StoreError::Decode { .. })), "a null is no {}", std::any::type_name::<T>());
}

macro_rules! round_trips {
    ($write:ident, $column:literal, $values:expr) => {
        round_trip(
            &mut $write,
            concat!("INSERT INTO v (id, ", $column, ") VALUES (1, $1)"),
            concat!("SELECT ", $column, " FROM v WHERE ", $column, " IS NOT DISTINCT FROM $1"),
            &$values,
        )
        .await
    };
}

enum Thing {}

pub async fn every_type(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    let mut write = db.begin(Lane::Interactive).await.expect("begins");
    round_trips!(write, "b", [true, false]);
    round_trips!(write, "i", [0, -1, i64::MIN, i64::MAX]);
    round_trips!(write, "i", [0, i32::MIN, i32::MAX]);
    round_trips!(write, "i", [0, u32::MAX]);
    round_trips!(write, "i", [0, 1, -1, 1_767_225_600_123_457].map(Time::from_micros));
    let floats = [0.0, 1.0, 0.1, -2.5e300, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY, f64::NEG_INFINITY];
    round_trips!(write, "f", floats);
    let texts = ["", " ", "a'b\"c", "1", "1.0", "дом 🦀", "$1 {rows} -- ;", "null"].map(str::to_owned);
    round_trips!(write, "s", texts);
    let blobs = [vec![], vec![0], b"text".to_vec(), (0..=255).collect::<Vec<u8>>()];
    round_trips!(write, "y", blobs);
    round_trips!(write, "y", blobs.map(Bytes::from));
    round_trips!(
        write,
        "u",
        [Uuid::nil(), Uuid::max(), Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001)]
    );
    round_trips!(write, "u", [Id::<Thing>::from_uuid(Uuid::max())]);
    let documents = [
        json!({"a": [1, 2.5, null, true], "дом": {"b": "c"}}),
        json!([]),
        json!("1"),
        json!("text"),
        json!(12),
        json!(-1.5),
        json!(true),
        Document::Null,
    ];
    round_trips!(write, "j", documents.map(Json));
    write.commit().await.expect("commits");
}

/// Nothing is converted silently.
pub async fn wrong_types(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    let insert = "INSERT INTO v (id, b, i, f, s, y, u, j) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let row = (1i64, true, i64::MAX, 1.5, "7", vec![1u8], Uuid::nil(), Json(json!({"a": 1})));
    change(&db, insert, row).await;
    let mut read = db.read().await.expect("reads");
    let wrong = [
        read.one::<(i64,)>("SELECT s FROM v", ()).await.map(|_| ()),
        read.one::<(i32,)>("SELECT i FROM v", ()).await.map(|_| ()),
        read.one::<(u32,)>("SELECT i FROM v", ()).await.map(|_| ()),
        read.one::<(String,)>("SELECT i FROM v", ()).await.map(|_| ()),
        read.one::<(String,)>("SELECT y FROM v", ()).await.map(|_| ()),
        read.one::<(Vec<u8>,)>("SELECT s FROM v", ()).await.map(|_| ()),
        read.one::<(Uuid,)>("SELECT y FROM v", ()).await.map(|_| ()),
        read.one::<(Time,)>("SELECT s FROM v", ()).await.map(|_| ()),
        read.one::<(bool,)>("SELECT s FROM v", ()).await.map(|_| ()),
        read.one::<(Json<Vec<i64>>,)>("SELECT j FROM v", ()).await.map(|_| ()),
        read.one::<(i64, i64)>("SELECT i FROM v", ()).await.map(|_| ()),
        read.one::<Named>("SELECT i FROM v", ()).await.map(|_| ()),
    ];
    for result in wrong {
        assert!(matches!(result, Err(StoreError::Decode { .. })), "{result:?}");
    }
    let named = read.one::<Named>("SELECT s, i FROM v", ()).await.expect("by name, in any order");
    assert_eq!((named.i, named.s.as_str()), (i64::MAX, "7"));
}

struct Named {
    i: i64,
    s: String,
}

impl FromRow for Named {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Named { i: row.get("i")?, s: row.get("s")? })
    }
}

/// Values of any shape, from seeded dice.
pub async fn any_values(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    let mut dice = Dice(7);
    let mut rows = Vec::new();
    for id in 0..500i64 {
        let length = dice.below(40);
        let bytes: Vec<u8> = (0..length).map(|_| u8::try_from(dice.below(256)).unwrap_or(0)).collect();
        let text: String = (0..length)
            .filter_map(|_| char::from_u32(u32::try_from(1 + dice.below(0x10_ffff)).unwrap_or(1)))
            .collect();
        let float = f64::from_bits(dice.below(u64::MAX));
        let float = (float.is_finite() && dice.below(5) > 0).then_some(float);
        rows.push((id, dice.below(u64::MAX).cast_signed(), float, text, bytes));
    }
    let mut write = db.begin(Lane::Background).await.expect("begins");
    let values = rows.iter().cloned().map(Args::values).collect();
    let sent = write.exec_rows("INSERT INTO v (id, i, f, s, y) VALUES {rows}", (), values).await;
    assert_eq!(sent.expect("runs"), 500);
    write.commit().await.expect("commits");
    let mut read = db.read().await.expect("reads");
    let select = "SELECT id, i, f, s, y FROM v ORDER BY id";
    assert_eq!(read.all::<(i64, i64, Option<f64>, String, Vec<u8>)>(select, ()).await.expect("reads"), rows);
}

/// `$1` may stand anywhere and more than once.
pub async fn repeated_parameters(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    change(&db, "INSERT INTO v (id, i, s) VALUES ($2, $2, $1)", ("$2", 5i64)).await;
    let mut write = db.begin(Lane::Interactive).await.expect("begins");
    let sql = "SELECT s FROM v WHERE i = $1 AND (id = $1 OR s = $2) AND s <> '$3' -- $4";
    assert_eq!(write.one::<(String,)>(sql, (5i64, "x")).await.expect("finds it").0, "$2");
    let sql =
        "UPDATE v SET i = $1 FROM (VALUES {rows}) AS r WHERE v.id = r.column1 AND v.s = $2 AND v.i <> $1";
    let changed = write.exec_rows(sql, (9i64, "$2"), vec![(5i64,).values(), (6i64,).values()]).await;
    assert_eq!(changed.expect("runs"), 1);
    assert_eq!(write.one::<(i64,)>("SELECT i FROM v", ()).await.expect("reads").0, 9);
}

/// Values of 8 MB.
pub async fn big_values(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    let mut dice = Dice(99);
    let bytes: Vec<u8> = (0..8 << 20).map(|_| u8::try_from(dice.below(256)).unwrap_or(0)).collect();
    let text = "ü".repeat(4 << 20);
    change(&db, "INSERT INTO v (id, s, y) VALUES (1, $1, $2)", (text.as_str(), bytes.as_slice())).await;
    let mut read = db.read().await.expect("reads");
    let back = read.one::<(String, Vec<u8>)>("SELECT s, y FROM v", ()).await.expect("reads");
    assert!(back == (text, bytes));
    assert!(matches!(<&str as ToValue>::NULL, crate::Value::Text(None)));
}
