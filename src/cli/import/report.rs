//! What an import tells the person who ran it. Names lines and columns, never a pupil.

use std::collections::BTreeMap;
use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;

use crate::import::{Column, Import, ImportWarning, RowCounts, Skipped, WarningKind};

/// A row, or a mark of a row, that was not taken, by the file's reading or by the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotTaken {
    /// The line of the file, from 1.
    pub line: u32,
    /// The column; nothing where it is the row.
    pub column: Option<Column>,
    /// The stable name of the reason.
    pub reason: String,
    /// What is wrong and what to change.
    pub message: String,
}

/// The report of one file.
#[derive(Clone, Debug)]
pub struct FileReport {
    /// The file, as it was named.
    pub file: String,
    /// How it was read: layout, encoding, delimiter, dates.
    pub reading: String,
    /// The mapping: field, column, header, how it was found.
    pub mapping: Vec<[String; 4]>,
    /// The rows, counted.
    pub rows: RowCounts,
    /// The pupils of the file.
    pub pupils: usize,
    /// Those whom the service knew before.
    pub pupils_known: usize,
    /// Pupils made.
    pub pupils_created: usize,
    /// Pupils changed.
    pub pupils_updated: usize,
    /// Pupils left as they were.
    pub pupils_unchanged: usize,
    /// Pupils that the service did not take.
    pub pupils_not_taken: usize,
    /// The marks of the file.
    pub marks: usize,
    /// Marks for sessions that had none.
    pub marks_new: i64,
    /// Marks changed.
    pub marks_corrected: i64,
    /// Marks that were there already.
    pub marks_unchanged: i64,
    /// Marks that were read and not taken.
    pub marks_not_taken: usize,
    /// Pupils whose stage moved.
    pub transitions: usize,
    /// Batches that an earlier run had recorded.
    pub batches_replayed: usize,
    /// Whether the service answered; false only in a dry run.
    pub service_reached: bool,
    /// Lines that hold no pupil.
    pub skipped: Vec<(u32, &'static str)>,
    /// What was not taken.
    pub not_taken: Vec<NotTaken>,
    /// What was taken and deserves a look.
    pub warnings: Vec<ImportWarning>,
    /// What the service took and says deserves a look: by reason, how often and the first message.
    pub service_warnings: BTreeMap<String, (usize, String)>,
}

impl FileReport {
    /// The report of a file that has been read, before anything is sent.
    pub fn of_import(path: &str, import: &Import) -> FileReport {
        let delimiter = match import.delimiter {
            '\t' => "tab".to_owned(),
            other => format!("`{other}`"),
        };
        let mut reading = format!(
            "{}, header on line {}, {}, {delimiter} between cells",
            import.layout,
            import.mapping.header_line,
            import.encoding.name()
        );
        if let Some((first, last)) = import.date_range {
            reading.push_str(&format!(", {first} to {last} by its title"));
        }
        let kind = |kind| match kind {
            Skipped::Repeated => "header or title again",
            Skipped::Footer => "total or footer",
            Skipped::Note => "heading or remark",
        };
        FileReport {
            file: path.to_owned(),
            reading,
            mapping: import.mapping.rows(),
            rows: import.rows,
            pupils: import.pupils.len(),
            pupils_known: 0,
            pupils_created: 0,
            pupils_updated: 0,
            pupils_unchanged: 0,
            pupils_not_taken: 0,
            marks: import.marks.len(),
            marks_new: 0,
            marks_corrected: 0,
            marks_unchanged: 0,
            marks_not_taken: 0,
            transitions: 0,
            batches_replayed: 0,
            service_reached: true,
            skipped: import.skipped.iter().map(|row| (row.line, kind(row.kind))).collect(),
            not_taken: import
                .refused
                .iter()
                .map(|refused| NotTaken {
                    line: refused.line,
                    column: refused.column.clone(),
                    reason: refused.reason.to_string(),
                    message: refused.message.clone(),
                })
                .collect(),
            warnings: import.warnings.clone(),
            service_warnings: BTreeMap::new(),
        }
    }

    /// Adds a warning of this side of the port.
    pub fn warn(&mut self, kind: WarningKind, line: u32) {
        match self.warnings.iter_mut().find(|known| known.kind == kind) {
            Some(known) => known.lines += 1,
            None => self.warnings.push(ImportWarning {
                kind,
                column: None,
                line: Some(line),
                lines: 1,
            }),
        }
    }

    /// Adds a warning of the service.
    pub fn service_warning(&mut self, reason: &str, message: &str, times: usize) {
        let entry = self
            .service_warnings
            .entry(reason.to_owned())
            .or_insert_with(|| (0, message.to_owned()));
        entry.0 += times;
    }

