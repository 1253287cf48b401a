-- School calendars, given or drawn from the sessions that have marks.

-- One academic year of a school's calendar, as somebody gave it. Byte (date - 1 August) of `days` is 1 for a school day, 2
-- for INSET, 3 for a closure, 0 for no school day; what is left off at the end is no school day. `terms` is a list of
-- {name, first, last}, `notes` one of {kind, first, last, label} that says why days are INSET, closed, or open beside the
-- terms.
CREATE TABLE school_days (
    trust_id uuid NOT NULL,
    school_id uuid NOT NULL,
    academic_year smallint NOT NULL,
    days bytea NOT NULL CHECK (octet_length(days) <= 366),
    terms jsonb NOT NULL,
    notes jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (trust_id, school_id, academic_year),
    FOREIGN KEY (trust_id, school_id) REFERENCES schools
);

-- Which sessions of a school's academic year have marks, laid out as a register is. A byte is the sum of 1 where some pupil
-- has a mark there, 2 where some pupil has one which says that the session was held (any but Z and #), and 4 where a mark was
-- entered on or after the day, and not only ahead of it.
CREATE TABLE school_sessions (
    trust_id uuid NOT NULL,
    school_id uuid NOT NULL,
    academic_year smallint NOT NULL,
    marked bytea NOT NULL CHECK (octet_length(marked) <= 732),
    PRIMARY KEY (trust_id, school_id, academic_year),
    FOREIGN KEY (trust_id, school_id) REFERENCES schools
);
INSERT INTO school_sessions (trust_id, school_id, academic_year, marked)
SELECT trust_id, school_id, academic_year,
    rtrim(
        string_agg(
            CASE
                WHEN flags = 0 THEN '\x00'::bytea
                -- When a mark was entered is not known: of a session that is past it was on the day.
                WHEN make_date(academic_year, 8, 1) + place / 2 <= (now() AT TIME ZONE 'Europe/London')::date
                    THEN CASE flags WHEN 3 THEN '\x07'::bytea ELSE '\x05'::bytea END
                WHEN flags = 3 THEN '\x03'::bytea
                ELSE '\x01'::bytea
            END,
            ''::bytea ORDER BY place
        ),
        '\x00'
    )
FROM (
    SELECT registers.trust_id, registers.school_id, registers.academic_year, place,
        max(
            CASE
                WHEN place >= octet_length(registers.marks) OR get_byte(registers.marks, place) = 0 THEN 0
                WHEN get_byte(registers.marks, place) IN (33, 34) THEN 1
                ELSE 3
            END
        ) AS flags
    FROM registers
    CROSS JOIN generate_series(0, 731) AS place
    GROUP BY registers.trust_id, registers.school_id, registers.academic_year, place
) AS sessions
GROUP BY trust_id, school_id, academic_year;

-- Calendars unpacked to one row a day, those days left out that are no school days for no particular reason. Of a year for
-- which nobody gave a calendar, the days with a session that was held.
CREATE VIEW calendar_days WITH (security_invoker = true) AS
SELECT
    school_days.trust_id,
    school_days.school_id,
    school_days.academic_year,
    make_date(school_days.academic_year, 8, 1) + place AS date,
    (ARRAY['school_day', 'inset', 'closure'])[get_byte(school_days.days, place)] AS kind,
    true AS given
FROM school_days
CROSS JOIN LATERAL generate_series(0, octet_length(school_days.days) - 1) AS place
WHERE get_byte(school_days.days, place) > 0
UNION ALL
SELECT DISTINCT
    school_sessions.trust_id,
    school_sessions.school_id,
    school_sessions.academic_year,
    make_date(school_sessions.academic_year, 8, 1) + place / 2,
    'school_day',
    false
FROM school_sessions
CROSS JOIN LATERAL generate_series(0, octet_length(school_sessions.marked) - 1) AS place
WHERE get_byte(school_sessions.marked, place) & 2 > 0
    AND NOT EXISTS (
        SELECT FROM school_days
        WHERE school_days.trust_id = school_sessions.trust_id
            AND school_days.school_id = school_sessions.school_id
            AND school_days.academic_year = school_sessions.academic_year
    );

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['school_days', 'school_sessions']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            'CREATE POLICY tenant ON %I USING (trust_id = nullif(current_setting(''app.trust_id'', true), '''')::uuid)',
            tenant_table
        );
    END LOOP;
END
$$;

GRANT SELECT ON calendar_days TO graduated_response_service;
GRANT SELECT, INSERT, UPDATE ON school_days, school_sessions TO graduated_response_service;
