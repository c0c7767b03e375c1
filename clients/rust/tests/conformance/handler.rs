//! Events of a Lambda function that applies rows once: which messages it tells to have failed, and what the table
//! has in the end.

use binpulse_core::encode::{Batch, Format, RowOptions};
use serde_json::{Value, json};

use crate::messages::{OwnedRow, gtid, line, lines, transaction};
use crate::support::{finalized, lane};

/// A record with the rows of these lines, numbered from `first` on.
fn record(id: &str, format: Format, first: u64, numbers: &[i64]) -> Value {
    let mut batch = Batch::new(format, RowOptions::default(), lines());
    for (row, number) in numbers.iter().enumerate() {
        let change = OwnedRow::insert(line(&format!("note {number}"), *number, 9));
        batch.push(1, &transaction(gtid(first), 7, 400, 0), &change.change(row as u64).change());
    }
    let message = finalized(&batch.take(lane(), first).expect("rows"), 1, None);
    let attributes = message.attributes.iter().map(|one| {
        (one.name.to_string(), json!({"stringValue": one.value.as_str(), "dataType": "String"}))
    });
    json!({
        "messageId": id, "receiptHandle": "r", "body": message.body,
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": Value::Object(attributes.collect()),
        "md5OfBody": "x", "eventSource": "aws:sqs", "awsRegion": "eu-west-1",
    })
}

/// Good ones, a damaged one, one that is no JSON, one whose rows are early, one in SNS's envelope.
pub(crate) fn events() -> Vec<Value> {
    let early = record("early", Format::Protobuf, 6, &[6]);
    let mut damaged = record("damaged", Format::Protobuf, 3, &[3, 4]);
    let body = damaged["body"].as_str().expect("a body");
    damaged["body"] = format!("{}AAAA", &body[..body.len() - 4]).into();
    let broken = json!({"messageId": "broken", "body": "{\"Type\":", "messageAttributes": {}});
    let mut enveloped = record("enveloped", Format::Json, 3, &[3, 4, 5]);
    let sns = json!({"Type": "Notification", "MessageId": "x", "Message": enveloped["body"]});
    (enveloped["body"], enveloped["messageAttributes"]) = (sns.to_string().into(), json!({}));
    let begin = record("begin", Format::Protobuf, 1, &[1, 2]);
    let steps = json!([
        {"event": {"Records": [begin.clone(), damaged, early.clone(), broken, enveloped]},
         "failures": ["damaged", "early", "broken"]},
        // What failed comes again; so does what did not, once in a while.
        {"event": {"Records": [begin, early]}, "failures": []},
    ]);
    let rows: Vec<_> =
        (1..=6).map(|number| json!([number.to_string(), format!("note {number}")])).collect();
    vec![json!({
        "name": "partial-batch-response",
        "statements": [
            "DROP DATABASE IF EXISTS binpulse_consumer",
            "DROP DATABASE IF EXISTS shop",
            "CREATE DATABASE shop",
            "CREATE TABLE shop.order_lines (note TEXT, line BIGINT, order_id BIGINT UNSIGNED, \
             PRIMARY KEY (order_id, line))",
        ],
        "steps": steps,
        "select": "SELECT CAST(line AS CHAR), note FROM shop.order_lines ORDER BY line",
        "rows": rows,
    })]
}
