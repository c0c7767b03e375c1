//! An SQS queue: a request is a message.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};

use super::Request;
use super::aws::Failure;
use super::batch::{self, Api, Batched, attributes, group, text};

/// `MaximumMessageSize` of a queue that does not tell, bytes.
pub const MESSAGE_BYTES_DEFAULT: usize = 1_048_576;

/// A queue, by its URL, that requests are sent to.
pub type Sqs = Batched<Client>;

impl Api for Client {
    type Entry = SendMessageBatchRequestEntry;

    fn entry(index: usize, request: &Request, is_fifo: bool) -> Result<Self::Entry, Failure> {
        let attribute = |data_type: &str, value: &str| {
            MessageAttributeValue::builder().data_type(data_type).string_value(value).build()
        };
        SendMessageBatchRequestEntry::builder()
            .id(index.to_string())
            .message_body(text(request))
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
        let call = self.send_message_batch().queue_url(to).set_entries(Some(entries));
        let answer = call.send().await.map_err(|error| Failure::of_call(&error))?;
        let accepted = answer.successful().iter().map(|entry| (entry.id(), None));
        let failed = answer.failed().iter().map(|entry| {
            let failure = Failure::of_entry(entry.code(), entry.message(), entry.sender_fault());
            (entry.id(), Some(failure))
        });
        Ok(batch::results(count, accepted.chain(failed)))
    }
}
