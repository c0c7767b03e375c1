//! SQS and SNS: an independent implementation of both, and one that fails as it is told.

use std::collections::BTreeMap;

use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{Message, QueueAttributeName};
use binpulse_demo::{Installed, Standin};
use binpulse_relay::target::receiver::Receive;
use binpulse_relay::target::sns::{self, Sns};
use binpulse_relay::target::sqs::{self, Sqs};
use binpulse_relay::target::{Outcome, Request};
use http_body_util::Full;
use hyper::Response;
use serde_json::{Value, json};

use crate::receiver::{Received, Receiver};
use crate::world::{LONG, SHORT, failure, request, skipped};

fn sqs_client(url: &str) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::from_static(Standin::REGION))
        .credentials_provider(Credentials::new("demo", "demo", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    aws_sdk_sqs::Client::from_conf(config.build())
}

fn sns_client(url: &str) -> aws_sdk_sns::Client {
    let config = aws_sdk_sns::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::from_static(Standin::REGION))
        .credentials_provider(Credentials::new("demo", "demo", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    aws_sdk_sns::Client::from_conf(config.build())
}

/// The stand-in, with what the tests need of it.
struct World {
    _standin: Standin,
    sqs: aws_sdk_sqs::Client,
    sns: aws_sdk_sns::Client,
}

impl World {
    async fn start(test: &str) -> Option<Self> {
        let installed = Installed::find().expect("a readable list");
        let Ok(program) = installed.standin() else {
            skipped(test, "the stand-in of SNS and SQS (`make deps`)");
            return None;
        };
        let standin = Standin::start(program).await.expect("started");
        let (sqs, sns) = (sqs_client(&standin.url()), sns_client(&standin.url()));
        Some(Self { _standin: standin, sqs, sns })
    }

    async fn queue(&self, name: &str) -> String {
        let mut call = self.sqs.create_queue().queue_name(name);
        if name.contains(".fifo") {
            call = call.attributes(QueueAttributeName::FifoQueue, "true");
        }
        call.send().await.expect("a queue").queue_url.expect("a URL")
    }

    /// A topic, and a queue of the same kind that gets its messages as they are.
    async fn topic(&self, name: &str) -> (String, String) {
        let mut call = self.sns.create_topic().name(name);
        if name.contains(".fifo") {
            call = call.attributes("FifoTopic", "true");
        }
        let arn = call.send().await.expect("a topic").topic_arn.expect("an ARN");
        let url = self.queue(&format!("of-{name}")).await;
        let of = QueueAttributeName::QueueArn;
        let queue = self.sqs.get_queue_attributes().queue_url(&url).attribute_names(of.clone());
        let queue = queue.send().await.expect("attributes").attributes.expect("some");
        self.sns
            .subscribe()
            .topic_arn(&arn)
            .protocol("sqs")
            .endpoint(&queue[&of])
            .attributes("RawMessageDelivery", "true")
            .send()
            .await
            .expect("subscribed");
        (arn, url)
    }

    /// Everything in a queue, in the order in which it is received.
    async fn drain(&self, url: &str) -> Vec<Message> {
        let mut all = Vec::new();
        loop {
            let call = self.sqs.receive_message().queue_url(url).max_number_of_messages(10);
            let call = call.message_attribute_names("All");
            let call = call.message_system_attribute_names("All".into());
            let found = call.send().await.expect("an answer").messages.unwrap_or_default();
            if found.is_empty() {
                return all;
            }
            for message in found {
                let handle = message.receipt_handle.clone().expect("a handle");
                let call = self.sqs.delete_message().queue_url(url).receipt_handle(handle);
                call.send().await.expect("deleted");
                all.push(message);
            }
        }
    }
}

/// Bodies by id, after a look at the attributes.
fn bodies(messages: &[Message]) -> BTreeMap<String, String> {
    let body = |message: &Message| {
        let attributes = message.message_attributes.as_ref().expect("attributes");
        let value = |name| attributes[name].string_value.clone().expect("a text");
        assert_eq!(value("kind"), "change");
        assert_eq!(value("lane"), "shop.orders#3");
        assert_eq!(attributes.len(), 3);
        (value("id"), message.body.clone().expect("a body"))
    };
    messages.iter().map(body).collect()
}

fn requests(count: u64, groups: u64) -> Vec<Request> {
    let grouped = |number| Request { group: format!("key {}", number % groups), ..request(number) };
    (0..count).map(grouped).collect()
}

fn expected(requests: &[Request]) -> BTreeMap<String, String> {
    let text = |request: &Request| String::from_utf8(request.body.to_vec()).expect("text");
    requests.iter().map(|request| (request.id.clone(), text(request))).collect()
}

fn all_delivered(outcomes: &[Outcome], count: usize) {
    assert_eq!(outcomes, vec![Outcome::Delivered; count]);
}

#[tokio::test]
async fn a_queue_and_a_topic_get_each_request_with_its_attributes() {
    let Some(world) = World::start("a queue and a topic").await else { return };
    let requests = requests(35, 3);
    let url = world.queue("plain").await;
    let queue = Sqs::new(world.sqs.clone(), url.clone(), sqs::MESSAGE_BYTES_DEFAULT, LONG);
    all_delivered(&queue.deliver(&requests).await, 35);
    let messages = world.drain(&url).await;
    assert_eq!(messages.len(), 35);
    assert_eq!(bodies(&messages), expected(&requests));

    let (arn, url) = world.topic("plain-topic").await;
    let topic = Sns::new(world.sns.clone(), arn, sns::MESSAGE_BYTES_DEFAULT, LONG);
    all_delivered(&topic.deliver(&requests).await, 35);
    let messages = world.drain(&url).await;
    assert_eq!(messages.len(), 35);
    assert_eq!(bodies(&messages), expected(&requests));
}

/// Sent twice, as after a crash: once there, in the order of each group.
#[tokio::test]
async fn fifo_keeps_the_order_of_a_group_and_knows_an_id_again() {
    let Some(world) = World::start("FIFO").await else { return };
    let requests = requests(30, 4);
    let (arn, topic_queue) = world.topic("ordered.fifo").await;
    let url = world.queue("ordered-queue.fifo").await;
    let queue = Sqs::new(world.sqs.clone(), url.clone(), sqs::MESSAGE_BYTES_DEFAULT, LONG);
    let topic = Sns::new(world.sns.clone(), arn, sns::MESSAGE_BYTES_DEFAULT, LONG);
    for _ in 0..2 {
        all_delivered(&queue.deliver(&requests).await, 30);
        all_delivered(&topic.deliver(&requests).await, 30);
    }
    for url in [url, topic_queue] {
        let messages = world.drain(&url).await;
        assert_eq!(messages.len(), 30, "{url}");
        assert_eq!(bodies(&messages), expected(&requests));
        let mut groups = BTreeMap::<String, Vec<String>>::new();
        for message in &messages {
            let group = message.attributes.as_ref().expect("attributes")
                [&aws_sdk_sqs::types::MessageSystemAttributeName::MessageGroupId]
                .clone();
            groups.entry(group).or_default().push(message.body.clone().expect("a body"));
        }
        assert_eq!(groups.len(), 4);
        for (group, bodies) in groups {
            let number = |body: &String| {
                let body: Value = serde_json::from_str(body).expect("JSON");
                body["number"].as_u64().expect("a number")
            };
            assert!(bodies.iter().map(number).is_sorted(), "{group}: {bodies:?}");
        }
    }
}

#[tokio::test]
async fn a_queue_or_topic_that_is_not_there_is_an_outage() {
    let Some(world) = World::start("no queue").await else { return };
    let url = format!("{}-gone", world.queue("there").await);
    let queue = Sqs::new(world.sqs.clone(), url, sqs::MESSAGE_BYTES_DEFAULT, LONG);
    let arn = Standin::topic_arn("gone");
    let topic = Sns::new(world.sns.clone(), arn, sns::MESSAGE_BYTES_DEFAULT, LONG);
    let mut outcomes = queue.deliver(&requests(2, 1)).await;
    outcomes.extend(topic.deliver(&requests(2, 1)).await);
    for outcome in outcomes {
        let (answer, is_outage) = failure(outcome);
        assert!(is_outage && answer.contains("HTTP 4"), "{answer}");
    }
}

fn answer(status: u16, body: impl Into<String>) -> Response<Full<bytes::Bytes>> {
    let body = Full::from(body.into());
    Response::builder().status(status).body(body).expect("an answer")
}

/// An SQS that does to each call what `decide` says of its entries.
async fn scripted(
    decide: impl Fn(&[Value]) -> (u16, Value) + Send + Sync + 'static,
) -> (Receiver, String) {
    let receiver = Receiver::start(move |call: &Received| {
        let call: Value = serde_json::from_slice(&call.body).expect("JSON");
        let (status, body) = decide(call["Entries"].as_array().expect("entries"));
        answer(status, body.to_string())
    })
    .await;
    let url = format!("http://127.0.0.1:{}", receiver.port);
    (receiver, url)
}

fn accepted(entry: &Value) -> Value {
    json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "00"})
}

