use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::sync::LazyLock;

use chrono::Datelike;
use sha2::{Digest, Sha256};

use super::deviation::{code_deviations, left_out};
use super::*;
use crate::domain::identifiers::{Laestab, Upn, Urn};
use crate::domain::session::AcademicYear;
use crate::domain::tally::Tally;

static TRUST: LazyLock<SampleTrust> = LazyLock::new(|| generate(&SampleSettings::default()).unwrap());

fn small(seed: u64) -> SampleSettings {
    SampleSettings {
        seed,
        pupils: 600,
        ..SampleSettings::default()
    }
}

fn digest(trust: &SampleTrust) -> String {
    let mut hash = Sha256::new();
    for school in &trust.schools {
        hash.update(&school.urn);
        for pupil in &school.pupils {
            hash.update(&pupil.upn);
            hash.update(&pupil.given_name);
            hash.update(pupil.date_of_birth.to_string());
            hash.update(&pupil.marks);
        }
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn pupils(trust: &SampleTrust) -> impl Iterator<Item = (&SampleSchool, &SamplePupil)> {
    trust
        .schools
        .iter()
        .flat_map(|school| school.pupils.iter().map(move |pupil| (school, pupil)))
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    assert_eq!(
        digest(&generate(&small(1)).unwrap()),
        digest(&generate(&small(1)).unwrap())
    );
    assert_ne!(
        digest(&generate(&small(1)).unwrap()),
        digest(&generate(&small(2)).unwrap())
    );
    insta::assert_snapshot!(digest(&TRUST), @"afcd9355ab046d58d7a5664c64f7cd229134c4e3befeaaea04e962e2bf990438");
}

#[test]
fn the_sample_meets_the_published_figures() {
    let mut table = String::new();
    for deviation in deviations(&TRUST) {
        assert!(deviation.points().abs() < 1.0, "{deviation:?}");
        writeln!(
            table,
            "{:9} {:20} {:7.3} {:7.3}",
            deviation.phase.name(),
            deviation.measure.name(),
            deviation.published_percent,
            deviation.generated_percent
        )
        .unwrap();
    }
    insta::assert_snapshot!(table, @r"
    Primary   attendance            94.723  94.723
    Primary   authorised absence     3.729   3.729
    Primary   unauthorised absence   1.547   1.548
    Primary   persistent absence    13.773  13.757
    Secondary attendance            91.510  91.510
    Secondary authorised absence     5.221   5.221
    Secondary unauthorised absence   3.269   3.269
    Secondary persistent absence    23.768  23.761
    Special   attendance            86.831  86.831
    Special   authorised absence     9.569   9.570
    Special   unauthorised absence   3.600   3.599
    Special   persistent absence    36.062  36.129
    ");
}

#[test]
fn every_code_is_as_frequent_as_published() {
    for deviation in code_deviations(&TRUST) {
        assert!(deviation.points().abs() < 0.02, "{deviation:?}");
    }
}

#[test]
fn persistent_absence_is_near_the_published_for_every_seed() {
    for seed in 0..8 {
        let settings = SampleSettings {
            seed,
            ..SampleSettings::default()
        };
        for deviation in deviations(&generate(&settings).unwrap()) {
            assert!(deviation.points().abs() < 1.0, "seed {seed}: {deviation:?}");
        }
    }
}

#[test]
fn some_pupils_are_severely_absent_as_in_schools() {
    let mut table = String::new();
    for phase in Phase::ALL {
        let tallies: Vec<Tally> = pupils(&TRUST)
            .filter(|(school, _)| school.phase == phase)
            .map(|(_, pupil)| Tally::of_marks(&pupil.marks))
            .collect();
        let severe = tallies.iter().filter(|tally| tally.severely_absent()).count();
        writeln!(table, "{}: {} of {}", phase.name(), severe, tallies.len()).unwrap();
    }
    insta::assert_snapshot!(table, @r"
    Primary: 20 of 2457
    Secondary: 175 of 6233
    Special: 17 of 310
    ");
}

#[test]
fn withdrawn_codes_are_left_out_and_said_to_be() {
    let used: HashSet<u8> = pupils(&TRUST)
        .flat_map(|(_, pupil)| pupil.marks.iter().copied())
        .collect();
    for mark in used.into_iter().filter(|mark| *mark != 0) {
        let code = AttendanceCode::from_byte(mark).unwrap();
        assert!(code.valid_on(calendar::FIRST_DAY), "{code}");
    }
    assert!(
        left_out(&TRUST)
            .iter()
            .any(|left_out| left_out.code == Some(AttendanceCode::H) && left_out.sessions == 214)
    );
}

#[test]
fn every_mark_lies_in_its_half_of_a_school_day_while_the_pupil_is_on_roll() {
    let year = AcademicYear::from_start_year(calendar::START_YEAR).unwrap();
    let school_year = SchoolYear::up_to(TRUST.settings.through).unwrap();
    let open: HashSet<usize> = school_year.sessions.iter().map(|place| usize::from(*place)).collect();
    for (_, pupil) in pupils(&TRUST) {
        for (place, mark) in pupil.marks.iter().enumerate() {
            let Some(code) = AttendanceCode::from_byte(*mark) else {
                assert_eq!(*mark, 0);
                continue;
            };
            let session = year.session_at(place);
            assert!(session.date >= pupil.enrolment_start && session.date <= TRUST.settings.through);
            assert!(pupil.enrolment_end.is_none_or(|end| session.date <= end));
            assert!(!code.in_wrong_half(session.half));
            assert_eq!(open.contains(&place), code != AttendanceCode::PlannedClosure);
        }
    }
}

#[test]
fn a_joiners_register_begins_on_the_day_of_joining_and_a_leavers_ends_on_the_day_of_leaving() {
    let year = AcademicYear::from_start_year(calendar::START_YEAR).unwrap();
    let (mut joiners, mut leavers) = (0, 0);
    for (_, pupil) in pupils(&TRUST) {
        if pupil.enrolment_start > calendar::FIRST_DAY {
            joiners += 1;
            let first = pupil.marks.iter().position(|mark| *mark != 0).unwrap();
            assert_eq!(year.session_at(first).date, pupil.enrolment_start);
        }
        if let Some(end) = pupil.enrolment_end {
            leavers += 1;
            assert_eq!(year.session_at(pupil.marks.len() - 1).date, end);
        }
    }
    assert!(joiners > 100 && leavers > 50, "{joiners} {leavers}");
}

#[test]
fn pupils_are_of_the_age_of_their_year_group_and_their_identifiers_are_right_and_their_own() {
    let mut upns = HashSet::new();
    for (school, pupil) in pupils(&TRUST) {
        let upn = Upn::parse(&pupil.upn).unwrap().unwrap();
        assert_eq!(upn.warnings(), []);
        assert!(upns.insert(pupil.upn.clone()));
        let mis = &pupil.mis_identifier;
        assert_eq!(MisIdentifier::parse(&mis.source, &mis.value).as_ref(), Ok(mis));
        assert_eq!(mis.source, format!("sample:{}", school.urn));
        // Year 1 is number 4 of the contract's enum, and begins at five.
        let born = pupil.date_of_birth;
        let age = 2025 - born.year() - i32::from(born.month() >= 9);
        assert_eq!(age, i32::from(pupil.year_group) + 1, "{born} {}", pupil.year_group);
    }
    for school in &TRUST.schools {
        assert!(Urn::parse(&school.urn).is_ok());
        assert_eq!(Laestab::parse(&school.laestab).unwrap().as_str(), school.laestab);
    }
    assert_eq!(upns.len(), 9000);
}

#[test]
fn schools_of_one_phase_differ() {
    let mut attendance: BTreeMap<Phase, HashSet<String>> = BTreeMap::new();
    for school in &TRUST.schools {
        let tally: Tally = school.pupils.iter().map(|pupil| Tally::of_marks(&pupil.marks)).sum();
        attendance
            .entry(school.phase)
            .or_default()
            .insert(tally.attendance_percent());
    }
    assert!(attendance.values().all(|percents| percents.len() > 1), "{attendance:?}");
}

#[test]
fn a_sample_can_end_on_any_day_of_the_school_year() {
    for through in [
        "2025-09-02",
        "2025-09-05",
        "2025-12-19",
        "2026-01-05",
        "2026-05-04",
        "2026-07-20",
    ] {
        let trust = generate(&SampleSettings {
            through: through.parse().unwrap(),
            ..small(3)
        })
        .unwrap();
        let attendance = deviations(&trust);
        assert_eq!(attendance.len(), 12, "{through}");
        let far = attendance
            .iter()
            .filter(|deviation| deviation.points().abs() > 6.0)
            .count();
        assert_eq!(far, 0, "{through}: {attendance:?}");
    }
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let refused = |settings: SampleSettings| generate(&settings).unwrap_err().to_string();
    let settings = SampleSettings::default();
    assert!(refused(SampleSettings { pupils: 5, ..settings }).starts_with("pupils: 5"));
    assert!(
        refused(SampleSettings {
            schools: 40,
            ..settings
        })
        .starts_with("schools: 40")
    );
    let through = "2025-08-31".parse().unwrap();
    assert_eq!(
        refused(SampleSettings { through, ..settings }),
        "through: 2025-08-31 is not in the sample's school year; give a day from 2025-09-02 to 2026-07-20"
    );
}
