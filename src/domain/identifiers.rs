//! Identifiers of pupils and schools: UPN, URN, LAESTAB, and those of management information systems.

use std::fmt;

use uuid::Uuid;

macro_rules! uuid_newtype {
    ($(#[$doc:meta] $name:ident;)*) => {$(
        #[$doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    )*};
}

uuid_newtype! {
    /// Names a trust.
    TrustId;
    /// Names a school of a trust.
    SchoolId;
    /// Names a pupil of a trust.
    PupilId;
    /// Names an enrolment of a pupil.
    EnrolmentId;
}

/// A text that is no identifier of the kind asked for. The message never repeats the text: it may be a child's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// Not the shape of a UPN.
    #[error(
        "a UPN is a letter and 12 digits, or a letter, 11 digits and a letter (temporary); letters are A to Z without I, O and S"
    )]
    UpnShape,
    /// A spreadsheet has turned the identifier into a number.
    #[error(
        "a spreadsheet has turned this identifier into a number such as 1.23E+12: format the column as text and export again"
    )]
    Spreadsheet,
    /// Not the shape of a URN.
    #[error("a URN is 6 digits")]
    UrnShape,
    /// Not the shape of a LAESTAB.
    #[error("a LAESTAB is a local authority number of 3 digits and an establishment number of 4")]
    LaestabShape,
    /// Not the shape of an MIS source.
    #[error("an MIS source is 1 to 64 characters of a-z, 0-9, '.', '_', ':' and '-'")]
    MisSourceShape,
    /// Not the shape of an MIS identifier.
    #[error("an MIS identifier is 1 to 64 characters, none of them a control character")]
    MisValueShape,
}

/// Letters of a UPN, by their value in the check sum.
const UPN_LETTERS: &[u8; 23] = b"ABCDEFGHJKLMNPQRTUVWXYZ";

/// A unique pupil number: 13 characters, in capitals.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Upn(String);

/// Something about a UPN that deserves a look. The UPN is taken all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpnWarning {
    /// The first letter is not what the check sum gives.
    CheckLetter,
    /// Characters 2 to 4 are not the number of a local authority.
    UnknownLocalAuthority,
}

impl Upn {
    /// Reads a UPN: trimmed and in capitals. A blank, and `UN1` to `UN5`, mean that the pupil has none.
    pub fn parse(text: &str) -> Result<Option<Upn>, IdentifierError> {
        let text = text.trim().to_ascii_uppercase();
        if text.is_empty() || matches!(text.as_str(), "UN1" | "UN2" | "UN3" | "UN4" | "UN5") {
            return Ok(None);
        }
        if looks_like_spreadsheet_number(&text) {
            return Err(IdentifierError::Spreadsheet);
        }
        let bytes = text.as_bytes();
        let shaped = bytes.len() == 13
            && letter_value(bytes[0]).is_some()
            && bytes[1..12].iter().all(u8::is_ascii_digit)
            && (bytes[12].is_ascii_digit() || letter_value(bytes[12]).is_some());
        if shaped {
            Ok(Some(Upn(text)))
        } else {
            Err(IdentifierError::UpnShape)
        }
    }

    /// The UPN as text, in capitals.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a temporary UPN: one that ends in a letter.
    pub fn is_temporary(&self) -> bool {
        self.0.ends_with(|last: char| last.is_ascii_alphabetic())
    }

    /// What deserves a look, if anything.
    pub fn warnings(&self) -> Vec<UpnWarning> {
        let mut warnings = Vec::new();
        if self.0.as_bytes().first() != self.check_letter().as_ref() {
            warnings.push(UpnWarning::CheckLetter);
        }
        // Local authority numbers run from 201 (City of London) on; 999 stands for none in particular.
        if !self
            .0
            .get(1..4)
            .is_some_and(|authority| ("201"..="999").contains(&authority))
        {
            warnings.push(UpnWarning::UnknownLocalAuthority);
        }
        warnings
    }

    /// The letter that the check sum gives: of the value of each character times its place, 2 to 13, modulo 23.
    pub(crate) fn check_letter(&self) -> Option<u8> {
        let mut sum = 0;
        for (place, byte) in (1..).zip(self.0.bytes()).skip(1) {
            let value = match byte {
                b'0'..=b'9' => usize::from(byte - b'0'),
                letter => letter_value(letter)?,
            };
            sum += place * value;
        }
        UPN_LETTERS.get(sum % UPN_LETTERS.len()).copied()
    }
}

fn letter_value(letter: u8) -> Option<usize> {
    UPN_LETTERS.iter().position(|known| *known == letter)
}

fn looks_like_spreadsheet_number(text: &str) -> bool {
    text.contains("E+") && text.parse::<f64>().is_ok()
}

/// A school's unique reference number: 6 digits. A new academy gets a new one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Urn(String);

impl Urn {
    /// Reads a URN, trimmed.
    pub fn parse(text: &str) -> Result<Urn, IdentifierError> {
        let text = text.trim();
        if looks_like_spreadsheet_number(&text.to_ascii_uppercase()) {
            return Err(IdentifierError::Spreadsheet);
        }
        if text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Urn(text.to_owned()))
        } else {
            Err(IdentifierError::UrnShape)
        }
    }

    /// The URN as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A local authority number and an establishment number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Laestab(String);

