//! Messages of an outbox: an application's own. They have no lane and no numbers, and go on as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use binpulse_core::encode::percent_encoded;
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::clock::wall_clock_us;
use crate::hash::hash;
use crate::lane::LaneKey;
use crate::lanes::requests::text_of;
use crate::state::{Parked, Reason};
use crate::target::{Attribute, Request};

/// The attribute `kind` of such a message.
pub(crate) const OUTBOX: &str = "outbox";
/// Media type of such a message as it is parked: with its attributes.
const PARKED_TYPE: &str = "application/vnd.binpulse.outbox+json";
/// What the headers of a webhook begin with that attributes become.
const HEADER: &str = "outbox-";
/// Attributes that say where a payload was put, which the relay has fetched.
const SIZES: [&str; 2] = ["ExtendedPayloadSize", "SQSLargePayloadSize"];

/// A message of an outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutboxMessage {
    /// The payload as it is.
    pub(crate) body: String,
    /// Its attributes.
    pub(crate) attributes: Vec<Attribute>,
}

/// As it is parked.
#[derive(Serialize, Deserialize)]
struct Kept {
    group: String,
    attributes: Vec<Attribute>,
    body: String,
}

impl OutboxMessage {
    /// `types` has the data types that are not `String`.
    pub(crate) fn new(
        body: String,
        attributes: BTreeMap<String, String>,
        types: &BTreeMap<String, String>,
    ) -> Self {
        let attributes = attributes.into_iter().filter(|(name, _)| !SIZES.contains(&&**name));
        let attributes = attributes.map(|(name, value)| {
            let data_type = types.get(&name).map_or("String", String::as_str).to_owned();
            Attribute { name, data_type, value }
        });
        Self { body, attributes: attributes.collect() }
    }

    fn attribute(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|attribute| attribute.name == name);
        found.map_or("", |attribute| &attribute.value)
    }

    /// What its order is kept by; empty: nothing.
    pub(crate) fn group(&self) -> &str {
        self.attribute("aggregate_id")
    }

    /// The request. Its id is the same for the same message, replayed or not; a row without an id is told by
    /// the queue's id of its message.
    pub(crate) fn request(self, message_id: &str) -> Request {
        let id = Some(self.attribute("id")).filter(|id| !id.is_empty()).unwrap_or(message_id);
        let named = ["aggregate_type", "aggregate_id", "type"].map(|name| self.attribute(name));
        let digest = Sha256::digest(self.body.as_bytes());
        let id = hash(&format!("{OUTBOX}\u{1f}{}\u{1f}{id}\u{1f}{digest:x}", named.join("\u{1f}")));
        let group = self.group().to_owned();
        request(id, Kept { group, attributes: self.attributes, body: self.body })
    }
}

fn request(id: String, kept: Kept) -> Request {
    let Kept { group, attributes, body } = kept;
    let is_json = serde_json::from_str::<IgnoredAny>(&body).is_ok();
    Request {
        group: if group.is_empty() { id.clone() } else { group },
        id,
        lane: lane(),
        first: 0,
        last: 0,
        body: Bytes::from(body),
        content_type: if is_json { "application/json" } else { "text/plain; charset=utf-8" },
        then: None,
        kind: OUTBOX,
        attributes,
    }
}

/// What stands for a lane: whoever holds it tries such messages again that are parked.
fn lane() -> LaneKey {
    LaneKey { stream: Arc::from(""), epoch: 0, lane: Arc::from("!outbox") }
}

/// A request of an outbox as it is parked: with its attributes.
pub(crate) fn parked(request: &Request, reason: Reason, attempts: u32, answer: &str) -> Parked {
    let kept = Kept {
        group: request.group.clone(),
        attributes: request.attributes.clone(),
        body: String::from_utf8_lossy(&request.body).into_owned(),
    };
    Parked {
        id: request.id.clone(),
        lane: Some(request.lane.clone()),
        first: 0,
        last: 0,
        keys: vec![text_of(key(&request.group))],
        body: serde_json::to_vec(&kept).unwrap_or_default(),
        content_type: PARKED_TYPE.to_owned(),
        reason,
        attempts,
        answer: answer.to_owned(),
        parked_at_us: wall_clock_us(),
    }
}

/// The way back; `None`: it is no message of an outbox.
pub(crate) fn again(parked: &Parked) -> Option<Request> {
    let is_outbox = parked.content_type == PARKED_TYPE;
    let kept = is_outbox.then(|| serde_json::from_slice(&parked.body).ok()).flatten()?;
    Some(request(parked.id.clone(), kept))
}

