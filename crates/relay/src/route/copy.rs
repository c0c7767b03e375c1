//! One route for a copy: from the queue to transactions, and from what they applied to deletions.
//!
//! The copy keeps the numbers of its lanes itself, in the transactions that write their rows. So there
//! are no leases: a second process finds out in its transaction that rows were applied before.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use binpulse_client::proto;
use binpulse_core::backoff::Backoff;
use binpulse_core::encode::opened::OpenedRows;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::config::{Config, TableFilter};
use super::gaps::{Asked, Found, GapState, Heal, Missing, PartsGap, asked, policy, spawn};
use super::halt::Halt;
use super::lane::{lane_of, stream_of, suppressed_rows, watermarks};
use super::limits::{BACK_PAUSE, GRACE, IDLE_LANES_TICKS, LANES_MAX, TICK, TURN_MAX};
use super::messages::Messages;
use super::parking::message_parked;
use super::poll::{Arrived, Content as Opened, Fetch, Polling, Room};
use super::status::{self, LaneView, ParkedCommand, Status};
use super::verified::Verified;
use crate::body::Bodies;
use crate::clock::{random, seconds, wall_clock_us};
use crate::lane::LaneKey;
use crate::lanes::order::{Entry, LaneOrder, Rows};
use crate::lanes::parts::Part;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::state::{LaneRecord, Parked, ParkedFilter, Reason, Store};
use crate::target::copy::{Applied, Copy, CopyError, Unit};

/// Rows of one transaction, at most, and bytes of the messages that they are in.
const ROWS_MAX: usize = 5_000;
const BYTES_MAX: usize = 8 << 20;

/// What a route to a copy works with.
pub struct CopyParts {
    /// What it is told to do.
    pub config: Config,
    /// Where messages come from.
    pub queue: Queue,
    /// The copy, once for each transaction that may run at the same time.
    pub copies: Vec<Copy>,
    /// Where rows that can't be applied are kept; `None`: they halt the route.
    pub store: Option<Store>,
    /// Who fetches objects.
    pub fetch: Arc<dyn Fetch>,
    /// Who publishes rows again; `None`: nobody can.
    pub heal: Option<Arc<dyn Heal>>,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// Where others see how it stands.
    pub status: Arc<Status>,
}

/// A message's rows, or a part.
#[derive(Debug, Clone)]
struct Content {
    message: u64,
    rows: Arc<OpenedRows>,
    part: Option<Arc<proto::SnapshotPart>>,
    bytes: usize,
}

/// What waits to be applied, in order.
#[derive(Debug, Clone)]
struct Work {
    unit: Unit,
    message: Option<u64>,
    rows: usize,
    bytes: usize,
    committed_at_us: Option<i64>,
}

/// A lane.
#[derive(Debug)]
struct Lane {
    order: LaneOrder<Content>,
    gap: GapState,
    parts_gap: PartsGap,
    /// Numbers that do not come, by the first of each range: the last, and the message that says so.
    passed: BTreeMap<u64, (u64, Option<u64>)>,
    work: VecDeque<Work>,
    /// Second messages: one may be the first, shown again, so it is deleted once the copy has what it brings.
    again: Vec<Content>,
    /// The smallest number that is not applied, as the copy says.
    next: u64,
    /// Attempt and number of the snapshot part that is not applied, as the copy says.
    part: (u32, u64),
}

impl Lane {
    /// Moves what is in order to what is to be applied; returns messages of what is applied.
    fn release(&mut self, key: &LaneKey, is_wanted: &TableFilter, now: Duration) -> Vec<u64> {
        let mut finished = Vec::new();
        while let Some(entry) = self.order.take(now) {
            let before = match &entry {
                Entry::Rows { rows, .. } => Some(rows.first),
                Entry::Part(_) | Entry::Nothing(_) | Entry::Late(_) => None,
            };
            self.pass(key, before);
            let work = match entry {
                Entry::Rows { rows: Rows { first, count, content, .. }, .. } => {
                    let (rows, last) = (Arc::clone(&content.rows), first.saturating_add(count - 1));
                    let table = rows.table();
                    let unit = if is_wanted(&table.database, &table.name) {
                        Unit::Rows { lane: key.clone(), rows: Arc::clone(&rows), first, last }
                    } else {
                        Unit::Passed { lane: key.clone(), first, last }
                    };
                    work(unit, &content)
                }
                Entry::Part(Part { content, .. }) => {
                    let Some(part) = content.part.clone() else { continue };
                    let (lane, rows) = (key.clone(), Arc::clone(&content.rows));
                    work(Unit::Part { lane, part, rows }, &content)
                }
                Entry::Nothing(content) => {
                    self.again.push(content);
                    continue;
                }
                Entry::Late(content) => {
                    finished.push(content.message);
                    continue;
                }
            };
            self.work.push_back(work);
        }
        self.pass(key, None);
        finished.extend(self.applied_again());
        finished
    }

