//! Offsets of groups, committed to the brokers so that Kafka's own tools show our groups and their lag.
//!
//! The group `G` is `artel.G` on the brokers. It has no members; its offsets are advice, the truth lies in the service's
//! database. The safe binding can't delete the offsets of one topic: `forget` deletes the broker's group, and commits the
//! offsets of the other topics again.

use super::ask::number;
use super::client::{self, Context, Plain};
use super::config::KafkaConfig;
use super::health::Health;
use super::{Kafka, error};
use crate::{BusError, From as StartAt, GroupOffset, Groups};
use async_trait::async_trait;
use rdkafka::admin::AdminOptions;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A client of a group that committed nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// An offset as it is known here.
#[derive(Debug, Clone, Copy)]
struct Known {
    next: i64,
    /// What the brokers have not confirmed yet.
    is_new: bool,
}

type Places = BTreeMap<(String, u32), Known>;
type Committer = BaseConsumer<Context<Plain>>;

/// What this process knows of groups, and the clients that commit for them.
pub(super) struct GroupBook {
    config: Arc<KafkaConfig>,
    health: Arc<Health>,
    known: Mutex<HashMap<String, Places>>,
    clients: Mutex<HashMap<String, (Instant, Arc<Committer>)>>,
    /// Taken by whoever writes to the brokers, so that what is forgotten is not committed again.
    writing: Mutex<()>,
}

impl GroupBook {
    pub fn new(config: Arc<KafkaConfig>, health: Arc<Health>) -> GroupBook {
        GroupBook {
            config,
            health,
            known: Mutex::default(),
            clients: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Places>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, group: &str, topic: &str) -> bool {
        let known = self.known();
        known.get(group).is_some_and(|places| places.keys().any(|(name, _)| name == topic))
    }

    /// False when the group is not known on the topic.
    fn advise(&self, group: &str, topic: &str, partition: u32, next: i64) -> bool {
        let mut known = self.known();
        let Some(place) = known.get_mut(group).and_then(|p| p.get_mut(&(topic.to_owned(), partition))) else {
            return false;
        };
        if place.next != next {
            *place = Known { next, is_new: true };
        }
        true
    }

    fn learn(&self, group: &str, places: &[(String, u32, i64)], is_new: bool) {
        let mut known = self.known();
        let own = known.entry(group.to_owned()).or_default();
        for (topic, partition, next) in places {
            own.entry((topic.clone(), *partition)).or_insert(Known { next: *next, is_new });
        }
    }

    pub fn drop_topic(&self, topic: &str) {
        for places in self.known().values_mut() {
            places.retain(|(name, _), _| name != topic);
        }
    }

    /// All offsets are told again.
    pub fn refresh(&self) {
        self.known().values_mut().flat_map(BTreeMap::values_mut).for_each(|known| known.is_new = true);
    }

    fn client(&self, group: &str) -> Result<Arc<Committer>, BusError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((used, client)) = clients.get_mut(group) {
            *used = Instant::now();
            return Ok(client.clone());
        }
        let name = format!("{}{group}", self.config.group_prefix);
        let context = Context::new(self.health.clone(), Plain);
        let client = BaseConsumer::from_config_and_context(&client::committer(&self.config, &name), context)
            .map(Arc::new)
            .map_err(|error| client::refused(&error))?;
        clients.insert(group.to_owned(), (Instant::now(), client.clone()));
        Ok(client)
    }

