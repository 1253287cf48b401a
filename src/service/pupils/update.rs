//! The fields of one pupil.

use chrono::NaiveDate;
use diesel_async::AsyncPgConnection;

use super::plan::{self, UpnChange};
use super::upsert::{identifier_taken, of_pupil};
use super::{Pupil, load_one};
use crate::domain::identifiers::{PupilId, PupilKey, TrustId, Upn};
use crate::service::error::{Resource, Warning};
use crate::service::judging::timeline_of;
use crate::service::transaction::{finish, locked_pupil, retry};
use crate::service::{Service, ServiceError, thresholds};
use crate::store::pupils::writes::{self, PupilWrites};
use crate::store::pupils::{self, IdentifierRow, KIND_MIS, KIND_UPN};

/// The fields of a pupil to be written; nothing leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PupilChanges {
    /// Given name.
    pub given_name: Option<String>,
    /// Family name.
    pub family_name: Option<String>,
    /// Date of birth; nothing within takes it away.
    pub date_of_birth: Option<Option<NaiveDate>>,
    /// Year group: the number of the contract's enum, from 1; nothing within takes it away.
    pub year_group: Option<Option<i16>>,
    /// The UPN; nothing within takes it away. The one before stays as a former number.
    pub upn: Option<Option<Upn>>,
}

impl Service {
    /// Changes a pupil whose version is the expected one, where one is expected. What changes nothing leaves the version
    /// as it is.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where the trust has no such pupil, [`ServiceError::StaleEtag`] where its version is
    /// another, [`ServiceError::AlreadyExists`] where another pupil has or had the UPN, [`ServiceError::Invalid`] where
    /// the pupil would be left without any identifier, or the date of birth is none.
    pub async fn update_pupil(
        &self,
        trust: TrustId,
        pupil: PupilId,
        changes: &PupilChanges,
        expected_version: Option<i64>,
    ) -> Result<(Pupil, Vec<Warning>), ServiceError> {
        retry(|| self.update_once(trust, pupil, changes, expected_version)).await
    }

    async fn update_once(
        &self,
        trust: TrustId,
        pupil: PupilId,
        changes: &PupilChanges,
        expected_version: Option<i64>,
    ) -> Result<(Pupil, Vec<Warning>), ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let updated = self
            .update(&mut transaction, trust, pupil, changes, expected_version)
            .await;
        finish(transaction, updated).await
    }

    async fn update(
        &self,
        conn: &mut AsyncPgConnection,
        trust: TrustId,
        pupil: PupilId,
        changes: &PupilChanges,
        expected_version: Option<i64>,
    ) -> Result<(Pupil, Vec<Warning>), ServiceError> {
        let writing = self.writing(conn, trust).await?;
        let date_of_birth = changes.date_of_birth.flatten();
        plan::check_date_of_birth("date_of_birth", date_of_birth, self.clock.today()).map_err(of_pupil)?;
        let (pupil, _) = locked_pupil(conn, trust, &PupilKey::Id(pupil)).await?;
        let rows = pupils::load(conn, trust, &[pupil.0]).await?;
        let row = rows.first().ok_or(ServiceError::NotFound(Resource::Pupil))?;
        if expected_version.is_some_and(|expected| expected != row.version) {
            return Err(ServiceError::StaleEtag(Resource::Pupil));
        }
        let there = plan::stored_fields(row);
        let mut fields = there.clone();
        if let Some(given_name) = &changes.given_name {
            fields.given_name.clone_from(given_name);
        }
        if let Some(family_name) = &changes.family_name {
            fields.family_name.clone_from(family_name);
        }
        if let Some(date_of_birth) = changes.date_of_birth {
            fields.date_of_birth = date_of_birth;
        }
        if let Some(year_group) = changes.year_group {
            fields.year_group = year_group;
        }
        let date_of_birth_after = fields.date_of_birth;
        let upn_change = match &changes.upn {
            Some(upn) => change_upn(conn, trust, pupil, upn.as_ref()).await?,
            None => UpnChange::default(),
        };
        let warnings = changes.upn.iter().flatten().flat_map(plan::upn_warnings);
        let warnings = warnings.chain(upn_change.warning);
        let warnings = warnings.map(|warning| plan::upn_warning(0, warning)).collect();
        if fields != there || upn_change.new.is_some() || !upn_change.changed.is_empty() {
            let writes = PupilWrites {
                changed_pupils: vec![fields],
                new_identifiers: upn_change.new.into_iter().collect(),
                changed_identifiers: upn_change.changed,
                ..PupilWrites::default()
            };
            writes::write(conn, trust, writing, &writes).await?;
        }
        if there.date_of_birth != date_of_birth_after {
            let timeline = timeline_of(conn, trust).await?;
            thresholds::reevaluate(conn, trust, &timeline, &[pupil.0], None, self.moment(), None).await?;
        }
        let updated = load_one(conn, trust, pupil).await?;
        Ok((updated.ok_or(ServiceError::NotFound(Resource::Pupil))?, warnings))
    }
}

/// What giving the pupil this UPN, or none, does to its identifiers.
async fn change_upn(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupil: PupilId,
    upn: Option<&Upn>,
) -> Result<UpnChange, ServiceError> {
    let identifiers = pupils::identifiers_of(conn, trust, &[pupil.0]).await?;
    let Some(upn) = upn else {
        return take_upn_away(&identifiers);
    };
    let key = PupilKey::Upn(upn.clone());
    let holder = pupils::resolve_pupils(conn, trust, &[key]).await?;
    if holder.into_iter().flatten().any(|holder| holder != pupil) {
        return Err(identifier_taken("upn"));
    }
    // A person decides here, so a temporary UPN may take the place of a permanent one.
    Ok(plan::give_upn(pupil.0, &identifiers, upn, false))
}

fn take_upn_away(identifiers: &[IdentifierRow]) -> Result<UpnChange, ServiceError> {
    let is_current = |kind: i16| move |row: &&IdentifierRow| row.kind == kind && row.is_current;
    if !identifiers.iter().any(|row| is_current(KIND_MIS)(&row)) {
        return Err(of_pupil(plan::missing_identifier("upn")));
    }
    let current = identifiers.iter().filter(is_current(KIND_UPN));
    Ok(UpnChange {
        changed: current.map(|row| plan::with_current(row, false)).collect(),
        ..UpnChange::default()
    })
}
