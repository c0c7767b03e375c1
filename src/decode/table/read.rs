//! A table map event, read.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::declared::Declared;
use super::metadata::{ColumnType, Metadata, Told};
use super::{Mapped, Unreadable, fit};
use crate::change::{Column, Description, LogicalType, Table};
use crate::decode::bytes::Bytes;
use crate::decode::charset::Charset;
use crate::decode::row::{ColumnPlan, WireColumn, meta_len};
use crate::decode::{CellError, ColumnFault, Fault, Misfit};

/// Most columns that a table can have (MySQL manual, "Limits on Table Column Count").
const COLUMNS_MAX: u64 = 4096;

/// Who names columns that the log does not name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Names<'a> {
    /// Nobody.
    Log,
    /// Nobody who was asked.
    Unknown,
    /// Nobody, nor need they be.
    NotNeeded,
    /// Nobody, but these integers are unsigned.
    Unsigned(&'a [usize]),
    /// A description, if it fits.
    Described(&'a Description, &'a [Option<Declared>]),
}

/// Reads what follows the table id.
pub(super) fn read(
    bytes: &mut Bytes<'_>,
    body: &[u8],
    maria: bool,
    names: Names<'_>,
) -> Result<Mapped, Fault> {
    bytes.u16("table map flags")?;
    let database = name(bytes, "database's name")?;
    let table = name(bytes, "table's name")?;
    let width = bytes.length_encoded("number of columns")?;
    if width > COLUMNS_MAX {
        return Err(Fault::Unexpected {
            what: "number of columns",
            found: width,
            expected: "at most 4096",
        });
    }
    let types = bytes.take_long(width, "column types")?;
    let length = bytes.length_encoded("length of the column metadata")?;
    let mut wire = Bytes::new(bytes.take_long(length, "column metadata")?);
    let columns = column_types(types, &mut wire, database, table)?;
    let nullable = bytes.take(types.len().div_ceil(8), "nullable columns")?;
    let mut metadata = Metadata::read(bytes, &columns, maria)?;
    let is_nameless = metadata.names.is_none();
    let mut unreadable = None;
    if is_nameless {
        let misfit = match names {
            Names::Log | Names::NotNeeded => None,
            Names::Unsigned(ordinals) => {
                metadata.take_signs(ordinals);
                None
            }
            Names::Unknown => Some(Misfit::Missing),
            Names::Described(description, declared) => {
                let is_nullable = |ordinal| bit(nullable, ordinal);
                fit::complete(&mut metadata, &columns, is_nullable, description, declared).err()
            }
        };
        unreadable = misfit.map(Unreadable::Schema);
    }
    let is_nullable = |ordinal| bit(nullable, ordinal);
    let Read { table, plans, first_unreadable } =
        assemble(database, table, &columns, metadata, is_nullable, maria);
    let unreadable = unreadable
        .or_else(|| first_unreadable.map(|(ordinal, error)| Unreadable::Column(ordinal, error)));
    Ok(Mapped {
        table: Arc::new(table),
        plans,
        unreadable,
        is_nameless: is_nameless && matches!(names, Names::Log),
        body: body.into(),
    })
}

/// A table, and how to read its rows.
pub(super) struct Read {
    pub(super) table: Table,
    pub(super) plans: Vec<ColumnPlan>,
    /// The first column that can't be read.
    pub(super) first_unreadable: Option<(usize, CellError)>,
}

/// Puts together what is told of the columns.
pub(super) fn assemble(
    database: &str,
    table: &str,
    columns: &[ColumnType],
    metadata: Metadata<'_>,
    is_nullable: impl Fn(usize) -> bool,
    maria: bool,
) -> Read {
    let mut plans = Vec::with_capacity(columns.len());
    let mut described = Vec::with_capacity(columns.len());
    let mut first_unreadable = None;
    for (ordinal, column) in columns.iter().enumerate() {
        let told = metadata.column(ordinal);
        let plan = check(*column, maria).and_then(|()| {
            ColumnPlan::new(&WireColumn {
                wire_type: column.wire_type,
                meta: column.meta,
                unsigned: told.unsigned,
                collation: told.collation,
                members: told.members,
                members_in_utf8: metadata.members_in_utf8,
            })
        });
        described.push(describe(ordinal, &told, plan.as_ref().ok(), is_nullable(ordinal)));
        match plan {
            Ok(plan) => plans.push(plan),
            Err(error) => first_unreadable = first_unreadable.or(Some((ordinal, error))),
        }
    }
    let mut table = Table {
        database: database.into(),
        name: table.into(),
        columns: described,
        primary_key: metadata.primary_key,
        named: metadata.names.is_some(),
        fingerprint: 0,
        outbox: None,
    };
    table.fingerprint = fingerprint(&table);
    Read { table, plans, first_unreadable }
}

