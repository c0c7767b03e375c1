//! MariaDB's compressed events (`log_bin_compress`): zlib inside single query and rows events.

use std::io::Read;

use super::Fault;
use super::bytes::Bytes;
use super::event::Event;
use super::format_description::Format;
use super::query;
use crate::binlog::{Header, kind};

/// The type of the plain event that a compressed one stands for.
fn plain(event_type: u8) -> Option<u8> {
    Some(match event_type {
        kind::QUERY_COMPRESSED => kind::QUERY,
        kind::WRITE_ROWS_COMPRESSED_V1 => kind::WRITE_ROWS_V1,
        kind::UPDATE_ROWS_COMPRESSED_V1 => kind::UPDATE_ROWS_V1,
        kind::DELETE_ROWS_COMPRESSED_V1 => kind::DELETE_ROWS_V1,
        kind::WRITE_ROWS_COMPRESSED => kind::WRITE_ROWS,
        kind::UPDATE_ROWS_COMPRESSED => kind::UPDATE_ROWS,
        kind::DELETE_ROWS_COMPRESSED => kind::DELETE_ROWS,
        _ => return None,
    })
}

/// Whether this is one of them.
pub(super) fn is_compressed(event_type: u8) -> bool {
    plain(event_type).is_some()
}

/// Writes the plain event that `event` stands for, of at most `bytes_max`, into `into`; returns its
/// header.
pub(super) fn expand(
    event: &Event<'_>,
    format: &Format,
    bytes_max: u64,
    into: &mut Vec<u8>,
) -> Result<Header, Fault> {
    let event_type =
        plain(event.header.event_type).ok_or(Fault::UnknownEvent(event.header.event_type))?;
    let mut header = Header { event_type, ..event.header };
    let body = event.body();
    let front = if event_type == kind::QUERY {
        query::parse(body, format)?.statement.start
    } else {
        rows_front(body, event_type, format)?
    };
    let (front, packed) = body.split_at_checked(front).unwrap_or((body, &[]));
    into.clear();
    into.extend_from_slice(event.bytes.get(..Header::LENGTH).unwrap_or_default());
    if let Some(slot) = into.get_mut(4) {
        *slot = event_type;
    }
    into.extend_from_slice(front);
    inflate(packed, bytes_max, into)?;
    let length = u32::try_from(into.len());
    header.length = length.map_err(|_| Fault::Payload("an event of more than 4 GiB".into()))?;
    if let Some(slot) = into.get_mut(9..13) {
        slot.copy_from_slice(&header.length.to_le_bytes());
    }
    Ok(header)
}

/// Length of what is not compressed: everything up to the rows.
fn rows_front(body: &[u8], event_type: u8, format: &Format) -> Result<usize, Fault> {
    let mut bytes = Bytes::new(body);
    bytes.take(if format.short_table_ids { 4 } else { 6 }, "table id")?;
    bytes.u16("rows flags")?;
    if matches!(event_type, kind::WRITE_ROWS | kind::UPDATE_ROWS | kind::DELETE_ROWS) {
        let length = usize::from(bytes.u16("length of the extra data")?);
        bytes.take(length.saturating_sub(2), "extra data")?;
    }
    let width = bytes.length_encoded("number of columns")?;
    let bitmaps =
        if matches!(event_type, kind::UPDATE_ROWS | kind::UPDATE_ROWS_V1) { 2 } else { 1 };
    for _ in 0..bitmaps {
        bytes.take_long(width.div_ceil(8), "bitmap of columns")?;
    }
    Ok(bytes.at())
}

/// Appends what `packed` holds: a byte with the algorithm and the number of length bytes, the length
/// (big-endian), a zlib stream (`binlog_buf_compress` in MariaDB's sources).
fn inflate(packed: &[u8], bytes_max: u64, into: &mut Vec<u8>) -> Result<(), Fault> {
    let mut bytes = Bytes::new(packed);
    let front = bytes.u8("compression header")?;
    let (algorithm, length_bytes) = (front >> 4 & 7, usize::from(front & 7));
    if front & 0x80 == 0 || algorithm != 0 || !(1..=4).contains(&length_bytes) {
        return Err(Fault::Unexpected {
            what: "compression header",
            found: u64::from(front),
            expected: "0x81 to 0x84 (zlib, 1 to 4 bytes of length)",
        });
    }
    let length = bytes.take(length_bytes, "uncompressed length")?;
    let length = length.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let before = into.len();
    let whole = length.saturating_add(before as u64);
    if whole > bytes_max {
        return Err(Fault::TooLarge { bytes: whole, limit: bytes_max });
    }
    let mut zlib = flate2::bufread::ZlibDecoder::new(bytes.rest());
    // One byte more than it should have shows that it has too many.
    zlib.by_ref()
        .take(length + 1)
        .read_to_end(into)
        .map_err(|error| Fault::Payload(format!("zlib: {error}")))?;
    let found = (into.len() - before) as u64;
    if found != length {
        return Err(Fault::Payload(format!("{found} bytes inflated, expected {length}")));
    }
    let trailing = zlib.into_inner().len();
    if trailing > 0 {
        return Err(Fault::Payload(format!("{trailing} bytes behind its end, expected none")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::decode::EVENT_BYTES_MAX as MAX;

    #[test]
    fn a_wrong_length_or_a_damaged_stream_is_an_error() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(&[7; 300]).expect("zlib");
        let stream = zlib.finish().expect("zlib");
        let packed = |length: u16| [&[0x82][..], &length.to_be_bytes(), &stream].concat();
        let mut into = vec![1];
        inflate(&packed(300), MAX, &mut into).expect("whole");
        assert_eq!(into.len(), 301);
        assert!(inflate(&packed(299), MAX, &mut Vec::new()).is_err());
        assert!(inflate(&packed(301), MAX, &mut Vec::new()).is_err());
        assert!(inflate(&[&packed(300)[..], b"x"].concat(), MAX, &mut Vec::new()).is_err());
        for cut in 0..packed(300).len() {
            assert!(inflate(&packed(300)[..cut], MAX, &mut Vec::new()).is_err(), "cut at {cut}");
        }
        assert!(inflate(&[0x92, 0, 0], MAX, &mut Vec::new()).is_err(), "unknown algorithm");
        let large = [&[0x84][..], &0x5000_0000_u32.to_be_bytes(), &stream].concat();
        let error = inflate(&large, MAX, &mut Vec::new()).expect_err("larger than any event");
        assert!(matches!(error, Fault::TooLarge { bytes: 0x5000_0000, .. }), "{error}");
    }
}
