//! How a table is read: the [`Table`] that the stream makes of it, the key that chunks go by, and what
//! is selected. Pure: what the server says of the table is asked for in `reader`.

use std::sync::Arc;

use super::query::{BadKey, KeyColumn, KeyKind, Query, quoted};
use super::values::Plan;
use crate::change::{Column, Description, LogicalType, Table};
use crate::decode::{NotUnderstood, table_as_described};

/// How a table is read.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The table as a log with `binlog_row_metadata=FULL` has it: the same columns, types, primary key
    /// and fingerprint.
    pub table: Arc<Table>,
    /// Ordinals of the columns of the key that it is read by, in the key's order: the primary key, or
    /// else a unique one.
    pub key: Vec<usize>,
    /// What puts the rows in order, as text: that key, with the types of its columns. With another order
    /// a key tells nothing about which rows were read.
    pub order: Arc<str>,
    /// Rows, as the server estimates them.
    pub estimated_rows: Option<u64>,
    pub(super) plan: Arc<Plan>,
    pub(super) query: Query,
    /// A hash of the columns' definitions in the answer to the SELECT.
    pub(super) definitions: u64,
}

/// Why a table can't be read in chunks. Says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The server does not show it.
    #[error("there is no such table, or the account may not see it: grant SELECT on it")]
    Missing,
    /// The account may not read it.
    #[error("the account may not read it: grant SELECT on all of its columns")]
    Denied,
    /// A view, a sequence, a table with system versioning.
    #[error("it is a {0}, of which snapshots can't read rows: leave it out")]
    Kind(String),
    /// The engine shows what others have not committed.
    #[error(
        "its engine {0} has no transactions, so nobody can tell what was in it at one place of the \
         binary log: ALTER TABLE ... ENGINE=InnoDB, or leave it out"
    )]
    Engine(String),
    /// No key to go by.
    #[error(
        "it has no key that its rows can be read by{}: add a PRIMARY KEY, or a UNIQUE index of whole \
         columns that are NOT NULL, or leave it out; or allow a lock: \
         --lock-keyless, snapshot.keyless = lock", reasons(.0)
    )]
    Key(Vec<RejectedKey>),
    /// A column of a type that is not known.
    #[error(
        "column {name}: the type {column_type} is not known to this version: leave the table out"
    )]
    Column {
        /// Its name.
        name: String,
        /// Its type as DDL has it.
        column_type: String,
    },
    /// It was altered while it was looked at.
    #[error("it is being altered: ask again when that is over")]
    Unsettled,
}

/// A unique index that chunks can't go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedKey {
    /// Its name.
    pub index: String,
    /// What keeps it from being used.
    pub reason: &'static str,
}

fn reasons(rejected: &[RejectedKey]) -> String {
    if rejected.is_empty() {
        return String::new();
    }
    let reasons = rejected.iter().map(|key| format!("{} {}", key.index, key.reason));
    format!(" ({})", reasons.collect::<Vec<_>>().join("; "))
}

/// A column of a unique index, as `SHOW INDEX` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexPart {
    pub(super) index: String,
    /// `None` for an expression.
    pub(super) column: Option<String>,
    pub(super) is_prefix: bool,
    pub(super) nullable: bool,
    pub(super) descending: bool,
    /// The index has no order, or the server does not use it.
    pub(super) unusable: Option<&'static str>,
}

/// A key that was chosen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) index: String,
    /// Ordinals, and whether the index has the largest value first.
    pub(super) columns: Vec<(usize, bool)>,
}

/// Picks the first index, the primary key before all, that orders all rows.
pub(super) fn choose_key(table: &Table, parts: &[IndexPart]) -> Result<Key, Unreadable> {
    let mut rejected = Vec::new();
    let mut indexes: Vec<&[IndexPart]> = parts.chunk_by(|a, b| a.index == b.index).collect();
    indexes.sort_by_key(|parts| parts.first().is_none_or(|part| part.index != "PRIMARY"));
    for parts in indexes {
        let index = parts.first().map(|part| part.index.clone()).unwrap_or_default();
        let columns = parts.iter().map(|part| key_column(table, part));
        match columns.collect::<Result<Vec<_>, _>>() {
            Ok(columns) if begins_with_set(table, &columns) => {
                let reason = "begins with a SET, of which servers search no range";
                rejected.push(RejectedKey { index, reason });
            }
            Ok(columns) => return Ok(Key { index, columns }),
            Err(reason) => rejected.push(RejectedKey { index, reason }),
        }
    }
    Err(Unreadable::Key(rejected))
}

