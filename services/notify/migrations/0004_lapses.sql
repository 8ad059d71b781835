-- works from 0001
-- When deliveries that have a validity go out of date; looked through for those that still wait by then.
CREATE TABLE delivery_lapse (
    at BIGINT NOT NULL,
    id UUID NOT NULL,
    PRIMARY KEY (at, id)
);
