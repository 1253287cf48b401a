//! The whole of a school's registers, taken with a brake.

use futures::stream;
use graduated_response::proto as pb;
use graduated_response::service::Limits;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::common::World;
use crate::common::world::{at, by_id, by_name, correction, enrolment, marks, pb_date, person, refused, school_days};

const FROM: &str = "2025-09-08";
const TO: &str = "2025-09-19";

/// A world on Friday 19 September 2025 with a school of pupils `p0`, `p1` and so on, present since 1 September.
struct School {
    world: World,
    school: String,
    pupils: Vec<String>,
}

async fn school_of(pupils: usize) -> School {
    let world = World::on("2025-09-19").await;
    let school = world.school("100001").await;
    let mut ids = Vec::new();
    let mut items = Vec::new();
    for number in 0..pupils {
        let id = world.pupil(&format!("p{number}"), &school).await;
        let present = school_days("2025-09-01", "2025-09-19", "/", "\\");
        items.push(crate::common::world::item(&id, at("2025-09-01", "AM"), &present));
        ids.push(id);
    }
    assert_eq!(world.try_record(items).await.unwrap().rejections, []);
    School {
        world,
        school,
        pupils: ids,
    }
}

fn header(world: &World) -> pb::ReconciliationHeader {
    pb::ReconciliationHeader {
        trust_id: world.trust_id.clone(),
        school: "100001".into(),
        from_date: Some(pb_date(FROM)),
        to_date: Some(pb_date(TO)),
        correction: Some(correction("nightly reconciliation")),
        limits: None,
        request_id: Uuid::new_v4().to_string(),
    }
}

/// A run of the two weeks.
fn item(pupil: pb::PupilKey, run: &str) -> pb::ReconciliationItem {
    pb::ReconciliationItem {
        pupil: Some(pupil),
        first_session: Some(at(FROM, "AM")),
        marks: marks(run),
        school: String::new(),
    }
}

/// A pupil who was present on every day of the two weeks.
fn present(pupil: &str) -> pb::ReconciliationItem {
    item(by_id(pupil), &school_days(FROM, TO, "/", "\\"))
}

async fn reconcile(
    world: &World,
    header: pb::ReconciliationHeader,
    items: Vec<pb::ReconciliationItem>,
) -> Result<pb::ReconcileRegistersResponse, Status> {
    use pb::reconcile_registers_request::Part;
    let mut parts = vec![Part::Header(header)];
    // In several messages: how they are cut does not matter.
    for items in items.chunks(3) {
        parts.push(Part::Items(pb::ReconciliationItems { items: items.to_vec() }));
    }
    let messages = parts
        .into_iter()
        .map(|part| pb::ReconcileRegistersRequest { part: Some(part) });
    let messages: Vec<_> = messages.collect();
    let answer = world.sessions().reconcile_registers(stream::iter(messages)).await?;
    Ok(answer.into_inner())
}

async fn approve(world: &World, shown: &pb::Reconciliation) -> Result<pb::ApproveReconciliationResponse, Status> {
    let request = pb::ApproveReconciliationRequest {
        trust_id: world.trust_id.clone(),
        reconciliation_id: shown.reconciliation_id.clone(),
        etag: shown.etag.clone(),
        approved_by: Some(head()),
    };
    Ok(world.sessions().approve_reconciliation(request).await?.into_inner())
}

fn head() -> pb::Person {
    pb::Person {
        name: "C. Nkosi".into(),
        position: "headteacher".into(),
        ..pb::Person::default()
    }
}

async fn get(world: &World, id: &str, page_size: i32, token: &str) -> Result<pb::GetReconciliationResponse, Status> {
    let request = pb::GetReconciliationRequest {
        trust_id: world.trust_id.clone(),
        reconciliation_id: id.into(),
        page_size,
        page_token: token.into(),
    };
    Ok(world.sessions().get_reconciliation(request).await?.into_inner())
}

async fn marks_stored(world: &World) -> i64 {
    let row = world
        .sql()
        .await
        .query_one("SELECT count(*) FROM marks", &[])
        .await
        .unwrap();
    row.get(0)
}

async fn revisions_stored(world: &World) -> Vec<pb::Revision> {
    world
        .revisions(pb::ListRevisionsRequest::default())
        .await
        .unwrap()
        .revisions
}

