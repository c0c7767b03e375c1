//! A consumer in another language, made from the `.proto` files alone, reads what this crate writes.
//!
//! Runs `consumer.py` with the Python of `make deps` (`.deps/venv`), or with `BINPULSE_TEST_PYTHON`.

#[path = "../support/aws/mod.rs"]
mod aws;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use aws_sdk_sqs::types::QueueAttributeName;
use binpulse::aws::{Deadlines, Shared};
use binpulse::change::{
    Area, BytesKind, Change, Column, Gtid, Image, LogicalType, Op, Position, Slot, Table, Tag,
    Transaction, TransactionId, Uuid,
};
use binpulse::encode::{
    Batch, Canary, Destination, FinalizeOptions, Finalizer, Format, Lane, LaneId, Origin,
    RowOptions, control_message, proto,
};
use binpulse_demo::{Installed, Standin};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

fn python() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    std::env::var_os("BINPULSE_TEST_PYTHON")
        .map_or_else(|| root.join(".deps/venv/bin/python"), PathBuf::from)
}

/// What a script of this folder prints.
fn run(script: &str, arguments: &[&str]) -> String {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/consumer").join(script);
    let output = Command::new(python())
        .arg("-B")
        .arg(&script)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}: run `make deps`", python().display()));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} failed: {complaint}", script.display());
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

/// What the consumer prints for these bodies, a JSON document a line.
fn consume(bodies: &[String]) -> Vec<Value> {
    let mut file = tempfile::NamedTempFile::new().expect("a file for the bodies");
    for body in bodies {
        writeln!(file, "{body}").expect("the bodies are written");
    }
    let lines = run("consumer.py", &[&file.path().to_string_lossy()]);
    lines.lines().map(|line| serde_json::from_str(line).expect("it prints JSON")).collect()
}

fn transaction(tag: &str) -> Transaction {
    let tag = Tag::new(tag.as_bytes()).expect("a tag");
    Transaction {
        id: TransactionId::Gtid(Gtid { source: Uuid([0x11; 16]), tag, sequence: 42 }),
        start: Position::new("binlog.000003", 1_234_567),
        committed_at_us: 1_795_000_000_123_456,
        original_committed_at_us: 1_795_000_000_000_000,
        server_id: 9,
        length_bytes: None,
    }
}

fn origin() -> Origin {
    Origin {
        stream: "prod".into(),
        server_uuid: String::from("11111111-1111-1111-1111-111111111111"),
        server_id: 9,
        epoch: 2,
        connector_version: "0.1.0",
        snapshot: false,
        replay: None,
    }
}

fn topic() -> Destination {
    Destination { arn: "arn".into(), fifo: false, message_bytes_max: 262_144 }
}

fn lane() -> Lane {
    Lane { id: LaneId(0), key: Lane::key_of("shop", "all", 0).into(), number: 0, count: 1 }
}

/// A cell: a slot, or bytes that become a span.
type Given = Result<Slot, (BytesKind, Vec<u8>)>;

