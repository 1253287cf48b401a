//! What has to be sent for a file: pupils with their enrolments, and runs of marks.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};

use super::report::{FileReport, NotTaken};
use crate::domain::identifiers::MisIdentifier;
use crate::domain::pupil::EnrolmentKind;
use crate::domain::session::{AcademicYear, Session, SessionHalf};
use crate::import::{Field, Import, ImportedEnrolment, WarningKind};
use crate::proto;

/// How pupils are enrolled whom the service does not know at their school.
#[derive(Clone, Copy, Debug)]
pub struct EnrolmentOptions {
    /// The first day on roll, where the file does not say it.
    pub default_start: NaiveDate,
    /// The kind, where the file does not say it.
    pub default_kind: proto::EnrolmentKind,
    /// Whether the user gave the first day: it then goes before what `-` marks show.
    pub start_is_given: bool,
}

/// The first day on roll of pupils of whom the file does not say it: the one given; else 1 September of the academic year
/// of the first mark, or the day of the first mark where that is earlier; in a file without marks 1 September of the year
/// given. Nothing where none of these is there and a pupil needs it.
pub fn default_start(import: &Import, given: Option<NaiveDate>, year: Option<AcademicYear>) -> Option<NaiveDate> {
    let first_mark = import.marks.iter().map(|mark| mark.session.date).min();
    let september = |year: AcademicYear| NaiveDate::from_ymd_opt(i32::from(year.start_year()), 9, 1);
    let of_marks = || {
        let first = first_mark?;
        Some(september(AcademicYear::containing(first)?)?.min(first))
    };
    let unneeded = || {
        let needs =
            |enrolment: &ImportedEnrolment| enrolment.admission_date.is_none() && enrolment.first_not_on_roll.is_none();
        let mut enrolments = import.pupils.iter().flat_map(|pupil| &pupil.enrolments);
        (!enrolments.any(needs)).then_some(NaiveDate::MIN)
    };
    given
        .or_else(of_marks)
        .or_else(|| year.and_then(september))
        .or_else(unneeded)
}

/// A date of the contract.
pub fn proto_date(date: NaiveDate) -> proto::Date {
    // A month and a day always fit.
    proto::Date {
        year: date.year(),
        month: i32::try_from(date.month()).unwrap_or_default(),
        day: i32::try_from(date.day()).unwrap_or_default(),
    }
}

fn date_of(date: &proto::Date) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(
        date.year,
        u32::try_from(date.month).ok()?,
        u32::try_from(date.day).ok()?,
    )
}

/// A file with its schools found.
pub struct Plan<'a> {
    /// The file.
    pub import: &'a Import,
    /// For each school of the file, the service's own; nothing where the trust has no such school.
    pub schools: &'a [Option<proto::School>],
    /// For each pupil, the keys under which the service may know them, the first the one that marks are sent under.
    pub keys: Vec<Vec<proto::PupilKey>>,
    identifiers: Vec<Vec<proto::MisIdentifier>>,
}

