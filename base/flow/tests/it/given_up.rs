//! A service is told of messages that were given up on.

use crate::kit::Node;
use artel_flow::{GivenUp, Read, Service, Tx};
use artel_message::{Command, Described, Event, Fault, Query};
use artel_store::Migrations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "crier.say")]
struct Say {
    text: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "crier.said", topic = "crier.talk", key = ear)]
struct Said {
    ear: String,
    text: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "crier.heard", reply = Vec<String>)]
struct Heard {}

const TABLES: Migrations = Migrations {
    component: "crier",
    files: &[("0001_crier.sql", "CREATE TABLE heard (line TEXT NOT NULL, times BIGINT NOT NULL);")],
};

fn catalogue() -> Vec<Described> {
    vec![Described::command::<Say>(), Described::event::<Said>(), Described::query::<Heard>()]
}

fn crier() -> Service {
    Service::new("crier").migrations(TABLES).command(say).on(said).query(heard).given_up(given_up)
}

async fn say(tx: &mut Tx, say: Say) -> Result<(), Fault> {
    tx.publish(Said { ear: "left".to_owned(), text: say.text });
    Ok(())
}

async fn said(tx: &mut Tx, said: Said) -> Result<(), Fault> {
    if said.text.starts_with("never") {
        return Err(Fault::invalid("not with me"));
    }
    write(tx, said.text).await
}

async fn given_up(tx: &mut Tx, given: GivenUp) -> Result<(), Fault> {
    if given.value.as_ref().is_some_and(|value| value.windows(8).any(|part| part == b"unspoken")) {
        return Err(Fault::internal("this is not for telling"));
    }
    let place = given.read.map_or_else(
        || "not taken".to_owned(),
        |at| format!("by {} at {}, made at run time: {}", at.group, at.offset, at.run_time),
    );
    write(tx, format!("{} {place}: {}", given.name.unwrap_or_default(), given.reason)).await
}

async fn write(tx: &mut Tx, line: String) -> Result<(), Fault> {
    tx.exec("INSERT INTO heard (line, times) VALUES ($1, 1)", (line,)).await?;
    Ok(())
}

async fn heard(read: &Read, _: Heard) -> Result<Vec<String>, Fault> {
    let rows: Vec<(String,)> = read.all("SELECT line FROM heard ORDER BY line", ()).await?;
    Ok(rows.into_iter().map(|(line,)| line).collect())
}

async fn say_to(node: &Node, text: &str) {
    node.ctx("crier").ask(Say { text: text.to_owned() }).await.expect("said");
}

async fn lines(node: &Node) -> Vec<String> {
    node.ctx("crier").query(Heard {}).await.expect("lines")
}

#[tokio::test]
async fn a_dead_letter_is_told_where_it_is_written() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![crier()], catalogue()).await.expect("start");
    for text in ["hello", "never 1", "never unspoken", "later"] {
        say_to(&node, text).await;
    }
    node.settle().await;
    assert_eq!(
        lines(&node).await,
        ["crier.said by crier at 1, made at run time: false: invalid: not with me", "hello", "later"]
    );
    let letters =
        node.ctx("crier").read().await.expect("read").dead_letters(None, 10).await.expect("letters");
    assert_eq!(letters.len(), 2, "a handler that fails keeps no letter from being written");
    node.stop().await;
}

#[tokio::test]
async fn dead_letters_go_page_by_page() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![crier()], catalogue()).await.expect("start");
    for n in 0..7 {
        say_to(&node, &format!("never {n}")).await;
    }
    node.settle().await;
    let read = node.ctx("crier").read().await.expect("read");
    let all = read.dead_letters(None, 10).await.expect("letters");
    assert_eq!(all.len(), 7);
    let (mut seen, mut behind) = (Vec::new(), None);
    loop {
        let page = read.dead_letters(behind, 3).await.expect("letters");
        let Some(last) = page.last() else { break };
        behind = Some((last.at, last.id));
        seen.extend(page);
    }
    assert_eq!(seen, all, "on a clock that stands still all are of one moment");
    drop(read);
    node.stop().await;
}

#[tokio::test]
async fn what_the_log_never_takes_is_told_and_what_stood_before_it_gets_away() {
    let Some(mut place) = super::place().await else { return };
    place.limits.message_bytes = 8 << 20;
    let node = place.start(vec![crier()], catalogue()).await.expect("start");
    say_to(&node, "before").await;
    say_to(&node, &"x".repeat(3 << 20)).await;
    let told = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        loop {
            let found = lines(&node).await;
            if found.len() == 2 {
                return found;
            }
            tokio::task::yield_now().await;
        }
    });
    let told = told.await.expect("told in time");
    assert_eq!(told[0], "before");
    assert!(told[1].starts_with("crier.said not taken: the message is "), "{told:?}");
    assert_eq!(node.runtime.troubles().len(), 1, "its partition waits");
    node.stop().await;
}
