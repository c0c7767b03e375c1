//! Messages of our own on the stream: canaries and statements.

use std::sync::Arc;

use crate::change::{Change, GtidSet, Position, Table, Transaction};
use crate::checkpoint::MovedLanes;
use crate::control::Control;
use crate::decode::Statement;
use crate::encode::{
    Batch, Canary, EncodedBatch, Format, Lane, RowOptions, control_message, proto,
};
use crate::freshness::verdict::Certificate;
use crate::freshness::{CanaryStep, Nonces, Phase, Watermark, WatermarkProvider};
use crate::pack::{HeldLane, LanePlace, Sequences};
use crate::platform;
use crate::snapshot::{Progress, TableProgress};

/// Makes them. Each kind has a lane of its own, in which they are numbered.
#[derive(Debug)]
pub struct ControlMessages {
    format: Format,
    server_uuid: String,
    epoch: u64,
    watermark: WatermarkProvider,
}

/// A row with everything that a message needs to know of it.
pub(super) struct Row<'a> {
    pub(super) ack_group: u64,
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

/// Longest GTID set that a certificate carries: a canary must fit into any topic.
const GTID_SET_BYTES_MAX: usize = 4 * 1024;

const CANARY_LANE: &str = "canary";
const SCHEMA_LANE: &str = "schema";
const SNAPSHOT_LANE: &str = "snapshot";

/// Why rows do not come that no operator holds back.
const BY_FILTERS: &str = "the filters exclude the table";

impl ControlMessages {
    /// Most lanes that a canary's watermark names: keeps it small beside the row.
    pub(super) const LANES_MAX: usize = 100;

    /// Notices in this format, about the lanes of this epoch, with this `watermark` in canaries.
    pub fn new(
        format: Format,
        server_uuid: String,
        epoch: u64,
        watermark: WatermarkProvider,
    ) -> Self {
        Self { format, server_uuid, epoch, watermark }
    }

    /// From here on the source is another server.
    pub(super) fn moved_to(&mut self, server_uuid: &str) {
        server_uuid.clone_into(&mut self.server_uuid);
    }

    /// The row of a canary's step, as a message of kind `canary` that also says how far delivery has
    /// got. Each path has a lane of its own.
    pub(super) fn canary(
        &self,
        step: &CanaryStep,
        written_at_us: i64,
        row: &Row<'_>,
        delivered: Delivered,
        sequences: &mut Sequences,
        nonces: Option<&Nonces>,
    ) -> Option<EncodedBatch> {
        let lane = match &step.path {
            None => own_lane(CANARY_LANE, sequences),
            Some(path) => own_lane(&format!("{CANARY_LANE}-{path}"), sequences),
        };
        let number = sequences.number(lane.id);
        let mut batch = Batch::new(self.format, RowOptions::default(), Arc::clone(row.table));
        batch.push(row.ack_group, row.transaction, row.change);
        let encoded = batch.take(lane, number)?;
        Some(encoded.into_canary(Canary {
            path: step.path.clone(),
            number: step.number,
            phase: match step.phase {
                Phase::Insert => proto::CanaryPhase::Insert,
                Phase::Update => proto::CanaryPhase::Update,
                Phase::Delete => proto::CanaryPhase::Delete,
            },
            written_at_us,
            watermark: Some(self.watermark(delivered)),
            nonce: nonces.map(|nonces| nonces.of(step)).unwrap_or_default(),
        }))
    }

    fn watermark(&self, delivered: Delivered) -> proto::Watermark {
        let lanes = delivered.lanes.lanes.iter().map(|(lane, next)| proto::LaneMark {
            lane: lane.to_string(),
            sequence_next: *next,
            epoch: self.epoch,
            ..proto::LaneMark::default()
        });
        let Watermark { verdict, certificate } = self.watermark.now();
        proto::Watermark {
            verdict: verdict.map(|state| state.name().to_owned()).unwrap_or_default(),
            server_uuid: self.server_uuid.clone(),
            gtid_set: delivered.gtid_set,
            position: Some(control_message::position(&delivered.position)),
            lanes: lanes.collect(),
            lanes_truncated: delivered.lanes.truncated,
            certificate: certificate.and_then(|(proof, at_us)| proven(&proof, at_us)),
            taken_at_us: platform::wall_us(),
        }
    }

    /// A mark about a table of a snapshot. Its place in the table's lanes is behind all rows so far.
    pub(super) fn snapshot_mark(
        &self,
        snapshot: &Progress,
        table: &TableProgress,
        phase: proto::SnapshotPhase,
        ack_group: u64,
        places: Vec<(LanePlace, String)>,
        sequences: &mut Sequences,
    ) -> EncodedBatch {
        let places = places.into_iter().map(|(place, lane)| proto::LaneMark {
            lane,
            sequence_next: place.next,
            epoch: self.epoch,
            snapshot_next: place.part_next,
            snapshot_attempt: place.part_attempt,
        });
        let mark = proto::SnapshotMark {
            source: None,
            snapshot: snapshot.head.id.to_string(),
            database: table.database.to_string(),
            table: table.table.to_string(),
            phase: phase.into(),
            rows: table.rows,
            chunks: table.chunks,
            lanes: places.collect(),
            reason: table.reason.clone().unwrap_or_default(),
        };
        let lane = own_lane(SNAPSHOT_LANE, sequences);
        let number = sequences.number(lane.id);
        let audience = snapshot.head.audience.clone();
        control_message::snapshot_mark(self.format, lane, ack_group, number, mark, audience)
    }

