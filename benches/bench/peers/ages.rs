//! How old a row is when a reader has it: since the moment at which it was due, as `latency` tells
//! it, at one rate, one reader after the other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use binpulse_demo::{Command, Mysqld, Streamer, standin_environment};
use mysql_async::prelude::Queryable;
use tokio::time::Instant;

use super::reader::{self, Order, Program};
use crate::aws::{Endpoint, REGION};
use crate::latency::{self, Ages, Due, hold, part, receive, until_published};
use crate::process::Pid;
use crate::replay::{binary, settings};
use crate::{Outcome, data};

/// Transactions a second, for how long, and how long before that rows come that do not count.
const RATE: u64 = 100;
const HELD: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_secs(3);
/// Rows that do not count come in pieces of this until a reader has its first.
const PIECE: Duration = Duration::from_millis(500);
const PIECES_MAX: usize = 120;
const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) async fn run() -> Outcome {
    let mysqld = Mysqld::start(&data::server()?, data::options()).await?;
    mysqld.execute(&["CREATE DATABASE bench", latency::TABLE]).await?;
    println!(
        "{RATE} transactions/s for {} s, one row each: age when the reader has the row",
        HELD.as_secs()
    );
    println!(
        "  {:<36} {:>6} {:>9} {:>9} {:>9} {:>7} {:>9}",
        "reader", "rows", "p50 ms", "p99 ms", "max ms", "CPU %", "peak MiB"
    );
    let mut id = 0;
    own(&mysqld, &mut id).await?;
    for program in reader::all() {
        let name = program.name;
        if !program.is_fetched() {
            println!("  {name:<36} not fetched");
            continue;
        }
        if program.is_old {
            println!(
                "  {name:<36} not taken: what it writes itself ends it (benches/peers/README.md)"
            );
            continue;
        }
        let line = other(&mysqld, program, &mut id).await;
        match line {
            Ok(line) => line.print(),
            Err(error) => println!("  {error}"),
        }
    }
    println!();
    Ok(())
}

/// binpulse, up to the endpoint's acceptance: it encodes, compresses and publishes besides.
async fn own(mysqld: &Mysqld, id: &mut u64) -> Outcome {
    let endpoint = Endpoint::start().await;
    let arn = endpoint.topic("bench", &[("MaximumMessageSize", "262144")]);
    let mut settings = settings(mysqld);
    settings.retain(|(key, _)| *key != "source.start");
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
    let first = *id;
    hold(mysqld, RATE, WARM_UP, Due::Untold, id).await?;
    let (began, cpu) = (Instant::now(), process.cpu());
    hold(mysqld, RATE, HELD, Due::Told, id).await?;
    let busy = Busy::since(began, process.cpu().saturating_sub(cpu));
    until_published(&streamer, *id - first).await?;
    receiving.abort();
    let ages = std::mem::take(&mut *ages.lock().unwrap_or_else(PoisonError::into_inner));
    let name = "binpulse, SNS on loopback, zstd".to_owned();
    Line { name, ages_us: ages.since_due, busy, peak_kib: process.resident_kib().0 }.print();
    streamer.stop().await?;
    Ok(())
}

/// Another reader, up to its API's handing over the row.
async fn other(mysqld: &Mysqld, program: Program, id: &mut u64) -> Outcome<Line> {
    let mut session = mysqld.connect().await?;
    let logs: Vec<mysql_async::Row> = session.query("SHOW BINARY LOGS").await?;
    session.disconnect().await?;
    let at = logs.last().and_then(|row| Some((row.get::<String, _>(0)?, row.get::<u64, _>(1)?)));
    let (file, position) = at.ok_or("the server does not tell its position")?;
    let order = Order {
        port: mysqld.port(),
        file: &file,
        position,
        rows: RATE * HELD.as_secs(),
        seconds: DEADLINE.as_secs() * 2,
        ages: true,
    };
    let mut reader = program.start(order)?;
    let start = {
        let mut first = std::pin::pin!(reader.first());
        let mut pieces = 0..PIECES_MAX;
        loop {
            let piece = hold(mysqld, RATE, PIECE, Due::Untold, id);
            tokio::select! {
                biased;
                start = &mut first => break start?,
                written = piece, if pieces.next().is_some() => written?,
            }
        }
    };
    hold(mysqld, RATE, WARM_UP, Due::Untold, id).await?;
    let (began, cpu) = (Instant::now(), reader.cpu());
    hold(mysqld, RATE, HELD, Due::Told, id).await?;
    let busy = Busy::since(began, reader.cpu().saturating_sub(cpu));
    let seen = reader.finish(start).await?;
    let (name, ages_us) = (seen.said.reader, seen.said.ages_us);
    Ok(Line { name, ages_us, busy, peak_kib: seen.peak_kib })
}

/// Part of a core.
#[derive(Debug, Clone, Copy)]
struct Busy(f64);

impl Busy {
    fn since(began: Instant, cpu: Duration) -> Self {
        Self(cpu.as_secs_f64() / began.elapsed().as_secs_f64())
    }
}

/// A line of the table.
#[derive(Debug)]
struct Line {
    name: String,
    ages_us: Vec<i64>,
    busy: Busy,
    peak_kib: u64,
}

impl Line {
    fn print(mut self) {
        self.ages_us.sort_unstable();
        println!(
            "  {:<36} {:>6} {:>9.2} {:>9.2} {:>9.2} {:>7.1} {:>9}",
            self.name,
            self.ages_us.len(),
            part(&self.ages_us, 500),
            part(&self.ages_us, 990),
            part(&self.ages_us, 1000),
            self.busy.0 * 100.0,
            self.peak_kib >> 10,
        );
    }
}
