//! The relay: packed messages opened and translated on one core, and drained from a queue into a
//! webhook, a queue, a MySQL copy and nowhere, beside a consumer that polls one message at a time; its
//! memory over many rows; and the age of rows when a webhook has answered. Printed as tables for
//! docs/develop/benchmarks.md.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
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
use binpulse_demo::{
    Aws, Command, Folder, Mysqld, Standin, Streamer, prepare, settings_for, standin_environment,
};
use binpulse_relay::open::{self, FetchError, Found, Limits, OpenMessage, Opened};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::aws::{Endpoint, REGION};
use crate::latency::{self, Ages, Due};
use crate::process::{Pid, thread_cpu};
use crate::replay::binary;
use crate::{Outcome, data, facts};

/// Rows in a message, and different messages that are made.
const ROWS: u64 = 500;
const MESSAGES: u64 = 200;
const ROUNDS: u32 = 5;
/// Messages whose rows are drained to see whether memory grows: five million rows.
const FLAT_MESSAGES: u64 = 10_000;
/// Rows a second of which the age is taken, for how long, and the seconds in front that do not count.
const RATE: u64 = 1_000;
const HELD: Duration = Duration::from_secs(15);
const WARM_UP: Duration = Duration::from_secs(2);
/// The queue that rows go to, where they go to one.
const TARGET: &str = "target";
/// Longest time that a drain may take.
const DRAIN_MAX: Duration = Duration::from_mins(3);
/// Where each row is a request, one in so many of the messages is enough.
const FEW: usize = 5;

