//! Optional metadata of a table map (MySQL 8.0.1 and newer, MariaDB 10.5 and newer).
//!
//! Fields of type, length and value; which are there is `binlog_row_metadata`'s to say. Their formats
//! are those of `Table_map_event::Optional_metadata_fields` in the server's sources.

use crate::change::Description;
use crate::decode::Fault;
use crate::decode::bytes::Bytes;
use crate::decode::row::real_type;

mod field {
    pub(super) const SIGNEDNESS: u8 = 1;
    pub(super) const DEFAULT_CHARSET: u8 = 2;
    pub(super) const COLUMN_CHARSET: u8 = 3;
    pub(super) const COLUMN_NAME: u8 = 4;
    pub(super) const SET_MEMBERS: u8 = 5;
    pub(super) const ENUM_MEMBERS: u8 = 6;
    pub(super) const GEOMETRY_TYPE: u8 = 7;
    pub(super) const SIMPLE_PRIMARY_KEY: u8 = 8;
    pub(super) const PREFIXED_PRIMARY_KEY: u8 = 9;
    pub(super) const ENUM_SET_DEFAULT_CHARSET: u8 = 10;
    pub(super) const ENUM_SET_COLUMN_CHARSET: u8 = 11;
    pub(super) const VISIBILITY: u8 = 12;
    pub(super) const DIMENSIONS: u8 = 13;
}

/// What a description adds to one column.
#[derive(Debug)]
pub(super) struct Added<'a> {
    pub(super) unsigned: bool,
    pub(super) collation: u16,
    pub(super) members: Option<Vec<&'a [u8]>>,
    pub(super) geometry: Option<u64>,
    pub(super) dimensions: Option<u64>,
}

/// Which columns a field of the metadata speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// Those of the signedness bitmap.
    Numeric,
    /// CHAR, VARCHAR, TEXT and their binary brothers.
    Character,
    Enum,
    Set,
    Geometry,
    Vector,
    Other,
}

/// A column's type as the fixed part of the table map has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ColumnType {
    pub(super) wire_type: u8,
    pub(super) meta: [u8; 2],
    family: Family,
}

impl ColumnType {
    pub(super) fn new(wire_type: u8, meta: [u8; 2]) -> Self {
        let family = match real_type(wire_type, meta) {
            // TINY to DOUBLE, LONGLONG, INT24, YEAR (always unsigned), NEWDECIMAL.
            1..=5 | 8 | 9 | 13 | 246 => Family::Numeric,
            // VARCHAR, MariaDB's compressed BLOB and VARCHAR, BLOB, VAR_STRING, STRING.
            15 | 140 | 141 | 252..=254 => Family::Character,
            247 => Family::Enum,
            248 => Family::Set,
            255 => Family::Geometry,
            242 => Family::Vector,
            _ => Family::Other,
        };
        Self { wire_type, meta, family }
    }
}

/// What the metadata tells of one column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told<'m, 'a> {
    pub(super) name: Option<&'a str>,
    pub(super) unsigned: bool,
    /// `unsigned`, if anybody tells.
    pub(super) sign: Option<bool>,
    pub(super) collation: u16,
    pub(super) members: Option<&'m [&'a [u8]]>,
    pub(super) geometry: Option<u64>,
    pub(super) visible: bool,
    pub(super) dimensions: Option<u64>,
}

/// All of it, spread over the columns.
#[derive(Debug)]
pub(super) struct Metadata<'a> {
    pub(super) names: Option<Vec<&'a str>>,
    /// Ordinals, in the key's order.
    pub(super) primary_key: Vec<usize>,
    /// The labels are UTF-8: they come from a description.
    pub(super) members_in_utf8: bool,
    tells_signs: bool,
    /// Columns that have a sign.
    numeric: Vec<bool>,
    unsigned: Vec<bool>,
    collations: Vec<u16>,
    members: Vec<Option<Vec<&'a [u8]>>>,
    geometry: Vec<Option<u64>>,
    visible: Vec<bool>,
    dimensions: Vec<Option<u64>>,
}

impl<'a> Metadata<'a> {
    /// Nothing is told.
    pub(super) fn none(columns: &[ColumnType]) -> Self {
        let width = columns.len();
        Self {
            names: None,
            primary_key: Vec::new(),
            members_in_utf8: false,
            tells_signs: false,
            numeric: columns.iter().map(|column| column.family == Family::Numeric).collect(),
            unsigned: vec![false; width],
            collations: vec![0; width],
            members: vec![None; width],
            geometry: vec![None; width],
            visible: vec![true; width],
            dimensions: vec![None; width],
        }
    }

