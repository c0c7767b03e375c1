//! Messages of one topic that wait to be sent, and the order in which they may be. Pure: time
//! comes in, batches come out.
//!
//! A message is in exactly one place: *ready*, *waiting* for its next attempt, or *taken*, which
//! lasts until [`Queue::settled`] or [`Queue::put_back`]. With FIFO that holds for a lane's head;
//! what is behind it has to stay behind it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use super::batch::{BatchCapacity, ENTRIES_MAX};
use crate::encode::LaneId;
use crate::sink::intake::Ticket;

/// A message on its way, and what has happened to it.
#[derive(Debug)]
pub(super) struct Pending {
    /// The message and its room in the intake.
    pub(super) ticket: Ticket,
    /// Number in order of arrival, over all topics.
    pub(super) number: u64,
    /// Size as SNS counts it, bytes.
    pub(super) bytes: usize,
    /// Failed attempts so far.
    pub(super) attempts: u32,
    /// Most entries of a call that it may be part of; shrinks while a fault is being located.
    pub(super) entries_max: usize,
}

impl Pending {
    pub(super) fn new(ticket: Ticket, number: u64) -> Self {
        let bytes = ticket.message.billed_bytes();
        Self { ticket, number, bytes, attempts: 0, entries_max: ENTRIES_MAX }
    }
}

/// What waits for one topic.
#[derive(Debug)]
pub(super) enum Queue {
    /// Order is best effort, any number in flight.
    Standard(Standard),
    /// Strict order per lane, one in flight per lane.
    Fifo(Fifo),
}

impl Queue {
    pub(super) fn new(fifo: bool) -> Self {
        if fifo { Self::Fifo(Fifo::default()) } else { Self::Standard(Standard::default()) }
    }

    /// Queues a new message behind all others.
    pub(super) fn push(&mut self, pending: Pending) {
        match self {
            Self::Standard(queue) => queue.ready.push_back(pending),
            Self::Fifo(queue) => queue.push(pending),
        }
    }

    /// The next call's messages, of `limit_bytes` in sum at most; empty when none is ready.
    pub(super) fn take(&mut self, now: Instant, limit_bytes: usize) -> Vec<Pending> {
        let capacity = BatchCapacity::new(limit_bytes);
        match self {
            Self::Standard(queue) => queue.take(now, capacity),
            Self::Fifo(queue) => queue.take(now, capacity),
        }
    }

    /// Takes back a message that has to be sent again, not before `at`.
    pub(super) fn put_back(&mut self, pending: Pending, at: Instant) {
        match self {
            Self::Standard(queue) => {
                queue.waiting.insert((at, pending.number), pending);
            }
            Self::Fifo(queue) => queue.put_back(pending, at),
        }
    }

    /// A message that was taken from this lane is done with.
    pub(super) fn settled(&mut self, lane: LaneId) {
        match self {
            Self::Standard(_) => {}
            Self::Fifo(queue) => queue.settled(lane),
        }
    }

    /// When the next waiting message is due; `None` when none waits.
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::Standard(queue) => queue.waiting.keys().next().map(|(at, _)| *at),
            Self::Fifo(queue) => queue.waiting.first().map(|(at, _)| *at),
        }
    }

    /// Whether nothing is ready and nothing waits. Messages may be out, and others behind them.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::Standard(queue) => queue.ready.is_empty() && queue.waiting.is_empty(),
            Self::Fifo(queue) => queue.ready.is_empty() && queue.waiting.is_empty(),
        }
    }

    /// Whether a message could be taken at `now`.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        let ready = match self {
            Self::Standard(queue) => !queue.ready.is_empty(),
            Self::Fifo(queue) => !queue.ready.is_empty(),
        };
        ready || self.due().is_some_and(|at| at <= now)
    }
}

/// See [`Queue::Standard`].
#[derive(Debug, Default)]
pub(super) struct Standard {
    ready: VecDeque<Pending>,
    waiting: BTreeMap<(Instant, u64), Pending>,
}

impl Standard {
    fn take(&mut self, now: Instant, mut capacity: BatchCapacity) -> Vec<Pending> {
        self.wake(now);
        let mut batch = Vec::new();
        while let Some(pending) = self.ready.pop_front_if(|next| {
            !capacity.is_full() && capacity.admit(next.bytes, next.entries_max)
        }) {
            batch.push(pending);
        }
        batch
    }

