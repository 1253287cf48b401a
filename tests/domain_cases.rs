//! The worked cases of `data/cases.toml`, as far as the domain alone can answer them: all cases of bare counts, and the
//! cases and views of one enrolment under a policy of the whole year. Its notation is explained at its head.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, NaiveDate, Utc, Weekday};
use graduated_response::domain::code::{AttendanceCode, Category};
use graduated_response::domain::register::{CLEAR, merge, tally_to};
use graduated_response::domain::session::{AcademicYear, Session, SessionHalf, london_date};
use graduated_response::domain::stage::{Comparison, Policy};
use graduated_response::domain::tally::Tally;
use toml::{Table, Value};

const CASES: &str = include_str!("../data/cases.toml");

/// Quarter hours in a session of the default length, 3.25 hours.
const QUARTER_HOURS: i64 = 13;

fn cases() -> Vec<Table> {
    let file: Table = CASES.parse().unwrap();
    let cases = file["case"].as_array().unwrap().iter();
    cases.map(|case| case.as_table().unwrap().clone()).collect()
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    let values = value.map_or(&[][..], |value| value.as_array().unwrap());
    values.iter().map(|text| text.as_str().unwrap()).collect()
}

fn policy_of(given: &Table) -> Policy {
    let settings = given.get("policy").and_then(Value::as_table);
    let setting = |name: &str| settings.and_then(|settings| settings.get(name));
    let minimum = setting("min_possible").map_or(1, |value| value.as_integer().unwrap());
    Policy {
        comparison: match setting("compare").map(|value| value.as_str().unwrap()) {
            None | Some("exact") => Comparison::Exact,
            Some("rounded") => Comparison::Rounded,
            Some(other) => panic!("no such comparison: {other}"),
        },
        minimum_possible: u32::try_from(minimum).unwrap(),
        ..Policy::default()
    }
}

/// Compares all of an expectation that follows from a tally.
fn check_tally(id: &str, expect: &Table, policy: &Policy, tally: Tally) {
    let counts = [
        ("attended", tally.attended),
        ("possible", tally.possible),
        ("authorised", tally.authorised),
        ("unauthorised", tally.unauthorised),
    ];
    for (name, count) in counts {
        match expect.get(name) {
            Some(value) => assert_eq!(count as i64, value.as_integer().unwrap(), "{id} {name}"),
            None => assert!(name.ends_with("authorised"), "{id} does not say {name}"),
        }
    }
    let judged = policy.judge(tally);
    assert_eq!(judged.stage.code(), expect["stage"].as_str().unwrap(), "{id}");
    let too_little = expect.get("too_little").and_then(Value::as_bool);
    assert_eq!(judged.too_little_data, too_little.unwrap_or(false), "{id}");
    if let Some(display) = expect.get("display") {
        assert_eq!(tally.attendance_percent(), display.as_str().unwrap(), "{id}");
    }
    if let Some(quarters) = expect.get("lost_quarter_hours") {
        let lost = tally.missed() as i64 * QUARTER_HOURS;
        assert_eq!(lost, quarters.as_integer().unwrap(), "{id}");
    }
    if expect.contains_key("thresholds") {
        let absence = texts(expect.get("thresholds"))
            .into_iter()
            .filter(|threshold| threshold.starts_with("persistent") || threshold.starts_with("sev"))
            .collect::<Vec<_>>();
        let missed = format!("{}/{}", tally.missed(), tally.possible);
        let mut found = Vec::new();
        if tally.persistently_absent() {
            found.push(format!("persistent {missed}"));
        }
        if tally.severely_absent() {
            found.push(format!("severe {missed}"));
        }
        assert_eq!(found, absence, "{id}");
    }
}

#[test]
fn every_case_of_bare_counts_gives_its_stage_display_and_absence() {
    let mut ran = 0;
    for case in cases() {
        let (id, given) = (case["id"].as_str().unwrap(), case["given"].as_table().unwrap());
        let Some(counts) = given.get("counts") else {
            continue;
        };
        let (attended, possible) = counts.as_str().unwrap().split_once('/').unwrap();
        let tally = Tally {
            attended: attended.parse().unwrap(),
            possible: possible.parse().unwrap(),
            ..Tally::default()
        };
        check_tally(id, case["expect"].as_table().unwrap(), &policy_of(given), tally);
        ran += 1;
    }
    let written = CASES.lines().filter(|line| line.starts_with("given.counts")).count();
    assert_eq!(ran, written);
    assert_eq!(ran, 21);
}

/// The school days of a case.
struct Calendar(BTreeSet<NaiveDate>);

/// `DATE` or `DATE..DATE`, both days inclusive.
fn dates(text: &str) -> Vec<NaiveDate> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let to: NaiveDate = to.parse().unwrap();
    let from: NaiveDate = from.parse().unwrap();
    from.iter_days().take_while(|date| *date <= to).collect()
}

impl Calendar {
    fn of(given: &Table) -> Calendar {
        let file: Table = CASES.parse().unwrap();
        let name = given.get("calendar").map_or("std", |name| name.as_str().unwrap());
        let calendar = file["calendar"][name].as_table().unwrap();
        let mut days = BTreeSet::new();
        for term in texts(calendar.get("terms")) {
            let weekdays = dates(term.split_once(' ').unwrap().1)
                .into_iter()
                .filter(|date| !matches!(date.weekday(), Weekday::Sat | Weekday::Sun));
            days.extend(weekdays);
        }
        days.extend(texts(given.get("open")).into_iter().flat_map(dates));
        for closed in texts(calendar.get("closed"))
            .into_iter()
            .chain(texts(given.get("closed")))
        {
            for date in dates(closed) {
                days.remove(&date);
            }
        }
        Calendar(days)
    }
}

