//! One producer with its poll thread. After a delivery error everything behind it is thrown away, all reports are awaited,
//! and a new producer takes over: what was behind the error never gets in before it.

use super::client::{self, Context, Plain};
use super::config::KafkaConfig;
use super::delivery::Delivery;
use super::health::Health;
use crate::{BusError, Record};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long one call of `poll` takes; reports are handled in the middle of it, errors and the end behind it.
const POLL: Duration = Duration::from_millis(20);
/// How long a purge may take to report everything.
const DRAIN: Duration = Duration::from_secs(5);

/// What the callbacks know; made anew with each producer.
struct Reports {
    inner: Context<Plain>,
    /// The first failure: the producer is to be replaced.
    broken: Arc<Mutex<Option<Code>>>,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        self.inner.log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if matches!(error.rdkafka_error_code(), Some(Code::Fatal)) {
            mark(&self.broken, Code::Fatal);
        }
        self.inner.error(error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Arc<Delivery>) {
        match result {
            Ok(message) => {
                self.inner.health.fine();
                delivery.report(Ok(message.offset()));
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
                mark(&self.broken, code);
                delivery.report(Err(code));
            }
        }
    }
}

fn mark(broken: &Mutex<Option<Code>>, code: Code) {
    broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(code);
}

type Producer = BaseProducer<Reports>;

/// Held by the thread. However that ends, nobody waits for it any more, and the next append starts another lane.
struct Runner(Arc<Lane>);

impl Drop for Runner {
    fn drop(&mut self) {
        self.0.set(State::Closed);
        self.0.give_up();
    }
}

/// A running producer, or why there is none.
enum State {
    Ready(Arc<Producer>),
    /// The old one is being cleared away.
    Replacing,
    Closed,
}

/// Partitions are spread over this many locks, so that batches are never interleaved and others don't wait.
const SHARDS: usize = 32;

pub(super) struct Lane {
    config: Arc<KafkaConfig>,
    health: Arc<Health>,
    /// No batch is larger than this.
    batch_bytes: usize,
    state: RwLock<State>,
    /// Counts changes of `state`.
    changed: watch::Sender<u64>,
    shards: [tokio::sync::Mutex<()>; SHARDS],
    broken: Arc<Mutex<Option<Code>>>,
    /// Appends on their way, oldest first.
    sent: Mutex<VecDeque<(Instant, Arc<Delivery>)>>,
    /// Set by `close`: until then what is on its way may be finished.
    closing: Mutex<Option<Instant>>,
}

impl Lane {
    /// Starts the thread; `alive` is held until it ends.
    pub fn start(
        config: Arc<KafkaConfig>,
        health: Arc<Health>,
        batch_bytes: usize,
        alive: watch::Receiver<()>,
    ) -> Result<Arc<Lane>, BusError> {
        let lane = Arc::new(Lane {
            config,
            health,
            batch_bytes,
            state: RwLock::new(State::Replacing),
            changed: watch::Sender::new(0),
            shards: [const { tokio::sync::Mutex::const_new(()) }; SHARDS],
            broken: Arc::default(),
            sent: Mutex::default(),
            closing: Mutex::new(None),
        });
        let first = lane.producer()?;
        lane.set(State::Ready(first));
        let runner = Runner(lane.clone());
        let work = move || {
            runner.0.run();
            drop(runner);
            drop(alive);
        };
        std::thread::Builder::new().name("artel-kafka-out".to_owned()).spawn(work).map_err(|error| {
            BusError::Io { context: "starting a producer's thread".to_owned(), reason: error.to_string() }
        })?;
        Ok(lane)
    }

    fn producer(&self) -> Result<Arc<Producer>, BusError> {
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let context =
            Reports { inner: Context::new(self.health.clone(), Plain), broken: self.broken.clone() };
        BaseProducer::from_config_and_context(&client::producer(&self.config, self.batch_bytes), context)
            .map(Arc::new)
            .map_err(|error| client::refused(&error))
    }

    fn set(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        self.changed.send_modify(|count| *count += 1);
    }

    /// Hands a whole batch to the producer, behind all that was handed over before for this partition.
    pub async fn send(
        &self,
        shard: usize,
        records: &[Record<'_>],
        delivery: &Arc<Delivery>,
    ) -> Result<(), BusError> {
        let mut changed = self.changed.subscribe();
        let _turn = self.shards[shard % SHARDS].lock().await;
        loop {
            changed.mark_unchanged();
            match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
                State::Ready(producer) => {
                    self.sent
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push_back((Instant::now(), delivery.clone()));
                    self.enqueue(producer, records, delivery);
                    return Ok(());
                }
                State::Closed => return Err(BusError::Closed),
                State::Replacing => {}
            }
            changed.changed().await.map_err(|_| BusError::Closed)?;
        }
    }

