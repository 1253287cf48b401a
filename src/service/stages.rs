//! Which stage a pupil is at, and why.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use super::error::Resource;
use super::freshness::schools_too_old;
use super::history::record_known_at;
use super::judging::{Moment, timeline_of};
use super::transaction::{existing_pupil, finish};
use super::{Page, PageOf, Service, ServiceError, one_more};
use crate::domain::assessment::{EnrolmentAssessment, Rules, assess};
use crate::domain::code::{AttendanceCode, Category};
use crate::domain::identifiers::{PupilId, PupilKey, SchoolId, SchoolKey, TrustId};
use crate::domain::policy::{PolicyTimeline, Scope, VersionedPolicy};
use crate::domain::register::tally_to;
use crate::domain::session::{AcademicYear, london_date};
use crate::domain::stage::{Band, Judgement, Stage, StageMove};
use crate::domain::tally::Tally;
use crate::store::calendars::calendars_of;
use crate::store::pupils::resolve_pupils;
use crate::store::schools::{resolve_school, session_minutes};
use crate::store::stage_reader::{StageWithTally, stages_of};
use crate::store::stages::{StageFilter, list_pupils};
use crate::store::{StoreError, TrustTransaction, holds, records, registers};

/// A pupil's stage, with what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PupilStage {
    /// The pupil.
    pub pupil_id: Uuid,
    /// The stage, the one that the counts alone give, and whether there is too little data.
    pub judgement: Judgement,
    /// The counts that were judged: those of the policy's window; under a policy of single enrolments, those of the
    /// enrolment that decides.
    pub tally: Tally,
    /// The counts of the academic year to date, over all enrolments.
    pub year_tally: Tally,
    /// The first day of the policy's window.
    pub window_from: NaiveDate,
    /// The hold that keeps the pupil at the stage.
    pub hold_id: Option<Uuid>,
    /// Whether the counts give a stage of lesser need and the fall waits for a person.
    pub fall_waits: bool,
    /// Whether the policy refuses to judge: what was last received of the pupil's school is too old.
    pub data_too_old: bool,
    /// Each enrolment, under a policy that judges them alone, where one pupil was asked for.
    pub enrolments: Vec<EnrolmentAssessment>,
    /// The first day since which the pupil has been at the stage without a break.
    pub since: Option<NaiveDate>,
    /// The day of the answer.
    pub as_of: NaiveDate,
    /// The academic year of that day.
    pub year: AcademicYear,
    /// The version of the policy.
    pub policy_version: i32,
    /// The number of the episode that goes on; 0 where none does.
    pub episode: i32,
    /// When the stage last changed.
    pub changed_at: Option<DateTime<Utc>>,
}

/// On which day, and as known at which moment, something is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsOf {
    /// The day; nothing for the day of the moment.
    pub day: Option<NaiveDate>,
    /// The moment; nothing for now.
    pub known_at: Option<DateTime<Utc>>,
}

impl AsOf {
    /// The day that is meant.
    ///
    /// # Errors
    /// Where the day or the moment is still to come.
    pub(super) fn day(self, moment: Moment) -> Result<NaiveDate, ServiceError> {
        if self.known_at.is_some_and(|known_at| known_at > moment.now) {
            let message = "nothing is known yet of a moment to come: give one that has passed, or none for now";
            return Err(ServiceError::invalid("known_at", "IN_FUTURE", message));
        }
        let day = self
            .day
            .or_else(|| self.known_at.map(london_date))
            .unwrap_or(moment.today);
        if day > moment.today {
            let message = "nothing is true yet of a day to come: give today or a day before it, or none for today";
            return Err(ServiceError::invalid("as_of", "IN_FUTURE", message));
        }
        if AcademicYear::containing(day).is_none() {
            let message = format!(
                "give a day in the academic years {} to {}",
                AcademicYear::RANGE.start(),
                AcademicYear::RANGE.end()
            );
            return Err(ServiceError::invalid("as_of", "INVALID_DATE", message));
        }
        Ok(day)
    }
}

/// Which stages are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageQuery {
    /// Only pupils on roll today at this school.
    pub school: Option<SchoolKey>,
    /// Only these stages; none for all.
    pub stages: Vec<Stage>,
    /// Only pupils whose stage changed at or after this time.
    pub changed_since: Option<DateTime<Utc>>,
}

