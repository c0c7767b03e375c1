//! The demo's consumer counts what it should: tests that trust it rest on these.

use aws_sdk_sns::config::{BehaviorVersion, Credentials, Region};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use binpulse::encode::proto::frame::Content;
use binpulse::encode::proto::{
    Canary, CanaryPhase, ChangeBatch, Frame, Row, SchemaChange, Source, TableSchema,
};
use binpulse_demo::{Aws, Consumer, Op, Standin};
use prost::Message;

use crate::bed::{Bed, SOON};
use crate::suite::{Outcome, tests};

tests! {
    each_number_counts_once_and_gaps_are_told on [];
    a_message_that_is_none_of_ours_is_an_error on [];
}

fn body(content: Content) -> String {
    let frame = Frame { format_version: 1, content: Some(content), ..Frame::default() };
    STANDARD.encode(frame.encode_to_vec())
}

/// Rows of `shop.orders` with these numbers; even ones are updates, odd ones inserts.
fn rows(numbers: std::ops::Range<u64>) -> String {
    let row =
        |number: u64| Row { op: if number.is_multiple_of(2) { 2 } else { 1 }, ..Row::default() };
    let table = TableSchema {
        database: "shop".to_owned(),
        table: "orders".to_owned(),
        ..TableSchema::default()
    };
    body(Content::Batch(ChangeBatch {
        source: Some(Source { stream: "s".to_owned(), epoch: 1, ..Source::default() }),
        table: Some(table),
        lane: "shop.orders#0".to_owned(),
        sequence_first: numbers.start,
        rows: numbers.map(row).collect(),
        ..ChangeBatch::default()
    }))
}

fn canary(number: u64, phase: CanaryPhase) -> String {
    let phase = phase.into();
    body(Content::Canary(Canary { number, phase, written_at_us: 1, ..Canary::default() }))
}

/// A client of SNS in the stand-in.
pub(crate) fn sns(standin: &Standin) -> aws_sdk_sns::Client {
    let config = aws_sdk_sns::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(standin.url())
        .region(Region::from_static(Standin::REGION))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_sns::Client::from_conf(config)
}

/// Publishes them one by one.
pub(crate) async fn publish(standin: &Standin, topic_arn: &str, bodies: &[String]) -> Outcome {
    let sns = sns(standin);
    for body in bodies {
        sns.publish().topic_arn(topic_arn).message(body).send().await?;
    }
    Ok(())
}

/// A consumer of a topic to which these were published, and the lines that it showed.
async fn receive(
    bed: &Bed,
    bodies: &[String],
) -> Result<(Consumer, Vec<String>), Box<dyn std::error::Error + Send + Sync>> {
    let standin = bed.standin().await?;
    let aws = Aws::at(&standin.url());
    let topic = aws.create_topic(&bed.topic_name()).await?;
    let queue = aws.subscribe_queue(&topic, &bed.topic_name(), &[]).await?;
    publish(standin, &topic, bodies).await?;
    let mut consumer = Consumer::new(aws, queue);
    let (mut lines, mut count) = (Vec::new(), 0);
    while count < bodies.len() {
        let mut show = |_: &str, line: String| lines.push(line);
        count += tokio::time::timeout(SOON, consumer.receive(&mut show)).await??;
    }
    assert_eq!(consumer.receive(&mut |_, _| {}).await?, 0, "what was received is deleted");
    Ok((consumer, lines))
}

async fn each_number_counts_once_and_gaps_are_told(bed: Bed) -> Outcome {
    let bodies = [
        rows(1..4),
        rows(2..6),
        rows(9..11),
        canary(7, CanaryPhase::Insert),
        canary(7, CanaryPhase::Delete),
        canary(8, CanaryPhase::Insert),
        body(Content::SchemaChange(SchemaChange::default())),
    ];
    let (consumer, lines) = receive(&bed, &bodies).await?;
    let received = consumer.received();
    assert_eq!(received.of("shop.orders", Op::Insert), 4, "1, 3, 5, 9");
    assert_eq!(received.of("shop.orders", Op::Update), 3, "2, 4, 10");
    assert_eq!(consumer.duplicates(), 2, "2, 3");
    assert_eq!(consumer.gaps().get("shop.orders#0"), Some(&3), "6, 7, 8");
    assert_eq!((consumer.canaries(), consumer.statements()), (2, 1));
    assert!(consumer.roundtrip_ms_p50().is_some_and(|ms| ms > 1e12), "since 1970");
    assert_eq!(lines.len(), 7 + 3 + 1);
    for line in lines {
        serde_json::from_str::<serde_json::Value>(&line)?;
    }
    Ok(())
}

async fn a_message_that_is_none_of_ours_is_an_error(bed: Bed) -> Outcome {
    let error = receive(&bed, &["hello".to_owned()]).await.expect_err("not a frame");
    assert!(error.to_string().contains("unreadable message"), "{error}");
    Ok(())
}
