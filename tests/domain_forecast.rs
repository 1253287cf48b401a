//! Forecasts against simulation by hand: every mark of the sessions to come written down one by one, and the counts of the
//! policy's window taken anew from all of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use chrono::{Datelike, Days, NaiveDate};
use graduated_response::domain::calendar::{Calendar, CalendarYear, Calendars, DayKind, Term};
use graduated_response::domain::code::AttendanceCode;
use graduated_response::domain::forecast::{Ahead, Reach, forecast, sessions_to_persistent_absence};
use graduated_response::domain::identifiers::{EnrolmentId, SchoolId};
use graduated_response::domain::policy::{PolicyTimeline, VersionedPolicy, Window};
use graduated_response::domain::pupil::{EnrolmentKind, EnrolmentSpan};
use graduated_response::domain::record::{EnrolmentRecord, PupilRecord};
use graduated_response::domain::session::{AcademicYear, Session, SessionHalf};
use graduated_response::domain::stage::{Comparison, Policy, Stage};
use graduated_response::domain::tally::Tally;
use proptest::prelude::*;
use uuid::Uuid;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

const SCHOOL: SchoolId = SchoolId(Uuid::from_u128(1));

fn year() -> AcademicYear {
    AcademicYear::from_start_year(2025).unwrap()
}

/// Terms, Monday to Friday; the last is short, so that a year's end is within reach.
fn terms() -> [(NaiveDate, NaiveDate); 3] {
    [
        (day("2025-09-01"), day("2025-10-24")),
        (day("2025-11-03"), day("2025-12-19")),
        (day("2026-01-05"), day("2026-03-27")),
    ]
}

fn is_open(date: NaiveDate) -> bool {
    date.weekday().number_from_monday() <= 5 && terms().iter().any(|(first, last)| (*first..=*last).contains(&date))
}

fn calendars(given: bool) -> Calendars {
    let days = (0..366).map(|place| year().first_day() + Days::new(place));
    let terms = terms().into_iter().zip(["autumn", "autumn", "spring"]);
    let calendar = CalendarYear {
        year: year(),
        days: days
            .map(|date| if is_open(date) { DayKind::School.byte() } else { 0 })
            .collect(),
        terms: terms
            .map(|((first, last), name)| Term {
                name: name.to_owned(),
                first,
                last,
            })
            .collect(),
        given,
    };
    Calendars::new([(SCHOOL, Arc::new(Calendar::new([calendar])))])
}

/// A pupil's marks by session.
type Marks = BTreeMap<Session, AttendanceCode>;

fn record(marks: &Marks, end: Option<NaiveDate>) -> PupilRecord<'static> {
    let mut bytes = vec![0; year().sessions()];
    for (session, code) in marks {
        bytes[year().index_of(*session).unwrap()] = code.byte();
    }
    PupilRecord {
        enrolments: vec![EnrolmentRecord {
            id: EnrolmentId(Uuid::from_u128(2)),
            span: EnrolmentSpan {
                school: SCHOOL,
                kind: EnrolmentKind::Sole,
                start: year().first_day(),
                end,
            },
            registers: vec![(year(), bytes.into())],
        }],
    }
}

/// The first day of the policy's window on a date, from the words of the rule.
fn window_from(window: Window, date: NaiveDate) -> NaiveDate {
    let first = year().first_day();
    match window {
        Window::YearToDate => first,
        Window::SchoolWeeks(weeks) => {
            let mut mondays: Vec<NaiveDate> = first
                .iter_days()
                .take_while(|day| *day <= date)
                .chain((0..7).map(|more| date + Days::new(more)))
                .filter(|day| is_open(*day))
                .map(|day| day - Days::new(u64::from(day.weekday().num_days_from_monday())))
                .filter(|monday| *monday <= date)
                .collect();
            mondays.sort();
            mondays.dedup();
            let weeks = usize::from(weeks);
            if mondays.len() < weeks {
                first
            } else {
                mondays[mondays.len() - weeks].max(first)
            }
        }
        Window::CurrentTerm => {
            let begun = terms().into_iter().rev().find(|(first, _)| *first <= date);
            match begun {
                // The autumn's second half is of the term that began in September.
                Some((begun, _)) if begun == terms()[2].0 => begun,
                Some(_) => terms()[0].0,
                None => first,
            }
        }
    }
}

