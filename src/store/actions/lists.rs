//! Actions over a whole trust, in an order: by due date, or by the day on which they were raised.
//!
//! A page is read as a merge of index-ordered probes, each of which gives at most a page: of the actions that are rows, one for
//! each state and academic year; of those that are none, one for each stage, policy and catalogue, since all of a stage are due in
//! the order in which their episodes reached it. So what a page costs does not grow with the trust. The actions of one school are
//! read from the roll, those of one person from the index of assignees.

use chrono::NaiveDate;
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ACTION_COLUMNS, ActionRow, StoreError};
use crate::domain::action::{Action, ActionState};
use crate::domain::catalogue::Role;
use crate::domain::identifiers::TrustId;
use crate::domain::session::AcademicYear;
use crate::domain::stage::Stage;
use crate::store::catalogues::name_of;

/// In which order actions are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By due date, and those without one after them by the day on which they were raised; then by name.
    #[default]
    Due,
    /// By the day on which they were raised; then by name.
    Raised,
}

/// Which of a trust's actions to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFilter {
    /// In which order.
    pub order: Order,
    /// The day: of the roll, and of the academic year.
    pub today: NaiveDate,
    /// Only those of pupils on roll at this school.
    pub school: Option<Uuid>,
    /// Only those of pupils on roll at any school.
    pub on_roll: bool,
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
    /// Only those that are flagged as no longer required, or only those that are not.
    pub no_longer_required: Option<bool>,
    /// Only those that nobody has begun.
    pub not_begun: bool,
}

impl ListFilter {
    /// Every action of the trust, by due date.
    pub fn all(today: NaiveDate) -> ListFilter {
        ListFilter {
            order: Order::Due,
            today,
            school: None,
            on_roll: false,
            assignee: None,
            roles: Vec::new(),
            stages: Vec::new(),
            states: Vec::new(),
            due_from: None,
            due_to: None,
            no_longer_required: None,
            not_begun: false,
        }
    }

    /// Whether any action in a state is listed.
    fn lists(&self, state: ActionState) -> bool {
        let flagged_only = self.no_longer_required == Some(true);
        (self.states.is_empty() || self.states.contains(&state)) && !(flagged_only && state.ended())
    }

    /// The numbers of the states that are listed.
    fn listed_states(&self) -> Vec<i16> {
        let listed = ActionState::ALL.into_iter().filter(|state| self.lists(*state));
        listed.map(ActionState::number).collect()
    }

    /// What holds of every action that is listed, of the view's columns as `v`.
    fn of_view(&self) -> String {
        let mut conditions = vec!["v.state = ANY($10)"];
        if !self.roles.is_empty() {
            conditions.push("v.responsible_roles && $8");
        }
        if !self.stages.is_empty() {
            conditions.push("v.stage = ANY($9)");
        }
        if self.due_from.is_some() {
            conditions.push("v.due_on >= $11");
        }
        if self.due_to.is_some() {
            conditions.push("v.due_on <= $12");
        }
        match self.no_longer_required {
            Some(true) => conditions.push("v.beyond_stage"),
            Some(false) => conditions.push("NOT v.beyond_stage"),
            None => {}
        }
        if self.not_begun {
            conditions.push("v.begun_at IS NULL");
        }
        conditions.join(" AND ")
    }

    /// Whether the pupil of a row of `of` is on roll; nothing where that is not asked.
    fn roll_of(&self, of: &str) -> String {
        let at = match (self.school, self.on_roll) {
            (None, false) => return String::new(),
            (None, true) => "",
            (Some(_), _) => "AND r.school_id = $13",
        };
        format!(
            " AND (
                SELECT true FROM enrolments AS r
                WHERE r.trust_id = $1 AND r.pupil_id = {of}.pupil_id {at}
                    AND r.start_date <= $14 AND (r.end_date IS NULL OR r.end_date >= $14)
                LIMIT 1
            )"
        )
    }
}

/// The place of an action in such a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListKey {
    /// Whether it has no due date, and so stands behind all that have one.
    pub dateless: bool,
    /// The date by which it is listed.
    pub on: NaiveDate,
    /// The pupil.
    pub pupil: Uuid,
    /// The episode.
    pub episode: i32,
    /// The provision.
    pub provision: String,
}

