//! Conversions between the contract's messages and the domain: parsed once, at the border.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use uuid::Uuid;

use crate::domain::code::{AttendanceCode, Category};
use crate::domain::identifiers::{
    IdentifierError, MisIdentifier, PupilId, PupilKey, SchoolId, SchoolKey, TrustId, Upn, Urn,
};
use crate::domain::person::Person;
use crate::domain::session::{Session, SessionHalf};
use crate::domain::stage::Stage;
use crate::domain::tally::Tally;
use crate::proto as pb;
use crate::service::error::{FieldViolation, Rejection, SessionAt, Warning};
use crate::service::sessions::Correction;

/// A UUID, or what is wrong with it.
pub fn uuid(field: &str, text: &str) -> Result<Uuid, FieldViolation> {
    Uuid::try_parse(text).map_err(|_| {
        FieldViolation::new(
            field,
            "INVALID_UUID",
            "give a UUID, for example 01890a5d-ac96-774b-bcce-b302099a8057",
        )
    })
}

/// The trust of a request.
pub fn trust_id(text: &str) -> Result<TrustId, FieldViolation> {
    uuid("trust_id", text).map(TrustId)
}

/// A request's own identifier; nothing where the caller gives none.
pub fn optional_request_id(field: &str, text: &str) -> Result<Option<Uuid>, FieldViolation> {
    if text.is_empty() {
        return Ok(None);
    }
    uuid(field, text).map(Some)
}

/// A count as the contract has it.
pub fn count(count: impl TryInto<i32>) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}

/// A request's own identifier: the caller's, or a new one.
pub fn request_id(field: &str, text: &str) -> Result<Uuid, FieldViolation> {
    if text.is_empty() {
        return Ok(Uuid::now_v7());
    }
    uuid(field, text)
}

fn identifier(field: &str, reason: &'static str) -> impl Fn(IdentifierError) -> FieldViolation {
    let field = field.to_owned();
    move |error| FieldViolation::new(field.clone(), reason, error.to_string())
}

/// A UPN; nothing for a blank or a placeholder.
pub fn upn(field: &str, text: &str) -> Result<Option<Upn>, FieldViolation> {
    Upn::parse(text).map_err(identifier(field, "INVALID_UPN"))
}

/// A URN.
pub fn urn(field: &str, text: &str) -> Result<Urn, FieldViolation> {
    Urn::parse(text).map_err(identifier(field, "INVALID_URN"))
}

/// An MIS identifier.
pub fn mis_identifier(field: &str, message: &pb::MisIdentifier) -> Result<MisIdentifier, FieldViolation> {
    MisIdentifier::parse(&message.source, &message.value).map_err(identifier(field, "INVALID_MIS_IDENTIFIER"))
}

/// A pupil's key: any one of the identifiers.
pub fn pupil_key(field: &str, message: Option<&pb::PupilKey>) -> Result<PupilKey, FieldViolation> {
    use pb::pupil_key::Key;
    let missing = || {
        FieldViolation::new(
            field,
            "MISSING_PUPIL",
            "name the pupil by pupil_id, upn or mis_identifier",
        )
    };
    match message.and_then(|message| message.key.as_ref()) {
        Some(Key::PupilId(text)) => Ok(PupilKey::Id(PupilId(uuid(&format!("{field}.pupil_id"), text)?))),
        Some(Key::Upn(text)) => upn(&format!("{field}.upn"), text)?
            .map(PupilKey::Upn)
            .ok_or_else(missing),
        Some(Key::MisIdentifier(identifier)) => {
            mis_identifier(&format!("{field}.mis_identifier"), identifier).map(PupilKey::Mis)
        }
        None => Err(missing()),
    }
}

/// A school's key, UUID or URN; nothing where the text is empty.
pub fn optional_school_key(field: &str, text: &str) -> Result<Option<SchoolKey>, FieldViolation> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(id) = Uuid::try_parse(text) {
        return Ok(Some(SchoolKey::Id(SchoolId(id))));
    }
    let urn = urn(field, text).map_err(|mut violation| {
        violation.message = "name the school by its UUID or by its URN of 6 digits".to_owned();
        violation
    })?;
    Ok(Some(SchoolKey::Urn(urn)))
}

