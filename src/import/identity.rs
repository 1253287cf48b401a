//! What a row says about its pupil and the pupil's school.

use super::fields::{Field, fold};
use super::pupils::{PupilRow, SchoolReference};
use super::report::{Reason, WarningKind};
use super::rows::{Reader, Refusal};
use super::table::Row;
use crate::domain::identifiers::{IdentifierError, Laestab, MisIdentifier, Upn, UpnWarning, Urn};
use crate::domain::pupil::{EnrolmentKind, YEAR_GROUPS};

/// The most characters of a name.
const NAME_CHARS_MAX: usize = 200;

/// Reads the pupil of a row.
pub(super) fn read(reader: &mut Reader<'_>, row: &Row) -> Result<PupilRow, Refusal> {
    let upn = upn(reader, row)?;
    let mis_id = mis_id(reader, row, upn.is_some())?;
    if upn.is_none() && mis_id.is_none() {
        let column = reader
            .import
            .mapping
            .column(Field::Upn)
            .or(reader.import.mapping.column(Field::MisId));
        let message = "the row has neither a UPN nor an identifier of the system: a pupil without a UPN needs the latter, \
                       with --source";
        return Err((column, Reason::NoIdentifier, message.to_owned()));
    }
    let school = school(reader, row)?;
    let (given_name, family_name) = names(reader, row)?;
    if let Some((column, sex)) = reader.text(row, Field::Sex)
        && !matches!(fold(sex).as_str(), "m" | "f" | "male" | "female")
    {
        reader.warn(WarningKind::SexUnknown, Some(column), row.line);
    }
    let year_group = reader.text(row, Field::YearGroup).and_then(|(column, text)| {
        let found = year_group(text);
        if found.is_none() {
            reader.warn(WarningKind::YearGroupUnknown, Some(column), row.line);
        }
        found
    });
    let kind = reader.text(row, Field::EnrolmentKind).and_then(|(column, text)| {
        let found = enrolment_kind(text);
        if found.is_none() {
            reader.warn(WarningKind::EnrolmentKindUnknown, Some(column), row.line);
        }
        found
    });
    Ok(PupilRow {
        upn,
        mis_id,
        school: reader.school_place(school),
        given_name,
        family_name,
        date_of_birth: reader.pupil_date(row, Field::DateOfBirth),
        year_group,
        kind,
        admission_date: reader.pupil_date(row, Field::AdmissionDate),
        leaving_date: reader.pupil_date(row, Field::LeavingDate),
    })
}

/// Whether a spreadsheet has turned an identifier into a number such as `1.23E+12`.
fn is_spreadsheet_number(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    text.contains("E+") && text.parse::<f64>().is_ok()
}

fn spreadsheet(column: usize) -> Refusal {
    (
        Some(column),
        Reason::SpreadsheetNumber,
        IdentifierError::Spreadsheet.to_string(),
    )
}

fn upn(reader: &mut Reader<'_>, row: &Row) -> Result<Option<Upn>, Refusal> {
    let Some((column, text)) = reader.text(row, Field::Upn) else {
        return Ok(None);
    };
    let upn = Upn::parse(text).map_err(|error| match error {
        IdentifierError::Spreadsheet => spreadsheet(column),
        other => (Some(column), Reason::UpnShape, other.to_string()),
    })?;
    for warning in upn.iter().flat_map(Upn::warnings) {
        let kind = match warning {
            UpnWarning::CheckLetter => WarningKind::UpnCheckLetter,
            UpnWarning::UnknownLocalAuthority => WarningKind::UpnLocalAuthority,
        };
        reader.warn(kind, Some(column), row.line);
    }
    Ok(upn)
}

fn mis_id(reader: &mut Reader<'_>, row: &Row, has_upn: bool) -> Result<Option<String>, Refusal> {
    let Some((column, text)) = reader.text(row, Field::MisId) else {
        return Ok(None);
    };
    if !reader.options.has_source {
        if has_upn {
            reader.warn(WarningKind::SourceMissing, Some(column), row.line);
            return Ok(None);
        }
        let message =
            "the row has no UPN, and the identifier of a system counts only with the system's name: give --source";
        return Err((Some(column), Reason::NoSource, message.to_owned()));
    }
    if is_spreadsheet_number(text) {
        return Err(spreadsheet(column));
    }
    match MisIdentifier::parse("source", text) {
        Ok(identifier) => Ok(Some(identifier.value)),
        Err(error) => Err((Some(column), Reason::MisIdShape, error.to_string())),
    }
}

