//! Text to rows of cells: delimiters, quotes and line ends, with the line on which each row begins.

/// The most lines that one quoted cell may span: more is a quote that was never closed.
const CELL_LINES_MAX: usize = 50;

/// What may stand between cells.
pub const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The line of the file on which the row begins, from 1.
    pub line: u32,
    /// The cells as they stand, without the quotes around them.
    pub cells: Vec<String>,
    /// The quotes of the row do not match: its cells cannot be trusted.
    pub broken: bool,
}

impl Row {
    /// The cell of a column counted from 0; empty where the row is shorter.
    pub fn cell(&self, column: usize) -> &str {
        self.cells.get(column).map_or("", String::as_str).trim()
    }

    /// Whether no cell holds anything but spaces.
    pub fn is_blank(&self) -> bool {
        !self.broken && self.cells.iter().all(|cell| cell.trim().is_empty())
    }

    /// The cells that hold something, with their columns.
    pub fn filled(&self) -> impl Iterator<Item = (usize, &str)> {
        self.cells
            .iter()
            .map(|cell| cell.trim())
            .enumerate()
            .filter(|(_, cell)| !cell.is_empty())
    }
}

/// The delimiter that a first line of `sep=;` names, as spreadsheets write it, and the bytes of that line.
pub fn declared_delimiter(text: &str) -> Option<(char, usize)> {
    let first = text.split_inclusive(['\n', '\r']).next()?;
    let mut rest = first.trim_end().strip_prefix("sep=")?.chars();
    match (rest.next(), rest.next()) {
        (Some(delimiter), None) => Some((delimiter, first.len())),
        // A tab is taken away with the end of the line.
        (None, _) => Some(('\t', first.len())),
        _ => None,
    }
}

/// Splits a text into rows, at most `rows_max` of them. Blank lines are rows without cells, so that none is lost.
pub fn split(text: &str, delimiter: char, rows_max: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while !rest.is_empty() && rows.len() < rows_max {
        let (row, used) = match read_row(rest, delimiter) {
            Some((cells, used)) => (
                Row {
                    line,
                    cells,
                    broken: false,
                },
                used,
            ),
            None => {
                // Only this line is lost: the quote must not swallow the rows that follow.
                let used = line_end(rest);
                let cells = rest[..used].trim_end().split(delimiter);
                (
                    Row {
                        line,
                        cells: cells.map(str::to_owned).collect(),
                        broken: true,
                    },
                    used,
                )
            }
        };
        line += count_lines(&rest[..used]);
        rest = &rest[used..];
        rows.push(row);
    }
    rows
}

/// The bytes of the first line, its end included.
fn line_end(text: &str) -> usize {
    match text.find(['\n', '\r']) {
        Some(at) if text[at..].starts_with("\r\n") => at + 2,
        Some(at) => at + 1,
        None => text.len(),
    }
}

fn count_lines(text: &str) -> u32 {
    let mut lines = 0;
    let mut previous = ' ';
    for character in text.chars() {
        if character == '\r' || (character == '\n' && previous != '\r') {
            lines += 1;
        }
        previous = character;
    }
    lines
}

/// The cells of the first row and the bytes it takes; nothing where its quotes do not match.
fn read_row(text: &str, delimiter: char) -> Option<(Vec<String>, usize)> {
    let mut cells = Vec::new();
    let mut at = 0;
    loop {
        let (cell, used) = read_cell(&text[at..], delimiter)?;
        cells.push(cell);
        at += used;
        match text[at..].chars().next() {
            Some(next) if next == delimiter => at += next.len_utf8(),
            Some(_) => return Some((cells, at + line_end(&text[at..]))),
            None => return Some((cells, at)),
        }
    }
}

