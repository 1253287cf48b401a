//! The notation of hard cases, read whole. `data/cases.toml` explains it at its head, `data/cases_more.toml` what it adds.
//!
//! What is not understood is an error of its case and never passed over. Dates, halves of a day and codes that do not
//! exist are read all the same, for there are cases about them.

#![allow(dead_code, unused_imports)] // Each of the test targets that read cases uses its own part.

mod calendar;
mod keys;
mod line;
mod question;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use graduated_response::domain::session::london_date;
use toml::{Table, Value};

pub use calendar::{Calendar, CalendarTerm};
pub use line::{Half, Mark, Marking, Place, RawDate};
pub use question::{EnrolmentWanted, Question, Wanted};

use keys::{Keys, date, text};
use line::read_line;

/// What was not understood.
pub type Misread = String;

/// A case, or why it could not be read.
#[derive(Debug)]
pub struct Entry {
    pub id: String,
    pub case: Result<Case, Misread>,
}

/// One case: what is given, and what is to be found.
#[derive(Debug)]
pub struct Case {
    pub id: String,
    pub rule: String,
    pub given: Given,
    pub expect: Question,
    pub views: Vec<Question>,
}

impl Case {
    /// The expectation and the views.
    pub fn questions(&self) -> impl Iterator<Item = &Question> {
        std::iter::once(&self.expect).chain(&self.views)
    }
}

/// What a case starts from.
#[derive(Debug, Default)]
pub struct Given {
    /// `attended/possible`, as written.
    pub counts: Option<String>,
    /// The schools, in the order in which they are first named.
    pub schools: Vec<GivenSchool>,
    pub enrolments: Vec<GivenEnrolment>,
    /// In order; later ones overwrite earlier ones.
    pub marks: Vec<Marking>,
    /// In order.
    pub corrections: Vec<Correction>,
    /// An addition: the days on which a penalty notice was issued and recorded, in order; each for the latest threshold.
    pub notices: Vec<NaiveDate>,
    pub policy: GivenPolicy,
    pub born: Option<RawDate>,
}

/// A school of a case.
#[derive(Debug)]
pub struct GivenSchool {
    pub name: String,
    pub calendar: Calendar,
}

/// `SCHOOL main|subsidiary|sole FROM..[TO]`.
#[derive(Debug)]
pub struct GivenEnrolment {
    /// As written.
    pub line: String,
    pub school: String,
    pub kind: String,
    pub from: RawDate,
    pub to: Option<RawDate>,
}

/// Marks that were recorded later.
#[derive(Debug)]
pub struct Correction {
    /// Noon UTC of a day, where the case names no moment.
    pub recorded_at: DateTime<Utc>,
    pub marks: Vec<Marking>,
}

impl Correction {
    /// The day in Europe/London.
    pub fn recorded_on(&self) -> NaiveDate {
        london_date(self.recorded_at)
    }

    fn recorded(text: &str) -> Result<DateTime<Utc>, Misread> {
        match text.parse() {
            Ok(moment) => Ok(moment),
            Err(_) => Ok(date(text)?.and_time(NaiveTime::MIN).and_utc() + TimeDelta::hours(12)),
        }
    }
}

/// Which sessions a policy judges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GivenWindow {
    #[default]
    Year,
    Weeks(u16),
    Term,
}

/// The settings of a policy that the notation has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenPolicy {
    pub rounded: bool,
    pub each_enrolment_alone: bool,
    pub window: GivenWindow,
    pub min_possible: u32,
    /// An addition: whether N counts towards a penalty notice.
    pub penalty_counts_n: bool,
}

impl Default for GivenPolicy {
    fn default() -> GivenPolicy {
        GivenPolicy {
            rounded: false,
            each_enrolment_alone: false,
            window: GivenWindow::Year,
            min_possible: 1,
            penalty_counts_n: true,
        }
    }
}

