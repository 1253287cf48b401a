DROP INDEX transitions_by_time;
