//! The fields that a column can hold, and the headers under which management information systems print them.

use std::fmt;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// Unique pupil number.
    Upn,
    /// The identifier under which the management information system knows the pupil.
    MisId,
    /// Family name.
    FamilyName,
    /// Given name.
    GivenName,
    /// Whole name, `Surname, Forename`.
    Name,
    /// Date of birth.
    DateOfBirth,
    /// Sex. Looked at for values that are none; not kept.
    Sex,
    /// National curriculum year group.
    YearGroup,
    /// Registration form. Not kept.
    Form,
    /// Local authority number.
    LocalAuthority,
    /// Establishment number.
    Establishment,
    /// Local authority and establishment number in one.
    Laestab,
    /// Unique reference number of the school.
    Urn,
    /// The school: URN, LAESTAB or name.
    School,
    /// Whether the school is the pupil's only, main or other one.
    EnrolmentKind,
    /// The first day on roll.
    AdmissionDate,
    /// The last day on roll.
    LeavingDate,
    /// The date of a mark.
    Date,
    /// The session of a mark.
    Session,
    /// One mark.
    Mark,
    /// Minutes late. Read and checked; not kept.
    MinutesLate,
    /// A comment. Not kept.
    Comments,
    /// The Monday on which a run of marks begins.
    WeekBeginning,
    /// A run of marks.
    Marks,
    /// A time of day: the sign of a lesson register or a class summary.
    Time,
    /// A lesson: the sign of a lesson register or a class summary.
    Lesson,
}

/// Each field, its name in a mapping file, and its headers in folded form, the most wanted first.
const FIELDS: [(Field, &str, &[&str]); 26] = [
    (Field::Upn, "upn", &["upn", "unique_pupil_number", "pupil_upn"]),
    (
        Field::MisId,
        "mis_id",
        &[
            "adno",
            "admission_no",
            "admission_number",
            "mis_id",
            "student_id",
            "pupil_id",
            "person_id",
            "arbor_student_id",
            "globally_unique_student_id",
            "globally_unique_student_id_not_a_upn",
        ],
    ),
    (
        Field::FamilyName,
        "family_name",
        &[
            "legal_surname",
            "legal_last_name",
            "surname",
            "last_name",
            "family_name",
            "legal_family_name",
            "preferred_surname",
            "preferred_last_name",
        ],
    ),
    (
        Field::GivenName,
        "given_name",
        &[
            "legal_forename",
            "legal_first_name",
            "forename",
            "first_name",
            "given_name",
            "preferred_forename",
            "preferred_first_name",
            "chosen_name",
        ],
    ),
    (
        Field::Name,
        "name",
        &["name", "pupil_name", "student_name", "full_name", "pupil", "student"],
    ),
    (
        Field::DateOfBirth,
        "date_of_birth",
        &["date_of_birth", "dob", "d_o_b", "birth_date"],
    ),
    (Field::Sex, "sex", &["sex", "gender"]),
    (
        Field::YearGroup,
        "year_group",
        &[
            "year_group",
            "year_group_s_this_academic_year",
            "nc_year",
            "nc_year_s_for_today",
            "ncyearactual",
            "nc_year_actual",
            "year",
        ],
    ),
    (
        Field::Form,
        "form",
        &[
            "registration_form",
            "reg",
            "reg_group",
            "registration_group",
            "tutor_group",
            "form",
            "class",
        ],
    ),
    (
        Field::LocalAuthority,
        "local_authority",
        &["la", "lea", "la_code", "local_authority"],
    ),
    (
        Field::Establishment,
        "establishment",
        &["estab", "establishment", "establishment_number", "establishmentnumber"],
    ),
    (
        Field::Laestab,
        "laestab",
        &["laestab", "la_estab", "dfe_number", "dfe_no"],
    ),
    (Field::Urn, "urn", &["urn", "school_urn"]),
    (Field::School, "school", &["school", "school_name"]),
    (
        Field::EnrolmentKind,
        "enrolment_kind",
        &["enrolment_status", "enrol_status", "enrolment_kind"],
    ),
    (
        Field::AdmissionDate,
        "admission_date",
        &["admission_date", "date_of_admission", "date_of_entry", "entry_date"],
    ),
    (Field::LeavingDate, "leaving_date", &["leaving_date", "date_of_leaving"]),
    (
        Field::Date,
        "date",
        &["date", "session_date", "mark_date", "attendance_date"],
    ),
    (Field::Session, "session", &["session", "am_pm", "session_name"]),
    (
        Field::Mark,
        "mark",
        &["mark", "code", "attendance_code", "attendance_mark"],
    ),
    (
        Field::MinutesLate,
        "minutes_late",
        &["minutes_late", "mins_late", "late_minutes"],
    ),
    (Field::Comments, "comments", &["comments", "comment", "notes"]),
    (
        Field::WeekBeginning,
        "week_beginning",
        &["week_beginning", "week_commencing", "w_b", "w_c", "week_starting"],
    ),
    (Field::Marks, "marks", &["marks", "attendance_marks"]),
    (Field::Time, "time", &["time", "start_time", "lesson_time"]),
    (Field::Lesson, "lesson", &["lesson_event", "lesson", "event", "period"]),
];

