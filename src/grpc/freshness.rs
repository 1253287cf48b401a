//! How fresh each school's registers are.

use tonic::Status;

use super::convert::{self, count, to_date, to_session};
use super::page_token;
use crate::proto as pb;
use crate::service::error::FieldViolation;
use crate::service::freshness::{FreshnessQuery, SchoolFreshness};
use crate::service::{Service, ServiceError};

/// How many gaps of a school are listed where the request does not say.
const GAPS_LISTED: usize = 20;
/// The most days that a year has.
const DAYS_MAX: i32 = 366;

/// Lists how fresh the schools' registers are.
pub(super) async fn list(
    service: &Service,
    request: pb::ListSchoolFreshnessRequest,
) -> Result<pb::ListSchoolFreshnessResponse, Status> {
    const LIST: &str = "school_freshness";
    let read = || -> Result<_, FieldViolation> {
        let trust = convert::trust_id(&request.trust_id)?;
        let query = FreshnessQuery {
            school: convert::optional_school_key("school", &request.school)?,
            silent_only: request.silent_only,
            silent_after: match days("silent_after_school_days", request.silent_after_school_days)? {
                0 => None,
                days => Some(days),
            },
            gaps_max: match days("gaps_max", request.gaps_max)? {
                0 => GAPS_LISTED,
                days => usize::from(days),
            },
        };
        let filters = format!(
            "{trust} {} {} {:?}",
            request.school, query.silent_only, query.silent_after
        );
        let (size, token) = (request.page_size, &request.page_token);
        let page = page_token::page(LIST, filters.as_bytes(), size, token, &service.limits)?;
        Ok((trust, query, filters, page))
    };
    let (trust, query, filters, page) = read().map_err(ServiceError::from)?;
    let found = service.list_school_freshness(trust, &query, &page).await?;
    Ok(pb::ListSchoolFreshnessResponse {
        next_page_token: page_token::encode(LIST, filters.as_bytes(), found.next.as_ref()),
        schools: found.rows.into_iter().map(to_freshness).collect(),
    })
}

fn days(field: &str, days: i32) -> Result<u16, FieldViolation> {
    let known = u16::try_from(days).ok().filter(|_| days <= DAYS_MAX);
    known.ok_or_else(|| FieldViolation::new(field, "INVALID_DAYS", format!("give 0 to {DAYS_MAX} days")))
}

fn to_freshness(found: SchoolFreshness) -> pb::SchoolFreshness {
    pb::SchoolFreshness {
        silent: found.is_silent(),
        school_id: found.school.school_id.to_string(),
        urn: found.school.urn,
        name: found.school.name,
        last_session: found.freshness.last_session.map(|session| to_session(session.into())),
        gap_days: count(found.freshness.gap_days),
        gaps: found.freshness.gaps.into_iter().map(to_date).collect(),
        school_days_silent: count(found.freshness.school_days_silent),
        silent_after_school_days: i32::from(found.silent_after),
        calendar_given: found.calendar_given,
    }
}
