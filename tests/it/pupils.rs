//! Pupils and their enrolments, as callers see them.

mod refusals;

use graduated_response::proto as pb;
use graduated_response::service::Limits;
use pb::EnrolmentKind::{Main, Sole, Subsidiary, Unspecified};
use prost_types::FieldMask;
use tonic::{Code, Status};
use uuid::Uuid;

use super::common::world::{by_id, by_name, enrolment, pb_date, pupil_input};
use super::common::{World, at, refused};

const PERMANENT: &str = "Q999100125001";
const ANOTHER: &str = "E999100125002";
const TEMPORARY: &str = "B99910012500A";

fn with_upn(upn: &str, name: &str) -> pb::PupilInput {
    pb::PupilInput {
        upn: upn.into(),
        ..pupil_input(name, &[])
    }
}

fn by_upn(upn: &str) -> pb::PupilKey {
    pb::PupilKey {
        key: Some(pb::pupil_key::Key::Upn(upn.into())),
    }
}

fn reasons(answer: &pb::BatchUpsertPupilsResponse) -> Vec<(i32, &str, &str)> {
    let rejections = answer.rejections.iter();
    rejections
        .map(|found| (found.item_index, found.field.as_str(), found.reason.as_str()))
        .collect()
}

fn warnings(answer: &pb::BatchUpsertPupilsResponse) -> Vec<&str> {
    answer.warnings.iter().map(|warning| warning.reason.as_str()).collect()
}

async fn get(world: &World, trust_id: &str, key: pb::PupilKey) -> Result<pb::Pupil, Status> {
    let request = pb::GetPupilRequest {
        trust_id: trust_id.into(),
        pupil: Some(key),
    };
    Ok(world.pupils().get_pupil(request).await?.into_inner().pupil.unwrap())
}

async fn create(world: &World, pupil: pb::PupilInput) -> Result<pb::CreatePupilResponse, Status> {
    let request = pb::CreatePupilRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(pupil),
    };
    Ok(world.pupils().create_pupil(request).await?.into_inner())
}

async fn update(world: &World, pupil: &pb::Pupil, paths: &[&str]) -> Result<pb::UpdatePupilResponse, Status> {
    let request = pb::UpdatePupilRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(pupil.clone()),
        update_mask: Some(FieldMask {
            paths: paths.iter().map(ToString::to_string).collect(),
        }),
    };
    Ok(world.pupils().update_pupil(request).await?.into_inner())
}

async fn listed(world: &World, school: &str) -> Vec<String> {
    let request = pb::ListPupilsRequest {
        trust_id: world.trust_id.clone(),
        school: school.into(),
        ..pb::ListPupilsRequest::default()
    };
    let answer = world.pupils().list_pupils(request).await.unwrap().into_inner();
    answer.pupils.into_iter().map(|pupil| pupil.pupil_id).collect()
}

#[tokio::test]
async fn a_pupil_comes_back_as_it_was_sent_under_each_of_its_identifiers() {
    let world = World::on("2026-01-12").await;
    let school = world.school("100001").await;
    let sent = pb::PupilInput {
        upn: format!(" {} ", PERMANENT.to_lowercase()),
        date_of_birth: Some(pb_date("2014-05-06")),
        year_group: pb::YearGroup::YearGroup6.into(),
        enrolments: vec![enrolment("100001", Unspecified, "2025-09-01", "")],
        ..pupil_input("a", &[])
    };
    let created = create(&world, sent.clone()).await.unwrap();
    let pupil = created.pupil.unwrap();
    assert_eq!(created.warnings, []);
    assert_eq!(
        (pupil.upn.as_str(), &pupil.mis_identifiers),
        (PERMANENT, &sent.mis_identifiers)
    );
    assert_eq!(
        (&pupil.given_name, &pupil.family_name),
        (&sent.given_name, &sent.family_name)
    );
    assert_eq!(
        (pupil.date_of_birth, pupil.year_group),
        (sent.date_of_birth, sent.year_group)
    );
    let expected = pb::Enrolment {
        enrolment_id: pupil.enrolments[0].enrolment_id.clone(),
        ..enrolment(&school, Sole, "2025-09-01", "")
    };
    assert_eq!(pupil.enrolments, [expected]);
    for key in [by_id(&pupil.pupil_id), by_upn(PERMANENT), by_name("a")] {
        assert_eq!(get(&world, &world.trust_id, key).await.unwrap(), pupil);
    }
}

