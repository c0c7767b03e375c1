//! Rows of outbox tables: each is a message whose body is the row's payload.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::encoded_batch::{Content, EncodedBatch};
use super::lane::hex;
use super::message::{Attribute, DataType, Kind, Message};
use super::origin::Origin;
use super::protobuf::read_image;
use super::{Destination, Oversize, attributes};
use crate::change::{Cell, Image, OutboxColumns, RowBuffer};

/// A queue with raw message delivery gets no message with more attributes: SNS drops it.
pub const ATTRIBUTES_MAX: usize = 10;
/// Longest name of an attribute, bytes.
const NAME_BYTES_MAX: usize = 256;
/// Longest group or deduplication id, bytes.
const ID_BYTES_MAX: usize = 128;

/// Reads rows of outbox tables. Keeps its buffer: one for each thread.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    buffer: RowBuffer,
}

/// A message, as its row has it.
#[derive(Debug)]
pub(super) struct OutboxRow {
    number: u64,
    ack_group: u64,
    committed_at_us: i64,
    id: Option<String>,
    aggregate_id: Option<String>,
    aggregate_type: Option<String>,
    event_type: Option<String>,
    body: String,
    is_base64: bool,
    payload_bytes: usize,
    columns: Vec<Attribute>,
    headers: Option<Value>,
}

impl Outbox {
    /// The messages of a batch's rows, in order.
    pub(super) fn messages(&mut self, batch: &EncodedBatch) -> Vec<OutboxRow> {
        let Content::Rows { schema, rows, .. } = batch.content() else { return Vec::new() };
        let Some(columns) = &schema.table().outbox else { return Vec::new() };
        let mut messages = Vec::with_capacity(rows.marks.len());
        for (number, (mark, _, after)) in (batch.sequence_first()..).zip(rows.iter()) {
            let entry = rows.transactions.get(mark.transaction as usize);
            let (Some(body), Some(entry)) = (after, entry) else { continue };
            self.buffer.clear();
            read_image(body, &mut self.buffer.after, &mut self.buffer.scratch);
            let image = Image::new(&self.buffer.after, body, &self.buffer.scratch);
            let mut row = OutboxRow::read(columns, &image);
            (row.number, row.ack_group) = (number, entry.ack_group);
            row.committed_at_us = entry.committed_at_us;
            messages.push(row);
        }
        messages
    }
}

