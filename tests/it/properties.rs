//! Properties of recording, through the port: the state is that of the marks, however they were batched and ordered.

use graduated_response::proto as pb;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use crate::common::world::{by_id, correction, enrolment, pupil_input};
use crate::common::{World, at};

/// Codes of every category, and none.
const CODES: [i32; 10] = [0, 1, 2, 3, 5, 9, 19, 29, 31, 34];
/// Pupils of one history.
const PUPILS: usize = 3;

/// A run of marks of one pupil: the pupil, the day of the run after 1 September, and its marks.
#[derive(Clone, Debug)]
struct Run {
    pupil: usize,
    day: u64,
    marks: Vec<i32>,
}

fn run() -> impl Strategy<Value = Run> {
    let marks = prop::collection::vec(prop::sample::select(&CODES[..]), 1..40);
    (0..PUPILS, 0u64..45, marks)
        .prop_map(|(pupil, day, marks)| Run { pupil, day, marks })
        .prop_filter("a run has a mark", |run| run.marks.iter().any(|mark| *mark != 0))
}

/// What can be seen of a pupil.
type State = (Vec<i32>, i32, Option<pb::Tally>, Option<pb::Date>, bool);

struct Rig {
    runtime: Runtime,
    world: World,
    school: String,
}

impl Rig {
    fn new() -> Rig {
        let runtime = Runtime::new().unwrap();
        let (world, school) = runtime.block_on(async {
            let world = World::on("2025-11-14").await;
            let school = world.school("100001").await;
            (world, school)
        });
        Rig { runtime, world, school }
    }

    /// New pupils.
    fn pupils(&self) -> Vec<String> {
        let on_roll = [enrolment(&self.school, pb::EnrolmentKind::Sole, "2025-09-01", "")];
        let inputs = (0..PUPILS).map(|_| pupil_input(&uuid::Uuid::new_v4().to_string(), &on_roll));
        self.runtime
            .block_on(self.world.upsert(inputs.collect()))
            .unwrap()
            .pupil_ids
    }

    fn record(&self, items: Vec<pb::SessionItem>) -> pb::SessionBatchResult {
        let batch = pb::SessionBatch {
            items,
            correction: Some(correction("as the register says")),
            ..pb::SessionBatch::default()
        };
        self.runtime.block_on(self.world.record_batch(batch)).unwrap()
    }

    fn states(&self, pupils: &[String]) -> Vec<State> {
        let state = |pupil: &String| {
            let request = pb::ListRegistersRequest {
                trust_id: self.world.trust_id.clone(),
                pupil: Some(by_id(pupil)),
                academic_year: 2025,
            };
            let registers = self
                .runtime
                .block_on(self.world.sessions().list_registers(request))
                .unwrap();
            let register = registers.into_inner().registers.into_iter().next();
            let stage = self.runtime.block_on(self.world.stage(pupil));
            let marks = register.map_or(Vec::new(), |register| register.marks);
            (marks, stage.stage, stage.tally, stage.since, stage.too_little_data)
        };
        pupils.iter().map(state).collect()
    }
}

fn item_of(run: &Run, pupils: &[String]) -> pb::SessionItem {
    let date = crate::common::day("2025-09-01") + chrono::Days::new(run.day);
    pb::SessionItem {
        pupil: Some(by_id(&pupils[run.pupil])),
        first_session: Some(at(&date.to_string(), "AM")),
        marks: run.marks.clone(),
        ..pb::SessionItem::default()
    }
}

fn check<S: Strategy>(strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config).run(strategy, test).unwrap();
}

#[test]
fn the_order_of_the_items_of_a_batch_decides_nothing() {
    let rig = Rig::new();
    let batches =
        prop::collection::vec(run(), 1..12).prop_flat_map(|runs| (Just(runs.clone()), Just(runs).prop_shuffle()));
    check(&batches, |(one, other)| {
        let (pupils_of_one, pupils_of_other) = (rig.pupils(), rig.pupils());
        let result_of_one = rig.record(one.iter().map(|run| item_of(run, &pupils_of_one)).collect());
        let result_of_other = rig.record(other.iter().map(|run| item_of(run, &pupils_of_other)).collect());
        let counts = |result: &pb::SessionBatchResult| (result.accepted, result.rejected, result.marks_new);
        prop_assert_eq!(counts(&result_of_one), counts(&result_of_other));
        prop_assert_eq!(rig.states(&pupils_of_one), rig.states(&pupils_of_other));
        Ok(())
    });
}

#[test]
fn how_marks_are_batched_decides_nothing() {
    let rig = Rig::new();
    // Runs one after the other, and the same marks as one run a pupil: the last write of each session wins.
    check(&prop::collection::vec(run(), 1..8), |runs| {
        let (piecemeal, at_once) = (rig.pupils(), rig.pupils());
        let mut whole = vec![vec![0; 200]; PUPILS];
        for run in &runs {
            let result = rig.record(vec![item_of(run, &piecemeal)]);
            prop_assert_eq!(result.rejected, 0);
            let first = 2 * run.day as usize;
            for (place, mark) in run.marks.iter().enumerate().filter(|(_, mark)| **mark != 0) {
                whole[run.pupil][first + place] = *mark;
            }
        }
        let items: Vec<_> = (0..PUPILS)
            .filter(|pupil| whole[*pupil].iter().any(|mark| *mark != 0))
            .map(|pupil| Run {
                pupil,
                day: 0,
                marks: whole[pupil].clone(),
            })
            .map(|run| item_of(&run, &at_once))
            .collect();
        rig.record(items);
        prop_assert_eq!(rig.states(&piecemeal), rig.states(&at_once));
        Ok(())
    });
}

#[test]
fn the_same_batch_again_changes_nothing() {
    let rig = Rig::new();
    check(&run(), |run| {
        let pupils = rig.pupils();
        let first = rig.record(vec![item_of(&run, &pupils)]);
        let before = rig.states(&pupils);
        let again = rig.record(vec![item_of(&run, &pupils)]);
        prop_assert_eq!((again.unchanged, again.marks_new, again.marks_corrected), (1, 0, 0));
        prop_assert_eq!(again.marks_unchanged, first.marks_new);
        prop_assert_eq!(rig.states(&pupils), before);
        Ok(())
    });
}
