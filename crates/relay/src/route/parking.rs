//! Parked rows: kept for an operator, and tried again when told to.

use std::collections::HashMap;

use super::delivery::{Task, What};
use super::store::LaneStore;
use super::{BACK_PAUSE, Halt, ParkedCommand, Route, delivery, wall_clock_us};
use crate::body::{self, Bodies};
use crate::lane::LaneKey;
use crate::lanes::requests::text_of;
use crate::state::{Parked, ParkedEntry, ParkedFilter, Reason, StateError};
use crate::target::receiver::Receive;

/// Parked requests that are shown.
const SHOWN_MAX: usize = 1_000;
/// Parked rows that are looked at together.
const RETRIES_MAX: usize = 100;

/// Parked rows.
#[derive(Debug, Default)]
pub(super) struct Parking {
    /// Parked with the next save.
    pub(super) to_park: HashMap<LaneKey, Vec<Parked>>,
    /// Tried again just now: their ids and lanes.
    pub(super) retrying: HashMap<String, LaneKey>,
    /// What is saved of these next.
    pub(super) retried: HashMap<LaneKey, Retried>,
    /// Requests that are parked.
    pub(super) count: u64,
}

/// Parked rows that were tried again: delivered, and failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Retried {
    pub(super) delivered: Vec<Parked>,
    pub(super) failed: Vec<Parked>,
}

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
            let done = match &command {
                ParkedCommand::Retry(ids) if ids.is_empty() => self.retry_all().await,
                ParkedCommand::Retry(ids) => self.parts.store.retry(ids).await,
                ParkedCommand::Drop(ids) => self.parts.store.unpark(ids).await,
            };
            match done {
                Ok(requests) => tracing::info!(?command, requests, "parked rows: done as told"),
                Err(error) => {
                    self.parts.status.command(command);
                    return self.state_failed(error);
                }
            }
        }
        Ok(())
    }

    async fn retry_all(&self) -> Result<u64, StateError> {
        let filter = ParkedFilter { to_retry: Some(false), ..ParkedFilter::default() };
        let (mut all, mut after) = (0, 0);
        loop {
            let entries = self.parts.store.parked(&filter, after, RETRIES_MAX).await?;
            let Some(last) = entries.last() else { return Ok(all) };
            after = last.number;
            let with_lane = entries.into_iter().filter(|entry| entry.parked.lane.is_some());
            let ids: Vec<_> = with_lane.map(|entry| entry.parked.id).collect();
            all += self.parts.store.retry(&ids).await?;
        }
    }

    /// Looks at what is parked: shows it, tries again what operators want, and lets go of keys of which
    /// nothing is parked any more.
    pub(super) async fn look_at_parked(&mut self) -> Result<(), Halt> {
        let to_retry = match self.parked_now().await {
            Ok(to_retry) => to_retry,
            Err(error) => return self.state_failed(error),
        };
        for (lane, parked) in to_retry {
            if self.hold_lane(&lane).await? {
                self.parking.retrying.insert(parked.id.clone(), lane.clone());
                let what = What::Parked { lane, parked: Box::new(parked) };
                self.deliveries.push(Task { what, attempts: 0, request: None });
            }
        }
        Ok(())
    }

    /// Counts and shows what is parked; returns what is to be tried again.
    async fn parked_now(&mut self) -> Result<Vec<(LaneKey, Parked)>, StateError> {
        let all = ParkedFilter::default();
        let count = self.parts.store.parked_count(&all).await?;
        self.parking.count = count;
        // An idle look is one call.
        let (mut shown, mut to_retry) = (Vec::new(), Vec::new());
        if count > 0 {
            shown = self.parts.store.parked(&all, 0, SHOWN_MAX).await?;
            to_retry = self.to_retry().await?;
        }
        self.parts.status.set_parked(shown);
        self.look_for_unparked(count).await?;
        Ok(to_retry)
    }

    /// Parked rows that an operator wants to be tried again, and that stand behind no other of their keys.
    async fn to_retry(&self) -> Result<Vec<(LaneKey, Parked)>, StateError> {
        let filter = ParkedFilter { to_retry: Some(true), ..ParkedFilter::default() };
        let mut found = Vec::new();
        for entry in self.parts.store.parked(&filter, 0, RETRIES_MAX).await? {
            let ParkedEntry { number, parked, .. } = entry;
            let Some(lane) = parked.lane.clone() else { continue };
            if self.parking.retrying.contains_key(&parked.id) {
                continue;
            }
            let earlier = ParkedFilter {
                lane: Some(lane.clone()),
                keys: parked.keys.clone(),
                before: Some(number),
                ..ParkedFilter::default()
            };
            if parked.keys.is_empty() || self.parts.store.parked_count(&earlier).await? == 0 {
                found.push((lane, parked));
            }
        }
        Ok(found)
    }

    /// Keys of which nothing is parked any more go again.
    async fn look_for_unparked(&mut self, count: u64) -> Result<(), StateError> {
        let mut free = Vec::new();
        // What is to be parked with the next save is not in the store yet.
        let saved = |lane: &LaneKey| !self.parking.to_park.contains_key(lane);
        for (lane, state) in self.lanes.iter().filter(|(lane, _)| saved(lane)) {
            for key in state.requests.parked_keys() {
                let (lane, keys) = (Some(lane.clone()), vec![key.clone()]);
                let filter = ParkedFilter { lane: lane.clone(), keys, ..ParkedFilter::default() };
                if count == 0 || self.parts.store.parked_count(&filter).await? == 0 {
                    free.extend(lane.map(|lane| (lane, key)));
                }
            }
        }
        for (lane, key) in free {
            if let Some(state) = self.lanes.get_mut(&lane) {
                tracing::info!(%lane, "nothing of a key is parked any more: its rows are delivered again");
                state.requests.unparked(&[key]);
            }
            self.touched.insert(lane);
        }
        Ok(())
    }
}

/// A request as it is parked.
pub(super) fn parked(
    task: &mut Task,
    bodies: &Bodies,
    reason: Reason,
    attempts: u32,
    answer: String,
) -> Parked {
    let request = delivery::request(task, bodies);
    let keys = match &task.what {
        What::Rows { run, .. } => &run.keys[..],
        What::Parked { .. } | What::Canary { .. } => &[],
    };
    let others = keys.iter().map(|key| text_of(*key)).filter(|key| *key != request.group);
    let group = (!keys.is_empty()).then(|| request.group.clone());
    Parked {
        id: request.id.clone(),
        lane: Some(request.lane.clone()),
        first: request.first,
        last: request.last,
        keys: group.into_iter().chain(others).collect(),
        body: request.body.to_vec(),
        content_type: request.content_type.to_owned(),
        reason,
        attempts,
        answer,
        parked_at_us: wall_clock_us(),
    }
}

/// A message that can't be opened, as it is parked.
pub(super) fn message_parked(body: String, why: &str) -> Parked {
    Parked {
        id: body::message_id(&body),
        lane: None,
        first: 0,
        last: 0,
        keys: Vec::new(),
        body: body.into_bytes(),
        content_type: String::from("text/plain"),
        reason: Reason::Unreadable,
        attempts: 0,
        answer: why.to_owned(),
        parked_at_us: wall_clock_us(),
    }
}