    fn enqueue(&self, producer: &Producer, records: &[Record<'_>], delivery: &Arc<Delivery>) {
        let (topic, partition) = delivery.place();
        let mut left = u32::try_from(records.len()).unwrap_or(u32::MAX);
        for record in records {
            let message = BaseRecord::<[u8], [u8], Arc<Delivery>> {
                topic,
                partition: i32::try_from(partition).ok(),
                payload: record.value,
                key: record.key,
                timestamp: Some(record.time.millis()),
                headers: headers(record),
                delivery_opaque: delivery.clone(),
            };
            if let Err((error, _)) = producer.send(message) {
                let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
                // Nothing may follow a record that is missing.
                mark(&self.broken, code);
                // Not handed over, so surely not stored by this producer.
                let report = if code == Code::QueueFull { Code::PurgeQueue } else { code };
                delivery.report_many(Err(report), left);
                return;
            }
            left -= 1;
        }
    }

    /// Whether its thread has ended, or is about to.
    pub fn is_closed(&self) -> bool {
        matches!(&*self.state.read().unwrap_or_else(PoisonError::into_inner), State::Closed)
    }

    fn run(&self) {
        loop {
            let producer = match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
                State::Ready(producer) => producer.clone(),
                State::Replacing | State::Closed => break,
            };
            producer.poll(POLL);
            if let Some(deadline) = *self.closing.lock().unwrap_or_else(PoisonError::into_inner) {
                self.finish(producer, deadline);
                break;
            }
            if self.is_overdue() {
                mark(&self.broken, Code::MessageTimedOut);
            }
            let broken = *self.broken.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(code) = broken
                && !self.replace(producer, code)
            {
                break;
            }
        }
    }

    /// Whether the oldest append takes too long.
    fn is_overdue(&self) -> bool {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        while sent.front().is_some_and(|(_, delivery)| delivery.is_done()) {
            sent.pop_front();
        }
        sent.front().is_some_and(|(since, _)| since.elapsed() > self.config.append_deadline)
    }

    /// False when there is nothing to go on with.
    fn replace(&self, producer: Arc<Producer>, code: Code) -> bool {
        tracing::warn!(
            target: "artel_bus::kafka",
            "a delivery failed ({code}); what is on its way is given back, and a new producer takes over"
        );
        // From here on nobody else holds it: senders do so only under the lock.
        self.set(State::Replacing);
        self.give_back(producer);
        loop {
            match self.producer() {
                Ok(producer) => {
                    self.set(State::Ready(producer));
                    return true;
                }
                Err(error) => tracing::error!(target: "artel_bus::kafka", "no new producer: {error}"),
            }
            if self.closing.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Purges, and reports everything that was not reported.
    fn give_back(&self, producer: Arc<Producer>) {
        producer.purge(PurgeConfig::default().queue().inflight());
        let begin = Instant::now();
        while producer.in_flight_count() > 0 && begin.elapsed() < DRAIN {
            producer.poll(Duration::from_millis(1));
        }
        drop(producer);
        self.give_up();
    }

    /// Reports what was not reported: it may be stored or not.
    fn give_up(&self) {
        for (_, delivery) in self.sent.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            delivery.report_rest(Err(Code::PurgeInflight));
        }
    }

    /// Waits for what is on its way, as long as it may.
    fn finish(&self, producer: Arc<Producer>, deadline: Instant) {
        self.set(State::Closed);
        while producer.in_flight_count() > 0 && Instant::now() < deadline {
            producer.poll(Duration::from_millis(1));
        }
        self.give_back(producer);
    }

    /// Ends the thread, after what is on its way or at `deadline`.
    pub fn close(&self, deadline: Instant) {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(deadline);
    }
}

fn headers(record: &Record<'_>) -> Option<OwnedHeaders> {
    if record.headers.is_empty() {
        return None;
    }
    let all = OwnedHeaders::new_with_capacity(record.headers.len());
    Some(record.headers.iter().fold(all, |all, (key, value)| match value {
        Some(value) => all.insert(Header { key, value: Some(*value) }),
        None => all.insert(Header::<&[u8]> { key, value: None }),
    }))
}