/// A school's key, UUID or URN.
pub fn school_key(field: &str, text: &str) -> Result<SchoolKey, FieldViolation> {
    optional_school_key(field, text)?.ok_or_else(|| {
        FieldViolation::new(
            field,
            "MISSING_SCHOOL",
            "name the school by its UUID or by its URN of 6 digits",
        )
    })
}

/// A calendar date; nothing where it is absent.
pub fn optional_date(field: &str, date: Option<&pb::Date>) -> Result<Option<NaiveDate>, FieldViolation> {
    let Some(date) = date else {
        return Ok(None);
    };
    let parts = || {
        NaiveDate::from_ymd_opt(
            date.year,
            u32::try_from(date.month).ok()?,
            u32::try_from(date.day).ok()?,
        )
        .filter(|date| (1..=9999).contains(&date.year()))
    };
    parts().map(Some).ok_or_else(|| {
        FieldViolation::new(
            field,
            "INVALID_DATE",
            format!(
                "{:04}-{:02}-{:02} is not a date: give a year, a month and a day that exist",
                date.year, date.month, date.day
            ),
        )
    })
}

/// A calendar date.
pub fn date(field: &str, date: Option<&pb::Date>) -> Result<NaiveDate, FieldViolation> {
    optional_date(field, date)?.ok_or_else(|| FieldViolation::new(field, "MISSING_DATE", "give a date"))
}

/// A session.
pub fn session(field: &str, message: Option<&pb::Session>) -> Result<Session, FieldViolation> {
    let Some(message) = message else {
        return Err(FieldViolation::new(
            field,
            "MISSING_SESSION",
            "give a date and AM or PM",
        ));
    };
    let half = match message.half() {
        pb::SessionHalf::Am => SessionHalf::Am,
        pb::SessionHalf::Pm => SessionHalf::Pm,
        pb::SessionHalf::Unspecified => {
            return Err(FieldViolation::new(
                format!("{field}.half"),
                "INVALID_SESSION",
                "a session is AM or PM and nothing else",
            ));
        }
    };
    Ok(Session {
        date: date(&format!("{field}.date"), message.date.as_ref())?,
        half,
    })
}

/// A text of a length within bounds, trimmed.
pub fn text(field: &str, text: &str, length: std::ops::RangeInclusive<usize>) -> Result<String, FieldViolation> {
    let text = text.trim();
    if text.contains('\0') {
        // The database keeps no such text.
        let message = "give a text without the character U+0000";
        return Err(FieldViolation::new(field, "INVALID_TEXT", message));
    }
    if length.contains(&text.chars().count()) {
        return Ok(text.to_owned());
    }
    let (reason, message) = if text.is_empty() {
        ("MISSING_TEXT", format!("give 1 to {} characters", length.end()))
    } else {
        ("TEXT_TOO_LONG", format!("give at most {} characters", length.end()))
    };
    Err(FieldViolation::new(field, reason, message))
}

/// A person, by name and position.
pub fn person(field: &str, person: Option<&pb::Person>) -> Result<Person, FieldViolation> {
    let Some(person) = person else {
        return Err(FieldViolation::new(
            field,
            "MISSING_PERSON",
            "say who, by name and position",
        ));
    };
    Ok(Person {
        name: text(&format!("{field}.name"), &person.name, 1..=200)?,
        position: text(&format!("{field}.position"), &person.position, 1..=200)?,
    })
}

/// A correction: why, and who; nothing where it is absent.
pub fn correction(field: &str, correction: Option<&pb::Correction>) -> Result<Option<Correction>, FieldViolation> {
    correction
        .map(|correction| {
            Ok(Correction {
                reason: text(&format!("{field}.reason"), &correction.reason, 1..=500)?,
                corrected_by: person(&format!("{field}.corrected_by"), correction.corrected_by.as_ref())?,
            })
        })
        .transpose()
}

