//! An SNS topic: a request is a message.

use aws_sdk_sns::Client;
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};

use super::Request;
use super::aws::Failure;
use super::batch::{self, Api, Batched, attributes, group, text};

/// `MaximumMessageSize` of a topic that does not tell, bytes.
pub const MESSAGE_BYTES_DEFAULT: usize = 262_144;

/// A topic, by its ARN, that requests are published to.
pub type Sns = Batched<Client>;

impl Api for Client {
    type Entry = PublishBatchRequestEntry;

    fn entry(index: usize, request: &Request, is_fifo: bool) -> Result<Self::Entry, Failure> {
        let attribute = |data_type: &str, value: &str| {
            MessageAttributeValue::builder().data_type(data_type).string_value(value).build()
        };
        PublishBatchRequestEntry::builder()
            .id(index.to_string())
            .message(text(request))
            .set_message_attributes(Some(attributes(request, attribute)?))
            .set_message_group_id(is_fifo.then(|| group(request)))
            .set_message_deduplication_id(is_fifo.then(|| request.id.clone()))
            .build()
            .map_err(|error| Failure::of_contents(&error))
    }

    async fn send(
        &self,
        to: &str,
        entries: Vec<Self::Entry>,
    ) -> Result<Vec<Option<Failure>>, Failure> {
        let count = entries.len();
        let call =
            self.publish_batch().topic_arn(to).set_publish_batch_request_entries(Some(entries));
        let answer = call.send().await.map_err(|error| Failure::of_call(&error))?;
        let accepted = answer.successful().iter().filter_map(|entry| Some((entry.id()?, None)));
        let failed = answer.failed().iter().map(|entry| {
            let failure = Failure::of_entry(entry.code(), entry.message(), entry.sender_fault());
            (entry.id(), Some(failure))
        });
        Ok(batch::results(count, accepted.chain(failed)))
    }
}
