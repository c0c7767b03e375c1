//! Compressed transactions.

use super::events::feed;
use super::log::{self, kind};

/// A payload event's body: size, compression, uncompressed size, and the payload.
pub(crate) fn body(payload: &[u8], compression: u8, uncompressed: usize) -> Vec<u8> {
    let mut body = Vec::new();
    let mut field = |number: u8, value: &[u8]| {
        body.push(number);
        body.push(u8::try_from(value.len()).expect("short"));
        body.extend_from_slice(value);
    };
    field(1, &packed(payload.len()));
    field(2, &packed(usize::from(compression)));
    field(3, &packed(uncompressed));
    body.push(0);
    body.extend_from_slice(payload);
    body
}

/// A length-encoded integer.
fn packed(value: usize) -> Vec<u8> {
    let bytes = (value as u64).to_le_bytes();
    match value {
        0..=250 => vec![bytes[0]],
        251..=0xffff => [&[252], &bytes[..2]].concat(),
        _ => [&[254], &bytes[..]].concat(),
    }
}

/// A payload event, whose body is by the first byte: the input as it is; the input as zstd's bytes,
/// with a header that fits and a size out of the next three bytes; the input as what was compressed,
/// damaged no further.
pub fn payload(input: &[u8]) -> u64 {
    let Some((choice, rest)) = input.split_first() else { return 0 };
    let body = match choice % 4 {
        0 => rest.to_vec(),
        1 => {
            let Some((&[a, b, c], zipped)) = rest.split_first_chunk() else { return 0 };
            body(zipped, 0, usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16)
        }
        2 => body(rest, 255, rest.len()),
        _ => match zstd::encode_all(rest, 1) {
            Ok(zipped) => body(&zipped, 0, rest.len()),
            Err(error) => panic!("zstd compresses anything: {error}"),
        },
    };
    let [gtid, _] = log::beginning();
    let events =
        [log::format_description(log::MYSQL), gtid, log::event(kind::TRANSACTION_PAYLOAD, &body)];
    feed(events)
}
