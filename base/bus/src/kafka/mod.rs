//! The log on Apache Kafka (2.8 or later; tested on 4.3), by librdkafka. Cargo feature `kafka`.
//!
//! - **Appending**: one idempotent producer (acks=all, gapless) for all partitions, on a thread of its own. The records of an
//!   append are handed over without others in between and confirmed together. After a failed delivery everything behind it is
//!   thrown away and a new producer takes over; callers get `Unavailable` and append again.
//! - **Reading**: no group membership. A read begins a *stream* that reads ahead from there; the next read at its `next` finds
//!   the records in memory. Readers that are close to each other share a stream. `end` and `wait` are those of committed
//!   transactions (`read_committed`), and control records are passed over.
//! - **Identity**: `Topic.id` is Kafka's own topic id. librdkafka knows it, its safe binding has no call for it, but its log
//!   says it; the suite compares it with what Kafka's tools print. A topic that was deleted and made again has another id:
//!   what waits on the old one gets `UnknownTopic`.
//! - **Groups** commit for lag tools only, as `artel.<group>`, coalesced, and again every hour, because brokers forget the
//!   offsets of a group without members. The truth is the service's own database.
//!
//! # What the brokers have to allow
//! On topics Read, Write, Describe, and DescribeConfigs for their limits; Create, Delete where `make` and `delete` are used;
//! on groups with the prefix Read, Describe and Delete for `register`, `advise`, `forget`. Reading records needs no group.
//!
//! # Building
//! librdkafka is compiled along. On Debian that takes, beside a C compiler (`gcc`, `g++`, `make`), the packages `cmake`,
//! `pkg-config`, `libssl-dev`, `zlib1g-dev`, and `libcurl4-openssl-dev` for a header that is included although nothing of it
//! is used. At run time it is `libssl3` and `zlib1g`. zstd and lz4 are compiled in.
//!
//! Every client lives on a thread that may block. `close` waits for them up to a deadline; dropping waits for nothing.

mod ask;
mod chunk;
mod client;
mod config;
mod delivery;
mod error;
mod facts;
mod fetcher;
mod groups;
mod health;
mod lane;
mod log;
mod readers;
mod stream;
mod topics;
mod turn;

pub use config::{Certificate, KafkaConfig, Mechanism, Sasl, Secret, Security, Tls};

use crate::BusError;
use ask::Asker;
use facts::FactTable;
use groups::GroupBook;
use health::Health;
use lane::Lane;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use readers::Readers;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// How often log lines of the asking client are taken out.
const HOUSEKEEPING: Duration = Duration::from_millis(500);
/// Blocking calls at once; more wait their turn.
const CALLS: usize = 32;

/// Clients that block their caller.
struct Clients {
    asker: Asker,
    admin: AdminClient<DefaultClientContext>,
}

/// The log on Kafka. It needs a tokio runtime when it is used, not when it is opened.
///
/// Dropping it without [`Bus::close`](crate::Bus::close) ends it as a crash would: what is on its way is taken back as far as it
/// has not left, and nothing more is told to the brokers. Its threads end behind it.
pub struct Kafka {
    config: Arc<KafkaConfig>,
    health: Arc<Health>,
    clients: Mutex<Option<Arc<Clients>>>,
    facts: FactTable,
    lanes: Mutex<HashMap<usize, Arc<Lane>>>,
    readers: Arc<Readers>,
    groups: Arc<GroupBook>,
    /// Bytes that may be on their way.
    room: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    /// Every thread holds a receiver; nobody is told anything by it.
    threads: watch::Sender<()>,
    alive: Mutex<Option<watch::Receiver<()>>>,
    closed: watch::Sender<bool>,
    housekeeper: Arc<Housekeeper>,
}

/// Wakes the thread that does what has to be done now and then.
#[derive(Default)]
struct Housekeeper {
    end: Mutex<Option<End>>,
    wake: std::sync::Condvar,
}

/// How the clients end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// What has begun is finished first.
    InOrder,
    AtOnce,
}

impl Kafka {
    /// Sets up the clients. Nothing is sent yet: use [`Kafka::check`] to see whether the brokers answer.
    pub fn open(config: KafkaConfig) -> Result<Arc<Kafka>, BusError> {
        config.check()?;
        let config = Arc::new(config);
        let health = Arc::new(Health::new(&config));
        let asker = Asker::new(&config, health.clone())?;
        let admin = client::admin(&config).create().map_err(|error| client::refused(&error))?;
        let clients = Arc::new(Clients { asker, admin });
        let (threads, alive) = watch::channel(());
        let readers = Readers::new(config.clone(), health.clone());
        let groups = Arc::new(GroupBook::new(config.clone(), health.clone()));
        let kafka = Arc::new(Kafka {
            health,
            clients: Mutex::new(Some(clients.clone())),
            facts: FactTable::default(),
            lanes: Mutex::default(),
            readers,
            groups,
            room: Arc::new(Semaphore::new(config.queue_bytes as usize)),
            calls: Arc::new(Semaphore::new(CALLS)),
            threads,
            alive: Mutex::new(Some(alive.clone())),
            closed: watch::Sender::new(false),
            housekeeper: Arc::default(),
            config,
        });
        kafka.keep_house(clients, alive)?;
        Ok(kafka)
    }

