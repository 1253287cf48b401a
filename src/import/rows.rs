//! From rows to pupils and marks.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{Datelike, Days, NaiveDate, Weekday};

use super::date_column::{DateColumn, DatedCell};
use super::dates::{DateProblem, YearSource};
use super::fields::{Field, fold};
use super::header::Header;
use super::layout::{Layout, SessionCellProblem, SessionProblem, session_cell};
use super::marks::{CodeTexts, MarkProblem, SessionCell, read_cell, read_day, read_week};
use super::pupils::{Conflict, PupilIndex, PupilRow, SchoolReference};
use super::report::{ImportWarning, Reason, RefusedRow, Skipped, SkippedRow, WarningKind};
use super::table::Row;
use super::{Import, ImportError, ImportedMark, ReadOptions, warn_of_order};
use crate::domain::code::AttendanceCode;
use crate::domain::session::{Session, SessionHalf};

/// Why a row, or a mark of one, is not taken: the column at fault, the reason and the message.
pub(super) type Refusal = (Option<usize>, Reason, String);

/// What a row says about one session.
struct Cell {
    column: usize,
    session: Session,
    held: SessionCell,
}

/// Reads the rows below the header into `import`.
pub(super) fn read_rows(
    import: &mut Import,
    rows: &[Row],
    header: &Header,
    options: &ReadOptions,
    years: &YearSource,
    texts: &CodeTexts,
) -> Result<(), ImportError> {
    let (above, below) = rows.split_at(header.rows.end);
    let titles: HashSet<&[String]> = above[..header.rows.start]
        .iter()
        .filter(|row| !row.is_blank())
        .map(|row| row.cells.as_slice())
        .collect();
    let repeated = |row: &Row| titles.contains(row.cells.as_slice()) || header.is_repeated_by(row, rows);
    let data: Vec<&Row> = below
        .iter()
        .filter(|row| !row.broken && !row.is_blank() && !repeated(row))
        .collect();
    refuse_lessons(import, &data)?;
    let mut reader = Reader::new(import, &data, options, years, texts);
    for row in below {
        reader.import.rows.total += 1;
        if row.broken {
            let message = "the quotes of this row do not match: close each quote, and double those inside a cell";
            reader.refuse_row(row, (None, Reason::UnbalancedQuote, message.to_owned()));
        } else if row.is_blank() {
            reader.import.rows.blank += 1;
        } else if repeated(row) {
            reader.skip(row, Skipped::Repeated);
        } else if let Some(kind) = reader.no_pupil(row) {
            reader.skip(row, kind);
        } else {
            match reader.row(row) {
                Ok(()) => reader.import.rows.taken += 1,
                Err(refusal) => reader.refuse_row(row, refusal),
            }
        }
    }
    reader.finish();
    Ok(())
}

/// A file in which every session is a time of day is a lesson register.
fn refuse_lessons(import: &Import, data: &[&Row]) -> Result<(), ImportError> {
    let Some(column) = import.mapping.column(Field::Session) else {
        return Ok(());
    };
    let mut sessions = data
        .iter()
        .map(|row| row.cell(column))
        .filter(|cell| !cell.is_empty())
        .peekable();
    let lessons =
        sessions.peek().is_some() && sessions.all(|cell| session_cell(cell) == Err(SessionCellProblem::Lesson));
    if lessons && import.layout == Layout::Long {
        return Err(ImportError::LessonRegister);
    }
    Ok(())
}

/// The fields whose columns are dates.
const DATE_FIELDS: [Field; 5] = [
    Field::Date,
    Field::WeekBeginning,
    Field::DateOfBirth,
    Field::AdmissionDate,
    Field::LeavingDate,
];

pub(super) struct Reader<'a> {
    pub(super) import: &'a mut Import,
    pub(super) options: &'a ReadOptions,
    pub(super) dates: HashMap<Field, DateColumn>,
    years: &'a YearSource,
    texts: &'a CodeTexts,
    index: PupilIndex,
    schools: HashMap<SchoolReference, usize>,
    seen: HashMap<(usize, usize, Session), AttendanceCode>,
    warnings: BTreeMap<(WarningKind, Option<usize>), (u32, usize)>,
}

