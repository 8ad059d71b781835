//! A service that does not get on holds up no other one: not in what it takes in, not in what the node keeps in memory for it. It is
//! complete once it gets on again.

use crate::gated::{Answer, Asked};
use crate::kit::{Node, Place};
use artel_flow::{Msg, Read, Service, Tx};
use artel_message::{Command, Described, Event, Fault, Query};
use artel_store::{Lane, Migrations, Write};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::watch;

/// What most of it does without; who is held up takes all of it.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);
const KEYS: usize = 4;
const MESSAGES: usize = 200;
const BYTES: usize = 16 << 10;
/// A transaction takes four of them.
const BATCH_BYTES: usize = 64 << 10;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "farm.grow")]
struct Grow {
    count: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "farm.grown", topic = "farm.food", key = key)]
struct Grown {
    key: String,
    number: usize,
    text: String,
}

/// What the slow one says of each.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "slow.chewed", topic = "slow.chew", key = key)]
struct Chewed {
    key: String,
    number: usize,
}

/// The numbers in the order in which the quick one took them in.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "quick.eaten", reply = Vec<i64>)]
struct Eaten {}

const TABLES: Migrations = Migrations {
    component: "quick",
    files: &[("0001_quick.sql", "CREATE TABLE eaten (n BIGINT PRIMARY KEY, number BIGINT NOT NULL);")],
};

async fn grow(tx: &mut Tx, grow: Grow) -> Result<(), Fault> {
    for number in 0..grow.count {
        tx.publish(Grown { key: format!("key-{}", number % KEYS), number, text: "x".repeat(BYTES) });
    }
    Ok(())
}

async fn eat(tx: &mut Tx, grown: Vec<Msg<Grown>>) -> Result<(), Fault> {
    for grown in grown {
        let number = grown.into_inner().number;
        let sql = "INSERT INTO eaten (n, number) SELECT coalesce(max(n), 0) + 1, $1 FROM eaten";
        tx.exec(sql, (i64::try_from(number).map_err(|e| Fault::internal(e.to_string()))?,)).await?;
    }
    Ok(())
}

async fn eaten(read: &Read, _: Eaten) -> Result<Vec<i64>, Fault> {
    let rows: Vec<(i64,)> = read.all("SELECT number FROM eaten ORDER BY n", ()).await?;
    Ok(rows.into_iter().map(|(number,)| number).collect())
}

type Chewing = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>;

/// Chews while it may.
fn slow(may: &watch::Sender<bool>) -> Service {
    let may = may.clone();
    let chew = move |tx: &mut Tx, Grown { key, number, .. }: Grown| -> Chewing {
        tx.publish(Chewed { key, number });
        let mut may = may.subscribe();
        Box::pin(async move {
            may.wait_for(|may| *may).await.map_err(|e| Fault::internal(e.to_string()))?;
            Ok(())
        })
    };
    Service::new("slow").on(chew)
}

fn catalogue() -> Vec<Described> {
    vec![
        Described::command::<Grow>(),
        Described::event::<Grown>(),
        Described::event::<Chewed>(),
        Described::query::<Eaten>(),
    ]
}

/// Two services that read one topic.
struct Table {
    place: Place,
    may: watch::Sender<bool>,
}

impl Table {
    async fn laid(may: bool) -> Option<Table> {
        let mut place = super::place().await?;
        place.limits.batch_bytes = BATCH_BYTES;
        place.limits.handler_time = Duration::from_secs(3_600);
        Some(Table { place, may: watch::Sender::new(may) })
    }

    /// All messages are there before anybody reads them.
    async fn fill(&self) {
        let only = Some(vec!["farm".to_owned()]);
        let node = self.place.start_roles(self.services(), catalogue(), only).await.expect("start");
        fill(&node).await;
        node.settle().await;
        node.stop().await;
    }

    fn services(&self) -> Vec<Service> {
        let farm = Service::new("farm").command(grow);
        vec![farm, Service::new("quick").migrations(TABLES).on_batch(eat).query(eaten), slow(&self.may)]
    }

    async fn start(&self) -> Node {
        self.place.start(self.services(), catalogue()).await.expect("start")
    }

    /// Without the one that writes, whose relay reads the ends of what it has written.
    async fn start_readers(&self) -> Node {
        let only = Some(vec!["quick".to_owned(), "slow".to_owned()]);
        self.place.start_roles(self.services(), catalogue(), only).await.expect("start")
    }
}

async fn fill(node: &Node) {
    node.ctx("farm").ask(Grow { count: MESSAGES }).await.expect("grown");
}

