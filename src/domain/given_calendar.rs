//! A school's calendar of one academic year as a person gives it: terms, and the days that are otherwise than their terms
//! say.

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

use super::calendar::{CalendarYear, DAYS_MAX, DayKind, Term, place_of};
use super::session::AcademicYear;

/// The most terms, or parts of terms, of a year.
pub const TERMS_MAX: usize = 20;
/// The most notes of a year.
pub const NOTES_MAX: usize = 366;

/// Days that are otherwise than their terms say, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DayNote {
    /// What the days are: INSET, closed; or school days that no term holds, or that fall on a weekend.
    pub kind: DayKind,
    /// The first day.
    pub first: NaiveDate,
    /// The last day.
    pub last: NaiveDate,
    /// Why, for people: `Early May bank holiday`. May be empty.
    pub label: String,
}

/// What is wrong with a year's terms and notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// More terms than any year has.
    #[error("there are more than {TERMS_MAX} terms")]
    TooManyTerms,
    /// More notes than a year has days.
    #[error("there are more than {NOTES_MAX} notes")]
    TooManyNotes,
    /// A term that ends before it begins.
    #[error("the term ends before it begins")]
    TermBackwards(usize),
    /// A term with a day of another academic year.
    #[error("the term has days outside the academic year, 1 August to 31 July")]
    TermOutsideYear(usize),
    /// Two terms that share a day.
    #[error("the term shares days with another")]
    TermsOverlap(usize),
    /// A note that ends before it begins.
    #[error("its last day is before its first")]
    NoteBackwards(usize),
    /// A note with a day of another academic year.
    #[error("it has days outside the academic year, 1 August to 31 July")]
    NoteOutsideYear(usize),
    /// Two notes of the same days, of which one opens them and the other does not.
    #[error("another entry of the same days says the opposite")]
    NotesContradict(usize),
    /// Not one day on which the school is open.
    #[error("the calendar has no school day")]
    NoSchoolDay,
}

/// One academic year of a school's calendar, with the reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenYear {
    /// What judging needs of it.
    pub calendar: CalendarYear,
    /// The days that are otherwise than their terms say, in the order of their first days.
    pub notes: Vec<DayNote>,
}

impl GivenYear {
    /// The year of terms and notes: each Monday to Friday of a term is a school day, but where a note says otherwise. Of notes
    /// that share a day, an extra school day goes before INSET, and INSET before a closure.
    ///
    /// # Errors
    /// [`PlanError`] names what is wrong by its place among the terms or the notes.
    pub fn new(year: AcademicYear, mut terms: Vec<Term>, mut notes: Vec<DayNote>) -> Result<GivenYear, PlanError> {
        check_terms(year, &terms)?;
        check_notes(year, &notes)?;
        let mut days = vec![0; DAYS_MAX];
        let mut set = |first: NaiveDate, last: NaiveDate, weekends: bool, kind: DayKind| {
            for date in first.iter_days().take_while(|date| *date <= last) {
                let weekday = date.weekday().number_from_monday() <= 5;
                if let Some(place) = place_of(year, date).filter(|_| weekends || weekday) {
                    days[place] = kind.byte();
                }
            }
        };
        for term in &terms {
            set(term.first, term.last, false, DayKind::School);
        }
        for kind in [DayKind::Closure, DayKind::Inset, DayKind::School] {
            for note in notes.iter().filter(|note| note.kind == kind) {
                // A weekend within a holiday is a weekend; a single day that is named is meant, whatever the weekday.
                set(note.first, note.last, note.first == note.last, kind);
            }
        }
        if !days.contains(&DayKind::School.byte()) {
            return Err(PlanError::NoSchoolDay);
        }
        terms.sort_by_key(|term| term.first);
        notes.sort_by_key(|note| (note.first, note.last, note.kind));
        Ok(GivenYear {
            calendar: CalendarYear {
                year,
                days,
                terms,
                given: true,
            },
            notes,
        })
    }
}

fn is_within(year: AcademicYear, first: NaiveDate, last: NaiveDate) -> bool {
    first >= year.first_day() && last <= year.last_day()
}

fn check_terms(year: AcademicYear, terms: &[Term]) -> Result<(), PlanError> {
    if terms.len() > TERMS_MAX {
        return Err(PlanError::TooManyTerms);
    }
    for (place, term) in terms.iter().enumerate() {
        if term.last < term.first {
            return Err(PlanError::TermBackwards(place));
        }
        if !is_within(year, term.first, term.last) {
            return Err(PlanError::TermOutsideYear(place));
        }
        let before = &terms[..place];
        if before
            .iter()
            .any(|other| other.first <= term.last && term.first <= other.last)
        {
            return Err(PlanError::TermsOverlap(place));
        }
    }
    Ok(())
}

fn check_notes(year: AcademicYear, notes: &[DayNote]) -> Result<(), PlanError> {
    if notes.len() > NOTES_MAX {
        return Err(PlanError::TooManyNotes);
    }
    for (place, note) in notes.iter().enumerate() {
        if note.last < note.first {
            return Err(PlanError::NoteBackwards(place));
        }
        if !is_within(year, note.first, note.last) {
            return Err(PlanError::NoteOutsideYear(place));
        }
        let opens = |note: &DayNote| note.kind == DayKind::School;
        let contradicts =
            |other: &DayNote| opens(other) != opens(note) && other.first == note.first && note.last == other.last;
        if notes[..place].iter().any(contradicts) {
            return Err(PlanError::NotesContradict(place));
        }
    }
    Ok(())
}
