//! Framing of single events: their length, and their CRC32. Pure.
//!
//! An event is a header of 19 bytes (time, type, server id, length, next position, flags), a body,
//! and with `binlog_checksum=CRC32` four bytes of CRC32 over all that is before them. Which of the
//! two a file uses stands in its format description event (MySQL Internals Manual, "Binlog Event
//! Header", "FORMAT_DESCRIPTION_EVENT").

use super::sum::Sum;

/// Length of an event's header.
pub const HEADER_BYTES: usize = 19;
/// Length of the CRC32 behind an event.
pub const CHECKSUM_BYTES: usize = 4;
/// Type of the format description event.
pub const FORMAT_DESCRIPTION: u8 = 15;
/// Type of the event that names the next file.
pub const ROTATE: u8 = 4;

/// An event whose bytes are not as they were written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Not even a header.
    #[error("an event of {found} bytes, expected at least {HEADER_BYTES}")]
    Short {
        /// Bytes there.
        found: usize,
    },
    /// The header's length is not that of the bytes there.
    #[error("an event of {found} bytes (type {event_type}) says that it has {stated}")]
    Length {
        /// The event's type.
        event_type: u8,
        /// Bytes there.
        found: usize,
        /// Bytes according to the header.
        stated: u32,
    },
    /// The CRC32 does not fit the bytes.
    #[error(
        "checksum mismatch in an event of {bytes} bytes (type {event_type}): found {found:08x}, \
         computed {computed:08x}"
    )]
    Checksum {
        /// The event's type.
        event_type: u8,
        /// The event's length.
        bytes: usize,
        /// The stored CRC32.
        found: u32,
        /// The CRC32 of the bytes.
        computed: u32,
    },
    /// The file was written by a server that is too old, or its description is damaged.
    #[error("written by version {version:?}, expected MySQL 5.6.1, MariaDB 5.3 or newer")]
    Writer {
        /// As the description has it.
        version: String,
    },
    /// The format description names an algorithm that we do not know.
    #[error("checksum algorithm {found}, expected 0 (none) or 1 (CRC32)")]
    Algorithm {
        /// Its number.
        found: u8,
    },
}

/// What stands behind each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// No format description was seen yet.
    #[default]
    Unknown,
    /// Nothing.
    None,
    /// A CRC32.
    Crc32,
}

/// Checks events one after the other, and learns the algorithm from those that describe it.
#[derive(Debug, Clone, Default)]
pub struct Checksum {
    algorithm: Algorithm,
    skip: bool,
    sum: Sum,
}

impl Checksum {
    /// Knows nothing yet: the first event is a format description or an artificial rotate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Learns the algorithm, but verifies only lengths.
    pub fn without_verification() -> Self {
        Self { skip: true, ..Self::default() }
    }

    /// What stands behind each event now.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Checks one event's length and checksum; its length without the checksum.
    pub fn verify(&mut self, event: &[u8]) -> Result<usize, EventError> {
        let event_type = check_length(event)?;
        let bare = event.len().saturating_sub(CHECKSUM_BYTES);
        if event_type == FORMAT_DESCRIPTION {
            self.algorithm = described_algorithm(event)?;
            // This event is summed up also where the others are not. A sender that changed it for a
            // stream without checksums leaves the old sum.
            if self.algorithm == Algorithm::Crc32 || !is_artificial(event) {
                self.compare(event, event_type)?;
            }
            return Ok(bare);
        }
        match self.algorithm {
            Algorithm::Crc32 => self.compare(event, event_type).map(|()| bare),
            // The artificial rotate before the first format description: MySQL sends it without,
            // MariaDB with a checksum.
            Algorithm::Unknown if event_type == ROTATE && self.sum.of(event) == stored(event) => {
                Ok(bare)
            }
            Algorithm::None | Algorithm::Unknown => Ok(event.len()),
        }
    }

    fn compare(&self, event: &[u8], event_type: u8) -> Result<(), EventError> {
        if self.skip {
            return Ok(());
        }
        let (found, computed) = (stored(event), self.sum.of(event));
        if found == computed {
            Ok(())
        } else {
            Err(EventError::Checksum { event_type, bytes: event.len(), found, computed })
        }
    }
}

/// The event's type, once its length is what its header says.
pub fn check_length(event: &[u8]) -> Result<u8, EventError> {
    let Some(&[_, _, _, _, event_type, _, _, _, _, a, b, c, d]) = event.first_chunk::<13>() else {
        return Err(EventError::Short { found: event.len() });
    };
    let stated = u32::from_le_bytes([a, b, c, d]);
    if event.len() < HEADER_BYTES {
        return Err(EventError::Short { found: event.len() });
    }
    if u32::try_from(event.len()) != Ok(stated) {
        return Err(EventError::Length { event_type, found: event.len(), stated });
    }
    Ok(event_type)
}

