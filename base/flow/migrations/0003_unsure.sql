-- Partitions whose end could not be read when numbers jumped ahead: numbers from this one on may be in the log already. Null = none.
ALTER TABLE flow_sent ADD COLUMN unsure_from BIGINT;
-- Rows of one partition, where it was left behind by the others. With SQLite the numbers are the ids.
-- postgres: CREATE INDEX flow_outbox_place ON flow_outbox (topic, partition, seq) WHERE seq IS NOT NULL;
