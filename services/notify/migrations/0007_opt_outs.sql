-- works from 0006
-- Addresses of people who are no subscribers, and topics that they want to hear no more of. hash: as in suppression.
CREATE TABLE opt_out (
    hash TEXT NOT NULL,
    topic TEXT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (hash, topic)
);
