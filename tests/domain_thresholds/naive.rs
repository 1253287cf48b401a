//! The rules again, told from each session backwards, beside random records: of pupils at one school, at two at once, and who
//! moved; over the turn of a year; of every age; with notices.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{Datelike as _, Days, NaiveDate};
use graduated_response::domain::calendar::{Calendar, Calendars, monday_of};
use graduated_response::domain::identifiers::EnrolmentId;
use graduated_response::domain::policy::{PenaltyRule, PolicyTimeline, VersionedPolicy};
use graduated_response::domain::pupil::{EnrolmentKind, EnrolmentSpan};
use graduated_response::domain::record::{EnrolmentRecord, PupilRecord};
use graduated_response::domain::register::trim;
use graduated_response::domain::session::{AcademicYear, Session};
use graduated_response::domain::stage::Policy;
use graduated_response::domain::thresholds::{
    Bounds, CompulsoryAge, Notice, ThresholdKind, ThresholdRules, thresholds,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::{school, years_around};

/// The days that are told of: over the turn of an academic year.
const FIRST: &str = "2025-05-05";
const DAYS: usize = 7 * 34;

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// Where the pupil is on roll.
#[derive(Clone, Copy, Debug)]
enum Roll {
    One,
    Two,
    /// Until a day, and elsewhere from the next one on.
    Moves(u64),
}

/// A pupil with two registers, of which one may be empty, and all that bears on thresholds.
#[derive(Clone, Debug)]
struct Setting {
    roll: Roll,
    marks: [Vec<u8>; 2],
    open: [Vec<bool>; 2],
    born: Option<NaiveDate>,
    penalty: PenaltyRule,
    /// Days of issue, and of which of the unauthorised sessions up to it each is for.
    notices: Vec<(u64, usize, usize)>,
    as_of: u64,
}

fn marks() -> impl Strategy<Value = Vec<u8>> {
    // 0 no mark, / , I, N, O, C, Y1
    let codes = prop::sample::select(vec![0u8, 1, 19, 19, 19, 30, 31, 31, 31, 16, 22]);
    let spell = (codes, 1usize..18).prop_map(|(code, length)| vec![code; length]);
    prop::collection::vec(spell, 1..45).prop_map(|spells| {
        let mut marks = spells.concat();
        marks.truncate(2 * DAYS);
        marks
    })
}

fn setting() -> impl Strategy<Value = Setting> {
    let roll = prop_oneof![
        3 => Just(Roll::One),
        2 => Just(Roll::Two),
        2 => (20u64..DAYS as u64 - 20).prop_map(Roll::Moves),
    ];
    let open = || prop::collection::vec(prop::bool::weighted(0.9), DAYS);
    // Comes of compulsory school age, or is beyond it, within the days that are told of; or neither.
    let born = prop::sample::select(vec![
        None,
        None,
        Some("2020-09-15"),
        Some("2009-06-01"),
        Some("2012-01-01"),
    ]);
    let penalty = (
        prop::sample::select(vec![10u16, 10, 6]),
        prop::sample::select(vec![10u16, 10, 4, 52]),
        any::<bool>(),
    );
    let notices = prop::collection::vec((30u64..DAYS as u64, 0usize..6, 1usize..12), 0..3);
    (
        roll,
        [marks(), marks()],
        [open(), open()],
        born,
        penalty,
        notices,
        60u64..DAYS as u64,
    )
        .prop_map(
            |(roll, marks, open, born, (sessions, school_weeks, counts_no_reason_yet), notices, as_of)| Setting {
                roll,
                marks,
                open,
                born: born.map(date),
                penalty: PenaltyRule {
                    sessions,
                    school_weeks,
                    counts_no_reason_yet,
                },
                notices,
                as_of,
            },
        )
}

/// A session as the naive rules see it.
struct Told {
    at: Session,
    /// The marks of all schools.
    marks: Vec<u8>,
    open: bool,
    of_age: bool,
}

impl Told {
    fn possible(&self) -> usize {
        self.marks.iter().filter(|mark| !(22..=28).contains(*mark)).count()
    }

    fn ill(&self) -> usize {
        self.marks.iter().filter(|mark| **mark == 19).count()
    }

    fn unauthorised(&self) -> usize {
        self.marks.iter().filter(|mark| (29..=32).contains(*mark)).count()
    }
}

struct Case {
    record: PupilRecord<'static>,
    calendars: Calendars,
    told: Vec<Told>,
    notices: Vec<Notice>,
    as_of: NaiveDate,
}

fn set_up(setting: &Setting) -> Case {
    let first = date(FIRST);
    let opened = |open: &[bool]| -> BTreeSet<NaiveDate> {
        let days = first.iter_days().zip(open);
        days.filter(|(day, open)| **open && day.weekday().number_from_monday() <= 5)
            .map(|(day, _)| day)
            .collect()
    };
    let opened = [opened(&setting.open[0]), opened(&setting.open[1])];
    let long_ago = date("2013-08-01");
    let spans: Vec<(usize, EnrolmentKind, NaiveDate, Option<NaiveDate>)> = match setting.roll {
        Roll::One => vec![(0, EnrolmentKind::Sole, long_ago, None)],
        Roll::Two => vec![
            (1, EnrolmentKind::Subsidiary, long_ago, None),
            (0, EnrolmentKind::Main, first + Days::new(3), None),
        ],
        Roll::Moves(day) => vec![
            (0, EnrolmentKind::Sole, long_ago, Some(first + Days::new(day))),
            (1, EnrolmentKind::Sole, first + Days::new(day + 1), None),
        ],
    };
    let age = CompulsoryAge::of(setting.born);
    let mut enrolments = Vec::new();
    for (place, (at, kind, start, end)) in spans.iter().enumerate() {
        enrolments.push(EnrolmentRecord {
            id: EnrolmentId(Uuid::from_u128(place as u128)),
            span: EnrolmentSpan {
                school: school(*at),
                kind: *kind,
                start: *start,
                end: *end,
            },
            registers: Vec::new(),
        });
    }
    let mut told = Vec::new();
    for place in 0..2 * DAYS {
        let day = first + Days::new(place as u64 / 2);
        let year = AcademicYear::containing(day).unwrap();
        let at = year.session_at(2 * usize::try_from((day - year.first_day()).num_days()).unwrap() + place % 2);
        let mut marks = Vec::new();
        let mut home: Option<usize> = None;
        for (enrolment, (at_school, kind, ..)) in enrolments.iter_mut().zip(&spans) {
            if !enrolment.span.on_roll(day) {
                continue;
            }
            if home.is_none() || *kind != EnrolmentKind::Subsidiary {
                home = Some(*at_school);
            }
            let mark = setting.marks[*at_school].get(place).copied().unwrap_or(0);
            if !enrolment.registers.iter().any(|(of, _)| *of == year) {
                enrolment.registers.push((year, Cow::Owned(vec![0; year.sessions()])));
            }
            let register = enrolment.registers.iter_mut().find(|(of, _)| *of == year).unwrap();
            register.1.to_mut()[year.index_of(at).unwrap()] = mark;
            marks.extend((mark != 0).then_some(mark));
        }
        told.push(Told {
            at,
            marks,
            open: home.is_some_and(|home| opened[home].contains(&day)),
            of_age: age.covers(day),
        });
    }
    for (_, marks) in enrolments.iter_mut().flat_map(|enrolment| &mut enrolment.registers) {
        trim(marks.to_mut());
    }
    let as_of = first + Days::new(setting.as_of);
    let mut used = BTreeSet::new();
    let mut notices = Vec::new();
    for (day, skip, take) in &setting.notices {
        let issued_on = first + Days::new(*day);
        let absent = told
            .iter()
            .filter(|told| told.unauthorised() > 0 && told.at.date <= issued_on);
        let of: BTreeSet<Session> = absent
            .map(|told| told.at)
            .filter(|at| !used.contains(at))
            .skip(*skip)
            .take(*take)
            .collect();
        used.extend(of.iter().copied());
        notices.push(Notice {
            id: Uuid::from_u128(notices.len() as u128),
            issued_on,
            sessions: of,
        });
    }
    let calendars = opened.iter().enumerate();
    let calendars = calendars.map(|(place, open)| {
        let calendar: Calendar = years_around(open);
        (school(place), Arc::new(calendar))
    });
    Case {
        record: PupilRecord { enrolments },
        calendars: Calendars::new(calendars),
        told,
        notices,
        as_of,
    }
}

fn illness(told: &[Told], as_of: NaiveDate) -> Vec<(ThresholdKind, Session)> {
    let mut found = Vec::new();
    let ill = told
        .iter()
        .filter(|told| told.of_age)
        .flat_map(|told| vec![told.at; told.ill()]);
    if let Some(at) = ill.clone().nth(29) {
        let reached = at.date <= as_of;
        let kind = if reached {
            ThresholdKind::IllnessCumulative
        } else {
            ThresholdKind::IllnessExpected
        };
        found.push((kind, at));
    }
    for (place, last) in told
        .iter()
        .enumerate()
        .filter(|(_, told)| told.ill() > 0 && told.at.date <= as_of)
    {
        let goes_on = |told: &&Told| {
            told.ill() == told.possible() && (told.ill() == 0 || told.of_age) && !(told.marks.is_empty() && told.open)
        };
        let row: usize = told[..=place].iter().rev().take_while(goes_on).map(Told::ill).sum();
        if row >= 30 && row - last.ill() < 30 {
            found.push((ThresholdKind::IllnessConsecutive, last.at));
        }
    }
    found
}

fn unauthorised(told: &[Told], as_of: NaiveDate) -> Vec<(ThresholdKind, Session)> {
    let days: Vec<&[Told]> = told
        .chunks(2)
        .filter(|day| day[0].at.date <= as_of && day.iter().any(|told| told.possible() > 0))
        .collect();
    let counts = |day: &&&[Told]| day.iter().all(|told| told.unauthorised() == told.possible()) && day[0].of_age;
    let tenth = (0..days.len()).filter(|place| days[..=*place].iter().rev().take_while(counts).count() == 10);
    tenth
        .map(|place| {
            let last = days[place].iter().rev().find(|told| told.possible() > 0).unwrap();
            (ThresholdKind::UnauthorisedDays, last.at)
        })
        .collect()
}

/// How many school weeks after that of one day the week of another is.
fn weeks_between(school_weeks: &BTreeSet<NaiveDate>, from: NaiveDate, to: NaiveDate) -> usize {
    let (from, to) = (monday_of(from), monday_of(to));
    school_weeks
        .iter()
        .filter(|monday| from < **monday && **monday <= to)
        .count()
}

/// Where a window of what is left is full, having emptied since it last was.
fn full_windows(school_weeks: &BTreeSet<NaiveDate>, left: &[Session], rule: PenaltyRule) -> Vec<Session> {
    let mut found = Vec::new();
    let mut raised = false;
    for (place, at) in left.iter().enumerate() {
        let within = left[..=place]
            .iter()
            .filter(|earlier| weeks_between(school_weeks, earlier.date, at.date) < usize::from(rule.school_weeks))
            .count();
        raised &= within > 1;
        if within >= usize::from(rule.sessions) && !raised {
            raised = true;
            found.push(*at);
        }
    }
    found
}

fn penalties(case: &Case, rule: PenaltyRule) -> BTreeSet<Session> {
    let told = &case.told;
    let school_weeks = told
        .iter()
        .filter(|told| told.open)
        .map(|told| monday_of(told.at.date))
        .collect();
    let counted = |told: &Told| {
        let n = told.marks.iter().filter(|mark| **mark == 30).count();
        told.unauthorised() - if rule.counts_no_reason_yet { 0 } else { n }
    };
    let absent = told
        .iter()
        .filter(|told| told.of_age)
        .flat_map(|told| vec![told.at; counted(told)]);
    let mut issued: Vec<&Notice> = case
        .notices
        .iter()
        .filter(|notice| notice.issued_on <= case.as_of)
        .collect();
    issued.sort_by_key(|notice| notice.issued_on);
    let mut found = BTreeSet::new();
    // On the day of each notice, before it used anything; and now.
    for place in 0..=issued.len() {
        let until = issued.get(place).map_or(case.as_of, |notice| notice.issued_on);
        let used = |at: &Session| issued[..place].iter().any(|notice| notice.sessions.contains(at));
        let left: Vec<Session> = absent.clone().filter(|at| at.date <= until && !used(at)).collect();
        found.extend(full_windows(&school_weeks, &left, rule));
    }
    found
}

fn naive(case: &Case, rule: PenaltyRule) -> Vec<(ThresholdKind, Session)> {
    let year = AcademicYear::containing(case.as_of).unwrap();
    let from = case
        .told
        .iter()
        .position(|told| told.at.date >= year.first_day())
        .unwrap_or(case.told.len());
    let to = case
        .told
        .iter()
        .rposition(|told| told.at.date <= year.last_day())
        .map_or(0, |last| last + 1);
    let of_year = &case.told[from..to];
    let mut found = illness(of_year, case.as_of);
    found.extend(unauthorised(of_year, case.as_of));
    let penalties = penalties(case, rule)
        .into_iter()
        .filter(|at| at.date >= year.first_day());
    found.extend(penalties.map(|at| (ThresholdKind::PenaltyNotice, at)));
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn thresholds_are_those_of_a_naive_statement_of_the_rules(setting in setting()) {
        let case = set_up(&setting);
        let rules = ThresholdRules {
            calendars: &case.calendars,
            penalty: setting.penalty,
            triggers: &[],
            born: setting.born,
            notices: &case.notices,
        };
        let found = thresholds(&case.record, rules, case.as_of);
        for threshold in &found {
            prop_assert_eq!(threshold.sessions.last(), Some(&threshold.proved_by));
        }
        let found: Vec<_> = found.into_iter().map(|found| (found.kind, found.proved_by)).collect();
        prop_assert_eq!(&found, &naive(&case, setting.penalty));

        // Whoever has reached anything is never dismissed, however narrow the look.
        let policy = Policy { penalty: setting.penalty, ..Policy::default() };
        let bounds = Bounds::of(&PolicyTimeline::of_one(VersionedPolicy { version: 1, policy }));
        let admitted = bounds.admit_record(&case.record, &case.calendars, case.as_of);
        prop_assert!(admitted || found.is_empty(), "dismissed by marks");
        let year = AcademicYear::containing(case.as_of).unwrap();
        let before = AcademicYear::from_start_year(i32::from(year.start_year()) - 1).unwrap();
        let tally = case.record.tally_to(year, case.as_of);
        let unauthorised_before = case.record.tally_to(before, case.as_of).unauthorised;
        let expected = found.iter().all(|(kind, _)| *kind == ThresholdKind::IllnessExpected);
        prop_assert!(expected || bounds.admits(tally, unauthorised_before), "dismissed by counts");
    }
}
