//! What canaries tell a route: which rows the topic has accepted, and whether another relay reads the
//! queue too. They go to the target like rows.

use std::collections::HashMap;
use std::sync::Arc;

use binpulse_client::proto;

use super::Route;
use crate::body;
use crate::lane::LaneKey;
use crate::route::delivery::{Task, What};
use crate::route::halt::Halt;
use crate::route::lane::{stream_of, watermarks};
use crate::route::limits::LANES_MAX;
use crate::route::sharing::Sharing;
use crate::route::store::LaneStore;
use crate::target::receiver::Receive;

/// What canaries tell.
#[derive(Debug, Default)]
pub(super) struct Canaries {
    /// The newest watermarks.
    pub(super) accepted: HashMap<LaneKey, u64>,
    /// Which of them have come.
    sharing: Sharing,
}

impl<R: Receive, S: LaneStore> Route<R, S> {
    pub(super) fn canary(&mut self, number: u64, canary: &proto::Canary) {
        let now = self.now();
        if self.parts.config.is_alone {
            self.canaries.sharing.came(canary, now, self.parts.config.waits.first);
        }
        for (key, sequence_next) in watermarks(canary) {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.order.watermark(sequence_next, now);
                self.touched.insert(key.clone());
            }
            if self.canaries.accepted.len() < LANES_MAX || self.canaries.accepted.contains_key(&key)
            {
                self.canaries.accepted.insert(key, sequence_next);
            }
        }
        // While the target fails canaries would only pile up: that they do not arrive says enough.
        let is_failing = self.deliveries.is_open() || self.deliveries.gone.is_some();
        if !self.parts.config.sends_canaries || is_failing {
            self.messages.finish(number);
            return;
        }
        let (stream, epoch) = stream_of(canary);
        let request = Arc::new(body::canary(stream, epoch, canary));
        let what = What::Canary { message: number, request };
        self.deliveries.push(Task { what, attempts: 0, request: None });
    }

    /// Rows that another relay gets are none of this one's to deliver, or to ask for again.
    pub(super) fn look_for_other_readers(&self) -> Result<(), Halt> {
        // For so long what a relay held that was killed does not come.
        let wait = self.parts.config.waits.first;
        self.canaries.sharing.found(self.now(), wait).map_or(Ok(()), |(path, missing)| {
            let (queue, stream) = (self.parts.queue.url().to_owned(), path.to_string());
            Err(Halt::QueueShared { queue, stream, missing })
        })
    }

    /// Takes lanes of which rows were accepted by the topic, as a canary says, and that nobody has: were
    /// these rows lost, nothing of such a lane would arrive, and nobody would ask for them.
    pub(super) async fn look_at_idle_lanes(&mut self) -> Result<(), Halt> {
        if self.canaries.accepted.keys().all(|lane| self.lanes.contains_key(lane)) {
            return Ok(());
        }
        let idle = match self.parts.store.idle_lanes().await {
            Ok(idle) => idle,
            Err(error) => return self.state_failed(error),
        };
        let now = self.now();
        for (lane, next) in idle {
            let accepted = self.canaries.accepted.get(&lane).copied().unwrap_or_default();
            if next > 0
                && accepted > next
                && lane.is_wanted(&*self.parts.config.filter.table)
                && self.hold_lane(&lane).await?
            {
                if let Some(state) = self.lanes.get_mut(&lane) {
                    state.order.watermark(accepted, now);
                }
                self.touched.insert(lane);
            }
        }
        Ok(())
    }
}
