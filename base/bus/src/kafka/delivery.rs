//! What becomes of the records of one append.

use super::error;
use super::health::Health;
use crate::{Appended, BusError, Piece};
use rdkafka::error::RDKafkaErrorCode as Code;
use std::sync::{Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Shared by all records of one append; the last report answers the caller.
pub(super) struct Delivery {
    topic: String,
    partition: u32,
    inner: Mutex<Inner>,
}

struct Inner {
    left: u32,
    count: u32,
    /// Runs of consecutive offsets, in order.
    pieces: Vec<Piece>,
    reported: u32,
    /// The first report that is an error: it says why; those behind it follow from it.
    failed: Option<Code>,
    /// A report that leaves open whether the record is stored.
    open: bool,
    reply: Option<oneshot::Sender<Result<Appended, Lost>>>,
    /// Its share of the queue; also of a caller that went away.
    room: Option<OwnedSemaphorePermit>,
}

/// Why a batch was not stored, or perhaps not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// Nothing of it will ever be readable.
    Surely(Code),
    Perhaps(Code),
}

impl Delivery {
    pub fn new(
        topic: &str,
        partition: u32,
        count: u32,
        room: Option<OwnedSemaphorePermit>,
    ) -> (Delivery, oneshot::Receiver<Result<Appended, Lost>>) {
        let (reply, answer) = oneshot::channel();
        let inner = Inner {
            left: count,
            count,
            pieces: Vec::new(),
            reported: 0,
            failed: None,
            open: false,
            reply: Some(reply),
            room,
        };
        (Delivery { topic: topic.to_owned(), partition, inner: Mutex::new(inner) }, answer)
    }

    pub fn place(&self) -> (&str, u32) {
        (&self.topic, self.partition)
    }

    /// The same report for all that have none yet.
    pub fn report_rest(&self, result: Result<i64, Code>) {
        let left = self.inner.lock().unwrap_or_else(PoisonError::into_inner).left;
        if left > 0 {
            self.report_many(result, left);
        }
    }

    pub fn is_done(&self) -> bool {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).left == 0
    }

    /// The next record's report; they come in the order of the records.
    pub fn report(&self, result: Result<i64, Code>) {
        self.report_many(result, 1);
    }

    /// The same report for `count` records.
    pub fn report_many(&self, result: Result<i64, Code>, count: u32) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            // Stored by an earlier attempt, at an offset that the broker doesn't know any more.
            Ok(offset) if offset < 0 => {
                inner.open = true;
                inner.failed.get_or_insert(Code::DuplicateSequenceNumber);
            }
            Ok(offset) => {
                let index = inner.reported;
                let follows = |piece: &Piece| piece.offset + i64::from(index - piece.index) == offset;
                if !inner.pieces.last().is_some_and(follows) {
                    inner.pieces.push(Piece { index, offset });
                }
            }
            Err(code) => {
                // Behind the record that a broker refused for good, no later one of this producer gets in.
                inner.open |= !is_sure(code) && !inner.failed.is_some_and(is_refusal);
                inner.failed.get_or_insert(code);
            }
        }
        inner.reported = inner.reported.saturating_add(count);
        inner.left = inner.left.saturating_sub(count);
        if inner.left > 0 {
            return;
        }
        let outcome = match inner.failed {
            None => Ok(Appended::in_pieces(std::mem::take(&mut inner.pieces), inner.count)),
            Some(code) if inner.open || !inner.pieces.is_empty() => Err(Lost::Perhaps(code)),
            Some(code) => Err(Lost::Surely(code)),
        };
        inner.room = None;
        if let Some(reply) = inner.reply.take() {
            // A caller that went away does not want to know.
            let _ = reply.send(outcome);
        }
    }
}

/// Whether the broker refuses this very record, now and later.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge | Code::InvalidTimestamp | Code::InvalidMessageSize | Code::PolicyViolation
    ) || code == Code::InvalidRecord
        || error::is_unknown(code)
        || error::is_denied(code)
}