#[tokio::test]
async fn under_the_brake_it_enters_what_is_new_corrects_what_differs_and_takes_away_what_is_gone() {
    let School { world, school, pupils } = school_of(6).await;
    let newcomer = world.pupil("newcomer", &school).await;
    let mut items: Vec<_> = pupils[2..].iter().map(|pupil| present(pupil)).collect();
    // One was ill on a day, one has no mark for an afternoon, one is new.
    let ill = format!("I I {}", school_days("2025-09-09", TO, "/", "\\"));
    items.push(item(by_name("p0"), &ill));
    let gone = format!("/ - {}", school_days("2025-09-09", TO, "/", "\\"));
    items.push(item(by_id(&pupils[1]), &gone));
    items.push(present(&newcomer));
    let asked = header(&world);
    let answer = reconcile(&world, asked.clone(), items.clone()).await.unwrap();
    let done = answer.reconciliation.unwrap();
    assert_eq!(done.state(), pb::ReconciliationState::Applied);
    assert_eq!(done.stops, [0; 0]);
    assert_eq!(
        (
            done.marks_new,
            done.marks_changed,
            done.marks_removed,
            done.marks_unchanged
        ),
        (20, 2, 1, 117)
    );
    assert_eq!(
        (
            done.pupils_compared,
            done.pupils_touched,
            done.pupils_missing,
            done.pupils_left
        ),
        (7, 3, 0, 0)
    );
    let limits = done.limits.unwrap();
    assert_eq!(
        (
            limits.removed_marks_max,
            limits.restaged_pupils_max,
            limits.removed_tenths_max
        ),
        (Some(500), Some(25), Some(10))
    );
    assert_eq!((done.school_id.as_str(), done.decided_by), (school.as_str(), None));
    assert_eq!(answer.pupils.len(), 3);
    let of = |pupil: &str| {
        answer
            .pupils
            .iter()
            .find(|found| found.pupil_id == pupil)
            .unwrap()
            .clone()
    };
    assert_eq!((of(&pupils[0]).marks_changed, of(&pupils[0]).marks_unchanged), (2, 18));
    assert_eq!((of(&pupils[1]).marks_removed, of(&pupils[1]).missing), (1, false));
    assert_eq!(of(&newcomer).marks_new, 20);
    // The registers are those uploaded; what lies outside the dates is as it was.
    let register = world.registers_of(&pupils[1]).await.remove(0);
    assert_eq!(register.marks[76..79], marks("/ - /"));
    assert_eq!(register.marks.iter().filter(|mark| **mark != 0).count(), 29);
    // Every change is kept with who and why, under the request.
    let kept = revisions_stored(&world).await;
    assert_eq!(kept.len(), 3);
    assert!(kept.iter().all(|revision| {
        revision.correction == Some(correction("nightly reconciliation")) && revision.request_id == asked.request_id
    }));
    let cleared = kept
        .iter()
        .find(|revision| revision.new_code() == pb::AttendanceCode::Cleared)
        .unwrap();
    assert_eq!(
        (cleared.session, cleared.old_code()),
        (Some(at(FROM, "PM")), pb::AttendanceCode::PresentAfternoon)
    );

    // The same request again is answered by what it made; the same content anew changes nothing.
    let again = reconcile(&world, asked.clone(), items.clone()).await.unwrap();
    assert!(again.receipt.unwrap().replayed);
    assert_eq!(again.reconciliation.unwrap().reconciliation_id, done.reconciliation_id);
    let reused = reconcile(&world, asked, items[1..].to_vec()).await;
    assert_eq!(refused(reused).1, "REQUEST_ID_REUSED");
    let anew = reconcile(&world, header(&world), items)
        .await
        .unwrap()
        .reconciliation
        .unwrap();
    assert_eq!(
        (
            anew.marks_new,
            anew.marks_changed,
            anew.marks_removed,
            anew.marks_unchanged
        ),
        (0, 0, 0, 139)
    );
    assert_eq!(revisions_stored(&world).await.len(), 3);
}