impl ListKey {
    /// Before all actions.
    fn first() -> ListKey {
        ListKey {
            dateless: false,
            // 1970, before the earliest academic year that the service takes.
            on: NaiveDate::default(),
            pupil: Uuid::nil(),
            episode: 0,
            provision: String::new(),
        }
    }
}

/// The values of a statement, so that each has its type also where the statement has no use for it.
const GIVEN: &str = "given AS (
    SELECT $1::uuid, $2::bigint, $3::boolean, $4::date, $5::uuid, $6::integer, $7::text, $8::text[], $9::smallint[],
        $10::smallint[], $11::date, $12::date, $13::uuid, $14::date, $15::text, $16::integer
)";

/// How actions that are rows stand in an order, of `actions` as `a`: whether without a date, the date, and what of an action but
/// the provision is compared with the place behind which the page begins. The provision is compared beside it: under row-level
/// security Postgres looks up no index by an order of texts.
struct RowOrder {
    dateless: &'static str,
    on: &'static str,
    columns: &'static str,
    behind: &'static str,
}

impl Order {
    const fn of_rows(self) -> RowOrder {
        match self {
            Order::Due => RowOrder {
                dateless: "a.due_on IS NULL",
                on: "a.list_on",
                columns: "(a.due_on IS NULL), a.list_on, a.pupil_id, a.episode",
                behind: "$3, $4, $5, $6",
            },
            Order::Raised => RowOrder {
                dateless: "false",
                on: "a.raised_on",
                columns: "a.raised_on, a.pupil_id, a.episode",
                behind: "$4, $5, $6",
            },
        }
    }
}

/// What holds of every action that is listed and a row, of `actions` as `a`, but for its state.
fn of_rows(filter: &ListFilter) -> String {
    let episode = "e.trust_id = $1 AND e.pupil_id = a.pupil_id AND e.episode = a.episode";
    // One that nobody has begun is withdrawn where its stage was never reached.
    let mut conditions = format!(
        "(a.state > 2 OR a.begun_at IS NOT NULL OR (SELECT e.retracted_at[a.stage] FROM episodes AS e WHERE {episode}) IS NULL)"
    );
    if !filter.roles.is_empty() {
        conditions.push_str(&format!(
            " AND (
                SELECT p.responsible_roles && $8
                FROM episodes AS e
                JOIN provisions AS p
                    ON p.trust_id = $1 AND p.catalogue_version = e.catalogue_version AND p.provision_id = a.provision_id
                WHERE {episode}
            )"
        ));
    }
    if !filter.stages.is_empty() {
        conditions.push_str(" AND a.stage = ANY($9)");
    }
    // Compared as they stand in the index: those with a date come first.
    if filter.due_from.is_some() {
        conditions.push_str(" AND ((a.due_on IS NULL), a.list_on) >= (false, $11)");
    }
    match (filter.due_from, filter.due_to) {
        (_, Some(_)) => conditions.push_str(" AND ((a.due_on IS NULL), a.list_on) <= (false, $12)"),
        (Some(_), None) => conditions.push_str(" AND ((a.due_on IS NULL), a.list_on) <= (false, 'infinity')"),
        (None, None) => {}
    }
    if let Some(flagged) = filter.no_longer_required {
        conditions.push_str(&format!(
            " AND (
                SELECT NOT s.episode_open OR s.episode <> a.episode OR s.stage < a.stage
                FROM pupil_stages AS s WHERE s.trust_id = $1 AND s.pupil_id = a.pupil_id
            ) = {flagged}"
        ));
    }
    if filter.not_begun {
        conditions.push_str(" AND a.begun_at IS NULL");
    }
    conditions.push_str(&filter.roll_of("a"));
    conditions
}

/// The actions that a person has.
fn of_assignee(filter: &ListFilter) -> String {
    let RowOrder {
        dateless,
        on,
        columns,
        behind,
    } = filter.order.of_rows();
    let listed = of_rows(filter);
    format!(
        "SELECT {dateless} AS dateless, {on} AS list_on, a.pupil_id, a.episode, a.provision_id
        FROM actions AS a
        WHERE a.trust_id = $1 AND a.assignee_id = $15 AND a.state = ANY($10) AND ({columns}) >= ({behind})
            AND ({columns}, a.provision_id) > ({behind}, $7) AND {listed}
        ORDER BY {columns}, a.provision_id LIMIT $2"
    )
}

