//! A streamer without its surroundings: what the loop, the finalizing thread, the sink and the store do
//! is done here, one step at a time, in an order that dice decide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::log::{Log, decoder};
use crate::change::Position;
use crate::checkpoint::{Checkpoint, Place, Tracker};
use crate::control::{Order, Saved};
use crate::decode::Decoder;
use crate::encode::proto::frame::Content;
use crate::encode::{
    Destination, EncodedBatch, FinalizeOptions, Finalizer, Format, Message, Oversize, open,
};
use crate::filter::{Config as FilterConfig, Filter, Pattern, Since, Versions};
use crate::freshness::schema::SchemaName;
use crate::freshness::{Recogniser, Watermark, WatermarkProvider};
use crate::pack::{Config as PackConfig, Packer, Sequences};
use crate::pipeline::ControlMessages;
use crate::pipeline::finalizing::{Note, number};
use crate::pipeline::flow::{Flow, FlowConfig};
use crate::source::Start;

/// How positions are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Gtid,
    /// From the file and offset too, on the server that they are of.
    GtidFrom,
    Maria,
    Offset,
    /// Begun by an offset, on a server with GTIDs.
    OffsetThenGtid,
}

/// Dice (SplitMix64).
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// Rows and statements by lane and number.
pub(super) type Delivered = BTreeMap<(String, u64), String>;

/// What outlives a process: the topic's consumer, and the checkpoint.
#[derive(Debug)]
pub(super) struct World {
    pub(super) log: Log,
    pub(super) way: Way,
    pub(super) lanes: u32,
    pub(super) delivered: Delivered,
    pub(super) saved: Checkpoint,
    /// Ranges that consumers were told not to expect: lane, first number, number behind the last.
    pub(super) told: BTreeSet<(String, u64, u64)>,
    /// The filters of the settings.
    pub(super) filter: FilterConfig,
    /// Where the log ends for a process that begins.
    pub(super) end: Since,
    /// Whether rows are compared by their index in the transaction too: it counts those that the filters let
    /// pass.
    pub(super) has_indexes: bool,
}

/// Filters that let these tables pass.
pub(super) fn filter(tables: &[&str]) -> FilterConfig {
    let tables = tables.iter().map(|text| Pattern::parse(text, 2).expect("a pattern"));
    FilterConfig { tables: tables.collect(), ..FilterConfig::default() }
}

impl World {
    pub(super) fn new(log: Log, way: Way, lanes: u32) -> Self {
        let front = match way {
            Way::Gtid | Way::Maria => Position::default(),
            Way::GtidFrom | Way::Offset | Way::OffsetThenGtid => log.front(),
        };
        let place = Place { position: front, ..Place::default() };
        let saved = Checkpoint {
            stream: "s".to_owned(),
            server_uuid: "server".to_owned(),
            epoch: 1,
            resume: place.clone(),
            settled: place,
            ..Checkpoint::default()
        };
        let (delivered, told) = (Delivered::new(), BTreeSet::new());
        let (filter, end) = (filter(&["*.*"]), Since::default());
        Self { log, way, lanes, delivered, saved, told, filter, end, has_indexes: true }
    }

    /// The topic takes a message.
    fn deliver(&mut self, message: &Message) {
        let content = open::content(&message.body).expect("our own message");
        let lane = message.lane_key.to_string();
        if let Content::Suppressed(told) = &content {
            let first = told.sequence_first;
            self.told.insert((lane, first, first + told.count));
            return;
        }
        for (number, text) in (message.sequence_first..).zip(texts(&content, self.has_indexes)) {
            let key = (lane.clone(), number);
            let before = self.delivered.insert(key.clone(), text.clone());
            assert!(
                before.as_ref().is_none_or(|before| *before == text),
                "{key:?} was {before:?} and is {text}"
            );
        }
    }

    /// Nothing before the checkpoint may be missing, but what it says is held back, and what was told.
    fn check(&self) {
        let saved = Saved::read(&self.saved.annotations).expect("own texts");
        for (lane, next) in &self.saved.lanes {
            let held = saved.lanes.get(lane).map_or(u64::MAX, |range| range.first);
            for number in (1..*next).filter(|number| *number < held) {
                let key = (lane.to_string(), number);
                let is_there = self.delivered.contains_key(&key) || self.is_told(lane, number);
                assert!(is_there, "the checkpoint passed {key:?}");
            }
        }
    }

