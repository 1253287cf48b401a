//! What can go wrong with a command, in words for the person who ran it, and its exit code.

use std::fmt;
use std::process::ExitCode;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::sample::SampleError;

/// Why a command ended without doing what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The arguments cannot be right. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The arguments ask for a sample that cannot be generated. Exit code 2.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// Nobody answers. Exit code 3.
    #[error("the service cannot be reached: {0}\nIs it running, and is this its address?")]
    Unreachable(String),
    /// The service said no. Exit code 1.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// Something of a batch was not taken. Exit code 1.
    #[error("not everything was taken: {0}")]
    NotTaken(String),
    /// The service's answer lacks what the contract promises. Exit code 1.
    #[error("the service's answer lacks {0}: is it of another version?")]
    Answer(&'static str),
    /// The person said no. Exit code 1.
    #[error("nothing was loaded")]
    Declined,
    /// The output cannot be written, or a question cannot be asked. Exit code 1.
    #[error("the terminal or file cannot be used: {0}")]
    Terminal(#[from] std::io::Error),
}

/// A call that the service refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The canonical code.
    pub code: Code,
    /// The stable name of the reason; empty where the service gave none.
    pub reason: String,
    /// The service's sentence.
    pub message: String,
    /// The fields at fault, each with what is wrong with it.
    pub violations: Vec<(String, String)>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the service refused: {}", self.message)?;
        if self.reason.is_empty() {
            write!(formatter, " [{:?}]", self.code)?;
        } else {
            write!(formatter, " [{}]", self.reason)?;
        }
        for (field, description) in &self.violations {
            write!(formatter, "\n  {field}: {description}")?;
        }
        Ok(())
    }
}

impl CommandError {
    /// 1 where the service refused or something was not taken, 2 for wrong arguments, 3 where nobody answers.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            CommandError::Usage(_) | CommandError::Sample(_) => ExitCode::from(2),
            CommandError::Unreachable(_) => ExitCode::from(3),
            CommandError::Refused(_)
            | CommandError::NotTaken(_)
            | CommandError::Answer(_)
            | CommandError::Declined
            | CommandError::Terminal(_) => ExitCode::from(1),
        }
    }
}

impl From<Status> for CommandError {
    fn from(status: Status) -> CommandError {
        let from_transport = std::iter::successors(std::error::Error::source(&status), |error| error.source())
            .any(|error| error.is::<tonic::transport::Error>());
        let reason = status.get_details_error_info().map(|info| info.reason);
        if from_transport || (status.code() == Code::Unavailable && reason.is_none()) {
            return CommandError::Unreachable(status.message().to_owned());
        }
        let violations = status
            .get_details_bad_request()
            .map(|bad_request| bad_request.field_violations)
            .unwrap_or_default();
        CommandError::Refused(Box::new(Refusal {
            code: status.code(),
            reason: reason.unwrap_or_default(),
            message: status.message().to_owned(),
            violations: violations
                .into_iter()
                .map(|violation| (violation.field, violation.description))
                .collect(),
        }))
    }
}

impl From<tonic::transport::Error> for CommandError {
    fn from(error: tonic::transport::Error) -> CommandError {
        let mut causes = vec![error.to_string()];
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        // One error that only hands on another says the same.
        causes.dedup();
        CommandError::Unreachable(causes.join(": "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn a_refusal_names_its_reason_and_the_fields_at_fault() {
        let mut details = ErrorDetails::new();
        details
            .set_error_info("INVALID_FIELD", "graduated-response", std::collections::HashMap::new())
            .add_bad_request_violation("pupil.upn", "is 12 characters; a UPN has 13");
        let status = Status::with_error_details(Code::InvalidArgument, "a field is not valid", details);
        let error = CommandError::from(status);
        assert_eq!(
            error.to_string(),
            "the service refused: a field is not valid [INVALID_FIELD]\n  pupil.upn: is 12 characters; a UPN has 13"
        );
        assert_eq!(error.exit_code(), ExitCode::from(1));
    }

    #[tokio::test]
    async fn a_service_that_is_not_there_cannot_be_reached() {
        // Port 1 of the loopback is nobody's.
        let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        let status = crate::proto::admin_service_client::AdminServiceClient::new(channel)
            .get_server_info(crate::proto::GetServerInfoRequest {})
            .await
            .unwrap_err();
        let error = CommandError::from(status);
        assert!(matches!(error, CommandError::Unreachable(_)), "{error:?}");
        assert_eq!(error.exit_code(), ExitCode::from(3));
    }
}
