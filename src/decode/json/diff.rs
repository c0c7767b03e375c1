//! Partial updates: a list of changes to a document.
//!
//! Source: `Json_diff::read_binary` in the server's `sql-common/json_diff.cc`: operation, path and, but
//! for removals, value; path and value with their length in front.

use super::path::{self, Leg};
use super::view::Value;
use super::{Budget, JsonError, text};

const REPLACE: u8 = 0;
const INSERT: u8 = 1;
const REMOVE: u8 = 2;

/// One change to a document.
#[derive(Debug)]
pub(super) struct Diff<'a> {
    path: &'a [u8],
    pub(super) change: Change<'a>,
}

/// What happens at its path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'a> {
    /// The value there is replaced.
    Replace(Value<'a>),
    /// A new member of an object, or a new cell of an array in front of the one there.
    Insert(Value<'a>),
    /// The value there is taken away.
    Remove,
}

impl<'a> Diff<'a> {
    pub(super) fn legs(&self) -> Result<Vec<Leg<'a>>, JsonError> {
        path::parse(self.path)
    }

    /// Appends `{"op": "replace", "path": "$.a", "value": 1}`.
    pub(super) fn write(&self, budget: &mut Budget, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let (op, value) = match &self.change {
            Change::Replace(value) => ("replace", Some(value)),
            Change::Insert(value) => ("insert", Some(value)),
            Change::Remove => ("remove", None),
        };
        out.extend_from_slice(b"{\"op\": \"");
        out.extend_from_slice(op.as_bytes());
        out.extend_from_slice(b"\", \"path\": ");
        text::write_string(self.path, budget, out)?;
        if let Some(value) = value {
            out.extend_from_slice(b", \"value\": ");
            text::write(value, budget, 0, out)?;
        }
        out.push(b'}');
        Ok(())
    }
}

/// The changes of a partial update, in order. Ends after the first error.
pub(super) struct Diffs<'a> {
    rest: &'a [u8],
}

impl<'a> Diffs<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn read(&mut self) -> Result<Diff<'a>, JsonError> {
        let op = *self.take(1, "operation")?.first().ok_or(JsonError::Length)?;
        let path = self.take_sized("path")?;
        let change = match op {
            REPLACE => Change::Replace(Value::parse(self.take_sized("value")?)?),
            INSERT => Change::Insert(Value::parse(self.take_sized("value")?)?),
            REMOVE => Change::Remove,
            found => {
                return Err(JsonError::Unknown { what: "operation of a partial update", found });
            }
        };
        Ok(Diff { path, change })
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], JsonError> {
        let short = JsonError::Short { what, start: 0, end: len, len: self.rest.len() };
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Bytes with a packed length in front: one byte up to 250, else a mark and 2, 3 or 8 bytes.
    fn take_sized(&mut self, what: &'static str) -> Result<&'a [u8], JsonError> {
        let first = *self.take(1, what)?.first().ok_or(JsonError::Length)?;
        let len_bytes = match first {
            0..=250 => return self.take(first.into(), what),
            252 => 2,
            253 => 3,
            254 => 8,
            251 | 255 => return Err(JsonError::Length),
        };
        let bytes = self.take(len_bytes, what)?;
        let len = bytes.iter().rev().fold(0u64, |len, byte| len << 8 | u64::from(*byte));
        self.take(usize::try_from(len).map_err(|_| JsonError::Length)?, what)
    }
}

impl<'a> Iterator for Diffs<'a> {
    type Item = Result<Diff<'a>, JsonError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let diff = self.read();
        if diff.is_err() {
            self.rest = &[];
        }
        Some(diff)
    }
}
