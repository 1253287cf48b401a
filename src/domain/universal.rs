//! What stands for a whole school: the provisions of stage U, which each school reviews for itself.

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::action_log::{Evidence, choices};
use super::calendar::Calendar;
use super::catalogue::RequiredProvision;
use super::person::Author;
use serde::{Deserialize, Serialize};

/// How far ahead the next review may lie, in days: three years.
const DAYS_MAX: u64 = 3 * 366;

choices! {
    /// What a review finds.
    UniversalStatus {
        /// In place.
        InPlace,
        /// In place in part.
        Partly,
        /// Not in place.
        NotInPlace,
    }
}

/// A school's review of a provision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniversalReview {
    /// The place in the history of the provision at the school, from 1.
    pub ordinal: i32,
    /// The version of the catalogue that was in force.
    pub catalogue_version: i32,
    /// What it found.
    pub status: UniversalStatus,
    /// More about it; may be empty.
    pub comment: String,
    /// References to evidence.
    pub evidence: Vec<Evidence>,
    /// The day.
    pub reviewed_on: NaiveDate,
    /// When to look again.
    pub next_review_on: Option<NaiveDate>,
    /// Who recorded it.
    pub recorded_by: Author,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

/// A provision, as one school has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniversalProvision {
    /// What is to be in place.
    pub provision: RequiredProvision,
    /// The last review; nothing where there was none.
    pub last: Option<UniversalReview>,
}

impl UniversalProvision {
    /// How often it was reviewed.
    pub fn version(&self) -> i64 {
        self.last.as_ref().map_or(0, |last| i64::from(last.ordinal))
    }
}

/// Whether a day on which to look again has passed.
pub fn overdue(next_review_on: Option<NaiveDate>, today: NaiveDate) -> bool {
    next_review_on.is_some_and(|next| next < today)
}

/// How many provisions are in place, each counted once a school.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UniversalCounts {
    /// In place.
    pub in_place: usize,
    /// In place in part.
    pub partly: usize,
    /// Not in place.
    pub not_in_place: usize,
    /// Never reviewed.
    pub never_reviewed: usize,
    /// Reviewed, and to be looked at again since before today.
    pub overdue: usize,
}

impl UniversalCounts {
    /// Counts one more, as its last review says.
    pub fn add(&mut self, last: Option<(UniversalStatus, Option<NaiveDate>)>, today: NaiveDate) {
        let place = match last {
            None => &mut self.never_reviewed,
            Some((UniversalStatus::InPlace, _)) => &mut self.in_place,
            Some((UniversalStatus::Partly, _)) => &mut self.partly,
            Some((UniversalStatus::NotInPlace, _)) => &mut self.not_in_place,
        };
        *place += 1;
        self.overdue += usize::from(last.is_some_and(|(_, next)| overdue(next, today)));
    }
}

/// What is wrong with the days of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewDayError {
    /// The review is still to come.
    #[error("what is recorded has happened: give today or a day before it")]
    InFuture,
    /// It is before the last one.
    #[error("the last review was later: give its day or a later one")]
    BeforeLast,
    /// The next one has passed.
    #[error("the day has passed: give today or a day to come")]
    NextInPast,
    /// The next one is no later.
    #[error("the next review comes after this one: give a later day")]
    NextNotAfter,
    /// The next one is too far ahead.
    #[error("the day is too far ahead: give one within three years")]
    NextTooFarAhead,
}

/// The day of the review after one, checked: the one that a person named, else what the review interval gives, on a day on
/// which the school is open; nothing where there is neither.
///
/// # Errors
/// [`ReviewDayError`] where the days are in the wrong order.
pub fn next_review(
    of: &UniversalProvision,
    reviewed_on: NaiveDate,
    named: Option<NaiveDate>,
    calendar: &Calendar,
    today: NaiveDate,
) -> Result<Option<NaiveDate>, ReviewDayError> {
    if reviewed_on > today {
        return Err(ReviewDayError::InFuture);
    }
    if of.last.as_ref().is_some_and(|last| reviewed_on < last.reviewed_on) {
        return Err(ReviewDayError::BeforeLast);
    }
    let Some(next) = named else {
        let days = of.provision.review_days.and_then(|days| u64::try_from(days).ok());
        let next = days.and_then(|days| reviewed_on.checked_add_days(Days::new(days)));
        return Ok(next.map(|next| calendar.school_day_from(next)));
    };
    if next < today {
        return Err(ReviewDayError::NextInPast);
    }
    if next <= reviewed_on {
        return Err(ReviewDayError::NextNotAfter);
    }
    let latest = today.checked_add_days(Days::new(DAYS_MAX));
    if latest.is_some_and(|latest| next > latest) {
        return Err(ReviewDayError::NextTooFarAhead);
    }
    Ok(Some(next))
}
