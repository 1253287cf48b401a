-- The tenant is first in every key, and every statement names it: that is the tenant boundary, the row-level-security
-- boundary, and the distribution column when one machine is outgrown.

-- The role as which the service works. It owns nothing, bypasses nothing, and is granted below just what it needs.
DO $$
BEGIN
    CREATE ROLE graduated_response_service NOLOGIN;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;
DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'graduated_response_service', 'MEMBER') THEN
        EXECUTE format('GRANT graduated_response_service TO %I', current_user);
    END IF;
END
$$;

-- What each stored byte means: for people who query by hand, and for the views.
CREATE TABLE attendance_codes (
    byte smallint PRIMARY KEY,
    code text NOT NULL UNIQUE,
    category text NOT NULL,
    possible boolean NOT NULL,
    attended boolean NOT NULL
);
INSERT INTO attendance_codes (byte, code, category, possible, attended) VALUES
    (1, '/', 'attending', true, true),
    (2, '\', 'attending', true, true),
    (3, 'L', 'attending', true, true),
    (4, 'K', 'approved_educational_activity', true, true),
    (5, 'V', 'approved_educational_activity', true, true),
    (6, 'P', 'approved_educational_activity', true, true),
    (7, 'W', 'approved_educational_activity', true, true),
    (8, 'B', 'approved_educational_activity', true, true),
    (9, 'D', 'not_possible', false, false),
    (10, 'C1', 'authorised_absence', true, false),
    (11, 'M', 'authorised_absence', true, false),
    (12, 'J1', 'authorised_absence', true, false),
    (13, 'S', 'authorised_absence', true, false),
    (14, 'X', 'not_possible', false, false),
    (15, 'C2', 'authorised_absence', true, false),
    (16, 'C', 'authorised_absence', true, false),
    (17, 'T', 'authorised_absence', true, false),
    (18, 'R', 'authorised_absence', true, false),
    (19, 'I', 'authorised_absence', true, false),
    (20, 'E', 'authorised_absence', true, false),
    (21, 'Q', 'not_possible', false, false),
    (22, 'Y1', 'not_possible', false, false),
    (23, 'Y2', 'not_possible', false, false),
    (24, 'Y3', 'not_possible', false, false),
    (25, 'Y4', 'not_possible', false, false),
    (26, 'Y5', 'not_possible', false, false),
    (27, 'Y6', 'not_possible', false, false),
    (28, 'Y7', 'not_possible', false, false),
    (29, 'G', 'unauthorised_absence', true, false),
    (30, 'N', 'unauthorised_absence', true, false),
    (31, 'O', 'unauthorised_absence', true, false),
    (32, 'U', 'unauthorised_absence', true, false),
    (33, 'Z', 'administrative', false, false),
    (34, '#', 'administrative', false, false),
    (35, 'H', 'authorised_absence', true, false),
    (36, 'F', 'authorised_absence', true, false),
    (37, 'J', 'approved_educational_activity', true, true),
    (38, 'Y', 'not_possible', false, false);

-- The tenant. The one table that is not under row-level security: it is the directory of tenants.
CREATE TABLE trusts (
    trust_id uuid PRIMARY KEY,
    name text NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- The position of the trust's change feed: taken under a row lock as the last statement before commit, so that
-- positions are in commit order without gaps.
CREATE TABLE feeds (
    trust_id uuid PRIMARY KEY REFERENCES trusts,
    position bigint NOT NULL
);

CREATE TABLE schools (
    trust_id uuid NOT NULL REFERENCES trusts,
    school_id uuid NOT NULL,
    urn text NOT NULL CHECK (urn ~ '^[0-9]{6}$'),
    name text NOT NULL,
    phase smallint NOT NULL,
    laestab text CHECK (laestab ~ '^[0-9]{7}$'),
    session_minutes smallint NOT NULL CHECK (session_minutes BETWEEN 1 AND 480),
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (trust_id, school_id),
    UNIQUE (trust_id, urn)
);

-- Versioned rules: a version is written once and never changed.
CREATE TABLE policies (
    trust_id uuid NOT NULL REFERENCES trusts,
    version integer NOT NULL,
    settings jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    activated_at timestamptz,
    PRIMARY KEY (trust_id, version)
);

CREATE TABLE catalogues (
    trust_id uuid NOT NULL REFERENCES trusts,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    activated_at timestamptz,
    PRIMARY KEY (trust_id, version)
);

CREATE TABLE provisions (
    trust_id uuid NOT NULL,
    catalogue_version integer NOT NULL,
    provision_id text NOT NULL,
    ordinal smallint NOT NULL,
    stage smallint NOT NULL CHECK (stage BETWEEN 0 AND 5),
    title text NOT NULL,
    guidance text NOT NULL,
    subject text NOT NULL CHECK (subject IN ('school', 'pupil')),
    kind text NOT NULL,
    condition text NOT NULL,
    review_days smallint,
    responsible_roles text[] NOT NULL,
    PRIMARY KEY (trust_id, catalogue_version, provision_id),
    FOREIGN KEY (trust_id, catalogue_version) REFERENCES catalogues
);

CREATE TABLE pupils (
    trust_id uuid NOT NULL REFERENCES trusts,
    pupil_id uuid NOT NULL,
    given_name text NOT NULL,
    family_name text NOT NULL,
    date_of_birth date,
    year_group smallint,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (trust_id, pupil_id)
);

-- Every identifier under which a pupil is or was known. Kind 1 is a UPN (its source is empty), kind 2 an MIS identifier.
CREATE TABLE pupil_identifiers (
    trust_id uuid NOT NULL,
    kind smallint NOT NULL CHECK (kind IN (1, 2)),
    source text NOT NULL,
    value text NOT NULL,
    pupil_id uuid NOT NULL,
    is_current boolean NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (trust_id, kind, source, value),
    FOREIGN KEY (trust_id, pupil_id) REFERENCES pupils
);
CREATE INDEX pupil_identifiers_of_pupil ON pupil_identifiers (trust_id, pupil_id);

CREATE TABLE enrolments (
    trust_id uuid NOT NULL,
    enrolment_id uuid NOT NULL,
    pupil_id uuid NOT NULL,
    school_id uuid NOT NULL,
    kind smallint NOT NULL CHECK (kind BETWEEN 1 AND 3),
    start_date date NOT NULL,
    end_date date CHECK (end_date >= start_date),
    PRIMARY KEY (trust_id, enrolment_id),
    FOREIGN KEY (trust_id, pupil_id) REFERENCES pupils,
    FOREIGN KEY (trust_id, school_id) REFERENCES schools
);
CREATE INDEX enrolments_of_pupil ON enrolments (trust_id, pupil_id);
CREATE INDEX enrolments_of_school ON enrolments (trust_id, school_id, pupil_id);

-- One enrolment's academic year. Byte 2 x (date - 1 August) + (PM ? 1 : 0) of `marks` is the session's code, 0 for no
-- mark; bytes after the last mark are left off. The counts are of the marks dated before `next_mark_on`, the date of the
-- first mark that was entered ahead of time; null where there is none.
CREATE TABLE registers (
    trust_id uuid NOT NULL,
    pupil_id uuid NOT NULL,
    academic_year smallint NOT NULL,
    enrolment_id uuid NOT NULL,
    school_id uuid NOT NULL,
    attended smallint NOT NULL,
    possible smallint NOT NULL,
    unauthorised smallint NOT NULL,
    next_mark_on date,
    marks bytea NOT NULL CHECK (octet_length(marks) <= 732),
    PRIMARY KEY (trust_id, pupil_id, academic_year, enrolment_id)
)
-- Each session of the day rewrites every row of a page: half of the page is kept free, so that the new rows have their
-- place in it and no index is touched.
WITH (fillfactor = 45);
CREATE INDEX registers_of_school ON registers (trust_id, school_id, academic_year);
CREATE INDEX registers_with_marks_ahead ON registers (trust_id, next_mark_on) WHERE next_mark_on IS NOT NULL;

-- A write that can be asked for twice: the answer of the first time. Append only.
CREATE TABLE batches (
    trust_id uuid NOT NULL REFERENCES trusts,
    request_id uuid NOT NULL,
    fingerprint bytea NOT NULL,
    answer jsonb NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (trust_id, request_id)
);

-- When each session was first marked: with the revisions, what the service knew at any moment. One row is one batch's
-- first entries of one school's year, as groups of registers that share the same places: a count of runs (2 bytes,
-- big-endian), the runs (first place and length, 2 bytes each), a count of enrolments (4 bytes), the enrolments (16 bytes
-- each). Append only.
CREATE TABLE first_entries (
    trust_id uuid NOT NULL,
    school_id uuid NOT NULL,
    academic_year smallint NOT NULL,
    request_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    runs bytea NOT NULL,
    PRIMARY KEY (trust_id, school_id, academic_year, request_id)
);
-- Identifiers do not compress: do not try.
ALTER TABLE first_entries ALTER COLUMN runs SET STORAGE EXTERNAL;

-- One changed mark: the original entry, the new one, why, when and by whom. Append only.
CREATE TABLE mark_revisions (
    trust_id uuid NOT NULL,
    pupil_id uuid NOT NULL,
    revision_id uuid NOT NULL,
    enrolment_id uuid NOT NULL,
    academic_year smallint NOT NULL,
    session_index smallint NOT NULL,
    old_code smallint NOT NULL,
    new_code smallint NOT NULL,
    reason text NOT NULL,
    corrected_by_name text NOT NULL,
    corrected_by_position text NOT NULL,
    recorded_at timestamptz NOT NULL,
    request_id uuid NOT NULL,
    PRIMARY KEY (trust_id, pupil_id, revision_id)
);

-- A pupil's current stage. Written when the stage moves, not with every mark: the counts are the registers'. It is the
-- row that a writer locks, in the order of the pupils, before it touches anything else of the pupil.
CREATE TABLE pupil_stages (
    trust_id uuid NOT NULL,
    pupil_id uuid NOT NULL,
    stage smallint NOT NULL CHECK (stage BETWEEN 0 AND 5),
    academic_year smallint NOT NULL,
    since date,
    policy_version integer NOT NULL,
    episode integer NOT NULL DEFAULT 0,
    episode_open boolean NOT NULL DEFAULT false,
    raised_to smallint NOT NULL DEFAULT 0,
    changed_at timestamptz,
    PRIMARY KEY (trust_id, pupil_id),
    FOREIGN KEY (trust_id, pupil_id) REFERENCES pupils
);
CREATE INDEX pupil_stages_by_stage ON pupil_stages (trust_id, stage, pupil_id);
CREATE INDEX pupil_stages_by_change ON pupil_stages (trust_id, changed_at);

-- One move of one pupil from one stage to another, with the counts that caused it. Append only, in commit order.
CREATE TABLE transitions (
    trust_id uuid NOT NULL,
    position bigint NOT NULL,
    pupil_id uuid NOT NULL,
    from_stage smallint NOT NULL,
    to_stage smallint NOT NULL,
    effective_on date NOT NULL,
    recorded_at timestamptz NOT NULL,
    cause text NOT NULL,
    policy_version integer NOT NULL,
    academic_year smallint NOT NULL,
    attended integer NOT NULL,
    possible integer NOT NULL,
    unauthorised integer NOT NULL,
    episode integer NOT NULL,
    request_id uuid,
    PRIMARY KEY (trust_id, position)
);
CREATE INDEX transitions_of_pupil ON transitions (trust_id, pupil_id, position);

-- From the day a pupil leaves stage U to the day of return. `raised_at[n]` is when stage n's provisions were raised; an
-- action that nobody has touched follows from it and the catalogue, and is no row.
CREATE TABLE episodes (
    trust_id uuid NOT NULL,
    pupil_id uuid NOT NULL,
    episode integer NOT NULL,
    catalogue_version integer NOT NULL,
    academic_year smallint NOT NULL,
    raised_at timestamptz[] NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz,
    PRIMARY KEY (trust_id, pupil_id, episode),
    FOREIGN KEY (trust_id, pupil_id) REFERENCES pupils
);

-- An action that somebody has touched.
CREATE TABLE actions (
    trust_id uuid NOT NULL,
    pupil_id uuid NOT NULL,
    episode integer NOT NULL,
    provision_id text NOT NULL,
    state smallint NOT NULL,
    version bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (trust_id, pupil_id, episode, provision_id),
    FOREIGN KEY (trust_id, pupil_id, episode) REFERENCES episodes
);

-- The log of an action. Append only.
CREATE TABLE action_entries (
    trust_id uuid NOT NULL,
    pupil_id uuid NOT NULL,
    episode integer NOT NULL,
    provision_id text NOT NULL,
    ordinal integer NOT NULL,
    kind text NOT NULL,
    from_state smallint,
    to_state smallint,
    text text NOT NULL,
    recorded_by_name text NOT NULL,
    recorded_by_position text NOT NULL,
    recorded_at timestamptz NOT NULL,
    request_id uuid,
    PRIMARY KEY (trust_id, pupil_id, episode, provision_id, ordinal),
    FOREIGN KEY (trust_id, pupil_id, episode, provision_id) REFERENCES actions
);
CREATE UNIQUE INDEX action_entries_of_request ON action_entries (trust_id, request_id) WHERE request_id IS NOT NULL;

-- Registers unpacked to one row a mark.
CREATE VIEW marks WITH (security_invoker = true) AS
SELECT
    registers.trust_id,
    registers.pupil_id,
    registers.enrolment_id,
    registers.school_id,
    registers.academic_year,
    make_date(registers.academic_year, 8, 1) + place / 2 AS session_date,
    CASE place % 2 WHEN 0 THEN 'AM' ELSE 'PM' END AS session_half,
    attendance_codes.code,
    attendance_codes.category,
    attendance_codes.possible,
    attendance_codes.attended
FROM registers
CROSS JOIN LATERAL generate_series(0, octet_length(registers.marks) - 1) AS place
JOIN attendance_codes ON attendance_codes.byte = get_byte(registers.marks, place);

-- Every action alike, touched or not. State 1 is to be considered, 2 open; the rest are in `actions`.
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

-- A query that forgot its trust finds nothing. The expression is plain, without a sub-select, so that a distributed
-- Postgres takes it too.
DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY[
        'feeds', 'schools', 'policies', 'catalogues', 'provisions', 'pupils', 'pupil_identifiers', 'enrolments', 'registers',
        'batches', 'first_entries', 'mark_revisions', 'pupil_stages', 'transitions', 'episodes', 'actions', 'action_entries'
    ]
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            'CREATE POLICY tenant ON %I USING (trust_id = nullif(current_setting(''app.trust_id'', true), '''')::uuid)',
            tenant_table
        );
    END LOOP;
END
$$;

GRANT SELECT ON attendance_codes, marks, pupil_actions TO graduated_response_service;
GRANT SELECT, INSERT, UPDATE ON
    trusts, feeds, schools, policies, catalogues, pupils, pupil_identifiers, enrolments, registers, pupil_stages, episodes,
    actions
    TO graduated_response_service;
-- Append only: what was ever recorded stays as it was recorded.
GRANT SELECT, INSERT ON
    provisions, batches, first_entries, mark_revisions, transitions, action_entries
    TO graduated_response_service;
