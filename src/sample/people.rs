//! Invented schools and pupils: nobody and no place that exists.

use chrono::{Days, NaiveDate};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::{Phase, SampleError};
use crate::domain::identifiers::Upn;

/// The local authority number of every identifier of the sample: it stands for none in particular.
pub const LOCAL_AUTHORITY: u16 = 999;

/// A school before it has pupils.
#[derive(Clone, Debug)]
pub struct SchoolPlan {
    /// Six digits, above every number in use.
    pub urn: String,
    /// The name.
    pub name: String,
    /// The phase.
    pub phase: Phase,
    /// The establishment number.
    pub establishment: u16,
    /// Year groups by the number of the contract's enum, the youngest and the oldest.
    pub year_groups: (u8, u8),
    /// How many pupils.
    pub pupils: usize,
}

/// Number of the contract's enum for the second year of nursery.
pub const NURSERY_2: u8 = 2;
/// Number of the contract's enum for reception.
const RECEPTION: u8 = 3;
/// Number of the contract's enum for Year 6.
const YEAR_6: u8 = 9;
/// Number of the contract's enum for Year 7.
const YEAR_7: u8 = 10;
/// Number of the contract's enum for Year 10.
pub const YEAR_10: u8 = 13;
/// Number of the contract's enum for Year 11.
pub const YEAR_11: u8 = 14;

const SCHOOLS: [(&str, Phase, u8, u8, usize); 12] = [
    ("Alder Brook", Phase::Primary, RECEPTION, YEAR_6, 420),
    ("Beacon Rise", Phase::Secondary, YEAR_7, YEAR_11, 1500),
    ("Copper Lane", Phase::Primary, NURSERY_2, YEAR_6, 470),
    ("Dunmere Park", Phase::Primary, RECEPTION, YEAR_6, 630),
    ("Elmwater", Phase::Secondary, YEAR_7, YEAR_11, 1620),
    ("Fennel Court", Phase::Special, RECEPTION, YEAR_11, 160),
    ("Greenshaw Mill", Phase::Primary, RECEPTION, YEAR_6, 315),
    ("Harrow Bridge", Phase::Secondary, YEAR_7, YEAR_11, 1350),
    ("Ivy Bank", Phase::Primary, RECEPTION, YEAR_6, 210),
    ("Juniper Fields", Phase::Primary, RECEPTION, YEAR_6, 412),
    ("Kestrel Heights", Phase::Secondary, YEAR_7, YEAR_11, 1763),
    ("Larkmoor", Phase::Special, RECEPTION, YEAR_11, 150),
];

/// The first `schools` schools, their sizes scaled so that they have `pupils` pupils together.
pub fn plan_schools(schools: usize, pupils: usize) -> Vec<SchoolPlan> {
    let chosen = SCHOOLS.get(..schools).unwrap_or(&SCHOOLS);
    let full: usize = chosen.iter().map(|school| school.4).sum();
    let (mut before, mut given) = (0, 0);
    chosen
        .iter()
        .zip(1u16..)
        .map(|((name, phase, youngest, oldest, size), ordinal)| {
            before += size;
            let upto = pupils * before / full;
            let count = upto - given;
            given = upto;
            let (kind, block) = match phase {
                Phase::Primary => ("Primary School", 2000),
                Phase::Secondary => ("Academy", 4000),
                Phase::Special => ("School", 7000),
            };
            SchoolPlan {
                urn: format!("{}", 999_000 + u32::from(ordinal)),
                name: format!("{name} {kind}"),
                phase: *phase,
                establishment: block + ordinal,
                year_groups: (*youngest, *oldest),
                pupils: count,
            }
        })
        .collect()
}

const GIVEN_NAMES: [&str; 64] = [
    "Aaliyah", "Adam", "Agnes", "Aisha", "Alfie", "Amara", "Amelia", "Anya", "Arjun", "Ava", "Ayaan", "Bea", "Bilal",
    "Callum", "Chidi", "Chloe", "Daisy", "Dara", "Dylan", "Ebony", "Eleni", "Elif", "Ellis", "Emeka", "Esme", "Farah",
    "Finn", "Freya", "George", "Grace", "Hamza", "Hana", "Harriet", "Idris", "Imogen", "Isla", "Jacob", "Jasmine",
    "Kai", "Kezia", "Lena", "Leo", "Luca", "Maja", "Mei", "Mina", "Nadia", "Noah", "Ola", "Oscar", "Priya", "Rafael",
    "Rhys", "Rosa", "Samir", "Saoirse", "Tariq", "Theo", "Uma", "Wren", "Yusuf", "Zara", "Zofia", "Zuri",
];

