//! HEARTBEAT (27) and HEARTBEAT_V2 (41): the server is there, and here is where it reads.

use super::Fault;
use super::bytes::Bytes;
use super::event::Event;
use crate::binlog::kind;

/// A heartbeat's place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heartbeat<'a> {
    /// File; empty if it does not say.
    pub(super) file: &'a str,
    pub(super) offset: Offset,
}

/// How much of the offset it tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offset {
    /// Its lower half.
    Lower(u32),
    /// All of it.
    Whole(u64),
}

/// Fields of HEARTBEAT_V2 (`codecs::binary::Heartbeat` in the server's sources).
mod field {
    pub(super) const END: u64 = 0;
    pub(super) const FILE: u64 = 1;
    pub(super) const POSITION: u64 = 2;
}

/// Reads a heartbeat of either version.
pub(super) fn parse<'a>(event: &Event<'a>) -> Result<Heartbeat<'a>, Fault> {
    let mut bytes = Bytes::new(event.body());
    let mut heartbeat = Heartbeat { file: "", offset: Offset::Lower(event.header.end) };
    if event.header.event_type == kind::HEARTBEAT {
        heartbeat.file = bytes.text(bytes.left(), "file's name")?;
        return Ok(heartbeat);
    }
    while bytes.left() > 0 {
        let field = bytes.length_encoded("heartbeat field")?;
        if field == field::END {
            break;
        }
        let length = bytes.length_encoded("length of a heartbeat field")?;
        let mut value = Bytes::new(bytes.take_long(length, "heartbeat field")?);
        match field {
            field::FILE => heartbeat.file = value.text(value.left(), "file's name")?,
            field::POSITION => {
                heartbeat.offset = Offset::Whole(value.length_encoded("position")?);
            }
            _ => {}
        }
    }
    Ok(heartbeat)
}
