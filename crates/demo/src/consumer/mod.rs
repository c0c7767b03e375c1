//! A consumer as a user would write one: a queue on the topic, every message opened, every row
//! taken once.

mod aws;
mod body;
mod line;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message};

pub use self::aws::Aws;
pub(super) use self::aws::failed;
use super::{Error, Op, Tally};
use crate::proto::frame::Content;
use crate::proto::{Canary, ChangeBatch, SchemaChange};
use line::{canary_line, row_line, schema_line};

/// Messages per request, the most that SQS gives.
const RECEIVE_MAX: i32 = 10;
/// Time that a request waits for messages.
const WAIT_SECONDS: i32 = 1;
/// Round trips kept for the median.
const ROUNDTRIPS_MAX: usize = 100_000;

/// What has been received.
#[derive(Debug)]
pub struct Consumer {
    aws: Aws,
    queue_url: String,
    received: Tally,
    duplicates: u64,
    lanes: HashMap<(String, u64, String), Seen>,
    canaries: BTreeSet<(String, u64)>,
    roundtrips_ms: Vec<f64>,
    statements: u64,
}

/// Numbers of one lane that have been seen: all below `next`, and some beyond. A standard topic
/// does not keep order, so numbers may come early.
#[derive(Debug)]
struct Seen {
    next: u64,
    early: BTreeSet<u64>,
}

impl Seen {
    /// Notes a number; whether it is new.
    fn observe(&mut self, number: u64) -> bool {
        if number < self.next || !self.early.insert(number) {
            return false;
        }
        while self.early.remove(&self.next) {
            self.next += 1;
        }
        true
    }
}

impl Consumer {
    /// A consumer of a queue that receives raw deliveries.
    pub fn new(aws: Aws, queue_url: String) -> Self {
        Self {
            aws,
            queue_url,
            received: Tally::default(),
            duplicates: 0,
            lanes: HashMap::new(),
            canaries: BTreeSet::new(),
            roundtrips_ms: Vec::new(),
            statements: 0,
        }
    }

    /// Rows received, each counted once.
    pub fn received(&self) -> &Tally {
        &self.received
    }

    /// Rows that came again.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Canaries received, by path and number.
    pub fn canaries(&self) -> u64 {
        self.canaries.len() as u64
    }

    /// Schema changes received.
    pub fn statements(&self) -> u64 {
        self.statements
    }

    /// Median time from writing a canary's row to its arrival here, milliseconds.
    pub fn roundtrip_ms_p50(&self) -> Option<f64> {
        let mut sorted = self.roundtrips_ms.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }

    /// Numbers that are missing between those received, by lane: rows that are still to come, or
    /// were lost.
    pub fn gaps(&self) -> BTreeMap<&str, u64> {
        self.lanes
            .iter()
            .filter_map(|((_, _, lane), seen)| {
                let last = seen.early.last()?;
                let missing = last + 1 - seen.next - seen.early.len() as u64;
                Some((lane.as_str(), missing))
            })
            .collect()
    }

    /// Waits for messages for a moment, takes what there is, and hands one JSON line for each new
    /// row, canary and statement to `show`. Returns how many messages came.
    ///
    /// Cancelling loses nothing: SQS delivers again what was not deleted.
    pub async fn receive(&mut self, show: &mut impl FnMut(&str, String)) -> Result<usize, Error> {
        let answer = self
            .aws
            .sqs()
            .receive_message()
            .queue_url(&self.queue_url)
            .max_number_of_messages(RECEIVE_MAX)
            .wait_time_seconds(WAIT_SECONDS)
            .send()
            .await
            .map_err(aws::failed("sqs:ReceiveMessage"))?;
        let messages = answer.messages.unwrap_or_default();
        for message in &messages {
            self.take(message, show)?;
        }
        if !messages.is_empty() {
            self.acknowledge(&messages).await?;
        }
        Ok(messages.len())
    }

