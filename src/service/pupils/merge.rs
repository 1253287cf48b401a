//! Two records of one child made one, and that undone.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::changes::{Decision, check_compatible, fields_of};
use crate::domain::identifiers::{PupilKey, TrustId};
use crate::domain::session::AcademicYear;
use crate::service::error::Resource;
use crate::service::judging::{Moment, judge_moved_since};
use crate::service::recorded::{self, Recorded};
use crate::service::transaction::{existing_pupil, finish, retry};
use crate::service::trusts::require_trust;
use crate::service::{Service, ServiceError};
use crate::store::merges::{self, EpisodeOfPupil, HandedEpisode, Merge, Moved, MovedEpisode, MovedIdentifier};
use crate::store::pupil_changes::{self, ChangeDetails, ChangeKind};
use crate::store::pupils::writes::{self, PupilWrites};
use crate::store::pupils::{self, KIND_UPN};
use crate::store::stages::{self, Cause, StageRow};
use crate::store::{StoreError, TrustTransaction, holds, notices};

/// Two pupils to be made one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeRequest {
    /// The pupil that stays.
    pub survivor: PupilKey,
    /// The pupil that becomes part of it.
    pub merged: PupilKey,
    /// Who decides, and why.
    pub decision: Decision,
}

/// A merge to be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmergeRequest {
    /// The merge.
    pub merge_id: Uuid,
    /// Who decides, and why.
    pub decision: Decision,
}

/// What became of a merge, or of undoing it. It is kept as the answer of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeOutcome {
    /// The merge.
    pub merge_id: Uuid,
    /// The pupil that stays.
    pub survivor_id: Uuid,
    /// The pupil that became part of it.
    pub merged_id: Uuid,
}

impl From<&Merge> for MergeOutcome {
    fn from(merge: &Merge) -> MergeOutcome {
        MergeOutcome {
            merge_id: merge.merge_id,
            survivor_id: merge.survivor_id,
            merged_id: merge.merged_id,
        }
    }
}

