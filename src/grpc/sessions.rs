//! `SessionService`.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use prost::Message as _;
use sha2::{Digest, Sha256};
use tonic::{Request, Response, Status, Streaming};

use super::convert::{
    correction, count, optional_school_key, pupil_key, request_id, session, to_rejection, to_tally, to_timestamp,
    to_warning, trust_id,
};
use super::{freshness, reconciliations, session_lists, status};
use crate::domain::identifiers::{PupilKey, TrustId};
use crate::domain::session::AcademicYear;
use crate::proto as pb;
use crate::proto::session_service_server::SessionService;
use crate::service::error::{FieldViolation, Rejection};
use crate::service::recorded::Recorded;
use crate::service::sessions::{SessionBatch, SessionBatchOutcome, SessionItem, check_run};
use crate::service::{Limits, Service, ServiceError};

/// Serves `SessionService`.
#[derive(Clone)]
pub struct SessionHandler {
    service: Service,
}

impl SessionHandler {
    /// The handler over the use cases.
    pub fn new(service: Service) -> SessionHandler {
        SessionHandler { service }
    }

    async fn record(&self, trust: TrustId, batch: pb::SessionBatch) -> Result<pb::SessionBatchResult, ServiceError> {
        let batch = session_batch(batch, &self.service.limits)?;
        let recorded = self.service.record_sessions(trust, &batch).await?;
        Ok(to_batch_result(recorded))
    }
}

type Acknowledgements = Pin<Box<dyn Stream<Item = Result<pb::StreamSessionsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl SessionService for SessionHandler {
    async fn record_sessions(
        &self,
        request: Request<pb::RecordSessionsRequest>,
    ) -> Result<Response<pb::RecordSessionsResponse>, Status> {
        let request = request.into_inner();
        let trust = trust_id(&request.trust_id).map_err(ServiceError::from)?;
        let batch = request.batch.unwrap_or_default();
        let result = self.record(trust, batch).await?;
        Ok(Response::new(pb::RecordSessionsResponse { result: Some(result) }))
    }

    type StreamSessionsStream = Acknowledgements;

    async fn stream_sessions(
        &self,
        request: Request<Streaming<pb::StreamSessionsRequest>>,
    ) -> Result<Response<Acknowledgements>, Status> {
        let handler = self.clone();
        let requests = request.into_inner();
        // One batch is recorded while the next is read: the caller is held back by flow control, so that a stream never
        // holds more than that.
        let acknowledgements = futures::stream::unfold(
            (requests, None, handler),
            |(mut requests, mut trust, handler)| async move {
                let answer = match requests.next().await? {
                    Ok(request) => handler.acknowledge(&mut trust, request).await,
                    Err(status) => Err(status),
                };
                Some((answer, (requests, trust, handler)))
            },
        );
        Ok(Response::new(Box::pin(end_with_error(acknowledgements))))
    }

    async fn list_registers(
        &self,
        request: Request<pb::ListRegistersRequest>,
    ) -> Result<Response<pb::ListRegistersResponse>, Status> {
        let request = request.into_inner();
        let read = || -> Result<_, FieldViolation> {
            let year = match request.academic_year {
                0 => None,
                year => Some(academic_year(year)?),
            };
            Ok((
                trust_id(&request.trust_id)?,
                pupil_key("pupil", request.pupil.as_ref())?,
                year,
            ))
        };
        let (trust, pupil, year) = read().map_err(ServiceError::from)?;
        let (year, registers) = self.service.list_registers(trust, &pupil, year).await?;
        let registers = registers.into_iter().map(|found| pb::Register {
            enrolment_id: found.register.enrolment_id.to_string(),
            school_id: found.register.school_id.to_string(),
            academic_year: i32::from(year.start_year()),
            marks: found.register.marks.into_iter().map(i32::from).collect(),
            tally: Some(to_tally(found.tally)),
        });
        Ok(Response::new(pb::ListRegistersResponse {
            registers: registers.collect(),
        }))
    }

    async fn list_revisions(
        &self,
        request: Request<pb::ListRevisionsRequest>,
    ) -> Result<Response<pb::ListRevisionsResponse>, Status> {
        Ok(Response::new(
            session_lists::revisions(&self.service, request.into_inner()).await?,
        ))
    }

    async fn list_school_freshness(
        &self,
        request: Request<pb::ListSchoolFreshnessRequest>,
    ) -> Result<Response<pb::ListSchoolFreshnessResponse>, Status> {
        Ok(Response::new(
            freshness::list(&self.service, request.into_inner()).await?,
        ))
    }

    async fn reconcile_registers(
        &self,
        request: Request<Streaming<pb::ReconcileRegistersRequest>>,
    ) -> Result<Response<pb::ReconcileRegistersResponse>, Status> {
        Ok(Response::new(
            reconciliations::reconcile(&self.service, request.into_inner()).await?,
        ))
    }

    async fn approve_reconciliation(
        &self,
        request: Request<pb::ApproveReconciliationRequest>,
    ) -> Result<Response<pb::ApproveReconciliationResponse>, Status> {
        Ok(Response::new(
            reconciliations::approve(&self.service, request.into_inner()).await?,
        ))
    }

    async fn discard_reconciliation(
        &self,
        request: Request<pb::DiscardReconciliationRequest>,
    ) -> Result<Response<pb::DiscardReconciliationResponse>, Status> {
        Ok(Response::new(
            reconciliations::discard(&self.service, request.into_inner()).await?,
        ))
    }

    async fn get_reconciliation(
        &self,
        request: Request<pb::GetReconciliationRequest>,
    ) -> Result<Response<pb::GetReconciliationResponse>, Status> {
        Ok(Response::new(
            reconciliations::get(&self.service, request.into_inner()).await?,
        ))
    }

    async fn list_reconciliations(
        &self,
        request: Request<pb::ListReconciliationsRequest>,
    ) -> Result<Response<pb::ListReconciliationsResponse>, Status> {
        Ok(Response::new(
            reconciliations::list(&self.service, request.into_inner()).await?,
        ))
    }

    async fn list_unexplained_absences(
        &self,
        request: Request<pb::ListUnexplainedAbsencesRequest>,
    ) -> Result<Response<pb::ListUnexplainedAbsencesResponse>, Status> {
        Ok(Response::new(
            session_lists::unexplained(&self.service, request.into_inner()).await?,
        ))
    }

    async fn list_doubly_marked_sessions(
        &self,
        request: Request<pb::ListDoublyMarkedSessionsRequest>,
    ) -> Result<Response<pb::ListDoublyMarkedSessionsResponse>, Status> {
        Ok(Response::new(
            session_lists::doubly_marked(&self.service, request.into_inner()).await?,
        ))
    }
}