    async fn acknowledge(&self, messages: &[Message]) -> Result<(), Error> {
        let entries = messages
            .iter()
            .enumerate()
            .map(|(id, message)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(id.to_string())
                    .receipt_handle(message.receipt_handle().unwrap_or_default())
                    .build()
                    .map_err(aws::failed("sqs:DeleteMessageBatch"))
            })
            .collect::<Result<_, _>>()?;
        self.aws
            .sqs()
            .delete_message_batch()
            .queue_url(&self.queue_url)
            .set_entries(Some(entries))
            .send()
            .await
            .map(drop)
            .map_err(aws::failed("sqs:DeleteMessageBatch"))
    }

    fn take(
        &mut self,
        message: &Message,
        show: &mut impl FnMut(&str, String),
    ) -> Result<(), Error> {
        let body = message.body().unwrap_or_default();
        match body::open(body)? {
            Content::Batch(batch) => self.take_batch(&batch, show)?,
            Content::Canary(canary) => self.take_canary(&canary, show),
            Content::SchemaChange(change) => self.take_statement(&change, show),
            // For information.
            Content::Heartbeat(_) | Content::SnapshotMark(_) | Content::TransactionEnd(_) => {}
            Content::ClaimCheck(_)
            | Content::Payload(_)
            | Content::SnapshotPart(_)
            | Content::Suppressed(_) => {
                return Err(Error::Message(
                    "a content that this consumer does not take".to_owned(),
                ));
            }
        }
        Ok(())
    }

    fn take_batch(
        &mut self,
        batch: &ChangeBatch,
        show: &mut impl FnMut(&str, String),
    ) -> Result<(), Error> {
        let missing = |what: &str| Error::Message(format!("a batch without {what}"));
        let source = batch.source.as_ref().ok_or_else(|| missing("source"))?;
        let schema = batch.table.as_ref().ok_or_else(|| missing("table"))?;
        let table = format!("{}.{}", schema.database, schema.table);
        let key = (source.stream.clone(), source.epoch, batch.lane.clone());
        let first = Seen { next: 1, early: BTreeSet::new() };
        let seen = self.lanes.entry(key).or_insert(first);
        for (number, row) in (batch.sequence_first..).zip(&batch.rows) {
            if !seen.observe(number) {
                self.duplicates += 1;
                continue;
            }
            let op = match row.op {
                1 => Op::Insert,
                2 => Op::Update,
                3 => Op::Delete,
                other => return Err(Error::Message(format!("{table}: a row with op {other}"))),
            };
            self.received.add(&table, op, 1);
            show(&table, row_line(batch, schema, row, number, op));
        }
        Ok(())
    }

    fn take_canary(&mut self, canary: &Canary, show: &mut impl FnMut(&str, String)) {
        let now_us = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
            .as_micros();
        let now_us = i64::try_from(now_us).unwrap_or(i64::MAX);
        #[expect(clippy::cast_precision_loss, reason = "a round trip is far below 2^52 us")]
        let roundtrip_ms = now_us.saturating_sub(canary.written_at_us) as f64 / 1_000.0;
        let is_new = self.canaries.insert((canary.path.clone(), canary.number));
        if is_new && self.roundtrips_ms.len() < ROUNDTRIPS_MAX {
            self.roundtrips_ms.push(roundtrip_ms);
        }
        show("canary", canary_line(canary, roundtrip_ms));
    }

    fn take_statement(&mut self, change: &SchemaChange, show: &mut impl FnMut(&str, String)) {
        self.statements += 1;
        show("schema", schema_line(change));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_a_lane_is_new_once_in_whatever_order_it_comes() {
        let mut seen = Seen { next: 1, early: BTreeSet::new() };
        let new = [1, 2, 2, 5, 4, 5, 1, 3, 4, 6].map(|number| seen.observe(number));
        assert_eq!(new, [true, true, false, true, true, false, false, true, false, true]);
        assert_eq!((seen.next, seen.early.len()), (7, 0));
    }
}
