//! Which column holds what: found by header, shown to the user, and overridden by a file.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::ImportError;
use super::dates::DateOrder;
use super::fields::{Field, fold};
use super::header::Header;
use super::layout::{Layout, SessionColumn};
use super::marks::CodeTexts;
use crate::domain::code::AttendanceCode;

/// A column as a mapping file names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum ColumnName {
    /// By its place, from 1.
    Number(usize),
    /// By its header, compared as headers are.
    Header(String),
}

/// What a user says about a file where the importer would guess wrong. Read from TOML.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MappingFile {
    /// The column of a field, by the field's name.
    pub columns: BTreeMap<String, ColumnName>,
    /// Columns to leave aside, whatever their headers say.
    pub ignore: Vec<ColumnName>,
    /// The order of day, month and year in every column of dates.
    pub date_order: Option<DateOrder>,
    /// The line of the file, from 1, on which the header stands.
    pub header_line: Option<u32>,
    /// What stands between cells.
    pub delimiter: Option<char>,
    /// Codes for texts that stand where a code is expected.
    pub codes: BTreeMap<String, String>,
}

/// A mapping file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingFileError {
    /// Not TOML, or a key that is not known.
    #[error("the mapping file cannot be read: {0}")]
    Toml(String),
    /// No field has this name.
    #[error("the mapping file gives a column for `{0}`, which is no field; the fields are {1}")]
    UnknownField(String, String),
    /// The text is given a code that is none.
    #[error("the mapping file gives `{0}` for a text under [codes], which is no attendance code")]
    UnknownCode(String),
    /// The empty text is no mark.
    #[error("the mapping file gives a code for an empty text under [codes]: a blank cell is no mark")]
    EmptyText,
}

impl MappingFile {
    /// Reads a mapping file and checks its names.
    ///
    /// # Errors
    ///
    /// A [`MappingFileError`] that names the key to change.
    pub fn parse(toml: &str) -> Result<MappingFile, MappingFileError> {
        let file: MappingFile = toml::from_str(toml).map_err(|error| MappingFileError::Toml(error.to_string()))?;
        for name in file.columns.keys() {
            if Field::from_name(name).is_none() {
                let names: Vec<&str> = Field::all().map(Field::name).collect();
                return Err(MappingFileError::UnknownField(name.clone(), names.join(", ")));
            }
        }
        file.code_texts()?;
        Ok(file)
    }

    /// The texts of `[codes]` with their codes.
    ///
    /// # Errors
    ///
    /// A [`MappingFileError`] where a code is none.
    pub fn code_texts(&self) -> Result<CodeTexts, MappingFileError> {
        self.codes
            .iter()
            .map(|(text, code)| {
                let text = text.trim();
                if text.is_empty() {
                    return Err(MappingFileError::EmptyText);
                }
                AttendanceCode::parse(code)
                    .map(|code| (text.to_owned(), code))
                    .ok_or_else(|| MappingFileError::UnknownCode(code.clone()))
            })
            .collect()
    }

    /// Whether the file gives this header to a field.
    pub fn names_header(&self, folded: &str) -> bool {
        self.columns
            .values()
            .any(|column| matches!(column, ColumnName::Header(header) if fold(header) == folded))
    }
}

/// How a column was given its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundBy {
    /// By its header.
    Header,
    /// By the mapping file.
    MappingFile,
}

/// A column and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedColumn {
    /// The field.
    pub field: Field,
    /// The column, from 0.
    pub column: usize,
    /// How it was found.
    pub found_by: FoundBy,
}

/// Which column of a file holds what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// How the marks are laid out.
    pub layout: Layout,
    /// The line of the file on which the header stands, from 1.
    pub header_line: u32,
    /// The headers, by column.
    pub headers: Vec<String>,
    /// The columns that hold a field, in the order of the fields.
    pub columns: Vec<MappedColumn>,
    /// The columns that hold the marks of one session or day.
    pub sessions: Vec<SessionColumn>,
    /// The columns that are not read.
    pub unused: Vec<usize>,
    /// Columns whose header is that of a field that another column already holds.
    pub duplicates: Vec<usize>,
}