#[tokio::test]
async fn beyond_the_brake_nothing_is_written_until_a_person_has_seen_what_it_would_do() {
    let School { world, school, pupils } = school_of(4).await;
    let before = marks_stored(&world).await;
    // Two pupils are missing from the upload, and one was away for a week.
    let away = school_days(FROM, "2025-09-12", "O", "O");
    let away = format!("{away} - - - - {}", school_days("2025-09-15", TO, "/", "\\"));
    let items = vec![present(&pupils[0]), item(by_id(&pupils[1]), &away)];
    let answer = reconcile(&world, header(&world), items.clone()).await.unwrap();
    let shown = answer.reconciliation.unwrap();
    assert_eq!(shown.state(), pb::ReconciliationState::AwaitingApproval);
    assert_eq!(shown.stops, [i32::from(pb::ReconciliationStop::RemovedShare)]);
    assert_eq!(
        (
            shown.marks_removed,
            shown.marks_changed,
            shown.marks_unchanged,
            shown.pupils_missing
        ),
        (40, 10, 30, 2)
    );
    // Two fall below twenty possible sessions; the one away is at stage 4.
    assert_eq!(shown.restaged_pupils, 1);
    let moves: Vec<_> = shown
        .moves
        .iter()
        .map(|found| (found.from_stage(), found.to_stage(), found.pupils))
        .collect();
    assert_eq!(moves, [(pb::Stage::Universal, pb::Stage::Four, 1)]);
    assert_eq!(answer.pupils.len(), 3);
    let missing = answer
        .pupils
        .iter()
        .filter(|pupil| pupil.missing && pupil.marks_removed == 20)
        .count();
    assert_eq!(missing, 2);
    assert_eq!(marks_stored(&world).await, before);
    assert_eq!(revisions_stored(&world).await, []);
    assert_eq!(world.stage(&pupils[1]).await.stage(), pb::Stage::Universal);

    // It can be looked at page by page, and listed.
    let first = get(&world, &shown.reconciliation_id, 2, "").await.unwrap();
    assert_eq!(first.reconciliation.as_ref(), Some(&shown));
    let second = get(&world, &shown.reconciliation_id, 2, &first.next_page_token)
        .await
        .unwrap();
    assert_eq!([first.pupils, second.pupils].concat(), answer.pupils);
    assert_eq!(second.next_page_token, "");
    let list = async |state: pb::ReconciliationState, school: &str| {
        let request = pb::ListReconciliationsRequest {
            trust_id: world.trust_id.clone(),
            school: school.into(),
            state: state.into(),
            ..pb::ListReconciliationsRequest::default()
        };
        let answer = world.sessions().list_reconciliations(request).await.unwrap();
        answer.into_inner().reconciliations
    };
    use pb::ReconciliationState::{Applied, AwaitingApproval, Unspecified};
    assert_eq!(list(AwaitingApproval, &school).await, std::slice::from_ref(&shown));
    assert_eq!(list(Applied, "").await, []);

    // Approved as it was shown, it is carried out.
    let stale = pb::Reconciliation {
        etag: "\"7\"".into(),
        ..shown.clone()
    };
    assert_eq!(refused(approve(&world, &stale).await).1, "STALE_ETAG");
    let done = approve(&world, &shown).await.unwrap().reconciliation.unwrap();
    assert_eq!(done.state(), Applied);
    assert_eq!(done.decided_by, Some(head()));
    assert_eq!((done.marks_removed, done.marks_changed), (40, 10));
    assert_eq!(marks_stored(&world).await, before - 40);
    assert_eq!(revisions_stored(&world).await.len(), 50);
    assert_eq!(world.stage(&pupils[1]).await.stage(), pb::Stage::Four);
    assert_eq!(refused(approve(&world, &done).await).1, "NOT_AWAITING_APPROVAL");
    assert_eq!(list(Unspecified, "").await, [done]);
    // What was uploaded is no longer kept; what was taken away is.
    let kept = "SELECT octet_length(content) FROM reconciliations";
    let row = world.sql().await.query_one(kept, &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 0);
}