impl<'a> Reader<'a> {
    fn new(
        import: &'a mut Import,
        data: &[&Row],
        options: &'a ReadOptions,
        years: &'a YearSource,
        texts: &'a CodeTexts,
    ) -> Reader<'a> {
        let mut dates = HashMap::new();
        for field in DATE_FIELDS {
            if let Some(column) = import.mapping.column(field) {
                let cells = data.iter().map(|row| row.cell(column)).filter(|cell| !cell.is_empty());
                let read = DateColumn::read(cells, options.mapping.date_order, years);
                warn_of_order(&read, Some((&import.mapping, column)), &mut import.warnings);
                dates.insert(field, read);
            }
        }
        Reader {
            import,
            options,
            dates,
            years,
            texts,
            index: PupilIndex::default(),
            schools: HashMap::new(),
            seen: HashMap::new(),
            warnings: BTreeMap::new(),
        }
    }

    fn refuse_row(&mut self, row: &Row, refusal: Refusal) {
        self.import.rows.refused += 1;
        self.refuse(row, refusal, true);
    }

    fn refuse(&mut self, row: &Row, (column, reason, message): Refusal, whole_row: bool) {
        let column = column.map(|column| self.import.column(column));
        self.import.refused.push(RefusedRow {
            line: row.line,
            column,
            reason,
            message,
            whole_row,
        });
    }

    fn skip(&mut self, row: &Row, kind: Skipped) {
        self.import.rows.skipped += 1;
        self.import.skipped.push(SkippedRow { line: row.line, kind });
    }

    pub(super) fn warn(&mut self, kind: WarningKind, column: Option<usize>, line: u32) {
        let entry = self.warnings.entry((kind, column)).or_insert((line, 0));
        entry.1 += 1;
    }

    fn finish(self) {
        for ((kind, column), (line, lines)) in self.warnings {
            let column = column.map(|column| self.import.column(column));
            self.import.warnings.push(ImportWarning {
                kind,
                column,
                line: Some(line),
                lines,
            });
        }
    }

    /// The text of a field in a row, with its column; nothing where it is blank or the file has no such column.
    pub(super) fn text<'row>(&self, row: &'row Row, field: Field) -> Option<(usize, &'row str)> {
        let column = self.import.mapping.column(field)?;
        let cell = row.cell(column);
        (!cell.is_empty()).then_some((column, cell))
    }

    /// The place of a school among those of the file.
    pub(super) fn school_place(&mut self, school: SchoolReference) -> usize {
        let schools = &mut self.import.schools;
        *self.schools.entry(school).or_insert_with_key(|school| {
            schools.push(school.clone());
            schools.len() - 1
        })
    }

    /// What a row is that holds no pupil: a total, a footer, or one cell with a text.
    fn no_pupil(&self, row: &Row) -> Option<Skipped> {
        const FOOTERS: [&str; 17] = [
            "total",
            "totals",
            "sub_total",
            "subtotal",
            "grand_total",
            "page",
            "printed",
            "report",
            "generated",
            "end_of",
            "average",
            "count",
            "number_of",
            "summary",
            "key",
            "exported",
            "percentage",
        ];
        let identified = self
            .text(row, Field::Upn)
            .is_some_and(|(_, upn)| upn.len() == 13 && upn[..].bytes().skip(1).take(11).all(|b| b.is_ascii_digit()));
        if identified {
            return None;
        }
        let mut filled = row.filled();
        let (column, first) = filled.next()?;
        let alone = filled.next().is_none();
        let folded = fold(first);
        let footer = FOOTERS.iter().any(|word| {
            folded
                .strip_prefix(word)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        });
        if footer && !first.contains(',') {
            return Some(Skipped::Footer);
        }
        // A name or an identifier alone is a pupil's row, and has to be answered for.
        let keyed = [Field::Upn, Field::MisId, Field::Name, Field::FamilyName]
            .iter()
            .any(|field| self.import.mapping.column(*field) == Some(column));
        let remark = !keyed || (!first.contains(',') && first.split_whitespace().count() > 1);
        (alone && remark && self.import.mapping.headers.len() > 1).then_some(Skipped::Note)
    }

    fn row(&mut self, row: &Row) -> Result<(), Refusal> {
        let width = self.import.mapping.headers.len();
        if let Some((column, _)) = row.filled().find(|(column, _)| *column >= width) {
            let message = "the row has more cells than the header: put a cell that holds a comma in quotes";
            return Err((Some(column), Reason::RowTooWide, message.to_owned()));
        }
        let pupil = self.pupil(row)?;
        let (cells, refusals) = match self.import.layout {
            Layout::Long => (self.long(row)?, Vec::new()),
            Layout::Weekly => (self.weekly(row)?, Vec::new()),
            Layout::Wide => self.wide(row),
            Layout::Pupils => (Vec::new(), Vec::new()),
        };
        let school = pupil.school;
        let (place, differs) = self
            .index
            .place(&mut self.import.pupils, pupil, row.line)
            .map_err(|Conflict| {
                let message = "the UPN and the system's identifier of this row belong to two pupils of the file";
                (
                    self.import.mapping.column(Field::MisId),
                    Reason::IdentifierConflict,
                    message.to_owned(),
                )
            })?;
        if differs {
            self.warn(WarningKind::PupilRowsDiffer, None, row.line);
        }
        for refusal in refusals {
            self.refuse(row, refusal, false);
        }
        for cell in cells {
            self.take(row, place, school, &cell)?;
        }
        Ok(())
    }

    /// Takes what a row says about one session.
    fn take(&mut self, row: &Row, pupil: usize, school: usize, cell: &Cell) -> Result<(), Refusal> {
        let date = cell.session.date;
        let enrolment = self.import.pupils[pupil]
            .enrolments
            .iter_mut()
            .find(|enrolment| enrolment.school == school);
        let (code, minutes_late) = match cell.held {
            SessionCell::Blank => {
                self.import.rows.sessions_blank += 1;
                return Ok(());
            }
            SessionCell::NotOnRoll => {
                self.import.rows.sessions_not_on_roll += 1;
                if let Some(enrolment) = enrolment {
                    enrolment.first_not_on_roll =
                        Some(enrolment.first_not_on_roll.map_or(date, |first| first.min(date)));
                }
                return Ok(());
            }
            SessionCell::Mark { code, minutes_late } => (code, minutes_late),
        };
        match self.seen.get(&(pupil, school, cell.session)) {
            Some(known) if *known == code => {
                self.import.rows.marks_repeated += 1;
                return Ok(());
            }
            Some(_) => {
                let message = "the file has another mark for this session of this pupil on an earlier line, and that one is taken";
                let refusal = (Some(cell.column), Reason::MarkConflict, message.to_owned());
                if self.import.layout == Layout::Long {
                    return Err(refusal);
                }
                self.refuse(row, refusal, false);
                return Ok(());
            }
            None => {}
        }
        self.seen.insert((pupil, school, cell.session), code);
        if let Some(enrolment) = enrolment {
            enrolment.first_mark = Some(enrolment.first_mark.map_or(date, |first| first.min(date)));
        }
        if minutes_late.is_some() {
            self.warn(WarningKind::MinutesLateNotKept, None, row.line);
        }
        self.import.marks.push(ImportedMark {
            line: row.line,
            column: cell.column,
            pupil,
            school,
            session: cell.session,
            code,
            minutes_late,
        });
        Ok(())
    }

    /// One mark, with its date and session.
    fn long(&mut self, row: &Row) -> Result<Vec<Cell>, Refusal> {
        let Some((column, text)) = self.text(row, Field::Mark) else {
            self.import.rows.sessions_blank += 1;
            return Ok(Vec::new());
        };
        let mut held = read_cell(text, self.texts).map_err(|problem| mark_refusal(column, &problem))?;
        let (date, date_half) = match self.text(row, Field::Date) {
            Some((date_column, text)) => {
                let cell = self
                    .date(Field::Date, text)
                    .map_err(|problem| date_refusal(date_column, problem))?;
                if cell.clock && self.import.mapping.column(Field::Session).is_none() {
                    return Err(lesson_refusal(date_column));
                }
                (cell.date, cell.half)
            }
            None => match (self.import.mapping.column(Field::Date), self.years.range) {
                (None, Some((first, last))) if first == last => (first, None),
                (date_column, _) => {
                    let message = "the row has a mark and no date".to_owned();
                    return Err((date_column, Reason::DateBlank, message));
                }
            },
        };
        let half = match self.import.mapping.column(Field::Session) {
            Some(session_column) => {
                session_cell(row.cell(session_column)).map_err(|problem| session_refusal(session_column, problem))?
            }
            None => date_half.ok_or_else(|| {
                let message = "the row has a mark and no session: add a column with AM or PM";
                (
                    self.import.mapping.column(Field::Date),
                    Reason::SessionBlank,
                    message.to_owned(),
                )
            })?,
        };
        if let Some((minutes_column, text)) = self.text(row, Field::MinutesLate)
            && let SessionCell::Mark { minutes_late, .. } = &mut held
        {
            match text.parse() {
                Ok(minutes) => *minutes_late = minutes_late.or(Some(minutes)),
                Err(_) => {
                    self.warn(WarningKind::MinutesLateUnreadable, Some(minutes_column), row.line);
                }
            }
        }
        Ok(vec![Cell {
            column,
            session: Session { date, half },
            held,
        }])
    }

    /// A week's run of marks, from Monday morning on.
    fn weekly(&mut self, row: &Row) -> Result<Vec<Cell>, Refusal> {
        let Some(column) = self.import.mapping.column(Field::Marks) else {
            return Ok(Vec::new());
        };
        // As it stands in the file: spaces at its beginning may be sessions without a mark.
        let run = row.cells.get(column).map_or("", String::as_str);
        if run.trim().is_empty() {
            self.import.rows.sessions_blank += 10;
            return Ok(Vec::new());
        }
        let held = read_week(run, self.texts).map_err(|problem| mark_refusal(column, &problem))?;
        let week_column = self.import.mapping.column(Field::WeekBeginning);
        let monday = match (self.text(row, Field::WeekBeginning), self.years.range) {
            (Some((week_column, text)), _) => {
                self.date(Field::WeekBeginning, text)
                    .map_err(|problem| date_refusal(week_column, problem))?
                    .date
            }
            (None, Some((first, _))) if week_column.is_none() => first,
            _ => {
                let message = "the row has marks and no date of the week's beginning".to_owned();
                return Err((week_column, Reason::DateBlank, message));
            }
        };
        if monday.weekday() != Weekday::Mon {
            let message = "the week does not begin on a Monday, so that the marks could fall on the wrong days: give \
                           the Monday of the week";
            return Err((week_column, Reason::WeekNotMonday, message.to_owned()));
        }
        let untaken = 10 - held.len();
        let cells: Vec<Cell> = held
            .into_iter()
            .zip(0_u64..)
            .map(|(held, place)| Cell {
                column,
                session: Session {
                    date: monday + Days::new(place / 2),
                    half: if place % 2 == 0 {
                        SessionHalf::Am
                    } else {
                        SessionHalf::Pm
                    },
                },
                held,
            })
            .collect();
        let shifted = cells.iter().any(|cell| match cell.held {
            SessionCell::Mark { code, .. } => code.in_wrong_half(cell.session.half),
            _ => false,
        });
        if untaken > 0 && shifted {
            let message = "the run has fewer than ten marks, and a / would fall on an afternoon or a \\ on a morning: a mark \
                           has been lost (a \\ is easily eaten on the way) or the run does not begin on Monday morning";
            return Err((Some(column), Reason::RunAmbiguous, message.to_owned()));
        }
        self.import.rows.sessions_blank += untaken;
        if untaken > 0 {
            self.warn(WarningKind::RunShort, Some(column), row.line);
        }
        Ok(cells)
    }

    /// A session a column: a mark that cannot be read is refused, and the others of the row are taken.
    fn wide(&self, row: &Row) -> (Vec<Cell>, Vec<Refusal>) {
        let mut cells = Vec::new();
        let mut refusals = Vec::new();
        for session in &self.import.mapping.sessions {
            let column = session.column;
            let text = row.cell(column);
            let held = match session.half {
                _ if text.is_empty() => Ok(vec![SessionCell::Blank]),
                Some(_) => read_cell(text, self.texts).map(|cell| vec![cell]),
                None => read_day(text, self.texts),
            };
            match (held, session.date, session.problem) {
                (Ok(held), Some(date), None) => {
                    let first = session.half.unwrap_or(SessionHalf::Am);
                    let halves = [first, SessionHalf::Pm];
                    cells.extend(held.into_iter().zip(halves).map(|(held, half)| Cell {
                        column,
                        session: Session { date, half },
                        held,
                    }));
                }
                (_, _, Some(_)) if text.is_empty() => {}
                (_, _, Some(SessionProblem::Lesson)) => refusals.push(lesson_refusal(column)),
                (_, _, Some(SessionProblem::Date(problem))) => {
                    refusals.push(date_refusal(column, problem));
                }
                (Err(problem), _, None) => refusals.push(mark_refusal(column, &problem)),
                (Ok(_), None, None) => {
                    refusals.push(date_refusal(column, DateProblem::NoYear));
                }
            }
        }
        (cells, refusals)
    }

    pub(super) fn date(&self, field: Field, text: &str) -> Result<DatedCell, DateProblem> {
        self.dates
            .get(&field)
            .map_or(Err(DateProblem::NoYear), |column| column.cell(text))
    }

    /// The date of a field that a pupil is taken without where it cannot be read.
    pub(super) fn pupil_date(&mut self, row: &Row, field: Field) -> Option<NaiveDate> {
        let (column, text) = self.text(row, field)?;
        match self.date(field, text) {
            Ok(cell) => Some(cell.date),
            Err(_) => {
                self.warn(WarningKind::PupilDateUnreadable, Some(column), row.line);
                None
            }
        }
    }

    fn pupil(&mut self, row: &Row) -> Result<PupilRow, Refusal> {
        super::identity::read(self, row)
    }
}

