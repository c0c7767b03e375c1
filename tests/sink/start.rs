//! What is said when a topic can't be used.

use std::sync::Arc;

use binpulse::aws::Shared;
use binpulse::sink::sns::{MESSAGE_BYTES_DEFAULT, Sns};
use binpulse::sink::{Error, FailureClass};

use crate::aws::faults::{Effect, When};
use crate::aws::{Endpoint, REGION};
use crate::rig::config;

async fn open(endpoint: &Endpoint, arn: &str) -> Result<Sns, Error> {
    let shared = Shared::stand_in(REGION).await;
    Sns::open(config(endpoint), &shared, &[Arc::from(arn)]).await
}

#[tokio::test]
async fn the_topics_attributes_are_read() {
    let endpoint = Endpoint::start().await;
    let plain = endpoint.topic("plain", &[]);
    let fifo = endpoint.topic(
        "big.fifo",
        &[
            ("MaximumMessageSize", "1048576"),
            ("ContentBasedDeduplication", "true"),
            ("FifoThroughputScope", "MessageGroup"),
        ],
    );
    let shared = Shared::stand_in(REGION).await;
    let sns = Sns::open(config(&endpoint), &shared, &[plain, fifo]).await.expect("both are there");
    let [(_, plain), (_, fifo)] = sns.topics() else { panic!("two topics") };
    assert_eq!((plain.message_bytes_max, plain.fifo), (MESSAGE_BYTES_DEFAULT, false));
    assert_eq!((fifo.message_bytes_max, fifo.fifo), (1_048_576, true));
    assert!(fifo.content_based_deduplication && fifo.throughput_per_group);
}

#[tokio::test]
async fn each_reason_is_told_apart_and_says_what_to_do() {
    let endpoint = Endpoint::start().await;
    let arn = endpoint.topic("t", &[]);
    for (effect, class, words) in [
        (Effect::NOT_FOUND, FailureClass::NotFound, "create the topic"),
        (Effect::DENIED, FailureClass::Denied, "sns:GetTopicAttributes"),
        (Effect::EXPIRED, FailureClass::Credentials, "credentials"),
        (Effect::INTERNAL, FailureClass::ServerError, "try again"),
        (Effect::Reset, FailureClass::Unreachable, "endpoint URL"),
    ] {
        endpoint.heal();
        endpoint.fault("GetTopicAttributes", When::Always, effect);
        let error = open(&endpoint, &arn).await.expect_err("it fails");
        assert!(error.to_string().contains(words), "{error}");
        assert!(matches!(error, Error::Topic { class: found, .. } if found == class), "{error:?}");
    }
    endpoint.heal();
    endpoint.fault("GetTopicAttributes", When::First(2), Effect::INTERNAL);
    open(&endpoint, &arn).await.expect("a failure that passes is waited out");
}

#[tokio::test]
async fn nonsense_and_other_regions_are_refused_without_a_call() {
    let endpoint = Endpoint::start().await;
    let error = open(&endpoint, "changes").await.expect_err("no ARN");
    assert!(matches!(error, Error::NotATopic { .. }), "{error:?}");
    let elsewhere = "arn:aws:sns:us-east-1:000000000000:t";
    let error = open(&endpoint, elsewhere).await.expect_err("another region");
    assert!(matches!(error, Error::OtherRegion { .. }), "{error:?}");
}

#[tokio::test]
async fn nobody_at_the_endpoint_is_unreachable() {
    let endpoint = Endpoint::start().await;
    let arn = endpoint.topic("t", &[]);
    let mut config = config(&endpoint);
    config.endpoint_url = Some("http://127.0.0.1:1".to_owned());
    let shared = Shared::stand_in(REGION).await;
    let error = Sns::open(config, &shared, &[arn]).await.expect_err("nobody is there");
    assert!(matches!(error, Error::Topic { class: FailureClass::Unreachable, .. }), "{error:?}");
}
