//! One value: from its JSON to the contract's `Value`, by the type of its column.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::parse::{Members, Name};
use crate::proto::value::Kind;
use crate::proto::{Column, LogicalType, Omitted, Vector};

/// The value that this JSON means in a column. `None`: it is none that the column can have.
pub(super) fn kind(column: &Column, json: &str) -> Option<Kind> {
    if json == "null" {
        return Some(Kind::Null(true));
    }
    let logical_type = column.logical_type();
    if let Some(marked) = marked(logical_type, json) {
        return Some(marked);
    }
    match (logical_type, json.as_bytes().first()?) {
        (LogicalType::Json, _) => Some(Kind::Json(json.to_owned())),
        (LogicalType::Vector, b'[') => vector(json),
        (_, b'"') => string(logical_type, json),
        (_, b'-' | b'0'..=b'9') => number(column, json),
        // A type that this version does not know.
        (LogicalType::Unspecified, _) => Some(Kind::Json(json.to_owned())),
        _ => None,
    }
}

/// What an object whose only member begins with `$` stands for. A JSON column may hold such a document
/// itself: it is taken for one where the form is not exactly that of the marker.
fn marked(logical_type: LogicalType, json: &str) -> Option<Kind> {
    if !json.starts_with("{\"$") {
        return None;
    }
    let members = Members::of(json).ok()?;
    let (name, value) = members.only()?;
    let is_json = logical_type == LogicalType::Json;
    match name {
        "$json" if is_json && value.get() == "null" => Some(Kind::Json("null".to_owned())),
        "$diff" if is_json && value.get().starts_with('[') => {
            Some(Kind::JsonDiff(value.get().to_owned()))
        }
        "$malformed" if !is_json => Some(Kind::MalformedText(base64(value.get())?)),
        "$omitted" => omitted(value).map(Kind::Omitted),
        _ => None,
    }
}

fn omitted(value: &RawValue) -> Option<Omitted> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form<'a> {
        size_bytes: u64,
        #[serde(borrow)]
        sha256: Cow<'a, str>,
    }
    let Form { size_bytes, sha256 } = serde_json::from_str(value.get()).ok()?;
    Some(Omitted { size_bytes, sha256: hex(&sha256).filter(|bytes| bytes.len() == 32)? })
}

/// Bytes of lower-case hexadecimal digits.
pub(super) fn hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

fn vector(json: &str) -> Option<Kind> {
    let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    let elements = elements.iter().map(|element| float(element.get()));
    Some(Kind::Vector(Vector { elements: elements.collect::<Option<_>>()? }))
}

/// Text to a float with no rounding in between: JSON's reader goes by way of a double, and not
/// exactly.
fn float<F: std::str::FromStr + Into<f64> + Copy>(json: &str) -> Option<F> {
    let text = match json {
        "\"NaN\"" => "NaN",
        "\"Infinity\"" => "inf",
        "\"-Infinity\"" => "-inf",
        number => {
            let value = number.parse::<F>().ok()?;
            return value.into().is_finite().then_some(value);
        }
    };
    text.parse().ok()
}

fn string(logical_type: LogicalType, json: &str) -> Option<Kind> {
    match logical_type {
        // A VECTOR of a length that no vector has travels as bytes.
        LogicalType::Binary | LogicalType::Geometry | LogicalType::Vector => {
            base64(json).map(Kind::Bytes)
        }
        LogicalType::Float => float(json).map(Kind::Float),
        LogicalType::Double => float(json).map(Kind::Double),
        LogicalType::Decimal
        | LogicalType::Date
        | LogicalType::Time
        | LogicalType::Datetime
        | LogicalType::Timestamp
        | LogicalType::Text
        | LogicalType::Enum
        | LogicalType::Set
        | LogicalType::Unspecified => text(json).map(|text| Kind::Text(text.into_owned())),
        LogicalType::Integer | LogicalType::Bit | LogicalType::Year | LogicalType::Json => None,
    }
}

fn number(column: &Column, json: &str) -> Option<Kind> {
    let signed = || json.parse().ok().map(Kind::Integer);
    let unsigned = || json.parse().ok().map(Kind::Unsigned);
    match column.logical_type() {
        LogicalType::Integer if column.unsigned => unsigned().or_else(signed),
        // Where the log does not tell the sign, a value may be above what a signed one holds.
        LogicalType::Integer => signed().or_else(unsigned),
        LogicalType::Year => signed(),
        LogicalType::Bit | LogicalType::Enum | LogicalType::Set => unsigned(),
        LogicalType::Float => float(json).map(Kind::Float),
        LogicalType::Double => float(json).map(Kind::Double),
        LogicalType::Unspecified => {
            signed().or_else(unsigned).or_else(|| float(json).map(Kind::Double))
        }
        LogicalType::Decimal
        | LogicalType::Date
        | LogicalType::Time
        | LogicalType::Datetime
        | LogicalType::Timestamp
        | LogicalType::Text
        | LogicalType::Binary
        | LogicalType::Json
        | LogicalType::Geometry
        | LogicalType::Vector => None,
    }
}

fn text(json: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Name<'_>>(json).ok().map(|name| name.0)
}

fn base64(json: &str) -> Option<Vec<u8>> {
    STANDARD.decode(&*text(json)?).ok()
}
