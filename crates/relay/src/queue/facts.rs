//! What a queue says of itself, for whoever checks whether it is fit.

use std::time::Duration;

use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, QueueAttributeName,
};
use serde_json::Value;

use super::{Queue, QueueError, RETENTION_DEFAULT};

/// Topics that are taken from a queue's policy, at most.
const TOPICS_MAX: usize = 16;

/// A queue, as its attributes have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its ARN.
    pub arn: String,
    /// How long a message is kept.
    pub retention: Duration,
    /// Its dead letter queue, if it has one.
    pub dead_letters: Option<DeadLetters>,
    /// Messages that can be received, about.
    pub visible: u64,
    /// Messages that were received and not deleted, about.
    pub hidden: u64,
    /// ARNs of the topics that the queue's policy lets send.
    pub topics: Vec<String>,
}

/// Where SQS puts messages that were received too often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetters {
    /// ARN of that queue.
    pub arn: String,
    /// How often a message is received before.
    pub receives_max: u64,
}

impl Queue {
    /// Asks the queue for its attributes.
    pub async fn facts(&self) -> Result<Facts, QueueError> {
        let get = self.client.get_queue_attributes().queue_url(&self.url);
        let answer = Box::pin(get.attribute_names(QueueAttributeName::All).send()).await;
        let answer = answer.map_err(|error| self.error("GetQueueAttributes", &error))?;
        let attributes = answer.attributes.unwrap_or_default();
        let text = |name| attributes.get(&name).map(String::as_str);
        let number = |name| text(name).and_then(|value| value.parse::<u64>().ok());
        let retention = number(QueueAttributeName::MessageRetentionPeriod);
        Ok(Facts {
            arn: text(QueueAttributeName::QueueArn).unwrap_or_default().to_owned(),
            retention: retention.map_or(RETENTION_DEFAULT, Duration::from_secs),
            dead_letters: text(QueueAttributeName::RedrivePolicy).and_then(dead_letters),
            visible: number(QueueAttributeName::ApproximateNumberOfMessages).unwrap_or_default(),
            hidden: number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
                .unwrap_or_default(),
            topics: text(QueueAttributeName::Policy).map(topics).unwrap_or_default(),
        })
    }

    /// Whether deleting messages and changing their visibility are allowed. No message is touched: the
    /// entries name none, and fail by themselves where the calls are allowed.
    pub async fn may_finish(&self) -> Result<(), QueueError> {
        let delete = self.client.delete_message_batch().queue_url(&self.url);
        let entry = DeleteMessageBatchRequestEntry::builder().id("0").receipt_handle("none");
        let delete = Box::pin(delete.set_entries(entry.build().ok().map(|it| vec![it])).send());
        delete.await.map_err(|error| self.error("DeleteMessageBatch", &error))?;
        let change = self.client.change_message_visibility_batch().queue_url(&self.url);
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
            .id("0")
            .receipt_handle("none")
            .visibility_timeout(0);
        let change = Box::pin(change.set_entries(entry.build().ok().map(|it| vec![it])).send());
        change.await.map_err(|error| self.error("ChangeMessageVisibilityBatch", &error))?;
        Ok(())
    }
}

/// `RedrivePolicy`; its number may be a text.
fn dead_letters(policy: &str) -> Option<DeadLetters> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    let receives = policy.get("maxReceiveCount")?;
    let receives_max = receives.as_u64().or_else(|| receives.as_str()?.parse().ok())?;
    Some(DeadLetters { arn: policy.get("deadLetterTargetArn")?.as_str()?.to_owned(), receives_max })
}

/// Topics that statements of `Policy` name under `aws:SourceArn`.
fn topics(policy: &str) -> Vec<String> {
    let Ok(policy) = serde_json::from_str::<Value>(policy) else { return Vec::new() };
    let many = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    let statements = policy.get("Statement").map(many).unwrap_or_default();
    let conditions =
        statements.iter().filter_map(|statement| statement.get("Condition")?.as_object());
    let named = conditions.flat_map(|condition| condition.values()).filter_map(Value::as_object);
    let arns = named
        .flat_map(|keys| keys.iter().filter(|(key, _)| key.eq_ignore_ascii_case("aws:SourceArn")));
    let arns = arns.flat_map(|(_, arns)| many(arns));
    let arns = arns.filter_map(|arn| arn.as_str().map(str::to_owned));
    // A pattern is no topic that can be asked.
    let mut topics: Vec<_> =
        arns.filter(|arn| arn.contains(":sns:") && !arn.contains(['*', '?'])).collect();
    topics.sort_unstable();
    topics.dedup();
    topics.truncate(TOPICS_MAX);
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redrive_policy_is_read_with_its_number_as_number_or_text() {
        let expected = Some(DeadLetters { arn: "arn:q".into(), receives_max: 5 });
        for count in ["5", "\"5\""] {
            let policy = format!(r#"{{"deadLetterTargetArn":"arn:q","maxReceiveCount":{count}}}"#);
            assert_eq!(dead_letters(&policy), expected);
        }
        for damaged in ["", "{}", "[1]", r#"{"maxReceiveCount":-1,"deadLetterTargetArn":"arn:q"}"#]
        {
            assert_eq!(dead_letters(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn topics_come_from_the_conditions_of_a_policy_without_patterns() {
        let policy = r#"{"Statement":[
            {"Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:sns:r:1:b"}}},
            {"Condition":{"ArnLike":{"AWS:SourceArn":["arn:aws:sns:r:1:a","arn:aws:sns:r:1:*"]},
                          "StringEquals":{"aws:SourceAccount":"1"}}},
            {"Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:s3:::bucket"}}}, {}]}"#;
        assert_eq!(topics(policy), ["arn:aws:sns:r:1:a", "arn:aws:sns:r:1:b"]);
        let one =
            r#"{"Statement":{"Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:sns:r:1:b"}}}}"#;
        assert_eq!(topics(one), ["arn:aws:sns:r:1:b"]);
        assert_eq!(topics("no JSON"), Vec::<String>::new());
    }
}
