//! What stands for a whole school, the provisions of stage U: reviewed by each school, and counted over the trust.

use super::*;
use pb::UniversalStatus::{InPlace, NeverReviewed, NotInPlace, Partly};

async fn of_school(world: &World, school: &str) -> pb::ListUniversalProvisionResponse {
    let request = pb::ListUniversalProvisionRequest {
        trust_id: world.trust_id.clone(),
        school: school.into(),
    };
    world
        .actions()
        .list_universal_provision(request)
        .await
        .unwrap()
        .into_inner()
}

async fn provision(world: &World, school: &str, id: &str) -> pb::UniversalProvision {
    let listed = of_school(world, school).await.provisions;
    listed.into_iter().find(|found| found.provision_id == id).unwrap()
}

fn reference() -> pb::Evidence {
    pb::Evidence {
        source: pb::EvidenceSource::DocumentStore.into(),
        source_name: String::new(),
        identifier: "policies/attendance.pdf".into(),
        description: "Section 3.".into(),
    }
}

fn review_of(world: &World, school: &str, id: &str, etag: &str) -> pb::ReviewUniversalProvisionRequest {
    pb::ReviewUniversalProvisionRequest {
        trust_id: world.trust_id.clone(),
        school: school.into(),
        provision_id: id.into(),
        etag: etag.into(),
        status: Partly.into(),
        comment: "Not on days of exams.".into(),
        evidence: vec![reference()],
        reviewed_on: None,
        next_review_on: None,
        recorded_by: Some(person()),
        request_id: String::new(),
    }
}

async fn review(world: &World, request: pb::ReviewUniversalProvisionRequest) -> Result<pb::UniversalProvision, Status> {
    let answer = world.actions().review_universal_provision(request).await?.into_inner();
    Ok(answer.provision.unwrap())
}

async fn history(world: &World, school: &str, id: &str) -> Result<Vec<pb::UniversalReview>, Status> {
    let request = pb::ListUniversalReviewsRequest {
        trust_id: world.trust_id.clone(),
        school: school.into(),
        provision_id: id.into(),
        ..pb::ListUniversalReviewsRequest::default()
    };
    Ok(world
        .actions()
        .list_universal_reviews(request)
        .await?
        .into_inner()
        .reviews)
}

async fn summary(world: &World) -> pb::SummarizeUniversalProvisionResponse {
    let request = pb::SummarizeUniversalProvisionRequest {
        trust_id: world.trust_id.clone(),
    };
    world
        .actions()
        .summarize_universal_provision(request)
        .await
        .unwrap()
        .into_inner()
}

/// Brings another catalogue into force.
async fn change_catalogue(world: &World, changes: Vec<pb::provision_change::Change>) {
    let request = pb::CreateCatalogueRequest {
        trust_id: world.trust_id.clone(),
        title: "Changed".into(),
        changes: changes
            .into_iter()
            .map(|change| pb::ProvisionChange { change: Some(change) })
            .collect(),
        ..pb::CreateCatalogueRequest::default()
    };
    let made = world.admin().create_catalogue(request).await.unwrap().into_inner();
    let request = pb::ActivateCatalogueRequest {
        trust_id: world.trust_id.clone(),
        version: made.catalogue.unwrap().version,
        activated_by: Some(person()),
    };
    world.admin().activate_catalogue(request).await.unwrap();
}

fn counts(
    in_place: i32,
    partly: i32,
    not_in_place: i32,
    never_reviewed: i32,
    overdue: i32,
) -> Option<pb::UniversalCounts> {
    Some(pb::UniversalCounts {
        in_place,
        partly,
        not_in_place,
        never_reviewed,
        overdue,
    })
}

#[tokio::test]
async fn a_school_has_twenty_that_were_never_reviewed_and_then_what_its_reviews_found() {
    let world = World::on(TODAY).await;
    let school = world.school("100001").await;
    let listed = of_school(&world, "100001").await;
    assert_eq!(
        (listed.school_id, listed.catalogue_version, listed.provisions.len()),
        (school, 1, 20)
    );
    assert_eq!(listed.counts, counts(0, 0, 0, 20, 0));
    for (place, found) in listed.provisions.iter().enumerate() {
        assert_eq!(found.provision_id, format!("U-{:02}", place + 1));
        assert_eq!((found.status(), found.last_review.clone()), (NeverReviewed, None));
        assert!(!found.title.is_empty() && !found.guidance.is_empty() && !found.overdue);
    }
    let first = pb::ReviewUniversalProvisionRequest {
        reviewed_on: Some(pb_date("2025-11-26")),
        next_review_on: Some(pb_date("2026-01-16")),
        ..review_of(&world, "100001", "U-07", &listed.provisions[6].etag)
    };
    let found = review(&world, first).await.unwrap();
    let told = found.last_review.clone().unwrap();
    assert_eq!((found.status(), told.status(), told.ordinal), (Partly, Partly, 1));
    assert_eq!(
        (told.evidence.clone(), told.recorded_by.clone()),
        (vec![reference()], Some(person()))
    );
    assert_eq!(told.reviewed_on, Some(pb_date("2025-11-26")));
    assert_eq!(told.next_review_on, Some(pb_date("2026-01-16")));
    assert_eq!(provision(&world, "100001", "U-07").await, found);
    world.turn_to("2026-01-19");
    assert!(provision(&world, "100001", "U-07").await.overdue);
    assert_eq!(of_school(&world, "100001").await.counts, counts(0, 1, 0, 19, 1));
    let second = pb::ReviewUniversalProvisionRequest {
        status: InPlace.into(),
        ..review_of(&world, "100001", "U-07", &found.etag)
    };
    let better = review(&world, second).await.unwrap();
    assert_eq!((better.status(), better.overdue), (InPlace, false));
    assert_eq!(better.last_review.clone().unwrap().next_review_on, None);
    // What was found before is as it was.
    let all = history(&world, "100001", "U-07").await.unwrap();
    assert_eq!(all, [told, better.last_review.unwrap()]);
    assert_eq!(history(&world, "100001", "U-08").await.unwrap(), []);
}

