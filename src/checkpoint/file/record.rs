//! The text of one line of the file. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::change::{GtidSet, MariaGtidSet, Position};
use crate::checkpoint::{Checkpoint, Delta, Place};
use crate::journal;

/// Number of the format that is written, and the highest that is read.
pub(super) const FORMAT: u64 = 1;

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
    #[serde(default, rename = "snapshot", skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<Arc<str>, Arc<str>>,
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
            annotations: checkpoint.annotations.clone(),
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
        annotations: delta.annotations.clone(),
        at_us: delta.taken_at_us,
    })
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
        annotations: change.annotations,
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
    Ok(journal::line(&serde_json::to_string(content)?).into_bytes())
}
