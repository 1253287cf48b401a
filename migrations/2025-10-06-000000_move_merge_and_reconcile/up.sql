-- Pupils who move, two records of one child made one, the whole of a school's registers reconciled, and lists of revisions by
-- school.

-- Counts the changes of which pupil an identifier means: who resolves identifiers before it locks pupils compares it after.
ALTER TABLE trusts ADD COLUMN identity_version bigint NOT NULL DEFAULT 0;

-- The pupil of which this one became part.
ALTER TABLE pupils ADD COLUMN merged_into uuid;
CREATE INDEX pupils_merged ON pupils (trust_id, pupil_id) INCLUDE (merged_into) WHERE merged_into IS NOT NULL;

-- The highest number of an episode of the pupil. `episode` is the current or the latest one, which after a merge need not be
-- the highest.
ALTER TABLE pupil_stages ADD COLUMN last_episode integer NOT NULL DEFAULT 0;
UPDATE pupil_stages SET last_episode = episode WHERE episode > 0;

-- What a person did to a pupil beside marks and actions. `details` is {enrolment_id, new_enrolment_id, last_date,
-- former_last_date, marks_cleared, merge_id, other_pupil_id, source, value, to_this_pupil}, as far as it applies. Append only.
CREATE TABLE pupil_changes (
    trust_id uuid NOT NULL,
    pupil_id uuid NOT NULL,
    change_id uuid NOT NULL,
    kind text NOT NULL,
    details jsonb NOT NULL,
    reason text NOT NULL,
    changed_by_name text NOT NULL,
    changed_by_position text NOT NULL,
    recorded_at timestamptz NOT NULL,
    request_id uuid NOT NULL,
    PRIMARY KEY (trust_id, pupil_id, change_id),
    FOREIGN KEY (trust_id, pupil_id) REFERENCES pupils
);

-- One pupil became part of another. `moved` is {enrolments: [uuid], identifiers: [{kind, source, value, was_current}],
-- episodes: [{from, to, ended}], holds: [uuid], notices: [uuid]}: what went from the merged pupil to the survivor, and goes
-- back when the merge is undone.
CREATE TABLE pupil_merges (
    trust_id uuid NOT NULL,
    merge_id uuid NOT NULL,
    survivor_id uuid NOT NULL,
    merged_id uuid NOT NULL,
    moved jsonb NOT NULL,
    merged_at timestamptz NOT NULL,
    unmerged_at timestamptz,
    PRIMARY KEY (trust_id, merge_id),
    FOREIGN KEY (trust_id, survivor_id) REFERENCES pupils,
    FOREIGN KEY (trust_id, merged_id) REFERENCES pupils
);
CREATE INDEX pupil_merges_of_survivor ON pupil_merges (trust_id, survivor_id);
CREATE INDEX pupil_merges_of_merged ON pupil_merges (trust_id, merged_id);

-- A revision is of a register, which a school keeps.
ALTER TABLE mark_revisions ADD COLUMN school_id uuid;
UPDATE mark_revisions SET school_id = enrolments.school_id
FROM enrolments
WHERE enrolments.trust_id = mark_revisions.trust_id AND enrolments.enrolment_id = mark_revisions.enrolment_id;
CREATE INDEX mark_revisions_by_time ON mark_revisions (trust_id, school_id, recorded_at DESC, revision_id DESC);
CREATE INDEX mark_revisions_by_session ON mark_revisions
    (trust_id, school_id, academic_year DESC, session_index DESC, revision_id DESC);

-- Who may be marked by two schools at once.
CREATE INDEX enrolments_subsidiary ON enrolments (trust_id, pupil_id) WHERE kind = 3;

-- The whole of a school's registers for some dates. `content` is what was uploaded, kept while it waits for approval: a pupil
-- (16 bytes), the place of the item in the upload (4 bytes, big-endian), the first place (2 bytes), the number of marks (2
-- bytes) and the marks, run after run. `plan` is what it does or would do, in numbers; `plan_number` names its rows in
-- `reconciliation_pupils`.
CREATE TABLE reconciliations (
    trust_id uuid NOT NULL,
    reconciliation_id uuid NOT NULL,
    school_id uuid NOT NULL,
    from_date date NOT NULL,
    to_date date NOT NULL,
    state text NOT NULL CHECK (state IN ('awaiting_approval', 'applied', 'discarded')),
    limits jsonb NOT NULL,
    content bytea NOT NULL,
    plan jsonb NOT NULL,
    plan_number integer NOT NULL,
    reason text NOT NULL,
    requested_by_name text NOT NULL,
    requested_by_position text NOT NULL,
    request_id uuid NOT NULL,
    decided_by_name text,
    decided_by_position text,
    decision_reason text,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (trust_id, reconciliation_id),
    FOREIGN KEY (trust_id, school_id) REFERENCES schools
);
CREATE INDEX reconciliations_of_school ON reconciliations (trust_id, school_id, reconciliation_id);

-- What a reconciliation does or would do to one pupil. `removed` is the places of the marks that it takes away, 2 bytes each,
-- big-endian. Append only.
CREATE TABLE reconciliation_pupils (
    trust_id uuid NOT NULL,
    reconciliation_id uuid NOT NULL,
    plan_number integer NOT NULL,
    pupil_id uuid NOT NULL,
    marks_new integer NOT NULL,
    marks_changed integer NOT NULL,
    marks_unchanged integer NOT NULL,
    removed bytea NOT NULL,
    from_stage smallint,
    to_stage smallint,
    missing boolean NOT NULL,
    PRIMARY KEY (trust_id, reconciliation_id, plan_number, pupil_id),
    FOREIGN KEY (trust_id, reconciliation_id) REFERENCES reconciliations
);

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['pupil_changes', 'pupil_merges', 'reconciliations', 'reconciliation_pupils']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            'CREATE POLICY tenant ON %I USING (trust_id = nullif(current_setting(''app.trust_id'', true), '''')::uuid)',
            tenant_table
        );
    END LOOP;
END
$$;

GRANT SELECT, INSERT ON pupil_changes, reconciliation_pupils TO graduated_response_service;
GRANT SELECT, INSERT, UPDATE (unmerged_at) ON pupil_merges TO graduated_response_service;
GRANT SELECT, INSERT, UPDATE ON reconciliations TO graduated_response_service;
-- Whose they are follows a merge; what they say never changes.
GRANT UPDATE (pupil_id, episode) ON action_entries TO graduated_response_service;
GRANT UPDATE (pupil_id) ON penalty_notices TO graduated_response_service;
