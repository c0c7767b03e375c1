//! Rows as SELECT answers with them in the text protocol, made into the cells that the stream has.
//!
//! The stored bytes of text come as they are (`character_set_results` is NULL) and go through the same
//! character sets as the decoder's. JSON is the server's text, which the decoder writes alike but for
//! MySQL 5.7: there a whole double in a document has no `.0` when it is selected. Pure; a row costs no
//! allocation.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use super::query::KeyKind;
use crate::change::{Area, BytesKind, Column, Image, LogicalType, Slot};
use crate::decode::charset::{self, Charset, Decoded};
use crate::mysql::{Cells, RowSink};

/// How a column's text becomes a cell.
#[derive(Debug, Clone, Copy)]
enum Reading {
    Signed,
    Unsigned,
    /// FLOAT, as the double that it is exactly.
    Float,
    Double,
    Decimal,
    /// BIT: big-endian bytes.
    Bit,
    /// Bytes that are handed on as they are.
    Raw(BytesKind),
    /// The same, which have to be UTF-8.
    Utf8(BytesKind),
    /// Text that may be malformed.
    Text(Option<&'static Charset>),
}

impl Reading {
    fn of(column: &Column) -> Self {
        match column.logical_type {
            LogicalType::Integer if column.unsigned => Self::Unsigned,
            LogicalType::Integer | LogicalType::Year => Self::Signed,
            LogicalType::Float => Self::Float,
            LogicalType::Double => Self::Double,
            LogicalType::Decimal => Self::Decimal,
            LogicalType::Bit => Self::Bit,
            LogicalType::Date
            | LogicalType::Time
            | LogicalType::Datetime
            | LogicalType::Timestamp => Self::Utf8(BytesKind::Text),
            LogicalType::Text => Self::Text(charset::by_collation(column.collation)),
            LogicalType::Enum | LogicalType::Set => {
                // Labels of bytes are text all the same.
                let charset = charset::by_collation(column.collation);
                let charset = charset.filter(|charset| !charset.is_binary());
                Self::Text(charset.or_else(|| charset::by_name("utf8mb4")))
            }
            LogicalType::Binary | LogicalType::Geometry => Self::Raw(BytesKind::Bytes),
            LogicalType::Json => Self::Utf8(BytesKind::Json),
            LogicalType::Vector => Self::Raw(BytesKind::Vector),
        }
    }

    /// Reads a value; bytes go to the arena, and are counted from `row`.
    fn read(self, value: &[u8], row: usize, arena: &mut Vec<u8>) -> Result<Slot, &'static str> {
        match self {
            Self::Signed => signed(value).map(Slot::Int).ok_or("a whole number"),
            Self::Unsigned => unsigned(value).map(Slot::UInt).ok_or("an unsigned number"),
            Self::Float => {
                #[expect(clippy::cast_possible_truncation, reason = "it is a float, exactly")]
                let float = double(value)? as f32;
                Ok(Slot::Float(float))
            }
            Self::Double => double(value).map(Slot::Double),
            Self::Bit if value.len() <= 8 => {
                let number = value.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
                Ok(Slot::UInt(number))
            }
            Self::Bit => Err("at most 64 bits"),
            Self::Decimal => decimal(value, row, arena),
            Self::Raw(kind) => put(kind, value, row, arena),
            Self::Utf8(kind) if charset::is_utf8(value) => put(kind, value, row, arena),
            Self::Utf8(_) => Err("UTF-8"),
            Self::Text(Some(charset)) => {
                let start = arena.len();
                match charset.decode(value, arena) {
                    Decoded::Borrowed => put(BytesKind::Text, value, row, arena),
                    Decoded::Scratch => span(BytesKind::Text, start, row, arena),
                    Decoded::Malformed => put(BytesKind::Malformed, value, row, arena),
                }
            }
            Self::Text(None) => put(BytesKind::Malformed, value, row, arena),
        }
    }
}

fn put(
    kind: BytesKind,
    value: &[u8],
    row: usize,
    arena: &mut Vec<u8>,
) -> Result<Slot, &'static str> {
    let start = arena.len();
    arena.extend_from_slice(value);
    span(kind, start, row, arena)
}

/// The bytes from `start` to the arena's end.
fn span(kind: BytesKind, start: usize, row: usize, arena: &[u8]) -> Result<Slot, &'static str> {
    let (start, end) = offsets(start, row, arena)?;
    Ok(Slot::Span { kind, area: Area::Scratch, start, end })
}

