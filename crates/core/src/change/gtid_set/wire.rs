//! The binary form of GTID sets: in `COM_BINLOG_DUMP_GTID` and in the PREVIOUS_GTIDS event.
//!
//! Untagged: the number of sources (8 bytes); per source its UUID (16), the number of intervals
//! (8), and per interval its start and its end, exclusive (8 each); all little endian.
//! With tags (8.4 and newer): the first word holds 1 in its lowest and its highest byte and the
//! number of (source, tag) pairs between them; a tag's length, shifted left by one, and its text
//! stand behind the UUID.

use std::ops::Range;

use super::{GtidError, GtidSet, SEQUENCE_END, Tag, Uuid};

/// Value of the first and last byte of the first word when tags are present.
const FORMAT_TAGGED: u8 = 1;

impl GtidSet {
    /// Its binary form; that with tags only when there are any, as older servers know but the one
    /// without.
    pub fn encode(&self) -> Vec<u8> {
        let tagged = self.is_tagged();
        let pairs = self.ranges.len() as u64;
        let mut out = Vec::with_capacity(8 + self.ranges.len() * 56);
        let header = if tagged { 1 << 56 | pairs << 8 | 1 } else { pairs };
        out.extend_from_slice(&header.to_le_bytes());
        for ((source, tag), list) in &self.ranges {
            out.extend_from_slice(&source.0);
            if tagged {
                let text = tag.as_str().as_bytes();
                // At most 32 bytes: the short form of the server's variable-length integer.
                out.push(u8::try_from(text.len() << 1).unwrap_or_default());
                out.extend_from_slice(text);
            }
            out.extend_from_slice(&(list.len() as u64).to_le_bytes());
            for range in list {
                out.extend_from_slice(&range.start.to_le_bytes());
                out.extend_from_slice(&range.end.to_le_bytes());
            }
        }
        out
    }

    /// Reads either binary form, for instance the body of a PREVIOUS_GTIDS event without its
    /// checksum. Bytes left over are an error.
    pub fn decode(bytes: &[u8]) -> Result<Self, GtidError> {
        let mut input = Input { bytes, at: 0 };
        let header = input.array::<8>("the number of sources")?;
        let tagged = header[7] == FORMAT_TAGGED;
        let pairs = match header {
            [first, .., FORMAT_TAGGED] if first != FORMAT_TAGGED => {
                return Err(input.error(0, "1 in the first byte of a tagged set"));
            }
            [_, count @ .., FORMAT_TAGGED] => {
                let mut wide = [0; 8];
                wide[..6].copy_from_slice(&count);
                u64::from_le_bytes(wide)
            }
            untagged => u64::from_le_bytes(untagged),
        };
        let mut set = Self::new();
        for _ in 0..pairs {
            input.pair(tagged, &mut set)?;
        }
        if input.at != bytes.len() {
            return Err(input.error(input.at, "the end of the set"));
        }
        Ok(set)
    }
}

/// What is left of the bytes. Each read checks its bounds, so that counts from the wire only ever
/// end in an error, not in an allocation.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn array<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], GtidError> {
        let chunk = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk);
        let array = *chunk.ok_or_else(|| self.error(self.at, expected))?;
        self.at += N;
        Ok(array)
    }

    fn number(&mut self, expected: &'static str) -> Result<u64, GtidError> {
        self.array(expected).map(u64::from_le_bytes)
    }

    fn tag(&mut self) -> Result<Tag, GtidError> {
        let start = self.at;
        let [coded] = self.array("a tag's length")?;
        let length = usize::from(coded >> 1);
        if coded & 1 != 0 || length > Tag::LENGTH_MAX {
            return Err(self.error(start, "a tag's length, at most 32"));
        }
        let text = self.bytes.get(self.at..self.at + length);
        let text = text.ok_or_else(|| self.error(self.at, "a tag's text"))?;
        let tag = Tag::new(text).map_err(|error| self.error(self.at, error.expected))?;
        self.at += length;
        Ok(tag)
    }

    fn pair(&mut self, tagged: bool, set: &mut GtidSet) -> Result<(), GtidError> {
        let source = Uuid(self.array("a source's UUID")?);
        let tag = if tagged { self.tag()? } else { Tag::default() };
        let mut last_end = 0;
        for _ in 0..self.number("the number of intervals")? {
            let range = self.interval(last_end)?;
            last_end = range.end;
            set.insert_range(source, tag, range);
        }
        Ok(())
    }

    fn interval(&mut self, last_end: u64) -> Result<Range<u64>, GtidError> {
        let at = self.at;
        let start = self.number("an interval's start")?;
        let end = self.number("an interval's end")?;
        if start <= last_end || end <= start || end > SEQUENCE_END {
            return Err(self.error(at, "a rising, non-empty interval"));
        }
        Ok(start..end)
    }

    fn error(&self, at: usize, expected: &'static str) -> GtidError {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let found = match rest {
            [] => "the end".to_owned(),
            rest => format!("bytes {:02x?}", rest.get(..8).unwrap_or(rest)),
        };
        GtidError { at, found, expected }
    }
}
