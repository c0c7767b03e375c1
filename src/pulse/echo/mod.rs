//! Reads the canaries that came back from a consumer's queue.
//!
//! The only door to SQS in the service. A consumer that echoes is a queue subscribed to the topic
//! like any other; what arrives in it has taken the whole way. It does not open bodies itself: how
//! is handed in.

mod ledger;
mod queue;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::debug;

pub use ledger::{Acceptance, Echo, EchoCounts, EchoLedger, Fate};
pub use queue::{Queue, QueueError, Received, Sqs};

use super::{Event, Observer, Phase};

/// Shortest and longest pause after a failed read.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What a body holds, as far as an echo cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// A canary.
    Canary {
        /// Its stream.
        stream: String,
        /// Its number.
        number: u64,
        /// The step.
        phase: Phase,
        /// When the row was written, microseconds since 1970 UTC.
        written_at_us: i64,
    },
    /// Anything else that is well formed.
    Other,
}

/// Opens a message's body; the error is for people.
pub type Open = Arc<dyn Fn(&str) -> Result<Opened, String> + Send + Sync>;

/// Reads one consumer's queue.
pub struct EchoReader<Q> {
    /// Name of the consumer.
    pub consumer: Arc<str>,
    /// Its queue.
    pub queue: Q,
    /// The stream whose canaries are awaited.
    pub stream: String,
    /// Opens bodies.
    pub open: Open,
    /// Who is told.
    pub observer: Observer,
}

impl<Q: Queue> EchoReader<Q> {
    /// Reads until told to stop. Failures are reported and tried again for ever.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = PAUSE.0;
        loop {
            let turn = tokio::select! {
                biased;

                // 1. A request to stop outranks a poll, which may last 20 s. What it drops comes
                //    again.
                () = stop.cancelled() => return,
                // 2. One poll.
                turn = self.turn() => turn,
            };
            let Err(error) = turn else {
                pause = PAUSE.0;
                continue;
            };
            let consumer = Arc::clone(&self.consumer);
            (self.observer)(&Event::EchoFailed { consumer, message: error.to_string() });
            tokio::select! {
                biased;

                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Receives once, reports each message, and deletes what it understood. What it did not stays
    /// in the queue for its redrive policy: deleting it would hide it.
    async fn turn(&mut self) -> Result<(), QueueError> {
        let received = self.queue.receive().await?;
        let (consumer, messages) = (Arc::clone(&self.consumer), received.len());
        (self.observer)(&Event::EchoRead { consumer, messages });
        let mut understood = Vec::with_capacity(received.len());
        for message in received {
            if self.report(&message.body) {
                understood.push(message.receipt);
            }
        }
        self.queue.delete(understood).await
    }

    /// Whether the body was understood.
    fn report(&self, body: &str) -> bool {
        let consumer = Arc::clone(&self.consumer);
        let (event, understood) = match (self.open)(unwrap_notification(body).as_ref()) {
            Ok(Opened::Canary { stream, .. }) if stream != self.stream => {
                (Event::EchoIgnored { consumer, kind: "other_stream" }, true)
            }
            Ok(Opened::Canary { number, phase, written_at_us, .. }) => {
                (Event::Echoed { consumer, number, phase, written_at_us }, true)
            }
            Ok(Opened::Other) => (Event::EchoIgnored { consumer, kind: "other_kind" }, true),
            Err(error) => {
                debug!(consumer = %self.consumer, error, "an echoed message could not be opened");
                (Event::EchoIgnored { consumer, kind: "malformed" }, false)
            }
        };
        (self.observer)(&event);
        understood
    }
}

/// The message inside SNS's envelope, which it comes in when delivery is not raw.
fn unwrap_notification(body: &str) -> std::borrow::Cow<'_, str> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Notification {
        #[serde(rename = "Type")]
        kind: String,
        message: String,
    }
    if body.trim_start().starts_with('{')
        && let Ok(notification) = serde_json::from_str::<Notification>(body)
        && notification.kind == "Notification"
    {
        return notification.message.into();
    }
    body.into()
}
