//! Statutory thresholds: raised once each in the transaction that reaches them, cleared where a correction undoes them.

pub(super) mod batch;
mod events;
pub mod notices;
pub mod returns;

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

pub(super) use self::events::{of_schools, reevaluate};
use super::history::record_known_at;
use super::judging::timeline_of;
use super::stages::AsOf;
use super::transaction::{existing_pupil, finish};
use super::trusts::require_trust;
use super::{Page, PageOf, Service, ServiceError, one_more};
use crate::domain::identifiers::{PupilKey, SchoolKey, TrustId};
use crate::domain::session::AcademicYear;
use crate::domain::tally::Tally;
use crate::domain::thresholds::{Threshold, ThresholdKind, ThresholdRules, thresholds};
use crate::service::schools::optional_school;
use crate::store::records::schools_of;
use crate::store::thresholds::{self as store, EventFilter, EventRow};
use crate::store::{TrustTransaction, calendars, notices as issued, records};

/// How many pupils' records are read at once.
const RECORDS_AT_ONCE: usize = 5_000;

/// The academic years from one to another, both included.
fn years_from(first: AcademicYear, last: AcademicYear) -> impl Iterator<Item = AcademicYear> {
    let years = first.start_year()..=last.start_year();
    years.filter_map(|start_year| AcademicYear::from_start_year(i32::from(start_year)))
}

/// What a pupil has reached in an academic year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PupilThresholds {
    /// The day.
    pub as_of: NaiveDate,
    /// Its academic year.
    pub year: AcademicYear,
    /// What was reached, by kind and in order.
    pub thresholds: Vec<Threshold>,
    /// The counts of the year to date, from which persistent and severe absence follow: a state of the day.
    pub tally: Tally,
}

/// Which events are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Only those of pupils who were on roll at this school on the day of the session that proves it.
    pub school: Option<SchoolKey>,
    /// Only these kinds; none for all.
    pub kinds: Vec<ThresholdKind>,
    /// Only those proved on or after this day.
    pub from: Option<NaiveDate>,
    /// Only those proved on or before this day.
    pub to: Option<NaiveDate>,
    /// Those that were cleared as well.
    pub include_cleared: bool,
    /// As it was known at this moment; now where none is given.
    pub known_at: Option<DateTime<Utc>>,
}

impl Service {
    /// What a pupil had reached by a day, as known at a moment: worked out from the marks known then.
    ///
    /// # Errors
    /// `Invalid` for a day or a moment to come, `NotFound` where the trust has no such pupil.
    pub async fn pupil_thresholds(
        &self,
        trust: TrustId,
        key: &PupilKey,
        asked: AsOf,
    ) -> Result<PupilThresholds, ServiceError> {
        let moment = self.moment();
        let as_of = asked.day(moment)?;
        let year = AcademicYear::clamped(as_of);
        let known_at = asked.known_at.unwrap_or(moment.now);
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let pupil = existing_pupil(&mut transaction, trust, key).await?;
            let years = records::years_of(&mut transaction, trust, &[pupil.0], year).await?;
            let record = record_known_at(&mut transaction, trust, pupil.0, &years, asked.known_at).await?;
            let timeline = timeline_of(&mut transaction, trust).await?.known_at(known_at);
            let schools = schools_of([&record]);
            let calendars = calendars::calendars_of(&mut transaction, trust, &schools).await?;
            let births = store::births(&mut transaction, trust, &[pupil.0]).await?;
            let notices = issued::by_pupil(&mut transaction, trust, &[pupil.0], known_at).await?;
            let policy = timeline.at(as_of, record.home_school(as_of));
            let rules = ThresholdRules {
                calendars: &calendars,
                penalty: policy.policy.penalty,
                triggers: &policy.policy.triggers,
                born: births.get(&pupil.0).copied(),
                notices: notices.get(&pupil.0).map_or(&[], Vec::as_slice),
            };
            Ok(PupilThresholds {
                as_of,
                year,
                thresholds: thresholds(&record, rules, as_of),
                tally: record.tally_to(year, as_of),
            })
        }
        .await;
        finish(transaction, read).await
    }

    /// Events by the session that proves them.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or school.
    pub async fn list_threshold_events(
        &self,
        trust: TrustId,
        query: &EventQuery,
        page: Page<(i32, Uuid)>,
    ) -> Result<PageOf<EventRow, (i32, Uuid)>, ServiceError> {
        self.roll_over(trust).await?;
        let mut transaction = self.store.begin(trust).await?;
        let listed = async {
            let filter = filter_of(&mut transaction, trust, query, page.after).await?;
            Ok(store::list(&mut transaction, trust, &filter, one_more(page.size)).await?)
        }
        .await;
        let rows = finish(transaction, listed).await?;
        Ok(PageOf::from_rows(rows, page.size, |event| {
            (store::session_number(event.threshold.proved_by), event.event_id)
        }))
    }
}

async fn filter_of(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    query: &EventQuery,
    after: Option<(i32, Uuid)>,
) -> Result<EventFilter, ServiceError> {
    require_trust(transaction, trust).await?;
    let school = optional_school(transaction, trust, query.school.as_ref())
        .await?
        .map(|school| school.0);
    Ok(EventFilter {
        school,
        kinds: query.kinds.clone(),
        from: query.from,
        to: query.to,
        include_cleared: query.include_cleared,
        known_at: query.known_at,
        after,
    })
}
