//! Pollers: receive messages and open them, as long as there is room.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use binpulse_client::proto;
use binpulse_core::backoff::Backoff;
use binpulse_core::change::Table;
use binpulse_core::encode::opened::{Inconsistent, OpenedRows};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use crate::clock::{random, seconds, wall_clock_us};
use crate::metrics::Metrics;
use crate::open::{self, FetchError, Opened, Pointer};
use crate::outbox::{OutboxMessage, types_of_envelope};
use crate::queue::{Queue, Received};

/// Fetches objects that messages point to.
pub trait Fetch: Send + Sync + 'static {
    /// The text of an object, at most so many bytes of it.
    fn fetch(
        &self,
        pointer: Pointer,
        bytes_max: u64,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<String, FetchError>> + Send + '_>>;
}

/// Tables whose schemas are kept.
const TABLES_MAX: usize = 4096;
/// Longest pause after a call of SQS that failed.
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// What messages take: bytes in memory, about, and rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) bytes: usize,
    pub(super) rows: usize,
}

impl Size {
    pub(super) fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, rows: self.rows + other.rows }
    }

    /// Whether it has at least as much as the other, of one of the two.
    fn reaches(self, other: Self) -> bool {
        self.bytes >= other.bytes || self.rows >= other.rows
    }
}

/// What the messages take that are held.
#[derive(Debug)]
pub(super) struct Room {
    max: Size,
    bytes: AtomicUsize,
    rows: AtomicUsize,
    freed: Notify,
}

impl Room {
    pub(super) fn new(config: &Config) -> Self {
        let max = Size { bytes: config.buffer_bytes, rows: config.buffer_rows };
        Self { max, bytes: AtomicUsize::new(0), rows: AtomicUsize::new(0), freed: Notify::new() }
    }

    pub(super) fn free(&self, size: Size) {
        self.bytes.fetch_sub(size.bytes, Ordering::AcqRel);
        self.rows.fetch_sub(size.rows, Ordering::AcqRel);
        self.freed.notify_waiters();
    }

    pub(super) fn used(&self) -> Size {
        let (bytes, rows) = (&self.bytes, &self.rows);
        Size { bytes: bytes.load(Ordering::Acquire), rows: rows.load(Ordering::Acquire) }
    }

    pub(super) fn is_full(&self) -> bool {
        self.used().reaches(self.max)
    }

    /// Whether half of it would be in use without these.
    pub(super) fn is_half_full_without(&self, given_back: Size) -> bool {
        let used = self.used();
        let left = Size {
            bytes: used.bytes.saturating_sub(given_back.bytes),
            rows: used.rows.saturating_sub(given_back.rows),
        };
        left.reaches(Size { bytes: self.max.bytes / 2 + 1, rows: self.max.rows / 2 + 1 })
    }

    fn take(&self, size: Size) {
        self.bytes.fetch_add(size.bytes, Ordering::AcqRel);
        self.rows.fetch_add(size.rows, Ordering::AcqRel);
    }

    /// Waits until there is some. What is received then may go beyond it by one answer.
    async fn wait(&self) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if !self.is_full() {
                return;
            }
            freed.await;
        }
    }
}

/// A message, opened or not.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) received: Received,
    pub(super) size: Size,
    pub(super) content: Content,
}

/// What a message holds.
#[derive(Debug)]
pub(super) enum Content {
    Rows(Arc<OpenedRows>),
    Part(Box<proto::SnapshotPart>, Arc<OpenedRows>),
    /// A snapshot of a table began, or ended.
    Mark(Box<proto::SnapshotMark>),
    Canary(Box<proto::Canary>),
    Suppressed(Box<proto::Suppressed>),
    /// A message of an application, by way of an outbox.
    Outbox(Box<OutboxMessage>),
    /// Nothing that concerns a target: acknowledged and counted.
    Other,
    Unreadable {
        reason: &'static str,
        message: String,
    },
    /// Its object can't be fetched just now.
    Away(String),
}

/// One poller.
pub(super) struct Poller {
    pub(super) queue: Queue,
    pub(super) room: Arc<Room>,
    pub(super) limits: open::Limits,
    pub(super) fetch: Arc<dyn Fetch>,
    pub(super) tables: Arc<Tables>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) arrived: mpsc::Sender<Arrived>,
}

