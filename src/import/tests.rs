//! Whole files, as schools have them.

use proptest::prelude::*;

use super::*;

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/import/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

fn options() -> ReadOptions {
    ReadOptions {
        has_source: true,
        school: Some(Urn::parse("100001").unwrap()),
        ..ReadOptions::default()
    }
}

fn options_for(year: i32) -> ReadOptions {
    ReadOptions {
        academic_year: AcademicYear::from_start_year(year),
        ..options()
    }
}

fn read_text(text: &str) -> Result<Import, ImportError> {
    read(text.as_bytes(), &options())
}

/// The marks as `family name, session, code`.
fn marks(import: &Import) -> Vec<String> {
    import
        .marks
        .iter()
        .map(|mark| {
            let pupil = &import.pupils[mark.pupil];
            format!("{} {} {}", pupil.family_name, mark.session, mark.code)
        })
        .collect()
}

fn refusals(import: &Import) -> Vec<(u32, &str, &str)> {
    import
        .refused
        .iter()
        .map(|refused| {
            let header = refused.column.as_ref().map_or("", |column| &column.header);
            (refused.line, header, refused.reason.as_str())
        })
        .collect()
}

fn warnings(import: &Import) -> Vec<&str> {
    import.warnings.iter().map(|warning| warning.kind.as_str()).collect()
}

#[test]
fn the_long_layout_is_a_row_a_mark() {
    let import = read(&fixture("long.csv"), &options()).unwrap();
    assert_eq!(import.layout, Layout::Long);
    assert_eq!(
        marks(&import),
        [
            "O'Neil 2025-09-08 AM /",
            "Smith, Jr 2025-09-08 AM L",
            "Iqbal 2025-09-08 AM J1"
        ]
    );
    assert_eq!(import.marks[1].minutes_late, Some(12));
    assert_eq!((import.marks[1].line, import.marks[1].column), (3, 6));
    assert_eq!(import.pupils[0].given_name, "Ada");
    assert_eq!(import.refused, []);
    assert_eq!(warnings(&import), ["AMBIGUOUS_DATES", "MINUTES_LATE_NOT_KEPT"]);
}

#[test]
fn the_wide_layout_is_a_column_a_session() {
    let import = read(&fixture("wide.csv"), &options_for(2025)).unwrap();
    assert_eq!(import.layout, Layout::Wide);
    assert_eq!(
        marks(&import),
        [
            "O'Neil 2025-09-08 AM /",
            "O'Neil 2025-09-08 PM \\",
            "O'Neil 2025-09-09 AM C2"
        ]
    );
    assert_eq!(import.rows.sessions_blank, 1);
    assert_eq!(warnings(&import), [""; 0]);
}

#[test]
fn dates_without_a_year_are_refused_where_nothing_says_the_year() {
    let message = read(&fixture("wide.csv"), &options()).unwrap_err().to_string();
    assert!(message.contains("--year"), "{message}");
    let long = read_text("UPN,Date,Session,Mark\nQ999100125001,08/09,AM,/\n").unwrap();
    assert_eq!(refusals(&long), [(2, "Date", "DATE_WITHOUT_YEAR")]);
}

#[test]
fn the_weekly_layout_is_a_run_from_monday_morning_on() {
    let import = read(&fixture("weekly.csv"), &options()).unwrap();
    assert_eq!(import.layout, Layout::Weekly);
    let runs = marks(&import);
    assert_eq!(runs.len(), 10);
    assert_eq!(
        [&runs[0], &runs[4], &runs[9]],
        [
            "O'Neil 2025-09-08 AM /",
            "O'Neil 2025-09-10 AM I",
            "O'Neil 2025-09-12 PM \\"
        ]
    );
    assert_eq!(import.pupils[0].mis_ids, [(0, "000123".to_owned())]);
}