impl Service {
    /// Makes one of two pupils that are the same child, and judges what came of it. Revisions and first entries stay with their
    /// enrolments; transitions stay what the feed has told.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such pupil, `Invalid` where both are the same one already, `Precondition` where their
    /// enrolments would overlap in a way that is not allowed.
    pub async fn merge_pupils(
        &self,
        trust: TrustId,
        request: &MergeRequest,
    ) -> Result<Recorded<MergeOutcome>, ServiceError> {
        self.roll_over(trust).await?;
        retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let merged = self.merge(&mut transaction, trust, request).await;
            finish(transaction, merged).await
        })
        .await
    }

    /// Undoes a merge, and judges both pupils anew. What moved goes back, as it is by now; what was begun for the survivor since
    /// stays there.
    ///
    /// # Errors
    /// `NotFound` where there is no such merge, `Precondition` where it was undone already, or another has to be undone first.
    pub async fn unmerge_pupils(
        &self,
        trust: TrustId,
        request: &UnmergeRequest,
    ) -> Result<Recorded<MergeOutcome>, ServiceError> {
        self.roll_over(trust).await?;
        retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let unmerged = self.unmerge(&mut transaction, trust, request).await;
            finish(transaction, unmerged).await
        })
        .await
    }

    /// A merge.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn pupil_merge(&self, trust: TrustId, merge_id: Uuid) -> Result<Merge, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let found = merges::find(&mut transaction, trust, merge_id).await;
        let found = finish(transaction, found.map_err(ServiceError::from)).await?;
        found.ok_or(ServiceError::NotFound(Resource::Merge))
    }

    async fn merge(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        request: &MergeRequest,
    ) -> Result<Recorded<MergeOutcome>, ServiceError> {
        require_trust(transaction, trust).await?;
        if let Some(earlier) = recorded::earlier(transaction, trust, request.decision.request()).await? {
            return Ok(earlier);
        }
        let identities = merges::identity_version(transaction, trust).await?;
        let survivor = existing_pupil(transaction, trust, &request.survivor).await?.0;
        let merged = existing_pupil(transaction, trust, &request.merged).await?.0;
        if survivor == merged {
            let message = "both are one pupil already: name two";
            return Err(ServiceError::invalid("merged", "SAME_PUPIL", message));
        }
        let [row, merged_row] = locked(transaction, trust, [survivor, merged]).await?;
        if merges::identity_version(transaction, trust).await? != identities {
            return Err(StoreError::Conflict.into());
        }
        let moment = self.moment();
        let enrolments = pupils::enrolments_of(transaction, trust, &[survivor, merged]).await?;
        check_compatible(&enrolments)?;
        let of_merged = enrolments.iter().filter(|enrolment| enrolment.pupil_id == merged);
        let identifiers = pupils::identifiers_of(transaction, trust, &[survivor, merged]).await?;
        let has_upn = identifiers
            .iter()
            .any(|row| row.pupil_id == survivor && row.kind == KIND_UPN && row.is_current);
        let moved_identifiers: Vec<MovedIdentifier> = identifiers
            .into_iter()
            .filter(|identifier| identifier.pupil_id == merged)
            .map(|identifier| MovedIdentifier {
                kind: identifier.kind,
                source: identifier.source,
                value: identifier.value,
                was_current: identifier.is_current,
            })
            .collect();
        let episodes = merges::episodes_of(transaction, trust, merged).await?;
        let numbered = numbered(&row, &episodes);
        let held = holds::of_pupils(transaction, trust, &[merged]).await?;
        let notices = notices::list(transaction, trust, Some(merged), None, i64::MAX).await?;
        let merge = Merge {
            merge_id: Uuid::now_v7(),
            survivor_id: survivor,
            merged_id: merged,
            moved: Moved {
                enrolments: of_merged.map(|enrolment| enrolment.enrolment_id).collect(),
                identifiers: moved_identifiers,
                episodes: numbered,
                holds: held.iter().map(|hold| hold.hold_id).collect(),
                notices: notices.iter().map(|notice| notice.notice_id).collect(),
            },
            merged_at: moment.now,
            unmerged_at: None,
        };

        merges::hand_over(transaction, trust, merged, survivor, &merge.moved).await?;
        // A pupil has one UPN: the survivor's, where there is one.
        let identifiers: Vec<_> = merge
            .moved
            .identifiers
            .iter()
            .map(|identifier| {
                let stays_former = identifier.kind == KIND_UPN && has_upn;
                (identifier, identifier.was_current && !stays_former)
            })
            .collect();
        merges::hand_over_identifiers(transaction, trust, merged, survivor, &identifiers).await?;
        let handed = merge.moved.episodes.iter().map(|moved| HandedEpisode {
            before: moved.from,
            after: moved.to,
            closed_at: moved.ended.then_some(Some(moment.now)),
        });
        let handed: Vec<_> = handed.collect();
        merges::hand_over_episodes(transaction, trust, merged, survivor, &handed).await?;
        let rows = merged_rows(row, merged_row, &merge.moved);
        stages::update(transaction, trust, &rows).await?;
        let mut parts = merges::parts_of(transaction, trust, merged).await?;
        parts.push(merged);
        merges::set_merged_into(transaction, trust, &parts, Some(survivor)).await?;
        merges::insert(transaction, trust, &merge).await?;
        self.record_merge(
            transaction,
            trust,
            &merge,
            ChangeKind::Merged,
            &request.decision,
            moment,
        )
        .await
    }

    async fn unmerge(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        request: &UnmergeRequest,
    ) -> Result<Recorded<MergeOutcome>, ServiceError> {
        require_trust(transaction, trust).await?;
        if let Some(earlier) = recorded::earlier(transaction, trust, request.decision.request()).await? {
            return Ok(earlier);
        }
        let found = merges::find(transaction, trust, request.merge_id).await?;
        let found = found.ok_or(ServiceError::NotFound(Resource::Merge))?;
        let (survivor, merged) = (found.survivor_id, found.merged_id);
        let [row, merged_row] = locked(transaction, trust, [survivor, merged]).await?;
        // Nobody else undoes it from here on.
        let found = merges::find(transaction, trust, request.merge_id).await?;
        let merge = found.ok_or(ServiceError::NotFound(Resource::Merge))?;
        let related = merges::related(transaction, trust, survivor).await?;
        let history = merges::merges_of(transaction, trust, &related).await?;
        check_undoable(&merge, &history)?;
        let moment = self.moment();

        merges::hand_over(transaction, trust, survivor, merged, &merge.moved).await?;
        // One that went to another pupil since is not the survivor's any more, and stays where it is.
        let identifiers = merge.moved.identifiers.iter();
        let identifiers: Vec<_> = identifiers.map(|moved| (moved, moved.was_current)).collect();
        merges::hand_over_identifiers(transaction, trust, survivor, merged, &identifiers).await?;
        let handed = merge.moved.episodes.iter().map(|moved| HandedEpisode {
            before: moved.to,
            after: moved.from,
            closed_at: moved.ended.then_some(None),
        });
        let handed: Vec<_> = handed.collect();
        merges::hand_over_episodes(transaction, trust, survivor, merged, &handed).await?;
        let mut rows = Vec::new();
        for row in [row, merged_row] {
            let episodes = merges::episodes_of(transaction, trust, row.pupil_id).await?;
            rows.push(row_with(row, &episodes));
        }
        stages::update(transaction, trust, &rows).await?;
        merges::set_merged_into(transaction, trust, &[merged], None).await?;
        let parts = parts_before(merged, &history);
        merges::set_merged_into(transaction, trust, &parts, Some(merged)).await?;
        merges::undo(transaction, trust, merge.merge_id, moment.now).await?;
        self.record_merge(
            transaction,
            trust,
            &merge,
            ChangeKind::Unmerged,
            &request.decision,
            moment,
        )
        .await
    }

    /// Keeps who decided, and what follows for the stages.
    async fn record_merge(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        merge: &Merge,
        kind: ChangeKind,
        decision: &Decision,
        moment: Moment,
    ) -> Result<Recorded<MergeOutcome>, ServiceError> {
        let both = [merge.survivor_id, merge.merged_id];
        let writes = PupilWrites {
            changed_pupils: fields_of(transaction, trust, &both).await?,
            ..PupilWrites::default()
        };
        let writing = self.writing(transaction, trust).await?;
        writes::write(transaction, trust, writing, &writes).await?;
        let changes = [(both[0], both[1]), (both[1], both[0])].map(|(pupil, other)| {
            let details = ChangeDetails {
                merge_id: Some(merge.merge_id),
                other_pupil_id: Some(other),
                to_this_pupil: pupil == merge.survivor_id,
                ..ChangeDetails::default()
            };
            decision.change(pupil, kind, details, moment.now)
        });
        pupil_changes::append(transaction, trust, &changes).await?;
        merges::count_identity_change(transaction, trust).await?;
        let outcome = MergeOutcome::from(merge);
        let recorded = recorded::record(transaction, trust, decision.request(), outcome, moment.now).await?;
        let mut since = moment.year;
        for pupil in both {
            let episodes = merges::episodes_of(transaction, trust, pupil).await?;
            let years = episodes.iter().map(|episode| i32::from(episode.academic_year));
            since = years
                .filter_map(AcademicYear::from_start_year)
                .fold(since, AcademicYear::min);
        }
        judge_moved_since(transaction, trust, &both, since, moment, Cause::Enrolment).await?;
        Ok(recorded)
    }
}

