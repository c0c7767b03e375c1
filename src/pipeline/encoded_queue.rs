//! The way from the loop to the finalizing thread: bounded in number and in bytes, so that huge rows
//! do not pile up in it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::encode::EncodedBatch;

/// Encoded batches on the way.
const DRAFTS_MAX: usize = 16;
/// Bytes of rows on the way, until they are finalized and queued for the sink. A larger encoded batch passes
/// alone.
const BYTES_MAX: u32 = 16 << 20;

/// An encoded batch, with the room that it takes.
type Loaded = (EncodedBatch, OwnedSemaphorePermit);

/// Makes one.
pub(crate) fn encoded_queue() -> (EncodedFeed, EncodedIntake) {
    let (sender, receiver) = mpsc::channel(DRAFTS_MAX);
    let room = Arc::new(Semaphore::new(BYTES_MAX as usize));
    (EncodedFeed { sender, room }, EncodedIntake { receiver })
}

/// The loop's end.
#[derive(Debug)]
pub(crate) struct EncodedFeed {
    sender: mpsc::Sender<Loaded>,
    room: Arc<Semaphore>,
}

/// Room for one encoded batch.
#[derive(Debug)]
pub(crate) struct QueueSlot {
    slot: mpsc::OwnedPermit<Loaded>,
    bytes: OwnedSemaphorePermit,
}

impl EncodedFeed {
    /// Waits for room for an encoded batch of so many bytes; `None` when the thread has ended. Cancel safe.
    pub(crate) async fn room(&self, bytes: usize) -> Option<QueueSlot> {
        let weight = u32::try_from(bytes).unwrap_or(BYTES_MAX).clamp(1, BYTES_MAX);
        let slot = self.sender.clone().reserve_owned().await.ok()?;
        let bytes = Arc::clone(&self.room).acquire_many_owned(weight).await.ok()?;
        Some(QueueSlot { slot, bytes })
    }
}

impl QueueSlot {
    /// Sends it.
    pub(crate) fn fill(self, batch: EncodedBatch) {
        self.slot.send((batch, self.bytes));
    }
}

/// The finalizing thread's end.
#[derive(Debug)]
pub(crate) struct EncodedIntake {
    receiver: mpsc::Receiver<Loaded>,
}

impl EncodedIntake {
    /// The next encoded batch, and what keeps its room while it is held. `None` when there will be no more.
    pub(crate) async fn recv(&mut self) -> Option<Loaded> {
        self.receiver.recv().await
    }

    /// Whether the loop has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.receiver.is_closed()
    }
}
