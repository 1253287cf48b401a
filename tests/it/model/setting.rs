//! What every history starts from: the policies, the schools' calendars, the catalogue.

use std::collections::BTreeSet;

use chrono::{Datelike as _, NaiveDate};
use graduated_response::grpc::convert::to_date;

use super::naive::{DEFAULT_BOUNDS, SchoolCalendar, Settings, Term, Window};
use crate::common::world::pb;

/// The policies of a history; the first is that with which every trust begins.
pub fn policies() -> Vec<Settings> {
    let default = Settings {
        window: Window::Year,
        bounds: DEFAULT_BOUNDS,
        rounded: false,
        minimum: 20,
        each_enrolment_alone: false,
        reached_stage_only: false,
        fall_waits: false,
    };
    vec![
        default,
        Settings { minimum: 1, ..default },
        Settings {
            minimum: 6,
            rounded: true,
            ..default
        },
        Settings {
            minimum: 1,
            fall_waits: true,
            ..default
        },
        Settings {
            minimum: 2,
            each_enrolment_alone: true,
            ..default
        },
        Settings {
            minimum: 1,
            bounds: [(960, true), (940, false), (880, true), (700, false), (400, false)],
            reached_stage_only: true,
            ..default
        },
        Settings {
            minimum: 1,
            window: Window::Weeks(2),
            ..default
        },
        Settings {
            minimum: 1,
            window: Window::Term,
            ..default
        },
        Settings {
            minimum: 2,
            window: Window::Weeks(3),
            each_enrolment_alone: true,
            ..default
        },
        Settings {
            minimum: 1,
            window: Window::Term,
            each_enrolment_alone: true,
            ..default
        },
        Settings {
            minimum: 1,
            window: Window::Weeks(1),
            fall_waits: true,
            ..default
        },
    ]
}

pub fn contract_settings(settings: &Settings) -> pb::PolicySettings {
    let bound = |(tenths, inclusive): &(i64, bool)| pb::LowerBound {
        tenths: i32::try_from(*tenths).unwrap(),
        inclusive: *inclusive,
    };
    pb::PolicySettings {
        lower_bounds: settings.bounds.iter().map(bound).collect(),
        comparison: match settings.rounded {
            true => pb::Comparison::Rounded.into(),
            false => pb::Comparison::Exact.into(),
        },
        minimum_possible: i32::try_from(settings.minimum).ok(),
        scope: match settings.each_enrolment_alone {
            true => pb::PolicyScope::Enrolment.into(),
            false => pb::PolicyScope::Trust.into(),
        },
        window: match settings.window {
            Window::Year => pb::PolicyWindow::YearToDate.into(),
            Window::Weeks(_) => pb::PolicyWindow::SchoolWeeks.into(),
            Window::Term => pb::PolicyWindow::CurrentTerm.into(),
        },
        window_school_weeks: match settings.window {
            Window::Weeks(weeks) => i32::try_from(weeks).unwrap(),
            Window::Year | Window::Term => 0,
        },
        raises_reached_stage_only: settings.reached_stage_only,
        fall_waits: settings.fall_waits,
        ..pb::PolicySettings::default()
    }
}

/// The academic years of which the schools have calendars.
const YEARS: std::ops::Range<i32> = 2025..2029;

/// The calendars of the two schools: their half terms are a week apart, the second's spring begins later, and a week of the first's autumn is INSET alone.
pub fn calendars() -> Vec<SchoolCalendar> {
    let halves = |year: i32, spring: &'static str, half_terms: [&'static str; 6]| -> Vec<Term> {
        let date = |text: &str| -> NaiveDate {
            let (month, day): (u32, u32) = (text[..2].parse().unwrap(), text[3..].parse().unwrap());
            NaiveDate::from_ymd_opt(year + i32::from(month < 8), month, day).unwrap()
        };
        let term = |name, first, last| Term {
            name,
            first: date(first),
            last: date(last),
        };
        let [
            autumn_ends,
            autumn_begins,
            spring_ends,
            spring_begins,
            summer_ends,
            summer_begins,
        ] = half_terms;
        vec![
            term("autumn", "09-01", autumn_ends),
            term("autumn", autumn_begins, "12-19"),
            term("spring", spring, spring_ends),
            term("spring", spring_begins, "03-27"),
            term("summer", "04-13", summer_ends),
            term("summer", summer_begins, "07-17"),
        ]
    };
    let first = ["10-24", "11-02", "02-13", "02-22", "05-22", "06-01"];
    let second = ["10-17", "10-26", "02-06", "02-15", "05-22", "06-01"];
    let inset = YEARS.flat_map(|year| {
        let monday = NaiveDate::from_ymd_opt(year, 11, 16).unwrap();
        let monday = monday - chrono::Days::new(u64::from(monday.weekday().num_days_from_monday()));
        monday.iter_days().take(5)
    });
    vec![
        SchoolCalendar {
            terms: YEARS.flat_map(|year| halves(year, "01-05", first)).collect(),
            inset: inset.collect(),
        },
        SchoolCalendar {
            terms: YEARS.flat_map(|year| halves(year, "01-07", second)).collect(),
            inset: Vec::new(),
        },
    ]
}

/// The requests that give a school its calendar.
pub fn contract_calendars(trust_id: &str, school: &str, calendar: &SchoolCalendar) -> Vec<pb::UpdateCalendarRequest> {
    let year_of = |date: &NaiveDate| date.year() - i32::from(date.month() < 8);
    let of_year = |academic_year: i32| {
        let terms = calendar
            .terms
            .iter()
            .filter(|term| year_of(&term.first) == academic_year);
        let inset = calendar.inset.iter().filter(|day| year_of(day) == academic_year);
        pb::UpdateCalendarRequest {
            trust_id: trust_id.to_owned(),
            school: school.to_owned(),
            academic_year,
            terms: terms
                .map(|term| pb::CalendarTerm {
                    name: term.name.to_owned(),
                    first_day: Some(to_date(term.first)),
                    last_day: Some(to_date(term.last)),
                })
                .collect(),
            notes: inset
                .map(|day| pb::CalendarNote {
                    kind: pb::CalendarDayKind::Inset.into(),
                    first_day: Some(to_date(*day)),
                    ..pb::CalendarNote::default()
                })
                .collect(),
            ..pb::UpdateCalendarRequest::default()
        }
    };
    YEARS.map(of_year).collect()
}

/// The provisions of each stage that are raised for a pupil, out of the catalogue's source.
pub fn provisions() -> Vec<BTreeSet<String>> {
    let catalogue: toml::Table = include_str!("../../../data/provisions.toml").parse().unwrap();
    let all = catalogue["provision"].as_array().unwrap();
    let of_stage = |stage: usize| {
        let of_stage = all.iter().filter(|provision| {
            let id = provision["id"].as_str().unwrap();
            id.starts_with(&format!("{stage}-")) && provision["subject"].as_str().unwrap() == "pupil"
        });
        of_stage
            .map(|provision| provision["id"].as_str().unwrap().to_owned())
            .collect()
    };
    (1..=5).map(of_stage).collect()
}
