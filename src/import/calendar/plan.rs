//! From entries to a calendar: which style they are in, the terms, and the days that are otherwise.

use chrono::{Datelike, Days, NaiveDate};

use super::entries::{Entry, Found, Meaning};
use super::{
    CalendarFileError, CalendarFormat, CalendarOptions, CalendarStyle, NOT_UNDERSTOOD_MAX, NotUnderstoodReason,
    ReadCalendar,
};
use crate::domain::calendar::{DAYS_MAX, DayKind, Term, place_of, terms_told_apart};
use crate::domain::given_calendar::{DayNote, GivenYear};
use crate::domain::session::AcademicYear;

/// A term between two days that are named lasts no longer: the longest has some hundred days.
const TERM_DAYS_MAX: i64 = 140;
/// Weekdays between two entries of one term, if there are fewer of them, are days off within it; a half term has five.
const DAYS_OFF_MAX: usize = 4;

/// Makes a calendar of what was found.
pub(super) fn make(
    mut found: Found,
    format: CalendarFormat,
    options: &CalendarOptions,
) -> Result<ReadCalendar, CalendarFileError> {
    pair_terms(&mut found);
    let year = options.year;
    let all = found.entries.len();
    found
        .entries
        .retain(|entry| entry.first <= year.last_day() && entry.last >= year.first_day());
    for entry in &mut found.entries {
        entry.first = entry.first.max(year.first_day());
        entry.last = entry.last.min(year.last_day());
    }
    let entries = found.entries.len();
    if entries == 0 {
        return Err(CalendarFileError::NoEntries);
    }
    let style = options
        .style
        .or_else(|| detect(&found.entries))
        .ok_or(CalendarFileError::UnclearStyle)?;
    refuse_unknown(&mut found, style);
    let days = otherwise(&found.entries, year, style);
    let given = match style {
        CalendarStyle::TermDays => from_terms(&found.entries, year, days)?,
        CalendarStyle::Closures => from_closures(year, days, options)?,
    };
    let not_understood_total = found.not_understood.len();
    found.not_understood.sort_by_key(|refused| refused.line);
    found.not_understood.truncate(NOT_UNDERSTOOD_MAX);
    Ok(ReadCalendar {
        format,
        style,
        given,
        entries,
        entries_outside_year: all - entries,
        not_understood: found.not_understood,
        not_understood_total,
    })
}

/// Days on which a term begins and ends become the term between them. One that lies within a term that is there already
/// says nothing new.
fn pair_terms(found: &mut Found) {
    let is_news = |entry: &Entry| matches!(entry.meaning, Meaning::TermBegins(_) | Meaning::TermEnds(_));
    let (mut news, mut entries): (Vec<Entry>, Vec<Entry>) =
        std::mem::take(&mut found.entries).into_iter().partition(is_news);
    let covered = |entry: &Entry| {
        entries.iter().any(|other| {
            matches!(other.meaning, Meaning::Term(_)) && other.first <= entry.first && entry.last <= other.last
        })
    };
    news.retain(|entry| !covered(entry));
    news.sort_by_key(|entry| entry.first);
    let mut begun: Option<(Entry, String)> = None;
    for entry in news {
        match (&entry.meaning, begun.take()) {
            (Meaning::TermBegins(name), before) => {
                if let Some((before, _)) = before {
                    found.refuse(before.line, &before.label, NotUnderstoodReason::UnpairedDay);
                }
                let name = name.clone();
                begun = Some((entry, name));
            }
            (Meaning::TermEnds(name), Some((first, of_first)))
                if (entry.last - first.first).num_days() <= TERM_DAYS_MAX
                    && (of_first == *name || of_first.is_empty() || name.is_empty()) =>
            {
                let name = if of_first.is_empty() { name.clone() } else { of_first };
                entries.push(Entry {
                    last: entry.last,
                    meaning: Meaning::Term(name),
                    ..first
                });
            }
            (_, before) => {
                for unpaired in before.map(|(before, _)| before).into_iter().chain([entry]) {
                    found.refuse(unpaired.line, &unpaired.label, NotUnderstoodReason::UnpairedDay);
                }
            }
        }
    }
    if let Some((before, _)) = begun {
        found.refuse(before.line, &before.label, NotUnderstoodReason::UnpairedDay);
    }
    found.entries = entries;
}

