//! How far what is required has come, and what is missing.

use super::*;

async fn coverage_of(world: &World, pupil: &str) -> pb::GetPupilCoverageResponse {
    let request = pb::GetPupilCoverageRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(pupil)),
    };
    world.actions().get_pupil_coverage(request).await.unwrap().into_inner()
}

async fn summary(
    world: &World,
    change: impl FnOnce(&mut pb::SummarizeCoverageRequest),
) -> Result<pb::SummarizeCoverageResponse, Status> {
    let mut request = pb::SummarizeCoverageRequest {
        trust_id: world.trust_id.clone(),
        ..pb::SummarizeCoverageRequest::default()
    };
    change(&mut request);
    Ok(world.actions().summarize_coverage(request).await?.into_inner())
}

async fn missing(
    world: &World,
    change: impl FnOnce(&mut pb::ListMissingProvisionRequest),
) -> Result<pb::ListMissingProvisionResponse, Status> {
    let mut request = pb::ListMissingProvisionRequest {
        trust_id: world.trust_id.clone(),
        page_size: 1000,
        ..pb::ListMissingProvisionRequest::default()
    };
    change(&mut request);
    Ok(world.actions().list_missing_provision(request).await?.into_inner())
}

/// In place, in progress, not begun, not applicable, cancelled, and required.
fn figures(counts: Option<&pb::CoverageCounts>) -> [i32; 6] {
    let counts = counts.unwrap();
    let of = |count: &Option<pb::Count>| {
        let count = count.as_ref().unwrap();
        if count.suppressed { -1 } else { count.value }
    };
    [
        of(&counts.in_place),
        of(&counts.in_progress),
        of(&counts.not_begun),
        of(&counts.not_applicable),
        of(&counts.cancelled),
        of(&counts.required),
    ]
}

#[tokio::test]
async fn a_pupils_coverage_is_of_what_the_stage_requires_now_and_of_nothing_else() {
    let (world, pupil) = world_with_pupil_at(3).await;
    let actions = world.actions_of(&pupil).await;
    for (action, to) in actions
        .iter()
        .zip([Completed, InProgress, NotApplicable, Cancelled, Completed])
    {
        progress(&world, step(&world, action, to, "as agreed")).await.unwrap();
    }
    let found = coverage_of(&world, &pupil).await;
    assert_eq!(
        (found.pupil_id.as_str(), found.stage()),
        (pupil.as_str(), pb::Stage::Three)
    );
    assert_eq!(figures(found.counts.as_ref()), [2, 1, 21, 1, 1, 26]);
    assert_eq!(found.counts.unwrap().in_place_percent, "8.0");
    let listed: Vec<pb::Action> = found
        .provisions
        .iter()
        .map(|found| found.action.clone().unwrap())
        .collect();
    assert_eq!(listed, world.actions_of(&pupil).await);
    let statuses: Vec<pb::CoverageStatus> = found.provisions[..6].iter().map(|found| found.status()).collect();
    use pb::CoverageStatus as Status;
    assert_eq!(
        statuses,
        [
            Status::InPlace,
            Status::InProgress,
            Status::NotApplicable,
            Status::Cancelled,
            Status::InPlace,
            Status::NotBegun
        ]
    );
    // 54 of 58: stage 1 requires its own alone.
    world.record_days(&pupil, "2025-09-29", "2025-10-09", "/", "\\").await;
    let found = coverage_of(&world, &pupil).await;
    assert_eq!(found.stage(), pb::Stage::One);
    assert_eq!(figures(found.counts.as_ref()), [2, 1, 3, 1, 1, 8]);
    // 78 of 82: back at U, which requires nothing of a single pupil.
    world.record_days(&pupil, "2025-10-10", "2025-10-27", "/", "\\").await;
    let found = coverage_of(&world, &pupil).await;
    assert_eq!((found.stage(), found.provisions), (pb::Stage::Universal, vec![]));
    assert_eq!(figures(found.counts.as_ref()), [0; 6]);
    let unknown = pb::GetPupilCoverageRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(&Uuid::new_v4().to_string())),
    };
    assert_eq!(
        refused(world.actions().get_pupil_coverage(unknown).await),
        (Code::NotFound, "NOT_FOUND".into(), vec![])
    );
}

