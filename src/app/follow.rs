//! Leads the stream to the primary: when its server turns out to take no writes and another of
//! `source.hosts` does, after a switch-over that left the old primary up, say.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use super::plan::Plan;
use super::primary::{Found, find, is_sought};
use super::state::State;
use crate::freshness::verdict::{Condition, Status};
use crate::freshness::watch::Shared;

/// Heartbeats between two looks for another primary.
const HEARTBEATS: u32 = 3;

/// Between two looks. `lease`: how long it holds, where others stand by. With nothing written it can't be
/// renewed: the next process takes it, begins at the same checkpoint on the same server, and loses it in its
/// turn, unless the stream gets to the primary before.
fn spacing(heartbeat: Duration, lease: Option<Duration>) -> Duration {
    let usual = heartbeat.saturating_mul(HEARTBEATS);
    lease.map_or(usual, |lease| usual.min(lease / 4))
}

/// Looks for the primary while the server of the stream takes no writes.
#[derive(Clone)]
pub(super) struct Follow {
    plan: Arc<Plan>,
    stream: State,
    verdict: Shared,
    /// The host that the stream is to be at.
    leads_to: Sender<usize>,
}

/// Both ends of the way to the stream, which begins at `host`.
pub(super) fn way(host: usize) -> (Sender<usize>, Receiver<usize>) {
    channel(host)
}

impl Follow {
    /// One, where the primary may be another host.
    pub(super) fn if_sought(
        plan: &Arc<Plan>,
        stream: &State,
        verdict: &Shared,
        leads_to: Sender<usize>,
    ) -> Option<Self> {
        let (stream, verdict) = (stream.clone(), verdict.clone());
        is_sought(plan).then(|| Self { plan: Arc::clone(plan), stream, verdict, leads_to })
    }

    /// Looks until told to stop.
    pub(super) async fn run(self, stop: CancellationToken) {
        let ha = &self.plan.ha;
        let heartbeat = self.plan.freshness.periods.heartbeat_interval;
        let spacing = spacing(heartbeat, ha.stands_by.then_some(ha.lifetime));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.follow_once(spacing) => {}
            }
        }
    }

    async fn follow_once(&self, spacing: Duration) {
        tokio::time::sleep(spacing).await;
        if !self.is_read_only() {
            return;
        }
        let Found::Primary(host) = find(&self.plan).await else { return };
        let Some(primary) = self.plan.source.hosts.get(host) else { return };
        let streamed = self.stream.read().identity.map(|identity| identity.host);
        if streamed.as_ref() != Some(primary) {
            tracing::warn!(
                %primary,
                "the server of the stream is read-only, and another host accepts writes"
            );
            self.leads_to.send_replace(host);
        }
    }

    /// As the verdict knows it: from a refused write, or because it was asked.
    fn is_read_only(&self) -> bool {
        self.verdict.read().status(Condition::SourceWritable) == Status::False
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primary_is_looked_for_while_the_lease_holds_where_others_stand_by() {
        let (heartbeat, lease) = (Duration::from_secs(5), Duration::from_secs(2));
        assert_eq!(spacing(heartbeat, None), Duration::from_secs(15));
        assert!(spacing(heartbeat, Some(lease)) * 3 < lease);
        assert_eq!(spacing(heartbeat, Some(Duration::from_mins(2))), Duration::from_secs(15));
    }
}
