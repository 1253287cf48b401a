//! Catalogues: made by changes, returned, listed and brought into force.

use tonic::Status;

use super::actions::{to_condition, to_kind, to_role};
use super::convert::{self, to_stage, to_timestamp};
use super::{names, page_token};
use crate::domain::catalogue::{Condition, Kind, RequiredProvision, Role, Subject};
use crate::domain::stage::Stage;
use crate::proto as pb;
use crate::service::catalogues::{CatalogueDraft, FoundCatalogue, ProvisionChange};
use crate::service::error::FieldViolation;
use crate::service::{Service, ServiceError};

const CHANGES_MAX: usize = 300;
const TITLE: std::ops::RangeInclusive<usize> = 1..=200;
const GUIDANCE: std::ops::RangeInclusive<usize> = 0..=2_000;

const KINDS: [Kind; 10] = [
    Kind::Expectation,
    Kind::Record,
    Kind::Contact,
    Kind::Meeting,
    Kind::Support,
    Kind::Review,
    Kind::Plan,
    Kind::Referral,
    Kind::Report,
    Kind::Assessment,
];
const CONDITIONS: [Condition; 6] = [
    Condition::Always,
    Condition::IfAppropriate,
    Condition::MedicalNeed,
    Condition::YoungPupil,
    Condition::StatutoryThreshold,
    Condition::NotAlreadyInPlace,
];
const ROLES: [Role; 9] = [
    Role::AllStaff,
    Role::ClassTeacherOrTutor,
    Role::SupportStaff,
    Role::Sendco,
    Role::Dsl,
    Role::AttendanceOfficer,
    Role::AttendanceChampion,
    Role::LocalAuthority,
    Role::Trust,
];

/// Makes a version.
pub(super) async fn create(
    service: &Service,
    request: pb::CreateCatalogueRequest,
) -> Result<pb::CreateCatalogueResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        if request.changes.is_empty() || request.changes.len() > CHANGES_MAX {
            let message = format!("{} changes: give 1 to {CHANGES_MAX}", request.changes.len());
            return Err(FieldViolation::new("changes", "WRONG_COUNT", message));
        }
        let changes = request
            .changes
            .iter()
            .enumerate()
            .map(|(place, found)| change(place, found));
        let draft = CatalogueDraft {
            title: names::pupil_name("title", &request.title)?,
            based_on: (request.based_on_version != 0).then_some(request.based_on_version),
            changes: changes.collect::<Result<_, _>>()?,
            request: convert::optional_request_id("request_id", &request.request_id)?,
        };
        Ok((convert::trust_id(&request.trust_id)?, draft))
    };
    let (trust, draft) = read().map_err(ServiceError::from)?;
    let found = service.create_catalogue(trust, &draft).await?;
    Ok(pb::CreateCatalogueResponse {
        catalogue: Some(to_catalogue(found)),
    })
}

/// Returns a version.
pub(super) async fn get(
    service: &Service,
    request: pb::GetCatalogueRequest,
) -> Result<pb::GetCatalogueResponse, Status> {
    let trust = convert::trust_id(&request.trust_id).map_err(ServiceError::from)?;
    let version = (request.version != 0).then_some(request.version);
    let found = service.get_catalogue(trust, version).await?;
    Ok(pb::GetCatalogueResponse {
        catalogue: Some(to_catalogue(found)),
    })
}

/// Lists versions.
pub(super) async fn list(
    service: &Service,
    request: pb::ListCataloguesRequest,
) -> Result<pb::ListCataloguesResponse, Status> {
    const LIST: &str = "catalogues";
    let read = || -> Result<_, FieldViolation> {
        let trust = convert::trust_id(&request.trust_id)?;
        let (size, token) = (request.page_size, &request.page_token);
        Ok((
            trust,
            page_token::page(LIST, trust.0.as_bytes(), size, token, &service.limits)?,
        ))
    };
    let (trust, page) = read().map_err(ServiceError::from)?;
    let page = service.list_catalogues(trust, page).await?;
    Ok(pb::ListCataloguesResponse {
        next_page_token: page_token::encode(LIST, trust.0.as_bytes(), page.next.as_ref()),
        catalogues: page.rows.into_iter().map(to_catalogue).collect(),
    })
}

