//! One route for a receiver: from the queue to requests, and from answers to deletions.
//!
//! One task owns all lanes. What it does in each turn has an order that a crash can't harm:
//! take what arrived and what was answered; make requests; save; only then send them; delete messages
//! of which all rows are saved as dealt with.

mod canaries;
mod parked;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use binpulse_client::proto;
use binpulse_core::backoff::Backoff;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::canaries::Canaries;
use crate::body::Bodies;
use crate::clock::{random, seconds, wall_clock_us};
use crate::lane::LaneKey;
use crate::lanes::Order;
use crate::metrics::Metrics;
use crate::outbox::{self, OutboxMessage};
use crate::queue::{Queue, Received};
use crate::route::config::Config;
use crate::route::delivery::{Deliveries, Finished, Task, What};
use crate::route::gaps::{
    Asked, Found, Heal, Missing, PartsFound, asked, policy, spawn, spawn_parts,
};
use crate::route::halt::Halt;
use crate::route::lane::{Content, LaneState, lane_of, suppressed_rows};
use crate::route::limits::{
    BACK_PAUSE, BEGUN_MAX, GRACE, HELD_PAUSE, IDLE_LANES_TICKS, LANES_MAX, LEASE, TICK, TURN_MAX,
};
use crate::route::marks::{self, Marks};
use crate::route::messages::Messages;
use crate::route::outbox::Outboxes;
use crate::route::parking::{Parking, parked};
use crate::route::poll::{Arrived, Content as Opened, Fetch, Polling, Room};
use crate::route::status::{self, LANES_SHOWN_MAX, LaneView, Status, View};
use crate::route::store::LaneStore;
use crate::state::{Acquired, Lease, Reason, Save, StateError};
use crate::target::receiver::Receive;

/// What a route works with.
pub struct Parts<R, S> {
    /// What it is told to do.
    pub config: Config,
    /// Where messages come from.
    pub queue: Queue,
    /// Where requests go.
    pub receiver: Arc<R>,
    /// What it must not forget.
    pub store: S,
    /// Who fetches objects.
    pub fetch: Arc<dyn Fetch>,
    /// Who publishes rows again; `None`: nobody can.
    pub heal: Option<Arc<dyn Heal>>,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// Where others see how it stands.
    pub status: Arc<Status>,
}

/// When the state is asked again after a failure.
#[derive(Debug)]
struct Saving {
    backoff: Backoff,
    not_before: Instant,
    failure: Option<String>,
}

impl Saving {
    fn new(now: Instant) -> Self {
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        Self { backoff, not_before: now, failure: None }
    }
}

/// What tells of gaps, and what is done about them.
#[derive(Debug, Default)]
struct Gaps {
    /// Marks of which parts are still to come.
    marks: Marks,
    /// Requests for what is missing.
    heals: JoinSet<Asked>,
}

/// A running route.
struct Route<R, S> {
    parts: Parts<R, S>,
    started: Instant,
    room: Arc<Room>,
    messages: Messages,
    lanes: BTreeMap<LaneKey, LaneState>,
    /// Lanes that have changed since the last turn.
    touched: HashSet<LaneKey>,
    deliveries: Deliveries<R>,
    bodies: Arc<Bodies>,
    /// Requests that are made and not yet saved.
    unsaved: Vec<Task>,
    parking: Parking,
    outboxes: Outboxes,
    gaps: Gaps,
    canaries: Canaries,
    saving: Saving,
    retention: Option<Duration>,
    ticks: u64,
}

/// Runs a route until it is stopped or can't continue.
pub async fn run<R: Receive, S: LaneStore>(
    parts: Parts<R, S>,
    stop: CancellationToken,
) -> Result<(), Halt> {
    let room = Arc::new(Room::new(&parts.config));
    let mut polling =
        Polling::begin(&parts.config, &parts.queue, &room, &parts.fetch, &parts.metrics, &stop);
    let mut route = Route::new(parts, room);
    let outcome = route.turns(&mut polling.arrivals, &stop).await;
    polling.end().await;
    route.end().await;
    outcome
}