/// Two schools, each with a pupil at each stage from 1 to 5, one that has left, and one without marks.
async fn two_schools() -> (World, Vec<String>) {
    use crate::common::world::enrolment;
    let world = World::on(TODAY).await;
    let mut pupils = Vec::new();
    for urn in ["100001", "100002"] {
        world.school(urn).await;
        for (place, missed) in MISSED_OF_FORTY.into_iter().enumerate() {
            let pupil = world.pupil(&format!("{urn}-{place}"), urn).await;
            attend_september(&world, &pupil, missed).await;
            pupils.push(pupil);
        }
        world.pupil(&format!("{urn}-new"), urn).await;
        let left = [enrolment(urn, pb::EnrolmentKind::Sole, "2025-09-01", "2025-09-26")];
        let left = world.pupil_enrolled(&format!("{urn}-left"), &left).await;
        attend_september(&world, &left, 21).await;
        assert_eq!(world.stage(&left).await.stage(), pb::Stage::Five);
    }
    (world, pupils)
}

/// What the pupils' own coverage adds up to, of the provisions that pass.
async fn added_up(world: &World, pupils: &[String], passes: impl Fn(&pb::Action) -> bool) -> [i32; 6] {
    let mut sums = [0; 6];
    for pupil in pupils {
        for found in coverage_of(world, pupil).await.provisions {
            if passes(found.action.as_ref().unwrap()) {
                sums[usize::try_from(found.status).unwrap() - 1] += 1;
                sums[5] += 1;
            }
        }
    }
    sums
}

#[tokio::test]
async fn a_schools_and_the_trusts_tables_add_up_what_is_required_of_the_pupils_on_roll() {
    let (world, pupils) = two_schools().await;
    for (number, pupil) in pupils.iter().enumerate() {
        for (action, to) in world.actions_of(pupil).await.iter().skip(number).step_by(4).zip([
            Completed,
            InProgress,
            NotApplicable,
            Completed,
            InProgress,
        ]) {
            if action.next_states().any(|next| next == to) {
                progress(&world, step(&world, action, to, "as agreed")).await.unwrap();
            }
        }
    }
    // One gets better, to stage 1: what stages 2 and 3 required is required no more.
    world
        .record_days(&pupils[2], "2025-09-29", "2025-10-09", "/", "\\")
        .await;
    let by_provision = summary(&world, |_| {}).await.unwrap();
    assert_eq!(by_provision.as_of, Some(pb_date(TODAY)));
    assert_eq!(by_provision.groups.len(), 40);
    for group in &by_provision.groups {
        let of = |action: &pb::Action| action.provision_id == group.provision_id;
        assert_eq!(
            figures(group.counts.as_ref()),
            added_up(&world, &pupils, of).await,
            "{}",
            group.provision_id
        );
        let id_stage: i32 = group.provision_id.split('-').next().unwrap().parse().unwrap();
        assert_eq!(group.stage, id_stage + 1);
        assert_ne!(group.title, "");
    }
    let order: Vec<&str> = by_provision
        .groups
        .iter()
        .map(|group| group.provision_id.as_str())
        .collect();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(order, sorted);
    let whole = added_up(&world, &pupils, |_| true).await;
    assert_eq!(figures(by_provision.whole.as_ref()), whole);

    let by_stage = summary(&world, |request| request.grouping = pb::CoverageGrouping::Stage.into())
        .await
        .unwrap();
    let stages: Vec<i32> = by_stage.groups.iter().map(|group| group.stage).collect();
    assert_eq!(stages, [2, 3, 4, 5, 6]);
    for group in &by_stage.groups {
        let of = |action: &pb::Action| action.stage == group.stage;
        assert_eq!(figures(group.counts.as_ref()), added_up(&world, &pupils, of).await);
    }
    assert_eq!(figures(by_stage.whole.as_ref()), whole);

    let of_three = |request: &mut pb::SummarizeCoverageRequest| {
        request.grouping = pb::CoverageGrouping::School.into();
        request.stages = vec![pb::Stage::Three.into()];
    };
    let by_school = summary(&world, of_three).await.unwrap();
    assert_eq!(by_school.groups.len(), 2);
    for (group, pupils) in by_school.groups.iter().zip(pupils.chunks(5)) {
        let of = |action: &pb::Action| action.stage() == pb::Stage::Three;
        assert_eq!(
            figures(group.counts.as_ref()),
            added_up(&world, pupils, of).await,
            "{}",
            group.urn
        );
    }
    assert_eq!(by_school.groups[0].school_name, "School 100001");

    let one_school = summary(&world, |request| request.school = "100002".into())
        .await
        .unwrap();
    let second = added_up(&world, &pupils[5..], |_| true).await;
    assert_eq!(figures(one_school.whole.as_ref()), second);
}

