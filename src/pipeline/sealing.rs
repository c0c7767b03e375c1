//! Drafts become messages on a thread of their own: checksum, compression and base64 cost more than
//! decoding does.

use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, UnboundedSender};

use crate::encode::{Draft, Kind, LaneId, Message, Origin, Oversize, SealOptions, Sealed, Sealer};
use crate::sink::Feed;

use super::destination::Topics;

/// What became of one draft. Sent before its messages are, so that whoever counts messages knows of
/// all of them before the first can be settled.
#[derive(Debug)]
pub(crate) struct Note {
    /// Lane of the draft.
    pub(crate) lane: LaneId,
    /// What it is about.
    pub(crate) kind: Kind,
    /// Rows by operation: inserts, updates, deletes.
    pub(crate) rows: [u32; 3],
    /// Number of its last message that is sent.
    pub(crate) last_id: Option<u64>,
    /// Units of the messages beyond the first that the draft was split into.
    pub(crate) extra_units: Vec<u64>,
    /// Content before compression, all messages together, bytes.
    pub(crate) content_bytes: usize,
    /// Bodies, all messages together, bytes.
    pub(crate) body_bytes: usize,
    /// Cells that were left out for their size.
    pub(crate) omitted_cells: u32,
    /// A row that fits its topic in no way, and which may not be made smaller.
    pub(crate) too_large: Option<Box<Message>>,
}

/// How drafts are sealed.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) seal: SealOptions,
    pub(crate) oversize: Oversize,
    /// Where the stream comes from; another after a failover.
    pub(crate) origin: Arc<RwLock<Origin>>,
}

/// Starts the thread. It ends when the sender of drafts is gone, or the sink takes no more.
pub(crate) fn spawn(
    config: Config,
    destinations: Topics,
    drafts: Receiver<Draft>,
    feed: Feed,
    notes: UnboundedSender<Note>,
) -> std::io::Result<JoinHandle<()>> {
    let sealer = Sealer::new(config.seal)?;
    let runtime = Handle::current();
    let sealing = Sealing { config, destinations, feed, notes, sealer, next_id: 1 };
    thread::Builder::new().name("seal".to_owned()).spawn(move || sealing.run(drafts, &runtime))
}

struct Sealing {
    config: Config,
    destinations: Topics,
    feed: Feed,
    notes: UnboundedSender<Note>,
    sealer: Sealer,
    next_id: u64,
}

impl Sealing {
    fn run(mut self, mut drafts: Receiver<Draft>, runtime: &Handle) {
        let mut sealed = Vec::new();
        while let Some(draft) = drafts.blocking_recv() {
            let (lane, kind, rows) = (draft.lane().id, draft.kind(), draft.rows_by_op());
            let destination = self.destinations.of(&draft);
            let origin = self.config.origin.read().unwrap_or_else(PoisonError::into_inner);
            let oversize = self.config.oversize;
            self.sealer.seal_within(draft, &origin, &destination, oversize, &mut sealed);
            drop(origin);
            let messages = self.note(lane, kind, rows, &mut sealed);
            for message in messages {
                // The sink has ended: what is lost here was not settled, and comes again.
                if runtime.block_on(self.feed.send(message)).is_err() {
                    return;
                }
            }
        }
    }

    /// Tells of the messages that are about to be sent, and numbers them.
    fn note(
        &mut self,
        lane: LaneId,
        kind: Kind,
        rows: [u32; 3],
        sealed: &mut Vec<Sealed>,
    ) -> Vec<Message> {
        let mut note = Note {
            lane,
            kind,
            rows,
            last_id: None,
            extra_units: Vec::new(),
            content_bytes: 0,
            body_bytes: 0,
            omitted_cells: 0,
            too_large: None,
        };
        let mut messages = Vec::with_capacity(sealed.len());
        for (index, sealed) in sealed.drain(..).enumerate() {
            let (mut message, fits) = match sealed {
                Sealed::Message(message) => (message, true),
                Sealed::TooLarge(message) => (message, false),
            };
            if index > 0 {
                note.extra_units.push(message.unit);
            }
            note.content_bytes += message.uncompressed_bytes as usize;
            note.body_bytes += message.body.len();
            note.omitted_cells += message.omitted_cells;
            message.id = self.next_id;
            self.next_id += 1;
            if fits {
                note.last_id = Some(message.id);
                messages.push(message);
            } else {
                note.too_large = Some(Box::new(message));
            }
        }
        // The receiver is gone only when the pipeline has ended.
        drop(self.notes.send(note));
        messages
    }
}
