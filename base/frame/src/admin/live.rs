//! A topic's messages as they come, by server-sent events. Each event's id says how far the stream is in every partition:
//! a client that comes back with it as `Last-Event-ID` misses nothing and gets nothing twice. A slow client slows down
//! the reading, nothing piles up.

use super::Admin;
use super::record::{Filter, RecordRow};
use super::start::Start;
use crate::edge::{Needs, Operate, Path, Problem, Query, Routes};
use artel_bus::{BusError, Fetch, Received};
use artel_message::{Code, Fault, Time};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{FuturesUnordered, Stream};
use futures::{FutureExt, StreamExt};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

const HEARTBEAT: Duration = Duration::from_secs(15);
/// Partitions of one stream: its ids name them all.
const MAX_PARTITIONS: usize = 256;
/// What one round reads per partition.
const READ: Fetch = Fetch { max_records: 200, max_bytes: 1 << 20 };

/// What to follow, and from where.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Follow {
    /// One partition; all of them unless said.
    partition: Option<u32>,
    /// `latest` (unless said: only what comes from now on), `earliest`, an offset, or an RFC 3339 time.
    from: Option<String>,
    /// The key, exactly.
    key: Option<String>,
    /// Text somewhere in key, value or headers.
    contains: Option<String>,
}

pub(super) fn routes() -> Routes<Admin> {
    Routes::new().get("/api/admin/topics/{topic}/messages/live", live, |op| {
        op.summary("Follow the messages of a topic")
            .description(
                "Events named `message` hold a message each. `skipped` says how many went away before they were read \
                 (retention), `failed` why the stream ends.",
            )
            .header("Last-Event-ID", "goes on behind the event with this id, in place of `from`")
            .answers_raw::<RecordRow>(200, "text/event-stream", "messages, until the client leaves or the node stops")
            .refuses(&[Code::NotFound, Code::Exhausted])
            .streams()
    })
}

async fn live(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    headers: HeaderMap,
    Path(topic): Path<String>,
    Query(follow): Query<Follow>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let permit = admin.0.live.clone().try_acquire_owned();
    let permit =
        permit.map_err(|_| Fault::exhausted("too many streams are open; close one, or try later"))?;
    let partitions = admin.chosen(&topic, follow.partition).await?;
    if partitions.len() > MAX_PARTITIONS {
        let reason = format!("'{topic}' has more than {MAX_PARTITIONS} partitions; name one of them");
        return Err(Fault::field("partition", reason).into());
    }
    let behind = headers.get("last-event-id").map(|id| parse_id(id.to_str().unwrap_or("")));
    let behind = behind.transpose()?.unwrap_or_default();
    let start = Start::parse(follow.from.as_deref().unwrap_or("latest"))?;
    let mut places = BTreeMap::new();
    for partition in partitions {
        let start = behind.get(&partition).map_or(start, |next| Start::Offset(*next));
        places.insert(partition, admin.place(&topic, partition, start, 0).await?);
    }
    let filter = Filter { key: follow.key, contains: follow.contains };
    let stream = Live { admin, topic, filter, places, ready: VecDeque::new(), ended: false, _permit: permit };
    let events = futures::stream::unfold(stream, |mut live| async move {
        let event = live.next().await?;
        Some((Ok(event), live))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// `0:12,1:7`: the next offset of each partition.
fn parse_id(text: &str) -> Result<BTreeMap<u32, i64>, Fault> {
    let place = |part: &str| {
        let (partition, offset) = part.split_once(':')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    };
    let places: Option<BTreeMap<u32, i64>> = text.split(',').map(place).collect();
    places
        .ok_or_else(|| Fault::field("Last-Event-ID", "not an id of this stream; leave it out and use 'from'"))
}

fn id_of(places: &BTreeMap<u32, i64>) -> String {
    places.iter().map(|(partition, next)| format!("{partition}:{next}")).collect::<Vec<_>>().join(",")
}

struct Live {
    admin: Admin,
    topic: String,
    filter: Filter,
    /// What was sent, per partition.
    places: BTreeMap<u32, i64>,
    /// Read and not yet sent.
    ready: VecDeque<(u32, Received)>,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Live {
    /// The next event; `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        while !self.ended {
            while let Some((partition, record)) = self.ready.pop_front() {
                self.places.insert(partition, record.offset + 1);
                if self.filter.lets_through(&record) {
                    return Some(self.message(partition, record));
                }
            }
            let closing = self.admin.0.closing.clone();
            let read = tokio::select! {
                () = closing.cancelled() => return None,
                read = self.read() => read,
            };
            match read {
                Ok(None) => {}
                Ok(Some(skipped)) => {
                    let data = format!("{{\"messages\":{skipped}}}");
                    return Some(Event::default().event("skipped").id(id_of(&self.places)).data(data));
                }
                Err(error) => {
                    self.ended = true;
                    let data = serde_json::json!({ "reason": error.to_string() }).to_string();
                    return Some(Event::default().event("failed").data(data));
                }
            }
        }
        None
    }

    fn message(&self, partition: u32, record: Received) -> Event {
        let data = serde_json::to_string(&RecordRow::new(partition, record)).unwrap_or_default();
        Event::default().event("message").id(id_of(&self.places)).data(data)
    }

    /// Waits until there is something, and reads it, in the order of time over all partitions. Gives the number of
    /// messages that retention took before they were read.
    async fn read(&mut self) -> Result<Option<i64>, BusError> {
        self.wait().await?;
        let (mut round, bus) = (Vec::new(), &self.admin.0.bus);
        for (&partition, next) in &mut self.places {
            match bus.read(&self.topic, partition, *next, READ).await {
                Ok(fetched) if fetched.records.is_empty() => *next = fetched.next,
                Ok(fetched) => {
                    // Producers' clocks differ: a partition's own order stays whatever the times say.
                    let mut latest = Time::MIN;
                    round.extend(fetched.records.into_iter().map(|record| {
                        latest = latest.max(record.time);
                        (latest, partition, record)
                    }));
                }
                Err(BusError::OutOfRange { begin, .. }) => {
                    let skipped = begin - *next;
                    *next = begin;
                    return Ok(Some(skipped));
                }
                Err(error) => return Err(error),
            }
        }
        round.sort_by_key(|(time, partition, record)| (*time, *partition, record.offset));
        self.ready = round.into_iter().map(|(_, partition, record)| (partition, record)).collect();
        Ok(None)
    }

    async fn wait(&self) -> Result<(), BusError> {
        let bus = &self.admin.0.bus;
        let mut waits: FuturesUnordered<_> = self
            .places
            .iter()
            .map(|(partition, next)| bus.wait(&self.topic, *partition, *next).boxed())
            .collect();
        waits.next().await.unwrap_or(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back() {
        let places = BTreeMap::from([(0, 12), (3, 0)]);
        assert_eq!(id_of(&places), "0:12,3:0");
        assert_eq!(parse_id("0:12,3:0"), Ok(places));
        for wrong in ["", "1", "a:1", "1:2,"] {
            assert!(parse_id(wrong).is_err(), "{wrong}");
        }
    }
}
