//! From the sink through topics into queues, read with the SDK as a consumer would: on our own
//! endpoint, and on an independent implementation.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sns::Client as SnsClient;
use aws_sdk_sqs::Client as SqsClient;
use aws_sdk_sqs::types::{Message as Received, QueueAttributeName};
use binpulse::aws::{Deadlines, Shared};
use binpulse::sink::sns::{Config, Sns};
use binpulse::sink::{self, Settlement};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::aws::{Endpoint, REGION};
use crate::ministack::MiniStack;
use crate::rig::{message, place};

/// Longer than any long poll here.
const PATIENT: Deadlines = Deadlines {
    connect: Duration::from_secs(5),
    read: Duration::from_secs(20),
    operation: Duration::from_secs(30),
};
const MESSAGES: u64 = 60;
const LANES: u64 = 5;

/// A topic with a queue behind it.
struct Pipe {
    shared: Shared,
    url: String,
    sns: SnsClient,
    sqs: SqsClient,
    topic: Arc<str>,
    queue: String,
}

impl Pipe {
    async fn lay(url: &str, name: &str, policy: Option<&str>) -> Self {
        let shared = Shared::stand_in(REGION).await;
        let settings = shared.service(Some(url), None, PATIENT);
        let (sns, sqs) = (SnsClient::new(&settings), SqsClient::new(&settings));
        let is_fifo = name.strip_suffix(".fifo").is_some();
        let mut topic = sns.create_topic().name(name);
        let mut queue = sqs
            .create_queue()
            .queue_name(name)
            .attributes(QueueAttributeName::Policy, ADMIT_SNS)
            .attributes(QueueAttributeName::VisibilityTimeout, "60");
        if is_fifo {
            topic = topic.attributes("FifoTopic", "true");
            queue = queue.attributes(QueueAttributeName::FifoQueue, "true");
        }
        let topic = topic.send().await.expect("a topic").topic_arn.expect("an ARN");
        let queue = queue.send().await.expect("a queue").queue_url.expect("a URL");
        let arn = sqs
            .get_queue_attributes()
            .queue_url(&queue)
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await
            .expect("attributes")
            .attributes
            .and_then(|all| all.get(&QueueAttributeName::QueueArn).cloned())
            .expect("an ARN");
        let mut subscribe = sns
            .subscribe()
            .topic_arn(&topic)
            .protocol("sqs")
            .endpoint(arn)
            .attributes("RawMessageDelivery", "true");
        if let Some(policy) = policy {
            subscribe = subscribe.attributes("FilterPolicy", policy);
        }
        subscribe.send().await.expect("a subscription");
        Self { shared, url: url.to_owned(), sns, sqs, topic: topic.into(), queue }
    }

    /// Publishes through the sink, everything, until it is settled.
    async fn publish(&self) {
        let config = Config { endpoint_url: Some(self.url.clone()), ..Config::default() };
        let topics = std::slice::from_ref(&self.topic);
        let sns = Sns::open(config, &self.shared, topics).await.expect("the topic is there");
        let (feed, intake) = sink::intake(1 << 20);
        let (sender, mut settlements) = mpsc::channel(16);
        let running = tokio::spawn(sns.run(intake, sender, CancellationToken::new()));
        for id in 0..MESSAGES {
            let lane = u32::try_from(id % LANES).expect("few lanes");
            feed.send(message(id, lane, 200, &self.topic)).await.expect("the sink runs");
        }
        drop(feed);
        let mut settled = 0;
        while let Some(settlement) = settlements.recv().await {
            assert!(matches!(settlement, Settlement::Settled { .. }), "{settlement:?}");
            settled += 1;
        }
        running.await.expect("no panic").expect("all is delivered");
        assert_eq!(settled, MESSAGES);
    }

    /// Receives and deletes until there is nothing more.
    async fn drain(&self) -> Vec<Received> {
        let mut all = Vec::new();
        loop {
            let received = self
                .sqs
                .receive_message()
                .queue_url(&self.queue)
                .max_number_of_messages(10)
                .message_attribute_names("All")
                .wait_time_seconds(1)
                .send()
                .await
                .expect("received");
            let messages = received.messages.unwrap_or_default();
            if messages.is_empty() {
                return all;
            }
            for message in &messages {
                let receipt = message.receipt_handle().expect("a receipt");
                let deletion = self.sqs.delete_message().queue_url(&self.queue);
                deletion.receipt_handle(receipt).send().await.expect("deleted");
            }
            all.extend(messages);
        }
    }
}

