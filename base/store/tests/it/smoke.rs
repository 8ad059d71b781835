use artel_store::{Lane, Store, StoreSettings};

#[tokio::test]
async fn smoke() {
    let dir = tempfile::tempdir().unwrap();
    let store =
        Store::open(&format!("sqlite:{}", dir.path().display()), StoreSettings::default()).await.unwrap();
    let db = store.db("x").await.unwrap();
    let mut w = db.begin(Lane::Interactive).await.unwrap();
    w.exec("CREATE TABLE t (a BIGINT PRIMARY KEY, b TEXT)", ()).await.unwrap();
    let rows = (0..300i64).map(|n| artel_store::Args::values((n, "x"))).collect();
    assert_eq!(w.exec_rows("INSERT INTO t (a, b) VALUES {rows}", (), rows).await.unwrap(), 300);
    w.commit().await.unwrap();
    let mut w = db.begin(Lane::Interactive).await.unwrap();
    w.exec("DELETE FROM t", ()).await.unwrap();
    drop(w);
    let (n,): (i64,) = db.read().await.unwrap().one("SELECT count(*) FROM t", ()).await.unwrap();
    assert_eq!(n, 300);
    store.close().await;
}
