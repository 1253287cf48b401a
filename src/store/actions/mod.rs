//! Actions. They are read through the view `pupil_actions`, which shows those that nobody has touched like the others. Where
//! somebody touches one, it becomes a row of `actions`, and with it those of the same stage of the same episode: so that what is
//! a row and what is not follows from the episode alone, and lists need not look for each.

pub mod coverage;
pub mod entries;
pub mod feed;
pub mod lists;
pub mod outcomes;
pub mod plans;
pub mod reviews;
pub mod universal;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::catalogues::word;
use crate::domain::action::{Action, ActionName, ActionState, Assignee};
use crate::domain::identifiers::{PupilId, TrustId};
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

/// What becomes of an action in one write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionChange {
    /// The state after; as it is where there is none.
    pub state: Option<ActionState>,
    /// Whether it is begun with that.
    pub begun: bool,
    /// Who has it after; as it is where there is none.
    pub assignee: Option<Option<Assignee>>,
    /// The due date that a person gave; as it is where there is none.
    pub due_on: Option<NaiveDate>,
}

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
    #[diesel(sql_type = sql_types::Nullable<sql_types::Date>)]
    due_on: Option<NaiveDate>,
    #[diesel(sql_type = sql_types::Bool)]
    due_moved: bool,
    #[diesel(sql_type = sql_types::Nullable<sql_types::Text>)]
    assignee_id: Option<String>,
    #[diesel(sql_type = sql_types::Nullable<sql_types::Text>)]
    assignee_name: Option<String>,
    #[diesel(sql_type = sql_types::Nullable<sql_types::Timestamptz>)]
    begun_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = sql_types::Nullable<sql_types::Integer>)]
    previous_episode: Option<i32>,
}

fn state(number: i16) -> Result<ActionState, StoreError> {
    ActionState::from_number(number).ok_or(StoreError::Corrupt("a state of an action"))
}

impl TryFrom<ActionRow> for Action {
    type Error = StoreError;

    fn try_from(row: ActionRow) -> Result<Action, StoreError> {
        let responsible: Result<_, StoreError> = row.responsible_roles.iter().map(|role| word(role)).collect();
        let assignee = row.assignee_id.map(|person_id| Assignee {
            person_id,
            name: row.assignee_name.unwrap_or_default(),
        });
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
            due_on: row.due_on,
            due_moved: row.due_moved,
            assignee,
            begun_at: row.begun_at,
            previous_episode: row.previous_episode,
            // It follows from the log and from calendars: see `reviews`.
            next_review_on: None,
        })
    }
}

/// The columns of the view that make an action.
const ACTION_COLUMNS: &str = "pupil_id, episode, provision_id, ordinal, stage, title, guidance, kind, condition, \
     review_days, responsible_roles, state, version, raised_at, updated_at, beyond_stage, never_reached, due_on, due_moved, \
     assignee_id, assignee_name, begun_at, previous_episode";

/// One action; nothing where it was never raised.
pub async fn find_action(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    name: &ActionName,
) -> Result<Option<Action>, StoreError> {
    let row: Option<ActionRow> = diesel::sql_query(format!(
        "SELECT {ACTION_COLUMNS} FROM pupil_actions \
         WHERE trust_id = $1 AND pupil_id = $2 AND episode = $3 AND provision_id = $4"
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
        "SELECT {ACTION_COLUMNS} FROM pupil_actions WHERE trust_id = $1 AND pupil_id = $2 \
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

/// Makes rows of the actions of a stage in an episode where they are none yet, each at version 0: untouched. The pupil has to be
/// locked.
async fn lay_out(conn: &mut AsyncPgConnection, trust: TrustId, action: &Action) -> Result<(), StoreError> {
    diesel::sql_query(
        "WITH episode AS (
             UPDATE episodes SET laid_out[$4] = true
             WHERE trust_id = $1 AND pupil_id = $2 AND episode = $3 AND laid_out[$4] IS NULL
             RETURNING academic_year
         )
         INSERT INTO actions (
             trust_id, pupil_id, episode, provision_id, state, version, updated_at, academic_year, stage, raised_on, due_on
         )
         SELECT trust_id, pupil_id, a.episode, provision_id, CASE condition WHEN 'always' THEN 2 ELSE 1 END, 0, raised_at,
             episode.academic_year, stage, (raised_at AT TIME ZONE 'Europe/London')::date, due_on
         FROM episode, pupil_actions AS a
         WHERE a.trust_id = $1 AND a.pupil_id = $2 AND a.episode = $3 AND a.stage = $4
         ON CONFLICT (trust_id, pupil_id, episode, provision_id) DO UPDATE
         SET academic_year = EXCLUDED.academic_year, stage = EXCLUDED.stage, raised_on = EXCLUDED.raised_on,
             due_on = EXCLUDED.due_on",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Uuid, _>(action.name.pupil.0)
    .bind::<sql_types::Integer, _>(action.name.episode)
    .bind::<sql_types::Integer, _>(i32::from(action.stage.number()))
    .execute(conn)
    .await?;
    Ok(())
}

/// Changes an action, and counts its version up. The pupil has to be locked.
pub async fn change(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    action: &Action,
    change: &ActionChange,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    lay_out(conn, trust, action).await?;
    let assignee = change.assignee.as_ref().and_then(Option::as_ref);
    diesel::sql_query(
        "UPDATE actions
         SET state = coalesce($5, state), version = version + 1, updated_at = $6,
             begun_at = coalesce(begun_at, CASE WHEN $7 THEN $6 END),
             assignee_id = CASE WHEN $8 THEN $9 ELSE assignee_id END,
             assignee_name = CASE WHEN $8 THEN $10 ELSE assignee_name END,
             due_on = coalesce($11, due_on), due_moved = due_moved OR $11 IS NOT NULL
         WHERE trust_id = $1 AND pupil_id = $2 AND episode = $3 AND provision_id = $4",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Uuid, _>(action.name.pupil.0)
    .bind::<sql_types::Integer, _>(action.name.episode)
    .bind::<sql_types::Text, _>(&action.name.provision)
    .bind::<sql_types::Nullable<sql_types::SmallInt>, _>(change.state.map(ActionState::number))
    .bind::<sql_types::Timestamptz, _>(now)
    .bind::<sql_types::Bool, _>(change.begun)
    .bind::<sql_types::Bool, _>(change.assignee.is_some())
    .bind::<sql_types::Nullable<sql_types::Text>, _>(assignee.map(|assignee| &assignee.person_id))
    .bind::<sql_types::Nullable<sql_types::Text>, _>(assignee.map(|assignee| &assignee.name))
    .bind::<sql_types::Nullable<sql_types::Date>, _>(change.due_on)
    .execute(conn)
    .await?;
    Ok(())
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
