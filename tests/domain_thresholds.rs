//! Statutory thresholds: every case of `data/cases*.toml` that names them, all views included, and a naive statement of the
//! rules beside random records.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod notation;

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{Datelike as _, Days, NaiveDate};
use graduated_response::domain::calendar::{Calendar, CalendarYear, Calendars, DayKind};
use graduated_response::domain::identifiers::{EnrolmentId, SchoolId};
use graduated_response::domain::policy::PenaltyRule;
use graduated_response::domain::pupil::{EnrolmentKind, EnrolmentSpan};
use graduated_response::domain::record::{EnrolmentRecord, PupilRecord};
use graduated_response::domain::register::{CLEAR, merge};
use graduated_response::domain::session::{AcademicYear, Session, SessionHalf, london_date};
use graduated_response::domain::thresholds::{Notice, ThresholdKind, ThresholdRules, thresholds};
use notation::{Given, Half, Mark, Marking};
use proptest::prelude::*;
use uuid::Uuid;

const FILES: [&str; 2] = [
    include_str!("../data/cases.toml"),
    include_str!("../data/cases_more.toml"),
];

fn school(place: usize) -> SchoolId {
    SchoolId(Uuid::from_u128(place as u128 + 1))
}

fn years_around(open: &std::collections::BTreeSet<NaiveDate>) -> Calendar {
    let mut years: Vec<AcademicYear> = open.iter().filter_map(|date| AcademicYear::containing(*date)).collect();
    years.dedup();
    Calendar::new(years.into_iter().map(|year| {
        let days = (0..year.sessions() / 2).map(|place| {
            let date = year.first_day() + Days::new(place as u64);
            if open.contains(&date) {
                DayKind::School.byte()
            } else {
                0
            }
        });
        CalendarYear {
            year,
            days: days.collect(),
            terms: Vec::new(),
            given: true,
        }
    }))
}

fn record_of(given: &Given, known_on: Option<NaiveDate>) -> Option<PupilRecord<'static>> {
    let place_of = |name: &str| given.schools.iter().position(|school| school.name == name).unwrap();
    let mut record = PupilRecord::default();
    for (place, enrolment) in given.enrolments.iter().enumerate() {
        record.enrolments.push(EnrolmentRecord {
            id: EnrolmentId(Uuid::from_u128(100 + place as u128)),
            span: EnrolmentSpan {
                school: school(place_of(&enrolment.school)),
                kind: match enrolment.kind.as_str() {
                    "sole" => EnrolmentKind::Sole,
                    "main" => EnrolmentKind::Main,
                    _ => EnrolmentKind::Subsidiary,
                },
                start: enrolment.from.date()?,
                end: match enrolment.to {
                    Some(to) => Some(to.date()?),
                    None => None,
                },
            },
            registers: Vec::new(),
        });
    }
    let later = given
        .corrections
        .iter()
        .filter(|correction| known_on.is_none_or(|known_on| correction.recorded_on() <= known_on))
        .flat_map(|correction| &correction.marks);
    for Marking {
        school: of,
        place,
        mark,
        ..
    } in given.marks.iter().chain(later)
    {
        let date = place.date.date()?;
        let half = match place.half {
            Half::Am => SessionHalf::Am,
            Half::Pm => SessionHalf::Pm,
            Half::None => return None,
        };
        let byte = match mark {
            Mark::Code(code) => code.byte(),
            Mark::None => CLEAR,
            Mark::Unknown => return None,
        };
        let of = school(place_of(of));
        // Z stands in the register of the enrolment to come.
        let taken = |enrolment: &&mut EnrolmentRecord<'_>| {
            enrolment.span.school == of && (enrolment.span.on_roll(date) || enrolment.span.start > date)
        };
        let enrolment = record.enrolments.iter_mut().find(taken)?;
        let year = AcademicYear::containing(date).unwrap();
        if !enrolment.registers.iter().any(|(known, _)| *known == year) {
            enrolment.registers.push((year, Cow::Owned(Vec::new())));
        }
        let register = enrolment
            .registers
            .iter_mut()
            .find(|(known, _)| *known == year)
            .unwrap();
        merge(
            register.1.to_mut(),
            0,
            year.index_of(Session { date, half }).unwrap(),
            &[byte],
        );
    }
    Some(record)
}

fn written(kind: ThresholdKind, session: Session) -> Option<String> {
    match kind {
        ThresholdKind::IllnessCumulative => Some(format!("illness_15_cumulative {session}")),
        ThresholdKind::IllnessConsecutive => Some(format!("illness_15_consecutive {session}")),
        ThresholdKind::UnauthorisedDays => Some(format!("unauthorised_10_days {}", session.date)),
        ThresholdKind::PenaltyNotice => Some(format!("penalty_notice {session}")),
        // An early warning, and no threshold yet.
        ThresholdKind::IllnessExpected => None,
        ThresholdKind::AbsencesInRow | ThresholdKind::Spells | ThresholdKind::WeekFall => None,
    }
}

