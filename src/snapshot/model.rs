//! The protocol of chunks against a model of a server: whatever the order of flushes, syncs, commits,
//! deliveries and reads, a copy made of rows and chunks equals the table.
//!
//! The server is MySQL's group commit without its group: a transaction is *flushed* to the log, then
//! *synced*, from where on it is sent to replicas, and becomes *visible* when the engine commits it,
//! which may be much later, and in another order. A row is locked from the statement to the commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::window::{Target, Window, Windows};
use crate::change::{Op, Position, Table};
use crate::encode::Format;
use crate::encode::testing::{Owned, OwnedChange, int, table};

/// Keys of the table.
const KEYS: i64 = 6;

type Rows = BTreeMap<i64, i64>;

/// What a transaction does to its row: its new value, or that it goes.
#[derive(Debug, Clone, Copy)]
struct Write {
    key: i64,
    before: Option<i64>,
    after: Option<i64>,
}

#[derive(Debug, Default)]
struct Server {
    /// What a view shows.
    visible: Rows,
    log: Vec<Write>,
    /// Transactions of the log that replicas get.
    synced: usize,
    /// Transactions of the log that are visible.
    committed: BTreeSet<usize>,
    values: i64,
    /// Nobody can write: `LOCK TABLES ... READ`.
    is_locked_whole: bool,
}

impl Server {
    fn is_locked(&self, key: i64) -> bool {
        (0..self.log.len()).any(|at| self.log[at].key == key && !self.committed.contains(&at))
    }

    /// A statement and its flush.
    fn write(&mut self, key: i64, deletes: bool) {
        let before = self.visible.get(&key).copied();
        if self.is_locked_whole || self.is_locked(key) || (deletes && before.is_none()) {
            return;
        }
        self.values += 1;
        let after = (!deletes).then_some(self.values);
        self.log.push(Write { key, before, after });
    }

    fn sync(&mut self) {
        self.synced = self.log.len().min(self.synced + 1);
    }

    /// The engine commits one of those that wait.
    fn commit(&mut self, which: usize) {
        let waiting: Vec<_> = (0..self.synced).filter(|at| !self.committed.contains(at)).collect();
        let Some(at) = waiting.get(which % waiting.len().max(1)).copied() else { return };
        let Write { key, after, .. } = self.log[at];
        match after {
            Some(value) => self.visible.insert(key, value),
            None => self.visible.remove(&key),
        };
        self.committed.insert(at);
    }

    /// Such a lock waits for all that have written.
    fn lock(&mut self) -> bool {
        self.is_locked_whole = self.committed.len() == self.log.len();
        self.is_locked_whole
    }

    fn shows(&self, processed: usize) -> bool {
        (0..processed).all(|at| self.committed.contains(&at))
    }
}

/// Where a transaction begins in the log.
fn place(transaction: usize) -> Position {
    Position::new("binlog.000001", transaction as u64)
}

/// All rows of a table without a key, on their way.
#[derive(Debug)]
struct Whole {
    window: u64,
    rows: Rows,
    /// Where the log ended under the lock.
    end: usize,
    /// The loop has them.
    is_handed_over: bool,
}

/// A chunk on its way.
#[derive(Debug)]
struct Read {
    window: u64,
    /// What had been processed when the window was opened.
    processed: usize,
    /// Its keys: above the first, up to the second.
    range: (i64, i64),
    /// What the view showed, and where the log ended then; `None`: it was not opened yet.
    view: Option<(Rows, usize)>,
}

struct World {
    server: Server,
    windows: Windows,
    target: Arc<Target>,
    table: Arc<Table>,
    /// Transactions that the loop has processed, in the order of the log.
    processed: usize,
    /// Chunks whose place has not come, in order.
    under_way: Vec<Read>,
    /// Key up to which chunks were begun.
    cursor: i64,
    copy: Rows,
    /// The window of a table without a key, as long as its rows are not read.
    armed: Option<u64>,
    whole: Option<Whole>,
    /// The copy was made from them, or they were too late.
    made: u32,
}

impl World {
    /// The copy is of some earlier time: rows went and came while nobody looked.
    fn new(rows: Rows, copy: Rows, key: Vec<usize>) -> Self {
        let table = table("t", 2);
        let target = Target::new(Arc::clone(&table), key, Format::Protobuf, 1);
        Self {
            server: Server { visible: rows, values: 1_000, ..Server::default() },
            windows: Windows::new(1_000),
            target: Arc::new(target),
            table,
            processed: 0,
            under_way: Vec::new(),
            cursor: 0,
            copy,
            armed: None,
            whole: None,
            made: 0,
        }
    }

    fn step(&mut self, (action, value): (u8, u8)) {
        let key = i64::from(value) % KEYS + 1;
        match action {
            0 | 1 => self.server.write(key, false),
            2 => self.server.write(key, true),
            3 | 4 => self.server.sync(),
            5 | 6 => self.server.commit(value.into()),
            7 | 8 => self.deliver(),
            9 => self.open(i64::from(value) % 3 + 1),
            _ => self.look(),
        }
    }

    /// The same for a table without a key. Who holds the lock need not be in time.
    fn step_without_key(&mut self, (action, value): (u8, u8)) {
        match action {
            9 if self.armed.is_none() && self.whole.is_none() && self.made == 0 => {
                self.armed = Some(self.windows.open(Arc::clone(&self.target)));
            }
            10 if self.armed.is_some() => self.read_whole(),
            11 => self.hand_over(),
            12 => self.server.is_locked_whole = false,
            9 | 10 => {}
            _ => self.step((action, value)),
        }
    }