    /// Whether consumers were told not to expect the row.
    pub(super) fn is_told(&self, lane: &str, number: u64) -> bool {
        let mut of_lane = self.told.iter().filter(|(told, ..)| told == lane);
        of_lane.any(|(_, first, behind)| (*first..*behind).contains(&number))
    }
}

fn texts(content: &Content, has_indexes: bool) -> Vec<String> {
    match content {
        Content::Batch(batch) => batch
            .rows
            .iter()
            .map(|row| {
                let transaction = &batch.transactions[row.transaction as usize];
                let (gtid, offset) = (&transaction.gtid, transaction.offset);
                let (before, after) = (&row.before, &row.after);
                let index = if has_indexes { row.row } else { 0 };
                format!("{gtid} {offset} {} {index} {before:?} {after:?}", row.op)
            })
            .collect(),
        Content::SchemaChange(change) => vec![format!("{} {}", change.gtid, change.statement)],
        other @ (Content::Payload(_)
        | Content::Heartbeat(_)
        | Content::Canary(_)
        | Content::ClaimCheck(_)
        | Content::SnapshotPart(_)
        | Content::SnapshotMark(_)
        | Content::Suppressed(_)
        | Content::TransactionEnd(_)) => panic!("nobody made {other:?}"),
    }
}

/// One process.
pub(super) struct Process {
    pub(super) flow: Flow,
    decoder: Decoder,
    finalizer: Finalizer,
    in_flight: Vec<Message>,
    next_id: u64,
    events: std::vec::IntoIter<(Option<Position>, Vec<u8>)>,
    message_bytes_max: usize,
    now: Instant,
}

impl Process {
    pub(super) fn start(world: &World, dice: &mut Dice) -> Self {
        let pack = PackConfig {
            lanes: world.lanes,
            body_bytes_target: 200 + usize::try_from(dice.below(3000)).expect("small"),
            content_bytes_max: 100 + usize::try_from(dice.below(5000)).expect("small"),
            linger_max: Duration::from_millis(dice.below(3) * 100),
            ..PackConfig::default()
        };
        let config = FlowConfig {
            schema_changes: true,
            begins_by_position: world.way == Way::OffsetThenGtid,
            ..FlowConfig::default()
        };
        let lanes = world.saved.lanes.iter().map(|(key, next)| (Arc::clone(key), *next));
        let mut flow = Flow::new(
            config,
            Filter::new(world.filter.clone()),
            Recogniser::new(SchemaName::new("binpulse").expect("a name"), "s"),
            ControlMessages::new(
                Format::Protobuf,
                "server".to_owned(),
                1,
                WatermarkProvider::new(Watermark::default),
            ),
            Packer::new(pack, Sequences::restored(lanes)),
            Tracker::new(&world.saved),
        );
        let now = Instant::now();
        let versions = Versions::read(&world.saved.annotations).expect("own texts");
        flow.restore_filters(versions, &world.filter, (1, world.end.clone())).expect("its own");
        let held = Saved::read(&world.saved.annotations).expect("own texts");
        flow.restore_held(held, now).expect("its own");
        let mut process = Self {
            flow,
            decoder: decoder(),
            finalizer: Finalizer::new(FinalizeOptions { zstd_level: 1 }).expect("memory"),
            in_flight: Vec::new(),
            next_id: 1,
            events: Vec::new().into_iter(),
            message_bytes_max: 1000 + usize::try_from(dice.below(4000)).expect("small"),
            now,
        };
        process.dial(world);
        process
    }

    /// Begins a dump where the tracker says.
    pub(super) fn dial(&mut self, world: &World) {
        let (gtids, place) =
            (self.flow.tracker().committed_gtids(), self.flow.tracker().redial_place());
        let start = match world.way {
            Way::Gtid => Start::Gtid(gtids),
            Way::GtidFrom => Start::GtidFrom { set: gtids, from: place.position.clone() },
            Way::OffsetThenGtid if !gtids.is_empty() => Start::Gtid(gtids),
            Way::Maria => Start::Maria(place.maria.clone()),
            Way::Offset | Way::OffsetThenGtid => Start::Position(place.position.clone()),
        };
        self.flow.moved_to("server");
        self.flow.stream_began(&start);
        self.decoder.start_at(start.place());
        self.events = world.log.dump(&start).into_iter();
    }

