//! Snapshots between the changes: whatever comes between, a copy made of rows and parts equals the
//! tables, and what the messages say of themselves holds.
//!
//! The source, the reader and the consumer are models. What is under test is the flow: it is given a log
//! and the reader's questions, as production does, and is killed and begun again from its checkpoint.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;
use tokio::sync::oneshot::{self, Receiver};

use super::log::decoder;
use super::made::{Made, SOURCE};
use super::rig::Dice;
use crate::change::{Gtid, LogicalType, Position, Table, Tag, Uuid};
use crate::checkpoint::{Checkpoint, Tracker};
use crate::decode::Decoder;
use crate::encode::proto::frame::Content;
use crate::encode::testing::{OwnedChange, column, text};
use crate::encode::{Destination, FinalizeOptions, Finalizer, Format, RowsDigest, open, proto};
use crate::filter::{Config as FilterConfig, Filter, Pattern};
use crate::freshness::canary::path::{CanaryPath, Mark, Marks};
use crate::freshness::schema::SchemaName;
use crate::freshness::{Recogniser, Watermark, WatermarkProvider};
use crate::pack::{Config as PackConfig, Packer, Sequences};
use crate::pipeline::ControlMessages;
use crate::pipeline::flow::{Flow, FlowConfig};
use crate::snapshot::{
    Ask, Bound, Chunk, ChunkPart, ChunkRows, Opened, Order, Progress, RESTARTS_MAX, Request,
    TableProgress, Taken, Target,
};
use crate::source::Start;
use crate::telemetry::snapshot::{ChunkDiscard, SnapshotState, SnapshotTableState};

/// The tables: of `u` only the key is published.
const TABLES: [&str; 2] = ["t", "u"];
const KEYS: u64 = 12;
const KILLS_MAX: u32 = 3;

type Rows = BTreeMap<String, String>;

fn table(number: usize) -> Arc<Table> {
    let columns = ["a", "b"].map(|name| column(name, LogicalType::Text));
    Arc::new(Table {
        database: "d".into(),
        name: TABLES[number].into(),
        columns: columns.into(),
        primary_key: vec![0],
        named: true,
        fingerprint: 7 + number as u64,
        outbox: None,
    })
}

/// A key as SQL, and back.
fn literal(key: &str) -> String {
    let hex: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("_utf8mb4 x'{hex}'")
}

fn key_of(literal: &str) -> String {
    (0..=KEYS).map(key).find(|key| self::literal(key) == literal).expect("a key of the test")
}

fn key(number: u64) -> String {
    format!("k{number:02}")
}

fn text_of(value: &proto::Value) -> Option<String> {
    match &value.kind {
        Some(proto::value::Kind::Text(text)) => Some(text.clone()),
        None => None,
        other => panic!("a value {other:?}"),
    }
}

fn texts(image: &proto::Image) -> Vec<Option<String>> {
    image.values.iter().map(text_of).collect()
}

fn key_in(image: &proto::Image) -> String {
    let [key, ..] = &texts(image)[..] else { panic!("no key") };
    key.clone().expect("a key")
}

/// A consumer that keeps a copy, of rows with their lane.
#[derive(Debug, Default)]
struct Copy {
    tables: BTreeMap<String, BTreeMap<String, (String, String)>>,
    /// The next row, the newest attempt, and the next part, of each lane.
    lanes: BTreeMap<String, (u64, u32, u64)>,
    /// Keys that the chunk under way has told of, by lane.
    chunks: BTreeMap<String, ((String, u64, u32), BTreeSet<String>)>,
    /// What was told of each chunk of the snapshot under way.
    counted: Counted,
    marks: Vec<(String, proto::SnapshotPhase)>,
    /// Another process continued.
    is_continued: bool,
    digests: u64,
}

impl Copy {
    fn take(&mut self, content: Content) {
        match content {
            Content::Batch(batch) => self.rows(&batch),
            Content::SnapshotPart(part) => self.part(&part),
            Content::SnapshotMark(mark) => {
                let phase = mark.phase();
                for lane in &mark.lanes {
                    let next = self.lanes.get(&lane.lane).map_or(1, |lane| lane.0);
                    // A process that continues gets rows once more that came before.
                    let is_there = lane.sequence_next == next;
                    assert!(
                        is_there || self.is_continued && lane.sequence_next < next,
                        "{mark:?} at {next}"
                    );
                }
                assert_eq!(mark.reason.is_empty(), phase != proto::SnapshotPhase::Abandoned);
                let ends = [proto::SnapshotPhase::Done, proto::SnapshotPhase::Abandoned];
                let is_over = |(table, phase): &(String, proto::SnapshotPhase)| {
                    *table == mark.table && ends.contains(phase)
                };
                assert!(
                    self.is_continued || !self.marks.iter().any(is_over),
                    "{mark:?}: it is over"
                );
                self.marks.push((mark.table, phase));
            }
            // While its snapshot goes on, that alone has to see to it.
            Content::SchemaChange(change) => {
                let (next, ..) = self.lanes.entry(change.lane.clone()).or_insert((1, 0, 1));
                if change.sequence < *next {
                    return;
                }
                *next = change.sequence + 1;
                let name = change.statement.trim_start_matches("TRUNCATE TABLE ");
                let mark = self.marks.iter().rfind(|(table, _)| table == name);
                if mark.is_some_and(|(_, phase)| *phase == proto::SnapshotPhase::Done) {
                    self.tables.remove(name);
                }
            }
            other => panic!("nobody made {other:?}"),
        }
    }

