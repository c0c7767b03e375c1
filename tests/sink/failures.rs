//! Each class of failure: what is sent again, what is given back, what is shown.

use std::time::Duration;

use binpulse::sink::{Error, FailureClass, MessageRejected, OnRefusal};

use tokio::task::JoinSet;

use crate::aws::faults::{Effect, Pick, When};
use crate::rig::{Rig, place};

const CALL: &str = "PublishBatch";
const FIFO: &str = "changes.fifo";

/// Ten messages against a fault that strikes the first two calls: all arrive, and the class shows.
async fn passes_by_itself(topic: &'static str, effect: Effect, class: FailureClass) {
    let mut rig = Rig::start(topic).await;
    let what = format!("{topic} {effect:?}");
    rig.endpoint.fault(CALL, When::First(2), effect);
    let mut sent = Vec::new();
    for lane in 0..10 {
        sent.push(rig.send(lane, 100).await);
    }
    let endpoint = rig.endpoint.clone();
    let mut outcome = rig.finish().await;
    outcome.settled.sort_unstable();
    assert!(outcome.result.is_ok(), "{what}: {:?}", outcome.result);
    assert_eq!(outcome.settled, sent, "{what}");
    assert!(outcome.failed.is_empty(), "{what}");
    assert!(outcome.health.attempts_failed[class as usize] > 0, "{what}: {:?}", outcome.health);
    assert_eq!(outcome.health.impediment, None, "{what}: a success clears it");
    let mut arrived: Vec<u64> = endpoint.bodies().iter().map(|body| place(body).1).collect();
    arrived.sort_unstable();
    if topic == FIFO {
        assert_eq!(arrived, sent, "{what}: deduplicated");
    } else {
        arrived.dedup();
        assert_eq!(arrived, sent, "{what}");
    }
}

#[tokio::test]
async fn what_passes_by_itself_or_is_fixed_is_sent_again_until_it_arrives() {
    let cases = [
        (Effect::INTERNAL, FailureClass::ServerError),
        (Effect::THROTTLED, FailureClass::Throttled),
        (Effect::KMS_THROTTLING, FailureClass::Throttled),
        (Effect::DENIED, FailureClass::Denied),
        (Effect::Refuse(400, "KMSDisabled", "key is disabled"), FailureClass::Denied),
        (Effect::EXPIRED, FailureClass::Credentials),
        (Effect::NOT_FOUND, FailureClass::NotFound),
        (Effect::Refuse(400, "BrandNew", "never heard of"), FailureClass::Unknown),
        // Of something on the way; SNS itself has a code for it.
        (Effect::Gibberish(413), FailureClass::Unknown),
        (Effect::Refuse(413, "RequestEntityTooLarge", "limit of 1 MB"), FailureClass::Unknown),
        (Effect::Gibberish(503), FailureClass::ServerError),
        (Effect::Gibberish(429), FailureClass::Throttled),
        (Effect::Gibberish(200), FailureClass::ServerError),
        (Effect::Hang, FailureClass::Timeout),
        (Effect::Slow(Duration::from_secs(30)), FailureClass::Timeout),
        (Effect::Reset, FailureClass::Unreachable),
        (Effect::AcceptThenHang, FailureClass::Timeout),
        (Effect::AcceptThenReset, FailureClass::Unreachable),
        (Effect::AcceptThenGibberish, FailureClass::ServerError),
        (Effect::FailEntries(Pick::All, "InternalError", false), FailureClass::ServerError),
        (Effect::FailEntries(Pick::Index(0), "Throttled", true), FailureClass::Throttled),
        (Effect::FailEntries(Pick::Index(0), "KMSAccessDenied", true), FailureClass::Denied),
        (Effect::LoseEntries(Pick::All), FailureClass::ServerError),
    ];
    // Side by side: most of the time they wait.
    let mut running = JoinSet::new();
    for (effect, class) in cases {
        running.spawn(passes_by_itself("changes", effect.clone(), class));
        running.spawn(passes_by_itself(FIFO, effect, class));
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("no case panicked");
    }
}

