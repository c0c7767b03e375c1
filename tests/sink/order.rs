//! Order and completeness under a storm of faults, by seed.

use std::collections::HashMap;
use std::time::Duration;

use binpulse::sink::OnRefusal;
use binpulse::sink::sns::Config;

use tokio::task::JoinSet;

use crate::aws::faults::{Effect, Pick, When};
use crate::rig::{Rig, place};

const CALL: &str = "PublishBatch";
const MESSAGES: u64 = 250;

/// Many ways to fail, each now and then.
fn storm(rig: &Rig, seed: u64) {
    *rig.endpoint.shared.faults() = crate::aws::faults::Faults::new(seed);
    for (probability, effect) in [
        (0.05, Effect::INTERNAL),
        (0.05, Effect::THROTTLED),
        (0.03, Effect::KMS_THROTTLING),
        (0.02, Effect::DENIED),
        (0.02, Effect::EXPIRED),
        (0.03, Effect::Reset),
        (0.03, Effect::AcceptThenReset),
        (0.01, Effect::AcceptThenHang),
        (0.03, Effect::AcceptThenGibberish),
        (0.03, Effect::Gibberish(502)),
        (0.10, Effect::Slow(Duration::from_millis(5))),
        (0.20, Effect::FailEntries(Pick::Probability(0.4), "InternalError", false)),
        (0.10, Effect::LoseEntries(Pick::Probability(0.4))),
    ] {
        rig.endpoint.fault(CALL, When::Probability(probability), effect);
    }
}

#[tokio::test]
async fn a_fifo_topic_gets_every_lane_in_order_and_nothing_twice() {
    let mut running = JoinSet::new();
    for seed in 1..=4 {
        running.spawn(fifo_in_a_storm(seed));
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("no seed panicked");
    }
}

async fn fifo_in_a_storm(seed: u64) {
    let mut rig = Rig::start("changes.fifo").await;
    storm(&rig, seed);
    for number in 0..MESSAGES {
        let lane = u32::try_from(number * number % 13).expect("small");
        rig.send(lane, 100).await;
    }
    let endpoint = rig.endpoint.clone();
    let outcome = rig.finish().await;
    assert!(outcome.result.is_ok(), "seed {seed}: {:?}", outcome.result);
    assert_eq!(outcome.settled.len() as u64, MESSAGES, "seed {seed}");
    let mut lanes: HashMap<u32, Vec<u64>> = HashMap::new();
    for body in endpoint.bodies() {
        let (lane, id) = place(&body);
        lanes.entry(lane).or_default().push(id);
    }
    assert_eq!(lanes.values().map(Vec::len).sum::<usize>() as u64, MESSAGES, "seed {seed}");
    for (lane, ids) in lanes {
        assert!(ids.is_sorted(), "seed {seed}, lane {lane}: {ids:?}");
    }
}

#[tokio::test]
async fn a_standard_topic_gets_everything_at_least_once() {
    let mut running = JoinSet::new();
    for seed in 1..=3 {
        running.spawn(standard_in_a_storm(seed));
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("no seed panicked");
    }
}

async fn standard_in_a_storm(seed: u64) {
    let mut rig = Rig::start("changes").await;
    storm(&rig, seed);
    for number in 0..MESSAGES {
        rig.send(u32::try_from(number % 7).expect("small"), 100).await;
    }
    let endpoint = rig.endpoint.clone();
    let mut outcome = rig.finish().await;
    outcome.settled.sort_unstable();
    assert_eq!(outcome.settled, (0..MESSAGES).collect::<Vec<_>>(), "seed {seed}");
    let mut arrived: Vec<u64> = endpoint.bodies().iter().map(|body| place(body).1).collect();
    arrived.sort_unstable();
    arrived.dedup();
    assert_eq!(arrived, outcome.settled, "seed {seed}");
}

#[tokio::test]
async fn poison_in_a_storm_is_the_only_thing_given_back() {
    let mut rig =
        Rig::with("t.fifo", &[], |c| Config { on_refusal: OnRefusal::GoOn, ..c }, 64 << 20).await;
    storm(&rig, 9);
    let poison = Pick::BodyContains("0:1".to_owned());
    rig.endpoint.fault(CALL, When::Always, Effect::FailEntries(poison, "InvalidParameter", true));
    for number in 0..MESSAGES {
        rig.send(u32::try_from(number % 5).expect("small"), 60).await;
    }
    let endpoint = rig.endpoint.clone();
    let outcome = rig.finish().await;
    assert_eq!((outcome.settled.len() + outcome.failed.len()) as u64, MESSAGES);
    assert!(outcome.failed.iter().all(|(message, _)| message.body.contains("0:1")));
    assert!(endpoint.bodies().iter().all(|body| !body.contains("0:1")));
}
