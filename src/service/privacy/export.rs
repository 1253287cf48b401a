//! Subject access: everything that is stored about one pupil as one JSON document, of one moment, in pieces that its reader
//! pulls. docs/subject-access.md says what it is made of.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use uuid::Uuid;

use crate::domain::identifiers::{PupilId, PupilKey, TrustId};
use crate::domain::session::AcademicYear;
use crate::service::error::Resource;
use crate::service::transaction::{existing_pupil, finish};
use crate::service::{Service, ServiceError};
use crate::store::subject_data::{self, PACKED, SECTIONS};
use crate::store::{StoreError, TrustTransaction, merges, pupils, records, retention, trusts};

/// What the document says that it is.
pub const FORMAT: &str = "graduated-response/subject-data";
/// The version of what it is made of: another one where a reader of this one would go wrong.
pub const VERSION: u32 = 1;

/// The most bytes of one piece.
pub const PIECE_BYTES_MAX: usize = 64 * 1024;
/// Pieces that are read ahead of what was taken.
const PIECES_AHEAD: usize = 2;
/// How long a call waits for another one to end where too many are read.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(5);

/// The pieces of a document as they are read: its bytes, and whether they are the last.
pub type Pieces = mpsc::Receiver<Result<(Vec<u8>, bool), ServiceError>>;

impl Service {
    /// Exports everything that is stored about a pupil, with all that are part of it.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such pupil; `Exhausted` where too many documents are read at once.
    pub async fn export_subject_data(&self, trust: TrustId, key: &PupilKey) -> Result<Pieces, ServiceError> {
        let turn = timeout(WAIT_FOR_OTHERS, Semaphore::acquire_owned(Arc::clone(&self.case_files))).await;
        let Ok(Ok(turn)) = turn else {
            return Err(ServiceError::Exhausted {
                reason: "TOO_MANY_CASE_FILES",
                message:
                    "too many case files and exports are streamed already: read those to their ends, and ask again"
                        .to_owned(),
            });
        };
        let now = self.clock.now();
        let mut transaction = self.store.begin_snapshot(trust).await?;
        let (of, head) = match begin(&mut transaction, trust, key, now).await {
            Ok(begun) => begun,
            Err(error) => return finish(transaction, Err(error)).await,
        };
        let (out, pieces) = mpsc::channel(PIECES_AHEAD);
        let waits = self.limits.case_file_waits;
        tokio::spawn(async move {
            let mut writing = Writing {
                bytes: head.into_bytes(),
                begun: false,
                out: out.clone(),
                waits,
            };
            let written = writing.sections(&mut transaction, trust, &of).await;
            let ended = finish(transaction, written).await;
            // Others have their turn while the reader is told.
            drop(turn);
            if let Err(error) = ended {
                // Fails only where the reader is gone.
                let _ = out.send(Err(error)).await;
            }
        });
        Ok(pieces)
    }
}

/// Whose data it is.
struct Of {
    /// The pupil, with all that are part of it.
    pupils: Vec<Uuid>,
    /// Everybody who was ever merged with one of them.
    related: Vec<Uuid>,
}

async fn begin(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    key: &PupilKey,
    now: DateTime<Utc>,
) -> Result<(Of, String), ServiceError> {
    let PupilId(pupil) = existing_pupil(transaction, trust, key).await?;
    let trust_row = trusts::find(transaction, trust).await?;
    let trust_row = trust_row.ok_or(ServiceError::NotFound(Resource::Trust))?;
    let of = Of {
        pupils: retention::with_merged(transaction, trust, &[pupil]).await?,
        related: merges::related(transaction, trust, pupil).await?,
    };
    let text = |value: serde_json::Value| value.to_string();
    let head = format!(
        "{{\"format\":{},\"version\":{VERSION},\"exported_at\":{},\"trust\":{},\"pupil_id\":{},\"sections\":{{",
        text(json!(FORMAT)),
        text(json!(now)),
        text(json!({ "trust_id": trust.0, "name": trust_row.name })),
        text(json!(pupil)),
    );
    Ok((of, head))
}

/// A document while it is written.
struct Writing {
    bytes: Vec<u8>,
    /// Whether a section is written already.
    begun: bool,
    out: mpsc::Sender<Result<(Vec<u8>, bool), ServiceError>>,
    waits: Duration,
}

impl Writing {
    async fn sections(
        &mut self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        of: &Of,
    ) -> Result<(), ServiceError> {
        for section in SECTIONS {
            let rows = subject_data::rows(transaction, trust, section, &of.pupils, &of.related).await?;
            self.section(section.name, &rows).await?;
        }
        for (name, _) in PACKED {
            let rows = match *name {
                "first_entries" => first_entries(transaction, trust, &of.pupils).await?,
                _ => subject_data::uploads_waiting(transaction, trust, &of.pupils).await?,
            };
            self.section(name, &rows).await?;
        }
        self.bytes.extend(b"}}");
        self.send(true).await
    }

    async fn section(&mut self, name: &str, rows: &[String]) -> Result<(), ServiceError> {
        if self.begun {
            self.bytes.push(b',');
        }
        self.begun = true;
        self.bytes.extend(format!("\"{name}\":[").into_bytes());
        for (place, row) in rows.iter().enumerate() {
            if place > 0 {
                self.bytes.push(b',');
            }
            self.bytes.extend(row.as_bytes());
            self.send(false).await?;
        }
        self.bytes.push(b']');
        Ok(())
    }

    /// Sends whole pieces, but at least one byte is kept for what follows; and the rest with the last.
    async fn send(&mut self, all: bool) -> Result<(), ServiceError> {
        while self.bytes.len() > PIECE_BYTES_MAX || (all && !self.bytes.is_empty()) {
            let rest = self.bytes.split_off(self.bytes.len().min(PIECE_BYTES_MAX));
            let piece = std::mem::replace(&mut self.bytes, rest);
            let last = all && self.bytes.is_empty();
            match timeout(self.waits, self.out.send(Ok((piece, last)))).await {
                Ok(Ok(())) => {}
                // The reader is gone: whatever is said now, nobody hears it.
                Ok(Err(_)) => return Err(StoreError::Stopped.into()),
                Err(_) => {
                    return Err(ServiceError::Exhausted {
                        reason: "READER_TOO_SLOW",
                        message: format!(
                            "nothing of the document was taken for {} seconds: ask for it again, and read it to its end",
                            self.waits.as_secs()
                        ),
                    });
                }
            }
        }
        Ok(())
    }
}

async fn first_entries(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    of: &[Uuid],
) -> Result<Vec<String>, ServiceError> {
    let enrolments = pupils::enrolments_of(transaction, trust, of).await?;
    let (ids, mut schools): (Vec<Uuid>, Vec<Uuid>) =
        enrolments.iter().map(|row| (row.enrolment_id, row.school_id)).unzip();
    schools.sort_unstable();
    schools.dedup();
    let last = AcademicYear::clamped(NaiveDate::MAX);
    let years = records::years_of(transaction, trust, of, last).await?;
    Ok(subject_data::first_entries(transaction, trust, &schools, &years, &ids).await?)
}
