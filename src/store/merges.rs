//! Merges: two records of one child made one, what moved with it, and whom an identifier means since.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StoreError;
use super::schema::{pupil_merges, pupils, trusts};
use crate::domain::identifiers::TrustId;

/// An identifier that moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedIdentifier {
    /// [`super::pupils::KIND_UPN`] or [`super::pupils::KIND_MIS`].
    pub kind: i16,
    /// The system; empty for a UPN.
    pub source: String,
    /// The identifier.
    pub value: String,
    /// Whether the merged pupil was known under it, and not only formerly.
    pub was_current: bool,
}

/// An episode that moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedEpisode {
    /// Its number with the merged pupil.
    pub from: i32,
    /// Its number with the survivor.
    pub to: i32,
    /// Whether the merge ended it, since the survivor had one that goes on.
    pub ended: bool,
}

/// What moved from the merged pupil to the survivor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Enrolments, with their registers.
    pub enrolments: Vec<Uuid>,
    /// Identifiers.
    pub identifiers: Vec<MovedIdentifier>,
    /// Episodes, with their actions and logs.
    pub episodes: Vec<MovedEpisode>,
    /// Holds.
    pub holds: Vec<Uuid>,
    /// Penalty notices.
    pub notices: Vec<Uuid>,
}

/// A merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// Its identifier, in the order of recording.
    pub merge_id: Uuid,
    /// The pupil that stays.
    pub survivor_id: Uuid,
    /// The pupil that became part of it.
    pub merged_id: Uuid,
    /// What moved.
    pub moved: Moved,
    /// When.
    pub merged_at: DateTime<Utc>,
    /// When it was undone.
    pub unmerged_at: Option<DateTime<Utc>>,
}

