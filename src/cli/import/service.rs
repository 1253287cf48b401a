//! The calls that an import makes.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::import::SchoolReference;
use crate::proto;
use proto::admin_service_client::AdminServiceClient;
use proto::pupil_service_client::PupilServiceClient;
use proto::session_service_client::SessionServiceClient;

/// How many pupils are asked for at a time.
const LOOKUPS_IN_FLIGHT: usize = 32;
/// How often a call is made before its error is passed on.
const ATTEMPTS_MAX: u32 = 4;
/// The wait before the second attempt; each further wait is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// How many pages of schools are read.
const SCHOOL_PAGES_MAX: usize = 100;
/// The largest answer taken, in bytes: one to a batch may name every item.
const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The names of batches are drawn from this one.
const BATCH_NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_7c0e_52a4_5d0b_9a3e_2b86_c41f_77d5);

/// The service, seen by an import of one trust.
pub struct Service {
    admin: AdminServiceClient<Channel>,
    pupils: PupilServiceClient<Channel>,
    sessions: SessionServiceClient<Channel>,
    trust_id: String,
    again: bool,
}

/// Whether a call that failed so may be made again as it is.
fn is_passing(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::Aborted)
}

/// Whether the trust has nothing of the kind that was asked for. That there is no such trust is an error.
fn is_absent(status: &Status) -> bool {
    let of_trust = |found: tonic_types::ResourceInfo| found.resource_type == "trust";
    status.code() == Code::NotFound && !status.get_details_resource_info().is_some_and(of_trust)
}

/// Makes a call, and makes it again where the error is a passing one.
async fn with_retries<T>(call: impl AsyncFn() -> Result<T, Status>) -> Result<T, Status> {
    let mut wait = FIRST_WAIT;
    for _ in 1..ATTEMPTS_MAX {
        match call().await {
            Err(status) if is_passing(status.code()) => tokio::time::sleep(wait).await,
            other => return other,
        }
        wait *= 2;
    }
    call().await
}