/// The actions of the pupils on roll at a school: as many as the school has, whatever the page.
fn of_school(filter: &ListFilter) -> String {
    let raised_on = "(v.raised_at AT TIME ZONE 'Europe/London')::date";
    let (dateless, on) = match filter.order {
        Order::Due => ("v.due_on IS NULL", format!("coalesce(v.due_on, {raised_on})")),
        Order::Raised => ("false", raised_on.to_owned()),
    };
    let listed = filter.of_view();
    format!(
        "SELECT {dateless} AS dateless, {on} AS list_on, v.pupil_id, v.episode, v.provision_id
        FROM (
            SELECT DISTINCT pupil_id FROM enrolments
            WHERE trust_id = $1 AND school_id = $13 AND start_date <= $14 AND (end_date IS NULL OR end_date >= $14)
            OFFSET 0
        ) AS roll
        CROSS JOIN LATERAL (
            SELECT * FROM pupil_actions WHERE trust_id = $1 AND pupil_id = roll.pupil_id OFFSET 0
        ) AS v
        WHERE {listed} AND ({dateless}, {on}, v.pupil_id, v.episode, v.provision_id) > ($3, $4, $5, $6, $7)"
    )
}

/// Of the actions that are rows, a page of each academic year and state; and of each stage, where an order or a filter goes by it.
fn laid_out(filter: &ListFilter) -> String {
    let RowOrder {
        dateless,
        on,
        columns,
        behind,
    } = filter.order.of_rows();
    let listed = of_rows(filter);
    // What is required is of this year: every episode ends with its academic year.
    let first_year = match filter.no_longer_required {
        Some(false) => "$16",
        _ => "(SELECT coalesce(min(academic_year)::integer, $16) FROM actions WHERE trust_id = $1)",
    };
    let (stages, of_stage) = match (filter.order, filter.roles.as_slice(), filter.stages.as_slice()) {
        (Order::Due, [], []) => ("(SELECT 0)", ""),
        (_, [], []) => ("generate_series(1, 5)", "AND a.stage = stages.stage"),
        (_, [], _) => ("unnest($9)", "AND a.stage = stages.stage"),
        _ => (
            "(SELECT DISTINCT stage FROM provisions WHERE trust_id = $1 AND responsible_roles && $8)",
            "AND a.stage = stages.stage",
        ),
    };
    format!(
        "SELECT found.*
        FROM generate_series({first_year}, $16) AS years (year)
        CROSS JOIN unnest($10) AS states (state)
        CROSS JOIN {stages} AS stages (stage)
        CROSS JOIN LATERAL (
            SELECT {dateless} AS dateless, {on} AS list_on, a.pupil_id, a.episode, a.provision_id
            FROM actions AS a
            WHERE a.trust_id = $1 AND a.academic_year = years.year AND a.state = states.state {of_stage}
                AND ({columns}) >= ({behind}) AND ({columns}, a.provision_id) > ({behind}, $7) AND {listed}
            ORDER BY {columns}, a.provision_id LIMIT $2
        ) AS found
        WHERE states.state <> 7"
    )
}

/// What each stage's actions that are no rows are due after, where any of them is listed: provisions that are due after the same
/// days, by catalogue and policy, with the day on which an episode at the place behind which the page begins reached the stage,
/// and the days from and to which those that are due from and to others did. An index is entered by these as they stand: Postgres
/// does not enter one by what it would first have to work out beside rows that a policy guards.
fn wanted(filter: &ListFilter) -> String {
    let days = match filter.order {
        Order::Due => "days",
        Order::Raised => "0 AS days",
    };
    let mut conditions = String::from("(CASE condition WHEN 'always' THEN 2 ELSE 1 END) = ANY($10)");
    if !filter.roles.is_empty() {
        conditions.push_str(" AND responsible_roles && $8");
    }
    if !filter.stages.is_empty() {
        conditions.push_str(" AND stage = ANY($9)");
    }
    let mut reached = String::new();
    if filter.due_from.is_some() {
        reached.push_str(", $11 - days AS reached_from");
    }
    if filter.due_to.is_some() {
        reached.push_str(", $12 - days AS reached_to");
    }
    let dated = match filter.due_from.or(filter.due_to) {
        Some(_) => "AND days IS NOT NULL",
        None => "",
    };
    format!(
        "wanted AS MATERIALIZED (
            SELECT catalogue_version, policy_version, stage, days, array_agg(provision_id) AS provisions,
                CASE WHEN (days IS NULL) = $3 THEN $4 - coalesce(days, 0) ELSE '-infinity' END AS behind {reached}
            FROM (
                SELECT catalogue_version, policy_version, stage, provision_id, {days}
                FROM provision_deadlines
                WHERE trust_id = $1 AND {conditions}
            ) AS deadlines
            WHERE NOT ($3 AND days IS NOT NULL) {dated}
            GROUP BY catalogue_version, policy_version, stage, days
        )"
    )
}

