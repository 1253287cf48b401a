//! Ten school days of continuous unauthorised absence.

use chrono::NaiveDate;

use super::marks::Classes;
use super::timeline::Timeline;
use super::{CompulsoryAge, Threshold, ThresholdKind};
use crate::domain::session::Session;

/// How many days: of at least one session each.
pub const UNAUTHORISED_DAYS: usize = 10;

/// A day counts when every possible session in it is unauthorised and there is one; days with none possible are passed over.
pub(super) fn thresholds(timeline: &Timeline<'_>, age: CompulsoryAge, as_of: NaiveDate) -> Vec<Threshold> {
    let (line, year) = (&timeline.line, timeline.year());
    let to = year.sessions_to(as_of).min(line.length());
    let of_age = age.places(year);
    let mut found = Vec::new();
    if line.total(Classes::UNAUTHORISED, to) < UNAUTHORISED_DAYS {
        return found;
    }
    let ending = Classes::ATTENDED | Classes::ILL | Classes::OTHER_ABSENCE;
    let mut days = 0;
    let mut sessions: Vec<Session> = Vec::with_capacity(2 * UNAUTHORISED_DAYS);
    for morning in (0..to).step_by(2) {
        let halves = [morning, morning + 1].map(|place| (place, line.at(place)));
        let marked = halves[0].1 | halves[1].1;
        if marked.meets(ending) || (marked.meets(Classes::POSSIBLE) && !of_age.contains(&morning)) {
            days = 0;
            sessions.clear();
        } else if marked.meets(Classes::UNAUTHORISED) {
            days += 1;
            let absent = halves.iter().filter(|(_, marked)| marked.meets(Classes::UNAUTHORISED));
            sessions.extend(absent.map(|(place, _)| year.session_at(*place)));
            if days == UNAUTHORISED_DAYS {
                found.extend(sessions.last().map(|last| Threshold {
                    kind: ThresholdKind::UnauthorisedDays,
                    proved_by: *last,
                    sessions: sessions.clone(),
                }));
            }
        }
    }
    found
}