impl Field {
    /// Every field, in the order in which a mapping is shown.
    pub fn all() -> impl Iterator<Item = Field> {
        FIELDS.iter().map(|(field, _, _)| *field)
    }

    /// The name in a mapping file.
    pub fn name(self) -> &'static str {
        FIELDS
            .iter()
            .find(|(field, _, _)| *field == self)
            .map_or("", |(_, name, _)| name)
    }

    /// The field that a mapping file names.
    pub fn from_name(name: &str) -> Option<Field> {
        FIELDS
            .iter()
            .find(|(_, known, _)| *known == name)
            .map(|(field, _, _)| *field)
    }

    /// The headers under which it is known, folded, the most wanted first.
    pub fn aliases(self) -> &'static [&'static str] {
        FIELDS
            .iter()
            .find(|(field, _, _)| *field == self)
            .map_or(&[], |(_, _, aliases)| aliases)
    }

    /// Whether the service keeps what the column holds.
    pub const fn is_kept(self) -> bool {
        !matches!(
            self,
            Field::Sex | Field::Form | Field::MinutesLate | Field::Comments | Field::Time | Field::Lesson
        )
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Whether a folded header is that of a field.
pub fn is_known_header(folded: &str) -> bool {
    FIELDS.iter().any(|(_, _, aliases)| aliases.contains(&folded))
}

/// A header in the form in which it is compared: trimmed, in small letters, without quotes, `&` as *and*, and each run of
/// spaces, dots, slashes, brackets and hyphens as one `_`, none at the ends.
pub fn fold(header: &str) -> String {
    let mut folded = String::new();
    let text = header.to_lowercase().replace('&', " and ");
    for character in text.chars() {
        match character {
            '"' | '\'' | '\u{2018}' | '\u{2019}' => {}
            ' ' | '.' | '/' | '(' | ')' | '-' | '_' | '\n' | '\r' | '\t' | '\u{a0}' | ':' => {
                if !folded.is_empty() && !folded.ends_with('_') {
                    folded.push('_');
                }
            }
            other => folded.push(other),
        }
    }
    folded.truncate(folded.trim_end_matches('_').len());
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_compared_without_case_quotes_and_punctuation() {
        for (header, folded) in [
            ("  UPN ", "upn"),
            ("\"Date of birth\"", "date_of_birth"),
            ("D.O.B.", "d_o_b"),
            ("AM/PM", "am_pm"),
            ("Year group(s) this academic year", "year_group_s_this_academic_year"),
            ("Name & Form", "name_and_form"),
            ("Admission - No", "admission_no"),
            ("Pupil's Name", "pupils_name"),
        ] {
            assert_eq!(fold(header), folded);
        }
    }

    #[test]
    fn every_header_of_the_field_table_names_its_field() {
        for (field, headers) in [
            (Field::Upn, "UPN|Unique Pupil Number|Pupil UPN"),
            (
                Field::MisId,
                "Arbor Student ID|Globally Unique Student ID|Globally Unique Student ID (not a UPN)|Adno|Admission No|\
                 Admission Number|Student ID|MIS ID|Person ID",
            ),
            (
                Field::FamilyName,
                "Surname|Legal Last Name|Last Name|Legal Surname|Preferred Surname",
            ),
            (
                Field::GivenName,
                "Forename|Legal First Name|First Name|Legal Forename|Preferred Forename|Chosen Name",
            ),
            (Field::Name, "Name|Student|Pupil|Pupil Name"),
            (Field::DateOfBirth, "Date of birth|DOB|D.O.B."),
            (Field::Sex, "Sex|Gender"),
            (
                Field::YearGroup,
                "Year group(s) this academic year|NC Year(s) for today|NCyearActual|Year|NC Year",
            ),
            (Field::Form, "Registration Form|Reg|Tutor Group|Form"),
            (Field::LocalAuthority, "LEA|LA"),
            (Field::Establishment, "Estab"),
            (Field::Laestab, "LAEstab|DfE Number"),
            (Field::Urn, "URN"),
            (Field::School, "School"),
            (Field::Date, "Date"),
            (Field::Session, "Session|AM/PM"),
            (Field::Mark, "Mark|Code|Attendance Code"),
            (Field::MinutesLate, "Minutes Late"),
            (Field::Comments, "Comments"),
            (Field::WeekBeginning, "Week Beginning"),
            (Field::Marks, "Marks"),
            (Field::Time, "Time"),
            (Field::Lesson, "Lesson/Event"),
        ] {
            for header in headers.split('|') {
                assert!(field.aliases().contains(&fold(header).as_str()), "{header}");
            }
        }
    }

    #[test]
    fn no_header_names_two_fields_and_every_field_has_a_name() {
        let mut seen = std::collections::HashSet::new();
        for field in Field::all() {
            assert_eq!(Field::from_name(field.name()), Some(field));
            for alias in field.aliases() {
                assert!(seen.insert(alias), "{alias}");
                assert_eq!(&fold(alias), alias);
            }
        }
    }
}
