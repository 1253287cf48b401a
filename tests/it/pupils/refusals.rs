//! What the pupils' service refuses, and that it says nothing about a child in doing so.

use super::*;

/// What a caller is told of a refusal, byte for byte.
fn told(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

#[tokio::test]
async fn enrolments_may_not_share_a_single_day_but_may_follow_each_other_day_by_day() {
    let world = World::on("2026-01-12").await;
    let (old, new) = (world.school("100001").await, world.school("100002").await);
    let follows = |start: &str| {
        vec![pupil_input(
            "a",
            &[
                enrolment(&old, Sole, "2025-09-01", "2025-10-24"),
                enrolment(&new, Sole, start, ""),
            ],
        )]
    };
    let shared = world.upsert(follows("2025-10-24")).await.unwrap();
    assert_eq!(reasons(&shared), [(0, "enrolments[1]", "OVERLAPPING_ENROLMENT")]);
    assert_eq!(world.upsert(follows("2025-10-25")).await.unwrap().created, 1);
    // Main and subsidiary are two schools, not one.
    let twice = [
        enrolment(&old, Main, "2025-09-01", ""),
        enrolment(&old, Subsidiary, "2025-09-02", ""),
    ];
    let twice = world.upsert(vec![pupil_input("b", &twice)]).await.unwrap();
    assert_eq!(reasons(&twice), [(0, "enrolments[1]", "OVERLAPPING_ENROLMENT")]);
}

#[tokio::test]
async fn a_check_letter_that_is_wrong_is_warned_of_and_the_upn_is_taken() {
    let world = World::on("2026-01-12").await;
    let answer = create(&world, with_upn("a999100125001", "a")).await.unwrap();
    assert_eq!(answer.pupil.unwrap().upn, "A999100125001");
    let warning = &answer.warnings[0];
    assert_eq!(
        (warning.reason.as_str(), warning.field.as_str()),
        ("UPN_CHECK_LETTER", "upn")
    );
    assert!(!warning.message.contains("A999100125001"));
    for upn in ["Q99910012500", "Q99910012500I", "9.991E+12", "UN6"] {
        let expected = (Code::InvalidArgument, "INVALID_UPN".into(), vec!["pupil.upn".into()]);
        assert_eq!(refused(create(&world, with_upn(upn, "b")).await), expected, "{upn}");
    }
}

#[tokio::test]
async fn another_trusts_pupil_and_school_can_neither_be_changed_nor_named() {
    let mut world = World::on("2026-01-12").await;
    let school = world.school("100001").await;
    world.pupil("a", &school).await;
    let pupil = get(&world, &world.trust_id, by_name("a")).await.unwrap();
    let ours = std::mem::take(&mut world.trust_id);
    world.trust_id = world.new_trust("Elm").await;
    let nobody = pb::Pupil {
        pupil_id: Uuid::new_v4().to_string(),
        etag: String::new(),
        ..pupil.clone()
    };
    let expected = told(&update(&world, &nobody, &["given_name"]).await.unwrap_err());
    assert_eq!(expected.0, Code::NotFound);
    for etag in [pupil.etag.as_str(), "\"9\"", ""] {
        let theirs = pb::Pupil {
            given_name: "taken".into(),
            etag: etag.into(),
            ..pupil.clone()
        };
        let status = update(&world, &theirs, &["given_name"]).await.unwrap_err();
        assert_eq!(told(&status), expected);
    }
    let of_school = |school: &str| pb::ListPupilsRequest {
        trust_id: world.trust_id.clone(),
        school: school.into(),
        ..pb::ListPupilsRequest::default()
    };
    let theirs = world.pupils().list_pupils(of_school(&school)).await.unwrap_err();
    let nobodys = world
        .pupils()
        .list_pupils(of_school(&Uuid::new_v4().to_string()))
        .await
        .unwrap_err();
    assert_eq!(told(&theirs), told(&nobodys));
    // The same identifier in another trust is another pupil, and that trust's school is none of this one's.
    let enrolled = pupil_input("a", &[enrolment(&school, Sole, "2025-09-01", "")]);
    let answer = world.upsert(vec![enrolled]).await.unwrap();
    assert_eq!(reasons(&answer), [(0, "enrolments[0].school", "UNKNOWN_SCHOOL")]);
    let other = world.upsert(vec![pupil_input("a", &[])]).await.unwrap();
    assert_eq!(other.created, 1);
    assert_ne!(other.pupil_ids[0], pupil.pupil_id);
    assert_eq!(get(&world, &ours, by_name("a")).await.unwrap(), pupil);
}

#[tokio::test]
async fn a_page_or_a_mask_or_a_key_that_cannot_be_is_refused() {
    let world = World::on("2026-01-12").await;
    let pupil = create(&world, with_upn(PERMANENT, "a")).await.unwrap().pupil.unwrap();
    for (page_size, page_token, reason, field) in [
        (1001, "", "INVALID_PAGE_SIZE", "page_size"),
        (-1, "", "INVALID_PAGE_SIZE", "page_size"),
        (0, "garbled", "UNKNOWN_PAGE_TOKEN", "page_token"),
    ] {
        let request = pb::ListPupilsRequest {
            trust_id: world.trust_id.clone(),
            page_size,
            page_token: page_token.into(),
            ..pb::ListPupilsRequest::default()
        };
        let found = refused(world.pupils().list_pupils(request).await);
        assert_eq!(found, (Code::InvalidArgument, reason.into(), vec![field.into()]));
    }
    for (paths, reason) in [
        (&[][..], "MISSING_UPDATE_MASK"),
        (&["given_name", "enrolments"], "UNKNOWN_UPDATE_MASK_PATH"),
    ] {
        let found = refused(update(&world, &pupil, paths).await);
        assert_eq!(
            found,
            (Code::InvalidArgument, reason.into(), vec!["update_mask".into()])
        );
    }
    for (key, reason, field) in [
        (pb::PupilKey { key: None }, "MISSING_PUPIL", "pupil"),
        (by_id("1"), "INVALID_UUID", "pupil.pupil_id"),
        (by_upn("Q1"), "INVALID_UPN", "pupil.upn"),
        (by_upn("UN1"), "MISSING_PUPIL", "pupil"),
        (by_name(""), "INVALID_MIS_IDENTIFIER", "pupil.mis_identifier"),
    ] {
        let found = refused(get(&world, &world.trust_id, key).await);
        assert_eq!(found, (Code::InvalidArgument, reason.into(), vec![field.into()]));
    }
}

#[tokio::test]
async fn no_error_repeats_anything_about_a_child() {
    let world = World::on("2026-01-12").await;
    let school = world.school("100001").await;
    const SECRETS: [&str; 6] = [
        "Zebedee",
        "Quartermain",
        "zq-7781",
        PERMANENT,
        ANOTHER,
        "Q99910012500X9",
    ];
    let child = |upn: &str, value: &str| pb::PupilInput {
        upn: upn.into(),
        mis_identifiers: vec![pb::MisIdentifier {
            source: "test".into(),
            value: value.into(),
        }],
        given_name: "Zebedee".into(),
        family_name: "Quartermain".into(),
        date_of_birth: Some(pb_date("2014-05-06")),
        enrolments: vec![enrolment(&school, Sole, "2025-09-01", "")],
        ..pb::PupilInput::default()
    };
    let there = create(&world, child(PERMANENT, "zq-7781"))
        .await
        .unwrap()
        .pupil
        .unwrap();
    world.record(&there.pupil_id, at("2025-10-07", "PM"), "\\").await;
    create(&world, child(ANOTHER, "zq-7781-b")).await.unwrap();

    // Everything that can be wrong with one child, in one batch.
    let with = |change: &dyn Fn(&mut pb::PupilInput)| {
        let mut wrong = child("", "zq-7781-new");
        change(&mut wrong);
        wrong
    };
    let wrong = vec![
        child(PERMANENT, "zq-7781-b"),
        child("Q99910012500X9", "zq-7781-c"),
        with(&|child| child.mis_identifiers[0].source = "Zebedee".into()),
        with(&|child| child.mis_identifiers[0].value = "zq-7781\u{7}".into()),
        with(&|child| child.mis_identifiers.clear()),
        with(&|child| child.given_name = format!("Zebedee{}", "e".repeat(200))),
        with(&|child| child.family_name = "Quartermain\n".repeat(2)),
        with(&|child| child.date_of_birth = Some(pb_date("2026-05-06"))),
        with(&|child| child.year_group = 18),
        with(&|child| child.enrolments[0].school = "Quartermain".into()),
        with(&|child| child.enrolments.push(enrolment(&school, Sole, "2025-09-02", ""))),
        {
            let mut leaves = child(PERMANENT, "zq-7781");
            leaves.enrolments[0].end_date = Some(pb_date("2025-10-06"));
            leaves
        },
    ];
    let answer = world.upsert(wrong.clone()).await.unwrap();
    assert_eq!(answer.rejections.len(), wrong.len(), "{:?}", reasons(&answer));
    let mut texts: Vec<String> = answer
        .rejections
        .iter()
        .map(|rejection| format!("{rejection:?}"))
        .collect();

    let mut statuses = Vec::new();
    for alone in wrong {
        statuses.push(create(&world, alone).await.unwrap_err());
    }
    let all_or_nothing = pb::BatchUpsertPupilsRequest {
        trust_id: world.trust_id.clone(),
        pupils: vec![child("Q99910012500X9", "zq-7781-c"), child(PERMANENT, "zq-7781-b")],
        all_or_nothing: true,
        ..pb::BatchUpsertPupilsRequest::default()
    };
    statuses.push(world.pupils().batch_upsert_pupils(all_or_nothing).await.unwrap_err());
    let changed = |change: &dyn Fn(&mut pb::Pupil)| {
        let mut pupil = there.clone();
        change(&mut pupil);
        pupil
    };
    for (pupil, path) in [
        (changed(&|pupil| pupil.upn = ANOTHER.into()), "upn"),
        (changed(&|pupil| pupil.upn = "Q99910012500X9".into()), "upn"),
        (changed(&|pupil| pupil.etag = "Zebedee".into()), "given_name"),
        (there.clone(), "Zebedee"),
        (changed(&|pupil| pupil.pupil_id = "Quartermain".into()), "given_name"),
    ] {
        statuses.push(update(&world, &pupil, &[path]).await.unwrap_err());
    }
    for key in [
        by_upn("Q99910012500X9"),
        by_upn("E999100125002X"),
        by_name("zq-7781-unknown"),
        by_id("zq-7781"),
    ] {
        statuses.push(get(&world, &world.trust_id, key).await.unwrap_err());
    }
    texts.extend(statuses.iter().map(|status| {
        format!(
            "{} {} {:?}",
            status.message(),
            String::from_utf8_lossy(status.details()),
            status.metadata()
        )
    }));
    for text in texts {
        for secret in SECRETS {
            assert!(
                !text.to_lowercase().contains(&secret.to_lowercase()),
                "{secret}: {text}"
            );
        }
        assert!(!text.contains("2014"), "a date of birth: {text}");
    }
}
