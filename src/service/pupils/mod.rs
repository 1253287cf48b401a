//! Pupils: who is on roll, where, and under which identifiers.

mod changes;
mod merge;
mod moves;
mod plan;
mod reassign;
mod update;
mod upsert;

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::error::Resource;
use super::schools::require_school;
use super::transaction::finish;
use super::trusts::{not_found, require_trust};
use super::{Page, PageOf, Service, ServiceError};
use crate::domain::identifiers::{EnrolmentId, MisIdentifier, PupilId, PupilKey, SchoolKey, TrustId, Upn};
use crate::domain::pupil::{EnrolmentKind, EnrolmentSpan};
use crate::store::StoreError;
use crate::store::pupils::{self, EnrolmentRow, IdentifierRow, KIND_MIS, KIND_UPN, PupilRow};

pub use changes::Decision;
pub use merge::{MergeOutcome, MergeRequest, UnmergeRequest};
pub use moves::{EndRequest, MoveOutcome, ReopenRequest, TransferRequest};
pub use reassign::{NewOwner, ReassignOutcome, ReassignRequest};
pub use update::PupilChanges;
pub use upsert::{UpsertOutcome, UpsertRequest};

/// An enrolment of a pupil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The enrolment.
    pub id: EnrolmentId,
    /// Where, of what kind, from when to when.
    pub span: EnrolmentSpan,
}

/// A pupil, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pupil {
    /// The pupil.
    pub id: PupilId,
    /// The current UPN.
    pub upn: Option<String>,
    /// The current identifiers in management information systems, by source and value.
    pub mis_identifiers: Vec<MisIdentifier>,
    /// Given name; empty where callers give none.
    pub given_name: String,
    /// Family name; empty where callers give none.
    pub family_name: String,
    /// Date of birth.
    pub date_of_birth: Option<NaiveDate>,
    /// Year group: the number of the contract's enum, from 1.
    pub year_group: Option<i16>,
    /// Enrolments, by start date.
    pub enrolments: Vec<Enrolment>,
    /// Counts the changes, from 1.
    pub version: i64,
    /// When the pupil was first recorded.
    pub created_at: DateTime<Utc>,
    /// When the pupil last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was erased who the pupil is.
    pub erased_at: Option<DateTime<Utc>>,
}

/// An enrolment as a caller's system holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolmentInput {
    /// The school.
    pub school: SchoolKey,
    /// Sole, main or subsidiary.
    pub kind: EnrolmentKind,
    /// The first day on roll.
    pub start: NaiveDate,
    /// The last day on roll; nothing while the pupil is on roll.
    pub end: Option<NaiveDate>,
}

/// A pupil as a caller's system holds it. What is empty leaves the stored value as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PupilInput {
    /// The UPN.
    pub upn: Option<Upn>,
    /// Identifiers in management information systems; one that is not named stays.
    pub mis_identifiers: Vec<MisIdentifier>,
    /// Given name.
    pub given_name: String,
    /// Family name.
    pub family_name: String,
    /// Date of birth.
    pub date_of_birth: Option<NaiveDate>,
    /// Year group: the number of the contract's enum, from 1.
    pub year_group: Option<i16>,
    /// Enrolments, matched with those there by school and start date; one that is not named stays.
    pub enrolments: Vec<EnrolmentInput>,
}

impl Service {
    /// One pupil, named by any identifier.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where the trust has no such pupil.
    pub async fn get_pupil(&self, trust: TrustId, key: PupilKey) -> Result<Pupil, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let found = get(&mut transaction, trust, key).await;
        finish(transaction, found).await
    }

    /// Pupils of a trust, leavers included, or those on roll today at one of its schools, in the order of their
    /// identifiers.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where there is no such trust or school.
    pub async fn list_pupils(
        &self,
        trust: TrustId,
        school: Option<SchoolKey>,
        page: Page<Uuid>,
    ) -> Result<PageOf<Pupil, Uuid>, ServiceError> {
        let today = self.clock.today();
        let mut transaction = self.store.begin(trust).await?;
        let listed = list(&mut transaction, trust, school, today, &page).await;
        finish(transaction, listed).await
    }
}

