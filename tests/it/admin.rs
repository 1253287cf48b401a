//! Trusts and schools, as callers see them.

mod port;
mod refusals;

use graduated_response::proto as pb;
use prost_types::FieldMask;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::common::{World, refused};

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask {
        paths: paths.iter().map(ToString::to_string).collect(),
    })
}

fn trust_named(name: &str, trust_id: &str) -> pb::CreateTrustRequest {
    pb::CreateTrustRequest {
        name: name.into(),
        trust_id: trust_id.into(),
    }
}

async fn get_school(world: &World, trust_id: &str, school: &str) -> Result<pb::School, Status> {
    let request = pb::GetSchoolRequest {
        trust_id: trust_id.into(),
        school: school.into(),
    };
    let answer = world.admin().get_school(request).await?.into_inner();
    Ok(answer.school.unwrap())
}

async fn update_school(world: &World, school: &pb::School, paths: &[&str]) -> Result<pb::School, Status> {
    let request = pb::UpdateSchoolRequest {
        trust_id: world.trust_id.clone(),
        school: Some(school.clone()),
        update_mask: mask(paths),
    };
    let answer = world.admin().update_school(request).await?.into_inner();
    Ok(answer.school.unwrap())
}

#[tokio::test]
async fn a_new_trust_begins_with_an_active_policy_and_sixty_provisions() {
    let world = World::on("2025-09-01").await;
    let sql = world.sql().await;
    let row = sql
        .query_one(
            "SELECT (SELECT count(*) FROM provisions), (SELECT count(*) FROM provisions WHERE stage = 0 AND subject = 'school'),
                    (SELECT count(*) FROM policies WHERE version = 1 AND activated_at IS NOT NULL),
                    (SELECT count(*) FROM catalogues WHERE version = 1 AND activated_at IS NOT NULL),
                    (SELECT position FROM feeds), (SELECT responsible_roles FROM provisions WHERE provision_id = 'U-01')",
            &[],
        )
        .await
        .unwrap();
    let counts: Vec<i64> = (0..5).map(|column| row.get(column)).collect();
    assert_eq!(counts, [60, 20, 1, 1, 0]);
    assert_eq!(row.get::<_, Vec<String>>(5), ["all_staff"]);
}

#[tokio::test]
async fn creating_a_trust_twice_under_one_identifier_makes_one_trust() {
    let world = World::on("2025-09-01").await;
    let id = Uuid::new_v4().to_string();
    let mut admin = world.admin();
    let first = admin.create_trust(trust_named("Elm", &id)).await.unwrap().into_inner();
    let second = admin.create_trust(trust_named("Elm", &id)).await.unwrap().into_inner();
    assert_eq!(first, second);
    let other_name = refused(admin.create_trust(trust_named("Ash", &id)).await);
    assert_eq!(
        other_name,
        (Code::AlreadyExists, "ALREADY_EXISTS".into(), vec!["trust_id".into()])
    );
    let listed = admin
        .list_trusts(pb::ListTrustsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.trusts.len(), 2);
}

#[tokio::test]
async fn a_trust_without_a_name_or_with_a_broken_identifier_is_refused() {
    let world = World::on("2025-09-01").await;
    for (name, id, reason, field) in [
        ("  ", "", "MISSING_TEXT", "name"),
        ("a\0b", "", "INVALID_TEXT", "name"),
        ("Elm", "7", "INVALID_UUID", "trust_id"),
        (
            "Elm",
            "00000000-0000-0000-0000-000000000000",
            "INVALID_UUID",
            "trust_id",
        ),
    ] {
        let found = refused(world.admin().create_trust(trust_named(name, id)).await);
        assert_eq!(found, (Code::InvalidArgument, reason.into(), vec![field.into()]));
    }
    let long = refused(world.admin().create_trust(trust_named(&"x".repeat(201), "")).await);
    assert_eq!(long.1, "TEXT_TOO_LONG");
}

