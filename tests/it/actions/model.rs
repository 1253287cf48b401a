//! The whole life of actions against a model: whatever people do in whatever order, and whatever the marks do meanwhile, the
//! service answers, keeps and tells what the model does.

use chrono::{Days, NaiveDate};
use graduated_response::grpc::convert::to_date;
use pb::ActionState::Withdrawn;
use pb::add_action_entry_request::Entry as Asked;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use super::*;
use crate::common::world::{day, enrolment, pupil_input};

/// The actions that are worked: one of stage 1, and of stage 3 one that always applies and one that may.
const PROVISIONS: [&str; 3] = ["1-02", "3-01", "3-06"];

/// What somebody does.
#[derive(Clone, Debug)]
enum Op {
    /// Moves an action.
    Move {
        action: usize,
        to: i32,
        reason: bool,
        stale: bool,
    },
    /// Gives it to one of three people, or to nobody.
    Assign { action: usize, to: usize, stale: bool },
    /// Gives it a due date, so many days after today.
    Reschedule { action: usize, days: i64, stale: bool },
    /// Records work of a kind.
    Work { action: usize, kind: usize },
    /// Sends the last request that was taken once more.
    Retry,
    /// Has the pupil absent on the last day or present: then stage 3 was never reached.
    LastDay { absent: bool },
}

fn op() -> impl Strategy<Value = Op> {
    let action = 0..PROVISIONS.len();
    let rarely = prop::bool::weighted(0.1);
    prop_oneof![
        6 => (action.clone(), 1..=7, prop::bool::weighted(0.7), rarely)
            .prop_map(|(action, to, reason, stale)| Op::Move { action, to, reason, stale }),
        2 => (action.clone(), 0usize..4, rarely)
            .prop_map(|(action, to, stale)| Op::Assign { action, to, stale }),
        2 => (action.clone(), -2i64..20, rarely)
            .prop_map(|(action, days, stale)| Op::Reschedule { action, days, stale }),
        3 => (action, 0usize..7).prop_map(|(action, kind)| Op::Work { action, kind }),
        1 => Just(Op::Retry),
        2 => any::<bool>().prop_map(|absent| Op::LastDay { absent }),
    ]
}

/// What the model knows of an action.
#[derive(Clone, Debug)]
struct Modelled {
    /// The state but for withdrawal.
    state: pb::ActionState,
    begun: bool,
    version: i64,
    assignee: Option<String>,
    due: Option<NaiveDate>,
    log: Vec<String>,
    /// Whether it is of the stage that may never have been reached.
    may_be_withdrawn: bool,
}

impl Modelled {
    fn state(&self, retracted: bool) -> pb::ActionState {
        let untouched = matches!(self.state, Open | ToBeConsidered) && !self.begun;
        if retracted && self.may_be_withdrawn && untouched {
            Withdrawn
        } else {
            self.state
        }
    }

    /// Whether a state may be moved to another, and whether a reason is needed: the table, written down once more.
    fn allowed(from: pb::ActionState, to: pb::ActionState) -> Option<bool> {
        Some(match (from, to) {
            (ToBeConsidered, Open | InProgress) => false,
            (Open, InProgress | Completed) => false,
            (InProgress, Completed) => false,
            (ToBeConsidered, NotApplicable) => true,
            (Open | InProgress, NotApplicable | Cancelled) => true,
            (Completed | NotApplicable | Cancelled | Withdrawn, Open) => true,
            _ => return None,
        })
    }

    fn is_ended(state: pb::ActionState) -> bool {
        matches!(state, Completed | NotApplicable | Cancelled | Withdrawn)
    }
}

fn told(state: pb::ActionState) -> String {
    word(state.as_str_name(), "ACTION_STATE_")
}

fn person_of(number: usize) -> Option<String> {
    (number > 0).then(|| format!("entra:{number}"))
}

/// Work of each kind, with its name in the log.
fn work_of(kind: usize) -> (&'static str, Asked) {
    let text = || "done".to_owned();
    match kind {
        0 => ("note", Asked::Note(pb::Note { text: text() })),
        1 => (
            "contact",
            Asked::Contact(pb::Contact {
                party: 2,
                method: 1,
                outcome: 1,
                ..pb::Contact::default()
            }),
        ),
        2 => (
            "meeting",
            Asked::Meeting(pb::Meeting {
                attendees: vec![pb::Attendee {
                    party: 2,
                    person_name: String::new(),
                }],
                summary: text(),
                held_on: None,
            }),
        ),
        3 => (
            "letter",
            Asked::Letter(pb::Letter {
                recipient: text(),
                subject: text(),
                ..pb::Letter::default()
            }),
        ),
        4 => (
            "referral",
            Asked::Referral(pb::Referral {
                agency: 1,
                status: 1,
                ..pb::Referral::default()
            }),
        ),
        5 => (
            "evidence",
            Asked::Evidence(pb::Evidence {
                source: 1,
                identifier: text(),
                ..pb::Evidence::default()
            }),
        ),
        _ => (
            "review",
            Asked::Review(pb::Review {
                found: text(),
                decided: text(),
                ..pb::Review::default()
            }),
        ),
    }
}

