//! A [`Description`] held against a table map, column by column.
//!
//! It is taken only if everything that the log tells is the same in it: the number of columns, and of
//! each the type, length, precision and scale, fraction digits, nullability, and sign, collation and
//! kind of geometry where the log has them. What is left is what the log does not tell: names, keys,
//! labels, and on servers before 8.0 signs and collations.

use super::declared::Declared;
use super::metadata::{Added, ColumnType, Metadata};
use crate::change::{ColumnDescription, Description};
use crate::decode::Misfit;
use crate::decode::charset;
use crate::decode::row::wire::{self, string_len};
use crate::decode::row::{ColumnPlan, WireColumn, real_type};

/// Collation id of binary strings.
const COLLATION_BINARY: u16 = 63;

/// The declared types of a description; `None` where the text is not understood.
pub(super) fn declared(description: &Description) -> Vec<Option<Declared>> {
    description.columns.iter().map(|column| Declared::parse(&column.column_type)).collect()
}

/// Adds what the log does not tell; nothing is taken from a description that does not fit.
pub(super) fn complete<'a>(
    metadata: &mut Metadata<'a>,
    columns: &[ColumnType],
    is_nullable: impl Fn(usize) -> bool,
    description: &'a Description,
    declared: &'a [Option<Declared>],
) -> Result<(), Misfit> {
    let width = columns.len();
    if description.columns.len() != width || declared.len() != width {
        return Err(Misfit::Width { log: width, dictionary: description.columns.len() });
    }
    let key = description.primary_key.as_deref().ok_or(Misfit::Key)?;
    if key.iter().any(|ordinal| *ordinal >= width) {
        return Err(Misfit::Key);
    }
    let mut told = Vec::with_capacity(width);
    let all = columns.iter().zip(&description.columns).zip(declared).enumerate();
    for (ordinal, ((column, described), declared)) in all {
        let log = Logged { column: *column, nullable: is_nullable(ordinal), ordinal };
        told.push(log.agree(metadata, described, declared.as_ref()).ok_or_else(|| {
            Misfit::Column {
                column: ordinal,
                name: described.name.clone(),
                log: log.text(metadata),
                dictionary: dictionary_text(described),
            }
        })?);
    }
    metadata.take_over(description, key, told);
    Ok(())
}

/// One column of the table map.
struct Logged {
    column: ColumnType,
    nullable: bool,
    ordinal: usize,
}

impl Logged {
    /// What is added, if the two do not contradict each other.
    fn agree<'a>(
        &self,
        metadata: &Metadata<'_>,
        described: &ColumnDescription,
        declared: Option<&'a Declared>,
    ) -> Option<Added<'a>> {
        let declared = declared?;
        if !fits(self.column, declared, described.octets) || self.nullable != described.nullable {
            return None;
        }
        let geometry = geometry(&declared.kind);
        let added = Added {
            unsigned: declared.unsigned || declared.kind == "year",
            collation: collation(&declared.kind, described.collation)?,
            members: (!declared.members.is_empty())
                .then(|| declared.members.iter().map(Vec::as_slice).collect()),
            geometry,
            dimensions: (declared.kind == "vector")
                .then(|| declared.numbers.first().map(|n| u64::from(*n)))
                .flatten(),
        };
        let log = metadata.column(self.ordinal);
        let is_same = log.sign.is_none_or(|unsigned| unsigned == added.unsigned)
            && (log.collation == 0 || log.collation == added.collation)
            && (log.geometry.is_none() || log.geometry == added.geometry);
        is_same.then_some(added)
    }

    fn text(&self, metadata: &Metadata<'_>) -> String {
        let told = metadata.column(self.ordinal);
        let meta = self.column.meta;
        let length = match real_type(self.column.wire_type, meta) {
            wire::VARCHAR | wire::VAR_STRING | wire::VARCHAR_COMPRESSED => {
                Some(("varchar or varbinary", u16::from_le_bytes(meta)))
            }
            wire::STRING => Some(("char or binary", string_len(meta))),
            _ => None,
        };
        let name = match length {
            Some((name, bytes)) => format!("{name} of {bytes} bytes"),
            None => {
                let plan = ColumnPlan::new(&WireColumn {
                    wire_type: self.column.wire_type,
                    meta,
                    unsigned: told.unsigned,
                    collation: told.collation,
                    members: None,
                    members_in_utf8: false,
                });
                let name = plan.map_or_else(
                    |_| format!("type {}", self.column.wire_type),
                    |plan| plan.mysql_type().to_owned(),
                );
                match real_type(self.column.wire_type, meta) {
                    wire::ENUM | wire::SET => format!("{name} of {} bytes", meta[1]),
                    _ => name,
                }
            }
        };
        let sign = match told.sign {
            Some(false) => ", signed",
            Some(true) | None => "",
        };
        format!("{name}{sign}{}, {}", collation_text(told.collation), null_text(self.nullable))
    }
}

