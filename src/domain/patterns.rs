//! Patterns of a pupil's attendance: facts about when sessions were attended and missed, and no judgement of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use chrono::{Datelike, NaiveDate, Weekday};

use super::calendar::{Calendar, Calendars, DayKind, monday_of};
use super::code::AttendanceCode;
use super::identifiers::SchoolId;
use super::record::PupilRecord;
use super::session::{AcademicYear, Session};
use super::tally::Tally;

/// Attendance on one weekday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeekdayPattern {
    /// The weekday.
    pub weekday: Weekday,
    /// Its mornings.
    pub morning: Tally,
    /// Its afternoons.
    pub afternoon: Tally,
}

/// Sessions under one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeSessions {
    /// The code.
    pub code: AttendanceCode,
    /// How many sessions have it.
    pub sessions: usize,
    /// How many of them fall outside its dates.
    pub outside_validity: usize,
}

/// A run of missed half days. Holidays, weekends and sessions that were not possible are passed over; attendance, or a session
/// of a school day without a mark, ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spell {
    /// The first that was missed.
    pub from: Session,
    /// The last.
    pub to: Session,
    /// How many half days.
    pub sessions: usize,
    /// By code, in the order of the codes.
    pub codes: Vec<CodeSessions>,
}

/// Where a school day stands in the calendar. A day may stand in several places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DayPosition {
    /// The first school day of a term.
    FirstOfTerm,
    /// The last school day of a term.
    LastOfTerm,
    /// The last before a holiday or closure: before a weekday without school, INSET days alone apart.
    BeforeHoliday,
    /// The first after a holiday or closure.
    AfterHoliday,
    /// The last before INSET days alone.
    BeforeInset,
    /// The first after INSET days alone.
    AfterInset,
}

/// Attendance on the days of one position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PositionPattern {
    /// How many of them had a possible session.
    pub days: usize,
    /// The counts.
    pub tally: Tally,
    /// Those of which a session was missed.
    pub missed: Vec<NaiveDate>,
}

/// When a pupil attends and when not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    /// The counts of the period, over all enrolments.
    pub tally: Tally,
    /// All mornings.
    pub morning: Tally,
    /// All afternoons.
    pub afternoon: Tally,
    /// The weekdays with a possible session, Monday first.
    pub weekdays: Vec<WeekdayPattern>,
    /// The Mondays of the weeks with a possible session, with their counts.
    pub weeks: BTreeMap<NaiveDate, Tally>,
    /// By code, in the order of the codes; those with none are left out.
    pub codes: Vec<CodeSessions>,
    /// The spells of absence, in order.
    pub spells: Vec<Spell>,
    /// By position, where every school at which the pupil was has a given calendar; nothing where one has not.
    pub positions: Option<BTreeMap<DayPosition, PositionPattern>>,
    /// Minutes of learning lost: missed possible sessions times the length of a session at the school.
    pub lost_learning_minutes: u64,
}

/// Sessions by code, counted one by one.
#[derive(Clone, Default)]
struct CodeCounts(BTreeMap<AttendanceCode, (usize, usize)>);

impl CodeCounts {
    fn add(&mut self, code: AttendanceCode, date: NaiveDate) {
        let (sessions, outside) = self.0.entry(code).or_default();
        *sessions += 1;
        *outside += usize::from(!code.valid_on(date));
    }

    fn into_rows(self) -> Vec<CodeSessions> {
        let rows = self
            .0
            .into_iter()
            .map(|(code, (sessions, outside_validity))| CodeSessions {
                code,
                sessions,
                outside_validity,
            });
        rows.collect()
    }
}

/// The patterns of the days of one academic year from one to another, both included. `minutes` is the length of a session by
/// school.
pub fn patterns(
    record: &PupilRecord<'_>,
    calendars: &Calendars,
    minutes: &HashMap<SchoolId, u64>,
    year: AcademicYear,
    days: RangeInclusive<NaiveDate>,
) -> Patterns {
    let mut patterns = Patterns::default();
    let mut weekdays: BTreeMap<u32, WeekdayPattern> = BTreeMap::new();
    let mut by_day: BTreeMap<NaiveDate, Tally> = BTreeMap::new();
    let mut codes = CodeCounts::default();
    let (first, last) = days.into_inner();
    let places = year.sessions_to(first).saturating_sub(2)..year.sessions_to(last);
    for place in places.clone() {
        let session = year.session_at(place);
        for enrolment in &record.enrolments {
            let mark = enrolment.marks(year).get(place).copied().unwrap_or_default();
            let Some(code) = AttendanceCode::from_byte(mark) else {
                continue;
            };
            let tally = Tally::of_mark(mark);
            codes.add(code, session.date);
            patterns.lost_learning_minutes +=
                tally.missed() * minutes.get(&enrolment.span.school).copied().unwrap_or_default();
            if tally.possible == 0 {
                continue;
            }
            patterns.tally += tally;
            let weekday = session.date.weekday();
            let of_weekday = weekdays
                .entry(weekday.num_days_from_monday())
                .or_insert(WeekdayPattern {
                    weekday,
                    morning: Tally::default(),
                    afternoon: Tally::default(),
                });
            if place.is_multiple_of(2) {
                patterns.morning += tally;
                of_weekday.morning += tally;
            } else {
                patterns.afternoon += tally;
                of_weekday.afternoon += tally;
            }
            *patterns.weeks.entry(monday_of(session.date)).or_default() += tally;
            *by_day.entry(session.date).or_default() += tally;
        }
    }
    patterns.weekdays = weekdays.into_values().collect();
    patterns.codes = codes.into_rows();
    patterns.spells = spells(record, calendars, year, places);
    patterns.positions = positions(record, calendars, year, &by_day);
    patterns
}

