//! Everything that is stored about one pupil, as JSON, table by table: complete rather than legible. docs/subject-access.md says
//! what each section holds.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::{Value, json};
use uuid::Uuid;

use super::StoreError;
use super::history::first_entries_after;
use super::schema::reconciliations;
use crate::domain::code::AttendanceCode;
use crate::domain::identifiers::TrustId;
use crate::domain::session::AcademicYear;

/// A section of the document: rows of a table that are about the pupil.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its name in the document.
    pub name: &'static str,
    /// The tables whose rows it gives.
    pub tables: &'static [&'static str],
    query: &'static str,
}

const fn section(name: &'static str, tables: &'static [&'static str], query: &'static str) -> Section {
    Section { name, tables, query }
}

/// The sections that a statement gives, in the order of the document. Each statement has three parameters: the trust, the pupil
/// with all that are part of it, and those who were ever merged with one of them.
pub const SECTIONS: &[Section] = &[
    section(
        "pupils",
        &["pupils"],
        "SELECT to_jsonb(p) AS item FROM pupils AS p WHERE p.trust_id = $1 AND p.pupil_id = ANY ($2) ORDER BY p.pupil_id",
    ),
    section(
        "pupil_identifiers",
        &["pupil_identifiers"],
        "SELECT to_jsonb(i) || jsonb_build_object('kind', (ARRAY['upn', 'mis'])[i.kind]) AS item
         FROM pupil_identifiers AS i WHERE i.trust_id = $1 AND i.pupil_id = ANY ($2) ORDER BY i.kind, i.source, i.value",
    ),
    section(
        "enrolments",
        &["enrolments"],
        "SELECT to_jsonb(e) || jsonb_build_object(
             'kind', (ARRAY['sole', 'main', 'subsidiary'])[e.kind], 'urn', s.urn, 'school_name', s.name) AS item
         FROM enrolments AS e JOIN schools AS s ON s.trust_id = e.trust_id AND s.school_id = e.school_id
         WHERE e.trust_id = $1 AND e.pupil_id = ANY ($2) ORDER BY e.start_date, e.enrolment_id",
    ),
    section(
        "registers",
        &["registers"],
        "SELECT to_jsonb(r) - 'marks' AS item FROM registers AS r
         WHERE r.trust_id = $1 AND r.pupil_id = ANY ($2) ORDER BY r.academic_year, r.enrolment_id",
    ),
    section(
        "marks",
        &["registers"],
        "SELECT jsonb_build_object('enrolment_id', m.enrolment_id, 'date', m.session_date, 'half', m.session_half,
             'code', m.code, 'category', m.category) AS item
         FROM marks AS m WHERE m.trust_id = $1 AND m.pupil_id = ANY ($2)
         ORDER BY m.session_date, m.session_half, m.enrolment_id",
    ),
    section(
        "mark_revisions",
        &["mark_revisions"],
        "SELECT to_jsonb(m) - '{session_index,old_code,new_code}'::text[] || jsonb_build_object(
             'date', make_date(m.academic_year, 8, 1) + m.session_index / 2,
             'half', CASE m.session_index % 2 WHEN 0 THEN 'AM' ELSE 'PM' END, 'old_code', o.code, 'new_code', n.code) AS item
         FROM mark_revisions AS m
         LEFT JOIN attendance_codes AS o ON o.byte = m.old_code
         LEFT JOIN attendance_codes AS n ON n.byte = m.new_code
         WHERE m.trust_id = $1 AND (m.pupil_id = ANY ($2) OR m.pupil_id = ANY ($3) AND EXISTS (
             SELECT FROM enrolments AS e
             WHERE e.trust_id = $1 AND e.enrolment_id = m.enrolment_id AND e.pupil_id = ANY ($2)))
         ORDER BY m.revision_id",
    ),
    section(
        "pupil_stages",
        &["pupil_stages"],
        "SELECT to_jsonb(s) AS item FROM pupil_stages AS s WHERE s.trust_id = $1 AND s.pupil_id = ANY ($2) ORDER BY s.pupil_id",
    ),
    section(
        "transitions",
        &["transitions"],
        "SELECT to_jsonb(t) AS item FROM transitions AS t
         WHERE t.trust_id = $1 AND t.pupil_id = ANY ($2) ORDER BY t.position",
    ),
    section(
        "episodes",
        &["episodes"],
        "SELECT to_jsonb(e) AS item FROM episodes AS e
         WHERE e.trust_id = $1 AND e.pupil_id = ANY ($2) ORDER BY e.opened_at, e.episode",
    ),
    section(
        "actions_required",
        &["episodes"],
        "SELECT to_jsonb(a) AS item FROM pupil_actions AS a
         WHERE a.trust_id = $1 AND a.pupil_id = ANY ($2) ORDER BY a.episode, a.ordinal",
    ),
    section(
        "actions",
        &["actions"],
        "SELECT to_jsonb(a) AS item FROM actions AS a
         WHERE a.trust_id = $1 AND a.pupil_id = ANY ($2) ORDER BY a.episode, a.provision_id",
    ),
    section(
        "action_entries",
        &["action_entries"],
        "SELECT to_jsonb(a) AS item FROM action_entries AS a
         WHERE a.trust_id = $1 AND a.pupil_id = ANY ($2) ORDER BY a.episode, a.provision_id, a.ordinal",
    ),
    section(
        "plans",
        &["plans"],
        "SELECT to_jsonb(p) AS item FROM plans AS p WHERE p.trust_id = $1 AND p.pupil_id = ANY ($2) ORDER BY p.plan_id",
    ),
    section(
        "plan_cycles",
        &["plan_cycles"],
        "SELECT to_jsonb(c) AS item FROM plans AS p
         JOIN plan_cycles AS c ON c.trust_id = p.trust_id AND c.plan_id = p.plan_id
         WHERE p.trust_id = $1 AND p.pupil_id = ANY ($2) ORDER BY c.plan_id, c.cycle",
    ),
    section(
        "plan_reviews",
        &["plan_reviews"],
        "SELECT to_jsonb(r) AS item FROM plans AS p
         JOIN plan_reviews AS r ON r.trust_id = p.trust_id AND r.plan_id = p.plan_id
         WHERE p.trust_id = $1 AND p.pupil_id = ANY ($2) ORDER BY r.plan_id, r.cycle",
    ),
    section(
        "holds",
        &["holds"],
        "SELECT to_jsonb(h) || jsonb_build_object('kind', (ARRAY['at_least', 'delay_fall', 'confirm_fall'])[h.kind]) AS item
         FROM holds AS h WHERE h.trust_id = $1 AND h.pupil_id = ANY ($2) ORDER BY h.created_at, h.hold_id",
    ),
    section(
        "threshold_events",
        &["threshold_events"],
        "SELECT to_jsonb(e) - 'proved_by' || jsonb_build_object(
             'kind', (ARRAY['illness_cumulative', 'illness_consecutive', 'illness_expected', 'unauthorised_days',
                 'penalty_notice', 'absences_in_row', 'spells', 'week_fall'])[e.kind],
             'sessions', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                 'date', DATE '2000-01-01' + s.number / 2, 'half', CASE s.number % 2 WHEN 0 THEN 'AM' ELSE 'PM' END
             ) ORDER BY s.number), '[]') FROM unnest(e.sessions) AS s (number))) AS item
         FROM threshold_events AS e WHERE e.trust_id = $1 AND e.pupil_id = ANY ($2) ORDER BY e.event_id",
    ),
    section(
        "penalty_notices",
        &["penalty_notices"],
        "SELECT to_jsonb(n) || jsonb_build_object(
             'sessions', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                 'date', DATE '2000-01-01' + s.number / 2, 'half', CASE s.number % 2 WHEN 0 THEN 'AM' ELSE 'PM' END
             ) ORDER BY s.number), '[]') FROM unnest(n.sessions) AS s (number))) AS item
         FROM penalty_notices AS n WHERE n.trust_id = $1 AND n.pupil_id = ANY ($2) ORDER BY n.notice_id",
    ),
    section(
        "pupil_changes",
        &["pupil_changes"],
        "SELECT to_jsonb(c) AS item FROM pupil_changes AS c
         WHERE c.trust_id = $1 AND c.pupil_id = ANY ($2) ORDER BY c.change_id",
    ),
    section(
        "pupil_merges",
        &["pupil_merges"],
        "SELECT to_jsonb(m) AS item FROM pupil_merges AS m
         WHERE m.trust_id = $1 AND (m.survivor_id = ANY ($2) OR m.merged_id = ANY ($2)) ORDER BY m.merge_id",
    ),
    section(
        "reconciliation_pupils",
        &["reconciliation_pupils"],
        "SELECT to_jsonb(p) - 'removed' || jsonb_build_object(
             'school_id', r.school_id, 'from_date', r.from_date, 'to_date', r.to_date, 'state', r.state,
             'marks_removed', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                 'date', make_date(academic_year_of(r.from_date), 8, 1) + s.place / 2,
                 'half', CASE s.place % 2 WHEN 0 THEN 'AM' ELSE 'PM' END) ORDER BY s.place), '[]')
             FROM generate_series(0, octet_length(p.removed) / 2 - 1) AS i (n)
             CROSS JOIN LATERAL (
                 SELECT 256 * get_byte(p.removed, 2 * i.n) + get_byte(p.removed, 2 * i.n + 1) AS place) AS s)) AS item
         FROM reconciliation_pupils AS p
         JOIN reconciliations AS r ON r.trust_id = p.trust_id AND r.reconciliation_id = p.reconciliation_id
         WHERE p.trust_id = $1 AND p.pupil_id = ANY ($2) ORDER BY p.reconciliation_id, p.plan_number",
    ),
    section(
        "legal_holds",
        &["legal_holds", "legal_hold_lifts"],
        "SELECT to_jsonb(h) || jsonb_build_object('lifted', to_jsonb(l) - 'trust_id') AS item
         FROM legal_holds AS h
         LEFT JOIN legal_hold_lifts AS l ON l.trust_id = h.trust_id AND l.legal_hold_id = h.legal_hold_id
         WHERE h.trust_id = $1 AND h.pupil_id = ANY ($2) ORDER BY h.legal_hold_id",
    ),
    section(
        "erasures",
        &["erasures"],
        "SELECT to_jsonb(e) AS item FROM erasures AS e
         WHERE e.trust_id = $1 AND e.pupil_id = ANY ($2) ORDER BY e.erasure_id",
    ),
    // An answer that is longer is of a batch of many pupils, of whom it holds the identifiers alone.
    section(
        "request_records",
        &["batches"],
        "SELECT to_jsonb(b) - 'fingerprint' AS item FROM batches AS b
         WHERE b.trust_id = $1 AND pg_column_size(b.answer) < 2000
             AND EXISTS (SELECT FROM unnest($2) AS p (id) WHERE strpos(b.answer::text, p.id::text) > 0)
         ORDER BY b.recorded_at, b.request_id",
    ),
];

