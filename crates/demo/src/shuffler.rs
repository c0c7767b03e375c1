//! What SNS and SQS may do to messages, done on purpose: some come again, in another order, and some
//! not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::consumer::failed;
use super::workload::Random;
use super::{Aws, Error};

/// Messages per request, the most that SQS gives.
const RECEIVE_MAX: i32 = 10;
/// Messages that are held back, so that the order is another one, while more arrive.
const HELD: usize = 40;
/// And for so long at most.
const HELD_FOR: Duration = Duration::from_secs(1);
/// Pause after a failed call.
const PAUSE: Duration = Duration::from_millis(200);

/// What becomes of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shuffling {
    /// Seed of what looks like chance.
    pub seed: u64,
    /// Each message is sent once to this many times.
    pub copies_max: u64,
}

/// Moves messages from one queue to another. Dropping it ends it.
#[derive(Debug)]
pub struct Shuffler {
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

/// What a shuffler has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shuffled {
    /// Messages that were received.
    pub received: u64,
    /// Messages that were sent, each copy counted.
    pub sent: u64,
    /// Copies beyond the first.
    pub copies: u64,
    /// Messages that were never sent.
    pub lost: u64,
    /// Messages that are held now.
    pub held: u64,
}

#[derive(Debug, Default)]
struct Counts {
    /// One in so many is lost; 0: none.
    lose_one_in: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    copies: AtomicU64,
    lost: AtomicU64,
    held: AtomicU64,
}

impl Shuffler {
    /// Starts to move what comes into the queue `from` to the queue `to`.
    pub fn start(aws: Aws, from: String, to: String, how: Shuffling) -> Self {
        let counts = Arc::new(Counts::default());
        let mut work = Work {
            aws,
            from,
            to,
            how,
            random: Random::new(how.seed),
            held: Vec::new(),
            counts: Arc::clone(&counts),
        };
        let task = tokio::spawn(async move {
            loop {
                if let Err(error) = work.round().await {
                    tracing::warn!(%error, "messages wait");
                    sleep(PAUSE).await;
                }
            }
        });
        Self { counts, task }
    }

    /// From now on one message in so many is never sent; 0: none.
    pub fn lose_one_in(&self, messages: u64) {
        self.counts.lose_one_in.store(messages, Ordering::Relaxed);
    }

    /// What it has done up to now.
    pub fn done(&self) -> Shuffled {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Shuffled {
            received: read(&self.counts.received),
            sent: read(&self.counts.sent),
            copies: read(&self.counts.copies),
            lost: read(&self.counts.lost),
            held: read(&self.counts.held),
        }
    }
}

impl Drop for Shuffler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Work {
    aws: Aws,
    from: String,
    to: String,
    how: Shuffling,
    random: Random,
    /// Messages, and when they came.
    held: Vec<(Instant, Message)>,
    counts: Arc<Counts>,
}

impl Work {
    async fn round(&mut self) -> Result<(), Error> {
        let messages = self.receive().await?;
        let keep = if messages.is_empty() { 0 } else { HELD };
        for message in messages {
            self.counts.received.fetch_add(1, Ordering::Relaxed);
            let one_in = self.counts.lose_one_in.load(Ordering::Relaxed);
            if one_in > 0 && self.random.below(one_in) == 0 {
                self.counts.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let more = self.random.below(self.how.copies_max);
            self.counts.copies.fetch_add(more, Ordering::Relaxed);
            let now = Instant::now();
            self.held.extend((0..=more).map(|_| (now, message.clone())));
        }
        self.note_held();
        loop {
            let old = self.held.iter().position(|(since, _)| since.elapsed() > HELD_FOR);
            let any = self.random.below(self.held.len() as u64);
            let any = usize::try_from(any).ok().filter(|_| self.held.len() > keep);
            let Some(at) = any.or(old) else { break };
            let (since, message) = self.held.swap_remove(at);
            let sent = self.send(&message).await;
            if sent.is_err() {
                self.held.push((since, message));
            }
            self.note_held();
            sent?;
        }
        Ok(())
    }

    fn note_held(&self) {
        self.counts.held.store(self.held.len() as u64, Ordering::Relaxed);
    }

    async fn receive(&self) -> Result<Vec<Message>, Error> {
        let receive = self.aws.sqs().receive_message().queue_url(&self.from);
        let receive = receive
            .max_number_of_messages(RECEIVE_MAX)
            // What is held goes on at once when nothing more comes.
            .wait_time_seconds(i32::from(self.held.is_empty()))
            .message_attribute_names("All");
        let answer = receive.send().await.map_err(failed("sqs:ReceiveMessage"))?;
        let messages = answer.messages.unwrap_or_default();
        let entries = messages.iter().enumerate().filter_map(|(at, message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(at.to_string());
            entry.receipt_handle(message.receipt_handle.as_deref()?).build().ok()
        });
        let entries: Vec<_> = entries.collect();
        if !entries.is_empty() {
            let delete = self.aws.sqs().delete_message_batch().queue_url(&self.from);
            let deleted = delete.set_entries(Some(entries)).send().await;
            deleted.map_err(failed("sqs:DeleteMessageBatch"))?;
        }
        Ok(messages)
    }

    async fn send(&self, message: &Message) -> Result<(), Error> {
        let send = self.aws.sqs().send_message().queue_url(&self.to);
        let send = send
            .set_message_body(message.body.clone())
            .set_message_attributes(message.message_attributes.clone());
        send.send().await.map_err(failed("sqs:SendMessage"))?;
        self.counts.sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