/// Of a stage's actions that are no rows, a page of each of the `wanted`: in the order of the days on which episodes reached it.
fn not_laid_out(filter: &ListFilter, stage: u8) -> String {
    let raised_on = format!("e.raised_on[{stage}]");
    let stage_now = "(SELECT s.stage FROM pupil_stages AS s WHERE s.trust_id = $1 AND s.pupil_id = e.pupil_id)";
    let mut conditions = filter.roll_of("e");
    if filter.due_from.is_some() {
        conditions.push_str(&format!(" AND {raised_on} >= w.reached_from"));
    }
    if filter.due_to.is_some() {
        conditions.push_str(&format!(" AND {raised_on} <= w.reached_to"));
    }
    let closed = match filter.no_longer_required {
        None => "false, true",
        // While an episode goes on, the pupil is at stage 1 at the least.
        Some(true) if stage == 1 => "true",
        Some(true) => {
            conditions.push_str(&format!(" AND (ended.closed OR {stage_now} < {stage})"));
            "false, true"
        }
        Some(false) => {
            conditions.push_str(&format!(" AND {stage_now} >= {stage}"));
            "false"
        }
    };
    format!(
        "SELECT w.days IS NULL AS dateless, e.raised_on + coalesce(w.days, 0) AS list_on, e.pupil_id, e.episode, p.provision_id
        FROM wanted AS w
        CROSS JOIN unnest(ARRAY[{closed}]) AS ended (closed)
        CROSS JOIN LATERAL (
            SELECT e.pupil_id, e.episode, {raised_on} AS raised_on
            FROM episodes AS e
            WHERE e.trust_id = $1 AND e.catalogue_version = w.catalogue_version
                AND e.policy_version = w.policy_version AND (e.closed_at IS NOT NULL) = ended.closed
                AND e.raised_at[{stage}] IS NOT NULL AND e.retracted_at[{stage}] IS NULL AND e.laid_out[{stage}] IS NULL
                AND ({raised_on}, e.pupil_id, e.episode) >= (w.behind, $5, $6) {conditions}
            ORDER BY {raised_on}, e.pupil_id, e.episode
            LIMIT $2 + 1
        ) AS e
        CROSS JOIN LATERAL unnest(w.provisions) AS p (provision_id)
        WHERE w.stage = {stage} AND (e.raised_on, e.pupil_id, e.episode, p.provision_id) > (w.behind, $5, $6, $7)
            AND (
                SELECT true FROM actions AS a
                WHERE a.trust_id = $1 AND a.pupil_id = e.pupil_id AND a.episode = e.episode
                    AND a.provision_id = p.provision_id
            ) IS NULL"
    )
}

/// The withdrawn actions: they follow from the few episodes with a stage that was never reached.
fn withdrawn(filter: &ListFilter) -> String {
    let raised_on = "(v.raised_at AT TIME ZONE 'Europe/London')::date";
    let listed = filter.of_view();
    format!(
        "SELECT v.due_on IS NULL AS dateless, coalesce(v.due_on, {raised_on}) AS list_on, v.pupil_id, v.episode, v.provision_id
        FROM (SELECT pupil_id, episode FROM episodes WHERE trust_id = $1 AND retracted_at <> '{{}}' OFFSET 0) AS e
        CROSS JOIN LATERAL (
            SELECT * FROM pupil_actions
            WHERE trust_id = $1 AND pupil_id = e.pupil_id AND episode = e.episode AND state = 7
            OFFSET 0
        ) AS v
        WHERE {listed} AND (v.due_on IS NULL, coalesce(v.due_on, {raised_on}), v.pupil_id, v.episode, v.provision_id)
            > ($3, $4, $5, $6, $7)"
    )
}

