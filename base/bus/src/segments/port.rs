//! The port on the embedded log.

use super::files::OpenFiles;
use super::partition::Partition;
use super::read;
use super::sync::lock;
use super::writer::{Append, Command, Start};
use super::{Segments, codec_limits};
use crate::codec::{self, Compression, EncodeError, encode};
use crate::{
    Appended, Bounds, BusError, Fetch, Fetched, From as StartAt, GroupOffset, Groups, Log, Record, Topic,
    TopicSpec, Topics, storable,
};
use artel_message::Time;
use async_trait::async_trait;
use std::sync::Arc;

/// A batch up to this size is encoded while the writer looks out for it; a larger one, or one that is compressed, takes longer
/// than the writer's patience.
const LOOKED_OUT_FOR: usize = 128 << 10;

#[async_trait]
impl Log for Segments {
    fn system(&self) -> &'static str {
        "artel"
    }

    async fn append(&self, topic: &str, partition: u32, batch: &[Record<'_>]) -> Result<Appended, BusError> {
        let partition = self.shared.partition(topic, partition)?;
        partition.check_open()?;
        if batch.is_empty() {
            return Ok(Appended::whole(partition.with_view(|view| view.bounds().end), 0));
        }
        storable::check(batch)?;
        let config = &self.shared.config;
        let about = codec::estimate(batch);
        // Before the encoding: what waits for the disk is bounded with all that it takes. A batch larger than the whole queue
        // may still pass, alone.
        let bytes = u32::try_from(about).unwrap_or(u32::MAX).min(config.queue_bytes);
        let permit = self.budget.clone().acquire_many_owned(bytes).await.map_err(|_| BusError::Closed)?;
        let is_quick = about <= LOOKED_OUT_FOR && config.compression == Compression::None;
        let encoding = is_quick.then(|| self.shared.incoming.begin(&self.queue));
        let batch = encode(batch, config.compression, &codec_limits(config)).map_err(refusal)?;
        let answer = self.send(|reply| Command::Append(Append { partition, batch, reply, permit }));
        drop(encoding);
        self.answer(answer?).await
    }

    async fn read(&self, topic: &str, partition: u32, from: i64, fetch: Fetch) -> Result<Fetched, BusError> {
        let partition = self.shared.partition(topic, partition)?;
        let batches = match read::from_memory(&partition, from, fetch.max_bytes)? {
            Some(batches) => batches,
            None => {
                let read = move |partition: &Partition, files: &OpenFiles| {
                    read::from_files(partition, files, from, fetch.max_bytes)
                };
                self.on_files(partition.clone(), read).await?
            }
        };
        read::decode(&partition, from, fetch, &batches)
    }

    async fn wait(&self, topic: &str, partition: u32, from: i64) -> Result<(), BusError> {
        let partition = self.shared.partition(topic, partition)?;
        let mut signal = partition.watch();
        loop {
            {
                let now = signal.borrow_and_update();
                partition.check(&now.gate)?;
                if now.end > from {
                    return Ok(());
                }
            }
            signal.changed().await.map_err(|_| BusError::Closed)?;
        }
    }

    async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, BusError> {
        let partition = self.shared.partition(topic, partition)?;
        partition.check_open()?;
        Ok(partition.with_view(|view| view.bounds()))
    }

    async fn offset_at(&self, topic: &str, partition: u32, time: Time) -> Result<Option<i64>, BusError> {
        let partition = self.shared.partition(topic, partition)?;
        let millis = time.millis();
        self.on_files(partition, move |partition, files| read::offset_at(partition, files, millis)).await
    }

    async fn close(&self) {
        self.shared.begin_closing();
        // Fails only when the writer has ended already.
        let _ = self.queue.send(Command::Close);
        let _ = self.done.clone().wait_for(|done| *done).await;
    }
}

impl Segments {
    /// Runs what may block on a thread that may.
    async fn on_files<T: Send + 'static>(
        &self,
        partition: Arc<Partition>,
        work: impl FnOnce(&Partition, &OpenFiles) -> Result<T, BusError> + Send + 'static,
    ) -> Result<T, BusError> {
        let shared = self.shared.clone();
        let task = tokio::task::spawn_blocking(move || work(&partition, &shared.files));
        task.await.unwrap_or_else(|e| {
            Err(BusError::Io { context: "reading the log".to_owned(), reason: e.to_string() })
        })
    }
}