#[tokio::test]
async fn it_stops_again_where_it_would_take_away_what_was_not_shown() {
    let School { world, pupils, .. } = school_of(3).await;
    let items = vec![present(&pupils[0]), present(&pupils[1])];
    let shown = reconcile(&world, header(&world), items)
        .await
        .unwrap()
        .reconciliation
        .unwrap();
    assert_eq!(shown.marks_removed, 20);
    // Until it is approved, somebody marks two more sessions that the upload does not hold.
    world.record(&pupils[0], at("2025-09-13", "AM"), "B B").await;
    let again = approve(&world, &shown).await.unwrap();
    let stopped = again.reconciliation.unwrap();
    assert_eq!(stopped.state(), pb::ReconciliationState::AwaitingApproval);
    assert_eq!(
        stopped.stops,
        [
            i32::from(pb::ReconciliationStop::MoreThanApproved),
            i32::from(pb::ReconciliationStop::RemovedShare)
        ]
    );
    assert_eq!(stopped.marks_removed, 22);
    assert_ne!(stopped.etag, shown.etag);
    assert_eq!(again.pupils.len(), 2);
    assert_eq!(revisions_stored(&world).await, []);
    assert_eq!(
        refused(approve(&world, &shown).await).1,
        "STALE_ETAG",
        "what was shown first is no longer so"
    );
    let done = approve(&world, &stopped).await.unwrap().reconciliation.unwrap();
    assert_eq!(
        (done.state(), done.marks_removed),
        (pb::ReconciliationState::Applied, 22)
    );

    // Less than was shown needs no second look.
    let items = vec![present(&pupils[0])];
    let shown = reconcile(&world, header(&world), items)
        .await
        .unwrap()
        .reconciliation
        .unwrap();
    assert_eq!(shown.marks_removed, 20);
    world.record(&pupils[1], at("2025-09-08", "AM"), "0 0").await;
    let done = approve(&world, &shown).await.unwrap().reconciliation.unwrap();
    assert_eq!(
        (done.state(), done.marks_removed),
        (pb::ReconciliationState::Applied, 18)
    );
}

#[tokio::test]
async fn pupils_of_whom_an_item_is_rejected_are_left_as_they_are_and_nothing_goes_without_being_seen() {
    let School { world, school, pupils } = school_of(5).await;
    let other = world.school("100002").await;
    let left = world
        .pupil_enrolled(
            "left",
            &[enrolment(&school, pb::EnrolmentKind::Sole, "2025-09-01", "2025-09-12")],
        )
        .await;
    world.record_days(&left, "2025-09-08", "2025-09-12", "/", "\\").await;
    let elsewhere = world.pupil("elsewhere", &other).await;
    let mut outside = present(&pupils[1]);
    outside.first_session = Some(at("2025-09-05", "PM"));
    let mut unknown_code = present(&pupils[2]);
    unknown_code.marks[3] = 99;
    let mut of_other_school = present(&pupils[3]);
    of_other_school.school = "100002".into();
    let mut twice = present(&pupils[4]);
    twice.marks = marks("/ \\");
    let items = vec![
        present(&pupils[0]),
        outside,
        unknown_code,
        of_other_school,
        item(by_name("nobody"), &school_days(FROM, TO, "/", "\\")),
        present(&left),
        present(&elsewhere),
        present(&pupils[4]),
        twice,
        pb::ReconciliationItem::default(),
    ];
    let answer = reconcile(&world, header(&world), items).await.unwrap();
    let found = answer.reconciliation.unwrap();
    let rejections: Vec<_> = found
        .rejections
        .iter()
        .map(|rejection| {
            (
                rejection.item_index,
                rejection.reason.as_str(),
                rejection.field.as_str(),
            )
        })
        .collect();
    assert_eq!(
        rejections,
        [
            (1, "OUTSIDE_DATES", "first_session"),
            (2, "UNKNOWN_CODE", "marks[3]"),
            (3, "OTHER_SCHOOL", "school"),
            (4, "UNKNOWN_PUPIL", "pupil"),
            (5, "OUTSIDE_ENROLMENT", "marks[14]"),
            (6, "OUTSIDE_ENROLMENT", "marks[0]"),
            (7, "DUPLICATE_ITEM", "marks"),
            (8, "DUPLICATE_ITEM", "marks[0]"),
            (9, "MISSING_PUPIL", "pupil"),
        ]
    );
    assert_eq!((found.rejected, found.pupils_left), (9, 6));
    // Nothing is taken away of those who are left, so that nothing is taken away at all: it was carried out.
    assert_eq!(
        (found.state(), found.marks_removed),
        (pb::ReconciliationState::Applied, 0)
    );
    assert_eq!(revisions_stored(&world).await, []);

    // But where marks would go beside a rejection, it stops, whatever the limits: they may be the rejected pupil's.
    let items = vec![
        item(by_name("nobody"), "/"),
        present(&pupils[0]),
        present(&pupils[1]),
        present(&pupils[2]),
        present(&pupils[3]),
        item(by_id(&left), &school_days(FROM, "2025-09-12", "/", "\\")),
    ];
    let settings = pb::PolicySettings {
        brake: Some(pb::Brake {
            removed_marks_max: 1000,
            restaged_pupils_max: 1000,
            removed_tenths_max: 1000,
        }),
        ..pb::PolicySettings::default()
    };
    let version = world.policy(settings).await;
    world.activate(version, "").await;
    let found = reconcile(&world, header(&world), items)
        .await
        .unwrap()
        .reconciliation
        .unwrap();
    assert_eq!(found.stops, [i32::from(pb::ReconciliationStop::Rejections)]);
    assert_eq!((found.marks_removed, found.pupils_missing), (20, 1));
    // Approved, it leaves what was left when it was uploaded.
    let done = approve(&world, &found).await.unwrap().reconciliation.unwrap();
    assert_eq!(
        (done.state(), done.marks_removed, done.rejected),
        (pb::ReconciliationState::Applied, 20, 1)
    );
}

