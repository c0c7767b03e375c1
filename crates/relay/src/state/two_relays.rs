//! Two relays on one standard queue, in every order of events that a scheduler of threads comes up with.
//!
//! The leases, the order of rows and the requests are production code; the store is the record of one lane
//! behind a lock, as the servers' transactions make it, and the steps of a turn are those of
//! [`route`](crate::route): save, then send, save, then delete. Leases end at any moment, a process
//! ends between any two steps, and a save fails without an answer, done or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use binpulse_client::ledger::Waits;
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::Mutex;
use shuttle::{Config, Runner, thread};

use super::LaneRecord;
use super::lease::Leases;
use crate::lane::LaneKey;
use crate::lanes::Order;
use crate::lanes::order::{Entry, LaneOrder, Rows};
use crate::lanes::requests::{Limits, Place, Requests, Row, Run};

/// Rows of the lane, each in a message of its own, and keys that they have in turn.
const ROWS: u64 = 5;
const KEYS: u64 = 2;
const TTL: Duration = Duration::from_secs(10);
const TURNS: u32 = 6;
const SCHEDULES: usize = 1_500;
const ZERO: Duration = Duration::ZERO;

struct Kept {
    leases: Leases,
    now: Instant,
    record: LaneRecord,
    fence_last: u64,
}

#[derive(Default)]
struct Received {
    /// Rows of each request, by its first and last number.
    requests: BTreeMap<(u64, u64), Vec<u64>>,
    rows: BTreeSet<u64>,
}

struct World {
    lane: LaneKey,
    kept: Mutex<Kept>,
    /// Messages that are not deleted. Any of them may be received at any time.
    queue: Mutex<BTreeSet<u64>>,
    received: Mutex<Received>,
}

/// What became of a save.
enum Saved {
    Done,
    Fenced,
    NoAnswer,
}

impl World {
    fn new() -> Self {
        let (leases, now, record) = (Leases::new(0), Instant::now(), LaneRecord::default());
        Self {
            lane: LaneKey { stream: "s".into(), epoch: 1, lane: "a.b#0".into() },
            kept: Mutex::new(Kept { leases, now, record, fence_last: 0 }),
            queue: Mutex::new((1..=ROWS).collect()),
            received: Mutex::default(),
        }
    }

    fn acquire(&self, owner: &str) -> Option<(u64, LaneRecord)> {
        let mut kept = self.kept.lock().expect("locked");
        let now = kept.now;
        let fence = kept.leases.acquire(&self.lane, owner, now, TTL).ok()?;
        assert!(fence > kept.fence_last, "a fence came again");
        kept.fence_last = fence;
        Some((fence, kept.record.clone()))
    }

    fn renew(&self, fence: u64) -> bool {
        let mut kept = self.kept.lock().expect("locked");
        let now = kept.now;
        kept.leases.renew(&self.lane, fence, now, TTL)
    }

    fn save(&self, fence: u64, record: LaneRecord) -> Saved {
        if thread_rng().gen_ratio(1, 16) {
            return Saved::NoAnswer;
        }
        {
            let mut kept = self.kept.lock().expect("locked");
            if !kept.leases.is_current(&self.lane, fence) {
                return Saved::Fenced;
            }
            assert!(record.next >= kept.record.next, "what was dealt with is not any more");
            kept.record = record;
        }
        if thread_rng().gen_ratio(1, 16) { Saved::NoAnswer } else { Saved::Done }
    }

    fn time_passes(&self) {
        self.kept.lock().expect("locked").now += TTL;
    }

    /// A request arrives. It may be an old one of a process that was paused.
    fn receive(&self, run: &Run<u64>) {
        let Place::Change(first) = run.first else { panic!("no snapshot here") };
        let mut received = self.received.lock().expect("locked");
        let overlaps = |(other_first, other_last): &(u64, u64)| {
            (*other_first, *other_last) != (first, run.last)
                && *other_first <= run.last
                && first <= *other_last
        };
        let other = received.requests.keys().find(|other| overlaps(other));
        assert_eq!(other, None, "rows {first} to {} came under another id", run.last);
        if let Some(rows) = received.requests.get(&(first, run.last)) {
            assert_eq!(rows, &run.rows, "other rows under the same id");
            return;
        }
        for row in &run.rows {
            let before = (1..*row).filter(|other| other % KEYS == row % KEYS);
            let late: Vec<_> = before
                .filter(|other| !received.rows.contains(other) && !run.rows.contains(other))
                .collect();
            assert!(late.is_empty(), "row {row} came before {late:?} of its key");
        }
        received.rows.extend(&run.rows);
        received.requests.insert((first, run.last), run.rows.clone());
    }

    fn delete(&self, message: u64) {
        let is_received = self.received.lock().expect("locked").rows.contains(&message);
        assert!(is_received, "message {message} is deleted, and its row was not delivered");
        self.queue.lock().expect("locked").remove(&message);
    }

