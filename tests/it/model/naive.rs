//! The model: what the rules of the domain say of a pupil, worked out from scratch for each question out of everything that
//! ever happened. It shares no code with the service.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};

/// A school of a history.
pub type SchoolPlace = usize;

/// Counts of sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub attended: i64,
    pub possible: i64,
    pub authorised: i64,
    pub unauthorised: i64,
}

impl Counts {
    fn plus(self, other: Counts) -> Counts {
        Counts {
            attended: self.attended + other.attended,
            possible: self.possible + other.possible,
            authorised: self.authorised + other.authorised,
            unauthorised: self.unauthorised + other.unauthorised,
        }
    }

    fn minus(self, other: Counts) -> Counts {
        Counts {
            attended: self.attended - other.attended,
            possible: self.possible - other.possible,
            authorised: self.authorised - other.authorised,
            unauthorised: self.unauthorised - other.unauthorised,
        }
    }

    fn of(code: &str) -> Counts {
        let (attended, possible, authorised, unauthorised) = match code {
            "/" | "\\" | "L" | "V" => (1, 1, 0, 0),
            "I" | "C" => (0, 1, 1, 0),
            "O" | "G" => (0, 1, 0, 1),
            "D" | "Y1" | "#" => (0, 0, 0, 0),
            other => panic!("the model has no code {other}"),
        };
        Counts {
            attended,
            possible,
            authorised,
            unauthorised,
        }
    }

    fn tenths(self) -> i64 {
        (2000 * self.attended + self.possible) / (2 * self.possible)
    }

    /// In per cent, half up to one decimal.
    pub fn display(self) -> String {
        if self.possible == 0 {
            return String::new();
        }
        format!("{}.{}", self.tenths() / 10, self.tenths() % 10)
    }

    pub fn persistent(self) -> bool {
        self.possible > 0 && (self.possible - self.attended) * 10 >= self.possible
    }

    pub fn severe(self) -> bool {
        self.possible > 0 && (self.possible - self.attended) * 2 >= self.possible
    }
}

/// Which sessions a policy judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    Year,
    Weeks(usize),
    Term,
}

/// The settings of a policy.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub window: Window,
    /// The lower bounds of U and 1 to 4 in tenths of a per cent, and whether the bound itself belongs to the better stage.
    pub bounds: [(i64, bool); 5],
    pub rounded: bool,
    pub minimum: i64,
    pub each_enrolment_alone: bool,
    pub reached_stage_only: bool,
    pub fall_waits: bool,
}

/// The bands of the default policy.
pub const DEFAULT_BOUNDS: [(i64, bool); 5] = [(950, false), (930, true), (900, false), (800, true), (500, true)];

impl Settings {
    fn band(&self, counts: Counts) -> usize {
        if counts.possible == 0 {
            return 0;
        }
        let better = |(bound, inclusive): &(i64, bool)| {
            let (value, limit) = if self.rounded {
                (counts.tenths(), *bound)
            } else {
                (1000 * counts.attended, bound * counts.possible)
            };
            value > limit || (*inclusive && value == limit)
        };
        self.bounds.iter().position(better).unwrap_or(5)
    }

    fn judge(&self, counts: Counts) -> Judged {
        let computed = self.band(counts);
        let too_little = counts.possible == 0 || counts.possible < self.minimum;
        Judged {
            counts,
            computed,
            too_little,
            stage: if too_little { 0 } else { computed },
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Judged {
    counts: Counts,
    computed: usize,
    too_little: bool,
    stage: usize,
}

/// What a person did about a pupil's stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldKind {
    AtLeast(usize),
    DelayFall,
    ConfirmFall,
}

#[derive(Clone, Copy, Debug)]
pub enum Happening {
    Mark {
        pupil: usize,
        /// The place among the pupil's enrolments of the one in whose register the mark is.
        enrolment: usize,
        date: NaiveDate,
        afternoon: bool,
        /// Nothing where the mark is taken away.
        code: Option<&'static str>,
    },
    Hold {
        pupil: usize,
        hold: usize,
        kind: HoldKind,
        from: NaiveDate,
        to: NaiveDate,
    },
    EndHold {
        hold: usize,
        last: NaiveDate,
    },
    Policy {
        school: Option<SchoolPlace>,
        /// Nothing where a school follows the trust's policy again.
        version: Option<usize>,
    },
}

/// A pupil at a school.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub school: SchoolPlace,
    pub subsidiary: bool,
    pub start: NaiveDate,
    pub end: Option<NaiveDate>,
}

impl Span {
    pub fn on_roll(&self, date: NaiveDate) -> bool {
        self.start <= date && self.end.is_none_or(|end| date <= end)
    }
}

/// Two parts of a term, before and after half term.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    pub name: &'static str,
    pub first: NaiveDate,
    pub last: NaiveDate,
}

