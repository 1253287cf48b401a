//! The rows above a table: what dates do they say that it covers?

use chrono::{Datelike, Days, NaiveDate};

use super::dates::{DateOrder, RawDate, Stamp, YearSource};
use super::table::Row;

/// The first and the last date that the rows above the header name: two dates in one row; else a row that says from and
/// one that says to; else a week; else one day; else an academic year such as 2025/26. Rows that say when the report was
/// printed are passed over.
pub fn date_range(rows: &[Row], forced: Option<DateOrder>) -> Option<(NaiveDate, NaiveDate)> {
    let titles: Vec<Title> = rows.iter().map(Title::read).collect();
    let all = titles.iter().flat_map(|title| &title.dates);
    let order = forced.unwrap_or_else(|| order_of(all));
    let read = |raw: &RawDate| raw.read(order, &YearSource::default()).ok();
    for title in &titles {
        let dates: Vec<NaiveDate> = title.dates.iter().filter_map(read).collect();
        if let [first, last] = dates[..]
            && first <= last
        {
            return Some((first, last));
        }
    }
    let single = |words: &[&str]| {
        titles
            .iter()
            .filter(|title| words.is_empty() || words.iter().any(|word| title.says(word)))
            .find_map(|title| title.dates.first().and_then(read))
    };
    if let (Some(first), Some(last)) = (
        single(&["from", "start", "starting"]),
        single(&["to", "end", "until", "ending"]),
    ) && first <= last
    {
        return Some((first, last));
    }
    if let Some(day) = single(&["week", "w/c", "w/b", "wc", "wb"]) {
        let monday = day - Days::new(u64::from(day.weekday().num_days_from_monday()));
        return Some((monday, monday + Days::new(6)));
    }
    if let Some(day) = single(&[]) {
        return Some((day, day));
    }
    titles
        .iter()
        .find_map(|title| title.year)
        .map(|year| (year.first_day(), year.last_day()))
}

/// The order in which the most dates of the titles can be read, day first where that leaves a choice.
fn order_of<'a>(dates: impl Iterator<Item = &'a RawDate> + Clone) -> DateOrder {
    let readable = |order: DateOrder| {
        dates
            .clone()
            .filter(|raw| raw.read(order, &YearSource::default()).is_ok())
            .count()
    };
    let mut best = DateOrder::DayFirst;
    for order in [DateOrder::MonthFirst, DateOrder::YearFirst] {
        if readable(order) > readable(best) {
            best = order;
        }
    }
    best
}

struct Title {
    words: Vec<String>,
    dates: Vec<RawDate>,
    year: Option<crate::domain::session::AcademicYear>,
}

impl Title {
    fn read(row: &Row) -> Title {
        let text: String = row.cells.join(" ").chars().take(1000).collect();
        let text = text.replace(['–', '—', ';', ':', ',', '(', ')', '"'], " ");
        let words: Vec<String> = text
            .split_whitespace()
            .flat_map(|word| match word.split_once('-') {
                // 08/09/2025-12/09/2025 is two dates.
                Some((first, last)) if first.contains('/') && last.contains('/') => {
                    vec![first, last]
                }
                _ => vec![word],
            })
            .map(str::to_lowercase)
            .collect();
        let mut dates = Vec::new();
        let mut year = None;
        let mut at = 0;
        while at < words.len() {
            let found = [1, 3].into_iter().find_map(|length| {
                let window = words.get(at..at + length)?.join(" ");
                let date = Stamp::parse(&window)?.date?;
                year = year.or(date.academic_year());
                date.has_year().then_some((date, length))
            });
            match found {
                Some((date, length)) => {
                    dates.push(date);
                    at += length;
                }
                None => at += 1,
            }
        }
        let title = Title { words, dates, year };
        let printed = ["printed", "generated", "created", "produced", "run", "exported"];
        if title.dates.len() == 1 && printed.iter().any(|word| title.says(word)) {
            return Title {
                dates: Vec::new(),
                ..title
            };
        }
        title
    }

    fn says(&self, word: &str) -> bool {
        self.words.iter().any(|other| other == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::table::split;

    fn range(text: &str) -> Option<(String, String)> {
        date_range(&split(text, ',', usize::MAX), None).map(|(first, last)| (first.to_string(), last.to_string()))
    }

    #[test]
    fn a_title_names_the_dates_that_the_table_covers() {
        let week = Some(("2025-09-08".to_owned(), "2025-09-12".to_owned()));
        for text in [
            "Attendance from 08/09/2025 to 12/09/2025",
            "Report,Marks\nPrinted on 15/10/2025\nDate range: 08/09/2025 - 12/09/2025,",
            "From,08/09/2025,To,12/09/2025",
            "From:,08/09/2025\nTo:,12/09/2025",
            "08/09/2025-12/09/2025",
            "8 September 2025 to 12 September 2025",
            "2025-09-08 to 2025-09-12",
        ] {
            assert_eq!(range(text), week, "{text}");
        }
    }

    #[test]
    fn a_title_may_name_a_week_a_day_or_a_year() {
        let pair = |first: &str, last: &str| Some((first.to_owned(), last.to_owned()));
        assert_eq!(range("Week beginning 08/09/2025"), pair("2025-09-08", "2025-09-14"));
        assert_eq!(range("Registers,09/09/2025"), pair("2025-09-09", "2025-09-09"));
        assert_eq!(range("Year 2025/26"), pair("2025-08-01", "2026-07-31"));
        assert_eq!(range("Year 2025-2026"), pair("2025-08-01", "2026-07-31"));
        assert_eq!(range("Printed on 15/10/2025"), None);
        assert_eq!(range("Test Primary School"), None);
    }
}
