//! The queue into a sink, bounded in bytes.
//!
//! Bytes count from [`Feed::send`] until the message's [`Ticket`] is dropped, which the sink does
//! when the message is settled: one bound covers what is queued, what is in flight and what waits
//! for a retry.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::encode::Message;

/// What a message takes besides its texts, bytes: its struct, its entry in queues.
const OVERHEAD_BYTES: usize = 512;

/// Largest capacity, bytes: the semaphore counts in 32 bits.
const CAPACITY_MAX: usize = u32::MAX as usize;

/// Makes a queue of `capacity_bytes` (at least 1, at most 4 GiB).
pub fn intake(capacity_bytes: usize) -> (Feed, Intake) {
    let capacity = capacity_bytes.clamp(1, CAPACITY_MAX);
    let room = Arc::new(Semaphore::new(capacity));
    // Unbounded in messages: `room` is the bound.
    let (sender, receiver) = unbounded_channel();
    let gauge = QueueGauge { room: Arc::clone(&room), capacity };
    (Feed { sender, gauge }, Intake { receiver, room })
}

/// The sink has ended or is stopping; the message comes back.
#[derive(Debug, thiserror::Error)]
#[error("the sink takes no more messages")]
pub struct Closed(pub Box<Message>);

/// The end where messages go in.
#[derive(Debug, Clone)]
pub struct Feed {
    sender: UnboundedSender<Ticket>,
    gauge: QueueGauge,
}

impl Feed {
    /// Waits for room, then queues the message. Senders are served in the order in which they
    /// asked. A message larger than the whole capacity waits until it is alone.
    ///
    /// Dropping the future loses the message that it held; nothing is queued then.
    pub async fn send(&self, message: Message) -> Result<(), Closed> {
        let bytes = self.weight(&message);
        let room = Arc::clone(&self.gauge.room);
        let Ok(permit) = room.acquire_many_owned(bytes).await else {
            return Err(Closed(Box::new(message)));
        };
        self.queue(message, permit)
    }

    /// Queues the message if there is room now; gives it back otherwise.
    #[cfg(feature = "testing")]
    pub fn try_send(&self, message: Message) -> Result<(), Closed> {
        let bytes = self.weight(&message);
        let room = Arc::clone(&self.gauge.room);
        match room.try_acquire_many_owned(bytes) {
            Ok(permit) => self.queue(message, permit),
            Err(_) => Err(Closed(Box::new(message))),
        }
    }

    /// How full it is.
    pub fn gauge(&self) -> &QueueGauge {
        &self.gauge
    }

    fn queue(&self, message: Message, permit: OwnedSemaphorePermit) -> Result<(), Closed> {
        let entered = tokio::time::Instant::now().into_std();
        self.sender
            .send(Ticket { message, entered, room: permit })
            .map_err(|refused| Closed(Box::new(refused.0.message)))
    }

    fn weight(&self, message: &Message) -> u32 {
        let bytes = message.billed_bytes().saturating_add(OVERHEAD_BYTES);
        u32::try_from(bytes.min(self.gauge.capacity)).unwrap_or(u32::MAX)
    }
}

/// How full an intake is; for metrics and for the packer's linger.
#[derive(Debug, Clone)]
pub struct QueueGauge {
    room: Arc<Semaphore>,
    capacity: usize,
}

impl QueueGauge {
    /// Bytes queued, in flight or waiting for a retry.
    pub fn queued_bytes(&self) -> usize {
        self.capacity.saturating_sub(self.room.available_permits())
    }

    /// Most that there may be.
    pub fn capacity_bytes(&self) -> usize {
        self.capacity
    }
}

/// A message together with the room that it takes.
#[derive(Debug)]
pub struct Ticket {
    /// The message.
    pub message: Message,
    /// When it was queued.
    pub entered: Instant,
    /// Room that it takes, free again when this is dropped.
    #[allow(dead_code, reason = "it is held, not read")]
    room: OwnedSemaphorePermit,
}

/// The end where a sink takes messages out.
#[derive(Debug)]
pub struct Intake {
    receiver: UnboundedReceiver<Ticket>,
    room: Arc<Semaphore>,
}

impl Intake {
    /// The next message; `None` when every feed is gone, or it was closed, and all were taken.
    pub async fn recv(&mut self) -> Option<Ticket> {
        self.receiver.recv().await
    }

    /// Waits for a message, then takes up to `most` that are there; how many. 0: there will be no
    /// more.
    pub async fn recv_many(&mut self, into: &mut Vec<Ticket>, most: usize) -> usize {
        self.receiver.recv_many(into, most).await
    }

    /// The next message if there is one now.
    pub fn try_recv(&mut self) -> Option<Ticket> {
        self.receiver.try_recv().ok()
    }

    /// Takes no more from now on: senders get their message back, also those that wait for room.
    /// What was queued can still be taken.
    pub fn close(&mut self) {
        self.receiver.close();
        self.room.close();
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // Or senders that wait for room would wait for ever.
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sns::fixture::message;

    #[tokio::test]
    async fn room_is_counted_in_bytes_and_until_the_ticket_is_dropped() {
        let (feed, mut intake) = intake(3 * 1024);
        feed.send(message(1, 1, 1024)).await.expect("there is room");
        feed.send(message(2, 1, 512)).await.expect("there is room");
        let queued = feed.gauge().queued_bytes();
        assert!((1024 + 512 + 2 * OVERHEAD_BYTES..3 * 1024).contains(&queued));
        assert_eq!(feed.gauge().capacity_bytes(), 3 * 1024);

        let refused = feed.try_send(message(3, 1, 1024)).expect_err("it is full");
        let first = intake.recv().await.expect("one is queued");
        let Closed(again) = feed.try_send(*refused.0).expect_err("taken, but not settled");
        let weight = first.room.num_permits();
        assert!((1024 + OVERHEAD_BYTES..1700).contains(&weight), "{weight}");
        drop(first);
        assert_eq!(feed.gauge().queued_bytes(), queued - weight);
        feed.try_send(*again).expect("the settled message made room");
    }

    #[tokio::test]
    async fn a_message_larger_than_the_capacity_passes_when_alone() {
        let (feed, mut intake) = intake(100);
        feed.send(message(1, 1, 5000)).await.expect("alone it may pass");
        assert_eq!(feed.gauge().queued_bytes(), 100);
        assert!(feed.try_send(message(2, 1, 1)).is_err());
        drop(intake.recv().await);
        assert_eq!(feed.gauge().queued_bytes(), 0);
    }

    #[tokio::test]
    async fn a_waiting_sender_gets_its_message_back_when_the_sink_ends() {
        let (feed, intake) = intake(100);
        feed.send(message(1, 1, 50)).await.expect("there is room");
        let waiting = tokio::spawn(async move { feed.send(message(2, 1, 50)).await });
        tokio::task::yield_now().await;
        drop(intake);
        let Closed(message) =
            waiting.await.expect("no panic").expect_err("the sink has ended meanwhile");
        assert_eq!(message.id, 2);
    }
}
