//! The length and the CRC32 of single events.

use std::fmt;

use super::description::Description;
use super::event::{CHECKSUM_BYTES, FLAG_IN_USE, Header, kind};

/// Offset of the flags in a header.
const FLAGS_AT: usize = 17;

/// An event whose bytes are not as they were written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Not even a header.
    #[error("an event of {found} bytes, expected at least {}", Header::LENGTH)]
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
    sum: Sum,
}

impl Checksum {
    /// Knows nothing yet: the first event is a format description or an artificial rotate.
    pub fn new() -> Self {
        Self::default()
    }

    /// What stands behind each event now.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Checks one event's length and checksum; its length without the checksum.
    pub fn verify(&mut self, event: &[u8]) -> Result<usize, EventError> {
        let header = check_length(event)?;
        let bare = event.len().saturating_sub(CHECKSUM_BYTES);
        if header.event_type == kind::FORMAT_DESCRIPTION {
            self.algorithm = described_algorithm(event)?;
            // This event is summed up also where the others are not. A sender that changed it for a
            // stream without checksums leaves the old sum.
            if self.algorithm == Algorithm::Crc32 || !header.is_artificial() {
                self.compare(event, header.event_type)?;
            }
            return Ok(bare);
        }
        match self.algorithm {
            Algorithm::Crc32 => self.compare(event, header.event_type).map(|()| bare),
            // The artificial rotate before the first format description: MySQL sends it without,
            // MariaDB with a checksum.
            Algorithm::Unknown
                if header.event_type == kind::ROTATE && self.sum.of(event) == stored(event) =>
            {
                Ok(bare)
            }
            Algorithm::None | Algorithm::Unknown => Ok(event.len()),
        }
    }

    fn compare(&self, event: &[u8], event_type: u8) -> Result<(), EventError> {
        let (found, computed) = (stored(event), self.sum.of(event));
        if found == computed {
            Ok(())
        } else {
            Err(EventError::Checksum { event_type, bytes: event.len(), found, computed })
        }
    }
}

/// The event's header, once its length is what that says.
pub fn check_length(event: &[u8]) -> Result<Header, EventError> {
    let header = Header::parse(event).ok_or(EventError::Short { found: event.len() })?;
    if u32::try_from(event.len()) != Ok(header.length) {
        let Header { event_type, length: stated, .. } = header;
        return Err(EventError::Length { event_type, found: event.len(), stated });
    }
    Ok(header)
}

/// What a checksum covers, and the checksum behind it; `None` when an event is too short for one.
pub fn split_checksum(event: &[u8]) -> Option<(&[u8], u32)> {
    let (content, sum) = event.split_last_chunk::<CHECKSUM_BYTES>()?;
    (content.len() >= Header::LENGTH).then(|| (content, u32::from_le_bytes(*sum)))
}

fn stored(event: &[u8]) -> u32 {
    event.last_chunk::<CHECKSUM_BYTES>().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The algorithm that a description names. Writers from before checksums are refused: guessing
/// instead would let a damaged version switch checksums off.
fn described_algorithm(event: &[u8]) -> Result<Algorithm, EventError> {
    let short = EventError::Short { found: event.len() };
    let Some(description) = Description::read(event) else { return Err(short) };
    if !description.is_of_a_writer_with_checksums() {
        let version = String::from_utf8_lossy(description.server).into_owned();
        return Err(EventError::Writer { version });
    }
    match description.lengths_and_algorithm() {
        Some((_, 0)) => Ok(Algorithm::None),
        Some((_, 1)) => Ok(Algorithm::Crc32),
        Some((_, found)) => Err(EventError::Algorithm { found }),
        None => Err(short),
    }
}

/// Sums up events. Holds the sum of nothing, which knows what the processor can do: to ask that for
/// each event costs one of a single-row transaction a seventh of its sum.
#[derive(Clone, Default)]
pub struct Sum(crc32fast::Hasher);

impl Sum {
    /// The CRC32 of all but the event's last four bytes. A format description's knows nothing of the
    /// flag that its file is in use: the server sets that later.
    pub fn of(&self, event: &[u8]) -> u32 {
        let bare = event.len().saturating_sub(CHECKSUM_BYTES);
        let covered = event.get(..bare).unwrap_or_default();
        let in_use =
            covered.get(FLAGS_AT).is_some_and(|flags| u16::from(*flags) & FLAG_IN_USE != 0);
        let mut sum = self.0.clone();
        match covered.split_first_chunk::<{ Header::LENGTH }>() {
            Some((header, body)) if in_use && header[4] == kind::FORMAT_DESCRIPTION => {
                let mut header = *header;
                header[FLAGS_AT] &= 0xfe;
                sum.update(&header);
                sum.update(body);
            }
            _ => sum.update(covered),
        }
        sum.finalize()
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sum")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::{Algorithm, CHECKSUM_BYTES, Checksum, EventError, Header, check_length, kind};

    /// An event with the given body, and a checksum if asked for.
    pub(crate) fn event(event_type: u8, body: &[u8], flags: u8, sum: bool) -> Vec<u8> {
        let length = Header::LENGTH + body.len() + if sum { CHECKSUM_BYTES } else { 0 };
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
    pub(crate) fn description(version: &str, algorithm: u8, flags: u8) -> Vec<u8> {
        let mut body = vec![4, 0];
        body.extend_from_slice(version.as_bytes());
        body.resize(52, 0);
        body.extend_from_slice(&[0, 0, 0, 0, 19]);
        body.extend_from_slice(&[13; 40]);
        body.push(algorithm);
        event(kind::FORMAT_DESCRIPTION, &body, flags, true)
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
        for (event_type, made_up) in
            [(kind::ROTATE, true), (kind::FORMAT_DESCRIPTION, true), (27, true)]
                .into_iter()
                .chain([(19, false), (23, false), (30, false), (16, false), (160, false)])
        {
            let mut bytes = event(event_type, b"body", 0, true);
            bytes[13..17].copy_from_slice(&[0; 4]);
            let header = Header::parse(&bytes).expect("whole");
            assert_eq!(header.is_artificial(), made_up, "type {event_type}");
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
            let rotate = event(kind::ROTATE, b"\x04\0\0\0\0\0\0\0binlog.000001", 0x20, false);
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
        assert_eq!(check_length(&bare).map(|header| header.event_type), Ok(30));
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
        let header = Header::parse(&bytes).expect("whole");
        assert_eq!((header.timestamp, header.end), (7, 0x0102_0304));
        assert!(!header.is_artificial());
        bytes[17] = 0x20;
        assert!(Header::parse(&bytes).is_some_and(|header| header.is_artificial()));
        assert_eq!(Header::parse(&bytes[..18]), None);
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
                let _ignored = checksum.verify(&bytes);
                let mut lying = bytes;
                if lying.len() > 13 {
                    lying[4] = kind::FORMAT_DESCRIPTION;
                    let length = u32::try_from(lying.len()).expect("small");
                    lying[9..13].copy_from_slice(&length.to_le_bytes());
                    let _ignored = checksum.verify(&lying);
                }
            }
        }
    }
}
