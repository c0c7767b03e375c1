//! Masks: columns that must not leave are dropped, or replaced by a keyed hash.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::sync::Arc;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{Config, Pattern};
use crate::change::{
    Area, BytesKind, Cell, Change, Column, Image, LogicalType, RowBuffer, Slot, Table,
};

/// How the rows of one table, in one shape, are rewritten.
#[derive(Debug)]
pub struct Mask {
    /// The table as consumers see it: without dropped columns, hashed ones as text.
    pub table: Arc<Table>,
    /// For each column that stays: its ordinal in the source, and whether it is hashed.
    columns: Vec<(usize, bool)>,
    key: Hmac<Sha256>,
}

impl Mask {
    /// The mask of `table`; `None` when none of its columns is named.
    pub(super) fn of(config: &Config, table: &Table) -> Option<Self> {
        let named = |patterns: &[Pattern], column: &Column| {
            let names = [&*table.database, &*table.name, &*column.name];
            patterns.iter().any(|pattern| pattern.matches(&names, config.names))
        };
        let columns: Vec<_> = table
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| !named(&config.drop_columns, column))
            .map(|(ordinal, column)| (ordinal, named(&config.hash_columns, column)))
            .collect();
        let untouched =
            columns.len() == table.columns.len() && columns.iter().all(|(_, hashed)| !hashed);
        if untouched {
            return None;
        }
        // HMAC takes a key of any length, the empty one included.
        let key = Hmac::<Sha256>::new_from_slice(&config.hash_key).ok()?;
        Some(Self { table: Arc::new(seen_by_consumers(table, &columns)), columns, key })
    }

    /// Whether consumers see the column with this ordinal of the source as it is.
    pub fn keeps(&self, ordinal: usize) -> bool {
        self.columns.contains(&(ordinal, false))
    }

    /// Rewrites a change into `space`, which holds the result.
    pub fn apply<'a>(&self, change: &Change<'a>, space: &'a mut MaskBuffer) -> Change<'a> {
        space.buffer.clear();
        for (image, before) in [(&change.before, true), (&change.after, false)] {
            if let Some(image) = image {
                self.rewrite(image, space, before);
            }
        }
        let space = &*space;
        let image = |slots: &'a [Slot]| Image::new(slots, &[], &space.buffer.scratch);
        Change {
            op: change.op,
            row: change.row,
            before: change.before.map(|_| image(&space.buffer.before)),
            after: change.after.map(|_| image(&space.buffer.after)),
        }
    }

    fn rewrite(&self, image: &Image<'_>, space: &mut MaskBuffer, before: bool) {
        for (ordinal, hashed) in &self.columns {
            let cell = image.cell(*ordinal);
            let slot = if *hashed { self.hash(cell, space) } else { copy(cell, space) };
            let slots = if before { &mut space.buffer.before } else { &mut space.buffer.after };
            slots.push(slot);
        }
    }

    /// HMAC-SHA-256 of the value's text, as 64 hexadecimal digits; NULL and absent stay.
    fn hash(&self, cell: Cell<'_>, space: &mut MaskBuffer) -> Slot {
        let mut mac = self.key.clone();
        let mut digits = [0; 32];
        match cell {
            Cell::Absent => return Slot::Absent,
            Cell::Null => return Slot::Null,
            Cell::Int(value) => mac.update(digit_text(&mut digits, &value)),
            Cell::UInt(value) => mac.update(digit_text(&mut digits, &value)),
            Cell::Float(value) => mac.update(digit_text(&mut digits, &value)),
            Cell::Double(value) => mac.update(digit_text(&mut digits, &value)),
            Cell::Text(bytes)
            | Cell::Malformed(bytes)
            | Cell::Bytes(bytes)
            | Cell::Json(bytes)
            | Cell::JsonDiff(bytes)
            | Cell::Vector(bytes) => mac.update(bytes),
            Cell::Omitted { sha256, .. } => mac.update(&sha256),
        }
        let start = space.buffer.scratch.len();
        for byte in mac.finalize().into_bytes() {
            for nibble in [byte >> 4, byte & 15] {
                space.buffer.scratch.push(b"0123456789abcdef"[usize::from(nibble)]);
            }
        }
        span(BytesKind::Text, start, space.buffer.scratch.len())
    }
}