/// The runs of missed half days among the sessions at some places of a year.
fn spells(
    record: &PupilRecord<'_>,
    calendars: &Calendars,
    year: AcademicYear,
    places: std::ops::Range<usize>,
) -> Vec<Spell> {
    let mut spells = Vec::new();
    let mut running: Option<(Session, Session, usize, CodeCounts)> = None;
    let mut end = |running: &mut Option<(Session, Session, usize, CodeCounts)>| {
        if let Some((from, to, sessions, codes)) = running.take() {
            spells.push(Spell {
                from,
                to,
                sessions,
                codes: codes.into_rows(),
            });
        }
    };
    for place in places {
        let session = year.session_at(place);
        let marks = record
            .enrolments
            .iter()
            .map(|enrolment| enrolment.marks(year).get(place));
        let marks: Vec<AttendanceCode> = marks
            .flatten()
            .filter_map(|mark| AttendanceCode::from_byte(*mark))
            .collect();
        let attended = marks.iter().any(|code| code.category().attended());
        let missed = |code: &&AttendanceCode| code.category().possible() && !code.category().attended();
        if attended {
            end(&mut running);
        } else if marks.iter().any(|code| missed(&code)) {
            let (_, to, sessions, codes) = running.get_or_insert_with(|| (session, session, 0, CodeCounts::default()));
            *to = session;
            *sessions += 1;
            for code in marks.iter().filter(missed) {
                codes.add(*code, session.date);
            }
        } else if marks.is_empty() && calendars.of_any(record.home_school(session.date)).is_open(session.date) {
            end(&mut running);
        }
    }
    end(&mut running);
    spells
}

/// Attendance by where days stand in the calendar of the school at which the pupil then was.
fn positions(
    record: &PupilRecord<'_>,
    calendars: &Calendars,
    year: AcademicYear,
    by_day: &BTreeMap<NaiveDate, Tally>,
) -> Option<BTreeMap<DayPosition, PositionPattern>> {
    let mut found: BTreeMap<DayPosition, PositionPattern> = BTreeMap::new();
    let mut known: HashMap<SchoolId, BTreeMap<NaiveDate, BTreeSet<DayPosition>>> = HashMap::new();
    for (date, tally) in by_day {
        let school = record.home_school(*date)?;
        let calendar = calendars.of(school);
        calendar.year(year).filter(|of_year| of_year.given)?;
        let of_school = known.entry(school).or_insert_with(|| positions_of_year(calendar, year));
        for position in of_school.get(date).into_iter().flatten() {
            let pattern = found.entry(*position).or_default();
            pattern.days += 1;
            pattern.tally += *tally;
            if tally.missed() > 0 {
                pattern.missed.push(*date);
            }
        }
    }
    Some(found)
}

/// The school days of a calendar's year that stand next to something.
pub fn positions_of_year(calendar: &Calendar, year: AcademicYear) -> BTreeMap<NaiveDate, BTreeSet<DayPosition>> {
    let mut positions: BTreeMap<NaiveDate, BTreeSet<DayPosition>> = BTreeMap::new();
    let open: Vec<NaiveDate> = calendar.open_days(year.first_day()..=year.last_day()).collect();
    let mut stands = |date: NaiveDate, position| {
        positions.entry(date).or_default().insert(position);
    };
    for pair in open.windows(2) {
        match gap_between(calendar, pair[0], pair[1]) {
            Gap::Weekend => {}
            Gap::Inset => {
                stands(pair[0], DayPosition::BeforeInset);
                stands(pair[1], DayPosition::AfterInset);
            }
            Gap::Holiday => {
                stands(pair[0], DayPosition::BeforeHoliday);
                stands(pair[1], DayPosition::AfterHoliday);
            }
        }
    }
    // Before the year and after it are the summer's holidays.
    if let (Some(first), Some(last)) = (open.first(), open.last()) {
        stands(*first, DayPosition::AfterHoliday);
        stands(*last, DayPosition::BeforeHoliday);
    }
    let terms = calendar.year(year).map_or(&[][..], |of_year| of_year.terms.as_slice());
    for term in terms {
        // The parts before and after half term are one.
        let parts = || terms.iter().filter(|part| part.name == term.name);
        let first = parts().map(|part| part.first).min().unwrap_or(term.first);
        let last = parts().map(|part| part.last).max().unwrap_or(term.last);
        let mut of_term = open.iter().filter(|date| (first..=last).contains(*date));
        if let Some(first) = of_term.next() {
            stands(*first, DayPosition::FirstOfTerm);
            stands(*of_term.next_back().unwrap_or(first), DayPosition::LastOfTerm);
        }
    }
    positions
}

enum Gap {
    /// Nothing, or a weekend alone.
    Weekend,
    /// INSET days alone.
    Inset,
    /// Anything else.
    Holiday,
}

fn gap_between(calendar: &Calendar, before: NaiveDate, after: NaiveDate) -> Gap {
    let between = before.iter_days().skip(1).take_while(|date| *date < after);
    let weekdays = between.filter(|date| date.weekday().num_days_from_monday() < 5);
    let mut gap = Gap::Weekend;
    for date in weekdays {
        match calendar.kind(date) {
            Some(DayKind::Inset) => gap = Gap::Inset,
            _ => return Gap::Holiday,
        }
    }
    gap
}
