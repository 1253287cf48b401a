//! What stands for a whole school: reviewed by each school for itself, and counted over the trust.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use diesel_async::AsyncPgConnection;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::action_log::Evidence;
use crate::domain::calendar::Calendar;
use crate::domain::catalogue::{RequiredProvision, Subject};
use crate::domain::identifiers::{SchoolId, SchoolKey, TrustId};
use crate::domain::person::Author;
use crate::domain::session::london_date;
use crate::domain::universal::{
    ReviewDayError, UniversalCounts, UniversalProvision, UniversalReview, UniversalStatus, next_review,
};
use crate::service::error::Resource;
use crate::service::recorded::{Request, earlier, record};
use crate::service::schools::require_school;
use crate::service::transaction::{finish, retry};
use crate::service::trusts::require_trust;
use crate::service::{Page, PageOf, Service, ServiceError, one_more};
use crate::store::actions::universal;
use crate::store::summaries::{SchoolName, school_names};
use crate::store::{StoreError, calendars, catalogues};

/// What stands for one school.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchoolProvision {
    /// The school.
    pub school: SchoolId,
    /// The version of the catalogue in force.
    pub catalogue_version: i32,
    /// The provisions in the order of the catalogue.
    pub provisions: Vec<UniversalProvision>,
    /// Those counted.
    pub counts: UniversalCounts,
}

/// A review to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewRequest {
    /// The school.
    pub school: SchoolKey,
    /// The provision.
    pub provision: String,
    /// The version that the caller has read; nothing where the caller read none that ever was.
    pub version: Option<i64>,
    /// What was found.
    pub status: UniversalStatus,
    /// More about it; may be empty.
    pub comment: String,
    /// References to evidence.
    pub evidence: Vec<Evidence>,
    /// The day; nothing for today.
    pub reviewed_on: Option<NaiveDate>,
    /// When to look again.
    pub next_review_on: Option<NaiveDate>,
    /// Who records it.
    pub recorded_by: Author,
    /// The request's own name, by which a retry is known, and a digest of what is asked for.
    pub request: Option<(Uuid, Vec<u8>)>,
}

/// How far the trust's schools have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniversalSummary {
    /// The day.
    pub as_of: NaiveDate,
    /// The version of the catalogue in force.
    pub catalogue_version: i32,
    /// By provision, in the order of the catalogue.
    pub provisions: Vec<(RequiredProvision, UniversalCounts)>,
    /// By school, in the order of their names.
    pub schools: Vec<(SchoolName, UniversalCounts)>,
    /// All together.
    pub whole: UniversalCounts,
}

/// What was answered first: reviews are only added, so the last one tells what it was.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Answered {
    ordinal: i32,
}

impl Service {
    /// What stands for a school: the provisions of the catalogue in force for whole schools, each with its last review.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or school.
    pub async fn universal_provision(&self, trust: TrustId, key: &SchoolKey) -> Result<SchoolProvision, ServiceError> {
        let today = self.clock.today();
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let school = require_school(&mut transaction, trust, key).await?;
            let (catalogue_version, provisions) = of_school(&mut transaction, trust, school).await?;
            let mut counts = UniversalCounts::default();
            for found in &provisions {
                let last = found.last.as_ref();
                counts.add(last.map(|last| (last.status, last.next_review_on)), today);
            }
            Ok(SchoolProvision {
                school,
                catalogue_version,
                provisions,
                counts,
            })
        }
        .await;
        finish(transaction, read).await
    }

    /// Records a school's review of a provision, and returns the provision as the school has it then. A retry of a request gets
    /// the first answer.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or school, or the catalogue in force has no such provision for whole schools;
    /// `StaleEtag` where somebody reviewed it since it was read; `Invalid` where a day is on the wrong side of another, or the
    /// request identifier was used for something else.
    pub async fn review_universal_provision(
        &self,
        trust: TrustId,
        asked: &ReviewRequest,
    ) -> Result<UniversalProvision, ServiceError> {
        retry(|| async {
            let now = self.clock.now();
            let mut transaction = self.store.begin(trust).await?;
            let reviewed = review(&mut transaction, trust, asked, now).await;
            finish(transaction, reviewed).await
        })
        .await
    }

    /// A school's reviews of a provision, in order. The key of a page is a review's ordinal.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or school, or no such provision for whole schools: neither is it in the
    /// catalogue in force, nor was it ever reviewed.
    pub async fn list_universal_reviews(
        &self,
        trust: TrustId,
        key: &SchoolKey,
        provision: &str,
        page: Page<i32>,
    ) -> Result<PageOf<UniversalReview, i32>, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let school = require_school(&mut transaction, trust, key).await?;
            let after = page.after.unwrap_or(0);
            let rows = universal::list(&mut transaction, trust, school, provision, after, one_more(page.size)).await?;
            if rows.is_empty() && after == 0 {
                let (_, required) = required(&mut transaction, trust).await?;
                if !required.iter().any(|required| required.id == provision) {
                    return Err(ServiceError::NotFound(Resource::Provision));
                }
            }
            Ok(rows)
        }
        .await;
        let rows = finish(transaction, read).await?;
        Ok(PageOf::from_rows(rows, page.size, |review| review.ordinal))
    }

    /// How far the trust's schools have come, by provision and by school.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust.
    pub async fn summarize_universal_provision(&self, trust: TrustId) -> Result<UniversalSummary, ServiceError> {
        let as_of = self.clock.today();
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            require_trust(&mut transaction, trust).await?;
            let (version, required) = required(&mut transaction, trust).await?;
            let schools = school_names(&mut transaction, trust, None).await?;
            let last = universal::last_of_trust(&mut transaction, trust, version).await?;
            Ok((version, required, schools, last))
        }
        .await;
        let (catalogue_version, required, schools, last) = finish(transaction, read).await?;
        let last: HashMap<(Uuid, &str), _> = last
            .iter()
            .map(|last| {
                let place = (last.school_id, last.provision_id.as_str());
                (place, (last.status, last.next_review_on))
            })
            .collect();
        let mut summary = UniversalSummary {
            as_of,
            catalogue_version,
            provisions: required
                .into_iter()
                .map(|required| (required, UniversalCounts::default()))
                .collect(),
            schools: Vec::with_capacity(schools.len()),
            whole: UniversalCounts::default(),
        };
        for school in schools {
            let mut of_school = UniversalCounts::default();
            for (required, of_provision) in &mut summary.provisions {
                let found = last.get(&(school.school_id, required.id.as_str())).copied();
                for counts in [&mut of_school, of_provision, &mut summary.whole] {
                    counts.add(found, as_of);
                }
            }
            summary.schools.push((school, of_school));
        }
        Ok(summary)
    }
}

