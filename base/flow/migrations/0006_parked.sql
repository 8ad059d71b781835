-- Decisions about stopped keys, and indexes for what operators look for.

-- The parked key that waits for a decision about this letter; null = none does.
ALTER TABLE flow_dead ADD COLUMN holds UUID;
CREATE INDEX flow_dead_holds ON flow_dead (holds, position) WHERE holds IS NOT NULL;
-- Letters in the order of their logs: they are tried again in it.
CREATE INDEX flow_dead_place ON flow_dead (grp, topic, partition, position, id);

-- What is before this position is taken in though the key is stopped. Null = not stopped, or stopped by a version before this one.
ALTER TABLE flow_parked_key ADD COLUMN stopped_at BIGINT;
CREATE INDEX flow_parked_key_list ON flow_parked_key (grp, id);