impl<R: Receive, S: LaneStore> Route<R, S> {
    fn new(parts: Parts<R, S>, room: Arc<Room>) -> Self {
        let started = Instant::now();
        let config = &parts.config;
        let messages = Messages::new(
            parts.queue.clone(),
            Arc::clone(&room),
            Arc::clone(&parts.metrics),
            config.visibility,
        );
        let lossy_cells = parts.metrics.lossy_cells.clone();
        let bodies = Bodies::new(config.format.clone(), config.rows_max, lossy_cells);
        let bodies = Arc::new(bodies);
        let mut retry = config.retry.clone();
        if config.order == Order::Lane {
            // The lane waits for as long as it takes.
            retry.max_attempts = u32::MAX;
        }
        let deliveries = Deliveries::new(
            Arc::clone(&parts.receiver),
            Arc::clone(&bodies),
            Arc::clone(&parts.metrics),
            retry,
            config.concurrency,
        );
        Self {
            parts,
            started,
            room,
            messages,
            lanes: BTreeMap::new(),
            touched: HashSet::new(),
            deliveries,
            bodies,
            unsaved: Vec::new(),
            parking: Parking::default(),
            outboxes: Outboxes::default(),
            gaps: Gaps::default(),
            canaries: Canaries::default(),
            saving: Saving::new(started),
            retention: None,
            ticks: 0,
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
        let mut wake = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => self.tick().await?,
                finished = self.deliveries.finished() => self.finished(finished)?,
                Some(healed) = self.gaps.heals.join_next() => {
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
                () = tokio::time::sleep_until(wake) => {}
            }
            while let Some(finished) = self.deliveries.finished_now() {
                self.finished(finished)?;
            }
            wake = self.turn().await?;
        }
    }

    /// A message has come.
    async fn arrived(&mut self, arrived: Arrived) -> Result<(), Halt> {
        let Arrived { received, size, content } = arrived;
        let number = self.messages.hold(&received, size);
        let sent_at_us = received.sent_at_us.unwrap_or_default();
        let count = |kind| self.parts.metrics.messages.with_label_values(&[kind]).inc();
        match content {
            Opened::Rows(rows) => {
                count("change");
                let first = rows.first();
                let content = Content { message: number, rows, read: None, first };
                self.rows(content, received.attributes.contains_key("replay")).await?;
            }
            Opened::Part(part, rows) => {
                count("snapshot");
                if part.numbers_for == self.parts.config.name {
                    // What it stands for comes to this route.
                    self.messages.finish(number);
                    return Ok(());
                }
                let content = Content::of_part(number, &part, rows, sent_at_us);
                self.part(&part, content).await?;
            }
            Opened::Mark(mark) => {
                count("snapshot");
                self.mark(number, &mark).await?;
            }
            Opened::Canary(canary) => {
                count("canary");
                self.canary(number, &canary);
            }
            Opened::Suppressed(suppressed) => {
                count("suppressed");
                self.suppressed(number, &suppressed).await?;
            }
            Opened::Outbox(message) => {
                count("outbox");
                self.outbox(number, *message, &received);
            }
            Opened::Other => {
                count("other");
                self.messages.finish(number);
            }
            Opened::Unreadable { reason, message } => {
                count("unreadable");
                tracing::warn!(reason, message, "a message can't be opened: it is parked");
                self.park_message(number, received.body, &message).await?;
            }
            Opened::Away(message) => {
                tracing::warn!(message, "the object of a message can't be fetched now");
                self.messages.give_back(vec![number], BACK_PAUSE).await;
            }
        }
        Ok(())
    }

    async fn rows(&mut self, content: Content, is_replayed: bool) -> Result<(), Halt> {
        let lane = lane_of(&content.rows);
        if self.hold(&lane, content.message).await? {
            if !is_replayed && !self.park_late(&lane, &content).await? {
                return Ok(());
            }
            let now = self.now();
            if let Some(state) = self.lanes.get_mut(&lane) {
                state.offer(content, now);
            }
            self.touched.insert(lane);
        }
        Ok(())
    }

