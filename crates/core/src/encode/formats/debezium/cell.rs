//! One cell as Debezium writes it.

use super::column::{Column, Form};
use super::decimal::Unscaled;
use crate::change::Cell;
use crate::encode::formats::options::BinaryHandling;
use crate::encode::formats::temporal::{DAY_US, datetime_us, days, time_us};
use crate::encode::formats::write::{compact, put_hex, put_lossy, put_signed, put_unsigned};
use crate::encode::json::{
    put_base64, put_base64_url_safe, put_cell as put_plain, put_escaped, put_string,
};

/// Stands for a value that is not at hand: Debezium's `unavailable.value.placeholder`.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// Appends a cell, one that is not absent; returns whether it is written without a loss.
pub(in super::super) fn put_cell(out: &mut Vec<u8>, column: &Column, cell: Cell<'_>) -> bool {
    match (column.form, cell) {
        (_, Cell::Absent | Cell::Null) => out.extend_from_slice(b"null"),
        (form, Cell::Omitted { .. } | Cell::JsonDiff(_)) => {
            put_unavailable(out, form);
            return false;
        }
        (Form::UnsignedLong, Cell::UInt(value)) => {
            put_signed(out, value.cast_signed());
            return i64::try_from(value).is_ok();
        }
        (Form::Decimal { .. }, Cell::UInt(value)) => {
            let mut digits = itoa::Buffer::new();
            return put_unscaled(out, digits.format(value).as_bytes());
        }
        (Form::Decimal { .. }, Cell::Text(text)) => return put_unscaled(out, text),
        (Form::DecimalDouble, Cell::Text(text)) => return put_double(out, text),
        (Form::Boolean, Cell::UInt(value)) => {
            out.extend_from_slice(if value == 0 { b"false" } else { b"true" });
        }
        (Form::Bits(bits), Cell::UInt(value)) => {
            let bytes = value.to_le_bytes();
            put_base64(out, bytes.get(..usize::from(bits).div_ceil(8)).unwrap_or(&bytes));
        }
        (
            form @ (Form::Date
            | Form::Time
            | Form::Timestamp
            | Form::MicroTimestamp
            | Form::ConnectDate
            | Form::ConnectTime
            | Form::ConnectTimestamp),
            Cell::Text(text),
        ) => return put_moment(out, form, text, column.nullable),
        (Form::ZonedTimestamp, Cell::Text(text)) => {
            return put_zoned(out, text, column.nullable);
        }
        (Form::Bytes(handling), Cell::Bytes(bytes)) => put_bytes(out, bytes, handling),
        (Form::Json, Cell::Json(json)) => {
            out.push(b'"');
            compact(json, |piece| put_escaped(out, piece));
            out.push(b'"');
        }
        (Form::Geometry | Form::Point, Cell::Bytes(bytes)) => {
            return put_geometry(out, bytes, column.form == Form::Point);
        }
        (_, Cell::Malformed(bytes)) => return put_lossy(out, bytes),
        // Without labels in the log: the index, or the bits.
        (Form::Enum | Form::Set, Cell::UInt(value)) => {
            out.push(b'"');
            put_unsigned(out, value);
            out.push(b'"');
            return false;
        }
        (_, cell) => put_plain(out, cell),
    }
    true
}

fn put_unavailable(out: &mut Vec<u8>, form: Form) {
    if let Form::Bytes(handling) = form {
        put_bytes(out, UNAVAILABLE.as_bytes(), handling);
    } else if matches!(form, Form::Geometry | Form::Point | Form::Vector) {
        out.extend_from_slice(b"null");
    } else {
        put_string(out, UNAVAILABLE.as_bytes());
    }
}

fn put_unscaled(out: &mut Vec<u8>, text: &[u8]) -> bool {
    match Unscaled::of(text) {
        Some(unscaled) => {
            put_base64(out, unscaled.bytes());
            true
        }
        None => put_lossy(out, text),
    }
}

fn put_double(out: &mut Vec<u8>, text: &[u8]) -> bool {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    match parsed {
        Some(value) => {
            put_plain(out, Cell::Double(value));
            true
        }
        None => put_lossy(out, text),
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8], handling: BinaryHandling) {
    match handling {
        BinaryHandling::Bytes | BinaryHandling::Base64 => put_base64(out, bytes),
        BinaryHandling::Base64UrlSafe => put_base64_url_safe(out, bytes),
        BinaryHandling::Hex => put_hex(out, bytes),
    }
}

/// A date or time as a number. What has none, such as `0000-00-00`, is null, or 1970 where the column
/// takes no NULL.
fn put_moment(out: &mut Vec<u8>, form: Form, text: &[u8], nullable: bool) -> bool {
    let number = if matches!(form, Form::Date | Form::ConnectDate) {
        days(text)
    } else if form == Form::Time {
        time_us(text)
    } else if form == Form::ConnectTime {
        // One of the day.
        time_us(text).filter(|us| (0..DAY_US).contains(us)).map(|us| us.div_euclid(1000))
    } else if form == Form::MicroTimestamp {
        datetime_us(text)
    } else {
        datetime_us(text).map(|us| us.div_euclid(1000))
    };
    match number {
        Some(number) => put_signed(out, number),
        None if nullable => out.extend_from_slice(b"null"),
        None => out.push(b'0'),
    }
    number.is_some()
}

/// `2026-11-20 20:12:00.123` as `2026-11-20T20:12:00.123Z`.
fn put_zoned(out: &mut Vec<u8>, text: &[u8], nullable: bool) -> bool {
    let moment = datetime_us(text).and_then(|_| text.split_at_checked(10));
    match moment {
        Some((date, time)) => {
            out.push(b'"');
            out.extend_from_slice(date);
            out.push(b'T');
            out.extend_from_slice(time.trim_ascii_start());
            out.extend_from_slice(b"Z\"");
        }
        None if nullable => out.extend_from_slice(b"null"),
        None => out.extend_from_slice(b"\"1970-01-01T00:00:00Z\""),
    }
    moment.is_some()
}

/// MySQL's 4 bytes of SRID and WKB.
fn put_geometry(out: &mut Vec<u8>, bytes: &[u8], is_point: bool) -> bool {
    let Some((srid, wkb)) = bytes.split_first_chunk() else {
        out.extend_from_slice(b"null");
        return false;
    };
    out.push(b'{');
    if is_point {
        let coordinate = |at: usize| {
            let bytes = wkb.get(at..).and_then(<[u8]>::first_chunk);
            bytes.map_or(0.0, |bytes| f64::from_le_bytes(*bytes))
        };
        for (name, at) in [("\"x\":", 5), ("\"y\":", 13)] {
            out.extend_from_slice(name.as_bytes());
            put_plain(out, Cell::Double(coordinate(at)));
            out.push(b',');
        }
    }
    out.extend_from_slice(b"\"wkb\":");
    put_base64(out, wkb);
    out.extend_from_slice(b",\"srid\":");
    match u32::from_le_bytes(*srid) {
        0 => out.extend_from_slice(b"null"),
        srid => put_unsigned(out, srid.into()),
    }
    out.push(b'}');
    true
}
