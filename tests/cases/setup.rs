//! Sets a case up through the port: a trust with a service and a clock of its own, schools with their calendars, a pupil,
//! the policy, and marks.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use graduated_response::service::Limits;

use crate::common::World;
use crate::common::world::{by_id, correction, pb, person, pupil_input};
use crate::notation::{Case, GivenPolicy, GivenSchool, GivenWindow, Half, Mark, Marking, Place, RawDate};
use crate::refusal::Refusal;

/// The number of a code and of a half of a day that do not exist.
const NO_CODE: i32 = 99;
const NO_HALF: i32 = 3;

/// The age of a pupil of whom no date of birth is given, in years before the academic year of the first day: of compulsory
/// school age for six years to come.
const AGE_YEARS: i32 = 9;

/// A mark's register and session.
pub type Register = (String, Place);

/// An enrolment that is set up.
struct Enrolled {
    line: String,
    school: String,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    id: String,
}

/// A case that is set up.
pub struct Setting {
    pub world: World,
    pub pupil_id: String,
    /// The UUIDs of the schools by the names of the case.
    pub schools: BTreeMap<String, String>,
    /// The enrolments with their UUIDs, in the order of the case.
    enrolments: Vec<Enrolled>,
    /// What was sent last for each session.
    sent: BTreeMap<Register, Mark>,
    /// The marks whose codes the service warned of as outside their dates.
    warned: BTreeMap<Register, String>,
}

/// Noon in London, or an hour off.
pub fn noon(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc() + TimeDelta::hours(12)
}

/// A day before everything of which a case speaks.
pub fn first_day(case: &Case) -> NaiveDate {
    let given = &case.given;
    let of_corrections = given.corrections.iter().flat_map(|correction| {
        let marks = correction.marks.iter().filter_map(|marking| marking.place.date.date());
        marks.chain([correction.recorded_on()])
    });
    let of_marks = given.marks.iter().filter_map(|marking| marking.place.date.date());
    let of_questions = case.questions().flat_map(|question| [question.day, question.known_on]);
    let all = of_questions.flatten().chain(of_marks).chain(of_corrections);
    let first = all.min().expect("a case asks for a day");
    first - Days::new(2)
}

/// Sets a case up as it stands before its corrections.
pub async fn set_up(case: &Case, url: String) -> Result<Setting, Refusal> {
    let first = first_day(case);
    let world = World::over(url, &first.to_string(), Limits::default()).await;
    let mut schools = BTreeMap::new();
    for (place, school) in case.given.schools.iter().enumerate() {
        let id = world.school(&format!("{}", 100_001 + place)).await;
        schools.insert(school.name.clone(), id);
    }
    let mut setting = Setting {
        world,
        pupil_id: String::new(),
        schools,
        enrolments: Vec::new(),
        sent: BTreeMap::new(),
        warned: BTreeMap::new(),
    };
    let version = setting.world.policy(settings_of(&case.given.policy)).await;
    setting.world.activate(version, "").await;
    for school in &case.given.schools {
        setting.give_calendar(school).await?;
    }
    setting.enrol(case, first).await?;
    let marks = latest_of(&case.given.marks);
    let stand = marks.into_iter().filter(|(_, mark)| *mark != Mark::None);
    setting.record(&stand.collect()).await?;
    Ok(setting)
}

/// The policy of a case; what it does not name is the product's default.
pub fn settings_of(given: &GivenPolicy) -> pb::PolicySettings {
    let (window, weeks) = match given.window {
        GivenWindow::Year => (pb::PolicyWindow::YearToDate, 0),
        GivenWindow::Weeks(weeks) => (pb::PolicyWindow::SchoolWeeks, weeks),
        GivenWindow::Term => (pb::PolicyWindow::CurrentTerm, 0),
    };
    pb::PolicySettings {
        comparison: if given.rounded {
            pb::Comparison::Rounded.into()
        } else {
            pb::Comparison::Exact.into()
        },
        minimum_possible: i32::try_from(given.min_possible).ok(),
        window: window.into(),
        window_school_weeks: weeks.into(),
        scope: if given.each_enrolment_alone {
            pb::PolicyScope::Enrolment.into()
        } else {
            pb::PolicyScope::Trust.into()
        },
        penalty: Some(pb::PenaltyRule {
            sessions: 10,
            school_weeks: 10,
            ignores_no_reason_yet: !given.penalty_counts_n,
        }),
        ..pb::PolicySettings::default()
    }
}