    fn read_whole(&mut self) {
        if self.server.lock()
            && let Some(window) = self.armed.take()
        {
            let (rows, end) = (self.server.visible.clone(), self.server.log.len());
            self.whole = Some(Whole { window, rows, end, is_handed_over: false });
        }
    }

    fn hand_over(&mut self) {
        if let Some(whole) = &mut self.whole {
            whole.is_handed_over = true;
        }
        self.take_whole();
    }

    fn take_whole(&mut self) {
        let processed = self.processed;
        let is_due = |whole: &mut Whole| whole.is_handed_over && processed >= whole.end;
        let Some(Whole { window, rows, end, .. }) = self.whole.take_if(is_due) else { return };
        let window = self.windows.close(window).expect("it is open");
        if !window.is_behind(&place(end)) {
            self.copy = rows;
            self.made += 1;
        }
    }

    /// Read again until it is in time.
    fn settle_without_key(&mut self) {
        self.server.is_locked_whole = false;
        while self.made == 0 {
            self.run_out();
            self.hand_over();
            for action in [9, 10, 11, 12] {
                self.step_without_key((action, 0));
            }
        }
        self.run_out();
    }

    /// The loop gets the next transaction that was synced.
    fn deliver(&mut self) {
        if self.processed == self.server.synced {
            return;
        }
        let Write { key, before, after } = self.server.log[self.processed];
        let image = |value: i64| [int(key), int(value)];
        let change = match (before, after) {
            (None, Some(after)) => OwnedChange::insert(0, &image(after)),
            (Some(before), Some(after)) => OwnedChange::update(0, &image(before), &image(after)),
            (before, None) => OwnedChange::delete(0, &image(before.unwrap_or(0))),
        };
        if self.windows.is_open_for(&self.table) {
            self.windows.row(&place(self.processed), &self.table, &change.change());
        }
        match after {
            Some(value) => self.copy.insert(key, value),
            None => self.copy.remove(&key),
        };
        self.processed += 1;
        self.take();
        self.take_whole();
    }

    /// The reader begins a chunk of some keys.
    fn open(&mut self, keys: i64) {
        if self.cursor >= KEYS || self.under_way.last().is_some_and(|read| read.view.is_none()) {
            return;
        }
        let window = self.windows.open(Arc::clone(&self.target));
        let range = (self.cursor, (self.cursor + keys).min(KEYS));
        self.cursor = range.1;
        self.under_way.push(Read { window, processed: self.processed, range, view: None });
    }

    /// The reader opens its view, once that shows what was processed, reads, and asks for the log's end.
    fn look(&mut self) {
        let server = &self.server;
        let Some(read) = self.under_way.last_mut().filter(|read| read.view.is_none()) else {
            return;
        };
        if server.shows(read.processed) {
            let (after, upto) = read.range;
            let rows = server.visible.range(after + 1..=upto);
            read.view = Some((rows.map(|(key, value)| (*key, *value)).collect(), server.log.len()));
            self.take();
        }
    }

    /// The loop takes the chunks whose place has come.
    fn take(&mut self) {
        while let Some(Read { view: Some((_, end)), .. }) = self.under_way.first() {
            if self.processed < *end {
                return;
            }
            let Read { window, range, view, .. } = self.under_way.remove(0);
            let window = self.windows.close(window).expect("it is open");
            self.apply(&window, range, &view.expect("it was read").0);
        }
    }

    /// As a consumer does: rows of the chunk replace what is there, and what it does not tell of is gone.
    fn apply(&mut self, window: &Window, (after, upto): (i64, i64), rows: &Rows) {
        let is_touched = |key: i64| window.touched(&self.key(key)).is_some();
        let touched: BTreeSet<_> = (1..=KEYS).filter(|key| is_touched(*key)).collect();
        for key in (after + 1..=upto).filter(|key| !touched.contains(key)) {
            match rows.get(&key) {
                Some(value) => self.copy.insert(key, *value),
                None => self.copy.remove(&key),
            };
        }
    }

    fn key(&self, key: i64) -> Vec<u8> {
        let row = OwnedChange {
            op: Op::Read,
            ..OwnedChange::insert(0, &[int(key), Owned::Plain(crate::change::Slot::Null)])
        };
        let mut bytes = Vec::new();
        self.target.put_key(&mut bytes, &row.change().after.expect("a row"));
        bytes
    }

    /// Everything that is under way comes to its end.
    fn settle(&mut self) {
        while self.cursor < KEYS || !self.under_way.is_empty() {
            self.open(KEYS);
            self.run_out();
            self.look();
        }
        self.run_out();
    }

    fn run_out(&mut self) {
        while self.server.committed.len() < self.server.log.len() {
            self.server.sync();
            self.server.commit(0);
        }
        while self.processed < self.server.synced {
            self.deliver();
        }
    }
}

fn rows() -> impl Strategy<Value = Rows> {
    prop::collection::btree_map(1..=KEYS, 1..100_i64, 0..6)
}

proptest! {
    #[test]
    fn a_copy_equals_the_table_under_every_schedule(
        (table, copy) in (rows(), rows()),
        steps in prop::collection::vec((0..11_u8, any::<u8>()), 0..80),
    ) {
        let mut world = World::new(table, copy, vec![0]);
        for step in steps {
            world.step(step);
        }
        world.settle();
        prop_assert_eq!(&world.copy, &world.server.visible);
    }

    #[test]
    fn a_copy_equals_the_table_without_a_key_under_every_schedule(
        (table, copy) in (rows(), rows()),
        steps in prop::collection::vec((0..13_u8, any::<u8>()), 0..80),
    ) {
        let mut world = World::new(table, copy, Vec::new());
        for step in steps {
            world.step_without_key(step);
        }
        world.settle_without_key();
        prop_assert_eq!(&world.copy, &world.server.visible);
    }
}
