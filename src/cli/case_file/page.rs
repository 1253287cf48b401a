//! The page of a case file: its head, the summary, the chart, the stages, and what the file holds.

use super::chart::{draw, weeks};
use super::html::{Html, capital, date, day_text, lines_of, long_day, short_day, time_day_text, time_text};
use super::{CaseFile, record, work};
use crate::cli::output::{grouped, stage_text, words};
use crate::domain::pupil::YEAR_GROUPS;
use crate::domain::session::AcademicYear;
use crate::proto::{Enrolment, LowerBound, Policy, PolicyWindow, PupilStage, Tally, Transition, TransitionCause};

/// The whole page.
pub fn page(file: &CaseFile) -> Html {
    let mut page = Html::default();
    let name = full_name(file);
    page.markup("<!DOCTYPE html>\n<html lang=\"en-GB\">\n<head>\n<meta charset=\"utf-8\">\n");
    // Nothing is loaded and nothing is run, whatever the file says.
    page.markup(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    page.markup("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Case file: ");
    page.text(&name).markup("</title>\n<style>\n");
    page.markup(include_str!("style.css"))
        .markup("</style>\n</head>\n<body>\n");
    head(&mut page, file, &name);
    page.markup("<main>\n");
    summary(&mut page, file);
    chart(&mut page, file);
    stages(&mut page, file);
    work::sections(&mut page, file);
    record::sections(&mut page, file);
    contents(&mut page, file);
    page.markup("</main>\n</body>\n</html>\n");
    page
}

/// The pupil's name; the identifier where the service was given none.
fn full_name(file: &CaseFile) -> String {
    let pupil = file.header.pupil.clone().unwrap_or_default();
    let parts = [pupil.given_name.trim(), pupil.family_name.trim()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        pupil.pupil_id
    } else {
        parts.join(" ")
    }
}

fn head(page: &mut Html, file: &CaseFile, name: &str) {
    let as_of = date(file.header.as_of.as_ref()).map(long_day).unwrap_or_default();
    page.markup("<header>\n<p class=\"kind\">Attendance case file</p>\n<h1>")
        .text(name)
        .markup("</h1>\n<p>");
    page.text(&file.header.trust_name)
        .markup("</p>\n<p>As recorded on ")
        .text(&as_of);
    page.markup("</p>\n<p class=\"confidential\">Confidential: personal data of a child</p>\n</header>\n");
}

fn stage_of(file: &CaseFile) -> PupilStage {
    file.header.stage.clone().unwrap_or_default()
}

fn summary(page: &mut Html, file: &CaseFile) {
    let (pupil, stage) = (file.header.pupil.clone().unwrap_or_default(), stage_of(file));
    let as_of = date(file.header.as_of.as_ref());
    let on_roll = |enrolment: &&Enrolment| {
        let (start, end) = (date(enrolment.start_date.as_ref()), date(enrolment.end_date.as_ref()));
        start <= as_of && (end.is_none() || end >= as_of)
    };
    let schools: Vec<&str> = pupil
        .enrolments
        .iter()
        .filter(on_roll)
        .map(|at| file.school_name(&at.school))
        .collect();
    let year = year_text(stage.academic_year);
    let tally = stage.year_tally.unwrap_or_default();
    page.section("Summary").markup("<div class=\"figures\">\n");
    let mut figure = |figure: &str, about: &str| {
        page.markup("<div><p class=\"figure\">")
            .text(figure)
            .markup("</p><p>")
            .text(about)
            .markup("</p></div>\n");
    };
    let since = date(stage.since.as_ref())
        .map(|day| format!("since {}", short_day(day)))
        .unwrap_or_default();
    figure(&format!("Stage {}", stage_text(stage.stage)), &since);
    let percent = crate::cli::output::percent_text(tally.attended, tally.possible);
    let percent = if percent.is_empty() {
        "–".to_owned()
    } else {
        format!("{percent}%")
    };
    figure(&percent, &format!("attendance in {year} to date"));
    figure(&sessions(tally.authorised), "sessions of authorised absence");
    figure(&sessions(tally.unauthorised), "sessions of unauthorised absence");
    page.markup("</div>\n<dl>\n");
    page.term(
        "School",
        &if schools.is_empty() {
            "not on roll".to_owned()
        } else {
            schools.join("; ")
        },
    );
    page.term("Year group", &year_group(pupil.year_group));
    page.term("Date of birth", &day_text(pupil.date_of_birth.as_ref()));
    page.term("UPN", &pupil.upn);
    let identifiers = pupil
        .mis_identifiers
        .iter()
        .map(|mis| format!("{} {}", mis.source, mis.value));
    page.term("Identifiers", &identifiers.collect::<Vec<_>>().join("; "));
    page.term("Sessions", &attended_text(&tally));
    page.term("Absence", absence_text(&stage));
    for note in notes(&stage) {
        page.term("Note", &note);
    }
    page.markup("</dl>\n");
    let rows = pupil.enrolments.iter().map(|enrolment| {
        vec![
            file.school_name(&enrolment.school).to_owned(),
            capital(&words(enrolment.kind().as_str_name(), "ENROLMENT_KIND_")),
            day_text(enrolment.start_date.as_ref()),
            match &enrolment.end_date {
                None => "none set".to_owned(),
                last => day_text(last.as_ref()),
            },
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        page.nothing("No enrolment is on record.");
    } else {
        page.table(
            "enrolments",
            "Enrolments",
            &["School", "Kind", "First day", "Last day"],
            &rows,
        );
    }
    page.markup("</section>\n");
}

/// A policy by its version, and its title where it has one.
fn policy_name(policy: &Policy) -> String {
    match policy.title.as_str() {
        "" => format!("version {}", policy.version),
        title => format!("version {}, {title}", policy.version),
    }
}

fn sessions(count: i64) -> String {
    grouped(u64::try_from(count).unwrap_or_default())
}

fn attended_text(tally: &Tally) -> String {
    format!(
        "{} attended of {} possible",
        sessions(tally.attended),
        sessions(tally.possible)
    )
}

fn absence_text(stage: &PupilStage) -> &'static str {
    match (stage.severe_absence, stage.persistent_absence) {
        (true, _) => "severely absent: half or more of the possible sessions missed",
        (false, true) => "persistently absent: a tenth or more of the possible sessions missed",
        (false, false) => "not persistently absent",
    }
}

/// What qualifies the stage.
fn notes(stage: &PupilStage) -> Vec<String> {
    let computed = stage_text(stage.computed_stage);
    let mut notes = Vec::new();
    if stage.too_little_data {
        notes.push(format!(
            "too few possible sessions to judge by; the counts alone give stage {computed}"
        ));
    }
    if !stage.hold_id.is_empty() {
        notes.push(format!(
            "held at the stage by a person; the counts alone give stage {computed}"
        ));
    }
    if stage.fall_waits {
        notes.push(format!(
            "the counts give stage {computed}: the fall waits until a person confirms it"
        ));
    }
    if stage.data_too_old {
        notes.push("what was last received of the school's registers is too old to judge by".to_owned());
    }
    notes
}

/// `2025/26`.
pub fn year_text(start_year: i32) -> String {
    format!("{start_year}/{:02}", (start_year + 1).rem_euclid(100))
}

fn year_group(number: i32) -> String {
    let place = usize::try_from(number - 1).ok();
    match place.and_then(|place| YEAR_GROUPS.get(place)).copied() {
        Some("R") => "Reception".to_owned(),
        Some(nursery) if nursery.starts_with('N') => format!("Nursery ({nursery})"),
        Some(year) => format!("Year {year}"),
        None => String::new(),
    }
}

fn chart(page: &mut Html, file: &CaseFile) {
    let stage = stage_of(file);
    page.markup("<section class=\"chart\">\n<h2>Attendance in ")
        .text(&year_text(stage.academic_year));
    page.markup("</h2>\n<figure>\n");
    let policy = file
        .policies
        .iter()
        .find(|policy| policy.version == stage.policy_version);
    let settings = policy.and_then(|policy| policy.settings.clone()).unwrap_or_default();
    let default = [(950, false), (930, true), (900, false), (800, true), (500, true)];
    let default = default.map(|(tenths, inclusive)| LowerBound { tenths, inclusive });
    let bounds = if settings.lower_bounds.is_empty() {
        &default[..]
    } else {
        &settings.lower_bounds
    };
    let year = AcademicYear::from_start_year(stage.academic_year);
    if let (Some(year), Some(as_of)) = (year, date(file.header.as_of.as_ref())) {
        draw(page, &weeks(&file.registers, year, as_of), bounds);
    }
    page.markup(
        "<figcaption>The line is attendance from the first day of the academic year to the end of each week, over all \
                 schools of the trust. The shades are the bands of the policy",
    );
    if let Some(policy) = policy {
        page.text(&format!(" ({})", policy_name(policy)));
    }
    page.markup(match settings.window() {
        PolicyWindow::Unspecified | PolicyWindow::YearToDate => ".",
        PolicyWindow::SchoolWeeks | PolicyWindow::CurrentTerm => {
            ", which judges by a shorter period: the stage may differ from the band."
        }
    });
    page.markup("</figcaption>\n</figure>\n</section>\n");
}

fn stages(page: &mut Html, file: &CaseFile) {
    page.section("Stages");
    if file.transitions.is_empty() {
        page.nothing("The pupil has been at stage U throughout.");
    } else {
        let headings = ["From", "Stage", "Cause", "Attendance judged", "Policy", "Recorded"];
        let rows: Vec<Vec<String>> = file
            .transitions
            .iter()
            .map(|moved| transition_row(file, moved))
            .collect();
        page.table(
            "stages",
            "Moves between stages, as they were recorded",
            &headings,
            &rows,
        );
    }
    page.markup("</section>\n");
}

fn transition_row(file: &CaseFile, transition: &Transition) -> Vec<String> {
    let of_this = file
        .header
        .pupil
        .as_ref()
        .is_some_and(|pupil| pupil.pupil_id == transition.pupil_id);
    let record = if of_this {
        ""
    } else {
        "of a record that was merged into this one"
    };
    let (from, to) = (stage_text(transition.from_stage), stage_text(transition.to_stage));
    let moved = if from == to {
        format!("stays at {to}")
    } else {
        format!("{from} to {to}")
    };
    let taken_back = if transition.retracted_to == 0 {
        String::new()
    } else {
        format!(
            "taken back: no stage beyond {} was reached",
            stage_text(transition.retracted_to)
        )
    };
    let cause = match transition.cause() {
        TransitionCause::Unspecified => "",
        TransitionCause::Marks => "Marks",
        TransitionCause::Correction => "Correction of marks",
        TransitionCause::DayPassed => "A day passed",
        TransitionCause::Policy => "Another policy",
        TransitionCause::Hold => "Hold, or a fall confirmed",
        TransitionCause::Enrolment => "Enrolment or calendar changed",
    };
    let tally = transition.tally.unwrap_or_default();
    let judged = match transition.attendance_percent.as_str() {
        "" => String::new(),
        percent => format!("{percent}% ({} of {})", tally.attended, tally.possible),
    };
    vec![
        day_text(transition.effective_on.as_ref()),
        lines_of(&[&moved, &taken_back, record]),
        cause.to_owned(),
        judged,
        format!("version {}", transition.policy_version),
        time_day_text(transition.recorded_at.as_ref()),
    ]
}

fn contents(page: &mut Html, file: &CaseFile) {
    let end = file.end;
    page.section("What this file holds")
        .markup("<p>Everything on record of the pupil at ");
    page.text(&time_text(file.header.known_at.as_ref()))
        .markup(" (London): ");
    let counts = [
        (end.registers, "register", "registers"),
        (end.revisions, "correction of a mark", "corrections of marks"),
        (end.transitions, "move between stages", "moves between stages"),
        (end.holds, "hold or confirmed fall", "holds and confirmed falls"),
        (end.actions, "action", "actions"),
        (end.action_entries, "log entry", "log entries"),
        (end.plans, "plan of support", "plans of support"),
        (end.threshold_events, "threshold", "thresholds"),
        (end.penalty_notices, "penalty notice", "penalty notices"),
        (end.pupil_changes, "change of the record", "changes of the record"),
    ];
    let counts =
        counts.map(|(count, one, many)| format!("{} {}", sessions(count), if count == 1 { one } else { many }));
    page.text(&counts.join(", ")).markup(".</p>\n");
    let policies = file.policies.iter().map(policy_name);
    let policies: Vec<String> = policies.collect();
    if !policies.is_empty() {
        page.markup("<p>Policies of the trust by which the pupil was judged: ")
            .text(&policies.join("; "))
            .markup(".</p>\n");
    }
    page.markup("<p>Pupil ")
        .text(file.header.pupil.as_ref().map_or("", |pupil| &pupil.pupil_id));
    page.markup("</p>\n</section>\n");
}