/// The columns' types, each with its metadata.
fn column_types(
    types: &[u8],
    wire: &mut Bytes<'_>,
    database: &str,
    table: &str,
) -> Result<Vec<ColumnType>, Fault> {
    let read = |(column, wire_type): (usize, &u8)| {
        column_type(*wire_type, wire).map_err(|error| match error {
            Ok(fault) => fault,
            Err(error) => Fault::Column(Box::new(ColumnFault {
                table: format!("{database}.{table}"),
                column,
                name: format!("@{}", column + 1),
                error,
            })),
        })
    };
    types.iter().enumerate().map(read).collect()
}

/// MariaDB's own TIMESTAMP, TIME and DATETIME (`mysql56_temporal_format=OFF`, or tables of before
/// 10.1) may have a fraction, and the log does not say of how many bytes. (MySQL's never have one.)
fn check(column: ColumnType, maria: bool) -> Result<(), CellError> {
    if maria && matches!(column.wire_type, 7 | 11 | 12) {
        return Err(CellError::Unexpected {
            what: "column type",
            found: u64::from(column.wire_type),
            expected: "MySQL 5.6's temporal format, as the log does not tell the fraction digits \
                       of MariaDB's own (SET GLOBAL mysql56_temporal_format=ON, then \
                       ALTER TABLE ... FORCE)",
        });
    }
    Ok(())
}

/// A column as the log tells; without a plan only its name is sure.
fn describe(
    ordinal: usize,
    told: &Told<'_, '_>,
    plan: Option<&ColumnPlan>,
    nullable: bool,
) -> Column {
    let logical_type = plan.map_or(LogicalType::Binary, ColumnPlan::logical_type);
    Column {
        name: told.name.map_or_else(|| format!("@{}", ordinal + 1), str::to_owned),
        logical_type,
        mysql_type: if logical_type == LogicalType::Geometry {
            geometry_type(told.geometry).to_owned()
        } else if logical_type == LogicalType::Vector {
            told.dimensions.map_or_else(|| "vector".into(), |d| format!("vector({d})"))
        } else if logical_type == LogicalType::Integer && told.sign.is_none() {
            format!("{} {}", plan.map_or("int", ColumnPlan::mysql_type), Column::SIGN_UNTOLD)
        } else {
            plan.map_or_else(|| "unknown".into(), |plan| plan.mysql_type().to_owned())
        },
        nullable,
        unsigned: told.unsigned && logical_type != LogicalType::Year,
        collation: if logical_type == LogicalType::Vector { 0 } else { told.collation },
        charset: plan.and_then(ColumnPlan::charset).map_or("", Charset::name),
        members: plan.map_or_else(Vec::new, ColumnPlan::members),
        visible: told.visible,
    }
}

fn name<'a>(bytes: &mut Bytes<'a>, what: &'static str) -> Result<&'a str, Fault> {
    let length = usize::from(bytes.u8(what)?);
    let text = bytes.text(length, what)?;
    bytes.u8(what)?;
    Ok(text)
}

/// The inner error: `Ok` a fault of the event, `Err` one of the column.
fn column_type(
    wire_type: u8,
    wire: &mut Bytes<'_>,
) -> Result<ColumnType, Result<Fault, CellError>> {
    let length = meta_len(wire_type).ok_or(Err(CellError::UnknownType(wire_type)))?;
    let mut meta = [0; 2];
    let bytes = wire.take(length, "column metadata").map_err(Ok)?;
    for (slot, byte) in meta.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    Ok(ColumnType::new(wire_type, meta))
}

/// Lowest bit of the first byte first.
fn bit(bits: &[u8], index: usize) -> bool {
    bits.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

/// Numbers of `Field::geometry_type` in the server's sources.
fn geometry_type(number: Option<u64>) -> &'static str {
    match number {
        Some(1) => "point",
        Some(2) => "linestring",
        Some(3) => "polygon",
        Some(4) => "multipoint",
        Some(5) => "multilinestring",
        Some(6) => "multipolygon",
        Some(7) => "geomcollection",
        _ => "geometry",
    }
}

/// The same on every machine and in every release: consumers may keep it.
fn fingerprint(table: &Table) -> u64 {
    let mut hash = Sha256::new();
    let mut text = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    text(&table.database);
    text(&table.name);
    for column in &table.columns {
        text(&column.name);
        text(&column.mysql_type);
        text(&format!(
            "{:?},{},{},{},{},{}",
            column.logical_type,
            column.nullable,
            column.unsigned,
            column.collation,
            column.visible,
            column.members.len()
        ));
        column.members.iter().for_each(|member| text(member));
    }
    text(&format!("{:?},{}", table.primary_key, table.named));
    let digest = hash.finalize();
    digest.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
