use super::*;
use crate::domain::calendar::{Calendar, DayKind};

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn options() -> CalendarOptions {
    CalendarOptions {
        year: AcademicYear::from_start_year(2025).unwrap(),
        format: None,
        style: None,
        first_day: None,
        last_day: None,
    }
}

/// An event of whole days; an empty end is none.
fn event(label: &str, first: &str, end: &str) -> String {
    let end = if end.is_empty() {
        String::new()
    } else {
        format!("DTEND;VALUE=DATE:{end}\n")
    };
    format!("BEGIN:VEVENT\nSUMMARY:{label}\nDTSTART;VALUE=DATE:{first}\n{end}END:VEVENT\n")
}

fn file(events: &[String]) -> String {
    format!("BEGIN:VCALENDAR\nVERSION:2.0\n{}END:VCALENDAR\n", events.concat())
}

fn read_text(text: &str) -> ReadCalendar {
    read(text.as_bytes(), &options()).unwrap()
}

fn calendar(read: &ReadCalendar) -> Calendar {
    Calendar::new([read.given.calendar.clone()])
}

fn open_days(read: &ReadCalendar) -> Vec<String> {
    let whole = day("2025-08-01")..=day("2026-07-31");
    calendar(read).open_days(whole).map(|date| date.to_string()).collect()
}

fn refusals(read: &ReadCalendar) -> Vec<(u32, &'static str)> {
    let refused = read.not_understood.iter();
    refused.map(|refused| (refused.line, refused.reason.name())).collect()
}

/// The terms of a council, an event each, with the holidays between them.
fn council() -> Vec<String> {
    vec![
        event("Autumn Term 1", "20250903", "20251025"),
        event("October half term", "20251027", "20251101"),
        event("Autumn Term 2", "20251103", "20251220"),
        event("Christmas holiday", "20251222", "20260103"),
        event("Spring Term", "20260105", "20260328"),
        event("February half term", "20260216", "20260221"),
        event("Summer Term", "20260413", "20260722"),
        event("Early May bank holiday", "20260504", ""),
        event("INSET day", "20250903", ""),
    ]
}

#[test]
fn events_that_are_terms_open_their_weekdays_and_closures_within_them_close() {
    let read = read_text(&file(&council()));
    assert_eq!(
        (read.format, read.style),
        (CalendarFormat::Icalendar, CalendarStyle::TermDays)
    );
    assert_eq!(refusals(&read), []);
    let calendar = calendar(&read);
    for (date, kind) in [
        ("2025-09-02", None),
        ("2025-09-03", Some(DayKind::Inset)),
        ("2025-09-04", Some(DayKind::School)),
        ("2025-09-06", None),
        ("2025-10-24", Some(DayKind::School)),
        ("2025-10-27", Some(DayKind::Closure)),
        ("2025-12-19", Some(DayKind::School)),
        ("2026-02-18", Some(DayKind::Closure)),
        ("2026-05-04", Some(DayKind::Closure)),
        ("2026-07-21", Some(DayKind::School)),
        ("2026-07-22", None),
    ] {
        assert_eq!(calendar.kind(day(date)), kind, "{date}");
    }
    let terms: Vec<_> = read
        .given
        .calendar
        .terms
        .iter()
        .map(|term| (term.name.as_str(), term.first.to_string()))
        .collect();
    assert_eq!(
        terms,
        [
            ("autumn", "2025-09-03".to_owned()),
            ("autumn", "2025-11-03".to_owned()),
            ("spring", "2026-01-05".to_owned()),
            ("summer", "2026-04-13".to_owned())
        ]
    );
    let bank_holiday = read
        .given
        .notes
        .iter()
        .find(|note| note.first == day("2026-05-04"))
        .unwrap();
    assert_eq!(bank_holiday.label, "Early May bank holiday");
}

