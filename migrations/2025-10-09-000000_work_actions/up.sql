-- Actions that people own, with dates and a log of everything that is done about them; and lists of actions over a trust.

-- `laid_out[n]`: that the actions of stage n are rows of `actions`, all of them: so they are from the moment when somebody
-- touches one of them. Where it is null, none is. `raised_on[n]`: the day in Europe/London of `raised_at[n]`. Policy 0 is none.
--
-- Lists compare plain columns alone: under row-level security Postgres looks up no index by a function of which it does not know
-- that it leaks nothing.
ALTER TABLE episodes
    ADD COLUMN laid_out boolean[] NOT NULL DEFAULT '{}',
    ADD COLUMN raised_on date[] NOT NULL GENERATED ALWAYS AS (ARRAY[
        (raised_at[1] AT TIME ZONE 'Europe/London')::date, (raised_at[2] AT TIME ZONE 'Europe/London')::date,
        (raised_at[3] AT TIME ZONE 'Europe/London')::date, (raised_at[4] AT TIME ZONE 'Europe/London')::date,
        (raised_at[5] AT TIME ZONE 'Europe/London')::date
    ]) STORED;
UPDATE episodes SET policy_version = 0 WHERE policy_version IS NULL;

-- `state` is never 7: that an action is withdrawn follows from its episode. `raised_on` and `due_on` are days in Europe/London;
-- `due_on` is null where the policy names no number of days and nobody gave a date, and `due_moved` whether somebody did.
-- `list_on` is the date by which an action is listed.
-- `begun_at`: when work was first recorded, or the action was taken up again after it had been withdrawn. The defaults are for
-- rows that the version before writes while both run.
ALTER TABLE actions
    ADD COLUMN academic_year smallint NOT NULL DEFAULT 2025,
    ADD COLUMN stage smallint NOT NULL DEFAULT 1,
    ADD COLUMN raised_on date NOT NULL DEFAULT '2025-08-01',
    ADD COLUMN due_on date,
    ADD COLUMN list_on date NOT NULL GENERATED ALWAYS AS (coalesce(due_on, raised_on)) STORED,
    ADD COLUMN due_moved boolean NOT NULL DEFAULT false,
    ADD COLUMN assignee_id text,
    ADD COLUMN assignee_name text,
    ADD COLUMN begun_at timestamptz;

-- `details`: what is recorded beyond words, as far as the kind of the entry has it.
ALTER TABLE action_entries
    ADD COLUMN details jsonb,
    ADD COLUMN recorded_by_id text NOT NULL DEFAULT '';

-- How many days after it was raised the action of a provision is due, by the policy of its episode.
CREATE VIEW provision_deadlines WITH (security_invoker = true) AS
SELECT
    provisions.trust_id,
    provisions.catalogue_version,
    policies.policy_version,
    provisions.provision_id,
    provisions.stage,
    provisions.condition,
    provisions.responsible_roles,
    coalesce(
        policies.rule -> 'by_provision' ->> provisions.provision_id,
        policies.rule -> 'by_stage' ->> (provisions.stage - 1)
    )::integer AS days
FROM provisions
JOIN (
    SELECT trust_id, version AS policy_version, settings -> 'days_to_due' AS rule FROM policies WHERE activated_at IS NOT NULL
    UNION ALL
    SELECT trust_id, 0, NULL FROM trusts
) AS policies ON policies.trust_id = provisions.trust_id
WHERE provisions.subject = 'pupil';

-- What was touched before is laid out.
UPDATE actions SET begun_at = log.begun_at
FROM (
    SELECT trust_id, pupil_id, episode, provision_id, min(recorded_at) AS begun_at
    FROM action_entries
    WHERE kind = 'note' OR to_state IN (3, 4) OR from_state = 7
    GROUP BY trust_id, pupil_id, episode, provision_id
) AS log
WHERE log.trust_id = actions.trust_id AND log.pupil_id = actions.pupil_id AND log.episode = actions.episode
    AND log.provision_id = actions.provision_id AND actions.state <> 7;
UPDATE actions SET state = CASE provisions.condition WHEN 'always' THEN 2 ELSE 1 END
FROM episodes
JOIN provisions ON provisions.trust_id = episodes.trust_id AND provisions.catalogue_version = episodes.catalogue_version
WHERE actions.state = 7 AND episodes.trust_id = actions.trust_id AND episodes.pupil_id = actions.pupil_id
    AND episodes.episode = actions.episode AND provisions.provision_id = actions.provision_id;
