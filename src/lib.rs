//! `graduated-response`: which stage of its trust's graduated response is each pupil at, why, and what has to be done.
//!
//! The layers point down only: `grpc` to `service` to `store` and `domain`. `docs/architecture.md` says why.

pub mod cli {
    //! The commands of the command line.

    pub mod import;
}
pub mod domain;
pub mod import;
pub mod proto;
