//! Who will cross into persistent absence at the present rate.

use chrono::NaiveDate;
use uuid::Uuid;

use super::judging::timeline_of;
use super::schools::optional_school;
use super::transaction::finish;
use super::{Page, PageOf, Service, ServiceError};
use crate::domain::calendar::Calendars;
use crate::domain::forecast::{Ahead, sessions_ahead, sessions_to_persistent_absence};
use crate::domain::identifiers::{SchoolKey, TrustId};
use crate::domain::record::PupilRecord;
use crate::domain::session::{AcademicYear, Session};
use crate::domain::stage::Stage;
use crate::domain::tally::Tally;
use crate::store::calendars::calendars_of;
use crate::store::summaries::{AbsenceFilter, school_names, towards_persistent_absence};
use crate::store::{StoreError, records};

/// How many pupils' records are in memory at once.
const RECORDS_AT_ONCE: usize = 2_500;

/// Whose crossing is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrossingQuery {
    /// Only pupils on roll today at this school.
    pub school: Option<SchoolKey>,
    /// Within how many possible sessions.
    pub sessions: u32,
    /// The rate is that of the last so many school weeks.
    pub rate_school_weeks: u32,
}

/// A pupil on the way into persistent absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// The pupil.
    pub pupil_id: Uuid,
    /// The stage.
    pub stage: Stage,
    /// The counts of the academic year to date, over all enrolments.
    pub year_tally: Tally,
    /// The counts of the weeks of the rate.
    pub rate_tally: Tally,
    /// The first day of those weeks.
    pub rate_from: NaiveDate,
    /// After how many further possible sessions.
    pub sessions: u64,
    /// The session on which that is, where a calendar tells.
    pub session: Option<Session>,
}

/// Who will cross, soonest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossings {
    /// The day.
    pub as_of: NaiveDate,
    /// A page of them.
    pub page: PageOf<Crossing, CrossingKey>,
    /// Pupils on roll with at least one possible session.
    pub pupils_with_sessions: i64,
    /// Of those, pupils who have crossed already.
    pub persistently_absent: i64,
}

/// The order of the list: by sessions, then by pupil.
pub type CrossingKey = (u64, Uuid);

impl Service {
    /// The pupils who will cross into persistent absence within some sessions at the rate of the last school weeks.
    pub async fn forecast_persistent_absence(
        &self,
        trust: TrustId,
        asked: &CrossingQuery,
        page: Page<CrossingKey>,
    ) -> Result<Crossings, ServiceError> {
        self.roll_over(trust).await?;
        let moment = self.moment();
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            timeline_of(&mut transaction, trust).await?;
            let school = optional_school(&mut transaction, trust, asked.school.as_ref())
                .await?
                .map(|school| school.0);
            let filter = AbsenceFilter {
                school,
                today: moment.today,
                year: moment.year,
                sessions: asked.sessions,
            };
            let (counts, candidates) = towards_persistent_absence(&mut transaction, trust, filter).await?;
            let schools = school_names(&mut transaction, trust, None).await?;
            let schools: Vec<Uuid> = schools.iter().map(|school| school.school_id).collect();
            let calendars = calendars_of(&mut transaction, trust, &schools).await?;
            let mut crossings = Vec::new();
            for some in candidates.chunks(RECORDS_AT_ONCE) {
                let ids: Vec<Uuid> = some.iter().map(|found| found.pupil_id).collect();
                let records = records::records_of(&mut transaction, trust, &ids, &[moment.year]).await?;
                for (pupil_id, record) in records {
                    // They are in the order of their identifiers.
                    let place = some.binary_search_by_key(&pupil_id, |found| found.pupil_id).ok();
                    let stage = place.and_then(|place| Stage::from_number(some[place].stage));
                    let stage = stage.ok_or(StoreError::Corrupt("pupil_stages.stage"))?;
                    crossings.extend(crossing(
                        pupil_id,
                        stage,
                        &record,
                        &calendars,
                        moment.year,
                        moment.today,
                        asked,
                    ));
                }
            }
            Ok((counts, crossings))
        }
        .await;
        let (counts, mut crossings) = finish(transaction, read).await?;
        let key = |found: &Crossing| (found.sessions, found.pupil_id);
        crossings.retain(|found| page.after.is_none_or(|after| key(found) > after));
        crossings.sort_unstable_by_key(key);
        Ok(Crossings {
            as_of: moment.today,
            page: PageOf::from_rows(crossings, page.size, key),
            pupils_with_sessions: counts.with_sessions,
            persistently_absent: counts.persistently_absent,
        })
    }
}

/// When a pupil crosses; nothing where that is not within the sessions asked for, or not this academic year.
fn crossing(
    pupil_id: Uuid,
    stage: Stage,
    record: &PupilRecord<'_>,
    calendars: &Calendars,
    year: AcademicYear,
    today: NaiveDate,
    asked: &CrossingQuery,
) -> Option<Crossing> {
    let calendar = calendars.of_any(record.home_school(today));
    let rate_from = calendar.first_day_of_last_weeks(today, asked.rate_school_weeks);
    let year_tally = record.tally_to(year, today);
    let rate_tally = year_tally.without(match rate_from.pred_opt() {
        Some(before) => record.tally_to(year, before),
        None => Tally::default(),
    });
    let sessions = sessions_to_persistent_absence(year_tally, rate_tally)?;
    if sessions == 0 || sessions > u64::from(asked.sessions) {
        return None;
    }
    let session = match sessions_ahead(record, calendars, year, today) {
        Ahead::Sessions(ahead) => Some(*ahead.get(usize::try_from(sessions - 1).ok()?)?),
        Ahead::NoCalendar => None,
        Ahead::NotOnRoll => return None,
    };
    Some(Crossing {
        pupil_id,
        stage,
        year_tally,
        rate_tally,
        rate_from,
        sessions,
        session,
    })
}
