//! Calendars: what follows from terms, notes and marks, as properties.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use chrono::{Datelike, Days, NaiveDate};
use graduated_response::domain::calendar::{Calendar, CalendarYear, DayKind, Term, monday_of};
use graduated_response::domain::given_calendar::{DayNote, GivenYear, PlanError};
use graduated_response::domain::marked::{HELD, MARKED, MarkedSessions, RECEIVED, flags_of};
use graduated_response::domain::session::AcademicYear;
use proptest::prelude::*;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn year() -> AcademicYear {
    AcademicYear::from_start_year(2025).unwrap()
}

fn term(name: &str, first: &str, last: &str) -> Term {
    Term {
        name: name.into(),
        first: day(first),
        last: day(last),
    }
}

fn note(kind: DayKind, first: &str, last: &str) -> DayNote {
    DayNote {
        kind,
        first: day(first),
        last: day(last),
        label: String::new(),
    }
}

/// Autumn in two halves, spring; a week of INSET alone before Easter.
fn calendar() -> Calendar {
    let terms = vec![
        term("spring", "2026-01-05", "2026-03-27"),
        term("autumn", "2025-09-01", "2025-10-24"),
        term("autumn", "2025-11-03", "2025-12-19"),
    ];
    let notes = vec![
        note(DayKind::Inset, "2025-09-01", "2025-09-01"),
        note(DayKind::Closure, "2026-02-16", "2026-02-20"),
        note(DayKind::Inset, "2026-03-23", "2026-03-27"),
        note(DayKind::School, "2025-11-15", "2025-11-15"),
    ];
    Calendar::new([GivenYear::new(year(), terms, notes).unwrap().calendar])
}

#[test]
fn a_week_of_inset_or_of_holiday_is_no_school_week_and_one_of_a_single_day_is() {
    let calendar = calendar();
    for (date, is_week) in [
        ("2025-09-07", true),
        ("2025-10-29", false),
        ("2026-02-18", false),
        ("2026-03-25", false),
        ("2025-11-16", true),
    ] {
        assert_eq!(calendar.is_school_week(day(date)), is_week, "{date}");
    }
    // The INSET week and half term are passed over.
    assert_eq!(
        calendar.first_day_of_last_weeks(day("2026-03-25"), 1),
        day("2026-03-16")
    );
    assert_eq!(
        calendar.first_day_of_last_weeks(day("2026-02-25"), 2),
        day("2026-02-09")
    );
    assert_eq!(
        calendar.first_day_of_last_weeks(day("2025-09-03"), 6),
        day("2025-08-01")
    );
}

#[test]
fn the_halves_of_a_term_are_one_and_a_holiday_belongs_to_the_term_before() {
    let calendar = calendar();
    for (as_of, first) in [
        ("2025-08-20", "2025-08-01"),
        ("2025-09-01", "2025-09-01"),
        ("2025-11-04", "2025-09-01"),
        ("2025-12-30", "2025-09-01"),
        ("2026-01-05", "2026-01-05"),
        ("2026-07-31", "2026-01-05"),
        ("2026-08-01", "2026-08-01"),
    ] {
        assert_eq!(calendar.first_day_of_term(day(as_of)), day(first), "{as_of}");
    }
}

#[test]
fn notes_go_before_terms_and_extra_days_before_all() {
    let terms = vec![term("autumn", "2025-09-01", "2025-10-24")];
    let notes = vec![
        note(DayKind::School, "2025-09-10", "2025-09-10"),
        note(DayKind::Closure, "2025-09-08", "2025-09-14"),
        note(DayKind::Inset, "2025-09-09", "2025-09-09"),
    ];
    let given = GivenYear::new(year(), terms, notes).unwrap();
    let calendar = Calendar::new([given.calendar]);
    let kinds: Vec<_> = (8..=14)
        .map(|date| calendar.kind(NaiveDate::from_ymd_opt(2025, 9, date).unwrap()))
        .collect();
    let (closed, inset, open) = (Some(DayKind::Closure), Some(DayKind::Inset), Some(DayKind::School));
    assert_eq!(kinds, [closed, inset, open, closed, closed, None, None]);
}