#[tokio::test]
async fn trusts_are_listed_page_by_page_each_once() {
    let world = World::on("2025-09-01").await;
    for name in ["Ash", "Elm", "Oak", "Yew"] {
        world.new_trust(name).await;
    }
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListTrustsRequest {
            page_size: 2,
            page_token: token,
        };
        let page = world.admin().list_trusts(request).await.unwrap().into_inner();
        assert!(page.trusts.len() <= 2);
        found.extend(page.trusts.into_iter().map(|trust| trust.trust_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let mut sorted = found.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((sorted.len(), &sorted), (5, &found));
}

#[tokio::test]
async fn a_page_token_is_good_for_its_own_list_alone() {
    let world = World::on("2025-09-01").await;
    world.new_trust("Elm").await;
    let request = pb::ListTrustsRequest {
        page_size: 1,
        ..pb::ListTrustsRequest::default()
    };
    let page = world.admin().list_trusts(request).await.unwrap().into_inner();
    let request = pb::ListSchoolsRequest {
        trust_id: world.trust_id.clone(),
        page_token: page.next_page_token,
        ..pb::ListSchoolsRequest::default()
    };
    let found = refused(world.admin().list_schools(request).await);
    assert_eq!(
        (found.0, found.2),
        (Code::InvalidArgument, vec!["page_token".to_owned()])
    );
}

#[tokio::test]
async fn a_trust_is_renamed_once_for_one_etag() {
    let world = World::on("2025-09-01").await;
    let get = pb::GetTrustRequest {
        trust_id: world.trust_id.clone(),
    };
    let mut trust = world
        .admin()
        .get_trust(get.clone())
        .await
        .unwrap()
        .into_inner()
        .trust
        .unwrap();
    trust.name = "Renamed".into();
    let rename = pb::UpdateTrustRequest {
        trust: Some(trust.clone()),
        update_mask: mask(&["name"]),
    };
    let renamed = world
        .admin()
        .update_trust(rename.clone())
        .await
        .unwrap()
        .into_inner()
        .trust
        .unwrap();
    assert_eq!(renamed.name, "Renamed");
    assert_ne!(renamed.etag, trust.etag);
    let stale = refused(world.admin().update_trust(rename).await);
    assert_eq!((stale.0, stale.1.as_str()), (Code::Aborted, "STALE_ETAG"));
    let now = world.admin().get_trust(get).await.unwrap().into_inner().trust.unwrap();
    assert_eq!(now, renamed);
}

#[tokio::test]
async fn an_update_without_a_mask_or_of_another_field_is_told_what_it_may_write() {
    let world = World::on("2025-09-01").await;
    world.school("100001").await;
    let school = get_school(&world, &world.trust_id, "100001").await.unwrap();
    for (paths, reason) in [
        (&[][..], "MISSING_UPDATE_MASK"),
        (&["name", "urn"], "UNKNOWN_UPDATE_MASK_PATH"),
    ] {
        let status = update_school(&world, &school, paths).await.unwrap_err();
        assert!(
            status.message().contains("name, phase, laestab, session_minutes"),
            "{status}"
        );
        let expected = (Code::InvalidArgument, reason.into(), vec!["update_mask".into()]);
        assert_eq!(refused(Err::<(), _>(status)), expected);
    }
}

#[tokio::test]
async fn a_school_is_found_by_its_uuid_and_by_its_urn() {
    let world = World::on("2025-09-01").await;
    let id = world.school("100001").await;
    let by_urn = get_school(&world, &world.trust_id, "100001").await.unwrap();
    assert_eq!(by_urn, get_school(&world, &world.trust_id, &id).await.unwrap());
    assert_eq!((by_urn.school_id.as_str(), by_urn.session_minutes), (id.as_str(), 195));
}

#[tokio::test]
async fn another_trusts_school_is_as_unknown_as_one_that_never_was() {
    let world = World::on("2025-09-01").await;
    let id = world.school("100001").await;
    let other = world.new_trust("Elm").await;
    let theirs = get_school(&world, &other, &id).await.unwrap_err();
    let nobodys = get_school(&world, &other, &Uuid::new_v4().to_string())
        .await
        .unwrap_err();
    assert_eq!(theirs.code(), Code::NotFound);
    assert_eq!(
        (theirs.message(), theirs.details()),
        (nobodys.message(), nobodys.details())
    );
}

#[tokio::test]
async fn a_trust_has_one_school_for_a_urn_and_another_trust_may_have_its_own() {
    let world = World::on("2025-09-01").await;
    world.school("100001").await;
    let school = get_school(&world, &world.trust_id, "100001").await.unwrap();
    let request = pb::CreateSchoolRequest {
        trust_id: world.trust_id.clone(),
        school: Some(school),
    };
    let found = refused(world.admin().create_school(request).await);
    assert_eq!(
        found,
        (Code::AlreadyExists, "ALREADY_EXISTS".into(), vec!["school.urn".into()])
    );
    let other = world.new_trust("Elm").await;
    world.school_of(&other, "100001").await;
}

#[tokio::test]
async fn every_wrong_field_of_a_new_school_is_named_at_once() {
    let world = World::on("2025-09-01").await;
    let request = pb::CreateSchoolRequest {
        trust_id: world.trust_id.clone(),
        school: Some(pb::School {
            urn: "1".into(),
            laestab: "12".into(),
            session_minutes: 481,
            ..pb::School::default()
        }),
    };
    let (code, _, fields) = refused(world.admin().create_school(request).await);
    assert_eq!(code, Code::InvalidArgument);
    let all = ["urn", "name", "phase", "laestab", "session_minutes"].map(|field| format!("school.{field}"));
    assert_eq!(fields, all);
}

#[tokio::test]
async fn an_update_of_a_school_writes_the_named_fields_alone() {
    let world = World::on("2025-09-01").await;
    world.school("100001").await;
    let before = get_school(&world, &world.trust_id, "100001").await.unwrap();
    let mut wanted = before.clone();
    wanted.laestab = "999/1001".into();
    wanted.session_minutes = 180;
    wanted.name = "not in the mask".into();
    let after = update_school(&world, &wanted, &["laestab", "session_minutes"])
        .await
        .unwrap();
    assert_eq!((after.laestab.as_str(), after.session_minutes), ("9991001", 180));
    assert_eq!(after.name, before.name);
    let stale = refused(update_school(&world, &wanted, &["name"]).await);
    assert_eq!((stale.0, stale.1.as_str()), (Code::Aborted, "STALE_ETAG"));
    wanted.etag.clear();
    wanted.laestab.clear();
    let cleared = update_school(&world, &wanted, &["laestab"]).await.unwrap();
    assert_eq!(cleared.laestab, "");
}

#[tokio::test]
async fn in_a_trust_that_is_not_there_it_is_the_trust_that_is_missing() {
    let world = World::on("2025-09-01").await;
    let trust_id = Uuid::new_v4().to_string();
    let get_trust = pb::GetTrustRequest {
        trust_id: trust_id.clone(),
    };
    let list_schools = pb::ListSchoolsRequest {
        trust_id: trust_id.clone(),
        ..pb::ListSchoolsRequest::default()
    };
    let list_pupils = pb::ListPupilsRequest {
        trust_id: trust_id.clone(),
        ..pb::ListPupilsRequest::default()
    };
    let upsert = pb::BatchUpsertPupilsRequest {
        trust_id: trust_id.clone(),
        pupils: vec![super::common::world::pupil_input("a", &[])],
        ..pb::BatchUpsertPupilsRequest::default()
    };
    for status in [
        world.admin().get_trust(get_trust).await.unwrap_err(),
        world.admin().list_schools(list_schools).await.unwrap_err(),
        get_school(&world, &trust_id, "100001").await.unwrap_err(),
        world.pupils().list_pupils(list_pupils).await.unwrap_err(),
        world.pupils().batch_upsert_pupils(upsert).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.get_details_resource_info().unwrap().resource_type, "trust");
    }
}

#[tokio::test]
async fn the_server_says_on_which_day_it_judges_and_that_its_clock_was_set() {
    let world = World::on("2026-01-12").await;
    let info = world
        .admin()
        .get_server_info(pb::GetServerInfoRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(
        info.today,
        Some(pb::Date {
            year: 2026,
            month: 1,
            day: 12
        })
    );
    assert!(info.clock_set);
}
