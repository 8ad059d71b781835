-- Keys whose first message failed: their later messages wait behind it in order, other keys go on.

-- One row per parked key. It is the lock: who adds to a key or takes from it changes this row first.
-- key: byte 0 = the message has none (its offset follows), 1 = as it is, 2 = SHA-256 of one above 512 bytes.
-- waiting: messages behind it, the first one among them; none waits where the key is stopped and its message was given up.
-- version: another one whenever the first message, or what is known of it, changes.
-- due: when the first message is tried again; stopped keys are never due.
-- attempts, failed_at, code, reason, fingerprint, errors: of the first message; null until it has failed.
CREATE TABLE flow_parked_key (
    id UUID PRIMARY KEY,
    grp TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition BIGINT NOT NULL,
    key BYTEA NOT NULL,
    waiting BIGINT NOT NULL,
    version BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    due BIGINT NOT NULL,
    stopped BOOLEAN NOT NULL,
    parked_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    failed_at BIGINT,
    code TEXT,
    reason TEXT,
    fingerprint TEXT,
    errors TEXT
);
CREATE UNIQUE INDEX flow_parked_key_place ON flow_parked_key (grp, topic, partition, key);
CREATE INDEX flow_parked_key_due ON flow_parked_key (grp, due);
CREATE INDEX flow_parked_key_age ON flow_parked_key (grp, parked_at);

-- What waits, in the order of the log. ours: its source is believed, and its id with it.
CREATE TABLE flow_parked (
    hold UUID NOT NULL,
    position BIGINT NOT NULL,
    cause UUID NOT NULL,
    caused_at BIGINT NOT NULL,
    ours BOOLEAN NOT NULL,
    time BIGINT NOT NULL,
    key BYTEA,
    headers BYTEA NOT NULL,
    value BYTEA,
    letter UUID,
    PRIMARY KEY (hold, position)
);
-- postgres: ALTER TABLE flow_parked_key SET (fillfactor = 60);

-- What a dead letter needs to be tried again as it was, and to be found by its cause. Null in letters from before.
ALTER TABLE flow_dead ADD COLUMN cause UUID;
ALTER TABLE flow_dead ADD COLUMN caused_at BIGINT;
ALTER TABLE flow_dead ADD COLUMN ours BOOLEAN;
ALTER TABLE flow_dead ADD COLUMN time BIGINT;
ALTER TABLE flow_dead ADD COLUMN failed_at BIGINT;
ALTER TABLE flow_dead ADD COLUMN fingerprint TEXT;
ALTER TABLE flow_dead ADD COLUMN errors TEXT;
CREATE INDEX flow_dead_cause ON flow_dead (fingerprint, at);

-- Who did what to messages by hand, and why.
CREATE TABLE flow_audit (
    id UUID PRIMARY KEY,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL,
    reason TEXT
);
CREATE INDEX flow_audit_at ON flow_audit (at);

-- An operator moved the place: the next message of the source is taken whatever its prev. Null = as before.
ALTER TABLE flow_high ADD COLUMN loose BOOLEAN;
