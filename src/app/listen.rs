//! Rows for a developer: from a queue of SQS, or lines of `tail` from standard input, to standard output
//! or a webhook on this machine. What `binpulse listen` does.

use std::io::{self, BufRead, Read, Write};
use std::time::Duration;

use binpulse_relay::lane::LaneKey;
use binpulse_relay::open::{FetchError, Found, Limits, Opened, open};
use binpulse_relay::queue::QueueError;
use binpulse_relay::target::webhook::Webhook;
use binpulse_relay::target::{Outcome, Request};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::relay::open_queue;
use crate::aws;
use crate::change::RowBuffer;
use crate::encode::Origin;
use crate::encode::formats::{FormatOptions, Formatter, RowContext, RowNumber};
use crate::encode::opened::OpenedRows;

/// Attempts for each row.
const ATTEMPTS: u32 = 5;
/// Pause behind the first failure; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How long a message that was received is hidden from others.
const VISIBILITY: Duration = Duration::from_mins(1);
/// Longest line.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Where rows go.
#[derive(Debug)]
pub enum Target {
    /// Standard output, a line each.
    Output,
    /// An endpoint, a request each.
    Webhook(Box<Webhook>),
}

/// Why listening ended.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A row was refused for good.
    #[error("{0}")]
    Refused(String),
    /// Standard input or output.
    #[error("{0}")]
    Stream(#[from] io::Error),
    /// The queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl Target {
    /// Delivers a row: `line` without its end.
    async fn deliver(&self, line: Vec<u8>) -> Result<(), ListenError> {
        let webhook = match self {
            Self::Output => {
                let mut out = io::stdout().lock();
                out.write_all(&line)?;
                return Ok(out.write_all(b"\n")?);
            }
            Self::Webhook(webhook) => webhook,
        };
        let request = request(line);
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match webhook.deliver(&request).await {
                Outcome::Delivered => break,
                Outcome::Failed { answer, .. } if attempt < ATTEMPTS => {
                    eprintln!("binpulse: {}: {answer}; again in {pause:?}", request.id);
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Outcome::Failed { answer, .. }
                | Outcome::Gone { answer }
                | Outcome::Refused { answer } => {
                    return Err(ListenError::Refused(format!("{}: {answer}", request.id)));
                }
            }
        }
        Ok(())
    }
}

/// A request with one row. Its id is the same whenever the same row comes.
fn request(row: Vec<u8>) -> Request {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let digest = Sha256::digest(&row);
    let mut id = "bp_".to_owned();
    for five in digest.chunks_exact(5).take(4) {
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        let digit = |shift: u32| DIGITS.get((bits >> shift & 31) as usize).copied();
        id.extend((0..40).step_by(5).rev().filter_map(digit).map(char::from));
    }
    let lane = LaneKey { stream: "".into(), epoch: 0, lane: "".into() };
    let (content_type, kind) = ("application/json", "change");
    Request {
        id,
        lane,
        first: 0,
        last: 0,
        group: String::new(),
        body: row.into(),
        content_type,
        then: None,
        kind,
        attributes: Vec::new(),
    }
}

/// Delivers each line of standard input until it ends.
pub async fn lines(target: &Target) -> Result<(), ListenError> {
    let (send, mut lines) = mpsc::channel(16);
    // It blocks until a line comes, so it has a thread of its own, which ends with the process.
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            let line = match read {
                Ok(0) => return,
                Ok(_) if line.pop_if(|end| *end == b'\n').is_some() => Ok(line),
                Ok(_) => Err(io::Error::other("a line without an end, or one that is too long")),
                Err(error) => Err(error),
            };
            let is_last = line.is_err();
            if send.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    });
    while let Some(line) = lines.recv().await {
        let line = line?;
        if !line.is_empty() {
            target.deliver(line).await?;
        }
    }
    Ok(())
}

/// Delivers the rows of a queue's messages and the payloads of outboxes, and deletes the messages.
pub async fn queue(
    shared: &aws::Shared,
    endpoint_url: Option<&str>,
    url: &str,
    target: &Target,
) -> Result<(), ListenError> {
    let queue = open_queue(shared, endpoint_url, url, VISIBILITY);
    let mut formatter = Formatter::new(FormatOptions::Binpulse);
    loop {
        for message in queue.receive().await? {
            match open(&message.body, message.attributes, &Limits::default(), fetch).await {
                Ok(Found::Ours(message)) => {
                    for line in rows(&mut formatter, message.opened) {
                        target.deliver(line).await?;
                    }
                }
                Ok(Found::Outbox(payload, _)) => target.deliver(payload.into_bytes()).await?,
                Err(failure) => eprintln!("binpulse: a message is passed over: {failure}"),
            }
            queue.delete(&[message.receipt]).await?;
        }
    }
}

async fn fetch(_: &binpulse_relay::open::Pointer, _: u64) -> Result<String, FetchError> {
    Err(FetchError::Gone("its content is in S3, which this command does not read".to_owned()))
}

/// The rows of a content as lines; none where it has no rows of tables.
fn rows(formatter: &mut Formatter, opened: Opened) -> Vec<Vec<u8>> {
    let Opened::Rows(batch) = opened else { return Vec::new() };
    let rows = match OpenedRows::new(batch, |_| None) {
        Ok(rows) => rows,
        Err(error) => {
            eprintln!("binpulse: a message is passed over: {error}");
            return Vec::new();
        }
    };
    let origin = Origin::of(rows.source(), env!("CARGO_PKG_VERSION"));
    let mut buffer = RowBuffer::default();
    let mut lines = Vec::with_capacity(rows.len());
    for index in 0..rows.len() {
        let Some(transaction) = rows.transaction(index) else { continue };
        let Some(change) = rows.change(index, &mut buffer) else { continue };
        let number = rows.first().saturating_add(index as u64);
        let number = Some(RowNumber { lane: rows.lane(), number, snapshot: None });
        let context =
            RowContext { number, ..RowContext::new(&origin, rows.table(), transaction, &change) };
        let mut line = Vec::new();
        formatter.row(&context, &mut line);
        lines.push(line);
    }
    lines
}
