//! What the service refused, and whether it is the error that a case expects.

use tonic::Status;
use tonic_types::StatusExt as _;

use crate::common::world::pb;

/// The names that the notation suggests, each with the reasons of the service that mean it.
const REASONS: [(&str, &[&str]); 8] = [
    ("UNKNOWN_CODE", &["UNKNOWN_CODE"]),
    ("INVALID_DATE", &["INVALID_DATE"]),
    ("INVALID_SESSION", &["INVALID_SESSION"]),
    ("OVERLAPPING_ENROLMENT", &["OVERLAPPING_ENROLMENT"]),
    ("OUTSIDE_ENROLMENT", &["OUTSIDE_ENROLMENT"]),
    ("UNKNOWN_SCHOOL", &["UNKNOWN_SCHOOL"]),
    (
        "INVALID_ENROLMENT",
        &["INVALID_ENROLMENT_KIND", "INVALID_DATE_RANGE", "OVERLAPPING_ENROLMENT"],
    ),
    ("INVALID_COUNTS", &["INVALID_COUNTS"]),
];

/// Something that was refused, with its stable reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: String,
    pub message: String,
}

impl Refusal {
    /// Whether this is the error that is meant. A name that the notation does not suggest means any refusal.
    pub fn is(&self, wanted: &str) -> bool {
        let known = REASONS.iter().find(|(name, _)| *name == wanted);
        known.is_none_or(|(_, reasons)| reasons.contains(&self.reason.as_str()))
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Refusal {
        let of_field = status.get_details_bad_request().and_then(|found| {
            let violation = found.field_violations.into_iter().next()?;
            Some(violation.reason).filter(|reason| !reason.is_empty())
        });
        let of_error = || status.get_details_error_info().map(|info| info.reason);
        Refusal {
            reason: of_field.or_else(of_error).unwrap_or_else(|| status.code().to_string()),
            message: status.message().to_owned(),
        }
    }
}

impl From<&pb::Rejection> for Refusal {
    fn from(rejection: &pb::Rejection) -> Refusal {
        Refusal {
            reason: rejection.reason.clone(),
            message: rejection.message.clone(),
        }
    }
}