/// A date as the contract gives it.
pub fn to_date(date: NaiveDate) -> pb::Date {
    pb::Date {
        year: date.year(),
        month: i32::try_from(date.month()).unwrap_or_default(),
        day: i32::try_from(date.day()).unwrap_or_default(),
    }
}

/// An instant as the contract gives it.
pub fn to_timestamp(instant: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: instant.timestamp(),
        nanos: i32::try_from(instant.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

/// An instant of a request.
pub fn timestamp(field: &str, timestamp: &prost_types::Timestamp) -> Result<DateTime<Utc>, FieldViolation> {
    u32::try_from(timestamp.nanos)
        .ok()
        .and_then(|nanos| DateTime::from_timestamp(timestamp.seconds, nanos))
        .ok_or_else(|| {
            FieldViolation::new(
                field,
                "INVALID_TIMESTAMP",
                "give an instant between the years 1 and 9999",
            )
        })
}

/// A session as the contract gives it.
pub fn to_session(session: SessionAt) -> pb::Session {
    let half = if session.afternoon {
        pb::SessionHalf::Pm
    } else {
        pb::SessionHalf::Am
    };
    pb::Session {
        date: Some(to_date(session.date)),
        half: half.into(),
    }
}

/// A stage as the contract gives it.
pub fn to_stage(stage: Stage) -> pb::Stage {
    match stage {
        Stage::Universal => pb::Stage::Universal,
        Stage::One => pb::Stage::One,
        Stage::Two => pb::Stage::Two,
        Stage::Three => pb::Stage::Three,
        Stage::Four => pb::Stage::Four,
        Stage::Five => pb::Stage::Five,
    }
}

/// A stage of a request; nothing where none is given or the number is no stage.
pub fn stage(number: i32) -> Option<Stage> {
    // The contract numbers the stages from 1, in the order of need.
    i16::try_from(number)
        .ok()
        .and_then(|number| Stage::from_number(number - 1))
}

/// A code as the contract gives it: the number is the stored byte.
pub fn to_code(code: AttendanceCode) -> pb::AttendanceCode {
    pb::AttendanceCode::try_from(i32::from(code.byte())).unwrap_or_default()
}

/// A category as the contract gives it.
pub fn to_category(category: Category) -> pb::AttendanceCategory {
    match category {
        Category::Attending => pb::AttendanceCategory::Attending,
        Category::ApprovedEducationalActivity => pb::AttendanceCategory::ApprovedEducationalActivity,
        Category::AuthorisedAbsence => pb::AttendanceCategory::AuthorisedAbsence,
        Category::UnauthorisedAbsence => pb::AttendanceCategory::UnauthorisedAbsence,
        Category::NotPossible => pb::AttendanceCategory::NotPossible,
        Category::Administrative => pb::AttendanceCategory::Administrative,
    }
}

/// A tally as the contract gives it.
pub fn to_tally(tally: Tally) -> pb::Tally {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    pb::Tally {
        attended: count(tally.attended),
        possible: count(tally.possible),
        authorised: count(tally.authorised),
        unauthorised: count(tally.unauthorised),
    }
}

/// A rejection as the contract gives it.
pub fn to_rejection(rejection: Rejection) -> pb::Rejection {
    pb::Rejection {
        item_index: i32::try_from(rejection.item_index).unwrap_or(i32::MAX),
        reason: rejection.reason,
        field: rejection.field,
        session: rejection.session.map(to_session),
        message: rejection.message,
    }
}

/// A warning as the contract gives it.
pub fn to_warning(warning: Warning) -> pb::Warning {
    pb::Warning {
        item_index: i32::try_from(warning.item_index).unwrap_or(i32::MAX),
        reason: warning.reason,
        field: warning.field,
        session: warning.session.map(to_session),
        code: i32::from(warning.code),
        message: warning.message,
    }
}

/// A version as an etag.
pub fn to_etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// The version that an etag stands for; nothing where it is none of ours, so that it matches no version.
pub fn etag(etag: &str) -> Option<i64> {
    etag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}
