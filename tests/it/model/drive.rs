//! Drives a history through the port and the model side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use graduated_response::grpc::convert::{to_date, to_timestamp};

use super::naive::{Answer, Counts, DEFAULT_BOUNDS, Happening, HoldKind, Naive, Settings, Span, first_of_year};
use super::{CODES, Step};
use crate::common::World;
use crate::common::world::{by_id, correction, pb, person, pupil_input};

/// Pupils of a history; the last is registered at both schools.
pub const PUPILS: usize = 3;

/// The first day of a history, a Monday of the first full week.
const FIRST_DAY: &str = "2025-09-08";

/// What the model and the service disagree on.
pub type Disagreement = String;

pub fn policies() -> Vec<Settings> {
    let default = Settings {
        bounds: DEFAULT_BOUNDS,
        rounded: false,
        minimum: 20,
        each_enrolment_alone: false,
        reached_stage_only: false,
        fall_waits: false,
    };
    vec![
        default,
        Settings { minimum: 1, ..default },
        Settings {
            minimum: 6,
            rounded: true,
            ..default
        },
        Settings {
            minimum: 1,
            fall_waits: true,
            ..default
        },
        Settings {
            minimum: 2,
            each_enrolment_alone: true,
            ..default
        },
        Settings {
            minimum: 1,
            bounds: [(960, true), (940, false), (880, true), (700, false), (400, false)],
            reached_stage_only: true,
            ..default
        },
    ]
}

fn contract_settings(settings: &Settings) -> pb::PolicySettings {
    let bound = |(tenths, inclusive): &(i64, bool)| pb::LowerBound {
        tenths: i32::try_from(*tenths).unwrap(),
        inclusive: *inclusive,
    };
    pb::PolicySettings {
        lower_bounds: settings.bounds.iter().map(bound).collect(),
        comparison: match settings.rounded {
            true => pb::Comparison::Rounded.into(),
            false => pb::Comparison::Exact.into(),
        },
        minimum_possible: i32::try_from(settings.minimum).ok(),
        scope: match settings.each_enrolment_alone {
            true => pb::PolicyScope::Enrolment.into(),
            false => pb::PolicyScope::Trust.into(),
        },
        raises_reached_stage_only: settings.reached_stage_only,
        fall_waits: settings.fall_waits,
        ..pb::PolicySettings::default()
    }
}

/// What was seen of a pupil's episodes of raised actions.
#[derive(Default)]
struct Seen {
    stage: usize,
    year: Option<NaiveDate>,
    episode: i32,
    open: bool,
    /// The stage of greatest need in which the pupil was seen, by episode.
    highest: BTreeMap<i32, usize>,
}

pub struct Drive {
    world: World,
    model: Naive,
    schools: Vec<String>,
    pupils: Vec<String>,
    /// The UUIDs of the holds by their numbers in the model, with their pupils and last days.
    holds: Vec<(String, usize, NaiveDate, bool)>,
    seen: Vec<Seen>,
    /// The provisions of each stage, 1 to 5, that are raised for a pupil.
    provisions: Vec<BTreeSet<String>>,
    today: NaiveDate,
    /// How many steps were taken today: each is a minute.
    minutes: i64,
    /// The moments at which something may have happened.
    moments: Vec<DateTime<Utc>>,
    /// The day on which a policy last came into force.
    activated_on: NaiveDate,
}

impl Drive {
    pub async fn new() -> Drive {
        let world = World::on(FIRST_DAY).await;
        let today: NaiveDate = FIRST_DAY.parse().unwrap();
        let mut schools = Vec::new();
        for urn in ["100001", "100002"] {
            schools.push(world.school(urn).await);
        }
        let mut policies = policies();
        policies.truncate(policies.len());
        // The first is the default policy that every trust begins with.
        for (place, settings) in policies.iter().enumerate().skip(1) {
            let version = world.policy(contract_settings(settings)).await;
            assert_eq!(usize::try_from(version).unwrap(), place + 1);
        }
        let start: NaiveDate = "2025-09-01".parse().unwrap();
        let span = |school, subsidiary| Span {
            school,
            subsidiary,
            start,
            end: None,
        };
        let mut enrolments = vec![vec![span(0, false)]; PUPILS];
        enrolments[PUPILS - 1].push(span(1, true));
        let mut drive = Drive {
            model: Naive {
                policies,
                enrolments,
                happened: Vec::new(),
            },
            world,
            schools,
            pupils: Vec::new(),
            holds: Vec::new(),
            seen: (0..PUPILS).map(|_| Seen::default()).collect(),
            provisions: provisions(),
            today,
            minutes: 0,
            moments: Vec::new(),
            activated_on: today,
        };
        for pupil in 0..PUPILS {
            let input = pupil_input(
                &format!("pupil {pupil}").replace(' ', "-"),
                &drive.contract_enrolments(pupil),
            );
            let answer = drive.world.upsert(vec![input]).await.unwrap();
            assert_eq!(answer.rejections, []);
            drive.pupils.push(answer.pupil_ids[0].clone());
        }
        drive
    }

