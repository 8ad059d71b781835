//! Numbers that no earlier life of this service has given.

use super::lines::Place;
use crate::Failure;
use crate::clock::Clock;
use crate::leases::RELAY;
use crate::storage::{leases, numbers};
use artel_bus::{Bounds, Bus, BusError, Fetch, Received};
use artel_message::{Envelope, Time};
use artel_store::{Db, Lane, StoreError};
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How many messages at the end of a partition are searched for the service's own last seq.
const LOOK_BACK: i64 = 1_000;
const DAY_MICROS: i64 = 86_400_000_000;
/// How many ends are read at a time, and how long the others wait for one.
const WIDTH: usize = 32;
const PATIENCE: Duration = Duration::from_secs(1);

/// Why no number can be given.
#[derive(Debug)]
pub(crate) enum NoNumber {
    /// The numbers given so far lie too far ahead of the clock.
    Clock,
    /// The relay's lease is somebody else's.
    Lost,
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for NoNumber {
    fn from(error: E) -> NoNumber {
        NoNumber::Failed(error.into())
    }
}

/// Raises the service's counter above every number it may have given before: a database that went back, or a lagging clock,
/// never gives one twice. Runs at each open or take-over, before anything is numbered. Partitions that can't be looked at are
/// marked: see `unsure`. `lease` is the relay's, where several nodes may want it. No number below `floor` is given.
pub(crate) async fn jump(
    db: &Db,
    bus: &Arc<dyn Bus>,
    service: &'static str,
    clock: &Clock,
    lease: Option<(Uuid, i64)>,
    floor: i64,
) -> Result<(), NoNumber> {
    let now = now_of(db, clock).await?;
    let given = numbers::partitions(&mut db.read().await?).await?;
    let Ends { highest, unsure } = ends(bus, service, given, now).await?;
    let mut write = db.begin_plain(Lane::Interactive).await?;
    if let Some((owner, epoch)) = lease
        && !leases::hold(&mut write, RELAY, owner, epoch).await?
    {
        write.rollback().await?;
        return Err(NoNumber::Lost);
    }
    let floor = if planted!(NoJump) { 1 } else { now.micros().max(highest).max(floor) };
    let next = numbers::jump(&mut write, floor).await?;
    if !may_give(next, now) {
        write.rollback().await?;
        return Err(NoNumber::Clock);
    }
    numbers::doubt(&mut write, &unsure, next).await?;
    write.commit().await?;
    for (topic, partition) in unsure {
        tracing::warn!(
            service,
            topic,
            partition,
            "the end of a partition can't be read; what is published there waits until it can, the rest goes on"
        );
    }
    Ok(())
}

/// The database's own clock. An embedded one has none but its process's.
pub(crate) async fn now_of(db: &Db, clock: &Clock) -> Result<Time, StoreError> {
    if db.is_shared() { db.now().await } else { Ok(clock.now()) }
}

/// Consumers don't believe numbers that lie more than a day ahead of their clock.
pub(super) fn may_give(next: i64, now: Time) -> bool {
    next <= now.micros().saturating_add(DAY_MICROS)
}

/// What the ends of the partitions say.
struct Ends {
    /// No number up to here may be given again.
    highest: i64,
    unsure: Vec<(String, u32)>,
}

/// Looks at all of them beside each other. One that does not answer, or not soon, is left for later.
async fn ends(
    bus: &Arc<dyn Bus>,
    service: &'static str,
    given: Vec<(String, u32, i64)>,
    now: Time,
) -> Result<Ends, BusError> {
    let looks = given.into_iter().map(async |(topic, partition, seq)| {
        let place = (topic, partition);
        let look = tokio::time::timeout(PATIENCE, look_at_end(bus, service, &place, now)).await;
        (look, place, seq)
    });
    let mut looks = futures::stream::iter(looks).buffer_unordered(WIDTH);
    let mut all = Ends { highest: 0, unsure: Vec::new() };
    while let Some((seen, place, seq)) = looks.next().await {
        all.highest = all.highest.max(seq.saturating_add(1));
        match seen {
            Ok(Ok(seen)) => all.highest = all.highest.max(seen.highest.saturating_add(1)),
            Ok(Err(BusError::Closed)) => return Err(BusError::Closed),
            Ok(Err(_)) | Err(_) => all.unsure.push(place),
        }
    }
    Ok(all)
}

/// What the end of a partition says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// No number of the service's own there is higher. Where none of its messages is among those looked at, though some may have
    /// been before them, that is the time of the last message with a number: numbers are not ahead of the clock that they begin at.
    /// Where there is no message any more it is the time of the look: what retention has taken was older, and numbers that wait may
    /// have been given when it was still there.
    pub highest: i64,
    /// It has had messages, and has none any more.
    pub is_emptied: bool,
}

