//! Numbers that no earlier life of this service has given.

use crate::StartError;
use crate::clock::Clock;
use crate::storage::outbox;
use artel_bus::{Bounds, Bus, BusError, Fetch};
use artel_message::Envelope;
use artel_store::{Db, Engine, Lane};
use std::sync::Arc;

/// How far the end of a partition is searched for the service's own last seq.
const LOOK_BACK: i64 = 1_000;
const DAY_MICROS: i64 = 86_400_000_000;

/// Raises the service's counter above every number it may have given before: a database that went back, or a lagging clock,
/// never gives one twice. Runs before anything is written.
pub(crate) async fn jump(
    db: &Db,
    bus: &Arc<dyn Bus>,
    service: &'static str,
    clock: &Clock,
) -> Result<(), StartError> {
    // An embedded database has no clock but its process's.
    let clock = match db.engine() {
        Engine::Sqlite => clock.now(),
    };
    let mut write = db.begin(Lane::Interactive).await?;
    let mut highest = 0i64;
    for (topic, partition, seq) in outbox::partitions(&mut write).await? {
        let own = highest_own_seq(bus, service, &topic, partition).await?;
        highest = highest.max(own.saturating_add(1)).max(seq.saturating_add(1));
    }
    let next = outbox::jump(&mut write, clock.micros().max(highest)).await?;
    // Consumers don't believe numbers that lie more than a day ahead of their clock.
    if next > clock.micros().saturating_add(DAY_MICROS) {
        write.rollback().await?;
        return Err(StartError::Clock { service: service.to_owned() });
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
