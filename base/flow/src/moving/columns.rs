//! Which columns hold what of a log, or of nodes. A new table of the flow with such a column has to be named here: the test below
//! fails until it is.

/// A column of a service's own tables that holds an offset of the log, for [`Service::positions`](crate::Service::positions).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub table: &'static str,
    /// The column with the topic's name.
    pub topic: &'static str,
    /// The column with the partition's number.
    pub partition: &'static str,
    pub offset: &'static str,
}

const fn position(table: &'static str, offset: &'static str) -> Position {
    Position { table, topic: "topic", partition: "partition", offset }
}

/// Offsets.
pub(super) const OFFSETS: &[Position] = &[
    position("flow_offset", "next"),
    position("flow_offset", "last_offset"),
    position("flow_offset", "begun"),
    position("flow_dead", "position"),
    position("flow_parked_key", "stopped_at"),
];

/// Offsets of messages behind parked keys: (table, the key's id, offset). The key has the topic and the partition.
pub(super) const PARKED: (&str, &str, &str) = ("flow_parked", "hold", "position");

/// Where a parked key may be a place: it stands for a message without a key.
pub(super) const LANES: &[Position] = &[position("flow_parked_key", "key")];

/// Identities of logs: (table, topic, column). In a row with one, nothing of it is changed unless it names the log that is moved.
pub(super) const LOGS: &[(&str, &str, &str)] = &[("flow_offset", "topic", "log")];

/// Identities of messages that may be derived from their place: the place, and the column.
pub(super) const IDENTITIES: &[(Position, &str)] = &[(position("flow_offset", "last_offset"), "last_id")];

/// What a node holds for a while: the new ones take it anew.
pub(super) const OWNED: &[(&str, &str)] = &[
    ("flow_offset", "owner"),
    ("flow_lease", "owner"),
    ("flow_effect", "owner"),
    ("flow_effect", "claimed_until"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use artel_store::{Store, StoreSettings};
    use std::collections::BTreeSet;

    /// Columns whose names look as if they belonged to a log or a node, and don't.
    const OTHERS: &[(&str, &str)] = &[
        // Numbers of the service itself: the same on any log, as consumers know them.
        ("flow_seq", "next"),
        ("flow_outbox", "seq"),
        ("flow_outbox", "prev"),
        ("flow_sent", "seq"),
        ("flow_high", "seq"),
        ("flow_sent", "unsure_from"),
        // Times.
        ("flow_schedule", "next"),
        // Yes or no.
        ("flow_parked_key", "stopped"),
        // Raised by whoever takes it anew.
        ("flow_offset", "epoch"),
        ("flow_lease", "epoch"),
        // Counts are the same: a topic keeps its partitions.
        ("flow_partitions", "partitions"),
        // `offset:N` of a group that has not begun is refused by `moving::check`.
        ("flow_group", "start_at"),
    ];

    fn looks_like_a_place(column: &str) -> bool {
        let words = [
            "offset", "position", "log", "next", "seq", "prev", "epoch", "owner", "claimed", "lease", "node",
        ];
        let parts = ["begin", "end", "last", "from", "start", "partitions", "stopped", "begun"];
        words.iter().any(|word| column.contains(word)) || column.split('_').any(|part| parts.contains(&part))
    }

    #[tokio::test]
    async fn every_column_that_looks_like_a_place_or_an_owner_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().display());
        let store = Store::open(&url, StoreSettings::default()).await.expect("opens");
        let db = store.db("shop").await.expect("opens");
        db.migrate(&[crate::tables()]).await.expect("migrated");
        let tables = db.tables().await.expect("listed");
        let there: BTreeSet<(&str, &str)> = tables
            .iter()
            .flat_map(|table| table.columns.iter().map(|(column, _)| (table.name.as_str(), column.as_str())))
            .collect();
        let moved = OFFSETS.iter().map(|position| (position.table, position.offset));
        let moved = moved.chain(LOGS.iter().map(|(table, _, column)| (*table, *column)));
        let moved = moved.chain(IDENTITIES.iter().map(|(position, column)| (position.table, *column)));
        let lanes = LANES.iter().map(|position| (position.table, position.offset));
        let moved = moved.chain([(PARKED.0, PARKED.2)]).chain(lanes);
        let known: BTreeSet<_> = moved.chain(OWNED.iter().copied()).chain(OTHERS.iter().copied()).collect();
        let gone: Vec<_> = known.difference(&there).collect();
        assert!(gone.is_empty(), "named here, and no column any more: {gone:?}");
        let unknown: Vec<_> =
            there.iter().filter(|place| looks_like_a_place(place.1) && !known.contains(*place)).collect();
        assert!(
            unknown.is_empty(),
            "`artel move` has to know what these hold; name them in OFFSETS, LOGS, IDENTITIES or OWNED, or in OTHERS if they are \
             the same on another log and other nodes: {unknown:?}"
        );
        // A table of the flow with topic and partition names a place of the log somewhere.
        let has = |table: &artel_store::Table, column| table.position(column).is_some();
        for table in tables.iter().filter(|table| has(table, "topic") && has(table, "partition")) {
            let is_known = known.iter().any(|(known, _)| *known == table.name);
            assert!(is_known, "{} has a topic and a partition, and nothing of it is named", table.name);
        }
    }
}