/// What the catalogue in force has for whole schools, with its version.
async fn required(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<(i32, Vec<RequiredProvision>), ServiceError> {
    let version = catalogues::in_force(conn, trust).await?;
    let version = version.ok_or(ServiceError::NotFound(Resource::Trust))?;
    Ok((version, required_by(conn, trust, version).await?))
}

async fn required_by(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    version: i32,
) -> Result<Vec<RequiredProvision>, ServiceError> {
    let mut provisions = catalogues::provisions_of(conn, trust, version).await?;
    provisions.retain(|provision| provision.subject == Subject::School);
    Ok(provisions)
}

async fn of_school(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: SchoolId,
) -> Result<(i32, Vec<UniversalProvision>), ServiceError> {
    let (version, required) = required(conn, trust).await?;
    let last = universal::last_of_school(conn, trust, version, school).await?;
    let mut last: HashMap<String, UniversalReview> = last.into_iter().collect();
    let provisions = required.into_iter().map(|provision| UniversalProvision {
        last: last.remove(&provision.id),
        provision,
    });
    Ok((version, provisions.collect()))
}

async fn review(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    asked: &ReviewRequest,
    now: DateTime<Utc>,
) -> Result<UniversalProvision, ServiceError> {
    let school = require_school(conn, trust, &asked.school).await?;
    let request = Request::named(&asked.request);
    if let Some(request) = request
        && let Some(first) = earlier::<Answered>(conn, trust, request).await?
    {
        return again(conn, trust, school, &asked.provision, first.outcome.ordinal).await;
    }
    let (version, provisions) = of_school(conn, trust, school).await?;
    let found = provisions
        .into_iter()
        .find(|found| found.provision.id == asked.provision);
    let found = found.ok_or(ServiceError::NotFound(Resource::Provision))?;
    if asked.version != Some(found.version()) {
        return Err(ServiceError::StaleEtag(Resource::Provision));
    }
    let today = london_date(now);
    let reviewed_on = asked.reviewed_on.unwrap_or(today);
    let given = calendars::given(conn, trust, &[school.0], None).await?;
    let calendar = Calendar::new(given.into_iter().map(|row| row.given.calendar));
    let next = next_review(&found, reviewed_on, asked.next_review_on, &calendar, today).map_err(wrong_day)?;
    let review = UniversalReview {
        ordinal: found.last.as_ref().map_or(0, |last| last.ordinal) + 1,
        catalogue_version: version,
        status: asked.status,
        comment: asked.comment.clone(),
        evidence: asked.evidence.clone(),
        reviewed_on,
        next_review_on: next,
        recorded_by: asked.recorded_by.clone(),
        recorded_at: now,
    };
    universal::append(conn, trust, school, &asked.provision, &review).await?;
    if let Some(request) = request {
        let answer = Answered {
            ordinal: review.ordinal,
        };
        record(conn, trust, request, answer, now).await?;
    }
    Ok(UniversalProvision {
        last: Some(review),
        ..found
    })
}

/// The first answer, once more: the provision as the catalogue had it then.
async fn again(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: SchoolId,
    provision: &str,
    ordinal: i32,
) -> Result<UniversalProvision, ServiceError> {
    let corrupt = || ServiceError::from(StoreError::Corrupt("an answer about a review"));
    let found = universal::list(conn, trust, school, provision, ordinal - 1, 1).await?;
    let review = found.into_iter().next().ok_or_else(corrupt)?;
    let then = required_by(conn, trust, review.catalogue_version).await?;
    let then = then.into_iter().find(|required| required.id == provision);
    Ok(UniversalProvision {
        provision: then.ok_or_else(corrupt)?,
        last: Some(review),
    })
}

fn wrong_day(error: ReviewDayError) -> ServiceError {
    let (field, reason) = match error {
        ReviewDayError::InFuture => ("reviewed_on", "IN_FUTURE"),
        ReviewDayError::BeforeLast => ("reviewed_on", "BEFORE_LAST_REVIEW"),
        ReviewDayError::NextInPast => ("next_review_on", "IN_PAST"),
        ReviewDayError::NextNotAfter => ("next_review_on", "NOT_AFTER_REVIEW"),
        ReviewDayError::NextTooFarAhead => ("next_review_on", "TOO_FAR_AHEAD"),
    };
    ServiceError::invalid(field, reason, error.to_string())
}
