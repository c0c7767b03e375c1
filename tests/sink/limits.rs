//! Sizes, rates and room.

use std::time::{Duration, Instant};

use binpulse::aws::Deadlines;
use binpulse::sink::sns::Config;
use binpulse::sink::{FailureClass, MessageRejected};

use crate::aws::faults::{Effect, When};
use crate::rig::Rig;

const CALL: &str = "PublishBatch";

#[tokio::test]
async fn a_call_never_exceeds_what_the_topic_takes() {
    for (limit, bytes) in [("262144", 65_536), ("1048576", 300_000), ("1024", 900)] {
        let patient = |config| Config { deadlines: Deadlines::default(), ..config };
        let mut rig = Rig::with("t", &[("MaximumMessageSize", limit)], patient, 64 << 20).await;
        for lane in 0..40 {
            rig.send(lane, bytes).await;
        }
        let outcome = rig.finish().await;
        assert_eq!(outcome.settled.len(), 40, "{limit}");
        assert_eq!(outcome.health.attempts_failed.iter().sum::<u64>(), 0, "{limit}: no refusal");
    }
}

#[tokio::test]
async fn small_messages_share_their_calls_when_they_queue() {
    let mut rig =
        Rig::with("t", &[], |config| Config { in_flight_max: 1, ..config }, 64 << 20).await;
    for lane in 0..200 {
        rig.send(lane, 10).await;
    }
    let endpoint = rig.endpoint.clone();
    assert_eq!(rig.finish().await.settled.len(), 200);
    let calls = endpoint.shared.store().publish_calls;
    assert!(calls <= 60, "{calls} calls");
}

#[tokio::test]
async fn a_message_over_the_limit_is_given_back_with_both_sizes() {
    let mut rig = Rig::with("t.fifo", &[("MaximumMessageSize", "2048")], |c| c, 1 << 20).await;
    rig.send(1, 100).await;
    rig.send(1, 4096).await;
    rig.send(1, 100).await;
    let outcome = rig.finish().await;
    assert_eq!(outcome.settled, [0, 2]);
    let [(message, MessageRejected::TooLarge { bytes, limit: 2048, .. })] =
        outcome.failed.as_slice()
    else {
        panic!("{:?}", outcome.failed)
    };
    assert_eq!((message.id, *bytes), (1, message.billed_bytes()));
}

#[tokio::test]
async fn a_lowered_limit_is_noticed_and_calls_are_split() {
    let attributes = [("MaximumMessageSize", "262144")];
    let mut rig =
        Rig::with("t", &attributes, |config| Config { in_flight_max: 1, ..config }, 64 << 20).await;
    rig.send(0, 100).await;
    rig.until("the first is there", |now| now.settled_messages == 1).await;
    {
        let mut store = rig.endpoint.shared.store();
        let topic = store.topics.values_mut().next().expect("one topic");
        topic.attributes.insert("MaximumMessageSize".to_owned(), "30000".to_owned());
    }
    for lane in 1..50 {
        rig.send(lane, 9_000).await;
    }
    let outcome = rig.finish().await;
    assert_eq!(outcome.settled.len(), 50);
    assert!(outcome.failed.is_empty());
    let too_large = outcome.health.attempts_failed[FailureClass::TooLarge as usize];
    assert!((1..=30).contains(&too_large), "{too_large}: the new limit was read");
}

#[tokio::test]
async fn a_throttled_sink_slows_down_to_the_quota_and_delivers_everything() {
    let mut rig = Rig::start("t").await;
    rig.endpoint.fault(CALL, When::Always, Effect::ThrottleAbove(500.0));
    for number in 0..1_500 {
        rig.send(number, 50).await;
    }
    rig.until("it is slowed down", |now| now.rate_limit.is_some()).await;
    let outcome = rig.finish().await;
    assert_eq!(outcome.settled.len(), 1_500);
    let throttled = outcome.health.attempts_failed[FailureClass::Throttled as usize];
    assert!(throttled < 2_000, "{throttled} attempts throttled for 1500 messages");
}

#[tokio::test]
async fn room_is_given_back_only_when_messages_are_settled() {
    let mut rig = Rig::with("t", &[], |c| c, 20_000).await;
    rig.endpoint.fault(CALL, When::Always, Effect::DENIED);
    let mut queued = 0;
    loop {
        let message = rig.message(0, 1_000);
        if rig.feed.try_send(message).is_err() {
            break;
        }
        queued += 1;
    }
    assert!((5..20).contains(&queued), "{queued} messages of 1 kB in 20 kB");
    let blocked = rig.message(0, 1_000);
    let feed = rig.feed.clone();
    let waiting = tokio::spawn(async move { feed.send(blocked).await });
    rig.until("it is denied", |now| now.impediment == Some(FailureClass::Denied)).await;
    assert!(!waiting.is_finished());
    rig.endpoint.heal();
    waiting.await.expect("no panic").expect("there is room again");
    assert_eq!(rig.finish().await.settled.len(), queued + 1);
}

#[tokio::test]
async fn stopping_delivers_what_is_held_within_the_grace() {
    let mut rig = Rig::start("t.fifo").await;
    rig.endpoint.fault(CALL, When::Always, Effect::Slow(Duration::from_millis(10)));
    for number in 0..100 {
        rig.send(number % 20, 50).await;
    }
    rig.stop.cancel();
    let feed = rig.feed.clone();
    let outcome = rig.finish().await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert_eq!(outcome.settled.len(), 100);
    drop(feed);
}

#[tokio::test]
async fn the_grace_ends_also_when_nothing_answers() {
    let grace = Duration::from_millis(300);
    let mut rig = Rig::with("t", &[], |config| Config { grace, ..config }, 1 << 20).await;
    rig.endpoint.fault(CALL, When::Always, Effect::Hang);
    for _ in 0..5 {
        rig.send(0, 50).await;
    }
    let started = Instant::now();
    rig.stop.cancel();
    let outcome = rig.finish().await;
    assert!(started.elapsed() < Duration::from_secs(5));
    let Err(binpulse::sink::Error::Unfinished { messages: 5, .. }) = outcome.result else {
        panic!("{:?}", outcome.result)
    };
    assert!(outcome.settled.is_empty());
}
