//! How old a row is when SNS has it, at given rates.
//!
//! Writers insert on a fixed schedule and do not wait for each other: when the server or the machine
//! holds one up, what it is late by counts (no coordinated omission). Two ages are told: since the
//! commit time that the server wrote, and since the moment at which the row was due.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use binpulse::encode::{open, proto};
use binpulse_demo::{Command, Mysqld, Streamer, prepare, settings_for, standin_environment};
use mysql_async::prelude::Queryable;
use tokio::time::{Instant, sleep, sleep_until};

use crate::aws::{Endpoint, REGION};
use crate::process::Pid;
use crate::replay::{binary, published};
use crate::{Outcome, data, facts};

/// Transactions a second.
const RATES: [u64; 4] = [10, 100, 1_000, 5_000];
/// How long each rate is held, and the seconds in front of it that do not count.
const HELD: Duration = Duration::from_secs(15);
const WARM_UP: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_mins(1);
/// What is written to.
pub(crate) const TABLE: &str =
    "CREATE TABLE bench.ticks (id BIGINT PRIMARY KEY, due_us BIGINT, note CHAR(100))";

/// Whether rows tell when they were due; those that do not are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Told,
    Untold,
}

/// Ages of rows when the endpoint had them, microseconds.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    pub(crate) since_commit: Vec<i64>,
    pub(crate) since_due: Vec<i64>,
}

pub(crate) async fn run(names: &[String]) -> Outcome {
    facts::print("latency", names)?;
    let mysqld = Mysqld::start(&data::server()?, data::options()).await?;
    mysqld.execute(&["CREATE DATABASE bench", TABLE]).await?;
    prepare(&mysqld, &binary()).await?;
    let endpoint = Endpoint::start().await;
    let arn = endpoint.topic("bench", &[("MaximumMessageSize", "262144")]);
    let mut settings = settings_for(&mysqld);
    settings.push(("sns.topic", arn.to_string()));
    settings.push(("sns.region", REGION.to_owned()));
    settings.push(("sns.endpoint_url", endpoint.url()));
    let mut streamer = Streamer::start(Command {
        binary: binary(),
        command: "run".to_owned(),
        settings,
        arguments: Vec::new(),
        environment: standin_environment(),
    })?;
    streamer.until_ready(DEADLINE).await?;
    let process = Pid::with_argument(streamer.address()).ok_or("binpulse is not to be found")?;

    let ages = Arc::new(Mutex::new(Ages::default()));
    let receiving = tokio::spawn(receive(Arc::clone(&endpoint.shared), Arc::clone(&ages)));
    println!(
        "{:>8} {:>8} | {:>8} {:>8} {:>8} {:>8} | {:>8} {:>8} {:>8} | {:>7} {:>8}",
        "trx/s", "rows", "p50", "p99", "p99.9", "max", "p50", "p99", "p99.9", "CPU %", "RSS MiB"
    );
    println!("{:>17} | {:^35} | {:^26} |", "", "ms since commit", "ms since due");
    let mut id = 0;
    for rate in RATES {
        hold(&mysqld, rate, WARM_UP, Due::Untold, &mut id).await?;
        until_published(&streamer, id).await?;
        drop(take(&ages));
        let cpu = process.cpu();
        let began = Instant::now();
        hold(&mysqld, rate, HELD, Due::Told, &mut id).await?;
        let used =
            (process.cpu().saturating_sub(cpu)).as_secs_f64() / began.elapsed().as_secs_f64();
        until_published(&streamer, id).await?;
        print_line(rate, take(&ages), used, process);
    }
    receiving.abort();
    streamer.stop().await?;
    Ok(())
}

