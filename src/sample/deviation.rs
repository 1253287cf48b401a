//! How far a sample lies from the published figures.

use super::published::PublishedPhase;
use super::{Phase, SampleTrust};
use crate::domain::code::AttendanceCode;
use crate::domain::tally::Tally;

/// A figure that is both published and generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Sessions attended, of the possible ones.
    Attendance,
    /// Sessions of authorised absence, of the possible ones.
    AuthorisedAbsence,
    /// Sessions of unauthorised absence, of the possible ones.
    UnauthorisedAbsence,
    /// Pupils who missed a tenth or more, of those with possible sessions.
    PersistentAbsence,
}

impl Measure {
    /// All four.
    pub const ALL: [Measure; 4] = [
        Measure::Attendance,
        Measure::AuthorisedAbsence,
        Measure::UnauthorisedAbsence,
        Measure::PersistentAbsence,
    ];

    /// The name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Measure::Attendance => "attendance",
            Measure::AuthorisedAbsence => "authorised absence",
            Measure::UnauthorisedAbsence => "unauthorised absence",
            Measure::PersistentAbsence => "persistent absence",
        }
    }
}

/// One figure of one phase, published and generated, in per cent. For people: nothing is decided by it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deviation {
    /// The phase.
    pub phase: Phase,
    /// The figure.
    pub measure: Measure,
    /// As published, in per cent.
    pub published_percent: f64,
    /// As generated, in per cent.
    pub generated_percent: f64,
}

impl Deviation {
    /// Generated less published, in percentage points.
    pub fn points(&self) -> f64 {
        self.generated_percent - self.published_percent
    }
}

/// The frequency of one code in one phase, in per cent of the possible sessions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CodeDeviation {
    /// The phase.
    pub phase: Phase,
    /// The code.
    pub code: AttendanceCode,
    /// As published, in per cent.
    pub published_percent: f64,
    /// As generated, in per cent.
    pub generated_percent: f64,
}

impl CodeDeviation {
    /// Generated less published, in percentage points.
    pub fn points(&self) -> f64 {
        self.generated_percent - self.published_percent
    }
}

/// Published sessions that the sample leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The phase.
    pub phase: Phase,
    /// The withdrawn code; nothing where the department's total holds sessions that none of its codes explains.
    pub code: Option<AttendanceCode>,
    /// How many sessions are published.
    pub sessions: u64,
}

/// What a phase of the sample came to.
struct Generated {
    tally: Tally,
    pupils: u64,
    persistently_absent: u64,
    codes: [u64; 256],
}

/// The figures of each phase that the trust has, published and generated.
pub fn deviations(trust: &SampleTrust) -> Vec<Deviation> {
    by_phase(trust, |figures, generated| {
        let possible = |sessions: u64| percent(sessions, figures.possible);
        Measure::ALL
            .into_iter()
            .map(|measure| {
                let tally = generated.tally;
                let (published_percent, generated_percent) = match measure {
                    Measure::Attendance => (possible(figures.attended), percent(tally.attended, tally.possible)),
                    Measure::AuthorisedAbsence => {
                        (possible(figures.authorised), percent(tally.authorised, tally.possible))
                    }
                    Measure::UnauthorisedAbsence => (
                        possible(figures.unauthorised),
                        percent(tally.unauthorised, tally.possible),
                    ),
                    Measure::PersistentAbsence => (
                        figures.persistent_absence_percent,
                        percent(generated.persistently_absent, generated.pupils),
                    ),
                };
                Deviation {
                    phase: figures.phase,
                    measure,
                    published_percent,
                    generated_percent,
                }
            })
            .collect()
    })
}

/// The frequency of every published code that is valid today, by phase. Present marks follow from the others.
pub fn code_deviations(trust: &SampleTrust) -> Vec<CodeDeviation> {
    by_phase(trust, |figures, generated| {
        AttendanceCode::ALL
            .iter()
            .filter(|code| figures.sessions(**code) > 0 && code.valid_on(super::calendar::FIRST_DAY))
            .map(|code| CodeDeviation {
                phase: figures.phase,
                code: *code,
                published_percent: percent(figures.sessions(*code), figures.possible),
                generated_percent: percent(generated.codes[usize::from(code.byte())], generated.tally.possible),
            })
            .collect()
    })
}

/// What is published and left out of every sample: withdrawn codes, and authorised absence that no code explains.
pub fn left_out(trust: &SampleTrust) -> Vec<LeftOut> {
    trust
        .published
        .iter()
        .flat_map(|figures| {
            let codes = AttendanceCode::ALL
                .iter()
                .filter(|code| !code.valid_on(super::calendar::FIRST_DAY))
                .map(|code| (Some(*code), figures.sessions(*code)));
            codes
                .chain([(None, figures.authorised_without_code())])
                .map(|(code, sessions)| LeftOut {
                    phase: figures.phase,
                    code,
                    sessions,
                })
        })
        .filter(|left_out| left_out.sessions > 0)
        .collect()
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

fn by_phase<T>(trust: &SampleTrust, of_phase: impl Fn(&PublishedPhase, &Generated) -> Vec<T>) -> Vec<T> {
    trust
        .published
        .iter()
        .map(|figures| (figures, generated(trust, figures.phase)))
        .filter(|(_, generated)| generated.tally.possible > 0)
        .flat_map(|(figures, generated)| of_phase(figures, &generated))
        .collect()
}

fn generated(trust: &SampleTrust, phase: Phase) -> Generated {
    let mut generated = Generated {
        tally: Tally::default(),
        pupils: 0,
        persistently_absent: 0,
        codes: [0; 256],
    };
    for pupil in trust
        .schools
        .iter()
        .filter(|school| school.phase == phase)
        .flat_map(|school| &school.pupils)
    {
        let tally = Tally::of_marks(&pupil.marks);
        generated.tally += tally;
        generated.pupils += u64::from(tally.possible > 0);
        generated.persistently_absent += u64::from(tally.persistently_absent());
        for mark in &pupil.marks {
            generated.codes[usize::from(*mark)] += 1;
        }
    }
    generated
}
