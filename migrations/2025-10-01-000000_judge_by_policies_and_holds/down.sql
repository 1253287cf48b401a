DROP VIEW pupil_actions;
ALTER TABLE transitions DROP COLUMN retracted_to, DROP COLUMN hold_id;
ALTER TABLE episodes DROP COLUMN retracted_at, DROP COLUMN started_on, DROP COLUMN policy_version;
ALTER TABLE pupil_stages
    DROP COLUMN next_review_on,
    DROP COLUMN judged_attended,
    DROP COLUMN judged_possible,
    DROP COLUMN judged_unauthorised,
    DROP COLUMN judged_from,
    DROP COLUMN hold_id,
    DROP COLUMN fall_waits,
    DROP COLUMN has_holds;
DROP TABLE jobs, holds, policy_activations;
ALTER TABLE policies DROP COLUMN title, DROP COLUMN revision, DROP COLUMN updated_at;
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
    coalesce(actions.state, CASE provisions.condition WHEN 'always' THEN 2 ELSE 1 END)::smallint AS state,
    coalesce(actions.version, 0) AS version,
    episodes.raised_at[provisions.stage] AS raised_at,
    coalesce(actions.updated_at, episodes.raised_at[provisions.stage]) AS updated_at,
    (episodes.closed_at IS NOT NULL OR provisions.stage > pupil_stages.stage) AS beyond_stage
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
