//! Attendance before and after work on actions: facts beside each other, and no word of what came of what.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::NaiveDate;
use uuid::Uuid;

use crate::domain::identifiers::{SchoolId, SchoolKey, TrustId};
use crate::domain::outcomes::{Compared, History, OnRoll, Points, Spans, Spread};
use crate::domain::session::AcademicYear;
use crate::domain::stage::Stage;
use crate::domain::tally::Tally;
use crate::service::schools::optional_school;
use crate::service::transaction::finish;
use crate::service::trusts::require_trust;
use crate::service::{Page, PageOf, Service, ServiceError, one_more};
use crate::store::TrustTransaction;
use crate::store::actions::outcomes::{self, Milestone, Reached, ReachedFilter, ReachedKey};
use crate::store::summaries::{SchoolName, school_names};

/// Around which actions attendance is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeQuery {
    /// Only of pupils on roll at this school on the day.
    pub school: Option<SchoolKey>,
    /// Only of these provisions; none for all.
    pub provisions: Vec<String>,
    /// Around what.
    pub milestone: Milestone,
    /// How many weeks before and after: 1 to 20.
    pub weeks: u32,
    /// The first day; that of the academic year where none is given.
    pub from: Option<NaiveDate>,
    /// The last day; today where none is given.
    pub to: Option<NaiveDate>,
}

/// By what it is grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// By provision, in the order of the catalogue.
    Provision,
    /// By school, by name.
    School,
}

/// What a group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKey {
    /// A provision: its identifier, its title and the stage that requires it.
    Provision(String, String, Stage),
    /// A school.
    School(SchoolName),
}

/// What is told of some pupils.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// How many.
    pub pupils: u64,
    /// Their counts before.
    pub before: Tally,
    /// Their counts after.
    pub after: Tally,
    /// How the differences spread; nothing where there are no pupils.
    pub spread: Option<Spread>,
}

impl Figures {
    /// Nothing where the pupils are so few that they are not to be told of.
    fn of(compared: Compared, limit: Option<u64>) -> Option<Figures> {
        let pupils = shown(compared.points.len() as u64, limit)?;
        Some(Figures {
            pupils,
            before: compared.before,
            after: compared.after,
            spread: Spread::of(compared.points),
        })
    }
}

/// A count, unless it is small. Groups have no total from which it would follow.
fn shown(count: u64, limit: Option<u64>) -> Option<u64> {
    (!limit.is_some_and(|limit| (1..limit).contains(&count))).then_some(count)
}

/// Attendance before and after, of one group. What is nothing is suppressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeGroup {
    /// The group.
    pub key: GroupKey,
    /// Of pupils with such an action.
    pub with_action: Option<Figures>,
    /// Of pupils without, at the same stage on the same day.
    pub without_action: Option<Figures>,
    /// With such an action, and the weeks after it not over.
    pub too_recent: Option<u64>,
    /// With such an action, and no session possible before or after.
    pub without_sessions: Option<u64>,
}

/// Attendance before and after, in groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeSummary {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// The groups.
    pub groups: Vec<OutcomeGroup>,
    /// Counts from 1 to below it are suppressed; nothing where none are.
    pub small_number_limit: Option<u64>,
}

/// Attendance before and after, of one action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The action, and the day.
    pub reached: Reached,
    /// Before.
    pub before: Tally,
    /// After, as far as it is over.
    pub after: Tally,
    /// Whether the weeks after are over.
    pub over: bool,
}

impl Outcome {
    /// By how much attendance after differs.
    pub fn points(&self) -> Option<Points> {
        Points::of(self.before, self.after)
    }
}

impl OutcomeQuery {
    /// The first and the last day.
    fn period(&self, today: NaiveDate) -> Result<(NaiveDate, NaiveDate), ServiceError> {
        let to = self.to.unwrap_or(today);
        let from = self.from.unwrap_or(AcademicYear::clamped(to).first_day());
        if to > today {
            let message = "nothing was done yet on a day to come: give today or a day before it";
            return Err(ServiceError::invalid("to_date", "IN_FUTURE", message));
        }
        if to < from {
            let message = "the last day is before the first: swap them";
            return Err(ServiceError::invalid("to_date", "PERIOD_REVERSED", message));
        }
        Ok((from, to))
    }

