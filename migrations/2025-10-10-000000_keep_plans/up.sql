-- Plans of support for pupils, worked on in cycles.

-- Of its cycles `cycle` is the last. `provision_id` names the action that asks for it. `next_review_on` is the review of the
-- last cycle, null once the plan is closed; `list_on` is the day by which it is listed.
CREATE TABLE plans (
    trust_id uuid NOT NULL,
    plan_id uuid NOT NULL,
    pupil_id uuid NOT NULL,
    episode integer NOT NULL,
    provision_id text,
    cycle integer NOT NULL,
    closed boolean NOT NULL,
    started_on date NOT NULL,
    next_review_on date,
    ended_on date,
    list_on date NOT NULL GENERATED ALWAYS AS (coalesce(next_review_on, ended_on)) STORED,
    end_reason text,
    end_comment text,
    ended_by_name text,
    ended_by_position text,
    ended_by_id text,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (trust_id, plan_id),
    FOREIGN KEY (trust_id, pupil_id, episode) REFERENCES episodes,
    FOREIGN KEY (trust_id, pupil_id, episode, provision_id) REFERENCES actions,
    CHECK (closed = (next_review_on IS NULL) AND closed = (ended_on IS NOT NULL))
);
CREATE INDEX plans_by_review ON plans (trust_id, closed, list_on, plan_id);
CREATE INDEX plans_of_pupil ON plans (trust_id, pupil_id, episode);

-- `aims` is [{aim, change, by}], `agreed_by` [{party, person_name}]. Append only.
CREATE TABLE plan_cycles (
    trust_id uuid NOT NULL,
    plan_id uuid NOT NULL,
    cycle integer NOT NULL,
    aims jsonb NOT NULL,
    steps text NOT NULL,
    agreed_by jsonb NOT NULL,
    starts_on date NOT NULL,
    review_on date NOT NULL,
    recorded_by_name text NOT NULL,
    recorded_by_position text NOT NULL,
    recorded_by_id text NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (trust_id, plan_id, cycle),
    FOREIGN KEY (trust_id, plan_id) REFERENCES plans
);

-- The review that ended a cycle. `attendees` is [{party, person_name}]. Append only.
CREATE TABLE plan_reviews (
    trust_id uuid NOT NULL,
    plan_id uuid NOT NULL,
    cycle integer NOT NULL,
    found text NOT NULL,
    decision text NOT NULL,
    comment text NOT NULL,
    attendees jsonb NOT NULL,
    reviewed_on date NOT NULL,
    recorded_by_name text NOT NULL,
    recorded_by_position text NOT NULL,
    recorded_by_id text NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (trust_id, plan_id, cycle),
    FOREIGN KEY (trust_id, plan_id, cycle) REFERENCES plan_cycles
);

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['plans', 'plan_cycles', 'plan_reviews']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            'CREATE POLICY tenant ON %I USING (trust_id = nullif(current_setting(''app.trust_id'', true), '''')::uuid)',
            tenant_table
        );
    END LOOP;
END
$$;

GRANT SELECT, INSERT, UPDATE ON plans TO graduated_response_service;
GRANT SELECT, INSERT ON plan_cycles, plan_reviews TO graduated_response_service;
