//! A topic's messages, a bounded scan at a time. The answer says how much was looked at and where to go on, so that an
//! empty page is not mistaken for an empty topic.

use super::record::{Filter, RecordRow};
use super::start::Start;
use super::{Admin, limit_of};
use crate::edge::{Json, Needs, Operate, Path, Problem, Query, Routes};
use artel_bus::{BusError, Fetch};
use artel_message::{Code, Cursor};
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 1_000;
/// What one request looks at, at most.
const SCAN_RECORDS: usize = 50_000;
const SCAN_BYTES: usize = 32 << 20;
/// What one read of the log brings.
const READ: Fetch = Fetch { max_records: 1_000, max_bytes: 1 << 20 };
/// What one answer holds; a larger message comes alone.
const ANSWER_BYTES: usize = 8 << 20;

/// What to look for, and where.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Look {
    /// One partition; all of them, one after the other, unless said.
    partition: Option<u32>,
    /// `earliest` (unless said), `latest` (the newest `limit` of each partition), an offset, or an RFC 3339 time.
    from: Option<String>,
    /// At most this many messages, 1 to 1,000; 50 unless said.
    limit: Option<usize>,
    /// The key, exactly.
    key: Option<String>,
    /// Text somewhere in key, value or headers.
    contains: Option<String>,
    /// The field `next` of the answer before, in place of `from`; the other parameters stay.
    cursor: Option<Cursor>,
}

/// What a scan found.
#[derive(Serialize, JsonSchema)]
struct Found {
    items: Vec<RecordRow>,
    /// Where to go on; absent at the end of the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Cursor>,
    /// Messages looked at for this answer.
    scanned: usize,
}

/// Where a scan goes on: how it began, for partitions that it has not come to, the partition, and the next offset there.
type Place = (String, u32, i64);

pub(super) fn routes() -> Routes<Admin> {
    Routes::new().get("/api/admin/topics/{topic}/messages", scan, |op| {
        op.summary("Look through the messages of a topic")
            .description(
                "Partition after partition, oldest first. One request looks at 50,000 messages at most.",
            )
            .answers::<Found>(200, "messages")
            .refuses(&[Code::NotFound])
    })
}

/// One scan while it runs.
struct Scan<'a> {
    admin: &'a Admin,
    topic: &'a str,
    filter: Filter,
    limit: usize,
    found: Found,
    bytes: usize,
    answered: usize,
}

async fn scan(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Path(topic): Path<String>,
    Query(look): Query<Look>,
) -> Result<Json<Found>, Problem> {
    let place: Option<Place> = look.cursor.map(|cursor| cursor.key()).transpose()?;
    let from = match &place {
        Some((from, ..)) => from.clone(),
        None => look.from.unwrap_or_else(|| "earliest".to_owned()),
    };
    let start = Start::parse(&from)?;
    let partitions = admin.chosen(&topic, look.partition).await?;
    let limit = limit_of(look.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let mut scan = Scan {
        admin: &admin,
        topic: &topic,
        filter: Filter { key: look.key, contains: look.contains },
        limit,
        found: Found { items: Vec::new(), next: None, scanned: 0 },
        bytes: 0,
        answered: 0,
    };
    let newest = i64::try_from(limit).unwrap_or(i64::MAX);
    for partition in partitions {
        let begin = match &place {
            Some((_, at, _)) if partition < *at => continue,
            Some((_, at, offset)) if partition == *at => *offset,
            _ => match admin.place(&topic, partition, start, newest).await {
                Ok(offset) => offset,
                Err(BusError::Stopped { .. }) if look.partition.is_none() => continue,
                Err(error) => return Err(error.into()),
            },
        };
        if let Some(next) = scan.partition(partition, begin).await? {
            scan.found.next = Some(Cursor::of(&(from, partition, next)));
            break;
        }
    }
    Ok(Json(scan.found))
}

impl Scan<'_> {
    /// Looks through one partition up to its present end; the next offset where a bound was met.
    async fn partition(&mut self, partition: u32, begin: i64) -> Result<Option<i64>, BusError> {
        let bus = &self.admin.0.bus;
        let bounds = bus.bounds(self.topic, partition).await?;
        // What retention took meanwhile is passed over.
        let mut next = begin.max(bounds.begin);
        while next < bounds.end {
            if self.is_full() {
                return Ok(Some(next));
            }
            let fetched = bus.read(self.topic, partition, next, READ).await?;
            for record in fetched.records {
                if self.is_full() {
                    return Ok(Some(next));
                }
                next = record.offset + 1;
                let size = record.value.as_ref().map_or(0, bytes::Bytes::len) + 100;
                self.found.scanned += 1;
                self.bytes += size;
                if self.filter.lets_through(&record) {
                    self.answered += size;
                    self.found.items.push(RecordRow::new(partition, record));
                }
            }
            next = next.max(fetched.next);
        }
        Ok(None)
    }

    fn is_full(&self) -> bool {
        self.found.items.len() >= self.limit
            || self.found.scanned >= SCAN_RECORDS
            || self.bytes >= SCAN_BYTES
            || self.answered >= ANSWER_BYTES
    }
}