    /// Which rows of a lane are not sent, and why.
    pub(super) fn suppressed(
        &self,
        held: &HeldLane,
        by: Option<&Control>,
        ack_group: u64,
    ) -> EncodedBatch {
        let range = &held.range;
        let suppressed = proto::Suppressed {
            source: None,
            lane: held.lane.key.to_string(),
            database: range.database.to_string(),
            table: range.table.to_string(),
            sequence_first: range.first,
            count: held.rows(),
            reason: by.map_or(BY_FILTERS, |control| &control.reason).to_owned(),
            by: by.map_or("binpulse", |control| &control.by).to_owned(),
            gtid_first: range.gtid.clone(),
            since_us: range.since_us,
        };
        control_message::suppressed(self.format, held.lane.clone(), ack_group, suppressed)
    }

    /// A statement that was replicated as text.
    pub(super) fn statement(
        &self,
        statement: &Statement<'_>,
        ack_group: u64,
        sequences: &mut Sequences,
    ) -> EncodedBatch {
        let lane = own_lane(SCHEMA_LANE, sequences);
        let number = sequences.number(lane.id);
        control_message::schema_change(
            self.format,
            lane,
            ack_group,
            number,
            statement.database,
            &statement.text(),
            statement.transaction,
        )
    }
}

/// The certificate as consumers get it; `None` if it says that something is missing.
fn proven(certificate: &Certificate, proven_at_us: i64) -> Option<proto::QuietCertificate> {
    let Certificate { from, to, counts, executed: [first, last], .. } = certificate;
    let text = |set: &Option<GtidSet>| {
        let text = set.as_ref().map(ToString::to_string).unwrap_or_default();
        if text.len() > GTID_SET_BYTES_MAX { String::new() } else { text }
    };
    certificate.unaccounted.is_empty().then(|| proto::QuietCertificate {
        heartbeat_first: from.number,
        heartbeat_last: to.number,
        gtid_set_first: text(first),
        gtid_set_last: text(last),
        user_transactions: counts.user,
        filtered_transactions: counts.filtered,
        heartbeat_transactions: counts.heartbeat,
        canary_transactions: counts.canary,
        proven_at_us,
    })
}

fn own_lane(name: &str, sequences: &mut Sequences) -> Lane {
    let key = Lane::notice_key_of(name);
    let id = sequences.lane(&key);
    Lane { id, key: key.into(), number: 0, count: 1 }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::change::{Gtid, Tag, TransactionId, Uuid};
    use crate::freshness::verdict::State;
    use crate::freshness::verdict::certificate::{Counts, Gap, Mark, Unaccounted};

    fn certificate(unaccounted: Unaccounted, executed: GtidSet) -> Certificate {
        let mark = |number| Mark {
            number,
            id: TransactionId::Anonymous,
            end: Position::new("binlog.000001", number),
        };
        Certificate {
            from: mark(7),
            to: mark(8),
            counts: Counts { user: 1, filtered: 2, heartbeat: 3, canary: 4 },
            unaccounted,
            evaluated_at: Instant::now(),
            executed: [None, Some(executed)],
        }
    }

    fn watermark(told: Watermark) -> proto::Watermark {
        let provider = WatermarkProvider::new(move || told.clone());
        let control_messages =
            ControlMessages::new(Format::Protobuf, "server".to_owned(), 1, provider);
        control_messages.watermark(Delivered {
            gtid_set: String::new(),
            position: Position::default(),
            lanes: MovedLanes::default(),
        })
    }

    #[test]
    fn a_watermark_says_what_is_judged_and_what_is_proven() {
        let small: GtidSet = [gtid(1)].into_iter().collect();
        let proof = certificate(Unaccounted::default(), small.clone());
        let told = Watermark { verdict: Some(State::Live), certificate: Some((proof, 99)) };
        let found = watermark(told);
        assert_eq!(found.verdict, "live");
        let expected = proto::QuietCertificate {
            heartbeat_first: 7,
            heartbeat_last: 8,
            gtid_set_first: String::new(),
            gtid_set_last: small.to_string(),
            user_transactions: 1,
            filtered_transactions: 2,
            heartbeat_transactions: 3,
            canary_transactions: 4,
            proven_at_us: 99,
        };
        assert_eq!(found.certificate, Some(expected));

        let nobody = watermark(Watermark::default());
        assert_eq!((nobody.verdict.as_str(), nobody.certificate), ("", None));
    }

    #[test]
    fn a_certificate_that_misses_something_proves_nothing_and_large_sets_stay_at_home() {
        let hole = Gap { expected: Position::new("b", 4), found: Position::new("b", 9) };
        let gaps = Unaccounted { gaps: vec![hole], ..Unaccounted::default() };
        let large: GtidSet = (0..2_000).map(|index| gtid(index * 2 + 1)).collect();
        assert_eq!(proven(&certificate(gaps, large.clone()), 1), None);
        let whole = proven(&certificate(Unaccounted::default(), large), 1).expect("complete");
        assert_eq!(whole.gtid_set_last, "");
    }

    fn gtid(sequence: u64) -> Gtid {
        Gtid { source: Uuid([1; 16]), tag: Tag::default(), sequence }
    }
}
