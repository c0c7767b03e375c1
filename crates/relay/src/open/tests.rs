use std::collections::BTreeMap;

use binpulse_core::encode::testing::{OwnedChange, table, text, transaction};
use binpulse_core::encode::{
    Batch, Destination, FinalizeOptions, Finalizer, Format, Lane, LaneId, Message, Origin,
    RowOptions,
};
use sha2::{Digest, Sha256};

use super::*;

fn message(format: Format, rows: i64) -> Message {
    let mut batch = Batch::new(format, RowOptions::default(), table("orders", 2));
    for number in 0..rows {
        let change = OwnedChange::insert(
            number.unsigned_abs(),
            &[text(&format!("k{number}")), text("secret")],
        );
        batch.push(1, &transaction(1), &change.change());
    }
    let lane = Lane { id: LaneId(0), key: "shop.orders#0".into(), number: 0, count: 1 };
    let batch = batch.take(lane, 41).expect("rows");
    let origin = Origin {
        stream: "prod".into(),
        server_uuid: String::from("u-u"),
        server_id: 7,
        epoch: 3,
        connector_version: "0.1.0",
        snapshot: false,
        replay: None,
    };
    let topic = Destination { arn: "arn".into(), fifo: false, message_bytes_max: 1 << 20 };
    let mut finalizer = Finalizer::new(FinalizeOptions::default()).expect("zstd starts");
    finalizer.finalize(&batch, &origin, &topic)
}

fn pointer(class: &str) -> String {
    format!("[\"software.amazon.{class}\",{{\"s3BucketName\":\"b\",\"s3Key\":\"p/k\"}}]")
}

const NEW: &str = "payloadoffloading.PayloadS3Pointer";
const OLD: &str = "sqs.javamessaging.PayloadS3Pointer";