fn offsets(start: usize, row: usize, arena: &[u8]) -> Result<(u32, u32), &'static str> {
    let offset = |at: usize| u32::try_from(at - row).map_err(|_| "a row of at most 4 GiB");
    Ok((offset(start)?, offset(arena.len())?))
}

/// ZEROFILL puts zeros in front.
fn unsigned(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

fn signed(value: &[u8]) -> Option<i64> {
    match value.split_first() {
        Some((b'-', digits)) => 0_i64.checked_sub_unsigned(unsigned(digits)?),
        _ => unsigned(value)?.try_into().ok(),
    }
}

fn double(value: &[u8]) -> Result<f64, &'static str> {
    str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or("a number")
}

/// As the stream has it: without the zeros that ZEROFILL puts in front.
fn decimal(value: &[u8], row: usize, arena: &mut Vec<u8>) -> Result<Slot, &'static str> {
    let start = arena.len();
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let whole = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    let plain = digits.get(zeros.min(whole.saturating_sub(1))..).unwrap_or_default();
    if !plain.first().is_some_and(u8::is_ascii_digit) || !plain.is_ascii() {
        return Err("a decimal number");
    }
    if digits.len() < value.len() {
        arena.push(b'-');
    }
    arena.extend_from_slice(plain);
    span(BytesKind::Text, start, row, arena)
}

/// How the rows of a table are read: a reading for each column, and the key.
#[derive(Debug)]
pub(super) struct Plan {
    columns: Vec<(Reading, Option<usize>)>,
    key: Vec<KeyKind>,
    /// Columns of the key that are selected once more, behind all others, for their literals: places
    /// in the key, and ordinals.
    separate: Vec<(usize, usize)>,
}

impl Plan {
    /// `key`: ordinals and kinds of the key's columns; `separate`: which of them are selected once more,
    /// by place in the key and ordinal.
    pub(super) fn new(
        columns: &[Column],
        key: &[(usize, KeyKind)],
        separate: Vec<(usize, usize)>,
    ) -> Self {
        let place = |ordinal| {
            let place = key.iter().position(|(known, _)| *known == ordinal);
            place.filter(|place| !separate.iter().any(|(other, _)| other == place))
        };
        let columns = columns.iter().enumerate();
        let columns = columns.map(|(ordinal, column)| (Reading::of(column), place(ordinal)));
        let columns = columns.collect();
        Self { columns, key: key.iter().map(|(_, kind)| *kind).collect(), separate }
    }
}

/// The rows of a chunk: their slots, and one space for all their bytes.
#[derive(Debug)]
pub struct ChunkRows {
    plan: Arc<Plan>,
    slots: Vec<Slot>,
    arena: Vec<u8>,
    /// Where each row's bytes end in the arena.
    ends: Vec<usize>,
    /// Where the bytes of each row's key lie, for its literals; counted as in slots.
    keys: Vec<(u32, u32)>,
    is_end: bool,
    /// Up to where the range was read, if that is not the last row's key.
    boundary: Option<String>,
}

/// Space that is taken before the first row comes.
const ARENA_BYTES_AT_FIRST_MAX: usize = 8 << 20;

impl ChunkRows {
    /// With space for so many bytes of values, within reason.
    pub(super) fn new(plan: Arc<Plan>, bytes: usize) -> Self {
        Self {
            plan,
            slots: Vec::new(),
            arena: Vec::with_capacity(bytes.min(ARENA_BYTES_AT_FIRST_MAX)),
            ends: Vec::new(),
            keys: Vec::new(),
            is_end: true,
            boundary: None,
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A row, from 0; an image without cells beyond the last.
    pub fn image(&self, row: usize) -> Image<'_> {
        let width = self.plan.columns.len();
        let slots = self.slots.get(row * width..(row + 1) * width).unwrap_or_default();
        Image::new(slots, &[], self.bytes_of(row))
    }

    /// Bytes of memory that the rows take.
    pub fn bytes(&self) -> usize {
        let keys = self.keys.len() * size_of::<(u32, u32)>();
        self.arena.len() + self.slots.len() * size_of::<Slot>() + keys
    }

    /// Whether nothing of the range lies behind these rows. If something may, nobody has looked at what
    /// lies behind [`ChunkRows::last_key`]: of a list of keys, too, those that are not here may be there.
    pub fn is_end(&self) -> bool {
        self.is_end
    }

    /// Up to which key, itself included, the range was read: where the next chunk goes on. With a
    /// condition, it may be the key of a row that does not meet it, and be there without any row. `None`
    /// only when nothing was found, at the end.
    pub fn last_key(&self) -> Option<String> {
        let last = || Some(self.key_literals(self.len().checked_sub(1)?));
        self.boundary.clone().or_else(last)
    }

    /// The key of a row as SQL literals with commas between them.
    pub fn key_literals(&self, row: usize) -> String {
        let width = self.plan.key.len();
        let spans = self.keys.get(row * width..(row + 1) * width).unwrap_or_default();
        let bytes = self.bytes_of(row);
        let mut text = String::new();
        for (kind, (start, end)) in self.plan.key.iter().zip(spans) {
            if !text.is_empty() {
                text.push(',');
            }
            let value = bytes.get(*start as usize..*end as usize).unwrap_or_default();
            kind.write(value, &mut text);
        }
        text
    }

    fn bytes_of(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).map_or(Some(&0), |before| self.ends.get(before));
        let range = start.zip(self.ends.get(row)).map(|(start, end)| *start..*end);
        range.and_then(|range| self.arena.get(range)).unwrap_or_default()
    }

