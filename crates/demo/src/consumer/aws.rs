//! Topics and queues in the stand-in.

use std::fmt::Write;

use aws_sdk_sns::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName;

use super::super::standin::{ACCESS_KEY, Standin};
use super::Error;

/// Clients of SNS and SQS at one endpoint.
#[derive(Debug, Clone)]
pub struct Aws {
    sns: aws_sdk_sns::Client,
    sqs: aws_sdk_sqs::Client,
}

/// For `map_err`: a failed call with all of its causes in words.
pub(in super::super) fn failed<E: std::error::Error>(
    call: &'static str,
) -> impl FnOnce(E) -> Error {
    move |error| {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            // Writing to a String cannot fail.
            write!(reason, ": {inner}").unwrap_or_default();
            cause = inner.source();
        }
        Error::Aws { call, reason }
    }
}

/// FIFO topics and queues are told by the end of their names.
fn is_fifo(name: &str) -> bool {
    name.strip_suffix(".fifo").is_some()
}

impl Aws {
    /// Clients of the stand-in at `url`.
    pub fn at(url: &str) -> Self {
        let credentials = Credentials::new(ACCESS_KEY, ACCESS_KEY, None, None, "demo");
        let http = aws_smithy_http_client::Builder::new().build_http();
        let region = Region::from_static(Standin::REGION);
        let sns = aws_sdk_sns::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(url)
            .region(region.clone())
            .credentials_provider(credentials.clone())
            .http_client(http.clone())
            .build();
        let sqs = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(url)
            .region(region)
            .credentials_provider(credentials)
            .http_client(http)
            .build();
        Self { sns: aws_sdk_sns::Client::from_conf(sns), sqs: aws_sdk_sqs::Client::from_conf(sqs) }
    }

    /// What it calls SQS with.
    pub fn sqs(&self) -> &aws_sdk_sqs::Client {
        &self.sqs
    }

    /// Makes a topic and returns its ARN. A name that ends in `.fifo` makes a FIFO topic.
    pub async fn create_topic(&self, name: &str) -> Result<String, Error> {
        let mut request = self.sns.create_topic().name(name);
        if is_fifo(name) {
            request = request.attributes("FifoTopic", "true");
        }
        let answer = request.send().await.map_err(failed("sns:CreateTopic"))?;
        Ok(answer.topic_arn.unwrap_or_default())
    }

    /// Makes a queue that receives what the topic delivers, raw, and returns its URL. `kinds`, unless
    /// empty, are the only values of the attribute `kind` that it gets.
    pub async fn subscribe_queue(
        &self,
        topic_arn: &str,
        name: &str,
        kinds: &[&str],
    ) -> Result<String, Error> {
        let policy = || serde_json::json!({ "kind": kinds }).to_string();
        let policy = (!kinds.is_empty()).then(policy);
        let (queue_url, _) = self.subscribe_filtered(topic_arn, name, policy).await?;
        Ok(queue_url)
    }

    /// The same with a filter policy; the queue's URL and the subscription's ARN. A queue that is there is
    /// subscribed.
    pub async fn subscribe_filtered(
        &self,
        topic_arn: &str,
        name: &str,
        policy: Option<String>,
    ) -> Result<(String, String), Error> {
        let queue_url = self.create_queue(name).await?;
        let queue_arn = self.queue_arn(&queue_url).await?;

        // As AWS requires it.
        let policy_of_queue = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": { "Service": "sns.amazonaws.com" },
                "Action": "sqs:SendMessage",
                "Resource": queue_arn,
                "Condition": { "ArnEquals": { "aws:SourceArn": topic_arn } },
            }],
        });
        let admit = self.sqs.set_queue_attributes().queue_url(&queue_url);
        let admit = admit.attributes(QueueAttributeName::Policy, policy_of_queue.to_string());
        admit.send().await.map_err(failed("sqs:SetQueueAttributes"))?;

        let mut subscription = self
            .sns
            .subscribe()
            .topic_arn(topic_arn)
            .protocol("sqs")
            .endpoint(queue_arn)
            .attributes("RawMessageDelivery", "true");
        if let Some(policy) = policy {
            subscription = subscription.attributes("FilterPolicy", policy);
        }
        let subscribed = subscription.send().await.map_err(failed("sns:Subscribe"))?;
        Ok((queue_url, subscribed.subscription_arn.unwrap_or_default()))
    }

    /// Makes a queue, or finds it, and returns its URL. A name that ends in `.fifo` makes a FIFO queue.
    pub async fn create_queue(&self, name: &str) -> Result<String, Error> {
        let mut request = self.sqs.create_queue().queue_name(name);
        if is_fifo(name) {
            request = request.attributes(QueueAttributeName::FifoQueue, "true");
        }
        let queue = request.send().await.map_err(failed("sqs:CreateQueue"))?;
        Ok(queue.queue_url.unwrap_or_default())
    }

    /// How many messages a queue has, hidden ones included.
    pub async fn messages(&self, queue_url: &str) -> Result<u64, Error> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let request = self.sqs.get_queue_attributes().queue_url(queue_url);
        let request = request.set_attribute_names(Some(names.to_vec()));
        let answer = request.send().await.map_err(failed("sqs:GetQueueAttributes"))?;
        let found = answer.attributes.unwrap_or_default();
        Ok(names.iter().filter_map(|name| found.get(name)?.parse::<u64>().ok()).sum())
    }

    /// Ends a subscription: what is published from here on does not reach its queue.
    pub async fn unsubscribe(&self, subscription_arn: &str) -> Result<(), Error> {
        let request = self.sns.unsubscribe().subscription_arn(subscription_arn);
        request.send().await.map_err(failed("sns:Unsubscribe"))?;
        Ok(())
    }

    /// Gives a subscription another filter policy.
    pub async fn set_filter(&self, subscription_arn: &str, policy: String) -> Result<(), Error> {
        let request = self.sns.set_subscription_attributes().subscription_arn(subscription_arn);
        let request = request.attribute_name("FilterPolicy").attribute_value(policy);
        request.send().await.map_err(failed("sns:SetSubscriptionAttributes"))?;
        Ok(())
    }

    /// URL of a queue that is there.
    pub async fn queue_url(&self, name: &str) -> Result<String, Error> {
        let request = self.sqs.get_queue_url().queue_name(name);
        let answer = request.send().await.map_err(failed("sqs:GetQueueUrl"))?;
        Ok(answer.queue_url.unwrap_or_default())
    }

    async fn queue_arn(&self, queue_url: &str) -> Result<String, Error> {
        let answer = self
            .sqs
            .get_queue_attributes()
            .queue_url(queue_url)
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await
            .map_err(failed("sqs:GetQueueAttributes"))?;
        let arn = answer.attributes.as_ref().and_then(|all| all.get(&QueueAttributeName::QueueArn));
        arn.cloned().ok_or_else(|| Error::Aws {
            call: "sqs:GetQueueAttributes",
            reason: "no ARN in the answer".to_owned(),
        })
    }
}