#[tokio::test]
async fn small_numbers_are_left_out_for_whoever_may_not_see_single_pupils() {
    let (world, pupils) = two_schools().await;
    let action = &world.actions_of(&pupils[4]).await[0];
    progress(&world, step(&world, action, Completed, "")).await.unwrap();
    let shown = summary(&world, |request| request.grouping = pb::CoverageGrouping::School.into())
        .await
        .unwrap();
    assert_eq!(shown.small_number_limit, 0);
    assert_eq!(figures(shown.groups[0].counts.as_ref()), [1, 0, 125, 0, 0, 126]);
    let suppressed = summary(&world, |request| {
        request.grouping = pb::CoverageGrouping::School.into();
        request.suppress_small_numbers = true;
    });
    let suppressed = suppressed.await.unwrap();
    assert_eq!(suppressed.small_number_limit, 6);
    let counts = suppressed.groups[0].counts.as_ref().unwrap();
    assert_eq!(figures(Some(counts))[0], -1);
    assert!(
        figures(Some(counts)).iter().filter(|count| **count == -1).count() > 1,
        "it would follow from its total"
    );
    assert_eq!(counts.in_place_percent, "");
}

#[tokio::test]
async fn a_summary_that_cannot_be_is_refused_by_field() {
    let (world, _) = world_with_pupil().await;
    let refusal = |answer: Result<pb::SummarizeCoverageResponse, Status>| refused(answer);
    assert_eq!(
        refusal(summary(&world, |request| request.grouping = 4).await),
        invalid("UNKNOWN_GROUPING", "grouping")
    );
    assert_eq!(
        refusal(summary(&world, |request| request.stages = vec![0]).await),
        invalid("UNKNOWN_STAGE", "stages[0]")
    );
    assert_eq!(
        refusal(summary(&world, |request| request.school = "x".into()).await),
        invalid("INVALID_URN", "school")
    );
    assert_eq!(
        refusal(summary(&world, |request| request.school = "100009".into()).await).0,
        Code::NotFound
    );
    assert_eq!(
        refused(missing(&world, |request| request.responsible_roles = vec![11]).await),
        invalid("UNKNOWN_ROLE", "responsible_roles[0]")
    );
    assert_eq!(
        refused(missing(&world, |request| request.school = "100009".into()).await).0,
        Code::NotFound
    );
}