    /// Asks the brokers who they are; an error says what is wrong with the way to them.
    pub async fn check(&self) -> Result<(), BusError> {
        let doing = "looking for the brokers";
        let found = self.unless_closed(self.blocking(doing, |clients| clients.asker.brokers())).await?;
        if found == 0 { Err(self.health.away(doing)) } else { Ok(()) }
    }

    fn keep_house(&self, clients: Arc<Clients>, alive: watch::Receiver<()>) -> Result<(), BusError> {
        let (keeper, groups, config) = (self.housekeeper.clone(), self.groups.clone(), self.config.clone());
        let work = move || {
            let (mut told, mut refreshed) = (Instant::now(), Instant::now());
            let pause = HOUSEKEEPING.min(config.advise_interval);
            let end = loop {
                if let Some(end) = keeper.pause(pause) {
                    break end;
                }
                clients.asker.poll();
                if refreshed.elapsed() >= config.advise_refresh {
                    refreshed = Instant::now();
                    groups.refresh();
                }
                if told.elapsed() >= config.advise_interval {
                    told = Instant::now();
                    groups.flush();
                }
            };
            if end == End::InOrder {
                groups.flush();
            }
            // The last to hold these: leaving takes a moment.
            drop((groups, clients, alive));
        };
        std::thread::Builder::new().name("artel-kafka".to_owned()).spawn(work).map(|_| ()).map_err(|error| {
            BusError::Io {
                context: "starting the Kafka adapter's thread".to_owned(),
                reason: error.to_string(),
            }
        })
    }

    fn check_open(&self) -> Result<(), BusError> {
        if *self.closed.borrow() { Err(BusError::Closed) } else { Ok(()) }
    }

    fn alive(&self) -> Result<watch::Receiver<()>, BusError> {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        alive.clone().ok_or(BusError::Closed)
    }

    fn clients(&self) -> Result<Arc<Clients>, BusError> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.clone().ok_or(BusError::Closed)
    }

    /// Gives up on `work` once the log is closed.
    async fn unless_closed<T>(&self, work: impl Future<Output = Result<T, BusError>>) -> Result<T, BusError> {
        self.check_open()?;
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => Err(BusError::Closed),
            result = work => result,
        }
    }

    /// Runs what blocks on a thread that may, within the request's deadline.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: &str,
        work: impl FnOnce(&Clients) -> Result<T, BusError> + Send + 'static,
    ) -> Result<T, BusError> {
        let clients = self.clients()?;
        let turn =
            tokio::time::timeout(self.config.request_deadline, self.calls.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(self.health.away(doing)) };
        let task = tokio::task::spawn_blocking(move || {
            let result = work(&clients);
            drop(turn);
            result
        });
        task.await.unwrap_or_else(|error| {
            Err(BusError::Io { context: doing.to_owned(), reason: error.to_string() })
        })
    }

    /// Tells every thread to end.
    fn begin_end(&self, end: End) {
        // Under the lock nobody starts a lane that would not hear of it.
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closed.send_replace(true) {
            return;
        }
        let patience = match end {
            End::InOrder => self.config.close_deadline,
            End::AtOnce => Duration::ZERO,
        };
        let deadline = Instant::now() + patience;
        lanes.values().for_each(|lane| lane.close(deadline));
        drop(lanes);
        self.room.close();
        self.readers.close();
        // The housekeeper's are the last.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.housekeeper.end(end);
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    async fn end(&self) {
        self.begin_end(End::InOrder);
        if tokio::time::timeout(self.config.close_deadline, self.threads.closed()).await.is_err() {
            tracing::warn!(
                target: "artel_bus::kafka",
                "not all of the Kafka clients ended within {:?}; the rest ends behind it", self.config.close_deadline
            );
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.begin_end(End::AtOnce);
    }
}

impl Housekeeper {
    /// Says how, when it is time to end.
    fn pause(&self, pause: Duration) -> Option<End> {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wake.wait_timeout_while(end, pause, |end| end.is_none());
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn end(&self, end: End) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        self.wake.notify_all();
    }
}
