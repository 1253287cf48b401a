//! The other triggers of a policy.

use chrono::{Days, NaiveDate};

use super::marks::Classes;
use super::timeline::Timeline;
use super::{Threshold, ThresholdKind};
use crate::domain::calendar::monday_of;
use crate::domain::policy::Trigger;
use crate::domain::session::Session;

pub(super) fn thresholds(timeline: &Timeline<'_>, trigger: Trigger, as_of: NaiveDate) -> Vec<Threshold> {
    match trigger {
        Trigger::AbsencesInRow { sessions } => absences_in_row(timeline, usize::from(sessions.max(1)), as_of),
        Trigger::Spells { spells, school_weeks } => {
            spells_in_period(timeline, usize::from(spells.max(1)), i32::from(school_weeks), as_of)
        }
        Trigger::WeekFall { tenths } => week_falls(timeline, u64::from(tenths), as_of),
    }
}

/// The sessions of each run of missed possible sessions. Runs are divided by attendance, and by an unmarked session of a school
/// day; what was not possible divides nothing.
fn spells(timeline: &Timeline<'_>, as_of: NaiveDate) -> Vec<Vec<Session>> {
    let (line, year) = (&timeline.line, timeline.year());
    let mut spells: Vec<Vec<Session>> = Vec::new();
    let mut goes_on = false;
    for place in 0..year.sessions_to(as_of).min(line.length()) {
        let marked = line.at(place);
        if marked.meets(Classes::ATTENDED) || (goes_on && marked.nothing() && timeline.days().is_open(place / 2)) {
            goes_on = false;
        } else if marked.meets(Classes::POSSIBLE) {
            match spells.last_mut() {
                Some(spell) if goes_on => spell.push(year.session_at(place)),
                _ => spells.push(vec![year.session_at(place)]),
            }
            goes_on = true;
        }
    }
    spells
}

fn absences_in_row(timeline: &Timeline<'_>, sessions: usize, as_of: NaiveDate) -> Vec<Threshold> {
    let spells = spells(timeline, as_of);
    let reached = spells.iter().filter_map(|spell| {
        Some(Threshold {
            kind: ThresholdKind::AbsencesInRow,
            proved_by: *spell.get(sessions - 1)?,
            sessions: spell[..sessions].to_vec(),
        })
    });
    reached.collect()
}

fn spells_in_period(timeline: &Timeline<'_>, needed: usize, weeks: i32, as_of: NaiveDate) -> Vec<Threshold> {
    let mut found = Vec::new();
    let mut window: Vec<(i32, Session)> = Vec::new();
    let mut raised = false;
    let numbers = timeline.days().weeks();
    for first in spells(timeline, as_of).iter().filter_map(|spell| spell.first()) {
        let week = numbers.of(timeline.days().place(first.date));
        window.retain(|(earlier, _)| week - earlier < weeks);
        raised &= !window.is_empty();
        window.push((week, *first));
        if window.len() >= needed && !raised {
            raised = true;
            found.push(Threshold {
                kind: ThresholdKind::Spells,
                proved_by: *first,
                sessions: window.iter().map(|(_, session)| *session).collect(),
            });
        }
    }
    found
}

/// The possible sessions of a school week.
struct Week {
    number: i32,
    attended: u64,
    sessions: Vec<Session>,
    /// More than sessions, where two schools marked one.
    possible: u64,
}

/// A week that is over, beside the school week with possible sessions before it.
fn week_falls(timeline: &Timeline<'_>, tenths: u64, as_of: NaiveDate) -> Vec<Threshold> {
    let (line, year, days) = (&timeline.line, timeline.year(), timeline.days());
    let numbers = days.weeks();
    let mut weeks: Vec<Week> = Vec::new();
    for place in 0..year.sessions_to(as_of).min(line.length()) {
        let possible = line.times(place, Classes::POSSIBLE) as u64;
        if possible == 0 {
            continue;
        }
        let number = numbers.of(place / 2);
        if weeks.last().is_none_or(|week| week.number != number) {
            weeks.push(Week {
                number,
                attended: 0,
                sessions: Vec::new(),
                possible: 0,
            });
        }
        if let Some(week) = weeks.last_mut() {
            week.attended += line.times(place, Classes::ATTENDED) as u64;
            week.possible += possible;
            week.sessions.push(year.session_at(place));
        }
    }
    // The week of the day is over once no session of it is to come.
    let monday = monday_of(as_of);
    let today = days.place(as_of);
    let sunday = days.place(monday + Days::new(6));
    let afternoon_to_come = days.may_open(today) && line.at(2 * today + 1).nothing();
    let goes_on = afternoon_to_come || (today + 1..=sunday).any(|place| days.may_open(place));
    let is_current = |week: &Week| week.sessions.last().is_some_and(|last| monday_of(last.date) == monday);
    if goes_on && weeks.last().is_some_and(is_current) {
        weeks.pop();
    }
    let falls = weeks.windows(2).filter_map(|pair| {
        let [before, week] = pair else { return None };
        // Shares are compared by cross-multiplication.
        let (was, is) = (before.attended * week.possible, week.attended * before.possible);
        let fell = was >= is && (was - is) * 1000 >= tenths * week.possible * before.possible;
        (week.number - before.number == 1 && fell).then(|| Threshold {
            kind: ThresholdKind::WeekFall,
            proved_by: week.sessions.last().copied().unwrap_or(week.sessions[0]),
            sessions: week.sessions.clone(),
        })
    });
    falls.collect()
}
