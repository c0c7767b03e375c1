//! How to read a column: decided once per table map, so that the walker only follows.

use std::sync::Arc;

use super::blob::Sized;
use super::enum_set::Labels;
use super::number::Scalar;
use super::reader::{Printed, Reader};
use super::text::TextPlan;
use super::{CellError, real_type, type_text, wire};
use crate::change::LogicalType;
use crate::decode::charset::{self, Charset};

/// Collation id of binary strings.
const COLLATION_BINARY: u16 = 63;

/// What TABLE_MAP tells of one column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WireColumn<'a> {
    /// Type byte as in the event (ENUM and SET arrive as STRING, 254).
    pub(crate) wire_type: u8,
    /// The type's metadata bytes in the order of the event; zero where it has fewer, see
    /// [`meta_len`](super::meta_len).
    pub(crate) meta: [u8; 2],
    /// From the signedness bitmap; false when there is none.
    pub(crate) unsigned: bool,
    /// Collation id; 0 when the event does not tell.
    pub(crate) collation: u16,
    /// Labels of ENUM and SET as stored; `None` when the event does not tell.
    pub(crate) members: Option<&'a [&'a [u8]]>,
    /// The labels are UTF-8, whatever the column's character set: they are not the event's.
    pub(crate) members_in_utf8: bool,
}

/// How to read the values of one column.
#[derive(Debug, Clone)]
pub(crate) struct ColumnPlan {
    pub(super) reader: Reader,
    logical_type: LogicalType,
    mysql_type: Box<str>,
    charset: Option<&'static Charset>,
    labels: Option<Arc<Labels>>,
}

impl ColumnPlan {
    /// Plans a column. Fails for unknown types and impossible metadata.
    pub(crate) fn new(column: &WireColumn<'_>) -> Result<Self, CellError> {
        let charset = charset::by_collation(column.collation);
        let of_labels = charset.filter(|_| !column.members_in_utf8);
        let labels = column.members.map(|members| Arc::new(Labels::new(members, of_labels)));
        let (logical_type, reader) = reader(column, charset, labels.as_ref())?;
        let is_text =
            matches!(logical_type, LogicalType::Text | LogicalType::Enum | LogicalType::Set);
        let charset = charset.filter(|_| is_text);
        let mut plan = Self { reader, logical_type, mysql_type: Box::default(), charset, labels };
        plan.mysql_type = type_text::write(column, &plan).into();
        Ok(plan)
    }

    /// Family of the column's type.
    pub(crate) fn logical_type(&self) -> LogicalType {
        self.logical_type
    }

    /// The type as MySQL writes it in DDL, as far as the binlog tells: `varchar(80)`.
    pub(crate) fn mysql_type(&self) -> &str {
        &self.mysql_type
    }

    /// Character set of character data, ENUM and SET; `None` when not told, unknown, or not
    /// character data.
    pub(crate) fn charset(&self) -> Option<&'static Charset> {
        self.charset
    }

    /// Labels of ENUM and SET in UTF-8; empty when the binlog does not tell. Bytes that are not valid
    /// in the column's character set are written `\xNN`.
    pub(crate) fn members(&self) -> Vec<String> {
        self.labels.as_ref().map_or_else(Vec::new, |labels| labels.to_strings())
    }
}

