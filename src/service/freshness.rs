//! How fresh each school's registers are.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::NaiveDate;
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::error::Resource;
use super::judging::timeline_of;
use super::schools::optional_school;
use super::transaction::finish;
use super::{Page, PageOf, Service, ServiceError};
use crate::domain::calendar::Calendar;
use crate::domain::freshness::{Freshness, SILENT_AFTER_SCHOOL_DAYS};
use crate::domain::identifiers::{SchoolId, SchoolKey, TrustId};
use crate::domain::marked::MarkedSessions;
use crate::domain::policy::PolicyTimeline;
use crate::domain::session::AcademicYear;
use crate::store::calendars;
use crate::store::summaries::{SchoolName, school_names};

/// Which schools' freshness is asked for.
#[derive(Clone, Debug)]
pub struct FreshnessQuery {
    /// One school; nothing for all.
    pub school: Option<SchoolKey>,
    /// Only schools that have fallen silent.
    pub silent_only: bool,
    /// After how many school days without a register a school is silent; nothing to go by its policy.
    pub silent_after: Option<u16>,
    /// How many gaps to list of each school.
    pub gaps_max: usize,
}

/// How fresh a school's registers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchoolFreshness {
    /// The school.
    pub school: SchoolName,
    /// How fresh.
    pub freshness: Freshness,
    /// After how many school days without a register it is silent.
    pub silent_after: u16,
    /// Whether the calendar of the academic year was given.
    pub calendar_given: bool,
}

impl SchoolFreshness {
    /// Whether it has fallen silent.
    pub fn is_silent(&self) -> bool {
        self.freshness.is_older_than(self.silent_after)
    }
}

/// How fresh the registers of schools are on a day, and whether the calendar of its academic year was given.
pub(super) async fn freshness_of(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    schools: &[Uuid],
    today: NaiveDate,
    gaps_max: usize,
) -> Result<HashMap<Uuid, (Freshness, bool)>, ServiceError> {
    let mut marked: HashMap<Uuid, BTreeMap<AcademicYear, MarkedSessions>> = HashMap::new();
    for ((school, year), sessions) in calendars::marked_sessions(conn, trust, schools, None).await? {
        marked.entry(school).or_default().insert(year, sessions);
    }
    let mut given = HashMap::new();
    for row in calendars::given(conn, trust, schools, None).await? {
        given
            .entry(row.school_id)
            .or_insert_with(Vec::new)
            .push(row.given.calendar);
    }
    let nothing = BTreeMap::new();
    let fresh = schools.iter().map(|school| {
        let calendar = Calendar::new(given.remove(school).unwrap_or_default());
        let freshness = Freshness::of(&calendar, marked.get(school).unwrap_or(&nothing), today, gaps_max);
        (*school, (freshness, calendar.is_given(AcademicYear::clamped(today))))
    });
    Ok(fresh.collect())
}

/// Of some schools, those whose last session received is older on a day than their policy judges on.
pub(super) async fn schools_too_old(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    timeline: &PolicyTimeline,
    schools: &[Uuid],
    as_of: NaiveDate,
) -> Result<HashSet<SchoolId>, ServiceError> {
    let limited = schools
        .iter()
        .copied()
        .filter(|school| limit(timeline, *school, as_of).is_some());
    let limited: Vec<Uuid> = limited.collect();
    if limited.is_empty() {
        return Ok(HashSet::new());
    }
    let fresh = freshness_of(conn, trust, &limited, as_of, 0).await?;
    let found = fresh.into_iter();
    let found = found.filter(|(school, (freshness, _))| too_old(timeline, *school, freshness, as_of));
    Ok(found.map(|(school, _)| SchoolId(school)).collect())
}

/// On how many school days without a register a school's policy still judges; nothing for any number.
fn limit(timeline: &PolicyTimeline, school: Uuid, as_of: NaiveDate) -> Option<u16> {
    timeline
        .at(as_of, Some(SchoolId(school)))
        .policy
        .stale_after_school_days
}

/// Whether a school's policy refuses to judge on what was received of it.
pub(super) fn too_old(timeline: &PolicyTimeline, school: Uuid, freshness: &Freshness, as_of: NaiveDate) -> bool {
    limit(timeline, school, as_of).is_some_and(|limit| freshness.is_older_than(limit))
}

impl Service {
    /// How fresh the trust's schools' registers are, in the order of the schools' identifiers.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where there is no such trust or school.
    pub async fn list_school_freshness(
        &self,
        trust: TrustId,
        query: &FreshnessQuery,
        page: &Page<Uuid>,
    ) -> Result<PageOf<SchoolFreshness, Uuid>, ServiceError> {
        let moment = self.moment();
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let timeline = timeline_of(&mut transaction, trust).await?;
            let school = optional_school(&mut transaction, trust, query.school.as_ref())
                .await?
                .map(|school| school.0);
            let names = school_names(&mut transaction, trust, school).await?;
            let schools: Vec<Uuid> = names.iter().map(|name| name.school_id).collect();
            let fresh = freshness_of(&mut transaction, trust, &schools, moment.today, query.gaps_max).await?;
            Ok((timeline, names, fresh))
        }
        .await;
        let (timeline, mut names, mut fresh) = finish(transaction, read).await?;
        names.sort_by_key(|name| name.school_id);
        let mut found = Vec::with_capacity(names.len());
        for school in names {
            let (freshness, calendar_given) = fresh
                .remove(&school.school_id)
                .ok_or(ServiceError::NotFound(Resource::School))?;
            let of_policy = limit(&timeline, school.school_id, moment.today);
            found.push(SchoolFreshness {
                school,
                freshness,
                calendar_given,
                silent_after: query.silent_after.or(of_policy).unwrap_or(SILENT_AFTER_SCHOOL_DAYS),
            });
        }
        found.retain(|found| page.after.is_none_or(|after| found.school.school_id > after));
        found.retain(|found| !query.silent_only || found.is_silent());
        Ok(PageOf::from_rows(found, page.size, |found| found.school.school_id))
    }
}