impl Poller {
    /// Receives until it is stopped.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(200), PAUSE_MAX);
        loop {
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                received = self.receive() => received,
            };
            let messages = match received {
                Ok(messages) => messages,
                Err(error) => {
                    self.metrics.queue_errors.inc();
                    let pause = backoff.pause(random());
                    tracing::warn!(%error, ?pause, "the queue can't be read");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(pause) => continue,
                    }
                }
            };
            backoff.succeeded(PAUSE_MAX);
            let now = seconds(wall_clock_us());
            self.metrics.queue_read_timestamp_seconds.set(now);
            for message in messages {
                let arrived = self.open(message).await;
                self.room.take(arrived.size);
                if self.arrived.send(arrived).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn receive(&self) -> Result<Vec<Received>, crate::queue::QueueError> {
        self.room.wait().await;
        self.queue.receive().await
    }

    async fn open(&self, mut received: Received) -> Arrived {
        let attributes = std::mem::take(&mut received.attributes);
        let is_raw = attributes.contains_key("kind");
        let fetch = async |pointer: &Pointer, max| self.fetch.fetch(pointer.clone(), max).await;
        let opened = open::open(&received.body, attributes, &self.limits, fetch).await;
        let content = match opened {
            Ok(open::Found::Ours(message)) => self.content(message.opened),
            Ok(open::Found::Outbox(body, attributes)) => {
                // Without an envelope the types came with the attributes.
                if !is_raw {
                    received.types = types_of_envelope(&received.body);
                }
                Content::Outbox(Box::new(OutboxMessage::new(body, attributes, &received.types)))
            }
            Err(open::Failure::Away(message)) => Content::Away(message),
            Err(open::Failure::Unreadable(error)) => {
                Content::Unreadable { reason: error.reason(), message: error.to_string() }
            }
        };
        let mut size = content.size();
        size.bytes += received.body.len();
        Arrived { received, size, content }
    }

    fn content(&self, opened: Opened) -> Content {
        let wrong = |error: Inconsistent| Content::Unreadable {
            reason: "inconsistent",
            message: error.to_string(),
        };
        match opened {
            Opened::Rows(batch) => match self.tables.open(batch) {
                Ok(rows) => Content::Rows(Arc::new(rows)),
                Err(error) => wrong(error),
            },
            Opened::Part(mut part) => match self.tables.open(part.batch.take().unwrap_or_default())
            {
                Ok(rows) => Content::Part(Box::new(part), Arc::new(rows)),
                Err(error) => wrong(error),
            },
            Opened::Canary(canary) => Content::Canary(Box::new(canary)),
            Opened::Suppressed(suppressed) => Content::Suppressed(Box::new(suppressed)),
            Opened::Mark(mark) => Content::Mark(Box::new(mark)),
            // They concern no target: what a schema is stands in each batch.
            Opened::Heartbeat(_)
            | Opened::Schema(_)
            | Opened::TransactionEnd(_)
            | Opened::Unknown { .. } => Content::Other,
        }
    }
}

impl Content {
    fn size(&self) -> Size {
        match self {
            Self::Rows(rows) | Self::Part(_, rows) => {
                Size { bytes: rows.memory_bytes(), rows: rows.len() }
            }
            Self::Outbox(message) => Size { bytes: message.body.len() + 1024, rows: 1 },
            Self::Canary(_)
            | Self::Mark(_)
            | Self::Suppressed(_)
            | Self::Other
            | Self::Unreadable { .. }
            | Self::Away(_) => Size { bytes: 1024, rows: 0 },
        }
    }
}

/// The pollers of a queue, and what they bring.
pub(super) struct Polling {
    pub(super) arrivals: mpsc::Receiver<Arrived>,
    running: JoinSet<()>,
    stop: CancellationToken,
}

impl Polling {
    /// Starts them; they end with `stop` too.
    pub(super) fn begin(
        config: &Config,
        queue: &Queue,
        room: &Arc<Room>,
        fetch: &Arc<dyn Fetch>,
        metrics: &Arc<Metrics>,
        stop: &CancellationToken,
    ) -> Self {
        let (arrived, arrivals) = mpsc::channel(64);
        let tables = Arc::new(Tables::default());
        let (mut running, stop) = (JoinSet::new(), stop.child_token());
        for _ in 0..config.pollers {
            let poller = Poller {
                queue: queue.clone(),
                room: Arc::clone(room),
                limits: config.open,
                fetch: Arc::clone(fetch),
                tables: Arc::clone(&tables),
                metrics: Arc::clone(metrics),
                arrived: arrived.clone(),
            };
            running.spawn(poller.run(stop.clone()));
        }
        Self { arrivals, running, stop }
    }

    /// Ends them; what they brought and nobody took is received again later.
    pub(super) async fn end(mut self) {
        self.stop.cancel();
        self.arrivals.close();
        self.running.shutdown().await;
    }
}

/// Schemas that were opened, shared by messages.
#[derive(Debug, Default)]
pub(super) struct Tables(Mutex<HashMap<u64, Arc<Table>>>);

impl Tables {
    fn open(&self, batch: proto::ChangeBatch) -> Result<OpenedRows, Inconsistent> {
        let rows = OpenedRows::new(batch, |fingerprint| {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&fingerprint).cloned()
        })?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TABLES_MAX {
            known.clear();
        }
        known.entry(rows.table().fingerprint).or_insert_with(|| Arc::clone(rows.table()));
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Room, Size};
    use crate::route::tests::config;

    proptest! {
        /// Whatever comes and goes, in whichever order: both bounds hold, each by itself.
        #[test]
        fn there_is_room_below_both_bounds_and_half_of_it_is_free_at_half_of_both(
            sizes in prop::collection::vec((0_usize..400_000, 0_usize..400), 0..12),
            freed in 0_usize..12,
        ) {
            let config = config(binpulse_core::encode::formats::FormatOptions::Binpulse);
            let max = Size { bytes: config.buffer_bytes, rows: config.buffer_rows };
            let room = Room::new(&config);
            let sizes: Vec<_> = sizes.into_iter().map(|(bytes, rows)| Size { bytes, rows }).collect();
            for size in &sizes {
                room.take(*size);
            }
            let (gone, left) = sizes.split_at(freed.min(sizes.len()));
            for size in gone {
                room.free(*size);
            }
            let sum = |sizes: &[Size]| sizes.iter().copied().fold(Size::default(), Size::plus);
            let used = sum(left);
            prop_assert_eq!(room.used(), used);
            prop_assert_eq!(room.is_full(), used.bytes >= max.bytes || used.rows >= max.rows);
            let given_back = sum(&left[..left.len() / 2]);
            let kept = sum(&left[left.len() / 2..]);
            prop_assert_eq!(
                room.is_half_full_without(given_back),
                kept.bytes > max.bytes / 2 || kept.rows > max.rows / 2
            );
        }
    }
}
