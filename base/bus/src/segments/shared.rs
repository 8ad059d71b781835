//! What callers and the writer thread share.

use super::config::SegmentsConfig;
use super::disk::Disk;
use super::files::OpenFiles;
use super::groups::GroupTable;
use super::incoming::Incoming;
use super::meta::TopicMeta;
use super::partition::Partition;
use super::sync::{read, write};
use crate::{BusError, Topic};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

pub(super) struct TopicState {
    pub meta: TopicMeta,
    pub partitions: Vec<Arc<Partition>>,
}

impl TopicState {
    pub fn describe(&self) -> Topic {
        Topic {
            name: self.meta.name.clone(),
            id: self.meta.id,
            partitions: self.meta.partitions,
            bytes: self.partitions.iter().map(|p| p.with_view(|view| view.bytes())).collect(),
            retention_ms: self.meta.retention_ms,
            retention_bytes: self.meta.retention_bytes,
        }
    }
}

pub(super) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub root: PathBuf,
    pub config: SegmentsConfig,
    pub files: OpenFiles,
    /// Changed by the writer thread alone.
    pub topics: RwLock<BTreeMap<String, Arc<TopicState>>>,
    pub groups: Mutex<GroupTable>,
    /// The number of the next partition that is opened or made.
    pub partition_ids: AtomicU64,
    pub incoming: Incoming,
    /// Copies that are being made: nothing is removed meanwhile.
    pub holds: AtomicUsize,
    /// Set by the first `close`: nothing new is taken in.
    closing: AtomicBool,
    /// Why the writer thread ended, where it was not told to.
    failure: OnceLock<Arc<str>>,
}

impl Shared {
    pub fn new(
        disk: Arc<dyn Disk>,
        root: PathBuf,
        config: SegmentsConfig,
        topics: BTreeMap<String, Arc<TopicState>>,
        groups: GroupTable,
        partition_ids: AtomicU64,
    ) -> Shared {
        Shared {
            files: OpenFiles::new(disk.clone(), config.open_files),
            disk,
            root,
            config,
            topics: RwLock::new(topics),
            groups: Mutex::new(groups),
            partition_ids,
            incoming: Incoming::default(),
            holds: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            failure: OnceLock::new(),
        }
    }

    /// Whether nothing may be removed now.
    pub fn is_held(&self) -> bool {
        self.holds.load(Ordering::Acquire) > 0
    }

    pub fn begin_closing(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// From here on every call says why.
    pub fn fail(&self, reason: Arc<str>) {
        let _ = self.failure.set(reason);
        self.begin_closing();
    }

    pub fn check_open(&self) -> Result<(), BusError> {
        if !self.closing.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(self.failure().unwrap_or(BusError::Closed))
    }

    /// What a failed writer thread means to a caller.
    pub fn failure(&self) -> Option<BusError> {
        self.failure.get().map(|reason| BusError::Unavailable(reason.to_string()))
    }

    pub fn topic(&self, name: &str) -> Result<Arc<TopicState>, BusError> {
        self.check_open()?;
        read(&self.topics).get(name).cloned().ok_or_else(|| BusError::UnknownTopic(name.to_owned()))
    }

    /// Every topic, by name.
    pub fn all(&self) -> Vec<Arc<TopicState>> {
        read(&self.topics).values().cloned().collect()
    }

    pub fn insert(&self, topic: Arc<TopicState>) {
        write(&self.topics).insert(topic.meta.name.clone(), topic);
    }

    pub fn remove(&self, name: &str) {
        write(&self.topics).remove(name);
    }

    pub fn partition(&self, topic: &str, partition: u32) -> Result<Arc<Partition>, BusError> {
        self.check_open()?;
        let topics = read(&self.topics);
        let state = topics.get(topic).ok_or_else(|| BusError::UnknownTopic(topic.to_owned()))?;
        let found = usize::try_from(partition).ok().and_then(|i| state.partitions.get(i));
        found.cloned().ok_or_else(|| BusError::UnknownPartition {
            topic: topic.to_owned(),
            partition,
            count: state.meta.partitions,
        })
    }
}
