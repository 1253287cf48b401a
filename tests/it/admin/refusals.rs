//! What administration refuses.

use graduated_response::service::Limits;

use super::*;

const NIL: &str = "00000000-0000-0000-0000-000000000000";

fn schools_of(trust_id: &str) -> pb::ListSchoolsRequest {
    pb::ListSchoolsRequest {
        trust_id: trust_id.into(),
        ..pb::ListSchoolsRequest::default()
    }
}

#[tokio::test]
async fn a_page_that_is_too_large_or_begins_nowhere_is_refused() {
    let world = World::on("2025-09-01").await;
    for (page_size, page_token, reason, field) in [
        (1001, "", "INVALID_PAGE_SIZE", "page_size"),
        (-1, "", "INVALID_PAGE_SIZE", "page_size"),
        (0, "garbled", "UNKNOWN_PAGE_TOKEN", "page_token"),
        (0, "!", "UNKNOWN_PAGE_TOKEN", "page_token"),
    ] {
        let expected = (Code::InvalidArgument, reason.to_owned(), vec![field.to_owned()]);
        let trusts = pb::ListTrustsRequest {
            page_size,
            page_token: page_token.into(),
        };
        assert_eq!(refused(world.admin().list_trusts(trusts).await), expected);
        let schools = pb::ListSchoolsRequest {
            page_size,
            page_token: page_token.into(),
            ..schools_of(&world.trust_id)
        };
        assert_eq!(refused(world.admin().list_schools(schools).await), expected);
    }
}

#[tokio::test]
async fn schools_are_listed_page_by_page_each_once_and_no_page_is_above_the_servers_limit() {
    let limits = Limits {
        page_size_max: 2,
        ..Limits::default()
    };
    let world = World::with_limits("2025-09-01", limits).await;
    let mut expected = Vec::new();
    for urn in ["100001", "100002", "100003", "100004", "100005"] {
        expected.push(world.school(urn).await);
    }
    let elsewhere = world.new_trust("Elm").await;
    world.school_of(&elsewhere, "100001").await;
    expected.sort();
    let (mut found, mut request) = (Vec::new(), schools_of(&world.trust_id));
    let mut pages = 0;
    loop {
        let page = world.admin().list_schools(request.clone()).await.unwrap().into_inner();
        found.extend(page.schools.into_iter().map(|school| school.school_id));
        pages += 1;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
        let theirs = pb::ListSchoolsRequest {
            page_token: request.page_token.clone(),
            ..schools_of(&elsewhere)
        };
        assert_eq!(
            refused(world.admin().list_schools(theirs).await).1,
            "UNKNOWN_PAGE_TOKEN"
        );
    }
    assert_eq!((found, pages), (expected, 3));
    request.page_size = 3;
    assert_eq!(
        refused(world.admin().list_schools(request).await).1,
        "INVALID_PAGE_SIZE"
    );
}

#[tokio::test]
async fn an_update_of_a_trust_says_what_it_writes_and_to_which_trust() {
    let world = World::on("2025-09-01").await;
    let trust = |trust_id: &str, name: &str| {
        Some(pb::Trust {
            trust_id: trust_id.into(),
            name: name.into(),
            ..pb::Trust::default()
        })
    };
    let nowhere = Uuid::new_v4().to_string();
    for (trust, paths, code, reason, fields) in [
        (
            trust(&world.trust_id, "Elm"),
            &[][..],
            Code::InvalidArgument,
            "MISSING_UPDATE_MASK",
            &["update_mask"][..],
        ),
        (
            trust(&world.trust_id, "Elm"),
            &["etag"],
            Code::InvalidArgument,
            "UNKNOWN_UPDATE_MASK_PATH",
            &["update_mask"],
        ),
        (
            trust(&world.trust_id, ""),
            &["name"],
            Code::InvalidArgument,
            "MISSING_TEXT",
            &["trust.name"],
        ),
        (
            trust("", "Elm"),
            &["name"],
            Code::InvalidArgument,
            "INVALID_UUID",
            &["trust.trust_id"],
        ),
        (
            None,
            &["name"],
            Code::InvalidArgument,
            "INVALID_UUID",
            &["trust.trust_id"],
        ),
        (trust(&nowhere, "Elm"), &["name"], Code::NotFound, "NOT_FOUND", &[]),
    ] {
        let request = pb::UpdateTrustRequest {
            trust,
            update_mask: mask(paths),
        };
        let found = refused(world.admin().update_trust(request).await);
        assert_eq!(
            found,
            (code, reason.into(), fields.iter().map(ToString::to_string).collect())
        );
    }
    let get = pb::GetTrustRequest {
        trust_id: world.trust_id.clone(),
    };
    let trust = world.admin().get_trust(get).await.unwrap().into_inner().trust.unwrap();
    assert_eq!(trust.name, "Harbour Learning Trust");
}