INSERT INTO actions (
    trust_id, pupil_id, episode, provision_id, state, version, updated_at, academic_year, stage, raised_on,
    due_on
)
SELECT
    episodes.trust_id, episodes.pupil_id, episodes.episode, deadlines.provision_id,
    CASE deadlines.condition WHEN 'always' THEN 2 ELSE 1 END, 0, episodes.raised_at[touched.stage], episodes.academic_year,
    touched.stage,
    episodes.raised_on[touched.stage],
    episodes.raised_on[touched.stage] + deadlines.days
FROM (
    SELECT DISTINCT actions.trust_id, actions.pupil_id, actions.episode, provisions.stage
    FROM actions
    JOIN episodes USING (trust_id, pupil_id, episode)
    JOIN provisions USING (trust_id, catalogue_version, provision_id)
) AS touched
JOIN episodes USING (trust_id, pupil_id, episode)
JOIN provision_deadlines AS deadlines
    ON deadlines.trust_id = episodes.trust_id AND deadlines.catalogue_version = episodes.catalogue_version
    AND deadlines.policy_version = episodes.policy_version AND deadlines.stage = touched.stage
WHERE episodes.raised_at[touched.stage] IS NOT NULL
ON CONFLICT (trust_id, pupil_id, episode, provision_id) DO UPDATE
SET academic_year = EXCLUDED.academic_year, stage = EXCLUDED.stage, raised_on = EXCLUDED.raised_on, due_on = EXCLUDED.due_on;
UPDATE episodes SET laid_out = touched.laid_out
FROM (
    SELECT trust_id, pupil_id, episode, array_agg(CASE WHEN laid_out THEN true END ORDER BY stage) AS laid_out
    FROM (
        SELECT actions.trust_id, actions.pupil_id, actions.episode, stages.stage, bool_or(provisions.stage = stages.stage)
            AS laid_out
        FROM actions
        JOIN episodes USING (trust_id, pupil_id, episode)
        JOIN provisions USING (trust_id, catalogue_version, provision_id)
        CROSS JOIN generate_series(1, 5) AS stages(stage)
        GROUP BY actions.trust_id, actions.pupil_id, actions.episode, stages.stage
    ) AS by_stage
    GROUP BY trust_id, pupil_id, episode
) AS touched
WHERE touched.trust_id = episodes.trust_id AND touched.pupil_id = episodes.pupil_id AND touched.episode = episodes.episode;

-- Lists of actions by due date, and then by name. Those that are no rows: of each stage, episodes by the day on which it was
-- raised.
CREATE INDEX episodes_raised_1 ON episodes (
    trust_id, catalogue_version, policy_version, (closed_at IS NOT NULL), (raised_on[1]), pupil_id, episode
) WHERE raised_at[1] IS NOT NULL AND retracted_at[1] IS NULL AND laid_out[1] IS NULL;
CREATE INDEX episodes_raised_2 ON episodes (
    trust_id, catalogue_version, policy_version, (closed_at IS NOT NULL), (raised_on[2]), pupil_id, episode
) WHERE raised_at[2] IS NOT NULL AND retracted_at[2] IS NULL AND laid_out[2] IS NULL;
CREATE INDEX episodes_raised_3 ON episodes (
    trust_id, catalogue_version, policy_version, (closed_at IS NOT NULL), (raised_on[3]), pupil_id, episode
) WHERE raised_at[3] IS NOT NULL AND retracted_at[3] IS NULL AND laid_out[3] IS NULL;
CREATE INDEX episodes_raised_4 ON episodes (
    trust_id, catalogue_version, policy_version, (closed_at IS NOT NULL), (raised_on[4]), pupil_id, episode
) WHERE raised_at[4] IS NOT NULL AND retracted_at[4] IS NULL AND laid_out[4] IS NULL;
CREATE INDEX episodes_raised_5 ON episodes (
    trust_id, catalogue_version, policy_version, (closed_at IS NOT NULL), (raised_on[5]), pupil_id, episode
) WHERE raised_at[5] IS NOT NULL AND retracted_at[5] IS NULL AND laid_out[5] IS NULL;
CREATE INDEX episodes_retracted ON episodes (trust_id, pupil_id, episode) WHERE retracted_at <> '{}';
-- Those that are rows: with a date first, in its order, and then the others as they were raised.
CREATE INDEX actions_by_due ON actions (
    trust_id, academic_year, state, (due_on IS NULL), list_on, pupil_id, episode, provision_id
);
CREATE INDEX actions_by_stage ON actions (
    trust_id, academic_year, state, stage, (due_on IS NULL), list_on, pupil_id, episode, provision_id
);
CREATE INDEX actions_of_assignee ON actions (
    trust_id, assignee_id, (due_on IS NULL), list_on, pupil_id, episode, provision_id
) WHERE assignee_id IS NOT NULL;
CREATE INDEX actions_not_begun ON actions (
    trust_id, academic_year, state, stage, raised_on, pupil_id, episode, provision_id
) WHERE begun_at IS NULL;

