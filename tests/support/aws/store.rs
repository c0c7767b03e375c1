//! What the endpoint remembers: topics, subscriptions, queues, and what was accepted.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::entry::{Attribute, Entry, Fault};
use super::filter;
use super::queue::{DEDUPLICATION_WINDOW, Queue};

pub const ACCOUNT: &str = "000000000000";

/// A topic.
#[derive(Debug)]
pub struct Topic {
    pub arn: Arc<str>,
    pub fifo: bool,
    pub attributes: BTreeMap<String, String>,
    seen: HashMap<(Option<String>, String), Known>,
    sequence: u64,
}

#[derive(Debug)]
struct Known {
    at: Instant,
    id: String,
    sequence: u64,
    hash: u64,
}

impl Topic {
    pub fn limit(&self) -> usize {
        let limit = self.attributes.get("MaximumMessageSize");
        limit.and_then(|text| text.parse().ok()).unwrap_or(262_144)
    }

    fn is(&self, attribute: &str, value: &str) -> bool {
        self.attributes.get(attribute).is_some_and(|text| text == value)
    }

    /// For the rules of an entry: `None` for a standard topic, else whether contents are hashed.
    pub fn fifo_rules(&self) -> Option<bool> {
        self.fifo.then(|| self.is("ContentBasedDeduplication", "true"))
    }
}

/// A queue that gets a topic's messages.
#[derive(Debug)]
pub struct Subscription {
    pub arn: String,
    pub topic: String,
    pub queue: String,
    pub raw: bool,
    pub policy: Value,
}

/// A message that was accepted.
#[derive(Debug)]
pub struct Accepted {
    pub topic: Arc<str>,
    pub entry: Entry,
    /// Answered with success, but not delivered a second time.
    pub is_duplicate: bool,
}

/// Everything.
#[derive(Debug, Default)]
pub struct Store {
    /// Access keys that requests were signed with.
    pub keys: std::collections::BTreeSet<String>,
    pub region: String,
    pub topics: HashMap<String, Topic>,
    /// S3 objects by `/bucket/key`; a bucket is there when `/bucket/` is.
    pub objects: HashMap<String, Vec<u8>>,
    pub queues: HashMap<String, Queue>,
    pub subscriptions: Vec<Subscription>,
    /// In the order of acceptance.
    pub accepted: Vec<Accepted>,
    pub accepted_count: u64,
    pub accepted_bytes: u64,
    pub publish_calls: u64,
    /// What a publisher did that loses order or messages, though AWS answers with success.
    pub violations: Vec<String>,
    /// Deliveries that SNS gave up at once: client errors of a queue.
    pub undelivered: Vec<String>,
    /// Whether `accepted` is kept; benches need only counts.
    pub is_forgetful: bool,
    pub ids: u64,
    /// IAM actions that callers may take, and no others; `None`: all.
    pub may: Option<Vec<String>>,
    /// IAM actions that callers took.
    pub took: BTreeSet<String>,
    /// What the last ReceiveMessage of each queue asked for, by the queue's URL.
    pub polls: HashMap<String, Value>,
}

impl Store {
    /// What IAM says to an operation of a service.
    pub fn permit(&mut self, service: &str, operation: &str) -> Result<(), Fault> {
        // A batch is permitted by the single one's name.
        let action = format!("{service}:{}", operation.trim_end_matches("Batch"));
        if self.may.as_ref().is_none_or(|may| may.contains(&action)) {
            self.took.insert(action);
            return Ok(());
        }
        let code = if service == "sns" { "AuthorizationError" } else { "AccessDenied" };
        Err(Fault::new(403, code, "the policy does not allow it"))
    }

