//! Marks as registers write them: one in a cell, or a run of them in one text.

use std::collections::BTreeMap;

use crate::domain::code::AttendanceCode;

/// Texts that a mapping file gives for codes, for example `Present` for `/`.
pub type CodeTexts = BTreeMap<String, AttendanceCode>;

/// What one session holds. The three that are no mark are three different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionCell {
    /// Nothing: no mark has been made yet.
    Blank,
    /// `-`: the pupil was not on roll yet. Gives no mark.
    NotOnRoll,
    /// A mark; `#`, closed to all, is one of them.
    Mark {
        /// The code.
        code: AttendanceCode,
        /// Minutes late, where the cell says them: `L(12)`.
        minutes_late: Option<u16>,
    },
}

/// Why a text is no mark.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarkProblem {
    /// No code is written like this.
    #[error(
        "{0} is no attendance code; codes are capital letters, some with a digit, and / \\ #: write the code, or give the \
         text one under [codes] in a mapping file"
    )]
    Unknown(Shown),
    /// A digit stands where a code has to begin.
    #[error("a code never begins with a digit: a digit is only the second character of one, as in C1, J1 and Y7")]
    LeadingDigit,
    /// Several marks where one session has one.
    #[error("the cell holds {0} marks, and the column is one session")]
    Several(usize),
    /// A day's cell without two marks.
    #[error(
        "the column is a whole day: write two marks, for the morning and the afternoon, or give each session a column"
    )]
    NotTwo,
    /// The minutes in brackets cannot be read.
    #[error("minutes late are written as a whole number in brackets after L or U, as in L(12)")]
    Minutes,
    /// Groups that are not whole days.
    #[error(
        "the spaces of the run do not part it into whole days or single sessions, so that a mark could fall on the wrong one"
    )]
    Grouping,
    /// Two spaces, which may be a gap or a session without a mark.
    #[error(
        "two spaces in a run may be a gap or a session without a mark: write one space between days, and - only before the \
         pupil was on roll; for a session without a mark use a layout with a column a session"
    )]
    Gap,
    /// More than five days.
    #[error("the run holds {0} marks, and a week has at most ten sessions, Monday to Friday")]
    TooLong(usize),
}

/// A text that may be repeated in a message: shortened to what can be no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    fn new(text: &str) -> Shown {
        let harmless = text.chars().count() <= 2 && text.chars().all(|c| c.is_ascii_graphic());
        Shown(if harmless {
            format!("`{text}`")
        } else {
            "the text of the cell".to_owned()
        })
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Reads the cell of one session.
///
/// # Errors
///
/// A [`MarkProblem`] where the cell is neither blank nor one mark.
pub fn read_cell(text: &str, texts: &CodeTexts) -> Result<SessionCell, MarkProblem> {
    let text = text.trim();
    if let Some(code) = texts.get(text) {
        return Ok(SessionCell::Mark {
            code: *code,
            minutes_late: None,
        });
    }
    let cells = read_group(text, texts, text)?;
    match cells[..] {
        [] => Ok(SessionCell::Blank),
        [cell] => Ok(cell),
        _ => Err(MarkProblem::Several(cells.len())),
    }
}

/// Reads the cell of a whole day: the morning and the afternoon; nothing where it is blank.
///
/// # Errors
///
/// A [`MarkProblem`] where the cell is neither blank nor two marks.
pub fn read_day(text: &str, texts: &CodeTexts) -> Result<Vec<SessionCell>, MarkProblem> {
    match read_run(text, texts)? {
        cells if cells.is_empty() || cells.len() == 2 => Ok(cells),
        _ => Err(MarkProblem::NotTwo),
    }
}

/// Reads a week's run from Monday morning on: at most ten marks, with a space between days or between sessions or none.
///
/// # Errors
///
/// A [`MarkProblem`] where a mark cannot be read, or could fall on the wrong session.
pub fn read_week(text: &str, texts: &CodeTexts) -> Result<Vec<SessionCell>, MarkProblem> {
    let cells = read_run(text, texts)?;
    if cells.len() > 10 {
        return Err(MarkProblem::TooLong(cells.len()));
    }
    Ok(cells)
}