    /// Says how the range goes on behind these rows.
    pub(super) fn end(&mut self, is_end: bool, boundary: Option<String>) {
        (self.is_end, self.boundary) = (is_end, boundary);
    }

    /// Appends a row; the inner `None` if it has another number of cells.
    fn push(&mut self, cells: &mut Cells<'_>) -> Result<Option<()>, BadValue> {
        let Self { plan, slots, arena, ends, keys, .. } = self;
        let (row, first_key) = (arena.len(), keys.len());
        keys.resize(first_key + plan.key.len(), (0, 0));
        let mut put_key = |place: usize, value: Option<&[u8]>, span| {
            let kind = plan.key.get(place).ok_or("a column of the key")?;
            if !value.is_some_and(|value| kind.accepts(value)) {
                return Err(kind.expected());
            }
            if let Some(slot) = keys.get_mut(first_key + place) {
                *slot = span;
            }
            Ok(())
        };
        for (ordinal, (reading, place)) in plan.columns.iter().enumerate() {
            let bad = |expected| BadValue { ordinal, expected };
            let Some(cell) = cells.take() else { return Ok(None) };
            let slot = match cell {
                Some(value) => reading.read(value, row, arena).map_err(bad)?,
                None => Slot::Null,
            };
            slots.push(slot);
            if let Some(place) = place {
                let span = raw(slot, cell.unwrap_or_default(), row, arena).map_err(bad)?;
                put_key(*place, cell, span).map_err(bad)?;
            }
        }
        for (place, ordinal) in &plan.separate {
            let bad = |expected| BadValue { ordinal: *ordinal, expected };
            let Some(cell) = cells.take() else { return Ok(None) };
            let span = raw(Slot::Null, cell.unwrap_or_default(), row, arena).map_err(bad)?;
            put_key(*place, cell, span).map_err(bad)?;
        }
        ends.push(arena.len());
        Ok(cells.is_empty().then_some(()))
    }
}

/// Where a key column's bytes are as they came: where its cell's are, if these are the same.
fn raw(
    slot: Slot,
    value: &[u8],
    row: usize,
    arena: &mut Vec<u8>,
) -> Result<(u32, u32), &'static str> {
    if let Slot::Span { start, end, .. } = slot {
        let bytes = arena.get(row + start as usize..row + end as usize);
        if bytes == Some(value) {
            return Ok((start, end));
        }
    }
    let start = arena.len();
    arena.extend_from_slice(value);
    offsets(start, row, arena)
}

/// A value that is none of its column's type. Says nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadValue {
    pub(super) ordinal: usize,
    pub(super) expected: &'static str,
}

/// Takes the answer to a chunk's SELECT.
#[derive(Debug)]
pub(super) struct Filling {
    pub(super) rows: ChunkRows,
    /// Rows that came, kept or not.
    pub(super) came: u64,
    /// From here on rows are dropped.
    pub(super) is_full: bool,
    /// The first value that could not be read.
    pub(super) fault: Option<BadValue>,
    bytes_max: usize,
    definitions: DefaultHasher,
}

/// How far beyond the wanted bytes a chunk grows, in multiples, before the rest of it is dropped.
const BYTES_FACTOR_MAX: usize = 4;

impl Filling {
    pub(super) fn new(plan: Arc<Plan>, bytes_max: usize) -> Self {
        Self {
            rows: ChunkRows::new(plan, bytes_max),
            came: 0,
            is_full: false,
            fault: None,
            bytes_max: bytes_max.saturating_mul(BYTES_FACTOR_MAX),
            definitions: DefaultHasher::new(),
        }
    }

