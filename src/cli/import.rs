//! The `import` command: pupils and marks from CSV files, through the service's own gRPC port.

mod batches;
mod plan;
mod report;
mod service;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use chrono::NaiveDate;
use tonic::transport::Channel;

use crate::domain::identifiers::{MisIdentifier, Urn};
use crate::domain::session::AcademicYear;
use crate::import::{self, Import, ImportError, MappingFile, MappingFileError, ReadOptions};
use crate::proto;
use plan::EnrolmentOptions;
use report::FileReport;
use service::Service;

/// What the `import` command is told. The text of each field is its help.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Import pupils and marks from CSV files",
    long_about = "Imports pupils and marks from the CSV files that management information systems write.\n\n\
        Columns are found by their headers, and the mapping is shown before anything is written. Three layouts are known: \
        a row a mark, a column a session, and a week's run of marks a row; a file of pupils without marks can be imported \
        too. Begin with --dry-run: it reads the file, shows the mapping and every row that would not be taken, and writes \
        nothing.\n\n\
        Every row that is not taken is named with its line, its column and the reason. The same file may be imported again: \
        marks that are already there change nothing.\n\n\
        Exit codes: 0 every row was taken; 1 some were not, or the service refused; 2 wrong arguments, or a file was \
        refused as a whole; 3 the service cannot be reached.",
    after_long_help = "Examples:\n  \
        graduated-response import --school 100001 --dry-run marks.csv\n  \
        graduated-response import --school 100001 --source sims marks.csv\n  \
        graduated-response import --school 100001 --year 2025 week.csv\n  \
        graduated-response import --school 100001 \\\n    \
        --by 'J Okafor' --position 'attendance officer' --reason 'register corrected' marks.csv"
)]
pub struct ImportArgs {
    /// The CSV files. Each is read on its own; all are read before anything is written
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// The school's URN, for rows that do not name their school
    #[arg(long, value_name = "URN", value_parser = parse_urn)]
    pub school: Option<Urn>,

    /// The name of the management information system, for example `sims` or `arbor`: its pupil identifiers are kept as
    /// NAME:URN. Needed for pupils without a UPN
    #[arg(long, value_name = "NAME", value_parser = parse_source)]
    pub source: Option<String>,

    /// A TOML file that says which column holds what, where the headers do not
    #[arg(long, value_name = "FILE")]
    pub mapping: Option<PathBuf>,

    /// Show the mapping and every row that would not be taken, and write nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Write nothing where any row of any file cannot be read
    #[arg(long)]
    pub strict: bool,

    /// The first day on roll of pupils whom the service does not know yet. Default: 1 September of the academic year of the
    /// first mark, or the day of the first mark where that is earlier
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub enrol_from: Option<NaiveDate>,

    /// What sort of enrolment it is where the file does not say
    #[arg(long, value_enum, default_value_t = EnrolmentChoice::Sole)]
    pub enrolment: EnrolmentChoice,

    /// The academic year of dates without a year, by the year in which it begins: 2025 is 1 August 2025 to 31 July 2026
    #[arg(long, value_name = "YEAR", value_parser = parse_year)]
    pub year: Option<AcademicYear>,

    /// Who corrects marks that are already there: a name
    #[arg(long, value_name = "NAME", requires = "position", requires = "reason")]
    pub by: Option<String>,

    /// The position of the person of --by, for example `attendance officer`
    #[arg(long, requires = "by")]
    pub position: Option<String>,

    /// Why marks that are already there are corrected. Without it, a mark that differs from the one there is not taken
    #[arg(long, value_name = "TEXT", requires = "by")]
    pub reason: Option<String>,

    /// Send everything again, where an earlier run of the same import has been recorded
    #[arg(long)]
    pub again: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// What sort of enrolment new pupils get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EnrolmentChoice {
    /// The pupil's only school
    Sole,
    /// The main school of a dually registered pupil
    Main,
    /// The other school of a dually registered pupil
    Subsidiary,
}

fn parse_urn(text: &str) -> Result<Urn, String> {
    Urn::parse(text).map_err(|error| error.to_string())
}

