-- What is being moved here from an embedded node, or was. While a move is not done no node starts on this database.
CREATE TABLE move (
    id UUID PRIMARY KEY,
    -- The node that it comes from.
    source UUID NOT NULL,
    source_name TEXT NOT NULL,
    -- The log that it goes to.
    log TEXT NOT NULL,
    -- The topics that it makes, a JSON list.
    topics TEXT NOT NULL,
    -- Whether nothing was there before: then what is there is the move's own, and may be deleted to begin anew.
    empty BOOLEAN NOT NULL,
    began_at BIGINT NOT NULL,
    done_at BIGINT
);
