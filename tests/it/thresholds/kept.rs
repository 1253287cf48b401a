//! A property through the port: the events that stand are what the record has reached, however the marks were batched.

use std::collections::BTreeSet;

use graduated_response::proto as pb;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::common::World;
use crate::common::world::{at, by_id, correction, day, enrolment, item, pb_date, pupil_input};

/// The last days of the years that are compared.
const YEARS: [(i32, &str); 3] = [(2023, "2024-07-31"), (2024, "2025-07-31"), (2025, "2026-07-31")];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// Marks of some pupils at the pupil's first or second school, from a day on.
    Record {
        pupils: Vec<usize>,
        second: bool,
        from: u64,
        marks: Vec<&'static str>,
    },
    /// Some days pass.
    Turn { days: u64 },
    /// A notice, for whatever it is for.
    Notice { pupil: usize },
    /// A date of birth that makes the pupil come of age in the middle of a year, or not.
    Born { pupil: usize, date: &'static str },
}

/// Runs of one code, so that thresholds are reached: of both sessions of whole days, and of single sessions.
fn marks() -> impl Strategy<Value = Vec<&'static str>> {
    let codes = prop::sample::select(vec!["/", "I", "I", "O", "O", "N", "C", "Y1", "-", "0"]);
    let spell = (codes, prop_oneof![1usize..8, 20usize..50]).prop_map(|(code, length)| vec![code; length]);
    let spells = prop::collection::vec(spell, 1..6).prop_map(|spells| spells.concat());
    spells.prop_filter("a mark is sent", |marks| marks.iter().any(|mark| *mark != "-"))
}

fn step() -> impl Strategy<Value = Step> {
    let pupils = prop::collection::vec(0usize..4, 1..4);
    // From 28 June 2024 on, around each summer; the last days are yet to come.
    let from = prop_oneof![0u64..110, 365u64..475, 730u64..760];
    let record = (pupils, prop::bool::weighted(0.2), from, marks()).prop_map(|(mut pupils, second, from, marks)| {
        pupils.sort_unstable();
        pupils.dedup();
        Step::Record {
            pupils,
            second,
            from,
            marks,
        }
    });
    let born = prop::sample::select(vec!["2009-09-01", "2010-09-01", "2019-10-15", "2012-01-01"]);
    prop_oneof![
        12 => record,
        2 => (1u64..40).prop_map(|days| Step::Turn { days }),
        1 => (0usize..4).prop_map(|pupil| Step::Notice { pupil }),
        1 => (0usize..4, born).prop_map(|(pupil, date)| Step::Born { pupil, date }),
    ]
}

/// A kind, the session that proves it and the sessions that it takes.
type Reached = BTreeSet<(i32, String)>;

fn told(threshold: &pb::Threshold) -> (i32, String) {
    (
        threshold.kind,
        format!("{:?} {:?}", threshold.proved_by, threshold.sessions),
    )
}

struct Rig {
    world: World,
    pupils: Vec<String>,
    today: chrono::NaiveDate,
}

impl Rig {
    /// A trust of its own, with a pupil who stays, one at two schools, one who moved and one who came late.
    async fn new() -> Rig {
        let world = World::on("2026-06-15").await;
        let (one, other) = (world.school("100001").await, world.school("100002").await);
        let span = |school: &str, kind, from, to| enrolment(school, kind, from, to);
        let enrolments = [
            vec![span(&one, pb::EnrolmentKind::Sole, "2023-09-01", "")],
            vec![
                span(&one, pb::EnrolmentKind::Main, "2023-09-01", ""),
                span(&other, pb::EnrolmentKind::Subsidiary, "2023-09-01", ""),
            ],
            vec![
                span(&one, pb::EnrolmentKind::Sole, "2023-09-01", "2025-07-11"),
                span(&other, pb::EnrolmentKind::Sole, "2025-07-12", ""),
            ],
            vec![span(&other, pb::EnrolmentKind::Sole, "2024-09-02", "")],
        ];
        let inputs = enrolments.iter().enumerate();
        let inputs = inputs.map(|(place, enrolments)| pupil_input(&format!("pupil {place}"), enrolments));
        let pupils = world.upsert(inputs.collect()).await.unwrap().pupil_ids;
        Rig {
            world,
            pupils,
            today: day("2026-06-15"),
        }
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Record {
                pupils,
                second,
                from,
                marks,
            } => {
                let date = day("2024-06-28") + chrono::Days::new(*from);
                // Only what lies within one academic year can be one run.
                let last = if date < day("2024-08-01") {
                    "2024-07-31"
                } else if date < day("2025-08-01") {
                    "2025-07-31"
                } else {
                    "2026-07-31"
                };
                let most = 2 * usize::try_from((day(last) - date).num_days() + 1).unwrap();
                let run = marks[..marks.len().min(most)].join(" ");
                let items = pupils.iter().map(|pupil| pb::SessionItem {
                    school: if *second { "100002".into() } else { String::new() },
                    ..item(&self.pupils[*pupil], at(&date.to_string(), "AM"), &run)
                });
                let batch = pb::SessionBatch {
                    items: items.collect(),
                    correction: Some(correction("as the register says")),
                    ..pb::SessionBatch::default()
                };
                // Items without an enrolment on their days, or at two schools at once, are refused one by one.
                let _ = self.world.record_batch(batch).await;
            }
            Step::Turn { days } => {
                self.today = self.today + chrono::Days::new(*days);
                self.world.turn_to(&self.today.to_string());
            }
            Step::Notice { pupil } => {
                let request = super::notice(&self.world, &self.pupils[*pupil], &self.today.to_string());
                // Where no threshold stands, or two were issued, it is refused.
                let _ = self.world.stages().record_penalty_notice(request).await;
            }
            Step::Born { pupil, date } => {
                let born = pb::PupilInput {
                    date_of_birth: Some(pb_date(date)),
                    ..pupil_input(&format!("pupil {pupil}"), &[])
                };
                assert_eq!(self.world.upsert(vec![born]).await.unwrap().rejections, []);
            }
        }
    }

    /// What stands of a pupil in a year, and what the record comes to.
    async fn compare(&self, pupil: &str, (year, last_day): (i32, &str)) -> (Reached, Reached) {
        let standing = super::events(&self.world, false).await;
        let standing = standing
            .iter()
            .filter(|event| event.pupil_id == pupil && event.academic_year == year);
        let standing = standing.map(|event| told(event.threshold.as_ref().unwrap())).collect();
        let request = pb::ListPupilThresholdsRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(by_id(pupil)),
            as_of: Some(pb_date(&self.today.min(day(last_day)).to_string())),
            known_at: None,
        };
        let reached = self
            .world
            .stages()
            .list_pupil_thresholds(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(reached.academic_year, year);
        (standing, reached.thresholds.iter().map(told).collect())
    }
}

#[test]
fn what_stands_is_what_the_record_has_reached_however_its_marks_were_batched() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config {
        cases: 12,
        max_shrink_iters: 60,
        failure_persistence: None,
        ..Config::default()
    };
    let strategy = prop::collection::vec(step(), 5..25);
    let run = |steps: Vec<Step>| {
        runtime.block_on(async {
            let mut rig = Rig::new().await;
            for (place, step) in steps.iter().enumerate() {
                rig.take(step).await;
                for pupil in &rig.pupils {
                    for year in YEARS {
                        let (standing, reached) = rig.compare(pupil, year).await;
                        prop_assert_eq!(standing, reached, "after step {}: {:?}", place, step);
                    }
                }
            }
            Ok(())
        })
    };
    TestRunner::new(config).run(&strategy, run).unwrap();
}
