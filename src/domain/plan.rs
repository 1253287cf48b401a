//! Plans of support for pupils: aims that people agreed to, worked on in cycles, each of which ends with a review (plan, do,
//! review).

use chrono::{DateTime, Days, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::action::ActionName;
use super::action_log::{Attendee, choices};
use super::identifiers::PupilId;
use super::person::Author;

/// How far from today a cycle may begin or be reviewed, in days: three years.
const DAYS_MAX: u64 = 3 * 366;

/// The most cycles of a plan.
pub const CYCLES_MAX: i32 = 200;

choices! {
    /// What a review decides.
    Decision {
        /// Another cycle with the same aims.
        Continue,
        /// Another cycle with other aims.
        Change,
        /// The end of the plan.
        Close,
    }
}

choices! {
    /// Why a plan ended.
    EndReason {
        /// Its aims were met.
        AimsMet,
        /// It is no longer needed.
        NoLongerNeeded,
        /// Another plan takes its place.
        Replaced,
        /// The pupil or the family no longer agree to it.
        NoLongerAgreed,
        /// The pupil has left.
        PupilLeft,
        /// It was made by mistake.
        MadeByMistake,
        /// Another reason, that words tell.
        Other,
    }
}

/// One aim of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aim {
    /// The aim, in words that all agreed to.
    pub aim: String,
    /// What is to change, and how it will be seen; may be empty.
    pub change: String,
    /// By when.
    pub by: Option<NaiveDate>,
}

/// What a cycle aims at and what will be done until its review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CycleContent {
    /// What is aimed at.
    pub aims: Vec<Aim>,
    /// What will be done, and by whom; may be empty.
    pub steps: String,
    /// Who agreed to it.
    pub agreed_by: Vec<Attendee>,
    /// The day on which it begins.
    pub starts_on: NaiveDate,
    /// The day on which it is to be reviewed.
    pub review_on: NaiveDate,
}

/// A cycle as somebody asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CycleDraft {
    /// What is aimed at; nothing for the aims of the cycle before.
    pub aims: Vec<Aim>,
    /// What will be done, and by whom; may be empty.
    pub steps: String,
    /// Who agreed to it.
    pub agreed_by: Vec<Attendee>,
    /// The day on which it begins; nothing for today, or the day of the review before.
    pub starts_on: Option<NaiveDate>,
    /// The day on which it is to be reviewed.
    pub review_on: NaiveDate,
}

/// A review as somebody asks to record it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewDraft {
    /// What it found.
    pub found: String,
    /// Why it was decided so, in words; may be empty.
    pub comment: String,
    /// Who took part.
    pub attendees: Vec<Attendee>,
    /// The day; nothing for today.
    pub reviewed_on: Option<NaiveDate>,
    /// What was decided.
    pub outcome: Outcome,
}

/// What follows from a review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Another cycle with the same aims.
    Continue(CycleDraft),
    /// Another cycle with other aims.
    Change(CycleDraft),
    /// The end of the plan, and why.
    Close(EndReason),
}

impl Outcome {
    /// The decision by itself.
    pub const fn decision(&self) -> Decision {
        match self {
            Outcome::Continue(_) => Decision::Continue,
            Outcome::Change(_) => Decision::Change,
            Outcome::Close(_) => Decision::Close,
        }
    }
}

/// The review that ended a cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanReview {
    /// What it found.
    pub found: String,
    /// What was decided.
    pub decision: Decision,
    /// Why, in words; may be empty.
    pub comment: String,
    /// Who took part.
    pub attendees: Vec<Attendee>,
    /// The day.
    pub reviewed_on: NaiveDate,
    /// Who recorded it.
    pub recorded_by: Author,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

/// One cycle of a plan, as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Its number, from 1.
    pub number: i32,
    /// What it is.
    pub content: CycleContent,
    /// Who recorded it.
    pub recorded_by: Author,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// Its review.
    pub review: Option<PlanReview>,
}

/// How a plan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanEnd {
    /// Why.
    pub reason: EndReason,
    /// More about it; may be empty.
    pub comment: String,
    /// The last day.
    pub ended_on: NaiveDate,
    /// Who recorded it.
    pub recorded_by: Author,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

