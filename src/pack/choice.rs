//! Which of a table's lanes a row goes to. A contract: with another choice, rows of one key would
//! be in two lanes, so it changes only together with the epoch.
//!
//! - One lane: that one. A table without a primary key: always lane 0.
//! - Else a 64-bit hash of the primary key's cells, in the key's order, modulo the number of lanes.
//!   Keys that MySQL holds for equal must not part: text is hashed with ASCII letters in lower case
//!   and without the spaces at its end. Two keys that differ otherwise, but are equal to the
//!   column's collation (`cafe` and `café` to an accent-insensitive one), may be in two lanes.
//!
//! The hash is FNV-1a over these bytes of each cell, then MurmurHash3's 64-bit finaliser:
//!
//! | cell | bytes |
//! |---|---|
//! | NULL or absent | 0 |
//! | integer, signed or not | 1, the value as 16 bytes of two's complement, little-endian |
//! | text | 2, its bytes as said above, 255 |
//! | other bytes | 3, their length as 8 bytes, little-endian, the bytes |
//! | FLOAT or DOUBLE | 4, the value as a double's 8 bytes, little-endian |
//!
//! An update that changes its row's key so that the lane changes becomes two rows: a delete in the
//! old lane, an insert in the new one, each in order with its key's other rows. That needs complete
//! images: with `binlog_row_image` other than FULL the update stays whole, in the lane of the old
//! key ([`Route::Unordered`]), and the order between the two keys' rows is not kept.

use crate::change::{Cell, Change, Image, Table};

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Where a change goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To this lane.
    Lane(u32),
    /// Its key moves: a delete to the first lane, an insert to the second.
    Moves {
        /// Lane of the old key.
        from: u32,
        /// Lane of the new key.
        to: u32,
    },
    /// Its key moves, but its images are not complete: whole to this lane, that of the old key.
    Unordered(u32),
}

/// Chooses among `lanes` lanes.
pub fn route(table: &Table, change: &Change<'_>, lanes: u32) -> Route {
    if lanes <= 1 || table.primary_key.is_empty() {
        return Route::Lane(0);
    }
    match (change.before, change.after) {
        (Some(before), Some(after)) => {
            let from = lane(table, lanes, |ordinal| before.cell(ordinal));
            // A minimal image has the key only where it has changed.
            let to = lane(table, lanes, |ordinal| {
                let cell = after.cell(ordinal);
                if matches!(cell, Cell::Absent) { before.cell(ordinal) } else { cell }
            });
            if from == to {
                Route::Lane(from)
            } else if is_complete(&before) && is_complete(&after) {
                Route::Moves { from, to }
            } else {
                Route::Unordered(from)
            }
        }
        (Some(image), None) | (None, Some(image)) => {
            Route::Lane(lane(table, lanes, |ordinal| image.cell(ordinal)))
        }
        (None, None) => Route::Lane(0),
    }
}

fn lane<'a>(table: &Table, lanes: u32, cell: impl Fn(usize) -> Cell<'a>) -> u32 {
    let hash = table.primary_key.iter().fold(FNV_OFFSET, |hash, at| put_cell(hash, cell(*at)));
    // The remainder is below a u32.
    u32::try_from(finalise(hash) % u64::from(lanes)).unwrap_or(0)
}

fn put_cell(hash: u64, cell: Cell<'_>) -> u64 {
    match cell {
        Cell::Absent | Cell::Null | Cell::Omitted { .. } => put(hash, &[0]),
        Cell::Int(value) => put(put(hash, &[1]), &i128::from(value).to_le_bytes()),
        Cell::UInt(value) => put(put(hash, &[1]), &i128::from(value).to_le_bytes()),
        Cell::Text(text) => {
            let end = text.iter().rposition(|byte| *byte != b' ').map_or(0, |at| at + 1);
            let text = text.iter().take(end).map(u8::to_ascii_lowercase);
            put(text.fold(put(hash, &[2]), put_byte), &[255])
        }
        Cell::Malformed(bytes)
        | Cell::Bytes(bytes)
        | Cell::Json(bytes)
        | Cell::JsonDiff(bytes)
        | Cell::Vector(bytes) => {
            let hash = put(put(hash, &[3]), &(bytes.len() as u64).to_le_bytes());
            put(hash, bytes)
        }
        Cell::Float(value) => put(put(hash, &[4]), &f64::from(value).to_le_bytes()),
        Cell::Double(value) => put(put(hash, &[4]), &value.to_le_bytes()),
    }
}

fn put(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().copied().fold(hash, put_byte)
}

fn put_byte(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
}

fn finalise(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Whether the image could stand alone: every column is there, and is a value.
fn is_complete(image: &Image<'_>) -> bool {
    image.cells().all(|cell| !matches!(cell, Cell::Absent | Cell::JsonDiff(_)))
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "what a test does not expect is one case")]
mod tests {
    use super::*;
    use crate::change::{BytesKind, Slot};
    use crate::encode::testing::{Owned, OwnedChange, absent, int, table, text};