    fn rows(&mut self, batch: &proto::ChangeBatch) {
        let schema = batch.table.as_ref().expect("a schema");
        let (next, attempt, part) = self.lanes.entry(batch.lane.clone()).or_insert((1, 0, 1));
        if batch.snapshot_attempt == *attempt && *attempt > 0 {
            assert_eq!(batch.snapshot_next, *part, "parts that stand before the rows are named");
        }
        for (row, number) in batch.rows.iter().zip(batch.sequence_first..) {
            if number < *next {
                continue;
            }
            assert_eq!(number, *next, "no gap in {}", batch.lane);
            *next += 1;
            let rows = self.tables.entry(schema.table.clone()).or_default();
            let before = row.before.as_ref().map(key_in);
            let held = before.as_ref().and_then(|key| rows.remove(key));
            let Some(after) = &row.after else { continue };
            let cells = texts(after);
            let key = cells[0].clone().or(before).expect("a key");
            match cells.get(1).cloned() {
                Some(Some(value)) if row.op() == proto::Op::Insert || cells[0].is_some() => {
                    rows.insert(key, (value, batch.lane.clone()));
                }
                // A part of the row: there is nothing to add it to where the rest is not known.
                Some(value) => {
                    if let Some((old, lane)) = held {
                        rows.insert(key, (value.unwrap_or(old), lane));
                    }
                }
                None => {
                    rows.insert(key, (String::new(), batch.lane.clone()));
                }
            }
        }
    }

    fn part(&mut self, part: &proto::SnapshotPart) {
        let batch = part.batch.as_ref().expect("a schema at least");
        let schema = batch.table.as_ref().expect("a schema");
        let anchor = part.anchor.as_ref().expect("a place");
        assert_eq!(anchor.lane, batch.lane);
        assert!(part.key_columns.is_empty(), "it is read by its primary key");
        let (next, attempt, expected) = self.lanes.entry(batch.lane.clone()).or_insert((1, 0, 1));
        if part.attempt > *attempt {
            assert!(part.attempt_part <= *expected, "a gap in front of the attempt");
            (*attempt, *expected) = (part.attempt, part.attempt_part);
        }
        assert_eq!((part.attempt, part.part), (*attempt, *expected), "parts have no gaps");
        *expected += (batch.rows.len() as u64).max(1);
        assert_eq!(anchor.sequence_next, *next, "a part stands behind all rows before it");

        assert!(part.chunk >= 1, "chunks are numbered from 1");
        let told = (part.rows_in_chunk, part.rows_superseded);
        let before = self.counted.insert((schema.table.clone(), part.chunk), told);
        assert!(before.is_none_or(|before| before == told || part.attempt > 1), "told twice");

        let rows = self.tables.entry(schema.table.clone()).or_default();
        let chunk = self.chunks.entry(batch.lane.clone()).or_default();
        let id = (part.snapshot.clone(), part.chunk, part.attempt);
        if chunk.0 != id {
            *chunk = (id, BTreeSet::new());
        }
        for row in &batch.rows {
            assert_eq!((row.op(), &row.before), (proto::Op::Read, &None));
            let cells = texts(row.after.as_ref().expect("a row"));
            let key = cells[0].clone().expect("a key");
            let value = cells.get(1).cloned().flatten().unwrap_or_default();
            rows.insert(key.clone(), (value, batch.lane.clone()));
            chunk.1.insert(key);
        }
        let touched: BTreeSet<_> = part.touched.iter().map(key_in).collect();
        if part.digest.is_none() {
            chunk.1.extend(touched.iter().cloned());
        }
        let (after, upto) =
            (part.key_after.as_ref().map(key_in), part.key_upto.as_ref().map(key_in));
        let is_in = |key: &String| {
            after.as_ref().is_none_or(|after| key > after)
                && upto.as_ref().is_none_or(|upto| key <= upto)
        };
        if let Some(digest) = &part.digest {
            assert!(!part.last_part && batch.rows.is_empty(), "nothing is deleted by digests");
            let mut own = RowsDigest::default();
            let here = rows.iter().filter(|(key, (_, lane))| {
                *lane == batch.lane && is_in(key) && !touched.contains(*key)
            });
            for (key, (value, _)) in here {
                let cells = [text(key), text(value)];
                let row = OwnedChange::insert(0, &cells[..schema.columns.len()]);
                own.add(&row.change().after.expect("a row"), &mut Vec::new());
            }
            let (rows, sum, xor) = (digest.rows, digest.sum, digest.xor);
            let told = format!("RowsDigest {{ rows: {rows}, sum: {sum}, xor: {xor} }}");
            assert_eq!(told, format!("{own:?}"));
            self.digests += 1;
        }
        if part.last_part {
            let told = &chunk.1;
            rows.retain(|key, (_, lane)| *lane != batch.lane || !is_in(key) || told.contains(key));
        }
    }
}

