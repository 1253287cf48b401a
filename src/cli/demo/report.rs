//! What `demo` says at its end.

use chrono::NaiveDate;

use super::super::output::{date_text, grouped, lines, table};
use super::LoadedSample;
use crate::domain::session::AcademicYear;
use crate::proto;
use crate::sample::deviation::{code_deviations, left_out};
use crate::sample::{SampleTrust, calendar, deviations};

/// What was loaded, for people.
pub(super) fn report(trust: &SampleTrust, loaded: &LoadedSample, today: &proto::Date) -> String {
    let mut text = format!(
        "Loaded \"{}\", trust {}:\n{} schools, {} pupils, {} marks to {} in {:.1} s; the marks moved pupils {} times between stages.\n",
        trust.name,
        loaded.trust_id,
        loaded.schools,
        grouped(loaded.pupils as u64),
        grouped(loaded.marks as u64),
        trust.settings.through,
        loaded.elapsed.as_secs_f64(),
        grouped(loaded.transitions),
    );
    if loaded.replayed > 0 {
        text.push_str(&format!(
            "It was loaded before: {} batches were answered as they were then, and changed nothing.\n",
            loaded.replayed
        ));
    }
    if let Some(note) = day_note(trust.settings.through, today) {
        text.push_str(&note);
    }
    text.push_str("\nHow far the sample lies from the published figures for England, in per cent:\n\n");
    text.push_str(&deviation_table(trust));
    text.push_str(
        "\nPublished: Department for Education, \"Pupil attendance in schools\", 2025/26. Contains public sector information\n\
         licensed under the Open Government Licence v3.0.\n",
    );
    text
}

/// What to know where the service's day is not the sample's last: stages are of the academic year to date.
pub(super) fn day_note(through: NaiveDate, today: &proto::Date) -> Option<String> {
    let year = AcademicYear::from_start_year(calendar::START_YEAR)?;
    let day = NaiveDate::from_ymd_opt(
        today.year,
        u32::try_from(today.month).ok()?,
        u32::try_from(today.day).ok()?,
    )?;
    let date = date_text(Some(today));
    if day > year.last_day() || day < year.first_day() {
        Some(format!(
            "The service's day is {date}, outside the sample's year 2025/26, and stages are of the academic year to date:\n\
             run a service whose clock is set to {through} to see the sample's.\n"
        ))
    } else if day < through {
        Some(format!(
            "The service's day is {date}: marks of later days are kept, and count from their date on.\n"
        ))
    } else {
        None
    }
}

/// The published and the generated figures side by side.
pub(super) fn deviation_table(trust: &SampleTrust) -> String {
    let mut figures = table(&["phase", "figure", "published", "sample", "difference"], 2);
    for deviation in deviations(trust) {
        figures.add_row([
            deviation.phase.name().to_owned(),
            deviation.measure.name().to_owned(),
            format!("{:.2}", deviation.published_percent),
            format!("{:.2}", deviation.generated_percent),
            // Adding nothing takes the sign from a rounded -0.
            format!("{:+.2}", (deviation.points() * 100.0).round() / 100.0 + 0.0),
        ]);
    }
    let mut text = lines(&figures);
    let furthest = code_deviations(trust)
        .into_iter()
        .max_by(|left, right| left.points().abs().total_cmp(&right.points().abs()));
    if let Some(furthest) = furthest {
        text.push_str(&format!(
            "\nOf the single codes, {} in {} schools lies furthest from its published frequency: {:+.3} points.\n",
            furthest.code,
            furthest.phase.name().to_ascii_lowercase(),
            furthest.points()
        ));
    }
    let withdrawn: u64 = left_out(trust).iter().map(|left_out| left_out.sessions).sum();
    let published: u64 = trust.published.iter().map(|figures| figures.possible).sum();
    text.push_str(&format!(
        "Left out: the withdrawn codes H and J and authorised absence without a published code, {} of {} published sessions.\n",
        grouped(withdrawn),
        grouped(published)
    ));
    text
}
