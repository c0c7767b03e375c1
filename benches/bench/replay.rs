//! A private server that has a workload's binary logs, and programs that read them.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use binpulse_demo::{Command, Mysqld, Server, Streamer};
use tokio::time::sleep;

use crate::Outcome;
use crate::data::{self, Binlogs};
use crate::process::Pid;

/// Deadline of a run.
const DEADLINE: Duration = Duration::from_mins(10);
/// Pauses between two looks at how far a run is: a look costs the program about a millisecond, so
/// that there are few, and more of them towards the end.
const LOOK_MIN: Duration = Duration::from_millis(3);
const LOOK_MAX: Duration = Duration::from_millis(250);
/// Least time between two looks at its memory.
const SAMPLE: Duration = Duration::from_millis(100);

/// Starts a server whose logs are these.
pub(crate) async fn serve(binlogs: &Binlogs) -> Outcome<Mysqld> {
    serve_on(&data::server()?, binlogs, &[]).await
}

/// The same on a given server, with what these statements make: tables, for readers that ask for them.
pub(crate) async fn serve_on(
    server: &Server,
    binlogs: &Binlogs,
    statements: &[String],
) -> Outcome<Mysqld> {
    let mut mysqld = Mysqld::start(server, data::options()).await?;
    mysqld.execute(statements).await?;
    mysqld.stop().await?;
    let folder = mysqld.data();
    for file in data::binlog_files(&folder)? {
        fs::remove_file(file)?;
    }
    let mut index = String::new();
    for file in &binlogs.files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        data::place(file, &folder.join(&name))?;
        index.push_str(&["./", &name, "\n"].concat());
    }
    fs::write(folder.join("binlog.index"), index)?;
    mysqld.start_again().await?;
    Ok(mysqld)
}

/// What a run took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Run {
    /// From the moment at which the stream was open.
    pub(crate) wall: Duration,
    /// From the program's start to that moment.
    pub(crate) start: Duration,
    /// CPU time from that moment on.
    pub(crate) cpu: Duration,
    pub(crate) server_cpu: Duration,
    /// From the program's start until the first row was delivered.
    pub(crate) first: Duration,
    /// Most memory resident, KiB.
    pub(crate) peak_kib: u64,
    /// The median of what was resident on the way, and of the two halves of the time by themselves.
    pub(crate) steady_kib: u64,
    pub(crate) halves_kib: [u64; 2],
}

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_binpulse"))
}

/// Settings to stream all logs of a server, without pulse.
pub(crate) fn settings(mysqld: &Mysqld) -> Vec<(&'static str, String)> {
    let fixed = [
        ("source.user", "root"),
        ("source.tls", "off"),
        ("source.get_server_public_key", "true"),
        ("source.start", "earliest"),
        ("heartbeat.enabled", "false"),
        ("canary.enabled", "false"),
        ("message.schema_changes", "false"),
    ];
    let mut settings = vec![("source.hosts", mysqld.address())];
    settings.extend(fixed.map(|(key, value)| (key, value.to_owned())));
    settings
}

/// Runs `binpulse run` until it has delivered `rows` rows.
pub(crate) async fn stream(
    mysqld: &Mysqld,
    settings: Vec<(&'static str, String)>,
    rows: u64,
) -> Outcome<Run> {
    stream_by(binary(), mysqld, settings, rows).await
}

/// The same with a program that becomes `binpulse`.
pub(crate) async fn stream_by(
    binary: PathBuf,
    mysqld: &Mysqld,
    settings: Vec<(&'static str, String)>,
    rows: u64,
) -> Outcome<Run> {
    let server = Pid::with_argument(&format!("--port={}", mysqld.port()));
    let server = server.ok_or("the server's process is not to be found")?;
    let server_cpu = server.cpu();
    let began = Instant::now();
    let mut streamer = Streamer::start(Command {
        binary,
        command: "run".to_owned(),
        settings,
        arguments: Vec::new(),
        environment: binpulse_demo::standin_environment(),
    })?;
    let log = streamer.folder().path().join("log");
    while !fs::read_to_string(&log).unwrap_or_default().contains("\"streaming\"") {
        streamer.must_run().map_err(|error| format!("{error}: {}", streamer.log_tail()))?;
        sleep(Duration::from_millis(1)).await;
    }
    let start = began.elapsed();
    let process = Pid::with_argument(streamer.address());
    let process = process.ok_or("binpulse's process is not to be found")?;
    let (opened, start_cpu) = (Instant::now(), process.cpu());
    let (mut first, mut resident): (_, Vec<(Duration, u64)>) = (None, Vec::new());
    loop {
        let done = published(&streamer).await;
        if done > 0 {
            first.get_or_insert_with(|| began.elapsed());
        }
        if done >= rows {
            break;
        }
        let elapsed = opened.elapsed();
        // Even in time: looks are not.
        if resident.last().is_none_or(|(seen, _)| elapsed >= *seen + SAMPLE) {
            resident.push((elapsed, process.resident_kib().1));
        }
        if opened.elapsed() > DEADLINE {
            return Err(format!("not done in time: {}", streamer.log_tail()).into());
        }
        streamer.must_run()?;
        sleep(pause(done, rows, opened.elapsed())).await;
    }
    let run = Run {
        wall: opened.elapsed(),
        start,
        cpu: process.cpu().saturating_sub(start_cpu),
        server_cpu: server.cpu().saturating_sub(server_cpu),
        first: first.unwrap_or_default(),
        peak_kib: process.resident_kib().0,
        steady_kib: middle(&resident),
        halves_kib: {
            let (first, second) = resident.split_at(resident.len() / 2);
            [middle(first), middle(second)]
        },
    };
    streamer.stop().await?;
    Ok(run)
}

/// The median.
fn middle(samples: &[(Duration, u64)]) -> u64 {
    let mut kib: Vec<u64> = samples.iter().map(|(_, kib)| *kib).collect();
    kib.sort_unstable();
    kib.get(kib.len() / 2).copied().unwrap_or_default()
}

/// A third of the time that is left by the rate so far.
fn pause(done: u64, rows: u64, elapsed: Duration) -> Duration {
    let left = rows.saturating_sub(done);
    let parts = u32::try_from(left.saturating_mul(1000) / done.max(1)).unwrap_or(u32::MAX);
    (elapsed / 1000).saturating_mul(parts / 3).clamp(LOOK_MIN, LOOK_MAX)
}

/// Rows that were delivered.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a counter of whole rows"
)]
pub(crate) async fn published(streamer: &Streamer) -> u64 {
    let metric = streamer.metric("binpulse_changes_published_total", &[]).await;
    metric.ok().flatten().unwrap_or_default() as u64
}
