//! Rules at work: saved, read with, tried.

mod apply;
mod event;
mod fan_out;
mod file;
mod known;
mod list;
mod read;
mod save;
mod try_out;

pub use known::Known;
pub use save::group_of;

use crate::domain::rules::Rule;
use artel_contract::notify::Channel;
use artel_contract::notify::rules::RuleBody;
use artel_flow::{Service, Tx};
use artel_message::Fault;
use std::sync::Arc;

/// Takes in what is said about rules, and the messages that they are about.
pub fn register(service: Service) -> Service {
    let known = Arc::new(Known::default());
    service
        .command(save::put)
        .command(save::remove)
        .command(apply::apply)
        .command(fan_out::handler(&known))
        .query(list::get)
        .query(list::list)
        .query(list::misses)
        .query(try_out::try_out)
        .on_raw(read::handler(&known))
        .on_start(file::start)
        .every("notify.purge-misses", "41 * * * *", list::purge)
        .positions(crate::store::rules::POSITIONS)
}

/// A rule in the words of the decisions.
pub(crate) fn rule(id: &str, version: u32, body: &RuleBody) -> Result<Rule, Fault> {
    let mut value = serde_json::to_value(body).map_err(|error| Fault::field("body", error))?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("id".to_owned(), id.into());
        fields.insert("version".to_owned(), version.into());
    }
    crate::recipients::convert::same("", &value)
}

/// Refuses a change of a template after which a rule could not send it any more.
pub(crate) async fn fits_template(tx: &mut Tx, template: &str, channels: &[Channel]) -> Result<(), Fault> {
    for (id, version) in crate::store::rules::sending(tx, template).await? {
        let Some(body) = crate::store::rules::body(tx, &id, version).await? else { continue };
        if let Some(missing) = body.channels.iter().find(|channel| !channels.contains(channel)) {
            let channel = missing.as_str();
            let reason = format!(
                "rule '{id}' sends template '{template}' over {channel}, which would have no text; change the rule first"
            );
            return Err(Fault::conflict(reason));
        }
    }
    Ok(())
}