    async fn school_of(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
    ) -> Result<Option<Uuid>, ServiceError> {
        require_trust(transaction, trust).await?;
        let school = optional_school(transaction, trust, self.school.as_ref()).await?;
        Ok(school.map(|school| school.0))
    }

    /// The academic years in which the weeks around the days of a period lie.
    fn years(&self, (from, to): (NaiveDate, NaiveDate)) -> Vec<AcademicYear> {
        let first = AcademicYear::clamped(Spans::around(from, self.weeks).before.first);
        let last = AcademicYear::clamped(Spans::around(to, self.weeks).after.last);
        let years = i32::from(first.start_year())..=i32::from(last.start_year());
        years.filter_map(AcademicYear::from_start_year).collect()
    }
}

impl Service {
    /// Counts attendance before and after work on actions, in groups, beside that of pupils without.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or school; `Invalid` for a period that is reversed or to come.
    pub async fn summarize_action_outcomes(
        &self,
        trust: TrustId,
        query: &OutcomeQuery,
        grouping: Grouping,
        suppress_small_numbers: bool,
    ) -> Result<OutcomeSummary, ServiceError> {
        let today = self.clock.today();
        let period = query.period(today)?;
        let limit = suppress_small_numbers.then_some(self.limits.small_number_limit);
        self.roll_over(trust).await?;
        let mut transaction = self.store.begin_snapshot(trust).await?;
        let read = async {
            let school = query.school_of(&mut transaction, trust).await?;
            let filter = ReachedFilter {
                milestone: query.milestone,
                provisions: query.provisions.clone(),
                // Whoever ever had such an action is not among those without.
                from: None,
                to: today,
                school: None,
                after: None,
            };
            let reached = outcomes::reached(&mut transaction, trust, &filter, i64::MAX).await?;
            let enrolments = outcomes::on_roll_within(&mut transaction, trust, school, period).await?;
            let pupils: Vec<Uuid> = enrolments.keys().copied().collect();
            let moves = outcomes::moves_of(&mut transaction, trust, &pupils, period.1).await?;
            let mut counting = Counting::new(query.weeks, grouping, period, today, &reached);
            let mut histories = histories(enrolments, moves);
            counting.find_cells(&histories);
            let years = query.years(period);
            outcomes::each_pupils_registers(&mut transaction, trust, &pupils, &years, |pupil, registers| {
                if let Some(mut history) = histories.remove(&pupil) {
                    history.registers = registers;
                    counting.add(pupil, &history);
                }
            })
            .await?;
            // Whoever has no register had no session that was possible.
            for (pupil, history) in histories {
                counting.add(pupil, &history);
            }
            let titles = outcomes::titles(&mut transaction, trust).await?;
            let schools = school_names(&mut transaction, trust, school).await?;
            Ok((counting, titles, schools))
        }
        .await;
        let (counting, titles, schools) = finish(transaction, read).await?;
        let groups = match grouping {
            Grouping::Provision => by_provision(counting.groups, &titles, limit),
            Grouping::School => by_school(counting.groups, schools, limit),
        };
        Ok(OutcomeSummary {
            from: period.0,
            to: period.1,
            groups,
            small_number_limit: limit,
        })
    }

