-- works from 0001
-- Subscribers. profile: JSON without addresses. Times are microseconds since 1970, UTC.
CREATE TABLE subscriber (
    id TEXT PRIMARY KEY,
    rev BIGINT NOT NULL,
    profile TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);

-- hash: SHA-256 of the address, as in suppression. value: JSON of the address. place: the order in which its owner gave them.
CREATE TABLE address (
    subscriber TEXT NOT NULL,
    hash TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    verified BOOLEAN NOT NULL,
    place BIGINT NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (subscriber, hash)
);
CREATE INDEX address_hash ON address (hash, subscriber);

-- Who hears of what is about a key of a topic.
CREATE TABLE subscription (
    topic TEXT NOT NULL,
    key TEXT NOT NULL,
    subscriber TEXT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (topic, key, subscriber)
);
CREATE INDEX subscription_subscriber ON subscription (subscriber, topic, key);

-- Addresses that nothing is sent to. The address itself is not kept: only its hash, and what pages may show of it.
CREATE TABLE suppression (
    hash TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    masked TEXT,
    reason TEXT NOT NULL,
    wish BOOLEAN NOT NULL,
    added_by TEXT NOT NULL,
    note TEXT,
    since BIGINT NOT NULL,
    ends BIGINT
);
CREATE INDEX suppression_since ON suppression (since, hash);
CREATE INDEX suppression_ends ON suppression (ends) WHERE ends IS NOT NULL;

-- Soft bounces of an address in a row.
CREATE TABLE soft_bounce (
    hash TEXT PRIMARY KEY,
    bounces BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL
);
CREATE INDEX soft_bounce_last ON soft_bounce (last_at);

-- What holds for a topic of preferences: JSON.
CREATE TABLE topic (
    name TEXT PRIMARY KEY,
    rev BIGINT NOT NULL,
    settings TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);
