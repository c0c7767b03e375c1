//! Faults of SNS and SQS.

use std::time::{Duration, Instant};

use super::Kind;
use crate::aws::faults::{Effect, When};
use crate::stage::{CONSUMERS, Stage};

/// Each publish call fails like this from now on.
pub(super) fn fails(stage: &Stage, effect: &Effect) -> Instant {
    when(stage, &When::Always, effect)
}

/// Each read of a queue fails like this from now on.
fn receiving(stage: &Stage, effect: Effect) -> Instant {
    stage.endpoint.fault("ReceiveMessage", When::Always, effect);
    Instant::now()
}

fn when(stage: &Stage, when: &When, effect: &Effect) -> Instant {
    for operation in ["Publish", "PublishBatch"] {
        stage.endpoint.fault(operation, when.clone(), effect.clone());
    }
    Instant::now()
}

/// Begins a fault, if it is one of these.
pub(super) fn begin(kind: Kind, stage: &Stage) -> Option<Instant> {
    let effect = match kind {
        Kind::SnsErrors => Effect::INTERNAL,
        Kind::SnsHangs => Effect::Hang,
        Kind::SnsAcceptsThenHangs => Effect::AcceptThenHang,
        Kind::SnsResets => Effect::Reset,
        Kind::SnsThrottles => Effect::ThrottleAbove(0.0),
        Kind::SnsDenies => Effect::DENIED,
        Kind::SnsExpired => Effect::EXPIRED,
        Kind::SnsSwallows => Effect::Swallow,
        Kind::SnsSlow => Effect::Slow(Duration::from_millis(700)),
        Kind::SnsTooLarge => Effect::Gibberish(413),
        Kind::EchoGone => {
            stage.endpoint.shared.store().queues.remove(CONSUMERS[0]);
            return Some(Instant::now());
        }
        Kind::EchoDenied => return Some(receiving(stage, Effect::DENIED)),
        Kind::EchoHangs => return Some(receiving(stage, Effect::Hang)),
        Kind::SnsHiccups => {
            let busy = Effect::Refuse(503, "ServiceUnavailable", "Come back later.");
            return Some(when(stage, &When::Every(4), &busy));
        }
        Kind::TopicDeleted => {
            let mut store = stage.endpoint.shared.store();
            let topic = store.topics.remove(&*stage.topic);
            *stage.deleted.lock().expect("no test panics while it holds it") = topic;
            return Some(Instant::now());
        }
        Kind::CanariesFiltered => {
            let mut store = stage.endpoint.shared.store();
            for subscription in &mut store.subscriptions {
                subscription.policy = serde_json::json!({"kind": ["change"]});
            }
            return Some(Instant::now());
        }
        Kind::ConsumerStops => {
            let mut store = stage.endpoint.shared.store();
            store.subscriptions.retain(|subscription| subscription.queue != CONSUMERS[1]);
            return Some(Instant::now());
        }
        _ => return None,
    };
    Some(fails(stage, &effect))
}

/// The topic is there again, and delivers canaries to every consumer.
pub(super) fn end(stage: &Stage) {
    let deleted = stage.deleted.lock().expect("no test panics while it holds it").take();
    if let Some(topic) = deleted {
        stage.endpoint.shared.store().topics.insert(stage.topic.to_string(), topic);
    }
    stage.endpoint.shared.store().subscriptions.clear();
    for consumer in CONSUMERS {
        crate::stage::subscribe(&stage.endpoint, &stage.topic, consumer);
    }
}
