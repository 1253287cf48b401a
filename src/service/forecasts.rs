//! What would move a pupil and by when, and the patterns of a pupil's attendance.

use std::collections::HashMap;

use uuid::Uuid;

use super::judging::timeline_of;
use super::period::{Period, PeriodQuery};
use super::transaction::{existing_pupil, finish};
use super::{Service, ServiceError};
use crate::domain::assessment::{Assessment, Rules, assess};
use crate::domain::calendar::Calendars;
use crate::domain::forecast::{Forecast, forecast};
use crate::domain::identifiers::{PupilKey, SchoolId, TrustId};
use crate::domain::patterns::{Patterns, patterns};
use crate::domain::record::PupilRecord;
use crate::domain::session::AcademicYear;
use crate::store::calendars::calendars_of;
use crate::store::schools::session_minutes;
use crate::store::{TrustTransaction, holds, records};

/// What would move a pupil, and by when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PupilForecast {
    /// The pupil.
    pub pupil_id: Uuid,
    /// What today comes to, holds and waiting falls considered.
    pub assessment: Assessment,
    /// What is ahead.
    pub forecast: Forecast,
}

/// When a pupil attends and when not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PupilPatterns {
    /// The pupil.
    pub pupil_id: Uuid,
    /// The days that were counted.
    pub period: Period,
    /// The patterns.
    pub patterns: Patterns,
}

impl Service {
    /// What would move a pupil to another stage, by when, and what the academic year can still come to.
    pub async fn forecast_pupil_stage(&self, trust: TrustId, key: &PupilKey) -> Result<PupilForecast, ServiceError> {
        let moment = self.moment();
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let pupil = existing_pupil(&mut transaction, trust, key).await?;
            let record = record_of(&mut transaction, trust, pupil.0, moment.year).await?;
            let calendars = calendars_of_record(&mut transaction, trust, &record).await?;
            let timeline = timeline_of(&mut transaction, trust).await?;
            let holds = holds::by_pupil(&mut transaction, trust, &[pupil.0], moment.now).await?;
            Ok((pupil, record, calendars, timeline, holds))
        }
        .await;
        let (pupil, record, calendars, timeline, holds) = finish(transaction, read).await?;
        let rules = Rules {
            timeline: &timeline,
            calendars: &calendars,
            holds: holds.get(&pupil.0).map_or(&[], Vec::as_slice),
        };
        Ok(PupilForecast {
            pupil_id: pupil.0,
            assessment: assess(&record, rules, moment.today),
            forecast: forecast(&record, &timeline, &calendars, moment.today),
        })
    }

    /// When a pupil attended and when not, over a period.
    pub async fn attendance_patterns(
        &self,
        trust: TrustId,
        key: &PupilKey,
        asked: PeriodQuery,
    ) -> Result<PupilPatterns, ServiceError> {
        let period = asked.resolve(self.moment())?;
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let pupil = existing_pupil(&mut transaction, trust, key).await?;
            let record = record_of(&mut transaction, trust, pupil.0, period.year).await?;
            let calendars = calendars_of_record(&mut transaction, trust, &record).await?;
            let minutes = session_minutes(&mut transaction, trust).await?;
            Ok((pupil, record, calendars, minutes))
        }
        .await;
        let (pupil, record, calendars, minutes) = finish(transaction, read).await?;
        let minutes: HashMap<SchoolId, u64> = minutes
            .into_iter()
            .map(|(school, minutes)| (SchoolId(school), minutes))
            .collect();
        Ok(PupilPatterns {
            pupil_id: pupil.0,
            period,
            patterns: patterns(&record, &calendars, &minutes, period.year, period.days()),
        })
    }
}

/// A pupil's record of a year; an empty one where the pupil has no enrolment.
async fn record_of(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    pupil: Uuid,
    year: AcademicYear,
) -> Result<PupilRecord<'static>, ServiceError> {
    let records = records::records_of(transaction, trust, &[pupil], &[year]).await?;
    let record = records.into_iter().next();
    Ok(record.map(|(_, record)| record).unwrap_or_default())
}

/// The calendars of the schools of a record.
async fn calendars_of_record(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    record: &PupilRecord<'_>,
) -> Result<Calendars, ServiceError> {
    let schools = records::schools_of([record]);
    Ok(calendars_of(transaction, trust, &schools).await?)
}