    fn lane_of(key: &Owned, lanes: u32) -> u32 {
        match route(
            &table("t", 1),
            &OwnedChange::insert(0, std::slice::from_ref(key)).change(),
            lanes,
        ) {
            Route::Lane(lane) => lane,
            other => panic!("an insert moves nothing: {other:?}"),
        }
    }

    #[test]
    fn the_choice_is_the_one_that_checkpoints_were_written_with() {
        let lanes = [int(1), int(2), int(-1), text("abc"), text(""), Owned::Plain(Slot::Null)]
            .map(|key| lane_of(&key, 1000));
        // Computed apart from this code, from the table above.
        assert_eq!(lanes, [47, 207, 94, 302, 341, 267]);
        let plain = |slot| Owned::Plain(slot);
        let bytes = |kind| Owned::Bytes(kind, b"abc".to_vec());
        for (key, lane) in [
            (plain(Slot::UInt(u64::MAX)), 775),
            (int(i64::MIN), 830),
            (plain(Slot::Double(1.5)), 338),
            (plain(Slot::Float(1.5)), 338),
            (plain(Slot::Double(-0.0)), 600),
            (absent(), 267),
            (bytes(BytesKind::Bytes), 489),
            (bytes(BytesKind::Malformed), 489),
            (bytes(BytesKind::Json), 489),
            (bytes(BytesKind::Vector), 489),
            (Owned::Bytes(BytesKind::Bytes, Vec::new()), 546),
            (text(" A b  "), 317),
        ] {
            assert_eq!(lane_of(&key, 1000), lane, "{key:?}");
        }
        // Keys of two columns, in the key's order.
        let mut pair = Table::clone(&table("t", 3));
        pair.primary_key = vec![2, 0];
        for (first, second, lane) in [
            (int(1), text("a"), 715),
            (text("ab"), text(""), 308),
            (text("a"), text("b"), 971),
            (text("a"), int(1), 150),
        ] {
            let change = OwnedChange::insert(0, &[second, int(5), first]);
            assert_eq!(route(&pair, &change.change(), 1000), Route::Lane(lane));
        }
        let mut keyless = Table::clone(&table("t", 1));
        keyless.primary_key.clear();
        assert_eq!(
            route(&keyless, &OwnedChange::insert(0, &[int(1)]).change(), 1000),
            Route::Lane(0)
        );
    }

    #[test]
    fn keys_that_mysql_holds_for_equal_share_a_lane() {
        assert_eq!(lane_of(&text("ABC"), 997), lane_of(&text("abc  "), 997));
        let unsigned = Owned::Plain(Slot::UInt(7));
        assert_eq!(lane_of(&int(7), 997), lane_of(&unsigned, 997));
    }

    #[test]
    fn keys_spread_over_all_lanes() {
        let mut rows = [0_u32; 8];
        for key in 0..8_000 {
            rows[lane_of(&int(key), 8) as usize] += 1;
        }
        assert!(rows.iter().all(|rows| (850..1150).contains(rows)), "{rows:?}");
    }

    #[test]
    fn a_moving_key_parts_only_when_its_images_are_complete() {
        let table = table("t", 2);
        let (one, other) =
            (int(1), (2..1000).map(int).find(|key| lane_of(key, 8) != lane_of(&int(1), 8)));
        let other = other.expect("some key is elsewhere");
        let (from, to) = (lane_of(&one, 8), lane_of(&other, 8));
        let whole = OwnedChange::update(0, &[one.clone(), text("a")], &[other.clone(), text("b")]);
        assert_eq!(route(&table, &whole.change(), 8), Route::Moves { from, to });
        let partial = OwnedChange::update(0, &[one.clone(), absent()], &[other, text("b")]);
        assert_eq!(route(&table, &partial.change(), 8), Route::Unordered(from));
        let minimal = OwnedChange::update(0, &[one.clone(), absent()], &[absent(), text("b")]);
        assert_eq!(route(&table, &minimal.change(), 8), Route::Lane(from));
        let diff = || Owned::Bytes(BytesKind::JsonDiff, vec![0]);
        let other = (2..1000).map(int).find(|key| lane_of(key, 8) == to).expect("it was found");
        for (before, after) in [(text("a"), absent()), (text("a"), diff()), (diff(), text("b"))] {
            let partial = OwnedChange::update(0, &[one.clone(), before], &[other.clone(), after]);
            assert_eq!(route(&table, &partial.change(), 8), Route::Unordered(from));
        }
        let gone = OwnedChange::delete(0, &[other, absent()]);
        assert_eq!(route(&table, &gone.change(), 8), Route::Lane(to));
        assert_eq!(route(&table, &whole.change(), 1), Route::Lane(0), "there is one lane only");
    }
}