#[tokio::test]
async fn another_trusts_pupil_is_as_unknown_as_one_that_never_was() {
    let world = World::on("2026-01-12").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    let other = world.new_trust("Elm").await;
    let nobodys = get(&world, &other, by_id(&Uuid::new_v4().to_string()))
        .await
        .unwrap_err();
    assert_eq!(nobodys.code(), Code::NotFound);
    for key in [by_id(&pupil), by_name("a")] {
        let theirs = get(&world, &other, key).await.unwrap_err();
        assert_eq!(
            (theirs.message(), theirs.details()),
            (nobodys.message(), nobodys.details())
        );
    }
}

#[tokio::test]
async fn a_batch_says_of_each_item_what_became_of_it() {
    let world = World::on("2026-01-12").await;
    world.school("100001").await;
    let on_roll = |name: &str, urn: &str| pupil_input(name, &[enrolment(urn, Sole, "2025-09-01", "")]);
    world
        .upsert(vec![on_roll("a", "100001"), on_roll("b", "100001")])
        .await
        .unwrap();
    let mut renamed = on_roll("b", "100001");
    renamed.given_name = "Grace".into();
    let mut backwards = on_roll("f", "100001");
    backwards.enrolments[0].end_date = Some(pb_date("2025-08-31"));
    let mut undated = on_roll("g", "100001");
    undated.enrolments[0].start_date = None;
    let mut unborn = on_roll("h", "100001");
    unborn.date_of_birth = Some(pb_date("2026-01-13"));
    let mut nameless = on_roll("i", "100001");
    nameless.mis_identifiers.clear();
    let items = vec![
        on_roll("a", "100001"),
        renamed,
        on_roll("c", "100001"),
        on_roll("c", "100001"),
        on_roll("d", "100009"),
        with_upn("Q99910012500", "e"),
        backwards,
        undated,
        unborn,
        nameless,
    ];
    let answer = world.upsert(items).await.unwrap();
    assert_eq!(
        (answer.unchanged, answer.updated, answer.created, answer.rejected),
        (1, 1, 1, 7)
    );
    assert_eq!(
        reasons(&answer),
        [
            (3, "mis_identifiers[0]", "DUPLICATE_ITEM"),
            (4, "enrolments[0].school", "UNKNOWN_SCHOOL"),
            (5, "upn", "INVALID_UPN"),
            (6, "enrolments[0].end_date", "INVALID_DATE_RANGE"),
            (7, "enrolments[0].start_date", "ENROLMENT_WITHOUT_START"),
            (8, "date_of_birth", "INVALID_DATE"),
            (9, "upn", "MISSING_IDENTIFIER"),
        ]
    );
    let taken: Vec<bool> = answer.pupil_ids.iter().map(|id| !id.is_empty()).collect();
    assert_eq!(
        taken,
        [true, true, true, false, false, false, false, false, false, false]
    );
    assert_eq!(listed(&world, "").await.len(), 3);
}

#[tokio::test]
async fn all_or_nothing_takes_nothing_where_one_item_is_wrong() {
    let world = World::on("2026-01-12").await;
    let request = pb::BatchUpsertPupilsRequest {
        trust_id: world.trust_id.clone(),
        pupils: vec![pupil_input("a", &[]), pb::PupilInput::default()],
        all_or_nothing: true,
        ..pb::BatchUpsertPupilsRequest::default()
    };
    let (code, reason, fields) = refused(world.pupils().batch_upsert_pupils(request).await);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "BATCH_REJECTED"));
    assert!(fields[0].ends_with("[1].upn"), "{fields:?}");
    assert!(listed(&world, "").await.is_empty());
}

#[tokio::test]
async fn a_batch_of_no_pupils_or_of_too_many_is_refused() {
    let limits = Limits {
        pupil_items_max: 2,
        ..Limits::default()
    };
    let world = World::with_limits("2026-01-12", limits).await;
    let pupils = |count: usize| (0..count).map(|number| pupil_input(&number.to_string(), &[])).collect();
    for (count, reason) in [(0, "EMPTY_BATCH"), (3, "BATCH_TOO_LARGE")] {
        let found = refused(world.upsert(pupils(count)).await);
        assert_eq!(found, (Code::InvalidArgument, reason.into(), vec!["pupils".into()]));
    }
    assert_eq!(world.upsert(pupils(2)).await.unwrap().created, 2);
}

