//! Runs a case through its days and compares every expectation.
//!
//! The clock only goes forward: corrections are recorded at noon of their days; a question whose day knows all that it
//! may know is asked on the day itself (*live*); and at the end, on the latest day that any question needs, every question
//! is asked again of its day as known at the end of its `known_on`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Datelike as _, Days, NaiveDate, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Europe::London;

use crate::ask::{When, absence, classification, stage_name};
use crate::common::world::pb;
use crate::notation::{Case, EnrolmentWanted, Mark, Place, Question, Wanted};
use crate::refusal::Refusal;
use crate::setup::{Setting, code_name, first_day, is_not_possible, noon, set_up};

/// What was not found as expected.
pub struct Difference {
    case: String,
    view: String,
    field: String,
    expected: String,
    found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference {
            case,
            view,
            field,
            expected,
            found,
        } = self;
        write!(formatter, "{case} {view} {field}: expected {expected}, found {found}")
    }
}

impl Difference {
    /// A case whose notation was not understood.
    pub fn misread(case: &str, misread: &str) -> Difference {
        Difference {
            case: case.to_owned(),
            view: "notation".to_owned(),
            field: "case".to_owned(),
            expected: "the notation".to_owned(),
            found: misread.to_owned(),
        }
    }

    /// A case that could not be carried to its end.
    pub fn stopped(case: &str, why: &str) -> Difference {
        Difference {
            case: case.to_owned(),
            view: "run".to_owned(),
            field: "case".to_owned(),
            expected: "an end".to_owned(),
            found: why.to_owned(),
        }
    }
}

/// The differences of one way of asking one question.
struct Findings<'a> {
    case: &'a str,
    view: String,
    differences: Vec<Difference>,
}

impl Findings<'_> {
    fn new<'a>(case: &'a Case, view: &str) -> Findings<'a> {
        Findings {
            case: &case.id,
            view: view.to_owned(),
            differences: Vec::new(),
        }
    }

    fn differ(&mut self, field: &str, expected: impl fmt::Display, found: impl fmt::Display) {
        self.differences.push(Difference {
            case: self.case.to_owned(),
            view: self.view.clone(),
            field: field.to_owned(),
            expected: expected.to_string(),
            found: found.to_string(),
        });
    }

    fn compare<T: PartialEq + fmt::Debug>(&mut self, field: &str, expected: Option<&T>, found: &T) {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            self.differ(field, format!("{expected:?}"), format!("{found:?}"));
        }
    }

    fn refused(&mut self, what: &str, refusal: &Refusal) {
        self.differ(what, "an answer", format!("{}: {}", refusal.reason, refusal.message));
    }
}

/// The differences of a case.
pub async fn case(case: &Case, url: String) -> Vec<Difference> {
    if let Some(counts) = &case.given.counts {
        return of_counts(case, counts, url).await;
    }
    let mut findings = Findings::new(case, "setting up");
    let expected_error = case.expect.wanted.error.as_deref();
    let setting = set_up(case, url).await;
    let ran = match setting {
        Ok(mut setting) => through_the_days(case, &mut setting).await,
        Err(refusal) => Err(refusal),
    };
    match (ran, expected_error) {
        (Ok(differences), None) => return differences,
        (Ok(_), Some(wanted)) => findings.differ("error", wanted, "everything taken"),
        (Err(refusal), Some(wanted)) if refusal.is(wanted) => {}
        (Err(refusal), wanted) => findings.differ(
            "error",
            wanted.unwrap_or("none"),
            format!("{}: {}", refusal.reason, refusal.message),
        ),
    }
    findings.differences
}