fn failed(entry: &Value, code: &str, sender_fault: bool) -> Value {
    json!({"Id": entry["Id"], "Code": code, "SenderFault": sender_fault, "Message": "why"})
}

fn queue_at(url: &str, name: &str) -> Sqs {
    let queue = format!("{url}/000000000000/{name}");
    Sqs::new(sqs_client(url), queue, sqs::MESSAGE_BYTES_DEFAULT, LONG)
}

#[tokio::test]
async fn each_entry_of_a_call_has_its_own_outcome() {
    let (receiver, url) = scripted(|entries| {
        let failed = [
            failed(&entries[1], "RequestThrottled", true),
            failed(&entries[2], "InternalError", false),
            failed(&entries[3], "InvalidParameterValue", true),
            failed(&entries[4], "InvalidMessageContents", true),
            json!({"Id": "77", "Code": "x", "SenderFault": true}),
        ];
        (200, json!({"Successful": [accepted(&entries[0])], "Failed": failed}))
    })
    .await;
    let outcomes = queue_at(&url, "plain").deliver(&requests(6, 1)).await;
    assert_eq!(receiver.arrived().len(), 1);
    let said = |code: &str, is_outage| Outcome::Failed {
        answer: format!("{code}: why"),
        retry_after: None,
        is_outage,
    };
    assert_eq!(outcomes[0], Outcome::Delivered);
    assert_eq!(outcomes[1], said("RequestThrottled", true));
    assert_eq!(outcomes[2], said("InternalError", true));
    assert_eq!(outcomes[3], said("InvalidParameterValue", false));
    let refused = "InvalidMessageContents: why".to_owned();
    assert_eq!(outcomes[4], Outcome::Refused { answer: refused });
    let (answer, is_outage) = failure(outcomes[5].clone());
    assert!(is_outage && answer.contains("neither as successful nor as failed"), "{answer}");
}

