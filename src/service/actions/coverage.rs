//! How far what is required has come: for one pupil, and counted for a school or the trust.

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;
use uuid::Uuid;

use super::reviews;
use crate::domain::action::{Action, Coverage};
use crate::domain::identifiers::{PupilId, PupilKey, SchoolKey, TrustId};
use crate::domain::stage::Stage;
use crate::domain::suppression::suppress_table;
use crate::service::error::Resource;
use crate::service::schools::optional_school;
use crate::service::transaction::{existing_pupil, finish};
use crate::service::trusts::require_trust;
use crate::service::{Service, ServiceError};
use crate::store::actions::coverage::{CoverageFilter, CoverageRow, count, required_of_pupil};
use crate::store::summaries::{SchoolName, school_names};

/// How many actions have come how far, in the order of [`Coverage::ALL`].
pub type CoverageCounts = [u64; 5];

/// The same where some are suppressed: nothing for those. The last is how many are required.
pub type ShownCounts = [Option<u64>; 6];

/// What is required of a pupil, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PupilCoverage {
    /// The pupil.
    pub pupil: PupilId,
    /// The pupil's stage.
    pub stage: Stage,
    /// The actions that the stage requires, in the order of the catalogue.
    pub actions: Vec<Action>,
    /// How many of them have come how far.
    pub counts: ShownCounts,
}

/// By what coverage is grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// By provision, in the order of the catalogue.
    Provision,
    /// By the stage that requires the provisions.
    Stage,
    /// By school, by name.
    School,
}

/// Which coverage is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageQuery {
    /// Only of pupils on roll at this school.
    pub school: Option<SchoolKey>,
    /// Only provisions that one of these stages requires; none for all.
    pub stages: Vec<Stage>,
    /// By what to group.
    pub grouping: Grouping,
    /// Whether small numbers are suppressed.
    pub suppress_small_numbers: bool,
}

/// What a group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKey {
    /// A provision: its identifier, its title and the stage that requires it.
    Provision(String, String, Stage),
    /// A stage.
    Stage(Stage),
    /// A school.
    School(SchoolName),
}

/// Coverage in groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageSummary {
    /// The day.
    pub as_of: NaiveDate,
    /// The groups.
    pub groups: Vec<(GroupKey, ShownCounts)>,
    /// All groups together.
    pub whole: ShownCounts,
    /// Counts from 1 to below it are suppressed; nothing where none are.
    pub small_number_limit: Option<u64>,
}

impl Service {
    /// What a pupil's stage requires, and how far it has come.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such pupil.
    pub async fn pupil_coverage(&self, trust: TrustId, key: &PupilKey) -> Result<PupilCoverage, ServiceError> {
        self.roll_over(trust).await?;
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let pupil = existing_pupil(&mut transaction, trust, key).await?;
            let required = required_of_pupil(&mut transaction, trust, pupil).await?;
            let (stage, mut actions) = required.ok_or(ServiceError::NotFound(Resource::Pupil))?;
            reviews::tell_next(&mut transaction, trust, &mut actions, self.clock.today()).await?;
            Ok((pupil, (stage, actions)))
        }
        .await;
        let (pupil, (stage, actions)) = finish(transaction, read).await?;
        let mut counts = CoverageCounts::default();
        for action in &actions {
            counts[place_of(Coverage::of(action.state))] += 1;
        }
        Ok(PupilCoverage {
            pupil,
            stage,
            actions,
            counts: shown(&counts, &[false; 6]),
        })
    }

    /// Counts how far what is required of the pupils on roll has come.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or school.
    pub async fn summarize_coverage(
        &self,
        trust: TrustId,
        query: &CoverageQuery,
    ) -> Result<CoverageSummary, ServiceError> {
        self.roll_over(trust).await?;
        let today = self.clock.today();
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            require_trust(&mut transaction, trust).await?;
            let school = optional_school(&mut transaction, trust, query.school.as_ref())
                .await?
                .map(|school| school.0);
            let filter = CoverageFilter {
                school,
                today,
                stages: query.stages.clone(),
            };
            let rows = count(&mut transaction, trust, &filter).await?;
            Ok((rows, school_names(&mut transaction, trust, school).await?))
        }
        .await;
        let (rows, schools) = finish(transaction, read).await?;
        let groups = match query.grouping {
            Grouping::Provision => by_provision(rows),
            Grouping::Stage => by_stage(&rows),
            Grouping::School => by_school(&rows, schools),
        };
        let limit = query.suppress_small_numbers.then_some(self.limits.small_number_limit);
        let (keys, counts): (Vec<GroupKey>, Vec<CoverageCounts>) = groups.into_iter().unzip();
        let (counts, whole) = table(&counts, limit);
        Ok(CoverageSummary {
            as_of: today,
            groups: keys.into_iter().zip(counts).collect(),
            whole,
            small_number_limit: limit,
        })
    }
}

