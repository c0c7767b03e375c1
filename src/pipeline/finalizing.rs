//! Encoded batches become messages on a thread of their own: checksum, compression and base64 cost more than
//! decoding does.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::mpsc::UnboundedSender;

use super::claims::Claims;
use super::encoded_queue::EncodedIntake;
use crate::encode::formats::FormatOptions;
use crate::encode::{
    EncodedBatch, FinalizeOptions, Finalized, Finalizer, Kind, LaneId, Message, Origin, Oversize,
};
use crate::platform;
use crate::shadow::LaneDigests;
use crate::sink::Feed;

use super::destination::Topics;

/// What became of one encoded batch. Sent before its messages are, so that whoever counts messages knows of
/// all of them before the first can be settled.
#[derive(Debug)]
pub(crate) struct Note {
    /// Lane of the encoded batch.
    pub(crate) lane: LaneId,
    /// Its key.
    pub(crate) lane_key: Arc<str>,
    /// What it is about.
    pub(crate) kind: Kind,
    /// Rows by operation: inserts, updates, deletes.
    pub(crate) rows: [u32; 3],
    /// Messages that are sent.
    pub(crate) messages: u64,
    /// Number of the last of them.
    pub(crate) last_id: Option<u64>,
    /// Ack groups of the messages beyond the first that the encoded batch was split into.
    pub(crate) extra_ack_groups: Vec<u64>,
    /// Content before compression, all messages together, bytes.
    pub(crate) content_bytes: usize,
    /// Bodies, all messages together, bytes.
    pub(crate) body_bytes: usize,
    /// Cells that were left out for their size.
    pub(crate) omitted_cells: u32,
    /// Cells that another program's format could not hold as they are.
    pub(crate) lossy_cells: u64,
    /// Messages whose body went to S3.
    pub(crate) claims: u64,
    /// A row that fits its topic in no way, and which may not be made smaller.
    pub(crate) too_large: Option<Box<Message>>,
}

impl Note {
    /// Of an encoded batch of which nothing is sent.
    pub(super) fn new(batch: &EncodedBatch) -> Self {
        let lane = batch.lane();
        Self {
            lane: lane.id,
            lane_key: Arc::clone(&lane.key),
            kind: batch.kind(),
            rows: batch.rows_by_op(),
            messages: 0,
            last_id: None,
            extra_ack_groups: Vec::new(),
            content_bytes: 0,
            body_bytes: 0,
            omitted_cells: 0,
            lossy_cells: 0,
            claims: 0,
            too_large: None,
        }
    }
}

/// How encoded batches are finalized.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) finalize: FinalizeOptions,
    /// Set where each row is a message, in another program's format.
    pub(crate) row_format: Option<FormatOptions>,
    pub(crate) oversize: Oversize,
    /// Where bodies go that are too large for their topic.
    pub(crate) claims: Option<Claims>,
    /// Where the stream comes from; another after a failover.
    pub(crate) origin: Arc<RwLock<Origin>>,
    /// Where digests of the rows are kept, if they are.
    pub(crate) digests: Option<Arc<LaneDigests>>,
}

/// Starts the thread. It ends when the sender of encoded batches is gone, or the sink takes no more.
pub(crate) fn spawn(
    config: Config,
    destinations: Topics,
    batches: EncodedIntake,
    feed: Feed,
    notes: UnboundedSender<Note>,
) -> std::io::Result<()> {
    let finalizer = Finalizer::new(config.finalize)?.with_row_format(config.row_format.clone());
    let finalizing = Finalizing { config, destinations, feed, notes, finalizer, next_id: 1 };
    platform::spawn_thread("finalize", finalizing.run(batches))
}

struct Finalizing {
    config: Config,
    destinations: Topics,
    feed: Feed,
    notes: UnboundedSender<Note>,
    finalizer: Finalizer,
    next_id: u64,
}

