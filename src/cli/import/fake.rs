//! A service in memory, as much of it as an import calls. Part of the tests: it panics where they are wrong.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use chrono::{Datelike, Days, NaiveDate};
use futures::future::BoxFuture;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

use crate::proto::admin_service_server::{AdminService, AdminServiceServer};
use crate::proto::pupil_service_server::{PupilService, PupilServiceServer};
use crate::proto::session_service_server::{SessionService, SessionServiceServer};
use crate::proto::*;

/// What the service holds, and what it was asked.
#[derive(Default)]
pub struct State {
    pub schools: Vec<School>,
    pub pupils: Vec<Pupil>,
    /// Marks by pupil's key, school and place: two places a day.
    pub marks: BTreeMap<(String, String, NaiveDate, i32), i32>,
    pub upserts: Vec<BatchUpsertPupilsRequest>,
    pub batches: Vec<SessionBatch>,
    answers: HashMap<String, SessionBatchResult>,
}

#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<State>>);

fn key_text(key: Option<&PupilKey>) -> String {
    match key.and_then(|key| key.key.as_ref()) {
        Some(pupil_key::Key::Upn(upn)) => upn.clone(),
        Some(pupil_key::Key::MisIdentifier(mis)) => format!("{}={}", mis.source, mis.value),
        other => panic!("an import names no pupil by {other:?}"),
    }
}

impl Fake {
    /// A service with two schools.
    pub fn new() -> Fake {
        let fake = Fake::default();
        for (urn, laestab) in [("100001", "9991001"), ("100002", "9990012")] {
            fake.state().schools.push(School {
                school_id: format!("school-{urn}"),
                urn: urn.to_owned(),
                laestab: laestab.to_owned(),
                name: format!("School {urn}"),
                ..School::default()
            });
        }
        fake
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Serves on a port of its own until the test ends.
    pub async fn serve(&self) -> Channel {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server = Server::builder()
            .add_service(AdminServiceServer::new(self.clone()))
            .add_service(PupilServiceServer::new(self.clone()))
            .add_service(SessionServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(incoming));
        Channel::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_lazy()
    }
}

/// Written out, since `async_trait` does not see into a macro.
macro_rules! not_served {
    ($($name:ident $request:ident $response:ident;)*) => {$(
        fn $name<'service, 'answer>(
            &'service self,
            _: Request<$request>,
        ) -> BoxFuture<'answer, Result<Response<$response>, Status>>
        where
            'service: 'answer,
            Self: 'answer,
        {
            Box::pin(async { Err(Status::unimplemented("an import does not call this")) })
        }
    )*};
}

#[tonic::async_trait]
impl AdminService for Fake {
    type WatchJobStream = tokio_stream::Empty<Result<WatchJobResponse, Status>>;
    type ExportSubjectDataStream = tokio_stream::Empty<Result<ExportSubjectDataResponse, Status>>;

    async fn export_subject_data(
        &self,
        _: Request<ExportSubjectDataRequest>,
    ) -> Result<Response<Self::ExportSubjectDataStream>, Status> {
        Err(Status::unimplemented("an import does not call this"))
    }

    async fn watch_job(&self, _: Request<WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        Err(Status::unimplemented("an import does not call this"))
    }

    async fn get_school(&self, request: Request<GetSchoolRequest>) -> Result<Response<GetSchoolResponse>, Status> {
        let wanted = request.into_inner().school;
        let state = self.state();
        let found = state.schools.iter().find(|school| school.urn == wanted);
        let school = Some(found.ok_or_else(|| Status::not_found("school"))?.clone());
        Ok(Response::new(GetSchoolResponse { school }))
    }

    async fn list_schools(&self, _: Request<ListSchoolsRequest>) -> Result<Response<ListSchoolsResponse>, Status> {
        Ok(Response::new(ListSchoolsResponse {
            schools: self.state().schools.clone(),
            next_page_token: String::new(),
        }))
    }

