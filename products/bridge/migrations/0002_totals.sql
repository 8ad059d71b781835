-- Totals are counters of the runtime now, which transactions of several nodes can raise side by side.
INSERT INTO flow_counter (scope, kind, shard, n) SELECT '', name, 0, n FROM bridge_total;
DROP TABLE bridge_total;
