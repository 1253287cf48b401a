//! School calendars and the freshness of registers, as callers see them.

mod closed;
mod fresh;
mod given;
mod imported;
mod marked;

use graduated_response::proto as pb;
use tonic::Status;

use super::common::World;
use super::common::world::pb_date;

/// A term, or a part of one.
fn term(name: &str, first: &str, last: &str) -> pb::CalendarTerm {
    pb::CalendarTerm {
        name: name.into(),
        first_day: Some(pb_date(first)),
        last_day: Some(pb_date(last)),
    }
}

/// Days that are otherwise; an empty end is none.
fn note(kind: pb::CalendarDayKind, first: &str, last: &str, label: &str) -> pb::CalendarNote {
    pb::CalendarNote {
        kind: kind.into(),
        first_day: Some(pb_date(first)),
        last_day: (!last.is_empty()).then(|| pb_date(last)),
        label: label.into(),
    }
}

/// A calendar of 2025/26 for a school, or for all schools where none is named: autumn in two halves and spring, with an INSET
/// day and a bank holiday.
fn update(world: &World, school: &str) -> pb::UpdateCalendarRequest {
    pb::UpdateCalendarRequest {
        trust_id: world.trust_id.clone(),
        school: school.into(),
        all_schools: school.is_empty(),
        academic_year: 2025,
        terms: vec![
            term("autumn", "2025-09-01", "2025-10-24"),
            term("autumn", "2025-11-03", "2025-12-19"),
            term("spring", "2026-01-05", "2026-03-27"),
        ],
        notes: vec![
            note(pb::CalendarDayKind::Inset, "2025-09-01", "", "INSET"),
            note(pb::CalendarDayKind::Closure, "2025-09-19", "", "Polling day"),
        ],
        etag: String::new(),
    }
}

async fn give(world: &World, request: pb::UpdateCalendarRequest) -> Result<pb::UpdateCalendarResponse, Status> {
    Ok(world.admin().update_calendar(request).await?.into_inner())
}

async fn calendar_of(world: &World, school: &str) -> pb::Calendar {
    let request = pb::GetCalendarRequest {
        trust_id: world.trust_id.clone(),
        school: school.into(),
        academic_year: 2025,
    };
    let answer = world.admin().get_calendar(request).await.unwrap().into_inner();
    answer.calendar.unwrap()
}

/// What a calendar of 2025/26 says of a day.
fn kind(calendar: &pb::Calendar, date: &str) -> pb::CalendarDayKind {
    let place = (super::common::world::day(date) - super::common::world::day("2025-08-01")).num_days();
    pb::CalendarDayKind::try_from(calendar.days[usize::try_from(place).unwrap()]).unwrap()
}