/// What a topic says comes as XML.
#[tokio::test]
async fn each_entry_of_a_call_to_a_topic_has_its_own_outcome() {
    let text = "<PublishBatchResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\
        <PublishBatchResult><Successful><member><Id>1</Id><MessageId>m</MessageId></member>\
        </Successful><Failed><member><Id>0</Id><Code>KMSThrottling</Code><Message>why</Message>\
        <SenderFault>true</SenderFault></member></Failed></PublishBatchResult>\
        <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></PublishBatchResponse>";
    let receiver = Receiver::start(move |_| answer(200, text)).await;
    let client = sns_client(&format!("http://127.0.0.1:{}", receiver.port));
    let topic = Sns::new(client, Standin::topic_arn("a"), sns::MESSAGE_BYTES_DEFAULT, LONG);
    let outcomes = topic.deliver(&requests(2, 1)).await;
    assert_eq!(failure(outcomes[0].clone()), ("KMSThrottling: why".to_owned(), true));
    assert_eq!(outcomes[1], Outcome::Delivered);
}

#[tokio::test]
async fn throttling_and_silence_are_outages() {
    let cases = [
        (400, json!({"__type": "com.amazonaws.sqs#RequestThrottled", "message": "slower"})),
        (429, json!({})),
        (503, json!({"__type": "ServiceUnavailable"})),
        (403, json!({"__type": "AccessDeniedException", "message": "no"})),
        (200, json!("nonsense")),
    ];
    for (status, body) in cases {
        let (receiver, url) = scripted(move |_| (status, body.clone())).await;
        let outcomes = queue_at(&url, "plain").deliver(&requests(3, 1)).await;
        assert_eq!(receiver.arrived().len(), 1, "one attempt");
        for outcome in outcomes {
            let (answer, is_outage) = failure(outcome);
            assert!(is_outage, "{status}: {answer}");
        }
    }
    // Nothing answers: the kernel accepts the connection, and that is all.
    let (_listener, port) = crate::receiver::listen().await;
    let url = format!("http://127.0.0.1:{port}");
    let queue = Sqs::new(sqs_client(&url), format!("{url}/0/a"), 1_000, SHORT);
    for outcome in queue.deliver(&requests(2, 1)).await {
        assert_eq!(failure(outcome), (format!("no answer within {SHORT:?}"), true));
    }
}

