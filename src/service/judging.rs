//! Judging: a pupil's record becomes a stage, and what follows from it: the transition, the episode, the actions raised.
//!
//! Most pupils are judged by their counts alone: the trust has one policy of the year to date, and nobody held the pupil.
//! Whoever is not goes through the whole academic year, day by day ([`crate::domain::assessment`]).

mod earlier;
mod rolling;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

pub(super) use self::rolling::RolledOver;
use super::error::Resource;
use super::{Service, ServiceError, thresholds};
use crate::domain::assessment::{Assessment, Rules, assess};
use crate::domain::calendar::Calendars;
use crate::domain::hold::Hold;
use crate::domain::identifiers::{SchoolId, TrustId};
use crate::domain::policy::{PolicyTimeline, VersionedPolicy};
use crate::domain::record::PupilRecord;
use crate::domain::register::{next_mark_after, stage_since, tally_to};
use crate::domain::session::AcademicYear;
use crate::domain::stage::Stage;
use crate::domain::tally::Tally;
use crate::store::episodes::{self, EpisodeChanges, NewEpisode, Raise, RaisedEpisode};
use crate::store::registers::{self, RegisterWrite, Window};
use crate::store::stages::{self, Cause, JudgedCounts, StageRow, Transition, TransitionContext};
use crate::store::{StoreError, TrustTransaction, calendars, catalogues, holds, policies, records};

/// How many pupils' records are in memory at once where many are judged in one transaction.
const RECORDS_AT_ONCE: usize = 2_500;

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
pub(super) struct Judging {
    timeline: PolicyTimeline,
    calendars: Calendars,
    holds: HashMap<Uuid, Vec<Hold>>,
    /// Those of the academic year, of pupils that are gone through.
    raised: HashMap<Uuid, Vec<RaisedEpisode>>,
    moment: Moment,
    cause: Cause,
    corrected: HashSet<Uuid>,
    rows: Vec<StageRow>,
    /// Those who do nothing but move, where the whole trust is judged.
    moved: Vec<StageRow>,
    transitions: Vec<Transition>,
    episodes: EpisodeChanges,
}

/// What a pupil comes to.
struct Outcome {
    stage: Stage,
    /// The counts that were judged.
    tally: Tally,
    /// The same, where they have to be kept.
    judged: JudgedCounts,
    since: Option<NaiveDate>,
    policy_version: i32,
    next_review_on: Option<NaiveDate>,
    hold_id: Option<Uuid>,
    fall_waits: bool,
    /// Episodes of the year in which stages were raised that were never reached, with the stage of greatest need that was;
    /// where the whole year was gone through.
    retracted: Vec<(i32, Stage)>,
}

impl Outcome {
    /// What counts alone come to. The days on which enrolments begin or have ended stay to come.
    fn of_counts(row: &StageRow, stage: Stage, tally: Tally, since: Option<NaiveDate>, policy_version: i32) -> Outcome {
        Outcome {
            stage,
            tally,
            judged: JudgedCounts::NONE,
            since,
            policy_version,
            next_review_on: row.next_review_on,
            hold_id: None,
            fall_waits: false,
            retracted: Vec::new(),
        }
    }
}

