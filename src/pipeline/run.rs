//! The loop itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::flow::Flow;
use super::saver::{Outcome, Saved, Saver};
use super::schema::Schemas;
use super::sealing::Note;
use super::{Error, Witness};
use crate::checkpoint::Tracker;
use crate::decode::Decoder;
use crate::encode::{Draft, Kind, Message};
use crate::pulse::Phase;
use crate::sink::intake::Gauge;
use crate::sink::quarantine::Quarantine;
use crate::sink::{Refusal, Settlement};
use crate::source::{Replica, Start};
use crate::telemetry::metrics::OPS;
use crate::telemetry::{Beat, Metrics};

/// Why the loop ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
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
    pub(crate) drafts: mpsc::Sender<Draft>,
    pub(crate) notes: mpsc::UnboundedReceiver<Note>,
    pub(crate) settlements: mpsc::Receiver<Settlement>,
    pub(crate) saver: Saver,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) witness: Arc<dyn Witness>,
    pub(crate) gauge: Gauge,
    /// Ticks while the loop turns.
    pub(crate) beat: Beat,
    /// Where refused messages go; `None`: halt.
    pub(crate) quarantine: Option<Quarantine>,
}

/// What a message stands for.
struct OnItsWay {
    canary: Option<(u64, Phase)>,
    /// Rows by operation: of the whole draft, with its last message.
    rows: [u32; 3],
}

/// The loop. Survives the end of a stream: the next one goes on where it ended.
pub struct Pipeline {
    pub(super) parts: Parts,
    /// Who names columns that the log does not name.
    pub(super) schemas: Schemas,
    /// What is to be counted when a message settles, by its number.
    on_their_way: HashMap<u64, OnItsWay>,
    published_heartbeat: Option<u64>,
}

