//! The logs of actions.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::{StoreError, state};
use crate::domain::action::ActionName;
use crate::domain::action_log::{ActionEntry, Entry, Referral};
use crate::domain::identifiers::{PupilId, TrustId};
use crate::domain::person::{Author, Person};
use crate::store::schema::{action_entries, feeds};

/// An entry to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// What it records.
    pub entry: Entry,
    /// The request that asked for it, where it gave itself a name.
    pub request: Option<Uuid>,
}

const STATE_CHANGE: &str = "state_change";
const ASSIGNMENT: &str = "assignment";
const DUE_DATE: &str = "due_date";
const NOTE: &str = "note";
const CONTACT: &str = "contact";
const MEETING: &str = "meeting";
const LETTER: &str = "letter";
const REFERRAL: &str = "referral";
const EVIDENCE: &str = "evidence";
pub(super) const REVIEW: &str = "review";
const PLAN: &str = "plan";

#[derive(Queryable, QueryableByName, Selectable, Insertable)]
#[diesel(table_name = action_entries, check_for_backend(diesel::pg::Pg))]
pub(super) struct EntryRow {
    trust_id: Uuid,
    pub(super) pupil_id: Uuid,
    pub(super) episode: i32,
    pub(super) provision_id: String,
    ordinal: i32,
    kind: String,
    from_state: Option<i16>,
    to_state: Option<i16>,
    text: String,
    recorded_by_name: String,
    recorded_by_position: String,
    recorded_at: DateTime<Utc>,
    request_id: Option<Uuid>,
    details: Option<Value>,
    recorded_by_id: String,
    position: Option<i64>,
}

/// What an entry is stored as: its kind, its words and its details.
fn parts(entry: &Entry) -> Result<(&'static str, &str, Option<Value>), StoreError> {
    fn details<T: Serialize>(of: &T) -> Result<Option<Value>, StoreError> {
        let value = serde_json::to_value(of);
        Ok(Some(
            value.map_err(|_| StoreError::Corrupt("an entry that is no JSON"))?,
        ))
    }
    Ok(match entry {
        Entry::StateChange { reason, .. } => (STATE_CHANGE, reason, None),
        Entry::Note(text) => (NOTE, text, None),
        Entry::Assignment(change) => (ASSIGNMENT, "", details(change)?),
        Entry::DueDate(change) => (DUE_DATE, "", details(change)?),
        Entry::Contact(contact) => (CONTACT, "", details(contact)?),
        Entry::Meeting(meeting) => (MEETING, "", details(meeting)?),
        Entry::Letter(letter) => (LETTER, "", details(letter)?),
        Entry::Referral(referral) => (REFERRAL, "", details(referral)?),
        Entry::Evidence(evidence) => (EVIDENCE, "", details(evidence)?),
        Entry::Review(review) => (REVIEW, "", details(review)?),
        Entry::Plan(change) => (PLAN, "", details(change)?),
    })
}

/// Reads the details of an entry.
pub(super) fn read<T: DeserializeOwned>(details: Option<Value>) -> Result<T, StoreError> {
    let corrupt = StoreError::Corrupt("the details of an entry of an action's log");
    details
        .and_then(|details| serde_json::from_value(details).ok())
        .ok_or(corrupt)
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
            (ASSIGNMENT, None, None) => Entry::Assignment(read(row.details)?),
            (DUE_DATE, None, None) => Entry::DueDate(read(row.details)?),
            (CONTACT, None, None) => Entry::Contact(read(row.details)?),
            (MEETING, None, None) => Entry::Meeting(read(row.details)?),
            (LETTER, None, None) => Entry::Letter(read(row.details)?),
            (REFERRAL, None, None) => Entry::Referral(read(row.details)?),
            (EVIDENCE, None, None) => Entry::Evidence(read(row.details)?),
            (REVIEW, None, None) => Entry::Review(read(row.details)?),
            (PLAN, None, None) => Entry::Plan(read(row.details)?),
            _ => return Err(StoreError::Corrupt("an entry of an action's log")),
        };
        Ok(ActionEntry {
            ordinal: row.ordinal,
            entry,
            recorded_by: Author {
                person_id: row.recorded_by_id,
                person: Person {
                    name: row.recorded_by_name,
                    position: row.recorded_by_position,
                },
            },
            recorded_at: row.recorded_at,
        })
    }
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

/// The place of an entry among all those of a pupil: the episode, the provision and the place in the log.
pub type EntryKey = (i32, String, i32);

