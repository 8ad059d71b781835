//! A row as it has to be on another log and other nodes.

use super::columns::{IDENTITIES, LANES, LOGS, OFFSETS, OWNED, PARKED, Position};
use crate::storage::parked;
use artel_bus::Shift;
use artel_store::{Kind, Table, Value};
use std::collections::HashMap;
use uuid::Uuid;

/// A topic that was carried.
#[derive(Debug, Clone)]
pub struct NewTopic {
    /// Its identity before and now.
    pub source: Uuid,
    pub target: Uuid,
    /// Where the records of each partition went.
    pub shifts: Vec<Shift>,
}

impl NewTopic {
    /// Where a place is now.
    pub fn offset(&self, partition: u32, offset: i64) -> i64 {
        let shift = usize::try_from(partition).ok().and_then(|partition| self.shifts.get(partition));
        shift.map_or(offset, |shift| shift.offset(offset))
    }
}

/// Where everything in the log went.
#[derive(Debug, Clone, Default)]
pub struct NewPlaces {
    topics: HashMap<String, NewTopic>,
    /// Of messages that are known by their place: (topic, partition, old offset) → identity.
    identities: HashMap<(String, u32, i64), Uuid>,
    /// Where the messages of parked keys come from.
    parked: HashMap<Uuid, (String, u32)>,
}

impl NewPlaces {
    pub fn add(&mut self, topic: String, new: NewTopic) {
        self.topics.insert(topic, new);
    }

    /// Where a topic went.
    pub fn of(&self, topic: &str) -> Option<&NewTopic> {
        self.topics.get(topic)
    }

    pub(super) fn identity(&mut self, topic: &str, partition: u32, offset: i64, id: Uuid) {
        self.identities.insert((topic.to_owned(), partition, offset), id);
    }

    pub(super) fn parked(&mut self, key: Uuid, topic: String, partition: u32) {
        self.parked.insert(key, (topic, partition));
    }

    /// The topic, if its log was the one with this identity.
    pub(super) fn topic(&self, topic: &str, log: Uuid) -> Option<&NewTopic> {
        self.topics.get(topic).filter(|new| new.source == log)
    }
}

/// The changes that the rows of one table need.
pub struct Rewrite<'a> {
    places: &'a NewPlaces,
    /// (topic, log)
    log: Option<(usize, usize)>,
    identities: Vec<(At, usize)>,
    offsets: Vec<At>,
    /// The parked key that a row belongs to, and the column with its offset.
    parked: Option<(usize, usize)>,
    lanes: Vec<At>,
    owned: Vec<usize>,
}

/// Where a place stands in a row.
struct At {
    topic: usize,
    partition: usize,
    offset: usize,
}

impl At {
    fn of(table: &Table, position: &Position) -> Option<At> {
        Some(At {
            topic: table.position(position.topic)?,
            partition: table.position(position.partition)?,
            offset: table.position(position.offset)?,
        })
    }

    fn read<'r>(&self, row: &'r [Value]) -> Option<(&'r str, u32, i64)> {
        match (&row[self.topic], &row[self.partition], &row[self.offset]) {
            (Value::Text(Some(topic)), Value::I64(Some(partition)), Value::I64(Some(offset))) => {
                Some((topic, u32::try_from(*partition).ok()?, *offset))
            }
            _ => None,
        }
    }
}

