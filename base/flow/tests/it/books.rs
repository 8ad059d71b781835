//! A service that keeps what the shop has sold, in projections of several versions.

use artel_flow::{HandlerExt, Read, Rewound, Service, Tx};
use artel_message::{Command, Described, Event, Fault, Query};
use artel_store::Migrations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::shop::Sold;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "books.sales", reply = (u32, Vec<(String, i64)>))]
pub struct Sales {}

/// From now on sales of an item fail in a version, until `with` is empty.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "books.break", key = item)]
pub struct Break {
    pub item: String,
    pub version: u32,
    pub with: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "books.entered", topic = "books.entry", key = item)]
pub struct Entered {
    pub item: String,
}

pub fn catalogue() -> Vec<Described> {
    let own = [Described::query::<Sales>(), Described::command::<Break>(), Described::event::<Entered>()];
    crate::shop::catalogue().into_iter().chain(own).collect()
}

const BOOKS: Migrations = Migrations {
    component: "books",
    files: &[(
        "0001_books.sql",
        "CREATE TABLE sales_one (item TEXT PRIMARY KEY, n BIGINT NOT NULL);
         CREATE TABLE sales_two (item TEXT PRIMARY KEY, n BIGINT NOT NULL);
         CREATE TABLE broken (item TEXT NOT NULL, version BIGINT NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (item, version));",
    )],
};

/// With these versions of the projection `sales`.
pub fn books(versions: &'static [u32]) -> Service {
    let service = Service::new("books").migrations(BOOKS).query(sales).command(break_it);
    versions.iter().fold(service, |service, version| match version {
        1 => service.on(one.projection("sales", 1)).clear("sales", 1, clear_one),
        2 => service.on(two.projection("sales", 2).switch_at(5)),
        4 => service.on(nothing.projection("sales", 4).from_retained()),
        _ => service.on(nothing.projection("sales", 3)),
    })
}

/// With every mistake that there is.
pub fn wrong() -> Service {
    books(&[])
        .on(one.projection("Sales", 1))
        .on(two.projection("other", 1).group("x"))
        .on(nothing.projection("third", 1).max_age(Duration::from_secs(1)))
        .on(entered.group("third-v1"))
        .clear("sales", 9, clear_one)
}

async fn entered(_: &mut Tx, _: Entered) -> Result<(), Fault> {
    Ok(())
}

async fn sales(read: &Read, _: Sales) -> Result<(u32, Vec<(String, i64)>), Fault> {
    let version = read.serving("sales").await?;
    let rows = match version {
        1 => read.all("SELECT item, n FROM sales_one ORDER BY item", ()).await?,
        _ => read.all("SELECT item, n FROM sales_two ORDER BY item", ()).await?,
    };
    Ok((version, rows))
}

async fn break_it(tx: &mut Tx, b: Break) -> Result<(), Fault> {
    tx.exec("DELETE FROM broken WHERE item = $1 AND version = $2", (b.item.as_str(), b.version)).await?;
    if !b.with.is_empty() {
        tx.exec("INSERT INTO broken (item, version, kind) VALUES ($1, $2, $3)", (b.item, b.version, b.with))
            .await?;
    }
    Ok(())
}

async fn fails(tx: &mut Tx, item: &str, version: u32) -> Result<(), Fault> {
    let row: Option<(String,)> =
        tx.opt("SELECT kind FROM broken WHERE item = $1 AND version = $2", (item, version)).await?;
    match row.as_ref().map(|(kind,)| kind.as_str()) {
        None => Ok(()),
        Some("invalid") => Err(Fault::invalid("broken for good")),
        Some(_) => Err(Fault::unavailable("broken")),
    }
}

async fn one(tx: &mut Tx, sold: Sold) -> Result<(), Fault> {
    fails(tx, &sold.item, 1).await?;
    if sold.item == "loud" {
        tx.publish(Entered { item: sold.item.clone() });
    }
    tx.exec(
        "INSERT INTO sales_one (item, n) VALUES ($1, 1) ON CONFLICT (item) DO UPDATE SET n = sales_one.n + 1",
        (sold.item,),
    )
    .await?;
    Ok(())
}

async fn two(tx: &mut Tx, sold: Sold) -> Result<(), Fault> {
    fails(tx, &sold.item, 2).await?;
    tx.count("built", 1);
    tx.exec(
        "INSERT INTO sales_two (item, n) VALUES ($1, 1) ON CONFLICT (item) DO UPDATE SET n = sales_two.n + 1",
        (sold.item,),
    )
    .await?;
    Ok(())
}

async fn nothing(_: &mut Tx, _: Sold) -> Result<(), Fault> {
    Ok(())
}

async fn clear_one(tx: &mut Tx, rewound: Rewound) -> Result<(), Fault> {
    if !rewound.is_whole() {
        return Err(Fault::conflict("sums of sales are built anew from the beginning, all or nothing"));
    }
    tx.exec("DELETE FROM sales_one", ()).await?;
    Ok(())
}
