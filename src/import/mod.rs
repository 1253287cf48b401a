//! Reading the CSV files that management information systems write: bytes in, pupils and marks out.
//!
//! No system publishes a fixed layout and users choose their own columns. So the columns are found by their headers, the
//! mapping is there to be shown, and a mapping file overrides it. Nothing is dropped in silence: a row, or a mark of a
//! row, that is not taken is in [`Import::refused`] with its line, column and reason; a row that holds no pupil is in
//! [`Import::skipped`].

pub mod calendar;
mod date_column;
pub mod dates;
mod encoding;
mod fields;
mod header;
mod identity;
mod layout;
mod mapping;
pub mod marks;
mod pupils;
mod report;
mod rows;
pub mod table;
mod title;

#[cfg(test)]
mod tests;

pub use encoding::{TextEncoding, decode};
pub use fields::{Field, fold};
pub use layout::{Layout, SessionColumn, SessionProblem};
pub use mapping::{ColumnName, FoundBy, MappedColumn, Mapping, MappingFile, MappingFileError};
pub use pupils::{ImportedEnrolment, ImportedPupil, SchoolReference};
pub use report::{Column, ImportWarning, Reason, RefusedRow, Skipped, SkippedRow, WarningKind};

use chrono::NaiveDate;

use crate::domain::code::AttendanceCode;
use crate::domain::identifiers::Urn;
use crate::domain::session::{AcademicYear, Session};
use date_column::DateColumn;
use dates::YearSource;
use header::Header;
use table::Row;

/// The most bytes of a file.
pub const FILE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What a caller knows about a file that the file may not say.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// What the user says about the columns.
    pub mapping: MappingFile,
    /// The academic year of dates that are written without a year, where no title says it.
    pub academic_year: Option<AcademicYear>,
    /// Whether the management information system is named, so that its identifiers can be used.
    pub has_source: bool,
    /// The school of rows that do not say it.
    pub school: Option<Urn>,
}

/// A file that cannot be read as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Larger than [`FILE_BYTES_MAX`].
    #[error("the file is larger than {} MiB: split it", FILE_BYTES_MAX / 1024 / 1024)]
    TooLarge,
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// Something else under the name of a CSV.
    #[error("the file is {what}: open it in the program that wrote it and save it as CSV")]
    NotText {
        /// What it is.
        what: &'static str,
    },
    /// Cut, or not in the encoding that its first bytes name.
    #[error("the file says that it is {encoding} and is not, or has been cut: export it again")]
    Encoding {
        /// The encoding that it names.
        encoding: &'static str,
    },
    /// No row looks like a header.
    #[error(
        "no header was found: the first row with two known headers is taken for it, and the first {} rows have none; add one, \
         or give header_line in a mapping file",
        header::HEADER_ROWS_MAX
    )]
    NoHeader,
    /// No column names the pupils.
    #[error(
        "no column names the pupils: a UPN column is needed, or one of the system's own identifiers together with --source; \
         name the column under [columns] in a mapping file"
    )]
    NoPupilColumn,
    /// Marks whose session cannot be told.
    #[error("the file has a {what}: add it, or name the column under [columns] in a mapping file")]
    Incomplete {
        /// What is there and what is missing.
        what: &'static str,
    },
    /// Time, Lesson/Event, Marks.
    #[error(
        "this is a class summary (Time, Lesson/Event, Marks): it counts lessons and says no pupil's session; export the \
         statutory AM and PM marks instead"
    )]
    ClassSummary,
    /// Marks of lessons.
    #[error(
        "this is a lesson register: times of day stand where AM or PM is expected, and only the statutory AM and PM count; \
         export session marks instead"
    )]
    LessonRegister,
    /// No dates can be told.
    #[error("no column's date can be told: {problem}")]
    NoDates {
        /// Why.
        problem: SessionProblem,
    },
    /// The mapping file names a column that is not there.
    #[error("the mapping file gives `{field}` a column that the header does not have")]
    MappingColumn {
        /// The field.
        field: String,
    },
    /// A mapping made by hand with names that are none.
    #[error(transparent)]
    Mapping(#[from] MappingFileError),
    /// No row names a school, and neither does the caller.
    #[error("the file names no school: give --school with its URN")]
    NoSchool,
}

/// One mark of one pupil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportedMark {
    /// The line of the file, from 1.
    pub line: u32,
    /// The column, from 0.
    pub column: usize,
    /// The pupil's place in [`Import::pupils`].
    pub pupil: usize,
    /// The school's place in [`Import::schools`].
    pub school: usize,
    /// The session.
    pub session: Session,
    /// The code.
    pub code: AttendanceCode,
    /// Minutes late, where the file says them.
    pub minutes_late: Option<u16>,
}