#[tokio::test]
async fn a_retry_under_the_same_request_id_is_answered_as_the_first_time() {
    let world = World::on("2026-01-12").await;
    let request = pb::BatchUpsertPupilsRequest {
        trust_id: world.trust_id.clone(),
        request_id: Uuid::new_v4().to_string(),
        pupils: vec![with_upn("A999100125001", "a"), pb::PupilInput::default()],
        all_or_nothing: false,
    };
    let first = world
        .pupils()
        .batch_upsert_pupils(request.clone())
        .await
        .unwrap()
        .into_inner();
    let mut again = world
        .pupils()
        .batch_upsert_pupils(request.clone())
        .await
        .unwrap()
        .into_inner();
    let receipt = again.receipt.as_mut().unwrap();
    assert!(std::mem::take(&mut receipt.replayed));
    assert_eq!(
        (again, first.created, warnings(&first)),
        (first.clone(), 1, vec!["UPN_CHECK_LETTER"])
    );
    let mut other = request;
    other.pupils.pop();
    let found = refused(world.pupils().batch_upsert_pupils(other).await);
    assert_eq!(
        found,
        (
            Code::InvalidArgument,
            "REQUEST_ID_REUSED".into(),
            vec!["request_id".into()]
        )
    );
}

#[tokio::test]
async fn batches_with_the_same_new_pupils_at_once_make_each_pupil_once() {
    let world = World::on("2026-01-12").await;
    world.school("100001").await;
    let enrolled = [enrolment("100001", Sole, "2025-09-01", "")];
    let pupils: Vec<_> = (0..200)
        .map(|number| pupil_input(&number.to_string(), &enrolled))
        .collect();
    let mut reversed = pupils.clone();
    reversed.reverse();
    let (one, other) = tokio::join!(world.upsert(pupils.clone()), world.upsert(reversed));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.created + other.created, 200);
    assert_eq!(one.unchanged + other.unchanged, 200);
    assert_eq!(one.pupil_ids, other.pupil_ids.into_iter().rev().collect::<Vec<_>>());
    assert_eq!(world.upsert(pupils).await.unwrap().unchanged, 200);
}

#[tokio::test]
async fn a_permanent_upn_takes_the_place_of_a_temporary_one_which_still_finds_the_pupil() {
    let world = World::on("2026-01-12").await;
    let first = world.upsert(vec![with_upn(TEMPORARY, "a")]).await.unwrap();
    let second = world.upsert(vec![with_upn(PERMANENT, "a")]).await.unwrap();
    assert_eq!((second.updated, &second.pupil_ids), (1, &first.pupil_ids));
    assert_eq!(warnings(&second), ["UPN_REPLACED"]);
    for upn in [TEMPORARY, PERMANENT] {
        let found = get(&world, &world.trust_id, by_upn(upn)).await.unwrap();
        assert_eq!((found.upn.as_str(), &found.pupil_id), (PERMANENT, &first.pupil_ids[0]));
    }
    // A system that has not heard of it sends the old one.
    let third = world.upsert(vec![with_upn(TEMPORARY, "a")]).await.unwrap();
    assert_eq!((third.unchanged, warnings(&third)), (1, vec!["UPN_NOT_REPLACED"]));
}

#[tokio::test]
async fn identifiers_of_two_pupils_in_one_item_are_a_conflict() {
    let world = World::on("2026-01-12").await;
    world
        .upsert(vec![with_upn(PERMANENT, "a"), with_upn(ANOTHER, "b")])
        .await
        .unwrap();
    let answer = world.upsert(vec![with_upn(PERMANENT, "b")]).await.unwrap();
    assert_eq!(reasons(&answer), [(0, "mis_identifiers[0]", "IDENTIFIER_CONFLICT")]);
}

#[tokio::test]
async fn what_an_item_leaves_out_stays_as_it_is() {
    let world = World::on("2026-01-12").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    let before = get(&world, &world.trust_id, by_id(&pupil)).await.unwrap();
    let mut bare = pupil_input("a", &[]);
    bare.given_name.clear();
    bare.family_name.clear();
    assert_eq!(world.upsert(vec![bare]).await.unwrap().unchanged, 1);
    assert_eq!(get(&world, &world.trust_id, by_id(&pupil)).await.unwrap(), before);
}

