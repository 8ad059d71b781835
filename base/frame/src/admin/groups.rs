//! Groups with their lag: those the services declare, and those made at run time; moved on by hand.

use super::Admin;
use super::dead::by;
use super::start::Start;
use crate::edge::{Json, Needs, Operate, Problem, Routes};
use artel_flow::{GroupInfo, GroupLag, GroupState, Phase, ProjectionInfo, Skip, Skipped};
use artel_message::{Code, Fault};
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
    /// Of a projection: its name, its version, and what that is for: `building`, `serving`, `replaced`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Of a version that is being built: why it is not switched to yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
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

/// A group's partition, and where it goes on.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Move {
    /// The group's full name.
    group: String,
    topic: String,
    partition: u32,
    /// An offset such as 1200, a time such as 2026-01-31T09:30:00Z, `end`, or, where the log is another one, `beginning`. The
    /// offset where it stands: it goes on without what is missing there.
    to: String,
    /// Where it goes back, messages without numbers may be taken in a second time.
    #[serde(default)]
    repeats: bool,
    /// Only says what would be passed over.
    #[serde(default)]
    dry_run: bool,
    /// Why, for the record; has to be given where it is done.
    reason: Option<String>,
}

/// What is passed over, or would be.
#[derive(Serialize, JsonSchema)]
struct Moved {
    /// Where the group stood.
    from: i64,
    /// Where it goes on.
    to: i64,
    /// Offsets between the two that the log holds.
    messages: i64,
    /// Messages without numbers before where it stood, where it goes back: those that ran before run again.
    again: i64,
    /// Why the stored place was none of this log.
    #[serde(skip_serializing_if = "Option::is_none")]
    misfit: Option<String>,
}

pub(super) fn routes() -> Routes<Admin> {
    Routes::new()
        .get("/api/admin/groups", list, |op| {
            op.summary("List groups with their lag")
                .answers::<Groups>(200, "groups by service, group and topic")
        })
        .post("/api/admin/groups/skip", skip, |op| {
            op.summary("Move a group on over what it can't take in")
                .description(
                    "What is passed over is never taken in; repeats of what was taken in stay known. Groups go forward only, \
                     unless the log is another one than their place was stored for.",
                )
                .answers::<Moved>(200, "what was passed over, or would be")
                .refuses(&[Code::NotFound, Code::Invalid, Code::Conflict])
        })
}

async fn skip(
    State(admin): State<Admin>,
    caller: Needs<Operate>,
    Json(wanted): Json<Move>,
) -> Result<Json<Moved>, Problem> {
    let Move { group, topic, partition, to, repeats, dry_run, reason } = wanted;
    let to = Start::parse(&to).map_err(|_| Fault::field("to", Start::WORDS))?.into();
    let by = by(&caller, reason);
    let by = (!dry_run).then_some(&by);
    let mut missing = Fault::not_found(format!("no service that runs here has a group '{group}'"));
    let skip = Skip { group, topic, partition, to, repeats };
    for service in admin.0.facts.running(&admin.0.runtime) {
        let Some(ctx) = admin.0.runtime.ctx(&service) else { continue };
        match ctx.places().skip(&skip, by).await {
            Err(fault) if fault.code == Code::NotFound => missing = fault,
            done => {
                let Skipped { from, to, messages, again, misfit } = done?;
                return Ok(Json(Moved { from, to, messages, again, misfit }));
            }
        }
    }
    Err(missing.into())
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
        for info in ctx.projections().list().await? {
            projected(&service, &info, &mut items);
        }
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
                all.waits_for = all.waits_for.take().or(row.waits_for);
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
            projection: None,
            version: None,
            phase: None,
            waits_for: None,
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

/// Says of a version of a projection what it is for; one that no node has the handlers of is told of as stopped.
fn projected(service: &str, info: &ProjectionInfo, items: &mut Vec<GroupRow>) {
    if !info.runs && info.phase != Phase::Retired {
        let stopped = |topic: &String| GroupRow {
            service: service.to_owned(),
            group: info.group.clone(),
            topic: topic.clone(),
            run_time: false,
            state: Doing::Stopped,
            projection: None,
            version: None,
            phase: None,
            waits_for: None,
            lag: None,
            error: None,
            partitions: Vec::new(),
        };
        items.extend(info.topics.iter().map(stopped));
    }
    for row in items.iter_mut().filter(|row| row.group == info.group) {
        row.projection = Some(info.name.clone());
        row.version = Some(info.version);
        row.phase = Some(info.phase.word().to_owned());
        row.waits_for = info.waits_for.clone();
    }
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
        projection: None,
        version: None,
        phase: None,
        waits_for: None,
        lag: info.lag,
        error: info.error,
        partitions,
    }
}
