//! Actions: what pupils' stages require, worked to an end by people.

pub mod coverage;
pub mod lists;
pub mod outcomes;
pub mod plans;
pub(super) mod reviews;
pub mod universal;
pub mod watch;
pub mod writes;

use diesel_async::AsyncPgConnection;

use super::error::Resource;
use super::transaction::{existing_pupil, finish};
use super::{Page, PageOf, Service, ServiceError, one_more};
use crate::domain::action::{Action, ActionName};
use crate::domain::action_log::ActionEntry;
use crate::domain::identifiers::{PupilId, PupilKey, TrustId};
use crate::store::actions::{self, ActionFilter, ActionKey, entries};
use crate::store::merges;

impl Service {
    /// Lists a pupil's actions: latest episode first, then in the order of the catalogue.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such pupil.
    pub async fn list_pupil_actions(
        &self,
        trust: TrustId,
        pupil: PupilKey,
        filter: &ActionFilter,
        page: Page<ActionKey>,
    ) -> Result<PageOf<Action, ActionKey>, ServiceError> {
        self.roll_over(trust).await?;
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let pupil = existing_pupil(&mut transaction, trust, &pupil).await?;
            let limit = one_more(page.size);
            let mut rows = actions::list_actions(&mut transaction, trust, pupil, filter, page.after, limit).await?;
            reviews::tell_next(&mut transaction, trust, &mut rows, self.clock.today()).await?;
            Ok(PageOf::from_rows(rows, page.size, |action| {
                (action.name.episode, action.ordinal)
            }))
        }
        .await;
        finish(transaction, read).await
    }

    /// One action.
    ///
    /// # Errors
    /// `NotFound` where it was never raised.
    pub async fn get_action(&self, trust: TrustId, name: &ActionName) -> Result<Action, ServiceError> {
        self.roll_over(trust).await?;
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let mut action = existing(&mut transaction, trust, name).await?;
            let today = self.clock.today();
            reviews::tell_next(&mut transaction, trust, std::slice::from_mut(&mut action), today).await?;
            Ok(action)
        }
        .await;
        finish(transaction, read).await
    }

    /// Lists an action's log in the order of its entries. The key of a page is an entry's ordinal.
    ///
    /// # Errors
    /// `NotFound` where the action was never raised.
    pub async fn list_action_entries(
        &self,
        trust: TrustId,
        name: &ActionName,
        page: Page<i32>,
    ) -> Result<PageOf<ActionEntry, i32>, ServiceError> {
        self.roll_over(trust).await?;
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let name = &existing(&mut transaction, trust, name).await?.name;
            let after = page.after.unwrap_or(0);
            let rows = entries::list_entries(&mut transaction, trust, name, after, one_more(page.size)).await?;
            Ok(PageOf::from_rows(rows, page.size, |entry| entry.ordinal))
        }
        .await;
        finish(transaction, read).await
    }
}

/// The action of a name, or of the name that it has since its episode went to another pupil.
async fn existing(conn: &mut AsyncPgConnection, trust: TrustId, name: &ActionName) -> Result<Action, ServiceError> {
    if let Some(found) = actions::find_action(conn, trust, name).await? {
        return Ok(found);
    }
    let now = name_now(conn, trust, name).await?;
    let found = match now {
        Some(now) => actions::find_action(conn, trust, &now).await?,
        None => None,
    };
    found.ok_or(ServiceError::NotFound(Resource::Action))
}

/// What an action is named since its episode went to another pupil, with a merge or back; nothing where it never did.
async fn name_now(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    name: &ActionName,
) -> Result<Option<ActionName>, ServiceError> {
    let now = merges::episode_now(conn, trust, name.pupil.0, name.episode).await?;
    Ok(now.map(|(pupil, episode)| ActionName {
        pupil: PupilId(pupil),
        episode,
        provision: name.provision.clone(),
    }))
}
