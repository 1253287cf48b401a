//! Actions and their logs. Actions are read through the view `pupil_actions`, which shows those that nobody has touched
//! like the others; what somebody touches becomes a row of `actions`.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel::upsert::excluded;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::catalogues::word;
use super::schema::{action_entries, actions};
use crate::domain::action::{Action, ActionEntry, ActionName, ActionState, Entry};
use crate::domain::identifiers::{PupilId, TrustId};
use crate::domain::person::Person;
use crate::domain::stage::Stage;

/// The place of an action in a pupil's list: the episode, and the provision's place in the catalogue.
pub type ActionKey = (i32, i16);

/// Which of a pupil's actions to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionFilter {
    /// Those of every episode; otherwise of the current or last one.
    pub all_episodes: bool,
    /// Only those in these states; in any where there are none.
    pub states: Vec<ActionState>,
}

/// An entry to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// What it records.
    pub entry: Entry,
    /// The request that asked for it, where it gave itself a name.
    pub request: Option<Uuid>,
}

const STATE_CHANGE: &str = "state_change";
const NOTE: &str = "note";

#[derive(QueryableByName)]
struct ActionRow {
    #[diesel(sql_type = sql_types::Uuid)]
    pupil_id: Uuid,
    #[diesel(sql_type = sql_types::Integer)]
    episode: i32,
    #[diesel(sql_type = sql_types::Text)]
    provision_id: String,
    #[diesel(sql_type = sql_types::SmallInt)]
    ordinal: i16,
    #[diesel(sql_type = sql_types::SmallInt)]
    stage: i16,
    #[diesel(sql_type = sql_types::Text)]
    title: String,
    #[diesel(sql_type = sql_types::Text)]
    guidance: String,
    #[diesel(sql_type = sql_types::Text)]
    kind: String,
    #[diesel(sql_type = sql_types::Text)]
    condition: String,
    #[diesel(sql_type = sql_types::Nullable<sql_types::SmallInt>)]
    review_days: Option<i16>,
    #[diesel(sql_type = sql_types::Array<sql_types::Text>)]
    responsible_roles: Vec<String>,
    #[diesel(sql_type = sql_types::SmallInt)]
    state: i16,
    #[diesel(sql_type = sql_types::BigInt)]
    version: i64,
    #[diesel(sql_type = sql_types::Timestamptz)]
    raised_at: DateTime<Utc>,
    #[diesel(sql_type = sql_types::Timestamptz)]
    updated_at: DateTime<Utc>,
    #[diesel(sql_type = sql_types::Bool)]
    beyond_stage: bool,
    #[diesel(sql_type = sql_types::Bool)]
    never_reached: bool,
    #[diesel(sql_type = sql_types::Nullable<sql_types::Integer>)]
    policy_version: Option<i32>,
}

fn state(number: i16) -> Result<ActionState, StoreError> {
    ActionState::from_number(number).ok_or(StoreError::Corrupt("a state of an action"))
}

impl TryFrom<ActionRow> for Action {
    type Error = StoreError;

    fn try_from(row: ActionRow) -> Result<Action, StoreError> {
        let responsible: Result<_, StoreError> = row.responsible_roles.iter().map(|role| word(role)).collect();
        Ok(Action {
            name: ActionName {
                pupil: PupilId(row.pupil_id),
                episode: row.episode,
                provision: row.provision_id,
            },
            ordinal: row.ordinal,
            stage: Stage::from_number(row.stage).ok_or(StoreError::Corrupt("a stage of a provision"))?,
            title: row.title,
            guidance: row.guidance,
            kind: word(&row.kind)?,
            condition: word(&row.condition)?,
            responsible: responsible?,
            review_days: row.review_days,
            state: state(row.state)?,
            version: row.version,
            raised_at: row.raised_at,
            updated_at: row.updated_at,
            beyond_stage: row.beyond_stage,
            never_reached: row.never_reached,
            policy_version: row.policy_version,
            due_on: None,
        })
    }
}

const ACTION_COLUMNS: &str = "SELECT pupil_id, episode, provision_id, ordinal, stage, title, guidance, kind, condition, \
     review_days, responsible_roles, state, version, raised_at, updated_at, beyond_stage, \
     never_reached, policy_version FROM pupil_actions";