    async fn part(&mut self, part: &proto::SnapshotPart, content: Content) -> Result<(), Halt> {
        let (lane, now) = (lane_of(&content.rows), self.now());
        if self.hold(&lane, content.message).await? {
            if let Some(state) = self.lanes.get_mut(&lane) {
                state.offer_part(part, content, now);
            }
            self.touched.insert(lane);
        }
        Ok(())
    }

    /// A mark tells of parts: also of lanes to which nothing else has come.
    async fn mark(&mut self, number: u64, mark: &proto::SnapshotMark) -> Result<(), Halt> {
        let is_wanted = &self.parts.config.filter.table;
        if !self.parts.config.has_snapshots || !is_wanted(&mark.database, &mark.table) {
            self.messages.finish(number);
            return Ok(());
        }
        let places = marks::places(mark);
        for place in &places {
            if self.hold_lane(&place.lane).await? {
                self.touched.insert(place.lane.clone());
            } else if self.saving.failure.is_some() {
                self.messages.give_back(vec![number], BACK_PAUSE).await;
                return Ok(());
            }
        }
        if let Some(given_up) = self.gaps.marks.hold(number, places) {
            self.messages.finish(given_up);
        }
        self.tell_marks();
        Ok(())
    }

    fn tell_marks(&mut self) {
        let (now, lanes) = (self.now(), &mut self.lanes);
        let finished = self.gaps.marks.tell(|place| {
            lanes.get_mut(&place.lane).is_none_or(|lane| place.tell(&mut lane.order, now))
        });
        for message in finished {
            self.messages.finish(message);
        }
    }

    /// Whether the lane is this process's; if not, the message was given back.
    async fn hold(&mut self, lane: &LaneKey, message: u64) -> Result<bool, Halt> {
        let is_held = self.hold_lane(lane).await?;
        if !is_held {
            let pause = if self.saving.failure.is_some() { BACK_PAUSE } else { HELD_PAUSE };
            self.messages.give_back(vec![message], pause).await;
        }
        Ok(is_held)
    }

    /// Takes the lane's lease, unless this process has it.
    async fn hold_lane(&mut self, lane: &LaneKey) -> Result<bool, Halt> {
        if self.lanes.contains_key(lane) {
            return Ok(true);
        }
        if self.lanes.len() >= LANES_MAX {
            return Ok(false);
        }
        match self.parts.store.acquire(lane, &self.parts.config.owner, LEASE).await {
            Ok(Acquired::Leased { fence, record }) => {
                let state = LaneState::new(fence, &record, &self.parts.config, self.now());
                tracing::info!(%lane, next = record.next, "this process delivers the lane");
                self.lanes.insert(lane.clone(), state);
                Ok(true)
            }
            Ok(Acquired::Held { owner }) => {
                tracing::debug!(%lane, owner, "another process delivers the lane");
                Ok(false)
            }
            Err(error) => {
                self.state_failed(error)?;
                Ok(false)
            }
        }
    }

    /// A message of an outbox: delivered as it is, unless another relay's share has it.
    fn outbox(&mut self, number: u64, message: OutboxMessage, received: &Received) {
        let config = &self.parts.config;
        let request = Arc::new(message.request(&received.id));
        if !config.share.has(outbox::key(&request.group)) {
            self.parts.metrics.rows.with_label_values(&["shadow"]).inc();
            self.messages.finish(number);
            return;
        }
        let (order, group) = (config.order, request.group.clone());
        let what = What::Outbox { message: number, request, sent_at_us: received.sent_at_us };
        let task = Task { what, attempts: 0, request: None };
        if let Some(task) = self.outboxes.admit(order, &group, task) {
            self.deliveries.push(task);
        }
    }

    /// A message of an outbox is dealt with: the next one of its group may go.
    fn outbox_done(&mut self, message: u64, group: &str) {
        self.messages.finish(message);
        if let Some(task) = self.outboxes.done(group) {
            self.deliveries.push(task);
        }
    }

    async fn suppressed(
        &mut self,
        number: u64,
        suppressed: &proto::Suppressed,
    ) -> Result<(), Halt> {
        let Some((lane, first, last)) = suppressed_rows(suppressed) else {
            self.messages.finish(number);
            return Ok(());
        };
        if self.hold(&lane, number).await? {
            let now = self.now();
            if let Some(state) = self.lanes.get_mut(&lane) {
                state.suppressed(first, last, number, now);
            }
            self.touched.insert(lane);
        }
        Ok(())
    }