#[test]
fn a_week_may_be_short_and_must_begin_on_a_monday() {
    let head = "UPN,Week Beginning,Marks\nQ999100125001,";
    let import = read_text(&format!("{head}15/09/2025,/\\ ##\n")).unwrap();
    assert_eq!(marks(&import).len(), 4);
    assert!(warnings(&import).contains(&"RUN_SHORT"));
    let import = read_text(&format!("{head}16/09/2025,/\\ ##\n")).unwrap();
    assert_eq!(refusals(&import), [(2, "Week Beginning", "WEEK_NOT_MONDAY")]);
    assert_eq!(import.pupils, []);
    for (run, reason) in [
        ("/\\/\\/\\/\\/\\/\\", "RUN_TOO_LONG"),
        ("/\\  /\\", "RUN_AMBIGUOUS"),
        ("1/", "MARK_LEADING_DIGIT"),
    ] {
        let import = read_text(&format!("{head}15/09/2025,{run}\n")).unwrap();
        assert_eq!(refusals(&import), [(2, "Marks", reason)]);
    }
}

#[test]
fn a_run_that_lost_its_backslashes_is_refused_and_a_whole_week_is_not_second_guessed() {
    let head = "UPN,Week Beginning,Marks\nQ999100125001,15/09/2025,";
    for run in ["///II/O", "\\/\\/"] {
        let import = read_text(&format!("{head}{run}\n")).unwrap();
        assert_eq!(refusals(&import), [(2, "Marks", "RUN_AMBIGUOUS")], "{run}");
    }
    let import = read_text(&format!("{head}//////////\n")).unwrap();
    assert_eq!((import.marks.len(), import.refused.len()), (10, 0));
}

#[test]
fn the_week_of_a_run_may_stand_in_the_title_alone() {
    let import = read_text("Week beginning 15/09/2025\nUPN,Marks\nQ999100125001,/\\\n").unwrap();
    assert_eq!(import.layout, Layout::Weekly);
    assert_eq!(import.marks[1].session.to_string(), "2025-09-15 PM");
}

#[test]
fn encodings_and_delimiters_are_found() {
    let plain = read(&fixture("long.csv"), &options()).unwrap();
    for (name, encoding, delimiter) in [
        ("long_bom.csv", TextEncoding::Utf8, ','),
        ("long_windows1252.csv", TextEncoding::Windows1252, ','),
        ("long_utf16.csv", TextEncoding::Utf16, '\t'),
        ("long_semicolon.csv", TextEncoding::Utf8, ';'),
    ] {
        let import = read(&fixture(name), &options()).unwrap();
        assert_eq!((import.encoding, import.delimiter), (encoding, delimiter), "{name}");
        assert_eq!(import.marks, plain.marks, "{name}");
        if encoding != TextEncoding::Utf8 {
            assert_eq!(import.pupils[2].family_name, "Zoë");
        }
    }
    let named = read_text("sep=;\r\nUPN;Date;Session;Mark\nQ999100125001;13/09/2025;AM;/\n");
    assert_eq!(named.unwrap().marks[0].line, 3);
}

#[test]
fn titles_two_header_rows_repeated_pages_and_footers_are_tolerated() {
    let import = read(&fixture("wide_titles_pages.csv"), &options()).unwrap();
    assert_eq!(
        marks(&import),
        [
            "O'Neil 2025-09-08 AM /",
            "O'Neil 2025-09-08 PM \\",
            "O'Neil 2025-09-09 AM L",
            "O'Neil 2025-09-09 PM \\",
            "Smith 2025-09-08 AM /",
            "Smith 2025-09-09 PM #",
            "Iqbal 2025-09-09 AM /",
            "Iqbal 2025-09-09 PM Y7",
        ]
    );
    assert_eq!(import.marks[2].minutes_late, Some(12));
    assert_eq!(import.refused, []);
    let skipped: Vec<(u32, Skipped)> = import.skipped.iter().map(|row| (row.line, row.kind)).collect();
    assert_eq!(
        skipped,
        [
            (9, Skipped::Note),
            (11, Skipped::Repeated),
            (12, Skipped::Repeated),
            (13, Skipped::Repeated),
            (15, Skipped::Footer),
            (16, Skipped::Footer),
        ]
    );
    assert_eq!(import.mapping.header_line, 6);
}

#[test]
fn a_dash_is_neither_a_mark_nor_a_blank_and_shows_when_a_pupil_joined() {
    let import = read(&fixture("wide_titles_pages.csv"), &options()).unwrap();
    assert_eq!((import.rows.sessions_blank, import.rows.sessions_not_on_roll), (1, 3));
    let joined = |pupil: usize| import.pupils[pupil].enrolments[0].joined_with_first_mark();
    assert!(!joined(0) && !joined(1) && joined(2));
}

