//! Update masks: which fields of a resource a call writes.

use prost_types::FieldMask;

use crate::service::error::FieldViolation;

/// The fields that a mask names: at least one, and none but those in `allowed`.
pub fn paths<'a>(mask: Option<&'a FieldMask>, allowed: &[&str]) -> Result<Vec<&'a str>, FieldViolation> {
    let refuse = |reason, what: &str| {
        let message = format!("{what}: name at least one of {}", allowed.join(", "));
        FieldViolation::new("update_mask", reason, message)
    };
    let paths: Vec<&str> = mask
        .map(|mask| mask.paths.iter().map(String::as_str).collect())
        .unwrap_or_default();
    if paths.is_empty() {
        return Err(refuse("MISSING_UPDATE_MASK", "no field is named"));
    }
    // A path that is not known is not repeated: it may be anything, a name too.
    if paths.iter().any(|path| !allowed.contains(path)) {
        return Err(refuse(
            "UNKNOWN_UPDATE_MASK_PATH",
            "a path is none of the fields that can be written",
        ));
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask {
            paths: paths.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_mask_that_is_empty_or_names_something_else_is_refused_with_what_it_may_name() {
        let allowed = ["name", "phase"];
        for (asked, reason) in [
            (None, "MISSING_UPDATE_MASK"),
            (Some(mask(&[])), "MISSING_UPDATE_MASK"),
            (Some(mask(&["name", "urn"])), "UNKNOWN_UPDATE_MASK_PATH"),
            (Some(mask(&["*"])), "UNKNOWN_UPDATE_MASK_PATH"),
        ] {
            let refused = paths(asked.as_ref(), &allowed).unwrap_err();
            assert_eq!((refused.field.as_str(), refused.reason), ("update_mask", reason));
            assert!(
                refused.message.ends_with("at least one of name, phase"),
                "{}",
                refused.message
            );
        }
        assert_eq!(
            paths(Some(&mask(&["phase", "name"])), &allowed),
            Ok(vec!["phase", "name"])
        );
    }
}
