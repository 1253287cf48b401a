//! What the commands print alike.

use std::io::Write;

use chrono::{Datelike, NaiveDate};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::error::CommandError;
use crate::domain::stage;
use crate::proto;

/// Writes text to standard output. A reader that has gone away (`| head`) is no error.
pub fn print(text: &str) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Writes a value as JSON to standard output.
pub fn print_json(value: &impl Serialize) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
    print(&format!("{text}\n"))
}

/// How wide a table of sentences is, which are folded to fit.
pub const COLUMNS: u16 = 100;

/// A table without lines and without a header, folded to [`COLUMNS`].
pub fn folded() -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(comfy_table::ContentArrangement::Dynamic)
        .set_width(COLUMNS);
    table
}

/// A table without lines, the columns from `numbers_from` on aligned to the right.
pub fn table(header: &[&str], numbers_from: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    // A table that is piped into a file is not folded to some width.
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The lines of a table, without the blanks at their ends.
pub fn lines(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A date of the contract as text, `2026-06-26`; empty where there is none.
pub fn date_text(date: Option<&proto::Date>) -> String {
    date.map(|date| format!("{:04}-{:02}-{:02}", date.year, date.month, date.day))
        .unwrap_or_default()
}

/// A session of the contract as text, `2026-06-26 AM`; empty where there is none.
pub fn session_text(session: Option<&proto::Session>) -> String {
    let half = |session: &proto::Session| match session.half() {
        proto::SessionHalf::Am => " AM",
        proto::SessionHalf::Pm => " PM",
        proto::SessionHalf::Unspecified => "",
    };
    session
        .map(|session| date_text(session.date.as_ref()) + half(session))
        .unwrap_or_default()
}

/// A date as the contract writes it.
pub fn proto_date(date: NaiveDate) -> proto::Date {
    // Month and day are below 32.
    proto::Date {
        year: date.year(),
        month: date.month() as i32,
        day: date.day() as i32,
    }
}

/// A stage of the contract as people write it: `U`, `1` to `5`; `?` for one that this program does not know.
pub fn stage_text(number: i32) -> String {
    i16::try_from(number - 1)
        .ok()
        .and_then(stage::Stage::from_number)
        .map_or_else(|| "?".to_owned(), |stage| stage.code().to_owned())
}

/// The value of an enum of the contract in words: its name without the prefix, in small letters.
pub fn words(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_ascii_lowercase().replace('_', " ")
}

/// A share in per cent, rounded half up to one decimal; empty where the whole is nothing.
pub fn percent_text(part: i64, whole: i64) -> String {
    if whole <= 0 {
        return String::new();
    }
    let tenths = (i128::from(part) * 2000 + i128::from(whole)) / (i128::from(whole) * 2);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// A count with commas: `3,141,592`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(3_141_592), "3,141,592");
        assert_eq!(percent_text(1, 8), "12.5");
        assert_eq!(percent_text(19, 20_000), "0.1");
        assert_eq!(percent_text(0, 0), "");
        assert_eq!(stage_text(1), "U");
        assert_eq!(stage_text(6), "5");
        assert_eq!(stage_text(0), "?");
        assert_eq!(words("RESPONSIBLE_ROLE_ALL_STAFF", "RESPONSIBLE_ROLE_"), "all staff");
    }
}