#[test]
fn a_title_may_hold_the_only_dates() {
    let week = read_text("From,15/09/2025,To,19/09/2025\nUPN,Mon AM,Mon PM,Fri PM\nQ999100125001,/,\\,I\n").unwrap();
    assert_eq!(week.marks[2].session.to_string(), "2025-09-19 PM");
    let day = read_text("Registers for 15/09/2025\nUPN,AM,PM\nQ999100125001,/,\\\n").unwrap();
    assert_eq!(day.marks[1].session.to_string(), "2025-09-15 PM");
    let long = read_text("15/09/2025\nUPN,Session,Mark\nQ999100125001,P,\\\n").unwrap();
    assert_eq!(long.marks[0].session.to_string(), "2025-09-15 PM");
    let none = read_text("UPN,Mon AM,Mon PM\nQ999100125001,/,\\\n").unwrap_err();
    assert!(matches!(none, ImportError::NoDates { .. }));
}

#[test]
fn a_column_may_be_a_whole_day() {
    let import = read_text("UPN,Reg,15/09/2025,16/09/2025\nQ999100125001,5A,/\\,I\n").unwrap();
    assert_eq!(marks(&import).len(), 2);
    assert_eq!(refusals(&import), [(2, "16/09/2025", "MARK_COUNT")]);
}

#[test]
fn a_file_of_pupils_alone_is_read() {
    let import = read(&fixture("pupils.csv"), &options()).unwrap();
    assert_eq!(import.layout, Layout::Pupils);
    assert_eq!(import.pupils.len(), 3);
    assert_eq!(import.pupils[0].date_of_birth.unwrap().to_string(), "2016-04-03");
    assert_eq!(import.pupils[1].upn, None);
    assert_eq!(import.pupils[1].mis_ids, [(0, "000124".to_owned())]);
    assert!(import.pupils[2].upn.as_ref().unwrap().is_temporary());
    let laestab = |text| SchoolReference::Laestab(crate::domain::identifiers::Laestab::parse(text).unwrap());
    assert_eq!(import.schools, [laestab("9991001"), laestab("9990012")]);
    assert_eq!(warnings(&import), ["DUPLICATE_COLUMN", "SEX_UNKNOWN"]);
}

#[test]
fn every_row_that_is_not_taken_has_its_line_column_and_reason() {
    let import = read(&fixture("refused_rows.csv"), &options()).unwrap();
    assert_eq!(
        refusals(&import),
        [
            (3, "UPN", "UPN_SHAPE"),
            (4, "UPN", "SPREADSHEET_NUMBER"),
            (5, "Adno", "SPREADSHEET_NUMBER"),
            (6, "UPN", "NO_IDENTIFIER"),
            (7, "Date", "DATE_UNREADABLE"),
            (8, "Date", "DATE_BLANK"),
            (9, "Session", "LESSON_REGISTER"),
            (10, "Session", "SESSION_BLANK"),
            (11, "Session", "SESSION_UNREADABLE"),
            (12, "Mark", "MARK_UNKNOWN"),
            (13, "Mark", "MARK_LEADING_DIGIT"),
            (14, "Mark", "MARK_COUNT"),
            (15, "Mark", "MINUTES_UNREADABLE"),
            (16, "Mark", "MARK_CONFLICT"),
            (17, "Adno", "IDENTIFIER_CONFLICT"),
            (18, "", "ROW_TOO_WIDE"),
            (19, "", "UNBALANCED_QUOTE"),
        ]
    );
    assert_eq!((import.rows.taken, import.rows.refused, import.marks.len()), (2, 17, 2));
}

#[test]
fn a_refusal_repeats_no_name_and_no_upn() {
    let import = read(&fixture("refused_rows.csv"), &options()).unwrap();
    for refused in &import.refused {
        for private in ["Neil", "Iqbal", "Q9991", "Sheet", "Nobody"] {
            assert!(!refused.message.contains(private), "{}", refused.message);
        }
    }
}