#[test]
fn a_calendar_that_cannot_be_is_refused_by_the_place_of_what_is_wrong() {
    let autumn = || term("autumn", "2025-09-01", "2025-10-24");
    for (terms, notes, error) in [
        (vec![], vec![], PlanError::NoSchoolDay),
        (
            vec![autumn(), term("x", "2025-11-03", "2025-11-02")],
            vec![],
            PlanError::TermBackwards(1),
        ),
        (
            vec![term("x", "2025-07-31", "2025-10-24")],
            vec![],
            PlanError::TermOutsideYear(0),
        ),
        (
            vec![autumn(), term("x", "2025-10-24", "2025-12-19")],
            vec![],
            PlanError::TermsOverlap(1),
        ),
        (
            vec![autumn()],
            vec![note(DayKind::Inset, "2026-07-31", "2026-08-01")],
            PlanError::NoteOutsideYear(0),
        ),
        (
            vec![autumn()],
            vec![
                note(DayKind::Inset, "2025-09-02", "2025-09-02"),
                note(DayKind::School, "2025-09-02", "2025-09-02"),
            ],
            PlanError::NotesContradict(1),
        ),
        (
            vec![autumn()],
            vec![note(DayKind::Closure, "2025-08-01", "2026-07-31")],
            PlanError::NoSchoolDay,
        ),
    ] {
        assert_eq!(GivenYear::new(year(), terms, notes).unwrap_err(), error);
    }
}

fn place() -> impl Strategy<Value = u64> {
    0u64..365
}

fn date_of(place: u64) -> NaiveDate {
    year().first_day() + Days::new(place)
}

