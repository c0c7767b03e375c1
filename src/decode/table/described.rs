//! A table as a [`Description`] alone tells it: the [`Table`] that the decoder makes of a log that
//! tells all, so that rows that were selected and rows of the stream are of one schema.

use super::declared::Declared;
use super::fit;
use super::metadata::{ColumnType, Metadata};
use super::read::{self, Read};
use crate::change::{ColumnDescription, Description, Table};
use crate::decode::Misfit;
use crate::decode::row::wire;

/// A description that no table can be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotUnderstood {
    /// The type of the column with this ordinal (from 0).
    Column(usize),
    /// The server's answers about the primary key contradict each other: the table was being altered.
    Key,
}

/// The table that a description tells of. Only labels of ENUM and SET with characters beyond the Basic
/// Multilingual Plane, which `information_schema` can't show, are not those of the log. `maria`: a server of MariaDB gave it.
pub fn table_as_described(
    database: &str,
    name: &str,
    description: &Description,
    maria: bool,
) -> Result<Table, NotUnderstood> {
    let declared = fit::declared(description);
    let all = description.columns.iter().zip(&declared).enumerate();
    let columns: Vec<ColumnType> = all
        .map(|(ordinal, (column, declared))| {
            let written = declared.as_ref().and_then(|declared| written(declared, column, maria));
            let (wire_type, meta) = written.ok_or(NotUnderstood::Column(ordinal))?;
            Ok(ColumnType::new(wire_type, meta))
        })
        .collect::<Result<_, _>>()?;
    let mut metadata = Metadata::none(&columns);
    let is_nullable =
        |ordinal: usize| description.columns.get(ordinal).is_some_and(|column| column.nullable);
    fit::complete(&mut metadata, &columns, is_nullable, description, &declared).map_err(
        |misfit| match misfit {
            Misfit::Column { column, .. } => NotUnderstood::Column(column),
            Misfit::Key
            | Misfit::Missing
            | Misfit::Width { .. }
            | Misfit::Unnamed
            | Misfit::NoOutbox { .. }
            | Misfit::OutboxUpdate
            | Misfit::ChangedSince => NotUnderstood::Key,
        },
    )?;
    let Read { table, first_unreadable, .. } =
        read::assemble(database, name, &columns, metadata, is_nullable, false);
    match first_unreadable {
        Some((ordinal, _)) => Err(NotUnderstood::Column(ordinal)),
        None => Ok(table),
    }
}

/// How the log writes a declared type: the other way round than [`fit`] asks, which checks it.
fn written(declared: &Declared, column: &ColumnDescription, maria: bool) -> Option<(u8, [u8; 2])> {
    let number = |index: usize| declared.numbers.get(index).copied();
    let small = |number: u32| u8::try_from(number).ok();
    let digits = || small(declared.digits());
    let octets = || u16::try_from(column.octets?).ok();
    let blob = |len_bytes| {
        (if declared.compressed { wire::BLOB_COMPRESSED } else { wire::BLOB }, [len_bytes, 0])
    };
    Some(match declared.kind.as_str() {
        "tinyint" => (wire::TINY, [0, 0]),
        "smallint" => (wire::SHORT, [0, 0]),
        "mediumint" => (wire::INT24, [0, 0]),
        "int" => (wire::LONG, [0, 0]),
        "bigint" => (wire::LONGLONG, [0, 0]),
        "float" => (wire::FLOAT, [4, 0]),
        "double" => (wire::DOUBLE, [8, 0]),
        "decimal" => (wire::NEWDECIMAL, [small(number(0)?)?, small(number(1)?)?]),
        "bit" => (wire::BIT, [small(number(0)? % 8)?, small(number(0)? / 8)?]),
        "year" => (wire::YEAR, [0, 0]),
        "date" => (wire::DATE, [0, 0]),
        "time" => (wire::TIME2, [digits()?, 0]),
        "datetime" => (wire::DATETIME2, [digits()?, 0]),
        "timestamp" => (wire::TIMESTAMP2, [digits()?, 0]),
        "varchar" | "varbinary" if declared.compressed => {
            (wire::VARCHAR_COMPRESSED, octets()?.checked_add(1)?.to_le_bytes())
        }
        "varchar" | "varbinary" => (wire::VARCHAR, octets()?.to_le_bytes()),
        "char" | "binary" => (wire::STRING, string_meta(octets()?)),
        "tinytext" | "tinyblob" => blob(1),
        "text" | "blob" => blob(2),
        "mediumtext" | "mediumblob" => blob(3),
        "longtext" | "longblob" => blob(4),
        "enum" => (wire::STRING, [wire::ENUM, if declared.members.len() > 255 { 2 } else { 1 }]),
        "set" => {
            let bytes = match declared.members.len().div_ceil(8) {
                few @ 0..=4 => u8::try_from(few).ok()?,
                _ => 8,
            };
            (wire::STRING, [wire::SET, bytes])
        }
        "json" => (wire::JSON, [4, 0]),
        // MariaDB's vectors are binary strings.
        "vector" if maria => (wire::VARCHAR, octets()?.to_le_bytes()),
        "vector" => (wire::VECTOR, [4, 0]),
        "uuid" | "inet6" => (wire::STRING, string_meta(16)),
        "inet4" => (wire::STRING, string_meta(4)),
        kind => fit::geometry(kind).map(|_| (wire::GEOMETRY, [4, 0]))?,
    })
}

