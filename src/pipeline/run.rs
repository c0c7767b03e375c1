//! The loop itself.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::encoded_queue::{EncodedFeed, QueueSlot};
use super::finalizing::Note;
use super::flow::Flow;
use super::saver::Saver;
use super::schema::Schemas;
use crate::change::NameCase;
use crate::checkpoint::Tracker;
use crate::control::ControlRegistry;
use crate::decode::{self, Answer, Decoder, Fault, Steps};
use crate::encode::EncodedBatch;
use crate::freshness::{CanaryStep, ProgressObserver};
use crate::platform;
use crate::sink::Settlement;
use crate::sink::intake::QueueGauge;
use crate::sink::quarantine::Quarantine;
use crate::snapshot::Ask;
use crate::source::{self, Columns, Replica, Start};
use crate::telemetry::{LoopTicker, Metrics};

/// Why the loop ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// At the end of its window.
    Reached,
}

/// Why the work on an event ended before its end.
#[derive(Debug)]
pub(super) enum Interrupt {
    /// The loop was asked to stop.
    Stopped,
    Failed(Error),
}

impl From<Error> for Interrupt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<decode::Error> for Interrupt {
    fn from(error: decode::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<source::Error> for Interrupt {
    fn from(error: source::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Events taken before the loop looks at anything else.
const BURST_EVENTS_MAX: u32 = 1024;
/// Events between two looks at the clock.
const CLOCK_EVENTS: u32 = 64;
/// Longest time without a look at what is due.
const TICK: Duration = Duration::from_millis(500);

/// What the loop needs besides the stream.
pub(crate) struct Parts {
    pub(crate) flow: Flow,
    pub(crate) batches: EncodedFeed,
    pub(crate) notes: mpsc::UnboundedReceiver<Note>,
    pub(crate) settlements: mpsc::Receiver<Settlement>,
    pub(crate) saver: Saver,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) observer: Arc<dyn ProgressObserver>,
    pub(crate) gauge: QueueGauge,
    /// Ticks while the loop turns.
    pub(crate) ticker: LoopTicker,
    /// Where refused messages and events that can't be decoded go.
    pub(crate) quarantine: Option<Quarantine>,
    /// Whether refused messages go there; else they halt the stream.
    pub(crate) puts_refused_aside: bool,
    /// What the reader of a snapshot asks; `None`: there is none.
    pub(crate) snapshot: Option<mpsc::Receiver<Ask>>,
    /// Where an operator's controls arrive; `None`: there are none.
    pub(crate) controls: Option<Arc<ControlRegistry>>,
}

/// What a message stands for.
pub(super) struct OnItsWay {
    pub(super) canary: Option<CanaryStep>,
    /// Rows by operation: of the whole encoded batch, with its last message.
    pub(super) rows: [u32; 3],
    /// Key of its lane.
    pub(super) lane: Arc<str>,
}

/// The loop. Survives the end of a stream: the next one continues where it ended.
pub struct Pipeline {
    pub(super) parts: Parts,
    /// Who names columns that the log does not name.
    pub(super) schemas: Schemas,
    /// Encoded batches that wait for room on the way to the finalizing thread, in order. While there
    /// are any, no event is taken.
    waiting: VecDeque<EncodedBatch>,
    /// What is to be counted when a message settles, by its number.
    pub(super) on_their_way: HashMap<u64, OnItsWay>,
    /// Encoded batches handed on of which no note has come.
    pub(super) finalizing: u64,
    /// Messages finalized and not settled.
    pub(super) unsettled: u64,
    pub(super) published_heartbeat: Option<u64>,
    /// When the loop last looked at its own duties.
    looked_at: Instant,
}

impl Pipeline {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            parts,
            schemas: Schemas::default(),
            waiting: VecDeque::new(),
            on_their_way: HashMap::new(),
            finalizing: 0,
            unsettled: 0,
            published_heartbeat: None,
            looked_at: platform::now(),
        }
    }

    /// How far everything has got.
    pub fn tracker(&self) -> &Tracker {
        self.parts.flow.tracker()
    }

    /// Commit time of the newest transaction that went by, microseconds since 1970 UTC.
    pub(crate) fn newest_commit_us(&self) -> i64 {
        self.parts.flow.newest_commit_us()
    }

    /// From here on places speak of this server.
    pub fn moved_to(&mut self, server: &str) {
        self.parts.flow.moved_to(server);
    }

    /// From here on names are compared as this server does.
    pub(crate) fn compare_names(&mut self, case: NameCase) {
        self.parts.flow.compare_names(case);
    }

    /// A dump begins there.
    pub fn stream_began(&mut self, start: &Start) {
        self.parts.flow.stream_began(start);
    }

    /// The stream broke; the next one begins at the last transaction's end.
    pub fn stream_broke(&mut self) {
        self.parts.flow.stream_broke();
    }

    /// Carries events to messages until told to stop, or at the end of the window.
    ///
    /// # Errors
    ///
    /// Everything that ends the stream; [`Pipeline::stream_broke`] must be called before another
    /// is begun.
    pub async fn run(
        &mut self,
        replica: &mut Replica,
        decoder: &mut Decoder,
        stop: &CancellationToken,
    ) -> Result<Ended, Error> {
        loop {
            if self.parts.flow.is_over() {
                return Ok(Ended::Reached);
            }
            let taken = tokio::select! {
                biased;
                // 1. A request to stop outranks everything, or a busy source would starve it.
                () = stop.cancelled() => return Ok(Ended::Stopped),
                // 2. What is under way makes room for what comes.
                turned = self.handle_next() => turned.map_err(Interrupt::Failed),
                // 3. New events.
                event = replica.next(), if self.waiting.is_empty() && !self.parts.flow.reads_nothing() => match event {
                    Ok(Some(event)) => match self.take(decoder, event, platform::now(), stop).await {
                        Ok(()) => self.burst(replica, decoder, stop).await,
                        Err(interrupt) => Err(interrupt),
                    },
                    Ok(None) => return Err(Error::StreamEnded),
                    Err(error) => return Err(error.into()),
                },
            };
            match taken {
                Ok(()) => {}
                Err(Interrupt::Stopped) => return Ok(Ended::Stopped),
                Err(Interrupt::Failed(error)) => return Err(error),
            }
        }
    }

    /// Continues while nothing is read: settlements and saves, until told to stop. For the time
    /// between two streams.
    pub async fn idle(&mut self, until: impl Future<Output = ()>) -> Result<(), Error> {
        tokio::pin!(until);
        loop {
            tokio::select! {
                biased;
                () = &mut until => return Ok(()),
                turned = self.handle_next() => turned?,
            }
        }
    }

    /// Continues while the stream is halted, whatever happens: what is on its way may still be
    /// delivered and saved, and the loop shows that it lives.
    pub async fn deliver_until(&mut self, until: impl Future<Output = ()>) {
        tokio::pin!(until);
        loop {
            match self.idle(&mut until).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(%error, "while halted");
                    if matches!(error, Error::SinkEnded | Error::Checkpoint(_)) {
                        break;
                    }
                }
            }
        }
        loop {
            self.parts.ticker.tick();
            tokio::select! {
                biased;
                () = &mut until => return,
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Hands on what was gathered, waits until it is delivered, and saves; at most until `deadline`.
    /// Whether everything was delivered.
    pub async fn drain(&mut self, deadline: Instant) -> Result<bool, Error> {
        self.parts.flow.announce_held()?;
        self.parts.flow.flush_all();
        self.gather();
        let delivered = async {
            while self.tracker().ack_groups_in_flight() > 0 {
                if self.is_stuck() {
                    return Ok(false);
                }
                self.handle_next().await?;
            }
            Ok(true)
        };
        let outcome = tokio::time::timeout_at(deadline.into(), delivered).await;
        self.tell();
        // A save is quick or hopeless; without it the restart only repeats more.
        let saving = self.parts.saver.finish(self.parts.flow.tracker_mut());
        tokio::time::timeout(SAVE_GRACE, saving).await.unwrap_or(Ok(()))?;
        match outcome {
            Ok(delivered) => delivered,
            Err(_) => Ok(false),
        }
    }

    /// Nothing is on its way any more, though not everything was delivered: it was given up when the
    /// stream halted.
    fn is_stuck(&self) -> bool {
        self.waiting.is_empty() && self.finalizing == 0 && self.unsettled == 0
    }

    /// Whatever comes first of all that is no event. Cancel safe.
    async fn handle_next(&mut self) -> Result<(), Error> {
        let due = self.due_at(platform::now());
        let next_bytes = self.waiting.front().map(EncodedBatch::len_bytes);
        let parts = &mut self.parts;
        tokio::select! {
            biased;
            // 1. Settlements make room, and let the checkpoint advance.
            settlement = parts.settlements.recv() => self.settlement(settlement),
            // 2. A note may be the only word of a message that was never sent.
            note = parts.notes.recv() => self.note(note.ok_or(Error::SinkEnded)?),
            saved = parts.saver.result() => self.saved(saved?),
            // An operator may want to stop what waits for room below.
            () = next_order(parts.controls.as_deref()) => self.orders(),
            // 3. What was gathered leaves before more is gathered.
            room = parts.batches.room(next_bytes.unwrap_or(0)), if next_bytes.is_some() => {
                self.hand_on(room.ok_or(Error::SinkEnded)?);
                Ok(())
            }
            // 4. Chunks of a snapshot, each of them behind what has been gathered.
            Some(ask) = next_ask(&mut parts.snapshot), if next_bytes.is_none() => {
                parts.flow.ask(ask, platform::now())?;
                self.gather();
                Ok(())
            }
            // 5. What is due, or a steady trickle would delay it for ever.
            () = sleep_until(due.into()) => self.due(),
        }
    }

    /// More events that have arrived already, up to a limit.
    async fn burst(
        &mut self,
        replica: &mut Replica,
        decoder: &mut Decoder,
        stop: &CancellationToken,
    ) -> Result<(), Interrupt> {
        let mut now = platform::now();
        for count in 1..BURST_EVENTS_MAX {
            if count % CLOCK_EVENTS == 0 {
                now = platform::now();
            }
            // The end of the stream shows when the next event is waited for.
            let Some(event) = replica.next_buffered()? else { break };
            self.take(decoder, event, now, stop).await?;
            if self.parts.flow.is_over() || self.parts.flow.reads_nothing() {
                break;
            }
        }
        if !replica.buffered() {
            self.parts.flow.idle(platform::now());
            self.ship(stop).await?;
        }
        self.tell();
        Ok(())
    }

    /// Hands the encoded batches on. While there is no room everything else continues, also the request
    /// to stop: a sink may be away for days.
    pub(super) async fn ship(&mut self, stop: &CancellationToken) -> Result<(), Interrupt> {
        self.gather();
        while !self.waiting.is_empty() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Interrupt::Stopped),
                turned = self.handle_next() => turned?,
            }
        }
        Ok(())
    }

    /// Waits inside an event too: its rows may be many. Everything else continues.
    pub(super) async fn keep_pace(&mut self, stop: &CancellationToken) -> Result<(), Interrupt> {
        while self.parts.flow.keeps_pace() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Interrupt::Stopped),
                turned = self.handle_next() => turned?,
            }
        }
        Ok(())
    }

    /// Does what an operator asked for.
    fn orders(&mut self) -> Result<(), Error> {
        let Some(controls) = self.parts.controls.clone() else { return Ok(()) };
        while let Some(order) = controls.take() {
            self.parts.flow.order(order, platform::now())?;
        }
        self.gather();
        self.show_held();
        self.offer(platform::now());
        Ok(())
    }

    /// More rows came than a rate allows: what comes behind them is held back.
    #[cold]
    pub(super) fn exceeded(&mut self) -> Result<(), Error> {
        let exceeded = self.parts.flow.take_exceeded();
        if let Some(controls) = &self.parts.controls {
            controls.exceeded(&exceeded);
        }
        self.orders()
    }

    /// Begins a save if there is something to save and it is time, or an operator waits for it.
    fn offer(&mut self, now: Instant) {
        let waits = self.parts.controls.as_ref().is_some_and(|controls| controls.waits_for_saves());
        if waits || self.parts.flow.awaits_filters() {
            self.parts.saver.hurry();
        }
        self.parts.saver.offer(self.parts.flow.tracker_mut(), now);
    }

    fn show_held(&mut self) {
        if let Some(controls) = &self.parts.controls
            && let Some((held, case)) = self.parts.flow.held()
        {
            controls.show(held, case);
        }
    }

    pub(super) fn gather(&mut self) {
        self.waiting.extend(self.parts.flow.take_batches());
    }

    fn hand_on(&mut self, room: QueueSlot) {
        if let Some(batch) = self.waiting.pop_front() {
            self.finalizing += 1;
            room.fill(batch);
        }
    }

    fn due_at(&mut self, now: Instant) -> Instant {
        // Rows that wait leave only when there is room for them.
        let flush = if self.waiting.is_empty() { self.parts.flow.due() } else { None };
        // A save that is due and has nothing to save is looked at again with the next settlement.
        let save = self.parts.saver.due_at().filter(|due| *due > now);
        // Counted from the last look, not from now: events that come faster than the tick must not put
        // it off for ever.
        let tick = self.looked_at + TICK;
        let reads_on = self.parts.flow.reads_on_at();
        [flush, save, reads_on].into_iter().flatten().min().unwrap_or(tick).min(tick)
    }

    fn due(&mut self) -> Result<(), Error> {
        let now = platform::now();
        self.looked_at = now;
        self.parts.ticker.tick();
        self.parts.flow.tell_settled();
        self.parts.flow.held_due(now)?;
        self.show_held();
        if self.waiting.is_empty() {
            self.parts.flow.flush_due(now);
            self.gather();
        }
        let gauge = &self.parts.gauge;
        let (queued, capacity) = (gauge.queued_bytes(), gauge.capacity_bytes());
        self.parts.flow.packer_mut().observe_backlog(queued, capacity);
        self.offer(now);
        self.tell();
        self.parts.observer.progress(self.parts.flow.progress());
        Ok(())
    }

    /// Tells the metrics and the observer what went by.
    fn tell(&mut self) {
        let at = platform::now();
        for span in self.parts.flow.take_spans() {
            self.parts.observer.heartbeat_arrived(span, at);
        }
        for seen in self.parts.flow.take_seen() {
            self.parts.observer.seen(&seen, at);
        }
        self.parts.flow.tell(&self.parts.metrics);
        // Where nothing is on its way no settlement will bring it up.
        self.published();
    }
}

