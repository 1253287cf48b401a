use std::sync::Mutex;

use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::report::{day_note, deviation_table};
use super::*;
use crate::cli::output::date_text;
use crate::proto as pb;
use crate::proto::session_service_server::{SessionService, SessionServiceServer};
use crate::proto::{
    ListRegistersRequest, ListRegistersResponse, ListRevisionsRequest, ListRevisionsResponse,
    ListSchoolFreshnessRequest, ListSchoolFreshnessResponse, RecordSessionsRequest, RecordSessionsResponse,
    SessionBatchResult, StreamSessionsResponse,
};

fn settings() -> SampleSettings {
    SampleSettings {
        pupils: 240,
        ..SampleSettings::default()
    }
}

#[test]
fn the_same_settings_make_the_same_trust_and_others_another() {
    assert_eq!(trust_id(&settings()), trust_id(&settings()));
    let other = SampleSettings { seed: 1, ..settings() };
    assert_ne!(trust_id(&settings()), trust_id(&other));
    let trust = trust_id(&settings());
    assert_eq!(request_id(trust, "sessions", 1, 2), request_id(trust, "sessions", 1, 2));
    assert_ne!(request_id(trust, "sessions", 1, 2), request_id(trust, "sessions", 2, 1));
}

#[test]
fn the_months_runs_are_the_pupils_whole_registers() {
    let trust = sample::generate(&settings()).unwrap();
    let year = AcademicYear::from_start_year(calendar::START_YEAR).unwrap();
    let mut registers: std::collections::HashMap<String, Vec<u8>> = std::collections::HashMap::new();
    let months = months(trust.settings.through);
    assert_eq!(months.len(), 11);
    for places in months {
        for item in session_items(&trust, 0, places) {
            let Some(pupil_key::Key::Upn(upn)) = item.pupil.unwrap().key else {
                panic!("not by UPN");
            };
            let session = item.first_session.unwrap();
            let date: NaiveDate = date_text(session.date.as_ref()).parse().unwrap();
            let first = 2 * usize::try_from((date - year.first_day()).num_days()).unwrap()
                + usize::from(session.half == i32::from(proto::SessionHalf::Pm));
            let register = registers.entry(upn).or_default();
            register.resize(first, 0);
            register.extend(item.marks.iter().map(|mark| u8::try_from(*mark).unwrap()));
        }
    }
    for pupil in trust.schools.iter().flat_map(|school| &school.pupils) {
        assert_eq!(registers.get(&pupil.upn), Some(&pupil.marks));
    }
}

#[test]
fn a_service_on_another_years_day_is_pointed_out() {
    let note = |year, month, day| day_note(calendar::PUBLISHED_LAST_DAY, &proto::Date { year, month, day });
    assert!(note(2026, 11, 24).unwrap().contains("outside the sample's year"));
    assert!(note(2026, 1, 5).unwrap().contains("count from their date on"));
    assert_eq!(note(2026, 6, 26), None);
    assert_eq!(note(2026, 7, 31), None);
}

