//! Compiles the protobuf contract with protox, so that no `protoc` is needed on the machine.
#![allow(clippy::disallowed_methods)] // Cargo says in the environment where to write.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const CONTRACT: [&str; 6] = [
    "graduated_response/v1/action_service.proto",
    "graduated_response/v1/admin_service.proto",
    "graduated_response/v1/case_file_service.proto",
    "graduated_response/v1/pupil_service.proto",
    "graduated_response/v1/session_service.proto",
    "graduated_response/v1/stage_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=migrations");
    let descriptors = protox::compile(CONTRACT, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // What server reflection serves.
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