/// Ends a stream after its first error.
fn end_with_error<T: Send + 'static>(
    stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> impl Stream<Item = Result<T, Status>> + Send + 'static {
    stream.scan(false, |failed, item| {
        let go_on = !*failed;
        *failed |= item.is_err();
        futures::future::ready(go_on.then_some(item))
    })
}

impl SessionHandler {
    /// Records one batch of a stream. What is wrong with the batch alone is answered, and the stream goes on; what is
    /// wrong with the stream or the service ends it.
    async fn acknowledge(
        &self,
        trust: &mut Option<TrustId>,
        request: pb::StreamSessionsRequest,
    ) -> Result<pb::StreamSessionsResponse, Status> {
        use pb::stream_sessions_response::Outcome;
        let named = match (request.trust_id.as_str(), *trust) {
            ("", Some(known)) => known,
            (text, known) => {
                let named = trust_id(text).map_err(ServiceError::from)?;
                if known.is_some_and(|known| known != named) {
                    let changed = "a stream belongs to one trust: open another stream for another trust";
                    return Err(ServiceError::invalid("trust_id", "TRUST_CHANGED", changed).into());
                }
                named
            }
        };
        *trust = Some(named);
        let batch = request.batch.unwrap_or_default();
        let outcome = match self.record(named, batch).await {
            Ok(result) => Outcome::Result(result),
            Err(error) => match status::batch_refusal(error) {
                Ok(refusal) => Outcome::Refusal(refusal),
                Err(error) => return Err(error.into()),
            },
        };
        Ok(pb::StreamSessionsResponse { outcome: Some(outcome) })
    }
}

/// The academic year that begins in a year.
pub(super) fn academic_year(year: i32) -> Result<AcademicYear, FieldViolation> {
    AcademicYear::from_start_year(year).ok_or_else(|| {
        FieldViolation::new(
            "academic_year",
            "INVALID_ACADEMIC_YEAR",
            format!(
                "give the year in which it begins, {} to {}, or 0 for the current one",
                AcademicYear::RANGE.start(),
                AcademicYear::RANGE.end()
            ),
        )
    })
}

/// A digest of a batch's content, whatever its name: of each item without its marks, and its marks as bytes; then of the
/// rest. Marks are what there is most of, and are bytes as soon as they are known to be codes.
fn fingerprint(batch: &mut pb::SessionBatch) -> Vec<u8> {
    let mut digest = Sha256::new();
    let mut bytes = Vec::with_capacity(1024);
    for item in &mut batch.items {
        let marks = std::mem::take(&mut item.marks);
        bytes.clear();
        // Writing to memory cannot fail.
        let _ = item.encode_length_delimited(&mut bytes);
        bytes.extend((marks.len() as u64).to_le_bytes());
        let begin = bytes.len();
        bytes.extend(marks.iter().map(|mark| *mark as u8));
        if marks
            .iter()
            .zip(&bytes[begin..])
            .any(|(mark, byte)| *mark != i32::from(*byte))
        {
            // No codes: told apart by what they are, though the item will be rejected.
            bytes.extend(marks.iter().flat_map(|mark| mark.to_le_bytes()));
        }
        digest.update(&bytes);
        item.marks = marks;
    }
    let items = std::mem::take(&mut batch.items);
    let request_id = std::mem::take(&mut batch.request_id);
    digest.update(batch.encode_to_vec());
    batch.items = items;
    batch.request_id = request_id;
    digest.finalize().to_vec()
}

