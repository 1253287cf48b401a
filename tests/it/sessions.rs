//! Recording marks: what is taken, what is not and why, what is kept of a change.

use futures::StreamExt as _;
use graduated_response::proto as pb;
use graduated_response::service::Limits;
use tonic::Code;
use uuid::Uuid;

use crate::common::world::{by_name, correction, enrolment, item, person, pupil_input, school_days};
use crate::common::{World, at, marks, refused};

/// A term's worth of present marks, from Tuesday 2 September 2025.
async fn world_with_pupil() -> (World, String, String) {
    let world = World::on("2025-09-15").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("ada", &school).await;
    (world, school, pupil)
}

fn reasons(result: &pb::SessionBatchResult) -> Vec<(i32, &str, &str)> {
    let reasons = result.rejections.iter();
    reasons
        .map(|found| (found.item_index, found.reason.as_str(), found.field.as_str()))
        .collect()
}

fn warnings(result: &pb::SessionBatchResult) -> Vec<(&str, &str)> {
    let warnings = result.warnings.iter();
    warnings
        .map(|found| (found.reason.as_str(), found.field.as_str()))
        .collect()
}

async fn register(world: &World, pupil: &str) -> Vec<i32> {
    let request = pb::ListRegistersRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(crate::common::world::by_id(pupil)),
        academic_year: 0,
    };
    let answer = world.sessions().list_registers(request).await.unwrap().into_inner();
    assert!(answer.registers.len() <= 1);
    answer
        .registers
        .into_iter()
        .next()
        .map_or(Vec::new(), |register| register.marks)
}

async fn revisions(world: &World, pupil: &str) -> Vec<pb::Revision> {
    let request = pb::ListRevisionsRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(crate::common::world::by_id(pupil)),
        ..pb::ListRevisionsRequest::default()
    };
    let answer = world.sessions().list_revisions(request).await.unwrap().into_inner();
    answer.revisions
}

#[tokio::test]
async fn marks_are_accepted_then_unchanged_then_corrected() {
    let (world, _, pupil) = world_with_pupil().await;
    let first = world.record(&pupil, at("2025-09-08", "AM"), "/ \\ / \\").await;
    assert_eq!((first.accepted, first.unchanged, first.corrected), (1, 0, 0));
    assert_eq!(
        (first.marks_new, first.marks_corrected, first.marks_unchanged),
        (4, 0, 0)
    );

    let again = world.record(&pupil, at("2025-09-08", "AM"), "/ \\ / \\").await;
    assert_eq!((again.accepted, again.unchanged, again.corrected), (0, 1, 0));
    assert_eq!(again.marks_unchanged, 4);

    let changed = world.record(&pupil, at("2025-09-08", "PM"), "L - I /").await;
    assert_eq!((changed.accepted, changed.unchanged, changed.corrected), (0, 0, 1));
    assert_eq!((changed.marks_new, changed.marks_corrected), (1, 2));

    let register = register(&world, &pupil).await;
    assert_eq!(register.len(), 81, "bytes after the last mark are left off");
    assert_eq!(register[76..], marks("/ L / I /"));
    assert!(register[..76].iter().all(|mark| *mark == 0));
}

#[tokio::test]
async fn a_changed_mark_keeps_the_original_entry_the_reason_and_who_changed_it() {
    let (world, _, pupil) = world_with_pupil().await;
    world.record(&pupil, at("2025-09-08", "AM"), "N N").await;
    world.record(&pupil, at("2025-09-08", "AM"), "L -").await;
    world.record(&pupil, at("2025-09-08", "AM"), "O 0").await;

    let kept = revisions(&world, &pupil).await;
    let changes: Vec<_> = kept
        .iter()
        .map(|revision| (revision.session.unwrap(), revision.old_code(), revision.new_code()))
        .collect();
    use pb::AttendanceCode::{Cleared, L, N, O};
    // Of one batch the order is not told.
    assert_eq!(changes.len(), 3);
    assert_eq!(changes[2], (at("2025-09-08", "AM"), N, L));
    assert!(changes[..2].contains(&(at("2025-09-08", "AM"), L, O)));
    assert!(changes[..2].contains(&(at("2025-09-08", "PM"), N, Cleared)));
    for revision in &kept {
        assert_eq!(revision.correction, Some(correction("checked with the tutor")));
        assert_eq!(revision.pupil_id, pupil);
        assert!(revision.recorded_at.is_some() && !revision.request_id.is_empty());
    }
    assert_eq!(register(&world, &pupil).await.last(), Some(&marks("O")[0]));
}

