//! The contract, as compiled from `proto/`.
#![allow(missing_docs, clippy::all, clippy::unwrap_used)]

/// Google's API common types.
pub mod google {
    /// Types that many APIs share.
    pub mod r#type {
        tonic::include_proto!("google.r#type");
    }
}

/// The service's own contract.
pub mod graduated_response {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("graduated_response.v1");
    }
}

pub use google::r#type::Date;
pub use graduated_response::v1::*;

/// The contract's descriptors, for server reflection and for tests that walk every RPC.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
