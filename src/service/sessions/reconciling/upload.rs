//! What was uploaded: read, and kept while it waits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use chrono::NaiveDate;
use uuid::Uuid;

use super::ReconciliationItem;
use crate::domain::identifiers::{PupilId, PupilKey, SchoolId, SchoolKey, TrustId};
use crate::domain::session::AcademicYear;
use crate::service::ServiceError;
use crate::service::error::Rejection;
use crate::store::pupils::resolve_pupils;
use crate::store::schools::resolve_schools;
use crate::store::{StoreError, TrustTransaction};

/// A run of marks of one pupil that was uploaded. 0 is no mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The place of the item in the upload.
    pub item_index: usize,
    /// The place of the first mark in the register.
    pub first: usize,
    /// The marks.
    pub marks: Vec<u8>,
}

/// What was uploaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Upload {
    /// The runs of each pupil.
    pub runs: BTreeMap<Uuid, Vec<Run>>,
    /// Pupils of whom an item was rejected: they are left as they are.
    pub left: BTreeSet<Uuid>,
    /// The items that were not taken.
    pub rejections: Vec<Rejection>,
}

/// The dates that an upload is the whole of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dates {
    pub from: NaiveDate,
    pub to: NaiveDate,
    pub year: AcademicYear,
}

impl Dates {
    /// The places of the register that lie within them.
    pub(super) fn places(self) -> std::ops::Range<usize> {
        self.year.sessions_to(self.from).saturating_sub(2)..self.year.sessions_to(self.to)
    }

    fn days(self) -> RangeInclusive<NaiveDate> {
        self.from..=self.to
    }
}

impl Upload {
    /// Reads the items of an upload: whose they are, and whether they are within it. `refused` are items that could not be
    /// read, with their pupils where these could.
    pub(super) async fn read(
        transaction: &mut TrustTransaction,
        trust: TrustId,
        school: SchoolId,
        dates: Dates,
        items: &[ReconciliationItem],
        refused: &[(Rejection, Option<PupilKey>)],
    ) -> Result<Upload, ServiceError> {
        let mut schools: Vec<SchoolKey> = items.iter().filter_map(|item| item.school.clone()).collect();
        schools.sort_unstable_by_key(|key| format!("{key:?}"));
        schools.dedup();
        let found = resolve_schools(transaction, trust, &schools).await?;
        let schools: HashMap<SchoolKey, Option<SchoolId>> = schools.into_iter().zip(found).collect();
        let unread = refused.iter().filter_map(|(_, pupil)| pupil.clone());
        let keys: Vec<PupilKey> = items.iter().map(|item| item.pupil.clone()).chain(unread).collect();
        let pupils = resolve_pupils(transaction, trust, &keys).await?;
        let mut upload = Upload {
            rejections: refused.iter().map(|(rejection, _)| rejection.clone()).collect(),
            ..Upload::default()
        };
        upload
            .left
            .extend(pupils.iter().skip(items.len()).flatten().map(|pupil| pupil.0));
        for (item, pupil) in items.iter().zip(pupils) {
            let pupil = pupil.map(|pupil| pupil.0);
            let refused = match &item.school {
                Some(key) if schools.get(key).copied().flatten() != Some(school) => Some(Rejection::new(
                    item.item_index,
                    "school",
                    "OTHER_SCHOOL",
                    "the item is of another school than the upload: send it with an upload of that school",
                )),
                _ => outside(item, dates),
            };
            match (refused, pupil) {
                (Some(rejection), pupil) => {
                    upload.left.extend(pupil);
                    upload.rejections.push(rejection);
                }
                (None, Some(pupil)) => upload.runs.entry(pupil).or_default().push(Run {
                    item_index: item.item_index,
                    first: item.first,
                    marks: item.marks.clone(),
                }),
                (None, None) => upload.rejections.push(unknown_pupil(item.item_index)),
            }
        }
        Ok(upload)
    }

    /// Takes note of pupils that the trust turned out not to have.
    pub(super) fn refuse(&mut self, known: impl Fn(Uuid) -> bool) {
        let unknown: Vec<Uuid> = self.runs.keys().copied().filter(|pupil| !known(*pupil)).collect();
        for pupil in unknown {
            for run in self.runs.remove(&pupil).unwrap_or_default() {
                self.rejections.push(unknown_pupil(run.item_index));
            }
        }
        self.left.retain(|pupil| known(*pupil));
    }

    /// A pupil's marks of the places, and 0 where the upload has none. Nothing, with rejections, where two items of the pupil
    /// hold a session.
    pub(super) fn marks_of(
        &self,
        pupil: Uuid,
        year: AcademicYear,
        places: std::ops::Range<usize>,
    ) -> Result<Vec<u8>, Vec<Rejection>> {
        let mut marks = vec![0; places.len()];
        let mut owners: Vec<Option<usize>> = vec![None; places.len()];
        let mut rejections = BTreeMap::new();
        for run in self.runs.get(&pupil).map_or(&[][..], Vec::as_slice) {
            for (place, mark) in run.marks.iter().enumerate() {
                let at = run.first + place;
                let Some(slot) = at.checked_sub(places.start).filter(|slot| *slot < places.len()) else {
                    continue;
                };
                if let Some(other) = owners[slot].replace(run.item_index) {
                    for (item_index, field) in
                        [(other, "marks".to_owned()), (run.item_index, format!("marks[{place}]"))]
                    {
                        rejections.entry(item_index).or_insert_with(|| {
                            let message =
                                "another item of the upload holds this session of the pupil too: send it once";
                            Rejection::new(item_index, field, "DUPLICATE_ITEM", message).at(year.session_at(at))
                        });
                    }
                }
                marks[slot] = *mark;
            }
        }
        if rejections.is_empty() {
            Ok(marks)
        } else {
            Err(rejections.into_values().collect())
        }
    }

