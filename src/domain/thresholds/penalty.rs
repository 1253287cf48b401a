//! Penalty notices: so many unauthorised sessions within so many school weeks, rolling, over terms and over school years.

use chrono::NaiveDate;

use super::timeline::{Timeline, unauthorised};
use super::{CompulsoryAge, Notice, Threshold, ThresholdKind};
use crate::domain::code::AttendanceCode;
use crate::domain::policy::PenaltyRule;
use crate::domain::session::Session;

/// It is proved by the session that fills the window, and raised again only after the window has emptied and filled; or after
/// a notice was issued, whose sessions count no more.
pub(super) fn thresholds(
    timeline: &Timeline,
    age: CompulsoryAge,
    rule: PenaltyRule,
    notices: &[Notice],
    as_of: NaiveDate,
) -> Vec<Threshold> {
    let counts = |code: AttendanceCode| unauthorised(code) && (rule.counts_no_reason_yet || code != AttendanceCode::N);
    let (needed, weeks) = (usize::from(rule.sessions.max(1)), i32::from(rule.school_weeks));
    let first = timeline.days.first().map_or(as_of, |day| day.date);
    let mut found = Vec::new();
    let mut window: Vec<(i32, Session)> = Vec::new();
    let mut raised = false;
    let mut issued = notices.iter().peekable();
    for of in timeline.sessions(first, as_of) {
        while let Some(notice) = issued.next_if(|notice| notice.issued_on <= of.session.date) {
            window.retain(|(_, session)| !notice.sessions.contains(session));
            raised = false;
        }
        let counted = of.marked.possible.iter().filter(|code| counts(**code)).count();
        if counted == 0 || !age.covers(of.session.date) {
            continue;
        }
        // A notice that is to come may have used it already.
        let used = notices
            .iter()
            .any(|notice| notice.issued_on <= of.session.date && notice.sessions.contains(&of.session));
        window.retain(|(week, _)| of.day.week - week < weeks);
        if window.is_empty() {
            raised = false;
        }
        if used {
            continue;
        }
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