#[tokio::test]
async fn revisions_come_in_pages_latest_first_and_by_date() {
    let (world, _, pupil) = world_with_pupil().await;
    for code in ["N", "O", "I", "M", "L"] {
        world.record(&pupil, at("2025-09-08", "AM"), code).await;
    }
    world.record(&pupil, at("2025-09-09", "AM"), "O").await;
    world.record(&pupil, at("2025-09-09", "AM"), "I").await;
    let list = |page_size, page_token: String, from: Option<&str>| {
        let request = pb::ListRevisionsRequest {
            trust_id: world.trust_id.clone(),
            pupil: Some(crate::common::world::by_id(&pupil)),
            from_date: from.map(crate::common::world::pb_date),
            to_date: None,
            page_size,
            page_token,
            ..pb::ListRevisionsRequest::default()
        };
        let mut client = world.sessions();
        async move { client.list_revisions(request).await }
    };
    let first = list(2, String::new(), None).await.unwrap().into_inner();
    let second = list(2, first.next_page_token.clone(), None).await.unwrap().into_inner();
    let third = list(2, second.next_page_token.clone(), None)
        .await
        .unwrap()
        .into_inner();
    let codes = |page: &pb::ListRevisionsResponse| -> Vec<_> {
        page.revisions.iter().map(|revision| revision.new_code()).collect()
    };
    use pb::AttendanceCode::{I, L, M, O};
    assert_eq!(
        (codes(&first), codes(&second), codes(&third)),
        (vec![I, L], vec![M, I], vec![O])
    );
    assert_eq!(third.next_page_token, "");
    let of_the_ninth = list(0, String::new(), Some("2025-09-09")).await.unwrap().into_inner();
    assert_eq!(codes(&of_the_ninth), [I]);

    // A token is good for the same list alone.
    let other_filter = list(2, first.next_page_token, Some("2025-09-01")).await;
    assert_eq!(
        refused(other_filter),
        (
            Code::InvalidArgument,
            "UNKNOWN_PAGE_TOKEN".into(),
            vec!["page_token".into()]
        )
    );
    let made_up = list(2, "made up".into(), None).await;
    assert_eq!(refused(made_up).1, "UNKNOWN_PAGE_TOKEN");
    assert_eq!(refused(list(1001, String::new(), None).await).1, "INVALID_PAGE_SIZE");
    assert_eq!(refused(list(-1, String::new(), None).await).2, ["page_size"]);
}

#[tokio::test]
async fn a_change_that_says_neither_why_nor_by_whom_is_rejected_and_changes_nothing() {
    let (world, _, pupil) = world_with_pupil().await;
    world.record(&pupil, at("2025-09-08", "AM"), "N").await;
    let batch = |correction| pb::SessionBatch {
        items: vec![item(&pupil, at("2025-09-08", "AM"), "L \\")],
        correction,
        ..pb::SessionBatch::default()
    };
    let result = world.record_batch(batch(None)).await.unwrap();
    assert_eq!(reasons(&result), [(0, "CORRECTION_REQUIRED", "correction")]);
    assert_eq!(result.rejections[0].session, Some(at("2025-09-08", "AM")));
    assert_eq!(register(&world, &pupil).await[76..], marks("N"));
    assert_eq!(revisions(&world, &pupil).await, []);

    // A first entry needs none.
    let first_entry = pb::SessionBatch {
        items: vec![item(&pupil, at("2025-09-08", "AM"), "N \\")],
        ..pb::SessionBatch::default()
    };
    assert_eq!(world.record_batch(first_entry).await.unwrap().accepted, 1);

    let nameless = pb::Correction {
        reason: "checked".into(),
        corrected_by: Some(pb::Person {
            name: " ".into(),
            ..person()
        }),
    };
    let (code, reason, fields) = refused(world.record_batch(batch(Some(nameless))).await);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "MISSING_TEXT"));
    assert_eq!(fields, ["batch.correction.corrected_by.name"]);
}

