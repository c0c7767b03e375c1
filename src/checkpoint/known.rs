//! What the source's tables know of a stream whose checkpoint is elsewhere: its epoch, and about where
//! it stands. So a start without the checkpoint is told from the first.
//!
//! It stands in the checkpoints' table, in a row that is no checkpoint: nobody can continue from it.

use crate::change::Position;
use crate::mysql::{Error, Session, Value};

/// Epoch and place of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// Epoch of its row numbers; 0 where only older versions ran.
    pub epoch: u64,
    /// Server that the place speaks of.
    pub server_uuid: String,
    /// Where a restart would continue, when it was written.
    pub position: Position,
    /// When it was written, microseconds since 1970 UTC.
    pub at_us: i64,
}

/// Reads it from `table`; `None`: the stream is not known there.
pub async fn read(
    session: &mut Session,
    table: &str,
    stream: &str,
) -> Result<Option<Known>, Error> {
    let sql = format!(
        "SELECT epoch, server_uuid, resume_file, resume_offset, saved_at_us FROM {table} \
         WHERE stream = ? AND epoch > 0"
    );
    let rows = session.exec(&sql, vec![stream.to_owned().into()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let offset = row.unsigned(3)?.unwrap_or(0);
    Ok(Some(Known {
        epoch: row.unsigned(0)?.unwrap_or(0),
        server_uuid: row.text(1).unwrap_or_default(),
        position: Position::new(row.text(2).unwrap_or_default(), offset),
        at_us: row.signed(4)?.unwrap_or(0),
    }))
}

/// Writes it to `table`. A checkpoint that stands there is one no more: the stream's is elsewhere.
pub async fn write(
    session: &mut Session,
    table: &str,
    stream: &str,
    known: &Known,
) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO {table} (stream, owner, owner_name, saves, format, begun, server_uuid, epoch, \
         gtid_set, resume_file, resume_offset, resume_maria, settled_file, settled_offset, \
         settled_maria, saved_at_us, version, snapshot) \
         VALUES (?, 0, '', 0, 1, 0, ?, ?, '', ?, ?, '', '', 0, '', ?, ?, '') ON DUPLICATE KEY UPDATE \
         begun = 0, server_uuid = VALUES(server_uuid), epoch = VALUES(epoch), gtid_set = '', \
         resume_file = VALUES(resume_file), resume_offset = VALUES(resume_offset), \
         saved_at_us = VALUES(saved_at_us), version = VALUES(version)"
    );
    let values: Vec<Value> = vec![
        stream.to_owned().into(),
        known.server_uuid.clone().into(),
        known.epoch.into(),
        (*known.position.file).to_owned().into(),
        known.position.offset.into(),
        known.at_us.into(),
        env!("CARGO_PKG_VERSION").to_owned().into(),
    ];
    session.exec(&sql, values).await.map(drop)
}
