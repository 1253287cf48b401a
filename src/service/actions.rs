//! Actions: what a pupil's stages require, worked to an end by people.

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::error::Resource;
use super::recorded::request_id_reused;
use super::transaction::{existing_pupil, finish, retry};
use super::{Page, PageOf, Service, ServiceError, one_more};
use crate::domain::action::{Action, ActionEntry, ActionName, ActionState, Entry, IllegalMove};
use crate::domain::identifiers::{PupilId, PupilKey, TrustId};
use crate::domain::person::Person;
use crate::domain::session::london_date;
use crate::store::actions::{ActionFilter, ActionKey, NewEntry};
use crate::store::{StoreError, actions, merges, stages};

/// A move of an action to another state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionMove {
    /// The action.
    pub name: ActionName,
    /// The version that the caller has read; nothing where it read none that ever was.
    pub version: Option<i64>,
    /// The state to move to.
    pub to: ActionState,
    /// Why; empty where no reason is given.
    pub reason: String,
    /// Who does it.
    pub recorded_by: Person,
    /// The request's own name, by which a retry is known.
    pub request: Option<Uuid>,
}

/// A note for an action's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionNote {
    /// The action.
    pub name: ActionName,
    /// What was said or done.
    pub text: String,
    /// Who records it.
    pub recorded_by: Person,
    /// The request's own name, by which a retry is known.
    pub request: Option<Uuid>,
}

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
        let outcome = list_pupil_actions(&mut transaction, trust, pupil, filter, page).await;
        let mut page = finish(transaction, outcome).await?;
        self.set_due_dates(trust, &mut page.rows).await?;
        Ok(page)
    }

    /// Gives actions the dates by which the policies of their episodes want them done.
    async fn set_due_dates(&self, trust: TrustId, actions: &mut [Action]) -> Result<(), ServiceError> {
        let mut timeline = self.timeline(trust, 0).await?;
        let unknown = |action: &Action| {
            action
                .policy_version
                .is_some_and(|version| timeline.version(version).is_none())
        };
        if actions.iter().any(unknown) {
            timeline = self.timeline(trust, i32::MAX).await?;
        }
        for action in actions {
            let policy = action.policy_version.and_then(|version| timeline.version(version));
            let days = policy.and_then(|policy| policy.policy.days_to_due.of(&action.name.provision, action.stage));
            action.due_on = days
                .and_then(|days| london_date(action.raised_at).checked_add_days(chrono::Days::new(u64::from(days))));
        }
        Ok(())
    }

    async fn with_due_date(&self, trust: TrustId, mut action: Action) -> Result<Action, ServiceError> {
        self.set_due_dates(trust, std::slice::from_mut(&mut action)).await?;
        Ok(action)
    }

    /// One action.
    ///
    /// # Errors
    /// `NotFound` where it was never raised.
    pub async fn get_action(&self, trust: TrustId, name: &ActionName) -> Result<Action, ServiceError> {
        self.roll_over(trust).await?;
        let mut transaction = self.store.begin(trust).await?;
        let outcome = existing(&mut transaction, trust, name).await;
        let action = finish(transaction, outcome).await?;
        self.with_due_date(trust, action).await
    }

    /// Moves an action to another state, and returns it as it is then. A retry of a request returns the action as it is
    /// and changes nothing.
    ///
    /// # Errors
    /// `NotFound` where it was never raised, `StaleEtag` where somebody wrote since it was read, `Precondition` where its
    /// state does not allow the move, `Invalid` where the move needs a reason or the request identifier was used for
    /// something else.
    pub async fn progress_action(&self, trust: TrustId, asked: &ActionMove) -> Result<Action, ServiceError> {
        self.roll_over(trust).await?;
        let action = retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let outcome = self.move_action(&mut transaction, trust, asked).await;
            finish(transaction, outcome).await
        })
        .await?;
        self.with_due_date(trust, action).await
    }

    /// Adds a note to an action's log, and returns the entry and the action as it is then. Recorded work begins an
    /// action that nobody had begun: its log then tells of the move before the note. A retry of a request returns the
    /// first entry and adds nothing.
    ///
    /// # Errors
    /// `NotFound` where it was never raised, `Invalid` where the request identifier was used for something else.
    pub async fn add_action_note(
        &self,
        trust: TrustId,
        asked: &ActionNote,
    ) -> Result<(ActionEntry, Action), ServiceError> {
        self.roll_over(trust).await?;
        let (entry, action) = retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let outcome = self.note_action(&mut transaction, trust, asked).await;
            finish(transaction, outcome).await
        })
        .await?;
        Ok((entry, self.with_due_date(trust, action).await?))
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
        let outcome = list_action_entries(&mut transaction, trust, name, page).await;
        finish(transaction, outcome).await
    }

    async fn move_action(
        &self,
        conn: &mut AsyncPgConnection,
        trust: TrustId,
        asked: &ActionMove,
    ) -> Result<Action, ServiceError> {
        let action = locked(conn, trust, &asked.name).await?;
        let replayed = appended_before(conn, trust, &action.name, asked.request, |entry| {
            let same = |to: ActionState, reason: &str| to == asked.to && reason == asked.reason;
            matches!(&entry.entry, Entry::StateChange { to, reason, .. } if same(*to, reason))
                && entry.recorded_by == asked.recorded_by
        });
        if replayed.await?.is_some() {
            return Ok(action);
        }
        if asked.version != Some(action.version) {
            return Err(ServiceError::StaleEtag(Resource::Action));
        }
        action.state.move_to(asked.to).map_err(illegal_move)?;
        if action.state.needs_reason(asked.to) && asked.reason.is_empty() {
            let message = "say why in 1 to 500 characters: to decline, to cancel and to reopen need a reason";
            return Err(ServiceError::invalid("reason", "MISSING_REASON", message));
        }
        let change = NewEntry {
            entry: Entry::StateChange {
                from: action.state,
                to: asked.to,
                reason: asked.reason.clone(),
            },
            request: asked.request,
        };
        let now = self.clock.now();
        write(
            conn,
            trust,
            &action.name,
            asked.to,
            vec![change],
            &asked.recorded_by,
            now,
        )
        .await?;
        existing(conn, trust, &action.name).await
    }

    async fn note_action(
        &self,
        conn: &mut AsyncPgConnection,
        trust: TrustId,
        asked: &ActionNote,
    ) -> Result<(ActionEntry, Action), ServiceError> {
        let action = locked(conn, trust, &asked.name).await?;
        let replayed = appended_before(conn, trust, &action.name, asked.request, |entry| {
            matches!(&entry.entry, Entry::Note(text) if *text == asked.text) && entry.recorded_by == asked.recorded_by
        });
        if let Some(entry) = replayed.await? {
            return Ok((entry, action));
        }
        let state = action.state.after_work();
        let begun = (state != action.state).then(|| NewEntry {
            entry: Entry::StateChange {
                from: action.state,
                to: state,
                reason: String::new(),
            },
            request: None,
        });
        let note = NewEntry {
            entry: Entry::Note(asked.text.clone()),
            request: asked.request,
        };
        let entries = begun.into_iter().chain([note]).collect();
        let now = self.clock.now();
        let note = write(conn, trust, &action.name, state, entries, &asked.recorded_by, now).await?;
        Ok((note, existing(conn, trust, &action.name).await?))
    }
}

