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
        return Err(Fault::Payload(format!("{trailing} bytes after its end, expected none")));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "the sizes are small")]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn format(short_table_ids: bool) -> Format {
        Format {
            checksum: false,
            maria: true,
            identifiers: crate::decode::savepoint::Collation::GeneralCi,
            short_table_ids,
            query_header: 13,
        }
    }

    fn whole(event_type: u8, body: &[u8]) -> (Header, Vec<u8>) {
        let bytes = crate::decode::tests::event(event_type, 0, body);
        (Header::parse(&bytes).expect("a header"), bytes)
    }

    proptest! {
        #[test]
        fn each_kind_comes_out_as_the_plain_event_that_it_stands_for(
            (packed_type, plain_type) in prop::sample::select(vec![
                (kind::QUERY_COMPRESSED, kind::QUERY),
                (kind::WRITE_ROWS_COMPRESSED_V1, kind::WRITE_ROWS_V1),
                (kind::UPDATE_ROWS_COMPRESSED_V1, kind::UPDATE_ROWS_V1),
                (kind::DELETE_ROWS_COMPRESSED_V1, kind::DELETE_ROWS_V1),
                (kind::WRITE_ROWS_COMPRESSED, kind::WRITE_ROWS),
                (kind::UPDATE_ROWS_COMPRESSED, kind::UPDATE_ROWS),
                (kind::DELETE_ROWS_COMPRESSED, kind::DELETE_ROWS),
            ]),
            width in prop_oneof![1..20_u8, 240..=250_u8],
            extra in prop::collection::vec(any::<u8>(), 0..5),
            content in prop::collection::vec(any::<u8>(), 0..200),
            short: bool,
            spare in 0..3_usize,
            before in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let mut front = Vec::new();
            if plain_type == kind::QUERY {
                front.extend([7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, b'd', 0]);
            } else {
                front.extend(vec![1; if short { 4 } else { 6 }]);
                front.extend([0, 0]);
                if [kind::WRITE_ROWS, kind::UPDATE_ROWS, kind::DELETE_ROWS].contains(&plain_type) {
                    front.extend((extra.len() as u16 + 2).to_le_bytes());
                    front.extend(&extra);
                }
                front.push(width);
                let is_update = [kind::UPDATE_ROWS, kind::UPDATE_ROWS_V1].contains(&plain_type);
                front.extend(vec![0xff; usize::from(width.div_ceil(8)) * if is_update { 2 } else { 1 }]);
            }
            let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            zlib.write_all(&content).expect("in memory");
            let length = (content.len() as u32).to_be_bytes();
            let length = &length[3 - spare.min(3)..];
            let packed = [&[0x80 | length.len() as u8][..], length, &zlib.finish().expect("in memory")];
            let (header, bytes) = whole(packed_type, &[front.clone(), packed.concat()].concat());
            let event = Event { header, bytes: &bytes };
            let (_, expected) = whole(plain_type, &[front, content].concat());
            // Whatever was there before
            let mut into = before;
            prop_assert!(is_compressed(packed_type) && !is_compressed(plain_type));
            let header = expand(&event, &format(short), MAX, &mut into).expect("whole");
            prop_assert_eq!(header.event_type, plain_type);
            prop_assert_eq!(header.length as usize, expected.len());
            prop_assert_eq!(&into, &expected);
            // As large as may be, and one byte more
            let limit = expected.len() as u64;
            prop_assert!(expand(&event, &format(short), limit, &mut into).is_ok());
            prop_assert!(expand(&event, &format(short), limit - 1, &mut into).is_err());
        }
    }
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
        let plain = [&[0x02][..], &packed(300)[1..]].concat();
        assert!(inflate(&plain, MAX, &mut Vec::new()).is_err(), "the highest bit is always set");
        let large = [&[0x84][..], &0x5000_0000_u32.to_be_bytes(), &stream].concat();
        let error = inflate(&large, MAX, &mut Vec::new()).expect_err("larger than any event");
        assert!(matches!(error, Fault::TooLarge { bytes: 0x5000_0000, .. }), "{error}");
    }
}