impl Mapping {
    /// Gives each column of a header its field: first those that the mapping file names, then those known by header.
    ///
    /// # Errors
    ///
    /// [`ImportError::MappingColumn`] where the mapping file names a column that the header does not have.
    pub(super) fn detect(header: &Header, file: &MappingFile) -> Result<Mapping, ImportError> {
        let folded: Vec<String> = header.cells.iter().map(|cell| fold(cell)).collect();
        let place = |name: &ColumnName| match name {
            ColumnName::Number(number) => number.checked_sub(1).filter(|column| *column < folded.len()),
            ColumnName::Header(text) => {
                let wanted = fold(text);
                folded.iter().position(|folded| *folded == wanted)
            }
        };
        let mut taken = vec![false; folded.len()];
        for name in &file.ignore {
            if let Some(column) = place(name) {
                taken[column] = true;
            }
        }
        let ignored = taken.clone();
        let mut columns = Vec::new();
        for (name, column) in &file.columns {
            let field = Field::from_name(name);
            let (Some(field), Some(column)) = (field, place(column)) else {
                return Err(ImportError::MappingColumn { field: name.clone() });
            };
            taken[column] = true;
            columns.push(MappedColumn {
                field,
                column,
                found_by: FoundBy::MappingFile,
            });
        }
        let mut duplicates = Vec::new();
        for field in Field::all() {
            if columns.iter().any(|mapped| mapped.field == field) {
                continue;
            }
            let mut matching = field
                .aliases()
                .iter()
                .flat_map(|alias| (0..folded.len()).filter(|column| folded[*column] == *alias))
                .filter(|column| !taken[*column])
                .collect::<Vec<_>>()
                .into_iter();
            if let Some(column) = matching.next() {
                taken[column] = true;
                columns.push(MappedColumn {
                    field,
                    column,
                    found_by: FoundBy::Header,
                });
            }
            duplicates.extend(matching);
        }
        columns.sort_by_key(|mapped| mapped.field);
        duplicates.sort_unstable();
        let free = |column: &usize| !taken[*column] && !duplicates.contains(column);
        let sessions: Vec<SessionColumn> = (0..folded.len())
            .filter(free)
            .filter_map(|column| SessionColumn::of_header(column, &header.cells[column]))
            .collect();
        let unused = (0..folded.len())
            .filter(|column| {
                let read = columns.iter().any(|mapped| mapped.column == *column)
                    || sessions.iter().any(|session| session.column == *column);
                !read && (ignored[*column] || !folded[*column].is_empty())
            })
            .collect();
        Ok(Mapping {
            layout: Layout::Pupils,
            header_line: header.line,
            headers: header.cells.clone(),
            columns,
            sessions,
            unused,
            duplicates,
        })
    }

    /// The column of a field.
    pub fn column(&self, field: Field) -> Option<usize> {
        self.columns
            .iter()
            .find(|mapped| mapped.field == field)
            .map(|mapped| mapped.column)
    }

    /// The header of a column; empty where it has none.
    pub fn header(&self, column: usize) -> &str {
        self.headers.get(column).map_or("", String::as_str)
    }

    /// The mapping as rows of field, column, header and how it was found.
    pub fn rows(&self) -> Vec<[String; 4]> {
        let row = |field: String, column: usize, found: &str| {
            [
                field,
                (column + 1).to_string(),
                self.header(column).replace(['\n', '\r'], " "),
                found.to_owned(),
            ]
        };
        let mut rows: Vec<[String; 4]> = self
            .columns
            .iter()
            .map(|mapped| {
                let found = match mapped.found_by {
                    FoundBy::Header => "header",
                    FoundBy::MappingFile => "mapping file",
                };
                let kept = if mapped.field.is_kept() {
                    mapped.field.to_string()
                } else {
                    format!("{} (not kept)", mapped.field)
                };
                row(kept, mapped.column, found)
            })
            .collect();
        if self.layout == Layout::Wide
            && let (Some(first), Some(last)) = (self.sessions.first(), self.sessions.last())
        {
            rows.push([
                "sessions".to_owned(),
                format!("{}-{}", first.column + 1, last.column + 1),
                format!("{} to {}", self.header(first.column), self.header(last.column)).replace(['\n', '\r'], " "),
                format!("header, {} columns", self.sessions.len()),
            ]);
        }
        let not_read = self
            .unused
            .iter()
            .map(|column| row("(not read)".to_owned(), *column, ""));
        rows.extend(not_read);
        rows
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "layout {}, header on line {}", self.layout, self.header_line)?;
        for [field, column, header, found] in self.rows() {
            writeln!(formatter, "{field:<26} {column:>7}  {header:<32} {found}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_file_is_read_and_its_names_are_checked() {
        let file = MappingFile::parse(
            "date_order = \"mdy\"\nheader_line = 3\ndelimiter = \";\"\nignore = [\"School\", 7]\n\
             [columns]\nupn = \"Unique Ref\"\nmark = 4\n[codes]\nPresent = \"/\"\n",
        )
        .unwrap();
        assert_eq!(file.date_order, Some(DateOrder::MonthFirst));
        assert_eq!(file.columns["mark"], ColumnName::Number(4));
        assert!(file.names_header("unique_ref"));
        assert_eq!(file.code_texts().unwrap()["Present"], AttendanceCode::PresentMorning);
        for (wrong, named) in [
            ("[columns]\nupnn = \"X\"", "upnn"),
            ("[codes]\nPresent = \"A\"", "`A`"),
            ("[codes]\n\"\" = \"/\"", "empty"),
            ("colums = 1", "colums"),
            ("date_order = \"dym\"", "dym"),
            ("not toml", "cannot be read"),
        ] {
            let message = MappingFile::parse(wrong).unwrap_err().to_string();
            assert!(message.contains(named), "{message}");
        }
    }
}
