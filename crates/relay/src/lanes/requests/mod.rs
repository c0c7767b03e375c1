//! Requests of one lane for a receiver: which rows go into which, which of them may be under way at the
//! same time, and what must be saved of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::ranges::Ranges;
use crate::state::{LaneRecord, Sending};

/// What may be under way at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One request of a lane after the other.
    Lane,
    /// Rows of one key after each other.
    Key,
    /// Anything.
    None,
}

/// A row in the order of its lane; `R` is what it holds.
#[derive(Debug, Clone)]
pub(crate) struct Row<R> {
    pub(crate) place: Place,
    /// Hashes of the row's key before and after; twice the same where it did not change.
    pub(crate) keys: [u64; 2],
    /// Bytes that it takes in a request, about.
    pub(crate) bytes: usize,
    /// `None`: the route's filter leaves it out.
    pub(crate) content: Option<R>,
}

/// What a row is numbered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Its number in the lane.
    Change(u64),
    /// A row of a snapshot: its part's attempt, and its number among the rows of parts.
    Read(u32, u64),
}

/// A request under way.
#[derive(Debug, Clone)]
pub(crate) struct Run<R> {
    pub(crate) number: u64,
    pub(crate) first: Place,
    pub(crate) last: u64,
    pub(crate) rows: Vec<R>,
    /// Hash of the last row's key, which the request is grouped by.
    pub(crate) key: u64,
    /// Hashes of all keys of its rows, where order is kept by key.
    pub(crate) keys: Vec<u64>,
    /// Attempts that failed before.
    pub(crate) attempts: u32,
    /// An earlier row of its key is parked: it is to be parked behind it.
    pub(crate) is_behind: bool,
}

/// How requests are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) order: Order,
    pub(crate) rows_max: usize,
    pub(crate) bytes_max: usize,
}

#[derive(Debug)]
struct UnderWay {
    first: Place,
    last: u64,
    keys: Vec<u64>,
}

/// Rows of one lane between their release and their delivery.
#[derive(Debug)]
pub(crate) struct Requests<R> {
    limits: Limits,
    /// The smallest number that is not dealt with; 0: not known.
    next: u64,
    done: Ranges,
    /// Rows that the source holds back.
    suppressed: Vec<(u64, u64)>,
    /// Number of the row that the lane began with, where earlier ones had not come in time; else 0.
    began: u64,
    /// Requests that were begun, by their first number: the last one, and attempts that failed.
    begun: BTreeMap<u64, (u64, u32)>,
    parked_keys: BTreeSet<u64>,
    /// Attempt, number of the next part's row, and rows of parts that are dealt with out of order.
    read: (u32, u64),
    read_done: Ranges,
    /// Rows that no request has, by their place in the order of release.
    pending: BTreeMap<u64, Row<R>>,
    released: u64,
    /// Rows that wait for a key, with their place.
    behind: HashMap<u64, VecDeque<(u64, Row<R>)>>,
    under_way: HashMap<u64, UnderWay>,
    /// Keys that are under way, or for which a row waits: how many.
    busy: HashMap<u64, usize>,
    runs: u64,
    /// Whether the record has changed since it was taken.
    is_changed: bool,
}

impl<R> Requests<R> {
    pub(crate) fn new(record: &LaneRecord, limits: Limits) -> Self {
        Self {
            limits,
            next: record.next,
            done: record.done.iter().copied().collect(),
            suppressed: record.suppressed.clone(),
            began: record.began,
            begun: record.sending.iter().map(|at| (at.first, (at.last, at.attempts))).collect(),
            parked_keys: record.parked_keys.iter().filter_map(|key| key_of(key)).collect(),
            read: (record.part_attempt, record.part_next),
            read_done: Ranges::default(),
            pending: BTreeMap::new(),
            released: 0,
            behind: HashMap::new(),
            under_way: HashMap::new(),
            busy: HashMap::new(),
            runs: 0,
            is_changed: false,
        }
    }

    /// The lane begins with this row: earlier ones have not come in time.
    pub(crate) fn begins(&mut self, first: u64) {
        (self.began, self.is_changed) = (first, true);
    }

    /// See [`LaneRecord::began`].
    pub(crate) fn began(&self) -> u64 {
        self.began
    }

