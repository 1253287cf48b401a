//! The rules of attendance, pure and total: codes, sessions, registers, tallies, stages, provisions and actions.
//!
//! Nothing here knows of Postgres, protobuf, tokio or the clock: a function that needs the day takes it as an argument.

pub mod action;
pub mod action_log;
pub mod assessment;
pub mod calendar;
pub mod catalogue;
pub mod code;
pub mod dual;
pub mod forecast;
pub mod freshness;
pub mod given_calendar;
pub mod hold;
pub mod identifiers;
pub mod marked;
pub mod outcomes;
pub mod patterns;
pub mod person;
pub mod plan;
pub mod policy;
pub mod pupil;
pub mod reconciliation;
pub mod record;
pub mod register;
pub mod session;
pub mod stage;
pub mod summary;
pub mod suppression;
pub mod tally;
pub mod thresholds;
pub mod universal;