    /// What is due goes to the front, the oldest message first.
    fn wake(&mut self, now: Instant) {
        let mut due = Vec::new();
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now {
                break;
            }
            due.push(entry.remove());
        }
        due.sort_unstable_by_key(|pending| std::cmp::Reverse(pending.number));
        for pending in due {
            self.ready.push_front(pending);
        }
    }
}

/// See [`Queue::Fifo`].
#[derive(Debug, Default)]
pub(super) struct Fifo {
    lanes: HashMap<LaneId, Lane>,
    /// Lanes whose head may go now.
    ready: VecDeque<LaneId>,
    /// Lanes whose head waits for its next attempt.
    waiting: BTreeSet<(Instant, LaneId)>,
}

/// A lane with messages, or with one taken. It is in `ready`, in `waiting`, or taken.
#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Pending>,
}

impl Fifo {
    fn push(&mut self, pending: Pending) {
        let id = pending.ticket.message.lane;
        let lane = self.lanes.entry(id).or_insert_with(|| {
            self.ready.push_back(id);
            Lane::default()
        });
        lane.queue.push_back(pending);
    }

    fn take(&mut self, now: Instant, mut capacity: BatchCapacity) -> Vec<Pending> {
        self.wake(now);
        let mut batch = Vec::new();
        while !capacity.is_full() {
            let Some(head) = self.ready.front().and_then(|id| self.lanes.get_mut(id)) else {
                break;
            };
            let fits = head.queue.pop_front_if(|next| capacity.admit(next.bytes, next.entries_max));
            let Some(pending) = fits else { break };
            self.ready.pop_front();
            batch.push(pending);
        }
        batch
    }

    fn put_back(&mut self, pending: Pending, at: Instant) {
        let id = pending.ticket.message.lane;
        self.lanes.entry(id).or_default().queue.push_front(pending);
        self.waiting.insert((at, id));
    }

    fn settled(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(&id) else { return };
        if lane.queue.is_empty() {
            self.lanes.remove(&id);
        } else {
            self.ready.push_back(id);
        }
    }