/// The trust's policies through time.
///
/// # Errors
/// `NotFound` where there is no such trust.
pub(super) async fn timeline_of(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<PolicyTimeline, ServiceError> {
    let timeline = policies::timeline(conn, trust).await?;
    timeline.ok_or(ServiceError::NotFound(Resource::Trust))
}

impl Judging {
    /// Judging by the policies in force, of pupils that are locked: a policy that comes into force locks all that it judges.
    pub(super) async fn open(
        transaction: &mut TrustTransaction,
        trust: TrustId,
        moment: Moment,
        cause: Cause,
    ) -> Result<Judging, ServiceError> {
        let timeline = timeline_of(transaction, trust).await?;
        Ok(Judging::new(timeline, moment, cause))
    }

    /// The same, of pupils that were resolved before they were locked, under a version of the trust's identities.
    ///
    /// # Errors
    /// A conflict, after which the transaction begins anew, where identifiers changed their pupils in between.
    pub(super) async fn open_resolved(
        transaction: &mut TrustTransaction,
        trust: TrustId,
        moment: Moment,
        cause: Cause,
        identities: i64,
    ) -> Result<Judging, ServiceError> {
        let (timeline, now) = policies::timeline_with_identities(transaction, trust).await?;
        let timeline = timeline.ok_or(ServiceError::NotFound(Resource::Trust))?;
        if now != identities {
            return Err(StoreError::Conflict.into());
        }
        Ok(Judging::new(timeline, moment, cause))
    }

    pub(super) fn new(timeline: PolicyTimeline, moment: Moment, cause: Cause) -> Judging {
        Judging {
            timeline,
            calendars: Calendars::default(),
            holds: HashMap::new(),
            raised: HashMap::new(),
            moment,
            cause,
            corrected: HashSet::new(),
            rows: Vec::new(),
            moved: Vec::new(),
            transitions: Vec::new(),
            episodes: EpisodeChanges::default(),
        }
    }

    /// Takes note of pupils of whom a mark that was there was changed: whatever moves them is a correction.
    pub(super) fn corrected(&mut self, pupils: impl Iterator<Item = Uuid>) {
        self.corrected.extend(pupils);
    }

    /// The policy of a school today, where nothing but the counts of the year to date decides under it.
    fn by_counts(&self, school: Option<SchoolId>) -> Option<&VersionedPolicy> {
        let policy = self.timeline.at(self.moment.today, school);
        policy.policy.decides_by_counts().then_some(policy)
    }

    /// Whether a pupil's counts alone decide about the pupil today. `school` says the school by whose policy the pupil is
    /// judged; it is asked for where schools differ. Whose day of review has come is gone through, and so gets the next one.
    pub(super) fn decided_by_counts(&self, row: &StageRow, school: impl Fn() -> Option<SchoolId>) -> bool {
        let due = row.next_review_on.is_some_and(|day| day <= self.moment.today);
        !due && self.counts_decide(row.has_holds, school)
    }

    /// The same of a pupil whose day of review is not today.
    pub(super) fn counts_decide(&self, has_holds: bool, school: impl Fn() -> Option<SchoolId>) -> bool {
        !has_holds && self.by_counts(self.school_that_matters(school)).is_some()
    }

    fn school_that_matters(&self, school: impl Fn() -> Option<SchoolId>) -> Option<SchoolId> {
        if self.timeline.differs_by_school() {
            school()
        } else {
            None
        }
    }

    /// The stage that counts give where nothing else decides.
    pub(super) fn stage_of(&self, tally: Tally, school: impl Fn() -> Option<SchoolId>) -> Stage {
        let school = self.school_that_matters(school);
        self.timeline.at(self.moment.today, school).policy.judge(tally).stage
    }

    /// Takes note of a pupil whose counts alone decide. `marks` are those of the current year's registers. False where it
    /// takes the whole record after all, since the pupil was at the stage before the policy came into force.
    pub(super) fn judge_by_counts(
        &mut self,
        row: &StageRow,
        tally: Tally,
        marks: &[&[u8]],
        school: impl Fn() -> Option<SchoolId>,
    ) -> Result<bool, StoreError> {
        let (today, year) = (self.moment.today, self.moment.year);
        let school = self.school_that_matters(school);
        let policy = self.timeline.at(today, school);
        let stage = policy.policy.judge(tally).stage;
        let since = stage_since(&policy.policy, stage, marks, year, today);
        let in_force_since = self.timeline.constant_since(today, school);
        if in_force_since.is_some_and(|from| from > year.first_day() && since.is_none_or(|since| since <= from)) {
            return Ok(false);
        }
        let outcome = Outcome::of_counts(row, stage, tally, since, policy.version);
        self.take(row, outcome)?;
        Ok(true)
    }

    /// Takes note of a pupil whom a policy that came into force today judges by counts alone, as the one before it did.
    pub(super) fn judge_by_new_policy(
        &mut self,
        row: &StageRow,
        tally: Tally,
        school: Option<SchoolId>,
    ) -> Result<(), StoreError> {
        let policy = self.timeline.at(self.moment.today, school);
        let stage = policy.policy.judge(tally).stage;
        let outcome = Outcome::of_counts(row, stage, tally, Some(self.moment.today), policy.version);
        self.take(row, outcome)
    }

    /// Loads what going through the year asks for beside the pupils' records: the holds of those who ever had one, and the
    /// calendars of their schools where a policy's window follows them.
    pub(super) async fn load_rules<'r>(
        &mut self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        held: &[Uuid],
        of: impl Iterator<Item = &'r PupilRecord<'r>>,
    ) -> Result<(), StoreError> {
        self.holds = holds::by_pupil(transaction, trust, held, self.moment.now).await?;
        if self.timeline.follows_calendar() {
            let schools = records::schools_of(of);
            self.calendars = calendars::calendars_of(transaction, trust, &schools).await?;
        }
        Ok(())
    }

    /// What going through a pupil's academic year comes to. Its rules must be loaded.
    pub(super) fn assess(&self, pupil: Uuid, record: &PupilRecord<'_>) -> Assessment {
        self.assess_on(pupil, record, self.moment.today)
    }

    fn assess_on(&self, pupil: Uuid, record: &PupilRecord<'_>, day: NaiveDate) -> Assessment {
        let rules = Rules {
            timeline: &self.timeline,
            calendars: &self.calendars,
            holds: self.holds.get(&pupil).map_or(&[], Vec::as_slice),
        };
        assess(record, rules, day)
    }

    /// Takes note of a pupil by going through the whole academic year.
    pub(super) fn judge_by_record(&mut self, row: &StageRow, record: &PupilRecord<'_>) -> Result<(), StoreError> {
        let assessment = self.assess(row.pupil_id, record);
        let outcome = self.outcome_of(row, &assessment);
        self.take(row, outcome)
    }

    fn outcome_of(&self, row: &StageRow, assessment: &Assessment) -> Outcome {
        let first_day = self.moment.year.first_day();
        let raised = self.raised.get(&row.pupil_id).map_or(&[][..], Vec::as_slice);
        let retracted = reached_in(raised, assessment)
            .filter(|(episode, reached)| i16::from(reached.number()) < episode.raised_to)
            .map(|(episode, reached)| (episode.episode, reached));
        let policy_judges_part = assessment.tally != assessment.year_tally || assessment.window_from != first_day;
        Outcome {
            stage: assessment.stage,
            tally: assessment.tally,
            judged: if policy_judges_part {
                JudgedCounts::of(assessment.tally, assessment.window_from)
            } else {
                JudgedCounts::default()
            },
            since: assessment.since,
            policy_version: assessment.policy_version,
            next_review_on: assessment.next_review_on,
            hold_id: assessment.hold,
            fall_waits: assessment.fall_waits,
            retracted: retracted.collect(),
        }
    }

    /// What moves a pupil.
    fn cause_of(&self, pupil_id: Uuid) -> Cause {
        if self.corrected.contains(&pupil_id) {
            Cause::Correction
        } else {
            self.cause
        }
    }

    fn take(&mut self, row: &StageRow, outcome: Outcome) -> Result<(), StoreError> {
        let (from, to) = (row.stage()?, outcome.stage);
        let mut judged = StageRow {
            stage: i16::from(to.number()),
            academic_year: self.moment.year.start_year(),
            since: outcome.since,
            next_review_on: outcome.next_review_on,
            judged: outcome.judged,
            hold_id: outcome.hold_id,
            fall_waits: outcome.fall_waits,
            ..row.clone()
        };
        let of_earlier_year = row.academic_year < self.moment.year.start_year();
        // A stage since no day is the one with which the academic year began, whenever that is noticed.
        let effective_on = outcome.since.unwrap_or(self.moment.year.first_day());
        let retracted_to = self.retract(&mut judged, &outcome.retracted);
        self.raise(
            &mut judged,
            of_earlier_year,
            from,
            to,
            effective_on,
            outcome.policy_version,
        );
        let cause = self.cause_of(row.pupil_id);
        let transition = Transition {
            pupil_id: row.pupil_id,
            from,
            to,
            year: self.moment.year,
            effective_on,
            tally: outcome.tally,
            episode: judged.episode,
            cause,
            policy_version: outcome.policy_version,
            retracted_to,
            hold_id: outcome.hold_id,
        };
        if from != to || retracted_to.is_some() {
            judged.policy_version = outcome.policy_version;
            if from != to {
                judged.changed_at = Some(self.moment.now);
            }
            self.transitions.push(transition.clone());
        }
        // Of each earlier episode the feed tells by itself.
        for (episode, reached) in outcome.retracted.iter().filter(|(episode, _)| *episode != row.episode) {
            self.transitions.push(Transition {
                from: to,
                episode: *episode,
                retracted_to: Some(*reached),
                ..transition.clone()
            });
        }
        if judged != *row {
            let moves_alone = self.cause == Cause::Policy && judged.differs_by_a_move_alone(row);
            if moves_alone { &mut self.moved } else { &mut self.rows }.push(judged);
        }
        Ok(())
    }

    /// Where the record shows that stages whose provisions were raised in an episode were never reached, they are taken back:
    /// untouched actions are withdrawn, those begun stay and are flagged. Returns the stage that was reached in the latest.
    fn retract(&mut self, row: &mut StageRow, retracted: &[(i32, Stage)]) -> Option<Stage> {
        let mut of_latest = None;
        for (episode, reached) in retracted {
            let number = i16::from(reached.number());
            self.episodes.retracted.push((row.pupil_id, *episode, number));
            if *episode == row.episode {
                row.raised_to = number;
                of_latest = Some(*reached);
            }
        }
        of_latest
    }

    /// Reaching a stage raises its provisions, and those of the stages passed over where the policy says so, once an episode.
    /// An episode begins when a pupil leaves stage U, and ends on the return to it or when the academic year turns.
    fn raise(
        &mut self,
        row: &mut StageRow,
        of_earlier_year: bool,
        before: Stage,
        to: Stage,
        effective_on: NaiveDate,
        policy_version: i32,
    ) {
        let number = i16::from(to.number());
        if row.episode_open && (of_earlier_year || to == Stage::Universal) {
            self.episodes.closed.push((row.pupil_id, row.episode));
            row.episode_open = false;
        }
        if to == Stage::Universal {
            return;
        }
        let home = self.timeline.version(policy_version);
        let cumulative = home.is_none_or(|policy| policy.policy.passed_over_raises);
        if !row.episode_open {
            row.last_episode = row.last_episode.max(row.episode) + 1;
            row.episode = row.last_episode;
            row.episode_open = true;
            row.raised_to = 0;
            self.episodes.opened.push(NewEpisode {
                pupil_id: row.pupil_id,
                episode: row.episode,
                started_on: effective_on,
                policy_version,
            });
        }
        if number > row.raised_to || (!cumulative && before != to) {
            self.episodes.raised.push(Raise {
                pupil_id: row.pupil_id,
                episode: row.episode,
                from: if cumulative { 1 } else { number },
                to: number,
            });
            row.raised_to = row.raised_to.max(number);
        }
    }

    /// The policies by which is judged.
    pub(super) const fn timeline(&self) -> &PolicyTimeline {
        &self.timeline
    }

    /// How many pupils moved.
    pub(super) fn transitions(&self) -> usize {
        self.transitions.len()
    }

    /// Which pupils move from one stage to another.
    pub(super) fn moves(&self) -> impl Iterator<Item = (Uuid, Stage, Stage)> + '_ {
        let moves = self
            .transitions
            .iter()
            .filter(|transition| transition.from != transition.to);
        moves.map(|transition| (transition.pupil_id, transition.from, transition.to))
    }

    /// Writes it all. The trust's feed stays locked from here to the commit, so this comes last.
    pub(super) async fn write(
        self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        request_id: Option<Uuid>,
    ) -> Result<(), StoreError> {
        let moment = self.moment;
        stages::update(transaction, trust, &self.rows).await?;
        stages::update_moved(transaction, trust, &self.moved).await?;
        if self.episodes != EpisodeChanges::default() {
            let catalogue = catalogues::in_force(transaction, trust).await?;
            let catalogue = catalogue.ok_or(StoreError::Corrupt("a trust without a catalogue"))?;
            episodes::write(transaction, trust, moment.year, catalogue, moment.now, &self.episodes).await?;
        }
        let context = TransitionContext {
            recorded_at: moment.now,
            request_id,
        };
        if !self.transitions.is_empty() {
            transaction.announce_on_commit(trust);
        }
        stages::append_transitions(transaction, trust, context, &self.transitions).await
    }
}