/// What is asked next. Cancel safe.
async fn next_ask(asks: &mut Option<mpsc::Receiver<Ask>>) -> Option<Ask> {
    match asks {
        Some(asks) => asks.recv().await,
        None => None,
    }
}

/// An operator asks for something. Cancel safe.
async fn next_order(controls: Option<&ControlRegistry>) {
    match controls {
        Some(controls) => controls.arrived().await,
        None => std::future::pending().await,
    }
}

/// Longest time for the last save.
const SAVE_GRACE: Duration = Duration::from_secs(5);

/// Tables that the log does not name the columns of.
impl Pipeline {
    /// From here on tables are asked for there.
    pub(crate) fn ask_for_schemas(&mut self, columns: Option<Columns>) {
        self.schemas.columns = columns;
    }

    /// The decoder can't continue by itself: it waits for an answer, or an event is to be quarantined, or
    /// the error is the end.
    pub(super) async fn on_decode_error(
        &mut self,
        steps: &mut Steps<'_, '_>,
        error: decode::Error,
        stop: &CancellationToken,
    ) -> Result<(), Interrupt> {
        if matches!(error.fault, Fault::SchemaNeeded { .. }) {
            return self.describe(steps, error, stop).await;
        }
        Ok(self.parts.flow.on_decode_error(steps, error)?)
    }

