//! For how long a trust keeps what it records.

use diesel_async::AsyncPgConnection;

use crate::domain::identifiers::TrustId;
use crate::domain::person::Person;
use crate::service::error::{FieldViolation, Resource};
use crate::service::transaction::{finish, retry};
use crate::service::trusts::require_trust;
use crate::service::{Service, ServiceError};
use crate::store::TrustTransaction;
use crate::store::retention::{self as store, RetentionRow};

/// The shortest time for which registers, and with them who was on roll, are kept: The School Attendance (Pupil Registration)
/// (England) Regulations 2024.
pub const REGISTERS_YEARS_MIN: i16 = 6;
/// The shortest time for which actions are kept: longer than their feed can be watched.
const ACTIONS_YEARS_MIN: i16 = 2;
/// The shortest time for which records of requests are kept.
const REQUESTS_YEARS_MIN: i16 = 1;
/// The longest time of any kind.
const YEARS_MAX: i16 = 100;

/// For how many years after their academic year the kinds are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionYears {
    /// Registers, and what is worked out from them.
    pub registers: i16,
    /// Episodes, actions, logs and plans.
    pub actions: i16,
    /// Moves and holds.
    pub history: i16,
    /// Pupils who have left.
    pub pupils: i16,
    /// Records of requests.
    pub requests: i16,
}

impl Default for RetentionYears {
    fn default() -> RetentionYears {
        RetentionYears {
            registers: REGISTERS_YEARS_MIN,
            actions: 6,
            history: REGISTERS_YEARS_MIN,
            pupils: REGISTERS_YEARS_MIN,
            requests: REQUESTS_YEARS_MIN,
        }
    }
}

impl RetentionYears {
    fn of(row: &RetentionRow) -> RetentionYears {
        RetentionYears {
            registers: row.registers_years,
            actions: row.actions_years,
            history: row.history_years,
            pupils: row.pupils_years,
            requests: row.requests_years,
        }
    }

    /// What is set, where it is set, and what is there elsewhere.
    fn changed_by(self, asked: &RetentionYears) -> RetentionYears {
        let set = |asked: i16, there: i16| if asked == 0 { there } else { asked };
        RetentionYears {
            registers: set(asked.registers, self.registers),
            actions: set(asked.actions, self.actions),
            history: set(asked.history, self.history),
            pupils: set(asked.pupils, self.pupils),
            requests: set(asked.requests, self.requests),
        }
    }

    fn check(self) -> Result<(), ServiceError> {
        let law = "as The School Attendance (Pupil Registration) (England) Regulations 2024 ask";
        let kinds = [
            ("years.registers", self.registers, REGISTERS_YEARS_MIN, law),
            (
                "years.actions",
                self.actions,
                ACTIONS_YEARS_MIN,
                "as long as their feed can be watched",
            ),
            (
                "years.history",
                self.history,
                self.registers,
                "as long as the registers that it explains",
            ),
            ("years.pupils", self.pupils, REGISTERS_YEARS_MIN, law),
            (
                "years.requests",
                self.requests,
                REQUESTS_YEARS_MIN,
                "so that a retry finds its answer",
            ),
        ];
        let violations = kinds.into_iter().filter_map(|(field, years, least, why)| {
            let reason = match years {
                years if years < least => "RETENTION_TOO_SHORT",
                years if years > YEARS_MAX => "RETENTION_TOO_LONG",
                _ => return None,
            };
            let message = format!("give {least} to {YEARS_MAX} years, {why}");
            Some(FieldViolation::new(field, reason, message))
        });
        let violations: Vec<_> = violations.collect();
        if violations.is_empty() {
            Ok(())
        } else {
            Err(ServiceError::Invalid(violations))
        }
    }
}

/// For how long, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// By kind.
    pub years: RetentionYears,
    /// The update that set them; nothing for the defaults.
    pub set_by: Option<RetentionRow>,
}

impl Retention {
    /// Counts the updates.
    pub fn version(&self) -> i64 {
        self.set_by.as_ref().map_or(0, |row| row.version)
    }
}

impl From<Option<RetentionRow>> for Retention {
    fn from(row: Option<RetentionRow>) -> Retention {
        Retention {
            years: row.as_ref().map(RetentionYears::of).unwrap_or_default(),
            set_by: row,
        }
    }
}

/// An update that is asked for. 0 years leave a kind as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionUpdate {
    /// The years.
    pub years: RetentionYears,
    /// Why.
    pub reason: String,
    /// Who decides.
    pub by: Person,
    /// The version that was read, where one is expected.
    pub expected: Option<i64>,
}

async fn read(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<Retention, ServiceError> {
    require_trust(conn, trust).await?;
    Ok(store::standing(conn, trust).await?.into())
}

impl Service {
    /// For how long the trust keeps what it records.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust.
    pub async fn retention(&self, trust: TrustId) -> Result<Retention, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let found = read(&mut transaction, trust).await;
        finish(transaction, found).await
    }

    /// Sets it, from now on.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust, `Invalid` where it is shorter than the law or the service needs, `StaleEtag`
    /// where somebody set it since it was read.
    pub async fn update_retention(&self, trust: TrustId, update: &RetentionUpdate) -> Result<Retention, ServiceError> {
        retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let set = self.set_retention(&mut transaction, trust, update).await;
            finish(transaction, set).await
        })
        .await
    }

    async fn set_retention(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        update: &RetentionUpdate,
    ) -> Result<Retention, ServiceError> {
        let there = read(transaction, trust).await?;
        if update.expected.is_some_and(|expected| expected != there.version()) {
            return Err(ServiceError::StaleEtag(Resource::Retention));
        }
        let years = there.years.changed_by(&update.years);
        years.check()?;
        let row = RetentionRow {
            trust_id: trust.0,
            version: there.version() + 1,
            registers_years: years.registers,
            actions_years: years.actions,
            history_years: years.history,
            pupils_years: years.pupils,
            requests_years: years.requests,
            reason: update.reason.clone(),
            updated_by_name: update.by.name.clone(),
            updated_by_position: update.by.position.clone(),
            updated_at: self.clock.now(),
        };
        store::insert(transaction, &row).await?;
        Ok(Some(row).into())
    }
}
