//! Temporary.
use super::StoreError;
use crate::domain::calendar::Calendars;
use crate::domain::identifiers::TrustId;
use diesel_async::AsyncPgConnection;
use uuid::Uuid;
/// Temporary.
pub async fn calendars_of(_: &mut AsyncPgConnection, _: TrustId, _: &[Uuid]) -> Result<Calendars, StoreError> {
    Ok(Calendars::default())
}
