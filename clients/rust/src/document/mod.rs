//! Documents of the `json` format to the contract's messages.

mod parse;
mod rows;
mod values;

pub use parse::DocumentError;
pub(crate) use parse::{Members, Name};

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::content::Content;
use crate::proto;
use rows::Room;

/// What a document of a known version holds. `cells_max` bounds what its rows take in memory: a column that is absent
/// from an image costs no byte of the document.
pub(crate) fn content(document: &Members<'_>, cells_max: usize) -> Result<Content, DocumentError> {
    let kind: Name<'_> = document.required("kind")?;
    let mut room = Room(cells_max);
    Ok(match &*kind.0 {
        "change" => Content::Rows(rows::batch(document, &mut room)?),
        "snapshot" if document.raw("phase").is_some() => Content::Mark(mark(document)?),
        "snapshot" => Content::Part(rows::part(document, &mut room)?),
        "canary" => Content::Canary(canary(document, &mut room)?),
        "heartbeat" => Content::Heartbeat(heartbeat(document)?),
        "schema" => Content::Schema(schema_change(document)?),
        "suppressed" => Content::Suppressed(suppressed(document)?),
        _ => Content::Unknown { kind: kind.0.into_owned() },
    })
}

fn source(document: &Members<'_>) -> Result<proto::Source, DocumentError> {
    #[derive(Deserialize)]
    struct Form {
        stream: String,
        server_uuid: String,
        server_id: u32,
        epoch: u64,
        #[serde(default)]
        connector_version: String,
        #[serde(default)]
        snapshot: bool,
    }
    let form: Form = document.required("source")?;
    Ok(proto::Source {
        stream: form.stream,
        server_uuid: form.server_uuid,
        server_id: form.server_id,
        epoch: form.epoch,
        connector_version: form.connector_version,
        snapshot: form.snapshot,
    })
}

#[derive(Deserialize)]
struct Position {
    file: String,
    offset: u64,
}

impl From<Position> for proto::Position {
    fn from(Position { file, offset }: Position) -> Self {
        Self { file, offset }
    }
}

#[derive(Deserialize)]
struct LaneMark {
    lane: String,
    sequence_next: u64,
    epoch: u64,
    #[serde(default)]
    snapshot_next: u64,
    #[serde(default)]
    snapshot_attempt: u32,
}

fn marks(lanes: Vec<LaneMark>) -> Vec<proto::LaneMark> {
    let mark = |mark: LaneMark| proto::LaneMark {
        lane: mark.lane,
        sequence_next: mark.sequence_next,
        epoch: mark.epoch,
        snapshot_next: mark.snapshot_next,
        snapshot_attempt: mark.snapshot_attempt,
    };
    lanes.into_iter().map(mark).collect()
}

fn text(document: &Members<'_>, name: &'static str) -> Result<String, DocumentError> {
    Ok(document.optional::<String>(name)?.unwrap_or_default())
}

fn time(document: &Members<'_>, name: &'static str) -> Result<i64, DocumentError> {
    let text: Name<'_> = document.required(name)?;
    microseconds(name, &text.0)
}

fn microseconds(place: &str, text: &str) -> Result<i64, DocumentError> {
    crate::time::microseconds(text)
        .ok_or_else(|| DocumentError::new(place, "another text", "a time of RFC 3339 in UTC"))
}

fn watermark(document: &Members<'_>) -> Result<Option<proto::Watermark>, DocumentError> {
    #[derive(Deserialize)]
    struct Form {
        verdict: String,
        server_uuid: String,
        gtid_set: String,
        position: Option<Position>,
        lanes: Vec<LaneMark>,
        lanes_truncated: bool,
        certificate: Option<Certificate>,
        taken_at_us: i64,
    }
    #[derive(Deserialize)]
    struct Certificate {
        heartbeat_first: u64,
        heartbeat_last: u64,
        gtid_set_first: String,
        gtid_set_last: String,
        user_transactions: u64,
        filtered_transactions: u64,
        heartbeat_transactions: u64,
        canary_transactions: u64,
        proven_at_us: i64,
    }
    let certificate = |form: Certificate| proto::QuietCertificate {
        heartbeat_first: form.heartbeat_first,
        heartbeat_last: form.heartbeat_last,
        gtid_set_first: form.gtid_set_first,
        gtid_set_last: form.gtid_set_last,
        user_transactions: form.user_transactions,
        filtered_transactions: form.filtered_transactions,
        heartbeat_transactions: form.heartbeat_transactions,
        canary_transactions: form.canary_transactions,
        proven_at_us: form.proven_at_us,
    };
    Ok(document.optional::<Form>("watermark")?.map(|form| proto::Watermark {
        verdict: form.verdict,
        server_uuid: form.server_uuid,
        gtid_set: form.gtid_set,
        position: form.position.map(Into::into),
        lanes: marks(form.lanes),
        lanes_truncated: form.lanes_truncated,
        certificate: form.certificate.map(certificate),
        taken_at_us: form.taken_at_us,
    }))
}

