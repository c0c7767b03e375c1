//! TABLE_MAP: what the rows behind it are rows of.

mod metadata;

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::bytes::Bytes;
use super::row::{ColumnPlan, WireColumn, meta_len};
use super::{ColumnFault, Fault};
use crate::change::{Column, LogicalType, Table};
use metadata::{ColumnType, Metadata};

/// Most columns that a table can have (MySQL manual, "Limits on Table Column Count").
const COLUMNS_MAX: u64 = 4096;

/// A table map, read: the table, and how to read its rows.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) table: Arc<Table>,
    pub(super) plans: Vec<ColumnPlan>,
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
    /// Takes a table map event's body. `short_ids`: table ids have 4 bytes.
    pub(super) fn map(&mut self, body: &[u8], short_ids: bool) -> Result<(), Fault> {
        let mut bytes = Bytes::new(body);
        let id = table_id(&mut bytes, short_ids)?;
        let mapped = match self.cached(id, body) {
            Some(mapped) => mapped,
            None => {
                let mapped = Arc::new(read(&mut bytes, body)?);
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
fn read(bytes: &mut Bytes<'_>, body: &[u8]) -> Result<Mapped, Fault> {
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
                Err(error) => column_fault(database, table, column, None, error),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let nullable = bytes.take(types.len().div_ceil(8), "nullable columns")?;
    let metadata = Metadata::read(bytes, &columns)?;
    let mut plans = Vec::with_capacity(columns.len());
    let mut described = Vec::with_capacity(columns.len());
    for (ordinal, column) in columns.iter().enumerate() {
        let told = metadata.column(ordinal);
        let name = told.name.map_or_else(|| format!("@{}", ordinal + 1), str::to_owned);
        let plan = ColumnPlan::new(&WireColumn {
            wire_type: column.wire_type,
            meta: column.meta,
            unsigned: told.unsigned,
            collation: told.collation,
            members: told.members,
        })
        .map_err(|error| column_fault(database, table, ordinal, Some(&name), error))?;
        let logical_type = plan.logical_type();
        described.push(Column {
            name,
            logical_type,
            mysql_type: match logical_type {
                LogicalType::Geometry => geometry_type(told.geometry).to_owned(),
                LogicalType::Vector => {
                    told.dimensions.map_or_else(|| "vector".into(), |d| format!("vector({d})"))
                }
                _ => plan.mysql_type().to_owned(),
            },
            nullable: bit(nullable, ordinal),
            unsigned: told.unsigned && logical_type != LogicalType::Year,
            collation: told.collation,
            charset: plan.charset().map_or("", |charset| charset.name()),
            members: plan.members(),
            visible: told.visible,
        });
        plans.push(plan);
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
    Ok(Mapped { table: Arc::new(table), plans, body: body.into() })
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
) -> Result<ColumnType, Result<Fault, super::CellError>> {
    let length = meta_len(wire_type).ok_or(Err(super::CellError::UnknownType(wire_type)))?;
    let mut meta = [0; 2];
    let bytes = wire.take(length, "column metadata").map_err(Ok)?;
    for (slot, byte) in meta.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    Ok(ColumnType::new(wire_type, meta))
}

fn column_fault(
    database: &str,
    table: &str,
    column: usize,
    name: Option<&str>,
    error: super::CellError,
) -> Fault {
    Fault::Column(Box::new(ColumnFault {
        table: format!("{database}.{table}"),
        column,
        name: name.map_or_else(|| format!("@{}", column + 1), str::to_owned),
        error,
    }))
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