#[tokio::test]
async fn limits_may_be_lower_than_the_policys_and_not_higher() {
    let School { world, pupils, .. } = school_of(6).await;
    let mut items: Vec<_> = pupils.iter().map(|pupil| present(pupil)).collect();
    items[0] = item(
        by_id(&pupils[0]),
        &format!("- - {}", school_days("2025-09-09", TO, "/", "\\")),
    );
    let with = |limits: pb::ReconciliationLimits| pb::ReconciliationHeader {
        limits: Some(limits),
        ..header(&world)
    };
    let none = pb::ReconciliationLimits::default();
    let lower = pb::ReconciliationLimits {
        removed_marks_max: Some(1),
        ..none
    };
    let stopped = reconcile(&world, with(lower), items.clone())
        .await
        .unwrap()
        .reconciliation
        .unwrap();
    assert!(stopped.stops.contains(&i32::from(pb::ReconciliationStop::RemovedMarks)));
    let discard = async |shown: &pb::Reconciliation, reason: &str| {
        let request = pb::DiscardReconciliationRequest {
            trust_id: world.trust_id.clone(),
            reconciliation_id: shown.reconciliation_id.clone(),
            etag: shown.etag.clone(),
            reason: reason.into(),
            discarded_by: Some(head()),
        };
        let answer = world.sessions().discard_reconciliation(request).await?;
        Ok::<_, Status>(answer.into_inner().reconciliation.unwrap())
    };
    assert_eq!(refused(discard(&stopped, "").await).2, ["reason"]);
    let discarded = discard(&stopped, "the export was cut off").await.unwrap();
    assert_eq!(discarded.state(), pb::ReconciliationState::Discarded);
    assert_eq!(discarded.decision_reason, "the export was cut off");
    assert_eq!(discarded.decided_by, Some(head()));
    assert_eq!(refused(approve(&world, &discarded).await).1, "NOT_AWAITING_APPROVAL");
    assert_eq!(refused(discard(&discarded, "twice").await).1, "NOT_AWAITING_APPROVAL");
    // A limit of nothing stops at the first mark, and one of nobody at the first pupil.
    let zero = pb::ReconciliationLimits {
        removed_marks_max: Some(0),
        restaged_pupils_max: Some(0),
        removed_tenths_max: Some(0),
    };
    let stopped = reconcile(&world, with(zero), items.clone())
        .await
        .unwrap()
        .reconciliation
        .unwrap();
    assert_eq!(stopped.stops.len(), 2);
    for (field, limits) in [
        (
            "removed_marks_max",
            pb::ReconciliationLimits {
                removed_marks_max: Some(501),
                ..none
            },
        ),
        (
            "restaged_pupils_max",
            pb::ReconciliationLimits {
                restaged_pupils_max: Some(26),
                ..none
            },
        ),
        (
            "removed_tenths_max",
            pb::ReconciliationLimits {
                removed_tenths_max: Some(11),
                ..none
            },
        ),
    ] {
        let refusal = refused(reconcile(&world, with(limits), items.clone()).await);
        let field = format!("header.limits.{field}");
        assert_eq!(refusal, (Code::InvalidArgument, "LIMIT_TOO_HIGH".into(), vec![field]));
    }
    let negative = pb::ReconciliationLimits {
        removed_marks_max: Some(-1),
        ..none
    };
    assert_eq!(
        refused(reconcile(&world, with(negative), items).await).1,
        "INVALID_LIMIT"
    );
}

