//! The case file: everything that is on record of one pupil, of one moment, in pieces.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use uuid::Uuid;

use super::actions::reviews;
use super::error::Resource;
use super::judging::{Moment, timeline_of};
use super::policies::drafts::FoundPolicy;
use super::pupils::{Pupil, load_one};
use super::stages::{AsOf, PupilStage, stage_as_of};
use super::transaction::{existing_pupil, finish};
use super::{Service, ServiceError};
use crate::domain::action::{Action, ActionName};
use crate::domain::action_log::ActionEntry;
use crate::domain::identifiers::{EnrolmentId, PupilId, PupilKey, SchoolId, TrustId};
use crate::domain::plan::Plan;
use crate::domain::register::tally_to;
use crate::domain::session::AcademicYear;
use crate::domain::tally::Tally;
use crate::store::actions::plans::{self, PlanFilter};
use crate::store::actions::{self, ActionFilter, entries};
use crate::store::holds::HoldRow;
use crate::store::notices::NoticeRow;
use crate::store::policies;
use crate::store::pupil_changes::{self, Change};
use crate::store::revisions::{self, Revision, RevisionFilter, RevisionOrder, RevisionsOf};
use crate::store::schools::SchoolRow;
use crate::store::thresholds::{self, EventRow, session_number};
use crate::store::transitions::{self, RecordedTransition};
use crate::store::{StoreError, TrustTransaction, holds, merges, notices, records, schools, trusts};

/// The most items of one piece.
pub const PIECE_ITEMS_MAX: usize = 100;

/// The most entries of logs of one piece: each may hold some thousand characters.
const PIECE_ENTRIES_MAX: usize = 40;

/// Pieces that are read ahead of what was taken.
const PIECES_AHEAD: usize = 2;

/// How long a call waits for another case file to end where too many are read.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(5);

/// Whose file it is, and of when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseFileHeader {
    /// The moment.
    pub known_at: DateTime<Utc>,
    /// Its day.
    pub as_of: NaiveDate,
    /// The trust's name.
    pub trust_name: String,
    /// The pupil.
    pub pupil: Pupil,
    /// The schools of the enrolments, by name.
    pub schools: Vec<SchoolRow>,
    /// The stage on that day.
    pub stage: PupilStage,
}

/// The marks of one enrolment in one academic year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterOnFile {
    /// The enrolment.
    pub enrolment: EnrolmentId,
    /// The school.
    pub school: SchoolId,
    /// The academic year.
    pub year: AcademicYear,
    /// The marks.
    pub marks: Vec<u8>,
    /// The counts of those dated up to today.
    pub tally: Tally,
}

/// One thing on record.
#[derive(Clone, Debug, PartialEq)]
pub enum CaseFileItem {
    /// A policy by which the pupil is or was judged.
    Policy(Box<FoundPolicy>),
    /// Marks.
    Register(RegisterOnFile),
    /// A changed mark.
    Revision(Revision),
    /// A move between stages.
    Transition(Box<RecordedTransition>),
    /// A hold.
    Hold(Box<HoldRow>),
    /// An action.
    Action(Box<Action>),
    /// An entry of an action's log.
    Entry(ActionName, Box<ActionEntry>),
    /// A plan of support, with all its cycles, and the day on which it is looked at.
    Plan(Box<Plan>, NaiveDate),
    /// A threshold.
    Threshold(EventRow),
    /// A penalty notice.
    Notice(Box<NoticeRow>),
    /// What people did to the record beside that.
    Change(Box<Change>),
}

/// How many items of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaseFileCounts {
    /// Policies.
    pub policies: u64,
    /// Registers.
    pub registers: u64,
    /// Revisions.
    pub revisions: u64,
    /// Transitions.
    pub transitions: u64,
    /// Holds.
    pub holds: u64,
    /// Actions.
    pub actions: u64,
    /// Entries of logs.
    pub entries: u64,
    /// Plans of support.
    pub plans: u64,
    /// Thresholds.
    pub thresholds: u64,
    /// Penalty notices.
    pub notices: u64,
    /// Changes of the pupil.
    pub changes: u64,
    /// All of them.
    pub items: u64,
}