fn opened(
    body: &str,
    attributes: &[(&str, &str)],
    object: Result<String, FetchError>,
) -> Result<OpenMessage, Failure> {
    let attributes = attributes.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let attributes = attributes.collect::<BTreeMap<String, String>>();
    let limits = Limits { content_bytes_max: 1 << 20, object_bytes_max: 1 << 20 };
    let fetch = async |pointer: &Pointer, max: u64| {
        assert_eq!((&*pointer.bucket, &*pointer.key, max), ("b", "p/k", 1 << 20));
        object
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    ours(runtime.block_on(open(body, attributes, &limits, fetch)))
}

fn ours(found: Result<Found, Failure>) -> Result<OpenMessage, Failure> {
    match found? {
        Found::Ours(message) => Ok(message),
        Found::Outbox(..) => panic!("of an outbox"),
    }
}

#[test]
fn a_message_of_an_outbox_is_its_payload_whatever_that_looks_like() {
    let open_outbox = |body: &str, more: &[(&str, &str)], object: Option<&str>| {
        let given = [("kind", "outbox"), ("id", "7")].iter().chain(more);
        let attributes = given.map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let fetch = async |_: &Pointer, _: u64| {
            object.map(str::to_owned).ok_or(FetchError::Gone("no such object".into()))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        match runtime.block_on(open(body, attributes, &Limits::default(), fetch))? {
            Found::Outbox(body, attributes) => Ok((body, attributes.len())),
            Found::Ours(message) => panic!("{message:?}"),
        }
    };
    let payloads = ["{\"v\":1}", "{{name}}", "[1,2]", "plain", "", &pointer(NEW), "AAAA"];
    for payload in payloads {
        assert_eq!(open_outbox(payload, &[], None).expect(payload), (payload.to_owned(), 2));
    }
    let size = [("ExtendedPayloadSize", "5")];
    let fetched = open_outbox(&pointer(NEW), &size, Some("large")).expect("it is fetched");
    assert_eq!(fetched, ("large".to_owned(), 3));
    for object in [Some("other size"), None] {
        let refused: Result<_, Failure> = open_outbox(&pointer(NEW), &size, object);
        assert!(matches!(refused, Err(Failure::Unreadable(_))), "{refused:?}");
    }
    // In an envelope the attributes are there.
    let envelope = r#"{"Type":"Notification","Message":"{\"v\":1}",
        "MessageAttributes":{"kind":{"Type":"String","Value":"outbox"}}}"#;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let fetch = async |_: &Pointer, _: u64| nothing();
    let found = runtime.block_on(open(envelope, BTreeMap::new(), &Limits::default(), fetch));
    assert!(matches!(found, Ok(Found::Outbox(body, _)) if body == "{\"v\":1}"));
}

fn nothing() -> Result<String, FetchError> {
    Err(FetchError::Gone("nothing is to be fetched".into()))
}

fn reason_of(result: Result<OpenMessage, Failure>) -> &'static str {
    match result {
        Err(Failure::Unreadable(unreadable)) => {
            assert!(!unreadable.to_string().contains("secret"), "{unreadable}");
            unreadable.reason()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn rows_open_whether_they_lie_in_the_message_or_in_an_object() {
    for format in [Format::Protobuf, Format::Json] {
        let body = message(format, 3).body;
        let here = opened(&body, &[("replay", "you")], nothing()).expect("it opens");
        assert_eq!(here.replay.as_deref(), Some("you"));
        assert!(matches!(&here.opened, Opened::Rows(batch) if batch.rows.len() == 3));
        let size = body.len().to_string();
        for class in [NEW, OLD] {
            for attributes in [&[][..], &[("ExtendedPayloadSize", size.as_str())]] {
                let there = opened(&pointer(class), attributes, Ok(body.clone()));
                assert_eq!(there.expect("it opens").opened, here.opened);
            }
        }
        let sha256 = Sha256::digest(&body).to_vec();
        let claim = binpulse_client::proto::ClaimCheck {
            bucket: "b".into(),
            key: "p/k".into(),
            size_bytes: body.len() as u64,
            sha256,
            kind: "change".into(),
        };
        let claim = claim_frame(claim);
        assert_eq!(opened(&claim, &[], Ok(body)).expect("it opens").opened, here.opened);
        assert_eq!(reason_of(opened(&claim, &[], Ok("other".into()))), "object");
    }
}

/// The body of a frame with a claim check: field 10 of the frame.
fn claim_frame(claim: binpulse_client::proto::ClaimCheck) -> String {
    use base64::Engine;
    use prost::Message as _;
    let frame = binpulse_client::proto::Frame {
        format_version: 1,
        content: Some(binpulse_client::proto::frame::Content::ClaimCheck(claim)),
        ..binpulse_client::proto::Frame::default()
    };
    base64::engine::general_purpose::STANDARD.encode(frame.encode_to_vec())
}

#[test]
fn an_object_that_is_away_is_not_one_that_is_gone() {
    let body = pointer(NEW);
    let away = opened(&body, &[], Err(FetchError::Away("503".into())));
    assert!(matches!(away, Err(Failure::Away(why)) if why == "503"));
    assert_eq!(reason_of(opened(&body, &[], nothing())), "object");
    assert_eq!(reason_of(opened(&body, &[], Ok(pointer(OLD)))), "object");
    assert_eq!(reason_of(opened(&body, &[], Ok("x".repeat(1 << 21)))), "object");
    let size = [("ExtendedPayloadSize", "9999999999")];
    assert_eq!(reason_of(opened(&body, &size, Ok("never fetched".into()))), "object");
    let size = [("ExtendedPayloadSize", "4")];
    assert_eq!(reason_of(opened(&body, &size, Ok("five!".into()))), "object");
}

#[test]
fn what_is_not_ours_is_unreadable_and_says_why() {
    let frame = message(Format::Protobuf, 3).body;
    let document = message(Format::Json, 3).body;
    let edited = |from: &str, to: &str| {
        assert!(document.contains(from), "{from}");
        document.replacen(from, to, 1)
    };
    // A row of 100 columns takes 3 bytes of the document.
    let many = edited(
        "\"rows\":[",
        &format!("\"rows\":[{}", "{\"op\":\"read\",\"after\":{}},".repeat(200_000)),
    );
    for (body, wanted) in [
        (String::new(), "frame"),
        ("no base64 !".to_owned(), "frame"),
        (frame[..frame.len() - 8].to_owned(), "frame"),
        ("CAI=".to_owned(), "version"),
        ("{".to_owned(), "document"),
        ("{}".to_owned(), "document"),
        ("[]".to_owned(), "document"),
        ("[1,2".to_owned(), "document"),
        (pointer("Other"), "document"),
        (edited("\"v\":1", "\"v\":2"), "version"),
        (edited("\"v\":1", "\"v\":\"1\""), "document"),
        (edited("\"c0\":\"k0\"", "\"c0\":true"), "document"),
        (edited("\"c0\":\"k0\"", "\"x\":0"), "document"),
        (edited("\"c0\":\"k0\"", "\"c1\":\"secret\""), "document"),
        (edited("\"transaction\":0", "\"transaction\":7"), "inconsistent"),
        (edited("\"sequence_first\":41", "\"sequence_first\":0"), "inconsistent"),
        (
            edited("\"sequence_first\":41", "\"sequence_first\":18446744073709551615"),
            "inconsistent",
        ),
        (many, "document"),
    ] {
        let shown = body.chars().take(80).collect::<String>();
        assert_eq!(reason_of(opened(&body, &[], nothing())), wanted, "{shown}");
    }
    let large = message(Format::Protobuf, 200_000).body;
    assert_eq!(reason_of(opened(&large, &[], nothing())), "size");
}

#[test]
fn a_kind_that_is_not_known_is_no_error() {
    let document = message(Format::Json, 1).body.replacen("\"change\"", "\"comet\"", 1);
    let opened_document = opened(&document, &[], nothing()).expect("it opens");
    assert_eq!(opened_document.opened, Opened::Unknown { kind: "comet".into() });
    // Field 99 of a frame.
    let frame = claim_frame_of_field_99();
    let opened_frame = opened(&frame, &[("kind", "comet")], nothing()).expect("it opens");
    assert_eq!(opened_frame.opened, Opened::Unknown { kind: "comet".into() });
}

fn claim_frame_of_field_99() -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode([8, 1, 0x9a, 6, 0])
}

/// Cases of the conformance suite.
pub(crate) fn cases(name: &str) -> Vec<serde_json::Value> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance");
    let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).expect("the suite");
    serde_json::from_str(&text).expect("the suite is JSON")
}

