-- The topics of a move that keep their messages for ever, because a group needs some that brokers might remove: a JSON list. Whoever
-- asks for the move's end again is told of them again.
ALTER TABLE move ADD COLUMN kept TEXT NOT NULL DEFAULT '[]';