/// The episodes of a pupil's year, each with the stage of greatest need that was reached in it up to the day of the assessment. An
/// episode decides up to the day before a later one began: two of them may go side by side where two pupils were made one.
fn reached_in<'e>(
    raised: &'e [RaisedEpisode],
    assessment: &'e Assessment,
) -> impl Iterator<Item = (&'e RaisedEpisode, Stage)> {
    let end_of = |episode: &RaisedEpisode| {
        let later = raised.iter().map(|other| other.started_on);
        let next = later.filter(|started_on| *started_on > episode.started_on).min();
        next.map_or(assessment.as_of, |next| next.pred_opt().unwrap_or(next))
    };
    raised
        .iter()
        .map(move |episode| (episode, assessment.peak(episode.started_on, end_of(episode))))
}

/// Judges pupils anew in a transaction in which something other than marks changed: enrolments, holds, calendars, policies,
/// or the day. Locks them, brings counts up to date whose marks have come due, and writes what follows; nothing of the
/// transaction may be written after it but its end. Returns how many pupils moved.
pub(super) async fn judge_pupils(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    pupils: &[Uuid],
    moment: Moment,
    cause: Cause,
) -> Result<usize, ServiceError> {
    // Enrolments and calendars decide of every year; else marks of the year before may have come due after it turned.
    let before = AcademicYear::from_start_year(i32::from(moment.year.start_year()) - 1);
    let since = if cause == Cause::Enrolment { None } else { before };
    judge(transaction, trust, pupils, moment.year, since, moment, cause).await
}