    /// Adds a mark that was read and not taken.
    pub fn mark_not_taken(&mut self, import: &Import, place: usize, reason: &str, message: &str) {
        let mark = &import.marks[place];
        self.marks_not_taken += 1;
        self.not_taken.push(NotTaken {
            line: mark.line,
            column: Some(import.column(mark.column)),
            reason: reason.to_owned(),
            message: message.to_owned(),
        });
    }

    /// Prints how the file was read and which column holds what, for a person.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn print_mapping(&self, out: &mut (dyn Write + Send)) -> io::Result<()> {
        writeln!(out, "{}: {}", self.file, self.reading)?;
        let header = ["field", "column", "header", "found by"];
        writeln!(out, "{}", table(&header, &self.mapping))
    }

    /// Prints what became of the file, for a person.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn print_result(&self, dry_run: bool, out: &mut (dyn Write + Send)) -> io::Result<()> {
        writeln!(out, "{}:", self.file)?;
        let mut counts = vec![
            ("rows".to_owned(), self.rows_text()),
            ("pupils".to_owned(), self.pupils_text(dry_run)),
            ("marks".to_owned(), self.marks_text(dry_run)),
        ];
        if !dry_run {
            counts.push(("stages".to_owned(), format!("{} pupils moved", self.transitions)));
        }
        let counts: Vec<[String; 2]> = counts.into_iter().map(|(what, how)| [what, how]).collect();
        writeln!(out, "{}", table(&["read", "result"], &counts))?;
        if self.batches_replayed > 0 {
            writeln!(
                out,
                "{} batches had been recorded by an earlier run of the same import and were not done again (--again does them \
                 again); their figures are those of that run.",
                self.batches_replayed
            )?;
        }
        self.print_warnings(out)?;
        let not_taken = self.grouped();
        if not_taken.is_empty() {
            writeln!(out, "Every row was taken.")?;
        } else {
            writeln!(out, "Not taken:")?;
            writeln!(
                out,
                "{}",
                table(&["lines", "column", "reason", "what to do"], &not_taken)
            )?;
        }
        if dry_run {
            let reached = if self.service_reached {
                ""
            } else {
                " The service did not answer: only the file was looked at."
            };
            writeln!(out, "Dry run: nothing was written.{reached}")?;
        }
        Ok(())
    }

    fn rows_text(&self) -> String {
        format!(
            "{} taken, {} not taken, {} blank, {} without a pupil",
            self.rows.taken, self.rows.refused, self.rows.blank, self.rows.skipped
        )
    }

    fn pupils_text(&self, dry_run: bool) -> String {
        match (dry_run, self.service_reached) {
            (true, false) => format!("{} in the file", self.pupils),
            (true, true) => format!(
                "{} in the file, {} of them known to the service",
                self.pupils, self.pupils_known
            ),
            (false, _) => format!(
                "{} in the file: {} new, {} changed, {} as they were, {} not taken",
                self.pupils, self.pupils_created, self.pupils_updated, self.pupils_unchanged, self.pupils_not_taken
            ),
        }
    }

    fn marks_text(&self, dry_run: bool) -> String {
        let mut text = format!("{} in the file", self.marks);
        if !dry_run {
            text.push_str(&format!(
                ": {} new, {} corrected, {} there already, {} not taken",
                self.marks_new, self.marks_corrected, self.marks_unchanged, self.marks_not_taken
            ));
        }
        text.push_str(&format!(
            "; {} repeated, {} sessions without a mark yet, {} before the pupil was on roll",
            self.rows.marks_repeated, self.rows.sessions_blank, self.rows.sessions_not_on_roll
        ));
        text
    }

    fn print_warnings(&self, out: &mut (dyn Write + Send)) -> io::Result<()> {
        let mut kinds: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (line, kind) in &self.skipped {
            kinds.entry(kind).or_default().push(*line);
        }
        for (kind, lines) in kinds {
            writeln!(out, "Without a pupil: {kind}, line {}", line_ranges(&lines))?;
        }
        for warning in &self.warnings {
            write!(out, "Warning {}", warning.kind)?;
            if let Some(column) = &warning.column {
                write!(out, ", column {column}")?;
            }
            match (warning.line, warning.lines) {
                (Some(line), 0 | 1) => write!(out, ", line {line}")?,
                (Some(line), lines) => write!(out, ", {lines} lines from line {line} on")?,
                (None, _) => {}
            }
            writeln!(out, ": {}", warning.kind.message())?;
        }
        for (reason, (times, message)) in &self.service_warnings {
            writeln!(out, "Warning {reason}, {times} times: {message}")?;
        }
        Ok(())
    }

    /// What was not taken, with the lines of one column, reason and message together.
    fn grouped(&self) -> Vec<[String; 4]> {
        let mut groups: BTreeMap<(&str, &str, Option<&Column>), Vec<u32>> = BTreeMap::new();
        for row in &self.not_taken {
            groups
                .entry((&row.reason, &row.message, row.column.as_ref()))
                .or_default()
                .push(row.line);
        }
        let mut rows: Vec<(u32, [String; 4])> = groups
            .into_iter()
            .map(|((reason, message, column), mut lines)| {
                lines.sort_unstable();
                let first = lines.first().copied().unwrap_or_default();
                let column = column.map_or_else(|| "row".to_owned(), Column::to_string);
                (
                    first,
                    [line_ranges(&lines), column, reason.to_owned(), message.to_owned()],
                )
            })
            .collect();
        rows.sort();
        rows.into_iter().map(|(_, row)| row).collect()
    }

    fn json(&self) -> serde_json::Value {
        let column = |column: &Option<Column>| match column {
            Some(column) => json!({"number": column.number, "header": column.header}),
            None => serde_json::Value::Null,
        };
        json!({
            "file": self.file,
            "reading": self.reading,
            "service_reached": self.service_reached,
            "mapping": self.mapping.iter().map(|[field, column, header, found_by]| {
                json!({"field": field, "column": column, "header": header, "found_by": found_by})
            }).collect::<Vec<_>>(),
            "rows": {
                "total": self.rows.total, "taken": self.rows.taken, "not_taken": self.rows.refused,
                "blank": self.rows.blank, "without_pupil": self.rows.skipped,
            },
            "pupils": {
                "read": self.pupils, "known": self.pupils_known, "created": self.pupils_created,
                "updated": self.pupils_updated, "unchanged": self.pupils_unchanged,
                "not_taken": self.pupils_not_taken,
            },
            "marks": {
                "read": self.marks, "new": self.marks_new, "corrected": self.marks_corrected,
                "unchanged": self.marks_unchanged, "not_taken": self.marks_not_taken,
                "repeated": self.rows.marks_repeated, "sessions_blank": self.rows.sessions_blank,
                "sessions_not_on_roll": self.rows.sessions_not_on_roll,
            },
            "transitions": self.transitions,
            "batches_replayed": self.batches_replayed,
            "without_pupil": self.skipped.iter().map(|(line, kind)| json!({"line": line, "kind": kind}))
                .collect::<Vec<_>>(),
            "warnings": self.warnings.iter().map(|warning| json!({
                "reason": warning.kind.as_str(), "column": column(&warning.column), "line": warning.line,
                "lines": warning.lines, "message": warning.kind.message(),
            })).collect::<Vec<_>>(),
            "service_warnings": self.service_warnings.iter().map(|(reason, (times, message))| json!({
                "reason": reason, "times": times, "message": message,
            })).collect::<Vec<_>>(),
            "not_taken": self.not_taken.iter().map(|row| json!({
                "line": row.line, "column": column(&row.column), "reason": row.reason, "message": row.message,
            })).collect::<Vec<_>>(),
        })
    }
}