    /// A hash of the columns' definitions: the same as long as the columns are.
    pub(super) fn definitions(&self) -> u64 {
        self.definitions.finish()
    }
}

impl RowSink for Filling {
    fn column(&mut self, definition: &[u8]) {
        self.definitions.write_usize(definition.len());
        self.definitions.write(definition);
    }

    fn row(&mut self, mut cells: Cells<'_>) -> Option<()> {
        self.came += 1;
        self.is_full |= !self.rows.is_empty() && self.rows.bytes() >= self.bytes_max;
        if self.is_full || self.fault.is_some() {
            return Some(());
        }
        match self.rows.push(&mut cells) {
            Ok(whole) => whole,
            Err(fault) => {
                self.fault = Some(fault);
                Some(())
            }
        }
    }
}

#[cfg(test)]
impl ChunkRows {
    /// Rows of text columns as a server answers with them; the first is the key. Whether they are the
    /// last of their range.
    pub(crate) fn of_texts(columns: &[Column], rows: &[[&str; 2]], is_end: bool) -> Self {
        let plan = Plan::new(columns, &[(0, KeyKind::Text("utf8mb4"))], Vec::new());
        let mut filling = Filling::new(Arc::new(plan), 1 << 20);
        for row in rows {
            let cells = row.map(|text| Some(text.as_bytes()));
            filling.row(Cells::new(&tests::packet(&cells))).expect("a row");
        }
        assert_eq!(filling.fault, None);
        filling.rows.end(is_end, None);
        filling.rows
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::change::{Cell, Description};
    use crate::decode::table_as_described;

    /// A packet with these cells.
    pub(super) fn packet(cells: &[Option<&[u8]>]) -> Vec<u8> {
        let mut packet = Vec::new();
        for cell in cells {
            match cell {
                Some(value) => {
                    packet.push(0xfd);
                    let length = u32::try_from(value.len()).expect("short").to_le_bytes();
                    packet.extend_from_slice(&length[..3]);
                    packet.extend_from_slice(value);
                }
                None => packet.push(0xfb),
            }
        }
        packet
    }

    fn plan(column_type: &str, collation: Option<u16>, key: Option<KeyKind>) -> Arc<Plan> {
        let column = crate::change::ColumnDescription {
            name: "c".to_owned(),
            column_type: column_type.to_owned(),
            octets: Some(40),
            collation,
            nullable: true,
            visible: true,
        };
        let description =
            Description { columns: vec![column], primary_key: Some(vec![]), changed_at: None };
        let table = table_as_described("d", "t", &description, false).expect("a known type");
        let key: Vec<_> = key.map(|kind| (0, kind)).into_iter().collect();
        Arc::new(Plan::new(&table.columns, &key, Vec::new()))
    }

    fn fill(plan: &Arc<Plan>, values: &[Option<&[u8]>], bytes_max: usize) -> Filling {
        let mut filling = Filling::new(Arc::clone(plan), bytes_max);
        for value in values {
            filling.row(Cells::new(&packet(&[*value]))).expect("one cell");
        }
        filling
    }

    #[test]
    fn values_of_each_type_become_the_streams_cells() {
        let expected: [(&str, Option<u16>, &str, Cell<'_>); 16] = [
            ("bigint", None, "-9223372036854775808", Cell::Int(i64::MIN)),
            ("bigint unsigned", None, "18446744073709551615", Cell::UInt(u64::MAX)),
            ("int(9) unsigned zerofill", None, "000000007", Cell::UInt(7)),
            ("year", None, "0000", Cell::Int(0)),
            ("float", None, "0.10000000149011612", Cell::Float(0.1)),
            ("double", None, "-0", Cell::Double(-0.0)),
            ("decimal(5,2) unsigned zerofill", None, "000.50", Cell::Text(b"0.50")),
            ("decimal(5,0)", None, "-12345", Cell::Text(b"-12345")),
            ("decimal(5,0) unsigned zerofill", None, "00000", Cell::Text(b"0")),
            ("bit(9)", None, "\x01\x02", Cell::UInt(258)),
            ("time(1)", None, "-838:59:59.0", Cell::Text(b"-838:59:59.0")),
            ("varchar(10)", Some(45), "é", Cell::Text("é".as_bytes())),
            ("varchar(10)", Some(63), "é", Cell::Bytes("é".as_bytes())),
            ("varchar(20)", Some(35), "\0a", Cell::Text(b"a")),
            ("enum('x')", None, "x", Cell::Text(b"x")),
            ("json", None, "[1]", Cell::Json(b"[1]")),
        ];
        for (column_type, collation, value, cell) in expected {
            let plan = plan(column_type, collation, None);
            let filling = fill(&plan, &[Some(value.as_bytes()), None], 100);
            assert_eq!(filling.fault, None, "{column_type}");
            assert_eq!(filling.rows.image(0).cell(0), cell, "{column_type}");
            assert_eq!(filling.rows.image(1).cell(0), Cell::Null, "{column_type}");
        }
        let malformed = fill(&plan("varchar(10)", Some(45), None), &[Some(b"\xff")], 100);
        assert_eq!(malformed.rows.image(0).cell(0), Cell::Malformed(b"\xff"));
        let unknown = fill(&plan("varchar(10)", Some(u16::MAX), None), &[Some(b"a")], 100);
        assert_eq!(unknown.rows.image(0).cell(0), Cell::Malformed(b"a"));
    }

    #[test]
    fn what_is_none_of_its_type_is_a_fault_of_the_column() {
        for (column_type, value) in [
            ("int", "x"),
            ("int", ""),
            ("int", "-"),
            ("int", "9223372036854775808"),
            ("int unsigned", "-1"),
            ("double", "1e"),
            ("decimal(5,2)", ""),
            ("decimal(5,2)", "-"),
            ("decimal(5,2)", "é"),
            ("bit(64)", "123456789"),
        ] {
            let filling = fill(&plan(column_type, None, None), &[Some(value.as_bytes())], 100);
            assert!(filling.fault.is_some(), "{column_type} {value:?}");
        }
        let key = plan("int", None, Some(KeyKind::Number));
        assert!(fill(&key, &[None], 100).fault.is_some(), "a key is not NULL");
        let json = plan("json", None, None);
        assert!(fill(&json, &[Some(b"\xff")], 100).fault.is_some());
    }

    #[test]
    fn another_number_of_cells_is_no_row() {
        let mut filling = Filling::new(plan("int", None, None), 100);
        assert_eq!(filling.row(Cells::new(&packet(&[]))), None);
        assert_eq!(filling.row(Cells::new(&packet(&[Some(b"1"), Some(b"2")]))), None);
    }

    #[test]
    fn rows_beyond_the_bound_are_dropped_and_the_first_is_kept_whatever_its_size() {
        let plan = plan("longblob", None, Some(KeyKind::Bytes));
        let large = vec![7; 1_000];
        let filling = fill(&plan, &[Some(&large), Some(&large), Some(b"x")], 10);
        assert_eq!((filling.rows.len(), filling.came, filling.is_full), (1, 3, true));
        assert_eq!(filling.rows.image(0).cell(0), Cell::Bytes(&large));
        // A gap is never left: what comes behind a dropped row is dropped too.
        let filling = fill(&plan, &[Some(&large), Some(&large), Some(b"x")], 400);
        assert_eq!((filling.rows.len(), filling.is_full), (2, true));
    }

    #[test]
    fn keys_are_of_the_stored_bytes() {
        let gbk = plan("varchar(20)", Some(28), Some(KeyKind::Text("gbk")));
        let filling = fill(&gbk, &[Some(b"a"), Some(b"\xb0\xa1")], 1_000);
        let rows = filling.rows;
        assert_eq!(rows.image(1).cell(0), Cell::Text("啊".as_bytes()));
        assert_eq!(rows.key_literals(0), "_gbk x'61'");
        assert_eq!(rows.last_key().as_deref(), Some("_gbk x'b0a1'"));
        assert_eq!(ChunkRows::new(gbk, 0).last_key(), None);
    }

    proptest! {
        #[test]
        fn no_answer_panics(
            values in proptest::collection::vec(
                proptest::option::of(proptest::collection::vec(any::<u8>(), 0..30)), 0..9,
            ),
            packet in proptest::collection::vec(any::<u8>(), 0..30),
        ) {
            let values: Vec<_> = values.iter().map(Option::as_deref).collect();
            for column_type in ["int", "bit(3)", "decimal(9,3)", "float", "date", "varchar(9)", "json"] {
                for kind in [KeyKind::Number, KeyKind::Float, KeyKind::Text("gbk"), KeyKind::Enum(3)] {
                    let plan = plan(column_type, Some(28), Some(kind));
                    let mut filling = fill(&plan, &values, 1_000);
                    let _unjudged = filling.row(Cells::new(&packet));
                    let rows = filling.rows;
                    for row in 0..=rows.len() {
                        let _unjudged = (rows.key_literals(row), rows.image(row).cells().count());
                    }
                }
            }
        }
    }
}
