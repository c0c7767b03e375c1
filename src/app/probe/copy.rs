//! Canaries of a copy, as the relay wrote them: its table has the newest one of each stream and path.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use binpulse_relay::target::copy::{Copy, CopyCanary};
use tokio_util::sync::CancellationToken;

use super::{Shared, read, take_canary};
use crate::freshness::Phase;
use crate::freshness::canary::echo::Canary;
use crate::telemetry::metrics::ProbeMetrics;

/// Time between two looks.
const TICK: Duration = Duration::from_secs(1);

/// Canaries that were told, by stream and path: the newest, and how many there were.
#[derive(Debug, Default)]
struct Seen(HashMap<(String, String), (CopyCanary, u64)>);

impl Seen {
    /// The canary, unless it was told before. Those between two looks are not seen, so they are numbered
    /// as they come.
    fn take(&mut self, found: CopyCanary) -> Option<Canary> {
        let key = (found.stream.clone(), found.path.clone());
        let count = match self.0.get(&key) {
            Some((known, _)) if *known == found => return None,
            Some((known, count)) if known.epoch == found.epoch => count + 1,
            Some(_) | None => 1,
        };
        let phase = Phase::ALL.into_iter().find(|phase| phase.as_str() == found.phase);
        let canary = Canary {
            stream: found.stream.clone(),
            server_uuid: String::new(),
            epoch: found.epoch,
            sequence: count,
            path: found.path.clone(),
            number: found.number,
            phase: phase.unwrap_or(Phase::Insert),
            written_at_us: found.written_at_us,
            watermark_at_us: 0,
            verdict: String::new(),
            nonce: Vec::new(),
        };
        self.0.insert(key, (found, count));
        Some(canary)
    }
}

/// Looks until `stop` is cancelled.
pub(super) async fn run(
    copy: Copy,
    account: Shared,
    metrics: Arc<ProbeMetrics>,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut seen, mut has_failed) = (Seen::default(), false);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match copy.canaries().await {
            Ok(found) => {
                has_failed = false;
                read(&account).read(Instant::now());
                for canary in found.into_iter().filter_map(|found| seen.take(found)) {
                    take_canary(&account, &metrics, &canary, Instant::now());
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut has_failed, true) {
                    tracing::warn!(%error, "the canaries of the copy can't be read");
                }
                read(&account).failed(error.to_string().replacen("relay.to", "probe.copy", 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_told_once_and_those_between_two_looks_are_not_missed() {
        let found = |epoch, number| CopyCanary {
            stream: "shop".to_owned(),
            path: String::new(),
            epoch,
            number,
            phase: "update".to_owned(),
            written_at_us: 7,
        };
        let mut seen = Seen::default();
        let mut take = |epoch, number| {
            seen.take(found(epoch, number))
                .map(|canary| (canary.sequence, canary.number, canary.phase))
        };
        assert_eq!(take(1, 40), Some((1, 40, Phase::Update)));
        assert_eq!(take(1, 40), None);
        assert_eq!(take(1, 47), Some((2, 47, Phase::Update)));
        assert_eq!(take(2, 1), Some((1, 1, Phase::Update)));
    }
}
