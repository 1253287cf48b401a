//! Compares what can be seen of the service with what the model says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use chrono::{DateTime, Days, NaiveDate, Utc};
use graduated_response::grpc::convert::to_date;

use super::drive::Drive;
use super::naive::{Answer, Counts, Happening, first_of_year};
use crate::common::world::{by_id, pb};

/// What the model and the service disagree on.
pub type Disagreement = String;

/// What was seen of a pupil's episodes of raised actions.
#[derive(Default)]
pub struct Seen {
    year: Option<NaiveDate>,
    episode: i32,
    open: bool,
    /// The stage of greatest need in which the pupil was seen, by episode.
    highest: BTreeMap<i32, usize>,
    /// The first day of the academic year of each episode.
    years: BTreeMap<i32, NaiveDate>,
    /// What was said last.
    answer: Option<Answer>,
    moves: Vec<Move>,
}

/// A pupil's move from one stage to another, when it was seen first.
struct Move {
    from: usize,
    to: usize,
    effective_on: NaiveDate,
    counts: Counts,
    version: usize,
    noticed_at: DateTime<Utc>,
}

impl Drive {
    /// Compares a pupil's stage today, and the actions.
    pub async fn look(&mut self, pupil: usize) -> Result<(), Disagreement> {
        let request = pb::GetPupilStageRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(by_id(&self.pupils[pupil])),
            ..pb::GetPupilStageRequest::default()
        };
        let found = self.stage(request).await?;
        let expected = self.model.answer(pupil, self.today, None);
        let what = format!("pupil {pupil} today {}", self.today);
        compare(&what, &expected, &found)?;
        self.count_episodes(pupil, &expected);
        self.note_move(pupil, &expected);
        let seen = &mut self.seen[pupil];
        let current = if seen.open { seen.episode } else { 0 };
        agree(&format!("{what}: episode"), &current, &found.episode)?;
        if seen.answer.as_ref() == Some(&expected) {
            return Ok(());
        }
        seen.answer = Some(expected);
        self.look_closely(pupil).await
    }

    /// Compares a pupil's actions and transitions.
    pub async fn look_closely(&self, pupil: usize) -> Result<(), Disagreement> {
        let what = format!("pupil {pupil} today {}", self.today);
        let expected = self.model.answer(pupil, self.today, None);
        self.compare_actions(pupil, &expected, &what).await?;
        self.compare_transitions(pupil, &what).await
    }

    /// Takes note of a move: what the feed is to say of it.
    fn note_move(&mut self, pupil: usize, expected: &Answer) {
        let now = self.now();
        let seen = &mut self.seen[pupil];
        let from = seen.moves.last().map_or(0, |latest| latest.to);
        if from != expected.stage {
            seen.moves.push(Move {
                from,
                to: expected.stage,
                // A stage that no session gives is that with which the academic year began.
                effective_on: expected.since.unwrap_or(first_of_year(self.today)),
                counts: expected.counts,
                version: expected.version,
                noticed_at: now,
            });
        }
    }

    async fn compare_transitions(&self, pupil: usize, what: &str) -> Result<(), Disagreement> {
        let request = pb::ListTransitionsRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(by_id(&self.pupils[pupil])),
            page_size: 1000,
            ..pb::ListTransitionsRequest::default()
        };
        let answer = self.world.stages().list_transitions(request).await;
        let mut found = answer.map_err(|status| status.to_string())?.into_inner().transitions;
        // Those that tell of a stage taken back alone are no moves.
        found.retain(|transition| transition.from_stage != transition.to_stage);
        found.sort_by_key(|transition| {
            let recorded_at = transition.recorded_at.unwrap_or_default();
            (recorded_at.seconds, recorded_at.nanos)
        });
        let moves = &self.seen[pupil].moves;
        let stages = |from: usize, to: usize| format!("{from} to {to}");
        let expected: Vec<_> = moves.iter().map(|of| stages(of.from, of.to)).collect();
        let number = |stage: i32| usize::try_from(stage - 1).unwrap();
        let moved = found
            .iter()
            .map(|of| stages(number(of.from_stage), number(of.to_stage)));
        agree(&format!("{what}: moves"), &expected, &moved.collect())?;
        for (place, (of, transition)) in moves.iter().zip(&found).enumerate() {
            let of_move = |field: &str| format!("{what}: move {place}: {field}");
            let effective_on = Some(to_date(of.effective_on));
            agree(&of_move("effective on"), &effective_on, &transition.effective_on)?;
            agree(&of_move("counts"), &of.counts, &counts(transition.tally))?;
            let version = usize::try_from(transition.policy_version).unwrap();
            agree(&of_move("policy"), &of.version, &version)?;
            let seconds = transition.recorded_at.unwrap_or_default().seconds - of.noticed_at.timestamp();
            agree(
                &of_move("recorded within the minute"),
                &true,
                &(0..60).contains(&seconds),
            )?;
        }
        Ok(())
    }

    /// An episode begins when a pupil leaves stage U, and ends on the return to it and when the academic year turns.
    fn count_episodes(&mut self, pupil: usize, expected: &Answer) {
        let seen = &mut self.seen[pupil];
        let year = first_of_year(self.today);
        if expected.stage == 0 || seen.year.is_some_and(|of| of != year) {
            seen.open = false;
        }
        seen.year = Some(year);
        if expected.stage > 0 {
            if !seen.open {
                seen.open = true;
                seen.episode += 1;
                seen.years.insert(seen.episode, year);
            }
            let highest = seen.highest.entry(seen.episode).or_default();
            *highest = expected.stage.max(*highest);
        }
    }

    async fn compare_actions(&self, pupil: usize, expected: &Answer, what: &str) -> Result<(), Disagreement> {
        let request = pb::ListPupilActionsRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(by_id(&self.pupils[pupil])),
            all_episodes: true,
            page_size: 1000,
            ..pb::ListPupilActionsRequest::default()
        };
        let answer = self.world.actions().list_pupil_actions(request).await;
        let actions = answer.map_err(|status| status.to_string())?.into_inner().actions;
        let seen = &self.seen[pupil];
        // What stands: nothing twice in an episode.
        let mut standing: BTreeMap<(i32, usize), BTreeSet<String>> = BTreeMap::new();
        for action in &actions {
            let withdrawn = action.state() == pb::ActionState::Withdrawn;
            agree(
                &format!("{what}: {} withdrawn as never reached", action.name),
                &action.never_reached,
                &withdrawn,
            )?;
            if withdrawn {
                continue;
            }
            let stage = usize::try_from(action.stage).unwrap() - 1;
            let of_stage = standing.entry((action.episode, stage)).or_default();
            if !of_stage.insert(action.provision_id.clone()) {
                return Err(format!("{what}: {} is raised twice", action.name));
            }
        }
        let mut peaks: BTreeMap<NaiveDate, usize> = BTreeMap::new();
        for ((episode, stage), provisions) in &standing {
            // A stage raises all its provisions or none.
            agree(
                &format!("{what}: episode {episode} stage {stage}"),
                &self.provisions[*stage - 1],
                provisions,
            )?;
            let highest = seen.highest.get(episode).copied().unwrap_or_default();
            if *stage > highest {
                return Err(format!(
                    "{what}: episode {episode} raised stage {stage}, and never came above {highest}"
                ));
            }
            let year = seen.years.get(episode).copied().unwrap_or_default();
            let peak = if year == first_of_year(self.today) {
                expected.peak
            } else {
                let last = first_of_year(year + Days::new(400)) - Days::new(1);
                *peaks
                    .entry(year)
                    .or_insert_with(|| self.model.answer(pupil, last, None).peak)
            };
            if *stage > peak {
                return Err(format!(
                    "{what}: stage {stage} of episode {episode} stands, and no day of its year reached it"
                ));
            }
        }
        if expected.stage > 0 {
            let only_reached = self.model.policies[expected.version - 1].reached_stage_only;
            let lowest = if only_reached { expected.stage } else { 1 };
            for stage in lowest..=expected.stage {
                if !only_reached && self.ever_reached_only() {
                    continue;
                }
                if !standing.contains_key(&(seen.episode, stage)) {
                    return Err(format!(
                        "{what}: at stage {} and stage {stage} is not raised",
                        expected.stage
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether a policy that raises the reached stage alone was ever in force: then what it passed over stays away.
    fn ever_reached_only(&self) -> bool {
        self.model.happened.iter().any(|(_, happening)| match happening {
            Happening::Policy {
                version: Some(version), ..
            } => self.model.policies[*version - 1].reached_stage_only,
            _ => false,
        })
    }
}

pub fn agree<T: PartialEq + Debug>(what: &str, expected: &T, found: &T) -> Result<(), Disagreement> {
    if expected == found {
        Ok(())
    } else {
        Err(format!("{what}: the model says {expected:?}, the service {found:?}"))
    }
}

pub fn compare(what: &str, expected: &Answer, found: &pb::PupilStage) -> Result<(), Disagreement> {
    let of = |field: &str| format!("{what}: {field}");
    let stage = |number: i32| usize::try_from(number).unwrap_or_default().wrapping_sub(1);
    agree(&of("counts"), &expected.counts, &counts(found.tally))?;
    agree(
        &of("counts of the year"),
        &expected.year_counts,
        &counts(found.year_tally),
    )?;
    agree(&of("stage"), &expected.stage, &stage(found.stage))?;
    agree(&of("computed stage"), &expected.computed, &stage(found.computed_stage))?;
    agree(&of("too little"), &expected.too_little, &found.too_little_data)?;
    agree(&of("per cent"), &expected.counts.display(), &found.attendance_percent)?;
    agree(&of("since"), &expected.since.map(to_date), &found.since)?;
    agree(&of("held"), &expected.held, &!found.hold_id.is_empty())?;
    agree(&of("fall waits"), &expected.fall_waits, &found.fall_waits)?;
    agree(
        &of("policy"),
        &expected.version,
        &usize::try_from(found.policy_version).unwrap_or_default(),
    )?;
    agree(
        &of("persistent"),
        &expected.year_counts.persistent(),
        &found.persistent_absence,
    )?;
    agree(&of("severe"), &expected.year_counts.severe(), &found.severe_absence)
}

fn counts(tally: Option<pb::Tally>) -> Counts {
    let tally = tally.unwrap_or_default();
    Counts {
        attended: tally.attended,
        possible: tally.possible,
        authorised: tally.authorised,
        unauthorised: tally.unauthorised,
    }
}