    fn is_done(&self) -> bool {
        self.queue.lock().expect("locked").is_empty()
    }
}

/// A lane that a relay holds.
struct Held {
    fence: u64,
    order: LaneOrder<u64>,
    requests: Requests<u64>,
    messages: BTreeSet<u64>,
    unsaved: Vec<Run<u64>>,
}

impl Held {
    fn new(fence: u64, record: &LaneRecord) -> Self {
        let mut order = LaneOrder::new(record.next, None, false, Waits::default(), ZERO);
        for (first, last) in &record.done {
            let gap = binpulse_client::ledger::Gap { first: *first, last: *last, is_proven: true };
            order.absent(gap, ZERO);
        }
        let limits = Limits { order: Order::Key, rows_max: 2, bytes_max: 1_000 };
        let requests = Requests::new(record, limits);
        Self { fence, order, requests, messages: BTreeSet::new(), unsaved: Vec::new() }
    }

    /// Messages become requests.
    fn take(&mut self, messages: BTreeSet<u64>) {
        for message in messages {
            let (first, content) = (message, message);
            self.order.offer(Rows { first, count: 1, snapshot: (0, 0), content }, ZERO);
        }
        while let Some(entry) = self.order.take(ZERO) {
            let message = match entry {
                Entry::Nothing(message) => message,
                Entry::Rows { rows, .. } => {
                    let key = rows.first % KEYS;
                    let (place, content) = (Place::Change(rows.first), Some(rows.first));
                    self.requests.release(Row { place, keys: [key, key], bytes: 1, content });
                    rows.content
                }
                Entry::Part(_) | Entry::Late(_) => panic!("no snapshot here"),
            };
            self.messages.insert(message);
        }
        self.unsaved.extend(std::iter::from_fn(|| self.requests.take()));
    }

    /// Saves what has changed; `None`: another relay holds the lane. `false`: no answer.
    fn save(&mut self, world: &World) -> Option<bool> {
        let Some(record) = self.requests.changed() else { return Some(true) };
        match world.save(self.fence, record) {
            Saved::Done => Some(true),
            Saved::Fenced => None,
            Saved::NoAnswer => {
                self.requests.save_again();
                Some(false)
            }
        }
    }

    /// One turn; `None`: the lane is lost, or the process ended.
    fn turn(&mut self, world: &World) -> Option<()> {
        let messages = world.queue.lock().expect("locked").clone();
        self.take(messages);
        if self.save(world)? {
            for run in std::mem::take(&mut self.unsaved) {
                world.receive(&run);
                if thread_rng().gen_ratio(1, 8) {
                    return None;
                }
                self.requests.delivered(run.number);
            }
        }
        if self.save(world)? {
            let is_done = |message: &u64| self.requests.is_done(*message, *message);
            for message in self.messages.extract_if(.., is_done) {
                world.delete(message);
            }
        }
        world.renew(self.fence).then_some(())
    }
}

fn relay(world: &World, name: &str, turns: u32) {
    let mut held: Option<Held> = None;
    for turn in 0..turns {
        // Each process has a name of its own.
        let owner = format!("{name}-{turn}");
        let lane = match held.take() {
            Some(lane) => Some(lane),
            None => world.acquire(&owner).map(|(fence, record)| Held::new(fence, &record)),
        };
        let Some(mut lane) = lane else {
            thread::yield_now();
            continue;
        };
        if lane.turn(world).is_some() {
            held = Some(lane);
        }
    }
}

fn two_relays() {
    let world = Arc::new(World::new());
    let mut threads: Vec<_> = ["one", "other"]
        .map(|name| {
            let world = Arc::clone(&world);
            thread::spawn(move || relay(&world, name, TURNS))
        })
        .into();
    let clock = Arc::clone(&world);
    threads.push(thread::spawn(move || {
        for _ in 0..4 {
            clock.time_passes();
            thread::yield_now();
        }
    }));
    for thread in threads {
        thread.join().expect("a thread");
    }
    // Whatever they left, the next process brings it to its end.
    for attempt in 0.. {
        assert!(attempt < 200, "it never ends: {:?}", world.kept.lock().expect("locked").record);
        if world.is_done() {
            break;
        }
        world.time_passes();
        relay(&world, &format!("last-{attempt}"), 2);
    }
    let received = world.received.lock().expect("locked");
    assert_eq!(received.rows, (1..=ROWS).collect());
}

fn check(scheduler: impl Scheduler + 'static) {
    let run = Runner::new(scheduler, Config::new()).run(two_relays);
    assert!(run > 0);
}

#[test]
fn two_relays_send_each_row_under_one_id_in_any_order_of_events() {
    check(RandomScheduler::new_from_seed(1, SCHEDULES));
}

#[test]
fn two_relays_send_each_row_under_one_id_when_one_is_paused_at_a_bad_moment() {
    check(PctScheduler::new_from_seed(1, 3, SCHEDULES));
}
