//! Parked rows: kept for an operator, and tried again when told to.

use std::collections::{BTreeMap, HashMap};

use super::delivery::{self, Task, What};
use super::lane::LaneState;
use super::status::{ParkedCommand, Status};
use super::store::LaneStore;
use crate::body::{self, Bodies};
use crate::clock::wall_clock_us;
use crate::lane::LaneKey;
use crate::lanes::requests::text_of;
use crate::state::{Parked, ParkedEntry, ParkedFilter, Reason, StateError};

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

/// What a look at parked rows finds.
#[derive(Debug)]
pub(super) struct Look {
    /// To be tried again.
    pub(super) to_retry: Vec<(LaneKey, Parked)>,
    /// Keys of which nothing is parked any more: their rows go again.
    pub(super) free: Vec<(LaneKey, String)>,
}

/// Parked rows that were tried again: delivered, and failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Retried {
    pub(super) delivered: Vec<Parked>,
    pub(super) failed: Vec<Parked>,
}

impl Parking {
    /// Counts what is parked and shows it; finds what is to be tried again, and which keys are free.
    pub(super) async fn look<S: LaneStore>(
        &mut self,
        store: &S,
        status: &Status,
        lanes: &BTreeMap<LaneKey, LaneState>,
    ) -> Result<Look, StateError> {
        let all = ParkedFilter::default();
        self.count = store.parked_count(&all).await?;
        // An idle look is one call.
        let (mut shown, mut to_retry) = (Vec::new(), Vec::new());
        if self.count > 0 {
            shown = store.parked(&all, 0, SHOWN_MAX).await?;
            to_retry = self.to_retry(store).await?;
        }
        status.set_parked(shown);
        Ok(Look { to_retry, free: self.free(store, lanes).await? })
    }

    /// Parked rows that an operator wants to be tried again, and that stand behind no other of their keys.
    async fn to_retry<S: LaneStore>(
        &self,
        store: &S,
    ) -> Result<Vec<(LaneKey, Parked)>, StateError> {
        let filter = ParkedFilter { to_retry: Some(true), ..ParkedFilter::default() };
        let mut found = Vec::new();
        for entry in store.parked(&filter, 0, RETRIES_MAX).await? {
            let ParkedEntry { number, parked, .. } = entry;
            let Some(lane) = parked.lane.clone() else { continue };
            if self.retrying.contains_key(&parked.id) {
                continue;
            }
            let earlier = ParkedFilter {
                lane: Some(lane.clone()),
                keys: parked.keys.clone(),
                before: Some(number),
                ..ParkedFilter::default()
            };
            if parked.keys.is_empty() || store.parked_count(&earlier).await? == 0 {
                found.push((lane, parked));
            }
        }
        Ok(found)
    }

    /// Keys that rows wait for, and of which nothing is parked any more.
    async fn free<S: LaneStore>(
        &self,
        store: &S,
        lanes: &BTreeMap<LaneKey, LaneState>,
    ) -> Result<Vec<(LaneKey, String)>, StateError> {
        let mut free = Vec::new();
        // What is to be parked with the next save is not in the store yet.
        let is_saved = |lane: &LaneKey| !self.to_park.contains_key(lane);
        for (lane, state) in lanes.iter().filter(|(lane, _)| is_saved(lane)) {
            for key in state.requests.parked_keys() {
                let (of, keys) = (Some(lane.clone()), vec![key.clone()]);
                let filter = ParkedFilter { lane: of, keys, ..ParkedFilter::default() };
                if self.count == 0 || store.parked_count(&filter).await? == 0 {
                    free.push((lane.clone(), key));
                }
            }
        }
        Ok(free)
    }
}

/// Does what an operator wants with parked rows; returns how many there were.
pub(super) async fn obey<S: LaneStore>(
    store: &S,
    command: &ParkedCommand,
) -> Result<u64, StateError> {
    match command {
        ParkedCommand::Retry(ids) if ids.is_empty() => retry_all(store).await,
        ParkedCommand::Retry(ids) => store.retry(ids).await,
        ParkedCommand::Drop(ids) => store.unpark(ids).await,
    }
}

async fn retry_all<S: LaneStore>(store: &S) -> Result<u64, StateError> {
    let filter = ParkedFilter { to_retry: Some(false), ..ParkedFilter::default() };
    let (mut all, mut after) = (0, 0);
    loop {
        let entries = store.parked(&filter, after, RETRIES_MAX).await?;
        let Some(last) = entries.last() else { return Ok(all) };
        after = last.number;
        let with_lane = entries.into_iter().filter(|entry| entry.parked.lane.is_some());
        let ids: Vec<_> = with_lane.map(|entry| entry.parked.id).collect();
        all += store.retry(&ids).await?;
    }
}

/// A request as it is parked, and what follows it.
pub(super) fn parked(
    task: &mut Task,
    bodies: &Bodies,
    reason: Reason,
    attempts: u32,
    answer: &str,
) -> Vec<Parked> {
    let request = delivery::request(task, bodies);
    let keys = match &task.what {
        What::Rows { run, .. } => &run.keys[..],
        What::Parked { .. } | What::Canary { .. } | What::Outbox { .. } => &[],
    };
    let both = std::iter::once(&*request).chain(request.then.as_deref());
    let parked = both.map(|request| {
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
            answer: answer.to_owned(),
            parked_at_us: wall_clock_us(),
        }
    });
    parked.collect()
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