#[test]
fn events_that_are_closures_leave_the_other_weekdays_open() {
    let events = [
        event("Summer holiday", "20250801", "20250903"),
        event("Half term", "20251027", "20251101"),
        event("Christmas break", "20251222", "20260103"),
        event("Easter holidays", "20260330", "20260411"),
        event("Bank holiday", "20260504", ""),
        event("INSET", "20260105", ""),
        event("Summer holiday", "20260722", "20260901"),
    ];
    let read = read_text(&file(&events));
    assert_eq!(read.style, CalendarStyle::Closures);
    let calendar = calendar(&read);
    assert!(!calendar.is_open(day("2025-09-02")) && calendar.is_open(day("2025-09-03")));
    assert!(calendar.is_open(day("2026-07-21")) && !calendar.is_open(day("2026-07-22")));
    assert_eq!(calendar.kind(day("2026-05-04")), Some(DayKind::Closure));
    assert_eq!(calendar.kind(day("2026-01-05")), Some(DayKind::Inset));
    assert_eq!(calendar.kind(day("2025-10-25")), None);
    let terms: Vec<_> = read
        .given
        .calendar
        .terms
        .iter()
        .map(|term| (term.name.as_str(), term.first))
        .collect();
    assert_eq!(
        terms,
        [
            ("autumn", day("2025-09-03")),
            ("spring", day("2026-01-05")),
            ("summer", day("2026-04-13"))
        ]
    );
}

#[test]
fn a_file_of_closures_has_to_say_when_the_school_year_begins_and_ends() {
    let text = file(&[event("Half term", "20251027", "20251101")]);
    assert_eq!(read(text.as_bytes(), &options()), Err(CalendarFileError::NoFirstDay));
    let mut said = options();
    said.first_day = Some(day("2025-09-03"));
    assert_eq!(read(text.as_bytes(), &said), Err(CalendarFileError::NoLastDay));
    said.last_day = Some(day("2026-07-21"));
    let read = read(text.as_bytes(), &said).unwrap();
    let open = open_days(&read);
    assert_eq!(
        (open[0].as_str(), open[open.len() - 1].as_str()),
        ("2025-09-03", "2026-07-21")
    );
    assert!(!open.contains(&"2025-10-28".to_owned()));
}

#[test]
fn each_day_of_term_may_be_an_event_of_its_own() {
    let mut events = Vec::new();
    for date in day("2025-09-03").iter_days().take(40) {
        let off = ["2025-09-12", "2025-09-15"].contains(&date.to_string().as_str());
        if chrono::Datelike::weekday(&date).number_from_monday() <= 5 && !off {
            events.push(event("School day", &date.format("%Y%m%d").to_string(), ""));
        }
    }
    let number = events.len();
    let read = read_text(&file(&events));
    assert_eq!(open_days(&read).len(), number);
    assert_eq!(calendar(&read).kind(day("2025-09-12")), Some(DayKind::Closure));
    assert_eq!(read.given.calendar.terms.len(), 1);
}

#[test]
fn an_unknown_label_is_never_an_open_day() {
    // Beside terms it opens nothing; among closures it is one. Either way it is named with its line.
    let beside_terms = [
        event("Autumn term", "20250903", "20251025"),
        event("Founders", "20251028", ""),
    ];
    let read_it = read_text(&file(&beside_terms));
    assert!(!open_days(&read_it).contains(&"2025-10-28".to_owned()));
    assert_eq!(refusals(&read_it), [(8, "UNKNOWN_LABEL")]);
    assert_eq!(read_it.not_understood[0].label, "Founders");

    let mut said = options();
    said.first_day = Some(day("2025-09-03"));
    said.last_day = Some(day("2026-07-21"));
    let among_closures = file(&[
        event("Half term", "20251027", "20251101"),
        event("Founders", "20251105", ""),
    ]);
    let read_it = read(among_closures.as_bytes(), &said).unwrap();
    assert!(!open_days(&read_it).contains(&"2025-11-05".to_owned()));
    assert_eq!(refusals(&read_it), [(8, "UNKNOWN_LABEL")]);

    // Whatever the caller says about the style.
    said.style = Some(CalendarStyle::TermDays);
    let nothing_known = file(&[event("Autumn", "20250903", "20251025")]);
    let refused = read(nothing_known.as_bytes(), &said).unwrap_err();
    assert_eq!(refused, CalendarFileError::Plan(PlanError::NoSchoolDay));
    assert_eq!(
        read(nothing_known.as_bytes(), &options()),
        Err(CalendarFileError::UnclearStyle)
    );
}

