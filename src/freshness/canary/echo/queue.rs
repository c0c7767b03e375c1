//! A queue of echoed messages.

use std::future::Future;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::receive_message::ReceiveMessageOutput;
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;

use crate::aws;

/// Messages in one answer: SQS's limit.
const MESSAGES_MAX: i32 = 10;

/// Answers that a look takes at most, and how long what it shows is hidden from others, seconds.
const LOOKS_MAX: u32 = 20;
const LOOK_SECONDS: i32 = 5;

/// Longest time that an empty queue waits with its answer: SQS's limit, and the cheapest.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Longest wait where delivery is evaluated by what does not come, so that a queue which no longer answers
/// is known for that before anything counts as missing.
const DEADLINE_WAIT_MAX: Duration = Duration::from_secs(5);
/// Time for an answer beyond the wait, where delivery is evaluated.
const SLACK: Duration = Duration::from_secs(3);

/// A message as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its body.
    pub body: String,
    /// What deletes it.
    pub receipt: String,
}

/// A queue could not be read, or messages in it not be deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("echo queue {queue}: {action}: {message}")]
pub struct QueueError {
    /// Its URL.
    pub queue: String,
    /// What was tried.
    pub action: &'static str,
    /// The words.
    pub message: String,
}

/// Somewhere echoed messages come out of.
///
/// # Contract
///
/// * `receive` waits for messages for a bounded time and may return none.
/// * A message that is not deleted comes again, in any order, any number of times.
/// * Dropping a future loses nothing that was not deleted.
pub trait Queue: Send + 'static {
    /// Waits for messages.
    fn receive(&mut self) -> impl Future<Output = Result<Vec<Received>, QueueError>> + Send;
    /// Deletes messages by their receipts; at most as many as one `receive` gave.
    fn delete(
        &mut self,
        receipts: Vec<String>,
    ) -> impl Future<Output = Result<(), QueueError>> + Send;
}

/// A queue of Amazon SQS.
#[derive(Debug, Clone)]
pub struct Sqs {
    client: Client,
    url: String,
    wait: Duration,
    /// When a message that was received and not deleted comes again; `None`: as the queue has it.
    hidden: Option<Duration>,
}

impl Sqs {
    /// Reads the queue at `url` with the service's common AWS configuration; `endpoint_url` stands
    /// for the service's own endpoint. Its region is in the URL where it is a real queue's.
    pub fn connect(shared: &aws::Shared, endpoint_url: Option<&str>, url: &str) -> Self {
        let slack = aws::Deadlines::default();
        let deadlines = aws::Deadlines {
            connect: slack.connect,
            read: WAIT_MAX + slack.read,
            operation: WAIT_MAX + slack.operation,
        };
        Self::with(shared, endpoint_url, url, WAIT_MAX, deadlines)
    }

    /// The same where echoes are due within `deadline`: answers come soon enough to tell whether they do.
    pub fn with_deadline(
        shared: &aws::Shared,
        endpoint_url: Option<&str>,
        url: &str,
        deadline: Duration,
    ) -> Self {
        let wait = Duration::from_secs((deadline / 3).min(DEADLINE_WAIT_MAX).as_secs());
        let deadlines =
            aws::Deadlines { connect: SLACK, read: wait + SLACK, operation: wait + SLACK };
        // A message that a process received at its end is there again for the next one in time.
        let hidden = Some((deadline / 3).max(Duration::from_secs(1)));
        Self { hidden, ..Self::with(shared, endpoint_url, url, wait, deadlines) }
    }

    fn with(
        shared: &aws::Shared,
        endpoint_url: Option<&str>,
        url: &str,
        wait: Duration,
        deadlines: aws::Deadlines,
    ) -> Self {
        let sdk = shared.service(endpoint_url, aws::region_of_queue(url), deadlines);
        Self { wait, ..Self::new(Client::new(&sdk), url) }
    }

