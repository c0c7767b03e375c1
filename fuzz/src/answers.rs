//! What SNS and SQS answer, and the messages that come back.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use binpulse::aws::{Deadlines, Shared};
use binpulse::encode::{Kind, LaneId, Message, open};
use binpulse::freshness::canary::echo::{Queue, Sqs};
use binpulse::sink::sns::{Config, Sns};
use binpulse::sink::{OnRefusal, Settlement, intake};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A message's body, as the reader of an echo opens it: text, and the bytes of a frame.
pub fn frame(input: &[u8]) -> u64 {
    let text = std::str::from_utf8(input);
    let opened = text.is_ok_and(|body| open::content(body).is_ok());
    u64::from(opened) + u64::from(open::frame(input).is_ok())
}

/// Status and body.
type Answer = (u16, Vec<u8>);

/// One answer as the input has it, to the first request whose body names this action; all others
/// are answered as they should be.
#[derive(Debug, Clone)]
struct Answers {
    action: &'static str,
    first: Arc<Mutex<Option<Answer>>>,
}

const STATUSES: [u16; 8] = [200, 200, 200, 400, 403, 404, 429, 500];

impl Answers {
    fn new(action: &'static str, status: u8, body: &[u8]) -> Self {
        let status = STATUSES[usize::from(status) % STATUSES.len()];
        Self { action, first: Arc::new(Mutex::new(Some((status, body.to_vec())))) }
    }

    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let body = request.body().bytes().unwrap_or_default();
        let body = String::from_utf8_lossy(body);
        let first = body.contains(self.action).then(|| {
            let mut first = self.first.lock().expect("nobody panics while holding it");
            first.take()
        });
        let (status, content) = match first.flatten() {
            Some(answer) => answer,
            None => (200, proper(&body).into_bytes()),
        };
        let status = status.try_into().expect("a status");
        HttpResponse::new(status, SdkBody::from(content))
    }
}

/// What SNS answers when nothing is wrong.
fn proper(request: &str) -> String {
    if request.contains("Action=PublishBatch") {
        let ids = request.split('&').filter_map(|pair| pair.split_once('='));
        let ids = ids
            .filter(|(name, _)| name.ends_with(".Id"))
            .map(|(_, id)| format!("<member><Id>{id}</Id><MessageId>m</MessageId></member>"));
        let successful: String = ids.collect();
        return format!(
            "<PublishBatchResponse><PublishBatchResult><Successful>{successful}</Successful>\
             <Failed/></PublishBatchResult></PublishBatchResponse>"
        );
    }
    "<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes/>\
     </GetTopicAttributesResult></GetTopicAttributesResponse>"
        .to_owned()
}

impl HttpConnector for Answers {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Ok(self.answer(&request)))
    }
}

impl HttpClient for Answers {
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// Pauses cost nothing: time jumps to the next thing that is due.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

const STANDARD: &str = "arn:aws:sns:eu-west-1:000000000000:changes";
const FIFO: &str = "arn:aws:sns:eu-west-1:000000000000:changes.fifo";
/// Messages that are published.
const MESSAGES: u64 = 4;

fn message(id: u64, destination: &Arc<str>) -> Message {
    Message {
        id,
        lane: LaneId(u32::from(id.is_multiple_of(2))),
        lane_key: Arc::from("shop.t#0"),
        kind: Kind::Change,
        body: format!("body {id}"),
        attributes: Vec::new(),
        group_id: Some(format!("lane-{}", id % 2)),
        deduplication_id: Some(format!("id-{id}")),
        destination: Arc::clone(destination),
        rows: 1,
        sequence_first: id,
        uncompressed_bytes: 1,
        ack_group: id,
        committed_at_us: 0,
        omitted_cells: 0,
    }
}

/// An answer of SNS. Bytes: what it answers and to which kind of topic, its status, its body.
/// Whatever it says, each message ends in exactly one settlement.
pub fn sns(input: &[u8]) -> u64 {
    let Some((&[choice, status], body)) = input.split_first_chunk() else { return 0 };
    let action = if choice & 1 == 0 { "Action=PublishBatch" } else { "Action=GetTopicAttributes" };
    let destination: Arc<str> = if choice & 2 == 0 { STANDARD } else { FIFO }.into();
    let answers = Answers::new(action, status, body);
    runtime().block_on(async {
        let shared = Shared::stand_in_over("eu-west-1", answers).await;
        let config = Config { on_refusal: OnRefusal::GoOn, ..Config::default() };
        let Ok(sns) = Sns::open(config, &shared, std::slice::from_ref(&destination)).await else {
            return 0;
        };
        let (feed, intake) = intake(1 << 20);
        let (settlements, mut settled) = mpsc::channel(100);
        for id in 1..=MESSAGES {
            assert!(feed.try_send(message(id, &destination)).is_ok(), "there is room");
        }
        drop(feed);
        let ran = Box::pin(sns.run(intake, settlements, CancellationToken::new())).await;
        assert!(ran.is_ok(), "{ran:?}");
        let mut ids = HashSet::new();
        while let Ok(settlement) = settled.try_recv() {
            let id = match settlement {
                Settlement::Settled { id, .. } => id,
                Settlement::Failed { message, .. } => message.id,
            };
            assert!(ids.insert(id), "message {id} is settled once");
        }
        assert_eq!(ids.len() as u64, MESSAGES, "each message is settled");
        MESSAGES
    })
}

/// An answer of SQS. Bytes: the status, the body.
pub fn sqs(input: &[u8]) -> u64 {
    let Some((status, body)) = input.split_first() else { return 0 };
    // SQS's requests are JSON, and the first is the only one that matters.
    let answers = Answers::new("", *status, body);
    runtime().block_on(async {
        let shared = Shared::stand_in_over("eu-west-1", answers).await;
        let url = "https://sqs.eu-west-1.amazonaws.com/000000000000/echo";
        let sdk = shared.service(None, None, Deadlines::default());
        let mut queue = Sqs::new(aws_sdk_sqs::Client::new(&sdk), url);
        let Ok(received) = Box::pin(queue.receive()).await else { return 0 };
        let count = received.len() as u64;
        let mut receipts = Vec::new();
        for message in received {
            let _opened = frame(message.body.as_bytes());
            receipts.push(message.receipt);
        }
        let _ignored = Box::pin(queue.delete(receipts)).await;
        count
    })
}