#[test]
fn days_on_which_terms_begin_and_end_are_paired_and_alone_open_nothing() {
    let events = [
        event("Autumn term begins", "20250903", ""),
        event("Autumn term ends", "20251219", ""),
        event("Half term", "20251027", "20251101"),
        event("Spring term begins", "20260105", ""),
    ];
    let read = read_text(&file(&events));
    let open = open_days(&read);
    assert_eq!(
        (open[0].as_str(), open[open.len() - 1].as_str()),
        ("2025-09-03", "2025-12-19")
    );
    assert!(!open.contains(&"2025-10-29".to_owned()));
    assert_eq!(refusals(&read), [(16, "UNPAIRED_DAY")]);
}

#[test]
fn odd_but_lawful_icalendar_is_read() {
    // Folded in the middle of a word and of a character; CRLF and LF mixed; an alarm with its own dates; no UID; parameters
    // with a colon in quotes; small letters; a blank line; a duration; times in UTC around midnight in London.
    let mut bytes = b"BEGIN:VCALENDAR\r\nX-WR-CALNAME:Dates\n".to_vec();
    bytes.extend(b"BEGIN:VTIMEZONE\nTZID:Europe/London\nBEGIN:DAYLIGHT\nDTSTART:19810329T010000\nRRULE:FREQ=YEARLY\nEND:DAYLIGHT\nEND:VTIMEZONE\n");
    bytes.extend(b"BEGIN:VEVENT\r\nSUMM\r\n ARY;LANGUAGE=\"en:GB\":Autumn te\n rm \xC3\r\n\t\xA9 1\r\n");
    bytes.extend(b"dtstart;value=date:20250903\r\n\r\nDTEND;VALUE=DATE:20250906\r\n");
    bytes.extend(b"BEGIN:VALARM\nTRIGGER:-P1D\nDTSTART:20260101\nSUMMARY:Wake up\nEND:VALARM\nEND:VEVENT\n");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.contains("VALARM"));
    bytes.extend(
        file(&[])
            .replace("BEGIN:VCALENDAR\nVERSION:2.0\nEND:VCALENDAR\n", "")
            .as_bytes(),
    );
    bytes.extend(b"BEGIN:VEVENT\nSUMMARY:Autumn term\nDTSTART;VALUE=DATE:20250908\nDURATION:P1W\nEND:VEVENT\n");
    bytes.extend(
        b"BEGIN:VEVENT\nSUMMARY:INSET\\, all staff\nDTSTART:20250908T230000Z\nDTEND:20250909T230000Z\nEND:VEVENT\n",
    );
    bytes.extend(b"BEGIN:VEVENT\nSUMMARY:Bank holiday\nDTSTART;TZID=Europe/London:20250911T000000\nEND:VEVENT\n");
    bytes.extend(
        b"BEGIN:VEVENT\nSUMMARY:Closed\nSTATUS:CANCELLED\nDTSTART;VALUE=DATE:20250912\nEND:VEVENT\nEND:VCALENDAR",
    );
    let read = read(&bytes, &options()).unwrap();
    // `é` makes a label of its own, which is not understood: it is there to be cut in two.
    assert_eq!(read.not_understood.len(), 1);
    assert_eq!(read.not_understood[0].label, "Autumn term \u{e9} 1");
    assert_eq!(open_days(&read), ["2025-09-08", "2025-09-10", "2025-09-12"]);
    assert_eq!(
        calendar(&read).kind(day("2025-09-09")),
        Some(DayKind::Inset),
        "the ninth in London"
    );
    assert_eq!(
        read.given
            .notes
            .iter()
            .find(|note| note.kind == DayKind::Inset)
            .unwrap()
            .label,
        "INSET, all staff"
    );
}