/// Also where the limit of the queue is lower than what it told.
#[tokio::test]
async fn what_is_too_large_is_refused_and_takes_nothing_with_it() {
    let (receiver, url) = scripted(|entries| {
        let is_long = |entry: &Value| entry["MessageBody"].as_str().expect("a body").len() > 1_000;
        if entries.iter().any(is_long) {
            return (
                400,
                json!({"__type": "com.amazonaws.sqs#BatchRequestTooLong", "message": "long"}),
            );
        }
        (200, json!({"Successful": entries.iter().map(accepted).collect::<Vec<_>>()}))
    })
    .await;
    let mut requests = requests(5, 1);
    requests[1].body = vec![b'x'; sqs::MESSAGE_BYTES_DEFAULT].into();
    requests[3].body = vec![b'x'; 2_000].into();
    let outcomes = queue_at(&url, "plain").deliver(&requests).await;
    for (index, outcome) in outcomes.iter().enumerate() {
        match index {
            1 | 3 => assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}"),
            _ => assert_eq!(*outcome, Outcome::Delivered),
        }
    }
    // The four that may be sent at all in one call, then each alone.
    assert_eq!(receiver.arrived().len(), 5);
}

#[tokio::test]
async fn on_a_fifo_queue_nothing_overtakes_what_failed() {
    let (receiver, url) = scripted(|entries| {
        let is_bad =
            |entry: &&Value| entry["MessageBody"].as_str().is_some_and(|b| b.contains(":2,"));
        let (bad, good): (Vec<&Value>, Vec<&Value>) = entries.iter().partition(is_bad);
        let failed: Vec<_> = bad.into_iter().map(|e| failed(e, "RequestThrottled", true)).collect();
        let accepted: Vec<_> = good.into_iter().map(accepted).collect();
        (200, json!({"Successful": accepted, "Failed": failed}))
    })
    .await;
    let requests = requests(8, 2);
    let outcomes = queue_at(&url, "ordered.fifo").deliver(&requests).await;
    let delivered: Vec<_> = (0..8).filter(|index| outcomes[*index] == Outcome::Delivered).collect();
    assert_eq!(delivered, [0, 1, 3, 5, 7], "2 failed, and 4 and 6 are of its group");
    let (answer, is_outage) = failure(outcomes[4].clone());
    assert!(answer.contains("an earlier message of its group") && is_outage, "{answer}");
    let first: Value = serde_json::from_slice(&receiver.arrived()[0].body).expect("JSON");
    let entry = &first["Entries"][0];
    assert_eq!(entry["MessageDeduplicationId"], requests[0].id);
    assert_eq!(entry["MessageGroupId"].as_str().expect("a group").len(), 64, "a digest");
}
