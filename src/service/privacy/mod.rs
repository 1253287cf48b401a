//! How personal data goes, stays and is given out: retention, erasure, legal holds and subject access.

pub mod erasure;
pub mod export;
pub mod legal_holds;
pub mod removal;
pub mod retention;
