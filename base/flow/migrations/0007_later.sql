-- Timers, schedules and effects: what bounds their retries, and in what order they come.

-- When the call of an effect failed first, or, where its result is known, when its done handler did.
ALTER TABLE flow_effect ADD COLUMN failed_at BIGINT;

-- The place of a timer among those that its transaction set: of two that are due at once the first one fires first.
ALTER TABLE flow_timer ADD COLUMN ordinal BIGINT NOT NULL DEFAULT 0;
DROP INDEX flow_timer_due;
CREATE INDEX flow_timer_due ON flow_timer (due, ordinal);

-- The run that was tried in time, or asked for, and is not done yet: it is not missed, however late it is by now.
ALTER TABLE flow_schedule ADD COLUMN began BIGINT;
