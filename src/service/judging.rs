//! Judging: a pupil's counts become a stage, and what follows from it: the transition, the episode, the actions raised.

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use super::{Service, ServiceError};
use crate::domain::identifiers::TrustId;
use crate::domain::register::{next_mark_after, stage_since, tally_to};
use crate::domain::session::AcademicYear;
use crate::domain::stage::Stage;
use crate::domain::tally::Tally;
use crate::store::policies::{self, VersionedPolicy};
use crate::store::registers::{self, RegisterWrite, Window};
use crate::store::stages::{self, Cause, EpisodeChanges, StageRow, Transition, TransitionContext};
use crate::store::{StoreError, TrustTransaction};

/// How many pupils one transaction of the roll-over judges.
const ROLL_OVER_PUPILS: i64 = 5_000;

/// The moment at which a transaction judges: one reading of the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub now: DateTime<Utc>,
    pub today: NaiveDate,
    pub year: AcademicYear,
}

impl Service {
    pub(super) fn moment(&self) -> Moment {
        let now = self.clock.now();
        let today = crate::domain::session::london_date(now);
        Moment {
            now,
            today,
            year: AcademicYear::clamped(today),
        }
    }
}

/// What one transaction makes of the pupils that it judges.
pub(super) struct Judging<'a> {
    policy: &'a VersionedPolicy,
    moment: Moment,
    rows: Vec<StageRow>,
    transitions: Vec<Transition>,
    episodes: EpisodeChanges,
}

impl<'a> Judging<'a> {
    pub(super) fn new(policy: &'a VersionedPolicy, moment: Moment) -> Judging<'a> {
        Judging {
            policy,
            moment,
            rows: Vec::new(),
            transitions: Vec::new(),
            episodes: EpisodeChanges::default(),
        }
    }

    /// The stage that a tally gives.
    pub(super) fn stage_of(&self, tally: Tally) -> Stage {
        self.policy.policy.judge(tally).stage
    }

    /// The first day since which the marks give the stage that the tally gives.
    pub(super) fn since(&self, tally: Tally, marks: &[&[u8]]) -> Option<NaiveDate> {
        let stage = self.stage_of(tally);
        stage_since(&self.policy.policy, stage, marks, self.moment.year, self.moment.today)
    }

    /// Takes note of a pupil's counts today, and of the first day since which they give their stage.
    pub(super) fn judge(&mut self, row: StageRow, tally: Tally, since: Option<NaiveDate>) -> Result<(), StoreError> {
        let from = row.stage()?;
        let to = self.stage_of(tally);
        let mut judged = StageRow {
            stage: i16::from(to.number()),
            academic_year: self.moment.year.start_year(),
            since,
            ..row.clone()
        };
        self.raise(&mut judged, row.academic_year < self.moment.year.start_year(), to);
        if from != to {
            judged.policy_version = self.policy.version;
            judged.changed_at = Some(self.moment.now);
            self.transitions.push(Transition {
                pupil_id: row.pupil_id,
                from,
                to,
                effective_on: since.unwrap_or(self.moment.today),
                tally,
                episode: judged.episode,
            });
        }
        if judged != row {
            self.rows.push(judged);
        }
        Ok(())
    }

    /// Reaching a stage raises its provisions, and those of the stages passed over, once an episode. An episode begins
    /// when a pupil leaves stage U, and ends on the return to it or when the academic year turns.
    fn raise(&mut self, row: &mut StageRow, of_earlier_year: bool, to: Stage) {
        let number = i16::from(to.number());
        if row.episode_open && of_earlier_year {
            self.episodes.closed.push((row.pupil_id, row.episode));
            row.episode_open = false;
        }
        if row.episode_open && to == Stage::Universal {
            self.episodes.closed.push((row.pupil_id, row.episode));
            row.episode_open = false;
        } else if row.episode_open && number > row.raised_to {
            self.episodes.raised.push((row.pupil_id, row.episode, number));
            row.raised_to = number;
        } else if !row.episode_open && to != Stage::Universal {
            row.episode += 1;
            row.episode_open = true;
            row.raised_to = number;
            self.episodes.opened.push((row.pupil_id, row.episode, number));
        }
    }

    /// How many pupils moved.
    pub(super) fn transitions(&self) -> usize {
        self.transitions.len()
    }

    /// Writes it all. The trust's feed stays locked from here to the commit, so this comes last.
    pub(super) async fn write(
        self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        cause: Cause,
        request_id: Option<Uuid>,
    ) -> Result<(), StoreError> {
        let moment = self.moment;
        if !self.rows.is_empty() {
            stages::update(transaction, trust, &self.rows).await?;
        }
        if self.episodes != EpisodeChanges::default() {
            let catalogue = policies::active_catalogue(transaction, trust).await?;
            stages::write_episodes(transaction, trust, moment.year, catalogue, moment.now, &self.episodes).await?;
        }
        let context = TransitionContext {
            cause,
            recorded_at: moment.now,
            policy_version: self.policy.version,
            year: moment.year,
            request_id,
        };
        stages::append_transitions(transaction, trust, context, &self.transitions).await
    }
}

impl Service {
    /// Sees to it that every stage of the trust is that of today: marks entered ahead of time whose day has come count
    /// from that day on, and a new academic year begins with no marks. Does nothing where it was done today. Every read of
    /// a stage begins with it, so an answer is exact even where the service was down over midnight.
    pub async fn roll_over(&self, trust: TrustId) -> Result<(), ServiceError> {
        let today = self.clock.today();
        if self.rolled_over.is_done(trust, today) {
            return Ok(());
        }
        while self.roll_over_some(trust).await? > 0 {}
        self.rolled_over.done(trust, today);
        Ok(())
    }