/// A window, and what is read through it.
struct Look {
    opened: Opened,
    part: ChunkPart,
}

/// The reader, as the worker does it.
#[derive(Default)]
struct Reading {
    table: Option<usize>,
    opening: Option<(Receiver<Opened>, ChunkPart)>,
    cursor: Option<String>,
    is_read: bool,
    look: Option<Look>,
    under_way: VecDeque<Receiver<Result<Taken, ChunkDiscard>>>,
    settling: Option<Receiver<()>>,
    /// All of the table was delivered.
    is_settled: bool,
    newest: Option<u64>,
}

/// What a message said of a chunk: rows read, and rows left out.
type Counted = BTreeMap<(String, u64), (u64, u64)>;

struct World {
    lanes: u32,
    minimal: bool,
    made: Made,
    /// Of each transaction: its offset in the log, and its events.
    transactions: Vec<(u32, Vec<Vec<u8>>)>,
    source: [Rows; 2],
    values: u64,
    saved: Checkpoint,
    copy: Copy,
    flow: Flow,
    decoder: Decoder,
    /// The transaction that the flow gets next, and the event of it.
    at: (usize, usize),
    /// Ack groups of messages that the topic has not answered for.
    in_flight: Vec<u64>,
    reading: Reading,
    targets: [Arc<Target>; 2],
    attempt: u32,
    /// Snapshots that were begun.
    snapshots: u32,
    kills: u32,
    stops: u32,
    /// Operators stop snapshots at the last moment.
    may_stop: bool,
}

fn recogniser() -> Recogniser {
    Recogniser::new(SchemaName::new("binpulse").expect("a name"), "s")
}

fn flow(lanes: u32, saved: &Checkpoint, attempt: u32) -> Flow {
    flow_of(lanes, saved, attempt, recogniser())
}

fn flow_of(lanes: u32, saved: &Checkpoint, attempt: u32, recogniser: Recogniser) -> Flow {
    let pattern = |text, parts| vec![Pattern::parse(text, parts).expect("a pattern")];
    let filter = FilterConfig {
        tables: pattern("*.*", 2),
        drop_columns: pattern("d.u.b", 3),
        ..FilterConfig::default()
    };
    let config = FlowConfig { schema_changes: true, snapshot_keys_max: 8, ..FlowConfig::default() };
    let pack = PackConfig { lanes, attempt, ..PackConfig::default() };
    let numbers = saved.lanes.iter().map(|(key, next)| (Arc::clone(key), *next));
    Flow::new(
        config,
        Filter::new(filter),
        recogniser,
        ControlMessages::new(
            Format::Protobuf,
            "server".to_owned(),
            1,
            WatermarkProvider::new(Watermark::default),
        ),
        Packer::new(pack, Sequences::restored(numbers)),
        Tracker::new(saved),
    )
}

impl World {
    fn new(lanes: u32, minimal: bool) -> Self {
        let saved = Checkpoint {
            stream: "s".to_owned(),
            server_uuid: "server".to_owned(),
            epoch: 1,
            ..Checkpoint::default()
        };
        let target = |at| Arc::new(Target::new(table(at), vec![0], Format::Protobuf, lanes));
        let mut world = Self {
            lanes,
            minimal,
            made: Made::new(),
            transactions: Vec::new(),
            source: [Rows::new(), Rows::new()],
            values: 0,
            flow: flow(lanes, &saved, 1),
            saved,
            copy: Copy::default(),
            decoder: decoder(),
            at: (0, 0),
            in_flight: Vec::new(),
            reading: Reading::default(),
            targets: [target(0), target(1)],
            attempt: 1,
            snapshots: 0,
            kills: 0,
            stops: 0,
            may_stop: true,
        };
        world.dial();
        world
    }

    /// Rows that are there before the stream begins.
    fn stock(&mut self, dice: &mut Dice) {
        for _ in 0..=dice.below(12) {
            self.write(dice);
        }
        for sequence in 1..=self.transactions.len() as u64 {
            self.saved.gtid_set.insert(Gtid {
                source: Uuid(SOURCE),
                tag: Tag::default(),
                sequence,
            });
        }
        self.flow = flow(self.lanes, &self.saved, self.attempt);
        self.dial();
        self.write(dice);
        while self.deliver() {}
    }