impl Pipeline {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            parts,
            schemas: Schemas::default(),
            on_their_way: HashMap::new(),
            published_heartbeat: None,
        }
    }

    /// How far everything has got.
    pub fn tracker(&self) -> &Tracker {
        self.parts.flow.tracker()
    }

    /// From here on places speak of this server.
    pub fn moved_to(&mut self, server: &str) {
        self.parts.flow.moved_to(server);
    }

    /// A dump begins there.
    pub fn stream_began(&mut self, start: &Start) {
        self.parts.flow.stream_began(start);
    }

    /// The stream broke; the next one begins at the last transaction's end.
    pub fn stream_broke(&mut self) {
        self.parts.flow.stream_broke();
    }

    /// Carries events to messages until told to stop.
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
            let due = self.due_at(Instant::now());
            tokio::select! {
                biased;
                // 1. A request to stop outranks everything, or a busy source would starve it.
                () = stop.cancelled() => return Ok(Ended::Stopped),
                // 2. Settlements make room for what comes.
                settlement = self.parts.settlements.recv() => self.settlement(settlement)?,
                saved = self.parts.saver.result() => self.saved(saved)?,
                // 3. What is due, or a steady trickle would delay it for ever.
                () = sleep_until(due.into()) => self.due().await?,
                // 4. New events.
                event = replica.next() => {
                    let event = event?.ok_or(Error::StreamEnded)?;
                    self.take(decoder, event, Instant::now()).await?;
                    self.burst(replica, decoder).await?;
                }
            }
        }
    }

    /// Goes on while the stream stands: settlements and saves, until told to stop. For the time
    /// between two streams.
    pub async fn idle(&mut self, until: impl Future<Output = ()>) -> Result<(), Error> {
        tokio::pin!(until);
        loop {
            let due = self.due_at(Instant::now());
            tokio::select! {
                biased;
                () = &mut until => return Ok(()),
                settlement = self.parts.settlements.recv() => self.settlement(settlement)?,
                saved = self.parts.saver.result() => self.saved(saved)?,
                () = sleep_until(due.into()) => self.due().await?,
            }
        }
    }

    /// Hands on what was gathered, waits until it is delivered, and saves; at most until `deadline`.
    /// Whether everything was delivered.
    pub async fn drain(&mut self, deadline: Instant) -> Result<bool, Error> {
        self.parts.flow.flush_all();
        let delivered = async {
            self.ship().await?;
            while self.tracker().units_on_their_way() > 0 {
                let settlement = self.parts.settlements.recv().await;
                self.settlement(settlement)?;
            }
            Ok(())
        };
        let outcome = tokio::time::timeout_at(deadline.into(), delivered).await;
        self.tell();
        // A save is quick or hopeless; without it the restart only repeats more.
        let saving = self.parts.saver.finish(self.parts.flow.tracker_mut());
        tokio::time::timeout(SAVE_GRACE, saving).await.unwrap_or(Ok(()))?;
        match outcome {
            Ok(Ok(())) => Ok(true),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// More events that have arrived already, up to a limit.
    async fn burst(&mut self, replica: &mut Replica, decoder: &mut Decoder) -> Result<(), Error> {
        let mut now = Instant::now();
        for count in 1..BURST_EVENTS_MAX {
            if !replica.buffered() {
                break;
            }
            if count % CLOCK_EVENTS == 0 {
                now = Instant::now();
            }
            let event = replica.next().await?.ok_or(Error::StreamEnded)?;
            self.take(decoder, event, now).await?;
        }
        if !replica.buffered() {
            self.parts.flow.idle(Instant::now());
            self.ship().await?;
        }
        self.tell();
        Ok(())
    }

    /// One event to drafts, and those to the sealing thread.
    async fn take(
        &mut self,
        decoder: &mut Decoder,
        event: &[u8],
        now: Instant,
    ) -> Result<(), Error> {
        self.parts.flow.event(event);
        let mut steps = decoder.feed(event)?;
        loop {
            match steps.next() {
                Ok(Some(step)) => self.parts.flow.step(step, now)?,
                Ok(None) => break,
                Err(error) => self.describe(&mut steps, error).await?,
            }
            if self.parts.flow.has_drafts() {
                self.ship().await?;
            }
        }
        Ok(())
    }

    /// Hands the drafts on. While there is no room, settlements are taken.
    async fn ship(&mut self) -> Result<(), Error> {
        let drafts = self.parts.drafts.clone();
        for draft in self.parts.flow.take_drafts() {
            loop {
                tokio::select! {
                    biased;
                    settlement = self.parts.settlements.recv() => self.settlement(settlement)?,
                    room = drafts.reserve() => {
                        room.map_err(|_| Error::SinkEnded)?.send(draft);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn due_at(&mut self, now: Instant) -> Instant {
        let dues = [self.parts.flow.due(), self.parts.saver.due_at()];
        let earliest = dues.into_iter().flatten().filter(|due| *due > now).min();
        let late = self.parts.flow.due().is_some_and(|due| due <= now);
        if late { now } else { earliest.unwrap_or(now + TICK).min(now + TICK) }
    }

    async fn due(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        self.parts.beat.tick();
        self.parts.flow.flush_due(now);
        self.ship().await?;
        let gauge = &self.parts.gauge;
        let (queued, capacity) = (gauge.queued_bytes(), gauge.capacity_bytes());
        self.parts.flow.packer_mut().observe_backlog(queued, capacity);
        self.parts.saver.offer(self.parts.flow.tracker_mut(), now);
        self.tell();
        self.parts.witness.progress(self.parts.flow.progress());
        Ok(())
    }

    fn settlement(&mut self, settlement: Option<Settlement>) -> Result<(), Error> {
        // Notes come before the messages that they are about: none may be missed here.
        while let Ok(note) = self.parts.notes.try_recv() {
            self.note(note)?;
        }
        match settlement {
            None => return Err(Error::SinkEnded),
            Some(Settlement::Settled { id, unit, at, .. }) => {
                self.count_settled(id, at);
                self.parts.flow.tracker_mut().settled(unit)?;
            }
            Some(Settlement::Failed { message, error }) => self.refused(&message, error)?,
        }
        self.published();
        self.parts.saver.offer(self.parts.flow.tracker_mut(), Instant::now());
        Ok(())
    }

    fn count_settled(&mut self, id: u64, at: Instant) {
        let metrics = &self.parts.metrics;
        metrics.messages_published_total.inc();
        let Some(message) = self.on_their_way.remove(&id) else { return };
        if let Some((number, phase)) = message.canary {
            self.parts.witness.canary_accepted(number, phase, at);
            return;
        }
        for (op, rows) in OPS.iter().zip(message.rows) {
            if rows > 0 {
                metrics.changes_published_total.of(op).inc_by(rows.into());
                metrics.user_row_last.note(at);
            }
        }
    }

    /// Puts a message aside for good, or halts.
    fn refused(&mut self, message: &Message, refusal: Refusal) -> Result<(), Error> {
        let Some(quarantine) = &mut self.parts.quarantine else {
            return Err(Error::Refused {
                lane: message.lane_key.to_string(),
                sequence: message.sequence_first,
                refusal,
            });
        };
        // On the disk before the checkpoint may pass it.
        tokio::task::block_in_place(|| quarantine.put(message, &refusal, SystemTime::now()))?;
        self.parts.metrics.quarantined_messages_total.inc();
        tracing::error!(
            lane = %message.lane_key,
            sequence = message.sequence_first,
            rows = message.rows,
            error = %refusal,
            "a message was put into quarantine"
        );
        self.on_their_way.remove(&message.id);
        self.parts.flow.tracker_mut().settled(message.unit)?;
        Ok(())
    }

    fn published(&mut self) {
        let newest = self.tracker().settled_heartbeat();
        if newest > self.published_heartbeat {
            self.published_heartbeat = newest;
            if let Some(number) = newest {
                self.parts.witness.published(number);
            }
        }
    }

    fn note(&mut self, note: Note) -> Result<(), Error> {
        for unit in note.extra_units {
            self.parts.flow.tracker_mut().opened(unit)?;
        }
        let is_canary = note.kind == Kind::Canary;
        let canary = if is_canary { self.parts.flow.pop_canary() } else { None };
        if let Some(id) = note.last_id {
            self.on_their_way.insert(id, OnItsWay { canary, rows: note.rows });
        }
        if note.omitted_cells > 0 {
            let omitted = u64::from(note.omitted_cells);
            self.parts.metrics.oversize_total.of("omitted").inc_by(omitted);
        }
        self.parts.flow.packer_mut().observe_sealed(note.lane, note.content_bytes, note.body_bytes);
        match note.too_large {
            None => Ok(()),
            Some(message) => Err(Error::TooLarge {
                lane: message.lane_key.to_string(),
                sequence: message.sequence_first,
                bytes: message.billed_bytes(),
                topic: message.destination.to_string(),
            }),
        }
    }

    fn saved(&mut self, saved: Saved) -> Result<(), Error> {
        let metrics = &self.parts.metrics;
        let now = Instant::now();
        match self.parts.saver.observe(saved, now)? {
            Outcome::Saved { heartbeat } => {
                metrics.checkpoint_saves_total.of("ok").inc();
                metrics.checkpoint_saved.note(now);
                if let Some(number) = heartbeat {
                    self.parts.witness.checkpointed(number);
                }
            }
            Outcome::Failed(error) => {
                metrics.checkpoint_saves_total.of("error").inc();
                tracing::warn!(%error, "the checkpoint can't be saved; delivery goes on meanwhile");
            }
        }
        Ok(())
    }

    /// Tells the metrics and the witness what went by.
    fn tell(&mut self) {
        let at = Instant::now();
        for span in self.parts.flow.take_spans() {
            self.parts.witness.heartbeat_arrived(span, at);
        }
        for seen in self.parts.flow.take_seen() {
            self.parts.witness.seen(&seen, at);
        }
        self.parts.flow.tell(&self.parts.metrics);
    }
}

/// Longest time for the last save.
const SAVE_GRACE: Duration = Duration::from_secs(5);
