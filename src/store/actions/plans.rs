//! Plans of support. A plan's cycles and their reviews are appended and never changed; the plan itself says which cycle is the
//! last, when that is to be reviewed, and how the plan ended.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::StoreError;
use crate::domain::identifiers::{PupilId, TrustId};
use crate::domain::person::{Author, Person};
use crate::domain::plan::{Cycle, CycleContent, Plan, PlanEnd, PlanReview};
use crate::store::schema::{plan_cycles, plan_reviews, plans};

/// The place of a plan in a list: whether it is closed, the day by which it is listed, and its identifier.
pub type PlanKey = (bool, NaiveDate, Uuid);

/// Which plans to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanFilter {
    /// The day of the roll.
    pub today: NaiveDate,
    /// Only plans of pupils on roll at this school.
    pub school: Option<Uuid>,
    /// Only plans of this pupil.
    pub pupil: Option<Uuid>,
    /// Only closed ones, or only ones that are not.
    pub closed: Option<bool>,
    /// Only those listed by this day or a later one.
    pub from: Option<NaiveDate>,
    /// Only those listed by this day or an earlier one.
    pub to: Option<NaiveDate>,
}

#[derive(Queryable, Selectable, QueryableByName)]
#[diesel(table_name = plans, check_for_backend(diesel::pg::Pg))]
struct PlanRow {
    plan_id: Uuid,
    pupil_id: Uuid,
    episode: i32,
    provision_id: Option<String>,
    cycle: i32,
    started_on: NaiveDate,
    ended_on: Option<NaiveDate>,
    end_reason: Option<String>,
    end_comment: Option<String>,
    ended_by_name: Option<String>,
    ended_by_position: Option<String>,
    ended_by_id: Option<String>,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(Queryable, QueryableByName, Selectable, Insertable)]
#[diesel(table_name = plan_cycles, check_for_backend(diesel::pg::Pg))]
struct CycleRow {
    trust_id: Uuid,
    plan_id: Uuid,
    cycle: i32,
    aims: Value,
    steps: String,
    agreed_by: Value,
    starts_on: NaiveDate,
    review_on: NaiveDate,
    recorded_by_name: String,
    recorded_by_position: String,
    recorded_by_id: String,
    recorded_at: DateTime<Utc>,
}

#[derive(Queryable, QueryableByName, Selectable, Insertable)]
#[diesel(table_name = plan_reviews, check_for_backend(diesel::pg::Pg))]
struct ReviewRow {
    trust_id: Uuid,
    plan_id: Uuid,
    cycle: i32,
    found: String,
    decision: String,
    comment: String,
    attendees: Value,
    reviewed_on: NaiveDate,
    recorded_by_name: String,
    recorded_by_position: String,
    recorded_by_id: String,
    recorded_at: DateTime<Utc>,
}

fn json<T: Serialize>(of: &T) -> Result<Value, StoreError> {
    serde_json::to_value(of).map_err(|_| StoreError::Corrupt("a plan that is no JSON"))
}

