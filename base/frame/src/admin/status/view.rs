//! What a node says of itself, and what it hears of the others.

use super::{LeaseRow, OutboxRow};
use crate::admin::Admin;
use crate::admin::groups::{self, GroupRow};
use crate::edge::Status as Found;
use artel_flow::Member;
use artel_message::Fault;
use serde::{Deserialize, Serialize};

/// The part of the status that a node knows best itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct NodeView {
    /// What it needs and does not have; empty = it is ready.
    pub unready: Vec<String>,
    /// Of the services that run there.
    pub leases: Vec<LeaseRow>,
    /// With the partitions that it takes in.
    pub groups: Vec<GroupRow>,
    pub outboxes: Vec<OutboxRow>,
}

pub(super) async fn here(admin: &Admin) -> Result<NodeView, Fault> {
    let runtime = &admin.0.runtime;
    let report = admin.0.readiness.report().await;
    let failed = report.checks.into_iter().filter(|(_, finding)| finding.status == Found::Failed);
    let outbox = |(service, rows): (&str, i64)| OutboxRow { service: service.to_owned(), rows };
    Ok(NodeView {
        unready: failed.map(|(name, finding)| in_words(&name, finding.reason)).collect(),
        leases: runtime.leases().await?.into_iter().map(LeaseRow::from).collect(),
        groups: groups::here(admin).await?,
        outboxes: runtime.outboxes().await?.into_iter().map(outbox).collect(),
    })
}

fn in_words(name: &str, reason: Option<String>) -> String {
    match reason {
        Some(reason) => format!("{name}: {reason}"),
        None => name.to_owned(),
    }
}

/// A view of each member, or why there is none.
pub(super) async fn of_all(
    admin: &Admin,
    members: &[Member],
) -> Result<Vec<Result<NodeView, String>>, Fault> {
    let me = admin.0.runtime.members().me().id;
    let views = members.iter().map(|member| async move {
        if member.id == me { here(admin).await.map(Ok) } else { Ok(there(admin, member).await) }
    });
    futures::future::try_join_all(views).await
}

async fn there(admin: &Admin, member: &Member) -> Result<NodeView, String> {
    if !member.alive {
        return Err("it has fallen silent".to_owned());
    }
    if member.peer.is_none() {
        return Err("not asked: it listens for no other node (peers.listen)".to_owned());
    }
    let Some(peers) = &admin.0.peers else {
        return Err("not asked: the node that answers has no peers.secret".to_owned());
    };
    let answer = peers.view(member).await.map_err(|fault| fault.reason)?;
    serde_json::from_slice(&answer).map_err(|error| format!("what it says of itself can't be read: {error}"))
}