#[tokio::test]
async fn more_pupils_than_the_brake_lets_move_stop_it() {
    let School { world, pupils, .. } = school_of(4).await;
    let settings = pb::PolicySettings {
        brake: Some(pb::Brake {
            removed_marks_max: 100,
            restaged_pupils_max: 2,
            removed_tenths_max: 1000,
        }),
        ..pb::PolicySettings::default()
    };
    let version = world.policy(settings).await;
    world.activate(version, "100001").await;
    let absent = |pupil: &str| item(by_id(pupil), &school_days(FROM, TO, "O", "O"));
    let items = |away: usize| {
        let items = pupils.iter().enumerate();
        let items = items.map(|(place, pupil)| if place < away { absent(pupil) } else { present(pupil) });
        items.collect::<Vec<_>>()
    };
    let two = reconcile(&world, header(&world), items(2))
        .await
        .unwrap()
        .reconciliation
        .unwrap();
    assert_eq!(
        (two.state(), two.restaged_pupils),
        (pb::ReconciliationState::Applied, 2)
    );
    let back = reconcile(&world, header(&world), items(0))
        .await
        .unwrap()
        .reconciliation
        .unwrap();
    assert_eq!(back.restaged_pupils, 2);
    let three = reconcile(&world, header(&world), items(3))
        .await
        .unwrap()
        .reconciliation
        .unwrap();
    assert_eq!(three.stops, [i32::from(pb::ReconciliationStop::RestagedPupils)]);
    assert_eq!(three.restaged_pupils, 3);
    assert_eq!(world.stage(&pupils[0]).await.stage(), pb::Stage::Universal);
}

#[tokio::test]
async fn a_pupil_who_came_back_and_one_merged_meanwhile_are_reconciled_under_the_enrolment_of_each_day() {
    let School { world, school, pupils } = school_of(8).await;
    let enrolments = [
        enrolment(&school, pb::EnrolmentKind::Sole, "2025-09-01", "2025-09-10"),
        enrolment(&school, pb::EnrolmentKind::Sole, "2025-09-15", ""),
    ];
    let back = world.pupil_enrolled("back", &enrolments).await;
    let empty = world.pupil_enrolled("empty", &[]).await;
    let run = "/ \\ / \\ / \\ - - - - - - - - / \\ / \\ / \\ / \\ / O";
    let mut items: Vec<_> = pupils.iter().map(|pupil| present(pupil)).collect();
    items.push(item(by_id(&back), run));
    let done = reconcile(&world, header(&world), items.clone())
        .await
        .unwrap()
        .reconciliation
        .unwrap();
    assert_eq!((done.state(), done.marks_new), (pb::ReconciliationState::Applied, 16));
    assert_eq!(world.registers_of(&back).await.len(), 2);
    // One mark of each enrolment goes, which alone is more than this caller lets go.
    items.last_mut().unwrap().marks = marks(
        &run.replace("/ \\ / \\ / \\ -", "- \\ / \\ / \\ -")
            .replace("/ O", "/ -"),
    );
    let asked = pb::ReconciliationHeader {
        limits: Some(pb::ReconciliationLimits {
            removed_marks_max: Some(1),
            ..pb::ReconciliationLimits::default()
        }),
        ..header(&world)
    };
    let shown = reconcile(&world, asked, items).await.unwrap().reconciliation.unwrap();
    assert_eq!(
        (shown.marks_removed, shown.state()),
        (2, pb::ReconciliationState::AwaitingApproval)
    );
    // What was shown was of a pupil who is part of another by now: that is seen first.
    world.merge(&empty, &back).await;
    let again = approve(&world, &shown).await.unwrap();
    let stopped = again.reconciliation.unwrap();
    assert_eq!(stopped.stops[0], i32::from(pb::ReconciliationStop::MoreThanApproved));
    assert_eq!(again.pupils[0].pupil_id, empty);
    let done = approve(&world, &stopped).await.unwrap().reconciliation.unwrap();
    assert_eq!(
        (done.state(), done.marks_removed),
        (pb::ReconciliationState::Applied, 2)
    );
    let left = world.registers_of(&empty).await;
    let left = left
        .iter()
        .flat_map(|register| &register.marks)
        .filter(|mark| **mark != 0)
        .count();
    assert_eq!(left, 14);
}