    /// Lists actions with attendance before and after: by pupil, episode and provision.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or school; `Invalid` for a period that is reversed or to come.
    pub async fn list_action_outcomes(
        &self,
        trust: TrustId,
        query: &OutcomeQuery,
        page: Page<ReachedKey>,
    ) -> Result<PageOf<Outcome, ReachedKey>, ServiceError> {
        let today = self.clock.today();
        let period = query.period(today)?;
        let mut transaction = self.store.begin_snapshot(trust).await?;
        let read = async {
            let filter = ReachedFilter {
                milestone: query.milestone,
                provisions: query.provisions.clone(),
                from: Some(period.0),
                to: period.1,
                school: query.school_of(&mut transaction, trust).await?,
                after: page.after,
            };
            let reached = outcomes::reached(&mut transaction, trust, &filter, one_more(page.size)).await?;
            let reached = PageOf::from_rows(reached, page.size, |reached| {
                (
                    reached.name.pupil.0,
                    reached.name.episode,
                    reached.name.provision.clone(),
                )
            });
            let pupils: HashSet<Uuid> = reached.rows.iter().map(|reached| reached.name.pupil.0).collect();
            let pupils: Vec<Uuid> = pupils.into_iter().collect();
            let mut registers = HashMap::new();
            let years = query.years(period);
            outcomes::each_pupils_registers(&mut transaction, trust, &pupils, &years, |pupil, of_pupil| {
                registers.insert(pupil, of_pupil);
            })
            .await?;
            Ok((reached, registers))
        }
        .await;
        let (reached, mut registers) = finish(transaction, read).await?;
        let mut of_pupil = (Uuid::nil(), History::default());
        let mut rows = Vec::with_capacity(reached.rows.len());
        for reached in reached.rows {
            let pupil = reached.name.pupil.0;
            if of_pupil.0 != pupil {
                let history = History {
                    registers: registers.remove(&pupil).unwrap_or_default(),
                    ..History::default()
                };
                of_pupil = (pupil, history);
            }
            let mut spans = Spans::around(reached.day, query.weeks);
            let over = spans.over_by(today);
            // Marks entered ahead of time count from their day on.
            spans.after.last = spans.after.last.min(today);
            let (before, after) = of_pupil.1.around(spans);
            rows.push(Outcome {
                reached,
                before,
                after,
                over,
            });
        }
        Ok(PageOf {
            rows,
            next: reached.next,
        })
    }
}

fn histories(
    enrolments: HashMap<Uuid, Vec<OnRoll>>,
    mut moves: HashMap<Uuid, Vec<(NaiveDate, Stage)>>,
) -> HashMap<Uuid, History> {
    let histories = enrolments.into_iter().map(|(pupil, enrolments)| {
        let history = History {
            moves: moves.remove(&pupil).unwrap_or_default(),
            enrolments,
            registers: Vec::new(),
        };
        (pupil, history)
    });
    histories.collect()
}

/// A group before it is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Provision(String),
    School(Uuid),
}

/// What is counted of a group.
#[derive(Default)]
struct Group {
    /// The first day of each pupil with such an action in the period.
    first: BTreeMap<Uuid, NaiveDate>,
    /// The days on which pupils with the action were looked at, with the stages at which they were.
    cells: BTreeSet<(NaiveDate, Stage)>,
    with_action: Compared,
    without_action: Compared,
    too_recent: u64,
    without_sessions: u64,
}

struct Counting {
    weeks: u32,
    grouping: Grouping,
    period: (NaiveDate, NaiveDate),
    today: NaiveDate,
    groups: BTreeMap<Key, Group>,
    /// The days of every pupil with any of the actions, with the provisions.
    days: HashMap<Uuid, Vec<(NaiveDate, String)>>,
}

impl Counting {
    fn new(
        weeks: u32,
        grouping: Grouping,
        period: (NaiveDate, NaiveDate),
        today: NaiveDate,
        reached: &[Reached],
    ) -> Counting {
        let mut days: HashMap<Uuid, Vec<(NaiveDate, String)>> = HashMap::new();
        for reached in reached {
            let of_pupil = days.entry(reached.name.pupil.0).or_default();
            of_pupil.push((reached.day, reached.name.provision.clone()));
        }
        Counting {
            weeks,
            grouping,
            period,
            today,
            groups: BTreeMap::new(),
            days,
        }
    }