pub(crate) fn run(runtime: &Runtime, names: &[String]) -> Outcome {
    facts::print("relay", names)?;
    let bodies = bodies(MESSAGES)?;
    let wanted = |name: &str| names.is_empty() || names.iter().any(|it| it == name);
    if wanted("memory") {
        memory(runtime, &bodies)?;
    }
    if wanted("drain") {
        runtime.block_on(drains(&bodies))?;
    }
    if wanted("flat") {
        let bodies = self::bodies(data::scaled(FLAT_MESSAGES).max(2))?;
        drains_head(&format!("{} rows drained from a queue", bodies.len() as u64 * ROWS));
        runtime.block_on(async {
            let mut first = None;
            drain("nowhere, 500 rows a request", &bodies, nowhere(), &mut first).await
        })?;
    }
    if wanted("latency") {
        runtime.block_on(ages())?;
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
        "\n| {} rows in {MESSAGES} messages, from memory | rows a CPU second |\n|---|--:|",
        MESSAGES * ROWS
    );
    let nothing = |rows: &OpenedRows| {
        let mut buffer = RowBuffer::default();
        (0..rows.len()).filter(|at| rows.change(*at, &mut buffer).is_some()).count()
    };
    let opened = fastest(runtime, bodies, nothing)?;
    println!("| opened | {opened:.0} |");
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
        println!("| opened, as {name} | {rate:.0} |");
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

/// The head of a table of drains.
fn drains_head(what: &str) {
    println!(
        "\n| {what} to | rows/s | ratio | s | CPU s | peak MiB | median MiB of the first and second half |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|");
}

async fn drains(bodies: &[String]) -> Outcome {
    let (webhook, few) = (Receiver::start().await?, &bodies[..bodies.len() / FEW]);
    let (all, some) = (bodies.len() as u64 * ROWS, few.len() as u64 * ROWS);
    drains_head(&format!("{all} rows ({some} of one a request) drained from a queue"));
    // Ratios are to the first of them.
    let mut first = None;
    drain("nowhere, 500 rows a request", bodies, nowhere(), &mut first).await?;
    drain("a webhook, 500 rows a request", bodies, webhook.settings("500"), &mut first).await?;
    drain("a webhook, 1 row a request", few, webhook.settings("1"), &mut first).await?;
    plain("a webhook, one row after the other, without the relay", few, &webhook, first).await?;
    for rows in ["100", "1"] {
        let to = [("relay.to.kind", "sqs"), ("relay.to.url", TARGET), ("relay.to.rows", rows)];
        let to = to.map(|(key, value)| (key, value.to_owned())).to_vec();
        let name = format!("a queue as JSON, {rows} rows a message");
        drain(&name, if rows == "1" { few } else { bodies }, to, &mut first).await?;
    }
    let mysqld = Mysqld::start(&data::server()?, data::options()).await?;
    mysqld.execute(&["CREATE DATABASE relay", "SET PERSIST sync_binlog = 0"]).await?;
    let to = vec![
        ("relay.to.kind", String::from("mysql")),
        ("relay.to.url", format!("mysql://{}/relay", mysqld.address())),
        ("relay.to.user", String::from("root")),
        ("relay.to.concurrency", String::from("2")),
    ];
    drain("a MySQL copy, 2 connections", bodies, to, &mut first).await
}

fn nowhere() -> Vec<(&'static str, String)> {
    vec![("relay.to.kind", String::from("null")), ("relay.to.rows", String::from("500"))]
}

fn client(endpoint: &Endpoint) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint.url())
        .region(Region::from_static(REGION))
        .credentials_provider(Credentials::new("bench", "bench", None, None, "bench"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_sqs::Client::from_conf(config)
}

/// A queue with these messages.
async fn filled(client: &aws_sdk_sqs::Client, bodies: &[String]) -> Outcome<String> {
    let queue = client.create_queue().queue_name("bench").send().await?;
    let queue = queue.queue_url.ok_or("a queue has a URL")?;
    for body in bodies {
        client.send_message().queue_url(&queue).message_body(body).send().await?;
    }
    Ok(queue)
}

/// A consumer as one writes it first: it polls one message, sends each of its rows, waits for each answer,
/// and deletes the message.
async fn plain(name: &str, bodies: &[String], webhook: &Receiver, first: Option<f64>) -> Outcome {
    let endpoint = Endpoint::start().await;
    let client = client(&endpoint);
    let queue = filled(&client, bodies).await?;
    let (began, wanted) = (Instant::now(), bodies.len() as u64 * ROWS);
    let mut stream = TcpStream::connect(("127.0.0.1", webhook.port)).await?;
    stream.set_nodelay(true)?;
    let (limits, mut out, mut answer, mut sent) = (Limits::default(), Vec::new(), [0; 256], 0);
    let mut formatter = Formatter::new(FormatOptions::Binpulse);
    while sent < wanted {
        let polled = client.receive_message().queue_url(&queue).send().await?;
        for message in polled.messages() {
            let fetch = async |_: &open::Pointer, _| Err(FetchError::Gone(String::new()));
            let body = message.body().unwrap_or_default();
            let Found::Ours(OpenMessage { opened: Opened::Rows(batch), .. }) =
                open::open(body, BTreeMap::new(), &limits, fetch).await?
            else {
                return Err("rows".into());
            };
            let rows = OpenedRows::new(batch, |_| None)?;
            let (origin, mut buffer) = (Origin::of(rows.source(), "0"), RowBuffer::default());
            for at in 0..rows.len() {
                let transaction = rows.transaction(at).ok_or("its transaction")?;
                let change = rows.change(at, &mut buffer).ok_or("a row")?;
                out.clear();
                let row = RowContext::new(&origin, rows.table(), transaction, &change);
                formatter.row(&row, &mut out);
                let head = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n", out.len());
                stream.write_all(&[head.as_bytes(), &out].concat()).await?;
                sent += u64::from(stream.read(&mut answer).await? > 0);
            }
            let receipt = message.receipt_handle().unwrap_or_default();
            client.delete_message().queue_url(&queue).receipt_handle(receipt).send().await?;
        }
    }
    let took = began.elapsed().as_secs_f64();
    let rate = float(wanted) / took;
    println!("| {name} | {rate:.0} | {:.2} | {took:.1} | | | |", rate / first.unwrap_or(rate));
    Ok(())
}

async fn drain(
    name: &str,
    bodies: &[String],
    to: Vec<(&'static str, String)>,
    first_rate: &mut Option<f64>,
) -> Outcome {
    let endpoint = Endpoint::start().await;
    let client = client(&endpoint);
    let queue = filled(&client, bodies).await?;
    let folder = Folder::create()?;
    let mut settings = to;
    if let Some((_, url)) = settings.iter_mut().find(|(_, value)| value == TARGET) {
        let target = client.create_queue().queue_name(TARGET).send().await?;
        *url = target.queue_url.ok_or("a queue has a URL")?;
    }
    settings.push(("relay.queue", queue));
    settings.push(("relay.state", format!("file:{}", folder.path().join("state").display())));
    settings.extend(at(&endpoint));
    let (began, wanted) = (Instant::now(), bodies.len() as u64 * ROWS);
    let relay = Streamer::start(Command {
        binary: binary(),
        command: "relay".to_owned(),
        settings,
        arguments: Vec::new(),
        environment: standin_environment(),
    })?;
    let mut resident = Vec::new();
    loop {
        let process = Pid::with_argument(relay.address());
        resident.extend(process.map(|process| process.resident_kib().1));
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
    let half = resident.len() / 2;
    let (first, second) = resident.split_at_mut(half);
    let rate = float(wanted) / took.as_secs_f64();
    println!(
        "| {name} | {rate:.0} | {:.2} | {:.1} | {:.1} | {} | {}, {} |",
        rate / *first_rate.get_or_insert(rate),
        took.as_secs_f64(),
        process.cpu().as_secs_f64(),
        process.resident_kib().0 >> 10,
        median(first) >> 10,
        median(second) >> 10,
    );
    Ok(())
}

fn median(kib: &mut [u64]) -> u64 {
    kib.sort_unstable();
    kib.get(kib.len() / 2).copied().unwrap_or_default()
}

/// From COMMIT through streamer, topic, queue and relay to the webhook's answer.
async fn ages() -> Outcome {
    println!("\n| at {RATE} single-row transactions/s, ms | since | p50 | p99 | p99.9 |");
    println!("|---|---|--:|--:|--:|");
    let mysqld = Mysqld::start(&data::server()?, data::options()).await?;
    mysqld.execute(&["CREATE DATABASE bench", latency::TABLE]).await?;
    prepare(&mysqld, &binary()).await?;
    let endpoint = Endpoint::start().await;
    // The region of the clients that subscribe.
    Standin::REGION.clone_into(&mut endpoint.shared.store().region);
    let arn = endpoint.topic("bench", &[("MaximumMessageSize", "262144")]);
    let queue = Aws::at(&endpoint.url()).subscribe_queue(&arn, "relay", &[]).await?;
    let mut settings = settings_for(&mysqld);
    settings.push(("sns.topic", arn.to_string()));
    settings.extend(at(&endpoint));
    let start = |command: &str, settings| {
        Streamer::start(Command {
            binary: binary(),
            command: command.to_owned(),
            settings,
            arguments: Vec::new(),
            environment: standin_environment(),
        })
    };
    let mut streamer = start("run", settings)?;
    streamer.until_ready(Duration::from_mins(1)).await?;
    let (folder, webhook) = (Folder::create()?, Receiver::start().await?);
    let of_relay = |rows: &str| {
        let mut settings = webhook.settings(rows);
        let state = format!("file:{}", folder.path().join("state").display());
        settings.extend([("relay.queue", queue.clone()), ("relay.state", state)]);
        settings.extend(at(&endpoint));
        settings
    };
    let (mut id, mut relay) = (0, None);
    for rows in ["1", "100"] {
        drop(relay.take());
        let process = relay.insert(start("relay", of_relay(rows))?);
        latency::hold(&mysqld, RATE, WARM_UP, Due::Untold, &mut id).await?;
        drop(latency::take(&webhook.ages));
        let before = id;
        latency::hold(&mysqld, RATE, HELD, Due::Told, &mut id).await?;
        let (wanted, give_up) = (usize::try_from(id - before)?, Instant::now() + DRAIN_MAX);
        let count = || locked(&webhook.ages).since_due.len();
        while count() < wanted {
            if Instant::now() > give_up {
                return Err(format!("{} of {wanted}: {}", count(), process.log_tail()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let Ages { since_commit, since_due } = latency::take(&webhook.ages);
        for (since, ages) in [("commit", since_commit), ("due", since_due)] {
            let [p50, p99, p999] = [500, 990, 999].map(|part| latency::part(&ages, part));
            println!("| up to {rows} rows a request | {since} | {p50:.1} | {p99:.1} | {p999:.1} |");
        }
    }
    streamer.stop().await?;
    Ok(())
}

fn at(endpoint: &Endpoint) -> [(&'static str, String); 2] {
    let region = endpoint.shared.store().region.clone();
    [("sns.region", region), ("sns.endpoint_url", endpoint.url())]
}

fn locked(ages: &Mutex<Ages>) -> std::sync::MutexGuard<'_, Ages> {
    ages.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Exact for all numbers here.
fn float(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}

/// A webhook that answers 204 to everything, and notes how old rows are that tell when they were due.
struct Receiver {
    port: u16,
    ages: Arc<Mutex<Ages>>,
}

impl Receiver {
    async fn start() -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let ages: Arc<Mutex<Ages>> = Arc::default();
        let shared = Arc::clone(&ages);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shared)));
            }
        });
        Ok(Self { port, ages })
    }

    /// Settings of a relay that delivers to it.
    fn settings(&self, rows: &str) -> Vec<(&'static str, String)> {
        vec![
            ("relay.to.kind", String::from("webhook")),
            ("relay.to.url", format!("http://127.0.0.1:{}/", self.port)),
            ("relay.to.rows", rows.to_owned()),
            ("relay.to.secret", String::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
            ("relay.to.concurrency", String::from("32")),
            ("relay.egress.allow", String::from("127.0.0.0/8")),
            ("relay.egress.ports", self.port.to_string()),
            ("relay.egress.https_only", String::from("false")),
        ]
    }
}

async fn answer(mut stream: TcpStream, ages: Arc<Mutex<Ages>>) -> Option<()> {
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
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.ok()?;
        note(bytes.get(head..whole)?, &ages);
        bytes.drain(..whole);
    }
}

/// Notes the ages of rows that tell when they were due; others are not looked at closer.
fn note(body: &[u8], ages: &Mutex<Ages>) {
    let at_us = chrono::Utc::now().timestamp_micros();
    if !body.windows(6).any(|part| part == b"due_us") {
        return;
    }
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    for row in document["data"].as_array().into_iter().flatten() {
        let due_us = row["after"]["due_us"].as_i64().unwrap_or_default();
        let committed = row["committed_at"].as_str().and_then(|text| text.parse().ok());
        if let (1.., Some(committed)) = (due_us, committed) {
            let committed: chrono::DateTime<chrono::Utc> = committed;
            let mut ages = locked(ages);
            ages.since_due.push(at_us - due_us);
            ages.since_commit.push(at_us - committed.timestamp_micros());
        }
    }
}
