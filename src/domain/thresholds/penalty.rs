//! Penalty notices: so many unauthorised sessions within so many school weeks, rolling, over terms and over school years.

use std::collections::BTreeSet;

use chrono::{Months, NaiveDate};

use super::marks::{Classes, Line};
use super::timeline::Timeline;
use super::{CompulsoryAge, Notice, Threshold, ThresholdKind};
use crate::domain::policy::PenaltyRule;
use crate::domain::session::Session;

/// Within how many months a third notice is refused.
const THIRD_NOTICE: Months = Months::new(36);

/// A session that counts towards a notice.
#[derive(Clone, Copy)]
struct Counted {
    session: Session,
    /// The number of its school week.
    week: i32,
    /// At how many schools: one that two schools marked counts twice.
    times: usize,
}

/// It is proved by the session that fills the window, and raised again only after the window has emptied and filled. A notice
/// takes its sessions away: what is left is looked at from the beginning, so that sessions that were there already may be
/// enough for one more.
pub(super) fn thresholds(
    timeline: &Timeline<'_>,
    age: CompulsoryAge,
    rule: PenaltyRule,
    notices: &[Notice],
    as_of: NaiveDate,
) -> Vec<Threshold> {
    let sessions = counted(timeline, age, rule, as_of);
    let mut issued: Vec<&Notice> = notices.iter().filter(|notice| notice.issued_on <= as_of).collect();
    issued.sort_by_key(|notice| notice.issued_on);
    let mut found: Vec<Threshold> = Vec::new();
    let mut used: BTreeSet<Session> = BTreeSet::new();
    for place in 0..=issued.len() {
        let until = issued.get(place).map_or(as_of, |notice| notice.issued_on);
        let left = sessions
            .iter()
            .filter(|counted| counted.session.date <= until && !used.contains(&counted.session));
        for threshold in of_sessions(left.copied(), rule) {
            if !found.iter().any(|known| known.proved_by == threshold.proved_by) {
                found.push(threshold);
            }
        }
        used.extend(issued.get(place).into_iter().flat_map(|notice| &notice.sessions));
    }
    found
}

/// Whether any window that ends in the year is full, whatever notices have used and whenever it was raised.
pub(super) fn can_be_full(timeline: &Timeline<'_>, rule: PenaltyRule, as_of: NaiveDate) -> bool {
    let needed = usize::from(rule.sessions.max(1));
    let first_day = timeline.year().first_day();
    let mut window: Vec<(i32, Session)> = Vec::new();
    for Counted { session, week, times } in counted(timeline, CompulsoryAge::ALWAYS, rule, as_of) {
        window.extend(std::iter::repeat_n((week, session), times));
        let full = window
            .len()
            .checked_sub(needed)
            .is_some_and(|first| week - window[first].0 < i32::from(rule.school_weeks));
        if full && session.date >= first_day {
            return true;
        }
    }
    false
}

/// The sessions of the year and of all before it that count; none where there are too few, or none in the year itself.
fn counted(timeline: &Timeline<'_>, age: CompulsoryAge, rule: PenaltyRule, as_of: NaiveDate) -> Vec<Counted> {
    let of_year = timeline
        .line
        .total(Classes::UNAUTHORISED, timeline.year().sessions_to(as_of));
    if of_year == 0 {
        return Vec::new();
    }
    let before = timeline.lines_before();
    let all_of = |line: &Line<'_>| line.total(Classes::UNAUTHORISED, line.length());
    if of_year + before.iter().map(all_of).sum::<usize>() < usize::from(rule.sessions) {
        return Vec::new();
    }
    let mut found: Vec<Counted> = Vec::new();
    let lines = before.iter().filter(|line| all_of(line) > 0).chain([&timeline.line]);
    let first = lines.clone().next().map_or(timeline.year(), |line| line.year);
    for line in lines {
        let to = line.year.sessions_to(as_of).min(line.length());
        let of_age = age.places(line.year);
        for place in (0..to).filter(|place| line.at(*place).meets(Classes::UNAUTHORISED)) {
            let left_out = if rule.counts_no_reason_yet {
                0
            } else {
                line.times(place, Classes::NO_REASON_YET)
            };
            let times = line.times(place, Classes::UNAUTHORISED) - left_out;
            if times > 0 && of_age.contains(&place) {
                found.push(Counted {
                    session: line.year.session_at(place),
                    week: 0,
                    times,
                });
            }
        }
    }
    let days = timeline.days_since(first);
    let weeks = days.weeks();
    for counted in &mut found {
        counted.week = weeks.of(days.place(counted.session.date));
    }
    found
}

fn of_sessions(sessions: impl Iterator<Item = Counted>, rule: PenaltyRule) -> Vec<Threshold> {
    let (needed, weeks) = (usize::from(rule.sessions.max(1)), i32::from(rule.school_weeks));
    let mut found = Vec::new();
    let mut window: Vec<(i32, Session)> = Vec::new();
    let mut raised = false;
    for Counted { session, week, times } in sessions {
        window.retain(|(earlier, _)| week - earlier < weeks);
        raised &= !window.is_empty();
        for _ in 0..times {
            window.push((week, session));
            if window.len() >= needed && !raised {
                raised = true;
                found.push(Threshold {
                    kind: ThresholdKind::PenaltyNotice,
                    proved_by: session,
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
