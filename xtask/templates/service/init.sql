CREATE TABLE note (
    id UUID PRIMARY KEY,
    text TEXT NOT NULL,
    -- microseconds since 1970
    added_at BIGINT NOT NULL
);
