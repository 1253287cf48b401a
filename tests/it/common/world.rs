//! The service under test, and builders that fill it through its port.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use graduated_response::clock::Clock;
use graduated_response::domain::code::AttendanceCode;
pub use graduated_response::proto as pb;
use graduated_response::proto::action_service_client::ActionServiceClient;
use graduated_response::proto::admin_service_client::AdminServiceClient;
use graduated_response::proto::pupil_service_client::PupilServiceClient;
use graduated_response::proto::session_service_client::SessionServiceClient;
use graduated_response::proto::stage_service_client::StageServiceClient;
use graduated_response::service::{Limits, Service};
use graduated_response::store::Store;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::database::{connect, database};

/// A service on a port of its own, with a trust.
pub struct World {
    pub url: String,
    /// The service's address.
    pub endpoint: String,
    pub channel: Channel,
    pub clock: Clock,
    /// The use cases that the port serves.
    pub service: Service,
    pub trust_id: String,
    _stop: oneshot::Sender<()>,
}

/// A date.
pub fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// Noon of a date: the same date in London.
fn noon(text: &str) -> DateTime<Utc> {
    day(text).and_time(NaiveTime::MIN).and_utc() + TimeDelta::hours(12)
}

/// A date as the contract writes it.
pub fn pb_date(text: &str) -> pb::Date {
    graduated_response::grpc::convert::to_date(day(text))
}

/// A session: `at("2025-09-08", "AM")`.
pub fn at(date: &str, half: &str) -> pb::Session {
    let half = match half {
        "AM" => pb::SessionHalf::Am,
        "PM" => pb::SessionHalf::Pm,
        other => panic!("{other} is no half of a day"),
    };
    pb::Session {
        date: Some(pb_date(date)),
        half: half.into(),
    }
}

/// Marks as a register writes them, a blank between them: `-` leaves a session as it is, `0` takes its mark away.
pub fn marks(text: &str) -> Vec<i32> {
    let mark = |text: &str| match text {
        "-" => 0,
        "0" => 127,
        code => i32::from(
            AttendanceCode::parse(code)
                .unwrap_or_else(|| panic!("{code} is no code"))
                .byte(),
        ),
    };
    text.split_whitespace().map(mark).collect()
}

/// What a call was refused with: its code, its stable reason, and the fields at fault.
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String, Vec<String>) {
    let status = answer.expect_err("the call was to be refused");
    let reason = status
        .get_details_error_info()
        .map(|info| info.reason)
        .unwrap_or_default();
    let fields = status
        .get_details_bad_request()
        .map(|found| found.field_violations)
        .unwrap_or_default();
    (
        status.code(),
        reason,
        fields.into_iter().map(|found| found.field).collect(),
    )
}

impl World {
    /// A world in which it is noon of a date.
    pub async fn on(date: &str) -> World {
        World::with_limits(date, Limits::default()).await
    }

    /// The same, with other limits.
    pub async fn with_limits(date: &str, limits: Limits) -> World {
        let url = database().await;
        World::over(url, date, limits).await
    }

    /// A world over a database that is there already.
    pub async fn over(url: String, date: &str, limits: Limits) -> World {
        let clock = Clock::set_to(noon(date));
        let store = Store::new(&url, 8).unwrap();
        let service = Service::new(store, clock.clone(), limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(graduated_response::server::serve(listener, service.clone(), async {
            let _ = stopped.await;
        }));
        let channel = Endpoint::from_shared(endpoint.clone())
            .unwrap()
            .connect()
            .await
            .unwrap();
        let mut world = World {
            url,
            endpoint,
            channel,
            clock,
            service,
            trust_id: String::new(),
            _stop: stop,
        };
        world.trust_id = world.new_trust("Harbour Learning Trust").await;
        world
    }

    /// Turns the clock to noon of another date.
    pub fn turn_to(&self, date: &str) {
        self.clock.turn_to(noon(date));
    }

    /// A connection of the owner of the tables.
    pub async fn sql(&self) -> tokio_postgres::Client {
        connect(&self.url).await.unwrap()
    }

    pub fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }

    pub fn pupils(&self) -> PupilServiceClient<Channel> {
        PupilServiceClient::new(self.channel.clone())
    }

