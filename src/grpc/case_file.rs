//! `CaseFileService`: everything that is on record of one pupil.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::actions::answers::{to_action, to_entry};
use super::actions::plans::to_plan;
use super::admin::to_school;
use super::convert::{pupil_key, to_date, to_tally, to_timestamp, trust_id};
use super::holds::to_hold;
use super::policies::to_policy;
use super::pupil_changes::to_change;
use super::pupils::to_pupil;
use super::session_lists::to_revision;
use super::stages::to_pupil_stage;
use super::thresholds::{to_event, to_notice};
use super::transitions::to_transition;
use crate::domain::identifiers::TrustId;
use crate::proto as pb;
use crate::proto::case_file_item::Item;
use crate::proto::case_file_service_server::CaseFileService;
use crate::proto::stream_case_file_response::Part;
use crate::service::case_file::{CaseFileCounts, CaseFileHeader, CaseFileItem, CaseFilePart, RegisterOnFile};
use crate::service::{Service, ServiceError};

/// Serves `CaseFileService`.
#[derive(Clone)]
pub struct CaseFileHandler {
    service: Service,
}

impl CaseFileHandler {
    /// A handler over the use cases.
    pub fn new(service: Service) -> CaseFileHandler {
        CaseFileHandler { service }
    }

    async fn stream(&self, request: &pb::StreamCaseFileRequest) -> Result<CaseFileStream, ServiceError> {
        let trust = trust_id(&request.trust_id)?;
        let pupil = pupil_key("pupil", request.pupil.as_ref())?;
        let parts = ReceiverStream::new(self.service.case_file(trust, &pupil).await?);
        let messages = parts.map(move |part| Ok(to_message(trust, part?)?));
        Ok(Box::pin(messages))
    }
}

type CaseFileStream = Pin<Box<dyn Stream<Item = Result<pb::StreamCaseFileResponse, Status>> + Send>>;

#[tonic::async_trait]
impl CaseFileService for CaseFileHandler {
    type StreamCaseFileStream = CaseFileStream;

    async fn stream_case_file(
        &self,
        request: Request<pb::StreamCaseFileRequest>,
    ) -> Result<Response<CaseFileStream>, Status> {
        Ok(Response::new(self.stream(request.get_ref()).await?))
    }
}

fn to_message(trust: TrustId, part: CaseFilePart) -> Result<pb::StreamCaseFileResponse, ServiceError> {
    let part = match part {
        CaseFilePart::Header(header) => Part::Header(to_header(*header)),
        CaseFilePart::Items(items) => {
            let items = items.into_iter().map(|item| {
                Ok(pb::CaseFileItem {
                    item: Some(to_item(trust, item)?),
                })
            });
            Part::Items(pb::CaseFileItems {
                items: items.collect::<Result<_, ServiceError>>()?,
            })
        }
        CaseFilePart::End(counts) => Part::End(to_end(counts)),
    };
    Ok(pb::StreamCaseFileResponse { part: Some(part) })
}

fn to_header(header: CaseFileHeader) -> pb::CaseFileHeader {
    pb::CaseFileHeader {
        known_at: Some(to_timestamp(header.known_at)),
        as_of: Some(to_date(header.as_of)),
        trust_name: header.trust_name,
        pupil: Some(to_pupil(header.pupil)),
        schools: header.schools.into_iter().map(to_school).collect(),
        stage: Some(to_pupil_stage(header.stage)),
    }
}

fn to_item(trust: TrustId, item: CaseFileItem) -> Result<Item, ServiceError> {
    Ok(match item {
        CaseFileItem::Policy(found) => Item::Policy(to_policy(*found)),
        CaseFileItem::Register(register) => Item::Register(to_register(register)),
        CaseFileItem::Revision(revision) => Item::Revision(to_revision(revision)?),
        CaseFileItem::Transition(row) => Item::Transition(to_transition(trust, &row)),
        CaseFileItem::Hold(row) => Item::Hold(to_hold(*row)?),
        CaseFileItem::Action(action) => Item::Action(to_action(*action)),
        CaseFileItem::Entry(name, entry) => Item::ActionEntry(pb::CaseFileEntry {
            action_name: name.to_string(),
            entry: Some(to_entry(*entry)),
        }),
        CaseFileItem::Plan(plan, today) => Item::Plan(to_plan(*plan, today)),
        CaseFileItem::Threshold(event) => Item::ThresholdEvent(to_event(event)),
        CaseFileItem::Notice(row) => Item::PenaltyNotice(to_notice(*row)?),
        CaseFileItem::Change(change) => Item::PupilChange(to_change(*change)),
    })
}

fn to_register(register: RegisterOnFile) -> pb::Register {
    pb::Register {
        enrolment_id: register.enrolment.to_string(),
        school_id: register.school.to_string(),
        academic_year: i32::from(register.year.start_year()),
        marks: register.marks.into_iter().map(i32::from).collect(),
        tally: Some(to_tally(register.tally)),
    }
}

fn to_end(counts: CaseFileCounts) -> pb::CaseFileEnd {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    pb::CaseFileEnd {
        items: count(counts.items),
        policies: count(counts.policies),
        registers: count(counts.registers),
        revisions: count(counts.revisions),
        transitions: count(counts.transitions),
        holds: count(counts.holds),
        actions: count(counts.actions),
        action_entries: count(counts.entries),
        plans: count(counts.plans),
        threshold_events: count(counts.thresholds),
        penalty_notices: count(counts.notices),
        pupil_changes: count(counts.changes),
    }
}
