//! Forecasts: what would move a pupil to another stage, by when, and what an academic year can still come to.
//!
//! The sessions ahead are those of the school days of the pupil's home school, from today to the end of the academic year or
//! of the enrolment, that have no mark yet. A forecast supposes that all of them are attended, or all are missed, and judges
//! after each as the policy does. Marks entered ahead of time stand as they are.

use chrono::NaiveDate;

use super::assessment::judge_after;
use super::calendar::Calendars;
use super::code::AttendanceCode;
use super::policy::{PolicyTimeline, Scope, Window};
use super::pupil::EnrolmentKind;
use super::record::{EnrolmentRecord, PupilRecord};
use super::session::{AcademicYear, Session, SessionHalf};
use super::stage::{Judgement, MOVE_SESSIONS_MAX, Stage};
use super::tally::Tally;

/// What is known of the sessions that are still to come this academic year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// The sessions without a mark, in order.
    Sessions(Vec<Session>),
    /// A school at which the pupil will be on roll has no calendar that somebody gave.
    NoCalendar,
    /// The pupil is on roll at no school from today on.
    NotOnRoll,
}

/// Whether and when something is reached by attending, or by missing, every session from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This academic year.
    ThisYear {
        /// After how many sessions; 0 where marks entered ahead of time reach it by themselves.
        sessions: u32,
        /// The session on which it is reached.
        session: Session,
    },
    /// Not this academic year.
    NotThisYear {
        /// How many sessions it would take if the year went on, where that can be told.
        sessions: Option<u32>,
    },
    /// After so many sessions; no calendar tells when.
    Undated {
        /// How many.
        sessions: u32,
    },
    /// It cannot be told without a calendar, or is further away than [`MOVE_SESSIONS_MAX`] sessions.
    NotKnown,
}

/// What an academic year comes to, and the stage after its last session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// The counts of the whole academic year.
    pub tally: Tally,
    /// What the policy makes of its window after the last session.
    pub judgement: Judgement,
}

/// What would move a pupil, by when, and what the year can still come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// What is known of the sessions ahead.
    pub ahead: Ahead,
    /// The counts that the policy judges today.
    pub tally: Tally,
    /// What it makes of them. Forecasts count from the stage that the counts alone give.
    pub judgement: Judgement,
    /// When there are enough possible sessions for the policy to judge; nothing where there are today.
    pub judged: Option<Reach>,
    /// Every better stage, nearest first, and when it or one better still is reached by attending.
    pub improves: Vec<(Stage, Reach)>,
    /// Every worse stage, nearest first, and when it or one worse still is reached by missing.
    pub worsens: Vec<(Stage, Reach)>,
    /// The year where every session left is attended; nothing without a calendar.
    pub best: Option<Outlook>,
    /// The year where every session left is missed.
    pub worst: Option<Outlook>,
}

/// A session of a path: how many were attended or missed up to it, and what the policy then makes of the counts.
#[derive(Clone, Copy)]
struct Step {
    sessions: u32,
    session: Option<Session>,
    judgement: Judgement,
}

