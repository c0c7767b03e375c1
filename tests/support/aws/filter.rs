//! Filter policies of subscriptions, by message attributes: exact, `anything-but`, `prefix`,
//! `exists`.

use serde_json::Value;

use super::entry::{Attribute, Fault};

/// Whether a policy is one that SNS takes: 5 keys, 150 combinations, known operators.
pub fn check(policy: &Value) -> Result<(), Fault> {
    let invalid = |text: &str| {
        Fault::new(400, "InvalidParameter", format!("Invalid parameter: FilterPolicy: {text}"))
    };
    let keys = policy.as_object().ok_or_else(|| invalid("must be an object"))?;
    if keys.len() > 5 {
        return Err(invalid("more than 5 keys"));
    }
    let mut combinations = 1;
    for conditions in keys.values() {
        let conditions = conditions.as_array().ok_or_else(|| invalid("must be a list"))?;
        combinations *= conditions.len();
        for condition in conditions {
            let Some(operator) = condition.as_object() else { continue };
            let known = operator
                .keys()
                .all(|name| matches!(name.as_str(), "anything-but" | "prefix" | "exists"));
            if operator.len() != 1 || !known {
                return Err(invalid("unsupported operator"));
            }
        }
    }
    if combinations > 150 {
        return Err(invalid("more than 150 combinations"));
    }
    Ok(())
}

/// Whether a message with these attributes passes: every key has a condition that holds.
pub fn passes(policy: &Value, attributes: &[Attribute]) -> bool {
    let Some(keys) = policy.as_object() else { return true };
    keys.iter().all(|(key, conditions)| {
        let attribute = attributes.iter().find(|attribute| attribute.name == *key);
        let values = attribute.map(values);
        conditions.as_array().is_some_and(|conditions| {
            conditions.iter().any(|condition| holds(condition, values.as_deref()))
        })
    })
}

fn values(attribute: &Attribute) -> Vec<Value> {
    match attribute.data_type.as_str() {
        "String.Array" => serde_json::from_str(attribute.value()).unwrap_or_default(),
        "Number" => serde_json::from_str(attribute.value()).into_iter().collect(),
        _ => vec![Value::from(attribute.value())],
    }
}

fn holds(condition: &Value, values: Option<&[Value]>) -> bool {
    if let Some(exists) = condition.get("exists").and_then(Value::as_bool) {
        return exists == values.is_some();
    }
    // A missing attribute matches nothing else, not even `anything-but`.
    let Some(values) = values else { return false };
    if let Some(prefix) = condition.get("prefix").and_then(Value::as_str) {
        return values.iter().any(|v| v.as_str().is_some_and(|text| text.starts_with(prefix)));
    }
    if let Some(but) = condition.get("anything-but") {
        let excluded = |value: &Value| match but {
            Value::Array(list) => list.contains(value),
            Value::Object(operator) => {
                let prefix = operator.get("prefix").and_then(Value::as_str).unwrap_or_default();
                value.as_str().is_some_and(|text| text.starts_with(prefix))
            }
            _ => but == value,
        };
        return values.iter().any(|value| !excluded(value));
    }
    values.contains(condition)
}