    /// Takes the next event; false at the end of the log. The stream may break inside it.
    pub(super) fn take(&mut self, world: &mut World, dice: &mut Dice, breaks: bool) -> bool {
        if self.flow.awaits_filters() {
            self.save(world);
        }
        let Some((front, event)) = self.events.next() else { return false };
        if let Some(front) = front {
            self.decoder.follow_at(front);
        }
        let mut left = if breaks { dice.below(4) } else { u64::MAX };
        self.flow.event(&event);
        let mut batches = Vec::new();
        let mut steps = self.decoder.feed(&event).expect("whole");
        while left > 0 {
            let Some(step) = steps.next().expect("whole") else { break };
            self.flow.step(step, self.now).expect("nothing is lost");
            batches.extend(self.flow.take_batches());
            left -= 1;
        }
        self.finalize(batches);
        if breaks {
            self.flow.stream_broke();
            self.dial(world);
        }
        true
    }

    /// An operator asks for something.
    pub(super) fn order(&mut self, order: Order) {
        self.flow.order(order, self.now).expect("nothing is lost");
        let batches = self.flow.take_batches();
        self.finalize(batches);
    }

    /// Time goes by until consumers are told again.
    pub(super) fn wait_long(&mut self) {
        self.now += Duration::from_mins(2);
        self.flow.held_due(self.now).expect("nothing is lost");
        let batches = self.flow.take_batches();
        self.finalize(batches);
    }

    /// Time goes by.
    pub(super) fn wait(&mut self, dice: &mut Dice) {
        self.now += Duration::from_millis(dice.below(150));
        if dice.below(2) == 0 {
            self.flow.idle(self.now);
        } else {
            self.flow.flush_due(self.now);
        }
        let batches = self.flow.take_batches();
        self.finalize(batches);
    }

    fn finalize(&mut self, batches: Vec<EncodedBatch>) {
        let origin = super::origin();
        let destination = Destination {
            arn: "arn:aws:sns:eu-west-1:000000000000:t".into(),
            fifo: false,
            message_bytes_max: self.message_bytes_max,
        };
        let mut finalized = Vec::new();
        for encoded in batches {
            let mut note = Note::new(&encoded);
            self.finalizer.finalize_within(
                encoded,
                &origin,
                &destination,
                Oversize::Keep,
                &mut finalized,
            );
            let claims = vec![false; finalized.len()];
            let messages = number(&mut note, claims, &mut finalized, &mut self.next_id);
            assert!(note.too_large.is_none(), "each row of the fixtures fits alone");
            assert_eq!(note.messages, messages.len() as u64);
            assert_eq!(note.last_id, messages.last().map(|message| message.id));
            assert!(messages.iter().is_sorted_by(|one, next| one.id < next.id));
            self.flow.finalized(&note).expect("nothing of it is settled yet");
            self.in_flight.extend(messages);
        }
    }

    /// The topic takes one of the messages on their way.
    pub(super) fn settle(&mut self, world: &mut World, dice: &mut Dice) {
        let Some(last) = (self.in_flight.len() as u64).checked_sub(1) else { return };
        let index = usize::try_from(dice.below(last + 1)).expect("small");
        let message = self.in_flight.swap_remove(index);
        world.deliver(&message);
        self.flow.tracker_mut().settled(message.ack_group).expect("it was on its way");
    }

    /// The checkpoint is saved.
    pub(super) fn save(&mut self, world: &mut World) {
        if let Some(delta) = self.flow.tracker_mut().take_delta(0) {
            world.saved.apply(&delta);
            world.check();
            self.flow.saved(&delta.annotations).expect("nothing is lost");
            let batches = self.flow.take_batches();
            self.finalize(batches);
        }
    }

    /// Everything that was read is delivered, and saved.
    pub(super) fn finish(&mut self, world: &mut World, dice: &mut Dice) {
        self.flow.announce_held().expect("nothing is lost");
        self.flow.flush_all();
        let batches = self.flow.take_batches();
        self.finalize(batches);
        while !self.in_flight.is_empty() {
            self.settle(world, dice);
        }
        assert_eq!(self.flow.tracker().ack_groups_in_flight(), 0, "all is delivered");
        self.save(world);
    }
}
