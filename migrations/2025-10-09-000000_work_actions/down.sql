-- What the version before does not know is kept in words.
UPDATE action_entries SET kind = 'note', text = concat_ws(E'\n', nullif(text, ''), kind || ': ' || details::text)
WHERE kind NOT IN ('state_change', 'note');
-- It tells withdrawn actions by their state, and has rows of those alone that somebody has touched.
DELETE FROM actions WHERE version = 0;
UPDATE actions SET state = 7
FROM episodes
JOIN provisions USING (trust_id, catalogue_version)
WHERE actions.begun_at IS NULL AND actions.state IN (1, 2) AND episodes.trust_id = actions.trust_id
    AND episodes.pupil_id = actions.pupil_id AND episodes.episode = actions.episode
    AND provisions.provision_id = actions.provision_id AND episodes.retracted_at[provisions.stage] IS NOT NULL;
DROP VIEW pupil_actions, provision_deadlines;
DROP INDEX actions_not_begun, actions_of_assignee, actions_by_stage, actions_by_due;
DROP INDEX
    episodes_retracted, episodes_raised_1, episodes_raised_2, episodes_raised_3, episodes_raised_4, episodes_raised_5;
ALTER TABLE action_entries DROP COLUMN details, DROP COLUMN recorded_by_id;
ALTER TABLE actions
    DROP COLUMN academic_year,
    DROP COLUMN stage,
    DROP COLUMN list_on,
    DROP COLUMN raised_on,
    DROP COLUMN due_on,
    DROP COLUMN due_moved,
    DROP COLUMN assignee_id,
    DROP COLUMN assignee_name,
    DROP COLUMN begun_at;
ALTER TABLE episodes DROP COLUMN laid_out, DROP COLUMN raised_on;
CREATE VIEW pupil_actions WITH (security_invoker = true) AS
SELECT
    episodes.trust_id,
    episodes.pupil_id,
    episodes.episode,
    provisions.provision_id,
    provisions.ordinal,
    provisions.stage,
    provisions.title,
    provisions.guidance,
    provisions.kind,
    provisions.condition,
    provisions.review_days,
    provisions.responsible_roles,
    coalesce(
        actions.state,
        CASE
            WHEN episodes.retracted_at[provisions.stage] IS NOT NULL THEN 7
            WHEN provisions.condition = 'always' THEN 2
            ELSE 1
        END
    )::smallint AS state,
    coalesce(actions.version, 0) AS version,
    episodes.raised_at[provisions.stage] AS raised_at,
    coalesce(actions.updated_at, episodes.retracted_at[provisions.stage], episodes.raised_at[provisions.stage])
        AS updated_at,
    (episodes.closed_at IS NOT NULL OR provisions.stage > pupil_stages.stage) AS beyond_stage,
    episodes.retracted_at[provisions.stage] IS NOT NULL AS never_reached,
    episodes.policy_version
FROM episodes
JOIN pupil_stages
    ON pupil_stages.trust_id = episodes.trust_id AND pupil_stages.pupil_id = episodes.pupil_id
JOIN provisions
    ON provisions.trust_id = episodes.trust_id
    AND provisions.catalogue_version = episodes.catalogue_version
    AND provisions.subject = 'pupil'
    AND episodes.raised_at[provisions.stage] IS NOT NULL
LEFT JOIN actions
    ON actions.trust_id = episodes.trust_id
    AND actions.pupil_id = episodes.pupil_id
    AND actions.episode = episodes.episode
    AND actions.provision_id = provisions.provision_id;
GRANT SELECT ON pupil_actions TO graduated_response_service;