fn begins_with_set(table: &Table, key: &[(usize, bool)]) -> bool {
    let first = key.first().and_then(|(ordinal, _)| table.columns.get(*ordinal));
    first.is_some_and(|column| column.logical_type == LogicalType::Set)
}

fn key_column(table: &Table, part: &IndexPart) -> Result<(usize, bool), &'static str> {
    if let Some(reason) = part.unusable {
        return Err(reason);
    }
    let name = part.column.as_ref().ok_or("is of an expression")?;
    if part.is_prefix {
        return Err("is of the first characters of a column only");
    }
    if part.nullable {
        return Err("allows NULL");
    }
    let ordinal = table.columns.iter().position(|column| column.name == *name);
    Ok((ordinal.ok_or("is of a column that the account may not see")?, part.descending))
}

/// Types of MariaDB that are shown as text, and stored (and streamed) as so many bytes.
fn native_bytes(column_type: &str) -> Option<u8> {
    match column_type {
        "uuid" | "inet6" => Some(16),
        "inet4" => Some(4),
        _ => None,
    }
}

/// What is selected so that a value comes as the stream has it: FLOAT would come with six digits.
fn selected(column: &Column, column_type: &str) -> String {
    let name = quoted(&column.name);
    match (column.logical_type, native_bytes(column_type)) {
        (LogicalType::Float | LogicalType::Double, _) => format!("{name} * 1e0"),
        (_, Some(bytes)) => format!("CAST({name} AS BINARY({bytes}))"),
        (_, None) => name,
    }
}

/// What is selected besides for the literal of a value in a key.
fn selected_for_key(column: &Column, column_type: &str) -> Option<String> {
    let name = quoted(&column.name);
    if matches!(column.logical_type, LogicalType::Enum | LogicalType::Set | LogicalType::Bit) {
        return Some(format!("{name} + 0"));
    }
    native_bytes(column_type).map(|_| format!("CAST({name} AS CHAR)"))
}

fn key_kind(column: &Column, column_type: &str) -> Result<KeyKind, &'static str> {
    Ok(match column.logical_type {
        LogicalType::Integer
        | LogicalType::Decimal
        | LogicalType::Bit
        | LogicalType::Year
        | LogicalType::Set => KeyKind::Number,
        LogicalType::Float | LogicalType::Double => KeyKind::Float,
        LogicalType::Date | LogicalType::Time | LogicalType::Datetime | LogicalType::Timestamp => {
            KeyKind::Quoted
        }
        LogicalType::Text if column.charset.is_empty() => {
            return Err("is of text in a character set that is not known");
        }
        LogicalType::Text => KeyKind::Text(column.charset),
        LogicalType::Enum => KeyKind::Enum(column.members.len()),
        LogicalType::Binary if native_bytes(column_type).is_some() => KeyKind::Quoted,
        LogicalType::Binary => KeyKind::Bytes,
        LogicalType::Json | LogicalType::Geometry | LogicalType::Vector => {
            return Err("is of a type that has no order");
        }
    })
}

/// Everything about a key's column that decides about the order of rows, and about literals.
fn ordered_by(column: &Column, kind: KeyKind, descending: bool) -> String {
    let direction = if descending { " DESC" } else { "" };
    let (name, collation) = (quoted(&column.name), column.collation);
    let members = match kind {
        KeyKind::Enum(_) => column.members.join(","),
        KeyKind::Number | KeyKind::Float | KeyKind::Quoted | KeyKind::Text(_) | KeyKind::Bytes => {
            String::new()
        }
    };
    format!("{name} {kind:?} {collation}{direction}{members}")
}

impl Layout {
    /// Whether its rows have no key: then they can only be read all at once.
    pub fn is_keyless(&self) -> bool {
        self.key.is_empty()
    }

    /// Whether keys rise in the order in which rows are read.
    pub fn is_ascending(&self) -> bool {
        !self.query.key.iter().any(|column| column.descending)
    }

