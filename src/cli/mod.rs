//! The commands that a person runs. Those that speak of pupils talk to the service's own gRPC port, as any client can;
//! `serve`, `migrate` and `doctor` alone know the database.

pub mod actions;
pub mod attendance;
pub mod calendar;
pub mod case_file;
pub mod classify;
pub mod connect;
pub mod coverage;
pub mod demo;
pub mod doctor;
pub mod error;
pub mod establishments;
pub mod explain;
pub mod forecast;
pub mod import;
pub mod migrate;
pub mod outcomes;
mod output;
pub mod serve;
pub mod stages;
pub mod thresholds;
pub mod watch;
