//! The newest canary stays in its queue, so that something outside the source knows what came from it.
//!
//! With the checkpoint in a table of the source an older backup takes the checkpoint back as well; then
//! only what has left the source tells. Not for FIFO queues: there a message that stays holds up those
//! behind it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::open::{Canary, Opened};
use super::reader::unwrap_notification;
use super::{Open, Queue, QueueError, Received};
use crate::freshness::Phase;

/// Which canary stays, and the receipt of its message. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct KeptReceipt(Arc<Mutex<Option<Newest>>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Newest {
    canary: (u64, Phase),
    receipt: String,
}

impl KeptReceipt {
    /// The receipt of what stays, when the queue is read no more.
    pub fn take(&self) -> Option<String> {
        self.lock().take().map(|newest| newest.receipt)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Newest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The built-in canary of `stream` in a message, if there is one.
pub fn canary_in(message: &Received, open: &Open, stream: &str) -> Option<Canary> {
    let Ok(Opened::Canary(canary)) = open(unwrap_notification(&message.body).as_ref()) else {
        return None;
    };
    (canary.stream == stream && canary.path.is_empty()).then_some(*canary)
}

/// A queue in which the newest canary of a stream stays.
pub struct KeepNewest<Q> {
    queue: Q,
    open: Open,
    stream: String,
    kept: KeptReceipt,
    /// Receipts of what was superseded, to be deleted with the next.
    superseded: Vec<String>,
}

impl<Q: Queue> KeepNewest<Q> {
    /// Keeps the newest canary of `stream` in `queue`, and says in `kept` which.
    pub fn new(queue: Q, open: Open, stream: String, kept: KeptReceipt) -> Self {
        Self { queue, open, stream, kept, superseded: Vec::new() }
    }

    /// Whether the message is the one that stays, come again.
    fn is_kept(&mut self, message: &Received) -> bool {
        let Some(canary) = canary_in(message, &self.open, &self.stream) else { return false };
        let canary = (canary.number, canary.phase);
        let mut kept = self.kept.lock();
        if let Some(newest) = kept.as_mut().filter(|newest| newest.canary == canary) {
            newest.receipt.clone_from(&message.receipt);
            return true;
        }
        if kept.as_ref().is_none_or(|newest| newest.canary.0 <= canary.0) {
            let newest = Newest { canary, receipt: message.receipt.clone() };
            self.superseded.extend(kept.replace(newest).map(|before| before.receipt));
        }
        false
    }
}

impl<Q: Queue> Queue for KeepNewest<Q> {
    async fn receive(&mut self) -> Result<Vec<Received>, QueueError> {
        let mut received = self.queue.receive().await?;
        received.retain(|message| !self.is_kept(message));
        Ok(received)
    }

    async fn delete(&mut self, mut receipts: Vec<String>) -> Result<(), QueueError> {
        let stays = self.kept.lock().as_ref().map(|newest| newest.receipt.clone());
        receipts.retain(|receipt| Some(receipt) != stays.as_ref());
        let superseded = std::mem::take(&mut self.superseded);
        let more: Vec<_> = superseded.into_iter().filter(|it| !receipts.contains(it)).collect();
        self.queue.delete(receipts).await?;
        // At most one from before: the rest were superseded within what was received.
        self.queue.delete(more).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    type Log = Arc<Mutex<Vec<String>>>;

    /// Gives its answers one after the other.
    struct Fake(VecDeque<Vec<(&'static str, &'static str)>>, Log);

    impl Queue for Fake {
        async fn receive(&mut self) -> Result<Vec<Received>, QueueError> {
            let messages = self.0.pop_front().unwrap_or_default();
            let received = |(body, receipt): (&str, &str)| Received {
                body: body.to_owned(),
                receipt: receipt.to_owned(),
            };
            Ok(messages.into_iter().map(received).collect())
        }

        async fn delete(&mut self, receipts: Vec<String>) -> Result<(), QueueError> {
            self.1.lock().expect("one thread").extend(receipts);
            Ok(())
        }
    }

    /// Bodies are `stream number phase`.
    fn opens() -> Open {
        Arc::new(|body| {
            let mut words = body.split(' ');
            let (stream, number, phase) = (words.next(), words.next(), words.next());
            let Some(number) = number.and_then(|number| number.parse().ok()) else {
                return Ok(Opened::Other);
            };
            let phase = if phase == Some("delete") { Phase::Delete } else { Phase::Insert };
            Ok(Opened::Canary(Box::new(Canary {
                stream: stream.unwrap_or_default().to_owned(),
                server_uuid: String::new(),
                epoch: 1,
                sequence: 1,
                path: String::new(),
                number,
                phase,
                written_at_us: 0,
                watermark_at_us: 0,
                verdict: String::new(),
                nonce: Vec::new(),
            })))
        })
    }

    #[tokio::test]
    async fn the_newest_canary_stays_and_is_told_once() {
        let (log, kept) = (Log::default(), KeptReceipt::default());
        let answers = [
            vec![("change", "a"), ("shop 1 insert", "b"), ("shop 1 delete", "c")],
            // What stays comes again when it was hidden for long enough.
            vec![("shop 1 delete", "d")],
            vec![("bank 9 insert", "e"), ("shop 2 insert", "f")],
            // Late, and older than what stays.
            vec![("shop 1 insert", "g")],
        ];
        let fake = Fake(answers.into(), Arc::clone(&log));
        let mut queue = KeepNewest::new(fake, opens(), "shop".to_owned(), kept.clone());
        let mut told = Vec::new();
        for _ in 0..4 {
            let received = queue.receive().await.expect("an answer");
            told.extend(received.iter().map(|message| message.body.clone()));
            let receipts = received.into_iter().map(|message| message.receipt).collect();
            queue.delete(receipts).await.expect("an answer");
        }
        let all = ["change", "shop 1 insert", "shop 1 delete", "bank 9 insert", "shop 2 insert"];
        assert_eq!(told[..5], all);
        assert_eq!(told[5..], ["shop 1 insert"]);
        assert_eq!(*log.lock().expect("one thread"), ["a", "b", "e", "d", "g"]);
        assert_eq!(kept.take(), Some("f".to_owned()));
    }
}