/// Room for one rewritten row, used again for each.
#[derive(Debug, Default)]
pub struct MaskBuffer {
    buffer: RowBuffer,
}

impl MaskBuffer {
    /// To be called behind the last row of an event: room that grew large is given back.
    pub fn release(&mut self) {
        self.buffer.release();
    }
}

/// Text of a number; numbers longer than the space are cut, which no integer nor float of 64 bits
/// in its shortest form is.
fn digit_text<'a>(space: &'a mut [u8; 32], value: &dyn std::fmt::Display) -> &'a [u8] {
    let room = space.len();
    let mut rest = &mut space[..];
    let full = write!(rest, "{value}").is_err();
    let used = room - rest.len();
    if full { &space[..] } else { &space[..used] }
}

fn copy(cell: Cell<'_>, space: &mut MaskBuffer) -> Slot {
    let (kind, bytes) = match cell {
        Cell::Absent | Cell::Omitted { .. } => return Slot::Absent,
        Cell::Null => return Slot::Null,
        Cell::Int(value) => return Slot::Int(value),
        Cell::UInt(value) => return Slot::UInt(value),
        Cell::Float(value) => return Slot::Float(value),
        Cell::Double(value) => return Slot::Double(value),
        Cell::Text(bytes) => (BytesKind::Text, bytes),
        Cell::Malformed(bytes) => (BytesKind::Malformed, bytes),
        Cell::Bytes(bytes) => (BytesKind::Bytes, bytes),
        Cell::Json(bytes) => (BytesKind::Json, bytes),
        Cell::JsonDiff(bytes) => (BytesKind::JsonDiff, bytes),
        Cell::Vector(bytes) => (BytesKind::Vector, bytes),
    };
    let start = space.buffer.scratch.len();
    space.buffer.scratch.extend_from_slice(bytes);
    span(kind, start, space.buffer.scratch.len())
}

fn span(kind: BytesKind, start: usize, end: usize) -> Slot {
    // An event is shorter than 4 GiB, and hashes are shorter than what they replace or 64 bytes.
    let at = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
    Slot::Span { kind, area: Area::Scratch, start: at(start), end: at(end) }
}

fn seen_by_consumers(table: &Table, columns: &[(usize, bool)]) -> Table {
    let kept = |ordinal: &usize| columns.iter().position(|(source, _)| source == ordinal);
    // A key that lost a column identifies nothing any more.
    let primary_key: Option<Vec<usize>> = table.primary_key.iter().map(kept).collect();
    let columns = columns.iter().map(|(ordinal, hashed)| {
        let column = &table.columns[*ordinal];
        if *hashed { hashed_column(column) } else { column.clone() }
    });
    let mut seen = Table {
        database: Arc::clone(&table.database),
        name: Arc::clone(&table.name),
        columns: columns.collect(),
        primary_key: primary_key.unwrap_or_default(),
        named: table.named,
        fingerprint: 0,
        outbox: None,
    };
    // The two shapes must not share a fingerprint: consumers may cache by it.
    let mut hasher = DefaultHasher::new();
    table.fingerprint.hash(&mut hasher);
    for column in &seen.columns {
        (&column.name, &column.mysql_type).hash(&mut hasher);
    }
    seen.fingerprint = hasher.finish();
    seen
}

fn hashed_column(column: &Column) -> Column {
    Column {
        name: column.name.clone(),
        logical_type: LogicalType::Text,
        mysql_type: "char(64)".to_owned(),
        nullable: column.nullable,
        unsigned: false,
        collation: 0,
        charset: "ascii",
        members: Vec::new(),
        visible: column.visible,
    }
}

