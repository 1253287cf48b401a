//! What people do with an action: move it, give it to somebody, give it another date, and record work on it.

use chrono::{DateTime, Days, NaiveDate, Utc};
use diesel_async::AsyncPgConnection;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{existing, reviews};
use crate::domain::action::{Action, ActionName, ActionState, Assignee, IllegalMove};
use crate::domain::action_log::{ActionEntry, AssignmentChange, DueDateChange, Entry, ReferralError, referral_goes_on};
use crate::domain::identifiers::TrustId;
use crate::domain::person::Author;
use crate::domain::session::london_date;
use crate::service::error::Resource;
use crate::service::recorded::{Request, earlier, record, request_id_reused};
use crate::service::transaction::{finish, retry};
use crate::service::{Service, ServiceError};
use crate::store::actions::entries::{self, NewEntry};
use crate::store::actions::{self, ActionChange};
use crate::store::{StoreError, stages};

/// How many days ahead a due date may lie: three years.
const DUE_DAYS_MAX: u64 = 3 * 366;

/// What somebody does with an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionRequest {
    /// The action.
    pub name: ActionName,
    /// What is done.
    pub deed: Deed,
    /// Who does it.
    pub recorded_by: Author,
    /// The request's own name, by which a retry is known, and a digest of what is asked for.
    pub request: Option<(Uuid, Vec<u8>)>,
}

/// What can be done with an action. Where a version is asked for, it is the one that the caller has read; nothing where the
/// caller read none that ever was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It moves to another state.
    Move {
        /// The version read.
        version: Option<i64>,
        /// The state to move to.
        to: ActionState,
        /// Why; empty where no reason is given.
        reason: String,
    },
    /// It is given to somebody, or taken from whoever has it.
    Assign {
        /// The version read.
        version: Option<i64>,
        /// To whom.
        to: Option<Assignee>,
    },
    /// It is given another due date.
    Reschedule {
        /// The version read.
        version: Option<i64>,
        /// The date.
        due_on: NaiveDate,
        /// Why.
        reason: String,
    },
    /// Work on it is recorded.
    Record(Entry),
}

impl Deed {
    /// The version that the caller has read, where the deed asks for one.
    const fn version(&self) -> Option<Option<i64>> {
        match self {
            Deed::Move { version, .. } | Deed::Assign { version, .. } | Deed::Reschedule { version, .. } => {
                Some(*version)
            }
            Deed::Record(_) => None,
        }
    }
}

/// What a deed makes of an action: the change, and the entries that tell of it. No entries where nothing changes.
struct Outcome {
    change: ActionChange,
    entries: Vec<Entry>,
}

/// What was answered first, as far as it may have changed since.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answered {
    state: i16,
    version: i64,
    raised_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    due_on: Option<NaiveDate>,
    due_moved: bool,
    assignee: Option<Assignee>,
    begun_at: Option<DateTime<Utc>>,
    beyond_stage: bool,
    never_reached: bool,
    #[serde(default)]
    next_review_on: Option<NaiveDate>,
    /// The last entry that was appended; nothing where none was.
    entry: Option<i32>,
}

impl Answered {
    fn of(action: &Action, entry: Option<i32>) -> Answered {
        Answered {
            state: action.state.number(),
            version: action.version,
            raised_at: action.raised_at,
            updated_at: action.updated_at,
            due_on: action.due_on,
            due_moved: action.due_moved,
            assignee: action.assignee.clone(),
            begun_at: action.begun_at,
            beyond_stage: action.beyond_stage,
            never_reached: action.never_reached,
            next_review_on: action.next_review_on,
            entry,
        }
    }

    /// The action as it was answered.
    fn restore(self, action: Action) -> Result<Action, StoreError> {
        Ok(Action {
            state: ActionState::from_number(self.state).ok_or(StoreError::Corrupt("a state of an answer"))?,
            version: self.version,
            raised_at: self.raised_at,
            updated_at: self.updated_at,
            due_on: self.due_on,
            due_moved: self.due_moved,
            assignee: self.assignee,
            begun_at: self.begun_at,
            beyond_stage: self.beyond_stage,
            never_reached: self.never_reached,
            next_review_on: self.next_review_on,
            ..action
        })
    }
}

impl Service {
    /// Does something with an action, and returns it as it is then, with the last entry that this appended to its log; nothing
    /// where it changed nothing. A retry of a request gets the first answer and changes nothing.
    ///
    /// # Errors
    /// `NotFound` where the action was never raised; `StaleEtag` where somebody wrote since it was read; `Precondition` where its
    /// state, or that of a referral, does not allow the deed; `Invalid` where a reason is missing, a date is on the wrong side of
    /// today, or the request identifier was used for something else.
    pub async fn work_action(
        &self,
        trust: TrustId,
        asked: &ActionRequest,
    ) -> Result<(Action, Option<ActionEntry>), ServiceError> {
        self.roll_over(trust).await?;
        retry(|| async {
            let now = self.clock.now();
            let mut transaction = self.store.begin(trust).await?;
            let outcome = work(&mut transaction, trust, asked, now).await;
            transaction.announce_on_commit(trust);
            finish(transaction, outcome).await
        })
        .await
    }
}

