//! Legal holds: while one stands, nothing of the pupil is removed or erased.

use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::domain::identifiers::{PupilId, PupilKey, TrustId};
use crate::domain::person::Person;
use crate::service::error::Resource;
use crate::service::recorded::request_id_reused;
use crate::service::transaction::{existing_pupil, finish, locked_pupil, retry};
use crate::service::trusts::{not_found, require_trust};
use crate::service::{Page, PageOf, Service, ServiceError, one_more};
use crate::store::legal_holds::{self as store, LegalHoldFilter, LegalHoldRow, LiftedRow, PlacedRow};
use crate::store::{TrustTransaction, retention, stages};

/// A legal hold that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLegalHold {
    /// The pupil.
    pub pupil: PupilKey,
    /// Why.
    pub reason: String,
    /// Who places it.
    pub by: Person,
    /// The request's own name, by which a retry is known.
    pub request: Option<Uuid>,
}

impl Service {
    /// Places a legal hold. A retry of a request returns the first one.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such pupil, `Invalid` where the request's name was used for something else.
    pub async fn place_legal_hold(&self, trust: TrustId, asked: &NewLegalHold) -> Result<LegalHoldRow, ServiceError> {
        retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let placed = self.place(&mut transaction, trust, asked).await;
            finish(transaction, placed).await
        })
        .await
    }

    async fn place(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        asked: &NewLegalHold,
    ) -> Result<LegalHoldRow, ServiceError> {
        let (PupilId(pupil), _) = locked_pupil(transaction, trust, &asked.pupil).await?;
        if let Some(request) = asked.request {
            let filter = LegalHoldFilter {
                request: Some(request),
                ..LegalHoldFilter::default()
            };
            if let Some(earlier) = store::list(transaction, trust, &filter, 1).await?.pop() {
                return same(earlier, pupil, asked);
            }
        }
        let placed = PlacedRow {
            trust_id: trust.0,
            legal_hold_id: Uuid::now_v7(),
            pupil_id: pupil,
            reason: asked.reason.clone(),
            placed_by_name: asked.by.name.clone(),
            placed_by_position: asked.by.position.clone(),
            placed_at: self.clock.now(),
            request_id: asked.request,
        };
        store::place(transaction, &placed).await?;
        Ok(LegalHoldRow { placed, lifted: None })
    }

    /// Lifts a legal hold.
    ///
    /// # Errors
    /// `NotFound` where there is none, `Precondition` where it was lifted before.
    pub async fn lift_legal_hold(
        &self,
        trust: TrustId,
        id: Uuid,
        reason: &str,
        by: &Person,
    ) -> Result<LegalHoldRow, ServiceError> {
        retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let lifted = self.lift(&mut transaction, trust, id, reason, by).await;
            finish(transaction, lifted).await
        })
        .await
    }

    async fn lift(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        id: Uuid,
        reason: &str,
        by: &Person,
    ) -> Result<LegalHoldRow, ServiceError> {
        let Some(found) = find(transaction, trust, id).await? else {
            return Err(not_found(transaction, trust, Resource::LegalHold).await?);
        };
        stages::lock(transaction, trust, &[found.placed.pupil_id]).await?;
        let lifted = LiftedRow {
            trust_id: trust.0,
            legal_hold_id: id,
            reason: reason.to_owned(),
            lifted_by_name: by.name.clone(),
            lifted_by_position: by.position.clone(),
            lifted_at: self.clock.now(),
        };
        if found.lifted.is_some() || !store::lift(transaction, &lifted).await? {
            return Err(ServiceError::Precondition {
                reason: "LEGAL_HOLD_LIFTED",
                message: "the legal hold was lifted already: place another one where it is needed again".to_owned(),
            });
        }
        Ok(LegalHoldRow {
            placed: found.placed,
            lifted: Some(lifted),
        })
    }

    /// Legal holds, latest first: those that stand, or all.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or pupil.
    pub async fn list_legal_holds(
        &self,
        trust: TrustId,
        pupil: Option<&PupilKey>,
        include_lifted: bool,
        page: Page<Uuid>,
    ) -> Result<PageOf<LegalHoldRow, Uuid>, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let listed = async {
            require_trust(&mut transaction, trust).await?;
            let pupils = match pupil {
                None => None,
                Some(key) => {
                    let PupilId(pupil) = existing_pupil(&mut transaction, trust, key).await?;
                    Some(retention::with_merged(&mut transaction, trust, &[pupil]).await?)
                }
            };
            let filter = LegalHoldFilter {
                pupils,
                standing: !include_lifted,
                before: page.after,
                ..LegalHoldFilter::default()
            };
            Ok(store::list(&mut transaction, trust, &filter, one_more(page.size)).await?)
        }
        .await;
        let rows = finish(transaction, listed).await?;
        Ok(PageOf::from_rows(rows, page.size, |row| row.placed.legal_hold_id))
    }
}

async fn find(conn: &mut AsyncPgConnection, trust: TrustId, id: Uuid) -> Result<Option<LegalHoldRow>, ServiceError> {
    let filter = LegalHoldFilter {
        id: Some(id),
        ..LegalHoldFilter::default()
    };
    Ok(store::list(conn, trust, &filter, 1).await?.pop())
}

fn same(earlier: LegalHoldRow, pupil: Uuid, asked: &NewLegalHold) -> Result<LegalHoldRow, ServiceError> {
    let placed = &earlier.placed;
    let same = placed.pupil_id == pupil
        && placed.reason == asked.reason
        && placed.placed_by_name == asked.by.name
        && placed.placed_by_position == asked.by.position;
    if same {
        Ok(earlier)
    } else {
        Err(request_id_reused("request_id"))
    }
}
