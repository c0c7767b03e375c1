//! MariaDB's COMPRESSED columns: a header byte, the length, a zlib stream.
//!
//! Source: `compress_zlib` and `Field_longstr::uncompress` in MariaDB's `sql/field.cc`. The header's upper
//! four bits are the method (0 stored, 8 zlib), bit 3 says that the stream has no zlib wrapper, the
//! lower three are the number of bytes of the length, which is big-endian.

use flate2::{Decompress, FlushDecompress, Status};

use super::text::TextPlan;
use super::{CellError, blob, cursor};
use crate::change::{Area, BytesKind, Slot};
use crate::decode::charset::{Decoded, is_utf8};

const METHOD_STORED: u8 = 0;
const METHOD_ZLIB: u8 = 8;
const CHUNK_BYTES: usize = 64 * 1024;
/// Most bytes of all compressed values of a row: what `max_allowed_packet` can be.
const ROW_BYTES_MAX: u64 = 1 << 30;

pub(super) fn read(
    len_bytes: u8,
    plan: TextPlan,
    event: &[u8],
    at: &mut usize,
    scratch: &mut Vec<u8>,
) -> Result<Slot, CellError> {
    let start = scratch.len();
    let left = ROW_BYTES_MAX.saturating_sub(start as u64);
    let unpacked = unpack(blob::read_bytes(len_bytes, event, at)?, left)?;
    let kind = match plan {
        TextPlan::Bytes => BytesKind::Bytes,
        TextPlan::Utf8 | TextPlan::Untold if is_utf8(&unpacked) => BytesKind::Text,
        TextPlan::Utf8 | TextPlan::Untold | TextPlan::Unknown => BytesKind::Malformed,
        TextPlan::Charset(charset) => match charset.decode(&unpacked, scratch) {
            Decoded::Scratch => {
                return cursor::span(BytesKind::Text, Area::Scratch, start, scratch.len());
            }
            Decoded::Borrowed => BytesKind::Text,
            Decoded::Malformed => BytesKind::Malformed,
        },
    };
    scratch.extend_from_slice(&unpacked);
    cursor::span(kind, Area::Scratch, start, scratch.len())
}

/// At most `limit` bytes.
fn unpack(packed: &[u8], limit: u64) -> Result<Vec<u8>, CellError> {
    let Some((header, rest)) = packed.split_first() else { return Ok(Vec::new()) };
    match header >> 4 {
        METHOD_STORED => Ok(rest.to_vec()),
        METHOD_ZLIB => {
            let mut at = 0;
            let len = cursor::uint_be(
                rest,
                &mut at,
                usize::from(header & 7),
                "length of a compressed value",
            )?;
            if len > limit {
                return Err(CellError::OutOfRange {
                    what: "length of a compressed value",
                    expected: "1 GiB for all of a row, the most that max_allowed_packet can be",
                });
            }
            inflate(rest.get(at..).unwrap_or_default(), len, header & 8 == 0)
        }
        other => Err(CellError::Unexpected {
            what: "compression method",
            found: other.into(),
            expected: "0 or 8",
        }),
    }
}

/// Inflates to exactly `len` bytes. Space grows with what arrives, not with what was promised.
fn inflate(mut stream: &[u8], len: u64, wrapped: bool) -> Result<Vec<u8>, CellError> {
    let damaged = || CellError::OutOfRange { what: "compressed value", expected: "a zlib stream" };
    let mut inflater = Decompress::new(wrapped);
    let mut out = Vec::new();
    loop {
        let before = (inflater.total_in(), inflater.total_out());
        out.reserve(CHUNK_BYTES);
        let status = inflater
            .decompress_vec(stream, &mut out, FlushDecompress::None)
            .map_err(|_| damaged())?;
        let taken = usize::try_from(inflater.total_in() - before.0).map_err(|_| damaged())?;
        stream = stream.get(taken..).ok_or_else(damaged)?;
        if inflater.total_out() > len {
            return Err(damaged());
        }
        match status {
            Status::StreamEnd if inflater.total_out() == len => return Ok(out),
            Status::StreamEnd => return Err(damaged()),
            Status::Ok | Status::BufError
                if (inflater.total_in(), inflater.total_out()) == before =>
            {
                return Err(damaged());
            }
            Status::Ok | Status::BufError => {}
        }
    }
}
