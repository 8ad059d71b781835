//! A look through partitions in the order of time, bounded in records and in time. There is no index of messages by id: an id
//! says when its cause was made, the log says where that time begins, and what is looked for comes after it.

use super::story::Looked;
use artel_bus::{Bus, BusError, Fetch};
use artel_message::{Cause, Time};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Questions to the log at the same time.
const WIDTH: usize = 16;
/// Records in memory, over all partitions, each without its value.
const HELD: usize = 20_000;
/// How long one answer of the log is waited for.
const ANSWER: Duration = Duration::from_secs(3);
const READ_RECORDS: usize = 500;
const READ_BYTES: usize = 256 << 10;

/// How much more may be looked at.
pub(super) struct Budget {
    pub records: usize,
    pub until: Instant,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.records == 0 || Instant::now() >= self.until
    }
}

/// A partition to look through.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub topic: Arc<str>,
    pub log: Uuid,
    pub partition: u32,
}

/// What of a record tells whether it is looked for.
#[derive(Debug, Clone)]
pub(super) struct Slim {
    /// Which of the places.
    pub lane: usize,
    pub offset: i64,
    pub time: Time,
    /// `ce_id`, where there is one.
    pub id: Option<Uuid>,
    pub cause: Option<Uuid>,
}

/// Ids that are looked for. A message that nobody vouches for is known by its place, so that its id has to be computed.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    ids: HashMap<Uuid, usize>,
    /// The milliseconds that they tell.
    born: HashSet<i64>,
}

impl Wanted {
    pub fn add(&mut self, id: Uuid, what: usize) {
        self.ids.insert(id, what);
        self.born.extend(time_of(id).map(Time::millis));
    }

    pub fn by(&self, id: Uuid) -> Option<usize> {
        self.ids.get(&id).copied()
    }

    /// What this record is, by its own id or by its place.
    pub fn of(&self, record: &Slim, place: &Place) -> Option<usize> {
        let named = record.id.and_then(|id| self.by(id));
        named.or_else(|| {
            let known = self.born.contains(&record.time.millis());
            known.then(|| self.by(foreign(place, record.offset, record.time))).flatten()
        })
    }
}

/// The id by which groups know a record that nobody vouches for.
pub(super) fn foreign(place: &Place, offset: i64, time: Time) -> Uuid {
    Cause::foreign(place.log, &place.topic, place.partition, offset, time).id()
}

/// When the cause was made that an id derives from; none where the id is not of that kind (UUIDv7).
pub(super) fn time_of(id: Uuid) -> Option<Time> {
    if id.get_version_num() != 7 {
        return None;
    }
    let millis = id.as_u128() >> 80;
    i64::try_from(millis).ok().map(Time::from_millis)
}

struct Lane {
    next: i64,
    end: i64,
    held: VecDeque<Slim>,
}

/// A scan while it runs.
pub(super) struct Scan<'a> {
    bus: &'a dyn Bus,
    places: &'a [Place],
    lanes: Vec<Lane>,
    heads: BinaryHeap<Reverse<(Time, usize, i64)>>,
    at_once: usize,
    /// The time that was reached.
    pub reached: Option<Time>,
    pub ended: Ended,
}

/// Why a scan brings nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    NotYet,
    /// At the end of all partitions, as they were when it began.
    All,
    Budget,
}

impl<'a> Scan<'a> {
    /// From this time on; from the beginning of the log where there is none. A partition that does not answer is left out and named.
    pub async fn open(
        bus: &'a dyn Bus,
        places: &'a [Place],
        from: Option<Time>,
        looked: &mut Looked,
    ) -> Scan<'a> {
        let at_once = (HELD / places.len().max(1)).clamp(10, READ_RECORDS);
        let begun: Vec<BoxFuture<'_, Result<Lane, BusError>>> =
            places.iter().map(|place| begin(bus, place, from).boxed()).collect();
        let begun: Vec<Result<Lane, BusError>> = stream::iter(begun).buffered(WIDTH).collect().await;
        let lanes = begun.into_iter().zip(places).map(|(lane, place)| {
            lane.unwrap_or_else(|error| {
                left_out(looked, place, &error);
                Lane { next: 0, end: 0, held: VecDeque::new() }
            })
        });
        let mut scan = Scan {
            bus,
            places,
            lanes: lanes.collect(),
            heads: BinaryHeap::new(),
            at_once,
            reached: None,
            ended: Ended::NotYet,
        };
        scan.fill_all(looked).await;
        scan
    }

    async fn fill_all(&mut self, looked: &mut Looked) {
        let (bus, places, at_once) = (self.bus, self.places, self.at_once);
        let lanes = std::mem::take(&mut self.lanes).into_iter().zip(places).enumerate();
        let fills: Vec<BoxFuture<'_, (Lane, Result<(), BusError>)>> =
            lanes.map(|(index, (lane, place))| filled(bus, place, index, lane, at_once).boxed()).collect();
        let filled: Vec<(Lane, Result<(), BusError>)> = stream::iter(fills).buffered(WIDTH).collect().await;
        for (index, (lane, result)) in filled.into_iter().enumerate() {
            self.lanes.push(lane);
            self.settle(index, result, looked);
        }
    }

    fn settle(&mut self, index: usize, result: Result<(), BusError>, looked: &mut Looked) {
        if let Err(error) = result {
            left_out(looked, &self.places[index], &error);
            self.lanes[index].end = self.lanes[index].next;
        }
        if let Some(head) = self.lanes[index].held.front() {
            self.heads.push(Reverse((head.time, index, head.offset)));
        }
    }

    /// The next record by its time. None at the end, or where no more may be looked at.
    pub async fn next(&mut self, budget: &mut Budget, looked: &mut Looked) -> Option<Slim> {
        let Some(Reverse((_, index, _))) = self.heads.pop() else {
            self.ended = Ended::All;
            return None;
        };
        if budget.is_spent() {
            self.ended = Ended::Budget;
            return None;
        }
        let record = self.lanes[index].held.pop_front()?;
        budget.records -= 1;
        looked.records += 1;
        self.reached = self.reached.max(Some(record.time));
        if self.lanes[index].held.is_empty() {
            let filled =
                fill(self.bus, &self.places[index], index, &mut self.lanes[index], self.at_once).await;
            self.settle(index, filled, looked);
        } else if let Some(head) = self.lanes[index].held.front() {
            self.heads.push(Reverse((head.time, index, head.offset)));
        }
        Some(record)
    }
}

