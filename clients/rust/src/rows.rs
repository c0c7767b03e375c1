//! Rows with values typed by their columns.
//!
//! ```
//! # fn take(batch: &binpulse_client::proto::ChangeBatch) {
//! use binpulse_client::Value;
//!
//! for row in batch.rows() {
//!     let Some(after) = row.after() else { continue };
//!     match after.get("total") {
//!         Some(Value::Decimal(total)) => println!("{}: {total}", row.number()),
//!         Some(Value::Null) => println!("{}: no total", row.number()),
//!         Some(Value::Absent) | None => {} // the source's log says nothing of it
//!         Some(Value::Omitted { .. }) => println!("{}: too large to travel", row.number()),
//!         Some(other) => panic!("a DECIMAL column with {other:?}"),
//!     }
//! }
//! # }
//! ```

use crate::proto::{self, ChangeBatch, Column, LogicalType, value::Kind};
use crate::temporal::{Date, DateTime, Decimal, Time};

impl ChangeBatch {
    /// The rows, with what the batch says of each.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        self.rows.iter().enumerate().map(|(index, form)| Row { batch: self, form, index })
    }
}

/// A row of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    batch: &'a ChangeBatch,
    form: &'a proto::Row,
    index: usize,
}

impl<'a> Row<'a> {
    /// What happened to it.
    pub fn op(&self) -> proto::Op {
        self.form.op()
    }

    /// Its number in the lane: with stream, epoch and lane it identifies the row for ever. Rows of
    /// snapshots have none: 0.
    pub fn number(&self) -> u64 {
        match self.batch.sequence_first {
            0 => 0,
            first => first.saturating_add(self.index as u64),
        }
    }

    /// The transaction that it belongs to; none for rows of a snapshot.
    pub fn transaction(&self) -> Option<&'a proto::Transaction> {
        self.batch.transactions.get(self.form.transaction as usize)
    }

    /// Its number within the transaction, from 0, over all tables. With the transaction it identifies the
    /// row in another way, which also holds across epochs.
    pub fn number_in_transaction(&self) -> u64 {
        self.form.row
    }

    /// When the transaction was committed on the server that was read, microseconds since 1970 UTC;
    /// none for rows of a snapshot.
    pub fn committed_at_us(&self) -> Option<i64> {
        let delta_us = self.transaction()?.committed_at_delta_us;
        Some(self.batch.committed_at_base_us.wrapping_add(delta_us))
    }

    /// The row before; none for an insert.
    pub fn before(&self) -> Option<Image<'a>> {
        self.form.before.as_ref().map(|image| self.image(image))
    }

    /// The row after; none for a delete.
    pub fn after(&self) -> Option<Image<'a>> {
        self.form.after.as_ref().map(|image| self.image(image))
    }

    /// The columns of the primary key with their values, of the row after, or of a delete before; none
    /// without a primary key.
    pub fn key(&self) -> impl Iterator<Item = (&'a Column, Value<'a>)> + use<'a> {
        let image = self.after().or_else(|| self.before());
        let ordinals = self.batch.table.iter().flat_map(|table| &table.primary_key);
        ordinals.filter_map(move |ordinal| image?.at(*ordinal as usize))
    }

    fn image(&self, image: &'a proto::Image) -> Image<'a> {
        let columns = self.batch.table.as_ref().map_or(&[][..], |table| &table.columns);
        Image { columns, values: &image.values }
    }
}

/// One state of a row.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    columns: &'a [Column],
    values: &'a [proto::Value],
}

impl<'a> Image<'a> {
    /// The value of the column with this name; `None`: the table has no such column.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        let at = self.columns.iter().position(|column| column.name == name)?;
        self.at(at).map(|(_, value)| value)
    }

    /// The column with this ordinal, from 0, and its value.
    pub fn at(&self, ordinal: usize) -> Option<(&'a Column, Value<'a>)> {
        let column = self.columns.get(ordinal)?;
        let kind = self.values.get(ordinal).and_then(|value| value.kind.as_ref());
        Some((column, Value::of(column, kind)))
    }

    /// All columns with their values, in the table's order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a Column, Value<'a>)> + use<'a> {
        let image = *self;
        (0..image.columns.len()).filter_map(move |ordinal| image.at(ordinal))
    }
}