/// The statement of a list.
fn statement(filter: &ListFilter) -> String {
    let mut tables = vec![GIVEN.to_owned()];
    let mut parts = Vec::new();
    if filter.assignee.is_some() {
        parts.push(of_assignee(filter));
    } else if filter.school.is_some() {
        parts.push(of_school(filter));
    } else {
        parts.push(laid_out(filter));
        if filter.lists(ActionState::Open) || filter.lists(ActionState::ToBeConsidered) {
            tables.push(wanted(filter));
            let stages = Stage::ALL[1..].iter();
            let listed = stages.filter(|stage| filter.stages.is_empty() || filter.stages.contains(stage));
            parts.extend(listed.map(|stage| not_laid_out(filter, stage.number())));
        }
        if filter.lists(ActionState::Withdrawn) {
            parts.push(withdrawn(filter));
        }
    }
    let parts: Vec<String> = parts.into_iter().map(|part| format!("({part})")).collect();
    let order = "dateless, list_on, pupil_id, episode, provision_id";
    tables.push(format!(
        "page AS MATERIALIZED (
            SELECT * FROM (
            {}
            ) AS found ORDER BY {order} LIMIT $2
        )",
        parts.join("\nUNION ALL\n")
    ));
    format!(
        "WITH {}
        SELECT page.dateless, page.list_on, v.*
        FROM page
        CROSS JOIN LATERAL (
            SELECT {ACTION_COLUMNS} FROM pupil_actions
            WHERE trust_id = $1 AND pupil_id = page.pupil_id AND episode = page.episode
                AND provision_id = page.provision_id
            OFFSET 0
        ) AS v
        ORDER BY page.dateless, page.list_on, page.pupil_id, page.episode, page.provision_id",
        tables.join(", ")
    )
}

#[derive(QueryableByName)]
struct ListedRow {
    #[diesel(sql_type = sql_types::Bool)]
    dateless: bool,
    #[diesel(sql_type = sql_types::Date)]
    list_on: NaiveDate,
    #[diesel(embed)]
    action: ActionRow,
}

/// Up to `limit` of a trust's actions behind `after`, in the order that is asked for, each with its place.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    filter: &ListFilter,
    after: Option<ListKey>,
    limit: i64,
) -> Result<Vec<(ListKey, Action)>, StoreError> {
    let after = after.unwrap_or_else(ListKey::first);
    let roles: Vec<String> = filter.roles.iter().map(name_of).collect::<Result<_, _>>()?;
    let stages: Vec<i16> = filter.stages.iter().map(|stage| i16::from(stage.number())).collect();
    let rows: Vec<ListedRow> = diesel::sql_query(statement(filter))
        .bind::<sql_types::Uuid, _>(trust.0)
        .bind::<sql_types::BigInt, _>(limit)
        .bind::<sql_types::Bool, _>(after.dateless)
        .bind::<sql_types::Date, _>(after.on)
        .bind::<sql_types::Uuid, _>(after.pupil)
        .bind::<sql_types::Integer, _>(after.episode)
        .bind::<sql_types::Text, _>(&after.provision)
        .bind::<sql_types::Array<sql_types::Text>, _>(roles)
        .bind::<sql_types::Array<sql_types::SmallInt>, _>(stages)
        .bind::<sql_types::Array<sql_types::SmallInt>, _>(filter.listed_states())
        .bind::<sql_types::Nullable<sql_types::Date>, _>(filter.due_from)
        .bind::<sql_types::Nullable<sql_types::Date>, _>(filter.due_to)
        .bind::<sql_types::Nullable<sql_types::Uuid>, _>(filter.school)
        .bind::<sql_types::Date, _>(filter.today)
        .bind::<sql_types::Nullable<sql_types::Text>, _>(filter.assignee.as_deref())
        .bind::<sql_types::Integer, _>(i32::from(AcademicYear::clamped(filter.today).start_year()))
        .load(conn)
        .await?;
    let listed = rows.into_iter().map(|row| {
        let key = ListKey {
            dateless: row.dateless,
            on: row.list_on,
            pupil: row.action.pupil_id,
            episode: row.action.episode,
            provision: row.action.provision_id.clone(),
        };
        Ok((key, row.action.try_into()?))
    });
    listed.collect()
}
