//! A queue of echoed messages.

use std::future::Future;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;

use crate::aws;

/// Messages in one answer: SQS's limit.
const MESSAGES_MAX: i32 = 10;

/// Seconds that an empty queue waits with its answer: SQS's limit, and the cheapest.
const WAIT_SECONDS: i32 = 20;

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
}

impl Sqs {
    /// Reads the queue at `url` with the service's common AWS configuration; `endpoint_url` stands
    /// for the service's own endpoint. Its region is in the URL where it is a real queue's.
    pub fn connect(shared: &aws::Shared, endpoint_url: Option<&str>, url: &str) -> Self {
        let wait = Duration::from_secs(WAIT_SECONDS.unsigned_abs().into());
        let deadlines = aws::Deadlines {
            connect: aws::Deadlines::default().connect,
            read: wait + aws::Deadlines::default().read,
            operation: wait + aws::Deadlines::default().operation,
        };
        let sdk = shared.service(endpoint_url, region_of(url), deadlines);
        Self::new(Client::new(&sdk), url)
    }

    /// Reads the queue at `url`.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    fn error(&self, action: &'static str, message: &dyn std::fmt::Display) -> QueueError {
        QueueError { queue: self.url.clone(), action, message: message.to_string() }
    }
}

/// The region in a queue's URL, `https://sqs.eu-west-1.amazonaws.com/...`; `None` elsewhere.
fn region_of(url: &str) -> Option<&str> {
    let host = url.strip_prefix("https://sqs.")?;
    host.split_once(".amazonaws.").map(|(region, _)| region)
}

impl Queue for Sqs {
    async fn receive(&mut self) -> Result<Vec<Received>, QueueError> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(MESSAGES_MAX)
            .wait_time_seconds(WAIT_SECONDS)
            .send();
        // The SDK's futures are large.
        let answer = Box::pin(answer).await;
        let answer = answer.map_err(|error| self.error("receive", &DisplayErrorContext(error)))?;
        let received = answer.messages.unwrap_or_default().into_iter().filter_map(|message| {
            Some(Received {
                body: message.body.unwrap_or_default(),
                receipt: message.receipt_handle?,
            })
        });
        Ok(received.collect())
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
                .map_err(|error| self.error("delete", &error))
        });
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let answer =
            self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let answer = Box::pin(answer.send()).await;
        let answer = answer.map_err(|error| self.error("delete", &DisplayErrorContext(error)))?;
        match answer.failed.first() {
            None => Ok(()),
            // It comes again and counts as a duplicate.
            Some(failed) => {
                Err(self.error("delete", &failed.message.as_deref().unwrap_or(&failed.code)))
            }
        }
    }
}
