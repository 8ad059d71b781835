//! What a group knew of the sources of a partition when it stood at an earlier place, read from the log.

use crate::Failure;
use crate::consumer::sort::believed_seq;
use crate::ctx::Shared;
use crate::storage::offsets::{self, Offset};
use artel_bus::{BusError, Fetch};
use artel_message::Envelope;
use std::collections::HashMap;

/// So many offsets before the place are looked at, at most.
const MOST: i64 = 200_000;
/// So many are read at once, from the last to the first.
const WINDOW: i64 = 2_000;

/// The highest numbers before a place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub known: Vec<(String, i64)>,
    /// Sources of which not enough was found to be sure.
    pub open: Vec<String>,
}

struct Seen {
    highest: i64,
    messages: usize,
}

/// Looks back from `to`. A relay that begins again repeats what had no answer yet, so the highest number of a source is among its
/// last messages before the place, but not always the last one.
pub(super) async fn before(
    shared: &Shared,
    grp: &str,
    place: &Offset,
    (begin, to): (i64, i64),
) -> Result<Marks, Failure> {
    let mut read = shared.db.read().await?;
    let wanted = offsets::high_water(&mut read, grp, &place.topic, place.partition).await?;
    drop(read);
    // More than a relay ever has under way, which is twice a round's rows.
    let enough = shared.limits.relay_rows.saturating_mul(4);
    let mut seen: HashMap<String, Seen> = HashMap::new();
    let mut until = to;
    let is_open = |seen: &HashMap<String, Seen>, source: &str| {
        seen.get(source).is_none_or(|seen| seen.messages < enough)
    };
    while until > begin && until > to - MOST && wanted.iter().any(|known| is_open(&seen, &known.source)) {
        let from = (until - WINDOW).max(begin);
        look(shared, place, (from, until), &mut seen).await?;
        until = from;
    }
    let mut open = Vec::new();
    if until > begin {
        open = wanted.into_iter().map(|known| known.source).filter(|source| is_open(&seen, source)).collect();
    }
    let mut known: Vec<(String, i64)> =
        seen.into_iter().map(|(source, seen)| (source, seen.highest)).collect();
    known.sort();
    Ok(Marks { known, open })
}

async fn look(
    shared: &Shared,
    place: &Offset,
    (mut from, until): (i64, i64),
    seen: &mut HashMap<String, Seen>,
) -> Result<(), Failure> {
    let bus = shared.topics.bus();
    while from < until {
        let fetch = Fetch { max_records: 500, max_bytes: 4 << 20 };
        let fetched = bus.read(&place.topic, place.partition, from, fetch).await?;
        if fetched.next <= from {
            // Its end: a log that has fewer messages than the group stood at.
            let (topic, partition, offset) = (place.topic.clone(), place.partition, from);
            let bounds = bus.bounds(&topic, partition).await?;
            let (begin, end) = (bounds.begin, bounds.end);
            return Err(BusError::OutOfRange { topic, partition, offset, begin, end }.into());
        }
        from = fetched.next;
        for record in fetched.records.iter().filter(|record| record.offset < until) {
            let Ok(envelope) = Envelope::from_headers(&record.headers) else { continue };
            let trusted = |source: &str| shared.trusts(&place.topic, source);
            let Some(seq) = believed_seq(&envelope, shared.now(), trusted) else { continue };
            let of = seen.entry(envelope.source).or_insert(Seen { highest: seq, messages: 0 });
            of.highest = of.highest.max(seq);
            of.messages += 1;
        }
    }
    Ok(())
}
