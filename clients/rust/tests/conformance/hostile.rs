//! Bodies that a consumer must refuse.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use binpulse_client::proto::{self, ChangeBatch, Codec, frame::Content};
use prost::Message as _;
use serde_json::{Value, json};

use crate::messages::frame_of;
use crate::others::message;

/// Name, reason, body.
type Case = (String, &'static str, String);

/// Bodies that must be refused, with little memory and in little time.
pub(crate) fn all(messages: &[Value]) -> Vec<Value> {
    let good = message(messages, "before-image-full", "frame")["body"].as_str().expect("a body");
    let document = message(messages, "before-image-full", "json")["body"].as_str().expect("a body");
    let bytes = STANDARD.decode(good).expect("base64");
    let frame = proto::Frame::decode(bytes.as_slice()).expect("a frame");
    let with = |change: &dyn Fn(&mut proto::Frame)| {
        let mut frame = frame.clone();
        change(&mut frame);
        STANDARD.encode(frame.encode_to_vec())
    };
    let size = frame.uncompressed_size;
    let pointer =
        |place: &str| format!("[\"software.amazon.payloadoffloading.PayloadS3Pointer\",{place}]");
    let last = good.len() - 4;
    let cases = [
        ("empty", "empty", String::new()),
        ("no-base64", "base64", "this is no base64!".into()),
        ("base64-with-newline", "base64", format!("{}\n{}", &good[..8], &good[8..])),
        ("base64-cut", "base64", good[..good.len() - 3].into()),
        ("frame-cut", "protobuf", good[..last].into()),
        ("random-bytes", "protobuf", STANDARD.encode([0xff; 60])),
        ("version-0", "version", with(&|frame| frame.format_version = 0)),
        ("version-2", "version", with(&|frame| frame.format_version = 2)),
        ("codec-99", "codec", with(&|frame| frame.codec = 99)),
        ("crc-wrong", "checksum", with(&|frame| frame.crc32c ^= 1)),
        ("crc-absent", "checksum", with(&|frame| frame.crc32c = 0)),
        ("stated-too-short", "length", with(&|frame| frame.uncompressed_size = size - 1)),
        ("stated-too-long", "length", with(&|frame| frame.uncompressed_size = size + 1)),
        ("stated-huge", "size", with(&|frame| frame.uncompressed_size = u64::MAX)),
        ("no-zstd", "zstd", with(&|frame| frame.codec = Codec::Zstd.into())),
        ("json-cut", "document", document[..document.len() - 2].into()),
        ("json-no-kind", "document", "{}".into()),
        ("json-version-2", "version", document.replacen("\"v\":1", "\"v\":2", 1)),
        ("json-array", "document", "[1,2]".into()),
        ("json-pointer-number", "document", pointer("{\"s3BucketName\":5,\"s3Key\":\"k\"}")),
        ("json-pointer-null", "document", pointer("{\"s3BucketName\":\"b\",\"s3Key\":null}")),
        ("json-pointer-nowhere", "document", pointer("{}")),
        ("json-pointer-text", "document", pointer("\"b/k\"")),
        ("json-deep", "document", "[".repeat(10_000)),
    ];
    let of_every_type = message(messages, "every-type", "json")["body"].as_str().expect("a body");
    let cases = cases.map(|(name, reason, body)| (name.to_owned(), reason, body)).into_iter();
    let cases = cases.chain(inconsistent(&frame)).chain(frames(&frame));
    let cases = cases.chain(documents(document, of_every_type)).chain(bombs(document));
    let case = |(name, reason, body): Case| json!({"name": name, "reason": reason, "body": body});
    cases.map(case).collect()
}

/// A frame whose content is a batch, otherwise than it was.
fn edited_batch(frame: &proto::Frame, edit: &dyn Fn(&mut ChangeBatch)) -> String {
    let Some(Content::Payload(payload)) = &frame.content else { panic!("a payload") };
    let mut inner = proto::Frame::decode(payload.as_slice()).expect("a frame");
    let Some(Content::Batch(batch)) = &mut inner.content else { panic!("a batch") };
    edit(batch);
    STANDARD.encode(frame_of(&inner.encode_to_vec()))
}

/// A frame of Zstandard, whatever is in it.
fn zstd_frame(payload: &[u8], uncompressed_size: usize, crc32c: u32) -> String {
    let frame = proto::Frame {
        format_version: 1,
        codec: Codec::Zstd.into(),
        uncompressed_size: uncompressed_size as u64,
        crc32c,
        content: Some(Content::Payload(payload.to_vec())),
    };
    STANDARD.encode(frame.encode_to_vec())
}

/// Contents that contradict themselves.
fn inconsistent(frame: &proto::Frame) -> Vec<Case> {
    let edits: [(&str, &dyn Fn(&mut ChangeBatch)); 15] = [
        ("transaction-outside", &|batch| batch.rows[0].transaction = 1),
        ("values-beyond-columns", &|batch| {
            let values = &mut batch.rows[0].after.as_mut().expect("an insert").values;
            values.push(values[0].clone());
        }),
        ("no-rows", &|batch| batch.rows.clear()),
        ("no-source", &|batch| batch.source = None),
        ("no-table", &|batch| batch.table = None),
        ("no-transactions", &|batch| batch.transactions.clear()),
        ("no-files", &|batch| batch.files.clear()),
        ("number-0", &|batch| batch.sequence_first = 0),
        ("numbers-beyond-64-bits", &|batch| batch.sequence_first = u64::MAX - 3),
        ("key-outside", &|batch| batch.table.as_mut().expect("a table").primary_key.push(3)),
        ("key-far-outside", &|batch| {
            batch.table.as_mut().expect("a table").primary_key.push(u32::MAX);
        }),
        ("insert-with-before", &|batch| batch.rows[0].before = batch.rows[0].after.clone()),
        ("insert-without-after", &|batch| batch.rows[0].after = None),
        ("update-without-before", &|batch| batch.rows[1].before = None),
        ("delete-with-after", &|batch| batch.rows[3].after = batch.rows[3].before.clone()),
    ];
    let mut cases: Vec<Case> = edits
        .into_iter()
        .map(|(name, edit)| (name.to_owned(), "inconsistent", edited_batch(frame, edit)))
        .collect();
    let alone = |name: &str, content| {
        let inner = proto::Frame { content: Some(content), ..proto::Frame::default() };
        (name.to_owned(), "inconsistent", STANDARD.encode(frame_of(&inner.encode_to_vec())))
    };
    let held = proto::Suppressed { sequence_first: u64::MAX, count: 2, ..Default::default() };
    cases.push(alone("part-of-nothing", Content::SnapshotPart(proto::SnapshotPart::default())));
    cases.push(alone("suppressed-from-0", Content::Suppressed(proto::Suppressed::default())));
    cases.push(alone("suppressed-beyond-64-bits", Content::Suppressed(held)));
    cases
}

/// Payloads that are not one frame of Zstandard that states its size; text that is no UTF-8.
fn frames(frame: &proto::Frame) -> Vec<Case> {
    let Some(Content::Payload(plain)) = &frame.content else { panic!("a payload") };
    let zipped = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).expect("zstd compresses anything");
    // As a stream, whose length is not known when the frame begins.
    let unsized_frame = zstd::stream::encode_all(plain.as_slice(), 1).expect("it compresses");
    let (half, rest) = plain.split_at(plain.len() / 2);
    let mut cut = zipped(plain);
    cut.truncate(cut.len() - 5);
    let case = |name: &str, reason, payload: &[u8]| {
        (name.to_owned(), reason, zstd_frame(payload, plain.len(), crc32c::crc32c(plain)))
    };
    let no_utf8 = edited_batch(frame, &|batch| batch.lane = "shop.orders#~".into());
    let mut no_utf8 = STANDARD.decode(no_utf8).expect("base64");
    let at = no_utf8.iter().position(|byte| *byte == b'~').expect("it is there");
    no_utf8[at] = 0xff;
    let mut no_utf8 = proto::Frame::decode(no_utf8.as_slice()).expect("a frame");
    if let Some(Content::Payload(payload)) = &no_utf8.content {
        no_utf8.crc32c = crc32c::crc32c(payload);
    }
    vec![
        case("zstd-without-size", "zstd", &unsized_frame),
        case("zstd-of-two-frames", "length", &[zipped(half), zipped(rest)].concat()),
        case("zstd-with-more-behind", "zstd", &[&*zipped(plain), b"more"].concat()),
        case("zstd-cut", "zstd", &cut),
        case("zstd-of-nothing", "zstd", &[]),
        ("text-no-utf8".to_owned(), "protobuf", STANDARD.encode(no_utf8.encode_to_vec())),
    ]
}

