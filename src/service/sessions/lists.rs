//! Lists of sessions: registers, revisions, N that stayed N, sessions that two schools marked.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::calendar::Calendar;
use crate::domain::dual::{SchoolMark, doubly_marked};
use crate::domain::identifiers::{PupilKey, SchoolId, SchoolKey, TrustId};
use crate::domain::session::{AcademicYear, Session};
use crate::domain::tally::Tally;
use crate::service::schools::{optional_school, require_school};
use crate::service::transaction::{existing_pupil, finish};
use crate::service::trusts::require_trust;
use crate::service::{Page, PageOf, Service, ServiceError, one_more};
use crate::store::registers::{self, WholeRegister};
use crate::store::revisions::{self, Revision, RevisionFilter, RevisionKey, RevisionOrder, RevisionsOf};
use crate::store::summaries::school_names;
use crate::store::{TrustTransaction, calendars, merges, records, session_lists};

/// An N that is older than so many school days must not stay one. Source: the 2024 regulations ask for the reason as soon as
/// practicable, and guidance for no later than five school days after the session.
const UNEXPLAINED_SCHOOL_DAYS: usize = 5;

/// How many dually registered pupils are read at once.
const PUPILS_AT_ONCE: usize = 500;

/// A pupil's register of a year, with its counts of today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterOfYear {
    /// The register.
    pub register: WholeRegister,
    /// The counts of the marks dated up to today.
    pub tally: Tally,
}

/// Which revisions are asked for.
#[derive(Clone, Debug)]
pub struct RevisionQuery {
    /// Only those of this pupil.
    pub pupil: Option<PupilKey>,
    /// Only those in the registers of this school.
    pub school: Option<SchoolKey>,
    /// Only sessions on or after this date.
    pub from: Option<NaiveDate>,
    /// Only sessions on or before this date.
    pub to: Option<NaiveDate>,
    /// Only those recorded at or after this time.
    pub recorded_from: Option<DateTime<Utc>>,
    /// Only those recorded before this time.
    pub recorded_before: Option<DateTime<Utc>>,
    /// The order.
    pub order: RevisionOrder,
}

/// A session that is still marked N.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnexplainedAbsence {
    /// The pupil.
    pub pupil_id: Uuid,
    /// The enrolment.
    pub enrolment_id: Uuid,
    /// The school.
    pub school_id: Uuid,
    /// The session.
    pub session: Session,
    /// School days of the school after the session's, today among them.
    pub school_days: usize,
    key: AbsenceKey,
}

/// The place of an N in the list: the place of the session, and the enrolment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbsenceKey(i16, Uuid);

/// Which sessions that two schools marked are asked for.
#[derive(Clone, Debug, Default)]
pub struct DoublyMarkedQuery {
    /// Only those in which this school is one of the two.
    pub school: Option<SchoolKey>,
    /// Only those of this pupil.
    pub pupil: Option<PupilKey>,
    /// The academic year; nothing for the current one.
    pub year: Option<AcademicYear>,
}

/// A session that counts twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoublyMarked {
    /// The pupil.
    pub pupil_id: Uuid,
    /// The session.
    pub session: Session,
    /// The mark of each school.
    pub marks: Vec<SchoolMark>,
}