/// A choice as it is stored.
fn name_of<T: Serialize>(choice: T) -> Result<String, StoreError> {
    match json(&choice)? {
        Value::String(name) => Ok(name),
        _ => Err(StoreError::Corrupt("a choice without a name")),
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, StoreError> {
    serde_json::from_value(value).map_err(|_| StoreError::Corrupt("a plan's cycle, review or end"))
}

fn author(name: String, position: String, person_id: String) -> Author {
    Author {
        person_id,
        person: Person { name, position },
    }
}

impl TryFrom<ReviewRow> for PlanReview {
    type Error = StoreError;

    fn try_from(row: ReviewRow) -> Result<PlanReview, StoreError> {
        Ok(PlanReview {
            found: row.found,
            decision: read(Value::String(row.decision))?,
            comment: row.comment,
            attendees: read(row.attendees)?,
            reviewed_on: row.reviewed_on,
            recorded_by: author(row.recorded_by_name, row.recorded_by_position, row.recorded_by_id),
            recorded_at: row.recorded_at,
        })
    }
}

fn cycle(row: CycleRow, review: Option<ReviewRow>) -> Result<Cycle, StoreError> {
    Ok(Cycle {
        number: row.cycle,
        content: CycleContent {
            aims: read(row.aims)?,
            steps: row.steps,
            agreed_by: read(row.agreed_by)?,
            starts_on: row.starts_on,
            review_on: row.review_on,
        },
        recorded_by: author(row.recorded_by_name, row.recorded_by_position, row.recorded_by_id),
        recorded_at: row.recorded_at,
        review: review.map(PlanReview::try_from).transpose()?,
    })
}

fn plan(row: PlanRow, cycles: Vec<Cycle>) -> Result<Plan, StoreError> {
    let end = match (row.ended_on, row.end_reason) {
        (Some(ended_on), Some(reason)) => Some(PlanEnd {
            reason: read(Value::String(reason))?,
            comment: row.end_comment.unwrap_or_default(),
            ended_on,
            recorded_by: author(
                row.ended_by_name.unwrap_or_default(),
                row.ended_by_position.unwrap_or_default(),
                row.ended_by_id.unwrap_or_default(),
            ),
            recorded_at: row.updated_at,
        }),
        (None, None) => None,
        _ => return Err(StoreError::Corrupt("the end of a plan")),
    };
    if cycles.last().is_none_or(|last| last.number != row.cycle) {
        return Err(StoreError::Corrupt("the cycles of a plan"));
    }
    Ok(Plan {
        plan_id: row.plan_id,
        pupil: PupilId(row.pupil_id),
        episode: row.episode,
        provision: row.provision_id,
        started_on: row.started_on,
        cycles,
        end,
        version: row.version,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// One plan with all its cycles; nothing where the trust has none of this identifier.
pub async fn find(conn: &mut AsyncPgConnection, trust: TrustId, plan_id: Uuid) -> Result<Option<Plan>, StoreError> {
    let row: Option<PlanRow> = plans::table
        .filter(plans::trust_id.eq(trust.0))
        .filter(plans::plan_id.eq(plan_id))
        .select(PlanRow::as_select())
        .first(conn)
        .await
        .optional()?;
    let Some(row) = row else {
        return Ok(None);
    };
    let cycles: Vec<CycleRow> = plan_cycles::table
        .filter(plan_cycles::trust_id.eq(trust.0))
        .filter(plan_cycles::plan_id.eq(plan_id))
        // What was appended since the plan was read is not of it.
        .filter(plan_cycles::cycle.le(row.cycle))
        .order(plan_cycles::cycle)
        .select(CycleRow::as_select())
        .load(conn)
        .await?;
    let ended_by = row.cycle - i32::from(row.ended_on.is_none());
    let reviews: Vec<ReviewRow> = plan_reviews::table
        .filter(plan_reviews::trust_id.eq(trust.0))
        .filter(plan_reviews::plan_id.eq(plan_id))
        .filter(plan_reviews::cycle.le(ended_by))
        .order(plan_reviews::cycle)
        .select(ReviewRow::as_select())
        .load(conn)
        .await?;
    let mut reviews = reviews.into_iter().peekable();
    let cycles = cycles.into_iter().map(|found| {
        let review = reviews.next_if(|review| review.cycle == found.cycle);
        cycle(found, review)
    });
    let cycles = cycles.collect::<Result<_, _>>()?;
    plan(row, cycles).map(Some)
}

/// The statement of a list. Of one school's or one pupil's plans those are read whose pupils are asked for, of the trust's as
/// many as a page holds.
fn list_statement(filter: &PlanFilter) -> String {
    const COLUMNS: &str = "p.plan_id, p.pupil_id, p.episode, p.provision_id, p.cycle, p.started_on, p.ended_on,
        p.end_reason, p.end_comment, p.ended_by_name, p.ended_by_position, p.ended_by_id, p.version, p.created_at,
        p.updated_at";
    let mut conditions = "p.trust_id = $1 AND (p.closed, p.list_on, p.plan_id) > ($2, $3, $4)".to_owned();
    // A plain condition on the first column behind the trust, so that an index is entered at its place.
    conditions += match filter.closed {
        Some(true) => " AND p.closed",
        Some(false) => " AND NOT p.closed",
        None => "",
    };
    // Each parameter stands somewhere, with its type.
    conditions += match filter.from {
        Some(_) => " AND p.list_on >= $6",
        None => " AND $6::date IS NULL",
    };
    conditions += match filter.to {
        Some(_) => " AND p.list_on <= $7",
        None => " AND $7::date IS NULL",
    };
    conditions += match filter.school {
        Some(_) => "",
        None => " AND $8::uuid IS NULL AND $10::date IS NOT NULL",
    };
    if filter.pupil.is_none() {
        conditions += " AND $9::uuid IS NULL";
    }
    const ON_ROLL: &str = "SELECT DISTINCT pupil_id FROM enrolments WHERE trust_id = $1 AND school_id = $8
        AND start_date <= $10 AND (end_date IS NULL OR end_date >= $10)";
    let of_pupils = match (filter.school, filter.pupil) {
        (None, None) => None,
        (None, Some(_)) => Some("(SELECT $9::uuid AS pupil_id)".to_owned()),
        (Some(_), None) => Some(format!("({ON_ROLL})")),
        (Some(_), Some(_)) => Some(format!("({ON_ROLL} AND pupil_id = $9)")),
    };
    let order = "ORDER BY p.closed, p.list_on, p.plan_id LIMIT $5";
    match of_pupils {
        None => format!("SELECT {COLUMNS} FROM plans AS p WHERE {conditions} {order}"),
        Some(pupils) => format!(
            "SELECT {COLUMNS} FROM {pupils} AS k
             CROSS JOIN LATERAL (SELECT * FROM plans WHERE trust_id = $1 AND pupil_id = k.pupil_id OFFSET 0) AS p
             WHERE {conditions} {order}"
        ),
    }
}

/// Up to `limit` plans behind `after`, each with its last cycle: open ones by the day of their next review, then closed ones by
/// the day on which they ended.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    filter: &PlanFilter,
    after: Option<PlanKey>,
    limit: i64,
) -> Result<Vec<(PlanKey, Plan)>, StoreError> {
    let (closed, on, plan_id) = after.unwrap_or((false, NaiveDate::default(), Uuid::nil()));
    let rows: Vec<PlanRow> = diesel::sql_query(list_statement(filter))
        .bind::<sql_types::Uuid, _>(trust.0)
        .bind::<sql_types::Bool, _>(closed)
        .bind::<sql_types::Date, _>(on)
        .bind::<sql_types::Uuid, _>(plan_id)
        .bind::<sql_types::BigInt, _>(limit)
        .bind::<sql_types::Nullable<sql_types::Date>, _>(filter.from)
        .bind::<sql_types::Nullable<sql_types::Date>, _>(filter.to)
        .bind::<sql_types::Nullable<sql_types::Uuid>, _>(filter.school)
        .bind::<sql_types::Nullable<sql_types::Uuid>, _>(filter.pupil)
        .bind::<sql_types::Date, _>(filter.today)
        .load(conn)
        .await?;
    let last = last_cycles(conn, trust, &rows).await?;
    if last.len() != rows.len() {
        return Err(StoreError::Corrupt("the cycles of a plan"));
    }
    let listed = rows.into_iter().zip(last).map(|(row, last)| {
        let closed = row.ended_on;
        let plan = plan(row, vec![last])?;
        let on = closed.or(plan.next_review_on());
        let on = on.ok_or(StoreError::Corrupt("the days of a plan"))?;
        Ok(((closed.is_some(), on, plan.plan_id), plan))
    });
    listed.collect()
}

/// The last cycle of each of the plans, in their order.
async fn last_cycles(conn: &mut AsyncPgConnection, trust: TrustId, of: &[PlanRow]) -> Result<Vec<Cycle>, StoreError> {
    /// What is read of a table by the keys of cycles.
    fn by_cycle(table: &str) -> String {
        format!(
            "SELECT f.* FROM unnest($2::uuid[], $3::integer[]) WITH ORDINALITY AS k(plan_id, cycle, place)
             CROSS JOIN LATERAL (
                 SELECT * FROM {table} WHERE trust_id = $1 AND plan_id = k.plan_id AND cycle = k.cycle OFFSET 0
             ) AS f
             ORDER BY k.place"
        )
    }
    let ids: Vec<Uuid> = of.iter().map(|plan| plan.plan_id).collect();
    let numbers: Vec<i32> = of.iter().map(|plan| plan.cycle).collect();
    let cycles: Vec<CycleRow> = diesel::sql_query(by_cycle("plan_cycles"))
        .bind::<sql_types::Uuid, _>(trust.0)
        .bind::<sql_types::Array<sql_types::Uuid>, _>(&ids)
        .bind::<sql_types::Array<sql_types::Integer>, _>(&numbers)
        .load(conn)
        .await?;
    let closed = of.iter().filter(|plan| plan.ended_on.is_some());
    let (ids, numbers): (Vec<Uuid>, Vec<i32>) = closed.map(|plan| (plan.plan_id, plan.cycle)).unzip();
    let reviews: Vec<ReviewRow> = diesel::sql_query(by_cycle("plan_reviews"))
        .bind::<sql_types::Uuid, _>(trust.0)
        .bind::<sql_types::Array<sql_types::Uuid>, _>(&ids)
        .bind::<sql_types::Array<sql_types::Integer>, _>(&numbers)
        .load(conn)
        .await?;
    let mut reviews = reviews.into_iter().peekable();
    let cycles = cycles.into_iter().map(|found| {
        let review = reviews.next_if(|review| review.plan_id == found.plan_id);
        cycle(found, review)
    });
    cycles.collect()
}

async fn append_cycle(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    plan_id: Uuid,
    cycle: &Cycle,
) -> Result<(), StoreError> {
    let row = CycleRow {
        trust_id: trust.0,
        plan_id,
        cycle: cycle.number,
        aims: json(&cycle.content.aims)?,
        steps: cycle.content.steps.clone(),
        agreed_by: json(&cycle.content.agreed_by)?,
        starts_on: cycle.content.starts_on,
        review_on: cycle.content.review_on,
        recorded_by_name: cycle.recorded_by.person.name.clone(),
        recorded_by_position: cycle.recorded_by.person.position.clone(),
        recorded_by_id: cycle.recorded_by.person_id.clone(),
        recorded_at: cycle.recorded_at,
    };
    diesel::insert_into(plan_cycles::table)
        .values(row)
        .execute(conn)
        .await?;
    Ok(())
}

/// Keeps a plan that was just made. Its pupil has to be locked, and its action, where it names one, has to be a row.
pub async fn insert(conn: &mut AsyncPgConnection, trust: TrustId, plan: &Plan) -> Result<(), StoreError> {
    let first = plan.current().ok_or(StoreError::Corrupt("the cycles of a plan"))?;
    diesel::insert_into(plans::table)
        .values((
            plans::trust_id.eq(trust.0),
            plans::plan_id.eq(plan.plan_id),
            plans::pupil_id.eq(plan.pupil.0),
            plans::episode.eq(plan.episode),
            plans::provision_id.eq(&plan.provision),
            plans::cycle.eq(first.number),
            plans::closed.eq(false),
            plans::started_on.eq(plan.started_on),
            plans::next_review_on.eq(plan.next_review_on()),
            plans::version.eq(plan.version),
            plans::created_at.eq(plan.created_at),
            plans::updated_at.eq(plan.updated_at),
        ))
        .execute(conn)
        .await?;
    append_cycle(conn, trust, plan.plan_id, first).await
}

/// Appends the review of a plan's last cycle.
pub async fn append_review(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    plan_id: Uuid,
    cycle: i32,
    review: &PlanReview,
) -> Result<(), StoreError> {
    let row = ReviewRow {
        trust_id: trust.0,
        plan_id,
        cycle,
        found: review.found.clone(),
        decision: name_of(review.decision)?,
        comment: review.comment.clone(),
        attendees: json(&review.attendees)?,
        reviewed_on: review.reviewed_on,
        recorded_by_name: review.recorded_by.person.name.clone(),
        recorded_by_position: review.recorded_by.person.position.clone(),
        recorded_by_id: review.recorded_by.person_id.clone(),
        recorded_at: review.recorded_at,
    };
    diesel::insert_into(plan_reviews::table)
        .values(row)
        .execute(conn)
        .await?;
    Ok(())
}

/// Begins a plan's next cycle, and counts its version up. The pupil has to be locked.
pub async fn begin_cycle(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    plan_id: Uuid,
    cycle: &Cycle,
) -> Result<(), StoreError> {
    append_cycle(conn, trust, plan_id, cycle).await?;
    diesel::update(plans::table)
        .filter(plans::trust_id.eq(trust.0))
        .filter(plans::plan_id.eq(plan_id))
        .set((
            plans::cycle.eq(cycle.number),
            plans::next_review_on.eq(cycle.content.review_on),
            plans::version.eq(plans::version + 1),
            plans::updated_at.eq(cycle.recorded_at),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends a plan, and counts its version up. The pupil has to be locked.
pub async fn close(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    plan_id: Uuid,
    end: &PlanEnd,
) -> Result<(), StoreError> {
    diesel::update(plans::table)
        .filter(plans::trust_id.eq(trust.0))
        .filter(plans::plan_id.eq(plan_id))
        .set((
            plans::closed.eq(true),
            plans::next_review_on.eq(None::<NaiveDate>),
            plans::ended_on.eq(end.ended_on),
            plans::end_reason.eq(name_of(end.reason)?),
            plans::end_comment.eq(&end.comment),
            plans::ended_by_name.eq(&end.recorded_by.person.name),
            plans::ended_by_position.eq(&end.recorded_by.person.position),
            plans::ended_by_id.eq(&end.recorded_by.person_id),
            plans::version.eq(plans::version + 1),
            plans::updated_at.eq(end.recorded_at),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