/// Documents of the JSON format that are not what the contract says: name, what stands in the right one, and what
/// in its place.
const DOCUMENTS: &[(&str, &str, &str)] = &[
    ("json-no-source", "\"source\":", "\"sauce\":"),
    ("json-unknown-column", "\"line\":1", "\"lime\":1"),
    ("json-column-twice", "\"line\":1", "\"line\":1,\"line\":1"),
    ("json-member-twice", "\"lane_count\":3", "\"lane_count\":3,\"lane_count\":3"),
    ("json-member-twice-escaped", "\"lane_count\":3", "\"lane_count\":3,\"lane\\u005fcount\":3"),
    ("json-more-behind", "\"after\":null}]}", "\"after\":null}]} x"),
    ("json-wrong-type", "\"line\":1", "\"line\":\"1\""),
    ("json-too-large-integer", "\"line\":1", "\"line\":18446744073709551616"),
    ("json-too-small-integer", "\"line\":1", "\"line\":-9223372036854775809"),
    ("json-integer-with-point", "\"line\":1", "\"line\":1.0"),
    ("json-integer-with-exponent", "\"line\":1", "\"line\":1e0"),
    ("json-integer-with-zero", "\"line\":1", "\"line\":01"),
    ("json-integer-with-plus", "\"line\":1", "\"line\":+1"),
    ("json-boolean-for-integer", "\"line\":1", "\"line\":true"),
    ("json-array-for-integer", "\"line\":1", "\"line\":[1]"),
    ("json-object-for-text", "\"note\":\"a\"", "\"note\":{\"a\":1}"),
    ("json-number-for-text", "\"note\":\"a\"", "\"note\":1"),
    ("json-boolean-for-text", "\"note\":\"a\"", "\"note\":false"),
    ("json-nan", "\"note\":\"a\"", "\"note\":NaN"),
    ("json-surrogate", "\"note\":\"a\"", "\"note\":\"\\ud800\""),
    ("json-surrogates-swapped", "\"note\":\"a\"", "\"note\":\"\\udc00\\ud800\""),
    ("json-bad-escape", "\"note\":\"a\"", "\"note\":\"\\u+123\""),
    ("json-control-character", "\"note\":\"a\"", "\"note\":\"a\nb\""),
    (
        "json-omitted-short-hash",
        "\"note\":\"a\"",
        "\"note\":{\"$omitted\":{\"size_bytes\":5,\"sha256\":\"00\"}}",
    ),
    ("json-malformed-no-base64", "\"note\":\"a\"", "\"note\":{\"$malformed\":\"a\"}"),
    ("json-number-as-text", "\"sequence_first\":41", "\"sequence_first\":\"41\""),
    ("json-number-as-boolean", "\"sequence_first\":41", "\"sequence_first\":true"),
    ("json-number-negative", "\"sequence_first\":41", "\"sequence_first\":-41"),
    ("json-number-with-point", "\"sequence_first\":41", "\"sequence_first\":41.0"),
    ("json-number-too-large", "\"server_id\":7", "\"server_id\":4294967296"),
    ("json-epoch-as-text", "\"epoch\":3", "\"epoch\":\"3\""),
    ("json-text-as-number", "\"stream\":\"prod\"", "\"stream\":5"),
    ("json-flag-as-number", "\"nullable\":false", "\"nullable\":0"),
    ("json-fingerprint-short", "\"fingerprint\":\"feed0000", "\"fingerprint\":\"feed"),
    ("json-fingerprint-no-digits", "\"fingerprint\":\"feed", "\"fingerprint\":\"0xfe"),
    ("json-key-unknown", "\"primary_key\":[\"order_id\"", "\"primary_key\":[\"order\""),
    ("json-time-no-day", "2026-11-18T", "2026-02-30T"),
    ("json-time-no-hour", "T11:06", "T24:06"),
    ("json-time-no-minute", "T11:06", "T11:60"),
    ("json-time-offset", "000400Z", "000400+00:00"),
    ("json-time-nanoseconds", "000400Z", "0004000Z"),
    ("json-time-comma", ".000400Z", ",000400Z"),
    ("json-rows-as-object", "\"rows\":[", "\"rows\":{},\"lines\":["),
    ("json-image-as-array", "\"before\":null", "\"before\":[]"),
];