/// The stage after a session, and whether there was too little data: counted mark by mark.
fn judged(marks: &Marks, policy: &Policy, after: Session) -> (Stage, bool) {
    let from = window_from(policy.window, after.date);
    let (mut attended, mut possible) = (0, 0);
    for (session, code) in marks {
        if session.date >= from && *session <= after {
            attended += u64::from(code.category().attended());
            possible += u64::from(code.category().possible());
        }
    }
    let stage = policy.band_of(Tally {
        attended,
        possible,
        ..Tally::default()
    });
    let too_little = possible == 0 || possible < u64::from(policy.minimum_possible);
    (stage, too_little)
}

/// The sessions to come, each with what would then be the case, and how many were attended or missed up to it.
fn simulate(
    marks: &Marks,
    policy: &Policy,
    as_of: NaiveDate,
    end: Option<NaiveDate>,
    code: AttendanceCode,
) -> (Vec<(u32, Session, Stage, bool)>, Marks) {
    let mut marks = marks.clone();
    let mut seen = Vec::new();
    let mut count = 0;
    let last = end.unwrap_or(year().last_day()).min(year().last_day());
    for date in as_of.iter_days().take_while(|date| *date <= year().last_day()) {
        for half in [SessionHalf::Am, SessionHalf::Pm] {
            let session = Session { date, half };
            match marks.entry(session) {
                Entry::Vacant(_) if !is_open(date) || date > last => continue,
                Entry::Vacant(unmarked) => {
                    unmarked.insert(code);
                    count += 1;
                }
                // It counts already.
                Entry::Occupied(_) if date == as_of => continue,
                Entry::Occupied(_) => {}
            }
            // Today's afternoon may be marked before its morning is.
            let today = Session {
                date: as_of,
                half: SessionHalf::Pm,
            };
            let (stage, too_little) = judged(&marks, policy, session.max(today));
            seen.push((count, session, stage, too_little));
        }
    }
    (seen, marks)
}

fn tally(marks: &Marks) -> (u64, u64) {
    let count = |counts: fn(&AttendanceCode) -> bool| marks.values().filter(|code| counts(code)).count() as u64;
    (
        count(|code| code.category().attended()),
        count(|code| code.category().possible()),
    )
}

fn policy() -> impl Strategy<Value = Policy> {
    let window = prop_oneof![
        Just(Window::YearToDate),
        (1u16..8).prop_map(Window::SchoolWeeks),
        Just(Window::CurrentTerm),
    ];
    let comparison = prop_oneof![Just(Comparison::Exact), Just(Comparison::Rounded)];
    (window, comparison, 0u32..60).prop_map(|(window, comparison, minimum_possible)| Policy {
        window,
        comparison,
        minimum_possible,
        ..Policy::default()
    })
}