async fn get(conn: &mut AsyncPgConnection, trust: TrustId, key: PupilKey) -> Result<Pupil, ServiceError> {
    let resolved = pupils::resolve_pupils(conn, trust, &[key]).await?;
    let found = match resolved.into_iter().flatten().next() {
        Some(pupil) => load_one(conn, trust, pupil).await?,
        None => None,
    };
    match found {
        Some(pupil) => Ok(pupil),
        None => Err(not_found(conn, trust, Resource::Pupil).await?),
    }
}

async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: Option<SchoolKey>,
    today: NaiveDate,
    page: &Page<Uuid>,
) -> Result<PageOf<Pupil, Uuid>, ServiceError> {
    let (after, count) = page.keyset();
    let rows = match school {
        Some(key) => {
            let school = require_school(conn, trust, &key).await?;
            pupils::list_on_roll(conn, trust, school, today, after, count).await?
        }
        None => {
            require_trust(conn, trust).await?;
            pupils::list(conn, trust, after, count).await?
        }
    };
    let page = PageOf::from_rows(rows, page.size, |row| row.pupil_id);
    Ok(PageOf {
        rows: whole(conn, trust, page.rows).await?,
        next: page.next,
    })
}

/// A pupil, whole; nothing where the trust has none.
pub(super) async fn load_one(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupil: PupilId,
) -> Result<Option<Pupil>, StoreError> {
    let rows = pupils::load(conn, trust, &[pupil.0]).await?;
    Ok(whole(conn, trust, rows).await?.pop())
}

/// The pupils with their identifiers and enrolments, in the order given: two statements.
async fn whole(conn: &mut AsyncPgConnection, trust: TrustId, rows: Vec<PupilRow>) -> Result<Vec<Pupil>, StoreError> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.pupil_id).collect();
    let (mut identifiers, mut enrolments) = parts_of(conn, trust, &ids).await?;
    rows.into_iter()
        .map(|row| {
            let identifiers = identifiers.remove(&row.pupil_id).unwrap_or_default();
            let enrolments = enrolments.remove(&row.pupil_id).unwrap_or_default();
            pupil(row, identifiers, &enrolments)
        })
        .collect()
}

type Parts = (HashMap<Uuid, Vec<IdentifierRow>>, HashMap<Uuid, Vec<EnrolmentRow>>);

/// The identifiers and the enrolments of each pupil.
async fn parts_of(conn: &mut AsyncPgConnection, trust: TrustId, ids: &[Uuid]) -> Result<Parts, StoreError> {
    let (mut identifiers, mut enrolments) = Parts::default();
    if ids.is_empty() {
        return Ok((identifiers, enrolments));
    }
    for row in pupils::identifiers_of(conn, trust, ids).await? {
        identifiers.entry(row.pupil_id).or_default().push(row);
    }
    for row in pupils::enrolments_of(conn, trust, ids).await? {
        enrolments.entry(row.pupil_id).or_default().push(row);
    }
    Ok((identifiers, enrolments))
}

fn pupil(row: PupilRow, identifiers: Vec<IdentifierRow>, enrolments: &[EnrolmentRow]) -> Result<Pupil, StoreError> {
    let (mut upn, mut mis_identifiers) = (None, Vec::new());
    for identifier in identifiers.into_iter().filter(|identifier| identifier.is_current) {
        match identifier.kind {
            KIND_UPN => upn = Some(identifier.value),
            KIND_MIS => mis_identifiers.push(MisIdentifier {
                source: identifier.source,
                value: identifier.value,
            }),
            _ => return Err(StoreError::Corrupt("pupil_identifiers.kind")),
        }
    }
    let enrolments = enrolments.iter().map(|row| {
        Ok(Enrolment {
            id: EnrolmentId(row.enrolment_id),
            span: row.span()?,
        })
    });
    Ok(Pupil {
        id: PupilId(row.pupil_id),
        upn,
        mis_identifiers,
        given_name: row.given_name,
        family_name: row.family_name,
        date_of_birth: row.date_of_birth,
        year_group: row.year_group,
        enrolments: enrolments.collect::<Result<_, StoreError>>()?,
        version: row.version,
        created_at: row.created_at,
        updated_at: row.updated_at,
        erased_at: row.erased_at,
    })
}
