//! Drives a history through the port and the model side by side.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use graduated_response::grpc::convert::{to_date, to_timestamp};

use super::compare::{Disagreement, Seen, agree, compare};
use super::naive::{Happening, HoldKind, Naive, Span, first_of_year};
use super::setting::{calendars, contract_calendars, contract_settings, policies, provisions};
use super::{CODES, Step};
use crate::common::World;
use crate::common::world::{by_id, correction, pb, person, pupil_input};

/// Pupils of a history; the last is registered at both schools.
pub const PUPILS: usize = 3;

/// The first day of a history, a Monday of the first full week.
const FIRST_DAY: &str = "2025-09-08";

pub struct Drive {
    pub(super) world: World,
    pub(super) model: Naive,
    schools: Vec<String>,
    pub(super) pupils: Vec<String>,
    /// The UUIDs of the holds by their numbers in the model, with their pupils and last days.
    holds: Vec<(String, usize, NaiveDate, bool)>,
    pub(super) seen: Vec<Seen>,
    /// The provisions of each stage, 1 to 5, that are raised for a pupil.
    pub(super) provisions: Vec<BTreeSet<String>>,
    pub(super) today: NaiveDate,
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
        let (policies, calendars) = (policies(), calendars());
        for (school, calendar) in schools.iter().zip(&calendars) {
            for request in contract_calendars(&world.trust_id, school, calendar) {
                world.admin().update_calendar(request).await.unwrap();
            }
        }
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
                calendars,
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
    pub(super) fn now(&self) -> DateTime<Utc> {
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
            Step::Hold { pupil, stage, days } => {
                self.hold(*pupil, HoldKind::AtLeast(*stage), u64::from(*days)).await?;
            }
            Step::DelayFall { pupil, days } => self.hold(*pupil, HoldKind::DelayFall, u64::from(*days)).await?,
            Step::ConfirmFall { pupil } => self.confirm(*pupil).await?,
            Step::EndHold { which } => self.end_hold(*which).await?,
            Step::Transfer {
                pupil,
                days_ahead,
                with_correction,
            } => {
                let start = self.day_back(-i64::from(*days_ahead));
                self.transfer(*pupil, start, *with_correction).await?;
            }
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

    /// Compares all that there is to see of every pupil once more.
    pub async fn end(&mut self) -> Result<(), Disagreement> {
        for pupil in 0..PUPILS {
            self.look_closely(pupil).await?;
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
        // Nothing where a mark is taken away before an enrolment that is to come, in whose register there is none.
        let at = |date: NaiveDate, code: &str| {
            let spans = self.model.enrolments[pupil].iter().enumerate();
            let mut of_item = spans.filter(|(_, span)| !dual || span.school == school);
            let to_come = of_item.clone().any(|(_, span)| span.start > date);
            match of_item.find(|(_, span)| span.on_roll(date)) {
                Some((place, _)) => Some(Some(place)),
                None => (code == "-" && to_come).then_some(None),
            }
        };
        let places: Option<Vec<_>> = sessions.iter().map(|(date, _, code)| at(*date, code)).collect();
        agree("marks taken", &places.is_some(), &result.rejections.is_empty())?;
        for (enrolment, (date, afternoon, code)) in places.into_iter().flatten().zip(sessions) {
            let Some(enrolment) = enrolment else { continue };
            self.happened(Happening::Mark {
                pupil,
                enrolment,
                date,
                afternoon,
                code: (code != "-").then_some(code),
            });
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

    /// Moves a pupil from the school of the latest enrolment to the other one.
    async fn transfer(&mut self, pupil: usize, start: NaiveDate, with_correction: bool) -> Result<(), Disagreement> {
        let last = start - Days::new(1);
        let spans = &self.model.enrolments[pupil];
        let from = spans.last().unwrap().school;
        let request = pb::TransferPupilRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(by_id(&self.pupils[pupil])),
            from_school: self.schools[from].clone(),
            to_school: self.schools[1 - from].clone(),
            start_date: Some(to_date(start)),
            reason: "the family has moved".into(),
            changed_by: Some(person()),
            correction: with_correction.then(|| correction("entered ahead")),
            ..pb::TransferPupilRequest::default()
        };
        let answer = self.world.pupils().transfer_pupil(request).await;
        let left = spans.iter().position(|span| span.school == from && span.on_roll(last));
        let beyond = left.map_or(Vec::new(), |left| self.model.marked_after(pupil, left, last));
        // Nobody is at two schools at once, but as main and subsidiary.
        let mut others = spans.iter().enumerate().filter(|(place, _)| Some(*place) != left);
        let free = others.all(|(_, span)| span.end.is_some_and(|end| end < start));
        let can_move = left.is_some() && free && (beyond.is_empty() || with_correction);
        agree("transferred", &can_move, &answer.is_ok())?;
        let (Some(left), true) = (left, can_move) else {
            return Ok(());
        };
        for (date, afternoon) in beyond {
            self.happened(Happening::Mark {
                pupil,
                enrolment: left,
                date,
                afternoon,
                code: None,
            });
        }
        let spans = &mut self.model.enrolments[pupil];
        spans[left].end = Some(last);
        spans.push(Span {
            school: 1 - from,
            subsidiary: false,
            start,
            end: None,
        });
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

    pub(super) async fn stage(&self, request: pb::GetPupilStageRequest) -> Result<pb::PupilStage, Disagreement> {
        let answer = self.world.stages().get_pupil_stage(request).await;
        let answer = answer.map_err(|status| status.to_string())?;
        answer.into_inner().pupil_stage.ok_or_else(|| "no stage".to_owned())
    }
}
