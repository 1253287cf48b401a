//! Pupils who move: to another school of the trust, out of it, and back.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::changes::{Decision, check_compatible, fields_of};
use super::plan;
use crate::domain::identifiers::{EnrolmentId, PupilKey, SchoolKey, TrustId};
use crate::domain::pupil::EnrolmentKind;
use crate::domain::session::AcademicYear;
use crate::service::error::Resource;
use crate::service::judging::{Moment, judge_moved_since};
use crate::service::recorded::{self, Recorded};
use crate::service::sessions::{Correction, clear_after};
use crate::service::transaction::{finish, locked_pupil, retry};
use crate::service::trusts::require_trust;
use crate::service::{Service, ServiceError};
use crate::store::TrustTransaction;
use crate::store::pupil_changes::{self, ChangeDetails, ChangeKind};
use crate::store::pupils::writes::{self, PupilWrites};
use crate::store::pupils::{self, EnrolmentRow};
use crate::store::schools::resolve_school;
use crate::store::stages::Cause;

/// A transfer from one school of the trust to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferRequest {
    /// The pupil.
    pub pupil: PupilKey,
    /// The school that the pupil leaves.
    pub from: SchoolKey,
    /// The school to which the pupil goes.
    pub to: SchoolKey,
    /// The first day at the new school.
    pub start: NaiveDate,
    /// The last day at the old school; nothing for the day before.
    pub last: Option<NaiveDate>,
    /// What sort of enrolment the new one is; nothing for that of the old one.
    pub kind: Option<EnrolmentKind>,
    /// Takes away marks beyond the last day.
    pub correction: Option<Correction>,
    /// Who decides, and why.
    pub decision: Decision,
}

/// The end of an enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndRequest {
    /// The pupil.
    pub pupil: PupilKey,
    /// The school that the pupil leaves.
    pub school: SchoolKey,
    /// The last day.
    pub last: NaiveDate,
    /// Takes away marks beyond the last day.
    pub correction: Option<Correction>,
    /// Who decides, and why.
    pub decision: Decision,
}

/// An end that is taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReopenRequest {
    /// The pupil.
    pub pupil: PupilKey,
    /// The enrolment.
    pub enrolment: EnrolmentId,
    /// Who decides, and why.
    pub decision: Decision,
}

/// What became of a move. It is kept as the answer of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveOutcome {
    /// The pupil.
    pub pupil_id: Uuid,
    /// Marks that were taken away.
    pub marks_cleared: usize,
}