#[tokio::test]
async fn each_item_that_is_not_taken_is_named_with_its_reason_and_the_others_are_taken() {
    let (world, school, pupil) = world_with_pupil().await;
    let left = enrolment(&school, pb::EnrolmentKind::Sole, "2025-09-01", "2025-09-05");
    let leaver = world.pupil_enrolled("leaver", &[left]).await;
    let mut unknown_code = item(&pupil, at("2025-09-09", "AM"), "/ \\");
    unknown_code.marks[1] = 99;
    let mut no_half = item(&pupil, at("2025-09-09", "AM"), "/");
    no_half.first_session.as_mut().unwrap().half = 0;
    let mut no_date = item(&pupil, at("2025-09-09", "AM"), "/");
    no_date.first_session.as_mut().unwrap().date = Some(pb::Date {
        year: 2026,
        month: 2,
        day: 29,
    });
    let mut wrong_upn = item(&pupil, at("2025-09-09", "AM"), "/");
    wrong_upn.pupil = Some(pb::PupilKey {
        key: Some(pb::pupil_key::Key::Upn("12345".into())),
    });
    let mut nobody = item(&pupil, at("2025-09-09", "AM"), "/");
    nobody.pupil = None;
    let mut other_school = item(&pupil, at("2025-09-09", "AM"), "/");
    other_school.school = "999999".into();
    let items = vec![
        item(&pupil, at("2025-09-08", "AM"), "/ \\"),
        unknown_code,
        item(&Uuid::new_v4().to_string(), at("2025-09-09", "AM"), "/"),
        item(&leaver, at("2025-09-05", "PM"), "\\ - - - - /"),
        item(&pupil, at("2026-07-31", "PM"), "\\ /"),
        no_half,
        no_date,
        wrong_upn,
        nobody,
        other_school,
        item(&pupil, at("2025-09-09", "AM"), "- -"),
        item(&pupil, at("1901-09-09", "AM"), "/"),
        item(&leaver, at("2025-09-05", "AM"), "/ \\"),
    ];
    let result = world.try_record(items).await.unwrap();
    assert_eq!((result.accepted, result.rejected), (2, 11));
    assert_eq!(
        reasons(&result),
        [
            (1, "UNKNOWN_CODE", "marks[1]"),
            (2, "UNKNOWN_PUPIL", "pupil"),
            (3, "OUTSIDE_ENROLMENT", "marks[5]"),
            (4, "OUTSIDE_ACADEMIC_YEAR", "marks"),
            (5, "INVALID_SESSION", "first_session.half"),
            (6, "INVALID_DATE", "first_session.date"),
            (7, "INVALID_UPN", "pupil.upn"),
            (8, "MISSING_PUPIL", "pupil"),
            (9, "UNKNOWN_SCHOOL", "school"),
            (10, "NO_MARKS", "marks"),
            (11, "INVALID_DATE", "first_session.date"),
        ]
    );
    assert_eq!(result.rejections[0].session, Some(at("2025-09-09", "PM")));
    assert_eq!(result.rejections[2].session, Some(at("2025-09-08", "AM")));
    assert!(result.rejections.iter().all(|found| !found.message.is_empty()));
}