/// What a pupil's policy will make of the sessions ahead.
pub fn forecast(
    record: &PupilRecord<'_>,
    timeline: &PolicyTimeline,
    calendars: &Calendars,
    as_of: NaiveDate,
) -> Forecast {
    let year = AcademicYear::clamped(as_of);
    let ahead = sessions_ahead(record, calendars, year, as_of);
    let today = Session {
        date: as_of,
        half: SessionHalf::Pm,
    };
    let (tally, judgement) = judge_after(record, timeline, calendars, today);
    let walk = |attending| walk(record, timeline, calendars, as_of, &ahead, attending);
    let (attending, best) = walk(true);
    let (missing, worst) = walk(false);
    let dated = matches!(ahead, Ahead::Sessions(_) | Ahead::NotOnRoll);
    let reach = |path: &[Step], reached: &dyn Fn(Judgement) -> bool| {
        let found = path.iter().find(|step| reached(step.judgement));
        match found.map(|step| (step.sessions, step.session)) {
            Some((sessions, Some(session))) => Reach::ThisYear { sessions, session },
            Some((sessions, None)) if dated => Reach::NotThisYear {
                sessions: Some(sessions),
            },
            Some((sessions, None)) => Reach::Undated { sessions },
            None if dated => Reach::NotThisYear { sessions: None },
            None => Reach::NotKnown,
        }
    };
    let computed = judgement.computed_stage;
    let better = Stage::ALL.into_iter().rev().filter(|stage| *stage < computed);
    let worse = Stage::ALL.into_iter().filter(|stage| *stage > computed);
    Forecast {
        judged: judgement
            .too_little_data
            .then(|| reach(&attending, &|after| !after.too_little_data)),
        improves: better
            .map(|stage| {
                let reached = |after: Judgement| !after.too_little_data && after.stage <= stage;
                (stage, reach(&attending, &reached))
            })
            .collect(),
        worsens: worse
            .map(|stage| {
                let reached = |after: Judgement| !after.too_little_data && after.stage >= stage;
                (stage, reach(&missing, &reached))
            })
            .collect(),
        tally,
        judgement,
        best,
        worst,
        ahead,
    }
}

/// The sessions of the rest of the academic year, from a day on, that have no mark yet.
pub fn sessions_ahead(record: &PupilRecord<'_>, calendars: &Calendars, year: AcademicYear, from: NaiveDate) -> Ahead {
    let mut sessions = Vec::new();
    let mut on_roll = false;
    for date in from.iter_days().take_while(|date| *date <= year.last_day()) {
        let Some(home) = home_of(record, date) else {
            continue;
        };
        on_roll = true;
        let calendar = calendars.of(home.span.school);
        if !calendar.year(year).is_some_and(|of_year| of_year.given) {
            return Ahead::NoCalendar;
        }
        if !calendar.is_open(date) {
            continue;
        }
        for half in [SessionHalf::Am, SessionHalf::Pm] {
            let session = Session { date, half };
            let mark = year.index_of(session).and_then(|place| home.marks(year).get(place));
            if mark.is_none_or(|mark| *mark == 0) {
                sessions.push(session);
            }
        }
    }
    if on_roll {
        Ahead::Sessions(sessions)
    } else {
        Ahead::NotOnRoll
    }
}

/// What the policy makes of the counts after each session to come, where all without a mark are attended or all are missed;
/// and what the year comes to, where a calendar tells.
fn walk(
    record: &PupilRecord<'_>,
    timeline: &PolicyTimeline,
    calendars: &Calendars,
    as_of: NaiveDate,
    ahead: &Ahead,
    attending: bool,
) -> (Vec<Step>, Option<Outlook>) {
    let year = AcademicYear::clamped(as_of);
    let mut steps = Vec::new();
    let mut walked = record.clone();
    let mut last = Session {
        date: as_of,
        half: SessionHalf::Pm,
    };
    if let Ahead::Sessions(sessions) = ahead {
        let mut unmarked = sessions.iter().copied().peekable();
        let mut count = 0;
        // Today's session without a mark may be its morning.
        for place in year.sessions_to(as_of).saturating_sub(2)..year.sessions() {
            let session = year.session_at(place);
            let mark = unmarked.next_if_eq(&session).map(|_| mark_of(session, attending));
            if let Some(mark) = mark {
                count += 1;
                put(&mut walked, year, place, session.date, mark);
            } else if session.date <= as_of || !is_marked(&walked, year, place) {
                continue;
            }
            // What is marked of today counts already, though it be of the afternoon and the morning is still to come.
            last = last.max(session);
            steps.push(Step {
                sessions: count,
                session: Some(session),
                judgement: judge_after(&walked, timeline, calendars, last).1,
            });
        }
    }
    let outlook = (*ahead != Ahead::NoCalendar).then(|| Outlook {
        tally: walked.tally_to(year, year.last_day()),
        judgement: judge_after(&walked, timeline, calendars, last).1,
    });
    let walked_sessions = steps.last().map_or(0, |step| step.sessions);
    steps.extend(undated(&walked, timeline, calendars, last, walked_sessions, attending));
    (steps, outlook)
}

