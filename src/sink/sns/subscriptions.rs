//! How a queue is subscribed to a topic, and what its filter policy lets through.

use aws_config::SdkConfig;
use aws_sdk_sns::Client;
use serde_json::Value;

use crate::aws;

/// Pages of a hundred subscriptions that are read, at most.
const PAGES_MAX: usize = 20;

/// A subscription of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its ARN.
    pub arn: String,
    /// Its filter policy; `None`: everything passes.
    pub filter_policy: Option<Value>,
    /// Whether the policy looks at bodies, not at attributes.
    pub looks_at_bodies: bool,
    /// Whether it has a dead letter queue.
    pub has_dead_letters: bool,
}

/// The subscriptions of the queue with this ARN to the topic.
pub async fn of_queue(
    config: &SdkConfig,
    topic: &str,
    queue: &str,
) -> Result<Vec<Subscription>, String> {
    let client = Client::new(config);
    let mut found = Vec::new();
    let mut next = None;
    for _ in 0..PAGES_MAX {
        let list = client.list_subscriptions_by_topic().topic_arn(topic).set_next_token(next);
        let page = Box::pin(list.send()).await;
        let page =
            page.map_err(|error| format!("ListSubscriptionsByTopic: {}", aws::words(&error)))?;
        for subscription in page.subscriptions.unwrap_or_default() {
            if subscription.endpoint.as_deref() == Some(queue) {
                let arn = subscription.subscription_arn.unwrap_or_default();
                found.push(attributes(&client, arn).await?);
            }
        }
        next = page.next_token;
        if next.is_none() {
            return Ok(found);
        }
    }
    Ok(found)
}

async fn attributes(client: &Client, arn: String) -> Result<Subscription, String> {
    let get = client.get_subscription_attributes().subscription_arn(&arn);
    let answer = Box::pin(get.send()).await;
    let answer =
        answer.map_err(|error| format!("GetSubscriptionAttributes: {}", aws::words(&error)))?;
    let attributes = answer.attributes.unwrap_or_default();
    let text = |name: &str| attributes.get(name).map(String::as_str).filter(|it| !it.is_empty());
    let filter_policy = text("FilterPolicy").map(serde_json::from_str).transpose();
    Ok(Subscription {
        arn,
        filter_policy: filter_policy.map_err(|error| format!("FilterPolicy: {error}"))?,
        looks_at_bodies: text("FilterPolicyScope") == Some("MessageBody"),
        has_dead_letters: text("RedrivePolicy").is_some(),
    })
}

impl Subscription {
    /// Whether messages of this kind pass, as far as `kind` and `replay` decide; other attributes
    /// differ from row to row, and what a policy says of them is left to whoever wrote it.
    pub fn admits(&self, kind: &str, replay: Option<&str>) -> bool {
        self.filter_policy.as_ref().is_none_or(|policy| admits(policy, kind, replay))
    }
}

fn admits(policy: &Value, kind: &str, replay: Option<&str>) -> bool {
    let Some(keys) = policy.as_object() else { return false };
    keys.iter().all(|(key, conditions)| match key.as_str() {
        "$or" => {
            let either = conditions.as_array();
            either.is_some_and(|either| either.iter().any(|one| admits(one, kind, replay)))
        }
        "kind" => is_met(conditions, Some(kind)),
        "replay" => is_met(conditions, replay),
        _ => true,
    })
}

/// Whether one of the conditions of a key holds for the attribute's value.
fn is_met(conditions: &Value, value: Option<&str>) -> bool {
    let conditions = conditions.as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|condition| match condition {
        Value::String(text) => value == Some(text),
        Value::Object(operators) => {
            operators.iter().any(|(name, operand)| operator(name, operand, value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
    })
}

fn operator(name: &str, operand: &Value, value: Option<&str>) -> bool {
    if name == "exists" {
        return operand.as_bool() == Some(value.is_some());
    }
    let Some(value) = value else { return false };
    let text = operand.as_str();
    match name {
        "prefix" => text.is_some_and(|prefix| value.starts_with(prefix)),
        "suffix" => text.is_some_and(|suffix| value.ends_with(suffix)),
        "equals-ignore-case" => text.is_some_and(|other| value.eq_ignore_ascii_case(other)),
        "anything-but" => match operand {
            Value::Array(others) => !others.iter().any(|other| other.as_str() == Some(value)),
            Value::Object(inner) => !inner.iter().any(|(name, it)| operator(name, it, Some(value))),
            Value::String(other) => value != other,
            Value::Null | Value::Bool(_) | Value::Number(_) => true,
        },
        // Of a number, an address, or of a later version: it holds for no name of ours.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_admits_what_sns_would_deliver() {
        let replay =
            json!({"kind": ["change", "suppressed"], "replay": [{"exists": false}, "billing"]});
        assert!(admits(&replay, "change", None));
        assert!(admits(&replay, "change", Some("billing")));
        assert!(!admits(&replay, "change", Some("other")));
        assert!(!admits(&replay, "canary", None));
        let either = json!({"$or": [{"kind": ["canary"]}, {"replay": ["a"]}], "table": ["orders"]});
        assert!(admits(&either, "canary", None));
        assert!(admits(&either, "change", Some("a")));
        assert!(!admits(&either, "change", Some("b")));
        for (condition, change, canary) in [
            (json!({"prefix": "ch"}), true, false),
            (json!({"suffix": "ary"}), false, true),
            (json!({"anything-but": ["canary"]}), true, false),
            (json!({"anything-but": "change"}), false, true),
            (json!({"anything-but": {"prefix": "can"}}), true, false),
            (json!({"equals-ignore-case": "CHANGE"}), true, false),
            (json!({"numeric": ["=", 1]}), false, false),
            (json!(1), false, false),
        ] {
            let policy = json!({"kind": [condition]});
            let found = (admits(&policy, "change", None), admits(&policy, "canary", None));
            assert_eq!(found, (change, canary), "{policy}");
        }
        assert!(admits(&json!({"replay": [{"exists": true}]}), "change", Some("x")));
        assert!(!admits(&json!({"replay": [{"anything-but": ["x"]}]}), "change", None));
        assert!(!admits(&json!([]), "change", None), "no policy");
        assert!(!admits(&json!({"kind": "change"}), "change", None), "SNS takes lists only");
    }
}
