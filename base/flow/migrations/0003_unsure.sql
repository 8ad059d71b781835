-- Partitions whose end could not be read when numbers jumped ahead: numbers from this one on may be in the log already. Null = none.
ALTER TABLE flow_sent ADD COLUMN unsure_from BIGINT;