/// The same of a row of every type.
const VALUES: &[(&str, &str, &str)] = &[
    ("json-float-too-large", "\"float\":0.1", "\"float\":3.5e38"),
    ("json-double-too-large", "\"double\":0.1", "\"double\":1e309"),
    ("json-double-as-text", "\"double\":0.1", "\"double\":\"0.1\""),
    ("json-double-infinite", "\"double\":0.1", "\"double\":Infinity"),
    ("json-vector-too-large", "[0.5,1.0,-0.0]", "[0.5,1e39,-0.0]"),
    ("json-vector-of-texts", "[0.5,1.0,-0.0]", "[\"0.5\"]"),
    ("json-decimal-as-number", "\"decimal\":\"-12.500\"", "\"decimal\":-12.500"),
    ("json-bit-negative", "\"bit\":0", "\"bit\":-1"),
    ("json-year-with-point", "\"year\":0", "\"year\":1.5"),
    ("json-date-as-number", "\"date\":\"2026-11-20\"", "\"date\":20261120"),
    ("json-binary-with-newline", "\"binary\":\"\"", "\"binary\":\"AP8K\\nAP8K\""),
    ("json-binary-without-padding", "\"binary\":\"\"", "\"binary\":\"AA\""),
    ("json-binary-of-urls", "\"binary\":\"\"", "\"binary\":\"-_-_\""),
    ("json-nan-inside", "\"json\":{\"a\": 1.0", "\"json\":{\"a\": NaN"),
];