    /// Reads all that is left of the table map. `maria`: MariaDB wrote it.
    pub(super) fn read(
        bytes: &mut Bytes<'a>,
        columns: &[ColumnType],
        maria: bool,
    ) -> Result<Self, Fault> {
        let mut metadata = Self::none(columns);
        while bytes.left() > 0 {
            let field = bytes.u8("metadata field")?;
            let length = bytes.length_encoded("length of a metadata field")?;
            let mut value = Bytes::new(bytes.take_long(length, "metadata field")?);
            metadata.field(field, &mut value, columns, maria)?;
        }
        Ok(metadata)
    }

    /// What is told of column `ordinal`.
    pub(super) fn column(&self, ordinal: usize) -> Told<'_, 'a> {
        let names = self.names.as_ref();
        let unsigned = self.unsigned.get(ordinal).copied().unwrap_or(false);
        let has_sign = self.tells_signs && self.numeric.get(ordinal).copied().unwrap_or(false);
        Told {
            name: names.and_then(|names| names.get(ordinal)).copied(),
            unsigned,
            sign: has_sign.then_some(unsigned),
            collation: self.collations.get(ordinal).copied().unwrap_or(0),
            members: self.members.get(ordinal).and_then(|members| members.as_deref()),
            geometry: self.geometry.get(ordinal).copied().flatten(),
            visible: self.visible.get(ordinal).copied().unwrap_or(true),
            dimensions: self.dimensions.get(ordinal).copied().flatten(),
        }
    }

    /// These columns are unsigned; all others are not. Nothing is taken where the log tells.
    pub(super) fn take_signs(&mut self, unsigned: &[usize]) {
        if !std::mem::replace(&mut self.tells_signs, true) {
            for ordinal in unsigned {
                set(&mut self.unsigned, *ordinal, true);
            }
        }
    }

    /// Takes over what a description adds that agrees with all that is told; one of `added` for
    /// each column.
    pub(super) fn take_over(
        &mut self,
        description: &'a Description,
        key: &[usize],
        added: Vec<Added<'a>>,
    ) {
        self.names = Some(description.columns.iter().map(|column| column.name.as_str()).collect());
        key.clone_into(&mut self.primary_key);
        self.tells_signs = true;
        self.visible = description.columns.iter().map(|column| column.visible).collect();
        self.members_in_utf8 = true;
        for (ordinal, added) in added.into_iter().enumerate() {
            set(&mut self.unsigned, ordinal, added.unsigned);
            set(&mut self.collations, ordinal, added.collation);
            set(&mut self.members, ordinal, added.members);
            set(&mut self.geometry, ordinal, added.geometry);
            set(&mut self.dimensions, ordinal, added.dimensions);
        }
    }

    fn field(
        &mut self,
        field: u8,
        value: &mut Bytes<'a>,
        columns: &[ColumnType],
        maria: bool,
    ) -> Result<(), Fault> {
        let width = columns.len();
        let character = if maria { &CHARACTER_MARIA[..] } else { &CHARACTER };
        match field {
            field::SIGNEDNESS => {
                self.tells_signs = true;
                spread_bits(value, &mut self.unsigned, &of(columns, &[Family::Numeric]))?;
            }
            field::DEFAULT_CHARSET => self.default_charset(value, columns, character)?,
            field::COLUMN_CHARSET => self.column_charset(value, columns, character)?,
            field::ENUM_SET_DEFAULT_CHARSET => {
                self.default_charset(value, columns, &MEMBERED)?;
            }
            field::ENUM_SET_COLUMN_CHARSET => {
                self.column_charset(value, columns, &MEMBERED)?;
            }
            field::COLUMN_NAME => {
                let mut names = Vec::with_capacity(width);
                for _ in columns {
                    let length = value.length_encoded("length of a column's name")?;
                    let length = usize::try_from(length).unwrap_or(usize::MAX);
                    names.push(value.text(length, "column's name")?);
                }
                self.names = Some(names);
            }
            field::SET_MEMBERS => self.members(value, &of(columns, &[Family::Set]))?,
            field::ENUM_MEMBERS => self.members(value, &of(columns, &[Family::Enum]))?,
            field::GEOMETRY_TYPE => {
                numbers(value, &mut self.geometry, &of(columns, &[Family::Geometry]))?;
            }
            field::DIMENSIONS => {
                numbers(value, &mut self.dimensions, &of(columns, &[Family::Vector]))?;
            }
            field::SIMPLE_PRIMARY_KEY | field::PREFIXED_PRIMARY_KEY => {
                while value.left() > 0 {
                    self.primary_key.push(ordinal(value, width)?);
                    if field == field::PREFIXED_PRIMARY_KEY {
                        value.length_encoded("length of a key prefix")?;
                    }
                }
            }
            field::VISIBILITY => {
                let all: Vec<usize> = (0..width).collect();
                spread_bits(value, &mut self.visible, &all)?;
            }
            // A field of a newer server: it has a length, and values are read the same without it.
            _ => {}
        }
        Ok(())
    }

