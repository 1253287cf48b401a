//! A school's calendar, as somebody gives it.

use graduated_response::proto as pb;

use super::World;
use super::world::pb_date;

/// Gives a school the calendar of 2025/26: Mondays to Fridays of the terms, each written `name first last`, without the days
/// of INSET.
pub async fn give_calendar(world: &World, school: &str, terms: &[&str], inset: &[&str]) {
    let term = |text: &&str| {
        let mut words = text.split(' ');
        pb::CalendarTerm {
            name: words.next().unwrap().to_owned(),
            first_day: words.next().map(pb_date),
            last_day: words.next().map(pb_date),
        }
    };
    let note = |date: &&str| pb::CalendarNote {
        kind: pb::CalendarDayKind::Inset.into(),
        first_day: Some(pb_date(date)),
        last_day: Some(pb_date(date)),
        ..pb::CalendarNote::default()
    };
    let request = pb::UpdateCalendarRequest {
        trust_id: world.trust_id.clone(),
        school: school.to_owned(),
        academic_year: 2025,
        terms: terms.iter().map(term).collect(),
        notes: inset.iter().map(note).collect(),
        ..pb::UpdateCalendarRequest::default()
    };
    world.admin().update_calendar(request).await.unwrap();
}
