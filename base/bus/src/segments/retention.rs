//! Which segments are due for removal. A plain decision; the writer carries it out.

use super::segment::Segment;

/// How long a topic keeps its records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    pub ms: Option<i64>,
    pub bytes: Option<u64>,
}

/// What to do with a partition's segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Plan {
    /// How many to remove, from the oldest on.
    pub remove: usize,
    /// The last of them is the one being written: a new one has to be begun first.
    pub with_active: bool,
    /// The oldest segment left is due as well, but a group still needs records of it.
    pub is_blocked: bool,
}

/// `now` is in milliseconds since 1970, `needed` is the lowest offset that any group still needs.
pub(super) fn plan(segments: &[Segment], keep: Keep, needed: Option<i64>, now: i64) -> Plan {
    let mut plan = Plan::default();
    let mut bytes: u64 = segments.iter().map(|s| s.bytes).sum();
    for (i, segment) in segments.iter().enumerate() {
        let is_active = i + 1 == segments.len();
        let is_old = keep.ms.is_some_and(|ms| now.saturating_sub(segment.max_timestamp) > ms);
        // As in Kafka the size left never falls below what is to be kept.
        let is_over = !is_active && keep.bytes.is_some_and(|limit| bytes - segment.bytes >= limit);
        if segment.bytes == 0 || !(is_old || is_over) {
            break;
        }
        if needed.is_some_and(|needed| needed < segment.end) {
            plan.is_blocked = true;
            break;
        }
        bytes -= segment.bytes;
        plan.remove += 1;
        plan.with_active = is_active;
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three segments of 10 records and 100 bytes, with the greatest times 1000, 2000 and 3000.
    fn three() -> Vec<Segment> {
        (0..3)
            .map(|i| Segment {
                end: i * 10 + 10,
                bytes: 100,
                max_timestamp: (i + 1) * 1000,
                ..Segment::empty(i * 10)
            })
            .collect()
    }

    fn keep(ms: Option<i64>, bytes: Option<u64>) -> Keep {
        Keep { ms, bytes }
    }

    #[test]
    fn without_a_limit_everything_stays() {
        assert_eq!(plan(&three(), keep(None, None), None, i64::MAX), Plan::default());
    }

    #[test]
    fn age_goes_by_the_greatest_time_and_takes_the_active_one_too() {
        let removed = |now| plan(&three(), keep(Some(500), None), None, now);
        assert_eq!(removed(1500).remove, 0);
        assert_eq!(removed(1501), Plan { remove: 1, with_active: false, is_blocked: false });
        assert_eq!(removed(9999), Plan { remove: 3, with_active: true, is_blocked: false });
    }

    #[test]
    fn size_keeps_at_least_the_limit_and_never_takes_the_active_one() {
        let removed = |bytes| plan(&three(), keep(None, Some(bytes)), None, 0).remove;
        assert_eq!((removed(300), removed(201), removed(200), removed(0)), (0, 0, 1, 2));
    }

    #[test]
    fn a_group_in_the_middle_of_a_segment_holds_it() {
        let with = |needed| plan(&three(), keep(Some(500), None), Some(needed), 9999);
        assert_eq!(with(0), Plan { remove: 0, with_active: false, is_blocked: true });
        assert_eq!(with(9), Plan { remove: 0, with_active: false, is_blocked: true });
        assert_eq!(with(10), Plan { remove: 1, with_active: false, is_blocked: true });
        assert_eq!(with(30), Plan { remove: 3, with_active: true, is_blocked: false });
    }

    #[test]
    fn an_empty_active_segment_is_left_alone() {
        let mut segments = three();
        segments.push(Segment::empty(30));
        let all = plan(&segments, keep(Some(1), None), None, i64::MAX);
        assert_eq!(all, Plan { remove: 3, with_active: false, is_blocked: false });
    }
}
