//! The sample trust: invented schools and pupils whose marks meet the published national figures.
//!
//! Each phase gets the attendance, the share of persistently absent pupils and the frequency of every code that the
//! department published for it. Absence is unequal, as it is in schools: [`curve`] says how much of the year each pupil
//! misses, [`quota`] hands the published codes out to the pupils in spells, [`placing`] puts the spells on days.
//! Everything follows from the seed, by arithmetic that gives the same bytes on every machine.

pub mod calendar;
mod curve;
pub mod deviation;
mod people;
mod placing;
pub mod published;
mod quota;

use chrono::NaiveDate;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use self::calendar::SchoolYear;
use self::people::{LOCAL_AUTHORITY, SchoolPlan};
use self::published::PublishedPhase;
use crate::domain::code::AttendanceCode;
use crate::domain::identifiers::MisIdentifier;
use crate::domain::register;

pub use self::deviation::{CodeDeviation, Deviation, Measure, deviations};

/// The name of the sample trust.
pub const TRUST_NAME: &str = "Wayfarer Learning Trust (sample)";

/// A phase of education of which national figures are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Primary.
    Primary,
    /// Secondary.
    Secondary,
    /// Special.
    Special,
}

impl Phase {
    /// All three, in the order of the published table.
    pub const ALL: [Phase; 3] = [Phase::Primary, Phase::Secondary, Phase::Special];

    /// The name in the published table.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Primary => "Primary",
            Phase::Secondary => "Secondary",
            Phase::Special => "Special",
        }
    }
}

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleSettings {
    /// The seed: the same seed and settings give the same bytes.
    pub seed: u64,
    /// The last day with marks, 2 September 2025 to 20 July 2026.
    pub through: NaiveDate,
    /// How many pupils, 120 to 500,000. The schools' sizes are scaled to it.
    pub pupils: usize,
    /// How many schools, 6 to 12: the first six have all three phases.
    pub schools: usize,
}

impl SampleSettings {
    /// The fewest and the most pupils.
    pub const PUPILS: std::ops::RangeInclusive<usize> = 120..=500_000;
    /// The fewest and the most schools.
    pub const SCHOOLS: std::ops::RangeInclusive<usize> = 6..=12;
}

impl Default for SampleSettings {
    fn default() -> SampleSettings {
        SampleSettings {
            seed: 2025,
            through: calendar::PUBLISHED_LAST_DAY,
            pupils: 9000,
            schools: 12,
        }
    }
}

/// A sample that cannot be generated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// The last day is not one of the sample's school year.
    #[error(
        "through: {0} is not in the sample's school year; give a day from {from} to {to}",
        from = calendar::THROUGH_MIN,
        to = calendar::THROUGH_MAX
    )]
    Through(NaiveDate),
    /// Too few or too many pupils.
    #[error("pupils: {0} is out of range; give 120 to 500000")]
    Pupils(usize),
    /// Too few or too many schools.
    #[error("schools: {0} is out of range; give 6 to 12")]
    Schools(usize),
    /// A school's numbers run out.
    #[error("pupils: there are not enough pupil numbers for so many; give fewer pupils or more schools")]
    TooManyPupils,
    /// The published figures that are built in cannot be read.
    #[error("the published figures cannot be read: {0}")]
    Published(String),
}

/// A generated trust.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleTrust {
    /// What it was generated from.
    pub settings: SampleSettings,
    /// The trust's name.
    pub name: String,
    /// Its schools.
    pub schools: Vec<SampleSchool>,
    /// The published figures that it follows, by phase.
    pub published: Vec<PublishedPhase>,
}

/// A school of the sample.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleSchool {
    /// Unique reference number: six digits.
    pub urn: String,
    /// The school's name.
    pub name: String,
    /// The phase.
    pub phase: Phase,
    /// Local authority number 999 and establishment number: seven digits.
    pub laestab: String,
    /// Its pupils.
    pub pupils: Vec<SamplePupil>,
}

/// A pupil of the sample, with one enrolment.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplePupil {
    /// Unique pupil number; its check letter is right.
    pub upn: String,
    /// The identifier in the school's management information system: its source is `sample:URN`.
    pub mis_identifier: MisIdentifier,
    /// Given name.
    pub given_name: String,
    /// Family name.
    pub family_name: String,
    /// Date of birth: fits the year group.
    pub date_of_birth: NaiveDate,
    /// Year group, by the number of the contract's enum.
    pub year_group: u8,
    /// The first day on roll.
    pub enrolment_start: NaiveDate,
    /// The last day on roll; nothing while the pupil is on roll.
    pub enrolment_end: Option<NaiveDate>,
    /// The register of 2025/26: codes by session from 1 August on, 0 for no mark, to the last mark.
    pub marks: Vec<u8>,
}

impl SampleTrust {
    /// How many pupils it has.
    pub fn pupils(&self) -> usize {
        self.schools.iter().map(|school| school.pupils.len()).sum()
    }

    /// How many marks it has.
    pub fn marks(&self) -> usize {
        self.schools
            .iter()
            .flat_map(|school| &school.pupils)
            .map(|pupil| pupil.marks.iter().filter(|mark| **mark != 0).count())
            .sum()
    }
}

/// A pupil while the sample is being made: which sessions were possible, and how many of them are missed.
#[derive(Clone, Debug)]
struct Draft {
    school: usize,
    year_group: u8,
    /// True for nursery: in school in the mornings alone.
    mornings_only: bool,
    /// The part of the school year's sessions (or mornings) in which the pupil is on roll.
    on_roll: std::ops::Range<usize>,
    start: NaiveDate,
    end: Option<NaiveDate>,
    missed: u32,
    spells: Vec<quota::Spell>,
}