/// The same, where enrolments changed, and marks perhaps with them, in an academic year and those after it.
pub(super) async fn judge_moved_since(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    pupils: &[Uuid],
    since: AcademicYear,
    moment: Moment,
    cause: Cause,
) -> Result<usize, ServiceError> {
    judge(transaction, trust, pupils, since, None, moment, cause).await
}

/// Judges pupils by the years from `stages_since` on, and works their thresholds out by those from `thresholds_since` on, or
/// by every year.
async fn judge(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    pupils: &[Uuid],
    stages_since: AcademicYear,
    thresholds_since: Option<AcademicYear>,
    moment: Moment,
    cause: Cause,
) -> Result<usize, ServiceError> {
    let rows = stages::lock(transaction, trust, pupils).await?;
    let mut judging = Judging::open(transaction, trust, moment, cause).await?;
    judging.judge_locked(transaction, trust, &rows).await?;
    let years = stages_since.start_year()..moment.year.start_year();
    for year in years.filter_map(|year| AcademicYear::from_start_year(i32::from(year))) {
        judging.judge_earlier_year(transaction, trust, year, &rows).await?;
    }
    let transitions = judging.transitions();
    let pupils: Vec<Uuid> = rows.iter().map(|row| row.pupil_id).collect();
    let timeline = judging.timeline();
    thresholds::reevaluate(transaction, trust, timeline, &pupils, thresholds_since, moment, None).await?;
    judging.write(transaction, trust, None).await?;
    Ok(transitions)
}