#[tokio::test]
async fn a_review_that_is_not_whole_is_refused_by_field_and_changes_nothing() {
    let world = World::on(TODAY).await;
    world.school("100001").await;
    let fresh = provision(&world, "100001", "U-01").await;
    let mut cases: Vec<(pb::ReviewUniversalProvisionRequest, &str, &str)> = Vec::new();
    let mut of = |reason, field, change: &dyn Fn(&mut pb::ReviewUniversalProvisionRequest)| {
        let mut asked = review_of(&world, "100001", "U-01", &fresh.etag);
        change(&mut asked);
        cases.push((asked, reason, field));
    };
    of("MISSING_SCHOOL", "school", &|asked| asked.school.clear());
    of("MISSING_TEXT", "provision_id", &|asked| asked.provision_id.clear());
    of("MISSING_ETAG", "etag", &|asked| asked.etag.clear());
    of("UNKNOWN_UNIVERSAL_STATUS", "status", &|asked| asked.status = 0);
    of("UNKNOWN_UNIVERSAL_STATUS", "status", &|asked| {
        asked.status = NeverReviewed.into()
    });
    of("MISSING_PERSON", "recorded_by", &|asked| asked.recorded_by = None);
    of("TEXT_TOO_LONG", "comment", &|asked| asked.comment = "é".repeat(4001));
    of("TOO_MANY", "evidence", &|asked| asked.evidence = vec![reference(); 21]);
    of("MISSING_TEXT", "evidence[1].identifier", &|asked| {
        asked.evidence = vec![
            reference(),
            pb::Evidence {
                identifier: String::new(),
                ..reference()
            },
        ];
    });
    of("IN_FUTURE", "reviewed_on", &|asked| {
        asked.reviewed_on = Some(pb_date("2025-11-29"))
    });
    of("IN_PAST", "next_review_on", &|asked| {
        asked.next_review_on = Some(pb_date("2025-11-27"))
    });
    of("NOT_AFTER_REVIEW", "next_review_on", &|asked| {
        asked.next_review_on = Some(pb_date(TODAY))
    });
    of("TOO_FAR_AHEAD", "next_review_on", &|asked| {
        asked.next_review_on = Some(pb_date("2029-01-01"))
    });
    for (asked, reason, field) in cases {
        let found = refused(review(&world, asked.clone()).await);
        assert_eq!(found, invalid(reason, field), "{asked:?}");
    }
    // Provisions that are raised for pupils are no school's.
    for unknown in ["U-99", "2-07"] {
        assert_eq!(
            refused(review(&world, review_of(&world, "100001", unknown, "\"0\"")).await).0,
            Code::NotFound
        );
        assert_eq!(refused(history(&world, "100001", unknown).await).0, Code::NotFound);
    }
    assert_eq!(
        refused(review(&world, review_of(&world, "100009", "U-01", "\"0\"")).await).0,
        Code::NotFound
    );
    assert_eq!(provision(&world, "100001", "U-01").await, fresh);
    review(&world, review_of(&world, "100001", "U-01", &fresh.etag))
        .await
        .unwrap();
    let before = pb::ReviewUniversalProvisionRequest {
        reviewed_on: Some(pb_date("2025-11-27")),
        ..review_of(&world, "100001", "U-01", "\"1\"")
    };
    assert_eq!(
        refused(review(&world, before).await),
        invalid("BEFORE_LAST_REVIEW", "reviewed_on")
    );
}

