//! Policies: settings in and out, drafts, previews and activations.

use tonic::Status;
use uuid::Uuid;

use super::convert::{self, to_date, to_etag, to_stage, to_tally, to_timestamp};
use super::{jobs, names, page_token};
use crate::domain::identifiers::TrustId;
use crate::domain::person::Person;
use crate::domain::policy::{Brake, DaysToDue, PenaltyRule, Scope, Trigger, Window};
use crate::domain::stage::{Comparison, LowerBound, Policy, Stage};
use crate::proto as pb;
use crate::service::error::FieldViolation;
use crate::service::policies::drafts::{Draft, FoundPolicy, PolicyName};
use crate::service::policies::preview::{Movements, Proposal};
use crate::service::{Service, ServiceError};

const TRIGGERS_MAX: usize = 20;
const DUE_RULES_MAX: usize = 200;

/// Drafts a policy.
pub(super) async fn create(
    service: &Service,
    request: pb::CreatePolicyRequest,
) -> Result<pb::CreatePolicyResponse, Status> {
    let trust = convert::trust_id(&request.trust_id).map_err(ServiceError::from)?;
    let draft = draft(&request.title, request.settings)?;
    let found = service.create_policy(trust, &draft).await?;
    Ok(pb::CreatePolicyResponse {
        policy: Some(to_policy(found)),
    })
}

/// Changes a draft.
pub(super) async fn update(
    service: &Service,
    request: pb::UpdatePolicyRequest,
) -> Result<pb::UpdatePolicyResponse, Status> {
    let trust = convert::trust_id(&request.trust_id).map_err(ServiceError::from)?;
    let expected = names::expected_version(&request.etag);
    let draft = draft(&request.title, request.settings)?;
    let found = service.update_policy(trust, request.version, draft, expected).await?;
    Ok(pb::UpdatePolicyResponse {
        policy: Some(to_policy(found)),
    })
}

/// Returns one version.
pub(super) async fn get(service: &Service, request: pb::GetPolicyRequest) -> Result<pb::GetPolicyResponse, Status> {
    let trust = convert::trust_id(&request.trust_id).map_err(ServiceError::from)?;
    let name = match request.version {
        0 => PolicyName::InForce(convert::optional_school_key("school", &request.school).map_err(ServiceError::from)?),
        version => PolicyName::Version(version),
    };
    let found = service.get_policy(trust, &name).await?;
    Ok(pb::GetPolicyResponse {
        policy: Some(to_policy(found)),
    })
}

/// Lists the versions.
pub(super) async fn list(
    service: &Service,
    request: pb::ListPoliciesRequest,
) -> Result<pb::ListPoliciesResponse, Status> {
    const LIST: &str = "policies";
    let read = || -> Result<_, FieldViolation> {
        let trust = convert::trust_id(&request.trust_id)?;
        let (size, token) = (request.page_size, &request.page_token);
        Ok((
            trust,
            page_token::page(LIST, trust.0.as_bytes(), size, token, &service.limits)?,
        ))
    };
    let (trust, page) = read().map_err(ServiceError::from)?;
    let page = service.list_policies(trust, page).await?;
    Ok(pb::ListPoliciesResponse {
        next_page_token: page_token::encode(LIST, trust.0.as_bytes(), page.next.as_ref()),
        policies: page.rows.into_iter().map(to_policy).collect(),
    })
}

/// Lists what came into force.
pub(super) async fn list_activations(
    service: &Service,
    request: pb::ListPolicyActivationsRequest,
) -> Result<pb::ListPolicyActivationsResponse, Status> {
    let trust = convert::trust_id(&request.trust_id).map_err(ServiceError::from)?;
    let rows = service.list_policy_activations(trust).await?;
    let activations = rows.into_iter().map(|row| pb::PolicyActivation {
        school_id: row.school_id.map(|school| school.to_string()).unwrap_or_default(),
        version: row.version.unwrap_or(0),
        activated_at: Some(to_timestamp(row.activated_at)),
        activated_by: Some(pb::Person {
            name: row.activated_by_name,
            position: row.activated_by_position,
            ..pb::Person::default()
        }),
    });
    Ok(pb::ListPolicyActivationsResponse {
        activations: activations.collect(),
    })
}

