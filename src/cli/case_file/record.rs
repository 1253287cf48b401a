//! Of a case file: thresholds and notices, holds, corrections of marks, changes of the record, and the register itself.

use std::collections::{BTreeMap, HashMap};

use chrono::{Datelike as _, Days, NaiveDate};

use super::CaseFile;
use super::html::{Html, day_text, lines_of, person_text, session_words, short_day, time_day_text};
use super::page::year_text;
use crate::cli::output::stage_text;
use crate::domain::code::{AttendanceCode, Category};
use crate::domain::register::CLEAR;
use crate::domain::session::AcademicYear;
use crate::domain::tally::Tally;
use crate::proto::{
    Hold, HoldKind, PenaltyNotice, PupilChange, PupilChangeKind, Register, ThresholdEvent, ThresholdKind,
};

/// Writes the sections.
pub fn sections(page: &mut Html, file: &CaseFile) {
    thresholds(page, file);
    holds(page, file);
    corrections(page, file);
    changes(page, file);
    registers(page, file);
}

fn thresholds(page: &mut Html, file: &CaseFile) {
    page.section("Thresholds and penalty notices");
    if file.thresholds.is_empty() {
        page.nothing("No threshold was reached.");
    } else {
        let headings = ["Threshold", "Proved by", "Sessions", "Raised", "Cleared"];
        let rows: Vec<Vec<String>> = file.thresholds.iter().map(threshold_row).collect();
        page.table(
            "thresholds",
            "Thresholds by the session that proves them",
            &headings,
            &rows,
        );
    }
    if file.notices.is_empty() {
        page.nothing("No penalty notice is on record.");
    } else {
        let headings = ["Issued", "Reference", "Sessions", "Recorded", "Cancelled"];
        let rows: Vec<Vec<String>> = file.notices.iter().map(notice_row).collect();
        page.table("thresholds", "Penalty notices", &headings, &rows);
    }
    page.markup("</section>\n");
}

fn threshold_row(event: &ThresholdEvent) -> Vec<String> {
    let threshold = event.threshold.clone().unwrap_or_default();
    let name = match threshold.kind() {
        ThresholdKind::IllnessCumulative => "15 days of illness in the academic year",
        ThresholdKind::IllnessConsecutive => "15 days of illness in a row",
        ThresholdKind::IllnessExpected => "15 days of illness expected",
        ThresholdKind::UnauthorisedDays => "10 school days of continuous unauthorised absence",
        ThresholdKind::PenaltyNotice => "10 unauthorised sessions within ten school weeks",
        ThresholdKind::AbsencesInRow => "Absences in a row, by the trust's policy",
        ThresholdKind::Spells => "Spells of absence, by the trust's policy",
        ThresholdKind::WeekFall => "Fall from one week to the next, by the trust's policy",
        ThresholdKind::Unspecified => "",
    };
    let (first, last) = (threshold.sessions.first(), threshold.sessions.last());
    let sessions = match threshold.sessions.len() {
        0 => String::new(),
        count => format!("{count}: {} to {}", session_words(first), session_words(last)),
    };
    vec![
        name.to_owned(),
        session_words(threshold.proved_by.as_ref()),
        sessions,
        time_day_text(event.raised_at.as_ref()),
        time_day_text(event.cleared_at.as_ref()),
    ]
}

fn notice_row(notice: &PenaltyNotice) -> Vec<String> {
    let sessions: Vec<String> = notice
        .sessions
        .iter()
        .map(|session| session_words(Some(session)))
        .collect();
    let recorded = [
        person_text(notice.recorded_by.as_ref()),
        time_day_text(notice.recorded_at.as_ref()),
    ];
    let cancelled = [
        person_text(notice.cancelled_by.as_ref()),
        time_day_text(notice.cancelled_at.as_ref()),
    ];
    vec![
        day_text(notice.issued_on.as_ref()),
        notice.reference.clone(),
        sessions.join(", "),
        lines_of(&[&recorded[0], &recorded[1]]),
        lines_of(&[&notice.cancelled_reason, &cancelled[0], &cancelled[1]]),
    ]
}

fn holds(page: &mut Html, file: &CaseFile) {
    page.section("Holds and confirmed falls");
    if file.holds.is_empty() {
        page.nothing("Nobody has held the pupil at a stage, or confirmed a fall.");
    } else {
        let headings = ["From", "To", "What", "Why", "Decided"];
        let rows: Vec<Vec<String>> = file.holds.iter().map(hold_row).collect();
        page.table("holds", "Decisions about the stage", &headings, &rows);
    }
    page.markup("</section>\n");
}

