//! Messages of our own on the stream: canaries and statements.

use std::sync::Arc;

use crate::change::{Change, Position, Table, Transaction};
use crate::checkpoint::MovedLanes;
use crate::decode::Statement;
use crate::encode::{Batch, Canary, Draft, Format, Lane, RowOptions, notice, proto};
use crate::pack::Sequences;
use crate::pulse::{CanaryRow, Phase};

/// Makes them. Each kind has a lane of its own, in which they are numbered.
#[derive(Debug)]
pub struct Notices {
    format: Format,
    server_uuid: String,
    epoch: u64,
}

/// A row with everything that a message needs to know of it.
pub(super) struct Row<'a> {
    pub(super) unit: u64,
    pub(super) transaction: &'a Transaction,
    pub(super) table: &'a Arc<Table>,
    pub(super) change: &'a Change<'a>,
}

/// How far delivery has got when a canary goes by.
pub(super) struct Delivered {
    pub(super) gtid_set: String,
    pub(super) position: Position,
    pub(super) lanes: MovedLanes,
}

const CANARY_LANE: &str = "canary";
const SCHEMA_LANE: &str = "schema";

impl Notices {
    /// Most lanes that a canary's watermark names: keeps it small beside the row.
    pub(super) const LANES_MAX: usize = 100;

    /// Notices in this format, about the lanes of this epoch.
    pub fn new(format: Format, server_uuid: String, epoch: u64) -> Self {
        Self { format, server_uuid, epoch }
    }

    /// From here on the source is another server.
    pub(super) fn moved_to(&mut self, server_uuid: &str) {
        server_uuid.clone_into(&mut self.server_uuid);
    }

    /// A canary's row, as a message of kind `canary` that also says how far delivery has got.
    pub(super) fn canary(
        &self,
        canary: &CanaryRow,
        row: &Row<'_>,
        delivered: Delivered,
        sequences: &mut Sequences,
    ) -> Option<Draft> {
        let lane = own_lane(CANARY_LANE, sequences);
        let number = sequences.number(lane.id);
        let mut batch = Batch::new(self.format, RowOptions::default(), Arc::clone(row.table));
        batch.push(row.unit, row.transaction, row.change);
        let draft = batch.take(lane, number)?;
        Some(draft.into_canary(Canary {
            number: canary.number,
            phase: match canary.phase {
                Phase::Insert => proto::CanaryPhase::Insert,
                Phase::Update => proto::CanaryPhase::Update,
                Phase::Delete => proto::CanaryPhase::Delete,
            },
            written_at_us: canary.written_at_us,
            watermark: Some(self.watermark(delivered)),
        }))
    }

    fn watermark(&self, delivered: Delivered) -> proto::Watermark {
        let lanes = delivered.lanes.lanes.iter().map(|(lane, next)| proto::LaneMark {
            lane: lane.to_string(),
            sequence_next: *next,
            epoch: self.epoch,
        });
        proto::Watermark {
            verdict: String::new(),
            server_uuid: self.server_uuid.clone(),
            gtid_set: delivered.gtid_set,
            position: Some(notice::position(&delivered.position)),
            lanes: lanes.collect(),
            lanes_truncated: delivered.lanes.truncated,
            certificate: None,
            taken_at_us: chrono::Utc::now().timestamp_micros(),
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

fn own_lane(name: &str, sequences: &mut Sequences) -> Lane {
    let key = Lane::notice_key_of(name);
    let id = sequences.lane(&key);
    Lane { id, key: key.into(), number: 0, count: 1 }
}
