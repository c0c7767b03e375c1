//! Keeps the wire contract: the generated code is what the `.proto` files say, the files follow one
//! style, and nothing that an older consumer relies on has changed.
//!
//! `BINPULSE_REGENERATE=1 cargo test --test proto` rewrites the generated code, and with a new
//! release `BINPULSE_RELEASE=1 cargo test --test proto` makes the present contract the released one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

const FILES: [&str; 3] =
    ["binpulse/v1/change.proto", "binpulse/v1/frame.proto", "binpulse/v1/pulse.proto"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn contract() -> FileDescriptorSet {
    let include = root().join("proto");
    protox::compile(FILES.map(|file| include.join(file)), [include]).expect("the contract compiles")
}

/// Compares a checked-in file with what it should hold, or writes it when the operator asks.
fn compare_or_write(path: &Path, wanted: &[u8], variable: &str) {
    if std::env::var_os(variable).is_some() {
        std::fs::write(path, wanted).expect("the file can be written");
    }
    let found = std::fs::read(path).unwrap_or_default();
    assert!(found == wanted, "{} is out of date: run with {variable}=1", path.display());
}

#[test]
fn the_generated_code_is_what_the_contract_says() {
    let module = prost_build::Module::from_protobuf_package_name("binpulse.v1");
    let requests = contract().file.into_iter().map(|file| (module.clone(), file)).collect();
    let code = prost_build::Config::new().generate(requests).expect("code can be generated");
    let header = "// Generated from proto/binpulse/v1 by tests/proto.rs. Do not edit.\n";
    let wanted = format!("{header}{}", code[&module]);
    compare_or_write(&root().join("src/encode/proto.rs"), wanted.as_bytes(), "BINPULSE_REGENERATE");
}
