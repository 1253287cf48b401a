//! The school year 2025/26 of the sample: six half-terms, with the days on which its schools are closed.
//!
//! To 26 June 2026 it has 175 school days, 350 sessions. The published primary figures give 351 possible sessions a
//! pupil, once the schools that were closed while others were open are allowed for: the published "week 26" is the
//! calendar week that ends on that day.

use chrono::{Datelike, NaiveDate, Weekday};

use crate::domain::session::AcademicYear;

const fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    match NaiveDate::from_ymd_opt(year, month, day) {
        Some(date) => date,
        None => NaiveDate::MIN,
    }
}

/// The year in which the sample's academic year begins.
pub const START_YEAR: i32 = 2025;
/// The first day on roll of nearly every pupil.
pub const FIRST_DAY: NaiveDate = day(2025, 9, 1);
/// The last day of the published figures.
pub const PUBLISHED_LAST_DAY: NaiveDate = day(2026, 6, 26);
/// The earliest day up to which marks can be generated: the first with pupils in school.
pub const THROUGH_MIN: NaiveDate = day(2025, 9, 2);
/// The latest day up to which marks can be generated: the last of term.
pub const THROUGH_MAX: NaiveDate = day(2026, 7, 20);
/// From this day on Year 11 may be on study leave.
pub const EXAMS_FROM: NaiveDate = day(2026, 5, 11);
/// Days in term on which families ask for leave for a religious festival: the Day of Atonement, Diwali, Eid al-Fitr.
pub const FESTIVALS: [NaiveDate; 3] = [day(2025, 10, 2), day(2025, 10, 20), day(2026, 3, 20)];

const HALF_TERMS: [(NaiveDate, NaiveDate); 6] = [
    (day(2025, 9, 1), day(2025, 10, 24)),
    (day(2025, 11, 3), day(2025, 12, 19)),
    (day(2026, 1, 5), day(2026, 2, 13)),
    (day(2026, 2, 23), day(2026, 3, 27)),
    (day(2026, 4, 13), day(2026, 5, 22)),
    (day(2026, 6, 1), day(2026, 7, 20)),
];

/// Staff training days, and the bank holiday of 4 May 2026.
const CLOSED: [NaiveDate; 6] = [
    day(2025, 9, 1),
    day(2025, 11, 3),
    day(2026, 1, 5),
    day(2026, 2, 23),
    day(2026, 5, 4),
    day(2026, 7, 20),
];

/// The school days up to a day, as places in a register.
#[derive(Clone, Debug)]
pub struct SchoolYear {
    /// The academic year.
    pub year: AcademicYear,
    /// Places of the sessions in which school was open, in order, morning and afternoon in turn.
    pub sessions: Vec<u16>,
    /// The mornings among them.
    pub mornings: Vec<u16>,
    /// Places of the sessions on days in term on which school was closed.
    pub closures: Vec<u16>,
}

impl SchoolYear {
    /// The school days up to and including `through`; nothing where the academic year is out of the domain's range.
    pub fn up_to(through: NaiveDate) -> Option<SchoolYear> {
        let year = AcademicYear::from_start_year(START_YEAR)?;
        let mut school_year = SchoolYear {
            year,
            sessions: Vec::new(),
            mornings: Vec::new(),
            closures: Vec::new(),
        };
        for date in HALF_TERMS
            .iter()
            .flat_map(|(first, last)| first.iter_days().take_while(move |date| date <= last))
            .filter(|date| *date <= through)
            .filter(|date| !matches!(date.weekday(), Weekday::Sat | Weekday::Sun))
        {
            let morning = first_place(year, date);
            if CLOSED.contains(&date) {
                school_year.closures.extend([morning, morning + 1]);
            } else {
                school_year.sessions.extend([morning, morning + 1]);
                school_year.mornings.push(morning);
            }
        }
        Some(school_year)
    }
}

/// The place in a register of the morning of a date of the year.
pub fn first_place(year: AcademicYear, date: NaiveDate) -> u16 {
    // A day of the year is one of 366 at the most.
    2 * u16::try_from((date - year.first_day()).num_days()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Phase, published};

    #[test]
    fn the_sample_ends_where_the_published_figures_end() {
        let sessions = SchoolYear::up_to(PUBLISHED_LAST_DAY).unwrap().sessions.len();
        assert_eq!(sessions, 350);
        let primary = &published::national().unwrap()[0];
        assert_eq!(primary.phase, Phase::Primary);
        assert!((primary.possible_per_pupil - 350.0).abs() < 3.0);
    }

    #[test]
    fn no_school_day_is_a_weekend_or_a_closed_day() {
        let school_year = SchoolYear::up_to(THROUGH_MAX).unwrap();
        for place in school_year.sessions {
            let date = school_year.year.session_at(usize::from(place)).date;
            assert!(!matches!(date.weekday(), Weekday::Sat | Weekday::Sun));
            assert!(!CLOSED.contains(&date));
        }
        assert_eq!(school_year.closures.len(), 12);
    }
}
