-- Timers, schedules and effects.

-- When a timer was due at first, where it has failed since: what bounds its retries.
ALTER TABLE flow_timer ADD COLUMN since BIGINT;

-- When a schedule ran last, and how many of its runs came due and never were.
ALTER TABLE flow_schedule ADD COLUMN ran_at BIGINT;
ALTER TABLE flow_schedule ADD COLUMN missed BIGINT NOT NULL DEFAULT 0;

-- How often the done handler of an effect has failed, beside the calls that `attempts` counts.
ALTER TABLE flow_effect ADD COLUMN untold BIGINT NOT NULL DEFAULT 0;
-- Those that are called now: few among many that wait.
CREATE INDEX flow_effect_claimed ON flow_effect (name, key) WHERE claimed_until IS NOT NULL;
