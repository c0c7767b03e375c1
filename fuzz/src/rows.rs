//! Table maps and rows.

use super::events::feed;
use super::log::{self, kind};

/// The table that the rows of an input are of.
pub(crate) const TABLE_ID: [u8; 6] = [77, 0, 0, 0, 0, 0];

/// Everything of a table map event's body behind the table id.
pub(crate) fn table_map_of(columns: &[Column], collation: u8) -> Vec<u8> {
    let mut body = vec![1, 0, 1, b'd', 0, 1, b't', 0];
    body.push(u8::try_from(columns.len()).expect("few columns"));
    body.extend(columns.iter().map(|column| column.wire_type));
    let meta: Vec<u8> = columns.iter().flat_map(|column| column.meta.iter().copied()).collect();
    body.push(u8::try_from(meta.len()).expect("few bytes"));
    body.extend(meta);
    body.extend(vec![0xff; columns.len().div_ceil(8)]);
    // Signs: every other number is unsigned. Labels of ENUM and SET. A default character set.
    body.extend([1, 1, 0b0101_0101]);
    body.extend([2, 1, collation]);
    body.extend([5, 7, 3, 1, b's', 1, b't', 1, b'u']);
    body.extend([6, 7, 3, 1, b'e', 1, 0xe9, 1, b'g']);
    body
}

/// A column as the log has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    wire_type: u8,
    meta: &'static [u8],
}

const fn column(wire_type: u8, meta: &'static [u8]) -> Column {
    Column { wire_type, meta }
}

/// A table with one TINYINT.
pub(crate) fn table_of_an_integer() -> Vec<u8> {
    table_map_of(&COLUMNS[..1], COLLATIONS[0])
}

/// Columns of every type that a log can have, with the widths that matter.
const COLUMNS: &[Column] = &[
    column(1, &[]),
    column(2, &[]),
    column(9, &[]),
    column(3, &[]),
    column(8, &[]),
    column(4, &[4]),
    column(5, &[8]),
    column(7, &[]),
    column(10, &[]),
    column(11, &[]),
    column(12, &[]),
    column(13, &[]),
    column(15, &[20, 0]),
    column(15, &[0xff, 0xff]),
    column(16, &[3, 0]),
    column(16, &[0, 8]),
    column(17, &[0]),
    column(17, &[3]),
    column(18, &[0]),
    column(18, &[6]),
    column(19, &[0]),
    column(19, &[1]),
    column(19, &[6]),
    column(242, &[4]),
    column(245, &[4]),
    column(246, &[1, 0]),
    column(246, &[10, 4]),
    column(246, &[65, 30]),
    column(252, &[1]),
    column(252, &[2]),
    column(252, &[3]),
    column(252, &[4]),
    column(254, &[254, 10]),
    column(254, &[238, 4]),
    column(254, &[247, 1]),
    column(254, &[247, 2]),
    column(254, &[248, 1]),
    column(254, &[248, 8]),
    column(255, &[4]),
    column(140, &[1]),
    column(141, &[40, 0]),
];

/// latin1, utf8mb4, binary, sjis, gbk, gb18030, utf16, utf16le, utf32, ucs2, ujis, tis620, one unknown.
const COLLATIONS: [u8; 13] = [8, 45, 63, 13, 28, 248, 54, 56, 60, 35, 12, 18, 0];

/// Feeds a transaction with one table map and one rows event. `map` and `rows` are the bodies behind
/// the table id.
pub(crate) fn transaction(log: &[u8], map: &[u8], rows_kind: u8, rows: &[u8]) -> u64 {
    let [gtid, begin] = log::beginning();
    let events = [
        log::format_description(log),
        gtid,
        begin,
        log::event(kind::TABLE_MAP, &[&TABLE_ID, map].concat()),
        log::event(rows_kind, &[&TABLE_ID, rows].concat()),
        log::event(kind::XID, &[1, 0, 0, 0, 0, 0, 0, 0]),
    ];
    feed(events)
}

fn rows_kind(choice: u8) -> u8 {
    [kind::WRITE_ROWS, kind::UPDATE_ROWS, kind::DELETE_ROWS, kind::PARTIAL_UPDATE_ROWS]
        [usize::from(choice % 4)]
}

/// The log that stands in front: MariaDB reads some columns otherwise.
fn log_of(choice: u8) -> &'static [u8] {
    if choice & 0x80 == 0 { log::MYSQL } else { log::MARIADB }
}

/// Rows of a known table. Bytes: which columns (one of every type, or up to three), the character
/// set, the kind of event; then row images, with the bitmaps in front of them.
pub fn row_image(input: &[u8]) -> u64 {
    let Some((&[first, second, third, collation, choice], image)) = input.split_first_chunk()
    else {
        return 0;
    };
    let pick = |byte: u8| COLUMNS[usize::from(byte) % COLUMNS.len()];
    let columns: Vec<Column> = match first {
        255 => COLUMNS.to_vec(),
        _ if second == 255 => vec![pick(first)],
        _ if third == 255 => vec![pick(first), pick(second)],
        _ => vec![pick(first), pick(second), pick(third)],
    };
    let map = table_map_of(&columns, COLLATIONS[usize::from(collation) % COLLATIONS.len()]);
    let width = u8::try_from(columns.len()).expect("few columns");
    let mut rows = vec![1, 0, 2, 0, width];
    let bitmaps = if matches!(choice % 4, 1 | 3) { 2 } else { 1 };
    if choice & 0x40 == 0 {
        rows.extend(vec![0xff; columns.len().div_ceil(8) * bitmaps]);
    }
    rows.extend_from_slice(image);
    transaction(log_of(choice), &map, rows_kind(choice), &rows)
}

/// A table map and rows by it. Bytes: the map's length (2), the kind of event, the map's body behind
/// the table id, the rows event's body behind the table id.
pub fn table_map(input: &[u8]) -> u64 {
    let Some((&[low, high, choice], rest)) = input.split_first_chunk() else { return 0 };
    let length = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
    let (map, rows) = rest.split_at(length);
    transaction(log_of(choice), map, rows_kind(choice), rows)
}
