//! Groups with their lag: those the services declare, and those made at run time.

use super::Admin;
use crate::edge::{Json, Needs, Operate, Problem, Routes};
use artel_flow::{GroupInfo, GroupLag, GroupState};
use artel_message::Fault;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Every group that runs here.
#[derive(Serialize, JsonSchema)]
struct Groups {
    items: Vec<GroupRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct GroupRow {
    pub service: String,
    pub group: String,
    pub topic: String,
    /// Made at run time, and not declared by the service.
    pub run_time: bool,
    pub state: Doing,
    /// Messages not taken in yet; absent where the log does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// Why it is not running, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Those that this node takes in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionRow>,
}

/// What a group is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Doing {
    Running,
    /// It does not run, or not everywhere; it is tried again.
    Failed,
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct PartitionRow {
    pub partition: u32,
    /// The next offset it takes in.
    pub next: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

impl From<&GroupLag> for PartitionRow {
    fn from(lag: &GroupLag) -> PartitionRow {
        let GroupLag { partition, next, lag, stopped, .. } = lag.clone();
        PartitionRow { partition, next, lag, stopped }
    }
}

pub(super) fn routes() -> Routes<Admin> {
    Routes::new().get("/api/admin/groups", list, |op| {
        op.summary("List groups with their lag").answers::<Groups>(200, "groups by service, group and topic")
    })
}

async fn list(State(admin): State<Admin>, _: Needs<Operate>) -> Result<Json<Groups>, Problem> {
    Ok(Json(Groups { items: here(&admin).await? }))
}

/// Every group that runs here, with the partitions that this node takes in.
pub(super) async fn here(admin: &Admin) -> Result<Vec<GroupRow>, Fault> {
    let (made, lags): (Vec<_>, Vec<_>) =
        admin.0.runtime.lags().await.into_iter().partition(|lag| lag.run_time);
    let mut items = declared(lags);
    for service in admin.0.facts.running(&admin.0.runtime) {
        let Some(ctx) = admin.0.runtime.ctx(&service) else { continue };
        items.extend(ctx.groups().list().await?.into_iter().map(|info| run_time(&service, info, &made)));
    }
    items.sort_by(|a, b| (&a.service, &a.group, &a.topic).cmp(&(&b.service, &b.group, &b.topic)));
    Ok(items)
}

/// What several nodes say of the groups, each of its own partitions, as one list.
pub(super) fn together(nodes: impl Iterator<Item = Vec<GroupRow>>) -> Vec<GroupRow> {
    let mut rows: BTreeMap<(String, String, String), GroupRow> = BTreeMap::new();
    for row in nodes.flatten() {
        let key = (row.service.clone(), row.group.clone(), row.topic.clone());
        match rows.entry(key) {
            Entry::Vacant(place) => {
                place.insert(row);
            }
            Entry::Occupied(mut all) => {
                let all = all.get_mut();
                all.lag = all.lag.zip(row.lag).map(|(sum, one)| sum + one);
                all.error = all.error.take().or(row.error);
                if all.state == Doing::Running {
                    all.state = row.state;
                }
                all.partitions.extend(row.partitions);
                all.partitions.sort_by_key(|partition| partition.partition);
            }
        }
    }
    rows.into_values().collect()
}

/// One row per group and topic out of one per partition.
fn declared(lags: Vec<GroupLag>) -> Vec<GroupRow> {
    let mut rows: BTreeMap<(String, String), GroupRow> = BTreeMap::new();
    for lag in lags {
        let row = rows.entry((lag.group.clone(), lag.topic.clone())).or_insert_with(|| GroupRow {
            service: lag.service.clone(),
            group: lag.group.clone(),
            topic: lag.topic.clone(),
            run_time: false,
            state: Doing::Running,
            lag: Some(0),
            error: None,
            partitions: Vec::new(),
        });
        row.lag = row.lag.zip(lag.lag).map(|(sum, one)| sum + one);
        if let Some(reason) = &lag.stopped {
            (row.state, row.error) = (Doing::Failed, Some(reason.clone()));
        }
        row.partitions.push(PartitionRow::from(&lag));
    }
    rows.into_values().collect()
}

fn run_time(service: &str, info: GroupInfo, lags: &[GroupLag]) -> GroupRow {
    let partitions = lags.iter().filter(|lag| lag.group == info.full_name).map(PartitionRow::from).collect();
    GroupRow {
        service: service.to_owned(),
        group: info.full_name,
        topic: info.topic,
        run_time: true,
        state: match info.state {
            GroupState::Running => Doing::Running,
            GroupState::Failed => Doing::Failed,
            GroupState::Stopped => Doing::Stopped,
        },
        lag: info.lag,
        error: info.error,
        partitions,
    }
}
