//! Messages for tests of this part.

use std::sync::Arc;

use super::queue::Pending;
use crate::encode::{Kind, LaneId, Message};
use crate::sink::intake;

/// A message of `bytes` in `lane`.
pub(crate) fn message(id: u64, lane: u32, bytes: usize) -> Message {
    Message {
        id,
        lane: LaneId(lane),
        lane_key: Arc::from(format!("shop.t{lane}#0")),
        kind: Kind::Change,
        body: "x".repeat(bytes),
        attributes: Vec::new(),
        group_id: Some(format!("lane-{lane}")),
        deduplication_id: Some(format!("{lane}-{id}")),
        destination: Arc::from("arn:aws:sns:eu-west-1:000000000000:changes.fifo"),
        rows: 1,
        sequence_first: id,
        uncompressed_bytes: 1,
        ack_group: id,
        committed_at_us: 0,
        omitted_cells: 0,
    }
}

/// The same, as it waits in a queue.
pub(super) fn pending(number: u64, lane: u32, bytes: usize) -> Pending {
    let (feed, mut intake) = intake(1 << 20);
    assert!(feed.try_send(message(number, lane, bytes)).is_ok(), "there is room");
    Pending::new(intake.try_recv().expect("it was just sent"), number)
}
