//! What becomes of personal data: where it never shows, how long it is kept, how it is given out, and how it goes.

mod erased;
mod exported;
mod kept;
mod marked;
mod unseen;

use graduated_response::proto as pb;
use serde_json::Value;
use tonic::Status;

use super::common::World;
use super::common::world::{at, by_id, enrolment, item, person, pupil_input, school_days};

/// A world of 2016, with a pupil who was absent for weeks, had an action noted and a plan, and left in July; and a classmate who
/// stays.
struct Past {
    world: World,
    left: String,
    stays: String,
}

const UPN: &str = "Q999100125001";

impl Past {
    async fn of_2016() -> Past {
        let world = World::on("2016-10-03").await;
        world.school("100001").await;
        let leaver = pb::PupilInput {
            upn: UPN.into(),
            given_name: "Wilhelmina".into(),
            family_name: "Zephyrson".into(),
            date_of_birth: Some(super::common::world::pb_date("2004-03-04")),
            ..pupil_input(
                "left",
                &[enrolment("100001", pb::EnrolmentKind::Sole, "2016-09-05", "2017-07-21")],
            )
        };
        let left = world.upsert(vec![leaver]).await.unwrap().pupil_ids.remove(0);
        let enrolled = [enrolment("100001", pb::EnrolmentKind::Sole, "2016-09-05", "")];
        let stays = world.pupil_enrolled("stays", &enrolled).await;
        for pupil in [&left, &stays] {
            let absent = school_days("2016-09-05", "2016-09-30", "O", "O");
            let taken = world
                .try_record(vec![item(pupil, at("2016-09-05", "AM"), &absent)])
                .await;
            assert_eq!(taken.unwrap().rejections, []);
            world.record(pupil, at("2016-09-05", "AM"), "I").await;
        }
        let action = world.actions_of(&left).await.remove(0);
        let note = pb::AddActionEntryRequest {
            trust_id: world.trust_id.clone(),
            name: action.name,
            entry: Some(pb::add_action_entry_request::Entry::Note(pb::Note {
                text: "Wilhelmina is afraid of the bus".into(),
            })),
            recorded_by: Some(person()),
            ..pb::AddActionEntryRequest::default()
        };
        world.actions().add_action_entry(note).await.unwrap();
        world.hold(&left, pb::Stage::Five, "2016-10-31").await;
        // The academic year turns: both are at U again.
        world.turn_to("2017-09-04");
        assert_eq!(world.stage(&left).await.stage(), pb::Stage::Universal);
        Past { world, left, stays }
    }

    async fn preview(&self) -> pb::PreviewRetentionResponse {
        let trust_id = self.world.trust_id.clone();
        let request = pb::PreviewRetentionRequest { trust_id };
        self.world
            .admin()
            .preview_retention(request)
            .await
            .unwrap()
            .into_inner()
    }

    /// Removes what is past its time, and returns what went.
    async fn apply(&self) -> Vec<pb::RetentionCount> {
        let request = pb::ApplyRetentionRequest {
            trust_id: self.world.trust_id.clone(),
            requested_by: Some(person()),
            request_id: String::new(),
        };
        let job = self
            .world
            .admin()
            .apply_retention(request)
            .await
            .unwrap()
            .into_inner()
            .job
            .unwrap();
        assert_eq!(job.kind, "apply_retention");
        let request = pb::WatchJobRequest {
            trust_id: self.world.trust_id.clone(),
            job_id: job.job_id,
        };
        let mut states = self.world.admin().watch_job(request).await.unwrap().into_inner();
        let mut last = None;
        while let Some(state) = states.message().await.unwrap() {
            last = state.job;
        }
        let job = last.unwrap();
        assert_eq!(job.state(), pb::JobState::Succeeded, "{}", job.failure);
        job.removed
    }

    async fn erase(&self, pupil: pb::PupilKey, scope: pb::ErasureScope) -> Result<pb::Erasure, Status> {
        self.try_erase(pb::ErasePupilRequest {
            pupil: Some(pupil),
            scope: scope.into(),
            ..self.erasure()
        })
        .await
    }

    /// An erasure, without the pupil and the scope.
    fn erasure(&self) -> pb::ErasePupilRequest {
        pb::ErasePupilRequest {
            trust_id: self.world.trust_id.clone(),
            reason: "asked for, case 12".into(),
            erased_by: Some(person()),
            ..pb::ErasePupilRequest::default()
        }
    }

    async fn try_erase(&self, request: pb::ErasePupilRequest) -> Result<pb::Erasure, Status> {
        let answer = self.world.admin().erase_pupil(request).await?;
        Ok(answer.into_inner().erasure.unwrap())
    }

    async fn hold_by_law(&self, pupil: &str) -> pb::LegalHold {
        let request = pb::PlaceLegalHoldRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(by_id(pupil)),
            reason: "a claim".into(),
            placed_by: Some(person()),
            request_id: "0f9d7a52-0000-4000-8000-000000000099".into(),
        };
        let answer = self.world.admin().place_legal_hold(request).await.unwrap();
        answer.into_inner().legal_hold.unwrap()
    }

    async fn lift(&self, hold: &pb::LegalHold) -> Result<pb::LegalHold, Status> {
        let request = pb::LiftLegalHoldRequest {
            trust_id: self.world.trust_id.clone(),
            legal_hold_id: hold.legal_hold_id.clone(),
            reason: "it is over".into(),
            lifted_by: Some(person()),
        };
        let answer = self.world.admin().lift_legal_hold(request).await?;
        Ok(answer.into_inner().legal_hold.unwrap())
    }

    /// The document of a pupil, as text and read.
    async fn export(&self, pupil: &str) -> (String, Value) {
        let request = pb::ExportSubjectDataRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(by_id(pupil)),
        };
        let mut pieces = self
            .world
            .admin()
            .export_subject_data(request)
            .await
            .unwrap()
            .into_inner();
        let (mut bytes, mut last) = (Vec::new(), false);
        while let Some(piece) = pieces.message().await.unwrap() {
            assert!(!last && piece.content.len() <= 64 * 1024);
            bytes.extend(piece.content);
            last = piece.last;
        }
        assert!(last);
        let text = String::from_utf8(bytes).unwrap();
        let read = serde_json::from_str(&text).unwrap();
        (text, read)
    }

    async fn get(&self, pupil: pb::PupilKey) -> Result<pb::Pupil, Status> {
        let request = pb::GetPupilRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(pupil),
        };
        let answer = self.world.pupils().get_pupil(request).await?;
        Ok(answer.into_inner().pupil.unwrap())
    }
}
