//! The last reviews of actions.

use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::StoreError;
use super::entries::{REVIEW, read};
use crate::domain::action::{ActionName, LastReview};
use crate::domain::action_log::Review;
use crate::domain::identifiers::TrustId;

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = sql_types::BigInt)]
    place: i64,
    #[diesel(sql_type = sql_types::Nullable<sql_types::Jsonb>)]
    details: Option<Value>,
}

/// The last review of each of some actions, in their order: the one of the latest day, and of those of one day the one that was
/// recorded last.
pub async fn last_reviews(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    names: &[&ActionName],
) -> Result<Vec<Option<LastReview>>, StoreError> {
    let mut last = vec![None; names.len()];
    if names.is_empty() {
        return Ok(last);
    }
    let rows: Vec<Found> = diesel::sql_query(
        "SELECT k.place, l.details
         FROM unnest($2::uuid[], $3::integer[], $4::text[]) WITH ORDINALITY AS k(pupil_id, episode, provision_id, place)
         CROSS JOIN LATERAL (
             SELECT details FROM action_entries
             WHERE trust_id = $1 AND pupil_id = k.pupil_id AND episode = k.episode AND provision_id = k.provision_id
                 AND kind = $5
             ORDER BY details ->> 'reviewed_on' DESC, ordinal DESC
             LIMIT 1
         ) AS l",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(names.iter().map(|name| name.pupil.0).collect::<Vec<_>>())
    .bind::<sql_types::Array<sql_types::Integer>, _>(names.iter().map(|name| name.episode).collect::<Vec<_>>())
    .bind::<sql_types::Array<sql_types::Text>, _>(names.iter().map(|name| &name.provision).collect::<Vec<_>>())
    .bind::<sql_types::Text, _>(REVIEW)
    .load(conn)
    .await?;
    for row in rows {
        let review: Review = read(row.details)?;
        let place = usize::try_from(row.place - 1).ok();
        if let Some(place) = place.and_then(|place| last.get_mut(place)) {
            *place = Some(LastReview {
                reviewed_on: review.reviewed_on,
                next_review_on: review.next_review_on,
            });
        }
    }
    Ok(last)
}
