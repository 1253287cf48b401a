//! The database as an operator, an auditor and a person who queries by hand see it.

mod action_plans;
mod migrations;
mod plans;
mod tenancy;
mod upgrade;
mod views;

use graduated_response::proto as pb;
use tokio_postgres::Client;

use super::common::World;
use super::common::world::{at, by_id, correction, enrolment, item, pb_date, person, pupil_input, school_days};

/// A world with two trusts, each of which has a row in every table: their UUIDs.
async fn world_of_two_trusts() -> (World, [String; 2]) {
    let mut world = World::on("2025-10-01").await;
    let trusts = [world.trust_id.clone(), world.new_trust("Elm").await];
    for trust in &trusts {
        world.trust_id.clone_from(trust);
        world.school("100001").await;
        let pupil = pb::PupilInput {
            upn: "Q999100125001".into(),
            ..pupil_input("a", &[enrolment("100001", pb::EnrolmentKind::Sole, "2025-09-01", "")])
        };
        let pupil = world.upsert(vec![pupil]).await.unwrap().pupil_ids.remove(0);
        let absent = school_days("2025-09-01", "2025-09-26", "O", "O");
        world
            .try_record(vec![item(&pupil, at("2025-09-01", "AM"), &absent)])
            .await
            .unwrap();
        world.record(&pupil, at("2025-09-01", "AM"), "I").await;
        let action = world.actions_of(&pupil).await.remove(0);
        let begin = pb::ProgressActionRequest {
            trust_id: trust.clone(),
            name: action.name,
            etag: action.etag,
            to_state: pb::ActionState::InProgress.into(),
            recorded_by: Some(person()),
            ..pb::ProgressActionRequest::default()
        };
        world.actions().progress_action(begin).await.unwrap();
        keep_a_plan(&world, &pupil).await;
        let standing = pb::ReviewUniversalProvisionRequest {
            trust_id: trust.clone(),
            school: "100001".into(),
            provision_id: "U-01".into(),
            etag: "\"0\"".into(),
            status: pb::UniversalStatus::Partly.into(),
            recorded_by: Some(person()),
            ..pb::ReviewUniversalProvisionRequest::default()
        };
        world.actions().review_universal_provision(standing).await.unwrap();
        let notice = pb::RecordPenaltyNoticeRequest {
            trust_id: trust.clone(),
            pupil: Some(by_id(&pupil)),
            issued_on: Some(pb_date("2025-09-30")),
            recorded_by: Some(person()),
            ..pb::RecordPenaltyNoticeRequest::default()
        };
        world.stages().record_penalty_notice(notice).await.unwrap();
        world.hold(&pupil, pb::Stage::Five, "2025-10-31").await;
        let policy = world.policy(pb::PolicySettings::default()).await;
        world.activate(policy, "").await;
        let calendar = pb::UpdateCalendarRequest {
            trust_id: trust.clone(),
            all_schools: true,
            terms: vec![pb::CalendarTerm {
                name: "autumn".into(),
                first_day: Some(pb_date("2025-09-01")),
                last_day: Some(pb_date("2025-12-19")),
            }],
            ..pb::UpdateCalendarRequest::default()
        };
        world.admin().update_calendar(calendar).await.unwrap();
        let other = world.pupil_enrolled("b", &[]).await;
        world.merge(&pupil, &other).await;
        keep_for_a_time(&world, &pupil).await;
        // The school has marks that an upload of none of them would take away: it waits.
        let header = pb::ReconciliationHeader {
            trust_id: trust.clone(),
            school: "100001".into(),
            from_date: Some(pb_date("2025-09-01")),
            to_date: Some(pb_date("2025-09-26")),
            correction: Some(correction("nightly")),
            ..pb::ReconciliationHeader::default()
        };
        let part = pb::reconcile_registers_request::Part::Header(header);
        let messages = vec![pb::ReconcileRegistersRequest { part: Some(part) }];
        let messages = futures::stream::iter(messages);
        let answer = world.sessions().reconcile_registers(messages).await.unwrap();
        let found = answer.into_inner().reconciliation.unwrap();
        assert_eq!(found.state(), pb::ReconciliationState::AwaitingApproval);
    }
    (world, trusts)
}

/// Sets for how long the trust keeps what it records, places a legal hold on a pupil and lifts it, and erases what was written.
async fn keep_for_a_time(world: &World, pupil: &str) {
    let trust_id = || world.trust_id.clone();
    let years = pb::UpdateRetentionRequest {
        trust_id: trust_id(),
        years: Some(pb::RetentionYears {
            registers: 7,
            history: 7,
            ..pb::RetentionYears::default()
        }),
        reason: "the trust's schedule".into(),
        updated_by: Some(person()),
        etag: String::new(),
    };
    world.admin().update_retention(years).await.unwrap();
    let placed = pb::PlaceLegalHoldRequest {
        trust_id: trust_id(),
        pupil: Some(by_id(pupil)),
        reason: "a case".into(),
        placed_by: Some(person()),
        request_id: String::new(),
    };
    let placed = world.admin().place_legal_hold(placed).await.unwrap().into_inner();
    let lift = pb::LiftLegalHoldRequest {
        trust_id: trust_id(),
        legal_hold_id: placed.legal_hold.unwrap().legal_hold_id,
        reason: "it is over".into(),
        lifted_by: Some(person()),
    };
    world.admin().lift_legal_hold(lift).await.unwrap();
    let erase = pb::ErasePupilRequest {
        trust_id: trust_id(),
        pupil: Some(by_id(pupil)),
        scope: pb::ErasureScope::FreeText.into(),
        reason: "asked for by the family".into(),
        erased_by: Some(person()),
        ..pb::ErasePupilRequest::default()
    };
    world.admin().erase_pupil(erase).await.unwrap();
}

/// Makes a plan of support for a pupil, and reviews its first cycle.
async fn keep_a_plan(world: &World, pupil: &str) {
    let cycle = |aims: &[&str]| pb::PlanCycleInput {
        aims: aims
            .iter()
            .map(|aim| pb::PlanAim {
                aim: (*aim).into(),
                ..pb::PlanAim::default()
            })
            .collect(),
        review_on: Some(pb_date("2025-11-28")),
        ..pb::PlanCycleInput::default()
    };
    let request = pb::CreatePlanRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(pupil)),
        cycle: Some(cycle(&["mornings"])),
        recorded_by: Some(person()),
        ..pb::CreatePlanRequest::default()
    };
    let made = world.actions().create_plan(request).await.unwrap().into_inner();
    let made = made.plan.unwrap();
    let request = pb::ReviewPlanRequest {
        trust_id: world.trust_id.clone(),
        plan_id: made.plan_id,
        etag: made.etag,
        found: "better".into(),
        decision: pb::PlanDecision::Continue.into(),
        next_cycle: Some(cycle(&[])),
        recorded_by: Some(person()),
        ..pb::ReviewPlanRequest::default()
    };
    world.actions().review_plan(request).await.unwrap();
}

/// The relations of the service's schema of these kinds that have a trust, in order: `r` is a table, `v` a view.
async fn with_trust(owner: &Client, kinds: &str) -> Vec<String> {
    let rows = owner
        .query(
            "SELECT relname::text FROM pg_class
             WHERE relnamespace = 'public'::regnamespace AND position(relkind::text IN $1) > 0
                 AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'trust_id')
             ORDER BY relname",
            &[&kinds],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn count(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap().get(0)
}
