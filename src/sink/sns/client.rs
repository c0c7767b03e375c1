//! Calls to SNS: the only place that knows the SDK.

use std::collections::HashMap;
use std::error::Error as StdError;

use aws_config::SdkConfig;
use aws_sdk_sns::Client;
use aws_sdk_sns::config::http::HttpResponse;
use aws_sdk_sns::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sns::operation::publish_batch::PublishBatchOutput;
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};

use super::policy::{CALL_TOO_LARGE, Failure, classify_call, classify_entry};
use super::queue::Pending;
use crate::aws::{self, chain};
use crate::encode::Message;
use crate::excerpt::excerpt;
use crate::sink::FailureClass;

/// `MaximumMessageSize` of a topic that does not tell: the default, 256 KiB.
pub const MESSAGE_BYTES_DEFAULT: usize = 262_144;

/// What a topic's attributes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFacts {
    /// `MaximumMessageSize`, bytes: of a message, and of a whole batch.
    pub message_bytes_max: usize,
    /// `FifoTopic`.
    pub fifo: bool,
    /// `ContentBasedDeduplication`; of no consequence, since explicit ids go first.
    pub content_based_deduplication: bool,
    /// `FifoThroughputScope`: whether the 3,000 messages a second are a group's and not the topic's.
    pub throughput_per_group: bool,
}

/// What became of one entry of a call that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EntryResult {
    Accepted,
    Failed(Failure),
}

/// A client and nothing else.
#[derive(Debug, Clone)]
pub(super) struct SnsClient {
    client: Client,
}

impl SnsClient {
    pub(super) fn new(config: &SdkConfig) -> Self {
        Self { client: Client::new(config) }
    }

    pub(super) async fn facts(&self, arn: &str) -> Result<TopicFacts, Failure> {
        let answer = self
            .client
            .get_topic_attributes()
            .topic_arn(arn)
            .send()
            .await
            .map_err(|error| failure(&error))?;
        let attribute = |name: &str| answer.attributes().and_then(|all| all.get(name));
        let is_set = |name| attribute(name).is_some_and(|value| value == "true");
        let limit = attribute("MaximumMessageSize").and_then(|value| value.parse().ok());
        Ok(TopicFacts {
            message_bytes_max: limit.filter(|limit| *limit > 0).unwrap_or(MESSAGE_BYTES_DEFAULT),
            fifo: is_set("FifoTopic"),
            content_based_deduplication: is_set("ContentBasedDeduplication"),
            throughput_per_group: attribute("FifoThroughputScope")
                .is_some_and(|value| value == "MessageGroup"),
        })
    }

    /// Publishes in one call. `Ok` has a result for each message, in their order.
    pub(super) async fn publish(
        &self,
        arn: &str,
        batch: &[Pending],
    ) -> Result<Vec<EntryResult>, Failure> {
        let fifo = aws::is_fifo(arn);
        let mut entries = Vec::with_capacity(batch.len());
        for (index, pending) in batch.iter().enumerate() {
            entries.push(entry(index, fifo, &pending.ticket.message)?);
        }
        let answer = self
            .client
            .publish_batch()
            .topic_arn(arn)
            .set_publish_batch_request_entries(Some(entries))
            .send()
            .await
            .map_err(|error| failure(&error))?;
        Ok(results(&answer, batch.len()))
    }
}

/// The entry of one call. The body is copied: the SDK wants to own it, and a retry needs it again.
/// Encoding it as a form and hashing it for the signature cost many times the copy.
fn entry(index: usize, fifo: bool, message: &Message) -> Result<PublishBatchRequestEntry, Failure> {
    let mut attributes = HashMap::with_capacity(message.attributes.len());
    for attribute in &message.attributes {
        let value = MessageAttributeValue::builder()
            .data_type(attribute.data_type.as_str())
            .string_value(attribute.value.as_str())
            .build()
            .map_err(|error| ours(&error))?;
        attributes.insert(attribute.name.to_string(), value);
    }
    PublishBatchRequestEntry::builder()
        .id(index.to_string())
        .message(message.body.as_str())
        .set_message_attributes((!attributes.is_empty()).then_some(attributes))
        .set_message_group_id(message.group_id.clone())
        // A standard topic refuses the id.
        .set_message_deduplication_id(message.deduplication_id.clone().filter(|_| fifo))
        .build()
        .map_err(|error| ours(&error))
}

fn results(answer: &PublishBatchOutput, entries: usize) -> Vec<EntryResult> {
    let lost = Failure {
        class: FailureClass::ServerError,
        code: "MissingEntry".to_owned(),
        text: "the response lists this entry neither as successful nor as failed".to_owned(),
    };
    let mut results = vec![EntryResult::Failed(lost); entries];
    for success in answer.successful() {
        let index = success.id().and_then(|id| id.parse::<usize>().ok());
        if let Some(result) = index.and_then(|index| results.get_mut(index)) {
            *result = EntryResult::Accepted;
        }
    }
    for failed in answer.failed() {
        let Some(result) = failed.id().parse().ok().and_then(|index: usize| results.get_mut(index))
        else {
            continue;
        };
        *result = EntryResult::Failed(Failure {
            class: classify_entry(failed.code(), failed.sender_fault()),
            code: excerpt(failed.code()),
            text: excerpt(failed.message().unwrap_or_default()),
        });
    }
    results
}

fn failure<E>(error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let failure = named(error, status);
    let is_middlebox = status == Some(413) && failure.class == FailureClass::Unknown;
    let code = if is_middlebox { CALL_TOO_LARGE.to_owned() } else { excerpt(&failure.code) };
    let text = match status {
        Some(status) => format!("{} (HTTP {status})", failure.text),
        None => failure.text,
    };
    Failure { code, text: excerpt(&text), ..failure }
}

fn named<E>(error: &SdkError<E, HttpResponse>, status: Option<u16>) -> Failure
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let words = chain(error);
    if let (Some(code), Some(_)) = (error.code(), status) {
        let text = error.message().map_or_else(|| words.clone(), excerpt);
        return Failure { class: classify_call(code, status), code: excerpt(code), text };
    }
    let (class, code) = match error {
        SdkError::TimeoutError(_) => (FailureClass::Timeout, "Timeout"),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            (FailureClass::Timeout, "Timeout")
        }
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) if no_identity(&words) => {
            (FailureClass::Credentials, "NoCredentials")
        }
        SdkError::DispatchFailure(_) => (FailureClass::Unreachable, "Unreachable"),
        // An answer that is no XML, or lacks an error code.
        SdkError::ServiceError(_) | SdkError::ResponseError(_) => {
            let class = match status {
                Some(200..=299) | None => FailureClass::ServerError,
                Some(_) => classify_call("", status),
            };
            (class, "UnreadableAnswer")
        }
        // Also variants that a later SDK may bring: waited out, and shown with their words.
        SdkError::ConstructionFailure(_) | _ => (FailureClass::ServerError, "ClientError"),
    };
    Failure { class, code: code.to_owned(), text: words }
}

/// The SDK reports missing credentials as one failure to dispatch among others, untyped.
fn no_identity(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    words.contains("credential") || words.contains("identity")
}

fn ours(error: &dyn StdError) -> Failure {
    Failure { class: FailureClass::Refused, code: "UnfitEntry".to_owned(), text: chain(error) }
}
