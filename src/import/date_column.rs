//! Columns of dates: the order of day and month is one for a column, never one for a cell.

use std::collections::HashMap;

use chrono::NaiveDate;

use super::dates::{DateOrder, DateProblem, Stamp, YearSource};
use crate::domain::session::SessionHalf;

/// What a cell of a column of dates says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatedCell {
    /// The date.
    pub date: NaiveDate,
    /// The half of the day, where the cell says it.
    pub half: Option<SessionHalf>,
    /// A time of day stands beside the date.
    pub clock: bool,
}

/// The dates of a column, all read in one order.
#[derive(Clone, Debug)]
pub struct DateColumn {
    /// The order.
    pub order: DateOrder,
    /// Another order reads as many of the cells, and reads some of them as other dates: day first is a guess.
    pub ambiguous: bool,
    /// Some cells are dates in another order only.
    pub mixed: bool,
    cells: HashMap<String, Result<DatedCell, DateProblem>>,
}

impl DateColumn {
    /// Chooses the order in which the most of the texts are dates, day first where that leaves a choice, and reads them.
    pub fn read<'a>(texts: impl Iterator<Item = &'a str>, forced: Option<DateOrder>, years: &YearSource) -> DateColumn {
        let mut stamps: HashMap<String, Option<Stamp>> = HashMap::new();
        for text in texts {
            if !stamps.contains_key(text) {
                stamps.insert(text.to_owned(), Stamp::parse(text));
            }
        }
        let dated: Vec<&Stamp> = stamps.values().flatten().collect();
        let readable = |order| dated.iter().filter(|stamp| stamp.read(order, years).is_ok()).count();
        let counts = DateOrder::ALL.map(readable);
        let most = counts.into_iter().max().unwrap_or(0);
        let mut best = DateOrder::ALL
            .into_iter()
            .zip(counts)
            .filter(|(_, count)| *count == most)
            .map(|(order, _)| order);
        let likely = best.next().unwrap_or(DateOrder::DayFirst);
        let order = forced.unwrap_or(likely);
        let differ = |other: DateOrder| {
            dated.iter().any(|stamp| {
                matches!(
                    (stamp.read(order, years), stamp.read(other, years)),
                    (Ok(one), Ok(another)) if one != another
                )
            })
        };
        let ambiguous = forced.is_none() && best.any(differ);
        let mixed = dated.iter().any(|stamp| {
            stamp.read(order, years).is_err() && DateOrder::ALL.iter().any(|other| stamp.read(*other, years).is_ok())
        });
        let cells = stamps
            .iter()
            .map(|(text, stamp)| {
                let cell = match stamp {
                    Some(stamp) => stamp.read(order, years).map(|date| DatedCell {
                        date,
                        half: stamp.half,
                        clock: stamp.clock,
                    }),
                    None => Err(DateProblem::Unreadable(order.name())),
                };
                (text.clone(), cell)
            })
            .collect();
        DateColumn {
            order,
            ambiguous,
            mixed,
            cells,
        }
    }

    /// What one of the texts says.
    ///
    /// # Errors
    ///
    /// A [`DateProblem`] where it is no date in the order of the column.
    pub fn cell(&self, text: &str) -> Result<DatedCell, DateProblem> {
        self.cells
            .get(text)
            .copied()
            .unwrap_or(Err(DateProblem::Unreadable(self.order.name())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::session::AcademicYear;

    fn column(texts: &[&str]) -> DateColumn {
        DateColumn::read(texts.iter().copied(), None, &YearSource::default())
    }

    fn dates(texts: &[&str]) -> Vec<String> {
        let column = column(texts);
        texts
            .iter()
            .map(|text| match column.cell(text) {
                Ok(cell) => cell.date.to_string(),
                Err(problem) => format!("{problem:?}"),
            })
            .collect()
    }

    #[test]
    fn the_four_usual_ways_to_write_a_date_are_read() {
        for text in [
            "08/09/2025",
            "8/9/2025",
            "08-09-2025",
            "2025-09-08",
            "2025-09-08 00:00:00",
            "2025-09-08T00:00:00Z",
            "08/09/2025 00:00",
            "08/09/25",
            "8 Sep 2025",
            "08-Sept-25",
            "Monday 8th September 2025",
        ] {
            assert_eq!(dates(&[text]), ["2025-09-08"], "{text}");
        }
    }

    #[test]
    fn one_cell_settles_the_order_of_its_whole_column() {
        assert_eq!(dates(&["1/2/05", "3/20/05"]), ["2005-01-02", "2005-03-20"]);
        assert_eq!(dates(&["1/2/05", "20/3/05"]), ["2005-02-01", "2005-03-20"]);
        assert!(!column(&["1/2/05", "3/20/05"]).ambiguous);
    }

    #[test]
    fn a_column_that_could_be_either_is_read_day_first_with_a_warning() {
        assert_eq!(dates(&["1/2/05"]), ["2005-02-01"]);
        assert!(column(&["1/2/05"]).ambiguous);
        assert!(!column(&["5/5/2025", "2025-09-08"]).ambiguous);
        let forced = DateColumn::read(
            ["1/2/05"].into_iter(),
            Some(DateOrder::MonthFirst),
            &YearSource::default(),
        );
        assert!(!forced.ambiguous);
        assert_eq!(forced.cell("1/2/05").unwrap().date.to_string(), "2005-01-02");
    }

    #[test]
    fn a_cell_in_another_order_than_its_column_is_refused_not_reread() {
        let column = column(&["20/03/2025", "21/03/2025", "03/22/2025", "2025-03-23"]);
        assert!(column.mixed && column.cell("20/03/2025").is_ok());
        for text in ["03/22/2025", "2025-03-23"] {
            assert_eq!(column.cell(text), Err(DateProblem::Unreadable("dmy")));
        }
    }

    #[test]
    fn a_two_digit_year_belongs_to_this_century_below_seventy() {
        assert_eq!(dates(&["13/04/16", "13/04/98"]), ["2016-04-13", "1998-04-13"]);
    }

    #[test]
    fn the_day_of_the_week_tells_the_order_and_must_be_the_dates_own() {
        assert_eq!(dates(&["Tue 08/09/2026"]), ["2026-09-08"]);
        assert_eq!(dates(&["Sun 08/09/2026"]), ["2026-08-09"]);
        assert!(column(&["Fri 08/09/2026"]).cell("Fri 08/09/2026").is_err());
    }

    #[test]
    fn a_date_without_a_year_takes_it_from_the_range_or_is_refused() {
        let range = |first: &str, last: &str| YearSource {
            range: Some((first.parse().unwrap(), last.parse().unwrap())),
            academic_year: None,
        };
        let read = |text: &str, years: &YearSource| {
            DateColumn::read([text].into_iter(), None, years)
                .cell(text)
                .map(|cell| cell.date.to_string())
        };
        let winter = range("2025-12-15", "2026-01-16");
        assert_eq!(read("16/12", &winter).unwrap(), "2025-12-16");
        assert_eq!(read("13/01", &winter).unwrap(), "2026-01-13");
        assert_eq!(read("13/03", &winter), Err(DateProblem::OutsideRange));
        assert_eq!(read("13/03", &YearSource::default()), Err(DateProblem::NoYear));
        assert_eq!(
            read("13/03", &range("2024-01-01", "2025-12-31")),
            Err(DateProblem::NoYear)
        );
        let year = YearSource {
            range: None,
            academic_year: AcademicYear::from_start_year(2025),
        };
        assert_eq!(read("13/03", &year).unwrap(), "2026-03-13");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "45908",
            "31/02/2025",
            "soon",
            "1/2/3/4",
            "8.9E+3",
            "08/09/1066",
            "//",
            "99999999999/1/1",
        ] {
            assert!(column(&[text]).cell(text).is_err(), "{text}");
        }
    }
}