    /// Rolls over every trust that was not today.
    pub async fn roll_over_every_trust(&self) -> Result<(), ServiceError> {
        let today = self.clock.today();
        let mut connection = self.store.connection().await?;
        let trusts = crate::store::trusts::all(&mut connection).await?;
        drop(connection);
        for trust in trusts {
            if !self.rolled_over.is_done(trust, today) {
                self.roll_over(trust).await?;
            }
        }
        Ok(())
    }

    /// Judges again some of the pupils whose stage is not of today, in one transaction, and returns how many it was.
    async fn roll_over_some(&self, trust: TrustId) -> Result<usize, ServiceError> {
        let moment = self.moment();
        let mut transaction = self.store.begin(trust).await?;
        let due =
            registers::pupils_with_marks_come_due(&mut transaction, trust, moment.today, ROLL_OVER_PUPILS).await?;
        let mut pupils =
            stages::pupils_of_earlier_years(&mut transaction, trust, moment.year, ROLL_OVER_PUPILS).await?;
        pupils.extend(due);
        pupils.sort_unstable();
        pupils.dedup();
        let Some(policy) = policies::active(&mut transaction, trust).await? else {
            transaction.rollback().await?;
            return Ok(0);
        };
        if pupils.is_empty() {
            transaction.rollback().await?;
            return Ok(0);
        }
        let rows = stages::lock(&mut transaction, trust, &pupils).await?;
        let due_years = registers::years_with_marks_come_due(&mut transaction, trust, &pupils, moment.today).await?;
        let mut judging = Judging::new(&policy, moment);
        let mut writes = Vec::new();
        let mut marks_of_year = std::collections::HashMap::<Uuid, Vec<Vec<u8>>>::new();
        let mut years = due_years;
        years.push(moment.year.start_year());
        years.sort_unstable();
        years.dedup();
        let loaded = registers::load(&mut transaction, trust, &pupils, &years, Window::WHOLE, moment.today).await?;
        for row in loaded {
            let (Some(start_year), Some(marks)) = (row.academic_year, row.part) else {
                continue;
            };
            let year = AcademicYear::from_start_year(i32::from(start_year))
                .ok_or(StoreError::Corrupt("registers.academic_year"))?;
            if row.next_mark_on.is_some_and(|date| date <= moment.today) {
                writes.push(RegisterWrite {
                    pupil_id: row.pupil_id,
                    enrolment_id: row.enrolment_id,
                    school_id: row.school_id,
                    year,
                    tally: tally_to(&marks, year, moment.today),
                    next_mark_on: next_mark_after(&marks, year, moment.today),
                    bytes: marks.clone(),
                });
            }
            if year == moment.year {
                marks_of_year.entry(row.pupil_id).or_default().push(marks);
            }
        }
        registers::write_whole(&mut transaction, trust, writes).await?;
        let judged = rows.len();
        for row in rows {
            let marks = marks_of_year.remove(&row.pupil_id).unwrap_or_default();
            let marks: Vec<&[u8]> = marks.iter().map(Vec::as_slice).collect();
            let tally = marks
                .iter()
                .map(|marks| tally_to(marks, moment.year, moment.today))
                .sum();
            let since = judging.since(tally, &marks);
            judging.judge(row, tally, since)?;
        }
        judging.write(&mut transaction, trust, Cause::DayPassed, None).await?;
        transaction.commit().await?;
        Ok(judged)
    }
}

/// The day up to which each trust's stages are known to be judged, as far as this process did it.
#[derive(Clone, Debug, Default)]
pub struct RolledOver(std::sync::Arc<std::sync::RwLock<std::collections::HashMap<TrustId, NaiveDate>>>);

impl RolledOver {
    fn is_done(&self, trust: TrustId, today: NaiveDate) -> bool {
        let days = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        days.get(&trust) == Some(&today)
    }

    fn done(&self, trust: TrustId, today: NaiveDate) {
        let mut days = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        days.insert(trust, today);
    }
}