/// A request that was taken, with its answer.
enum Taken {
    Progress(pb::ProgressActionRequest, pb::Action),
    Assign(pb::AssignActionRequest, pb::Action),
    Reschedule(pb::RescheduleActionRequest, pb::Action),
    Add(pb::AddActionEntryRequest, Box<pb::AddActionEntryResponse>),
}

/// A pupil in the service and in the model.
struct Life<'a> {
    world: &'a World,
    pupil: String,
    actions: Vec<Modelled>,
    retracted: bool,
    last: Option<Taken>,
}

impl<'a> Life<'a> {
    async fn begin(world: &'a World, school: &str) -> Life<'a> {
        let on_roll = [enrolment(school, pb::EnrolmentKind::Sole, "2025-09-01", "")];
        let name = Uuid::new_v4().to_string();
        let pupil = world
            .upsert(vec![pupil_input(&name, &on_roll)])
            .await
            .unwrap()
            .pupil_ids
            .remove(0);
        world.record_days(&pupil, "2025-09-01", "2025-09-24", "/", "\\").await;
        world.record_days(&pupil, "2025-09-25", "2025-09-26", "O", "O").await;
        let actions = world.actions_of(&pupil).await;
        let actions = PROVISIONS.map(|provision| {
            let raised = actions.iter().find(|action| action.provision_id == provision).unwrap();
            Modelled {
                state: if raised.condition() == pb::ProvisionCondition::Always {
                    Open
                } else {
                    ToBeConsidered
                },
                begun: false,
                version: 0,
                assignee: None,
                due: None,
                log: Vec::new(),
                may_be_withdrawn: provision.starts_with('3'),
            }
        });
        Life {
            world,
            pupil,
            actions: actions.to_vec(),
            retracted: false,
            last: None,
        }
    }

    fn name(&self, action: usize) -> String {
        format!("pupils/{}/episodes/1/actions/{}", self.pupil, PROVISIONS[action])
    }

    /// The action as a caller names it who has read it; or who has read it before the last change.
    fn read(&self, action: usize, stale: bool) -> pb::Action {
        let version = self.actions[action].version + i64::from(stale);
        pb::Action {
            name: self.name(action),
            etag: format!("\"{version}\""),
            ..pb::Action::default()
        }
    }

    async fn apply(&mut self, op: &Op) {
        let retracted = self.retracted;
        let request_id = Uuid::new_v4().to_string();
        match *op {
            Op::Move {
                action,
                to,
                reason,
                stale,
            } => {
                let to = pb::ActionState::try_from(to).unwrap();
                let asked = pb::ProgressActionRequest {
                    request_id,
                    ..step(
                        self.world,
                        &self.read(action, stale),
                        to,
                        if reason { "as agreed" } else { "" },
                    )
                };
                let answer = progress(self.world, asked.clone()).await;
                let model = &mut self.actions[action];
                let from = model.state(retracted);
                let refusal = match (stale, Modelled::allowed(from, to)) {
                    (true, _) => Some("STALE_ETAG"),
                    (false, None) => Some("ILLEGAL_MOVE"),
                    (false, Some(needs_reason)) => (needs_reason && !reason).then_some("MISSING_REASON"),
                };
                match refusal {
                    Some(reason) => assert_eq!(refused(answer).1, reason),
                    None => {
                        model.begun |= matches!(to, InProgress | Completed) || from == Withdrawn;
                        model.state = to;
                        model.version += 1;
                        model.log.push(format!("{} -> {}", told(from), told(to)));
                        self.last = Some(Taken::Progress(asked, answer.unwrap()));
                    }
                }
            }
            Op::Assign { action, to, stale } => {
                let to = person_of(to);
                let mut asked = given_to(self.world, &self.read(action, stale), to.as_deref().unwrap_or_default());
                asked.assignee = asked.assignee.filter(|_| to.is_some());
                asked.request_id = request_id;
                let answer = assign(self.world, asked.clone()).await;
                let model = &mut self.actions[action];
                if stale {
                    assert_eq!(refused(answer).1, "STALE_ETAG");
                } else if Modelled::is_ended(model.state(retracted)) {
                    assert_eq!(refused(answer).1, "ACTION_ENDED");
                } else {
                    if model.assignee != to {
                        model.version += 1;
                        model.log.push(format!("to {to:?}"));
                        model.assignee = to;
                    }
                    self.last = Some(Taken::Assign(asked, answer.unwrap()));
                }
            }
            Op::Reschedule { action, days, stale } => {
                let today = day(TODAY);
                let due = if days < 0 {
                    today - Days::new(days.unsigned_abs())
                } else {
                    today + Days::new(days.unsigned_abs())
                };
                let mut asked = due_on(self.world, &self.read(action, stale), TODAY);
                asked.due_on = Some(to_date(due));
                asked.request_id = request_id;
                let answer = reschedule(self.world, asked.clone()).await;
                let model = &mut self.actions[action];
                if stale {
                    assert_eq!(refused(answer).1, "STALE_ETAG");
                } else if due < today {
                    assert_eq!(refused(answer).1, "IN_PAST");
                } else if Modelled::is_ended(model.state(retracted)) {
                    assert_eq!(refused(answer).1, "ACTION_ENDED");
                } else {
                    model.version += 1;
                    model.due = Some(due);
                    model.log.push(format!("due {due}"));
                    self.last = Some(Taken::Reschedule(asked, answer.unwrap()));
                }
            }
            Op::Work { action, kind } => {
                let (what, work) = work_of(kind);
                let mut asked = record(self.world, &self.name(action), work);
                asked.request_id = request_id;
                let answer = add(self.world, asked.clone()).await.unwrap();
                let model = &mut self.actions[action];
                let from = model.state(retracted);
                if matches!(from, Open | ToBeConsidered) {
                    model.state = InProgress;
                    model.log.push(format!("{} -> in_progress", told(from)));
                }
                model.begun |= from != Withdrawn;
                model.version += 1;
                model.log.push(what.to_owned());
                self.last = Some(Taken::Add(asked, Box::new(answer)));
            }
            Op::Retry => match &self.last {
                None => {}
                Some(Taken::Progress(asked, first)) => {
                    assert_eq!(progress(self.world, asked.clone()).await.unwrap(), *first);
                }
                Some(Taken::Assign(asked, first)) => {
                    assert_eq!(assign(self.world, asked.clone()).await.unwrap(), *first);
                }
                Some(Taken::Reschedule(asked, first)) => {
                    assert_eq!(reschedule(self.world, asked.clone()).await.unwrap(), *first);
                }
                Some(Taken::Add(asked, first)) => {
                    assert_eq!(add(self.world, asked.clone()).await.unwrap(), **first);
                }
            },
            Op::LastDay { absent } => {
                let run = if absent { "O O" } else { "/ \\" };
                self.world.record(&self.pupil, at("2025-09-26", "AM"), run).await;
                self.retracted = !absent;
            }
        }
    }

    /// The service shows what the model knows.
    async fn compare(&self) {
        for (place, model) in self.actions.iter().enumerate() {
            let action = get(self.world, &self.world.trust_id, &self.name(place)).await.unwrap();
            let state = model.state(self.retracted);
            assert_eq!(action.state(), state);
            assert_eq!(action.etag, format!("\"{}\"", model.version));
            assert_eq!(action.begun_at.is_some(), model.begun);
            assert_eq!(action.assignee.map(|who| who.person_id), model.assignee);
            assert_eq!(action.due_on, model.due.map(to_date));
            let never_reached = self.retracted && model.may_be_withdrawn;
            assert_eq!(action.never_reached, never_reached);
            assert_eq!(action.no_longer_required, never_reached && !Modelled::is_ended(state));
        }
    }

    async fn compare_logs(&self) {
        use pb::action_entry::Entry as Kept;
        for (place, model) in self.actions.iter().enumerate() {
            let entries = log(self.world, &self.name(place)).await.into_iter();
            let lines = entries.map(|entry| match entry.entry.unwrap() {
                Kept::StateChange(change) => format!("{} -> {}", told(change.from_state()), told(change.to_state())),
                Kept::AssignmentChange(change) => format!("to {:?}", change.to_assignee.map(|who| who.person_id)),
                Kept::DueDateChange(change) => {
                    let to = change.to_date.unwrap();
                    format!("due {:04}-{:02}-{:02}", to.year, to.month, to.day)
                }
                Kept::Note(_) => "note".into(),
                Kept::Contact(_) => "contact".into(),
                Kept::Meeting(_) => "meeting".into(),
                Kept::Letter(_) => "letter".into(),
                Kept::Referral(_) => "referral".into(),
                Kept::Evidence(_) => "evidence".into(),
                Kept::Review(_) => "review".into(),
                Kept::PlanChange(_) => "plan".into(),
            });
            assert_eq!(lines.collect::<Vec<String>>(), model.log, "{}", PROVISIONS[place]);
        }
    }
}

#[test]
fn whatever_people_do_and_marks_say_an_action_is_where_the_model_has_it() {
    let runtime = Runtime::new().unwrap();
    let (world, school) = runtime.block_on(async {
        let world = World::on(TODAY).await;
        let school = world.school("100001").await;
        (world, school)
    });
    let config = Config {
        cases: 32,
        failure_persistence: None,
        ..Config::default()
    };
    let ops = prop::collection::vec(op(), 1..30);
    TestRunner::new(config)
        .run(&ops, |ops| {
            runtime.block_on(async {
                let mut life = Life::begin(&world, &school).await;
                for op in &ops {
                    life.apply(op).await;
                    life.compare().await;
                }
                life.compare_logs().await;
            });
            Ok(())
        })
        .unwrap();
}
