//! Attendance over a period, in groups: by school, year group, week or term.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::error::Resource;
use super::judging::timeline_of;
use super::period::{Period, PeriodQuery};
use super::transaction::finish;
use super::{Service, ServiceError};
use crate::domain::calendar::Calendars;
use crate::domain::identifiers::{SchoolId, SchoolKey, TrustId};
use crate::domain::summary::{AttendanceCounts, Places, Span, Whole, places_of, tally_of, terms_of, weeks_of};
use crate::domain::suppression::suppress_line;
use crate::domain::tally::{PrefixTallies, Tally};
use crate::store::calendars::calendars_of;
use crate::store::schools::resolve_school;
use crate::store::summaries::{PupilRegister, SchoolName, registers_of_pupils_at, school_names};

/// How attendance is grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// Not at all.
    None,
    /// By school.
    School,
    /// By the pupils' year group, as it is recorded now.
    YearGroup,
    /// By week, Monday to Sunday.
    Week,
    /// By term, as each school's calendar names it.
    Term,
}

/// Which figures are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttendanceQuery {
    /// Only this school's.
    pub school: Option<SchoolKey>,
    /// The groups.
    pub grouping: Grouping,
    /// The days.
    pub period: PeriodQuery,
    /// Whether small numbers are suppressed.
    pub suppress_small_numbers: bool,
}

/// What a group is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKey {
    /// A school.
    School(SchoolName),
    /// A year group, by its number; nothing for pupils of whom none is recorded.
    YearGroup(Option<i16>),
    /// A week.
    Week(Span),
    /// A term by name.
    Term(String, Span),
    /// The days that belong to no term.
    OutsideTerms,
}

/// The figures of a group, with what of them is not to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The counts.
    pub counts: AttendanceCounts,
    /// Whether the tally is suppressed.
    pub tally_hidden: bool,
    /// Whether the pupils, the persistently and the severely absent among them are suppressed.
    pub pupils_hidden: [bool; 3],
    /// The same of the enrolments.
    pub enrolments_hidden: [bool; 3],
}

/// Attendance over a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttendanceSummary {
    /// The days that were counted.
    pub period: Period,
    /// The school or the trust as a whole.
    pub whole: Figures,
    /// The groups in order.
    pub groups: Vec<(GroupKey, Figures)>,
    /// Counts from 1 to below it are suppressed; nothing where none are.
    pub small_number_limit: Option<u64>,
}

/// The groups that are parts of the period, with the places of each in the registers of a school.
struct Parts {
    keys: Vec<GroupKey>,
    by_school: HashMap<SchoolId, Vec<Places>>,
}

impl Service {
    /// Counts the attendance of a school or of the trust.
    ///
    /// # Errors
    /// `Invalid` for a period that is none, `NotFound` where there is no such trust or school.
    pub async fn summarize_attendance(
        &self,
        trust: TrustId,
        asked: &AttendanceQuery,
    ) -> Result<AttendanceSummary, ServiceError> {
        let period = asked.period.resolve(self.moment())?;
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            timeline_of(&mut transaction, trust).await?;
            let (one, whole) = match &asked.school {
                None => (None, Whole::Trust),
                Some(key) => {
                    let school = resolve_school(&mut transaction, trust, key).await?;
                    let school = school.ok_or(ServiceError::NotFound(Resource::School))?;
                    (Some(school.0), Whole::School)
                }
            };
            let every_school = school_names(&mut transaction, trust, None).await?;
            let ids: Vec<Uuid> = every_school.iter().map(|school| school.school_id).collect();
            let calendars = match asked.grouping {
                Grouping::Term => calendars_of(&mut transaction, trust, &ids).await?,
                _ => Calendars::default(),
            };
            let parts = Parts::of(asked.grouping, &every_school, &calendars, period);
            let mut counter = Counter {
                grouping: asked.grouping,
                period,
                whole,
                parts: &parts,
                all: AttendanceCounts::default(),
                by_part: vec![AttendanceCounts::default(); parts.keys.len()],
                by_year_group: BTreeMap::new(),
                by_school: Vec::new(),
            };
            // A school at a time, so that no more than its registers are in memory.
            for school in every_school {
                if one.is_none_or(|one| one == school.school_id) {
                    let at = school.school_id;
                    let registers = registers_of_pupils_at(&mut transaction, trust, at, period.year).await?;
                    counter.add_school(school, &registers);
                }
            }
            Ok((counter.all, counter.into_groups()))
        }
        .await;
        let (all, groups) = finish(transaction, read).await?;
        let limit = asked.suppress_small_numbers.then_some(self.limits.small_number_limit);
        Ok(summary(period, all, groups, limit))
    }
}

