-- The flow's own tables, in every service's database. Times are microseconds since 1970, UTC.

-- The counter that outbox ids (and, on one writer, seqs) come from: a bare row id would start again on an empty table.
CREATE TABLE flow_seq (
    id BIGINT PRIMARY KEY,
    next BIGINT NOT NULL
);

-- What has been committed and not yet been confirmed by the log.
CREATE TABLE flow_outbox (
    id BIGINT PRIMARY KEY,
    topic TEXT NOT NULL,
    partition BIGINT,
    seq BIGINT,
    prev BIGINT,
    message UUID NOT NULL,
    name TEXT NOT NULL,
    key BYTEA,
    headers BYTEA NOT NULL,
    value BYTEA,
    at BIGINT NOT NULL
);

-- The last seq given per partition; unchanged by jumps and repeats.
CREATE TABLE flow_sent (
    topic TEXT NOT NULL,
    partition BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- How far each group is: the fence of every take-in.
CREATE TABLE flow_offset (
    grp TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition BIGINT NOT NULL,
    next BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    log UUID NOT NULL,
    last_offset BIGINT,
    last_id UUID,
    PRIMARY KEY (grp, topic, partition)
);

-- The highest seq taken in, per source: what makes repeats known without a row per message.
CREATE TABLE flow_high (
    grp TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition BIGINT NOT NULL,
    source TEXT NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (grp, topic, partition, source)
);

-- Replies kept for repeats of a command with a key.
CREATE TABLE flow_answered (
    caller TEXT NOT NULL,
    command TEXT NOT NULL,
    key TEXT NOT NULL,
    hash BYTEA NOT NULL,
    ok BOOLEAN NOT NULL,
    reply BYTEA NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (caller, command, key)
);
CREATE INDEX flow_answered_until ON flow_answered (until);

-- Groups made at run time.
CREATE TABLE flow_group (
    name TEXT PRIMARY KEY,
    id UUID NOT NULL,
    topic TEXT NOT NULL,
    start_at TEXT NOT NULL,
    wanted TEXT NOT NULL,
    made_at BIGINT NOT NULL
);

-- Topics that this service made at run time: only it may write there with a seq.
CREATE TABLE flow_topic (
    name TEXT PRIMARY KEY,
    made_at BIGINT NOT NULL
);

CREATE TABLE flow_timer (
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    ordered_by TEXT,
    due BIGINT NOT NULL,
    body BYTEA NOT NULL,
    cause UUID NOT NULL,
    trace TEXT,
    attempts BIGINT NOT NULL,
    PRIMARY KEY (name, key)
);
CREATE INDEX flow_timer_due ON flow_timer (due);

CREATE TABLE flow_effect (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL,
    key TEXT,
    body BYTEA NOT NULL,
    trace TEXT,
    made_at BIGINT NOT NULL,
    due BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    owner UUID,
    claimed_until BIGINT,
    ok BOOLEAN,
    result BYTEA
);
CREATE INDEX flow_effect_due ON flow_effect (name, due);
CREATE INDEX flow_effect_key ON flow_effect (name, key, made_at, id);

CREATE TABLE flow_schedule (
    name TEXT PRIMARY KEY,
    cron TEXT NOT NULL,
    next BIGINT NOT NULL
);

-- Messages given up on, with everything that is needed to look at them and to run them again.
CREATE TABLE flow_dead (
    id UUID PRIMARY KEY,
    grp TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition BIGINT NOT NULL,
    position BIGINT NOT NULL,
    message UUID NOT NULL,
    name TEXT,
    key BYTEA,
    headers BYTEA NOT NULL,
    value BYTEA,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX flow_dead_at ON flow_dead (at);

-- What became of messages that ran no handler, counted for good: repeat, unhandled, expired, foreign, dead.
CREATE TABLE flow_count (
    grp TEXT NOT NULL,
    kind TEXT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (grp, kind)
);