/// Reads a file of cases.
///
/// # Errors
/// Where it is no TOML, has calendars that are not understood, or holds no cases.
pub fn read(source: &str) -> Result<Vec<Entry>, Misread> {
    let file: Table = source.parse().map_err(|error| format!("not TOML: {error}"))?;
    let mut keys = Keys::of(&file, "the file");
    let mut calendars = BTreeMap::new();
    if let Some(given) = keys.take("calendar") {
        for (name, calendar) in given.as_table().ok_or("`calendar` is no table")? {
            let calendar = Calendar::read(calendar).map_err(|error| format!("calendar {name}: {error}"))?;
            calendars.insert(name.clone(), calendar);
        }
    }
    let cases = keys.take("case").and_then(Value::as_array).ok_or("no [[case]] in it")?;
    keys.finish()?;
    let entries = cases.iter().enumerate().map(|(place, case)| {
        let id = case.get("id").and_then(Value::as_str);
        Entry {
            id: id.map_or_else(|| format!("case {}", place + 1), str::to_owned),
            case: read_case(case, &calendars),
        }
    });
    Ok(entries.collect())
}

fn read_case(case: &Value, calendars: &BTreeMap<String, Calendar>) -> Result<Case, Misread> {
    let case = case.as_table().ok_or("a case is a table")?;
    let mut keys = Keys::of(case, "the case");
    let id = text(keys.require("id")?, "id")?.to_owned();
    let rule = keys.take("rule").map_or(Ok(""), |rule| text(rule, "rule"))?.to_owned();
    keys.take("source");
    let given = keys.require("given")?.as_table().ok_or("`given` is no table")?;
    let expect = keys.require("expect")?.as_table().ok_or("`expect` is no table")?;
    let views = match keys.take("views") {
        Some(views) => views.as_array().ok_or("`views` is no array")?.as_slice(),
        None => &[],
    };
    keys.finish()?;

    let (given, asked) = read_given(given, calendars)?;
    let expect = Question::read("expect", expect, asked, true)?;
    let asked = expect.day.is_some().then_some((expect.day, expect.instant));
    let view = |(place, view): (usize, &Value)| {
        let name = format!("view {}", place + 1);
        let view = view.as_table().ok_or_else(|| format!("{name} is no table"))?;
        Question::read(&name, view, asked.unwrap_or_default(), false)
    };
    let views = views.iter().enumerate().map(view).collect::<Result<Vec<_>, _>>()?;
    if given.counts.is_some() != expect.day.is_none() {
        return Err("a case has either given.counts or given.as_of".into());
    }
    Ok(Case {
        id,
        rule,
        given,
        expect,
        views,
    })
}

type Asked = (Option<NaiveDate>, Option<DateTime<Utc>>);