/// One cell and the bytes it takes, up to the delimiter or the end of the line.
fn read_cell(text: &str, delimiter: char) -> Option<(String, usize)> {
    let ends = |c: char| c == delimiter || c == '\n' || c == '\r';
    let plain_end = text.find(ends).unwrap_or(text.len());
    let start = text[..plain_end].len() - text[..plain_end].trim_start_matches(' ').len();
    let Some(quoted) = text[start..].strip_prefix('"') else {
        return Some((unwrap_formula(&text[..plain_end]).to_owned(), plain_end));
    };
    let mut cell = String::new();
    let mut lines = 0;
    let mut characters = quoted.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if character != '"' {
            lines += usize::from(character == '\n');
            if lines > CELL_LINES_MAX {
                return None;
            }
            cell.push(character);
        } else if characters.next_if(|(_, next)| *next == '"').is_some() {
            cell.push('"');
        } else {
            // After the closing quote only spaces may stand before the next cell.
            let after = &quoted[at + 1..];
            let spaces = after.len() - after.trim_start_matches(' ').len();
            let closed = after[spaces..].is_empty() || after[spaces..].starts_with(ends);
            return closed.then_some((cell, start + 1 + at + 1 + spaces));
        }
    }
    None
}

/// `="000123"` is how a spreadsheet is told to leave a number as text.
fn unwrap_formula(cell: &str) -> &str {
    cell.trim()
        .strip_prefix("=\"")
        .and_then(|inner| inner.strip_suffix('"'))
        .unwrap_or(cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(text: &str) -> Vec<Vec<String>> {
        split(text, ',', usize::MAX).into_iter().map(|row| row.cells).collect()
    }

    #[test]
    fn lines_end_in_crlf_or_lf_and_the_last_may_end_in_nothing() {
        for text in ["a,b\nc,d", "a,b\r\nc,d\r\n", "a,b\rc,d"] {
            assert_eq!(cells(text), [["a", "b"], ["c", "d"]], "{text:?}");
        }
    }

    #[test]
    fn quoted_commas_doubled_quotes_and_line_ends_in_quotes_belong_to_the_cell() {
        assert_eq!(
            cells("\"Smith, Jr\",\"a \"\"b\"\"\",\"two\r\nlines\"\nnext, \"x\" \n"),
            vec![vec!["Smith, Jr", "a \"b\"", "two\r\nlines"], vec!["next", "x"]]
        );
    }

    #[test]
    fn every_row_knows_the_line_on_which_it_begins() {
        let rows = split("a\r\n\r\n\"x\r\ny\",b\r\nlast", ',', usize::MAX);
        let lines: Vec<u32> = rows.iter().map(|row| row.line).collect();
        assert_eq!(lines, [1, 2, 3, 5]);
    }

    #[test]
    fn blank_rows_and_cells_of_one_space_are_blank() {
        let rows = split("a\n\n , ,\n", ',', usize::MAX);
        assert!(!rows[0].is_blank() && rows[1].is_blank() && rows[2].is_blank());
        assert_eq!(rows[2].filled().count(), 0);
    }

    #[test]
    fn a_quote_that_is_never_closed_loses_its_own_line_and_no_other() {
        for text in ["a,\"b\nc,d\ne,f\n", "a,\"b\nc,\"d\"\ne,f\n", "a,\"b\"x,\nc,d\ne,f\n"] {
            let rows = split(text, ',', usize::MAX);
            assert_eq!(rows.len(), 3, "{text:?}");
            assert!(rows[0].broken && !rows[1].broken && !rows[2].broken);
        }
        let long = format!("a,\"b\n{}\"\n", "c,d\n".repeat(60));
        assert!(split(&long, ',', usize::MAX)[0].broken);
        assert_eq!(split(&long, ',', usize::MAX)[1].cells, ["c", "d"]);
    }

    #[test]
    fn a_number_kept_as_text_by_a_formula_is_that_text() {
        assert_eq!(cells("=\"000123\",x"), [["000123", "x"]]);
    }

    #[test]
    fn a_first_line_may_name_the_delimiter() {
        assert_eq!(declared_delimiter("sep=;\r\na;b"), Some((';', 6)));
        assert_eq!(declared_delimiter("sep=\t\na\tb"), Some(('\t', 6)));
        assert_eq!(declared_delimiter("a,b"), None);
    }
}
