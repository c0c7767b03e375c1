//! SQS's operations over the JSON protocol.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::entry::{Attribute, Fault, is_xml};
use super::queue::{Queue, Stored};
use super::store::{ACCOUNT, Store};

type Answer = Result<Value, Fault>;

/// What an operation answers. `ReceiveMessage` answers with what there is now; waiting is the
/// caller's.
pub fn call(store: &mut Store, base: &str, action: &str, input: &Value, now: Instant) -> Answer {
    match action {
        "CreateQueue" => create(store, base, input),
        "GetQueueUrl" => {
            let name = text(input, "QueueName")?;
            store.queues.get(name).ok_or_else(missing)?;
            Ok(json!({"QueueUrl": format!("{base}/{ACCOUNT}/{name}")}))
        }
        "ListQueues" => {
            let urls = store.queues.keys().map(|name| format!("{base}/{ACCOUNT}/{name}"));
            Ok(json!({"QueueUrls": urls.collect::<Vec<_>>()}))
        }
        "DeleteQueue" => {
            let name = queue(store, input)?.name.clone();
            store.queues.remove(&name);
            Ok(json!({}))
        }
        "PurgeQueue" => {
            queue(store, input)?.messages.clear();
            Ok(json!({}))
        }
        "GetQueueAttributes" => attributes(store, input, now),
        "SetQueueAttributes" => {
            let changes = string_map(&input["Attributes"]);
            queue(store, input)?.attributes.extend(changes);
            Ok(json!({}))
        }
        "SendMessage" => send(store, input, now),
        "SendMessageBatch" => {
            let entries = input["Entries"].as_array().cloned().unwrap_or_default();
            let mut sent = Vec::new();
            for mut entry in entries {
                entry["QueueUrl"] = input["QueueUrl"].clone();
                let mut answer = send(store, &entry, now)?;
                answer["Id"] = entry["Id"].clone();
                sent.push(answer);
            }
            Ok(json!({"Successful": sent, "Failed": []}))
        }
        "ReceiveMessage" => receive(store, input, now),
        "DeleteMessage" => {
            let receipt = text(input, "ReceiptHandle")?;
            queue(store, input)?.delete(receipt);
            Ok(json!({}))
        }
        "ChangeMessageVisibility" => {
            let receipt = text(input, "ReceiptHandle")?;
            let seconds = input["VisibilityTimeout"].as_u64().unwrap_or(30);
            if seconds > 43_200 {
                return Err(Fault::new(400, "InvalidParameterValue", "more than 12 hours"));
            }
            if !queue(store, input)?.hide(receipt, Duration::from_secs(seconds), now) {
                return Err(Fault::new(400, "MessageNotInflight", "not in flight"));
            }
            Ok(json!({}))
        }
        "DeleteMessageBatch" => {
            let queue = queue(store, input)?;
            each(input, |entry| Ok(queue.delete(text(entry, "ReceiptHandle")?)))
        }
        "ChangeMessageVisibilityBatch" => {
            let queue = queue(store, input)?;
            each(input, |entry| {
                let seconds = entry["VisibilityTimeout"].as_u64().unwrap_or(30);
                let receipt = text(entry, "ReceiptHandle")?;
                Ok(queue.hide(receipt, Duration::from_secs(seconds), now))
            })
        }
        _ => Err(Fault::new(400, "InvalidAction", format!("no operation {action:?}"))),
    }
}

/// How long a ReceiveMessage would wait for a first message.
pub fn patience(store: &mut Store, input: &Value) -> Duration {
    let own = queue(store, input).map_or(0, |q| q.number("ReceiveMessageWaitTimeSeconds", 0));
    Duration::from_secs(input["WaitTimeSeconds"].as_u64().unwrap_or(own).min(20))
}

