//! Holds: a person keeps a pupil at a stage that the numbers do not give, and says why and until when.

use chrono::{Days, NaiveDate};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::error::Resource;
use super::judging::{Moment, judge_pupils, timeline_of};
use super::recorded::request_id_reused;
use super::transaction::{existing_pupil, finish, locked_pupil, retry};
use super::trusts::require_trust;
use super::{Page, PageOf, Service, ServiceError, one_more};
use crate::domain::hold::HoldKind;
use crate::domain::identifiers::{PupilKey, TrustId};
use crate::domain::person::Person;
use crate::store::TrustTransaction;
use crate::store::holds::{self, HoldFilter, HoldRow};
use crate::store::stages::{self, Cause};

/// How many days ahead a hold may end.
const DAYS_MAX: u64 = 366;

/// A hold that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHold {
    /// The pupil.
    pub pupil: PupilKey,
    /// What it does.
    pub kind: HoldKind,
    /// The last day; nothing for today alone.
    pub to: Option<NaiveDate>,
    /// Why.
    pub reason: String,
    /// Who decides.
    pub by: Person,
    /// The request's own name, by which a retry is known.
    pub request: Option<Uuid>,
}

impl Service {
    /// Holds a pupil from today on, and judges the pupil anew. A retry of a request returns the first hold.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such pupil; `Invalid` where the last day has passed or lies over a year ahead, or the
    /// request's name was used for something else; `Precondition` where no fall waits to be confirmed.
    pub async fn create_hold(&self, trust: TrustId, asked: &NewHold) -> Result<HoldRow, ServiceError> {
        self.roll_over(trust).await?;
        retry(|| async {
            let moment = self.moment();
            let mut transaction = self.store.begin(trust).await?;
            let created = create(&mut transaction, trust, asked, moment).await;
            finish(transaction, created).await
        })
        .await
    }

    /// Ends a hold: yesterday was its last day.
    ///
    /// # Errors
    /// `NotFound` where there is none, `Precondition` where it has ended already.
    pub async fn end_hold(
        &self,
        trust: TrustId,
        hold_id: Uuid,
        reason: &str,
        by: &Person,
    ) -> Result<HoldRow, ServiceError> {
        self.roll_over(trust).await?;
        retry(|| async {
            let moment = self.moment();
            let mut transaction = self.store.begin(trust).await?;
            let ended = end(&mut transaction, trust, hold_id, reason, by, moment).await;
            finish(transaction, ended).await
        })
        .await
    }

    /// Holds by their ends, soonest first: those in force and to come, or all.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or pupil.
    pub async fn list_holds(
        &self,
        trust: TrustId,
        pupil: Option<&PupilKey>,
        include_ended: bool,
        page: Page<(NaiveDate, Uuid)>,
    ) -> Result<PageOf<HoldRow, (NaiveDate, Uuid)>, ServiceError> {
        let today = self.clock.today();
        let mut transaction = self.store.begin(trust).await?;
        let listed = async {
            require_trust(&mut transaction, trust).await?;
            let pupil = match pupil {
                Some(key) => Some(existing_pupil(&mut transaction, trust, key).await?.0),
                None => None,
            };
            let filter = HoldFilter {
                pupil,
                not_ended_before: (!include_ended).then_some(today),
                after: page.after,
            };
            Ok(holds::list(&mut transaction, trust, filter, one_more(page.size)).await?)
        }
        .await;
        let rows = finish(transaction, listed).await?;
        Ok(PageOf::from_rows(rows, page.size, |hold| (hold.ends_on, hold.hold_id)))
    }
}

async fn create(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    asked: &NewHold,
    moment: Moment,
) -> Result<HoldRow, ServiceError> {
    let (pupil, row) = locked_pupil(transaction, trust, &asked.pupil).await?;
    if let Some(request) = asked.request
        && let Some(earlier) = holds::of_request(transaction, trust, request).await?
    {
        return same(earlier, pupil.0, asked);
    }
    let to = asked.to.unwrap_or(moment.today);
    if to < moment.today || to > moment.today + Days::new(DAYS_MAX) {
        let message = "give a last day from today to a year ahead";
        return Err(ServiceError::invalid("to_date", "INVALID_DATE", message));
    }
    if asked.kind == HoldKind::ConfirmFall && !row.fall_waits {
        // Without a trust there is no pupil, but a policy that lets no fall wait says more.
        timeline_of(transaction, trust).await?;
        return Err(ServiceError::Precondition {
            reason: "NO_FALL_WAITS",
            message:
                "no fall of this pupil waits for a person: the stage already follows the counts, or a hold keeps it"
                    .to_owned(),
        });
    }
    let (kind, stage) = asked.kind.numbers();
    let hold = HoldRow {
        trust_id: trust.0,
        pupil_id: pupil.0,
        hold_id: Uuid::now_v7(),
        kind,
        stage,
        starts_on: moment.today,
        ends_on: to,
        reason: asked.reason.clone(),
        created_by_name: asked.by.name.clone(),
        created_by_position: asked.by.position.clone(),
        created_at: moment.now,
        request_id: asked.request,
        ended_on: None,
        ended_reason: None,
        ended_by_name: None,
        ended_by_position: None,
        ended_at: None,
    };
    holds::insert(transaction, &hold).await?;
    judge_pupils(transaction, trust, &[pupil.0], moment, Cause::Hold).await?;
    Ok(hold)
}

fn same(earlier: HoldRow, pupil: Uuid, asked: &NewHold) -> Result<HoldRow, ServiceError> {
    let same = earlier.pupil_id == pupil
        && (earlier.kind, earlier.stage) == asked.kind.numbers()
        && asked.to.is_none_or(|to| to == earlier.ends_on)
        && earlier.reason == asked.reason
        && earlier.created_by_name == asked.by.name
        && earlier.created_by_position == asked.by.position;
    if same {
        Ok(earlier)
    } else {
        Err(request_id_reused("request_id"))
    }
}

async fn end(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    hold_id: Uuid,
    reason: &str,
    by: &Person,
    moment: Moment,
) -> Result<HoldRow, ServiceError> {
    let pupil = existing(transaction, trust, hold_id).await?.pupil_id;
    stages::lock(transaction, trust, &[pupil]).await?;
    let hold = existing(transaction, trust, hold_id).await?;
    let last = moment.today.pred_opt().unwrap_or(moment.today);
    if hold.ended_at.is_some() || hold.ends_on < moment.today {
        return Err(ServiceError::Precondition {
            reason: "HOLD_HAS_ENDED",
            message: "the hold has ended already".to_owned(),
        });
    }
    holds::end(transaction, trust, hold_id, last, reason, by, moment.now).await?;
    judge_pupils(transaction, trust, &[pupil], moment, Cause::Hold).await?;
    existing(transaction, trust, hold_id).await
}

async fn existing(conn: &mut AsyncPgConnection, trust: TrustId, hold_id: Uuid) -> Result<HoldRow, ServiceError> {
    let hold = holds::find(conn, trust, hold_id).await?;
    hold.ok_or(ServiceError::NotFound(Resource::Hold))
}