async fn work(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    asked: &ActionRequest,
    now: DateTime<Utc>,
) -> Result<(Action, Option<ActionEntry>), ServiceError> {
    let action = locked(conn, trust, &asked.name).await?;
    let request = Request::named(&asked.request);
    if let Some(request) = request
        && let Some(answered) = earlier::<Answered>(conn, trust, request).await?
    {
        return again(conn, trust, action, answered.outcome).await;
    }
    if asked
        .deed
        .version()
        .is_some_and(|version| version != Some(action.version))
    {
        return Err(ServiceError::StaleEtag(Resource::Action));
    }
    let outcome = match &asked.deed {
        Deed::Move { to, reason, .. } => moved(&action, *to, reason)?,
        Deed::Assign { to, .. } => assigned(&action, to.as_ref())?,
        Deed::Reschedule { due_on, reason, .. } => rescheduled(&action, *due_on, reason, london_date(now))?,
        Deed::Record(entry) => worked(conn, trust, &action, entry, london_date(now)).await?,
    };
    let request_id = request.map(|request| request.id);
    let (mut action, entry) = write(conn, trust, action, outcome, &asked.recorded_by, request_id, now).await?;
    reviews::tell_next(conn, trust, std::slice::from_mut(&mut action), london_date(now)).await?;
    if let Some(request) = request {
        let answer = Answered::of(&action, entry.as_ref().map(|entry| entry.ordinal));
        record(conn, trust, request, answer, now).await?;
    }
    Ok((action, entry))
}

/// The action as it is once nobody else can write anything about its pupil.
pub(super) async fn locked(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    name: &ActionName,
) -> Result<Action, ServiceError> {
    let name = existing(conn, trust, name).await?.name;
    // The lock of everything about a pupil.
    stages::lock(conn, trust, &[name.pupil.0]).await?;
    let found = actions::find_action(conn, trust, &name).await?;
    // Where it is not there any more, it went to another pupil while this waited.
    found.ok_or_else(|| StoreError::Conflict.into())
}

/// The first answer, once more.
async fn again(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    action: Action,
    answered: Answered,
) -> Result<(Action, Option<ActionEntry>), ServiceError> {
    let entry = match answered.entry {
        None => None,
        Some(ordinal) => {
            let found = entries::list_entries(conn, trust, &action.name, ordinal - 1, 1).await?;
            found.into_iter().next()
        }
    };
    Ok((answered.restore(action)?, entry))
}

fn moved(action: &Action, to: ActionState, reason: &str) -> Result<Outcome, ServiceError> {
    action.state.move_to(to).map_err(illegal_move)?;
    if action.state.needs_reason(to) && reason.is_empty() {
        let message = "say why in 1 to 500 characters: to decline, to cancel and to reopen need a reason";
        return Err(ServiceError::invalid("reason", "MISSING_REASON", message));
    }
    Ok(Outcome {
        change: ActionChange {
            state: Some(to),
            begun: action.begun_by(to),
            ..ActionChange::default()
        },
        entries: vec![Entry::StateChange {
            from: action.state,
            to,
            reason: reason.to_owned(),
        }],
    })
}

fn assigned(action: &Action, to: Option<&Assignee>) -> Result<Outcome, ServiceError> {
    not_ended(action, "given to somebody")?;
    if action.assignee.as_ref() == to {
        return Ok(Outcome {
            change: ActionChange::default(),
            entries: Vec::new(),
        });
    }
    let change = AssignmentChange {
        from: action.assignee.clone(),
        to: to.cloned(),
    };
    Ok(Outcome {
        change: ActionChange {
            assignee: Some(to.cloned()),
            ..ActionChange::default()
        },
        entries: vec![Entry::Assignment(change)],
    })
}

fn rescheduled(action: &Action, due_on: NaiveDate, reason: &str, today: NaiveDate) -> Result<Outcome, ServiceError> {
    if due_on < today {
        let message = "the day has passed: give today or a day to come";
        return Err(ServiceError::invalid("due_on", "IN_PAST", message));
    }
    if today
        .checked_add_days(Days::new(DUE_DAYS_MAX))
        .is_some_and(|latest| due_on > latest)
    {
        let message = "the day is too far ahead: give one within three years";
        return Err(ServiceError::invalid("due_on", "TOO_FAR_AHEAD", message));
    }
    not_ended(action, "given another due date")?;
    let change = DueDateChange {
        from: action.due_on,
        to: due_on,
        reason: reason.to_owned(),
    };
    Ok(Outcome {
        change: ActionChange {
            due_on: Some(due_on),
            ..ActionChange::default()
        },
        entries: vec![Entry::DueDate(change)],
    })
}

