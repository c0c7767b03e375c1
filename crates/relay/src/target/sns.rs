//! An SNS topic: a request is a message.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sns::Client;
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};

use super::aws::Failure;
use super::batch::{self, Service, attributes, group, text};
use super::receiver::Receive;
use super::{Outcome, Request};

/// `MaximumMessageSize` of a topic that does not tell, bytes.
pub const MESSAGE_BYTES_DEFAULT: usize = 262_144;

/// A topic that requests are published to. Its messages have the attributes `kind`, `lane` and `id`, those
/// of an outbox the attributes that they came with;
/// on a FIFO topic the group is the request's, and the deduplication id is the request's id.
#[derive(Debug, Clone)]
pub struct Sns {
    client: Client,
    arn: String,
    message_bytes_max: usize,
    timeout: Duration,
}

impl Sns {
    /// The topic with this ARN. The client's own retries should be off: attempts are counted
    /// elsewhere. `message_bytes_max` is the topic's `MaximumMessageSize`; `timeout` is the deadline of
    /// a call.
    pub fn new(client: Client, arn: String, message_bytes_max: usize, timeout: Duration) -> Self {
        Self { client, arn, message_bytes_max, timeout }
    }

    /// Makes one attempt at each.
    pub async fn deliver_batch(&self, requests: &[Request]) -> Vec<Outcome> {
        batch::deliver(self, requests).await
    }

    fn entry(&self, index: usize, request: &Request) -> Result<PublishBatchRequestEntry, Failure> {
        let mut named = HashMap::new();
        for (name, data_type, value) in attributes(request) {
            let value = MessageAttributeValue::builder()
                .data_type(data_type)
                .string_value(value)
                .build()
                .map_err(|error| Failure::of_contents(&error))?;
            named.insert(name.to_owned(), value);
        }
        PublishBatchRequestEntry::builder()
            .id(index.to_string())
            .message(text(request))
            .set_message_attributes(Some(named))
            .set_message_group_id(self.is_fifo().then(|| group(request)))
            .set_message_deduplication_id(self.is_fifo().then(|| request.id.clone()))
            .build()
            .map_err(|error| Failure::of_contents(&error))
    }
}

impl Receive for Sns {
    fn batch_max(&self) -> usize {
        batch::ENTRIES_MAX
    }

    async fn deliver(&self, requests: &[Request]) -> Vec<Outcome> {
        self.deliver_batch(requests).await
    }

    fn place(&self) -> String {
        self.arn.clone()
    }
}

impl Service for Sns {
    async fn send(&self, requests: &[&Request]) -> Result<Vec<Option<Failure>>, Failure> {
        let entries =
            requests.iter().enumerate().map(|(index, request)| self.entry(index, request));
        let call = self
            .client
            .publish_batch()
            .topic_arn(&self.arn)
            .set_publish_batch_request_entries(Some(entries.collect::<Result<_, _>>()?))
            .send();
        let answer = match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer.map_err(|error| Failure::of_call(&error))?,
            Err(_) => return Err(Failure::of_time(self.timeout)),
        };
        let accepted = answer.successful().iter().filter_map(|entry| Some((entry.id()?, None)));
        let failed = answer.failed().iter().map(|entry| {
            let failure = Failure::of_entry(entry.code(), entry.message(), entry.sender_fault());
            (entry.id(), Some(failure))
        });
        Ok(batch::results(requests.len(), accepted.chain(failed)))
    }

    fn is_fifo(&self) -> bool {
        self.arn.strip_suffix(".fifo").is_some()
    }

    fn bytes_max(&self) -> usize {
        self.message_bytes_max
    }
}
