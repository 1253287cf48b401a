//! What a reconciliation comes to: carried out within a transaction that may still be taken back.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::upload::{Dates, Upload};
use crate::domain::identifiers::{PupilId, PupilKey, SchoolId, SchoolKey, TrustId};
use crate::domain::reconciliation::{Extent, Stop, difference};
use crate::domain::register::LEAVE;
use crate::domain::stage::Stage;
use crate::service::error::Rejection;
use crate::service::judging::{Judging, Moment};
use crate::service::sessions::{Correction, SessionBatch, SessionItem, Taken};
use crate::service::{Service, ServiceError};
use crate::store::reconciliations::PlannedPupil;
use crate::store::registers::{self, Window};
use crate::store::{StoreError, TrustTransaction, merges, stages};

/// How many rejections are kept with a plan.
const REJECTIONS_MAX: usize = 1_000;

/// What a reconciliation does or would do, in numbers. Kept as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Why it stopped.
    pub stops: Vec<Stop>,
    /// Pupils with marks on either side.
    pub pupils_compared: usize,
    /// Pupils of whom at least one mark is new, changed or taken away.
    pub pupils_touched: usize,
    /// Pupils with stored marks and none in the upload.
    pub pupils_missing: usize,
    /// Pupils who are left as they are, since an item was rejected.
    pub left: Vec<Uuid>,
    /// Sessions that had no mark.
    pub marks_new: u64,
    /// Marks changed.
    pub marks_changed: u64,
    /// Marks taken away.
    pub marks_removed: u64,
    /// Marks that are the same.
    pub marks_unchanged: u64,
    /// Pupils who move, by the numbers of the stages before and after.
    pub moves: Vec<(u8, u8, usize)>,
    /// Items that were not taken: the first of them.
    pub rejections: Vec<Rejection>,
    /// How many there were in all.
    pub rejected: usize,
}

impl Plan {
    /// Pupils who move to another stage.
    pub fn restaged(&self) -> usize {
        self.moves.iter().map(|(_, _, pupils)| pupils).sum()
    }

    /// What the brake asks for.
    pub fn extent(&self) -> Extent {
        Extent {
            compared: self.marks_unchanged + self.marks_changed + self.marks_removed,
            removed: self.marks_removed,
            restaged: self.restaged() as u64,
            rejected: self.rejected as u64,
        }
    }
}

/// A reconciliation whose marks are written, in a transaction that has not ended.
pub(super) struct CarriedOut {
    pub plan: Plan,
    /// The pupils that it touches, in the order of their identifiers.
    pub pupils: Vec<PlannedPupil>,
    pub judging: Judging,
}

/// What a reconciliation is of.
pub(super) struct Subject<'a> {
    pub school: SchoolId,
    pub dates: Dates,
    pub correction: &'a Correction,
    /// Under which its revisions are kept.
    pub request_id: Uuid,
}

impl Service {
    /// Writes what makes the school's registers what the upload is, and judges the pupils. `identities` is the version of
    /// identities that the upload was resolved under.
    ///
    /// The registers are read once to know which pupils to lock, and again once these are locked. A pupil who first got a mark
    /// between the two is not compared: nothing is taken away that was entered while this was under way.
    pub(super) async fn carry_out(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        subject: &Subject<'_>,
        mut upload: Upload,
        identities: i64,
        moment: Moment,
    ) -> Result<CarriedOut, ServiceError> {
        let year = subject.dates.year;
        let places = subject.dates.places();
        let window = Window {
            offset: places.start,
            length: places.len(),
        };
        let there = registers::of_school(transaction, trust, subject.school.0, year, window).await?;
        let mut pupils: Vec<Uuid> = there.iter().map(|register| register.pupil_id).collect();
        pupils.extend(upload.runs.keys().chain(&upload.left));
        let locked = stages::lock(transaction, trust, &pupils).await?;
        let locked: HashSet<Uuid> = locked.into_iter().map(|row| row.pupil_id).collect();
        if merges::identity_version(transaction, trust).await? != identities {
            return Err(StoreError::Conflict.into());
        }
        upload.refuse(|pupil| locked.contains(&pupil));
        let mut stored: BTreeMap<Uuid, Vec<u8>> = BTreeMap::new();
        for register in registers::of_school(transaction, trust, subject.school.0, year, window).await? {
            if locked.contains(&register.pupil_id) {
                unite(stored.entry(register.pupil_id).or_default(), &register.part);
            }
        }
        let batch = batch_of(subject, &mut upload, &stored);
        let taken = self.take_batch(transaction, trust, &batch, identities, moment).await?;
        Ok(planned(subject, upload, &stored, &batch, taken))
    }
}

/// The marks of a pupil who came back to the school, and so has two registers of the year: they have no day in common.
fn unite(marks: &mut Vec<u8>, other: &[u8]) {
    if marks.len() < other.len() {
        marks.resize(other.len(), 0);
    }
    for (mark, other) in marks.iter_mut().zip(other) {
        if *mark == 0 {
            *mark = *other;
        }
    }
}