#[tokio::test]
async fn marks_that_deserve_a_look_are_counted_and_warned_of() {
    let (world, _, pupil) = world_with_pupil().await;
    // `\` in a morning, `/` in an afternoon, a code withdrawn in 2024, and ordinary ones.
    let result = world.record(&pupil, at("2025-09-08", "AM"), "\\ / H \\ / \\").await;
    assert_eq!(result.accepted, 1);
    assert_eq!(
        warnings(&result),
        [
            ("CODE_OF_OTHER_HALF", "marks[0]"),
            ("CODE_OF_OTHER_HALF", "marks[1]"),
            ("CODE_OUTSIDE_VALIDITY", "marks[2]"),
        ]
    );
    assert_eq!(result.warnings[2].session, Some(at("2025-09-09", "AM")));
    assert_eq!(result.warnings[2].code(), pb::AttendanceCode::H);
    let tally = world.stage(&pupil).await.tally.unwrap();
    assert_eq!((tally.attended, tally.possible, tally.authorised), (5, 6, 1));
}

#[tokio::test]
async fn only_so_many_warnings_are_listed_and_all_are_counted() {
    let limits = Limits {
        warnings_max: 2,
        ..Limits::default()
    };
    let world = World::with_limits("2025-09-15", limits).await;
    let school = world.school("100001").await;
    let pupil = world.pupil("ada", &school).await;
    let result = world.record(&pupil, at("2025-09-08", "AM"), "H H H H H").await;
    assert_eq!((result.warnings.len(), result.warnings_total), (2, 5));
}

#[tokio::test]
async fn items_that_mark_the_same_session_are_all_rejected_whatever_their_order() {
    let (world, _, pupil) = world_with_pupil().await;
    let one = item(&pupil, at("2025-09-08", "AM"), "/ \\");
    let mut other = item(&pupil, at("2025-09-08", "PM"), "O");
    other.pupil = Some(by_name("ada"));
    let apart = item(&pupil, at("2025-09-09", "AM"), "I");
    for items in [vec![one.clone(), other.clone(), apart.clone()], vec![apart, other, one]] {
        let result = world.try_record(items).await.unwrap();
        assert_eq!(result.rejected, 2);
        for rejection in &result.rejections {
            assert_eq!(
                (rejection.reason.as_str(), rejection.session),
                ("DUPLICATE_ITEM", Some(at("2025-09-08", "PM")))
            );
        }
        assert_eq!(register(&world, &pupil).await[76..], marks("- - I"));
    }
}

#[tokio::test]
async fn all_or_nothing_takes_nothing_where_one_item_cannot_be_taken() {
    let (world, _, pupil) = world_with_pupil().await;
    let batch = pb::SessionBatch {
        items: vec![
            item(&pupil, at("2025-09-08", "AM"), "/ \\"),
            item(&Uuid::new_v4().to_string(), at("2025-09-08", "AM"), "/"),
        ],
        all_or_nothing: true,
        ..pb::SessionBatch::default()
    };
    let (code, reason, fields) = refused(world.record_batch(batch).await);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "BATCH_REJECTED"));
    assert_eq!(fields, ["batch.items[1].pupil"]);
    assert!(register(&world, &pupil).await.is_empty());
}

#[tokio::test]
async fn an_empty_batch_and_one_over_the_limit_are_refused() {
    let limits = Limits {
        session_items_max: 2,
        ..Limits::default()
    };
    let world = World::with_limits("2025-09-15", limits).await;
    let empty = world.record_batch(pb::SessionBatch::default()).await;
    assert_eq!(
        refused(empty),
        (Code::InvalidArgument, "EMPTY_BATCH".into(), vec!["batch.items".into()])
    );
    let pupil = Uuid::new_v4().to_string();
    let three = vec![item(&pupil, at("2025-09-08", "AM"), "/"); 3];
    let (code, reason, _) = refused(world.try_record(three).await);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "BATCH_TOO_LARGE"));
}

