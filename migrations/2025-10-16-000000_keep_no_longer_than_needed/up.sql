-- How long things are kept, who may not be touched meanwhile, and how a person goes out of the record. The service's role still
-- removes nothing and changes nothing that was recorded: four functions of the tables' owner do, each of which looks for itself
-- whose rows they are, whether they are old enough, and whether a legal hold stands.

-- Set by an erasure of who the pupil was.
ALTER TABLE pupils ADD COLUMN erased_at timestamptz;

-- For how many years each kind is kept after the academic year that it belongs to. The highest version stands; without one the
-- numbers of `retention_years` do. Append only.
CREATE TABLE retention_rules (
    trust_id uuid NOT NULL REFERENCES trusts,
    version bigint NOT NULL,
    registers_years smallint NOT NULL CHECK (registers_years BETWEEN 6 AND 100),
    actions_years smallint NOT NULL CHECK (actions_years BETWEEN 2 AND 100),
    history_years smallint NOT NULL CHECK (history_years BETWEEN registers_years AND 100),
    pupils_years smallint NOT NULL CHECK (pupils_years BETWEEN 6 AND 100),
    requests_years smallint NOT NULL CHECK (requests_years BETWEEN 1 AND 100),
    reason text NOT NULL,
    updated_by_name text NOT NULL,
    updated_by_position text NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (trust_id, version)
);

-- Somebody has to keep everything of a pupil. It stands until it is lifted. Append only.
CREATE TABLE legal_holds (
    trust_id uuid NOT NULL,
    legal_hold_id uuid NOT NULL,
    pupil_id uuid NOT NULL,
    reason text NOT NULL,
    placed_by_name text NOT NULL,
    placed_by_position text NOT NULL,
    placed_at timestamptz NOT NULL,
    request_id uuid,
    PRIMARY KEY (trust_id, legal_hold_id),
    FOREIGN KEY (trust_id, pupil_id) REFERENCES pupils
);
CREATE INDEX legal_holds_of_pupil ON legal_holds (trust_id, pupil_id);
CREATE UNIQUE INDEX legal_holds_of_request ON legal_holds (trust_id, request_id) WHERE request_id IS NOT NULL;

-- That a legal hold was lifted. Append only.
CREATE TABLE legal_hold_lifts (
    trust_id uuid NOT NULL,
    legal_hold_id uuid NOT NULL,
    reason text NOT NULL,
    lifted_by_name text NOT NULL,
    lifted_by_position text NOT NULL,
    lifted_at timestamptz NOT NULL,
    PRIMARY KEY (trust_id, legal_hold_id),
    FOREIGN KEY (trust_id, legal_hold_id) REFERENCES legal_holds
);