fn refusal(error: EncodeError) -> BusError {
    let reason = error.to_string();
    match error {
        EncodeError::RecordBytes { size, limit, .. } => {
            BusError::TooLarge { what: "the message", size, limit, setting: "max_message_bytes" }
        }
        EncodeError::BatchBytes { size, limit } => {
            BusError::TooLarge { what: "the batch", size, limit, setting: "max_batch_bytes" }
        }
        EncodeError::Headers { index, .. } => {
            BusError::InvalidRecord { index, reason: format!("{reason} (setting max_headers)") }
        }
        EncodeError::Time { index } => BusError::InvalidRecord { index, reason },
        EncodeError::Records { .. } | EncodeError::Empty | EncodeError::Compress { .. } => {
            BusError::InvalidRecord { index: 0, reason }
        }
    }
}

#[async_trait]
impl Topics for Segments {
    async fn make(&self, spec: TopicSpec) -> Result<Topic, BusError> {
        self.ask(|reply| Command::Make(spec, reply)).await
    }

    async fn describe(&self, topic: &str) -> Result<Topic, BusError> {
        Ok(self.shared.topic(topic)?.describe())
    }

    async fn list(&self) -> Result<Vec<Topic>, BusError> {
        self.shared.check_open()?;
        Ok(self.shared.all().iter().map(|topic| topic.describe()).collect())
    }

    async fn delete(&self, topic: &str) -> Result<(), BusError> {
        self.ask(|reply| Command::Delete(topic.to_owned(), reply)).await
    }
}

#[async_trait]
impl Groups for Segments {
    async fn register(&self, group: &str, topic: &str, from: StartAt) -> Result<(), BusError> {
        let state = self.shared.topic(topic)?;
        if lock(&self.shared.groups).is_stored(group, topic) {
            return Ok(());
        }
        let mut next = Vec::with_capacity(state.partitions.len());
        for partition in &state.partitions {
            let bounds = self.bounds(topic, partition.number).await?;
            next.push(match from {
                StartAt::Earliest => bounds.begin,
                StartAt::Latest => bounds.end,
                StartAt::Offset(offset) => offset,
                StartAt::Time(time) => {
                    self.offset_at(topic, partition.number, time).await?.unwrap_or(bounds.end)
                }
            });
        }
        let start = Start {
            group: group.to_owned(),
            topic: topic.to_owned(),
            topic_id: state.meta.id,
            next,
            is_within: !matches!(from, StartAt::Offset(_)),
        };
        self.ask(|reply| Command::Register(start, reply)).await
    }

    async fn advise(&self, group: &str, topic: &str, partition: u32, next: i64) -> Result<(), BusError> {
        self.shared.partition(topic, partition)?;
        let advised = {
            let mut groups = lock(&self.shared.groups);
            let is_back = groups.is_back(group, topic, partition, next);
            if is_back { None } else { Some(groups.advise(group, topic, partition, next)) }
        };
        let Some(advised) = advised else {
            // In memory alone, a move back would be undone by a crash.
            let to = GroupOffset { group: group.to_owned(), topic: topic.to_owned(), partition, next };
            return self.ask(|reply| Command::MoveBack(to, reply)).await;
        };
        match advised {
            None => Err(BusError::UnknownGroup { group: group.to_owned(), topic: topic.to_owned() }),
            Some(false) => Ok(()),
            Some(true) => self.queue.send(Command::StoreGroups).map_err(|_| self.gone()),
        }
    }

    async fn forget(&self, group: &str, topic: &str) -> Result<(), BusError> {
        self.ask(|reply| Command::Forget { group: group.to_owned(), topic: topic.to_owned(), reply }).await
    }

    async fn offsets(&self) -> Result<Vec<GroupOffset>, BusError> {
        self.shared.check_open()?;
        Ok(lock(&self.shared.groups).offsets())
    }
}
