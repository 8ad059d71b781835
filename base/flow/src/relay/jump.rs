//! Numbers that no earlier life of this service has given.

use crate::Failure;
use crate::clock::Clock;
use crate::leases::RELAY;
use crate::storage::{leases, numbers};
use artel_bus::{Bounds, Bus, BusError, Fetch};
use artel_message::{Envelope, Time};
use artel_store::{Db, Lane, StoreError};
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How far the end of a partition is searched for the service's own last seq.
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
    let Ends { highest, unsure } = ends(bus, service, given).await?;
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
) -> Result<Ends, BusError> {
    let looks = given.into_iter().map(async |(topic, partition, seq)| {
        let look = tokio::time::timeout(PATIENCE, highest_own_seq(bus, service, &topic, partition));
        (look.await, topic, partition, seq)
    });
    let mut looks = futures::stream::iter(looks).buffer_unordered(WIDTH);
    let mut all = Ends { highest: 0, unsure: Vec::new() };
    while let Some((seen, topic, partition, seq)) = looks.next().await {
        all.highest = all.highest.max(seq.saturating_add(1));
        match seen {
            Ok(Ok(own)) => all.highest = all.highest.max(own.saturating_add(1)),
            Ok(Err(BusError::Closed)) => return Err(BusError::Closed),
            Ok(Err(_)) | Err(_) => all.unsure.push((topic, partition)),
        }
    }
    Ok(all)
}

/// The highest of the service's own numbers at the end of a partition.
pub(super) async fn highest_own_seq(
    bus: &Arc<dyn Bus>,
    service: &str,
    topic: &str,
    partition: u32,
) -> Result<i64, BusError> {
    let Bounds { begin, end } = match bus.bounds(topic, partition).await {
        Ok(bounds) => bounds,
        Err(BusError::UnknownTopic(_) | BusError::UnknownPartition { .. } | BusError::Stopped { .. }) => {
            return Ok(0);
        }
        Err(e) => return Err(e),
    };
    let own = Envelope::source_of(service);
    let (mut from, mut highest) = ((end - LOOK_BACK).max(begin), 0);
    while from < end {
        let fetch = Fetch { max_records: 500, max_bytes: 4 << 20 };
        let fetched = match bus.read(topic, partition, from, fetch).await {
            Ok(fetched) => fetched,
            // Damage that nobody had seen: the partition takes nothing either, and others are to run.
            Err(BusError::Stopped { .. }) => break,
            Err(e) => return Err(e),
        };
        if fetched.next <= from {
            break;
        }
        from = fetched.next;
        for record in &fetched.records {
            if let Ok(Envelope { source, seq: Some(seq), .. }) = Envelope::from_headers(&record.headers)
                && source == own
            {
                highest = highest.max(seq);
            }
        }
    }
    Ok(highest)
}
