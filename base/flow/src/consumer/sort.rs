//! What a record is to a group, decided before any transaction: known repeat, new, foreign, or proof of a gap. Pure.

use artel_bus::Received;
use artel_message::{Cause, Envelope, Time};
use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;
use uuid::Uuid;

/// A seq this far ahead of the clock is not believed: a hostile one would deafen the group.
const AHEAD_MICROS: i64 = 86_400_000_000;

/// A record with what its headers say.
#[derive(Debug, Clone)]
pub(crate) struct Sorted {
    pub record: Received,
    /// Present when the headers are an envelope, whoever wrote it.
    pub envelope: Option<Envelope>,
    pub cause: Cause,
    pub seen: Seen,
    /// About what it takes in memory.
    pub bytes: usize,
    /// The moment of its first attempt: running it again changes nothing that its handler sees.
    pub moment: OnceLock<Time>,
}

/// About what it takes in memory.
fn bytes_of(record: &Received) -> usize {
    let of = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    of(&record.key) + of(&record.value) + record.headers.payload_bytes() + 64
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Taken in before: at or below the high water of its source.
    Repeat,
    /// New, with the source's seq.
    New(i64),
    /// Without a seq that counts here: identity by offset.
    Foreign,
    /// A message before this one is missing: the high water stands below `prev`.
    Gap { high: i64, prev: i64 },
}

/// What is known of the sources of a partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// The highest seq of each.
    pub high: HashMap<String, i64>,
    /// Those whose next message is taken whatever its prev: an operator moved the place. Repeats stay repeats.
    pub loose: HashSet<String>,
}

/// What sorting needs to know of a partition.
pub(crate) struct Place<'a> {
    pub topic: &'a str,
    pub partition: u32,
    pub log: Uuid,
    pub now: Time,
}

/// A record whose headers have been looked at.
pub(crate) struct Opened {
    pub record: Received,
    pub envelope: Option<Envelope>,
}

impl From<Received> for Opened {
    fn from(record: Received) -> Opened {
        Opened { envelope: Envelope::from_headers(&record.headers).ok(), record }
    }
}

/// The seq of a message, where it counts here: its source may write to the topic, and it is not far ahead of the clock.
pub(crate) fn believed_seq(envelope: &Envelope, now: Time, trusted: impl Fn(&str) -> bool) -> Option<i64> {
    let seq = envelope.seq?;
    let believed = seq <= now.micros().saturating_add(AHEAD_MICROS);
    (believed && trusted(&envelope.source)).then_some(seq)
}

/// Sorts one record; `known` is the overlay of the batch so far and is raised here.
pub(crate) fn sort(
    Opened { record, envelope }: Opened,
    place: &Place<'_>,
    trusted: impl Fn(&str) -> bool,
    known: &mut Known,
) -> Sorted {
    let ours = envelope.as_ref().and_then(|e| Some((e, believed_seq(e, place.now, trusted)?)));
    let bytes = bytes_of(&record);
    let Some((e, seq)) = ours else {
        let cause = Cause::foreign(place.log, place.topic, place.partition, record.offset, record.time);
        return Sorted { record, envelope, cause, seen: Seen::Foreign, bytes, moment: OnceLock::new() };
    };
    let cause = Cause::message(e.id, e.time);
    let seen = match known.high.get(&e.source).copied() {
        Some(high) if seq <= high => Seen::Repeat,
        Some(high)
            if !planted!(NoPrevCheck)
                && e.prev.is_some_and(|prev| high < prev)
                && !known.loose.contains(&e.source) =>
        {
            Seen::Gap { high, prev: e.prev.unwrap_or(high) }
        }
        _ => Seen::New(seq),
    };
    if let Seen::New(seq) = seen {
        known.high.insert(e.source.clone(), seq);
        known.loose.remove(&e.source);
    }
    Sorted { record, envelope, cause, seen, bytes, moment: OnceLock::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use artel_message::Headers;

    const NOW: Time = Time::from_micros(1_000_000_000_000);

    fn record(offset: i64, seq: Option<i64>, prev: Option<i64>) -> Received {
        let envelope = Envelope {
            id: Uuid::from_u128(u128::try_from(offset).expect("offset") + 1),
            name: "shop.sold".into(),
            source: "artel/shop".into(),
            time: NOW,
            trace: None,
            seq,
            prev,
            cause: None,
            reply: false,
            extra: Headers::new(),
        };
        Received { offset, time: NOW, key: None, value: None, headers: envelope.to_headers() }
    }

    fn seen(records: &[Received], trusted: bool) -> Vec<Seen> {
        let place = Place { topic: "shop.sale", partition: 0, log: Uuid::nil(), now: NOW };
        let mut known = Known::default();
        records.iter().map(|r| sort(r.clone().into(), &place, |_| trusted, &mut known).seen).collect()
    }

    #[test]
    fn behind_a_move_what_is_missing_is_passed_over_once_and_repeats_stay_repeats() {
        let place = Place { topic: "shop.sale", partition: 0, log: Uuid::nil(), now: NOW };
        let source = "artel/shop".to_owned();
        let mut known = Known { high: HashMap::from([(source.clone(), 5)]), loose: HashSet::from([source]) };
        let records =
            [record(0, Some(5), Some(4)), record(1, Some(9), Some(8)), record(2, Some(12), Some(11))];
        let seen: Vec<Seen> =
            records.into_iter().map(|r| sort(r.into(), &place, |_| true, &mut known).seen).collect();
        assert_eq!(seen, [Seen::Repeat, Seen::New(9), Seen::Gap { high: 9, prev: 11 }]);
    }

    #[test]
    fn the_first_message_of_a_source_is_its_base_line() {
        assert_eq!(seen(&[record(0, Some(7), Some(5))], true), [Seen::New(7)]);
    }

    #[test]
    fn at_or_below_the_high_water_is_a_repeat() {
        let records = [record(0, Some(1), None), record(1, Some(2), Some(1)), record(2, Some(1), None)];
        assert_eq!(seen(&records, true), [Seen::New(1), Seen::New(2), Seen::Repeat]);
    }

    #[test]
    fn a_seq_may_jump_but_its_prev_may_not_be_missing() {
        let jump = [record(0, Some(1), None), record(1, Some(1000), Some(1))];
        assert_eq!(seen(&jump, true), [Seen::New(1), Seen::New(1000)]);
        let gap = [record(0, Some(1), None), record(1, Some(3), Some(2))];
        assert_eq!(seen(&gap, true), [Seen::New(1), Seen::Gap { high: 1, prev: 2 }]);
    }

    #[test]
    fn a_source_without_a_right_to_write_is_foreign() {
        assert_eq!(seen(&[record(0, Some(1), None), record(1, Some(1), None)], false), [Seen::Foreign; 2]);
    }

    #[test]
    fn a_seq_a_day_ahead_of_the_clock_is_foreign() {
        let far = NOW.micros() + AHEAD_MICROS + 1;
        assert_eq!(
            seen(&[record(0, Some(far), None), record(1, Some(5), None)], true),
            [Seen::Foreign, Seen::New(5)]
        );
    }

    #[test]
    fn a_record_without_an_envelope_is_known_by_its_place() {
        let bare = Received { offset: 4, time: NOW, key: None, value: None, headers: Headers::new() };
        let place = Place { topic: "t", partition: 1, log: Uuid::nil(), now: NOW };
        let first = sort(bare.clone().into(), &place, |_| true, &mut Known::default());
        let again = sort(bare.into(), &place, |_| true, &mut Known::default());
        assert_eq!(first.seen, Seen::Foreign);
        assert_eq!(first.cause, again.cause);
    }
}