/// What stands in the end where lines overwrite each other.
fn latest_of(markings: &[Marking]) -> BTreeMap<Register, Mark> {
    let entries = markings
        .iter()
        .map(|marking| ((marking.school.clone(), marking.place), marking.mark));
    entries.collect()
}

impl Setting {
    /// Gives a school its calendar, year by year.
    async fn give_calendar(&self, school: &GivenSchool) -> Result<(), Refusal> {
        let GivenSchool { name, calendar } = school;
        let year_of = |day: &NaiveDate| day.year() - i32::from(day.month() < 8);
        let weekday = |day: &NaiveDate| day.weekday().number_from_monday() <= 5;
        let in_term = |day: &NaiveDate| {
            weekday(day)
                && calendar
                    .terms
                    .iter()
                    .any(|term| term.first <= *day && *day <= term.last)
        };
        let of_terms = calendar.terms.iter().map(|term| year_of(&term.first));
        let of_days = calendar.open.iter().map(year_of);
        let years: BTreeSet<i32> = of_terms.chain(of_days).collect();
        for academic_year in years {
            let terms = calendar
                .terms
                .iter()
                .filter(|term| year_of(&term.first) == academic_year);
            let terms = terms.map(|term| pb::CalendarTerm {
                name: term.name.clone(),
                first_day: Some(date(term.first.into())),
                last_day: Some(date(term.last.into())),
            });
            let note = |kind: pb::CalendarDayKind, day: &NaiveDate| pb::CalendarNote {
                kind: kind.into(),
                first_day: Some(date((*day).into())),
                ..pb::CalendarNote::default()
            };
            let of_year = |day: &&NaiveDate| year_of(day) == academic_year;
            let extra = calendar.open.iter().filter(of_year).filter(|day| !in_term(day));
            let extra = extra.map(|day| note(pb::CalendarDayKind::SchoolDay, day));
            let closed = calendar.closed.iter().filter(of_year);
            let closed = closed.map(|day| note(pb::CalendarDayKind::Inset, day));
            let request = pb::UpdateCalendarRequest {
                trust_id: self.world.trust_id.clone(),
                school: self.schools[name].clone(),
                academic_year,
                terms: terms.collect(),
                notes: extra.chain(closed).collect(),
                ..pb::UpdateCalendarRequest::default()
            };
            self.world.admin().update_calendar(request).await?;
        }
        Ok(())
    }

