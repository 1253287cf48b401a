DROP TABLE penalty_notices, threshold_events;