async fn list_pupil_actions(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupil: PupilKey,
    filter: &ActionFilter,
    page: Page<ActionKey>,
) -> Result<PageOf<Action, ActionKey>, ServiceError> {
    let pupil = existing_pupil(conn, trust, &pupil).await?;
    let rows = actions::list_actions(conn, trust, pupil, filter, page.after, one_more(page.size)).await?;
    Ok(PageOf::from_rows(rows, page.size, |action| {
        (action.name.episode, action.ordinal)
    }))
}

async fn list_action_entries(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    name: &ActionName,
    page: Page<i32>,
) -> Result<PageOf<ActionEntry, i32>, ServiceError> {
    let name = &existing(conn, trust, name).await?.name;
    let after = page.after.unwrap_or(0);
    let rows = actions::list_entries(conn, trust, name, after, one_more(page.size)).await?;
    Ok(PageOf::from_rows(rows, page.size, |entry| entry.ordinal))
}

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

/// The action as it is once nobody else can write anything about its pupil.
async fn locked(conn: &mut AsyncPgConnection, trust: TrustId, name: &ActionName) -> Result<Action, ServiceError> {
    let name = existing(conn, trust, name).await?.name;
    // The lock of everything about a pupil.
    stages::lock(conn, trust, &[name.pupil.0]).await?;
    let found = actions::find_action(conn, trust, &name).await?;
    // Where it is not there any more, it went to another pupil while this waited.
    found.ok_or_else(|| StoreError::Conflict.into())
}

/// The entry that an earlier request with the same identifier appended to the same log; nothing where the request is
/// new. Refused where it appended to another log, or something else than is asked for now.
async fn appended_before(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    name: &ActionName,
    request: Option<Uuid>,
    same: impl Fn(&ActionEntry) -> bool,
) -> Result<Option<ActionEntry>, ServiceError> {
    let Some(request) = request else {
        return Ok(None);
    };
    match actions::find_entry_of_request(conn, trust, request).await? {
        None => Ok(None),
        Some((of_action, entry)) if of_action == *name && same(&entry) => Ok(Some(entry)),
        Some(_) => Err(request_id_reused("request_id")),
    }
}

/// Writes an action's state and appends to its log; returns the last entry that was appended.
async fn write(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    name: &ActionName,
    state: ActionState,
    entries: Vec<NewEntry>,
    recorded_by: &Person,
    now: DateTime<Utc>,
) -> Result<ActionEntry, ServiceError> {
    actions::write_state(conn, trust, name, state, now).await?;
    actions::append_entries(conn, trust, name, entries, recorded_by, now)
        .await?
        .and_then(|mut appended| appended.pop())
        .ok_or_else(|| request_id_reused("request_id"))
}

fn illegal_move(refused: IllegalMove) -> ServiceError {
    let open: Vec<_> = refused.from.next_states().iter().map(ToString::to_string).collect();
    ServiceError::Precondition {
        reason: "ILLEGAL_MOVE",
        message: format!("{refused}; from there it can become: {}", open.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_move_names_the_state_and_the_moves_that_are_open() {
        let refused = ActionState::InProgress.move_to(ActionState::Open).unwrap_err();
        assert_eq!(
            illegal_move(refused).to_string(),
            "an action that is in progress cannot become open; from there it can become: completed, not applicable, cancelled"
        );
    }
}
