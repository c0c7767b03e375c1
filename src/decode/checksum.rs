//! Checksums of events: taken off, and checked where nobody has done so before.

use super::Fault;
use crate::binlog::{CHECKSUM_BYTES, Header, Sum, split_checksum};

/// The event without its checksum, whether or not that is right.
pub(super) fn strip(event: &[u8]) -> Result<&[u8], Fault> {
    split(event).map(|(content, _)| content)
}

/// Checks an event that ends with a checksum, and returns it without.
pub(super) fn verify(event: &[u8]) -> Result<&[u8], Fault> {
    let (content, expected) = split(event)?;
    let found = Sum::default().of(event);
    if found == expected { Ok(content) } else { Err(Fault::Checksum { found, expected }) }
}

fn split(event: &[u8]) -> Result<(&[u8], u32), Fault> {
    let Some(parts) = split_checksum(event) else {
        let left = event.len().saturating_sub(Header::LENGTH);
        return Err(Fault::Short { what: "checksum", at: 0, needed: CHECKSUM_BYTES, left });
    };
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::kind;

    /// Where the flags begin.
    const FLAGS_AT: usize = 17;

    #[test]
    fn an_event_without_room_for_its_checksum_is_short_by_what_is_missing() {
        for length in 0..Header::LENGTH + CHECKSUM_BYTES {
            let left = length.saturating_sub(Header::LENGTH);
            let bytes = vec![0; length];
            for found in [strip(&bytes), verify(&bytes)] {
                let short: Result<&[u8], _> =
                    Err(Fault::Short { what: "checksum", at: 0, needed: CHECKSUM_BYTES, left });
                assert_eq!(format!("{found:?}"), format!("{short:?}"), "{length}");
            }
        }
        let whole = [0; Header::LENGTH + CHECKSUM_BYTES];
        assert_eq!(strip(&whole).expect("room"), &whole[..Header::LENGTH]);
    }

    #[test]
    fn a_mark_of_use_is_no_part_of_a_descriptions_sum_and_of_every_other() {
        for (event_type, is_description) in [(kind::FORMAT_DESCRIPTION, true), (30, false)] {
            let mut event = (0..60).collect::<Vec<u8>>();
            (event[4], event[FLAGS_AT]) = (event_type, 0);
            let sum = crc32fast::hash(&event).to_le_bytes();
            event.extend(sum);
            assert_eq!(verify(&event).expect("whole").len(), 60);
            event[FLAGS_AT] = 1;
            assert_eq!(verify(&event).is_ok(), is_description);
            event[FLAGS_AT] = 0;
            for at in (0..60).filter(|at| *at != FLAGS_AT) {
                let mut bad = event.clone();
                bad[at] ^= 4;
                assert!(verify(&bad).is_err(), "{at}");
            }
            event[FLAGS_AT] = 2;
            assert!(verify(&event).is_err());
        }
    }
}
