//! The command line and the private Postgres, as a person at a terminal meets them: the program itself is run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod actions;
mod common;
#[path = "../it/common/database.rs"]
mod database;
mod doctor;
mod help;
mod import;
mod logs;
mod migrate;
mod private_postgres;
mod reading;
mod serve;
