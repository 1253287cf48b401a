//! Fifteen days of illness: 30 sessions in the academic year, cumulative or in a row.

use chrono::NaiveDate;

use super::timeline::Timeline;
use super::{CompulsoryAge, Threshold, ThresholdKind};
use crate::domain::code::AttendanceCode;
use crate::domain::session::Session;

/// How many sessions fifteen days are.
const SESSIONS: usize = 30;

pub(super) fn thresholds(timeline: &Timeline, age: CompulsoryAge, as_of: NaiveDate) -> Vec<Threshold> {
    let mut found = consecutive(timeline, age, as_of);
    // With what is entered ahead: what lies on or before the day is reached, the rest is expected.
    let mut ill: Vec<Session> = Vec::new();
    for of in timeline.sessions_of_year(timeline.year.last_day()) {
        let count = of
            .marked
            .possible
            .iter()
            .filter(|code| **code == AttendanceCode::I)
            .count();
        if age.covers(of.session.date) {
            ill.extend(std::iter::repeat_n(of.session, count));
        }
    }
    if let Some(proved_by) = ill.get(SESSIONS - 1).copied() {
        found.push(Threshold {
            kind: if proved_by.date <= as_of {
                ThresholdKind::IllnessCumulative
            } else {
                ThresholdKind::IllnessExpected
            },
            proved_by,
            sessions: ill[..SESSIONS].to_vec(),
        });
    }
    found
}

/// A row is passed over by sessions that were not possible, by weekends, holidays and INSET; any attendance, any other
/// absence and an unmarked session of a school day end it. A second row raises it again.
fn consecutive(timeline: &Timeline, age: CompulsoryAge, as_of: NaiveDate) -> Vec<Threshold> {
    let mut found = Vec::new();
    let mut row: Vec<Session> = Vec::new();
    let mut raised = false;
    for of in timeline.sessions_of_year(as_of) {
        let possible = &of.marked.possible;
        let ill = possible.iter().filter(|code| **code == AttendanceCode::I).count();
        let ends =
            ill < possible.len() || (of.marked.nothing() && of.day.open) || (ill > 0 && !age.covers(of.session.date));
        if ends {
            row.clear();
            raised = false;
            continue;
        }
        row.extend(std::iter::repeat_n(of.session, ill));
        if row.len() >= SESSIONS && !raised {
            raised = true;
            found.push(Threshold {
                kind: ThresholdKind::IllnessConsecutive,
                proved_by: of.session,
                sessions: row.clone(),
            });
        }
    }
    found
}
