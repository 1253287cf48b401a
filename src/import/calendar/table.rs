//! CSV: `start,end,kind,label`, with or without a header.

use super::entries::{Entry, Found};
use super::{CalendarFileError, ENTRIES_MAX, NotUnderstoodReason, label, shown};
use crate::domain::session::AcademicYear;
use crate::import::date_column::DateColumn;
use crate::import::dates::{Stamp, YearSource};
use crate::import::fold;
use crate::import::table::{DELIMITERS, Row, declared_delimiter, split};

const START: [&str; 6] = ["start", "startdate", "from", "date", "first", "firstday"];
const END: [&str; 6] = ["end", "enddate", "to", "until", "last", "lastday"];
const KIND: [&str; 3] = ["kind", "type", "category"];
const LABEL: [&str; 7] = ["label", "name", "description", "title", "summary", "event", "subject"];

/// Which column holds what.
struct Columns {
    start: usize,
    end: Option<usize>,
    kind: Option<usize>,
    label: Option<usize>,
}

impl Columns {
    /// The order that is meant where no header says another.
    const PLAIN: Columns = Columns {
        start: 0,
        end: Some(1),
        kind: Some(2),
        label: Some(3),
    };

    fn of_header(row: &Row) -> Option<Columns> {
        let headers: Vec<String> = row
            .cells
            .iter()
            .map(|cell| {
                fold(cell)
                    .chars()
                    .filter(|character| character.is_alphanumeric())
                    .collect()
            })
            .collect();
        let column = |names: &[&str]| headers.iter().position(|header| names.contains(&header.as_str()));
        let columns = Columns {
            start: column(&START)?,
            end: column(&END),
            kind: column(&KIND),
            label: column(&LABEL),
        };
        (columns.kind.is_some() || columns.label.is_some()).then_some(columns)
    }
}

/// Reads the rows of a table.
pub(super) fn read(text: &str, year: AcademicYear) -> Result<Found, CalendarFileError> {
    let (declared, skip) = declared_delimiter(text).map_or((None, 0), |(delimiter, bytes)| (Some(delimiter), bytes));
    let body = &text[skip..];
    let first = body.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let delimiter = declared.unwrap_or_else(|| {
        // Of the same number of two, the first: a comma.
        let counted = DELIMITERS
            .iter()
            .rev()
            .map(|delimiter| (first.matches(*delimiter).count(), *delimiter));
        counted
            .max_by_key(|(count, _)| *count)
            .map_or(',', |(_, delimiter)| delimiter)
    });
    let mut rows = split(body, delimiter, ENTRIES_MAX + 100);
    if rows.len() > ENTRIES_MAX {
        return Err(CalendarFileError::TooManyEntries);
    }
    if skip > 0 {
        for row in &mut rows {
            row.line += 1;
        }
    }
    let mut rows = rows.into_iter().filter(|row| !row.is_blank()).peekable();
    let head = rows.peek().ok_or(CalendarFileError::NoEntries)?;
    let columns = match Columns::of_header(head) {
        Some(columns) => {
            rows.next();
            columns
        }
        None if Stamp::parse(head.cell(0)).is_some_and(|stamp| stamp.date.is_some()) => Columns::PLAIN,
        None => return Err(CalendarFileError::UnknownFormat),
    };
    let rows: Vec<Row> = rows.collect();
    entries(&rows, &columns, year)
}

fn entries(rows: &[Row], columns: &Columns, year: AcademicYear) -> Result<Found, CalendarFileError> {
    let years = YearSource {
        range: None,
        academic_year: Some(year),
    };
    let end_of = |row: &'_ Row| columns.end.map_or(String::new(), |column| row.cell(column).to_owned());
    let ends: Vec<String> = rows.iter().map(end_of).collect();
    let starts = rows.iter().map(|row| row.cell(columns.start));
    let texts = starts
        .chain(ends.iter().map(String::as_str))
        .filter(|text| !text.is_empty());
    // One order of day and month for the whole file.
    let dates = DateColumn::read(texts, None, &years);
    let mut found = Found::default();
    for (row, end) in rows.iter().zip(&ends) {
        let cell = |column: Option<usize>| column.map_or("", |column| row.cell(column));
        let (kind, name) = (cell(columns.kind), shown(cell(columns.label)));
        if row.broken {
            found.refuse(row.line, "", NotUnderstoodReason::Line);
            continue;
        }
        let first = dates.cell(row.cell(columns.start));
        let last = if end.is_empty() { first } else { dates.cell(end) };
        let (Ok(first), Ok(last)) = (first, last) else {
            found.refuse(row.line, &name, NotUnderstoodReason::Date);
            continue;
        };
        if kind.is_empty() && name.is_empty() {
            found.refuse(row.line, "", NotUnderstoodReason::NoLabel);
            continue;
        }
        let Some(meaning) = label::meaning_of_kind(kind, &name) else {
            found.refuse(row.line, &name, NotUnderstoodReason::UnknownKind);
            continue;
        };
        found.add(Entry {
            line: row.line,
            first: first.date,
            last: last.date,
            label: if name.is_empty() { shown(kind) } else { name },
            meaning,
        })?;
    }
    Ok(found)
}