#[test]
fn an_end_is_exclusive_and_one_on_the_first_day_is_that_day() {
    for (end, last) in [
        ("20250906", "2025-09-05"),
        ("20250904", "2025-09-03"),
        ("20250903", "2025-09-03"),
        ("", "2025-09-03"),
    ] {
        let read = read_text(&file(&[event("Autumn term", "20250903", end)]));
        assert_eq!(open_days(&read).last().map(String::as_str), Some(last), "DTEND {end}");
    }
}

#[test]
fn events_repeat_as_their_rules_say_and_without_end_not_at_all() {
    let term = event("Autumn term", "20250901", "20251220");
    let closed = |rule: &str| {
        let event = event("School closed", "20250905", "").replace("END:VEVENT", &format!("{rule}\nEND:VEVENT"));
        read_text(&file(&[term.clone(), event]))
    };
    let closures = |read: &ReadCalendar| -> Vec<String> {
        let notes = read.given.notes.iter().filter(|note| note.kind == DayKind::Closure);
        notes.map(|note| note.first.format("%m-%d").to_string()).collect()
    };
    let read = closed("RRULE:FREQ=WEEKLY;COUNT=3\nEXDATE;VALUE=DATE:20250912");
    assert_eq!(closures(&read), ["09-05", "09-19"]);
    let read = closed("RRULE:FREQ=WEEKLY;INTERVAL=2;UNTIL=20251003T235959Z\nRDATE;VALUE=DATE:20251009,20251010");
    assert_eq!(closures(&read), ["09-05", "09-19", "10-03", "10-09"]);
    assert_eq!(read.given.notes.last().unwrap().last, day("2025-10-10"));
    let read = closed("RRULE:FREQ=MONTHLY;BYDAY=-1FR;UNTIL=20251231");
    assert_eq!(closures(&read), ["09-05", "09-26", "10-31", "11-28", "12-26"]);

    for (rule, reason) in [
        ("RRULE:FREQ=WEEKLY", "REPEATS_FOREVER"),
        ("RRULE:FREQ=HOURLY;COUNT=3", "UNREADABLE_REPETITION"),
        ("RRULE:FREQ=FORTNIGHTLY;COUNT=3", "UNREADABLE_REPETITION"),
        ("RRULE:FREQ=DAILY;COUNT=60000", "UNREADABLE_REPETITION"),
        ("RRULE:FREQ=WEEKLY;UNTIL=soon", "UNREADABLE_REPETITION"),
        ("EXRULE:FREQ=WEEKLY;COUNT=2", "UNREADABLE_DATE"),
        ("EXDATE:some day", "UNREADABLE_DATE"),
    ] {
        let read = closed(rule);
        assert_eq!(closures(&read), [""; 0], "{rule}");
        assert_eq!(refusals(&read), [(11, reason)], "{rule}");
    }
}

#[test]
fn a_rule_that_never_matches_is_given_up_soon() {
    let rule = "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=31;COUNT=5";
    let event = event("School closed", "20250905", "").replace("END:VEVENT", &format!("{rule}\nEND:VEVENT"));
    let read = read_text(&file(&[council().concat(), event]));
    assert!(read.entries > 0);
}

