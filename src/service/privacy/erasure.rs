//! Erasing what people wrote about a pupil, or who the pupil is. Marks, counts, stages and moves stay, so that no statistic
//! changes.

use chrono::NaiveDate;
use uuid::Uuid;

use crate::domain::identifiers::{PupilId, PupilKey, TrustId};
use crate::domain::person::Person;
use crate::service::recorded::request_id_reused;
use crate::service::transaction::{finish, locked_pupil, retry};
use crate::service::trusts::require_trust;
use crate::service::{Page, PageOf, Service, ServiceError, one_more};
use crate::store::erasures::{self as store, ErasureRow};
use crate::store::{TrustTransaction, pupils, retention};

/// What is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureScope {
    /// What people wrote.
    FreeText,
    /// That, and who the pupil is.
    Identity,
}

impl ErasureScope {
    /// The word under which it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErasureScope::FreeText => "free_text",
            ErasureScope::Identity => "identity",
        }
    }
}

/// An erasure that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureRequest {
    /// The pupil.
    pub pupil: PupilKey,
    /// What to erase.
    pub scope: ErasureScope,
    /// Why.
    pub reason: String,
    /// Who erases.
    pub by: Person,
    /// Whether only to say what would be erased.
    pub validate_only: bool,
    /// The request's own name, by which a retry is known.
    pub request: Option<Uuid>,
}

impl Service {
    /// Erases, and returns the record of it. A retry of a request returns the first one.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such pupil; `Precondition` where a legal hold stands, or where it has to stay known who
    /// the pupil is; `Invalid` where the reason, which is kept, names the pupil, or the request's name was used for something
    /// else.
    pub async fn erase_pupil(&self, trust: TrustId, asked: &ErasureRequest) -> Result<ErasureRow, ServiceError> {
        retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let erased = self.erase(&mut transaction, trust, asked).await;
            if asked.validate_only {
                transaction.rollback().await?;
                return erased;
            }
            finish(transaction, erased).await
        })
        .await
    }

    async fn erase(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        asked: &ErasureRequest,
    ) -> Result<ErasureRow, ServiceError> {
        if let Some(request) = asked.request
            && let Some(earlier) = store::of_request(transaction, trust, request).await?
        {
            return same(earlier, asked);
        }
        let (PupilId(pupil), _) = locked_pupil(transaction, trust, &asked.pupil).await?;
        if !retention::under_legal_hold(transaction, trust, &[pupil])
            .await?
            .is_empty()
        {
            return Err(ServiceError::Precondition {
                reason: "LEGAL_HOLD",
                message: "a legal hold stands on the pupil: nothing is erased until it is lifted".to_owned(),
            });
        }
        let now = self.clock.now();
        if asked.scope == ErasureScope::Identity
            && let Some(until) = store::kept_until(transaction, pupil, now).await?
        {
            return Err(must_be_kept(until));
        }
        let parts = retention::with_merged(transaction, trust, &[pupil]).await?;
        if names(&asked.reason, &words_of(transaction, trust, &parts).await?) {
            let message = "the reason is kept: give one without a name or an identifier of the pupil";
            return Err(ServiceError::invalid("reason", "REASON_NAMES_PUPIL", message));
        }
        let mut erasure = ErasureRow {
            erasure_id: Uuid::now_v7(),
            pupil_id: pupil,
            scope: asked.scope.as_str().to_owned(),
            reason: asked.reason.clone(),
            erased_by_name: asked.by.name.clone(),
            erased_by_position: asked.by.position.clone(),
            erased_at: now,
            request_id: asked.request,
            counts: serde_json::Value::Null,
        };
        erasure.counts = store::erase(transaction, &erasure).await?;
        Ok(erasure)
    }

    /// Erasures, latest first: of one pupil, or of all.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust.
    pub async fn list_erasures(
        &self,
        trust: TrustId,
        pupil: Option<Uuid>,
        page: Page<Uuid>,
    ) -> Result<PageOf<ErasureRow, Uuid>, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let listed = async {
            require_trust(&mut transaction, trust).await?;
            Ok(store::list(&mut transaction, trust, pupil, page.after, one_more(page.size)).await?)
        }
        .await;
        let rows = finish(transaction, listed).await?;
        Ok(PageOf::from_rows(rows, page.size, |row| row.erasure_id))
    }
}

fn must_be_kept(until: NaiveDate) -> ServiceError {
    let why = "The School Attendance (Pupil Registration) (England) Regulations 2024 ask that registers are kept for six years";
    let when = if until == NaiveDate::MAX {
        "the pupil is on roll".to_owned()
    } else {
        format!("those of the pupil until {until}")
    };
    ServiceError::Precondition {
        reason: "RECORD_MUST_BE_KEPT",
        message: format!("{why}, {when}: erase what people wrote alone (ERASURE_SCOPE_FREE_TEXT), or wait"),
    }
}

/// The names and identifiers of a pupil, as far as they are long enough to be told from other words.
async fn words_of(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    parts: &[Uuid],
) -> Result<Vec<String>, ServiceError> {
    let rows = pupils::load(transaction, trust, parts).await?;
    let identifiers = pupils::identifiers_of(transaction, trust, parts).await?;
    let names = rows.into_iter().flat_map(|row| [row.given_name, row.family_name]);
    let words = names.chain(identifiers.into_iter().map(|row| row.value));
    Ok(words.filter(|word| word.chars().count() >= 2).collect())
}

/// Whether a text has one of the words as a word of its own.
fn names(text: &str, words: &[String]) -> bool {
    let text = text.to_lowercase();
    words.iter().any(|word| {
        let word = word.to_lowercase();
        text.match_indices(&word).any(|(at, found)| {
            let before = text[..at].chars().next_back();
            let after = text[at + found.len()..].chars().next();
            !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
        })
    })
}

fn same(earlier: ErasureRow, asked: &ErasureRequest) -> Result<ErasureRow, ServiceError> {
    // By other keys the pupil may not be found any more, since they were erased.
    let other_pupil = matches!(asked.pupil, PupilKey::Id(id) if id.0 != earlier.pupil_id);
    let same = !other_pupil
        && earlier.scope == asked.scope.as_str()
        && earlier.reason == asked.reason
        && earlier.erased_by_name == asked.by.name
        && earlier.erased_by_position == asked.by.position;
    if same {
        Ok(earlier)
    } else {
        Err(request_id_reused("request_id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_a_pupil_only_by_whole_words_whatever_their_case() {
        let words = ["Ada".to_owned(), "Q999100125001".to_owned()];
        assert!(names("asked for by the mother of ADA.", &words));
        assert!(names("q999100125001", &words));
        assert!(!names("asked for in Adaville, case 12", &words));
        assert!(!names("", &words));
    }
}