/// Prints the reports as one JSON object.
///
/// # Errors
///
/// Those of the writer.
pub fn print_json(reports: &[FileReport], dry_run: bool, out: &mut (dyn Write + Send)) -> io::Result<()> {
    let files: Vec<_> = reports.iter().map(FileReport::json).collect();
    let report = json!({"dry_run": dry_run, "files": files});
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)
}

/// Lines as ranges: `2-4, 7`. The first twenty ranges; how many lines there are more.
fn line_ranges(lines: &[u32]) -> String {
    const RANGES_MAX: usize = 20;
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for line in lines {
        match ranges.last_mut() {
            Some((_, last)) if *line <= *last + 1 => *last = (*last).max(*line),
            _ => ranges.push((*line, *line)),
        }
    }
    let mut texts: Vec<String> = ranges
        .iter()
        .take(RANGES_MAX)
        .map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        })
        .collect();
    let more: u32 = ranges
        .iter()
        .skip(RANGES_MAX)
        .map(|(first, last)| last - first + 1)
        .sum();
    if more > 0 {
        texts.push(format!("and {more} more (--json names them all)"));
    }
    texts.join(", ")
}

fn table<const WIDTH: usize>(header: &[&str; WIDTH], rows: &[[String; WIDTH]]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.to_vec())
        .add_rows(rows.iter().map(|row| row.to_vec()));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_reason_are_ranges_and_none_is_lost() {
        assert_eq!(line_ranges(&[2, 3, 4, 7, 7, 9]), "2-4, 7, 9");
        let even: Vec<u32> = (1..=50).map(|line| line * 2).collect();
        assert!(line_ranges(&even).ends_with("40, and 30 more (--json names them all)"));
    }
}