    /// Answers the decoder. Meanwhile messages that are on their way settle.
    async fn describe(
        &mut self,
        steps: &mut Steps<'_, '_>,
        error: decode::Error,
        stop: &CancellationToken,
    ) -> Result<(), Interrupt> {
        let Fault::SchemaNeeded { database, table } = &error.fault else {
            return Err(error.into());
        };
        if !self.parts.flow.wants(database, table) {
            steps.describe(Answer::NotNeeded)?;
            return Ok(());
        }
        let Some(mut columns) = self.schemas.columns.take() else { return Err(error.into()) };
        let mut answer = None;
        let asking = async {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                found = columns.describe(database, table) => answer = Some(found),
            }
        };
        let idled = Box::pin(self.idle(asking)).await;
        self.schemas.columns = Some(columns);
        idled?;
        let Some(found) = answer else { return Err(Interrupt::Stopped) };
        let found = found?;
        let as_described = if self.parts.flow.goes_by_names(database, table) {
            Answer::MustBeOlder
        } else {
            Answer::Described
        };
        let answer = found.as_ref().map_or(Answer::Unknown, as_described);
        let agreement = steps.describe(answer)?;
        self.schemas.tell(&format!("{database}.{table}"), agreement, &self.parts.metrics);
        Ok(())
    }
}
