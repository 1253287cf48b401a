//! Periods: the days over which something is counted, within one academic year.

use std::ops::RangeInclusive;

use chrono::NaiveDate;

use super::ServiceError;
use super::error::FieldViolation;
use super::judging::Moment;
use crate::domain::session::AcademicYear;

/// Over which days something is asked for: an academic year, or dates within one; nothing for the current year.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeriodQuery {
    /// The academic year.
    pub year: Option<AcademicYear>,
    /// The first day.
    pub from: Option<NaiveDate>,
    /// The last day.
    pub to: Option<NaiveDate>,
}

/// Days of one academic year. None is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The year.
    pub year: AcademicYear,
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
}

impl Period {
    /// From the first day to the last.
    pub fn days(self) -> RangeInclusive<NaiveDate> {
        self.from..=self.to
    }
}

fn year_of(field: &str, date: NaiveDate) -> Result<AcademicYear, FieldViolation> {
    AcademicYear::containing(date).ok_or_else(|| {
        let message = format!(
            "give a day in the academic years {} to {}",
            AcademicYear::RANGE.start(),
            AcademicYear::RANGE.end()
        );
        FieldViolation::new(field, "INVALID_DATE", message)
    })
}

impl PeriodQuery {
    /// The days that are meant, up to today.
    ///
    /// # Errors
    /// Where dates and a year are given, the dates are the wrong way round or of two academic years, or all of it is still to
    /// come.
    pub(super) fn resolve(self, moment: Moment) -> Result<Period, ServiceError> {
        let invalid = |field: &str, reason, message: &str| Err(ServiceError::invalid(field, reason, message));
        let dates = self.from.or(self.to);
        let year = match (self.year, dates) {
            (Some(_), Some(_)) => {
                let message = "give an academic year or dates, not both";
                return invalid("academic_year", "PERIOD_GIVEN_TWICE", message);
            }
            (Some(year), None) => year,
            (None, Some(date)) => year_of(if self.from.is_some() { "from_date" } else { "to_date" }, date)?,
            (None, None) => moment.year,
        };
        let from = self.from.unwrap_or(year.first_day());
        let to = self.to.unwrap_or(year.last_day());
        if from > to {
            return invalid(
                "to_date",
                "PERIOD_REVERSED",
                "the last day is before the first: swap them",
            );
        }
        if year_of("to_date", to)? != year {
            let message = "the days are of two academic years: ask for one at a time, 1 August to 31 July";
            return invalid("to_date", "PERIOD_SPANS_ACADEMIC_YEARS", message);
        }
        if from > moment.today {
            let field = if self.year.is_some() {
                "academic_year"
            } else {
                "from_date"
            };
            let message = "nothing counts yet of a period to come: give one that begins today or earlier";
            return invalid(field, "IN_FUTURE", message);
        }
        Ok(Period {
            year,
            from,
            to: to.min(moment.today),
        })
    }
}
