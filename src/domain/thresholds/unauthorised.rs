//! Ten school days of continuous unauthorised absence.

use chrono::NaiveDate;

use super::timeline::{Timeline, unauthorised};
use super::{CompulsoryAge, Threshold, ThresholdKind};
use crate::domain::session::{Session, SessionHalf};

const DAYS: usize = 10;

/// A day counts when every possible session in it is unauthorised and there is one; days with none possible are passed over.
pub(super) fn thresholds(timeline: &Timeline, age: CompulsoryAge, as_of: NaiveDate) -> Vec<Threshold> {
    let mut found = Vec::new();
    let mut days = 0;
    let mut sessions: Vec<Session> = Vec::new();
    let of_year = timeline
        .days
        .iter()
        .filter(|day| day.date >= timeline.year.first_day() && day.date <= as_of);
    for day in of_year {
        let halves = [SessionHalf::Am, SessionHalf::Pm].into_iter().zip(&day.halves);
        let possible: Vec<_> = halves
            .flat_map(|(half, marked)| marked.possible.iter().map(move |code| (half, *code)))
            .collect();
        if possible.is_empty() {
            continue;
        }
        if !age.covers(day.date) || possible.iter().any(|(_, code)| !unauthorised(*code)) {
            days = 0;
            sessions.clear();
            continue;
        }
        days += 1;
        sessions.extend(possible.iter().map(|(half, _)| Session {
            date: day.date,
            half: *half,
        }));
        sessions.dedup();
        if days == DAYS {
            found.extend(sessions.last().map(|last| Threshold {
                kind: ThresholdKind::UnauthorisedDays,
                proved_by: *last,
                sessions: sessions.clone(),
            }));
        }
    }
    found
}
