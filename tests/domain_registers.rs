//! Registers, sessions and academic years against naive models: merging, counting, looking ahead, and since when.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, Utc};
use graduated_response::domain::code::AttendanceCode;
use graduated_response::domain::register::{
    CLEAR, Change, Diff, LEAVE, merge, next_mark_after, stage_since, tally_to, trim,
};
use graduated_response::domain::session::{AcademicYear, SESSIONS_MAX, Session, SessionHalf, london_date};
use graduated_response::domain::stage::{Comparison, Policy, Stage};
use graduated_response::domain::tally::Tally;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn year(start_year: i32) -> AcademicYear {
    AcademicYear::from_start_year(start_year).unwrap()
}

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn byte(code: &str) -> u8 {
    AttendanceCode::parse(code).unwrap().byte()
}

fn all_bytes() -> Vec<u8> {
    AttendanceCode::ALL.iter().map(|code| code.byte()).collect()
}

/// A mark as it is stored: mostly of a few codes, so that what is sent often equals what is there.
fn stored_mark() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(0), 4 => select(b"\x01\x02\x13".to_vec()), 2 => select(all_bytes())]
}

/// A register, without bytes after its last mark.
fn register() -> impl Strategy<Value = Vec<u8>> {
    vec(stored_mark(), 0..=SESSIONS_MAX).prop_map(|mut marks| {
        trim(&mut marks);
        marks
    })
}

/// A run of incoming marks with its first place, within a year.
fn run() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let mark = prop_oneof![2 => Just(LEAVE), 2 => Just(CLEAR), 9 => stored_mark()];
    (0..SESSIONS_MAX, vec(mark, 0..=120)).prop_map(|(first, mut marks)| {
        marks.truncate(SESSIONS_MAX - first);
        (first, marks)
    })
}

fn any_year() -> impl Strategy<Value = AcademicYear> {
    select(vec![1990, 2023, 2025, 2027, 2099, 2200]).prop_map(year)
}

/// A day from somewhat before a year to somewhat after it, by its distance from 1 August.
fn day_near(year: AcademicYear, distance: i64) -> NaiveDate {
    year.first_day() + chrono::TimeDelta::days(distance)
}

/// The marks by their place.
type Model = BTreeMap<usize, u8>;

fn model_of(marks: &[u8]) -> Model {
    let marked = marks.iter().copied().enumerate();
    marked.filter(|(_, mark)| *mark != 0).collect()
}