    not_served! {
        create_trust CreateTrustRequest CreateTrustResponse;
        get_trust GetTrustRequest GetTrustResponse;
        list_trusts ListTrustsRequest ListTrustsResponse;
        update_trust UpdateTrustRequest UpdateTrustResponse;
        create_school CreateSchoolRequest CreateSchoolResponse;
        update_school UpdateSchoolRequest UpdateSchoolResponse;
        get_server_info GetServerInfoRequest GetServerInfoResponse;
        get_calendar GetCalendarRequest GetCalendarResponse;
        list_calendars ListCalendarsRequest ListCalendarsResponse;
        update_calendar UpdateCalendarRequest UpdateCalendarResponse;
        import_calendar ImportCalendarRequest ImportCalendarResponse;
        get_retention GetRetentionRequest GetRetentionResponse;
        update_retention UpdateRetentionRequest UpdateRetentionResponse;
        preview_retention PreviewRetentionRequest PreviewRetentionResponse;
        apply_retention ApplyRetentionRequest ApplyRetentionResponse;
        erase_pupil ErasePupilRequest ErasePupilResponse;
        list_erasures ListErasuresRequest ListErasuresResponse;
        place_legal_hold PlaceLegalHoldRequest PlaceLegalHoldResponse;
        lift_legal_hold LiftLegalHoldRequest LiftLegalHoldResponse;
        list_legal_holds ListLegalHoldsRequest ListLegalHoldsResponse;
        create_policy CreatePolicyRequest CreatePolicyResponse;
        update_policy UpdatePolicyRequest UpdatePolicyResponse;
        get_policy GetPolicyRequest GetPolicyResponse;
        list_policies ListPoliciesRequest ListPoliciesResponse;
        list_policy_activations ListPolicyActivationsRequest ListPolicyActivationsResponse;
        preview_policy PreviewPolicyRequest PreviewPolicyResponse;
        activate_policy ActivatePolicyRequest ActivatePolicyResponse;
        get_job GetJobRequest GetJobResponse;
        list_jobs ListJobsRequest ListJobsResponse;
        create_hold CreateHoldRequest CreateHoldResponse;
        list_holds ListHoldsRequest ListHoldsResponse;
        end_hold EndHoldRequest EndHoldResponse;
        confirm_fall ConfirmFallRequest ConfirmFallResponse;
        create_catalogue CreateCatalogueRequest CreateCatalogueResponse;
        get_catalogue GetCatalogueRequest GetCatalogueResponse;
        list_catalogues ListCataloguesRequest ListCataloguesResponse;
        activate_catalogue ActivateCatalogueRequest ActivateCatalogueResponse;
    }
}

#[tonic::async_trait]
impl PupilService for Fake {
    async fn get_pupil(&self, request: Request<GetPupilRequest>) -> Result<Response<GetPupilResponse>, Status> {
        let wanted = key_text(request.into_inner().pupil.as_ref());
        let state = self.state();
        let named = |pupil: &&Pupil| {
            let mis = |mis: &MisIdentifier| format!("{}={}", mis.source, mis.value) == wanted;
            pupil.upn == wanted || pupil.mis_identifiers.iter().any(mis)
        };
        let found = state.pupils.iter().find(named);
        let pupil = Some(found.ok_or_else(|| Status::not_found("pupil"))?.clone());
        Ok(Response::new(GetPupilResponse { pupil }))
    }

    /// Refuses pupils with the family name `Refused`.
    async fn batch_upsert_pupils(
        &self,
        request: Request<BatchUpsertPupilsRequest>,
    ) -> Result<Response<BatchUpsertPupilsResponse>, Status> {
        let request = request.into_inner();
        let mut answer = BatchUpsertPupilsResponse::default();
        let mut state = self.state();
        for (index, pupil) in (0..).zip(&request.pupils) {
            if pupil.family_name == "Refused" {
                answer.rejected += 1;
                answer.rejections.push(Rejection {
                    item_index: index,
                    reason: "ENROLMENTS_OVERLAP".to_owned(),
                    message: "enrolments overlap".to_owned(),
                    ..Rejection::default()
                });
                continue;
            }
            if state.pupils.iter().any(|known| known.upn == pupil.upn) {
                answer.unchanged += 1;
                continue;
            }
            answer.created += 1;
            state.pupils.push(Pupil {
                upn: pupil.upn.clone(),
                mis_identifiers: pupil.mis_identifiers.clone(),
                given_name: pupil.given_name.clone(),
                family_name: pupil.family_name.clone(),
                enrolments: pupil.enrolments.clone(),
                ..Pupil::default()
            });
        }
        state.upserts.push(request);
        Ok(Response::new(answer))
    }