/// A case of bare counts: no pupil, a draft of a policy.
async fn of_counts(case: &Case, counts: &str, url: String) -> Vec<Difference> {
    let mut findings = Findings::new(case, "expect");
    let wanted = &case.expect.wanted;
    match (classification(case, counts, url).await, &wanted.error) {
        (Ok(_), Some(error)) => findings.differ("error", error, "an answer"),
        (Err(refusal), Some(error)) if refusal.is(error) => {}
        (Err(refusal), error) => {
            let found = format!("{}: {}", refusal.reason, refusal.message);
            findings.differ("error", error.as_deref().unwrap_or("none"), found);
        }
        (Ok(found), None) => {
            let tally = found.tally.unwrap_or_default();
            compare_counts(wanted, tally, &found.attendance_percent, &mut findings, "");
            findings.compare("stage", wanted.stage.as_ref(), &stage_name(found.stage));
            findings.compare("too_little", wanted.too_little.as_ref(), &found.too_little_data);
            let thresholds = absence(found.persistent_absence, found.severe_absence, tally);
            findings.compare("thresholds", wanted.thresholds.as_ref(), &thresholds);
        }
    }
    findings.differences
}

/// What happens on a case's way.
enum Event<'a> {
    Correct(&'a crate::notation::Correction),
    Issue(NaiveDate),
    AskLive(&'a Question),
    KeepRegisters(&'a Question),
}

/// The end of a day in London.
fn end_of(day: NaiveDate) -> DateTime<Utc> {
    let next = (day + Days::new(1)).and_hms_opt(0, 0, 0).expect("a midnight");
    let midnight = London.from_local_datetime(&next).single().expect("one midnight a day");
    midnight.with_timezone(&Utc) - TimeDelta::microseconds(1)
}

/// When a question is asked live: at its moment, or in the evening of its day.
fn live_moment(question: &Question) -> DateTime<Utc> {
    let day = question.day.expect("a question of a day");
    question.instant.unwrap_or_else(|| noon(day) + TimeDelta::hours(6))
}

/// Whether all that a question may know is known at its own moment, and nothing else.
fn can_be_live(case: &Case, question: &Question) -> bool {
    let known = |recorded_at: DateTime<Utc>, recorded_on: NaiveDate| {
        let on_its_day = recorded_at <= live_moment(question);
        on_its_day == question.known_on.is_none_or(|known_on| recorded_on <= known_on)
    };
    let mut corrections = case.given.corrections.iter();
    let mut notices = case.given.notices.iter();
    corrections.all(|correction| known(correction.recorded_at, correction.recorded_on()))
        && notices.all(|issued_on| known(noon(*issued_on), *issued_on))
}

async fn through_the_days(case: &Case, setting: &mut Setting) -> Result<Vec<Difference>, Refusal> {
    let mut events: Vec<(DateTime<Utc>, Event<'_>)> = Vec::new();
    for correction in &case.given.corrections {
        events.push((correction.recorded_at, Event::Correct(correction)));
    }
    for issued_on in &case.given.notices {
        events.push((noon(*issued_on), Event::Issue(*issued_on)));
    }
    let asked = || case.questions().filter(|question| question.wanted.error.is_none());
    let mut last = noon(first_day(case));
    for question in asked() {
        let knowing = question.known_on.map(end_of);
        last = last.max(live_moment(question)).max(knowing.unwrap_or(last));
        if can_be_live(case, question) {
            events.push((live_moment(question), Event::AskLive(question)));
        }
        if let Some(knowing) = knowing {
            events.push((knowing, Event::KeepRegisters(question)));
        }
    }
    let recorded = case.given.corrections.iter().map(|correction| correction.recorded_at);
    let recorded = recorded.chain(case.given.notices.iter().copied().map(noon));
    let last = recorded.max().map_or(last, |recorded| last.max(recorded)) + TimeDelta::hours(1);
    // Corrections of one day come in their order, and before what is asked at the same moment.
    events.sort_by_key(|(moment, _)| *moment);

    let mut differences = Vec::new();
    let mut kept = BTreeMap::new();
    for (moment, event) in events {
        setting.world.clock.turn_to(moment);
        match event {
            Event::Correct(correction) => setting.correct(&correction.marks).await?,
            Event::Issue(issued_on) => setting.issue(issued_on).await?,
            Event::AskLive(question) => {
                let mut findings = Findings::new(case, &format!("{} (live)", question.name));
                ask_live(question, setting, &mut findings).await;
                differences.extend(findings.differences);
            }
            Event::KeepRegisters(question) => {
                let registers = registers_of(question, setting).await?;
                kept.insert(&question.name, (registers, setting.warnings()));
            }
        }
    }
    setting.world.clock.turn_to(last);
    for question in asked() {
        let (registers, warnings) = match kept.remove(&question.name) {
            Some(kept) => kept,
            None => (registers_of(question, setting).await?, setting.warnings()),
        };
        let mut findings = Findings::new(case, &question.name);
        let when = When {
            as_of: question.day,
            known_at: question.known_on.map(end_of),
        };
        compare_stage(question, setting, when, &mut findings).await;
        findings.compare("warnings", question.wanted.warnings.as_ref(), &warnings);
        compare_registers(question, &registers, setting, &mut findings);
        differences.extend(findings.differences);
    }
    Ok(differences)
}

/// The academic year of a day, by the year in which it begins.
fn year_of(day: NaiveDate) -> i32 {
    day.year() - i32::from(day.month() < 8)
}

/// The registers of the years of which a question speaks, as they are now.
async fn registers_of(question: &Question, setting: &Setting) -> Result<Vec<pb::Register>, Refusal> {
    let of_bytes = question.wanted.bytes.keys().filter_map(|place| place.date.date());
    let years: BTreeSet<i32> = question.day.into_iter().chain(of_bytes).map(year_of).collect();
    let mut registers = Vec::new();
    for year in years {
        registers.extend(setting.registers(year).await?);
    }
    Ok(registers)
}

/// Asks a question on its own day, without naming day or moment.
async fn ask_live(question: &Question, setting: &Setting, findings: &mut Findings<'_>) {
    compare_stage(question, setting, When::default(), findings).await;
    let wanted = &question.wanted;
    if wanted.codes.is_empty() && wanted.not_possible.is_none() && wanted.lost_quarter_hours.is_none() {
        return;
    }
    let explained = match setting.explanation().await {
        Ok(explained) => explained,
        Err(refusal) => return findings.refused("explanation", &refusal),
    };
    let sessions = |code: &str| {
        let of_code = explained.codes.iter().find(|count| code_name(count.code) == code);
        of_code.map_or(0, |count| i64::from(count.sessions))
    };
    for (code, count) in &wanted.codes {
        findings.compare(&format!("codes.{code}"), Some(count), &sessions(code));
    }
    let not_possible = i32::from(pb::AttendanceCategory::NotPossible);
    let of_category = explained.categories.iter().find(|count| count.category == not_possible);
    let not_possible = of_category.map_or(0, |count| i64::from(count.sessions));
    findings.compare("not_possible", wanted.not_possible.as_ref(), &not_possible);
    let quarters = wanted.lost_quarter_hours.map(|quarters| quarters * 15);
    let minutes = i64::from(explained.lost_learning_minutes);
    findings.compare("lost minutes", quarters.as_ref(), &minutes);
}

async fn compare_stage(question: &Question, setting: &Setting, when: When, findings: &mut Findings<'_>) {
    let wanted = &question.wanted;
    let stage = match setting.stage(when).await {
        Ok(stage) => stage,
        Err(refusal) => return findings.refused("stage", &refusal),
    };
    let day = question.day.expect("a question of a day");
    let as_of = stage.as_of.expect("a day");
    findings.compare(
        "as_of",
        Some(&(day.year(), day.month() as i32, day.day() as i32)),
        &(as_of.year, as_of.month, as_of.day),
    );
    let tally = stage.tally.unwrap_or_default();
    compare_counts(wanted, tally, &stage.attendance_percent, findings, "");
    findings.compare("stage", wanted.stage.as_ref(), &stage_name(stage.stage));
    findings.compare("too_little", wanted.too_little.as_ref(), &stage.too_little_data);
    compare_thresholds(wanted, &stage, setting, when, findings).await;
    for of_enrolment in &wanted.enrolments {
        compare_enrolment(of_enrolment, &stage, setting, day, findings);
    }
}

/// Compares the complete list of what was reached. The stage tells of persistent and severe absence as well.
async fn compare_thresholds(
    wanted: &Wanted,
    stage: &pb::PupilStage,
    setting: &Setting,
    when: When,
    findings: &mut Findings<'_>,
) {
    let Some(wanted) = &wanted.thresholds else {
        return;
    };
    let mut expected = wanted.clone();
    expected.sort();
    match setting.thresholds(when).await {
        Ok(mut found) => {
            found.sort();
            findings.compare("thresholds", Some(&expected), &found);
        }
        Err(refusal) => findings.refused("thresholds", &refusal),
    }
    let of_absence = |threshold: &String| threshold.starts_with("persistent ") || threshold.starts_with("severe ");
    expected.retain(of_absence);
    let year_tally = stage.year_tally.unwrap_or_default();
    let found = absence(stage.persistent_absence, stage.severe_absence, year_tally);
    findings.compare("persistent and severe absence", Some(&expected), &found);
}

fn compare_counts(wanted: &Wanted, tally: pb::Tally, percent: &str, findings: &mut Findings<'_>, prefix: &str) {
    let counts = [
        ("attended", wanted.attended, tally.attended),
        ("possible", wanted.possible, tally.possible),
        ("authorised", wanted.authorised, tally.authorised),
        ("unauthorised", wanted.unauthorised, tally.unauthorised),
    ];
    for (name, wanted, found) in counts {
        findings.compare(&format!("{prefix}{name}"), wanted.as_ref(), &found);
    }
    let display = wanted.display.as_deref();
    findings.compare(&format!("{prefix}display"), display.as_ref(), &percent);
}

fn compare_enrolment(
    wanted: &EnrolmentWanted,
    stage: &pb::PupilStage,
    setting: &Setting,
    day: NaiveDate,
    findings: &mut Findings<'_>,
) {
    let prefix = format!("enrolment {} ", wanted.enrolment);
    let Some(id) = setting.enrolment_named(&wanted.enrolment, day) else {
        return findings.differ(&prefix, "an enrolment of the case", "none, or several");
    };
    let Some(found) = stage.enrolments.iter().find(|found| found.enrolment_id == id) else {
        return findings.differ(&prefix, "a stage of its own", "none");
    };
    let wanted = &wanted.wanted;
    let tally = found.tally.unwrap_or_default();
    compare_counts(wanted, tally, &found.attendance_percent, findings, &prefix);
    findings.compare(
        &format!("{prefix}stage"),
        wanted.stage.as_ref(),
        &stage_name(found.stage),
    );
    let too_little = wanted.too_little.as_ref();
    findings.compare(&format!("{prefix}too_little"), too_little, &found.too_little_data);
}

/// Compares what follows from the marks themselves.
fn compare_registers(question: &Question, registers: &[pb::Register], setting: &Setting, findings: &mut Findings<'_>) {
    let wanted = &question.wanted;
    let day = question.day.expect("a question of a day");
    let first = NaiveDate::from_ymd_opt(year_of(day), 8, 1).expect("a first of August");
    let to_date = usize::try_from(2 * ((day - first).num_days() + 1)).expect("a day of the year");
    let mut by_code: BTreeMap<String, i64> = BTreeMap::new();
    let mut not_possible = 0;
    for register in registers
        .iter()
        .filter(|register| register.academic_year == year_of(day))
    {
        for mark in register.marks.iter().take(to_date).filter(|mark| **mark != 0) {
            *by_code.entry(code_name(*mark)).or_default() += 1;
            not_possible += i64::from(is_not_possible(*mark));
        }
    }
    for (code, count) in &wanted.codes {
        let found = by_code.get(code).copied().unwrap_or_default();
        findings.compare(&format!("codes.{code}"), Some(count), &found);
    }
    findings.compare("not_possible", wanted.not_possible.as_ref(), &not_possible);
    for (place, index) in &wanted.bytes {
        let sent = setting.sent(*place);
        let of_year = registers.iter().filter(|register| {
            place
                .date
                .date()
                .is_some_and(|date| register.academic_year == year_of(date))
        });
        let marks = of_year.filter_map(|register| register.marks.get(*index).filter(|mark| **mark != 0));
        let mut found: Vec<_> = marks.map(|mark| code_name(*mark)).collect();
        found.sort();
        if sent.is_empty() || found != sent {
            let expected = format!("{sent:?} at {index}");
            findings.differ(&format!("bytes {place}"), expected, format!("{found:?}"));
        }
    }
}
