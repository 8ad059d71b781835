//! A window on one partition: the records that were read ahead, and a few behind for readers that are not as far.

use super::chunk::{Chunk, Room};
use crate::{BusError, Fetch, Fetched};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What waiters look at.
#[derive(Debug, Clone)]
pub(super) struct Signal {
    /// The highest offset that holds a record.
    pub last: i64,
    /// All below this was looked at: at it there is no record yet.
    pub next: i64,
    /// Why nothing will come any more.
    pub dead: Option<BusError>,
}

struct Window {
    chunks: VecDeque<Arc<Chunk>>,
    /// Records from here on are in `chunks`, up to the signal's `next`.
    low: i64,
    /// The furthest that somebody asked for.
    mark: i64,
    /// Bytes of `chunks` in all, and of those at or above `mark`.
    bytes: usize,
    ahead: usize,
    used: Instant,
}

pub(super) struct Stream {
    pub partition: u32,
    window: Mutex<Window>,
    signal: watch::Sender<Signal>,
    waiters: AtomicUsize,
}

/// Keeps the stream from being taken for idle.
pub(super) struct Waiting<'a>(&'a Stream);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.window().used = Instant::now();
        self.0.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stream {
    pub fn new(partition: u32, from: i64) -> Stream {
        let window = Window {
            chunks: VecDeque::new(),
            low: from,
            mark: from,
            bytes: 0,
            ahead: 0,
            used: Instant::now(),
        };
        Stream {
            partition,
            window: Mutex::new(window),
            signal: watch::Sender::new(Signal { last: -1, next: from, dead: None }),
            waiters: AtomicUsize::new(0),
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to fetch on.
    pub fn next(&self) -> i64 {
        self.signal.borrow().next
    }

    pub fn signal(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }

    /// Whether a read at `from` can be answered from here, now or when more comes.
    pub fn covers(&self, from: i64) -> bool {
        let window = self.window();
        let signal = self.signal.borrow();
        signal.dead.is_none() && window.low <= from && from <= signal.next
    }

    /// Whether a record at or above `from` is here.
    pub fn holds(&self, from: i64) -> bool {
        let signal = self.signal.borrow();
        signal.dead.is_none() && signal.last >= from
    }

    /// Reads what is here, also before damage that ended the stream; `None` when the window has moved past `from`.
    pub fn read(&self, from: i64, fetch: Fetch, budget: usize) -> Option<Fetched> {
        let mut room = Room { records: fetch.max_records, bytes: fetch.max_bytes };
        let (chunks, next) = {
            let mut window = self.window();
            window.used = Instant::now();
            let signal = self.signal.borrow();
            let is_gone =
                signal.dead.as_ref().is_some_and(|error| !matches!(error, BusError::Stopped { .. }));
            if is_gone || from < window.low || from > signal.next {
                return None;
            }
            let first = window.chunks.partition_point(|chunk| chunk.last() < from);
            let mut take = Vec::new();
            let mut bytes = 0;
            for chunk in window.chunks.iter().skip(first) {
                take.push(chunk.clone());
                bytes += chunk.size_from(from);
                if bytes > fetch.max_bytes {
                    break;
                }
            }
            let whole = first + take.len() == window.chunks.len();
            (take, if whole { Some(signal.next) } else { None })
        };
        let mut records = Vec::new();
        let mut all = true;
        for chunk in &chunks {
            if !chunk.read(from, &mut room, &mut records) {
                all = false;
                break;
            }
        }
        let behind = records.last().map_or(from, |record| record.offset + 1);
        let next = match next {
            // Past what holds no record as well.
            Some(next) if all => next.max(behind),
            _ => behind,
        };
        self.advance(next, budget);
        Some(Fetched { records, next })
    }

    /// Somebody has come so far: what lies behind may go.
    pub fn advance(&self, mark: i64, budget: usize) {
        let mut window = self.window();
        window.used = Instant::now();
        if mark > window.mark {
            window.mark = mark;
            window.ahead = window.chunks.iter().map(|chunk| chunk.size_from(mark)).sum();
        }
        window.evict(budget);
    }

    /// Adds what was fetched.
    pub fn push(&self, chunk: Chunk, budget: usize) {
        let last = chunk.last();
        {
            let mut window = self.window();
            window.bytes += chunk.size();
            window.ahead += chunk.size_from(window.mark);
            window.chunks.push_back(Arc::new(chunk));
            window.evict(budget);
            self.signal.send_modify(|signal| {
                signal.last = last;
                signal.next = signal.next.max(last + 1);
            });
        }
    }

    /// Everything below `end` was fetched.
    pub fn reached(&self, end: i64) {
        let _window = self.window();
        self.signal.send_if_modified(|signal| {
            let more = end > signal.next;
            signal.next = signal.next.max(end);
            more
        });
    }

    pub fn kill(&self, error: BusError) {
        self.signal.send_modify(|signal| {
            signal.dead.get_or_insert(error);
        });
    }

    /// Bytes that nobody has asked for yet.
    pub fn ahead(&self) -> usize {
        self.window().ahead
    }

    pub fn wait(&self) -> Waiting<'_> {
        self.waiters.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// How long nobody has wanted anything of it; zero while somebody waits.
    pub fn idle(&self) -> Duration {
        if self.waiters.load(Ordering::Relaxed) > 0 { Duration::ZERO } else { self.window().used.elapsed() }
    }

    pub fn is_awaited(&self) -> bool {
        self.waiters.load(Ordering::Relaxed) > 0
    }
}

impl Window {
    /// Drops the oldest that were asked for, down to the budget.
    fn evict(&mut self, budget: usize) {
        while self.bytes > budget
            && let Some(oldest) = self.chunks.front()
            && oldest.last() < self.mark
        {
            self.bytes -= oldest.size();
            self.low = oldest.last() + 1;
            self.chunks.pop_front();
        }
    }
}