fn lesson_refusal(column: usize) -> Refusal {
    let message = SessionProblem::Lesson.to_string();
    (Some(column), Reason::LessonRegister, message)
}

fn date_refusal(column: usize, problem: DateProblem) -> Refusal {
    let reason = match problem {
        DateProblem::NoYear | DateProblem::OutsideRange => Reason::DateWithoutYear,
        DateProblem::Weekday => Reason::WeekdayDiffers,
        DateProblem::Unreadable(_) | DateProblem::OutOfBounds => Reason::DateUnreadable,
    };
    (Some(column), reason, problem.to_string())
}

fn session_refusal(column: usize, problem: SessionCellProblem) -> Refusal {
    match problem {
        SessionCellProblem::Lesson => lesson_refusal(column),
        SessionCellProblem::Blank => (
            Some(column),
            Reason::SessionBlank,
            "the row has a mark and no session: write AM or PM".to_owned(),
        ),
        SessionCellProblem::Unreadable => (
            Some(column),
            Reason::SessionUnreadable,
            "a session is AM, Morning, A or 1, or PM, Afternoon, P or 2".to_owned(),
        ),
    }
}

fn mark_refusal(column: usize, problem: &MarkProblem) -> Refusal {
    let reason = match problem {
        MarkProblem::Unknown(_) => Reason::MarkUnknown,
        MarkProblem::LeadingDigit => Reason::MarkLeadingDigit,
        MarkProblem::Several(_) | MarkProblem::NotTwo => Reason::MarkCount,
        MarkProblem::Minutes => Reason::MinutesUnreadable,
        MarkProblem::Grouping | MarkProblem::Gap => Reason::RunAmbiguous,
        MarkProblem::TooLong(_) => Reason::RunTooLong,
    };
    (Some(column), reason, problem.to_string())
}