fn parse_source(text: &str) -> Result<String, String> {
    // With the school's number behind it, it has to be a source still.
    let text = text.to_ascii_lowercase();
    MisIdentifier::parse(&format!("{text}:000000"), "0")
        .map(|_| text)
        .map_err(|error| error.to_string())
}

fn parse_year(text: &str) -> Result<AcademicYear, String> {
    text.split('/')
        .next()
        .and_then(|year| year.parse().ok())
        .and_then(AcademicYear::from_start_year)
        .ok_or_else(|| "an academic year is the year in which it begins, for example 2025".to_owned())
}

/// Why the command ended without importing. What was recorded before stays recorded.
#[derive(Debug, thiserror::Error)]
pub enum ImportCommandError {
    /// A file cannot be opened or read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file was refused as a whole.
    #[error("{path}: {error}")]
    Refused {
        /// The file.
        path: String,
        /// Why.
        error: ImportError,
    },
    /// The mapping file cannot be used.
    #[error("{path}: {error}")]
    Mapping {
        /// The mapping file.
        path: String,
        /// Why.
        error: MappingFileError,
    },
    /// The trust has no school with the URN of `--school`.
    #[error("the trust has no school with URN {0}: create it first, or correct --school")]
    UnknownSchool(String),
    /// Nothing says from when new pupils are on roll.
    #[error("{0} holds no marks and no admission dates: give --enrol-from, the first day on roll of its pupils")]
    NoEnrolmentStart(String),
    /// `--strict`, and some rows cannot be read.
    #[error("{0} rows cannot be taken, and --strict was given: nothing was written")]
    Strict(usize),
    /// The service answered with an error.
    #[error(
        "the service answered {code:?} ({message}): what was recorded before stays; run the same command again to go on"
    )]
    Service {
        /// The gRPC code.
        code: tonic::Code,
        /// What the service says.
        message: String,
    },
    /// The report cannot be written.
    #[error("the report cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

impl ImportCommandError {
    /// 1 where the service refused or the report cannot be written, 3 where nobody answers, 2 for the rest: the arguments
    /// and the files.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            ImportCommandError::Service { code, .. } if *code == tonic::Code::Unavailable => ExitCode::from(3),
            ImportCommandError::Service { .. } | ImportCommandError::Output(_) => ExitCode::from(1),
            ImportCommandError::File { .. }
            | ImportCommandError::Refused { .. }
            | ImportCommandError::Mapping { .. }
            | ImportCommandError::UnknownSchool(_)
            | ImportCommandError::NoEnrolmentStart(_)
            | ImportCommandError::Strict(_) => ExitCode::from(2),
        }
    }
}

impl From<tonic::Status> for ImportCommandError {
    fn from(status: tonic::Status) -> Self {
        ImportCommandError::Service {
            code: status.code(),
            message: status.message().to_owned(),
        }
    }
}

/// Runs the command and prints its report to standard output.
///
/// # Errors
///
/// An [`ImportCommandError`] where a file was refused, or the service refused or could not be reached.
pub async fn run(args: ImportArgs, channel: Channel, trust_id: String) -> Result<ExitCode, ImportCommandError> {
    run_to(args, channel, trust_id, &mut std::io::stdout()).await
}