impl<'a> Rewrite<'a> {
    /// `own` are the positions in the service's own tables.
    pub fn of(table: &Table, own: &[Position], places: &'a NewPlaces) -> Rewrite<'a> {
        let of_table = |position: &&Position| position.table == table.name;
        let offsets = OFFSETS.iter().chain(own).filter(of_table);
        let log = LOGS.iter().find(|(name, ..)| *name == table.name);
        Rewrite {
            places,
            log: log.and_then(|(_, topic, log)| table.position(topic).zip(table.position(log))),
            identities: IDENTITIES
                .iter()
                .filter(|(position, _)| of_table(&position))
                .filter_map(|(position, column)| At::of(table, position).zip(table.position(column)))
                .collect(),
            offsets: offsets.filter_map(|position| At::of(table, position)).collect(),
            parked: (table.name == PARKED.0)
                .then(|| table.position(PARKED.1).zip(table.position(PARKED.2)))
                .flatten(),
            lanes: LANES.iter().filter(of_table).filter_map(|position| At::of(table, position)).collect(),
            owned: OWNED
                .iter()
                .filter(|(name, _)| *name == table.name)
                .filter_map(|(_, column)| table.position(column))
                .collect(),
        }
    }

    pub fn apply(&self, table: &Table, row: &mut [Value]) {
        for at in &self.owned {
            row[*at] = null(table.columns[*at].1);
        }
        if self.log.is_some_and(|log| !self.is_of_the_log(log, row)) {
            return;
        }
        // From where it was, so before that changes.
        for (at, column) in &self.identities {
            let place = at.read(row).map(|(topic, partition, offset)| (topic.to_owned(), partition, offset));
            if let Some(id) = place.and_then(|place| self.places.identities.get(&place)) {
                row[*column] = Value::Uuid(Some(*id));
            }
        }
        for at in &self.offsets {
            let new = at.read(row).and_then(|(topic, partition, offset)| {
                Some(self.places.topics.get(topic)?.offset(partition, offset))
            });
            if let Some(new) = new {
                row[at.offset] = Value::I64(Some(new));
            }
        }
        if let Some((key, offset)) = self.parked
            && let (Value::Uuid(Some(id)), Value::I64(Some(old))) = (&row[key], &row[offset])
            && let Some((topic, partition)) = self.places.parked.get(id)
            && let Some(new) = self.places.topics.get(topic)
        {
            row[offset] = Value::I64(Some(new.offset(*partition, *old)));
        }
        for at in &self.lanes {
            if let Some(new) = self.lane(at, row) {
                row[at.offset] = Value::Bytes(Some(new));
            }
        }
        if let Some((topic, log)) = self.log
            && let Value::Text(Some(name)) = &row[topic]
            && let Some(new) = self.places.topics.get(name)
        {
            row[log] = Value::Uuid(Some(new.target));
        }
    }

    /// The lane of a message without a key, where it lies now.
    fn lane(&self, at: &At, row: &[Value]) -> Option<Vec<u8>> {
        let (Value::Text(Some(topic)), Value::I64(Some(partition)), Value::Bytes(Some(lane))) =
            (&row[at.topic], &row[at.partition], &row[at.offset])
        else {
            return None;
        };
        let new = self.places.topics.get(topic)?;
        let offset = new.offset(u32::try_from(*partition).ok()?, parked::place_of(lane)?);
        Some(parked::lane(None, offset).to_vec())
    }

    fn is_of_the_log(&self, (topic, log): (usize, usize), row: &[Value]) -> bool {
        match (&row[topic], &row[log]) {
            (Value::Text(Some(topic)), Value::Uuid(Some(log))) => self.places.topic(topic, *log).is_some(),
            _ => false,
        }
    }
}

fn null(kind: Kind) -> Value {
    match kind {
        Kind::Bool => Value::Bool(None),
        Kind::I64 => Value::I64(None),
        Kind::F64 => Value::F64(None),
        Kind::Text => Value::Text(None),
        Kind::Bytes => Value::Bytes(None),
        Kind::Uuid => Value::Uuid(None),
        Kind::Json => Value::Json(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moving::Position;
    use artel_bus::{Log, Record, Segments, SegmentsConfig, TopicSpec, Topics, carry};
    use artel_message::Time;

    const OLD: Uuid = Uuid::from_u128(1);
    const NEW: Uuid = Uuid::from_u128(2);

    /// One topic whose partition 0 lies three places further on.
    async fn places() -> NewPlaces {
        let (a, b) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let open = |folder: &tempfile::TempDir| {
            Segments::open(folder.path(), SegmentsConfig::default()).expect("opens")
        };
        let (from, to) = (open(&a), open(&b));
        let record = Record { key: None, value: None, headers: &[], time: Time::from_millis(1) };
        for log in [&from, &to] {
            let name = "t".to_owned();
            let spec = TopicSpec { name, partitions: 1, retention_ms: None, retention_bytes: None };
            log.make(spec).await.expect("made");
        }
        from.append("t", 0, &[record; 10]).await.expect("appended");
        to.append("t", 0, &[record; 3]).await.expect("appended");
        let shift = carry(from.as_ref(), to.as_ref(), "t", 0, &|_| {}).await.expect("carried");
        let mut places = NewPlaces::default();
        places.add("t".to_owned(), NewTopic { source: OLD, target: NEW, shifts: vec![shift] });
        places
    }

    fn table(name: &str, columns: &[(&str, Kind)]) -> Table {
        let columns = columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        Table { name: name.to_owned(), columns }
    }

    fn offsets() -> Table {
        table(
            "flow_offset",
            &[
                ("topic", Kind::Text),
                ("partition", Kind::I64),
                ("next", Kind::I64),
                ("epoch", Kind::I64),
                ("log", Kind::Uuid),
                ("last_offset", Kind::I64),
                ("last_id", Kind::Uuid),
                ("owner", Kind::Uuid),
            ],
        )
    }

    fn offset(
        topic: &str,
        next: i64,
        log: Uuid,
        last: Option<i64>,
        id: u128,
        owner: Option<u128>,
    ) -> Vec<Value> {
        vec![
            Value::Text(Some(topic.to_owned())),
            Value::I64(Some(0)),
            Value::I64(Some(next)),
            Value::I64(Some(9)),
            Value::Uuid(Some(log)),
            Value::I64(last),
            Value::Uuid(Some(Uuid::from_u128(id))),
            Value::Uuid(owner.map(Uuid::from_u128)),
        ]
    }

    #[tokio::test]
    async fn places_follow_the_log_and_nobody_owns_them() {
        let mut places = places().await;
        places.identity("t", 0, 4, Uuid::from_u128(77));
        let table = offsets();
        let rewrite = Rewrite::of(&table, &[], &places);
        let changed = |mut row: Vec<Value>| {
            rewrite.apply(&table, &mut row);
            row
        };
        assert_eq!(
            changed(offset("t", 5, OLD, Some(4), 40, Some(3))),
            offset("t", 8, NEW, Some(7), 77, None)
        );
        assert_eq!(changed(offset("t", 10, OLD, None, 41, None)), offset("t", 13, NEW, None, 41, None));
        // A place of another log, or in a topic that is not moved, fits nothing there either.
        for (topic, log) in [("t", Uuid::nil()), ("u", OLD)] {
            assert_eq!(
                changed(offset(topic, 5, log, Some(4), 40, Some(3))),
                offset(topic, 5, log, Some(4), 40, None)
            );
        }
    }

    #[tokio::test]
    async fn what_is_parked_keeps_its_key_and_follows_its_place() {
        let mut places = places().await;
        let key = Uuid::from_u128(5);
        places.parked(key, "t".to_owned(), 0);
        let row = |offset| vec![Value::Uuid(Some(key)), Value::I64(Some(offset))];
        let parked = table("flow_parked", &[("hold", Kind::Uuid), ("position", Kind::I64)]);
        let mut changed = row(4);
        Rewrite::of(&parked, &[], &places).apply(&parked, &mut changed);
        assert_eq!(changed, row(7));

        let columns = [("topic", Kind::Text), ("partition", Kind::I64), ("key", Kind::Bytes)];
        let keys = table("flow_parked_key", &columns);
        let rewrite = Rewrite::of(&keys, &[], &places);
        let changed = |key: Option<&[u8]>, offset| {
            let lane = parked::lane(key, offset).to_vec();
            let mut row =
                vec![Value::Text(Some("t".to_owned())), Value::I64(Some(0)), Value::Bytes(Some(lane))];
            rewrite.apply(&keys, &mut row);
            row.pop()
        };
        let lane = |key: Option<&[u8]>, offset| Some(Value::Bytes(Some(parked::lane(key, offset).to_vec())));
        assert_eq!(changed(None, 4), lane(None, 7));
        // Eight bytes that are a key, and no place.
        assert_eq!(changed(Some(&[0; 8]), 4), lane(Some(&[0; 8]), 4));
    }

    #[tokio::test]
    async fn a_service_names_its_own_columns_and_other_tables_stay() {
        let places = places().await;
        let columns = [("topic", Kind::Text), ("partition", Kind::I64), ("at", Kind::I64)];
        let own = [Position { table: "shop_place", topic: "topic", partition: "partition", offset: "at" }];
        let row = |partition: Option<i64>, at: Option<i64>| {
            vec![Value::Text(Some("t".to_owned())), Value::I64(partition), Value::I64(at)]
        };
        let changed = |name: &str, mut row: Vec<Value>| {
            let table = table(name, &columns);
            Rewrite::of(&table, &own, &places).apply(&table, &mut row);
            row
        };
        assert_eq!(changed("shop_place", row(Some(0), Some(2))), row(Some(0), Some(5)));
        assert_eq!(changed("shop_place", row(Some(0), None)), row(Some(0), None));
        assert_eq!(changed("shop_place", row(None, Some(2))), row(None, Some(2)));
        assert_eq!(changed("shop_other", row(Some(0), Some(2))), row(Some(0), Some(2)));
    }
}
