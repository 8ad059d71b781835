-- works from 0001
-- Templates: which version is sent. Those that came with the program are their own version 1 and stand here once they were changed.
CREATE TABLE template (
    id TEXT PRIMARY KEY,
    -- What is sent; 0 = nothing any more.
    version BIGINT NOT NULL,
    -- The last number that was given.
    latest BIGINT NOT NULL
);
CREATE TABLE template_version (
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    -- JSON
    body TEXT NOT NULL,
    saved_at BIGINT NOT NULL,
    saved_by TEXT NOT NULL,
    PRIMARY KEY (id, version)
);

-- Rules: which version holds. read_topic: the topic of the log that it reads, null where it is not enabled or was taken away.
-- since: from which moment on. source, file_hash: of the file that it came from, and of what stood there when it was last applied.
CREATE TABLE rule (
    id TEXT PRIMARY KEY,
    version BIGINT NOT NULL,
    removed BOOLEAN NOT NULL,
    read_topic TEXT,
    since BIGINT,
    template TEXT NOT NULL,
    -- The topic of preferences.
    about TEXT NOT NULL,
    source TEXT,
    file_hash TEXT
);
CREATE INDEX rule_read_topic ON rule (read_topic) WHERE read_topic IS NOT NULL;
CREATE TABLE rule_version (
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    -- JSON
    body TEXT NOT NULL,
    saved_at BIGINT NOT NULL,
    saved_by TEXT NOT NULL,
    PRIMARY KEY (id, version)
);

-- Messages that a rule was about and could do nothing with.
CREATE TABLE rule_miss (
    rule TEXT NOT NULL,
    at BIGINT NOT NULL,
    id UUID NOT NULL,
    version BIGINT NOT NULL,
    topic TEXT NOT NULL,
    partition BIGINT NOT NULL,
    position BIGINT NOT NULL,
    cause TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (rule, at, id)
);
CREATE INDEX rule_miss_at ON rule_miss (at);

-- Events on their way to many subscribers, a page at a time.
CREATE TABLE fan_out (
    id UUID PRIMARY KEY,
    rule TEXT NOT NULL,
    version BIGINT NOT NULL,
    key TEXT NOT NULL,
    -- What ids of deliveries derive from.
    event_key TEXT NOT NULL,
    cause TEXT NOT NULL,
    at BIGINT NOT NULL,
    -- JSON
    event TEXT NOT NULL
);