impl<'a> Plan<'a> {
    /// Makes the keys of the pupils. What belongs to a school that the trust does not have goes into the report.
    pub fn new(
        import: &'a Import,
        schools: &'a [Option<proto::School>],
        source: Option<&str>,
        report: &mut FileReport,
    ) -> Plan<'a> {
        let mut keys = Vec::with_capacity(import.pupils.len());
        let mut identifiers = Vec::with_capacity(import.pupils.len());
        for pupil in &import.pupils {
            let of_pupil: Vec<proto::MisIdentifier> = pupil
                .mis_ids
                .iter()
                .filter_map(|(school, value)| {
                    let school = schools.get(*school)?.as_ref()?;
                    let source = format!("{}:{}", source?, school.urn);
                    let identifier = MisIdentifier::parse(&source, value).ok()?;
                    Some(proto::MisIdentifier {
                        source: identifier.source,
                        value: identifier.value,
                    })
                })
                .collect();
            let upn = pupil
                .upn
                .iter()
                .map(|upn| proto::pupil_key::Key::Upn(upn.as_str().to_owned()));
            let mis = of_pupil.iter().cloned().map(proto::pupil_key::Key::MisIdentifier);
            keys.push(upn.chain(mis).map(|key| proto::PupilKey { key: Some(key) }).collect());
            identifiers.push(of_pupil);
        }
        let plan = Plan {
            import,
            schools,
            keys,
            identifiers,
        };
        plan.report_unknown_schools(report);
        plan
    }

    fn report_unknown_schools(&self, report: &mut FileReport) {
        let unknown = |school: usize| self.school_id(school).is_none();
        let column = [Field::Urn, Field::Laestab, Field::Establishment, Field::School]
            .iter()
            .find_map(|field| self.import.mapping.column(*field));
        let not_taken = |line| {
            NotTaken {
            line,
            column: column.map(|column| self.import.column(column)),
            reason: "UNKNOWN_SCHOOL".to_owned(),
            message: "the trust has no school with this URN, LAESTAB or name: create it first; or leave the column aside with \
                      ignore in a mapping file and give --school"
                .to_owned(),
        }
        };
        for mark in self.import.marks.iter().filter(|mark| unknown(mark.school)) {
            report.marks_not_taken += 1;
            report.not_taken.push(not_taken(mark.line));
        }
        for pupil in &self.import.pupils {
            if pupil
                .enrolments
                .iter()
                .any(|enrolment| unknown(enrolment.school) && enrolment.first_mark.is_none())
            {
                report.not_taken.push(not_taken(pupil.line));
            }
        }
    }

    /// The service's identifier of a school of the file.
    pub fn school_id(&self, school: usize) -> Option<&str> {
        let school = self.schools.get(school)?.as_ref()?;
        Some(school.school_id.as_str())
    }

    /// The pupils to send, each with its place in the file: those of whom at least one school is known. What the file does
    /// not say is left empty: about a pupil whom the service knows, that leaves what is stored.
    pub fn pupil_inputs(
        &self,
        existing: &[Option<proto::Pupil>],
        options: &EnrolmentOptions,
        report: &mut FileReport,
    ) -> Vec<(usize, proto::PupilInput)> {
        let mut inputs = Vec::new();
        for (place, pupil) in self.import.pupils.iter().enumerate() {
            let known = existing.get(place).and_then(Option::as_ref);
            let mut schools: Vec<(&ImportedEnrolment, &str)> = Vec::new();
            for enrolment in &pupil.enrolments {
                if let Some(id) = self.school_id(enrolment.school)
                    && !schools.iter().any(|(_, other)| *other == id)
                {
                    schools.push((enrolment, id));
                }
            }
            if schools.is_empty() || self.keys[place].is_empty() {
                continue;
            }
            let dual = schools.len() > 1;
            if dual && schools.iter().any(|(enrolment, _)| enrolment.kind.is_none()) {
                report.warn(WarningKind::DualRegistration, pupil.line);
            }
            let enrolments = schools
                .iter()
                .enumerate()
                .filter_map(|(order, (enrolment, school))| {
                    let kind = match (dual, order) {
                        (false, _) => options.default_kind,
                        (true, 0) => proto::EnrolmentKind::Main,
                        (true, _) => proto::EnrolmentKind::Subsidiary,
                    };
                    let known = known.map_or(&[][..], |pupil| &pupil.enrolments);
                    enrolment_to_send(enrolment, school, kind, known, options)
                })
                .collect();
            let upn = pupil.upn.as_ref().map_or("", |upn| upn.as_str());
            // The contract numbers year groups from 1.
            let year_group = pupil.year_group.and_then(|group| i32::try_from(group + 1).ok());
            let input = proto::PupilInput {
                upn: upn.to_owned(),
                mis_identifiers: self.identifiers[place].clone(),
                given_name: pupil.given_name.clone(),
                family_name: pupil.family_name.clone(),
                date_of_birth: pupil.date_of_birth.map(proto_date),
                year_group: year_group.unwrap_or_default(),
                enrolments,
            };
            inputs.push((place, input));
        }
        inputs
    }

    /// The runs of marks of the pupils that were taken: one a pupil, school and academic year, from the first mark to the
    /// last. A session between them without a mark in the file is left as it is.
    pub fn runs(&self, refused: &[bool], report: &mut FileReport) -> Vec<Run> {
        let mut registers: BTreeMap<(usize, &str, AcademicYear), BTreeMap<Session, usize>> = BTreeMap::new();
        for (place, mark) in self.import.marks.iter().enumerate() {
            let Some(school) = self.school_id(mark.school) else {
                continue;
            };
            if refused[mark.pupil] {
                report.mark_not_taken(
                    self.import,
                    place,
                    "PUPIL_NOT_TAKEN",
                    "the pupil of this mark was not taken",
                );
                continue;
            }
            let Some(year) = AcademicYear::containing(mark.session.date) else {
                continue;
            };
            let register = registers.entry((mark.pupil, school, year)).or_default();
            let first = *register.entry(mark.session).or_insert(place);
            if self.import.marks[first].code != mark.code {
                let message = "the file has another mark for this session on an earlier line, and that one is taken";
                report.mark_not_taken(self.import, place, "MARK_CONFLICT", message);
            }
        }
        registers
            .into_values()
            .map(|register| Run {
                marks: register.into_values().collect(),
            })
            .collect()
    }

    /// A run as an item of a batch.
    pub fn item(&self, run: &Run) -> Option<proto::SessionItem> {
        let marks: Vec<_> = run.marks.iter().map(|place| &self.import.marks[*place]).collect();
        let first = marks.first()?;
        let year = AcademicYear::containing(first.session.date)?;
        let start = year.index_of(first.session)?;
        let mut codes = Vec::new();
        for mark in &marks {
            let index = year.index_of(mark.session)?.checked_sub(start)?;
            if codes.len() <= index {
                codes.resize(index + 1, 0);
            }
            codes[index] = i32::from(mark.code.byte());
        }
        Some(proto::SessionItem {
            pupil: self.keys[first.pupil].first().cloned(),
            first_session: Some(proto::Session {
                date: Some(proto_date(first.session.date)),
                half: match first.session.half {
                    SessionHalf::Am => proto::SessionHalf::Am,
                    SessionHalf::Pm => proto::SessionHalf::Pm,
                }
                .into(),
            }),
            marks: codes,
            school: self.school_id(first.school)?.to_owned(),
            correction: None,
        })
    }
}