/// Brings a version into force.
pub(super) async fn activate(
    service: &Service,
    request: pb::ActivateCatalogueRequest,
) -> Result<pb::ActivateCatalogueResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        let by = convert::person("activated_by", request.activated_by.as_ref())?;
        Ok((convert::trust_id(&request.trust_id)?, by))
    };
    let (trust, by) = read().map_err(ServiceError::from)?;
    let found = service.activate_catalogue(trust, request.version, &by).await?;
    Ok(pb::ActivateCatalogueResponse {
        catalogue: Some(to_catalogue(found)),
    })
}

fn change(place: usize, change: &pb::ProvisionChange) -> Result<ProvisionChange, FieldViolation> {
    use pb::provision_change::Change;
    match &change.change {
        Some(Change::Put(put)) => Ok(ProvisionChange::Put(provision(&format!("changes[{place}].put"), put)?)),
        Some(Change::Retire(id)) => Ok(ProvisionChange::Retire(id.clone())),
        None => {
            let message = "set one of put and retire";
            Err(FieldViolation::new(
                format!("changes[{place}]"),
                "MISSING_CHANGE",
                message,
            ))
        }
    }
}

fn provision(field: &str, provision: &pb::Provision) -> Result<RequiredProvision, FieldViolation> {
    let of = |name: &str| format!("{field}.{name}");
    let missing = |name: &str| FieldViolation::new(of(name), "UNKNOWN_VALUE", "give a value of the contract");
    let stage = convert::stage(provision.stage).ok_or_else(|| missing("stage"))?;
    let id = convert::text(&of("provision_id"), &provision.provision_id, 1..=64)?;
    let named = id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !named {
        let message = "give 1 to 64 characters of A-Z, a-z, 0-9, '-', '_' and '.'";
        return Err(FieldViolation::new(of("provision_id"), "INVALID_PROVISION_ID", message));
    }
    let kind = KINDS
        .into_iter()
        .find(|kind| i32::from(to_kind(*kind)) == provision.kind);
    let condition = CONDITIONS
        .into_iter()
        .find(|condition| i32::from(to_condition(*condition)) == provision.condition);
    let mut responsible = Vec::with_capacity(provision.responsible_roles.len());
    for (place, number) in provision.responsible_roles.iter().enumerate() {
        let role = ROLES.into_iter().find(|role| i32::from(to_role(*role)) == *number);
        let role = role.ok_or_else(|| missing(&format!("responsible_roles[{place}]")))?;
        if !responsible.contains(&role) {
            responsible.push(role);
        }
    }
    if responsible.is_empty() {
        let message = "say who is responsible: give at least one role";
        return Err(FieldViolation::new(of("responsible_roles"), "MISSING_ROLE", message));
    }
    if !(0..=366).contains(&provision.review_days) {
        let message = "give 1 to 366 days, or 0 for no review interval";
        return Err(FieldViolation::new(of("review_days"), "OUT_OF_RANGE", message));
    }
    Ok(RequiredProvision {
        subject: if stage == Stage::Universal {
            Subject::School
        } else {
            Subject::Pupil
        },
        title: convert::text(&of("title"), &provision.title, TITLE)?,
        guidance: convert::text(&of("guidance"), &provision.guidance, GUIDANCE)?,
        kind: kind.ok_or_else(|| missing("kind"))?,
        condition: condition.ok_or_else(|| missing("condition"))?,
        review_days: i16::try_from(provision.review_days).ok().filter(|days| *days > 0),
        responsible,
        stage,
        id,
    })
}

fn to_catalogue(found: FoundCatalogue) -> pb::Catalogue {
    let provisions = found.provisions.into_iter().map(|provision| pb::Provision {
        stage: to_stage(provision.stage).into(),
        kind: to_kind(provision.kind).into(),
        condition: to_condition(provision.condition).into(),
        responsible_roles: provision.responsible.iter().map(|role| to_role(*role).into()).collect(),
        review_days: provision.review_days.map_or(0, i32::from),
        provision_id: provision.id,
        title: provision.title,
        guidance: provision.guidance,
    });
    pb::Catalogue {
        version: found.row.version,
        title: found.row.title,
        in_force: found.in_force,
        based_on_version: found.row.based_on.unwrap_or(0),
        created_at: Some(to_timestamp(found.row.created_at)),
        activated_at: found.row.activated_at.map(to_timestamp),
        provisions: provisions.collect(),
    }
}