#[test]
fn every_case_reaches_its_thresholds_and_no_others() {
    let mut ran = 0;
    let mut differences = Vec::new();
    for case in FILES.iter().flat_map(|file| notation::read(file).unwrap()) {
        let case = case.case.unwrap();
        let given = &case.given;
        if given.counts.is_some() {
            continue;
        }
        let calendars = given.schools.iter().enumerate();
        let calendars = Calendars::new(
            calendars.map(|(place, found)| (school(place), Arc::new(years_around(&found.calendar.open)))),
        );
        for question in case.questions() {
            let Some(wanted) = &question.wanted.thresholds else {
                continue;
            };
            let Some(record) = record_of(given, question.known_on) else {
                differences.push(format!("{} {}: not set up", case.id, question.name));
                continue;
            };
            let as_of = question.instant.map(london_date).or(question.day).unwrap();
            let rules = ThresholdRules {
                calendars: &calendars,
                penalty: PenaltyRule {
                    counts_no_reason_yet: given.policy.penalty_counts_n,
                    ..PenaltyRule::default()
                },
                triggers: &[],
                born: given.born.and_then(|born| born.date()),
                notices: &[],
            };
            let found = thresholds(&record, rules, as_of);
            let mut found: Vec<String> = found
                .iter()
                .filter_map(|found| written(found.kind, found.proved_by))
                .collect();
            let year = AcademicYear::containing(as_of).unwrap();
            let tally = record.tally_to(year, as_of);
            let missed = format!("{}/{}", tally.missed(), tally.possible);
            if tally.persistently_absent() {
                found.push(format!("persistent {missed}"));
            }
            if tally.severely_absent() {
                found.push(format!("severe {missed}"));
            }
            let mut wanted = wanted.clone();
            wanted.sort();
            found.sort();
            if wanted != found {
                differences.push(format!(
                    "{} {}: wanted {wanted:?}, found {found:?}",
                    case.id, question.name
                ));
            }
            ran += 1;
        }
    }
    assert_eq!(differences, [""; 0]);
    assert!(ran > 150, "{ran}");
}

/// A pupil of one school, open on weekdays in a few weeks of the autumn, with a mark a session out of a few codes.
fn record_and_calendar() -> impl Strategy<Value = (Vec<u8>, Vec<bool>)> {
    // 0 no mark, / , I, N, O, C, Y1
    let codes = prop::sample::select(vec![0u8, 1, 19, 19, 19, 30, 31, 31, 31, 16, 22]);
    let spell = (codes, 1usize..14).prop_map(|(code, length)| vec![code; length]);
    let marks = prop::collection::vec(spell, 1..30).prop_map(|spells| {
        let mut marks = spells.concat();
        marks.truncate(2 * 7 * 22);
        marks
    });
    (marks, prop::collection::vec(prop::bool::weighted(0.9), 7 * 22))
}

const FIRST: &str = "2025-08-04";

fn set_up(marks: &[u8], open: &[bool]) -> (PupilRecord<'static>, Calendar, Vec<(Session, u8, bool)>) {
    let first: NaiveDate = FIRST.parse().unwrap();
    let year = AcademicYear::containing(first).unwrap();
    let mut bytes = vec![0; 6];
    bytes.extend(marks);
    let weekday = |date: NaiveDate| date.weekday().number_from_monday() <= 5;
    let opened = open.iter().enumerate().filter_map(|(place, open)| {
        let date = first + Days::new(place as u64);
        (*open && weekday(date)).then_some(date)
    });
    let opened: std::collections::BTreeSet<NaiveDate> = opened.collect();
    let sessions = (0..2 * open.len()).map(|place| {
        let date = first + Days::new(place as u64 / 2);
        let half = if place % 2 == 0 {
            SessionHalf::Am
        } else {
            SessionHalf::Pm
        };
        (
            Session { date, half },
            marks.get(place).copied().unwrap_or(0),
            opened.contains(&date),
        )
    });
    let record = PupilRecord {
        enrolments: vec![EnrolmentRecord {
            id: EnrolmentId(Uuid::from_u128(1)),
            span: EnrolmentSpan {
                school: school(0),
                kind: EnrolmentKind::Sole,
                start: "2013-08-01".parse().unwrap(),
                end: None,
            },
            registers: vec![(year, Cow::Owned(bytes))],
        }],
    };
    (record, years_around(&opened), sessions.collect())
}

