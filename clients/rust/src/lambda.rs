//! Events of AWS Lambda, from SQS or SNS, and the answer that tells which messages failed.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::document::{Members, Name};
use crate::message::{DecodeError, Message, texts};

/// A message of an event of AWS Lambda.
#[derive(Debug)]
pub struct Record<'a> {
    /// SQS's id of the message: names it in the answer, where it failed. Of SNS's events: SNS's id.
    pub id: Cow<'a, str>,
    /// The message, or why it is none: then it failed, and the others can still be taken.
    pub message: Result<Message<'a>, DecodeError>,
}

/// The messages of an event of AWS Lambda, from SQS or from SNS.
pub fn lambda(event: &str) -> Result<Vec<Record<'_>>, DecodeError> {
    let records: Vec<&RawValue> = Members::of(event)?.required("Records")?;
    records.iter().map(|record| of_record(record.get())).collect()
}

fn of_record(record: &str) -> Result<Record<'_>, DecodeError> {
    let record = Members::of(record)?;
    let sns = record.raw("Sns").map(|sns| Members::of(sns.get())).transpose()?;
    let id = match &sns {
        Some(sns) => sns.required::<Name<'_>>("MessageId"),
        None => record.required("messageId"),
    };
    let message = match sns {
        Some(sns) => of_sns(&sns),
        None => of_sqs(&record),
    };
    Ok(Record { id: id?.0, message })
}

fn of_sqs<'a>(record: &Members<'a>) -> Result<Message<'a>, DecodeError> {
    let attributes = texts(record, "messageAttributes", "stringValue")?;
    match record.required::<Name<'_>>("body")?.0 {
        Cow::Borrowed(body) => Message::new(body, attributes),
        Cow::Owned(body) => {
            let Message { body, attributes } = Message::new(&body, attributes)?;
            Ok(Message { body: Cow::Owned(body.into_owned()), attributes })
        }
    }
}

fn of_sns<'a>(sns: &Members<'a>) -> Result<Message<'a>, DecodeError> {
    let attributes = texts(sns, "MessageAttributes", "Value")?;
    Ok(Message { body: sns.required::<Name<'_>>("Message")?.0, attributes })
}

/// What a Lambda function returns whose event source mapping has `ReportBatchItemFailures`: as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LambdaResponse {
    batch_item_failures: Vec<LambdaFailure>,
}

/// A message that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct LambdaFailure {
    item_identifier: String,
}

impl LambdaResponse {
    /// The message with this id failed: it comes again.
    pub fn failed(&mut self, id: impl Into<String>) {
        self.batch_item_failures.push(LambdaFailure { item_identifier: id.into() });
    }
}
