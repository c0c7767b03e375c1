//! Messages of the conformance suite, sent to a consumer: what `binpulse send` does.

use std::collections::BTreeMap;

use aws_sdk_sqs::types::MessageAttributeValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{aws, local_http};

/// The suite's messages, as this binary was built with them.
const MESSAGES: &str = include_str!("../../conformance/messages.json");
/// Longest answer of a consumer that is read, bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// A message of a fixture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixture {
    /// Name of the case.
    pub name: String,
    /// Body, as it is with raw delivery.
    pub body: String,
    /// Attributes.
    pub attributes: BTreeMap<String, String>,
}

/// What is put around a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// Nothing.
    Raw,
    /// SNS's document.
    Sns,
    /// An event of AWS Lambda, as SQS gives it.
    Lambda,
}

/// The cases of the suite, or of a file in its form, by name; the message of each in the form `form`
/// (`frame`, `frame-zstd`, `json`), else in its first.
pub fn fixtures(file: Option<&str>, form: &str) -> Result<Vec<Fixture>, String> {
    let cases: Vec<Value> = serde_json::from_str(file.unwrap_or(MESSAGES))
        .map_err(|error| format!("found no JSON array of cases: {error}"))?;
    let fixture = |case: &Value| {
        let messages = case["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let message = messages.iter().find(|one| one["form"] == form).or(messages.first());
        let message = message.unwrap_or(case);
        let attributes = message["attributes"].as_object().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Some(Fixture {
            name: case["name"].as_str()?.to_owned(),
            body: message["body"].as_str()?.to_owned(),
            attributes: attributes.map(|(name, value)| (name.clone(), text(value))).collect(),
        })
    };
    let made = cases.iter().map(|case| {
        let expected = "expected `name`, and `body` or `messages` with one";
        fixture(case).ok_or_else(|| format!("found a case of another form, {expected}"))
    });
    made.collect()
}

impl Fixture {
    /// The body with what is put around it.
    pub fn in_envelope(&self, envelope: Envelope) -> String {
        let typed = |text: &str, of: &str| -> Value {
            let typed = |(name, value): (&String, &String)| {
                (name.clone(), json!({text: value, of: data_type(name)}))
            };
            Value::Object(self.attributes.iter().map(typed).collect())
        };
        match envelope {
            Envelope::Raw => self.body.clone(),
            Envelope::Sns => json!({
                "Type": "Notification",
                "MessageId": self.name,
                "TopicArn": "arn:aws:sns:us-east-1:000000000000:fixtures",
                "Message": self.body,
                "MessageAttributes": typed("Value", "Type"),
            })
            .to_string(),
            Envelope::Lambda => json!({"Records": [{
                "messageId": self.name,
                "receiptHandle": self.name,
                "body": self.body,
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": typed("stringValue", "dataType"),
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:fixtures",
                "awsRegion": "us-east-1",
            }]})
            .to_string(),
        }
    }
}

fn data_type(name: &str) -> &'static str {
    if name == "op" { "String.Array" } else { "String" }
}

/// A queue of SQS to send to.
#[derive(Debug)]
pub struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
    /// Tells this run's messages from those of another, which SQS would drop within five minutes.
    run: String,
}

impl Queue {
    /// The queue with this URL.
    pub async fn open(
        url: &str,
        region: Option<String>,
        endpoint_url: Option<&str>,
    ) -> Result<Self, aws::Error> {
        let shared = aws::Shared::load(&aws::Config { region, profile: None }).await?;
        let sdk = shared.service(endpoint_url, None, aws::Deadlines::default());
        let started = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let run = started.as_micros().to_string();
        Ok(Self { client: aws_sdk_sqs::Client::new(&sdk), url: url.to_owned(), run })
    }

    /// Sends a message; says why it was refused.
    pub async fn send(&self, fixture: &Fixture, envelope: Envelope) -> Result<(), String> {
        let mut request = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(fixture.in_envelope(envelope));
        if envelope == Envelope::Raw {
            for (name, value) in &fixture.attributes {
                let typed = MessageAttributeValue::builder().string_value(value);
                let typed = typed.data_type(data_type(name)).build();
                request =
                    request.message_attributes(name, typed.map_err(|error| error.to_string())?);
            }
        }
        if aws::is_fifo(&self.url) {
            let id = format!("{}-{}", fixture.name, self.run);
            request = request.message_group_id("fixtures").message_deduplication_id(id);
        }
        request.send().await.map(drop).map_err(|error| aws::words(&error))
    }
}

/// Posts a body to `http://host:port/path`; says why it was refused: anything but a 2xx is.
pub async fn post(url: &str, body: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").ok_or("expected http://host:port/path")?;
    let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/" } else { path };
    let authority =
        if address.contains(':') { address.to_owned() } else { format!("{address}:80") };
    let exchange = async {
        let mut stream = TcpStream::connect(&authority).await?;
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = local_http::within_deadline(address, path, exchange).await;
    match answer.map_err(|error| error.to_string())?.code {
        200..300 => Ok(()),
        code => Err(format!("HTTP {code}")),
    }
}
