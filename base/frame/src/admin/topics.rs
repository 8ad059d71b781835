//! Topics: the list, and one with its partitions.

use super::{Admin, limit_of};
use crate::edge::{Json, Needs, Operate, Path, Problem, Query, Routes};
use artel_bus::{BusError, Topic};
use artel_message::{Code, Cursor, Page};
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

/// A topic in the list.
#[derive(Serialize, JsonSchema)]
struct TopicRow {
    name: String,
    partitions: u32,
    /// Messages between the begin and end offsets of all partitions.
    messages: i64,
    /// On the disk, over all partitions.
    bytes: u64,
    /// The service it belongs to; absent where anyone may write.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// Partitions that are stopped.
    stopped: u32,
}

/// A topic with its partitions.
#[derive(Serialize, JsonSchema)]
struct TopicDetail {
    name: String,
    /// A topic deleted and made again has another.
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// How long messages are kept, in milliseconds; absent = for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_ms: Option<i64>,
    /// How much a partition keeps; absent = without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_bytes: Option<u64>,
    partitions: Vec<PartitionRow>,
    /// Who reads it.
    groups: Vec<GroupRow>,
}

#[derive(Serialize, JsonSchema)]
struct PartitionRow {
    partition: u32,
    /// The first offset that is there; absent where the partition is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    begin: Option<i64>,
    /// The next offset to be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<i64>,
    bytes: u64,
    /// Why it is stopped, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
}

/// How far a group says it is.
#[derive(Serialize, JsonSchema)]
struct GroupRow {
    group: String,
    partition: u32,
    /// The next offset it needs.
    next: i64,
}

/// Which part of a list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Part {
    /// At most this many, 1 to 1,000; 100 unless said.
    limit: Option<usize>,
    /// The field `next` of the page before.
    cursor: Option<Cursor>,
}

pub(super) fn routes() -> Routes<Admin> {
    Routes::new()
        .get("/api/admin/topics", list, |op| {
            op.summary("List topics").answers::<Page<TopicRow>>(200, "topics by name")
        })
        .get("/api/admin/topics/{topic}", show, |op| {
            op.summary("Show a topic with its partitions and groups")
                .answers::<TopicDetail>(200, "the topic")
                .refuses(&[Code::NotFound])
        })
}

async fn list(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Query(part): Query<Part>,
) -> Result<Json<Page<TopicRow>>, Problem> {
    let after: Option<String> = part.cursor.map(|cursor| cursor.key()).transpose()?;
    let limit = limit_of(part.limit, DEFAULT_PAGE, MAX_PAGE)?;
    let all = admin.0.bus.list().await?;
    let mut rest =
        all.into_iter().skip_while(|topic| after.as_ref().is_some_and(|after| topic.name <= *after));
    let mut items = Vec::new();
    // Only what is shown is looked at closely.
    for topic in rest.by_ref().take(limit) {
        items.push(admin.row(topic).await);
    }
    let more = rest.next().is_some();
    let next = items.last().filter(|_| more).map(|last: &TopicRow| Cursor::of(&last.name));
    Ok(Json(Page { items, next }))
}

async fn show(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Path(name): Path<String>,
) -> Result<Json<TopicDetail>, Problem> {
    let topic = admin.0.bus.describe(&name).await?;
    let groups = admin.0.bus.offsets().await?.into_iter().filter(|offset| offset.topic == name);
    let groups = groups
        .map(|offset| GroupRow { group: offset.group, partition: offset.partition, next: offset.next })
        .collect();
    Ok(Json(TopicDetail {
        id: topic.id,
        owner: admin.owner(&name),
        retention_ms: topic.retention_ms,
        retention_bytes: topic.retention_bytes,
        partitions: admin.partitions(&topic).await,
        groups,
        name,
    }))
}

impl Admin {
    async fn partitions(&self, topic: &Topic) -> Vec<PartitionRow> {
        let mut rows = Vec::new();
        for partition in 0..topic.partitions {
            let index = usize::try_from(partition).unwrap_or(usize::MAX);
            let bytes = topic.bytes.get(index).copied().unwrap_or(0);
            let mut row = PartitionRow { partition, begin: None, end: None, bytes, stopped: None };
            match self.0.bus.bounds(&topic.name, partition).await {
                Ok(bounds) => (row.begin, row.end) = (Some(bounds.begin), Some(bounds.end)),
                Err(BusError::Stopped { reason, .. }) => row.stopped = Some(reason),
                Err(error) => row.stopped = Some(error.to_string()),
            }
            rows.push(row);
        }
        rows
    }

    async fn row(&self, topic: Topic) -> TopicRow {
        let partitions = self.partitions(&topic).await;
        let held = |row: &PartitionRow| row.end.zip(row.begin).map_or(0, |(end, begin)| end - begin);
        let stopped = partitions.iter().filter(|row| row.stopped.is_some()).count();
        TopicRow {
            owner: self.owner(&topic.name),
            name: topic.name,
            partitions: topic.partitions,
            messages: partitions.iter().map(held).sum(),
            bytes: topic.bytes.iter().sum(),
            stopped: u32::try_from(stopped).unwrap_or(u32::MAX),
        }
    }
}
