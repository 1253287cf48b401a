//! Reconciliations: what was uploaded while it waits, what it does or would do, and what it does to each pupil.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::{reconciliation_pupils, reconciliations};
use crate::domain::identifiers::TrustId;
use crate::domain::person::Person;
use crate::domain::stage::Stage;

/// Where a reconciliation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconciliationState {
    /// It stopped before its first write, and waits for a person.
    AwaitingApproval,
    /// It was carried out.
    Applied,
    /// It was given up.
    Discarded,
}

impl ReconciliationState {
    const ALL: [ReconciliationState; 3] = [
        ReconciliationState::AwaitingApproval,
        ReconciliationState::Applied,
        ReconciliationState::Discarded,
    ];

    /// The word under which it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            ReconciliationState::AwaitingApproval => "awaiting_approval",
            ReconciliationState::Applied => "applied",
            ReconciliationState::Discarded => "discarded",
        }
    }
}

/// A reconciliation as it is stored. What was uploaded is read apart.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = reconciliations, check_for_backend(diesel::pg::Pg))]
pub struct ReconciliationRow {
    /// The trust.
    pub trust_id: Uuid,
    /// Its identifier, in the order of recording.
    pub reconciliation_id: Uuid,
    /// The school.
    pub school_id: Uuid,
    /// The first day.
    pub from_date: NaiveDate,
    /// The last day.
    pub to_date: NaiveDate,
    /// The word of its state.
    pub state: String,
    /// The limits under which it was planned.
    pub limits: serde_json::Value,
    /// What it does or would do, in numbers.
    pub plan: serde_json::Value,
    /// Names the rows of the pupils.
    pub plan_number: i32,
    /// Why.
    pub reason: String,
    /// Who asked for it, by name.
    pub requested_by_name: String,
    /// Who asked for it, by position.
    pub requested_by_position: String,
    /// The request, under which its revisions are kept.
    pub request_id: Uuid,
    /// Who approved or discarded it, by name.
    pub decided_by_name: Option<String>,
    /// Who approved or discarded it, by position.
    pub decided_by_position: Option<String>,
    /// Why it was discarded.
    pub decision_reason: Option<String>,
    /// Counts the changes, from 1.
    pub version: i64,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl ReconciliationRow {
    /// Where it is.
    pub fn state(&self) -> Result<ReconciliationState, StoreError> {
        let mut states = ReconciliationState::ALL.into_iter();
        let state = states.find(|state| state.as_str() == self.state);
        state.ok_or(StoreError::Corrupt("reconciliations.state"))
    }
}

/// Records a reconciliation, with what was uploaded where it waits.
pub async fn insert(conn: &mut AsyncPgConnection, row: &ReconciliationRow, content: &[u8]) -> Result<(), StoreError> {
    diesel::insert_into(reconciliations::table)
        .values((row, reconciliations::content.eq(content)))
        .execute(conn)
        .await?;
    Ok(())
}

/// A reconciliation.
pub async fn find(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    reconciliation_id: Uuid,
) -> Result<Option<ReconciliationRow>, StoreError> {
    Ok(reconciliations::table
        .filter(reconciliations::trust_id.eq(trust.0))
        .filter(reconciliations::reconciliation_id.eq(reconciliation_id))
        .select(ReconciliationRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// A reconciliation with what was uploaded, locked until the transaction ends.
pub async fn lock(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    reconciliation_id: Uuid,
) -> Result<Option<(ReconciliationRow, Vec<u8>)>, StoreError> {
    Ok(reconciliations::table
        .filter(reconciliations::trust_id.eq(trust.0))
        .filter(reconciliations::reconciliation_id.eq(reconciliation_id))
        .select((ReconciliationRow::as_select(), reconciliations::content))
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?)
}

/// Reconciliations of a trust, a school or in a state, latest first: those before one of them, where one is given.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: Option<Uuid>,
    state: Option<ReconciliationState>,
    before: Option<Uuid>,
    most: i64,
) -> Result<Vec<ReconciliationRow>, StoreError> {
    let mut query = reconciliations::table
        .filter(reconciliations::trust_id.eq(trust.0))
        .into_boxed();
    if let Some(school) = school {
        query = query.filter(reconciliations::school_id.eq(school));
    }
    if let Some(state) = state {
        query = query.filter(reconciliations::state.eq(state.as_str()));
    }
    if let Some(before) = before {
        query = query.filter(reconciliations::reconciliation_id.lt(before));
    }
    Ok(query
        .order(reconciliations::reconciliation_id.desc())
        .limit(most)
        .select(ReconciliationRow::as_select())
        .load(conn)
        .await?)
}

/// Writes a plan that took the place of another. The reconciliation must be locked.
pub async fn replan(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    reconciliation_id: Uuid,
    plan: &serde_json::Value,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let row = reconciliations::table
        .filter(reconciliations::trust_id.eq(trust.0))
        .filter(reconciliations::reconciliation_id.eq(reconciliation_id));
    diesel::update(row)
        .set((
            reconciliations::plan.eq(plan),
            reconciliations::plan_number.eq(reconciliations::plan_number + 1),
            reconciliations::version.eq(reconciliations::version + 1),
            reconciliations::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Records that a person approved or discarded a reconciliation. What was uploaded is no longer kept. It must be locked.
pub async fn decide(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    reconciliation_id: Uuid,
    state: ReconciliationState,
    by: &Person,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let row = reconciliations::table
        .filter(reconciliations::trust_id.eq(trust.0))
        .filter(reconciliations::reconciliation_id.eq(reconciliation_id));
    diesel::update(row)
        .set((
            reconciliations::state.eq(state.as_str()),
            reconciliations::content.eq(Vec::<u8>::new()),
            reconciliations::decided_by_name.eq(&by.name),
            reconciliations::decided_by_position.eq(&by.position),
            reconciliations::decision_reason.eq(reason),
            reconciliations::version.eq(reconciliations::version + 1),
            reconciliations::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// What a reconciliation does or would do to one pupil.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedPupil {
    /// The pupil.
    pub pupil_id: Uuid,
    /// Sessions that had no mark.
    pub marks_new: usize,
    /// Marks changed.
    pub marks_changed: usize,
    /// Marks that are the same.
    pub marks_unchanged: usize,
    /// The places of the marks taken away, in order.
    pub removed: Vec<u16>,
    /// The stages before and after, where the pupil moves.
    pub moves: Option<(Stage, Stage)>,
    /// Whether the upload holds nothing of the pupil.
    pub missing: bool,
}

/// Keeps what a plan does to pupils.
pub async fn insert_pupils(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    reconciliation_id: Uuid,
    plan_number: i32,
    pupils: &[PlannedPupil],
) -> Result<(), StoreError> {
    if pupils.is_empty() {
        return Ok(());
    }
    let counts = |value: fn(&PlannedPupil) -> usize| {
        let counts = pupils
            .iter()
            .map(|pupil| i32::try_from(value(pupil)).unwrap_or(i32::MAX));
        counts.collect::<Vec<i32>>()
    };
    let stages = |value: fn(&(Stage, Stage)) -> Stage| {
        let stages = pupils
            .iter()
            .map(|pupil| pupil.moves.as_ref().map(|moves| i16::from(value(moves).number())));
        stages.collect::<Vec<Option<i16>>>()
    };
    let removed: Vec<Vec<u8>> = pupils
        .iter()
        .map(|pupil| pupil.removed.iter().flat_map(|place| place.to_be_bytes()).collect())
        .collect();
    diesel::sql_query(
        "INSERT INTO reconciliation_pupils (trust_id, reconciliation_id, plan_number, pupil_id, marks_new, marks_changed,
             marks_unchanged, removed, from_stage, to_stage, missing)
         SELECT $1, $2, $3, n.* FROM unnest($4, $5, $6, $7, $8, $9, $10, $11) AS n",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Uuid, _>(reconciliation_id)
    .bind::<sql_types::Integer, _>(plan_number)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(pupils.iter().map(|pupil| pupil.pupil_id).collect::<Vec<_>>())
    .bind::<sql_types::Array<sql_types::Integer>, _>(counts(|pupil| pupil.marks_new))
    .bind::<sql_types::Array<sql_types::Integer>, _>(counts(|pupil| pupil.marks_changed))
    .bind::<sql_types::Array<sql_types::Integer>, _>(counts(|pupil| pupil.marks_unchanged))
    .bind::<sql_types::Array<sql_types::Binary>, _>(removed)
    .bind::<sql_types::Array<sql_types::Nullable<sql_types::SmallInt>>, _>(stages(|moves| moves.0))
    .bind::<sql_types::Array<sql_types::Nullable<sql_types::SmallInt>>, _>(stages(|moves| moves.1))
    .bind::<sql_types::Array<sql_types::Bool>, _>(pupils.iter().map(|pupil| pupil.missing).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// What a plan does to pupils, in the order of their identifiers: those after one of them.
pub async fn pupils(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    reconciliation_id: Uuid,
    plan_number: i32,
    after: Uuid,
    most: i64,
) -> Result<Vec<PlannedPupil>, StoreError> {
    type Row = (Uuid, i32, i32, i32, Vec<u8>, Option<i16>, Option<i16>, bool);
    let rows: Vec<Row> = reconciliation_pupils::table
        .filter(reconciliation_pupils::trust_id.eq(trust.0))
        .filter(reconciliation_pupils::reconciliation_id.eq(reconciliation_id))
        .filter(reconciliation_pupils::plan_number.eq(plan_number))
        .filter(reconciliation_pupils::pupil_id.gt(after))
        .order(reconciliation_pupils::pupil_id)
        .limit(most)
        .select((
            reconciliation_pupils::pupil_id,
            reconciliation_pupils::marks_new,
            reconciliation_pupils::marks_changed,
            reconciliation_pupils::marks_unchanged,
            reconciliation_pupils::removed,
            reconciliation_pupils::from_stage,
            reconciliation_pupils::to_stage,
            reconciliation_pupils::missing,
        ))
        .load(conn)
        .await?;
    let count = |count: i32| usize::try_from(count).unwrap_or_default();
    let stage = |number: i16| Stage::from_number(number).ok_or(StoreError::Corrupt("reconciliation_pupils"));
    rows.into_iter()
        .map(|(pupil_id, new, changed, unchanged, removed, from, to, missing)| {
            let places = removed
                .chunks_exact(2)
                .map(|place| u16::from_be_bytes([place[0], place[1]]));
            let moves = match (from, to) {
                (Some(from), Some(to)) => Some((stage(from)?, stage(to)?)),
                _ => None,
            };
            Ok(PlannedPupil {
                pupil_id,
                marks_new: count(new),
                marks_changed: count(changed),
                marks_unchanged: count(unchanged),
                removed: places.collect(),
                moves,
                missing,
            })
        })
        .collect()
}
