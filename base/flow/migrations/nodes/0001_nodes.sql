-- Every node on this database, in a schema of its own: one beat for a process, whatever services it runs.
-- Times are microseconds since 1970, UTC, for people; liveness is told by `beat` alone.
CREATE TABLE node (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL,
    roles TEXT NOT NULL,
    peer TEXT,
    version TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    beat BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);
