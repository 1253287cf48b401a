//! Builders for pupils who move.

use graduated_response::proto as pb;
use tonic::Status;

use super::World;
use super::world::{by_id, correction, pb_date, person};

impl World {
    /// Asks for a transfer; an empty last day is the day before the first.
    pub async fn try_transfer(
        &self,
        pupil_id: &str,
        (from, to): (&str, &str),
        (last, start): (&str, &str),
        with_correction: bool,
    ) -> Result<pb::TransferPupilResponse, Status> {
        let request = pb::TransferPupilRequest {
            trust_id: self.trust_id.clone(),
            pupil: Some(by_id(pupil_id)),
            from_school: from.into(),
            to_school: to.into(),
            start_date: Some(pb_date(start)),
            last_date: (!last.is_empty()).then(|| pb_date(last)),
            reason: "the family has moved".into(),
            changed_by: Some(person()),
            correction: with_correction.then(|| correction("entered ahead")),
            ..pb::TransferPupilRequest::default()
        };
        Ok(self.pupils().transfer_pupil(request).await?.into_inner())
    }

    /// Asks for the end of an enrolment.
    pub async fn try_end(
        &self,
        pupil_id: &str,
        school: &str,
        last: &str,
        with_correction: bool,
    ) -> Result<pb::EndEnrolmentResponse, Status> {
        let request = pb::EndEnrolmentRequest {
            trust_id: self.trust_id.clone(),
            pupil: Some(by_id(pupil_id)),
            school: school.into(),
            last_date: Some(pb_date(last)),
            reason: "elective home education".into(),
            changed_by: Some(person()),
            correction: with_correction.then(|| correction("entered ahead")),
            ..pb::EndEnrolmentRequest::default()
        };
        Ok(self.pupils().end_enrolment(request).await?.into_inner())
    }

    /// Asks for a merge.
    pub async fn try_merge(&self, survivor: &str, merged: &str) -> Result<pb::MergePupilsResponse, Status> {
        let request = pb::MergePupilsRequest {
            trust_id: self.trust_id.clone(),
            survivor: Some(by_id(survivor)),
            merged: Some(by_id(merged)),
            reason: "one child, two records".into(),
            changed_by: Some(person()),
            ..pb::MergePupilsRequest::default()
        };
        Ok(self.pupils().merge_pupils(request).await?.into_inner())
    }

    /// Makes two pupils one.
    pub async fn merge(&self, survivor: &str, merged: &str) -> pb::PupilMerge {
        self.try_merge(survivor, merged).await.unwrap().merge.unwrap()
    }

    /// Asks to undo a merge.
    pub async fn try_unmerge(&self, merge_id: &str) -> Result<pb::UnmergePupilsResponse, Status> {
        let request = pb::UnmergePupilsRequest {
            trust_id: self.trust_id.clone(),
            merge_id: merge_id.into(),
            reason: "two children after all".into(),
            changed_by: Some(person()),
            ..pb::UnmergePupilsRequest::default()
        };
        Ok(self.pupils().unmerge_pupils(request).await?.into_inner())
    }

    /// What people did to a pupil.
    pub async fn changes_of(&self, pupil_id: &str) -> Vec<pb::PupilChange> {
        let request = pb::ListPupilChangesRequest {
            trust_id: self.trust_id.clone(),
            pupil: Some(by_id(pupil_id)),
            ..pb::ListPupilChangesRequest::default()
        };
        let answer = self.pupils().list_pupil_changes(request).await.unwrap();
        answer.into_inner().changes
    }

    /// A pupil, by any key.
    pub async fn find(&self, pupil: pb::PupilKey) -> Result<pb::Pupil, Status> {
        let request = pb::GetPupilRequest {
            trust_id: self.trust_id.clone(),
            pupil: Some(pupil),
        };
        Ok(self.pupils().get_pupil(request).await?.into_inner().pupil.unwrap())
    }

    /// A pupil's registers of the current year.
    pub async fn registers_of(&self, pupil_id: &str) -> Vec<pb::Register> {
        let request = pb::ListRegistersRequest {
            trust_id: self.trust_id.clone(),
            pupil: Some(by_id(pupil_id)),
            academic_year: 0,
        };
        let answer = self.sessions().list_registers(request).await.unwrap();
        answer.into_inner().registers
    }

    /// Revisions, as a request asks for them.
    pub async fn revisions(&self, request: pb::ListRevisionsRequest) -> Result<pb::ListRevisionsResponse, Status> {
        let request = pb::ListRevisionsRequest {
            trust_id: self.trust_id.clone(),
            ..request
        };
        Ok(self.sessions().list_revisions(request).await?.into_inner())
    }
}
