//! The ways of reading a cell, and the one `match` that picks.

use std::sync::Arc;

use super::enum_set::Labels;
use super::text::TextPlan;
use super::{CellError, blob, compressed, decimal, enum_set, number, temporal, temporal_old, text};
use crate::change::Slot;

/// One way of reading, with everything that it needs.
#[derive(Debug, Clone)]
pub(super) enum Reader {
    /// TINYINT to BIGINT.
    Integer(Integer),
    /// Other numbers of a fixed size.
    Scalar(Scalar),
    /// DECIMAL.
    Decimal { precision: u8, scale: u8 },
    /// BIT, `len` bytes, the first of them at most `first_max`.
    Bit { len: u8, first_max: u8 },
    /// DATE.
    Date,
    /// TIME with `digits` of fraction.
    Time { digits: u8 },
    /// DATETIME with `digits` of fraction.
    Datetime { digits: u8 },
    /// TIMESTAMP with `digits` of fraction.
    Timestamp { digits: u8 },
    /// TIME of before 5.6.
    TimeOld,
    /// DATETIME of before 5.6.
    DatetimeOld,
    /// TIMESTAMP of before 5.6.
    TimestampOld,
    /// CHAR, VARCHAR, VARBINARY, TEXT, BLOB with `len_bytes` of length in front.
    Text { len_bytes: u8, text: TextPlan },
    /// BINARY: the binlog drops trailing zeros, they are put back.
    Binary { len_bytes: u8, pad_to: u16 },
    /// MariaDB's COMPRESSED columns.
    Compressed { len_bytes: u8, text: TextPlan },
    /// ENUM, `len` bytes.
    Enum { len: u8, labels: Option<Arc<Labels>> },
    /// SET, `len` bytes.
    Set { len: u8, labels: Option<Arc<Labels>> },
    /// Values with a length of that many bytes in front.
    Sized(Sized, u8),
}

/// Widths of integers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Integer {
    Int8,
    UInt8,
    Int16,
    UInt16,
    Int24,
    UInt24,
    Int32,
    UInt32,
    Int64,
    UInt64,
}

/// Other numbers of a fixed size.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scalar {
    Year,
    Float,
    Double,
}

/// Values with their length in front that are not character data.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sized {
    Json,
    Geometry,
    Vector,
}

impl Reader {
    /// Reads the value at `*at` of `event` and moves `*at` behind it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "calls cost a tenth of decoding")]
    pub(super) fn read(
        &self,
        event: &[u8],
        at: &mut usize,
        scratch: &mut Vec<u8>,
    ) -> Result<Slot, CellError> {
        match self {
            Self::Integer(width) => number::read_integer(*width, event, at),
            Self::Scalar(scalar) => number::read_scalar(*scalar, event, at),
            Self::Text { len_bytes, text } => text::read(*len_bytes, *text, event, at, scratch),
            Self::Datetime { digits } => temporal::read_datetime(*digits, event, at, scratch),
            Self::Timestamp { digits } => temporal::read_timestamp(*digits, event, at, scratch),
            Self::Decimal { precision, scale } => {
                decimal::read(*precision, *scale, event, at, scratch)
            }
            Self::Date => temporal::read_date(event, at, scratch),
            Self::Time { digits } => temporal::read_time(*digits, event, at, scratch),
            Self::Enum { len, labels } => {
                enum_set::read_enum(*len, labels.as_deref(), event, at, scratch)
            }
            Self::Set { len, labels } => {
                enum_set::read_set(*len, labels.as_deref(), event, at, scratch)
            }
            Self::Bit { len, first_max } => number::read_bit(*len, *first_max, event, at),
            Self::Binary { len_bytes, pad_to } => {
                blob::read_binary(*len_bytes, *pad_to, event, at, scratch)
            }
            Self::Sized(kind, len_bytes) => blob::read_sized(*kind, *len_bytes, event, at, scratch),
            Self::TimeOld => temporal_old::read_time(event, at, scratch),
            Self::DatetimeOld => temporal_old::read_datetime(event, at, scratch),
            Self::TimestampOld => temporal_old::read_timestamp(event, at, scratch),
            Self::Compressed { len_bytes, text } => {
                compressed::read(*len_bytes, *text, event, at, scratch)
            }
        }
    }
}