    /// A request was answered.
    fn finished(&mut self, finished: Finished) -> Result<(), Halt> {
        match finished {
            // It waits for its next attempt, and nothing of it is to be saved.
            Finished::Kept => {}
            Finished::Broken(error) => return Err(Halt::Defect(error)),
            Finished::Again { lane, run, attempts } => {
                if let Some(state) = self.lanes.get_mut(&lane) {
                    state.requests.failed(run, attempts);
                    self.touched.insert(lane);
                }
            }
            Finished::Delivered(task) => self.delivered(task.what),
            Finished::GivenUp { task, attempts, answer, is_refused } => {
                self.given_up(task, attempts, answer, is_refused);
            }
        }
        Ok(())
    }

    fn delivered(&mut self, what: What) {
        let metrics = &self.parts.metrics;
        match what {
            What::Canary { message, .. } => {
                metrics.canary_delivered_timestamp_seconds.set(seconds(wall_clock_us()));
                self.messages.finish(message);
            }
            What::Outbox { message, request, sent_at_us } => {
                metrics.observe_outbox(sent_at_us);
                self.outbox_done(message, &request.group);
            }
            What::Parked { lane, parked } => {
                self.retried(lane, |retried| retried.delivered.push(*parked));
            }
            What::Rows { lane, run } => {
                if let Some(state) = self.lanes.get_mut(&lane) {
                    metrics.observe_delivered(&run.rows);
                    state.requests.delivered(run.number);
                    self.touched.insert(lane);
                }
            }
        }
    }

    /// Makes requests, saves, sends, deletes; returns when to look again.
    async fn turn(&mut self) -> Result<Instant, Halt> {
        let now = self.now();
        for lane in self.touched.clone() {
            let Some(state) = self.lanes.get_mut(&lane) else { continue };
            let left_out = state.release(&self.parts.config, &self.bodies, now);
            let rows = &self.parts.metrics.rows;
            rows.with_label_values(&["filtered"]).inc_by(left_out.filtered);
            rows.with_label_values(&["shadow"]).inc_by(left_out.shadow);
            while self.deliveries.len() + self.unsaved.len() < BEGUN_MAX
                && let Some(run) = state.requests.take()
            {
                let (attempts, is_behind, number) = (run.attempts, run.is_behind, run.number);
                let what = What::Rows { lane: lane.clone(), run };
                let mut task = Task { what, attempts, request: None };
                if is_behind {
                    let answer = "an earlier row of its key is parked";
                    let parked = parked(&mut task, &self.bodies, Reason::Behind, 0, answer);
                    state.requests.parked(number);
                    self.parking.to_park.entry(lane.clone()).or_default().extend(parked);
                } else {
                    self.unsaved.push(task);
                }
            }
        }
        if self.save().await? {
            for task in self.unsaved.drain(..) {
                self.deliveries.push(task);
            }
            for lane in std::mem::take(&mut self.touched) {
                if let Some(state) = self.lanes.get_mut(&lane) {
                    for message in state.finished() {
                        self.messages.finish(message);
                    }
                }
            }
        }
        self.park_outboxes().await?;
        self.messages.delete().await;
        let wake = self.deliveries.dispatch();
        Ok(if self.unsaved.is_empty() { wake } else { wake.min(self.saving.not_before) })
    }