#[tokio::test]
async fn the_same_request_again_gets_the_first_answer_and_another_content_is_refused() {
    let (world, _, pupil) = world_with_pupil().await;
    let batch = |run| pb::SessionBatch {
        request_id: "0191e1a4-0000-7000-8000-000000000001".into(),
        items: vec![item(&pupil, at("2025-09-08", "AM"), run)],
        ..pb::SessionBatch::default()
    };
    let first = world.record_batch(batch("/ \\")).await.unwrap();
    let again = world.record_batch(batch("/ \\")).await.unwrap();
    assert!(!first.receipt.as_ref().unwrap().replayed && again.receipt.as_ref().unwrap().replayed);
    assert_eq!(
        again.receipt.as_ref().unwrap().recorded_at,
        first.receipt.as_ref().unwrap().recorded_at
    );
    assert_eq!(
        (again.accepted, again.marks_new),
        (1, 2),
        "the first answer, not a second one"
    );

    let other = refused(world.record_batch(batch("O O")).await);
    assert_eq!(other.1, "REQUEST_ID_REUSED");
    let mut wrong = batch("/ \\");
    wrong.request_id = "not a uuid".into();
    assert_eq!(refused(world.record_batch(wrong).await).2, ["batch.request_id"]);
}

#[tokio::test]
async fn the_same_request_many_times_at_once_is_recorded_once() {
    let (world, _, pupil) = world_with_pupil().await;
    let batch = pb::SessionBatch {
        request_id: Uuid::new_v4().to_string(),
        items: vec![item(&pupil, at("2025-09-08", "AM"), "/ \\")],
        ..pb::SessionBatch::default()
    };
    let answers = futures::future::join_all((0..12).map(|_| world.record_batch(batch.clone()))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let firsts = answers
        .iter()
        .filter(|answer| !answer.receipt.as_ref().unwrap().replayed);
    assert_eq!(firsts.count(), 1);
    assert!(answers.iter().all(|answer| answer.accepted == 1));
}

#[tokio::test]
async fn writers_of_the_same_pupils_at_once_lose_no_mark() {
    let world = World::on("2026-07-20").await;
    let school = world.school("100001").await;
    let inputs = (0..20).map(|n| {
        pupil_input(
            &n.to_string(),
            &[enrolment(&school, pb::EnrolmentKind::Sole, "2025-09-01", "")],
        )
    });
    let pupils = world.upsert(inputs.collect()).await.unwrap().pupil_ids;
    // Each writer marks its own week of every pupil, in its own order.
    let weeks = [
        "2025-09-08",
        "2025-09-15",
        "2025-09-22",
        "2025-09-29",
        "2025-10-06",
        "2025-10-13",
    ];
    let writers = weeks.iter().enumerate().map(|(writer, monday)| {
        let mut items: Vec<_> = pupils
            .iter()
            .map(|pupil| item(pupil, at(monday, "AM"), "/ \\ I I / \\ O O / \\"))
            .collect();
        items.rotate_left(writer * 3);
        world.try_record(items)
    });
    for result in futures::future::join_all(writers).await {
        assert_eq!(result.unwrap().accepted, 20);
    }
    for pupil in &pupils {
        let tally = world.stage(pupil).await.tally.unwrap();
        assert_eq!((tally.attended, tally.possible), (36, 60));
        assert_eq!((tally.authorised, tally.unauthorised), (12, 12));
    }
}

#[tokio::test]
async fn a_stream_acknowledges_each_batch_in_order_and_goes_on_after_a_refused_one() {
    let (world, _, pupil) = world_with_pupil().await;
    let batch = |items| pb::StreamSessionsRequest {
        trust_id: String::new(),
        batch: Some(pb::SessionBatch {
            items,
            ..pb::SessionBatch::default()
        }),
    };
    let mut first = batch(vec![item(&pupil, at("2025-09-08", "AM"), "/ \\")]);
    first.trust_id = world.trust_id.clone();
    let requests = vec![
        first,
        batch(vec![]),
        batch(vec![item(&pupil, at("2025-09-09", "AM"), "/ O")]),
    ];
    let answers = world
        .sessions()
        .stream_sessions(futures::stream::iter(requests))
        .await
        .unwrap();
    let outcomes: Vec<_> = answers
        .into_inner()
        .map(|answer| answer.unwrap().outcome.unwrap())
        .collect()
        .await;
    use pb::stream_sessions_response::Outcome;
    assert_eq!(outcomes.len(), 3);
    assert!(matches!(&outcomes[0], Outcome::Result(result) if result.accepted == 1));
    assert!(matches!(&outcomes[1], Outcome::Refusal(refusal)
        if refusal.code == 3 && refusal.reason == "EMPTY_BATCH" && refusal.field == "batch.items"));
    assert!(matches!(&outcomes[2], Outcome::Result(result) if result.marks_new == 2));
    assert_eq!(register(&world, &pupil).await[76..], marks("/ \\ / O"));
}

#[tokio::test]
async fn a_stream_belongs_to_one_trust() {
    let (world, _, pupil) = world_with_pupil().await;
    let other = world.new_trust("Another Trust").await;
    let batch = |trust: &str| pb::StreamSessionsRequest {
        trust_id: trust.into(),
        batch: Some(pb::SessionBatch {
            items: vec![item(&pupil, at("2025-09-08", "AM"), "/")],
            ..pb::SessionBatch::default()
        }),
    };
    let requests = vec![batch(&world.trust_id), batch(&other)];
    let answers = world
        .sessions()
        .stream_sessions(futures::stream::iter(requests))
        .await
        .unwrap();
    let answers: Vec<_> = answers.into_inner().collect().await;
    assert_eq!(answers.len(), 2);
    assert!(answers[0].is_ok());
    let (code, reason, fields) = refused(answers.into_iter().nth(1).unwrap());
    assert_eq!(
        (code, reason.as_str(), fields.as_slice()),
        (Code::InvalidArgument, "TRUST_CHANGED", &["trust_id".to_owned()][..])
    );
}

#[tokio::test]
async fn a_pupil_of_another_trust_is_answered_as_one_that_never_was() {
    let (world, _, pupil) = world_with_pupil().await;
    let other = world.new_trust("Another Trust").await;
    let try_as_other = |pupil: String| {
        let request = pb::RecordSessionsRequest {
            trust_id: other.clone(),
            batch: Some(pb::SessionBatch {
                items: vec![item(&pupil, at("2025-09-08", "AM"), "/")],
                ..pb::SessionBatch::default()
            }),
        };
        let mut client = world.sessions();
        async move {
            client
                .record_sessions(request)
                .await
                .unwrap()
                .into_inner()
                .result
                .unwrap()
        }
    };
    let theirs = try_as_other(pupil.clone()).await;
    let nobodys = try_as_other(Uuid::new_v4().to_string()).await;
    assert_eq!(theirs.rejections, nobodys.rejections);
    assert_eq!(reasons(&theirs), [(0, "UNKNOWN_PUPIL", "pupil")]);
    assert!(register(&world, &pupil).await.is_empty());

    let nowhere = pb::RecordSessionsRequest {
        trust_id: Uuid::new_v4().to_string(),
        batch: Some(pb::SessionBatch {
            items: vec![item(&pupil, at("2025-09-08", "AM"), "/")],
            ..pb::SessionBatch::default()
        }),
    };
    assert_eq!(
        refused(world.sessions().record_sessions(nowhere).await).0,
        Code::NotFound
    );
}

#[tokio::test]
async fn a_dually_registered_pupil_needs_the_school_named_and_each_school_has_its_register() {
    let world = World::on("2025-09-15").await;
    let (main, other) = (world.school("100001").await, world.school("100002").await);
    let pupil = world
        .pupil_enrolled(
            "dual",
            &[
                enrolment(&main, pb::EnrolmentKind::Main, "2025-09-01", ""),
                enrolment(&other, pb::EnrolmentKind::Subsidiary, "2025-09-01", ""),
            ],
        )
        .await;
    let unnamed = world
        .try_record(vec![item(&pupil, at("2025-09-08", "AM"), "/")])
        .await
        .unwrap();
    assert_eq!(reasons(&unnamed), [(0, "AMBIGUOUS_ENROLMENT", "marks[0]")]);
    let at_school = |school: &str, run| pb::SessionItem {
        school: school.into(),
        ..item(&pupil, at("2025-09-08", "AM"), run)
    };
    // The same session at both schools in one batch: two registers, no duplicate.
    let result = world
        .try_record(vec![at_school(&main, "D D / \\"), at_school("100002", "/ O D D")])
        .await
        .unwrap();
    assert_eq!((result.accepted, result.rejected), (2, 0));
    let tally = world.stage(&pupil).await.tally.unwrap();
    assert_eq!((tally.attended, tally.possible, tally.unauthorised), (3, 4, 1));
}

#[tokio::test]
async fn a_run_over_two_enrolments_goes_to_the_register_of_each() {
    let world = World::on("2025-09-15").await;
    let (first, second) = (world.school("100001").await, world.school("100002").await);
    let pupil = world
        .pupil_enrolled(
            "mover",
            &[
                enrolment(&first, pb::EnrolmentKind::Sole, "2025-09-01", "2025-09-09"),
                enrolment(&second, pb::EnrolmentKind::Sole, "2025-09-10", ""),
            ],
        )
        .await;
    world.record_days(&pupil, "2025-09-08", "2025-09-12", "/", "\\").await;
    let request = pb::ListRegistersRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_name("mover")),
        academic_year: 2025,
    };
    let registers = world
        .sessions()
        .list_registers(request)
        .await
        .unwrap()
        .into_inner()
        .registers;
    let attended = |school: &str| {
        let register = registers.iter().find(|register| register.school_id == school).unwrap();
        register.tally.unwrap().attended
    };
    assert_eq!((attended(&first), attended(&second)), (4, 6));
    assert_eq!(world.stage(&pupil).await.tally.unwrap().possible, 10);
}

