//! A table with a column of every type, and the edges of each type, with what they mean.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use binpulse_core::change::{BytesKind, Column, LogicalType, Slot};
use binpulse_core::encode::testing::{Owned, column, int, null, text};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::shown::{float, hex, number};

/// Columns: name, type, MySQL's type.
const COLUMNS: [(&str, LogicalType, &str); 19] = [
    ("id", LogicalType::Integer, "bigint unsigned"),
    ("integer", LogicalType::Integer, "bigint"),
    ("float", LogicalType::Float, "float"),
    ("double", LogicalType::Double, "double"),
    ("decimal", LogicalType::Decimal, "decimal(65,30)"),
    ("bit", LogicalType::Bit, "bit(64)"),
    ("year", LogicalType::Year, "year"),
    ("date", LogicalType::Date, "date"),
    ("time", LogicalType::Time, "time(6)"),
    ("datetime", LogicalType::Datetime, "datetime(6)"),
    ("timestamp", LogicalType::Timestamp, "timestamp(6)"),
    ("text", LogicalType::Text, "longtext"),
    ("binary", LogicalType::Binary, "longblob"),
    ("enum", LogicalType::Enum, "enum('new','paid')"),
    ("set", LogicalType::Set, "set('a','b','c')"),
    ("json", LogicalType::Json, "json"),
    ("geometry", LogicalType::Geometry, "geometry"),
    ("vector", LogicalType::Vector, "vector(3)"),
    ("a \"quoted\" näme", LogicalType::Text, "varchar(80)"),
];

pub(crate) fn columns() -> Vec<Column> {
    let made = COLUMNS.iter().map(|(name, of, mysql_type)| Column {
        mysql_type: (*mysql_type).to_owned(),
        nullable: *name != "id",
        unsigned: *name == "id",
        members: match of {
            LogicalType::Enum => vec!["new".into(), "paid".into()],
            LogicalType::Set => vec!["a".into(), "b".into(), "c".into()],
            _ => Vec::new(),
        },
        ..column(name, *of)
    });
    made.collect()
}

fn uint(value: u64) -> Owned {
    Owned::Plain(Slot::UInt(value))
}

fn bytes(kind: BytesKind, bytes: &[u8]) -> Owned {
    Owned::Bytes(kind, bytes.to_vec())
}