#[tokio::test]
async fn a_school_is_not_made_without_a_phase_or_without_a_school_or_in_no_trust() {
    let world = World::on("2025-09-01").await;
    let school = pb::School {
        urn: "100001".into(),
        name: "Mill Lane".into(),
        phase: pb::Phase::Primary.into(),
        ..pb::School::default()
    };
    let of = |change: &dyn Fn(&mut pb::School)| {
        let mut school = school.clone();
        change(&mut school);
        Some(school)
    };
    for (school, reason, field) in [
        (of(&|school| school.phase = 0), "INVALID_PHASE", "school.phase"),
        (of(&|school| school.phase = 8), "INVALID_PHASE", "school.phase"),
        (of(&|school| school.urn = "10000".into()), "INVALID_URN", "school.urn"),
        (
            of(&|school| school.urn = "1.00001E+5".into()),
            "INVALID_URN",
            "school.urn",
        ),
        (of(&|school| school.name.clear()), "MISSING_TEXT", "school.name"),
        (
            of(&|school| school.session_minutes = -1),
            "INVALID_SESSION_MINUTES",
            "school.session_minutes",
        ),
        (None, "MISSING_SCHOOL", "school"),
    ] {
        let request = pb::CreateSchoolRequest {
            trust_id: world.trust_id.clone(),
            school,
        };
        let found = refused(world.admin().create_school(request).await);
        assert_eq!(found, (Code::InvalidArgument, reason.into(), vec![field.into()]));
    }
    let in_no_trust = pb::CreateSchoolRequest {
        trust_id: NIL.into(),
        school: Some(school),
    };
    let status = world.admin().create_school(in_no_trust).await.unwrap_err();
    assert_eq!(status.message(), "there is no such trust");
    assert_eq!(
        refused(Err::<(), _>(status)),
        (Code::NotFound, "NOT_FOUND".into(), vec![])
    );
    let listed = world.admin().list_schools(schools_of(&world.trust_id)).await.unwrap();
    assert_eq!(listed.into_inner().schools, []);
}

#[tokio::test]
async fn another_trusts_school_can_neither_be_read_by_its_urn_nor_changed() {
    let mut world = World::on("2025-09-01").await;
    world.school("100001").await;
    let school = get_school(&world, &world.trust_id, "100001").await.unwrap();
    let ours = std::mem::take(&mut world.trust_id);
    world.trust_id = world.new_trust("Elm").await;
    let mut never = school.clone();
    never.school_id = Uuid::new_v4().to_string();
    never.etag.clear();
    let told = |status: Status| (status.code(), status.message().to_owned(), status.details().to_vec());
    let expected = told(update_school(&world, &never, &["name"]).await.unwrap_err());
    assert_eq!(expected.0, Code::NotFound);
    // With an etag that is current, with one that is stale, and with none.
    for etag in [school.etag.as_str(), "\"9\"", ""] {
        let theirs = pb::School {
            name: "taken".into(),
            etag: etag.into(),
            ..school.clone()
        };
        assert_eq!(
            told(update_school(&world, &theirs, &["name"]).await.unwrap_err()),
            expected
        );
    }
    for urn in ["100001", "100002"] {
        assert_eq!(
            told(get_school(&world, &world.trust_id, urn).await.unwrap_err()),
            expected
        );
    }
    assert_eq!(get_school(&world, &ours, "100001").await.unwrap(), school);
}

#[tokio::test]
async fn a_trust_that_is_no_uuid_is_refused_by_name_of_the_field() {
    let world = World::on("2025-09-01").await;
    let expected = (
        Code::InvalidArgument,
        "INVALID_UUID".to_owned(),
        vec!["trust_id".to_owned()],
    );
    let get_trust = pb::GetTrustRequest { trust_id: "1".into() };
    assert_eq!(refused(world.admin().get_trust(get_trust).await), expected);
    assert_eq!(refused(get_school(&world, "1", "100001").await), expected);
    assert_eq!(refused(world.admin().list_schools(schools_of("1")).await), expected);
    let update = pb::UpdateSchoolRequest {
        trust_id: "1".into(),
        update_mask: mask(&["name"]),
        ..pb::UpdateSchoolRequest::default()
    };
    assert_eq!(refused(world.admin().update_school(update).await), expected);
    let create = pb::CreateSchoolRequest {
        trust_id: "1".into(),
        school: None,
    };
    assert_eq!(refused(world.admin().create_school(create).await), expected);
}