#[tokio::test]
async fn what_is_missing_is_what_the_stage_requires_and_nobody_has_worked_on_the_longest_raised_first() {
    let world = World::on("2025-10-01").await;
    let schools = [world.school("100001").await, world.school("100002").await];
    let mut pupils = Vec::new();
    for (place, missed) in [21, 4, 2, 9].into_iter().enumerate() {
        world.turn_to(&format!("2025-10-{:02}", 8 - 2 * place));
        let pupil = world.pupil(&place.to_string(), &schools[place % 2]).await;
        attend_september(&world, &pupil, missed).await;
        pupils.push(pupil);
    }
    let left = [crate::common::world::enrolment(
        &schools[0],
        pb::EnrolmentKind::Sole,
        "2025-09-01",
        "2025-09-26",
    )];
    let left = world.pupil_enrolled("left", &left).await;
    attend_september(&world, &left, 4).await;
    world.turn_to(TODAY);
    let first = world.actions_of(&pupils[0]).await;
    // Work on one, and on another only a name and a date.
    add(&world, note(&world, &first[0].name, "Rang home.")).await.unwrap();
    let given = assign(&world, given_to(&world, &first[1], "entra:77")).await.unwrap();
    reschedule(&world, due_on(&world, &given, "2025-12-05")).await.unwrap();
    // One that may apply is said to apply.
    let second = world.actions_of(&pupils[1]).await;
    let conditional = second.iter().find(|action| action.state() == ToBeConsidered).unwrap();
    progress(&world, step(&world, conditional, Open, "")).await.unwrap();
    // The third gets better, to U; the fourth from stage 4 to stage 3.
    world
        .record_days(&pupils[2], "2025-09-29", "2025-10-03", "/", "\\")
        .await;
    world
        .record_days(&pupils[3], "2025-09-29", "2025-10-09", "/", "\\")
        .await;
    assert_eq!(world.stage(&pupils[3]).await.stage(), pb::Stage::Three);

    let expect = async |passes: &dyn Fn(usize, &pb::Action) -> bool| {
        let mut expected = Vec::new();
        for (place, pupil) in pupils.iter().enumerate() {
            let required = coverage_of(&world, pupil).await.provisions.into_iter();
            let actions = required.map(|found| found.action.unwrap());
            expected.extend(actions.filter(|action| action.begun_at.is_none() && passes(place, action)));
        }
        expected.sort_by_key(|action| {
            let name = (action.pupil_id.clone(), action.episode, action.provision_id.clone());
            (action.raised_at.unwrap().seconds / 86_400, name)
        });
        expected
    };
    let found = missing(&world, |_| {}).await.unwrap().missing;
    let actions: Vec<pb::Action> = found.iter().map(|found| found.action.clone().unwrap()).collect();
    let expected = expect(&|_, action| action.state() == Open).await;
    assert_eq!(names(&actions), names(&expected));
    assert_eq!(actions, expected);
    assert!(
        !actions
            .iter()
            .any(|action| action.name == first[0].name || action.pupil_id == left)
    );
    assert!(actions.iter().any(|action| action.name == first[1].name));
    assert!(actions.iter().any(|action| action.name == conditional.name));
    // From 2 October to 28 November.
    assert_eq!(found[0].days_waiting, 57);
    assert_eq!(found[0].action.as_ref().unwrap().pupil_id, pupils[3]);

    let all = missing(&world, |request| request.include_to_be_considered = true)
        .await
        .unwrap()
        .missing;
    let all: Vec<pb::Action> = all.into_iter().map(|found| found.action.unwrap()).collect();
    assert_eq!(all, expect(&|_, _| true).await);
    let of_trust = missing(&world, |request| {
        request.responsible_roles = vec![pb::ResponsibleRole::Trust.into()]
    });
    let of_trust: Vec<pb::Action> = of_trust
        .await
        .unwrap()
        .missing
        .into_iter()
        .map(|found| found.action.unwrap())
        .collect();
    let responsible = |_: usize, action: &pb::Action| {
        action.state() == Open
            && action
                .responsible_roles()
                .any(|role| role == pb::ResponsibleRole::Trust)
    };
    assert!(!of_trust.is_empty());
    assert_eq!(of_trust, expect(&responsible).await);
    // School by school and page by page, the same.
    let (mut paged, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = missing(&world, |request| {
            request.school = "100002".into();
            request.stages = vec![pb::Stage::One.into(), pb::Stage::Two.into()];
            request.page_size = 5;
            request.page_token.clone_from(&page_token);
        });
        let page = page.await.unwrap();
        paged.extend(page.missing.into_iter().map(|found| found.action.unwrap()));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let of_second = |place: usize, action: &pb::Action| {
        let stage = matches!(action.stage(), pb::Stage::One | pb::Stage::Two);
        place % 2 == 1 && stage && action.state() == Open
    };
    assert_eq!(paged, expect(&of_second).await);
}
