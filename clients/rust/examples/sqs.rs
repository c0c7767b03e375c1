//! Reads a queue, and applies each row once and in order: `cargo run --example sqs -- QUEUE_URL`.
//!
//! Credentials and region come from where the AWS SDK finds them; `AWS_ENDPOINT_URL` names a stand-in.
//! This program prints rows and keeps the lanes' numbers in memory. A real one keeps them in the
//! database that the rows go to, in the same transaction: see `apply`.

use std::error::Error;
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_sqs::Client;
use binpulse_client::ledger::{Decision, LaneName, Ledger, Waits};
use binpulse_client::proto::{ChangeBatch, Source};
use binpulse_client::{Content, Freshness, Health, decode};

/// Messages that wait for rows before them. The queue's visibility timeout is longer than they wait.
const WAITING_MAX: usize = 1_000;

/// Rows that are not applied yet, and the receipt of their message.
struct Waiting {
    batch: ChangeBatch,
    receipt: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("which queue?")?;
    let shared = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let sqs = Client::new(&shared);
    let started = Instant::now();
    let mut ledger = Ledger::new(Waits::default());
    let mut freshness = Freshness::default();
    let mut waiting: Vec<Waiting> = Vec::new();
    loop {
        if waiting.len() > WAITING_MAX {
            return Err("too many rows wait for rows before them".into());
        }
        let request = sqs.receive_message().queue_url(&url).max_number_of_messages(10);
        for message in request.wait_time_seconds(20).send().await?.messages() {
            let (Some(body), Some(receipt)) = (message.body(), message.receipt_handle()) else {
                continue;
            };
            match decode(body) {
                Ok(Content::Rows(batch)) => {
                    waiting.push(Waiting { batch, receipt: receipt.to_owned() });
                    continue;
                }
                Ok(Content::Canary(canary)) => {
                    freshness.observe(&canary);
                    watermark(&mut ledger, &canary, started.elapsed());
                }
                Ok(Content::Suppressed(rows)) => {
                    let lane =
                        ledger.lane(name(rows.source.as_ref(), &rows.lane), started.elapsed());
                    let last = rows.sequence_first + rows.count - 1;
                    lane.suppressed(rows.sequence_first, last, started.elapsed());
                }
                Ok(_) => {} // statements, and what a newer binpulse sends
                // It stays in the queue, and becomes a dead letter.
                Err(error) => {
                    eprintln!("{error}");
                    continue;
                }
            }
            sqs.delete_message().queue_url(&url).receipt_handle(receipt).send().await?;
        }
        for done in take(&mut waiting, &mut ledger, started.elapsed()) {
            sqs.delete_message().queue_url(&url).receipt_handle(done).send().await?;
        }
        for (name, lane) in ledger.lanes() {
            if let Some(gap) = lane.missing(started.elapsed()) {
                eprintln!("{}: rows {} to {} are missing", name.lane, gap.first, gap.last);
            }
        }
        match freshness.health(SystemTime::now(), Duration::from_mins(1)) {
            Health::Fresh { .. } | Health::Unknown => {}
            Health::Stale { age } => eprintln!("no canary for {} s: cut off", age.as_secs()),
        }
    }
}

/// Applies what can be applied now. Returns the receipts of messages that are done with.
fn take(waiting: &mut Vec<Waiting>, ledger: &mut Ledger, now: Duration) -> Vec<String> {
    let mut done = Vec::new();
    waiting.sort_by_key(|one| one.batch.sequence_first);
    waiting.retain(|Waiting { batch, receipt }| {
        let (first, count) = (batch.sequence_first, batch.rows.len() as u64);
        let lane = ledger.lane(name(batch.source.as_ref(), &batch.lane), now);
        loop {
            match lane.offer(first, count, now) {
                Decision::Wait => return true,
                Decision::Skip => {
                    done.push(receipt.clone());
                    return false;
                }
                Decision::Go { skip } => {
                    apply(batch, skip, count);
                    lane.applied(first + count, now);
                }
                Decision::Late { skip, take } => {
                    apply(batch, skip, take);
                    lane.applied_late(first + skip, take);
                }
            }
        }
    });
    done
}

/// At most `take` rows after the first `skip`. With a database: BEGIN; the rows; the lane's next number and its
/// suppressed rows; COMMIT.
fn apply(batch: &ChangeBatch, skip: u64, take: u64) {
    let number = |count| usize::try_from(count).unwrap_or(usize::MAX);
    for row in batch.rows().skip(number(skip)).take(number(take)) {
        let key: Vec<_> = row.key().map(|(column, value)| (&column.name, value)).collect();
        println!("{} {} {} {key:?}", batch.lane, row.number(), row.op().as_str_name());
    }
}

/// What a canary tells of lanes: all below these numbers was accepted by the topic.
fn watermark(ledger: &mut Ledger, canary: &binpulse_client::proto::Canary, now: Duration) {
    let (Some(batch), Some(watermark)) = (&canary.batch, &canary.watermark) else { return };
    for mark in &watermark.lanes {
        let name = LaneName { epoch: mark.epoch, ..name(batch.source.as_ref(), &mark.lane) };
        ledger.lane(name, now).watermark(mark.sequence_next, now);
    }
}

fn name(source: Option<&Source>, lane: &str) -> LaneName {
    let (stream, epoch) = source.map_or(("", 0), |source| (source.stream.as_str(), source.epoch));
    LaneName { stream: stream.to_owned(), epoch, lane: lane.to_owned() }
}