#[test]
fn one_bad_cell_of_a_wide_row_costs_its_own_mark_only() {
    let import =
        read_text("UPN,15/09/2025 AM,15/09/2025 PM,16/09/2025 09:00,Fri 16/09/2025 PM\nQ999100125001,/,x,/,/\n")
            .unwrap();
    assert_eq!(marks(&import).len(), 1);
    assert_eq!(
        refusals(&import),
        [
            (2, "15/09/2025 PM", "MARK_UNKNOWN"),
            (2, "16/09/2025 09:00", "LESSON_REGISTER"),
            (2, "Fri 16/09/2025 PM", "WEEKDAY_DIFFERS"),
        ]
    );
    assert!(import.refused.iter().all(|refused| !refused.whole_row));
    assert_eq!((import.rows.taken, import.rows.refused), (1, 0));
}

#[test]
fn a_class_summary_and_lesson_registers_are_refused_with_the_reason() {
    assert_eq!(
        read(&fixture("class_summary.csv"), &options()).unwrap_err(),
        ImportError::ClassSummary
    );
    for text in [
        "UPN,Date,Period,Mark\nQ999100125001,08/09/2025,3,/\n",
        "UPN,Date,Start Time,Mark\nQ999100125001,08/09/2025,09:00,/\n",
        "UPN,Name,Mon 08/09/2025 09:00\nQ999100125001,x,/\n",
    ] {
        assert_eq!(read_text(text).unwrap_err(), ImportError::LessonRegister, "{text}");
    }
    assert_eq!(
        read(&fixture("lessons.csv"), &options()).unwrap_err(),
        ImportError::LessonRegister
    );
}

#[test]
fn a_workbook_or_a_web_page_is_named_in_the_refusal() {
    let refusal = |name| read(&fixture(name), &options()).unwrap_err().to_string();
    assert!(refusal("workbook.csv").contains(".xlsx"));
    assert!(refusal("report.xls").contains("HTML"));
}

#[test]
fn month_first_is_found_where_one_date_of_the_column_shows_it() {
    let import = read(&fixture("month_first.csv"), &options()).unwrap();
    let dates: Vec<String> = import.marks.iter().map(|mark| mark.session.date.to_string()).collect();
    assert_eq!(dates, ["2005-01-02", "2005-03-20"]);
}

#[test]
fn the_same_pupil_twice_is_one_pupil() {
    let import = read_text(
        "UPN,Adno,URN,Name,Date,Session,Mark\n\
         Q999100125001,7,100001,\"O'Neil, Ada\",15/09/2025,AM,/\n\
         ,7,100001,,15/09/2025,PM,\\\n\
         q999100125001 ,,100002,,15/09/2025,AM,D\n\
         Q999100125001,7,100001,,15/09/2025,AM,/\n",
    )
    .unwrap();
    assert_eq!(import.pupils.len(), 1);
    assert_eq!(import.pupils[0].enrolments.len(), 2);
    assert_eq!((import.marks.len(), import.rows.marks_repeated), (3, 1));
    assert_eq!(import.refused, []);
}

#[test]
fn a_pupil_without_a_upn_needs_the_systems_identifier_and_the_systems_name() {
    let text = "UPN,Adno,Name\n,7,\"A, B\"\nUN1,8,\"C, D\"\nQ999100125001,9,\"E, F\"\n";
    assert_eq!(read_text(text).unwrap().pupils.len(), 3);
    let nameless = ReadOptions {
        has_source: false,
        ..options()
    };
    let import = read(text.as_bytes(), &nameless).unwrap();
    assert_eq!(refusals(&import), [(2, "Adno", "NO_SOURCE"), (3, "Adno", "NO_SOURCE")]);
    assert_eq!(import.pupils[0].mis_ids, []);
    assert!(warnings(&import).contains(&"SOURCE_MISSING"));
}

#[test]
fn a_wrong_check_letter_is_taken_with_a_warning() {
    let import = read_text("UPN,Surname\nA999100125001,x\nX100100125001,y\n").unwrap();
    assert_eq!(import.pupils.len(), 2);
    assert_eq!(warnings(&import), ["UPN_CHECK_LETTER", "UPN_LOCAL_AUTHORITY"]);
    assert_eq!(import.warnings[0].lines, 2);
}

