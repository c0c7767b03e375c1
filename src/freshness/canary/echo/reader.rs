//! Reads a queue of canaries: receives, opens, tells, deletes. The task `Task::EchoReader` runs it for each
//! echo queue (`app/echo.rs`); so does `probe`, for its own queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::open::{Canary, Opened};
use super::{Queue, QueueError};

/// Shortest and longest pause after a failed read.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Shortest time from a read that brought nothing to the next.
const TURN_MIN: Duration = Duration::from_millis(500);

/// Opens a message's body; the error is for people.
pub type Open = Arc<dyn Fn(&str) -> Result<Opened, String> + Send + Sync>;

/// What a turn of the reader brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// The queue was read; the messages that came were told before, and were deleted.
    Read,
    /// A canary.
    Canary(Box<Canary>),
    /// Something well formed that is no canary.
    Other,
    /// Something that could not be opened; why.
    Malformed(String),
    /// The queue could not be read, or messages in it not be deleted.
    Failed(QueueError),
}

/// What becomes of messages that could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// They stay in the queue for its redrive policy: deleting them would hide them.
    Stay,
    /// They are deleted: the queue is the reader's own, and on a FIFO queue one that stays holds up
    /// what comes behind it.
    Delete,
}

/// Reads one queue, and tells `tell` each arrival.
pub struct Reader<Q, T> {
    /// The queue.
    pub queue: Q,
    /// Opens bodies.
    pub open: Open,
    /// What becomes of messages that could not be opened.
    pub malformed: Malformed,
    /// Who is told. It must return at once.
    pub tell: T,
}

impl<Q: Queue, T: FnMut(Arrival) + Send> Reader<Q, T> {
    /// Reads until told to stop. Failures are told and tried again for ever.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = Duration::ZERO;
        loop {
            let began = Instant::now();
            let turn = tokio::select! {
                biased;

                // 1. A request to stop outranks a poll, which may last 20 s. What it drops comes
                //    again.
                () = stop.cancelled() => return,
                // 2. One poll.
                turn = self.read_once() => turn,
            };
            let until = match turn {
                // An empty queue answers when its wait is over. One that does not wait is not asked
                // without end.
                Ok(messages) => {
                    pause = Duration::ZERO;
                    if messages == 0 { began + TURN_MIN } else { began }
                }
                Err(error) => {
                    (self.tell)(Arrival::Failed(error));
                    pause = (pause * 2).clamp(PAUSE.0, PAUSE.1);
                    Instant::now() + pause
                }
            };
            tokio::select! {
                biased;

                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// Receives once, tells each message, and deletes what need not come again.
    async fn read_once(&mut self) -> Result<usize, QueueError> {
        let received = self.queue.receive().await?;
        let messages = received.len();
        let mut done = Vec::with_capacity(messages);
        for message in received {
            let arrival = match (self.open)(unwrap_notification(&message.body).as_ref()) {
                Ok(Opened::Canary(canary)) => Arrival::Canary(canary),
                Ok(Opened::Other) => Arrival::Other,
                Err(error) => Arrival::Malformed(error),
            };
            let stays =
                matches!(arrival, Arrival::Malformed(_)) && self.malformed == Malformed::Stay;
            (self.tell)(arrival);
            if !stays {
                done.push(message.receipt);
            }
        }
        self.queue.delete(done).await?;
        (self.tell)(Arrival::Read);
        Ok(messages)
    }
}

/// The message inside SNS's envelope, which it comes in when delivery is not raw.
pub(super) fn unwrap_notification(body: &str) -> std::borrow::Cow<'_, str> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Notification {
        #[serde(rename = "Type")]
        kind: String,
        message: String,
    }
    if body.trim_start().starts_with('{')
        && let Ok(notification) = serde_json::from_str::<Notification>(body)
        && notification.kind == "Notification"
    {
        return notification.message.into();
    }
    body.into()
}