/// The calendar of a school.
#[derive(Clone, Debug, Default)]
pub struct SchoolCalendar {
    pub terms: Vec<Term>,
    /// Weekdays of the terms on which pupils are not in.
    pub inset: Vec<NaiveDate>,
}

impl SchoolCalendar {
    pub fn is_open(&self, date: NaiveDate) -> bool {
        let in_term = |term: &Term| term.first <= date && date <= term.last;
        date.weekday().number_from_monday() <= 5 && self.terms.iter().any(in_term) && !self.inset.contains(&date)
    }

    fn window_from(&self, window: Window, date: NaiveDate) -> NaiveDate {
        let first = first_of_year(date);
        match window {
            Window::Year => first,
            // The first day of the parts of the term that began last.
            Window::Term => {
                let begun = self
                    .terms
                    .iter()
                    .filter(|term| first <= term.first && term.first <= date);
                let Some(current) = begun.max_by_key(|term| term.first) else {
                    return first;
                };
                let of_year = |term: &&Term| term.name == current.name && first_of_year(term.first) == first;
                self.terms.iter().filter(of_year).map(|term| term.first).min().unwrap()
            }
            Window::Weeks(weeks) => {
                let mut monday = date - Days::new(u64::from(date.weekday().num_days_from_monday()));
                let mut counted = 0;
                while monday > first {
                    counted += usize::from(monday.iter_days().take(7).any(|day| self.is_open(day)));
                    if counted == weeks {
                        return monday;
                    }
                    monday = monday - Days::new(7);
                }
                first
            }
        }
    }
}

/// Everything that happened.
pub struct Naive {
    pub calendars: Vec<SchoolCalendar>,
    /// The drafts of policies; the version is the place plus 1.
    pub policies: Vec<Settings>,
    pub enrolments: Vec<Vec<Span>>,
    pub happened: Vec<(DateTime<Utc>, Happening)>,
}

/// What the rules say of a pupil on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub stage: usize,
    pub computed: usize,
    pub too_little: bool,
    pub counts: Counts,
    pub year_counts: Counts,
    pub since: Option<NaiveDate>,
    pub version: usize,
    pub held: bool,
    pub fall_waits: bool,
    /// The stage of greatest need after any session of the academic year.
    pub peak: usize,
}

pub fn first_of_year(date: NaiveDate) -> NaiveDate {
    let year = date.year() - i32::from(date.month() < 8);
    NaiveDate::from_ymd_opt(year, 8, 1).unwrap()
}

struct Held {
    hold: usize,
    kind: HoldKind,
    from: NaiveDate,
    to: NaiveDate,
}

impl Naive {
    /// The sessions after a day that are marked in the register of one of a pupil's enrolments.
    pub fn marked_after(&self, pupil: usize, enrolment: usize, last: NaiveDate) -> Vec<(NaiveDate, bool)> {
        let mut marked = BTreeSet::new();
        for (_, happening) in &self.happened {
            match happening {
                Happening::Mark {
                    pupil: of,
                    enrolment: at,
                    date,
                    afternoon,
                    code,
                } if (*of, *at) == (pupil, enrolment) && *date > last => {
                    if code.is_some() {
                        marked.insert((*date, *afternoon));
                    } else {
                        marked.remove(&(*date, *afternoon));
                    }
                }
                _ => {}
            }
        }
        marked.into_iter().collect()
    }

    /// The enrolment by which a day is judged: main or sole before subsidiary.
    fn home(&self, pupil: usize, date: NaiveDate) -> SchoolPlace {
        let spans = &self.enrolments[pupil];
        let on_roll = spans.iter().filter(|span| span.on_roll(date));
        let home = on_roll.min_by_key(|span| span.subsidiary);
        home.unwrap_or(&spans[0]).school
    }

    /// The version that judges a day at a school: the last that came into force on or before it, the school's own first.
    /// The trust's first also judges the days before it.
    fn policy_on(&self, known: &[Happening], days: &[NaiveDate], school: SchoolPlace, date: NaiveDate) -> usize {
        let mut of_school = None;
        let mut of_trust = None;
        for (happening, on) in known.iter().zip(days) {
            if let Happening::Policy { school: of, version } = happening
                && *on <= date
            {
                match of {
                    Some(of) if *of == school => of_school = *version,
                    None => of_trust = *version,
                    Some(_) => {}
                }
            }
        }
        of_school.or(of_trust).unwrap_or(1)
    }