    /// Saves what has changed. `false`: it could not, and will be tried again.
    async fn save(&mut self) -> Result<bool, Halt> {
        if Instant::now() < self.saving.not_before {
            return Ok(false);
        }
        let mut saves = Vec::new();
        for lane in &self.touched {
            let Some(state) = self.lanes.get_mut(lane) else { continue };
            if let Some(record) = state.requests.changed() {
                let park = self.parking.to_park.get(lane).cloned().unwrap_or_default();
                let retried = self.parking.retried.get(lane).cloned().unwrap_or_default();
                let unpark = retried.delivered.into_iter().map(|parked| parked.id).collect();
                let (lane, fence, put_back) = (lane.clone(), state.fence, retried.failed);
                saves.push(Save { lane, fence, record, park, put_back, unpark });
            }
        }
        if saves.is_empty() {
            return Ok(true);
        }
        match self.parts.store.save(&saves).await {
            Ok(fenced) => {
                self.saving.backoff.succeeded(Duration::from_secs(10));
                self.saving.failure = None;
                for save in &saves {
                    let parked = self.parking.to_park.remove(&save.lane).unwrap_or_default();
                    self.parking.count += parked.len() as u64;
                    let retried = self.parking.retried.remove(&save.lane).unwrap_or_default();
                    for parked in retried.delivered.iter().chain(&retried.failed) {
                        self.parking.retrying.remove(&parked.id);
                    }
                }
                for lane in fenced {
                    self.lose(&lane).await;
                }
                Ok(true)
            }
            Err(error) => {
                for save in &saves {
                    if let Some(state) = self.lanes.get_mut(&save.lane) {
                        state.requests.save_again();
                    }
                }
                self.state_failed(error)?;
                self.saving.not_before = Instant::now() + self.saving.backoff.pause(random());
                Ok(false)
            }
        }
    }

    /// A failure of the state that may pass is logged; another ends the route.
    fn state_failed(&mut self, error: StateError) -> Result<(), Halt> {
        self.parts.metrics.state_errors.inc();
        match error {
            StateError::Unavailable { .. } => {
                tracing::warn!(%error, "the state does not answer: nothing is sent until it does");
                self.saving.failure = Some(error.to_string());
                Ok(())
            }
            StateError::Unfit { .. } => Err(error.into()),
        }
    }

    /// Another process holds the lane now.
    async fn lose(&mut self, lane: &LaneKey) {
        let Some(state) = self.lanes.remove(lane) else { return };
        tracing::warn!(%lane, "the lane's lease is lost: another process delivers it");
        self.deliveries.forget(lane);
        self.unsaved.retain(|task| !task.is_of(lane));
        self.parking.to_park.remove(lane);
        self.parking.retried.remove(lane);
        self.parking.retrying.retain(|_, of| of != lane);
        self.messages.give_back(state.into_messages(), Duration::ZERO).await;
    }

    /// Each second: visibility, leases, gaps, room, status.
    async fn tick(&mut self) -> Result<(), Halt> {
        self.ticks += 1;
        self.messages.extend().await;
        if self.ticks % 3 == 1 {
            self.renew().await?;
        }
        if self.ticks % 60 == 1 {
            self.retention = self.parts.queue.settings().await.ok().map(|found| found.retention);
        }
        if self.ticks % IDLE_LANES_TICKS == 1 {
            self.look_at_idle_lanes().await?;
        }
        self.obey().await?;
        if self.ticks % 5 == 2 {
            self.look_at_parked().await?;
        }
        self.look_for_other_readers()?;
        self.tell_marks();
        self.look_for_gaps();
        self.make_room().await;
        self.tell();
        Ok(())
    }

    fn look_for_gaps(&mut self) {
        let now = self.now();
        let policy = policy(self.parts.config.gap, self.parts.heal.as_ref());
        for (key, lane) in &mut self.lanes {
            let is_passed = lane.pass_over(now);
            let is_unknown = lane.order.next().is_none();
            let metrics = &self.parts.metrics;
            let found = lane.gap.look(key, &mut lane.order, policy, now, metrics);
            if is_unknown {
                lane.begins(key);
            }
            let parts = lane.parts_gap.look(key, &mut lane.order, policy, now, metrics);
            match (&parts, &self.parts.heal) {
                (PartsFound::Passed(parts), _) => {
                    lane.requests.parts_absent(parts.attempt, parts.first, parts.next);
                }
                (PartsFound::Ask(parts), Some(heal)) => {
                    spawn_parts(&mut self.gaps.heals, heal, key, &lane.order, *parts);
                }
                (PartsFound::Nothing | PartsFound::Ask(_), _) => {}
            }
            match found {
                Found::Nothing if !is_passed && parts == PartsFound::Nothing => continue,
                Found::Nothing | Found::GoesOn => {}
                Found::Declared(gap) => lane.requests.absent(gap.first, gap.last),
                Found::Ask { first, last } => {
                    if let Some(heal) = &self.parts.heal {
                        let (lane, (since_us, until_us)) = (key.clone(), lane.committed_around());
                        let missing = Missing { lane, first, last, since_us, until_us };
                        spawn(&mut self.gaps.heals, heal, missing);
                    }
                }
            }
            self.touched.insert(key.clone());
        }
    }

