//! What a use case refuses, in terms of the domain: the one error of this layer.

use crate::store::StoreError;

/// Something the caller has to change, in one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field, as a path from the request.
    pub field: String,
    /// A stable name of what is wrong.
    pub reason: &'static str,
    /// What is wrong and what to change. Holds no personal data.
    pub message: String,
}

impl FieldViolation {
    /// A violation of one field.
    pub fn new(field: impl Into<String>, reason: &'static str, message: impl Into<String>) -> FieldViolation {
        FieldViolation {
            field: field.into(),
            reason,
            message: message.into(),
        }
    }
}

/// The kinds of thing that can be absent or there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A trust.
    Trust,
    /// A school.
    School,
    /// A pupil.
    Pupil,
    /// An action.
    Action,
    /// A version of a policy.
    Policy,
    /// A job.
    Job,
    /// A hold.
    Hold,
    /// A version of a catalogue.
    Catalogue,
    /// A penalty notice.
    Notice,
    /// A school's calendar of an academic year.
    Calendar,
    /// A merge of two pupils.
    Merge,
    /// An enrolment.
    Enrolment,
    /// A reconciliation.
    Reconciliation,
    /// An identifier in a management information system.
    Identifier,
    /// A plan of support.
    Plan,
    /// A provision of a catalogue.
    Provision,
    /// For how long a trust keeps what it records.
    Retention,
    /// A legal hold.
    LegalHold,
}

impl Resource {
    /// The name of the kind, as error details give it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Resource::Trust => "trust",
            Resource::School => "school",
            Resource::Pupil => "pupil",
            Resource::Action => "action",
            Resource::Policy => "policy",
            Resource::Job => "job",
            Resource::Hold => "hold",
            Resource::Catalogue => "catalogue",
            Resource::Notice => "penalty notice",
            Resource::Calendar => "calendar",
            Resource::Merge => "merge",
            Resource::Enrolment => "enrolment",
            Resource::Reconciliation => "reconciliation",
            Resource::Identifier => "identifier",
            Resource::Plan => "plan",
            Resource::Provision => "provision",
            Resource::Retention => "retention",
            Resource::LegalHold => "legal hold",
        }
    }
}

/// What a use case refuses, or could not do.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The request is wrong whatever the state of the service.
    #[error("{}", describe(.0))]
    Invalid(Vec<FieldViolation>),
    /// The trust has no such thing. The same whether it never was or is another trust's.
    #[error("{}", absent(*.0))]
    NotFound(Resource),
    /// An identifier is already taken.
    #[error("{message}")]
    AlreadyExists {
        /// What is there already.
        resource: Resource,
        /// The field that holds the identifier.
        field: String,
        /// What is wrong and what to change. Holds no personal data.
        message: String,
    },
    /// Somebody else wrote between: read again and decide again.
    #[error("the {} has changed since it was read: read it again, and give the new etag", .0.as_str())]
    StaleEtag(Resource),
    /// The state does not allow it.
    #[error("{message}")]
    Precondition {
        /// A stable name of the reason.
        reason: &'static str,
        /// What is wrong and what to change. Holds no personal data.
        message: String,
    },
    /// An all-or-nothing batch with items that were not taken.
    #[error("{} of the items were not taken, so nothing of the batch was", rejections.len())]
    BatchRejected {
        /// The field that holds the items.
        items: &'static str,
        /// Those that were not taken.
        rejections: Vec<Rejection>,
    },
    /// What was asked for lies outside of what there is.
    #[error("{message}")]
    OutOfRange {
        /// A stable name of the reason.
        reason: &'static str,
        /// What is wrong and what to do. Holds no personal data.
        message: String,
        /// What a program needs to go on, by name.
        metadata: Vec<(&'static str, String)>,
    },
    /// Too much is asked for at once.
    #[error("{message}")]
    Exhausted {
        /// A stable name of the reason.
        reason: &'static str,
        /// What is wrong and what to do. Holds no personal data.
        message: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for ServiceError {
    fn from(error: diesel::result::Error) -> ServiceError {
        ServiceError::Store(error.into())
    }
}

impl ServiceError {
    /// One wrong field.
    pub fn invalid(field: impl Into<String>, reason: &'static str, message: impl Into<String>) -> ServiceError {
        ServiceError::Invalid(vec![FieldViolation::new(field, reason, message)])
    }
}

impl From<FieldViolation> for ServiceError {
    fn from(violation: FieldViolation) -> ServiceError {
        ServiceError::Invalid(vec![violation])
    }
}

fn absent(resource: Resource) -> String {
    match resource {
        Resource::Trust => "there is no such trust".to_owned(),
        resource => format!("the trust has no such {}", resource.as_str()),
    }
}

fn describe(violations: &[FieldViolation]) -> String {
    let texts: Vec<_> = violations
        .iter()
        .map(|violation| format!("{}: {}", violation.field, violation.message))
        .collect();
    texts.join("; ")
}

/// An item of a batch that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rejection {
    /// The place of the item in the batch, from 0.
    pub item_index: usize,
    /// A stable name of the reason.
    pub reason: String,
    /// The field, as a path from the item.
    pub field: String,
    /// The session concerned.
    pub session: Option<SessionAt>,
    /// What is wrong and what to change. Holds no personal data.
    pub message: String,
}

impl Rejection {
    /// A rejection that is about no session in particular.
    pub fn new(item_index: usize, field: impl Into<String>, reason: &str, message: impl Into<String>) -> Rejection {
        Rejection {
            item_index,
            reason: reason.to_owned(),
            field: field.into(),
            session: None,
            message: message.into(),
        }
    }

    /// The same, about a session.
    pub fn at(mut self, session: crate::domain::session::Session) -> Rejection {
        self.session = Some(session.into());
        self
    }
}

/// Something that was taken and deserves a look.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Warning {
    /// The place of the item in the batch, from 0.
    pub item_index: usize,
    /// A stable name of the kind of warning.
    pub reason: String,
    /// The field, as a path from the item.
    pub field: String,
    /// The session concerned.
    pub session: Option<SessionAt>,
    /// The byte of the code concerned; 0 for none.
    pub code: u8,
    /// A sentence for a person. Holds no personal data.
    pub message: String,
}

/// A session, as an answer that is kept stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SessionAt {
    /// The date.
    pub date: chrono::NaiveDate,
    /// Whether it is the afternoon.
    pub afternoon: bool,
}

impl From<crate::domain::session::Session> for SessionAt {
    fn from(session: crate::domain::session::Session) -> SessionAt {
        SessionAt {
            date: session.date,
            afternoon: session.half == crate::domain::session::SessionHalf::Pm,
        }
    }
}

impl From<SessionAt> for crate::domain::session::Session {
    fn from(session: SessionAt) -> crate::domain::session::Session {
        use crate::domain::session::SessionHalf;
        crate::domain::session::Session {
            date: session.date,
            half: if session.afternoon {
                SessionHalf::Pm
            } else {
                SessionHalf::Am
            },
        }
    }
}