    /// The flow gets the log from where its checkpoint is.
    fn dial(&mut self) {
        let have = self.flow.tracker().committed_gtids();
        self.flow.moved_to("server");
        self.flow.stream_began(&Start::Gtid(have.clone()));
        self.decoder.start_at(Position::new("log.000001", 4));
        let front = self.made.events[0].clone();
        self.feed(&front);
        let is_known = |number: &usize| {
            let sequence = *number as u64 + 1;
            have.contains(&Gtid { source: Uuid(SOURCE), tag: Tag::default(), sequence })
        };
        self.at = ((0..self.transactions.len()).take_while(is_known).count(), 0);
    }

    fn feed(&mut self, event: &[u8]) {
        self.flow.event(event);
        let mut steps = self.decoder.feed(event).expect("whole");
        while let Some(step) = steps.next().expect("whole") {
            self.flow.step(step, Instant::now()).expect("nothing is lost");
        }
        self.publish();
    }

    /// The flow gets the next event; whether there was one.
    fn deliver(&mut self) -> bool {
        let Some((offset, events)) = self.transactions.get(self.at.0) else { return false };
        if self.at.1 == 0 {
            self.decoder.follow_at(Position::new("log.000001", u64::from(*offset)));
        }
        let event = events[self.at.1].clone();
        self.at = if self.at.1 + 1 < events.len() {
            (self.at.0, self.at.1 + 1)
        } else {
            (self.at.0 + 1, 0)
        };
        self.feed(&event);
        true
    }

    fn ask(&mut self, ask: Ask) {
        self.flow.ask(ask, Instant::now()).expect("nothing is lost");
        self.publish();
    }

    /// What is ready goes to the topic, which hands it on at once and answers later.
    fn publish(&mut self) {
        let origin = super::origin();
        let topic = Destination { arn: "arn".into(), fifo: false, message_bytes_max: usize::MAX };
        let mut finalizer = Finalizer::new(FinalizeOptions { zstd_level: 0 }).expect("memory");
        for batch in self.flow.take_batches() {
            let message = finalizer.finalize(&batch, &origin, &topic);
            self.copy.take(open::content(&message.body).expect("our own message"));
            self.in_flight.push(message.ack_group);
        }
    }

    fn settle(&mut self, which: u64) {
        if self.in_flight.is_empty() {
            return;
        }
        let at = usize::try_from(which).expect("small") % self.in_flight.len();
        let ack_group = self.in_flight.swap_remove(at);
        self.flow.tracker_mut().settled(ack_group).expect("it was on its way");
        self.flow.tell_settled();
    }

    fn save(&mut self) {
        if let Some(delta) = self.flow.tracker_mut().take_delta(0) {
            self.saved.apply(&delta);
        }
    }

    /// The process ends, and another continues.
    fn kill(&mut self) {
        self.kills += 1;
        self.copy.is_continued = true;
        let saved = Progress::saved(&self.saved.annotations).expect("what was saved");
        self.attempt += 1;
        self.flow = flow(self.lanes, &self.saved, self.attempt);
        self.in_flight.clear();
        self.reading = Reading::default();
        self.dial();
        let Some(mut progress) = saved else {
            // That it was begun was not saved: it is asked for again.
            return self.begin(false, None);
        };
        progress.continued(self.attempt, Format::Protobuf);
        self.ask(Ask::Begin { progress: Box::new(progress), is_new: false });
    }

    /// A transaction, or a statement that empties a table.
    fn write(&mut self, dice: &mut Dice) {
        let (offset, first) = (self.made.end, self.made.events.len());
        if dice.below(20) == 0 {
            let number = dice.below(2) as usize;
            self.made.statement(&format!("TRUNCATE TABLE {}", TABLES[number]));
            self.source[number].clear();
        } else {
            self.made.begin();
            for _ in 0..=dice.below(3) {
                self.write_row(dice);
            }
            self.made.commit();
        }
        self.transactions.push((offset, self.made.events[first..].to_vec()));
    }

