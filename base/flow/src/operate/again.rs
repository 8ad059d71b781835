//! What a group that goes back would take in a second time: messages without numbers, of which nobody keeps which were taken in.

use crate::Failure;
use crate::consumer::sort::{Known, Opened, Place, Seen, sort};
use crate::ctx::Shared;
use crate::storage::offsets::Offset;
use artel_bus::Fetch;
use uuid::Uuid;

/// More messages are not looked at: the count is one of "so many at least".
const LOOKED_AT: usize = 200_000;
const AT_ONCE: Fetch = Fetch { max_records: 2_000, max_bytes: 4 << 20 };

/// How many messages without numbers that count stand in a log between two offsets of a partition.
pub(super) async fn unnumbered(
    shared: &Shared,
    place: &Offset,
    log: Uuid,
    between: (i64, i64),
) -> Result<i64, Failure> {
    let Offset { topic, partition, .. } = place;
    let bus = shared.topics.bus();
    let end = bus.bounds(topic, *partition).await?.end.min(between.1);
    let at = Place { topic, partition: *partition, log, now: shared.now() };
    let (mut from, mut looked_at, mut count) = (between.0, 0, 0);
    while from < end && looked_at < LOOKED_AT {
        let found = bus.read(topic, *partition, from, AT_ONCE).await?;
        if found.records.is_empty() && found.next <= from {
            break;
        }
        from = found.next;
        looked_at += found.records.len();
        let before = found.records.into_iter().filter(|record| record.offset < end);
        let seen = before.map(|record| {
            let trusted = |source: &str| shared.trusts(topic, source);
            sort(Opened::from(record), &at, trusted, &mut Known::default()).seen
        });
        count += i64::try_from(seen.filter(|seen| *seen == Seen::Foreign).count()).unwrap_or(0);
    }
    Ok(count)
}
