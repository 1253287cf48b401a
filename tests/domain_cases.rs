//! The worked cases of `data/cases.toml`, as far as the domain alone can answer them: all cases of bare counts, and the
//! cases and views of one enrolment under a policy of the whole year. Its notation is explained at its head.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod notation;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use graduated_response::domain::code::{AttendanceCode, Category};
use graduated_response::domain::register::{CLEAR, merge, tally_to};
use graduated_response::domain::session::{AcademicYear, Session, SessionHalf};
use graduated_response::domain::stage::{Comparison, Policy};
use graduated_response::domain::tally::Tally;
use notation::{Case, Given, GivenPolicy, GivenWindow, Mark, Place, Wanted};

const CASES: &str = include_str!("../data/cases.toml");

/// Quarter hours in a session of the default length, 3.25 hours.
const QUARTER_HOURS: i64 = 13;

fn cases() -> Vec<Case> {
    let entries = notation::read(CASES).unwrap().into_iter();
    entries.map(|entry| entry.case.unwrap()).collect()
}

fn policy_of(given: &GivenPolicy) -> Policy {
    Policy {
        comparison: if given.rounded {
            Comparison::Rounded
        } else {
            Comparison::Exact
        },
        minimum_possible: given.min_possible,
        ..Policy::default()
    }
}

/// Compares all of an expectation that follows from a tally.
fn check_tally(id: &str, wanted: &Wanted, policy: &Policy, tally: Tally) {
    let counts = [
        ("attended", tally.attended, wanted.attended),
        ("possible", tally.possible, wanted.possible),
        ("authorised", tally.authorised, wanted.authorised),
        ("unauthorised", tally.unauthorised, wanted.unauthorised),
    ];
    for (name, found, wanted) in counts {
        match wanted {
            Some(wanted) => assert_eq!(found as i64, wanted, "{id} {name}"),
            None => assert!(name.ends_with("authorised"), "{id} does not say {name}"),
        }
    }
    let judged = policy.judge(tally);
    assert_eq!(Some(judged.stage.code()), wanted.stage.as_deref(), "{id}");
    assert_eq!(Some(judged.too_little_data), wanted.too_little, "{id}");
    if let Some(display) = &wanted.display {
        assert_eq!(tally.attendance_percent(), *display, "{id}");
    }
    if let Some(quarters) = wanted.lost_quarter_hours {
        assert_eq!(tally.missed() as i64 * QUARTER_HOURS, quarters, "{id}");
    }
    if let Some(thresholds) = &wanted.thresholds {
        let of_absence = |threshold: &&String| threshold.starts_with("persistent") || threshold.starts_with("severe");
        let wanted: Vec<_> = thresholds.iter().filter(of_absence).cloned().collect();
        let missed = format!("{}/{}", tally.missed(), tally.possible);
        let mut found = Vec::new();
        if tally.persistently_absent() {
            found.push(format!("persistent {missed}"));
        }
        if tally.severely_absent() {
            found.push(format!("severe {missed}"));
        }
        assert_eq!(found, wanted, "{id}");
    }
}

#[test]
fn every_case_of_bare_counts_gives_its_stage_display_and_absence() {
    let mut ran = 0;
    for case in cases() {
        let Some(counts) = &case.given.counts else {
            continue;
        };
        let (attended, possible) = counts.split_once('/').unwrap();
        let tally = Tally {
            attended: attended.parse().unwrap(),
            possible: possible.parse().unwrap(),
            ..Tally::default()
        };
        check_tally(&case.id, &case.expect.wanted, &policy_of(&case.given.policy), tally);
        ran += 1;
    }
    let written = CASES.lines().filter(|line| line.starts_with("given.counts")).count();
    assert_eq!(ran, written);
    assert_eq!(ran, 21);
}

/// Whether the domain alone can answer a case: one enrolment, one clock, a policy of the whole year, and no refusal.
fn answerable(given: &Given, wanted: &Wanted) -> bool {
    given.counts.is_none()
        && given.corrections.is_empty()
        && given.enrolments.len() == 1
        && given.policy.window == GivenWindow::Year
        && !given.policy.each_enrolment_alone
        && wanted.error.is_none()
}