#[test]
fn one_time_of_a_repeating_event_may_be_moved_or_cancelled() {
    let series = "BEGIN:VEVENT\nUID:a\nSUMMARY:School closed\nDTSTART;VALUE=DATE:20250905\nRRULE:FREQ=WEEKLY;COUNT=3\nEND:VEVENT\n";
    let moved = "BEGIN:VEVENT\nUID:a\nRECURRENCE-ID;VALUE=DATE:20250912\nSUMMARY:School closed\nDTSTART;VALUE=DATE:20250911\nEND:VEVENT\n";
    let cancelled = "BEGIN:VEVENT\nUID:a\nRECURRENCE-ID;VALUE=DATE:20250919\nSTATUS:CANCELLED\nSUMMARY:School closed\nDTSTART;VALUE=DATE:20250919\nEND:VEVENT\n";
    let term = event("Autumn term", "20250901", "20250927");
    let read = read_text(&file(&[term, series.into(), moved.into(), cancelled.into()]));
    let notes: Vec<_> = read.given.notes.iter().map(|note| note.first.to_string()).collect();
    assert_eq!(notes, ["2025-09-05", "2025-09-11"]);
}

#[test]
fn what_cannot_be_read_is_named_with_its_line_and_the_rest_is_taken() {
    let odd = "BEGIN:VEVENT\nSUMMARY:Half term\nEND:VEVENT\n\
        BEGIN:VEVENT\nDTSTART;VALUE=DATE:20251028\nEND:VEVENT\n\
        BEGIN:VEVENT\nSUMMARY:Half term\nDTSTART;VALUE=DATE:20251027\nDTEND;VALUE=DATE:20251020\nEND:VEVENT\n\
        BEGIN:VEVENT\nSUMMARY:Half term\nDTSTART:27/10/2025\nEND:VEVENT\n\
        no content line\n\
        BEGIN:VEVENT\nSUMMARY:Holiday\nDTSTART;VALUE=DATE:20251027\nDTEND;VALUE=DATE:20271027\nEND:VEVENT\n\
        BEGIN:VEVENT\nSUMMARY:INSET\nDTSTART:20250910T153000\nDTEND:20250910T173000\nEND:VEVENT\n\
        BEGIN:VEVENT\nSUMMARY:Half term 1\nDTSTART;VALUE=DATE:20250903\nDTEND;VALUE=DATE:20251025\nEND:VEVENT\n\
        BEGIN:VEVENT\nSUMMARY:Half term\nDTSTART;VALUE=DATE:20251027\n";
    let text = format!("BEGIN:VCALENDAR\n{}{odd}", event("Autumn term", "20250903", "20251220"));
    let read = read_text(&text);
    assert_eq!(
        refusals(&read),
        [
            (7, "UNREADABLE_DATE"),
            (10, "NO_LABEL"),
            (13, "ENDS_BEFORE_IT_BEGINS"),
            (20, "UNREADABLE_DATE"),
            (22, "UNREADABLE_LINE"),
            (23, "TOO_LONG"),
            (28, "PART_OF_DAY"),
            (33, "UNKNOWN_LABEL"),
            (38, "CUT_SHORT"),
        ]
    );
    assert_eq!(open_days(&read).len(), 78);
}

#[test]
fn csv_is_read_with_or_without_a_header_in_any_order_of_columns() {
    let plain = "2025-09-03,2025-10-24,term,Autumn term\n2025-10-10,,inset,\n2025-10-25,,open,Open morning\n";
    let header = "Label;Kind;From;To\nAutumn term;Term;03/09/2025;24/10/2025\n;INSET;10/10/2025;\n\
        Open morning;open;25/10/2025;25/10/2025\n";
    let byte_order_mark = format!("\u{feff}{header}");
    for text in [plain, header, &byte_order_mark] {
        let read = read_text(text);
        assert_eq!(
            (read.format, read.style, read.entries),
            (CalendarFormat::Csv, CalendarStyle::TermDays, 3)
        );
        assert_eq!(refusals(&read), []);
        let calendar = calendar(&read);
        assert!(calendar.is_open(day("2025-10-24")), "an end is the last day");
        assert_eq!(calendar.kind(day("2025-10-10")), Some(DayKind::Inset));
        assert!(calendar.is_open(day("2025-10-25")), "a Saturday that was named");
    }
}

