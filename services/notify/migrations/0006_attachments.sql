-- works from 0003
-- Files that go with deliveries. Those of one request stand here once, however many it is sent to, in the order in which they were
-- given; what they are called stands with each delivery.
CREATE TABLE attachment (
    set_id UUID NOT NULL,
    place BIGINT NOT NULL,
    content BYTEA NOT NULL,
    PRIMARY KEY (set_id, place)
);
-- Which deliveries carry them: with the last of these they go.
CREATE TABLE attachment_use (
    delivery UUID PRIMARY KEY,
    set_id UUID NOT NULL
);
CREATE INDEX attachment_use_set ON attachment_use (set_id);
