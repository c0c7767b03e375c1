//! An SQS queue: messages in, deletions and visibility out.

mod facts;
mod redrive;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    MessageSystemAttributeName, QueueAttributeName,
};
use binpulse_core::excerpt::excerpt;

pub use facts::{DeadLetters, Facts};
pub use redrive::{Dead, Redrive};

/// Messages in one call: SQS's limit.
const BATCH_MAX: i32 = 10;
/// Longest time that an empty queue waits with its answer: SQS's limit, and the cheapest.
const WAIT_SECONDS: i32 = 20;

/// A message as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its body.
    pub body: String,
    /// SQS's id of it: the same however often it is received.
    pub id: String,
    /// Its attributes that are text.
    pub attributes: BTreeMap<String, String>,
    /// The data types of those that are not plain `String`.
    pub types: BTreeMap<String, String>,
    /// What deletes it, or keeps it hidden.
    pub receipt: String,
    /// When it entered the queue, microseconds since 1970 UTC; `None` where the queue does not tell.
    pub sent_at_us: Option<i64>,
    /// How often it was received, this time included.
    pub receives: u32,
}

/// A call of SQS failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("queue {queue}: {call}: {message}")]
pub struct QueueError {
    /// Its URL.
    pub queue: String,
    /// The call.
    pub call: &'static str,
    /// SQS's error code, empty where there is none.
    pub code: String,
    /// What happened.
    pub message: String,
}

/// What a queue says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a message is kept.
    pub retention: Duration,
    /// Whether it has a dead letter queue.
    pub has_redrive: bool,
}

/// A queue of Amazon SQS.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    url: String,
    /// How long a message that was received is hidden from others.
    visibility: Duration,
}

impl Queue {
    /// The queue at `url`. `client` needs read deadlines above 20 s.
    pub fn new(client: Client, url: impl Into<String>, visibility: Duration) -> Self {
        Self { client, url: url.into(), visibility }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits for messages, up to 20 s.
    pub async fn receive(&self) -> Result<Vec<Received>, QueueError> {
        let receive = self.client.receive_message().queue_url(&self.url);
        let receive = receive
            .max_number_of_messages(BATCH_MAX)
            .wait_time_seconds(WAIT_SECONDS)
            .visibility_timeout(seconds(self.visibility))
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        let answer = Box::pin(receive.send()).await;
        let answer = answer.map_err(|error| self.error("ReceiveMessage", &error))?;
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(received).collect())
    }

    /// Deletes messages. One that SQS does not delete comes again, and is skipped then.
    pub async fn delete(&self, receipts: &[String]) -> Result<(), QueueError> {
        for receipts in receipts.chunks(batch_max()) {
            let mut delete = self.client.delete_message_batch().queue_url(&self.url);
            for (index, receipt) in receipts.iter().enumerate() {
                let entry = DeleteMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(receipt);
                if let Ok(entry) = entry.build() {
                    delete = delete.entries(entry);
                }
            }
            Box::pin(delete.send())
                .await
                .map_err(|error| self.error("DeleteMessageBatch", &error))?;
        }
        Ok(())
    }

    /// Keeps messages hidden for the queue's visibility from now on.
    pub async fn extend(&self, receipts: &[String]) -> Result<(), QueueError> {
        self.hide(receipts, self.visibility).await
    }

    /// Shows messages to others after `pause`.
    pub async fn give_back(&self, receipts: &[String], pause: Duration) -> Result<(), QueueError> {
        self.hide(receipts, pause).await
    }

    async fn hide(&self, receipts: &[String], pause: Duration) -> Result<(), QueueError> {
        for receipts in receipts.chunks(batch_max()) {
            let mut change = self.client.change_message_visibility_batch().queue_url(&self.url);
            for (index, receipt) in receipts.iter().enumerate() {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(receipt)
                    .visibility_timeout(seconds(pause));
                if let Ok(entry) = entry.build() {
                    change = change.entries(entry);
                }
            }
            // An entry that fails is of a message that was shown again already.
            Box::pin(change.send())
                .await
                .map_err(|error| self.error("ChangeMessageVisibilityBatch", &error))?;
        }
        Ok(())
    }

    /// Asks the queue for its settings.
    pub async fn settings(&self) -> Result<Settings, QueueError> {
        let get = self.client.get_queue_attributes().queue_url(&self.url);
        let get = get
            .attribute_names(QueueAttributeName::MessageRetentionPeriod)
            .attribute_names(QueueAttributeName::RedrivePolicy);
        let answer = Box::pin(get.send()).await;
        let answer = answer.map_err(|error| self.error("GetQueueAttributes", &error))?;
        let attributes = answer.attributes.unwrap_or_default();
        let retention = attributes
            .get(&QueueAttributeName::MessageRetentionPeriod)
            .and_then(|seconds| seconds.parse().ok())
            .map_or(RETENTION_DEFAULT, Duration::from_secs);
        let has_redrive = attributes
            .get(&QueueAttributeName::RedrivePolicy)
            .is_some_and(|policy| !policy.is_empty());
        Ok(Settings { retention, has_redrive })
    }

    fn error<E, R>(&self, call: &'static str, error: &SdkError<E, R>) -> QueueError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let code = error.code().unwrap_or_default().to_owned();
        let message = match error.message() {
            Some(message) => format!("{code}: {message}"),
            None => aws_sdk_sqs::error::DisplayErrorContext(error).to_string(),
        };
        QueueError { queue: self.url.clone(), call, code, message: excerpt(&message) }
    }
}

/// SQS's default.
const RETENTION_DEFAULT: Duration = Duration::from_hours(4 * 24);

fn batch_max() -> usize {
    usize::try_from(BATCH_MAX).unwrap_or(1)
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

fn received(message: aws_sdk_sqs::types::Message) -> Option<Received> {
    let system = message.attributes.unwrap_or_default();
    let number = |name| system.get(&name).and_then(|text: &String| text.parse::<i64>().ok());
    let sent_at_ms = number(MessageSystemAttributeName::SentTimestamp);
    let receives = number(MessageSystemAttributeName::ApproximateReceiveCount);
    let (mut attributes, mut types) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in message.message_attributes.unwrap_or_default() {
        let Some(text) = value.string_value else { continue };
        if value.data_type != "String" {
            types.insert(name.clone(), value.data_type);
        }
        attributes.insert(name, text);
    }
    Some(Received {
        body: message.body.unwrap_or_default(),
        id: message.message_id.unwrap_or_default(),
        attributes,
        types,
        receipt: message.receipt_handle?,
        sent_at_us: sent_at_ms.and_then(|ms| ms.checked_mul(1_000)),
        receives: receives.and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
    })
}