fn canary(document: &Members<'_>, room: &mut Room) -> Result<proto::Canary, DocumentError> {
    let phase: Name<'_> = document.required("phase")?;
    let nonce: Option<Name<'_>> = document.optional("nonce")?;
    let nonce = nonce.map(|nonce| STANDARD.decode(&*nonce.0)).transpose();
    let phase = match &*phase.0 {
        "insert" => proto::CanaryPhase::Insert,
        "update" => proto::CanaryPhase::Update,
        "delete" => proto::CanaryPhase::Delete,
        _ => proto::CanaryPhase::Unspecified,
    };
    Ok(proto::Canary {
        number: document.required("number")?,
        phase: phase.into(),
        written_at_us: time(document, "written_at")?,
        batch: Some(rows::batch(document, room)?),
        watermark: watermark(document)?,
        path: text(document, "path")?,
        nonce: nonce
            .map_err(|_| DocumentError::new("nonce", "another text", "base64"))?
            .unwrap_or_default(),
        digests: Vec::new(),
        instance: String::new(),
    })
}

fn heartbeat(document: &Members<'_>) -> Result<proto::Heartbeat, DocumentError> {
    Ok(proto::Heartbeat {
        source: Some(source(document)?),
        number: document.required("number")?,
        written_at_us: time(document, "written_at")?,
        gtid: text(document, "gtid")?,
        position: document.optional::<Position>("position")?.map(Into::into),
        committed_at_us: time(document, "committed_at")?,
        watermark: watermark(document)?,
    })
}

fn schema_change(document: &Members<'_>) -> Result<proto::SchemaChange, DocumentError> {
    Ok(proto::SchemaChange {
        source: Some(source(document)?),
        database: text(document, "database")?,
        statement: document.required("statement")?,
        gtid: text(document, "gtid")?,
        position: document.optional::<Position>("position")?.map(Into::into),
        committed_at_us: time(document, "committed_at")?,
        sequence: document.required("sequence")?,
        lane: document.required("lane")?,
    })
}

fn suppressed(document: &Members<'_>) -> Result<proto::Suppressed, DocumentError> {
    Ok(proto::Suppressed {
        source: Some(source(document)?),
        lane: document.required("lane")?,
        database: text(document, "database")?,
        table: text(document, "table")?,
        sequence_first: document.required("sequence_first")?,
        count: document.required("count")?,
        reason: text(document, "reason")?,
        by: text(document, "by")?,
        gtid_first: text(document, "gtid_first")?,
        since_us: time(document, "since")?,
    })
}

fn mark(document: &Members<'_>) -> Result<proto::SnapshotMark, DocumentError> {
    let phase: Cow<'_, str> = document.required::<Name<'_>>("phase")?.0;
    let phase = match &*phase {
        "started" => proto::SnapshotPhase::Started,
        "done" => proto::SnapshotPhase::Done,
        "abandoned" => proto::SnapshotPhase::Abandoned,
        _ => proto::SnapshotPhase::Unspecified,
    };
    Ok(proto::SnapshotMark {
        source: Some(source(document)?),
        snapshot: document.required("snapshot")?,
        database: document.required("database")?,
        table: document.required("table")?,
        phase: phase.into(),
        rows: document.required("rows_published")?,
        chunks: document.required("chunks")?,
        lanes: marks(document.required("lanes")?),
        reason: text(document, "reason")?,
    })
}
