-- What a pupil's record has reached: raised once, cleared where a correction undoes it, and raised anew where it is reached
-- again. A session is 2 x (date - 2000-01-01) + (PM ? 1 : 0). What was raised is never changed or removed.
CREATE TABLE threshold_events (
    trust_id uuid NOT NULL,
    event_id uuid NOT NULL,
    pupil_id uuid NOT NULL,
    kind smallint NOT NULL,
    academic_year smallint NOT NULL,
    proved_by integer NOT NULL,
    sessions integer[] NOT NULL,
    raised_at timestamptz NOT NULL,
    request_id uuid,
    cleared_at timestamptz,
    cleared_request_id uuid,
    PRIMARY KEY (trust_id, event_id),
    FOREIGN KEY (trust_id, pupil_id) REFERENCES pupils
);
CREATE UNIQUE INDEX threshold_events_standing ON threshold_events (trust_id, pupil_id, academic_year, kind, proved_by)
    WHERE cleared_at IS NULL;
CREATE INDEX threshold_events_by_session ON threshold_events (trust_id, proved_by, event_id);

-- A penalty notice that a local authority issued. Its sessions count for no other. A cancelled one stays on record.
CREATE TABLE penalty_notices (
    trust_id uuid NOT NULL,
    notice_id uuid NOT NULL,
    pupil_id uuid NOT NULL,
    issued_on date NOT NULL,
    reference text NOT NULL,
    sessions integer[] NOT NULL,
    recorded_by_name text NOT NULL,
    recorded_by_position text NOT NULL,
    recorded_at timestamptz NOT NULL,
    request_id uuid,
    cancelled_reason text,
    cancelled_by_name text,
    cancelled_by_position text,
    cancelled_at timestamptz,
    PRIMARY KEY (trust_id, notice_id),
    FOREIGN KEY (trust_id, pupil_id) REFERENCES pupils
);
CREATE INDEX penalty_notices_of_pupil ON penalty_notices (trust_id, pupil_id);
CREATE UNIQUE INDEX penalty_notices_of_request ON penalty_notices (trust_id, request_id) WHERE request_id IS NOT NULL;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['threshold_events', 'penalty_notices']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            'CREATE POLICY tenant ON %I USING (trust_id = nullif(current_setting(''app.trust_id'', true), '''')::uuid)',
            tenant_table
        );
    END LOOP;
END
$$;

GRANT SELECT, INSERT, UPDATE (cleared_at, cleared_request_id) ON threshold_events TO graduated_response_service;
GRANT SELECT, INSERT, UPDATE (cancelled_reason, cancelled_by_name, cancelled_by_position, cancelled_at)
    ON penalty_notices TO graduated_response_service;