/// The event's header field `log_pos`: where the next event starts, 32 bits. 0 in artificial ones, and
/// in events that a server puts into a transaction before it knows where that will stand (MariaDB
/// 11.4 and newer, unless `binlog_legacy_event_pos` is on).
pub fn next_position(event: &[u8]) -> u32 {
    field(event, 13)
}

/// The event's header field `timestamp`: seconds since 1970 UTC.
pub fn timestamp(event: &[u8]) -> u32 {
    field(event, 0)
}

/// Whether the event is made up by the sender for this stream, and in no file: rotates at the front
/// of a file, descriptions when the stream does not start at one, heartbeats.
pub fn is_artificial(event: &[u8]) -> bool {
    const FLAG_ARTIFICIAL: u8 = 0x20;
    const HEARTBEATS: [u8; 2] = [27, 41];
    let event_type = event.get(4).copied().unwrap_or_default();
    event.get(17).is_some_and(|flags| flags & FLAG_ARTIFICIAL != 0)
        || HEARTBEATS.contains(&event_type)
        || (next_position(event) == 0 && may_be_made_up(event_type))
}

/// Whether events of this type without a `log_pos` are made up by the sender. Those of transactions
/// are not: see [`next_position`].
pub fn may_be_made_up(event_type: u8) -> bool {
    const START_ENCRYPTION: u8 = 164;
    const MADE_UP: [u8; 5] = [ROTATE, FORMAT_DESCRIPTION, 27, 41, START_ENCRYPTION];
    MADE_UP.contains(&event_type)
}

