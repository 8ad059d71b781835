//! Two services that talk: `shop` sells and publishes, `desk` listens and keeps a journal.

use artel_flow::{Answer, Ctx, EffectDone, HandlerExt, Msg, Produce, Published, Raw, Read, Service, Tx};
use artel_message::{Command, Described, Effect, Event, Fault, Query};
use artel_store::Migrations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "shop.sell", reply = u32, key = item)]
pub struct Sell {
    pub item: String,
    pub count: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "shop.sold", topic = "shop.sale", key = item)]
pub struct Sold {
    pub item: String,
    pub count: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "shop.total", reply = i64)]
pub struct Total {}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "desk.note", reply = String, key = key, validate = Note::check)]
pub struct Note {
    pub key: String,
    pub text: String,
}

impl Note {
    fn check(&self) -> Result<(), Fault> {
        if self.key.is_empty() { Err(Fault::field("key", "is empty")) } else { Ok(()) }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "desk.tally", key = key)]
pub struct Tally {
    pub key: String,
    pub count: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "desk.journal", reply = Vec<String>)]
pub struct Journal {}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Effect)]
#[effect(name = "desk.call", done = String)]
pub struct Call {
    pub number: String,
}

pub fn catalogue() -> Vec<Described> {
    vec![
        Described::command::<Sell>(),
        Described::event::<Sold>(),
        Described::query::<Total>(),
        Described::command::<Note>(),
        Described::command::<Tally>(),
        Described::query::<Journal>(),
        Described::effect::<Call>(),
    ]
}

const SHOP: Migrations = Migrations {
    component: "shop",
    files: &[(
        "0001_shop.sql",
        "CREATE TABLE sale (id UUID PRIMARY KEY, item TEXT NOT NULL, count BIGINT NOT NULL);
         CREATE TABLE block (id BIGINT PRIMARY KEY);
         CREATE TABLE place (message UUID PRIMARY KEY, topic TEXT NOT NULL, position BIGINT NOT NULL);",
    )],
};

const DESK: Migrations = Migrations {
    component: "desk",
    files: &[(
        "0001_desk.sql",
        "CREATE TABLE journal (n BIGINT PRIMARY KEY, line TEXT NOT NULL);
         CREATE TABLE attempt (line TEXT PRIMARY KEY, n BIGINT NOT NULL);",
    )],
};

pub fn shop() -> Service {
    Service::new("shop").migrations(SHOP).command(sell).query(total).published(placed).reply(noted)
}

async fn sell(tx: &mut Tx, sell: Sell) -> Result<u32, Fault> {
    let id = tx.new_id();
    tx.exec("INSERT INTO sale (id, item, count) VALUES ($1, $2, $3)", (id, sell.item.as_str(), sell.count))
        .await?;
    match sell.item.as_str() {
        "nothing" => return Err(Fault::field("item", "there is nothing to sell")),
        "later" => return Err(Fault::not_found("not yet")),
        "block" => tx.exec("INSERT INTO block (id) VALUES (1)", ()).await.map(drop)?,
        "unblock" => tx.exec("DELETE FROM block", ()).await.map(drop)?,
        _ => {}
    }
    tx.publish(Sold { item: sell.item.clone(), count: sell.count });
    if let Some(text) = sell.item.strip_prefix("note:") {
        tx.send(Note { key: sell.item.clone(), text: text.to_owned() });
    }
    if sell.item == "tally" {
        for count in 0..sell.count {
            tx.send(Tally { key: "t".to_owned(), count });
        }
    }
    if let Some(topic) = sell.item.strip_prefix("raw:") {
        tx.adopt_topic(topic).await?;
        let value = Some(sell.count.to_string().into());
        tx.produce("shop.raw", Produce { topic: topic.to_owned(), key: None, value, ..Produce::default() });
    }
    if let Some(topic) = sell.item.strip_prefix("zero:") {
        tx.adopt_topic(topic).await?;
        let headers = [("a\0b", Some("x"))].into_iter().collect();
        tx.produce("shop.raw", Produce { topic: topic.to_owned(), headers, ..Produce::default() });
    }
    Ok(sell.count * 2)
}

async fn total(read: &Read, _: Total) -> Result<i64, Fault> {
    let (n,): (i64,) = read.one("SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM sale", ()).await?;
    Ok(n)
}

async fn placed(tx: &mut Tx, published: Vec<Published>) -> Result<(), Fault> {
    if tx.opt::<(i64,)>("SELECT id FROM block", ()).await?.is_some() {
        return Err(Fault::unavailable("not now"));
    }
    for p in published {
        tx.exec(
            "INSERT INTO place (message, topic, position) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            (p.id, p.topic, p.offset),
        )
        .await?;
    }
    Ok(())
}

