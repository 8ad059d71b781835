//! How much one transaction of a group takes in. PostgreSQL tells transactions apart; the code is the same on both engines.

use crate::kit::Place;
use crate::postgres::fairness::{Fed, Fill, PARTITIONS, feed, key_of};
use artel_flow::{Msg, Read, Service, Tx};
use artel_message::{Described, Fault, Query};
use artel_store::Migrations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many messages each transaction took in, the largest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "scale.weighed", reply = Vec<i64>)]
struct Weighed {}

const TABLES: Migrations = Migrations {
    component: "scale",
    files: &[("0001_scale.sql", "CREATE TABLE weighed (n BIGINT PRIMARY KEY, taken BIGINT NOT NULL);")],
};

async fn weigh(tx: &mut Tx, fed: Vec<Msg<Fed>>) -> Result<(), Fault> {
    let taken = i64::try_from(fed.len()).map_err(|_| Fault::internal("too many"))?;
    tx.exec(
        "INSERT INTO weighed (n, taken) VALUES (txid_current(), $1)
         ON CONFLICT (n) DO UPDATE SET taken = weighed.taken + excluded.taken",
        (taken,),
    )
    .await?;
    Ok(())
}

async fn weighed(read: &Read, _: Weighed) -> Result<Vec<i64>, Fault> {
    let rows: Vec<(i64,)> = read.all("SELECT taken FROM weighed ORDER BY taken DESC", ()).await?;
    Ok(rows.into_iter().map(|(taken,)| taken).collect())
}

#[tokio::test]
async fn a_transaction_ends_at_its_bytes() {
    let Some(mut place) = Place::on_postgres().await else { return };
    place.limits.partitions = PARTITIONS;
    place.limits.batch_bytes = 64 << 10;
    let services = || vec![feed(), Service::new("scale").migrations(TABLES).on_batch(weigh).query(weighed)];
    let catalogue =
        || vec![Described::command::<Fill>(), Described::event::<Fed>(), Described::query::<Weighed>()];
    let only = Some(vec!["feed".to_owned()]);
    let node = place.start_roles(services(), catalogue(), only).await.expect("start");
    for partition in 0..PARTITIONS {
        let fill = Fill { key: key_of(partition), count: 20, bytes: 16 << 10 };
        node.ctx("feed").ask(fill).await.expect("filled");
    }
    node.settle().await;
    node.stop().await;
    let node = place.start(services(), catalogue()).await.expect("start");
    node.settle().await;
    let weighed = node.ctx("scale").query(Weighed {}).await.expect("weighed");
    assert_eq!(weighed.iter().sum::<i64>(), 20 * i64::from(PARTITIONS));
    // Three are somewhat less than 64 KiB with their headers, and the fourth begins within them.
    assert_eq!(weighed.first(), Some(&4));
    node.stop().await;
}