    fn write_row(&mut self, dice: &mut Dice) {
        self.values += 1;
        let number = dice.below(2) as usize;
        let (name, rows) = (TABLES[number], &mut self.source[number]);
        let (one, value) = (key(dice.below(KEYS)), self.values.to_string());
        let Some(old) = rows.get(&one).cloned() else {
            self.made.inserts(name, &[(&one, &value)]);
            rows.insert(one, value);
            return;
        };
        let other = key(dice.below(KEYS));
        let moves = dice.below(3) == 0 && self.lanes == 1 && !rows.contains_key(&other);
        match (dice.below(3), moves) {
            (0, _) => {
                self.made.deletes(name, &[(&one, &old)]);
                rows.remove(&one);
            }
            (_, true) if self.minimal => {
                self.made.moves(name, &one, &other);
                rows.remove(&one);
                rows.insert(other, old);
            }
            (_, true) => {
                self.made.update(name, (&one, &old), (&other, &value));
                rows.remove(&one);
                rows.insert(other, value);
            }
            (_, false) => {
                if self.minimal {
                    self.made.update_in_part(name, &one, &value);
                } else {
                    self.made.update(name, (&one, &old), (&one, &value));
                }
                rows.insert(one, value);
            }
        }
    }

    /// A snapshot begins: of both tables, or of a range of the first.
    fn begin(&mut self, verify: bool, range: Option<(&str, &str)>) {
        self.snapshots += 1;
        let request = Request { tables: vec!["d.*".to_owned()], verify, ..Request::default() };
        let mut tables: Vec<_> = TABLES.map(|name| TableProgress::new("d", name, None)).into();
        if let Some((after, upto)) = range {
            let bound = |key: &str| {
                let mut image = Vec::new();
                let row = OwnedChange::insert(0, &[text(key), text("")]);
                self.targets[0].put_key(&mut image, &row.change().after.expect("a row"));
                Some(Bound::new(literal(key), &image))
            };
            tables.truncate(1);
            tables[0].within(bound(after), bound(upto));
        }
        let mut progress = Progress::new(self.snapshots.to_string().into(), &request, 0, tables);
        progress.continued(self.attempt, Format::Protobuf);
        self.copy.counted.clear();
        self.copy.marks.clear();
        self.reading = Reading::default();
        self.ask(Ask::Begin { progress: Box::new(progress), is_new: true });
    }

    fn look(&mut self) -> Option<Progress> {
        let (reply, mut found) = oneshot::channel();
        self.ask(Ask::Look { reply });
        found.try_recv().expect("it is answered between two transactions").map(|it| *it)
    }

    /// What was opened and not read is closed.
    fn forget(&mut self) {
        let reading = std::mem::take(&mut self.reading);
        if let Some(Look { opened, .. }) = reading.look {
            self.ask(Ask::Drop { window: opened.window });
        }
    }

    fn begin_look(&mut self, number: usize, part: ChunkPart) {
        let (reply, opened) = oneshot::channel();
        self.ask(Ask::Open { target: Arc::clone(&self.targets[number]), reply });
        self.reading.opening = Some((opened, part));
    }

    /// The reader does its next step.
    fn read(&mut self, dice: &mut Dice) {
        if let Some((mut opened, part)) = self.reading.opening.take() {
            match opened.try_recv() {
                Ok(opened) => self.reading.look = Some(Look { opened, part }),
                Err(_) => self.reading.opening = Some((opened, part)),
            }
            return;
        }
        if let (Some(number), true) = (self.reading.table, self.reading.is_settled) {
            if self.may_stop && dice.below(6) == 0 {
                self.ask(Ask::Order(Order::Stop));
                self.stops += 1;
            }
            return self.end(number);
        }
        while let Some(front) = self.reading.under_way.front_mut() {
            match front.try_recv() {
                Ok(Ok(taken)) => {
                    self.reading.newest = Some(taken.ack_group);
                    self.reading.under_way.pop_front();
                }
                Err(oneshot::error::TryRecvError::Empty) => break,
                Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => return self.forget(),
            }
        }
        // Questions in the middle of a transaction are answered behind it.
        if self.at.1 != 0 {
            return;
        }
        let Some(progress) = self.look() else { return };
        if progress.state() != SnapshotState::Running {
            return self.forget();
        }
        let number = progress.next().expect("it runs");
        if self.reading.table != Some(number) {
            self.forget();
            self.ask(Ask::Start { table: number });
            let table = &progress.tables[number];
            self.reading.table = Some(number);
            (self.reading.cursor, self.reading.is_read) = (table.cursor.clone(), table.is_read);
            return;
        }
        if let Some(Look { opened, part }) = self.reading.look.take() {
            if dice.below(10) == 0 {
                return self.ask(Ask::Drop { window: opened.window });
            }
            return self.read_chunk(number, &progress, opened, part, dice);
        }
        let table = &progress.tables[number];
        if !self.reading.is_read && self.reading.under_way.len() < 3 {
            self.begin_look(number, ChunkPart::After(self.reading.cursor.clone()));
        } else if self.reading.under_way.is_empty() && !table.again.is_empty() {
            let keys = table.again.iter().take(3).cloned().collect();
            self.begin_look(number, ChunkPart::Again(keys));
        } else if self.reading.under_way.is_empty() {
            if !table.is_read {
                return self.forget();
            }
            self.settle_table();
        }
    }