fn dictionary_text(described: &ColumnDescription) -> String {
    let bytes = described.octets.map(|octets| format!(" of {octets} bytes")).unwrap_or_default();
    let collation = collation_text(described.collation.unwrap_or(0));
    format!("{}{bytes}{collation}, {}", described.column_type, null_text(described.nullable))
}

fn collation_text(id: u16) -> String {
    match charset::by_collation(id) {
        Some(charset) => format!(" in {} (collation {id})", charset.name()),
        None if id == 0 => String::new(),
        None => format!(" in collation {id}"),
    }
}

fn null_text(nullable: bool) -> &'static str {
    if nullable { "null" } else { "not null" }
}

/// Whether a declared type is written to the log like this.
fn fits(column: ColumnType, declared: &Declared, octets: Option<u64>) -> bool {
    let [meta, next] = column.meta;
    let length = u16::from_le_bytes(column.meta);
    let numbers = declared.numbers.as_slice();
    match (declared.kind.as_str(), real_type(column.wire_type, column.meta)) {
        ("tinyint", wire::TINY)
        | ("smallint", wire::SHORT)
        | ("mediumint", wire::INT24)
        | ("int", wire::LONG)
        | ("bigint", wire::LONGLONG)
        | ("year", wire::YEAR)
        | ("date", wire::DATE | wire::NEWDATE)
        | ("json", wire::JSON)
        | ("vector", wire::VECTOR) => true,
        ("double", wire::DOUBLE) => meta == 8,
        ("decimal", wire::NEWDECIMAL) => numbers == [u32::from(meta), u32::from(next)],
        ("bit", wire::BIT) => numbers == [u32::from(next) * 8 + u32::from(meta)],
        ("time", wire::TIME2) | ("datetime", wire::DATETIME2) | ("timestamp", wire::TIMESTAMP2) => {
            declared.digits() == u32::from(meta)
        }
        ("time", wire::TIME) | ("datetime", wire::DATETIME) | ("timestamp", wire::TIMESTAMP) => {
            declared.digits() == 0
        }
        ("varchar" | "varbinary", wire::VARCHAR | wire::VAR_STRING) => {
            octets == Some(length.into())
        }
        // MariaDB counts a header in.
        ("varchar" | "varbinary", wire::VARCHAR_COMPRESSED) => {
            octets == Some(length.saturating_sub(1).into())
        }
        ("char" | "binary", wire::STRING) => octets == Some(string_len(column.meta).into()),
        // MariaDB's own types travel as binary strings.
        ("uuid" | "inet6", wire::STRING) => string_len(column.meta) == 16,
        ("inet4", wire::STRING) => string_len(column.meta) == 4,
        ("vector", wire::VARCHAR) => numbers.first() == Some(&(u32::from(length) / 4)),
        ("tinytext" | "tinyblob", wire::BLOB | wire::BLOB_COMPRESSED) => meta == 1,
        ("text" | "blob", wire::BLOB | wire::BLOB_COMPRESSED) => meta == 2,
        ("mediumtext" | "mediumblob", wire::BLOB | wire::BLOB_COMPRESSED) => meta == 3,
        // Bytes of the value, and of the length in front of it.
        ("float", wire::FLOAT) | ("longtext" | "longblob", wire::BLOB | wire::BLOB_COMPRESSED) => {
            meta == 4
        }
        ("enum", wire::ENUM) => {
            let bytes = if declared.members.len() <= 255 { 1 } else { 2 };
            !declared.members.is_empty() && next == bytes
        }
        ("set", wire::SET) => {
            let bytes = match declared.members.len().div_ceil(8) {
                few @ 0..=4 => few,
                _ => 8,
            };
            usize::from(next) == bytes
        }
        (kind, wire::GEOMETRY) => geometry(kind).is_some(),
        _ => false,
    }
}