/// The edges of a type.
pub(crate) fn edges(of: LogicalType, unsigned: bool) -> Vec<Owned> {
    let texts = |texts: &[&str]| texts.iter().copied().map(text).collect();
    let json = |document: &str| bytes(BytesKind::Json, document.as_bytes());
    let vector = |elements: &[f32]| {
        let elements: Vec<u8> = elements.iter().flat_map(|element| element.to_le_bytes()).collect();
        Owned::Bytes(BytesKind::Vector, elements)
    };
    match of {
        LogicalType::Integer if unsigned => {
            [0, 1, (1 << 53) + 1, i64::MAX as u64 + 1, u64::MAX].map(uint).to_vec()
        }
        LogicalType::Integer => {
            [0, -1, i64::MIN, i64::MAX, -(1 << 53) - 1, (1 << 53) + 1].map(int).to_vec()
        }
        LogicalType::Float => [0.1, -0.0, f32::MAX, f32::MIN_POSITIVE, 16_777_217.0, 1e-45]
            .map(|value| Owned::Plain(Slot::Float(value)))
            .to_vec(),
        LogicalType::Double => [0.1, -0.0, f64::MAX, 5e-324, 1e300, 9_007_199_254_740_993.0]
            .map(|value| Owned::Plain(Slot::Double(value)))
            .to_vec(),
        LogicalType::Decimal => texts(&[
            "-12.500",
            "0",
            "0.000000000000000000000000000001",
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "18446744073709551616",
        ]),
        LogicalType::Bit => [0, 1, u64::MAX].map(uint).to_vec(),
        LogicalType::Year => [0, 1901, 2155].map(int).to_vec(),
        LogicalType::Date => texts(&["2026-11-20", "0000-00-00", "2026-11-00", "9999-12-31"]),
        LogicalType::Time => {
            texts(&["-838:59:59.000000", "838:59:59", "00:00:00.5", "-00:00:00.000001"])
        }
        LogicalType::Datetime => {
            texts(&["2026-11-20 20:12:00.123", "0000-00-00 00:00:00", "9999-12-31 23:59:59.999999"])
        }
        LogicalType::Timestamp => texts(&["1970-01-01 00:00:01", "2038-01-19 03:14:07.999999"]),
        LogicalType::Text => {
            let mut cells: Vec<Owned> = texts(&[
                "",
                "京都 🦀",
                "\"quotes\", \\, \n, \t, \u{1}, \u{7f}",
                "\u{fffe}\u{ffff}\u{fffd}\u{2028}",
                "{\"$omitted\": 1}",
                "null",
                "12345678901234567890",
            ]);
            cells.push(bytes(BytesKind::Malformed, &[0xff, 0xfe, b'x']));
            cells
        }
        LogicalType::Binary => {
            vec![bytes(BytesKind::Bytes, &[]), bytes(BytesKind::Bytes, &[0, 255, 10])]
        }
        LogicalType::Enum => vec![text("paid"), text(""), uint(2)],
        LogicalType::Set => vec![text("a,c"), text(""), uint(5)],
        LogicalType::Json => vec![
            json("{\"a\": 1.0, \"b\": [null, \"x\", true], \"é\": 18446744073709551615}"),
            json("null"),
            json("\"a text\""),
            json("-1"),
            json("{}"),
            json("{\"$json\": 1}"),
            bytes(BytesKind::JsonDiff, br#"[{"op": "replace", "path": "$.a", "value": 2}]"#),
        ],
        // SRID 4326, a point.
        LogicalType::Geometry => vec![bytes(
            BytesKind::Bytes,
            &[230, 16, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 240, 63, 0, 0, 0, 0, 0, 0, 0, 64],
        )],
        LogicalType::Vector => vec![
            vector(&[0.5, 1.0, -0.0]),
            vector(&[]),
            vector(&[0.1, f32::INFINITY, f32::NEG_INFINITY, f32::NAN]),
        ],
    }
}

/// What a cell means, made of the cell and nothing else. Values of more than `bytes_max` bytes are left
/// out.
pub(crate) fn meaning(of: LogicalType, cell: &Owned, bytes_max: usize) -> Value {
    let omitted = |bytes: &[u8]| {
        let sha256 = hex(&Sha256::digest(bytes));
        json!({"omitted": {"size_bytes": number(bytes.len()), "sha256": sha256}})
    };
    match cell {
        Owned::Plain(Slot::Absent) => json!({"absent": true}),
        Owned::Plain(Slot::Null) => json!({"null": true}),
        Owned::Plain(Slot::Int(value)) => match of {
            LogicalType::Year => json!({"year": number(value)}),
            _ => json!({"integer": number(value)}),
        },
        Owned::Plain(Slot::UInt(value)) => {
            let name = match of {
                LogicalType::Bit => "bit",
                LogicalType::Enum => "enum_index",
                LogicalType::Set => "set_mask",
                _ => "unsigned",
            };
            json!({name: number(value)})
        }
        Owned::Plain(Slot::Float(value)) => json!({"float": float(value)}),
        Owned::Plain(Slot::Double(value)) => json!({"double": float(value)}),
        Owned::Plain(Slot::Span { .. }) => panic!("it owns its bytes"),
        Owned::Bytes(_, bytes) if bytes.len() > bytes_max => omitted(bytes),
        Owned::Bytes(kind, bytes) => {
            let text = || String::from_utf8(bytes.clone()).expect("UTF-8");
            match kind {
                BytesKind::Text => json!({type_name(of): text()}),
                BytesKind::Malformed => json!({"malformed_text": STANDARD.encode(bytes)}),
                BytesKind::Bytes if of == LogicalType::Geometry => {
                    json!({"geometry": STANDARD.encode(bytes)})
                }
                BytesKind::Bytes => json!({"bytes": STANDARD.encode(bytes)}),
                BytesKind::Json => json!({"json": text()}),
                BytesKind::JsonDiff => json!({"json_diff": text()}),
                BytesKind::Omitted => panic!("the encoder leaves values out"),
                BytesKind::Vector => {
                    let (elements, _) = bytes.as_chunks::<4>();
                    let elements = elements.iter().map(|bytes| float(&f32::from_le_bytes(*bytes)));
                    json!({"vector": elements.collect::<Vec<_>>()})
                }
            }
        }
    }
}

/// The contract's name of a type, in small letters.
pub(crate) fn type_name(of: LogicalType) -> String {
    format!("{of:?}").to_ascii_lowercase()
}

/// Rows that have each edge of each type at least once; the last has NULL wherever it may.
pub(crate) fn rows_of_edges() -> Vec<Vec<Owned>> {
    let columns = columns();
    let all: Vec<Vec<Owned>> =
        columns.iter().map(|column| edges(column.logical_type, column.unsigned)).collect();
    let most = all.iter().map(Vec::len).max().unwrap_or_default();
    let mut rows: Vec<Vec<Owned>> = (0..most)
        .map(|row| all.iter().map(|edges| edges[row % edges.len()].clone()).collect())
        .collect();
    rows.push(
        columns.iter().map(|column| if column.nullable { null() } else { uint(7) }).collect(),
    );
    rows
}