    /// Takes out clients that nobody used lately. Blocks while they end.
    fn retire(&self) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let old: Vec<String> = clients
            .iter()
            .filter(|(_, (used, _))| used.elapsed() > IDLE)
            .map(|(name, _)| name.clone())
            .collect();
        let old: Vec<_> = old.iter().filter_map(|name| clients.remove(name)).collect();
        drop(clients);
        drop(old);
    }

    fn commit(&self, group: &str, places: &[(String, u32, i64)]) -> Result<(), BusError> {
        let doing = format!("committing offsets of group '{group}'");
        let client = self.client(group)?;
        let mut list = TopicPartitionList::new();
        let added = places.iter().try_for_each(|(topic, partition, next)| {
            list.add_partition_offset(topic, number(*partition), Offset::Offset(*next))
        });
        let result = added.and_then(|()| client.commit(&list, CommitMode::Sync));
        let refusal = refusal(&client);
        result.map_err(|failure| match refusal {
            Some(code) => error::denied(&doing, code),
            None => error::of(&self.health, "", &doing, &failure),
        })
    }

    /// Tells the brokers what is new. Blocks.
    pub fn flush(&self) {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let groups: Vec<String> = self.known().keys().cloned().collect();
        for group in groups {
            let places: Vec<(String, u32, i64)> = match self.known().get(&group) {
                Some(places) => new_ones(places),
                None => continue,
            };
            if places.is_empty() {
                continue;
            }
            match self.commit(&group, &places) {
                Ok(()) => self.confirmed(&group, &places),
                // Told again next time; nothing but the lag tools misses it.
                Err(error) => tracing::debug!(target: "artel_bus::kafka", "{error}"),
            }
        }
        self.retire();
    }

    fn confirmed(&self, group: &str, places: &[(String, u32, i64)]) {
        let mut known = self.known();
        let Some(own) = known.get_mut(group) else { return };
        for (topic, partition, next) in places {
            if let Some(place) = own.get_mut(&(topic.clone(), *partition))
                && place.next == *next
            {
                place.is_new = false;
            }
        }
    }

    /// What the brokers have of a group, among these partitions.
    fn committed(&self, group: &str, of: &[(String, u32)]) -> Result<Vec<(String, u32, i64)>, BusError> {
        if of.is_empty() {
            return Ok(Vec::new());
        }
        let doing = format!("reading offsets of group '{group}'");
        let client = self.client(group)?;
        let begin = Instant::now();
        loop {
            let mut list = TopicPartitionList::new();
            for (topic, count) in of {
                for partition in 0..*count {
                    list.add_partition(topic, number(partition));
                }
            }
            let left = self.config.request_deadline.saturating_sub(begin.elapsed());
            let result = client.committed_offsets(list, left.min(Duration::from_secs(1)));
            let refusal = refusal(&client);
            let failure = match result {
                Ok(list) => return Ok(places(&list)),
                Err(failure) => failure,
            };
            if let Some(code) = refusal {
                return Err(error::denied(&doing, code));
            }
            let away = failure.rdkafka_error_code().is_none_or(error::is_away);
            if !away || self.health.is_hopeless() || begin.elapsed() >= self.config.request_deadline {
                return Err(error::of(&self.health, "", &doing, &failure));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What an ACL refused since last time: the call itself only finds no coordinator in time.
fn refusal(client: &Committer) -> Option<Code> {
    let mut refusal = None;
    while let Some(event) = client.poll(Duration::from_millis(1)) {
        let code = event.err().and_then(|failure| failure.rdkafka_error_code());
        refusal = code.filter(|code| error::is_denied(*code)).or(refusal);
    }
    refusal
}

fn new_ones(places: &Places) -> Vec<(String, u32, i64)> {
    let new = places.iter().filter(|(_, known)| known.is_new);
    new.map(|((topic, partition), known)| (topic.clone(), *partition, known.next)).collect()
}

/// Those partitions that have an offset.
fn places(list: &TopicPartitionList) -> Vec<(String, u32, i64)> {
    let elements = list.elements();
    let places = elements.iter().filter_map(|element| match element.offset() {
        Offset::Offset(next) => Some((element.topic().to_owned(), element.partition().unsigned_abs(), next)),
        _ => None,
    });
    places.collect()
}

#[async_trait]
impl Groups for Kafka {
    async fn register(&self, group: &str, topic: &str, from: StartAt) -> Result<(), BusError> {
        self.unless_closed(async {
            let count = self.facts(topic).await?.partitions;
            if self.groups.has(group, topic) || self.adopt(group, topic, count).await? {
                return Ok(());
            }
            let mut places = Vec::new();
            for partition in 0..count {
                let bounds = self.ask_bounds(topic, partition).await?;
                let next = match from {
                    StartAt::Earliest => bounds.begin,
                    StartAt::Latest => bounds.end,
                    StartAt::Offset(offset) => offset,
                    StartAt::Time(time) => self.ask_time(topic, partition, time).await?.unwrap_or(bounds.end),
                };
                places.push((topic.to_owned(), partition, next));
            }
            let (book, name) = (self.groups.clone(), group.to_owned());
            let write = move |_: &super::Clients| {
                let _alone = book.writing.lock().unwrap_or_else(PoisonError::into_inner);
                book.commit(&name, &places)?;
                book.learn(&name, &places, false);
                Ok(())
            };
            self.blocking(&format!("registering group '{group}'"), write).await
        })
        .await
    }

    async fn advise(&self, group: &str, topic: &str, partition: u32, next: i64) -> Result<(), BusError> {
        self.check_open()?;
        if self.groups.advise(group, topic, partition, next) {
            return Ok(());
        }
        self.unless_closed(async {
            let count = self.partition(topic, partition).await?.partitions;
            // Registered by another process, or by this one before it was started again.
            if self.adopt(group, topic, count).await? && self.groups.advise(group, topic, partition, next) {
                Ok(())
            } else {
                Err(BusError::UnknownGroup { group: group.to_owned(), topic: topic.to_owned() })
            }
        })
        .await
    }

    async fn forget(&self, group: &str, topic: &str) -> Result<(), BusError> {
        self.unless_closed(async {
            let name = format!("{}{group}", self.config.group_prefix);
            let (book, own, gone) = (self.groups.clone(), group.to_owned(), topic.to_owned());
            // What other topics have is kept: it is committed again when the broker's group is gone.
            let keep = move |clients: &super::Clients| {
                let _alone = book.writing.lock().unwrap_or_else(PoisonError::into_inner);
                let there = !clients.asker.groups(&name)?.is_empty();
                let all = clients.asker.topics()?;
                let all: Vec<_> = all.into_iter().map(|topic| (topic.name, topic.partitions)).collect();
                let committed = if there { book.committed(&own, &all)? } else { Vec::new() };
                let others: Vec<_> = committed.into_iter().filter(|(topic, ..)| *topic != gone).collect();
                book.learn(&own, &others, true);
                if let Some(places) = book.known().get_mut(&own) {
                    places.retain(|(topic, _), _| *topic != gone);
                }
                Ok(there)
            };
            let doing = format!("forgetting group '{group}' on topic '{topic}'");
            if !self.blocking(&doing, keep).await? {
                return Ok(());
            }
            let name = format!("{}{group}", self.config.group_prefix);
            let options = AdminOptions::new().request_timeout(Some(self.config.request_deadline));
            let clients = self.clients()?;
            let deleted = clients.admin.delete_groups(&[&name], &options).await;
            match deleted.map(|mut all| all.pop()) {
                Ok(Some(Err((_, Code::GroupIdNotFound)))) | Ok(Some(Ok(_)) | None) => {}
                Ok(Some(Err((_, code)))) => return Err(error::of_code(&self.health, "", &doing, code)),
                Err(failure) => return Err(error::of(&self.health, "", &doing, &failure)),
            }
            let (book, own) = (self.groups.clone(), group.to_owned());
            self.blocking(&doing, move |_| {
                // Only now: what was committed before went with the group.
                if let Some(places) = book.known().get_mut(&own) {
                    places.values_mut().for_each(|known| known.is_new = true);
                }
                book.flush();
                Ok(())
            })
            .await
        })
        .await
    }

    async fn offsets(&self) -> Result<Vec<GroupOffset>, BusError> {
        self.unless_closed(async {
            let book = self.groups.clone();
            let prefix = self.config.group_prefix.clone();
            let look = move |clients: &super::Clients| {
                let all: Vec<_> =
                    clients.asker.topics()?.into_iter().map(|topic| (topic.name, topic.partitions)).collect();
                let mut found: BTreeMap<(String, String, u32), i64> = BTreeMap::new();
                for name in clients.asker.groups(&prefix)? {
                    let group = name[prefix.len()..].to_owned();
                    for (topic, partition, next) in book.committed(&group, &all)? {
                        found.insert((group.clone(), topic, partition), next);
                    }
                }
                for (group, places) in book.known().iter() {
                    for ((topic, partition), known) in places {
                        found.insert((group.clone(), topic.clone(), *partition), known.next);
                    }
                }
                Ok(found)
            };
            let found = self.blocking("reading the groups' offsets", look).await?;
            let offset = |((group, topic, partition), next)| GroupOffset { group, topic, partition, next };
            Ok(found.into_iter().map(offset).collect())
        })
        .await
    }
}

impl Kafka {
    /// Takes over what the brokers know of a group on a topic; false when that is nothing.
    async fn adopt(&self, group: &str, topic: &str, partitions: u32) -> Result<bool, BusError> {
        let (book, group, topic) = (self.groups.clone(), group.to_owned(), topic.to_owned());
        let doing = format!("reading offsets of group '{group}'");
        self.blocking(&doing, move |_| {
            let committed = book.committed(&group, &[(topic.clone(), partitions)])?;
            if committed.is_empty() {
                return Ok(false);
            }
            // A partition that has none yet is at its beginning.
            let next =
                |partition| committed.iter().find(|(_, p, _)| *p == partition).map_or(0, |(.., next)| *next);
            let places: Vec<_> = (0..partitions).map(|p| (topic.clone(), p, next(p))).collect();
            book.learn(&group, &places, false);
            Ok(true)
        })
        .await
    }
}