/// The place of a status in the counts.
fn place_of(coverage: Coverage) -> usize {
    Coverage::ALL
        .iter()
        .position(|known| *known == coverage)
        .unwrap_or_default()
}

fn by_provision(rows: Vec<CoverageRow>) -> Vec<(GroupKey, CoverageCounts)> {
    let mut groups: BTreeMap<(Stage, i16, String), (String, CoverageCounts)> = BTreeMap::new();
    for row in rows {
        let (_, counts) = groups
            .entry((row.stage, row.ordinal, row.provision))
            .or_insert((row.title, CoverageCounts::default()));
        counts[place_of(row.coverage)] += row.actions;
    }
    let groups = groups.into_iter();
    let groups = groups.map(|((stage, _, id), (title, counts))| (GroupKey::Provision(id, title, stage), counts));
    groups.collect()
}

fn by_stage(rows: &[CoverageRow]) -> Vec<(GroupKey, CoverageCounts)> {
    let mut groups: BTreeMap<Stage, CoverageCounts> = BTreeMap::new();
    for row in rows {
        groups.entry(row.stage).or_default()[place_of(row.coverage)] += row.actions;
    }
    let groups = groups
        .into_iter()
        .map(|(stage, counts)| (GroupKey::Stage(stage), counts));
    groups.collect()
}

fn by_school(rows: &[CoverageRow], schools: Vec<SchoolName>) -> Vec<(GroupKey, CoverageCounts)> {
    let mut groups: HashMap<Uuid, CoverageCounts> = HashMap::new();
    for row in rows {
        groups.entry(row.school_id).or_default()[place_of(row.coverage)] += row.actions;
    }
    let groups = schools.into_iter().map(|school| {
        let counts = groups.remove(&school.school_id).unwrap_or_default();
        (GroupKey::School(school), counts)
    });
    groups.collect()
}

/// Counts with their totals, of which the small numbers are left out: the groups, and all together.
fn table(groups: &[CoverageCounts], limit: Option<u64>) -> (Vec<ShownCounts>, ShownCounts) {
    let mut whole = CoverageCounts::default();
    for counts in groups {
        for (sum, count) in whole.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    let cells: Vec<Vec<u64>> = groups.iter().map(|counts| counts.to_vec()).collect();
    let hidden = match limit {
        Some(limit) if !groups.is_empty() => suppress_table(&cells, limit),
        _ => vec![vec![false; 6]; groups.len() + 1],
    };
    let rows = groups.iter().chain([&whole]).zip(&hidden);
    let mut rows: Vec<ShownCounts> = rows.map(|(counts, hidden)| shown(counts, hidden)).collect();
    let whole = rows.pop().unwrap_or_default();
    (rows, whole)
}

fn shown(counts: &CoverageCounts, hidden: &[bool]) -> ShownCounts {
    let mut shown = ShownCounts::default();
    let values = counts.iter().copied().chain([counts.iter().sum()]);
    for ((place, value), hidden) in shown.iter_mut().zip(values).zip(hidden) {
        *place = (!hidden).then_some(value);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_count_is_left_out_and_does_not_follow_from_the_others() {
        let groups = [[20, 10, 30, 0, 0], [40, 2, 15, 0, 0], [12, 9, 8, 0, 0]];
        let (rows, whole) = table(&groups, None);
        assert_eq!(rows[1], [Some(40), Some(2), Some(15), Some(0), Some(0), Some(57)]);
        assert_eq!(whole, [Some(72), Some(21), Some(53), Some(0), Some(0), Some(146)]);
        let (rows, whole) = table(&groups, Some(6));
        assert_eq!(rows[1][1], None);
        // In its row and in its column another one is left out with it.
        let hidden_in_row = rows[1].iter().filter(|count| count.is_none()).count();
        let hidden_in_column = rows.iter().chain([&whole]).filter(|row| row[1].is_none()).count();
        assert!(hidden_in_row >= 2 && hidden_in_column >= 2, "{rows:?} {whole:?}");
        assert_eq!(table(&[], Some(6)), (vec![], [Some(0); 6]));
    }
}
