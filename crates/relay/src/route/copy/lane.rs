//! One lane of a copy: what came, in order, and what of it is to be applied. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use binpulse_client::proto;
use binpulse_core::encode::opened::OpenedRows;

use crate::lane::LaneKey;
use crate::lanes::order::{Entry, LaneOrder, Rows};
use crate::lanes::parts::{Part, numbers};
use crate::route::config::{Config, TableFilter};
use crate::route::gaps::{GapState, PartsGap};
use crate::state::LaneRecord;
use crate::target::copy::Unit;

/// A message's rows, or a part.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) message: u64,
    pub(super) rows: Arc<OpenedRows>,
    pub(super) part: Option<Arc<proto::SnapshotPart>>,
    pub(super) bytes: usize,
}

/// What waits to be applied, in order.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) unit: Unit,
    pub(super) message: Option<u64>,
    pub(super) rows: usize,
    pub(super) bytes: usize,
    pub(super) committed_at_us: Option<i64>,
}

/// A lane.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) order: LaneOrder<Content>,
    pub(super) gap: GapState,
    pub(super) parts_gap: PartsGap,
    /// Numbers that do not come, by the first of each range: the last, and the message that says so.
    pub(super) passed: BTreeMap<u64, (u64, Option<u64>)>,
    pub(super) work: VecDeque<Work>,
    /// Second messages: one may be the first, shown again, so it is deleted once the copy has what it brings.
    pub(super) again: Vec<Content>,
    /// The smallest number that is not applied, as the copy says.
    pub(super) next: u64,
    /// Attempt and number of the snapshot part that is not applied, as the copy says.
    part: (u32, u64),
}

impl Work {
    /// What a message brings.
    fn of(unit: Unit, content: &Content) -> Self {
        let last = content.rows.len().checked_sub(1);
        let committed = last.and_then(|last| content.rows.transaction(last));
        Self {
            unit,
            message: Some(content.message),
            rows: content.rows.len().max(1),
            bytes: content.bytes,
            committed_at_us: committed.map(|transaction| transaction.committed_at_us),
        }
    }

    /// What brings no rows: a mark, as the message says, if one did.
    pub(super) fn mark(unit: Unit, message: Option<u64>) -> Self {
        Self { unit, message, rows: 1, bytes: 0, committed_at_us: None }
    }
}

impl Lane {
    /// One that goes on where the copy is.
    pub(super) fn new(record: LaneRecord, config: &Config, now: Duration) -> Self {
        let part = (record.part_attempt, record.part_next);
        let due = (record.part_next > 0).then_some(part);
        let mut order = LaneOrder::new(record.next, due, config.has_snapshots, config.waits, now);
        for (first, last) in record.suppressed {
            order.suppressed(first, last, now);
        }
        Self {
            order,
            gap: GapState::None,
            parts_gap: PartsGap::default(),
            passed: BTreeMap::new(),
            work: VecDeque::new(),
            again: Vec::new(),
            next: record.next,
            part,
        }
    }

    /// Moves what is in order to what is to be applied; returns messages of what is applied.
    pub(super) fn release(
        &mut self,
        key: &LaneKey,
        is_wanted: &TableFilter,
        now: Duration,
    ) -> Vec<u64> {
        let mut finished = Vec::new();
        while let Some(entry) = self.order.take(now) {
            let before = match &entry {
                Entry::Rows { rows, .. } => Some(rows.first),
                Entry::Part(_) | Entry::Nothing(_) | Entry::Late(_) => None,
            };
            self.pass(key, before);
            let work = match entry {
                Entry::Rows { rows: Rows { first, count, content, .. }, .. } => {
                    let (rows, last) = (Arc::clone(&content.rows), first.saturating_add(count - 1));
                    let table = rows.table();
                    let unit = if is_wanted(&table.database, &table.name) {
                        Unit::Rows { lane: key.clone(), rows: Arc::clone(&rows), first, last }
                    } else {
                        Unit::Passed { lane: key.clone(), first, last }
                    };
                    Work::of(unit, &content)
                }
                Entry::Part(Part { content, rows: numbers, .. }) => {
                    let Some(part) = content.part.clone() else { continue };
                    let (lane, rows) = (key.clone(), Arc::clone(&content.rows));
                    let unit = if part.numbers_for.is_empty() {
                        Unit::Part { lane, part, rows }
                    } else {
                        Unit::PassedPart { lane, part, rows: numbers }
                    };
                    Work::of(unit, &content)
                }
                Entry::Nothing(content) => {
                    self.again.push(content);
                    continue;
                }
                Entry::Late(content) => {
                    finished.push(content.message);
                    continue;
                }
            };
            self.work.push_back(work);
        }
        self.pass(key, None);
        finished.extend(self.applied_again());
        finished
    }