/// A plan of support for one pupil.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its identifier.
    pub plan_id: Uuid,
    /// The pupil.
    pub pupil: PupilId,
    /// The number of the episode in which it was made.
    pub episode: i32,
    /// The provision whose action asks for it.
    pub provision: Option<String>,
    /// The day on which its first cycle began.
    pub started_on: NaiveDate,
    /// Its cycles in order; in lists the last one alone. Never empty.
    pub cycles: Vec<Cycle>,
    /// How it ended; nothing while it goes on.
    pub end: Option<PlanEnd>,
    /// How often it was written: 1 for a plan that was just made.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// What is wrong with a plan, a review or an end. The fields of cycles are named from the cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A new cycle without an aim.
    #[error("say what is aimed at: 1 to 20 aims")]
    MissingAims,
    /// A cycle that continues with aims of its own.
    #[error("a cycle that continues has the aims of the one before: leave them out, or decide to change")]
    AimsOfContinued,
    /// A cycle that begins too long ago or too far ahead.
    #[error("give a first day within three years of today")]
    StartOutOfRange,
    /// A cycle that begins before the review that ends the one before.
    #[error("the next cycle begins on the day of the review or later")]
    StartBeforeReview,
    /// A cycle whose review is no later than its beginning.
    #[error("the review comes after the cycle begins: give a later day")]
    ReviewNotAfterStart,
    /// A cycle whose review has passed.
    #[error("the day has passed: give today or a day to come")]
    NextReviewInPast,
    /// A cycle whose review is too far ahead.
    #[error("the day is too far ahead: give one within three years")]
    NextReviewTooFarAhead,
    /// An aim, by its place, that was to be met before the cycle begins.
    #[error("the cycle begins later: give a day from its first on")]
    AimBeforeStart(usize),
    /// A review before its cycle began.
    #[error("the plan's cycle began later: give a day from its first on")]
    ReviewedBeforeStart,
    /// A review that is still to come.
    #[error("what is recorded has happened: give today or a day before it")]
    ReviewedInFuture,
    /// An end before the cycle began.
    #[error("the plan's cycle began later: give a day from its first on")]
    EndedBeforeStart,
    /// An end that is still to come.
    #[error("what is recorded has happened: give today or a day before it")]
    EndedInFuture,
    /// The plan has ended.
    #[error("the plan is closed: make another one")]
    Closed,
    /// The plan has as many cycles as a plan can have.
    #[error("the plan has {CYCLES_MAX} cycles, the most that a plan can have: close it, and make another one")]
    TooManyCycles,
}

/// The first cycle of a plan, checked.
///
/// # Errors
/// [`PlanError`] for aims that are missing and days that are in the wrong order.
pub fn first_cycle(draft: CycleDraft, today: NaiveDate) -> Result<CycleContent, PlanError> {
    let starts_on = draft.starts_on.unwrap_or(today);
    with_aims_from(checked(draft, starts_on, today)?)
}

fn checked(draft: CycleDraft, starts_on: NaiveDate, today: NaiveDate) -> Result<CycleContent, PlanError> {
    let range = Days::new(DAYS_MAX);
    let (earliest, latest) = (today.checked_sub_days(range), today.checked_add_days(range));
    if draft.aims.is_empty() {
        return Err(PlanError::MissingAims);
    }
    if earliest.is_some_and(|earliest| starts_on < earliest) || latest.is_some_and(|latest| starts_on > latest) {
        return Err(PlanError::StartOutOfRange);
    }
    if draft.review_on < today {
        return Err(PlanError::NextReviewInPast);
    }
    if draft.review_on <= starts_on {
        return Err(PlanError::ReviewNotAfterStart);
    }
    if latest.is_some_and(|latest| draft.review_on > latest) {
        return Err(PlanError::NextReviewTooFarAhead);
    }
    Ok(CycleContent {
        aims: draft.aims,
        steps: draft.steps,
        agreed_by: draft.agreed_by,
        starts_on,
        review_on: draft.review_on,
    })
}

/// The cycle, where each of its aims is to be met no earlier than it begins.
fn with_aims_from(cycle: CycleContent) -> Result<CycleContent, PlanError> {
    let early = |aim: &Aim| aim.by.is_some_and(|by| by < cycle.starts_on);
    match cycle.aims.iter().position(early) {
        Some(place) => Err(PlanError::AimBeforeStart(place)),
        None => Ok(cycle),
    }
}