/// The style that the labels tell: of terms where any names one, else of closures.
fn detect(entries: &[Entry]) -> Option<CalendarStyle> {
    let any = |meant: fn(&Meaning) -> bool| entries.iter().any(|entry| meant(&entry.meaning));
    if any(|meaning| matches!(meaning, Meaning::Term(_))) {
        Some(CalendarStyle::TermDays)
    } else if any(|meaning| matches!(meaning, Meaning::Closed | Meaning::Inset)) {
        Some(CalendarStyle::Closures)
    } else {
        None
    }
}

fn refuse_unknown(found: &mut Found, style: CalendarStyle) {
    let is_unknown = |entry: &&Entry| match entry.meaning {
        Meaning::Unknown => true,
        // In a file of closures, an entry that names a term says the opposite of all others.
        Meaning::Term(_) => style == CalendarStyle::Closures,
        _ => false,
    };
    let unknown: Vec<(u32, String)> = found
        .entries
        .iter()
        .filter(is_unknown)
        .map(|entry| (entry.line, entry.label.clone()))
        .collect();
    let mut last = None;
    for (line, label) in unknown {
        // An event that repeats is named once.
        if last != Some(line) {
            found.refuse(line, &label, NotUnderstoodReason::UnknownLabel);
        }
        last = Some(line);
    }
}

/// What a day is, otherwise than its term says: a kind, and the label that says why.
type Otherwise<'e> = Vec<Option<(DayKind, &'e str)>>;

/// The days that are otherwise than their terms say. A single day that is named is meant whatever the weekday; a weekend
/// within a longer entry is a weekend.
fn otherwise(entries: &[Entry], year: AcademicYear, style: CalendarStyle) -> Otherwise<'_> {
    let mut days: Otherwise<'_> = vec![None; DAYS_MAX];
    for kind in [DayKind::Closure, DayKind::Inset, DayKind::School] {
        for entry in entries {
            let meant = match entry.meaning {
                Meaning::Closed => DayKind::Closure,
                Meaning::Inset => DayKind::Inset,
                Meaning::Open => DayKind::School,
                // Never an open day: in a file of closures it is taken for one.
                Meaning::Unknown if style == CalendarStyle::Closures => DayKind::Closure,
                _ => continue,
            };
            if meant != kind {
                continue;
            }
            for date in entry.first.iter_days().take_while(|date| *date <= entry.last) {
                if let Some(place) = place_of(year, date).filter(|_| is_weekday(date) || entry.first == entry.last) {
                    days[place] = Some((kind, entry.label.as_str()));
                }
            }
        }
    }
    days
}

fn is_weekday(date: NaiveDate) -> bool {
    date.weekday().number_from_monday() <= 5
}

fn date_at(year: AcademicYear, place: usize) -> NaiveDate {
    year.first_day()
        .checked_add_days(Days::new(place as u64))
        .unwrap_or(NaiveDate::MAX)
}

/// Runs of days of the same kind for the same reason, weekends passed over.
fn notes_of(days: &Otherwise<'_>, year: AcademicYear) -> Vec<DayNote> {
    let mut notes: Vec<DayNote> = Vec::new();
    let mut open_run = false;
    for (place, day) in days.iter().enumerate() {
        let date = date_at(year, place);
        match (day, notes.last_mut()) {
            (Some((kind, label)), Some(note))
                if open_run && is_weekday(date) && note.kind == *kind && note.label == *label =>
            {
                note.last = date;
            }
            (Some((kind, label)), _) => {
                notes.push(DayNote {
                    kind: *kind,
                    first: date,
                    last: date,
                    label: (*label).to_owned(),
                });
                // A weekend day stands alone: a note of several days leaves weekends out.
                open_run = is_weekday(date);
            }
            (None, _) => open_run = open_run && !is_weekday(date),
        }
    }
    notes
}

