//! A queue of SQS, and the consumer that echoes canaries into it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::dice::Dice;

/// Where the queue is.
pub(crate) const URL: &str = "https://sqs.eu-west-1.amazonaws.com/000000000000/echo";
/// How long a message is hidden that was received, where the receiver does not say.
const HIDDEN: Duration = Duration::from_secs(30);

/// What is wrong with it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Trouble {
    /// No answer.
    pub(crate) hung: bool,
    /// The consumer gets nothing.
    pub(crate) loses: bool,
    /// Of a hundred messages, so many come twice.
    pub(crate) repeats: u64,
}

struct Message {
    id: u64,
    /// Rises with each receiving: a receipt names both.
    received: u64,
    body: String,
    visible_at: Instant,
}

impl Message {
    fn receipt(&self) -> String {
        format!("{}.{}", self.id, self.received)
    }
}

struct State {
    trouble: Trouble,
    dice: Dice,
    messages: Vec<Message>,
    ids: u64,
}

/// The queue.
pub(crate) struct Queue {
    changed: Notify,
    state: Mutex<State>,
}

impl Queue {
    pub(crate) fn new(dice: Dice) -> Arc<Self> {
        let state = State { trouble: Trouble::default(), dice, messages: Vec::new(), ids: 0 };
        Arc::new(Self { changed: Notify::new(), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn trouble(&self, change: impl FnOnce(&mut Trouble)) {
        change(&mut self.state().trouble);
        self.changed.notify_waiters();
    }

    /// The consumer takes a canary, and echoes it after a while.
    pub(crate) fn echo(self: &Arc<Self>, body: &str) {
        let (body, queue) = (body.to_owned(), Arc::clone(self));
        let ways = {
            let State { trouble, dice, .. } = &mut *self.state();
            let copies = u64::from(!trouble.loses) + u64::from(dice.below(100) < trouble.repeats);
            (0..copies).map(|_| Duration::from_millis(dice.between(5, 400))).collect::<Vec<_>>()
        };
        for way in ways {
            let (body, queue) = (body.clone(), Arc::clone(&queue));
            tokio::spawn(async move {
                sleep(way).await;
                let mut state = queue.state();
                state.ids += 1;
                let (id, visible_at) = (state.ids, Instant::now());
                state.messages.push(Message { id, received: 0, body, visible_at });
                drop(state);
                queue.changed.notify_waiters();
            });
        }
    }

    /// Does what is asked for: the operation's name, and its input.
    pub(crate) async fn answer(&self, operation: &str, input: &Value) -> Value {
        sleep(Duration::from_millis(2)).await;
        loop {
            let changed = self.changed.notified();
            if !self.state().trouble.hung {
                break;
            }
            changed.await;
        }
        match operation {
            "ReceiveMessage" => self.receive(input).await,
            "DeleteMessageBatch" => {
                let entries = input["Entries"].as_array().cloned().unwrap_or_default();
                let mut state = self.state();
                for entry in &entries {
                    let receipt = entry["ReceiptHandle"].as_str().unwrap_or_default();
                    state.messages.retain(|message| message.receipt() != receipt);
                }
                let deleted: Vec<_> = entries.iter().map(|it| json!({"Id": it["Id"]})).collect();
                json!({"Successful": deleted, "Failed": []})
            }
            "ChangeMessageVisibility" => {
                let receipt = input["ReceiptHandle"].as_str().unwrap_or_default();
                let hidden = seconds(&input["VisibilityTimeout"]).unwrap_or(HIDDEN);
                let mut state = self.state();
                let mut of_receipt = state.messages.iter_mut();
                if let Some(message) = of_receipt.find(|message| message.receipt() == receipt) {
                    message.visible_at = Instant::now() + hidden;
                }
                drop(state);
                self.changed.notify_waiters();
                json!({})
            }
            other => panic!("the model of the queue does not know {other}"),
        }
    }

    async fn receive(&self, input: &Value) -> Value {
        let until = Instant::now() + seconds(&input["WaitTimeSeconds"]).unwrap_or_default();
        let hidden = seconds(&input["VisibilityTimeout"]).unwrap_or(HIDDEN);
        let most = input["MaxNumberOfMessages"].as_u64().unwrap_or(1);
        loop {
            let changed = self.changed.notified();
            let now = Instant::now();
            let (found, next) = {
                let mut state = self.state();
                let visible = state.messages.iter_mut().filter(|it| it.visible_at <= now);
                let found = visible.take(usize::try_from(most).expect("few")).map(|message| {
                    message.received += 1;
                    message.visible_at = now + hidden;
                    json!({"MessageId": message.id.to_string(), "ReceiptHandle": message.receipt(),
                           "Body": message.body})
                });
                let found: Vec<_> = found.collect();
                let next = state.messages.iter().map(|message| message.visible_at).min();
                (found, next)
            };
            if !found.is_empty() || now >= until {
                return json!({"Messages": found});
            }
            let wakes = next.map_or(until, |next| next.min(until));
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(wakes) => {}
                () = changed => {}
            }
        }
    }
}

fn seconds(value: &Value) -> Option<Duration> {
    value.as_u64().map(Duration::from_secs)
}
