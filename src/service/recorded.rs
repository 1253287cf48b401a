//! Writes that can be asked for twice: the same request again gets the first answer.

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::ServiceError;
use crate::domain::identifiers::TrustId;
use crate::store::StoreError;
use crate::store::batches::{self, RecordedBatch};

/// An outcome with the record of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded<T> {
    /// The request's name.
    pub request_id: Uuid,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// Whether this is the answer of an earlier request with the same name.
    pub replayed: bool,
    /// What became of it.
    pub outcome: T,
}

/// What tells one request from another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// The caller's name for it.
    pub id: Uuid,
    /// The field that holds the name.
    pub field: &'static str,
    /// A digest of its content.
    pub fingerprint: &'a [u8],
}

/// A request under the name of another one.
pub(super) fn request_id_reused(field: &str) -> ServiceError {
    ServiceError::invalid(
        field,
        "REQUEST_ID_REUSED",
        "another request was made under this request_id: give a new one for new content, the old one only for a retry",
    )
}

/// The answer that a request of the same name had.
///
/// # Errors
/// [`ServiceError::Invalid`] where that request had another content.
pub(super) async fn earlier<T: DeserializeOwned>(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request: Request<'_>,
) -> Result<Option<Recorded<T>>, ServiceError> {
    let found = batches::find(conn, trust, request.id).await?;
    answer_of(found, request)
}

impl<'a> Request<'a> {
    /// A request that may have named itself, with its fingerprint.
    pub fn named(request: &'a Option<(Uuid, Vec<u8>)>) -> Option<Request<'a>> {
        request.as_ref().map(|(id, fingerprint)| Request {
            id: *id,
            field: "request_id",
            fingerprint,
        })
    }
}

/// The same, with how often it changed which pupil an identifier means.
pub(super) async fn earlier_with_identities<T: DeserializeOwned>(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request: Request<'_>,
) -> Result<(Option<Recorded<T>>, i64), ServiceError> {
    let (found, identities) = batches::find_with_identities(conn, trust, request.id).await?;
    Ok((answer_of(found, request)?, identities))
}

fn answer_of<T: DeserializeOwned>(
    found: Option<RecordedBatch>,
    request: Request<'_>,
) -> Result<Option<Recorded<T>>, ServiceError> {
    let Some(earlier) = found else {
        return Ok(None);
    };
    if earlier.fingerprint != request.fingerprint {
        return Err(request_id_reused(request.field));
    }
    let outcome = serde_json::from_value(earlier.answer).map_err(|_| StoreError::Corrupt("batches.answer"))?;
    Ok(Some(Recorded {
        request_id: request.id,
        recorded_at: earlier.recorded_at,
        replayed: true,
        outcome,
    }))
}

/// Keeps an answer, to give it again.
///
/// # Errors
/// [`StoreError::Conflict`] where the same request was under way twice and the other one was first: whoever begins anew
/// finds its answer.
pub(super) async fn record<T: Serialize>(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request: Request<'_>,
    outcome: T,
    now: DateTime<Utc>,
) -> Result<Recorded<T>, ServiceError> {
    let recorded = RecordedBatch {
        fingerprint: request.fingerprint.to_vec(),
        answer: serde_json::to_value(&outcome).map_err(|_| StoreError::Corrupt("batches.answer"))?,
        recorded_at: now,
    };
    if !batches::insert(conn, trust, request.id, &recorded).await? {
        return Err(StoreError::Conflict.into());
    }
    Ok(Recorded {
        request_id: request.id,
        recorded_at: now,
        replayed: false,
        outcome,
    })
}