/// Looks at the end of a partition.
pub(super) async fn look_at_end(
    bus: &Arc<dyn Bus>,
    service: &str,
    (topic, partition): &Place,
    now: Time,
) -> Result<Seen, BusError> {
    let Bounds { begin, end } = match bus.bounds(topic, *partition).await {
        Ok(bounds) => bounds,
        Err(BusError::UnknownTopic(_) | BusError::UnknownPartition { .. } | BusError::Stopped { .. }) => {
            return Ok(Seen::default());
        }
        Err(e) => return Err(e),
    };
    let first = (end - LOOK_BACK).max(begin);
    let (mut from, mut end_of) = (first, End::new(service, now));
    while from < end {
        let fetch = Fetch { max_records: 500, max_bytes: 4 << 20 };
        let fetched = match bus.read(topic, *partition, from, fetch).await {
            Ok(fetched) => fetched,
            // Damage that nobody had seen: the partition takes nothing either, and others are to run.
            Err(BusError::Stopped { .. }) => break,
            Err(e) => return Err(e),
        };
        if fetched.next <= from {
            break;
        }
        from = fetched.next;
        fetched.records.iter().for_each(|record| end_of.add(record));
    }
    Ok(end_of.seen(first > 0))
}

/// The last messages of a partition.
struct End {
    own: String,
    now: i64,
    records: u64,
    highest: i64,
    last: i64,
}

impl End {
    fn new(service: &str, now: Time) -> End {
        End { own: Envelope::source_of(service), now: now.micros(), records: 0, highest: 0, last: 0 }
    }

    fn add(&mut self, record: &Received) {
        self.records += 1;
        let Ok(Envelope { source, seq: Some(seq), .. }) = Envelope::from_headers(&record.headers) else {
            return;
        };
        if source == self.own {
            self.highest = self.highest.max(seq);
        }
        // The log cuts times to milliseconds.
        let time = record.time.micros().saturating_add(1_000);
        // Half a day ahead is somebody's mistake.
        if time <= self.now.saturating_add(DAY_MICROS / 2) {
            self.last = self.last.max(time);
        }
    }

    /// `more` = there were others before them.
    fn seen(&self, more: bool) -> Seen {
        let is_emptied = more && self.records == 0;
        let highest = match self.highest {
            0 if is_emptied => self.now,
            0 if more => self.last,
            highest => highest,
        };
        Seen { highest, is_emptied }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use artel_message::Headers;

    fn record(source: &str, seq: Option<i64>, micros: i64) -> Received {
        let time = Time::from_micros(micros);
        let envelope = Envelope {
            id: Uuid::nil(),
            name: "t.made".to_owned(),
            source: Envelope::source_of(source),
            time,
            trace: None,
            seq,
            prev: None,
            cause: None,
            reply: false,
            extra: Headers::new(),
        };
        Received { offset: 0, time, key: None, value: None, headers: envelope.to_headers() }
    }

    fn seen(records: &[Received], more: bool) -> Seen {
        let mut end = End::new("ann", Time::from_micros(5_000_000));
        records.iter().for_each(|record| end.add(record));
        end.seen(more)
    }

    #[test]
    fn own_numbers_go_over_the_times_of_others() {
        let end = [record("ann", Some(7), 1_000_000), record("bob", Some(9), 2_000_000)];
        assert_eq!(seen(&end, true), Seen { highest: 7, is_emptied: false });
        assert_eq!(seen(&end, false), Seen { highest: 7, is_emptied: false });
    }

    #[test]
    fn where_own_ones_may_lie_before_what_is_seen_the_last_time_tells_what_they_were_at_most() {
        let far = 5_000_000 + DAY_MICROS;
        let end = [
            record("bob", Some(9), 3_000_000),
            record("cat", Some(9), 2_000_000),
            record("bob", Some(10), far),
            record("elsewhere", None, 4_000_000),
        ];
        assert_eq!(seen(&end, true), Seen { highest: 3_001_000, is_emptied: false });
        assert_eq!(seen(&end, false), Seen { highest: 0, is_emptied: false }, "all of it was seen");
    }

    #[test]
    fn a_partition_without_messages_was_emptied_or_never_had_any() {
        assert_eq!(seen(&[], true), Seen { highest: 5_000_000, is_emptied: true });
        assert_eq!(seen(&[], false), Seen { highest: 0, is_emptied: false });
    }
}
