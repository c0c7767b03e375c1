//! Values to text, as the server prints them.

use super::view::{Container, Value};
use super::{Budget, DEPTH_MAX, JsonError, TEXT_BYTES_MAX, number, opaque};

/// Appends `value`, which lies `depth` levels deep.
pub(super) fn write(
    value: &Value<'_>,
    budget: &mut Budget,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    budget.spend(1)?;
    if out.len() > TEXT_BYTES_MAX {
        return Err(JsonError::TooLong);
    }
    match *value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        Value::UInt(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        Value::Double(value) => number::write_double(value, out)?,
        Value::String(text) => write_string(text, budget, out)?,
        Value::Opaque(field_type, bytes) => {
            budget.spend(bytes.len())?;
            opaque::write(field_type, bytes, out)?;
        }
        Value::Object(container) => write_container(&container, true, budget, depth, out)?,
        Value::Array(container) => write_container(&container, false, budget, depth, out)?,
    }
    Ok(())
}

fn write_container(
    container: &Container<'_>,
    keyed: bool,
    budget: &mut Budget,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    if depth >= DEPTH_MAX {
        return Err(JsonError::TooDeep);
    }
    out.push(if keyed { b'{' } else { b'[' });
    for index in 0..container.len() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        if keyed {
            write_string(container.key(index)?, budget, out)?;
            out.extend_from_slice(b": ");
        }
        write(&container.value(index)?, budget, depth + 1, out)?;
    }
    out.push(if keyed { b'}' } else { b']' });
    Ok(())
}

/// Appends `text` in quotes.
pub(super) fn write_string(
    text: &[u8],
    budget: &mut Budget,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    budget.spend(text.len())?;
    if std::str::from_utf8(text).is_err() {
        return Err(JsonError::NotUtf8);
    }
    out.push(b'"');
    for run in text.split_inclusive(|byte| is_escaped(*byte)) {
        match run.split_last() {
            Some((last, plain)) if is_escaped(*last) => {
                if out.len() > TEXT_BYTES_MAX {
                    return Err(JsonError::TooLong);
                }
                out.extend_from_slice(plain);
                write_escape(*last, out);
            }
            _ => out.extend_from_slice(run),
        }
    }
    out.push(b'"');
    Ok(())
}

fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    let letter = match byte {
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        0..0x20 => {
            let low = byte & 15;
            let hex = if low < 10 { b'0' + low } else { b'a' + low - 10 };
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), hex]);
            return;
        }
        _ => byte,
    };
    out.extend_from_slice(&[b'\\', letter]);
}
