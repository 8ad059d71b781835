-- Tracked messages. Ids are UUIDv7, so their order is the order of acceptance at milliseconds.
-- status: 0 accepted, 1 produced, 2 consumed, 3 failed. Times are microseconds since 1970, UTC.
CREATE TABLE bridge_message (
    id UUID PRIMARY KEY,
    topic TEXT NOT NULL,
    key TEXT,
    value TEXT NOT NULL,
    headers TEXT NOT NULL,
    status BIGINT NOT NULL,
    partition BIGINT,
    position BIGINT,
    accepted_at BIGINT NOT NULL,
    produced_at BIGINT,
    consumed_at BIGINT,
    latency BIGINT
);
CREATE INDEX bridge_message_topic ON bridge_message (topic, id);
-- What is under way or failed is rare beside what is consumed, and is looked for.
CREATE INDEX bridge_message_open ON bridge_message (status, id) WHERE status <> 2;

-- Totals since the beginning: they outlive the messages.
CREATE TABLE bridge_total (
    name TEXT PRIMARY KEY,
    n BIGINT NOT NULL
);

-- Topics that the bridge has sent to and set a consumer on.
CREATE TABLE bridge_topic (
    name TEXT PRIMARY KEY
);

CREATE TABLE bridge_timer (
    id BIGINT PRIMARY KEY,
    enabled BOOLEAN NOT NULL,
    interval_ms BIGINT NOT NULL,
    topic TEXT NOT NULL
);