fn field(event: &[u8], at: usize) -> u32 {
    let bytes = event.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn stored(event: &[u8]) -> u32 {
    event.last_chunk::<CHECKSUM_BYTES>().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Last byte of the description, before its checksum.
fn described_algorithm(event: &[u8]) -> Result<Algorithm, EventError> {
    check_writer(event)?;
    match event.len().checked_sub(CHECKSUM_BYTES + 1).and_then(|at| event.get(at)) {
        Some(0) => Ok(Algorithm::None),
        Some(1) => Ok(Algorithm::Crc32),
        Some(other) => Err(EventError::Algorithm { found: *other }),
        None => Err(EventError::Short { found: event.len() }),
    }
}

/// Refuses writers from before checksums: MySQL 5.6.1, MariaDB 5.3. Their version stands in the
/// description. Guessing instead would let a damaged version switch checksums off.
fn check_writer(event: &[u8]) -> Result<(), EventError> {
    const VERSION_AT: usize = HEADER_BYTES + 2;
    const VERSION_BYTES: usize = 50;
    let text = event.get(VERSION_AT..VERSION_AT + VERSION_BYTES).unwrap_or_default();
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let text = String::from_utf8_lossy(text.get(..end).unwrap_or_default());
    let first = if text.to_ascii_lowercase().contains("mariadb") { [5, 3, 0] } else { [5, 6, 1] };
    if version_numbers(&text) >= first {
        Ok(())
    } else {
        Err(EventError::Writer { version: text.into_owned() })
    }
}

/// The numbers in front of a version, 0 where there is none.
pub(super) fn version_numbers(text: &str) -> [u32; 3] {
    let mut numbers = [0; 3];
    for (slot, part) in numbers.iter_mut().zip(text.split('.')) {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        *slot = part.get(..digits).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    }
    numbers
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::{
        Algorithm, CHECKSUM_BYTES, Checksum, EventError, FORMAT_DESCRIPTION, HEADER_BYTES, ROTATE,
        check_length, is_artificial, next_position, timestamp,
    };

    /// An event with the given body, and a checksum if asked for.
    pub(in crate::source) fn event(event_type: u8, body: &[u8], flags: u8, sum: bool) -> Vec<u8> {
        let length = HEADER_BYTES + body.len() + if sum { CHECKSUM_BYTES } else { 0 };
        let mut bytes = vec![0, 0, 0, 0x60, event_type, 1, 0, 0, 0];
        bytes.extend_from_slice(&u32::try_from(length).expect("small").to_le_bytes());
        bytes.extend_from_slice(&[200, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(body);
        if sum {
            let crc = crc32fast::hash(&bytes);
            bytes.extend_from_slice(&crc.to_le_bytes());
        }
        bytes[17] |= flags;
        bytes
    }

    /// A format description of `version`, with the given algorithm byte.
    pub(in crate::source) fn description(version: &str, algorithm: u8, flags: u8) -> Vec<u8> {
        let mut body = vec![4, 0];
        body.extend_from_slice(version.as_bytes());
        body.resize(52, 0);
        body.extend_from_slice(&[0, 0, 0, 0, 19]);
        body.extend_from_slice(&[13; 40]);
        body.push(algorithm);
        event(FORMAT_DESCRIPTION, &body, flags, true)
    }

    #[test]
    fn every_event_behind_a_description_with_checksums_is_verified() {
        let mut checksum = Checksum::new();
        let described = description("9.7.4", 1, 0);
        assert_eq!(checksum.verify(&described), Ok(described.len() - 4));
        let good = event(30, b"some rows", 0, true);
        assert_eq!(checksum.verify(&good), Ok(good.len() - 4));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(checksum.verify(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_in_use_flag_is_not_part_of_the_descriptions_checksum() {
        assert!(Checksum::new().verify(&description("8.0.31", 1, 1)).is_ok());
    }

    #[test]
    fn events_of_a_transaction_without_a_position_are_not_made_up() {
        for (event_type, made_up) in [(ROTATE, true), (FORMAT_DESCRIPTION, true), (27, true)]
            .into_iter()
            .chain([(19, false), (23, false), (30, false), (16, false), (160, false)])
        {
            let mut bytes = event(event_type, b"body", 0, true);
            bytes[13..17].copy_from_slice(&[0; 4]);
            assert_eq!(is_artificial(&bytes), made_up, "type {event_type}");
        }
    }

    #[test]
    fn without_checksums_nothing_is_cut_off() {
        let mut checksum = Checksum::new();
        let described = description("5.6.24", 0, 0);
        assert_eq!(checksum.verify(&described), Ok(described.len() - 4));
        let plain = event(30, b"some rows", 0, false);
        assert_eq!(checksum.verify(&plain), Ok(plain.len()));
        assert_eq!(checksum.algorithm(), Algorithm::None);
    }

    #[test]
    fn a_writer_from_before_checksums_is_refused() {
        for (version, known) in [
            ("5.5.62-log", false),
            ("5.6.0", false),
            ("5.2.14-MariaDB", false),
            ("5.3.0-MariaDB", true),
            ("10.11.18-MariaDB-0+deb12u1-log", true),
        ] {
            let described = description(version, 1, 0);
            assert_eq!(Checksum::new().verify(&described).is_ok(), known, "{version}");
        }
    }

    #[test]
    fn a_description_is_summed_up_also_without_checksums() {
        let mut described = description("9.7.4", 0, 0);
        described[60] ^= 1;
        assert!(Checksum::new().verify(&described).is_err());
        // A sender sets the position to 0 and leaves the sum as it was.
        described[13..17].copy_from_slice(&[0; 4]);
        assert!(Checksum::new().verify(&described).is_ok());
    }

    #[test]
    fn the_rotate_before_the_first_description_may_have_a_checksum_or_not() {
        for sum in [true, false] {
            let rotate = event(ROTATE, b"\x04\0\0\0\0\0\0\0binlog.000001", 0x20, false);
            let rotate = if sum {
                let mut rotate = rotate;
                let length = u32::try_from(rotate.len() + 4).expect("small");
                rotate[9..13].copy_from_slice(&length.to_le_bytes());
                let crc = crc32fast::hash(&rotate);
                rotate.extend_from_slice(&crc.to_le_bytes());
                rotate
            } else {
                rotate
            };
            let bare = rotate.len() - if sum { 4 } else { 0 };
            assert_eq!(Checksum::new().verify(&rotate), Ok(bare), "{sum}");
        }
    }

    #[test]
    fn an_event_may_have_no_body_but_no_less() {
        let bare = event(30, &[], 0, false);
        assert_eq!(check_length(&bare), Ok(30));
        for length in 0..bare.len() {
            let mut cut = bare[..length].to_vec();
            if let Some(stated) = cut.get_mut(9..13) {
                stated.copy_from_slice(&u32::try_from(length).expect("small").to_le_bytes());
            }
            assert_eq!(check_length(&cut), Err(EventError::Short { found: length }));
        }
    }

    #[test]
    fn fields_of_the_header_are_where_they_stand() {
        let mut bytes = event(30, b"body", 0, false);
        bytes[..4].copy_from_slice(&7_u32.to_le_bytes());
        bytes[13..17].copy_from_slice(&0x0102_0304_u32.to_le_bytes());
        assert_eq!((timestamp(&bytes), next_position(&bytes)), (7, 0x0102_0304));
        assert!(!is_artificial(&bytes));
        bytes[17] = 0x20;
        assert!(is_artificial(&bytes));
        assert_eq!((timestamp(&[]), next_position(&[])), (0, 0));
    }

    #[test]
    fn a_length_that_is_not_the_packets_is_refused() {
        let mut cut = event(30, b"some rows", 0, false);
        cut.pop();
        let error = Checksum::new().verify(&cut).expect_err("cut");
        assert!(matches!(error, EventError::Length { found: 27, stated: 28, .. }), "{error}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            events in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 4),
        ) {
            let mut checksum = Checksum::new();
            for bytes in events {
                let _unjudged = checksum.verify(&bytes);
                let mut lying = bytes;
                if lying.len() > 13 {
                    lying[4] = FORMAT_DESCRIPTION;
                    let length = u32::try_from(lying.len()).expect("small");
                    lying[9..13].copy_from_slice(&length.to_le_bytes());
                    let _unjudged = checksum.verify(&lying);
                }
            }
        }
    }
}
