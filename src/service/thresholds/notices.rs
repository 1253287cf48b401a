//! Penalty notices: recorded as issued, their sessions count for no other; a third within three years is refused.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use uuid::Uuid;

use super::super::error::{FieldViolation, Resource};
use super::super::judging::{Moment, timeline_of};
use super::super::recorded::request_id_reused;
use super::super::transaction::{existing_pupil, finish, locked_pupil, retry};
use super::super::trusts::require_trust;
use super::super::{Page, PageOf, Service, ServiceError, one_more};
use super::reevaluate;
use crate::domain::code::{AttendanceCode, Category};
use crate::domain::identifiers::{PupilKey, TrustId};
use crate::domain::person::Person;
use crate::domain::session::{AcademicYear, Session};
use crate::domain::thresholds::{Notice, ThresholdKind, ThresholdRules, third_within_three_years, thresholds};
use crate::store::notices::{self as store, NoticeRow};
use crate::store::records::schools_of;
use crate::store::thresholds::{births, session_number};
use crate::store::{TrustTransaction, calendars, records, stages};

/// A notice that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNotice {
    /// The pupil.
    pub pupil: PupilKey,
    /// The day of issue.
    pub issued_on: NaiveDate,
    /// The local authority's reference.
    pub reference: String,
    /// The sessions that it uses; none for those that prove the threshold that stands.
    pub sessions: Vec<Session>,
    /// Who records it.
    pub by: Person,
    /// The request's own name, by which a retry is known.
    pub request: Option<Uuid>,
}

impl Service {
    /// Records a penalty notice as issued. A retry of a request returns the first record.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such pupil; `Invalid` where the day is to come, a session is no unauthorised absence
    /// or lies after the day; `Precondition` where a session is used already, no threshold stands, or it would be the third
    /// notice within three years.
    pub async fn record_penalty_notice(&self, trust: TrustId, asked: &NewNotice) -> Result<NoticeRow, ServiceError> {
        self.roll_over(trust).await?;
        retry(|| async {
            let moment = self.moment();
            let mut transaction = self.store.begin(trust).await?;
            let recorded = record(&mut transaction, trust, asked, moment).await;
            finish(transaction, recorded).await
        })
        .await
    }

    /// Cancels a notice: its sessions count again. It stays on record.
    ///
    /// # Errors
    /// `NotFound` where there is none, `Precondition` where it was cancelled already.
    pub async fn cancel_penalty_notice(
        &self,
        trust: TrustId,
        notice_id: Uuid,
        reason: &str,
        by: &Person,
    ) -> Result<NoticeRow, ServiceError> {
        self.roll_over(trust).await?;
        retry(|| async {
            let moment = self.moment();
            let mut transaction = self.store.begin(trust).await?;
            let cancelled = cancel(&mut transaction, trust, notice_id, reason, by, moment).await;
            finish(transaction, cancelled).await
        })
        .await
    }

    /// Notices, of one pupil or of all, in the order in which they were recorded.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or pupil.
    pub async fn list_penalty_notices(
        &self,
        trust: TrustId,
        pupil: Option<&PupilKey>,
        page: Page<Uuid>,
    ) -> Result<PageOf<NoticeRow, Uuid>, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let listed = async {
            require_trust(&mut transaction, trust).await?;
            let pupil = match pupil {
                Some(key) => Some(existing_pupil(&mut transaction, trust, key).await?.0),
                None => None,
            };
            Ok(store::list(&mut transaction, trust, pupil, page.after, one_more(page.size)).await?)
        }
        .await;
        let rows = finish(transaction, listed).await?;
        Ok(PageOf::from_rows(rows, page.size, |notice| notice.notice_id))
    }
}

async fn record(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    asked: &NewNotice,
    moment: Moment,
) -> Result<NoticeRow, ServiceError> {
    let (pupil, _) = locked_pupil(transaction, trust, &asked.pupil).await?;
    if let Some(request) = asked.request
        && let Some(earlier) = store::of_request(transaction, trust, request).await?
    {
        return same(earlier, pupil.0, asked);
    }
    if asked.issued_on > moment.today {
        let message = "a notice is recorded once it was issued: give today or a day before it";
        return Err(ServiceError::invalid("issued_on", "IN_FUTURE", message));
    }
    let mut notices = store::by_pupil(transaction, trust, &[pupil.0], moment.now).await?;
    let notices = notices.remove(&pupil.0).unwrap_or_default();
    if third_within_three_years(notices.iter().map(|notice| notice.issued_on), asked.issued_on) {
        return Err(ServiceError::Precondition {
            reason: "THIRD_NOTICE",
            message:
                "two notices were issued within three years: a third is not to be, other action has to be considered"
                    .to_owned(),
        });
    }
    let sessions = sessions_used(transaction, trust, pupil.0, asked, &notices).await?;
    let notice = NoticeRow {
        trust_id: trust.0,
        notice_id: Uuid::now_v7(),
        pupil_id: pupil.0,
        issued_on: asked.issued_on,
        reference: asked.reference.clone(),
        sessions: sessions.iter().map(|session| session_number(*session)).collect(),
        recorded_by_name: asked.by.name.clone(),
        recorded_by_position: asked.by.position.clone(),
        recorded_at: moment.now,
        request_id: asked.request,
        cancelled_reason: None,
        cancelled_by_name: None,
        cancelled_by_position: None,
        cancelled_at: None,
    };
    store::insert(transaction, &notice).await?;
    let timeline = timeline_of(transaction, trust).await?;
    let since = AcademicYear::clamped(sessions.first().map_or(asked.issued_on, |session| session.date));
    reevaluate(
        transaction,
        trust,
        &timeline,
        &[pupil.0],
        Some(since),
        moment,
        asked.request,
    )
    .await?;
    Ok(notice)
}