#[tokio::test]
async fn a_pupil_without_names_is_taken() {
    let world = World::on("2026-01-12").await;
    let mut bare = pupil_input("a", &[]);
    bare.given_name.clear();
    bare.family_name.clear();
    assert_eq!(world.upsert(vec![bare]).await.unwrap().created, 1);
}

#[tokio::test]
async fn a_pupil_who_moves_school_leaves_one_and_joins_the_other() {
    let world = World::on("2026-01-12").await;
    let (old, new) = (world.school("100001").await, world.school("100002").await);
    let pupil = world.pupil("a", &old).await;
    let joins = enrolment(&new, Sole, "2026-01-05", "");
    let overlapping = world
        .upsert(vec![pupil_input("a", std::slice::from_ref(&joins))])
        .await
        .unwrap();
    assert_eq!(reasons(&overlapping), [(0, "enrolments[0]", "OVERLAPPING_ENROLMENT")]);
    assert_eq!(
        (
            listed(&world, "100001").await.len(),
            listed(&world, "100002").await.len()
        ),
        (1, 0)
    );
    let leaves = enrolment(&old, Sole, "2025-09-01", "2025-12-19");
    assert_eq!(
        world
            .upsert(vec![pupil_input("a", &[joins, leaves])])
            .await
            .unwrap()
            .updated,
        1
    );
    assert_eq!(
        (
            listed(&world, "100001").await.len(),
            listed(&world, "100002").await.len()
        ),
        (0, 1)
    );
    let found = get(&world, &world.trust_id, by_id(&pupil)).await.unwrap();
    let starts: Vec<_> = found.enrolments.iter().map(|enrolment| enrolment.start_date).collect();
    assert_eq!(starts, [Some(pb_date("2025-09-01")), Some(pb_date("2026-01-05"))]);
}

#[tokio::test]
async fn a_pupil_may_be_on_roll_at_a_main_and_a_subsidiary_school() {
    let world = World::on("2026-01-12").await;
    let (main, subsidiary) = (world.school("100001").await, world.school("100002").await);
    let both = [
        enrolment(&main, Main, "2025-09-01", ""),
        enrolment(&subsidiary, Subsidiary, "2025-09-01", ""),
    ];
    let pupil = world.pupil_enrolled("a", &both).await;
    assert_eq!(
        (listed(&world, "100001").await, listed(&world, "100002").await),
        (vec![pupil.clone()], vec![pupil])
    );
}

#[tokio::test]
async fn an_enrolment_cannot_end_before_its_last_mark() {
    let world = World::on("2026-01-12").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    world.record(&pupil, at("2025-10-07", "PM"), "\\").await;
    let ends = |end: &str| vec![pupil_input("a", &[enrolment(&school, Sole, "2025-09-01", end)])];
    let early = world.upsert(ends("2025-10-06")).await.unwrap();
    assert_eq!(
        reasons(&early),
        [(0, "enrolments[0].end_date", "MARKS_OUTSIDE_ENROLMENT")]
    );
    assert_eq!(world.upsert(ends("2025-10-07")).await.unwrap().updated, 1);
    world.record(&pupil, at("2025-10-07", "PM"), "0").await;
    assert_eq!(world.upsert(ends("2025-10-06")).await.unwrap().updated, 1);
}

#[tokio::test]
async fn the_first_and_the_last_day_are_on_roll() {
    let world = World::on("2026-01-05").await;
    let school = world.school("100001").await;
    world
        .pupil_enrolled("a", &[enrolment(&school, Sole, "2026-01-06", "2026-01-07")])
        .await;
    for (today, on_roll) in [
        ("2026-01-05", 0),
        ("2026-01-06", 1),
        ("2026-01-07", 1),
        ("2026-01-08", 0),
    ] {
        world.turn_to(today);
        assert_eq!(listed(&world, &school).await.len(), on_roll, "{today}");
    }
    assert_eq!(listed(&world, "").await.len(), 1);
}

