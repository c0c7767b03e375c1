//! What becomes of messages and of saves, and what follows from that.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Error;
use super::finalizing::Note;
use super::run::{OnItsWay, Pipeline};
use super::saver::{Outcome, Saved};
use crate::encode::Message;
use crate::platform;
use crate::sink::quarantine::Undecoded;
use crate::sink::{MessageRejected, Settlement};
use crate::telemetry::metrics::OPS;

impl Pipeline {
    pub(super) fn settlement(&mut self, settlement: Option<Settlement>) -> Result<(), Error> {
        // Notes come before the messages that they are about: none may be missed here.
        let mut noted = Ok(());
        while let Ok(note) = self.parts.notes.try_recv() {
            noted = noted.and(self.note(note));
        }
        match settlement {
            None => return Err(Error::SinkEnded),
            Some(Settlement::Settled { id, ack_group, at, .. }) => {
                self.unsettled = self.unsettled.saturating_sub(1);
                self.count_settled(id, at);
                self.parts.flow.tracker_mut().settled(ack_group)?;
                self.parts.flow.tell_settled();
            }
            Some(Settlement::Failed { message, error }) => {
                self.unsettled = self.unsettled.saturating_sub(1);
                self.refused(&message, error)?;
            }
        }
        self.published();
        self.parts.saver.offer(self.parts.flow.tracker_mut(), platform::now());
        noted
    }

    fn count_settled(&mut self, id: u64, at: Instant) {
        let metrics = &self.parts.metrics;
        metrics.messages_published_total.inc();
        let Some(message) = self.on_their_way.remove(&id) else { return };
        if let Some(step) = &message.canary {
            self.parts.observer.canary_accepted(step, at);
            return;
        }
        let rows: u64 = message.rows.into_iter().map(u64::from).sum();
        if rows > 0 {
            metrics.table_rows.add(&message.lane, rows);
        }
        for (op, rows) in OPS.iter().zip(message.rows) {
            if rows > 0 {
                metrics.changes_published_total.of(op).inc_by(rows.into());
                metrics.user_row_last.note(at);
            }
        }
    }

    /// Puts a message aside for good, or halts.
    fn refused(&mut self, message: &Message, refusal: MessageRejected) -> Result<(), Error> {
        let quarantine = self.parts.quarantine.as_mut().filter(|_| self.parts.puts_refused_aside);
        let Some(quarantine) = quarantine else {
            return Err(Error::Refused {
                lane: message.lane_key.to_string(),
                sequence: message.sequence_first,
                refusal,
            });
        };
        // On the disk before the checkpoint may pass it.
        tokio::task::block_in_place(|| quarantine.put(message, &refusal, platform::wall()))?;
        self.parts.metrics.quarantined_messages_total.inc();
        tracing::error!(
            lane = %message.lane_key,
            sequence = message.sequence_first,
            rows = message.rows,
            error = %refusal,
            "a message was put into quarantine"
        );
        self.on_their_way.remove(&message.id);
        self.parts.flow.tracker_mut().settled(message.ack_group)?;
        Ok(())
    }

    /// Puts a row event aside that can't be decoded, for good.
    pub(super) fn quarantine(&mut self, event: Undecoded) -> Result<(), Error> {
        tracing::error!(
            error = event.error,
            transaction = event.gtid.as_deref().unwrap_or(&event.transaction),
            position = event.position,
            "a row event can't be decoded and is put into quarantine; the stream continues after it"
        );
        if let Some(quarantine) = &mut self.parts.quarantine {
            tokio::task::block_in_place(|| quarantine.put_undecoded(event))?;
        }
        self.parts.metrics.quarantined_events_total.inc();
        Ok(())
    }

    /// Tells of the newest heartbeat before which everything is delivered.
    pub(super) fn published(&mut self) {
        let newest = self.tracker().settled_heartbeat();
        if newest > self.published_heartbeat {
            self.published_heartbeat = newest;
            if let Some(number) = newest {
                self.parts.observer.published(number);
            }
        }
    }

    pub(super) fn note(&mut self, note: Note) -> Result<(), Error> {
        self.finalizing = self.finalizing.saturating_sub(1);
        self.unsettled += note.messages;
        let canary = self.parts.flow.finalized(&note)?;
        let rows: u64 = note.rows.iter().copied().map(u64::from).sum();
        self.parts.metrics.changes_read.fetch_add(rows, Ordering::Relaxed);
        if let Some(id) = note.last_id {
            let way = OnItsWay { canary, rows: note.rows, lane: note.lane_key };
            self.on_their_way.insert(id, way);
        }
        let oversize = &self.parts.metrics.oversize_total;
        oversize.of("omitted").inc_by(note.omitted_cells.into());
        oversize.of("claim_checked").inc_by(note.claims);
        self.parts.metrics.lossy_cells_total.inc_by(note.lossy_cells);
        match note.too_large {
            None => Ok(()),
            Some(message) => {
                self.parts.metrics.oversize_total.of("halted").inc();
                Err(Error::TooLarge {
                    lane: message.lane_key.to_string(),
                    sequence: message.sequence_first,
                    bytes: message.billed_bytes(),
                    topic: message.destination.to_string(),
                })
            }
        }
    }

    pub(super) fn saved(&mut self, saved: Saved) -> Result<(), Error> {
        let metrics = &self.parts.metrics;
        let now = platform::now();
        match self.parts.saver.observe(saved, now)? {
            Outcome::Saved { heartbeat, texts } => {
                metrics.checkpoint_saves_total.of("ok").inc();
                metrics.checkpoint_saved.note(now);
                if let Some(number) = heartbeat {
                    self.parts.observer.checkpointed(number);
                }
                self.parts.flow.saved(&texts)?;
                self.gather();
                if let Some(controls) = self.parts.controls.as_ref().filter(|_| !texts.is_empty()) {
                    let texts = texts.iter().map(|(name, text)| (&**name, text.is_empty()));
                    controls.saved(texts);
                }
            }
            Outcome::Failed(error) => {
                metrics.checkpoint_saves_total.of("error").inc();
                tracing::warn!(%error, "the checkpoint can't be saved; delivery goes on meanwhile");
                self.parts.observer.checkpoint_failed(&error.to_string());
            }
        }
        Ok(())
    }
}
