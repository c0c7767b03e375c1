//! What a route parks, and what becomes of it when operators try it again or drop it.

use tokio::time::Instant;

use super::Route;
use crate::clock::random;
use crate::lane::LaneKey;
use crate::outbox;
use crate::route::delivery::{Task, What};
use crate::route::halt::Halt;
use crate::route::lane::Content;
use crate::route::limits::BACK_PAUSE;
use crate::route::parking::{self, Retried, message_parked, parked};
use crate::route::receiver::Parts;
use crate::route::store::LaneStore;
use crate::state::{Parked, Reason};
use crate::target::receiver::Receive;

impl<R: Receive, S: LaneStore> Route<R, S> {
    pub(super) async fn park_message(
        &mut self,
        number: u64,
        body: String,
        why: &str,
    ) -> Result<(), Halt> {
        let parked = message_parked(body, why);
        match self.parts.store.park(&[parked]).await {
            Ok(()) => {
                self.messages.finish(number);
                Ok(())
            }
            Err(error) => {
                self.messages.give_back(vec![number], BACK_PAUSE).await;
                self.state_failed(error)
            }
        }
    }

    /// Parks rows that came after their lane had begun behind them: newer rows of their keys may be
    /// delivered, so an operator decides. `false`: that failed, and the message was given back.
    pub(super) async fn park_late(
        &mut self,
        lane: &LaneKey,
        content: &Content,
    ) -> Result<bool, Halt> {
        let Some(state) = self.lanes.get(lane) else { return Ok(true) };
        let mut entries = Vec::new();
        for run in state.late(&self.parts.config, content) {
            let what = What::Rows { lane: lane.clone(), run };
            let mut task = Task { what, attempts: 0, request: None };
            let answer = "the lane had begun behind these rows when they came";
            entries.extend(parked(&mut task, &self.bodies, Reason::Late, 0, answer));
        }
        if entries.is_empty() {
            return Ok(true);
        }
        if let Err(error) = self.parts.store.park(&entries).await {
            self.messages.give_back(vec![content.message], BACK_PAUSE).await;
            self.state_failed(error)?;
            return Ok(false);
        }
        tracing::warn!(
            %lane, first = content.first,
            "rows are parked that came after their lane had begun behind them"
        );
        self.parts.metrics.rows.with_label_values(&["parked"]).inc_by(entries.len() as u64);
        self.parking.count += entries.len() as u64;
        Ok(true)
    }

    /// Parks messages of outboxes that were given up.
    pub(super) async fn park_outboxes(&mut self) -> Result<(), Halt> {
        if self.outboxes.to_park.is_empty() || Instant::now() < self.saving.not_before {
            return Ok(());
        }
        let given_up = std::mem::take(&mut self.outboxes.to_park);
        let parked: Vec<_> = given_up.iter().map(|(_, _, parked)| parked.clone()).collect();
        if let Err(error) = self.parts.store.park(&parked).await {
            self.outboxes.to_park = given_up;
            self.saving.not_before = Instant::now() + self.saving.backoff.pause(random());
            return self.state_failed(error);
        }
        self.parts.metrics.rows.with_label_values(&["parked"]).inc_by(parked.len() as u64);
        self.parking.count += parked.len() as u64;
        for (group, message, _) in given_up {
            self.outbox_done(message, &group);
        }
        Ok(())
    }

    pub(super) fn given_up(
        &mut self,
        mut task: Task,
        attempts: u32,
        answer: String,
        is_refused: bool,
    ) {
        let (lane, run, rows) = match task.what {
            What::Canary { message, .. } => return self.messages.finish(message),
            What::Outbox { message, request, .. } => {
                let reason = if is_refused { Reason::TooLarge } else { Reason::Refused };
                let parked = outbox::parked(&request, reason, attempts, &answer);
                tracing::warn!(id = parked.id, answer, "a message of an outbox is parked");
                self.outboxes.to_park.push((request.group.clone(), message, parked));
                return;
            }
            What::Parked { lane, parked } => {
                let attempts = parked.attempts.saturating_add(attempts);
                let parked = Parked { attempts, answer, ..*parked };
                return self.retried(lane, |retried| retried.failed.push(parked));
            }
            What::Rows { ref lane, ref run } => (lane.clone(), run.number, run.rows.len() as u64),
        };
        let Some(state) = self.lanes.get_mut(&lane) else { return };
        let reason = if is_refused { Reason::TooLarge } else { Reason::Refused };
        self.parts.metrics.rows.with_label_values(&["parked"]).inc_by(rows);
        let parked = parked(&mut task, &self.bodies, reason, attempts, &answer);
        let id = parked.first().map(|parked| parked.id.as_str());
        tracing::warn!(%lane, id, answer, "a request is parked");
        state.requests.parked(run);
        self.touched.insert(lane.clone());
        self.parking.to_park.entry(lane).or_default().extend(parked);
    }

    /// Parked rows were tried again: they are saved with the next turn, by whoever holds the lane.
    pub(super) fn retried(&mut self, lane: LaneKey, note: impl FnOnce(&mut Retried)) {
        let Some(state) = self.lanes.get_mut(&lane) else { return };
        state.requests.save_again();
        self.touched.insert(lane.clone());
        note(self.parking.retried.entry(lane).or_default());
    }

    /// Does what operators want with parked rows.
    pub(super) async fn obey(&mut self) -> Result<(), Halt> {
        for command in self.parts.status.take_commands() {
            match parking::obey(&self.parts.store, &command).await {
                Ok(requests) => tracing::info!(?command, requests, "parked rows: done as told"),
                Err(error) => {
                    self.parts.status.command(command);
                    return self.state_failed(error);
                }
            }
        }
        Ok(())
    }

    /// Tries parked rows again that operators want to be, and lets go of keys of which nothing is parked.
    pub(super) async fn look_at_parked(&mut self) -> Result<(), Halt> {
        let Parts { store, status, .. } = &self.parts;
        let look = match self.parking.look(store, status, &self.lanes).await {
            Ok(look) => look,
            Err(error) => return self.state_failed(error),
        };
        for (lane, parked) in look.to_retry {
            if self.hold_lane(&lane).await? {
                self.parking.retrying.insert(parked.id.clone(), lane.clone());
                let what = What::Parked { lane, parked: Box::new(parked) };
                self.deliveries.push(Task { what, attempts: 0, request: None });
            }
        }
        for (lane, key) in look.free {
            if let Some(state) = self.lanes.get_mut(&lane) {
                tracing::info!(%lane, "nothing of a key is parked any more: its rows are delivered again");
                state.requests.unparked(&[key]);
            }
            self.touched.insert(lane);
        }
        Ok(())
    }
}