/// Marks of one pupil, school and academic year in the order of their sessions, by their places in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The places in [`Import::marks`].
    pub marks: Vec<usize>,
}

/// The enrolment to send for a pupil at a school; nothing where the service has it already, and where the file shows a
/// pupil who is not on roll yet.
fn enrolment_to_send(
    enrolment: &ImportedEnrolment,
    school: &str,
    default_kind: proto::EnrolmentKind,
    known: &[proto::Enrolment],
    options: &EnrolmentOptions,
) -> Option<proto::Enrolment> {
    let from = enrolment
        .first_mark
        .or(enrolment.admission_date)
        .or(enrolment.first_not_on_roll)
        .unwrap_or(options.default_start);
    let there = known.iter().find(|known| {
        let end = known.end_date.as_ref().and_then(date_of);
        known.school == school && end.is_none_or(|end| end >= from)
    });
    if let Some(there) = there {
        let leaving = enrolment.leaving_date.map(proto_date);
        return (leaving.is_some() && leaving != there.end_date).then(|| proto::Enrolment {
            enrolment_id: String::new(),
            end_date: leaving,
            ..there.clone()
        });
    }
    let start = match (enrolment.admission_date, enrolment.first_mark) {
        (Some(admission), _) => admission,
        (None, None) if enrolment.first_not_on_roll.is_some() => return None,
        (None, Some(first)) if enrolment.joined_with_first_mark() && !options.start_is_given => first,
        _ => options.default_start,
    };
    let kind = match enrolment.kind {
        Some(EnrolmentKind::Sole) => proto::EnrolmentKind::Sole,
        Some(EnrolmentKind::Main) => proto::EnrolmentKind::Main,
        Some(EnrolmentKind::Subsidiary) => proto::EnrolmentKind::Subsidiary,
        None => default_kind,
    };
    Some(proto::Enrolment {
        enrolment_id: String::new(),
        school: school.to_owned(),
        kind: kind.into(),
        start_date: Some(proto_date(start)),
        end_date: enrolment.leaving_date.map(proto_date),
    })
}