    fn leases(&self) -> Vec<Lease> {
        let leases = self.lanes.iter();
        leases.map(|(lane, state)| Lease { lane: lane.clone(), fence: state.fence }).collect()
    }

    async fn renew(&mut self) -> Result<(), Halt> {
        match self.parts.store.renew(&self.leases(), LEASE).await {
            Ok(lost) => {
                for lane in lost {
                    self.lose(&lane).await;
                }
                Ok(())
            }
            Err(error) => self.state_failed(error),
        }
    }

    /// Where everything that is held waits for something else, what is furthest behind goes back.
    async fn make_room(&mut self) {
        // A request that waits for its next attempt frees nothing for long; one that the target keeps back
        // is no reason to receive its messages again and again.
        if !self.room.is_full() || self.deliveries.is_busy() {
            return;
        }
        let lanes = &mut self.lanes;
        let outboxes = &mut self.outboxes;
        let drop_round = || {
            let of_lanes = lanes.values_mut().filter_map(LaneState::drop_one);
            of_lanes.chain(outboxes.drop_round()).collect()
        };
        self.messages.make_room(drop_round).await;
    }

    /// The route as it stands.
    fn view(&self) -> View {
        let config = &self.parts.config;
        let target_state = match (&self.deliveries.gone, self.deliveries.is_open()) {
            (Some(_), _) => "gone",
            (None, true) => "failing",
            (None, false) => "works",
        };
        let each = self.lanes.iter().map(|(key, lane)| LaneView {
            key,
            next: lane.requests.next(),
            accepted: self.canaries.accepted.get(key).copied().unwrap_or_default(),
            gap: &lane.gap,
            parts: &lane.parts_gap,
            waiting: lane.order.waiting(),
        });
        View {
            route: config.name.clone(),
            queue: self.parts.queue.url().to_owned(),
            target: self.parts.receiver.place(),
            target_state,
            last_failure: self.deliveries.gone.clone().or(self.deliveries.last_failure.clone()),
            state_failure: self.saving.failure.clone(),
            held: self.messages.view(),
            requests_begun: self.deliveries.len() as u64,
            parked: self.parking.count,
            retention_margin_seconds: status::margin(self.retention, self.messages.oldest_us()),
            documents: self
                .lanes
                .iter()
                .take(LANES_SHOWN_MAX)
                .flat_map(|(key, lane)| lane.blocks.of(&key.to_string()).collect::<Vec<_>>())
                .collect(),
            ..status::lanes(&config.name, each)
        }
    }

    fn tell(&self) {
        status::tell(&self.parts.metrics, &self.parts.status, self.view());
    }

    /// What is under way ends, what is dealt with is saved, what is untouched goes back.
    async fn end(&mut self) {
        for finished in self.deliveries.end(GRACE).await {
            if let Err(error) = self.finished(finished) {
                tracing::error!(%error, "at the end");
            }
        }
        self.unsaved.clear();
        if let Err(error) = self.turn_end().await {
            tracing::warn!(%error, "the state does not answer: some requests are repeated under the same ids");
        }
        self.messages.delete().await;
        self.messages.give_all_back().await;
        if let Err(error) = self.parts.store.release(&self.leases()).await {
            tracing::warn!(%error, "leases end by themselves after {LEASE:?}");
        }
    }

    async fn turn_end(&mut self) -> Result<(), Halt> {
        self.saving.not_before = Instant::now();
        self.park_outboxes().await?;
        if self.save().await? {
            for lane in std::mem::take(&mut self.touched) {
                if let Some(state) = self.lanes.get_mut(&lane) {
                    for message in state.finished() {
                        self.messages.finish(message);
                    }
                }
            }
        }
        Ok(())
    }
}