/// Inserts at a rate for a while, from as many sessions as it takes.
pub(crate) async fn hold(
    mysqld: &Mysqld,
    rate: u64,
    held: Duration,
    due: Due,
    id: &mut u64,
) -> Outcome {
    let writers = (rate / 500).clamp(1, 8);
    let rows = rate * u64::try_from(held.as_millis())? / 1000;
    let first = *id;
    *id += rows;
    let began = Instant::now() + Duration::from_millis(50);
    let began_us = now_us() + 50_000;
    let mut tasks = Vec::new();
    for writer in 0..writers {
        let mut session = mysqld.connect().await?;
        tasks.push(tokio::spawn(async move {
            let insert = session.prep("INSERT INTO bench.ticks VALUES (?, ?, 'a note')").await?;
            for row in (writer..rows).step_by(usize::try_from(writers).unwrap_or(1)) {
                let after = Duration::from_micros(row * 1_000_000 / rate);
                sleep_until(began + after).await;
                let due_us = match due {
                    Due::Told => began_us + i64::try_from(after.as_micros()).unwrap_or_default(),
                    Due::Untold => 0,
                };
                session.exec_drop(&insert, (first + row, due_us)).await?;
            }
            session.disconnect().await
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

pub(crate) async fn until_published(streamer: &Streamer, rows: u64) -> Outcome {
    let give_up = Instant::now() + DEADLINE;
    while published(streamer).await < rows {
        if Instant::now() > give_up {
            return Err(format!("rows are missing: {}", streamer.log_tail()).into());
        }
        sleep(Duration::from_millis(20)).await;
    }
    // The endpoint had them before; its reader may not.
    sleep(Duration::from_millis(200)).await;
    Ok(())
}

/// Takes what the endpoint accepted as soon as it did.
pub(crate) async fn receive(shared: Arc<crate::aws::Shared>, ages: Arc<Mutex<Ages>>) {
    loop {
        let changed = shared.changed.notified();
        let accepted = std::mem::take(&mut shared.store().accepted);
        let at_us = now_us();
        // Rows of snapshots, of which there may be many beside them, are not opened.
        for message in &accepted {
            let mut attributes = message.entry.attributes.iter();
            if !attributes.any(|it| it.name == "kind" && it.value() == "change") {
                continue;
            }
            if let Ok(proto::frame::Content::Batch(batch)) = open::content(&message.entry.body) {
                note(&batch, at_us, &mut ages.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
        changed.await;
    }
}

fn note(batch: &proto::ChangeBatch, at_us: i64, ages: &mut Ages) {
    for row in &batch.rows {
        let due = row.after.as_ref().and_then(|after| after.values.get(1)?.kind.clone());
        let Some(proto::value::Kind::Integer(due_us @ 1..)) = due else { continue };
        ages.since_due.push(at_us - due_us);
        if let Some(transaction) = batch.transactions.get(row.transaction as usize) {
            let committed_us = batch.committed_at_base_us + transaction.committed_at_delta_us;
            ages.since_commit.push(at_us - committed_us);
        }
    }
}

pub(crate) fn take(ages: &Mutex<Ages>) -> Ages {
    let mut taken = std::mem::take(&mut *ages.lock().unwrap_or_else(PoisonError::into_inner));
    taken.since_commit.sort_unstable();
    taken.since_due.sort_unstable();
    taken
}

fn print_line(rate: u64, ages: Ages, used: f64, process: Pid) {
    let (commit, due) = (&ages.since_commit, &ages.since_due);
    println!(
        "{rate:>8} {:>8} | {:>8.2} {:>8.2} {:>8.2} {:>8.2} | {:>8.2} {:>8.2} {:>8.2} | {:>7.1} {:>8}",
        commit.len(),
        part(commit, 500),
        part(commit, 990),
        part(commit, 999),
        part(commit, 1000),
        part(due, 500),
        part(due, 990),
        part(due, 999),
        used * 100.0,
        process.resident_kib().1 >> 10,
    );
}

/// The value below which so many thousandths lie, milliseconds.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a minute")]
pub(crate) fn part(sorted_us: &[i64], thousandths: usize) -> f64 {
    let at = (sorted_us.len() * thousandths / 1000).min(sorted_us.len().saturating_sub(1));
    sorted_us.get(at).copied().unwrap_or_default() as f64 / 1000.0
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or_default()
}