#[test]
fn a_mapping_file_overrides_what_was_found() {
    let text = "Ref;When;Half;What;UPN\nQ999100125001;1/2/2025;AM;Present;none\n";
    let mapping = MappingFile::parse(
        "date_order = \"mdy\"\nheader_line = 1\ndelimiter = \";\"\nignore = [\"UPN\"]\n[columns]\nupn = \"Ref\"\n\
         date = \"when\"\nsession = 3\nmark = \"What\"\n[codes]\nPresent = \"/\"\n",
    )
    .unwrap();
    let import = read(text.as_bytes(), &ReadOptions { mapping, ..options() }).unwrap();
    assert_eq!(import.marks[0].session.to_string(), "2025-01-02 AM");
    let shown = import.mapping.to_string();
    assert!(
        shown.contains("mapping file") && shown.contains("(not read)"),
        "{shown}"
    );
    let absent = MappingFile::parse("[columns]\nmark = \"Nowhere\"").unwrap();
    let error = read(
        &fixture("long.csv"),
        &ReadOptions {
            mapping: absent,
            ..options()
        },
    );
    assert_eq!(
        error.unwrap_err(),
        ImportError::MappingColumn {
            field: "mark".to_owned()
        }
    );
}

#[test]
fn what_is_missing_is_named() {
    for (text, named) in [
        ("a,b\n1,2\n", "no header"),
        ("Surname,Forename\nx,y\n", "names the pupils"),
        ("UPN,Mark\nQ999100125001,/\n", "no session column"),
        ("UPN,Session,Mark\nQ999100125001,AM,/\n", "no date column"),
        ("UPN,Marks\nQ999100125001,/\n", "no week beginning"),
        ("UPN,Date,Session\nQ999100125001,15/09/2025,AM\n", "no column of marks"),
    ] {
        let message = read_text(text).unwrap_err().to_string();
        assert!(message.contains(named), "{message}");
    }
    let schoolless = ReadOptions {
        school: None,
        ..options()
    };
    assert_eq!(
        read(&fixture("long.csv"), &schoolless).unwrap_err(),
        ImportError::NoSchool
    );
    let import = read(b"UPN,URN\nQ999100125001,\n", &schoolless).unwrap();
    assert_eq!(refusals(&import)[0].2, "NO_SCHOOL");
}

/// Every row below the header is counted once, and every refusal has a line of the file.
fn accounted_for(import: &Import, lines: u32) -> bool {
    let rows = import.rows;
    let whole_rows = import.refused.iter().filter(|refused| refused.whole_row).count();
    rows.total == rows.taken + rows.refused + rows.blank + rows.skipped
        && rows.refused == whole_rows
        && rows.skipped == import.skipped.len()
        && import.refused.iter().all(|refused| (1..=lines).contains(&refused.line))
        && import.marks.iter().all(|mark| {
            mark.pupil < import.pupils.len() && mark.school < import.schools.len() && (1..=lines).contains(&mark.line)
        })
}

proptest! {
    #[test]
    fn no_bytes_make_the_importer_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(import) = read(&bytes, &options()) {
            prop_assert!(accounted_for(&import, 400));
        }
    }

    #[test]
    fn every_row_of_a_file_is_taken_refused_or_passed_over(
        head in prop_oneof![
            Just("UPN,Adno,Name,Date,Session,Mark"),
            Just("UPN,Adno,Name,Week Beginning,Marks,x"),
            Just("UPN,Adno,Name,15/09/2025 AM,15/09/2025 PM,16/09/2025"),
        ],
        rows in proptest::collection::vec(
            proptest::collection::vec(
                prop_oneof![
                    Just(""), Just(" "), Just("Q999100125001"), Just("E999100125002"), Just("7"), Just("\"A, B\""),
                    Just("15/09/2025"), Just("3/20/25"), Just("AM"), Just("09:00"), Just("/"), Just("\\"),
                    Just("/\\ II"), Just("L(3)"), Just("\""), Just("Total"), Just("-"), Just("é(½"), Just("UPN"),
                ],
                0..8,
            ),
            0..12,
        ),
    ) {
        let body: Vec<String> = rows.iter().map(|row| row.join(",")).collect();
        let text = format!("{head}\n{}\n", body.join("\n"));
        if let Ok(import) = read_text(&text) {
            prop_assert!(accounted_for(&import, 14), "{text}");
        }
    }
}
