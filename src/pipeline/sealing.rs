//! Drafts become messages on a thread of their own: checksum, compression and base64 cost more than
//! decoding does.

use std::sync::Arc;
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
    /// Number of its first message.
    pub(crate) first_id: u64,
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
    pub(crate) origin: Arc<Origin>,
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
            let (lane, kind) = (draft.lane().id, draft.kind());
            let destination = self.destinations.of(&draft);
            let Config { origin, oversize, .. } = &self.config;
            self.sealer.seal_within(draft, origin, &destination, *oversize, &mut sealed);
            let messages = self.note(lane, kind, &mut sealed);
            for message in messages {
                // The sink has ended: what is lost here was not settled, and comes again.
                if runtime.block_on(self.feed.send(message)).is_err() {
                    return;
                }
            }
        }
    }

    /// Tells of the messages that are about to be sent, and numbers them.
    fn note(&mut self, lane: LaneId, kind: Kind, sealed: &mut Vec<Sealed>) -> Vec<Message> {
        let mut note = Note {
            lane,
            kind,
            first_id: self.next_id,
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