/// Says what a policy would do.
pub(super) async fn preview(
    service: &Service,
    request: pb::PreviewPolicyRequest,
) -> Result<pb::PreviewPolicyResponse, Status> {
    const LIST: &str = "pupils that would move";
    let filters = format!("{} {} {}", request.trust_id, request.version, request.school);
    let read = || -> Result<_, FieldViolation> {
        let trust = convert::trust_id(&request.trust_id)?;
        let proposal = proposal(request.version, &request.school)?;
        let (size, token) = (request.page_size, &request.page_token);
        let page = page_token::page::<Uuid>(LIST, filters.as_bytes(), size, token, &service.limits)?;
        Ok((trust, proposal, page))
    };
    let (trust, proposal, page) = read().map_err(ServiceError::from)?;
    let preview = service.preview_policy(trust, &proposal, page).await?;
    let pupils: i64 = preview.movements.values().sum();
    let stay = preview.movements.iter().filter(|((from, to), _)| from == to);
    let stay: i64 = stay.map(|(_, pupils)| pupils).sum();
    let schools = preview.by_school.iter().map(|(school, movements)| pb::SchoolMovements {
        school_id: school.map(|school| school.to_string()).unwrap_or_default(),
        movements: to_movements(movements),
    });
    let moved_pupils = preview.moved.rows.iter().map(|movement| pb::PupilMovement {
        pupil_id: movement.pupil_id.to_string(),
        from_stage: to_stage(movement.from).into(),
        to_stage: to_stage(movement.to).into(),
        tally: Some(to_tally(movement.tally)),
    });
    Ok(pb::PreviewPolicyResponse {
        as_of: Some(to_date(preview.as_of)),
        pupils: convert::count(pupils),
        moved: convert::count(pupils - stay),
        movements: to_movements(&preview.movements),
        schools: schools.collect(),
        moved_pupils: moved_pupils.collect(),
        next_page_token: page_token::encode(LIST, filters.as_bytes(), preview.moved.next.as_ref()),
    })
}

fn to_movements(movements: &Movements) -> Vec<pb::StageMovement> {
    let movements = movements.iter().map(|((from, to), pupils)| pb::StageMovement {
        from_stage: to_stage(*from).into(),
        to_stage: to_stage(*to).into(),
        pupils: convert::count(*pupils),
    });
    movements.collect()
}

/// Brings a policy into force.
pub(super) async fn activate(
    service: &Service,
    request: pb::ActivatePolicyRequest,
) -> Result<pb::ActivatePolicyResponse, Status> {
    let read = || -> Result<(TrustId, Proposal, Person, Option<Uuid>), FieldViolation> {
        Ok((
            convert::trust_id(&request.trust_id)?,
            proposal(request.version, &request.school)?,
            convert::person("activated_by", request.activated_by.as_ref())?,
            convert::optional_request_id("request_id", &request.request_id)?,
        ))
    };
    let (trust, proposal, by, request_id) = read().map_err(ServiceError::from)?;
    let job = service.activate_policy(trust, &proposal, &by, request_id).await?;
    Ok(pb::ActivatePolicyResponse {
        job: Some(jobs::to_job(job)?),
    })
}

fn proposal(version: i32, school: &str) -> Result<Proposal, FieldViolation> {
    if version < 0 {
        let message = "give the number of a version, or 0 to let a school follow the trust's policy again";
        return Err(FieldViolation::new("version", "INVALID_VERSION", message));
    }
    Ok(Proposal {
        version: (version != 0).then_some(version),
        school: convert::optional_school_key("school", school)?,
    })
}

fn draft(title: &str, settings: Option<pb::PolicySettings>) -> Result<Draft, ServiceError> {
    let read = || -> Result<Draft, FieldViolation> {
        Ok(Draft {
            title: names::pupil_name("title", title)?,
            policy: policy(&settings.clone().unwrap_or_default())?,
        })
    };
    Ok(read()?)
}

/// A number of a setting that lies within its bounds.
fn number<T: TryFrom<i32>>(
    field: &str,
    value: i32,
    bounds: std::ops::RangeInclusive<i32>,
) -> Result<T, FieldViolation> {
    let outside = || {
        let message = format!("give a number from {} to {}", bounds.start(), bounds.end());
        FieldViolation::new(field, "OUT_OF_RANGE", message)
    };
    if !bounds.contains(&value) {
        return Err(outside());
    }
    T::try_from(value).map_err(|_| outside())
}

fn unknown(field: &str) -> FieldViolation {
    FieldViolation::new(field, "UNKNOWN_VALUE", "give a value of the contract, or leave it out")
}