fn create(store: &mut Store, base: &str, input: &Value) -> Answer {
    let name = text(input, "QueueName")?;
    let attributes = string_map(&input["Attributes"]);
    let fifo = attributes.get("FifoQueue").is_some_and(|value| value == "true");
    if fifo != name.ends_with(".fifo") || name.len() > 80 {
        return Err(Fault::new(400, "InvalidParameterValue", "queue name"));
    }
    let queue = store.queues.entry(name.to_owned()).or_default();
    queue.name = name.to_owned();
    queue.attributes.extend(attributes);
    Ok(json!({"QueueUrl": format!("{base}/{ACCOUNT}/{name}")}))
}

fn attributes(store: &mut Store, input: &Value, now: Instant) -> Answer {
    let region = store.region.clone();
    let queue = queue(store, input)?;
    let mut all: Map<String, Value> =
        queue.attributes.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let (visible, hidden) = queue.counts(now);
    let arn = format!("arn:aws:sqs:{region}:{ACCOUNT}:{}", queue.name);
    all.insert("QueueArn".to_owned(), json!(arn));
    all.insert("ApproximateNumberOfMessages".to_owned(), json!(visible.to_string()));
    all.insert("ApproximateNumberOfMessagesNotVisible".to_owned(), json!(hidden.to_string()));
    all.entry("VisibilityTimeout").or_insert(json!("30"));
    all.entry("MaximumMessageSize").or_insert(json!("1048576"));
    let wanted = input["AttributeNames"].as_array().cloned().unwrap_or_default();
    if !wanted.contains(&json!("All")) {
        all.retain(|name, _| wanted.contains(&json!(name)));
    }
    Ok(json!({"Attributes": all}))
}

fn send(store: &mut Store, input: &Value, now: Instant) -> Answer {
    let body = text(input, "MessageBody")?.to_owned();
    let id = store.next_id();
    let queue = queue(store, input)?;
    let limit = queue.number("MaximumMessageSize", 1_048_576);
    let attributes = sent_attributes(&input["MessageAttributes"]);
    if body.len() as u64 > limit || !body.chars().all(is_xml) || attributes.len() > 10 {
        return Err(Fault::new(400, "InvalidParameterValue", "message is not acceptable"));
    }
    let part = |name: &str| input[name].as_str().map(str::to_owned);
    let (group, deduplication) = (part("MessageGroupId"), part("MessageDeduplicationId"));
    if queue.is_fifo() && group.is_none() {
        return Err(Fault::new(400, "MissingParameter", "MessageGroupId"));
    }
    queue.put(id.clone(), body, attributes, group, deduplication, now);
    Ok(json!({"MessageId": id, "MD5OfMessageBody": ""}))
}

fn receive(store: &mut Store, input: &Value, now: Instant) -> Answer {
    let most = input["MaxNumberOfMessages"].as_u64().unwrap_or(1);
    if !(1..=10).contains(&most) {
        return Err(Fault::new(400, "InvalidParameterValue", "MaxNumberOfMessages: 1 to 10"));
    }
    bury(store, input, now)?;
    store.polls.insert(text(input, "QueueUrl")?.to_owned(), input.clone());
    let queue = queue(store, input)?;
    let own = queue.number("VisibilityTimeout", 30);
    let visibility = Duration::from_secs(input["VisibilityTimeout"].as_u64().unwrap_or(own));
    let messages = queue.receive(usize::try_from(most).unwrap_or(10), visibility, now);
    if messages.is_empty() {
        return Ok(json!({}));
    }
    Ok(json!({"Messages": messages.iter().map(|m| shown(m, input)).collect::<Vec<_>>()}))
}

/// Moves dead letters to where the redrive policy says.
fn bury(store: &mut Store, input: &Value, now: Instant) -> Result<(), Fault> {
    let queue = queue(store, input)?;
    let policy = queue.attributes.get("RedrivePolicy");
    let policy: Value = policy.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let most = match &policy["maxReceiveCount"] {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|n| u32::try_from(n).ok()),
    };
    let target = policy["deadLetterTargetArn"].as_str().and_then(|arn| arn.rsplit(':').next());
    let (Some(most), Some(target)) = (most, target.map(str::to_owned)) else { return Ok(()) };
    for dead in queue.take_dead(most, now) {
        let Stored { id, body, attributes, group, deduplication, .. } = dead;
        if let Some(grave) = store.queues.get_mut(&target) {
            grave.put(id, body, attributes, group, deduplication, now);
        }
    }
    Ok(())
}