#[tokio::test]
async fn pupils_are_listed_page_by_page_each_once() {
    let world = World::on("2026-01-12").await;
    let pupils = (0..5).map(|number| pupil_input(&number.to_string(), &[])).collect();
    let mut expected = world.upsert(pupils).await.unwrap().pupil_ids;
    expected.sort();
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListPupilsRequest {
            trust_id: world.trust_id.clone(),
            page_size: 2,
            page_token,
            ..pb::ListPupilsRequest::default()
        };
        let page = world.pupils().list_pupils(request).await.unwrap().into_inner();
        found.extend(page.pupils.into_iter().map(|pupil| pupil.pupil_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_pupil_is_created_once_whichever_identifier_is_used() {
    let world = World::on("2026-01-12").await;
    create(&world, with_upn(PERMANENT, "a")).await.unwrap();
    for (again, field) in [
        (with_upn(PERMANENT, "b"), "pupil.upn"),
        (with_upn(ANOTHER, "a"), "pupil.mis_identifiers[0]"),
    ] {
        let status = create(&world, again).await.unwrap_err();
        assert!(!status.message().contains(PERMANENT));
        let expected = (Code::AlreadyExists, "ALREADY_EXISTS".into(), vec![field.into()]);
        assert_eq!(refused(Err::<(), _>(status)), expected);
    }
    let unknown = pupil_input("c", &[enrolment("100009", Sole, "2025-09-01", "")]);
    let expected = (
        Code::InvalidArgument,
        "UNKNOWN_SCHOOL".into(),
        vec!["pupil.enrolments[0].school".into()],
    );
    assert_eq!(refused(create(&world, unknown).await), expected);
    assert_eq!(listed(&world, "").await.len(), 1);
}

#[tokio::test]
async fn an_update_writes_the_named_fields_alone_and_once_for_one_etag() {
    let world = World::on("2026-01-12").await;
    let mut sent = with_upn(PERMANENT, "a");
    sent.date_of_birth = Some(pb_date("2014-05-06"));
    let before = create(&world, sent).await.unwrap().pupil.unwrap();
    let mut wanted = before.clone();
    wanted.given_name = "not in the mask".into();
    wanted.family_name = "Lovelace".into();
    wanted.date_of_birth = None;
    wanted.upn = ANOTHER.into();
    let answer = update(&world, &wanted, &["family_name", "date_of_birth", "upn"])
        .await
        .unwrap();
    let after = answer.pupil.unwrap();
    assert_eq!(answer.warnings[0].reason, "UPN_REPLACED");
    assert_eq!(
        (&after.given_name, after.family_name.as_str()),
        (&before.given_name, "Lovelace")
    );
    assert_eq!((after.date_of_birth, after.upn.as_str()), (None, ANOTHER));
    assert_ne!(after.etag, before.etag);
    let stale = refused(update(&world, &wanted, &["family_name"]).await);
    assert_eq!((stale.0, stale.1.as_str()), (Code::Aborted, "STALE_ETAG"));
    let same = update(&world, &after, &["family_name"]).await.unwrap().pupil.unwrap();
    assert_eq!(same, after, "what changes nothing keeps its etag");
}

#[tokio::test]
async fn an_update_with_another_pupils_upn_or_without_any_identifier_left_is_refused() {
    let world = World::on("2026-01-12").await;
    create(&world, with_upn(ANOTHER, "b")).await.unwrap();
    let mut alone = with_upn(PERMANENT, "a");
    alone.mis_identifiers.clear();
    let mut pupil = create(&world, alone).await.unwrap().pupil.unwrap();
    pupil.upn = ANOTHER.into();
    let status = update(&world, &pupil, &["upn"]).await.unwrap_err();
    assert!(!status.message().contains(ANOTHER), "the UPN is not repeated");
    let expected = (Code::AlreadyExists, "ALREADY_EXISTS".into(), vec!["pupil.upn".into()]);
    assert_eq!(refused(Err::<(), _>(status)), expected);
    pupil.upn.clear();
    let expected = (
        Code::InvalidArgument,
        "MISSING_IDENTIFIER".into(),
        vec!["pupil.upn".into()],
    );
    assert_eq!(refused(update(&world, &pupil, &["upn"]).await), expected);
    pupil.date_of_birth = Some(pb_date("2026-01-13"));
    let expected = (
        Code::InvalidArgument,
        "INVALID_DATE".into(),
        vec!["pupil.date_of_birth".into()],
    );
    assert_eq!(refused(update(&world, &pupil, &["date_of_birth"]).await), expected);
}
