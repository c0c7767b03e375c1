//! Messages that are held: hidden from others as long as they are, and deleted or given back at the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::limits::BACK_PAUSE;
use super::poll::{Room, Size};
use super::status::Unfinished;
use crate::metrics::Metrics;
use crate::queue::{Queue, Received};

/// A message that is held.
#[derive(Debug)]
struct Message {
    receipt: String,
    size: Size,
    /// Until when it is hidden from others.
    hidden_until: Instant,
    sent_at_us: Option<i64>,
}

/// All of them, by numbers of this process.
pub(super) struct Messages {
    queue: Queue,
    room: Arc<Room>,
    metrics: Arc<Metrics>,
    visibility: Duration,
    held: HashMap<u64, Message>,
    numbers: u64,
    /// Finished, to be deleted with the next call.
    finished: Vec<u64>,
}

impl Messages {
    pub(super) fn new(
        queue: Queue,
        room: Arc<Room>,
        metrics: Arc<Metrics>,
        visibility: Duration,
    ) -> Self {
        let held = HashMap::new();
        Self { queue, room, metrics, visibility, held, numbers: 0, finished: Vec::new() }
    }

    /// Holds a message from now on.
    pub(super) fn hold(&mut self, received: &Received, size: Size) -> u64 {
        let message = Message {
            receipt: received.receipt.clone(),
            size,
            hidden_until: Instant::now() + self.visibility,
            sent_at_us: received.sent_at_us,
        };
        self.numbers += 1;
        self.held.insert(self.numbers, message);
        self.numbers
    }

    /// Nothing more is to be done with it.
    pub(super) fn finish(&mut self, message: u64) {
        self.finished.push(message);
    }

    pub(super) fn view(&self) -> Unfinished {
        let Size { bytes, rows } = self.room.used();
        Unfinished {
            messages_held: self.held.len() as u64,
            buffer_bytes: bytes as u64,
            buffer_rows: rows as u64,
        }
    }

    fn size_of(&self, message: u64) -> Size {
        self.held.get(&message).map_or(Size::default(), |message| message.size)
    }

    /// When the oldest of them entered the queue.
    pub(super) fn oldest_us(&self) -> Option<i64> {
        self.held.values().filter_map(|message| message.sent_at_us).min()
    }

    /// Deletes what is finished.
    pub(super) async fn delete(&mut self) {
        let finished = std::mem::take(&mut self.finished);
        let receipts = self.take(finished);
        if receipts.is_empty() {
            return;
        }
        if let Err(error) = self.queue.delete(&receipts).await {
            self.metrics.queue_errors.inc();
            tracing::warn!(%error, "messages were not deleted: they come again and are skipped");
        }
    }

    /// Shows messages to others after `pause`.
    pub(super) async fn give_back(&mut self, messages: Vec<u64>, pause: Duration) {
        let receipts = self.take(messages);
        if receipts.is_empty() {
            return;
        }
        if let Err(error) = self.queue.give_back(&receipts, pause).await {
            self.metrics.queue_errors.inc();
            tracing::warn!(%error, "messages stay hidden until their visibility ends");
        }
    }

    /// Gives messages back that wait for others, until half of the room would be free. `drop_round` gives
    /// up those that are furthest behind, one of each lane.
    pub(super) async fn make_room(&mut self, mut drop_round: impl FnMut() -> Vec<u64>) {
        let (mut messages, mut size) = (Vec::new(), Size::default());
        while self.room.is_half_full_without(size) {
            let round = drop_round();
            if round.is_empty() {
                break;
            }
            size = round.iter().map(|message| self.size_of(*message)).fold(size, Size::plus);
            messages.extend(round);
        }
        if !messages.is_empty() {
            tracing::warn!(
                messages = messages.len(),
                "the buffer is full of messages that wait: they are given back"
            );
        }
        self.give_back(messages, BACK_PAUSE).await;
    }

    /// The same with all of them.
    pub(super) async fn give_all_back(&mut self) {
        let all = self.held.keys().copied().collect();
        self.give_back(all, Duration::ZERO).await;
    }

    /// Keeps hidden what would soon be shown to others.
    pub(super) async fn extend(&mut self) {
        let now = Instant::now();
        let mut receipts = Vec::new();
        for message in self.held.values_mut() {
            if message.hidden_until < now + self.visibility / 2 {
                message.hidden_until = now + self.visibility;
                receipts.push(message.receipt.clone());
            }
        }
        if receipts.is_empty() {
            return;
        }
        if let Err(error) = self.queue.extend(&receipts).await {
            self.metrics.queue_errors.inc();
            tracing::warn!(%error, "messages may be shown to others while they are handled");
        }
    }

    fn take(&mut self, messages: Vec<u64>) -> Vec<String> {
        let taken = messages.into_iter().filter_map(|number| self.held.remove(&number));
        let room = &self.room;
        taken
            .map(|message| {
                room.free(message.size);
                message.receipt
            })
            .collect()
    }
}
