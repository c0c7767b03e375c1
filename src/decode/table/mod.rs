//! TABLE_MAP: what the rows behind it are rows of.

mod metadata;

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::bytes::Bytes;
use super::charset::Charset;
use super::format_description::Format;
use super::row::{ColumnPlan, WireColumn, meta_len};
use super::{CellError, ColumnFault, Fault};
use crate::change::{Column, LogicalType, Table};
use metadata::{ColumnType, Metadata, Told};

/// Most columns that a table can have (MySQL manual, "Limits on Table Column Count").
const COLUMNS_MAX: u64 = 4096;

/// A table map, read: the table, and how to read its rows.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) table: Arc<Table>,
    pub(super) plans: Vec<ColumnPlan>,
    /// The first column that can't be read. It is an error once a row is asked for, so that a table
    /// that nobody wants stops nothing.
    pub(super) unreadable: Option<(usize, CellError)>,
    /// The event's body, to tell whether the next one says the same.
    body: Box<[u8]>,
}

/// Table maps: those of the statement that is being read, and a cache of those read before.
///
/// Invariant: rows are read by a table map of their own statement only, as servers do; the cache
/// just saves reading it again. A table id may come to mean another table, after DDL or a restart:
/// hence the bodies are compared, all of them.
#[derive(Debug, Default)]
pub(super) struct Tables {
    mapped: Vec<(u64, Arc<Mapped>)>,
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    maps: HashMap<u64, Arc<Mapped>>,
    body_bytes: usize,
}

/// Bounds of a generation; when it is full, the one before it is forgotten.
const GENERATION_TABLES_MAX: usize = 8192;
const GENERATION_BODY_BYTES_MAX: usize = 8 << 20;

impl Tables {
    /// Takes a table map event's body.
    pub(super) fn map(&mut self, body: &[u8], format: &Format) -> Result<(), Fault> {
        let mut bytes = Bytes::new(body);
        let id = table_id(&mut bytes, format.short_table_ids)?;
        let mapped = match self.cached(id, body) {
            Some(mapped) => mapped,
            None => {
                let mapped = Arc::new(read(&mut bytes, body, format.maria)?);
                self.remember(id, Arc::clone(&mapped));
                mapped
            }
        };
        match self.mapped.iter_mut().find(|(known, _)| *known == id) {
            Some(slot) => slot.1 = mapped,
            None => self.mapped.push((id, mapped)),
        }
        Ok(())
    }

    /// The table map of this id in the statement that is being read.
    pub(super) fn find(&self, id: u64) -> Option<&Arc<Mapped>> {
        self.mapped.iter().find(|(known, _)| *known == id).map(|(_, mapped)| mapped)
    }

    /// The statement has ended: its table ids mean nothing any more.
    pub(super) fn end_statement(&mut self) {
        self.mapped.clear();
    }

    fn cached(&mut self, id: u64, body: &[u8]) -> Option<Arc<Mapped>> {
        if let Some(mapped) = self.young.maps.get(&id) {
            return (*mapped.body == *body).then(|| Arc::clone(mapped));
        }
        let mapped = self.old.maps.remove(&id).filter(|mapped| *mapped.body == *body)?;
        self.remember(id, Arc::clone(&mapped));
        Some(mapped)
    }

    fn remember(&mut self, id: u64, mapped: Arc<Mapped>) {
        let length = mapped.body.len();
        if self.young.maps.len() >= GENERATION_TABLES_MAX
            || self.young.body_bytes.saturating_add(length) > GENERATION_BODY_BYTES_MAX
        {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.body_bytes = self.young.body_bytes.saturating_add(length);
        if let Some(replaced) = self.young.maps.insert(id, mapped) {
            self.young.body_bytes = self.young.body_bytes.saturating_sub(replaced.body.len());
        }
    }
}

/// A table id: 6 bytes, or 4 in the first releases of 5.1.
pub(super) fn table_id(bytes: &mut Bytes<'_>, short: bool) -> Result<u64, Fault> {
    if short { bytes.u32("table id").map(u64::from) } else { bytes.u48("table id") }
}

/// Reads what follows the table id.
fn read(bytes: &mut Bytes<'_>, body: &[u8], maria: bool) -> Result<Mapped, Fault> {
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
    let columns = types
        .iter()
        .enumerate()
        .map(|(column, wire_type)| {
            column_type(*wire_type, &mut wire).map_err(|error| match error {
                Ok(fault) => fault,
                Err(error) => Fault::Column(Box::new(ColumnFault {
                    table: format!("{database}.{table}"),
                    column,
                    name: format!("@{}", column + 1),
                    error,
                })),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let nullable = bytes.take(types.len().div_ceil(8), "nullable columns")?;
    let metadata = Metadata::read(bytes, &columns)?;
    let mut plans = Vec::with_capacity(columns.len());
    let mut unreadable = None;
    let mut described = Vec::with_capacity(columns.len());
    for (ordinal, column) in columns.iter().enumerate() {
        let told = metadata.column(ordinal);
        let plan = check(*column, maria).and_then(|()| {
            ColumnPlan::new(&WireColumn {
                wire_type: column.wire_type,
                meta: column.meta,
                unsigned: told.unsigned,
                collation: told.collation,
                members: told.members,
            })
        });
        described.push(describe(ordinal, &told, plan.as_ref().ok(), bit(nullable, ordinal)));
        match plan {
            Ok(plan) => plans.push(plan),
            Err(error) => unreadable = unreadable.or(Some((ordinal, error))),
        }
    }
    let mut table = Table {
        database: database.into(),
        name: table.into(),
        columns: described,
        primary_key: metadata.primary_key,
        named: metadata.names.is_some(),
        fingerprint: 0,
    };
    table.fingerprint = fingerprint(&table);
    Ok(Mapped { table: Arc::new(table), plans, unreadable, body: body.into() })
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
