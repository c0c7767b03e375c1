//! What is put around messages, what is no message, signatures, and histories of numbers.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use binpulse_client::ledger::{Decision, Gap, Lane, Waits};
use binpulse_client::proto::{self, frame::Content};
use hmac::{Hmac, Mac};
use prost::Message as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::shown::{extend, hex, number};

/// Name and body of an object that messages point to.
const BUCKET: &str = "claims";

/// The message of a case in one form.
pub(crate) fn message<'m>(messages: &'m [Value], case: &str, form: &str) -> &'m Value {
    let case = messages.iter().find(|one| one["name"] == case).expect("a case");
    case["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["form"] == form)
        .expect("a form")
}

/// Each form in which a message comes, made of the cases in `messages`.
pub(crate) fn envelopes(messages: &[Value]) -> Vec<Value> {
    let mut cases = Vec::new();
    for (of, form) in [
        ("before-image-full", "frame-zstd"),
        ("every-type", "json"),
        ("replay", "frame"),
        ("canary", "frame-zstd"),
        ("unknown-kind", "frame"),
    ] {
        let message = message(messages, of, form);
        let body = message["body"].as_str().expect("a body");
        let attributes = message["attributes"].as_object().expect("attributes");
        let typed = |text: &str, of: &str| -> Value {
            let typed = attributes.iter().map(|(name, value)| {
                let kind = if name == "op" { "String.Array" } else { "String" };
                (name.clone(), json!({text: value, of: kind}))
            });
            Value::Object(typed.collect())
        };
        let sns = json!({
            "Type": "Notification", "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
            "TopicArn": "arn:aws:sns:eu-west-1:000000000000:changes", "Subject": null, "Message": body,
            "Timestamp": "2026-11-20T20:12:00.123Z", "SignatureVersion": "1", "Signature": "x",
            "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/x.pem",
            "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?x",
            "MessageAttributes": typed("Value", "Type"),
        });
        let record = json!({
            "messageId": "m-1", "receiptHandle": "r", "body": body,
            "attributes": {"ApproximateReceiveCount": "1"},
            "messageAttributes": typed("stringValue", "dataType"),
            "md5OfBody": "x", "eventSource": "aws:sqs", "awsRegion": "eu-west-1",
        });
        let enveloped =
            json!({"messageId": "m-2", "body": sns.to_string(), "messageAttributes": {}});
        let from_sns = json!({"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": sns});
        for (name, input) in [
            ("sns-envelope", json!({"body": sns.to_string()})),
            ("lambda-sqs", json!({"event": {"Records": [record, enveloped]}})),
            ("lambda-sns", json!({"event": {"Records": [from_sns]}})),
        ] {
            let mut case =
                json!({"name": format!("{name}/{of}"), "case": of, "attributes": attributes});
            extend(&mut case, input);
            cases.push(case);
        }
    }
    cases.extend(pointers(messages));
    cases
}

fn pointers(messages: &[Value]) -> Vec<Value> {
    let message = message(messages, "every-type", "frame-zstd");
    let object = message["body"].as_str().expect("a body");
    let key = format!("binpulse/{}", hex(&Sha256::digest(object)));
    let claim = proto::ClaimCheck {
        bucket: BUCKET.into(),
        key: key.clone(),
        size_bytes: object.len() as u64,
        sha256: Sha256::digest(object).to_vec(),
        kind: "change".into(),
    };
    let frame = proto::Frame {
        format_version: 1,
        content: Some(Content::ClaimCheck(claim)),
        ..proto::Frame::default()
    };
    let place = json!({"s3BucketName": BUCKET, "s3Key": key});
    let pointer = |class: &str| json!([class, place]).to_string();
    let mut attributes = message["attributes"].clone();
    attributes["ExtendedPayloadSize"] = number(object.len());
    let forms = [
        ("pointer", pointer("software.amazon.payloadoffloading.PayloadS3Pointer")),
        (
            "pointer-of-an-older-client",
            pointer("com.amazon.sqs.javamessaging.MessageS3Pointer.PayloadS3Pointer"),
        ),
        ("claim-check", STANDARD.encode(frame.encode_to_vec())),
    ];
    let case = |(name, body): (&str, String)| {
        json!({
            "name": name, "case": "every-type", "attributes": attributes, "body": body,
            "objects": {format!("{BUCKET}/{key}"): object},
        })
    };
    forms.map(case).to_vec()
}