impl CaseFileCounts {
    fn count(&mut self, item: &CaseFileItem) {
        let of_kind = match item {
            CaseFileItem::Policy(_) => &mut self.policies,
            CaseFileItem::Register(_) => &mut self.registers,
            CaseFileItem::Revision(_) => &mut self.revisions,
            CaseFileItem::Transition(_) => &mut self.transitions,
            CaseFileItem::Hold(_) => &mut self.holds,
            CaseFileItem::Action(_) => &mut self.actions,
            CaseFileItem::Entry(..) => &mut self.entries,
            CaseFileItem::Plan(..) => &mut self.plans,
            CaseFileItem::Threshold(_) => &mut self.thresholds,
            CaseFileItem::Notice(_) => &mut self.notices,
            CaseFileItem::Change(_) => &mut self.changes,
        };
        *of_kind += 1;
        self.items += 1;
    }
}

/// A piece of a case file: the header first, the end last.
#[derive(Clone, Debug, PartialEq)]
pub enum CaseFilePart {
    /// Whose it is.
    Header(Box<CaseFileHeader>),
    /// Some items.
    Items(Vec<CaseFileItem>),
    /// The end.
    End(CaseFileCounts),
}

/// The pieces of a case file as they are read.
pub type CaseFileParts = mpsc::Receiver<Result<CaseFilePart, ServiceError>>;

impl Service {
    /// Reads a pupil's case file. All of it is read in one transaction, so that it is of one moment; a few pieces are read
    /// ahead of what is taken, and whoever takes none for a while gets no more.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such pupil; `Exhausted` where too many are read at once.
    pub async fn case_file(&self, trust: TrustId, key: &PupilKey) -> Result<CaseFileParts, ServiceError> {
        self.roll_over(trust).await?;
        let turn = timeout(WAIT_FOR_OTHERS, Semaphore::acquire_owned(Arc::clone(&self.case_files))).await;
        let Ok(Ok(turn)) = turn else {
            return Err(ServiceError::Exhausted {
                reason: "TOO_MANY_CASE_FILES",
                message: "too many case files are streamed already: read those to their ends, and ask again".to_owned(),
            });
        };
        let moment = self.moment();
        let mut transaction = self.store.begin_snapshot(trust).await?;
        let (pupil, header) = match read_header(&mut transaction, trust, key, moment).await {
            Ok(found) => found,
            Err(error) => return finish(transaction, Err(error)).await,
        };
        let (out, parts) = mpsc::channel(PIECES_AHEAD);
        let waits = self.limits.case_file_waits;
        tokio::spawn(async move {
            let mut file = Reading {
                transaction: &mut transaction,
                trust,
                pupil,
                moment,
                waits,
                out: out.clone(),
                counts: CaseFileCounts::default(),
            };
            let read = file.read(header).await;
            let ended = finish(transaction, read).await;
            // Others have their turn while the reader is told.
            drop(turn);
            if let Err(error) = ended {
                // Fails only where the reader is gone.
                let _ = out.send(Err(error)).await;
            }
        });
        Ok(parts)
    }
}

async fn read_header(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    key: &PupilKey,
    moment: Moment,
) -> Result<(PupilId, CaseFileHeader), ServiceError> {
    let id = existing_pupil(transaction, trust, key).await?;
    let pupil = load_one(transaction, trust, id).await?;
    let pupil = pupil.ok_or(ServiceError::NotFound(Resource::Pupil))?;
    let trust_row = trusts::find(transaction, trust).await?;
    let at: Vec<Uuid> = pupil
        .enrolments
        .iter()
        .map(|enrolment| enrolment.span.school.0)
        .collect();
    let header = CaseFileHeader {
        known_at: moment.now,
        as_of: moment.today,
        trust_name: trust_row.ok_or(ServiceError::NotFound(Resource::Trust))?.name,
        schools: schools::of_ids(transaction, trust, &at).await?,
        stage: stage_as_of(transaction, trust, id, AsOf::default(), moment).await?,
        pupil,
    };
    Ok((id, header))
}

/// A case file while it is read.
struct Reading<'t> {
    transaction: &'t mut TrustTransaction,
    trust: TrustId,
    pupil: PupilId,
    moment: Moment,
    waits: Duration,
    out: mpsc::Sender<Result<CaseFilePart, ServiceError>>,
    counts: CaseFileCounts,
}