fn reader(
    column: &WireColumn<'_>,
    charset: Option<&'static Charset>,
    labels: Option<&Arc<Labels>>,
) -> Result<(LogicalType, Reader), CellError> {
    let [meta, meta_next] = column.meta;
    let text = TextPlan::new(column.collation, charset);
    let strings =
        if column.collation == COLLATION_BINARY { LogicalType::Binary } else { LogicalType::Text };
    let planned = match real_type(column.wire_type, column.meta) {
        wire::TINY => (LogicalType::Integer, integer(column, 1)),
        wire::SHORT => (LogicalType::Integer, integer(column, 2)),
        wire::INT24 => (LogicalType::Integer, integer(column, 3)),
        wire::LONG => (LogicalType::Integer, integer(column, 4)),
        wire::LONGLONG => (LogicalType::Integer, integer(column, 8)),
        wire::YEAR => (LogicalType::Year, Reader::Scalar(Scalar::Year)),
        wire::FLOAT => (LogicalType::Float, Reader::Scalar(Scalar::Float)),
        wire::DOUBLE => (LogicalType::Double, Reader::Scalar(Scalar::Double)),
        wire::NEWDECIMAL => (LogicalType::Decimal, decimal(meta, meta_next)?),
        wire::BIT => (LogicalType::Bit, bit(meta, meta_next)?),
        wire::DATE | wire::NEWDATE => (LogicalType::Date, Reader::Printed(Printed::Date)),
        wire::TIME => (LogicalType::Time, Reader::Printed(Printed::TimeOld)),
        wire::TIME2 => {
            (LogicalType::Time, Reader::Printed(Printed::Time { digits: fraction_digits(meta)? }))
        }
        wire::DATETIME => (LogicalType::Datetime, Reader::Printed(Printed::DatetimeOld)),
        wire::DATETIME2 => (
            LogicalType::Datetime,
            Reader::Printed(Printed::Datetime { digits: fraction_digits(meta)? }),
        ),
        wire::TIMESTAMP => (LogicalType::Timestamp, Reader::Printed(Printed::TimestampOld)),
        wire::TIMESTAMP2 => (
            LogicalType::Timestamp,
            Reader::Printed(Printed::Timestamp { digits: fraction_digits(meta)? }),
        ),
        wire::VARCHAR | wire::VAR_STRING => {
            let len_bytes = length_bytes(u16::from_le_bytes(column.meta));
            (strings, Reader::Text { len_bytes, text })
        }
        wire::STRING => {
            let declared = wire::string_len(column.meta);
            let len_bytes = length_bytes(declared);
            if strings == LogicalType::Binary {
                (strings, Reader::Binary { len_bytes, pad_to: declared })
            } else {
                (strings, Reader::Text { len_bytes, text })
            }
        }
        wire::BLOB | wire::TINY_BLOB | wire::MEDIUM_BLOB | wire::LONG_BLOB => {
            (strings, Reader::Text { len_bytes: blob_length_bytes(meta)?, text })
        }
        wire::VARCHAR_COMPRESSED => {
            let len_bytes = length_bytes(u16::from_le_bytes(column.meta));
            (strings, Reader::Compressed { len_bytes, text })
        }
        wire::BLOB_COMPRESSED => {
            (strings, Reader::Compressed { len_bytes: blob_length_bytes(meta)?, text })
        }
        wire::ENUM => {
            (LogicalType::Enum, Reader::Enum { len: enum_len(meta_next)?, labels: labels.cloned() })
        }
        wire::SET => {
            (LogicalType::Set, Reader::Set { len: set_len(meta_next)?, labels: labels.cloned() })
        }
        wire::JSON => (LogicalType::Json, Reader::Sized(Sized::Json, blob_length_bytes(meta)?)),
        wire::GEOMETRY => {
            (LogicalType::Geometry, Reader::Sized(Sized::Geometry, blob_length_bytes(meta)?))
        }
        wire::VECTOR => {
            (LogicalType::Vector, Reader::Sized(Sized::Vector, blob_length_bytes(meta)?))
        }
        other => return Err(CellError::UnknownType(other)),
    };
    Ok(planned)
}

fn integer(column: &WireColumn<'_>, len: u8) -> Reader {
    Reader::Integer { len, signed: !column.unsigned }
}

/// Length bytes in front of a string of at most `declared` bytes.
fn length_bytes(declared: u16) -> u8 {
    if declared > 255 { 2 } else { 1 }
}

fn blob_length_bytes(meta: u8) -> Result<u8, CellError> {
    within("number of a BLOB's length bytes", meta, 1, 4, "1 to 4")
}

fn fraction_digits(meta: u8) -> Result<u8, CellError> {
    within("number of fraction digits", meta, 0, 6, "0 to 6")
}

fn enum_len(meta: u8) -> Result<u8, CellError> {
    within("length of an ENUM", meta, 1, 2, "1 or 2")
}

fn set_len(meta: u8) -> Result<u8, CellError> {
    within("length of a SET", meta, 1, 8, "1 to 8")
}

fn decimal(precision: u8, scale: u8) -> Result<Reader, CellError> {
    within("precision of a DECIMAL", precision, 1, 65, "1 to 65")?;
    // MariaDB allows a scale of 38, MySQL of 30.
    within("scale of a DECIMAL", scale, 0, precision.min(38), "at most the precision and 38")?;
    Ok(Reader::Printed(Printed::Decimal { precision, scale }))
}

fn bit(bits: u8, bytes: u8) -> Result<Reader, CellError> {
    within("odd bits of a BIT", bits, 0, 7, "0 to 7")?;
    let len = bytes.saturating_add(u8::from(bits > 0));
    let len = within("length of a BIT", len, 1, 8, "1 to 8")?;
    // Of the first byte, the lower bits count where there are odd ones.
    let first_max = if bits == 0 { u8::MAX } else { (1 << bits) - 1 };
    Ok(Reader::Bit { len, first_max })
}

fn within(
    what: &'static str,
    found: u8,
    min: u8,
    max: u8,
    expected: &'static str,
) -> Result<u8, CellError> {
    if (min..=max).contains(&found) {
        return Ok(found);
    }
    Err(CellError::Unexpected { what, found: u64::from(found), expected })
}
