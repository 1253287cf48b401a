//! `graduated-response`: which stage of its trust's graduated response is each pupil at, why, and what has to be done.
//!
//! The layers point down only: `grpc` to `service` to `store` and `domain`. `docs/architecture.md` says why.

pub mod auth;
pub mod cli;
pub mod clock;
pub mod domain;
pub mod grpc;
pub mod import;
pub mod proto;
pub mod sample;
pub mod server;
pub mod service;
pub mod store;
pub mod telemetry;