fn half(text: &str) -> Option<SessionHalf> {
    match text {
        "AM" => Some(SessionHalf::Am),
        "PM" => Some(SessionHalf::Pm),
        _ => None,
    }
}

/// The byte that is sent for a code of the notation.
fn byte(code: &str, half: SessionHalf) -> u8 {
    let code = match (code, half) {
        ("-", _) => return CLEAR,
        ("/\\", SessionHalf::Am) => "/",
        ("/\\", SessionHalf::Pm) => "\\",
        (code, _) => code,
    };
    AttendanceCode::parse(code).unwrap().byte()
}

/// The sessions of one line of marks, with the bytes to be sent for them.
fn sessions_of(line: &str, calendar: &Calendar) -> Vec<(Session, u8)> {
    let line = line.split_once(": ").map_or(line, |(_, line)| line);
    let words: Vec<_> = line.split_whitespace().collect();
    let halves = [SessionHalf::Am, SessionHalf::Pm];
    let at = |date: NaiveDate, half: SessionHalf, code: &str| (Session { date, half }, byte(code, half));
    if words[0] == "seq" {
        let first = Session {
            date: words[1].parse().unwrap(),
            half: half(words[2]).unwrap(),
        };
        let days = calendar.0.range(first.date..);
        let mut places = days
            .flat_map(|date| halves.map(|half| Session { date: *date, half }))
            .filter(|session| *session >= first);
        let mut sessions = Vec::new();
        for word in &words[3..] {
            let (count, code) = word.split_once('*').unwrap();
            for _ in 0..count.parse::<usize>().unwrap() {
                let session = places.next().unwrap();
                sessions.push(at(session.date, session.half, code));
            }
        }
        return sessions;
    }
    let [when, second, third] = words[..] else {
        panic!("no such line of marks: {line}");
    };
    if let Some(half) = half(second) {
        return vec![at(when.parse().unwrap(), half, third)];
    }
    let is_range = when.contains("..");
    dates(when)
        .into_iter()
        .filter(|date| !is_range || calendar.0.contains(date))
        .flat_map(|date| [at(date, halves[0], second), at(date, halves[1], third)])
        .collect()
}

/// Whether the domain alone can answer a case: one enrolment, one clock, a policy of the whole year, and no refusal.
fn answerable(given: &Table, expect: &Table) -> bool {
    let whole_year = given
        .get("policy")
        .and_then(Value::as_table)
        .is_none_or(|policy| !policy.contains_key("window") && !policy.contains_key("scope"));
    given.contains_key("marks")
        && !given.contains_key("corrections")
        && texts(given.get("enrolments")).len() <= 1
        && whole_year
        && !expect.contains_key("error")
}

fn day_of(question: &Table) -> Option<NaiveDate> {
    if let Some(instant) = question.get("as_of_instant") {
        let instant: DateTime<Utc> = instant.as_str().unwrap().parse().unwrap();
        return Some(london_date(instant));
    }
    Some(question.get("as_of")?.as_str().unwrap().parse().unwrap())
}

fn not_possible(marks: &[u8]) -> i64 {
    let codes = marks.iter().filter_map(|mark| AttendanceCode::from_byte(*mark));
    codes.filter(|code| code.category() == Category::NotPossible).count() as i64
}

#[test]
fn every_case_of_one_enrolment_over_the_year_gives_its_tally_stage_and_warnings() {
    let (mut ran, mut views_ran) = (0, 0);
    for case in cases() {
        let given = case["given"].as_table().unwrap();
        let expect = case["expect"].as_table().unwrap();
        if !answerable(given, expect) {
            continue;
        }
        let id = case["id"].as_str().unwrap();
        let policy = policy_of(given);
        let calendar = Calendar::of(given);
        let mut registers: BTreeMap<AcademicYear, Vec<u8>> = BTreeMap::new();
        for line in texts(given.get("marks")) {
            for (session, byte) in sessions_of(line, &calendar) {
                let year = AcademicYear::containing(session.date).unwrap();
                let index = year.index_of(session).unwrap();
                merge(registers.entry(year).or_default(), 0, index, &[byte]);
            }
        }
        let register = |date: NaiveDate| -> (AcademicYear, &[u8]) {
            let year = AcademicYear::containing(date).unwrap();
            (year, registers.get(&year).map_or(&[], Vec::as_slice))
        };

        let (year, marks) = register(day_of(given).unwrap());
        let as_of = day_of(given).unwrap();
        check_tally(id, expect, &policy, tally_to(marks, year, as_of));
        if let Some(count) = expect.get("not_possible") {
            assert_eq!(not_possible(marks), count.as_integer().unwrap(), "{id}");
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
        assert_eq!(warnings, texts(expect.get("warnings")), "{id}");
        let no_bytes = Table::new();
        let bytes = expect.get("bytes").map_or(&no_bytes, |bytes| bytes.as_table().unwrap());
        for (session, index) in bytes {
            let (date, half_name) = session.split_once(' ').unwrap();
            let session = Session {
                date: date.parse().unwrap(),
                half: half(half_name).unwrap(),
            };
            let index = usize::try_from(index.as_integer().unwrap()).unwrap();
            assert_eq!(year.index_of(session), Some(index), "{id}");
            assert!(marks[index] != 0, "{id} has no mark at {session}");
        }
        ran += 1;

        for view in case.get("views").map_or(&[][..], |views| views.as_array().unwrap()) {
            let view = view.as_table().unwrap();
            let as_of = day_of(view).unwrap();
            let (year, marks) = register(as_of);
            check_tally(id, view, &policy, tally_to(marks, year, as_of));
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