#[test]
fn rows_of_csv_that_cannot_be_read_are_named_with_their_lines() {
    let text = "start,end,kind,label\n2025-09-03,2025-10-24,term,Autumn\n\n2025-10-27,2025-10-31,party,Half term\n\
        soon,,closure,x\n2025-11-03,2025-11-01,closure,x\n,,,\n2025-11-05,,,\n2025-11-06,\"x,closure\n2025-11-07,,,Fireworks\n";
    let read = read_text(text);
    assert_eq!(
        refusals(&read),
        [
            (4, "UNKNOWN_KIND"),
            (5, "UNREADABLE_DATE"),
            (6, "ENDS_BEFORE_IT_BEGINS"),
            (8, "NO_LABEL"),
            (9, "UNREADABLE_LINE"),
            (10, "UNKNOWN_LABEL"),
        ]
    );
}

#[test]
fn entries_of_other_years_are_left_out_and_counted() {
    let events = [
        event("Summer term", "20250601", "20250723"),
        event("Autumn term", "20250903", "20251220"),
        event("Autumn term", "20260902", "20261219"),
    ];
    let read = read_text(&file(&events));
    assert_eq!((read.entries, read.entries_outside_year), (1, 2));
    let mut other = options();
    other.year = AcademicYear::from_start_year(2030).unwrap();
    assert_eq!(
        super::read(file(&events).as_bytes(), &other),
        Err(CalendarFileError::NoEntries)
    );
}

#[test]
fn a_file_that_is_something_else_is_refused() {
    for (bytes, expected) in [
        (
            &b"Dear parents,\nterm begins soon.\n"[..],
            CalendarFileError::UnknownFormat,
        ),
        (b"BEGIN:VCALENDAR\nEND:VCALENDAR\n", CalendarFileError::NoEntries),
        (b"", CalendarFileError::Text(ImportError::Empty)),
    ] {
        assert_eq!(read(bytes, &options()), Err(expected));
    }
    assert!(matches!(read(b"%PDF-1.7", &options()), Err(CalendarFileError::Text(_))));
    assert_eq!(
        read(&vec![b' '; CALENDAR_BYTES_MAX + 1], &options()),
        Err(CalendarFileError::TooLarge)
    );
    let many = event("Autumn term", "20250903", "").repeat(ENTRIES_MAX + 1);
    assert_eq!(
        read(file(&[many]).as_bytes(), &options()),
        Err(CalendarFileError::TooManyEntries)
    );
}

proptest::proptest! {
    #[test]
    fn no_file_makes_the_reader_fail(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let mut calendar = b"BEGIN:VCALENDAR\nBEGIN:VEVENT\n".to_vec();
        calendar.extend(&bytes);
        let _ = read(&calendar, &options());
        let _ = read(&bytes, &options());
    }

    #[test]
    fn lines_in_any_order_make_a_calendar_or_an_error(picks in proptest::collection::vec(0..18usize, 0..60)) {
        const LINES: [&str; 18] = [
            "BEGIN:VEVENT", "END:VEVENT", "BEGIN:VALARM", "END:VALARM", "SUMMARY:Autumn term", "SUMMARY:Half term",
            "DTSTART;VALUE=DATE:20250903", "DTSTART:20251026T003000Z", "DTEND;VALUE=DATE:20251025", "DTEND:99991231",
            "DURATION:P9999999W", "DURATION:-P1D", "RRULE:FREQ=YEARLY;COUNT=9", "EXDATE:20250904", "RDATE:00010101",
            "STATUS:CANCELLED", "END:VCALENDAR", "RECURRENCE-ID:20250903",
        ];
        let lines: Vec<&str> = std::iter::once("BEGIN:VCALENDAR").chain(picks.into_iter().map(|pick| LINES[pick])).collect();
        if let Ok(found) = read(lines.join("\n").as_bytes(), &options()) {
            proptest::prop_assert!(!open_days(&found).is_empty());
        }
    }
}