/// A cell as it is given to the encoder, and as the consumer shows it (nothing when absent).
fn every_value() -> Vec<(Given, Option<Value>)> {
    let vector: Vec<u8> =
        [0.5_f32, -2.0].iter().flat_map(|element| element.to_le_bytes()).collect();
    let diff = br#"[{"op":"replace","path":"$.a","value":1}]"#.to_vec();
    vec![
        (Ok(Slot::Int(7)), Some(json!(7))),
        (Ok(Slot::Absent), None),
        (Ok(Slot::Null), Some(Value::Null)),
        (Ok(Slot::Int(i64::MIN)), Some(json!(i64::MIN))),
        (Ok(Slot::UInt(u64::MAX)), Some(json!(u64::MAX))),
        (Ok(Slot::Float(0.5)), Some(json!({"float": "0.5"}))),
        (Ok(Slot::Double(-1e-300)), Some(json!({"double": "-1e-300"}))),
        (Err((BytesKind::Text, "naïve 🦀".into())), Some(json!("naïve 🦀"))),
        (Err((BytesKind::Text, Vec::new())), Some(json!(""))),
        (Err((BytesKind::Bytes, vec![0, 255])), Some(json!({"bytes": "AP8="}))),
        (Err((BytesKind::Malformed, vec![255])), Some(json!({"malformed_text": "/w=="}))),
        (Err((BytesKind::Json, br#"{"a": [1]}"#.to_vec())), Some(json!({"json": {"a": [1]}}))),
        (
            Err((BytesKind::JsonDiff, diff)),
            Some(json!({"json_diff": [{"op": "replace", "path": "$.a", "value": 1}]})),
        ),
        (Err((BytesKind::Vector, vector)), Some(json!({"vector": ["0.5", "-2.0"]}))),
        (
            Err((BytesKind::Text, vec![b'x'; 3_000])),
            Some(json!({"omitted": {
                "size_bytes": 3_000,
                "sha256": "e1630f843370f402870799e14abbf2b06af2d23b0153658e1211dffabc61ad8f",
            }})),
        ),
    ]
}

fn table(columns: usize) -> Arc<Table> {
    let column = |at: usize| Column {
        name: format!("c{at}"),
        logical_type: LogicalType::Text,
        mysql_type: String::from("varchar(80)"),
        nullable: true,
        unsigned: false,
        collation: 255,
        charset: "utf8mb4",
        members: Vec::new(),
        visible: true,
    };
    Arc::new(Table {
        database: "shop".into(),
        name: "all".into(),
        columns: (0..columns).map(column).collect(),
        primary_key: vec![0],
        named: true,
        fingerprint: u64::MAX,
        outbox: None,
    })
}

#[test]
fn the_consumer_reads_every_value_that_was_encoded() {
    let values = every_value();
    let (mut slots, mut bytes, mut wanted) = (Vec::new(), Vec::new(), serde_json::Map::new());
    for (at, (cell, shown)) in values.into_iter().enumerate() {
        slots.push(cell.unwrap_or_else(|(kind, cell)| {
            let start = u32::try_from(bytes.len()).expect("small");
            bytes.extend_from_slice(&cell);
            let end = u32::try_from(bytes.len()).expect("small");
            Slot::Span { kind, area: Area::Event, start, end }
        }));
        wanted.extend(shown.map(|shown| (format!("c{at}"), shown)));
    }
    let options = RowOptions { cell_bytes_max: 2_999, ..RowOptions::default() };
    let mut batch = Batch::new(Format::Protobuf, options, table(slots.len()));
    let image = Some(Image::new(&slots, &bytes, &[]));
    let insert = Change { op: Op::Insert, row: 0, before: None, after: image };
    let update = Change { op: Op::Update, row: 1, before: image, after: image };
    let delete = Change { op: Op::Delete, row: 300, before: image, after: None };
    batch.push(1, &transaction(""), &insert);
    batch.push(1, &transaction(""), &update);
    batch.push(2, &transaction("batch"), &delete);
    let encoded = batch.take(lane(), 1 << 40).expect("three rows");
    let bodies = [0, 1, 19].map(|zstd_level| {
        let mut finalizer = Finalizer::new(FinalizeOptions { zstd_level }).expect("zstd starts");
        finalizer.finalize(&encoded, &origin(), &topic()).body
    });
    let seen = consume(&bodies);
    assert_eq!(seen.len(), 9);
    let gtid = "11111111-1111-1111-1111-111111111111";
    let ops = [
        ("insert", format!("{gtid}:42"), 0),
        ("update", format!("{gtid}:42"), 1),
        ("delete", format!("{gtid}:batch:42"), 300),
    ];
    for (at, (found, (op, gtid, row))) in seen.iter().zip(ops.iter().cycle()).enumerate() {
        let side = |there: bool| if there { Value::Object(wanted.clone()) } else { Value::Null };
        let wanted = json!({
            "stream": "prod", "epoch": 2, "lane": "shop.all#0",
            "sequence": (1_u64 << 40) + at as u64 % 3, "database": "shop", "table": "all", "op": op,
            "gtid": gtid, "file": "binlog.000003", "offset": 1_234_567, "row": row,
            "committed_at_us": 1_795_000_000_123_456_u64, "snapshot_next": 0, "snapshot_attempt": 0,
            "before": side(*op != "insert"), "after": side(*op != "delete"),
        });
        assert_eq!(found, &wanted);
    }
}

#[test]
fn the_consumer_tells_canaries_heartbeats_and_statements_apart_also_in_an_envelope_of_sns() {
    let mut finalizer = Finalizer::new(FinalizeOptions::default()).expect("zstd starts");
    let mut batch = Batch::new(Format::Protobuf, RowOptions::default(), table(1));
    let slots = [Slot::Int(1)];
    let after = Some(Image::new(&slots, &[], &[]));
    let insert = Change { op: Op::Insert, row: 0, before: None, after };
    batch.push(1, &transaction(""), &insert);
    let canary = batch.take(lane(), 1).expect("a row").into_canary(Canary {
        path: None,
        number: 12,
        phase: proto::CanaryPhase::Insert,
        written_at_us: 1,
        watermark: Some(proto::Watermark { verdict: "live".into(), ..proto::Watermark::default() }),
        nonce: vec![7; 16],
    });
    let (format, transaction) = (Format::Protobuf, transaction(""));
    let heartbeat = control_message::heartbeat(format, lane(), 1, 5, 6, &transaction, None);
    let statement = control_message::schema_change(
        format,
        lane(),
        1,
        7,
        "shop",
        "DROP TABLE all",
        &transaction,
    );
    let mut bodies: Vec<String> = [canary, heartbeat, statement]
        .iter()
        .map(|encoded| finalizer.finalize(encoded, &origin(), &topic()).body)
        .collect();
    let wrapped = json!({"Type": "Notification", "TopicArn": "arn", "Message": bodies[1]});
    bodies.push(wrapped.to_string());
    let seen = consume(&bodies);
    assert_eq!(seen[0]["canary"], 12);
    assert_eq!(seen[0]["after"], json!({"c0": 1}));
    let kinds: Vec<_> = seen[1..].iter().map(|line| line["kind"].as_str()).collect();
    assert_eq!(kinds, [Some("heartbeat"), Some("schema_change"), Some("heartbeat")]);
}

#[test]
fn the_sample_keeps_its_promises_in_every_history() {
    run("test_consumer.py", &[]);
}

#[test]
fn the_python_client_passes_the_conformance_suite() {
    run("../../clients/python/tests/test_conformance.py", &[]);
}

/// On a queue of each implementation: message 2 of 6 can't be applied, and three receives make it a
/// dead letter.
fn one_poison_message_is_the_only_dead_letter(endpoint_url: &str, region: &str) {
    let printed = run("redrive.py", &["--endpoint-url", endpoint_url, "--region", region]);
    let by_policy: Value = serde_json::from_str(&printed).expect("JSON");
    let refused = "this row never can";
    let stopped = json!({
        "applied": [1], "dead": [2], "stopped": ["rows 2 to 2 are missing"],
        "alarms": [refused, refused, refused, "stopped: rows 2 to 2 are missing"],
    });
    assert_eq!(by_policy["wait"], stopped, "{endpoint_url}");
    let skipped = json!({
        "applied": [1, 3, 4, 5, 6], "dead": [2], "stopped": [],
        "alarms": [refused, refused, refused, "rows 2 to 2 are missing; going on without them"],
    });
    assert_eq!(by_policy["skip"], skipped, "{endpoint_url}");
}

/// The program, for a stand-in's queue.
fn binpulse(command: &str, url: &str) -> tokio::process::Command {
    let mut binpulse = tokio::process::Command::new(env!("CARGO_BIN_EXE_binpulse"));
    binpulse.args([command, "--sns-endpoint-url", url, "--sns-region", aws::REGION]);
    binpulse.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    binpulse.kill_on_drop(true);
    binpulse
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_to_a_queue_is_listened_to_row_by_row() {
    let endpoint = aws::Endpoint::start().await;
    let url = endpoint.url();
    let shared = Shared::stand_in(aws::REGION).await;
    let sqs = aws_sdk_sqs::Client::new(&shared.service(Some(&url), None, Deadlines::default()));
    for (name, envelope) in [("plain", "raw"), ("wrapped", "sns"), ("ordered.fifo", "raw")] {
        let mut create = sqs.create_queue().queue_name(name);
        if name.ends_with("fifo") {
            create = create.attributes(QueueAttributeName::FifoQueue, "true");
        }
        let queue = create.send().await.expect("a queue").queue_url.expect("a URL");
        let mut send = binpulse("send", &url);
        let send = send.args(["--fixture", "all", "--as", envelope, "--to", &queue]);
        let output = send.output().await.expect("it runs");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{name}: {complaint}");

        let listen =
            binpulse("listen", &url).args(["--queue", &queue]).stdout(Stdio::piped()).spawn();
        let mut listen = listen.expect("it runs");
        let output = BufReader::new(listen.stdout.take().expect("a pipe"));
        let mut lines = output.lines();
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../../conformance/messages.json")).expect("JSON");
        let changes = cases.iter().filter(|case| case["content"]["kind"] == "change");
        let rows = changes.map(|case| case["content"]["rows"].as_array().map_or(0, Vec::len)).sum();
        let mut texts = Vec::new();
        while texts.len() < rows {
            let line = lines.next_line().await.expect("it prints").expect("more rows");
            let row: Value = serde_json::from_str(&line).expect("a document a line");
            texts.push(row["after"]["text"].clone());
        }
        assert!(texts.contains(&json!("京都 🦀")), "{name}");
        let is_empty = |store: &aws::store::Store| {
            store.queues.values().all(|queue| queue.messages.is_empty())
        };
        endpoint.until("each message is deleted", is_empty).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_poison_message_is_the_only_dead_letter_on_a_strict_queue() {
    let endpoint = aws::Endpoint::start().await;
    let url = endpoint.url();
    let test = move || one_poison_message_is_the_only_dead_letter(&url, aws::REGION);
    tokio::task::spawn_blocking(test).await.expect("it holds");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_poison_message_is_the_only_dead_letter_on_ministack() {
    let installed = Installed::find().expect("run `make deps`");
    let standin = Standin::start(installed.standin().expect("run `make deps`")).await;
    let standin = standin.expect("it starts");
    let url = standin.url();
    let test = move || one_poison_message_is_the_only_dead_letter(&url, Standin::REGION);
    tokio::task::spawn_blocking(test).await.expect("it holds");
}
