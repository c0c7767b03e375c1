//! The relay: packed messages opened and translated on one core, and drained from a queue into a
//! webhook, a MySQL copy and nowhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use binpulse::change::{
    Area, BytesKind, Change, Column, Gtid, Image, LogicalType, Op, Position, RowBuffer, Slot,
    Table, Tag, Transaction, TransactionId, Uuid,
};
use binpulse::encode::formats::{FormatOptions, Formatter, RowContext};
use binpulse::encode::opened::OpenedRows;
use binpulse::encode::{
    Batch, Destination, FinalizeOptions, Finalizer, Format, Lane, LaneId, Origin, RowOptions,
};
use binpulse_demo::{Command, Folder, Mysqld, Streamer, standin_environment};
use binpulse_relay::open::{self, FetchError, Found, Limits, OpenMessage, Opened};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::aws::{Endpoint, REGION};
use crate::process::{Pid, thread_cpu};
use crate::replay::binary;
use crate::{Outcome, data, facts};

/// Rows in a message, and different messages that are made.
const ROWS: u64 = 500;
const MESSAGES: u64 = 200;
const ROUNDS: u32 = 5;
/// Longest time that a drain may take.
const DRAIN_MAX: Duration = Duration::from_mins(5);

pub(crate) fn run(runtime: &Runtime, names: &[String]) -> Outcome {
    facts::print("relay", names)?;
    let bodies = bodies(MESSAGES)?;
    if names.is_empty() || names.iter().any(|name| name == "memory") {
        memory(runtime, &bodies)?;
    }
    if names.is_empty() || names.iter().any(|name| name == "drain") {
        runtime.block_on(drains(&bodies))?;
    }
    Ok(())
}

fn column(name: &str, logical_type: LogicalType, mysql_type: &str) -> Column {
    Column {
        name: name.to_owned(),
        logical_type,
        mysql_type: mysql_type.to_owned(),
        nullable: true,
        unsigned: false,
        collation: 255,
        charset: "utf8mb4",
        members: Vec::new(),
        visible: true,
    }
}

/// An orders table: rows of about 130 bytes.
fn table() -> Arc<Table> {
    Arc::new(Table {
        database: "shop".into(),
        name: "orders".into(),
        columns: vec![
            column("id", LogicalType::Integer, "bigint"),
            column("customer", LogicalType::Integer, "bigint"),
            column("state", LogicalType::Text, "varchar(20)"),
            column("total", LogicalType::Decimal, "decimal(12,2)"),
            column("placed_at", LogicalType::Datetime, "datetime(6)"),
            column("email", LogicalType::Text, "varchar(80)"),
            column("note", LogicalType::Text, "varchar(80)"),
            column("version", LogicalType::Integer, "int"),
        ],
        primary_key: vec![0],
        named: true,
        fingerprint: 0x0b5e_55ed,
        outbox: None,
    })
}

/// Messages as a topic would deliver them, rows of one lane in order.
fn bodies(messages: u64) -> Outcome<Vec<String>> {
    let table = table();
    let lane = Lane { id: LaneId(0), key: "shop.orders#0".into(), number: 0, count: 1 };
    let origin = Origin {
        stream: "bench".into(),
        server_uuid: String::from("2f1b6d8c-0000-0000-0000-000000000000"),
        server_id: 1,
        epoch: 1,
        connector_version: "0",
        snapshot: false,
        replay: None,
    };
    let mut finalizer = Finalizer::new(FinalizeOptions { zstd_level: 3 })?;
    let topic = Destination { arn: "arn".into(), fifo: false, message_bytes_max: 262_144 };
    let mut batch = Batch::new(Format::Protobuf, RowOptions::default(), Arc::clone(&table));
    let mut bodies = Vec::new();
    for message in 0..messages {
        for at in 0..ROWS {
            push(&mut batch, message * ROWS + at + 1)?;
        }
        let encoded = batch.take(lane.clone(), message * ROWS + 1).ok_or("there are rows")?;
        bodies.push(finalizer.finalize(&encoded, &origin, &topic).body);
    }
    Ok(bodies)
}