impl Draft {
    fn possible(&self) -> u32 {
        // A school year has fewer than 500 sessions.
        self.on_roll.len() as u32
    }

    fn slots<'year>(&self, school_year: &'year SchoolYear) -> &'year [u16] {
        let all = if self.mornings_only {
            &school_year.mornings
        } else {
            &school_year.sessions
        };
        all.get(self.on_roll.clone()).unwrap_or_default()
    }
}

/// Generates a sample trust.
///
/// # Errors
///
/// [`SampleError`] where a setting is out of range; the message names it.
pub fn generate(settings: &SampleSettings) -> Result<SampleTrust, SampleError> {
    if !SampleSettings::PUPILS.contains(&settings.pupils) {
        return Err(SampleError::Pupils(settings.pupils));
    }
    if !SampleSettings::SCHOOLS.contains(&settings.schools) {
        return Err(SampleError::Schools(settings.schools));
    }
    if !(calendar::THROUGH_MIN..=calendar::THROUGH_MAX).contains(&settings.through) {
        return Err(SampleError::Through(settings.through));
    }
    let school_year = SchoolYear::up_to(settings.through).ok_or(SampleError::Through(settings.through))?;
    let plans = people::plan_schools(settings.schools, settings.pupils);
    let published = published::national()?;
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    let mut schools: Vec<SampleSchool> = plans
        .iter()
        .map(|plan| SampleSchool {
            urn: plan.urn.clone(),
            name: plan.name.clone(),
            phase: plan.phase,
            laestab: format!("{LOCAL_AUTHORITY}{:04}", plan.establishment),
            pupils: Vec::with_capacity(plan.pupils),
        })
        .collect();
    for figures in &published {
        let mut drafts: Vec<Draft> = Vec::new();
        for (school, plan) in plans.iter().enumerate() {
            if plan.phase == figures.phase {
                draft_pupils(school, plan, &school_year, &mut random, &mut drafts);
            }
        }
        curve::spread_absence(&mut drafts, figures, &mut random);
        quota::hand_out_spells(&mut drafts, figures, &school_year, &mut random);
        let registers = placing::fill_registers(&drafts, figures, &school_year, &mut random);
        for (draft, marks) in drafts.iter().zip(registers) {
            let plan = &plans[draft.school];
            let pupils = &mut schools[draft.school].pupils;
            pupils.push(finish_pupil(draft, plan, pupils, marks, &school_year, &mut random)?);
        }
    }
    Ok(SampleTrust {
        settings: *settings,
        name: TRUST_NAME.to_owned(),
        schools,
        published,
    })
}

/// One pupil in forty joins mid-year, one in seventy leaves.
fn draft_pupils(
    school: usize,
    plan: &SchoolPlan,
    school_year: &SchoolYear,
    random: &mut ChaCha8Rng,
    drafts: &mut Vec<Draft>,
) {
    let (youngest, oldest) = plan.year_groups;
    let groups = usize::from(oldest - youngest) + 1;
    for ordinal in 0..plan.pupils {
        // Below 17: a year group.
        let year_group = youngest + (ordinal * groups / plan.pupils) as u8;
        let mornings_only = year_group <= people::NURSERY_2;
        let (slots, per_day) = if mornings_only {
            (&school_year.mornings, 1)
        } else {
            (&school_year.sessions, 2)
        };
        let days = slots.len() / per_day;
        let date_of = |day: usize| {
            slots
                .get(day * per_day)
                .map(|slot| school_year.year.session_at(usize::from(*slot)).date)
        };
        let (mut from, mut to) = (0, days);
        let (mut start, mut end) = (calendar::FIRST_DAY, None);
        let movement = random.random_range(0..280);
        if movement < 7 && days > 10 {
            from = random.random_range(1..days * 3 / 4);
            start = date_of(from).unwrap_or(start);
        } else if movement < 11 && days > 10 {
            to = random.random_range(days / 3..days);
            end = to.checked_sub(1).and_then(date_of);
        }
        drafts.push(Draft {
            school,
            year_group,
            mornings_only,
            on_roll: from * per_day..to * per_day,
            start,
            end,
            missed: 0,
            spells: Vec::new(),
        });
    }
}

fn finish_pupil(
    draft: &Draft,
    plan: &SchoolPlan,
    before: &[SamplePupil],
    mut marks: Vec<u8>,
    school_year: &SchoolYear,
    random: &mut ChaCha8Rng,
) -> Result<SamplePupil, SampleError> {
    for place in &school_year.closures {
        let place = usize::from(*place);
        let date = school_year.year.session_at(place).date;
        if date >= draft.start && draft.end.is_none_or(|end| date <= end) {
            marks[place] = AttendanceCode::PlannedClosure.byte();
        }
    }
    register::trim(&mut marks);
    let (given_name, family_name) = people::name(random);
    Ok(SamplePupil {
        upn: people::upn(plan.establishment, draft.year_group, before.len())?,
        mis_identifier: MisIdentifier {
            source: format!("sample:{}", plan.urn),
            value: format!("{:06}", before.len() + 1),
        },
        given_name: given_name.to_owned(),
        family_name: family_name.to_owned(),
        date_of_birth: people::date_of_birth(draft.year_group, random).unwrap_or(calendar::FIRST_DAY),
        year_group: draft.year_group,
        enrolment_start: draft.start,
        enrolment_end: draft.end,
        marks,
    })
}

#[cfg(test)]
mod tests;