/// One action; nothing where it was never raised.
pub async fn find_action(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    name: &ActionName,
) -> Result<Option<Action>, StoreError> {
    let row: Option<ActionRow> = diesel::sql_query(format!(
        "{ACTION_COLUMNS} WHERE trust_id = $1 AND pupil_id = $2 AND episode = $3 AND provision_id = $4"
    ))
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Uuid, _>(name.pupil.0)
    .bind::<sql_types::Integer, _>(name.episode)
    .bind::<sql_types::Text, _>(&name.provision)
    .get_result(conn)
    .await
    .optional()?;
    row.map(Action::try_from).transpose()
}

/// Up to `limit` of a pupil's actions behind `after`: latest episode first, then in the order of the catalogue. A list
/// of one episode stays in the episode in which it began, though another is opened meanwhile.
pub async fn list_actions(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupil: PupilId,
    filter: &ActionFilter,
    after: Option<ActionKey>,
    limit: i64,
) -> Result<Vec<Action>, StoreError> {
    let states: Vec<i16> = filter.states.iter().map(|state| state.number()).collect();
    let rows: Vec<ActionRow> = diesel::sql_query(format!(
        "{ACTION_COLUMNS} WHERE trust_id = $1 AND pupil_id = $2 \
         AND ($3 OR episode = coalesce($4, \
             (SELECT s.episode FROM pupil_stages AS s WHERE s.trust_id = $1 AND s.pupil_id = $2))) \
         AND ($4 IS NULL OR episode < $4 OR (episode = $4 AND ordinal > $5)) \
         AND (cardinality($6) = 0 OR state = ANY ($6)) \
         ORDER BY episode DESC, ordinal LIMIT $7"
    ))
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Uuid, _>(pupil.0)
    .bind::<sql_types::Bool, _>(filter.all_episodes)
    .bind::<sql_types::Nullable<sql_types::Integer>, _>(after.map(|(episode, _)| episode))
    .bind::<sql_types::Nullable<sql_types::SmallInt>, _>(after.map(|(_, ordinal)| ordinal))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(states)
    .bind::<sql_types::BigInt, _>(limit)
    .load(conn)
    .await?;
    rows.into_iter().map(Action::try_from).collect()
}