impl Judging {
    /// Judges pupils that are locked by their whole records.
    pub(super) async fn judge_locked(
        &mut self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        rows: &[StageRow],
    ) -> Result<(), ServiceError> {
        for rows in rows.chunks(RECORDS_AT_ONCE) {
            self.judge_some(transaction, trust, rows).await?;
        }
        Ok(())
    }

    async fn judge_some(
        &mut self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        rows: &[StageRow],
    ) -> Result<(), ServiceError> {
        let pupils: Vec<Uuid> = rows.iter().map(|row| row.pupil_id).collect();
        bring_up_to_date(transaction, trust, &pupils, self.moment).await?;
        let found = records::records_of(transaction, trust, &pupils, &[self.moment.year]).await?;
        let records: HashMap<Uuid, PupilRecord<'static>> = found.into_iter().collect();
        let of_rows = |rule: fn(&StageRow) -> bool| -> Vec<Uuid> {
            rows.iter().filter(|row| rule(row)).map(|row| row.pupil_id).collect()
        };
        let (held, raised) = (of_rows(|row| row.has_holds), of_rows(|row| row.episode > 0));
        self.load_rules(transaction, trust, &held, records.values()).await?;
        self.raised.clear();
        for episode in episodes::of_year(transaction, trust, &raised, self.moment.year).await? {
            self.raised.entry(episode.pupil_id).or_default().push(episode);
        }
        let none = PupilRecord::default();
        for row in rows {
            let record = records.get(&row.pupil_id).unwrap_or(&none);
            self.judge_by_record(row, record)?;
        }
        Ok(())
    }
}

/// Writes the counts of registers whose marks, entered ahead of time, have come into their day.
async fn bring_up_to_date(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    pupils: &[Uuid],
    moment: Moment,
) -> Result<(), ServiceError> {
    let years = registers::years_with_marks_come_due(transaction, trust, pupils, moment.today).await?;
    if years.is_empty() {
        return Ok(());
    }
    let loaded = registers::load(transaction, trust, pupils, &years, Window::WHOLE, moment.today).await?;
    let mut writes = Vec::new();
    for row in loaded {
        let due = row.next_mark_on.is_some_and(|date| date <= moment.today);
        let (Some(start_year), Some(marks), true) = (row.academic_year, row.part, due) else {
            continue;
        };
        let year = AcademicYear::from_start_year(i32::from(start_year))
            .ok_or(StoreError::Corrupt("registers.academic_year"))?;
        writes.push(RegisterWrite {
            pupil_id: row.pupil_id,
            enrolment_id: row.enrolment_id,
            school_id: row.school_id,
            year,
            tally: tally_to(&marks, year, moment.today),
            next_mark_on: next_mark_after(&marks, year, moment.today),
            bytes: marks,
        });
    }
    Ok(registers::write_whole(transaction, trust, writes).await?)
}