-- Every action alike, touched or not. State 1 is to be considered, 2 open, 7 withdrawn; the rest are in `actions`.
-- `previous_episode` is the latest one before in which the same provision was raised.
CREATE OR REPLACE VIEW pupil_actions WITH (security_invoker = true) AS
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
    CASE
        WHEN episodes.retracted_at[provisions.stage] IS NOT NULL AND actions.begun_at IS NULL
            AND coalesce(actions.state, 7) IN (1, 2, 7) THEN 7
        WHEN coalesce(actions.state, 7) <> 7 THEN actions.state
        WHEN provisions.condition = 'always' THEN 2
        ELSE 1
    END::smallint AS state,
    coalesce(actions.version, 0) AS version,
    episodes.raised_at[provisions.stage] AS raised_at,
    CASE
        WHEN actions.begun_at IS NULL AND coalesce(actions.state, 7) IN (1, 2, 7)
            THEN greatest(actions.updated_at, episodes.raised_at[provisions.stage], episodes.retracted_at[provisions.stage])
        ELSE actions.updated_at
    END AS updated_at,
    (episodes.closed_at IS NOT NULL OR provisions.stage > pupil_stages.stage) AS beyond_stage,
    episodes.retracted_at[provisions.stage] IS NOT NULL AS never_reached,
    episodes.policy_version,
    coalesce(
        actions.due_on,
        episodes.raised_on[provisions.stage] + deadlines.days
    ) AS due_on,
    coalesce(actions.due_moved, false) AS due_moved,
    actions.assignee_id,
    actions.assignee_name,
    actions.begun_at,
    (
        SELECT earlier.episode
        FROM episodes AS earlier
        JOIN provisions AS known
            ON known.trust_id = earlier.trust_id
            AND known.catalogue_version = earlier.catalogue_version
            AND known.provision_id = provisions.provision_id
        WHERE earlier.trust_id = episodes.trust_id AND earlier.pupil_id = episodes.pupil_id
            AND earlier.opened_at < episodes.opened_at AND earlier.raised_at[known.stage] IS NOT NULL
        ORDER BY earlier.opened_at DESC, earlier.episode DESC
        LIMIT 1
    ) AS previous_episode
FROM episodes
JOIN pupil_stages
    ON pupil_stages.trust_id = episodes.trust_id AND pupil_stages.pupil_id = episodes.pupil_id
JOIN provisions
    ON provisions.trust_id = episodes.trust_id
    AND provisions.catalogue_version = episodes.catalogue_version
    AND provisions.subject = 'pupil'
    AND episodes.raised_at[provisions.stage] IS NOT NULL
LEFT JOIN LATERAL (
    SELECT
        coalesce(
            policies.settings -> 'days_to_due' -> 'by_provision' ->> provisions.provision_id,
            policies.settings -> 'days_to_due' -> 'by_stage' ->> (provisions.stage - 1)
        )::integer AS days
    FROM policies
    WHERE policies.trust_id = episodes.trust_id AND policies.version = episodes.policy_version
) AS deadlines ON true
LEFT JOIN actions
    ON actions.trust_id = episodes.trust_id
    AND actions.pupil_id = episodes.pupil_id
    AND actions.episode = episodes.episode
    AND actions.provision_id = provisions.provision_id;

GRANT SELECT ON provision_deadlines TO graduated_response_service;
