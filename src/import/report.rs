//! What is said about a file: rows not taken, rows passed over, and what deserves a look. Holds no personal data.

use std::fmt;

use super::mapping::Mapping;

/// A column, for a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column {
    /// The place, from 1.
    pub number: usize,
    /// The header; empty where it has none.
    pub header: String,
}

impl fmt::Display for Column {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.header.is_empty() {
            write!(formatter, "{}", self.number)
        } else {
            let header: String = self
                .header
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .take(40)
                .collect();
            write!(formatter, "{} ({header})", self.number)
        }
    }
}

macro_rules! named {
    ($(#[$enum_doc:meta])* $enum:ident { $($(#[$doc:meta])* $name:ident = $text:literal,)* }) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $enum {
            $($(#[$doc])* $name,)*
        }

        impl $enum {
            /// The stable name.
            pub const fn as_str(self) -> &'static str {
                match self { $($enum::$name => $text,)* }
            }
        }

        impl fmt::Display for $enum {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}

named! {
    /// Why a row, or a mark of a row, was not taken.
    Reason {
        /// The quotes of the row do not match.
        UnbalancedQuote = "UNBALANCED_QUOTE",
        /// The row has more cells than the header.
        RowTooWide = "ROW_TOO_WIDE",
        /// Neither a UPN nor an identifier of the system.
        NoIdentifier = "NO_IDENTIFIER",
        /// An identifier of a system that is not named.
        NoSource = "NO_SOURCE",
        /// No school, in the row or from the caller.
        NoSchool = "NO_SCHOOL",
        /// Not the shape of a UPN.
        UpnShape = "UPN_SHAPE",
        /// A spreadsheet has turned an identifier into a number.
        SpreadsheetNumber = "SPREADSHEET_NUMBER",
        /// Not the shape of an identifier.
        MisIdShape = "MIS_ID_SHAPE",
        /// Not the shape of a URN or LAESTAB.
        SchoolShape = "SCHOOL_SHAPE",
        /// The two identifiers of the row belong to two pupils of the file.
        IdentifierConflict = "IDENTIFIER_CONFLICT",
        /// A name of more than 200 characters.
        NameTooLong = "NAME_TOO_LONG",
        /// A mark without a date.
        DateBlank = "DATE_BLANK",
        /// A date that cannot be read.
        DateUnreadable = "DATE_UNREADABLE",
        /// A date without a year, and nothing to take one from.
        DateWithoutYear = "DATE_WITHOUT_YEAR",
        /// A date whose day of the week is another.
        WeekdayDiffers = "WEEKDAY_DIFFERS",
        /// A mark without a session.
        SessionBlank = "SESSION_BLANK",
        /// A session that is neither AM nor PM.
        SessionUnreadable = "SESSION_UNREADABLE",
        /// A time of day where a session is expected.
        LessonRegister = "LESSON_REGISTER",
        /// A text that is no code.
        MarkUnknown = "MARK_UNKNOWN",
        /// A mark that begins with a digit.
        MarkLeadingDigit = "MARK_LEADING_DIGIT",
        /// Several marks for one session, or one for a day.
        MarkCount = "MARK_COUNT",
        /// Minutes late that are no number.
        MinutesUnreadable = "MINUTES_UNREADABLE",
        /// A run whose marks could fall on the wrong sessions.
        RunAmbiguous = "RUN_AMBIGUOUS",
        /// A run of more than ten marks.
        RunTooLong = "RUN_TOO_LONG",
        /// A week that does not begin on a Monday.
        WeekNotMonday = "WEEK_NOT_MONDAY",
        /// Another mark for a session that the file has marked already.
        MarkConflict = "MARK_CONFLICT",
    }
}

named! {
    /// What kind of thing deserves a look.
    WarningKind {
        /// The order of day and month is a guess.
        AmbiguousDates = "AMBIGUOUS_DATES",
        /// Some dates of a column are in another order.
        MixedDateOrders = "MIXED_DATE_ORDERS",
        /// Two columns have the header of one field; the other is read.
        DuplicateColumn = "DUPLICATE_COLUMN",
        /// The check letter of a UPN is wrong.
        UpnCheckLetter = "UPN_CHECK_LETTER",
        /// The local authority of a UPN is not known.
        UpnLocalAuthority = "UPN_LOCAL_AUTHORITY",
        /// The system's identifiers are left aside for want of its name.
        SourceMissing = "SOURCE_MISSING",
        /// A sex that is none of the known.
        SexUnknown = "SEX_UNKNOWN",
        /// A year group that is none of the known.
        YearGroupUnknown = "YEAR_GROUP_UNKNOWN",
        /// A date of birth, admission or leaving that cannot be read; the pupil is taken without it.
        PupilDateUnreadable = "PUPIL_DATE_UNREADABLE",
        /// An enrolment status that is none of the known.
        EnrolmentKindUnknown = "ENROLMENT_KIND_UNKNOWN",
        /// A whole name without a comma; its last word is taken for the family name.
        NameWithoutComma = "NAME_WITHOUT_COMMA",
        /// Rows of one pupil that give two values for a field; the first is taken.
        PupilRowsDiffer = "PUPIL_ROWS_DIFFER",
        /// Minutes late that are no number; the mark is taken.
        MinutesLateUnreadable = "MINUTES_LATE_UNREADABLE",
        /// Minutes late, which the service does not keep.
        MinutesLateNotKept = "MINUTES_LATE_NOT_KEPT",
        /// A run of fewer than ten marks; it is taken from Monday morning on.
        RunShort = "RUN_SHORT",
        /// A pupil at two schools of the file; the first is taken for the main one.
        DualRegistration = "DUAL_REGISTRATION",
    }
}

impl WarningKind {
    /// What was done, and what to look at, for a person.
    pub const fn message(self) -> &'static str {
        match self {
            WarningKind::AmbiguousDates => {
                "day and month could be either: read day first; give date_order in a mapping file if that is wrong"
            }
            WarningKind::MixedDateOrders => {
                "some dates are written in another order than the rest of their column, and are refused"
            }
            WarningKind::DuplicateColumn => {
                "the header is that of a field that another column already holds: this one is not read"
            }
            WarningKind::UpnCheckLetter => "the UPN's check letter is not what its digits give: taken as it is",
            WarningKind::UpnLocalAuthority => "the UPN's local authority number is not known: taken as it is",
            WarningKind::SourceMissing => "the system's own identifiers are not read: give --source to keep them",
            WarningKind::SexUnknown => "neither M, F, Male nor Female: left aside",
            WarningKind::YearGroupUnknown => "no year group N1, N2, R or 1 to 14: left aside",
            WarningKind::PupilDateUnreadable => "the date cannot be read: the pupil is taken without it",
            WarningKind::EnrolmentKindUnknown => "no enrolment status C, M or S: the one of --enrolment is taken",
            WarningKind::NameWithoutComma => "the whole name has no comma: its last word is taken for the family name",
            WarningKind::PupilRowsDiffer => "another row of the same pupil says something else: the first is taken",
            WarningKind::MinutesLateUnreadable => {
                "minutes late that are no whole number: the mark is taken without them"
            }
            WarningKind::MinutesLateNotKept => "minutes late are read, and the service does not keep them",
            WarningKind::RunShort => {
                "fewer than ten marks: taken from Monday morning on, the rest of the week has none yet"
            }
            WarningKind::DualRegistration => {
                "the pupil is at two schools of the file: the first is taken for the main one, the other as subsidiary"
            }
        }
    }
}

/// A row, or a mark of a row, that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// The line of the file, from 1.
    pub line: u32,
    /// The column at fault; nothing where it is the row.
    pub column: Option<Column>,
    /// Why, as a stable name.
    pub reason: Reason,
    /// What is wrong and what to change, for a person.
    pub message: String,
    /// Whether the whole row was not taken; else a mark of it, and its other marks were.
    pub whole_row: bool,
}

/// What a row is that holds no pupil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// The header, or a title above it, again: the next page.
    Repeated,
    /// A total or the foot of a report.
    Footer,
    /// One cell with a text: a group's name or a remark.
    Note,
}

/// A row that holds no pupil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkippedRow {
    /// The line of the file, from 1.
    pub line: u32,
    /// What it is.
    pub kind: Skipped,
}

/// Something that was taken and deserves a look. Warnings of one kind in one column are one, with their lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportWarning {
    /// What kind of thing.
    pub kind: WarningKind,
    /// The column; nothing where it is the file.
    pub column: Option<Column>,
    /// The first line; nothing where it is the file or the column.
    pub line: Option<u32>,
    /// How many lines.
    pub lines: usize,
}

impl ImportWarning {
    pub(super) fn of_file(kind: WarningKind) -> ImportWarning {
        ImportWarning {
            kind,
            column: None,
            line: None,
            lines: 0,
        }
    }

    pub(super) fn of_column(kind: WarningKind, mapping: &Mapping, column: usize) -> ImportWarning {
        ImportWarning {
            column: Some(Column {
                number: column + 1,
                header: mapping.header(column).to_owned(),
            }),
            ..ImportWarning::of_file(kind)
        }
    }
}
