//! Compiles the protobuf contract with protox, so that no `protoc` is needed on the machine.
#![allow(clippy::disallowed_methods)] // Cargo says in the environment where to write.

use std::{env, error::Error, fs, path::PathBuf};

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
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(CONTRACT)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // What server reflection serves: encoded by the compiler, which keeps the options that the contract has of its own.
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