/// Runs the command and prints its report to `out`.
///
/// # Errors
///
/// As [`run`].
pub async fn run_to(
    args: ImportArgs,
    channel: Channel,
    trust_id: String,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, ImportCommandError> {
    let imports = read_files(&args).await?;
    let mut reports: Vec<FileReport> = imports
        .iter()
        .map(|(path, import)| FileReport::of_import(path, import))
        .collect();
    if !args.json {
        for report in &reports {
            report.print_mapping(out)?;
        }
        out.flush()?;
    }
    let mut service = Service::new(channel, trust_id, args.again);
    let result = import_all(&args, &imports, &mut reports, &mut service).await;
    if args.json {
        report::print_json(&reports, args.dry_run, out)?;
    } else {
        for report in &reports {
            report.print_result(args.dry_run, out)?;
        }
    }
    out.flush()?;
    // What was done is shown whether the rest went well or not.
    result?;
    let all_taken = reports.iter().all(|report| report.not_taken.is_empty());
    Ok(ExitCode::from(u8::from(!all_taken)))
}

/// Reads and parses every file, before anything is written.
async fn read_files(args: &ImportArgs) -> Result<Vec<(String, Import)>, ImportCommandError> {
    let open = async |path: &PathBuf| {
        let name = path.display().to_string();
        match tokio::fs::read(path).await {
            Ok(bytes) => Ok((name, bytes)),
            Err(error) => Err(ImportCommandError::File { path: name, error }),
        }
    };
    let mapping = match &args.mapping {
        None => MappingFile::default(),
        Some(path) => {
            let (path, bytes) = open(path).await?;
            MappingFile::parse(&String::from_utf8_lossy(&bytes))
                .map_err(|error| ImportCommandError::Mapping { path, error })?
        }
    };
    let options = ReadOptions {
        mapping,
        academic_year: args.year,
        has_source: args.source.is_some(),
        school: args.school.clone(),
    };
    let mut imports = Vec::with_capacity(args.files.len());
    for path in &args.files {
        let (path, bytes) = open(path).await?;
        match import::read(&bytes, &options) {
            Ok(import) => imports.push((path, import)),
            Err(error) => return Err(ImportCommandError::Refused { path, error }),
        }
    }
    Ok(imports)
}

async fn import_all(
    args: &ImportArgs,
    imports: &[(String, Import)],
    reports: &mut [FileReport],
    service: &mut Service,
) -> Result<(), ImportCommandError> {
    let refused: usize = reports.iter().map(|report| report.not_taken.len()).sum();
    if args.strict && refused > 0 {
        return Err(ImportCommandError::Strict(refused));
    }
    for ((path, import), report) in imports.iter().zip(reports) {
        let result = import_one(args, path, import, report, service).await;
        match result {
            Err(ImportCommandError::Service { code, .. }) if args.dry_run && code == tonic::Code::Unavailable => {
                report.service_reached = false;
            }
            other => other?,
        }
    }
    Ok(())
}

async fn import_one(
    args: &ImportArgs,
    path: &str,
    import: &Import,
    report: &mut FileReport,
    service: &mut Service,
) -> Result<(), ImportCommandError> {
    let enrolment = EnrolmentOptions {
        default_start: plan::default_start(import, args.enrol_from, args.year)
            .ok_or_else(|| ImportCommandError::NoEnrolmentStart(path.to_owned()))?,
        default_kind: match args.enrolment {
            EnrolmentChoice::Sole => proto::EnrolmentKind::Sole,
            EnrolmentChoice::Main => proto::EnrolmentKind::Main,
            EnrolmentChoice::Subsidiary => proto::EnrolmentKind::Subsidiary,
        },
        start_is_given: args.enrol_from.is_some(),
    };
    let schools = service.schools(&import.schools).await?;
    if let Some(given) = &args.school {
        let wanted = import::SchoolReference::Urn(given.clone());
        let place = import.schools.iter().position(|school| *school == wanted);
        if place.is_some_and(|place| schools[place].is_none()) {
            return Err(ImportCommandError::UnknownSchool(given.as_str().to_owned()));
        }
    }
    let plan = plan::Plan::new(import, &schools, args.source.as_deref(), report);
    let existing = service.known_pupils(&plan.keys).await?;
    report.pupils_known = existing.iter().flatten().count();
    let inputs = plan.pupil_inputs(&existing, &enrolment, report);
    if args.dry_run {
        return Ok(());
    }
    let correction = match (&args.reason, &args.by, &args.position) {
        (Some(reason), Some(name), Some(position)) => Some(proto::Correction {
            reason: reason.clone(),
            corrected_by: Some(proto::Person {
                name: name.clone(),
                position: position.clone(),
                ..proto::Person::default()
            }),
        }),
        _ => None,
    };
    let refused = batches::send_pupils(service, &plan, inputs, report).await?;
    batches::send_marks(service, &plan, &refused, correction, report).await
}
