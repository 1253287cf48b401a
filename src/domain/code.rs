//! Attendance codes: every code of the 2024 regulations and those withdrawn earlier that still reach real returns.
//!
//! Source: The School Attendance (Pupil Registration) (England) Regulations 2024, regulation 10, and the department's
//! absence methodology; the table is `data/attendance_codes.csv`.

use std::fmt;

use chrono::NaiveDate;

use super::session::SessionHalf;

/// What an attendance code counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// Present or late before the register closed: attended and possible.
    Attending,
    /// An approved educational activity elsewhere: attended and possible.
    ApprovedEducationalActivity,
    /// An absence that the school authorised: possible only.
    AuthorisedAbsence,
    /// An absence that the school did not authorise: possible only.
    UnauthorisedAbsence,
    /// The pupil could not have attended: neither attended nor possible.
    NotPossible,
    /// Not a fact about attendance: neither attended nor possible.
    Administrative,
}

impl Category {
    /// All six, in the order of the contract.
    pub const ALL: [Category; 6] = [
        Category::Attending,
        Category::ApprovedEducationalActivity,
        Category::AuthorisedAbsence,
        Category::UnauthorisedAbsence,
        Category::NotPossible,
        Category::Administrative,
    ];

    /// Whether a session of this category counts as attended.
    pub const fn attended(self) -> bool {
        matches!(self, Category::Attending | Category::ApprovedEducationalActivity)
    }

    /// Whether a session of this category counts as possible.
    pub const fn possible(self) -> bool {
        !matches!(self, Category::NotPossible | Category::Administrative)
    }
}

macro_rules! codes {
    ($($name:ident = $byte:literal, $text:literal, $category:ident, $from:expr, $to:expr;)*) => {
        /// An attendance code. The discriminant is the byte under which a mark is stored, and the number of the contract's
        /// enum; it is never reused. Zero is no mark, and so no code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum AttendanceCode {
            $(#[doc = concat!("`", $text, "`")] $name = $byte,)*
        }

        impl AttendanceCode {
            /// Every code, in the order of their bytes.
            pub const ALL: &'static [AttendanceCode] = &[$(AttendanceCode::$name,)*];

            /// The code stored under a byte; nothing for 0 and for bytes that are no code.
            pub const fn from_byte(byte: u8) -> Option<AttendanceCode> {
                match byte {
                    $($byte => Some(AttendanceCode::$name),)*
                    _ => None,
                }
            }

            /// The code as it is written in a register. Codes are case-sensitive: small letters are no code.
            pub fn parse(text: &str) -> Option<AttendanceCode> {
                match text {
                    $($text => Some(AttendanceCode::$name),)*
                    _ => None,
                }
            }

            /// The code as it is written in a register.
            pub const fn as_str(self) -> &'static str {
                match self { $(AttendanceCode::$name => $text,)* }
            }

            /// What the code counts as.
            pub const fn category(self) -> Category {
                match self { $(AttendanceCode::$name => Category::$category,)* }
            }

            /// The first and the last day on which the code was valid; nothing where that end is open.
            pub const fn validity(self) -> (Option<NaiveDate>, Option<NaiveDate>) {
                match self { $(AttendanceCode::$name => ($from, $to),)* }
            }
        }
    };
}

/// The first day of the 2024 regulations.
const AUG_19_2024: Option<NaiveDate> = NaiveDate::from_ymd_opt(2024, 8, 19);
/// The last day before the 2024 regulations.
const AUG_18_2024: Option<NaiveDate> = NaiveDate::from_ymd_opt(2024, 8, 18);
/// The last day of code F.
const AUG_31_2013: Option<NaiveDate> = NaiveDate::from_ymd_opt(2013, 8, 31);

