-- Policies through time, holds, retractions and background jobs.

-- A draft can be changed until it is first activated; from then on it never is.
ALTER TABLE policies
    ADD COLUMN title text NOT NULL DEFAULT '',
    ADD COLUMN revision bigint NOT NULL DEFAULT 1,
    ADD COLUMN updated_at timestamptz;

-- That a policy came into force, for one school or for all that have none of their own. No version: the school follows the
-- trust again. Append only.
CREATE TABLE policy_activations (
    trust_id uuid NOT NULL,
    ordinal integer NOT NULL,
    school_id uuid,
    version integer,
    activated_at timestamptz NOT NULL,
    activated_by_name text NOT NULL,
    activated_by_position text NOT NULL,
    PRIMARY KEY (trust_id, ordinal),
    FOREIGN KEY (trust_id, version) REFERENCES policies,
    FOREIGN KEY (trust_id, school_id) REFERENCES schools,
    CHECK (version IS NOT NULL OR school_id IS NOT NULL)
);
INSERT INTO policy_activations
    (trust_id, ordinal, version, activated_at, activated_by_name, activated_by_position)
SELECT trust_id, row_number() OVER (PARTITION BY trust_id ORDER BY activated_at, version), version, activated_at,
    'graduated-response', 'the service'
FROM policies
WHERE activated_at IS NOT NULL;

-- A person keeps a pupil at a stage that the numbers do not give. Kind 1 is at least at `stage`, 2 delays a fall, 3 confirms
-- a fall that waited, on its one day. `ends_on` is the end that was set first; a hold ended before it keeps it.
CREATE TABLE holds (
    trust_id uuid NOT NULL,
    pupil_id uuid NOT NULL,
    hold_id uuid NOT NULL,
    kind smallint NOT NULL CHECK (kind BETWEEN 1 AND 3),
    stage smallint CHECK (stage BETWEEN 1 AND 5),
    starts_on date NOT NULL,
    ends_on date NOT NULL CHECK (ends_on >= starts_on),
    reason text NOT NULL,
    created_by_name text NOT NULL,
    created_by_position text NOT NULL,
    created_at timestamptz NOT NULL,
    request_id uuid,
    ended_on date,
    ended_reason text,
    ended_by_name text,
    ended_by_position text,
    ended_at timestamptz,
    PRIMARY KEY (trust_id, hold_id),
    FOREIGN KEY (trust_id, pupil_id) REFERENCES pupils,
    CHECK ((kind = 1) = (stage IS NOT NULL))
);
CREATE UNIQUE INDEX holds_of_request ON holds (trust_id, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX holds_of_pupil ON holds (trust_id, pupil_id);
CREATE INDEX holds_by_end ON holds (trust_id, ends_on, hold_id);

-- Work that goes on after the call that asked for it. Whoever holds the advisory lock of a job does it; a job that is not
-- finished and not locked is begun anew by any replica.
CREATE TABLE jobs (
    trust_id uuid NOT NULL REFERENCES trusts,
    job_id uuid NOT NULL,
    kind text NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'running', 'succeeded', 'failed')),
    settings jsonb NOT NULL,
    done bigint NOT NULL DEFAULT 0,
    total bigint NOT NULL DEFAULT 0,
    outcome jsonb,
    failure text,
    attempts integer NOT NULL DEFAULT 0,
    requested_by_name text NOT NULL,
    requested_by_position text NOT NULL,
    request_id uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (trust_id, job_id)
);
CREATE UNIQUE INDEX jobs_of_request ON jobs (trust_id, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX jobs_unfinished ON jobs (trust_id, created_at) WHERE state IN ('pending', 'running');

-- `next_review_on`: the day on which the stage may change although no mark is written. The judged counts are there where
-- they are others than the registers' of the year to date. `has_holds`: whether the pupil ever had a hold, so that who never
-- had one costs no look-up.
ALTER TABLE pupil_stages
    ADD COLUMN next_review_on date,
    ADD COLUMN judged_attended integer,
    ADD COLUMN judged_possible integer,
    ADD COLUMN judged_unauthorised integer,
    ADD COLUMN judged_from date,
    ADD COLUMN hold_id uuid,
    ADD COLUMN fall_waits boolean NOT NULL DEFAULT false,
    ADD COLUMN has_holds boolean NOT NULL DEFAULT false;
CREATE INDEX pupil_stages_to_review ON pupil_stages (trust_id, next_review_on) WHERE next_review_on IS NOT NULL;

-- `retracted_at[n]`: when a correction showed that stage n was never reached; null again once it was raised anew.
-- `started_on`: the day from which the pupil was away from stage U. `policy_version`: the policy that gives the due dates.
ALTER TABLE episodes
    ADD COLUMN retracted_at timestamptz[] NOT NULL DEFAULT '{}',
    ADD COLUMN started_on date,
    ADD COLUMN policy_version integer;

-- `retracted_to`: the stage of greatest need that was reached after all, where a correction showed that those beyond it,
-- whose provisions had been raised, never were. A row with the same stage twice tells of nothing else.
ALTER TABLE transitions
    ADD COLUMN retracted_to smallint,
    ADD COLUMN hold_id uuid;

-- Every action alike, touched or not. State 1 is to be considered, 2 open, 7 withdrawn; the rest are in `actions`.
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

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['policy_activations', 'holds', 'jobs']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            'CREATE POLICY tenant ON %I USING (trust_id = nullif(current_setting(''app.trust_id'', true), '''')::uuid)',
            tenant_table
        );
    END LOOP;
END
$$;

GRANT SELECT, INSERT, UPDATE ON holds, jobs TO graduated_response_service;
GRANT SELECT, INSERT ON policy_activations TO graduated_response_service;