    /// Finds the groups, with the days on which pupils with the action are looked at and the stages at which they were then.
    fn find_cells(&mut self, histories: &HashMap<Uuid, History>) {
        for (pupil, days) in &self.days {
            let Some(history) = histories.get(pupil) else {
                continue;
            };
            for (day, provision) in days {
                if !(self.period.0..=self.period.1).contains(day) {
                    continue;
                }
                // Whoever was not on roll on the day was at no school that was asked for.
                let Some(school) = history.school_on(*day) else {
                    continue;
                };
                let key = match self.grouping {
                    Grouping::Provision => Key::Provision(provision.clone()),
                    Grouping::School => Key::School(school.0),
                };
                let first = self.groups.entry(key).or_default().first.entry(*pupil).or_insert(*day);
                *first = (*first).min(*day);
            }
        }
        for group in self.groups.values_mut() {
            for (pupil, day) in &group.first {
                if let Some(history) = histories
                    .get(pupil)
                    .filter(|_| Spans::around(*day, self.weeks).over_by(self.today))
                {
                    group.cells.insert((*day, history.stage_on(*day)));
                }
            }
        }
    }

    /// Counts a pupil in every group.
    fn add(&mut self, pupil: Uuid, history: &History) {
        let days = self.days.get(&pupil).map_or(&[][..], Vec::as_slice);
        for (key, group) in &mut self.groups {
            if let Some(day) = group.first.get(&pupil) {
                let spans = Spans::around(*day, self.weeks);
                if !spans.over_by(self.today) {
                    group.too_recent += 1;
                } else if !group.with_action.add(history.around(spans)) {
                    group.without_sessions += 1;
                }
                continue;
            }
            let has_action = match key {
                Key::Provision(provision) => days.iter().any(|(_, of)| of == provision),
                Key::School(_) => !days.is_empty(),
            };
            if has_action {
                continue;
            }
            let alike = group.cells.iter().find(|(day, stage)| {
                let school = history.school_on(*day);
                let on_roll = match key {
                    Key::Provision(_) => school.is_some(),
                    Key::School(wanted) => school == Some(SchoolId(*wanted)),
                };
                on_roll && history.stage_on(*day) == *stage
            });
            if let Some((day, _)) = alike {
                // One of whom no session was possible is passed over.
                let _ = group
                    .without_action
                    .add(history.around(Spans::around(*day, self.weeks)));
            }
        }
    }
}

fn told(key: GroupKey, group: Group, limit: Option<u64>) -> OutcomeGroup {
    OutcomeGroup {
        key,
        with_action: Figures::of(group.with_action, limit),
        without_action: Figures::of(group.without_action, limit),
        too_recent: shown(group.too_recent, limit),
        without_sessions: shown(group.without_sessions, limit),
    }
}

fn by_provision(
    groups: BTreeMap<Key, Group>,
    titles: &HashMap<String, (Stage, i16, String)>,
    limit: Option<u64>,
) -> Vec<OutcomeGroup> {
    let mut told_of: Vec<((Stage, i16), OutcomeGroup)> = Vec::new();
    for (key, group) in groups {
        let Key::Provision(provision) = key else {
            continue;
        };
        // Every provision of an action is one of a catalogue.
        let Some((stage, ordinal, title)) = titles.get(&provision).cloned() else {
            continue;
        };
        let key = GroupKey::Provision(provision, title, stage);
        told_of.push(((stage, ordinal), told(key, group, limit)));
    }
    told_of.sort_by_key(|(place, _)| *place);
    told_of.into_iter().map(|(_, group)| group).collect()
}

fn by_school(mut groups: BTreeMap<Key, Group>, schools: Vec<SchoolName>, limit: Option<u64>) -> Vec<OutcomeGroup> {
    let told_of = schools.into_iter().filter_map(|school| {
        let group = groups.remove(&Key::School(school.school_id))?;
        Some(told(GroupKey::School(school), group, limit))
    });
    told_of.collect()
}
