//! The contract served by tonic: a handler is conversion, one call into `service`, conversion.

pub mod actions;
pub mod convert;
pub mod page_token;
pub mod sessions;
pub mod stages;
pub mod status;
