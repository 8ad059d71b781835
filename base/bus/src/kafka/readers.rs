//! Which fetcher reads what, so that a read that goes on where another ended finds its records in memory.

use super::config::KafkaConfig;
use super::fetcher::{Budget, Fetcher};
use super::health::Health;
use super::stream::Stream;
use crate::BusError;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;

#[derive(Default)]
struct OfTopic {
    fetchers: Vec<Arc<Fetcher>>,
    /// The highest end that was told to anybody, by partition: below it there is something to read.
    ends: HashMap<u32, i64>,
    /// When something was last found that can't be read. For a while behind it each partition has a fetcher of its own, so that
    /// only the one that is damaged ends.
    torn: Option<Instant>,
}

/// How long that is. Whoever tries the partition again begins it anew.
const APART: Duration = Duration::from_secs(600);

impl OfTopic {
    /// A fetcher that takes this partition.
    fn free(&mut self, partition: u32) -> Option<Arc<Fetcher>> {
        if self.fetchers.iter().any(|fetcher| fetcher.is_torn()) {
            self.torn = Some(Instant::now());
        }
        let is_apart = self.torn.is_some_and(|at| at.elapsed() < APART);
        let takes = |fetcher: &&Arc<Fetcher>| {
            let streams = fetcher.streams();
            !fetcher.is_torn()
                && if is_apart { streams.is_empty() } else { !streams.contains_key(&partition) }
        };
        self.fetchers.iter().find(takes).cloned()
    }
}

pub(super) struct Readers {
    config: Arc<KafkaConfig>,
    health: Arc<Health>,
    budget: Arc<Budget>,
    topics: Mutex<HashMap<String, OfTopic>>,
    closed: std::sync::atomic::AtomicBool,
}

/// A stream with the fetcher that feeds it.
#[derive(Clone)]
pub(super) struct Fed {
    pub stream: Arc<Stream>,
    pub fetcher: Arc<Fetcher>,
}

impl Readers {
    pub fn new(config: Arc<KafkaConfig>, health: Arc<Health>) -> Arc<Readers> {
        let budget = Budget { bytes: config.read_bytes as usize, streams: AtomicUsize::new(0) };
        Arc::new(Readers {
            config,
            health,
            budget: Arc::new(budget),
            topics: Mutex::default(),
            closed: false.into(),
        })
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<String, OfTopic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that one stream may hold.
    pub fn budget(&self) -> usize {
        self.budget.of_one()
    }

    /// The stream that a read at `from` goes on with; one that has records there is preferred.
    pub fn find(&self, topic: &str, partition: u32, from: i64) -> Option<Fed> {
        let topics = self.topics();
        let mut best: Option<Fed> = None;
        for fetcher in &topics.get(topic)?.fetchers {
            let Some(stream) = fetcher.streams().get(&partition).cloned() else { continue };
            if stream.covers(from) {
                let holds = stream.holds(from);
                if holds || best.is_none() {
                    best = Some(Fed { stream, fetcher: fetcher.clone() });
                }
                if holds {
                    break;
                }
            }
        }
        best
    }

    /// Whether some stream has a record at or above `from`.
    pub fn holds(&self, topic: &str, partition: u32, from: i64) -> bool {
        let topics = self.topics();
        topics.get(topic).is_some_and(|of| {
            of.fetchers.iter().any(|f| f.streams().get(&partition).is_some_and(|s| s.holds(from)))
        })
    }

    /// Begins to read at `from`, which the partition holds, unless somebody does already.
    pub fn open(
        self: &Arc<Readers>,
        topic: &str,
        partition: u32,
        from: i64,
        alive: watch::Receiver<()>,
    ) -> Result<Fed, BusError> {
        if let Some(fed) = self.find(topic, partition, from) {
            return Ok(fed);
        }
        self.make_room()?;
        let mut topics = self.topics();
        if self.closed.load(Ordering::Acquire) {
            return Err(BusError::Closed);
        }
        let of = topics.entry(topic.to_owned()).or_default();
        let fetcher = match of.free(partition) {
            Some(fetcher) => fetcher,
            None => {
                let registry: Weak<Readers> = Arc::downgrade(self);
                let gone = move |fetcher: &Arc<Fetcher>| {
                    if let Some(readers) = registry.upgrade() {
                        readers.gone(fetcher);
                    }
                };
                let (health, budget) = (self.health.clone(), self.budget.clone());
                let fetcher = Fetcher::start(topic, &self.config, health, budget, alive, gone)?;
                of.fetchers.push(fetcher.clone());
                fetcher
            }
        };
        let stream = Arc::new(Stream::new(partition, from));
        fetcher.assign(stream.clone());
        Ok(Fed { stream, fetcher })
    }

    /// Keeps to the bound on streams: the one that was idle the longest goes.
    fn make_room(&self) -> Result<(), BusError> {
        if self.budget.streams.load(Ordering::Relaxed) < self.config.max_streams {
            return Ok(());
        }
        let topics = self.topics();
        let all = topics.values().flat_map(|of| &of.fetchers);
        let idle = all
            .flat_map(|fetcher| {
                let streams: Vec<Arc<Stream>> = fetcher.streams().values().cloned().collect();
                streams.into_iter().map(|stream| (stream.idle(), stream, fetcher.clone()))
            })
            .filter(|(idle, ..)| !idle.is_zero())
            .max_by_key(|(idle, ..)| *idle);
        let Some((_, stream, fetcher)) = idle else {
            let (what, limit) = ("another partition that is read".to_owned(), self.config.max_streams);
            return Err(BusError::Limit { what, limit, setting: "max_streams" });
        };
        fetcher.leave(stream.partition);
        Ok(())
    }

    /// A fetcher's thread ends: what was given to it meanwhile is dead.
    fn gone(&self, fetcher: &Arc<Fetcher>) {
        let mut topics = self.topics();
        if let Some(of) = topics.get_mut(&fetcher.topic) {
            of.fetchers.retain(|other| !Arc::ptr_eq(other, fetcher));
            if fetcher.is_torn() {
                of.torn = Some(Instant::now());
            }
        }
        drop(topics);
        fetcher.bury(&BusError::Unavailable("this partition is not read ahead any more".to_owned()));
    }

    /// The highest end that was told to anybody.
    pub fn end(&self, topic: &str, partition: u32) -> i64 {
        self.topics().get(topic).and_then(|of| of.ends.get(&partition).copied()).unwrap_or(0)
    }

    /// An end was told. `exact` replaces a higher one that was lost by the brokers.
    pub fn told(&self, topic: &str, partition: u32, end: i64, exact: bool) {
        let mut topics = self.topics();
        if !topics.contains_key(topic) {
            topics.insert(topic.to_owned(), OfTopic::default());
        }
        if let Some(of) = topics.get_mut(topic) {
            let known = of.ends.entry(partition).or_insert(end);
            *known = if exact { end } else { end.max(*known) };
        }
    }

    /// The topic is gone: its readers learn why, and what was known of it is forgotten.
    pub fn drop_topic(&self, topic: &str) {
        let Some(of) = self.topics().remove(topic) else { return };
        for fetcher in of.fetchers {
            fetcher.end(BusError::UnknownTopic(topic.to_owned()));
        }
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for (_, of) in self.topics().drain() {
            of.fetchers.iter().for_each(|fetcher| fetcher.end(BusError::Closed));
        }
    }
}