    fn contract_enrolments(&self, pupil: usize) -> Vec<pb::Enrolment> {
        let spans = &self.model.enrolments[pupil];
        let dual = spans.iter().any(|span| span.subsidiary);
        let enrolment = |span: &Span| pb::Enrolment {
            enrolment_id: String::new(),
            school: self.schools[span.school].clone(),
            kind: match (dual, span.subsidiary) {
                (false, _) => pb::EnrolmentKind::Sole.into(),
                (true, false) => pb::EnrolmentKind::Main.into(),
                (true, true) => pb::EnrolmentKind::Subsidiary.into(),
            },
            start_date: Some(to_date(span.start)),
            end_date: span.end.map(to_date),
        };
        spans.iter().map(enrolment).collect()
    }

    fn noon(&self) -> DateTime<Utc> {
        self.today.and_time(NaiveTime::MIN).and_utc() + TimeDelta::hours(12)
    }

    /// The moment of the step that comes.
    fn now(&self) -> DateTime<Utc> {
        self.noon() + TimeDelta::minutes(self.minutes)
    }

    fn happened(&mut self, happening: Happening) {
        let now = self.now();
        self.model.happened.push((now, happening));
    }

    /// Takes a step, and compares what can be seen after it.
    pub async fn step(&mut self, step: &Step) -> Result<(), Disagreement> {
        self.minutes += 1;
        self.world.clock.turn_to(self.now());
        let now = self.now();
        self.moments.push(now);
        match step {
            Step::Days(days) => {
                self.today = self.today + Days::new(u64::from(*days));
                self.minutes = 0;
                self.world.clock.turn_to(self.now());
            }
            Step::Marks {
                pupil,
                days_back,
                afternoon,
                second_school,
                codes,
            } => {
                let from = self.day_back(i64::from(*days_back));
                let sessions = codes.iter().enumerate().map(|(place, code)| {
                    let half = place + usize::from(*afternoon);
                    (from + Days::new(half as u64 / 2), half % 2 == 1, CODES[*code])
                });
                let sessions: Vec<_> = sessions.collect();
                self.mark(*pupil, usize::from(*second_school), &sessions).await?;
            }
            Step::Week {
                pupil,
                morning,
                afternoon,
            } => {
                let monday = self.today - Days::new(u64::from(self.today.weekday().num_days_from_monday()));
                let days = monday.iter_days().take(5).filter(|day| *day <= self.today);
                let of_day = |day| [(day, false, CODES[*morning]), (day, true, CODES[*afternoon])];
                let sessions: Vec<_> = days.flat_map(of_day).collect();
                self.mark(*pupil, 0, &sessions).await?;
            }
            Step::Transfer { pupil } => self.transfer(*pupil).await?,
            Step::Hold { pupil, stage, days } => {
                self.hold(*pupil, HoldKind::AtLeast(*stage), u64::from(*days)).await?;
            }
            Step::DelayFall { pupil, days } => self.hold(*pupil, HoldKind::DelayFall, u64::from(*days)).await?,
            Step::ConfirmFall { pupil } => self.confirm(*pupil).await?,
            Step::EndHold { which } => self.end_hold(*which).await?,
            Step::Policy { which, school } => self.activate(*which, *school).await?,
            Step::Ask {
                pupil,
                days_back,
                moments_back,
            } => self.ask(*pupil, i64::from(*days_back), *moments_back).await?,
        }
        for pupil in 0..PUPILS {
            self.look(pupil).await?;
        }
        Ok(())
    }

    fn day_back(&self, days: i64) -> NaiveDate {
        self.today - TimeDelta::days(days)
    }

