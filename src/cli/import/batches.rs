//! Sending a file's pupils and marks in batches, and bringing what was rejected back to the lines of the file.

use indicatif::{ProgressBar, ProgressStyle};
use prost::Message;

use super::ImportCommandError;
use super::plan::{Plan, Run};
use super::report::{FileReport, NotTaken};
use super::service::{Service, is_replayed};
use crate::proto;

/// The most pupils of a batch.
const PUPILS_MAX: usize = 2_000;
/// The most runs of a batch.
const ITEMS_MAX: usize = 5_000;
/// The most bytes of a batch, well below what a server takes in one message by default.
const BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;

fn progress(total: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(total as u64).with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{msg:>7} {wide_bar} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    bar
}

/// Parts items into batches by their number and their bytes, in their order.
pub(super) fn chunks<T>(items: Vec<T>, items_max: usize, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut chunks: Vec<Vec<T>> = Vec::new();
    let mut size = 0;
    for item in items {
        let own = bytes(&item);
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < items_max && size + own <= BATCH_BYTES_MAX => {
                size += own;
                chunk.push(item);
            }
            _ => {
                size = own;
                chunks.push(vec![item]);
            }
        }
    }
    chunks
}

/// Sends the pupils. Returns for each pupil of the file whether the service refused them.
pub(super) async fn send_pupils(
    service: &Service,
    plan: &Plan<'_>,
    inputs: Vec<(usize, proto::PupilInput)>,
    report: &mut FileReport,
) -> Result<Vec<bool>, ImportCommandError> {
    let mut refused = vec![false; plan.import.pupils.len()];
    let bar = progress(inputs.len(), "pupils");
    for chunk in chunks(inputs, PUPILS_MAX, |(_, input)| input.encoded_len()) {
        let (places, pupils): (Vec<usize>, Vec<proto::PupilInput>) = chunk.into_iter().unzip();
        let answer = service.upsert_pupils(pupils).await?;
        report.pupils_created += count(answer.created);
        report.pupils_updated += count(answer.updated);
        report.pupils_unchanged += count(answer.unchanged);
        report.batches_replayed += usize::from(is_replayed(answer.receipt.as_ref()));
        for warning in &answer.warnings {
            report.service_warning(&warning.reason, &warning.message, 1);
        }
        for rejection in answer.rejections {
            let item = usize::try_from(rejection.item_index).ok();
            if let Some(place) = item.and_then(|item| places.get(item)) {
                refused[*place] = true;
                report.pupils_not_taken += 1;
                report.not_taken.push(NotTaken {
                    line: plan.import.pupils[*place].line,
                    column: None,
                    reason: rejection.reason,
                    message: rejection.message,
                });
            }
        }
        bar.inc(places.len() as u64);
    }
    bar.finish_and_clear();
    Ok(refused)
}

/// Sends the marks of the pupils that were taken. A run that is rejected for one of its sessions is sent again a mark at a
/// time, so that its other marks are taken and each that is not has its own reason.
pub(super) async fn send_marks(
    service: &Service,
    plan: &Plan<'_>,
    refused: &[bool],
    correction: Option<proto::Correction>,
    report: &mut FileReport,
) -> Result<(), ImportCommandError> {
    let runs = plan.runs(refused, report);
    let marks = runs.iter().map(|run| run.marks.len()).sum();
    let bar = progress(marks, "marks");
    let single = send_runs(service, plan, runs, correction.as_ref(), report, &bar).await?;
    // A single mark is never sent a third time.
    send_runs(service, plan, single, correction.as_ref(), report, &bar).await?;
    bar.finish_and_clear();
    Ok(())
}

/// Sends runs, and returns single marks to be sent again.
async fn send_runs(
    service: &Service,
    plan: &Plan<'_>,
    runs: Vec<Run>,
    correction: Option<&proto::Correction>,
    report: &mut FileReport,
    bar: &ProgressBar,
) -> Result<Vec<Run>, ImportCommandError> {
    let mut again = Vec::new();
    let items: Vec<(Run, proto::SessionItem)> = runs
        .into_iter()
        .filter_map(|run| plan.item(&run).map(|item| (run, item)))
        .collect();
    for chunk in chunks(items, ITEMS_MAX, |(_, item)| item.encoded_len() + 8) {
        let (runs, items): (Vec<Run>, Vec<proto::SessionItem>) = chunk.into_iter().unzip();
        let answer = service.record_sessions(items, correction.cloned()).await?;
        report.marks_new += answer.marks_new;
        report.marks_corrected += answer.marks_corrected;
        report.marks_unchanged += answer.marks_unchanged;
        report.transitions += count(answer.transitions);
        report.batches_replayed += usize::from(is_replayed(answer.receipt.as_ref()));
        for warning in &answer.warnings {
            report.service_warning(&warning.reason, &warning.message, 1);
        }
        let unnamed = count(answer.warnings_total).saturating_sub(answer.warnings.len());
        if unnamed > 0 {
            report.service_warning("OTHER", "further warnings that the service did not name", unnamed);
        }
        let mut done: usize = runs.iter().map(|run| run.marks.len()).sum();
        for rejection in answer.rejections {
            let item = usize::try_from(rejection.item_index).ok();
            let Some(run) = item.and_then(|item| runs.get(item)) else {
                continue;
            };
            let of_session = rejection.session.is_some() || rejection.field.starts_with("marks");
            if of_session && run.marks.len() > 1 {
                done -= run.marks.len();
                again.extend(run.marks.iter().map(|mark| Run { marks: vec![*mark] }));
                continue;
            }
            for mark in &run.marks {
                report.mark_not_taken(plan.import, *mark, &rejection.reason, &rejection.message);
            }
        }
        bar.inc(done as u64);
    }
    Ok(again)
}

fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}
