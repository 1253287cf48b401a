//! The commands that a person runs. Each talks to the service's own gRPC port; none reads the database.

pub mod demo;
pub mod error;
pub mod explain;
mod output;
pub mod stages;
