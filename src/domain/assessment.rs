//! Assessment: what a pupil's record, the policies and the holds make of a day, and of every day before it in its academic
//! year.
//!
//! A pupil begins each academic year at stage U. After each session the counts of the policy's window give a stage; a fall
//! that waits for a person and a hold may keep the pupil at one of greater need.

use chrono::{Days, NaiveDate};
use uuid::Uuid;

use super::calendar::{Calendars, DAYS_MAX, monday_of};
use super::hold::{Hold, HoldKind};
use super::identifiers::{EnrolmentId, SchoolId};
use super::policy::{PolicyTimeline, Scope, VersionedPolicy, Window};
use super::record::{EnrolmentRecord, PupilRecord};
use super::session::{AcademicYear, Session};
use super::stage::{Judgement, Stage};
use super::tally::{PrefixTallies, Tally};

/// What a pupil is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The policies.
    pub timeline: &'a PolicyTimeline,
    /// The calendars of the schools. Asked only by policies whose window follows a calendar.
    pub calendars: &'a Calendars,
    /// The pupil's holds.
    pub holds: &'a [Hold],
}

/// What a policy makes of one enrolment alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnrolmentAssessment {
    /// The enrolment.
    pub id: EnrolmentId,
    /// The school.
    pub school: SchoolId,
    /// The counts of the policy's window.
    pub tally: Tally,
    /// The stage that they give.
    pub judgement: Judgement,
}

/// What a day comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// The day.
    pub as_of: NaiveDate,
    /// Its academic year.
    pub year: AcademicYear,
    /// The version of the policy that judges it.
    pub policy_version: i32,
    /// The first day of the policy's window.
    pub window_from: NaiveDate,
    /// The counts that were judged: of the policy's window; under a policy of single enrolments, those of the enrolment
    /// that decides.
    pub tally: Tally,
    /// The counts of the academic year to date over all enrolments.
    pub year_tally: Tally,
    /// What the policy makes of the counts.
    pub judgement: Judgement,
    /// The stage at which the pupil is, holds and waiting falls considered.
    pub stage: Stage,
    /// The first day since which the pupil has been at the stage without a break: the first with a possible session, or the
    /// day on which something else moved the pupil. Nothing where no session was possible and nothing did.
    pub since: Option<NaiveDate>,
    /// The hold that keeps the pupil at the stage.
    pub hold: Option<Uuid>,
    /// Whether the counts give a stage of lesser need and the fall waits for a person.
    pub fall_waits: bool,
    /// The day after `as_of` on which the stage may change although no mark is written; marks entered ahead of time not
    /// considered.
    pub next_review_on: Option<NaiveDate>,
    /// Each enrolment, under a policy that judges them alone.
    pub enrolments: Vec<EnrolmentAssessment>,
    days: Vec<DayOutcome>,
}

/// The stage at the end of a day, and the one of greatest need during it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DayOutcome {
    end: Stage,
    peak: Stage,
    possible: bool,
}

impl Assessment {
    /// The stage at the end of a day of the academic year up to `as_of`; U on any other.
    pub fn stage_on(&self, date: NaiveDate) -> Stage {
        let place = usize::try_from((date - self.year.first_day()).num_days()).ok();
        let outcome = place.and_then(|place| self.days.get(place));
        outcome.map_or(Stage::Universal, |outcome| outcome.end)
    }

    /// The stage of greatest need that was reached from when the pupil last left stage U on or before one day, up to and
    /// including another.
    pub fn peak(&self, from: NaiveDate, to: NaiveDate) -> Stage {
        let place = |date: NaiveDate| usize::try_from((date - self.year.first_day()).num_days()).unwrap_or(0);
        let from = place(from).min(self.days.len());
        let to = (place(to) + 1).min(self.days.len());
        let left = self.days[..from]
            .iter()
            .rposition(|outcome| outcome.end == Stage::Universal);
        let from = left.map_or(0, |left| left + 1);
        let reached = self.days[from.min(to)..to].iter().map(|outcome| outcome.peak);
        reached.max().unwrap_or(Stage::Universal)
    }
}

struct Counted<'a> {
    enrolment: &'a EnrolmentRecord<'a>,
    prefix: PrefixTallies,
}

/// What one policy makes of the sessions of its window.
#[derive(Clone, Copy)]
struct Judged {
    tally: Tally,
    judgement: Judgement,
}