fn hold_row(hold: &Hold) -> Vec<String> {
    let what = match hold.kind() {
        HoldKind::AtLeast => format!("At stage {} at least", stage_text(hold.stage)),
        HoldKind::DelayFall => "No fall to a stage of lesser need".to_owned(),
        HoldKind::ConfirmFall => "Fall confirmed".to_owned(),
        HoldKind::Unspecified => String::new(),
    };
    let mut to = day_text(hold.to_date.as_ref());
    let mut decided = vec![
        person_text(hold.created_by.as_ref()),
        time_day_text(hold.created_at.as_ref()),
    ];
    let mut why = hold.reason.clone();
    if hold.ended_on.is_some() {
        to = format!("{} (set to {to})", day_text(hold.ended_on.as_ref()));
        why = lines_of(&[&why, &format!("Ended early: {}", hold.ended_reason)]);
        let ended_by = person_text(hold.ended_by.as_ref());
        decided.push(format!(
            "ended by {ended_by}, {}",
            time_day_text(hold.ended_at.as_ref())
        ));
    }
    vec![day_text(hold.from_date.as_ref()), to, what, why, decided.join("\n")]
}

/// The code of a mark as registers write it; a dash where there is none.
fn code_text(number: i32) -> &'static str {
    let byte = u8::try_from(number).unwrap_or_default();
    if byte == CLEAR {
        return "no mark";
    }
    AttendanceCode::from_byte(byte).map_or("–", AttendanceCode::as_str)
}

fn corrections(page: &mut Html, file: &CaseFile) {
    page.section("Corrections of marks");
    if file.revisions.is_empty() {
        page.nothing("No mark was ever changed.");
    } else {
        let headings = ["Session", "Original", "Changed to", "Why", "By", "Recorded"];
        let rows = file.revisions.iter().map(|revision| {
            let correction = revision.correction.clone().unwrap_or_default();
            vec![
                session_words(revision.session.as_ref()),
                code_text(revision.old_code).to_owned(),
                code_text(revision.new_code).to_owned(),
                correction.reason,
                person_text(correction.corrected_by.as_ref()),
                time_day_text(revision.recorded_at.as_ref()),
            ]
        });
        page.table(
            "corrections",
            "Changed marks, the latest first",
            &headings,
            &rows.collect::<Vec<_>>(),
        );
    }
    page.markup("</section>\n");
}

fn changes(page: &mut Html, file: &CaseFile) {
    page.section("Moves, merges and identifiers");
    if file.changes.is_empty() {
        page.nothing("The record was neither moved nor merged.");
    } else {
        let headings = ["Recorded", "What", "Why", "By"];
        let rows: Vec<Vec<String>> = file.changes.iter().map(|change| change_row(file, change)).collect();
        page.table("changes", "Changes of the record, the latest first", &headings, &rows);
    }
    page.markup("</section>\n");
}

fn change_row(file: &CaseFile, change: &PupilChange) -> Vec<String> {
    let pupil = file.header.pupil.clone().unwrap_or_default();
    let school_of = |enrolment_id: &str| {
        let at = pupil
            .enrolments
            .iter()
            .find(|enrolment| enrolment.enrolment_id == enrolment_id);
        at.map_or("a school", |at| file.school_name(&at.school)).to_owned()
    };
    let (at, last) = (school_of(&change.enrolment_id), day_text(change.last_date.as_ref()));
    let what = match change.kind() {
        PupilChangeKind::Transferred => {
            format!(
                "Transferred from {at} to {}, last day {last}",
                school_of(&change.new_enrolment_id)
            )
        }
        PupilChangeKind::EnrolmentEnded => format!("Left {at}, last day {last}"),
        PupilChangeKind::EnrolmentReopened => format!("On roll at {at} after all"),
        PupilChangeKind::Merged => format!("Merged with the record {}", change.other_pupil_id),
        PupilChangeKind::Unmerged => format!("Parted again from the record {}", change.other_pupil_id),
        PupilChangeKind::IdentifierReassigned => {
            let mis = change.mis_identifier.clone().unwrap_or_default();
            format!("The identifier {} {} went to another pupil", mis.source, mis.value)
        }
        PupilChangeKind::Unspecified => String::new(),
    };
    vec![
        time_day_text(change.recorded_at.as_ref()),
        what,
        change.reason.clone(),
        person_text(change.changed_by.as_ref()),
    ]
}

const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// A week of a register: its Monday, and the marks of its fourteen sessions.
type Week = (NaiveDate, [u8; 14]);

/// The weeks of a register in which there is a mark.
fn weeks_of(register: &Register) -> Vec<Week> {
    let Some(year) = AcademicYear::from_start_year(register.academic_year) else {
        return Vec::new();
    };
    let mut weeks: BTreeMap<NaiveDate, [u8; 14]> = BTreeMap::new();
    for (index, mark) in register.marks.iter().enumerate().filter(|(_, mark)| **mark != 0) {
        let date = year.session_at(index).date;
        let day = date.weekday().num_days_from_monday();
        let week = weeks.entry(date - Days::new(u64::from(day))).or_default();
        week[2 * day as usize + index % 2] = u8::try_from(*mark).unwrap_or_default();
    }
    weeks.into_iter().collect()
}

