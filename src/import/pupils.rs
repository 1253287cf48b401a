//! The pupils of a file, each once, however many rows they have.

use std::collections::HashMap;

use chrono::NaiveDate;

use crate::domain::identifiers::{Laestab, Upn, Urn};
use crate::domain::pupil::EnrolmentKind;

/// A school as a row names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SchoolReference {
    /// By its unique reference number.
    Urn(Urn),
    /// By local authority and establishment number.
    Laestab(Laestab),
    /// By its name.
    Name(String),
}

/// A pupil at a school, as the rows of a file tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedEnrolment {
    /// The school's place in [`super::Import::schools`].
    pub school: usize,
    /// Sole, main or subsidiary, where the file says it.
    pub kind: Option<EnrolmentKind>,
    /// The first day on roll, where the file says it.
    pub admission_date: Option<NaiveDate>,
    /// The last day on roll, where the file says it.
    pub leaving_date: Option<NaiveDate>,
    /// The date of the first mark.
    pub first_mark: Option<NaiveDate>,
    /// The first date with a `-`: the pupil was not on roll yet.
    pub first_not_on_roll: Option<NaiveDate>,
}

impl ImportedEnrolment {
    /// Whether the file shows that the pupil joined on the day of the first mark: a `-` stands before it.
    pub fn joined_with_first_mark(&self) -> bool {
        matches!((self.first_not_on_roll, self.first_mark), (Some(off), Some(on)) if off < on)
    }
}

/// A pupil of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportedPupil {
    /// The line of the pupil's first row, from 1.
    pub line: u32,
    /// The unique pupil number; nothing where there is none.
    pub upn: Option<Upn>,
    /// The system's identifiers, each with the place in [`super::Import::schools`] of the school that numbers so.
    pub mis_ids: Vec<(usize, String)>,
    /// Given name; empty where the file has none.
    pub given_name: String,
    /// Family name; empty where the file has none.
    pub family_name: String,
    /// Date of birth.
    pub date_of_birth: Option<NaiveDate>,
    /// The place in [`crate::domain::pupil::YEAR_GROUPS`].
    pub year_group: Option<usize>,
    /// The schools at which the rows show the pupil, in the order of the file.
    pub enrolments: Vec<ImportedEnrolment>,
}

/// What a row says about its pupil.
#[derive(Clone, Debug, Default)]
pub(super) struct PupilRow {
    pub upn: Option<Upn>,
    pub mis_id: Option<String>,
    pub school: usize,
    pub given_name: String,
    pub family_name: String,
    pub date_of_birth: Option<NaiveDate>,
    pub year_group: Option<usize>,
    pub kind: Option<EnrolmentKind>,
    pub admission_date: Option<NaiveDate>,
    pub leaving_date: Option<NaiveDate>,
}

/// The two identifiers of a row belong to two pupils.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conflict;

/// Finds the pupil of a row.
#[derive(Debug, Default)]
pub(super) struct PupilIndex {
    by_upn: HashMap<Upn, usize>,
    by_mis_id: HashMap<(usize, String), usize>,
}

impl PupilIndex {
    /// The place of the row's pupil, who is added where the file did not have them yet; and whether a field of the row
    /// differs from what an earlier row of the pupil said.
    pub fn place(
        &mut self,
        pupils: &mut Vec<ImportedPupil>,
        row: PupilRow,
        line: u32,
    ) -> Result<(usize, bool), Conflict> {
        let mis_key = row.mis_id.clone().map(|value| (row.school, value));
        let by_upn = row.upn.as_ref().and_then(|upn| self.by_upn.get(upn));
        let by_mis_id = mis_key.as_ref().and_then(|key| self.by_mis_id.get(key));
        let place = match (by_upn, by_mis_id) {
            (Some(one), Some(other)) if one != other => return Err(Conflict),
            (Some(place), _) => *place,
            (None, Some(place)) => {
                // Found by the system's identifier alone: the pupil cannot have another UPN.
                if row.upn.is_some() && pupils[*place].upn.is_some() {
                    return Err(Conflict);
                }
                *place
            }
            (None, None) => {
                pupils.push(ImportedPupil {
                    line,
                    ..ImportedPupil::default()
                });
                pupils.len() - 1
            }
        };
        let pupil = &mut pupils[place];
        if let Some(upn) = row.upn {
            self.by_upn.insert(upn.clone(), place);
            pupil.upn = Some(upn);
        }
        if let Some(key) = mis_key
            && self.by_mis_id.insert(key.clone(), place).is_none()
        {
            pupil.mis_ids.push(key);
        }
        let mut differs = fill_text(&mut pupil.given_name, row.given_name);
        differs |= fill_text(&mut pupil.family_name, row.family_name);
        differs |= fill(&mut pupil.date_of_birth, row.date_of_birth);
        differs |= fill(&mut pupil.year_group, row.year_group);
        let school = row.school;
        let enrolment = match pupil.enrolments.iter().position(|enrolment| enrolment.school == school) {
            Some(known) => &mut pupil.enrolments[known],
            None => {
                pupil.enrolments.push(ImportedEnrolment {
                    school,
                    kind: None,
                    admission_date: None,
                    leaving_date: None,
                    first_mark: None,
                    first_not_on_roll: None,
                });
                let last = pupil.enrolments.len() - 1;
                &mut pupil.enrolments[last]
            }
        };
        differs |= fill(&mut enrolment.kind, row.kind);
        differs |= fill(&mut enrolment.admission_date, row.admission_date);
        differs |= fill(&mut enrolment.leaving_date, row.leaving_date);
        Ok((place, differs))
    }
}

/// Fills what is empty. True where something else is there already.
fn fill<T: PartialEq>(place: &mut Option<T>, value: Option<T>) -> bool {
    match (&place, value) {
        (None, value) => {
            *place = value;
            false
        }
        (Some(_), None) => false,
        (Some(known), Some(value)) => *known != value,
    }
}

fn fill_text(place: &mut String, value: String) -> bool {
    if place.is_empty() {
        *place = value;
        return false;
    }
    !value.is_empty() && *place != value
}
