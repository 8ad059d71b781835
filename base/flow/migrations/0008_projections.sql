-- Projections, and looking for what became of one message.

-- Where a group began in a partition: what lies before it never was the group's. Null = it began before this was kept.
ALTER TABLE flow_offset ADD COLUMN begun BIGINT;

-- What was given up of one message.
CREATE INDEX flow_dead_message ON flow_dead (message);

-- Versions of projections. state: building = it takes in what there is while another one serves; serving = it is read from;
-- replaced = a later one serves, it still takes in; retired = an operator removed it, and it takes in nothing.
CREATE TABLE flow_projection (
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (name, version)
);
