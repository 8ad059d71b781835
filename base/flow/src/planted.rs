//! Bugs on purpose, for the simulation to find: each switch breaks one rule of the durable flow. Only in builds of the feature
//! `planted`, which no program has; and there only in the thread that plants one.

use std::cell::Cell;

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The place of a group is committed before its handlers' work.
    OffsetBeforeState,
    /// A fence takes the place whoever has it, and wherever it stands.
    NoFence,
    /// What is known of the sources is not read when a partition is taken up.
    ForgetsHighWater,
    /// What is known of the sources is not written.
    HighWaterNotStored,
    /// What a partition knew of its sources in memory outlives a failure.
    TrustsMemory,
    /// Messages without a key's own hash: each node has its own idea of where a key belongs.
    OtherPartition,
    /// Rows are deleted before the log has them.
    DeletesBeforeAck,
    /// Rows that come after a refusal overtake those that were refused.
    Overtakes,
    /// The answer of a command leaves in a transaction of its own.
    ReplyOutside,
    /// Events leave in a transaction of their own.
    OutboxOutside,
    /// A repeat of a request is not known by its key.
    AnswerNotKept,
    /// A timer that has fired is put back.
    TimerNotTaken,
    /// The log is told of a place before it is committed.
    AdvisesAhead,
    /// After a commit of numbers whose outcome is unknown nobody looks for them.
    ForgetsNumbered,
    /// A partition whose place is read anew begins where the topic ends.
    StartsLatest,
    /// A place stays where the whole batch would have ended, though the attempt ended early.
    KeepsWholeBatch,
    /// A relay gives numbers without its lease.
    NumbersWithoutLease,
    /// A failing message is passed over.
    SkipsFailing,
    /// Numbers don't jump at a take-over.
    NoJump,
    /// A missing message before this one is not noticed.
    NoPrevCheck,
    /// An append that nobody confirmed counts as done.
    UnknownAppendIsDone,
    /// A request is answered before its work is committed.
    AnswersBeforeCommit,
    /// A message that can't be handled yet is given up at the first try.
    GivesUpAtOnce,
    /// Rows get their numbers in another order than they were written.
    NumbersOutOfOrder,
    /// Messages of a parked key run before those that wait behind it.
    OvertakesParked,
    /// A parked message is taken out in a transaction behind the one in which it ran.
    ParkedTakenApart,
    /// Whether a partition has parked keys is not read when it is taken up.
    ForgetsParked,
    /// Rows are handed to the relay before their commit has returned.
    HandedBeforeCommit,
    /// Rows that were handed over are taken though others come before them.
    TakesOverHoles,
    /// Rows that were handed over keep their numbers when those in the table get others.
    KeepsHandedOverSettle,
    /// Rows between those that the log has are deleted with them.
    DeletesOverHoles,
    /// What was asked of the log before places were read again is taken into memory.
    KeepsReadAhead,
    /// The row of an effect is deleted in a transaction before the one that tells of it.
    ToldApart,
    /// Effects are told of though their rows are gone.
    TellsGone,
    /// Effects of a key don't wait for each other.
    IgnoresKeys,
    /// A claim of an effect keeps nobody out.
    ClaimEndsAtOnce,
    /// A schedule is moved on in a transaction before the one that runs it.
    ScheduleMovedApart,
    /// Every node runs the schedules, and doesn't look whether another has moved them on.
    ScheduleOnAll,
    /// A relay publishes what another one has numbered that has taken its lease.
    ReadsOthersNumbers,
    /// The first number of a partition is given out without a look at its end.
    TrustsFirst,
}

impl Bug {
    pub const ALL: [Bug; 40] = [
        Bug::OffsetBeforeState,
        Bug::NoFence,
        Bug::ForgetsHighWater,
        Bug::HighWaterNotStored,
        Bug::TrustsMemory,
        Bug::OtherPartition,
        Bug::DeletesBeforeAck,
        Bug::Overtakes,
        Bug::ReplyOutside,
        Bug::OutboxOutside,
        Bug::AnswerNotKept,
        Bug::TimerNotTaken,
        Bug::AdvisesAhead,
        Bug::ForgetsNumbered,
        Bug::StartsLatest,
        Bug::KeepsWholeBatch,
        Bug::NumbersWithoutLease,
        Bug::SkipsFailing,
        Bug::NoJump,
        Bug::NoPrevCheck,
        Bug::UnknownAppendIsDone,
        Bug::AnswersBeforeCommit,
        Bug::GivesUpAtOnce,
        Bug::NumbersOutOfOrder,
        Bug::OvertakesParked,
        Bug::ParkedTakenApart,
        Bug::ForgetsParked,
        Bug::HandedBeforeCommit,
        Bug::TakesOverHoles,
        Bug::KeepsHandedOverSettle,
        Bug::DeletesOverHoles,
        Bug::KeepsReadAhead,
        Bug::ToldApart,
        Bug::TellsGone,
        Bug::IgnoresKeys,
        Bug::ClaimEndsAtOnce,
        Bug::ScheduleMovedApart,
        Bug::ScheduleOnAll,
        Bug::ReadsOthersNumbers,
        Bug::TrustsFirst,
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Breaks one rule for all that runs in this thread; `None` = none.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