const ADMIT_SNS: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"*"}]}"#;

async fn arrives_in_order_per_lane(url: &str, name: &str) {
    let pipe = Pipe::lay(url, name, None).await;
    pipe.publish().await;
    let received = pipe.drain().await;
    let mut lanes: HashMap<u32, Vec<u64>> = HashMap::new();
    for message in &received {
        let (lane, id) = place(message.body().expect("a body"));
        lanes.entry(lane).or_default().push(id);
        let attributes = message.message_attributes().expect("attributes");
        assert_eq!(attributes["kind"].string_value(), Some("change"));
        assert_eq!(attributes["op"].data_type(), "String.Array");
    }
    for (lane, ids) in &mut lanes {
        let is_fifo = name.strip_suffix(".fifo").is_some();
        assert!(!is_fifo || ids.is_sorted(), "{url} {name} lane {lane}: {ids:?}");
        ids.sort_unstable();
        ids.dedup();
    }
    assert_eq!(lanes.values().map(Vec::len).sum::<usize>() as u64, MESSAGES, "{url} {name}");
}

#[tokio::test]
async fn what_the_sink_settled_is_in_the_queue() {
    let endpoint = Endpoint::start().await;
    for name in ["changes", "changes.fifo"] {
        arrives_in_order_per_lane(&endpoint.url(), name).await;
    }
}

#[tokio::test]
async fn an_independent_implementation_agrees() {
    let ministack = MiniStack::start().await;
    for name in ["changes", "changes.fifo"] {
        arrives_in_order_per_lane(ministack.url(), name).await;
    }
}

#[tokio::test]
async fn filter_policies_choose_by_attribute_on_both() {
    let endpoint = Endpoint::start().await;
    let ministack = MiniStack::start().await;
    for url in [endpoint.url().as_str(), ministack.url()] {
        for (name, policy, passes) in [
            ("exact", r#"{"kind":["change"]}"#, true),
            ("array", r#"{"op":["update"]}"#, true),
            ("other", r#"{"kind":["canary"]}"#, false),
            ("but", r#"{"kind":[{"anything-but":["change"]}]}"#, false),
            ("prefix", r#"{"kind":[{"prefix":"cha"}]}"#, true),
            ("missing", r#"{"nowhere":[{"anything-but":["x"]}]}"#, false),
        ] {
            let pipe = Pipe::lay(url, name, Some(policy)).await;
            pipe.publish().await;
            let expected = if passes { MESSAGES } else { 0 };
            assert_eq!(pipe.drain().await.len() as u64, expected, "{url} {name}");
        }
    }
}

#[tokio::test]
async fn a_fifo_topic_forgets_a_deduplication_id_after_five_minutes() {
    let endpoint = Endpoint::start().await;
    let pipe = Pipe::lay(&endpoint.url(), "t.fifo", None).await;
    pipe.publish().await;
    pipe.publish().await;
    assert_eq!(pipe.drain().await.len() as u64, MESSAGES);
    endpoint.advance(Duration::from_secs(301));
    pipe.publish().await;
    assert_eq!(pipe.drain().await.len() as u64, MESSAGES);
}

#[tokio::test]
async fn deliveries_that_sns_does_not_retry_are_lost_and_noted() {
    let endpoint = Endpoint::start().await;
    let pipe = Pipe::lay(&endpoint.url(), "t", None).await;
    let mut many = pipe.sns.publish().topic_arn(&*pipe.topic).message("x");
    for number in 0..11 {
        let value = aws_sdk_sns::types::MessageAttributeValue::builder()
            .data_type("String")
            .string_value("v")
            .build()
            .expect("complete");
        many = many.message_attributes(format!("a{number}"), value);
    }
    many.send().await.expect("SNS takes it");
    pipe.sqs
        .set_queue_attributes()
        .queue_url(&pipe.queue)
        .attributes(QueueAttributeName::Policy, "{}")
        .send()
        .await
        .expect("set");
    pipe.sns.publish().topic_arn(&*pipe.topic).message("y").send().await.expect("SNS takes it");
    assert!(pipe.drain().await.is_empty());
    let undelivered = std::mem::take(&mut endpoint.shared.store().undelivered);
    assert_eq!(undelivered.len(), 2, "{undelivered:?}");
    assert!(undelivered[0].contains("10 attributes") && undelivered[1].contains("policy"));
}