/// Waits for the log's answer, but not for ever: a partition that does not answer is left out.
pub(super) async fn answer<T>(asked: impl Future<Output = Result<T, BusError>>) -> Result<T, BusError> {
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(BusError::Unavailable(format!("no answer within {} s", ANSWER.as_secs()))),
    }
}

async fn begin(bus: &dyn Bus, place: &Place, from: Option<Time>) -> Result<Lane, BusError> {
    let bounds = answer(bus.bounds(&place.topic, place.partition)).await?;
    let next = match from {
        None => bounds.begin,
        Some(time) => answer(bus.offset_at(&place.topic, place.partition, time)).await?.unwrap_or(bounds.end),
    };
    Ok(Lane { next: next.clamp(bounds.begin, bounds.end), end: bounds.end, held: VecDeque::new() })
}

async fn filled(
    bus: &dyn Bus,
    place: &Place,
    index: usize,
    mut lane: Lane,
    at_once: usize,
) -> (Lane, Result<(), BusError>) {
    let filled = fill(bus, place, index, &mut lane, at_once).await;
    (lane, filled)
}

async fn fill(
    bus: &dyn Bus,
    place: &Place,
    index: usize,
    lane: &mut Lane,
    at_once: usize,
) -> Result<(), BusError> {
    while lane.held.is_empty() && lane.next < lane.end {
        let fetch = Fetch { max_records: at_once, max_bytes: READ_BYTES };
        let fetched = answer(bus.read(&place.topic, place.partition, lane.next, fetch)).await?;
        let before = lane.next;
        for record in fetched.records.into_iter().filter(|record| record.offset < lane.end) {
            let id = |name: &str| {
                let text = std::str::from_utf8(record.headers.get(name).flatten()?).ok()?;
                Uuid::parse_str(text).ok()
            };
            let (id, cause) = (id("ce_id"), id("artel_cause"));
            lane.held.push_back(Slim { lane: index, offset: record.offset, time: record.time, id, cause });
        }
        lane.next = fetched.next.max(lane.held.back().map_or(before, |last| last.offset + 1));
        if lane.next == before {
            // Nothing came though the end lies ahead: asking again would bring nothing either.
            lane.end = before;
        }
    }
    Ok(())
}

fn left_out(looked: &mut Looked, place: &Place, error: &BusError) {
    looked.open.push(format!("{}/{} was left out: {error}", place.topic, place.partition));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_when_its_cause_was_made() {
        let at = Time::from_millis(1_769_851_800_123);
        let cause = Cause::keyed("someone", "shop.sell", "k", at);
        assert_eq!(time_of(cause.id()), Some(at));
        assert_eq!(time_of(cause.derive("shop.sell", 3)), Some(at));
        assert_eq!(time_of(Uuid::from_u128(7)), None);
        assert_eq!(time_of(Uuid::nil()), None);
    }

    #[test]
    fn a_foreign_record_is_known_by_its_place() {
        let place = Place { topic: Arc::from("far"), log: Uuid::from_u128(9), partition: 1 };
        let time = Time::from_millis(1_769_851_800_123);
        let record = Slim { lane: 0, offset: 4, time, id: None, cause: None };
        let mut wanted = Wanted::default();
        wanted.add(foreign(&place, 5, time), 1);
        assert_eq!(wanted.of(&record, &place), None);
        wanted.add(foreign(&place, 4, time), 2);
        assert_eq!(wanted.of(&record, &place), Some(2));
    }
}
