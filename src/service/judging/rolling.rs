//! The roll-over: stages follow the days, with no new write.

use std::collections::HashMap;

use chrono::NaiveDate;

use super::judge_pupils;
use crate::domain::identifiers::TrustId;
use crate::service::error::Resource;
use crate::service::transaction::finish;
use crate::service::{Service, ServiceError};
use crate::store::stages::{self, Cause};
use crate::store::{registers, trusts};

/// How many pupils one transaction of the roll-over judges.
const ROLL_OVER_PUPILS: i64 = 5_000;

impl Service {
    /// Sees to it that every stage of the trust is that of today: marks entered ahead of time whose day has come count
    /// from that day on, windows and holds move on, and a new academic year begins with no marks. Does nothing where it was
    /// done today. Every read of a stage begins with it, so an answer is exact even where the service was down over midnight.
    pub async fn roll_over(&self, trust: TrustId) -> Result<(), ServiceError> {
        let today = self.clock.today();
        if self.rolled_over.is_done(trust, today) {
            return Ok(());
        }
        // Boxed, as whatever a read of a stage hardly ever does: the state of every call is as large as the largest of its ways.
        while Box::pin(self.roll_over_some(trust)).await? > 0 {}
        self.rolled_over.done(trust, today);
        Ok(())
    }

    /// Rolls over every trust that was not today.
    pub async fn roll_over_every_trust(&self) -> Result<(), ServiceError> {
        let today = self.clock.today();
        let mut connection = self.store.connection().await?;
        let trusts = trusts::all(&mut connection).await?;
        drop(connection);
        for trust in trusts {
            if !self.rolled_over.is_done(trust, today) {
                self.roll_over(trust).await?;
            }
        }
        Ok(())
    }

    /// Judges again some of the pupils whose stage is not of today, in one transaction, and returns how many it was. Replicas
    /// that do it at the same time take turns, and the later one finds nothing to do.
    async fn roll_over_some(&self, trust: TrustId) -> Result<usize, ServiceError> {
        let moment = self.moment();
        let mut transaction = self.store.begin(trust).await?;
        let rolled = async {
            let (today, year) = (moment.today, moment.year);
            let due = registers::pupils_with_marks_come_due(&mut transaction, trust, today, ROLL_OVER_PUPILS).await?;
            let mut pupils = stages::pupils_to_review(&mut transaction, trust, today, year, ROLL_OVER_PUPILS).await?;
            pupils.extend(due);
            pupils.sort_unstable();
            pupils.dedup();
            if !pupils.is_empty() {
                judge_pupils(&mut transaction, trust, &pupils, moment, Cause::DayPassed).await?;
            }
            Ok(pupils.len())
        }
        .await;
        match finish(transaction, rolled).await {
            // Of a trust that is not there nothing is to be rolled over.
            Err(ServiceError::NotFound(Resource::Trust)) => Ok(0),
            rolled => rolled,
        }
    }
}

/// The day up to which each trust's stages are known to be judged, as far as this process did it.
#[derive(Clone, Debug, Default)]
pub struct RolledOver(std::sync::Arc<std::sync::RwLock<HashMap<TrustId, NaiveDate>>>);

impl RolledOver {
    fn is_done(&self, trust: TrustId, today: NaiveDate) -> bool {
        let days = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        days.get(&trust) == Some(&today)
    }

    fn done(&self, trust: TrustId, today: NaiveDate) {
        let mut days = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        days.insert(trust, today);
    }
}
