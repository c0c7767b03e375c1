//! Messages of our own on the stream: canaries and statements.

use std::sync::Arc;

use super::flow::Numbered;
use crate::change::{Change, Table, Transaction};
use crate::checkpoint::MovedLanes;
use crate::decode::Statement;
use crate::encode::{Batch, Canary, Draft, Format, Lane, RowOptions, notice, proto};
use crate::pack::Sequences;
use crate::pulse::{CanaryRow, Phase};

/// Makes them. Each kind has a lane of its own, in which they are numbered.
#[derive(Debug)]
pub struct Notices {
    format: Format,
    source_uuid: Arc<str>,
}

const CANARY_LANE: &str = "canary";
const SCHEMA_LANE: &str = "schema";

impl Notices {
    /// Most lanes that a canary's watermark names: keeps it small beside the row.
    pub(super) const LANES_MAX: usize = 100;

    /// Notices in this format.
    pub fn new(format: Format, source_uuid: impl Into<Arc<str>>) -> Self {
        Self { format, source_uuid: source_uuid.into() }
    }

    /// A canary's row, as a message of kind `canary` that also says how far delivery has got.
    pub(super) fn canary(
        &self,
        row: &CanaryRow,
        numbered: &Numbered<'_>,
        delivered: Delivered<'_>,
        sequences: &mut Sequences,
    ) -> Option<Draft> {
        let lane = own_lane(CANARY_LANE, sequences);
        let number = sequences.number(lane.id);
        let mut batch =
            Batch::new(self.format, RowOptions::default(), Arc::clone(numbered.table));
        batch.push(numbered.unit, numbered.transaction, numbered.change);
        let draft = batch.take(lane, number)?;
        Some(draft.into_canary(Canary {
            number: row.number,
            phase: match row.phase {
                Phase::Insert => proto::CanaryPhase::Insert,
                Phase::Update => proto::CanaryPhase::Update,
                Phase::Delete => proto::CanaryPhase::Delete,
            },
            written_at_us: row.written_at_us,
            watermark: Some(self.watermark(delivered)),
        }))
    }

    fn watermark(&self, delivered: Delivered<'_>) -> proto::Watermark {
        let lanes = delivered.lanes.lanes.iter().map(|(lane, next)| proto::LaneMark {
            lane: lane.to_string(),
            sequence_next: *next,
        });
        proto::Watermark {
            server_uuid: self.source_uuid.to_string(),
            gtid_set: delivered.gtid_set,
            position: Some(notice::position(delivered.position)),
            lanes: lanes.collect(),
            lanes_truncated: delivered.lanes.truncated,
            ..proto::Watermark::default()
        }
    }

    /// A statement that was replicated as text.
    pub(super) fn statement(
        &self,
        statement: &Statement<'_>,
        unit: u64,
        sequences: &mut Sequences,
    ) -> Draft {
        let lane = own_lane(SCHEMA_LANE, sequences);
        let number = sequences.number(lane.id);
        notice::schema_change(
            self.format,
            lane,
            unit,
            number,
            statement.database,
            &statement.text(),
            statement.transaction,
        )
    }
}

/// How far delivery has got when a canary goes by.
pub(super) struct Delivered<'a> {
    pub(super) gtid_set: String,
    pub(super) position: &'a crate::change::Position,
    pub(super) lanes: MovedLanes,
}

fn own_lane(name: &str, sequences: &mut Sequences) -> Lane {
    let key = Lane::notice_key_of(name);
    let id = sequences.lane(&key);
    Lane { id, key: key.into(), number: 0, count: 1 }
}