impl Service {
    /// Moves a pupil from one school of the trust to another, and judges the pupil anew. The registers stay with the
    /// enrolments, so that the year's record follows.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such pupil, `Invalid` for schools and dates that do not fit, `Precondition` where the
    /// pupil is not on roll at the old school on its last day, has marks there beyond it and no correction is given, or the new
    /// enrolment would overlap another.
    pub async fn transfer_pupil(
        &self,
        trust: TrustId,
        request: &TransferRequest,
    ) -> Result<Recorded<MoveOutcome>, ServiceError> {
        self.roll_over(trust).await?;
        retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let moved = self.transfer(&mut transaction, trust, request).await;
            finish(transaction, moved).await
        })
        .await
    }

    /// Ends an enrolment, and judges the pupil anew.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such pupil, `Invalid` for a school that it does not have, `Precondition` where the pupil
    /// is not on roll there on the last day, or has marks beyond it and no correction is given.
    pub async fn end_enrolment(
        &self,
        trust: TrustId,
        request: &EndRequest,
    ) -> Result<Recorded<MoveOutcome>, ServiceError> {
        self.roll_over(trust).await?;
        retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let ended = self.end(&mut transaction, trust, request).await;
            finish(transaction, ended).await
        })
        .await
    }

    /// Takes the end of an enrolment away, and judges the pupil anew.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such pupil or the pupil no such enrolment, `Precondition` where it has no end, or would
    /// overlap another.
    pub async fn reopen_enrolment(
        &self,
        trust: TrustId,
        request: &ReopenRequest,
    ) -> Result<Recorded<MoveOutcome>, ServiceError> {
        self.roll_over(trust).await?;
        retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let reopened = self.reopen(&mut transaction, trust, request).await;
            finish(transaction, reopened).await
        })
        .await
    }

    async fn transfer(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        request: &TransferRequest,
    ) -> Result<Recorded<MoveOutcome>, ServiceError> {
        require_trust(transaction, trust).await?;
        if let Some(earlier) = recorded::earlier(transaction, trust, request.decision.request()).await? {
            return Ok(earlier);
        }
        let from = school(transaction, trust, "from_school", &request.from).await?;
        let to = school(transaction, trust, "to_school", &request.to).await?;
        if from == to {
            let message = "the pupil is there already: name another school";
            return Err(ServiceError::invalid("to_school", "SAME_SCHOOL", message));
        }
        let last = request.last.or(request.start.pred_opt()).unwrap_or(request.start);
        if last >= request.start {
            let message = "give a last day at the old school that is before the first at the new one";
            return Err(ServiceError::invalid("last_date", "INVALID_DATE_RANGE", message));
        }
        let (pupil, _) = locked_pupil(transaction, trust, &request.pupil).await?;
        let mut enrolments = pupils::enrolments_of(transaction, trust, &[pupil.0]).await?;
        let place = on_roll(&enrolments, from, last)?;
        let kind = request.kind.map_or(enrolments[place].kind, EnrolmentKind::number);
        let begun = EnrolmentRow {
            pupil_id: pupil.0,
            enrolment_id: Uuid::now_v7(),
            school_id: to,
            kind,
            start_date: request.start,
            end_date: None,
        };
        let ending = Ending {
            place,
            last,
            correction: request.correction.as_ref(),
            begun: Some(begun),
        };
        self.write_ending(transaction, trust, &mut enrolments, ending, &request.decision)
            .await
    }

    async fn end(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        request: &EndRequest,
    ) -> Result<Recorded<MoveOutcome>, ServiceError> {
        require_trust(transaction, trust).await?;
        if let Some(earlier) = recorded::earlier(transaction, trust, request.decision.request()).await? {
            return Ok(earlier);
        }
        let school = school(transaction, trust, "school", &request.school).await?;
        let (pupil, _) = locked_pupil(transaction, trust, &request.pupil).await?;
        let mut enrolments = pupils::enrolments_of(transaction, trust, &[pupil.0]).await?;
        let ending = Ending {
            place: on_roll(&enrolments, school, request.last)?,
            last: request.last,
            correction: request.correction.as_ref(),
            begun: None,
        };
        self.write_ending(transaction, trust, &mut enrolments, ending, &request.decision)
            .await
    }

    /// Ends one of a pupil's enrolments, and begins another where one is to begin.
    async fn write_ending(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        enrolments: &mut Vec<EnrolmentRow>,
        ending: Ending<'_>,
        decision: &Decision,
    ) -> Result<Recorded<MoveOutcome>, ServiceError> {
        let moment = self.moment();
        let old = &mut enrolments[ending.place];
        let marks_cleared = clear_after(
            transaction,
            trust,
            old,
            ending.last,
            ending.correction,
            decision.request_id,
            moment,
        )
        .await?;
        let former_last_date = old.end_date.replace(ending.last);
        let ended = old.clone();
        let begun = ending.begun.clone();
        enrolments.extend(ending.begun);
        check_compatible(enrolments)?;
        let pupil = ended.pupil_id;
        let kind = if begun.is_some() {
            ChangeKind::Transferred
        } else {
            ChangeKind::EnrolmentEnded
        };
        let details = ChangeDetails {
            enrolment_id: Some(ended.enrolment_id),
            new_enrolment_id: begun.as_ref().map(|begun| begun.enrolment_id),
            last_date: Some(ending.last),
            former_last_date,
            marks_cleared,
            ..ChangeDetails::default()
        };
        let writes = PupilWrites {
            changed_pupils: fields_of(transaction, trust, &[pupil]).await?,
            changed_enrolments: vec![ended],
            new_enrolments: begun.into_iter().collect(),
            ..PupilWrites::default()
        };
        let since = ending.last.min(former_last_date.unwrap_or(ending.last));
        let change = (kind, details, since);
        self.write_move(transaction, trust, writes, change, decision, moment)
            .await
    }

    async fn reopen(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        request: &ReopenRequest,
    ) -> Result<Recorded<MoveOutcome>, ServiceError> {
        require_trust(transaction, trust).await?;
        if let Some(earlier) = recorded::earlier(transaction, trust, request.decision.request()).await? {
            return Ok(earlier);
        }
        let (pupil, _) = locked_pupil(transaction, trust, &request.pupil).await?;
        let mut enrolments = pupils::enrolments_of(transaction, trust, &[pupil.0]).await?;
        let found = enrolments
            .iter_mut()
            .find(|row| row.enrolment_id == request.enrolment.0)
            .ok_or(ServiceError::NotFound(Resource::Enrolment))?;
        let Some(former_last_date) = found.end_date.take() else {
            return Err(ServiceError::Precondition {
                reason: "ENROLMENT_NOT_ENDED",
                message: "the enrolment has no last day: there is nothing to take away".to_owned(),
            });
        };
        let reopened = found.clone();
        check_compatible(&enrolments)?;
        let details = ChangeDetails {
            enrolment_id: Some(reopened.enrolment_id),
            former_last_date: Some(former_last_date),
            ..ChangeDetails::default()
        };
        let writes = PupilWrites {
            changed_pupils: fields_of(transaction, trust, &[pupil.0]).await?,
            changed_enrolments: vec![reopened],
            ..PupilWrites::default()
        };
        let change = (ChangeKind::EnrolmentReopened, details, former_last_date);
        self.write_move(transaction, trust, writes, change, &request.decision, self.moment())
            .await
    }

    /// Writes what a move of one pupil changes, who decided it, and what follows for the stage since a day.
    async fn write_move(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        writes: PupilWrites,
        (kind, details, since): (ChangeKind, ChangeDetails, NaiveDate),
        decision: &Decision,
        moment: Moment,
    ) -> Result<Recorded<MoveOutcome>, ServiceError> {
        let pupil_id = writes.changed_enrolments.first().map(|row| row.pupil_id);
        let pupil_id = pupil_id.ok_or(ServiceError::NotFound(Resource::Enrolment))?;
        let writing = self.writing(transaction, trust).await?;
        writes::write(transaction, trust, writing, &writes).await?;
        let outcome = MoveOutcome {
            pupil_id,
            marks_cleared: details.marks_cleared,
        };
        let change = decision.change(pupil_id, kind, details, moment.now);
        pupil_changes::append(transaction, trust, &[change]).await?;
        let recorded = recorded::record(transaction, trust, decision.request(), outcome, moment.now).await?;
        let cause = if outcome.marks_cleared > 0 {
            Cause::Correction
        } else {
            Cause::Enrolment
        };
        let since = AcademicYear::clamped(since);
        judge_moved_since(transaction, trust, &[pupil_id], since, moment, cause).await?;
        Ok(recorded)
    }
}

/// An enrolment that ends, by its place, and the one that begins.
struct Ending<'a> {
    place: usize,
    last: NaiveDate,
    correction: Option<&'a Correction>,
    begun: Option<EnrolmentRow>,
}

async fn school(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    field: &str,
    key: &SchoolKey,
) -> Result<Uuid, ServiceError> {
    let found = resolve_school(transaction, trust, key).await?;
    Ok(found.ok_or_else(|| plan::unknown_school(field))?.0)
}

/// The place of the enrolment at a school that holds a day.
fn on_roll(enrolments: &[EnrolmentRow], school: Uuid, day: NaiveDate) -> Result<usize, ServiceError> {
    let holds = |row: &EnrolmentRow| {
        row.school_id == school && row.start_date <= day && row.end_date.is_none_or(|end| end >= day)
    };
    enrolments.iter().position(holds).ok_or_else(|| ServiceError::Precondition {
        reason: "NOT_ON_ROLL",
        message: format!(
            "the pupil is not on roll at the school on {day}: give a last day within the enrolment, or take its end away first"
        ),
    })
}
