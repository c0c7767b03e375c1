//! Where in the log the decoder is, with 64 bits.

use std::sync::Arc;

use super::Fault;
use crate::binlog::Header;
use crate::change::Position;

/// Offset of a file's first event; the file starts with four magic bytes.
const FIRST: u64 = 4;

/// Start and end of the event that is being decoded.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) start: Position,
    pub(super) end: Position,
}

impl Default for Place {
    fn default() -> Self {
        let first = Position { file: Arc::default(), offset: FIRST };
        Self { start: first.clone(), end: first }
    }
}

impl Place {
    /// The next event starts here.
    pub(super) fn set(&mut self, position: Position) {
        self.start = position.clone();
        self.end = position;
    }

    /// The next event starts here; keeps the file's name if that is the same. Whether it is another
    /// place than before.
    pub(super) fn move_to(&mut self, file: &str, offset: u64) -> bool {
        let other_file = &*self.end.file != file;
        let moved = other_file || self.end.offset != offset;
        if other_file {
            self.end.file = file.into();
            self.start.file = Arc::clone(&self.end.file);
        }
        self.end.offset = offset;
        self.start.offset = offset;
        moved
    }

    /// Steps over an event. `contiguous`: it must end where the count says.
    pub(super) fn advance(&mut self, header: &Header, contiguous: bool) -> Result<(), Fault> {
        if !self.start.is_in_file_of(&self.end) {
            self.start.file = Arc::clone(&self.end.file);
        }
        self.start.offset = self.end.offset;
        if header.is_artificial() {
            return Ok(());
        }
        let length = u64::from(header.length);
        let summed = self.end.offset.saturating_add(length);
        // Where the event does not say where it ends, the next one that does checks the sum.
        if low_half(summed) == header.end || header.end == 0 {
            self.end.offset = summed;
            return Ok(());
        }
        if contiguous {
            return Err(Fault::Gap { header: header.end, expected: summed });
        }
        self.end.offset = ahead(summed, header.end).unwrap_or(summed);
        self.start.offset = self.end.offset.saturating_sub(length);
        Ok(())
    }

    /// Steps over a format description, which also comes in front of events from the middle of a file.
    pub(super) fn advance_over_format(
        &mut self,
        header: &Header,
        contiguous: bool,
    ) -> Result<(), Fault> {
        if self.end.offset == FIRST {
            return self.advance(header, contiguous);
        }
        self.start.clone_from(&self.end);
        Ok(())
    }

    /// A heartbeat's place in the same file, of which only the lower half may be known.
    pub(super) fn heartbeat(&mut self, lower: u32) -> u64 {
        ahead(self.end.offset, lower).unwrap_or(self.end.offset)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
fn low_half(offset: u64) -> u32 {
    offset as u32
}

/// The next offset at or behind `from` whose lower half is `lower`, as after events that the server
/// left out; `None` if it is so far ahead that it must lie behind.
fn ahead(from: u64, lower: u32) -> Option<u64> {
    let skipped = lower.wrapping_sub(low_half(from));
    (skipped < 1 << 31).then(|| from.saturating_add(u64::from(skipped)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(length: u32, end: u32) -> Header {
        Header { timestamp: 0, event_type: 2, server_id: 1, length, end, flags: 0 }
    }

    #[test]
    fn offsets_go_on_beyond_four_gibibytes() {
        let mut place = Place::default();
        place.set(Position::new("a.1", 0xffff_ff00));
        place.advance(&header(0x200, 0x100), true).expect("in order");
        assert_eq!((place.start.offset, place.end.offset), (0xffff_ff00, 0x1_0000_0100));
        place.advance(&header(0x10, 0x110), true).expect("in order");
        assert_eq!(place.end.offset, 0x1_0000_0110);
    }

    #[test]
    fn events_that_the_server_left_out_are_stepped_over() {
        let mut place = Place::default();
        place.set(Position::new("a.1", 1000));
        place.advance(&header(100, 5100), false).expect("a gap");
        assert_eq!((place.start.offset, place.end.offset), (5000, 5100));
        assert!(place.advance(&header(100, 9000), true).is_err());
    }

    #[test]
    fn artificial_events_do_not_move() {
        let mut place = Place::default();
        place.set(Position::new("a.1", 1000));
        let rotate = Header { event_type: 4, ..header(100, 0) };
        place.advance(&rotate, true).expect("artificial");
        let flagged = Header { flags: 0x20, ..header(100, 5000) };
        place.advance(&flagged, true).expect("artificial");
        assert_eq!(place.end.offset, 1000);
    }

    #[test]
    fn events_of_a_transaction_without_a_position_are_summed_and_the_next_position_checks_the_sum()
    {
        let mut place = Place::default();
        place.set(Position::new("a.1", 1000));
        place.advance(&header(100, 0), true).expect("no position");
        assert_eq!((place.start.offset, place.end.offset), (1000, 1100));
        place.advance(&header(50, 0), true).expect("no position");
        assert!(place.advance(&header(10, 1161), true).is_err(), "one byte is missing");
        place.advance(&header(10, 1160), true).expect("the sum is right");
        assert_eq!(place.end.offset, 1160);
    }

    #[test]
    fn an_end_behind_us_does_not_move_us_by_four_gibibytes() {
        let mut place = Place::default();
        place.set(Position::new("a.1", 1000));
        place.advance(&header(100, 900), false).expect("odd");
        assert_eq!(place.end.offset, 1100);
    }
}