/// The inverse of [`wire::string_len`].
fn string_meta(len: u16) -> [u8; 2] {
    let [low, high] = len.to_le_bytes();
    [wire::STRING ^ (high & 3) << 4, low]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::LogicalType;

    fn description(column_type: &str, octets: Option<u64>, collation: Option<u16>) -> Description {
        let column = ColumnDescription {
            name: "c".to_owned(),
            column_type: column_type.to_owned(),
            octets,
            collation,
            nullable: true,
            visible: true,
        };
        Description { columns: vec![column], primary_key: Some(vec![0]), changed_at: None }
    }

    #[test]
    fn types_are_written_as_the_log_has_them() {
        for (column_type, octets, collation, expected) in [
            ("int(11)", None, None, "int"),
            ("varchar(10000)", Some(40_000), Some(45), "varchar(10000)"),
            ("char(255)", Some(1_020), Some(45), "char(255)"),
            ("binary(255)", Some(255), None, "binary(255)"),
            ("varbinary(300)", Some(300), None, "varbinary(300)"),
            ("varchar(300) /*M!100301 COMPRESSED*/", Some(300), Some(8), "varchar(300) compressed"),
            ("mediumblob", Some(16_777_215), None, "mediumblob"),
            ("decimal(65,30) unsigned", None, None, "decimal(65,30) unsigned"),
            ("datetime(6)", None, None, "datetime(6)"),
            ("bit(9)", None, None, "bit(9)"),
            ("float(7,3)", None, None, "float"),
            ("enum('a','it''s')", Some(4), Some(8), "enum('a','it''s')"),
            ("multipoint", None, None, "multipoint"),
            ("vector(3)", Some(12), None, "vector(3)"),
        ] {
            let description = description(column_type, octets, collation);
            let table = table_as_described("d", "t", &description, false).expect(column_type);
            assert_eq!(table.columns[0].mysql_type, expected, "{column_type}");
            assert!(table.named);
            assert_eq!(table.primary_key, [0]);
        }
        for (column_type, expected) in
            [("uuid", "binary(16)"), ("inet4", "binary(4)"), ("vector(3)", "varbinary(12)")]
        {
            let octets = column_type.starts_with("vector").then_some(12);
            let description = description(column_type, octets, None);
            let table = table_as_described("d", "t", &description, true).expect(column_type);
            assert_eq!(table.columns[0].mysql_type, expected, "{column_type}");
            assert_eq!(table.columns[0].logical_type, LogicalType::Binary, "{column_type}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for column_type in ["hologram", "varchar(10)", "enum()", "decimal(5)", "int("] {
            let found = table_as_described("d", "t", &description(column_type, None, None), false);
            assert_eq!(found, Err(NotUnderstood::Column(0)), "{column_type}");
        }
        let unsettled = Description { primary_key: None, ..description("int", None, None) };
        let found = table_as_described("d", "t", &unsettled, false);
        assert_eq!(found, Err(NotUnderstood::Key));
    }
}