fn written(model: &Model, first: usize, incoming: &[u8]) -> Model {
    let mut model = model.clone();
    for (place, mark) in (first..).zip(incoming) {
        match *mark {
            LEAVE => {}
            CLEAR => {
                model.remove(&place);
            }
            code => {
                model.insert(place, code);
            }
        }
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_last_write_of_each_session_stands(start in register(), runs in vec(run(), 1..6)) {
        let (mut marks, mut model) = (start.clone(), model_of(&start));
        for (first, incoming) in &runs {
            merge(&mut marks, 0, *first, incoming);
            model = written(&model, *first, incoming);
            prop_assert_eq!(model_of(&marks), model.clone());
            prop_assert!(marks.last() != Some(&0), "bytes after the last mark are left off");
            prop_assert!(marks.len() <= SESSIONS_MAX);
        }
    }

    #[test]
    fn sending_the_same_run_again_changes_nothing(start in register(), (first, incoming) in run()) {
        let mut marks = start;
        let once = merge(&mut marks, 0, first, &incoming);
        let after_once = marks.clone();
        let again = merge(&mut marks, 0, first, &incoming);
        prop_assert_eq!(marks, after_once);
        prop_assert!(again.is_unchanged());
        let sent = incoming.iter().filter(|mark| **mark != LEAVE).count();
        prop_assert_eq!(&again, &Diff { unchanged: sent, ..Diff::default() });
        prop_assert_eq!(once.first_entries + once.changes.len() + once.unchanged, sent);
    }

    #[test]
    fn what_a_merge_says_that_it_did_is_what_it_did(start in register(), (first, incoming) in run()) {
        let before = model_of(&start);
        let mut marks = start;
        let diff = merge(&mut marks, 0, first, &incoming);
        let after = model_of(&marks);

        let entered: Vec<usize> =
            after.keys().filter(|place| !before.contains_key(place)).copied().collect();
        let changes: Vec<Change> = before
            .iter()
            .map(|(place, old)| (*place, *old, after.get(place).copied().unwrap_or(0)))
            .filter(|(_, old, new)| old != new)
            .map(|(index, old, new)| Change { index, old, new })
            .collect();
        let in_runs: Vec<usize> = diff
            .first_entry_runs
            .iter()
            .flat_map(|(from, length)| (usize::from(*from)..).take(usize::from(*length)))
            .collect();
        prop_assert_eq!(diff.first_entries, entered.len());
        prop_assert_eq!(in_runs, entered.clone());
        for pair in diff.first_entry_runs.windows(2) {
            prop_assert!(pair[0].0 + pair[0].1 < pair[1].0, "neighbouring runs are one run");
        }
        prop_assert_eq!(&diff.changes, &changes);

        let mut touched: Vec<usize> = changes.iter().map(|change| change.index).collect();
        touched.extend(entered);
        let ends = touched.iter().min().copied().zip(touched.iter().max().copied());
        prop_assert_eq!(diff.touched, ends);
        prop_assert_eq!(diff.is_unchanged(), before == after);
        let sent = incoming.iter().filter(|mark| **mark != LEAVE).count();
        prop_assert_eq!(diff.unchanged, sent - touched.len());
        prop_assert_eq!(diff.outside, 0);
    }

    #[test]
    fn merging_into_the_end_of_a_register_is_merging_into_all_of_it(
        start in register(),
        (first, incoming) in run(),
        share in 0..=100_usize,
    ) {
        let offset = first * share / 100;
        let mut whole = start.clone();
        let of_whole = merge(&mut whole, 0, first, &incoming);

        let mut window = start.get(offset..).unwrap_or_default().to_vec();
        let of_window = merge(&mut window, offset, first, &incoming);
        prop_assert_eq!(of_window, of_whole);

        let mut together = start;
        together.resize(offset, 0);
        together.extend(window);
        trim(&mut together);
        prop_assert_eq!(together, whole);
    }

    #[test]
    fn a_run_that_begins_before_its_window_or_ends_after_the_year_loses_nothing_in_silence(
        start in register(),
        offset in prop_oneof![0..800_usize, Just(usize::MAX)],
        first in prop_oneof![0..800_usize, Just(65_535), (usize::MAX - 50)..=usize::MAX],
        (_, incoming) in run(),
    ) {
        let before = start.get(offset..).unwrap_or_default().to_vec();
        let mut window = before.clone();
        let diff = merge(&mut window, offset, first, &incoming);

        let fits = |place: &Option<usize>| {
            place.is_some_and(|place| place >= offset && place < SESSIONS_MAX)
        };
        let places = (0..incoming.len()).map(|step| first.checked_add(step));
        let sent: Vec<(Option<usize>, u8)> = places
            .zip(incoming.iter().copied())
            .filter(|(_, mark)| *mark != LEAVE)
            .collect();
        let outside = sent.iter().filter(|(place, _)| !fits(place)).count();
        prop_assert_eq!(diff.outside, outside);
        let taken = diff.first_entries + diff.changes.len() + diff.unchanged;
        prop_assert_eq!(taken + outside, sent.len());

        let mut model = model_of(&before);
        for (place, mark) in sent {
            if let Some(place) = place.filter(|place| fits(&Some(*place))) {
                model = written(&model, place - offset, &[mark]);
            }
        }
        prop_assert_eq!(model_of(&window), model);
    }

    #[test]
    fn a_tally_counts_what_the_published_table_of_codes_says(marks in vec(any::<u8>(), 0..=800)) {
        prop_assert_eq!(Tally::of_marks(&marks), recount(&marks));
        let one_by_one: Tally = marks.iter().map(|mark| Tally::of_mark(*mark)).sum();
        prop_assert_eq!(one_by_one, recount(&marks));
        let (left, right) = marks.split_at(marks.len() / 3);
        prop_assert_eq!(recount(&marks).without(recount(left)), recount(right));
    }

    #[test]
    fn marks_count_from_their_date_on(marks in register(), year in any_year(), distance in -40..420_i64) {
        let as_of = day_near(year, distance);
        let dated = marks_by_date(&marks, year);
        let counted: Vec<u8> =
            dated.iter().filter(|(date, _)| *date <= as_of).map(|(_, mark)| *mark).collect();
        prop_assert_eq!(tally_to(&marks, year, as_of), recount(&counted));

        let ahead = dated.iter().filter(|(date, mark)| *date > as_of && *mark != 0);
        prop_assert_eq!(next_mark_after(&marks, year, as_of), ahead.map(|(date, _)| *date).min());
    }

    #[test]
    fn a_pupil_is_at_a_stage_since_the_first_day_of_the_last_unbroken_run(
        registers in vec(term(), 0..=3),
        policy in any_policy(),
        year in any_year(),
        distance in -5..140_i64,
    ) {
        let as_of = day_near(year, distance);
        let run = walk(&policy, &registers, year, as_of);
        let marks: Vec<&[u8]> = registers.iter().map(Vec::as_slice).collect();
        for stage in Stage::ALL {
            let since = run.and_then(|(at, since)| (at == stage).then_some(since));
            prop_assert_eq!(stage_since(&policy, stage, &marks, year, as_of), since, "{}", stage);
        }
    }
}

/// Counts by the published table, without the enum's own categories.
fn recount(marks: &[u8]) -> Tally {
    let table = include_str!("../data/attendance_codes.csv");
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let lines: BTreeMap<u8, csv::StringRecord> = reader
        .records()
        .map(|line| line.unwrap())
        .map(|line| (byte(&line[0]), line))
        .collect();
    let mut tally = Tally::default();
    for line in marks.iter().filter_map(|mark| lines.get(mark)) {
        tally.possible += u64::from(&line[3] == "1");
        tally.attended += u64::from(&line[4] == "1");
        tally.authorised += u64::from(&line[2] == "authorised_absence");
        tally.unauthorised += u64::from(&line[2] == "unauthorised_absence");
    }
    tally
}

/// The bytes of a register with their dates, by counting the days from 1 August; what lies beyond 31 July has none.
fn marks_by_date(marks: &[u8], year: AcademicYear) -> Vec<(NaiveDate, u8)> {
    let first = NaiveDate::from_ymd_opt(i32::from(year.start_year()), 8, 1).unwrap();
    let last = NaiveDate::from_ymd_opt(i32::from(year.start_year()) + 1, 7, 31).unwrap();
    let halves = first.iter_days().flat_map(|date| [date, date]);
    halves
        .take_while(|date| *date <= last)
        .zip(marks.iter().copied())
        .collect()
}

/// Marks of some months in runs, so that stages come and go.
fn term() -> impl Strategy<Value = Vec<u8>> {
    let mark = prop_oneof![
        8 => Just(byte("/")),
        2 => Just(byte("I")),
        1 => Just(byte("O")),
        1 => Just(byte("D")),
        2 => Just(0),
    ];
    vec((mark, 1..12_usize), 0..60).prop_map(|runs| {
        let mut marks: Vec<u8> = runs
            .into_iter()
            .flat_map(|(mark, length)| std::iter::repeat_n(mark, length))
            .take(SESSIONS_MAX)
            .collect();
        trim(&mut marks);
        marks
    })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let comparison = select(vec![Comparison::Exact, Comparison::Rounded]);
    (comparison, select(vec![0, 1, 20, 40])).prop_map(|(comparison, minimum_possible)| Policy {
        comparison,
        minimum_possible,
        ..Policy::default()
    })
}

/// Walks forward from 1 August, judging at the end of each day that had a possible session: the stage at the end and the
/// first day of the unbroken run that led to it.
fn walk(policy: &Policy, registers: &[Vec<u8>], year: AcademicYear, as_of: NaiveDate) -> Option<(Stage, NaiveDate)> {
    let mut by_date: BTreeMap<NaiveDate, Vec<u8>> = BTreeMap::new();
    for marks in registers {
        for (date, mark) in marks_by_date(marks, year) {
            by_date.entry(date).or_default().push(mark);
        }
    }
    let mut counted = Tally::default();
    let mut run = None;
    for (date, marks) in by_date.into_iter().filter(|(date, _)| *date <= as_of) {
        let day: Tally = marks.iter().map(|mark| Tally::of_mark(*mark)).sum();
        if day.possible == 0 {
            continue;
        }
        counted += day;
        let stage = policy.judge(counted).stage;
        run = match run {
            Some((at, since)) if at == stage => Some((at, since)),
            _ => Some((stage, date)),
        };
    }
    run
}

#[test]
fn taking_a_mark_away_is_a_change_and_leaving_it_is_none() {
    let mut marks = vec![byte("/"), byte("\\"), byte("N")];
    let diff = merge(&mut marks, 0, 0, &[LEAVE, CLEAR, CLEAR, CLEAR, LEAVE]);
    assert_eq!(marks, [byte("/")]);
    let cleared = |index: usize, old: u8| Change { index, old, new: 0 };
    assert_eq!(
        diff,
        Diff {
            unchanged: 1,
            changes: vec![cleared(1, byte("\\")), cleared(2, byte("N"))],
            touched: Some((1, 2)),
            ..Diff::default()
        }
    );
}

#[test]
fn a_blank_filled_in_later_is_a_first_entry_and_splits_no_run() {
    let mut marks = vec![0, 0, byte("/"), 0];
    let slash = byte("/");
    let diff = merge(&mut marks, 0, 0, &[slash; 5]);
    assert_eq!(diff.first_entries, 4);
    assert_eq!(diff.first_entry_runs, [(0, 2), (3, 2)]);
    assert_eq!(diff.unchanged, 1);
    assert_eq!(diff.touched, Some((0, 4)));
}

#[test]
fn the_bytes_that_leave_and_clear_are_no_codes() {
    for special in [LEAVE, CLEAR] {
        assert_eq!(AttendanceCode::from_byte(special), None);
        assert_eq!(Tally::of_mark(special), Tally::default());
    }
    assert_ne!(LEAVE, CLEAR);
    assert!(all_bytes().iter().all(|byte| (1..CLEAR).contains(byte)));
}

#[test]
fn any_number_of_marks_is_counted() {
    for count in [65_535, 65_536, 70_003, 1_000_000] {
        for code in ["/", "I", "O", "Y4"] {
            let one = Tally::of_mark(byte(code));
            let tally = Tally::of_marks(&vec![byte(code); count]);
            let times = |part: u64| part * count as u64;
            assert_eq!(tally.attended, times(one.attended), "{count} {code}");
            assert_eq!(tally.possible, times(one.possible), "{count} {code}");
            assert_eq!(tally.authorised, times(one.authorised), "{count} {code}");
            assert_eq!(tally.unauthorised, times(one.unauthorised), "{count} {code}");
        }
    }
}

#[test]
fn a_mark_beyond_31_july_belongs_to_no_day_of_the_year() {
    let year = year(2025);
    let mut marks = vec![0; SESSIONS_MAX];
    marks[731] = byte("O");
    assert_eq!(year.sessions(), 730);
    assert_eq!(next_mark_after(&marks, year, date("2025-09-01")), None);
    assert_eq!(next_mark_after(&marks, year, year.last_day()), None);
    assert_eq!(tally_to(&marks, year, NaiveDate::MAX), Tally::default());
    assert_eq!(
        stage_since(&Policy::default(), Stage::Universal, &[&marks], year, NaiveDate::MAX),
        None
    );
}

#[test]
fn every_day_of_every_year_has_two_places_and_each_place_one_session() {
    let mut day = NaiveDate::from_ymd_opt(1990, 8, 1).unwrap();
    for start in AcademicYear::RANGE {
        let year = year(start);
        let ends_in = start + 1;
        let leap = ends_in % 4 == 0 && (ends_in % 100 != 0 || ends_in % 400 == 0);
        assert_eq!(year.sessions(), if leap { 732 } else { 730 }, "{year}");
        assert_eq!(year.first_day(), day);
        let mut index = 0;
        while day <= year.last_day() {
            assert_eq!(AcademicYear::containing(day), Some(year));
            for half in [SessionHalf::Am, SessionHalf::Pm] {
                let session = Session { date: day, half };
                assert_eq!(year.index_of(session), Some(index));
                assert_eq!(year.session_at(index), session);
                index += 1;
            }
            assert_eq!(year.sessions_to(day), index);
            day = day + Days::new(1);
        }
        assert_eq!(index, year.sessions());
        for outside in [year.first_day() - Days::new(1), day] {
            let half = SessionHalf::Am;
            assert_eq!(year.index_of(Session { date: outside, half }), None);
        }
    }
    assert_eq!(AcademicYear::containing(day), None);
    assert_eq!(AcademicYear::containing(date("1990-07-31")), None);
}

#[test]
fn a_29_february_is_a_day_like_any_other() {
    let marks = |index: usize| {
        let mut marks = vec![0; index];
        marks.extend([byte("O"), byte("O")]);
        marks
    };
    let leap = year(2027);
    let leap_day = marks(424);
    assert_eq!(
        next_mark_after(&leap_day, leap, date("2028-02-28")),
        Some(date("2028-02-29"))
    );
    assert_eq!(tally_to(&leap_day, leap, date("2028-02-28")).possible, 0);
    assert_eq!(tally_to(&leap_day, leap, date("2028-02-29")).possible, 2);
    let ordinary = year(2025);
    assert_eq!(
        next_mark_after(&leap_day, ordinary, date("2026-02-28")),
        Some(date("2026-03-01"))
    );
}

#[test]
fn dates_at_the_ends_of_time_are_answered() {
    let year = year(2025);
    let marks = [byte("/"); 4];
    assert_eq!(
        tally_to(&marks, year, NaiveDate::MIN).possible,
        0,
        "nothing before the year"
    );
    assert_eq!(tally_to(&marks, year, NaiveDate::MAX).possible, 4);
    assert_eq!(next_mark_after(&marks, year, NaiveDate::MIN), Some(date("2025-08-01")));
    for day in [NaiveDate::MIN, NaiveDate::MAX] {
        let half = SessionHalf::Pm;
        assert_eq!(year.index_of(Session { date: day, half }), None);
        assert_eq!(AcademicYear::containing(day), None);
    }
    assert_eq!(year.session_at(usize::MAX).date, NaiveDate::MAX);
    assert_eq!(AcademicYear::from_start_year(i32::MIN), None);
    for instant in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        assert_eq!(AcademicYear::containing(london_date(instant)), None);
    }
}

#[test]
fn the_date_is_londons_on_both_sides_of_the_clock_changes() {
    let on = |instant: &str| london_date(instant.parse().unwrap());
    assert_eq!(on("2026-03-28T23:30:00Z"), date("2026-03-28"));
    assert_eq!(on("2026-03-29T23:00:00Z"), date("2026-03-30"));
    assert_eq!(on("2025-10-25T23:00:00Z"), date("2025-10-26"));
    assert_eq!(on("2025-10-26T23:00:00Z"), date("2025-10-26"));
    assert_eq!(on("2025-10-27T00:00:00Z"), date("2025-10-27"));
}