#[tokio::test]
async fn of_reviews_at_once_one_is_kept_and_a_retry_gets_the_first_answer() {
    let world = World::on(TODAY).await;
    world.school("100001").await;
    let ask = || review(&world, review_of(&world, "100001", "U-01", "\"0\""));
    let answers = futures::future::join_all([ask(), ask(), ask(), ask()]).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for answer in answers.into_iter().filter(Result::is_err) {
        assert_eq!(
            refused(answer),
            (Code::Aborted, "STALE_ETAG".into(), vec!["etag".into()])
        );
    }
    let named = pb::ReviewUniversalProvisionRequest {
        status: NotInPlace.into(),
        request_id: Uuid::new_v4().to_string(),
        ..review_of(&world, "100001", "U-01", "\"1\"")
    };
    let first = review(&world, named.clone()).await.unwrap();
    review(&world, review_of(&world, "100001", "U-01", &first.etag))
        .await
        .unwrap();
    let retire = pb::provision_change::Change::Retire("U-01".into());
    change_catalogue(&world, vec![retire]).await;
    assert_eq!(review(&world, named.clone()).await.unwrap(), first);
    let other = pb::ReviewUniversalProvisionRequest {
        status: InPlace.into(),
        ..named
    };
    assert_eq!(
        refused(review(&world, other).await),
        invalid("REQUEST_ID_REUSED", "request_id")
    );
    assert_eq!(
        history(&world, "100001", "U-01").await.unwrap().len(),
        3,
        "also of one that was retired"
    );
}

#[tokio::test]
async fn a_trusts_own_catalogue_says_what_its_schools_review_and_how_often() {
    let world = World::on(TODAY).await;
    world.school("100001").await;
    let reviewed = review(&world, review_of(&world, "100001", "U-02", "\"0\""))
        .await
        .unwrap();
    let put = |id: &str, title: &str, review_days: i32| {
        pb::provision_change::Change::Put(pb::Provision {
            provision_id: id.into(),
            stage: pb::Stage::Universal.into(),
            title: title.into(),
            guidance: "As the trust has it.".into(),
            kind: pb::ProvisionKind::Expectation.into(),
            condition: pb::ProvisionCondition::Always.into(),
            responsible_roles: vec![pb::ResponsibleRole::AllStaff.into()],
            review_days,
        })
    };
    let changes = vec![
        put("U-breakfast", "Breakfast for all", 14),
        put("U-02", "Warm, safe and dry", 0),
        pb::provision_change::Change::Retire("U-03".into()),
    ];
    change_catalogue(&world, changes).await;
    let listed = of_school(&world, "100001").await;
    assert_eq!((listed.catalogue_version, listed.provisions.len()), (2, 20));
    assert!(listed.provisions.iter().all(|found| found.provision_id != "U-03"));
    // Reworded, it is what was reviewed.
    let reworded = provision(&world, "100001", "U-02").await;
    assert_eq!(reworded.title, "Warm, safe and dry");
    assert_eq!(reworded.last_review, reviewed.last_review);
    assert_eq!(reworded.last_review.unwrap().catalogue_version, 1);
    // Two weeks on is a Friday, and nobody gave the school a calendar that says otherwise.
    let own = review(&world, review_of(&world, "100001", "U-breakfast", "\"0\""))
        .await
        .unwrap();
    let last = own.last_review.unwrap();
    assert_eq!(
        (last.next_review_on, last.catalogue_version),
        (Some(pb_date("2025-12-12")), 2)
    );
}

#[tokio::test]
async fn a_trust_is_told_how_far_its_schools_have_come_by_provision_and_by_school() {
    let world = World::on(TODAY).await;
    for urn in ["100001", "100002", "100003"] {
        world.school(urn).await;
    }
    for (school, id, status, next) in [
        ("100001", "U-01", InPlace, Some("2025-12-05")),
        ("100001", "U-02", Partly, None),
        ("100002", "U-01", NotInPlace, Some("2025-12-12")),
    ] {
        let asked = pb::ReviewUniversalProvisionRequest {
            status: status.into(),
            next_review_on: next.map(pb_date),
            ..review_of(&world, school, id, "\"0\"")
        };
        review(&world, asked).await.unwrap();
    }
    world.turn_to("2025-12-08");
    let found = summary(&world).await;
    assert_eq!((found.as_of, found.catalogue_version), (Some(pb_date("2025-12-08")), 1));
    assert_eq!(found.provisions.len(), 20);
    assert_eq!(found.provisions[0].counts, counts(1, 0, 1, 1, 1));
    assert_eq!(found.provisions[1].counts, counts(0, 1, 0, 2, 0));
    assert_eq!(found.provisions[2].counts, counts(0, 0, 0, 3, 0));
    let schools: Vec<_> = found
        .schools
        .iter()
        .map(|school| (school.urn.as_str(), school.counts))
        .collect();
    assert_eq!(
        schools,
        [
            ("100001", counts(1, 1, 0, 18, 1)),
            ("100002", counts(0, 0, 1, 19, 0)),
            ("100003", counts(0, 0, 0, 20, 0)),
        ]
    );
    assert_eq!(found.whole, counts(1, 1, 1, 57, 1));
}