/// Writes the state of an action: one that nobody had touched becomes a row at version 1. The pupil has to be locked.
pub async fn write_state(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    name: &ActionName,
    state: ActionState,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    diesel::insert_into(actions::table)
        .values((
            actions::trust_id.eq(trust.0),
            actions::pupil_id.eq(name.pupil.0),
            actions::episode.eq(name.episode),
            actions::provision_id.eq(&name.provision),
            actions::state.eq(state.number()),
            actions::version.eq(1),
            actions::updated_at.eq(now),
        ))
        .on_conflict((
            actions::trust_id,
            actions::pupil_id,
            actions::episode,
            actions::provision_id,
        ))
        .do_update()
        .set((
            actions::state.eq(excluded(actions::state)),
            actions::version.eq(actions::version + 1),
            actions::updated_at.eq(excluded(actions::updated_at)),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = action_entries, check_for_backend(diesel::pg::Pg))]
struct EntryRow {
    trust_id: Uuid,
    pupil_id: Uuid,
    episode: i32,
    provision_id: String,
    ordinal: i32,
    kind: String,
    from_state: Option<i16>,
    to_state: Option<i16>,
    text: String,
    recorded_by_name: String,
    recorded_by_position: String,
    recorded_at: DateTime<Utc>,
    request_id: Option<Uuid>,
}

impl EntryRow {
    fn new(trust: TrustId, name: &ActionName, entry: &ActionEntry, request: Option<Uuid>) -> EntryRow {
        let (kind, from_state, to_state, text) = match &entry.entry {
            Entry::StateChange { from, to, reason } => (STATE_CHANGE, Some(from.number()), Some(to.number()), reason),
            Entry::Note(text) => (NOTE, None, None, text),
        };
        EntryRow {
            trust_id: trust.0,
            pupil_id: name.pupil.0,
            episode: name.episode,
            provision_id: name.provision.clone(),
            ordinal: entry.ordinal,
            kind: kind.to_owned(),
            from_state,
            to_state,
            text: text.clone(),
            recorded_by_name: entry.recorded_by.name.clone(),
            recorded_by_position: entry.recorded_by.position.clone(),
            recorded_at: entry.recorded_at,
            request_id: request,
        }
    }

    fn name(&self) -> ActionName {
        ActionName {
            pupil: PupilId(self.pupil_id),
            episode: self.episode,
            provision: self.provision_id.clone(),
        }
    }
}

impl TryFrom<EntryRow> for ActionEntry {
    type Error = StoreError;

    fn try_from(row: EntryRow) -> Result<ActionEntry, StoreError> {
        let entry = match (row.kind.as_str(), row.from_state, row.to_state) {
            (STATE_CHANGE, Some(from), Some(to)) => Entry::StateChange {
                from: state(from)?,
                to: state(to)?,
                reason: row.text,
            },
            (NOTE, None, None) => Entry::Note(row.text),
            _ => return Err(StoreError::Corrupt("an entry of an action's log")),
        };
        Ok(ActionEntry {
            ordinal: row.ordinal,
            entry,
            recorded_by: Person {
                name: row.recorded_by_name,
                position: row.recorded_by_position,
            },
            recorded_at: row.recorded_at,
        })
    }
}

/// The entry that a request appended, and the action to whose log it belongs.
pub async fn find_entry_of_request(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request: Uuid,
) -> Result<Option<(ActionName, ActionEntry)>, StoreError> {
    let row: Option<EntryRow> = action_entries::table
        .filter(action_entries::trust_id.eq(trust.0))
        .filter(action_entries::request_id.eq(request))
        .select(EntryRow::as_select())
        .first(conn)
        .await
        .optional()?;
    row.map(|row| Ok((row.name(), row.try_into()?))).transpose()
}

/// Up to `limit` entries of an action's log, in order, behind the one with ordinal `after`.
pub async fn list_entries(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    name: &ActionName,
    after: i32,
    limit: i64,
) -> Result<Vec<ActionEntry>, StoreError> {
    let rows: Vec<EntryRow> = action_entries::table
        .filter(action_entries::trust_id.eq(trust.0))
        .filter(action_entries::pupil_id.eq(name.pupil.0))
        .filter(action_entries::episode.eq(name.episode))
        .filter(action_entries::provision_id.eq(&name.provision))
        .filter(action_entries::ordinal.gt(after))
        .order(action_entries::ordinal)
        .limit(limit)
        .select(EntryRow::as_select())
        .load(conn)
        .await?;
    rows.into_iter().map(ActionEntry::try_from).collect()
}

/// Appends entries to an action's log, and returns them with their places. The pupil has to be locked. Nothing where a
/// request of an entry has meanwhile appended another elsewhere: the transaction is then to be rolled back.
pub async fn append_entries(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    name: &ActionName,
    entries: Vec<NewEntry>,
    recorded_by: &Person,
    now: DateTime<Utc>,
) -> Result<Option<Vec<ActionEntry>>, StoreError> {
    let last: Option<i32> = action_entries::table
        .filter(action_entries::trust_id.eq(trust.0))
        .filter(action_entries::pupil_id.eq(name.pupil.0))
        .filter(action_entries::episode.eq(name.episode))
        .filter(action_entries::provision_id.eq(&name.provision))
        .select(diesel::dsl::max(action_entries::ordinal))
        .first(conn)
        .await?;
    let (appended, rows): (Vec<_>, Vec<_>) = (last.unwrap_or(0) + 1..)
        .zip(entries)
        .map(|(ordinal, new)| {
            let entry = ActionEntry {
                ordinal,
                entry: new.entry,
                recorded_by: recorded_by.clone(),
                recorded_at: now,
            };
            let row = EntryRow::new(trust, name, &entry, new.request);
            (entry, row)
        })
        .unzip();
    let inserted = diesel::insert_into(action_entries::table)
        .values(&rows)
        .on_conflict((action_entries::trust_id, action_entries::request_id))
        .filter_target(action_entries::request_id.is_not_null())
        .do_nothing()
        .execute(conn)
        .await?;
    Ok((inserted == rows.len()).then_some(appended))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalogue::{Catalogue, Condition, Kind, Role};

    #[test]
    fn the_words_of_the_catalogue_read_back_as_they_are_stored() {
        for provision in Catalogue::default_table().unwrap().provisions {
            let stored = serde_json::to_value(provision.kind).unwrap();
            assert_eq!(word::<Kind>(stored.as_str().unwrap()).unwrap(), provision.kind);
            let stored = serde_json::to_value(provision.condition).unwrap();
            let read: Condition = word(stored.as_str().unwrap()).unwrap();
            assert_eq!(read, provision.condition);
        }
        assert_eq!(
            word::<Role>("class_teacher_or_tutor").unwrap(),
            Role::ClassTeacherOrTutor
        );
    }

    #[test]
    fn a_word_that_the_service_does_not_store_is_corrupt() {
        assert!(matches!(word::<Role>("headteacher"), Err(StoreError::Corrupt(_))));
        assert!(matches!(state(8), Err(StoreError::Corrupt(_))));
    }
}
