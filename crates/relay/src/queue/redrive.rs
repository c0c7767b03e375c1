//! Messages of a dead letter queue, moved back to the queue that a relay reads.
//!
//! A message is sent first and deleted then: one that is moved twice because of a failure between the two
//! has the same numbers, and a relay skips what it has delivered. On FIFO queues the order in a group is
//! kept: a move that fails ends the work.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};

use super::{BATCH_MAX, Queue, QueueError, seconds};
use crate::hash::hash;

/// How long an answer is waited for. A long poll asks all servers, so an empty answer means empty.
const WAIT_SECONDS: i32 = 5;
/// How long messages are hidden while they are moved, ten at a time.
const HIDDEN: Duration = Duration::from_mins(2);

/// Moves messages.
#[derive(Debug, Clone)]
pub struct Redrive {
    client: Client,
    from: Queue,
    to: Queue,
}

/// A message that is to be moved.
#[derive(Debug, Clone)]
pub struct Dead(Message);

impl Redrive {
    /// From the queue at one URL to that at another.
    pub fn new(client: &Client, from: &str, to: &str) -> Self {
        let queue = |url: &str| Queue::new(client.clone(), url, HIDDEN);
        Self { client: client.clone(), from: queue(from), to: queue(to) }
    }

    /// Messages that are still there, those that are hidden just now included, about.
    pub async fn left(&self) -> Result<u64, QueueError> {
        let facts = self.from.facts().await?;
        Ok(facts.visible + facts.hidden)
    }

    /// The next messages, ten at most; none if there are no more.
    pub async fn receive(&self) -> Result<Vec<Dead>, QueueError> {
        let receive = self.client.receive_message().queue_url(&self.from.url);
        let receive = receive
            .max_number_of_messages(BATCH_MAX)
            .wait_time_seconds(WAIT_SECONDS)
            .visibility_timeout(seconds(HIDDEN))
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::MessageGroupId);
        let answer = Box::pin(receive.send()).await;
        let answer = answer.map_err(|error| self.from.error("ReceiveMessage", &error))?;
        Ok(answer.messages.unwrap_or_default().into_iter().map(Dead).collect())
    }

    /// Moves one.
    pub async fn move_back(&self, message: &Dead) -> Result<(), QueueError> {
        let message = &message.0;
        let group = message
            .attributes
            .as_ref()
            .and_then(|all| all.get(&MessageSystemAttributeName::MessageGroupId));
        let is_fifo = self.to.url.strip_suffix(".fifo").is_some();
        // The id that it had could still be known to the queue, which would then drop it. This one is
        // the same when a move is repeated.
        let deduplication = message.message_id.as_ref().filter(|_| is_fifo);
        let send = self.client.send_message().queue_url(&self.to.url);
        let send = send
            .message_body(message.body.as_deref().unwrap_or_default())
            .set_message_attributes(attributes(message))
            .set_message_group_id(
                group.map(|group| if is_fifo { group_again(group) } else { group.clone() }),
            )
            .set_message_deduplication_id(deduplication.map(|id| format!("redrive-{id}")));
        Box::pin(send.send()).await.map_err(|error| self.to.error("SendMessage", &error))?;
        self.from.delete(&message.receipt_handle.iter().cloned().collect::<Vec<_>>()).await
    }

    /// Shows messages again that were received and not moved.
    pub async fn give_back(&self, messages: &[Dead]) -> Result<(), QueueError> {
        let receipts = messages.iter().filter_map(|message| message.0.receipt_handle.clone());
        self.from.give_back(&receipts.collect::<Vec<_>>(), Duration::ZERO).await
    }
}

/// A group in which the messages of a group keep their order. Not the same: while a relay holds what stands
/// behind them, the queue would show it no other message of that.
fn group_again(group: &str) -> String {
    const BYTES_MAX: usize = 128;
    let again = format!("{group}!redrive");
    if again.len() <= BYTES_MAX { again } else { hash(&again) }
}

fn attributes(message: &Message) -> Option<HashMap<String, MessageAttributeValue>> {
    message.message_attributes.clone().filter(|attributes| !attributes.is_empty())
}