/// Terms that are told by entries, with the days off between entries of the same.
fn from_terms<'e>(
    entries: &'e [Entry],
    year: AcademicYear,
    mut days: Otherwise<'e>,
) -> Result<GivenYear, CalendarFileError> {
    let mut named: Vec<(&Entry, &str)> = entries
        .iter()
        .filter_map(|entry| match &entry.meaning {
            Meaning::Term(name) => Some((entry, name.as_str())),
            _ => None,
        })
        .collect();
    named.sort_by_key(|(entry, _)| (entry.first, entry.last));
    let mut terms: Vec<Term> = Vec::new();
    for (entry, name) in named {
        let off = |last: NaiveDate| -> Vec<NaiveDate> {
            let between = last.iter_days().skip(1).take_while(|date| *date < entry.first);
            between.filter(|date| is_weekday(*date)).collect()
        };
        if let Some(term) = terms.last_mut()
            && (term.name == name || name.is_empty() || entry.first <= term.last)
        {
            let off = off(term.last);
            if entry.first <= term.last || off.len() <= DAYS_OFF_MAX {
                for place in off.into_iter().filter_map(|date| place_of(year, date)) {
                    days[place].get_or_insert((DayKind::Closure, ""));
                }
                term.last = term.last.max(entry.last);
                if term.name.is_empty() {
                    name.clone_into(&mut term.name);
                }
                continue;
            }
        }
        terms.push(Term {
            name: name.to_owned(),
            first: entry.first,
            last: entry.last,
        });
    }
    // A Saturday that an entry of its own calls a day of term is one.
    let alone = |entry: &&Entry| {
        matches!(entry.meaning, Meaning::Term(_)) && entry.first == entry.last && !is_weekday(entry.first)
    };
    for entry in entries.iter().filter(alone) {
        if let Some(place) = place_of(year, entry.first) {
            days[place].get_or_insert((DayKind::School, entry.label.as_str()));
        }
    }
    name_terms(&mut terms);
    Ok(GivenYear::new(year, terms, notes_of(&days, year))?)
}

/// Terms that follow from the closures between them.
fn from_closures(
    year: AcademicYear,
    days: Otherwise<'_>,
    options: &CalendarOptions,
) -> Result<GivenYear, CalendarFileError> {
    let closed = |date: &NaiveDate| {
        let place = place_of(year, *date);
        place
            .and_then(|place| days[place])
            .is_some_and(|(kind, _)| kind == DayKind::Closure)
    };
    let all = || year.first_day().iter_days().take_while(|date| *date <= year.last_day());
    let first_weekday = all().find(|date| is_weekday(*date));
    let last_weekday = all().filter(|date| is_weekday(*date)).last();
    if options.first_day.is_none() && !first_weekday.is_some_and(|date| closed(&date)) {
        return Err(CalendarFileError::NoFirstDay);
    }
    if options.last_day.is_none() && !last_weekday.is_some_and(|date| closed(&date)) {
        return Err(CalendarFileError::NoLastDay);
    }
    let first = options.first_day.unwrap_or(year.first_day());
    let last = options.last_day.unwrap_or(year.last_day());
    let in_term = all().filter(|date| *date >= first && *date <= last && is_weekday(*date) && !closed(date));
    let mut terms = terms_told_apart(in_term);
    for term in &mut terms {
        term.name.clear();
    }
    name_terms(&mut terms);
    Ok(GivenYear::new(year, terms, notes_of(&days, year))?)
}

/// Gives a name to terms that have none: those between the long holidays are autumn, spring and summer where there are
/// three, and else `term 1` and so on.
fn name_terms(terms: &mut [Term]) {
    if terms.iter().all(|term| !term.name.is_empty()) {
        return;
    }
    let whole = terms_told_apart(terms.iter().flat_map(|term| {
        let last = term.last;
        term.first.iter_days().take_while(move |date| *date <= last)
    }));
    const SEASONS: [&str; 3] = ["autumn", "spring", "summer"];
    for term in terms.iter_mut().filter(|term| term.name.is_empty()) {
        let Some(place) = whole
            .iter()
            .position(|whole| whole.first <= term.first && term.last <= whole.last)
        else {
            continue;
        };
        if whole.len() == SEASONS.len() {
            SEASONS[place].clone_into(&mut term.name);
        } else {
            whole[place].name.clone_into(&mut term.name);
        }
    }
}