    fn settle_table(&mut self) {
        if let Some(ack_group) = self.reading.newest {
            let Some(settling) = &mut self.reading.settling else {
                let (reply, settled) = oneshot::channel();
                self.reading.settling = Some(settled);
                return self.ask(Ask::Settled { ack_group, reply });
            };
            if settling.try_recv().is_err() {
                return;
            }
            assert!(self.flow.tracker().is_settled(ack_group), "it is told too early");
        }
        self.reading.is_settled = true;
    }

    /// The reader takes its table to be done. Much may have come between.
    fn end(&mut self, number: usize) {
        self.reading = Reading::default();
        self.ask(Ask::End { table: number, reason: None });
    }

    fn read_chunk(
        &mut self,
        number: usize,
        progress: &Progress,
        opened: Opened,
        part: ChunkPart,
        dice: &mut Dice,
    ) {
        let count = 1 + dice.below(4) as usize;
        let upto = progress.tables[number].bounds.upto.as_ref().map(|bound| key_of(&bound.key));
        let mut rows: Vec<_> = match &part {
            ChunkPart::After(cursor) => {
                let after = cursor.as_deref().map(key_of);
                let is_in = |key: &String| {
                    after.as_ref().is_none_or(|after| key > after)
                        && upto.as_ref().is_none_or(|upto| key <= upto)
                };
                self.source[number].iter().filter(|(key, _)| is_in(key)).collect()
            }
            ChunkPart::Again(keys) => {
                let is_in = |key: &String| keys.contains(&literal(key));
                self.source[number].iter().filter(|(key, _)| is_in(key)).collect()
            }
            ChunkPart::Locked => unreachable!("each of these tables has a key"),
        };
        let is_end = rows.len() < count;
        rows.truncate(count);
        let cells: Vec<_> =
            rows.iter().map(|(key, value)| [key.as_str(), value.as_str()]).collect();
        let rows = ChunkRows::of_texts(&table(number).columns, &cells, is_end);
        if matches!(part, ChunkPart::After(_)) {
            self.reading.is_read = is_end;
            self.reading.cursor = rows.last_key().or(self.reading.cursor.take());
        }
        let chunk = Chunk {
            table: number,
            window: opened.window,
            target: Arc::clone(&self.targets[number]),
            rows,
            part,
            order: "a".into(),
            is_ascending: true,
            server: opened.armed.server,
            upto: Position::new("log.000001", u64::from(self.made.end)),
            read_at_us: 1,
        };
        let (reply, taken) = oneshot::channel();
        self.reading.under_way.push_back(taken);
        self.ask(Ask::Take { chunk: Box::new(chunk), reply });
    }

    /// Anything that can happen.
    fn step(&mut self, dice: &mut Dice) {
        match dice.below(40) {
            0..10 => self.write(dice),
            10..22 => {
                self.deliver();
            }
            22..32 => self.read(dice),
            32..35 => self.settle(dice.below(100)),
            35 | 36 => self.save(),
            37 => {
                self.flow.idle(Instant::now());
                self.publish();
            }
            38 if self.kills < KILLS_MAX && dice.below(4) == 0 => self.kill(),
            // A reader that takes a table to be done, and is wrong.
            39 if dice.below(4) == 0 => {
                let table = dice.below(2) as usize;
                if self.flow_knows_more(table) {
                    self.ask(Ask::End { table, reason: None });
                }
            }
            _ => match dice.below(5) {
                0 => self.ask(Ask::Order(Order::Pause)),
                1 | 2 => self.ask(Ask::Order(Order::Resume)),
                3 if dice.below(4) == 0 => {
                    self.ask(Ask::Order(Order::Stop));
                    self.stops += 1;
                }
                _ => {}
            },
        }
    }

    /// Whether rows of the table are still to be read, as the snapshot stands.
    fn flow_knows_more(&mut self, table: usize) -> bool {
        let Some(progress) = (self.at.1 == 0).then(|| self.look()).flatten() else { return false };
        progress.tables.get(table).is_some_and(|it| !it.is_read || !it.again.is_empty())
    }

    /// Nothing is written any more, until all is delivered and the snapshot is over.
    fn settle_all(&mut self, dice: &mut Dice) -> Progress {
        for _ in 0..3_000 {
            while self.deliver() {}
            self.flow.flush_all();
            self.publish();
            while !self.in_flight.is_empty() {
                self.settle(dice.below(100));
            }
            self.save();
            let progress = self.look().expect("a snapshot");
            if progress.is_over() {
                let saved = Progress::saved(&self.saved.annotations).expect("what was saved");
                assert_eq!(saved.as_ref(), Some(&progress), "all of it is saved");
                return progress;
            }
            if progress.head.is_paused {
                self.ask(Ask::Order(Order::Resume));
            }
            self.read(dice);
        }
        panic!("it does not come to its end: {:?}", self.look());
    }

