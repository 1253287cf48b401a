DROP INDEX action_entries_by_position;
ALTER TABLE action_entries DROP COLUMN position;
ALTER TABLE feeds DROP COLUMN action_position;
