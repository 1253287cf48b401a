//! How pupils moved between stages over a period.

use chrono::NaiveDate;

use super::judging::timeline_of;
use super::schools::optional_school;
use super::transaction::finish;
use super::{Service, ServiceError};
use crate::domain::identifiers::{SchoolKey, TrustId};
use crate::domain::session::london_midnight;
use crate::domain::suppression::suppress_table;
use crate::store::StoreError;
use crate::store::movements::{MovementCount, MovementFilter, every_move, first_to_last};

/// The place of what is no stage in a row or column: pupils who joined, or left. The stages come before it, in order.
pub const NOT_ON_ROLL: usize = 6;

/// Rows and columns of a matrix.
const SIDE: usize = NOT_ON_ROLL + 1;

/// Which moves are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Each pupil once, from the first day to the last.
    FirstToLast,
    /// Every move that was recorded.
    EveryMove,
}

/// Which movements are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovementQuery {
    /// Only pupils of this school.
    pub school: Option<SchoolKey>,
    /// Which moves.
    pub counting: Counting,
    /// The first day.
    pub from: NaiveDate,
    /// The last day; nothing for today.
    pub to: Option<NaiveDate>,
    /// Whether small numbers are suppressed.
    pub suppress_small_numbers: bool,
}

/// Movements as a matrix: from each stage, and from none, to each stage, and to none; with a row and a column more for the
/// totals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movements {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// The counts, row by row; nothing for one that is suppressed.
    pub counts: Vec<Vec<Option<u64>>>,
    /// Counts from 1 to below it are suppressed; nothing where none are.
    pub small_number_limit: Option<u64>,
}

impl Service {
    /// Counts how pupils moved between stages.
    ///
    /// # Errors
    /// `Invalid` for days that are none, `NotFound` where there is no such trust or school.
    pub async fn summarize_movements(&self, trust: TrustId, asked: &MovementQuery) -> Result<Movements, ServiceError> {
        self.roll_over(trust).await?;
        let today = self.moment().today;
        let to = asked.to.unwrap_or(today);
        if to > today {
            let message = "nothing has moved yet on a day to come: give today or a day before it, or none for today";
            return Err(ServiceError::invalid("to_date", "IN_FUTURE", message));
        }
        if asked.from > to {
            let message = "the last day is before the first: swap them";
            return Err(ServiceError::invalid("to_date", "PERIOD_REVERSED", message));
        }
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            timeline_of(&mut transaction, trust).await?;
            let school = optional_school(&mut transaction, trust, asked.school.as_ref())
                .await?
                .map(|school| school.0);
            let filter = MovementFilter {
                school,
                from: asked.from,
                to,
                begins: london_midnight(asked.from),
                ends: london_midnight(to.succ_opt().unwrap_or(to)),
            };
            let counts = match asked.counting {
                Counting::FirstToLast => first_to_last(&mut transaction, trust, filter).await?,
                Counting::EveryMove => every_move(&mut transaction, trust, filter).await?,
            };
            Ok(counts)
        }
        .await;
        let cells = matrix(&finish(transaction, read).await?)?;
        let limit = asked.suppress_small_numbers.then_some(self.limits.small_number_limit);
        Ok(Movements {
            from: asked.from,
            to,
            counts: shown(&cells, limit),
            small_number_limit: limit,
        })
    }
}

fn matrix(counts: &[MovementCount]) -> Result<Vec<Vec<u64>>, StoreError> {
    let mut cells = vec![vec![0; SIDE]; SIDE];
    let place = |stage: Option<i16>| match stage {
        None => Some(NOT_ON_ROLL),
        Some(stage) => usize::try_from(stage).ok().filter(|stage| *stage < NOT_ON_ROLL),
    };
    for found in counts {
        let (Some(from), Some(to)) = (place(found.from_stage), place(found.to_stage)) else {
            return Err(StoreError::Corrupt("a stage"));
        };
        cells[from][to] += u64::try_from(found.count).unwrap_or_default();
    }
    Ok(cells)
}

/// The matrix with its totals, of which the small numbers are left out.
fn shown(cells: &[Vec<u64>], limit: Option<u64>) -> Vec<Vec<Option<u64>>> {
    let hidden = suppress_table(cells, limit.unwrap_or(0));
    let row_of = |row: &Vec<u64>| {
        let total = row.iter().sum();
        row.iter().copied().chain([total]).collect::<Vec<u64>>()
    };
    let mut rows: Vec<Vec<u64>> = cells.iter().map(row_of).collect();
    rows.push(
        (0..=SIDE)
            .map(|column| rows.iter().map(|row| row[column]).sum())
            .collect(),
    );
    let rows = rows.into_iter().zip(hidden).map(|(row, hidden)| {
        let row = row.into_iter().zip(hidden);
        row.map(|(count, hidden)| (!hidden).then_some(count)).collect()
    });
    rows.collect()
}
