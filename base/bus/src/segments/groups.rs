//! Registered groups: how far each has read, kept in memory and stored as one JSON file.

use super::disk::{Disk, read_all, replace};
use super::meta::{io_error, unreadable};
use super::sync::lock;
use crate::{BusError, GroupOffset};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Mutex;
use uuid::Uuid;

pub(super) const FILE: &str = "groups";

/// One group on one topic, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registered {
    group: String,
    topic: String,
    /// Of the topic it was registered on: one made again under the name is another.
    topic_id: Uuid,
    /// The next offset needed, per partition.
    next: Vec<i64>,
}

/// Stores the table, durable on return. It is not locked while the disk works; on an error it counts as ahead of the file.
pub(super) fn store(table: &Mutex<GroupTable>, disk: &dyn Disk, root: &Path) -> io::Result<()> {
    let content = {
        let mut table = lock(table);
        table.is_dirty = false;
        table.encode()
    };
    let stored = content.and_then(|content| replace(disk, root, FILE, &content));
    let mut table = lock(table);
    match stored {
        // Groups come and go in the thread that stores: none came meanwhile.
        Ok(()) => table.unstored.clear(),
        Err(_) => table.is_dirty = true,
    }
    stored
}

/// The table as its file would hold it now.
pub(super) fn encode(table: &Mutex<GroupTable>) -> io::Result<Vec<u8>> {
    lock(table).encode()
}

#[derive(Debug, Default)]
pub(super) struct GroupTable {
    /// By (topic, group).
    groups: BTreeMap<(String, String), Registered>,
    /// Whether memory is ahead of the file.
    is_dirty: bool,
    /// Those that the file may not have yet.
    unstored: BTreeSet<(String, String)>,
}

impl GroupTable {
    /// Reads the file; `topic_id` says which topics there are.
    pub fn load(
        disk: &dyn Disk,
        root: &Path,
        topic_id: impl Fn(&str) -> Option<Uuid>,
    ) -> Result<GroupTable, BusError> {
        let path = root.join(FILE);
        let file = match disk.open(&path, false) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(GroupTable::default()),
            Err(e) => return Err(io_error("opening", &path, &e)),
        };
        let content = read_all(file.as_ref()).map_err(|e| io_error("reading", &path, &e))?;
        let stored: Vec<Registered> =
            serde_json::from_slice(&content).map_err(|e| unreadable(&path, &e.to_string()))?;
        let known = stored.into_iter().filter(|g| topic_id(&g.topic) == Some(g.topic_id));
        let groups = known.map(|g| ((g.topic.clone(), g.group.clone()), g)).collect();
        Ok(GroupTable { groups, ..GroupTable::default() })
    }

    fn encode(&self) -> io::Result<Vec<u8>> {
        let groups: Vec<&Registered> = self.groups.values().collect();
        Ok(serde_json::to_vec(&groups)?)
    }

    pub fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether the group is registered, durably.
    pub fn is_stored(&self, group: &str, topic: &str) -> bool {
        let key = (topic.to_owned(), group.to_owned());
        self.groups.contains_key(&key) && !self.unstored.contains(&key)
    }

    pub fn insert(&mut self, group: &str, topic: &str, topic_id: Uuid, next: Vec<i64>) {
        let (group, topic) = (group.to_owned(), topic.to_owned());
        self.unstored.insert((topic.clone(), group.clone()));
        self.groups.insert((topic.clone(), group.clone()), Registered { group, topic, topic_id, next });
        self.is_dirty = true;
    }

    /// Whether the group was registered.
    pub fn remove(&mut self, group: &str, topic: &str) -> bool {
        let removed = self.groups.remove(&(topic.to_owned(), group.to_owned())).is_some();
        self.is_dirty |= removed;
        removed
    }

    /// Forgets all groups of a topic.
    pub fn remove_topic(&mut self, topic: &str) {
        let before = self.groups.len();
        self.groups.retain(|(of, _), _| of != topic);
        self.is_dirty |= self.groups.len() != before;
    }

    /// Whether `next` lies below where the group stands.
    pub fn is_back(&self, group: &str, topic: &str, partition: u32, next: i64) -> bool {
        let registered = self.groups.get(&(topic.to_owned(), group.to_owned()));
        let at = usize::try_from(partition).ok().and_then(|i| registered?.next.get(i));
        at.is_some_and(|at| next < *at)
    }

    /// Moves a group; whether memory just became ahead of the file, or `None` when the group is not registered.
    pub fn advise(&mut self, group: &str, topic: &str, partition: u32, next: i64) -> Option<bool> {
        let registered = self.groups.get_mut(&(topic.to_owned(), group.to_owned()))?;
        let slot = registered.next.get_mut(usize::try_from(partition).ok()?)?;
        if *slot == next {
            return Some(false);
        }
        *slot = next;
        let was_dirty = std::mem::replace(&mut self.is_dirty, true);
        Some(!was_dirty)
    }

    /// The group that is furthest behind on a partition, and the next offset it needs.
    pub fn slowest(&self, topic: &str, partition: u32) -> Option<(&str, i64)> {
        let of_topic = self.groups.range((topic.to_owned(), String::new())..);
        let partition = usize::try_from(partition).ok()?;
        of_topic
            .take_while(|((of, _), _)| of == topic)
            .filter_map(|((_, group), g)| g.next.get(partition).map(|next| (group.as_str(), *next)))
            .min_by_key(|(_, next)| *next)
    }

    pub fn offsets(&self) -> Vec<GroupOffset> {
        let each = self.groups.values().flat_map(|g| {
            (0u32..).zip(&g.next).map(|(partition, next)| GroupOffset {
                group: g.group.clone(),
                topic: g.topic.clone(),
                partition,
                next: *next,
            })
        });
        let mut offsets: Vec<GroupOffset> = each.collect();
        offsets.sort_by(|a, b| (&a.group, &a.topic, a.partition).cmp(&(&b.group, &b.topic, b.partition)));
        offsets
    }
}