/// The school that a row names, by URN, else LAESTAB, else name; where it names none, the caller's.
fn school(reader: &Reader<'_>, row: &Row) -> Result<SchoolReference, Refusal> {
    let shape = |column: usize, error: IdentifierError| (Some(column), Reason::SchoolShape, error.to_string());
    let numbers = [
        Field::Urn,
        Field::Laestab,
        Field::LocalAuthority,
        Field::Establishment,
        Field::School,
    ];
    for (column, text) in numbers.iter().filter_map(|field| reader.text(row, *field)) {
        if is_spreadsheet_number(text) {
            return Err(spreadsheet(column));
        }
    }
    if let Some((column, text)) = reader.text(row, Field::Urn) {
        return Urn::parse(text)
            .map(SchoolReference::Urn)
            .map_err(|error| shape(column, error));
    }
    if let Some((column, text)) = reader.text(row, Field::Laestab) {
        return Laestab::parse(text)
            .map(SchoolReference::Laestab)
            .map_err(|error| shape(column, error));
    }
    if let (Some((_, authority)), Some((column, establishment))) = (
        reader.text(row, Field::LocalAuthority),
        reader.text(row, Field::Establishment),
    ) {
        return Laestab::from_parts(authority, establishment)
            .map(SchoolReference::Laestab)
            .map_err(|error| shape(column, error));
    }
    if let Some((_, text)) = reader.text(row, Field::School) {
        return Ok(match (Urn::parse(text), Laestab::parse(text)) {
            (Ok(urn), _) => SchoolReference::Urn(urn),
            (_, Ok(laestab)) => SchoolReference::Laestab(laestab),
            _ => SchoolReference::Name(text.to_owned()),
        });
    }
    match &reader.options.school {
        Some(urn) => Ok(SchoolReference::Urn(urn.clone())),
        None => Err((
            reader.import.mapping.column(Field::School),
            Reason::NoSchool,
            "the row names no school: fill its school in, or give --school".to_owned(),
        )),
    }
}

/// Given and family name, from columns of their own or from the whole name.
fn names(reader: &mut Reader<'_>, row: &Row) -> Result<(String, String), Refusal> {
    let mut given = reader.text(row, Field::GivenName);
    let mut family = reader.text(row, Field::FamilyName);
    if given.is_none()
        && family.is_none()
        && let Some((column, whole)) = reader.text(row, Field::Name)
    {
        let (surname, forename) = match whole.split_once(',') {
            Some(parts) => parts,
            None => {
                reader.warn(WarningKind::NameWithoutComma, Some(column), row.line);
                match whole.rsplit_once(' ') {
                    Some((forename, surname)) => (surname, forename),
                    None => (whole, ""),
                }
            }
        };
        family = Some((column, surname.trim()));
        given = Some((column, forename.trim()));
    }
    for (column, name) in given.iter().chain(&family) {
        if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            let message = format!("a name is at most {NAME_CHARS_MAX} characters, none of them a control character");
            return Err((Some(*column), Reason::NameTooLong, message));
        }
    }
    let text = |name: Option<(usize, &str)>| name.map_or(String::new(), |(_, name)| name.to_owned());
    Ok((text(given), text(family)))
}

/// The place of a year group in [`YEAR_GROUPS`]: `Year 5`, `5`, `R`, `N1`.
fn year_group(text: &str) -> Option<usize> {
    let folded = fold(text);
    let bare = ["year", "yr", "y"]
        .iter()
        .find_map(|word| folded.strip_prefix(word))
        .unwrap_or(&folded)
        .trim_start_matches('_');
    let bare = match bare {
        "reception" => "r",
        number => number.trim_start_matches('0'),
    };
    YEAR_GROUPS.iter().position(|group| group.eq_ignore_ascii_case(bare))
}

/// `C`, `M` and `S` are the codes of the school census: current (sole), main and subsidiary registration.
fn enrolment_kind(text: &str) -> Option<EnrolmentKind> {
    match fold(text).as_str() {
        "c" | "current" | "sole" | "single_registration" => Some(EnrolmentKind::Sole),
        "m" | "main" | "main_dual_registration" | "current_main" => Some(EnrolmentKind::Main),
        "s" | "subsidiary" | "subsidiary_dual_registration" | "current_subsidiary" => Some(EnrolmentKind::Subsidiary),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn year_groups_are_written_in_many_ways() {
        for (text, group) in [
            ("Year 5", "5"),
            ("5", "5"),
            ("05", "5"),
            ("Y11", "11"),
            ("R", "R"),
            ("Reception", "R"),
            ("n1", "N1"),
            ("Yr 14", "14"),
        ] {
            assert_eq!(year_group(text).map(|place| YEAR_GROUPS[place]), Some(group));
        }
        for text in ["15", "2025", "0", "Oak class"] {
            assert_eq!(year_group(text), None);
        }
    }
}