impl Service {
    /// A pupil's registers of a year (the current one where none is given), one for each enrolment with marks.
    pub async fn list_registers(
        &self,
        trust: TrustId,
        pupil: &PupilKey,
        year: Option<AcademicYear>,
    ) -> Result<(AcademicYear, Vec<RegisterOfYear>), ServiceError> {
        let moment = self.moment();
        let year = year.unwrap_or(moment.year);
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let pupil = existing_pupil(&mut transaction, trust, pupil).await?;
            Ok(registers::whole(&mut transaction, trust, &[pupil.0], year).await?)
        }
        .await;
        let registers = finish(transaction, read).await?;
        let registers = registers.into_iter().map(|register| RegisterOfYear {
            tally: crate::domain::register::tally_to(&register.marks, year, moment.today),
            register,
        });
        Ok((year, registers.collect()))
    }

    /// Revisions of a pupil, a school or the whole trust, latest first in the order asked for.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust, school or pupil.
    pub async fn list_revisions(
        &self,
        trust: TrustId,
        query: &RevisionQuery,
        page: Page<RevisionKey>,
    ) -> Result<PageOf<Revision, RevisionKey>, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let of = revisions_of(&mut transaction, trust, query).await?;
            let filter = RevisionFilter {
                of,
                from: query.from,
                to: query.to,
                recorded_from: query.recorded_from,
                recorded_before: query.recorded_before,
                order: query.order,
                behind: page.after,
            };
            Ok(revisions::list(&mut transaction, trust, &filter, one_more(page.size)).await?)
        }
        .await;
        let rows = finish(transaction, read).await?;
        Ok(PageOf::from_rows(rows, page.size, Revision::key))
    }

    /// Sessions of a year (the current one where none is given) that are still marked N more than five school days later, the
    /// oldest first.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or school.
    pub async fn list_unexplained_absences(
        &self,
        trust: TrustId,
        school: Option<&SchoolKey>,
        year: Option<AcademicYear>,
        page: Page<AbsenceKey>,
    ) -> Result<PageOf<UnexplainedAbsence, AbsenceKey>, ServiceError> {
        let moment = self.moment();
        let year = year.unwrap_or(moment.year);
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let schools = schools_of(&mut transaction, trust, school).await?;
            let calendars = calendars::calendars_of(&mut transaction, trust, &schools).await?;
            let limits: Vec<(Uuid, i16)> = schools
                .iter()
                .filter_map(|school| {
                    let before = unexplained_before(calendars.of(SchoolId(*school)), year, moment.today)?;
                    Some((*school, i16::try_from(before).unwrap_or(i16::MAX)))
                })
                .collect();
            let behind = page.after.map(|AbsenceKey(place, enrolment)| (place, enrolment));
            let most = one_more(page.size);
            let found = session_lists::unexplained(&mut transaction, trust, &limits, year, behind, most).await?;
            let absences = found.into_iter().map(|found| {
                let session = year.session_at(usize::try_from(found.place).unwrap_or_default());
                let calendar = calendars.of(SchoolId(found.school_id));
                let since = session.date.succ_opt().unwrap_or(session.date);
                UnexplainedAbsence {
                    pupil_id: found.pupil_id,
                    enrolment_id: found.enrolment_id,
                    school_id: found.school_id,
                    session,
                    school_days: calendar.open_days(since..=moment.today).count(),
                    key: AbsenceKey(found.place, found.enrolment_id),
                }
            });
            Ok(absences.collect())
        }
        .await;
        let rows = finish(transaction, read).await?;
        Ok(PageOf::from_rows(rows, page.size, |absence: &UnexplainedAbsence| {
            absence.key
        }))
    }

    /// Sessions of a year that both schools of dually registered pupils marked as possible, by pupil and then by session.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust, school or pupil.
    pub async fn list_doubly_marked(
        &self,
        trust: TrustId,
        query: &DoublyMarkedQuery,
        page: Page<(Uuid, usize)>,
    ) -> Result<PageOf<DoublyMarked, (Uuid, usize)>, ServiceError> {
        let year = query.year.unwrap_or(self.moment().year);
        let place = |session: Session| year.index_of(session).unwrap_or_default();
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            require_trust(&mut transaction, trust).await?;
            let school = optional_school(&mut transaction, trust, query.school.as_ref()).await?;
            let one = match &query.pupil {
                Some(key) => Some(existing_pupil(&mut transaction, trust, key).await?.0),
                None => None,
            };
            let (mut from, after) = match page.after {
                Some((pupil, place)) => (pupil, Some((pupil, place))),
                None => (Uuid::nil(), None),
            };
            let mut rows = Vec::new();
            loop {
                let pupils = match one {
                    Some(pupil) => vec![pupil],
                    None => {
                        session_lists::dually_registered(&mut transaction, trust, from, PUPILS_AT_ONCE as i64).await?
                    }
                };
                let last = pupils.last().copied();
                for (pupil_id, record) in records::records_of(&mut transaction, trust, &pupils, &[year]).await? {
                    for (session, marks) in doubly_marked(&record, year) {
                        let wanted = school.is_none_or(|school| marks.iter().any(|mark| mark.school == school))
                            && after.is_none_or(|after| (pupil_id, place(session)) > after);
                        if wanted {
                            rows.push(DoublyMarked {
                                pupil_id,
                                session,
                                marks,
                            });
                        }
                    }
                }
                match last {
                    Some(last) if one.is_none() && pupils.len() == PUPILS_AT_ONCE && rows.len() <= page.size => {
                        from = next(last);
                    }
                    _ => return Ok(rows),
                }
            }
        }
        .await;
        let rows = finish(transaction, read).await?;
        Ok(PageOf::from_rows(rows, page.size, |row: &DoublyMarked| {
            (row.pupil_id, place(row.session))
        }))
    }
}

