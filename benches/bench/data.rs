//! Makes the binary logs of workloads, once each, and keeps them.

use std::fs;
use std::path::{Path, PathBuf};

use binpulse_demo::{Installed, Mysqld, Options, Server};

use crate::Outcome;
use crate::workload::Workload;

/// Raise it when workloads change.
const LAYOUT: u32 = 1;
/// Seeds every value.
const SEED: u32 = 1;

/// A workload's binary logs.
#[derive(Debug)]
pub(crate) struct Binlogs {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
    pub(crate) transactions: u64,
}

/// The server that everything is measured with.
pub(crate) fn server() -> Outcome<Server> {
    Ok(Installed::find()?.server()?.clone())
}

/// The workload's logs; made when they are not there.
pub(crate) async fn binlogs(workload: &Workload) -> Outcome<Binlogs> {
    let rows = scaled(workload.rows);
    made(&Workload { rows, ..*workload }).await
}

/// The workload's logs as large as it says, whatever the scale is.
pub(crate) async fn made(workload: &Workload) -> Outcome<Binlogs> {
    let per = workload.rows_per_transaction;
    let transactions = (workload.rows / per).max(1);
    let server = server()?;
    // One transaction's size is that of its rows.
    let size = if transactions == 1 { per } else { transactions };
    let name = format!("{}-{}-{size}-{SEED}-{LAYOUT}", server.name, workload.name);
    let kept = cache().join(name);
    if !kept.is_dir() {
        eprintln!("making {} transactions of {}: {}", transactions, workload.name, workload.what);
        make(&server, workload, transactions, &kept).await?;
    }
    let mut files = Vec::new();
    let mut bytes = 0;
    for entry in fs::read_dir(&kept)? {
        let path = entry?.path();
        bytes += path.metadata()?.len();
        files.push(path);
    }
    files.sort();
    Ok(Binlogs { files, bytes, rows: transactions * per, transactions })
}

/// A number of rows, scaled by `BINPULSE_BENCH_SCALE`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few million rows, times a small positive number"
)]
pub(crate) fn scaled(rows: u64) -> u64 {
    (rows as f64 * scale().clamp(0.0001, 1000.0)) as u64
}

/// `BINPULSE_BENCH_SCALE`, 1 when it is not set.
pub(crate) fn scale() -> f64 {
    let text = std::env::var("BINPULSE_BENCH_SCALE").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(1.0)
}

/// A number of megabytes from the environment.
pub(crate) fn megabytes(variable: &str, fallback: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(fallback).clamp(1, 100_000)
}

fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    base.join("binpulse/bench")
}

/// Options of the private server: large files, and memory enough to make them quickly.
pub(crate) fn options() -> Options {
    let extra = [
        "--max-binlog-size=1G",
        "--innodb-redo-log-capacity=256M",
        "--innodb-buffer-pool-size=256M",
        "--max-allowed-packet=64M",
    ];
    Options { extra: extra.map(str::to_owned).to_vec(), ..Options::default() }
}

async fn make(server: &Server, workload: &Workload, transactions: u64, kept: &Path) -> Outcome {
    let mut mysqld = Mysqld::start(server, options()).await?;
    let mut setup = vec![
        "CREATE DATABASE bench".to_owned(),
        "USE bench".to_owned(),
        "SET group_concat_max_len = 1048576".to_owned(),
        "SET cte_max_recursion_depth = 2000".to_owned(),
    ];
    for (table, last) in [("hundred", 99), ("thousand", 999)] {
        setup.push(format!(
            "CREATE TABLE {table} (k BIGINT PRIMARY KEY) AS WITH RECURSIVE n (k) AS \
             (SELECT 0 UNION ALL SELECT k + 1 FROM n WHERE k < {last}) SELECT k FROM n"
        ));
    }
    setup.extend((workload.setup)());
    setup.push(format!(
        "CREATE PROCEDURE fill(transactions BIGINT, per BIGINT, seed BIGINT) BEGIN \
         DECLARE base BIGINT DEFAULT 0; \
         WHILE base < transactions * per DO {}; SET base = base + per; END WHILE; END",
        (workload.statement)()
    ));
    setup.push("RESET BINARY LOGS AND GTIDS".to_owned());
    if workload.compressed {
        setup.push("SET binlog_transaction_compression = ON".to_owned());
    }
    let per = workload.rows_per_transaction;
    setup.push(format!("CALL fill({transactions}, {per}, {SEED})"));
    setup.push("FLUSH BINARY LOGS".to_owned());
    mysqld.execute(&setup).await?;
    mysqld.stop().await?;

    let staged = kept.with_extension("part");
    if staged.exists() {
        fs::remove_dir_all(&staged)?;
    }
    fs::create_dir_all(&staged)?;
    let mut files = binlog_files(&mysqld.data())?;
    // The last was opened by the flush, and holds nothing.
    files.pop();
    for file in files {
        place(&file, &staged.join(file.file_name().unwrap_or_default()))?;
    }
    fs::rename(&staged, kept)?;
    Ok(())
}

/// Puts a closed binary log, which nobody writes to again, in another place: without a copy where that
/// can be, since there are gigabytes of them.
pub(crate) fn place(from: &Path, to: &Path) -> Outcome {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to)?;
    }
    Ok(())
}

/// Binary logs of a data directory, in order.
pub(crate) fn binlog_files(data: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(data)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("binlog.") && !name.ends_with("index") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
