//! A school's calendar, as somebody gave it.

use chrono::{Datelike as _, NaiveDate};
use graduated_response::domain::session::AcademicYear;

use super::World;
use super::world::day;

/// Gives a school the calendar of 2025/26: Mondays to Fridays of the terms, each written `name first last`, without the days
/// of INSET.
pub async fn give_calendar(world: &World, school: &str, terms: &[&str], inset: &[&str]) {
    let year = AcademicYear::from_start_year(2025).unwrap();
    let mut days = vec![0u8; year.sessions() / 2];
    let mut rows = Vec::new();
    let place = |date: NaiveDate| usize::try_from((date - year.first_day()).num_days()).unwrap();
    for term in terms {
        let mut words = term.split(' ');
        let (name, first, last) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        for date in day(first).iter_days().take_while(|date| *date <= day(last)) {
            if date.weekday().number_from_monday() <= 5 {
                days[place(date)] = 1;
            }
        }
        rows.push(serde_json::json!({ "name": name, "first": first, "last": last }));
    }
    for date in inset {
        days[place(day(date))] = 2;
    }
    let hex: String = days.iter().map(|day| format!("{day:02x}")).collect();
    let statement = format!(
        "INSERT INTO school_days (trust_id, school_id, academic_year, days, terms, notes, updated_at)
         VALUES ('{}', '{school}', 2025, '\\x{hex}', '{}', '[]', now())",
        world.trust_id,
        serde_json::Value::from(rows)
    );
    world.sql().await.batch_execute(&statement).await.unwrap();
}