/// What a review makes of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AfterReview {
    /// The day of the review.
    pub reviewed_on: NaiveDate,
    /// The next cycle; nothing where the plan ends.
    pub next: Option<CycleContent>,
}

impl Plan {
    /// The last cycle.
    pub fn current(&self) -> Option<&Cycle> {
        self.cycles.last()
    }

    /// The day on which its cycle is to be reviewed; nothing once it is closed.
    pub fn next_review_on(&self) -> Option<NaiveDate> {
        let open = self.end.is_none().then(|| self.current()).flatten();
        open.map(|cycle| cycle.content.review_on)
    }

    /// The action that asks for it.
    pub fn action(&self) -> Option<ActionName> {
        self.provision.as_ref().map(|provision| ActionName {
            pupil: self.pupil,
            episode: self.episode,
            provision: provision.clone(),
        })
    }

    /// What follows from a review of the last cycle, checked.
    ///
    /// # Errors
    /// [`PlanError`]: the plan is closed, the review is before its cycle or to come, or the next cycle is not whole.
    pub fn reviewed(&self, review: &ReviewDraft, today: NaiveDate) -> Result<AfterReview, PlanError> {
        let current = self.going_on()?;
        let reviewed_on = review.reviewed_on.unwrap_or(today);
        // A day to come is one before the cycle began where that is still to come: what was said first is the better hint.
        if reviewed_on > today {
            return Err(PlanError::ReviewedInFuture);
        }
        if reviewed_on < current.content.starts_on {
            return Err(PlanError::ReviewedBeforeStart);
        }
        let (mut draft, own_aims) = match &review.outcome {
            Outcome::Close(_) => {
                return Ok(AfterReview {
                    reviewed_on,
                    next: None,
                });
            }
            Outcome::Continue(draft) => (draft.clone(), false),
            Outcome::Change(draft) => (draft.clone(), true),
        };
        if current.number >= CYCLES_MAX {
            return Err(PlanError::TooManyCycles);
        }
        if !own_aims {
            if !draft.aims.is_empty() {
                return Err(PlanError::AimsOfContinued);
            }
            draft.aims.clone_from(&current.content.aims);
        }
        let starts_on = draft.starts_on.unwrap_or(reviewed_on);
        if starts_on < reviewed_on {
            return Err(PlanError::StartBeforeReview);
        }
        let next = checked(draft, starts_on, today)?;
        // The aims of the cycle before may have been meant for it.
        let next = if own_aims { with_aims_from(next)? } else { next };
        Ok(AfterReview {
            reviewed_on,
            next: Some(next),
        })
    }

    /// The day on which the plan ends without a review, checked: today where none is given.
    ///
    /// # Errors
    /// [`PlanError`]: the plan is closed, or the day is before its cycle or to come. A cycle that has not begun can be ended
    /// today.
    pub fn ends_on(&self, given: Option<NaiveDate>, today: NaiveDate) -> Result<NaiveDate, PlanError> {
        let current = self.going_on()?;
        let ended_on = given.unwrap_or(today);
        if ended_on > today {
            return Err(PlanError::EndedInFuture);
        }
        if ended_on < current.content.starts_on.min(today) {
            return Err(PlanError::EndedBeforeStart);
        }
        Ok(ended_on)
    }

    fn going_on(&self) -> Result<&Cycle, PlanError> {
        let current = self.current().filter(|_| self.end.is_none());
        current.ok_or(PlanError::Closed)
    }

    /// The plan as it was when it had been written so often: every write but the last adds a cycle and the review before it,
    /// and one that closes it is the last.
    #[must_use]
    pub fn at_version(mut self, version: i64) -> Plan {
        if version >= self.version {
            return self;
        }
        self.end = None;
        self.version = version;
        self.cycles.retain(|cycle| i64::from(cycle.number) <= version);
        if let Some(last) = self.cycles.last_mut() {
            last.review = None;
            self.updated_at = last.recorded_at;
        }
        self
    }
}

#[cfg(test)]
mod tests;