/// The sections that are read out of packed bytes.
pub const PACKED: &[(&str, &[&str])] = &[
    ("first_entries", &["first_entries"]),
    ("uploads_waiting", &["reconciliations"]),
];

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    item: String,
}

/// The rows of a section, each a JSON object.
pub async fn rows(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    section: &Section,
    pupils: &[Uuid],
    related: &[Uuid],
) -> Result<Vec<String>, StoreError> {
    // Whose trust it is stands once, at the head.
    let query = format!(
        "SELECT (item - 'trust_id')::text AS item FROM ({}) AS rows
         CROSS JOIN (SELECT $1::uuid, $2::uuid[], $3::uuid[]) AS parameters",
        section.query
    );
    let rows: Vec<Row> = diesel::sql_query(query)
        .bind::<SqlUuid, _>(trust.0)
        .bind::<Array<SqlUuid>, _>(pupils)
        .bind::<Array<SqlUuid>, _>(related)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.item).collect())
}

/// Where a place of a register lies.
fn session(year: AcademicYear, place: usize) -> Value {
    let days = u64::try_from(place / 2).unwrap_or(u64::MAX);
    let date = year.first_day().checked_add_days(chrono::Days::new(days));
    json!({ "date": date, "half": if place.is_multiple_of(2) { "AM" } else { "PM" } })
}

