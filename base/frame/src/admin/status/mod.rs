//! How the whole of it is: every node, who has which work, how far the groups are, what waits in the outboxes, and what is
//! wrong, in words. Any node answers: what it doesn't know itself it asks of the others.

mod problems;
mod view;

use super::Admin;
use super::groups::{GroupRow, together};
use crate::edge::{Json, Needs, Operate, Routes};
use artel_flow::{Leased, Member};
use artel_message::{Fault, Time};
use axum::extract::State;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;
use view::NodeView;

/// A system, as one of its nodes sees it.
#[derive(Serialize, JsonSchema)]
struct Status {
    /// The node that answers.
    node: String,
    version: &'static str,
    started_at: Time,
    uptime_ms: u64,
    data_dir: String,
    /// The adapters by their URLs, without passwords.
    urls: Urls,
    services: Vec<ServiceRow>,
    /// Every node on the same database, those that fell silent lately too.
    nodes: Vec<NodeRow>,
    /// Who has which work.
    leases: Vec<LeaseRow>,
    groups: Vec<GroupRow>,
    outboxes: Vec<OutboxRow>,
    /// What is wrong, a sentence each; empty = all is well.
    problems: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct Urls {
    bus: String,
    db: String,
    cache: String,
}

#[derive(Serialize, JsonSchema)]
struct ServiceRow {
    name: String,
    /// Whether it runs on the node that answers.
    here: bool,
}

/// A node.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct NodeRow {
    id: Uuid,
    name: String,
    /// The services that run there.
    roles: Vec<String>,
    /// Where other nodes ask it.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    version: String,
    started_at: Time,
    /// Its own clock at its last beat.
    seen_at: Time,
    /// Whether its beat moves, as the node that answers sees it.
    alive: bool,
    /// Whether it is the node that answers.
    this: bool,
    /// Whether everything that it needs works; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<bool>,
    /// What it needs and does not have, or why it is not known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    /// What it goes on without, such as its cache.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    without: Vec<String>,
}

/// A piece of work that one node at a time does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct LeaseRow {
    service: String,
    /// A group's full name, `relay` or `keeper`.
    what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition: Option<u32>,
    /// The id of the node that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<Uuid>,
    /// Its name, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// Whether that node lives.
    alive: bool,
    /// Raised at each change of hands.
    epoch: i64,
}

impl From<Leased> for LeaseRow {
    fn from(lease: Leased) -> LeaseRow {
        let Leased { service, what, topic, partition, owner, node, alive, epoch } = lease;
        LeaseRow { service, what, topic, partition, owner, node, alive, epoch }
    }
}

/// What waits to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct OutboxRow {
    service: String,
    /// Counted up to `flow.outbox_limit`.
    rows: i64,
}

pub(super) fn routes() -> Routes<Admin> {
    Routes::new().get("/api/admin/status", status, |op| {
        op.summary("Show the nodes, who does what, and what is wrong")
            .answers::<Status>(200, "the system as this node sees it")
    })
}

/// What the others hear of this node.
pub(super) async fn view_of(admin: &Admin) -> Result<Bytes, Fault> {
    let view = view::here(admin).await;
    serde_json::to_vec(&view).map(Bytes::from).map_err(|error| Fault::internal(error.to_string()))
}

async fn status(State(admin): State<Admin>, _: Needs<Operate>) -> Json<Status> {
    let (known, runtime) = (&admin.0.facts.0, &admin.0.runtime);
    let me = runtime.members().me().id;
    let members = runtime.members().list();
    let views = view::of_all(&admin, &members).await;
    let nodes: Vec<NodeRow> =
        members.into_iter().zip(&views).map(|(member, view)| row(member, me, view)).collect();
    let heard: Vec<NodeView> = views.into_iter().filter_map(Result::ok).collect();
    let leases = merge(heard.iter().map(|view| view.leases.clone()), |lease| {
        (lease.service.clone(), lease.what.clone(), lease.topic.clone(), lease.partition)
    });
    let outboxes = merge(heard.iter().map(|view| view.outboxes.clone()), |outbox| outbox.service.clone());
    let groups = together(heard.into_iter().map(|view| view.groups));
    let services: Vec<ServiceRow> = (known.services.iter())
        .map(|(name, _)| ServiceRow { name: name.clone(), here: runtime.ctx(name).is_some() })
        .collect();
    let table = services.iter().map(|service| service.name.as_str());
    let problems = problems::of(table, &nodes, &leases, &groups);
    let now = known.services.iter().find_map(|(name, _)| Some(runtime.ctx(name)?.now()));
    let uptime = now.map_or(0, |now| now.since(known.started).as_millis());
    Json(Status {
        node: known.node.clone(),
        version: env!("CARGO_PKG_VERSION"),
        started_at: known.started,
        uptime_ms: u64::try_from(uptime).unwrap_or(u64::MAX),
        data_dir: known.data_dir.clone(),
        urls: Urls { bus: known.bus_url.clone(), db: known.db_url.clone(), cache: known.cache_url.clone() },
        services,
        nodes,
        leases,
        groups,
        outboxes,
        problems,
    })
}

fn row(member: Member, me: Uuid, view: &Result<NodeView, String>) -> NodeRow {
    let Member { id, name, roles, peer, version, started_at, seen_at, alive, .. } = member;
    let (ready, reasons) = match view {
        Ok(view) => (Some(view.unready.is_empty()), view.unready.clone()),
        Err(reason) => (None, vec![reason.clone()]),
    };
    let without = view.as_ref().map_or_else(|_| Vec::new(), |view| view.degraded.clone());
    let this = id == me;
    NodeRow { id, name, roles, peer, version, started_at, seen_at, alive, this, ready, reasons, without }
}

/// Rows of several nodes, each once: nodes with the same service see the same.
fn merge<R, K: Ord>(nodes: impl Iterator<Item = Vec<R>>, key: impl Fn(&R) -> K) -> Vec<R> {
    let mut rows = BTreeMap::new();
    for row in nodes.flatten() {
        rows.entry(key(&row)).or_insert(row);
    }
    rows.into_values().collect()
}
