//! A sink, running against an endpoint of its own.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use binpulse::aws::{Deadlines, Shared};
use binpulse::encode::{Attribute, DataType, Kind, LaneId, Message};
use binpulse::sink::health::Snapshot;
use binpulse::sink::sns::{Config, Sns};
use binpulse::sink::{self, Error, Feed, Health, MessageRejected, OnRefusal, Settlement};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::aws::{Endpoint, REGION};

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Short pauses and deadlines, so that tests of failures are quick.
pub(crate) fn config(endpoint: &Endpoint) -> Config {
    Config {
        endpoint_url: Some(endpoint.url()),
        deadlines: Deadlines {
            connect: Duration::from_secs(2),
            read: Duration::from_millis(400),
            operation: Duration::from_millis(500),
        },
        retry_first: Duration::from_millis(5),
        retry_max: Duration::from_millis(40),
        blocked_retry_min: Duration::from_millis(20),
        blocked_retry_max: Duration::from_millis(40),
        grace: Duration::from_secs(10),
        on_refusal: OnRefusal::GoOn,
        ..Config::default()
    }
}

/// What has come of everything that was sent.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<(), Error>,
    pub(crate) settled: Vec<u64>,
    pub(crate) failed: Vec<(Message, MessageRejected)>,
    pub(crate) health: Snapshot,
}

/// Numbers of the settled, and the refused.
type Collected = (Vec<u64>, Vec<(Message, MessageRejected)>);

/// See the head of this file.
pub(crate) struct Rig {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) topic: Arc<str>,
    pub(crate) feed: Feed,
    pub(crate) stop: CancellationToken,
    pub(crate) health: Arc<Health>,
    collector: JoinHandle<Collected>,
    sink: JoinHandle<Result<(), Error>>,
    next: u64,
}

impl Rig {
    /// With a topic that is known at start.
    pub(crate) async fn start(topic: &str) -> Self {
        Self::with(topic, &[], |config| config, 64 << 20).await
    }

    /// With attributes of the topic, changes to the configuration, and room of the intake.
    pub(crate) async fn with(
        topic: &str,
        attributes: &[(&str, &str)],
        change: impl FnOnce(Config) -> Config,
        room: usize,
    ) -> Self {
        let endpoint = Arc::new(Endpoint::start().await);
        let topic = endpoint.topic(topic, attributes);
        let config = change(config(&endpoint));
        let shared = Shared::stand_in(REGION).await;
        let sns = Sns::open(config, &shared, std::slice::from_ref(&topic)).await;
        let sns = sns.expect("the topic is there");
        let health = sns.health();
        let (feed, intake) = sink::intake(room);
        let (sender, settlements) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let sink = tokio::spawn(sns.run(intake, sender, stop.clone()));
        let collector = tokio::spawn(collect(settlements));
        Self { endpoint, topic, feed, stop, health, collector, sink, next: 0 }
    }

    /// A message for the rig's topic; its body tells lane and number.
    pub(crate) fn message(&mut self, lane: u32, bytes: usize) -> Message {
        let id = self.next;
        self.next += 1;
        message(id, lane, bytes, &self.topic)
    }

    /// Sends one.
    pub(crate) async fn send(&mut self, lane: u32, bytes: usize) -> u64 {
        let message = self.message(lane, bytes);
        let id = message.id;
        self.feed.send(message).await.expect("the sink runs");
        id
    }

    /// Waits until `condition` holds of the sink's numbers.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Snapshot) -> bool) {
        let started = Instant::now();
        while !condition(&self.health.snapshot(Instant::now())) {
            let now = self.health.snapshot(Instant::now());
            assert!(started.elapsed() < PATIENCE, "timed out: {what}: {now:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Ends the input and waits for the end of the sink.
    pub(crate) async fn finish(self) -> Outcome {
        let Self { endpoint, feed, health, collector, sink, .. } = self;
        drop(feed);
        let both = async { (sink.await, collector.await) };
        let both = tokio::time::timeout(PATIENCE, both).await.expect("the sink ends");
        let (result, collected) = (both.0.expect("no panic"), both.1.expect("no panic"));
        let health = health.snapshot(Instant::now());
        let violations = std::mem::take(&mut endpoint.shared.store().violations);
        assert_eq!(violations, Vec::<String>::new());
        Outcome { result, settled: collected.0, failed: collected.1, health }
    }
}

async fn collect(mut settlements: mpsc::Receiver<Settlement>) -> Collected {
    let (mut settled, mut failed) = (Vec::new(), Vec::new());
    while let Some(settlement) = settlements.recv().await {
        match settlement {
            Settlement::Settled { id, .. } => settled.push(id),
            Settlement::Failed { message, error } => failed.push((*message, error)),
        }
    }
    (settled, failed)
}

/// A message of about `bytes` whose body is `lane:id:` and padding.
pub(crate) fn message(id: u64, lane: u32, bytes: usize, topic: &Arc<str>) -> Message {
    let mut body = String::with_capacity(bytes.max(24));
    write!(body, "{lane}:{id}:").expect("writing to a String cannot fail");
    while body.len() < bytes {
        body.push('+');
    }
    let attribute = |name: &'static str, data_type, value: &str| Attribute {
        name: name.into(),
        data_type,
        value: value.to_owned(),
    };
    Message {
        id,
        lane: LaneId(lane),
        lane_key: format!("shop.t{lane}#0").into(),
        kind: Kind::Change,
        body,
        attributes: vec![
            attribute("kind", DataType::String, "change"),
            attribute("op", DataType::StringArray, r#"["insert","update"]"#),
            attribute("v", DataType::Number, "1"),
        ],
        group_id: Some(format!("stream/shop.t{lane}#0")),
        deduplication_id: Some(format!("{lane}-{id}")),
        destination: Arc::clone(topic),
        rows: 1,
        sequence_first: id,
        uncompressed_bytes: 1,
        ack_group: id,
        committed_at_us: 0,
        omitted_cells: 0,
    }
}

/// Lane and number of a body.
pub(crate) fn place(body: &str) -> (u32, u64) {
    let mut parts = body.split(':');
    let lane = parts.next().and_then(|text| text.parse().ok());
    let id = parts.next().and_then(|text| text.parse().ok());
    lane.zip(id).expect("a body of this rig")
}
