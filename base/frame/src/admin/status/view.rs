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
    /// What it goes on without.
    pub degraded: Vec<String>,
    /// Of the services that run there.
    pub leases: Vec<LeaseRow>,
    /// With the partitions that it takes in.
    pub groups: Vec<GroupRow>,
    pub outboxes: Vec<OutboxRow>,
}

/// What can't be read now, as when the database is away, is a reason more for not being ready.
pub(super) async fn here(admin: &Admin) -> NodeView {
    let runtime = &admin.0.runtime;
    let report = admin.0.readiness.report().await;
    let found = |status: Found| {
        let all = report.checks.iter().filter(move |(_, finding)| finding.status == status);
        all.map(|(name, finding)| in_words(name, finding.reason.as_deref())).collect::<Vec<_>>()
    };
    let (mut unready, degraded) = (found(Found::Failed), found(Found::Degraded));
    let outbox = |(service, rows): (&str, i64)| OutboxRow { service: service.to_owned(), rows };
    let leases = or_reason("leases", runtime.leases().await, &mut unready);
    let groups = or_reason("lag", groups::here(admin).await, &mut unready);
    let outboxes = or_reason("outboxes", runtime.outboxes().await, &mut unready);
    NodeView {
        unready,
        degraded,
        leases: leases.into_iter().map(LeaseRow::from).collect(),
        groups,
        outboxes: outboxes.into_iter().map(outbox).collect(),
    }
}

fn or_reason<T>(what: &str, rows: Result<Vec<T>, Fault>, unready: &mut Vec<String>) -> Vec<T> {
    rows.unwrap_or_else(|fault| {
        unready.push(format!("{what}: {}", fault.reason));
        Vec::new()
    })
}

fn in_words(name: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{name}: {reason}"),
        None => name.to_owned(),
    }
}

/// A view of each member, or why there is none.
pub(super) async fn of_all(admin: &Admin, members: &[Member]) -> Vec<Result<NodeView, String>> {
    let me = admin.0.runtime.members().me().id;
    let views = members.iter().map(|member| async move {
        if member.id == me { Ok(here(admin).await) } else { there(admin, member).await }
    });
    futures::future::join_all(views).await
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
