//! Values as SQL.

use std::fmt::Write;

use binpulse::encode::proto::value::Kind;
use binpulse::encode::proto::{Column, LogicalType, Value};

/// An identifier, quoted.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Bytes as a literal.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2 + 3);
    text.push_str("X'");
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
    text.push('\'');
    text
}

fn is(column: &Column, logical_type: LogicalType) -> bool {
    column.logical_type == logical_type as i32
}

/// The value to store; nothing when it is absent, or when this consumer cannot know it.
pub(super) fn stored(column: &Column, value: &Value) -> Option<String> {
    Some(match value.kind.as_ref()? {
        Kind::Null(_) => "NULL".to_owned(),
        Kind::Integer(number) => number.to_string(),
        Kind::Unsigned(number) => number.to_string(),
        // As a double, which holds it exactly and is read back so.
        Kind::Float(number) => format!("{:e}", f64::from(*number)),
        Kind::Double(number) => format!("{number:e}"),
        Kind::Text(text) if is(column, LogicalType::Decimal) => text.clone(),
        Kind::Text(text) | Kind::Json(text) => format!("_utf8mb4 {}", hex(text.as_bytes())),
        Kind::Bytes(bytes) | Kind::MalformedText(bytes) => hex(bytes),
        Kind::Vector(vector) => {
            let elements: Vec<_> = vector.elements.iter().map(|e| format!("{e:e}")).collect();
            format!("STRING_TO_VECTOR('[{}]')", elements.join(","))
        }
        Kind::JsonDiff(_) | Kind::Omitted(_) => return None,
    })
}

/// A condition that finds exactly this value.
pub(super) fn condition(column: &Column, value: &Value) -> Option<String> {
    let name = quoted(&column.name);
    let text = match value.kind.as_ref()? {
        Kind::Text(text) if is(column, LogicalType::Text) => {
            let bytes = hex(text.as_bytes());
            return Some(format!(
                "CONVERT(CONVERT({name} USING utf8mb4) USING binary) <=> {bytes}"
            ));
        }
        Kind::Json(text) => format!("CAST(_utf8mb4 {} AS JSON)", hex(text.as_bytes())),
        // Vectors can't be compared, not even with NULL.
        Kind::Null(_) => return Some(format!("{name} IS NULL")),
        Kind::Vector(_) => return None,
        Kind::Integer(_)
        | Kind::Unsigned(_)
        | Kind::Float(_)
        | Kind::Double(_)
        | Kind::Text(_)
        | Kind::Bytes(_)
        | Kind::MalformedText(_)
        | Kind::JsonDiff(_)
        | Kind::Omitted(_) => stored(column, value)?,
    };
    Some(format!("{name} <=> {text}"))
}
