//! `artel groups skip`, `rewind` and `retire`: places of groups by hand.

use super::failed::say;
use crate::cli::{GroupStep, Retire, RewindTo, SkipTo};
use crate::connect::{check, read};
use anyhow::Result;
use artel_frame::client::Client;
use http::Method;
use serde::Deserialize;
use serde_json::json;

pub async fn step(client: &Client, step: &GroupStep) -> Result<()> {
    match step {
        GroupStep::Skip(args) => skip(client, args).await,
        GroupStep::Rewind(args) => rewind(client, args).await,
        GroupStep::Retire(args) => retire(client, args).await,
    }
}

/// What a move of a group passes over.
#[derive(Deserialize)]
struct Skipped {
    from: i64,
    to: i64,
    messages: i64,
    #[serde(default)]
    again: i64,
}

async fn skip(client: &Client, args: &SkipTo) -> Result<()> {
    let SkipTo { group, topic, partition, to, repeats, dry_run, reason } = args;
    let body = json!({
        "group": group, "topic": topic, "partition": partition, "to": to, "repeats": repeats, "dry_run": dry_run,
        "reason": reason,
    });
    let done: Skipped = read(&client.send_json(Method::POST, "/api/admin/groups/skip", &body).await?)?;
    let would = if *dry_run { "would go" } else { "goes" };
    say(&format!(
        "{group} {would} on at {} in {topic}/{partition} (it stood at {}); {} messages are passed over",
        done.to, done.from, done.messages
    ))?;
    if done.again > 0 {
        say(&format!(
            "{} messages without numbers before {} run again if they ran before",
            done.again, done.from
        ))?;
    }
    Ok(())
}

/// What a projection takes in again.
#[derive(Deserialize)]
struct Rewound {
    group: String,
    messages: i64,
    places: Vec<Place>,
    notes: Vec<String>,
}

#[derive(Deserialize)]
struct Place {
    topic: String,
    partition: u32,
    from: i64,
    to: i64,
}

async fn rewind(client: &Client, args: &RewindTo) -> Result<()> {
    let RewindTo { service, group, to, dry_run, force, reason } = args;
    let body = json!({
        "service": service, "group": group, "to": to, "dry_run": dry_run, "force": force, "reason": reason,
    });
    let done: Rewound = read(&client.send_json(Method::POST, "/api/admin/groups/rewind", &body).await?)?;
    for Place { topic, partition, from, to } in &done.places {
        say(&format!("{topic}/{partition}: from {from} back to {to}"))?;
    }
    for note in &done.notes {
        say(&format!("note: {note}"))?;
    }
    let would = if *dry_run { "would take in" } else { "takes in" };
    say(&format!("{} {would} {} messages again", done.group, done.messages))
}

async fn retire(client: &Client, args: &Retire) -> Result<()> {
    let Retire { service, projection, version, dry_run, reason } = args;
    let body = json!({
        "service": service, "projection": projection, "version": version, "dry_run": dry_run, "reason": reason,
    });
    check(&client.send_json(Method::POST, "/api/admin/groups/retire", &body).await?)?;
    say(&format!(
        "version {version} of {projection} {}; its tables are the service's to drop",
        if *dry_run { "may go" } else { "is gone" }
    ))
}
