//! SNS's operations over the Query protocol: a form in, XML out.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Instant;

use super::entry::{self, Entry, Fault};
use super::faults::Doom;
use super::form::Form;
use super::store::Store;

type Answer = Result<String, Fault>;

/// What an operation other than publishing answers.
pub fn call(store: &mut Store, action: &str, form: Form<'_>) -> Answer {
    let attributes: BTreeMap<String, String> = form.map("Attributes").into_iter().collect();
    let result = match action {
        "CreateTopic" => {
            let arn = store.create_topic(&required(form, "Name")?, attributes)?;
            format!("<TopicArn>{arn}</TopicArn>")
        }
        "DeleteTopic" => {
            let arn = required(form, "TopicArn")?;
            store.topics.remove(&arn);
            store.subscriptions.retain(|subscription| subscription.topic != arn);
            String::new()
        }
        "GetTopicAttributes" => topic_attributes(store, &required(form, "TopicArn")?)?,
        "SetTopicAttributes" => {
            let (arn, name) = (required(form, "TopicArn")?, required(form, "AttributeName")?);
            let value = required(form, "AttributeValue")?;
            store.topic(&arn)?.attributes.insert(name, value);
            String::new()
        }
        "Subscribe" => {
            if required(form, "Protocol")? != "sqs" {
                return Err(Fault::new(400, "InvalidParameter", "only sqs is supported here"));
            }
            let (topic, queue) = (required(form, "TopicArn")?, required(form, "Endpoint")?);
            let arn = store.subscribe(&topic, &queue, &attributes)?;
            format!("<SubscriptionArn>{arn}</SubscriptionArn>")
        }
        "ListSubscriptionsByTopic" => subscriptions(store, &required(form, "TopicArn")?)?,
        "ListTopics" => {
            let arns = store.topics.keys();
            let members: String =
                arns.map(|arn| format!("<member><TopicArn>{arn}</TopicArn></member>")).collect();
            format!("<Topics>{members}</Topics>")
        }
        _ => return Err(Fault::new(400, "InvalidAction", format!("no operation {action:?}"))),
    };
    Ok(result_of(action, &result))
}

/// Publish or PublishBatch, as far as `doom` lets it.
pub fn publish(
    store: &mut Store,
    action: &str,
    form: Form<'_>,
    entries: Vec<Entry>,
    doom: &Doom,
    now: Instant,
) -> Answer {
    store.publish_calls += 1;
    let arn = required(form, "TopicArn")?;
    let topic = store.topic(&arn)?;
    let (limit, fifo) = (topic.limit(), topic.fifo_rules());
    if action == "Publish" {
        let Some(entry) = entries.into_iter().next() else {
            return Err(Fault::new(400, "InvalidParameter", "no message"));
        };
        entry.check(limit, fifo)?;
        if let Some((code, _)) = doom.failed.first().copied().flatten() {
            return Err(Fault::new(400, code, "as the test wants it"));
        }
        let (id, sequence) = store.publish(&arn, entry, doom.is_swallowed, now)?;
        let result = format!("<MessageId>{id}</MessageId>{}", number(sequence));
        return Ok(result_of(action, &result));
    }
    entry::check_batch(&entries, limit)?;
    note_crowded_groups(store, &entries, fifo.is_some());
    let (mut successful, mut failed) = (String::new(), String::new());
    for (index, entry) in entries.into_iter().enumerate() {
        let name = entry.id.clone();
        let fault = match doom.failed.get(index).copied().flatten() {
            Some((code, sender)) => Err((Fault::new(400, code, "as the test wants it"), sender)),
            None => entry.check(limit, fifo).map_err(|fault| (fault, true)),
        };
        let is_lost = doom.lost.get(index).copied().unwrap_or(false);
        match fault {
            Err((fault, sender)) => {
                write!(
                    failed,
                    "<member><Id>{name}</Id><Code>{}</Code><Message>{}</Message>\
                     <SenderFault>{sender}</SenderFault></member>",
                    fault.code,
                    escape(&fault.text)
                )
                .expect("writing to a String cannot fail");
            }
            Ok(()) => {
                let (id, sequence) = store.publish(&arn, entry, doom.is_swallowed, now)?;
                if !is_lost {
                    write!(
                        successful,
                        "<member><Id>{name}</Id><MessageId>{id}</MessageId>{}</member>",
                        number(sequence)
                    )
                    .expect("writing to a String cannot fail");
                }
            }
        }
    }
    let result = format!("<Successful>{successful}</Successful><Failed>{failed}</Failed>");
    Ok(result_of(action, &result))
}

/// Two messages of one group in one call: if the first fails and the second does not, order is lost.
fn note_crowded_groups(store: &mut Store, entries: &[Entry], fifo: bool) {
    let mut groups: Vec<_> = entries.iter().filter_map(|entry| entry.group.as_ref()).collect();
    groups.sort_unstable();
    if fifo && groups.windows(2).any(|pair| pair[0] == pair[1]) {
        store.violations.push("two messages of one group in one call".to_owned());
    }
}

fn topic_attributes(store: &mut Store, arn: &str) -> Answer {
    let topic = store.topic(arn)?;
    let mut all: Vec<(&str, &str)> = vec![("TopicArn", arn), ("Owner", super::store::ACCOUNT)];
    all.extend(topic.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let entries: String = all
        .iter()
        .map(|(name, value)| {
            format!("<entry><key>{name}</key><value>{}</value></entry>", escape(value))
        })
        .collect();
    Ok(format!("<Attributes>{entries}</Attributes>"))
}

fn subscriptions(store: &mut Store, arn: &str) -> Answer {
    store.topic(arn)?;
    let of_topic = store.subscriptions.iter().filter(|subscription| subscription.topic == arn);
    let members: String = of_topic
        .map(|subscription| {
            format!(
                "<member><SubscriptionArn>{}</SubscriptionArn><Owner>{}</Owner>\
                 <Protocol>sqs</Protocol><Endpoint>arn:aws:sqs:{}:{}:{}</Endpoint>\
                 <TopicArn>{arn}</TopicArn></member>",
                subscription.arn,
                super::store::ACCOUNT,
                store.region,
                super::store::ACCOUNT,
                subscription.queue
            )
        })
        .collect();
    Ok(format!("<Subscriptions>{members}</Subscriptions>"))
}

/// An answer's XML.
fn result_of(action: &str, result: &str) -> String {
    format!(
        "<{action}Response xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\
         <{action}Result>{result}</{action}Result>\
         <ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId>\
         </ResponseMetadata></{action}Response>"
    )
}

/// An error's XML.
pub fn error(fault: &Fault) -> String {
    let kind = if fault.status >= 500 { "Receiver" } else { "Sender" };
    format!(
        "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error>\
         <Type>{kind}</Type><Code>{}</Code><Message>{}</Message></Error>\
         <RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>",
        fault.code,
        escape(&fault.text)
    )
}

fn number(sequence: Option<u64>) -> String {
    sequence
        .map(|number| format!("<SequenceNumber>1{number:019}</SequenceNumber>"))
        .unwrap_or_default()
}

fn required(form: Form<'_>, key: &str) -> Result<String, Fault> {
    let value = form.get(key).map(String::from).filter(|text| !text.is_empty());
    value.ok_or_else(|| Fault::new(400, "InvalidParameter", format!("Invalid parameter: {key}")))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
