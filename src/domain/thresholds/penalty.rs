//! Penalty notices: so many unauthorised sessions within so many school weeks, rolling, over terms and over school years.

use std::collections::BTreeSet;

use chrono::{Months, NaiveDate};

use super::timeline::{SessionOf, Timeline, unauthorised};
use super::{CompulsoryAge, Notice, Threshold, ThresholdKind};
use crate::domain::code::AttendanceCode;
use crate::domain::policy::PenaltyRule;
use crate::domain::session::Session;

/// Within how many months a third notice is refused.
const THIRD_NOTICE: Months = Months::new(36);

/// It is proved by the session that fills the window, and raised again only after the window has emptied and filled. A notice
/// takes its sessions away: what is left is looked at from the beginning, so that sessions that were there already may be
/// enough for one more.
pub(super) fn thresholds(
    timeline: &Timeline,
    age: CompulsoryAge,
    rule: PenaltyRule,
    notices: &[Notice],
    as_of: NaiveDate,
) -> Vec<Threshold> {
    let counts = |code: AttendanceCode| unauthorised(code) && (rule.counts_no_reason_yet || code != AttendanceCode::N);
    let first = timeline.days.first().map_or(as_of, |day| day.date);
    let sessions: Vec<(SessionOf<'_>, usize)> = timeline
        .sessions(first, as_of)
        .filter(|of| age.covers(of.session.date))
        .map(|of| (of, of.marked.possible.iter().filter(|code| counts(**code)).count()))
        .filter(|(_, counted)| *counted > 0)
        .collect();
    let mut issued: Vec<&Notice> = notices.iter().filter(|notice| notice.issued_on <= as_of).collect();
    issued.sort_by_key(|notice| notice.issued_on);
    let mut found: Vec<Threshold> = Vec::new();
    let mut used: BTreeSet<Session> = BTreeSet::new();
    for place in 0..=issued.len() {
        let until = issued.get(place).map_or(as_of, |notice| notice.issued_on);
        let counted = sessions
            .iter()
            .filter(|(of, _)| of.session.date <= until && !used.contains(&of.session));
        for threshold in of_sessions(counted.copied(), rule) {
            if !found.iter().any(|known| known.proved_by == threshold.proved_by) {
                found.push(threshold);
            }
        }
        used.extend(issued.get(place).into_iter().flat_map(|notice| &notice.sessions));
    }
    found
}

fn of_sessions<'t>(sessions: impl Iterator<Item = (SessionOf<'t>, usize)>, rule: PenaltyRule) -> Vec<Threshold> {
    let (needed, weeks) = (usize::from(rule.sessions.max(1)), i32::from(rule.school_weeks));
    let mut found = Vec::new();
    let mut window: Vec<(i32, Session)> = Vec::new();
    let mut raised = false;
    for (of, counted) in sessions {
        window.retain(|(week, _)| of.day.week - week < weeks);
        raised &= !window.is_empty();
        // A session that two schools marked counts twice.
        for _ in 0..counted {
            window.push((of.day.week, of.session));
            if window.len() >= needed && !raised {
                raised = true;
                found.push(Threshold {
                    kind: ThresholdKind::PenaltyNotice,
                    proved_by: of.session,
                    sessions: window.iter().map(|(_, session)| *session).collect(),
                });
            }
        }
    }
    found
}

/// Whether a notice issued on a day would be the third within three years, those before it and after it considered. Source: the
/// national framework for penalty notices (at most two within a rolling period of three years).
pub fn third_within_three_years(issued: impl IntoIterator<Item = NaiveDate>, day: NaiveDate) -> bool {
    let mut days: Vec<NaiveDate> = issued.into_iter().chain([day]).collect();
    days.sort_unstable();
    days.windows(3).any(|three| {
        let ends = three[0].checked_add_months(THIRD_NOTICE).unwrap_or(NaiveDate::MAX);
        three.contains(&day) && three[2] < ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_notice_within_three_years_is_seen_on_whichever_side_the_others_lie() {
        let date = |text: &str| text.parse::<NaiveDate>().unwrap();
        let third =
            |issued: &[&str], day: &str| third_within_three_years(issued.iter().map(|day| date(day)), date(day));
        assert!(!third(&[], "2025-09-15"));
        assert!(!third(&["2025-09-15"], "2025-09-15"));
        assert!(third(&["2025-09-15", "2025-09-15"], "2025-09-15"));
        // The last day of the three years, and the day after it.
        assert!(third(&["2025-09-15", "2026-01-05"], "2028-09-14"));
        assert!(!third(&["2025-09-15", "2026-01-05"], "2028-09-15"));
        // Recorded late: before, between and after the others.
        assert!(third(&["2025-09-15", "2026-01-05"], "2024-03-01"));
        assert!(third(&["2024-09-15", "2026-09-15"], "2025-09-15"));
        assert!(
            !third(&["2023-01-09", "2027-01-11"], "2025-01-10"),
            "no three years hold all three"
        );
        assert!(
            !third(&["2020-01-01", "2020-01-02", "2020-01-03"], "2025-01-10"),
            "those of old are as they are"
        );
        assert!(third(&["2024-02-29", "2025-01-01"], "2027-02-27"));
        assert!(!third(&["2024-02-29", "2025-01-01"], "2027-02-28"));
    }
}