fn registers(page: &mut Html, file: &CaseFile) {
    page.markup("<section class=\"registers\">\n<h2>Register</h2>\n");
    let marked: Vec<&Register> = file
        .registers
        .iter()
        .filter(|register| !register.marks.is_empty())
        .collect();
    if marked.is_empty() {
        page.nothing("No mark is on record.");
    }
    for register in &marked {
        page.markup("<h3>")
            .text(file.school_name(&register.school_id))
            .markup(", ");
        page.text(&year_text(register.academic_year)).markup("</h3>\n");
        let tally = register.tally.unwrap_or_default();
        let counts = format!(
            "To date {} sessions attended of {} possible, {} of authorised and {} of unauthorised absence.",
            tally.attended, tally.possible, tally.authorised, tally.unauthorised
        );
        page.markup("<p>").text(&counts).markup("</p>\n");
        grid(page, &weeks_of(register));
    }
    if !marked.is_empty() {
        legend(page, &marked);
    }
    page.markup("</section>\n");
}

fn grid(page: &mut Html, weeks: &[Week]) {
    // Weekends have columns only where one was marked.
    let last = weeks
        .iter()
        .filter_map(|(_, marks)| marks.iter().rposition(|mark| *mark != 0))
        .max();
    let days = last.map_or(5, |last| (last / 2 + 1).max(5));
    page.markup("<table class=\"grid\">\n<caption>Marks by week</caption>\n<thead>\n");
    page.markup("<tr><th scope=\"col\" rowspan=\"2\">Week beginning</th>");
    for day in &WEEKDAYS[..days] {
        page.markup("<th scope=\"colgroup\" colspan=\"2\">")
            .text(day)
            .markup("</th>");
    }
    page.markup(
        "<th scope=\"col\" rowspan=\"2\">Attended</th><th scope=\"col\" rowspan=\"2\">Possible</th></tr>\n<tr>",
    );
    for _ in 0..days {
        page.markup("<th scope=\"col\">AM</th><th scope=\"col\">PM</th>");
    }
    page.markup("</tr>\n</thead>\n<tbody>\n");
    for (monday, marks) in weeks {
        page.markup("<tr><th scope=\"row\">")
            .text(&short_day(*monday))
            .markup("</th>");
        for mark in &marks[..2 * days] {
            let code = AttendanceCode::from_byte(*mark);
            page.markup(class_of(code.map(AttendanceCode::category)));
            page.text(code.map_or("", AttendanceCode::as_str)).markup("</td>");
        }
        let tally = Tally::of_marks(marks);
        for count in [tally.attended, tally.possible] {
            page.markup("<td class=\"number\">")
                .text(&count.to_string())
                .markup("</td>");
        }
        page.markup("</tr>\n");
    }
    page.markup("</tbody>\n</table>\n");
}

/// The beginning of a mark's cell.
const fn class_of(category: Option<Category>) -> &'static str {
    match category {
        None => "<td>",
        Some(Category::Attending) => "<td class=\"attending\">",
        Some(Category::ApprovedEducationalActivity) => "<td class=\"educational\">",
        Some(Category::AuthorisedAbsence) => "<td class=\"authorised\">",
        Some(Category::UnauthorisedAbsence) => "<td class=\"unauthorised\">",
        Some(Category::NotPossible | Category::Administrative) => "<td class=\"not-possible\">",
    }
}

/// The project's own table of codes.
const CODES: &str = include_str!("../../../data/attendance_codes.csv");

/// What each code means, in words.
fn meanings() -> HashMap<String, String> {
    let mut reader = csv::Reader::from_reader(CODES.as_bytes());
    let rows = reader.records().filter_map(Result::ok);
    let rows = rows.filter_map(|row| Some((row.get(0)?.to_owned(), row.get(1)?.to_owned())));
    rows.collect()
}

fn legend(page: &mut Html, registers: &[&Register]) {
    let mut counts: BTreeMap<u8, usize> = BTreeMap::new();
    for mark in registers
        .iter()
        .flat_map(|register| &register.marks)
        .filter(|mark| **mark != 0)
    {
        *counts.entry(u8::try_from(*mark).unwrap_or_default()).or_default() += 1;
    }
    let meanings = meanings();
    let rows = counts.into_iter().filter_map(|(byte, count)| {
        let code = AttendanceCode::from_byte(byte)?;
        Some(vec![
            code.as_str().to_owned(),
            meanings.get(code.as_str()).cloned().unwrap_or_default(),
            category_text(code.category()).to_owned(),
            count.to_string(),
        ])
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let headings = ["Code", "Meaning", "Counts as", "Sessions"];
    page.table(
        "codes",
        "The codes of these registers, with marks entered ahead of time",
        &headings,
        &rows,
    );
}

const fn category_text(category: Category) -> &'static str {
    match category {
        Category::Attending => "attended",
        Category::ApprovedEducationalActivity => "attended: approved educational activity",
        Category::AuthorisedAbsence => "authorised absence",
        Category::UnauthorisedAbsence => "unauthorised absence",
        Category::NotPossible => "not a possible session",
        Category::Administrative => "not counted",
    }
}