-- That something of a pupil was erased: whose record by its own identifier alone, what, when, by whom and why. Nothing else of
-- the pupil, and it stays when the pupil's row goes. `counts` is what was replaced or removed, by table. Written by
-- `erase_pupil` alone.
CREATE TABLE erasures (
    trust_id uuid NOT NULL REFERENCES trusts,
    erasure_id uuid NOT NULL,
    pupil_id uuid NOT NULL,
    scope text NOT NULL CHECK (scope IN ('free_text', 'identity')),
    reason text NOT NULL,
    erased_by_name text NOT NULL,
    erased_by_position text NOT NULL,
    erased_at timestamptz NOT NULL,
    request_id uuid,
    counts jsonb NOT NULL,
    PRIMARY KEY (trust_id, erasure_id)
);
CREATE INDEX erasures_of_pupil ON erasures (trust_id, pupil_id);
CREATE UNIQUE INDEX erasures_of_request ON erasures (trust_id, request_id) WHERE request_id IS NOT NULL;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['retention_rules', 'legal_holds', 'legal_hold_lifts', 'erasures']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            'CREATE POLICY tenant ON %I USING (trust_id = (SELECT nullif(current_setting(''app.trust_id'', true), '''')::uuid))',
            tenant_table
        );
    END LOOP;
END
$$;
GRANT SELECT, INSERT ON retention_rules, legal_holds, legal_hold_lifts TO graduated_response_service;
GRANT SELECT ON erasures TO graduated_response_service;

-- The academic year of a day: the year in which its 1 August lies.
CREATE FUNCTION academic_year_of(day date) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT extract(year FROM day)::integer - CASE WHEN extract(month FROM day) < 8 THEN 1 ELSE 0 END $$;

-- The day on which ages are counted: the caller's, which may lie in the past but never ahead of this server's clock.
CREATE FUNCTION retention_day(asked date) RETURNS date
LANGUAGE sql STABLE
AS $$ SELECT least(asked, (now() AT TIME ZONE 'Europe/London')::date) $$;

-- For how many years the trust of the transaction keeps a kind. The School Attendance (Pupil Registration) (England)
-- Regulations 2024 ask six years of the registers, whatever else is written here.
CREATE FUNCTION retention_years(kind text) RETURNS integer
LANGUAGE sql STABLE
AS $$
    SELECT CASE kind
        WHEN 'registers' THEN greatest(6, coalesce(max(registers_years), 6))
        WHEN 'actions' THEN greatest(2, coalesce(max(actions_years), 6))
        WHEN 'history' THEN greatest(6, coalesce(max(history_years), 6))
        WHEN 'pupils' THEN greatest(6, coalesce(max(pupils_years), 6))
        WHEN 'requests' THEN greatest(1, coalesce(max(requests_years), 1))
        ELSE 100
    END
    FROM (
        SELECT * FROM retention_rules
        WHERE trust_id = (SELECT nullif(current_setting('app.trust_id', true), '')::uuid)
        ORDER BY version DESC
        LIMIT 1
    ) AS standing
$$;

-- The pupils that are, with those that are part of them.
CREATE FUNCTION with_merged(trust uuid, of_pupils uuid[]) RETURNS uuid[]
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(array_agg(pupil_id), '{}') FROM pupils
    WHERE trust_id = trust
        AND (pupil_id = ANY (of_pupils) OR (merged_into IS NOT NULL AND merged_into = ANY (of_pupils)))
$$;

-- Everybody who was ever merged with one of them, under whom revisions may still stand.
CREATE FUNCTION ever_merged(trust uuid, of_pupils uuid[]) RETURNS uuid[]
LANGUAGE sql STABLE
AS $$
    WITH RECURSIVE related (pupil_id) AS (
        SELECT unnest(of_pupils)
        UNION
        SELECT CASE m.survivor_id WHEN related.pupil_id THEN m.merged_id ELSE m.survivor_id END
        FROM related
        JOIN pupil_merges AS m
            ON m.trust_id = trust AND (m.survivor_id = related.pupil_id OR m.merged_id = related.pupil_id)
    )
    SELECT coalesce(array_agg(pupil_id), '{}') FROM related
$$;

-- Of some pupils, those on whom, or on a part of whom, a legal hold stands.
CREATE FUNCTION under_legal_hold(trust uuid, of_pupils uuid[]) RETURNS uuid[]
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(array_agg(DISTINCT coalesce(pupils.merged_into, pupils.pupil_id)), '{}')
    FROM legal_holds
    JOIN pupils ON pupils.trust_id = trust AND pupils.pupil_id = legal_holds.pupil_id
    WHERE legal_holds.trust_id = trust
        AND legal_holds.pupil_id = ANY (with_merged(trust, of_pupils))
        AND NOT EXISTS (
            SELECT FROM legal_hold_lifts
            WHERE legal_hold_lifts.trust_id = trust AND legal_hold_lifts.legal_hold_id = legal_holds.legal_hold_id
        )
$$;

-- Removes what is past its time of some pupils, and says how much that was. Ages are counted by academic years that are over;
-- what somebody changed since (a register's mark, an action, a plan) stays until that change is as old. Pupils under a legal
-- hold, and those of another trust, are left as they are. Registers go with what was worked out from them, or else the next
-- working-out would clear it.
CREATE FUNCTION remove_expired(of_pupils uuid[], today date)
RETURNS TABLE (kind text, record text, academic_year integer, removed bigint)
LANGUAGE plpgsql SECURITY DEFINER
AS $$
#variable_conflict use_column
DECLARE
    trust uuid := nullif(current_setting('app.trust_id', true), '')::uuid;
    day date := retention_day(today);
    this_year integer := academic_year_of(day);
    registers_to integer := this_year - 1 - retention_years('registers');
    actions_to integer := this_year - 1 - retention_years('actions');
    history_to integer := this_year - 1 - retention_years('history');
    pupils_to integer := this_year - 1 - retention_years('pupils');
    revised_before timestamptz := (day - make_interval(years => retention_years('registers'))) AT TIME ZONE 'Europe/London';
    worked_before timestamptz := (day - make_interval(years => retention_years('actions'))) AT TIME ZONE 'Europe/London';
    changed_before timestamptz := (day - make_interval(years => retention_years('pupils'))) AT TIME ZONE 'Europe/London';
    whole uuid[];
    parts uuid[];
    related uuid[];
    due uuid[];
    due_years smallint[];
    due_numbers integer[];
    gone bigint;
BEGIN
    IF trust IS NULL THEN
        RAISE EXCEPTION 'no transaction of a trust' USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- Whoever writes anything of a pupil, a legal hold too, locks this row first.
    PERFORM FROM pupil_stages WHERE trust_id = trust AND pupil_id = ANY (with_merged(trust, of_pupils))
    ORDER BY pupil_id FOR UPDATE;
    SELECT coalesce(array_agg(pupil_id), '{}') INTO whole FROM pupils
    WHERE trust_id = trust AND pupil_id = ANY (of_pupils) AND merged_into IS NULL
        AND pupil_id <> ALL (under_legal_hold(trust, of_pupils));
    parts := with_merged(trust, whole);
    related := ever_merged(trust, parts);

    SELECT coalesce(array_agg(r.enrolment_id), '{}'), coalesce(array_agg(r.academic_year), '{}') INTO due, due_years
    FROM registers AS r
    WHERE r.trust_id = trust AND r.pupil_id = ANY (parts) AND r.academic_year <= registers_to
        AND NOT EXISTS (
            SELECT FROM mark_revisions AS m
            WHERE m.trust_id = trust AND m.pupil_id = ANY (related) AND m.enrolment_id = r.enrolment_id
                AND m.academic_year = r.academic_year AND m.recorded_at >= revised_before
        );
    RETURN QUERY WITH went AS (
        DELETE FROM mark_revisions AS m USING unnest(due, due_years) AS d (enrolment_id, academic_year)
        WHERE m.trust_id = trust AND m.pupil_id = ANY (related) AND m.enrolment_id = d.enrolment_id
            AND m.academic_year = d.academic_year
        RETURNING m.academic_year::integer AS year
    ) SELECT 'registers', 'mark_revisions', year, count(*) FROM went GROUP BY year;
    RETURN QUERY WITH went AS (
        DELETE FROM registers AS r USING unnest(due, due_years) AS d (enrolment_id, academic_year)
        WHERE r.trust_id = trust AND r.pupil_id = ANY (parts) AND r.enrolment_id = d.enrolment_id
            AND r.academic_year = d.academic_year
        RETURNING r.academic_year::integer AS year
    ) SELECT 'registers', 'registers', year, count(*) FROM went GROUP BY year;
    RETURN QUERY WITH went AS (
        DELETE FROM threshold_events AS e USING pupils AS p
        WHERE e.trust_id = trust AND e.pupil_id = ANY (parts) AND e.academic_year <= registers_to
            AND p.trust_id = trust AND p.pupil_id = e.pupil_id
            AND NOT EXISTS (
                SELECT FROM registers AS r
                WHERE r.trust_id = trust AND r.pupil_id = coalesce(p.merged_into, p.pupil_id)
                    AND r.academic_year = e.academic_year
            )
        RETURNING e.academic_year::integer AS year
    ) SELECT 'registers', 'threshold_events', year, count(*) FROM went GROUP BY year;
    RETURN QUERY WITH went AS (
        DELETE FROM penalty_notices AS n USING pupils AS p
        WHERE n.trust_id = trust AND n.pupil_id = ANY (parts) AND academic_year_of(n.issued_on) <= registers_to
            AND p.trust_id = trust AND p.pupil_id = n.pupil_id
            AND NOT EXISTS (
                SELECT FROM registers AS r
                WHERE r.trust_id = trust AND r.pupil_id = coalesce(p.merged_into, p.pupil_id)
                    AND r.academic_year <= academic_year_of(n.issued_on)
            )
        RETURNING academic_year_of(n.issued_on) AS year
    ) SELECT 'registers', 'penalty_notices', year, count(*) FROM went GROUP BY year;

    -- An episode goes with its actions, logs and plans, or else its actions would be taken for untouched.
    SELECT coalesce(array_agg(e.pupil_id), '{}'), coalesce(array_agg(e.episode), '{}') INTO due, due_numbers
    FROM episodes AS e
    WHERE e.trust_id = trust AND e.pupil_id = ANY (parts) AND e.academic_year <= actions_to
        AND NOT EXISTS (
            SELECT FROM pupil_stages AS s
            WHERE s.trust_id = trust AND s.pupil_id = e.pupil_id AND s.episode = e.episode AND s.episode_open
        )
        AND NOT EXISTS (
            SELECT FROM actions AS a
            WHERE a.trust_id = trust AND a.pupil_id = e.pupil_id AND a.episode = e.episode AND a.updated_at >= worked_before
        )
        AND NOT EXISTS (
            SELECT FROM plans AS p
            WHERE p.trust_id = trust AND p.pupil_id = e.pupil_id AND p.episode = e.episode AND p.updated_at >= worked_before
        );
    DELETE FROM plan_reviews AS r USING plans AS p, unnest(due, due_numbers) AS d (pupil_id, episode)
    WHERE p.trust_id = trust AND p.pupil_id = d.pupil_id AND p.episode = d.episode
        AND r.trust_id = trust AND r.plan_id = p.plan_id;
    DELETE FROM plan_cycles AS c USING plans AS p, unnest(due, due_numbers) AS d (pupil_id, episode)
    WHERE p.trust_id = trust AND p.pupil_id = d.pupil_id AND p.episode = d.episode
        AND c.trust_id = trust AND c.plan_id = p.plan_id;
    RETURN QUERY WITH went AS (
        DELETE FROM plans AS p USING unnest(due, due_numbers) AS d (pupil_id, episode), episodes AS e
        WHERE p.trust_id = trust AND p.pupil_id = d.pupil_id AND p.episode = d.episode
            AND e.trust_id = trust AND e.pupil_id = d.pupil_id AND e.episode = d.episode
        RETURNING e.academic_year::integer AS year
    ) SELECT 'actions', 'plans', year, count(*) FROM went GROUP BY year;
    RETURN QUERY WITH went AS (
        DELETE FROM action_entries AS a USING unnest(due, due_numbers) AS d (pupil_id, episode), episodes AS e
        WHERE a.trust_id = trust AND a.pupil_id = d.pupil_id AND a.episode = d.episode
            AND e.trust_id = trust AND e.pupil_id = d.pupil_id AND e.episode = d.episode
        RETURNING e.academic_year::integer AS year
    ) SELECT 'actions', 'action_entries', year, count(*) FROM went GROUP BY year;
    RETURN QUERY WITH went AS (
        DELETE FROM actions AS a USING unnest(due, due_numbers) AS d (pupil_id, episode)
        WHERE a.trust_id = trust AND a.pupil_id = d.pupil_id AND a.episode = d.episode
        RETURNING a.academic_year::integer AS year
    ) SELECT 'actions', 'actions', year, count(*) FROM went GROUP BY year;
    RETURN QUERY WITH went AS (
        DELETE FROM episodes AS e USING unnest(due, due_numbers) AS d (pupil_id, episode)
        WHERE e.trust_id = trust AND e.pupil_id = d.pupil_id AND e.episode = d.episode
        RETURNING e.academic_year::integer AS year
    ) SELECT 'actions', 'episodes', year, count(*) FROM went GROUP BY year;

    RETURN QUERY WITH went AS (
        DELETE FROM transitions AS t
        WHERE t.trust_id = trust AND t.pupil_id = ANY (parts) AND t.academic_year <= history_to
        RETURNING t.academic_year::integer AS year
    ) SELECT 'history', 'transitions', year, count(*) FROM went GROUP BY year;
    RETURN QUERY WITH went AS (
        DELETE FROM holds AS h
        WHERE h.trust_id = trust AND h.pupil_id = ANY (parts) AND academic_year_of(h.ends_on) <= history_to
        RETURNING academic_year_of(h.ends_on) AS year
    ) SELECT 'history', 'holds', year, count(*) FROM went GROUP BY year;

    -- Who left, and of whom nothing else is left.
    SELECT coalesce(array_agg(p.pupil_id), '{}'), coalesce(array_agg(coalesce(left_in.year, academic_year_of(p.updated_at::date))), '{}')
        INTO due, due_numbers
    FROM pupils AS p
    CROSS JOIN LATERAL with_merged(trust, ARRAY[p.pupil_id]) AS of_pupil (ids)
    CROSS JOIN LATERAL (
        SELECT max(academic_year_of(e.end_date)) AS year, bool_or(e.end_date IS NULL) AS on_roll
        FROM enrolments AS e WHERE e.trust_id = trust AND e.pupil_id = ANY (of_pupil.ids)
    ) AS left_in
    WHERE p.trust_id = trust AND p.pupil_id = ANY (whole)
        AND NOT coalesce(left_in.on_roll, false)
        AND coalesce(left_in.year <= pupils_to, p.updated_at < changed_before)
        AND NOT EXISTS (SELECT FROM registers AS r WHERE r.trust_id = trust AND r.pupil_id = ANY (of_pupil.ids))
        AND NOT EXISTS (SELECT FROM mark_revisions AS r WHERE r.trust_id = trust AND r.pupil_id = ANY (of_pupil.ids))
        AND NOT EXISTS (SELECT FROM episodes AS r WHERE r.trust_id = trust AND r.pupil_id = ANY (of_pupil.ids))
        AND NOT EXISTS (SELECT FROM transitions AS r WHERE r.trust_id = trust AND r.pupil_id = ANY (of_pupil.ids))
        AND NOT EXISTS (SELECT FROM holds AS r WHERE r.trust_id = trust AND r.pupil_id = ANY (of_pupil.ids))
        AND NOT EXISTS (SELECT FROM threshold_events AS r WHERE r.trust_id = trust AND r.pupil_id = ANY (of_pupil.ids))
        AND NOT EXISTS (SELECT FROM penalty_notices AS r WHERE r.trust_id = trust AND r.pupil_id = ANY (of_pupil.ids));
    IF due <> '{}' THEN
        RETURN QUERY SELECT 'pupils', 'pupils', d.year, count(*) FROM unnest(due_numbers) AS d (year) GROUP BY d.year;
        parts := with_merged(trust, due);
        DELETE FROM pupil_identifiers WHERE trust_id = trust AND pupil_id = ANY (parts);
        DELETE FROM pupil_changes WHERE trust_id = trust AND pupil_id = ANY (parts);
        DELETE FROM pupil_merges WHERE trust_id = trust AND (survivor_id = ANY (parts) OR merged_id = ANY (parts));
        DELETE FROM reconciliation_pupils WHERE trust_id = trust AND pupil_id = ANY (parts);
        DELETE FROM legal_hold_lifts AS l USING legal_holds AS h
        WHERE h.trust_id = trust AND h.pupil_id = ANY (parts) AND l.trust_id = trust AND l.legal_hold_id = h.legal_hold_id;
        DELETE FROM legal_holds WHERE trust_id = trust AND pupil_id = ANY (parts);
        DELETE FROM enrolments WHERE trust_id = trust AND pupil_id = ANY (parts);
        DELETE FROM pupil_stages WHERE trust_id = trust AND pupil_id = ANY (parts);
        DELETE FROM pupils WHERE trust_id = trust AND pupil_id = ANY (parts);
        UPDATE trusts SET identity_version = identity_version + 1 WHERE trust_id = trust;
    END IF;
END
$$;

-- The same for what belongs to no pupil alone, at most so many rows of each table: first entries of a school's year of which no
-- register is left, and records of requests (answers kept for a retry, jobs that are finished, reconciliations that are
-- decided).
CREATE FUNCTION remove_expired_of_trust(today date, most integer)
RETURNS TABLE (kind text, record text, academic_year integer, removed bigint)
LANGUAGE plpgsql SECURITY DEFINER
AS $$
#variable_conflict use_column
DECLARE
    trust uuid := nullif(current_setting('app.trust_id', true), '')::uuid;
    day date := retention_day(today);
    registers_to integer := academic_year_of(day) - 1 - retention_years('registers');
    -- By whole academic years that are over, as everything else.
    asked_before timestamptz :=
        make_date(academic_year_of(day) - retention_years('requests'), 8, 1)::timestamp AT TIME ZONE 'Europe/London';
BEGIN
    IF trust IS NULL THEN
        RAISE EXCEPTION 'no transaction of a trust' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN QUERY WITH went AS (
        DELETE FROM first_entries AS f
        WHERE f.trust_id = trust AND (f.school_id, f.academic_year, f.request_id) IN (
            SELECT c.school_id, c.academic_year, c.request_id FROM first_entries AS c
            WHERE c.trust_id = trust AND c.academic_year <= registers_to
                AND NOT EXISTS (
                    SELECT FROM registers AS r
                    WHERE r.trust_id = trust AND r.school_id = c.school_id AND r.academic_year = c.academic_year
                )
            LIMIT most
        )
        RETURNING f.academic_year::integer AS year
    ) SELECT 'registers', 'first_entries', year, count(*) FROM went GROUP BY year;
    RETURN QUERY WITH went AS (
        DELETE FROM batches AS b
        WHERE b.trust_id = trust AND b.request_id IN (
            SELECT c.request_id FROM batches AS c WHERE c.trust_id = trust AND c.recorded_at < asked_before LIMIT most
        )
        RETURNING academic_year_of((b.recorded_at AT TIME ZONE 'Europe/London')::date) AS year
    ) SELECT 'requests', 'batches', year, count(*) FROM went GROUP BY year;
    RETURN QUERY WITH went AS (
        DELETE FROM jobs AS j
        WHERE j.trust_id = trust AND j.job_id IN (
            SELECT c.job_id FROM jobs AS c WHERE c.trust_id = trust AND c.finished_at < asked_before LIMIT most
        )
        RETURNING academic_year_of((j.finished_at AT TIME ZONE 'Europe/London')::date) AS year
    ) SELECT 'requests', 'jobs', year, count(*) FROM went GROUP BY year;
    RETURN QUERY WITH old AS MATERIALIZED (
        SELECT c.reconciliation_id FROM reconciliations AS c
        WHERE c.trust_id = trust AND c.state <> 'awaiting_approval' AND c.updated_at < asked_before
        LIMIT most
    ), pupils_gone AS (
        DELETE FROM reconciliation_pupils AS p USING old
        WHERE p.trust_id = trust AND p.reconciliation_id = old.reconciliation_id
    ), went AS (
        DELETE FROM reconciliations AS r USING old
        WHERE r.trust_id = trust AND r.reconciliation_id = old.reconciliation_id
        RETURNING academic_year_of((r.updated_at AT TIME ZONE 'Europe/London')::date) AS year
    ) SELECT 'requests', 'reconciliations', year, count(*) FROM went GROUP BY year;
END
$$;

-- A document with the words that people wrote about a pupil replaced. What it is made of stays.
CREATE FUNCTION without_words(document jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    RETURN CASE jsonb_typeof(document)
        WHEN 'object' THEN coalesce((
            SELECT jsonb_object_agg(
                key,
                CASE
                    WHEN jsonb_typeof(value) = 'string' AND value <> '""'::jsonb AND key IN (
                        'person_name', 'summary', 'recipient', 'subject', 'reference', 'agency_name', 'comment', 'source_name',
                        'identifier', 'description', 'found', 'decided', 'reason', 'aim', 'change'
                    ) THEN '"[erased]"'::jsonb
                    ELSE without_words(value)
                END
            )
            FROM jsonb_each(document)
        ), '{}')
        WHEN 'array' THEN coalesce((
            SELECT jsonb_agg(without_words(value) ORDER BY place)
            FROM jsonb_array_elements(document) WITH ORDINALITY AS elements (value, place)
        ), '[]')
        ELSE document
    END;
END
$$;

-- Erases, of one pupil with all that are part of it, what people wrote ('free_text'), or that and who the pupil is
-- ('identity'), and records that it was done. Marks, counts, stages and moves stay as they are. Refused where a legal hold
-- stands, and for who the pupil is while the registers have to be kept.
CREATE FUNCTION erase_pupil(
    pupil uuid, scope text, erasure uuid, reason text, by_name text, by_position text, at timestamptz, request uuid
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER
AS $$
#variable_conflict use_column
DECLARE
    trust uuid := nullif(current_setting('app.trust_id', true), '')::uuid;
    whole boolean := erase_pupil.scope = 'identity';
    parts uuid[];
    related uuid[];
    counts jsonb := '{}';
    n bigint;
BEGIN
    IF trust IS NULL OR erase_pupil.scope NOT IN ('free_text', 'identity') THEN
        RAISE EXCEPTION 'no transaction of a trust, or nothing to erase' USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM FROM pupil_stages WHERE trust_id = trust AND pupil_id = ANY (with_merged(trust, ARRAY[pupil]))
    ORDER BY pupil_id FOR UPDATE;
    IF NOT EXISTS (SELECT FROM pupils WHERE trust_id = trust AND pupil_id = pupil AND merged_into IS NULL) THEN
        RAISE EXCEPTION 'no such pupil' USING ERRCODE = 'no_data_found';
    END IF;
    IF under_legal_hold(trust, ARRAY[pupil]) <> '{}' THEN
        RAISE EXCEPTION 'a legal hold stands' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF whole AND kept_until(pupil, erase_pupil.at) IS NOT NULL THEN
        RAISE EXCEPTION 'the registers have to be kept' USING ERRCODE = 'insufficient_privilege';
    END IF;
    parts := with_merged(trust, ARRAY[pupil]);
    related := ever_merged(trust, parts);

    UPDATE action_entries SET text = CASE text WHEN '' THEN '' ELSE '[erased]' END, details = without_words(details)
    WHERE trust_id = trust AND pupil_id = ANY (parts);
    GET DIAGNOSTICS n = ROW_COUNT;
    counts := counts || jsonb_build_object('action_entries', n);
    UPDATE plan_cycles AS c
    SET aims = without_words(c.aims), steps = CASE c.steps WHEN '' THEN '' ELSE '[erased]' END,
        agreed_by = without_words(c.agreed_by)
    FROM plans AS p
    WHERE p.trust_id = trust AND p.pupil_id = ANY (parts) AND c.trust_id = trust AND c.plan_id = p.plan_id;
    GET DIAGNOSTICS n = ROW_COUNT;
    counts := counts || jsonb_build_object('plan_cycles', n);
    UPDATE plan_reviews AS r
    SET found = CASE r.found WHEN '' THEN '' ELSE '[erased]' END,
        comment = CASE r.comment WHEN '' THEN '' ELSE '[erased]' END, attendees = without_words(r.attendees)
    FROM plans AS p
    WHERE p.trust_id = trust AND p.pupil_id = ANY (parts) AND r.trust_id = trust AND r.plan_id = p.plan_id;
    GET DIAGNOSTICS n = ROW_COUNT;
    counts := counts || jsonb_build_object('plan_reviews', n);
    UPDATE plans SET end_comment = CASE end_comment WHEN '' THEN '' ELSE '[erased]' END
    WHERE trust_id = trust AND pupil_id = ANY (parts) AND end_comment IS NOT NULL;
    GET DIAGNOSTICS n = ROW_COUNT;
    counts := counts || jsonb_build_object('plans', n);
    UPDATE holds SET reason = '[erased]', ended_reason = CASE WHEN ended_reason IS NULL THEN NULL ELSE '[erased]' END
    WHERE trust_id = trust AND pupil_id = ANY (parts);
    GET DIAGNOSTICS n = ROW_COUNT;
    counts := counts || jsonb_build_object('holds', n);
    UPDATE penalty_notices
    SET cancelled_reason = CASE WHEN cancelled_reason IS NULL THEN NULL ELSE '[erased]' END,
        reference = CASE WHEN whole AND reference <> '' THEN '[erased]' ELSE reference END
    WHERE trust_id = trust AND pupil_id = ANY (parts);
    GET DIAGNOSTICS n = ROW_COUNT;
    counts := counts || jsonb_build_object('penalty_notices', n);
    UPDATE pupil_changes
    SET reason = '[erased]', details = CASE WHEN whole THEN details - 'source' - 'value' ELSE details END
    WHERE trust_id = trust AND pupil_id = ANY (parts);
    GET DIAGNOSTICS n = ROW_COUNT;
    counts := counts || jsonb_build_object('pupil_changes', n);
    UPDATE legal_holds SET reason = '[erased]' WHERE trust_id = trust AND pupil_id = ANY (parts);
    GET DIAGNOSTICS n = ROW_COUNT;
    counts := counts || jsonb_build_object('legal_holds', n);
    UPDATE legal_hold_lifts AS l SET reason = '[erased]' FROM legal_holds AS h
    WHERE h.trust_id = trust AND h.pupil_id = ANY (parts) AND l.trust_id = trust AND l.legal_hold_id = h.legal_hold_id;

    IF whole THEN
        -- Until here the regulations ask why a mark was changed.
        UPDATE mark_revisions AS m SET reason = '[erased]' FROM enrolments AS e
        WHERE m.trust_id = trust AND m.pupil_id = ANY (related) AND e.trust_id = trust AND e.pupil_id = ANY (parts)
            AND e.enrolment_id = m.enrolment_id;
        GET DIAGNOSTICS n = ROW_COUNT;
        counts := counts || jsonb_build_object('mark_revisions', n);
        DELETE FROM pupil_identifiers WHERE trust_id = trust AND pupil_id = ANY (parts);
        GET DIAGNOSTICS n = ROW_COUNT;
        counts := counts || jsonb_build_object('pupil_identifiers', n);
        UPDATE pupil_changes SET details = details - 'source' - 'value'
        WHERE trust_id = trust AND details ->> 'other_pupil_id' = ANY (parts::text[]);
        UPDATE pupil_merges SET moved = jsonb_set(moved, '{identifiers}', '[]')
        WHERE trust_id = trust AND (survivor_id = ANY (parts) OR merged_id = ANY (parts));
        GET DIAGNOSTICS n = ROW_COUNT;
        counts := counts || jsonb_build_object('pupil_merges', n);
        -- A digest of a request that was about this pupil alone is a digest of who that is. An answer this short names few.
        DELETE FROM batches
        WHERE trust_id = trust AND pg_column_size(answer) < 2000
            AND EXISTS (SELECT FROM unnest(parts) AS part (id) WHERE strpos(answer::text, part.id::text) > 0);
        GET DIAGNOSTICS n = ROW_COUNT;
        counts := counts || jsonb_build_object('batches', n);
        UPDATE pupils
        SET given_name = '', family_name = '', date_of_birth = NULL, version = version + 1,
            updated_at = erase_pupil.at, erased_at = erase_pupil.at
        WHERE trust_id = trust AND pupil_id = ANY (parts);
        GET DIAGNOSTICS n = ROW_COUNT;
        counts := counts || jsonb_build_object('pupils', n);
        UPDATE trusts SET identity_version = identity_version + 1 WHERE trust_id = trust;
    END IF;
    INSERT INTO erasures (
        trust_id, erasure_id, pupil_id, scope, reason, erased_by_name, erased_by_position, erased_at, request_id, counts
    ) VALUES (
        trust, erase_pupil.erasure, erase_pupil.pupil, erase_pupil.scope, erase_pupil.reason, by_name, by_position,
        erase_pupil.at, request, counts
    );
    RETURN counts;
END
$$;

-- Until when the regulations ask that it stays known who a pupil is; null where they do not any more: six years from the end of
-- the last academic year in which the pupil was on roll or has a register, and six years from the last change of a mark.
-- 'infinity' for a pupil who is on roll.
CREATE FUNCTION kept_until(pupil uuid, at timestamptz) RETURNS date
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    trust uuid := nullif(current_setting('app.trust_id', true), '')::uuid;
    parts uuid[] := with_merged(trust, ARRAY[pupil]);
    last date;
BEGIN
    SELECT max(kept.until) INTO last FROM (
        SELECT CASE WHEN e.end_date IS NULL THEN 'infinity'
            ELSE make_date(academic_year_of(e.end_date) + 7, 7, 31) END AS until
        FROM enrolments AS e WHERE e.trust_id = trust AND e.pupil_id = ANY (parts)
        UNION ALL
        SELECT make_date(r.academic_year + 7, 7, 31) FROM registers AS r
        WHERE r.trust_id = trust AND r.pupil_id = ANY (parts)
        UNION ALL
        SELECT ((m.recorded_at AT TIME ZONE 'Europe/London') + interval '6 years')::date FROM mark_revisions AS m
        WHERE m.trust_id = trust AND m.pupil_id = ANY (ever_merged(trust, parts))
            AND EXISTS (
                SELECT FROM enrolments AS e
                WHERE e.trust_id = trust AND e.enrolment_id = m.enrolment_id AND e.pupil_id = ANY (parts)
            )
    ) AS kept;
    RETURN CASE WHEN last >= retention_day((kept_until.at AT TIME ZONE 'Europe/London')::date) THEN last END;
END
$$;

-- What runs as the owner finds the owner's tables and nothing that a caller put before them, and only the service may call it.
DO $$
DECLARE
    signature text;
BEGIN
    FOREACH signature IN ARRAY ARRAY[
        'remove_expired(uuid[], date)', 'remove_expired_of_trust(date, integer)',
        'erase_pupil(uuid, text, uuid, text, text, text, timestamptz, uuid)'
    ]
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', signature, current_schema());
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO graduated_response_service', signature);
    END LOOP;
END
$$;