/// The collation of a type's values; `None` for text of which the server tells none that is known by
/// number.
fn collation(kind: &str, described: Option<u16>) -> Option<u16> {
    match kind {
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => described,
        // MySQL 8.0 shows no collation for those of bytes.
        "enum" | "set" => Some(described.unwrap_or(COLLATION_BINARY)),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector"
        | "uuid" | "inet6" | "inet4" => Some(COLLATION_BINARY),
        _ => Some(0),
    }
}

/// Numbers of `Field::geometry_type` in the server's sources.
pub(super) fn geometry(kind: &str) -> Option<u64> {
    Some(match kind {
        "geometry" => 0,
        "point" => 1,
        "linestring" => 2,
        "polygon" => 3,
        "multipoint" => 4,
        "multilinestring" => 5,
        "multipolygon" => 6,
        "geomcollection" | "geometrycollection" => 7,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wire type, its metadata, and declared types with their bytes.
    type Written = (u8, [u8; 2], &'static [(&'static str, Option<u64>)]);

    /// What the log has of a column, and which declared types (with their bytes) are written so.
    const WRITTEN: [Written; 43] = [
        (wire::TINY, [0, 0], &[("tinyint", None), ("tinyint(3) unsigned", None)]),
        (wire::SHORT, [0, 0], &[("smallint", None)]),
        (wire::INT24, [0, 0], &[("mediumint", None)]),
        (wire::LONG, [0, 0], &[("int", None), ("int(11)", None)]),
        (wire::LONGLONG, [0, 0], &[("bigint", None)]),
        (wire::YEAR, [0, 0], &[("year", None), ("year(4)", None)]),
        (wire::DATE, [0, 0], &[("date", None)]),
        (wire::NEWDATE, [0, 0], &[("date", None)]),
        (wire::JSON, [4, 0], &[("json", None)]),
        (wire::VECTOR, [4, 0], &[("vector(3)", Some(12))]),
        (wire::FLOAT, [4, 0], &[("float", None)]),
        (wire::DOUBLE, [8, 0], &[("double", None)]),
        (wire::NEWDECIMAL, [10, 2], &[("decimal(10,2)", None)]),
        (wire::NEWDECIMAL, [2, 10], &[]),
        (wire::BIT, [0, 1], &[("bit(8)", None)]),
        (wire::BIT, [1, 1], &[("bit(9)", None)]),
        (wire::BIT, [1, 0], &[("bit(1)", None)]),
        (wire::TIME2, [0, 0], &[("time", None)]),
        (wire::TIME2, [3, 0], &[("time(3)", None)]),
        (wire::DATETIME2, [0, 0], &[("datetime", None)]),
        (wire::DATETIME2, [6, 0], &[("datetime(6)", None)]),
        (wire::TIMESTAMP2, [0, 0], &[("timestamp", None)]),
        (wire::TIMESTAMP2, [1, 0], &[("timestamp(1)", None)]),
        (wire::TIME, [0, 0], &[("time", None)]),
        (wire::DATETIME, [0, 0], &[("datetime", None)]),
        (wire::TIMESTAMP, [0, 0], &[("timestamp", None)]),
        (wire::VARCHAR, [44, 1], &[("varchar(75)", Some(300)), ("varbinary(300)", Some(300))]),
        (
            wire::VARCHAR,
            [12, 0],
            &[("varchar(3)", Some(12)), ("varbinary(12)", Some(12)), ("vector(3)", Some(12))],
        ),
        (
            wire::VARCHAR_COMPRESSED,
            [45, 1],
            &[("varchar(75)", Some(300)), ("varbinary(300)", Some(300))],
        ),
        (wire::STRING, [254, 40], &[("char(10)", Some(40)), ("binary(40)", Some(40))]),
        // 16 and 4 bytes are also what MariaDB's own types have
        (wire::STRING, [254, 16], &[("binary(16)", Some(16)), ("uuid", None), ("inet6", None)]),
        (wire::STRING, [254, 4], &[("binary(4)", Some(4)), ("inet4", None)]),
        (wire::BLOB, [1, 0], &[("tinytext", Some(255)), ("tinyblob", Some(255))]),
        (wire::BLOB, [2, 0], &[("text", Some(65_535)), ("blob", Some(65_535))]),
        (wire::BLOB, [3, 0], &[("mediumtext", None), ("mediumblob", None)]),
        (wire::BLOB, [4, 0], &[("longtext", None), ("longblob", None)]),
        (wire::BLOB_COMPRESSED, [2, 0], &[("text", Some(65_535)), ("blob", Some(65_535))]),
        (wire::STRING, [wire::ENUM, 1], &[("enum('a','b')", None)]),
        (wire::STRING, [wire::ENUM, 2], &[]),
        (
            wire::STRING,
            [wire::SET, 1],
            &[("set('a','b')", None), ("set('1','2','3','4','5','6','7','8')", None)],
        ),
        (wire::STRING, [wire::SET, 2], &[("set('1','2','3','4','5','6','7','8','9')", None)]),
        (
            wire::GEOMETRY,
            [4, 0],
            &[
                ("geometry", None),
                ("point", None),
                ("linestring", None),
                ("polygon", None),
                ("multipoint", None),
                ("multilinestring", None),
                ("multipolygon", None),
                ("geomcollection", None),
                ("geometrycollection", None),
            ],
        ),
        (6, [0, 0], &[]),
    ];

    #[test]
    fn each_declared_type_fits_how_it_is_written_and_nothing_else() {
        let declared: Vec<_> = WRITTEN.iter().flat_map(|(_, _, fitting)| *fitting).collect();
        for (wire_type, meta, fitting) in WRITTEN {
            let column = ColumnType::new(wire_type, meta);
            for (text, octets) in &declared {
                let parsed = Declared::parse(text).expect(text);
                let is_fitting = fitting.contains(&(text, *octets));
                assert_eq!(
                    fits(column, &parsed, *octets),
                    is_fitting,
                    "{wire_type} {meta:?} {text}"
                );
            }
        }
    }

    #[test]
    fn so_many_labels_take_so_many_bytes() {
        for count in 1..=70_usize {
            let labels: Vec<_> = (0..count).map(|at| format!("'l{at}'")).collect();
            let labels = labels.join(",");
            let set = Declared::parse(&format!("set({labels})")).expect("a set");
            let expected = [1, 2, 3, 4, 8, 8, 8, 8, 8][(count - 1) / 8];
            for bytes in 0..=9 {
                let column = ColumnType::new(wire::STRING, [wire::SET, bytes]);
                assert_eq!(fits(column, &set, None), bytes == expected, "{count} {bytes}");
            }
        }
        for (count, expected) in [(0, 0), (1, 1), (255, 1), (256, 2), (300, 2)] {
            let labels: Vec<_> = (0..count).map(|at| format!("'l{at}'")).collect();
            let text =
                if count == 0 { "enum".to_owned() } else { format!("enum({})", labels.join(",")) };
            let parsed = Declared::parse(&text).expect("an enum");
            for bytes in 1..=2 {
                let column = ColumnType::new(wire::STRING, [wire::ENUM, bytes]);
                assert_eq!(fits(column, &parsed, None), bytes == expected, "{count} {bytes}");
            }
        }
    }

    #[test]
    fn collations_and_kinds_of_geometry_are_the_servers() {
        for (kind, told, expected) in [
            ("char", Some(8), Some(8)),
            ("varchar", None, None),
            ("longtext", Some(46), Some(46)),
            ("enum", Some(8), Some(8)),
            ("set", None, Some(63)),
            ("binary", None, Some(63)),
            ("longblob", Some(8), Some(63)),
            ("vector", None, Some(63)),
            ("uuid", None, Some(63)),
            ("int", None, Some(0)),
            ("json", Some(46), Some(0)),
        ] {
            assert_eq!(collation(kind, told), expected, "{kind} {told:?}");
        }
        let kinds = ["geometry", "point", "linestring", "polygon", "multipoint", "multilinestring"];
        for (number, kind) in (0..).zip(kinds) {
            assert_eq!(geometry(kind), Some(number), "{kind}");
        }
        assert_eq!(geometry("int"), None);
        assert_eq!(["multipolygon", "geomcollection"].map(geometry), [Some(6), Some(7)]);
    }
}
