//! What people did to pupils beside marks and actions. Append only.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StoreError;
use super::schema::pupil_changes;
use crate::domain::identifiers::{MisIdentifier, TrustId};
use crate::domain::person::Person;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Went from one school of the trust to another.
    Transferred,
    /// An enrolment was ended.
    EnrolmentEnded,
    /// The end of an enrolment was taken away.
    EnrolmentReopened,
    /// Two pupils were made one.
    Merged,
    /// That was undone.
    Unmerged,
    /// An MIS identifier went to another pupil.
    IdentifierReassigned,
}

impl ChangeKind {
    const ALL: [ChangeKind; 6] = [
        ChangeKind::Transferred,
        ChangeKind::EnrolmentEnded,
        ChangeKind::EnrolmentReopened,
        ChangeKind::Merged,
        ChangeKind::Unmerged,
        ChangeKind::IdentifierReassigned,
    ];

    /// The word under which it is stored.
    const fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Transferred => "transferred",
            ChangeKind::EnrolmentEnded => "enrolment_ended",
            ChangeKind::EnrolmentReopened => "enrolment_reopened",
            ChangeKind::Merged => "merged",
            ChangeKind::Unmerged => "unmerged",
            ChangeKind::IdentifierReassigned => "identifier_reassigned",
        }
    }
}

/// What exactly was done, as far as it applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChangeDetails {
    /// The enrolment that ended or was reopened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrolment_id: Option<Uuid>,
    /// The enrolment that began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_enrolment_id: Option<Uuid>,
    /// The last day of the enrolment, or on which an identifier named the former pupil.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_date: Option<NaiveDate>,
    /// The end of the enrolment before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub former_last_date: Option<NaiveDate>,
    /// Marks that were taken away.
    #[serde(skip_serializing_if = "is_zero")]
    pub marks_cleared: usize,
    /// The merge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge_id: Option<Uuid>,
    /// The other pupil.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_pupil_id: Option<Uuid>,
    /// The identifier that was reassigned: its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The identifier that was reassigned: its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Whether the pupil with whom it is kept is the one who stays, or has the identifier now.
    pub to_this_pupil: bool,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl ChangeDetails {
    /// The identifier that was reassigned.
    pub fn mis_identifier(&self) -> Option<MisIdentifier> {
        Some(MisIdentifier {
            source: self.source.clone()?,
            value: self.value.clone()?,
        })
    }
}

/// Something that a person did to a pupil.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its identifier, in the order of recording.
    pub change_id: Uuid,
    /// The pupil.
    pub pupil_id: Uuid,
    /// What was done.
    pub kind: ChangeKind,
    /// What exactly.
    pub details: ChangeDetails,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: Person,
    /// When.
    pub recorded_at: DateTime<Utc>,
    /// The request.
    pub request_id: Uuid,
}

/// Appends changes.
pub async fn append(conn: &mut AsyncPgConnection, trust: TrustId, changes: &[Change]) -> Result<(), StoreError> {
    let rows = changes.iter().map(|change| {
        let details =
            serde_json::to_value(&change.details).map_err(|_| StoreError::Corrupt("a change that is no JSON"))?;
        Ok((
            pupil_changes::trust_id.eq(trust.0),
            pupil_changes::pupil_id.eq(change.pupil_id),
            pupil_changes::change_id.eq(change.change_id),
            pupil_changes::kind.eq(change.kind.as_str()),
            pupil_changes::details.eq(details),
            pupil_changes::reason.eq(&change.reason),
            pupil_changes::changed_by_name.eq(&change.by.name),
            pupil_changes::changed_by_position.eq(&change.by.position),
            pupil_changes::recorded_at.eq(change.recorded_at),
            pupil_changes::request_id.eq(change.request_id),
        ))
    });
    diesel::insert_into(pupil_changes::table)
        .values(rows.collect::<Result<Vec<_>, StoreError>>()?)
        .execute(conn)
        .await?;
    Ok(())
}

/// The changes of some pupils, latest first: those before one of them, where one is given.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    before: Option<Uuid>,
    most: i64,
) -> Result<Vec<Change>, StoreError> {
    type Row = (
        Uuid,
        Uuid,
        String,
        serde_json::Value,
        String,
        String,
        String,
        DateTime<Utc>,
        Uuid,
    );
    let mut query = pupil_changes::table
        .filter(pupil_changes::trust_id.eq(trust.0))
        .filter(pupil_changes::pupil_id.eq_any(pupils))
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(pupil_changes::change_id.lt(before));
    }
    let rows: Vec<Row> = query
        .order(pupil_changes::change_id.desc())
        .limit(most)
        .select((
            pupil_changes::change_id,
            pupil_changes::pupil_id,
            pupil_changes::kind,
            pupil_changes::details,
            pupil_changes::reason,
            pupil_changes::changed_by_name,
            pupil_changes::changed_by_position,
            pupil_changes::recorded_at,
            pupil_changes::request_id,
        ))
        .load(conn)
        .await?;
    rows.into_iter()
        .map(
            |(change_id, pupil_id, kind, details, reason, name, position, recorded_at, request_id)| {
                let kind = ChangeKind::ALL.into_iter().find(|known| known.as_str() == kind);
                Ok(Change {
                    change_id,
                    pupil_id,
                    kind: kind.ok_or(StoreError::Corrupt("pupil_changes.kind"))?,
                    details: serde_json::from_value(details)
                        .map_err(|_| StoreError::Corrupt("pupil_changes.details"))?,
                    reason,
                    by: Person { name, position },
                    recorded_at,
                    request_id,
                })
            },
        )
        .collect()
}
