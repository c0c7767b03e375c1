//! Echo queues: how they are read, and what is told of them. Each is read by a task of its own,
//! `Task::EchoReader`, which runs [`read`]; `freshness.rs` starts it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::plan::Plan;
use super::sink::sns_config;
use crate::aws;
use crate::freshness::FreshnessState;
use crate::freshness::canary::echo::{
    EchoReader, KeepNewest, KeptReceipt, Open, Sqs, canary_in, open,
};
use crate::freshness::received::Newest;
use crate::telemetry::metrics::{Kind, ScrapedFamily};

/// A consumer's queue.
pub(super) fn queue(plan: &Plan, shared: &aws::Shared, url: &str) -> Sqs {
    let endpoint = sns_config(plan).endpoint_url;
    Sqs::with_deadline(shared, endpoint.as_deref(), url, plan.freshness.periods.canary_deadline)
}

/// Whether something outside the source keeps its newest canary: in a queue that is not FIFO, where a
/// message that stays holds up those behind it.
pub(super) fn keeps_newest(plan: &Plan, url: &str) -> bool {
    plan.checkpoint.file.is_none() && plan.freshness.canaries && !aws::is_fifo(url)
}

/// The newest canary of this epoch that is in an echo queue.
pub(super) async fn newest(plan: &Plan, shared: &aws::Shared, epoch: u64) -> Option<Newest> {
    let (mut newest, opens): (Option<Newest>, Open) = (None, Arc::new(open));
    for (consumer, url) in &plan.freshness.echoes {
        if !keeps_newest(plan, url) {
            continue;
        }
        let messages = match queue(plan, shared, url).peek().await {
            Ok(messages) => messages,
            Err(error) => {
                tracing::warn!(
                    %consumer, %error,
                    "a source restored from an older backup would not be detected"
                );
                continue;
            }
        };
        for message in messages {
            let Some(canary) = canary_in(&message, &opens, &plan.stream) else { continue };
            let is_newer = newest.is_none_or(|newest| newest.number < canary.number);
            if canary.epoch == epoch && is_newer {
                newest = Some(Newest { number: canary.number, at_us: canary.written_at_us });
            }
        }
    }
    newest
}

/// Reads one consumer's queue until told to stop.
pub(super) async fn read(
    stream: String,
    consumer: Arc<str>,
    queue: Sqs,
    freshness_state: Arc<FreshnessState>,
    keeps: bool,
    stop: CancellationToken,
) {
    let (observer, nonces) = (freshness_state.observer(), freshness_state.nonces().clone());
    let opens: Open = Arc::new(open);
    if !keeps {
        let reader = EchoReader { consumer, queue, stream, open: opens, nonces, observer };
        return reader.run(stop).await;
    }
    let kept = KeptReceipt::default();
    let keeping = KeepNewest::new(queue.clone(), Arc::clone(&opens), stream.clone(), kept.clone());
    EchoReader { consumer, queue: keeping, stream, open: opens, nonces, observer }.run(stop).await;
    if let Some(receipt) = kept.take()
        && let Err(error) = queue.show_again(receipt).await
    {
        tracing::info!(
            %error,
            "the newest canary becomes visible again only after the queue's visibility timeout"
        );
    }
}

/// Whether the queues can be read.
pub(super) fn family(plan: &Plan, freshness_state: &Arc<FreshnessState>) -> ScrapedFamily {
    let (consumers, freshness_state) = (plan.freshness.consumers(), Arc::clone(freshness_state));
    let read = move || {
        let sample = |consumer: &Arc<str>| {
            let fails =
                freshness_state.read(|round_trips| round_trips.unreadable(consumer).is_some());
            (vec![("consumer", consumer.to_string())], f64::from(u8::from(fails)))
        };
        consumers.iter().map(sample).collect()
    };
    ScrapedFamily {
        name: "binpulse_echo_unreadable",
        help: "1 while the consumer's echo queue can't be read or its messages can't be deleted, \
               else 0.",
        kind: Kind::Gauge,
        labels: &["consumer"],
        read: Arc::new(read),
    }
}
