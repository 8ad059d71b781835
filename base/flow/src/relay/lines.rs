//! What the relay knows of each partition: which rows are next, what is under way, and what waits in the database. No I/O;
//! time is an argument.

use super::publish::APPEND_BYTES;
use crate::storage::outbox::{Behind, Load, Waiting};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::task::Id;
use tokio::time::Instant;

/// A topic and a partition of it.
pub(super) type Place = (String, u32);

/// An append that takes longer is waited for by its own partition only.
const PATIENCE: Duration = Duration::from_millis(100);
/// What a partition that refused is tried with.
const PROBE: Load = Load { rows: 16, bytes: 64 << 10 };
/// Appends that take long keep their rows in memory. Above this others take as little as a probe each.
const HELD_BYTES: usize = 8 << 20;

/// An append that has been begun.
struct UnderWay {
    task: Id,
    first: i64,
    last: i64,
    bytes: usize,
    since: Instant,
    /// Whether a round waits for it.
    awaited: bool,
    /// It was said that it takes long.
    told: bool,
}

/// One partition in which something moves, waits, or was slow.
#[derive(Default)]
struct Line {
    /// In memory, next in turn.
    rest: VecDeque<Waiting>,
    under_way: Option<UnderWay>,
    /// All of them have their turn after what is under way and after `rest`.
    behind: Option<Behind>,
    /// Its last append took long: no round waits for the next one.
    slow: bool,
    /// Refusals since it took something.
    refusals: u32,
    again_at: Option<Instant>,
    /// Nothing of it may be published yet.
    held: bool,
    /// The last turn that was on its way to the log before.
    handed: Option<i64>,
}

/// Every partition of which something is known.
#[derive(Default)]
pub(super) struct Lines {
    lines: BTreeMap<Place, Line>,
}

/// What was wrong with a partition before its append ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Before {
    /// Appends that were refused since it took one.
    pub refusals: u32,
    /// How long the one that ended took, where it was said that it takes long.
    pub hung: Option<Duration>,
}

/// Rows for one append.
pub(super) struct Chunk {
    pub place: Place,
    pub rows: Vec<Waiting>,
    /// So many of them are tried again; they stand before the others.
    pub again: usize,
}

/// Rows to be read from the database.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub place: Place,
    pub behind: Behind,
    pub load: Load,
}

impl Line {
    fn is_idle(&self) -> bool {
        self.under_way.is_none()
            && self.rest.is_empty()
            && self.behind.is_none()
            && self.again_at.is_none()
            && !self.slow
            && !self.held
    }

    /// Leaves rows to the database, from the turn `first` to `last`.
    fn leave(&mut self, first: i64, last: i64) {
        let (after, until) = (first - 1, last);
        let before = self.behind.unwrap_or(Behind { after, until });
        self.behind = Some(Behind { after: before.after.min(after), until: before.until.max(until) });
    }

    fn leave_rest(&mut self) {
        if let (Some(first), Some(last)) = (self.rest.front(), self.rest.back()) {
            let (first, last) = (first.turn, last.turn);
            self.leave(first, last);
        }
        self.rest = VecDeque::new();
    }

    fn chunk(&mut self, bytes: usize) -> Vec<Waiting> {
        let (mut rows, mut size) = (Vec::new(), 0);
        while let Some(row) =
            self.rest.pop_front_if(|row| rows.is_empty() || size + row.message.size() <= bytes)
        {
            size += row.message.size();
            rows.push(row);
        }
        rows
    }
}

impl Lines {
    /// A row whose turn has come. Where its partition is busy it is left to the database.
    pub fn arrive(&mut self, row: Waiting) {
        let line = self.lines.entry((row.message.topic.clone(), row.message.partition)).or_default();
        let free = line.under_way.is_none() && line.behind.is_none() && line.again_at.is_none();
        if (line.held || !free) && !planted!(Overtakes) {
            line.leave(row.turn, row.turn);
        } else {
            line.rest.push_back(row);
        }
    }