    /// How far the copy is.
    fn applied(&mut self, record: &LaneRecord) {
        self.next = self.next.max(record.next);
        self.part = self.part.max((record.part_attempt, record.part_next));
    }

    /// Second messages of what the copy has.
    fn applied_again(&mut self) -> Vec<u64> {
        let (next, part_next) = (self.next, self.part);
        let is_applied = |content: &mut Content| {
            let rows = content.rows.len().max(1) as u64;
            match &content.part {
                None => content.rows.first().saturating_add(rows - 1) < next,
                Some(part) => (part.attempt, part.part.saturating_add(rows - 1)) < part_next,
            }
        };
        self.again.extract_if(.., is_applied).map(|content| content.message).collect()
    }

    /// Numbers that do not come are to be applied once everything in front of them is: those below
    /// `before`, or below what is released next.
    fn pass(&mut self, key: &LaneKey, before: Option<u64>) {
        let Some(before) = before.or(self.order.next()) else { return };
        while let Some(entry) = self.passed.first_entry()
            && *entry.key() < before
        {
            let (first, (last, message)) = entry.remove_entry();
            let unit = Unit::Passed { lane: key.clone(), first, last };
            let work = Work { unit, message, rows: 1, bytes: 0, committed_at_us: None };
            self.work.push_back(work);
        }
    }
}

/// A transaction that is to be made, or was.
struct Job {
    worker: usize,
    copy: Copy,
    work: Vec<Work>,
    outcome: Result<Applied, CopyError>,
}

/// A connection.
struct Worker {
    /// `None` while a transaction runs.
    copy: Option<Copy>,
    /// What failed, to be done first.
    again: Vec<Work>,
    not_before: Instant,
    backoff: Backoff,
    /// Apply one unit at a time: the copy did not say which of them it refuses.
    one_by_one: bool,
}

struct CopyRoute {
    config: Config,
    store: Option<Store>,
    heal: Option<Arc<dyn Heal>>,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
    place: String,
    queue: Queue,
    started: Instant,
    room: Arc<Room>,
    messages: Messages,
    lanes: BTreeMap<LaneKey, Lane>,
    accepted: BTreeMap<LaneKey, u64>,
    /// Canaries that are to be applied.
    canaries: VecDeque<Work>,
    workers: Vec<Worker>,
    jobs: JoinSet<Job>,
    heals: JoinSet<Asked>,
    failure: Option<String>,
    told: Told,
}

/// What the status has besides.
#[derive(Debug, Default)]
struct Told {
    retention: Option<Duration>,
    parked: u64,
    ticks: u64,
    verified: Verified,
}

/// Runs a route until it is stopped or can't continue.
pub async fn run_copy(parts: CopyParts, stop: CancellationToken) -> Result<(), Halt> {
    let room = Arc::new(Room::new(&parts.config));
    let mut polling =
        Polling::begin(&parts.config, &parts.queue, &room, &parts.fetch, &parts.metrics, &stop);
    let mut route = CopyRoute::new(parts, room);
    let outcome = route.turns(&mut polling.arrivals, &stop).await;
    polling.end().await;
    route.end().await;
    outcome
}

