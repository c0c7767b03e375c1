//! What a frame takes in memory once it is decoded, estimated from its bytes before that.
//!
//! An empty element of a list takes two bytes of a frame, and 32 to 200 bytes once it is decoded: a
//! few kilobytes, compressed, could become gigabytes although their content is within its limit.

use crate::proto;

/// A message with lists, or with messages that have some.
#[derive(Clone, Copy)]
enum Level {
    Frame,
    Batch,
    Table,
    Column,
    Row,
    Image,
    Canary,
    Heartbeat,
    Watermark,
    Part,
    Mark,
    TransactionEnd,
    /// Nothing inside counts.
    Leaf,
}

/// What stands in field `field` of a message, and what one takes beside the bytes of its own.
fn field(level: Level, field: u64) -> (Level, usize) {
    match (level, field) {
        (Level::Frame, 6) | (Level::Canary | Level::Part, 4) => (Level::Batch, 0),
        (Level::Frame, 7) => (Level::Heartbeat, 0),
        (Level::Frame, 8) => (Level::Canary, 0),
        (Level::Frame, 11) => (Level::Part, 0),
        (Level::Frame, 12) => (Level::Mark, 0),
        (Level::Frame, 14) => (Level::TransactionEnd, 0),
        (Level::Canary, 5) | (Level::Heartbeat, 7) => (Level::Watermark, 0),
        (Level::Canary, 7) => (Level::Leaf, size_of::<proto::LaneDigest>()),
        (Level::Watermark, 5) | (Level::Mark, 8) => (Level::Leaf, size_of::<proto::LaneMark>()),
        (Level::TransactionEnd, 5) => (Level::Leaf, size_of::<proto::LaneRows>()),
        (Level::Batch, 2) => (Level::Table, 0),
        (Level::Batch, 8) | (Level::Column, 7) => (Level::Leaf, size_of::<String>()),
        (Level::Batch, 9) => (Level::Leaf, size_of::<proto::Transaction>()),
        (Level::Batch, 11) => (Level::Row, size_of::<proto::Row>()),
        (Level::Table, 3) => (Level::Column, size_of::<proto::Column>()),
        (Level::Row, 4 | 5) | (Level::Part, 8 | 9) => (Level::Image, 0),
        (Level::Part, 10) => (Level::Image, size_of::<proto::Image>()),
        (Level::Image, 1) => (Level::Leaf, size_of::<proto::Value>()),
        _ => (Level::Leaf, 0),
    }
}

/// Whether the elements of all lists in a frame take at most `bytes_max` bytes. Bytes that are no
/// frame fit: decoding them tells what is wrong.
pub(crate) fn fits(frame: &[u8], bytes_max: u64) -> bool {
    let mut left = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    !matches!(walk(Level::Frame, frame, &mut left), Walked::TooMuch)
}

enum Walked {
    Whole,
    Broken,
    TooMuch,
}

fn walk(level: Level, mut bytes: &[u8], left: &mut usize) -> Walked {
    while !bytes.is_empty() {
        let Some(tag) = varint(&mut bytes) else { return Walked::Broken };
        let length = match tag & 7 {
            0 => match varint(&mut bytes) {
                Some(_) => continue,
                None => return Walked::Broken,
            },
            1 => 8,
            // A group, which the contract has none of: passed over by the reader, as its fields are here.
            3 | 4 => continue,
            2 => match varint(&mut bytes) {
                Some(length) => length,
                None => return Walked::Broken,
            },
            5 => 4,
            _ => return Walked::Broken,
        };
        let split = usize::try_from(length).ok().and_then(|at| bytes.split_at_checked(at));
        let Some((inside, rest)) = split else { return Walked::Broken };
        bytes = rest;
        if tag & 7 != 2 {
            continue;
        }
        let (next, size) = field(level, tag >> 3);
        match left.checked_sub(size) {
            Some(rest) => *left = rest,
            None => return Walked::TooMuch,
        }
        if !matches!(next, Level::Leaf) {
            match walk(next, inside, left) {
                Walked::Whole => {}
                stopped @ (Walked::Broken | Walked::TooMuch) => return stopped,
            }
        }
    }
    Walked::Whole
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::frame::Content;

    #[test]
    fn elements_count_and_what_is_no_frame_fits() {
        let images = |count| proto::Image { values: vec![proto::Value::default(); count] };
        let row = proto::Row { after: Some(images(100)), ..proto::Row::default() };
        let batch = proto::ChangeBatch { rows: vec![row; 10], ..proto::ChangeBatch::default() };
        let taken = (10 * size_of::<proto::Row>() + 1000 * size_of::<proto::Value>()) as u64;
        let part = proto::SnapshotPart { batch: Some(batch.clone()), ..Default::default() };
        for content in [Content::Batch(batch), Content::SnapshotPart(part)] {
            let frame = proto::Frame { content: Some(content), ..proto::Frame::default() };
            let bytes = frame.encode_to_vec();
            assert!(fits(&bytes, taken));
            assert!(!fits(&bytes, taken - 1));
            let cut = bytes.get(..bytes.len() - 1).expect("shorter");
            assert!(fits(cut, taken));
        }
        assert!(fits(&[0xff; 40], 0));
        assert!(fits(b"", 0));
    }
}
