//! The return to the local authority: illness of fifteen days, continuous unauthorised absence of ten.

use std::collections::HashMap;

use chrono::NaiveDate;
use uuid::Uuid;

use super::super::transaction::finish;
use super::super::{Service, ServiceError};
use super::{EventQuery, filter_of};
use crate::domain::identifiers::TrustId;
use crate::domain::pupil::{EnrolmentSpan, YEAR_GROUPS, home};
use crate::domain::thresholds::ThresholdKind;
use crate::store::StoreError;
use crate::store::pupils::{self, KIND_UPN, PupilRow};
use crate::store::thresholds as store;

/// The most lines of one return: as many as fit into the four megabytes that a gRPC client takes by default.
const LINES_MAX: i64 = 10_000;

/// The kinds that a local authority is told of.
pub const RETURN_KINDS: [ThresholdKind; 4] = [
    ThresholdKind::IllnessCumulative,
    ThresholdKind::IllnessConsecutive,
    ThresholdKind::IllnessExpected,
    ThresholdKind::UnauthorisedDays,
];

/// One line of a return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnLine {
    /// What was reached.
    pub kind: ThresholdKind,
    /// The school's unique reference number.
    pub urn: String,
    /// The school's name.
    pub school: String,
    /// The pupil's unique pupil number; empty where there is none.
    pub upn: String,
    /// Family name.
    pub family_name: String,
    /// Given name.
    pub given_name: String,
    /// Date of birth.
    pub date_of_birth: Option<NaiveDate>,
    /// Year group; empty where it is not known.
    pub year_group: &'static str,
    /// The first day of the sessions that prove it.
    pub from: NaiveDate,
    /// The last day of them.
    pub to: NaiveDate,
    /// How many sessions prove it.
    pub sessions: usize,
}

impl Service {
    /// The lines of a return: the kinds of the query, or all that a local authority is told of. Of a pupil at two schools, the
    /// main one is named, unless the query names a school.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or school, `Invalid` where the period holds more than one return takes.
    pub async fn threshold_return(&self, trust: TrustId, query: &EventQuery) -> Result<Vec<ReturnLine>, ServiceError> {
        self.roll_over(trust).await?;
        let mut query = query.clone();
        if query.kinds.is_empty() {
            query.kinds = RETURN_KINDS.to_vec();
        }
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let filter = filter_of(&mut transaction, trust, &query, None).await?;
            let events = store::list(&mut transaction, trust, &filter, LINES_MAX + 1).await?;
            if events.len() as i64 > LINES_MAX {
                let message = format!("the period holds more than {LINES_MAX} lines: ask for a shorter one");
                return Err(ServiceError::invalid("to_date", "TOO_MANY", message));
            }
            let mut ids: Vec<Uuid> = events.iter().map(|event| event.pupil_id).collect();
            ids.sort_unstable();
            ids.dedup();
            let rows = pupils::load(&mut transaction, trust, &ids).await?;
            let identifiers = pupils::identifiers_of(&mut transaction, trust, &ids).await?;
            let enrolments = pupils::enrolments_of(&mut transaction, trust, &ids).await?;
            let names = crate::store::summaries::school_names(&mut transaction, trust, None).await?;
            Ok((filter, events, rows, identifiers, enrolments, names))
        }
        .await;
        let (filter, events, rows, identifiers, enrolments, names) = finish(transaction, read).await?;
        let rows: HashMap<Uuid, PupilRow> = rows.into_iter().map(|row| (row.pupil_id, row)).collect();
        let upns = identifiers
            .into_iter()
            .filter(|row| row.kind == KIND_UPN && row.is_current);
        let upns: HashMap<Uuid, String> = upns.map(|row| (row.pupil_id, row.value)).collect();
        let mut spans: HashMap<Uuid, Vec<EnrolmentSpan>> = HashMap::new();
        for row in &enrolments {
            spans.entry(row.pupil_id).or_default().push(row.span()?);
        }
        let mut lines = Vec::with_capacity(events.len());
        for event in events {
            let corrupt = || StoreError::Corrupt("threshold_events.pupil_id");
            let pupil = rows.get(&event.pupil_id).ok_or_else(corrupt)?;
            let to = event.threshold.proved_by.date;
            let spans = spans.get(&event.pupil_id).map_or(&[][..], Vec::as_slice);
            let school = filter
                .school
                .or_else(|| home(spans.iter(), to).map(|span| span.school.0));
            let named = names.iter().find(|name| Some(name.school_id) == school);
            lines.push(ReturnLine {
                kind: event.threshold.kind,
                urn: named.map(|name| name.urn.clone()).unwrap_or_default(),
                school: named.map(|name| name.name.clone()).unwrap_or_default(),
                upn: upns.get(&event.pupil_id).cloned().unwrap_or_default(),
                family_name: pupil.family_name.clone(),
                given_name: pupil.given_name.clone(),
                date_of_birth: pupil.date_of_birth,
                year_group: pupil
                    .year_group
                    .and_then(|number| YEAR_GROUPS.get(usize::try_from(number).ok()?.checked_sub(1)?).copied())
                    .unwrap_or_default(),
                from: event.threshold.sessions.first().map_or(to, |session| session.date),
                to,
                sessions: event.threshold.sessions.len(),
            });
        }
        Ok(lines)
    }
}