    fn wake(&mut self, now: Instant) {
        while self.waiting.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, id)) = self.waiting.pop_first() {
                self.ready.push_back(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::sink::sns::fixture::pending;

    const LIMIT: usize = 1000;

    fn ids(batch: &[Pending]) -> Vec<u64> {
        batch.iter().map(|pending| pending.ticket.message.id).collect()
    }

    #[test]
    fn a_standard_queue_fills_calls_in_order() {
        let now = Instant::now();
        let mut queue = Queue::new(false);
        for number in 0..25 {
            queue.push(pending(number, 1, 10));
        }
        assert_eq!(ids(&queue.take(now, LIMIT)), (0..10).collect::<Vec<_>>());
        assert_eq!(ids(&queue.take(now, LIMIT)), (10..20).collect::<Vec<_>>());
        assert_eq!(ids(&queue.take(now, LIMIT)), (20..25).collect::<Vec<_>>());
        assert!(queue.take(now, LIMIT).is_empty());
    }

    #[test]
    fn what_was_put_back_comes_again_at_its_time_and_before_newer_ones() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut queue = Queue::new(false);
        for number in 0..4 {
            queue.push(pending(number, 1, 10));
        }
        for pending in queue.take(now, 22) {
            queue.put_back(pending, later);
        }
        assert_eq!(queue.due(), Some(later));
        assert_eq!(ids(&queue.take(now, 10)), [2]);
        assert!(queue.is_ready(now) && !queue.is_idle());
        assert_eq!(ids(&queue.take(now, 10)), [3]);
        assert!(!queue.is_ready(now) && queue.is_ready(later) && !queue.is_idle());
        assert_eq!(ids(&queue.take(later, LIMIT)), [0, 1]);
        assert_eq!(queue.due(), None);
        assert!(queue.is_idle() && !queue.is_ready(later));
    }

    #[test]
    fn a_lane_has_one_message_in_flight_and_its_head_goes_first() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut queue = Queue::new(true);
        for (number, lane) in [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3)] {
            queue.push(pending(number, lane, 10));
        }
        let mut batch = queue.take(now, LIMIT);
        assert_eq!(ids(&batch), [0, 2, 4]);
        assert!(queue.take(now, LIMIT).is_empty(), "every lane has one in flight");

        queue.settled(LaneId(3));
        queue.settled(LaneId(2));
        queue.put_back(batch.remove(0), later);
        assert_eq!(ids(&queue.take(now, LIMIT)), [3], "lane 1 waits for its head");
        assert!(!queue.is_ready(now) && !queue.is_idle());
        assert_eq!(queue.due(), Some(later));
        assert_eq!(ids(&queue.take(later, LIMIT)), [0]);
        assert!(queue.is_idle(), "what is left stands behind what is taken");
        queue.settled(LaneId(1));
        assert!(queue.is_ready(now) && !queue.is_idle());
        assert_eq!(ids(&queue.take(later, LIMIT)), [1]);
    }

    #[test]
    fn lanes_take_turns_and_those_that_waited_come_by_when_they_were_due() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut queue = Queue::new(true);
        for number in 0..4 {
            queue.push(pending(number, u32::try_from(number).expect("small"), 10));
        }
        // Put back in the order of 2, 1, 0 by their times, while 3 is ready all the time.
        for (pending, second) in queue.take(start, 30).into_iter().zip([3, 2, 1]) {
            queue.put_back(pending, at(second));
        }
        assert_eq!(queue.due(), Some(at(1)));
        assert_eq!(ids(&queue.take(at(2), LIMIT)), [3, 2, 1]);
        assert_eq!(ids(&queue.take(at(3), LIMIT)), [0]);
    }

    #[test]
    fn an_empty_lane_is_forgotten() {
        let now = Instant::now();
        let mut queue = Fifo::default();
        queue.push(pending(0, 1, 10));
        assert_eq!(queue.take(now, BatchCapacity::new(LIMIT)).len(), 1);
        queue.settled(LaneId(1));
        assert!(queue.lanes.is_empty());
        queue.push(pending(1, 1, 10));
        assert_eq!(queue.take(now, BatchCapacity::new(LIMIT)).len(), 1);
    }

    proptest! {
        /// Whatever fails, each lane is settled in order, nothing is lost, no call breaks a rule.
        #[test]
        fn a_fifo_queue_settles_every_lane_in_order(
            messages in prop::collection::vec((0_u32..6, 1_usize..600), 1..80),
            fates in prop::collection::vec((any::<bool>(), any::<bool>(), 0_u64..50), 400),
        ) {
            let start = Instant::now();
            let mut queue = Queue::new(true);
            for (number, (lane, bytes)) in messages.iter().enumerate() {
                queue.push(pending(number as u64, *lane, *bytes));
            }
            let mut flying: Vec<Pending> = Vec::new();
            let mut settled: Vec<(LaneId, u64)> = Vec::new();
            let mut step = 0;
            while settled.len() < messages.len() {
                let (take, succeed, pause) = fates[step % fates.len()];
                let succeed = succeed || step > 5_000;
                step += 1;
                prop_assert!(step < 100_000, "it makes progress");
                let now = start + Duration::from_millis(step as u64);
                if take && step % 3 > 0 || flying.is_empty() {
                    let batch = queue.take(now, LIMIT);
                    let sum: usize = batch.iter().map(|pending| pending.bytes).sum();
                    prop_assert!(batch.len() <= 10 && (sum <= LIMIT || batch.len() == 1));
                    flying.extend(batch);
                    let lanes: BTreeSet<_> =
                        flying.iter().map(|pending| pending.ticket.message.lane).collect();
                    prop_assert_eq!(lanes.len(), flying.len(), "one in flight per lane");
                    continue;
                }
                let pending = flying.remove(step % flying.len());
                if succeed {
                    let lane = pending.ticket.message.lane;
                    settled.push((lane, pending.number));
                    queue.settled(lane);
                } else {
                    queue.put_back(pending, now + Duration::from_millis(pause));
                }
            }
            let mut sorted = settled.clone();
            sorted.sort_by_key(|(lane, _)| *lane);
            prop_assert!(sorted.is_sorted(), "a stable sort by lane leaves numbers rising");
            prop_assert!(queue.take(start + Duration::from_hours(1), LIMIT).is_empty());
        }
    }
}
