//! TRANSACTION_PAYLOAD: a transaction's events in compressed form, inflated one event at a time.

use std::ops::Range;

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::Fault;
use super::bytes::Bytes;
use crate::binlog::Header;

/// Fields in front of the payload (`Transaction_payload_event` in the server's sources).
mod field {
    pub(super) const END: u64 = 0;
    pub(super) const SIZE: u64 = 1;
    pub(super) const COMPRESSION: u64 = 2;
    pub(super) const UNCOMPRESSED_SIZE: u64 = 3;
}

/// zstd.
const ZSTD: u64 = 0;
/// Not compressed.
const NONE: u64 = 255;

/// Most that zstd makes of a byte: a block of 128 KiB, of one byte that is repeated, takes four.
const ZSTD_RATIO_MAX: u64 = (128 << 10) / 4;

/// What a payload event says of its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payload {
    compression: u64,
    uncompressed_bytes: u64,
    /// The payload, as a range of the body.
    pub(super) range: Range<usize>,
}

/// Reads a payload event's body.
pub(super) fn parse(body: &[u8]) -> Result<Payload, Fault> {
    let mut bytes = Bytes::new(body);
    let (mut size, mut compression, mut uncompressed) = (None, None, None);
    loop {
        let field = bytes.length_encoded("payload field")?;
        if field == field::END {
            break;
        }
        let length = bytes.length_encoded("length of a payload field")?;
        let mut value = Bytes::new(bytes.take_long(length, "payload field")?);
        match field {
            field::SIZE => size = Some(value.length_encoded("payload size")?),
            field::COMPRESSION => compression = Some(value.length_encoded("compression")?),
            field::UNCOMPRESSED_SIZE => {
                uncompressed = Some(value.length_encoded("uncompressed size")?);
            }
            _ => {}
        }
    }
    let compression = compression.unwrap_or(NONE);
    if compression != ZSTD && compression != NONE {
        return Err(Fault::Unexpected {
            what: "compression",
            found: compression,
            expected: "0 (zstd) or 255 (none)",
        });
    }
    let left = bytes.left() as u64;
    let size = size.unwrap_or(left);
    if size != left {
        return Err(Fault::Payload(format!("it has {left} bytes, expected {size}")));
    }
    let start = bytes.at();
    let uncompressed_bytes = uncompressed.unwrap_or(size);
    let most = if compression == ZSTD { size.saturating_mul(ZSTD_RATIO_MAX) } else { size };
    if uncompressed_bytes > most {
        return Err(Fault::Payload(format!(
            "{size} bytes that say they are {uncompressed_bytes}, expected at most {most}"
        )));
    }
    Ok(Payload { compression, uncompressed_bytes, range: start..body.len() })
}

/// Inflates payloads. Its memory is that of zstd's window and of the largest event, whatever the
/// transaction's size.
#[derive(Default)]
pub(super) struct Inflater {
    zstd: Option<Decoder<'static>>,
    compression: u64,
    /// Bytes of the payload that were taken in.
    taken: usize,
    /// Bytes that were given out.
    given: u64,
    /// Bytes that are to be given out.
    total: u64,
    /// Whether zstd's frame has ended.
    ended: bool,
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater").field("given", &self.given).finish_non_exhaustive()
    }
}

/// How far a buffer grows before there is anything to put there.
const GROWTH_BYTES_MAX: usize = 1 << 20;

impl Inflater {
    /// Takes up a payload.
    pub(super) fn start(&mut self, payload: &Payload) -> Result<(), Fault> {
        match &mut self.zstd {
            Some(zstd) => zstd.reinit().map_err(|error| Fault::Payload(error.to_string()))?,
            None => {
                let zstd = Decoder::new().map_err(|error| Fault::Payload(error.to_string()))?;
                self.zstd = Some(zstd);
            }
        }
        self.compression = payload.compression;
        self.taken = 0;
        self.given = 0;
        self.total = payload.uncompressed_bytes;
        self.ended = false;
        Ok(())
    }