#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::format_collect,
    reason = "small values, made to fit"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::change::Op;
    use crate::filter::{Filter, Route};

    const HASH_OF_ANN: &[u8] = b"5a4f36ffabc9a58129802d45c8d9fbf4e051c142c935ab6416dfd63e19778361";

    fn column(name: &str) -> Column {
        Column {
            name: name.to_owned(),
            logical_type: LogicalType::Text,
            mysql_type: "varchar(80)".to_owned(),
            nullable: true,
            unsigned: false,
            collation: 255,
            charset: "utf8mb4",
            members: Vec::new(),
            visible: true,
        }
    }

    fn users() -> Table {
        Table {
            database: "shop".into(),
            name: "users".into(),
            columns: ["id", "email", "secret", "city"].map(column).into(),
            primary_key: vec![0],
            named: true,
            fingerprint: 7,
            outbox: None,
        }
    }

    fn patterns(texts: &[&str], parts: usize) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::parse(text, parts).expect(text)).collect()
    }

    fn config() -> Config {
        Config {
            tables: patterns(&["shop.*"], 2),
            exclude: patterns(&["shop.audit"], 2),
            only: Vec::new(),
            drop_columns: patterns(&["*.*.secret"], 3),
            hash_columns: patterns(&["shop.users.email"], 3),
            hash_key: b"key".to_vec(),
            ..Config::default()
        }
    }

    #[test]
    fn dropped_and_hashed_columns_leave_no_trace_of_their_values() {
        let mut filter = Filter::new(config());
        let Route::Mask(mask) = filter.route(&Arc::new(users())) else {
            panic!("users has columns to hide");
        };
        let event = b"1ann@example.orgs3cretParis";
        let spans = [(0, 1), (1, 16), (16, 22), (22, 27)];
        let slots = spans.map(|(start, end)| Slot::Span {
            kind: BytesKind::Text,
            area: Area::Event,
            start,
            end,
        });
        let image = Image::new(&slots, event, &[]);
        let change = Change { op: Op::Insert, row: 0, before: None, after: Some(image) };

        let mut space = MaskBuffer::default();
        let seen = mask.apply(&change, &mut space);

        let names: Vec<_> = mask.table.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["id", "email", "city"]);
        let after = seen.after.expect("after image");
        assert_eq!(after.cell(0), Cell::Text(b"1"));
        assert_eq!(after.cell(2), Cell::Text(b"Paris"));
        let Cell::Text(hash) = after.cell(1) else { panic!("hash as text") };
        // printf ann@example.org | openssl dgst -sha256 -hmac key
        assert_eq!(hash, HASH_OF_ANN);
        let all = space.buffer.scratch.as_slice();
        for hidden in [&b"s3cret"[..], b"ann@"] {
            assert!(!all.windows(hidden.len()).any(|window| window == hidden));
        }
    }

    #[test]
    fn equal_values_hash_alike_and_null_stays_null() {
        let mut filter = Filter::new(config());
        let Route::Mask(mask) = filter.route(&Arc::new(users())) else {
            panic!("users has columns to hide");
        };
        let hash_of = |slot: Slot| {
            let slots = [Slot::Null, slot, Slot::Null, Slot::Null];
            let image = Image::new(&slots, b"42", &[]);
            let change = Change { op: Op::Delete, row: 0, before: Some(image), after: None };
            let mut space = MaskBuffer::default();
            let cell = mask.apply(&change, &mut space).before.expect("before").cell(1);
            if let Cell::Text(text) = cell { Some(text.to_vec()) } else { None }
        };
        let text = Slot::Span { kind: BytesKind::Text, area: Area::Event, start: 0, end: 2 };
        assert_eq!(hash_of(Slot::Int(42)), hash_of(text));
        assert_ne!(hash_of(Slot::Int(43)), hash_of(text));
        assert_eq!(hash_of(Slot::Null), None);
    }

    #[test]
    fn a_key_that_lost_a_column_is_no_key() {
        let names = ["id", "email", "secret", "city"];
        let subsets = || 0..1_u32 << names.len();
        let members = |set: u32| (0..names.len()).filter(move |ordinal| set >> ordinal & 1 == 1);
        for (key, dropped) in subsets().flat_map(|key| subsets().map(move |drops| (key, drops))) {
            let table = Table { primary_key: members(key).collect(), ..users() };
            let drops: Vec<_> =
                members(dropped).map(|ordinal| format!("shop.users.{}", names[ordinal])).collect();
            let drops: Vec<_> = drops.iter().map(String::as_str).collect();
            let drop_columns = patterns(&drops, 3);
            let config = Config { drop_columns, hash_columns: Vec::new(), ..config() };
            let Some(mask) = Mask::of(&config, &table) else {
                assert_eq!(dropped, 0);
                continue;
            };
            let seen = &mask.table;
            assert_ne!(seen.fingerprint, table.fingerprint);
            let key_names: Vec<_> =
                seen.primary_key.iter().map(|ordinal| &seen.columns[*ordinal].name).collect();
            let expected: Vec<_> = if key & dropped == 0 {
                table.primary_key.iter().map(|ordinal| &table.columns[*ordinal].name).collect()
            } else {
                Vec::new()
            };
            assert_eq!(key_names, expected, "key {key:b} without {dropped:b}");
        }
    }

    const TEXT: &[u8] = b"a text of fifty bytes, of which values are the parts";

    fn slot() -> impl Strategy<Value = Slot> {
        let kinds = [
            BytesKind::Text,
            BytesKind::Malformed,
            BytesKind::Bytes,
            BytesKind::Json,
            BytesKind::JsonDiff,
            BytesKind::Vector,
        ];
        let area = prop_oneof![Just(Area::Event), Just(Area::Scratch)];
        let span = (prop::sample::select(kinds.to_vec()), area, 0..TEXT.len(), 0..TEXT.len());
        prop_oneof![
            Just(Slot::Absent),
            Just(Slot::Null),
            any::<i64>().prop_map(Slot::Int),
            any::<u64>().prop_map(Slot::UInt),
            any::<i32>().prop_map(|value| Slot::Float(value as f32 / 8.0)),
            any::<i64>().prop_map(|value| Slot::Double(value as f64 / 8.0)),
            span.prop_map(|(kind, area, one, other)| {
                let (start, end) = (one.min(other) as u32, one.max(other) as u32);
                Slot::Span { kind, area, start, end }
            }),
        ]
    }

    /// What is hashed of a value; `None`: it stays.
    fn hashed_text(cell: Cell<'_>) -> Option<Vec<u8>> {
        Some(match cell {
            Cell::Absent | Cell::Null => return None,
            Cell::Int(value) => value.to_string().into_bytes(),
            Cell::UInt(value) => value.to_string().into_bytes(),
            Cell::Float(value) => value.to_string().into_bytes(),
            Cell::Double(value) => value.to_string().into_bytes(),
            Cell::Text(bytes)
            | Cell::Malformed(bytes)
            | Cell::Bytes(bytes)
            | Cell::Json(bytes)
            | Cell::JsonDiff(bytes)
            | Cell::Vector(bytes) => bytes.to_vec(),
            Cell::Omitted { .. } => unreachable!("no slot is one"),
        })
    }

    proptest! {
        #[test]
        fn each_value_of_each_image_is_left_out_hashed_or_the_same(
            rows in prop::collection::vec(
                (prop::option::of(prop::array::uniform4(slot())),
                 prop::option::of(prop::array::uniform4(slot()))),
                1..4,
            ),
            (dropped, hashed) in (0..16_u32, 0..16_u32),
        ) {
            let named = |set: u32| -> Vec<String> {
                let names = ["id", "email", "secret", "city"].iter().enumerate();
                let members = names.filter(|(at, _)| set >> at & 1 == 1);
                members.map(|(_, name)| format!("shop.users.{name}")).collect()
            };
            let lists = [dropped, hashed].map(|set| {
                named(set).iter().map(|text| Pattern::parse(text, 3).expect(text)).collect::<Vec<_>>()
            });
            let [drop_columns, hash_columns] = lists;
            let config = Config { drop_columns, hash_columns, ..config() };
            let Some(mask) = Mask::of(&config, &users()) else {
                prop_assert_eq!(dropped | hashed, 0);
                return Ok(());
            };
            for ordinal in 0..5 {
                let is_hidden = ordinal > 3 || (dropped | hashed) >> ordinal & 1 == 1;
                prop_assert_eq!(mask.keeps(ordinal), !is_hidden, "{}", ordinal);
            }
            // One space for all rows, as in a run
            let mut space = MaskBuffer::default();
            let scratch: Vec<u8> = TEXT.iter().rev().copied().collect();
            for (row, (before, after)) in rows.iter().enumerate() {
                let image = |slots| Image::new(slots, TEXT, &scratch);
                let (before, after) =
                    (before.as_ref().map(|slots| image(slots)), after.as_ref().map(|slots| image(slots)));
                let change = Change { op: Op::Update, row: row as u64, before, after };
                let seen = mask.apply(&change, &mut space);
                prop_assert_eq!((seen.op, seen.row), (Op::Update, row as u64));
                for (was, is) in [(before, seen.before), (after, seen.after)] {
                    prop_assert_eq!(was.is_some(), is.is_some());
                    let (Some(was), Some(is)) = (was, is) else { continue };
                    let mut left = 0;
                    for ordinal in (0..4).filter(|at| dropped >> at & 1 == 0) {
                        let cell = is.cell(left);
                        left += 1;
                        let expected = was.cell(ordinal);
                        let text = hashed_text(expected).filter(|_| hashed >> ordinal & 1 == 1);
                        let Some(text) = text else {
                            prop_assert_eq!(cell, expected);
                            continue;
                        };
                        let mac = Hmac::<Sha256>::new_from_slice(b"key").expect("a key");
                        let digest = mac.chain_update(text).finalize().into_bytes();
                        let digits: String = digest.iter().map(|it| format!("{it:02x}")).collect();
                        prop_assert_eq!(cell, Cell::Text(digits.as_bytes()));
                    }
                    prop_assert_eq!(left, mask.table.columns.len());
                }
            }
        }
    }

    #[test]
    fn numbers_of_every_length_are_hashed_whole_up_to_the_room() {
        for (value, expected) in [
            (i64::MIN.to_string(), i64::MIN.to_string()),
            ("7".repeat(32), "7".repeat(32)),
            ("7".repeat(31) + "89", "7".repeat(31) + "8"),
            (String::new(), String::new()),
        ] {
            assert_eq!(digit_text(&mut [0; 32], &value), expected.as_bytes(), "{value}");
        }
    }

    #[test]
    fn what_a_large_row_took_is_given_back_and_holds_no_value() {
        let mut space = MaskBuffer::default();
        space.buffer.scratch = vec![b's'; 8 << 20];
        space.buffer.after.push(Slot::Null);
        space.release();
        assert!(space.buffer.scratch.capacity() <= 1 << 20);
        assert!(space.buffer.after.is_empty() && space.buffer.scratch.is_empty());
    }

    #[test]
    fn a_hashed_column_is_seen_as_text_of_its_own_and_another_shape() {
        let mut table = users();
        table.columns[1].visible = false;
        table.columns[1].nullable = false;
        let mask = Mask::of(&config(), &table).expect("columns to hide");
        let email = &mask.table.columns[1];
        assert_eq!((email.mysql_type.as_str(), email.charset), ("char(64)", "ascii"));
        assert_eq!((email.visible, email.nullable, email.unsigned), (false, false, false));
        let other = Table { fingerprint: 8, ..users() };
        let other = Mask::of(&config(), &other).expect("columns to hide");
        assert_ne!(other.table.fingerprint, mask.table.fingerprint);
        assert!(mask.table.named);
    }

    #[test]
    fn tables_are_chosen_by_include_then_exclude() {
        let mut filter = Filter::new(config());
        for (database, name, published) in
            [("shop", "orders", true), ("shop", "audit", false), ("hr", "pay", false)]
        {
            let table = Table {
                database: database.into(),
                name: name.into(),
                columns: Vec::new(),
                fingerprint: name.len() as u64 * 31 + database.len() as u64,
                outbox: None,
                ..users()
            };
            let route = filter.route(&Arc::new(table));
            assert_eq!(matches!(route, Route::Publish), published, "{database}.{name}");
        }
    }
}