    async fn mark(
        &mut self,
        pupil: usize,
        school: usize,
        sessions: &[(NaiveDate, bool, &'static str)],
    ) -> Result<(), Disagreement> {
        let (first, in_afternoon, _) = sessions[0];
        let same_year = |(date, ..): &&(NaiveDate, bool, &str)| first_of_year(*date) == first_of_year(first);
        let sessions: Vec<_> = sessions.iter().filter(same_year).copied().collect();
        let dual = self.model.enrolments[pupil].iter().any(|span| span.subsidiary);
        let number = |code: &str| match code {
            "-" => pb::AttendanceCode::Cleared.into(),
            code => crate::common::marks(code)[0],
        };
        let item = pb::SessionItem {
            pupil: Some(by_id(&self.pupils[pupil])),
            first_session: Some(pb::Session {
                date: Some(to_date(first)),
                half: match in_afternoon {
                    false => pb::SessionHalf::Am.into(),
                    true => pb::SessionHalf::Pm.into(),
                },
            }),
            marks: sessions.iter().map(|(.., code)| number(code)).collect(),
            school: match dual {
                true => self.schools[school].clone(),
                false => String::new(),
            },
            correction: None,
        };
        let batch = pb::SessionBatch {
            items: vec![item],
            correction: Some(correction("checked with the tutor")),
            ..pb::SessionBatch::default()
        };
        let result = self
            .world
            .record_batch(batch)
            .await
            .map_err(|status| status.to_string())?;
        let at = |date: NaiveDate| {
            let mut spans = self.model.enrolments[pupil].iter();
            let found = spans.find(|span| span.on_roll(date) && (!dual || span.school == school));
            found.map(|span| span.school)
        };
        let places: Option<Vec<_>> = sessions.iter().map(|(date, ..)| at(*date)).collect();
        agree("marks taken", &places.is_some(), &result.rejections.is_empty())?;
        for (school, (date, afternoon, code)) in places.into_iter().flatten().zip(sessions) {
            self.happened(Happening::Mark {
                pupil,
                school,
                date,
                afternoon,
                code: (code != "-").then_some(code),
            });
        }
        Ok(())
    }

    async fn transfer(&mut self, pupil: usize) -> Result<(), Disagreement> {
        let spans = &self.model.enrolments[pupil];
        let current = *spans.last().unwrap();
        if spans.iter().any(|span| span.subsidiary) || current.start > self.today {
            return Ok(());
        }
        let refused = self.model.marked_after(pupil, current.school, self.today);
        let before = spans.clone();
        let spans = &mut self.model.enrolments[pupil];
        spans.last_mut().unwrap().end = Some(self.today);
        spans.push(Span {
            school: 1 - current.school,
            subsidiary: false,
            start: self.today + Days::new(1),
            end: None,
        });
        let input = pupil_input(&format!("pupil-{pupil}"), &self.contract_enrolments(pupil));
        let answer = self
            .world
            .upsert(vec![input])
            .await
            .map_err(|status| status.to_string())?;
        agree("transfer taken", &!refused, &answer.rejections.is_empty())?;
        if refused {
            self.model.enrolments[pupil] = before;
        }
        Ok(())
    }

    async fn hold(&mut self, pupil: usize, kind: HoldKind, days: u64) -> Result<(), Disagreement> {
        let to = self.today + Days::new(days);
        let (contract_kind, stage) = match kind {
            HoldKind::AtLeast(stage) => (pb::HoldKind::AtLeast, i32::try_from(stage).unwrap() + 1),
            _ => (pb::HoldKind::DelayFall, 0),
        };
        let request = pb::CreateHoldRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(by_id(&self.pupils[pupil])),
            kind: contract_kind.into(),
            stage,
            to_date: Some(to_date(to)),
            reason: "agreed with the family".into(),
            created_by: Some(person()),
            request_id: String::new(),
        };
        let answer = self
            .world
            .admin()
            .create_hold(request)
            .await
            .map_err(|status| status.to_string())?;
        let id = answer.into_inner().hold.unwrap().hold_id;
        let hold = self.holds.len();
        self.holds.push((id, pupil, to, false));
        let from = self.today;
        self.happened(Happening::Hold {
            pupil,
            hold,
            kind,
            from,
            to,
        });
        Ok(())
    }

    async fn confirm(&mut self, pupil: usize) -> Result<(), Disagreement> {
        let waits = self.model.answer(pupil, self.today, None).fall_waits;
        let request = pb::ConfirmFallRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(by_id(&self.pupils[pupil])),
            reason: "attendance is steady".into(),
            confirmed_by: Some(person()),
            request_id: String::new(),
        };
        let answer = self.world.admin().confirm_fall(request).await;
        agree("fall confirmed", &waits, &answer.is_ok())?;
        if waits {
            let (from, hold) = (self.today, self.holds.len());
            self.holds.push((String::new(), pupil, from, true));
            self.happened(Happening::Hold {
                pupil,
                hold,
                kind: HoldKind::ConfirmFall,
                from,
                to: from,
            });
        }
        Ok(())
    }

    async fn end_hold(&mut self, which: usize) -> Result<(), Disagreement> {
        if self.holds.is_empty() {
            return Ok(());
        }
        let hold = which % self.holds.len();
        let (id, _, to, ended) = self.holds[hold].clone();
        if id.is_empty() {
            return Ok(());
        }
        let request = pb::EndHoldRequest {
            trust_id: self.world.trust_id.clone(),
            hold_id: id,
            reason: "no longer needed".into(),
            ended_by: Some(person()),
        };
        let answer = self.world.admin().end_hold(request).await;
        let can_end = !ended && to >= self.today;
        agree("hold ended", &can_end, &answer.is_ok())?;
        if can_end {
            self.holds[hold].3 = true;
            let last = self.today - Days::new(1);
            self.happened(Happening::EndHold { hold, last });
        }
        Ok(())
    }