/// The batch that makes the stored registers what was uploaded: an item a pupil. Pupils who are left have none.
fn batch_of(subject: &Subject<'_>, upload: &mut Upload, stored: &BTreeMap<Uuid, Vec<u8>>) -> SessionBatch {
    let places = subject.dates.places();
    let year = subject.dates.year;
    let pupils: BTreeSet<Uuid> = stored.keys().chain(upload.runs.keys()).copied().collect();
    let mut items = Vec::with_capacity(pupils.len());
    for pupil in pupils {
        if upload.left.contains(&pupil) {
            continue;
        }
        let uploaded = match upload.marks_of(pupil, year, places.clone()) {
            Ok(marks) => marks,
            Err(rejections) => {
                upload.rejections.extend(rejections);
                upload.left.insert(pupil);
                continue;
            }
        };
        let marks = difference(stored.get(&pupil).map_or(&[][..], Vec::as_slice), &uploaded);
        if marks.iter().any(|mark| *mark != LEAVE) {
            items.push(SessionItem {
                item_index: items.len(),
                pupil: PupilKey::Id(PupilId(pupil)),
                year,
                first: places.start,
                marks,
                school: None,
                correction: None,
            });
        }
    }
    SessionBatch {
        request_id: subject.request_id,
        fingerprint: Vec::new(),
        items,
        rejections: Vec::new(),
        school: Some(SchoolKey::Id(subject.school)),
        correction: Some(subject.correction.clone()),
        all_or_nothing: false,
    }
}

fn planned(
    subject: &Subject<'_>,
    mut upload: Upload,
    stored: &BTreeMap<Uuid, Vec<u8>>,
    batch: &SessionBatch,
    taken: Taken,
) -> CarriedOut {
    let of_item: Vec<Uuid> = batch
        .items
        .iter()
        .map(|item| match item.pupil {
            PupilKey::Id(pupil) => pupil.0,
            // The batch was made above.
            _ => Uuid::nil(),
        })
        .collect();
    for rejection in taken.outcome.rejections {
        let pupil = of_item.get(rejection.item_index).copied().unwrap_or_default();
        upload.left.insert(pupil);
        let place = rejection
            .session
            .and_then(|session| subject.dates.year.index_of(session.into()));
        // Of a pupil of whom nothing was uploaded there is no item to name.
        if let Some((item_index, within)) = upload.item_at(pupil, place) {
            upload.rejections.push(Rejection {
                item_index,
                field: within.map_or_else(|| rejection.field.clone(), |within| format!("marks[{within}]")),
                ..rejection
            });
        }
    }
    let moves: HashMap<Uuid, (Stage, Stage)> = taken
        .judging
        .moves()
        .map(|(pupil, from, to)| (pupil, (from, to)))
        .collect();
    let mut removed: HashMap<Uuid, Vec<u16>> = HashMap::new();
    for revision in taken.revisions.iter().filter(|revision| revision.change.new == 0) {
        // Places of a register fit.
        let place = revision.change.index as u16;
        removed.entry(revision.pupil_id).or_default().push(place);
    }
    let compared: BTreeSet<Uuid> = stored.keys().chain(upload.runs.keys()).copied().collect();
    let mut plan = Plan {
        pupils_compared: compared.len(),
        ..Plan::default()
    };
    let mut pupils = Vec::new();
    let mut counted: BTreeMap<(u8, u8), usize> = BTreeMap::new();
    for (item_index, pupil_id) in of_item.into_iter().enumerate() {
        let counts = taken.counts.get(&item_index).copied().unwrap_or_default();
        let mut removed = removed.remove(&pupil_id).unwrap_or_default();
        removed.sort_unstable();
        let pupil = PlannedPupil {
            pupil_id,
            marks_new: counts.new,
            marks_changed: counts.changed.saturating_sub(removed.len()),
            marks_unchanged: counts.unchanged,
            moves: moves.get(&pupil_id).copied(),
            missing: !upload.runs.contains_key(&pupil_id) && !upload.left.contains(&pupil_id),
            removed,
        };
        plan.marks_new += pupil.marks_new as u64;
        plan.marks_changed += pupil.marks_changed as u64;
        plan.marks_removed += pupil.removed.len() as u64;
        plan.marks_unchanged += pupil.marks_unchanged as u64;
        plan.pupils_missing += usize::from(pupil.missing);
        if let Some((from, to)) = pupil.moves {
            *counted.entry((from.number(), to.number())).or_default() += 1;
        }
        let touched = pupil.marks_new + counts.changed > 0;
        plan.pupils_touched += usize::from(touched);
        if touched || pupil.moves.is_some() {
            pupils.push(pupil);
        }
    }
    plan.moves = counted
        .into_iter()
        .map(|((from, to), pupils)| (from, to, pupils))
        .collect();
    plan.left = upload.left.into_iter().collect();
    plan.rejections = upload.rejections;
    plan.rejections.sort_by_key(|rejection| rejection.item_index);
    plan.rejected = plan.rejections.len();
    plan.rejections.truncate(REJECTIONS_MAX);
    CarriedOut {
        plan,
        pupils,
        judging: taken.judging,
    }
}
