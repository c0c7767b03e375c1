//! Decode, encode and seal from memory, on one core: what each stage costs by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use binpulse::decode::{Config, Decoder, Step};
use binpulse::encode::{Destination, Draft, Origin, Oversize, SealOptions, Sealed, Sealer};
use binpulse::pack::{self, Packer, Sequences};
use binpulse::source::checksum::Checksum;
use stats_alloc::Region;
use tokio::runtime::Runtime;

use crate::data::Binlogs;
use crate::events::Events;
use crate::workload::{self, Workload};
use crate::{ALLOCATOR, Outcome, data, facts};

/// Each stage runs so often; the fastest counts, as everything else is disturbance.
const ROUNDS: u32 = 5;
/// Larger than any message.
const MESSAGE_BYTES_MAX: usize = 262_144;

/// How far events are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Headers and CRC32 of events.
    Check,
    /// Rows, each cell read.
    Walk,
    /// Rows as packed Protobuf.
    Pack,
    /// Messages without compression.
    Plain,
    /// Messages as they are published.
    Seal,
}

const STAGES: [(Stage, &str); 5] = [
    (Stage::Check, "frame + crc32"),
    (Stage::Walk, "decode"),
    (Stage::Pack, "decode + encode + pack"),
    (Stage::Plain, "... + seal, base64"),
    (Stage::Seal, "... + seal, zstd + base64"),
];

pub(crate) fn run(runtime: &Runtime, names: &[String]) -> Outcome {
    let every: Vec<&str> = workload::ALL.iter().map(|workload| workload.name).collect();
    facts::print("memory", names)?;
    for workload in workload::named(names, &every) {
        let binlogs = runtime.block_on(data::binlogs(&workload))?;
        measure(&workload, &binlogs)?;
    }
    Ok(())
}

fn measure(workload: &Workload, binlogs: &Binlogs) -> Outcome {
    let events = Events::load(binlogs)?;
    println!(
        "{}: {}; {} rows, {} transactions, {} events, {} MB",
        workload.name,
        workload.what,
        binlogs.rows,
        binlogs.transactions,
        events.count(),
        events.bytes() / 1_000_000
    );
    println!(
        "  {:<26} {:>10} {:>12} {:>9} {:>12} {:>12}",
        "stage", "rows/s", "trx/s", "MB/s", "ns a row", "allocs a row"
    );
    for (stage, name) in STAGES {
        let mut best = Duration::MAX;
        let mut allocations = 0;
        for _ in 0..ROUNDS {
            let region = Region::new(ALLOCATOR);
            let began = Instant::now();
            let rows = pass(stage, &events)?;
            best = best.min(began.elapsed());
            allocations = region.change().allocations;
            if stage != Stage::Check && rows != binlogs.rows {
                return Err(format!("{rows} rows came out of {}", binlogs.rows).into());
            }
        }
        print_line(name, best, allocations, binlogs, events.bytes());
    }
    println!();
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn print_line(name: &str, best: Duration, allocations: usize, binlogs: &Binlogs, bytes: usize) {
    let seconds = best.as_secs_f64();
    let rows = binlogs.rows as f64;
    println!(
        "  {name:<26} {:>10.0} {:>12.0} {:>9.0} {:>12.0} {:>12.4}",
        rows / seconds,
        binlogs.transactions as f64 / seconds,
        bytes as f64 / 1e6 / seconds,
        seconds * 1e9 / rows,
        allocations as f64 / rows,
    );
}

/// Takes all events as far as the stage goes; the rows that came out.
fn pass(stage: Stage, events: &Events) -> Outcome<u64> {
    let mut checksum = Checksum::new();
    if stage == Stage::Check {
        for event in events.iter() {
            checksum.verify(event)?;
        }
        return Ok(0);
    }
    let mut messages = Messages::new(stage)?;
    // As in the service: the source checks.
    let mut decoder = Decoder::new(Config { verify_checksum: false, ..Config::default() });
    let mut packer = Packer::new(pack::Config::default(), Sequences::default());
    let (mut drafts, mut rows) = (Vec::new(), 0);
    let now = Instant::now();
    for event in events.iter() {
        checksum.verify(event)?;
        let mut steps = decoder.feed(event)?;
        while let Some(step) = steps.next()? {
            let Step::Rows(mut changes) = step else { continue };
            let (table, transaction) = (changes.table(), changes.transaction());
            while let Some(change) = changes.next()? {
                rows += 1;
                if stage != Stage::Walk {
                    packer.push(now, 0, transaction, table, &change, &mut drafts);
                } else if let Some(image) = change.after.or(change.before) {
                    std::hint::black_box(image.slots());
                }
            }
            if !drafts.is_empty() {
                messages.take(&mut drafts, &mut packer);
            }
        }
    }
    packer.flush_all(&mut drafts);
    messages.take(&mut drafts, &mut packer);
    Ok(rows)
}

/// What becomes of drafts.
struct Messages {
    sealer: Option<Sealer>,
    origin: Origin,
    destination: Destination,
    sealed: Vec<Sealed>,
}

impl Messages {
    fn new(stage: Stage) -> Outcome<Self> {
        let sealer = |zstd_level| Sealer::new(SealOptions { zstd_level });
        Ok(Self {
            sealer: match stage {
                Stage::Plain => Some(sealer(0)?),
                Stage::Seal => Some(sealer(1)?),
                Stage::Check | Stage::Walk | Stage::Pack => None,
            },
            origin: Origin {
                stream: "bench".into(),
                server_uuid: "00000000-0000-0000-0000-000000000001".to_owned(),
                server_id: 1,
                epoch: 1,
                connector_version: env!("CARGO_PKG_VERSION"),
                snapshot: false,
            },
            destination: Destination {
                arn: Arc::from("arn:aws:sns:eu-west-1:000000000000:bench"),
                fifo: false,
                message_bytes_max: MESSAGE_BYTES_MAX,
            },
            sealed: Vec::new(),
        })
    }

    fn take(&mut self, drafts: &mut Vec<Draft>, packer: &mut Packer) {
        let Some(sealer) = &mut self.sealer else { return drafts.clear() };
        for draft in drafts.drain(..) {
            let (lane, oversize) = (draft.lane().id, Oversize::Omit);
            sealer.seal_within(draft, &self.origin, &self.destination, oversize, &mut self.sealed);
            for sealed in self.sealed.drain(..) {
                let (Sealed::Message(message) | Sealed::TooLarge(message)) = sealed;
                let content = message.uncompressed_bytes as usize;
                packer.observe_sealed(lane, content, message.body.len());
            }
        }
    }
}