    pub fn sessions(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.channel.clone())
            .max_encoding_message_size(64 << 20)
            .max_decoding_message_size(64 << 20)
    }

    pub fn stages(&self) -> StageServiceClient<Channel> {
        StageServiceClient::new(self.channel.clone())
    }

    pub fn actions(&self) -> ActionServiceClient<Channel> {
        ActionServiceClient::new(self.channel.clone())
    }

    /// Makes a trust, and returns its UUID.
    pub async fn new_trust(&self, name: &str) -> String {
        let request = pb::CreateTrustRequest {
            name: name.into(),
            trust_id: String::new(),
        };
        let answer = self.admin().create_trust(request).await.unwrap().into_inner();
        answer.trust.unwrap().trust_id
    }

    /// Makes a school, and returns its UUID.
    pub async fn school(&self, urn: &str) -> String {
        self.school_of(&self.trust_id, urn).await
    }

    /// Makes a school of a trust, and returns its UUID.
    pub async fn school_of(&self, trust_id: &str, urn: &str) -> String {
        let school = pb::School {
            urn: urn.into(),
            name: format!("School {urn}"),
            phase: pb::Phase::Secondary.into(),
            ..pb::School::default()
        };
        let request = pb::CreateSchoolRequest {
            trust_id: trust_id.into(),
            school: Some(school),
        };
        let answer = self.admin().create_school(request).await.unwrap().into_inner();
        answer.school.unwrap().school_id
    }

    /// Makes a pupil known as `test` / `name`, on roll at a school from 1 September 2025, and returns the pupil's UUID.
    pub async fn pupil(&self, name: &str, school: &str) -> String {
        self.pupil_enrolled(name, &[enrolment(school, pb::EnrolmentKind::Sole, "2025-09-01", "")])
            .await
    }

    /// Makes a pupil with enrolments, and returns the pupil's UUID.
    pub async fn pupil_enrolled(&self, name: &str, enrolments: &[pb::Enrolment]) -> String {
        let answer = self.upsert(vec![pupil_input(name, enrolments)]).await.unwrap();
        assert_eq!(answer.rejections, [], "{name}");
        answer.pupil_ids.into_iter().next().unwrap()
    }

    /// Upserts pupils.
    pub async fn upsert(&self, pupils: Vec<pb::PupilInput>) -> Result<pb::BatchUpsertPupilsResponse, Status> {
        let request = pb::BatchUpsertPupilsRequest {
            trust_id: self.trust_id.clone(),
            pupils,
            ..pb::BatchUpsertPupilsRequest::default()
        };
        Ok(self.pupils().batch_upsert_pupils(request).await?.into_inner())
    }

    /// Records one run of marks of one pupil, with a correction at hand, and expects it to be taken.
    pub async fn record(&self, pupil_id: &str, from: pb::Session, run: &str) -> pb::SessionBatchResult {
        let result = self.try_record(vec![item(pupil_id, from, run)]).await.unwrap();
        assert_eq!(result.rejections, []);
        result
    }

    /// Records items, with a correction at hand.
    pub async fn try_record(&self, items: Vec<pb::SessionItem>) -> Result<pb::SessionBatchResult, Status> {
        let batch = pb::SessionBatch {
            items,
            correction: Some(correction("checked with the tutor")),
            ..pb::SessionBatch::default()
        };
        self.record_batch(batch).await
    }

    /// Records a batch.
    pub async fn record_batch(&self, batch: pb::SessionBatch) -> Result<pb::SessionBatchResult, Status> {
        let request = pb::RecordSessionsRequest {
            trust_id: self.trust_id.clone(),
            batch: Some(batch),
        };
        let answer = self.sessions().record_sessions(request).await?.into_inner();
        Ok(answer.result.unwrap())
    }

    /// Records both sessions of each school day (Monday to Friday) from a date to a date.
    pub async fn record_days(
        &self,
        pupil_id: &str,
        from: &str,
        to: &str,
        am: &str,
        pm: &str,
    ) -> pb::SessionBatchResult {
        self.record(pupil_id, at(from, "AM"), &school_days(from, to, am, pm))
            .await
    }

    /// The stage of a pupil.
    pub async fn stage(&self, pupil_id: &str) -> pb::PupilStage {
        self.try_stage(by_id(pupil_id)).await.unwrap()
    }

    /// The stage of a pupil, by any key.
    pub async fn try_stage(&self, pupil: pb::PupilKey) -> Result<pb::PupilStage, Status> {
        let request = pb::GetPupilStageRequest {
            trust_id: self.trust_id.clone(),
            pupil: Some(pupil),
            ..pb::GetPupilStageRequest::default()
        };
        let answer = self.stages().get_pupil_stage(request).await?.into_inner();
        Ok(answer.pupil_stage.unwrap())
    }

    /// The stage of a pupil on a day (empty for today), as known on the evening of another (nothing for now).
    pub async fn stage_as_of(&self, pupil_id: &str, as_of: &str, known_at: Option<&str>) -> pb::PupilStage {
        let request = pb::GetPupilStageRequest {
            trust_id: self.trust_id.clone(),
            pupil: Some(by_id(pupil_id)),
            as_of: (!as_of.is_empty()).then(|| pb_date(as_of)),
            known_at: known_at.map(|at| prost_types::Timestamp {
                // The evening of the day: noon is when the world's days begin.
                seconds: (noon(at) + TimeDelta::hours(10)).timestamp(),
                nanos: 0,
            }),
        };
        let answer = self.stages().get_pupil_stage(request).await.unwrap().into_inner();
        answer.pupil_stage.unwrap()
    }

    /// Drafts a policy, and returns its version.
    pub async fn policy(&self, settings: pb::PolicySettings) -> i32 {
        let request = pb::CreatePolicyRequest {
            trust_id: self.trust_id.clone(),
            title: "Another policy".into(),
            settings: Some(settings),
        };
        let answer = self.admin().create_policy(request).await.unwrap().into_inner();
        answer.policy.unwrap().version
    }

    /// Brings a policy into force, waits until that is done, and returns the job.
    pub async fn activate(&self, version: i32, school: &str) -> pb::Job {
        let request = pb::ActivatePolicyRequest {
            trust_id: self.trust_id.clone(),
            version,
            school: school.into(),
            activated_by: Some(person()),
            request_id: String::new(),
        };
        let job = self
            .admin()
            .activate_policy(request)
            .await
            .unwrap()
            .into_inner()
            .job
            .unwrap();
        let request = pb::WatchJobRequest {
            trust_id: self.trust_id.clone(),
            job_id: job.job_id,
        };
        let mut states = self.admin().watch_job(request).await.unwrap().into_inner();
        let mut last = None;
        while let Some(state) = states.message().await.unwrap() {
            last = state.job;
        }
        let job = last.unwrap();
        assert_eq!(job.state(), pb::JobState::Succeeded, "{}", job.failure);
        job
    }

    /// Holds a pupil at a stage until a day, and returns the hold.
    pub async fn hold(&self, pupil_id: &str, stage: pb::Stage, to: &str) -> pb::Hold {
        let request = pb::CreateHoldRequest {
            trust_id: self.trust_id.clone(),
            pupil: Some(by_id(pupil_id)),
            kind: pb::HoldKind::AtLeast.into(),
            stage: stage.into(),
            to_date: Some(pb_date(to)),
            reason: "agreed with the family".into(),
            created_by: Some(person()),
            request_id: String::new(),
        };
        self.admin()
            .create_hold(request)
            .await
            .unwrap()
            .into_inner()
            .hold
            .unwrap()
    }

    /// The actions of a pupil's current or last episode.
    pub async fn actions_of(&self, pupil_id: &str) -> Vec<pb::Action> {
        let request = pb::ListPupilActionsRequest {
            trust_id: self.trust_id.clone(),
            pupil: Some(by_id(pupil_id)),
            ..pb::ListPupilActionsRequest::default()
        };
        self.actions()
            .list_pupil_actions(request)
            .await
            .unwrap()
            .into_inner()
            .actions
    }
}

