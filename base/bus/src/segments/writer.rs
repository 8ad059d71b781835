//! The one thread that changes files. It takes what waits, writes it, syncs each touched file once, and only then lets
//! readers see it and callers know.

mod admin;
mod commit;
mod keep;

use super::disk::Disk;
use super::groups;
use super::meta::io_error;
use super::partition::{Gate, Partition};
use super::shared::Shared;
use super::snapshot::{Snapshot, freeze};
use super::sync::lock;
use crate::codec::Batch;
use crate::{Appended, BusError, GroupOffset, Topic, TopicSpec};
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use uuid::Uuid;

/// How soon a failed store of the groups is tried again, at the earliest.
const STORE_AGAIN: Duration = Duration::from_secs(1);

pub(super) type Reply<T> = oneshot::Sender<Result<T, BusError>>;
pub(super) type Answer<T> = oneshot::Receiver<Result<T, BusError>>;

/// A batch that waits to be written.
pub(super) struct Append {
    pub partition: Arc<Partition>,
    pub batch: Batch,
    pub reply: Reply<Appended>,
    /// Its share of the queue, given back when it is done.
    pub permit: OwnedSemaphorePermit,
}

/// A group's start, resolved to one offset per partition.
pub(super) struct Start {
    pub group: String,
    pub topic: String,
    /// The topic it was resolved on.
    pub topic_id: Uuid,
    pub next: Vec<i64>,
    /// Whether it means records that are there, and not an offset whatever it holds.
    pub is_within: bool,
}

pub(super) enum Command {
    Append(Append),
    Make(TopicSpec, Reply<Topic>),
    Delete(String, Reply<()>),
    Register(Start, Reply<()>),
    MoveBack(GroupOffset, Reply<()>),
    Forget {
        group: String,
        topic: String,
        reply: Reply<()>,
    },
    /// A batch is being encoded.
    LookOut,
    /// Advised offsets are ahead of the file.
    StoreGroups,
    /// Says what there is, and keeps it.
    Freeze(Reply<Snapshot>),
    /// Runs retention at once.
    Retain(Reply<()>),
    Close,
}

/// What `close` waits for: true once everything is written and the folder is free.
pub(super) type Done = watch::Sender<bool>;

pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: Receiver<Command>,
    /// Which partition's oldest cached batch is the oldest of all, and its size.
    cached: VecDeque<(Arc<Partition>, usize)>,
    cached_bytes: usize,
    /// Gathers small batches of a partition to one write.
    buffer: Vec<u8>,
    store_groups_at: Option<Instant>,
    retain_at: Instant,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, queue: Receiver<Command>) -> Writer {
        let retain_at = Instant::now() + shared.config.retention_interval;
        Writer {
            shared,
            queue,
            cached: VecDeque::new(),
            cached_bytes: 0,
            buffer: Vec::new(),
            store_groups_at: None,
            retain_at,
        }
    }

    /// Works until `Close`, or until nobody is left to send. Frees the folder's lock and says so at the end.
    pub fn run(mut self, lock: Box<dyn Send + Sync>, done: &Done) {
        let shared = self.shared.clone();
        // After a panic the writer is only dropped, when everybody can hear why it does not answer.
        match catch_unwind(AssertUnwindSafe(|| self.work())) {
            Ok(()) => {
                drop(lock);
                done.send_replace(true);
            }
            Err(panic) => shut_all(&shared, panic.as_ref()),
        }
    }

    fn work(&mut self) {
        while let Some(command) = self.next() {
            if !self.handle(command) {
                break;
            }
        }
        self.finish();
    }

    /// The next command; housekeeping meanwhile. `None` when nobody can send any more.
    fn next(&mut self) -> Option<Command> {
        loop {
            let due = self.store_groups_at.map_or(self.retain_at, |at| at.min(self.retain_at));
            let incoming = &self.shared.incoming;
            if let Some(command) = incoming.look_out(&self.queue) {
                return Some(command);
            }
            incoming.set_asleep(true);
            let command = self.queue.recv_timeout(due.saturating_duration_since(Instant::now()));
            incoming.set_asleep(false);
            match command {
                Ok(Command::LookOut) => {}
                Ok(command) => return Some(command),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.housekeeping(),
            }
        }
    }

    fn housekeeping(&mut self) {
        let now = Instant::now();
        if self.store_groups_at.is_some_and(|at| at <= now) {
            self.store_groups_at = None;
            self.store_advised();
        }
        if self.retain_at <= now {
            self.retain_at = now + self.shared.config.retention_interval;
            self.retain();
        }
    }

    /// Stores what was advised; it may be lost, so a failure is only said.
    fn store_advised(&mut self) {
        if !lock(&self.shared.groups).is_dirty() {
            return;
        }
        if let Err(error) = self.store_groups() {
            tracing::warn!(%error, "group offsets could not be stored; they are kept in memory and tried again");
        }
    }

    /// Stores the groups; what fails is tried again later.
    fn store_groups(&mut self) -> Result<(), BusError> {
        let shared = &self.shared;
        groups::store(&shared.groups, disk(shared), &shared.root).map_err(|e| {
            self.store_groups_at = Some(Instant::now() + shared.config.advise_interval.max(STORE_AGAIN));
            io_error("storing groups in", &shared.root, &e)
        })
    }

    /// Whether to go on.
    fn handle(&mut self, command: Command) -> bool {
        match command {
            Command::Append(first) => return self.appends(first),
            Command::Make(spec, reply) => answer(reply, self.make(&spec)),
            Command::Delete(topic, reply) => answer(reply, self.delete(&topic)),
            Command::Register(start, reply) => answer(reply, self.register(start)),
            Command::MoveBack(to, reply) => answer(reply, self.move_back(&to)),
            Command::Forget { group, topic, reply } => answer(reply, self.forget(&group, &topic)),
            Command::StoreGroups => {
                let at = Instant::now() + self.shared.config.advise_interval;
                self.store_groups_at.get_or_insert(at);
            }
            Command::Freeze(reply) => answer(reply, freeze(&self.shared)),
            Command::Retain(reply) => {
                self.retain();
                answer(reply, Ok(()));
            }
            Command::LookOut => {}
            Command::Close => return false,
        }
        true
    }

    /// Takes the appends that wait, up to a round's bytes, and writes them; then what came in between.
    fn appends(&mut self, first: Append) -> bool {
        let mut bytes = first.batch.size();
        let mut round = vec![first];
        let mut other = None;
        while bytes < self.shared.config.round_bytes {
            match self.queue.try_recv() {
                Ok(Command::Append(append)) => {
                    bytes += append.batch.size();
                    round.push(append);
                }
                Ok(Command::LookOut) => {}
                Ok(command) => {
                    other = Some(command);
                    break;
                }
                Err(_) => break,
            }
        }
        self.round(round);
        let now = Instant::now();
        if self.retain_at <= now || self.store_groups_at.is_some_and(|at| at <= now) {
            // A queue that is never empty must not put it off for ever.
            self.housekeeping();
        }
        other.is_none_or(|command| self.handle(command))
    }

    /// Answers what still waits, stores what may be stored late, and closes every partition.
    fn finish(&mut self) {
        self.shared.begin_closing();
        while let Ok(command) = self.queue.try_recv() {
            refuse(command);
        }
        self.store_advised();
        for topic in self.shared.all() {
            for partition in &topic.partitions {
                self.settle(partition);
                partition.shut(Gate::Closed);
            }
        }
        self.shared.files.clear();
    }
}

/// Answers a command that came too late.
fn refuse(command: Command) {
    match command {
        Command::Append(append) => answer(append.reply, Err(BusError::Closed)),
        Command::Make(_, reply) => answer(reply, Err(BusError::Closed)),
        Command::Freeze(reply) => answer(reply, Err(BusError::Closed)),
        Command::Delete(_, reply)
        | Command::Register(_, reply)
        | Command::MoveBack(_, reply)
        | Command::Forget { reply, .. }
        | Command::Retain(reply) => answer(reply, Err(BusError::Closed)),
        Command::LookOut | Command::StoreGroups | Command::Close => {}
    }
}

/// A caller that hung up needs no answer.
fn answer<T>(reply: Reply<T>, result: Result<T, BusError>) {
    let _ = reply.send(result);
}

/// After a panic: every call and every waiter hears why.
fn shut_all(shared: &Shared, panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().copied();
    let text =
        text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given");
    let reason: Arc<str> = format!("the log's writer thread failed ({text}); start the process again").into();
    tracing::error!(%reason, "the log takes nothing any more");
    shared.fail(reason.clone());
    for topic in shared.all() {
        for partition in &topic.partitions {
            partition.shut(Gate::Stopped(reason.clone()));
        }
    }
}

/// The disk of a writer, for its parts.
fn disk(shared: &Shared) -> &dyn Disk {
    shared.disk.as_ref()
}