/// Opens what a case has as body and attributes, with the objects that it names.
pub(crate) fn opened_case(case: &serde_json::Value) -> Result<OpenMessage, Failure> {
    let attributes = case["attributes"].as_object().into_iter().flatten();
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let attributes = attributes.map(|(name, value)| (name.clone(), text(value))).collect();
    let fetch = async |pointer: &Pointer, _max: u64| {
        let object = &case["objects"][format!("{}/{}", pointer.bucket, pointer.key)];
        object.as_str().map(str::to_owned).ok_or(FetchError::Gone("no such object".into()))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let body = case["body"].as_str().expect("a body");
    ours(runtime.block_on(open(body, attributes, &Limits::default(), fetch)))
}

#[test]
fn the_conformance_suite_opens_and_its_hostile_part_does_not() {
    let kind = |opened: &Opened| match opened {
        Opened::Rows(_) => "change",
        Opened::Part(_) => "snapshot_part",
        Opened::Mark(_) => "snapshot_mark",
        Opened::Canary(_) => "canary",
        Opened::Heartbeat(_) => "heartbeat",
        Opened::Schema(_) => "schema",
        Opened::Suppressed(_) => "suppressed",
        Opened::TransactionEnd(_) => "transaction",
        Opened::Unknown { .. } => "unknown",
    };
    let messages = cases("messages");
    for case in &messages {
        for message in case["messages"].as_array().expect("messages") {
            let open = opened_case(message).expect("it opens");
            assert_eq!(kind(&open.opened), case["content"]["kind"], "{}", case["name"]);
            let replay = message["attributes"]["replay"].as_str();
            assert_eq!(open.replay.as_deref(), replay, "{}", case["name"]);
        }
    }
    for case in cases("envelopes").iter().filter(|case| case.get("body").is_some()) {
        let open = opened_case(case).expect("it opens");
        let of = messages.iter().find(|of| of["name"] == case["case"]).expect("a case");
        assert_eq!(kind(&open.opened), of["content"]["kind"], "{}", case["name"]);
    }
    for case in cases("hostile") {
        let _reason = reason_of(opened_case(&case));
    }
}
