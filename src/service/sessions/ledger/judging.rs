//! Judging the pupils of a batch: by their counts wherever these decide, and else by their records.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::{Ledger, RegisterEntry};
use crate::domain::identifiers::TrustId;
use crate::domain::pupil::home;
use crate::domain::session::AcademicYear;
use crate::domain::tally::Tally;
use crate::service::ServiceError;
use crate::service::judging::Judging;
use crate::store::TrustTransaction;
use crate::store::registers::{self, Window};
use crate::store::stages::StageRow;

impl Ledger<'_> {
    /// The pupils who had an episode before, by each earlier year of which a register was touched.
    fn touched_earlier(&self) -> BTreeMap<AcademicYear, Vec<StageRow>> {
        let mut touched: BTreeMap<AcademicYear, Vec<StageRow>> = BTreeMap::new();
        for pupil in self.pupils.iter().filter(|pupil| pupil.row.last_episode > 0) {
            let registers = self.enrolments[pupil.enrolments.clone()]
                .iter()
                .flat_map(|entry| &entry.registers)
                .map(|place| &self.registers[*place]);
            let written = registers.filter(|register| register.touched_from.is_some());
            let years: BTreeSet<AcademicYear> = written.map(|register| register.year).collect();
            for year in years.into_iter().filter(|year| *year < self.moment.year) {
                touched.entry(year).or_default().push(pupil.row.clone());
            }
        }
        touched
    }

    /// Judges the pupils of whom a register of the current year or an earlier one was touched. Comes after the registers were
    /// written.
    pub(in crate::service::sessions) async fn judge(
        self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        judging: &mut Judging,
    ) -> Result<(), ServiceError> {
        let (today, year) = (self.moment.today, self.moment.year);
        let keep_marks = self.window == Window::WHOLE;
        let window_end = self.window.offset + self.window.length;
        let counted = year.sessions_to(today);
        let mut later = Vec::new();
        let mut by_record = Vec::new();
        let earlier = self.touched_earlier();
        for pupil in self.pupils {
            let of_year: Vec<&RegisterEntry<'_>> = self.enrolments[pupil.enrolments.clone()]
                .iter()
                .flat_map(|entry| &entry.registers)
                .map(|place| &self.registers[*place])
                .filter(|register| register.year == year)
                .collect();
            if of_year.iter().all(|register| register.touched_from.is_none()) {
                continue;
            }
            let row = pupil.row;
            // Whether something was written before a mark that was there and counts, be it in another register, or before the
            // day since which the pupil has been at the stage: a policy may have moved the pupil without a mark.
            let length = of_year.iter().map(|register| register.length).max().unwrap_or(0);
            let since = row.since.and_then(|since| since.pred_opt());
            let moved = since.map_or(0, |before| year.sessions_to(before));
            let behind = of_year.iter().any(|register| {
                let from = register.touched_from;
                from.is_some_and(|from| from < length.max(moved).min(counted))
            });
            // What was raised may turn out never to have been reached.
            let spans = &self.enrolments[pupil.enrolments.clone()];
            let school = || home(spans.iter().map(|entry| &entry.span), today).map(|span| span.school);
            // Who was at schools under different policies within the year has been judged by each in its time.
            let several_schools =
                judging.timeline().differs_by_school() && spans.iter().any(|span| span.school_id != spans[0].school_id);
            if several_schools || !judging.decided_by_counts(&row, school) || (behind && row.episode > 0) {
                by_record.push(row);
                continue;
            }
            let tally: Tally = of_year
                .iter()
                .map(|register| {
                    // Writing has put the whole register's counts here, and has taken the bytes.
                    if register.touched_from.is_some() {
                        register.tally_outside
                    } else {
                        register.tally(today)
                    }
                })
                .sum();
            // In some days a pupil may leave a stage and come back to it.
            let several_days = of_year.iter().any(|register| {
                let end = if keep_marks { register.bytes.len() } else { window_end };
                let last = end.min(counted).saturating_sub(1);
                register.touched_from.is_some_and(|from| from / 2 < last / 2)
            });
            let stands = row.stage()? == judging.stage_of(tally, school)
                && row.academic_year == year.start_year()
                && (row.since.is_some() || tally.possible == 0)
                && !behind
                && !several_days;
            if stands {
                continue;
            }
            if keep_marks {
                let marks: Vec<&[u8]> = of_year.iter().map(|register| register.bytes.as_slice()).collect();
                if !judging.judge_by_counts(&row, tally, &marks, school)? {
                    by_record.push(row);
                }
            } else {
                later.push((row, tally, school()));
            }
        }
        if !later.is_empty() {
            let pupils: Vec<Uuid> = later.iter().map(|(row, ..)| row.pupil_id).collect();
            let whole = registers::whole(transaction, trust, &pupils, year).await?;
            let mut marks_of: HashMap<Uuid, Vec<&[u8]>> = HashMap::with_capacity(pupils.len());
            for register in &whole {
                marks_of.entry(register.pupil_id).or_default().push(&register.marks);
            }
            for (row, tally, school) in later {
                let marks = marks_of.get(&row.pupil_id).map_or(&[][..], Vec::as_slice);
                if !judging.judge_by_counts(&row, tally, marks, || school)? {
                    by_record.push(row);
                }
            }
        }
        judging.judge_locked(transaction, trust, &by_record).await?;
        for (year, rows) in earlier {
            judging.judge_earlier_year(transaction, trust, year, &rows).await?;
        }
        Ok(())
    }
}