/// Reads a batch. What is wrong with the batch refuses it; what is wrong with an item rejects the item.
fn session_batch(mut batch: pb::SessionBatch, limits: &Limits) -> Result<SessionBatch, FieldViolation> {
    if batch.items.is_empty() {
        return Err(FieldViolation::new(
            "batch.items",
            "EMPTY_BATCH",
            "give at least one item",
        ));
    }
    if batch.items.len() > limits.session_items_max {
        return Err(FieldViolation::new(
            "batch.items",
            "BATCH_TOO_LARGE",
            format!(
                "{} items are over the limit of {}: send them in several batches",
                batch.items.len(),
                limits.session_items_max
            ),
        ));
    }
    let request_id = request_id("batch.request_id", &batch.request_id)?;
    let school = optional_school_key("batch.school", &batch.school)?;
    let correction = correction("batch.correction", batch.correction.as_ref())?;
    let fingerprint = fingerprint(&mut batch);
    let mut items = Vec::with_capacity(batch.items.len());
    let mut rejections = Vec::new();
    for (item_index, item) in batch.items.into_iter().enumerate() {
        match session_item(item_index, &item) {
            Ok(item) => items.push(item),
            Err(rejection) => rejections.push(*rejection),
        }
    }
    Ok(SessionBatch {
        request_id,
        fingerprint,
        items,
        rejections,
        school,
        correction,
        all_or_nothing: batch.all_or_nothing,
    })
}

fn session_item(item_index: usize, item: &pb::SessionItem) -> Result<SessionItem, Box<Rejection>> {
    let reject = |violation: FieldViolation| {
        Box::new(Rejection::new(
            item_index,
            violation.field,
            violation.reason,
            violation.message,
        ))
    };
    let pupil: PupilKey = pupil_key("pupil", item.pupil.as_ref()).map_err(reject)?;
    let first_session = session("first_session", item.first_session.as_ref()).map_err(reject)?;
    let place = AcademicYear::containing(first_session.date)
        .and_then(|year| year.index_of(first_session).map(|first| (year, first)));
    let Some((year, first)) = place else {
        let message = format!(
            "give a date in the academic years {} to {}",
            AcademicYear::RANGE.start(),
            AcademicYear::RANGE.end()
        );
        return Err(reject(FieldViolation::new(
            "first_session.date",
            "INVALID_DATE",
            message,
        )));
    };
    let marks = check_run(year, first, &item.marks).map_err(|violation| {
        let place = violation
            .field
            .strip_prefix("marks[")
            .and_then(|rest| rest.strip_suffix(']'))
            .and_then(|place| place.parse::<usize>().ok());
        let mut rejection = reject(violation);
        if let Some(place) = place.filter(|place| first + place < year.sessions()) {
            rejection.session = Some(year.session_at(first + place).into());
        }
        rejection
    })?;
    Ok(SessionItem {
        item_index,
        pupil,
        year,
        first,
        marks,
        school: optional_school_key("school", &item.school).map_err(reject)?,
        correction: correction("correction", item.correction.as_ref()).map_err(reject)?,
    })
}

fn to_batch_result(recorded: Recorded<SessionBatchOutcome>) -> pb::SessionBatchResult {
    let outcome = recorded.outcome;
    let marks = |marks: u64| i64::try_from(marks).unwrap_or(i64::MAX);
    pb::SessionBatchResult {
        receipt: Some(pb::Receipt {
            request_id: recorded.request_id.to_string(),
            recorded_at: Some(to_timestamp(recorded.recorded_at)),
            replayed: recorded.replayed,
        }),
        accepted: count(outcome.accepted),
        unchanged: count(outcome.unchanged),
        corrected: count(outcome.corrected),
        rejected: count(outcome.rejections.len()),
        marks_new: marks(outcome.marks_new),
        marks_corrected: marks(outcome.marks_corrected),
        marks_unchanged: marks(outcome.marks_unchanged),
        transitions: count(outcome.transitions),
        rejections: outcome.rejections.into_iter().map(to_rejection).collect(),
        warnings: outcome.warnings.into_iter().map(to_warning).collect(),
        warnings_total: count(outcome.warnings_total),
    }
}