/// The quick one gets to the end.
async fn all_is_eaten(node: &Node) {
    let look = async {
        let mut again = tokio::time::interval(LOOK);
        loop {
            again.tick().await;
            let eaten = node.ctx("quick").query(Eaten {}).await.expect("eaten");
            if eaten.len() >= MESSAGES {
                return eaten;
            }
        }
    };
    let eaten = tokio::time::timeout(PATIENCE, look).await.expect("it is held up");
    let numbers = eaten.into_iter().map(|number| usize::try_from(number).expect("a number"));
    each_once(numbers.map(|number| (format!("key-{}", number % KEYS), number)).collect());
}

/// Each number is there once, and those of a key in order.
fn each_once(said: Vec<(String, usize)>) {
    assert_eq!(said.len(), MESSAGES);
    for n in 0..KEYS {
        let key = format!("key-{n}");
        let numbers: Vec<usize> = said.iter().filter(|(of, _)| *of == key).map(|(_, n)| *n).collect();
        assert_eq!(numbers, (n..MESSAGES).step_by(KEYS).collect::<Vec<_>>(), "{key}");
    }
}

/// What the slow one has said that the log has.
async fn chewed(node: &Node) -> Vec<(String, usize)> {
    let records = node.records("slow.chew").await.into_iter();
    let read = |value: Option<bytes::Bytes>| {
        let chewed: Chewed = serde_json::from_slice(&value.expect("a value")).expect("JSON");
        (chewed.key, chewed.number)
    };
    records.map(|(_, record)| read(record.value)).collect()
}

/// The slow one is through as well.
async fn complete(node: Node) {
    node.settle().await;
    each_once(chewed(&node).await);
    assert_eq!(node.runtime.troubles(), Vec::<String>::new());
    node.stop().await;
}

#[tokio::test]
async fn a_service_whose_handler_hangs_holds_up_no_other_and_takes_up_no_more_than_it_may() {
    let Some(table) = Table::laid(false).await else { return };
    table.fill().await;
    let before = table.place.gates.read("farm.food");
    let node = table.start_readers().await;
    all_is_eaten(&node).await;
    assert!(chewed(&node).await.is_empty());
    // The quick one has read all of it. For the other one each partition may have a batch in hand and one that it read ahead.
    let read = table.place.gates.read("farm.food") - before;
    let (all, partitions) = (MESSAGES * BYTES, table.place.limits.partitions as usize);
    let most = all + partitions * 2 * (BATCH_BYTES + 2 * BYTES);
    println!("{} KiB were read of {} KiB, at most {} KiB", read >> 10, all >> 10, most >> 10);
    assert!((all..=most).contains(&read), "{read} bytes were read, at most {most} were to be");
    table.may.send_replace(true);
    complete(node).await;
}

/// A transaction that keeps a service from writing down how far it is.
async fn block(node: &Node, service: &str) -> Write {
    let db = node.store.db(service).await.expect("the database");
    let mut write = db.begin_plain(Lane::Interactive).await.expect("a transaction");
    let rows = write.exec("UPDATE flow_offset SET epoch = epoch", ()).await.expect("locked");
    assert!(rows > 0, "it has places");
    write
}

#[tokio::test]
async fn a_service_whose_database_is_blocked_holds_up_no_other() {
    let Some(table) = Table::laid(true).await else { return };
    let node = table.start().await;
    // It has its places, and there is nothing for it yet.
    node.settle().await;
    let blocking = block(&node, "slow").await;
    fill(&node).await;
    all_is_eaten(&node).await;
    assert!(chewed(&node).await.is_empty());
    blocking.rollback().await.expect("ends");
    complete(node).await;
}

/// The relay of the slow one gets nothing away, so that its outbox is full.
#[tokio::test]
async fn a_service_whose_outbox_is_full_holds_up_no_other() {
    const BOUND: u64 = 20;
    let Some(mut table) = Table::laid(true).await else { return };
    table.fill().await;
    table.place.limits.outbox_rows = BOUND;
    for partition in 0..table.place.limits.partitions {
        table.place.gates.hold("slow.chew", partition, Asked::Append, Answer::Silence);
    }
    let node = table.start().await;
    all_is_eaten(&node).await;
    assert!(chewed(&node).await.is_empty());
    let mut read = node.store.db("slow").await.expect("the database").read().await.expect("a snapshot");
    let (rows,): (i64,) = read.one("SELECT count(*) FROM flow_outbox", ()).await.expect("counted");
    drop(read);
    println!("{rows} rows wait");
    assert!(rows <= 2 * BOUND.cast_signed(), "{rows} rows wait, the bound is {BOUND}");
    table.place.gates.let_go();
    complete(node).await;
}