impl Laestab {
    /// Reads a LAESTAB: 7 digits, with a `/`, a `-` or a space between the parts or with nothing.
    pub fn parse(text: &str) -> Result<Laestab, IdentifierError> {
        let digits: String = text.trim().chars().filter(|c| !matches!(c, '/' | '-' | ' ')).collect();
        if digits.len() == 7 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Laestab(digits))
        } else {
            Err(IdentifierError::LaestabShape)
        }
    }

    /// Reads the two numbers apart, padding the establishment to 4 digits and the local authority to 3: spreadsheets
    /// take leading zeros away. A blank is no number.
    pub fn from_parts(authority: &str, establishment: &str) -> Result<Laestab, IdentifierError> {
        let (authority, establishment) = (authority.trim(), establishment.trim());
        let number = |text: &str, digits_max: usize| {
            (1..=digits_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if number(authority, 3) && number(establishment, 4) {
            Ok(Laestab(format!("{authority:0>3}{establishment:0>4}")))
        } else {
            Err(IdentifierError::LaestabShape)
        }
    }

    /// The seven digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A pupil's identifier in a management information system.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MisIdentifier {
    /// The system, and the school where the system numbers pupils by school.
    pub source: String,
    /// The identifier, compared exactly.
    pub value: String,
}

impl MisIdentifier {
    /// Checks both parts; the value is trimmed.
    pub fn parse(source: &str, value: &str) -> Result<MisIdentifier, IdentifierError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._:-".contains(&byte);
        if !(1..=64).contains(&source.len()) || !source.bytes().all(allowed) {
            return Err(IdentifierError::MisSourceShape);
        }
        let value = value.trim();
        if !(1..=64).contains(&value.chars().count()) || value.chars().any(char::is_control) {
            return Err(IdentifierError::MisValueShape);
        }
        Ok(MisIdentifier {
            source: source.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// Any one of the ways to name a pupil.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PupilKey {
    /// The service's own identifier.
    Id(PupilId),
    /// The unique pupil number, current or former.
    Upn(Upn),
    /// An identifier of a management information system.
    Mis(MisIdentifier),
}

/// Any one of the ways to name a school.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SchoolKey {
    /// The service's own identifier.
    Id(SchoolId),
    /// The unique reference number.
    Urn(Urn),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upn(text: &str) -> Upn {
        Upn::parse(text).unwrap().unwrap()
    }

    #[test]
    fn the_check_letters_of_the_worked_examples_are_right() {
        for right in [
            "Q999100125001",
            "E999100125002",
            "U999100125003",
            "B99910012500A",
            "R201100018042",
            "T20110001804V",
            "H801200001001",
        ] {
            assert_eq!(upn(right).warnings(), [], "{right}");
        }
        assert_eq!(upn("A999100125001").warnings(), [UpnWarning::CheckLetter]);
        assert!(
            upn("X100100125001")
                .warnings()
                .contains(&UpnWarning::UnknownLocalAuthority)
        );
    }

    #[test]
    fn a_upn_is_trimmed_and_put_in_capitals() {
        assert_eq!(upn(" q999100125001 ").as_str(), "Q999100125001");
        assert!(upn("B99910012500A").is_temporary());
        assert!(!upn("Q999100125001").is_temporary());
    }

    #[test]
    fn a_blank_and_un1_to_un5_mean_no_upn() {
        for none in ["", "  ", "UN1", "un5"] {
            assert_eq!(Upn::parse(none), Ok(None));
        }
    }

    #[test]
    fn another_shape_is_refused() {
        for wrong in [
            "Q99910012500",
            "Q9991001250011",
            "I999100125001",
            "Q99910012500S",
            "9999100125001",
            "Q9991001250O1",
            "UN6",
        ] {
            assert_eq!(Upn::parse(wrong), Err(IdentifierError::UpnShape), "{wrong}");
        }
        assert_eq!(Upn::parse("9.991E+12"), Err(IdentifierError::Spreadsheet));
    }

    #[test]
    fn a_urn_is_six_digits_and_a_laestab_seven() {
        assert_eq!(Urn::parse(" 100001 ").unwrap().as_str(), "100001");
        assert!(Urn::parse("10001").is_err());
        assert!(Urn::parse("1000011").is_err());
        assert_eq!(Laestab::parse("999/1001").unwrap().as_str(), "9991001");
        assert_eq!(Laestab::from_parts("201", "12").unwrap().as_str(), "2010012");
        for (authority, establishment) in [("XXX", "XXXX"), ("", ""), ("201", " "), ("", "1001"), ("12/3", "456")] {
            assert!(Laestab::from_parts(authority, establishment).is_err());
        }
    }

    #[test]
    fn an_mis_identifier_is_compared_as_it_is_written() {
        let key = MisIdentifier::parse("sims:100001", " 000123 ").unwrap();
        assert_eq!(key.value, "000123");
        assert!(MisIdentifier::parse("SIMS", "1").is_err());
        assert!(MisIdentifier::parse("sims", " ").is_err());
    }
}