    /// Rows of a partition that nobody has read yet wait in the database.
    pub fn left(&mut self, place: &Place, Behind { after, until }: Behind) {
        self.lines.entry(place.clone()).or_default().leave(after + 1, until);
    }

    /// What may be read again: the oldest first, so that none of those that catch up holds up the others.
    pub fn wanted(&self, full: Load, now: Instant) -> Vec<Wanted> {
        let wanted = |(place, line): (&Place, &Line)| {
            let behind =
                line.behind.filter(|_| !line.held && line.under_way.is_none() && line.rest.is_empty())?;
            let load = match line {
                Line { again_at: Some(at), .. } if *at > now => return None,
                Line { refusals: 1.., .. } => PROBE,
                Line { slow: true, .. } => Load { rows: full.rows, bytes: APPEND_BYTES },
                _ => full,
            };
            Some(Wanted { place: place.clone(), behind, load })
        };
        let mut all: Vec<Wanted> = self.lines.iter().filter_map(wanted).collect();
        all.sort_by_key(|wanted| wanted.behind.after);
        all
    }

    /// What was read of it. `whole` = there is no more up to its end. False when nothing is left of the partition.
    pub fn loaded(&mut self, place: &Place, rows: Vec<Waiting>, whole: bool) -> bool {
        let Some(line) = self.lines.get_mut(place) else { return false };
        line.again_at = None;
        line.behind = match (line.behind, rows.last()) {
            (Some(behind), Some(last)) if !whole => Some(Behind { after: last.turn, ..behind }),
            _ => None,
        };
        line.rest.extend(rows);
        let left = !line.is_idle();
        if !left {
            self.lines.remove(place);
        }
        left
    }