impl Finalizing {
    async fn run(mut self, mut batches: EncodedIntake) {
        let mut finalized = Vec::new();
        while let Some((batch, room)) = batches.recv().await {
            let mut note = Note::new(&batch);
            self.finalize(batch, &mut finalized);
            let Some(claims) = self.check_in(&mut finalized, &batches).await else { return };
            note.lossy_cells = self.finalizer.take_lossy_cells();
            let messages = number(&mut note, claims, &mut finalized, &mut self.next_id);
            let halts = note.too_large.is_some();
            // The receiver is gone only when the pipeline has ended.
            drop(self.notes.send(note));
            for message in messages {
                // The sink has ended: what is lost here was not settled, and comes again.
                if self.feed.send(message).await.is_err() {
                    return;
                }
            }
            drop(room);
            if halts {
                // The loop halts when it comes to the note. Until then nothing may overtake the row:
                // what is still under way is not sent, not settled, and comes again.
                while let Some((batch, _room)) = batches.recv().await {
                    drop(self.notes.send(Note::new(&batch)));
                }
                return;
            }
        }
    }

    fn finalize(&mut self, batch: EncodedBatch, finalized: &mut Vec<Finalized>) {
        let origin = self.config.origin.read().unwrap_or_else(PoisonError::into_inner);
        let oversize = self.config.oversize;
        if let Some(digests) = &self.config.digests {
            digests.add(&batch, origin.epoch);
        }
        if batch.kind() == Kind::Outbox {
            let topics = &mut self.destinations;
            let topic = |aggregate_type: Option<&str>| topics.of_outbox(&batch, aggregate_type);
            self.finalizer.finalize_outbox(&batch, &origin, topic, oversize, finalized);
        } else {
            let to = self.destinations.of(&batch);
            self.finalizer.finalize_within(batch, &origin, &to, oversize, finalized);
        }
    }

    /// Puts bodies that are too large into S3, where that is wanted; which messages now hold a
    /// pointer. Waits as long as S3 is away: what comes behind must not overtake. `None`: the loop
    /// has ended meanwhile.
    async fn check_in(
        &self,
        finalized: &mut [Finalized],
        batches: &EncodedIntake,
    ) -> Option<Vec<bool>> {
        let mut claims = vec![false; finalized.len()];
        let Some(bucket) = &self.config.claims else { return Some(claims) };
        for (finalized, is_claim) in finalized.iter_mut().zip(&mut claims) {
            let Finalized::TooLarge(message) = finalized else { continue };
            let checked = bucket.check_in(message.clone(), || batches.is_closed());
            if let Some(claim) = checked.await? {
                *finalized = Finalized::Message(claim);
                *is_claim = true;
            }
        }
        Some(claims)
    }
}

/// Numbers the messages that are about to be sent, and completes what is told of their encoded batch. Behind
/// a row that is too large for its topic nothing is sent: nothing may pass it.
pub(super) fn number(
    note: &mut Note,
    claims: Vec<bool>,
    finalized: &mut Vec<Finalized>,
    next_id: &mut u64,
) -> Vec<Message> {
    let mut messages = Vec::with_capacity(finalized.len());
    for (index, (finalized, is_claim)) in finalized.drain(..).zip(claims).enumerate() {
        let (mut message, fits) = match finalized {
            Finalized::Message(message) => (message, true),
            Finalized::TooLarge(message) => (message, false),
        };
        if note.too_large.is_some() {
            continue;
        }
        if index > 0 {
            note.extra_ack_groups.push(message.ack_group);
        }
        if is_claim {
            note.claims += 1;
        } else {
            // A pointer says nothing of how well rows compress.
            note.content_bytes += message.uncompressed_bytes as usize;
            note.body_bytes += message.body.len();
        }
        note.omitted_cells += message.omitted_cells;
        message.id = *next_id;
        *next_id += 1;
        if fits {
            note.last_id = Some(message.id);
            note.messages += 1;
            messages.push(message);
        } else {
            note.too_large = Some(Box::new(message));
        }
    }
    messages
}