    /// How far the copy is.
    pub(super) fn applied(&mut self, record: &LaneRecord) {
        self.next = self.next.max(record.next);
        self.part = self.part.max((record.part_attempt, record.part_next));
    }

    /// Second messages of what the copy has.
    pub(super) fn applied_again(&mut self) -> Vec<u64> {
        let (next, part_next) = (self.next, self.part);
        let is_applied = |content: &mut Content| {
            let rows = content.rows.len().max(1) as u64;
            match &content.part {
                None => content.rows.first().saturating_add(rows - 1) < next,
                Some(part) => {
                    (part.attempt, part.part.saturating_add(numbers(part, rows) - 1)) < part_next
                }
            }
        };
        self.again.extract_if(.., is_applied).map(|content| content.message).collect()
    }

    /// Numbers that do not come are to be applied once everything in front of them is: those below
    /// `before`, or below what is released next.
    fn pass(&mut self, key: &LaneKey, before: Option<u64>) {
        let Some(before) = before.or(self.order.next()) else { return };
        while let Some(entry) = self.passed.first_entry()
            && *entry.key() < before
        {
            let (first, (last, message)) = entry.remove_entry();
            let unit = Unit::Passed { lane: key.clone(), first, last };
            self.work.push_back(Work::mark(unit, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};
    use std::sync::Arc;
    use std::time::Duration;

    use binpulse_client::ledger::{Gap, Waits};
    use binpulse_client::proto;
    use binpulse_core::encode::opened::OpenedRows;

    use super::{Content, Lane, TableFilter};
    use crate::lanes::order::{LaneOrder, Rows};
    use crate::lanes::parts::Part;
    use crate::open::{Opened, tests as open};
    use crate::route::gaps::{GapState, PartsGap};
    use crate::route::lane::lane_of;
    use crate::state::LaneRecord;
    use crate::target::copy::Unit;

    const NOW: Duration = Duration::ZERO;

    /// Rows of a message of the suite, whose first number is above 1.
    fn rows() -> Arc<OpenedRows> {
        let messages = open::cases("messages");
        let change = |case: &serde_json::Value| {
            let open = open::opened_case(&case["messages"][0]).ok()?;
            let Opened::Rows(batch) = open.opened else { return None };
            let rows = OpenedRows::new(batch, |_| None).expect("consistent");
            (rows.first() > 1).then_some(rows)
        };
        Arc::new(messages.iter().find_map(change).expect("the suite has rows"))
    }

    /// A lane whose next row has this number.
    fn lane_at(next: u64) -> Lane {
        Lane {
            order: LaneOrder::new(next, None, false, Waits::default(), NOW),
            gap: GapState::None,
            parts_gap: PartsGap::default(),
            passed: BTreeMap::new(),
            work: VecDeque::new(),
            again: Vec::new(),
            next,
            part: (0, 0),
        }
    }

    /// What is to be applied: kind, first and last number, message.
    fn work_of(lane: &Lane) -> Vec<(&'static str, u64, u64, Option<u64>)> {
        let work = lane.work.iter().map(|work| (&work.unit, work.message));
        work.map(|(unit, message)| match unit {
            Unit::Rows { first, last, .. } => ("rows", *first, *last, message),
            Unit::Passed { first, last, .. } => ("passed", *first, *last, message),
            Unit::Part { .. }
            | Unit::Canary { .. }
            | Unit::PassedPart { .. }
            | Unit::PassedParts { .. }
            | Unit::Suppressed { .. } => ("other", 0, 0, message),
        })
        .collect()
    }

    #[test]
    fn a_second_message_is_deleted_when_the_copy_has_its_rows_and_not_before() {
        let rows = rows();
        let (key, first, count) = (lane_of(&rows), rows.first(), rows.len() as u64);
        let all: TableFilter = Arc::new(|_, _| true);
        let mut lane = lane_at(first - 1);
        for message in [7, 8] {
            let content = Content { message, rows: Arc::clone(&rows), part: None, bytes: 0 };
            lane.order.offer(Rows { first, count, snapshot: rows.snapshot(), content }, NOW);
            assert!(lane.release(&key, &all, NOW).is_empty() && lane.work.is_empty());
        }
        // The row in front of them comes.
        lane.order.absent(Gap { first: first - 1, last: first - 1, is_proven: true }, NOW);
        assert!(lane.release(&key, &all, NOW).is_empty());
        let last = first + count - 1;
        assert_eq!(work_of(&lane), [("rows", first, last, Some(7))]);
        let applied = |next| LaneRecord { next, ..LaneRecord::default() };
        lane.applied(&applied(last));
        assert!(lane.applied_again().is_empty(), "its last row is not applied");
        lane.applied(&applied(last + 1));
        assert_eq!(lane.applied_again(), [8]);
        // One that comes when they are applied brings nothing.
        let content = Content { message: 9, rows: Arc::clone(&rows), part: None, bytes: 0 };
        lane.order.offer(Rows { first, count, snapshot: rows.snapshot(), content }, NOW);
        assert_eq!(lane.release(&key, &all, NOW), [9]);
    }

    #[test]
    fn a_second_message_of_a_part_that_waits_is_not_deleted() {
        let rows = rows();
        let (key, all) = (lane_of(&rows), Arc::new(|_: &str, _: &str| true) as TableFilter);
        let part = Arc::new(proto::SnapshotPart {
            anchor: Some(proto::LaneMark { sequence_next: 9, ..proto::LaneMark::default() }),
            part: 1,
            attempt: 4,
            attempt_part: 1,
            ..proto::SnapshotPart::default()
        });
        let mut lane = lane_at(7);
        let offer = |lane: &mut Lane, message| {
            let rows = Arc::clone(&rows);
            let content = Content { message, rows, part: Some(Arc::clone(&part)), bytes: 0 };
            lane.order.offer_part(Part::of(&part, &Arc::clone(&content.rows), content), NOW);
        };
        for message in [7, 8] {
            offer(&mut lane, message);
            assert!(lane.release(&key, &all, NOW).is_empty(), "rows in front of it are missing");
        }
        lane.order.absent(Gap { first: 7, last: 8, is_proven: true }, NOW);
        assert!(lane.release(&key, &all, NOW).is_empty(), "it is not applied");
        assert_eq!(work_of(&lane), [("other", 0, 0, Some(7))]);
        let part_next = 1 + rows.len() as u64;
        let applied = |part_attempt, part_next| LaneRecord {
            next: 9,
            part_attempt,
            part_next,
            ..LaneRecord::default()
        };
        lane.applied(&applied(4, part_next - 1));
        assert!(lane.applied_again().is_empty(), "its last row is not applied");
        lane.applied(&applied(4, part_next));
        assert_eq!(lane.applied_again(), [8]);
        // Read again under a higher attempt, it brings nothing either.
        lane.applied(&applied(5, 1));
        offer(&mut lane, 9);
        assert_eq!(lane.release(&key, &all, NOW), [9]);
    }

    #[test]
    fn numbers_that_do_not_come_are_applied_behind_the_rows_in_front_of_them() {
        let rows = rows();
        let (key, first, count) = (lane_of(&rows), rows.first(), rows.len() as u64);
        let next = first + count;
        let mut lane = lane_at(first);
        lane.order.absent(Gap { first: next, last: next + 1, is_proven: true }, NOW);
        lane.passed.insert(next, (next + 1, Some(8)));
        let all: TableFilter = Arc::new(|_, _| true);
        assert!(lane.release(&key, &all, NOW).is_empty() && lane.work.is_empty());

        let (snapshot, bytes) = (rows.snapshot(), 0);
        let content = Content { message: 7, rows, part: None, bytes };
        lane.order.offer(Rows { first, count, snapshot, content }, NOW);
        assert!(lane.release(&key, &all, NOW).is_empty());
        let expected = [("rows", first, next - 1, Some(7)), ("passed", next, next + 1, Some(8))];
        assert_eq!(work_of(&lane), expected);
    }
}
