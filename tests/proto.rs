//! Keeps the wire contract: the generated code is what the `.proto` files say, the files follow one
//! style, and nothing that an older consumer relies on has changed.
//!
//! `BINPULSE_REGENERATE=1 cargo test --test proto` rewrites the generated code, and with a new
//! release `BINPULSE_RELEASE=1 cargo test --test proto` makes the present contract the released one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

const PACKAGE: &str = "binpulse.v1";
const FILES: [&str; 3] =
    ["binpulse/v1/change.proto", "binpulse/v1/frame.proto", "binpulse/v1/pulse.proto"];

/// Numbers of a file's and a message's parts in the paths of source comments.
const FILE_MESSAGES: i32 = 4;
const FILE_ENUMS: i32 = 5;
const MESSAGE_FIELDS: i32 = 2;
const MESSAGE_ONEOFS: i32 = 8;
const ENUM_VALUES: i32 = 2;

/// Numbers left to those who extend a private copy.
const PRIVATE: std::ops::RangeInclusive<i32> = 100..=199;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn contract() -> FileDescriptorSet {
    let include = root().join("proto");
    protox::compile(FILES.map(|file| include.join(file)), [include]).expect("the contract compiles")
}

/// The contract as it is released: without comments, which may change.
fn descriptor() -> Vec<u8> {
    let mut contract = contract();
    for file in &mut contract.file {
        file.source_code_info = None;
    }
    contract.encode_to_vec()
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
    let module = prost_build::Module::from_protobuf_package_name(PACKAGE);
    let requests = contract().file.into_iter().map(|file| (module.clone(), file)).collect();
    let code = prost_build::Config::new().generate(requests).expect("code can be generated");
    let header = "// Generated from proto/binpulse/v1 by tests/proto.rs. Do not edit.\n";
    let wanted = format!("{header}{}", code[&module]);
    compare_or_write(
        &root().join("clients/rust/src/proto.rs"),
        wanted.as_bytes(),
        "BINPULSE_REGENERATE",
    );
}

#[test]
fn every_file_of_the_contract_is_looked_at() {
    let folder = std::fs::read_dir(root().join("proto/binpulse/v1")).expect("the folder is there");
    let found: BTreeSet<_> = folder
        .map(|entry| entry.expect("it can be read").file_name().into_string().expect("plain"))
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "proto"))
        .map(|name| format!("binpulse/v1/{name}"))
        .collect();
    assert_eq!(found, FILES.map(String::from).into());
}