fn documents(document: &str, of_every_type: &str) -> Vec<Case> {
    let edited = |name: &str, document: &str, from: &str, to: &str| {
        assert!(document.contains(from), "{from}");
        (name.to_owned(), "document", document.replacen(from, to, 1))
    };
    // One row is enough.
    let rows = of_every_type.find("\"rows\":[").expect("rows");
    let first = of_every_type[rows..].find("},{\"op\"").expect("a second row") + rows;
    let one_row = format!("{}}}]}}", &of_every_type[..first]);
    let of_rows = DOCUMENTS.iter().map(|(name, from, to)| edited(name, document, from, to));
    let of_values = VALUES.iter().map(|(name, from, to)| edited(name, &one_row, from, to));
    of_rows.chain(of_values).collect()
}

/// Small bodies that become large.
fn bombs(document: &str) -> Vec<Case> {
    let zeros = vec![0_u8; 256 << 20];
    let zipped = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).expect("zstd compresses anything");
    let zipped_zeros = zipped(&zeros);
    // 24 million rows of two bytes each: field 11 of a batch, the batch field 6 of a frame.
    let rows = [0x5a, 0].repeat(24 << 20);
    let mut empty_rows = vec![0x32];
    let mut length = rows.len();
    while length >= 0x80 {
        empty_rows.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    empty_rows.push(length as u8);
    empty_rows.extend(rows);
    let crc32c = crc32c::crc32c(&empty_rows);
    let of_rows = zstd_frame(&zipped(&empty_rows), empty_rows.len(), crc32c);
    let (size, crc32c) = (zeros.len(), crc32c::crc32c(&zeros));
    vec![
        ("bomb-stated-small".into(), "length", zstd_frame(&zipped_zeros, 1_000, 0)),
        ("bomb-stated-true".into(), "size", zstd_frame(&zipped_zeros, size, crc32c)),
        ("bomb-of-empty-rows".into(), "memory", of_rows),
        ("json-bomb-of-absent-values".into(), "document", absent_values(document)),
    ]
}

/// 4,200 rows with none of 4,200 columns: 18 million values that are absent.
fn absent_values(document: &str) -> String {
    let mut column = |at| json!({"name": format!("c{at}"), "type": "integer", "nullable": true, "unsigned": false});
    let columns: Vec<Value> = (0..4_200).map(&mut column).collect();
    let row = json!({"op": "insert", "before": null, "after": {}});
    let mut bomb: Value = serde_json::from_str(document).expect("JSON");
    bomb["rows"] = vec![row; 4_200].into();
    bomb["schema"]["columns"] = columns.into();
    bomb["schema"]["primary_key"] = json!([]);
    bomb.to_string()
}