/// A pupil who misses about one in so many sessions up to a day, with some marks ahead of it.
fn history() -> impl Strategy<Value = (Marks, NaiveDate, Option<NaiveDate>)> {
    let codes = prop::collection::vec(0u8..40, 732);
    let ahead = prop::collection::btree_map(
        0u64..80,
        prop_oneof![Just(AttendanceCode::C), Just(AttendanceCode::X)],
        0..6,
    );
    (codes, 30u64..235, 2u8..30, ahead, prop::option::of(0u64..60)).prop_map(|(codes, to, rarity, ahead, leaves)| {
        let as_of = year().first_day() + Days::new(to);
        let mut marks = Marks::new();
        for (place, code) in codes.into_iter().enumerate() {
            let session = year().session_at(place);
            if !is_open(session.date) || session.date > as_of || (session.date == as_of && code >= 20) {
                continue;
            }
            let code = match (code % rarity, session.half) {
                (0, _) => AttendanceCode::I,
                (1, _) => AttendanceCode::D,
                (_, SessionHalf::Am) => AttendanceCode::PresentMorning,
                (_, SessionHalf::Pm) => AttendanceCode::PresentAfternoon,
            };
            marks.insert(session, code);
        }
        for (days, code) in ahead {
            let date = as_of + Days::new(days + 1);
            if is_open(date) && date <= year().last_day() {
                let half = if days % 2 == 0 {
                    SessionHalf::Am
                } else {
                    SessionHalf::Pm
                };
                marks.insert(Session { date, half }, code);
            }
        }
        (marks, as_of, leaves.map(|days| as_of + Days::new(days)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_forecast_is_what_marking_every_session_to_come_gives((marks, as_of, end) in history(), policy in policy()) {
        let timeline = PolicyTimeline::of_one(VersionedPolicy { version: 1, policy: policy.clone() });
        // Marks after the last day on roll are none.
        let marks: Marks = marks.into_iter().filter(|(session, _)| end.is_none_or(|end| session.date <= end)).collect();
        let found = forecast(&record(&marks, end), &timeline, &calendars(true), as_of);
        let (attending, all_attended) = simulate(&marks, &policy, as_of, end, AttendanceCode::PresentMorning);
        let (missing, all_missed) = simulate(&marks, &policy, as_of, end, AttendanceCode::O);

        let today = Session { date: as_of, half: SessionHalf::Pm };
        let (computed, too_little) = judged(&marks, &policy, today);
        prop_assert_eq!(found.judgement.computed_stage, computed);
        prop_assert_eq!(found.judgement.too_little_data, too_little);
        let unmarked = all_attended.len() - marks.len();
        match &found.ahead {
            Ahead::Sessions(sessions) => prop_assert_eq!(sessions.len(), unmarked),
            other => prop_assert!(false, "{:?}", other),
        }

        let reach = |path: &[(u32, Session, Stage, bool)], reached: &dyn Fn(Stage) -> bool| {
            path.iter().find(|(_, _, stage, too_little)| !too_little && reached(*stage)).map(|(count, session, ..)| (*count, *session))
        };
        let dated = |reach: &Reach| match reach {
            Reach::ThisYear { sessions, session } => Some((*sessions, *session)),
            _ => None,
        };
        let better: Vec<Stage> = Stage::ALL.into_iter().rev().filter(|stage| *stage < computed).collect();
        prop_assert_eq!(found.improves.iter().map(|(stage, _)| *stage).collect::<Vec<_>>(), better);
        for (stage, forecast) in &found.improves {
            prop_assert_eq!(dated(forecast), reach(&attending, &|then| then <= *stage), "{} {:?}", stage, forecast);
        }
        let worse: Vec<Stage> = Stage::ALL.into_iter().filter(|stage| *stage > computed).collect();
        prop_assert_eq!(found.worsens.iter().map(|(stage, _)| *stage).collect::<Vec<_>>(), worse);
        for (stage, forecast) in &found.worsens {
            prop_assert_eq!(dated(forecast), reach(&missing, &|then| then >= *stage), "{} {:?}", stage, forecast);
        }
        prop_assert_eq!(found.judged.is_some(), too_little);
        if let Some(judged) = found.judged {
            prop_assert_eq!(dated(&judged), reach(&attending, &|_| true));
        }

        let best = found.best.unwrap();
        let worst = found.worst.unwrap();
        prop_assert_eq!((best.tally.attended, best.tally.possible), tally(&all_attended));
        prop_assert_eq!((worst.tally.attended, worst.tally.possible), tally(&all_missed));
        if let Some((_, _, stage, too_little)) = attending.last() {
            prop_assert_eq!((best.judgement.computed_stage, best.judgement.too_little_data), (*stage, *too_little));
        }

        // Beyond the year's end only where no window moves, and then on and on.
        for (stage, forecast) in found.improves.iter().filter(|(_, forecast)| dated(forecast).is_none()) {
            let attended = attending.last().map_or(0, |(count, ..)| *count);
            let (done, of) = tally(&all_attended);
            let needed = (attended + 1..=400).find(|sessions| {
                let more = u64::from(sessions - attended);
                let then = policy.judge(Tally { attended: done + more, possible: of + more, ..Tally::default() });
                !then.too_little_data && then.stage <= *stage
            });
            let needed = needed.filter(|_| policy.window == Window::YearToDate);
            prop_assert_eq!(*forecast, Reach::NotThisYear { sessions: needed });
        }
    }

    #[test]
    fn without_a_calendar_the_sessions_are_told_and_no_date((marks, as_of, _) in history(), policy in policy()) {
        let timeline = PolicyTimeline::of_one(VersionedPolicy { version: 1, policy: policy.clone() });
        let found = forecast(&record(&marks, None), &timeline, &calendars(false), as_of);
        prop_assert_eq!(&found.ahead, &Ahead::NoCalendar);
        prop_assert_eq!((found.best, found.worst), (None, None));
        for (stage, forecast) in &found.worsens {
            let then = |sessions: u32| policy.judge(Tally {
                possible: found.tally.possible + u64::from(sessions),
                ..found.tally
            });
            let needed = (1..=400).find(|sessions| !then(*sessions).too_little_data && then(*sessions).stage >= *stage);
            let expected = match needed.filter(|_| policy.window == Window::YearToDate) {
                Some(sessions) => Reach::Undated { sessions },
                None => Reach::NotKnown,
            };
            prop_assert_eq!(*forecast, expected);
        }
    }

    /// The fewest sessions, tried one by one with fractions in lowest terms of nothing: everything times ten times `b`.
    #[test]
    fn persistent_absence_is_crossed_on_the_first_session_that_crosses_it(
        possible in 1u64..400, part in 0u64..400, rate_possible in 1u64..80, rate_part in 0u64..80,
    ) {
        let year = Tally { possible, attended: possible - part.min(possible), ..Tally::default() };
        let rate = Tally { possible: rate_possible, attended: rate_possible - rate_part.min(rate_possible), ..Tally::default() };
        let crossed = |sessions: u64| {
            // (missed + sessions x a / b) x 10 >= possible + sessions, times b.
            10 * (year.missed() * rate.possible + sessions * rate.missed()) >= rate.possible * (year.possible + sessions)
        };
        match sessions_to_persistent_absence(year, rate) {
            Some(sessions) => {
                prop_assert!(crossed(sessions));
                prop_assert!(sessions == 0 || !crossed(sessions - 1));
            }
            None => prop_assert!((0..40_000).step_by(7).all(|sessions| !crossed(sessions))),
        }
    }
}

#[test]
fn at_the_rate_of_the_year_to_date_nobody_ever_crosses() {
    let counts = |attended, possible| Tally {
        attended,
        possible,
        ..Tally::default()
    };
    assert_eq!(sessions_to_persistent_absence(counts(181, 200), counts(181, 200)), None);
    // 19 of 200 missed and half of the last 40: 1 session of two more reaches 20 of 202, and 20.5 of 203 crosses.
    assert_eq!(
        sessions_to_persistent_absence(counts(181, 200), counts(20, 40)),
        Some(3)
    );
    assert_eq!(
        sessions_to_persistent_absence(counts(180, 200), counts(40, 40)),
        Some(0)
    );
    assert_eq!(sessions_to_persistent_absence(counts(181, 200), Tally::default()), None);
}