    /// One charset for all columns of the families, then pairs of the exceptions' number among them
    /// and their charset.
    fn default_charset(
        &mut self,
        value: &mut Bytes<'a>,
        columns: &[ColumnType],
        families: &[Family],
    ) -> Result<(), Fault> {
        let default = collation(value)?;
        let of_families = of(columns, families);
        for column in &of_families {
            self.set_collation(columns, *column, default);
        }
        while value.left() > 0 {
            let index = ordinal(value, of_families.len())?;
            let exception = collation(value)?;
            if let Some(column) = of_families.get(index) {
                self.set_collation(columns, *column, exception);
            }
        }
        Ok(())
    }

    fn column_charset(
        &mut self,
        value: &mut Bytes<'a>,
        columns: &[ColumnType],
        families: &[Family],
    ) -> Result<(), Fault> {
        for column in of(columns, families) {
            self.set_collation(columns, column, collation(value)?);
        }
        Ok(())
    }

    /// Geometries are counted, and are no text.
    fn set_collation(&mut self, columns: &[ColumnType], ordinal: usize, collation: u16) {
        if columns.get(ordinal).is_some_and(|column| column.family != Family::Geometry) {
            set(&mut self.collations, ordinal, collation);
        }
    }

    fn members(&mut self, value: &mut Bytes<'a>, columns: &[usize]) -> Result<(), Fault> {
        for column in columns {
            let count = value.length_encoded("number of members")?;
            let mut members = Vec::new();
            for _ in 0..count {
                let length = value.length_encoded("length of a member")?;
                members.push(value.take_long(length, "member")?);
            }
            set(&mut self.members, *column, Some(members));
        }
        Ok(())
    }
}

/// Those of the charset fields of MySQL (`is_character_type` in `sql/field.h`), which counts VECTOR, a
/// BLOB beneath, and not JSON.
const CHARACTER: [Family; 2] = [Family::Character, Family::Vector];
/// Those of MariaDB (`is_character_field` in `sql/log_event_server.cc`): all whose field class tells a
/// character set, which geometries do.
const CHARACTER_MARIA: [Family; 3] = [Family::Character, Family::Vector, Family::Geometry];
const MEMBERED: [Family; 2] = [Family::Enum, Family::Set];

/// Ordinals of the columns of these families.
fn of(columns: &[ColumnType], families: &[Family]) -> Vec<usize> {
    let ordinals = columns.iter().enumerate();
    ordinals.filter(|(_, column)| families.contains(&column.family)).map(|(at, _)| at).collect()
}

fn set<T>(values: &mut [T], at: usize, value: T) {
    if let Some(slot) = values.get_mut(at) {
        *slot = value;
    }
}

/// One bit for each of `columns`, highest bit of the first byte first.
fn spread_bits(value: &mut Bytes<'_>, into: &mut [bool], columns: &[usize]) -> Result<(), Fault> {
    let bits = value.take(columns.len().div_ceil(8), "bitmap of the metadata")?;
    for (index, column) in columns.iter().enumerate() {
        let bit = bits.get(index / 8).is_some_and(|byte| byte << (index % 8) & 0x80 != 0);
        set(into, *column, bit);
    }
    Ok(())
}

fn numbers(
    value: &mut Bytes<'_>,
    into: &mut [Option<u64>],
    columns: &[usize],
) -> Result<(), Fault> {
    for column in columns {
        set(into, *column, Some(value.length_encoded("number of the metadata")?));
    }
    Ok(())
}

fn ordinal(value: &mut Bytes<'_>, width: usize) -> Result<usize, Fault> {
    let found = value.length_encoded("ordinal of a column")?;
    usize::try_from(found).ok().filter(|ordinal| *ordinal < width).ok_or(Fault::Unexpected {
        what: "ordinal of a column",
        found,
        expected: "less than the number of columns",
    })
}

fn collation(value: &mut Bytes<'_>) -> Result<u16, Fault> {
    let found = value.length_encoded("collation")?;
    u16::try_from(found).map_err(|_| Fault::Unexpected {
        what: "collation",
        found,
        expected: "at most 65535",
    })
}
