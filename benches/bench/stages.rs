//! The way of events from memory to messages, as far as a stage goes: what benchmark and guard
//! measure.

use std::sync::Arc;
use std::time::Instant;

use binpulse::binlog::Checksum;
use binpulse::checkpoint::{Checkpoint, Tracker};
use binpulse::decode::{Config, Decoder, Step};
use binpulse::encode::{
    Destination, EncodedBatch, FinalizeOptions, Finalized, Finalizer, Format, Origin, Oversize,
};
use binpulse::filter::{self, Filter, Pattern};
use binpulse::freshness::schema::SchemaName;
use binpulse::freshness::{Recogniser, Watermark, WatermarkProvider};
use binpulse::pack::{self, Packer, Sequences};
use binpulse::pipeline::{ControlMessages, Flow, FlowConfig};

use crate::Outcome;

/// Larger than any message.
const MESSAGE_BYTES_MAX: usize = 262_144;
const SERVER_UUID: &str = "00000000-0000-0000-0000-000000000001";

/// How far events are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Headers and CRC32 of events.
    Check,
    /// Rows, each cell read.
    Walk,
    /// Rows as packed Protobuf.
    Pack,
    /// The same with all that the loop does beside: filter, recogniser, tracker, ledger, counts.
    /// Encoded batches count as delivered at once. Left out are the futures around it.
    Loop,
    /// Messages without compression.
    Plain,
    /// Messages as they are published.
    Seal,
}

/// Takes all events as far as the stage goes; the rows that came out.
pub(crate) fn pass<'e>(stage: Stage, events: impl Iterator<Item = &'e [u8]>) -> Outcome<u64> {
    let mut line = Line::new(stage)?;
    for event in events {
        line.take(event)?;
    }
    Ok(line.end())
}

/// All that is on the way, in the order of the service.
pub(crate) struct Line {
    stage: Stage,
    checksum: Checksum,
    decoder: Decoder,
    packer: Packer,
    flow: Flow,
    batches: Vec<EncodedBatch>,
    messages: Messages,
    now: Instant,
    rows: u64,
}

impl Line {
    pub(crate) fn new(stage: Stage) -> Outcome<Self> {
        Ok(Self {
            stage,
            checksum: Checksum::new(),
            // As in the service: the source checks.
            decoder: Decoder::new(Config { verify_checksum: false, ..Config::default() }),
            packer: Packer::new(pack::Config::default(), Sequences::default()),
            flow: flow()?,
            batches: Vec::new(),
            messages: Messages::new(stage)?,
            now: Instant::now(),
            rows: 0,
        })
    }

    /// Takes an event.
    pub(crate) fn take(&mut self, event: &[u8]) -> Outcome {
        self.checksum.verify(event)?;
        if self.stage == Stage::Check {
            return Ok(());
        }
        if self.stage == Stage::Loop {
            return self.turn(event);
        }
        let Self { stage, decoder, packer, batches, messages, now, rows, .. } = self;
        let mut steps = decoder.feed(event)?;
        while let Some(step) = steps.next()? {
            let Step::Rows(mut changes) = step else { continue };
            let (table, transaction) = (changes.table(), changes.transaction());
            while let Some(change) = changes.next()? {
                *rows += 1;
                if *stage != Stage::Walk {
                    packer.push(*now, 0, transaction, table, &change, batches);
                } else if let Some(image) = change.after.or(change.before) {
                    std::hint::black_box(image.slots());
                }
            }
            if !batches.is_empty() {
                messages.take(batches, packer);
            }
        }
        Ok(())
    }

    /// As the loop does, without waiting for anybody.
    fn turn(&mut self, event: &[u8]) -> Outcome {
        let Self { flow, decoder, now, rows, .. } = self;
        flow.event(event);
        let mut steps = decoder.feed(event)?;
        while let Some(step) = steps.next()? {
            flow.step(step, *now)?;
        }
        for batch in flow.take_batches() {
            *rows += u64::from(batch.rows());
            flow.tracker_mut().settled(batch.ack_group())?;
        }
        Ok(())
    }

    /// Nothing more comes; the rows that did.
    pub(crate) fn end(mut self) -> u64 {
        self.packer.flush_all(&mut self.batches);
        self.messages.take(&mut self.batches, &mut self.packer);
        self.rows
    }
}

/// What stands between decoder and finalizing, for a stream of every table.
fn flow() -> Outcome<Flow> {
    Ok(Flow::new(
        FlowConfig::default(),
        Filter::new(filter::Config {
            tables: vec![Pattern::parse("*.*", 2).ok_or("no pattern")?],
            ..filter::Config::default()
        }),
        Recogniser::new(SchemaName::new("binpulse")?, "bench"),
        ControlMessages::new(
            Format::Protobuf,
            SERVER_UUID.to_owned(),
            1,
            WatermarkProvider::new(Watermark::default),
        ),
        Packer::new(pack::Config::default(), Sequences::default()),
        Tracker::new(&Checkpoint::default()),
    ))
}

/// What becomes of encoded batches.
struct Messages {
    finalizer: Option<Finalizer>,
    origin: Origin,
    destination: Destination,
    finalized: Vec<Finalized>,
}

impl Messages {
    fn new(stage: Stage) -> Outcome<Self> {
        let finalizer = |zstd_level| Finalizer::new(FinalizeOptions { zstd_level });
        Ok(Self {
            finalizer: match stage {
                Stage::Plain => Some(finalizer(0)?),
                Stage::Seal => Some(finalizer(1)?),
                Stage::Check | Stage::Walk | Stage::Pack | Stage::Loop => None,
            },
            origin: Origin {
                stream: "bench".into(),
                server_uuid: SERVER_UUID.to_owned(),
                server_id: 1,
                epoch: 1,
                connector_version: env!("CARGO_PKG_VERSION"),
                snapshot: false,
                replay: None,
            },
            destination: Destination {
                arn: Arc::from("arn:aws:sns:eu-west-1:000000000000:bench"),
                fifo: false,
                message_bytes_max: MESSAGE_BYTES_MAX,
            },
            finalized: Vec::new(),
        })
    }

    fn take(&mut self, batches: &mut Vec<EncodedBatch>, packer: &mut Packer) {
        let Some(finalizer) = &mut self.finalizer else { return batches.clear() };
        for batch in batches.drain(..) {
            let (lane, oversize) = (batch.lane().id, Oversize::Omit);
            finalizer.finalize_within(
                batch,
                &self.origin,
                &self.destination,
                oversize,
                &mut self.finalized,
            );
            for finalized in self.finalized.drain(..) {
                let (Finalized::Message(message) | Finalized::TooLarge(message)) = finalized;
                let content = message.uncompressed_bytes as usize;
                packer.observe_finalized(lane, content, message.body.len());
            }
        }
    }
}
