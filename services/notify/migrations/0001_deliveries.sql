-- Deliveries: what changes with each step, apart from what never does. Ids begin with the time, so their order is about that of
-- acceptance. Times are microseconds since 1970, UTC.
CREATE TABLE delivery (
    id UUID PRIMARY KEY,
    -- Counts the steps: whoever holds an older one holds an older state.
    rev BIGINT NOT NULL,
    state TEXT NOT NULL,
    -- The state machine's own form, as JSON.
    plan TEXT NOT NULL,
    -- The audit trail: a JSON document to a line.
    trail TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);
-- What waits for somebody is rare beside what is through, and is looked for.
CREATE INDEX delivery_open ON delivery (state, id) WHERE state <> 'sent' AND state <> 'delivered';

CREATE TABLE delivery_content (
    id UUID PRIMARY KEY,
    -- What deliveries to one recipient have in common; in order of it they are sent.
    recipient TEXT NOT NULL,
    subscriber TEXT,
    email TEXT,
    phone TEXT,
    supersede_key TEXT,
    accepted_at BIGINT NOT NULL,
    -- All else that was decided when it was accepted, as JSON: addresses, template, topic, lane, what was left out.
    content TEXT NOT NULL,
    -- What the template is filled with, as JSON.
    data TEXT NOT NULL
);
CREATE INDEX delivery_content_subscriber ON delivery_content (subscriber, id) WHERE subscriber IS NOT NULL;
CREATE INDEX delivery_content_email ON delivery_content (email, id) WHERE email IS NOT NULL;
CREATE INDEX delivery_content_phone ON delivery_content (phone, id) WHERE phone IS NOT NULL;
CREATE INDEX delivery_content_supersede ON delivery_content (supersede_key, id) WHERE supersede_key IS NOT NULL;

-- Attempts that may be on a wire, many to a row, written before anything is sent: what a node has begun when it dies.
CREATE TABLE delivery_begun (
    id UUID PRIMARY KEY,
    at BIGINT NOT NULL,
    -- How many of them have not ended.
    open BIGINT NOT NULL,
    -- [[delivery, leg, attempt, account], …]
    attempts TEXT NOT NULL
);

-- What providers call our attempts.
CREATE TABLE delivery_reference (
    account TEXT NOT NULL,
    reference TEXT NOT NULL,
    delivery UUID NOT NULL,
    leg BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (account, reference)
);
CREATE INDEX delivery_reference_at ON delivery_reference (at);

-- Receipts that came before we knew whose they are.
CREATE TABLE delivery_receipt (
    id UUID PRIMARY KEY,
    account TEXT NOT NULL,
    reference TEXT NOT NULL,
    receipt TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX delivery_receipt_reference ON delivery_receipt (account, reference);
CREATE INDEX delivery_receipt_at ON delivery_receipt (at);