/// What became of the rows of a file below its header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Rows in all, blank ones included.
    pub total: usize,
    /// Rows whose pupil was taken.
    pub taken: usize,
    /// Rows that were not taken.
    pub refused: usize,
    /// Blank rows.
    pub blank: usize,
    /// Repeated headers and titles, totals, footers and notes.
    pub skipped: usize,
    /// Sessions without a mark yet.
    pub sessions_blank: usize,
    /// Sessions before the pupil was on roll, `-`.
    pub sessions_not_on_roll: usize,
    /// Marks that stand in the file more than once, all alike.
    pub marks_repeated: usize,
}

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Import {
    /// How its marks are laid out.
    pub layout: Layout,
    /// Which column holds what.
    pub mapping: Mapping,
    /// How its bytes were read.
    pub encoding: TextEncoding,
    /// What stands between its cells.
    pub delimiter: char,
    /// The dates that its title says it covers.
    pub date_range: Option<(NaiveDate, NaiveDate)>,
    /// The schools that its rows name, or the caller for them, each once.
    pub schools: Vec<SchoolReference>,
    /// Its pupils, each once, in the order of the file.
    pub pupils: Vec<ImportedPupil>,
    /// Its marks, in the order of the file, a session of a pupil at a school once.
    pub marks: Vec<ImportedMark>,
    /// What was not taken.
    pub refused: Vec<RefusedRow>,
    /// Rows that hold no pupil.
    pub skipped: Vec<SkippedRow>,
    /// What was taken and deserves a look.
    pub warnings: Vec<ImportWarning>,
    /// The rows, counted.
    pub rows: RowCounts,
}

impl Import {
    /// A column with its header, for a message.
    pub fn column(&self, column: usize) -> Column {
        Column {
            number: column + 1,
            header: self.mapping.header(column).to_owned(),
        }
    }
}

/// Reads a file.
///
/// # Errors
///
/// An [`ImportError`] where the file cannot be read as a whole. One bad row never is such a reason.
pub fn read(bytes: &[u8], options: &ReadOptions) -> Result<Import, ImportError> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(ImportError::TooLarge);
    }
    let (text, encoding) = decode(bytes)?;
    let (delimiter, rows) = rows_of(&text, options);
    let (header, mut mapping, years) = choose_header(&rows, options)?;
    let mut warnings = Vec::new();
    let forced = options.mapping.date_order;
    if mapping.layout == Layout::Wide {
        let dates = SessionColumn::resolve(&mut mapping.sessions, forced, &years);
        if let Some(problem) = mapping.sessions.iter().find_map(|column| column.problem)
            && mapping.sessions.iter().all(|column| column.problem.is_some())
        {
            return Err(match problem {
                SessionProblem::Lesson => ImportError::LessonRegister,
                SessionProblem::Date(_) => ImportError::NoDates { problem },
            });
        }
        warn_of_order(&dates, None, &mut warnings);
    }
    for column in &mapping.duplicates {
        warnings.push(ImportWarning::of_column(
            WarningKind::DuplicateColumn,
            &mapping,
            *column,
        ));
    }
    let names_school = [Field::Urn, Field::Laestab, Field::LocalAuthority, Field::School]
        .iter()
        .any(|field| mapping.column(*field).is_some());
    if !names_school && options.school.is_none() {
        return Err(ImportError::NoSchool);
    }
    let texts = options.mapping.code_texts()?;
    let mut import = Import {
        layout: mapping.layout,
        mapping,
        encoding,
        delimiter,
        date_range: years.range,
        schools: Vec::new(),
        pupils: Vec::new(),
        marks: Vec::new(),
        refused: Vec::new(),
        skipped: Vec::new(),
        warnings,
        rows: RowCounts::default(),
    };
    rows::read_rows(&mut import, &rows, &header, options, &years, &texts)?;
    Ok(import)
}

/// The rows, parted by the delimiter that the caller or the file names, else by the one that gives the most known headers.
fn rows_of(text: &str, options: &ReadOptions) -> (char, Vec<Row>) {
    let declared = table::declared_delimiter(text);
    let named = options.mapping.delimiter.or(declared.map(|(delimiter, _)| delimiter));
    let delimiter = named.unwrap_or_else(|| {
        let score = |delimiter| {
            table::split(text, delimiter, header::HEADER_ROWS_MAX)
                .iter()
                .map(|row| header::known_headers(row, &options.mapping))
                .max()
                .unwrap_or(0)
        };
        let mut best = (',', score(','));
        for delimiter in table::DELIMITERS {
            let known = score(delimiter);
            if known > best.1 {
                best = (delimiter, known);
            }
        }
        best.0
    });
    let mut rows = table::split(text, delimiter, usize::MAX);
    if declared.is_some() {
        // The line stays, so that every other keeps its number.
        if let Some(first) = rows.first_mut() {
            first.cells.clear();
        }
    }
    (delimiter, rows)
}

/// The first row that can be a header and makes a layout; where none does, the reason why the first does not.
fn choose_header(rows: &[Row], options: &ReadOptions) -> Result<(Header, Mapping, YearSource), ImportError> {
    let mut first_problem = None;
    for header in header::candidates(rows, &options.mapping) {
        let years = YearSource {
            range: title::date_range(&rows[..header.rows.start], options.mapping.date_order),
            academic_year: options.academic_year,
        };
        let found = Mapping::detect(&header, &options.mapping).and_then(|mut mapping| {
            mapping.layout = layout::decide(&mapping, &years)?;
            Ok(mapping)
        });
        match found {
            Ok(mapping) => return Ok((header, mapping, years)),
            Err(problem) => first_problem = first_problem.or(Some(problem)),
        }
    }
    Err(first_problem.unwrap_or(ImportError::NoHeader))
}

fn warn_of_order(dates: &DateColumn, column: Option<(&Mapping, usize)>, warnings: &mut Vec<ImportWarning>) {
    let mut warn = |kind| {
        warnings.push(match column {
            Some((mapping, column)) => ImportWarning::of_column(kind, mapping, column),
            None => ImportWarning::of_file(kind),
        });
    };
    if dates.ambiguous {
        warn(WarningKind::AmbiguousDates);
    }
    if dates.mixed {
        warn(WarningKind::MixedDateOrders);
    }
}
