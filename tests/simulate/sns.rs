//! SNS, in the place of the SDK's HTTP client.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::form::{Form, decode};
use crate::machine::Process;
use crate::sqs::Queue;

/// How long a FIFO topic knows a deduplication id.
const DEDUPLICATES: Duration = Duration::from_mins(5);

/// What is wrong with it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Trouble {
    /// No answer, and nothing taken.
    pub(crate) hung: bool,
    /// Every call is refused as too many.
    pub(crate) throttles: bool,
    /// Every call ends with HTTP 500.
    pub(crate) fails: bool,
    /// Of a hundred calls, so many are taken and their answers lost.
    pub(crate) loses_answers: u64,
    /// Of a hundred entries, so many fail alone.
    pub(crate) fails_entries: u64,
    /// Each call takes this much longer, at most, in milliseconds.
    pub(crate) slow_ms: u64,
}

/// Told of each message that is taken.
pub(crate) trait Subscriber: Send + Sync {
    /// A call begins.
    fn called(&self, process: &Process);
    /// The topic takes a message.
    fn taken(&self, entry: &BTreeMap<String, String>);
}

struct State {
    trouble: Trouble,
    dice: Dice,
    known: VecDeque<(Instant, String)>,
}

/// The topic.
pub(crate) struct Sns {
    fifo: bool,
    /// Of its consumer.
    pub(crate) queue: Arc<Queue>,
    subscriber: Arc<dyn Subscriber>,
    changed: Notify,
    state: Mutex<State>,
}

impl Sns {
    pub(crate) fn new(fifo: bool, subscriber: Arc<dyn Subscriber>, mut dice: Dice) -> Arc<Self> {
        let queue = Queue::new(dice.fork());
        let state = State { trouble: Trouble::default(), dice, known: VecDeque::new() };
        Arc::new(Self { fifo, queue, subscriber, changed: Notify::new(), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn trouble(&self, change: impl FnOnce(&mut Trouble)) {
        change(&mut self.state().trouble);
        self.changed.notify_waiters();
    }

    async fn answer(
        &self,
        process: &Process,
        (target, form): (Option<String>, Vec<u8>),
    ) -> Result<HttpResponse, ConnectorError> {
        if let Some(operation) = target.as_deref().and_then(|it| it.strip_prefix("AmazonSQS.")) {
            let input = serde_json::from_slice(&form).expect("JSON");
            let output = self.queue.answer(operation, &input).await;
            let ok = 200.try_into().expect("a status");
            return Ok(HttpResponse::new(ok, SdkBody::from(output.to_string())));
        }
        let entries = entries(&form);
        if !entries.is_empty() {
            self.subscriber.called(process);
        }
        let (there, back) = {
            let mut state = self.state();
            let slow = state.trouble.slow_ms;
            let mut throw = || Duration::from_millis(state.dice.between(1, 8 + slow));
            (throw(), throw())
        };
        tokio::time::sleep(there).await;
        loop {
            let changed = self.changed.notified();
            if !self.state().trouble.hung {
                break;
            }
            changed.await;
        }
        let (status, text, is_lost) = self.take(&entries);
        tokio::time::sleep(back).await;
        if is_lost {
            if self.state().dice.one_in(2) {
                return Err(ConnectorError::io("the connection broke".into()));
            }
            std::future::pending::<()>().await;
        }
        let status = status.try_into().expect("a status");
        Ok(HttpResponse::new(status, SdkBody::from(text)))
    }

    /// What becomes of a call: status, text, and whether that is lost on its way.
    fn take(&self, entries: &[BTreeMap<String, String>]) -> (u16, String, bool) {
        let mut state = self.state();
        let Trouble { throttles, fails, loses_answers, fails_entries, .. } = state.trouble;
        if throttles {
            return (400, error("Throttling"), false);
        }
        if fails {
            return (500, error("InternalError"), false);
        }
        if entries.is_empty() {
            return (200, attributes(self.fifo), false);
        }
        let is_lost = state.dice.below(100) < loses_answers;
        let (mut taken, mut failed) = (String::new(), String::new());
        for entry in entries {
            let id = &entry["Id"];
            if state.dice.below(100) < fails_entries {
                write!(
                    failed,
                    "<member><Id>{id}</Id><Code>InternalError</Code><Message>in words</Message>\
                     <SenderFault>false</SenderFault></member>"
                )
                .expect("a String takes any text");
                continue;
            }
            write!(taken, "<member><Id>{id}</Id></member>").expect("a String takes any text");
            if let Some(deduplication) = entry.get("MessageDeduplicationId") {
                let now = Instant::now();
                while state.known.front().is_some_and(|(at, _)| now - *at > DEDUPLICATES) {
                    state.known.pop_front();
                }
                if state.known.iter().any(|(_, known)| known == deduplication) {
                    continue;
                }
                state.known.push_back((now, deduplication.clone()));
            }
            self.subscriber.taken(entry);
            // By its attribute.
            if entry.values().any(|value| value == "canary") {
                self.queue.echo(&entry["Message"]);
            }
        }
        let text = format!(
            "<PublishBatchResponse><PublishBatchResult><Successful>{taken}</Successful>\
             <Failed>{failed}</Failed></PublishBatchResult></PublishBatchResponse>"
        );
        (200, text, is_lost)
    }
}

fn error(code: &str) -> String {
    format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>in words</Message>\
         </Error></ErrorResponse>"
    )
}

fn attributes(fifo: bool) -> String {
    let fifo = if fifo { "<entry><key>FifoTopic</key><value>true</value></entry>" } else { "" };
    format!(
        "<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes>{fifo}</Attributes>\
         </GetTopicAttributesResult></GetTopicAttributesResponse>"
    )
}

/// The entries of a publish; none: it asks for the topic's attributes.
fn entries(form: &[u8]) -> Vec<BTreeMap<String, String>> {
    let mut entries: Vec<BTreeMap<String, String>> = Vec::new();
    let form = std::str::from_utf8(form).expect("a form is ASCII");
    for (key, value) in Form::new(form).pairs() {
        let Some(rest) = key.strip_prefix("PublishBatchRequestEntries.member.") else { continue };
        let (number, name) = rest.split_once('.').expect("a member's field");
        let number: usize = number.parse().expect("a number");
        entries.resize(entries.len().max(number), BTreeMap::new());
        let value = decode(value).expect("UTF-8").into_owned();
        entries[number - 1].insert(name.to_owned(), value);
    }
    entries
}

/// The HTTP client of a process.
#[derive(Clone)]
pub(crate) struct Http {
    pub(crate) sns: Arc<Sns>,
    pub(crate) process: Arc<Process>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl HttpClient for Http {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Http {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").map(str::to_owned);
        let asked = (target, request.body().bytes().expect("in memory").to_vec());
        let (sns, process) = (Arc::clone(&self.sns), Arc::clone(&self.process));
        // What was sent arrives, whatever becomes of its sender.
        let answering = tokio::spawn(async move { sns.answer(&process, asked).await });
        HttpConnectorFuture::new(async move {
            answering.await.map_err(|_| ConnectorError::io("it ended".into()))?
        })
    }
}