impl OutboxRow {
    fn read(columns: &OutboxColumns, image: &Image<'_>) -> Self {
        let named = |ordinal: Option<usize>| ordinal.and_then(|at| text(image.cell(at)));
        let (body, is_base64) = body(image.cell(columns.payload));
        let attribute = |(name, ordinal): &(String, usize)| {
            let cell = image.cell(*ordinal);
            let is_number = matches!(cell, Cell::Int(_) | Cell::UInt(_));
            let data_type = if is_number { DataType::Number } else { DataType::String };
            attribute(name.clone(), data_type, text(cell)?)
        };
        Self {
            number: 0,
            ack_group: 0,
            committed_at_us: 0,
            id: text(image.cell(columns.id)),
            aggregate_id: text(image.cell(columns.aggregate_id)),
            aggregate_type: named(columns.aggregate_type),
            event_type: named(columns.event_type),
            payload_bytes: body.len(),
            body,
            is_base64,
            columns: columns.attributes.iter().filter_map(attribute).collect(),
            headers: named(columns.headers)
                .map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))),
        }
    }

    /// Type of its aggregate.
    pub(super) fn aggregate_type(&self) -> Option<&str> {
        self.aggregate_type.as_deref()
    }

    /// The message, for this topic.
    pub(super) fn into_message(
        self,
        batch: &EncodedBatch,
        origin: &Origin,
        destination: &Destination,
        oversize: Oversize,
    ) -> Message {
        let (group_id, deduplication_id) = if destination.fifo {
            (Some(self.group_id(batch, origin)), Some(self.deduplication_id(batch, origin)))
        } else {
            (None, None)
        };
        Message {
            id: 0,
            lane: batch.lane().id,
            lane_key: Arc::clone(&batch.lane().key),
            kind: Kind::Outbox,
            attributes: self.attributes(origin, oversize),
            group_id,
            deduplication_id,
            destination: Arc::clone(&destination.arn),
            rows: 1,
            sequence_first: self.number,
            uncompressed_bytes: u32::try_from(self.payload_bytes).unwrap_or(u32::MAX),
            ack_group: self.ack_group,
            committed_at_us: self.committed_at_us,
            omitted_cells: 0,
            body: self.body,
        }
    }

    /// The aggregate's id, or its SHA-256 where SNS takes no such group.
    fn group_id(&self, batch: &EncodedBatch, origin: &Origin) -> String {
        match self.aggregate_id.as_deref().filter(|id| !id.is_empty()) {
            Some(id) => within_rules(id.to_owned()),
            None => batch.lane().group_id(&origin.stream),
        }
    }

    /// Names the row among all rows of all outboxes: two tables may have equal ids.
    fn deduplication_id(&self, batch: &EncodedBatch, origin: &Origin) -> String {
        let (database, table) = batch.subject();
        let id = match &self.id {
            Some(id) => format!("{}:{database}.{table}:{id}", origin.stream),
            None => {
                format!("{}:{}:{}:{}", origin.stream, batch.lane().key, origin.epoch, self.number)
            }
        };
        within_rules(match &origin.replay {
            // SNS would take it for the first one within five minutes, and drop it.
            Some(replay) => format!("{id}:{:x}", replay.run),
            None => id,
        })
    }

    fn attributes(&self, origin: &Origin, oversize: Oversize) -> Vec<Attribute> {
        // Who puts a payload elsewhere says so in an attribute.
        let most = ATTRIBUTES_MAX - usize::from(oversize == Oversize::Keep);
        let plain = |name: &'static str, value: &Option<String>| {
            attribute(name, DataType::String, value.clone()?)
        };
        let mut attributes: Vec<_> = [
            attribute("kind", DataType::String, Kind::Outbox.as_str().to_owned()),
            plain("id", &self.id),
            plain("aggregate_type", &self.aggregate_type),
            plain("aggregate_id", &self.aggregate_id),
            plain("type", &self.event_type),
        ]
        .into_iter()
        .flatten()
        .collect();
        if self.is_base64 {
            attributes.extend(attribute("payload_encoding", DataType::String, "base64".to_owned()));
        }
        if let Some(replay) = &origin.replay {
            let audience = attributes::name(&replay.audience);
            attributes.extend(attribute("replay", DataType::String, audience));
        }
        attributes.extend(self.columns.iter().cloned());
        let Some(headers) = &self.headers else { return attributes };
        match headers_one_by_one(headers, &attributes, most) {
            Some(mut headers) => attributes.append(&mut headers),
            None => {
                attributes.extend(attribute("headers", DataType::String, headers.to_string()));
            }
        }
        attributes
    }
}

/// An attribute for each member; `None` where SNS or a queue would not take them: too many, a name that
/// is not allowed or is taken, or no object.
fn headers_one_by_one(headers: &Value, taken: &[Attribute], most: usize) -> Option<Vec<Attribute>> {
    let mut found = Vec::new();
    for (name, value) in headers.as_object()? {
        let (data_type, value) = match value {
            Value::Null => continue,
            Value::String(text) => (DataType::String, text.clone()),
            Value::Number(number) => (DataType::Number, number.to_string()),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                (DataType::String, value.to_string())
            }
        };
        if !is_attribute_of_outbox(name) || taken.iter().any(|attribute| attribute.name == *name) {
            return None;
        }
        found.extend(attribute(name.clone(), data_type, value));
    }
    (taken.len() + found.len() <= most).then_some(found)
}

/// Whether SNS allows this name of an attribute, and it is none of those that messages of an outbox have
/// anyway.
pub fn is_attribute_of_outbox(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let lower = name.to_ascii_lowercase();
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_plain)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && !lower.starts_with("aws.")
        && !lower.starts_with("amazon.")
        && !matches!(
            name,
            "kind"
                | "id"
                | "aggregate_type"
                | "aggregate_id"
                | "type"
                | "payload_encoding"
                | "replay"
                | "headers"
                | "ExtendedPayloadSize"
        )
}

