//! Names and versions as requests give them.

use super::convert;
use crate::service::error::FieldViolation;

/// The most characters of a name.
pub const NAME_CHARACTERS_MAX: usize = 200;

/// A name of a trust or a school: 1 to 200 characters, trimmed, none of them a control character.
pub fn name(field: &str, text: &str) -> Result<String, FieldViolation> {
    without_controls(field, convert::text(field, text, 1..=NAME_CHARACTERS_MAX)?)
}

/// A name of a pupil: up to 200 characters, trimmed, none of them a control character. It may be empty, since some callers
/// give no names.
pub fn pupil_name(field: &str, text: &str) -> Result<String, FieldViolation> {
    without_controls(field, convert::text(field, text, 0..=NAME_CHARACTERS_MAX)?)
}

fn without_controls(field: &str, text: String) -> Result<String, FieldViolation> {
    if text.chars().any(char::is_control) {
        let message = "take the control characters (line ends, tabs, NUL) away";
        return Err(FieldViolation::new(field, "INVALID_TEXT", message));
    }
    Ok(text)
}

/// The version that an update expects; nothing where it gives no etag. One that is none of ours is version 0, which no
/// row has, so that it is stale.
pub fn expected_version(etag: &str) -> Option<i64> {
    (!etag.is_empty()).then(|| convert::etag(etag).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_has_no_control_characters() {
        assert_eq!(name("name", " Oak Tree ").as_deref(), Ok("Oak Tree"));
        for (wrong, reason) in [("", "MISSING_TEXT"), ("a\0b", "INVALID_TEXT"), ("a\nb", "INVALID_TEXT")] {
            assert_eq!(name("name", wrong).map_err(|found| found.reason), Err(reason));
        }
        let long = "é".repeat(NAME_CHARACTERS_MAX);
        assert_eq!(pupil_name("name", &long), Ok(long.clone()));
        assert_eq!(
            pupil_name("name", &(long + "é")).map_err(|found| found.reason),
            Err("TEXT_TOO_LONG")
        );
        assert_eq!(pupil_name("name", ""), Ok(String::new()));
    }

    #[test]
    fn an_etag_of_another_make_is_stale() {
        assert_eq!(expected_version(""), None);
        assert_eq!(expected_version("\"3\""), Some(3));
        assert_eq!(expected_version("3"), Some(0));
    }
}