    /// Reads the queue at `url`, with the longest wait.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into(), wait: WAIT_MAX, hidden: None }
    }

    /// Looks at what is in the queue, which is there again afterwards: up to a bounded number of
    /// messages, until an answer is empty.
    pub async fn peek(&self) -> Result<Vec<Received>, QueueError> {
        let mut all = Vec::new();
        for _ in 0..LOOKS_MAX {
            let receive = self.client.receive_message().queue_url(&self.url);
            let receive = receive.max_number_of_messages(MESSAGES_MAX).wait_time_seconds(1);
            let answer = Box::pin(receive.visibility_timeout(LOOK_SECONDS).send()).await;
            let answer =
                answer.map_err(|error| self.error("ReceiveMessage", aws::words(&error)))?;
            let messages = received(answer);
            if messages.is_empty() {
                break;
            }
            all.extend(messages);
        }
        for message in &all {
            // One that is not shown again now is so a moment later.
            self.hide_for(message.receipt.clone(), 0).await.ok();
        }
        Ok(all)
    }

    /// Shows a message again that was received and not deleted, once a poll that was given up is over:
    /// its answer, which nobody reads, would take the message along.
    pub async fn show_again(&self, receipt: String) -> Result<(), QueueError> {
        let after = i32::try_from(self.wait.as_secs() + 1).unwrap_or(i32::MAX);
        self.hide_for(receipt, after).await
    }

    async fn hide_for(&self, receipt: String, seconds: i32) -> Result<(), QueueError> {
        let change = self.client.change_message_visibility().queue_url(&self.url);
        let change = change.receipt_handle(receipt).visibility_timeout(seconds);
        let shown = Box::pin(change.send()).await;
        shown.map(drop).map_err(|error| self.error("ChangeMessageVisibility", aws::words(&error)))
    }

    /// Whether messages may be received and deleted: one is received, and is there again at once, and
    /// a receipt that is none is deleted.
    pub async fn try_out(&self) -> Result<(), QueueError> {
        let receive = self.client.receive_message().queue_url(&self.url).visibility_timeout(0);
        let answer = Box::pin(receive.max_number_of_messages(1).wait_time_seconds(0).send()).await;
        answer.map_err(|error| self.error("ReceiveMessage", aws::words(&error)))?;
        let entry =
            DeleteMessageBatchRequestEntry::builder().id("0").receipt_handle("none").build();
        let entry = entry.map_err(|error| self.error("DeleteMessage", error.to_string()))?;
        let delete = self.client.delete_message_batch().queue_url(&self.url).entries(entry);
        // The entry itself fails where deleting is allowed.
        match Box::pin(delete.send()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error("DeleteMessage", aws::words(&error))),
        }
    }

    fn error(&self, action: &'static str, message: String) -> QueueError {
        QueueError { queue: self.url.clone(), action, message }
    }
}

fn received(answer: ReceiveMessageOutput) -> Vec<Received> {
    let messages = answer.messages.unwrap_or_default().into_iter();
    let received = messages.filter_map(|message| {
        Some(Received { body: message.body.unwrap_or_default(), receipt: message.receipt_handle? })
    });
    received.collect()
}

impl Queue for Sqs {
    async fn receive(&mut self) -> Result<Vec<Received>, QueueError> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(MESSAGES_MAX)
            .wait_time_seconds(i32::try_from(self.wait.as_secs()).unwrap_or_default())
            .set_visibility_timeout(
                self.hidden.and_then(|hidden| i32::try_from(hidden.as_secs()).ok()),
            )
            .send();
        // The SDK's futures are large.
        let answer = Box::pin(answer).await;
        let answer = answer.map_err(|error| self.error("ReceiveMessage", aws::words(&error)))?;
        Ok(received(answer))
    }

    async fn delete(&mut self, receipts: Vec<String>) -> Result<(), QueueError> {
        if receipts.is_empty() {
            return Ok(());
        }
        let entries = receipts.into_iter().enumerate().map(|(index, receipt)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(receipt)
                .build()
                .map_err(|error| self.error("DeleteMessage", error.to_string()))
        });
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let answer =
            self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let answer = Box::pin(answer.send()).await;
        let answer = answer.map_err(|error| self.error("DeleteMessage", aws::words(&error)))?;
        match answer.failed.first() {
            None => Ok(()),
            // It comes again and counts as a duplicate.
            Some(failed) => {
                let words = failed.message.as_deref().unwrap_or_default();
                Err(self.error("DeleteMessage", format!("{}: {words}", failed.code)))
            }
        }
    }
}