/// Appends an insert of row `n`.
fn push(batch: &mut Batch, n: u64) -> Outcome {
    let mut bytes = Vec::new();
    let mut text = |text: String| {
        let start = u32::try_from(bytes.len()).unwrap_or_default();
        bytes.extend_from_slice(text.as_bytes());
        let end = u32::try_from(bytes.len()).unwrap_or_default();
        Slot::Span { kind: BytesKind::Text, area: Area::Event, start, end }
    };
    let id = i64::try_from(n)?;
    let slots = [
        Slot::Int(id),
        Slot::Int(id * 7919 % 100_003),
        text(String::from(["new", "paid", "shipped"][usize::try_from(n % 3)?])),
        text(format!("{}.{:02}", n % 9_973, n % 100)),
        text(format!("2026-11-29 {:02}:{:02}:{:02}.{:06}", n % 24, n % 60, n % 59, n % 999_983)),
        text(format!("customer-{}@example.org", n * 31 % 100_003)),
        text(format!("order {n} of the benchmark, {:x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15))),
        Slot::Int(1),
    ];
    let sequence = n / 10 + 1;
    let at_us = 1_795_000_000_000_000 + id * 100;
    let transaction = Transaction {
        id: TransactionId::Gtid(Gtid { source: Uuid([7; 16]), tag: Tag::default(), sequence }),
        start: Position::new("binlog.000001", 4 + sequence * 1_000),
        committed_at_us: at_us,
        original_committed_at_us: at_us,
        server_id: 1,
        length_bytes: None,
    };
    let after = Some(Image::new(&slots, &bytes, &[]));
    batch.push(n, &transaction, &Change { op: Op::Insert, row: n % 10, before: None, after });
    Ok(())
}

fn memory(runtime: &Runtime, bodies: &[String]) -> Outcome {
    println!(
        "{} rows in {MESSAGES} messages, opened and translated; rows/s of a CPU second:",
        MESSAGES * ROWS
    );
    let nothing = |rows: &OpenedRows| {
        let mut buffer = RowBuffer::default();
        (0..rows.len()).filter(|at| rows.change(*at, &mut buffer).is_some()).count()
    };
    let opened = fastest(runtime, bodies, nothing)?;
    println!("  {:<28} {:>12.0}", "opened", opened);
    for name in FormatOptions::NAMES {
        let options = FormatOptions::of_name(name).ok_or("a format")?;
        let mut formatter = Formatter::new(options);
        let mut out = Vec::new();
        let rate = fastest(runtime, bodies, |rows| {
            let origin = Origin::of(rows.source(), "0");
            let mut buffer = RowBuffer::default();
            out.clear();
            for at in 0..rows.len() {
                let transaction = rows.transaction(at).expect("its transaction");
                let change = rows.change(at, &mut buffer).expect("a row");
                let context = RowContext::new(&origin, rows.table(), transaction, &change);
                formatter.row(&context, &mut out);
            }
            out.len()
        })?;
        println!("  {:<28} {:>12.0}", format!("opened, as {name}"), rate);
    }
    Ok(())
}

/// Rows in a CPU second of the fastest round.
fn fastest(
    runtime: &Runtime,
    bodies: &[String],
    mut each: impl FnMut(&OpenedRows) -> usize,
) -> Outcome<f64> {
    let table = table();
    let (mut best, limits) = (f64::MAX, Limits::default());
    for _ in 0..ROUNDS {
        let (began, mut sum) = (thread_cpu(), 0);
        for body in bodies {
            let fetch = async |_: &open::Pointer, _| Err(FetchError::Gone(String::new()));
            let opened = open::open(body, BTreeMap::new(), &limits, fetch);
            let Found::Ours(OpenMessage { opened: Opened::Rows(batch), .. }) =
                runtime.block_on(opened)?
            else {
                return Err("rows".into());
            };
            sum += each(&OpenedRows::new(batch, |_| Some(Arc::clone(&table)))?);
        }
        assert!(sum > 0, "nothing was opened");
        best = best.min(thread_cpu().saturating_sub(began).as_secs_f64());
    }
    Ok(float(MESSAGES * ROWS) / best)
}

async fn drains(bodies: &[String]) -> Outcome {
    println!("the same rows drained from a queue on loopback by one relay process:");
    let webhook = Receiver::start().await?;
    let url = format!("http://127.0.0.1:{}/", webhook.port);
    let of_webhook = |rows: &str| {
        vec![
            ("relay.to.kind", String::from("webhook")),
            ("relay.to.url", url.clone()),
            ("relay.to.rows", rows.to_owned()),
            ("relay.to.secret", String::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
            ("relay.to.concurrency", String::from("32")),
            ("relay.egress.allow", String::from("127.0.0.0/8")),
            ("relay.egress.ports", webhook.port.to_string()),
            ("relay.egress.https_only", String::from("false")),
        ]
    };
    drain(
        "nowhere, 500 rows a request",
        bodies,
        vec![("relay.to.kind", String::from("null")), ("relay.to.rows", String::from("500"))],
    )
    .await?;
    drain("a webhook, 500 rows a request", bodies, of_webhook("500")).await?;
    drain("a webhook, 1 row a request", &bodies[..bodies.len() / 20], of_webhook("1")).await?;
    let mysqld = Mysqld::start(&data::server()?, data::options()).await?;
    mysqld.execute(&["CREATE DATABASE relay", "SET PERSIST sync_binlog = 0"]).await?;
    drain(
        "a MySQL copy",
        bodies,
        vec![
            ("relay.to.kind", String::from("mysql")),
            ("relay.to.url", format!("mysql://{}/relay", mysqld.address())),
            ("relay.to.user", String::from("root")),
            ("relay.to.concurrency", String::from("2")),
        ],
    )
    .await?;
    Ok(())
}

async fn drain(name: &str, bodies: &[String], to: Vec<(&'static str, String)>) -> Outcome {
    let endpoint = Endpoint::start().await;
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint.url())
        .region(Region::from_static(REGION))
        .credentials_provider(Credentials::new("bench", "bench", None, None, "bench"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let client = aws_sdk_sqs::Client::from_conf(config);
    let queue = client.create_queue().queue_name("bench").send().await?;
    let queue = queue.queue_url.ok_or("a queue has a URL")?;
    for body in bodies {
        client.send_message().queue_url(&queue).message_body(body).send().await?;
    }
    let folder = Folder::create()?;
    let mut settings = to;
    settings.push(("relay.queue", queue));
    settings.push(("relay.state", format!("file:{}", folder.path().join("state").display())));
    settings.push(("sns.region", REGION.to_owned()));
    settings.push(("sns.endpoint_url", endpoint.url()));
    let (began, wanted) = (Instant::now(), bodies.len() as u64 * ROWS);
    let relay = Streamer::start(Command {
        binary: binary(),
        command: "relay".to_owned(),
        settings,
        arguments: Vec::new(),
        environment: standin_environment(),
    })?;
    loop {
        let delivered = relay.metric("binpulse_relay_rows_total", &["outcome=\"delivered\""]).await;
        if delivered.ok().flatten().is_some_and(|rows| rows >= float(wanted)) {
            break;
        }
        if began.elapsed() > DRAIN_MAX {
            return Err(format!("{name}: {}", relay.log_tail()).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = began.elapsed();
    let process = Pid::with_argument(relay.address()).ok_or("the relay is not to be found")?;
    println!(
        "  {name:<32} {:>10.0} rows/s, {:>6.1} s, {:>5.1} s of CPU, {} MiB at most",
        float(wanted) / took.as_secs_f64(),
        took.as_secs_f64(),
        process.cpu().as_secs_f64(),
        process.resident_kib().0 >> 10,
    );
    Ok(())
}

/// Exact for all numbers here.
fn float(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}

/// A webhook that answers 204 to everything.
struct Receiver {
    port: u16,
}

impl Receiver {
    async fn start() -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let requests = Arc::new(AtomicU64::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&requests)));
            }
        });
        Ok(Self { port })
    }
}

async fn answer(mut stream: TcpStream, requests: Arc<AtomicU64>) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let text = String::from_utf8_lossy(bytes.get(..head)?).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        let whole = head + length.trim().parse::<usize>().ok()?;
        while bytes.len() < whole {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        bytes.drain(..whole);
        requests.fetch_add(1, Ordering::Relaxed);
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.ok()?;
    }
}