async fn noted(tx: &mut Tx, answer: Answer<Note>) -> Result<(), Fault> {
    let text = match answer.result {
        Ok(reply) => format!("noted {reply}"),
        Err(fault) => format!("refused {}", fault.code),
    };
    let id = tx.new_id();
    tx.exec("INSERT INTO sale (id, item, count) VALUES ($1, $2, 0)", (id, text)).await?;
    Ok(())
}

pub fn desk() -> Service {
    Service::new("desk")
        .migrations(DESK)
        .on(sold.max_age(Duration::from_secs(3600)))
        .command(note)
        .command_batch(tally)
        .query(journal)
        .effect(call.tries(3).per_key())
        .done(called)
        .on_raw(raw)
        .every("desk.tick", "0 * * * *", tick)
}

pub async fn write_line(tx: &mut Tx, line: String) -> Result<(), Fault> {
    tx.exec("INSERT INTO journal (n, line) SELECT coalesce(max(n), 0) + 1, $1 FROM journal", (line,)).await?;
    Ok(())
}

async fn sold(tx: &mut Tx, sold: Sold) -> Result<(), Fault> {
    match sold.item.as_str() {
        "poison" => return Err(Fault::invalid("this one never works")),
        "shy" => return Err(Fault::unavailable("this one never works either, though it might")),
        "panic" => panic!("the desk is on fire"),
        "twice" => tx.exec("INSERT INTO journal (n, line) VALUES (-1, 'twice')", ()).await.map(drop)?,
        _ => {}
    }
    write_line(tx, format!("sold {} {}", sold.item, sold.count)).await
}

async fn note(tx: &mut Tx, note: Note) -> Result<String, Fault> {
    if note.text == "bad" {
        return Err(Fault::invalid("a bad note"));
    }
    if let Some(number) = note.text.strip_prefix("call ") {
        tx.after(note.key.clone(), Duration::from_secs(60), Call { number: number.to_owned() });
    }
    if note.text == "hang up" {
        let pending = tx.cancel::<Call>(&note.key).await?;
        write_line(tx, format!("cancelled {pending}")).await?;
    }
    if let Some(text) = note.text.strip_prefix("later ") {
        tx.after(
            note.key.clone(),
            Duration::from_secs(60),
            Note { key: note.key.clone(), text: text.to_owned() },
        );
    }
    if let Some(topic) = note.text.strip_prefix("read ") {
        tx.start_group(&note.key, topic, artel_bus::From::Earliest).await?;
    }
    if let Some(topic) = note.text.strip_prefix("follow ") {
        tx.start_group(&note.key, topic, artel_bus::From::Latest).await?;
    }
    if note.text == "stop reading" {
        tx.stop_group(&note.key).await?;
    }
    if note.text == "forget reading" {
        tx.forget_group(&note.key).await?;
    }
    write_line(tx, format!("note {}", note.text)).await?;
    Ok(note.text)
}

async fn tally(tx: &mut Tx, tallies: Vec<Msg<Tally>>) -> Result<(), Fault> {
    for tally in tallies {
        if tally.count % 100 == 42 {
            return Err(Fault::invalid("not this number"));
        }
        write_line(tx, format!("tally {}", tally.count)).await?;
    }
    Ok(())
}

async fn journal(read: &Read, _: Journal) -> Result<Vec<String>, Fault> {
    let rows: Vec<(String,)> = read.all("SELECT line FROM journal ORDER BY n", ()).await?;
    Ok(rows.into_iter().map(|(line,)| line).collect())
}

async fn call(ctx: &Ctx, call: Call) -> Result<String, Fault> {
    let attempt = ctx.effect().map_or(0, |e| e.attempt);
    match call.number.as_str() {
        "busy" => Err(Fault::unavailable("busy")),
        "busy once" if attempt < 2 => Err(Fault::unavailable("busy")),
        "wrong" => Err(Fault::invalid("no such number")),
        number => Ok(format!("hello {number} at attempt {attempt}")),
    }
}

async fn called(tx: &mut Tx, done: EffectDone<Call>) -> Result<(), Fault> {
    let line = match done.result {
        Ok(said) => said,
        Err(fault) => format!("{} gave {} after {}", done.input.number, fault.code, done.attempts),
    };
    write_line(tx, line).await
}

async fn raw(tx: &mut Tx, raw: Raw) -> Result<(), Fault> {
    let value = String::from_utf8_lossy(raw.value.as_deref().unwrap_or_default()).into_owned();
    write_line(tx, format!("raw {} {}", raw.topic, value)).await
}

async fn tick(tx: &mut Tx, (): ()) -> Result<(), Fault> {
    let now = tx.now();
    write_line(tx, format!("tick {now}")).await
}