    /// The layout of a table with these columns and unique indexes; `maria`: on a server of MariaDB.
    pub(super) fn new(
        (database, name): (&str, &str),
        description: &Description,
        maria: bool,
        parts: &[IndexPart],
        allows_keyless: bool,
    ) -> Result<Self, Unreadable> {
        let table = table_as_described(database, name, description, maria);
        let table = table.map_err(|reason| match reason {
            NotUnderstood::Key => Unreadable::Unsettled,
            NotUnderstood::Column(ordinal) => {
                let column = description.columns.get(ordinal);
                let column = column.map(|column| (column.name.clone(), column.column_type.clone()));
                let (name, column_type) = column.unwrap_or_default();
                Unreadable::Column { name, column_type }
            }
        })?;
        let Key { index, columns: key } = match choose_key(&table, parts) {
            Err(Unreadable::Key(_)) if allows_keyless => {
                Key { index: String::new(), columns: Vec::new() }
            }
            chosen => chosen?,
        };
        let described = |ordinal: usize| {
            let column = table.columns.get(ordinal).zip(description.columns.get(ordinal));
            column.map(|(column, described)| (column, described.column_type.as_str()))
        };
        let mut list: Vec<String> = (0..table.columns.len())
            .filter_map(described)
            .map(|(column, column_type)| selected(column, column_type))
            .collect();
        let (mut key_list, mut kinds, mut separate) = (Vec::new(), Vec::new(), Vec::new());
        let (mut columns, mut order) = (Vec::new(), Vec::new());
        for (place, (ordinal, descending)) in key.iter().copied().enumerate() {
            let Some((column, column_type)) = described(ordinal) else { continue };
            let kind = key_kind(column, column_type).map_err(|reason| {
                Unreadable::Key(vec![RejectedKey { index: index.clone(), reason }])
            })?;
            let for_key = selected_for_key(column, column_type);
            separate.extend(for_key.as_ref().map(|_| (place, ordinal)));
            list.extend(for_key.clone());
            key_list.push(for_key.unwrap_or_else(|| selected(column, column_type)));
            kinds.push((ordinal, kind));
            order.push(ordered_by(column, kind, descending));
            columns.push(KeyColumn { name: quoted(&column.name), kind, descending, maria });
        }
        let mut from = format!("{}.{}", quoted(database), quoted(name));
        if !key.is_empty() {
            from = format!("{from} FORCE INDEX ({})", quoted(&index));
        }
        Ok(Self {
            key: kinds.iter().map(|(ordinal, _)| *ordinal).collect(),
            order: order.join(", ").into(),
            estimated_rows: None,
            plan: Arc::new(Plan::new(&table.columns, &kinds, separate)),
            query: Query {
                list: list.join(", "),
                key_list: key_list.join(", "),
                from,
                key: columns,
            },
            definitions: 0,
            table: Arc::new(table),
        })
    }

    /// A value of the key's first column as an operator types it, as the literal that
    /// [`Range::keys`](super::Range::keys) takes.
    pub fn key_value(&self, typed: &str) -> Result<String, BadKey> {
        let column = self.key.first().and_then(|ordinal| self.table.columns.get(*ordinal));
        let kind = self.query.key.first().map(|column| column.kind);
        let (Some(column), Some(kind)) = (column, kind) else {
            return Err(BadKey::Width { found: 1, expected: 0 });
        };
        let mut literal = String::new();
        match kind {
            KeyKind::Text(_) => KeyKind::Text("utf8mb4").write(typed.as_bytes(), &mut literal),
            KeyKind::Enum(_) => {
                let index = column.members.iter().position(|member| member == typed);
                let index =
                    index.ok_or(BadKey::Value { column: 0, expected: "one of its labels" })?;
                literal = (index + 1).to_string();
            }
            KeyKind::Number | KeyKind::Float | KeyKind::Quoted | KeyKind::Bytes => {
                if !kind.accepts(typed.as_bytes()) {
                    return Err(BadKey::Value { column: 0, expected: kind.expected() });
                }
                kind.write(typed.as_bytes(), &mut literal);
            }
        }
        Ok(literal)
    }