impl CopyRoute {
    fn new(parts: CopyParts, room: Arc<Room>) -> Self {
        let started = Instant::now();
        let messages = Messages::new(
            parts.queue.clone(),
            Arc::clone(&room),
            Arc::clone(&parts.metrics),
            parts.config.visibility,
        );
        let place = parts.copies.first().map_or_else(String::new, |copy| copy.place().to_owned());
        let worker = |copy| Worker {
            copy: Some(copy),
            again: Vec::new(),
            not_before: started,
            backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(30)),
            one_by_one: false,
        };
        Self {
            config: parts.config,
            store: parts.store,
            heal: parts.heal,
            metrics: parts.metrics,
            status: parts.status,
            place,
            queue: parts.queue,
            started,
            room,
            messages,
            lanes: BTreeMap::new(),
            accepted: BTreeMap::new(),
            canaries: VecDeque::new(),
            workers: parts.copies.into_iter().map(worker).collect(),
            jobs: JoinSet::new(),
            heals: JoinSet::new(),
            failure: None,
            told: Told::default(),
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    async fn turns(
        &mut self,
        arrivals: &mut mpsc::Receiver<Arrived>,
        stop: &CancellationToken,
    ) -> Result<(), Halt> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wake = self.workers.iter().map(|worker| worker.not_before).min();
            let wake = wake.filter(|at| *at > Instant::now());
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => self.tick().await?,
                Some(job) = self.jobs.join_next() => self.applied(job).await?,
                Some(healed) = self.heals.join_next() => {
                    let now = self.now();
                    asked(healed, now, |lane| Some(&mut self.lanes.get_mut(lane)?.gap));
                }
                arrived = arrivals.recv() => {
                    let Some(arrived) = arrived else { return Ok(()) };
                    self.arrived(arrived).await?;
                    for _ in 1..TURN_MAX {
                        let Ok(arrived) = arrivals.try_recv() else { break };
                        self.arrived(arrived).await?;
                    }
                }
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
            self.dispatch();
            self.messages.delete().await;
        }
    }

    async fn arrived(&mut self, arrived: Arrived) -> Result<(), Halt> {
        let Arrived { received, size, content } = arrived;
        let (bytes, message) = (size.bytes, self.messages.hold(&received, size));
        let count = |kind| self.metrics.messages.with_label_values(&[kind]).inc();
        match content {
            Opened::Rows(rows) => {
                count("change");
                self.rows(Content { message, rows, part: None, bytes }).await
            }
            Opened::Part(part, rows) => {
                count("snapshot");
                self.rows(Content { message, rows, part: Some(part.into()), bytes }).await
            }
            Opened::Canary(canary) => {
                count("canary");
                self.canary(message, canary);
                Ok(())
            }
            Opened::Suppressed(suppressed) => {
                count("suppressed");
                self.suppressed(message, &suppressed).await
            }
            Opened::Outbox(outbox) => {
                count("outbox");
                let why = "a message of an outbox: a copy has no place for it; leave \"outbox\" out of `kind` \
                           of the subscription's filter policy, and deliver it by another relay";
                tracing::warn!(why, "a message is parked");
                self.park(&[message_parked(outbox.body, why)], why).await?;
                self.messages.finish(message);
                Ok(())
            }
            Opened::Other => {
                count("other");
                self.messages.finish(message);
                Ok(())
            }
            Opened::Unreadable { reason, message: why } => {
                count("unreadable");
                tracing::warn!(reason, why, "a message can't be opened: it is parked");
                self.park(&[message_parked(received.body, &why)], &why).await?;
                self.messages.finish(message);
                Ok(())
            }
            Opened::Away(why) => {
                tracing::warn!(why, "the object of a message can't be fetched now");
                self.messages.give_back(vec![message], BACK_PAUSE).await;
                Ok(())
            }
        }
    }

    async fn rows(&mut self, content: Content) -> Result<(), Halt> {
        let (key, now) = (lane_of(&content.rows), self.now());
        if !self.know(&key).await? {
            self.messages.give_back(vec![content.message], BACK_PAUSE).await;
            return Ok(());
        }
        let Some(lane) = self.lanes.get_mut(&key) else { return Ok(()) };
        match content.part.clone() {
            None => {
                let (first, count) = (content.rows.first(), content.rows.len() as u64);
                let snapshot = content.rows.snapshot();
                lane.order.offer(Rows { first, count, snapshot, content }, now);
            }
            Some(part) => {
                let rows = content.rows.len() as u64;
                lane.order.offer_part(Part::of(&part, rows, content), now);
            }
        }
        self.release(&key, now);
        Ok(())
    }

    /// Whether the lane is known, or could be looked up in the copy.
    async fn know(&mut self, key: &LaneKey) -> Result<bool, Halt> {
        if self.lanes.contains_key(key) {
            return Ok(true);
        }
        // Any connection that is free; all of them are of the same database.
        let free = self.workers.iter().find_map(|worker| worker.copy.as_ref());
        let (Some(copy), true) = (free, self.lanes.len() < LANES_MAX) else { return Ok(false) };
        match copy.lane(key).await {
            Ok(record) => {
                let due = (record.part_next > 0).then_some((record.part_attempt, record.part_next));
                let (waits, now) = (self.config.waits, self.now());
                let mut order =
                    LaneOrder::new(record.next, due, self.config.has_snapshots, waits, now);
                for (first, last) in record.suppressed {
                    order.suppressed(first, last, now);
                }
                let (gap, parts_gap) = (GapState::None, PartsGap::default());
                let passed = BTreeMap::new();
                let (work, again, next) = (VecDeque::new(), Vec::new(), record.next);
                let part = (record.part_attempt, record.part_next);
                let lane = Lane { order, gap, parts_gap, passed, work, again, next, part };
                self.lanes.insert(key.clone(), lane);
                Ok(true)
            }
            Err(error) => {
                self.failed(&error)?;
                Ok(false)
            }
        }
    }

    fn canary(&mut self, message: u64, canary: Box<proto::Canary>) {
        let now = self.now();
        for (key, sequence_next) in watermarks(&canary) {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.order.watermark(sequence_next, now);
            }
            if self.accepted.len() < LANES_MAX || self.accepted.contains_key(&key) {
                self.accepted.insert(key, sequence_next);
            }
        }
        let (stream, epoch) = stream_of(&canary);
        let stream = stream.to_owned();
        let unit = Unit::Canary { stream, epoch, canary };
        let (message, committed_at_us) = (Some(message), None);
        self.canaries.push_back(Work { unit, message, rows: 1, bytes: 0, committed_at_us });
    }

    async fn suppressed(
        &mut self,
        message: u64,
        suppressed: &proto::Suppressed,
    ) -> Result<(), Halt> {
        let Some((key, first, last)) = suppressed_rows(suppressed) else {
            self.messages.finish(message);
            return Ok(());
        };
        if !self.know(&key).await? {
            self.messages.give_back(vec![message], BACK_PAUSE).await;
            return Ok(());
        }
        let now = self.now();
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.order.suppressed(first, last, now);
            // Saved in the copy before the message is done with.
            let unit = Unit::Suppressed { lane: key, first, last };
            let message = Some(message);
            lane.work.push_back(Work { unit, message, rows: 1, bytes: 0, committed_at_us: None });
        }
        Ok(())
    }

    /// Numbers that do not come: the lane goes on behind them, and the copy's mark too.
    fn absent(&mut self, key: &LaneKey, first: u64, last: u64, message: Option<u64>) {
        let now = self.now();
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let gap = binpulse_client::ledger::Gap { first, last, is_proven: true };
        lane.order.absent(gap, now);
        match lane.passed.get_mut(&first) {
            // The same said twice: the longer range holds, and the other message is dealt with.
            Some((known, _)) => {
                *known = last.max(*known);
                if let Some(message) = message {
                    self.messages.finish(message);
                }
            }
            None => {
                lane.passed.insert(first, (last, message));
            }
        }
        self.release(key, now);
    }

    /// What is in order is to be applied.
    fn release(&mut self, key: &LaneKey, now: Duration) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if matches!(lane.gap, GapState::Halted { .. }) && !lane.order.has_come() {
            return;
        }
        for message in lane.release(key, &self.config.filter.table, now) {
            self.messages.finish(message);
        }
    }

    /// Gives each free connection a transaction.
    fn dispatch(&mut self) {
        let (now, count) = (Instant::now(), self.workers.len());
        for at in 0..count {
            let Some(worker) = self.workers.get_mut(at) else { continue };
            if worker.copy.is_none() || worker.not_before > now {
                continue;
            }
            let mut work = std::mem::take(&mut worker.again);
            if work.is_empty() {
                worker.one_by_one = false;
                gather(&mut self.lanes, at, count, &mut work);
                if at == 0 {
                    work.extend(self.canaries.drain(..));
                }
            }
            if work.is_empty() {
                continue;
            }
            if worker.one_by_one && work.len() > 1 {
                worker.again = work.split_off(1);
            }
            let Some(copy) = worker.copy.take() else { continue };
            self.jobs.spawn(async move {
                let units: Vec<Unit> = work.iter().map(|work| work.unit.clone()).collect();
                let outcome = copy.apply(&units).await;
                Job { worker: at, copy, work, outcome }
            });
        }
    }

    /// A transaction is over.
    async fn applied(&mut self, job: Result<Job, tokio::task::JoinError>) -> Result<(), Halt> {
        // Its connection is lost with it, and what it applied is not known.
        let job = job.map_err(|error| Halt::Defect(error.to_string()))?;
        let Job { worker: at, copy, work, outcome } = job;
        if let Some(worker) = self.workers.get_mut(at) {
            worker.copy = Some(copy);
        }
        let attempts = |outcome| self.metrics.attempts.with_label_values(&[outcome]).inc();
        match outcome {
            Ok(applied) => {
                attempts("delivered");
                self.failure = None;
                if let Some(worker) = self.workers.get_mut(at) {
                    worker.backoff.succeeded(Duration::from_secs(30));
                }
                self.finished(&work, applied).await;
            }
            Err(CopyError::Refused { unit: None, .. }) if work.len() > 1 => {
                attempts("refused");
                self.put_back(at, work, true);
            }
            Err(error @ CopyError::Refused { .. }) => {
                attempts("refused");
                self.refused(at, work, &error).await?;
            }
            Err(error) => {
                attempts("outage");
                self.put_back(at, work, false);
                self.failed(&error)?;
                if let Some(worker) = self.workers.get_mut(at) {
                    worker.not_before = Instant::now() + worker.backoff.pause(random());
                }
            }
        }
        Ok(())
    }

    fn put_back(&mut self, at: usize, mut work: Vec<Work>, one_by_one: bool) {
        if let Some(worker) = self.workers.get_mut(at) {
            work.append(&mut worker.again);
            worker.again = work;
            worker.one_by_one |= one_by_one;
        }
    }

    async fn finished(&mut self, work: &[Work], applied: Applied) {
        self.metrics.rows.with_label_values(&["delivered"]).inc_by(applied.rows);
        self.told.verified.note(&self.metrics, &applied.compared, applied.differing);
        for (key, record) in applied.lanes {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.applied(&record);
                for message in lane.applied_again() {
                    self.messages.finish(message);
                }
            }
        }
        // The copy is further back than was known, a backup of it was restored say: from the queue again.
        for key in applied.behind {
            tracing::warn!(lane = %key, "the copy is further back than this process knew");
            self.forget(&key, work).await;
        }
        let now_us = wall_clock_us();
        for work in work {
            if let Some(committed_at_us) = work.committed_at_us {
                let took = now_us.saturating_sub(committed_at_us).max(0);
                self.metrics.delivery_seconds.observe(seconds(took));
            }
            if matches!(work.unit, Unit::Canary { .. }) {
                self.metrics.canary_delivered_timestamp_seconds.set(seconds(now_us));
            }
            if let Some(message) = work.message {
                self.messages.finish(message);
            }
        }
    }

    /// Gives all messages of a lane back, and looks it up again with the next one.
    async fn forget(&mut self, key: &LaneKey, work: &[Work]) {
        let Some(mut lane) = self.lanes.remove(key) else { return };
        let waiting = std::iter::from_fn(|| lane.order.drop_one());
        let mut messages: Vec<u64> = waiting.map(|content| content.message).collect();
        messages.extend(lane.work.iter().filter_map(|work| work.message));
        messages.extend(lane.passed.into_values().filter_map(|(_, message)| message));
        messages.extend(lane.again.into_iter().map(|content| content.message));
        let of_lane = |work: &&Work| lane_of_unit(&work.unit) == Some(key);
        messages.extend(work.iter().filter(of_lane).filter_map(|work| work.message));
        self.messages.give_back(messages, BACK_PAUSE).await;
    }

    /// Rows that the copy can't take, ever: parked, and the lane goes on.
    async fn refused(
        &mut self,
        at: usize,
        mut work: Vec<Work>,
        error: &CopyError,
    ) -> Result<(), Halt> {
        let unit = match error {
            CopyError::Refused { unit, .. } => unit.unwrap_or_default(),
            CopyError::Unavailable { .. } | CopyError::Unfit { .. } => 0,
        };
        let Some(refused) = work.get_mut(unit) else { return Ok(()) };
        let why = error.to_string();
        let parked = parked(&refused.unit, &why);
        tracing::error!(error = why, "rows that the copy can't take are parked");
        self.park(&[parked], &why).await?;
        let passed = match &refused.unit {
            Unit::Rows { lane, first, last, .. } => {
                let (lane, first, last) = (lane.clone(), *first, *last);
                Some(Unit::Passed { lane, first, last })
            }
            Unit::Part { lane, part, rows } => {
                let (lane, part, rows) = (lane.clone(), Arc::clone(part), rows.len() as u64);
                Some(Unit::PassedPart { lane, part, rows })
            }
            Unit::Canary { .. }
            | Unit::Passed { .. }
            | Unit::PassedPart { .. }
            | Unit::PassedParts { .. }
            | Unit::Suppressed { .. } => None,
        };
        match passed {
            Some(passed) => refused.unit = passed,
            None => {
                let refused = work.remove(unit);
                if let Some(message) = refused.message {
                    self.messages.finish(message);
                }
            }
        }
        self.put_back(at, work, false);
        Ok(())
    }

    async fn park(&mut self, parked: &[Parked], why: &str) -> Result<(), Halt> {
        let Some(store) = &self.store else { return Err(Halt::NowhereToPark(why.to_owned())) };
        loop {
            match store.park(parked).await {
                Ok(()) => {
                    self.told.parked += parked.len() as u64;
                    self.metrics.rows.with_label_values(&["parked"]).inc();
                    return Ok(());
                }
                Err(error @ crate::state::StateError::Unfit { .. }) => return Err(error.into()),
                Err(error) => {
                    self.metrics.state_errors.inc();
                    tracing::warn!(%error, "the state does not answer: nothing goes on until it does");
                    tokio::time::sleep(TICK).await;
                }
            }
        }
    }

    /// A failure that may pass is logged; another ends the route.
    fn failed(&mut self, error: &CopyError) -> Result<(), Halt> {
        match error {
            CopyError::Unavailable { .. } | CopyError::Refused { .. } => {
                tracing::warn!(%error, "the copy does not answer: tried again");
                self.failure = Some(error.to_string());
                Ok(())
            }
            CopyError::Unfit { .. } => Err(Halt::Copy(Box::new(error.clone()))),
        }
    }

    async fn tick(&mut self) -> Result<(), Halt> {
        self.told.ticks += 1;
        self.messages.extend().await;
        if self.told.ticks % 60 == 1 {
            self.told.retention = self.queue.settings().await.ok().map(|found| found.retention);
            if let Some(store) = &self.store
                && let Ok(parked) = store.parked_count(&ParkedFilter::default()).await
            {
                self.told.parked = parked;
            }
        }
        if self.told.ticks % IDLE_LANES_TICKS == 1 {
            self.look_at_copy().await?;
        }
        self.obey().await;
        self.look_for_gaps();
        self.make_room().await;
        self.tell();
        Ok(())
    }

    /// Does what operators want with parked rows: of a copy they can only be dropped, once a snapshot of
    /// their range has repaired it.
    async fn obey(&mut self) {
        let Some(store) = &self.store else { return };
        for command in self.status.take_commands() {
            match command {
                ParkedCommand::Drop(ids) => match store.unpark(&ids).await {
                    Ok(requests) => tracing::info!(requests, "parked rows are dropped"),
                    Err(error) => tracing::warn!(%error, "parked rows are not dropped: try again"),
                },
                ParkedCommand::Retry(_) => tracing::warn!(
                    "rows that a copy refused are not tried again: repair it with a snapshot of their \
                     range, then drop them"
                ),
            }
        }
        if self.told.ticks % 5 == 2
            && let Ok(entries) = store.parked(&ParkedFilter::default(), 0, 1_000).await
        {
            self.status.set_parked(entries);
        }
    }

    /// What other processes found to differ, or this one before it was started again; and lanes of which
    /// rows were accepted by the topic, as a canary says, and nothing arrives: they may be lost.
    async fn look_at_copy(&mut self) -> Result<(), Halt> {
        let free = self.workers.iter().find_map(|worker| worker.copy.as_ref());
        let Some(copy) = free else { return Ok(()) };
        let found = async { Ok((copy.differing().await?, copy.lanes().await?)) };
        let (differing, lanes) = match found.await {
            Ok(found) => found,
            Err(error) => return self.failed(&error),
        };
        self.told.verified.read(&self.metrics, differing);
        let now = self.now();
        for (key, next) in lanes {
            let accepted = self.accepted.get(&key).copied().unwrap_or_default();
            let is_wanted = key.is_wanted(&*self.config.filter.table);
            if next == 0 || accepted <= next || !is_wanted || self.lanes.contains_key(&key) {
                continue;
            }
            if self.know(&key).await?
                && let Some(lane) = self.lanes.get_mut(&key)
            {
                lane.order.watermark(accepted, now);
            }
        }
        Ok(())
    }

    fn look_for_gaps(&mut self) {
        let now = self.now();
        let policy = policy(self.config.gap, self.heal.as_ref());
        let (mut go_on, mut declared) = (HashSet::new(), Vec::new());
        for (key, lane) in &mut self.lanes {
            while let Some(passed) = lane.order.pass_over(now) {
                declared.push((key.clone(), passed));
            }
            let found = lane.gap.look(key, &mut lane.order, policy, now, &self.metrics);
            if let Some(parts) =
                lane.parts_gap.look(key, &mut lane.order, policy, now, &self.metrics)
            {
                // Behind all that is to be applied in front of them.
                let (lane_key, attempt, next) = (key.clone(), parts.attempt, parts.next);
                let unit = Unit::PassedParts { lane: lane_key, attempt, next };
                let message = None;
                lane.work.push_back(Work {
                    unit,
                    message,
                    rows: 1,
                    bytes: 0,
                    committed_at_us: None,
                });
                go_on.insert(key.clone());
            }
            match found {
                Found::Nothing => {}
                Found::GoesOn => {
                    go_on.insert(key.clone());
                }
                Found::Declared(gap) => declared.push((key.clone(), gap)),
                Found::Ask { first, last } => {
                    if let Some(heal) = &self.heal {
                        let behind = lane.order.first_held().map(|content| &content.rows);
                        let until_us = behind.and_then(|rows| rows.transaction(0));
                        let until_us = until_us.map(|transaction| transaction.committed_at_us);
                        let lane = key.clone();
                        let missing = Missing { lane, first, last, since_us: None, until_us };
                        spawn(&mut self.heals, heal, missing);
                    }
                }
            }
        }
        for (key, gap) in declared {
            self.absent(&key, gap.first, gap.last, None);
        }
        for key in go_on {
            self.release(&key, now);
        }
    }

    /// Where everything that is held waits for something else, what is furthest behind goes back.
    async fn make_room(&mut self) {
        let has_work = self.lanes.values().any(|lane| !lane.work.is_empty());
        if !self.room.is_full() || !self.jobs.is_empty() || has_work {
            return;
        }
        let lanes = &mut self.lanes;
        let drop_round = || {
            let dropped = lanes
                .values_mut()
                .filter_map(|lane| lane.again.pop().or_else(|| lane.order.drop_one()));
            dropped.map(|content| content.message).collect()
        };
        self.messages.make_room(drop_round).await;
    }

    fn tell(&self) {
        let lanes = self.lanes.iter().map(|(key, lane)| LaneView {
            key,
            next: lane.next,
            accepted: self.accepted.get(key).copied().unwrap_or_default(),
            gap: &lane.gap,
            parts: lane.parts_gap.parts(),
            waiting: lane.order.waiting(),
        });
        let view = status::View {
            route: self.config.name.clone(),
            queue: self.queue.url().to_owned(),
            target: self.place.clone(),
            target_state: if self.failure.is_some() { "failing" } else { "works" },
            last_failure: self.failure.clone(),
            state_failure: None,
            held: self.messages.view(),
            requests_begun: self.jobs.len() as u64,
            parked: self.told.parked,
            differing: self.told.verified.ranges(),
            retention_margin_seconds: status::margin(
                self.told.retention,
                self.messages.oldest_us(),
            ),
            ..status::lanes(&self.config.name, lanes)
        };
        status::tell(&self.metrics, &self.status, view);
    }

    /// Transactions under way end; what is not applied goes back.
    async fn end(&mut self) {
        let deadline = Instant::now() + GRACE;
        while !self.jobs.is_empty() {
            tokio::select! {
                Some(job) = self.jobs.join_next() => {
                    if let Err(error) = self.applied(job).await {
                        tracing::warn!(%error, "at the end");
                    }
                }
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        self.jobs.shutdown().await;
        self.messages.delete().await;
        self.messages.give_all_back().await;
    }
}

fn work(unit: Unit, content: &Content) -> Work {
    let last = content.rows.len().checked_sub(1);
    let committed = last.and_then(|last| content.rows.transaction(last));
    Work {
        unit,
        message: Some(content.message),
        rows: content.rows.len().max(1),
        bytes: content.bytes,
        committed_at_us: committed.map(|transaction| transaction.committed_at_us),
    }
}

/// Takes work of the lanes that are this worker's, in their order, as much as one transaction has.
fn gather(
    lanes: &mut BTreeMap<LaneKey, Lane>,
    worker: usize,
    workers: usize,
    work: &mut Vec<Work>,
) {
    let (mut rows, mut bytes) = (0, 0);
    let own = lanes.iter_mut().filter(|(key, _)| worker_of(key, workers) == worker);
    for (_, lane) in own {
        while let Some(next) = lane.work.front() {
            let is_full = rows + next.rows > ROWS_MAX || bytes + next.bytes > BYTES_MAX;
            if is_full && !work.is_empty() {
                return;
            }
            (rows, bytes) = (rows + next.rows, bytes + next.bytes);
            work.extend(lane.work.pop_front());
        }
    }
}

/// Which connection applies a lane: always the same, so that its rows stay in order.
fn worker_of(key: &LaneKey, workers: usize) -> usize {
    let hash = key
        .lane
        .bytes()
        .fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
    hash % workers.max(1)
}

fn lane_of_unit(unit: &Unit) -> Option<&LaneKey> {
    match unit {
        Unit::Rows { lane, .. }
        | Unit::Part { lane, .. }
        | Unit::Passed { lane, .. }
        | Unit::PassedPart { lane, .. }
        | Unit::PassedParts { lane, .. }
        | Unit::Suppressed { lane, .. } => Some(lane),
        Unit::Canary { .. } => None,
    }
}

/// Rows as they are parked: as lines of JSON.
fn parked(unit: &Unit, why: &str) -> Parked {
    let (lane, rows, first, last) = match unit {
        Unit::Rows { lane, rows, first, last } => (lane, Some(rows), *first, *last),
        Unit::Part { lane, part, rows } => (lane, Some(rows), part.part, part.part),
        Unit::PassedPart { lane, part, .. } => (lane, None, part.part, part.part),
        Unit::PassedParts { lane, next, .. } => (lane, None, *next, *next),
        Unit::Passed { lane, first, last } | Unit::Suppressed { lane, first, last } => {
            (lane, None, *first, *last)
        }
        Unit::Canary { .. } => return message_parked(String::from("a canary"), why),
    };
    let body = rows.map_or_else(Vec::new, |rows| Bodies::lines(rows, first, last));
    Parked {
        id: crate::body::id(lane, crate::lanes::requests::Place::Change(first), last),
        lane: Some(lane.clone()),
        first,
        last,
        keys: Vec::new(),
        body,
        content_type: String::from("application/x-ndjson"),
        reason: Reason::Refused,
        attempts: 1,
        answer: why.to_owned(),
        parked_at_us: wall_clock_us(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};
    use std::sync::Arc;
    use std::time::Duration;

    use binpulse_client::ledger::{Gap, Waits};
    use binpulse_client::proto;
    use binpulse_core::encode::opened::OpenedRows;

    use super::{Content, Lane, TableFilter, lane_of};
    use crate::lanes::order::{LaneOrder, Rows};
    use crate::lanes::parts::Part;
    use crate::open::{Opened, tests as open};
    use crate::route::gaps::{GapState, PartsGap};
    use crate::state::LaneRecord;
    use crate::target::copy::Unit;

    const NOW: Duration = Duration::ZERO;

    /// Rows of a message of the suite, whose first number is above 1.
    fn rows() -> Arc<OpenedRows> {
        let messages = open::cases("messages");
        let change = |case: &serde_json::Value| {
            let open = open::opened_case(&case["messages"][0]).ok()?;
            let Opened::Rows(batch) = open.opened else { return None };
            let rows = OpenedRows::new(batch, |_| None).expect("consistent");
            (rows.first() > 1).then_some(rows)
        };
        Arc::new(messages.iter().find_map(change).expect("the suite has rows"))
    }

    /// A lane whose next row has this number.
    fn lane_at(next: u64) -> Lane {
        Lane {
            order: LaneOrder::new(next, None, false, Waits::default(), NOW),
            gap: GapState::None,
            parts_gap: PartsGap::default(),
            passed: BTreeMap::new(),
            work: VecDeque::new(),
            again: Vec::new(),
            next,
            part: (0, 0),
        }
    }

    /// What is to be applied: kind, first and last number, message.
    fn work_of(lane: &Lane) -> Vec<(&'static str, u64, u64, Option<u64>)> {
        let work = lane.work.iter().map(|work| (&work.unit, work.message));
        work.map(|(unit, message)| match unit {
            Unit::Rows { first, last, .. } => ("rows", *first, *last, message),
            Unit::Passed { first, last, .. } => ("passed", *first, *last, message),
            Unit::Part { .. }
            | Unit::Canary { .. }
            | Unit::PassedPart { .. }
            | Unit::PassedParts { .. }
            | Unit::Suppressed { .. } => ("other", 0, 0, message),
        })
        .collect()
    }

    #[test]
    fn a_second_message_is_deleted_when_the_copy_has_its_rows_and_not_before() {
        let rows = rows();
        let (key, first, count) = (lane_of(&rows), rows.first(), rows.len() as u64);
        let all: TableFilter = Arc::new(|_, _| true);
        let mut lane = lane_at(first - 1);
        for message in [7, 8] {
            let content = Content { message, rows: Arc::clone(&rows), part: None, bytes: 0 };
            lane.order.offer(Rows { first, count, snapshot: rows.snapshot(), content }, NOW);
            assert!(lane.release(&key, &all, NOW).is_empty() && lane.work.is_empty());
        }
        // The row in front of them comes.
        lane.order.absent(Gap { first: first - 1, last: first - 1, is_proven: true }, NOW);
        assert!(lane.release(&key, &all, NOW).is_empty());
        let last = first + count - 1;
        assert_eq!(work_of(&lane), [("rows", first, last, Some(7))]);
        let applied = |next| LaneRecord { next, ..LaneRecord::default() };
        lane.applied(&applied(last));
        assert!(lane.applied_again().is_empty(), "its last row is not applied");
        lane.applied(&applied(last + 1));
        assert_eq!(lane.applied_again(), [8]);
        // One that comes when they are applied brings nothing.
        let content = Content { message: 9, rows: Arc::clone(&rows), part: None, bytes: 0 };
        lane.order.offer(Rows { first, count, snapshot: rows.snapshot(), content }, NOW);
        assert_eq!(lane.release(&key, &all, NOW), [9]);
    }

    #[test]
    fn a_second_message_of_a_part_that_waits_is_not_deleted() {
        let rows = rows();
        let (key, all) = (lane_of(&rows), Arc::new(|_: &str, _: &str| true) as TableFilter);
        let part = Arc::new(proto::SnapshotPart {
            anchor: Some(proto::LaneMark { sequence_next: 9, ..proto::LaneMark::default() }),
            part: 1,
            attempt: 4,
            attempt_part: 1,
            ..proto::SnapshotPart::default()
        });
        let mut lane = lane_at(7);
        let offer = |lane: &mut Lane, message| {
            let rows = Arc::clone(&rows);
            let content = Content { message, rows, part: Some(Arc::clone(&part)), bytes: 0 };
            lane.order.offer_part(Part::of(&part, content.rows.len() as u64, content), NOW);
        };
        for message in [7, 8] {
            offer(&mut lane, message);
            assert!(lane.release(&key, &all, NOW).is_empty(), "rows in front of it are missing");
        }
        lane.order.absent(Gap { first: 7, last: 8, is_proven: true }, NOW);
        assert!(lane.release(&key, &all, NOW).is_empty(), "it is not applied");
        assert_eq!(work_of(&lane), [("other", 0, 0, Some(7))]);
        let part_next = 1 + rows.len() as u64;
        let applied = |part_attempt, part_next| LaneRecord {
            next: 9,
            part_attempt,
            part_next,
            ..LaneRecord::default()
        };
        lane.applied(&applied(4, part_next - 1));
        assert!(lane.applied_again().is_empty(), "its last row is not applied");
        lane.applied(&applied(4, part_next));
        assert_eq!(lane.applied_again(), [8]);
        // Read again under a higher attempt, it brings nothing either.
        lane.applied(&applied(5, 1));
        offer(&mut lane, 9);
        assert_eq!(lane.release(&key, &all, NOW), [9]);
    }

    #[test]
    fn numbers_that_do_not_come_are_applied_behind_the_rows_in_front_of_them() {
        let rows = rows();
        let (key, first, count) = (lane_of(&rows), rows.first(), rows.len() as u64);
        let next = first + count;
        let mut lane = lane_at(first);
        lane.order.absent(Gap { first: next, last: next + 1, is_proven: true }, NOW);
        lane.passed.insert(next, (next + 1, Some(8)));
        let all: TableFilter = Arc::new(|_, _| true);
        assert!(lane.release(&key, &all, NOW).is_empty() && lane.work.is_empty());

        let (snapshot, bytes) = (rows.snapshot(), 0);
        let content = Content { message: 7, rows, part: None, bytes };
        lane.order.offer(Rows { first, count, snapshot, content }, NOW);
        assert!(lane.release(&key, &all, NOW).is_empty());
        let expected = [("rows", first, next - 1, Some(7)), ("passed", next, next + 1, Some(8))];
        assert_eq!(work_of(&lane), expected);
    }
}
