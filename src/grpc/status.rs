//! The one place that turns errors into gRPC status with `google.rpc` details.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation as RpcFieldViolation, StatusExt};

use super::convert::to_rejection;
use crate::proto as pb;
use crate::service::ServiceError;
use crate::service::error::FieldViolation;
use crate::store::StoreError;

/// The domain of every `ErrorInfo` of this service.
pub const ERROR_DOMAIN: &str = "graduated-response";

/// How many items an error lists: an error travels in headers, which are bounded.
const DETAILS_MAX: usize = 20;

impl From<ServiceError> for Status {
    fn from(error: ServiceError) -> Status {
        let message = error.to_string();
        match error {
            ServiceError::Invalid(violations) => invalid(&message, violations),
            ServiceError::NotFound(resource) => {
                let mut details = info("NOT_FOUND");
                details.set_resource_info(resource.as_str(), "", "", message.clone());
                Status::with_error_details(Code::NotFound, message, details)
            }
            ServiceError::AlreadyExists { resource, field, .. } => {
                let mut details = info("ALREADY_EXISTS");
                details.set_resource_info(resource.as_str(), "", "", message.clone());
                details.set_bad_request(vec![violation(field, "ALREADY_EXISTS", message.clone())]);
                Status::with_error_details(Code::AlreadyExists, message, details)
            }
            ServiceError::StaleEtag(_) => {
                let mut details = info("STALE_ETAG");
                details.set_bad_request(vec![violation("etag".into(), "STALE_ETAG", message.clone())]);
                Status::with_error_details(Code::Aborted, message, details)
            }
            ServiceError::Precondition { reason, .. } => {
                let mut details = info(reason);
                details.add_precondition_failure_violation(reason, "", message.clone());
                Status::with_error_details(Code::FailedPrecondition, message, details)
            }
            ServiceError::BatchRejected { items, rejections } => {
                let violations = rejections.into_iter().map(|rejection| {
                    violation(
                        format!("{items}[{}].{}", rejection.item_index, rejection.field),
                        &rejection.reason,
                        rejection.message,
                    )
                });
                let mut details = info("BATCH_REJECTED");
                details.set_bad_request(violations.take(DETAILS_MAX).collect::<Vec<_>>());
                Status::with_error_details(Code::InvalidArgument, message, details)
            }
            ServiceError::OutOfRange { reason, metadata, .. } => {
                let metadata = metadata.into_iter().map(|(name, value)| (name.to_owned(), value));
                let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata.collect::<HashMap<_, _>>());
                Status::with_error_details(Code::OutOfRange, message, details)
            }
            ServiceError::Exhausted { reason, .. } => {
                let mut details = info(reason);
                details.set_retry_info(Some(Duration::from_secs(5)));
                Status::with_error_details(Code::ResourceExhausted, message, details)
            }
            ServiceError::Store(error) => store(&error),
        }
    }
}

fn info(reason: &str) -> ErrorDetails {
    ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new())
}

fn violation(field: String, reason: &str, description: String) -> RpcFieldViolation {
    RpcFieldViolation {
        field,
        description,
        reason: reason.to_owned(),
        localized_message: None,
    }
}

fn invalid(message: &str, violations: Vec<FieldViolation>) -> Status {
    let reason = violations.first().map_or("INVALID", |first| first.reason);
    let mut details = info(reason);
    let violations = violations
        .into_iter()
        .take(DETAILS_MAX)
        .map(|found| violation(found.field, found.reason, found.message));
    details.set_bad_request(violations.collect::<Vec<_>>());
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// What went wrong in the database is for the log; the caller learns whether to try again.
fn store(error: &StoreError) -> Status {
    if !matches!(error, StoreError::Shared(_)) {
        tracing::error!(error = %error, "the store failed");
    }
    match error {
        StoreError::Shared(error) => store(error),
        StoreError::Pool(_) | StoreError::Connection(_) | StoreError::Stopped => unavailable(),
        lost if lost.is_lost_connection() => unavailable(),
        transient if transient.is_transient() => {
            let mut details = info("CONFLICT");
            details.set_retry_info(Some(Duration::from_millis(100)));
            Status::with_error_details(Code::Aborted, "another write was in the way: try again", details)
        }
        _ => Status::with_error_details(Code::Internal, "the service failed: its log says why", info("INTERNAL")),
    }
}

/// What is wrong with one batch of a stream, as its acknowledgement says it; the error itself where it is not the batch's
/// fault, and ends the stream.
pub fn batch_refusal(error: ServiceError) -> Result<pb::SessionBatchRefusal, ServiceError> {
    let message = error.to_string();
    match error {
        ServiceError::Invalid(violations) => {
            let first = violations.into_iter().next();
            let (reason, field) = first.map_or(("INVALID", String::new()), |first| (first.reason, first.field));
            Ok(pb::SessionBatchRefusal {
                code: Code::InvalidArgument as i32,
                reason: reason.to_owned(),
                field,
                message,
                rejections: Vec::new(),
            })
        }
        ServiceError::BatchRejected { items, rejections } => Ok(pb::SessionBatchRefusal {
            code: Code::InvalidArgument as i32,
            reason: "BATCH_REJECTED".to_owned(),
            field: items.to_owned(),
            message,
            rejections: rejections.into_iter().map(to_rejection).collect(),
        }),
        error => Err(error),
    }
}

fn unavailable() -> Status {
    let mut details = info("DATABASE_UNAVAILABLE");
    details.set_retry_info(Some(Duration::from_secs(1)));
    Status::with_error_details(Code::Unavailable, "the database cannot be reached: try again", details)
}
