//! Statutory thresholds: every case of `data/cases*.toml` that names them, all views included, and in `naive` a
//! naive statement of the rules beside random records.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod naive;
#[path = "../notation/mod.rs"]
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
use uuid::Uuid;

const FILES: [&str; 2] = [
    include_str!("../../data/cases.toml"),
    include_str!("../../data/cases_more.toml"),
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

const FIRST: &str = "2025-08-04";

/// A pupil of one school that is open on every weekday, whose register begins with these marks.
fn set_up(marks: &[u8]) -> (PupilRecord<'static>, Calendar, Vec<(Session, u8)>) {
    let first: NaiveDate = FIRST.parse().unwrap();
    let year = AcademicYear::containing(first).unwrap();
    let mut bytes = vec![0; 6];
    bytes.extend(marks);
    let days = first.iter_days().take(7 * 22);
    let open = days.filter(|date| date.weekday().number_from_monday() <= 5).collect();
    let sessions = marks
        .iter()
        .enumerate()
        .map(|(place, mark)| (year.session_at(6 + place), *mark));
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
    (record, years_around(&open), sessions.collect())
}

#[test]
fn a_session_that_an_issued_notice_used_counts_for_no_other() {
    let first: NaiveDate = FIRST.parse().unwrap();
    // Every session of four weeks of weekdays.
    let marks: Vec<u8> = (0..2 * 7 * 4)
        .map(|place| if (place / 2) % 7 < 5 { 31 } else { 0 })
        .collect();
    let (record, calendar, sessions) = set_up(&marks);
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
    let tenth = sessions.iter().filter(|(_, mark)| *mark == 31).nth(9).unwrap().0;
    assert_eq!(reached(&[]), [tenth], "once, while the window stays full");
    let used = sessions
        .iter()
        .filter(|(_, mark)| *mark == 31)
        .take(10)
        .map(|(at, _)| *at)
        .collect();
    let notice = Notice {
        id: Uuid::nil(),
        issued_on: first + Days::new(7),
        sessions: used,
    };
    let twentieth = sessions.iter().filter(|(_, mark)| *mark == 31).nth(19).unwrap().0;
    assert_eq!(reached(&[notice]), [tenth, twentieth]);
}
