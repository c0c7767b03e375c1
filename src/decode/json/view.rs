//! Values of the binary form, borrowed.
//!
//! Source: `sql-common/json_binary.h` of the server. A container has a count and its size in bytes,
//! then fixed-size entries for keys (offset, length) and values (type, offset or the value itself),
//! then keys and values. Small ones use two bytes for numbers, large ones four. Objects keep their keys
//! sorted by length, then by bytes.

use super::JsonError;

const SMALL_OBJECT: u8 = 0;
const LARGE_OBJECT: u8 = 1;
const SMALL_ARRAY: u8 = 2;
const LARGE_ARRAY: u8 = 3;
const LITERAL: u8 = 4;
const INT16: u8 = 5;
const UINT16: u8 = 6;
const INT32: u8 = 7;
const UINT32: u8 = 8;
const INT64: u8 = 9;
const UINT64: u8 = 10;
const DOUBLE: u8 = 11;
const STRING: u8 = 12;
const OPAQUE: u8 = 15;

/// One value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    /// Not yet checked to be UTF-8.
    String(&'a [u8]),
    /// A value of a column type that JSON does not have: the type, its bytes.
    Opaque(u8, &'a [u8]),
    Object(Container<'a>),
    Array(Container<'a>),
}

/// An object or array.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container<'a> {
    /// From its count to its declared end.
    bytes: &'a [u8],
    count: usize,
    large: bool,
    keyed: bool,
}

impl<'a> Value<'a> {
    /// The value of a whole document. An empty one reads as null: that is what the server stores, and
    /// reads, where NULL was forced into a NOT NULL column.
    pub(super) fn parse(document: &'a [u8]) -> Result<Self, JsonError> {
        match document.split_first() {
            Some((kind, rest)) => Self::read(*kind, rest),
            None => Ok(Self::Null),
        }
    }

    fn read(kind: u8, bytes: &'a [u8]) -> Result<Self, JsonError> {
        Ok(match kind {
            SMALL_OBJECT => Self::Object(Container::read(bytes, false, true)?),
            LARGE_OBJECT => Self::Object(Container::read(bytes, true, true)?),
            SMALL_ARRAY => Self::Array(Container::read(bytes, false, false)?),
            LARGE_ARRAY => Self::Array(Container::read(bytes, true, false)?),
            LITERAL => match array(bytes, 0, "literal")? {
                [0] => Self::Null,
                [1] => Self::Bool(true),
                [2] => Self::Bool(false),
                [found] => return Err(JsonError::Unknown { what: "literal", found }),
            },
            INT16 => Self::Int(i16::from_le_bytes(array(bytes, 0, "integer")?).into()),
            UINT16 => Self::UInt(u16::from_le_bytes(array(bytes, 0, "integer")?).into()),
            INT32 => Self::Int(i32::from_le_bytes(array(bytes, 0, "integer")?).into()),
            UINT32 => Self::UInt(u32::from_le_bytes(array(bytes, 0, "integer")?).into()),
            INT64 => Self::Int(i64::from_le_bytes(array(bytes, 0, "integer")?)),
            UINT64 => Self::UInt(u64::from_le_bytes(array(bytes, 0, "integer")?)),
            DOUBLE => Self::Double(f64::from_le_bytes(array(bytes, 0, "double")?)),
            STRING => Self::String(sized(bytes)?),
            OPAQUE => {
                let [field_type] = array(bytes, 0, "type of an opaque value")?;
                Self::Opaque(field_type, sized(bytes.get(1..).unwrap_or_default())?)
            }
            found => return Err(JsonError::Unknown { what: "value type", found }),
        })
    }
}

impl<'a> Container<'a> {
    fn read(bytes: &'a [u8], large: bool, keyed: bool) -> Result<Self, JsonError> {
        let mut container = Self { bytes, count: 0, large, keyed };
        container.count = container.number(0)?;
        let size = container.number(container.number_len())?;
        container.bytes = slice(bytes, 0, size, "container")?;
        // All entries lie inside, or a count made up by an attacker would keep us busy.
        container
            .value_entry(container.count)
            .and_then(|end| slice(container.bytes, 0, end, "entries"))?;
        Ok(container)
    }

    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Key number `index` of an object, as stored.
    pub(super) fn key(&self, index: usize) -> Result<&'a [u8], JsonError> {
        let entry = self.key_entry(index)?;
        let start = self.number(entry)?;
        let len = array(self.bytes, entry.saturating_add(self.number_len()), "length of a key")?;
        slice(self.bytes, start, u16::from_le_bytes(len).into(), "key")
    }

    /// Value number `index`.
    pub(super) fn value(&self, index: usize) -> Result<Value<'a>, JsonError> {
        let entry = self.value_entry(index)?;
        let [kind] = array(self.bytes, entry, "value entry")?;
        let inlined = match kind {
            LITERAL | INT16 | UINT16 => true,
            INT32 | UINT32 => self.large,
            _ => false,
        };
        let start =
            if inlined { entry.saturating_add(1) } else { self.number(entry.saturating_add(1))? };
        let rest = self
            .bytes
            .get(start..)
            .ok_or_else(|| short("value", start, start, self.bytes.len()))?;
        Value::read(kind, rest)
    }

    fn number_len(&self) -> usize {
        if self.large { 4 } else { 2 }
    }

    fn number(&self, at: usize) -> Result<usize, JsonError> {
        if self.large {
            let number = u32::from_le_bytes(array(self.bytes, at, "offset or size")?);
            return usize::try_from(number).map_err(|_| JsonError::Length);
        }
        Ok(u16::from_le_bytes(array(self.bytes, at, "offset or size")?).into())
    }

    fn key_entry(&self, index: usize) -> Result<usize, JsonError> {
        let each = if self.keyed { self.number_len() + 2 } else { 0 };
        entry_at(2 * self.number_len(), index, each)
    }

    fn value_entry(&self, index: usize) -> Result<usize, JsonError> {
        entry_at(self.key_entry(self.count)?, index, self.number_len() + 1)
    }
}

fn entry_at(start: usize, index: usize, each: usize) -> Result<usize, JsonError> {
    index.checked_mul(each).and_then(|len| len.checked_add(start)).ok_or(JsonError::Length)
}

/// Bytes with their length in front: seven bits a byte, lowest first, the eighth says that one more
/// follows.
fn sized(bytes: &[u8]) -> Result<&[u8], JsonError> {
    let mut len = 0u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        len |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let len = u32::try_from(len).ok().and_then(|len| usize::try_from(len).ok());
            return slice(bytes, index + 1, len.ok_or(JsonError::Length)?, "string");
        }
    }
    if bytes.len() < 5 {
        Err(short("length of a string", 0, 5, bytes.len()))
    } else {
        Err(JsonError::Length)
    }
}

fn slice<'a>(
    bytes: &'a [u8],
    start: usize,
    len: usize,
    what: &'static str,
) -> Result<&'a [u8], JsonError> {
    let end = start.checked_add(len).ok_or(JsonError::Length)?;
    bytes.get(start..end).ok_or_else(|| short(what, start, end, bytes.len()))
}

fn array<const N: usize>(
    bytes: &[u8],
    at: usize,
    what: &'static str,
) -> Result<[u8; N], JsonError> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
    found.copied().ok_or_else(|| short(what, at, at.saturating_add(N), bytes.len()))
}

#[cold]
fn short(what: &'static str, start: usize, end: usize, len: usize) -> JsonError {
    JsonError::Short { what, start, end, len }
}
