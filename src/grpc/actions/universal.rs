//! What stands for a whole school: the part of `ActionService` that is about it.

use chrono::NaiveDate;

use super::answers::{to_author, to_evidence};
use super::requests::{WORDS_MAX, author, evidence, request_of, required_etag};
use super::words::{choice, number_of, to_kind, to_role};
use crate::domain::universal::{UniversalCounts, UniversalProvision, UniversalReview, UniversalStatus, overdue};
use crate::grpc::convert::{count, optional_date, school_key, text, to_date, to_etag, to_timestamp, trust_id};
use crate::grpc::page_token;
use crate::proto as pb;
use crate::service::actions::universal::ReviewRequest;
use crate::service::error::FieldViolation;
use crate::service::{Service, ServiceError};

/// How many references to evidence a review can have.
const EVIDENCE_MAX: usize = 20;
/// The length of a provision's identifier.
const PROVISION_ID_MAX: usize = 64;

/// `ListUniversalProvision`.
pub(super) async fn list(
    service: &Service,
    request: pb::ListUniversalProvisionRequest,
) -> Result<pb::ListUniversalProvisionResponse, ServiceError> {
    let trust = trust_id(&request.trust_id)?;
    let found = service
        .universal_provision(trust, &school_key("school", &request.school)?)
        .await?;
    let today = service.clock.today();
    let provisions = found.provisions.into_iter();
    Ok(pb::ListUniversalProvisionResponse {
        school_id: found.school.to_string(),
        catalogue_version: found.catalogue_version,
        provisions: provisions.map(|found| to_provision(found, today)).collect(),
        counts: Some(to_counts(&found.counts)),
    })
}

/// `ReviewUniversalProvision`.
pub(super) async fn review(
    service: &Service,
    request: pb::ReviewUniversalProvisionRequest,
) -> Result<pb::ReviewUniversalProvisionResponse, ServiceError> {
    let trust = trust_id(&request.trust_id)?;
    let asked = review_request(&request)?;
    let provision = service.review_universal_provision(trust, &asked).await?;
    Ok(pb::ReviewUniversalProvisionResponse {
        provision: Some(to_provision(provision, service.clock.today())),
    })
}

/// `ListUniversalReviews`.
pub(super) async fn history(
    service: &Service,
    request: pb::ListUniversalReviewsRequest,
) -> Result<pb::ListUniversalReviewsResponse, ServiceError> {
    const LIST: &str = "universal_reviews";
    let trust = trust_id(&request.trust_id)?;
    let school = school_key("school", &request.school)?;
    let provision = provision_id(&request.provision_id)?;
    let selects = format!("{trust}/{}/{provision}", request.school);
    let selects = selects.as_bytes();
    let page = page_token::page(LIST, selects, request.page_size, &request.page_token, &service.limits)?;
    let listed = service.list_universal_reviews(trust, &school, &provision, page).await?;
    Ok(pb::ListUniversalReviewsResponse {
        reviews: listed.rows.into_iter().map(to_review).collect(),
        next_page_token: page_token::encode(LIST, selects, listed.next.as_ref()),
    })
}

/// `SummarizeUniversalProvision`.
pub(super) async fn summarize(
    service: &Service,
    request: pb::SummarizeUniversalProvisionRequest,
) -> Result<pb::SummarizeUniversalProvisionResponse, ServiceError> {
    let trust = trust_id(&request.trust_id)?;
    let summary = service.summarize_universal_provision(trust).await?;
    let provisions = summary.provisions.into_iter();
    let schools = summary.schools.into_iter();
    Ok(pb::SummarizeUniversalProvisionResponse {
        as_of: Some(to_date(summary.as_of)),
        catalogue_version: summary.catalogue_version,
        provisions: provisions
            .map(|(provision, counts)| pb::UniversalProvisionSummary {
                provision_id: provision.id,
                title: provision.title,
                counts: Some(to_counts(&counts)),
            })
            .collect(),
        schools: schools
            .map(|(school, counts)| pb::UniversalSchoolSummary {
                school_id: school.school_id.to_string(),
                urn: school.urn,
                school_name: school.name,
                counts: Some(to_counts(&counts)),
            })
            .collect(),
        whole: Some(to_counts(&summary.whole)),
    })
}

fn provision_id(id: &str) -> Result<String, FieldViolation> {
    text("provision_id", id, 1..=PROVISION_ID_MAX)
}

fn review_request(request: &pb::ReviewUniversalProvisionRequest) -> Result<ReviewRequest, FieldViolation> {
    let without_id = pb::ReviewUniversalProvisionRequest {
        request_id: String::new(),
        ..request.clone()
    };
    if request.evidence.len() > EVIDENCE_MAX {
        let message = format!("give at most {EVIDENCE_MAX}");
        return Err(FieldViolation::new("evidence", "TOO_MANY", message));
    }
    let references = request.evidence.iter().enumerate();
    let references = references.map(|(place, asked)| evidence(&format!("evidence[{place}]"), asked));
    Ok(ReviewRequest {
        school: school_key("school", &request.school)?,
        provision: provision_id(&request.provision_id)?,
        version: required_etag(&request.etag)?,
        status: choice(
            "status",
            request.status,
            UniversalStatus::ALL,
            "UNKNOWN_UNIVERSAL_STATUS",
            "in place, partly or not in place: a status",
        )?,
        comment: text("comment", &request.comment, 0..=WORDS_MAX)?,
        evidence: references.collect::<Result<_, _>>()?,
        reviewed_on: optional_date("reviewed_on", request.reviewed_on.as_ref())?,
        next_review_on: optional_date("next_review_on", request.next_review_on.as_ref())?,
        recorded_by: author(request.recorded_by.as_ref())?,
        request: request_of("ReviewUniversalProvision", &request.request_id, &without_id)?,
    })
}

fn to_provision(found: UniversalProvision, today: NaiveDate) -> pb::UniversalProvision {
    let etag = to_etag(found.version());
    let last = found.last.as_ref();
    let status = last.map_or(pb::UniversalStatus::NeverReviewed.into(), |last| {
        number_of(last.status, UniversalStatus::ALL)
    });
    let provision = found.provision;
    pb::UniversalProvision {
        status,
        overdue: last.is_some_and(|last| overdue(last.next_review_on, today)),
        kind: to_kind(provision.kind).into(),
        responsible_roles: provision
            .responsible
            .into_iter()
            .map(|role| to_role(role).into())
            .collect(),
        review_days: provision.review_days.map_or(0, i32::from),
        provision_id: provision.id,
        title: provision.title,
        guidance: provision.guidance,
        last_review: found.last.map(to_review),
        etag,
    }
}

fn to_review(review: UniversalReview) -> pb::UniversalReview {
    pb::UniversalReview {
        ordinal: review.ordinal,
        status: number_of(review.status, UniversalStatus::ALL),
        comment: review.comment,
        evidence: review.evidence.into_iter().map(to_evidence).collect(),
        reviewed_on: Some(to_date(review.reviewed_on)),
        next_review_on: review.next_review_on.map(to_date),
        recorded_by: Some(to_author(review.recorded_by)),
        recorded_at: Some(to_timestamp(review.recorded_at)),
        catalogue_version: review.catalogue_version,
    }
}

fn to_counts(counts: &UniversalCounts) -> pb::UniversalCounts {
    pb::UniversalCounts {
        in_place: count(counts.in_place),
        partly: count(counts.partly),
        not_in_place: count(counts.not_in_place),
        never_reviewed: count(counts.never_reviewed),
        overdue: count(counts.overdue),
    }
}