/// Reads a policy's settings; what is left out has the value of the default policy.
pub(super) fn policy(settings: &pb::PolicySettings) -> Result<Policy, FieldViolation> {
    let default = Policy::default();
    let comparison = pb::Comparison::try_from(settings.comparison).map_err(|_| unknown("settings.comparison"))?;
    let scope = pb::PolicyScope::try_from(settings.scope).map_err(|_| unknown("settings.scope"))?;
    let triggers = settings.triggers.iter().enumerate();
    if settings.triggers.len() > TRIGGERS_MAX {
        let message = format!(
            "{} triggers are over the limit of {TRIGGERS_MAX}",
            settings.triggers.len()
        );
        return Err(FieldViolation::new("settings.triggers", "TOO_MANY", message));
    }
    let minimum_possible = match settings.minimum_possible {
        None => default.minimum_possible,
        Some(minimum) => number("settings.minimum_possible", minimum, 0..=400)?,
    };
    let stale: u16 = number(
        "settings.stale_after_school_days",
        settings.stale_after_school_days,
        0..=100,
    )?;
    Ok(Policy {
        lower_bounds: lower_bounds(&settings.lower_bounds)?,
        comparison: match comparison {
            pb::Comparison::Unspecified | pb::Comparison::Exact => Comparison::Exact,
            pb::Comparison::Rounded => Comparison::Rounded,
        },
        minimum_possible,
        window: window(settings)?,
        scope: match scope {
            pb::PolicyScope::Unspecified | pb::PolicyScope::Trust => Scope::Trust,
            pb::PolicyScope::Enrolment => Scope::Enrolment,
        },
        passed_over_raises: !settings.raises_reached_stage_only,
        fall_waits: settings.fall_waits,
        days_to_due: days_to_due(&settings.days_to_due)?,
        stale_after_school_days: (stale > 0).then_some(stale),
        penalty: settings.penalty.as_ref().map_or(Ok(default.penalty), penalty)?,
        triggers: triggers
            .map(|(place, found)| trigger(place, found))
            .collect::<Result<_, _>>()?,
        brake: settings.brake.as_ref().map_or(Ok(default.brake), brake)?,
    })
}

fn lower_bounds(bounds: &[pb::LowerBound]) -> Result<[LowerBound; 5], FieldViolation> {
    const FIELD: &str = "settings.lower_bounds";
    if bounds.is_empty() {
        return Ok(Policy::default().lower_bounds);
    }
    let read = bounds.iter().enumerate().map(|(place, bound)| {
        Ok(LowerBound {
            tenths: number(&format!("{FIELD}[{place}].tenths"), bound.tenths, 0..=1000)?,
            inclusive: bound.inclusive,
        })
    });
    let read = read.collect::<Result<Vec<LowerBound>, FieldViolation>>()?;
    let count = read.len();
    let bounds = <[LowerBound; 5]>::try_from(read).map_err(|_| {
        let message = format!("{count} bounds: give five, of U, 1, 2, 3 and 4, or none");
        FieldViolation::new(FIELD, "WRONG_COUNT", message)
    })?;
    // A band must hold something: below the bound before, or the same where that one leaves its value to this one.
    let falls = |pair: &[LowerBound]| {
        pair[1].tenths < pair[0].tenths || (pair[1].tenths == pair[0].tenths && pair[1].inclusive && !pair[0].inclusive)
    };
    if let Some(place) = bounds.windows(2).position(|pair| !falls(pair)) {
        let field = format!("{FIELD}[{}].tenths", place + 1);
        return Err(FieldViolation::new(
            field,
            "BOUNDS_NOT_FALLING",
            "give each bound below the one before it",
        ));
    }
    Ok(bounds)
}

fn window(settings: &pb::PolicySettings) -> Result<Window, FieldViolation> {
    let weeks = settings.window_school_weeks;
    let window = pb::PolicyWindow::try_from(settings.window).map_err(|_| unknown("settings.window"))?;
    let window = match window {
        pb::PolicyWindow::Unspecified | pb::PolicyWindow::YearToDate => Window::YearToDate,
        pb::PolicyWindow::CurrentTerm => Window::CurrentTerm,
        pb::PolicyWindow::SchoolWeeks => {
            return Ok(Window::SchoolWeeks(number(
                "settings.window_school_weeks",
                weeks,
                1..=52,
            )?));
        }
    };
    if weeks != 0 {
        let message = "leave it out, or make the window one of school weeks";
        return Err(FieldViolation::new(
            "settings.window_school_weeks",
            "NOT_OF_THIS_WINDOW",
            message,
        ));
    }
    Ok(window)
}