    async fn activate(&mut self, which: usize, school: Option<usize>) -> Result<(), Disagreement> {
        // Of two on one day only the second is left to see.
        if self.activated_on == self.today {
            return Ok(());
        }
        self.activated_on = self.today;
        // The place after the last stands for a school that follows the trust again.
        let version = if which < self.model.policies.len() {
            which + 1
        } else {
            0
        };
        let version = if school.is_none() { version.max(1) } else { version };
        let name = school.map_or("", |school| self.schools[school].as_str()).to_owned();
        self.world.activate(i32::try_from(version).unwrap(), &name).await;
        let version = (version > 0).then_some(version);
        self.happened(Happening::Policy { school, version });
        Ok(())
    }

    /// Asks for a day as known at a moment.
    async fn ask(&mut self, pupil: usize, days_back: i64, moments_back: usize) -> Result<(), Disagreement> {
        let as_of = self.day_back(days_back);
        let moment = self
            .moments
            .len()
            .checked_sub(moments_back)
            .and_then(|place| self.moments.get(place));
        // Half a minute after the step, so that whatever it did is known.
        let known_at = moment.map(|moment| *moment + TimeDelta::seconds(30));
        let known_at = known_at.filter(|known_at| *known_at < self.now());
        let request = pb::GetPupilStageRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(by_id(&self.pupils[pupil])),
            as_of: Some(to_date(as_of)),
            known_at: known_at.map(to_timestamp),
        };
        let found = self.stage(request).await?;
        let expected = self.model.answer(pupil, as_of, known_at);
        compare(
            &format!("pupil {pupil} on {as_of} known at {known_at:?}"),
            &expected,
            &found,
        )
    }

    async fn stage(&self, request: pb::GetPupilStageRequest) -> Result<pb::PupilStage, Disagreement> {
        let answer = self.world.stages().get_pupil_stage(request).await;
        let answer = answer.map_err(|status| status.to_string())?;
        answer.into_inner().pupil_stage.ok_or_else(|| "no stage".to_owned())
    }

    /// Compares a pupil's stage today, and the actions.
    async fn look(&mut self, pupil: usize) -> Result<(), Disagreement> {
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
        let seen = &self.seen[pupil];
        let current = if seen.open { seen.episode } else { 0 };
        agree(&format!("{what}: episode"), &current, &found.episode)?;
        self.compare_actions(pupil, &expected, &what).await
    }

    /// An episode begins when a pupil leaves stage U, and ends on the return to it and when the academic year turns.
    fn count_episodes(&mut self, pupil: usize, expected: &Answer) {
        let seen = &mut self.seen[pupil];
        let year = first_of_year(self.today);
        if expected.stage == 0 || seen.year.is_some_and(|of| of != year) {
            seen.open = false;
        }
        seen.year = Some(year);
        seen.stage = expected.stage;
        if expected.stage > 0 {
            if !seen.open {
                seen.open = true;
                seen.episode += 1;
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
            if *episode == seen.episode && seen.open && *stage > expected.peak {
                return Err(format!(
                    "{what}: stage {stage} stands, and no day of the year reached it"
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

fn agree<T: PartialEq + Debug>(what: &str, expected: &T, found: &T) -> Result<(), Disagreement> {
    if expected == found {
        Ok(())
    } else {
        Err(format!("{what}: the model says {expected:?}, the service {found:?}"))
    }
}

fn compare(what: &str, expected: &Answer, found: &pb::PupilStage) -> Result<(), Disagreement> {
    let counts = |tally: Option<pb::Tally>| {
        let tally = tally.unwrap_or_default();
        Counts {
            attended: tally.attended,
            possible: tally.possible,
            authorised: tally.authorised,
            unauthorised: tally.unauthorised,
        }
    };
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

/// The provisions of each stage that are raised for a pupil, out of the catalogue's source.
fn provisions() -> Vec<BTreeSet<String>> {
    let catalogue: toml::Table = include_str!("../../../data/provisions.toml").parse().unwrap();
    let all = catalogue["provision"].as_array().unwrap();
    let of_stage = |stage: usize| {
        let of_stage = all.iter().filter(|provision| {
            let id = provision["id"].as_str().unwrap();
            id.starts_with(&format!("{stage}-")) && provision["subject"].as_str().unwrap() == "pupil"
        });
        of_stage
            .map(|provision| provision["id"].as_str().unwrap().to_owned())
            .collect()
    };
    (1..=5).map(of_stage).collect()
}
