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

/// Whether what is known of a school is older than so many school days: whether there are more of them after the day of its
/// last marks, `as_of` among them. A day later than `as_of` is as good as `as_of`.
pub fn is_stale(calendar: &Calendar, last_marked_day: Option<NaiveDate>, as_of: NaiveDate, limit: u16) -> bool {
    school_days_after(calendar, last_marked_day, as_of) > u32::from(limit)
}
