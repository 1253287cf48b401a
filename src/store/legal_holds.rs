//! Legal holds: somebody has to keep everything of a pupil. Placed and lifted, and never changed.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::{legal_hold_lifts, legal_holds};
use crate::domain::identifiers::TrustId;

diesel::allow_tables_to_appear_in_same_query!(legal_holds, legal_hold_lifts);

/// A legal hold as it was placed.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable, Selectable)]
#[diesel(table_name = legal_holds, check_for_backend(diesel::pg::Pg))]
pub struct PlacedRow {
    /// The trust.
    pub trust_id: Uuid,
    /// The legal hold.
    pub legal_hold_id: Uuid,
    /// The pupil.
    pub pupil_id: Uuid,
    /// Why.
    pub reason: String,
    /// Who, by name.
    pub placed_by_name: String,
    /// Who, by position.
    pub placed_by_position: String,
    /// When.
    pub placed_at: DateTime<Utc>,
    /// The request that asked for it, where it gave itself a name.
    pub request_id: Option<Uuid>,
}

/// That one was lifted.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable, Selectable)]
#[diesel(table_name = legal_hold_lifts, check_for_backend(diesel::pg::Pg))]
pub struct LiftedRow {
    /// The trust.
    pub trust_id: Uuid,
    /// The legal hold.
    pub legal_hold_id: Uuid,
    /// Why.
    pub reason: String,
    /// Who, by name.
    pub lifted_by_name: String,
    /// Who, by position.
    pub lifted_by_position: String,
    /// When.
    pub lifted_at: DateTime<Utc>,
}

/// A legal hold, with the end of it where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegalHoldRow {
    /// How it was placed.
    pub placed: PlacedRow,
    /// How it was lifted.
    pub lifted: Option<LiftedRow>,
}

impl From<(PlacedRow, Option<LiftedRow>)> for LegalHoldRow {
    fn from((placed, lifted): (PlacedRow, Option<LiftedRow>)) -> LegalHoldRow {
        LegalHoldRow { placed, lifted }
    }
}

/// Which legal holds are asked for.
#[derive(Clone, Debug, Default)]
pub struct LegalHoldFilter {
    /// This one alone.
    pub id: Option<Uuid>,
    /// The one that an earlier request of this name placed.
    pub request: Option<Uuid>,
    /// Only those of these pupils.
    pub pupils: Option<Vec<Uuid>>,
    /// Only those that stand.
    pub standing: bool,
    /// Only those placed before this one.
    pub before: Option<Uuid>,
}

/// Legal holds, latest first.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    filter: &LegalHoldFilter,
    most: i64,
) -> Result<Vec<LegalHoldRow>, StoreError> {
    let lift = legal_hold_lifts::trust_id
        .eq(legal_holds::trust_id)
        .and(legal_hold_lifts::legal_hold_id.eq(legal_holds::legal_hold_id));
    let mut query = legal_holds::table
        .left_join(legal_hold_lifts::table.on(lift))
        .filter(legal_holds::trust_id.eq(trust.0))
        .into_boxed();
    if let Some(id) = filter.id {
        query = query.filter(legal_holds::legal_hold_id.eq(id));
    }
    if let Some(request) = filter.request {
        query = query.filter(legal_holds::request_id.eq(request));
    }
    if let Some(pupils) = &filter.pupils {
        query = query.filter(legal_holds::pupil_id.eq_any(pupils.clone()));
    }
    if filter.standing {
        query = query.filter(legal_hold_lifts::legal_hold_id.nullable().is_null());
    }
    if let Some(before) = filter.before {
        query = query.filter(legal_holds::legal_hold_id.lt(before));
    }
    let rows: Vec<(PlacedRow, Option<LiftedRow>)> = query
        .order(legal_holds::legal_hold_id.desc())
        .limit(most)
        .select((PlacedRow::as_select(), Option::<LiftedRow>::as_select()))
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(LegalHoldRow::from).collect())
}

/// Places a legal hold. The pupil must be locked.
pub async fn place(conn: &mut AsyncPgConnection, row: &PlacedRow) -> Result<(), StoreError> {
    diesel::insert_into(legal_holds::table)
        .values(row)
        .execute(conn)
        .await?;
    Ok(())
}

/// Lifts a legal hold. False where somebody else has.
pub async fn lift(conn: &mut AsyncPgConnection, row: &LiftedRow) -> Result<bool, StoreError> {
    let lifted = diesel::insert_into(legal_hold_lifts::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(lifted == 1)
}
