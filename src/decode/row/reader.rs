//! The ways of reading a cell, and the one `match` that picks.

use std::sync::Arc;

use super::blob::Sized;
use super::enum_set::Labels;
use super::number::Scalar;
use super::text::TextPlan;
use super::{
    CellError, blob, compressed, cursor, decimal, enum_set, number, temporal, temporal_old, text,
};
use crate::change::{Area, BytesKind, Slot};

/// One way of reading, with everything that it needs.
#[derive(Debug, Clone)]
pub(super) enum Reader {
    /// TINYINT to BIGINT, of `len` bytes, 1 to 8.
    Integer { len: u8, signed: bool },
    /// Other numbers of a fixed size.
    Scalar(Scalar),
    /// Values that are handed on as text.
    Printed(Printed),
    /// BIT, `len` bytes, the first of them at most `first_max`.
    Bit { len: u8, first_max: u8 },
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

/// Values that are printed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Printed {
    /// DECIMAL.
    Decimal { precision: u8, scale: u8 },
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
}

impl Printed {
    /// Appends the text of the value at `*at` of `event`, and moves `*at` behind it.
    fn write(self, event: &[u8], at: &mut usize, scratch: &mut Vec<u8>) -> Result<(), CellError> {
        match self {
            Self::Datetime { digits } => temporal::read_datetime(digits, event, at, scratch),
            Self::Timestamp { digits } => temporal::read_timestamp(digits, event, at, scratch),
            Self::Decimal { precision, scale } => {
                decimal::write(precision, scale, event, at, scratch)
            }
            Self::Date => temporal::read_date(event, at, scratch),
            Self::Time { digits } => temporal::read_time(digits, event, at, scratch),
            Self::TimeOld => temporal_old::read_time(event, at, scratch),
            Self::DatetimeOld => temporal_old::read_datetime(event, at, scratch),
            Self::TimestampOld => temporal_old::read_timestamp(event, at, scratch),
        }
    }
}

impl Reader {
    /// Reads the value at `*at` of `event` and moves `*at` behind it.
    pub(super) fn read(
        &self,
        event: &[u8],
        at: &mut usize,
        scratch: &mut Vec<u8>,
    ) -> Result<Slot, CellError> {
        let mut slot = Slot::Null;
        self.read_to(&mut slot, event, at, scratch)?;
        Ok(slot)
    }

    /// The same, with the slot put together where it stays: to copy what was written just before, in
    /// parts, the processor waits for each part.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "calls cost a tenth of decoding")]
    pub(super) fn read_to(
        &self,
        slot: &mut Slot,
        event: &[u8],
        at: &mut usize,
        scratch: &mut Vec<u8>,
    ) -> Result<(), CellError> {
        // What is not in line counts on a place of its own: the caller's stays in a register.
        let mut there = *at;
        match self {
            Self::Integer { len, signed } => {
                return number::read_integer(*len, *signed, slot, event, at);
            }
            Self::Text { len_bytes, text } => {
                return text::read(*len_bytes, *text, slot, event, at, scratch);
            }
            Self::Printed(printed) => {
                let start = scratch.len();
                printed.write(event, &mut there, scratch)?;
                cursor::put_span(slot, BytesKind::Text, Area::Scratch, start, scratch.len())?;
            }
            Self::Scalar(scalar) => *slot = number::read_scalar(*scalar, event, &mut there)?,
            Self::Enum { len, labels } => {
                *slot = enum_set::read_enum(*len, labels.as_deref(), event, &mut there, scratch)?;
            }
            Self::Set { len, labels } => {
                *slot = enum_set::read_set(*len, labels.as_deref(), event, &mut there, scratch)?;
            }
            Self::Bit { len, first_max } => {
                *slot = number::read_bit(*len, *first_max, event, &mut there)?;
            }
            Self::Binary { len_bytes, pad_to } => {
                *slot = blob::read_binary(*len_bytes, *pad_to, event, &mut there, scratch)?;
            }
            Self::Sized(kind, len_bytes) => {
                *slot = blob::read_sized(*kind, *len_bytes, event, &mut there, scratch)?;
            }
            Self::Compressed { len_bytes, text } => {
                *slot = compressed::read(*len_bytes, *text, event, &mut there, scratch)?;
            }
        }
        *at = there;
        Ok(())
    }
}