#[tokio::test]
async fn a_prospective_pupil_is_marked_z_before_the_enrolment_begins_and_nothing_else() {
    let world = World::on("2025-09-15").await;
    let school = world.school("100001").await;
    let to_come = enrolment(&school, pb::EnrolmentKind::Sole, "2025-09-10", "");
    let pupil = world.pupil_enrolled("to come", &[to_come]).await;
    world.record(&pupil, at("2025-09-08", "AM"), "Z Z Z Z / \\").await;
    let refused = world
        .try_record(vec![item(&pupil, at("2025-09-09", "AM"), "/")])
        .await
        .unwrap();
    assert_eq!(reasons(&refused), [(0, "OUTSIDE_ENROLMENT", "marks[0]")]);
    let tally = world.stage(&pupil).await.tally.unwrap();
    assert_eq!((tally.attended, tally.possible), (2, 2));
}

#[tokio::test]
async fn a_year_at_once_and_session_by_session_give_the_same_register_and_stage() {
    let world = World::on("2025-10-31").await;
    let school = world.school("100001").await;
    let (at_once, by_session) = (
        world.pupil("at once", &school).await,
        world.pupil("by session", &school).await,
    );
    let run = school_days("2025-09-02", "2025-10-24", "/", "O");
    world.record(&at_once, at("2025-09-02", "AM"), &run).await;
    let year = graduated_response::domain::session::AcademicYear::from_start_year(2025).unwrap();
    for (place, mark) in run.split(' ').enumerate().filter(|(_, mark)| *mark != "-") {
        let session = year.session_at(64 + place);
        let half = if place.is_multiple_of(2) { "AM" } else { "PM" };
        world
            .record(&by_session, at(&session.date.to_string(), half), mark)
            .await;
    }
    assert_eq!(register(&world, &at_once).await, register(&world, &by_session).await);
    let (one, other) = (world.stage(&at_once).await, world.stage(&by_session).await);
    assert_eq!(
        (one.stage, one.tally, one.since),
        (other.stage, other.tally, other.since)
    );
}
