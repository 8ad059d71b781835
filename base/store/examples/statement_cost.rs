//! What a statement and a transaction cost on SQLite, in microseconds: `cargo run --release -p artel-store --example
//! statement_cost [FOLDER]`. The folder's disk decides the cost of a commit.

use artel_store::{Args, Db, Lane, Store, StoreError, StoreSettings, Values};
use std::time::Instant;

const INSERT: &str = "INSERT INTO cost (id, name, body) VALUES ($1, $2, $3)";
const INSERT_ROWS: &str = "INSERT INTO cost (id, name, body) VALUES {rows}";
const ONE: &str = "SELECT name FROM cost WHERE id = $1";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let folder =
        std::env::args().nth(1).map_or_else(|| temporary.path().to_owned(), std::path::PathBuf::from);
    let store = Store::open(&format!("sqlite:{}", folder.display()), StoreSettings::default()).await?;
    let db = store.db("cost").await?;
    let mut write = db.begin(Lane::Interactive).await?;
    write.exec("DROP TABLE IF EXISTS cost", ()).await?;
    write
        .exec("CREATE TABLE cost (id BIGINT PRIMARY KEY, name TEXT NOT NULL, body BYTEA NOT NULL)", ())
        .await?;
    write.commit().await?;
    // Twice: the first round fills the caches of statements.
    for round in 0..2 {
        println!("round {round}");
        measure(&db).await?;
    }
    store.close().await;
    Ok(())
}

fn row(id: i64) -> Values {
    (id, "a name of some length", vec![7u8; 200]).values()
}

fn show(what: &str, begun: Instant, count: u32) {
    println!("  {what:<46} {:>9.2} µs", begun.elapsed().as_secs_f64() * 1e6 / f64::from(count));
}

async fn measure(db: &Db) -> Result<(), StoreError> {
    const N: u32 = 10_000;
    let mut write = db.begin(Lane::Interactive).await?;
    let begun = Instant::now();
    for id in 0..N {
        write.exec(INSERT, row(i64::from(id))).await?;
    }
    show("INSERT of one row in a transaction", begun, N);
    let begun = Instant::now();
    for id in 0..N {
        write.one::<(String,)>(ONE, (i64::from(id),)).await?;
    }
    show("SELECT of one row in a transaction", begun, N);
    write.rollback().await?;
    for size in [1u32, 4, 16, 64, 256, 1000] {
        let mut write = db.begin(Lane::Interactive).await?;
        let mut all: Vec<Vec<Values>> =
            (0..N / size).map(|c| (0..size).map(|n| row(i64::from(c * size + n))).collect()).collect();
        let begun = Instant::now();
        for rows in all.drain(..) {
            write.exec_rows(INSERT_ROWS, (), rows).await?;
        }
        show(&format!("INSERT per row, {size} at once"), begun, N / size * size);
        write.rollback().await?;
    }
    let begun = Instant::now();
    for _ in 0..1000 {
        db.begin(Lane::Interactive).await?.commit().await?;
    }
    show("begin + commit, nothing written", begun, 1000);
    let begun = Instant::now();
    for id in 0..1000 {
        let mut write = db.begin(Lane::Interactive).await?;
        write.exec(INSERT, row(id)).await?;
        write.commit().await?;
    }
    show("begin + INSERT + commit (fsync)", begun, 1000);
    let begun = Instant::now();
    for id in 0..1000i64 {
        db.read().await?.one::<(String,)>(ONE, (id,)).await?;
    }
    show("read + SELECT", begun, 1000);
    let mut write = db.begin(Lane::Interactive).await?;
    write.exec("DELETE FROM cost", ()).await?;
    write.commit().await
}