    /// Reads the next event, of at most `bytes_max`, into `event`; `None` behind the last, once the payload was seen to be
    /// whole.
    pub(super) fn next(
        &mut self,
        payload: &[u8],
        bytes_max: u64,
        event: &mut Vec<u8>,
    ) -> Result<Option<Header>, Fault> {
        event.clear();
        if self.given == self.total {
            self.finish(payload)?;
            return Ok(None);
        }
        self.fill(payload, event, Header::LENGTH)?;
        let header = super::event::header(event)?;
        let length = header.length as usize;
        if length < Header::LENGTH {
            return Err(Fault::Payload(format!(
                "an event says that it has {length} bytes, expected at least {}",
                Header::LENGTH
            )));
        }
        if u64::from(header.length) > bytes_max {
            return Err(Fault::TooLarge { bytes: u64::from(header.length), limit: bytes_max });
        }
        self.fill(payload, event, length)?;
        Ok(Some(header))
    }

    /// Checks that nothing is left, once the transaction has ended.
    pub(super) fn finish(&mut self, payload: &[u8]) -> Result<(), Fault> {
        if self.given != self.total {
            let (given, total) = (self.given, self.total);
            return Err(Fault::Payload(format!(
                "the transaction ends after {given} bytes, expected {total}"
            )));
        }
        if self.compression == ZSTD && !self.ended {
            // The last bytes may be out while the frame's end is not yet in.
            let mut more = [0; 1];
            if self.inflate(payload, &mut more)? > 0 {
                return Err(Fault::Payload(format!("more than the {} bytes it says", self.total)));
            }
            if !self.ended {
                return Err(Fault::Payload("cut off before zstd's end".into()));
            }
        }
        if self.taken != payload.len() {
            let trailing = payload.len().saturating_sub(self.taken);
            return Err(Fault::Payload(format!("{trailing} bytes after its end, expected none")));
        }
        Ok(())
    }

    /// Grows `event` to `length` bytes.
    fn fill(&mut self, payload: &[u8], event: &mut Vec<u8>, length: usize) -> Result<(), Fault> {
        let missing = length.saturating_sub(event.len()) as u64;
        let left = self.total.saturating_sub(self.given);
        if missing > left {
            return Err(Fault::Payload(format!("an event needs {missing} bytes, {left} are left")));
        }
        while event.len() < length {
            let from = event.len();
            let step = (length - from).min(GROWTH_BYTES_MAX);
            event.resize(from + step, 0);
            let given = self.inflate(payload, event.get_mut(from..).unwrap_or_default())?;
            event.truncate(from + given);
            if given == 0 {
                return Err(Fault::Payload(format!(
                    "ends after {} bytes, expected {}",
                    self.given, self.total
                )));
            }
        }
        Ok(())
    }

