//! Parked rows: kept for an operator, and tried again when told to.

use std::collections::{HashMap, HashSet};

use super::delivery::{Task, What};
use super::store::LaneStore;
use super::{BACK_PAUSE, Halt, ParkedCommand, Route, delivery, wall_clock_us};
use crate::body::{self, Bodies};
use crate::lane::LaneKey;
use crate::state::{Parked, ParkedFilter, Reason, StateError};
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
    /// Tried again just now, by their ids.
    pub(super) retrying: HashSet<String>,
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

    /// Where parked rows of a lane go that were tried again; it is saved with the next turn.
    pub(super) fn retried(&mut self, lane: LaneKey) -> &mut Retried {
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.requests.save_again();
        }
        self.touched.insert(lane.clone());
        self.parking.retried.entry(lane).or_default()
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

    pub(super) async fn retry_all(&self) -> Result<u64, StateError> {
        let filter = ParkedFilter { to_retry: Some(false), ..ParkedFilter::default() };
        let mut all = 0;
        loop {
            let entries = self.parts.store.parked(&filter, RETRIES_MAX).await?;
            let ids: Vec<_> = entries
                .into_iter()
                .filter(|entry| entry.parked.lane.is_some())
                .map(|entry| entry.parked.id)
                .collect();
            if ids.is_empty() {
                return Ok(all);
            }
            all += self.parts.store.retry(&ids).await?;
        }
    }

    /// Shows what is parked.
    pub(super) async fn list_parked(&mut self) -> Result<(), Halt> {
        match self.parts.store.parked(&ParkedFilter::default(), SHOWN_MAX).await {
            Ok(entries) => {
                if entries.len() < SHOWN_MAX {
                    self.parking.count = entries.len() as u64;
                }
                self.parts.status.set_parked(entries);
                Ok(())
            }
            Err(error) => self.state_failed(error),
        }
    }

    /// Looks for parked rows that an operator wants to be tried again: of each key the first.
    pub(super) async fn look_for_retries(&mut self) -> Result<(), Halt> {
        let filter = ParkedFilter { to_retry: Some(true), ..ParkedFilter::default() };
        let entries = match self.parts.store.parked(&filter, RETRIES_MAX).await {
            Ok(entries) => entries,
            Err(error) => return self.state_failed(error),
        };
        let mut keys: HashSet<(LaneKey, String)> = HashSet::new();
        for entry in entries {
            let parked = entry.parked;
            let Some(lane) = parked.lane.clone() else { continue };
            let key = (lane.clone(), parked.key.clone().unwrap_or_default());
            let is_under_way = self.parking.retrying.contains(&parked.id);
            if !keys.insert(key) || is_under_way || !self.hold_lane(&lane).await? {
                continue;
            }
            self.parking.retrying.insert(parked.id.clone());
            let what = What::Parked { lane, parked: Box::new(parked) };
            self.deliveries.push(Task { what, attempts: 0, request: None });
        }
        Ok(())
    }

    /// Keys of which nothing is parked any more go again.
    pub(super) async fn look_for_unparked(&mut self) -> Result<(), Halt> {
        let mut free = Vec::new();
        for (lane, state) in &self.lanes {
            let keys: Vec<_> = state.requests.parked_keys().take(RETRIES_MAX).collect();
            for key in keys {
                let (lane, key) = (Some(lane.clone()), Some(key));
                let filter = ParkedFilter { lane, key, ..ParkedFilter::default() };
                match self.parts.store.parked_count(&filter).await {
                    Ok(0) => free.push(filter),
                    Ok(_) => {}
                    Err(error) => return self.state_failed(error),
                }
            }
        }
        for filter in free {
            let (Some(lane), Some(key)) = (filter.lane, filter.key) else { continue };
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
    Parked {
        id: request.id.clone(),
        lane: Some(request.lane.clone()),
        first: request.first,
        last: request.last,
        key: Some(request.group.clone()),
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
        key: None,
        body: body.into_bytes(),
        content_type: String::from("text/plain"),
        reason: Reason::Unreadable,
        attempts: 0,
        answer: why.to_owned(),
        parked_at_us: wall_clock_us(),
    }
}