fn read_run(text: &str, texts: &CodeTexts) -> Result<Vec<SessionCell>, MarkProblem> {
    let text = text.trim_end();
    let text = text.strip_prefix(' ').unwrap_or(text);
    if text.contains("  ") || text.starts_with(' ') {
        return Err(MarkProblem::Gap);
    }
    let groups = text
        .split_whitespace()
        .map(|group| read_group(group, texts, text))
        .collect::<Result<Vec<_>, _>>()?;
    let single_sessions = groups.iter().all(|group| group.len() == 1);
    // The last day may lack its afternoon: it has not been taken yet.
    let whole_days = groups.iter().rev().skip(1).all(|group| group.len().is_multiple_of(2));
    if single_sessions || whole_days {
        Ok(groups.into_iter().flatten().collect())
    } else {
        Err(MarkProblem::Grouping)
    }
}

/// Reads marks that follow each other, greedily: a digit is only ever the second character of a code.
fn read_group(group: &str, texts: &CodeTexts, whole: &str) -> Result<Vec<SessionCell>, MarkProblem> {
    let mut cells = Vec::new();
    let mut rest = group;
    while let Some(first) = rest.chars().next() {
        if first == '-' {
            cells.push(SessionCell::NotOnRoll);
            rest = &rest[1..];
            continue;
        }
        let (code, used) = read_code(rest, first, texts).map_err(|problem| match problem {
            // A long text is a word, not a run with one bad mark: no part of it is shown.
            MarkProblem::Unknown(_) if whole.chars().any(|c| c.is_ascii_lowercase()) => {
                MarkProblem::Unknown(Shown::new(whole))
            }
            other => other,
        })?;
        rest = &rest[used..];
        let mut minutes_late = None;
        let unspaced = rest.trim_start();
        if let Some(bracket) = unspaced.strip_prefix('(') {
            let (minutes, after) = bracket.split_once(')').ok_or(MarkProblem::Minutes)?;
            if !matches!(code, AttendanceCode::L | AttendanceCode::U) {
                return Err(MarkProblem::Minutes);
            }
            minutes_late = Some(minutes.trim().parse().map_err(|_| MarkProblem::Minutes)?);
            rest = after;
        }
        cells.push(SessionCell::Mark { code, minutes_late });
    }
    Ok(cells)
}

