//! The contract served by tonic: a handler is conversion, one call into `service`, conversion.

pub mod actions;
pub mod admin;
mod calendars;
pub mod case_file;
mod catalogues;
pub mod convert;
pub mod fingerprint;
mod forecasts;
mod freshness;
mod holds;
mod jobs;
pub mod names;
pub mod page_token;
mod policies;
mod privacy;
pub mod pupil_changes;
pub mod pupils;
pub mod reconciliations;
pub mod session_lists;
pub mod sessions;
pub mod stages;
pub mod status;
mod summaries;
mod thresholds;
pub mod transitions;
pub mod update_mask;
