-- A feed of what is recorded on actions.

-- Positions are taken from the trust's counter under its lock, as those of transitions are. Entries of before are in the order
-- in which they were recorded. One that the version before writes while both run has no position: it is in its action's log,
-- and not in the feed.
ALTER TABLE feeds ADD COLUMN action_position bigint NOT NULL DEFAULT 0;
ALTER TABLE action_entries ADD COLUMN position bigint;
UPDATE action_entries AS e SET position = n.position
FROM (
    SELECT trust_id, pupil_id, episode, provision_id, ordinal, row_number() OVER (
        PARTITION BY trust_id ORDER BY recorded_at, pupil_id, episode, provision_id, ordinal
    ) AS position
    FROM action_entries
) AS n
WHERE e.trust_id = n.trust_id AND e.pupil_id = n.pupil_id AND e.episode = n.episode AND e.provision_id = n.provision_id
    AND e.ordinal = n.ordinal;
UPDATE feeds SET action_position = n.position
FROM (SELECT trust_id, count(*) AS position FROM action_entries GROUP BY trust_id) AS n
WHERE n.trust_id = feeds.trust_id;
CREATE UNIQUE INDEX action_entries_by_position ON action_entries (trust_id, position);
