//! Finding the header: below titles and parameters, in one row or in two.

use super::dates::{Stamp, half, half_name};
use super::fields::{fold, is_known_header};
use super::mapping::MappingFile;
use super::table::Row;

/// How many rows are searched for a header.
pub const HEADER_ROWS_MAX: usize = 100;

/// The header of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The line of the file on which it begins, from 1.
    pub line: u32,
    /// The headers by column. Where two rows make the header, dates over AM and PM, each is the two together.
    pub cells: Vec<String>,
    /// The rows that make the header, by place: one or two.
    pub rows: std::ops::Range<usize>,
}

impl Header {
    /// Whether a row of the table repeats the header, or one of its two rows.
    pub fn is_repeated_by(&self, row: &Row, rows: &[Row]) -> bool {
        rows[self.rows.clone()].iter().any(|header| {
            let width = header.cells.len().max(row.cells.len());
            !header.is_blank() && (0..width).all(|column| fold(header.cell(column)) == fold(row.cell(column)))
        })
    }
}

/// How many cells of a row are headers: those of a field, those that a mapping file names, and those of a session.
pub fn known_headers(row: &Row, file: &MappingFile) -> usize {
    row.filled()
        .filter(|(_, cell)| {
            let folded = fold(cell);
            is_known_header(&folded)
                || file.names_header(&folded)
                || half_name(cell).is_some()
                || Stamp::parse(cell)
                    .is_some_and(|stamp| stamp.half.is_some() && (stamp.date.is_some() || stamp.weekday.is_some()))
        })
        .count()
}

/// The rows that may be the header, first to last: those with two known headers or more, or the one that the mapping file
/// names.
pub fn candidates(rows: &[Row], file: &MappingFile) -> Vec<Header> {
    let wanted = |(place, row): &(usize, &Row)| match file.header_line {
        Some(line) => row.line == line,
        None => *place < HEADER_ROWS_MAX && !row.broken && known_headers(row, file) >= 2,
    };
    let places: Vec<usize> = rows
        .iter()
        .enumerate()
        .filter(wanted)
        .map(|(place, _)| place)
        .take(HEADER_ROWS_MAX)
        .collect();
    places.into_iter().map(|place| at(rows, place)).collect()
}

/// The header at a row, together with the row of dates above it or the row of AM and PM below it.
fn at(rows: &[Row], place: usize) -> Header {
    let row = &rows[place];
    let above = place
        .checked_sub(1)
        .and_then(|above| merge(&rows[above], row).map(|cells| (cells, above..place + 1)));
    let below = || {
        rows.get(place + 1)
            .filter(|below| below.filled().all(|(_, cell)| half(cell).is_some()))
            .and_then(|below| merge(row, below).map(|cells| (cells, place..place + 2)))
    };
    let (cells, range) = above.or_else(below).unwrap_or_else(|| {
        let cells = row.cells.iter().map(|cell| cell.trim().to_owned());
        (cells.collect(), place..place + 1)
    });
    Header {
        line: rows[range.start].line,
        cells,
        rows: range,
    }
}

/// The columns of a row of dates over a row of halves, each with its date; nothing where the two are no such pair.
/// A column that is no such pair keeps the one text that the two rows have for it: where they have two, the upper row is a
/// title.
fn merge(dates: &Row, halves: &Row) -> Option<Vec<String>> {
    let width = dates.cells.len().max(halves.cells.len());
    let mut merged = Vec::with_capacity(width);
    let mut current: Option<&str> = None;
    let mut pairs = 0;
    for column in 0..width {
        let over = dates.cell(column);
        if !over.is_empty() {
            let dated = Stamp::parse(over)
                .is_some_and(|stamp| stamp.half.is_none() && (stamp.date.is_some() || stamp.weekday.is_some()));
            current = dated.then_some(over);
        }
        let under = halves.cell(column);
        match current {
            Some(date) if half(under).is_some() => {
                let name = match half(under) {
                    Some(crate::domain::session::SessionHalf::Pm) => "PM",
                    _ => "AM",
                };
                merged.push(format!("{date} {name}"));
                pairs += 1;
            }
            // A time of day under a date is a lesson, and has to be seen as one.
            Some(date) if super::dates::is_clock_time(under) => {
                merged.push(format!("{date} {under}"));
                pairs += 1;
            }
            _ if over.is_empty() => merged.push(under.to_owned()),
            _ if under.is_empty() => merged.push(over.to_owned()),
            _ => return None,
        }
    }
    (pairs > 0).then_some(merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::table::split;

    fn first(text: &str) -> Header {
        let rows = split(text, ',', usize::MAX);
        candidates(&rows, &MappingFile::default()).remove(0)
    }

    #[test]
    fn the_first_row_with_two_known_headers_is_the_header() {
        let header = first("Attendance report\nSchool,Test Primary\n\nUPN,Surname,Other\nQ,x,y\n");
        assert_eq!((header.line, header.rows), (4, 3..4));
    }

    #[test]
    fn dates_over_am_and_pm_are_one_header() {
        let expected = ["Name", "UPN", "Mon 08/09 AM", "Mon 08/09 PM", "Tue 09/09 AM"];
        let above = first(",,Mon 08/09,,Tue 09/09\nName,UPN,AM,PM,AM\n");
        assert_eq!(
            (above.cells.as_slice(), above.rows),
            (&expected.map(str::to_owned)[..], 0..2)
        );
        let below = first("Name,UPN,Mon 08/09,,Tue 09/09\n,,A,P,1\n");
        assert_eq!(
            (below.cells.as_slice(), below.rows),
            (&expected.map(str::to_owned)[..], 0..2)
        );
    }

    #[test]
    fn dates_in_a_title_are_no_header() {
        let header = first("Date range,08/09/2025,12/09/2025\nUPN,AM,PM\n");
        assert_eq!(header.cells, ["UPN", "AM", "PM"]);
        let header = first("Name,Mon 08/09,\n,AM,PM\n");
        assert_eq!(header.cells, ["Name", "Mon 08/09 AM", "Mon 08/09 PM"]);
    }

    #[test]
    fn a_mapping_file_may_name_the_line_of_the_header() {
        let rows = split("UPN,Name\nx,y\nRef,Who\n", ',', usize::MAX);
        let file = MappingFile {
            header_line: Some(3),
            ..MappingFile::default()
        };
        let found = candidates(&rows, &file);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].cells, ["Ref", "Who"]);
    }

    #[test]
    fn a_repeated_header_is_known_whatever_its_case() {
        let rows = split("UPN,Name\nx,y\nupn,NAME,\n", ',', usize::MAX);
        let header = candidates(&rows, &MappingFile::default()).remove(0);
        assert!(header.is_repeated_by(&rows[2], &rows));
        assert!(!header.is_repeated_by(&rows[1], &rows));
    }
}
