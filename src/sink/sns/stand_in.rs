//! SNS in the place of the HTTP client: what is asked is kept, what is answered is given.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;

/// What SNS answers to a call.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Every entry is taken; a topic has no attributes worth telling.
    Takes,
    /// A topic's attributes.
    Says(Vec<(&'static str, &'static str)>),
    /// Each entry's fate: `None` is taken, else code and `SenderFault`.
    Each(Vec<Option<(&'static str, bool)>>),
    /// Status and code of an error.
    Error(u16, &'static str),
    /// Status and text.
    Text(u16, &'static str),
    /// Nothing, ever.
    Hangs,
    /// The connection breaks, for this reason.
    Breaks(&'static str),
}

/// A call as it came.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) topic: String,
    /// Of a publish, by the names that SNS gives them; empty: the topic's attributes are asked for.
    pub(crate) entries: Vec<BTreeMap<String, String>>,
}

impl Call {
    fn of(form: &[u8]) -> Self {
        let mut call = Self { topic: String::new(), entries: Vec::new() };
        for pair in form.split(|byte| *byte == b'&') {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (name, value) = (text(&pair[..at]), text(pair.get(at + 1..).unwrap_or_default()));
            if name == "TopicArn" {
                call.topic = value;
            } else if let Some(rest) = name.strip_prefix("PublishBatchRequestEntries.member.") {
                let (number, name) = rest.split_once('.').expect("a member's field");
                let number: usize = number.parse().expect("a number");
                call.entries.resize(call.entries.len().max(number), BTreeMap::new());
                call.entries[number - 1].insert(name.to_owned(), value);
            }
        }
        call
    }

    pub(crate) fn bodies(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| &*entry["Message"])
    }
}

/// Text of a form.
fn text(form: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut rest = form.iter();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(*rest.next().expect("two digits")).to_digit(16).expect("hex");
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => u8::try_from(digit() * 16 + digit()).expect("a byte"),
            other => *other,
        });
    }
    String::from_utf8(bytes).expect("UTF-8")
}

type Script = dyn Fn(usize, &Call) -> Answer + Send + Sync;

#[derive(Clone)]
pub(crate) struct StandIn {
    script: Arc<Script>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl fmt::Debug for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandIn").finish_non_exhaustive()
    }
}

impl StandIn {
    /// Answers by a call's number among those of its kind, from 0.
    pub(crate) fn new(script: impl Fn(usize, &Call) -> Answer + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), calls: Arc::default() }
    }

    /// What came so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("no panic").clone()
    }

    /// Bodies of all publishes so far, in their order.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.calls().iter().flat_map(Call::bodies).map(str::to_owned).collect()
    }
}

impl HttpClient for StandIn {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for StandIn {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let call = Call::of(request.body().bytes().expect("in memory"));
        let mut calls = self.calls.lock().expect("no panic");
        let is_ask = call.entries.is_empty();
        let number = calls.iter().filter(|one| one.entries.is_empty() == is_ask).count();
        let answer = (self.script)(number, &call);
        let entries = call.entries.len();
        calls.push(call);
        let (status, text) = match answer {
            Answer::Hangs => return HttpConnectorFuture::new(std::future::pending()),
            Answer::Breaks(why) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::io(why.into())));
            }
            Answer::Text(status, text) => (status, text.to_owned()),
            Answer::Error(status, code) => (
                status,
                format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
                     <Message>in words</Message></Error></ErrorResponse>"
                ),
            ),
            Answer::Takes if is_ask => (200, attributes(&[])),
            Answer::Says(said) => (200, attributes(&said)),
            Answer::Takes => (200, fates(&vec![None; entries])),
            Answer::Each(each) => (200, fates(&each)),
        };
        let status = status.try_into().expect("a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(text))))
    }
}

fn attributes(said: &[(&str, &str)]) -> String {
    let entry = |(key, value): &(&str, &str)| {
        format!("<entry><key>{key}</key><value>{value}</value></entry>")
    };
    let entries: String = said.iter().map(entry).collect();
    format!(
        "<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes>{entries}</Attributes>\
         </GetTopicAttributesResult></GetTopicAttributesResponse>"
    )
}

fn fates(each: &[Option<(&str, bool)>]) -> String {
    let (mut taken, mut failed) = (String::new(), String::new());
    for (id, fate) in each.iter().enumerate() {
        match fate {
            None => write!(taken, "<member><Id>{id}</Id></member>"),
            Some((code, fault)) => write!(
                failed,
                "<member><Id>{id}</Id><Code>{code}</Code><Message>in words</Message>\
                 <SenderFault>{fault}</SenderFault></member>"
            ),
        }
        .expect("a String takes any text");
    }
    format!(
        "<PublishBatchResponse><PublishBatchResult><Successful>{taken}</Successful>\
         <Failed>{failed}</Failed></PublishBatchResult></PublishBatchResponse>"
    )
}