/// Marks of both sessions of each day from Monday to Friday, weekends left as they are.
pub fn school_days(from: &str, to: &str, am: &str, pm: &str) -> String {
    use chrono::Datelike as _;
    let mut run = Vec::new();
    for date in day(from).iter_days().take_while(|date| *date <= day(to)) {
        if date.weekday().number_from_monday() <= 5 {
            run.extend([am, pm]);
        } else {
            run.extend(["-", "-"]);
        }
    }
    run.join(" ")
}

/// A pupil by UUID.
pub fn by_id(pupil_id: &str) -> pb::PupilKey {
    pb::PupilKey {
        key: Some(pb::pupil_key::Key::PupilId(pupil_id.into())),
    }
}

/// A pupil by the identifier that [`pupil_input`] gives.
pub fn by_name(name: &str) -> pb::PupilKey {
    pb::PupilKey {
        key: Some(pb::pupil_key::Key::MisIdentifier(mis(name))),
    }
}

fn mis(name: &str) -> pb::MisIdentifier {
    pb::MisIdentifier {
        source: "test".into(),
        value: name.into(),
    }
}

/// An enrolment; an empty end is none.
pub fn enrolment(school: &str, kind: pb::EnrolmentKind, start: &str, end: &str) -> pb::Enrolment {
    pb::Enrolment {
        enrolment_id: String::new(),
        school: school.into(),
        kind: kind.into(),
        start_date: Some(pb_date(start)),
        end_date: (!end.is_empty()).then(|| pb_date(end)),
    }
}

/// A pupil known as `test` / `name`.
pub fn pupil_input(name: &str, enrolments: &[pb::Enrolment]) -> pb::PupilInput {
    pb::PupilInput {
        mis_identifiers: vec![mis(name)],
        given_name: "Ada".into(),
        family_name: "Iqbal".into(),
        enrolments: enrolments.to_vec(),
        ..pb::PupilInput::default()
    }
}

/// A run of marks of one pupil.
pub fn item(pupil_id: &str, from: pb::Session, run: &str) -> pb::SessionItem {
    pb::SessionItem {
        pupil: Some(by_id(pupil_id)),
        first_session: Some(from),
        marks: marks(run),
        ..pb::SessionItem::default()
    }
}

/// A correction by somebody.
pub fn correction(reason: &str) -> pb::Correction {
    pb::Correction {
        reason: reason.into(),
        corrected_by: Some(person()),
    }
}

/// Somebody.
pub fn person() -> pb::Person {
    pb::Person {
        name: "B. Okafor".into(),
        position: "attendance officer".into(),
        ..pb::Person::default()
    }
}