    async fn enrol(&mut self, case: &Case, first: NaiveDate) -> Result<(), Refusal> {
        let kind_of = |kind: &str| match kind {
            "sole" => pb::EnrolmentKind::Sole.into(),
            "main" => pb::EnrolmentKind::Main.into(),
            "subsidiary" => pb::EnrolmentKind::Subsidiary.into(),
            _ => 99,
        };
        let enrolments: Vec<_> = case
            .given
            .enrolments
            .iter()
            .map(|enrolment| pb::Enrolment {
                enrolment_id: String::new(),
                school: self.schools[&enrolment.school].clone(),
                kind: kind_of(&enrolment.kind),
                start_date: Some(date(enrolment.from)),
                end_date: enrolment.to.map(date),
            })
            .collect();
        let autumn = first.year() - i32::from(first.month() < 8);
        let born = case.given.born.unwrap_or(RawDate {
            year: autumn - AGE_YEARS,
            month: 1,
            day: 15,
        });
        let input = pb::PupilInput {
            date_of_birth: Some(date(born)),
            ..pupil_input("pupil", &enrolments)
        };
        let answer = self.world.upsert(vec![input]).await?;
        if let Some(rejection) = answer.rejections.first() {
            return Err(rejection.into());
        }
        self.pupil_id = answer.pupil_ids[0].clone();
        let request = pb::GetPupilRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(by_id(&self.pupil_id)),
        };
        let answer = self.world.pupils().get_pupil(request).await?.into_inner();
        let stored = answer.pupil.expect("a pupil").enrolments;
        let id_of = |wanted: &pb::Enrolment| {
            let same = |of: &&pb::Enrolment| of.school == wanted.school && of.start_date == wanted.start_date;
            stored.iter().find(same).expect("the enrolment").enrolment_id.clone()
        };
        let given = case.given.enrolments.iter().zip(&enrolments);
        let enrolled = given.map(|(given, sent)| Enrolled {
            line: given.line.clone(),
            school: given.school.clone(),
            from: given.from.date(),
            to: given.to.and_then(RawDate::date),
            id: id_of(sent),
        });
        self.enrolments = enrolled.collect();
        Ok(())
    }

    /// Records marks of a correction.
    pub async fn correct(&mut self, markings: &[Marking]) -> Result<(), Refusal> {
        self.record(&latest_of(markings)).await
    }

    /// Records a penalty notice as issued on a day, for the latest threshold that no other used.
    pub async fn issue(&mut self, issued_on: NaiveDate) -> Result<(), Refusal> {
        let request = pb::RecordPenaltyNoticeRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(by_id(&self.pupil_id)),
            issued_on: Some(date(issued_on.into())),
            recorded_by: Some(person()),
            ..pb::RecordPenaltyNoticeRequest::default()
        };
        self.world.stages().record_penalty_notice(request).await?;
        Ok(())
    }

    /// Records marks in one batch: one item a register and academic year, and one for each mark whose session there is not.
    async fn record(&mut self, marks: &BTreeMap<Register, Mark>) -> Result<(), Refusal> {
        let mut items: Vec<(String, pb::SessionItem)> = Vec::new();
        type OfYear = Vec<(NaiveDate, bool, i32)>;
        let mut years: BTreeMap<(&str, i32), OfYear> = BTreeMap::new();
        for ((school, place), mark) in marks {
            let number = match mark {
                Mark::Code(code) => i32::from(code.byte()),
                Mark::None => pb::AttendanceCode::Cleared.into(),
                Mark::Unknown => NO_CODE,
            };
            match place.session() {
                Some((date, afternoon)) => {
                    let year = date.year() - i32::from(date.month() < 8);
                    years.entry((school, year)).or_default().push((date, afternoon, number));
                }
                None => items.push((school.clone(), self.item(school, *place, vec![number]))),
            }
        }
        for ((school, _), sessions) in years {
            let (first, in_afternoon, _) = sessions[0];
            let place_of = |date: NaiveDate, afternoon: bool| {
                let halves = 2 * (date - first).num_days() + i64::from(afternoon) - i64::from(in_afternoon);
                usize::try_from(halves).expect("sessions in order")
            };
            let mut run = Vec::new();
            for (date, afternoon, number) in sessions {
                run.resize(place_of(date, afternoon), 0);
                run.push(number);
            }
            let place = Place {
                date: first.into(),
                half: if in_afternoon { Half::Pm } else { Half::Am },
            };
            items.push((school.to_owned(), self.item(school, place, run)));
        }
        if items.is_empty() {
            return Ok(());
        }
        let (schools, items): (Vec<_>, Vec<_>) = items.into_iter().unzip();
        let batch = pb::SessionBatch {
            items,
            correction: Some(correction("checked with the tutor")),
            ..pb::SessionBatch::default()
        };
        let result = self.world.record_batch(batch).await?;
        if let Some(rejection) = result.rejections.first() {
            return Err(rejection.into());
        }
        self.sent.extend(marks.clone());
        self.warned.retain(|register, _| !marks.contains_key(register));
        for warning in result.warnings {
            if warning.reason != "CODE_OUTSIDE_VALIDITY" {
                continue;
            }
            let session = warning.session.expect("the session of a warning");
            let date = session.date.expect("the date of a session");
            let place = Place {
                date: RawDate {
                    year: date.year,
                    month: date.month.unsigned_abs(),
                    day: date.day.unsigned_abs(),
                },
                half: if session.half == i32::from(pb::SessionHalf::Am) {
                    Half::Am
                } else {
                    Half::Pm
                },
            };
            let school = schools[usize::try_from(warning.item_index).expect("a place in the batch")].clone();
            self.warned.insert((school, place), code_name(warning.code));
        }
        Ok(())
    }

    fn item(&self, school: &str, place: Place, marks: Vec<i32>) -> pb::SessionItem {
        let half = match place.half {
            Half::Am => pb::SessionHalf::Am.into(),
            Half::Pm => pb::SessionHalf::Pm.into(),
            Half::None => NO_HALF,
        };
        pb::SessionItem {
            pupil: Some(by_id(&self.pupil_id)),
            first_session: Some(pb::Session {
                date: Some(date(place.date)),
                half,
            }),
            marks,
            // A pupil of one school needs none.
            school: match self.schools.len() {
                1 => String::new(),
                _ => self.schools[school].clone(),
            },
            correction: None,
        }
    }

    /// The UUID of the enrolment that an expectation names: by the place from 1, by the beginning of its line, or, of several
    /// at one school, the one on roll on a day. Nothing where none or several are meant.
    pub fn enrolment_named(&self, name: &str, day: NaiveDate) -> Option<&str> {
        if let Some(place) = name.parse::<usize>().ok().and_then(|place| place.checked_sub(1)) {
            return Some(self.enrolments.get(place)?.id.as_str());
        }
        let meant = |enrolled: &&Enrolled| enrolled.school == name || enrolled.line.starts_with(name);
        let meant: Vec<_> = self.enrolments.iter().filter(meant).collect();
        if let [one] = meant[..] {
            return Some(&one.id);
        }
        let on_roll = |enrolled: &&&Enrolled| {
            enrolled.from.is_some_and(|from| from <= day) && enrolled.to.is_none_or(|to| day <= to)
        };
        match meant.iter().filter(on_roll).collect::<Vec<_>>()[..] {
            [one] => Some(&one.id),
            _ => None,
        }
    }

    /// The codes that stand at a session, in every register of the case.
    pub fn sent(&self, place: Place) -> Vec<String> {
        let at = self.sent.iter().filter(|((_, of), _)| *of == place);
        let codes = at.filter_map(|(_, mark)| match mark {
            Mark::Code(code) => Some(code.as_str().to_owned()),
            Mark::None | Mark::Unknown => None,
        });
        let mut codes: Vec<_> = codes.collect();
        codes.sort();
        codes
    }

    /// The marks whose codes the service has warned of, as the notation writes them.
    pub fn warnings(&self) -> Vec<String> {
        let mut by_session: Vec<_> = self
            .warned
            .iter()
            .map(|((school, place), code)| (place, school, code))
            .collect();
        by_session.sort();
        by_session
            .into_iter()
            .map(|(place, _, code)| format!("{place} {code}"))
            .collect()
    }
}

/// A date as the contract writes it, which there may not be.
fn date(raw: RawDate) -> pb::Date {
    let number = |number: u32| i32::try_from(number).expect("two digits");
    pb::Date {
        year: raw.year,
        month: number(raw.month),
        day: number(raw.day),
    }
}

/// A code as a register writes it.
pub fn code_name(number: i32) -> String {
    let byte = u8::try_from(number).ok();
    let code = byte.and_then(graduated_response::domain::code::AttendanceCode::from_byte);
    code.map_or_else(|| format!("code {number}"), |code| code.as_str().to_owned())
}

/// Whether a code counts as not possible.
pub fn is_not_possible(number: i32) -> bool {
    use graduated_response::domain::code::{AttendanceCode, Category};
    let code = u8::try_from(number).ok().and_then(AttendanceCode::from_byte);
    code.is_some_and(|code| code.category() == Category::NotPossible)
}