#[tokio::test]
async fn a_poisoned_message_is_given_back_and_its_neighbours_arrive() {
    for (topic, effect, when) in [
        (
            "a",
            Effect::FailEntries(Pick::BodyContains(":7:".to_owned()), "InvalidParameter", true),
            When::Always,
        ),
        (
            "b.fifo",
            Effect::Refuse(400, "InvalidParameter", "one of them, guess which"),
            When::BodyContains(":7:".to_owned()),
        ),
        (
            "c",
            Effect::Refuse(400, "InvalidParameter", "one of them, guess which"),
            When::BodyContains(":7:".to_owned()),
        ),
    ] {
        let mut rig = Rig::start(topic).await;
        rig.endpoint.fault(CALL, when, effect);
        for number in 0..30 {
            rig.send(number % 10, 100).await;
        }
        let mut outcome = rig.finish().await;
        outcome.settled.sort_unstable();
        let others: Vec<u64> = (0..30).filter(|id| *id != 7).collect();
        assert_eq!(outcome.settled, others, "{topic}");
        let [(message, refusal)] = outcome.failed.as_slice() else {
            panic!("{topic}: {:?}", outcome.failed)
        };
        assert_eq!(message.id, 7);
        assert_eq!(message.body.len(), 100, "unchanged");
        assert!(
            matches!(refusal, MessageRejected::Refused { code, .. } if code == "InvalidParameter")
        );
        assert!(outcome.result.is_ok());
    }
}

#[tokio::test]
async fn with_halt_nothing_of_the_lane_passes_a_refused_message() {
    let mut rig = Rig::with(
        "changes.fifo",
        &[],
        |config| binpulse::sink::sns::Config { on_refusal: OnRefusal::Halt, ..config },
        1 << 20,
    )
    .await;
    let poison =
        Effect::FailEntries(Pick::BodyContains(":3:".to_owned()), "InvalidParameter", true);
    rig.endpoint.fault(CALL, When::Always, poison);
    for _ in 0..10 {
        rig.send(1, 50).await;
    }
    let endpoint = rig.endpoint.clone();
    let outcome = rig.finish().await;
    assert!(matches!(outcome.result, Err(Error::Halted(_))), "{:?}", outcome.result);
    assert_eq!(outcome.settled, [0, 1, 2]);
    assert_eq!(outcome.failed.len(), 1);
    assert_eq!(endpoint.bodies().len(), 3);
}

#[tokio::test]
async fn while_somebody_has_to_fix_something_it_is_tried_with_one_call_now_and_then() {
    let mut rig = Rig::start("changes").await;
    rig.endpoint.fault(CALL, When::Always, Effect::DENIED);
    rig.send(0, 50).await;
    rig.until("it is denied", |now| now.consecutive[FailureClass::Denied as usize] >= 3).await;
    for lane in 0..100 {
        rig.send(lane, 50).await;
    }
    rig.until("it goes on trying", |now| now.consecutive[FailureClass::Denied as usize] >= 10)
        .await;
    let now = rig.health.snapshot(std::time::Instant::now());
    assert_eq!(now.impediment, Some(FailureClass::Denied));
    assert_eq!(now.blocked_topics, 1);
    assert!(now.in_flight_requests <= 1, "{now:?}");
    assert!(now.oldest_unsettled.is_some());
    rig.endpoint.heal();
    let outcome = rig.finish().await;
    assert_eq!(outcome.settled.len(), 101);
}

#[tokio::test]
async fn a_topic_that_is_named_later_is_waited_for() {
    let mut rig = Rig::start("changes").await;
    let later = "arn:aws:sns:eu-west-1:000000000000:later";
    rig.topic = later.into();
    rig.send(0, 50).await;
    rig.until("it is missed", |now| now.impediment == Some(FailureClass::NotFound)).await;
    rig.endpoint.topic("later", &[]);
    let outcome = rig.finish().await;
    assert_eq!(outcome.settled, [0]);
}

#[tokio::test]
async fn a_destination_that_is_no_topic_is_given_back() {
    let mut rig = Rig::start("changes").await;
    rig.topic = "nonsense".into();
    rig.send(0, 50).await;
    let outcome = rig.finish().await;
    assert_eq!(outcome.failed.len(), 1);
    assert!(outcome.failed[0].1.to_string().contains("NotATopic"), "{:?}", outcome.failed);
}
