//! How to read a column: decided once per table map, so that the walker only follows.

use super::CellError;
use crate::change::LogicalType;
use crate::decode::charset::Charset;

/// Wire types, as TABLE_MAP writes them (`enum_field_types` of the server's sources).
pub(super) mod wire {
    pub(in crate::decode::row) const TINY: u8 = 1;
}

/// What TABLE_MAP tells of one column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WireColumn<'a> {
    /// Type byte as in the event (ENUM and SET arrive as STRING, 254).
    pub(crate) wire_type: u8,
    /// The type's metadata bytes in the order of the event; zero where it has fewer, see [`meta_len`].
    pub(crate) meta: [u8; 2],
    /// From the signedness bitmap; false when there is none.
    pub(crate) unsigned: bool,
    /// Collation id; 0 when the event does not tell.
    pub(crate) collation: u16,
    /// Labels of ENUM and SET as stored; `None` when the event does not tell.
    pub(crate) members: Option<&'a [&'a [u8]]>,
}

/// How to read the values of one column.
#[derive(Debug, Clone)]
pub(crate) struct ColumnPlan {
    pub(super) reader: Reader,
}

/// One way of reading, with everything that it needs.
#[derive(Debug, Clone)]
pub(super) enum Reader {
    /// TINYINT.
    Int8,
    /// CHAR, VARCHAR, TEXT: number of length bytes, character set.
    Text(u8, Option<&'static Charset>),
}

/// Number of metadata bytes that a column of this wire type has in TABLE_MAP; `None` for a type
/// that is not known.
pub(crate) fn meta_len(wire_type: u8) -> Option<usize> {
    (wire_type == wire::TINY).then_some(0)
}

/// The type behind the wire type: ENUM (247) and SET (248) hide in the metadata of STRING (254).
pub(crate) fn real_type(wire_type: u8, _meta: [u8; 2]) -> u8 {
    wire_type
}

impl ColumnPlan {
    /// Plans a column. Fails for unknown types and impossible metadata.
    pub(crate) fn new(column: &WireColumn<'_>) -> Result<Self, CellError> {
        match column.wire_type {
            wire::TINY => Ok(Self { reader: Reader::Int8 }),
            other => Err(CellError::UnknownType(other)),
        }
    }

    /// Family of the column's type.
    pub(crate) fn logical_type(&self) -> LogicalType {
        LogicalType::Integer
    }

    /// The type as MySQL writes it in DDL, as far as the binlog tells: `varchar(80)`.
    pub(crate) fn mysql_type(&self) -> String {
        String::new()
    }

    /// Character set of character data, ENUM and SET; `None` when not told, unknown, or not
    /// character data.
    pub(crate) fn charset(&self) -> Option<&'static Charset> {
        None
    }

    /// Labels of ENUM and SET in UTF-8; empty when the binlog does not tell. Bytes that are not valid
    /// in the column's character set are written `\xNN`.
    pub(crate) fn members(&self) -> Vec<String> {
        Vec::new()
    }
}