const FAMILY_NAMES: [&str; 72] = [
    "Abara",
    "Adeyo",
    "Akhtari",
    "Alderson",
    "Amini",
    "Appleyard",
    "Ashdown",
    "Bancroft",
    "Barzani",
    "Bellweather",
    "Bhatti",
    "Blackwood",
    "Boateng",
    "Brennock",
    "Calloway",
    "Chandra",
    "Cheung",
    "Cobham",
    "Corrigan",
    "Dabrowa",
    "Danjuma",
    "Deverell",
    "Dinsdale",
    "Doyle",
    "Ekwall",
    "Elsworth",
    "Fairbairn",
    "Farooqi",
    "Fenwick",
    "Ferreira",
    "Gill",
    "Greaves",
    "Halloran",
    "Hartnell",
    "Hashemi",
    "Holloway",
    "Ibori",
    "Ingleby",
    "Jankowski",
    "Kapoor",
    "Karimi",
    "Keating",
    "Kowalik",
    "Lambourne",
    "Lisle",
    "Mahmoudi",
    "Marchetti",
    "Mbeki",
    "Merriweather",
    "Moreau",
    "Nakamba",
    "Netherby",
    "Nwosu",
    "Okonjo",
    "Osmani",
    "Pemberton",
    "Petrovic",
    "Quill",
    "Rahimi",
    "Redfern",
    "Santoro",
    "Sethi",
    "Silva",
    "Stavros",
    "Swinburn",
    "Tembo",
    "Thackray",
    "Umarov",
    "Varga",
    "Wetherall",
    "Yilmaz",
    "Zielin",
];

/// An invented given name and family name.
pub fn name(random: &mut ChaCha8Rng) -> (&'static str, &'static str) {
    let pick = |names: &[&'static str], random: &mut ChaCha8Rng| names.choose(random).copied().unwrap_or_default();
    (pick(&GIVEN_NAMES, random), pick(&FAMILY_NAMES, random))
}

/// A date of birth that puts a child into a year group in 2025/26: five to six years old at the start of Year 1, with
/// birthdays from 1 September to 31 August.
pub fn date_of_birth(year_group: u8, random: &mut ChaCha8Rng) -> Option<NaiveDate> {
    let first_year = 2020 + i32::from(RECEPTION) - i32::from(year_group);
    NaiveDate::from_ymd_opt(first_year, 9, 1)?.checked_add_days(Days::new(random.random_range(0..365)))
}

/// The UPN of the `ordinal`th pupil of a year group: its check letter is right. A school gives out 1,000 numbers a year;
/// the pupils beyond them got theirs at another school.
///
/// # Errors
///
/// [`SampleError::TooManyPupils`] where the numbers run out.
pub fn upn(establishment: u16, year_group: u8, ordinal: usize) -> Result<String, SampleError> {
    // Establishments of one kind lie fewer than 20 apart.
    let elsewhere = 20 * (ordinal / 1000);
    let establishment = usize::from(establishment) + elsewhere;
    if elsewhere >= 1980 {
        return Err(SampleError::TooManyPupils);
    }
    // Given on entry to reception, or to nursery.
    let entered = 25 + usize::from(RECEPTION) - usize::from(year_group.max(RECEPTION));
    let digits = format!("{LOCAL_AUTHORITY}{establishment:04}{entered:02}{:03}", ordinal % 1000);
    let letter = Upn::parse(&format!("A{digits}"))
        .ok()
        .flatten()
        .and_then(|upn| upn.check_letter())
        .ok_or(SampleError::TooManyPupils)?;
    Ok(format!("{}{digits}", char::from(letter)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schools_have_all_the_pupils_together() {
        for pupils in [120, 9000, 12_345] {
            let plans = plan_schools(12, pupils);
            assert_eq!(plans.iter().map(|plan| plan.pupils).sum::<usize>(), pupils);
        }
    }

    #[test]
    fn a_upn_names_the_school_and_the_year_of_entry_and_its_check_letter_is_right() {
        let text = upn(2001, YEAR_6, 7).unwrap();
        assert_eq!(&text[1..], "999200119007");
        assert_eq!(Upn::parse(&text).unwrap().unwrap().warnings(), []);
        assert!(upn(2001, YEAR_6, 99_000).is_err());
    }
}