/// Requests with their signatures.
pub(crate) fn webhooks() -> Vec<Value> {
    const NOW: u64 = 1_795_000_000;
    const ID: &str = "bp_mzxw6ytboi3dsnrzgu4tmnbvgq2dimjr";
    let body = "{\"type\":\"change\",\"rows\":[{\"id\":\"é\"}]}";
    let new = format!("whsec_{}", STANDARD.encode([1; 32]));
    let old = format!("whsec_{}", STANDARD.encode([2; 24]));
    let sign = |secret: &str, at: u64, body: &str| {
        let key = STANDARD.decode(&secret["whsec_".len()..]).expect("base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
        mac.update(format!("{ID}.{at}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    };
    let case = |name: &str,
                secrets: &[&str],
                at: Option<u64>,
                signature: Option<String>,
                verdict: &str| {
        let mut headers = json!({"webhook-id": ID});
        if let Some(at) = at {
            headers["webhook-timestamp"] = number(at);
        }
        if let Some(signature) = signature {
            headers["webhook-signature"] = signature.into();
        }
        json!({"name": name, "secrets": secrets, "headers": headers, "body": body, "now": NOW, "verdict": verdict})
    };
    let good = |secret: &str| Some(sign(secret, NOW, body));
    let both = Some(format!("{} {}", sign(&new, NOW, body), sign(&old, NOW, body)));
    let (new, old) = (&*new, &*old);
    let signed_at = |at| (Some(at), Some(sign(new, at, body)));
    let (early, early_signature) = signed_at(NOW - 300);
    let (too_early, too_early_signature) = signed_at(NOW - 301);
    let (too_late, too_late_signature) = signed_at(NOW + 301);
    let odd = |name: &str, at: &str| {
        let mut odd = case(name, &[new], Some(NOW), good(new), "time");
        odd["headers"]["webhook-timestamp"] = at.into();
        odd
    };
    let flipped = sign(new, NOW, body).replace("v1,", "v1,A");
    vec![
        case("good", &[new], Some(NOW), good(new), "good"),
        case("secret-without-padding", &[new.trim_end_matches('=')], Some(NOW), good(new), "good"),
        case("rotation-both-sign-new-known", &[new], Some(NOW), both.clone(), "good"),
        case("rotation-both-sign-old-known", &[old], Some(NOW), both, "good"),
        case("rotation-two-known-old-signs", &[new, old], Some(NOW), good(old), "good"),
        case("five-minutes-old", &[new], early, early_signature, "good"),
        case(
            "other-versions-beside-it",
            &[new],
            Some(NOW),
            Some(format!("v1a,AAAA v2,BBBB {}", sign(new, NOW, body))),
            "good",
        ),
        case("other-secret", &[new], Some(NOW), good(old), "signature"),
        case("other-body", &[new], Some(NOW), Some(sign(new, NOW, "{}")), "signature"),
        case("other-time", &[new], Some(NOW + 1), good(new), "signature"),
        case(
            "other-version",
            &[new],
            Some(NOW),
            good(new).map(|text| text.replace("v1,", "v2,")),
            "signature",
        ),
        case("damaged", &[new], Some(NOW), Some(flipped), "signature"),
        case("empty", &[new], Some(NOW), Some(String::new()), "signature"),
        case("too-old", &[new], too_early, too_early_signature, "time"),
        case("of-the-future", &[new], too_late, too_late_signature, "time"),
        odd("timestamp-no-number", "1795000000.0"),
        odd("timestamp-with-sign", "+1795000000"),
        odd("timestamp-with-space", " 1795000000"),
        odd("timestamp-of-other-digits", "١٧٩٥٠٠٠٠٠٠"),
        odd("timestamp-empty", ""),
        odd("timestamp-huge", "18446744073709551616"),
        odd("timestamp-enormous", &"9".repeat(400)),
        case("no-timestamp", &[new], None, good(new), "missing"),
        case("no-signature", &[new], Some(NOW), None, "missing"),
    ]
}

/// A step of a history, at a second.
#[derive(Clone, Copy)]
enum Step {
    /// Rows arrive; if told to go, they are applied.
    Rows(u64, u64),
    /// A canary names the lane.
    Watermark(u64),
    /// Rows are given up.
    Absent(u64, u64),
    /// A message said that rows are suppressed.
    Suppressed(u64, u64),
    /// Nothing; time passes.
    Tick,
}
use Step::{Absent, Rows, Suppressed, Tick, Watermark};

/// Histories of one lane: name, the number that the consumer's store has, and what happens when.
const HISTORIES: &[(&str, Option<u64>, &[(u64, Step)])] = &[
    ("in-order", None, &[(0, Rows(1, 5)), (1, Rows(6, 5)), (2, Rows(11, 1)), (3, Tick)]),
    ("duplicates", Some(6), &[(0, Rows(1, 5)), (1, Rows(4, 5)), (2, Rows(4, 5)), (3, Rows(9, 1))]),
    (
        "packed-otherwise",
        None,
        &[(0, Rows(1, 4)), (1, Rows(1, 10)), (2, Rows(3, 3)), (3, Rows(11, 2))],
    ),
    (
        "new-lane-begins-out-of-order",
        None,
        &[(0, Rows(6, 5)), (2, Rows(1, 5)), (2, Rows(6, 5)), (3, Tick)],
    ),
    (
        "joined-later",
        None,
        &[
            (0, Rows(106, 5)),
            (5, Rows(101, 5)),
            (59, Tick),
            (60, Tick),
            (60, Rows(101, 5)),
            (60, Rows(106, 5)),
        ],
    ),
    (
        "joined-later-with-a-canary",
        None,
        &[(0, Rows(106, 5)), (10, Watermark(111)), (14, Tick), (15, Tick), (15, Rows(106, 5))],
    ),
    (
        "gap",
        Some(1),
        &[
            (0, Rows(1, 5)),
            (1, Rows(11, 5)),
            (300, Tick),
            (301, Tick),
            (301, Absent(6, 10)),
            (301, Rows(11, 5)),
            (302, Tick),
        ],
    ),
    (
        "gap-that-is-proven",
        Some(1),
        &[(0, Rows(1, 5)), (1, Rows(11, 5)), (10, Watermark(16)), (14, Tick), (15, Tick)],
    ),
    (
        "gap-that-closes",
        Some(1),
        &[(0, Rows(1, 5)), (1, Rows(11, 5)), (200, Rows(6, 5)), (200, Rows(11, 5)), (600, Tick)],
    ),
    ("gap-at-the-end", Some(1), &[(0, Rows(1, 5)), (10, Watermark(9)), (309, Tick), (310, Tick)]),
    (
        "two-gaps",
        Some(1),
        &[
            (0, Rows(3, 1)),
            (1, Rows(6, 1)),
            (300, Tick),
            (300, Absent(1, 2)),
            (300, Rows(3, 1)),
            (599, Tick),
            (600, Tick),
        ],
    ),
    ("suppressed", Some(45), &[(0, Suppressed(45, 54)), (1, Rows(55, 5)), (2, Tick)]),
    (
        "suppressed-ahead",
        Some(41),
        &[
            (0, Suppressed(45, 54)),
            (1, Rows(55, 5)),
            (2, Rows(41, 4)),
            (2, Rows(55, 5)),
            (400, Tick),
        ],
    ),
    (
        "suppressed-and-sent-later",
        Some(45),
        &[
            (0, Suppressed(45, 54)),
            (1, Rows(55, 5)),
            (2, Suppressed(45, 54)),
            (60, Rows(45, 4)),
            (61, Rows(45, 4)),
            (62, Rows(49, 6)),
            (63, Suppressed(45, 54)),
            (64, Rows(45, 10)),
            (65, Rows(60, 1)),
            (400, Tick),
        ],
    ),
    (
        "suppressed-and-packed-with-others-later",
        Some(4),
        &[
            (0, Suppressed(4, 5)),
            (1, Rows(6, 2)),
            (2, Suppressed(8, 9)),
            (3, Rows(10, 1)),
            (4, Rows(1, 12)),
            (4, Rows(1, 12)),
            (4, Rows(1, 12)),
            (4, Rows(1, 12)),
            (5, Tick),
        ],
    ),
    (
        "suppressed-and-sent-before-the-lane-is-there",
        Some(41),
        &[
            (0, Suppressed(45, 54)),
            (1, Rows(47, 2)),
            (2, Rows(41, 5)),
            (3, Rows(47, 2)),
            (3, Rows(46, 9)),
            (4, Rows(49, 6)),
            (5, Rows(46, 9)),
            (6, Rows(45, 10)),
            (400, Tick),
        ],
    ),
    (
        "a-lane-begins-with-suppressed-rows",
        None,
        &[(0, Suppressed(1, 10)), (1, Rows(11, 2)), (2, Rows(3, 2)), (3, Rows(3, 2))],
    ),
    (
        "suppressed-in-a-lane-that-is-not-known",
        None,
        &[
            (0, Suppressed(101, 110)),
            (1, Rows(111, 5)),
            (61, Tick),
            (61, Rows(111, 5)),
            (62, Rows(99, 4)),
            (63, Rows(99, 4)),
            (400, Tick),
        ],
    ),
    ("watermark-reached", Some(1), &[(0, Watermark(6)), (1, Rows(1, 5)), (900, Tick)]),
];

/// A history of chance: about 40 rows that come in pieces, more than once, in any order or never, with watermarks,
/// rows that are suppressed or given up, and pauses.
fn random_history(seed: u64) -> (String, Option<u64>, Vec<(u64, Step)>) {
    let mut state = seed;
    let mut below = |end: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    };
    let next = if below(2) == 0 { None } else { Some(1 + below(5)) };
    let (mut second, mut steps) = (0, Vec::new());
    for _ in 0..30 {
        second += [0, 1, 4, 40, 200][below(5) as usize];
        // Rows near those of the steps before, more often than not.
        let first = 1 + (steps.len() as u64 + below(12)).saturating_sub(6);
        let last = first + below(6);
        steps.push((
            second,
            match below(10) {
                0 => Tick,
                1 => Watermark(first),
                2 => Suppressed(first, last),
                3 => Absent(first, last),
                _ => Rows(first, last - first + 1),
            },
        ));
    }
    (format!("random-{seed}"), next, steps)
}

/// Histories with the decisions.
pub(crate) fn histories() -> Vec<Value> {
    let waits = Waits::default();
    let random: Vec<_> = (0..40).map(random_history).collect();
    let random = random.iter().map(|(name, next, steps)| (&**name, *next, &**steps));
    let cases = HISTORIES.iter().map(|(name, next, steps)| (*name, *next, *steps)).chain(random);
    let cases = cases.map(|(name, next, steps)| {
        let at = Duration::from_secs;
        let mut lane = match next {
            Some(next) => Lane::resume(next, waits, at(0)),
            None => Lane::new(waits, at(0)),
        };
        let steps = steps.iter().map(|(second, step)| decided(&mut lane, *second, *step));
        json!({"name": name, "next": next.map(number), "steps": steps.collect::<Vec<_>>()})
    });
    cases.collect()
}

fn decided(lane: &mut Lane, second: u64, step: Step) -> Value {
    let now = Duration::from_secs(second);
    let mut shown = match step {
        Rows(first, count) => {
            let decision = match lane.offer(first, count, now) {
                Decision::Skip => json!({"decision": "skip"}),
                Decision::Wait => json!({"decision": "wait"}),
                Decision::Late { skip, take } => {
                    lane.applied_late(first + skip, take);
                    json!({"decision": "late", "skip": number(skip), "take": number(take)})
                }
                Decision::Go { skip } => {
                    lane.applied(first + count, now);
                    json!({"decision": "go", "skip": number(skip)})
                }
            };
            let mut shown = json!({"rows": {"first": number(first), "count": number(count)}});
            extend(&mut shown, decision);
            shown
        }
        Watermark(next) => {
            lane.watermark(next, now);
            json!({"watermark": number(next)})
        }
        Absent(first, last) => {
            lane.absent(Gap { first, last, is_proven: false }, now);
            json!({"absent": {"first": number(first), "last": number(last)}})
        }
        Suppressed(first, last) => {
            lane.suppressed(first, last, now);
            json!({"suppressed": {"first": number(first), "last": number(last)}})
        }
        Tick => json!({"tick": true}),
    };
    let gap = lane.missing(now).map(|gap| {
        json!({"first": number(gap.first), "last": number(gap.last), "proven": gap.is_proven})
    });
    extend(&mut shown, json!({"at": second, "gap": gap, "next": lane.next().map(number)}));
    shown
}
