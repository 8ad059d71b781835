-- works from 0007
-- Deliveries that were given up, sent again by the thousand: how far each such replay is.
CREATE TABLE replay (
    id UUID PRIMARY KEY,
    -- running, ended, stopped
    state TEXT NOT NULL,
    -- Which ones, how fast, who and why: JSON.
    about TEXT NOT NULL,
    -- Deliveries up to this id were looked at; those before the other one are to be.
    behind UUID NOT NULL,
    before UUID NOT NULL,
    looked BIGINT NOT NULL,
    again BIGINT NOT NULL,
    -- Why others were not sent again, and how many: JSON.
    refused TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT
);
