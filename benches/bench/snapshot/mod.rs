//! A snapshot of a table to nowhere and to an SNS endpoint on loopback, beside MySQL's own tools and
//! Debezium's snapshots of the same table in the same run; and what becomes of changes meanwhile. What
//! it prints in the end are tables in Markdown.

mod ages;
mod debezium;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use binpulse_demo::{Mysqld, Streamer};
use tokio::time::sleep;

use crate::aws::REGION;
use crate::delivery::Standin;
use crate::facts::ROWS_VARIABLE;
use crate::live::{median, rate};
use crate::process::Pid;
use crate::replay::{binary, settings};
use crate::{Outcome, data, facts, latency};

/// Rounds; in each, every reader but Debezium reads the table once.
const ROUNDS: usize = 3;
/// Rows at scale 1.
const ROWS: f64 = 10_000_000.0;
/// Rows of 64 KiB at scale 1.
const WIDE_ROWS: f64 = 20_000.0;
/// Rows that one statement makes.
const AT_ONCE: u64 = 100_000;
const WIDE_AT_ONCE: u64 = 1_000;
/// Pause between two looks at how far a snapshot is.
const LOOK: Duration = Duration::from_millis(20);
/// Longest time of one.
const DEADLINE: Duration = Duration::from_mins(30);
const TABLE: &str = "bench.rows_of_190";
const WIDE_TABLE: &str = "bench.rows_of_64k";

pub(crate) async fn run(names: &[String]) -> Outcome {
    facts::print("snapshot", names)?;
    let wanted = match std::env::var(ROWS_VARIABLE) {
        Ok(text) => text.parse().map_err(|error| format!("{ROWS_VARIABLE}: {error}"))?,
        Err(_) => ROWS * data::scale(),
    };
    let (rows, wide) = (whole(wanted, AT_ONCE), whole(WIDE_ROWS * data::scale(), WIDE_AT_ONCE));
    let mysqld = Mysqld::start(&data::server()?, data::options()).await?;
    make(&mysqld, rows, wide).await?;
    let standin = Standin::start("bench").await?;
    let mut null = start(&mysqld, vec![("sink.kind", "null".to_owned())]).await?;
    let mut lines = Vec::new();
    let query = ["--quick", "--batch", "--execute", "SELECT * FROM bench.rows_of_190"];
    let dump = ["--single-transaction", "--quick", "bench", "rows_of_190"];
    let (mut selects, mut dumps, mut nulls) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        selects.extend(tool(&mysqld, "mysql", &query)?);
        dumps.extend(tool(&mysqld, "mysqldump", &dump)?);
        nulls.push(snapshot(&mut null, TABLE, rows).await?);
    }
    let null_kib = peak_kib(&null);
    null.stop().await?;
    let topic = vec![
        ("sns.topic", standin.arn.clone()),
        ("sns.region", REGION.to_owned()),
        ("sns.endpoint_url", standin.url.clone()),
    ];
    let mut sns = start(&mysqld, topic.clone()).await?;
    let mut published = Vec::new();
    for _ in 0..ROUNDS {
        published.push(snapshot(&mut sns, TABLE, rows).await?);
    }
    let sns_kib = peak_kib(&sns);
    sns.stop().await?;
    for (name, runs, kib) in [
        ("mysqldump", dumps, 0),
        ("mysql, SELECT *", selects, 0),
        ("binpulse snapshot, null", nulls, null_kib),
        ("binpulse snapshot, SNS on loopback", published, sns_kib),
    ] {
        let wall = median(runs.iter().copied());
        lines.push(Line { name: name.to_owned(), rows, wall, peak_kib: kib });
    }
    lines.retain(|line| !line.wall.is_zero());
    lines.extend(debezium::run(&mysqld, rows).await?);
    report(rows, &lines);

    let mut memory = start(&mysqld, topic).await?;
    snapshot(&mut memory, WIDE_TABLE, wide).await?;
    println!("{wide} rows of 64 KiB to SNS: peak memory {} MiB\n", peak_kib(&memory) >> 10);
    memory.stop().await?;
    ages::run(&mysqld, rows).await
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few millions")]
fn whole(rows: f64, at_once: u64) -> u64 {
    (rows as u64).next_multiple_of(at_once).max(at_once)
}

/// A reader of the table.
struct Line {
    name: String,
    rows: u64,
    wall: Duration,
    /// 0: nobody looked.
    peak_kib: u64,
}

fn peak_kib(streamer: &Streamer) -> u64 {
    Pid::with_argument(streamer.address()).map_or(0, |pid| pid.resident_kib().0)
}

