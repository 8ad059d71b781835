-- works from 0008
-- Effects are claimed many at once: in the order of the index, whatever number of them is due at the same moment. Those without a key
-- have no place in the indexes of keys.
DROP INDEX flow_effect_due;
CREATE INDEX flow_effect_due ON flow_effect (name, due, made_at);
DROP INDEX flow_effect_key;
CREATE INDEX flow_effect_key ON flow_effect (name, key, made_at, id) WHERE key IS NOT NULL;
DROP INDEX flow_effect_claimed;
CREATE INDEX flow_effect_claimed ON flow_effect (name, key) WHERE claimed_until IS NOT NULL AND key IS NOT NULL;