    /// The copy equals the tables, as far as they are published.
    fn check(&self) {
        for (number, name) in TABLES.iter().enumerate() {
            let is_part = number == 1;
            let rows = self.copy.tables.get(*name).cloned().unwrap_or_default();
            let copied: Rows = rows.into_iter().map(|(key, (value, _))| (key, value)).collect();
            let published = self.source[number].iter().map(|(key, value)| {
                (key.clone(), if is_part { String::new() } else { value.clone() })
            });
            assert_eq!(copied, published.collect::<Rows>(), "{name}");
        }
    }

    /// What the snapshot says of itself is what came.
    fn check_counts(&self, progress: &Progress) {
        for table in &progress.tables {
            let of_table = self.copy.counted.iter().filter(|((name, _), _)| **name == *table.table);
            let (mut chunks, mut rows, mut superseded) = (0, 0, 0);
            for (_, (read, left_out)) in of_table {
                (chunks, rows, superseded) = (chunks + 1, rows + read, superseded + left_out);
            }
            let told = (table.chunks, table.rows + table.superseded, table.superseded);
            assert_eq!(told, (chunks, rows, superseded), "{}", table.table);
        }
    }
}

fn marks_of(world: &World, name: &str) -> Vec<proto::SnapshotPhase> {
    let marks = world.copy.marks.iter().filter(|(table, _)| table == name);
    marks.map(|(_, phase)| *phase).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_copy_equals_the_tables_whatever_comes_between(
        seed in any::<u64>(),
        lanes in prop_oneof![2 => Just(1_u32), 1 => 2..4_u32],
        minimal in any::<bool>(),
        steps in 0..250_u32,
        stops in any::<bool>(),
    ) {
        let (mut world, mut dice) = (World::new(lanes, minimal), Dice(seed));
        world.stock(&mut dice);

        // A snapshot, with everything that can happen
        world.begin(false, None);
        for _ in 0..steps {
            world.step(&mut dice);
        }
        world.may_stop = false;
        if stops {
            world.ask(Ask::Order(Order::Stop));
            world.stops += 1;
            let stopped = world.settle_all(&mut dice);
            assert!(stopped.head.is_stopped && stopped.state() == SnapshotState::Stopped);
            world.begin(false, None);
        }
        let mut over = world.settle_all(&mut dice);
        let is_stopped = over.state() == SnapshotState::Stopped;
        if is_stopped || over.tables.iter().any(|table| table.state == SnapshotTableState::Abandoned) {
            assert!(minimal || world.stops > 0, "only rows that move in part do so: {over:?}");
            world.begin(false, None);
            over = world.settle_all(&mut dice);
        }
        world.check();
        if world.kills == 0 && world.stops == 0 {
            world.check_counts(&over);
            for name in TABLES {
                use proto::SnapshotPhase::{Done, Started};
                assert_eq!(marks_of(&world, name), [Started, Done], "{name}");
            }
        }

        // Digests of a true copy are those of the tables
        world.begin(true, None);
        world.settle_all(&mut dice);
        assert!(world.copy.digests >= 2 && world.copy.marks.is_empty());

        // Rows that change without a word in the log are repaired by a snapshot of their range
        let keys: Vec<_> = (3..=8).map(key).collect();
        for key in keys {
            match dice.below(3) {
                0 => world.source[0].remove(key.as_str()),
                1 => world.source[0].insert(key, "silent".to_owned()),
                _ => None,
            };
        }
        world.begin(false, Some(("k02", "k08")));
        world.settle_all(&mut dice);
        world.check();
    }
}

/// Rows of the first table, published, with its first chunk read.
fn begun() -> (World, Dice) {
    let (mut world, mut dice) = (World::new(1, true), Dice(1));
    world.stock(&mut dice);
    let keys: Vec<_> = (1..=8).map(key).collect();
    world.transaction(|world| {
        world.source[0].clear();
        world.made.statement("TRUNCATE TABLE t");
    });
    world.transaction(|world| {
        world.made.begin();
        for key in &keys {
            world.made.inserts("t", &[(key, "x")]);
            world.source[0].insert(key.clone(), "x".to_owned());
        }
        world.made.commit();
    });
    world.begin(false, None);
    world.read_until_begun(&mut dice);
    (world, dice)
}

impl World {
    /// One transaction, or statement, and its way to the flow.
    fn transaction(&mut self, write: impl FnOnce(&mut Self)) {
        let (offset, first) = (self.made.end, self.made.events.len());
        write(self);
        self.transactions.push((offset, self.made.events[first..].to_vec()));
        while self.deliver() {}
    }

    /// A row goes to another key, and the log tells nothing else of it.
    fn moves(&mut self, table: usize, from: &str, to: &str) {
        self.transaction(|world| {
            world.made.begin();
            world.made.moves(TABLES[table], from, to);
            world.made.commit();
        });
    }

