//! Reads the canaries that came back from a consumer's queue.
//!
//! The only door to SQS in the service. A consumer that echoes is a queue subscribed to the topic
//! like any other; what arrives in it has taken the whole way.

mod kept;
mod open;
mod queue;
mod reader;
mod tracker;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use kept::{KeepNewest, KeptReceipt, canary_in};
pub use open::{Canary, Opened, open};
pub use queue::{Queue, QueueError, Received, Sqs};
pub use reader::{Arrival, Malformed, Open, Reader};
pub use tracker::{Acceptance, CanaryResult, Echo, EchoCounts, EchoTracker};

use crate::freshness::{CanaryStep, Ignored, Nonces, Observation, Observer};

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
    /// What this process's canaries carry.
    pub nonces: Nonces,
    /// Who is told.
    pub observer: Observer,
}

impl<Q: Queue> EchoReader<Q> {
    /// Reads until told to stop. Failures are reported and tried again for ever.
    pub async fn run(self, stop: CancellationToken) {
        let Self { consumer, queue, stream, open, nonces, observer } = self;
        let tell =
            move |arrival| observer(echoed(Arc::clone(&consumer), &stream, &nonces, arrival));
        // The queue may have other uses: what is not understood is not ours to delete.
        Reader { queue, open, malformed: Malformed::Stay, tell }.run(stop).await;
    }
}

/// An arrival in the words of the service.
fn echoed(consumer: Arc<str>, stream: &str, nonces: &Nonces, arrival: Arrival) -> Observation {
    match arrival {
        Arrival::Read => Observation::EchoRead { consumer },
        Arrival::Canary(canary) if canary.stream == stream => {
            let step = CanaryStep {
                path: (!canary.path.is_empty()).then(|| canary.path.as_str().into()),
                number: canary.number,
                phase: canary.phase,
            };
            let is_genuine = canary.nonce == nonces.of(&step);
            Observation::Echoed { consumer, step, is_genuine }
        }
        Arrival::Canary(_) => Observation::EchoIgnored { kind: Ignored::OtherStream },
        Arrival::Other => Observation::EchoIgnored { kind: Ignored::OtherKind },
        Arrival::Malformed(error) => {
            tracing::warn!(
                %consumer,
                error,
                "a message of an echo queue can't be opened; it stays for the queue's redrive policy"
            );
            Observation::EchoIgnored { kind: Ignored::Malformed }
        }
        Arrival::Failed(error) => Observation::EchoFailed { consumer, message: error.to_string() },
    }
}
