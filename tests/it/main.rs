//! The black-box suite: drives the service from outside, through its gRPC port, against a real Postgres.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod actions;
mod admin;
mod calendars;
mod case_file;
mod catalogues;
mod common;
mod corrections;
mod examples;
mod faults;
mod forecasts;
mod holds;
mod import;
mod merges;
mod model;
mod moves;
mod outcomes;
mod policies;
mod privacy;
mod properties;
mod published;
mod pupils;
mod reconciliations;
mod session_lists;
mod sessions;
mod stages;
mod store;
mod summaries;
mod thresholds;
mod transitions;
mod watch;