fn shown(message: &Stored, input: &Value) -> Value {
    let mut shown = json!({
        "MessageId": message.id, "ReceiptHandle": message.receipt, "Body": message.body,
    });
    let names = ["AttributeNames", "MessageSystemAttributeNames"];
    let wanted: Vec<&Value> =
        names.iter().filter_map(|name| input[name].as_array()).flatten().collect();
    let mut system = json!({
        "ApproximateReceiveCount": message.received.to_string(),
        "SentTimestamp": message.sent_at_ms.to_string(),
    });
    if let Some(group) = &message.group {
        system["MessageGroupId"] = json!(group);
        system["SequenceNumber"] = json!(format!("1{:019}", message.sequence));
    }
    if let Some(id) = &message.deduplication {
        system["MessageDeduplicationId"] = json!(id);
    }
    if !wanted.is_empty() {
        shown["Attributes"] = system;
    }
    let wants_all = input["MessageAttributeNames"]
        .as_array()
        .is_some_and(|names| names.iter().any(|name| name == "All" || name == ".*"));
    let of_interest = |a: &&Attribute| {
        let names = input["MessageAttributeNames"].as_array();
        wants_all || names.is_some_and(|names| names.iter().any(|name| *name == json!(a.name)))
    };
    let attributes: Map<String, Value> = message
        .attributes
        .iter()
        .filter(of_interest)
        .map(|a| {
            let value = json!({
                "DataType": a.data_type, "StringValue": a.string, "BinaryValue": a.binary,
            });
            (a.name.clone(), value)
        })
        .collect();
    if !attributes.is_empty() {
        shown["MessageAttributes"] = Value::Object(attributes);
    }
    shown
}

fn sent_attributes(input: &Value) -> Vec<Attribute> {
    let Some(all) = input.as_object() else { return Vec::new() };
    let part = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
    all.iter()
        .map(|(name, value)| Attribute {
            name: name.clone(),
            data_type: part(value, "DataType").unwrap_or_default(),
            string: part(value, "StringValue"),
            binary: part(value, "BinaryValue"),
        })
        .collect()
}

/// Does one thing per entry of a batch.
fn each(input: &Value, mut act: impl FnMut(&Value) -> Result<bool, Fault>) -> Answer {
    let entries = input["Entries"].as_array().cloned().unwrap_or_default();
    if entries.is_empty() || entries.len() > 10 {
        return Err(Fault::new(400, "TooManyEntriesInBatchRequest", "1 to 10 entries"));
    }
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in &entries {
        let id = &entry["Id"];
        if act(entry)? {
            successful.push(json!({"Id": id}));
        } else {
            let code = "ReceiptHandleIsInvalid";
            failed.push(json!({"Id": id, "Code": code, "SenderFault": true}));
        }
    }
    Ok(json!({"Successful": successful, "Failed": failed}))
}

fn queue<'s>(store: &'s mut Store, input: &Value) -> Result<&'s mut Queue, Fault> {
    let url = text(input, "QueueUrl")?;
    let name = url.rsplit('/').next().unwrap_or_default();
    store.queues.get_mut(name).ok_or_else(missing)
}

fn missing() -> Fault {
    Fault::new(400, "QueueDoesNotExist", "The specified queue does not exist.")
}

fn text<'v>(input: &'v Value, name: &str) -> Result<&'v str, Fault> {
    let value = input[name].as_str().filter(|text| !text.is_empty());
    value.ok_or_else(|| Fault::new(400, "MissingParameter", name))
}

fn string_map(input: &Value) -> BTreeMap<String, String> {
    let all = input.as_object().into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}