    /// What is to be saved, if it has changed since the last call.
    pub(crate) fn changed(&mut self) -> Option<LaneRecord> {
        std::mem::take(&mut self.is_changed).then(|| self.record())
    }

    /// What was to be saved was not.
    pub(crate) fn save_again(&mut self) {
        self.is_changed = true;
    }

    /// The smallest number that is not dealt with; 0: not known.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// What is to be saved.
    pub(crate) fn record(&self) -> LaneRecord {
        let sending = self.begun.iter();
        LaneRecord {
            next: self.next,
            done: self.done.iter().collect(),
            suppressed: self.suppressed.clone(),
            began: self.began,
            sending: sending
                .map(|(first, (last, attempts))| Sending {
                    first: *first,
                    last: *last,
                    attempts: *attempts,
                })
                .collect(),
            parked_keys: self.parked_keys().collect(),
            part_attempt: self.read.0,
            part_next: self.read.1,
        }
    }

    /// Keys of which a row is parked, as they are saved.
    pub(crate) fn parked_keys(&self) -> impl Iterator<Item = String> {
        self.parked_keys.iter().map(|key| text_of(*key))
    }

    /// Whether all of these rows are dealt with.
    pub(crate) fn is_done(&self, first: u64, last: u64) -> bool {
        let first = first.max(self.next);
        self.next > 0 && (first > last || self.done.contains(first, last))
    }

    /// Whether all rows of a part are dealt with.
    pub(crate) fn is_read(&self, attempt: u32, first: u64, last: u64) -> bool {
        let (now, next) = self.read;
        let first = first.max(next);
        attempt < now || attempt == now && (first > last || self.read_done.contains(first, last))
    }

    /// A row in its order. One that was dealt with before a restart is left out.
    pub(crate) fn release(&mut self, row: Row<R>) {
        match row.place {
            Place::Change(number) => {
                if self.next == 0 {
                    (self.next, self.is_changed) = (number, true);
                }
                if self.is_done(number, number) {
                    return;
                }
            }
            Place::Read(attempt, number) => {
                if attempt > self.read.0 {
                    (self.read, self.read_done) = ((attempt, number), Ranges::default());
                    self.is_changed = true;
                }
                if self.is_read(attempt, number, number) {
                    return;
                }
            }
        }
        self.pending.insert(self.released, row);
        self.released += 1;
    }

    /// Numbers that will never be delivered count as dealt with.
    pub(crate) fn absent(&mut self, first: u64, last: u64) {
        if self.next == 0 {
            self.next = first;
        }
        self.finish(Place::Change(first), last);
    }

    /// The source holds these rows back: that is to be saved too.
    pub(crate) fn suppressed(&mut self, rows: Vec<(u64, u64)>) {
        self.is_changed |= self.suppressed != rows;
        self.suppressed = rows;
    }

    /// A part without rows is dealt with when it comes.
    pub(crate) fn part_absent(&mut self, attempt: u32, number: u64, last: u64) {
        if attempt > self.read.0 {
            (self.read, self.read_done) = ((attempt, number), Ranges::default());
        }
        self.finish(Place::Read(attempt, number), last);
    }

    /// Parts that do not come: this one is next behind them. What is under way of those in front of them is
    /// still waited for.
    pub(crate) fn parts_absent(&mut self, attempt: u32, first: u64, next: u64) {
        if attempt > self.read.0 || self.read.1 == 0 {
            (self.read, self.read_done) = ((attempt, next), Ranges::default());
            self.is_changed = true;
        } else {
            self.finish(Place::Read(attempt, first), next.saturating_sub(1));
        }
    }

