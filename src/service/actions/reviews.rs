//! When actions are to be reviewed next: it follows from their logs and the calendars of their pupils' schools.

use std::collections::HashMap;

use chrono::NaiveDate;
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::domain::action::{Action, ActionName, ActionState};
use crate::domain::calendar::Calendar;
use crate::domain::identifiers::{SchoolId, TrustId};
use crate::domain::pupil::{EnrolmentSpan, home};
use crate::store::StoreError;
use crate::store::actions::reviews;
use crate::store::calendars;
use crate::store::pupils::enrolments_of;

/// Says of actions when they are to be reviewed next. Only those with a review interval or with a log are looked at: four
/// statements at the most, and of most pages none.
pub(in crate::service) async fn tell_next(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    actions: &mut [Action],
    today: NaiveDate,
) -> Result<(), StoreError> {
    let mut looked_at: Vec<&mut Action> = actions
        .iter_mut()
        .filter(|action| matches!(action.state, ActionState::Open | ActionState::InProgress))
        .filter(|action| action.version > 0 || action.review_days.is_some())
        .collect();
    // Those that nobody has touched have no log.
    let touched: Vec<&ActionName> = looked_at
        .iter()
        .filter(|action| action.version > 0)
        .map(|action| &action.name)
        .collect();
    let last = reviews::last_reviews(conn, trust, &touched).await?;
    let mut last = last.into_iter();
    let last: Vec<_> = looked_at
        .iter()
        .map(|action| (action.version > 0).then(|| last.next()).flatten().flatten())
        .collect();
    let mut of_interval: Vec<Uuid> = looked_at
        .iter()
        .zip(&last)
        .filter(|(action, last)| action.review_days.is_some() && last.is_none_or(|last| last.next_review_on.is_none()))
        .map(|(action, _)| action.name.pupil.0)
        .collect();
    of_interval.sort_unstable();
    of_interval.dedup();
    let calendars = home_calendars(conn, trust, &of_interval, today).await?;
    let none = Calendar::default();
    for (action, last) in looked_at.iter_mut().zip(last) {
        let calendar = calendars.get(&action.name.pupil.0).unwrap_or(&none);
        action.next_review_on = action.next_review(last, calendar);
    }
    Ok(())
}

/// The calendars that were given for the schools at which pupils are today.
async fn home_calendars(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    today: NaiveDate,
) -> Result<HashMap<Uuid, Calendar>, StoreError> {
    if pupils.is_empty() {
        return Ok(HashMap::new());
    }
    let mut spans: HashMap<Uuid, Vec<EnrolmentSpan>> = HashMap::new();
    for row in enrolments_of(conn, trust, pupils).await? {
        spans.entry(row.pupil_id).or_default().push(row.span()?);
    }
    let homes: HashMap<Uuid, SchoolId> = spans
        .iter()
        .filter_map(|(pupil, spans)| Some((*pupil, home(spans.iter(), today)?.school)))
        .collect();
    let mut schools: Vec<Uuid> = homes.values().map(|school| school.0).collect();
    schools.sort_unstable();
    schools.dedup();
    let mut years: HashMap<Uuid, Vec<_>> = HashMap::new();
    for row in calendars::given(conn, trust, &schools, None).await? {
        years.entry(row.school_id).or_default().push(row.given.calendar);
    }
    let by_school: HashMap<Uuid, Calendar> = years
        .into_iter()
        .map(|(school, years)| (school, Calendar::new(years)))
        .collect();
    let of_pupils = homes
        .into_iter()
        .filter_map(|(pupil, school)| Some((pupil, by_school.get(&school.0)?.clone())));
    Ok(of_pupils.collect())
}