/// The hash of an aggregate, as of a row's key.
pub(crate) fn key(group: &str) -> u64 {
    let digest = Sha256::digest(group.as_bytes());
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// An attribute as a header of a webhook. Proxies drop names with underscores.
pub(crate) fn header(attribute: &Attribute) -> (String, String) {
    let name = attribute.name.replace('_', "-").to_ascii_lowercase();
    let is_plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic() && byte != b'%';
    let value = &attribute.value;
    let is_trimmed = value.trim_matches(' ').len() == value.len();
    let value = if is_trimmed && value.bytes().all(is_plain) {
        value.clone()
    } else {
        percent_encoded(value)
    };
    (format!("{HEADER}{name}"), value)
}

/// The data types in SNS's envelope that are not `String`.
pub(crate) fn types_of_envelope(body: &str) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(rename = "MessageAttributes", default)]
        attributes: BTreeMap<String, Value>,
    }
    let envelope = serde_json::from_str::<Envelope>(body).ok();
    let attributes = envelope.map(|envelope| envelope.attributes).unwrap_or_default().into_iter();
    let typed =
        attributes.filter_map(|(name, value)| Some((name, value["Type"].as_str()?.to_owned())));
    typed.filter(|(_, data_type)| data_type != "String").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str, attributes: &[(&str, &str)]) -> OutboxMessage {
        let attributes = attributes.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let types = [("tenant".to_owned(), "Number".to_owned())].into();
        OutboxMessage::new(body.to_owned(), attributes.collect(), &types)
    }

    const PLACED: [(&str, &str); 6] = [
        ("kind", OUTBOX),
        ("id", "7"),
        ("aggregate_id", "a b"),
        ("type", "Placed"),
        ("tenant", "3"),
        ("ExtendedPayloadSize", "9"),
    ];

    #[test]
    fn the_same_message_has_the_same_id_and_another_has_another() {
        let id = |body, attributes: &[_], of| message(body, attributes).request(of).id;
        let first = id("{}", &PLACED, "m-1");
        assert_eq!(id("{}", &PLACED, "m-2"), first, "published again");
        assert_ne!(id("{ }", &PLACED, "m-1"), first, "of another table");
        let mut replayed = PLACED.to_vec();
        replayed.push(("replay", "partner"));
        assert_eq!(id("{}", &replayed, "m-3"), first);
        // Without an id of its own, the queue's.
        assert_ne!(id("{}", &[], "m-1"), id("{}", &[], "m-2"));
        assert!(first.starts_with("bp_") && !first.contains('.'));
    }

    #[test]
    fn a_parked_message_comes_back_with_its_attributes() {
        let request = message("plain", &PLACED).request("m");
        assert_eq!((&*request.group, request.content_type), ("a b", "text/plain; charset=utf-8"));
        assert!(request.attributes.iter().all(|attribute| !SIZES.contains(&&*attribute.name)));
        let parked = parked(&request, Reason::Refused, 3, "no");
        let back = again(&parked).expect("it is of an outbox");
        assert_eq!(
            (&back.id, &back.group, &back.body),
            (&request.id, &request.group, &request.body)
        );
        assert_eq!(back.attributes, request.attributes);
        let tenant = back.attributes.iter().find(|attribute| attribute.name == "tenant");
        assert_eq!(tenant.map(|tenant| &*tenant.data_type), Some("Number"));
        let other = Parked { content_type: "application/json".to_owned(), ..parked };
        assert!(again(&other).is_none());
    }

    #[test]
    fn attributes_are_headers_whatever_they_hold() {
        let header = |name: &str, value: &str| {
            let (name, value) = (name.to_owned(), value.to_owned());
            header(&Attribute { name, data_type: "String".to_owned(), value })
        };
        assert_eq!(
            header("aggregate_type", "order"),
            ("outbox-aggregate-type".into(), "order".into())
        );
        assert_eq!(header("type", "a b"), ("outbox-type".into(), "a b".into()));
        for (value, encoded) in
            [("100%", "100%25"), ("ß", "%C3%9F"), (" a", "%20a"), ("a\r\nb", "a%0D%0Ab")]
        {
            assert_eq!(header("x", value).1, encoded);
        }
    }

    #[test]
    fn types_are_read_from_the_envelope() {
        let body = r#"{"Type":"Notification","Message":"x","MessageAttributes":
            {"id":{"Type":"String","Value":"1"},"tenant":{"Type":"Number","Value":"3"}}}"#;
        assert_eq!(types_of_envelope(body), [("tenant".to_owned(), "Number".to_owned())].into());
        assert!(types_of_envelope("{").is_empty());
    }
}