/// A value of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// The image does not carry the column: it says nothing about it. That is not NULL.
    Absent,
    /// SQL NULL.
    Null,
    /// TINYINT to BIGINT.
    Integer(i64),
    /// TINYINT UNSIGNED to BIGINT UNSIGNED.
    Unsigned(u64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// DECIMAL.
    Decimal(Decimal<'a>),
    /// BIT.
    Bit(u64),
    /// YEAR: 0, or 1901 to 2155.
    Year(i64),
    /// DATE.
    Date(Date<'a>),
    /// TIME.
    Time(Time<'a>),
    /// DATETIME: no time zone.
    Datetime(DateTime<'a>),
    /// TIMESTAMP, in UTC.
    Timestamp(DateTime<'a>),
    /// CHAR, VARCHAR, TEXT; a column whose values are hashed.
    Text(&'a str),
    /// Text that is not valid in its character set: the bytes as stored.
    MalformedText(&'a [u8]),
    /// BINARY, VARBINARY, BLOB.
    Bytes(&'a [u8]),
    /// ENUM: its label.
    Enum(&'a str),
    /// ENUM whose labels the source's log does not tell: its index.
    EnumIndex(u64),
    /// SET: labels joined by commas.
    Set(&'a str),
    /// SET whose labels the source's log does not tell: its bit mask.
    SetMask(u64),
    /// JSON: the document as MySQL prints it.
    Json(&'a str),
    /// A change of a JSON document whose former value the source's log does not have.
    JsonDiff(&'a str),
    /// A spatial value: 4 bytes of SRID, little-endian, then WKB.
    Geometry(&'a [u8]),
    /// VECTOR.
    Vector(&'a [f32]),
    /// The value was left out because its row was too large for a message.
    Omitted {
        /// Its length in bytes.
        size_bytes: u64,
        /// SHA-256 of its bytes.
        sha256: &'a [u8],
    },
}

impl<'a> Value<'a> {
    fn of(column: &Column, kind: Option<&'a Kind>) -> Self {
        let Some(kind) = kind else { return Self::Absent };
        match (kind, column.logical_type()) {
            (Kind::Null(_), _) => Self::Null,
            (Kind::Integer(value), LogicalType::Year) => Self::Year(*value),
            (Kind::Integer(value), _) => Self::Integer(*value),
            (Kind::Unsigned(value), LogicalType::Bit) => Self::Bit(*value),
            (Kind::Unsigned(value), LogicalType::Enum) => Self::EnumIndex(*value),
            (Kind::Unsigned(value), LogicalType::Set) => Self::SetMask(*value),
            (Kind::Unsigned(value), _) => Self::Unsigned(*value),
            (Kind::Float(value), _) => Self::Float(*value),
            (Kind::Double(value), _) => Self::Double(*value),
            (Kind::Text(text), LogicalType::Decimal) => Self::Decimal(Decimal::new(text)),
            (Kind::Text(text), LogicalType::Date) => Self::Date(Date::new(text)),
            (Kind::Text(text), LogicalType::Time) => Self::Time(Time::new(text)),
            (Kind::Text(text), LogicalType::Datetime) => Self::Datetime(DateTime::new(text)),
            (Kind::Text(text), LogicalType::Timestamp) => Self::Timestamp(DateTime::new(text)),
            (Kind::Text(text), LogicalType::Enum) => Self::Enum(text),
            (Kind::Text(text), LogicalType::Set) => Self::Set(text),
            (Kind::Text(text), _) => Self::Text(text),
            (Kind::Bytes(bytes), LogicalType::Geometry) => Self::Geometry(bytes),
            (Kind::Bytes(bytes), _) => Self::Bytes(bytes),
            (Kind::MalformedText(bytes), _) => Self::MalformedText(bytes),
            (Kind::Json(text), _) => Self::Json(text),
            (Kind::JsonDiff(text), _) => Self::JsonDiff(text),
            (Kind::Vector(vector), _) => Self::Vector(&vector.elements),
            (Kind::Omitted(omitted), _) => {
                Self::Omitted { size_bytes: omitted.size_bytes, sha256: &omitted.sha256 }
            }
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "each names what it takes")]
impl<'a> Value<'a> {
    /// An integer of any kind, where 64 signed bits hold it.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Integer(value) | Self::Year(value) => Some(value),
            Self::Unsigned(value)
            | Self::Bit(value)
            | Self::EnumIndex(value)
            | Self::SetMask(value) => value.try_into().ok(),
            _ => None,
        }
    }

    /// An integer of any kind, where it is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::Unsigned(value)
            | Self::Bit(value)
            | Self::EnumIndex(value)
            | Self::SetMask(value) => Some(value),
            _ => self.as_i64()?.try_into().ok(),
        }
    }

    /// Whatever travels as text: character data, decimals, temporal values, labels, JSON.
    pub fn as_str(&self) -> Option<&'a str> {
        match *self {
            Self::Text(text) | Self::Enum(text) | Self::Set(text) | Self::Json(text) => Some(text),
            Self::Decimal(decimal) => Some(decimal.as_str()),
            Self::Date(date) => Some(date.as_str()),
            Self::Time(time) => Some(time.as_str()),
            Self::Datetime(time) | Self::Timestamp(time) => Some(time.as_str()),
            _ => None,
        }
    }

    /// Whatever travels as bytes.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Bytes(bytes) | Self::Geometry(bytes) | Self::MalformedText(bytes) => Some(bytes),
            _ => None,
        }
    }
}