impl Service {
    /// Sees the service through a channel. With `again`, no batch is taken for one that was recorded before.
    pub fn new(channel: Channel, trust_id: String, again: bool) -> Service {
        Service {
            admin: AdminServiceClient::new(channel.clone()),
            pupils: PupilServiceClient::new(channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX),
            sessions: SessionServiceClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX),
            trust_id,
            again,
        }
    }

    /// The trust's schools under the references of a file; nothing for one that the trust does not have.
    pub async fn schools(&self, references: &[SchoolReference]) -> Result<Vec<Option<proto::School>>, Status> {
        let by_urn = |reference: &SchoolReference| matches!(reference, SchoolReference::Urn(_));
        let all = if references.iter().all(by_urn) {
            Vec::new()
        } else {
            self.all_schools().await?
        };
        let mut schools = Vec::with_capacity(references.len());
        for reference in references {
            let school = match reference {
                SchoolReference::Urn(urn) => self.school(urn.as_str()).await?,
                SchoolReference::Laestab(laestab) => {
                    all.iter().find(|school| school.laestab == laestab.as_str()).cloned()
                }
                SchoolReference::Name(name) => {
                    let wanted = name.trim().to_lowercase();
                    let mut named = all.iter().filter(|school| school.name.trim().to_lowercase() == wanted);
                    // Two schools of one name are none.
                    match (named.next(), named.next()) {
                        (Some(school), None) => Some(school.clone()),
                        _ => None,
                    }
                }
            };
            schools.push(school);
        }
        Ok(schools)
    }

    async fn school(&self, urn: &str) -> Result<Option<proto::School>, Status> {
        let request = proto::GetSchoolRequest {
            trust_id: self.trust_id.clone(),
            school: urn.to_owned(),
        };
        let answer = with_retries(async || self.admin.clone().get_school(request.clone()).await);
        match answer.await {
            Ok(answer) => Ok(answer.into_inner().school),
            Err(status) if is_absent(&status) => Ok(None),
            Err(status) => Err(status),
        }
    }

    async fn all_schools(&self) -> Result<Vec<proto::School>, Status> {
        let mut schools = Vec::new();
        let mut page_token = String::new();
        for _ in 0..SCHOOL_PAGES_MAX {
            let request = proto::ListSchoolsRequest {
                trust_id: self.trust_id.clone(),
                page_size: 1000,
                page_token,
            };
            let page = with_retries(async || self.admin.clone().list_schools(request.clone()).await)
                .await?
                .into_inner();
            schools.extend(page.schools);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(schools)
    }

    /// The pupils that the service knows under the first of their keys that it knows; nothing for one whom it does not.
    pub async fn known_pupils(&self, keys: &[Vec<proto::PupilKey>]) -> Result<Vec<Option<proto::Pupil>>, Status> {
        stream::iter(keys)
            .map(|keys| self.known_pupil(keys))
            .buffered(LOOKUPS_IN_FLIGHT)
            .try_collect()
            .await
    }

    async fn known_pupil(&self, keys: &[proto::PupilKey]) -> Result<Option<proto::Pupil>, Status> {
        for key in keys {
            let request = proto::GetPupilRequest {
                trust_id: self.trust_id.clone(),
                pupil: Some(key.clone()),
            };
            let answer = with_retries(async || self.pupils.clone().get_pupil(request.clone()).await);
            match answer.await {
                Ok(answer) => return Ok(answer.into_inner().pupil),
                Err(status) if is_absent(&status) => {}
                Err(status) => return Err(status),
            }
        }
        Ok(None)
    }

    /// The name of a batch: the same for the same content, so that a run that was cut can be made again without doing
    /// anything twice.
    fn batch_id(&self, request: &impl Message) -> String {
        if self.again {
            return Uuid::new_v4().to_string();
        }
        let content = Sha256::digest(request.encode_to_vec());
        Uuid::new_v5(&BATCH_NAMESPACE, &content).to_string()
    }

    /// Writes a batch of pupils. Returns whether it is the answer of an earlier run, too.
    pub async fn upsert_pupils(
        &self,
        pupils: Vec<proto::PupilInput>,
    ) -> Result<proto::BatchUpsertPupilsResponse, Status> {
        let mut request = proto::BatchUpsertPupilsRequest {
            trust_id: self.trust_id.clone(),
            request_id: String::new(),
            pupils,
            all_or_nothing: false,
        };
        request.request_id = self.batch_id(&request);
        let send = async |request: &proto::BatchUpsertPupilsRequest| {
            with_retries(async || self.pupils.clone().batch_upsert_pupils(request.clone()).await)
                .await
                .map(tonic::Response::into_inner)
        };
        let answer = send(&request).await?;
        if answer.rejected > 0 && is_replayed(answer.receipt.as_ref()) {
            // What was refused then may be taken now.
            request.request_id = Uuid::new_v4().to_string();
            return send(&request).await;
        }
        Ok(answer)
    }

    /// Writes a batch of marks.
    pub async fn record_sessions(
        &self,
        items: Vec<proto::SessionItem>,
        correction: Option<proto::Correction>,
    ) -> Result<proto::SessionBatchResult, Status> {
        let batch = proto::SessionBatch {
            items,
            correction,
            ..proto::SessionBatch::default()
        };
        let mut request = proto::RecordSessionsRequest {
            trust_id: self.trust_id.clone(),
            batch: Some(batch),
        };
        let id = self.batch_id(&request);
        let answer = self.record(&mut request, id).await?;
        if answer.rejected > 0 && is_replayed(answer.receipt.as_ref()) {
            // What was refused then may be taken now.
            return self.record(&mut request, Uuid::new_v4().to_string()).await;
        }
        Ok(answer)
    }

    async fn record(
        &self,
        request: &mut proto::RecordSessionsRequest,
        id: String,
    ) -> Result<proto::SessionBatchResult, Status> {
        if let Some(batch) = &mut request.batch {
            batch.request_id = id;
        }
        let request = &*request;
        with_retries(async || self.sessions.clone().record_sessions(request.clone()).await)
            .await?
            .into_inner()
            .result
            .ok_or_else(|| Status::internal("the answer holds no result"))
    }
}

/// Whether an answer is that of an earlier run.
pub fn is_replayed(receipt: Option<&proto::Receipt>) -> bool {
    receipt.is_some_and(|receipt| receipt.replayed)
}