proptest! {
    #[test]
    fn every_day_is_what_the_last_to_speak_of_it_says(
        spans in proptest::collection::vec((place(), 0u64..60), 1..6),
        notes in proptest::collection::vec((place(), 0u64..12, 0usize..3), 0..8),
    ) {
        let mut terms: Vec<Term> = Vec::new();
        for (first, days) in spans {
            let span = Term { name: "t".into(), first: date_of(first), last: date_of((first + days).min(364)) };
            if terms.iter().all(|other| other.last < span.first || span.last < other.first) {
                terms.push(span);
            }
        }
        const KINDS: [DayKind; 3] = [DayKind::Closure, DayKind::Inset, DayKind::School];
        let notes: Vec<DayNote> = notes
            .into_iter()
            .map(|(first, days, kind)| DayNote {
                kind: KINDS[kind],
                first: date_of(first),
                last: date_of((first + days).min(364)),
                label: String::new(),
            })
            .collect();
        let Ok(given) = GivenYear::new(year(), terms.clone(), notes.clone()) else { return Ok(()) };
        let calendar = Calendar::new([given.calendar]);
        for date in (0..365).map(date_of) {
            let weekday = date.weekday().number_from_monday() <= 5;
            let in_term = weekday && terms.iter().any(|term| term.first <= date && date <= term.last);
            let speaking = |kind| notes.iter().any(|note| {
                note.kind == kind && note.first <= date && date <= note.last && (weekday || note.first == note.last)
            });
            let expected = KINDS
                .into_iter()
                .rev()
                .find(|kind| speaking(*kind))
                .or(in_term.then_some(DayKind::School));
            prop_assert_eq!(calendar.kind(date), expected, "{}", date);
        }
    }

    #[test]
    fn the_last_weeks_hold_so_many_school_weeks_or_reach_the_first_of_august(
        open in proptest::collection::btree_set(place(), 0..80),
        as_of in place(),
        weeks in 1u32..14,
    ) {
        let drawn = CalendarYear::from_marked_days(year(), open.iter().map(|place| date_of(*place)));
        let calendar = Calendar::new([drawn]);
        let as_of = date_of(as_of);
        let first = calendar.first_day_of_last_weeks(as_of, weeks);
        let mondays: std::collections::BTreeSet<NaiveDate> = open
            .iter()
            .map(|place| monday_of(date_of(*place)))
            .filter(|monday| *monday >= monday_of(first) && *monday <= as_of)
            .collect();
        prop_assert!(first <= as_of && first >= year().first_day());
        if first > year().first_day() {
            prop_assert_eq!(first.weekday(), chrono::Weekday::Mon);
            prop_assert_eq!(mondays.len(), weeks as usize);
            prop_assert!(mondays.contains(&first));
        } else {
            prop_assert!(mondays.len() <= weeks as usize);
        }
    }

    #[test]
    fn a_drawn_calendar_opens_the_marked_days_alone_and_every_one_is_in_a_term(
        marks in proptest::collection::vec((place(), 0usize..2, 0u8..39), 0..80),
    ) {
        let mut sessions = MarkedSessions::default();
        for (day, half, mark) in &marks {
            sessions.add_marks(2 * usize::try_from(*day).unwrap() + half, &[*mark], 0);
        }
        let drawn = CalendarYear::from_marked_days(year(), sessions.days_held(year()));
        for pair in drawn.terms.windows(2) {
            prop_assert!((pair[1].first - pair[0].last).num_days() > 13);
        }
        let terms = drawn.terms.clone();
        let calendar = Calendar::new([drawn]);
        for date in (0..365).map(date_of) {
            let held = |(day, _, mark): &(u64, usize, u8)| date_of(*day) == date && ![0, 33, 34].contains(mark);
            let open = marks.iter().any(held);
            prop_assert_eq!(calendar.is_open(date), open);
            prop_assert!(!open || terms.iter().any(|term| term.first <= date && date <= term.last));
        }
    }

    #[test]
    fn sessions_know_of_each_mark_and_when_it_was_entered(
        runs in proptest::collection::vec((0usize..730, proptest::collection::vec(0u8..39, 0..9), 0usize..732), 0..20),
    ) {
        let mut sessions = MarkedSessions::default();
        let mut naive = vec![0u8; 732];
        for (first, marks, ahead) in &runs {
            sessions.add_marks(*first, marks, *ahead);
            for (place, mark) in (*first..732).zip(marks).filter(|(_, mark)| **mark != 0) {
                naive[place] |= MARKED;
                naive[place] |= if [33, 34].contains(mark) { 0 } else { HELD };
                naive[place] |= if place < *ahead { RECEIVED } else { 0 };
                prop_assert_eq!(flags_of(*mark) & MARKED, MARKED);
            }
        }
        for (place, flags) in naive.iter().enumerate() {
            prop_assert_eq!(sessions.at(place), *flags);
        }
        prop_assert!(sessions.covers(&MarkedSessions::from_flags(naive)));
    }
}

#[test]
fn a_day_that_has_to_be_a_school_day_is_the_day_itself_or_the_next_one_that_is() {
    let calendar = calendar();
    for (from, expected) in [
        // A Tuesday of term, and the Saturday on which the school is open.
        ("2025-09-02", "2025-09-02"),
        ("2025-11-15", "2025-11-15"),
        // A Saturday on which it is not, INSET, half term, a week of closure.
        ("2025-11-08", "2025-11-10"),
        ("2025-09-01", "2025-09-02"),
        ("2025-10-27", "2025-11-03"),
        ("2026-02-16", "2026-02-23"),
        // After the last school day that was given come the weekdays of the year that was not.
        ("2026-03-23", "2026-08-03"),
        ("2026-09-05", "2026-09-07"),
        ("2026-09-08", "2026-09-08"),
    ] {
        assert_eq!(calendar.school_day_from(day(from)), day(expected), "{from}");
    }
    // Nobody gave the year: marks alone make no school day of another.
    let drawn = Calendar::new([CalendarYear::from_marked_days(year(), [day("2025-09-02")])]);
    assert_eq!(drawn.school_day_from(day("2025-09-03")), day("2025-09-03"));
    assert_eq!(drawn.school_day_from(day("2025-09-06")), day("2025-09-08"));
}
