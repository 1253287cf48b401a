//! `trusts` and `schools`: lists them, and makes new ones.

use std::process::ExitCode;

use serde::Serialize;
use tonic::transport::Channel;
use uuid::Uuid;

use super::error::CommandError;
use super::output::{lines, print, print_json, table};
use crate::proto::admin_service_client::AdminServiceClient;
use crate::proto::{CreateSchoolRequest, CreateTrustRequest, ListSchoolsRequest, ListTrustsRequest, Phase, School};

/// Lists the trusts, or makes one.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  graduated-response trusts
  graduated-response trusts --create 'Harbour Learning Trust'")]
pub struct TrustsArgs {
    /// Make a trust of this name, with the default policy and the default catalogue.
    #[arg(long, value_name = "NAME")]
    create: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Lists a trust's schools, or makes one.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  graduated-response schools
  graduated-response schools --create 100001 --name 'Mill Lane Primary' --phase primary")]
pub struct SchoolsArgs {
    /// Make a school with this URN (6 digits).
    #[arg(long, value_name = "URN", requires = "name", requires = "phase")]
    create: Option<String>,
    /// The new school's name.
    #[arg(long, requires = "create")]
    name: Option<String>,
    /// The new school's phase.
    #[arg(long, value_enum, requires = "create")]
    phase: Option<PhaseArg>,
    /// The new school's local authority and establishment numbers, 7 digits.
    #[arg(long, requires = "create", default_value = "")]
    laestab: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum PhaseArg {
    Nursery,
    Primary,
    Secondary,
    Special,
    AllThrough,
    AlternativeProvision,
    SixteenPlus,
}

impl From<PhaseArg> for Phase {
    fn from(phase: PhaseArg) -> Phase {
        match phase {
            PhaseArg::Nursery => Phase::Nursery,
            PhaseArg::Primary => Phase::Primary,
            PhaseArg::Secondary => Phase::Secondary,
            PhaseArg::Special => Phase::Special,
            PhaseArg::AllThrough => Phase::AllThrough,
            PhaseArg::AlternativeProvision => Phase::AlternativeProvision,
            PhaseArg::SixteenPlus => Phase::SixteenPlus,
        }
    }
}

#[derive(Serialize)]
struct TrustLine {
    trust_id: String,
    name: String,
}

#[derive(Serialize)]
struct SchoolLine {
    school_id: String,
    urn: String,
    name: String,
    phase: String,
    laestab: String,
}

/// Runs `trusts`.
pub async fn trusts(args: &TrustsArgs, channel: Channel) -> Result<ExitCode, CommandError> {
    let mut client = AdminServiceClient::new(channel);
    let mut trusts = Vec::new();
    if let Some(name) = &args.create {
        let request = CreateTrustRequest {
            name: name.clone(),
            trust_id: String::new(),
        };
        trusts.extend(client.create_trust(request).await?.into_inner().trust);
    } else {
        let mut page_token = String::new();
        loop {
            let request = ListTrustsRequest {
                page_size: 1000,
                page_token,
            };
            let page = client.list_trusts(request).await?.into_inner();
            trusts.extend(page.trusts);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
    }
    let found = trusts.into_iter().map(|trust| TrustLine {
        trust_id: trust.trust_id,
        name: trust.name,
    });
    let found: Vec<TrustLine> = found.collect();
    if args.json {
        print_json(&found)?;
    } else {
        let mut listed = table(&["trust", "name"], usize::MAX);
        for line in &found {
            listed.add_row([&line.trust_id, &line.name]);
        }
        print(&lines(&listed))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `schools`.
pub async fn schools(args: &SchoolsArgs, channel: Channel, trust_id: Uuid) -> Result<ExitCode, CommandError> {
    let mut client = AdminServiceClient::new(channel);
    let trust_id = trust_id.to_string();
    let mut schools = Vec::new();
    if let (Some(urn), Some(name), Some(phase)) = (&args.create, &args.name, args.phase) {
        let school = School {
            urn: urn.clone(),
            name: name.clone(),
            phase: Phase::from(phase).into(),
            laestab: args.laestab.clone(),
            ..School::default()
        };
        let request = CreateSchoolRequest {
            trust_id,
            school: Some(school),
        };
        schools.extend(client.create_school(request).await?.into_inner().school);
    } else {
        let mut page_token = String::new();
        loop {
            let request = ListSchoolsRequest {
                trust_id: trust_id.clone(),
                page_size: 1000,
                page_token,
            };
            let page = client.list_schools(request).await?.into_inner();
            schools.extend(page.schools);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
    }
    let found = schools.into_iter().map(|school| SchoolLine {
        phase: school
            .phase()
            .as_str_name()
            .trim_start_matches("PHASE_")
            .to_lowercase()
            .replace('_', "-"),
        school_id: school.school_id,
        urn: school.urn,
        name: school.name,
        laestab: school.laestab,
    });
    let found: Vec<SchoolLine> = found.collect();
    if args.json {
        print_json(&found)?;
    } else {
        let mut listed = table(&["URN", "name", "phase", "LAESTAB", "school"], usize::MAX);
        for line in &found {
            listed.add_row([&line.urn, &line.name, &line.phase, &line.laestab, &line.school_id]);
        }
        print(&lines(&listed))?;
    }
    Ok(ExitCode::SUCCESS)
}
