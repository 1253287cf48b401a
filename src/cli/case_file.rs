//! `case-file`: everything on record of one pupil, as a page to print and take to a panel.

mod chart;
mod html;
mod page;
mod record;
#[cfg(test)]
mod tests;
mod work;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tonic::transport::Channel;
use uuid::Uuid;

use super::error::CommandError;
use super::explain::{PupilArgument, parse_pupil};
use super::output::{grouped, print};
use crate::proto::case_file_item::Item;
use crate::proto::case_file_service_client::CaseFileServiceClient;
use crate::proto::stream_case_file_response::Part;
use crate::proto::{
    Action, CaseFileEnd, CaseFileEntry, CaseFileHeader, Hold, PenaltyNotice, Plan, Policy, PupilChange, Register,
    Revision, StreamCaseFileRequest, ThresholdEvent, Transition,
};

/// Writes a pupil's case file as one page of HTML, to be read, printed or made a PDF with any browser.
///
/// The page holds everything that is on record of the pupil at this moment: attendance and stages, what was done and by whom,
/// contacts and meetings, referrals, thresholds and notices, corrections of marks, and the register. It is a single file that
/// loads nothing from elsewhere and runs no script. It is personal data: the file can be read by its owner alone.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  graduated-response case-file --pupil sims:100001/000123 --out 000123.html
  graduated-response case-file --pupil A999400125001 --out panel.html --overwrite
  chromium --headless --print-to-pdf=panel.pdf panel.html              a PDF of it")]
pub struct CaseFileArgs {
    /// The pupil: UUID, UPN, or the source and the value of an MIS identifier with a / between.
    #[arg(long, value_name = "PUPIL", value_parser = parse_pupil)]
    pub pupil: PupilArgument,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Write over a file that is there already.
    #[arg(long)]
    pub overwrite: bool,
}

/// A case file, whole.
#[derive(Clone, Debug, Default)]
struct CaseFile {
    header: CaseFileHeader,
    policies: Vec<Policy>,
    registers: Vec<Register>,
    revisions: Vec<Revision>,
    transitions: Vec<Transition>,
    holds: Vec<Hold>,
    actions: Vec<Action>,
    entries: Vec<CaseFileEntry>,
    plans: Vec<Plan>,
    thresholds: Vec<ThresholdEvent>,
    notices: Vec<PenaltyNotice>,
    changes: Vec<PupilChange>,
    end: CaseFileEnd,
}

impl CaseFile {
    /// Takes an item. One of a kind that this program does not know is left out.
    fn take(&mut self, item: Item) {
        match item {
            Item::Policy(policy) => self.policies.push(policy),
            Item::Register(register) => self.registers.push(register),
            Item::Revision(revision) => self.revisions.push(revision),
            Item::Transition(transition) => self.transitions.push(transition),
            Item::Hold(hold) => self.holds.push(hold),
            Item::Action(action) => self.actions.push(action),
            Item::ActionEntry(entry) => self.entries.push(entry),
            Item::Plan(plan) => self.plans.push(plan),
            Item::ThresholdEvent(event) => self.thresholds.push(event),
            Item::PenaltyNotice(notice) => self.notices.push(notice),
            Item::PupilChange(change) => self.changes.push(change),
        }
    }

    /// The name of a school of the file; its identifier where the file does not hold it.
    fn school_name<'f>(&'f self, school_id: &'f str) -> &'f str {
        let school = self.header.schools.iter().find(|school| school.school_id == school_id);
        school.map_or(school_id, |school| &school.name)
    }
}

/// Runs the command.
///
/// # Errors
///
/// [`CommandError`] where the service refuses or cannot be reached, and where the file cannot be written.
pub async fn run(args: &CaseFileArgs, channel: Channel, trust_id: Uuid) -> Result<ExitCode, CommandError> {
    if !args.overwrite && args.out.exists() {
        return Err(CommandError::Usage(format!(
            "{} is there already: give another name, or --overwrite",
            args.out.display()
        )));
    }
    let file = fetch(args, channel, trust_id).await?;
    write_private(&args.out, page::page(&file).as_str())?;
    let items = grouped(u64::try_from(file.end.items).unwrap_or_default());
    print(&format!("{}: {items} items on record\n", args.out.display()))?;
    Ok(ExitCode::SUCCESS)
}

async fn fetch(args: &CaseFileArgs, channel: Channel, trust_id: Uuid) -> Result<CaseFile, CommandError> {
    let request = StreamCaseFileRequest {
        trust_id: trust_id.to_string(),
        pupil: Some((&args.pupil).into()),
    };
    let mut client = CaseFileServiceClient::new(channel);
    let mut parts = client.stream_case_file(request).await?.into_inner();
    let mut file = CaseFile::default();
    let (mut items, mut ended) = (0, false);
    while let Some(message) = parts.message().await? {
        match message.part {
            Some(Part::Header(header)) => file.header = header,
            Some(Part::Items(piece)) => {
                for item in piece.items {
                    items += 1;
                    if let Some(item) = item.item {
                        file.take(item);
                    }
                }
            }
            Some(Part::End(end)) => {
                ended = true;
                file.end = end;
            }
            None => {}
        }
    }
    if !ended || items != file.end.items {
        return Err(CommandError::Answer("a part of the case file"));
    }
    Ok(file)
}

/// Writes a file that its owner alone may read: whole, or not at all.
fn write_private(path: &Path, text: &str) -> Result<(), std::io::Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", Uuid::now_v7().simple()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What was written so far is of no use; where even that cannot be removed, the first failure says why.
        let _ = fs::remove_file(&beside);
    }
    written
}