/// Sessions under one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeCount {
    /// The code.
    pub code: AttendanceCode,
    /// How many sessions have it.
    pub sessions: usize,
    /// How many of them fall outside its dates.
    pub outside_validity: usize,
}

/// The part of the counts that comes from one enrolment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnrolmentTally {
    /// The enrolment.
    pub enrolment_id: Uuid,
    /// The school.
    pub school_id: Uuid,
    /// The counts.
    pub tally: Tally,
}

/// Why a pupil is at a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The stage.
    pub stage: PupilStage,
    /// Sessions by code; codes with none are left out.
    pub codes: Vec<CodeCount>,
    /// The band into which the fraction falls.
    pub band: Band,
    /// The fewest possible sessions below which the policy does not judge.
    pub minimum_possible: u32,
    /// The better stages with the sessions attended in a row that reach each.
    pub improves: Vec<StageMove>,
    /// The worse stages with the sessions missed in a row that reach each.
    pub worsens: Vec<StageMove>,
    /// The counts by enrolment.
    pub enrolments: Vec<EnrolmentTally>,
    /// Minutes of learning lost.
    pub lost_learning_minutes: u64,
}

impl Explanation {
    /// Sessions of a category.
    pub fn sessions_of(&self, category: Category) -> usize {
        let of_category = self.codes.iter().filter(|count| count.code.category() == category);
        of_category.map(|count| count.sessions).sum()
    }

    /// The explanation in sentences for a person. They name nobody.
    pub fn sentences(&self) -> Vec<String> {
        let stage = &self.stage;
        let tally = stage.tally;
        let mut sentences = Vec::new();
        if tally.possible == 0 {
            sentences.push("No session of this academic year counts yet, so the pupil is at stage U.".to_owned());
            return sentences;
        }
        sentences.push(format!(
            "{} of {} possible sessions attended, {}%: {} authorised and {} unauthorised absences.",
            tally.attended,
            tally.possible,
            tally.attendance_percent(),
            tally.authorised,
            tally.unauthorised
        ));
        sentences.push(format!(
            "Stage {} is attendance {}.",
            self.band.stage,
            band_in_words(&self.band)
        ));
        if stage.judgement.too_little_data {
            sentences.push(format!(
                "The policy does not judge below {} possible sessions, so the pupil is at stage U.",
                self.minimum_possible
            ));
        }
        for (nearest, done) in [(self.improves.first(), "attended"), (self.worsens.first(), "missed")] {
            sentences.extend(nearest.map(|nearest| match nearest.sessions {
                1 => format!("1 session {done} would reach stage {}.", nearest.stage),
                sessions => format!(
                    "{sessions} sessions {done} in a row would reach stage {}.",
                    nearest.stage
                ),
            }));
        }
        if tally.severely_absent() {
            sentences.push("Half or more of the possible sessions were missed: severe absence.".to_owned());
        } else if tally.persistently_absent() {
            sentences.push("A tenth or more of the possible sessions were missed: persistent absence.".to_owned());
        }
        let outside: usize = self.codes.iter().map(|count| count.outside_validity).sum();
        if outside > 0 {
            let have = if outside == 1 { "session has" } else { "sessions have" };
            sentences.push(format!(
                "{outside} {have} a code outside the dates of its validity: counted by its category."
            ));
        }
        sentences
    }
}

