//! Echo queues: how they are read, and what is told of them.

use std::sync::Arc;

use super::plan::Plan;
use super::sink::sns_config;
use super::vital::Vital;
use crate::aws;
use crate::pulse::echo::Sqs;
use crate::telemetry::metrics::{Kind, Reading};

/// A consumer's queue.
pub(super) fn queue(plan: &Plan, shared: &aws::Shared, url: &str) -> Sqs {
    let endpoint = sns_config(plan).endpoint_url;
    Sqs::judging(shared, endpoint.as_deref(), url, plan.pulse.periods.canary_deadline)
}

/// Whether the queues can be read.
pub(super) fn family(plan: &Plan, vital: &Arc<Vital>) -> Reading {
    let (consumers, vital) = (plan.pulse.consumers(), Arc::clone(vital));
    let read = move || {
        let sample = |consumer: &Arc<str>| {
            let fails = vital.read(|book| book.unreadable(consumer).is_some());
            (vec![("consumer", consumer.to_string())], f64::from(u8::from(fails)))
        };
        consumers.iter().map(sample).collect()
    };
    Reading {
        name: "binpulse_echo_unreadable",
        help: "1 while the consumer's echo queue can't be read, or messages in it not be deleted, else 0.",
        kind: Kind::Gauge,
        labels: &["consumer"],
        read: Arc::new(read),
    }
}
