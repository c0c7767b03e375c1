//! Rows made up for tests, here and in `pack`.

use std::sync::Arc;

use proptest::prelude::*;

use crate::change::{
    Area, BytesKind, Change, Column, Gtid, Image, LogicalType, MariaGtid, Op, Position, Slot,
    Table, Tag, Transaction, TransactionId, Uuid,
};

/// A cell that owns its bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Owned {
    Plain(Slot),
    Bytes(BytesKind, Vec<u8>),
}

/// An image that owns its cells.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnedImage {
    slots: Vec<Slot>,
    bytes: Vec<u8>,
}

impl OwnedImage {
    pub fn new(cells: &[Owned]) -> Self {
        let mut image = Self { slots: Vec::new(), bytes: Vec::new() };
        for cell in cells {
            let slot = match cell {
                Owned::Plain(slot) => *slot,
                Owned::Bytes(kind, bytes) => {
                    let start = image.bytes.len() as u32;
                    image.bytes.extend_from_slice(bytes);
                    let end = image.bytes.len() as u32;
                    Slot::Span { kind: *kind, area: Area::Event, start, end }
                }
            };
            image.slots.push(slot);
        }
        image
    }

    pub fn image(&self) -> Image<'_> {
        Image::new(&self.slots, &self.bytes, &[])
    }
}

/// A change that owns its images.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnedChange {
    pub op: Op,
    pub row: u64,
    pub before: Option<OwnedImage>,
    pub after: Option<OwnedImage>,
}

impl OwnedChange {
    pub fn insert(row: u64, cells: &[Owned]) -> Self {
        Self { op: Op::Insert, row, before: None, after: Some(OwnedImage::new(cells)) }
    }

    pub fn update(row: u64, before: &[Owned], after: &[Owned]) -> Self {
        let (before, after) = (Some(OwnedImage::new(before)), Some(OwnedImage::new(after)));
        Self { op: Op::Update, row, before, after }
    }

    pub fn delete(row: u64, cells: &[Owned]) -> Self {
        Self { op: Op::Delete, row, before: Some(OwnedImage::new(cells)), after: None }
    }

    pub fn change(&self) -> Change<'_> {
        Change {
            op: self.op,
            row: self.row,
            before: self.before.as_ref().map(OwnedImage::image),
            after: self.after.as_ref().map(OwnedImage::image),
        }
    }
}

pub fn int(value: i64) -> Owned {
    Owned::Plain(Slot::Int(value))
}

pub fn text(text: &str) -> Owned {
    Owned::Bytes(BytesKind::Text, text.as_bytes().to_vec())
}

pub fn absent() -> Owned {
    Owned::Plain(Slot::Absent)
}

pub fn null() -> Owned {
    Owned::Plain(Slot::Null)
}

pub fn column(name: &str, logical_type: LogicalType) -> Column {
    Column {
        name: name.to_owned(),
        logical_type,
        mysql_type: String::from("of a test"),
        nullable: true,
        unsigned: false,
        collation: 255,
        charset: "utf8mb4",
        members: Vec::new(),
        visible: true,
    }
}

/// A table of text columns, `c0` its primary key.
pub fn table(name: &str, columns: usize) -> Arc<Table> {
    Arc::new(Table {
        database: "shop".into(),
        name: name.into(),
        columns: (0..columns).map(|at| column(&format!("c{at}"), LogicalType::Text)).collect(),
        primary_key: vec![0],
        named: true,
        fingerprint: 0xfeed_0000_0000_0001,
        outbox: None,
    })
}

pub fn gtid(sequence: u64) -> TransactionId {
    TransactionId::Gtid(Gtid { source: Uuid([0xab; 16]), tag: Tag::default(), sequence })
}

