//! A snapshot of a table to nowhere, beside MySQL's own tools on the same table.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use binpulse_demo::{Mysqld, Streamer};
use tokio::time::sleep;

use crate::live::{median, rate};
use crate::process::Pid;
use crate::replay::{binary, settings};
use crate::{Outcome, data, facts};

/// Rounds; in each, every reader reads the table once.
const ROUNDS: usize = 3;
/// Rows at scale 1.
const ROWS: f64 = 2_000_000.0;
/// Rows that one statement makes.
const AT_ONCE: u64 = 100_000;
/// Pause between two looks at how far a snapshot is.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) async fn run(names: &[String]) -> Outcome {
    facts::print("snapshot", names)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few millions")]
    let rows = ((ROWS * data::scale()) as u64).next_multiple_of(AT_ONCE);
    let mysqld = Mysqld::start(&data::server()?, data::options()).await?;
    make(&mysqld, rows).await?;
    let mut streamer = start(&mysqld).await?;
    let (mut selects, mut dumps, mut snapshots) = (Vec::new(), Vec::new(), Vec::new());
    let query = ["--quick", "--batch", "--execute", "SELECT * FROM bench.rows_of_190"];
    let dump = ["--single-transaction", "--quick", "bench", "rows_of_190"];
    for _ in 0..ROUNDS {
        selects.extend(tool(&mysqld, "mysql", &query)?);
        dumps.extend(tool(&mysqld, "mysqldump", &dump)?);
        snapshots.push(snapshot(&mut streamer, rows).await?);
    }
    let pid = Pid::with_argument(streamer.address());
    let peak_kib = pid.map_or(0, |pid| pid.resident_kib().0);
    report(rows, &selects, &dumps, &snapshots, peak_kib);
    Ok(())
}

/// A table of rows of about 190 bytes.
async fn make(mysqld: &Mysqld, rows: u64) -> Outcome {
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
    ];
    for _ in 0..rows / AT_ONCE {
        statements.push(format!(
            "INSERT INTO bench.rows_of_190 (customer, status, amount, note, flags) SELECT n * 7, \
             ELT(1 + n % 4, 'new', 'paid', 'shipped', 'returned'), n / 3, \
             CONCAT('a note about this order ', SHA2(n, 256)), n % 100 FROM ({numbers}) numbers"
        ));
    }
    statements.push("ANALYZE TABLE bench.rows_of_190".to_owned());
    mysqld.execute(&statements).await?;
    Ok(())
}

async fn start(mysqld: &Mysqld) -> Outcome<Streamer> {
    let mut settings = settings(mysqld);
    settings.retain(|(key, _)| *key != "source.start");
    settings.push(("source.start", "now".to_owned()));
    settings.push(("sink.kind", "null".to_owned()));
    let mut streamer = Streamer::start(binpulse_demo::Command {
        binary: binary(),
        command: "run".to_owned(),
        settings,
        arguments: Vec::new(),
        environment: binpulse_demo::standin_environment(),
    })?;
    streamer.until_ready(Duration::from_secs(30)).await?;
    Ok(streamer)
}

/// Has the table read, and waits until its last row is on its way.
async fn snapshot(streamer: &mut Streamer, rows: u64) -> Outcome<Duration> {
    let command = binpulse_demo::Command {
        binary: binary(),
        command: "snapshot".to_owned(),
        settings: Vec::new(),
        arguments: ["start", "--tables", "bench.rows_of_190"].map(str::to_owned).to_vec(),
        environment: vec![("BINPULSE_HTTP_LISTEN", streamer.address().to_owned())],
    };
    let began = Instant::now();
    let (code, output) = command.run_to_end(Duration::from_mins(1)).await?;
    if code != Some(0) {
        return Err(format!("no snapshot: {output}").into());
    }
    loop {
        let snapshot = streamer.status().await?["snapshot"].clone();
        if snapshot["state"] == "done" {
            if snapshot["rows"] != rows {
                return Err(format!("{} of {rows} rows", snapshot["rows"]).into());
            }
            return Ok(began.elapsed());
        }
        if began.elapsed() > Duration::from_mins(10) {
            return Err(format!("still {snapshot}").into());
        }
        sleep(LOOK).await;
    }
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

fn report(
    rows: u64,
    selects: &[Duration],
    dumps: &[Duration],
    snapshots: &[Duration],
    peak_kib: u64,
) {
    println!("{rows} rows of about 190 bytes; medians of {ROUNDS}");
    println!("  {:<28} {:>8} {:>10} {:>7}", "reader", "wall s", "rows/s", "ratio");
    let base = median(dumps.iter().copied());
    let lines = [
        ("mysql, SELECT *", selects),
        ("mysqldump", dumps),
        ("binpulse snapshot, null", snapshots),
    ];
    for (name, runs) in lines.into_iter().filter(|(_, runs)| !runs.is_empty()) {
        let wall = median(runs.iter().copied());
        println!(
            "  {name:<28} {:>8.3} {:>10.0} {:>7.2}",
            wall.as_secs_f64(),
            rate(rows, wall),
            wall.as_secs_f64() / base.as_secs_f64().max(f64::MIN_POSITIVE),
        );
    }
    println!("  peak memory of binpulse: {} MiB\n", peak_kib >> 10);
}
