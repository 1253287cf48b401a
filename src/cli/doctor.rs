//! `doctor`: what is wrong with an installation, and what to change.

use std::process::ExitCode;

use diesel::sql_types::{Bool, Integer};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde::Serialize;

use super::connect::EndpointArgs;
use super::output::{folded, lines, print, print_json};
use super::serve::DatabaseArgs;
use crate::proto::GetServerInfoRequest;
use crate::proto::admin_service_client::AdminServiceClient;
use crate::store::embedded::{EmbeddedError, check_data_dir, find_binaries};
use crate::store::{SERVICE_ROLE, migrations};

/// The earliest Postgres that the service works with, as `server_version_num`.
const SERVER_VERSION_MIN: i32 = 150_000;

/// Says what is wrong with the installation and what to change: the database or the private Postgres, its tables, the
/// service's role in it, and the service at its address.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  graduated-response doctor                         the private Postgres, and the service on this machine
  DATABASE_URL=postgresql://... graduated-response doctor
  graduated-response doctor --json                  for a program

Exit codes: 0 all is well; 1 something is wrong.")]
pub struct DoctorArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    endpoint: EndpointArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    check: &'static str,
    /// Whether it is well.
    well: bool,
    /// What was found.
    found: String,
    /// What to change; empty where nothing is wrong.
    change: String,
}

fn well(check: &'static str, found: impl Into<String>) -> Finding {
    Finding {
        check,
        well: true,
        found: found.into(),
        change: String::new(),
    }
}

fn wrong(check: &'static str, found: impl Into<String>, change: impl Into<String>) -> Finding {
    Finding {
        check,
        well: false,
        found: found.into(),
        change: change.into(),
    }
}

/// Looks at everything, and prints what it found.
pub async fn run(args: &DoctorArgs) -> ExitCode {
    let mut findings = match &args.database.database_url {
        Some(url) => look_at_database(url).await,
        None => look_at_private_postgres(&args.database).await,
    };
    findings.push(look_at_service(&args.endpoint).await);
    let all_well = findings.iter().all(|finding| finding.well);
    let printed = if args.json {
        print_json(&findings)
    } else {
        let mut listed = folded();
        listed.set_header(["", "looked at", "found", "change"]);
        for finding in &findings {
            let mark = if finding.well { "ok" } else { "WRONG" };
            listed.add_row([mark, finding.check, &finding.found, &finding.change]);
        }
        print(&lines(&listed))
    };
    ExitCode::from(u8::from(!all_well || printed.is_err()))
}

async fn look_at_private_postgres(database: &DatabaseArgs) -> Vec<Finding> {
    let config = database.embedded();
    let bin_dir = config.bin_dir.clone();
    let binaries = tokio::task::spawn_blocking(move || find_binaries(bin_dir.as_deref())).await;
    let binaries = match binaries {
        Ok(Ok(binaries)) => well(
            "Postgres binaries",
            format!("version {} in {}", binaries.version, binaries.bin_dir.display()),
        ),
        Ok(Err(error)) => wrong("Postgres binaries", "none that can be used", error.to_string()),
        Err(error) => wrong("Postgres binaries", "could not look", error.to_string()),
    };
    let data_dir = config.data_dir.display().to_string();
    let directory = match tokio::task::spawn_blocking(move || check_data_dir(&config)).await {
        Ok(Ok(true)) => well("data directory", data_dir),
        Ok(Ok(false)) => well(
            "data directory",
            format!("{data_dir} has no database yet: serve makes it"),
        ),
        // Said above.
        Ok(Err(EmbeddedError::BinariesNotFound { .. } | EmbeddedError::BinariesTooOld { .. })) => {
            well("data directory", data_dir)
        }
        Ok(Err(error @ EmbeddedError::Io { .. })) => wrong(
            "data directory",
            error.to_string(),
            "run doctor as the user of the service, or give another --data-dir",
        ),
        Ok(Err(error)) => wrong(
            "data directory",
            format!("{data_dir} cannot be used"),
            error.to_string(),
        ),
        Err(error) => wrong("data directory", "could not look", error.to_string()),
    };
    vec![binaries, directory]
}

#[derive(diesel::QueryableByName)]
struct ServerFacts {
    #[diesel(sql_type = Integer)]
    version: i32,
    #[diesel(sql_type = Bool)]
    can_make_roles: bool,
    #[diesel(sql_type = Bool)]
    has_role: bool,
    #[diesel(sql_type = Bool)]
    is_member: bool,
    #[diesel(sql_type = Bool)]
    durable: bool,
    #[diesel(sql_type = Bool)]
    writable: bool,
}

