-- works from 0001
-- Events that rules took which know them by what stands in them (once_per). event: of the rule and what only the event has. message: of
-- what the message is known by that brought it. Both are the first half of a SHA-256. Times are microseconds since 1970, UTC.
CREATE TABLE rule_event (
    event UUID PRIMARY KEY,
    message UUID NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX rule_event_at ON rule_event (at);