impl Parts {
    fn of(grouping: Grouping, schools: &[SchoolName], calendars: &Calendars, period: Period) -> Parts {
        let days = period.days();
        match grouping {
            Grouping::Week => {
                let (spans, places): (Vec<_>, Vec<_>) = weeks_of(period.year, &days).into_iter().unzip();
                Parts {
                    keys: spans.into_iter().map(GroupKey::Week).collect(),
                    by_school: schools
                        .iter()
                        .map(|school| (SchoolId(school.school_id), places.clone()))
                        .collect(),
                }
            }
            Grouping::Term => Parts::of_terms(schools, calendars, period),
            _ => Parts {
                keys: Vec::new(),
                by_school: HashMap::new(),
            },
        }
    }

    /// Terms of one name are one group, whatever their days at each school; the last group is of the days outside of terms.
    fn of_terms(schools: &[SchoolName], calendars: &Calendars, period: Period) -> Parts {
        let of_schools: Vec<_> = schools
            .iter()
            .map(|school| SchoolId(school.school_id))
            .map(|school| (school, terms_of(calendars.of(school), period.year, &period.days())))
            .collect();
        let mut spans: BTreeMap<&str, Span> = BTreeMap::new();
        for (name, (span, _)) in of_schools.iter().flat_map(|(_, (terms, _))| terms) {
            let known = spans.entry(name).or_insert(*span);
            known.first = known.first.min(span.first);
            known.last = known.last.max(span.last);
        }
        let mut names: Vec<(&str, Span)> = spans.into_iter().collect();
        names.sort_by_key(|(_, span)| (span.first, span.last));
        let by_school = of_schools.iter().map(|(school, (terms, outside))| {
            let places = names
                .iter()
                .map(|(name, _)| terms.get(*name).map(|(_, places)| places.clone()).unwrap_or_default());
            (*school, places.chain([outside.clone()]).collect())
        });
        let keys = names
            .iter()
            .map(|(name, span)| GroupKey::Term((*name).to_owned(), *span));
        Parts {
            by_school: by_school.collect(),
            keys: keys.chain([GroupKey::OutsideTerms]).collect(),
        }
    }
}

/// Counts a trust, school by school.
struct Counter<'a> {
    grouping: Grouping,
    period: Period,
    whole: Whole,
    parts: &'a Parts,
    all: AttendanceCounts,
    by_part: Vec<AttendanceCounts>,
    by_year_group: BTreeMap<(bool, Option<i16>), AttendanceCounts>,
    by_school: Vec<(SchoolName, AttendanceCounts)>,
}