/// Assesses a pupil on a day.
pub fn assess(record: &PupilRecord<'_>, rules: Rules<'_>, as_of: NaiveDate) -> Assessment {
    let year = AcademicYear::clamped(as_of);
    let counted: Vec<Counted<'_>> = record
        .enrolments
        .iter()
        .map(|enrolment| Counted {
            enrolment,
            prefix: PrefixTallies::of_marks(enrolment.marks(year)),
        })
        .collect();
    let days_in_all = (year.sessions_to(as_of) / 2).min(DAYS_MAX);
    let mut days: Vec<DayOutcome> = Vec::with_capacity(days_in_all);
    let mut since = None;
    let mut base = Stage::Universal;
    let mut state = None;
    for day in 0..days_in_all {
        let date = year.first_day() + Days::new(day as u64);
        let school = record.home_school(date);
        let policy = rules.timeline.at(date, school);
        let window_from = window_from(policy, rules.calendars, school, date);
        let confirmed = in_force(rules.holds, date).any(|hold| hold.kind == HoldKind::ConfirmFall);
        let delayed = in_force(rules.holds, date).find(|hold| hold.kind == HoldKind::DelayFall);
        let waits = policy.policy.fall_waits && !confirmed;
        let held = in_force(rules.holds, date)
            .filter_map(|hold| match hold.kind {
                HoldKind::AtLeast(stage) => Some((stage, hold.id)),
                _ => None,
            })
            .max_by_key(|(stage, _)| *stage);
        let mut outcome = DayOutcome {
            end: Stage::Universal,
            peak: Stage::Universal,
            possible: counted
                .iter()
                .any(|counted| counted.prefix.between(2 * day, 2 * day + 2).possible > 0),
        };
        for to in [2 * day + 1, 2 * day + 2] {
            let judged = judge(&counted, policy, window_from, rules.calendars, date, year, to);
            let computed = judged.judgement.stage;
            let before = base;
            base = if waits || delayed.is_some() {
                computed.max(before)
            } else {
                computed
            };
            outcome.end = held.map_or(base, |(stage, _)| base.max(stage));
            outcome.peak = outcome.peak.max(outcome.end);
            state = Some((judged, policy.version, window_from, base, waits, delayed, held));
        }
        let changed = days.last().map_or(Stage::Universal, |last| last.end) != outcome.end;
        if changed {
            since = None;
        }
        if since.is_none() && (outcome.possible || changed) {
            since = Some(date);
        }
        days.push(outcome);
    }
    let school = record.home_school(as_of);
    let (judged, policy_version, window_from, base, waits, delayed, held) = state.unwrap_or_else(|| {
        let policy = rules.timeline.at(as_of, school);
        let nothing = Judged {
            tally: Tally::default(),
            judgement: policy.policy.judge(Tally::default()),
        };
        (
            nothing,
            policy.version,
            year.first_day(),
            Stage::Universal,
            false,
            None,
            None,
        )
    });
    let stage = days.last().map_or(Stage::Universal, |last| last.end);
    let hold = match held {
        Some((at, id)) if at > base => Some(id),
        _ if base > judged.judgement.stage && !waits => delayed.map(|hold| hold.id),
        _ => None,
    };
    let policy = rules.timeline.at(as_of, school);
    let to = year.sessions_to(as_of);
    Assessment {
        as_of,
        year,
        policy_version,
        window_from,
        tally: judged.tally,
        year_tally: record.tally_to(year, as_of),
        judgement: judged.judgement,
        stage,
        since,
        hold,
        fall_waits: waits && base > judged.judgement.stage,
        next_review_on: next_review_on(record, policy, rules, school, as_of),
        enrolments: match policy.policy.scope {
            Scope::Trust => Vec::new(),
            Scope::Enrolment => counted
                .iter()
                .map(|counted| of_enrolment(counted, policy, rules.calendars, as_of, year, to))
                .collect(),
        },
        days,
    }
}

/// What the counts come to after a session, under the policy of its day: holds and waiting falls left aside.
pub fn judge_after(
    record: &PupilRecord<'_>,
    timeline: &PolicyTimeline,
    calendars: &Calendars,
    session: Session,
) -> (Tally, Judgement) {
    let year = AcademicYear::clamped(session.date);
    let counted: Vec<Counted<'_>> = record
        .enrolments
        .iter()
        .map(|enrolment| Counted {
            enrolment,
            prefix: PrefixTallies::of_marks(enrolment.marks(year)),
        })
        .collect();
    let school = record.home_school(session.date);
    let policy = timeline.at(session.date, school);
    let from = window_from(policy, calendars, school, session.date);
    let to = year.index_of(session).map_or(0, |place| place + 1);
    let judged = judge(&counted, policy, from, calendars, session.date, year, to);
    (judged.tally, judged.judgement)
}

fn in_force(holds: &[Hold], date: NaiveDate) -> impl Iterator<Item = &Hold> {
    holds.iter().filter(move |hold| hold.in_force(date))
}