fn read_code(rest: &str, first: char, texts: &CodeTexts) -> Result<(AttendanceCode, usize), MarkProblem> {
    let given = texts
        .iter()
        .filter(|(text, _)| !text.is_empty() && rest.starts_with(text.as_str()))
        .max_by_key(|(text, _)| text.len());
    if let Some((text, code)) = given {
        return Ok((*code, text.len()));
    }
    if first.is_ascii_digit() {
        return Err(MarkProblem::LeadingDigit);
    }
    let second = rest[first.len_utf8()..].chars().next();
    let used = first.len_utf8() + usize::from(second.is_some_and(|c| c.is_ascii_digit()));
    match AttendanceCode::parse(&rest[..used]) {
        Some(code) => Ok((code, used)),
        None => Err(MarkProblem::Unknown(Shown::new(&rest[..used]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(code: &str) -> SessionCell {
        SessionCell::Mark {
            code: AttendanceCode::parse(code).unwrap(),
            minutes_late: None,
        }
    }

    fn week(text: &str) -> Result<Vec<SessionCell>, MarkProblem> {
        read_week(text, &CodeTexts::new())
    }

    fn cell(text: &str) -> Result<SessionCell, MarkProblem> {
        read_cell(text, &CodeTexts::new())
    }

    #[test]
    fn blank_not_on_roll_and_closed_are_three_things() {
        assert_eq!(cell(" "), Ok(SessionCell::Blank));
        assert_eq!(cell("-"), Ok(SessionCell::NotOnRoll));
        assert_eq!(cell("#"), Ok(mark("#")));
    }

    #[test]
    fn every_code_is_read_alone_and_small_letters_are_no_codes() {
        for code in AttendanceCode::ALL {
            assert_eq!(cell(code.as_str()), Ok(mark(code.as_str())));
        }
        for text in ["l", "c1", "A", "Y8", "C3", "*"] {
            assert!(matches!(cell(text), Err(MarkProblem::Unknown(_))), "{text}");
        }
    }

    #[test]
    fn a_run_is_read_greedily_so_that_a_digit_ends_the_code_before_it() {
        assert_eq!(
            week("C1J1Y7CJY/\\"),
            Ok(["C1", "J1", "Y7", "C", "J", "Y", "/", "\\"].map(mark).to_vec())
        );
        assert_eq!(
            week("/\\/\\II/\\O\\").unwrap(),
            ["/", "\\", "/", "\\", "I", "I", "/", "\\", "O", "\\"].map(mark)
        );
        assert_eq!(week("#-"), Ok(vec![mark("#"), SessionCell::NotOnRoll]));
    }

    #[test]
    fn a_leading_digit_is_refused() {
        assert_eq!(week("1/\\"), Err(MarkProblem::LeadingDigit));
        assert_eq!(week("/\\ 2\\"), Err(MarkProblem::LeadingDigit));
        assert_eq!(cell("7"), Err(MarkProblem::LeadingDigit));
        assert!(matches!(week("/1"), Err(MarkProblem::Unknown(_))));
    }

    #[test]
    fn a_run_may_be_grouped_by_day_or_by_session() {
        let plain = week("/\\/\\II").unwrap();
        assert_eq!(week("/\\ /\\ II").unwrap(), plain);
        assert_eq!(week(" / \\ / \\ I I ").unwrap(), plain);
        assert_eq!(week("/\\/\\ II").unwrap(), plain);
        assert_eq!(week("/\\ /\\ I").unwrap(), plain[..5]);
    }

    #[test]
    fn spaces_that_could_move_a_mark_to_another_session_are_refused() {
        assert_eq!(week("/\\ / II"), Err(MarkProblem::Grouping));
        assert_eq!(week("/\\  II"), Err(MarkProblem::Gap));
        assert_eq!(week("  /\\"), Err(MarkProblem::Gap));
    }

    #[test]
    fn a_week_has_at_most_ten_sessions_and_may_have_fewer() {
        assert_eq!(week("/\\/\\/\\/\\/\\/"), Err(MarkProblem::TooLong(11)));
        assert_eq!(week("/"), Ok(vec![mark("/")]));
        assert_eq!(week(""), Ok(vec![]));
    }

    #[test]
    fn minutes_late_stand_in_brackets_after_late_codes() {
        let late = |minutes| SessionCell::Mark {
            code: AttendanceCode::L,
            minutes_late: Some(minutes),
        };
        assert_eq!(cell("L(12)"), Ok(late(12)));
        assert_eq!(cell("L (5)"), Ok(late(5)));
        assert_eq!(week("L(12)\\/\\").unwrap()[..2], [late(12), mark("\\")]);
        for wrong in ["L(x)", "L(12", "I(3)", "L(-1)", "L(99999)"] {
            assert_eq!(cell(wrong), Err(MarkProblem::Minutes), "{wrong}");
        }
    }

    #[test]
    fn a_cell_of_one_session_holds_one_mark_and_a_cell_of_a_day_two() {
        assert_eq!(cell("/\\"), Err(MarkProblem::Several(2)));
        let day = |text| read_day(text, &CodeTexts::new());
        assert_eq!(day("/\\"), Ok(vec![mark("/"), mark("\\")]));
        assert_eq!(day(" "), Ok(vec![]));
        assert_eq!(day("/"), Err(MarkProblem::NotTwo));
    }

    #[test]
    fn a_mapping_file_may_give_texts_for_codes() {
        let texts = CodeTexts::from([
            ("Present".to_owned(), AttendanceCode::PresentMorning),
            ("*".to_owned(), AttendanceCode::N),
        ]);
        assert_eq!(read_cell("Present", &texts), Ok(mark("/")));
        assert_eq!(read_week("/*", &texts), Ok(vec![mark("/"), mark("N")]));
    }

    #[test]
    fn a_message_shows_a_short_code_and_never_a_word() {
        assert!(cell("A").unwrap_err().to_string().contains("`A`"));
        assert!(!cell("Ada").unwrap_err().to_string().contains("Ad"));
    }
}