fn session_of(place: Place) -> Session {
    let (date, afternoon) = place.session().unwrap();
    let half = if afternoon { SessionHalf::Pm } else { SessionHalf::Am };
    Session { date, half }
}

fn registers_of(given: &Given) -> BTreeMap<AcademicYear, Vec<u8>> {
    let mut registers: BTreeMap<AcademicYear, Vec<u8>> = BTreeMap::new();
    for marking in &given.marks {
        let session = session_of(marking.place);
        let byte = match marking.mark {
            Mark::Code(code) => code.byte(),
            Mark::None => CLEAR,
            Mark::Unknown => panic!("no code at {session}"),
        };
        let year = AcademicYear::containing(session.date).unwrap();
        let index = year.index_of(session).unwrap();
        merge(registers.entry(year).or_default(), 0, index, &[byte]);
    }
    registers
}

fn not_possible(marks: &[u8]) -> i64 {
    let codes = marks.iter().filter_map(|mark| AttendanceCode::from_byte(*mark));
    codes.filter(|code| code.category() == Category::NotPossible).count() as i64
}

#[test]
fn every_case_of_one_enrolment_over_the_year_gives_its_tally_stage_and_warnings() {
    let (mut ran, mut views_ran) = (0, 0);
    for case in cases() {
        let (id, wanted) = (&case.id, &case.expect.wanted);
        if !answerable(&case.given, wanted) {
            continue;
        }
        let policy = policy_of(&case.given.policy);
        let registers = registers_of(&case.given);
        let register = |date: NaiveDate| -> (AcademicYear, &[u8]) {
            let year = AcademicYear::containing(date).unwrap();
            (year, registers.get(&year).map_or(&[], Vec::as_slice))
        };

        let as_of = case.expect.day.unwrap();
        let (year, marks) = register(as_of);
        check_tally(id, wanted, &policy, tally_to(marks, year, as_of));
        if let Some(count) = wanted.not_possible {
            assert_eq!(not_possible(marks), count, "{id}");
        }
        let mut warnings = Vec::new();
        for (year, marks) in &registers {
            for (index, mark) in marks.iter().enumerate().filter(|(_, mark)| **mark != 0) {
                let session = year.session_at(index);
                let code = AttendanceCode::from_byte(*mark).unwrap();
                if !code.valid_on(session.date) {
                    warnings.push(format!("{session} {code}"));
                }
            }
        }
        assert_eq!(Some(&warnings), wanted.warnings.as_ref(), "{id}");
        for (place, index) in &wanted.bytes {
            let session = session_of(*place);
            assert_eq!(year.index_of(session), Some(*index), "{id}");
            assert!(marks[*index] != 0, "{id} has no mark at {session}");
        }
        ran += 1;

        for view in &case.views {
            let as_of = view.day.unwrap();
            let (year, marks) = register(as_of);
            check_tally(id, &view.wanted, &policy, tally_to(marks, year, as_of));
            views_ran += 1;
        }
    }
    assert_eq!((ran, views_ran), (60, 13));
}

#[test]
fn a_slash_in_the_wrong_half_of_the_day_is_present_with_a_warning() {
    let morning = AttendanceCode::parse("\\").unwrap();
    assert!(morning.in_wrong_half(SessionHalf::Am) && !morning.in_wrong_half(SessionHalf::Pm));
    let afternoon = AttendanceCode::parse("/").unwrap();
    assert!(afternoon.in_wrong_half(SessionHalf::Pm) && !afternoon.in_wrong_half(SessionHalf::Am));
    assert_eq!(Tally::of_marks(&[morning.byte(), afternoon.byte()]).attended, 2);
    let others = AttendanceCode::ALL
        .iter()
        .filter(|code| **code != morning && **code != afternoon);
    for code in others {
        assert!(!code.in_wrong_half(SessionHalf::Am) && !code.in_wrong_half(SessionHalf::Pm));
    }
}
