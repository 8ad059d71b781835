-- What several nodes on one database need.

-- Who has a partition; null = nobody. Every change of it raises the row's epoch, which is the fence.
ALTER TABLE flow_offset ADD COLUMN owner UUID;

-- Work that one node at a time does: the relay, and the keeper (timers, schedules, purges).
CREATE TABLE flow_lease (
    name TEXT PRIMARY KEY,
    owner UUID,
    epoch BIGINT NOT NULL
);
INSERT INTO flow_lease (name, owner, epoch) VALUES ('relay', NULL, 1), ('keeper', NULL, 1);

-- Whether consumers are given the row's seq; dead letters carry none.
ALTER TABLE flow_outbox ADD COLUMN numbered BOOLEAN NOT NULL DEFAULT TRUE;
UPDATE flow_outbox SET numbered = FALSE WHERE seq IS NULL;
-- postgres: CREATE SEQUENCE flow_outbox_id;
-- postgres: ALTER TABLE flow_outbox ALTER COLUMN id SET DEFAULT nextval('flow_outbox_id');
-- postgres: CREATE INDEX flow_outbox_new ON flow_outbox (id) WHERE seq IS NULL;

-- How many partitions each topic of the service has had since it was made: keys lie where they do because of it.
CREATE TABLE flow_partitions (
    topic TEXT PRIMARY KEY,
    partitions BIGINT NOT NULL
);

-- Counters in several rows each, so that transactions that have nothing else in common don't meet on one row.
CREATE TABLE flow_counter (
    scope TEXT NOT NULL,
    kind TEXT NOT NULL,
    shard BIGINT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (scope, kind, shard)
);
INSERT INTO flow_counter (scope, kind, shard, n) SELECT grp, kind, 0, n FROM flow_count;
DROP TABLE flow_count;

-- Rows that change with each batch keep their new versions in their own page, so that the index pages which other
-- transactions have read stay as they are.
-- postgres: ALTER TABLE flow_offset SET (fillfactor = 40);
-- postgres: ALTER TABLE flow_high SET (fillfactor = 40);
-- postgres: ALTER TABLE flow_counter SET (fillfactor = 40);
-- postgres: ALTER TABLE flow_sent SET (fillfactor = 40);
-- postgres: ALTER TABLE flow_lease SET (fillfactor = 40);