fn read_given(given: &Table, calendars: &BTreeMap<String, Calendar>) -> Result<(Given, Asked), Misread> {
    let mut keys = Keys::of(given, "given");
    let asked = question::asked(&mut keys)?;
    let counts = keys.take("counts").map(|counts| text(counts, "counts")).transpose()?;
    let default_calendar = keys.take("calendar").map_or(Ok("std"), |name| text(name, "calendar"))?;
    let mut by_school = BTreeMap::new();
    if let Some(given) = keys.take("calendars") {
        for (school, name) in given.as_table().ok_or("`given.calendars` is no table")? {
            by_school.insert(school.as_str(), text(name, "calendars")?);
        }
    }
    let open = keys.days("open")?;
    let closed = keys.days("closed")?;
    let enrolments = keys.texts("enrolments")?;
    let lines = keys.texts("marks")?;
    let corrections = keys.texts("corrections")?;
    let notices = keys.days("notices")?;
    let policy = match keys.take("policy") {
        Some(policy) => read_policy(policy.as_table().ok_or("`given.policy` is no table")?)?,
        None => GivenPolicy::default(),
    };
    let born = keys
        .take("born")
        .map(|born| RawDate::read(text(born, "born")?))
        .transpose()?;
    keys.finish()?;

    let enrolments = if enrolments.is_empty() {
        vec!["S1 sole 2013-08-01.."]
    } else {
        enrolments
    };
    let enrolments = enrolments
        .into_iter()
        .map(read_enrolment)
        .collect::<Result<Vec<_>, _>>()?;
    let corrections = corrections
        .into_iter()
        .map(|line| {
            let line = line.trim();
            let (recorded, line) = line.split_once(' ').ok_or_else(|| format!("no correction: {line}"))?;
            Ok((Correction::recorded(recorded)?, line))
        })
        .collect::<Result<Vec<_>, Misread>>()?;

    let first = enrolments[0].school.clone();
    let mut names: Vec<String> = Vec::new();
    let of_lines = lines.iter().copied().chain(corrections.iter().map(|(_, line)| *line));
    let of_lines = of_lines.filter_map(|line| line::school_of(line).map(str::to_owned));
    let of_calendars = by_school.keys().map(|school| (*school).to_owned());
    let of_enrolments = enrolments.iter().map(|enrolment| enrolment.school.clone());
    for name in of_enrolments.chain(of_calendars).chain(of_lines) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let school = |name: String| {
        let calendar = by_school.get(name.as_str()).unwrap_or(&default_calendar);
        // A file of bare counts needs no calendar.
        let found = match calendars.get(*calendar) {
            Some(found) => found.clone(),
            None if counts.is_some() => Calendar::default(),
            None => return Err(format!("no calendar {calendar}")),
        };
        Ok(GivenSchool {
            name,
            calendar: found.with(&open, &closed),
        })
    };
    let schools = names.into_iter().map(school).collect::<Result<Vec<_>, _>>()?;
    let marks_of = |line: &str| -> Result<Vec<Marking>, Misread> {
        let name = line::school_of(line).unwrap_or(&first);
        let school = schools.iter().find(|school| school.name == name);
        read_line(line, school.ok_or_else(|| format!("no school {name}"))?)
    };
    let mut marks = Vec::new();
    for line in lines {
        marks.extend(marks_of(line)?);
    }
    let corrections = corrections
        .into_iter()
        .map(|(recorded_at, line)| {
            Ok(Correction {
                recorded_at,
                marks: marks_of(line)?,
            })
        })
        .collect::<Result<Vec<_>, Misread>>()?;
    let given = Given {
        counts: counts.map(str::to_owned),
        schools,
        enrolments,
        marks,
        corrections,
        notices,
        policy,
        born,
    };
    Ok((given, asked))
}

fn read_enrolment(line: &str) -> Result<GivenEnrolment, Misread> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [school, kind, span] = words[..] else {
        return Err(format!("no enrolment: {line}"));
    };
    let (from, to) = span.split_once("..").ok_or_else(|| format!("no enrolment: {line}"))?;
    Ok(GivenEnrolment {
        line: line.to_owned(),
        school: school.to_owned(),
        kind: kind.to_owned(),
        from: RawDate::read(from)?,
        to: (!to.is_empty()).then(|| RawDate::read(to)).transpose()?,
    })
}

fn read_policy(policy: &Table) -> Result<GivenPolicy, Misread> {
    let mut keys = Keys::of(policy, "given.policy");
    let mut read = GivenPolicy::default();
    if let Some(compare) = keys.take("compare") {
        read.rounded = match text(compare, "compare")? {
            "exact" => false,
            "rounded" => true,
            other => return Err(format!("no comparison: {other}")),
        };
    }
    if let Some(scope) = keys.take("scope") {
        read.each_enrolment_alone = match text(scope, "scope")? {
            "trust" => false,
            "enrolment" => true,
            other => return Err(format!("no scope: {other}")),
        };
    }
    if let Some(window) = keys.take("window") {
        let window = text(window, "window")?;
        read.window = match window.split_whitespace().collect::<Vec<_>>()[..] {
            ["year"] => GivenWindow::Year,
            ["term"] => GivenWindow::Term,
            ["weeks", weeks] => GivenWindow::Weeks(weeks.parse().map_err(|_| format!("no window: {window}"))?),
            _ => return Err(format!("no window: {window}")),
        };
    }
    if let Some(minimum) = keys.take("min_possible") {
        let minimum = minimum.as_integer().and_then(|minimum| u32::try_from(minimum).ok());
        read.min_possible = minimum.ok_or("`min_possible` is no count")?;
    }
    if let Some(counts) = keys.take("penalty_counts_n") {
        read.penalty_counts_n = counts.as_bool().ok_or("`penalty_counts_n` is true or false")?;
    }
    keys.finish()?;
    Ok(read)
}