    /// What is true of a pupil on a day, as far as it was known at a moment.
    pub fn answer(&self, pupil: usize, as_of: NaiveDate, known_at: Option<DateTime<Utc>>) -> Answer {
        let first = first_of_year(as_of);
        let spans = &self.enrolments[pupil];
        let sessions = usize::try_from(2 * ((as_of - first).num_days() + 1)).unwrap();
        let happened = || {
            let known = self
                .happened
                .iter()
                .filter(|(at, _)| known_at.is_none_or(|known_at| *at <= known_at));
            known.map(|(at, happening)| (at.date_naive(), *happening))
        };
        let (days, known): (Vec<_>, Vec<_>) = happened().unzip();

        // The last mark of each session, by enrolment.
        let mut marks = vec![vec![None; sessions]; spans.len()];
        let mut holds: Vec<Held> = Vec::new();
        for happening in &known {
            match *happening {
                Happening::Mark {
                    pupil: of,
                    enrolment,
                    date,
                    afternoon,
                    code,
                } if of == pupil && date >= first && date <= as_of => {
                    let place = usize::try_from(2 * (date - first).num_days()).unwrap() + usize::from(afternoon);
                    marks[enrolment][place] = code;
                }
                Happening::Hold {
                    pupil: of,
                    hold,
                    kind,
                    from,
                    to,
                } if of == pupil => holds.push(Held { hold, kind, from, to }),
                Happening::EndHold { hold, last } => {
                    for held in holds.iter_mut().filter(|held| held.hold == hold) {
                        held.to = last;
                    }
                }
                _ => {}
            }
        }
        // sums[enrolment][n]: the counts of its first n sessions of the year.
        let sums: Vec<Vec<Counts>> = marks
            .iter()
            .map(|marks| {
                let mut sum = Counts::default();
                let mut sums = vec![sum];
                for mark in marks {
                    sum = mark.map_or(sum, |code| sum.plus(Counts::of(code)));
                    sums.push(sum);
                }
                sums
            })
            .collect();
        let all_of = |session: usize| -> Counts {
            let each = sums.iter().map(|sums| sums[session]);
            each.fold(Counts::default(), Counts::plus)
        };

        let mut answer = Answer {
            stage: 0,
            computed: 0,
            too_little: true,
            counts: Counts::default(),
            year_counts: all_of(sessions),
            since: None,
            version: 1,
            held: false,
            fall_waits: false,
            peak: 0,
        };
        let mut by_counts = 0;
        let mut of_day_before = 0;
        for day in 0..sessions / 2 {
            let date = first + Days::new(day as u64);
            answer.version = self.policy_on(&known, &days, self.home(pupil, date), date);
            let policy = &self.policies[answer.version - 1];
            let in_force = || holds.iter().filter(|held| held.from <= date && date <= held.to);
            let confirmed = in_force().any(|held| held.kind == HoldKind::ConfirmFall);
            let delayed = in_force().any(|held| held.kind == HoldKind::DelayFall);
            let at_least = in_force().filter_map(|held| match held.kind {
                HoldKind::AtLeast(stage) => Some(stage),
                _ => None,
            });
            let at_least = at_least.max().unwrap_or(0);
            let waits = policy.fall_waits && !confirmed;
            let window_from = |school: SchoolPlace| {
                let from = self.calendars[school].window_from(policy.window, date);
                usize::try_from(2 * (from - first).num_days()).unwrap()
            };
            for session in [2 * day + 1, 2 * day + 2] {
                let judged = if policy.each_enrolment_alone {
                    let on_roll = (0..spans.len()).filter(|place| spans[*place].on_roll(date));
                    let alone = on_roll.map(|place| {
                        let from = window_from(spans[place].school).min(session);
                        policy.judge(sums[place][session].minus(sums[place][from]))
                    });
                    alone.reduce(|worst, next| if next.stage > worst.stage { next } else { worst })
                } else {
                    None
                };
                let judged = judged.unwrap_or_else(|| {
                    let from = window_from(self.home(pupil, date)).min(session);
                    policy.judge(all_of(session).minus(all_of(from)))
                });
                by_counts = if waits || delayed {
                    judged.stage.max(by_counts)
                } else {
                    judged.stage
                };
                answer.stage = by_counts.max(at_least);
                answer.peak = answer.peak.max(answer.stage);
                answer.computed = judged.computed;
                answer.too_little = judged.too_little;
                answer.counts = judged.counts;
                answer.fall_waits = waits && by_counts > judged.stage;
                answer.held = at_least > by_counts || (!waits && delayed && by_counts > judged.stage);
            }
            let changed = answer.stage != of_day_before;
            if changed {
                answer.since = None;
            }
            let of_the_day = all_of(2 * day + 2).minus(all_of(2 * day));
            if answer.since.is_none() && (changed || of_the_day.possible > 0) {
                answer.since = Some(date);
            }
            of_day_before = answer.stage;
        }
        answer
    }
}