/// The enrolment on roll on a day, main or sole before subsidiary.
fn home_of<'r>(record: &'r PupilRecord<'_>, date: NaiveDate) -> Option<&'r EnrolmentRecord<'r>> {
    let on_roll = record
        .enrolments
        .iter()
        .filter(|enrolment| enrolment.span.on_roll(date));
    on_roll.min_by_key(|enrolment| enrolment.span.kind == EnrolmentKind::Subsidiary)
}

/// The mark of a session that is supposed to be attended or missed.
fn mark_of(session: Session, attending: bool) -> u8 {
    let code = match (attending, session.half) {
        (true, SessionHalf::Am) => AttendanceCode::PresentMorning,
        (true, SessionHalf::Pm) => AttendanceCode::PresentAfternoon,
        (false, _) => AttendanceCode::O,
    };
    code.byte()
}

fn is_marked(record: &PupilRecord<'_>, year: AcademicYear, place: usize) -> bool {
    let marks = record
        .enrolments
        .iter()
        .map(|enrolment| enrolment.marks(year).get(place));
    marks.flatten().any(|mark| *mark != 0)
}

/// Puts a mark into the register of the home school.
fn put(record: &mut PupilRecord<'_>, year: AcademicYear, place: usize, date: NaiveDate, mark: u8) {
    let Some(home) = home_of(record, date).map(|home| home.id) else {
        return;
    };
    for enrolment in record.enrolments.iter_mut().filter(|enrolment| enrolment.id == home) {
        if !enrolment.registers.iter().any(|(of, _)| *of == year) {
            enrolment.registers.push((year, Vec::new().into()));
        }
        for (_, marks) in enrolment.registers.iter_mut().filter(|(of, _)| *of == year) {
            let marks = marks.to_mut();
            if marks.len() <= place {
                marks.resize(place + 1, 0);
            }
            marks[place] = mark;
        }
    }
}

/// Sessions beyond the last that a calendar tells, where the policy judges the year to date of one set of counts: what they
/// come to does not depend on when they are.
fn undated<'a>(
    record: &PupilRecord<'_>,
    timeline: &'a PolicyTimeline,
    calendars: &Calendars,
    last: Session,
    walked: u32,
    attending: bool,
) -> impl Iterator<Item = Step> + use<'a> {
    let policy = &timeline.at(last.date, record.home_school(last.date)).policy;
    let on_roll = record
        .enrolments
        .iter()
        .filter(|enrolment| enrolment.span.on_roll(last.date));
    let one_set = policy.scope == Scope::Trust || on_roll.count() == 1;
    let tellable = policy.window == Window::YearToDate && one_set;
    let (tally, _) = judge_after(record, timeline, calendars, last);
    let most = if tellable { MOVE_SESSIONS_MAX } else { 0 };
    (walked + 1..=most).map(move |sessions| {
        let more = u64::from(sessions - walked);
        let tally = Tally {
            attended: tally.attended + if attending { more } else { 0 },
            possible: tally.possible + more,
            ..tally
        };
        Step {
            sessions,
            session: None,
            judgement: policy.judge(tally),
        }
    })
}

/// After how many further possible sessions a pupil crosses into persistent absence, who goes on missing at a rate: the fewest
/// `n` for which `missed + n x rate` is a tenth or more of `possible + n`. 0 for one who has crossed; nothing for one who
/// never does. Exact: no fraction is rounded.
pub fn sessions_to_persistent_absence(year: Tally, rate: Tally) -> Option<u64> {
    if year.persistently_absent() {
        return Some(0);
    }
    let wide = i128::from;
    // m + n a / b >= (p + n) / 10, times 10 b, is n (10 a - b) >= b (p - 10 m).
    let gain = 10 * wide(rate.missed()) - wide(rate.possible);
    let gap = wide(rate.possible) * (wide(year.possible) - 10 * wide(year.missed()));
    if rate.possible == 0 || gain < 0 || (gain == 0 && gap > 0) {
        return None;
    }
    // Where nothing was possible yet there is no gap, and the first session crosses.
    let sessions = if gap > 0 { (gap + gain - 1) / gain } else { 1 };
    u64::try_from(sessions).ok()
}