impl Counter<'_> {
    /// Counts the pupils of a school, of whom all registers are there, pupil after pupil.
    fn add_school(&mut self, school: SchoolName, registers: &[PupilRegister]) {
        let at = SchoolId(school.school_id);
        let days = [places_of(self.period.year, &self.period.days())];
        let mut of_school = AttendanceCounts::default();
        let mut tallies: Vec<(SchoolId, Tally)> = Vec::new();
        for pupil in registers.chunk_by(|one, next| one.pupil_id == next.pupil_id) {
            let counted: Vec<(SchoolId, PrefixTallies)> = pupil
                .iter()
                .map(|register| (SchoolId(register.school_id), PrefixTallies::of_marks(&register.marks)))
                .collect();
            tallies.clear();
            tallies.extend(
                counted
                    .iter()
                    .map(|(school, prefix)| (*school, tally_of(prefix, &days))),
            );
            self.all.add_pupil(at, self.whole, &tallies);
            match self.grouping {
                Grouping::None => {}
                Grouping::School => of_school.add_pupil(at, Whole::School, &tallies),
                Grouping::YearGroup => {
                    let year_group = pupil.first().and_then(|register| register.year_group);
                    let group = self
                        .by_year_group
                        .entry((year_group.is_none(), year_group))
                        .or_default();
                    group.add_pupil(at, self.whole, &tallies);
                }
                Grouping::Week | Grouping::Term => {
                    for (part, counts) in self.by_part.iter_mut().enumerate() {
                        tallies.clear();
                        tallies.extend(counted.iter().map(|(school, prefix)| {
                            let places = self.parts.by_school.get(school).and_then(|places| places.get(part));
                            (*school, tally_of(prefix, places.map_or(&[], Vec::as_slice)))
                        }));
                        counts.add_pupil(at, self.whole, &tallies);
                    }
                }
            }
        }
        if self.grouping == Grouping::School {
            self.by_school.push((school, of_school));
        }
    }

    /// The groups with a possible session, in order.
    fn into_groups(self) -> Vec<(GroupKey, AttendanceCounts)> {
        let parts = self.parts.keys.iter().cloned().zip(self.by_part);
        let year_groups = self.by_year_group.into_iter();
        let year_groups = year_groups.map(|((_, year_group), counts)| (GroupKey::YearGroup(year_group), counts));
        let schools = self.by_school.into_iter();
        let schools = schools.map(|(school, counts)| (GroupKey::School(school), counts));
        let all = parts.chain(year_groups).chain(schools);
        all.filter(|(_, counts)| counts.tally.possible > 0).collect()
    }
}

fn summary(
    period: Period,
    all: AttendanceCounts,
    groups: Vec<(GroupKey, AttendanceCounts)>,
    small_number_limit: Option<u64>,
) -> AttendanceSummary {
    let shown = |counts| Figures {
        counts,
        ..Figures::default()
    };
    let mut whole = shown(all);
    let mut groups: Vec<(GroupKey, Figures)> = groups.into_iter().map(|(key, counts)| (key, shown(counts))).collect();
    if let Some(limit) = small_number_limit {
        suppress(&mut whole, &mut groups, limit);
    }
    AttendanceSummary {
        period,
        whole,
        groups,
        small_number_limit,
    }
}

type Measure = (fn(&AttendanceCounts) -> u64, fn(&mut Figures) -> &mut bool);

/// Suppresses each of the counts along the groups. A tally is suppressed with the number of those whose it is.
fn suppress(whole: &mut Figures, groups: &mut [(GroupKey, Figures)], limit: u64) {
    const MEASURES: [Measure; 6] = [
        (
            |counts| counts.pupils.with_sessions,
            |figures| &mut figures.pupils_hidden[0],
        ),
        (
            |counts| counts.pupils.persistent,
            |figures| &mut figures.pupils_hidden[1],
        ),
        (|counts| counts.pupils.severe, |figures| &mut figures.pupils_hidden[2]),
        (
            |counts| counts.enrolments.with_sessions,
            |figures| &mut figures.enrolments_hidden[0],
        ),
        (
            |counts| counts.enrolments.persistent,
            |figures| &mut figures.enrolments_hidden[1],
        ),
        (
            |counts| counts.enrolments.severe,
            |figures| &mut figures.enrolments_hidden[2],
        ),
    ];
    for (count, hidden) in MEASURES {
        let cells: Vec<u64> = groups.iter().map(|(_, figures)| count(&figures.counts)).collect();
        let line = suppress_line(&cells, count(&whole.counts), limit);
        *hidden(whole) = line.total;
        for ((_, figures), cell) in groups.iter_mut().zip(line.cells) {
            *hidden(figures) = cell;
        }
    }
    for figures in groups.iter_mut().map(|(_, figures)| figures).chain([whole]) {
        figures.tally_hidden = figures.pupils_hidden[0] || figures.enrolments_hidden[0];
    }
}