#[test]
fn the_contract_follows_one_style() {
    let mut faults = Vec::new();
    for file in &contract().file {
        lint_file(file, &mut faults);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn lint_file(file: &FileDescriptorProto, faults: &mut Vec<String>) {
    let name = file.name();
    let mut check = |fine: bool, what: String| {
        if !fine {
            faults.push(format!("{name}: {what}"));
        }
    };
    check(file.package() == PACKAGE, format!("package is {}", file.package()));
    check(file.syntax() == "proto3", format!("syntax is {}", file.syntax()));
    let comments = comments(file);
    let commented = |path: &[i32]| comments.get(path).is_some_and(|text| !text.trim().is_empty());
    for (index, message) in (0..).zip(&file.message_type) {
        let path = [FILE_MESSAGES, index];
        check(is_pascal(message.name()), format!("message {}", message.name()));
        check(commented(&path), format!("message {} has no comment", message.name()));
        check(message.nested_type.is_empty(), format!("{} nests a message", message.name()));
        check(message.enum_type.is_empty(), format!("{} nests an enum", message.name()));
        for (at, field) in (0..).zip(&message.field) {
            let full = format!("{}.{}", message.name(), field.name());
            check(is_snake(field.name()), format!("field {full} is not in snake case"));
            check(
                commented(&[path[0], path[1], MESSAGE_FIELDS, at]),
                format!("{full}: no comment"),
            );
            check(!PRIVATE.contains(&field.number()), format!("{full} has a private number"));
        }
        for (at, oneof) in (0..).zip(&message.oneof_decl) {
            let full = format!("{}.{}", message.name(), oneof.name());
            check(is_snake(oneof.name()), format!("oneof {full} is not in snake case"));
            check(
                commented(&[path[0], path[1], MESSAGE_ONEOFS, at]),
                format!("{full}: no comment"),
            );
        }
    }
    for (index, kind) in (0..).zip(&file.enum_type) {
        let prefix = format!("{}_", screaming(kind.name()));
        check(is_pascal(kind.name()), format!("enum {}", kind.name()));
        check(commented(&[FILE_ENUMS, index]), format!("enum {} has no comment", kind.name()));
        for (at, value) in (0..).zip(&kind.value) {
            let full = format!("{}.{}", kind.name(), value.name());
            check(value.name().starts_with(&prefix), format!("{full} must begin with {prefix}"));
            let is_zero = value.number() == 0;
            let is_unspecified = value.name() == format!("{prefix}UNSPECIFIED");
            check(is_zero == is_unspecified, format!("{full}: 0 is {prefix}UNSPECIFIED, only it"));
            check(commented(&[FILE_ENUMS, index, ENUM_VALUES, at]), format!("{full}: no comment"));
        }
    }
}

/// Comments before each part of a file, by the part's path.
fn comments(file: &FileDescriptorProto) -> BTreeMap<Vec<i32>, String> {
    let info = file.source_code_info.as_ref().expect("comments are kept");
    let locations = info.location.iter();
    locations
        .map(|location| (location.path.clone(), location.leading_comments().to_owned()))
        .collect()
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric())
}

fn is_snake(name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    name.split('_').all(|word| !word.is_empty() && word.chars().all(plain))
        && name.starts_with(|first: char| first.is_ascii_lowercase())
}

/// `BeforeImage` as `BEFORE_IMAGE`.
fn screaming(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}

#[test]
fn nothing_that_a_consumer_of_the_last_release_relies_on_has_changed() {
    let path = root().join("proto/released/v1.binpb");
    if std::env::var_os("BINPULSE_RELEASE").is_some() {
        std::fs::write(&path, descriptor()).expect("the file can be written");
    }
    let released = std::fs::read(&path).expect("the released contract is there");
    let released = FileDescriptorSet::decode(released.as_slice()).expect("it is a descriptor");
    let breaks = breaks(&released, &contract());
    assert!(breaks.is_empty(), "{}", breaks.join("\n"));
}

/// What a consumer of `old` would misread in messages of `new`.
fn breaks(old: &FileDescriptorSet, new: &FileDescriptorSet) -> Vec<String> {
    let messages = by_name(new, |file| &file.message_type, DescriptorProto::name);
    let enums = by_name(new, |file| &file.enum_type, EnumDescriptorProto::name);
    let mut breaks = Vec::new();
    for file in &old.file {
        for message in &file.message_type {
            match messages.get(message.name()) {
                Some(present) => message_breaks(message, present, &mut breaks),
                None => breaks.push(format!("message {} is gone", message.name())),
            }
        }
        for kind in &file.enum_type {
            match enums.get(kind.name()) {
                Some(present) => enum_breaks(kind, present, &mut breaks),
                None => breaks.push(format!("enum {} is gone", kind.name())),
            }
        }
    }
    breaks
}

fn by_name<T>(
    set: &FileDescriptorSet,
    parts: fn(&FileDescriptorProto) -> &Vec<T>,
    name: fn(&T) -> &str,
) -> BTreeMap<&str, &T> {
    set.file.iter().flat_map(parts).map(|part| (name(part), part)).collect()
}

fn message_breaks(old: &DescriptorProto, new: &DescriptorProto, breaks: &mut Vec<String>) {
    let oneof = |message: &DescriptorProto, index: Option<i32>| {
        let index = usize::try_from(index?).ok()?;
        message.oneof_decl.get(index).map(|oneof| oneof.name().to_owned())
    };
    for field in &old.field {
        let full = format!("{}.{} = {}", old.name(), field.name(), field.number());
        let Some(present) = new.field.iter().find(|other| other.number() == field.number()) else {
            let kept = |start: i32, end: i32| (start..end).contains(&field.number());
            if !new.reserved_range.iter().any(|range| kept(range.start(), range.end())) {
                breaks.push(format!("field {full} is gone and its number is not reserved"));
            }
            continue;
        };
        if present.name() != field.name() {
            breaks.push(format!("field {full} is now called {}", present.name()));
        }
        let shape = |field: &prost_types::FieldDescriptorProto| {
            (field.r#type, field.label, field.type_name.clone(), field.proto3_optional)
        };
        if shape(present) != shape(field) {
            breaks.push(format!("field {full} has another type"));
        }
        if oneof(new, present.oneof_index) != oneof(old, field.oneof_index) {
            breaks.push(format!("field {full} has moved into or out of a oneof"));
        }
    }
}

fn enum_breaks(old: &EnumDescriptorProto, new: &EnumDescriptorProto, breaks: &mut Vec<String>) {
    for value in &old.value {
        let full = format!("{}.{} = {}", old.name(), value.name(), value.number());
        match new.value.iter().find(|other| other.number() == value.number()) {
            Some(present) if present.name() == value.name() => {}
            Some(present) => breaks.push(format!("value {full} is now called {}", present.name())),
            None => breaks.push(format!("value {full} is gone")),
        }
    }
}

#[test]
fn each_way_to_break_a_consumer_is_seen() {
    /// The present contract, changed.
    fn changed(change: impl FnOnce(&mut DescriptorProto)) -> Vec<String> {
        let (old, mut new) = (contract(), contract());
        let messages = new.file.iter_mut().flat_map(|file| &mut file.message_type);
        let row = messages.into_iter().find(|message| message.name() == "Row");
        change(row.expect("there are rows"));
        breaks(&old, &new)
    }
    use prost_types::descriptor_proto::ReservedRange;
    use prost_types::field_descriptor_proto::{Label, Type};
    assert_eq!(changed(|_| ()), Vec::<String>::new());
    assert_eq!(changed(|row| row.name = Some(String::from("Line"))), ["message Row is gone"]);
    let gone = changed(|row| drop(row.field.remove(0)));
    assert_eq!(gone, ["field Row.op = 1 is gone and its number is not reserved"]);
    let reserved = changed(|row| {
        row.field.remove(0);
        row.reserved_range.push(ReservedRange { start: Some(1), end: Some(2) });
    });
    assert_eq!(reserved, Vec::<String>::new());
    assert_eq!(changed(|row| row.field[2].set_type(Type::Int64)).len(), 1);
    assert_eq!(changed(|row| row.field[2].set_label(Label::Repeated)).len(), 1);
    assert_eq!(changed(|row| row.field[2].number = Some(9)).len(), 1);
    assert_eq!(changed(|row| row.field[2].name = Some(String::from("line"))).len(), 1);
}