async fn look_at_database(url: &str) -> Vec<Finding> {
    let mut connection = match AsyncPgConnection::establish(url).await {
        Ok(connection) => connection,
        Err(error) => {
            return vec![wrong(
                "database",
                error.to_string(),
                "give a DATABASE_URL that this machine can reach",
            )];
        }
    };
    let mut findings = vec![well("database", "can be reached")];
    let facts: Result<ServerFacts, _> = diesel::sql_query(format!(
        "SELECT current_setting('server_version_num')::integer AS version,
             (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) AS can_make_roles,
             EXISTS (SELECT FROM pg_roles WHERE rolname = '{SERVICE_ROLE}') AS has_role,
             coalesce((SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = '{SERVICE_ROLE}'), false)
                 AS is_member,
             current_setting('fsync') = 'on' AND current_setting('synchronous_commit') <> 'off' AS durable,
             NOT pg_is_in_recovery() AS writable"
    ))
    .get_result(&mut connection)
    .await;
    match facts {
        Ok(facts) => findings.extend(judge_server(&facts)),
        Err(error) => findings.push(wrong(
            "server",
            error.to_string(),
            "use Postgres 15 or later, and a role that can read its catalogue",
        )),
    }
    findings.push(match migrations::status(url).await {
        Ok(statuses) => {
            let pending = statuses.iter().filter(|status| !status.applied).count();
            if pending == 0 {
                well("migrations", format!("all {} applied", statuses.len()))
            } else {
                wrong(
                    "migrations",
                    format!("{pending} of {} to apply", statuses.len()),
                    "run graduated-response migrate up as the owner of the tables",
                )
            }
        }
        Err(error) => wrong(
            "migrations",
            error.to_string(),
            "run doctor with the DATABASE_URL of the owner of the tables",
        ),
    });
    findings
}

fn judge_server(facts: &ServerFacts) -> Vec<Finding> {
    let version = format!("Postgres {}", facts.version / 10_000);
    let role = "the service's role";
    vec![
        if facts.version >= SERVER_VERSION_MIN {
            well("version", version)
        } else {
            wrong("version", version, "use Postgres 15 or later")
        },
        if facts.writable {
            well("writable", "a primary")
        } else {
            wrong(
                "writable",
                "a standby: it takes no writes",
                "give the DATABASE_URL of the primary",
            )
        },
        match (facts.has_role, facts.is_member, facts.can_make_roles) {
            (true, true, _) => well(role, format!("{SERVICE_ROLE}, of which the login is a member")),
            (true, false, _) => wrong(
                role,
                format!("the login is no member of {SERVICE_ROLE}"),
                format!("as a superuser: GRANT {SERVICE_ROLE} TO the login of DATABASE_URL"),
            ),
            (false, _, true) => well(role, format!("{SERVICE_ROLE} is not there yet: migrate up makes it")),
            (false, _, false) => wrong(
                role,
                format!("{SERVICE_ROLE} is not there, and the login may not make it"),
                format!(
                    "as a superuser: CREATE ROLE {SERVICE_ROLE} NOLOGIN; GRANT {SERVICE_ROLE} TO the login of DATABASE_URL"
                ),
            ),
        },
        if facts.durable {
            well("durability", "fsync and synchronous_commit are on")
        } else {
            wrong(
                "durability",
                "fsync or synchronous_commit is off: what was acknowledged can be lost",
                "set both to on in postgresql.conf",
            )
        },
    ]
}

async fn look_at_service(endpoint: &EndpointArgs) -> Finding {
    let answer = async {
        let connection = endpoint.connect().await?;
        let answer = AdminServiceClient::new(connection.channel)
            .get_server_info(GetServerInfoRequest {})
            .await?;
        Ok::<_, super::error::CommandError>(answer.into_inner())
    };
    match answer.await {
        Ok(info) if info.version == env!("CARGO_PKG_VERSION") => {
            let clock = if info.clock_set { ", its clock set by hand" } else { "" };
            well(
                "service",
                format!("{} answers, version {}{clock}", endpoint.endpoint, info.version),
            )
        }
        Ok(info) => wrong(
            "service",
            format!("{} is of version {}", endpoint.endpoint, info.version),
            format!(
                "use the command line of the same version (this is {})",
                env!("CARGO_PKG_VERSION")
            ),
        ),
        Err(error) => wrong(
            "service",
            error.to_string(),
            "start it with graduated-response serve, or give its address with --endpoint",
        ),
    }
}