/// Whether a record with this report is surely not stored.
fn is_sure(code: Code) -> bool {
    is_refusal(code) || code == Code::PurgeQueue
}

/// The caller's error.
pub(super) fn lost(health: &Health, place: (&str, u32), size: usize, limit: usize, lost: Lost) -> BusError {
    let (topic, partition) = place;
    let doing = format!("appending to {topic}/{partition}");
    match lost {
        Lost::Surely(Code::MessageSizeTooLarge) => {
            BusError::TooLarge { what: "the batch", size, limit, setting: "max.message.bytes of the topic" }
        }
        Lost::Surely(code) if error::is_unknown(code) => BusError::UnknownTopic(topic.to_owned()),
        Lost::Surely(code) if error::is_denied(code) => error::denied(&doing, code),
        Lost::Surely(code) if is_refusal(code) => {
            BusError::InvalidRecord { index: 0, reason: format!("the broker refuses the batch: {code}") }
        }
        Lost::Surely(_) => health.away(&doing),
        Lost::Perhaps(code) => match health.away(&doing) {
            // Denied and the like would say that nothing is stored.
            BusError::Unavailable(reason) | BusError::Denied(reason) => BusError::Unavailable(format!(
                "{reason}; the batch may be stored in part or as a whole ({code})"
            )),
            other => other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(reports: &[Result<i64, Code>]) -> Result<Appended, Lost> {
        let (delivery, mut answer) = Delivery::new("t", 0, u32::try_from(reports.len()).unwrap(), None);
        for report in reports {
            assert!(!delivery.is_done());
            delivery.report(*report);
        }
        answer.try_recv().unwrap()
    }

    #[test]
    fn offsets_are_known_one_by_one_where_others_wrote_in_between() {
        let appended = outcome(&[Ok(5), Ok(6), Ok(9), Ok(10)]).unwrap();
        let offsets: Vec<i64> = (0..4).map(|index| appended.offset(index)).collect();
        assert_eq!(offsets, [5, 6, 9, 10]);
        let whole = outcome(&[Ok(5), Ok(6)]).unwrap();
        assert_eq!((whole.base, whole.count, whole.offset(1)), (5, 2, 6));
    }

    #[test]
    fn what_is_left_of_a_batch_is_given_back_at_once() {
        let (delivery, mut answer) = Delivery::new("t", 0, 3, None);
        delivery.report(Ok(5));
        delivery.report_rest(Err(Code::PurgeInflight));
        assert_eq!(answer.try_recv().unwrap(), Err(Lost::Perhaps(Code::PurgeInflight)));
        delivery.report_rest(Err(Code::PurgeInflight));
        delivery.report_many(Err(Code::PurgeInflight), u32::MAX);
        assert!(delivery.is_done());
    }

    #[test]
    fn a_record_that_is_stored_nobody_knows_where_leaves_the_batch_open() {
        let lost = Err(Lost::Perhaps(Code::DuplicateSequenceNumber));
        assert_eq!(outcome(&[Ok(-1)]), lost);
        assert_eq!(outcome(&[Ok(5), Ok(-1), Ok(-1)]), lost);
    }

    #[test]
    fn an_error_is_definite_only_when_nothing_can_be_stored() {
        use Code::{MessageSizeTooLarge as Large, PurgeInflight as Sent, PurgeQueue as Queued};
        assert_eq!(outcome(&[Err(Large), Err(Sent), Err(Queued)]), Err(Lost::Surely(Large)));
        assert_eq!(outcome(&[Err(Queued), Err(Queued)]), Err(Lost::Surely(Queued)));
        assert_eq!(outcome(&[Err(Sent), Err(Large)]), Err(Lost::Perhaps(Sent)));
        assert_eq!(outcome(&[Ok(1), Err(Large)]), Err(Lost::Perhaps(Large)));
    }
}