/// The first day of a policy's window.
fn window_from(
    policy: &VersionedPolicy,
    calendars: &Calendars,
    school: Option<SchoolId>,
    date: NaiveDate,
) -> NaiveDate {
    match policy.policy.window {
        Window::YearToDate => AcademicYear::clamped(date).first_day(),
        Window::SchoolWeeks(weeks) => calendars.of_any(school).first_day_of_last_weeks(date, u32::from(weeks)),
        Window::CurrentTerm => calendars.of_any(school).first_day_of_term(date),
    }
}

fn place_of(year: AcademicYear, date: NaiveDate) -> usize {
    usize::try_from(2 * (date - year.first_day()).num_days()).unwrap_or(0)
}

fn judge(
    counted: &[Counted<'_>],
    policy: &VersionedPolicy,
    window_from: NaiveDate,
    calendars: &Calendars,
    date: NaiveDate,
    year: AcademicYear,
    to: usize,
) -> Judged {
    if policy.policy.scope == Scope::Enrolment {
        let alone = deciding(counted, date).map(|counted| of_enrolment(counted, policy, calendars, date, year, to));
        // The first of those with the greatest need.
        let worst = alone.reduce(|worst, next| {
            if next.judgement.stage > worst.judgement.stage {
                next
            } else {
                worst
            }
        });
        if let Some(worst) = worst {
            return Judged {
                tally: worst.tally,
                judgement: worst.judgement,
            };
        }
    }
    let from = place_of(year, window_from);
    let tally = counted.iter().map(|counted| counted.prefix.between(from, to)).sum();
    Judged {
        tally,
        judgement: policy.policy.judge(tally),
    }
}

/// The enrolments whose own stages decide on a day: those on roll; where none is, those that had begun, and else all.
fn deciding<'c>(counted: &'c [Counted<'c>], date: NaiveDate) -> impl Iterator<Item = &'c Counted<'c>> {
    let on_roll = move |counted: &Counted<'_>| counted.enrolment.span.on_roll(date);
    let any = counted.iter().any(on_roll);
    let last = counted
        .iter()
        .filter(|counted| counted.enrolment.span.start <= date)
        .filter_map(|counted| counted.enrolment.span.end)
        .max();
    counted
        .iter()
        .filter(move |counted| on_roll(counted) || (!any && (last.is_none() || counted.enrolment.span.end == last)))
}

fn of_enrolment(
    counted: &Counted<'_>,
    policy: &VersionedPolicy,
    calendars: &Calendars,
    date: NaiveDate,
    year: AcademicYear,
    to: usize,
) -> EnrolmentAssessment {
    let school = counted.enrolment.span.school;
    let from = window_from(policy, calendars, Some(school), date);
    let tally = counted.prefix.between(place_of(year, from), to);
    EnrolmentAssessment {
        id: counted.enrolment.id,
        school,
        tally,
        judgement: policy.policy.judge(tally),
    }
}

/// The day after `as_of` on which the stage may change although no mark is written.
fn next_review_on(
    record: &PupilRecord<'_>,
    policy: &VersionedPolicy,
    rules: Rules<'_>,
    school: Option<SchoolId>,
    as_of: NaiveDate,
) -> Option<NaiveDate> {
    let of_window = match policy.policy.window {
        Window::YearToDate => None,
        // Marks leave the window on a Monday at the earliest.
        Window::SchoolWeeks(_) => monday_of(as_of).checked_add_days(Days::new(7)),
        Window::CurrentTerm => {
            // Those of the school by which the pupil is judged, and of each whose register decides by itself.
            let alone = record
                .enrolments
                .iter()
                .filter(|_| policy.policy.scope == Scope::Enrolment);
            let schools = alone.map(|enrolment| Some(enrolment.span.school)).chain([school]);
            let terms = schools.flat_map(|school| {
                let year = rules.calendars.of_any(school).year(AcademicYear::clamped(as_of));
                year.map_or(&[][..], |year| year.terms.as_slice())
            });
            terms.map(|term| term.first).filter(|first| *first > as_of).min()
        }
    };
    let of_holds = rules
        .holds
        .iter()
        .flat_map(|hold| [Some(hold.from), hold.to.succ_opt()]);
    // By which school's policy and calendar the pupil is judged, and which enrolments decide, changes where one begins and after
    // one has ended. Whatever the policy of today: another one may be in force by then.
    let of_enrolments = record.enrolments.iter().flat_map(|enrolment| {
        let after = enrolment.span.end.and_then(|end| end.succ_opt());
        [Some(enrolment.span.start), after]
    });
    let all = of_holds.chain(of_enrolments).flatten().chain(of_window);
    all.filter(|date| *date > as_of).min()
}