/// Two pupils' stages, locked, in the order asked.
async fn locked(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    pupils: [Uuid; 2],
) -> Result<[StageRow; 2], ServiceError> {
    let rows = stages::lock(transaction, trust, &pupils).await?;
    let row = |pupil: Uuid| {
        let row = rows.iter().find(|row| row.pupil_id == pupil).cloned();
        row.ok_or(ServiceError::NotFound(Resource::Pupil))
    };
    Ok([row(pupils[0])?, row(pupils[1])?])
}

/// The numbers that the episodes of the merged pupil get. One that goes on goes on with the survivor, unless the survivor has
/// one of its own that does.
fn numbered(survivor: &StageRow, episodes: &[EpisodeOfPupil]) -> Vec<MovedEpisode> {
    let first = survivor.last_episode.max(survivor.episode) + 1;
    let moved = (first..).zip(episodes).map(|(to, episode)| MovedEpisode {
        from: episode.episode,
        to,
        ended: episode.is_open && survivor.episode_open,
    });
    moved.collect()
}

/// The stages of both pupils as the merge leaves them, before they are judged.
fn merged_rows(mut survivor: StageRow, mut merged: StageRow, moved: &Moved) -> [StageRow; 2] {
    let current = moved.episodes.iter().find(|episode| episode.from == merged.episode);
    if let Some(current) = current.filter(|_| !survivor.episode_open && (merged.episode_open || survivor.episode == 0))
    {
        survivor.episode = current.to;
        survivor.episode_open = merged.episode_open;
        survivor.raised_to = merged.raised_to;
    }
    let last = moved.episodes.iter().map(|episode| episode.to).max();
    survivor.last_episode = survivor.last_episode.max(survivor.episode).max(last.unwrap_or(0));
    survivor.has_holds |= !moved.holds.is_empty();
    merged.episode_open = false;
    [survivor, merged]
}