    /// Rows that are in no request, and requests under way.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let behind: usize = self.behind.values().map(VecDeque::len).sum();
        (self.pending.len() + behind, self.under_way.len())
    }

    /// The next request; `None`: nothing can go now.
    pub(crate) fn take(&mut self) -> Option<Run<R>> {
        let mut at = 0;
        loop {
            let (place, row) = self.pending.range(at..).next()?;
            let (place, first) = (*place, row.place);
            let begun = self.begun_at(first);
            let rows = match begun {
                Some((first, last)) => self.rows_between(place, first, last),
                None => vec![place],
            };
            let busy = rows.iter().find_map(|place| self.busy_key(*place));
            if let Some(key) = busy {
                self.put_behind(&rows, key);
            } else if let Some((first, last)) = begun {
                if (rows.len() as u64) < last - first + 1 {
                    // Not all rows of the request are here again: those that are come last of all, and
                    // nothing overtakes them.
                    return None;
                }
                if let Some(run) = self.begin(&rows) {
                    return Some(run);
                }
            } else {
                let rows = self.run_from(place);
                if let Some(run) = self.begin(&rows) {
                    return Some(run);
                }
            }
            at = place + 1;
        }
    }

    /// First and last number of the request, begun and not under way, that a row belongs to.
    fn begun_at(&self, place: Place) -> Option<(u64, u64)> {
        let Place::Change(number) = place else { return None };
        let (first, (last, _)) = self.begun.range(..=number).next_back()?;
        (*last >= number).then_some((*first, *last))
    }

    /// Places of the rows with these numbers.
    fn rows_between(&self, place: u64, first: u64, last: u64) -> Vec<u64> {
        let is_in = |row: &Row<R>| matches!(row.place, Place::Change(number) if (first..=last).contains(&number));
        let rows = self.pending.range(place..);
        let rows = rows
            .take_while(|(_, row)| !matches!(row.place, Place::Change(number) if number > last));
        rows.filter(|(_, row)| is_in(row)).map(|(place, _)| *place).collect()
    }

    /// A key that keeps a row from being sent. One that is left out waits for nobody.
    fn busy_key(&self, place: u64) -> Option<u64> {
        let row = self.pending.get(&place).filter(|row| row.content.is_some())?;
        self.keys(place, row).into_iter().find(|key| self.busy.contains_key(key))
    }

    /// What a row must not overtake.
    fn keys(&self, place: u64, row: &Row<R>) -> [u64; 2] {
        match self.limits.order {
            Order::Lane => [0, 0],
            Order::Key => row.keys,
            Order::None => [place, place],
        }
    }

    fn put_behind(&mut self, places: &[u64], key: u64) {
        for place in places {
            let Some(row) = self.pending.remove(place) else { continue };
            if row.content.is_some() {
                for key in distinct(self.keys(*place, &row)) {
                    *self.busy.entry(key).or_default() += 1;
                }
            }
            self.behind.entry(key).or_default().push_back((*place, row));
        }
    }

    /// The rows from this place on that make one request. It begins and ends with a row that is sent, so
    /// that its numbers, and its id, do not depend on what is left out around it.
    fn run_from(&self, place: u64) -> Vec<u64> {
        let (mut run, mut contents, mut bytes) = (Vec::new(), 0, 0);
        let (mut expected, mut behind) = (None, None);
        let is_left_out = self.pending.get(&place).is_some_and(|row| row.content.is_none());
        let mut sent = 0;
        for (at, row) in self.pending.range(place..) {
            let follows = expected.is_none_or(|expected| row.place == expected);
            if !follows || self.busy_key(*at).is_some() || self.begun_at(row.place).is_some() {
                break;
            }
            if is_left_out && row.content.is_some() {
                break;
            }
            if row.content.is_some() {
                contents += 1;
                bytes += row.bytes;
                let is_full = contents > self.limits.rows_max
                    || bytes > self.limits.bytes_max && contents > 1;
                // What is parked behind others is no part of a request that is sent.
                let is_behind = row.keys.iter().any(|key| self.parked_keys.contains(key));
                if is_full || *behind.get_or_insert(is_behind) != is_behind {
                    break;
                }
            }
            run.push(*at);
            if row.content.is_some() {
                sent = run.len();
            }
            expected = Some(following(row.place));
        }
        if !is_left_out {
            run.truncate(sent);
        }
        run
    }

    /// Makes a request of rows that may go; `None` when the filter leaves all of them out.
    fn begin(&mut self, places: &[u64]) -> Option<Run<R>> {
        let mut keys = BTreeSet::new();
        let (mut rows, mut first, mut last, mut key) = (Vec::new(), None, 0, 0);
        for at in places {
            let Some(row) = self.pending.remove(at) else { continue };
            if row.content.is_some() {
                keys.extend(self.keys(*at, &row));
                key = row.keys[1];
            }
            first = first.or(Some(row.place));
            last = place_number(row.place);
            rows.extend(row.content);
        }
        let first = first?;
        if rows.is_empty() {
            self.finish(first, last);
            return None;
        }
        let mut attempts = 0;
        if let Place::Change(number) = first {
            let begun = self.begun.entry(number).or_insert((last, 0));
            attempts = begun.1;
            self.is_changed = true;
        }
        for key in &keys {
            *self.busy.entry(*key).or_default() += 1;
        }
        let is_behind = self.limits.order == Order::Key
            && keys.iter().any(|key| self.parked_keys.contains(key));
        let number = self.runs;
        self.runs += 1;
        let keys: Vec<u64> = keys.into_iter().collect();
        let of_rows = if self.limits.order == Order::Key { keys.clone() } else { Vec::new() };
        self.under_way.insert(number, UnderWay { first, last, keys });
        Some(Run { number, first, last, rows, key, keys: of_rows, attempts, is_behind })
    }

    /// An attempt failed; the request stays under way.
    pub(crate) fn failed(&mut self, run: u64, attempts: u32) {
        let Some(UnderWay { first: Place::Change(first), .. }) = self.under_way.get(&run) else {
            return;
        };
        if let Some(begun) = self.begun.get_mut(first) {
            (begun.1, self.is_changed) = (attempts, true);
        }
    }

    /// The receiver has it.
    pub(crate) fn delivered(&mut self, run: u64) {
        if let Some(run) = self.under_way.remove(&run) {
            self.finish(run.first, run.last);
            self.free(&run.keys);
        }
    }

    /// It is parked, and with order by key whatever comes later for its keys too.
    pub(crate) fn parked(&mut self, run: u64) {
        if let Some(run) = self.under_way.remove(&run) {
            if self.limits.order == Order::Key {
                self.parked_keys.extend(&run.keys);
            }
            self.finish(run.first, run.last);
            self.free(&run.keys);
        }
    }

    /// An operator has sent or dropped what was parked for these keys: later rows go again.
    pub(crate) fn unparked(&mut self, keys: &[String]) {
        for key in keys.iter().filter_map(|key| key_of(key)) {
            self.is_changed |= self.parked_keys.remove(&key);
        }
    }

    fn free(&mut self, keys: &[u64]) {
        for key in keys {
            decrement(&mut self.busy, *key);
        }
        // Rows that waited for one of the keys are looked at again, in their order; and what waits behind
        // these rows too, for it may be they alone that it waits for.
        let mut keys = keys.to_vec();
        while let Some(key) = keys.pop() {
            for (place, row) in self.behind.remove(&key).unwrap_or_default() {
                if row.content.is_some() {
                    for other in distinct(self.keys(place, &row)) {
                        decrement(&mut self.busy, other);
                        keys.push(other);
                    }
                }
                self.pending.insert(place, row);
            }
        }
    }

    fn finish(&mut self, first: Place, last: u64) {
        match first {
            Place::Change(first) => {
                self.begun.remove(&first);
                self.done.insert(first, last);
                self.next = self.done.advance(self.next);
            }
            Place::Read(attempt, first) if attempt == self.read.0 => {
                self.read_done.insert(first, last);
                self.read.1 = self.read_done.advance(self.read.1);
            }
            Place::Read(..) => {}
        }
        self.is_changed = true;
    }
}

fn decrement(busy: &mut HashMap<u64, usize>, key: u64) {
    if let Some(count) = busy.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            busy.remove(&key);
        }
    }
}

fn distinct([first, second]: [u64; 2]) -> impl Iterator<Item = u64> {
    std::iter::once(first).chain((first != second).then_some(second))
}

fn place_number(place: Place) -> u64 {
    match place {
        Place::Change(number) | Place::Read(_, number) => number,
    }
}

fn following(place: Place) -> Place {
    match place {
        Place::Change(number) => Place::Change(number.saturating_add(1)),
        Place::Read(attempt, number) => Place::Read(attempt, number.saturating_add(1)),
    }
}

/// A key's hash as it is saved.
pub(crate) fn text_of(key: u64) -> String {
    format!("{key:016x}")
}

fn key_of(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests;