fn days_to_due(rules: &[pb::DaysToDue]) -> Result<DaysToDue, FieldViolation> {
    let mut days_to_due = DaysToDue::default();
    if rules.len() > DUE_RULES_MAX {
        let message = format!("{} rules are over the limit of {DUE_RULES_MAX}", rules.len());
        return Err(FieldViolation::new("settings.days_to_due", "TOO_MANY", message));
    }
    for (place, rule) in rules.iter().enumerate() {
        let field = format!("settings.days_to_due[{place}]");
        let days: u16 = number(&format!("{field}.days"), rule.days, 0..=366)?;
        let of_stage = convert::stage(rule.stage).and_then(|stage| usize::from(stage.number()).checked_sub(1));
        match (of_stage, rule.provision_id.as_str()) {
            (Some(of_stage), "") => days_to_due.by_stage[of_stage] = Some(days),
            (None, provision) if rule.stage == 0 && !provision.is_empty() && provision.len() <= 64 => {
                days_to_due.by_provision.insert(provision.to_owned(), days);
            }
            _ => {
                let message = "name either a stage, 1 to 5, or a provision";
                return Err(FieldViolation::new(field, "STAGE_OR_PROVISION", message));
            }
        }
    }
    Ok(days_to_due)
}

fn penalty(rule: &pb::PenaltyRule) -> Result<PenaltyRule, FieldViolation> {
    Ok(PenaltyRule {
        sessions: number("settings.penalty.sessions", rule.sessions, 1..=100)?,
        school_weeks: number("settings.penalty.school_weeks", rule.school_weeks, 1..=52)?,
        counts_no_reason_yet: !rule.ignores_no_reason_yet,
    })
}

fn brake(brake: &pb::Brake) -> Result<Brake, FieldViolation> {
    Ok(Brake {
        removed_marks_max: number(
            "settings.brake.removed_marks_max",
            brake.removed_marks_max,
            0..=i32::MAX,
        )?,
        restaged_pupils_max: number(
            "settings.brake.restaged_pupils_max",
            brake.restaged_pupils_max,
            0..=i32::MAX,
        )?,
        removed_tenths_max: number("settings.brake.removed_tenths_max", brake.removed_tenths_max, 0..=1000)?,
    })
}

fn trigger(place: usize, trigger: &pb::Trigger) -> Result<Trigger, FieldViolation> {
    use pb::trigger::Trigger as Found;
    let field = |name: &str| format!("settings.triggers[{place}].{name}");
    match &trigger.trigger {
        Some(Found::AbsencesInRow(found)) => Ok(Trigger::AbsencesInRow {
            sessions: number(&field("absences_in_row.sessions"), found.sessions, 1..=400)?,
        }),
        Some(Found::Spells(found)) => Ok(Trigger::Spells {
            spells: number(&field("spells.spells"), found.spells, 1..=100)?,
            school_weeks: number(&field("spells.school_weeks"), found.school_weeks, 1..=52)?,
        }),
        Some(Found::WeekFall(found)) => Ok(Trigger::WeekFall {
            tenths: number(&field("week_fall.tenths"), found.tenths, 1..=1000)?,
        }),
        None => {
            let message = "set one of absences_in_row, spells and week_fall";
            Err(FieldViolation::new(field("trigger"), "MISSING_TRIGGER", message))
        }
    }
}

pub(super) fn to_policy(found: FoundPolicy) -> pb::Policy {
    let row = found.row;
    let state = match (found.in_force, row.activated_at) {
        (true, _) => pb::PolicyState::InForce,
        (false, Some(_)) => pb::PolicyState::Past,
        (false, None) => pb::PolicyState::Draft,
    };
    pb::Policy {
        version: row.version,
        title: row.title,
        settings: Some(to_settings(&row.policy)),
        state: state.into(),
        etag: to_etag(row.revision),
        created_at: Some(to_timestamp(row.created_at)),
        activated_at: row.activated_at.map(to_timestamp),
    }
}

