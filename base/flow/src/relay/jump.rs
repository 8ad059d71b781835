//! Numbers that no earlier life of this service has given.

use crate::Failure;
use crate::clock::Clock;
use crate::leases::RELAY;
use crate::storage::{leases, outbox};
use artel_bus::{Bounds, Bus, BusError, Fetch};
use artel_message::Envelope;
use artel_store::{Db, Engine, Lane};
use std::sync::Arc;
use uuid::Uuid;

/// How far the end of a partition is searched for the service's own last seq.
const LOOK_BACK: i64 = 1_000;
const DAY_MICROS: i64 = 86_400_000_000;

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
/// never gives one twice. Runs at each open or take-over, before anything is numbered. `lease` is the relay's, where several
/// nodes may want it.
pub(crate) async fn jump(
    db: &Db,
    bus: &Arc<dyn Bus>,
    service: &'static str,
    clock: &Clock,
    lease: Option<(Uuid, i64)>,
) -> Result<(), NoNumber> {
    // An embedded database has no clock but its process's.
    let now = match db.engine() {
        Engine::Sqlite => clock.now(),
        Engine::Postgres => db.now().await?,
    };
    let given = outbox::partitions(&mut db.read().await?).await?;
    let mut highest = 0i64;
    for (topic, partition, seq) in given {
        let own = highest_own_seq(bus, service, &topic, partition).await?;
        highest = highest.max(own.saturating_add(1)).max(seq.saturating_add(1));
    }
    let mut write = db.begin_plain(Lane::Interactive).await?;
    if let Some((owner, epoch)) = lease
        && !leases::hold(&mut write, RELAY, owner, epoch).await?
    {
        write.rollback().await?;
        return Err(NoNumber::Lost);
    }
    let next = outbox::jump(&mut write, now.micros().max(highest)).await?;
    // Consumers don't believe numbers that lie more than a day ahead of their clock.
    if next > now.micros().saturating_add(DAY_MICROS) {
        write.rollback().await?;
        return Err(NoNumber::Clock);
    }
    write.commit().await?;
    Ok(())
}

async fn highest_own_seq(
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