/// Up to `limit` entries of the logs of all of a pupil's actions, each with the name of its action, behind `after`: by episode,
/// provision and place in the log.
pub async fn of_pupil(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupil: PupilId,
    after: Option<&EntryKey>,
    limit: i64,
) -> Result<Vec<(ActionName, ActionEntry)>, StoreError> {
    let mut query = action_entries::table
        .filter(action_entries::trust_id.eq(trust.0))
        .filter(action_entries::pupil_id.eq(pupil.0))
        .into_boxed();
    if let Some((episode, provision, ordinal)) = after {
        let later_in_log = action_entries::provision_id
            .eq(provision)
            .and(action_entries::ordinal.gt(ordinal));
        let later_in_episode = action_entries::provision_id.gt(provision).or(later_in_log);
        query = query
            .filter(action_entries::episode.ge(episode))
            .filter(action_entries::episode.gt(episode).or(later_in_episode));
    }
    let rows: Vec<EntryRow> = query
        .order((
            action_entries::episode,
            action_entries::provision_id,
            action_entries::ordinal,
        ))
        .limit(limit)
        .select(EntryRow::as_select())
        .load(conn)
        .await?;
    let named = rows.into_iter().map(|row| {
        let name = ActionName {
            pupil: PupilId(row.pupil_id),
            episode: row.episode,
            provision: row.provision_id.clone(),
        };
        Ok((name, ActionEntry::try_from(row)?))
    });
    named.collect()
}

/// The referrals of an action's log, each with its ordinal, in order.
pub async fn referrals(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    name: &ActionName,
) -> Result<Vec<(i32, Referral)>, StoreError> {
    let rows: Vec<(i32, Option<Value>)> = action_entries::table
        .filter(action_entries::trust_id.eq(trust.0))
        .filter(action_entries::pupil_id.eq(name.pupil.0))
        .filter(action_entries::episode.eq(name.episode))
        .filter(action_entries::provision_id.eq(&name.provision))
        .filter(action_entries::kind.eq(REFERRAL))
        .order(action_entries::ordinal)
        .select((action_entries::ordinal, action_entries::details))
        .load(conn)
        .await?;
    let referrals = rows.into_iter().map(|(ordinal, details)| Ok((ordinal, read(details)?)));
    referrals.collect()
}

/// Appends entries to an action's log and to the trust's feed, and returns them with their places in the log. The pupil has to
/// be locked, and the trust's feeds stay locked from here to the end of the transaction: little is to follow. Nothing where an
/// earlier request of the same name has appended an entry: the transaction is then to be rolled back.
pub async fn append_entries(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    name: &ActionName,
    entries: Vec<NewEntry>,
    recorded_by: &Author,
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
    let count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
    let end: i64 = diesel::update(feeds::table.filter(feeds::trust_id.eq(trust.0)))
        .set(feeds::action_position.eq(feeds::action_position + count))
        .returning(feeds::action_position)
        .get_result(conn)
        .await?;
    let positions = end - count + 1..;
    let mut appended = Vec::with_capacity(entries.len());
    let mut rows = Vec::with_capacity(entries.len());
    for ((ordinal, position), new) in (last.unwrap_or(0) + 1..).zip(positions).zip(entries) {
        let (kind, text, details) = parts(&new.entry)?;
        let states = match &new.entry {
            Entry::StateChange { from, to, .. } => Some((from.number(), to.number())),
            _ => None,
        };
        rows.push(EntryRow {
            trust_id: trust.0,
            pupil_id: name.pupil.0,
            episode: name.episode,
            provision_id: name.provision.clone(),
            ordinal,
            kind: kind.to_owned(),
            from_state: states.map(|(from, _)| from),
            to_state: states.map(|(_, to)| to),
            text: text.to_owned(),
            recorded_by_name: recorded_by.person.name.clone(),
            recorded_by_position: recorded_by.person.position.clone(),
            recorded_at: now,
            request_id: new.request,
            details,
            recorded_by_id: recorded_by.person_id.clone(),
            position: Some(position),
        });
        appended.push(ActionEntry {
            ordinal,
            entry: new.entry,
            recorded_by: recorded_by.clone(),
            recorded_at: now,
        });
    }
    let inserted = diesel::insert_into(action_entries::table)
        .values(&rows)
        .on_conflict((action_entries::trust_id, action_entries::request_id))
        .filter_target(action_entries::request_id.is_not_null())
        .do_nothing()
        .execute(conn)
        .await?;
    Ok((inserted == rows.len()).then_some(appended))
}