pub fn transaction(number: u64) -> Transaction {
    Transaction {
        id: gtid(number),
        start: Position::new("binlog.000007", 4 + number * 300),
        committed_at_us: 1_795_000_000_000_000 + number.cast_signed() * 1_000,
        original_committed_at_us: 1_795_000_000_000_000 + number.cast_signed() * 1_000,
        server_id: 7,
        length_bytes: None,
    }
}

pub fn any_transaction() -> impl Strategy<Value = Transaction> {
    let id = prop_oneof![
        (any::<[u8; 16]>(), "([a-z][a-z0-9_]{0,31})?", 1..u64::MAX / 2).prop_map(
            |(uuid, tag, n)| {
                let tag = Tag::new(tag.as_bytes()).expect("a tag");
                TransactionId::Gtid(Gtid { source: Uuid(uuid), tag, sequence: n })
            }
        ),
        (any::<u32>(), any::<u32>(), any::<u64>()).prop_map(|(domain, server, sequence)| {
            TransactionId::Maria(MariaGtid { domain, server, sequence })
        }),
        Just(TransactionId::Anonymous),
    ];
    (id, 0..3_u32, any::<u64>(), any::<i64>(), any::<i64>(), any::<u32>()).prop_map(
        |(id, file, offset, committed_at_us, original_committed_at_us, server_id)| Transaction {
            id,
            start: Position::new(format!("binlog.{file:06}"), offset),
            committed_at_us,
            original_committed_at_us,
            server_id,
            length_bytes: None,
        },
    )
}

pub fn any_cell() -> impl Strategy<Value = Owned> {
    let bytes = || {
        prop_oneof![
            4 => prop::collection::vec(any::<u8>(), 0..40),
            1 => prop::collection::vec(any::<u8>(), 120..140),
            1 => prop::collection::vec(any::<u8>(), 16_370..16_400),
        ]
    };
    let string = prop_oneof![any::<String>(), "[ -~\u{fffe}\u{ffff}\\PC]{100,150}"];
    prop_oneof![
        Just(absent()),
        Just(null()),
        any::<i64>().prop_map(int),
        (-70_i64..70).prop_map(int),
        any::<u64>().prop_map(|value| Owned::Plain(Slot::UInt(value))),
        any::<f32>().prop_map(|value| Owned::Plain(Slot::Float(value))),
        any::<f64>().prop_map(|value| Owned::Plain(Slot::Double(value))),
        string.prop_map(|text| Owned::Bytes(BytesKind::Text, text.into_bytes())),
        bytes().prop_map(|bytes| Owned::Bytes(BytesKind::Bytes, bytes)),
        bytes().prop_map(|bytes| Owned::Bytes(BytesKind::Malformed, bytes)),
        any_json().prop_map(|json| Owned::Bytes(BytesKind::Json, json.into_bytes())),
        Just(Owned::Bytes(BytesKind::JsonDiff, br#"[{"op":"remove","path":"$.a"}]"#.to_vec())),
        prop::collection::vec(any::<f32>(), 0..9).prop_map(|elements| {
            let bytes = elements.iter().flat_map(|element| element.to_le_bytes()).collect();
            Owned::Bytes(BytesKind::Vector, bytes)
        }),
    ]
}

fn any_json() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|value| value.to_string()),
        any::<String>()
            .prop_map(|text| serde_json::json!({"a": [text, null, {"b": "}],\\\""}]}))
            .prop_map(|value| value.to_string()),
    ]
}

pub fn any_change(columns: usize) -> impl Strategy<Value = OwnedChange> {
    let image = move || prop::collection::vec(any_cell(), columns);
    let row = || prop_oneof![0..300_u64, any::<u64>()];
    prop_oneof![
        (row(), image()).prop_map(|(row, cells)| OwnedChange::insert(row, &cells)),
        (row(), image()).prop_map(|(row, cells)| OwnedChange::delete(row, &cells)),
        (row(), image(), image())
            .prop_map(|(row, before, after)| OwnedChange::update(row, &before, &after)),
    ]
}
