-- Which moves were recorded in a period, whoever's they are.
CREATE INDEX transitions_by_time ON transitions (trust_id, recorded_at);
