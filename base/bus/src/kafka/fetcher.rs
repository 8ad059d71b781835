//! One consumer with its poll thread, for partitions of one topic, each at one position. Several readers of a partition
//! that are far from each other have several fetchers.

use super::client::{self, Context, Heard};
use super::config::KafkaConfig;
use super::health::Health;
use super::stream::Stream;
use super::turn::{Consumer, Turn};
use crate::BusError;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::BaseConsumer;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// Bytes that all streams share.
pub(super) struct Budget {
    pub bytes: usize,
    pub streams: AtomicUsize,
}

/// No stream gets more, or less.
const MOST: usize = 8 << 20;
const LEAST: usize = 256 << 10;

impl Budget {
    /// What one stream may hold; half of it ahead of its readers, all of it while other streams of its fetcher want more.
    pub fn of_one(&self) -> usize {
        (self.bytes / self.streams.load(Ordering::Relaxed).max(1)).clamp(LEAST, MOST)
    }
}

#[derive(Default)]
struct Mail {
    assign: Vec<Arc<Stream>>,
    leave: Vec<u32>,
    is_awake: bool,
    end: Option<BusError>,
}

pub(super) struct Fetcher {
    pub topic: String,
    pub health: Arc<Health>,
    pub budget: Arc<Budget>,
    pub idle: Duration,
    /// Streams by partition, also those that the thread has not seen yet.
    streams: Mutex<HashMap<u32, Arc<Stream>>>,
    mail: Mutex<Mail>,
    wake: Condvar,
    /// The thread has stopped, or paused a partition, because of a stream that is full.
    is_full: AtomicBool,
    /// It came upon something that can't be read.
    is_torn: AtomicBool,
}

/// Notices that the topic is another one than before.
#[derive(Default)]
pub(super) struct Identity(Mutex<(Option<Uuid>, bool)>);

impl Identity {
    /// Whether the topic is another one than before.
    pub fn has_changed(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// From here on it is the one that was heard of last.
    pub fn accept(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = false;
    }

    /// Whether any topic of this name was heard of.
    pub fn is_known(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.is_some_and(|id| !id.is_nil())
    }
}

impl Heard for Arc<Identity> {
    fn id_changed(&self, _topic: &str, id: Uuid) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.1 |= known.0.is_some_and(|before| before != id);
        known.0 = Some(id);
    }
}

impl Fetcher {
    /// Starts the thread. `alive` is held until it has ended, which `gone` is called for before.
    pub fn start(
        topic: &str,
        config: &KafkaConfig,
        health: Arc<Health>,
        budget: Arc<Budget>,
        alive: watch::Receiver<()>,
        gone: impl FnOnce(&Arc<Fetcher>) + Send + 'static,
    ) -> Result<Arc<Fetcher>, BusError> {
        let identity = Arc::new(Identity::default());
        let context = Context::new(health.clone(), identity.clone());
        let settings = client::reader(config, config.read_bytes.min(4 << 20));
        let mut consumer: Consumer =
            BaseConsumer::from_config_and_context(&settings, context).map_err(|e| client::refused(&e))?;
        let fetcher = Arc::new(Fetcher {
            topic: topic.to_owned(),
            health,
            budget,
            idle: config.stream_idle,
            streams: Mutex::default(),
            mail: Mutex::default(),
            wake: Condvar::new(),
            is_full: AtomicBool::new(false),
            is_torn: AtomicBool::new(false),
        });
        let waker = Arc::downgrade(&fetcher);
        consumer.set_nonempty_callback(move || {
            if let Some(fetcher) = waker.upgrade() {
                fetcher.wake();
            }
        });
        let runner = fetcher.clone();
        let work = move || {
            Turn::new(&runner, &consumer, &identity).run();
            gone(&runner);
            // Leaving takes a moment: nobody waits for it here.
            drop(consumer);
            drop(alive);
        };
        std::thread::Builder::new().name("artel-kafka-in".to_owned()).spawn(work).map_err(|error| {
            BusError::Io { context: "starting a reader's thread".to_owned(), reason: error.to_string() }
        })?;
        Ok(fetcher)
    }

    /// What is to be done: partitions to leave, streams to begin, and whether this is the end.
    pub fn take_mail(&self) -> (Vec<u32>, Vec<Arc<Stream>>, Option<BusError>) {
        let mut mail = self.mail();
        (std::mem::take(&mut mail.leave), std::mem::take(&mut mail.assign), mail.end.clone())
    }

    pub fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    /// It came upon something that can't be read: it ends, and takes no partition any more.
    pub fn tear(&self) {
        self.is_torn.store(true, Ordering::Release);
    }

    pub fn is_torn(&self) -> bool {
        self.is_torn.load(Ordering::Acquire)
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn streams(&self) -> MutexGuard<'_, HashMap<u32, Arc<Stream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to read a partition that this fetcher doesn't read yet.
    pub fn assign(&self, stream: Arc<Stream>) {
        self.budget.streams.fetch_add(1, Ordering::Relaxed);
        self.streams().insert(stream.partition, stream.clone());
        self.mail().assign.push(stream);
        self.wake();
    }

    /// Something changed: there is mail, room for more, or a message.
    pub fn wake(&self) {
        self.mail().is_awake = true;
        self.wake.notify_one();
    }

    /// Somebody read: the thread goes on where it stopped because the stream was full.
    pub fn make_progress(&self, stream: &Stream) {
        if self.is_full.load(Ordering::Relaxed) && stream.ahead() < self.budget.of_one() / 2 {
            self.wake();
        }
    }

    /// Ends the thread, and every stream with this error.
    pub fn end(&self, error: BusError) {
        self.mail().end.get_or_insert(error);
        self.wake();
    }

    /// Stops reading a partition, which somebody who reads it now will begin anew.
    pub fn leave(&self, partition: u32) {
        self.mail().leave.push(partition);
        if let Some(stream) = self.forget(partition) {
            stream.kill(no_longer());
        }
        self.wake();
    }

    /// What was assigned to a thread that has ended.
    pub fn bury(&self, error: &BusError) {
        let rest: Vec<u32> = self.streams().keys().copied().collect();
        for partition in rest {
            if let Some(stream) = self.forget(partition) {
                stream.kill(error.clone());
            }
        }
    }

    /// Sleeps until something changes, or so long.
    pub fn park(&self, longest: Duration) {
        let mail = self.mail();
        let (mut mail, _) = self
            .wake
            .wait_timeout_while(mail, longest, |mail| !mail.is_awake)
            .unwrap_or_else(PoisonError::into_inner);
        mail.is_awake = false;
    }

    pub fn forget(&self, partition: u32) -> Option<Arc<Stream>> {
        let stream = self.streams().remove(&partition);
        if stream.is_some() {
            self.budget.streams.fetch_sub(1, Ordering::Relaxed);
        }
        stream
    }
}

/// Why a stream that nobody reads is dead: whoever comes after all opens another.
pub(super) fn no_longer() -> BusError {
    BusError::Unavailable("this partition is not read ahead any more".to_owned())
}