    /// The first chunk of a table, empty, to be taken at this place.
    fn order(&mut self, number: usize, upto: Position) -> Receiver<Result<Taken, ChunkDiscard>> {
        let (reply, mut opened) = oneshot::channel();
        self.ask(Ask::Open { target: Arc::clone(&self.targets[number]), reply });
        let opened = opened.try_recv().expect("between two transactions");
        let chunk = Chunk {
            table: number,
            window: opened.window,
            target: Arc::clone(&self.targets[number]),
            rows: ChunkRows::of_texts(&table(number).columns, &[], false),
            part: ChunkPart::After(None),
            order: "a".into(),
            is_ascending: true,
            server: opened.armed.server,
            upto,
            read_at_us: 1,
        };
        let (reply, taken) = oneshot::channel();
        self.ask(Ask::Take { chunk: Box::new(chunk), reply });
        taken
    }

    fn read_until_begun(&mut self, dice: &mut Dice) {
        self.may_stop = false;
        for _ in 0..100 {
            if self.look().expect("a snapshot").tables[0].is_begun() {
                return;
            }
            self.read(dice);
        }
        panic!("no chunk is taken: {:?}", self.look());
    }
}

#[test]
fn a_row_that_moves_in_part_begins_its_table_anew_and_no_other_and_at_last_ends_it() {
    let (mut world, mut dice) = begun();
    let first = |world: &mut World| world.look().expect("a snapshot").tables[0].clone();
    // Of a table that is not read
    world.moves(1, &key(1), &key(2));
    assert!(first(&mut world).is_begun());
    for time in 0..RESTARTS_MAX {
        world.moves(0, &key(8), &key(0));
        assert!(
            !first(&mut world).is_begun(),
            "the old key was not read, and the new one was: {time}"
        );
        world.moves(0, &key(0), &key(8));
        assert!(!first(&mut world).is_begun());
        world.reading = Reading::default();
        world.read_until_begun(&mut dice);
    }
    world.moves(0, &key(8), &key(0));
    let ended = first(&mut world);
    assert_eq!(ended.state, SnapshotTableState::Abandoned, "{ended:?}");
}

#[test]
fn so_many_chunks_wait_for_their_place_and_the_next_one_is_given_back() {
    let (mut world, _) = begun();
    // Behind all that has come.
    let order_of = |world: &mut World| world.order(0, Position::new("log.000002", 4));
    let mut waiting: Vec<_> = (0..64).map(|_| order_of(&mut world)).collect();
    let is_waiting = |taken: &mut Receiver<Result<Taken, ChunkDiscard>>| {
        matches!(taken.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    };
    assert!(waiting.iter_mut().all(is_waiting));
    let last = order_of(&mut world).try_recv().expect("answered at once");
    assert!(matches!(last, Err(ChunkDiscard::OutOfOrder)), "{last:?}");
}

#[test]
fn a_chunk_that_does_not_continue_its_table_or_whose_table_is_not_read_is_not_taken() {
    // The first chunk of a table of which it was taken before, and of one that was not begun
    for number in 0..2 {
        let (mut world, _) = begun();
        let before = world.look().expect("a snapshot").tables[number].clone();
        let upto = Position::new("log.000001", u64::from(world.made.end));
        let mut taken = world.order(number, upto);
        world.transaction(|world| world.made.statement("CREATE TABLE n (a INT)"));
        let taken = taken.try_recv().expect("its place has gone by");
        assert!(matches!(taken, Err(ChunkDiscard::OutOfOrder)), "{number}: {taken:?}");
        assert_eq!(world.look().expect("a snapshot").tables[number], before);
    }
}

#[test]
fn marked_rows_are_no_rows_of_a_snapshot() {
    let (mut world, mut dice) = (World::new(1, false), Dice(1));
    let path = CanaryPath {
        name: "orders".into(),
        database: "d".to_owned(),
        table: "t".to_owned(),
        column: "b".to_owned(),
        steps: None,
    };
    let marks = Marks::new(Mark::new("m", "s"), vec![path]);
    world.flow = flow_of(1, &world.saved, 1, recogniser().with_marks(marks));
    world.dial();
    // Canaries of this stream and of another, and a row.
    for (number, value) in (1..).zip(["m.s.7", "x", "m.other.9", "y"]) {
        world.source[0].insert(key(number), value.to_owned());
    }
    world.begin(false, None);
    world.may_stop = false;
    // The heartbeat behind which a chunk is taken.
    world.transaction(|world| world.made.statement("CREATE TABLE n (a INT)"));
    world.settle_all(&mut dice);
    world.source[0].retain(|_, value| !value.starts_with("m."));
    assert_eq!(world.source[0].len(), 2);
    world.check();
}
