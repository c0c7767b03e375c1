//! One line of the file. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::change::{GtidSet, MariaGtidSet, Position};
use crate::checkpoint::{Checkpoint, Delta, Place};

/// Number of the format that is written, and the highest that is read.
pub(super) const FORMAT: u64 = 1;

/// Digits of the CRC and the blank behind them.
const PREFIX: usize = 9;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Base {
    /// Format number; stands first so that it can be told also when the rest is not understood.
    pub(super) binpulse_checkpoint: u64,
    pub(super) stream: String,
    epoch: u64,
    owner: u64,
    version: String,
    #[serde(flatten)]
    change: Change,
}

/// What a base and a delta have in common.
#[derive(Debug, Serialize, Deserialize)]
struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    server_uuid: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    gtids: String,
    settled: Spot,
    /// Absent when the same as `settled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    resume: Option<Spot>,
    /// Absent in files of versions that did not note it, and where none came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heartbeat: Option<u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    lanes: BTreeMap<Arc<str>, u64>,
    at_us: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Spot {
    file: Arc<str>,
    offset: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    maria: String,
}

/// Only the format number of a base.
#[derive(Debug, Deserialize)]
pub(super) struct FormatOnly {
    pub(super) binpulse_checkpoint: u64,
}

/// A line for `checkpoint`.
pub(super) fn write_base(checkpoint: &Checkpoint) -> Result<Vec<u8>, serde_json::Error> {
    line(&Base {
        binpulse_checkpoint: FORMAT,
        stream: checkpoint.stream.clone(),
        epoch: checkpoint.epoch,
        owner: checkpoint.owner,
        version: checkpoint.version.clone(),
        change: Change {
            server_uuid: Some(checkpoint.server_uuid.clone()),
            gtids: checkpoint.gtid_set.to_string(),
            settled: spot(&checkpoint.settled),
            resume: checkpoint.rereads().then(|| spot(&checkpoint.resume)),
            heartbeat: checkpoint.heartbeat,
            lanes: checkpoint.lanes.clone(),
            at_us: checkpoint.saved_at_us,
        },
    })
}

/// A line for `delta`.
pub(super) fn write_delta(delta: &Delta) -> Result<Vec<u8>, serde_json::Error> {
    line(&Change {
        server_uuid: delta.server_uuid.clone(),
        gtids: delta.gtids.to_string(),
        settled: spot(&delta.settled),
        resume: (delta.resume != delta.settled).then(|| spot(&delta.resume)),
        heartbeat: delta.heartbeat,
        lanes: delta.lanes.clone(),
        at_us: delta.taken_at_us,
    })
}

/// The text of a line (without its line feed), if its CRC is right.
pub(super) fn check(line: &[u8]) -> Result<&[u8], String> {
    let (Some(prefix), Some(text)) = (line.get(..PREFIX), line.get(PREFIX..)) else {
        return Err(format!("{} bytes where a record should be", line.len()));
    };
    let stated = std::str::from_utf8(prefix)
        .ok()
        .and_then(|prefix| prefix.strip_suffix(' '))
        .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .ok_or("no checksum where a record should begin")?;
    let actual = crc32c::crc32c(text);
    if stated == actual {
        Ok(text)
    } else {
        Err(format!("the checksum says {stated:08x}, the text gives {actual:08x}"))
    }
}

/// Reads the text of a base.
pub(super) fn read_base(text: &[u8]) -> Result<Checkpoint, String> {
    let base: Base = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let mut checkpoint = Checkpoint {
        stream: base.stream,
        epoch: base.epoch,
        owner: base.owner,
        version: base.version,
        ..Checkpoint::default()
    };
    checkpoint.apply(&read_change(base.change)?);
    Ok(checkpoint)
}

/// Reads the text of a delta.
pub(super) fn read_delta(text: &[u8]) -> Result<Delta, String> {
    read_change(serde_json::from_slice(text).map_err(|error| error.to_string())?)
}

fn read_change(change: Change) -> Result<Delta, String> {
    let gtids: GtidSet = change.gtids.parse().map_err(|error| format!("gtids: {error}"))?;
    let settled = place(change.settled)?;
    let resume = match change.resume {
        Some(spot) => place(spot)?,
        None => settled.clone(),
    };
    Ok(Delta {
        server_uuid: change.server_uuid,
        gtids,
        resume,
        settled,
        lanes: change.lanes,
        taken_at_us: change.at_us,
        heartbeat: change.heartbeat,
        ..Delta::default()
    })
}

fn spot(place: &Place) -> Spot {
    let Position { file, offset } = &place.position;
    Spot { file: Arc::clone(file), offset: *offset, maria: place.maria.to_string() }
}

fn place(spot: Spot) -> Result<Place, String> {
    let maria: MariaGtidSet = spot.maria.parse().map_err(|error| format!("maria: {error}"))?;
    Ok(Place { position: Position::new(spot.file, spot.offset), maria })
}

fn line(content: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let text = serde_json::to_string(content)?;
    Ok(format!("{:08x} {text}\n", crc32c::crc32c(text.as_bytes())).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_eight_hexadecimal_digits_and_nothing_else() {
        // A sign would pass for a digit where the first digit is a zero.
        let texts = (0..).map(|number| format!("{{\"n\":{number}}}"));
        let small = |text: &String| crc32c::crc32c(text.as_bytes()) < 1 << 28;
        let text = texts.into_iter().find(small).expect("one in sixteen");
        let sum = crc32c::crc32c(text.as_bytes());
        assert_eq!(check(format!("{sum:08x} {text}").as_bytes()), Ok(text.as_bytes()));
        for line in
            [format!("+{sum:07x} {text}"), format!("{sum:08x}-{text}"), format!("{sum:07x} ")]
        {
            assert!(check(line.as_bytes()).is_err(), "{line}");
        }
    }
}
