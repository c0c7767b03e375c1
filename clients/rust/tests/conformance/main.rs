//! The conformance suite: its files are what the encoder makes, and the client reads them as they say.
//!
//! `BINPULSE_TEST_REGENERATE=1 cargo test -p binpulse-client --test conformance` writes the files.

#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    clippy::type_complexity,
    clippy::format_collect,
    reason = "what a test does not expect is one case, and its numbers are small"
)]

mod cells;
mod handler;
mod hostile;
mod messages;
mod others;
mod shown;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use binpulse_client::frame::OpenError;
use binpulse_client::webhook::WebhookError;
use binpulse_client::{Content, DecodeError, Message, lambda, verify_webhook};
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../conformance").join(format!("{name}.json"))
}

fn cases(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path(name)).expect("a file of the suite");
    serde_json::from_str(&text).expect("the suite is JSON")
}

/// One case a line, so that a change shows which.
fn text(cases: &[Value]) -> String {
    let lines: Vec<String> = cases.iter().map(Value::to_string).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

#[test]
fn the_files_are_what_the_encoder_makes() {
    let messages = messages::all();
    let files = [
        ("envelopes", others::envelopes(&messages)),
        ("hostile", hostile::all(&messages)),
        ("webhooks", others::webhooks()),
        ("handler", handler::events()),
        ("ledger", others::histories()),
        ("messages", messages),
    ];
    for (name, cases) in files {
        let (path, made) = (path(name), text(&cases));
        if std::env::var("BINPULSE_TEST_REGENERATE").is_ok() {
            std::fs::write(&path, &made).expect("a writable folder");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = kept.lines().zip(made.lines()).find(|(kept, made)| kept != made);
        let case = differs.map(|(_, made)| made.chars().take(200).collect::<String>());
        assert!(kept == made, "{name} differs: {case:?}; set BINPULSE_TEST_REGENERATE=1 if it may");
    }
}

fn attributes(case: &Value) -> BTreeMap<String, String> {
    let of = case["attributes"].as_object().into_iter().flatten();
    of.map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())).collect()
}

#[test]
fn messages_mean_what_their_cases_say_in_each_form() {
    let mut count = 0;
    for case in cases("messages") {
        for form in case["messages"].as_array().expect("messages") {
            let name = format!("{} as {}", case["name"], form["form"]);
            let body = form["body"].as_str().expect("a body");
            let message = Message::new(body, attributes(form)).expect("a message");
            let mut content = message.decode().unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut wanted = case["content"].clone();
            if form["form"] == "json" {
                as_document(&mut wanted);
            }
            if let Content::Unknown { kind } = &mut content {
                kind.clone_from(&message.attributes["kind"]);
            }
            assert_eq!(shown::content(&content), wanted, "{name}");
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

/// Two characters that SNS refuses are escaped in documents: the JSON texts mean the same.
fn as_document(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name == "json" || name == "json_diff" => {
                        *text = text.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff");
                    }
                    other => as_document(other),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(as_document),
        _ => {}
    }
}

#[test]
fn whatever_is_put_around_a_message_comes_off() {
    let contents: BTreeMap<String, Value> = cases("messages")
        .into_iter()
        .map(|case| (case["name"].as_str().expect("a name").to_owned(), case["content"].clone()))
        .collect();
    for case in cases("envelopes") {
        let name = case["name"].as_str().expect("a name");
        let wanted = &contents[case["case"].as_str().expect("a case")];
        let event = case.get("event").map(Value::to_string);
        let messages: Vec<Message<'_>> = match &event {
            Some(event) => {
                let records = lambda(event).expect("an event").into_iter();
                records.map(|record| record.message.expect("a message")).collect()
            }
            None => {
                let given =
                    if case.get("objects").is_some() { attributes(&case) } else { BTreeMap::new() };
                vec![
                    Message::new(case["body"].as_str().expect("a body"), given).expect("a message"),
                ]
            }
        };
        for message in messages {
            assert_eq!(message.attributes, attributes(&case), "{name}");
            let content = match message.decode() {
                Err(DecodeError::Elsewhere(pointer)) => {
                    let place = format!("{}/{}", pointer.bucket, pointer.key);
                    let object = case["objects"][&place].as_str().expect("an object");
                    assert_eq!(pointer.size_bytes, Some(object.len() as u64), "{name}");
                    pointer.decode(object).expect("it decodes")
                }
                content => content.expect("it decodes"),
            };
            assert_eq!(shown::content(&content), *wanted, "{name}");
        }
    }
}

#[test]
fn hostile_bodies_are_refused_for_their_reason() {
    let told = cases("hostile").into_iter().map(|case| {
        let body = case["body"].as_str().expect("a body");
        let decoded = Message::new(body, BTreeMap::new()).and_then(|message| message.decode());
        let reason = decoded.err().map_or("none", |error| reason(&error));
        (case["name"].to_string(), reason.to_owned(), case["reason"].as_str() == Some(reason))
    });
    let wrong: Vec<_> = told.filter(|(_, _, is_right)| !is_right).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

fn reason(error: &DecodeError) -> &'static str {
    match error {
        DecodeError::Empty => "empty",
        DecodeError::Document(_) => "document",
        DecodeError::Inconsistent { .. } => "inconsistent",
        DecodeError::Object { .. } => "object",
        DecodeError::Elsewhere(_) => "elsewhere",
        DecodeError::Frame(error) => match error {
            OpenError::Base64(_) => "base64",
            OpenError::Protobuf(_) => "protobuf",
            OpenError::Version(_) => "version",
            OpenError::Codec(_) => "codec",
            OpenError::Size { .. } => "size",
            OpenError::Length { .. } => "length",
            OpenError::Checksum { .. } => "checksum",
            OpenError::Zstd(_) => "zstd",
            OpenError::Memory { .. } => "memory",
            OpenError::Json | OpenError::Unknown => "unexpected",
        },
    }
}

#[test]
fn webhooks_are_believed_only_where_a_secret_signed_them() {
    for case in cases("webhooks") {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let secrets: Vec<String> =
            case["secrets"].as_array().expect("secrets").iter().map(text).collect();
        let headers: BTreeMap<String, String> = case["headers"]
            .as_object()
            .expect("headers")
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect();
        let now = UNIX_EPOCH + Duration::from_secs(case["now"].as_u64().expect("seconds"));
        let header = |name: &str| headers.get(name).map(String::as_str);
        let verdict = match verify_webhook(text(&case["body"]).as_bytes(), header, &secrets, now) {
            Ok(id) => {
                assert_eq!(id, case["headers"]["webhook-id"]);
                "good"
            }
            Err(WebhookError::Signature) => "signature",
            Err(WebhookError::Apart { .. } | WebhookError::Timestamp) => "time",
            Err(WebhookError::Missing(_)) => "missing",
            Err(WebhookError::Secret(_)) => "secret",
        };
        assert_eq!(verdict, case["verdict"], "{}", case["name"]);
    }
}
