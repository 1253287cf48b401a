//! The other triggers of a policy.

use chrono::NaiveDate;

use super::timeline::{SessionOf, Timeline};
use super::{Threshold, ThresholdKind};
use crate::domain::calendar::monday_of;
use crate::domain::policy::Trigger;
use crate::domain::session::Session;

pub(super) fn thresholds(timeline: &Timeline, trigger: Trigger, as_of: NaiveDate) -> Vec<Threshold> {
    match trigger {
        Trigger::AbsencesInRow { sessions } => absences_in_row(timeline, usize::from(sessions.max(1)), as_of),
        Trigger::Spells { spells, school_weeks } => {
            spells_in_period(timeline, usize::from(spells.max(1)), i32::from(school_weeks), as_of)
        }
        Trigger::WeekFall { tenths } => week_falls(timeline, u64::from(tenths), as_of),
    }
}

/// A run of missed possible sessions.
struct Spell {
    week: i32,
    sessions: Vec<Session>,
}

/// Spells are divided by attendance, and by an unmarked session of a school day; what was not possible divides nothing.
fn spells(timeline: &Timeline, as_of: NaiveDate) -> Vec<Spell> {
    let mut spells: Vec<Spell> = Vec::new();
    let mut goes_on = false;
    for of in timeline.sessions_of_year(as_of) {
        let missed = of.marked.possible.len() - of.marked.attended();
        if of.marked.attended() > 0 || (of.marked.nothing() && of.day.open) {
            goes_on = false;
        } else if missed > 0 {
            match spells.last_mut() {
                Some(spell) if goes_on => spell.sessions.push(of.session),
                _ => spells.push(Spell {
                    week: of.day.week,
                    sessions: vec![of.session],
                }),
            }
            goes_on = true;
        }
    }
    spells
}

fn absences_in_row(timeline: &Timeline, sessions: usize, as_of: NaiveDate) -> Vec<Threshold> {
    let spells = spells(timeline, as_of);
    let reached = spells.iter().filter_map(|spell| {
        Some(Threshold {
            kind: ThresholdKind::AbsencesInRow,
            proved_by: *spell.sessions.get(sessions - 1)?,
            sessions: spell.sessions[..sessions].to_vec(),
        })
    });
    reached.collect()
}

fn spells_in_period(timeline: &Timeline, needed: usize, weeks: i32, as_of: NaiveDate) -> Vec<Threshold> {
    let mut found = Vec::new();
    let mut window: Vec<(i32, Session)> = Vec::new();
    let mut raised = false;
    for spell in spells(timeline, as_of) {
        window.retain(|(week, _)| spell.week - week < weeks);
        if window.is_empty() {
            raised = false;
        }
        window.push((spell.week, spell.sessions[0]));
        if window.len() >= needed && !raised {
            raised = true;
            found.push(Threshold {
                kind: ThresholdKind::Spells,
                proved_by: spell.sessions[0],
                sessions: window.iter().map(|(_, session)| *session).collect(),
            });
        }
    }
    found
}

/// A week that is over, beside the school week with possible sessions before it.
fn week_falls(timeline: &Timeline, tenths: u64, as_of: NaiveDate) -> Vec<Threshold> {
    let mut weeks: Vec<(i32, u64, u64, Vec<Session>)> = Vec::new();
    let counted = timeline
        .sessions_of_year(as_of)
        .filter(|of| !of.marked.possible.is_empty());
    for SessionOf { session, day, marked } in counted {
        if weeks.last().is_none_or(|(week, ..)| *week != day.week) {
            weeks.push((day.week, 0, 0, Vec::new()));
        }
        if let Some((_, attended, possible, sessions)) = weeks.last_mut() {
            *attended += marked.attended() as u64;
            *possible += marked.possible.len() as u64;
            sessions.push(session);
        }
    }
    // The week of the day is over once no session of it is to come.
    let monday = monday_of(as_of);
    let goes_on = timeline.days.iter().any(|day| {
        let to_come = day.date > as_of || (day.date == as_of && day.halves[1].nothing());
        to_come && day.may_open && monday_of(day.date) == monday
    });
    let is_current = |sessions: &[Session]| sessions.last().is_some_and(|last| monday_of(last.date) == monday);
    if goes_on && weeks.last().is_some_and(|(.., sessions)| is_current(sessions)) {
        weeks.pop();
    }
    let falls = weeks.windows(2).filter_map(|pair| {
        let [
            (before_week, before_attended, before_possible, _),
            (week, attended, possible, sessions),
        ] = pair
        else {
            return None;
        };
        let fell = before_attended * possible >= attended * before_possible
            && (before_attended * possible - attended * before_possible) * 1000 >= tenths * possible * before_possible;
        (week - before_week == 1 && fell).then(|| Threshold {
            kind: ThresholdKind::WeekFall,
            proved_by: sessions.last().copied().unwrap_or(sessions[0]),
            sessions: sessions.clone(),
        })
    });
    falls.collect()
}
