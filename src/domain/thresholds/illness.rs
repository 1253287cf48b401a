//! Fifteen days of illness: 30 sessions in the academic year, cumulative or in a row.

use chrono::NaiveDate;

use super::marks::Classes;
use super::timeline::Timeline;
use super::{CompulsoryAge, Threshold, ThresholdKind};
use crate::domain::session::Session;

/// How many sessions fifteen days are.
pub const ILLNESS_SESSIONS: usize = 30;

pub(super) fn thresholds(timeline: &Timeline<'_>, age: CompulsoryAge, as_of: NaiveDate) -> Vec<Threshold> {
    let (line, year) = (&timeline.line, timeline.year());
    if line.total(Classes::ILL, line.length()) < ILLNESS_SESSIONS {
        return Vec::new();
    }
    let mut found = consecutive(timeline, age, as_of);
    // With what is entered ahead: what lies on or before the day is reached, the rest is expected.
    let of_age = age.places(year);
    let ill = (0..line.length()).filter(|place| of_age.contains(place));
    let ill = ill.flat_map(|place| std::iter::repeat_n(year.session_at(place), line.times(place, Classes::ILL)));
    let sessions: Vec<Session> = ill.take(ILLNESS_SESSIONS).collect();
    if let Some(proved_by) = sessions.get(ILLNESS_SESSIONS - 1).copied() {
        found.push(Threshold {
            kind: if proved_by.date <= as_of {
                ThresholdKind::IllnessCumulative
            } else {
                ThresholdKind::IllnessExpected
            },
            proved_by,
            sessions,
        });
    }
    found
}

/// A row is passed over by sessions that were not possible, by weekends, holidays and INSET; any attendance, any other
/// absence and an unmarked session of a school day end it. A second row raises it again.
fn consecutive(timeline: &Timeline<'_>, age: CompulsoryAge, as_of: NaiveDate) -> Vec<Threshold> {
    let (line, year) = (&timeline.line, timeline.year());
    let to = year.sessions_to(as_of).min(line.length());
    let of_age = age.places(year);
    let ending = Classes::ATTENDED | Classes::UNAUTHORISED | Classes::OTHER_ABSENCE;
    let mut found = Vec::new();
    if line.total(Classes::ILL, to) < ILLNESS_SESSIONS {
        return found;
    }
    let mut row: Vec<Session> = Vec::new();
    let mut raised = false;
    for place in 0..to {
        let marked = line.at(place);
        let is_ill = marked.meets(Classes::ILL);
        let ends = marked.meets(ending)
            || (is_ill && !of_age.contains(&place))
            || (marked.nothing() && !row.is_empty() && timeline.days().is_open(place / 2));
        if ends {
            row.clear();
            raised = false;
        } else if is_ill {
            let session = year.session_at(place);
            row.extend(std::iter::repeat_n(session, line.times(place, Classes::ILL)));
            if row.len() >= ILLNESS_SESSIONS && !raised {
                raised = true;
                found.push(Threshold {
                    kind: ThresholdKind::IllnessConsecutive,
                    proved_by: session,
                    sessions: row.clone(),
                });
            }
        }
    }
    found
}