#[test]
fn the_report_says_how_far_the_sample_lies_from_the_published_figures() {
    let trust = sample::generate(&SampleSettings::default()).unwrap();
    insta::assert_snapshot!(deviation_table(&trust), @r"
     phase      figure                published  sample  difference
     Primary    attendance                94.72   94.72       +0.00
     Primary    authorised absence         3.73    3.73       +0.00
     Primary    unauthorised absence       1.55    1.55       +0.00
     Primary    persistent absence        13.77   13.76       -0.02
     Secondary  attendance                91.51   91.51       +0.00
     Secondary  authorised absence         5.22    5.22       +0.00
     Secondary  unauthorised absence       3.27    3.27       +0.00
     Secondary  persistent absence        23.77   23.76       -0.01
     Special    attendance                86.83   86.83       +0.00
     Special    authorised absence         9.57    9.57       +0.00
     Special    unauthorised absence       3.60    3.60       +0.00
     Special    persistent absence        36.06   36.13       +0.07

    Of the single codes, C2 in special schools lies furthest from its published frequency: +0.001 points.
    Left out: the withdrawn codes H and J and authorised absence without a published code, 581 of 2,445,419,687 published sessions.
    ");
}

/// Acknowledges every batch: all marks are new, or one item is rejected.
#[derive(Default)]
struct Recorder {
    seen: Arc<Mutex<Vec<SessionBatch>>>,
    reject: bool,
}

#[tonic::async_trait]
impl SessionService for Recorder {
    type StreamSessionsStream = BoxStream<'static, Result<StreamSessionsResponse, Status>>;

    async fn stream_sessions(
        &self,
        request: Request<Streaming<StreamSessionsRequest>>,
    ) -> Result<Response<Self::StreamSessionsStream>, Status> {
        let (seen, reject) = (Arc::clone(&self.seen), self.reject);
        let answers = request.into_inner().map(move |request| {
            let batch = request?.batch.unwrap();
            let marks: usize = batch
                .items
                .iter()
                .map(|item| item.marks.iter().filter(|mark| **mark != 0).count())
                .sum();
            seen.lock().unwrap().push(batch);
            let rejections = Vec::from_iter(reject.then(|| Rejection {
                item_index: 3,
                reason: "UNKNOWN_PUPIL".to_owned(),
                field: "pupil".to_owned(),
                message: "the trust has no such pupil".to_owned(),
                ..Rejection::default()
            }));
            Ok(StreamSessionsResponse {
                outcome: Some(Outcome::Result(SessionBatchResult {
                    marks_new: marks as i64,
                    transitions: 1,
                    rejected: i32::from(reject),
                    rejections,
                    ..SessionBatchResult::default()
                })),
            })
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn record_sessions(
        &self,
        _: Request<RecordSessionsRequest>,
    ) -> Result<Response<RecordSessionsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn list_registers(
        &self,
        _: Request<ListRegistersRequest>,
    ) -> Result<Response<ListRegistersResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn list_revisions(
        &self,
        _: Request<ListRevisionsRequest>,
    ) -> Result<Response<ListRevisionsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn list_school_freshness(
        &self,
        _: Request<ListSchoolFreshnessRequest>,
    ) -> Result<Response<ListSchoolFreshnessResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn approve_reconciliation(
        &self,
        _: Request<pb::ApproveReconciliationRequest>,
    ) -> Result<Response<pb::ApproveReconciliationResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn discard_reconciliation(
        &self,
        _: Request<pb::DiscardReconciliationRequest>,
    ) -> Result<Response<pb::DiscardReconciliationResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn get_reconciliation(
        &self,
        _: Request<pb::GetReconciliationRequest>,
    ) -> Result<Response<pb::GetReconciliationResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn list_reconciliations(
        &self,
        _: Request<pb::ListReconciliationsRequest>,
    ) -> Result<Response<pb::ListReconciliationsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn list_unexplained_absences(
        &self,
        _: Request<pb::ListUnexplainedAbsencesRequest>,
    ) -> Result<Response<pb::ListUnexplainedAbsencesResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn list_doubly_marked_sessions(
        &self,
        _: Request<pb::ListDoublyMarkedSessionsRequest>,
    ) -> Result<Response<pb::ListDoublyMarkedSessionsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn reconcile_registers(
        &self,
        _: Request<Streaming<pb::ReconcileRegistersRequest>>,
    ) -> Result<Response<pb::ReconcileRegistersResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}

async fn load_into(recorder: Recorder) -> (SampleTrust, Result<LoadedSample, CommandError>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(SessionServiceServer::new(recorder))
        .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));
    let server = tokio::spawn(server);
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_lazy();
    let settings = SampleSettings {
        pupils: 2100,
        ..SampleSettings::default()
    };
    let trust = Arc::new(sample::generate(&settings).unwrap());
    let mut loaded = LoadedSample {
        trust_id: trust_id(&settings),
        schools: trust.schools.len(),
        pupils: trust.pupils(),
        marks: trust.marks(),
        replayed: 0,
        transitions: 0,
        elapsed: Duration::ZERO,
    };
    let outcome = load_marks(&trust, &mut loaded, channel).await;
    server.abort();
    let trust = Arc::try_unwrap(trust).unwrap_or_else(|trust| SampleTrust::clone(&trust));
    (trust, outcome.map(|()| loaded))
}

#[tokio::test]
async fn every_mark_is_sent_once_month_by_month_under_request_ids_of_their_own() {
    let recorder = Recorder::default();
    let seen = Arc::clone(&recorder.seen);
    let (trust, loaded) = load_into(recorder).await;
    // Ten months with marks, of pupils who fill two batches.
    assert_eq!(loaded.unwrap().transitions, 20);
    let batches = seen.lock().unwrap();
    let ids: std::collections::HashSet<&String> = batches.iter().map(|batch| &batch.request_id).collect();
    assert_eq!(ids.len(), 20);
    let months: Vec<(i32, i32)> = batches
        .iter()
        .map(|batch| batch.items[0].first_session.unwrap().date.unwrap())
        .map(|date| (date.year, date.month))
        .collect();
    assert!(months.is_sorted(), "{months:?}");
    let sent: usize = batches
        .iter()
        .flat_map(|batch| &batch.items)
        .map(|item| item.marks.iter().filter(|mark| **mark != 0).count())
        .sum();
    assert_eq!(sent, trust.marks());
}

#[tokio::test]
async fn a_rejected_item_ends_the_load_with_its_reason() {
    let recorder = Recorder {
        reject: true,
        ..Recorder::default()
    };
    let (_, loaded) = load_into(recorder).await;
    assert_eq!(
        loaded.unwrap_err().to_string(),
        "not everything was taken: items of a batch that were rejected: 1; the first, item 3: pupil: the trust has no such pupil [UNKNOWN_PUPIL]"
    );
}