    not_served! {
        list_pupils ListPupilsRequest ListPupilsResponse;
        create_pupil CreatePupilRequest CreatePupilResponse;
        update_pupil UpdatePupilRequest UpdatePupilResponse;
        transfer_pupil TransferPupilRequest TransferPupilResponse;
        end_enrolment EndEnrolmentRequest EndEnrolmentResponse;
        reopen_enrolment ReopenEnrolmentRequest ReopenEnrolmentResponse;
        merge_pupils MergePupilsRequest MergePupilsResponse;
        unmerge_pupils UnmergePupilsRequest UnmergePupilsResponse;
        reassign_mis_identifier ReassignMisIdentifierRequest ReassignMisIdentifierResponse;
        list_pupil_changes ListPupilChangesRequest ListPupilChangesResponse;
    }
}

#[tonic::async_trait]
impl SessionService for Fake {
    type StreamSessionsStream = tokio_stream::Empty<Result<StreamSessionsResponse, Status>>;

    /// Rejects an item that changes a mark where no correction is given, naming the first such session.
    async fn record_sessions(
        &self,
        request: Request<RecordSessionsRequest>,
    ) -> Result<Response<RecordSessionsResponse>, Status> {
        let batch = request.into_inner().batch.unwrap();
        let mut state = self.state();
        if let Some(earlier) = state.answers.get(&batch.request_id) {
            let mut earlier = earlier.clone();
            earlier.receipt = Some(Receipt {
                replayed: true,
                ..Receipt::default()
            });
            return Ok(Response::new(RecordSessionsResponse { result: Some(earlier) }));
        }
        let mut result = SessionBatchResult::default();
        for (index, item) in (0..).zip(&batch.items) {
            let first = item.first_session.as_ref().unwrap();
            let date = first.date.as_ref().unwrap();
            let start = NaiveDate::from_ymd_opt(date.year, date.month as u32, date.day as u32).unwrap();
            let offset = u64::from(first.half == i32::from(SessionHalf::Pm));
            let placed: Vec<_> = (offset..)
                .zip(&item.marks)
                .filter(|(_, code)| **code != 0)
                .map(|(place, code)| {
                    let pupil = key_text(item.pupil.as_ref());
                    let day = start + Days::new(place / 2);
                    ((pupil, item.school.clone(), day, (place % 2) as i32 + 1), *code)
                })
                .collect();
            let differing = placed
                .iter()
                .find(|(key, code)| state.marks.get(key).is_some_and(|known| known != code));
            if let (Some(((_, _, day, half), _)), None) = (differing, &batch.correction) {
                result.rejected += 1;
                result.rejections.push(Rejection {
                    item_index: index,
                    reason: "CORRECTION_REQUIRED".to_owned(),
                    field: "marks[0]".to_owned(),
                    session: Some(Session {
                        date: Some(Date {
                            year: day.year(),
                            month: day.month() as i32,
                            day: day.day() as i32,
                        }),
                        half: *half,
                    }),
                    message: "another mark is there".to_owned(),
                });
                continue;
            }
            for (key, code) in placed {
                match state.marks.insert(key, code) {
                    None => result.marks_new += 1,
                    Some(known) if known == code => result.marks_unchanged += 1,
                    Some(_) => result.marks_corrected += 1,
                }
            }
        }
        state.answers.insert(batch.request_id.clone(), result.clone());
        state.batches.push(batch);
        Ok(Response::new(RecordSessionsResponse { result: Some(result) }))
    }

    async fn stream_sessions(
        &self,
        _: Request<tonic::Streaming<StreamSessionsRequest>>,
    ) -> Result<Response<Self::StreamSessionsStream>, Status> {
        Err(Status::unimplemented("an import does not call this"))
    }

    async fn reconcile_registers(
        &self,
        _: Request<tonic::Streaming<ReconcileRegistersRequest>>,
    ) -> Result<Response<ReconcileRegistersResponse>, Status> {
        Err(Status::unimplemented("an import does not call this"))
    }

    not_served! {
        list_registers ListRegistersRequest ListRegistersResponse;
        list_revisions ListRevisionsRequest ListRevisionsResponse;
        list_school_freshness ListSchoolFreshnessRequest ListSchoolFreshnessResponse;
        approve_reconciliation ApproveReconciliationRequest ApproveReconciliationResponse;
        discard_reconciliation DiscardReconciliationRequest DiscardReconciliationResponse;
        get_reconciliation GetReconciliationRequest GetReconciliationResponse;
        list_reconciliations ListReconciliationsRequest ListReconciliationsResponse;
        list_unexplained_absences ListUnexplainedAbsencesRequest ListUnexplainedAbsencesResponse;
        list_doubly_marked_sessions ListDoublyMarkedSessionsRequest ListDoublyMarkedSessionsResponse;
    }
}
