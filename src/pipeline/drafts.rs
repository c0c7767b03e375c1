//! The way from the loop to the sealing thread: bounded in number and in bytes, so that huge rows
//! do not pile up in it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::encode::Draft;

/// Drafts on the way.
const DRAFTS_MAX: usize = 16;
/// Bytes of rows on the way, until they are sealed and queued for the sink. A larger draft passes
/// alone.
const BYTES_MAX: u32 = 16 << 20;

/// A draft, with the room that it takes.
type Loaded = (Draft, OwnedSemaphorePermit);

/// Makes one.
pub(crate) fn drafts() -> (DraftFeed, DraftIntake) {
    let (sender, receiver) = mpsc::channel(DRAFTS_MAX);
    let room = Arc::new(Semaphore::new(BYTES_MAX as usize));
    (DraftFeed { sender, room }, DraftIntake { receiver })
}

/// The loop's end.
#[derive(Debug)]
pub(crate) struct DraftFeed {
    sender: mpsc::Sender<Loaded>,
    room: Arc<Semaphore>,
}

/// Room for one draft.
#[derive(Debug)]
pub(crate) struct Room {
    slot: mpsc::OwnedPermit<Loaded>,
    bytes: OwnedSemaphorePermit,
}

impl DraftFeed {
    /// Waits for room for a draft of so many bytes; `None` when the thread has ended. Cancel safe.
    pub(crate) async fn room(&self, bytes: usize) -> Option<Room> {
        let weight = u32::try_from(bytes).unwrap_or(BYTES_MAX).clamp(1, BYTES_MAX);
        let slot = self.sender.clone().reserve_owned().await.ok()?;
        let bytes = Arc::clone(&self.room).acquire_many_owned(weight).await.ok()?;
        Some(Room { slot, bytes })
    }
}

impl Room {
    /// Sends it.
    pub(crate) fn fill(self, draft: Draft) {
        self.slot.send((draft, self.bytes));
    }
}

/// The sealing thread's end.
#[derive(Debug)]
pub(crate) struct DraftIntake {
    receiver: mpsc::Receiver<Loaded>,
}

impl DraftIntake {
    /// The next draft, and what keeps its room while it is held. `None` when there will be no more.
    pub(crate) fn blocking_recv(&mut self) -> Option<Loaded> {
        self.receiver.blocking_recv()
    }

    /// Whether the loop has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.receiver.is_closed()
    }
}