#[tokio::test]
async fn an_upload_that_cannot_be_read_is_refused_with_the_field_and_the_fix() {
    let limits = Limits {
        session_items_max: 3,
        ..Limits::default()
    };
    let world = World::with_limits("2025-09-19", limits).await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    let ask = async |change: &dyn Fn(&mut pb::ReconciliationHeader)| {
        let mut header = header(&world);
        change(&mut header);
        refused(reconcile(&world, header, vec![present(&pupil)]).await)
    };
    assert_eq!(ask(&|header| header.trust_id = "x".into()).await.2, ["header.trust_id"]);
    assert_eq!(ask(&|header| header.school = String::new()).await.1, "MISSING_SCHOOL");
    assert_eq!(ask(&|header| header.school = "100009".into()).await.0, Code::NotFound);
    assert_eq!(ask(&|header| header.from_date = None).await.2, ["header.from_date"]);
    assert_eq!(
        ask(&|header| header.to_date = Some(pb_date("2025-09-07"))).await.1,
        "INVALID_DATE_RANGE"
    );
    assert_eq!(
        ask(&|header| header.to_date = Some(pb_date("2026-08-01"))).await.1,
        "OUTSIDE_ACADEMIC_YEAR"
    );
    assert_eq!(ask(&|header| header.correction = None).await.1, "CORRECTION_REQUIRED");
    let nameless = |header: &mut pb::ReconciliationHeader| {
        header.correction = Some(pb::Correction {
            reason: "because".into(),
            corrected_by: Some(pb::Person {
                name: String::new(),
                ..person()
            }),
        });
    };
    assert_eq!(ask(&nameless).await.2, ["header.correction.corrected_by.name"]);
    assert_eq!(
        ask(&|header| header.request_id = "x".into()).await.2,
        ["header.request_id"]
    );
    let too_many = vec![present(&pupil); 4];
    assert_eq!(
        refused(reconcile(&world, header(&world), too_many).await).1,
        "BATCH_TOO_LARGE"
    );
    use pb::reconcile_registers_request::Part;
    let items = Part::Items(pb::ReconciliationItems {
        items: vec![present(&pupil)],
    });
    let send = async |parts: Vec<Option<Part>>| {
        let messages: Vec<_> = parts
            .into_iter()
            .map(|part| pb::ReconcileRegistersRequest { part })
            .collect();
        refused(world.sessions().reconcile_registers(stream::iter(messages)).await)
    };
    assert_eq!(send(vec![]).await.1, "MISSING_HEADER");
    assert_eq!(send(vec![Some(items)]).await.1, "MISSING_HEADER");
    let twice = vec![Some(Part::Header(header(&world))); 2];
    assert_eq!(send(twice).await.1, "MISSING_ITEMS");
    // An upload of nothing says that the school has no marks: of a school that has none, nothing is done.
    let nothing = reconcile(&world, header(&world), Vec::new())
        .await
        .unwrap()
        .reconciliation
        .unwrap();
    assert_eq!(
        (nothing.state(), nothing.pupils_compared),
        (pb::ReconciliationState::Applied, 0)
    );

    let nobody = Uuid::new_v4().to_string();
    assert_eq!(refused(get(&world, &nobody, 0, "").await).0, Code::NotFound);
    assert_eq!(refused(get(&world, "x", 0, "").await).2, ["reconciliation_id"]);
    assert_eq!(
        refused(get(&world, &nothing.reconciliation_id, 1001, "").await).1,
        "INVALID_PAGE_SIZE"
    );
    assert_eq!(
        refused(get(&world, &nothing.reconciliation_id, 1, "x").await).1,
        "UNKNOWN_PAGE_TOKEN"
    );
    let etagless = pb::Reconciliation {
        etag: String::new(),
        ..nothing.clone()
    };
    assert_eq!(refused(approve(&world, &etagless).await).1, "MISSING_ETAG");
    let request = pb::ListReconciliationsRequest {
        trust_id: world.trust_id.clone(),
        state: 9,
        ..pb::ListReconciliationsRequest::default()
    };
    assert_eq!(
        refused(world.sessions().list_reconciliations(request).await).1,
        "UNKNOWN_STATE"
    );
}