/// A policy's settings, complete.
pub(super) fn to_settings(policy: &Policy) -> pb::PolicySettings {
    let (window, weeks) = match policy.window {
        Window::YearToDate => (pb::PolicyWindow::YearToDate, 0),
        Window::SchoolWeeks(weeks) => (pb::PolicyWindow::SchoolWeeks, i32::from(weeks)),
        Window::CurrentTerm => (pb::PolicyWindow::CurrentTerm, 0),
    };
    let by_stage = Stage::ALL[1..].iter().zip(policy.days_to_due.by_stage);
    let by_stage = by_stage.filter_map(|(stage, days)| {
        Some(pb::DaysToDue {
            stage: to_stage(*stage).into(),
            provision_id: String::new(),
            days: i32::from(days?),
        })
    });
    let by_provision = policy
        .days_to_due
        .by_provision
        .iter()
        .map(|(provision, days)| pb::DaysToDue {
            stage: 0,
            provision_id: provision.clone(),
            days: i32::from(*days),
        });
    pb::PolicySettings {
        lower_bounds: policy
            .lower_bounds
            .iter()
            .map(|bound| pb::LowerBound {
                tenths: i32::from(bound.tenths),
                inclusive: bound.inclusive,
            })
            .collect(),
        comparison: match policy.comparison {
            Comparison::Exact => pb::Comparison::Exact,
            Comparison::Rounded => pb::Comparison::Rounded,
        }
        .into(),
        minimum_possible: Some(convert::count(policy.minimum_possible)),
        window: window.into(),
        window_school_weeks: weeks,
        scope: match policy.scope {
            Scope::Trust => pb::PolicyScope::Trust,
            Scope::Enrolment => pb::PolicyScope::Enrolment,
        }
        .into(),
        raises_reached_stage_only: !policy.passed_over_raises,
        fall_waits: policy.fall_waits,
        days_to_due: by_stage.chain(by_provision).collect(),
        stale_after_school_days: policy.stale_after_school_days.map_or(0, i32::from),
        penalty: Some(pb::PenaltyRule {
            sessions: i32::from(policy.penalty.sessions),
            school_weeks: i32::from(policy.penalty.school_weeks),
            ignores_no_reason_yet: !policy.penalty.counts_no_reason_yet,
        }),
        triggers: policy.triggers.iter().map(to_trigger).collect(),
        brake: Some(pb::Brake {
            removed_marks_max: convert::count(policy.brake.removed_marks_max),
            restaged_pupils_max: convert::count(policy.brake.restaged_pupils_max),
            removed_tenths_max: i32::from(policy.brake.removed_tenths_max),
        }),
    }
}

fn to_trigger(trigger: &Trigger) -> pb::Trigger {
    use pb::trigger::Trigger as Given;
    let given = match *trigger {
        Trigger::AbsencesInRow { sessions } => Given::AbsencesInRow(pb::AbsencesInRowTrigger {
            sessions: i32::from(sessions),
        }),
        Trigger::Spells { spells, school_weeks } => Given::Spells(pb::SpellsTrigger {
            spells: i32::from(spells),
            school_weeks: i32::from(school_weeks),
        }),
        Trigger::WeekFall { tenths } => Given::WeekFall(pb::WeekFallTrigger {
            tenths: i32::from(tenths),
        }),
    };
    pb::Trigger { trigger: Some(given) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_settings_are_the_default_policy_and_every_policy_reads_back_as_it_is_written() {
        let default = policy(&pb::PolicySettings::default()).unwrap();
        assert_eq!(default, Policy::default());
        assert_eq!(policy(&to_settings(&default)).unwrap(), default);
        let other = Policy {
            comparison: Comparison::Rounded,
            minimum_possible: 0,
            window: Window::SchoolWeeks(6),
            scope: Scope::Enrolment,
            passed_over_raises: false,
            fall_waits: true,
            days_to_due: DaysToDue {
                by_stage: [None, Some(5), None, Some(0), None],
                by_provision: [("3-02".to_owned(), 14)].into(),
            },
            stale_after_school_days: Some(5),
            penalty: PenaltyRule {
                sessions: 12,
                school_weeks: 8,
                counts_no_reason_yet: false,
            },
            triggers: vec![
                Trigger::AbsencesInRow { sessions: 6 },
                Trigger::Spells {
                    spells: 3,
                    school_weeks: 6,
                },
                Trigger::WeekFall { tenths: 100 },
            ],
            brake: Brake {
                removed_marks_max: 0,
                restaged_pupils_max: 1,
                removed_tenths_max: 1000,
            },
            ..Policy::default()
        };
        assert_eq!(policy(&to_settings(&other)).unwrap(), other);
    }

    #[test]
    fn bounds_that_do_not_fall_are_refused_by_their_place() {
        let bounds = |tenths: [(i32, bool); 5]| pb::PolicySettings {
            lower_bounds: tenths
                .map(|(tenths, inclusive)| pb::LowerBound { tenths, inclusive })
                .to_vec(),
            ..pb::PolicySettings::default()
        };
        let rising = bounds([(950, false), (960, true), (900, false), (800, true), (500, true)]);
        let found = policy(&rising).unwrap_err();
        assert_eq!(
            (found.field.as_str(), found.reason),
            ("settings.lower_bounds[1].tenths", "BOUNDS_NOT_FALLING")
        );
        // Exactly 95 can be a band of its own.
        assert!(
            policy(&bounds([
                (950, false),
                (950, true),
                (900, false),
                (800, true),
                (500, true)
            ]))
            .is_ok()
        );
    }
}
