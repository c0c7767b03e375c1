//! Names of XA transactions.

use std::fmt;

use crate::decode::bytes::Bytes;
use crate::decode::{Fault, XaFault};

/// Longest global and branch part, bytes each (`MAXGTRIDSIZE`, `MAXBQUALSIZE` of X/Open XA).
const PART_MAX: usize = 64;

/// The name of an XA transaction: global part, branch part, format number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct Xid {
    format: i64,
    bytes: [u8; 2 * PART_MAX],
    global: u8,
    branch: u8,
}

impl Xid {
    /// A name of these parts.
    pub(in crate::decode) fn new(
        format: i64,
        global: &[u8],
        branch: &[u8],
    ) -> Result<Self, XaFault> {
        let long = XaFault::Identifier { what: "has a part of more than 64 bytes" };
        if global.len() > PART_MAX || branch.len() > PART_MAX {
            return Err(long);
        }
        let mut bytes = [0; 2 * PART_MAX];
        for (slot, byte) in bytes.iter_mut().zip(global.iter().chain(branch)) {
            *slot = *byte;
        }
        match (u8::try_from(global.len()), u8::try_from(branch.len())) {
            (Ok(global), Ok(branch)) => Ok(Self { format, bytes, global, branch }),
            _ => Err(long),
        }
    }

    /// Reads the name at the front of `text`, as servers write it: `X'6162',X'63',1`. Branch part
    /// and number may be missing.
    pub(in crate::decode) fn parse(text: &[u8]) -> Result<Self, XaFault> {
        let mut text = text;
        let global = hex(&mut text)?;
        let mut branch = Vec::new();
        let mut format = 1;
        if skip(&mut text, b',') {
            branch = hex(&mut text)?;
            if skip(&mut text, b',') {
                text = text.trim_ascii_start();
                let negative = skip(&mut text, b'-');
                let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let number = text.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok());
                let number = number.and_then(|digits| digits.parse::<i64>().ok());
                format = number.ok_or(XaFault::Identifier { what: "has no format number" })?;
                if negative {
                    format = -format;
                }
            }
        }
        // The number has 32 bits; servers print it as signed or unsigned.
        Self::new(format & i64::from(u32::MAX), &global, &branch)
    }

    /// Reads the body of an XA_PREPARE event: whether it commits at once (ONE PHASE), and the name.
    pub(in crate::decode) fn parse_event(body: &[u8]) -> Result<(bool, Self), Fault> {
        let mut bytes = Bytes::new(body);
        let one_phase = bytes.u8("one-phase flag")? != 0;
        let format = bytes.u32("XA format number")?;
        let global = bytes.u32("length of the XA global part")?;
        let branch = bytes.u32("length of the XA branch part")?;
        let global = bytes.take_long(u64::from(global), "XA global part")?;
        let branch = bytes.take_long(u64::from(branch), "XA branch part")?;
        Ok((one_phase, Self::new(i64::from(format), global, branch)?))
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        let (global, rest) = self.bytes.split_at(usize::from(self.global));
        (global, rest.get(..usize::from(self.branch)).unwrap_or_default())
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (global, branch) = self.parts();
        f.write_str("X'")?;
        global.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("',X'")?;
        branch.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "',{}", self.format)
    }
}

impl fmt::Debug for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn skip(text: &mut &[u8], byte: u8) -> bool {
    let trimmed = text.trim_ascii_start();
    match trimmed.split_first() {
        Some((first, rest)) if *first == byte => {
            *text = rest;
            true
        }
        _ => false,
    }
}

/// Reads `X'6162'`, at most 64 bytes.
fn hex(text: &mut &[u8]) -> Result<Vec<u8>, XaFault> {
    let bad = XaFault::Identifier { what: "is not written as X'..'" };
    if !(skip(text, b'X') || skip(text, b'x')) || !skip(text, b'\'') {
        return Err(bad);
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut bytes = Vec::new();
    loop {
        match *text {
            [b'\'', rest @ ..] => {
                *text = rest;
                return Ok(bytes);
            }
            [high, low, rest @ ..] if bytes.len() < PART_MAX => {
                let (Some(high), Some(low)) = (digit(high), digit(low)) else { return Err(bad) };
                bytes.push(high << 4 | low);
                *text = rest;
            }
            _ => return Err(bad),
        }
    }
}