/// The UUID after one.
fn next(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_add(1))
}

/// A school, or all of the trust's.
async fn schools_of(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    school: Option<&SchoolKey>,
) -> Result<Vec<Uuid>, ServiceError> {
    match school {
        Some(key) => Ok(vec![require_school(transaction, trust, key).await?.0]),
        None => {
            require_trust(transaction, trust).await?;
            let names = school_names(transaction, trust, None).await?;
            Ok(names.into_iter().map(|name| name.school_id).collect())
        }
    }
}

async fn revisions_of(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    query: &RevisionQuery,
) -> Result<RevisionsOf, ServiceError> {
    let Some(pupil) = &query.pupil else {
        return Ok(RevisionsOf::Schools(
            schools_of(transaction, trust, query.school.as_ref()).await?,
        ));
    };
    let school = optional_school(transaction, trust, query.school.as_ref())
        .await?
        .map(|school| school.0);
    let pupil = existing_pupil(transaction, trust, pupil).await?;
    Ok(RevisionsOf::Pupil {
        pupil_id: pupil.0,
        kept_under: merges::related(transaction, trust, pupil.0).await?,
        school,
    })
}

/// The place of a year's register before which an N is older than five school days; nothing where none can be.
fn unexplained_before(calendar: &Calendar, year: AcademicYear, today: NaiveDate) -> Option<usize> {
    // The day that is five school days before the latest one: whatever lies before it is older than that.
    let open: Vec<NaiveDate> = calendar.open_days(year.first_day()..=today).collect();
    let first = open.len().checked_sub(UNEXPLAINED_SCHOOL_DAYS + 1)?;
    let before = open[first].pred_opt().map_or(0, |date| year.sessions_to(date));
    (before > 0).then_some(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::calendar::CalendarYear;

    #[test]
    fn an_n_is_listed_from_the_sixth_school_day_after_it() {
        let date = |text: &str| text.parse::<NaiveDate>().unwrap();
        let year = AcademicYear::from_start_year(2025).unwrap();
        // Two weeks from Monday 8 September, without their weekends.
        let days = date("2025-09-08").iter_days().take(12);
        let days = days.filter(|day| !["2025-09-13", "2025-09-14"].map(date).contains(day));
        let calendar = Calendar::new([CalendarYear::from_marked_days(year, days)]);
        let listed = |today: &str, marked: &str| {
            let before = unexplained_before(&calendar, year, date(today)).unwrap_or(0);
            year.sessions_to(date(marked)) <= before
        };
        assert!(!listed("2025-09-15", "2025-09-08"), "five school days later");
        assert!(listed("2025-09-16", "2025-09-08"), "six school days later");
        assert!(!listed("2025-09-16", "2025-09-09"));
        assert!(!listed("2025-09-14", "2025-09-08"));
        assert_eq!(unexplained_before(&calendar, year, date("2025-09-12")), None);
    }
}