/// A band in words: `above 90% and below 93%`.
fn band_in_words(band: &Band) -> String {
    let percent = |tenths: u16| {
        if tenths.is_multiple_of(10) {
            format!("{}%", tenths / 10)
        } else {
            format!("{}.{}%", tenths / 10, tenths % 10)
        }
    };
    let lower = match (band.lower.tenths, band.lower.inclusive) {
        (0, true) => None,
        (tenths, true) => Some(format!("of {} or more", percent(tenths))),
        (tenths, false) => Some(format!("above {}", percent(tenths))),
    };
    let upper = match (band.upper.tenths, band.upper.inclusive) {
        (1000, true) => None,
        (tenths, true) => Some(format!("up to and including {}", percent(tenths))),
        (tenths, false) => Some(format!("below {}", percent(tenths))),
    };
    match (lower, upper) {
        (Some(lower), Some(upper)) => format!("{lower} and {upper}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "of any value".to_owned(),
    }
}

fn pupil_stage(
    found: StageWithTally,
    policy: &VersionedPolicy,
    data_too_old: bool,
    moment: Moment,
) -> Result<PupilStage, StoreError> {
    let tally = found.row.judged.tally().unwrap_or(found.tally);
    let computed = policy.policy.judge(tally);
    Ok(PupilStage {
        pupil_id: found.row.pupil_id,
        judgement: Judgement {
            stage: found.row.stage()?,
            ..computed
        },
        tally,
        year_tally: found.tally,
        window_from: found.row.judged.from().unwrap_or(moment.year.first_day()),
        hold_id: found.row.hold_id,
        fall_waits: found.row.fall_waits,
        data_too_old,
        enrolments: Vec::new(),
        since: found.row.since,
        as_of: moment.today,
        year: moment.year,
        policy_version: policy.version,
        episode: if found.row.episode_open { found.row.episode } else { 0 },
        changed_at: found.row.changed_at,
    })
}

/// The stage of one pupil on a day, as the service knew it at a moment. The trust must have been rolled over.
pub(super) async fn stage_as_of(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    pupil: PupilId,
    asked: AsOf,
    moment: Moment,
) -> Result<PupilStage, ServiceError> {
    let as_of = asked.day(moment)?;
    let year = AcademicYear::clamped(as_of);
    let record = record_known_at(transaction, trust, pupil.0, &[year], asked.known_at).await?;
    let timeline = timeline_of(transaction, trust).await?;
    let known_at = asked.known_at.unwrap_or(moment.now);
    let holds = holds::by_pupil(transaction, trust, &[pupil.0], known_at).await?;
    let schools = records::schools_of([&record]);
    let calendars = calendars_of(transaction, trust, &schools).await?;
    let current = stages_of(transaction, trust, moment.year, &[pupil.0]).await?;
    let timeline = timeline.known_at(known_at);
    let home: Vec<Uuid> = record.home_school(as_of).iter().map(|school| school.0).collect();
    let too_old = schools_too_old(transaction, trust, &timeline, &home, as_of).await?;
    let rules = Rules {
        timeline: &timeline,
        calendars: &calendars,
        holds: holds.get(&pupil.0).map_or(&[], Vec::as_slice),
    };
    let assessment = assess(&record, rules, as_of);
    let current = current
        .into_iter()
        .next()
        .filter(|_| as_of == moment.today && asked.known_at.is_none());
    Ok(PupilStage {
        pupil_id: pupil.0,
        judgement: Judgement {
            stage: assessment.stage,
            ..assessment.judgement
        },
        tally: assessment.tally,
        year_tally: assessment.year_tally,
        window_from: assessment.window_from,
        hold_id: assessment.hold,
        fall_waits: assessment.fall_waits,
        data_too_old: !too_old.is_empty(),
        enrolments: assessment.enrolments,
        since: assessment.since,
        as_of,
        year,
        policy_version: assessment.policy_version,
        episode: current
            .as_ref()
            .filter(|found| found.row.episode_open)
            .map_or(0, |found| found.row.episode),
        changed_at: current.and_then(|found| found.row.changed_at),
    })
}

/// The schools by whose policies pupils are judged.
#[derive(Default)]
struct Homes {
    /// By pupil.
    schools: HashMap<Uuid, SchoolId>,
    /// Those of which what was last received is too old to judge on.
    too_old: HashSet<SchoolId>,
}

impl Service {
    async fn pupil_stages_of(
        &self,
        trust: TrustId,
        found: Vec<StageWithTally>,
        moment: Moment,
    ) -> Result<Vec<PupilStage>, ServiceError> {
        let Some(first) = found.first() else {
            return Ok(Vec::new());
        };
        let timeline = self.timeline(trust, first.rules).await?;
        let mut homes = Homes::default();
        if timeline.differs_by_school() || timeline.refuses_old_data() {
            let ids: Vec<Uuid> = found.iter().map(|found| found.row.pupil_id).collect();
            homes = self.homes(trust, &timeline, &ids, moment).await?;
        }
        let stages = found.into_iter().map(|found| {
            let school = homes.schools.get(&found.row.pupil_id).copied();
            let too_old = school.is_some_and(|school| homes.too_old.contains(&school));
            Ok(pupil_stage(found, timeline.at(moment.today, school), too_old, moment)?)
        });
        stages.collect()
    }

    /// The schools by whose policies pupils are judged today.
    async fn homes(
        &self,
        trust: TrustId,
        timeline: &PolicyTimeline,
        pupils: &[Uuid],
        moment: Moment,
    ) -> Result<Homes, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let records = records::records_of(&mut transaction, trust, pupils, &[]).await?;
            let schools: HashMap<Uuid, SchoolId> = records
                .into_iter()
                .filter_map(|(pupil, record)| Some((pupil, record.home_school(moment.today)?)))
                .collect();
            let each: HashSet<Uuid> = schools.values().map(|school| school.0).collect();
            let each: Vec<Uuid> = each.into_iter().collect();
            let too_old = schools_too_old(&mut transaction, trust, timeline, &each, moment.today).await?;
            Ok(Homes { schools, too_old })
        }
        .await;
        finish(transaction, read).await
    }

    /// The stage of one pupil today.
    pub async fn pupil_stage(&self, trust: TrustId, key: &PupilKey) -> Result<PupilStage, ServiceError> {
        self.roll_over(trust).await?;
        let moment = self.moment();
        let pupil = match key {
            PupilKey::Id(id) => *id,
            key => {
                let resolve = Box::pin(async {
                    let mut transaction = self.store.begin(trust).await?;
                    let pupil = existing_pupil(&mut transaction, trust, key).await;
                    finish(transaction, pupil).await
                });
                resolve.await?
            }
        };
        let found = self.reader.read(trust, moment.year, pupil.0).await?;
        let mut found = found.ok_or(ServiceError::NotFound(Resource::Pupil))?;
        // A pupil may have become part of another, who is asked for then.
        let now = self.identity_now(trust, pupil, found.identities).await?;
        if now != pupil {
            let read = self.reader.read(trust, moment.year, now.0).await?;
            found = read.ok_or(ServiceError::NotFound(Resource::Pupil))?;
        }
        let timeline = self.timeline(trust, found.rules).await?;
        let by_school = timeline.differs_by_school() || timeline.refuses_old_data();
        if by_school || timeline.at(moment.today, None).policy.scope == Scope::Enrolment {
            let as_of = AsOf::default();
            return Box::pin(self.pupil_stage_as_of(trust, key, as_of)).await;
        }
        Ok(pupil_stage(found, timeline.at(moment.today, None), false, moment)?)
    }

    /// The stage of one pupil on a day, as the service knew it at a moment: what the marks known then, up to that day, come to
    /// under the policies in force.
    ///
    /// # Errors
    /// `Invalid` for a day or a moment in the future, `NotFound` where the trust has no such pupil.
    pub async fn pupil_stage_as_of(
        &self,
        trust: TrustId,
        key: &PupilKey,
        asked: AsOf,
    ) -> Result<PupilStage, ServiceError> {
        self.roll_over(trust).await?;
        let moment = self.moment();
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let pupil = existing_pupil(&mut transaction, trust, key).await?;
            stage_as_of(&mut transaction, trust, pupil, asked, moment).await
        }
        .await;
        finish(transaction, read).await
    }

    /// The stages of many pupils today, in the order asked: nothing for a pupil that the trust does not have.
    pub async fn pupil_stages(
        &self,
        trust: TrustId,
        keys: &[PupilKey],
    ) -> Result<Vec<Option<PupilStage>>, ServiceError> {
        self.roll_over(trust).await?;
        let moment = self.moment();
        let mut transaction = self.store.begin(trust).await?;
        let pupils = resolve_pupils(&mut transaction, trust, keys).await?;
        let mut ids: Vec<Uuid> = pupils.iter().flatten().map(|pupil| pupil.0).collect();
        ids.sort_unstable();
        ids.dedup();
        let found = stages_of(&transaction, trust, moment.year, &ids).await?;
        transaction.commit().await?;
        let stages = self.pupil_stages_of(trust, found, moment).await?;
        // They are in the order of the identifiers.
        let stage = |id: Uuid| stages.binary_search_by_key(&id, |stage| stage.pupil_id).ok();
        let answers = pupils.into_iter().map(|pupil| {
            let place = pupil.and_then(|pupil| stage(pupil.0));
            place.map(|place| stages[place].clone())
        });
        Ok(answers.collect())
    }

    /// Stages by school, stage and time of change, in the order of the pupils.
    pub async fn list_pupil_stages(
        &self,
        trust: TrustId,
        query: &StageQuery,
        page: Page<Uuid>,
    ) -> Result<PageOf<PupilStage, Uuid>, ServiceError> {
        self.roll_over(trust).await?;
        let moment = self.moment();
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let school = match &query.school {
                None => None,
                Some(key) => {
                    let school = resolve_school(&mut transaction, trust, key).await?;
                    Some(school.ok_or(ServiceError::NotFound(Resource::School))?.0)
                }
            };
            let filter = StageFilter {
                school,
                today: moment.today,
                stages: query.stages.clone(),
                changed_since: query.changed_since,
                after: page.after,
            };
            let ids = list_pupils(&mut transaction, trust, &filter, one_more(page.size)).await?;
            Ok(stages_of(&transaction, trust, moment.year, &ids).await?)
        }
        .await;
        let found = finish(transaction, read).await?;
        let rows = self.pupil_stages_of(trust, found, moment).await?;
        Ok(PageOf::from_rows(rows, page.size, |row| row.pupil_id))
    }

    /// Why a pupil is at a stage.
    pub async fn explain_pupil_stage(&self, trust: TrustId, key: &PupilKey) -> Result<Explanation, ServiceError> {
        self.roll_over(trust).await?;
        let moment = self.moment();
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let pupil = existing_pupil(&mut transaction, trust, key).await?;
            let found = stages_of(&transaction, trust, moment.year, &[pupil.0]).await?;
            let marks = registers::whole(&mut transaction, trust, &[pupil.0], moment.year).await?;
            let minutes = session_minutes(&mut transaction, trust).await?;
            Ok((found, marks, minutes))
        }
        .await;
        let (found, marks, minutes) = finish(transaction, read).await?;

        let found = found
            .into_iter()
            .next()
            .ok_or(ServiceError::NotFound(Resource::Pupil))?;
        let rules = found.rules;
        let stages = self.pupil_stages_of(trust, vec![found], moment).await?;
        let stage = stages
            .into_iter()
            .next()
            .ok_or(ServiceError::NotFound(Resource::Pupil))?;
        let timeline = self.timeline(trust, rules).await?;
        let policy = &timeline
            .version(stage.policy_version)
            .ok_or(StoreError::Corrupt("policies"))?
            .policy;
        let mut counts = [(0usize, 0usize); 256];
        let mut enrolments = Vec::with_capacity(marks.len());
        let mut lost_learning_minutes = 0;
        for register in &marks {
            let counted = moment.year.sessions_to(moment.today).min(register.marks.len());
            for (place, &mark) in register.marks[..counted].iter().enumerate() {
                let Some(code) = AttendanceCode::from_byte(mark) else {
                    continue;
                };
                let (sessions, outside) = &mut counts[usize::from(mark)];
                *sessions += 1;
                *outside += usize::from(!code.valid_on(moment.year.session_at(place).date));
            }
            let tally = tally_to(&register.marks, moment.year, moment.today);
            lost_learning_minutes += tally.missed() * minutes.get(&register.school_id).copied().unwrap_or_default();
            enrolments.push(EnrolmentTally {
                enrolment_id: register.enrolment_id,
                school_id: register.school_id,
                tally,
            });
        }
        let codes = AttendanceCode::ALL.iter().map(|code| {
            let (sessions, outside_validity) = counts[usize::from(code.byte())];
            CodeCount {
                code: *code,
                sessions,
                outside_validity,
            }
        });
        Ok(Explanation {
            codes: codes.filter(|count| count.sessions > 0).collect(),
            band: policy.band(stage.judgement.computed_stage),
            minimum_possible: policy.minimum_possible,
            improves: policy.improvements(stage.tally),
            worsens: policy.deteriorations(stage.tally),
            enrolments,
            lost_learning_minutes,
            stage,
        })
    }
}