    /// Whether a key that was saved or typed is one of this table's.
    #[cfg(feature = "testing")]
    pub fn check_key(&self, key: &str) -> Result<(), BadKey> {
        self.query.check(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::ColumnDescription;

    fn description(columns: &[(&str, &str, Option<u16>)]) -> Description {
        let column = |(name, column_type, collation): &(&str, &str, Option<u16>)| {
            let is_string = column_type.contains("char") || column_type.contains("binary");
            ColumnDescription {
                name: (*name).to_owned(),
                column_type: (*column_type).to_owned(),
                octets: is_string.then_some(40),
                collation: *collation,
                nullable: false,
                visible: true,
            }
        };
        let columns = columns.iter().map(column).collect();
        Description { columns, primary_key: Some(vec![0]), changed_at: None }
    }

    fn part(index: &str, column: &str) -> IndexPart {
        IndexPart {
            index: index.to_owned(),
            column: Some(column.to_owned()),
            is_prefix: false,
            nullable: false,
            descending: false,
            unusable: None,
        }
    }

    fn layout(
        columns: &[(&str, &str, Option<u16>)],
        parts: &[IndexPart],
    ) -> Result<Layout, Unreadable> {
        Layout::new(("d", "t`x"), &description(columns), true, parts, false)
    }

    #[test]
    fn what_does_not_come_as_the_stream_has_it_is_selected_otherwise() {
        let columns = [
            ("e", "enum('x','y')", Some(45)),
            ("f", "float unsigned", None),
            ("u", "uuid", None),
            ("b`q", "bit(9)", None),
            ("t", "varchar(10)", Some(28)),
        ];
        let parts = ["e", "f", "u", "b`q", "t"].map(|column| part("PRIMARY", column));
        let layout = layout(&columns, &parts).expect("sound columns");
        assert_eq!(
            layout.query.list,
            "`e`, `f` * 1e0, CAST(`u` AS BINARY(16)), `b``q`, `t`, `e` + 0, CAST(`u` AS CHAR), \
             `b``q` + 0"
        );
        assert_eq!(layout.query.key_list, "`e` + 0, `f` * 1e0, CAST(`u` AS CHAR), `b``q` + 0, `t`");
        assert_eq!(layout.query.from, "`d`.`t``x` FORCE INDEX (`PRIMARY`)");
        let kinds: Vec<_> = layout.query.key.iter().map(|column| column.kind).collect();
        assert_eq!(
            kinds,
            [
                KeyKind::Enum(2),
                KeyKind::Float,
                KeyKind::Quoted,
                KeyKind::Number,
                KeyKind::Text("gbk")
            ]
        );
        assert_eq!(layout.key, [0, 1, 2, 3, 4]);
        assert_eq!(layout.key_value("y").expect("a label"), "2");
        layout.key_value("z").expect_err("no label");
    }

    #[test]
    fn the_first_key_that_orders_all_rows_is_chosen_and_the_primary_one_before_all() {
        let columns = [("a", "int", None), ("b", "int", None), ("s", "set('x')", Some(45))];
        let chosen = |parts: &[IndexPart]| layout(&columns, parts).map(|layout| layout.key);
        let two = [part("u", "b"), part("u", "a"), part("PRIMARY", "a")];
        assert_eq!(chosen(&two).expect("a key"), [0]);
        assert_eq!(chosen(&two[..2]).expect("a key"), [1, 0]);
        let nullable = IndexPart { nullable: true, ..part("n", "a") };
        let prefix = IndexPart { is_prefix: true, ..part("p", "a") };
        let expression = IndexPart { column: None, ..part("e", "") };
        let hash = IndexPart { unusable: Some("is not a BTREE"), ..part("h", "a") };
        let unfit = [nullable, prefix, expression, hash, part("s", "s"), part("x", "gone")];
        let Err(Unreadable::Key(rejected)) = chosen(&unfit) else { panic!("none of them is fit") };
        let names: Vec<_> = rejected.iter().map(|key| key.index.as_str()).collect();
        assert_eq!(names, ["n", "p", "e", "h", "s", "x"]);
        let all = [&unfit[..], &[part("z", "a")]].concat();
        assert_eq!(chosen(&all).expect("the last"), [0]);
        let words = Unreadable::Key(rejected).to_string();
        assert!(words.contains("(n allows NULL; p is of the first characters"), "{words}");
        let none = chosen(&[]).expect_err("no key").to_string();
        assert!(none.starts_with("it has no key that its rows can be read by: add"), "{none}");
    }

    #[test]
    fn a_type_that_is_not_known_is_named() {
        let unknown = layout(&[("a", "int", None), ("z", "hologram(3)", None)], &[]);
        let expected =
            Unreadable::Column { name: "z".to_owned(), column_type: "hologram(3)".to_owned() };
        assert_eq!(unknown.expect_err("no such type"), expected);
    }
}