fn same(earlier: NoticeRow, pupil: Uuid, asked: &NewNotice) -> Result<NoticeRow, ServiceError> {
    let sessions: Vec<i32> = asked.sessions.iter().map(|session| session_number(*session)).collect();
    let same = earlier.pupil_id == pupil
        && earlier.issued_on == asked.issued_on
        && earlier.reference == asked.reference
        && (sessions.is_empty() || sessions == earlier.sessions)
        && earlier.recorded_by_name == asked.by.name
        && earlier.recorded_by_position == asked.by.position;
    if same {
        Ok(earlier)
    } else {
        Err(request_id_reused("request_id"))
    }
}

/// The sessions that a notice uses: those given, each an unauthorised absence that no other notice used; else those that
/// prove the latest threshold by the day of issue that no notice used.
async fn sessions_used(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    pupil: Uuid,
    asked: &NewNotice,
    notices: &[Notice],
) -> Result<BTreeSet<Session>, ServiceError> {
    let used = |session: &Session| notices.iter().any(|notice| notice.sessions.contains(session));
    let until = asked
        .sessions
        .iter()
        .map(|session| session.date)
        .chain([asked.issued_on]);
    let until = AcademicYear::clamped(until.max().unwrap_or(asked.issued_on));
    let years = records::years_of(transaction, trust, &[pupil], until).await?;
    let found = records::records_of(transaction, trust, &[pupil], &years).await?;
    let record = found.into_iter().next().map(|(_, record)| record).unwrap_or_default();
    if asked.sessions.is_empty() {
        let timeline = timeline_of(transaction, trust).await?;
        let policy = timeline.at(asked.issued_on, record.home_school(asked.issued_on));
        let schools = schools_of([&record]);
        let calendars = calendars::calendars_of(transaction, trust, &schools).await?;
        let born = births(transaction, trust, &[pupil]).await?;
        let rules = ThresholdRules {
            calendars: &calendars,
            penalty: policy.policy.penalty,
            triggers: &[],
            born: born.get(&pupil).copied(),
            notices,
        };
        let reached = thresholds(&record, rules, asked.issued_on);
        let reached = reached
            .into_iter()
            .rev()
            .find(|threshold| threshold.kind == ThresholdKind::PenaltyNotice && !threshold.sessions.iter().any(used));
        let reached = reached.ok_or_else(|| ServiceError::Precondition {
            reason: "NO_THRESHOLD",
            message:
                "no threshold of a penalty notice stands on the day of issue: name the sessions that it was issued for"
                    .to_owned(),
        })?;
        return Ok(reached.sessions.into_iter().collect());
    }
    let mut sessions = BTreeSet::new();
    for (place, session) in asked.sessions.iter().enumerate() {
        let refuse = |reason: &'static str, message: &str| {
            Err(FieldViolation::new(format!("sessions[{place}]"), reason, message).into())
        };
        let of = AcademicYear::clamped(session.date);
        let marks = record.enrolments.iter().filter_map(|enrolment| {
            let mark = enrolment.marks(of).get(of.index_of(*session)?)?;
            AttendanceCode::from_byte(*mark)
        });
        let unauthorised = marks
            .into_iter()
            .any(|code| code.category() == Category::UnauthorisedAbsence);
        if !unauthorised {
            return refuse(
                "NOT_UNAUTHORISED",
                "the session has no mark of unauthorised absence: G, N, O or U",
            );
        }
        if session.date > asked.issued_on {
            return refuse("AFTER_ISSUE", "a notice cannot be for a session after the day of issue");
        }
        if used(session) {
            return Err(ServiceError::Precondition {
                reason: "SESSION_USED",
                message: format!("sessions[{place}] was used by an issued notice: none counts towards a second"),
            });
        }
        sessions.insert(*session);
    }
    Ok(sessions)
}

async fn cancel(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    notice_id: Uuid,
    reason: &str,
    by: &Person,
    moment: Moment,
) -> Result<NoticeRow, ServiceError> {
    let found = store::find(transaction, trust, notice_id).await?;
    let pupil = found.ok_or(ServiceError::NotFound(Resource::Notice))?.pupil_id;
    stages::lock(transaction, trust, &[pupil]).await?;
    let there = store::find(transaction, trust, notice_id).await?;
    if there.is_some_and(|notice| notice.cancelled_at.is_some()) {
        return Err(ServiceError::Precondition {
            reason: "NOTICE_IS_CANCELLED",
            message: "the notice was cancelled already".to_owned(),
        });
    }
    store::cancel(transaction, trust, notice_id, reason, by, moment.now).await?;
    let timeline = timeline_of(transaction, trust).await?;
    reevaluate(transaction, trust, &timeline, &[pupil], None, moment, None).await?;
    let cancelled = store::find(transaction, trust, notice_id).await?;
    cancelled.ok_or(ServiceError::NotFound(Resource::Notice))
}