/// Tables of rows of about 190 bytes and of 64 KiB, and those that are written to meanwhile.
async fn make(mysqld: &Mysqld, rows: u64, wide: u64) -> Outcome {
    let digits = "(SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL \
                  SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL \
                  SELECT 8 UNION ALL SELECT 9)";
    let numbers = format!(
        "SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d n FROM {digits} a, {digits} b, \
         {digits} c, {digits} e, {digits} f"
    );
    let mut statements = vec![
        "CREATE DATABASE bench".to_owned(),
        "CREATE TABLE bench.rows_of_190 (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, \
         customer BIGINT NOT NULL, status VARCHAR(20) NOT NULL, amount DECIMAL(12,2), \
         note VARCHAR(120), created DATETIME(6) DEFAULT NOW(6), flags INT)"
            .to_owned(),
        format!("CREATE TABLE {WIDE_TABLE} (id INT AUTO_INCREMENT PRIMARY KEY, body MEDIUMTEXT)"),
        latency::TABLE.to_owned(),
    ];
    statements.extend(debezium::TABLES.map(str::to_owned));
    for _ in 0..rows / AT_ONCE {
        statements.push(format!(
            "INSERT INTO bench.rows_of_190 (customer, status, amount, note, flags) SELECT n * 7, \
             ELT(1 + n % 4, 'new', 'paid', 'shipped', 'returned'), n / 3, \
             CONCAT('a note about this order ', SHA2(n, 256)), n % 100 FROM ({numbers}) numbers"
        ));
    }
    // Text that a quarter of its length holds.
    let hash = "SHA2(CONCAT(numbers.n, RAND()), 512)";
    let body = format!("REPEAT(CONCAT({}), 128)", [hash; 4].join(", "));
    for _ in 0..wide / WIDE_AT_ONCE {
        statements.push(format!(
            "INSERT INTO {WIDE_TABLE} (body) SELECT {body} FROM ({numbers} WHERE a.d + 10 * b.d + \
             100 * c.d + 1000 * e.d + 10000 * f.d < {WIDE_AT_ONCE}) numbers"
        ));
    }
    statements.push(format!("ANALYZE TABLE {TABLE}, {WIDE_TABLE}"));
    mysqld.execute(&statements).await?;
    Ok(())
}

async fn start(mysqld: &Mysqld, sink: Vec<(&'static str, String)>) -> Outcome<Streamer> {
    let mut settings = settings(mysqld);
    settings.retain(|(key, _)| *key != "source.start");
    settings.push(("source.start", "now".to_owned()));
    settings.extend(sink);
    let mut streamer = Streamer::start(binpulse_demo::Command {
        binary: binary(),
        command: "run".to_owned(),
        settings,
        arguments: Vec::new(),
        environment: binpulse_demo::standin_environment(),
    })?;
    streamer.until_ready(Duration::from_mins(1)).await?;
    Ok(streamer)
}

/// Has a table read, and waits until its last row was delivered.
async fn snapshot(streamer: &mut Streamer, table: &str, rows: u64) -> Outcome<Duration> {
    let began = Instant::now();
    let before = streamer.status().await?["snapshot"]["id"].clone();
    begin(streamer, table).await?;
    loop {
        let snapshot = streamer.status().await?["snapshot"].clone();
        if snapshot["id"] != before && snapshot["state"] == "done" {
            if snapshot["rows"] != rows {
                return Err(format!("{} of {rows} rows", snapshot["rows"]).into());
            }
            return Ok(began.elapsed());
        }
        if began.elapsed() > DEADLINE {
            return Err(format!("still {snapshot}").into());
        }
        sleep(LOOK).await;
    }
}

async fn begin(streamer: &Streamer, table: &str) -> Outcome {
    let command = binpulse_demo::Command {
        binary: binary(),
        command: "snapshot".to_owned(),
        settings: Vec::new(),
        arguments: ["start", "--tables", table].map(str::to_owned).to_vec(),
        environment: vec![("BINPULSE_HTTP_LISTEN", streamer.address().to_owned())],
    };
    let (code, output) = command.run_to_end(Duration::from_mins(1)).await?;
    if code == Some(0) { Ok(()) } else { Err(format!("no snapshot: {output}").into()) }
}

/// A tool of the server's, which reads to nowhere; `None` where it is not beside the server.
fn tool(mysqld: &Mysqld, name: &str, arguments: &[&str]) -> Outcome<Option<Duration>> {
    let program: PathBuf = mysqld.server().mysqld.with_file_name(name);
    if !program.is_file() {
        return Ok(None);
    }
    let began = Instant::now();
    let status = Command::new(program)
        .args(["--no-defaults", "--host=127.0.0.1", "--user=root", "--ssl-mode=DISABLED"])
        .args([&format!("--port={}", mysqld.port()), "--get-server-public-key"])
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("{name} ended with {status}").into());
    }
    Ok(Some(began.elapsed()))
}

fn report(rows: u64, lines: &[Line]) {
    println!("{rows} rows of about 190 bytes; medians of {ROUNDS}, of Debezium one run.\n");
    println!("| reader | rows | s | rows/s | time for a row, ratio | peak RSS, MiB |");
    println!("|---|--:|--:|--:|--:|--:|");
    let base = lines.first().map_or(1.0, |line| rate(line.rows, line.wall));
    for line in lines {
        let here = rate(line.rows, line.wall);
        println!(
            "| {} | {} | {:.1} | {:.0} | {:.2} | {} |",
            line.name,
            line.rows,
            line.wall.as_secs_f64(),
            here,
            base / here.max(f64::MIN_POSITIVE),
            if line.peak_kib == 0 { String::new() } else { (line.peak_kib >> 10).to_string() },
        );
    }
    println!("\nRatio: to the first line.\n");
}