codes! {
    PresentMorning = 1, "/", Attending, None, None;
    PresentAfternoon = 2, "\\", Attending, None, None;
    L = 3, "L", Attending, None, None;
    K = 4, "K", ApprovedEducationalActivity, AUG_19_2024, None;
    V = 5, "V", ApprovedEducationalActivity, None, None;
    P = 6, "P", ApprovedEducationalActivity, None, None;
    W = 7, "W", ApprovedEducationalActivity, None, None;
    B = 8, "B", ApprovedEducationalActivity, None, None;
    D = 9, "D", NotPossible, None, None;
    C1 = 10, "C1", AuthorisedAbsence, AUG_19_2024, None;
    M = 11, "M", AuthorisedAbsence, None, None;
    J1 = 12, "J1", AuthorisedAbsence, AUG_19_2024, None;
    S = 13, "S", AuthorisedAbsence, None, None;
    X = 14, "X", NotPossible, None, None;
    C2 = 15, "C2", AuthorisedAbsence, AUG_19_2024, None;
    C = 16, "C", AuthorisedAbsence, None, None;
    T = 17, "T", AuthorisedAbsence, None, None;
    R = 18, "R", AuthorisedAbsence, None, None;
    I = 19, "I", AuthorisedAbsence, None, None;
    E = 20, "E", AuthorisedAbsence, None, None;
    Q = 21, "Q", NotPossible, AUG_19_2024, None;
    Y1 = 22, "Y1", NotPossible, AUG_19_2024, None;
    Y2 = 23, "Y2", NotPossible, AUG_19_2024, None;
    Y3 = 24, "Y3", NotPossible, AUG_19_2024, None;
    Y4 = 25, "Y4", NotPossible, AUG_19_2024, None;
    Y5 = 26, "Y5", NotPossible, AUG_19_2024, None;
    Y6 = 27, "Y6", NotPossible, AUG_19_2024, None;
    Y7 = 28, "Y7", NotPossible, AUG_19_2024, None;
    G = 29, "G", UnauthorisedAbsence, None, None;
    N = 30, "N", UnauthorisedAbsence, None, None;
    O = 31, "O", UnauthorisedAbsence, None, None;
    U = 32, "U", UnauthorisedAbsence, None, None;
    Z = 33, "Z", Administrative, None, None;
    PlannedClosure = 34, "#", Administrative, None, None;
    H = 35, "H", AuthorisedAbsence, None, AUG_18_2024;
    F = 36, "F", AuthorisedAbsence, None, AUG_31_2013;
    J = 37, "J", ApprovedEducationalActivity, None, AUG_18_2024;
    Y = 38, "Y", NotPossible, None, AUG_18_2024;
}

impl AttendanceCode {
    /// The byte under which a mark of this code is stored.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// Whether the code was valid on a day. One that was not is counted by its category, with a warning.
    pub fn valid_on(self, date: NaiveDate) -> bool {
        let (from, to) = self.validity();
        from.is_none_or(|from| date >= from) && to.is_none_or(|to| date <= to)
    }

    /// Whether the code belongs to the other half of the day: `/` in an afternoon, `\` in a morning. Counted as present,
    /// with a warning.
    pub const fn in_wrong_half(self, half: SessionHalf) -> bool {
        matches!(
            (self, half),
            (AttendanceCode::PresentMorning, SessionHalf::Pm) | (AttendanceCode::PresentAfternoon, SessionHalf::Am)
        )
    }
}

impl fmt::Display for AttendanceCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published table is the source; the enum has to say the same, line by line.
    #[test]
    fn every_line_of_the_published_table_is_a_code_and_every_code_a_line() {
        let mut reader = csv::Reader::from_reader(include_str!("../../data/attendance_codes.csv").as_bytes());
        let mut lines = 0;
        for record in reader.records() {
            let record = record.unwrap();
            let code = AttendanceCode::parse(&record[0]).unwrap();
            assert_eq!(code.as_str(), &record[0]);
            assert_eq!(AttendanceCode::from_byte(code.byte()), Some(code));
            let category = match &record[2] {
                "attending" => Category::Attending,
                "approved_educational_activity" => Category::ApprovedEducationalActivity,
                "authorised_absence" => Category::AuthorisedAbsence,
                "unauthorised_absence" => Category::UnauthorisedAbsence,
                "not_possible" => Category::NotPossible,
                "administrative" => Category::Administrative,
                other => panic!("unknown category {other}"),
            };
            assert_eq!(code.category(), category, "{code}");
            assert_eq!(category.possible(), &record[3] == "1", "{code}");
            assert_eq!(category.attended(), &record[4] == "1", "{code}");
            assert_eq!(
                code.validity(),
                (record[5].parse().ok(), record[6].parse().ok()),
                "{code}"
            );
            lines += 1;
        }
        assert_eq!(lines, AttendanceCode::ALL.len());
        assert_eq!(lines, 38);
    }

    #[test]
    fn small_letters_and_codes_that_never_existed_are_no_codes() {
        for text in ["l", "c1", "A", "Y8", "", " ", "//", "C3", "-"] {
            assert_eq!(AttendanceCode::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_code_is_valid_on_both_its_first_and_its_last_day() {
        let date = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert!(!AttendanceCode::C2.valid_on(date("2024-08-18")));
        assert!(AttendanceCode::C2.valid_on(date("2024-08-19")));
        assert!(AttendanceCode::H.valid_on(date("2024-08-18")));
        assert!(!AttendanceCode::H.valid_on(date("2024-08-19")));
        assert!(!AttendanceCode::F.valid_on(date("2013-09-01")));
    }
}