    /// Fills as much of `into` as there is; fewer bytes only at the end.
    fn inflate(&mut self, payload: &[u8], into: &mut [u8]) -> Result<usize, Fault> {
        let rest = payload.get(self.taken..).unwrap_or_default();
        let mut given = 0;
        if self.compression == NONE {
            given = rest.len().min(into.len());
            for (slot, byte) in into.iter_mut().zip(rest) {
                *slot = *byte;
            }
            self.taken += given;
        } else if let Some(zstd) = &mut self.zstd {
            let mut input = InBuffer::around(rest);
            while given < into.len() && !self.ended {
                let mut output = OutBuffer::around(into.get_mut(given..).unwrap_or_default());
                let before = input.pos();
                let hint = zstd
                    .run(&mut input, &mut output)
                    .map_err(|error| Fault::Payload(format!("zstd: {error}")))?;
                let wrote = output.pos();
                given += wrote;
                self.ended = hint == 0;
                if wrote == 0 && input.pos() == before {
                    break;
                }
            }
            self.taken += input.pos();
        }
        self.given = self.given.saturating_add(given as u64);
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::BYTES_MAX;

    fn event(body: usize) -> Vec<u8> {
        let length = u32::try_from(Header::LENGTH + body).expect("short");
        let mut event = vec![7; Header::LENGTH + body];
        event[9..13].copy_from_slice(&length.to_le_bytes());
        event
    }

    fn read(payload: &[u8], total: u64) -> Result<Vec<Vec<u8>>, Fault> {
        let front =
            Payload { compression: ZSTD, uncompressed_bytes: total, range: 0..payload.len() };
        let mut inflater = Inflater::default();
        inflater.start(&front)?;
        let (mut found, mut event) = (Vec::new(), Vec::new());
        while inflater.next(payload, BYTES_MAX, &mut event)?.is_some() {
            found.push(event.clone());
        }
        Ok(found)
    }

    #[test]
    fn events_come_out_one_by_one_and_every_damage_is_an_error() {
        let events = vec![event(0), event(100), event(3_000_000), event(1)];
        let whole = events.concat();
        let total = whole.len() as u64;
        let zipped = zstd::encode_all(whole.as_slice(), 3).expect("zstd");
        assert_eq!(read(&zipped, total).expect("events"), events);
        assert!(read(&zipped, total - 1).is_err(), "more than it says");
        assert!(read(&zipped, total + 1).is_err(), "less than it says");
        assert!(read(&[&zipped[..], b"x"].concat(), total).is_err(), "trailing bytes");
        for cut in 0..zipped.len() {
            assert!(read(&zipped[..cut], total).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn the_end_of_zstds_frame_may_lie_behind_the_last_byte_and_must_be_there() {
        use std::io::Write;
        let (first, second) = (event(10), event(20));
        let whole = [&first[..], &second].concat();
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("zstd");
        encoder.write_all(&whole).expect("memory");
        encoder.flush().expect("memory");
        let flushed = encoder.get_ref().clone();
        let zipped = encoder.finish().expect("zstd");
        assert!(zipped.len() > flushed.len());
        let total = whole.len() as u64;
        assert_eq!(read(&zipped, total).expect("events"), [first.clone(), second]);
        let error = read(&flushed, total).expect_err("cut off");
        assert!(error.to_string().contains("cut off before zstd's end"), "{error}");
        let error = read(&zipped, first.len() as u64).expect_err("one event too many");
        assert!(error.to_string().contains("more than the 29 bytes it says"), "{error}");
    }

    #[test]
    fn an_event_larger_than_any_server_makes_is_refused_before_it_is_inflated() {
        let mut event = event(10);
        for (length, is_refused) in [(BYTES_MAX + 1, true), (BYTES_MAX, false)] {
            let bytes = u32::try_from(length).expect("32 bits");
            event[9..13].copy_from_slice(&bytes.to_le_bytes());
            let zipped = zstd::encode_all(event.as_slice(), 3).expect("zstd");
            let error = read(&zipped, length).expect_err("it is cut off, too");
            let is_too_large = matches!(error, Fault::TooLarge { bytes, .. } if bytes == length);
            assert_eq!(is_too_large, is_refused, "{error}");
        }
    }

    #[test]
    fn more_than_zstd_can_hold_is_refused_at_once() {
        let fields = |compression: u8, bytes: u64, payload: &[u8]| {
            let size = u8::try_from(payload.len()).expect("short");
            let mut body = vec![1, 1, size, 2, 1, compression, 3, 9, 254];
            body.extend(bytes.to_le_bytes());
            body.push(0);
            body.extend(payload);
            body
        };
        assert!(parse(&fields(0, 10 << 15, &[0; 10])).is_ok());
        let error = parse(&fields(0, (10 << 15) + 1, &[0; 10])).expect_err("impossible");
        assert!(error.to_string().contains("10 bytes that say they are 327681"), "{error}");
    }

    #[test]
    fn a_length_below_a_header_or_beyond_the_payload_is_an_error() {
        for length in [0_u32, 18, 1 << 30] {
            let mut event = event(10);
            event[9..13].copy_from_slice(&length.to_le_bytes());
            let zipped = zstd::encode_all(event.as_slice(), 3).expect("zstd");
            assert!(read(&zipped, event.len() as u64).is_err(), "{length}");
        }
    }
}
