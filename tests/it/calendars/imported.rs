//! Calendars that come as files of term dates.

use graduated_response::proto as pb;
use tonic::{Code, Status};

use super::{calendar_of, kind};
use crate::common::World;
use crate::common::world::{pb_date, refused};

const TERMS: &str = "BEGIN:VCALENDAR\nVERSION:2.0\n\
    BEGIN:VEVENT\nSUMMARY:Autumn term\nDTSTART;VALUE=DATE:20250902\nDTEND;VALUE=DATE:20251220\nEND:VEVENT\n\
    BEGIN:VEVENT\nSUMMARY:Half term\nDTSTART;VALUE=DATE:20251027\nDTEND;VALUE=DATE:20251101\nEND:VEVENT\n\
    BEGIN:VEVENT\nSUMMARY:INSET day\nDTSTART;VALUE=DATE:20250902\nEND:VEVENT\n\
    BEGIN:VEVENT\nSUMMARY:Founders\nDTSTART;VALUE=DATE:20251029\nEND:VEVENT\n\
    END:VCALENDAR\n";

async fn import(world: &World, request: pb::ImportCalendarRequest) -> Result<pb::ImportCalendarResponse, Status> {
    let request = pb::ImportCalendarRequest {
        trust_id: world.trust_id.clone(),
        academic_year: 2025,
        ..request
    };
    Ok(world.admin().import_calendar(request).await?.into_inner())
}

fn file(content: &str) -> pb::ImportCalendarRequest {
    pb::ImportCalendarRequest {
        school: "100001".into(),
        content: content.to_owned().into(),
        ..pb::ImportCalendarRequest::default()
    }
}

#[tokio::test]
async fn a_dry_run_shows_how_the_file_is_read_and_writes_nothing() {
    let world = World::on("2025-09-01").await;
    world.school("100001").await;
    let found = import(
        &world,
        pb::ImportCalendarRequest {
            dry_run: true,
            ..file(TERMS)
        },
    )
    .await
    .unwrap();
    assert_eq!(
        (found.format(), found.style()),
        (pb::CalendarFormat::Icalendar, pb::CalendarStyle::TermDays)
    );
    assert_eq!((found.entries, found.entries_outside_year), (4, 0));
    let calendar = found.calendar.unwrap();
    assert_eq!((calendar.school_days, found.inset_days, found.closure_days), (73, 1, 5));
    assert_eq!((found.not_understood.len(), found.not_understood_total), (1, 1));
    let entry = &found.not_understood[0];
    assert_eq!(
        (entry.line, entry.label.as_str(), entry.reason.as_str()),
        (17, "Founders", "UNKNOWN_LABEL")
    );
    assert_eq!(found.calendars, []);
    assert!(!calendar_of(&world, "100001").await.given);
}

#[tokio::test]
async fn a_file_with_entries_that_are_not_understood_is_imported_only_if_they_may_be_skipped() {
    let world = World::on("2025-09-01").await;
    world.school("100001").await;
    let (code, reason, fields) = refused(import(&world, file(TERMS)).await);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "UNKNOWN_LABEL"));
    assert_eq!(fields, ["content"]);
    assert!(!calendar_of(&world, "100001").await.given);

    let skipping = pb::ImportCalendarRequest {
        skip_not_understood: true,
        ..file(TERMS)
    };
    let found = import(&world, skipping).await.unwrap();
    assert_eq!(found.calendars.len(), 1);
    let calendar = calendar_of(&world, "100001").await;
    assert_eq!(found.calendars[0], calendar);
    assert_eq!(kind(&calendar, "2025-09-02"), pb::CalendarDayKind::Inset);
    assert_eq!(
        kind(&calendar, "2025-10-29"),
        pb::CalendarDayKind::Closure,
        "an unknown label opens nothing"
    );
    assert_eq!(calendar.notes[1].label, "Half term");

    let stale = pb::ImportCalendarRequest {
        skip_not_understood: true,
        etag: "\"7\"".into(),
        ..file(TERMS)
    };
    assert_eq!(refused(import(&world, stale).await).0, Code::Aborted);
}

#[tokio::test]
async fn csv_of_closures_is_imported_for_all_schools_at_once() {
    let world = World::on("2025-09-01").await;
    world.school("100001").await;
    world.school("100002").await;
    let text = "start,end,kind,label\n27/10/2025,31/10/2025,half term,\n22/12/2025,02/01/2026,holiday,Christmas\n\
        04/05/2026,,bank holiday,Early May\n03/09/2025,,inset,\n";
    let closures = || pb::ImportCalendarRequest {
        school: String::new(),
        all_schools: true,
        ..file(text)
    };
    let (_, reason, fields) = refused(import(&world, closures()).await);
    assert_eq!(
        (reason.as_str(), fields),
        ("MISSING_FIRST_DAY", vec!["first_day".to_owned()])
    );
    let dated = pb::ImportCalendarRequest {
        first_day: Some(pb_date("2025-09-03")),
        last_day: Some(pb_date("2026-07-21")),
        ..closures()
    };
    let found = import(&world, dated).await.unwrap();
    assert_eq!(
        (found.format(), found.style()),
        (pb::CalendarFormat::Csv, pb::CalendarStyle::Closures)
    );
    assert_eq!(found.calendars.len(), 2);
    for urn in ["100001", "100002"] {
        let calendar = calendar_of(&world, urn).await;
        assert_eq!(kind(&calendar, "2025-09-03"), pb::CalendarDayKind::Inset);
        assert_eq!(kind(&calendar, "2025-09-04"), pb::CalendarDayKind::SchoolDay);
        assert_eq!(kind(&calendar, "2026-01-02"), pb::CalendarDayKind::Closure);
        assert_eq!(kind(&calendar, "2026-07-22"), pb::CalendarDayKind::Unspecified);
    }
}

#[tokio::test]
async fn a_file_that_is_no_calendar_is_refused_with_what_to_change() {
    let world = World::on("2025-09-01").await;
    world.school("100001").await;
    for (content, reason, field) in [
        ("", "NOT_TEXT", "content"),
        ("Dear parents", "UNKNOWN_FORMAT", "content"),
        ("BEGIN:VCALENDAR\nEND:VCALENDAR\n", "NO_ENTRIES", "content"),
        (
            "start,end,kind,label\n2025-09-03,,,Fireworks\n",
            "UNCLEAR_STYLE",
            "style",
        ),
    ] {
        let (code, found, fields) = refused(import(&world, file(content)).await);
        assert_eq!(
            (code, found.as_str(), fields),
            (Code::InvalidArgument, reason, vec![field.to_owned()])
        );
    }
    let unknown = pb::ImportCalendarRequest {
        school: "100009".into(),
        dry_run: true,
        ..file(TERMS)
    };
    assert_eq!(refused(import(&world, unknown).await).0, Code::NotFound);
}
