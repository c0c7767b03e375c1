//! Values inside a document whose type JSON does not have.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::JsonError;
use crate::decode::row::{CellError, scalar};

/// Column types, as TABLE_MAP numbers them.
const TIMESTAMP: u8 = 7;
const DATE: u8 = 10;
const TIME: u8 = 11;
const DATETIME: u8 = 12;
const NEWDECIMAL: u8 = 246;

/// The server breaks base64 into lines of 76 characters.
const LINE_BYTES: usize = 57;

/// Appends a value: DECIMAL as a number, temporals as strings, all else as base64 with its type.
pub(super) fn write(field_type: u8, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    match field_type {
        NEWDECIMAL => {
            scalar::write_decimal(bytes, out).map_err(|_| JsonError::OutOfRange("DECIMAL"))
        }
        DATE => quoted(scalar::write_packed_date, bytes, "DATE", out),
        TIME => quoted(scalar::write_packed_time, bytes, "TIME", out),
        DATETIME => quoted(scalar::write_packed_datetime, bytes, "DATETIME", out),
        TIMESTAMP => quoted(scalar::write_packed_datetime, bytes, "TIMESTAMP", out),
        _ => {
            write_base64(field_type, bytes, out);
            Ok(())
        }
    }
}

fn quoted(
    write: fn([u8; 8], &mut Vec<u8>) -> Result<(), CellError>,
    bytes: &[u8],
    what: &'static str,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    let packed = bytes.try_into().map_err(|_| JsonError::OutOfRange(what))?;
    out.push(b'"');
    write(packed, out).map_err(|_| JsonError::OutOfRange(what))?;
    out.push(b'"');
    Ok(())
}

fn write_base64(field_type: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"base64:type");
    out.extend_from_slice(itoa::Buffer::new().format(field_type).as_bytes());
    out.push(b':');
    for (index, line) in bytes.chunks(LINE_BYTES).enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\\n");
        }
        let mut encoded = [0; LINE_BYTES.div_ceil(3) * 4];
        // A line always fits: it is what the array is sized for.
        let len = STANDARD.encode_slice(line, &mut encoded).unwrap_or_default();
        out.extend_from_slice(encoded.get(..len).unwrap_or_default());
    }
    out.push(b'"');
}
