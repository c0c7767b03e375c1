//! One route for a copy: from the queue to transactions, and from what they applied to deletions.
//!
//! The copy keeps the numbers of its lanes itself, in the transactions that write their rows. So there
//! are no leases: a second process finds out in its transaction that rows were applied before.

mod lane;
mod transactions;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use binpulse_client::proto;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::lane::{Content, Lane, Work};
use self::transactions::{Job, Worker};
use super::config::Config;
use super::gaps::{
    Asked, Found, GapState, Heal, Missing, PartsFound, asked, policy, spawn, spawn_parts,
};
use super::halt::Halt;
use super::lane::{lane_of, stream_of, suppressed_rows, watermarks};
use super::limits::{BACK_PAUSE, GRACE, IDLE_LANES_TICKS, LANES_MAX, TICK, TURN_MAX};
use super::marks::{self, Marks};
use super::messages::Messages;
use super::parking::message_parked;
use super::poll::{Arrived, Content as Opened, Fetch, Polling, Room};
use super::status::{self, LaneView, ParkedCommand, Status};
use super::verified::Verified;
use crate::lane::LaneKey;
use crate::lanes::order::Rows;
use crate::lanes::parts::Part;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::state::{Parked, ParkedFilter, Store};
use crate::target::copy::{Copy, CopyError, Unit};

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
    marks: Marks,
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
            workers: parts.copies.into_iter().map(|copy| Worker::new(copy, started)).collect(),
            jobs: JoinSet::new(),
            heals: JoinSet::new(),
            marks: Marks::default(),
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
                    asked(healed, now, |lane| {
                        let lane = self.lanes.get_mut(lane)?;
                        Some((&mut lane.gap, &mut lane.parts_gap))
                    });
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
                if part.numbers_for == self.config.name {
                    // What it stands for comes to this route.
                    self.messages.finish(message);
                    return Ok(());
                }
                self.rows(Content { message, rows, part: Some(part.into()), bytes }).await
            }
            Opened::Mark(mark) => {
                count("snapshot");
                self.mark(message, &mark).await
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
                let rows = Arc::clone(&content.rows);
                lane.order.offer_part(Part::of(&part, &rows, content), now);
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
                let lane = Lane::new(record, &self.config, self.now());
                self.lanes.insert(key.clone(), lane);
                Ok(true)
            }
            Err(error) => {
                self.failed(&error)?;
                Ok(false)
            }
        }
    }

    /// A mark tells of parts: also of lanes to which nothing else has come.
    async fn mark(&mut self, message: u64, mark: &proto::SnapshotMark) -> Result<(), Halt> {
        let is_wanted = &self.config.filter.table;
        if !self.config.has_snapshots || !is_wanted(&mark.database, &mark.table) {
            self.messages.finish(message);
            return Ok(());
        }
        let places = marks::places(mark);
        for place in &places {
            if !self.know(&place.lane).await? && self.lanes.len() < LANES_MAX {
                self.messages.give_back(vec![message], BACK_PAUSE).await;
                return Ok(());
            }
        }
        if let Some(given_up) = self.marks.hold(message, places) {
            self.messages.finish(given_up);
        }
        self.tell_marks();
        Ok(())
    }

    fn tell_marks(&mut self) {
        let (now, lanes) = (self.now(), &mut self.lanes);
        let finished = self.marks.tell(|place| {
            lanes.get_mut(&place.lane).is_none_or(|lane| place.tell(&mut lane.order, now))
        });
        for message in finished {
            self.messages.finish(message);
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
        self.canaries.push_back(Work::mark(unit, Some(message)));
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
            lane.work.push_back(Work::mark(unit, Some(message)));
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
        self.tell_marks();
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
            let parts = lane.parts_gap.look(key, &mut lane.order, policy, now, &self.metrics);
            match (parts, &self.heal) {
                (PartsFound::Passed(parts), _) => {
                    // Behind all that is to be applied in front of them.
                    let (lane_key, attempt, next) = (key.clone(), parts.attempt, parts.next);
                    let unit = Unit::PassedParts { lane: lane_key, attempt, next };
                    lane.work.push_back(Work::mark(unit, None));
                    go_on.insert(key.clone());
                }
                (PartsFound::Ask(parts), Some(heal)) => {
                    spawn_parts(&mut self.heals, heal, key, &lane.order, parts);
                }
                (PartsFound::Nothing | PartsFound::Ask(_), _) => {}
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
            parts: &lane.parts_gap,
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