impl Reading<'_> {
    async fn read(&mut self, header: CaseFileHeader) -> Result<(), ServiceError> {
        let judged_by = header.stage.policy_version;
        self.send(CaseFilePart::Header(Box::new(header))).await?;
        let mut with_parts = merges::parts_of(self.transaction, self.trust, self.pupil.0).await?;
        with_parts.push(self.pupil.0);
        self.policies(&with_parts, judged_by).await?;
        self.registers().await?;
        self.revisions().await?;
        self.transitions(&with_parts).await?;
        self.holds().await?;
        self.actions().await?;
        self.entries().await?;
        self.plans().await?;
        self.thresholds(&with_parts).await?;
        self.notices().await?;
        self.changes(&with_parts).await?;
        self.send(CaseFilePart::End(self.counts)).await
    }

    async fn send(&self, part: CaseFilePart) -> Result<(), ServiceError> {
        match timeout(self.waits, self.out.send(Ok(part))).await {
            Ok(Ok(())) => Ok(()),
            // The reader is gone: whatever is said now, nobody hears it.
            Ok(Err(_)) => Err(StoreError::Stopped.into()),
            Err(_) => Err(ServiceError::Exhausted {
                reason: "READER_TOO_SLOW",
                message: format!(
                    "nothing of the case file was taken for {} seconds: ask for it again, and read it to its end",
                    self.waits.as_secs()
                ),
            }),
        }
    }

    /// Sends items, and counts them. Returns whether there may be more of a list that is read so many at once.
    async fn items(&mut self, items: Vec<CaseFileItem>, at_once: usize) -> Result<bool, ServiceError> {
        let more = items.len() >= at_once;
        for item in &items {
            self.counts.count(item);
        }
        if !items.is_empty() {
            self.send(CaseFilePart::Items(items)).await?;
        }
        Ok(more)
    }

    /// The same for a list that is in memory as a whole.
    async fn all(&mut self, items: impl Iterator<Item = CaseFileItem>) -> Result<(), ServiceError> {
        let mut piece = Vec::with_capacity(PIECE_ITEMS_MAX);
        for item in items {
            piece.push(item);
            if piece.len() == PIECE_ITEMS_MAX {
                self.items(std::mem::take(&mut piece), PIECE_ITEMS_MAX).await?;
            }
        }
        self.items(piece, PIECE_ITEMS_MAX).await.map(|_| ())
    }

    async fn policies(&mut self, of: &[Uuid], judged_by: i32) -> Result<(), ServiceError> {
        let in_force = timeline_of(self.transaction, self.trust)
            .await?
            .in_force(self.moment.today);
        let mut versions = transitions::policy_versions(self.transaction, self.trust, of).await?;
        versions.push(judged_by);
        let rows = policies::of_versions(self.transaction, self.trust, &versions).await?;
        let found = rows.into_iter().map(|row| FoundPolicy {
            in_force: in_force.contains(&row.version),
            row,
        });
        self.all(found.map(|found| CaseFileItem::Policy(Box::new(found)))).await
    }

    /// A year of an enrolment has 732 bytes at the most, so that all of them are read at once.
    async fn registers(&mut self) -> Result<(), ServiceError> {
        let (pupil, today) = ([self.pupil.0], self.moment.today);
        let last = AcademicYear::clamped(NaiveDate::MAX);
        let years = records::years_of(self.transaction, self.trust, &pupil, last).await?;
        let found = records::records_of(self.transaction, self.trust, &pupil, &years).await?;
        let mut registers = Vec::new();
        for enrolment in found.into_iter().flat_map(|(_, record)| record.enrolments) {
            for (year, marks) in enrolment.registers {
                registers.push(CaseFileItem::Register(RegisterOnFile {
                    enrolment: enrolment.id,
                    school: enrolment.span.school,
                    year,
                    tally: tally_to(&marks, year, today),
                    marks: marks.into_owned(),
                }));
            }
        }
        self.all(registers.into_iter()).await
    }

    async fn revisions(&mut self) -> Result<(), ServiceError> {
        let mut filter = RevisionFilter {
            of: RevisionsOf::Pupil {
                pupil_id: self.pupil.0,
                kept_under: merges::related(self.transaction, self.trust, self.pupil.0).await?,
                school: None,
            },
            from: None,
            to: None,
            recorded_from: None,
            recorded_before: None,
            order: RevisionOrder::Recorded,
            behind: None,
        };
        loop {
            let rows = revisions::list(self.transaction, self.trust, &filter, PIECE_ITEMS_MAX as i64).await?;
            filter.behind = rows.last().map(Revision::key);
            let items = rows.into_iter().map(CaseFileItem::Revision).collect();
            if !self.items(items, PIECE_ITEMS_MAX).await? {
                return Ok(());
            }
        }
    }

    async fn transitions(&mut self, of: &[Uuid]) -> Result<(), ServiceError> {
        let mut after = 0;
        loop {
            let most = PIECE_ITEMS_MAX as i64;
            let rows = transitions::of_pupils(self.transaction, self.trust, of, after, most).await?;
            after = rows.last().map_or(after, |row| row.place.position);
            let items = rows.into_iter().map(|row| CaseFileItem::Transition(Box::new(row)));
            if !self.items(items.collect(), PIECE_ITEMS_MAX).await? {
                return Ok(());
            }
        }
    }

    /// A person makes each of them by hand, so that there are few.
    async fn holds(&mut self) -> Result<(), ServiceError> {
        let rows = holds::of_pupils(self.transaction, self.trust, &[self.pupil.0]).await?;
        self.all(rows.into_iter().map(|row| CaseFileItem::Hold(Box::new(row))))
            .await
    }

    async fn actions(&mut self) -> Result<(), ServiceError> {
        let filter = ActionFilter {
            all_episodes: true,
            states: Vec::new(),
        };
        let mut after = None;
        loop {
            let most = PIECE_ITEMS_MAX as i64;
            let mut rows =
                actions::list_actions(self.transaction, self.trust, self.pupil, &filter, after, most).await?;
            reviews::tell_next(self.transaction, self.trust, &mut rows, self.moment.today).await?;
            after = rows.last().map(|action| (action.name.episode, action.ordinal));
            let items = rows.into_iter().map(|action| CaseFileItem::Action(Box::new(action)));
            if !self.items(items.collect(), PIECE_ITEMS_MAX).await? {
                return Ok(());
            }
        }
    }

    async fn entries(&mut self) -> Result<(), ServiceError> {
        let mut after = None;
        loop {
            let most = PIECE_ENTRIES_MAX as i64;
            let rows = entries::of_pupil(self.transaction, self.trust, self.pupil, after.as_ref(), most).await?;
            after = rows
                .last()
                .map(|(name, entry)| (name.episode, name.provision.clone(), entry.ordinal));
            let items = rows
                .into_iter()
                .map(|(name, entry)| CaseFileItem::Entry(name, Box::new(entry)));
            if !self.items(items.collect(), PIECE_ENTRIES_MAX).await? {
                return Ok(());
            }
        }
    }

    /// People agree to each of them, so that there are few.
    async fn plans(&mut self) -> Result<(), ServiceError> {
        let filter = PlanFilter {
            today: self.moment.today,
            pupil: Some(self.pupil.0),
            ..PlanFilter::default()
        };
        let mut after = None;
        loop {
            let most = PIECE_ITEMS_MAX as i64;
            let listed = plans::list(self.transaction, self.trust, &filter, after, most).await?;
            after = listed.last().map(|(key, _)| *key);
            let more = listed.len() == PIECE_ITEMS_MAX;
            for (_, plan) in listed {
                let whole = plans::find(self.transaction, self.trust, plan.plan_id).await?;
                let today = self.moment.today;
                let whole = whole.map(|plan| CaseFileItem::Plan(Box::new(plan), today));
                self.all(whole.into_iter()).await?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    async fn thresholds(&mut self, of: &[Uuid]) -> Result<(), ServiceError> {
        let mut after = None;
        loop {
            let most = PIECE_ITEMS_MAX as i64;
            let rows = thresholds::of_pupils(self.transaction, self.trust, of, after, most).await?;
            after = rows
                .last()
                .map(|event| (session_number(event.threshold.proved_by), event.event_id));
            let items = rows.into_iter().map(CaseFileItem::Threshold).collect();
            if !self.items(items, PIECE_ITEMS_MAX).await? {
                return Ok(());
            }
        }
    }

    async fn notices(&mut self) -> Result<(), ServiceError> {
        let mut after = None;
        loop {
            let (of, most) = (Some(self.pupil.0), PIECE_ITEMS_MAX as i64);
            let rows = notices::list(self.transaction, self.trust, of, after, most).await?;
            after = rows.last().map(|row| row.notice_id);
            let items = rows.into_iter().map(|row| CaseFileItem::Notice(Box::new(row)));
            if !self.items(items.collect(), PIECE_ITEMS_MAX).await? {
                return Ok(());
            }
        }
    }

    async fn changes(&mut self, of: &[Uuid]) -> Result<(), ServiceError> {
        let mut before = None;
        loop {
            let most = PIECE_ITEMS_MAX as i64;
            let rows = pupil_changes::list(self.transaction, self.trust, of, before, most).await?;
            before = rows.last().map(|change| change.change_id);
            let items = rows.into_iter().map(|change| CaseFileItem::Change(Box::new(change)));
            if !self.items(items.collect(), PIECE_ITEMS_MAX).await? {
                return Ok(());
            }
        }
    }
}