/// A pupil's stage with the episodes that the pupil has by now, before it is judged.
fn row_with(mut row: StageRow, episodes: &[EpisodeOfPupil]) -> StageRow {
    let current = episodes
        .iter()
        .find(|episode| episode.is_open)
        .or_else(|| episodes.iter().find(|episode| episode.episode == row.episode))
        .or(episodes.last());
    row.last_episode = row.last_episode.max(row.episode);
    row.episode = current.map_or(0, |current| current.episode);
    row.episode_open = current.is_some_and(|current| current.is_open);
    row.raised_to = current.map_or(0, |current| current.raised_to);
    if let Some(current) = current.filter(|current| current.is_open) {
        // One of an earlier year, which the merge had ended before it would have ended with its year, ends when it is judged.
        row.academic_year = row.academic_year.min(current.academic_year);
    }
    row
}

/// Merges are undone latest first: what moved with this one must not have moved on.
fn check_undoable(merge: &Merge, history: &[Merge]) -> Result<(), ServiceError> {
    let refuse = |reason, message: String| Err(ServiceError::Precondition { reason, message });
    if merge.unmerged_at.is_some() {
        return refuse("ALREADY_UNMERGED", "the merge was undone already".to_owned());
    }
    let pupils = [merge.survivor_id, merge.merged_id];
    let later = history
        .iter()
        .rev()
        .take_while(|other| other.merge_id != merge.merge_id)
        .find(|other| {
            other.unmerged_at.is_none() && (pupils.contains(&other.survivor_id) || pupils.contains(&other.merged_id))
        });
    match later {
        None => Ok(()),
        Some(later) => refuse(
            "MERGED_SINCE",
            format!(
                "one of the pupils was merged again since: undo the merge {} first",
                later.merge_id
            ),
        ),
    }
}

/// The pupils that were part of the merged one when it was merged, and are again.
fn parts_before(merged: Uuid, history: &[Merge]) -> Vec<Uuid> {
    let mut parts = HashSet::from([merged]);
    // The latest first: what became part of a part came before it.
    for merge in history.iter().rev().filter(|merge| merge.unmerged_at.is_none()) {
        if parts.contains(&merge.survivor_id) {
            parts.insert(merge.merged_id);
        }
    }
    parts.remove(&merged);
    parts.into_iter().collect()
}