    /// The next append of each partition that is free.
    pub fn next(&mut self) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let mut held: usize =
            self.lines.values().filter_map(|line| line.under_way.as_ref().map(|way| way.bytes)).sum();
        for (place, line) in &mut self.lines {
            if line.under_way.is_some() || line.rest.is_empty() {
                continue;
            }
            let rows = line.chunk(if held < HELD_BYTES { APPEND_BYTES } else { PROBE.bytes });
            held += size(&rows);
            if line.slow {
                line.leave_rest();
            }
            let again = rows.iter().take_while(|row| Some(row.turn) <= line.handed).count();
            line.handed = line.handed.max(rows.last().map(|row| row.turn));
            chunks.push(Chunk { place: place.clone(), rows, again });
        }
        chunks
    }

    /// An append was begun.
    pub fn begun(&mut self, task: Id, place: &Place, rows: &Marks, now: Instant) {
        let Some(line) = self.lines.get_mut(place) else { return };
        let Marks { first, last, bytes } = *rows;
        line.under_way =
            Some(UnderWay { task, first, last, bytes, since: now, awaited: !line.slow, told: false });
    }

    /// Until when the appends under way are waited for; `None` = no round waits for any.
    pub fn awaited_until(&self) -> Option<Instant> {
        let ways = self.lines.values().filter_map(|line| line.under_way.as_ref());
        ways.filter(|way| way.awaited).map(|way| way.since + PATIENCE).min()
    }

    /// Whom patience has run out for goes on alone. What was loaded for it goes back to the database, so that memory holds what
    /// is under way and no more.
    pub fn set_aside(&mut self, now: Instant) {
        for line in self.lines.values_mut() {
            let late = |way: &UnderWay| way.awaited && way.since + PATIENCE <= now;
            if let Some(way) = &mut line.under_way
                && late(way)
            {
                way.awaited = false;
                line.slow = true;
                line.leave_rest();
            }
        }
    }

    /// All of what was appended is in the log. Says what was wrong before.
    pub fn accepted(&mut self, place: &Place, now: Instant) -> Before {
        let Some(line) = self.lines.get_mut(place) else { return Before { refusals: 0, hung: None } };
        let way = line.under_way.take();
        line.slow = way.as_ref().is_some_and(|way| way.since + PATIENCE <= now);
        line.again_at = None;
        let before = Before { refusals: std::mem::take(&mut line.refusals), hung: hung(way.as_ref(), now) };
        if line.is_idle() {
            self.lines.remove(place);
        }
        before
    }

    /// The rows from the turn `first` on are not in the log, as far as anybody knows. They wait for a while: `pause`, and longer
    /// each time. Says how often it has refused by now, and whether it took long over it.
    pub fn refused(&mut self, place: &Place, first: i64, pause: Duration, now: Instant) -> Before {
        let Some(line) = self.lines.get_mut(place) else { return Before { refusals: 0, hung: None } };
        let hung = hung(line.under_way.as_ref(), now);
        if let Some(way) = line.under_way.take() {
            line.leave(first, way.last);
        }
        line.leave_rest();
        line.slow = false;
        line.again_at = Some(now + pause * 10.min(1 << line.refusals.min(4)));
        line.refusals = line.refusals.saturating_add(1);
        Before { refusals: line.refusals, hung }
    }

    /// Keeps all of a partition's rows in the database.
    pub fn hold(&mut self, place: &Place) {
        self.lines.entry(place.clone()).or_default().held = true;
    }

    /// Lets them go. Those with a turn at or above `moved` have another one now, which comes later.
    pub fn let_go(&mut self, place: &Place, moved: Option<i64>) {
        let Some(line) = self.lines.get_mut(place) else { return };
        line.held = false;
        line.behind = line.behind.and_then(|behind| {
            let until = moved.map_or(behind.until, |moved| behind.until.min(moved - 1));
            (behind.after < until).then_some(Behind { until, ..behind })
        });
        if line.is_idle() {
            self.lines.remove(place);
        }
    }

    /// The partition whose append this was, and the first turn of it.
    pub fn of(&self, task: Id) -> Option<(Place, i64)> {
        self.lines.iter().find_map(|(place, line)| {
            let way = line.under_way.as_ref().filter(|way| way.task == task)?;
            Some((place.clone(), way.first))
        })
    }

    /// When the next partition that refused is tried again.
    pub fn again_at(&self) -> Option<Instant> {
        let waits = self.lines.values().filter(|line| line.under_way.is_none());
        waits.filter_map(|line| line.again_at).min()
    }

    /// Whether an append is under way in a partition that did not refuse the one before.
    pub fn hopes(&self) -> bool {
        self.lines.values().any(|line| line.under_way.is_some() && line.refusals == 0)
    }

    /// Appends that have been under way for as long as that, and whether that is news.
    pub fn late(&mut self, after: Duration, now: Instant) -> impl Iterator<Item = (&Place, Duration, bool)> {
        self.lines.iter_mut().filter_map(move |(place, line)| {
            let way = line.under_way.as_mut()?;
            let took = now.saturating_duration_since(way.since);
            (took >= after).then(|| (place, took, !std::mem::replace(&mut way.told, true)))
        })
    }

    /// Whether nothing waits and nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.lines
            .values()
            .all(|line| line.under_way.is_none() && line.rest.is_empty() && line.behind.is_none())
    }
}

/// How long an append took, where it was said that it takes long.
fn hung(way: Option<&UnderWay>, now: Instant) -> Option<Duration> {
    way.filter(|way| way.told).map(|way| now.saturating_duration_since(way.since))
}

/// What is remembered of rows that are on their way.
pub(super) struct Marks {
    first: i64,
    last: i64,
    bytes: usize,
}

impl Chunk {
    pub fn marks(&self) -> Marks {
        let turn = |row: Option<&Waiting>| row.map_or(0, |row| row.turn);
        Marks { first: turn(self.rows.first()), last: turn(self.rows.last()), bytes: size(&self.rows) }
    }
}

fn size(rows: &[Waiting]) -> usize {
    rows.iter().map(|row| row.message.size()).sum()
}

#[cfg(test)]
mod tests;
