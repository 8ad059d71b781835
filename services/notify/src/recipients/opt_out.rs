//! What a person says of a topic by the link in a message.

use super::convert;
use crate::domain::opt_out::Link;
use crate::store::deliveries::{self, Stored};
use crate::store::{opt_outs, subscribers};
use artel_contract::notify::subscribers::{Choice, Profile, TOPICS};
use artel_contract::notify::{Channel, DeliveryId};
use artel_flow::{Read, Tx};
use artel_message::{Command, Fault, Query};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Turns what a delivery is about off for whoever got it, over the channel that it came by, or on again. Whoever asks has
/// seen the link's signature.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.opt-out", reply = About)]
pub struct OptOut {
    pub delivery: DeliveryId,
    pub leg: u32,
    /// `false`: on again.
    pub out: bool,
}

/// What a link is about, for the page that it leads to.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.about-link", reply = About)]
pub struct AboutLink {
    pub delivery: DeliveryId,
    pub leg: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct About {
    pub topic: String,
    pub channel: Channel,
    /// As pages may show it.
    pub address: String,
    /// That the message was to be in.
    pub language: Option<String>,
}

impl From<Link> for AboutLink {
    fn from(Link { delivery, leg }: Link) -> AboutLink {
        AboutLink { delivery, leg }
    }
}

fn gone() -> Fault {
    Fault::not_found("the message of this link is not kept any more; use the link of a later one")
}

fn about(stored: &Stored, leg: u32) -> Result<About, Fault> {
    let address = stored.content.address(leg as usize).ok_or_else(gone)?;
    Ok(About {
        topic: stored.content.topic.clone(),
        channel: address.channel(),
        address: address.masked(),
        language: stored.content.language.clone(),
    })
}

pub async fn about_link(read: &Read, query: AboutLink) -> Result<About, Fault> {
    let found = deliveries::read(read, &[query.delivery]).await?.pop().ok_or_else(gone)?;
    about(&found.stored, query.leg)
}

pub async fn opt_out(tx: &mut Tx, command: OptOut) -> Result<About, Fault> {
    let OptOut { delivery, leg, out } = command;
    let stored = deliveries::load(tx, &[delivery]).await?.pop().ok_or_else(gone)?;
    let about = about(&stored, leg)?;
    let address = stored.content.address(leg as usize).ok_or_else(gone)?;
    let hash = convert::hash(address);
    if !out {
        opt_outs::remove(tx, &hash, &about.topic).await?;
    }
    let known = match &stored.subscriber {
        Some(id) => choose(tx, id, &about, out).await?,
        None => false,
    };
    if out && !known {
        opt_outs::insert(tx, &hash, &about.topic).await?;
    }
    Ok(about)
}

/// A subscriber's own choice; `false` where there is none of that id, or it has choices for as many topics as it may.
async fn choose(tx: &mut Tx, id: &str, about: &About, out: bool) -> Result<bool, Fault> {
    let found = subscribers::find(tx, &BTreeSet::from([id])).await?;
    let Some(found) = found.into_iter().next() else { return Ok(false) };
    let (mut profile, rev) = (found.profile, found.rev);
    let topics = &mut profile.preferences.topics;
    if topics.len() >= TOPICS && !topics.contains_key(&about.topic) {
        return Ok(false);
    }
    let choice = if out { Choice::Out } else { Choice::In };
    let before = topics.entry(about.topic.clone()).or_default().insert(about.channel, choice);
    if before != Some(choice) {
        subscribers::save(tx, id, rev + 1, &Profile { addresses: Vec::new(), ..profile }).await?;
    }
    Ok(true)
}
