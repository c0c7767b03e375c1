//! One SQS queue: visibility, receipts, FIFO groups and deduplication, dead letters.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::entry::Attribute;

/// SNS's and SQS's window.
pub const DEDUPLICATION_WINDOW: Duration = Duration::from_secs(300);

/// A message in a queue.
#[derive(Debug, Clone)]
pub struct Stored {
    pub id: String,
    pub body: String,
    pub attributes: Vec<Attribute>,
    pub group: Option<String>,
    pub deduplication: Option<String>,
    pub sequence: u64,
    pub receipt: Option<String>,
    pub received: u32,
    pub sent_at_ms: i64,
    visible_at: Instant,
}

/// A queue.
#[derive(Debug, Default)]
pub struct Queue {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    pub messages: VecDeque<Stored>,
    seen: HashMap<String, Instant>,
    sequence: u64,
    receipts: u64,
}

impl Queue {
    pub fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }

    pub fn number(&self, attribute: &str, default: u64) -> u64 {
        self.attributes.get(attribute).and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    /// Whether SNS may send to it.
    pub fn admits_sns(&self) -> bool {
        let policy = self.attributes.get("Policy").map(|text| text.to_ascii_lowercase());
        policy.is_some_and(|text| {
            text.contains("\"allow\"")
                && (text.contains("sqs:sendmessage") || text.contains("sqs:*"))
        })
    }

    /// Adds a message, unless it is a duplicate within the window.
    pub fn put(
        &mut self,
        id: String,
        body: String,
        attributes: Vec<Attribute>,
        group: Option<String>,
        deduplication: Option<String>,
        now: Instant,
    ) {
        if let (true, Some(key)) = (self.is_fifo(), &deduplication) {
            let last = self.seen.get(key).copied();
            if last.is_some_and(|at| now < at + DEDUPLICATION_WINDOW) {
                return;
            }
            self.seen.insert(key.clone(), now);
        }
        self.sequence += 1;
        self.messages.push_back(Stored {
            id,
            body,
            attributes,
            group,
            deduplication,
            sequence: self.sequence,
            receipt: None,
            received: 0,
            sent_at_ms: chrono::Utc::now().timestamp_millis(),
            visible_at: now,
        });
    }

    /// Hands out up to `most` visible messages for `visibility`. A FIFO group of which a message is
    /// out gives no more.
    pub fn receive(&mut self, most: usize, visibility: Duration, now: Instant) -> Vec<Stored> {
        let is_fifo = self.is_fifo();
        let out = |message: &Stored| message.receipt.is_some() && message.visible_at > now;
        let mut blocked: HashSet<String> = HashSet::new();
        if is_fifo {
            let busy = self.messages.iter().filter(|message| out(message));
            blocked.extend(busy.filter_map(|message| message.group.clone()));
        }
        let mut given = Vec::new();
        for message in &mut self.messages {
            if given.len() == most {
                break;
            }
            let is_blocked = is_fifo && message.group.as_ref().is_some_and(|g| blocked.contains(g));
            if message.visible_at > now || is_blocked {
                continue;
            }
            self.receipts += 1;
            message.receipt = Some(format!("receipt-{}-{}", message.sequence, self.receipts));
            message.received += 1;
            message.visible_at = now + visibility;
            given.push(message.clone());
        }
        given
    }

    /// Messages that were received more than `most` times: dead letters.
    pub fn take_dead(&mut self, most: u32, now: Instant) -> Vec<Stored> {
        let is_dead = |message: &Stored| message.received >= most && message.visible_at <= now;
        let (dead, alive) = self.messages.drain(..).partition(is_dead);
        self.messages = alive;
        Vec::from(dead)
    }

    /// Deletes by receipt; whether the receipt was known.
    pub fn delete(&mut self, receipt: &str) -> bool {
        let at = self.messages.iter().position(|m| m.receipt.as_deref() == Some(receipt));
        at.and_then(|at| self.messages.remove(at)).is_some()
    }

    /// Changes the visibility of a message that is out; whether there is one.
    pub fn hide(&mut self, receipt: &str, visibility: Duration, now: Instant) -> bool {
        let message = self.messages.iter_mut().find(|m| m.receipt.as_deref() == Some(receipt));
        let Some(message) = message.filter(|message| message.visible_at > now) else {
            return false;
        };
        message.visible_at = now + visibility;
        true
    }

    /// Numbers of visible and of invisible messages.
    pub fn counts(&self, now: Instant) -> (usize, usize) {
        let visible = self.messages.iter().filter(|message| message.visible_at <= now).count();
        (visible, self.messages.len() - visible)
    }
}