    /// The item of a pupil that holds a place, with the place in the item; else the pupil's first.
    pub(super) fn item_at(&self, pupil: Uuid, place: Option<usize>) -> Option<(usize, Option<usize>)> {
        let runs = self.runs.get(&pupil)?;
        let holding = place.and_then(|place| {
            runs.iter().find_map(|run| {
                let within = place
                    .checked_sub(run.first)
                    .filter(|within| *within < run.marks.len())?;
                Some((run.item_index, Some(within)))
            })
        });
        holding.or_else(|| runs.first().map(|run| (run.item_index, None)))
    }

    /// As it is kept: see the migration.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (pupil, runs) in &self.runs {
            for run in runs {
                bytes.extend(pupil.as_bytes());
                // An upload has at most 50,000 items, and a run at most 732 marks.
                bytes.extend((run.item_index as u32).to_be_bytes());
                bytes.extend((run.first as u16).to_be_bytes());
                bytes.extend((run.marks.len() as u16).to_be_bytes());
                bytes.extend(&run.marks);
            }
        }
        bytes
    }

    /// Reads what was kept, without pupils left and rejections.
    pub(super) fn decode(bytes: &[u8]) -> Result<Upload, StoreError> {
        const CORRUPT: StoreError = StoreError::Corrupt("reconciliations.content");
        fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], StoreError> {
            let (taken, left) = rest.split_first_chunk::<N>().ok_or(CORRUPT)?;
            *rest = left;
            Ok(*taken)
        }
        let mut rest = bytes;
        let mut upload = Upload::default();
        while !rest.is_empty() {
            let pupil = Uuid::from_bytes(take(&mut rest)?);
            let item_index = usize::try_from(u32::from_be_bytes(take(&mut rest)?)).map_err(|_| CORRUPT)?;
            let first = usize::from(u16::from_be_bytes(take(&mut rest)?));
            let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
            let (marks, left) = rest.split_at_checked(length).ok_or(CORRUPT)?;
            rest = left;
            upload.runs.entry(pupil).or_default().push(Run {
                item_index,
                first,
                marks: marks.to_vec(),
            });
        }
        Ok(upload)
    }

    /// The pupils by whom they are known now: some may have become part of others since it was uploaded.
    pub(super) async fn resolve_again(
        self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
    ) -> Result<Upload, ServiceError> {
        let ids: Vec<Uuid> = self.runs.keys().chain(&self.left).copied().collect();
        let keys: Vec<PupilKey> = ids.iter().map(|id| PupilKey::Id(PupilId(*id))).collect();
        let resolved = resolve_pupils(transaction, trust, &keys).await?;
        let now: HashMap<Uuid, Uuid> = ids
            .into_iter()
            .zip(resolved)
            .filter_map(|(id, now)| Some((id, now?.0)))
            .collect();
        let of = |pupil: Uuid| now.get(&pupil).copied().unwrap_or(pupil);
        let mut upload = Upload {
            left: self.left.into_iter().map(of).collect(),
            rejections: self.rejections,
            runs: BTreeMap::new(),
        };
        for (pupil, runs) in self.runs {
            upload.runs.entry(of(pupil)).or_default().extend(runs);
        }
        Ok(upload)
    }
}

fn unknown_pupil(item_index: usize) -> Rejection {
    Rejection::new(
        item_index,
        "pupil",
        "UNKNOWN_PUPIL",
        "the trust has no such pupil: upsert the pupil first",
    )
}

/// What is wrong with an item that is not within the dates.
fn outside(item: &ReconciliationItem, dates: Dates) -> Option<Rejection> {
    let ends = [(0, "first_session"), (item.marks.len().saturating_sub(1), "marks")];
    let (place, field) = ends.into_iter().find(|(place, _)| {
        item.year != dates.year || !dates.days().contains(&item.year.session_at(item.first + place).date)
    })?;
    let message = "the item holds sessions outside the dates of the upload: send those of these dates alone";
    let rejection = Rejection::new(item.item_index, field, "OUTSIDE_DATES", message);
    Some(rejection.at(item.year.session_at(item.first + place)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_uploaded_reads_back_as_it_was_kept() {
        let run = |item_index, first, marks: &[u8]| Run {
            item_index,
            first,
            marks: marks.to_vec(),
        };
        let upload = Upload {
            runs: BTreeMap::from([
                (
                    Uuid::from_u128(1),
                    vec![run(0, 76, &[1, 2, 0]), run(49_999, 731, &[30])],
                ),
                (Uuid::from_u128(2), vec![run(7, 0, &[19; 732])]),
            ]),
            ..Upload::default()
        };
        assert_eq!(Upload::decode(&upload.encode()).unwrap(), upload);
        assert_eq!(Upload::decode(&[]).unwrap(), Upload::default());
        let kept = upload.encode();
        for cut in [1, 16, 23, kept.len() - 1] {
            assert!(
                matches!(Upload::decode(&kept[..cut]), Err(StoreError::Corrupt(_))),
                "{cut}"
            );
        }
    }
}
