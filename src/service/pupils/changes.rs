//! What people do to pupils beside marks and actions: who decided and why is kept for good.

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::plan;
use crate::domain::identifiers::{PupilKey, TrustId};
use crate::domain::person::Person;
use crate::domain::pupil::incompatible_pair;
use crate::service::recorded::Request;
use crate::service::transaction::{existing_pupil, finish};
use crate::service::{Page, PageOf, Service, ServiceError, one_more};
use crate::store::StoreError;
use crate::store::merges;
use crate::store::pupil_changes::{self, Change, ChangeDetails, ChangeKind};
use crate::store::pupils::writes::PupilFields;
use crate::store::pupils::{self, EnrolmentRow};

/// Who decides about a pupil, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Why.
    pub reason: String,
    /// Who.
    pub by: Person,
    /// Names the request: asked for again under the same, it is answered with the first answer.
    pub request_id: Uuid,
    /// A digest of all that is asked for.
    pub fingerprint: Vec<u8>,
}

impl Decision {
    pub(super) fn request(&self) -> Request<'_> {
        Request {
            id: self.request_id,
            field: "request_id",
            fingerprint: &self.fingerprint,
        }
    }

    /// What was done to a pupil, to be kept.
    pub(super) fn change(
        &self,
        pupil_id: Uuid,
        kind: ChangeKind,
        details: ChangeDetails,
        now: DateTime<Utc>,
    ) -> Change {
        Change {
            change_id: Uuid::now_v7(),
            pupil_id,
            kind,
            details,
            reason: self.reason.clone(),
            by: self.by.clone(),
            recorded_at: now,
            request_id: self.request_id,
        }
    }
}

impl Service {
    /// What people did to a pupil and to those who are part of the pupil, latest first.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such pupil.
    pub async fn list_pupil_changes(
        &self,
        trust: TrustId,
        key: &PupilKey,
        page: Page<Uuid>,
    ) -> Result<PageOf<Change, Uuid>, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let listed = async {
            let pupil = existing_pupil(&mut transaction, trust, key).await?;
            let mut of = merges::parts_of(&mut transaction, trust, pupil.0).await?;
            of.push(pupil.0);
            let most = one_more(page.size);
            Ok(pupil_changes::list(&mut transaction, trust, &of, page.after, most).await?)
        }
        .await;
        let rows = finish(transaction, listed).await?;
        Ok(PageOf::from_rows(rows, page.size, |change| change.change_id))
    }
}

/// The fields of pupils as they are: writing them counts a change.
pub(super) async fn fields_of(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    of: &[Uuid],
) -> Result<Vec<PupilFields>, StoreError> {
    let rows = pupils::load(conn, trust, of).await?;
    Ok(rows.iter().map(plan::stored_fields).collect())
}

/// Refuses enrolments of one pupil that overlap in a way that is not allowed, and names the two.
pub(super) fn check_compatible(enrolments: &[EnrolmentRow]) -> Result<(), ServiceError> {
    let spans = enrolments
        .iter()
        .map(EnrolmentRow::span)
        .collect::<Result<Vec<_>, _>>()?;
    let Some((first, second)) = incompatible_pair(&spans) else {
        return Ok(());
    };
    let named = |place: usize| {
        let row = &enrolments[place];
        let end = row.end_date.map_or_else(|| "no end".to_owned(), |end| end.to_string());
        format!("{} ({} to {end})", row.enrolment_id, row.start_date)
    };
    Err(ServiceError::Precondition {
        reason: "OVERLAPPING_ENROLMENT",
        message: format!(
            "the enrolments {} and {} would overlap, which only main and subsidiary at two schools may: give one of them an \
             earlier last day first",
            named(first),
            named(second)
        ),
    })
}
