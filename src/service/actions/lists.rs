//! Actions of a whole trust: what is to be done by when, and what is required and missing.

use chrono::NaiveDate;

use super::reviews;
use crate::domain::action::{Action, ActionState};
use crate::domain::catalogue::Role;
use crate::domain::identifiers::{SchoolKey, TrustId};
use crate::domain::session::london_date;
use crate::domain::stage::Stage;
use crate::service::schools::optional_school;
use crate::service::transaction::finish;
use crate::service::trusts::require_trust;
use crate::service::{Page, PageOf, Service, ServiceError, one_more};
use crate::store::actions::lists::{self, ListFilter, ListKey, Order};

/// Which actions are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionQuery {
    /// Only those of pupils on roll at this school.
    pub school: Option<SchoolKey>,
    /// Only those that the person of this identifier has.
    pub assignee: Option<String>,
    /// Only those for which one of these roles is responsible; none for all.
    pub roles: Vec<Role>,
    /// Only those that one of these stages requires; none for all.
    pub stages: Vec<Stage>,
    /// Only those in these states; none for all.
    pub states: Vec<ActionState>,
    /// Only those due on this day or after it.
    pub due_from: Option<NaiveDate>,
    /// Only those due on this day or before it.
    pub due_to: Option<NaiveDate>,
    /// Only those that were due before today and have not ended.
    pub overdue: bool,
    /// Only those that are flagged as no longer required, or only those that are not.
    pub no_longer_required: Option<bool>,
}

/// Which missing provision is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissingQuery {
    /// Only of pupils on roll at this school.
    pub school: Option<SchoolKey>,
    /// Only provisions for which one of these roles is responsible; none for all.
    pub roles: Vec<Role>,
    /// Only provisions that one of these stages requires; none for all.
    pub stages: Vec<Stage>,
    /// Also the conditional ones of which nobody has said whether they apply.
    pub to_be_considered: bool,
}

/// A required provision on which no work was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its action.
    pub action: Action,
    /// For how many days it has been raised, today not counted.
    pub days_waiting: i64,
}

impl ActionQuery {
    /// What is listed on a day.
    fn filter(&self, today: NaiveDate) -> ListFilter {
        let mut filter = ListFilter {
            assignee: self.assignee.clone(),
            roles: self.roles.clone(),
            stages: self.stages.clone(),
            states: self.states.clone(),
            due_from: self.due_from,
            due_to: self.due_to,
            no_longer_required: self.no_longer_required,
            ..ListFilter::all(today)
        };
        if self.overdue {
            let yesterday = today.pred_opt().unwrap_or(today);
            filter.due_to = Some(self.due_to.map_or(yesterday, |to| to.min(yesterday)));
            let asked = ActionState::ALL
                .into_iter()
                .filter(|state| self.states.is_empty() || self.states.contains(state));
            filter.states = asked.filter(|state| !state.ended()).collect();
        }
        filter
    }
}

impl Service {
    /// Lists the trust's actions by due date, those without one last, and then by name.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or school; `Invalid` where the filters exclude each other.
    pub async fn list_actions(
        &self,
        trust: TrustId,
        query: &ActionQuery,
        page: Page<ListKey>,
    ) -> Result<PageOf<Action, ListKey>, ServiceError> {
        if let (Some(from), Some(to)) = (query.due_from, query.due_to)
            && to < from
        {
            let message = "the last day is before the first: swap them";
            return Err(ServiceError::invalid("due_to", "PERIOD_REVERSED", message));
        }
        let filter = query.filter(self.clock.today());
        if query.overdue && filter.states.is_empty() {
            let message = "an action that has ended is never overdue: leave out the ended states, or overdue";
            return Err(ServiceError::invalid("states", "NEVER_OVERDUE", message));
        }
        let listed = self.listed(trust, query.school.as_ref(), filter, page).await?;
        Ok(PageOf {
            rows: listed.rows.into_iter().map(|(_, action)| action).collect(),
            next: listed.next,
        })
    }

    /// Lists what the stages of pupils on roll require and on which no work was recorded: the longest raised first, and then by
    /// name.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or school.
    pub async fn list_missing_provision(
        &self,
        trust: TrustId,
        query: &MissingQuery,
        page: Page<ListKey>,
    ) -> Result<PageOf<Missing, ListKey>, ServiceError> {
        let today = self.clock.today();
        let mut states = vec![ActionState::Open];
        if query.to_be_considered {
            states.push(ActionState::ToBeConsidered);
        }
        let filter = ListFilter {
            order: Order::Raised,
            on_roll: true,
            roles: query.roles.clone(),
            stages: query.stages.clone(),
            states,
            no_longer_required: Some(false),
            not_begun: true,
            ..ListFilter::all(today)
        };
        let listed = self.listed(trust, query.school.as_ref(), filter, page).await?;
        let missing = listed.rows.into_iter().map(|(_, action)| Missing {
            days_waiting: (today - london_date(action.raised_at)).num_days(),
            action,
        });
        Ok(PageOf {
            rows: missing.collect(),
            next: listed.next,
        })
    }

    async fn listed(
        &self,
        trust: TrustId,
        school: Option<&SchoolKey>,
        mut filter: ListFilter,
        page: Page<ListKey>,
    ) -> Result<PageOf<(ListKey, Action), ListKey>, ServiceError> {
        self.roll_over(trust).await?;
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            require_trust(&mut transaction, trust).await?;
            let school = optional_school(&mut transaction, trust, school).await?;
            filter.school = school.map(|school| school.0);
            let rows = lists::list(&mut transaction, trust, &filter, page.after, one_more(page.size)).await?;
            let (keys, mut actions): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            reviews::tell_next(&mut transaction, trust, &mut actions, filter.today).await?;
            Ok(keys.into_iter().zip(actions).collect())
        }
        .await;
        let rows = finish(transaction, read).await?;
        Ok(PageOf::from_rows(rows, page.size, |(key, _)| key.clone()))
    }
}