/// The rules again, told from each session backwards.
fn naive(sessions: &[(Session, u8, bool)], calendar: &Calendar) -> Vec<(ThresholdKind, Session)> {
    let unauthorised = |mark: u8| (29..=32).contains(&mark);
    let possible = |mark: u8| mark != 0 && !(22..=28).contains(&mark);
    let mut found = Vec::new();
    let ill: Vec<Session> = sessions
        .iter()
        .filter(|(_, mark, _)| *mark == 19)
        .map(|(at, ..)| *at)
        .collect();
    if ill.len() >= 30 {
        found.push((ThresholdKind::IllnessCumulative, ill[29]));
    }
    for (place, (at, mark, _)) in sessions.iter().enumerate() {
        if *mark != 19 {
            continue;
        }
        let row = sessions[..=place]
            .iter()
            .rev()
            .take_while(|(_, mark, open)| *mark == 19 || (*mark == 0 && !*open) || (22..=28).contains(mark));
        if row.filter(|(_, mark, _)| *mark == 19).count() == 30 {
            found.push((ThresholdKind::IllnessConsecutive, *at));
        }
    }
    let days: Vec<_> = sessions
        .chunks(2)
        .filter(|day| day.iter().any(|(_, mark, _)| possible(*mark)))
        .collect();
    let counts = |day: &&[(Session, u8, bool)]| day.iter().all(|(_, mark, _)| !possible(*mark) || unauthorised(*mark));
    for place in 0..days.len() {
        let row = days[..=place].iter().rev().take_while(|day| counts(day)).count();
        if row == 10 {
            let last = days[place].iter().rev().find(|(_, mark, _)| possible(*mark)).unwrap();
            found.push((ThresholdKind::UnauthorisedDays, last.0));
        }
    }
    let monday = |date: NaiveDate| date - Days::new(u64::from(date.weekday().num_days_from_monday()));
    let weeks_between = |from: NaiveDate, to: NaiveDate| {
        let mut mondays: Vec<NaiveDate> = Vec::new();
        let mut at = monday(from);
        while at <= to {
            mondays.push(at);
            at = at + Days::new(7);
        }
        // The week of `from` is not counted: it is the first of the window.
        mondays
            .into_iter()
            .skip(1)
            .filter(|monday| calendar.is_school_week(*monday))
            .count()
    };
    let absent: Vec<Session> = sessions
        .iter()
        .filter(|(_, mark, _)| unauthorised(*mark))
        .map(|(at, ..)| *at)
        .collect();
    let mut raised = false;
    for (place, at) in absent.iter().enumerate() {
        let within = absent[..=place]
            .iter()
            .filter(|earlier| weeks_between(earlier.date, at.date) < 10)
            .count();
        if within == 1 {
            raised = false;
        }
        if within >= 10 && !raised {
            raised = true;
            found.push((ThresholdKind::PenaltyNotice, *at));
        }
    }
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn thresholds_are_those_of_a_naive_statement_of_the_rules((marks, open) in record_and_calendar()) {
        let (record, calendar, sessions) = set_up(&marks, &open);
        let calendars = Calendars::new([(school(0), Arc::new(calendar.clone()))]);
        let rules = ThresholdRules {
            calendars: &calendars,
            penalty: PenaltyRule::default(),
            triggers: &[],
            born: None,
            notices: &[],
        };
        let found = thresholds(&record, rules, "2026-07-31".parse().unwrap());
        for threshold in &found {
            prop_assert_eq!(threshold.sessions.last(), Some(&threshold.proved_by));
        }
        let found: Vec<_> = found.into_iter().map(|found| (found.kind, found.proved_by)).collect();
        prop_assert_eq!(found, naive(&sessions, &calendar));
    }
}

#[test]
fn a_session_that_an_issued_notice_used_counts_for_no_other() {
    let first: NaiveDate = FIRST.parse().unwrap();
    let open = vec![true; 7 * 22];
    // Every session of four weeks of weekdays.
    let marks: Vec<u8> = (0..2 * 7 * 4)
        .map(|place| if (place / 2) % 7 < 5 { 31 } else { 0 })
        .collect();
    let (record, calendar, sessions) = set_up(&marks, &open);
    let calendars = Calendars::new([(school(0), Arc::new(calendar))]);
    let reached = |notices: &[Notice]| {
        let rules = ThresholdRules {
            calendars: &calendars,
            penalty: PenaltyRule::default(),
            triggers: &[],
            born: None,
            notices,
        };
        let found = thresholds(&record, rules, "2026-07-31".parse().unwrap());
        let found = found
            .into_iter()
            .filter(|found| found.kind == ThresholdKind::PenaltyNotice);
        found.map(|found| found.proved_by).collect::<Vec<_>>()
    };
    let tenth = sessions.iter().filter(|(_, mark, _)| *mark == 31).nth(9).unwrap().0;
    assert_eq!(reached(&[]), [tenth], "once, while the window stays full");
    let used = sessions
        .iter()
        .filter(|(_, mark, _)| *mark == 31)
        .take(10)
        .map(|(at, ..)| *at)
        .collect();
    let notice = Notice {
        id: Uuid::nil(),
        issued_on: first + Days::new(7),
        sessions: used,
    };
    let twentieth = sessions.iter().filter(|(_, mark, _)| *mark == 31).nth(19).unwrap().0;
    assert_eq!(reached(&[notice]), [tenth, twentieth]);
}
