//! How fresh a school's registers are: the last session received, gaps, and silence.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};

use super::calendar::Calendar;
use super::marked::MarkedSessions;
use super::session::{AcademicYear, Session};

/// After how many school days without a register a school is silent where nobody says.
pub const SILENT_AFTER_SCHOOL_DAYS: u16 = 3;

/// How fresh a school's registers are on a day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// The latest session up to the day of which a register was received.
    pub last_session: Option<Session>,
    /// School days of the academic year before the day without a register.
    pub gap_days: u32,
    /// The latest of them, newest first.
    pub gaps: Vec<NaiveDate>,
    /// School days after that of the last session, the day itself among them.
    pub school_days_silent: u32,
}

impl Freshness {
    /// How fresh a school's registers are on a day, with so many of its gaps at the most. Whether a day of a year without a
    /// given calendar is a gap cannot be told: its marks say which days are school days.
    pub fn of(
        calendar: &Calendar,
        marked: &BTreeMap<AcademicYear, MarkedSessions>,
        as_of: NaiveDate,
        gaps_max: usize,
    ) -> Freshness {
        let last_session = marked
            .iter()
            .rev()
            .find_map(|(year, sessions)| sessions.last_received(*year, as_of));
        let year = AcademicYear::clamped(as_of);
        let nothing = MarkedSessions::default();
        let sessions = marked.get(&year).unwrap_or(&nothing);
        let mut gaps: Vec<NaiveDate> = match (calendar.is_given(year), as_of.pred_opt()) {
            (true, Some(yesterday)) => {
                let over = calendar.open_days(year.first_day()..=yesterday);
                over.filter(|date| sessions.is_gap(year, *date)).collect()
            }
            _ => Vec::new(),
        };
        gaps.reverse();
        let gap_days = u32::try_from(gaps.len()).unwrap_or(u32::MAX);
        gaps.truncate(gaps_max);
        Freshness {
            school_days_silent: school_days_after(calendar, last_session.map(|session| session.date), as_of),
            last_session,
            gap_days,
            gaps,
        }
    }

    /// Whether the last session received is older than so many school days.
    pub fn is_older_than(&self, school_days: u16) -> bool {
        self.school_days_silent > u32::from(school_days)
    }
}

/// How many school days lie after a day, up to and including another: by the calendar, and Monday to Friday in a year of which
/// none was given. Without a first day, those of the academic year.
pub fn school_days_after(calendar: &Calendar, last: Option<NaiveDate>, as_of: NaiveDate) -> u32 {
    let from = match last {
        Some(last) => last.succ_opt().unwrap_or(last),
        None => AcademicYear::clamped(as_of).first_day(),
    };
    let is_school_day = |date: &NaiveDate| {
        if calendar.is_given(AcademicYear::clamped(*date)) {
            calendar.is_open(*date)
        } else {
            date.weekday().number_from_monday() <= 5
        }
    };
    let days = from.iter_days().take_while(|date| *date <= as_of);
    u32::try_from(days.filter(is_school_day).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::calendar::Term;
    use crate::domain::given_calendar::GivenYear;
    use crate::domain::session::SessionHalf;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    /// A term from 1 September to 24 October 2025.
    fn calendar() -> Calendar {
        let term = Term {
            name: "autumn".into(),
            first: day("2025-09-01"),
            last: day("2025-10-24"),
        };
        let year = AcademicYear::clamped(term.first);
        Calendar::new([GivenYear::new(year, vec![term], Vec::new()).unwrap().calendar])
    }

    /// Marks of whole days, entered on a day.
    fn marked(days: &[(&str, u8)], on: &str) -> BTreeMap<AcademicYear, MarkedSessions> {
        let year = AcademicYear::clamped(day("2025-09-01"));
        let mut sessions = MarkedSessions::default();
        for (date, mark) in days {
            let place = year.sessions_to(day(date)) - 2;
            sessions.add_marks(place, &[*mark, *mark], year.sessions_to(day(on)));
        }
        BTreeMap::from([(year, sessions)])
    }

    #[test]
    fn a_school_is_as_stale_as_the_school_days_since_its_last_marks() {
        let (calendar, friday) = (calendar(), Some(day("2025-09-12")));
        let is_stale = |last, as_of, limit| school_days_after(&calendar, last, as_of) > limit;
        for (as_of, stale) in [
            ("2025-09-12", false),
            ("2025-09-14", false),
            ("2025-09-17", false),
            ("2025-09-18", true),
        ] {
            assert_eq!(is_stale(friday, day(as_of), 3), stale, "{as_of}");
        }
        assert!(is_stale(friday, day("2025-09-15"), 0));
        assert!(
            !is_stale(Some(day("2025-10-24")), day("2025-11-30"), 0),
            "a holiday is no silence"
        );
        assert!(
            !is_stale(Some(day("2025-12-24")), day("2025-09-15"), 0),
            "marks entered ahead"
        );
        assert!(is_stale(None, day("2025-09-04"), 3), "nothing since the year began");
        assert!(!is_stale(None, day("2025-09-03"), 3));
    }

    #[test]
    fn without_a_calendar_monday_to_friday_are_counted() {
        let none = Calendar::default();
        assert_eq!(school_days_after(&none, Some(day("2025-09-12")), day("2025-09-16")), 2);
        let drawn = Calendar::new([crate::domain::calendar::CalendarYear::from_marked_days(
            AcademicYear::clamped(day("2025-09-12")),
            [day("2025-09-12")],
        )]);
        assert_eq!(school_days_after(&drawn, Some(day("2025-09-12")), day("2025-09-22")), 6);
    }

    #[test]
    fn gaps_are_school_days_that_are_over_and_have_no_register() {
        let marked = marked(
            &[("2025-09-01", 1), ("2025-09-03", 34), ("2025-09-04", 19)],
            "2025-09-05",
        );
        let fresh = Freshness::of(&calendar(), &marked, day("2025-09-09"), 2);
        assert_eq!(fresh.gap_days, 3);
        assert_eq!(fresh.gaps, [day("2025-09-08"), day("2025-09-05")]);
        assert_eq!(fresh.school_days_silent, 3);
        let last = fresh.last_session.unwrap();
        assert_eq!((last.date, last.half), (day("2025-09-04"), SessionHalf::Pm));
    }

    #[test]
    fn a_mark_entered_ahead_makes_no_silent_school_look_alive() {
        let mut ahead = marked(&[("2025-09-01", 1), ("2025-09-02", 19)], "2025-09-01");
        let fresh = Freshness::of(&calendar(), &ahead, day("2025-09-03"), 9);
        assert_eq!(fresh.last_session.map(|session| session.date), Some(day("2025-09-01")));
        assert_eq!(fresh.gaps, [day("2025-09-02")]);
        // Until the register of the day comes.
        let received = marked(&[("2025-09-02", 1)], "2025-09-02");
        for (year, sessions) in &mut ahead {
            sessions.unite(&received[year]);
        }
        assert_eq!(Freshness::of(&calendar(), &ahead, day("2025-09-03"), 9).gap_days, 0);
    }
}