/// When sessions of some enrolments were first marked.
pub async fn first_entries(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    schools: &[Uuid],
    years: &[AcademicYear],
    enrolments: &[Uuid],
) -> Result<Vec<String>, StoreError> {
    let beginning = DateTime::<Utc>::UNIX_EPOCH;
    let mut found = first_entries_after(conn, trust, schools, years, enrolments, beginning).await?;
    found.sort_by_key(|entry| (entry.recorded_at, entry.enrolment_id, entry.first));
    Ok(found
        .into_iter()
        .map(|entry| {
            json!({
                "enrolment_id": entry.enrolment_id,
                "recorded_at": entry.recorded_at,
                "first_session": session(entry.year, entry.first),
                "sessions": entry.length,
            })
            .to_string()
        })
        .collect())
}

/// The marks of some pupils in uploads that wait for approval.
pub async fn uploads_waiting(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
) -> Result<Vec<String>, StoreError> {
    type Waiting = (Uuid, Uuid, chrono::NaiveDate, Vec<u8>);
    let waiting: Vec<Waiting> = reconciliations::table
        .filter(reconciliations::trust_id.eq(trust.0))
        .filter(reconciliations::state.eq("awaiting_approval"))
        .order(reconciliations::reconciliation_id)
        .select((
            reconciliations::reconciliation_id,
            reconciliations::school_id,
            reconciliations::from_date,
            reconciliations::content,
        ))
        .load(conn)
        .await?;
    let mut rows = Vec::new();
    for (reconciliation, school, from, content) in waiting {
        let year = AcademicYear::clamped(from);
        for (pupil, place, marks) in runs_of(&content)? {
            if !pupils.contains(&pupil) {
                continue;
            }
            let marks: Vec<&str> = marks
                .iter()
                .map(|byte| AttendanceCode::from_byte(*byte).map_or("", AttendanceCode::as_str))
                .collect();
            let row = json!({
                "reconciliation_id": reconciliation,
                "school_id": school,
                "pupil_id": pupil,
                "first_session": session(year, place),
                "codes": marks,
            });
            rows.push(row.to_string());
        }
    }
    Ok(rows)
}

/// A run of an upload: the pupil, the first place and the marks.
type Run<'a> = (Uuid, usize, &'a [u8]);

/// The runs of an upload, as the migration lays them down.
fn runs_of(content: &[u8]) -> Result<Vec<Run<'_>>, StoreError> {
    const CORRUPT: StoreError = StoreError::Corrupt("reconciliations.content");
    let mut rest = content;
    let mut runs = Vec::new();
    while !rest.is_empty() {
        let (pupil, after) = rest.split_first_chunk::<16>().ok_or(CORRUPT)?;
        let (_, after) = after.split_first_chunk::<4>().ok_or(CORRUPT)?;
        let (place, after) = after.split_first_chunk::<2>().ok_or(CORRUPT)?;
        let (length, after) = after.split_first_chunk::<2>().ok_or(CORRUPT)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (marks, after) = after.split_at_checked(length).ok_or(CORRUPT)?;
        runs.push((Uuid::from_bytes(*pupil), usize::from(u16::from_be_bytes(*place)), marks));
        rest = after;
    }
    Ok(runs)
}