/// SNS takes no empty value.
fn attribute(
    name: impl Into<Cow<'static, str>>,
    data_type: DataType,
    value: String,
) -> Option<Attribute> {
    (!value.is_empty()).then(|| Attribute { name: name.into(), data_type, value })
}

/// The id, if SNS allows it, else its SHA-256.
fn within_rules(id: String) -> String {
    let is_allowed =
        (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    if is_allowed { id } else { hex(&Sha256::digest(id.as_bytes())) }
}

/// The payload as a body, and whether it is base64. Empty where the row has none: SNS refuses that.
fn body(cell: Cell<'_>) -> (String, bool) {
    match cell {
        Cell::Bytes(bytes) | Cell::Malformed(bytes) | Cell::Vector(bytes) => {
            (STANDARD.encode(bytes), true)
        }
        // Only inside of strings, where an escape means the same.
        Cell::Json(bytes) => (escaped(String::from_utf8_lossy(bytes)), false),
        Cell::Absent
        | Cell::Null
        | Cell::Int(_)
        | Cell::UInt(_)
        | Cell::Float(_)
        | Cell::Double(_)
        | Cell::Text(_)
        | Cell::JsonDiff(_)
        | Cell::Omitted { .. } => (text(cell).unwrap_or_default(), false),
    }
}

/// JSON without the characters that SNS refuses: escapes mean the same.
fn escaped(json: Cow<'_, str>) -> String {
    const REFUSED: [char; 2] = ['\u{fffe}', '\u{ffff}'];
    if json.contains(REFUSED) {
        json.replace(REFUSED[0], "\\ufffe").replace(REFUSED[1], "\\uffff")
    } else {
        json.into_owned()
    }
}

/// A value as text, bytes in hexadecimal; `None` for NULL and for what is not there.
fn text(cell: Cell<'_>) -> Option<String> {
    Some(match cell {
        Cell::Absent | Cell::Null | Cell::Omitted { .. } => return None,
        Cell::Int(value) => itoa::Buffer::new().format(value).to_owned(),
        Cell::UInt(value) => itoa::Buffer::new().format(value).to_owned(),
        Cell::Float(value) => value.to_string(),
        Cell::Double(value) => value.to_string(),
        Cell::Text(bytes) | Cell::Json(bytes) | Cell::JsonDiff(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        Cell::Malformed(bytes) | Cell::Bytes(bytes) | Cell::Vector(bytes) => hex(bytes),
    })
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "what a test does not expect is one case")]
mod tests {
    use super::*;
    use crate::change::{BytesKind, Slot, Table};
    use crate::encode::testing::{Owned, OwnedChange, int, table, text, transaction};
    use crate::encode::{
        Batch, FinalizeOptions, Finalized, Finalizer, Format, Lane, LaneId, Oversize, Replay,
        RowOptions,
    };

    /// id, aggregate id, payload, aggregate type, type, headers, tenant.
    fn outbox() -> Arc<Table> {
        let mut outbox = Table::clone(&table("outbox", 7));
        outbox.outbox = Some(Arc::new(OutboxColumns {
            id: 0,
            aggregate_id: 1,
            payload: 2,
            aggregate_type: Some(3),
            event_type: Some(4),
            headers: Some(5),
            attributes: vec![("tenant".to_owned(), 6)],
        }));
        Arc::new(outbox)
    }

    fn origin() -> Origin {
        Origin {
            stream: "prod".into(),
            server_uuid: String::new(),
            server_id: 1,
            epoch: 1,
            connector_version: "0",
            snapshot: false,
            replay: None,
        }
    }

    fn json(text: &str) -> Owned {
        Owned::Bytes(BytesKind::Json, text.as_bytes().to_vec())
    }

    fn null() -> Owned {
        Owned::Plain(Slot::Null)
    }

    fn finalized(
        rows: &[[Owned; 7]],
        origin: &Origin,
        limit: usize,
        oversize: Oversize,
    ) -> Vec<Finalized> {
        let mut batch = Batch::new(Format::Protobuf, RowOptions::default(), outbox());
        for (number, row) in (1..).zip(rows) {
            batch.push(number, &transaction(number), &OwnedChange::insert(0, row).change());
        }
        let key = Lane::notice_key_of("outbox-shop.outbox#0").into();
        let lane = Lane { id: LaneId(3), key, number: 0, count: 1 };
        let batch = batch.take(lane, 41).expect("there are rows");
        assert_eq!(batch.kind(), Kind::Outbox);
        let to = |aggregate_type: Option<&str>| Destination {
            arn: format!("topic-{}", aggregate_type.unwrap_or("none")).into(),
            fifo: true,
            message_bytes_max: limit,
        };
        let mut out = Vec::new();
        let mut finalizer = Finalizer::new(FinalizeOptions::default()).expect("zstd starts");
        finalizer.finalize_outbox(&batch, origin, to, oversize, &mut out);
        out
    }

    fn messages(rows: &[[Owned; 7]]) -> Vec<Message> {
        let finalized = finalized(rows, &origin(), 256 << 10, Oversize::Keep).into_iter();
        finalized
            .map(|finalized| match finalized {
                Finalized::Message(message) => message,
                Finalized::TooLarge(message) => panic!("too large: {}", message.body),
            })
            .collect()
    }

    fn row(payload: Owned, headers: Owned) -> [Owned; 7] {
        [text("e-1"), int(7), payload, text("order"), text("Placed"), headers, int(12)]
    }

    fn pairs(message: &Message) -> Vec<(&str, &str)> {
        let attributes = message.attributes.iter();
        attributes.map(|attribute| (&*attribute.name, attribute.value.as_str())).collect()
    }

    #[test]
    fn a_row_is_a_message_with_the_payload_as_its_body() {
        let headers = json(r#"{"traceparent": "00-ab", "retries": 3, "gone": null, "empty": ""}"#);
        let rows = [row(json(r#"{"total": 12.50, "note": "a￿b"}"#), headers), row(null(), null())];
        let found = messages(&rows);
        let first = &found[0];
        assert_eq!(first.body, r#"{"total": 12.50, "note": "a\uffffb"}"#);
        assert_eq!(
            pairs(first),
            [
                ("kind", "outbox"),
                ("id", "e-1"),
                ("aggregate_type", "order"),
                ("aggregate_id", "7"),
                ("type", "Placed"),
                ("tenant", "12"),
                ("retries", "3"),
                ("traceparent", "00-ab"),
            ]
        );
        let is_number = |name: &str| {
            let mut all = first.attributes.iter();
            all.any(|it| it.name == name && it.data_type == DataType::Number)
        };
        assert!(is_number("tenant") && is_number("retries") && !is_number("id"));
        assert_eq!((first.group_id.as_deref(), &*first.destination), (Some("7"), "topic-order"));
        assert_eq!(first.deduplication_id.as_deref(), Some("prod:shop.outbox:e-1"));
        assert_eq!((first.sequence_first, first.ack_group, first.rows), (41, 1, 1));
        // SNS refuses an empty body, and says so.
        assert_eq!((found[1].body.as_str(), found[1].sequence_first), ("", 42));
        assert_eq!(found[1].ack_group, 2);
    }

    #[test]
    fn bytes_are_base64_and_say_so_text_is_as_it_is() {
        let bytes = Owned::Bytes(BytesKind::Bytes, vec![0, 159, 146, 150]);
        let found = messages(&[row(bytes, null()), row(text("plain\ntext"), null())]);
        assert_eq!(found[0].body, "AJ+Slg==");
        assert!(pairs(&found[0]).contains(&("payload_encoding", "base64")));
        assert_eq!(found[1].body, "plain\ntext");
        assert!(pairs(&found[1]).iter().all(|(name, _)| *name != "payload_encoding"));
    }

    #[test]
    fn headers_that_no_queue_would_take_one_by_one_come_whole() {
        let many = r#"{"a":1,"b":1,"c":1,"d":1,"e":1}"#;
        for headers in [many, r#"{"id":"x"}"#, r#"{"two words":1}"#, r#"{"AWS.x":1}"#, "[1]"] {
            let found = messages(&[row(text("x"), json(headers))]);
            let whole = pairs(&found[0]).into_iter().filter(|(name, _)| *name == "headers");
            assert_eq!(whole.map(|(_, value)| value).collect::<Vec<_>>(), [headers]);
            assert!(found[0].attributes.len() <= ATTRIBUTES_MAX);
        }
    }

    /// A message that has everything that it can have.
    #[test]
    fn no_message_has_more_attributes_than_a_queue_takes() {
        let mut table = Table::clone(&outbox());
        let columns = OutboxColumns {
            attributes: vec![("tenant".to_owned(), 6)],
            ..OutboxColumns::clone(table.outbox.as_ref().expect("an outbox"))
        };
        table.outbox = Some(Arc::new(columns));
        let replay = Some(Replay { audience: "partner".into(), run: 1 });
        let origin = Origin { replay, ..origin() };
        let bytes = Owned::Bytes(BytesKind::Bytes, vec![0, 1]);
        for (members, oversize, expected) in [
            (1, Oversize::Omit, 9),
            (2, Oversize::Omit, 10),
            (3, Oversize::Omit, 9),
            (1, Oversize::Keep, 9),
            (2, Oversize::Keep, 9),
        ] {
            let headers: serde_json::Map<_, _> =
                (0..members).map(|number| (format!("h{number}"), 1.into())).collect();
            let row = row(bytes.clone(), json(&Value::Object(headers).to_string()));
            let found = finalized(&[row], &origin, 1 << 20, oversize);
            let Some(Finalized::Message(message)) = found.first() else { panic!("{found:?}") };
            assert_eq!(message.attributes.len(), expected, "{members} headers, {oversize:?}");
        }
    }

    #[test]
    fn ids_that_sns_does_not_take_are_hashed_and_rows_without_ids_are_named_by_their_number() {
        let mut odd = row(text("x"), null());
        odd[0] = Owned::Bytes(BytesKind::Bytes, vec![0xab; 16]);
        odd[1] = text("with space");
        let mut without = row(text("x"), null());
        (without[0], without[1]) = (null(), null());
        let found = messages(&[odd, without]);
        assert_eq!(found[0].group_id.as_ref().map(String::len), Some(64));
        let id = "ab".repeat(16);
        assert_eq!(found[0].deduplication_id, Some(format!("prod:shop.outbox:{id}")));
        assert!(pairs(&found[0]).contains(&("aggregate_id", "with space")));
        let named = found[1].deduplication_id.as_deref().unwrap_or_default();
        assert!(named.ends_with(":42"), "{named}");
        assert!(found[1].group_id.as_deref().is_some_and(|group| group.starts_with("prod/!")));
    }

    #[test]
    fn a_replay_is_named_and_not_taken_for_the_first_message() {
        let replay = Some(Replay { audience: "partner".into(), run: 255 });
        let origin = Origin { replay, ..origin() };
        let found = finalized(&[row(text("x"), null())], &origin, 1 << 10, Oversize::Keep);
        let Some(Finalized::Message(message)) = found.first() else { panic!("{found:?}") };
        assert!(pairs(message).contains(&("replay", "partner")));
        assert_eq!(message.deduplication_id.as_deref(), Some("prod:shop.outbox:e-1:ff"));
    }

    #[test]
    fn nothing_of_a_large_payload_is_left_out() {
        let rows = [row(text(&"x".repeat(2_000)), null())];
        let kept = finalized(&rows, &origin(), 1_000, Oversize::Keep);
        assert!(matches!(&kept[..], [Finalized::TooLarge(message)] if message.body.len() == 2_000));
        // The topic refuses it, and what is refused has a policy of its own.
        let passed = finalized(&rows, &origin(), 1_000, Oversize::Omit);
        assert!(
            matches!(&passed[..], [Finalized::Message(message)] if message.body.len() == 2_000)
        );
    }
}