    pub fn next_id(&mut self) -> String {
        self.ids += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.ids)
    }

    pub fn topic(&mut self, arn: &str) -> Result<&mut Topic, Fault> {
        if arn.split(':').count() != 6 || !arn.starts_with("arn:aws:sns:") {
            return Err(Fault::new(400, "InvalidParameter", "Invalid parameter: TopicArn"));
        }
        self.topics.get_mut(arn).ok_or_else(|| Fault::new(404, "NotFound", "Topic does not exist"))
    }

    pub fn create_topic(
        &mut self,
        name: &str,
        attributes: BTreeMap<String, String>,
    ) -> Result<Arc<str>, Fault> {
        let fifo = attributes.get("FifoTopic").is_some_and(|text| text == "true");
        let plain = name.strip_suffix(".fifo").unwrap_or(name);
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if fifo != name.ends_with(".fifo")
            || plain.is_empty()
            || name.len() > 256
            || !plain.bytes().all(valid)
        {
            return Err(Fault::new(400, "InvalidParameter", "Invalid parameter: Topic Name"));
        }
        let arn: Arc<str> = format!("arn:aws:sns:{}:{ACCOUNT}:{name}", self.region).into();
        self.topics.entry(arn.to_string()).or_insert_with(|| Topic {
            arn: Arc::clone(&arn),
            fifo,
            attributes,
            seen: HashMap::new(),
            sequence: 0,
        });
        Ok(arn)
    }

    pub fn subscribe(
        &mut self,
        topic: &str,
        queue_arn: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<String, Fault> {
        let fifo = self.topic(topic)?.fifo;
        let invalid = |text: &str| Fault::new(400, "InvalidParameter", text);
        let queue = queue_arn.rsplit(':').next().unwrap_or_default().to_owned();
        if !queue_arn.starts_with("arn:aws:sqs:") {
            return Err(invalid("Invalid parameter: SQS endpoint ARN"));
        }
        if !fifo && queue.ends_with(".fifo") {
            return Err(invalid("Invalid parameter: a FIFO queue cannot subscribe to this topic"));
        }
        let policy = attributes.get("FilterPolicy").map_or("{}", String::as_str);
        let policy: Value = serde_json::from_str(policy)
            .map_err(|_| invalid("Invalid parameter: FilterPolicy is no JSON"))?;
        filter::check(&policy)?;
        let raw = attributes.get("RawMessageDelivery").is_some_and(|text| text == "true");
        let arn = format!("{topic}:{}", self.next_id());
        self.subscriptions.push(Subscription {
            arn: arn.clone(),
            topic: topic.to_owned(),
            queue,
            raw,
            policy,
        });
        Ok(arn)
    }

    /// Accepts a checked message and delivers it; its id and sequence number.
    pub fn publish(
        &mut self,
        arn: &str,
        entry: Entry,
        is_swallowed: bool,
        now: Instant,
    ) -> Result<(String, Option<u64>), Fault> {
        let id = self.next_id();
        let topic = self.topic(arn)?;
        let topic_arn = Arc::clone(&topic.arn);
        let mut sequence = None;
        if topic.fifo {
            let hash = hash_of(&entry);
            let per_group = topic.is("FifoThroughputScope", "MessageGroup");
            let deduplication =
                entry.deduplication.clone().unwrap_or_else(|| format!("{hash:016x}"));
            let key = (entry.group.clone().filter(|_| per_group), deduplication);
            let known = topic.seen.get(&key).filter(|k| now < k.at + DEDUPLICATION_WINDOW);
            if let Some(known) = known {
                let answer = (known.id.clone(), Some(known.sequence));
                if known.hash != hash {
                    self.violations.push(format!("other bytes under one id: {key:?}"));
                }
                self.remember(topic_arn, entry, true);
                return Ok(answer);
            }
            topic.sequence += 1;
            sequence = Some(topic.sequence);
            if !is_swallowed {
                let known = Known { at: now, id: id.clone(), sequence: topic.sequence, hash };
                topic.seen.insert(key, known);
            }
        }
        if is_swallowed {
            return Ok((id, sequence));
        }
        self.deliver(arn, &id, &entry, now);
        self.remember(topic_arn, entry, false);
        Ok((id, sequence))
    }

    fn remember(&mut self, topic: Arc<str>, entry: Entry, is_duplicate: bool) {
        self.accepted_count += 1;
        self.accepted_bytes += entry.size() as u64;
        if !self.is_forgetful {
            self.accepted.push(Accepted { topic, entry, is_duplicate });
        }
    }

    fn deliver(&mut self, arn: &str, id: &str, entry: &Entry, now: Instant) {
        let Self { subscriptions, queues, undelivered, .. } = self;
        let matching = subscriptions.iter().filter(|subscription| subscription.topic == arn);
        for subscription in matching {
            if !filter::passes(&subscription.policy, &entry.attributes) {
                continue;
            }
            let why = match queues.get_mut(&subscription.queue) {
                None => "no such queue",
                Some(queue) if !queue.admits_sns() => "the queue's policy does not admit SNS",
                Some(_) if subscription.raw && entry.attributes.len() > 10 => {
                    "more than 10 attributes on a raw subscription"
                }
                Some(queue) => {
                    let (body, attributes) = if subscription.raw {
                        (entry.body.clone(), entry.attributes.clone())
                    } else {
                        (envelope(arn, id, entry), Vec::new())
                    };
                    let deduplication = entry.deduplication.clone().or_else(|| Some(id.to_owned()));
                    let group = entry.group.clone();
                    queue.put(id.to_owned(), body, attributes, group, deduplication, now);
                    continue;
                }
            };
            undelivered.push(format!("{id} to {}: {why}", subscription.queue));
        }
    }
}

/// What a subscriber sees without raw delivery.
fn envelope(arn: &str, id: &str, entry: &Entry) -> String {
    let attributes: serde_json::Map<String, Value> = entry
        .attributes
        .iter()
        .map(|Attribute { name, data_type, string, binary }| {
            let value = string.as_ref().or(binary.as_ref());
            (name.clone(), json!({"Type": data_type, "Value": value}))
        })
        .collect();
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let mut body = json!({
        "Type": "Notification", "MessageId": id, "TopicArn": arn, "Message": entry.body,
        "Timestamp": now,
    });
    if !attributes.is_empty() {
        body["MessageAttributes"] = Value::Object(attributes);
    }
    if let Some(subject) = &entry.subject {
        body["Subject"] = Value::from(subject.as_str());
    }
    body.to_string()
}

fn hash_of(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    entry.body.hash(&mut hasher);
    let mut attributes: Vec<_> = entry.attributes.iter().map(|a| (&a.name, a.value())).collect();
    attributes.sort_unstable();
    attributes.hash(&mut hasher);
    hasher.finish()
}