/// Recorded work begins an action that nobody had begun: its log then tells of the move before the work.
async fn worked(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    action: &Action,
    entry: &Entry,
    today: NaiveDate,
) -> Result<Outcome, ServiceError> {
    check_dates(entry, today)?;
    let entry = match entry {
        Entry::Referral(referral) => {
            let log = entries::referrals(conn, trust, &action.name).await?;
            Entry::Referral(referral_goes_on(&log, referral.clone()).map_err(illegal_referral)?)
        }
        other => other.clone(),
    };
    let state = action.state.after_work();
    let begins = (state != action.state).then(|| Entry::StateChange {
        from: action.state,
        to: state,
        reason: String::new(),
    });
    Ok(Outcome {
        change: ActionChange {
            state: begins.is_some().then_some(state),
            begun: entry.is_work() && action.state != ActionState::Withdrawn,
            ..ActionChange::default()
        },
        entries: begins.into_iter().chain([entry]).collect(),
    })
}

/// Records work that was checked, under no name of a request. The action has to be locked.
pub(super) async fn record_work(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    action: Action,
    entry: &Entry,
    recorded_by: &Author,
    now: DateTime<Utc>,
) -> Result<(), ServiceError> {
    let outcome = worked(conn, trust, &action, entry, london_date(now)).await?;
    write(conn, trust, action, outcome, recorded_by, None, now).await?;
    Ok(())
}

fn check_dates(entry: &Entry, today: NaiveDate) -> Result<(), ServiceError> {
    if let Some((field, date)) = entry.happened_on()
        && date > today
    {
        let message = "what is recorded has happened: give today or a day before it";
        return Err(ServiceError::invalid(field, "IN_FUTURE", message));
    }
    if let Entry::Review(review) = entry
        && let Some(next) = review.next_review_on
    {
        let field = "review.next_review_on";
        if next < today {
            let message = "the day has passed: give today or a day to come";
            return Err(ServiceError::invalid(field, "IN_PAST", message));
        }
        if next <= review.reviewed_on {
            let message = "the next review comes after this one: give a later day";
            return Err(ServiceError::invalid(field, "NOT_AFTER_REVIEW", message));
        }
    }
    Ok(())
}

/// Writes the change and appends the entries, the last of which carries the request's name; returns it with the action as it is
/// then.
async fn write(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    action: Action,
    outcome: Outcome,
    recorded_by: &Author,
    request: Option<Uuid>,
    now: DateTime<Utc>,
) -> Result<(Action, Option<ActionEntry>), ServiceError> {
    if outcome.entries.is_empty() {
        return Ok((action, None));
    }
    actions::change(conn, trust, &action, &outcome.change, now).await?;
    let last = outcome.entries.len();
    let entries = (1..).zip(outcome.entries).map(|(place, entry)| NewEntry {
        entry,
        request: request.filter(|_| place == last),
    });
    let appended = entries::append_entries(conn, trust, &action.name, entries.collect(), recorded_by, now).await?;
    let mut appended = appended.ok_or_else(|| request_id_reused("request_id"))?;
    Ok((existing(conn, trust, &action.name).await?, appended.pop()))
}

fn not_ended(action: &Action, what: &str) -> Result<(), ServiceError> {
    if !action.state.ended() {
        return Ok(());
    }
    Err(ServiceError::Precondition {
        reason: "ACTION_ENDED",
        message: format!("an action that is {} cannot be {what}: reopen it first", action.state),
    })
}

fn illegal_move(refused: IllegalMove) -> ServiceError {
    let open: Vec<_> = refused.from.next_states().iter().map(ToString::to_string).collect();
    ServiceError::Precondition {
        reason: "ILLEGAL_MOVE",
        message: format!("{refused}; from there it can become: {}", open.join(", ")),
    }
}

fn illegal_referral(refused: ReferralError) -> ServiceError {
    let message = match refused {
        ReferralError::NotSent => {
            let message = "give the ordinal of the entry of this log that sent the referral, or 0 to send one";
            return ServiceError::invalid("referral.sent_in_entry", "UNKNOWN_REFERRAL", message);
        }
        ReferralError::IllegalMove { from, .. } => match from.next() {
            [] => format!("{refused}: it is over; send another one"),
            open => {
                let open: Vec<_> = open.iter().map(ToString::to_string).collect();
                format!("{refused}; from there it can become: {}", open.join(", "))
            }
        },
    };
    ServiceError::Precondition {
        reason: "ILLEGAL_REFERRAL",
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::action_log::ReferralStatus;

    #[test]
    fn a_refused_move_names_the_state_and_the_moves_that_are_open() {
        let refused = ActionState::InProgress.move_to(ActionState::Open).unwrap_err();
        assert_eq!(
            illegal_move(refused).to_string(),
            "an action that is in progress cannot become open; from there it can become: completed, not applicable, cancelled"
        );
    }

    #[test]
    fn a_refused_referral_says_where_it_is_and_where_it_can_go() {
        let refused = |from| {
            let to = ReferralStatus::Sent;
            illegal_referral(ReferralError::IllegalMove { from, to }).to_string()
        };
        assert_eq!(
            refused(ReferralStatus::Accepted),
            "a referral that is accepted cannot become sent; from there it can become: closed"
        );
        assert_eq!(
            refused(ReferralStatus::Closed),
            "a referral that is closed cannot become sent: it is over; send another one"
        );
    }
}