/// How often it changed which pupil an identifier means. Whoever resolves identifiers and then locks what they mean compares
/// it before and after: a merge locks its pupils until it ends, so that a lock that was waited for is noticed.
///
/// # Errors
/// Where there is no such trust it is 0.
pub async fn identity_version(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<i64, StoreError> {
    let version = trusts::table
        .filter(trusts::trust_id.eq(trust.0))
        .select(trusts::identity_version)
        .first(conn)
        .await
        .optional()?;
    Ok(version.unwrap_or(0))
}

/// Counts one more change of which pupil an identifier means.
pub async fn count_identity_change(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<(), StoreError> {
    diesel::update(trusts::table.filter(trusts::trust_id.eq(trust.0)))
        .set(trusts::identity_version.eq(trusts::identity_version + 1))
        .execute(conn)
        .await?;
    Ok(())
}

/// The pupils of the trust that were merged, each with the pupil of which it is now part.
pub async fn merged(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<Vec<(Uuid, Uuid)>, StoreError> {
    Ok(pupils::table
        .filter(pupils::trust_id.eq(trust.0))
        .filter(pupils::merged_into.is_not_null())
        .select((pupils::pupil_id, pupils::merged_into.assume_not_null()))
        .load(conn)
        .await?)
}

/// Of some pupils, those that were merged, each with the pupil of which it is now part.
pub async fn merged_into(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    of: &[Uuid],
) -> Result<Vec<(Uuid, Uuid)>, StoreError> {
    Ok(pupils::table
        .filter(pupils::trust_id.eq(trust.0))
        .filter(pupils::pupil_id.eq_any(of))
        .filter(pupils::merged_into.is_not_null())
        .select((pupils::pupil_id, pupils::merged_into.assume_not_null()))
        .load(conn)
        .await?)
}

/// The pupils that are part of another.
pub async fn parts_of(conn: &mut AsyncPgConnection, trust: TrustId, pupil: Uuid) -> Result<Vec<Uuid>, StoreError> {
    Ok(pupils::table
        .filter(pupils::trust_id.eq(trust.0))
        .filter(pupils::merged_into.is_not_null())
        .filter(pupils::merged_into.eq(pupil))
        .select(pupils::pupil_id)
        .load(conn)
        .await?)
}

/// Makes pupils part of another, or of none.
pub async fn set_merged_into(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    merged: &[Uuid],
    into: Option<Uuid>,
) -> Result<(), StoreError> {
    let rows = pupils::table
        .filter(pupils::trust_id.eq(trust.0))
        .filter(pupils::pupil_id.eq_any(merged));
    diesel::update(rows)
        .set(pupils::merged_into.eq(into))
        .execute(conn)
        .await?;
    Ok(())
}

type Row = (
    Uuid,
    Uuid,
    Uuid,
    serde_json::Value,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
);

fn merge((merge_id, survivor_id, merged_id, moved, merged_at, unmerged_at): Row) -> Result<Merge, StoreError> {
    Ok(Merge {
        merge_id,
        survivor_id,
        merged_id,
        moved: serde_json::from_value(moved).map_err(|_| StoreError::Corrupt("pupil_merges.moved"))?,
        merged_at,
        unmerged_at,
    })
}

const COLUMNS: (
    pupil_merges::merge_id,
    pupil_merges::survivor_id,
    pupil_merges::merged_id,
    pupil_merges::moved,
    pupil_merges::merged_at,
    pupil_merges::unmerged_at,
) = (
    pupil_merges::merge_id,
    pupil_merges::survivor_id,
    pupil_merges::merged_id,
    pupil_merges::moved,
    pupil_merges::merged_at,
    pupil_merges::unmerged_at,
);

/// A merge.
pub async fn find(conn: &mut AsyncPgConnection, trust: TrustId, merge_id: Uuid) -> Result<Option<Merge>, StoreError> {
    let row: Option<Row> = pupil_merges::table
        .filter(pupil_merges::trust_id.eq(trust.0))
        .filter(pupil_merges::merge_id.eq(merge_id))
        .select(COLUMNS)
        .first(conn)
        .await
        .optional()?;
    row.map(merge).transpose()
}

/// Records a merge.
pub async fn insert(conn: &mut AsyncPgConnection, trust: TrustId, merge: &Merge) -> Result<(), StoreError> {
    let moved = serde_json::to_value(&merge.moved).map_err(|_| StoreError::Corrupt("a merge that is no JSON"))?;
    diesel::insert_into(pupil_merges::table)
        .values((
            pupil_merges::trust_id.eq(trust.0),
            pupil_merges::merge_id.eq(merge.merge_id),
            pupil_merges::survivor_id.eq(merge.survivor_id),
            pupil_merges::merged_id.eq(merge.merged_id),
            pupil_merges::moved.eq(moved),
            pupil_merges::merged_at.eq(merge.merged_at),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Records that a merge was undone.
pub async fn undo(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    merge_id: Uuid,
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let row = pupil_merges::table
        .filter(pupil_merges::trust_id.eq(trust.0))
        .filter(pupil_merges::merge_id.eq(merge_id));
    diesel::update(row)
        .set(pupil_merges::unmerged_at.eq(at))
        .execute(conn)
        .await?;
    Ok(())
}

/// The merges, undone ones too, of which one of the pupils is or was a part, in the order of recording.
pub async fn merges_of(conn: &mut AsyncPgConnection, trust: TrustId, of: &[Uuid]) -> Result<Vec<Merge>, StoreError> {
    let rows: Vec<Row> = pupil_merges::table
        .filter(pupil_merges::trust_id.eq(trust.0))
        .filter(
            pupil_merges::survivor_id
                .eq_any(of)
                .or(pupil_merges::merged_id.eq_any(of)),
        )
        .order((pupil_merges::merged_at, pupil_merges::merge_id))
        .select(COLUMNS)
        .load(conn)
        .await?;
    rows.into_iter().map(merge).collect()
}

#[derive(QueryableByName)]
struct Related {
    #[diesel(sql_type = sql_types::Uuid)]
    pupil_id: Uuid,
}

/// The pupil, and every other that was ever one with it by merges.
pub async fn related(conn: &mut AsyncPgConnection, trust: TrustId, pupil: Uuid) -> Result<Vec<Uuid>, StoreError> {
    let rows: Vec<Related> = diesel::sql_query(
        "WITH RECURSIVE related (pupil_id) AS (
             SELECT $2::uuid
             UNION
             SELECT CASE m.survivor_id WHEN related.pupil_id THEN m.merged_id ELSE m.survivor_id END
             FROM related
             JOIN pupil_merges AS m
                 ON m.trust_id = $1 AND (m.survivor_id = related.pupil_id OR m.merged_id = related.pupil_id)
         )
         SELECT pupil_id FROM related",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Uuid, _>(pupil)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.pupil_id).collect())
}

/// An enrolment that went from one pupil to another: with a merge, or back when it was undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct MovedEnrolment {
    /// The enrolment.
    #[diesel(sql_type = sql_types::Uuid)]
    pub enrolment_id: Uuid,
    /// From which pupil.
    #[diesel(sql_type = sql_types::Uuid)]
    pub from_pupil_id: Uuid,
    /// To which pupil.
    #[diesel(sql_type = sql_types::Uuid)]
    pub to_pupil_id: Uuid,
    /// When.
    #[diesel(sql_type = sql_types::Timestamptz)]
    pub at: DateTime<Utc>,
}

/// The enrolments that went from or to one of the pupils, in the order in which they did.
pub async fn moved_enrolments(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    of: &[Uuid],
) -> Result<Vec<MovedEnrolment>, StoreError> {
    Ok(diesel::sql_query(
        "WITH merges AS (
             SELECT m.merged_id, m.survivor_id, m.merged_at, m.unmerged_at, moved.enrolment_id::uuid
             FROM pupil_merges AS m
             CROSS JOIN LATERAL jsonb_array_elements_text(m.moved -> 'enrolments') AS moved (enrolment_id)
             WHERE m.trust_id = $1 AND (m.survivor_id = ANY($2) OR m.merged_id = ANY($2))
         )
         SELECT enrolment_id, merged_id AS from_pupil_id, survivor_id AS to_pupil_id, merged_at AS at FROM merges
         UNION ALL
         SELECT enrolment_id, survivor_id, merged_id, unmerged_at FROM merges WHERE unmerged_at IS NOT NULL
         ORDER BY at, enrolment_id",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(of)
    .load(conn)
    .await?)
}

/// Where an episode is now that was named by a pupil and a number, since it went to another pupil with a merge, or back when
/// that was undone. Nothing where it never did.
pub async fn episode_now(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupil: Uuid,
    episode: i32,
) -> Result<Option<(Uuid, i32)>, StoreError> {
    let pupils = related(conn, trust, pupil).await?;
    if pupils.len() == 1 {
        return Ok(None);
    }
    let mut now = (pupil, episode);
    for merge in merges_of(conn, trust, &pupils).await? {
        let undone = merge.unmerged_at.is_some();
        let places = merge.moved.episodes.iter().map(|moved| {
            let (there, here) = ((merge.merged_id, moved.from), (merge.survivor_id, moved.to));
            if undone { (here, there) } else { (there, here) }
        });
        now = places
            .filter(|(before, _)| *before == now)
            .map(|(_, after)| after)
            .next()
            .unwrap_or(now);
    }
    Ok((now != (pupil, episode)).then_some(now))
}

/// Hands what moved, identifiers and episodes aside, from one pupil to another. Both must be locked.
pub async fn hand_over(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    from: Uuid,
    to: Uuid,
    moved: &Moved,
) -> Result<(), StoreError> {
    for (table, key, ids) in [
        ("enrolments", "enrolment_id", &moved.enrolments),
        ("registers", "enrolment_id", &moved.enrolments),
        ("holds", "hold_id", &moved.holds),
        ("penalty_notices", "notice_id", &moved.notices),
    ] {
        if ids.is_empty() {
            continue;
        }
        diesel::sql_query(format!(
            "UPDATE {table} SET pupil_id = $3 WHERE trust_id = $1 AND pupil_id = $2 AND {key} = ANY($4)"
        ))
        .bind::<sql_types::Uuid, _>(trust.0)
        .bind::<sql_types::Uuid, _>(from)
        .bind::<sql_types::Uuid, _>(to)
        .bind::<sql_types::Array<sql_types::Uuid>, _>(ids)
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// Hands identifiers from one pupil to another, each as a current or as a former one.
pub async fn hand_over_identifiers(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    from: Uuid,
    to: Uuid,
    identifiers: &[(&MovedIdentifier, bool)],
) -> Result<(), StoreError> {
    if identifiers.is_empty() {
        return Ok(());
    }
    let texts = |text: fn(&MovedIdentifier) -> &str| {
        let texts = identifiers.iter().map(|(identifier, _)| text(identifier));
        texts.collect::<Vec<&str>>()
    };
    diesel::sql_query(
        "UPDATE pupil_identifiers SET pupil_id = $3, is_current = n.is_current
         FROM unnest($4, $5, $6, $7) AS n (kind, source, value, is_current)
         WHERE pupil_identifiers.trust_id = $1 AND pupil_identifiers.pupil_id = $2
             AND pupil_identifiers.kind = n.kind AND pupil_identifiers.source = n.source
             AND pupil_identifiers.value = n.value",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Uuid, _>(from)
    .bind::<sql_types::Uuid, _>(to)
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(
        identifiers
            .iter()
            .map(|(identifier, _)| identifier.kind)
            .collect::<Vec<_>>(),
    )
    .bind::<sql_types::Array<sql_types::Text>, _>(texts(|identifier| &identifier.source))
    .bind::<sql_types::Array<sql_types::Text>, _>(texts(|identifier| &identifier.value))
    .bind::<sql_types::Array<sql_types::Bool>, _>(
        identifiers
            .iter()
            .map(|(_, is_current)| *is_current)
            .collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An episode that goes to another pupil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedEpisode {
    /// Its number before.
    pub before: i32,
    /// Its number after.
    pub after: i32,
    /// When it ends with that, or no more ends: nothing leaves its end as it is.
    pub closed_at: Option<Option<DateTime<Utc>>>,
}

/// Hands episodes from one pupil to another, with their actions, logs and plans. One statement, at whose end every action and
/// plan has its episode and every entry its action.
pub async fn hand_over_episodes(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    from: Uuid,
    to: Uuid,
    episodes: &[HandedEpisode],
) -> Result<(), StoreError> {
    if episodes.is_empty() {
        return Ok(());
    }
    let numbers = |number: fn(&HandedEpisode) -> i32| episodes.iter().map(number).collect::<Vec<i32>>();
    diesel::sql_query(
        "WITH n AS (
             SELECT * FROM unnest($4, $5, $6, $7) AS n (before, after, ends, closed_at)
         ), moved_episodes AS (
             UPDATE episodes AS e
             SET pupil_id = $3, episode = n.after, closed_at = CASE WHEN n.ends THEN n.closed_at ELSE e.closed_at END
             FROM n WHERE e.trust_id = $1 AND e.pupil_id = $2 AND e.episode = n.before
         ), moved_actions AS (
             UPDATE actions AS a SET pupil_id = $3, episode = n.after
             FROM n WHERE a.trust_id = $1 AND a.pupil_id = $2 AND a.episode = n.before
         ), moved_plans AS (
             UPDATE plans AS p SET pupil_id = $3, episode = n.after
             FROM n WHERE p.trust_id = $1 AND p.pupil_id = $2 AND p.episode = n.before
         )
         UPDATE action_entries AS l SET pupil_id = $3, episode = n.after
         FROM n WHERE l.trust_id = $1 AND l.pupil_id = $2 AND l.episode = n.before",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Uuid, _>(from)
    .bind::<sql_types::Uuid, _>(to)
    .bind::<sql_types::Array<sql_types::Integer>, _>(numbers(|episode| episode.before))
    .bind::<sql_types::Array<sql_types::Integer>, _>(numbers(|episode| episode.after))
    .bind::<sql_types::Array<sql_types::Bool>, _>(
        episodes
            .iter()
            .map(|episode| episode.closed_at.is_some())
            .collect::<Vec<_>>(),
    )
    .bind::<sql_types::Array<sql_types::Nullable<sql_types::Timestamptz>>, _>(
        episodes
            .iter()
            .map(|episode| episode.closed_at.flatten())
            .collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An episode of a pupil, as far as it decides which goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct EpisodeOfPupil {
    /// Its number.
    #[diesel(sql_type = sql_types::Integer)]
    pub episode: i32,
    /// The start year of its academic year.
    #[diesel(sql_type = sql_types::SmallInt)]
    pub academic_year: i16,
    /// Whether it goes on.
    #[diesel(sql_type = sql_types::Bool)]
    pub is_open: bool,
    /// The number of the highest stage whose provisions were raised and not taken back; 0 where there is none.
    #[diesel(sql_type = sql_types::SmallInt)]
    pub raised_to: i16,
}

/// The episodes of a pupil, in the order of their numbers.
pub async fn episodes_of(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupil: Uuid,
) -> Result<Vec<EpisodeOfPupil>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT episode, academic_year, closed_at IS NULL AS is_open, (
             SELECT coalesce(max(stage), 0) FROM generate_series(1, 5) AS stage
             WHERE raised_at[stage] IS NOT NULL AND retracted_at[stage] IS NULL
         )::smallint AS raised_to
         FROM episodes WHERE trust_id = $1 AND pupil_id = $2
         ORDER BY episode",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Uuid, _>(pupil)
    .load(conn)
    .await?)
}
